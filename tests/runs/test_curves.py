"""Logs read into curves, smoothed and drawn: compared with sums done by hand."""

import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.transforms import Affine2D
from PIL import Image

from impasto.options import FolderError, ImpastoError, OptionError
from impasto.runs import (
    Curve,
    History,
    choose_losses,
    curves_csv,
    draw_curves,
    figure_bytes,
    read_runs,
)

LOSSES = ("D_A", "G_A", "cycle_A", "D_B", "G_B", "cycle_B")
WriteLog = Callable[..., Path]


def record(steps: int, *, images: int | None = None, epoch: int = 1, **losses: Any) -> str:
    position = {"epoch": epoch, "images": steps if images is None else images, "steps": steps}
    return json.dumps({**position, "losses": losses or dict.fromkeys(LOSSES, 1 / steps)})


@pytest.fixture
def write_log(tmp_path: Path) -> WriteLog:
    """Return a function that writes the log of a run from its lines."""

    def write(name: str, *lines: str) -> Path:
        log = tmp_path / "checkpoints" / name / "log.jsonl"
        log.parent.mkdir(parents=True)
        log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return log.parent

    return write


def curve(iterations: Sequence[int], values: Sequence[float], **changes: Any) -> Curve:
    steps = np.array(iterations)
    fields = {"run": "a", "loss": "G_A", "images": steps, "epochs": np.ones_like(steps)}
    return Curve(**{**fields, "iterations": steps, "values": np.array(values), **changes})


def heights(line: Line2D) -> list[float]:
    values: list[float] = np.asarray(line.get_ydata()).tolist()
    return values


def lines_of(figure: Figure, panel: int = 0) -> dict[tuple[str, bool], list[float]]:
    """Give the heights of the strong lines by color and whether they are solid."""
    return {
        (to_hex(line.get_color()), line.get_linestyle() == "-"): heights(line)
        for line in figure.axes[panel].get_lines()
        if line.get_alpha() is None
    }


def legend_of(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def test_a_run_goes_by_folder_log_or_name(write_log: WriteLog, tmp_path: Path) -> None:
    run = write_log("monet", record(10), record(20))
    checkpoints = tmp_path / "checkpoints"
    for word in (str(run), str(run / "log.jsonl"), "monet"):
        (log,) = read_runs([word], checkpoints)
        assert (log.run, log.path.resolve()) == ("monet", (run / "log.jsonl").resolve())
    assert len(read_runs([str(run), "monet"], checkpoints)) == 1
    copied = tmp_path / "copied.jsonl"
    copied.write_bytes((run / "log.jsonl").read_bytes())
    assert read_runs([str(copied)], checkpoints)[0].run == "copied"


def test_equal_names_get_their_folders(write_log: WriteLog, tmp_path: Path) -> None:
    runs = [write_log(name, record(1), record(2)) for name in ("one/monet", "two/monet", "x/cez")]
    logs = read_runs(list(map(str, runs)), tmp_path)
    assert [log.run for log in logs] == ["one/monet", "two/monet", "x/cez"]
    copied = runs[2].with_suffix(".jsonl")
    copied.write_bytes((runs[2] / "log.jsonl").read_bytes())
    logs = read_runs([str(runs[2]), str(copied)], tmp_path)
    assert [log.run for log in logs] == [str(runs[2] / "log.jsonl"), str(copied)]


def test_series_are_those_of_the_log(write_log: WriteLog) -> None:
    run = write_log(
        "old",  # a log from before global_batch, outputs and warnings, cut short by a kill
        record(5, images=10, G_A=3.0, D_A=1.0),
        record(10, images=20, G_A=2.0),
        record(15, images=30, epoch=2, G_A=float("nan"), D_A=0.5),
        json.dumps({"epoch": 2, "images": 40, "steps": 20}),
        record(25, images=50, epoch=2, G_A=1.0, D_A=None),
        '{"epoch": 2, "ima',
    )
    (log,) = read_runs([str(run)], run)
    assert log.losses == ("G_A", "D_A")
    assert log.span == 5
    G_A, D_A = log.curve("G_A"), log.curve("D_A")
    assert G_A.iterations.tolist() == [5, 10, 25]
    assert G_A.images.tolist() == [10, 20, 50]
    assert G_A.epochs.tolist() == [1, 1, 2]
    assert G_A.values.tolist() == [3.0, 2.0, 1.0]
    assert D_A.values.tolist() == [1.0, 0.5]
    assert log.curve("none").values.size == 0
    assert curves_csv([D_A]) == (
        "run,loss,iteration,image,epoch,value\nold,D_A,5,10,1,1.0\nold,D_A,15,30,2,0.5\n"
    )


def test_epochs_are_estimated_from_where_they_begin(write_log: WriteLog) -> None:
    # 105 pictures in an epoch, a report each 10: the last of epoch 4 is at 420.
    run = write_log("a", *(record(n, epoch=(n - 1) // 105 + 1) for n in range(10, 431, 10)))
    (log,) = read_runs([str(run)], run)
    assert log.epoch_images == 105
    x = log.curve("G_A").x("epochs")
    assert x[-2:] == pytest.approx([420 / 105, 430 / 105])
    assert np.array_equal(np.ceil(x), log.curve("G_A").epochs)
    with pytest.raises(OptionError, match="a is in its first epoch"):
        curve([1, 2], [1, 1]).x("epochs")


def test_smoothing_of_even_reports_is_the_usual_average() -> None:
    even = curve([10, 20, 30], [4.0, 2.0, 1.0])
    # m = .75 m + .25 v, divided by 1 - .75 ** n.
    by_hand = [1.0 / 0.25, 1.25 / 0.4375, 1.1875 / 0.578125]
    assert even.smoothed(0.75, span=10) == pytest.approx(by_hand)
    assert even.smoothed(0.0, span=10).tolist() == [4.0, 2.0, 1.0]
    assert even.smoothed(1 - 1e-12, span=1e4) == pytest.approx([4.0, 3.0, 7 / 3])


def test_smoothing_counts_iterations_not_reports() -> None:
    # The report at 30 stands for two spans: as if it had been two reports of the same value.
    uneven, even = curve([10, 30, 40], [4.0, 2.0, 1.0]), curve([10, 20, 30, 40], [4.0, 2, 2, 1])
    expected = even.smoothed(0.6, span=10)[[0, 2, 3]]
    assert uneven.smoothed(0.6, span=10) == pytest.approx(expected)


def test_the_first_iterations_look_as_in_the_whole() -> None:
    whole = curve([10, 20, 30, 40], [4.0, 2.0, 1.0, 3.0])
    cut = whole.first(30)
    assert cut.iterations.tolist() == cut.images.tolist() == [10, 20, 30]
    assert np.array_equal(cut.smoothed(0.9, span=10), whole.smoothed(0.9, span=10)[:3])


def test_losses_go_by_name_kind_or_all() -> None:
    present = [*LOSSES, "total"]
    assert choose_losses(["cycle", "G_A"], present) == ["cycle_A", "cycle_B", "G_A"]
    assert choose_losses(["G_A", "G"], present) == ["G_A", "G_B"]
    everything = ["G_A", "G_B", "D_A", "D_B", "cycle_A", "cycle_B", "total"]
    assert choose_losses(["all"], present) == everything
    with pytest.raises(OptionError, match=r"'cycl' is not.*D_A, G_A, cycle_A.*did you mean cycle"):
        choose_losses(["cycl"], present)


def test_one_run_has_a_panel_per_kind() -> None:
    curves = [
        curve([1, 2], [4.0, 2.0]),
        curve([1, 2], [3.0, 1.0], loss="G_B"),
        curve([1, 2], [7.0, 5.0], loss="total"),
    ]
    figure = draw_curves(curves, smoothing=0.5, span=1.0)
    assert [axes.get_ylabel() for axes in figure.axes] == ["Generator loss", "total loss"]
    assert figure.axes[-1].get_xlabel() == "Iteration"
    lines = lines_of(figure)
    assert lines["#d55e00", True] == pytest.approx([4.0, 8 / 3])
    assert lines["#009e73", False] == pytest.approx([3.0, 5 / 3])
    assert list(lines_of(figure, 1).values()) == [pytest.approx([7.0, 17 / 3])]
    faint = [line for line in figure.axes[0].get_lines() if line.get_alpha() is not None]
    assert [heights(line) for line in faint] == [[4.0, 2.0], [3.0, 1.0]]
    assert legend_of(figure) == ["G_A", "G_B", "total"]
    assert len(draw_curves(curves).axes[0].get_lines()) == 2


def test_runs_are_told_apart_by_color() -> None:
    names = ["_one", "two$x$", "three"]
    curves = [
        curve([1, 2], [row, row], run=name, loss=loss)
        for row, name in enumerate(names)
        for loss in ("G_A", "G_B", "D_A")
    ]
    figure = draw_curves(curves, title="a title")
    lines = lines_of(figure)
    assert len(lines) == 6
    assert len({color for color, _ in lines}) == 3
    assert legend_of(figure) == [*names, "G_A, D_A", "G_B"]
    assert figure.legends[0].get_title().get_text() == "a title"
    many = [curve([1, 2], [1.0, 1.0], run=str(run)) for run in range(12)]
    assert len(lines_of(draw_curves(many))) == 12


@pytest.mark.parametrize("width", [3.5, 8.0])
def test_the_legend_stays_inside_and_above(width: float) -> None:
    runs = ["short", "a_much_longer_name_" * 8, *(f"run_{index}" for index in range(5))]
    curves = [curve([1, 2], [0.0, 1.0], run=run) for run in runs]
    figure = draw_curves(curves, size_inches=(width, 5.0))
    figure.draw_without_rendering()
    legend = figure.legends[0].get_window_extent()
    assert figure.bbox.x0 <= legend.x0 < legend.x1 <= figure.bbox.x1
    assert legend.y0 >= figure.axes[0].get_window_extent().y1


def test_axes_count_what_is_asked_for() -> None:
    some = curve([10, 20], [1.0, 2.0], images=np.array([40, 80]), epoch_images=20.0)
    for axis, x, label in (
        ("iterations", [10, 20], "Iteration"),
        ("images", [40, 80], "Images of each domain"),
        ("epochs", [2, 4], "Epoch"),
    ):
        figure = draw_curves([some], x_axis=axis)  # type: ignore[arg-type]
        assert np.asarray(figure.axes[0].get_lines()[0].get_xdata()).tolist() == x
        assert figure.axes[0].get_xlabel() == label
        assert figure.axes[0].get_xlim()[0] == 0


def test_a_logarithmic_scale_takes_values_above_0() -> None:
    figure = draw_curves([curve([1, 2], [0.03, 7.0])], log_scale=True)
    figure.draw_without_rendering()
    assert figure.axes[0].get_yscale() == "log"
    labels = {text.get_text() for text in figure.axes[0].get_yticklabels()}
    assert {"0.05", "0.1", "1", "5"} <= labels
    with pytest.raises(OptionError, match=r"G_A of a goes down to -0\.5"):
        draw_curves([curve([1, 2], [1.0, -0.5])], log_scale=True)


@pytest.mark.parametrize(
    ("suffix", "begins"), [(".png", b"\x89PNG\r\n"), (".SVG", b"<?xml"), (".pdf", b"%PDF-")]
)
def test_the_same_curves_give_the_same_bytes(suffix: str, begins: bytes) -> None:
    some = [curve([1, 2], [1.0, 2.0], run=run) for run in ("one", "two")]
    first, second = (figure_bytes(draw_curves(some), suffix, dpi=50) for _ in range(2))
    assert first.startswith(begins)
    assert first == second
    if suffix == ".SVG":
        assert b">Generator loss</text>" in first
        assert b"dc:date" not in first


def test_a_run_that_is_not_there_shows_the_nearest(write_log: WriteLog, tmp_path: Path) -> None:
    checkpoints = write_log("monet", record(1), record(2)).parent
    (checkpoints / "new").mkdir()
    for word, says in (
        ("monte", rf"monte: no such run in {checkpoints}; did you mean monet\?"),
        (f"{checkpoints}/monte/log.jsonl", r"did you mean monet\?"),
        ("zzz", "no such run in .*; there are monet"),
        ("new", "new: holds no log.jsonl: nothing was reported"),
        (str(checkpoints), "holds no log.jsonl; give one of its runs: .*monet"),
    ):
        with pytest.raises(FolderError, match=says):
            read_runs([word], checkpoints)
    with pytest.raises(FolderError, match="which holds no run"):
        read_runs(["monet"], tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ([], "holds no report so far, and a curve takes two"),
        ([record(1)], "holds one report so far"),
        ([record(1), '{"epoch": 1, "images": 2}'], "holds one report so far"),
        ([record(1), record(5), record(5)], "report 3 is at iteration 5, and the one before at 5"),
    ],
)
def test_a_log_that_makes_no_curve_says_why(
    write_log: WriteLog, lines: list[str], says: str
) -> None:
    run = write_log("bad", *lines)
    with pytest.raises(ImpastoError, match=says):
        read_runs([str(run)], run)


@pytest.mark.parametrize("line", ["[]", '{"losses": 3}', "oops", "null"])
def test_damaged_lines_are_counted_and_left_out(
    write_log: WriteLog, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    run = write_log("bad", record(1), line, record(5), record(9))
    (log,) = read_runs([str(run)], run)
    assert [report["steps"] for report in log.records] == [1, 5, 9]
    assert caplog.messages == [f"{log.path}: 1 damaged lines are left out"]


@pytest.mark.parametrize("content", [b"name: monet\n", b"\xff\xfe\x00"])
def test_another_file_is_no_log(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "options.yaml"
    file.write_bytes(content)
    with pytest.raises(ImpastoError, match="is not a log of impasto train"):
        read_runs([str(file)], tmp_path)


def add(history: History, number: int, **losses: float) -> None:
    history.add(
        {
            "images": 10 * number,
            "epoch": 1 + number // 4,
            "losses": losses or {"G_A": float(number)},
            "learning_rate": 2e-4,
            "images_per_second": 3.0,
            "data_wait": 0.1,
        }
    )


def test_a_short_run_is_kept_whole() -> None:
    history = History()
    for number in range(1, 6):
        add(history, number)
    assert [point.images for point in history.points] == [10, 20, 30, 40, 50]
    assert [point.values["G_A"] for point in history.points] == [1, 2, 3, 4, 5]
    assert [point.epoch for point in history.points] == [1, 1, 1, 2, 2]
    assert history.names == ("G_A", "learning_rate", "images_per_second", "data_wait")


@pytest.mark.parametrize("reports", [7, 8, 9, 100, 1000, 1023, 1025])
def test_a_long_run_is_bounded_and_loses_no_mean(reports: int) -> None:
    history = History(most_points=8)
    for number in range(1, reports + 1):
        add(history, number)
        assert len(history.points) <= 8
    points = history.points
    assert sum(point.reports for point in points) == reports
    mean = sum(point.values["G_A"] * point.reports for point in points) / reports
    assert mean == pytest.approx((reports + 1) / 2)
    images = [point.images for point in points]
    assert images == sorted(set(images))
    assert images[-1] == 10 * reports
    assert len(points) >= 4
    # All but the last stand for equally many reports.
    assert len({point.reports for point in points[:-1]}) == 1


def test_a_value_that_comes_later_is_averaged_where_it_is() -> None:
    history = History(most_points=2)
    add(history, 1, G_A=1.0)
    add(history, 2, G_A=3.0, idt_A=5.0)
    add(history, 3, G_A=4.0)
    first, last = history.points
    assert (first.values["G_A"], first.values["idt_A"], first.reports) == (2.0, 5.0, 2)
    assert (last.values["G_A"], "idt_A" in last.values) == (4.0, False)


def inked(figure: Figure, color: str, panel: int = 0) -> int:
    """Count the pixels of a color within a panel of the finished picture."""
    pixels = np.asarray(Image.open(io.BytesIO(figure_bytes(figure, ".png", dpi=100))))
    box = figure.axes[panel].get_window_extent().transformed(Affine2D().scale(100 / figure.dpi))
    left, right = round(box.x0) + 3, round(box.x1)
    top, bottom = round(len(pixels) - box.y1), round(len(pixels) - box.y0) - 3
    wanted = np.array([round(255 * part) for part in to_rgb(color)])
    inside = pixels[top:bottom, left:right, :3].astype(int)
    return int((np.abs(inside - wanted).max(-1) < 30).sum())


BLUE, ORANGE = "#0072b2", "#d55e00"


def test_a_single_value_is_seen_with_its_number() -> None:
    figure = draw_curves([curve([100], [0.4567]), curve([100], [1.25], loss="G_B")])
    # A mark of 5 points is 7 pixels wide at 100 per inch, a ring is less; the number is beside it.
    assert 20 <= inked(figure, BLUE) <= 150
    assert 8 <= inked(figure, ORANGE) <= 150
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.457", "1.25"]
    ticks = figure.axes[0].get_xticks()
    assert all(tick == round(tick) for tick in ticks)


def test_points_between_missing_values_are_marked_and_lines_are_not() -> None:
    nan = float("nan")
    (lone,) = draw_curves([curve([1, 2, 3, 4], [5.0, nan, 4.0, nan])]).axes[0].lines
    assert lone.get_markevery() == [0, 2]
    (line,) = draw_curves([curve([1, 2, 3, 4], [5.0, 4.0, nan, 3.0])]).axes[0].lines
    assert line.get_markevery() == [3]
    (line,) = draw_curves([curve([1, 2], [5.0, 4.0])]).axes[0].lines
    assert line.get_markevery() == []


def test_where_there_is_nothing_the_figure_says_so() -> None:
    figure = draw_curves([curve([1, 2], [float("nan")] * 2)])
    assert [text.get_text() for text in figure.axes[0].texts] == ["no values to draw"]


@pytest.mark.parametrize("values", [[1.0], [1.0, 1.2], [0.3, 0.31], [3e-5], [20.0, 900.0]])
def test_a_logarithmic_axis_has_numbers(values: list[float]) -> None:
    (axes,) = draw_curves([curve(range(1, len(values) + 1), values)], log_scale=True).axes
    low, high = axes.get_ylim()
    inside = [tick for tick in axes.get_yticks() if low * 0.999 <= tick <= high * 1.001]
    assert len(inside) >= 2
    assert low <= min(values) <= max(values) <= high
