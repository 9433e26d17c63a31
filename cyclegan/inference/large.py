"""Translating a picture that is too large for the memory there is, a few rows at a time.

Padding, warping, the network, unwarping and rounding follow one another in strips of rows, so that
of the picture nothing is there as floating-point numbers but some rows; what is kept of the network
is what :mod:`~impasto.cyclegan.inference.strips` says. The results are those of
:class:`~impasto.cyclegan.inference.translator.Translator`, up to rounding.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.cyclegan.inference.bend import BENT_BORDER_PX, BentRows
from impasto.cyclegan.inference.maps import Affine, Computed, Map, Space
from impasto.cyclegan.inference.strips import Keep, StripGenerator
from impasto.data.tensors import reflected_places, to_bytes

__all__ = ["LargePlan", "LargeTranslator", "PutRows", "ReadRows", "scaled_rows"]

ReadRows = Callable[[int, int], NDArray[np.uint8]]
"""From the first row and the one after the last to RGB, (rows, W, 3), uint8."""

PutRows = Callable[[int, NDArray[np.uint8]], None]
"""Takes rows of a result, in their order: the number of the first, and RGB, (rows, W, 3), uint8."""

# Rows that are warped at a time; of the field of displacements, some rows more on both sides.
_BENT_ROWS = 64
# What Pillow's bicubic filter looks at on each side, in pixels of the smaller one of both pictures.
_BICUBIC_PX = 2


@dataclass(frozen=True, kw_only=True)
class LargePlan:
    """How a picture is translated that is too large to be translated at once.

    Attributes:
        keep: which layers are kept.
        resident: number of values of them that may be in memory; the rest is on disk.
        folder: folder for what is on disk; it exists.
        fast_px: longer side of a reduced copy of the picture whose statistics are taken for those
            of the picture, which is then passed once, and nothing of it kept; None: they are those
            of the whole picture.
    """

    keep: Keep
    resident: int
    folder: Path
    fast_px: int | None = None


class LargeTranslator:
    """Translates pictures of any size in rows.

    Args:
        strips: what computes the generator.
        stride: number of pixels of which the sides of its inputs must be multiples.
        smallest: smallest side of its inputs, in pixels.
        grid_bend_px: strength of the warp in pixels; 0: none.
        smallest_bent_px: sides from which pictures are warped, in pixels.
    """

    def __init__(
        self,
        strips: StripGenerator,
        *,
        stride: int,
        smallest: int,
        grid_bend_px: float,
        smallest_bent_px: int,
    ) -> None:
        self.strips = strips
        self._stride, self._smallest = stride, smallest
        self._bend_px, self._smallest_bent_px = grid_bend_px, smallest_bent_px

    def padded(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of what the network sees of a picture."""
        border = 2 * BENT_BORDER_PX if self._is_bent(height, width) else 0
        sides = (
            -(-max(side + border, self._smallest) // self._stride) * self._stride
            for side in (height, width)
        )
        high, wide = sides
        return high, wide

    def translate(
        self,
        read: ReadRows,
        put: PutRows,
        size: tuple[int, int],
        plan: LargePlan,
        *,
        scale: float = 1.0,
    ) -> bool:
        """Translate a picture.

        Args:
            read: gives rows of it, in order, more than once.
            put: takes rows of the result.
            size: height and width, in pixels.
            plan: what is kept, and where.
            scale: factor by which strokes become larger, at least 1: the network sees the picture
                reduced by it, and what it makes is enlarged.

        Returns:
            Whether all values were finite numbers.

        Raises:
            FolderError: there is no room on the disk.
        """
        small = max(1, round(size[0] / scale)), max(1, round(size[1] / scale))
        if small == size:
            return self._translate(read, put, size, plan)
        seen = scaled_rows(read, size, small, 0, small[0])
        made = np.empty_like(seen)

        def keep(start: int, rows: NDArray[np.uint8]) -> None:
            made[start : start + len(rows)] = rows

        finite = self._translate(lambda start, stop: seen[start:stop], keep, small, plan)
        for start in range(0, size[0], _BENT_ROWS):
            stop = min(start + _BENT_ROWS, size[0])
            put(start, scaled_rows(lambda first, last: made[first:last], small, size, start, stop))
        return finite

    def _translate(
        self, read: ReadRows, put: PutRows, size: tuple[int, int], plan: LargePlan
    ) -> bool:
        known = None if plan.fast_px is None else self._known(read, size, plan.fast_px)
        image, straight = self._input(read, size), _Straight(put, *size)
        if self._is_bent(*size):
            straight.bent = self._bent(*size)
        straight.places = self._inside(*size)
        keep: Keep = plan.keep if known is None else "none"
        floats = self.strips.map_floats(image.height, image.width, keep=keep)
        with Space(floats, resident=plan.resident, folder=plan.folder) as space:
            self.strips.translate(image, straight.add, space=space, keep=keep, known=known)
        return straight.finite

    def _is_bent(self, height: int, width: int) -> bool:
        return self._bend_px > 0 and min(height, width) >= self._smallest_bent_px

    def _bent(self, height: int, width: int) -> BentRows:
        return BentRows(height, width, strength_px=self._bend_px)

    def _inside(self, height: int, width: int) -> tuple[slice, slice]:
        """Return where the picture, with the border of the warp, lies in what the network sees."""
        border = 2 * BENT_BORDER_PX if self._is_bent(height, width) else 0
        places = []
        for side in (height + border, width + border):
            start = reflected_places(side, self._stride, self._smallest)[1]
            places.append(slice(start, start + side))
        return places[0], places[1]

    def _input(self, read: ReadRows, size: tuple[int, int]) -> Map:
        """Return what the network sees of a picture, with rows and columns added by reflection."""
        height, width = size
        source: Callable[[int, int], Tensor] = partial(_float_rows, read)
        if self._is_bent(*size):
            source = partial(_bent_rows, source, self._bent(*size), height)
            height, width = height + 2 * BENT_BORDER_PX, width + 2 * BENT_BORDER_PX
        rows, _ = reflected_places(height, self._stride, self._smallest)
        columns, _ = reflected_places(width, self._stride, self._smallest)

        def make(start: int, stop: int) -> Tensor:
            made = _picked(source, rows[start:stop])
            made = made if len(columns) == width else made.index_select(3, columns)
            return made.contiguous(memory_format=torch.channels_last)

        return Computed(make, height=len(rows), width=len(columns), channels=3, step=_BENT_ROWS)

    def _known(self, read: ReadRows, size: tuple[int, int], longest_px: int) -> Sequence[Affine]:
        """Return what the layers' normalizations do to a reduced copy of a picture."""
        scale = max(1.0, max(size) / longest_px)
        small = max(1, round(size[0] / scale)), max(1, round(size[1] / scale))
        reduced = scaled_rows(read, size, small, 0, small[0])
        image = self._input(lambda start, stop: reduced[start:stop], small)
        space = Space(self.strips.map_floats(image.height, image.width))
        return self.strips.translate(image, lambda _start, _rows: None, space=space)


class _Straight:
    """Takes rows of what the network made, unwarps and rounds them."""

    def __init__(self, put: PutRows, height: int, width: int) -> None:
        self._put, self._height, self._width = put, height, width
        self.bent: BentRows | None = None
        self.places = slice(0, height), slice(0, width)
        self.finite = True
        self._rows: list[Tensor] = []
        self._first = self._have = self._done = 0

    def add(self, start: int, rows: Tensor) -> None:
        """Take rows, (3, n, W), of which some at the borders may not belong to the picture."""
        inside, columns = self.places
        first, last = max(start, inside.start), min(start + rows.shape[1], inside.stop)
        if first >= last:
            return
        rows = rows[None, :, first - start : last - start, columns]
        self.finite = self.finite and bool(torch.isfinite(rows).all())
        if self.bent is None:
            self._put(first - inside.start, to_bytes(rows)[0].numpy())
            return
        self._rows.append(rows.clone())
        self._have += last - first
        while self._done < self._height:
            stop = min(self._done + _BENT_ROWS, self._height)
            above, below = self.bent.around(self._done + BENT_BORDER_PX, stop + BENT_BORDER_PX)
            if below > self._have:
                break
            there = torch.cat(self._rows, dim=2)[:, :, above - self._first :]
            self._rows, self._first = [there], above
            made = self.bent.straighten(
                there[:, :, : below - above], self._done + BENT_BORDER_PX, stop + BENT_BORDER_PX
            )
            self._put(self._done, to_bytes(made.clamp_(-1, 1))[0].numpy())
            self._done = stop


def _float_rows(read: ReadRows, start: int, stop: int) -> Tensor:
    """Return rows of a picture as numbers in [-1, 1], (1, 3, rows, W)."""
    rows = torch.from_numpy(np.array(read(start, stop))).to(torch.float32)
    return rows.div_(127.5).sub_(1.0).permute(2, 0, 1)[None]


def _bent_rows(
    source: Callable[[int, int], Tensor], bent: BentRows, height: int, start: int, stop: int
) -> Tensor:
    """Return rows of a warped picture, (1, 3, rows, W + 40)."""
    first, last = bent.around(start, stop)
    places = (torch.arange(first, last) - BENT_BORDER_PX).abs()
    places = torch.where(places >= height, 2 * (height - 1) - places, places)
    rows = _picked(source, places)
    rows = torch.nn.functional.pad(rows, (BENT_BORDER_PX, BENT_BORDER_PX, 0, 0), mode="reflect")
    return bent.bend(rows, start, stop)


def _picked(source: Callable[[int, int], Tensor], places: Tensor) -> Tensor:
    """Return some rows, which lie near one another."""
    first, last = int(places.min()), int(places.max()) + 1
    rows = source(first, last)
    if len(places) == last - first and int(places[0]) == first and int(places[-1]) == last - 1:
        return rows
    return rows.index_select(2, places - first)


def scaled_rows(
    read: ReadRows, size: tuple[int, int], target: tuple[int, int], start: int, stop: int
) -> NDArray[np.uint8]:
    """Return rows of a picture that is scaled, reading only what they are made of.

    Args:
        read: gives rows of the picture.
        size: its height and width, in pixels.
        target: height and width of the scaled picture, in pixels.
        start: first row of the scaled picture.
        stop: row after the last one.

    Returns:
        RGB, (stop - start, width, 3), uint8, as Pillow's bicubic filter makes them of the whole.
    """
    made = np.empty((stop - start, target[1], 3), np.uint8)
    ratio = size[0] / target[0]
    around = _BICUBIC_PX * max(ratio, 1.0) + 1
    rows = max(1, round(_BENT_ROWS / max(ratio, 1.0)))
    for first in range(start, stop, rows):
        last = min(first + rows, stop)
        above = max(0, int(first * ratio - around))
        below = min(size[0], int(last * ratio + around) + 1)
        part = Image.fromarray(np.ascontiguousarray(read(above, below)))
        box = (0.0, first * ratio - above, float(size[1]), last * ratio - above)
        scaled = part.resize((target[1], last - first), Image.Resampling.BICUBIC, box=box)
        made[first - start : last - start] = np.asarray(scaled)
    return made
