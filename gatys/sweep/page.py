"""The presentation of a sweep: contact sheet, loss curves, and a page with both."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean

import numpy as np
from dominate import tags
from matplotlib.figure import Figure
from numpy.typing import NDArray

from impasto.data.decode import Picture, read_picture
from impasto.data.encode import write_picture
from impasto.data.standardize import flatten_alpha
from impasto.gatys.outputs.loss_log import draw_losses, read_losses
from impasto.gatys.outputs.sheets import draw_contact_sheet
from impasto.gatys.sweep.cells import CellResult
from impasto.gatys.sweep.plan import SweepCell, SweepPlan
from impasto.gatys.sweep.run import SweepResult
from impasto.runs.displays.bar import spell_rest
from impasto.runs.pages.figures import write_figure
from impasto.runs.pages.page import page, relative_url, write_page

__all__ = ["write_sweep_page"]

# More curves cannot be told apart.
_MOST_CURVES = 12
_NUMBERS = ("total", "style", "content")


def write_sweep_page(result: SweepResult) -> list[Path]:
    """Write contact_sheet.png, losses.png and index.html; return the written files.

    Raises:
        OSError: the folder cannot be written.
    """
    written = []
    done = [cell for cell in result.cells if result.picture(cell)]
    sheet, curves = result.folder / "contact_sheet.png", result.folder / "losses.png"
    for old in (sheet, curves):
        old.unlink(missing_ok=True)
    if done:
        write_picture(sheet, Picture(rgb=_sheet(result, done)))
        written.append(sheet)
        write_figure(curves, _curves(result, done))
        written.append(curves)
    written.append(_page(result, done))
    return written


def _place(plan: SweepPlan, cell: SweepCell) -> tuple[str, str]:
    """Return the labels of the row and the column of a cell."""
    return (
        ", ".join(cell.labels[axis] for axis in plan.rows) or " ",
        ", ".join(cell.labels[axis] for axis in plan.columns),
    )


def _sheet(result: SweepResult, done: Sequence[SweepCell]) -> NDArray[np.uint8]:
    plan = result.plan
    places = [_place(plan, cell) for cell in result.cells]
    return draw_contact_sheet(
        {_place(plan, cell): flatten_alpha(read_picture(_there(result, cell))) for cell in done},
        list(dict.fromkeys(row for row, _ in places)),
        list(dict.fromkeys(column for _, column in places)),
        row_title=", ".join(plan.rows),
        column_title=", ".join(plan.columns),
        failed={_place(plan, cell) for cell in result.cells if result.has_failed(cell)},
    )


def _there(result: SweepResult, cell: SweepCell) -> Path:
    picture = result.picture(cell)
    assert picture is not None  # noqa: S101 - only cells that are done
    return picture


def _curves(result: SweepResult, done: Sequence[SweepCell]) -> Figure:
    shown = done[:: -(-len(done) // _MOST_CURVES)]
    named = {
        ", ".join(cell.labels.values()): read_losses(result.files(cell).losses) for cell in shown
    }
    return draw_losses(named, title=result.plan.title)


def _page(result: SweepResult, done: Sequence[SweepCell]) -> Path:
    plan = result.plan
    document = page(plan.title, description=plan.source)
    main = document.main
    main.add(tags.p(_summary(result)))
    if result.failed:
        section = main.add(tags.section())
        section.add(tags.h2("Failed"))
        listed = section.add(tags.ul())
        for failed in result.failed:
            listed.add(tags.li(f"{', '.join(failed.labels.values())}: {failed.error}"))
    if done:
        section = main.add(tags.section())
        section.add(tags.h2("Contact sheet"))
        section.add(_picture("contact_sheet.png", "all pictures, laid out by their settings"))
        section = main.add(tags.section())
        section.add(tags.h2("Losses"))
        section.add(_picture("losses.png", "curves of the losses: content solid, style dotted"))
    main = main.add(tags.section())
    main.add(tags.h2("Results"))
    main.add(tags.p(tags.a("results.csv", href="results.csv")))
    main.add(tags.p("To make one cell again by hand, give its recipe to the command that made it:"))
    command = "impasto stylize --config RECIPE --output again.png"
    main.add(tags.pre(f"OMP_NUM_THREADS={result.threads} {command}"))
    main.add(tags.div(cls="measures-frame")).add(_table(result))
    path = result.folder / "index.html"
    write_page(path, document)
    return path


def _summary(result: SweepResult) -> str:
    """Say how many cells are done, how long one takes, and how long the rest will."""
    done, count = len(result.done), len(result.cells)
    failed = f", {len(result.failed)} failed" if result.failed else ""
    said = f"{done} of {count} cells are done{failed}."
    timed = [cell for cell in result.done if cell.wall_seconds]
    if timed:
        whole, optimizing = (
            spell_rest(fmean(getattr(cell, name) for cell in timed))
            for name in ("wall_seconds", "seconds")
        )
        said += f" A cell takes {whole} on average, {optimizing} of it optimizing."
    if result.seconds_left:
        said += (
            f" The {count - done} that are left will take about {spell_rest(result.seconds_left)}; "
            "the same command does them."
        )
    return said


def _picture(name: str, text: str) -> tags.a:
    link = tags.a(href=name)
    link.add(tags.img(src=name, alt=text, style="max-width: 100%; height: auto"))
    return link


def _table(result: SweepResult) -> tags.table:
    axes = list(result.plan.axes)
    table = tags.table(cls="measures")
    head = table.add(tags.thead()).add(tags.tr())
    times = ("whole cell, s", "optimizing, s")
    for name in [*axes, *_NUMBERS, *times, "evaluations", "peak MiB", "picture", "recipe"]:
        head.add(tags.th(name, scope="col"))
    body = table.add(tags.tbody())
    for cell in result.cells:
        row = body.add(tags.tr())
        for label in cell.labels.values():
            row.add(tags.td(label))
        outcome = result.results.get(cell.number)
        for text in _numbers(outcome):
            row.add(tags.td(text))
        picture = result.picture(cell)
        place = row.add(tags.td())
        if picture is not None:
            place.add(tags.a("picture", href=relative_url(picture, result.folder)))
        place = row.add(tags.td())
        if outcome is not None:
            recipe = relative_url(result.files(cell).recipe, result.folder)
            place.add(tags.a("recipe", href=recipe))
    return table


def _numbers(result: CellResult | None) -> list[str]:
    if result is None:
        return ["not done", *[""] * (len(_NUMBERS) + 3)]
    if result.error:
        return ["failed", *[""] * (len(_NUMBERS) + 3)]
    return [
        *(f"{result.losses[name]:.4g}" for name in _NUMBERS),
        f"{result.wall_seconds:.1f}" if result.wall_seconds else "",
        f"{result.seconds:.1f}",
        str(result.evaluations),
        f"{result.peak_memory_mib:.0f}",
    ]
