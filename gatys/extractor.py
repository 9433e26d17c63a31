"""One vector per picture: features of a network, for distances between sets of pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.gatys.networks import Backbone, Network, make_network, parse_network_layers
from impasto.options.errors import OptionError

__all__ = ["FeatureExtractor", "make_extractor"]


class FeatureExtractor:
    """Turns pictures into vectors: the mean of a layer's features over all places.

    Args:
        network: frozen.
        layer: one of its layers.
        name: of network, layer and weights, to be written beside every number.
        device: where to compute.
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
        found = []
        for picture in pictures:
            image = torch.from_numpy(np.array(picture)).permute(2, 0, 1).unsqueeze(0)
            scaled = image.to(self._device, torch.float32) / 255
            features = self._network(scaled, [self._layer])[self._layer]
            found.append(features.float().mean(dim=(2, 3)).cpu())
        return torch.cat(found)


def make_extractor(
    name: str, weights: Path | None = None, *, layer: str = "", device: torch.device
) -> FeatureExtractor:
    """Make the extractor that `impasto evaluate --backbone` names.

    Args:
        name: a network of ``gatys/networks.py``.
        weights: file of its weights.
        layer: one layer; the deepest unless given.
        device: where to compute.

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
