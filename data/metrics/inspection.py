"""What is odd about picture files, one by one, and which of them show the same picture."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.data.channels.ranges import SampleFormat, show_numbers
from impasto.data.channels.read import read_samples
from impasto.data.decode import Rgb, read_orientation, read_size, read_small
from impasto.data.transforms import resize
from impasto.options.errors import PictureError

__all__ = ["PictureFacts", "find_alike", "inspect_picture", "inspect_pictures", "perceptual_hash"]

_SIDE, _FREQUENCIES = 32, 8
_THUMBNAIL_PX = 16
_DECODED_PX = 64
# Of 255 values: differences between the channels of a gray JPEG, and between pixels of a plain one.
_GRAY, _PLAIN = 3.0, 4.0
# Bits of 64, and values of 255, by which two files of one picture differ at most; measured on 350
# photographs and 240 paintings beside copies of a half and twice the size, as JPEG of quality 50.
_MOST_BITS, _MOST_VALUES = 10, 6.0
_ROWS = 1024


@dataclass(frozen=True, kw_only=True)
class PictureFacts:
    """What is known of a picture file.

    Attributes:
        path: the file.
        unreadable: why it cannot be read; empty if it can. Then nothing below is known.
        width: width of the upright picture, in pixels.
        height: height of the upright picture, in pixels.
        gray: whether it has no colors.
        plain: whether it is one color all over, or nearly so.
        transparent: whether a part of it is transparent.
        turned: whether its EXIF data say that it is to be turned or mirrored.
        clipped: whether it has numbers outside of the range that was asked for.
        code: result of :func:`perceptual_hash`.
        thumbnail: RGB, (16, 16, 3), uint8.
    """

    path: Path
    unreadable: str = ""
    width: int = 0
    height: int = 0
    gray: bool = False
    plain: bool = False
    transparent: bool = False
    turned: bool = False
    clipped: bool = False
    code: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool), repr=False)
    thumbnail: Rgb = field(default_factory=lambda: np.zeros((0, 0, 3), np.uint8), repr=False)


def perceptual_hash(rgb: Rgb) -> NDArray[np.bool_]:
    """Return bits that are nearly the same for the same picture in other sizes and qualities.

    Those of Zauner 2010, section 3.2.1: which of the lowest frequencies (of a cosine transform of
    the luma, 32 x 32 pixels) are above their median. Departure: the constant one is left out.

    Args:
        rgb: RGB, (H, W, 3), uint8.

    Returns:
        (63,), bool.
    """
    luma = resize(rgb, _SIDE, _SIDE) @ np.array([0.299, 0.587, 0.114])
    waves = np.cos(np.pi * np.outer(np.arange(_FREQUENCIES), 2 * np.arange(_SIDE) + 1) / 2 / _SIDE)
    found = (waves @ luma @ waves.T).ravel()[1:]
    bits: NDArray[np.bool_] = found > np.median(found)
    return bits


def inspect_picture(path: Path, *, samples: SampleFormat | None = None) -> PictureFacts:
    """Read a picture file, large JPEGs at a fraction of their size, and say what it is.

    Args:
        path: the file.
        samples: what its numbers mean, of which it is then said what is shown of them; None: they
            are colors, RGB of 8 bits.
    """
    if samples is not None:
        return _inspect_numbers(path, samples)
    try:
        width, height = read_size(path)
        picture = read_small(path, (_DECODED_PX, _DECODED_PX))
        orientation = read_orientation(path)
    except PictureError as error:
        return PictureFacts(path=path, unreadable=error.reason)
    small = resize(picture.rgb, _DECODED_PX, _DECODED_PX).astype(np.float64)
    return PictureFacts(
        path=path,
        width=width,
        height=height,
        gray=float(np.ptp(small, axis=2).mean()) < _GRAY,
        plain=float(small.std(axis=(0, 1)).max()) < _PLAIN,
        transparent=picture.alpha is not None and bool((picture.alpha < 255).any()),
        turned=orientation != 1,
        code=perceptual_hash(picture.rgb),
        thumbnail=resize(picture.rgb, _THUMBNAIL_PX, _THUMBNAIL_PX),
    )


def _inspect_numbers(path: Path, samples: SampleFormat) -> PictureFacts:
    try:
        values = read_samples(path, channels=samples.channels)
        rgb = show_numbers(samples.normalize(values, path=path, tells=False))
    except PictureError as error:
        return PictureFacts(path=path, unreadable=error.reason)
    small = resize(rgb, _DECODED_PX, _DECODED_PX).astype(np.float64)
    return PictureFacts(
        path=path,
        width=rgb.shape[1],
        height=rgb.shape[0],
        gray=samples.channels == 3 and float(np.ptp(small, axis=2).mean()) < _GRAY,
        plain=float(small.std(axis=(0, 1)).max()) < _PLAIN,
        clipped=samples.clips(values),
        code=perceptual_hash(rgb),
        thumbnail=resize(rgb, _THUMBNAIL_PX, _THUMBNAIL_PX),
    )


def inspect_pictures(
    paths: Sequence[Path],
    *,
    samples: SampleFormat | None = None,
    threads: int = 1,
    on_picture: Callable[[], object] = lambda: None,
) -> list[PictureFacts]:
    """Inspect picture files in several threads.

    Args:
        paths: the files.
        samples: what their numbers mean; None: they are colors, RGB of 8 bits.
        threads: number of threads.
        on_picture: called after each picture.

    Returns:
        Facts in the order of ``paths``.
    """
    found = []
    with ThreadPoolExecutor(threads) as pool:
        for facts in pool.map(partial(inspect_picture, samples=samples), paths):
            found.append(facts)
            on_picture()
    return found


def find_alike(pictures: Sequence[PictureFacts]) -> list[tuple[int, int]]:
    """Find files that show the same picture, perhaps in another size or quality.

    Plain pictures, which are all alike, and those that cannot be read are left out.

    Args:
        pictures: facts about all files.

    Returns:
        Indices of two files each, the smaller one first, in order.
    """
    known = [place for place, each in enumerate(pictures) if not (each.unreadable or each.plain)]
    if not known:
        return []
    # As signs, whose product counts equal bits less different ones.
    signs = np.stack([np.where(pictures[place].code, 1, -1) for place in known]).astype(np.float32)
    thumbnails = np.stack([pictures[place].thumbnail for place in known]).astype(np.int16)
    least = signs.shape[1] - 2 * _MOST_BITS
    found = []
    for first in range(0, len(known), _ROWS):
        rows, columns = np.nonzero(signs[first : first + _ROWS] @ signs.T >= least)
        for row, column in zip((rows + first).tolist(), columns.tolist(), strict=True):
            if row < column:
                difference = np.abs(thumbnails[row] - thumbnails[column]).mean()
                if difference <= _MOST_VALUES:
                    found.append((known[row], known[column]))
    return found
