"""Signals that ask a command to end: Ctrl-C, SIGTERM, and the SIGHUP of a terminal that is closed.

:class:`Interrupts` makes them a wish that a loop fulfills after its step; :func:`end_on_signals`
makes them end what runs at once, as Ctrl-C does without it: with what was begun removed.
"""

import os
import signal
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Interrupts", "Stopped", "end_on_signals", "stopping_signals"]

# What comes so soon after a hangup was sent by the same hand.
_TOGETHER_SECONDS = 1.0


class Stopped(KeyboardInterrupt):
    """A signal asked to stop at once; whatever ends tidily on Ctrl-C does so on this, too.

    Attributes:
        number: number of the signal. The exit status of the command is 128 more.
    """

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def stopping_signals() -> list[signal.Signals]:
    """Return the signals besides SIGINT that ask to stop: SIGTERM, and SIGHUP where it is heard.

    ``nohup`` starts a command with SIGHUP ignored, so that it outlives its terminal.
    """
    named = signal.Signals.__members__
    hangups = [named["SIGHUP"]] if "SIGHUP" in named else []  # Windows has none
    heard = [number for number in hangups if signal.getsignal(number) is not signal.SIG_IGN]
    return [signal.SIGTERM, *heard]


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Raise :class:`Stopped` where SIGTERM or SIGHUP arrives, as Ctrl-C raises KeyboardInterrupt.

    What a terminal that is closed sends besides does not disturb the end that this begins. Does
    nothing outside of the main thread, where Python allows no handlers.
    """
    asked: list[tuple[int, float]] = []

    def stop(number: int, _frame: FrameType | None) -> None:
        _leave_lost_terminal(number)
        if asked and _repeats(number, *asked[0]):
            return
        asked.append((number, time.monotonic()))
        raise Stopped(number)

    before = {}
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.signal(number, stop) for number in stopping_signals()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


class Interrupts:
    """While active, notes the first SIGINT, SIGTERM or SIGHUP; a second one acts at once.

    A second SIGHUP does not, whatever came first: nobody asks with it, and a terminal that is
    closed sends several. Outside of the main thread, where Python allows no handlers, nothing is
    noted.

    Attributes:
        received: signal that was received, or None.
    """

    def __init__(self, *, announce: bool = True) -> None:
        self.received: signal.Signals | None = None
        self._received_at = 0.0
        self._announce = announce
        self._announced = False
        self._previous: dict[signal.Signals, object] = {}
        self._ignored = False

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, *stopping_signals()):
                self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            kept = signal.SIG_IGN if self._ignored and number == signal.SIGTERM else handler
            signal.signal(number, signal.SIG_DFL if kept is None else kept)  # type: ignore[arg-type]

    def announce(self) -> None:
        """Say that the training is being saved; only once."""
        if not self._announced:
            name = self.received.name if self.received else "another process was stopped"
            # Not through sys.stderr: the signal may have come while that was being written to. Who
            # reads it may have ended on the same Ctrl-C: `impasto train 2>&1 | tee log`.
            with suppress(OSError):
                os.write(2, f"\n{name}: saving; once more stops at once\n".encode())
        self._announced = True

    def ignore(self) -> None:
        """Ignore SIGTERM from now on, also afterwards: this process is about to end anyway."""
        self._ignored = True

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._ignored and number == signal.SIGTERM:
            return
        _leave_lost_terminal(number)
        if self.received is None:
            self._received_at = time.monotonic()
            self.received = signal.Signals(number)
            if self._announce:
                self.announce()
        elif not _repeats(number, self.received, self._received_at):
            raise Stopped(number)


def _repeats(number: int, first: int, first_at: float) -> bool:
    """Whether a signal only says again what the first said, and is no second wish.

    A shell hangs up its jobs, and the kernel does when the shell has ended. A session that systemd
    ends gets SIGTERM and SIGHUP at once, of which Python handles the lower number first.

    Args:
        number: number of the signal.
        first: number of the one that came first.
        first_at: when that came, in seconds of the monotonic clock.
    """
    if _is_hangup(number):
        return True
    together = time.monotonic() - first_at < _TOGETHER_SECONDS
    return number == signal.SIGTERM and _is_hangup(first) and together


def _is_hangup(number: int) -> bool:
    return signal.Signals(number).name == "SIGHUP"


def _leave_lost_terminal(number: int) -> None:
    """After a hangup, write to nowhere what would have gone to the terminal, and would now fail."""
    if not _is_hangup(number):
        return
    for handle in (1, 2):
        try:
            is_lost = stat.S_ISCHR(os.fstat(handle).st_mode) and not os.isatty(handle)
        except OSError:  # closed
            continue
        if is_lost:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, handle)
            os.close(nowhere)
