"""Picture files out: JPEG, PNG, WebP, or TIFF of 16 bits, written whole or not at all."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from impasto.data.atomic import atomic_path
from impasto.data.decode import Picture, Rgb
from impasto.options.errors import ImpastoError, OptionError, PictureError

__all__ = [
    "PutPicture",
    "encode_png",
    "srgb_profile",
    "to_uint8",
    "write_encoded",
    "write_float_picture",
    "write_picture",
    "write_rows",
]


PutPicture = Callable[[int, Picture], None]
"""Takes rows of a picture: the number of the first one, and the rows."""

# Beyond, offsets need 64 bits: 4 GiB, less what tags take.
_MOST_TIFF_BYTES = 2**32 - 2**25


def to_uint8(rgb: NDArray[np.floating]) -> Rgb:
    """Return a picture of floating-point values, (H, W, 3), clipped to [0, 1], as 0 to 255."""
    eight: Rgb = np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)
    return eight


def encode_png(rgb: NDArray[np.uint8]) -> bytes:
    """Return a picture, RGB, (H, W, 3), uint8, as the bytes of a PNG file."""
    encoded = BytesIO()
    _encode_png(encoded, Picture(rgb=rgb), 0)
    return encoded.getvalue()


def write_picture(
    path: Path,
    picture: Picture,
    *,
    quality: int = 95,
    on_whole: Callable[[Path], None] = lambda _file: None,
) -> None:
    """Write a picture in the format that the suffix of ``path`` names.

    The folder of ``path`` is made where it is missing. The file holds the pixels and nothing else:
    no metadata, no time, so equal pictures give equal bytes. PNG is exact. PNG and WebP keep
    ``alpha``, and the colors under transparent pixels as well; JPEG cannot hold ``alpha``, so the
    picture is laid on white.

    Args:
        path: ends in ``.png``, ``.jpg``, ``.jpeg`` or ``.webp``, in any case.
        picture: the picture to write.
        quality: quality of JPEG and lossy WebP, 1 to 100. From 90 on, JPEG keeps color at full
            resolution.
        on_whole: called with the temporary file that is about to take its place at ``path``; where
            it raises, that does not happen.

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
    _check_size(path, picture.width, picture.height, longest_side)
    write_encoded(path, lambda file: encode(file, picture, quality), on_whole)


@contextmanager
def write_rows(
    path: Path,
    size: tuple[int, int],
    *,
    alpha: bool = False,
    on_whole: Callable[[Path], None] = lambda _file: None,
) -> Iterator[PutPicture]:
    """Write a TIFF of 8 bits a few rows at a time, without compression, whole or not at all.

    It has an sRGB profile, and is a BigTIFF where it is larger than 4 GB. Equal pictures give equal
    bytes. The folder of ``path`` is made where it is missing.

    Args:
        path: the file to write.
        size: height and width of the picture, in pixels.
        alpha: whether rows have alpha.
        on_whole: called with the temporary file that is about to take its place at ``path``; where
            it raises, that does not happen.

    Yields:
        What takes the number of a first row, and the rows, in any order.

    Raises:
        PictureError: the file cannot be written. What stood at ``path`` before is then untouched.
    """
    import tifffile  # noqa: PLC0415 - seldom needed

    channels = 4 if alpha else 3
    shape = (*size, channels)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            place = tifffile.imwrite(
                temporary,
                shape=shape,
                dtype=np.uint8,
                photometric="rgb",
                extrasamples=["unassalpha"] if alpha else None,
                bigtiff=size[0] * size[1] * channels > _MOST_TIFF_BYTES,
                byteorder="<",
                iccprofile=srgb_profile(),
                metadata=None,
                software=False,
                returnoffset=True,
            )
            assert place is not None  # noqa: S101 - for mypy
            with temporary.open("r+b") as file:

                def put(start: int, rows: Picture) -> None:
                    file.seek(place[0] + start * size[1] * channels)
                    image = rows.rgb if rows.alpha is None else np.dstack([rows.rgb, rows.alpha])
                    file.write(np.ascontiguousarray(image).data)

                yield put
            on_whole(temporary)
    except ImpastoError:  # of the body, or of ``on_whole``
        raise
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PictureError(path, f"cannot be written: {reason}") from error


def write_float_picture(
    path: Path,
    rgb: NDArray[np.floating],
    *,
    alpha: NDArray[np.uint8] | None = None,
    quality: int = 95,
) -> None:
    """Write a picture of floating-point values with as many bits as the suffix allows.

    A TIFF gets 16 bits a sample and an sRGB profile; every other format gets 8 bits, by
    :func:`write_picture`. Values beyond [0, 1] are clipped. Equal pictures give equal bytes.

    Args:
        path: ends in ``.tif`` or ``.tiff``, or as :func:`write_picture` wants it.
        rgb: sRGB, (H, W, 3), floating point, 0 to 1. Not multiplied by alpha.
        alpha: (H, W), uint8, 0 is transparent; None: nothing is. JPEG cannot hold it and is laid on
            white.
        quality: quality of JPEG and lossy WebP, 1 to 100.

    Raises:
        ValueError: ``rgb`` has another shape or dtype.
        OptionError: ``quality`` is not within 1 to 100.
        PictureError: a value is not finite, the suffix is unknown, the picture is too large for the
            format, or the file cannot be written. What stood at ``path`` before is then untouched.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or not np.issubdtype(rgb.dtype, np.floating):
        raise ValueError(f"rgb must be (H, W, 3) floating point, got {rgb.shape} {rgb.dtype}")
    if not np.isfinite(rgb).all():
        count = np.count_nonzero(~np.isfinite(rgb))
        raise PictureError(path, f"cannot be written: {count} values are not finite")
    clipped = np.clip(rgb, 0, 1).astype(np.float64)
    if path.suffix.lower() not in _DEEP_SUFFIXES:
        try:
            write_picture(path, Picture(rgb=to_uint8(clipped), alpha=alpha), quality=quality)
        except PictureError as error:
            if path.suffix.lower() in _FORMATS:
                raise
            raise PictureError(path, f"{error.reason}, {', '.join(_DEEP_SUFFIXES)}") from None
        return
    _check_size(path, rgb.shape[1], rgb.shape[0], 2**31 - 1)
    sixteen = np.rint(clipped * 65535).astype(np.uint16)
    if alpha is not None:
        sixteen = np.dstack([sixteen, alpha * np.uint16(257)])
    write_encoded(path, lambda file: _encode_deep_tiff(file, sixteen))


def write_encoded(
    path: Path,
    encode: Callable[[BytesIO], None],
    on_whole: Callable[[Path], None] = lambda _file: None,
) -> None:
    """Write what ``encode`` makes, whole or not at all; make the folder.

    Args:
        path: file to write.
        encode: writes the file's bytes into memory.
        on_whole: called with the temporary file that is about to take its place at ``path``.

    Raises:
        PictureError: it cannot be encoded or written.
    """
    encoded = BytesIO()
    try:
        # In memory first, because Pillow writing to a file reports a full disk as
        # "encoder error -2" and the system's own reason is lost.
        encode(encoded)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_bytes(encoded.getbuffer())
            on_whole(temporary)
    except PictureError:  # of ``on_whole``
        raise
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "out of memory"
        raise PictureError(path, f"cannot be written: {reason.lower()}") from error


def _check_size(path: Path, width: int, height: int, longest_side: int) -> None:
    if not 1 <= min(width, height) <= max(width, height) <= longest_side:
        raise PictureError(
            path,
            f"cannot be written: {width} x {height} pixels, and {path.suffix} files hold 1 to "
            f"{longest_side} pixels a side; choose another size or suffix",
        )


def _encode_jpeg(file: BytesIO, picture: Picture, quality: int) -> None:
    image = Image.fromarray(picture.rgb)
    if picture.alpha is not None:
        white = Image.new("RGB", image.size, "white")
        image = Image.composite(image, white, Image.fromarray(picture.alpha))
    sampling = "4:4:4" if quality >= 90 else "4:2:0"
    image.save(file, "JPEG", quality=quality, subsampling=sampling)
    # Optimized Huffman tables save a fifth for 7 ns a pixel, but then Pillow needs the whole file
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
    # exact: keep the colors of transparent pixels.
    _image(picture).save(file, "WEBP", quality=quality, method=2, exact=True)


def _encode_deep_tiff(file: BytesIO, samples: NDArray[np.uint16]) -> None:
    """Write RGB or RGB and alpha, (H, W, 3 or 4), as an uncompressed TIFF, which all can read."""
    import tifffile  # noqa: PLC0415 - scikit-image's reader; Pillow has no color of 16 bits

    tifffile.imwrite(
        file,
        samples,
        photometric="rgb",
        extrasamples=["unassalpha"] if samples.shape[2] == 4 else None,
        byteorder="<",
        iccprofile=srgb_profile(),
        metadata=None,
        software=False,
    )


@lru_cache(maxsize=1)
def srgb_profile() -> bytes:
    """Return an sRGB profile without the time at which it was made (ICC.1:2022, 7.2.8)."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[24:36] = np.array([2000, 1, 1, 0, 0, 0], ">u2").tobytes()
    return bytes(profile)


def _image(picture: Picture) -> Image.Image:
    """RGB, or RGBA where there is alpha."""
    if picture.alpha is None:
        return Image.fromarray(picture.rgb)
    return Image.fromarray(np.dstack([picture.rgb, picture.alpha]))


_DEEP_SUFFIXES = (".tif", ".tiff")

# Suffix: the encoder, and the longest side in pixels (libjpeg's JPEG_MAX_DIMENSION, libwebp's
# WEBP_MAX_DIMENSION, and the PNG specification's 2**31 - 1).
_FORMATS: dict[str, tuple[Callable[[BytesIO, Picture, int], None], int]] = {
    ".png": (_encode_png, 2**31 - 1),
    ".jpg": (_encode_jpeg, 65500),
    ".jpeg": (_encode_jpeg, 65500),
    ".webp": (_encode_webp, 16383),
}
