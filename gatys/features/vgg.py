"""The convolutions of VGG as feature network, frozen, returning the requested layers.

``conv4_2`` is the second convolution of the fourth block, before its ReLU; ``relu4_2`` is after it;
``pool4`` is the pooling that ends the block. Papers may mean something else: in Caffe, which Gatys
et al. 2016 used, the ReLU overwrites its input, so their "conv4_2" is our ``relu4_2``.
"""

import logging
import re
from collections.abc import Callable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.data.tensors import check_images
from impasto.options.errors import ImpastoError, OptionError
from impasto.options.fields import nearest

__all__ = [
    "DEPTHS",
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "POOLING_FACTORS",
    "Pooling",
    "Vgg",
    "check_size",
    "convolution_names",
    "layer_names",
    "parse_layers",
]


# Convolutions in each block: Simonyan and Zisserman 2015, table 1, columns D and E.
_BLOCKS = {16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}

DEPTHS = tuple(_BLOCKS)
"""The networks there are: 16 and 19 layers with weights."""

_log = logging.getLogger(__name__)


def layer_names(depth: int = 19) -> tuple[str, ...]:
    """Return all layers, from ``conv1_1`` to ``pool5``; positions are torchvision's indices.

    Args:
        depth: depth of the network, 16 or 19.

    Raises:
        ValueError: the depth is not 16 or 19.

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
        ValueError: the depth is not 16 or 19.
    """
    return tuple(name for name in layer_names(depth) if name.startswith("conv"))


def parse_layers(
    names: Sequence[str], depth: int = 19, *, option: str = "layers"
) -> tuple[str, ...]:
    """Return the layers that a user named, in the order given, under Impasto's names.

    Names of other programs are understood, and one warning says how:

    - ``conv_5``, ``relu_5``: the fifth convolution of all, as the PyTorch tutorial counts. This is
      ``conv3_1``, far shallower than a reader of the papers expects;
    - ``features.28`` or ``28``: torchvision's index;
    - ``block5_conv2``, ``block5_pool``: Keras, whose convolutions end with their ReLU;
    - ``r42``, ``p4``: ReLU and pooling in Leon Gatys's PyTorch notebook.

    Args:
        names: names of layers as the user wrote them.
        depth: depth of the network, 16 or 19.
        option: name of the option, for error messages.

    Raises:
        OptionError: a name is unknown (the nearest are shown), a layer is named twice, or no layer
            is named.
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
    layer = written if written in known else _alias(written, known)
    if layer is None:
        raise OptionError(
            option,
            f"{name!r} is no layer of VGG{depth}{nearest(name, known)} "
            f"(layers: {known[0]}, {known[1]}, {known[2]}, ..., {known[-1]})",
        )
    return layer


def _alias(name: str, known: tuple[str, ...]) -> str | None:
    """Return our name of a layer under another program's name; None if it is none."""
    if counted := re.fullmatch(r"(conv|relu)_(\d+)", name):
        same_kind = [layer for layer in known if layer.startswith(counted[1])]
        return _layer_at(same_kind, int(counted[2]) - 1)
    if index := re.fullmatch(r"(?:features\.)?(\d+)", name):
        return _layer_at(known, int(index[1]))
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


def _layer_at(layers: Sequence[str], index: int) -> str | None:
    return layers[index] if 0 <= index < len(layers) else None


Pooling = Literal["max", "average", "l2"]
"""How 2 x 2 values become one: the largest, the mean, or the root of the sum of squares."""

POOLING_FACTORS: dict[Pooling, float] = {"max": 1.0, "average": 2.0, "l2": 0.78}
"""What keeps activations as large as with max pooling, in a network trained with that.

Source: crowsonkb/style-transfer-pytorch (2021), the numbers of its pooling scales.
"""

IMAGENET_MEAN = (0.485, 0.456, 0.406)
"""Mean of red, green, blue in ImageNet, in [0, 1], as torchvision's weights expect."""
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Standard deviation of red, green, blue in ImageNet."""

# Simonyan and Zisserman 2015, table 1: channels of the convolutions of each block.
_CHANNELS = (64, 128, 256, 512, 512)


def check_size(image: Tensor, smallest: int, which_need: str) -> None:
    """Refuse a picture that is too small for the requested layers.

    Args:
        image: picture, (N, 3, H, W).
        smallest: smallest side that the layers need, in pixels.
        which_need: text that names the layers in the message, as in "layer relu4_2, which needs".

    Raises:
        ImpastoError: the picture is too small.
    """
    height, width = image.shape[-2:]
    if min(height, width) < smallest:
        raise ImpastoError(
            f"a picture of {width} x {height} pixels is too small for {which_need} "
            f"{smallest} x {smallest} or more; take a larger picture or earlier layers"
        )


class Vgg(nn.Module):
    """The convolutions of VGG16 or VGG19 (Simonyan and Zisserman 2015), as feature network.

    Input pictures are in [0, 1]; the network applies ImageNet's normalization. Parameters are
    frozen and zero until :func:`~impasto.gatys.features.weights.load_weights` or
    :func:`~impasto.gatys.features.random.random_vgg` fills them. The state_dict has torchvision's
    names (``features.0.weight``).

    Attributes:
        depth: depth of the network, 16 or 19.
        width: number of channels relative to the published network.
        layers: names of all layers, in the order of computation.
    """

    def __init__(
        self,
        *,
        depth: int = 19,
        pooling: Pooling = "max",
        keep_size_of_activations: bool = False,
        replicate_padding: bool = False,
        width: float = 1.0,
        first_kernel: int = 3,
    ) -> None:
        """Make the network.

        Args:
            depth: depth of the network, 16 or 19.
            pooling: pooling method: ``max``, as trained; ``average``, which Gatys et al. 2016,
                section 2, found to look slightly better; ``l2``.
            keep_size_of_activations: multiply pooled values by :data:`POOLING_FACTORS`.
            replicate_padding: pad the first convolution with the picture's edge pixels instead of
                with ImageNet's mean color, which leaves visible edges in results
                (crowsonkb/style-transfer-pytorch). Departure: VGG was trained with the latter.
            width: number of channels relative to the published network.
            first_kernel: side length of the first convolution's kernels, odd; 3 in the published
                network.

        Raises:
            ValueError: an argument has none of these values.
        """
        super().__init__()
        if pooling not in POOLING_FACTORS:
            raise ValueError(
                f"pooling: expected one of {', '.join(POOLING_FACTORS)}, got {pooling!r}"
            )
        if width <= 0 or first_kernel < 1 or first_kernel % 2 == 0:
            raise ValueError(
                f"expected a width above 0 and an odd first_kernel, got {width} and {first_kernel}"
            )
        self.depth = depth
        self.width = width
        self.layers = layer_names(depth)
        self._pool: Callable[[Tensor], Tensor] = _POOLS[pooling]
        self._pool_factor = POOLING_FACTORS[pooling] if keep_size_of_activations else 1.0
        channels = 3
        self.features = nn.ModuleDict()
        for index, name in enumerate(self.layers):
            if name.startswith("conv"):
                wide = max(1, round(_CHANNELS[int(name[4]) - 1] * width))
                first = index == 0
                self.features[str(index)] = _convolution(
                    channels,
                    wide,
                    kernel=first_kernel if first else 3,
                    replicate=replicate_padding and first,
                )
                channels = wide
        for name, values in (("_mean", IMAGENET_MEAN), ("_std", IMAGENET_STD)):
            self.register_buffer(name, torch.tensor(values).view(1, 3, 1, 1), persistent=False)
        self.requires_grad_(False).eval()

    def truncate(self, last: str) -> None:
        """Remove all layers after ``last``, for example those that a weights file does not contain.

        Raises:
            ValueError: there is no such layer.
        """
        self.layers = self.layers[: self._position(last) + 1]
        for key in list(self.features):
            if int(key) >= len(self.layers):
                del self.features[key]

    def smallest(self, layers: Sequence[str]) -> int:
        """Return the smallest side of a picture, in pixels, that has all of these layers.

        Raises:
            ValueError: a name is unknown, or no name is given.
        """
        before = self.layers[: self._last(layers) + 1]
        return int(2 ** sum(name.startswith("pool") for name in before))

    def reach(self, layers: Sequence[str]) -> tuple[int, int]:
        """Return how far these layers look, and the step of their grid, both in pixels.

        See :meth:`impasto.gatys.features.lite.Lite.reach`.

        Raises:
            ValueError: a name is unknown, or no name is given.
        """
        seen, step = 0, 1
        for name in self.layers[: self._last(layers) + 1]:
            if name.startswith("conv"):
                seen += step * (self.convolution(name).kernel_size[0] // 2)
            elif name.startswith("pool"):
                seen += step  # what else is in its square of 2 x 2
                step *= 2
        return seen, step

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Compute the requested layers, and nothing after the last of them.

        Takes pictures, RGB, (N, 3, H, W), in [0, 1], and returns (N, C, H', W') by layer; the rest
        of the contract is that of every :class:`~impasto.gatys.features.make.Network`.
        """
        check_images(image, name="image")
        last = self._last(layers)
        name = self.layers[last]
        check_size(image, self.smallest([name]), f"layer {name}, which needs")
        wanted = set(layers)
        features = self.normalize(image)
        maps: dict[str, Tensor] = {}
        previous = ""
        for name in self.layers[: last + 1]:
            # A ReLU takes the place of its convolution's output, unless that is wanted itself.
            features = self.compute(name, features, overwrite=previous not in wanted)
            if name in wanted:
                maps[name] = features
            previous = name
        return {name: maps[name] for name in layers}

    def normalize(self, image: Tensor) -> Tensor:
        """Normalize a picture in [0, 1] for the first convolution."""
        normalized: Tensor = (image - self.get_buffer("_mean")) / self.get_buffer("_std")
        return normalized

    def convolution(self, name: str) -> nn.Conv2d:
        """Return the convolution of a given name.

        Raises:
            ValueError: there is no such convolution.
        """
        convolution = self.features[str(self._position(name))]
        assert isinstance(convolution, nn.Conv2d)  # noqa: S101 - what __init__ put there
        return convolution

    def compute(self, name: str, features: Tensor, *, overwrite: bool = False) -> Tensor:
        """Compute one layer.

        Args:
            name: name of the layer.
            features: output of the layer before it.
            overwrite: whether a ReLU may write into ``features``.
        """
        if name.startswith("conv"):
            convolved: Tensor = self.convolution(name)(features)
            return convolved
        if name.startswith("relu"):
            return F.relu(features, inplace=overwrite)
        pooled = self._pool(features)
        return pooled if self._pool_factor == 1.0 else pooled * self._pool_factor

    def _last(self, layers: Sequence[str]) -> int:
        """Return the position of the deepest of some layers."""
        if not layers:
            raise ValueError("layers: expected at least one, got none")
        return max(self._position(name) for name in layers)

    def _position(self, name: str) -> int:
        if name in self.layers:
            return self.layers.index(name)
        if name in layer_names(self.depth):
            raise ValueError(
                f"layers: the weights of this VGG{self.depth} end with {self.layers[-1]}, "
                f"and {name} comes after it"
            )
        raise ValueError(
            f"layers: {name!r} is no layer of VGG{self.depth}{nearest(name, self.layers)}"
        )


def _convolution(channels: int, wide: int, *, kernel: int, replicate: bool) -> nn.Conv2d:
    """Make a convolution of zeros: the usual random start would draw from the global generator."""
    convolution = nn.Conv2d(
        channels,
        wide,
        kernel,
        padding=kernel // 2,
        padding_mode="replicate" if replicate else "zeros",
        device="meta",
    ).to_empty(device="cpu")
    for parameter in convolution.parameters():
        nn.init.zeros_(parameter)
    return convolution


def _average(features: Tensor) -> Tensor:
    return F.avg_pool2d(features, 2)


def _largest(features: Tensor) -> Tensor:
    return F.max_pool2d(features, 2)


def _root_of_squares(features: Tensor) -> Tensor:
    """Pool by the root of the sum of squares; zeros, frequent after a ReLU, have gradient 0."""
    # Squares overflow float16 at 256.
    exact = features.float() if features.dtype == torch.float16 else features
    sums = 4 * F.avg_pool2d(exact.square(), 2)
    roots = sums.clamp_min(torch.finfo(sums.dtype).tiny).sqrt()
    return roots.to(features.dtype)


_POOLS: dict[Pooling, Callable[[Tensor], Tensor]] = {
    "max": _largest,
    "average": _average,
    "l2": _root_of_squares,
}
