"""The objective of the optimization: weighted losses by name, at one scale.

An :class:`Objective` evaluates a picture with one forward pass of the network and passes the
features to each of its terms. A term is any object with a weight, the layers that it needs, and a
value (:class:`LossTerm`), so that a new loss is a new object in the mapping, whose name then
appears in logs and tables. The terms of ``impasto stylize`` are, in the convention of all of
Impasto's weights::

    content      content_weight * sum over layers of v_l mean (F_l - P_l)^2
    style        style_weight   * sum over layers of w_l E_l
    variation    weight * total variation
    value_range  weight * mean squared distance of values from [0, 1]

with E_l of Gatys et al. 2016, equation 4, for the statistic
:class:`~impasto.gatys.losses.statistics.Gram`. Presets keep sum v_l = 1 and sum w_l = 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Protocol, get_args

from torch import Tensor

from impasto.gatys.features.make import FeatureFunction
from impasto.gatys.features.smoothing import LayerFeatures
from impasto.gatys.losses.functional import VariationKind, range_penalty, total_variation

__all__ = ["LossTerm", "Objective", "RangePenalty", "TotalVariation"]

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
