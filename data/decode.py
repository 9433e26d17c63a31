"""Picture files in: whatever a file holds becomes upright 8-bit sRGB, or a ``PictureError``.

What a file's samples mean, in the order in which it is settled:

- **First frame.** Of an animation or a multi-page TIFF only the first picture is read.
- **Depth.** 16 bits become 8 by ``round(v / 257)``. Whole numbers of 32 bits must lie in 0..65535
  and count as 16 bits. Floats must lie in [0, 1], which becomes 0..255. Anything else is refused,
  because there is no telling what its white is. Where no 16-bit sample uses the upper two bits, as
  in data of 12 bits, the picture comes out dark, which is told once.
- **Transparency** (channel, palette or color key) goes to ``alpha``; colors stay as stored.
- **Color.** An embedded ICC profile is followed (relative colorimetric, black point compensated).
  Without one: RGB and gray are sRGB, CMYK is converted without a press model, LAB is D50.
- **Orientation.** The EXIF (in a TIFF, the TIFF) orientation is applied.

Formats are told by content, not by suffix (:mod:`~impasto.data.formats`); only some are tried, for
Pillow knows others that start programs.
"""

import logging
import stat
import struct
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from impasto.data.formats import (
    HEADER_BYTES,
    TiffFile,
    UnreadableError,
    exif_orientation,
    libtiff_errors,
    rawmode_of,
    recognize,
    tiff_tags,
    wide_layout,
)
from impasto.options.errors import PictureError

__all__ = [
    "DEFAULT_MAX_PIXELS",
    "PLAIN_MODES",
    "Box",
    "Picture",
    "PictureRows",
    "Rgb",
    "load_wide_bytes",
    "open_rows",
    "opened",
    "orientation_of",
    "profile_transform",
    "read_orientation",
    "read_picture",
    "read_reduced",
    "read_size",
    "read_small",
    "refuse_large",
    "split_alpha",
    "tell_dark",
    "turn",
]

DEFAULT_MAX_PIXELS = 178_956_970
"""Where Pillow, as delivered, refuses a picture too: 2**29 bytes as RGB."""

Rgb = NDArray[np.uint8]
"""A picture or a part of one: RGB, (H, W, 3), uint8, sRGB."""

Box = tuple[float, float, float, float]
"""Left, upper, right and lower end of a part of a picture, in pixels."""

_LOGGER = logging.getLogger(__name__)
# TIFF 6.0 tags; EXIF uses the last one too.
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PLANES, _ORIENTATION = 256, 257, 258, 262, 284, 274
_EXTRAS = 338
_COMPRESSION, _STRIPS, _STRIP_BYTES, _STRIP_ROWS, _SAMPLES = 259, 273, 279, 278, 277
_TILE_WIDTH, _TILE_ROWS, _TILES, _TILE_BYTES = 322, 323, 324, 325
# What tells how samples of a part are stored, and what they mean.
_PART_TAGS = (
    *(_WIDTH, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, _SAMPLES, _PLANES, 317, 320, _EXTRAS, 339),
    *(_TILE_WIDTH, _TILE_ROWS, 347, 529, 530, 531, 532, 34675),
)
# Rows that are decoded at once where a file lets choose, and that are kept for the next call.
_PART_ROWS, _KEPT_ROWS = 64, 256
# More pixels that can only be decoded together are too many for reading by rows.
_MOST_PART_PIXELS = 2**26
_in_parts: ContextVar[bool] = ContextVar("in_parts", default=False)
_SRGB = ImageCms.createProfile("sRGB")
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_ICC_SPACES = {"L": "GRAY", "RGB": "RGB ", "CMYK": "CMYK", "LAB": "Lab "}
_Alpha = NDArray[np.uint8] | None
_Samples = tuple[Image.Image, _Alpha]

# What Pillow's decoders raise on damaged files; warnings, in programs that make them errors.
_LOGIC = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError)
_FORMAT = (EOFError, SyntaxError, ValueError, Warning, struct.error, zlib.error)
_DECODER_ERRORS = (OSError, Image.DecompressionBombError, *_LOGIC, *_FORMAT)


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """A decoded picture: 8-bit sRGB, upright.

    Attributes:
        rgb: RGB, (H, W, 3), uint8, sRGB, C-contiguous. Not multiplied by alpha.
        alpha: (H, W), uint8, 0 is transparent, C-contiguous; None when the file has none.

    Raises:
        ValueError: an array has another shape or dtype.
    """

    rgb: NDArray[np.uint8]
    alpha: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        shape = (*self.rgb.shape[:2], 3)
        for name, array, want in (("rgb", self.rgb, shape), ("alpha", self.alpha, shape[:2])):
            if array is None:
                continue
            if array.dtype != np.uint8 or array.shape != want or len(shape) != 3:
                raise ValueError(f"{name} must be {want} uint8, got {array.shape} {array.dtype}")
            object.__setattr__(self, name, np.ascontiguousarray(array))

    @property
    def height(self) -> int:
        """Rows of pixels."""
        return int(self.rgb.shape[0])

    @property
    def width(self) -> int:
        """Columns of pixels."""
        return int(self.rgb.shape[1])


def read_picture(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> Picture:
    """Read a picture of any supported format as upright 8-bit sRGB.

    Safe to call from several threads at once.

    Args:
        path: a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, HEIC, PPM, PGM or PBM file, whatever its
            suffix. HEIC needs the package pillow-heif.
        max_pixels: refuse a picture with more pixels (width times height) before decoding it. For
            WebP, Pillow's own limit of ``2 * PIL.Image.MAX_IMAGE_PIXELS`` holds as well.

    Returns:
        The picture.

    Raises:
        PictureError: the file cannot be opened, is no picture, is damaged, is too large, or holds
            samples without a clear meaning.
    """
    return _read(path, max_pixels)[0]


def read_reduced(path: Path, least: tuple[int, int]) -> tuple[Rgb, Box]:
    """Read a picture that will be scaled down; a JPEG, if possible, at a fraction of its size.

    One of at least twice, four or eight times the given height and width is decoded at a half, a
    quarter or an eighth of its size, from the lower frequencies of each block: much faster, and not
    quite the pixels that come of scaling the whole picture. The rest is as :func:`read_picture`
    says.

    Args:
        path: file as :func:`read_picture` reads it.
        least: height and width in pixels, of the upright picture, that are enough.

    Returns:
        RGB, (H, W, 3), uint8; and the left, upper, right and lower end of the picture therein, in
        pixels, since a fraction of one is filled up.

    Raises:
        PictureError: as :func:`read_picture` raises it.
    """
    picture, box = _read(path, DEFAULT_MAX_PIXELS, least)
    return picture.rgb, box


def read_small(path: Path, least: tuple[int, int]) -> Picture:
    """Read a picture of which a rough look is enough, a JPEG at a fraction of its size.

    As :func:`read_reduced`, with its transparency; pixels that fill up a fraction are a part of it.

    Args:
        path: file as :func:`read_picture` reads it.
        least: height and width in pixels, of the upright picture, that are enough.

    Raises:
        PictureError: as :func:`read_picture` raises it.
    """
    return _read(path, DEFAULT_MAX_PIXELS, least)[0]


def _read(
    path: Path,
    max_pixels: int,
    least: tuple[int, int] | None = None,
    *,
    data: bytes | None = None,
) -> tuple[Picture, Box]:
    with opened(path, pixels=True, data=data) as (file, image):
        refuse_large(path, *image.size, max_pixels)
        width, height = image.size
        orientation = orientation_of(image)
        sides: tuple[float, float] = (height, width)
        if least is not None and isinstance(image, JpegImageFile):
            high, wide = least if orientation < 5 else least[::-1]
            reduced = image.draft(None, (max(1, wide), max(1, high)))
            sides = sides if reduced is None else (reduced[1][3], reduced[1][2])
        with libtiff_errors() as errors:
            if isinstance(image, TiffFile) and image.floats:
                color, alpha = _load_floats(path, file, image)
            else:
                color, alpha = _load(path, file, image)
        if any(name.startswith("Fax") for name in errors):
            raise PictureError(path, "is not a readable TIFF file: its data are damaged")
        rgb = np.asarray(_to_srgb(path, color, image.info))
        turned = None if alpha is None else turn(alpha, orientation)
        picture = Picture(rgb=turn(rgb, orientation), alpha=turned)
        return picture, _box(picture, sides, orientation)


class PictureRows:
    """A TIFF or BigTIFF of which a few rows are decoded at a time; :func:`open_rows` makes it.

    Each part is decoded as a whole file would be, with its color profile, depth and alpha; only
    that data of 12 bits look dark is not told. Not to be used by two threads at once.

    Attributes:
        height: rows of pixels.
        width: columns of pixels.
    """

    def __init__(self, path: Path, tags: ImageFileDirectory_v2) -> None:
        self._path, self._tags = path, tags
        self.height, self.width = int(tags[_HEIGHT]), int(tags[_WIDTH])
        tiled = _TILES in tags
        self._names = (_TILES, _TILE_BYTES) if tiled else (_STRIPS, _STRIP_BYTES)
        self._starts, self._sizes = (list(tags[name]) for name in self._names)
        self._rows = int(tags[_TILE_ROWS] if tiled else tags.get(_STRIP_ROWS, self.height))
        self._rows = self._rows if tiled else min(self._rows, self.height)
        self._across = -(-self.width // int(tags[_TILE_WIDTH])) if tiled else 1
        self._planes = int(tags.get(_SAMPLES, 1)) if tags.get(_PLANES) == 2 else 1
        if not tiled and tags.get(_COMPRESSION, 1) == 1 and self._rows > _PART_ROWS:
            self._split()
        self._down = -(-self.height // self._rows)
        self._group = 1 if tiled else max(1, _PART_ROWS // self._rows)
        self._step = self._rows * self._group
        self._parts: dict[int, Picture] = {}

    @property
    def is_whole(self) -> bool:
        """Whether the file says where each part lies, and parts are small enough."""
        expected = self._down * self._across * self._planes
        fits = self._step * self.width <= _MOST_PART_PIXELS
        return fits and len(self._starts) == len(self._sizes) == expected

    def read(self, start: int, stop: int) -> Picture:
        """Return rows, from the first to before the last one.

        Raises:
            PictureError: as :func:`read_picture` raises it.
        """
        numbers = range(start // self._step, -(-stop // self._step))
        parts = [self._part(number) for number in numbers]
        most = max(len(numbers), 2, _KEPT_ROWS // self._step)
        for number in list(self._parts)[:-most]:
            del self._parts[number]
        first = numbers[0] * self._step
        inside = slice(start - first, stop - first)
        rgb = np.concatenate([part.rgb for part in parts])[inside]
        alphas = [part.alpha for part in parts if part.alpha is not None]
        return Picture(rgb=rgb, alpha=np.concatenate(alphas)[inside] if alphas else None)

    def rgb(self, start: int, stop: int) -> Rgb:
        """Return rows without their alpha, RGB, (rows, W, 3), uint8."""
        return self.read(start, stop).rgb

    def _split(self) -> None:
        """Take rows without compression for strips of a few rows."""
        bits = sum(self._tags[_BITS]) if self._planes == 1 else self._tags[_BITS][0]
        size = -(-self.width * bits // 8)
        starts, sizes = [], []
        down = -(-self.height // self._rows)
        for number, start in enumerate(self._starts):
            rows = min(self._rows, self.height - number % down * self._rows)
            for row in range(0, rows, _PART_ROWS):
                starts.append(start + row * size)
                sizes.append(min(_PART_ROWS, rows - row) * size)
        if self._rows % _PART_ROWS == 0 or down == 1:
            self._starts, self._sizes, self._rows = starts, sizes, _PART_ROWS

    def _part(self, number: int) -> Picture:
        part = self._parts.pop(number, None)
        if part is None:
            told = _in_parts.set(True)
            try:
                part = _read(self._path, 2**62, data=self._file(number))[0]
            finally:
                _in_parts.reset(told)
        self._parts[number] = part  # as the one that was used last
        return part

    def _file(self, number: int) -> bytes:
        """Return a file that holds but one part."""
        across, first = self._across, number * self._group
        last = min(first + self._group, self._down)
        places = [
            place
            for plane in range(self._planes)
            for place in range(
                (plane * self._down + first) * across, (plane * self._down + last) * across
            )
        ]
        data = []
        with _open_file(self._path) as file:
            for place in places:
                file.seek(self._starts[place])
                data.append(file.read(self._sizes[place]))
        prefix = self._tags.prefix
        mark = b"*\0" if prefix == b"II" else b"\0*"
        ifd = ImageFileDirectory_v2(prefix + mark + bytes(4))
        for tag in _PART_TAGS:
            if tag in self._tags:
                ifd.tagtype[tag] = self._tags.tagtype[tag]
                ifd[tag] = self._tags[tag]
        ifd[_HEIGHT] = min(last * self._rows, self.height) - first * self._rows
        if self._names[0] == _STRIPS:
            ifd[_STRIP_ROWS] = self._rows
        starts, sizes = self._names
        for name in self._names:
            ifd.tagtype[name] = 4
        ifd[sizes] = tuple(map(len, data))
        ifd[starts] = (0,) * len(data)
        # Of strips, though not of tiles, Pillow counts from the end of the tags.
        at = 0 if starts == _STRIPS else 8 + len(ifd.tobytes(8))
        ifd[starts] = tuple(at + sum(map(len, data[:index])) for index in range(len(data)))
        order: Literal["little", "big"] = "little" if prefix == b"II" else "big"
        return b"".join([prefix, mark, (8).to_bytes(4, order), ifd.tobytes(8), *data])


def open_rows(path: Path) -> PictureRows | None:
    """Open a picture to read it by rows; None where its format, or this file, has no such parts.

    Those are TIFF and BigTIFF files of strips or tiles, upright, in whatever compression.

    Raises:
        PictureError: the file cannot be opened, is no picture, or has a damaged header.
    """
    with opened(path, pixels=False) as (_, image):
        if not isinstance(image, TiffImageFile) or orientation_of(image) != 1:
            return None
        rows = PictureRows(path, image.tag_v2)
        return rows if rows.is_whole else None


def read_size(path: Path) -> tuple[int, int]:
    """Read the size of the picture that ``read_picture`` would give, from the file's header alone.

    Args:
        path: a file as :func:`read_picture` reads it, whatever its suffix.

    Returns:
        Width and height of the upright picture, in pixels.

    Raises:
        PictureError: the file cannot be opened, is no picture, or has a damaged header.
    """
    with opened(path, pixels=False) as (_, image):
        tags = tiff_tags(image)  # some versions of Pillow give a TIFF's size upright, some not
        width, height = tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)
        return (height, width) if orientation_of(image) >= 5 else (width, height)


def refuse_large(path: Path, width: int, height: int, max_pixels: int) -> None:
    """Refuse a picture with more pixels than a limit, before it is decoded."""
    if width * height > max_pixels:
        excess = f"{width * height} pixels, more than the limit of {max_pixels}"
        raise PictureError(path, f"has {width} x {height} = {excess}; make it smaller")


def read_orientation(path: Path) -> int:
    """Read how a file says that its picture is to be turned: 1 (not at all) to 8, as EXIF has it.

    Raises:
        PictureError: the file cannot be opened, is no picture, or has a damaged header.
    """
    with opened(path, pixels=False) as (_, image):
        return orientation_of(image)


@contextmanager
def opened(
    path: Path, *, pixels: bool, data: bytes | None = None
) -> Iterator[tuple[IO[bytes], ImageFile]]:
    """Open a picture without decoding it; whatever the body raises leaves as a PictureError."""
    name = "picture"
    with _open_file(path) if data is None else BytesIO(data) as file:
        try:
            kind = recognize(file.read(HEADER_BYTES))
            name = kind.name
            file.seek(0)
            yield kind.open(file, pixels)
        except PictureError:
            raise
        except UnreadableError as error:
            raise PictureError(path, str(error)) from error
        except MemoryError as error:
            raise PictureError(path, "does not fit in memory") from error
        except _DECODER_ERRORS as error:
            reason = f"is not a readable {name} file: {_explain(error)}"
            raise PictureError(path, reason) from error


def _explain(error: Exception) -> str:
    """Return what a decoder says, in words where it speaks of itself."""
    detail = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
    said = detail.lower()
    if any(word in said for word in ("truncated", "eof", "not enough", "incomplete")):
        return "it is cut short; was it copied or downloaded completely?"
    if detail.isdigit() or any(word in said for word in ("decoder error", "data stream")):
        return "its data are damaged"
    return detail


def _open_file(path: Path) -> IO[bytes]:
    try:
        if stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(path, f"cannot be opened: {reason.lower()}") from error
    raise PictureError(path, "is a folder" if path.is_dir() else "is not a regular file")


def _load(path: Path, file: IO[bytes], image: ImageFile) -> _Samples:
    """Decode to a picture of mode L, RGB, CMYK or LAB, and its alpha (H, W)."""
    tags = tiff_tags(image)
    if tags.get(_PLANES) == 2 and max(tags.get(_BITS, (1,))) > 8:
        # Pillow gives noise for these without compression, and the high byte alone with it.
        raise PictureError(path, "is a 16-bit TIFF in separate planes; save it interleaved")
    if wide_layout(image):
        return _load_wide(path, file, image)
    rawmode = rawmode_of(image)
    image.load()
    if image.mode == "F" or image.mode.startswith("I"):
        return _narrow_gray(path, image)
    # Adobe writes CMYK upside down and says so by a marker; Pillow takes every file for Adobe's.
    if isinstance(image, JpegImageFile) and image.mode == "CMYK" and "adobe" not in image.info:
        return ImageChops.invert(image), None
    if image.mode in ("1", "L", "RGB"):
        color = image.convert("L") if image.mode == "1" else image
        # A key counts in the file's own steps; Pillow stretches the samples (13: and some keys).
        stretch = {"1": 255, "L;2": 85, "L;4": 17}.get(rawmode, 1)
        return color, _key_alpha(image, np.asarray(color), stretch)
    return split_alpha(image)


def _key_alpha(image: ImageFile, samples: NDArray[Any], stretch: int = 1) -> _Alpha:
    """Alpha of a picture in which one color stands for transparent: 0 there, otherwise 255."""
    if "transparency" not in image.info:
        return None
    key = np.atleast_1d(image.info["transparency"])
    key = key if stretch == 1 else np.minimum(key * stretch, 255)
    return np.where((np.atleast_3d(samples) == key).all(axis=2), 0, 255).astype(np.uint8)


PLAIN_MODES = {"P": "RGB", "PA": "RGBA", "RGBa": "RGBA", "La": "LA", "YCbCr": "RGB"}
"""Modes of Pillow that become others, in which samples are colors or alpha."""


def split_alpha(image: Image.Image) -> _Samples:
    """Return a picture as L, RGB, CMYK or LAB, and its alpha, (H, W), uint8, or None."""
    palette = "RGBA" if "transparency" in image.info else "RGB"
    plain = {**PLAIN_MODES, "P": palette}
    if image.mode in plain:
        image = image.convert(plain[image.mode])
    if image.mode in ("LA", "RGBA"):
        return image.convert(image.mode[:-1]), np.array(image.getchannel("A"))
    return image, None


def _load_floats(path: Path, file: IO[bytes], image: TiffFile) -> _Samples:
    """Read floating-point samples that Pillow does not know, by scikit-image's TIFF reader."""
    try:
        import tifffile  # noqa: PLC0415 - seldom needed
    except ImportError as error:  # impasto-lite does without
        raise PictureError(
            path,
            "is a TIFF of floating-point numbers, which needs the package tifffile: "
            "pip install tifffile",
        ) from error

    file.seek(0)
    try:
        values = np.asarray(tifffile.imread(file, key=0, maxworkers=1), np.float32)
    except (KeyError, ValueError) as error:
        if "imagecodecs" not in str(error):
            raise
        raise PictureError(
            path,
            "is a TIFF of floating-point numbers, compressed in a way that cannot be read here; "
            "save it without compression",
        ) from error
    colors = 3 if image.mode == "RGB" else 1
    values = values.reshape(image.height, image.width, -1)
    _check_range(path, values, 1.0)
    alpha = None
    extras = image.tag_v2.get(_EXTRAS, (0,))
    if extras[0] in (1, 2):
        wide = values[..., colors:]
        alpha = np.rint(wide[..., 0] * 255).astype(np.uint8)
        if extras[0] == 1:  # stored multiplied by alpha
            values = np.minimum(values / np.maximum(wide, 1e-6), 1)
    samples = np.rint(values[..., :colors] * 255).astype(np.uint8)
    color = samples[..., 0] if colors == 1 else samples
    return Image.fromarray(np.ascontiguousarray(color)), alpha


def _check_range(path: Path, values: NDArray[Any], white: float) -> None:
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # so written that NaN is refused
        expected = f"expected 0 to {white:g}; save it with 8 or 16 bits a sample"
        raise PictureError(path, f"has values from {low:g} to {high:g}, {expected}")


def tell_dark(path: Path, values: NDArray[Any]) -> None:
    """Warn once where 16-bit samples of a file leave the upper two bits unused, but are not 0."""
    high = int(values.max())
    if 0 < high < 1 << 14 and not _in_parts.get():
        _warn_of_dark(path, high, max(10, high.bit_length()))


@lru_cache(maxsize=4096)  # called once for a file, however often an epoch reads it
def _warn_of_dark(path: Path, high: int, bits: int) -> None:
    _LOGGER.warning(
        "%s: its brightest 16-bit sample is %d of 65535, so the picture is very dark; if these are "
        "data of %d bits, scale them to 16 bits first",
        path,
        high,
        bits,
    )


def load_wide_bytes(file: IO[bytes], image: ImageFile) -> tuple[str, Rgb, Rgb]:
    """Decode color of 16 bits a sample: its channels, the high bytes and the low ones."""
    layout, _, order = rawmode_of(image).partition(";16")
    if layout == "LA":  # two samples of two bytes, read as four of one
        four = _load_as(image, "RGBA")
        high, low = four[..., 0::2], four[..., 1::2]
    else:
        order = order.replace("N", "L" if sys.byteorder == "little" else "B")
        plain = layout.replace("a", "A")
        file.seek(0)
        again = type(image)(file)
        # Told the wrong byte order, Pillow keeps the low byte of each sample.
        low = _load_as(again, f"{plain};16{'L' if order == 'B' else 'B'}")
        high = _load_as(image, f"{plain};16{order}")
    return layout, high, low


def _load_wide(path: Path, file: IO[bytes], image: ImageFile) -> _Samples:
    """Reduce color of 16 bits a sample, of which Pillow alone would keep the high byte."""
    layout, high, low = load_wide_bytes(file, image)
    if layout != "CMYK":
        colors = 1 if layout == "LA" else 3
        tell_dark(path, high[..., :colors] * np.uint16(256) + low[..., :colors])
    # v / 257 = high + (low - high) / 257 for v = 256 high + low: rounding moves high by at most 1.
    gap = low.astype(np.int16) - high
    samples = high + (gap > 128) - (gap < -128)
    if layout == "CMYK":
        return Image.frombytes("CMYK", image.size, samples.tobytes()), None
    alpha = samples[..., -1] if layout in ("LA", "RGBA", "RGBa") else None
    if layout == "RGBa":  # stored multiplied by alpha
        wide = high * 256.0 + low
        samples = np.rint(255 * np.minimum(wide / np.maximum(wide[..., 3:], 1), 1)).astype(np.uint8)
    if layout == "RGB":
        alpha = _key_alpha(image, high * np.uint16(256) + low)
    color = samples[..., 0] if layout == "LA" else samples[..., :3]
    return Image.fromarray(np.ascontiguousarray(color)), alpha


def _load_as(image: ImageFile, rawmode: str) -> NDArray[np.uint8]:
    for index, tile in enumerate(image.tile):
        args = (rawmode, *tile[3][1:]) if isinstance(tile[3], tuple) else rawmode
        image.tile[index] = tile._replace(args=args)
    image.load()
    return np.asarray(image)


def _narrow_gray(path: Path, image: ImageFile) -> _Samples:
    """Reduce gray of more than 8 bits (modes I, I;16 and F)."""
    tags = tiff_tags(image)
    values = np.asarray(image)
    white = 1.0 if image.mode == "F" else 4095 if tags.get(_BITS) == (12,) else 65535
    _check_range(path, values, white)
    if white == 65535 and tags.get(_PHOTOMETRIC) != 0:
        tell_dark(path, values)
    gray = np.rint(values * (255 / white)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds up to 8 bits only
        gray = 255 - gray
    return Image.fromarray(gray), _key_alpha(image, values)


def _to_srgb(path: Path, color: Image.Image, info: dict[Any, Any]) -> Image.Image:
    if "icc_profile" in info:
        try:
            transform = profile_transform(info["icc_profile"], color.mode)
            return transform.apply(color) if transform else color
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
            _warn_of_profile(path, str(error))
    if color.mode == "LAB":
        return _build(ImageCms.createProfile("LAB"), "LAB").apply(color)
    return color.convert("RGB")


@lru_cache(maxsize=32)  # the pictures of one folder usually share a profile
def profile_transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Build the way from a profile to sRGB; None when it would change nothing."""
    if not profile:
        raise ValueError("it is incomplete")
    source = ImageCms.ImageCmsProfile(BytesIO(profile))
    space, expected = source.profile.xcolor_space, _ICC_SPACES[mode]
    if space != expected:
        raise ValueError(f"it is for {space.strip()}, the picture is {expected.strip()}")
    transform = _build(source, mode)
    if mode == "RGB":
        # Most profiles are sRGB itself: skip those, by what they do and not by what they are
        # called, and so leave every color exact.
        steps = np.arange(0, 256, 15, dtype=np.uint8)
        probe = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)
        moved = np.asarray(transform.apply(Image.fromarray(probe)), np.int16) - probe
        if np.abs(moved).max() <= 1:
            return None
    return transform


def _build(source: Any, mode: str) -> ImageCms.ImageCmsTransform:
    # LittleCMS would use tables of 33 steps for these, and be wrong by up to 10 of 255.
    exact = ImageCms.Flags.NOOPTIMIZE if mode in ("L", "LAB") else ImageCms.Flags.NONE
    flags = ImageCms.Flags.BLACKPOINTCOMPENSATION | exact
    return ImageCms.buildTransform(source, _SRGB, mode, "RGB", _INTENT, flags)


@lru_cache(maxsize=4096)  # called once for a file, however often an epoch reads it
def _warn_of_profile(path: Path, reason: str) -> None:
    _LOGGER.warning("%s: read without its color profile: %s", path, reason)


def orientation_of(image: ImageFile) -> int:
    """How the rows and columns are stored, 1 to 8 (EXIF 2.32, tag 0x0112); 1 is upright."""
    exif = image.info.get("exif") or b""
    stored = exif_orientation(exif.removeprefix(b"Exif\0\0"))
    value = tiff_tags(image).get(_ORIENTATION, stored)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _box(picture: Picture, sides: tuple[float, float], orientation: int) -> Box:
    """Return where the stored height and width lie in the upright picture."""
    high, wide = sides if orientation < 5 else sides[::-1]
    down, along = _reversed(orientation)
    top, left = (picture.height - high if down else 0), (picture.width - wide if along else 0)
    return left, top, left + wide, top + high


def _reversed(orientation: int) -> tuple[bool, bool]:
    """Whether rows run upwards, and columns to the left, once they are swapped if need be."""
    return orientation in (3, 4, 7, 8), orientation in (2, 3, 6, 7)


def turn(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn stored rows and columns (H, W, ...) upright, as an orientation of EXIF says, 1 to 8."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    down, along = (-1 if back else 1 for back in _reversed(orientation))
    return np.ascontiguousarray(array[::down, ::along])
