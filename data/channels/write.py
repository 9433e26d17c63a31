"""Files of numbers out: PNG of 8 or 16 bits, TIFF and ``.npy`` of any type, whole or not at all."""

import struct
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.data.decode import Picture
from impasto.data.encode import srgb_profile, write_encoded, write_picture
from impasto.options.errors import PictureError

__all__ = ["what_holds", "write_samples"]

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # of PNG 11.2.1, by the number of channels
_PNG = b"\x89PNG\r\n\x1a\n"
_UP = 2  # the filter of PNG 9.2 that NumPy computes for all rows at once
# Of photographs, 16 bits and this filter: larger numbers take much longer for 2 % fewer bytes.
_LEVEL = 3
_LONGEST_SIDES = {"jpg": 65500, "webp": 16383}


def what_holds(dtype: str, channels: int) -> tuple[str, ...]:
    """Return the file formats that can hold pictures of a type and number of channels.

    Args:
        dtype: ``uint8``, ``uint16``, ``int16``, ``uint32``, ``int32`` or ``float32``.
        channels: number of channels.

    Returns:
        Endings without their dot; those that lose nothing come first.

    Example:
        >>> what_holds("uint16", 1)
        ('png', 'tif', 'npy')
        >>> what_holds("float32", 3)
        ('tif', 'npy')
    """
    holding = ["tif", "npy"]
    if dtype in {"uint8", "uint16"} and channels in _COLOR_TYPES:
        holding.insert(0, "png")
    if dtype == "uint8" and channels in {1, 3}:
        holding.append("jpg")
    if dtype == "uint8" and channels == 3:
        holding.append("webp")
    return tuple(holding)


def write_samples(
    path: Path,
    values: NDArray[Any],
    *,
    quality: int = 95,
    srgb: bool = False,
    on_whole: Callable[[Path], None] = lambda _file: None,
) -> None:
    """Write numbers in the format that the suffix of ``path`` names, in their own type.

    The file holds the numbers and nothing else, so equal ones give equal bytes. Read back by
    :func:`~impasto.data.channels.read.read_samples` they are the same, but for JPEG and WebP.

    Args:
        path: ends in ``.png``, ``.tif``, ``.npy``, ``.jpg`` or ``.webp``.
        values: (H, W, C), of a type and number of channels that the format holds
            (:func:`what_holds`). Two or four channels of a PNG are gray or RGB with alpha.
        quality: quality of JPEG and WebP, 1 to 100.
        srgb: whether these are colors, RGB and perhaps alpha: a TIFF then gets an sRGB profile.
        on_whole: called with the temporary file that is about to take its place at ``path``; where
            it raises, that does not happen.

    Raises:
        PictureError: the format cannot hold them, or the file cannot be written. What stood at
            ``path`` before is then untouched.
    """
    kind = path.suffix.lower().removeprefix(".")
    channels, dtype = values.shape[2], values.dtype.name
    if kind not in (holding := what_holds(dtype, channels)):
        raise PictureError(
            path,
            f"cannot be written: {channels} {'channel' if channels == 1 else 'channels'} of type "
            f"{dtype} need one of {', '.join(holding)}",
        )
    longest = _LONGEST_SIDES.get(kind, 2**31 - 1)
    if max(values.shape[:2]) > longest:
        raise PictureError(path, f"cannot be written: {kind} files hold {longest} pixels a side")
    if kind in {"jpg", "webp"} and channels == 3:
        write_picture(path, Picture(rgb=values), quality=quality, on_whole=on_whole)
        return
    encode: dict[str, Callable[[BytesIO], None]] = {
        "png": lambda file: _encode_png(file, values),
        "tif": lambda file: _encode_tiff(file, values, srgb=srgb),
        "npy": lambda file: np.save(file, values[..., 0] if channels == 1 else values),
        "jpg": lambda file: Image.fromarray(values[..., 0]).save(file, "JPEG", quality=quality),
    }
    write_encoded(path, encode[kind], on_whole)


def _encode_png(file: BytesIO, values: NDArray[Any]) -> None:
    """Write a PNG, also with color of 16 bits, which Pillow does not write."""
    height, width, channels = values.shape
    wide = values.dtype == np.uint16
    stored = np.ascontiguousarray(values, ">u2" if wide else np.uint8)
    lines = stored.view(np.uint8).reshape(height, -1)
    filtered = np.empty((height, 1 + lines.shape[1]), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = lines[0]
    np.subtract(lines[1:], lines[:-1], out=filtered[1:, 1:])
    header = struct.pack(
        ">IIBBBBB", width, height, 16 if wide else 8, _COLOR_TYPES[channels], 0, 0, 0
    )
    file.write(_PNG)
    for name, content in (
        (b"IHDR", header),
        (b"IDAT", zlib.compress(filtered.data, _LEVEL)),
        (b"IEND", b""),
    ):
        file.write(struct.pack(">I", len(content)) + name + content)
        file.write(struct.pack(">I", zlib.crc32(content, zlib.crc32(name))))


def _encode_tiff(file: BytesIO, values: NDArray[Any], *, srgb: bool) -> None:
    import tifffile  # noqa: PLC0415 - seldom needed

    channels = values.shape[2]
    colors = 3 if srgb or channels == 3 else 1
    extras = ["unassalpha" if srgb else "unspecified"] * (channels - colors)
    tifffile.imwrite(
        file,
        values[..., 0] if channels == 1 else values,
        photometric="rgb" if colors == 3 else "minisblack",
        planarconfig=None if channels == 1 else "contig",
        extrasamples=extras or None,
        byteorder="<",
        iccprofile=srgb_profile() if srgb else None,
        metadata=None,
        software=False,
    )
