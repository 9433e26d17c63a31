"""web/index.html of a run: where it is, its curves, its samples; refreshes itself while it runs.

From top to bottom the page says what looks wrong, where the training is, its curves and its tables.
Below stand the samples in a grid, with a slider over all epochs: the page holds the newest pictures
and the list of the epochs, and ``report.js`` loads those of an older epoch by their file names, the
reference's, when the reader asks for it. So the page does not grow.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from dominate import tags
from dominate.util import raw

from impasto.data.atomic import atomic_path
from impasto.data.decode import read_size
from impasto.data.encode import encode_png
from impasto.data.provenance import PREVIEWS_MARK
from impasto.options.errors import PictureError
from impasto.runs.curves import History, is_measured, loss_kind
from impasto.runs.directory import RunDirectory
from impasto.runs.displays.console import Forecast, spell_duration, spell_time
from impasto.runs.log import read_log
from impasto.runs.observers import Observer, Pictures, Progress
from impasto.runs.pages.charts import Line, line_chart
from impasto.runs.pages.page import page, relative_url, write_page

__all__ = [
    "Report",
    "ReportPage",
    "SampleGrid",
    "SamplePictures",
    "Status",
    "charts",
    "facts",
    "headline",
    "list_samples",
    "notices",
    "sample_file",
    "tables",
]


Status = Literal["training", "finished", "stopped", "failed"]

# What the losses of known methods are, in the order to show them. A loss that is not here comes
# after them, and goes by its name alone.
_MEANINGS = {
    "G": "generators",
    "D": "discriminators",
    "cycle": "round trip",
    "G_GAN": "generator, how false its pairs look",
    "G_L1": "distance from the true pictures",
    "D_real": "discriminator, true pairs",
    "D_fake": "discriminator, translated pairs",
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


_MEASURES = {
    "swd": "Sliced Wasserstein distance",
    "kid_lite": "KID (lite)",
    "palette": "Palette distance",
    "content": "Content distance",
}
# What the log calls the other rows, after the name of a measure: other real pictures and inputs.
_BESIDE = {"_floor": "floor", "_nothing": "do nothing"}
_MEASURED_HINT = (
    "Of pictures that are not trained on, between epochs. The floor is the distance of other real "
    "pictures; do nothing is that of the untranslated ones. Content distance is from the input."
)


@dataclass(frozen=True, kw_only=True)
class Report:
    """The state of a training that the page shows.

    Attributes:
        status: activity of the training.
        progress: progress of the training.
        record: latest report; empty if there is none.
        written: local time of writing.
        time_left: estimated remaining time, or None.
        error: error that ended the training, or None.
    """

    status: Status
    progress: Progress
    record: Mapping[str, Any]
    written: datetime
    time_left: timedelta | None
    error: str | None


def headline(report: Report) -> str:
    """Return one sentence about the activity and progress of the training."""
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
    """Return the current numbers, each name above its value."""
    progress, record = report.progress, report.record
    found: dict[str, str] = {}
    if report.status == "training":
        left = report.time_left
        found["Time left"] = "known after a report" if left is None else spell_duration(left)
        if left is not None:
            found["Finish"] = spell_time(report.written + left)
    if (speed := record.get("images_per_second")) is not None:
        found["Speed"] = f"{speed:.3g} images/s"
    if (wait := record.get("data_wait")) is not None:
        found["Data wait"] = f"{wait:.0%}"
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
    for name in (name for name in lines if name not in _PACE and not is_measured(name)):
        kinds.setdefault(loss_kind(name), []).append(lines[name])
    panels = [
        line_chart(kind, sorted(some, key=_place), note=_MEANINGS.get(kind, ""))
        for kind, some in kinds.items()
        if some
    ]
    hint = "Over the images seen. Beside a thin line, the bold one is its moving mean."
    pace = [
        _pace_chart(name, title, lines[name].points)
        for name, title in _PACE.items()
        if name in lines
    ]
    measured = _measured_charts(lines)
    return [
        *([_section("Evaluation", measured, _MEASURED_HINT)] if measured else []),
        _section("Losses", panels, hint),
        _section("Pace", pace),
    ]


def _measured_charts(lines: Mapping[str, Line]) -> list[tags.html_tag]:
    """Return a chart for each measure and generator, with its floor and that of doing nothing."""
    found = []
    for name in filter(is_measured, lines):
        if name.endswith(tuple(_BESIDE)):
            continue
        measure, domain = name.split("_", 1)[1].rsplit("_", 1)
        beside = {
            words: lines[name + ending]
            for ending, words in _BESIDE.items()
            if name + ending in lines
        }
        curves = [
            Line(name="translations", points=lines[name].points),
            *(Line(name=words, points=line.points) for words, line in beside.items()),
        ]
        way = {"A": "A to B", "B": "B to A"}.get(domain, domain)
        title = f"{_MEASURES.get(measure, measure)}, {way}"
        found.append(line_chart(title, curves, note="lower is nearer", smooth=False))
    return found


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


_NAME = re.compile(r"epoch(\d{3,})_(\w+)\.png")


class SamplePictures(Observer):
    """Writes ``epoch007_fake_B.png`` and so on; later samples of an epoch replace earlier ones.

    Args:
        folder: folder for the pictures, for example ``web/images`` of a run directory. It and the
            one above it are made where they are missing, but not the run directory: one that was
            removed would come again without its options, and could not be resumed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_start(self, progress: Progress) -> None:
        """Remove the samples of epochs that are yet to come, from an earlier start of the run."""
        for epoch, files in list_samples(self._folder).items():
            if epoch > progress.epoch or progress.images == 0:
                for file in files.values():
                    file.unlink(missing_ok=True)

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        """Write the pictures."""
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(exist_ok=True)
        # A run that lies among the photographs it learns from adds none to them.
        (self._folder / PREVIEWS_MARK).touch()
        for name, rgb in samples.items():
            with atomic_path(sample_file(self._folder, progress.epoch, name)) as temporary:
                temporary.write_bytes(encode_png(rgb))


def sample_file(folder: Path, epoch: int, name: str) -> Path:
    """Return the file of a sample, e.g. ``epoch007_fake_B.png``."""
    return folder / f"epoch{epoch:03d}_{name}.png"


def list_samples(folder: Path) -> Mapping[int, Mapping[str, Path]]:
    """Return the samples in a folder: epoch -> name -> file, in order of epochs."""
    found: dict[int, dict[str, Path]] = {}
    for file in sorted(folder.glob("epoch*.png")):
        match = _NAME.fullmatch(file.name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = file
    return dict(sorted(found.items()))


# The reference's names: a row for each domain, with what a network makes of a picture of it.
_ROWS = (("real_A", "fake_B", "rec_A", "idt_B"), ("real_B", "fake_A", "rec_B", "idt_A"))
_PICTURE_MEANINGS = {
    "real": "input",
    "fake": "translated",
    "rec": "and back",
    "idt": "identity",
    "hardest": "held out, high loss",
    "training": "as learnt from",
}


@dataclass(kw_only=True)
class SampleGrid:
    """Knows which epochs have samples, and the newest of them.

    Attributes:
        folder: folder of the sample pictures.
        runs: epochs that have samples, as first and last of runs of consecutive ones.
        sizes: width and height of the newest samples in pixels, by name.
        version: number of pictures seen when the newest samples were made, which changes as they
            are rewritten within an epoch.
    """

    folder: Path
    runs: list[tuple[int, int]] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    version: int = 0

    def restore(self, progress: Progress) -> None:
        """Load the list of samples from the folder."""
        samples = list_samples(self.folder)
        # An epoch that lacks one, after a full disk say, would be shown with a hole.
        names = {name for files in samples.values() for name in files}
        samples = {epoch: files for epoch, files in samples.items() if names <= set(files)}
        for epoch in samples:
            self._add_epoch(epoch)
        if samples:
            self.sizes = _sizes(samples[self.runs[-1][1]])
            self.version = progress.images

    def add(self, progress: Progress, samples: Pictures) -> None:
        """Register new samples, whose files must have been written."""
        self._add_epoch(progress.epoch)
        self.sizes = {name: (rgb.shape[1], rgb.shape[0]) for name, rgb in samples.items()}
        self.version = progress.images

    def section(self, page_folder: Path) -> tags.html_tag:
        """Return the section of a page in ``page_folder``."""
        section = tags.section(id="samples")
        head = section.add(tags.div(tags.h2("Samples"), cls="section-head"))
        if not self.sizes:
            section.add(tags.p("None yet.", cls="hint"))
            return section
        head.add(self._slider(page_folder))
        newest = self.runs[-1][1]
        for row in _rows(list(self.sizes)):
            cells = [self._cell(name, newest, page_folder) for name in row]
            section.add(tags.div(cells, cls="samples"))
        return section

    def _add_epoch(self, epoch: int) -> None:
        first, last = self.runs[-1] if self.runs else (epoch, epoch - 1)
        if epoch == last + 1:
            self.runs[-1:] = [(first, epoch)]
        elif epoch > last:
            self.runs.append((epoch, epoch))

    def _slider(self, page_folder: Path) -> tags.html_tag:
        count = sum(last - first + 1 for first, last in self.runs)
        newest = self.runs[-1][1]
        slider = tags.input_(
            type="range",
            id="epoch",
            min="0",
            max=str(count - 1),
            value=str(count - 1),
            autocomplete="off",
            aria_valuetext=f"epoch {newest}",
            data_epochs=",".join(f"{first}-{last}" for first, last in self.runs),
            data_folder=f"{relative_url(self.folder, page_folder)}/",
        )
        label = tags.label("Epoch ", tags.b(str(newest)), html_for="epoch")
        if count < 2:
            return tags.div(label, cls="epochs")
        slider_and_button = tags.span(
            slider,
            tags.button("Play", type="button", id="play", aria_label="Play the epochs"),
            cls="needs-js",
        )
        return tags.div(label, slider_and_button, cls="epochs")

    def _cell(self, name: str, epoch: int, page_folder: Path) -> tags.html_tag:
        file = relative_url(sample_file(self.folder, epoch, name), page_folder)
        source = f"{file}?images={self.version}"
        width, height = self.sizes[name]
        meaning = _PICTURE_MEANINGS.get(name.rsplit("_", 1)[0], "")
        image = tags.img(
            src=source, alt=f"{name} {meaning}".strip(), width=width, height=height, data_name=name
        )
        caption = tags.figcaption(tags.span(name), tags.small(meaning) if meaning else "")
        return tags.figure(tags.a(image, href=source), caption)


def _rows(names: list[str]) -> list[list[str]]:
    """Share the names out to the rows of the reference, and one more for what it does not know."""
    known = [[name for name in row if name in names] for row in _ROWS]
    others = [name for name in names if not any(name in row for row in _ROWS)]
    return [row for row in (*known, others) if row]


def _sizes(files: Mapping[str, Path]) -> dict[str, tuple[int, int]]:
    """Read the sizes of pictures; leaves out what cannot be read."""
    sizes = {}
    for name, file in files.items():
        try:
            sizes[name] = read_size(file)
        except PictureError:
            continue
    return sizes


_RESTS_PER_WRITE = 20  # reports that come faster take at most a twentieth of a processor
_SHORTEST_RELOAD_SECONDS, _LONGEST_RELOAD_SECONDS = 5.0, 60.0
# A training that was killed cannot say so. Before the first report nobody knows how long one takes.
_MISSED_REPORTS, _LEAST_SILENCE_SECONDS, _FIRST_SILENCE_SECONDS = 5, 180.0, 3600.0


class ReportPage(Observer):
    """Writes a page that opens from disk; its cost does not grow with the length of the run.

    Args:
        directory: directory of the run. The sample pictures go to ``web/images``, under the names
            that :class:`impasto.runs.SamplePictures` gives them.
        options: options of the run by their flat names, to be shown.
        environment: facts about the machine, to be shown.
    """

    def __init__(
        self,
        directory: RunDirectory,
        *,
        options: Mapping[str, Any],
        environment: Mapping[str, str],
    ) -> None:
        self._directory = directory
        self._pictures = SamplePictures(directory.web / "images")
        self._samples = SampleGrid(folder=directory.web / "images")
        self._history, self._forecast = History(), Forecast()
        self._record: Mapping[str, Any] = {}
        self._note = ""
        self._tables: str = tables(options, environment).render(indent="")
        self._rest_until = 0.0

    def on_start(self, progress: Progress) -> None:
        """Load the reports and samples of an earlier part of the run."""
        self._pictures.on_start(progress)
        self._samples.restore(progress)
        for record in read_log(self._directory.log_file):
            if record["images"] <= progress.images:
                self._history.add(record)
                self._record = record
                self._note = record.get("note", self._note)
        self._write(progress)

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Add a point to the curves; write the page, unless that was done just now."""
        self._record = {"epoch": progress.epoch, "images": progress.images, **record}
        self._history.add(self._record)
        self._note = record.get("note", self._note)
        self._forecast.add(record)
        started = time.monotonic()
        if started >= self._rest_until:
            self._write(progress)
            now = time.monotonic()
            self._rest_until = now + _RESTS_PER_WRITE * (now - started)

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        """Show the newest pictures."""
        self._pictures.on_samples(progress, samples)
        self._samples.add(progress, samples)
        self._write(progress)

    def on_end(self, progress: Progress, error: str | None = None) -> None:
        """Show that the training has ended, and why."""
        if error is not None:
            self._write(progress, "failed", error)
        else:
            ended = progress.images >= progress.total_images
            self._write(progress, "finished" if ended else "stopped")

    def _write(
        self, progress: Progress, status: Status = "training", error: str | None = None
    ) -> None:
        report = Report(
            status=status,
            progress=progress,
            record=self._record,
            written=datetime.now(UTC).astimezone(),
            time_left=self._forecast.time_left(progress),
            error=error,
        )
        title = self._directory.path.name
        document = page(title, description=headline(report), extra="report")
        if status == "training":
            self._keep_fresh(document)
        main = document.main
        main.add(*notices(report))
        # As text: dominate leaves out a value of 0.
        done, total = str(progress.images), str(max(1, progress.total_images))
        main.add(tags.progress(value=done, max=total, aria_label="Images seen"))
        main.add(facts(report), self._samples.section(self._directory.web))
        if self._note:
            main.add(tags.section(tags.p(self._note, cls="hint"), id="measured"))
        main.add(*charts(self._history), raw(self._tables))
        write_page(self._directory.web / "index.html", document)

    def _keep_fresh(self, document: Any) -> None:
        """Let the page reload itself, and tell when the training has fallen silent."""
        seconds = self._forecast.report_seconds
        reload = min(max((seconds or 0) / 2, _SHORTEST_RELOAD_SECONDS), _LONGEST_RELOAD_SECONDS)
        silence = _FIRST_SILENCE_SECONDS
        if seconds is not None:
            silence = max(_MISSED_REPORTS * seconds, _LEAST_SILENCE_SECONDS)
        refresh = tags.meta(http_equiv="refresh", content=f"{reload:.0f}")
        document.head.add(tags.noscript(refresh))
        silent = tags.p(id="silent", cls="notice", hidden=True, role="status")
        silent.set_attribute("data-reload-seconds", f"{reload:g}")
        silent.set_attribute("data-silence-seconds", f"{silence:g}")
        silent.set_attribute("data-written", f"{time.time():.0f}")
        document.main.add(silent)
