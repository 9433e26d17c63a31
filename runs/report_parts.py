"""The parts of the report page: what is wrong, where the training is, its curves, its tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from dominate import tags

from impasto.runs.chart import Line, line_chart
from impasto.runs.curves import loss_kind
from impasto.runs.forecast import spell_duration, spell_time
from impasto.runs.history import History
from impasto.runs.observers import Progress

__all__ = ["Report", "Status", "charts", "facts", "headline", "notices", "tables"]

Status = Literal["training", "finished", "stopped", "failed"]

# What the losses of known methods are, in the order to show them. A loss that is not here comes
# after them, and goes by its name alone.
_MEANINGS = {
    "G": "generators",
    "D": "discriminators",
    "cycle": "round trip",
    "idt": "identity",
    "perceptual": "as a network sees it",
    "loss": "cross-entropy; dashed: of held-out pictures",
    "top1": "share of right answers; dashed: of held-out pictures",
    "top5": "share with the right answer among five; dashed: of held-out pictures",
}
# A loss of both domains together comes after those of A and of B; one of held-out pictures last.
_ENDINGS = ("_A", "_B", "", "_val")
_PACE = {
    "learning_rate": "Learning rate",
    "images_per_second": "Images per second",
    "data_wait": "Waited for data, %",
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """All that the page shows of a moment.

    Attributes:
        status: what the training does.
        progress: where it is.
        record: the latest report, or empty.
        written: local time of writing.
        time_left: estimate, or None.
        error: why it could not go on, or None.
    """

    status: Status
    progress: Progress
    record: Mapping[str, Any]
    written: datetime
    time_left: timedelta | None
    error: str | None


def headline(report: Report) -> str:
    """Return one sentence: what the training does, and where it is."""
    progress = report.progress
    words = {
        "training": "Training",
        "finished": "Finished",
        "stopped": "Stopped before the end",
        "failed": "Stopped by an error",
    }
    epoch = min(progress.epoch, progress.total_epochs)
    return (
        f"{words[report.status]}: epoch {epoch:,} of {progress.total_epochs:,}, "
        f"image {progress.images:,} of {progress.total_images:,}"
    )


def notices(report: Report) -> Sequence[tags.html_tag]:
    """Return what the reader should see first: an error, then warnings."""
    found = []
    if report.error is not None:
        found.append(_notice("Stopped by an error.", report.error, "notice error"))
    warnings = report.record.get("warnings", ())
    return found + [_notice("Warning.", warning, "notice") for warning in warnings]


def _notice(kind: str, text: str, look: str) -> tags.html_tag:
    return tags.p(tags.strong(kind), " ", tags.span(text, dir="auto"), cls=look)


def facts(report: Report) -> tags.html_tag:
    """Return the numbers of the moment, name above value."""
    progress, record = report.progress, report.record
    found: dict[str, str] = {}
    if report.status == "training":
        left = report.time_left
        found["Time left"] = "known after a report" if left is None else spell_duration(left)
        if left is not None:
            found["Finish"] = spell_time(report.written + left)
    if record:
        found["Speed"] = f"{record['images_per_second']:.3g} images/s"
        found["Data wait"] = f"{record['data_wait']:.0%}"
    batch = _counted(progress.global_batch, "image")
    several = f", {progress.processes} processes" if progress.processes > 1 else ""
    found["Global batch"] = batch + several
    found["Written" if report.status == "training" else "Ended"] = spell_time(report.written)
    return tags.dl(
        [tags.div(tags.dt(name), tags.dd(text)) for name, text in found.items()], cls="facts"
    )


def charts(history: History) -> Sequence[tags.html_tag]:
    """Return the sections with the curves: losses by kind, then learning rate and speed."""
    lines = {
        name: Line(name=name, points=[(p.images, p.values[name]) for p in points])
        for name in history.names
        if (points := [point for point in history.points if name in point.values])
    }
    if not lines:
        return [_section("Losses", [], "None reported yet.")]
    kinds: dict[str, list[Line]] = {kind: [] for kind in _MEANINGS}
    for name in (name for name in lines if name not in _PACE):
        kinds.setdefault(loss_kind(name), []).append(lines[name])
    panels = [
        line_chart(kind, sorted(some, key=_place), note=_MEANINGS.get(kind, ""))
        for kind, some in kinds.items()
        if some
    ]
    hint = "Over the images seen. Beside a thin line, the bold one is its moving mean."
    pace = [_pace_chart(name, title, lines[name].points) for name, title in _PACE.items()]
    return [_section("Losses", panels, hint), _section("Pace", pace)]


def _place(line: Line) -> int:
    return _ENDINGS.index(line.name[len(loss_kind(line.name)) :])


def _pace_chart(name: str, title: str, points: Sequence[tuple[float, float]]) -> tags.html_tag:
    if name == "data_wait":
        points = [(x, 100 * y) for x, y in points]
    line = Line(name="", points=points)
    return line_chart(title, [line], from_zero=True, smooth=name != "learning_rate")


def _section(title: str, panels: Sequence[tags.html_tag], hint: str = "") -> tags.html_tag:
    head = tags.div(tags.h2(title), tags.p(hint, cls="hint") if hint else "", cls="section-head")
    return tags.section(head, tags.div(panels, cls="panels"), cls=title.lower())


def tables(options: Mapping[str, Any], environment: Mapping[str, str]) -> tags.html_tag:
    """Return the options and the environment, folded up."""
    section = tags.section(cls="tables")
    for title, values in (("Options", options), ("Environment", environment)):
        rows = [
            tags.div(tags.dt(name), tags.dd("none" if value is None else str(value), dir="auto"))
            for name, value in values.items()
        ]
        folded = tags.details(tags.summary(title), tags.dl(rows), id=title.lower())
        section.add(folded)
    return section


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
