"""Pictures made alike: one size, one compression history, and one length of file.

For pictures whose files must not tell where they came from. Everything here treats every picture
in the same way, whatever it is given.
"""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from impasto.data.decode import Picture, Rgb

__all__ = ["encode_plain_png", "fill_hidden", "fit_picture", "flatten_alpha", "through_jpeg"]


_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_WHITE = 255


def flatten_alpha(picture: Picture) -> Rgb:
    """Lay a picture on white; RGB, (H, W, 3), uint8."""
    if picture.alpha is None:
        return picture.rgb
    share = picture.alpha[..., None].astype(np.float64) / 255
    return np.rint(picture.rgb * share + _WHITE * (1 - share)).astype(np.uint8)


def fill_hidden(picture: Picture) -> Rgb:
    """Give wholly transparent pixels the color of the nearest pixel that can be seen.

    Files hold any color there, which nobody has ever seen; what looks at a whole picture would.

    Returns:
        RGB, (H, W, 3), uint8; the colors as they are where nothing can be seen at all.
    """
    if picture.alpha is None or picture.alpha.all() or not picture.alpha.any():
        return picture.rgb
    from scipy.ndimage import distance_transform_edt  # noqa: PLC0415 - seldom needed

    rows, columns = distance_transform_edt(
        picture.alpha == 0, return_distances=False, return_indices=True
    )
    filled: Rgb = picture.rgb[rows, columns]
    return filled


def fit_picture(rgb: Rgb, *, width: int, height: int, crop: bool = True) -> Rgb:
    """Bring a picture to a size, by antialiased bicubic interpolation (Pillow's).

    Args:
        rgb: RGB, (H, W, 3), uint8.
        width: pixels.
        height: pixels.
        crop: cut away what is too much at two opposite sides, equally, instead of changing the
            proportions.

    Returns:
        RGB, (height, width, 3), uint8.
    """
    have_height, have_width = rgb.shape[:2]
    box = (0.0, 0.0, float(have_width), float(have_height))
    if crop:
        scale = min(have_width / width, have_height / height)
        left = (have_width - width * scale) / 2
        top = (have_height - height * scale) / 2
        box = (left, top, left + width * scale, top + height * scale)
    scaled = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.asarray(scaled)


def through_jpeg(rgb: Rgb, quality: int) -> Rgb:
    """Encode a picture as JPEG (4:2:0) and decode it again: one generation of its artefacts.

    Args:
        rgb: RGB, (H, W, 3), uint8.
        quality: quality of the JPEG, 1 to 100, as libjpeg counts it.

    Returns:
        RGB, (H, W, 3), uint8.
    """
    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "JPEG", quality=quality, subsampling="4:2:0")
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB"))


def encode_plain_png(rgb: Rgb) -> bytes:
    """Encode a picture as a PNG of IHDR, IDAT and IEND, whose length depends on its size alone.

    The samples are stored, neither filtered nor compressed (RFC 1951, section 3.2.4), so smooth
    pictures do not give shorter files. Of photographs, compression saves a third.

    Args:
        rgb: RGB, (H, W, 3), uint8.
    """
    height, width = rgb.shape[:2]
    rows = np.zeros((height, 1 + width * 3), np.uint8)  # each begins with its filter: none
    rows[:, 1:] = rgb.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    stored = _stored(rows.tobytes())
    return _SIGNATURE + _chunk(b"IHDR", header) + _chunk(b"IDAT", stored) + _chunk(b"IEND", b"")


def _stored(content: bytes) -> bytes:
    """Return a zlib stream (RFC 1950) of stored blocks; versions of zlib divide them otherwise."""
    pieces = [b"\x78\x01"]
    for start in range(0, len(content), 0xFFFF):
        block = content[start : start + 0xFFFF]
        last = start + len(block) == len(content)
        pieces += [struct.pack("<BHH", last, len(block), len(block) ^ 0xFFFF), block]
    return b"".join([*pieces, struct.pack(">I", zlib.adler32(content))])


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum
