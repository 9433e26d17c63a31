"""Warping pictures before the network and unwarping them after it, at once or in rows.

So patterns that a network repeats along its pixel grid do not line up in the result.
"""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.options.fields import MOST_BENT_PX
from impasto.runs.devices import where_complete

__all__ = [
    "BENT_BORDER_PX",
    "EVERY_PX",
    "ITERATIONS",
    "LENGTH_PX",
    "REFINEMENTS",
    "BentGrid",
    "BentRows",
    "EndlessGrid",
    "bend_factor",
    "draw_places",
]

LENGTH_PX = 28
"""Distance, in pixels, over which displacements go from one value to another one."""

BENT_BORDER_PX = 20
"""About twice the largest displacement found in fields of 100 megapixels: there, and back."""

# Standard deviation that bicubic interpolation leaves of independent values, in two dimensions.
_KEPT = 0.86
# Each takes away about a fifth of the error or more. Most of them are made on every fourth pixel:
# on all of them, they would take longer than the generator.
ITERATIONS = 30
"""Fixed-point iterations of the inverse, on some of its pixels."""

EVERY_PX = 4
"""Distance of those pixels."""

REFINEMENTS = 2
"""Iterations on all pixels, after those."""

_SEED = 0
# Of a field that repeats itself: how many random values there are on a side, and how many of the
# other end are put around them, so that displacements on both ends know each other.
_ENDLESS, _AROUND = 32, 3


class BentGrid:
    """A smooth random field of displacements, and its inverse.

    A generator with strides repeats its patterns at fixed positions of its grid, for example every
    four pixels, which is visible as rows of dots. If the picture is warped before the generator and
    unwarped after it, its contents return to their places, while the grid remains warped: its
    patterns are no longer aligned, and look like strokes (the idea is that of jittered sampling,
    Cook 1986). The field depends only on the size, so equal pictures have equal results. Its
    values are bounded: in fields of 100 megapixels it folded nowhere at 3.5 px.

    Args:
        height: height of the pictures, in pixels, more than 20.
        width: width of the pictures, in pixels, more than 20.
        strength_px: standard deviation of the displacements, in pixels, at most 3.5; 3 suits a grid
            of 4 px.
        device: device that computes.

    Raises:
        ValueError: ``strength_px`` is not within 0 to 3.5.
    """

    def __init__(
        self, height: int, width: int, *, strength_px: float, device: torch.device
    ) -> None:
        high, wide = (side + 2 * BENT_BORDER_PX for side in (height, width))
        coarse = _drawn(high, wide, strength_px).to(where_complete(device))
        self._there = _enlarged(coarse, LENGTH_PX)[:, :, :high, :wide] * bend_factor(strength_px)
        self._back = _inverse(self._there)

    @classmethod
    def of(cls, there: Tensor, back: Tensor) -> Self:
        """Return the grid of two fields of displacements, (1, 2, H + 40, W + 40) in pixels."""
        grid = cls.__new__(cls)
        vars(grid).update(_there=there, _back=back)
        return grid

    def bend(self, images: Tensor) -> Tensor:
        """Return warped pictures with 20 mirrored pixels on each side: (N, C, H + 40, W + 40)."""
        return _sample(F.pad(images, [BENT_BORDER_PX] * 4, mode="reflect"), self._there)

    def straighten(self, bent: Tensor) -> Tensor:
        """Undo :meth:`bend`, up to twofold bicubic interpolation: (N, C, H, W)."""
        inside = slice(BENT_BORDER_PX, -BENT_BORDER_PX)
        return _sample(bent, self._back)[:, :, inside, inside]


class EndlessGrid:
    """Displacements like those of a :class:`BentGrid` that repeat themselves after 896 pixels.

    Frames of a film see the part of it where they are in the scene.

    Args:
        strength_px: standard deviation of the displacements, in pixels, at most 3.5.
        device: device that computes.
    """

    def __init__(self, strength_px: float, device: torch.device) -> None:
        generator = torch.Generator().manual_seed(_SEED)
        coarse = torch.rand(1, 2, _ENDLESS, _ENDLESS, generator=generator) * 2 - 1
        coarse = F.pad(coarse.to(where_complete(device)), [_AROUND] * 4, mode="circular")
        there = _enlarged(coarse, LENGTH_PX) * bend_factor(strength_px)
        self._side = _ENDLESS * LENGTH_PX
        inside = slice(_AROUND * LENGTH_PX, _AROUND * LENGTH_PX + self._side)
        self._fields = [field[:, :, inside, inside] for field in (there, _inverse(there))]

    def at(self, height: int, width: int, origin_px: tuple[int, int]) -> BentGrid:
        """Return the part for frames of a size whose first pixel lies at a place of the scene."""
        device, around = self._fields[0].device, 2 * BENT_BORDER_PX
        rows, columns = (
            (torch.arange(side + around, device=device) + start) % self._side
            for side, start in zip((height, width), origin_px, strict=True)
        )
        return BentGrid.of(*(field[:, :, rows[:, None], columns] for field in self._fields))


def _drawn(high: int, wide: int, strength_px: float) -> Tensor:
    """Return displacements of every so many pixels, in [-1, 1], for a picture with its border."""
    if not 0 <= strength_px <= MOST_BENT_PX:
        raise ValueError(f"strength_px: expected 0 to {MOST_BENT_PX}, got {strength_px}")
    places = (high // LENGTH_PX + 2, wide // LENGTH_PX + 2)
    return draw_places(2 * places[0] * places[1]).view(1, 2, *places) * 2 - 1


def draw_places(count: int) -> Tensor:
    """Return the first random numbers of every field: (count,), float32 in [0, 1)."""
    return torch.rand(count, generator=torch.Generator().manual_seed(_SEED))


def bend_factor(strength_px: float) -> float:
    """Return by what interpolated numbers in [-1, 1] are multiplied for a strength, in pixels."""
    # Even values in [-1, 1] have a standard deviation of 1 / sqrt(3).
    return strength_px * 3**0.5 / _KEPT


def _enlarged(coarse: Tensor, factor: int) -> Tensor:
    return F.interpolate(coarse, scale_factor=factor, mode="bicubic", align_corners=False)


class BentRows:
    """What :class:`BentGrid` does, of a few rows at a time, in little memory; on the processor.

    The results are the same up to rounding.

    Args:
        height: height of the picture, in pixels, more than 20.
        width: width of the picture, in pixels, more than 20.
        strength_px: standard deviation of the displacements, in pixels, at most 3.5.
    """

    def __init__(self, height: int, width: int, *, strength_px: float) -> None:
        self.height, self.width = height + 2 * BENT_BORDER_PX, width + 2 * BENT_BORDER_PX
        self._coarse = _drawn(self.height, self.width, strength_px)
        self._factor = bend_factor(strength_px)

    def around(self, start: int, stop: int) -> tuple[int, int]:
        """Return the first row and the one after the last that some rows look at."""
        return max(0, start - BENT_BORDER_PX), min(self.height, stop + BENT_BORDER_PX)

    def bend(self, rows: Tensor, start: int, stop: int) -> Tensor:
        """Return rows of the warped picture, (1, 3, stop - start, W + 40).

        Args:
            rows: rows :meth:`around` them of the picture with 20 mirrored pixels on each side,
                (1, 3, n, W + 40).
            start: first row, of the picture with its border.
            stop: row after the last one.
        """
        first = self.around(start, stop)[0]
        return _sample(rows, self._there(start, stop), top=start - first)

    def straighten(self, bent: Tensor, start: int, stop: int) -> Tensor:
        """Return rows of the picture, (1, 3, stop - start, W), of those of the warped one.

        Args:
            bent: rows :meth:`around` them of the warped picture, (1, 3, n, W + 40).
            start: first row, of the picture with its border.
            stop: row after the last one.
        """
        first = self.around(start, stop)[0]
        made = _sample(bent, self._back(start, stop), top=start - first)
        return made[..., BENT_BORDER_PX:-BENT_BORDER_PX]

    def _there(self, start: int, stop: int) -> Tensor:
        """Return rows of displacements, (1, 2, stop - start, W + 40)."""
        return _enlarged_rows(self._coarse, LENGTH_PX, start, stop, self.width) * self._factor

    def _back(self, start: int, stop: int) -> Tensor:
        """Return rows of the displacements that lead back, (1, 2, stop - start, W + 40)."""
        last = -(-self.height // EVERY_PX)
        high, low = max(0, start // EVERY_PX - 3), min(last, -(-stop // EVERY_PX) + 3)
        first, end = self.around(high * EVERY_PX, low * EVERY_PX)
        there = self._there(first, end)
        back = there.new_zeros(1, 2, low - high, -(-self.width // EVERY_PX))
        for _ in range(ITERATIONS):
            back = -_sample(there, back, every_px=EVERY_PX, top=high * EVERY_PX - first)
        top = high * EVERY_PX
        fine = _enlarged_rows(back, EVERY_PX, start - top, stop - top, self.width)
        for _ in range(REFINEMENTS):
            fine = -_sample(there, fine, top=start - first)
        return fine


def _enlarged_rows(coarse: Tensor, factor: int, start: int, stop: int, width: int) -> Tensor:
    """Return rows of what is enlarged by a factor, of which four rows are a function."""
    first, last = max(0, start // factor - 3), min(coarse.shape[2], (stop - 1) // factor + 4)
    fine = _enlarged(coarse[:, :, first:last], factor)
    return fine[:, :, start - first * factor : stop - first * factor, :width]


def _inverse(there: Tensor) -> Tensor:
    """Return the displacements that lead back."""
    height, width = there.shape[2:]
    back = there.new_zeros(1, 2, -(-height // EVERY_PX), -(-width // EVERY_PX))
    for _ in range(ITERATIONS):
        back = -_sample(there, back, every_px=EVERY_PX)
    fine = _enlarged(back, EVERY_PX)[:, :, :height, :width]
    for _ in range(REFINEMENTS):
        fine = -_sample(there, fine)
    return fine


def _sample(images: Tensor, displacements: Tensor, *, every_px: int = 1, top: int = 0) -> Tensor:
    """Look at every so many places plus their displacements, (1, 2, h, w) in pixels: x, then y.

    The first row of places lies in the row ``top`` of the images.

    Where the displacements are, which is not where the images are if that device cannot do this.
    """
    device, images = images.device, images.to(displacements.device)
    height, width = images.shape[2:]
    rows, columns = (
        torch.arange(side, device=images.device, dtype=images.dtype) * every_px + (every_px - 1) / 2
        for side in displacements.shape[2:]
    )
    x = (columns + displacements[:, 0]) * 2 / max(width - 1, 1) - 1
    y = (rows[:, None] + top + displacements[:, 1]) * 2 / max(height - 1, 1) - 1
    places = torch.stack([x, y], dim=-1).expand(len(images), -1, -1, -1)
    return F.grid_sample(
        images, places, mode="bicubic", padding_mode="reflection", align_corners=True
    ).to(device)
