"""Losses and samples of a training in visdom, which may come, go and come again."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.runs.history import History, reported_values
from impasto.runs.log import read_log
from impasto.runs.observers import Observer, Pictures, Progress
from impasto.runs.visdom_client import UnansweredError, VisdomClient

__all__ = ["VisdomDisplay"]

_log = logging.getLogger(__name__)
_MOST_POINTS = 512
_COLUMNS = 4
_PADDING = 2
_NO_LOSSES = {"learning_rate", "images_per_second", "data_wait"}

_Place = tuple[int, int, Mapping[str, float]]
"""Pictures, epoch and values of a point."""


class VisdomDisplay(Observer):
    """Shows a training in visdom if a server answers, and whenever one does.

    The windows have the reference's titles: ``<name> loss over time``, ``<name> images`` and
    ``<name> labels``; while something looks wrong there is ``<name> warnings`` too. Points are
    appended. All that is known is drawn anew when the training starts or is resumed, when a server
    is found again or has been restarted, when somebody has closed the window, and after as many
    reports as the history has points, so that a window stays small however long the training is.

    Its requests end within seconds, but it should have a thread:
    ``Background(VisdomDisplay(...))``.

    Args:
        name: of the run.
        log: ``log.jsonl`` of the run.
        server: address of the server, e.g. ``http://localhost``.
        port: port of the server.
        env: environment.
        retry_seconds: how long after a look at a server that does not answer comes the next.
        timeout_seconds: how long the server may take to answer.
        most_points: points of the history.

    Raises:
        OptionError: visdom is not installed, or the address cannot be one.
    """

    def __init__(  # noqa: PLR0913
        self,
        name: str,
        *,
        log: Path,
        server: str,
        port: int,
        env: str,
        retry_seconds: float = 30.0,
        timeout_seconds: float = 5.0,
        most_points: int = _MOST_POINTS,
    ) -> None:
        self._client = VisdomClient(server, port, env, timeout_seconds=timeout_seconds)
        self._port, self._log_file, self._retry_seconds = port, log, retry_seconds
        self._curves = _Curves(self._client, f"{name} loss over time", most_points)
        self._titles = {what: f"{name} {what}" for what in ("images", "labels", "warnings")}
        self._samples: Pictures = {}
        self._warnings: list[str] = []
        self._shown_warnings: list[str] = []
        self._connected = False
        self._looked = 0.0

    def on_start(self, progress: Progress) -> None:
        """Show the run so far, if a server answers."""
        records = [r for r in read_log(self._log_file) if r["images"] <= progress.images]
        self._curves.start(progress, records)
        self._warnings = list(records[-1].get("warnings", ())) if records else []
        problem = self._look()
        if problem:
            _log.warning(
                "no visdom server at %s (%s); training goes on without it, and uses it as soon as "
                "it answers. To start one: python -m visdom.server -port %d",
                self._client.place,
                problem,
                self._port,
            )

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Append a point."""
        self._curves.add({"epoch": progress.epoch, "images": progress.images, **record})
        self._warnings = list(record.get("warnings", ()))
        self._show(self._draw_report)

    def on_samples(self, progress: Progress, samples: Pictures) -> None:  # noqa: ARG002
        """Show the newest pictures."""
        self._samples = samples
        self._show(self._draw_samples)

    def on_end(self, progress: Progress, error: str | None = None) -> None:  # noqa: ARG002
        """Look for a lost server a last time."""
        if not self._connected:
            self._look()

    def _show(self, draw: Callable[[], None]) -> None:
        """Draw something, or everything if a server is found only now."""
        if not self._connected:
            if time.monotonic() - self._looked >= self._retry_seconds:
                self._look()
            return
        try:
            draw()
        except UnansweredError as error:
            self._connected, self._looked = False, time.monotonic()
            _log.warning(
                "visdom at %s is lost (%s); training goes on, looking for it again every %g s",
                self._client.place,
                f"{error}",
                self._retry_seconds,
            )

    def _look(self) -> str:
        """Draw everything if a server answers; otherwise return what the problem is."""
        try:
            self._client.check()
            self._draw_all()
        except UnansweredError as error:
            self._looked = time.monotonic()
            return str(error)
        self._connected = True
        _log.info("visdom found at %s", self._client.place)
        return ""

    def _draw_all(self) -> None:
        self._curves.draw()
        if self._samples:
            self._draw_samples()
        elif self._curves.empty:  # what an earlier training of that name has left
            self._client.close(self._titles["images"])
            self._client.close(self._titles["labels"])
        self._draw_warnings()

    def _draw_report(self) -> None:
        self._curves.update()
        if self._warnings != self._shown_warnings:
            self._draw_warnings()

    def _draw_samples(self) -> None:
        names, pictures = list(self._samples), list(self._samples.values())
        rows = [names[first : first + _COLUMNS] for first in range(0, len(names), _COLUMNS)]
        self._client.draw_picture(self._titles["images"], _grid(pictures))
        self._client.write_table(self._titles["labels"], rows)

    def _draw_warnings(self) -> None:
        title = self._titles["warnings"]
        if self._warnings:
            self._client.write_table(title, [[sentence] for sentence in self._warnings])
        else:
            self._client.close(title)
        self._shown_warnings = self._warnings


class _Curves:
    """The window of the losses, and what has to be in it.

    The horizontal axis counts epochs as the reference does: 1 is the beginning, 1.5 the middle of
    the first. Where epochs cannot have been that long, because the folders have changed since, it
    counts pictures.
    """

    def __init__(self, client: VisdomClient, title: str, most_points: int) -> None:
        self._client, self._title, self._most_points = client, title, most_points
        self._history = History(most_points)
        self._latest: _Place = (0, 1, {})
        self._epoch_images = 1.0
        self._axis = "epoch"
        self._drawn: tuple[Sequence[str], str] = ((), "")
        self._appended = 0
        self._fingerprint = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self._history.points

    def start(self, progress: Progress, records: Sequence[Mapping[str, Any]]) -> None:
        """Take up an earlier part of the run."""
        whole = progress.total_images / progress.total_epochs
        self._epoch_images = progress.epoch_images or whole
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Take up a record of ``log.jsonl``."""
        self._history.add(record)
        self._latest = (record["images"], record["epoch"], reported_values(record))
        if record["images"] > record["epoch"] * self._epoch_images:
            self._axis = "images"

    def draw(self) -> None:
        """Draw the whole history."""
        if self.empty:
            self._client.close(self._title)
            return
        names = self._names
        x, y = self._coordinates([(p.images, p.epoch, p.values) for p in self._history.points])
        self._client.draw_lines(self._title, x, y, names=names, xlabel=self._axis)
        self._note(0)

    def update(self) -> None:
        """Append the latest report, if the window still shows what was drawn before it."""
        same = self._drawn == (self._names, self._axis) and self._appended < self._most_points
        if not same or self._client.fingerprint(self._title) != self._fingerprint:
            self.draw()
            return
        x, y = self._coordinates([self._latest])
        self._client.append_to_lines(self._title, x, y, names=self._names)
        self._note(self._appended + 1)

    @property
    def _names(self) -> Sequence[str]:
        return [name for name in self._history.names if name not in _NO_LOSSES]

    def _coordinates(self, places: Sequence[_Place]) -> tuple[list[float], list[list[float]]]:
        x = [float(images) for images, _, _ in places]
        if self._axis == "epoch":
            # Not outside of the epoch, where the folders were larger when the run began.
            x = [
                min(max(1 + images / self._epoch_images, epoch), epoch + 1)
                for images, epoch, _ in places
            ]
        return x, [[values.get(name, np.nan) for name in self._names] for _, _, values in places]

    def _note(self, appended: int) -> None:
        """Remember what the window shows."""
        self._drawn, self._appended = (self._names, self._axis), appended
        self._fingerprint = self._client.fingerprint(self._title)


def _grid(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the pictures on white, ``_COLUMNS`` to a row, in cells of the size of the largest."""
    height = max(rgb.shape[0] for rgb in pictures) + 2 * _PADDING
    width = max(rgb.shape[1] for rgb in pictures) + 2 * _PADDING
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    grid = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    for index, rgb in enumerate(pictures):
        top = index // columns * height + _PADDING
        left = index % columns * width + _PADDING
        grid[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return grid
