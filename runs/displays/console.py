"""A training in the terminal: a bar with pictures per second and time left, a line per report.

The time left is told from the speed of the latest reports.
"""

import sys
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, TextIO

from tqdm import tqdm

from impasto.runs.curves import is_measured, reported_values
from impasto.runs.observers import Observer, Progress

__all__ = ["Console", "Forecast", "spell_duration", "spell_time"]


class Forecast:
    """Estimates from the median of the latest reports, so that one slow report changes nothing.

    Args:
        reports: number of reports that are used.
    """

    def __init__(self, reports: int = 10) -> None:
        self._speeds: deque[float] = deque(maxlen=reports)
        self._intervals: deque[float] = deque(maxlen=reports)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a report."""
        self._speeds.append(record["images_per_second"])
        self._intervals.append(record["seconds"])

    @property
    def report_seconds(self) -> float | None:
        """Median time between reports, in seconds; None before the first report."""
        return median(self._intervals) if self._intervals else None

    def time_left(self, progress: Progress) -> timedelta | None:
        """Return the estimated remaining time; None if it cannot be estimated."""
        speed = median(self._speeds) if self._speeds else 0.0
        if speed <= 0:
            return None
        try:
            return timedelta(seconds=(progress.total_images - progress.images) / speed)
        except OverflowError:
            return None


def spell_duration(duration: timedelta) -> str:
    """Write a duration with its two largest units.

    Example:
        >>> spell_duration(timedelta(hours=31, minutes=12))
        '1 d 7 h'
    """
    minutes = round(duration.total_seconds() / 60)
    if minutes < 1:
        return "under a minute"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24:,} d {hours % 24} h"


def spell_time(time: datetime) -> str:
    """Write a time with its date and zone, e.g. ``Sat 21 Nov 2026, 14:05 UTC``."""
    return f"{time:%a} {time.day} {time:%b %Y, %H:%M %Z}"


class Console(Observer):
    """Writes to a terminal; in a file or a pipe there is no bar, only lines.

    Args:
        stream: stream to write to; standard error unless given.
        page: report page to name at the start, if there is one.
        facts: what to say at the start of the machine, such as the number of threads.
        summary: further lines to say at the start, such as how many pictures there are.
        first_losses: function that returns the means of the losses so far, by name; they are told
            once where the first report takes long.
        first_seconds: time without a report after which they are told, in seconds.
        saved_seconds: shortest time between two lines that say where the state was saved, in
            seconds; the last is always told.
        quiet_seconds: time without a report after which a file or a pipe gets a line that says how
            far the training is, in seconds.
        clock: function that tells the time, in seconds.
    """

    def __init__(  # noqa: PLR0913
        self,
        stream: TextIO | None = None,
        *,
        page: Path | None = None,
        facts: str = "",
        summary: Sequence[str] = (),
        first_losses: Callable[[], Mapping[str, float]] | None = None,
        first_seconds: float = 30.0,
        saved_seconds: float = 60.0,
        quiet_seconds: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._quiet_seconds, self._clock = quiet_seconds, clock
        self._said = self._since = clock()
        self._first = 0  # images at the start
        self._page, self._facts, self._summary = page, facts, summary
        self._first_losses, self._first_seconds = first_losses, first_seconds
        self._saved_seconds = saved_seconds
        self._told_saved: float | None = None  # when a state was last said to be saved
        self._untold = ""  # what the line would say that was left out
        self._bar: tqdm[Any] | None = None
        self._warnings: Sequence[str] = ()
        self._forecast = Forecast()

    def on_start(self, progress: Progress) -> None:
        """Say where to look, and how several processes share the work; open the bar."""
        self._since, self._first = self._clock(), progress.images
        if self._page is not None:
            self._line(f"watch it: {self._page}")
        if self._facts:
            self._line(f"computing with {self._facts}")
        for line in self._summary:
            self._line(line)
        self._line(_length(progress))
        if progress.processes > 1:
            self._line(
                f"{progress.processes} processes, {progress.global_batch} images "
                "per batch of all of them"
            )
        self._bar = tqdm(
            total=progress.total_images,
            initial=progress.images,
            unit="img",
            file=self._stream,
            disable=not self._stream.isatty(),
            dynamic_ncols=True,
            smoothing=0.05,
        )

    def on_step(self, progress: Progress) -> None:
        """Move the bar; without one, say now and then how far it is."""
        if self._bar is None:
            return
        self._bar.update(progress.images - self._bar.n)
        now = self._clock()
        if self._first_losses is not None and now - self._since >= self._first_seconds:
            losses = _spell_losses(self._first_losses())
            self._first_losses = None
            speed = (progress.images - self._first) / (now - self._since)
            self._line(f"first losses, image {progress.images}: {losses} | {speed:.3g} img/s")
        elif self._bar.disable and now - self._said >= self._quiet_seconds:
            speed = (progress.images - self._first) / (now - self._since)
            total = progress.total_images
            self._line(f"image {progress.images} of {total}, {speed:.3g} img/s")

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Print one line: position, losses, learning rate, speed."""
        self._first_losses = None
        self._forecast.add(record)
        self._warn(record.get("warnings", ()))
        values = reported_values(record)
        losses = _spell_losses({name: values[name] for name in values if not is_measured(name)})
        self._line(
            f"epoch {progress.epoch}/{progress.total_epochs}, image {progress.images}: {losses}"
            f" | lr {record['learning_rate']:.3g}, {record['images_per_second']:.3g} img/s,"
            f" waited {record['data_wait']:.0%}, {self._left(progress)} left"
        )
        if note := record.get("note"):
            self._line(note)

    def on_checkpoint(self, progress: Progress, path: Path) -> None:
        """Say where the state was saved, unless that was said just now."""
        self._untold, now = f"saved {path} at image {progress.images}", self._clock()
        if self._told_saved is None or now - self._told_saved >= self._saved_seconds:
            self._tell_saved()

    def on_end(self, progress: Progress, error: str | None = None) -> None:  # noqa: ARG002
        """Say what was saved last; close the bar."""
        if self._untold:
            self._tell_saved()
        if self._bar is not None:
            self._bar.update(progress.images - self._bar.n)
            self._bar.close()

    def _tell_saved(self) -> None:
        self._line(self._untold)
        self._told_saved, self._untold = self._clock(), ""

    def _warn(self, warnings: Sequence[str]) -> None:
        """Print each warning when it comes up, not as long as it lasts."""
        for warning in warnings:
            if warning not in self._warnings:
                self._line(f"WARNING: {warning}")
        self._warnings = tuple(warnings)

    def _left(self, progress: Progress) -> str:
        left = self._forecast.time_left(progress)
        return "?" if left is None else spell_duration(left)

    def _line(self, text: str) -> None:
        self._said = self._clock()
        tqdm.write(text, file=self._stream)


def _spell_losses(losses: Mapping[str, float]) -> str:
    return " ".join(f"{name} {value:.3f}" for name, value in losses.items())


def _length(progress: Progress) -> str:
    """Say how long the training is, and where it starts unless that is the beginning."""
    epochs = "1 epoch" if progress.total_epochs == 1 else f"{progress.total_epochs:,} epochs"
    each = f" of {progress.epoch_images:,} images" if progress.epoch_images else ""
    done = f"; {progress.images:,} are done" if progress.images else ""
    return f"training: {epochs}{each}, to image {progress.total_images:,}{done}"
