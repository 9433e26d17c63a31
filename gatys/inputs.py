"""The input pictures of a stylization: reading them, and preparing them for each scale.

:func:`read_pictures` decodes content, styles and masks. :func:`regions_at` and :func:`start_at`
prepare them for the size of a scale: the regions with their styles, and the picture that the
optimization starts from, which is the content, the content in other colors, or noise.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.data.decode import Picture, Rgb, read_picture
from impasto.data.encode import to_uint8
from impasto.data.files import list_pictures, refuse_missing
from impasto.data.standardize import fill_hidden
from impasto.data.transforms import limit_long_side, resize
from impasto.gatys.colors import match_colors
from impasto.gatys.losses.targets import Region, StylePicture
from impasto.gatys.masks import (
    MaskedRegion,
    make_regions,
    parse_mask_pair,
    read_mask,
    resize_mask,
)
from impasto.gatys.scales import fit
from impasto.options.errors import OptionError, PictureError
from impasto.options.stylize import StylizeOptions
from impasto.runs.state import make_generator

__all__ = [
    "NOISE_DEVIATION",
    "Pictures",
    "Start",
    "alpha_at",
    "cut_frame",
    "initial_image",
    "noise_image",
    "picture_image",
    "read_pictures",
    "recolor",
    "regions_at",
    "start_at",
    "statistics_image",
    "style_side",
    "style_size",
]


Start = Literal["content", "palette", "noise", "statistics", "file"]

_log = logging.getLogger(__name__)

# Frames: their greatest depth as a share of the picture, how many lie in one another, mean
# differences of 255 values that are one color and another one, and the share of the length along
# which a frame must end abruptly. Found on 43 paintings and prints, of which 6 have a frame.
_DEEPEST_FRAME, _MOST_FRAMES = 0.15, 3
_SAME_COLOR, _OTHER_COLOR, _ABRUPT = 20.0, 26.0, 0.7

# Pixels that stand for a palette.
_PIXELS = 2**17

NOISE_DEVIATION = 0.2
"""Standard deviation of noise about mid-gray in sRGB: 1.2 % of the values have to be clipped."""


def initial_image(
    start: Start,
    *,
    height: int,
    width: int,
    generator: torch.Generator,
    picture: Rgb | None = None,
    styles: Sequence[Rgb] = (),
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Return the initial picture; deterministic for a given generator state.

    Args:
        start: kind of initial picture: ``content`` and ``file`` (both: ``picture``, resized),
            ``palette`` (``picture``, whose colors get the mean and covariance of the styles'),
            ``noise`` (white noise about mid-gray), ``statistics`` (white noise with mean and
            covariance of the styles' colors).
        height: height of the result, in pixels.
        width: width of the result, in pixels.
        generator: random generator, on the CPU.
        picture: picture to resize or recolor, RGB, (H, W, 3), uint8.
        styles: style pictures, each RGB, (H, W, 3), uint8.
        weights: weights of the styles; equal unless given.

    Returns:
        RGB, (1, 3, height, width), float32, sRGB in [0, 1], on the CPU.

    Raises:
        ValueError: an argument that ``start`` needs is missing, or ``start`` is unknown.
    """
    if start in {"content", "palette", "file"}:
        if picture is None:
            raise ValueError(f"start {start}: expected a picture, got None")
        if start == "palette":
            picture = recolor(picture, styles, weights=weights)
        return picture_image(picture, height, width)
    if start == "noise":
        return noise_image(height, width, generator=generator)
    if start == "statistics":
        return statistics_image(styles, height, width, generator=generator, weights=weights)
    raise ValueError(f"start: expected content, palette, noise, statistics or file, got {start!r}")


def picture_image(picture: Rgb, height: int, width: int) -> Tensor:
    """Return a picture, RGB, (H, W, 3), uint8, as (1, 3, height, width) in [0, 1]."""
    resized = np.array(resize(np.ascontiguousarray(picture), height, width))
    return torch.from_numpy(resized).permute(2, 0, 1).unsqueeze(0).contiguous().float().div_(255)


def recolor(picture: Rgb, styles: Sequence[Rgb], *, weights: Sequence[float] | None = None) -> Rgb:
    """Return a picture whose colors have the mean and covariance of the styles'.

    Args:
        picture: picture to resize or recolor, RGB, (H, W, 3), uint8.
        styles: style pictures, each RGB, (H, W, 3), uint8, at least one; their pixels are pooled.
        weights: shares of the styles; equal unless given.

    Raises:
        ValueError: there are no styles, or the weights do not fit them.
    """
    shares = _shares(styles, weights)
    picked = []
    for style, share in zip(styles, shares, strict=True):
        pixels = style.reshape(-1, 3)
        count = round(share * _PIXELS)
        picked.append(pixels[np.linspace(0, len(pixels) - 1, count).round().astype(np.int64)])
    palette = np.concatenate(picked)[None] / 255.0
    return np.rint(match_colors(picture / 255.0, palette) * 255).astype(np.uint8)


def noise_image(
    height: int, width: int, *, generator: torch.Generator, deviation: float = NOISE_DEVIATION
) -> Tensor:
    """Return Gaussian noise around 0.5, in sRGB values clipped to [0, 1]; (1, 3, height, width).

    Args:
        height: height of the result, in pixels.
        width: width of the result, in pixels.
        generator: random generator, on the CPU.
        deviation: standard deviation before clipping.
    """
    noise = torch.randn(1, 3, height, width, generator=generator)
    return noise.mul_(deviation).add_(0.5).clamp_(0, 1)


def statistics_image(
    styles: Sequence[Rgb],
    height: int,
    width: int,
    *,
    generator: torch.Generator,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Return Gaussian noise with the mean and covariance of the styles' colors, clipped to [0, 1].

    The pixels of several styles are pooled: means and raw second moments are averaged.

    Args:
        styles: style pictures, each RGB, (H, W, 3), uint8, at least one.
        height: height of the result, in pixels.
        width: width of the result, in pixels.
        generator: random generator, on the CPU.
        weights: weights of the styles, at least 0; equal unless given.

    Raises:
        ValueError: there are no styles, or the weights do not fit them.
    """
    shares = _shares(styles, weights)
    mean, second = np.zeros(3), np.zeros((3, 3))
    for style, share in zip(styles, shares, strict=True):
        colors = style.reshape(-1, 3).astype(np.float64) / 255
        mean += share * colors.mean(axis=0)
        second += share * (colors.T @ colors) / len(colors)
    values, vectors = np.linalg.eigh(second - np.outer(mean, mean))
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    noise = torch.randn(height * width, 3, generator=generator, dtype=torch.float64)
    colored = noise @ torch.from_numpy(root) + torch.from_numpy(mean)
    return colored.float().clamp_(0, 1).T.reshape(1, 3, height, width).contiguous()


def _shares(styles: Sequence[Rgb], weights: Sequence[float] | None) -> NDArray[np.float64]:
    if not styles:
        raise ValueError("expected at least one style, got none")
    shares = np.ones(len(styles)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(shares) != len(styles) or shares.min() < 0 or shares.sum() <= 0:
        raise ValueError(f"weights: expected {len(styles)}, none negative, got {weights}")
    normalized: NDArray[np.float64] = shares / shares.sum()
    return normalized


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures of a stylization, decoded.

    Of all, pixels that are wholly transparent have the color of the nearest that can be seen.

    Attributes:
        content: content picture, RGB, (H, W, 3), uint8.
        styles: the pictures of each style, RGB, uint8: one, or all of a folder.
        shares: shares of the styles in the mix, adding up to 1.
        regions: masked regions and their styles; empty without masks.
        start: picture that the optimization starts from, or None.
        files: all files that were read.
        alpha: transparency of the content, (H, W), uint8, 0 is transparent; None: nothing is.
    """

    content: Rgb
    styles: Sequence[Sequence[Rgb]]
    shares: Sequence[float]
    regions: Sequence[MaskedRegion]
    start: Rgb | None
    files: Sequence[Path]
    alpha: NDArray[np.uint8] | None = None


def read_pictures(options: StylizeOptions, *, cut_frames: bool = False) -> Pictures:
    """Decode content, styles, masks and the initial picture.

    Pictures of a folder are kept no larger than needed, as there may be thousands.

    Args:
        options: all options of the stylization.
        cut_frames: whether plain frames of styles are cut off, see :func:`cut_frame`; the log says
            of which.

    Raises:
        OptionError: there is no content or no style, or masks do not fit together.
        PictureError: a file cannot be read.
        FolderError: a folder of style pictures is empty.
    """
    if options.content is None or not options.styles:
        raise OptionError("content", "expected a content picture and at least one style")
    for path in (options.content, *options.styles):
        refuse_missing(path)
    groups = [list_pictures(path) if path.is_dir() else [path] for path in options.styles]
    shown = _read_seen(options.content)
    content = fill_hidden(shown)
    pairs = [parse_mask_pair(text, options.styles) for text in options.masks]
    masks = [read_mask(pair.path, *content.shape[:2]) for pair in pairs]
    regions = make_regions(pairs, masks, options.styles, rest=options.mask_rest) if pairs else []
    start = None if options.init_image is None else fill_hidden(_read_seen(options.init_image))
    files = [options.content, *(path for group in groups for path in group)]
    files += [pair.path for pair in pairs]
    files += [] if options.init_image is None else [options.init_image]
    weights = options.style_weights or [1.0] * len(groups)
    if sum(weights) == 0:
        raise OptionError("style_weights", "all are 0; give at least one style a weight")
    longest = round(options.size * options.style_scale)
    pictures = Pictures(
        content=content,
        styles=[_read_group(group, longest, cut_frames) for group in groups],
        shares=[weight / sum(weights) for weight in weights],
        regions=regions,
        start=start,
        files=files,
        alpha=None if shown.alpha is None or shown.alpha.min() == 255 else shown.alpha,
    )
    if options.keep_colors not in {"linear", "histogram"}:
        return pictures
    matched = [
        [to_uint8(match_colors(rgb / 255.0, content / 255.0, options.keep_colors)) for rgb in group]
        for group in pictures.styles
    ]
    return replace(pictures, styles=matched)


def cut_frame(picture: Rgb) -> Rgb:
    """Return a picture without the plain frame around it: a mount, or the margin of a print.

    A frame is a strip along one or more sides, at most 15 % of the picture deep, that has one color
    and ends abruptly along most of its length; up to three may lie in one another. A sky or a dark
    background ends nowhere so.

    Args:
        picture: RGB, (H, W, 3), uint8.

    Returns:
        A part of the picture; the picture itself where no frame is found.
    """
    lines = picture.astype(np.float32)
    columns = lines.transpose(1, 0, 2)
    top, bottom, left, right = (
        _depth_of_frames(side) for side in (lines, lines[::-1], columns, columns[::-1])
    )
    if not top + bottom + left + right:
        return picture
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[top : height - bottom, left : width - right])


def _depth_of_frames(lines: NDArray[np.float32]) -> int:
    """Return how many lines, (N, M, 3), the outermost first, belong to frames."""
    deepest, total = int(_DEEPEST_FRAME * len(lines)), 0
    for _ in range(_MOST_FRAMES):
        depth = _depth_of_frame(lines[total:], deepest - total)
        total += depth
        if not depth:
            break
    return total


def _depth_of_frame(lines: NDArray[np.float32], deepest: int) -> int:
    # The outermost lines may be a shadow or a blurred edge.
    edge = max(1, round(0.005 * len(lines)))
    beyond = max(2, round(0.012 * len(lines)))
    if deepest <= edge:
        return 0
    color = np.median(lines[edge : 2 * edge + 1].reshape(-1, 3), axis=0)
    distances = np.abs(lines[: deepest + beyond] - color).mean(axis=2)
    differing = np.quantile(distances[edge:deepest], 0.85, axis=1) >= _SAME_COLOR
    if not differing.any() or differing[0]:
        return 0
    depth = edge + int(differing.argmax())
    ends = distances[depth : depth + beyond].max(axis=0) > _OTHER_COLOR
    return depth + beyond if ends.mean() >= _ABRUPT else 0


def _read_group(paths: Sequence[Path], longest: int, cut_frames: bool) -> list[Rgb]:
    if len(paths) == 1:
        return [_read_style(paths[0], cut_frames)]
    return [limit_long_side(_read_style(path, cut_frames), longest) for path in paths]


def _read_style(path: Path, cut_frames: bool) -> Rgb:
    rgb = fill_hidden(_read_seen(path))
    part = cut_frame(rgb) if cut_frames else rgb
    if part.shape != rgb.shape:
        _log.info(
            "%s has a plain frame, which is cut off: %d x %d pixels of %d x %d are the style "
            "(--style_frames keep keeps it)",
            path,
            *(part.shape[1], part.shape[0], rgb.shape[1], rgb.shape[0]),
        )
    return part


def _read_seen(path: Path) -> Picture:
    """Read a picture of which something can be seen."""
    picture = read_picture(path)
    if picture.alpha is not None and not picture.alpha.any():
        raise PictureError(path, "is transparent everywhere; expected something that can be seen")
    return picture


def alpha_at(pictures: Pictures, height: int, width: int) -> NDArray[np.uint8] | None:
    """Return the content's transparency for a picture of a size, (height, width), uint8."""
    if pictures.alpha is None:
        return None
    channels = np.repeat(pictures.alpha[..., None], 3, axis=2)
    return np.ascontiguousarray(resize(channels, height, width)[..., 0])


def style_side(height: int, width: int, style_scale: float) -> int:
    """Return the upper limit of the styles' longest side, for a picture of the given size."""
    return round(max(height, width) * style_scale)


def style_size(rgb: Rgb, longest: int) -> tuple[int, int]:
    """Return height and width of a style picture scaled to a longest side of at most ``longest``.

    Style pictures are never enlarged, since that would blur their strokes.
    """
    height, width = rgb.shape[:2]
    return fit(height, width, min(longest, max(height, width)))


class _ResizedStyle:
    """The pictures of a style at one size, made anew each time: a folder may not fit otherwise."""

    def __init__(
        self, pictures: Sequence[Rgb], longest: int, weight: float, device: torch.device
    ) -> None:
        self._pictures, self._longest = pictures, longest
        self._weight, self._device = weight, device

    def __iter__(self) -> Iterator[StylePicture]:
        for rgb in self._pictures:
            picture = picture_image(rgb, *style_size(rgb, self._longest)).to(self._device)
            yield StylePicture(picture=picture, weight=self._weight / len(self._pictures))


class _ChainedStyles:
    """Several styles, one after the other."""

    def __init__(self, styles: Sequence[Iterable[StylePicture]]) -> None:
        self._styles = styles

    def __iter__(self) -> Iterator[StylePicture]:
        return chain.from_iterable(self._styles)


def regions_at(
    pictures: Pictures,
    height: int,
    width: int,
    *,
    style_scale: float,
    device: torch.device,
    strength: float = 1.0,
) -> list[Region]:
    """Return the regions to stylize, for a picture of the given size.

    Args:
        pictures: decoded pictures of the stylization.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        style_scale: size of the style pictures relative to the size of the picture.
        device: device for the results.
        strength: share of the styles, 0 to 1; the rest is the content's own, in each region.
    """
    longest = style_side(height, width, style_scale)
    groups = [
        _ResizedStyle(group, longest, strength * share, device)
        for group, share in zip(pictures.styles, pictures.shares, strict=True)
    ]

    def own(share: float, mask: Tensor | None) -> list[Iterable[StylePicture]]:
        """Return the content as one more style, if it counts."""
        if strength == 1:
            return []
        content = picture_image(pictures.content, height, width).to(device)
        return [[StylePicture(picture=content, weight=(1 - strength) * share, mask=mask)]]

    if not pictures.regions:
        counting = [
            group for group, share in zip(groups, pictures.shares, strict=True) if share > 0
        ]
        return [Region(styles=_ChainedStyles([*counting, *own(1.0, None)]))]
    regions = []
    for region in pictures.regions:
        if region.style is not None:
            scaled = resize_mask(region.mask, height, width)
            mask = torch.from_numpy(scaled)[None, None].to(device)
            mixed = _ChainedStyles(
                [groups[region.style], *own(pictures.shares[region.style], mask)]
            )
            regions.append(Region(styles=mixed, mask=mask, name=region.name))
    return regions


def start_at(
    pictures: Pictures,
    start: Start,
    height: int,
    width: int,
    *,
    seed: int,
    strength: float = 1.0,
) -> Tensor:
    """Return the initial picture, (1, 3, height, width), in [0, 1], on the CPU.

    With masks, ``palette`` and ``statistics`` give each region the colors of its own style.

    Args:
        pictures: decoded pictures of the stylization.
        start: kind of initial picture, see :func:`initial_image`.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        seed: seed of the run, for noise.
        strength: share of the styles in the colors, 0 to 1; the rest is the content's own.
    """
    every = list(range(len(pictures.styles)))
    if not pictures.regions or start not in {"palette", "statistics"}:
        return _start(pictures, start, every, height, width, seed, strength)
    image = picture_image(pictures.content, height, width)
    mixed = torch.zeros_like(image)
    for region in pictures.regions:
        part = image
        if region.style is not None:
            part = _start(pictures, start, [region.style], height, width, seed, strength)
        mixed += part * torch.from_numpy(resize_mask(region.mask, height, width))
    return mixed.clamp_(0, 1)


def _start(
    pictures: Pictures,
    start: Start,
    styles: Sequence[int],
    height: int,
    width: int,
    seed: int,
    strength: float,
) -> Tensor:
    colored = [rgb for index in styles for rgb in pictures.styles[index]]
    weights = [
        pictures.shares[index] / len(pictures.styles[index])
        for index in styles
        for _ in pictures.styles[index]
    ]
    if strength < 1:
        colored.append(pictures.content)
        weights = [*(strength * weight for weight in weights), (1 - strength) * sum(weights)]
    return initial_image(
        start,
        height=height,
        width=width,
        generator=make_generator(seed, "start"),
        picture=pictures.start if start == "file" else pictures.content,
        styles=colored,
        weights=weights,
    )
