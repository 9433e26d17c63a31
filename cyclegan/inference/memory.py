"""The memory that translating a picture takes, estimated before it is begun.

The system lets a process ask for more memory than there is, and kills it when it is used; so what
does not fit has to be known before.
"""

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import Self, TypeVar

import psutil  # type: ignore[import-untyped]
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from impasto.cyclegan.export.loading import OnnxGenerator
from impasto.cyclegan.inference.bend import BENT_BORDER_PX
from impasto.cyclegan.inference.large import LargePlan
from impasto.cyclegan.inference.maps import FLOAT_BYTES
from impasto.cyclegan.inference.row_convolutions import copied_bytes
from impasto.cyclegan.inference.strips import Keep, StripGenerator
from impasto.cyclegan.inference.translator import fit_strokes
from impasto.cyclegan.networks import Generator
from impasto.runs.memory import free_memory, gigabytes

__all__ = ["TranslationMemory", "activation_bytes"]

# Beside the generator's activations, each float32: the field that bends and the one that
# straightens.
_BEND_BYTES = 16
# The decoded picture, the result, and the files and previews that are made of them.
_PICTURE_BYTES = 32
# Decoding a picture, in bytes for each pixel of the file: measured with 144 megapixels, 9 to 14.
_DECODE_BYTES = 16
# Of each channel of a picture that is not bytes but numbers: 4 in the file, and 4 as float32.
_NUMBER_BYTES = 8
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
# In rows: the picture, its alpha and the result, then what writing that takes besides; and, of the
# reduced picture that the generator sees, itself and the result.
_HELD_BYTES, _WRITING_BYTES, _REDUCED_BYTES = 7, 12, 6
# What a row takes of the picture that is warped and of what is not yet rounded, some rows at once.
_WARPED_ROW_BYTES = 8192
# What is loaded and compiled when the first picture is translated.
_LATER_BYTES = 120 * 2**20
# Of what is free, as much is taken where no limit is given: others use the machine, too.
_SHARE = 0.85
# A file is read and written from memory, mostly, where so many times its size is free.
_CACHED = 2
_WHOLE = ", since only TIFF files are read, and with --format tif written, by rows"
# Rows of the file that are decoded at once, in up to four places, and their bytes for each pixel.
_DECODED_ROWS, _DECODED_BYTES = 4 * 256, 8
# Longer side of the picture whose statistics are taken where the fast way is wanted.
_FAST_PX = 1024
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
        limit: most memory that the whole process may take, in bytes; None: what is free.
        folder: folder for temporary files, with which larger pictures are translated in rows; None:
            they are refused.
        fast: whether statistics of a reduced copy are enough for those.
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
        limit: int | None = None,
        folder: Path | None = None,
        fast: bool = False,
    ) -> None:
        self._limit, self._folder, self._fast = limit, folder, fast
        self._generator, self._device = generator, device
        self._bends, self._short = bends, short
        self._long_side, self._stroke_scale = long_side, stroke_scale
        self._strokes_at_px = strokes_at_px
        self._threads = threads
        self._decode_bytes, self._picture_bytes = _DECODE_BYTES, _PICTURE_BYTES
        self._of_numbers = False
        weight_bytes = sum(
            weights.numel() * weights.element_size() for weights in generator.parameters()
        )
        strips = None if short or device.type != "cpu" else StripGenerator.of(generator)
        self._strips = strips
        if isinstance(generator, OnnxGenerator):
            self._pixel_bytes, self._fixed_bytes = generator.pixel_bytes, generator.weight_bytes
        elif strips is None:
            share = _MARGIN * (_SHORT_VALUES if short else 1.0)
            self._pixel_bytes = activation_bytes(generator, device) * share
            self._fixed_bytes = _WEIGHT_COPIES * weight_bytes
        else:
            side = _MEASURED_SIDE
            self._pixel_bytes = strips.map_bytes(side, side) / side**2 + _IMAGE_BYTES
            self._pixel_bytes *= _MARGIN
            # The second copy is that of the processor's library.
            self._fixed_bytes = weight_bytes + sum(map(copied_bytes, generator.parameters()))
            self._row_bytes = self._fixed_bytes + _LATER_BYTES
            self._fixed_bytes += _STRIP_BYTES * torch.get_num_threads()
        self._pixel_bytes += _BEND_BYTES if bends else 0
        self._at_start = self._free()

    def of_numbers(self, channels: int) -> Self:
        """Return the estimate for pictures that are not bytes but numbers of 32 bits.

        Args:
            channels: most channels of a picture or a result.
        """
        made = copy.copy(self)
        made._folder, made._of_numbers = None, True  # noqa: SLF001 - they are not cut into rows
        # What the file holds, and what the networks see, or made.
        made._decode_bytes = _DECODE_BYTES + _NUMBER_BYTES * channels  # noqa: SLF001
        made._picture_bytes = _PICTURE_BYTES + 2 * _NUMBER_BYTES * channels  # noqa: SLF001
        return made

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
        decoding, host = height * width * self._decode_bytes, self._at_start[1]
        if host is not None and 2 * self._threads * decoding > host:
            return True
        compared = self._compare(self._needed(height, width, self._long_side), self._at_start)
        return any(needed > _LARGE * free for needed, free in compared)

    def plan(self, height: int, width: int, *, by_rows: bool = False) -> LargePlan | None:
        """Return how a picture is translated in rows; None where it fits at once, or never does.

        Args:
            height: height of the picture, in pixels.
            width: width of the picture, in pixels.
            by_rows: whether it is read and written by rows, too.
        """
        if self._folder is None or self._strips is None or self._fits(height, width):
            return None
        free, needed = self._free()[1], self._in_rows(height, width, by_rows)
        if free is None or needed > free:
            return None
        free = free if self._limit is not None else int(free * _SHARE)
        shown, seen = self._sides(height, width, self._long_side)
        left = free - self._translating(shown, seen, by_rows)
        resident = max(0, left // FLOAT_BYTES)
        fast_px = _FAST_PX if self._fast and self._strips.needs_passes else None
        keep = self._keep(seen, resident)
        # What the system keeps of files in memory that nobody needs makes a file faster than
        # computing again: 1.1 of the time against 2.2.
        machine = free_memory(self._device)
        inner = self._strips.map_floats(*seen, keep="inner") * FLOAT_BYTES
        if keep == "trunk" and machine is not None and machine - free > _CACHED * inner:
            keep = "inner"
        return LargePlan(keep=keep, resident=resident, folder=self._folder, fast_px=fast_px)

    def file_bytes(self, height: int, width: int, plan: LargePlan) -> int:
        """Return how much of a picture that is translated in rows will lie on the disk."""
        if self._strips is None or plan.fast_px is not None:
            return 0
        seen = self._sides(height, width, self._long_side)[1]
        floats = self._strips.map_floats(*seen, keep=plan.keep)
        return max(0, floats - plan.resident) * FLOAT_BYTES

    def refusal(
        self,
        height: int,
        width: int,
        *,
        advice: str = "try --long_side {side}",
        by_rows: bool = False,
    ) -> str | None:
        """Return why a picture of a size does not fit into what is free now, and what would.

        Args:
            height: height of the picture, in pixels.
            width: width of the picture, in pixels.
            advice: what to do, with ``{side}`` in the place of the long side that fits.
            by_rows: whether the picture is read and written by rows, if it does not fit otherwise.

        Returns:
            The reason and the advice; None where it fits, or where what is free is not known.
        """
        free = self._free()
        if self._folder is not None and self._strips is not None:
            needed, there = self._in_rows(height, width, by_rows), free[1]
            if there is None or needed <= there or self._fits(height, width):
                return None
            side = self._largest_side(height, width, free)
            return (
                f"{width} x {height} pixels need about {gigabytes(needed)} of memory even in rows"
                f"{'' if by_rows else _WHOLE}, and {gigabytes(there)} are "
                f"{'free' if self._limit is None else 'left of --memory'}; "
                f"{self._instead(advice.format(side=side) if side else '')}"
            )
        for needed, there in self._compare(self._needed(height, width, self._long_side), free):
            if needed > there:
                side = self._largest_side(height, width, free)
                hint = advice.format(side=side) if side else "this machine has too little"
                return (
                    f"{width} x {height} pixels need about {gigabytes(needed)} of memory, and "
                    f"{gigabytes(there)} are free; {hint}{self._why_whole()}"
                )
        return None

    def _instead(self, advice: str) -> str:
        if self._limit is not None:
            return f"give more --memory{', or ' if advice else ''}{advice}"
        return advice or "this machine has too little"

    def _why_whole(self) -> str:
        """Say why a picture cannot be translated in rows, where that is asked for."""
        if self._of_numbers:
            return (
                " (pictures of more than 8 bits are translated whole, unless with --bits 8, and so "
                "are those of other channels)"
            )
        if self._folder is None:
            return ""
        if self._device.type != "cpu":
            return ", or --device cpu, which translates larger pictures in rows"
        if self._short:
            return ", or --mixed_precision no, which translates larger pictures in rows"
        return " (networks with other layers than a ResNet's, such as a U-Net, have no rows)"

    def _fits(self, height: int, width: int) -> bool:
        """Whether a picture can be translated at once."""
        compared = self._compare(self._needed(height, width, self._long_side), self._free())
        return all(needed <= there for needed, there in compared)

    def _sides(
        self, height: int, width: int, long_side: int | None
    ) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return height and width of the result, and of what the generator sees."""
        scale = 1.0 if long_side is None else min(1.0, long_side / max(height, width))
        shown = max(1, round(height * scale)), max(1, round(width * scale))
        strokes = self._stroke_scale
        if self._strokes_at_px is not None:
            strokes = fit_strokes(*shown, strokes_at_px=self._strokes_at_px)
        border = 2 * BENT_BORDER_PX if self._bends else 0
        stride = self._generator.stride
        high, wide = (-(-(round(side / strokes) + border) // stride) * stride for side in shown)
        return shown, (high, wide)

    def _keep(self, seen: tuple[int, int], resident: int) -> Keep:
        """Return which layers are best kept of a picture that the generator sees."""
        strips = self._strips
        assert strips is not None  # noqa: S101 - for mypy
        if not strips.needs_passes:
            return "none"
        kinds: tuple[Keep, ...] = ("all", "inner", "trunk")
        for keep in kinds:
            if strips.map_floats(*seen, keep=keep) <= resident:
                return keep
        return "trunk"

    def _translating(self, shown: tuple[int, int], seen: tuple[int, int], by_rows: bool) -> int:
        """Return what translating in rows takes, without what is kept of the layers."""
        strips = self._strips
        assert strips is not None  # noqa: S101 - for mypy
        pixels, reduced = shown[0] * shown[1], seen[0] * seen[1]
        keep: Keep = "none" if self._fast or not strips.needs_passes else "trunk"
        rows = strips.strip_bytes(seen[1], keep=keep) + seen[1] * _WARPED_ROW_BYTES
        held = shown[1] * _DECODED_ROWS * _DECODED_BYTES if by_rows else pixels * _HELD_BYTES
        held += reduced * _REDUCED_BYTES if reduced < pixels else 0
        return round(self._row_bytes + held + rows * _MARGIN)

    def _in_rows(self, height: int, width: int, by_rows: bool) -> int:
        """Return the least that a picture takes that is translated in rows, beside what is there.

        Decoding it, translating it and writing the result come one after the other.
        """
        shown, seen = self._sides(height, width, self._long_side)
        if by_rows:
            return self._translating(shown, seen, by_rows)
        pixels = shown[0] * shown[1]
        writing = self._row_bytes + pixels * (_HELD_BYTES + _WRITING_BYTES)
        decoding = height * width * _DECODE_BYTES
        return max(decoding, round(writing), self._translating(shown, seen, by_rows))

    def _free(self) -> _Pair[int | None]:
        """Return the free bytes of the device and of the machine, where they are known."""
        machine = free_memory(torch.device("cpu"))
        if self._limit is not None:
            left = max(0, self._limit - int(psutil.Process().memory_info().rss))
            machine = left if machine is None else min(machine, left)
        on_cpu = self._device.type == "cpu"
        return machine if on_cpu else free_memory(self._device), machine

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
        host = height * width * self._decode_bytes + shown * self._picture_bytes
        return round(network), round(host)

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
def activation_bytes(generator: Generator, device: torch.device) -> float:
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
        generator(torch.zeros(1, generator.in_channels, side, side, device=device))
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
