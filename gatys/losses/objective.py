"""The objective of the optimization: weighted losses by name, at one scale.

An :class:`Objective` evaluates a picture with one forward pass of the network and passes the
features to each of its terms. A term is any object with a weight, the layers that it needs, and a
value (:class:`LossTerm`), so that a new loss is a new object in the mapping, whose name then
appears in logs and tables. The terms of ``impasto stylize`` are, in the convention of all of
Impasto's weights::

    content      content_weight * sum over layers of v_l mean (F_l - P_l)^2
    style        style_weight   * sum over layers of w_l E_l
    variation    weight * total variation
    patches      weight * distance of the patches of 5 x 5 pixels from those of the styles, at
                 full, half and quarter size
    structure    weight * mean squared difference of blurred luminances, in the styles' tones
    chroma       weight * total variation of the colors / that of the styles
    value_range  weight * mean squared distance of values from [0, 1]

with E_l of Gatys et al. 2016, equation 4, for the statistic
:class:`~impasto.gatys.losses.statistics.Gram`. Presets keep sum v_l = 1 and sum w_l = 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar, Protocol, get_args

import torch
from torch import Tensor

from impasto.gatys.features.make import FeatureFunction
from impasto.gatys.features.smoothing import LayerFeatures
from impasto.gatys.losses.functional import (
    VariationKind,
    chroma_variation,
    range_penalty,
    total_variation,
)
from impasto.gatys.losses.targets import FeatureLoss

__all__ = [
    "ChromaVariation",
    "LossTerm",
    "Objective",
    "PixelLoss",
    "RangePenalty",
    "ShiftedObjective",
    "TotalVariation",
    "Window",
]

# Gray styles have no chroma: neighbors that differ by 2 of 255 are as good as none.
_LEAST_VARIATION = 1e-4

# Columns of logs that are not losses.
_RESERVED = frozenset({"scale", "step", "evaluations", "total", "seconds"})


class LossTerm(Protocol):
    """One term of an objective.

    A term whose value depends on random numbers that are drawn anew in each evaluation also has an
    attribute ``is_random``, which is True.
    """

    @property
    def weight(self) -> float:
        """Factor of the term in the objective, at least 0; with 0 the term is not computed."""
        ...

    @property
    def layers(self) -> Sequence[str]:
        """Layers of the network that the term needs; empty if it needs only the pixels."""
        ...

    def __call__(self, image: Tensor, features: LayerFeatures) -> Tensor:
        """Return the weighted loss, a scalar, of a picture, RGB, (1, 3, H, W), and its features."""
        ...


@dataclass(frozen=True, kw_only=True)
class TotalVariation:
    """The total variation of the picture: how much neighboring pixels differ.

    Attributes:
        weight: factor of the term in the objective, at least 0.
        kind: kind of differences, see :func:`~impasto.gatys.losses.functional.total_variation`.
        layers: empty, as the term needs no features.
    """

    weight: float
    kind: VariationKind = "squared"
    layers: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.kind not in get_args(VariationKind):
            raise ValueError(f"kind: expected one of {get_args(VariationKind)}, got {self.kind!r}")

    def __call__(self, image: Tensor, features: LayerFeatures) -> Tensor:  # noqa: ARG002
        """Return the weighted loss."""
        return total_variation(image, kind=self.kind) * self.weight


@dataclass(frozen=True, kw_only=True)
class ChromaVariation:
    """The total variation of the colors alone, relative to that of the styles.

    Statistics of features leave much of the finest grain open, which then fills with speckles of
    color; a style of smooth colors allows few of them, and one of colored dots many.

    Attributes:
        weight: factor of the term in the objective, at least 0.
        reference: :func:`~impasto.gatys.losses.functional.chroma_variation` of the styles.
        layers: empty, as the term needs no features.
    """

    weight: float
    reference: float
    layers: Sequence[str] = ()

    def __call__(self, image: Tensor, features: LayerFeatures) -> Tensor:  # noqa: ARG002
        """Return the weighted loss."""
        return chroma_variation(image) * (self.weight / max(self.reference, _LEAST_VARIATION))


@dataclass(frozen=True, kw_only=True)
class PixelLoss:
    """A loss of the pixels, beside those of a network's features.

    Attributes:
        loss: loss of features of :class:`~impasto.gatys.features.pixels.Pixels`.
        network: what gives them.
        layers: empty, as the term needs no features.
    """

    loss: FeatureLoss
    network: FeatureFunction
    layers: Sequence[str] = ()

    @property
    def weight(self) -> float:
        """Factor of the term in the objective."""
        return self.loss.weight

    @property
    def is_random(self) -> bool:
        """Whether the loss depends on random numbers that are drawn anew in each evaluation."""
        return self.loss.is_random

    def __call__(self, image: Tensor, features: LayerFeatures) -> Tensor:  # noqa: ARG002
        """Return the weighted loss."""
        return self.loss(image, LayerFeatures(self.network(image, self.loss.layers)))


@dataclass(frozen=True, kw_only=True)
class RangePenalty:
    """A penalty on values outside [0, 1].

    Attributes:
        weight: factor of the term in the objective, at least 0.
        layers: empty, as the term needs no features.
    """

    weight: float
    layers: Sequence[str] = ()

    def __call__(self, image: Tensor, features: LayerFeatures) -> Tensor:  # noqa: ARG002
        """Return the weighted loss."""
        return self.weight * range_penalty(image)


class Objective:
    """The weighted losses of a picture, by name.

    Attributes:
        terms: terms by name, in the order in which they are summed.
        layers: layers of the network that each evaluation computes.
        is_random: whether a term that counts is random, so that losses of two evaluations cannot be
            compared.

    Args:
        network: feature network that has the layers of all terms.
        terms: terms by name, which is a Python identifier; the total is summed in their order.

    Raises:
        ValueError: a weight is negative or not finite, or a name is not allowed.
    """

    def __init__(
        self,
        network: FeatureFunction,
        terms: Mapping[str, LossTerm],
    ) -> None:
        for name, term in terms.items():
            if not name.isidentifier() or name in _RESERVED:
                raise ValueError(f"{name!r}: expected a name like 'style' for a loss")
            if not 0 <= term.weight < float("inf"):
                raise ValueError(f"{name}: expected a weight of at least 0, got {term.weight}")
        self._network = network
        self.terms: Mapping[str, LossTerm] = MappingProxyType(dict(terms))
        counting = [(name, term) for name, term in terms.items() if term.weight]
        self.is_random = any(getattr(term, "is_random", False) for _, term in counting)
        self.layers = tuple(dict.fromkeys(layer for _, term in counting for layer in term.layers))
        # Losses of pixels alone come first: autograd adds up gradients in the reverse order of
        # evaluation, and with another one pictures would differ in their last bits.
        self._evaluated = sorted(counting, key=lambda named: bool(named[1].layers))

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Evaluate a picture with one forward pass; terms with a weight of 0 are reported as 0.

        Args:
            image: picture, RGB, (1, 3, H, W), floating point, in [0, 1] or near it.
        """
        if image.ndim != 4 or image.shape[:2] != (1, 3):
            raise ValueError(f"image: expected (1, 3, H, W), got {tuple(image.shape)}")
        features = LayerFeatures(self._network(image, self.layers) if self.layers else {})
        losses = {name: image.new_zeros(()) for name in self.terms}
        for name, term in self._evaluated:
            losses[name] = term(image, features)
        return losses


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a canvas.

    Attributes:
        top: rows of the canvas above it.
        left: columns of the canvas to the left of it.
        height: its height, in pixels.
        width: its width, in pixels.
    """

    top: int
    left: int
    height: int
    width: int

    def cut(self, canvas: Tensor) -> Tensor:
        """Return the part of a canvas, (N, C, H, W), as a view."""
        rows = slice(self.top, self.top + self.height)
        return canvas[..., rows, self.left : self.left + self.width]


class ShiftedObjective:
    """The losses of a canvas through a window that moves by some pixels in each evaluation.

    A network of strides sees each pixel from one phase only, and what is optimized takes on a grid
    of its steps; from several phases, it cannot (Mordvintsev et al. 2015, "Inceptionism", call it
    jitter). The outermost pixels of a canvas are seen beside the border of the network's maps, as
    whose mirror image they then grow; a canvas that is wider than the picture on all sides keeps
    that strip outside.

    Attributes:
        is_random: True, as the window changes.

    Args:
        objectives: the losses for each window, whose targets are seen through it.
        windows: windows of the same size, one for each of them.
        generator: random generator of the choice, on the CPU.

    Raises:
        ValueError: there are no windows, or as many objectives.
    """

    is_random: ClassVar[bool] = True

    def __init__(
        self,
        objectives: Sequence[Objective],
        windows: Sequence[Window],
        *,
        generator: torch.Generator,
    ) -> None:
        if not windows or len(windows) != len(objectives):
            raise ValueError(
                f"expected an objective for each window, got {len(objectives)} for {len(windows)}"
            )
        self._objectives, self._windows = tuple(objectives), tuple(windows)
        self._generator = generator

    def __call__(self, image: Tensor) -> dict[str, Tensor]:
        """Evaluate a canvas, RGB, (1, 3, H, W), through one of the windows.

        Without gradients, as the losses of a result are measured, it is always the first.
        """
        place = 0
        if torch.is_grad_enabled():
            place = int(torch.randint(len(self._windows), (), generator=self._generator))
        return self._objectives[place](self._windows[place].cut(image))
