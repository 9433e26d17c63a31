"""losses.csv row by row, and what its curves show."""

import csv
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from impasto.gatys.optim.iterates import Iterate
from impasto.gatys.outputs.loss_log import LossLog, LossRow, draw_losses, read_losses
from impasto.options.errors import ImpastoError
from impasto.runs.pages.figures import figure_bytes


def row(evaluations: int, *, scale: int = 1, content: float = 0.1, style: float = 2.0) -> LossRow:
    return LossRow(
        scale=scale,
        step=evaluations,
        evaluations=evaluations,
        losses={
            "content": content,
            "style": style,
            "variation": 0.01,
            "value_range": 0.0,
            "total": content + style + 0.01,
        },
        seconds=evaluations / 3,
    )


def iterate(scale: int, step: int, evaluations: int, seconds: float) -> Iterate:
    losses = {"content": 0.25, "style": 1 / 3, "variation": 0.5, "value_range": 0.0}
    return Iterate(
        step=step,
        steps=20,
        scale=scale,
        scales=2,
        evaluations=evaluations,
        height=8,
        width=9,
        losses={**losses, "total": sum(losses.values())},
        image=torch.zeros(1, 3, 8, 9),
        seconds=seconds,
    )


def lines_of(figure: Figure) -> dict[str, Any]:
    return {str(line.get_gid()): line for line in figure.axes[0].lines if line.get_gid()}


def test_rows_are_on_disk_as_they_come(tmp_path: Path) -> None:
    path = tmp_path / "new" / "losses.csv"
    log = LossLog(path)
    assert not path.exists()
    for count, one in enumerate([row(0, content=0.0), row(10), row(20, style=1 / 3)], start=1):
        log.add(one)
        with path.open(newline="") as file:
            assert len(list(csv.DictReader(file))) == count
    header = "scale,step,evaluations,content,style,variation,value_range,total,seconds"
    assert path.read_text().splitlines()[0] == header
    assert read_losses(path) == log.rows  # every digit


def test_an_earlier_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "losses.csv"
    for evaluations in (10, 20):
        LossLog(path).add(row(evaluations))
    assert read_losses(path) == [row(20)]


def test_a_loss_of_one_s_own_has_a_column_and_a_curve(tmp_path: Path) -> None:
    log = LossLog(tmp_path / "losses.csv")
    for step in (1, 2):
        losses = {"content": 0.5, "edges": 0.25 / step, "total": 0.5 + 0.25 / step}
        log.add(LossRow(scale=1, step=step, evaluations=step, losses=losses, seconds=1.0))
    assert log.path.read_text().startswith("scale,step,evaluations,content,edges,total,seconds\n")
    assert read_losses(log.path) == log.rows
    figure = draw_losses({"a": log.rows})
    np.testing.assert_array_equal(lines_of(figure)["a edges"].get_ydata(), [0.25, 0.125])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["content", "edges"]


def test_it_watches_an_optimization(tmp_path: Path) -> None:
    log = LossLog(tmp_path / "losses.csv")
    for one in (iterate(1, 10, 10, 2.0), iterate(1, 20, 20, 4.5), iterate(2, 10, 30, 1.0)):
        log(one)
    assert [(found.scale, found.evaluations, found.seconds) for found in log.rows] == [
        (1, 10, 2.0),
        (1, 20, 4.5),
        (2, 30, 5.5),
    ]
    assert log.rows[0].losses["style"] == 1 / 3


def with_losses(**losses: float) -> LossRow:
    return replace(row(1), losses={**row(1).losses, **losses})


def test_the_total_is_checked() -> None:
    with pytest.raises(ValueError, match=r"expected a total of 2\.11.*, got 2\.2"):
        with_losses(total=2.2)
    with_losses(total=float(np.float32(2.11)))  # float32's rounding passes
    with_losses(content=float("nan"), total=float("nan"))  # a divergence is noted too
    with_losses(style=float("inf"), total=float("inf"))
    with pytest.raises(ValueError, match="expected losses and their total, got content"):
        replace(row(1), losses={"content": 1.0})


def test_a_row_cut_short_is_left_out(tmp_path: Path) -> None:
    log = LossLog(tmp_path / "losses.csv")
    log.add(row(10))
    log.add(row(20))
    data = log.path.read_bytes()
    for cut in (1, 5, 20):
        log.path.write_bytes(data[:-cut])
        assert read_losses(log.path) == [row(10)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected the columns scale, step"),
        ("a,b\n1,2\n", "expected the columns scale, step"),
        ("HEADER1,2,x,1,1,0,0,2,1\n", "line 2 is damaged"),
        ("HEADER1,2\n", "line 2 is damaged"),
        ("HEADER1,1,1,1,1,0,0,2,1\n1,2,2,1,1,0,0,3,1\n", "line 3 is damaged: expected a total"),
    ],
)
def test_damaged_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "losses.csv"
    header = "scale,step,evaluations,content,style,variation,value_range,total,seconds\n"
    path.write_text(text.replace("HEADER", header))
    with pytest.raises(ImpastoError, match=f"losses.csv: {message}"):
        read_losses(path)


def test_files_that_cannot_be_read_or_made(tmp_path: Path) -> None:
    with pytest.raises(ImpastoError, match=r"gone.csv: cannot be read: no such file"):
        read_losses(tmp_path / "gone.csv")
    (tmp_path / "file").write_bytes(b"\xff")
    with pytest.raises(ImpastoError, match=r"cannot be read: it is no text"):
        read_losses(tmp_path / "file")
    with pytest.raises(ImpastoError, match=r"cannot be written"):
        LossLog(tmp_path / "file" / "losses.csv").add(row(1))


def test_a_full_disk_does_not_end_the_run(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    log = LossLog(small_disk / "losses.csv")
    log.add(row(1))
    ballast = small_disk / "ballast"
    with pytest.raises(OSError, match="No space"), ballast.open("wb") as file:
        file.write(bytes(2**20))
    caplog.set_level(logging.WARNING)
    count = 2
    while not caplog.messages and count < 500:
        log.add(row(count))
        count += 1
    log.add(row(count))
    assert len(caplog.messages) == 1
    assert "losses.csv: cannot be written (No space left on device)" in caplog.text
    ballast.unlink()
    log.add(row(count + 1))
    assert read_losses(log.path) == log.rows
    assert len(log.rows) == count + 1


def test_content_is_solid_and_style_dotted_on_a_logarithmic_scale() -> None:
    rows = [row(0, content=0.0), row(10), row(20, content=0.3, style=1.0)]
    figure = draw_losses({"a": rows}, title="monet $1$")
    lines = lines_of(figure)
    assert figure.axes[0].get_yscale() == "log"
    assert lines["a content"].get_linestyle() == "-"
    assert lines["a style"].get_linestyle() != "-"
    np.testing.assert_array_equal(lines["a content"].get_ydata(), [np.nan, 0.1, 0.3])
    np.testing.assert_array_equal(lines["a style"].get_ydata(), [2.0, 2.0, 1.0])
    np.testing.assert_array_equal(lines["a style"].get_xdata(), [0, 10, 20])
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["content", "style"]
    assert figure.legends[0].get_title().get_text() == "monet $1$"


def test_the_figure_says_why_the_content_loss_rises() -> None:
    def note(*contents: float) -> str:
        rows = [row(index, content=content) for index, content in enumerate(contents)]
        return draw_losses({"a": rows}).get_supxlabel()

    assert note(0.0, 0.1, 0.3) == (
        "The picture starts as the content, so the content loss rises from 0."
    )
    assert note(0.9, 0.5, 0.3) == ""  # from noise, it falls


def test_several_runs_have_a_color_each() -> None:
    runs = {f"_run {index}": [row(0), row(10)] for index in range(9)}
    figure = draw_losses({**runs, "none": []})
    lines = lines_of(figure)
    assert len({line.get_color() for line in lines.values()}) == 9
    assert lines["_run 3 content"].get_color() == lines["_run 3 style"].get_color()
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == [*runs, "content", "style"]
    few = lines_of(draw_losses({"a": [row(0), row(10)], "b": [row(0), row(10)]}))
    assert few["a style"].get_color() != few["b style"].get_color()


def test_scales_are_marked() -> None:
    rows = [row(10), row(20), row(30, scale=2), row(40, scale=3)]
    marks = [line for line in draw_losses({"a": rows}).axes[0].lines if not line.get_gid()]
    assert [line.get_xdata()[0] for line in marks] == [20, 30]  # type: ignore[index]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_same_curves_same_bytes(suffix: str) -> None:
    rows = [row(0, content=0.0), row(10), row(20)]
    one, other = (figure_bytes(draw_losses({"a": rows}), suffix, dpi=60) for _ in range(2))
    assert one == other


def test_hardly_anything_to_draw() -> None:
    assert len(lines_of(draw_losses({"a": [row(5)]}))) == 2
    zero = draw_losses({"a": [row(0, content=0.0, style=0.0)]})
    assert figure_bytes(zero, ".png", dpi=40)
    assert [text.get_text() for text in zero.axes[0].texts] == ["no values to draw"]
    nothing = draw_losses({"a": [row(0), row(1, content=float("nan"))]})
    assert figure_bytes(nothing, ".png", dpi=40)
    with pytest.raises(ImpastoError, match="no losses to draw"):
        draw_losses({"a": []})


def test_of_a_single_evaluation_the_losses_are_told_apart() -> None:
    figure = draw_losses({"a": [row(1)], "b": [row(1, content=0.2)]})
    lines, (axes,) = lines_of(figure), figure.axes
    assert all(line.get_marker() == "o" and line.get_markevery() == [0] for line in lines.values())
    faces = {name: line.get_markerfacecolor() for name, line in lines.items()}
    assert faces["a style"] == faces["b style"] == "white"
    assert faces["a content"] == lines["a content"].get_color() != faces["b content"]
    assert [text.get_text() for text in axes.texts] == ["0.1", "2", "0.2", "2"]
    samples = figure.legends[0].legend_handles
    assert [one.get_markerfacecolor() for one in samples[2:]] == ["#555555", "white"]  # type: ignore[union-attr]
    assert [tick for tick in axes.get_xticks() if 0 <= tick <= 1] == [0, 1]


def test_names_whose_bytes_are_no_text_are_drawn() -> None:
    rows = [row(0), row(10)]
    odd = draw_losses({"caf\udce9": rows}, title="of caf\udce9")
    shown = draw_losses({"caf\\udce9": rows}, title="of caf\\udce9")
    assert figure_bytes(odd, ".svg") == figure_bytes(shown, ".svg")
