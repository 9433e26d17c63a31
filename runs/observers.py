"""The protocol between the training loop and what watches it."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

__all__ = ["Observer", "Progress", "Watchers"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a training is.

    Attributes:
        epoch: epoch, counted from 1.
        images: pictures of each domain since the beginning.
        steps: updates since the beginning.
        total_images: pictures at which the training will end.
        total_epochs: epochs of the whole training.
    """

    epoch: int
    images: int
    steps: int
    total_images: int
    total_epochs: int


class Observer:
    """Something that the training loop tells what happens; ignores what it does not override."""

    def on_start(self, progress: Progress) -> None:
        """Training begins or is resumed."""

    def on_step(self, progress: Progress) -> None:
        """A step is done; must return at once."""

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Mean losses, learning rate and speed since the last report."""

    def on_samples(self, progress: Progress, samples: Mapping[str, Tensor]) -> None:
        """Sample pictures by the reference's names, each (N, 3, H, W) in [-1, 1]."""

    def on_checkpoint(self, progress: Progress, path: Path) -> None:
        """A state was saved."""

    def on_end(self, progress: Progress) -> None:
        """Training ended, for whatever reason."""


class Watchers(Observer):
    """Tells several observers; one that fails is named once and dropped, and training goes on.

    Args:
        observers: who to tell, in order.
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = list(observers)

    def on_start(self, progress: Progress) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_start(progress))

    def on_step(self, progress: Progress) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_step(progress))

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_report(progress, record))

    def on_samples(self, progress: Progress, samples: Mapping[str, Tensor]) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_samples(progress, samples))

    def on_checkpoint(self, progress: Progress, path: Path) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_checkpoint(progress, path))

    def on_end(self, progress: Progress) -> None:
        """Tell all."""
        self._each(lambda observer: observer.on_end(progress))

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
