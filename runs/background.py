"""A slow observer in its own thread, so that the training never waits for it."""

import logging
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Condition, Thread
from typing import Any

from impasto.runs.observers import Observer, Pictures, Progress

__all__ = ["Background"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class _Event:
    kind: str
    tell: Callable[[], None]


class Background(Observer):
    """Tells one observer in another thread; what it is too slow for is dropped, the newest wins.

    At most ``most_reports`` reports, one set of samples and one checkpoint wait. The start is told
    at once, in the caller's thread, before there is a training to hold up; the thread begins after
    it, so that loading processes are not forked while it holds a lock. An observer that fails is
    named once and dropped; one that only cannot write, to a full disk say, is tried again.

    Args:
        observer: who is told.
        most_reports: reports that may wait.
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
