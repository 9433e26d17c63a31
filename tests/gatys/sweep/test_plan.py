"""A YAML of axes becomes cells."""

from pathlib import Path

import pytest
import yaml

from impasto.gatys.sweep.plan import SweepPlan, read_sweep, sweep_cells, sweep_names
from impasto.options.errors import OptionError

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
        ({"axes": {"sed": [1]}}, "sed is no option of impasto stylize; did you mean seed"),
        ({"axes": {"seed": []}}, "seed: expected a list of values"),
        ({"axes": {"seed": 3}}, "seed: expected a list of values"),
        ({"axes": {"seed": [1]}, "colums": "seed"}, "colums is unknown; did you mean columns"),
        ({"axes": {"seed": [1]}, "columns": "sed"}, "columns: sed is no axis; did you mean seed"),
        ({"axes": [1]}, "expected 'axes:'"),
        ({"axes": {"seed": [-1]}}, "seed -1: --seed: -1 is not between 0 and"),
        ({"axes": {"seed": [1]}, "combinations": [{"seed": 2}]}, "'2' is no value of seed"),
        (
            {"axes": {"seed": [1]}, "combinations": [{"sed": 1}]},
            "combinations: sed is no axis; did you mean seed",
        ),
        ({"axes": {"seed": [1]}, "combinations": 5}, "combinations: expected a list"),
        ({"axes": {"seed": [1]}, "options": ["a"]}, "expected 'options:'"),
        ({"axes": {"save_every": [1, 2]}}, "save_every is not for sweeps"),
        ({"axes": {"seed": [1, 1.5]}}, "seed 1.5: --seed: expected a whole number, got 1.5"),
        ({"axes": {"seed": [1]}, "options": {"output": "x.png"}}, "output is not for sweeps"),
        ({"axes": {"seed": [1]}, "options": {"size": 64}}, "names no content picture"),
    ],
)
def test_a_bad_sweep_says_what_is_wrong(tmp_path: Path, raw: dict[str, object], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        sweep_cells(read_sweep(write(tmp_path, **raw)))


@pytest.mark.parametrize(
    ("option", "value", "said"),
    [
        ("size", "abc", "expected a whole number, got abc"),
        ("size", "null", "expected a whole number, got null"),
        ("style_weight", "high", "expected a number, got high"),
        ("iterations", "x", "expected a whole number, got x"),
        ("iterations", "[5, null]", "expected a whole number, got null"),
        ("preset", "5", "expected a text, got 5"),
        ("backbone", "5", "expected a text, got 5"),
        ("masks", "5", "expected a text, got 5"),
        ("init_image", "5", "expected a path, got 5"),
        ("device", "gpu", "expected one of auto, cpu, cuda, mps, got gpu"),
        ("pooling", "maxx", "expected one of max, average, l2, got maxx; did you mean max"),
        ("keep_colors", "foo", "expected one of none, luminance, linear, histogram, got foo"),
        ("optimizer", "foo", "expected lbfgs or adam, got foo"),
        ("seed", "1.5", "expected a whole number, got 1.5"),
    ],
)
def test_values_have_the_types_of_the_command_line(
    tmp_path: Path, option: str, value: str, said: str
) -> None:
    name = write(tmp_path, axes={"style_scale": [1, 2]})
    with pytest.raises(OptionError) as caught:
        sweep_cells(read_sweep(name, changes={option: value}))
    assert str(caught.value).startswith(f"--{option}: {said}")


def test_a_change_that_is_no_yaml(tmp_path: Path) -> None:
    name = write(tmp_path, axes={"seed": [1, 2]})
    with pytest.raises(OptionError, match=r"--set: size=\[ is no YAML value"):
        read_sweep(name, changes={"size": "["})


def test_numbers_are_read_as_on_the_command_line(tmp_path: Path) -> None:
    name = write(tmp_path, axes={"seed": [1, 2]})
    changes = {"style_weight": "1e3", "tv_weight": "null", "iterations": "7"}
    options = sweep_cells(read_sweep(name, changes=changes))[0].options
    assert (options.style_weight, options.tv_weight, options.iterations) == (1000.0, None, (7,))


def test_combinations_may_name_axes_that_do_not_vary_now(tmp_path: Path) -> None:
    axes = {"seed": [1, 2], "pooling": ["max", "l2"]}
    listed = [{"seed": 1, "pooling": "l2", "style": "night"}]
    name = write(tmp_path, axes=axes, combinations=listed)
    (cell,) = sweep_cells(read_sweep(name, changes={"seed": "9"}))
    assert (cell.labels, cell.options.seed) == ({"pooling": "l2"}, 9)


def test_folders_stay_when_axes_grow_or_are_reordered(tmp_path: Path) -> None:
    def folders(**axes: object) -> dict[tuple[object, ...], str]:
        cells = sweep_cells(read_sweep(write(tmp_path, axes=axes)))
        return {(cell.options.seed, cell.options.pooling): cell.folder for cell in cells}

    first = folders(seed=[3, 5], pooling=["max", "l2"])
    grown = folders(pooling=["average", "max", "l2"], seed=[1, 3, 5])
    assert len(set(grown.values())) == 9
    assert {place: grown[place] for place in first} == first


def test_folders_of_like_labels_differ(tmp_path: Path) -> None:
    long = "a" * 100
    axes = {"recipe": {f"{long}/": {"seed": 1}, f"{long}:": {"seed": 2}}}
    one, two = sweep_cells(read_sweep(write(tmp_path, axes=axes)))
    assert one.folder != two.folder
    assert len(one.folder) <= 80


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
