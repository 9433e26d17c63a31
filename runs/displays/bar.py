"""How far a command is: a bar in a terminal, and in a file or a pipe a line now and then.

Both move on their own while one large picture is worked on, so that one sees that it is alive.
"""

import os
import sys
import time
from collections.abc import Callable
from threading import Event, Thread
from types import TracebackType
from typing import Any, Self, TextIO

from tqdm import tqdm

__all__ = ["ProgressBar", "spell_rest"]

_QUIET_SECONDS = 30.0
_COLUMNS, _ROWS = 80, 24


class ProgressBar:
    """A context manager: the bar, or the lines, of one command, on standard error.

    Args:
        unit: unit on the bar, e.g. ``"img"``.
        noun: what is counted, e.g. ``"pictures"``.
        steady: whether each takes about as long as the others, so that the time that is left can
            be told.
        stream: stream to write to; standard error unless given.
        quiet_seconds: time between the lines in a file or a pipe, in seconds, after the one that
            says how much there is to do.
        clock: what tells the time, in seconds.
    """

    def __init__(
        self,
        unit: str = "img",
        *,
        noun: str = "pictures",
        steady: bool = True,
        stream: TextIO | None = None,
        quiet_seconds: float = _QUIET_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = stream or sys.stderr
        self._noun, self._steady = noun, steady
        self._quiet_seconds, self._clock = quiet_seconds, clock
        self._started = self._said = clock()
        self._done, self._before, self._total, self._doing = 0, 0, 0, ""
        self._ended = Event()
        self._bar: tqdm[Any] = tqdm(
            unit=unit, file=self._stream, disable=not self._stream.isatty(), **_width(self._stream)
        )
        self._thread = Thread(target=self._tick, name="progress", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        told = self._ended.is_set()
        self.close()
        if isinstance(error, KeyboardInterrupt) and self._total and not told:
            self._print(f"stopped after {self}", self._stream)

    def __str__(self) -> str:
        return f"{self._done} of {self._total} {self._noun}"

    def start(self, total: int, *, noun: str | None = None, doing: str = "") -> None:
        """Begin to count: there are ``total`` things to do.

        Args:
            total: number of things.
            noun: what is counted, unless what was counted before.
            doing: what is done, in a few words, which stands beside the count.
        """
        self._noun, self._doing = noun or self._noun, doing
        self._done, self._before, self._total = 0, 0, total
        self._started = self._said = self._clock()
        self._bar.reset(total)
        if self._bar.disable and total:
            self._print(f"to do: {total} {self._noun}", self._stream)

    def move(self, done: int | None = None, *, doing: str = "") -> None:
        """Count one more, or set how many are done.

        Args:
            done: number of things that are done; one more than before unless given.
            doing: what is done next, in a few words, which stands beside the count.
        """
        self._done, self._doing = self._done + 1 if done is None else done, doing
        if doing:
            self._bar.set_postfix_str(doing, refresh=False)
        self._bar.update(self._done - self._bar.n)
        self.tick()

    def skip(self) -> None:
        """Count one that was done before, which says nothing of the time that the others take."""
        self._done, self._before = self._done + 1, self._before + 1
        if not self._bar.disable:
            self._bar.n += 1
            self._bar.initial += 1
            self._bar.last_print_n += 1
        self.tick()

    def move_of(self, total: int) -> None:
        """Count one more, of a total that is told along with it."""
        if not self._total:
            self.start(total)
        self.move()

    def say(self, text: str, stream: TextIO | None = None) -> None:
        """Print a line above the bar.

        Args:
            text: the line.
            stream: standard output unless given; it is flushed, since a file should show it now.
        """
        with self._bar.external_write_mode(file=self._stream):
            self._print(text, stream or sys.stdout)

    def close(self) -> None:
        """Take the bar off the terminal, so that the last lines of the command stay the last."""
        self._ended.set()
        self._bar.leave = False
        self._bar.close()

    def tick(self) -> None:
        """In a file or a pipe, print how far it is, if nothing was said for a while."""
        now = self._clock()
        if not self._bar.disable or now - self._said < self._quiet_seconds:
            return
        self._said = now
        self._print(self._line(now - self._started), self._stream)

    @property
    def seconds(self) -> float:
        """Seconds since it was started."""
        return self._clock() - self._started

    @property
    def left(self) -> str:
        """How much is left to do, and about how long that takes, in words; empty if nothing is."""
        count = self._total - self._done
        about = "" if self.seconds_left is None else f", about {spell_rest(self.seconds_left)}"
        return f"{count} of {self._total} {self._noun} left{about}" if count else ""

    @property
    def seconds_left(self) -> float | None:
        """About how long the rest takes, in seconds; None if that is not known."""
        made = self._done - self._before
        if not made or not self._steady:
            return None
        return self.seconds * (self._total - self._done) / made

    def _line(self, seconds: float) -> str:
        if not self._total:
            return f"preparing, {seconds:.0f} s"
        doing = f", {self._doing}" if self._doing else ""
        left = self.seconds_left
        about = f", about {left:.0f} s left" if left else ""
        return f"{self}{doing}, {seconds:.0f} s{about}"

    def _tick(self) -> None:
        while not self._ended.wait(1.0):
            self._bar.refresh()
            self.tick()

    @staticmethod
    def _print(text: str, stream: TextIO) -> None:
        print(text, file=stream, flush=True)


def spell_rest(seconds: float) -> str:
    """Write a time that is only estimated.

    Example:
        >>> spell_rest(41.7), spell_rest(4000)
        ('42 s', '1 h 7 min')
    """
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def _width(stream: TextIO) -> dict[str, Any]:
    """Return how tqdm learns how large a terminal is.

    Of one without a size, such as `script` makes where it has none itself, tqdm would take 0
    columns and rows, and show nothing.
    """
    try:
        known = os.get_terminal_size(stream.fileno()).columns > 0
    except (OSError, ValueError):
        known = False
    return {"dynamic_ncols": True} if known else {"ncols": _COLUMNS, "nrows": _ROWS}
