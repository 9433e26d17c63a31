"""All options of `impasto stylize`.

All options of `impasto sweep`.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NoReturn, get_args, get_origin

from impasto.options.command_line import CommandParser
from impasto.options.errors import OptionError
from impasto.options.fields import (
    nearest,
    require,
    require_between,
    require_positive,
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
    *("auto", "builtin", "random", "trained", "model", "gatys2016", "leongatys", "tutorial"),
    *("neural_style", "crowsonkb", "adam_5000", "adam_lr5"),
)
STYLIZE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class StylizeOptions:
    """Show one picture in the style of others, by optimisation (Gatys et al. 2016)."""

    output: Path = Path("stylized.png")
    """file for the picture: .png, .jpg, .webp, or .tif with 16 bits"""
    content: Path | None = None
    """what to show; also the first positional argument"""
    styles: Sequence[Path] = ()
    """how; pictures, or folders of them; also the other positional arguments"""
    style_weights: Sequence[float] = ()
    """shares of the styles, in their order; equal unless given"""
    style_scale: float = 1.0
    """size of the styles relative to the picture: larger values give larger strokes"""
    preset: str = "auto"
    """settings: builtin, random, trained, model, gatys2016, leongatys, tutorial, neural_style,
    crowsonkb, adam_5000, adam_lr5; auto is crowsonkb where VGG19 weights are found, builtin
    elsewhere, trained for a network of impasto backbone train, model for one of torchvision"""
    backbone: str = "auto"
    """feature network: vgg19, vgg16, a model of torchvision such as resnet50 (its weights are
    random where none are found), random:resnet50, random (a VGG of random filters) or pixels (no
    network), or what impasto backbone train wrote; auto is what the preset suits"""
    weights: Path | None = None
    """file of weights of the feature network; torchvision's cache is looked through unless given;
    see impasto weights"""
    size: int = 256
    """longer side of the picture, in pixels"""
    iterations: Sequence[int] = ()
    """evaluations of the losses at each scale, coarse to fine; the last counts for the rest"""
    content_weight: float | None = None
    """weight of the content loss, in Impasto's convention; the preset's unless given"""
    style_weight: float | None = None
    """weight of the style loss; the preset's unless given"""
    style_strength: float = 1.0
    """factor of the style weight: 10 for more of the style, 0.1 for less"""
    tv_weight: float | None = None
    """weight of the total variation; the preset's unless given"""
    content_layers: Sequence[str] = ()
    """layers of the content loss, e.g. relu4_2, or layer3 of a ResNet; the preset's unless given"""
    style_layers: Sequence[str] = ()
    """layers of the style loss, e.g. relu1_1 relu2_1; 'impasto weights layers MODEL' lists those of
    a model; the preset's unless given"""
    statistic: Literal["gram", "gaussian", "sliced", "patches"] | None = None
    """what of the style is matched: gram (Gram matrices), gaussian (means and covariances), sliced
    (whole distributions) or patches (those of patches); the preset's unless given"""
    smoothing: str = "auto"
    """what is done to features before they are compared: none, softmax, softmax(T) or scale(A);
    auto is softmax for networks with residual sums (ResNet, EfficientNet, ConvNeXt), else none"""
    pooling: Literal["max", "average", "l2"] | None = None
    """pooling of VGG: max, average or l2; the preset's unless given"""
    replicate_padding: bool | None = None
    """pad VGG's first convolution by edge pixels, not zeros, which darken borders; the preset's
    unless given"""
    optimizer: Literal["lbfgs", "adam"] | None = None
    """how the picture is optimised: lbfgs or adam; the preset's unless given"""
    lr: float | None = None
    """learning rate of adam, for pixels in [0, 1]; the preset's unless given"""
    history: int | None = None
    """steps that lbfgs remembers; the preset's unless given"""
    init: Literal["content", "palette", "noise", "statistics", "file"] | None = None
    """what the picture starts as: content, palette (the content in the styles' colours), noise,
    statistics (noise in their colours) or file; the preset's unless given"""
    init_image: Path | None = None
    """picture to start from, with --init file; an earlier result, say"""
    keep_colors: Literal["none", "luminance", "linear", "histogram"] = "none"
    """keep the content's colours: the result's lightness only, or recolour the styles first"""
    masks: Sequence[str] = ()
    """MASK=STYLE or MASK=untouched, one or more: white marks where that style goes"""
    mask_rest: Literal["style", "untouched"] = "style"
    """what happens where no mask is white"""
    save_every: int | None = None
    """evaluations between pictures that are kept as OUTPUT_0050.png and so on, at each scale"""
    video: Path | None = None
    """animation of the optimisation: .gif, .apng or .mp4"""
    triptych: Path | None = None
    """picture of content, styles and result side by side: .png, .jpg or .webp"""
    plot_losses: Path | None = None
    """drawing of the losses: .png or .svg"""
    seed: int = 0
    """seed of everything that is random"""
    device: Device = "auto"
    """where to compute; auto takes a GPU if there is one"""
    mixed_precision: MixedPrecision = "no"
    """compute the network in 16 bits: bf16 or fp16; statistics and losses stay in 32"""

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
        require(self.size >= 32, "size", f"{self.size} is below 32")
        require(
            (self.init == "file") == (self.init_image is not None),
            "init_image",
            "goes with --init file, and only with it",
        )
        require_between("style_strength", self.style_strength, 0.0, float("inf"))
        require_between("style_scale", self.style_scale, 0.1, 10.0)
        require(0 <= self.seed < 2**63, "seed", f"{self.seed} is not in [0, 2**63)")
        for name in ("lr", "history", "save_every"):
            value = getattr(self, name)
            if value is not None:
                require_positive(name, value)
        if self.lr is not None:
            require(math.isfinite(self.lr), "lr", f"{self.lr} is no finite number")
        for count in self.iterations:
            require_positive("iterations", count)
        self._require_weights()

    def _require_suffixes(self) -> None:
        for name, path, suffixes in (
            ("output", self.output, STYLIZE_SUFFIXES),
            ("triptych", self.triptych, STYLIZE_SUFFIXES[:4]),
            ("video", self.video, (".gif", ".apng", ".png", ".mp4")),
            ("plot_losses", self.plot_losses, (".png", ".svg")),
        ):
            if path is not None:
                suffix = path.suffix.lower()
                hint = nearest(suffix, suffixes) if suffix else ""
                fits = suffix in suffixes
                require(fits, name, f"{path} ends in none of {', '.join(suffixes)}{hint}")

    def _require_weights(self) -> None:
        require(
            not self.style_weights or len(self.style_weights) == len(self.styles),
            "style_weights",
            f"{len(self.style_weights)} numbers for {len(self.styles)} styles; give one for each",
        )
        require(
            not (self.style_weights and self.masks),
            "style_weights",
            "mix styles over the whole picture; with --masks each region has one style",
        )
        for name in ("content_weight", "style_weight", "tv_weight"):
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
            parts = text.split("=")
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
_WORDS = {int: "a whole number", float: "a number", str: "a text", Path: "a path"}


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Stylize with all combinations of some settings; compare pictures, losses and times."""

    output: Path
    """folder for pictures, results.csv, contact sheet, curves and page"""
    contents: Sequence[Path] = ()
    """what to show: pictures or folders, in place of the sweep's"""
    styles: Sequence[Path] = ()
    """how: pictures or folders, each picture a style, in place of the sweep's"""
    set: Sequence[str] = ()
    """NAME=VALUE options of impasto stylize for all cells, such as size=128"""
    jobs: int = 1
    """cells that are computed at the same time, each in a process of its own"""
    threads: int = 1
    """threads of each job; the pictures depend on it, in their last bits"""
    overwrite: bool = False
    """whether to compute again what is done"""

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
        raise OptionError(name, f"expected {_words(hint)}, got null")
    try:
        found = _checker().parse_object({name: asked})[name]
    except (TypeError, ValueError) as error:
        near = nearest(str(value), _choices(hint))
        raise OptionError(name, f"expected {_words(hint)}, got {value}{near}") from error
    return tuple(found) if name in _LISTS else found


def _choices(hint: Any) -> list[str]:
    kinds = [hint, *get_args(hint)]
    return [str(one) for kind in kinds if get_origin(kind) is Literal for one in get_args(kind)]


def _words(hint: Any) -> str:
    if choices := _choices(hint):
        return f"one of {', '.join(choices)}"
    return next(words for kind, words in _WORDS.items() if kind in (hint, *get_args(hint)))


class _Checker(CommandParser):
    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        raise ValueError(message) from ex


@cache
def _checker() -> _Checker:
    return _Checker("impasto sweep", StylizeOptions, description="", lists=_LISTS)
