"""The data of an optimization: losses by name, iterates, and the watchers that receive them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import reduce

import torch
from torch import Tensor

__all__ = [
    "Iterate",
    "IterateAverage",
    "LossFunction",
    "Losses",
    "Watch",
    "Watcher",
    "total_loss",
]

Losses = Mapping[str, Tensor]
"""Weighted losses of a picture by name, each a scalar; their order is that of logs and tables."""

LossFunction = Callable[[Tensor], Losses]
"""What is minimized: from a picture, RGB, (1, 3, H, W), sRGB in [0, 1], to its losses.

If it has an attribute ``is_random`` that is True, its losses depend on random numbers that are
drawn anew in each evaluation, so that those of two pictures cannot be compared.
"""


def total_loss(losses: Losses) -> Tensor:
    """Return the sum of all losses, added in their order; 0 if there are none."""
    return reduce(torch.add, losses.values()) if losses else torch.zeros(())


@dataclass(frozen=True, kw_only=True)
class Iterate:
    """The state of an optimization after some evaluations of the losses, as passed to watchers.

    Attributes:
        step: number of evaluations of the losses at this scale so far.
        steps: total number of evaluations at this scale.
        scale: number of this scale, counted from 1.
        scales: number of scales.
        evaluations: number of evaluations of the losses so far, those of earlier scales included.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        losses: weighted losses by name, ``total`` last, of the picture that was evaluated last; if
            iterates are averaged, ``image`` is smoother than that picture.
        image: copy of the picture, RGB, (1, 3, H, W), sRGB clipped to [0, 1], on the device of the
            optimization.
        seconds: seconds since the optimization at this scale began.
        last: whether this iterate is the result of the scale; ``losses`` are then those of
            ``image`` before it was clipped.
    """

    step: int
    steps: int
    scale: int
    scales: int
    evaluations: int
    height: int
    width: int
    losses: dict[str, float]
    image: Tensor
    seconds: float
    last: bool = False


Watcher = Callable[[Iterate], None]
"""Shows or saves an iterate; what it raises ends the optimization and reaches the caller."""


def _nothing(_iterate: Iterate) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Watch:
    """The watcher of an optimization, and the position of its scale in the run.

    Attributes:
        tell: function that receives an iterate every ``every`` evaluations, and the result.
        every: number of evaluations between iterates. Each iterate costs a copy of the picture and,
            on a GPU, one synchronization.
        stop: function called after every evaluation; if it returns True, the optimization ends.
        scale: number of this scale, counted from 1.
        scales: number of scales.
        before: number of evaluations at earlier scales.
    """

    tell: Watcher = _nothing
    every: int = 50
    stop: Callable[[], bool] = _never
    scale: int = 1
    scales: int = 1
    before: int = 0

    def __post_init__(self) -> None:
        if self.every < 1:
            raise ValueError(f"every: expected at least 1, got {self.every}")


class IterateAverage:
    """An exponential moving average of iterates, which is smoother than any of them.

    It is corrected for its initial bias: as in Kingma and Ba 2015, section 3, the average begins at
    0 and is divided by the total weight of the pictures, 1 - decay^n after n pictures.

    Args:
        decay: share of the old average that is kept at each update, at least 0 and below 1.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay: expected at least 0 and below 1, got {decay}")
        self._decay = decay
        self._missing = 1.0
        self._sum: Tensor | None = None

    def update(self, image: Tensor) -> None:
        """Add a picture, (1, 3, H, W), to the average."""
        image = image.detach()
        if self._sum is None:
            self._sum = torch.zeros_like(image)
        self._sum.lerp_(image, 1 - self._decay)
        self._missing *= self._decay

    def restart(self) -> None:
        """Discard the average and start anew."""
        self._missing, self._sum = 1.0, None

    @property
    def value(self) -> Tensor:
        """A copy of the average, (1, 3, H, W).

        Raises:
            ValueError: nothing has been averaged yet.
        """
        if self._sum is None:
            raise ValueError("the average of no pictures")
        return self._sum / (1 - self._missing)
