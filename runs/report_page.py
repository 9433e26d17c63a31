"""web/index.html of a run: where it is, its curves, its samples; refreshes itself while it runs."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from dominate import tags
from dominate.util import raw

from impasto.runs.directory import RunDirectory
from impasto.runs.forecast import Forecast
from impasto.runs.history import History
from impasto.runs.log import read_log
from impasto.runs.observers import Observer, Pictures, Progress
from impasto.runs.page import page, write_page
from impasto.runs.report_parts import Report, Status, charts, facts, headline, notices, tables
from impasto.runs.sample_grid import SampleGrid
from impasto.runs.samples import SamplePictures

__all__ = ["ReportPage"]

_RESTS_PER_WRITE = 20  # reports that come faster take at most a twentieth of a processor
_SHORTEST_RELOAD_SECONDS, _LONGEST_RELOAD_SECONDS = 5.0, 60.0
# A training that was killed cannot say so. Before the first report nobody knows how long one takes.
_MISSED_REPORTS, _LEAST_SILENCE_SECONDS, _FIRST_SILENCE_SECONDS = 5, 180.0, 3600.0


class ReportPage(Observer):
    """Writes a page that opens from disk; its cost does not grow with the length of the run.

    Args:
        directory: the run. The sample pictures go to ``web/images``, under the names that
            :class:`impasto.runs.SamplePictures` gives them.
        options: of the run, flat, to show.
        environment: facts about the machine, to show.
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
        self._tables: str = tables(options, environment).render(indent="")
        self._rest_until = 0.0

    def on_start(self, progress: Progress) -> None:
        """Take up what an earlier part of the run reported and showed."""
        self._pictures.on_start(progress)
        self._samples.restore(progress)
        for record in read_log(self._directory.log_file):
            if record["images"] <= progress.images:
                self._history.add(record)
                self._record = record
        self._write(progress)

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Add a point to the curves; write the page, unless that was done just now."""
        self._record = {"epoch": progress.epoch, "images": progress.images, **record}
        self._history.add(self._record)
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
        """Say that it is over, and why."""
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
