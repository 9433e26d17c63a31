"""The scales of a run, from coarse to fine, and the number of iterations at each."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from impasto.options.errors import OptionError
from impasto.runs.devices import where_complete

__all__ = ["Scale", "add_detail", "enlarge", "fit", "plan_scales", "scale_sizes", "widen"]


@dataclass(frozen=True, kw_only=True)
class Scale:
    """One size of a run.

    Attributes:
        index: number of the scale, counted from 1.
        scales: number of scales.
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        iterations: number of evaluations of the losses at this scale.
        before: number of evaluations at earlier scales.
        finishing: whether this is the second run at the largest scale, with the weights of the
            preset's finish.
    """

    index: int
    scales: int
    height: int
    width: int
    iterations: int
    before: int
    finishing: bool = False


def fit(height: int, width: int, longest_side: int) -> tuple[int, int]:
    """Return (height, width) scaled to the given longest side, rounded to whole pixels."""
    if min(height, width, longest_side) < 1:
        raise ValueError(f"expected sides of at least 1, got {height}, {width}, {longest_side}")
    ratio = longest_side / max(height, width)
    return max(round(height * ratio), 1), max(round(width * ratio), 1)


def scale_sizes(
    longest_side: int, *, smallest: int = 128, factor: float = math.sqrt(2)
) -> list[int]:
    """Return longest sides from about ``smallest`` to ``longest_side``, each ``factor`` larger.

    ``longest_side / factor^i``, rounded, as long as it is at least ``smallest`` (the style transfer
    of Katherine Crowson 2021: 128 and the root of 2).

    Args:
        longest_side: longest side of the result, in pixels; the only size if it is below
            ``smallest``.
        smallest: lower bound of the longest sides, in pixels.
        factor: ratio of neighboring sizes, above 1.
    """
    if factor <= 1:
        raise ValueError(f"factor: expected above 1, got {factor}")
    sizes = [longest_side]
    while (size := round(longest_side / factor ** len(sizes))) >= smallest and size < sizes[0]:
        sizes.insert(0, size)
    return sizes


def plan_scales(
    height: int,
    width: int,
    sizes: Sequence[int],
    *,
    iterations: int | Sequence[int] = (1000, 500),
    smallest_side: int = 1,
) -> list[Scale]:
    """Return the scales of a run, from coarse to fine.

    Coarse scales whose shorter side would be too small for the network are left out, with their
    iterations.

    Args:
        height: height of the content picture, in pixels.
        width: width of the content picture, in pixels.
        sizes: longest sides of the scales, in pixels, ascending.
        iterations: number of iterations at every scale, or a list whose last number is repeated
            (Crowson's program: 1000 at the first scale and 500 at each other).
        smallest_side: smallest side that the network takes, in pixels.

    Raises:
        OptionError: sizes do not ascend, there are more iterations than sizes, or even the
            largest size is too small.
    """
    if not sizes or any(b <= a for a, b in itertools.pairwise(sizes)) or sizes[0] < 1:
        raise OptionError("sizes", f"expected ascending sizes in pixels, got {list(sizes)}")
    counts = _counts(iterations, len(sizes))
    fitted = [fit(height, width, size) for size in sizes]
    kept = [
        (*size, count)
        for size, count in zip(fitted, counts, strict=True)
        if min(size) >= smallest_side
    ]
    if not kept:
        least = math.ceil(smallest_side * max(height, width) / min(height, width))
        raise OptionError(
            "size",
            f"{fitted[-1][1]} x {fitted[-1][0]} pixels are too small for the network, whose "
            f"smallest side is {smallest_side}: use a size of at least {least}, or fewer layers",
        )
    return [
        Scale(
            index=index + 1,
            scales=len(kept),
            height=rows,
            width=columns,
            iterations=count,
            before=sum(earlier for *_, earlier in kept[:index]),
        )
        for index, (rows, columns, count) in enumerate(kept)
    ]


def enlarge(image: Tensor, height: int, width: int) -> Tensor:
    """Scale the result of one scale to the size of the next: bicubic, clipped to [0, 1].

    Args:
        image: result of a scale, (1, 3, H, W), sRGB in [0, 1].
        height: new height, in pixels.
        width: new width, in pixels.
    """
    if image.shape[-2:] == (height, width):
        return image.detach().clamp(0, 1)
    # Bicubic weights overshoot; antialiasing matters only where a list of sizes goes down.
    whole = image.detach().to(where_complete(image.device))
    scaled = functional.interpolate(whole, size=(height, width), mode="bicubic", antialias=True)
    return torch.clamp(scaled, 0, 1).to(image.device)


def add_detail(image: Tensor, coarse: Tensor, fine: Tensor, share: float) -> Tensor:
    """Return the result of one scale at the next, with detail that the coarse scale did not show.

    Args:
        image: result of a scale, (1, 3, H, W), sRGB in [0, 1].
        coarse: a picture at that scale, (1, 3, H, W), likewise.
        fine: the same picture at the next scale, (1, 3, H', W').
        share: how much of what ``fine`` shows beyond ``coarse`` is added, 0 to 1.
    """
    size = fine.shape[-2:]
    if not share:
        return image
    detail = fine - enlarge(coarse, *size)
    return torch.clamp(enlarge(image, *size) + share * detail, 0, 1)


def widen(image: Tensor, margin: int) -> Tensor:
    """Return a picture or mask, (1, C, H, W), continued by its mirror image on all sides.

    Args:
        image: what is continued; where it is no larger than the margin, by its edge pixels.
        margin: width of what is added on each side, in pixels.
    """
    if margin == 0:
        return image
    mode = "reflect" if margin < min(image.shape[-2:]) else "replicate"
    return functional.pad(image, (margin,) * 4, mode=mode)


def _counts(iterations: int | Sequence[int], scales: int) -> list[int]:
    counts = [iterations] if isinstance(iterations, int) else list(iterations)
    if not counts or min(counts) < 1 or len(counts) > max(scales, 2):
        raise OptionError(
            "iterations",
            f"expected 1 to {scales} numbers of at least 1, one for each size, got {counts}",
        )
    return (counts + counts[-1:] * scales)[:scales]
