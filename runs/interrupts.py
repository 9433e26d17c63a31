"""Ctrl-C and SIGTERM as a wish that the training loop fulfils after its step."""

import os
import signal
from types import FrameType, TracebackType
from typing import Self

__all__ = ["Interrupts"]


class Interrupts:
    """While active, notes the first SIGINT or SIGTERM; a second one acts at once.

    Attributes:
        received: the signal, or None.
    """

    def __init__(self, *, announce: bool = True) -> None:
        self.received: signal.Signals | None = None
        self._announce = announce
        self._announced = False
        self._previous: dict[signal.Signals, object] = {}
        self._ignored = False

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
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
            signal.signal(number, kept)  # type: ignore[arg-type]

    def announce(self) -> None:
        """Say that the training is being saved; only once."""
        if not self._announced:
            name = self.received.name if self.received else "another process was stopped"
            # Not through sys.stderr: the signal may have come while that was being written to.
            os.write(2, f"\n{name}: saving; once more stops at once\n".encode())
        self._announced = True

    def ignore(self) -> None:
        """Ignore SIGTERM from now on, also afterwards: this process is about to end anyway."""
        self._ignored = True

    def _note(self, number: int, _frame: FrameType | None) -> None:
        if self._ignored and number == signal.SIGTERM:
            return
        if self.received is not None:
            raise KeyboardInterrupt
        self.received = signal.Signals(number)
        if self._announce:
            self.announce()
