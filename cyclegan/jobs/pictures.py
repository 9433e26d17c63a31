"""Pictures as they are translated: bytes, or numbers of other channels and depths."""

from collections.abc import Callable, Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.cyclegan.inference.fitting import blend, scale_samples
from impasto.cyclegan.jobs.results import describe
from impasto.cyclegan.weights import LoadedGenerator
from impasto.data.channels.ranges import Formats, SampleFormat, show_numbers
from impasto.data.channels.read import read_deep_colors, read_samples
from impasto.data.channels.write import what_holds
from impasto.data.decode import Picture, read_picture
from impasto.data.provenance import FileNote
from impasto.data.tensors import to_stored_tensor
from impasto.data.transforms import limit_long_side, scale_channels
from impasto.options.errors import OptionError, PictureError
from impasto.options.train import MixedPrecision
from impasto.options.translate import TranslateOptions

__all__ = [
    "MAY_BE_DEEP",
    "ReadPicture",
    "copies_shown",
    "limit_picture",
    "paint_numbers",
    "read_to_translate",
    "refuse_films_of_numbers",
    "refuse_what_does_not_hold",
    "result_of",
    "suitable_precision",
]

MAY_BE_DEEP = (".png", ".apng", ".tif", ".tiff", ".ppm", ".pgm", ".pnm")
"""Endings of pictures that may have more than 8 bits."""


class ReadPicture(NamedTuple):
    """A picture that was read to be translated, and its file as it was then.

    Numbers are (H, W, C), float32 in [-1, 1], where it is not translated as bytes; ``dtype`` is
    then the type of those in the file, and ``alpha`` is (H, W), 0 to 1, of colors.
    """

    picture: Picture
    note: FileNote
    numbers: NDArray[np.float32] | None = None
    alpha: NDArray[np.float32] | None = None
    dtype: str = "uint8"

    @property
    def shown(self) -> NDArray[Any]:
        """What is translated: RGB, uint8, or numbers."""
        return self.picture.rgb if self.numbers is None else self.numbers


def read_to_translate(
    path: Path, formats: Formats, bits: int | None, long_side: int | None, *, deep: bool
) -> ReadPicture:
    """Read a picture as it is translated: as bytes, or as numbers.

    Args:
        path: picture file.
        formats: what the numbers of inputs and of results mean; None: they are colors, RGB.
        bits: bits per sample of RGB results, 8 or 16; None: as many as the input has.
        long_side: longest side to which it is scaled down, in pixels; None: no limit.
        deep: whether a result in RGB may have 16 bits because this has more than 8.

    Raises:
        PictureError: it cannot be read, or does not fit the format or the memory.
    """
    note = describe(path)  # before, so that a change meanwhile is noticed by the next call
    try:
        if (samples := formats[0]) is not None:
            return _read_numbers(path, samples, long_side, note)
        if deep and path.suffix.lower() in MAY_BE_DEEP:
            found = read_deep_colors(path)
        else:
            found = read_deep_colors(path) if bits == 16 else None
        if found is not None:
            return _read_deep(found, long_side, note)
        picture = read_picture(path)
        if long_side is not None:
            picture = limit_picture(picture, long_side)
        if formats == (None, None) and bits != 16:
            return ReadPicture(picture, note)
        alpha = None if picture.alpha is None else np.float32(1 / 255) * picture.alpha
        return ReadPicture(picture, note, _as_numbers(picture.rgb), alpha)
    except (MemoryError, ValueError) as error:
        raise PictureError(path, str(error) or "does not fit in memory") from error


def _read_numbers(
    path: Path, samples: SampleFormat, long_side: int | None, note: FileNote
) -> ReadPicture:
    values = read_samples(path, channels=samples.channels)
    found = samples.normalize(values, path=path)
    numbers = _as_numbers(found) if found.dtype == np.uint8 else found
    if long_side is not None:
        numbers = limit_long_side(numbers, long_side)
    picture = Picture(rgb=show_numbers(numbers))
    return ReadPicture(picture, note, numbers, dtype=values.dtype.name)


def _read_deep(deep: NDArray[np.float32], long_side: int | None, note: FileNote) -> ReadPicture:
    """Return a picture of more than 8 bits, RGB or RGB and alpha, 0 to 1."""
    numbers = deep * 2 - 1
    if long_side is not None:
        numbers = limit_long_side(numbers, long_side)
    colors = np.ascontiguousarray(numbers[..., :3])
    four = numbers.shape[2] == 4
    alpha = ((numbers[..., 3] + 1) / 2).astype(np.float32) if four else None
    eight = None if alpha is None else np.rint(alpha * 255).astype(np.uint8)
    picture = Picture(rgb=show_numbers(colors), alpha=eight)
    return ReadPicture(picture, note, colors, alpha, dtype="uint16")


def _as_numbers(bytes_: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return bytes as numbers in [-1, 1], the same ones as on a device."""
    return bytes_.astype(np.float32) / np.float32(127.5) - np.float32(1)


def limit_picture(picture: Picture, long_side: int) -> Picture:
    """Scale a picture down so that its longer side has at most ``long_side`` pixels."""
    rgb = limit_long_side(picture.rgb, long_side)
    if rgb is picture.rgb:
        return picture
    alpha = picture.alpha
    return Picture(rgb=rgb, alpha=None if alpha is None else scale_samples(alpha, *rgb.shape[:2]))


def result_of(
    read: ReadPicture,
    made: NDArray[Any],
    formats: Formats,
    bits: int | None,
    strength: float,
    *,
    as_array: bool,
) -> tuple[Picture, NDArray[Any] | None]:
    """Return a result to look at, and its numbers where a picture of 8 bits does not hold them.

    Args:
        read: what was translated.
        made: its translation, (H, W, C), uint8, or float32 in [-1, 1].
        formats: what the numbers of inputs and of results mean; None: they are colors, RGB.
        bits: bits per sample of RGB results, 8 or 16; None: as many as the input has.
        strength: share of the translation, from 0 to 1; the rest is the picture.
        as_array: whether the numbers are wanted in any case.
    """
    if read.numbers is None:
        rgb = blend(read.picture.rgb, made, strength)
        after = Picture(rgb=rgb, alpha=read.picture.alpha)
    else:
        if strength != 1:
            made = read.numbers + np.float32(strength) * (made - read.numbers)
        alpha = read.picture.alpha if formats[1] is None else None
        after = Picture(rgb=show_numbers(made), alpha=alpha)
    samples = formats[1]
    if samples is not None:
        return after, samples.for_input(read.dtype).restore(made)
    colors_in = formats[0] is None
    if bits == 16 or (bits is None and colors_in and read.numbers is not None):
        colors = [made] if read.alpha is None else [made, read.alpha[..., None] * 2 - 1]
        numbers = np.concatenate(colors, axis=2)
        return after, SampleFormat.full(numbers.shape[2], "uint16").restore(numbers)
    if as_array:
        eight = after.rgb if after.alpha is None else np.dstack([after.rgb, after.alpha])
        return after, eight
    return after, None


def paint_numbers(
    pictures: Sequence[NDArray[np.float32]], translate: Callable[[Tensor], Tensor], *, scale: float
) -> list[NDArray[Any]]:
    """Translate pictures ``scale`` times smaller, and enlarge the results, as numbers.

    Args:
        pictures: (H, W, C), float32 in [-1, 1], all of one size.
        translate: function from pictures (N, C, H, W) in [-1, 1] to the same size and range.
        scale: factor by which strokes become larger, at least 1.

    Returns:
        (H, W, C) of the results, float32 in [-1, 1].
    """
    height, width = pictures[0].shape[:2]
    small = max(1, round(height / scale)), max(1, round(width / scale))
    if small != (height, width):
        pictures = [scale_channels(each, *small) for each in pictures]
    made = translate(torch.stack([to_stored_tensor(each) for each in pictures]))
    numbers = list(made.float().clamp(-1, 1).permute(0, 2, 3, 1).contiguous().cpu().numpy())
    if small != (height, width):
        numbers = [scale_channels(each, height, width) for each in numbers]
    return numbers


def refuse_what_does_not_hold(options: TranslateOptions, generator: LoadedGenerator) -> None:
    """Refuse options that do not suit the channels and the depth of a model's pictures.

    Args:
        options: all options of the translation.
        generator: generator of the model.

    Raises:
        OptionError: the format does not hold the results, or the option is for RGB.
    """
    first, second = generator.formats
    if second is None:
        if first is not None and options.strength != 1 and first.channels != 3:
            raise _not_mixable(options, first.channels, 3)
        return
    if options.bits != "auto":
        raise OptionError(
            "bits", f"is for RGB results; those of this model have {second}; leave it out"
        )
    channels = 3 if first is None else first.channels
    if options.strength != 1 and channels != second.channels:
        raise _not_mixable(options, channels, second.channels)
    holding = what_holds(second.dtype, second.channels)
    if second.dtype and options.format not in holding:
        raise OptionError(
            "format",
            f"{options.format} cannot hold the results of this model, {second}; expected "
            f"{' or '.join(holding)}",
        )


def suitable_precision(options: TranslateOptions, generator: LoadedGenerator) -> MixedPrecision:
    """Return the precision that is asked for; where results have more than 8 bits, auto is no.

    Between 1/2 and 1 there are 128 numbers of bf16, which are 16,384 of 16 bits.
    """
    second = generator.formats[1]
    deep = options.bits == 16 if second is None else second.dtype != "uint8"
    return "no" if deep and options.mixed_precision == "auto" else options.mixed_precision


def _not_mixable(options: TranslateOptions, first: int, second: int) -> OptionError:
    return OptionError(
        "strength",
        f"{options.strength:g} mixes a picture with its translation, but here they have {first} "
        f"and {second} channels; expected 1",
    )


def refuse_films_of_numbers(generator: LoadedGenerator) -> None:
    """Refuse a film for a model of other pictures than RGB.

    Raises:
        OptionError: the model is none of RGB.
    """
    if not generator.are_colors:
        raise OptionError("model", f"films are RGB, and it translates {generator.architecture}")


def copies_shown(copies: Iterable[Iterable[tuple[Path, Path | None]]]) -> dict[Path, Path]:
    """Return the small copies that are there, by the files that they show.

    Args:
        copies: for each job, its files, and where their small copies would be, or None.
    """
    pairs = chain.from_iterable(copies)
    return {path: small for path, small in pairs if small is not None and small.exists()}
