"""Where the values of a layer are while a picture is translated: in memory, on disk, or nowhere.

What is kept of a layer lies in one block of memory, of which each layer takes the place that the
one before it frees row by row. What of it is beyond the memory that may be taken lies in a
temporary file. A layer that is not kept is computed anew, in few rows at a time, by whoever reads
it.
"""

import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from impasto.data.atomic import is_disk_full
from impasto.options.errors import FolderError, ImpastoError
from impasto.runs.memory import gigabytes

__all__ = [
    "FLOAT_BYTES",
    "GAP_ROWS",
    "Affine",
    "Computed",
    "Map",
    "Moments",
    "Source",
    "Space",
    "StoredMap",
    "affine_of",
    "changed",
    "needs_moments",
    "row_strips",
    "strip_rows",
]

FLOAT_BYTES = 4
# What a strip makes, in bytes for each thread: of the size of a core's cache.
_STRIP_BYTES = 2**21
# Strips begin at multiples of it: more than any layer pads, and what tiles of Winograd need.
_EVEN_ROWS = 4
# Fewer are computed in more time, for of each strip some rows of its neighbors are computed, too;
# twice as many, where rows are so wide, let the tiles of Winograd leave the cache: 1.8, 1.6, 2.4 s.
_LEAST_ROWS = 8
# Rows of a map that may still be read once a later strip of the layer behind it was written.
GAP_ROWS = 4

Source = Callable[[int, int], Tensor]
"""Gives the rows from the first to before the last one, (1, C, rows, W)."""

Affine = tuple[Tensor | None, Tensor | None]
"""Factors and terms of the channels, (C,) each, by which a normalization changes them, or None."""


def row_strips(height: int, row_floats: int) -> Iterator[tuple[int, int]]:
    """Yield first and last row of strips that fit into the cache.

    Args:
        height: number of rows of all strips together.
        row_floats: number of values of a row.
    """
    rows = strip_rows(row_floats)
    for start in range(0, height, rows):
        yield start, min(start + rows, height)


def strip_rows(row_floats: int) -> int:
    """Return how many rows of so many values fit into the cache, a multiple of 4, at least 8."""
    budget = _STRIP_BYTES * torch.get_num_threads() // (row_floats * FLOAT_BYTES)
    return max(budget // _EVEN_ROWS * _EVEN_ROWS, _LEAST_ROWS)


class Space:
    """Room for so many values, which goes on at its beginning where it ends.

    Args:
        floats: number of values.
        resident: how many of them may lie in memory; the rest lies in a file. None: all.
        folder: where the file is made, which no other program sees and which is gone when this one
            ends, in whatever way (on Windows and POSIX).
        block: memory to use, float32, at least ``resident`` values; None: it is taken.

    Raises:
        FolderError: there is no room for the file.
    """

    def __init__(
        self,
        floats: int,
        *,
        resident: int | None = None,
        folder: Path | None = None,
        block: Tensor | None = None,
    ) -> None:
        self._floats = floats
        self._resident = floats if resident is None else min(floats, resident)
        self._folder = folder
        if block is None or len(block) < self._resident:
            block = torch.empty(self._resident, dtype=torch.float32, device="cpu")
        self.block = block
        self._file: Any = None
        if self._resident < floats:
            self._file = self._opened()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_reason: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def floats(self) -> int:
        """Number of values."""
        return self._floats

    def read(self, place: int, count: int) -> Tensor:
        """Return values, (count,): a view where they lie in memory one after the other."""
        parts = list(self._parts(place, count))
        if len(parts) == 1 and parts[0][1] <= self._resident:
            return self.block[slice(*parts[0])]
        values = torch.empty(count, dtype=torch.float32)
        at = 0
        for start, stop in parts:
            part = values[at : at + stop - start]
            if stop <= self._resident:
                part.copy_(self.block[start:stop])
            else:
                self._load(start, part)
            at += stop - start
        return values

    def write(self, place: int, values: Tensor) -> None:
        """Put values in their places.

        Args:
            place: place of the first value.
            values: (rows, W, C), in any order in memory.

        Raises:
            FolderError: the disk is full.
        """
        parts = list(self._parts(place, values.numel()))
        if len(parts) == 1 and parts[0][1] <= self._resident:
            self.block[slice(*parts[0])].view(values.shape).copy_(values)
            return
        flat = values.contiguous().view(-1)
        at = 0
        for start, stop in parts:
            part = flat[at : at + stop - start]
            if stop <= self._resident:
                self.block[start:stop] = part
            else:
                self._save(start, part)
            at += stop - start

    def _parts(self, place: int, count: int) -> Iterator[tuple[int, int]]:
        """Yield where values lie, in pieces that are all in memory or all in the file."""
        place %= self._floats
        while count:
            end = self._resident if place < self._resident else self._floats
            stop = min(place + count, end)
            yield place, stop
            count -= stop - place
            place = stop % self._floats

    def _opened(self) -> Any:
        try:
            return tempfile.TemporaryFile(buffering=0, dir=self._folder, prefix=".impasto-")
        except OSError as error:
            raise self._explained(error) from error

    def _load(self, start: int, values: Tensor) -> None:
        left = values.numpy().data.cast("B")
        self._file.seek((start - self._resident) * FLOAT_BYTES)
        while left:
            count = self._file.readinto(left)
            if not count:
                raise ImpastoError("the temporary file of a picture's features was cut short")
            left = left[count:]

    def _save(self, start: int, values: Tensor) -> None:
        left = values.numpy().data.cast("B")
        try:
            self._file.seek((start - self._resident) * FLOAT_BYTES)
            while left:
                left = left[self._file.write(left) :]
        except OSError as error:
            raise self._explained(error) from error

    def _explained(self, error: OSError) -> Exception:
        needed = gigabytes((self._floats - self._resident) * FLOAT_BYTES)
        folder = self._folder or Path(tempfile.gettempdir())
        what = "the disk is full" if is_disk_full(error) else str(error.strerror or error).lower()
        return FolderError(
            folder,
            f"{what}: features of a picture need up to {needed} there, which do not fit into "
            "memory; free some space, or give more --memory",
        )


class Map:
    """The values of a layer as the next one sees them.

    Attributes:
        height: number of rows.
        width: number of columns.
        channels: number of channels.
    """

    height: int
    width: int
    channels: int

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows, (1, C, stop - start, W)."""
        raise NotImplementedError

    def again(self) -> "Map":
        """Return the same map, to be read from the first row while this one is being read."""
        return self


@dataclass(frozen=True, kw_only=True)
class StoredMap(Map):
    """The bare values of a layer, and what is to be done to them when they are read.

    Attributes:
        space: where they are kept.
        place: place of the first of them, (H, W, C).
        height: number of rows.
        width: number of columns.
        channels: number of channels.
        affine: factors and terms of the channels.
        relu: whether negative values count as 0.
    """

    space: Space
    place: int
    height: int
    width: int
    channels: int
    affine: Affine = (None, None)
    relu: bool = False

    @property
    def row_floats(self) -> int:
        """Number of values of a row."""
        return self.width * self.channels

    @property
    def floats(self) -> int:
        """Number of all values."""
        return self.height * self.row_floats

    def values(self, start: int, stop: int) -> Tensor:
        """Return rows of the bare values, (stop - start, W, C), which are not to be changed."""
        size = self.row_floats
        values = self.space.read(self.place + start * size, (stop - start) * size)
        return values.view(stop - start, self.width, self.channels)

    def write(self, start: int, values: Tensor) -> None:
        """Put rows of bare values in their place, (rows, W, C)."""
        self.space.write(self.place + start * self.row_floats, values)

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows as the next layer sees them, (1, C, stop - start, W)."""
        return changed(self.values(start, stop), self.affine, self.relu).permute(2, 0, 1)[None]


def changed(values: Tensor, affine: Affine, relu: bool) -> Tensor:
    """Return values, (..., C), after a normalization and a ReLU; the same ones if there is none."""
    scale, shift = affine
    if scale is not None and shift is not None:
        values = torch.addcmul(shift, values, scale)
    elif relu:
        values = values.clone()
    return values.relu_() if relu else values


class Computed(Map):
    """A map that is computed when it is read, of which a few rows are kept.

    Rows are read from the first to the last; what was read long ago is computed anew.

    Args:
        make: from the first and the last row to rows, (1, C, rows, W).
        height: number of rows.
        width: number of columns.
        channels: number of channels.
        step: number of rows that are computed at a time, a multiple of 4.
        behind: number of rows before those that were read last that are kept, too.
    """

    def __init__(
        self,
        make: Source,
        *,
        height: int,
        width: int,
        channels: int,
        step: int,
        behind: int = 0,
    ) -> None:
        self.height, self.width, self.channels = height, width, channels
        self._make, self._step, self._behind = make, step, behind
        self._parts: dict[int, Tensor] = {}
        self._oldest = 0

    def again(self) -> "Computed":
        """Return the same map, to be read from the first row while this one is being read."""
        return Computed(
            self._make,
            height=self.height,
            width=self.width,
            channels=self.channels,
            step=self._step,
            behind=self._behind,
        )

    def rows(self, start: int, stop: int) -> Tensor:
        """Return rows, (1, C, stop - start, W)."""
        step = self._step
        first, last = start // step, -(-stop // step)
        if first < self._oldest:  # another pass
            self._parts.clear()
            self._oldest = 0
        found = [self._part(number) for number in range(first, last)]
        self._oldest = max(self._oldest, (start - self._behind) // step)
        for number in [number for number in self._parts if number < self._oldest]:
            del self._parts[number]
        rows = found[0] if len(found) == 1 else torch.cat(found, dim=2)
        return rows[:, :, start - first * step : stop - first * step]

    def _part(self, number: int) -> Tensor:
        part = self._parts.get(number)
        if part is None:
            start = number * self._step
            part = self._make(start, min(start + self._step, self.height))
            self._parts[number] = part
        return part


class Moments:
    """Means and variances of channels, of which strips are added one by one.

    Those of each strip are computed around its own means and joined in 64 bits (Chan et al. 1979).
    """

    def __init__(self, channels: int) -> None:
        self._count = 0
        self._means = torch.zeros(channels, dtype=torch.float64)
        self._squares = torch.zeros(channels, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Add values, (n, C)."""
        count, rows = len(values), values.t()[None, :, :, None]
        means, variances = torch.batch_norm_update_stats(rows, None, None, 0.0)
        whole, moved = self._count + count, means.double() - self._means
        self._squares += variances.double() * count
        self._squares += moved.square() * (self._count * count / whole)
        self._means += moved * (count / whole)
        self._count = whole

    def result(self, groups: int | None) -> tuple[Tensor, Tensor]:
        """Return means and variances, (C,), over all channels of a group; None: of each alone."""
        groups = len(self._means) if groups is None else groups
        size = len(self._means) // groups
        means = self._means.view(groups, size).mean(dim=1).repeat_interleave(size)
        variances = self._squares / self._count + (self._means - means).square()
        return means, variances.view(groups, size).mean(dim=1).repeat_interleave(size)


def needs_moments(norm: nn.Module | None) -> bool:
    """Whether a normalization follows the values of each picture."""
    of_picture = getattr(norm, "of_picture", False)
    return of_picture or isinstance(norm, nn.InstanceNorm2d | nn.GroupNorm)


def affine_of(norm: Any, moments: Moments) -> Affine:
    """Return by which factors and terms a normalization changes the channels, (C,) each."""
    if norm is None:
        return None, None
    if isinstance(norm, nn.BatchNorm2d) and not needs_moments(norm):
        statistics: Any = norm
        means, variances = statistics.running_mean.double(), statistics.running_var.double()
    else:
        means, variances = moments.result(getattr(norm, "num_groups", None))
    scale = (variances + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -means * scale if norm.bias is None else norm.bias.double() - means * scale
    return scale.float(), shift.float()
