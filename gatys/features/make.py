"""A feature network by its name: VGG of a file, random filters, plain pixels, or torchvision's.

=======================  =================================================================
name                     network
=======================  =================================================================
``vgg19``, ``vgg16``     from a file of weights, one's own or torchvision's in its cache
``random``               a VGG19 of random filters
``pixels``               none: colors and luminance
``lite``                 EfficientNet-Lite0 with the weights of an installed package
``resnet50``, ...        any model of torchvision; random weights where no file is found
``random:resnet50``      the same with random weights in any case
``auto``                 VGG as deep as the file that is given; else VGG19, else ``random``
=======================  =================================================================
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from impasto.gatys.features.graph import LIST_COMMAND, check_model, find_anatomy
from impasto.gatys.features.lite import (
    LITE_PACKAGE,
    LITE_SHA256,
    find_lite_weights,
    load_lite,
    parse_lite_layers,
)
from impasto.gatys.features.models import parse_model_layers
from impasto.gatys.features.pixels import Pixels
from impasto.gatys.features.random import RANDOM_RECIPE, random_model, random_vgg
from impasto.gatys.features.vgg import Pooling, Vgg, parse_layers
from impasto.gatys.features.weight_files import WeightsFile, read_weights
from impasto.gatys.features.weights import (
    ModelWeights,
    find_model_weights,
    find_weights,
    load_model,
    load_weights,
    missing_message,
)
from impasto.options.errors import CheckpointError, OptionError
from impasto.options.fields import nearest

__all__ = [
    "OWN_NETWORKS",
    "Backbone",
    "FeatureFunction",
    "Network",
    "describe_lite",
    "make_network",
    "model_of",
    "parse_network_layers",
    "resolve_model_name",
    "with_autocast",
]

OWN_NETWORKS = ("vgg19", "vgg16", "random", "pixels", "lite")
"""Networks that are not torchvision's; layers of the first three have names as ``relu4_2``."""

_RANDOM = "random:"

_log = logging.getLogger(__name__)


FeatureFunction = Callable[[Tensor, Sequence[str]], Mapping[str, Tensor]]
"""Gives features, (N, C, H', W') by layer, of pictures, RGB, (N, 3, H, W), in [0, 1]; the layers
that are asked for. Any :class:`Network` is one."""


class Network(Protocol):
    """A frozen feature network, or an object with the same interface."""

    @property
    def layers(self) -> Sequence[str]:
        """Names of its layers, shallow to deep."""
        ...

    def smallest(self, layers: Sequence[str]) -> int:
        """Return the smallest side of a picture, in pixels, that has all of these layers."""
        ...

    def to(self, device: torch.device, /) -> Any:
        """Move the network to a device."""
        ...

    def __call__(self, image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        """Compute the requested layers.

        Values are not clipped, and their range is not checked: that would synchronize with the GPU.

        Args:
            image: picture, RGB, (N, 3, H, W), floating point, nominally in [0, 1].
            layers: names from ``self.layers``.

        Returns:
            Layer to features, (N, C, H', W'), in the order requested.

        Raises:
            ValueError: the shape or type is wrong, or a name is unknown.
            ImpastoError: the picture is too small for these layers; the message names the side.
        """
        ...


def with_autocast(network: FeatureFunction, dtype: torch.dtype | None) -> FeatureFunction:
    """Return a network that computes in another data type.

    Args:
        network: feature network; its features then have that type, where autocast says so.
        dtype: ``torch.bfloat16`` or ``torch.float16``; None returns the network unchanged.
    """
    if dtype is None:
        return network

    def compute(image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        with torch.autocast(image.device.type, dtype=dtype):
            return network(image, layers)

    return compute


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """A feature network, and the source of its weights.

    Attributes:
        network: frozen feature network, on the CPU.
        name: name that makes the same network again, with the same file; never ``auto``.
        weights: file of the weights; None if the network has none.
    """

    network: Network = field(repr=False)
    name: str
    weights: WeightsFile | ModelWeights | None

    @property
    def relative(self) -> bool:
        """Whether losses should be relative to the energy of their targets, of arbitrary scale."""
        own = isinstance(self.weights, WeightsFile) and self.weights.trained_here
        return own or self.name not in {"vgg19", "vgg16", "pixels"}


def make_network(
    name: str,
    weights: Path | None = None,
    *,
    layers: Sequence[str] = (),
    pooling: Pooling = "max",
    keep_size_of_activations: bool = False,
    replicate_padding: bool = False,
) -> Backbone:
    """Make a feature network, frozen, on the CPU, in float32.

    Args:
        name: name of the network, from the table above.
        weights: file of weights; unless given, torchvision's cache is searched. Nothing is
            downloaded.
        layers: layers from :func:`parse_network_layers`; the network is cut down to what they need.
            All layers unless given.
        pooling: pooling method of a VGG; other networks keep their own pooling.
        keep_size_of_activations: for a VGG: scale pooled values to the size of max-pooled ones, see
            :class:`~impasto.gatys.features.vgg.Vgg`.
        replicate_padding: for a VGG with weights from a file: the first convolution pads with edge
            pixels; the random VGG always does.

    Raises:
        CheckpointError: weights are not found, damaged, of another network, or too few.
        OptionError: there is no such network.
        ValueError: a layer of one of torchvision's models is unknown.
    """
    name, path = _find_file(resolve_model_name(name, weights), weights)
    if name == "pixels":
        return Backbone(network=Pixels(), name=name, weights=None)
    if name == "lite":
        return _make_lite(path, layers)
    if name == "random":
        filters = random_vgg(0, replace(RANDOM_RECIPE, pooling=pooling))
        _truncate(filters, layers)
        return Backbone(network=filters, name=name, weights=None)
    if model := model_of(name):
        return _make_model(name, model, path, layers)
    depth = int(name.removeprefix("vgg")) if name != "auto" else None
    if path is None:
        raise CheckpointError(missing_message(depth or 19))
    file = read_weights(path)
    network = Vgg(
        depth=depth or file.depth,
        width=file.width,
        pooling=pooling,
        keep_size_of_activations=keep_size_of_activations,
        replicate_padding=replicate_padding,
    )
    loaded = load_weights(network, path)
    _truncate(network, layers)
    return Backbone(network=network, name=f"vgg{network.depth}", weights=loaded)


def model_of(name: str) -> str | None:
    """Return torchvision's model that a name stands for; None if it is one of our own networks.

    Raises:
        OptionError: there is no such network, or it cannot be used.

    Example:
        >>> model_of("random:resnet50"), model_of("resnet50"), model_of("vgg19")
        ('resnet50', 'resnet50', None)
    """
    if name in {"auto", *OWN_NETWORKS}:
        return None
    model = name.removeprefix(_RANDOM)
    if model in OWN_NETWORKS:
        raise OptionError("backbone", f"{name}: a VGG of random filters is --backbone random")
    if Path(name).suffix in {".pth", ".pt", ".safetensors"}:
        raise OptionError("backbone", f"{name} is a file; give it as --weights {name}")
    try:
        check_model(model, others=("auto", *OWN_NETWORKS))
    except OptionError:
        if not Path(name).is_dir():
            raise
        raise OptionError(
            "backbone",
            f"{name} is a folder that holds no backbone.safetensors, which impasto backbone train "
            "leaves in the folder of a run; give that folder, or a file of weights",
        ) from None
    return model


def parse_network_layers(
    names: Sequence[str], network: str, *, option: str = "layers"
) -> tuple[str, ...]:
    """Return the layers that a user named, in the order given, under their full names.

    Args:
        names: names of layers as the user wrote them; short forms and other programs' names are
            understood.
        network: name of the network, from the table above.
        option: name of the option, for error messages.

    Raises:
        OptionError: a name is unknown (the nearest are shown), a layer is named twice, no layer is
            named, or there is no such network.
    """
    if model := model_of(network):
        return parse_model_layers(names, tuple(find_anatomy(model).maps), model, option=option)
    if network == "lite":
        return parse_lite_layers(names, option=option)
    if network != "pixels":
        return parse_layers(names, 16 if network == "vgg16" else 19, option=option)
    for name in names:
        if name not in Pixels.layers:
            raise OptionError(
                option,
                f"{name!r} is none of {', '.join(Pixels.layers)}{nearest(name, Pixels.layers)}; "
                "layers of VGG need --backbone random, or a file of weights",
            )
        if names.count(name) > 1:
            raise OptionError(option, f"{name} is named twice; name each layer once")
    return tuple(names)


def resolve_model_name(name: str, weights: Path | None = None) -> str:
    """Return ``random:MODEL`` for a model of torchvision without weights, else the same name.

    Logs one line if the weights will be random because no file was found.

    Raises:
        CheckpointError: the file that is given does not exist.
        OptionError: there is no such network.
    """
    model = model_of(name)
    if model is None or name.startswith(_RANDOM) or find_model_weights(model, weights):
        return name
    _log.warning(
        "no weights of %s are found, so they are random, the same each time; '%s %s' says how to "
        "get trained ones, and what sees without them",
        model,
        LIST_COMMAND,
        model,
    )
    return f"{_RANDOM}{model}"


def _find_file(name: str, weights: Path | None) -> tuple[str, Path | None]:
    """Return the name of the network, ``random`` for ``auto`` without a file, and its file."""
    if name in {"random", "pixels"} or name.startswith(_RANDOM):
        return name, None
    if name == "lite":
        return name, find_lite_weights(weights)
    if model := model_of(name):
        return name, find_model_weights(model, weights)
    path = find_weights(16 if name == "vgg16" else 19, weights)
    return ("random" if name == "auto" and path is None else name), path


def describe_lite(file: Path | None = None) -> str:
    """Return, in words, where the weights of EfficientNet-Lite0 are and that they are right.

    Args:
        file: their file, if it is not in the installed package.

    Raises:
        CheckpointError: the weights are missing, damaged or others.
    """
    weights = _make_lite(find_lite_weights(file), ["stem"]).weights
    assert weights is not None  # noqa: S101 - or it would have been refused
    return f"{weights.path}: {weights}"


def _make_lite(path: Path | None, layers: Sequence[str]) -> Backbone:
    network = load_lite(path, layers=layers)
    assert path is not None  # noqa: S101 - or it would not have been loaded
    weights = ModelWeights(
        path=path,
        model="EfficientNet-Lite0",
        bytes=path.stat().st_size,
        sha256=LITE_SHA256,
        verified=f"as in {LITE_PACKAGE}",
        entry="",
    )
    return Backbone(network=network, name="lite", weights=weights)


def _make_model(name: str, model: str, path: Path | None, layers: Sequence[str]) -> Backbone:
    if path is None:
        return Backbone(network=random_model(model, layers=layers), name=name, weights=None)
    network, loaded = load_model(model, path)
    if layers:
        network.truncate(layers)
    return Backbone(network=network, name=name, weights=loaded)


def _truncate(network: Vgg, layers: Sequence[str]) -> None:
    missing = [name for name in layers if name not in network.layers]
    if missing:
        raise CheckpointError(
            f"the network ends at {network.layers[-1]}, before {missing[0]}; choose other "
            "--content_layers and --style_layers, or a file of weights that goes deeper"
        )
    if layers:
        network.truncate(max(layers, key=network.layers.index))
