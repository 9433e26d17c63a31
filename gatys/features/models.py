"""Any convolutional model of torchvision as feature network, and the names of its layers.

``ModelNetwork("resnet50")`` has a layer for every map of features in the model. Weights come from
:func:`~impasto.gatys.features.weights.load_model` or, at random, from
:func:`~impasto.gatys.features.random.random_model`.

A layer has the name of its node in the traced model: ``layer1.0.relu_2`` is the third use of the
ReLU in the first block of the first stage of a ResNet. ``layer1.0`` and ``layer1`` are short for
the last node in them.

Beware of numbers from Keras: its ResNets put the stride of a stage into the first 1 x 1
convolution of the stage's first block (He et al. 2016, version 1), torchvision's into the 3 x 3
convolution after it (version 1.5, Goyal et al. 2017). So inside ``conv3_block1``, ``conv4_block1``
and ``conv5_block1`` the outputs of the first convolution are twice as large along each side in
torchvision, and since the weights were trained apart too, losses of the same layer differ.
"""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Self

import torch
from torch import Tensor, fx, nn

from impasto.data.tensors import check_images
from impasto.gatys.features.graph import (
    LIST_COMMAND,
    find_anatomy,
    kept_channels,
    make_model,
    part_of,
    run_without_contents,
    shapes_of,
    stage_of,
)
from impasto.gatys.features.vgg import IMAGENET_MEAN, IMAGENET_STD, check_size
from impasto.options.errors import OptionError
from impasto.options.fields import nearest

__all__ = [
    "ModelNetwork",
    "default_layers",
    "find_layer",
    "from_keras",
    "layer_table",
    "parse_model_layers",
]


# Largest side that a layer can need: Inception v3 needs 75.
_LARGEST_NEED = 512


class ModelNetwork(nn.Module):
    """A model of torchvision, frozen, that returns the requested feature maps.

    Input pictures are in [0, 1]; the network normalizes them. Parameters are zero until they are
    filled.

    Attributes:
        model: torchvision's name.
        body: the model without its classification head; its state_dict has torchvision's names.
        layers: names of all layers, in the order of computation.
        channels: number of channels of each layer.
        strides: pixels of the picture per position of each layer.
        residual: whether the model has residual connections.
        factors: factor that each layer's features are multiplied by; 1 unless given.
    """

    def __init__(self, model: str) -> None:
        """Make the network.

        Args:
            model: torchvision's name, e.g. ``resnet50``.

        Raises:
            OptionError: torchvision has no such model, or it takes pictures of one size only.
        """
        super().__init__()
        self.model = model
        self._anatomy = find_anatomy(model)
        self.layers = tuple(self._anatomy.maps)
        self.channels = {name: place.channels for name, place in self._anatomy.maps.items()}
        self.strides = {name: place.stride for name, place in self._anatomy.maps.items()}
        self.residual = self._anatomy.residual
        self.factors: Mapping[str, float] = {}
        self._extractors: dict[frozenset[str], fx.GraphModule] = {}
        self._smallest: dict[frozenset[str], int] = {}
        self.body = self._part(make_model(model), self.layers)
        for parameter in self.body.parameters():
            nn.init.zeros_(parameter)
        for name, values in (("_mean", IMAGENET_MEAN), ("_std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def set_normalization(self, mean: Sequence[float], std: Sequence[float]) -> None:
        """Normalize with other statistics than the usual ones of ImageNet.

        Args:
            mean: mean of red, green and blue, in [0, 1].
            std: standard deviation of red, green and blue.
        """
        for name, values in (("_mean", mean), ("_std", std)):
            self.get_buffer(name).copy_(torch.tensor(values).view(1, 3, 1, 1))

    def truncate(self, layers: Sequence[str]) -> None:
        """Remove all nodes that these layers do not need; updates ``layers``.

        Raises:
            ValueError: a name is unknown, or no name is given.
        """
        self._check_names(layers)
        _, held = part_of(self._anatomy, layers)
        self.layers = tuple(name for name in self.layers if name in held)
        self.body = self._part(self.body, layers)
        self._extractors.clear()

    def smallest(self, layers: Sequence[str]) -> int:
        """Return the smallest side of a picture, in pixels, that has all of these layers.

        At this size the layers can be computed, and the deepest has at least one whole position.

        Raises:
            ValueError: a name is unknown, or no name is given.
        """
        self._check_names(layers)
        key = frozenset(layers)
        if key not in self._smallest:
            network = self._extractor(layers)
            low = max(self.strides[name] for name in layers) - 1
            high = low + 1 if _has_positions(network, low + 1) else _LARGEST_NEED
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if _has_positions(network, middle) else (middle, high)
            self._smallest[key] = high
        return self._smallest[key]

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Compute the requested layers, and nothing that they do not need.

        Takes pictures, RGB, (N, 3, H, W), in [0, 1], and returns (N, C, H', W') by layer; the rest
        of the contract is that of every :class:`~impasto.gatys.features.make.Network`.
        """
        check_images(image, name="image")
        check_size(image, self.smallest(layers), f"these layers of {self.model}, which need")
        # Not called: the wrapper of a traced network prints to stderr what it raises.
        maps = self._extractor(layers).forward(self.normalize(image))
        return {name: self._finish_map(name, maps[name]) for name in layers}

    def normalize(self, image: Tensor) -> Tensor:
        """Normalize a picture in [0, 1] for the model."""
        normalized: Tensor = (image - self.get_buffer("_mean")) / self.get_buffer("_std")
        return normalized

    def kept_channels(self, layers: Sequence[str]) -> list[int]:
        """Return the sizes of the tensors that autograd keeps to backpropagate from these layers.

        See :func:`~impasto.gatys.features.graph.kept_channels`.

        Raises:
            ValueError: a name is unknown, or no name is given.
        """
        self._check_names(layers)
        return kept_channels(partial(run_without_contents, self._extractor(layers)))

    def _finish_map(self, name: str, features: Tensor) -> Tensor:
        if self._anatomy.maps[name].channels_last:
            features = features.permute(0, 3, 1, 2)
        factor = self.factors.get(name, 1.0)
        return features if factor == 1.0 else features * factor

    def _extractor(self, layers: Sequence[str]) -> fx.GraphModule:
        """Return the part of the network that gives these layers, made once for each set."""
        key = frozenset(layers)
        if key not in self._extractors:
            self._extractors[key] = self._part(self.body, layers)
        return self._extractors[key]

    def _part(self, root: nn.Module, layers: Sequence[str]) -> fx.GraphModule:
        """Return a network with the weights of ``root`` that computes no more than these layers."""
        graph, _ = part_of(self._anatomy, layers)
        return fx.GraphModule(root, graph, class_name=self.model)

    def _check_names(self, layers: Sequence[str]) -> None:
        if not layers:
            raise ValueError("layers: expected at least one, got none")
        for name in layers:
            if name not in self.layers:
                raise ValueError(
                    f"layers: {name!r} is no layer of this {self.model}"
                    f"{nearest(name, self.layers)} ('{LIST_COMMAND} {self.model}' lists them)"
                )

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        # Parts of the network hold tensors of their own, which do not move with the body's.
        self._extractors.clear()
        moved: Self = super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return moved


def _has_positions(network: fx.GraphModule, side: int) -> bool:
    try:
        shapes = shapes_of(network, side)
    except RuntimeError:  # torch's, where a kernel or a pooling window does not fit
        return False
    return all(min(features.shape) > 0 for features in shapes.values())


_log = logging.getLogger(__name__)

# Outputs of Inception v3's blocks in Keras, mixed0 to mixed10 (Szegedy et al. 2016, table 1).
_MIXED = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
_STEM = {"conv1_conv": "conv1", "conv1_bn": "bn1", "conv1_relu": "relu", "pool1_pool": "maxpool"}
_BLOCK = re.compile(r"conv([2-5])_block(\d+)_(?:(out|add)|([0-3])_(conv|bn|relu))")


def find_layer(name: str, known: Sequence[str]) -> str | None:
    """Return the layer of a given name, or the last layer of a block of that name; None if unknown.

    Args:
        name: full or short name; case is ignored.
        known: names of all layers, shallow to deep.

    Example:
        >>> find_layer("layer1", ["layer1.0.relu", "layer1.1.relu", "layer2.0.relu"])
        'layer1.1.relu'
    """
    asked = name.strip().lower()
    lower = [layer.lower() for layer in known]
    if asked in lower:
        return known[lower.index(asked)]
    inside = [layer for layer in known if layer.lower().startswith(f"{asked}.")]
    return inside[-1] if inside else None


def from_keras(name: str, model: str) -> str | None:
    """Convert Keras's name of a layer to torchvision's, possibly in short form.

    Known are the ResNets, the blocks of Inception v3, and the sums of EfficientNets. Names are the
    same layer of the same network, but see above for the strides of ResNets.

    Args:
        name: name in ``keras.applications``, e.g. ``conv2_block1_out``.
        model: torchvision's name, e.g. ``resnet50``.

    Returns:
        torchvision's name, or None if the layer is not known.

    Example:
        >>> from_keras("conv3_block4_out", "resnet50"), from_keras("conv5_block3_3_bn", "resnet50")
        ('layer2.3', 'layer4.2.bn3')
    """
    name = name.strip().lower()
    if model.startswith("resnet"):
        return _from_keras_resnet(name)
    if model == "inception_v3" and (block := re.fullmatch(r"mixed(\d+)", name)):
        index = int(block[1])
        return f"Mixed_{_MIXED[index]}" if index < len(_MIXED) else None
    if model.startswith("efficientnet_b"):
        if block := re.fullmatch(r"block([1-7])([a-z])_add", name):
            return f"features.{block[1]}.{ord(block[2]) - ord('a')}"
        return {"stem_activation": "features.0", "top_activation": "features.8"}.get(name)
    return None


def _from_keras_resnet(name: str) -> str | None:
    if name in _STEM:
        return _STEM[name]
    match = _BLOCK.fullmatch(name)
    if match is None:
        return None
    stage, block, end, number, kind = match.groups()
    place = f"layer{int(stage) - 1}.{int(block) - 1}"
    if end:
        return place if end == "out" else f"{place}.add"
    inside = {"conv": f"conv{number}", "bn": f"bn{number}"}
    if number == "0":
        inside = {"conv": "downsample.0", "bn": "downsample.1"}
    elif number in "12":
        inside["relu"] = "relu" if number == "1" else "relu_1"
    return f"{place}.{inside[kind]}" if kind in inside else None


def parse_model_layers(
    names: Sequence[str], known: Sequence[str], model: str, *, option: str = "layers"
) -> tuple[str, ...]:
    """Return the layers that a user named, in the order given, under their full names.

    Args:
        names: names of layers as the user wrote them: full, short, or Keras's, which are converted
            with one warning.
        known: names of all layers of the model, shallow to deep.
        model: torchvision's name.
        option: how to call the option in errors.

    Raises:
        OptionError: a name is unknown (the nearest are shown), a layer is named twice, or no layer
            is named.
    """
    if not names:
        raise OptionError(option, f"names no layer; '{LIST_COMMAND} {model}' lists them")
    parsed: list[str] = []
    read_as = []
    for name in names:
        layer = find_layer(name, known)
        if layer is None and (theirs := from_keras(name, model)):
            layer = find_layer(theirs, known)
            read_as.append(f"{name} as {layer}")
        if layer is None:
            raise OptionError(option, _unknown_layer_message(name, known, model))
        if layer in parsed:
            again = f"{names[parsed.index(layer)]} and {name}"
            raise OptionError(option, f"{layer} is named twice ({again}); name each layer once")
        parsed.append(layer)
    if read_as:
        strides = (
            "; torchvision strides in the 3 x 3 convolutions, Keras in the 1 x 1 before them, so "
            "numbers differ from Keras's"
        )
        _log.warning(
            "layers were named as in Keras; read %s of %s%s",
            ", ".join(read_as),
            model,
            strides if model.startswith("resnet") else "",
        )
    return tuple(parsed)


def default_layers(name: str) -> tuple[str, tuple[str, ...]]:
    """Return a content layer and style layers that suit a model.

    Style: for each size of maps, the end of the last stage that has it. Of a ResNet these are what
    Wang, Li and Vasconcelos 2021 take: the stem and the four stages. Content: the one at 16 pixels
    per position, as they do, or the deepest.

    Raises:
        OptionError: see :func:`find_anatomy`.
    """
    maps = find_anatomy(name).maps
    ends = {stage_of(layer): layer for layer in maps}
    by_stride = {maps[layer].stride: layer for layer in ends.values()}
    style = tuple(by_stride.values())
    return by_stride.get(16, style[-1]), style


def layer_table(name: str) -> str:
    """Return all layers of a model with channels and strides, one a line; stages end with ``*``.

    Raises:
        OptionError: see :func:`find_anatomy`.
    """
    anatomy = find_anatomy(name)
    content, style = default_layers(name)
    ends = set({stage_of(layer): layer for layer in anatomy.maps}.values())
    wide = max(map(len, anatomy.maps)) + 2
    lines = [f"{'layer':{wide}} channels  pixels per position"]
    lines += [
        f"{layer + ('*' if layer in ends else ''):{wide}} {place.channels:8}  {place.stride}"
        for layer, place in anatomy.maps.items()
    ]
    lines += [
        "",
        f"* end of a stage, which can be called by the stage's name, e.g. {stage_of(content)}",
        f"content unless said otherwise: {content}",
        f"style unless said otherwise: {' '.join(style)}",
    ]
    return "\n".join(lines)


def _unknown_layer_message(name: str, known: Sequence[str], model: str) -> str:
    stages = list(dict.fromkeys(map(stage_of, known)))
    # Short forms first, for a name that is as short as they are.
    short = name.count(".") <= max(stage.count(".") for stage in stages)
    guess = (nearest(name, stages) if short else "") or nearest(name, known)
    some = ", ".join(stages) if len(stages) <= 8 else f"{', '.join(stages[:4])}, ..., {stages[-1]}"
    return (
        f"{name!r} is no layer of {model}{guess} (stages: {some}; "
        f"'{LIST_COMMAND} {model}' lists all {len(known)} layers)"
    )
