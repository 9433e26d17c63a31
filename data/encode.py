"""Picture files out: JPEG, PNG or WebP, written whole or not at all."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

from giverny.data.atomic import atomic_path
from giverny.data.decode import Picture
from giverny.options.errors import OptionError, PictureError

__all__ = ["write_picture"]


def write_picture(path: Path, picture: Picture, *, quality: int = 95) -> None:
    """Write a picture in the format that the suffix of ``path`` names.

    The folder of ``path`` is made where it is missing. The file holds the pixels and nothing else:
    no metadata, no time, so equal pictures give equal bytes. PNG is exact. PNG and WebP keep
    ``alpha``, and the colours under transparent pixels as well; JPEG cannot hold ``alpha``, so the
    colours are written as they are, and it is dropped.

    Args:
        path: ends in ``.png``, ``.jpg``, ``.jpeg`` or ``.webp``, in any case.
        picture: what to write.
        quality: of JPEG and lossy WebP, 1 to 100. JPEG keeps colour at full resolution from 90 on.

    Raises:
        OptionError: ``quality`` is not within 1 to 100.
        PictureError: the suffix is none of these, the picture is too large for the format, or the
            file cannot be written. What stood at ``path`` before is then untouched.
    """
    if not 1 <= quality <= 100:
        raise OptionError("quality", f"must lie between 1 and 100, got {quality}")
    try:
        encode, longest_side = _FORMATS[path.suffix.lower()]
    except KeyError:
        known = ", ".join(_FORMATS)
        raise PictureError(path, f"cannot be written: its suffix is none of {known}") from None
    _check_size(path, picture, longest_side)
    encoded = BytesIO()
    try:
        # In memory first, because Pillow writing to a file reports a full disk as
        # "encoder error -2" and the system's own reason is lost.
        encode(encoded, picture, quality)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(encoded.getbuffer())
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "out of memory"
        raise PictureError(path, f"cannot be written: {reason.lower()}") from error


def _check_size(path: Path, picture: Picture, longest_side: int) -> None:
    width, height = picture.width, picture.height
    if not 1 <= min(width, height) <= max(width, height) <= longest_side:
        raise PictureError(
            path,
            f"cannot be written: {width} x {height} pixels, and {path.suffix} files hold 1 to "
            f"{longest_side} pixels a side; choose another size or suffix",
        )


def _encode_jpeg(file: BytesIO, picture: Picture, quality: int) -> None:
    image = Image.fromarray(picture.rgb)
    sampling = "4:4:4" if quality >= 90 else "4:2:0"
    image.save(file, "JPEG", quality=quality, subsampling=sampling)
    # Optimised Huffman tables save a fifth for 7 ns a pixel, but then Pillow needs the whole file
    # in one buffer, for which it reserves a byte a pixel or more: noise does not fit.
    if file.tell() <= picture.width * picture.height:
        file.seek(0)
        image.save(file, "JPEG", quality=quality, subsampling=sampling, optimize=True)
        file.truncate()


def _encode_png(file: BytesIO, picture: Picture, _quality: int) -> None:
    # Measured on photographs of monet2photo, Pillow 13 with zlib-ng, level: ns and bytes a pixel.
    # 0: 35, 3.01;  1: 72, 1.98;  3: 89, 1.96;  6 (default): 170, 1.98;  9: 307, 1.97.
    _image(picture).save(file, "PNG", compress_level=1)


def _encode_webp(file: BytesIO, picture: Picture, quality: int) -> None:
    # Method 2 takes half the time of the default, 4 (67 and 123 ns a pixel), for 1 % more bytes.
    # exact: keep the colours of transparent pixels.
    _image(picture).save(file, "WEBP", quality=quality, method=2, exact=True)


def _image(picture: Picture) -> Image.Image:
    """RGB, or RGBA where there is alpha."""
    if picture.alpha is None:
        return Image.fromarray(picture.rgb)
    return Image.fromarray(np.dstack([picture.rgb, picture.alpha]))


# Suffix: the encoder, and the longest side in pixels (libjpeg's JPEG_MAX_DIMENSION, libwebp's
# WEBP_MAX_DIMENSION, and the PNG specification's 2**31 - 1).
_FORMATS: dict[str, tuple[Callable[[BytesIO, Picture, int], None], int]] = {
    ".png": (_encode_png, 2**31 - 1),
    ".jpg": (_encode_jpeg, 65500),
    ".jpeg": (_encode_jpeg, 65500),
    ".webp": (_encode_webp, 16383),
}
