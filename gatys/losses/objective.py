"""What a picture is optimised for: the weighted losses of one scale.

An objective computes its targets when it is made and then evaluates pictures, each with one pass of
the network. With the default :class:`~impasto.gatys.losses.statistics.Gram` it is, in the
convention that all weights of Impasto are in::

    content_weight  * sum over layers of v_l mean (F_l - P_l)^2
    + style_weight  * sum over layers of w_l E_l
    + variation     * total variation
    + value_range   * mean squared distance of values from [0, 1]

with E_l of Gatys et al. 2016, equation 4. Presets (``gatys/conventions.py``) keep sum v_l = 1 and
sum w_l = 1.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol, get_args

import torch
from torch import Tensor

from impasto.gatys.losses.functional import VariationKind, total_variation, value_range_loss
from impasto.gatys.losses.smoothing import Smoothing, smooth
from impasto.gatys.losses.targets import (
    Content,
    Features,
    Style,
    Term,
    content_terms,
    layers_of,
    style_terms,
)

__all__ = ["FeatureNetwork", "LossTerms", "Objective", "Variation"]


class FeatureNetwork(Protocol):
    """A network whose layers have names."""

    def __call__(self, image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """Return the features, (1, C, H', W'), of a picture, RGB, (1, 3, H, W), in [0, 1]."""
        ...


@dataclass(frozen=True, kw_only=True)
class LossTerms:
    """The losses of one picture, scalars, multiplied by their weights.

    Attributes:
        content: how far from what is to be shown.
        style: how far from how it is to be shown.
        variation: how much neighbouring pixels differ.
        value_range: how far beyond [0, 1] values are.
    """

    content: Tensor
    style: Tensor
    variation: Tensor
    value_range: Tensor

    @property
    def total(self) -> Tensor:
        """Their sum, which is minimised."""
        return self.content + self.style + self.variation + self.value_range


@dataclass(frozen=True, kw_only=True)
class Variation:
    """How much the total variation counts.

    Attributes:
        weight: at least 0.
        kind: which differences, see :func:`~impasto.gatys.losses.functional.total_variation`.
    """

    weight: float = 0.0
    kind: VariationKind = "squared"

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"variation: expected a weight of at least 0, got {self.weight}")
        if self.kind not in get_args(VariationKind):
            raise ValueError(f"kind: expected one of {get_args(VariationKind)}, got {self.kind!r}")


_NO_VARIATION = Variation()


class Objective:
    """The weighted losses of a picture against targets that are computed once.

    Attributes:
        layers: what the network is asked for in each evaluation.

    Args:
        network: knows the layers of ``content`` and ``styles``.
        content: what to show; None leaves it out.
        styles: how; several are added up (Gram matrices here and distributions there, say).
        variation: weight and kind of the total variation.
        value_range: weight of values beyond [0, 1].
        relative: divide the loss of each layer by the energy of its target, its distance from
            features that are all 0. Weights then mean the same for all layers and networks,
            whatever the size of their activations (after He, Wang and Hopcroft 2016, who make
            networks with random weights work by evening out the layers).
        autocast: type that the network computes in, bfloat16 say; None leaves it alone. Losses are
            computed in float32 in any case.

    Raises:
        ImpastoError: a region, or a style's mask, is too small for all layers.
        ValueError: a picture is not (1, 3, H, W), or a weight is negative.
    """

    def __init__(
        self,
        network: FeatureNetwork,
        *,
        content: Content | None = None,
        styles: Sequence[Style] = (),
        variation: Variation = _NO_VARIATION,
        value_range: float = 0.0,
        relative: bool = False,
        autocast: torch.dtype | None = None,
    ) -> None:
        if not 0 <= value_range < float("inf"):
            raise ValueError(f"value_range: expected a weight of at least 0, got {value_range}")
        self._network, self._autocast = network, autocast
        self._variation, self._value_range = variation, value_range
        requests: list[Content | Style] = [*styles] if content is None else [content, *styles]
        self.layers = tuple(dict.fromkeys(name for one in requests for name in layers_of(one)))
        with torch.no_grad():
            self._content, self._style = self._terms(content, styles, relative=relative)

    def __call__(self, image: Tensor) -> LossTerms:
        """Evaluate a picture with one pass of the network.

        Args:
            image: RGB, (1, 3, H, W), float, in [0, 1] or near it.
        """
        features = self._features(image, self.layers)
        smoothed: dict[tuple[str, Smoothing], Tensor] = {}

        def added(terms: Iterable[Term]) -> Tensor:
            loss = image.new_zeros(())
            for term in terms:
                key = (term.layer, term.smoothing)
                if key not in smoothed:
                    smoothed[key] = smooth(features[term.layer], term.smoothing)
                loss = loss + term.loss(smoothed[key])
            return loss

        variation = value_range = image.new_zeros(())
        if self._variation.weight:
            variation = total_variation(image, kind=self._variation.kind) * self._variation.weight
        if self._value_range:
            value_range = self._value_range * value_range_loss(image)
        return LossTerms(
            content=added(self._content),
            style=added(self._style),
            variation=variation,
            value_range=value_range,
        )

    def _terms(
        self, content: Content | None, styles: Sequence[Style], *, relative: bool
    ) -> tuple[list[Term], list[Term]]:
        """Return the losses of content and of styles, with their targets."""
        here = self._here(content, styles)
        first: dict[str, Tensor] = {}

        def look(picture: Tensor) -> Features:
            features = self._features(picture, self.layers)
            if not first:
                first.update(features)
            return features

        style = [
            term
            for one in styles
            if layers_of(one)
            for term in style_terms(one, look, here, relative=relative)
        ]
        if content is None:
            return [], style
        return content_terms(content, look, here, first if relative else None), style

    def _here(self, content: Content | None, styles: Sequence[Style]) -> Features:
        """Return features at the size of the picture: of the content, or of a plain grey."""
        if content is not None:
            return self._features(content.picture, self.layers)
        masks = [region.mask for style in styles for region in style.regions]
        for mask in masks:
            if mask is not None:
                plain = mask.new_full((1, 3, *mask.shape[-2:]), 0.5)
                return self._features(plain, self.layers)
        return {}

    def _features(self, picture: Tensor, layers: Sequence[str]) -> Features:
        if picture.ndim != 4 or picture.shape[:2] != (1, 3):
            raise ValueError(f"picture: expected (1, 3, H, W), got {tuple(picture.shape)}")
        if not layers:
            return {}
        context: AbstractContextManager[object] = nullcontext()
        if self._autocast is not None:
            context = torch.autocast(picture.device.type, dtype=self._autocast)
        with context:
            return self._network(picture, layers)
