"""What a generator is made of: kept beside its weights, or read off their names and shapes."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Literal

from torch import Tensor

from impasto.cyclegan.networks import ResnetGenerator, UnetGenerator
from impasto.options.errors import CheckpointError

__all__ = ["Generator", "GeneratorArchitecture", "detect_architecture"]

Generator = ResnetGenerator | UnetGenerator

# Where the convolution of an upsampling layer lies that interpolates first.
_SMOOTH = ".2"


@dataclass(frozen=True, kw_only=True)
class GeneratorArchitecture:
    """Everything needed to build a generator.

    Attributes:
        kind: ``resnet`` or ``unet``.
        depth: residual blocks of a ResNet, halvings of a U-Net.
        channels: filters of the first convolution (``ngf``).
        norm: ``instance``, ``batch``, ``layer`` or ``none``.
        dropout: whether blocks have dropout. A U-Net's weights do not tell; it does not matter
            for translating.
        upsample: ``deconv``, ``resize`` or ``bilinear``.
        color_skip: whether a ResNet carries colours around its layers.
        in_channels: channels of the input.
        out_channels: channels of the output.
    """

    kind: Literal["resnet", "unet"] = "resnet"
    depth: int = 9
    channels: int = 64
    norm: str = "instance"
    dropout: bool = False
    upsample: str = "deconv"
    color_skip: bool = False
    in_channels: int = 3
    out_channels: int = 3

    def __post_init__(self) -> None:
        if self.kind not in {"resnet", "unet"}:
            raise ValueError(f"kind: expected resnet or unet, got {self.kind!r}")

    def build(self) -> Generator:
        """Make the network, with torch's default weights."""
        if self.kind == "resnet":
            return ResnetGenerator(
                blocks=self.depth,
                channels=self.channels,
                norm=self.norm,
                dropout=self.dropout,
                upsample=self.upsample,
                color_skip=self.color_skip,
                in_channels=self.in_channels,
                out_channels=self.out_channels,
            )
        return UnetGenerator(
            downs=self.depth,
            channels=self.channels,
            norm=self.norm,
            dropout=self.dropout,
            upsample=self.upsample,
            in_channels=self.in_channels,
            out_channels=self.out_channels,
        )

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
        part = "blocks" if self.kind == "resnet" else "halvings"
        drop = ", color skip" if self.color_skip else ""
        drop += ", dropout" if self.dropout else ""
        layers = f"{self.kind}, {self.depth} {part}, {self.channels} filters"
        return f"{layers}, norm {self.norm}, upsample {self.upsample}{drop}"


def detect_architecture(weights: Mapping[str, Tensor]) -> GeneratorArchitecture:
    """Read the architecture off the names and shapes of a generator's weights.

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
    outermost = (_has(weights, f"model.model.3{place}.weight", 3, 4) for place in ("", _SMOOTH))
    if _has(weights, "model.model.0.weight", 4) and any(outermost):
        return _detect_unet(weights)
    if _has(weights, "model.1.weight", 7):
        return _detect_resnet(weights)
    names = ", ".join(sorted(weights)[:4]) or "none at all"
    raise CheckpointError(
        "not the weights of a CycleGAN generator: expected model.1.weight (ResNet) or "
        f"model.model.0.weight (U-Net), found {names}, ..."
    )


def _has(weights: Mapping[str, Tensor], key: str, *sides: int) -> bool:
    """Whether there is a convolution of that name and one of those sizes."""
    return key in weights and any(weights[key].shape[2:] == (side, side) for side in sides)


def _detect_resnet(weights: Mapping[str, Tensor]) -> GeneratorArchitecture:
    indices = {
        int(found[1]) for key in weights if (found := re.match(r"model\.(\d+)\.conv_block\.", key))
    }
    first, channels = weights["model.1.weight"], len(weights["model.1.weight"])
    smooth = weights.get(f"model.{10 + len(indices)}{_SMOOTH}.weight")
    up = weights.get(f"model.{10 + len(indices)}.weight", smooth)
    last = weights.get(f"model.{17 + len(indices)}.weight")
    if not indices or up is None or last is None:
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
        in_channels=first.shape[1],
        out_channels=len(last),
    )


def _detect_unet(weights: Mapping[str, Tensor]) -> GeneratorArchitecture:
    convolutions = [weight for weight in weights.values() if weight.ndim == 4]
    smooth = weights.get(f"model.model.3{_SMOOTH}.weight")
    first, last = weights["model.model.0.weight"], weights.get("model.model.3.weight", smooth)
    assert last is not None  # noqa: S101 - the caller has looked
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
        return "batch" if f"{norm}.running_mean" in weights else "layer"
    return "instance" if f"{conv}.bias" in weights else "none"
