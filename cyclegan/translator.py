"""Translating pictures of any size with a trained generator; size out = size in."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from giverny.cyclegan.architecture import Generator
from giverny.data.padding import pad_to_multiple
from giverny.data.tensors import check_images

__all__ = ["Translator"]

_PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Translator:
    """Applies a generator to images of any size.

    Images are padded by reflection to the generator's stride and cropped back.

    Args:
        generator: the network; put on ``device`` and into evaluation mode.
        device: where to compute.
        mixed_precision: ``no``, ``fp16`` or ``bf16``.
    """

    def __init__(
        self, generator: Generator, *, device: torch.device, mixed_precision: str = "no"
    ) -> None:
        self._generator = generator.to(device).eval()
        self._device = device
        self._precision = _PRECISIONS.get(mixed_precision)

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
        padded, (rows, columns) = pad_to_multiple(
            images.to(self._device, torch.float32), generator.stride, smallest=generator.smallest
        )
        with self._autocast():
            translated: Tensor = generator(padded)
        return translated[:, :, rows, columns].float()

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._precision)
