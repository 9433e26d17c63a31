"""Translating pictures of any size with a trained generator; size out = size in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Self

import torch
from torch import Tensor

from impasto.cyclegan.architecture import Generator
from impasto.cyclegan.bent_grid import BentGrid
from impasto.cyclegan.weights import LoadedGenerator
from impasto.data.tensors import check_images, pad_to_multiple

__all__ = ["Translator"]

_SMALLEST_BENT_PX = 64
_PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Translator:
    """Applies a generator to images of any size.

    Images are padded by reflection to the generator's stride and cropped back.

    Args:
        generator: the network; put on ``device`` and into evaluation mode.
        device: where to compute.
        mixed_precision: ``no``, ``fp16`` or ``bf16``.
        grid_bend_px: how far pictures are bent, see :class:`~impasto.cyclegan.bent_grid.BentGrid`;
            0 leaves them straight. Those below 64 pixels always stay so.
    """

    def __init__(
        self,
        generator: Generator,
        *,
        device: torch.device,
        mixed_precision: str = "no",
        grid_bend_px: float = 0.0,
    ) -> None:
        self._generator = generator.to(device).eval()
        self._device = device
        self._precision = _PRECISIONS.get(mixed_precision)
        self._bend_px = grid_bend_px
        self._grid: tuple[tuple[int, int], BentGrid] | None = None

    @classmethod
    def of(
        cls,
        loaded: LoadedGenerator,
        *,
        device: torch.device,
        mixed_precision: str = "no",
        grid_bend_px: float | None = None,
    ) -> Self:
        """Return the translator of a generator that was read from a file.

        Args:
            loaded: the generator.
            device: where to compute.
            mixed_precision: ``no``, ``fp16`` or ``bf16``.
            grid_bend_px: how far pictures are bent; None: as the generator's file says.

        Raises:
            CheckpointError: the file says something that is no length.
        """
        if grid_bend_px is None:
            grid_bend_px = loaded.grid_bend_px
        return cls(
            loaded.network,
            device=device,
            mixed_precision=mixed_precision,
            grid_bend_px=grid_bend_px,
        )

    @torch.inference_mode()
    def __call__(self, images: Tensor) -> Tensor:
        """Translate a batch.

        Args:
            images: RGB, (N, 3, H, W), floating point in [-1, 1], any H and W.

        Returns:
            RGB, (N, 3, H, W), float32 in [-1, 1], on the translator's device.

        Raises:
            ValueError: the shape is another; prints it.
        """
        check_images(images, name="images")
        generator = self._generator
        images = images.to(self._device, torch.float32)
        grid = self._bent_grid(images.shape[2], images.shape[3])
        padded, (rows, columns) = pad_to_multiple(
            images if grid is None else grid.bend(images),
            generator.stride,
            smallest=generator.smallest,
        )
        with self._autocast():
            padded = generator(padded)
        translated = padded.float()[:, :, rows, columns]
        return translated if grid is None else grid.straighten(translated).clamp_(-1, 1)

    def _bent_grid(self, height: int, width: int) -> BentGrid | None:
        """Return the grid for pictures of a size; the last one is kept for the next picture."""
        if self._bend_px == 0 or min(height, width) < _SMALLEST_BENT_PX:
            return None
        if self._grid is None or self._grid[0] != (height, width):
            bent = BentGrid(height, width, strength_px=self._bend_px, device=self._device)
            self._grid = (height, width), bent
        return self._grid[1]

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._precision)
