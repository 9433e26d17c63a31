"""The targets of a stylization: content and style as requested, and their measured losses.

:class:`Content` and :class:`Style` are requests; :func:`feature_losses` computes the features of
their pictures, once, and returns the losses that :class:`~impasto.gatys.losses.objective.Objective`
evaluates.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from impasto.gatys.features.make import FeatureFunction
from impasto.gatys.features.smoothing import (
    NO_SMOOTHING,
    LayerFeatures,
    Smoothing,
    full_precision,
    smooth,
    smoothing_of_layers,
)
from impasto.gatys.losses.functional import content_loss, position_weights
from impasto.gatys.losses.statistics import Gram, Statistic, shares_of
from impasto.gatys.losses.transport import match_histograms, mixed_quantiles, quantiles_of
from impasto.options.errors import ImpastoError
from impasto.runs.devices import where_complete

__all__ = [
    "Content",
    "FeatureLoss",
    "Features",
    "LayerLoss",
    "Region",
    "Style",
    "StylePicture",
    "feature_losses",
    "layers_of",
    "mask_at",
    "with_targets_of",
]

Features = Mapping[str, Tensor]
"""Features, (1, C, H, W), by the names of layers."""

# A plain gray picture may have next to no energy: what a loss is divided by stays above this share
# of the other picture's energy, and above a number whose inverse is harmless.
_LEAST_SHARE = 1e-3
_LEAST_ENERGY = 1e-12

# Values of a style that are told apart.
_MOST_QUANTILES = 2**12

# How many measurements of a collection wait until they are mixed.
_WAITING = 16


@dataclass(frozen=True, kw_only=True)
class Content:
    """The content that the result shows.

    Attributes:
        picture: the picture, RGB, (1, 3, H, W), in [0, 1].
        layers: weight of each layer by name, at least 0.
        weight: weight of the whole content term in the objective.
        smoothing: smoothing of the features: one for all layers, or a mapping by layer name.
        centered: whether relative losses are divided by the variance of the target over its
            positions, not by its mean square: a mean that all pictures share shows nothing.
        histograms: regions in which the content's target features take on the histograms of the
            style's features (:func:`~impasto.gatys.losses.transport.match_histograms`); elsewhere
            they keep the histograms of the content.
    """

    picture: Tensor
    layers: Mapping[str, float]
    weight: float = 1.0
    smoothing: Smoothing | Mapping[str, Smoothing] = NO_SMOOTHING
    centered: bool = False
    histograms: Sequence["Region"] = ()


@dataclass(frozen=True, kw_only=True)
class StylePicture:
    """One picture of a style, of any size.

    Attributes:
        picture: the picture, RGB, (1, 3, H, W), in [0, 1].
        weight: share of the picture in the mix, relative to the other pictures.
        mask: part of the picture that is used, (1, 1, H, W), 0 to 1; all of it unless given.
    """

    picture: Tensor
    weight: float = 1.0
    mask: Tensor | None = None


@dataclass(frozen=True, kw_only=True)
class Region:
    """A part of the picture, and the mix of styles for it.

    Attributes:
        styles: pictures of the mix. They are read once, one at a time, so that a generator can read
            a whole collection from files; it can then be used for one objective only.
        mask: mask of the region, (1, 1, H, W), 0 to 1; the whole picture unless given.
        name: name of the region in messages.
    """

    styles: Iterable[StylePicture]
    mask: Tensor | None = None
    name: str = "the whole picture"


@dataclass(frozen=True, kw_only=True)
class Style:
    """The style that the result takes on.

    A region's loss is weighted by its share of the area. As it is also a mean over the region, the
    gradient at each pixel is as strong as without masks. Areas outside all regions are not
    stylized.

    Attributes:
        regions: one region for the whole picture, or several with masks.
        layers: weight of each layer by name, at least 0.
        weight: weight of the whole style term in the objective.
        statistic: statistic of the features that is matched.
        smoothing: smoothing of the features: one for all layers, or a mapping by layer name.
    """

    regions: Sequence[Region]
    layers: Mapping[str, float]
    weight: float = 1.0
    statistic: Statistic[Any] = field(default_factory=Gram)
    smoothing: Smoothing | Mapping[str, Smoothing] = NO_SMOOTHING


@dataclass(frozen=True, kw_only=True)
class LayerLoss:
    """The loss of one layer against its target.

    Attributes:
        layer: name of the layer.
        weight: factor of the loss; a tensor where the loss is relative to an energy.
        smoothing: smoothing of the features before they are compared; those of the target are
            smoothed already.
        target: target features if there is no statistic, otherwise the measurement of the
            statistic.
        statistic: statistic that is matched; None: the features themselves.
        mask: mask of the region, (1, 1, H, W) at the layer's size; None: the whole picture.
    """

    layer: str
    weight: float | Tensor
    smoothing: Smoothing
    target: Any
    statistic: Statistic[Any] | None = None
    mask: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """Return the weighted loss of smoothed features, a scalar."""
        if self.statistic is None:
            return self.weight * content_loss(features, self.target)
        return self.weight * self.statistic.distance(features, self.target, self.mask)


@dataclass(frozen=True, kw_only=True)
class FeatureLoss:
    """The sum of the losses of some layers: the content term or the style term of an objective.

    Attributes:
        weight: weight of the whole loss; the weights of ``parts`` already include it.
        parts: losses of the single layers and regions.
    """

    weight: float
    parts: Sequence[LayerLoss]

    @property
    def layers(self) -> Sequence[str]:
        """The layers that the loss needs."""
        return tuple(dict.fromkeys(part.layer for part in self.parts))

    @property
    def is_random(self) -> bool:
        """Whether the loss depends on random numbers that are drawn anew in each evaluation."""
        return any(getattr(part.statistic, "is_random", False) for part in self.parts)

    def __call__(self, image: Tensor, features: LayerFeatures) -> Tensor:
        """Return the weighted loss."""
        loss = image.new_zeros(())
        for part in self.parts:
            loss = loss + part(features.smoothed(part.layer, part.smoothing))
        return loss


def feature_losses(
    network: FeatureFunction,
    *,
    content: Content | None = None,
    style: Style | None = None,
    relative: bool = False,
) -> dict[str, FeatureLoss]:
    """Measure the pictures of content and style, once each; return their losses for an objective.

    Args:
        network: feature network that has the layers of both.
        content: content to show; None: no content loss.
        style: style to take on; None: no style loss.
        relative: divide the loss of each layer by the energy of its target, its distance from
            features that are all 0. Weights are then comparable between layers and networks,
            regardless of the scale of their activations (after He, Wang and Hopcroft 2016, who
            balance the layers of networks with random weights).

    Returns:
        The losses, under the names ``content`` and ``style``, of those that were given.

    Raises:
        ImpastoError: a region, or the style's mask, is too small for all layers.
        ValueError: a picture is not (1, 3, H, W), or a weight is negative.
    """
    requests = [request for request in (content, style) if request is not None]
    layers = tuple(dict.fromkeys(layer for request in requests for layer in layers_of(request)))
    seen_styles: list[Features] = []  # no more than the first

    def look(picture: Tensor) -> Features:
        if picture.ndim != 4 or picture.shape[:2] != (1, 3):
            raise ValueError(f"picture: expected (1, 3, H, W), got {tuple(picture.shape)}")
        return network(picture, layers) if layers else {}

    def look_at_style(picture: Tensor) -> Features:
        features = look(picture)
        if not seen_styles:
            seen_styles.append(features)
        return features

    losses: dict[str, FeatureLoss] = {}
    with torch.no_grad():
        shown = _at_the_size_of_the_picture(content, style, look)
        styled = []
        if style is not None and layers_of(style):
            styled = list(_style_losses(style, look_at_style, shown, relative=relative))
        if content is not None:
            others = seen_styles if relative else None
            parts = _content_losses(content, look_at_style, shown, others)
            losses["content"] = FeatureLoss(weight=content.weight, parts=parts)
        if style is not None:
            losses["style"] = FeatureLoss(weight=style.weight, parts=styled)
    return losses


@torch.no_grad()
def with_targets_of(loss: FeatureLoss, network: FeatureFunction, picture: Tensor) -> FeatureLoss:
    """Return a content loss with the features of another picture as targets, weights unchanged.

    Args:
        loss: loss of a content without ``histograms``, from :func:`feature_losses`.
        network: feature network.
        picture: the picture, RGB, (1, 3, H, W), in [0, 1].
    """
    features = network(picture, loss.layers) if loss.layers else {}
    parts = [
        replace(part, target=smooth(features[part.layer], part.smoothing)) for part in loss.parts
    ]
    return replace(loss, parts=parts)


def _at_the_size_of_the_picture(
    content: Content | None, style: Style | None, look: Callable[[Tensor], Features]
) -> Features:
    """Return features at the size of what is optimized: of the content, or of a plain gray."""
    if content is not None:
        return look(content.picture)
    for region in style.regions if style is not None else ():
        if region.mask is not None:
            return look(region.mask.new_full((1, 3, *region.mask.shape[-2:]), 0.5))
    return {}


def layers_of(request: Content | Style) -> dict[str, float]:
    """Return the layers with a weight above 0, and their weights; empty if the whole weight is 0.

    Raises:
        ValueError: a weight is negative or not finite.
    """
    for name, weight in {"weight": request.weight, **request.layers}.items():
        if not 0 <= weight < float("inf"):
            raise ValueError(f"{name}: expected a weight of at least 0, got {weight}")
    counting = {layer: weight for layer, weight in request.layers.items() if weight > 0}
    return counting if request.weight > 0 else {}


def mask_at(mask: Tensor, features: Tensor) -> Tensor:
    """Return a mask, (1, 1, H, W), at the size of features, (1, C, H', W'), by area averages."""
    whole = full_precision(mask).to(where_complete(mask.device))
    return functional.interpolate(whole, size=features.shape[-2:], mode="area").to(mask.device)


def _content_losses(
    content: Content,
    look: Callable[[Tensor], Features],
    shown: Features,
    others: Sequence[Features] | None,
) -> list[LayerLoss]:
    """Return the losses of the content.

    Args:
        content: content to show.
        look: function that returns the features of a style picture.
        shown: features of the content picture.
        others: features of a style picture, for losses relative to the energy of the target; empty
            if no style picture has been looked at.
    """
    layers = layers_of(content)
    energy = _variance if content.centered else _mean_square
    smoothing = smoothing_of_layers(content.smoothing, list(layers))
    histograms = [
        (region.mask, _style_quantiles(region, layers, look)) for region in content.histograms
    ]
    losses = []
    for layer, share in layers.items():
        target = shown[layer]
        for mask, quantiles in histograms:
            target = match_histograms(
                target, quantiles[layer], None if mask is None else mask_at(mask, target)
            )
        target = smooth(target, smoothing[layer])
        weight: float | Tensor = content.weight * share
        if others is not None:
            rival = None
            if others and layer in others[0]:
                rival = energy(smooth(others[0][layer], smoothing[layer]))
            weight = weight / _energy(energy(target), rival)
        losses.append(
            LayerLoss(layer=layer, weight=weight, smoothing=smoothing[layer], target=target)
        )
    return losses


def _style_losses(
    style: Style, look: Callable[[Tensor], Features], here: Features, *, relative: bool
) -> Iterator[LayerLoss]:
    """Yield the losses of the style.

    Args:
        style: style to take on.
        look: function that returns the features of a style picture.
        here: features at the size of the optimized picture, namely those of the content, which tell
            whether the energy of a uniform style picture is negligible.
        relative: divide losses by the energies of their targets.

    Raises:
        ImpastoError: a region, or a style's mask, is too small for all layers.
    """
    layers = layers_of(style)
    smoothing = smoothing_of_layers(style.smoothing, list(layers))
    statistic = style.statistic
    for region in style.regions:
        targets = _measured(style, region, look)
        masks = _masks(region, here, targets)
        if not masks:
            raise ImpastoError(
                f"{region.name}: expected masks that cover at least one position of one of the "
                f"layers {', '.join(layers)}; enlarge the masked parts or the picture, or choose "
                "shallower layers"
            )
        # Layers that the region is too small for give their weight to the others.
        area = 1.0 if region.mask is None else float(full_precision(region.mask).mean())
        area *= sum(layers.values()) / sum(layers[layer] for layer in masks)
        for layer, mask in masks.items():
            weight: float | Tensor = style.weight * layers[layer] * area
            if relative:
                rival = None
                if layer in here:
                    measured = statistic.measure(smooth(here[layer], smoothing[layer]))
                    rival = statistic.energy(measured)
                weight = weight / _energy(statistic.energy(targets[layer]), rival)
            yield LayerLoss(
                layer=layer,
                weight=weight,
                smoothing=smoothing[layer],
                target=targets[layer],
                statistic=statistic,
                mask=mask,
            )


def _measured(style: Style, region: Region, look: Callable[[Tensor], Features]) -> dict[str, Any]:
    """Return the mix of a region's styles, by layer; without layers where their masks vanish."""
    layers = layers_of(style)
    smoothing = smoothing_of_layers(style.smoothing, list(layers))
    mixes = {layer: _RunningMix(style.statistic) for layer in layers}
    looked = False
    for style_picture in region.styles:
        looked = True
        features = look(style_picture.picture)
        for layer, mix in mixes.items():
            shown = features[layer]
            mask = None if style_picture.mask is None else mask_at(style_picture.mask, shown)
            if mask is None or _covers(mask):
                smoothed = smooth(shown, smoothing[layer])
                mix.add(style.statistic.measure(smoothed, mask), style_picture.weight)
    if not looked:
        raise ValueError(f"{region.name}: expected at least one style picture, got none")
    return {layer: mix.result() for layer, mix in mixes.items() if mix.weight > 0}


def _style_quantiles(
    region: Region, layers: Iterable[str], look: Callable[[Tensor], Features]
) -> dict[str, Tensor]:
    """Return the quantiles of each channel of the mix of a region's styles, by layer."""
    parts: dict[str, list[Tensor]] = {layer: [] for layer in layers}
    weights = []
    for style_picture in region.styles:
        weights.append(style_picture.weight)
        features = look(style_picture.picture)
        for layer, quantiles in parts.items():
            shown = features[layer]
            mask = None if style_picture.mask is None else mask_at(style_picture.mask, shown)
            values = full_precision(shown).flatten(2)
            counting = position_weights(shown, mask)
            quantiles.append(quantiles_of(values, min(values.shape[2], _MOST_QUANTILES), counting))
    shares = shares_of(weights)
    return {layer: mixed_quantiles(quantiles, shares) for layer, quantiles in parts.items()}


class _RunningMix:
    """A mix that grows picture by picture, so that a collection need not fit into memory."""

    def __init__(self, statistic: Statistic[Any]) -> None:
        self.weight = 0.0
        self._statistic = statistic
        self._measured: list[Any] = []
        self._weights: list[float] = []

    def add(self, measured: Any, weight: float) -> None:
        self.weight += weight
        self._measured.append(measured)
        self._weights.append(weight)
        if len(self._measured) > _WAITING:
            self._measured = [self.result()]
            self._weights = [self.weight]

    def result(self) -> Any:
        return self._statistic.mix(self._measured, self._weights)


def _masks(region: Region, here: Features, targets: Mapping[str, Any]) -> dict[str, Tensor | None]:
    """Return the region's mask at the size of each layer, without layers where it vanishes."""
    if region.mask is None:
        return dict.fromkeys(targets)
    masks = {layer: mask_at(region.mask, here[layer]) for layer in targets}
    return {layer: mask for layer, mask in masks.items() if _covers(mask)}


def _covers(mask: Tensor) -> bool:
    """Whether a mask covers one position in total, up to rounding."""
    return bool(mask.sum() > 1 - 1e-3)


def _mean_square(features: Tensor) -> Tensor:
    return full_precision(features).square().mean()


def _variance(features: Tensor) -> Tensor:
    """Return the variance of each channel over positions, averaged over channels."""
    return full_precision(features).var(dim=(2, 3), correction=0).mean()


def _energy(energy: Tensor, rival: Tensor | None) -> Tensor:
    """Return an energy, or the least that may be divided by."""
    if rival is not None:
        energy = energy.maximum(_LEAST_SHARE * rival)
    return energy.clamp_min(_LEAST_ENERGY)
