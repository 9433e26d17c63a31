"""What the optimisation works on and what it tells: loss terms, iterates, who watches them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

__all__ = ["TERMS", "Iterate", "LossFunction", "Terms", "Watch", "Watcher"]

TERMS = ("content", "style", "variation", "value_range", "total")
"""The names of losses, in the order of columns and curves."""


class Terms(Protocol):
    """The weighted losses of one picture, each a scalar tensor."""

    @property
    def content(self) -> Tensor:
        """Distance from the content."""
        ...

    @property
    def style(self) -> Tensor:
        """Distance from the styles."""
        ...

    @property
    def variation(self) -> Tensor:
        """Differences of neighbouring pixels."""
        ...

    @property
    def value_range(self) -> Tensor:
        """Values outside [0, 1]."""
        ...

    @property
    def total(self) -> Tensor:
        """The sum, which is what falls."""
        ...


class LossFunction(Protocol):
    """What is optimised: from a picture, RGB, (1, 3, H, W), sRGB in [0, 1], to its losses."""

    def __call__(self, image: Tensor, /) -> Terms:
        """Return the losses of a picture, with gradients."""
        ...


@dataclass(frozen=True, kw_only=True)
class Iterate:
    """A picture on its way.

    Attributes:
        step: evaluations of the losses at this scale so far.
        steps: evaluations that this scale will have.
        scale: which scale this is, counted from 1.
        scales: how many there are.
        evaluations: evaluations of the losses so far, those of earlier scales included.
        height: pixels.
        width: pixels.
        losses: weighted losses by the names in :data:`TERMS`, of the picture that was evaluated
            last; where iterates are averaged, ``image`` is smoother than that.
        image: RGB, (1, 3, H, W), sRGB clipped to [0, 1], on the device it is made on; a copy.
        seconds: since the optimisation at this scale began.
        last: whether this is the result of the scale; ``losses`` are then those of ``image``
            before it was clipped.
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
"""Shows or saves an iterate; what it raises ends the optimisation and reaches the caller."""


def _nothing(_iterate: Iterate) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Who watches an optimisation, and where in a run of several scales it stands.

    Attributes:
        tell: receives an iterate every ``every`` evaluations, and the result.
        every: evaluations between iterates. Each costs a copy of the picture and, on a GPU, one
            wait for it.
        stop: asked after every evaluation; True ends the optimisation there.
        scale: which scale this is, counted from 1.
        scales: how many there are.
        before: evaluations at earlier scales.
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
