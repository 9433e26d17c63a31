"""All options of `impasto stylize`, and of `impasto sweep`, which varies them.

:func:`typed_stylize_options` brings the values of a sweep's YAML file to the types that the command
line of `impasto stylize` gives them.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, ClassVar, Literal, NoReturn, get_args, get_origin

from impasto.options.command_line import CommandParser
from impasto.options.errors import OptionError
from impasto.options.fields import (
    choices,
    describe_type,
    expand_home,
    nearest,
    nearest_suffix,
    option_class,
    parse_bytes,
    require,
    require_at_least,
    require_between,
    require_positive,
    require_seed,
    split_backbone,
)
from impasto.options.train import Device, MixedPrecision

__all__ = [
    "STYLIZE_PRESETS",
    "STYLIZE_SUFFIXES",
    "StylizeOptions",
    "SweepOptions",
    "typed_stylize_options",
]


STYLIZE_PRESETS = (
    *("auto", "lite", "lite_fast", "builtin", "random", "trained", "model", "gatys2016"),
    *("leongatys", "tutorial", "neural_style", "crowsonkb", "adam_5000", "adam_lr5"),
)
STYLIZE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


@option_class
class StylizeOptions:
    """Show one picture in the style of others, by optimization (Gatys et al. 2016)."""

    headings: ClassVar[Mapping[str, str]] = {
        "output": "pictures",
        "preset": "preset and feature network",
        "size": "size and duration",
        "content_weight": "losses",
        "pooling": "layers of VGG",
        "optimizer": "optimization",
        "keep_colors": "colors and regions",
        "save_every": "further results",
        "seed": "running",
    }

    output: Path = Path("stylized.png")
    """file for the result: .png, .jpg, .webp, or .tif with 16 bits per channel"""
    content: Path | None = None
    """content picture, if it is not the first positional argument"""
    styles: Sequence[Path] = ()
    """styles, if they are not positional arguments; each is a picture, or a folder whose pictures
    make up one style"""
    style_weights: Sequence[float] = ()
    """relative weights of the styles, in the order of the styles (default: all equal)"""
    strength: float = 1.0
    """way from the content to the stylized picture that the result goes: 0 is the content as it is,
    0.5 half way, 1 the whole effect of the preset. This is the option for less of the effect; for
    more than the preset gives, use --style_strength"""
    style_scale: float = 1.0
    """size of the style pictures relative to the result; larger values give larger strokes"""
    style_frames: Literal["auto", "cut", "keep"] = "auto"
    """plain frames around style pictures, as the margins of prints are: cut cuts them off, keep
    takes them for a part of the style; auto cuts with the presets lite and lite_fast"""
    preset: str = "auto"
    """named settings: lite, lite_fast (about a third of its time), builtin, random, trained, model,
    gatys2016, leongatys, tutorial, neural_style, crowsonkb, adam_5000 or adam_lr5. auto follows
    BACKBONE: trained for a run of impasto backbone train, lite for lite, model for a model of
    torchvision, crowsonkb for VGG; without --backbone, it is crowsonkb if VGG19 weights are found,
    otherwise lite, and builtin where the package of its weights is missing"""
    backbone: str = "auto"
    """feature network: vgg19, vgg16, lite (EfficientNet-Lite0, which is installed with Impasto),
    random (a VGG with random weights), a run of impasto backbone train, a model of torchvision such
    as resnet50 (if its weights are not found, they are random), random:resnet50 (its weights are
    always random), or pixels (no network). auto is the network that the preset is made for"""
    weights: Path | None = None
    """file with the weights of the feature network (default: the file in the cache of
    torchvision; see impasto weights list)"""
    size: int = 256
    """longer side of the result, in pixels"""
    iterations: Sequence[int] = ()
    """number of evaluations of the losses at each scale of the picture, from coarse to fine; if
    there are more scales than numbers, the last number applies to the rest; lite then adds at most
    20 for its finish (default: set by the preset)"""
    content_weight: float | None = None
    """weight of the content loss, as docs/stylizing.md defines it (default: set by the
    preset)"""
    style_weight: float | None = None
    """weight of the style loss, as docs/stylizing.md defines it (default: set by the preset)"""
    style_strength: float = 1.0
    """factor by which the preset's weight of the style loss is multiplied: above 1, such as 10,
    the result gives up more of the content for the styles. It is no share: 0.5 is not half of the
    effect, which is --strength 0.5"""
    tv_weight: float | None = None
    """weight of the total variation loss (default: set by the preset)"""
    patch_weight: float | None = None
    """weight of a second style loss, beside a network, which compares patches of 5 x 5 pixels at
    full, half and quarter size (default: set by the preset)"""
    structure_weight: float | None = None
    """weight of a second content loss, beside a network: light and dark, blurred, in the tones of
    the styles (default: set by the preset)"""
    chroma_weight: float | None = None
    """weight of the total variation of colors, relative to that of the styles, which is against
    speckles of color (default: set by the preset)"""
    content_layers: Sequence[str] = ()
    """layers of the content loss, for example relu4_2 of VGG or layer3 of a ResNet (default:
    set by the preset)"""
    style_layers: Sequence[str] = ()
    """layers of the style loss, for example relu1_1 relu2_1; 'impasto weights layers MODEL'
    lists the layers of a model (default: set by the preset)"""
    statistic: Literal["gram", "gaussian", "moments", "sliced", "patches"] | None = None
    """statistic of the style features that is matched: gram (Gram matrices), gaussian (means
    and covariances, as normal distributions), moments (means and covariances, each relative to its
    size), sliced (whole distributions, by sliced Wasserstein distance) or patches
    (distributions of patches) (default: set by the preset)"""
    smoothing: str = "auto"
    """transformation of the features before they are compared: none, softmax, softmax(T) with
    temperature T, or scale(A), a multiplication by A; auto is softmax for networks with residual
    connections (ResNet, EfficientNet, ConvNeXt) and none for others"""
    pooling: Literal["max", "average", "l2"] | None = None
    """pooling layers of VGG: max, average or l2 (default: set by the preset)"""
    replicate_padding: bool | None = None
    """pad the first convolution of VGG with edge pixels instead of zeros, which darken the
    borders (default: set by the preset)"""
    optimizer: Literal["lbfgs", "adam"] | None = None
    """algorithm that optimizes the pixels: lbfgs (L-BFGS) or adam (Adam) (default: set by the
    preset)"""
    lr: float | None = None
    """learning rate of adam, for pixel values in [0, 1] (default: set by the preset)"""
    history: int | None = None
    """history size of lbfgs, the number of earlier steps that it keeps (default: set by the
    preset)"""
    init: Literal["content", "palette", "noise", "statistics", "file"] | None = None
    """initial picture: content, palette (the content in the colors of the styles), noise,
    statistics (noise in the colors of the styles), or file (the picture INIT_IMAGE) (default:
    set by the preset)"""
    init_image: Path | None = None
    """picture to start from with --init file, for example an earlier result"""
    keep_colors: Literal["none", "luminance", "linear", "histogram"] = "none"
    """how the colors of the content are kept: luminance combines the lightness of the result with
    the colors of the content; linear and histogram first recolor the styles like the content, by
    means and covariances or by histograms; none does not keep them"""
    masks: Sequence[str] = ()
    """regions of the picture, each as MASK=STYLE or MASK=untouched, where MASK is a picture that
    is white in the region, and STYLE is one of the styles"""
    mask_rest: Literal["style", "untouched"] = "style"
    """what happens outside of all masks: style applies the one style without a mask, or the first
    style if all have masks; untouched keeps the content"""
    save_every: int | None = None
    """save an intermediate picture every SAVE_EVERY evaluations of the losses at each scale, as
    night_0050.png and so on with --output night.png (default: save none)"""
    video: Path | None = None
    """file for an animation of the optimization: .gif, .apng or .mp4"""
    triptych: Path | None = None
    """file for a picture of content, styles and result side by side: .png, .jpg or .webp"""
    plot_losses: Path | None = None
    """file for a figure of the losses: .png or .svg"""
    seed: int = 0
    """seed of the random number generators"""
    overwrite: bool = False
    """replace what is there already at OUTPUT, and at the further results, even if it was made
    with other settings, of other pictures, or by another program"""
    memory: str | None = None
    """most memory that the whole command may take, such as 4GB; a picture that needs more is
    looked at in tiles, where the statistic is gram, gaussian or moments, and only rounding errors
    of the result depend on it (default: what is free)"""
    device: Device = "auto"
    """where to compute; auto uses a GPU if there is one"""
    threads: int | None = None
    """number of threads that compute on the processor (default: one for each core that the process
    may use, or the environment variable OMP_NUM_THREADS); 1 suits a machine that is busy
    otherwise. The last digits of the result depend on it"""
    mixed_precision: MixedPrecision = "no"
    """numeric precision of the feature network: no computes in 32 bits, fp16 and bf16 in 16
    bits, auto in bf16 where a quick measurement finds that faster, and else in 32 bits;
    statistics and losses are always computed in 32 bits"""

    def __post_init__(self) -> None:
        names = ("backbone", "weights")
        for name, value in zip(
            names, split_backbone(self.backbone, self.weights, options=names), strict=True
        ):
            object.__setattr__(self, name, value)
        self._require_suffixes()
        self._require_apart()
        require(
            self.preset in STYLIZE_PRESETS,
            "preset",
            f"{self.preset!r} is none of {', '.join(STYLIZE_PRESETS)}"
            f"{nearest(self.preset, STYLIZE_PRESETS)}",
        )
        require_at_least("size", self.size, 32)
        require(
            (self.init == "file") == (self.init_image is not None),
            "init_image",
            "--init file and --init_image need each other; give both or neither",
        )
        require_between("style_strength", self.style_strength, 0.0, float("inf"))
        require(
            0 <= self.strength <= 1,
            "strength",
            f"{self.strength:g} is not from 0 to 1; for more style than the preset gives, use "
            "--style_strength",
        )
        require_between("style_scale", self.style_scale, 0.1, 10.0)
        require_seed(self.seed)
        for name in ("lr", "history", "save_every", "threads"):
            value = getattr(self, name)
            if value is not None:
                require_positive(name, value)
        if self.lr is not None:
            require(math.isfinite(self.lr), "lr", f"{self.lr} is not a finite number")
        for count in self.iterations:
            require_positive("iterations", count)
        if self.memory is not None:
            parse_bytes("memory", self.memory)
        self._require_weights()

    @property
    def memory_bytes(self) -> int | None:
        """Most memory that the whole command may take, in bytes, or None."""
        return None if self.memory is None else parse_bytes("memory", self.memory)

    def _require_suffixes(self) -> None:
        for name, path, suffixes in (
            ("output", self.output, STYLIZE_SUFFIXES),
            ("triptych", self.triptych, STYLIZE_SUFFIXES[:4]),
            ("video", self.video, (".gif", ".apng", ".png", ".mp4")),
            ("plot_losses", self.plot_losses, (".png", ".svg")),
        ):
            if path is not None:
                suffix = path.suffix.lower()
                hint = nearest_suffix(suffix, suffixes)
                fits = suffix in suffixes
                require(fits, name, f"{path} ends in none of {', '.join(suffixes)}{hint}")

    def _require_weights(self) -> None:
        require(
            not self.style_weights or len(self.style_weights) == len(self.styles),
            "style_weights",
            f"expected a number for each of {len(self.styles)} styles, got "
            f"{len(self.style_weights)}",
        )
        require(
            not (self.style_weights and self.masks),
            "style_weights",
            "mixes styles over the whole picture, and with --masks each region has one style; use "
            "one of the two options",
        )
        for name in (
            "content_weight",
            "style_weight",
            "tv_weight",
            "patch_weight",
            "structure_weight",
            "chroma_weight",
        ):
            weight = getattr(self, name)
            if weight is not None:
                require_between(name, weight, 0.0, float("inf"))
        for weight in self.style_weights:
            require_between("style_weights", weight, 0.0, float("inf"))

    def _require_apart(self) -> None:
        """Refuse to write over what is read, or twice to one file."""
        read = [path for path in (self.content, *self.styles, self.init_image) if path is not None]
        if self.weights is not None:
            read.append(self.weights)
        for text in self.masks:
            # MASK=STYLE, and either may hold "=" itself.
            parts = [str(expand_home(part)) for part in text.split("=")]
            read += [Path("=".join(parts[:end])) for end in range(1, len(parts) + 1)]
        written: list[Path] = []
        for name in ("output", "triptych", "video", "plot_losses"):
            path: Path | None = getattr(self, name)
            if path is None:
                continue
            for other in (*read, *written):
                require(
                    path.resolve() != other.resolve(),
                    name,
                    f"{path} is also {'read' if other in read else 'written'} as another file; "
                    "choose another name",
                )
            for style in self.styles:
                require(
                    not style.is_dir() or not path.resolve().is_relative_to(style.resolve()),
                    name,
                    f"{path} lies in {style}, whose pictures are styles: the next run would take "
                    "it for one; choose another folder",
                )
            written.append(path)
        if self.save_every is not None:
            self._require_apart_from_kept(read, written)

    def _require_apart_from_kept(self, read: Sequence[Path], written: Sequence[Path]) -> None:
        """Refuse to read, or to write something else to, what ``save_every`` may write."""
        kept = re.compile(rf"{re.escape(self.output.stem)}_[0-9]{{4,}}\.png")
        for path in (*read, *written):
            beside = path.resolve().parent == self.output.resolve().parent
            require(
                not (beside and kept.fullmatch(path.name)),
                "save_every",
                f"{path} is {'read' if path in read else 'written'}, and a picture that is kept "
                "may get its name; choose another --output",
            )


_HINTS: dict[str, Any] = {field.name: field.type for field in fields(StylizeOptions)}
_LISTS = {name: get_args(hint)[0] for name, hint in _HINTS.items() if get_origin(hint) is Sequence}


@option_class
class SweepOptions:
    """Stylize with all combinations of some settings; compare pictures, losses and times."""

    headings: ClassVar[Mapping[str, str]] = {
        "output": "pictures and settings",
        "jobs": "running",
    }

    output: Path
    """folder for the pictures, results.csv, the contact sheet, the figures and the page"""
    contents: Sequence[Path] = ()
    """content pictures, or folders of them, instead of those of the sweep"""
    styles: Sequence[Path] = ()
    """style pictures, or folders in which each picture is a style, instead of those of the
    sweep"""
    set: Sequence[str] = ()
    """options of impasto stylize for all cells, each as NAME=VALUE, for example size=128"""
    jobs: int = 1
    """number of cells that are computed at the same time, each in its own process"""
    threads: int = 1
    """number of threads of each job; the last digits of the results depend on it"""
    overwrite: bool = False
    """replace finished cells that were made with other settings or of other files; if there are
    none, compute all cells again"""

    def __post_init__(self) -> None:
        require_positive("jobs", self.jobs)
        require_positive("threads", self.threads)
        for text in self.set:
            require("=" in text, "set", f"expected NAME=VALUE, got {text!r}")

    def changes(self) -> dict[str, Any]:
        """Return what ``set`` says, values still as texts."""
        return {name: value for name, _, value in (text.partition("=") for text in self.set)}


def typed_stylize_options(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Bring values of a YAML file to the types of ``impasto stylize``, as its command line does.

    Args:
        flat: by the names of the options, which must be known. Where several values may be given,
            one will do.

    Raises:
        OptionError: a value is of another type, or none of those that there are.
    """
    return {name: _typed(name, value) for name, value in flat.items()}


def _typed(name: str, value: Any) -> Any:
    hint = _LISTS.get(name, _HINTS[name])
    if value is None and NoneType in get_args(hint):
        return None
    several = list(value) if isinstance(value, list | tuple) else [value]
    asked = several if name in _LISTS else value
    if value is None or (name in _LISTS and None in several):
        raise OptionError(name, f"expected {describe_type(hint)}, got null")
    try:
        found = _checker().parse_object({name: asked})[name]
    except (TypeError, ValueError) as error:
        near = nearest(str(value), choices(hint))
        raise OptionError(name, f"expected {describe_type(hint)}, got {value}{near}") from error
    return tuple(found) if name in _LISTS else found


class _Checker(CommandParser):
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ValueError(message) from ex


@cache
def _checker() -> _Checker:
    return _Checker("impasto sweep", StylizeOptions, description="")
