"""The architecture of a generator, and the registry of all generators.

The architecture is kept beside the weights, or read off their names and shapes. The registry has
one row for each value of ``--netG``; :func:`register_generator` adds one, also from outside.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace

from torch import Tensor

from impasto.cyclegan.networks import Generator, ResnetGenerator, UnetGenerator
from impasto.options.errors import CheckpointError
from impasto.options.networks import add_generator_sizes

__all__ = [
    "GeneratorArchitecture",
    "GeneratorEntry",
    "detect_architecture",
    "generator_entry",
    "register_generator",
    "registered_generators",
]

# Where the convolution of an upsampling layer lies that interpolates first.
_SMOOTH = ".2"


@dataclass(frozen=True, kw_only=True)
class GeneratorArchitecture:
    """Everything needed to build a generator.

    Attributes:
        kind: kind of generator: ``resnet``, ``unet``, or another registered kind.
        depth: number of residual blocks of a ResNet, or of halvings of a U-Net.
        channels: number of filters of the first convolution (``ngf``).
        norm: normalization: ``instance``, ``affine``, ``batch``, ``layer`` or ``none``.
        dropout: whether blocks have dropout. This cannot be inferred from a U-Net's weights, but
            does not matter for translation.
        upsample: upsampling layers: ``deconv``, ``resize`` or ``bilinear``.
        color_skip: whether a ResNet has a skip connection for colors around its layers.
        base: what the output of a ResNet's layers is added to: ``none`` or ``kuwahara``.
        noise: whether noise is added to the features before a ResNet's residual blocks.
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.

    Raises:
        ValueError: no generator of that kind is registered.
    """

    kind: str = "resnet"
    depth: int = 9
    channels: int = 64
    norm: str = "instance"
    dropout: bool = False
    upsample: str = "deconv"
    color_skip: bool = False
    base: str = "none"
    noise: bool = False
    in_channels: int = 3
    out_channels: int = 3

    def __post_init__(self) -> None:
        _entry_of_kind(self.kind)

    def build(self) -> Generator:
        """Make the network, with torch's default weights."""
        return _entry_of_kind(self.kind).build(self)

    def reversed(self) -> "GeneratorArchitecture":
        """Return the architecture of the generator of the other direction."""
        return replace(self, in_channels=self.out_channels, out_channels=self.in_channels)

    def to_json(self) -> str:
        """Return the architecture as JSON, for a file's metadata."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "GeneratorArchitecture":
        """Read what :meth:`to_json` wrote.

        Raises:
            CheckpointError: the text does not describe a generator.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise CheckpointError(
                f"the file's metadata do not describe a generator: {error}"
            ) from error

    def __str__(self) -> str:
        unit = _entry_of_kind(self.kind).depth_unit
        drop = ", color skip" if self.color_skip else ""
        drop += f", base {self.base}" if self.base != "none" else ""
        drop += ", stroke noise" if self.noise else ""
        drop += ", dropout" if self.dropout else ""
        layers = f"{self.kind}, {self.depth} {unit}, {self.channels} filters"
        if (self.in_channels, self.out_channels) != (3, 3):
            drop += f", {self.in_channels} to {self.out_channels} channels"
        return f"{layers}, norm {self.norm}, upsample {self.upsample}{drop}"


Detect = Callable[[Mapping[str, Tensor]], GeneratorArchitecture | None]


@dataclass(frozen=True, kw_only=True)
class GeneratorEntry:
    """One row of the registry: a generator that can be trained.

    Attributes:
        name: value of ``--netG``.
        kind: kind of generator in the metadata of files; rows of one kind differ only in depth.
        depth: depth of this generator.
        build: function that makes the network of an architecture of this kind.
        stride: number of pixels of which the sides of images must be multiples.
        smallest: smallest side of an image, in pixels.
        depth_unit: name of the unit that ``depth`` counts.
        detect: function that infers the architecture from the names and shapes of weights, for
            files without metadata (``.pth``), and returns None for other networks; None: it cannot
            be inferred.
    """

    name: str
    kind: str
    depth: int
    build: Callable[[GeneratorArchitecture], Generator]
    stride: int
    smallest: int
    depth_unit: str = "layers"
    detect: Detect | None = None


_REGISTRY: dict[str, GeneratorEntry] = {}


def register_generator(entry: GeneratorEntry) -> None:
    """Register a generator, so that ``netG`` accepts it and its files can be saved and loaded.

    Raises:
        ValueError: the name is taken, or its kind is built by another function already: a file
            names the kind only.

    Example:
        >>> def build(architecture: GeneratorArchitecture) -> Generator: ...
        >>> entry = GeneratorEntry(
        ...     name="wide", kind="wide_resnet", depth=4, build=build, stride=4, smallest=8
        ... )
        >>> register_generator(entry)  # doctest: +SKIP
    """
    if entry.name in _REGISTRY:
        raise ValueError(f"name: there is a generator {entry.name} already")
    same_kind = [other for other in _REGISTRY.values() if other.kind == entry.kind]
    if any(other.build is not entry.build for other in same_kind):
        raise ValueError(
            f"kind: {entry.kind} is that of {same_kind[0].name}, which is built otherwise; "
            "give this generator a kind of its own"
        )
    add_generator_sizes(entry.name, stride=entry.stride, smallest=entry.smallest)
    _REGISTRY[entry.name] = entry


def registered_generators() -> Mapping[str, GeneratorEntry]:
    """Return all rows of the registry, by name."""
    return dict(_REGISTRY)


def generator_entry(name: str) -> GeneratorEntry:
    """Return the row of a ``netG``.

    Raises:
        ValueError: there is no such row; the message lists the registered names.
    """
    if name not in _REGISTRY:
        raise ValueError(f"netG: expected one of {', '.join(_REGISTRY)}, got {name!r}")
    return _REGISTRY[name]


def _entry_of_kind(kind: str) -> GeneratorEntry:
    """Return the first row of a kind."""
    for entry in _REGISTRY.values():
        if entry.kind == kind:
            return entry
    kinds = dict.fromkeys(entry.kind for entry in _REGISTRY.values())
    raise ValueError(f"kind: expected {' or '.join(kinds)}, got {kind!r}")


def detect_architecture(weights: Mapping[str, Tensor]) -> GeneratorArchitecture:
    """Infer the architecture from the names and shapes of a generator's weights.

    Args:
        weights: state_dict with plain names (no ``module.``) and no stale buffers.

    Raises:
        CheckpointError: these are not the weights of a generator that Impasto knows.
    """
    blurs = [key for key in weights if key.endswith(".filt")]
    if blurs:
        raise CheckpointError(
            f"these weights use CUT's anti-aliased layers ({blurs[0]} and {len(blurs) - 1} more), "
            "which Impasto does not have; train with --no_antialias --no_antialias_up there"
        )
    # What was registered last is asked first: ResNet's refuses whatever looks much like it.
    for detect in dict.fromkeys(entry.detect for entry in reversed(_REGISTRY.values())):
        if detect is not None and (architecture := detect(weights)) is not None:
            return architecture
    names = ", ".join(sorted(weights)[:4]) or "none at all"
    raise CheckpointError(
        "not the weights of a CycleGAN generator: expected model.1.weight (ResNet) or "
        f"model.model.0.weight (U-Net), found {names}, ..."
    )


def _has(weights: Mapping[str, Tensor], key: str, *sides: int) -> bool:
    """Whether there is a convolution of that name and one of those sizes."""
    return key in weights and any(weights[key].shape[2:] == (side, side) for side in sides)


def _detect_resnet(weights: Mapping[str, Tensor]) -> GeneratorArchitecture | None:
    if not _has(weights, "model.1.weight", 7):
        return None
    indices = {
        int(match[1]) for key in weights if (match := re.match(r"model\.(\d+)\.conv_block\.", key))
    }
    if not indices:
        found = next((key for key in weights if re.match(r"model\.\d\d\.", key)), "none")
        raise CheckpointError(
            "not a ResNet generator of the reference: expected blocks such as "
            f"model.10.conv_block.1.weight, found {found}; other CycleGANs name them otherwise"
        )
    first, channels = weights["model.1.weight"], len(weights["model.1.weight"])
    smooth = weights.get(f"model.{10 + len(indices)}{_SMOOTH}.weight")
    up = weights.get(f"model.{10 + len(indices)}.weight", smooth)
    last = weights.get(f"model.{17 + len(indices)}.weight")
    if up is None or last is None:
        raise CheckpointError(
            f"a ResNet generator with {len(indices)} blocks needs model.{10 + len(indices)}.weight "
            f"and model.{17 + len(indices)}.weight, which are missing"
        )
    second = weights.get(f"model.{min(indices)}.conv_block.5.weight")
    return GeneratorArchitecture(
        kind="resnet",
        depth=len(indices),
        channels=channels,
        norm=_detect_norm(weights, conv="model.1", norm="model.2"),
        # Dropout stands before the second padding and moves the second convolution from 5 to 6.
        dropout=second is None or second.ndim != 4,
        upsample=_detect_upsample(smooth=smooth is not None, deconv=len(up) == 4 * channels),
        color_skip="color_skip.weight" in weights,
        base="kuwahara" if "base.sharpness" in weights else "none",
        noise="noise.mix.weight" in weights,
        in_channels=first.shape[1],
        out_channels=len(last),
    )


def _detect_unet(weights: Mapping[str, Tensor]) -> GeneratorArchitecture | None:
    outermost = (_has(weights, f"model.model.3{place}.weight", 3, 4) for place in ("", _SMOOTH))
    if not (_has(weights, "model.model.0.weight", 4) and any(outermost)):
        return None
    convolutions = [weight for weight in weights.values() if weight.ndim == 4]
    smooth = weights.get(f"model.model.3{_SMOOTH}.weight")
    first, last = weights["model.model.0.weight"], weights.get("model.model.3.weight", smooth)
    assert last is not None  # noqa: S101 - looked for above
    # A transposed convolution has a kernel of 4 and its channels the other way round.
    resizes = last.shape[2] == 3
    return GeneratorArchitecture(
        kind="unet",
        depth=len(convolutions) // 2,
        channels=len(first),
        norm=_detect_norm(weights, conv="model.model.0", norm="model.model.1.model.2"),
        upsample=_detect_upsample(smooth=smooth is not None, deconv=not resizes),
        in_channels=first.shape[1],
        out_channels=last.shape[0 if resizes else 1],
    )


def _detect_upsample(*, smooth: bool, deconv: bool) -> str:
    if smooth:
        return "bilinear"
    return "deconv" if deconv else "resize"


def _detect_norm(weights: Mapping[str, Tensor], *, conv: str, norm: str) -> str:
    if f"{norm}.weight" in weights:
        if f"{norm}.running_mean" in weights:
            return "batch"
        return "affine" if f"{conv}.bias" in weights else "layer"
    return "instance" if f"{conv}.bias" in weights else "none"


def _build_resnet(architecture: GeneratorArchitecture) -> Generator:
    return ResnetGenerator(
        blocks=architecture.depth,
        channels=architecture.channels,
        norm=architecture.norm,
        dropout=architecture.dropout,
        upsample=architecture.upsample,
        color_skip=architecture.color_skip,
        base=architecture.base,
        noise=architecture.noise,
        in_channels=architecture.in_channels,
        out_channels=architecture.out_channels,
    )


def _build_unet(architecture: GeneratorArchitecture) -> Generator:
    return UnetGenerator(
        downs=architecture.depth,
        channels=architecture.channels,
        norm=architecture.norm,
        dropout=architecture.dropout,
        upsample=architecture.upsample,
        in_channels=architecture.in_channels,
        out_channels=architecture.out_channels,
    )


_RESNET = GeneratorEntry(
    name="resnet_9blocks",
    kind="resnet",
    depth=9,
    build=_build_resnet,
    stride=ResnetGenerator.stride,
    smallest=ResnetGenerator.smallest,
    depth_unit="blocks",
    detect=_detect_resnet,
)
_UNET = GeneratorEntry(
    name="unet_256",
    kind="unet",
    depth=8,
    build=_build_unet,
    stride=256,
    smallest=256,
    depth_unit="halvings",
    detect=_detect_unet,
)
for _entry in (
    _RESNET,
    replace(_RESNET, name="resnet_6blocks", depth=6),
    replace(_RESNET, name="resnet_5blocks", depth=5),
    replace(_RESNET, name="resnet_4blocks", depth=4),
    _UNET,
    replace(_UNET, name="unet_128", depth=7, stride=128, smallest=128),
):
    register_generator(_entry)
