"""Layers of torchvision's models: their names, what Keras calls them, and which suit a transfer.

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
from collections.abc import Sequence

from impasto.gatys.model_anatomy import LIST_COMMAND, find_anatomy, stage_of
from impasto.options.errors import OptionError
from impasto.options.fields import nearest

__all__ = [
    "default_layers",
    "find_layer",
    "from_keras",
    "layer_table",
    "parse_model_layers",
]

_log = logging.getLogger(__name__)

# Outputs of Inception v3's blocks in Keras, mixed0 to mixed10 (Szegedy et al. 2016, table 1).
_MIXED = ("5b", "5c", "5d", "6a", "6b", "6c", "6d", "6e", "7a", "7b", "7c")
_STEM = {"conv1_conv": "conv1", "conv1_bn": "bn1", "conv1_relu": "relu", "pool1_pool": "maxpool"}
_BLOCK = re.compile(r"conv([2-5])_block(\d+)_(?:(out|add)|([0-3])_(conv|bn|relu))")


def find_layer(name: str, known: Sequence[str]) -> str | None:
    """Return the layer of that name, or the last one inside; None if there is none.

    Args:
        name: full or short, in any case.
        known: all layers, shallow to deep.

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
    """Return what Keras's name of a layer is in torchvision, perhaps in short form.

    Known are the ResNets, the blocks of Inception v3, and the sums of EfficientNets. Names are the
    same layer of the same network, but see above for the strides of ResNets.

    Args:
        name: as in ``keras.applications``, e.g. ``conv2_block1_out``.
        model: torchvision's name, e.g. ``resnet50``.

    Returns:
        The name, or None if it is none of these.

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
    found = _BLOCK.fullmatch(name)
    if found is None:
        return None
    stage, block, end, number, kind = found.groups()
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
        names: what the user wrote: full, short, or as Keras has it, of which one warning tells.
        known: all layers of the model, shallow to deep.
        model: torchvision's name.
        option: how to call the option in errors.

    Raises:
        OptionError: a name is unknown (the nearest are shown), a layer is named twice, or none is.
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
            raise OptionError(option, _unknown(name, known, model))
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
    """Return a layer for content and layers for style that suit a model.

    Style: for each size of maps, the end of the last stage that has it. Of a ResNet these are what
    Wang, Li and Vasconcelos 2021 take: the stem and the four stages. Content: the one at 16 pixels
    per position, as they do, or the deepest.

    Raises:
        OptionError: as :func:`find_anatomy`.
    """
    maps = find_anatomy(name).maps
    ends = {stage_of(layer): layer for layer in maps}
    by_stride = {maps[layer].stride: layer for layer in ends.values()}
    style = tuple(by_stride.values())
    return by_stride.get(16, style[-1]), style


def layer_table(name: str) -> str:
    """Return all layers of a model with channels and strides, one a line; stages end with ``*``.

    Raises:
        OptionError: as :func:`find_anatomy`.
    """
    anatomy = find_anatomy(name)
    content, style = default_layers(name)
    ends = set({stage_of(layer): layer for layer in anatomy.maps}.values())
    wide = max(map(len, anatomy.maps)) + 2
    lines = [f"{'layer':{wide}} channels  pixels per position"]
    lines += [
        f"{layer + ('*' if layer in ends else ''):{wide}} {found.channels:8}  {found.stride}"
        for layer, found in anatomy.maps.items()
    ]
    lines += [
        "",
        f"* end of a stage, which can be called by the stage's name, e.g. {stage_of(content)}",
        f"content unless said otherwise: {content}",
        f"style unless said otherwise: {' '.join(style)}",
    ]
    return "\n".join(lines)


def _unknown(name: str, known: Sequence[str], model: str) -> str:
    stages = list(dict.fromkeys(map(stage_of, known)))
    # Short forms first, for a name that is as short as they are.
    short = name.count(".") <= max(stage.count(".") for stage in stages)
    guess = (nearest(name, stages) if short else "") or nearest(name, known)
    some = ", ".join(stages) if len(stages) <= 8 else f"{', '.join(stages[:4])}, ..., {stages[-1]}"
    return (
        f"{name!r} is no layer of {model}{guess} (stages: {some}; "
        f"'{LIST_COMMAND} {model}' lists all {len(known)} layers)"
    )
