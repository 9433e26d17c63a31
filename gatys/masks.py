"""Masks: which part of the picture gets which style, and which part remains unchanged.

A mask file is any picture that is white inside the masked region. Masks may have soft edges. The
regions made from them have weights that add up to 1 at every pixel.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.data.decode import read_picture
from impasto.options.errors import OptionError, PictureError
from impasto.options.fields import expand_home, nearest

__all__ = [
    "MaskPair",
    "MaskedRegion",
    "Rest",
    "compose_untouched",
    "make_regions",
    "parse_mask_pair",
    "read_mask",
    "resize_mask",
]

_LOGGER = logging.getLogger(__name__)
Mask = NDArray[np.float32]
Rest = Literal["style", "untouched"]

_UNTOUCHED = "untouched"

# Two drawn masks may meet in a line of pixels that both claim, or that neither does: nothing to
# stop for. More is a mistake in one of them. At 512 pixels, a line along a region of a quarter of
# the picture is 1.5 % of it.
_OVERLAP_ALLOWED = 0.05  # of the smaller mask
_CLAIMED_TWICE = 1.5  # sum of two masks; soft edges that run into each other stay below
_GAP_WORTH_A_WORD = 0.01  # of the picture: where it is less, it was hardly meant
_NOTHING = 1e-4  # of the picture


@dataclass(frozen=True, kw_only=True)
class MaskPair:
    """A mask file and its style.

    Attributes:
        path: path of the mask file.
        style: index of the style, or None where the content remains unchanged.
    """

    path: Path
    style: int | None


@dataclass(frozen=True, kw_only=True, eq=False)
class MaskedRegion:
    """A part of the picture.

    Attributes:
        name: name of the region in messages: the mask's file name, or ``rest``.
        mask: weight of the region at each pixel, (H, W), float32, 0 to 1; the masks of all regions
            add up to 1.
        style: index of the style, or None where the content remains unchanged.
    """

    name: str
    mask: Mask
    style: int | None


def parse_mask_pair(text: str, styles: Sequence[Path]) -> MaskPair:
    """Read ``MASK=STYLE`` from the command line.

    STYLE is the path of a style picture as it was given, its file name, that name without its
    ending, or ``untouched``. With a single style, ``MASK`` alone means that style. A path may
    itself contain ``=``: the last one that is followed by a style counts.

    Args:
        text: text of the pair, for example ``sky.png=starry.jpg``.
        styles: paths of the style pictures, in order.

    Raises:
        OptionError: STYLE is missing, unknown, or fits several styles.
    """
    parts = [str(expand_home(part)) if part else part for part in text.split("=")]
    for at in range(len(parts) - 1, 0, -1):
        path, name = "=".join(parts[:at]), "=".join(parts[at:])
        found = _find_styles(name, styles)
        if len(found) > 1:
            fits = " and ".join(str(styles[index]) for index in found)
            raise OptionError("masks", f"{text}: {name} fits {fits}; give its whole path")
        if path and (found or name == _UNTOUCHED):
            return MaskPair(path=Path(path), style=found[0] if found else None)
    if len(parts) == 1 and len(styles) == 1:
        return MaskPair(path=Path(parts[0]), style=0)
    names = [style.name for style in styles]
    expected = f"expected MASK=STYLE, with STYLE one of {', '.join([*names, _UNTOUCHED])}"
    if len(parts) == 1 or not parts[0]:
        raise OptionError("masks", f"{text}: {expected}")
    hint = nearest(parts[-1], [*names, _UNTOUCHED])
    raise OptionError("masks", f"{text}: {parts[-1]} is no style; {expected}{hint}")


def _find_styles(name: str, styles: Sequence[Path]) -> list[int]:
    """Return the styles of a name: by path; else by file name; else by name without ending."""
    for spell in (str, lambda path: path.name, lambda path: path.stem):
        found = [index for index, style in enumerate(styles) if spell(style) == name]
        # The same picture twice is a style twice: the first will do.
        if found:
            return found[:1] if len({styles[index] for index in found}) == 1 else found
    return []


def read_mask(path: Path, height: int, width: int) -> Mask:
    """Read a mask and scale it to the size of its picture.

    Gray means partial weight, a color counts by its luma, and transparent areas count as black.

    Args:
        path: any picture file that has the size of the picture or, within a pixel, its aspect
            ratio.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.

    Returns:
        The mask, (height, width), float32, 0 to 1; exact steps of 1/65535, so that white is 1.

    Raises:
        PictureError: the file cannot be read, has another shape, or marks nothing.
    """
    picture = read_picture(path)
    if not _same_shape((picture.height, picture.width), (height, width)):
        raise PictureError(
            path,
            f"has {picture.width} x {picture.height} pixels, and the content {width} x {height}: "
            "expected the same size or the same aspect ratio",
        )
    # Pillow's luma (ITU-R BT.601) is in whole numbers: what is gray stays exact.
    gray = np.asarray(Image.fromarray(picture.rgb).convert("L"), np.float32)
    if picture.alpha is not None:
        gray = np.asarray(gray * (picture.alpha / 255), np.float32)
    if not gray.any():
        raise PictureError(
            path,
            "marks nothing: it is black or transparent everywhere; paint white"
            " what belongs to the region",
        )
    mask = resize_mask(np.asarray(gray / 255, np.float32), height, width)
    if not mask.any():
        raise PictureError(path, f"marks nothing that is left at {width} x {height} pixels")
    return mask


def resize_mask(mask: Mask, height: int, width: int) -> Mask:
    """Scale a mask, (H, W), 0 to 1, with antialiased linear interpolation.

    The interpolation is linear, so that masks that add up to 1 still do, within 1/65535 each.
    """
    if mask.shape != (height, width):
        scaled = Image.fromarray(mask).resize((width, height), Image.Resampling.BILINEAR)
        mask = np.asarray(scaled, np.float32)
    steps = np.rint(mask.clip(0, 1).astype(np.float64) * 65535)
    return (steps / 65535).astype(np.float32)


def _same_shape(mask: tuple[int, int], content: tuple[int, int]) -> bool:
    """Whether two sizes, (H, W), can be the same picture at two scales, sides being rounded."""
    small, large = sorted([mask, content], key=lambda size: size[0] * size[1])
    if small == large:
        return True
    shrink = max(small[0] / large[0], small[1] / large[1])
    return all(abs(b * shrink - a) <= 1 for a, b in zip(small, large, strict=True))


def make_regions(
    pairs: Sequence[MaskPair], masks: Sequence[Mask], styles: Sequence[Path], *, rest: Rest
) -> list[MaskedRegion]:
    """Make the regions of a picture: one for each mask, and one for the area outside all masks.

    Args:
        pairs: mask files and their styles, at least one.
        masks: masks in the same order, all (H, W), float32, 0 to 1.
        styles: paths of the style pictures.
        rest: treatment of the area outside all masks: ``style`` (the one style without a mask, or,
            where all have one, the first) or ``untouched``.

    Returns:
        Regions whose masks add up to 1 at each pixel. The region outside all masks, if there is
        one, comes last.

    Raises:
        OptionError: a mask is empty, two masks claim the same pixels, or several styles are left
            for the rest.
    """
    for pair, mask in zip(pairs, masks, strict=True):
        if not mask.any():
            raise OptionError("masks", f"{pair.path} marks nothing; paint white what belongs to it")
    _check_overlap(pairs, masks)
    total = np.sum(masks, axis=0, dtype=np.float64)
    remaining = np.clip(1 - total, 0, 1)
    regions = [
        MaskedRegion(name=pair.path.name, mask=mask, style=pair.style)
        for pair, mask in zip(pairs, masks, strict=True)
    ]
    if remaining.mean() > _NOTHING:
        style = None if rest == _UNTOUCHED else _style_of_rest(pairs, styles)
        regions.append(MaskedRegion(name="rest", mask=remaining.astype(np.float32), style=style))
        total = total + remaining
        _report_rest(remaining, "untouched" if style is None else f"in {styles[style].name}")
    _warn_of_unused_styles(regions, styles)
    # Where masks overlap softly there is more than 1; in a gap that is nothing, a little less.
    share = np.where(total > 0, total, 1)
    gap = total == 0
    return [
        replace(
            region, mask=np.where(gap, 1 / len(regions), region.mask / share).astype(np.float32)
        )
        for region in regions
    ]


def _check_overlap(pairs: Sequence[MaskPair], masks: Sequence[Mask]) -> None:
    """Refuse two masks that overlap by more than an edge; log where they share an edge.

    Raises:
        OptionError: the masks share more than 5 % of the smaller one.
    """
    for (first, one), (second, other) in combinations(zip(pairs, masks, strict=True), 2):
        count = int(np.count_nonzero(one + other > _CLAIMED_TWICE))
        smaller = max(min(int(np.count_nonzero(mask > 0.5)) for mask in (one, other)), 1)
        if not count:
            continue
        message = (
            f"{first.path} and {second.path} both claim {_pixels(count, one.size)}, "
            f"{count / smaller:.1%} of the smaller one"
        )
        if count / smaller > _OVERLAP_ALLOWED:
            raise OptionError("masks", f"{message}; a pixel belongs to one mask: black it in one")
        _LOGGER.warning("--masks: %s; they share it half and half", message)


def _style_of_rest(pairs: Sequence[MaskPair], styles: Sequence[Path]) -> int:
    used = {pair.style for pair in pairs}
    free = [index for index in range(len(styles)) if index not in used]
    if len(free) > 1:
        names = " and ".join(styles[index].name for index in free)
        raise OptionError(
            "mask_rest",
            f"the rest of the picture gets one style, and {names} have no mask; give masks to all "
            f"but one, or use --mask_rest {_UNTOUCHED}",
        )
    return free[0] if free else 0


def _report_rest(remaining: NDArray[np.float64], fate: str) -> None:
    count = int(np.count_nonzero(remaining > 0.5))
    if count < _GAP_WORTH_A_WORD * remaining.size:
        _LOGGER.warning(
            "--masks: they almost cover the picture: %s in no mask, and edges, are left %s; "
            "if that was not meant, let the masks meet",
            _pixels(count, remaining.size),
            fate,
        )
    else:
        _LOGGER.info("--masks: %s in no mask are left %s", _pixels(count, remaining.size), fate)


def _warn_of_unused_styles(regions: Sequence[MaskedRegion], styles: Sequence[Path]) -> None:
    used = {region.style for region in regions}
    unused = [style.name for index, style in enumerate(styles) if index not in used]
    if unused:
        _LOGGER.warning("--masks: no region is left for %s: not used", " and ".join(unused))


def _pixels(count: int, size: int) -> str:
    return f"{count:,} pixel{'' if count == 1 else 's'} ({count / size:.2%})"


def compose_untouched(result: Mask, content: Mask, regions: Sequence[MaskedRegion]) -> Mask:
    """Put the untouched regions of the content over the result.

    Args:
        result: stylized picture, sRGB, (H, W, 3), float32.
        content: content picture, sRGB, of the same size.
        regions: regions of the picture; the content is pasted into those without a style, bit for
            bit where their weight is 1, and blended at soft edges.

    Returns:
        sRGB, (H, W, 3), float32; ``result`` itself where no region is untouched.

    Raises:
        ValueError: the sizes differ.
    """
    masks = [region.mask for region in regions if region.style is None]
    if not masks:
        return result
    kept = np.asarray(np.sum(masks, axis=0, dtype=np.float64))[..., None]
    if result.shape != content.shape or result.shape[:2] != kept.shape[:2]:
        raise ValueError(
            f"expected one size, got a result of {result.shape}, a content of {content.shape} and "
            f"masks of {kept.shape[:2]}"
        )
    # Two masks of shares such as 1/3 and 2/3 add up to 1 within float32's steps only.
    kept = np.where(kept > 1 - 1e-6, 1, kept)
    blended = result + kept * (content.astype(np.float64) - result)
    return np.where(kept == 1, content, np.where(kept == 0, result, blended)).astype(np.float32)
