"""The memory that translating a picture takes, estimated before it is begun.

The system lets a process ask for more memory than there is, and kills it when it is used; so what
does not fit has to be known before.
"""

from collections.abc import Iterable
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from impasto.cyclegan.inference.row_convolutions import copied_bytes
from impasto.cyclegan.inference.strips import StripGenerator
from impasto.cyclegan.inference.translator import fit_strokes
from impasto.cyclegan.networks import Generator
from impasto.runs.memory import free_memory, gigabytes

__all__ = ["TranslationMemory"]

# Beside the generator's activations, each float32: the field that bends and the one that
# straightens.
_BEND_BYTES = 16
# The decoded picture, the result, and the files and previews that are made of them.
_PICTURE_BYTES = 32
# Decoding a picture, in bytes for each pixel of the file: measured with 144 megapixels, 9 to 14.
_DECODE_BYTES = 16
# Copies of the weights in the order that the processor's library likes, measured.
_WEIGHT_COPIES = 2
# What belongs to one strip, for each thread; and the picture before and behind the generator.
_STRIP_BYTES = 24 * 2**20
_IMAGE_BYTES = 48
# What the allocator and the processor's library add.
_MARGIN = 1.1
# Activations of 16 bits, with some that stay at 32.
_SHORT_VALUES = 0.6
# Large is what needs more than this part of the free memory: it is translated alone, and last.
_LARGE = 0.25
# Side of the picture that activations are measured with; of smaller ones, borders are a large part.
_MEASURED_SIDE = 128

Number = TypeVar("Number")
_Pair = tuple[Number, Number]


class TranslationMemory:
    """Estimates what translating a picture takes, and compares it with what is free.

    Compared with the peak of a real run on the CPU it is right for the shipped model, a ResNet that
    is computed in strips: 387 MiB, and 385 were taken, for 1024 x 1024 pixels.

    Args:
        generator: generator network, on the device that computes.
        device: device that computes.
        bends: whether pictures are bent for the generator.
        short: whether it computes in 16 bits.
        long_side: longest side to which larger pictures are scaled down, in pixels, or None.
        stroke_scale: factor by which pictures are shrunk for the generator.
        strokes_at_px: shorter side of the pictures for which strokes are right, from which the
            factor then follows, or None.
        threads: number of threads that decode pictures at the same time.
    """

    def __init__(  # noqa: PLR0913
        self,
        generator: Generator,
        *,
        device: torch.device,
        bends: bool = False,
        short: bool = False,
        long_side: int | None = None,
        stroke_scale: float = 1.0,
        strokes_at_px: float | None = None,
        threads: int = 1,
    ) -> None:
        self._generator, self._device = generator, device
        self._bends, self._short = bends, short
        self._long_side, self._stroke_scale = long_side, stroke_scale
        self._strokes_at_px = strokes_at_px
        self._threads = threads
        weight_bytes = sum(
            weights.numel() * weights.element_size() for weights in generator.parameters()
        )
        strips = None if short or device.type != "cpu" else StripGenerator.of(generator)
        if strips is None:
            share = _MARGIN * (_SHORT_VALUES if short else 1.0)
            self._pixel_bytes = _activation_bytes(generator, device) * share
            self._fixed_bytes = _WEIGHT_COPIES * weight_bytes
        else:
            side = _MEASURED_SIDE
            self._pixel_bytes = strips.map_bytes(side, side) / side**2 + _IMAGE_BYTES
            self._pixel_bytes *= _MARGIN
            # The second copy is that of the processor's library.
            self._fixed_bytes = weight_bytes + sum(map(copied_bytes, generator.parameters()))
            self._fixed_bytes += _STRIP_BYTES * torch.get_num_threads()
        self._pixel_bytes += _BEND_BYTES if bends else 0
        self._at_start = self._free()

    @property
    def batch_pixels(self) -> int | None:
        """Number of pixels that a batch may have for the generator, or None if any number fits."""
        free = self._at_start[0]
        return None if free is None else int(_LARGE * free / self._pixel_bytes)

    def bytes(self, height: int, width: int) -> int:
        """Return the estimate for translating one picture of a size, beside what is there now."""
        return sum(self._needed(height, width, self._long_side))

    def is_large(self, height: int, width: int) -> bool:
        """Whether a picture of a size is to be translated alone, after the smaller ones."""
        decoding, host = height * width * _DECODE_BYTES, self._at_start[1]
        if host is not None and 2 * self._threads * decoding > host:
            return True
        compared = self._compare(self._needed(height, width, self._long_side), self._at_start)
        return any(needed > _LARGE * free for needed, free in compared)

    def refusal(
        self, height: int, width: int, *, advice: str = "try --long_side {side}"
    ) -> str | None:
        """Return why a picture of a size does not fit into what is free now, and what would.

        Args:
            height: height of the picture, in pixels.
            width: width of the picture, in pixels.
            advice: what to do, with ``{side}`` in the place of the long side that fits.

        Returns:
            The reason and the advice; None where it fits, or where what is free is not known.
        """
        free = self._free()
        for needed, there in self._compare(self._needed(height, width, self._long_side), free):
            if needed > there:
                side = self._largest_side(height, width, free)
                hint = advice.format(side=side) if side else "this machine has too little"
                return (
                    f"{width} x {height} pixels need about {gigabytes(needed)} of memory, and "
                    f"{gigabytes(there)} are free; {hint}"
                )
        return None

    def _free(self) -> _Pair[int | None]:
        """Return the free bytes of the device and of the machine, where they are known."""
        return free_memory(self._device), free_memory(torch.device("cpu"))

    def _compare(self, needed: _Pair[int], free: _Pair[int | None]) -> list[tuple[int, int]]:
        """Return what is needed and what is free, of each kind of memory that is known."""
        on_cpu = self._device.type == "cpu"
        pairs = [(sum(needed), free[1])] if on_cpu else list(zip(needed, free, strict=True))
        return [(count, there) for count, there in pairs if there is not None]

    def _needed(self, height: int, width: int, long_side: int | None) -> _Pair[int]:
        """Return the bytes for the generator on the device, and for pictures on the machine."""
        scale = 1.0 if long_side is None else min(1.0, long_side / max(height, width))
        shown = height * width * scale**2
        strokes = self._stroke_scale
        if self._strokes_at_px is not None:
            sides = round(height * scale), round(width * scale)
            strokes = fit_strokes(*sides, strokes_at_px=self._strokes_at_px)
        network = shown / strokes**2 * self._pixel_bytes + self._fixed_bytes
        return round(network), round(height * width * _DECODE_BYTES + shown * _PICTURE_BYTES)

    def _largest_side(self, height: int, width: int, free: _Pair[int | None]) -> int:
        """Return the largest ``--long_side`` that fits, in steps of ten pixels, or 0."""
        low, high = 0, max(height, width) // 10 + 1
        while high - low > 1:
            middle = (low + high) // 2
            compared = self._compare(self._needed(height, width, 10 * middle), free)
            if all(needed <= there for needed, there in compared):
                low = middle
            else:
                high = middle
        return 10 * low


@torch.inference_mode()
def _activation_bytes(generator: Generator, device: torch.device) -> float:
    """Return the most bytes for each pixel that live at once while a generator runs.

    A small picture is translated, and after each layer the tensors are added up that are still
    there; a convolution besides holds its input and output in an order of its own.
    """
    living = _Living()
    most = 0

    def add_up(layer: nn.Module, inputs: tuple[object, ...], output: object) -> None:
        nonlocal most
        tensors = [value for value in (*inputs, output) if isinstance(value, Tensor)]
        count = living.bytes_with(tensors)
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            count += sum(tensor.untyped_storage().nbytes() for tensor in tensors)
        most = max(most, count)

    layers = [module for module in generator.modules() if not any(module.children())]
    hooks = [layer.register_forward_hook(add_up) for layer in layers]
    side = -(-max(generator.smallest, _MEASURED_SIDE) // generator.stride) * generator.stride
    try:
        generator(torch.zeros(1, 3, side, side, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    return most / side**2


class _Living:
    """The storages of tensors that were seen and are still there."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[StorageWeakRef, int]] = {}

    def bytes_with(self, tensors: Iterable[Tensor]) -> int:
        """Add tensors, and return the size of all that are left."""
        for tensor in tensors:
            storage = tensor.untyped_storage()
            weak = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
            self._known[storage._cdata] = weak, storage.nbytes()  # noqa: SLF001
        self._known = {
            key: (weak, size)
            for key, (weak, size) in self._known.items()
            if not weak.expired()  # type: ignore[no-untyped-call]
        }
        return sum(size for _, size in self._known.values())
