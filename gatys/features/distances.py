"""Perceptual distances: how similar pictures are to a feature network.

:class:`PerceptualDistance` compares two pictures layer by layer, as a loss of other networks.
:class:`FeatureExtractor` makes one vector of each picture, for distances between sets of them.
:class:`FeatureComparison` measures how much of a picture's content another has, and of its style.
"""

import hashlib
import itertools
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from impasto.gatys.features.graph import find_anatomy
from impasto.gatys.features.lite import find_lite_weights, missing_lite_message
from impasto.gatys.features.make import (
    Backbone,
    Network,
    make_network,
    model_of,
    parse_network_layers,
)
from impasto.gatys.features.models import default_layers
from impasto.gatys.features.smoothing import NO_SMOOTHING, Smoothing, full_precision, smooth
from impasto.gatys.features.weight_files import WeightsFile
from impasto.gatys.features.weights import find_weights
from impasto.options.errors import OptionError

__all__ = [
    "FeatureComparison",
    "FeatureExtractor",
    "PerceptualDistance",
    "Statistics",
    "make_comparison",
    "make_extractor",
    "make_perceptual_distance",
]


# What Johnson, Alahi and Fei-Fei 2016 reconstruct in figure 3 and take for style transfer.
_VGG_LAYER = "relu3_3"
# The layer of EfficientNet-Lite0 at 8 pixels per position in which objects remain and strokes go.
_LITE_LAYER = "block4.expand"

# One layer for each size of maps, 4 to 32 pixels per position. The narrow outputs of blocks have
# values of both signs, so that what has nothing in common is about at a right angle; maps after an
# activation are all alike by half.
_LITE_CONTENT = ("block2", "block4", "block10", "block14")
# As narrow maps of 2 to 8 pixels per position: few channels, whose covariances are known well. The
# wide maps, which `impasto stylize` brings near those of a style, are not among them.
_LITE_STYLE = ("block0", "block2", "block4")
# The layers of LPIPS (Zhang et al. 2018) in a VGG, and those of Gatys et al. 2016 for styles.
_VGG_CONTENT = ("relu1_2", "relu2_2", "relu3_3", "relu4_3", "relu5_3")
_VGG_STYLE = ("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1")

_log = logging.getLogger(__name__)

# Relative to the mean square, so that features of zeros alone ask for nothing.
_LEAST_ENERGY = 1e-8


class PerceptualDistance:
    """The feature reconstruction loss of Johnson, Alahi and Fei-Fei 2016, equation 2.

    Departure: the squared distance is relative to the target's mean square, picture by picture, so
    that one weight fits all layers, networks, and random filters, too.

    Args:
        network: frozen feature network; it is moved to the device.
        layers: weight of each layer, by name; the weighted distances are summed.
        device: device of the pictures that will be compared.
        smoothing: smoothing of each layer's features; a layer that is not named is not smoothed.
        name: name of the network, for display.

    Raises:
        ValueError: no layer is given.
    """

    capturable = True  # as part of a training step: it computes on the device and remembers nothing

    def __init__(
        self,
        network: Network,
        layers: Mapping[str, float],
        *,
        device: torch.device,
        smoothing: Mapping[str, Smoothing] | None = None,
        name: str = "",
    ) -> None:
        if not layers:
            raise ValueError("layers: expected at least one, got none")
        self._network, self._layers, self._name = network, dict(layers), name
        self._smoothing = dict(smoothing or {})
        network.to(device)

    def __call__(self, image: Tensor, target: Tensor) -> Tensor:
        """Return how far pictures are from others: 0 where they are equal, about 1 where not alike.

        Args:
            image: RGB, (N, 3, H, W), in [-1, 1]; the distance has gradients for it.
            target: the same shape and range.

        Returns:
            A scalar: the mean over the pictures.

        Raises:
            ValueError: the shapes differ.
            ImpastoError: the pictures are too small for a layer; names both.
        """
        if image.shape != target.shape:
            raise ValueError(
                f"expected pictures of {tuple(target.shape)}, got {tuple(image.shape)}"
            )
        with torch.no_grad():
            expected = self._features(target)
        features = self._features(image)
        distances = [
            weight * _relative_distance(features[layer], expected[layer])
            for layer, weight in self._layers.items()
        ]
        return torch.stack(distances).sum()

    def __str__(self) -> str:
        """Return network and layers in words."""
        return f"{self._name or type(self._network).__name__}, {' '.join(self._layers)}"

    def fingerprint(self) -> str:
        """Return a hash of layers, smoothing and weights."""
        hashed = hashlib.sha256(repr((self._layers, self._smoothing)).encode())
        if isinstance(self._network, nn.Module):
            for name, weights in self._network.state_dict().items():
                hashed.update(name.encode())
                hashed.update(weights.detach().cpu().contiguous().numpy().tobytes())
        return hashed.hexdigest()

    def _features(self, pictures: Tensor) -> dict[str, Tensor]:
        features = self._network((pictures + 1) / 2, list(self._layers))
        return {
            name: smooth(value, self._smoothing.get(name, NO_SMOOTHING))
            for name, value in features.items()
        }


def _relative_distance(features: Tensor, target: Tensor) -> Tensor:
    features, expected = full_precision(features), full_precision(target)
    distance = (features - expected).square().mean(dim=(1, 2, 3))
    energy = expected.square().mean(dim=(1, 2, 3)).clamp_min(_LEAST_ENERGY)
    return (distance / energy).mean()


def make_perceptual_distance(
    name: str = "auto",
    weights: Path | None = None,
    *,
    layers: Sequence[str] = (),
    device: torch.device,
    fingerprint: str = "",
) -> PerceptualDistance:
    """Make the distance that `impasto train --lambda_perceptual` has.

    Args:
        name: name of the network: ``lite``, ``vgg19``, ``resnet50``, ...; see
            :mod:`impasto.gatys.features.make`. ``auto`` is the VGG of the file that is given, and
            EfficientNet-Lite0 without a file; where its package is not installed, which is
            logged, VGG19 if its weights are found, and random weights otherwise.
        weights: file of the network's weights; None: the usual places are searched, and random
            weights are used if there are none.
        layers: layers to compare, equally weighted; unless given, ``relu3_3`` of a VGG, and of
            other models the content layer.
        device: device of the pictures that will be compared.
        fingerprint: :meth:`PerceptualDistance.fingerprint` of the distance that a resumed training
            had. ``auto`` is then the network that has it, since it was VGG19 or random weights
            once. If none has it, ``auto`` is what it would be otherwise.

    Raises:
        CheckpointError: weights are damaged, or of another network.
        OptionError: the network or a layer is unknown; names the option of `impasto train`.
    """
    if name != "auto" or weights is not None:
        return _make_distance(name, weights, layers, device)
    without_lite = "vgg19" if find_weights(19) else "random"
    installed = find_lite_weights() is not None
    chosen = "lite" if installed else without_lite
    for one in dict.fromkeys([chosen, without_lite, "random"] if fingerprint else []):
        try:
            distance = _make_distance(one, None, layers, device)
        except OptionError:  # its layers have other names
            continue
        if distance.fingerprint() == fingerprint:
            return distance
    if not installed:
        _log.warning("%s; without it, the perceptual loss uses %s", missing_lite_message(), chosen)
    return _make_distance(chosen, None, layers, device)


def _make_distance(
    name: str, weights: Path | None, layers: Sequence[str], device: torch.device
) -> PerceptualDistance:
    if name == "pixels":
        raise OptionError(
            "perceptual_backbone", "pixels is no network; the cycle loss compares those"
        )
    try:
        model = model_of(name)
        own = _LITE_LAYER if name == "lite" else _VGG_LAYER
        chosen = layers or ([default_layers(model)[0]] if model else [own])
        names = parse_network_layers(chosen, name, option="layers")
        backbone = make_network(name, weights, layers=names)
    except OptionError as error:
        reason = str(error).removeprefix(f"--{error.option}: ")
        if error.option == "layers" and name == "lite":
            reason += "; those of VGG need --perceptual_backbone vgg19"
        raise OptionError(f"perceptual_{error.option}", reason) from error
    # A few high peaks of a residual network would be all that counts (Wang et al. 2021).
    peaked = model is not None and find_anatomy(model).residual
    return PerceptualDistance(
        backbone.network,
        dict.fromkeys(names, 1 / len(names)),
        device=device,
        smoothing=dict.fromkeys(names, Smoothing(kind="softmax")) if peaked else None,
        name=f"{backbone.name} ({backbone.weights.path if backbone.weights else 'no file'})",
    )


class FeatureExtractor:
    """Turns pictures into vectors: the mean of a layer's features over all positions.

    Args:
        network: frozen feature network.
        layer: name of one of the network's layers.
        name: name of the network, layer and weights, to be written beside every number.
        short: one or two words for the headings of tables, such as ``lite``.
        device: device that computes.
    """

    def __init__(
        self, network: Network, layer: str, *, name: str, short: str, device: torch.device
    ) -> None:
        self._network, self._layer, self._device = network, layer, device
        self.name, self.short = name, short
        network.to(device)

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return the features, (N, D) float32 on the CPU, of RGB pictures, (H, W, 3), uint8.

        Pictures that are of one size are computed together.

        Raises:
            ImpastoError: a picture is too small for the layer.
        """
        vectors = []
        for _, same in itertools.groupby(pictures, key=lambda picture: picture.shape):
            features = self._network(_batch(same, self._device), [self._layer])[self._layer]
            vectors.append(features.float().mean(dim=(2, 3)).cpu())
        return torch.cat(vectors)


Statistics = Mapping[str, tuple[Tensor, Tensor]]
"""Mean (C,) and covariance (C, C) of the features at all positions, float64, by layer."""


class FeatureComparison:
    """Compares pictures place by place (content), or as if places did not matter (style).

    Args:
        network: frozen feature network.
        content_layers: layers whose features tell the content.
        style_layers: layers whose means and covariances tell the style.
        name: name of the network, layers and weights, to be written beside every number.
        short: one or two words for the headings of tables, such as ``lite``.
        device: device that computes.
    """

    def __init__(
        self,
        network: Network,
        *,
        content_layers: Sequence[str],
        style_layers: Sequence[str],
        name: str,
        short: str,
        device: torch.device,
    ) -> None:
        self._network, self._device = network, device
        self._content, self._style = tuple(content_layers), tuple(style_layers)
        self.name, self.short = name, short
        network.to(device)

    @torch.inference_mode()
    def content_distance(self, picture: NDArray[np.uint8], other: NDArray[np.uint8], /) -> float:
        """Return how far two pictures are apart, RGB, (H, W, 3), uint8, both of one size.

        At each position the features are divided by their length; half the squared distance of the
        two, which is 1 less their cosine, is averaged over positions, and then over layers: 0 for
        the same picture, about 1 for features that have nothing in common. It is the distance of
        Zhang et al. 2018 (LPIPS), equation 1, halved, with the mean of the layers, and all channels
        weighted equally; what they learnt from people's judgments is not in it.

        Raises:
            ImpastoError: the pictures are too small for a layer.
            ValueError: the sizes differ.
        """
        if picture.shape != other.shape:
            raise ValueError(f"expected pictures of one size, got {picture.shape}, {other.shape}")
        maps = self._network(_batch([picture, other], self._device), list(self._content))
        units = [F.normalize(features.double(), dim=1) for features in maps.values()]
        layers = [(one - two).square().sum(dim=0).mean() / 2 for one, two in units]
        return float(torch.stack(layers).mean())

    @torch.inference_mode()
    def statistics(self, pictures: Sequence[NDArray[np.uint8]], /) -> Statistics:
        """Return means and covariances of the features of all positions of pictures together.

        Args:
            pictures: RGB, (H, W, 3), uint8; each counts as much as any other, whatever its size.

        Raises:
            ImpastoError: a picture is too small for a layer.
        """
        each = [self._network(_batch([picture], self._device), self._style) for picture in pictures]
        found = {}
        for layer in self._style:
            points = [maps[layer].double().flatten(2)[0] for maps in each]
            mean = torch.stack([one.mean(dim=1) for one in points]).mean(dim=0)
            gaps = [one - mean[:, None] for one in points]
            covariance = torch.stack([gap @ gap.T / gap.shape[1] for gap in gaps]).mean(dim=0)
            found[layer] = mean.cpu(), covariance.cpu()
        return found

    @staticmethod
    def style_distance(picture: Statistics, style: Statistics, /) -> float:
        """Return how far the style of pictures is from another, 0 if they do not differ.

        For each layer it is the Frechet distance of two Gaussians with these means and covariances,
        as Shaham, Dekel and Michaeli 2019 (single image FID) have it of one layer of Inception,
        divided by the mean square of the style's features, so that layers count alike; then the
        mean over layers.

        Args:
            picture: result of :meth:`statistics` for the pictures.
            style: the same for the style.
        """
        distances = []
        for layer, (mean, covariance) in style.items():
            other_mean, other = picture[layer]
            root = _square_root(covariance)
            # The trace of a root of a product is the sum of the roots of its eigenvalues.
            overlap = torch.linalg.eigvalsh(root @ other @ root).clamp_min(0).sqrt().sum()
            spread = covariance.trace() + other.trace() - 2 * overlap
            energy = mean.square().sum() + covariance.trace()
            gap = (mean - other_mean).square().sum() + spread.clamp_min(0)
            distances.append(gap / energy.clamp_min(_LEAST_ENERGY))
        return float(torch.stack(distances).mean())


def _square_root(covariance: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def _batch(pictures: Iterable[NDArray[np.uint8]], device: torch.device) -> Tensor:
    """Return pictures of one size as (N, 3, H, W), float32, in [0, 1]."""
    stacked = torch.from_numpy(np.stack(list(pictures))).permute(0, 3, 1, 2)
    return stacked.to(device, torch.float32) / 255


def make_extractor(
    name: str, weights: Path | None = None, *, layer: str = "", device: torch.device
) -> FeatureExtractor:
    """Make the extractor that `impasto evaluate --backbone` names.

    Args:
        name: name of a network, see :mod:`impasto.gatys.features.make`.
        weights: file of the network's weights.
        layer: name of the layer; the deepest unless given.
        device: device that computes.

    Raises:
        CheckpointError: weights are not found, damaged, or of another network.
        OptionError: the network or the layer is unknown.
    """
    if name == "pixels":
        raise OptionError("backbone", "pixels is no network; the palette distance compares those")
    layers = parse_network_layers([layer], name, option="layer") if layer else ()
    backbone = make_network(name, weights, layers=layers)
    chosen = layers[0] if layers else backbone.network.layers[-1]
    return FeatureExtractor(
        backbone.network,
        chosen,
        name=f"{backbone.name}, {chosen} ({_source(backbone)})",
        short=_short(backbone),
        device=device,
    )


def make_comparison(
    name: str, weights: Path | None = None, *, device: torch.device
) -> FeatureComparison:
    """Make what `impasto evaluate` measures content and style distances with.

    Args:
        name: name of a network, see :mod:`impasto.gatys.features.make`.
        weights: file of the network's weights.
        device: device that computes.

    Raises:
        CheckpointError: weights are not found, damaged, or of another network.
        OptionError: the network is unknown.
    """
    if name == "pixels":
        raise OptionError("backbone", "pixels is no network; the palette distance compares those")
    model = model_of(name)
    content: Sequence[str] = _VGG_CONTENT
    style: Sequence[str] = _VGG_STYLE
    needed: Sequence[str] = ()
    if name == "lite":
        content, style = _LITE_CONTENT, _LITE_STYLE
        needed = (*content, *style)
    elif model:
        first, style = default_layers(model)
        content = (first,)
        needed = tuple(dict.fromkeys((first, *style)))
    backbone = make_network(name, weights, layers=needed)
    network = backbone.network
    # A file of a VGG may end early.
    content, style = (
        [layer for layer in some if layer in network.layers] for some in (content, style)
    )
    return FeatureComparison(
        network,
        content_layers=content,
        style_layers=style,
        name=f"{backbone.name} ({_source(backbone)}): content {' '.join(content)}, style "
        f"{' '.join(style)}",
        short=_short(backbone),
        device=device,
    )


def _source(backbone: Backbone) -> str:
    """Say which weights: files of two networks may have one name."""
    weights = backbone.weights
    if weights is None:
        return "random weights"
    path = weights.path
    return f"{path.parent.name}/{path.name}, SHA-256 {weights.sha256[:8]}"


def _short(backbone: Backbone) -> str:
    """Name a network for headings: a user's own goes by its run."""
    weights = backbone.weights
    own = isinstance(weights, WeightsFile) and weights.trained_here
    return weights.path.parent.name or backbone.name if own and weights else backbone.name
