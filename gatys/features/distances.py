"""Perceptual distances: how similar pictures are to a feature network.

:class:`PerceptualDistance` compares two pictures layer by layer, as a loss of other networks.
:class:`FeatureExtractor` makes one vector of each picture, for distances between sets of them.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
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
from impasto.gatys.features.weights import find_weights
from impasto.options.errors import OptionError

__all__ = ["FeatureExtractor", "PerceptualDistance", "make_extractor", "make_perceptual_distance"]


# What Johnson, Alahi and Fei-Fei 2016 reconstruct in figure 3 and take for style transfer.
_VGG_LAYER = "relu3_3"
# The layer of EfficientNet-Lite0 at 8 pixels per position in which objects remain and strokes go.
_LITE_LAYER = "block4.expand"

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
        device: device that computes.
    """

    def __init__(self, network: Network, layer: str, *, name: str, device: torch.device) -> None:
        self._network, self._layer, self._device = network, layer, device
        self.name = name
        network.to(device)

    @torch.inference_mode()
    def __call__(self, pictures: Sequence[NDArray[np.uint8]]) -> Tensor:
        """Return the features, (N, D) float32 on the CPU, of RGB pictures, (H, W, 3), uint8.

        Raises:
            ImpastoError: a picture is too small for the layer.
        """
        vectors = []
        for picture in pictures:
            image = torch.from_numpy(np.array(picture)).permute(2, 0, 1).unsqueeze(0)
            scaled = image.to(self._device, torch.float32) / 255
            features = self._network(scaled, [self._layer])[self._layer]
            vectors.append(features.float().mean(dim=(2, 3)).cpu())
        return torch.cat(vectors)


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
    name = f"{backbone.name}, {chosen} ({_source(backbone)})"
    return FeatureExtractor(backbone.network, chosen, name=name, device=device)


def _source(backbone: Backbone) -> str:
    """Say which weights: files of two networks may have one name."""
    weights = backbone.weights
    if weights is None:
        return "random weights"
    path = weights.path
    return f"{path.parent.name}/{path.name}, SHA-256 {weights.sha256[:8]}"
