"""The protocol between the training loop and its observers.

:class:`Observer` is told of the start, of reports, samples, checkpoints and the end;
:class:`CompositeObserver` tells several, and :class:`Background` gives a slow one a thread of its
own, so that the training never waits for it.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Background", "CompositeObserver", "Observer", "Pictures", "Progress"]


Pictures = Mapping[str, NDArray[np.uint8]]
"""One picture by each name, RGB, (H, W, 3), uint8."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a training.

    Attributes:
        epoch: number of the epoch, counted from 1.
        images: number of pictures of each domain since the beginning.
        steps: number of updates since the beginning.
        total_images: number of pictures at which the training will end.
        total_epochs: number of epochs of the whole training.
        global_batch: number of pictures of each domain per batch, of all processes together.
        processes: number of processes that train together.
        epoch_images: number of pictures of each domain per epoch; 0 if unknown.
    """

    epoch: int
    images: int
    steps: int
    total_images: int
    total_epochs: int
    global_batch: int = 1
    processes: int = 1
    epoch_images: int = 0


class Observer:
    """Something that the training loop tells what happens; ignores what it does not override."""

    def on_start(self, progress: Progress) -> None:
        """Training begins or is resumed."""

    def on_step(self, progress: Progress) -> None:
        """A step is done; must return at once."""

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Tell the means since the last report.

        Args:
            progress: progress of the training.
            record: ``losses`` (means by name), ``scores`` (measures of the epoch that ended, by
                name) and ``note`` (the same in words), both only there, ``learning_rate``,
                ``seconds``, ``images_per_second``, ``data_wait`` (share of the time, 0 to 1),
                ``weights`` (that losses carry, by name), ``outputs`` (statistics of the networks'
                outputs, by name; None where undefined) and ``warnings`` (sentences). A line of
                ``log.jsonl``, without the position.
        """

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        """Sample pictures by the reference's names."""

    def on_checkpoint(self, progress: Progress, path: Path) -> None:
        """A state was saved."""

    def on_end(self, progress: Progress, error: str | None = None) -> None:
        """Training ended; ``error`` says why, if it could not go on."""

    def finish(self, seconds: float) -> None:
        """Return when all calls are processed, or after the given time; the last call of all."""


class CompositeObserver(Observer):
    """Tells several observers; one that fails is named once and dropped, and training goes on.

    Args:
        observers: observers to call, in order.
        patience_seconds: time that all observers together may take to finish at the end, in
            seconds.
    """

    def __init__(self, observers: Sequence[Observer], *, patience_seconds: float = 10.0) -> None:
        self._observers = list(observers)
        self._patience_seconds = patience_seconds

    def on_start(self, progress: Progress) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_start(progress))

    def on_step(self, progress: Progress) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_step(progress))

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_report(progress, record))

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_samples(progress, samples))

    def on_checkpoint(self, progress: Progress, path: Path) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_checkpoint(progress, path))

    def on_end(self, progress: Progress, error: str | None = None) -> None:
        """Tell all, and wait for all of them together as long as they may take."""
        self._each(lambda observer: observer.on_end(progress, error))
        end = time.monotonic() + self._patience_seconds
        self._each(lambda observer: observer.finish(max(0.0, end - time.monotonic())))

    def _each(self, tell: Callable[[Observer], None]) -> None:
        for observer in list(self._observers):
            try:
                tell(observer)
            except Exception as error:  # noqa: BLE001 - whatever it is, it must not end a training
                self._observers.remove(observer)
                # As text: a log handler that keeps the error would keep all that led to it.
                _log.warning(
                    "%s failed and is switched off: %s", type(observer).__name__, f"{error}"
                )


@dataclass(frozen=True, kw_only=True)
class _Event:
    kind: str
    tell: Callable[[], None]


class Background(Observer):
    """Tells one observer in another thread; what it is too slow for is dropped, the newest wins.

    At most ``most_reports`` reports, one set of samples and one checkpoint wait. The start is told
    at once, in the caller's thread, before there is a training to hold up; the thread begins after
    it, so that loading processes are not forked while it holds a lock. An observer that fails is
    named once and dropped; one that only cannot write, for example to a full disk, is tried again.

    Args:
        observer: observer to call.
        most_reports: maximum number of reports that wait.
    """

    def __init__(self, observer: Observer, *, most_reports: int = 64) -> None:
        self._observer = observer
        self._most = {"report": most_reports, "samples": 1, "checkpoint": 1, "end": 1}
        self._events: deque[_Event] = deque()
        self._changed = Condition()
        self._thread: Thread | None = None
        self._dropped = False
        self._warned = False

    def on_start(self, progress: Progress) -> None:
        """Tell it at once."""
        self._tell(lambda: self._observer.on_start(progress))

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Tell it when it has time."""
        self._put("report", lambda: self._observer.on_report(progress, record))

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        """Tell it when it has time."""
        self._put("samples", lambda: self._observer.on_samples(progress, samples))

    def on_checkpoint(self, progress: Progress, path: Path) -> None:
        """Tell it when it has time."""
        self._put("checkpoint", lambda: self._observer.on_checkpoint(progress, path))

    def on_end(self, progress: Progress, error: str | None = None) -> None:
        """Tell it when it has time; the thread ends with it."""
        self._put("end", lambda: self._observer.on_end(progress, error))

    def finish(self, seconds: float) -> None:
        """Wait for the thread to end."""
        if self._thread is None:
            return
        self._thread.join(seconds)
        if self._thread.is_alive():
            _log.warning(
                "%s did not finish in time and is left behind", type(self._observer).__name__
            )

    def _put(self, kind: str, tell: Callable[[], None]) -> None:
        if self._dropped:
            return
        with self._changed:
            waiting = [event for event in self._events if event.kind == kind]
            if len(waiting) >= self._most[kind]:
                self._events.remove(waiting[0])
            self._events.append(_Event(kind=kind, tell=tell))
            self._changed.notify()
        if self._thread is None:
            # A daemon: what hangs, on a lost network say, must not keep Python from ending.
            self._thread = Thread(
                target=self._work, name=type(self._observer).__name__, daemon=True
            )
            self._thread.start()

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._events:
                    self._changed.wait()
                event = self._events.popleft()
            self._tell(event.tell)
            if self._dropped or event.kind == "end":
                return

    def _tell(self, tell: Callable[[], None]) -> None:
        name = type(self._observer).__name__
        # The errors go out as text: a log handler that keeps one would keep all that led to it.
        try:
            tell()
        except OSError as error:
            if not self._warned:
                _log.warning("%s failed, and is tried again: %s", name, f"{error}")
            self._warned = True
        except Exception as error:  # noqa: BLE001 - it must not end a training
            self._dropped = True
            _log.warning("%s failed and is switched off: %s", name, f"{error}")
