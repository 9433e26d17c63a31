"""Picture files in: whatever a file holds becomes upright 8-bit sRGB, or a ``PictureError``.

What a file's samples mean, in the order in which it is settled:

- **First frame.** Of an animation or a multi-page TIFF only the first picture is read.
- **Depth.** 16 bits become 8 by ``round(v / 257)``. Whole numbers of 32 bits must lie in 0..65535
  and count as 16 bits. Floats must lie in [0, 1], which becomes 0..255. Anything else is refused,
  because there is no telling what its white is.
- **Transparency** (channel, palette or color key) goes to ``alpha``; colors stay as stored.
- **Color.** An embedded ICC profile is followed (relative colorimetric, black point compensated).
  Without one: RGB and gray are sRGB, CMYK is converted without a press model, LAB is D50.
- **Orientation.** The EXIF (in a TIFF, the TIFF) orientation is applied.

Formats are told by content, not by suffix; only six are tried, for Pillow knows some that start
other programs.
"""

import logging
import stat
import struct
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageCms
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from impasto.options.errors import PictureError

__all__ = ["DEFAULT_MAX_PIXELS", "Picture", "Rgb", "read_picture", "read_size"]

DEFAULT_MAX_PIXELS = 178_956_970
"""Where Pillow, as delivered, refuses a picture too: 2**29 bytes as RGB."""

Rgb = NDArray[np.uint8]
"""A picture or a part of one: RGB, (H, W, 3), uint8, sRGB."""

_LOGGER = logging.getLogger(__name__)
# TIFF 6.0 tags; EXIF uses the last one too.
_WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _PLANES, _ORIENTATION = 256, 257, 258, 262, 284, 274
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
        path: a JPEG, PNG, WebP, BMP, TIFF or GIF file, whatever its suffix.
        max_pixels: refuse a picture with more pixels (width times height) before decoding it. For
            WebP, Pillow's own limit of ``2 * PIL.Image.MAX_IMAGE_PIXELS`` holds as well.

    Returns:
        The picture.

    Raises:
        PictureError: the file cannot be opened, is no picture, is damaged, is too large, or holds
            samples without a clear meaning.
    """
    with _opened(path) as (file, image):
        width, height = image.size
        if width * height > max_pixels:
            excess = f"{width * height} pixels, more than the limit of {max_pixels}"
            raise PictureError(path, f"has {width} x {height} = {excess}; make it smaller")
        orientation = _orientation(file, image)
        color, alpha = _load(path, file, image)
        rgb = np.asarray(_to_srgb(path, color, image.info))
        turned = None if alpha is None else _turn(alpha, orientation)
        return Picture(rgb=_turn(rgb, orientation), alpha=turned)


def read_size(path: Path) -> tuple[int, int]:
    """Read the size of the picture that ``read_picture`` would give, from the file's header alone.

    Args:
        path: a JPEG, PNG, WebP, BMP, TIFF or GIF file, whatever its suffix.

    Returns:
        Width and height of the upright picture, in pixels.

    Raises:
        PictureError: the file cannot be opened, is no picture, or has a damaged header.
    """
    with _opened(path) as (file, image):
        tags = _tiff_tags(image)  # some versions of Pillow give a TIFF's size upright, some not
        width, height = tags.get(_WIDTH, image.width), tags.get(_HEIGHT, image.height)
        return (height, width) if _orientation(file, image) >= 5 else (width, height)


class _Jpeg(JpegImageFile):
    # Pillow asks for the EXIF block to find the resolution, and warns where it is damaged.
    def getexif(self) -> Image.Exif:
        return Image.Exif()


class _Tiff(TiffImageFile):
    # Pillow would turn the picture by this, in some versions; the turning is done in one place.
    def getexif(self) -> Image.Exif:
        return Image.Exif()

    # Pillow would count the pixels again by its global limit, if the memory were not there yet.
    def load_prepare(self) -> None:
        self._size = self.tag_v2[_WIDTH], self.tag_v2[_HEIGHT]
        self.im = Image.new(self.mode, self._size).im
        super().load_prepare()


# Image.open is not used: it compares sizes with a global limit and warns, and warnings can neither
# be caught in one thread only (warnings.catch_warnings changes the whole process) nor filtered
# without changing the caller's filters. These classes are what it would choose from.
_FORMATS: tuple[tuple[str, tuple[bytes, ...], type[ImageFile]], ...] = (
    ("JPEG", (b"\xff\xd8\xff",), _Jpeg),
    ("PNG", (b"\x89PNG\r\n\x1a\n",), PngImageFile),
    ("WebP", (b"RIFF",), WebPImageFile),
    ("BMP", (b"BM",), BmpImageFile),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _Tiff),
    ("GIF", (b"GIF87a", b"GIF89a"), GifImageFile),
)


@contextmanager
def _opened(path: Path) -> Iterator[tuple[IO[bytes], ImageFile]]:
    """Open a picture without decoding it; whatever the body raises leaves as a PictureError."""
    name = "picture"
    with _open_file(path) as file:
        try:
            name, kind = _recognize(path, file.read(16))
            file.seek(0)
            yield file, kind(file)
        except PictureError:
            raise
        except MemoryError as error:
            raise PictureError(path, "does not fit in memory") from error
        except _DECODER_ERRORS as error:
            detail = (str(error).splitlines() or [""])[0][:120] or type(error).__name__
            raise PictureError(path, f"is not a readable {name} file: {detail}") from error


def _open_file(path: Path) -> IO[bytes]:
    try:
        if stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for ever
            return path.open("rb")
    except (OSError, ValueError) as error:  # ValueError: a null character in the name
        reason = getattr(error, "strerror", None) or str(error)
        raise PictureError(path, f"cannot be opened: {reason.lower()}") from error
    raise PictureError(path, "is a folder" if path.is_dir() else "is not a regular file")


def _recognize(path: Path, start: bytes) -> tuple[str, type[ImageFile]]:
    if not start:
        raise PictureError(path, "is empty")
    for name, signatures, kind in _FORMATS:
        if start.startswith(signatures):
            return name, kind
    raise PictureError(path, f"is not a {', '.join(name for name, _, _ in _FORMATS)} picture")


def _load(path: Path, file: IO[bytes], image: ImageFile) -> _Samples:
    """Decode to a picture of mode L, RGB, CMYK or LAB, and its alpha (H, W)."""
    tags = _tiff_tags(image)
    if tags.get(_PLANES) == 2 and max(tags.get(_BITS, (1,))) > 8:
        # Pillow gives noise for these without compression, and the high byte alone with it.
        raise PictureError(path, "is a 16-bit TIFF in separate planes; save it interleaved")
    args = image.tile[0][3] if image.tile else ""  # a WebP has none yet
    rawmode = str(args[0] if isinstance(args, tuple) else args)  # the samples' layout in the file
    if ";16" in rawmode and not image.mode.startswith("I"):
        return _load_wide(file, image, rawmode)
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
    return _split_alpha(image)


def _key_alpha(image: ImageFile, samples: NDArray[Any], stretch: int = 1) -> _Alpha:
    """Alpha of a picture in which one color stands for transparent: 0 there, otherwise 255."""
    if "transparency" not in image.info:
        return None
    key = np.atleast_1d(image.info["transparency"])
    key = key if stretch == 1 else np.minimum(key * stretch, 255)
    return np.where((np.atleast_3d(samples) == key).all(axis=2), 0, 255).astype(np.uint8)


def _split_alpha(image: Image.Image) -> _Samples:
    palette = "RGBA" if "transparency" in image.info else "RGB"
    plain = {"P": palette, "PA": "RGBA", "RGBa": "RGBA", "La": "LA", "YCbCr": "RGB"}
    if image.mode in plain:
        image = image.convert(plain[image.mode])
    if image.mode in ("LA", "RGBA"):
        return image.convert(image.mode[:-1]), np.array(image.getchannel("A"))
    return image, None


def _tiff_tags(image: ImageFile) -> Mapping[int, Any]:
    return image.tag_v2 if isinstance(image, TiffImageFile) else {}


def _load_wide(file: IO[bytes], image: ImageFile, rawmode: str) -> _Samples:
    """Decode color of 16 bits a sample, of which Pillow alone would keep the high byte."""
    layout, _, order = rawmode.partition(";16")
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
    tags = _tiff_tags(image)
    values = np.asarray(image)
    white = 1.0 if image.mode == "F" else 4095 if tags.get(_BITS) == (12,) else 65535
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):  # so written that NaN is refused
        expected = f"expected 0 to {white:g}; save it with 8 or 16 bits a sample"
        raise PictureError(path, f"has gray values from {low} to {high}, {expected}")
    gray = np.rint(values * (255 / white)).astype(np.uint8)
    if tags.get(_PHOTOMETRIC) == 0:  # white is zero, which Pillow heeds up to 8 bits only
        gray = 255 - gray
    return Image.fromarray(gray), _key_alpha(image, values)


def _to_srgb(path: Path, color: Image.Image, info: dict[Any, Any]) -> Image.Image:
    if "icc_profile" in info:
        try:
            transform = _transform(info["icc_profile"], color.mode)
            return transform.apply(color) if transform else color
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError) as error:
            _warn_of_profile(path, str(error))
    if color.mode == "LAB":
        return _build(ImageCms.createProfile("LAB"), "LAB").apply(color)
    return color.convert("RGB")


@lru_cache(maxsize=32)  # the pictures of one folder usually share a profile
def _transform(profile: bytes, mode: str) -> ImageCms.ImageCmsTransform | None:
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


def _orientation(file: IO[bytes], image: ImageFile) -> int:
    """How the rows and columns are stored, 1 to 8 (EXIF 2.32, tag 0x0112); 1 is upright."""
    exif = image.info.get("exif") or (_late_exif(file) if isinstance(image, PngImageFile) else b"")
    stored = _exif_orientation(exif.removeprefix(b"Exif\0\0"))
    value = _tiff_tags(image).get(_ORIENTATION, stored)
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _late_exif(file: IO[bytes]) -> bytes:
    """Find the EXIF chunk of a PNG behind its pixels, where older ExifTools put it."""
    position = file.tell()
    file.seek(8)
    exif = b""
    while not exif and len(head := file.read(8)) == 8 and head[4:] != b"IEND":
        length = int.from_bytes(head[:4], "big")
        exif = file.read(min(length, 1 << 16)) if head[4:] == b"eXIf" else b""
        file.seek(length + 4 - len(exif), 1)
    file.seek(position)
    return exif


def _exif_orientation(exif: bytes) -> int:
    # Not by Image.getexif(), which warns about damage anywhere in the block.
    if not exif.startswith((b"II", b"MM")):
        return 1
    order: Literal["little", "big"] = "little" if exif.startswith(b"II") else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(exif[at : at + size], order)

    first = number(4, 4)
    for entry in range(first + 2, first + 2 + 12 * number(first, 2), 12):
        if number(entry, 2) == _ORIENTATION:
            return number(entry + 8, 4 if number(entry + 2, 2) == 4 else 2)  # LONG or SHORT
    return 1


def _turn(array: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Turn stored rows and columns (H, W, ...) upright."""
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    down, along = (-1 if orientation in back else 1 for back in ((3, 4, 7, 8), (2, 3, 6, 7)))
    return np.ascontiguousarray(array[::down, ::along])
