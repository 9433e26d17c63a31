"""Photographs in memory, as bytes, from which batches of crops are cut.

A step of a small network takes milliseconds on a GPU, less than it takes to read a file. So all
photographs are read and scaled once, and a batch costs copies of some rows.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.data.decode import read_picture
from impasto.data.fingerprints import describe_changes, fingerprint
from impasto.data.standardize import fill_hidden
from impasto.data.transforms import resize
from impasto.options.errors import FolderError, PictureError

__all__ = ["CropLoader", "Crops", "Photographs", "read_photographs"]

Rgb = NDArray[np.uint8]

_log = logging.getLogger(__name__)

# Multiples of it, without their whole parts, are spread evenly however many there are.
_GOLDEN = 0.6180339887498949


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Photographs in memory.

    Attributes:
        pictures: RGB, (H, W, 3), uint8, each of its own size.
        paths: their files, in the same order.
        unreadable: files that were skipped, with the reasons.
    """

    pictures: Sequence[Rgb]
    paths: Sequence[Path]
    unreadable: Mapping[Path, str]


def read_photographs(
    paths: Sequence[Path], *, smallest: int, largest: int, threads: int
) -> Photographs:
    """Read photographs and scale them to shorter sides that are spread evenly between two sizes.

    Args:
        paths: files.
        smallest: smallest shorter side, in pixels.
        largest: largest shorter side, in pixels.
        threads: number of threads.

    Raises:
        FolderError: none of them can be read.
    """

    def read(place: int) -> Rgb | PictureError:
        path = paths[place]
        side = smallest + round((largest - smallest) * (place * _GOLDEN % 1))
        try:
            rgb = fill_hidden(read_picture(path))
            scale = side / min(rgb.shape[:2])
            height, width = (max(side, round(length * scale)) for length in rgb.shape[:2])
            return np.ascontiguousarray(resize(rgb, height, width))
        except PictureError as error:
            return error
        except ValueError as error:
            return PictureError(path, str(error))

    with ThreadPoolExecutor(threads) as pool:
        found = list(pool.map(read, range(len(paths))))
    unreadable = {
        path: one.reason
        for path, one in zip(paths, found, strict=True)
        if isinstance(one, PictureError)
    }
    pairs = [
        (path, one)
        for path, one in zip(paths, found, strict=True)
        if not isinstance(one, PictureError)
    ]
    if not pairs:
        reason = next(iter(unreadable.values()), "there are none")
        raise FolderError(
            paths[0].parent if paths else Path(), f"no photograph can be read; the first: {reason}"
        )
    return Photographs(
        pictures=[picture for _, picture in pairs],
        paths=[path for path, _ in pairs],
        unreadable=unreadable,
    )


@dataclass(frozen=True, kw_only=True)
class Crops:
    """A batch of crops.

    Attributes:
        pixels: RGB, (N, S, S, 3), uint8, on the CPU; page-locked for a GPU.
    """

    pixels: Tensor

    def to(self, device: torch.device) -> Tensor:
        """Return them on a device, RGB, (N, 3, S, S), float32 in [-1, 1], without waiting."""
        moved = self.pixels.to(device, non_blocking=True).permute(0, 3, 1, 2)
        images = moved.to(torch.float32, memory_format=torch.contiguous_format)
        return images.div_(127.5).sub_(1.0)


class CropLoader:
    """Yields batches of random crops, half of them mirrored; each epoch shows each photograph once.

    An epoch ends with a whole batch, for which its first photographs are shown again.

    Args:
        photographs: photographs, each with sides of at least ``size`` pixels.
        size: side of the crops, in pixels.
        batch_size: number of crops in a batch.
        generator: source of randomness, on the CPU.
        pin_memory: put batches into page-locked memory, for a GPU.

    Attributes:
        stop: never asked, since no batch is waited for.
    """

    def __init__(
        self,
        photographs: Photographs,
        *,
        size: int,
        batch_size: int,
        generator: torch.Generator,
        pin_memory: bool = False,
    ) -> None:
        self._photographs, self._size, self._batch = photographs, size, batch_size
        self._generator, self._pinned = generator, pin_memory
        self._position = 0
        self._order: Tensor = torch.empty(0, dtype=torch.int64)
        self._files = fingerprint(photographs.paths, None)
        self.stop = lambda: False

    @property
    def global_batch(self) -> int:
        """Number of crops in a batch."""
        return self._batch

    @property
    def epoch_images(self) -> int:
        """Number of crops per epoch."""
        return -(-len(self._photographs.pictures) // self._batch) * self._batch

    @property
    def position(self) -> int:
        """Number of crops of this epoch that were used."""
        return self._position

    @property
    def unreadable(self) -> Mapping[Path, str]:
        """Photographs that were skipped, with the reasons."""
        return self._photographs.unreadable

    def close(self) -> None:
        """Do nothing: no process loads."""

    def __iter__(self) -> Iterator[Crops]:
        """Yield the rest of the epoch (nothing, if it was saved at its very end), then go on."""
        count = len(self._photographs.pictures)
        while self._position < self.epoch_images:
            if self._position == 0:
                self._order = torch.randperm(count, generator=self._generator)
            places = range(self._position, self._position + self._batch)
            batch = self._cut([int(self._order[place % count]) for place in places])
            self._position += self._batch
            yield batch
        self._position = 0

    def middles(self, count: int) -> Crops:
        """Return the middles of the first photographs, for previews."""
        pictures = self._photographs.pictures[:count]
        cut = []
        for rgb in pictures:
            top, left = ((side - self._size) // 2 for side in rgb.shape[:2])
            cut.append(rgb[top : top + self._size, left : left + self._size])
        return Crops(pixels=torch.from_numpy(np.stack(cut)))

    def state_dict(self) -> dict[str, Any]:
        """Return the position, the order, the random generator and what identifies the files."""
        return {
            "position": self._position,
            "order": self._order,
            "generator": self._generator.get_state(),
            "files": self._files,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state; warn where the files are no longer those of that state."""
        self._position, self._order = state["position"], state["order"]
        self._generator.set_state(state["generator"])
        changes = describe_changes({"photographs": state["files"]}, {"photographs": self._files})
        if changes:
            _log.warning(
                "the pictures changed since the state was saved: %s. The training goes on with "
                "those that are there now, so it is not exactly the run that it would have been",
                changes,
            )
        if len(self._order) not in {0, len(self._photographs.pictures)}:
            self._position = 0  # the order is that of others

    def _cut(self, indices: Sequence[int]) -> Crops:
        """Cut a random crop out of each of some photographs."""
        size = self._size
        drawn = torch.rand(len(indices), 3, generator=self._generator).tolist()
        batch = torch.empty(
            (len(indices), size, size, 3), dtype=torch.uint8, pin_memory=self._pinned
        )
        into = batch.numpy()
        for place, (index, (down, right, flip)) in enumerate(zip(indices, drawn, strict=True)):
            rgb = self._photographs.pictures[index]
            top = int(down * (rgb.shape[0] - size + 1))
            left = int(right * (rgb.shape[1] - size + 1))
            crop = rgb[top : top + size, left : left + size]
            into[place] = crop[:, ::-1] if flip < 0.5 else crop
        return Crops(pixels=batch)
