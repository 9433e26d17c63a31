"""Names of the layers of VGG16 and VGG19, and what other programs call them.

``conv4_2`` is the second convolution of the fourth block, before its ReLU; ``relu4_2`` is after it;
``pool4`` is the pooling that ends the block. Beware of what papers mean: in Caffe, which Gatys et
al. 2016 used, the ReLU overwrites its input, so their "conv4_2" is our ``relu4_2``.
"""

import logging
import re
from collections.abc import Sequence

from impasto.options.errors import OptionError
from impasto.options.fields import nearest

__all__ = ["DEPTHS", "convolution_names", "layer_names", "parse_layers"]

# Convolutions in each block: Simonyan and Zisserman 2015, table 1, columns D and E.
_BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

DEPTHS = tuple(_BLOCKS)
"""The networks there are: 16 and 19 layers with weights."""

_log = logging.getLogger(__name__)


def layer_names(depth: int = 19) -> tuple[str, ...]:
    """Return all layers, from ``conv1_1`` to ``pool5``; positions are torchvision's indices.

    Args:
        depth: 16 or 19.

    Raises:
        ValueError: there is no such depth.

    >>> layer_names(19)[28]
    'conv5_1'
    """
    if depth not in _BLOCKS:
        raise ValueError(f"depth: expected one of {DEPTHS}, got {depth}")
    names: list[str] = []
    for block, count in enumerate(_BLOCKS[depth], start=1):
        for number in range(1, count + 1):
            names += [f"conv{block}_{number}", f"relu{block}_{number}"]
        names.append(f"pool{block}")
    return tuple(names)


def convolution_names(depth: int = 19) -> tuple[str, ...]:
    """Return the convolutions only, from ``conv1_1`` on.

    Raises:
        ValueError: there is no such depth.
    """
    return tuple(name for name in layer_names(depth) if name.startswith("conv"))


def parse_layers(
    names: Sequence[str], depth: int = 19, *, option: str = "layers"
) -> tuple[str, ...]:
    """Return the layers that a user named, in the order given, under our names.

    Names of other programs are understood, and one warning says how:

    - ``conv_5``, ``relu_5``: the fifth convolution of all, as the PyTorch tutorial counts. This is
      ``conv3_1``, far shallower than a reader of the papers expects;
    - ``features.28`` or ``28``: torchvision's index;
    - ``block5_conv2``, ``block5_pool``: Keras, whose convolutions end with their ReLU;
    - ``r42``, ``p4``: ReLU and pooling in Leon Gatys's PyTorch notebook.

    Args:
        names: what the user wrote.
        depth: 16 or 19.
        option: how to call the option in errors.

    Raises:
        OptionError: a name is unknown (the nearest are shown), a layer is named twice, or none is.
    """
    if not names:
        raise OptionError(option, "names no layer; e.g. relu4_2")
    known = layer_names(depth)
    parsed = [_find(name, known, depth, option) for name in names]
    meanings = dict(zip(names, parsed, strict=True))
    read_as = [f"{name} as {layer}" for name, layer in meanings.items() if name.lower() != layer]
    if read_as:
        _log.warning(
            "layers were named as other programs name them; read %s of VGG%d",
            ", ".join(read_as),
            depth,
        )
    for layer in parsed:
        if parsed.count(layer) > 1:
            again = " and ".join(name for name, found in meanings.items() if found == layer)
            raise OptionError(option, f"{layer} is named twice ({again}); name each layer once")
    return tuple(parsed)


def _find(name: str, known: tuple[str, ...], depth: int, option: str) -> str:
    """Return our name of a layer."""
    written = name.strip().lower()
    found = written if written in known else _alias(written, known)
    if found is None:
        raise OptionError(
            option,
            f"{name!r} is no layer of VGG{depth}{nearest(name, known)} "
            f"(layers: {known[0]}, {known[1]}, {known[2]}, ..., {known[-1]})",
        )
    return found


def _alias(name: str, known: tuple[str, ...]) -> str | None:
    """Return our name of a layer under another program's name; None if it is none."""
    if counted := re.fullmatch(r"(conv|relu)_(\d+)", name):
        same_kind = [layer for layer in known if layer.startswith(counted[1])]
        return _at(same_kind, int(counted[2]) - 1)
    if index := re.fullmatch(r"(?:features\.)?(\d+)", name):
        return _at(known, int(index[1]))
    for pattern, ours in (
        (r"block(\d)_conv(\d)", r"relu\1_\2"),
        (r"r(\d)(\d)", r"relu\1_\2"),
        (r"block(\d)_pool", r"pool\1"),
        (r"p(\d)", r"pool\1"),
    ):
        layer = re.sub(pattern, ours, name)
        if re.fullmatch(pattern, name) and layer in known:
            return layer
    return None


def _at(layers: Sequence[str], index: int) -> str | None:
    return layers[index] if 0 <= index < len(layers) else None
