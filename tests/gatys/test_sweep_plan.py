"""A YAML of axes becomes cells."""

from pathlib import Path

import pytest
import yaml

from giverny.gatys.sweep_plan import SweepPlan, read_sweep, sweep_cells, sweep_names
from giverny.options.errors import OptionError

PAIR = {"content": "photo.jpg", "styles": "night.jpg", "size": 64}


def write(folder: Path, **raw: object) -> str:
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump({"options": PAIR, **raw}, sort_keys=False), encoding="utf-8")
    return str(path)


def test_the_product_of_the_axes_in_their_order(tmp_path: Path) -> None:
    name = write(tmp_path, axes={"seed": [3, 5], "pooling": ["max", "l2"]}, columns="pooling")
    plan = read_sweep(name)
    cells = sweep_cells(plan)
    assert [(c.options.seed, c.options.pooling) for c in cells] == [
        (3, "max"),
        (3, "l2"),
        (5, "max"),
        (5, "l2"),
    ]
    assert [c.number for c in cells] == [1, 2, 3, 4]
    assert (plan.rows, plan.columns) == (["seed"], ["pooling"])
    assert all(c.options.content == Path("photo.jpg") and c.options.size == 64 for c in cells)
    assert len({c.folder for c in cells}) == 4


def test_a_value_may_set_several_options(tmp_path: Path) -> None:
    axes = {
        "recipe": {
            "quick": {"optimizer": "adam", "lr": 0.05},
            "slow": {"optimizer": "lbfgs", "history": 7},
        }
    }
    quick, slow = sweep_cells(read_sweep(write(tmp_path, axes=axes)))
    assert (quick.labels, quick.options.optimizer, quick.options.lr) == (
        {"recipe": "quick"},
        "adam",
        0.05,
    )
    assert (slow.options.optimizer, slow.options.history, slow.options.lr) == ("lbfgs", 7, None)


def test_listed_combinations_are_the_only_cells(tmp_path: Path) -> None:
    axes = {"seed": [1, 2, 3], "pooling": ["max", "average"]}
    combinations = [{"seed": 1}, {"seed": 3, "pooling": "average"}]
    cells = sweep_cells(read_sweep(write(tmp_path, axes=axes, combinations=combinations)))
    assert [tuple(cell.labels.values()) for cell in cells] == [
        ("1", "max"),
        ("1", "average"),
        ("3", "average"),
    ]


def test_lists_of_layers_are_one_value(tmp_path: Path) -> None:
    axes = {"style_layers": [["relu1_1"], ["relu1_1", "relu2_1"]], "iterations": [5, 9]}
    cells = sweep_cells(read_sweep(write(tmp_path, axes=axes)))
    assert cells[-1].labels == {"style_layers": "relu1_1+relu2_1", "iterations": "9"}
    assert cells[-1].options.style_layers == ("relu1_1", "relu2_1")
    assert cells[-1].options.iterations == (9,)


def test_pictures_of_the_command_line_become_axes(tmp_path: Path) -> None:
    name = write(tmp_path, axes={"seed": [1, 2]}, columns="seed")
    plan = read_sweep(name, contents=[Path("a.jpg"), Path("b.jpg")], styles=[Path("x_y.jpg")])
    assert list(plan.axes) == ["content", "seed"]
    assert plan.rows == ["content"]
    cells = sweep_cells(plan)
    assert [str(cell.options.content) for cell in cells] == ["a.jpg", "a.jpg", "b.jpg", "b.jpg"]
    assert {tuple(map(str, cell.options.styles)) for cell in cells} == {("x_y.jpg",)}


def test_what_is_said_for_all_cells_does_not_vary(tmp_path: Path) -> None:
    name = write(tmp_path, axes={"seed": [1, 2], "pooling": ["max", "l2"]})
    plan = read_sweep(name, changes={"seed": "9", "iterations": "[4, 2]", "size": "40"})
    cells = sweep_cells(plan)
    assert [(c.options.seed, c.options.pooling) for c in cells] == [(9, "max"), (9, "l2")]
    assert {(c.options.size, tuple(c.options.iterations)) for c in cells} == {(40, (4, 2))}


@pytest.mark.parametrize("name", sweep_names())
def test_shipped_sweeps_are_whole(name: str) -> None:
    contents, styles = [Path("a.jpg"), Path("b.jpg")], [Path("c.jpg"), Path("d.jpg")]
    plan = read_sweep(name, contents=contents, styles=styles)
    cells = sweep_cells(plan)
    assert plan.title
    assert plan.source
    assert len(cells) >= 4
    assert {*plan.rows, *plan.columns} == set(plan.axes)


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({}, "expected at least one axis"),
        ({"axes": {"sed": [1]}}, "sed is no option of giverny stylize; did you mean seed"),
        ({"axes": {"seed": []}}, "seed: expected a list of values"),
        ({"axes": {"seed": 3}}, "seed: expected a list of values"),
        ({"axes": {"seed": [1]}, "colums": "seed"}, "colums is unknown; did you mean columns"),
        ({"axes": {"seed": [1]}, "columns": "sed"}, "columns: sed is no axis; did you mean seed"),
        ({"axes": [1]}, "expected 'axes:'"),
        ({"axes": {"seed": [-1]}}, "seed -1: --seed: -1 is not in"),
        ({"axes": {"seed": [1]}, "combinations": [{"seed": 2}]}, "'2' is no value of seed"),
        ({"axes": {"seed": [1]}, "options": {"output": "x.png"}}, "output is no option"),
        ({"axes": {"seed": [1]}, "options": {"size": 64}}, "names no content picture"),
    ],
)
def test_a_bad_sweep_says_what_is_wrong(tmp_path: Path, raw: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        sweep_cells(read_sweep(write(tmp_path, **raw)))


def test_an_unknown_name_shows_the_nearest() -> None:
    with pytest.raises(
        OptionError, match="poling is neither a file nor a sweep; did you mean pooling"
    ):
        read_sweep("poling")


def test_a_file_that_is_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("axes: [", encoding="utf-8")
    with pytest.raises(OptionError, match="cannot be read"):
        read_sweep(str(tmp_path / "bad.yaml"))


def test_a_plan_without_rows_has_one_row() -> None:
    plan = SweepPlan(
        name="x",
        title="x",
        options=PAIR,
        axes={"seed": {"1": {"seed": 1}}},
        rows=[],
        columns=["seed"],
    )
    assert len(sweep_cells(plan)) == 1
