"""web/index.html of a run: where it is, its latest losses, its latest samples."""

from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dominate import tags

from giverny.runs.directory import RunDirectory
from giverny.runs.log import read_log
from giverny.runs.observers import Observer, Pictures, Progress
from giverny.runs.page import page, relative_url, write_page
from giverny.runs.samples import SamplePictures

__all__ = ["ReportPage"]

_SHOWN_REPORTS = 20


class ReportPage(Observer):
    """Writes a page that opens from disk; its cost does not grow with the length of the run.

    Args:
        directory: the run. Sample pictures are expected in ``web/images`` under the names that
            :class:`giverny.runs.SamplePictures` gives them.
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
        self._records: deque[Mapping[str, Any]] = deque(maxlen=_SHOWN_REPORTS)
        self._samples: dict[str, Path] = {}

    def on_start(self, progress: Progress) -> None:
        """Take up what an earlier part of the run reported."""
        self._pictures.on_start(progress)
        for record in read_log(self._directory.log_file):
            if record["images"] <= progress.images:
                self._records.append(record)
        self._write(progress, "training")

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Add a line."""
        self._records.append({"epoch": progress.epoch, "images": progress.images, **record})
        self._write(progress, "training")

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        """Show the newest pictures."""
        self._pictures.on_samples(progress, samples)
        folder = self._directory.web / "images"
        self._samples = {name: folder / f"epoch{progress.epoch:03d}_{name}.png" for name in samples}
        self._write(progress, "training")

    def on_end(self, progress: Progress, error: str | None = None) -> None:
        """Say that it is over."""
        ended = progress.images >= progress.total_images
        self._write(progress, "finished" if ended else "stopped")

    def _write(self, progress: Progress, status: str) -> None:
        epoch = min(progress.epoch, progress.total_epochs)
        document = page(
            self._directory.path.name,
            description=(
                f"{status}: image {progress.images} of {progress.total_images}, "
                f"epoch {epoch} of {progress.total_epochs}"
            ),
        )
        path = self._directory.web / "index.html"
        shown = {name: file for name, file in self._samples.items() if file.is_file()}
        if shown:
            strip = document.main.add(tags.section(cls="strip")).add(tags.div(cls="samples"))
            for name, file in shown.items():
                cell = strip.add(tags.figure())
                cell.add(tags.img(src=relative_url(file, path.parent), alt=name))
                cell.add(tags.figcaption(name))
        if self._records:
            document.main.add(tags.div(cls="measures-frame")).add(_table(self._records))
        write_page(path, document)


def _table(records: "deque[Mapping[str, Any]]") -> tags.html_tag:
    """Return the latest reports, the newest first."""
    names = list(records[-1]["losses"])
    table = tags.table(cls="measures")
    head = table.add(tags.thead()).add(tags.tr())
    for name in ("epoch", "image", *names, "learning rate", "images/s", "waited"):
        head.add(tags.th(name, scope="col"))
    body = table.add(tags.tbody())
    for record in reversed(records):
        line = body.add(tags.tr())
        losses = [f"{record['losses'][name]:.3f}" for name in names if name in record["losses"]]
        for text in (
            str(record["epoch"]),
            str(record["images"]),
            *losses,
            f"{record['learning_rate']:.3g}",
            f"{record['images_per_second']:.3g}",
            f"{record['data_wait']:.0%}",
        ):
            line.add(tags.td(text))
    return table
