"""Translating pictures of any size with a trained generator; every output has its input's size.

A picture can be warped before the network and unwarped after it, so that patterns that the network
repeats along its pixel grid do not line up in the result.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.cyclegan.blocks import StrokeNoise
from impasto.cyclegan.inference.bend import BentGrid, EndlessGrid
from impasto.cyclegan.inference.fitting import fit_strokes
from impasto.cyclegan.inference.large import LargeTranslator
from impasto.cyclegan.inference.strips import StripGenerator
from impasto.cyclegan.networks import Generator
from impasto.cyclegan.weights import LoadedGenerator
from impasto.data.tensors import check_images, pad_to_multiple, to_bytes, to_color
from impasto.options.errors import CheckpointError, ImpastoError

__all__ = [
    "SMALLEST_BENT_PX",
    "BentGrid",
    "NotFiniteError",
    "Translator",
    "fit_strokes",
    "translate_colors",
]


class NotFiniteError(ImpastoError, ArithmeticError):
    """A generator made something else than finite numbers, which would be shown as black."""


# A generator's grid is fixed to a scene by moving the frame by less than a stride; beyond this one,
# that of a U-Net, it would cost too much.
_LONGEST_STRIDE = 16
SMALLEST_BENT_PX = 64
"""Smallest side of pictures that are bent."""

_PRECISIONS = {"fp16": torch.float16, "bf16": torch.bfloat16}


class Translator:
    """Applies a generator to images of any size.

    Images are padded by reflection to the generator's stride and cropped back. Several threads may
    use one translator at the same time.

    Args:
        generator: generator network; it is moved to ``device`` and put into evaluation mode.
        device: device that computes.
        mixed_precision: precision: ``no`` (float32), ``fp16`` or ``bf16``.
        grid_bend_px: strength of the warp in pixels, see
            :class:`~impasto.cyclegan.inference.bend.BentGrid`; 0: no warp. Pictures below 64
            pixels are never warped.
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
        self._endless: EndlessGrid | None = None
        self._strips: tuple[object, StripGenerator | None] | None = None

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
            loaded: generator that was read from a file.
            device: device that computes.
            mixed_precision: precision: ``no`` (float32), ``fp16`` or ``bf16``.
            grid_bend_px: strength of the warp in pixels; None: the value in the generator's file.

        Raises:
            CheckpointError: the value in the file is not a valid length.
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
            images: RGB, (N, 3, H, W), floating point in [-1, 1], any H and W; or of as many other
                channels as the generator takes.

        Returns:
            RGB, (N, 3, H, W), float32 in [-1, 1], on the translator's device; or of as many other
            channels as the generator makes.

        Raises:
            ValueError: the shape is another; prints it.
            NotFiniteError: a value of the result is NaN or infinite.
        """
        check_images(images, name="images", channels=getattr(self._generator, "in_channels", 3))
        translated, finite = self._translate(images.to(self._device, torch.float32))
        if not translated.is_meta:
            self._check(finite)
        return translated

    @torch.inference_mode()
    def begin(self, pictures: Sequence[NDArray[np.uint8]]) -> Callable[[], list[NDArray[np.uint8]]]:
        """Begin to translate pictures of one size; a GPU goes on with it by itself.

        Bytes go to the device and come from it, and are floating point only there.

        Args:
            pictures: RGB, (H, W, 3), uint8, any H and W.

        Returns:
            A function that waits for the results, RGB, (H, W, 3), uint8, and raises
            :class:`NotFiniteError` where one is none.
        """
        is_gpu = self._device.type == "cuda"
        taken = torch.from_numpy(np.stack(pictures))
        taken = taken.pin_memory() if is_gpu else taken
        images = taken.to(self._device, non_blocking=is_gpu).permute(0, 3, 1, 2)
        images = images.to(torch.float32, memory_format=torch.contiguous_format)
        translated, finite = self._translate(images.div_(127.5).sub_(1.0))
        made = to_bytes(translated)
        if not is_gpu:
            return partial(self._end, finite, made)
        results = torch.empty(made.shape, dtype=made.dtype, pin_memory=True)
        results.copy_(made, non_blocking=True)
        copied = torch.cuda.Event()  # type: ignore[no-untyped-call]
        copied.record()
        return partial(self._end, finite, results, copied)

    def large(self) -> LargeTranslator | None:
        """Return what translates pictures that do not fit into memory, with the same results.

        None on a GPU, in 16 bits, and for networks whose layers are not known, such as a U-Net.
        """
        strips = self._strips_now()
        if strips is None:
            return None
        return LargeTranslator(
            strips,
            stride=self._generator.stride,
            smallest=self._generator.smallest,
            grid_bend_px=self._bend_px,
            smallest_bent_px=SMALLEST_BENT_PX,
        )

    def in_scene(self, rgb: NDArray[np.uint8], origin_px: tuple[int, int]) -> NDArray[np.uint8]:
        """Translate a frame of a film, with grid, noise and warp fixed to the scene.

        Frames of one size that show the same scene at other places have the same strokes. Not for
        several threads at once.

        Args:
            rgb: RGB, (H, W, 3), uint8, any H and W.
            origin_px: place of its first pixel in the scene, y and x.

        Returns:
            RGB, (H, W, 3), uint8.

        Raises:
            NotFiniteError: a value of the result is NaN or infinite.
        """
        height, width = rgb.shape[:2]
        stride = self._generator.stride
        step = stride if stride <= _LONGEST_STRIDE else 1
        top, left = (place % step for place in origin_px)
        around = ((top, step - top), (left, step - left), (0, 0))
        padded = np.pad(rgb, around, mode="reflect")
        place = origin_px[0] - top, origin_px[1] - left
        noises = [part for part in self._generator.modules() if isinstance(part, StrokeNoise)]
        usual = [noise.maps for noise in noises]
        try:
            for noise, maps in zip(noises, usual, strict=True):
                shifts = (-(place[0] // step), -(place[1] // step))
                noise.maps = torch.roll(maps, shifts, dims=(1, 2))
            if self._bend_px and min(padded.shape[:2]) >= SMALLEST_BENT_PX:
                if self._endless is None:
                    self._endless = EndlessGrid(self._bend_px, self._device)
                size = padded.shape[:2]
                self._grid = (size[0], size[1]), self._endless.at(size[0], size[1], place)
            made = self.begin([padded])()[0]
        finally:
            self._grid = None
            for noise, maps in zip(noises, usual, strict=True):
                noise.maps = maps
        return made[top : top + height, left : left + width]

    def _end(
        self, finite: Tensor, made: Tensor, copied: torch.cuda.Event | None = None
    ) -> list[NDArray[np.uint8]]:
        if copied is not None:
            copied.synchronize()
        self._check(finite)
        return list(made.cpu().numpy())

    def _check(self, finite: Tensor) -> None:
        if not finite:
            hint = "" if self._precision is None else "; try --mixed_precision no"
            raise NotFiniteError(
                f"the generator made values that are not finite numbers (NaN or infinite){hint}"
            )

    def _translate(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the translations, and whether all their values are finite numbers."""
        generator = self._generator
        grid = self._bent_grid(images.shape[2], images.shape[3])
        padded, (rows, columns) = pad_to_multiple(
            images if grid is None else grid.bend(images),
            generator.stride,
            smallest=generator.smallest,
        )
        strips = self._strips_now()
        if strips is None:
            with self._autocast():
                padded = generator(padded)
        else:
            padded = strips(padded)
        translated = padded.float()[:, :, rows, columns]
        finite = torch.isfinite(translated).all()
        if grid is not None:
            translated = grid.straighten(translated).clamp_(-1, 1)
        return translated, finite

    def _bent_grid(self, height: int, width: int) -> BentGrid | None:
        """Return the grid for pictures of a size; the last one is kept for the next picture."""
        if self._bend_px == 0 or min(height, width) < SMALLEST_BENT_PX:
            return None
        kept = self._grid  # which another thread may replace meanwhile
        if kept is None or kept[0] != (height, width):
            bent = BentGrid(height, width, strength_px=self._bend_px, device=self._device)
            self._grid = kept = (height, width), bent
        return kept[1]

    def _strips_now(self) -> StripGenerator | None:
        """Return what computes in strips, if anything does; weights that changed make it anew."""
        if self._device.type != "cpu" or self._precision is not None:
            return None
        version = [
            (weights.data_ptr(), None if weights.is_inference() else weights._version)  # noqa: SLF001
            for weights in self._generator.parameters()
        ]
        kept = self._strips
        if kept is None or kept[0] != version:
            self._strips = kept = version, StripGenerator.of(self._generator)
        return kept[1]

    def _autocast(self) -> AbstractContextManager[object]:
        if self._precision is None:
            return nullcontext()
        return torch.autocast(self._device.type, dtype=self._precision)


def translate_colors(loaded: LoadedGenerator, translator: Translator) -> Callable[[Tensor], Tensor]:
    """Return a function from RGB to RGB, for what looks at colors; gray is repeated three times.

    Args:
        loaded: generator of ``translator``.
        translator: translator, which is returned as it is for a generator of RGB.

    Returns:
        A function from (N, 3, H, W) in [-1, 1] to the same shape and range. Of a generator that
        takes gray it raises ``CheckpointError`` for pictures with colors.

    Raises:
        CheckpointError: the generator has other channels than gray or RGB, or a range of values
            that no picture of 8 bits has.
    """
    if loaded.are_colors:
        return translator
    for samples in loaded.formats:
        if samples is not None and (samples.channels not in (1, 3) or samples.source != "full"):
            raise CheckpointError(
                f"this model is for pictures of {samples}; expected RGB, or gray in the full range "
                "of its type, which is looked at as RGB"
            )

    def translate(images: Tensor) -> Tensor:
        check_images(images, name="images")
        if loaded.architecture.in_channels == 1:
            gray = images[:, :1]
            if not torch.equal(gray.expand_as(images), images):
                raise CheckpointError("this model takes gray pictures, and got one with colors")
            images = gray
        return to_color(translator(images))

    return translate
