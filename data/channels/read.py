"""Files of numbers in: gray, RGB, more channels, 8 to 32 bits; PNG, TIFF, NumPy's ``.npy``.

Other than :mod:`~impasto.data.decode`, nothing is converted to sRGB or to 8 bits: a number is what
the file says. Pages of a TIFF are channels. The EXIF orientation is applied. What loses nothing is
done without a word: an alpha channel that hides nothing is left out, and three equal channels are
gray, where one channel fewer is expected.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import ImageCms
from PIL.ImageFile import ImageFile

from impasto.data.decode import (
    DEFAULT_MAX_PIXELS,
    PLAIN_MODES,
    load_wide_bytes,
    opened,
    orientation_of,
    profile_transform,
    read_size,
    refuse_large,
    split_alpha,
    tell_dark,
    turn,
)
from impasto.data.formats import libtiff_errors, tiff_tags, wide_layout
from impasto.options.errors import PictureError

if TYPE_CHECKING:
    from tifffile import TiffFile, TiffPage

__all__ = [
    "SampleLayout",
    "count_pages",
    "is_deep",
    "picture_size",
    "read_deep_colors",
    "read_layout",
    "read_samples",
]

_NPY = b"\x93NUMPY"
_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_COLORS = {1: "gray", 2: "gray and alpha", 3: "RGB", 4: "RGB and alpha"}
# Of TIFF 6.0: what tells a page that is another one once more, and how the pages are stored.
_REDUCED_OR_MASK = 1 | 4
_ORIENTATION, _PHOTOMETRIC = 274, 262
_BITS, _SAMPLE_FORMAT, _SIGNED = 258, 339, 2
_WHITE_IS_ZERO, _PHOTOMETRICS = 0, (0, 1, 2)


@dataclass(frozen=True, kw_only=True)
class SampleLayout:
    """What the header of a file says of its numbers.

    Attributes:
        height: rows of the upright picture.
        width: columns of the upright picture.
        channels: number of channels.
        dtype: type of the numbers: ``uint8``, ``uint16``, ``int16``, ``uint32``, ``int32`` or
            ``float32``.
        colors: whether one to four channels are gray or RGB, and alpha.
    """

    height: int
    width: int
    channels: int
    dtype: str
    colors: bool = True


def read_layout(path: Path, *, channels: int | None = None) -> SampleLayout:
    """Read what a file's header says.

    Args:
        path: file as :func:`read_samples` reads it.
        channels: number of channels that are expected; None: any.

    Raises:
        PictureError: the file cannot be opened, is none of numbers, or can certainly not be read
            with so many channels.
    """
    kind = _kind(path)
    if kind == "npy":
        values = _open_npy(path)
        layout = SampleLayout(
            height=values.shape[0],
            width=values.shape[1],
            channels=values.shape[2],
            dtype=_standard(path, values.dtype),
            colors=False,
        )
    elif kind == "tiff":
        layout = _layout_of_tiff(path)
    else:
        layout = _layout_of_picture(path)
    if channels is not None:
        _require(path, layout, channels)
    return layout


def count_pages(path: Path) -> int:
    """Return the number of pages of a TIFF file, without thumbnails and masks.

    Raises:
        PictureError: it cannot be opened, or is none.
    """
    with _opened_tiff(path) as (_, pages):
        return len(pages)


def picture_size(path: Path) -> tuple[int, int]:
    """Return width and height of a picture, or of an array, from its header.

    Raises:
        PictureError: the file cannot be opened, or is none.
    """
    try:
        return read_size(path)
    except PictureError:
        layout = read_layout(path)
        return layout.width, layout.height


def read_deep_colors(path: Path) -> NDArray[Any] | None:
    """Read a picture of more than 8 bits, sRGB, with all its bits.

    Returns:
        RGB, or RGB and alpha, (H, W, 3 or 4), float32, 0 to 1, upright; None where the file has 8
        bits, or a color profile other than sRGB or a transparent color, which are followed in 8
        bits alone, and where :func:`~impasto.data.decode.read_picture` is to say what is wrong.
    """
    try:
        layout = read_layout(path)
        deep = layout.dtype in {"uint16", "float32"} and layout.colors and layout.channels <= 4
        if not deep or _has_own_colors(path):
            return None
        values = read_samples(path)
    except PictureError:
        return None
    white = 1 if values.dtype.kind == "f" else 65535
    if white == 65535:
        colors_alone = values[..., :-1] if layout.channels in (2, 4) else values
        tell_dark(path, colors_alone)
    if values.min() < 0 or values.max() > white:
        return None
    scaled = np.float32(1 / white) * values if white == 1 else (values / white).astype(np.float32)
    colors = scaled[..., :1].repeat(3, axis=2) if layout.channels < 3 else scaled[..., :3]
    if layout.channels in (2, 4):
        return np.concatenate([colors, scaled[..., -1:]], axis=2)
    found: NDArray[Any] = np.ascontiguousarray(colors)
    return found


def is_deep(path: Path) -> bool:
    """Whether a picture has more than 8 bits, from its header; False where reading it will fail."""
    try:
        return read_layout(path).dtype != "uint8"
    except PictureError:
        return False


def read_samples(
    path: Path, *, channels: int | None = None, max_pixels: int = DEFAULT_MAX_PIXELS
) -> NDArray[Any]:
    """Read a file as numbers.

    Safe to call from several threads at once.

    Args:
        path: a ``.npy`` file of shape (H, W) or (H, W, C), a TIFF, of which pages of one size are
            channels, or a PNG, JPEG, WebP, BMP, GIF, AVIF, HEIC, PPM, PGM or PBM file; told by its
            content.
        channels: number of channels that are expected; None: as many as there are.
        max_pixels: refuse a picture with more pixels before decoding it.

    Returns:
        (H, W, C), upright, in native byte order: uint8, uint16, int16, uint32, int32 or float32;
        all finite.

    Raises:
        PictureError: the file cannot be opened, is damaged, too large, or none of numbers, or has
            another number of channels; the message names them.
    """
    layout = read_layout(path, channels=channels)
    if layout.height * layout.width > max_pixels:
        raise PictureError(
            path,
            f"has {layout.width} x {layout.height} = {layout.width * layout.height} pixels, more "
            f"than the limit of {max_pixels}; make it smaller",
        )
    kind = _kind(path)
    if kind == "npy":
        values: NDArray[Any] = np.array(_open_npy(path))
    elif kind == "tiff":
        values = _read_tiff(path)
    else:
        values = _read_stored(path, max_pixels=max_pixels)
    values = _narrow(path, values)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = np.count_nonzero(~np.isfinite(values))
        raise PictureError(path, f"has {count} values that are not finite numbers; replace them")
    return values if channels is None else _arranged(path, values, channels, layout)


def _kind(path: Path) -> str:
    try:
        with path.open("rb") as file:
            start = file.read(8)
    except (OSError, ValueError):
        return "picture"  # whose reader says why it cannot be opened
    if start.startswith(_NPY):
        return "npy"
    return "tiff" if start.startswith(_TIFF) and _is_for_tifffile(path) else "picture"


def _open_npy(path: Path) -> NDArray[Any]:
    """Open an array of shape (H, W, C) without reading it."""
    try:
        values: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise PictureError(path, f"is not a readable .npy file: {reason}") from error
    if values.ndim not in (2, 3) or 0 in values.shape:
        raise PictureError(
            path,
            f"has the shape {values.shape}; expected (height, width) or (height, width, channels)",
        )
    return values if values.ndim == 3 else values[..., None]


def _standard(path: Path, dtype: np.dtype[Any]) -> str:
    """Return the type that numbers of a type are read as."""
    if dtype.kind == "f":
        return "float32"
    name = {"int8": "int16", "int64": "int32", "uint64": "uint32"}.get(dtype.name, dtype.name)
    if name not in {"uint8", "uint16", "int16", "uint32", "int32"}:
        raise PictureError(path, f"holds samples of type {dtype.name}; expected numbers")
    return name


def _narrow(path: Path, values: NDArray[Any]) -> NDArray[Any]:
    """Return numbers in the type that they are read as, in native byte order."""
    name = _standard(path, values.dtype)
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        bounds = np.iinfo(name)
        if values.min() < bounds.min or values.max() > bounds.max:
            raise PictureError(
                path, f"has values from {values.min()} to {values.max()}; {name} holds no such"
            )
    with np.errstate(over="ignore"):  # infinite, which is refused
        return np.ascontiguousarray(values, dtype=name)


def _read_stored(path: Path, *, max_pixels: int = DEFAULT_MAX_PIXELS) -> NDArray[Any]:
    """Read the samples of a picture as numbers, not as colors: no profile, no change of depth.

    Palettes become RGB, or RGB and alpha, and samples of less than 8 bits are stretched to 8.

    Args:
        path: file as :func:`read_picture` reads it, but with gray, or RGB, and perhaps alpha.
        max_pixels: refuse a picture with more pixels before decoding it.

    Returns:
        (H, W, C), upright: uint8, uint16, int16, uint32, int32 or float32; C is 1 (gray), 2 (with
        alpha), 3 (RGB) or 4 (with alpha).

    Raises:
        PictureError: as :func:`read_picture` raises it.
    """
    with opened(path, pixels=True) as (file, image):
        refuse_large(path, *image.size, max_pixels)
        with libtiff_errors():
            values = _load_stored(path, file, image)
        return turn(np.atleast_3d(values), orientation_of(image))


def _stored_layout(path: Path) -> tuple[int, int, int, str]:
    """Return height, width, channels and type of what :func:`_read_stored` gives, from the header.

    Raises:
        PictureError: as :func:`read_size` raises it.
    """
    with opened(path, pixels=False) as (_, image):
        layout = wide_layout(image)
        if layout:
            channels, dtype = len(layout), "uint16"
        elif image.mode.startswith("I"):
            channels, dtype = 1, _integers_of(image)
        else:
            mode = PLAIN_MODES.get(image.mode, image.mode)
            if image.mode == "P" and "transparency" in image.info:
                mode = "RGBA"
            channels, dtype = len(mode), "float32" if mode == "F" else "uint8"
    width, height = read_size(path)
    return height, width, channels, dtype


def _load_stored(path: Path, file: IO[bytes], image: ImageFile) -> NDArray[Any]:
    if image.mode in ("CMYK", "LAB", "HSV"):
        raise PictureError(path, f"has {image.mode} samples; save it as gray or RGB")
    if wide_layout(image):
        _, high, low = load_wide_bytes(file, image)
        return high * np.uint16(256) + low
    image.load()
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(_integers_of(image))
        if tiff_tags(image).get(_PHOTOMETRIC) == 0 and values.dtype == np.uint16:
            values = np.uint16(65535) - values
        return values
    if image.mode == "1":
        return np.asarray(image.convert("L"))
    if image.mode in PLAIN_MODES:
        color, alpha = split_alpha(image)
        return np.asarray(color) if alpha is None else np.dstack([np.asarray(color), alpha])
    return np.asarray(image)


def _integers_of(image: ImageFile) -> str:
    """Return the type of the whole numbers of a file that Pillow reads as 16 or 32 bits.

    It is that of the file, not of the values in it, so that all files of a scanner have one type.
    """
    tags = tiff_tags(image)
    bits, kinds = (tags.get(tag, usual) for tag, usual in ((_BITS, (16,)), (_SAMPLE_FORMAT, (1,))))
    sign = "" if kinds[0] == _SIGNED else "u"
    return f"{sign}int{32 if bits[0] > 16 else 16}"


def _has_own_colors(path: Path) -> bool:
    """Whether :func:`read_picture` alone knows what is seen of a picture, from its header.

    That is so with a color profile other than sRGB, and where one color stands for transparent.

    Raises:
        PictureError: as :func:`read_size` raises it.
    """
    with opened(path, pixels=False) as (_, image):
        profile = image.info.get("icc_profile")
        if profile is None or "transparency" in image.info:
            return "transparency" in image.info
        mode = "RGB" if image.mode.startswith("RGB") else "L"
        try:
            return profile_transform(profile, mode) is not None
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            return False  # reading it says that it is left out


def _layout_of_picture(path: Path) -> SampleLayout:
    height, width, channels, dtype = _stored_layout(path)
    return SampleLayout(height=height, width=width, channels=channels, dtype=dtype)


@contextmanager
def _opened_tiff(path: Path) -> Iterator[tuple["TiffFile", list["TiffPage"]]]:
    """Open a TIFF with its pages, without thumbnails and masks."""
    import tifffile  # noqa: PLC0415 - seldom needed

    logging.getLogger("tifffile").setLevel(logging.CRITICAL)  # what it raises is said once
    try:
        with path.open("rb") as file, tifffile.TiffFile(file) as tiff:
            pages: list[Any] = [
                page for page in tiff.pages if not int(page.aspage().subfiletype) & _REDUCED_OR_MASK
            ]
            yield tiff, [page.aspage() for page in pages]
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError(path, "does not fit in memory") from error
    except Exception as error:  # whatever a damaged file makes it raise
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise PictureError(path, f"is not a readable TIFF file: {reason}") from error


def _is_for_tifffile(path: Path) -> bool:
    """Whether its samples are numbers in a compression that the reader knows without helpers."""
    try:
        with _opened_tiff(path) as (_, pages):
            return len(pages) > 1 or not _is_helpless(pages[0])
    except PictureError:
        return False


def _is_helpless(page: "TiffPage") -> bool:
    """Whether only Pillow reads a page: what is compressed, of odd bits, or no plain numbers."""
    plain = page.dtype is not None and page.dtype.kind in "uif"
    odd = page.bitspersample not in (8, 16, 32, 64)
    known = int(page.compression) in (1, 8, 32946) and int(page.photometric) in _PHOTOMETRICS
    return not plain or odd or not known or (int(page.predictor) == 3)


def _layout_of_tiff(path: Path) -> SampleLayout:
    with _opened_tiff(path) as (_, pages):
        first = pages[0]
        sizes = {(page.imagelength, page.imagewidth) for page in pages}
        if len(sizes) > 1:
            shown = ", ".join(f"{wide} x {high}" for high, wide in sorted(sizes)[:4])
            raise PictureError(path, f"has pages of {shown} pixels; expected pages of one size")
        if len({page.dtype for page in pages}) > 1:
            raise PictureError(path, "has pages of different types; expected pages of one type")
        if any(_is_helpless(page) for page in pages):
            raise PictureError(
                path,
                "has several pages, compressed in a way that cannot be read here; save them with "
                "ZIP compression, or with none",
            )
        height, width = first.imagelength, first.imagewidth
        if _orientation(first) >= 5:
            height, width = width, height
        channels = sum(page.samplesperpixel for page in pages)
        assert first.dtype is not None  # noqa: S101 - for mypy; looked for above
        return SampleLayout(
            height=height,
            width=width,
            channels=channels,
            dtype=_standard(path, first.dtype),
            colors=len(pages) == 1
            and channels == (3 if int(first.photometric) == 2 else 1) + len(first.extrasamples)
            and channels <= 4,
        )


def _read_tiff(path: Path) -> NDArray[Any]:
    with _opened_tiff(path) as (_, pages):
        return np.concatenate([_read_page(page) for page in pages], axis=2)


def _read_page(page: "TiffPage") -> NDArray[Any]:
    """Return the samples of a page, (H, W, C), upright, and 0 dark."""
    # Planes, depth, rows, columns, samples.
    values: NDArray[Any] = np.asarray(page.asarray(maxworkers=1)).reshape(page.shaped)[:, 0]
    values = np.moveaxis(values, 0, 2).reshape(*values.shape[1:3], -1)
    if int(page.photometric) == _WHITE_IS_ZERO and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    return turn(values, _orientation(page))


def _orientation(page: "TiffPage") -> int:
    tag = page.tags.get(_ORIENTATION)
    value = 1 if tag is None else tag.value
    return int(value) if isinstance(value, int) and 1 <= value <= 8 else 1


def _require(path: Path, layout: SampleLayout, channels: int) -> None:
    """Refuse what has too few channels, or too many that cannot be left out without loss.

    Raises:
        PictureError: the message names what there is and what was expected.
    """
    there = layout.channels
    # An alpha channel, or equal colors, are seen only once the numbers are read.
    fewer = {1: (1, 2, 3, 4), 2: (2,), 3: (1, 3, 4), 4: (4,)}.get(channels, (channels,))
    if there != channels and not (layout.colors and there in fewer):
        raise PictureError(path, _describe(layout, channels))


def _describe(layout: SampleLayout, channels: int) -> str:
    there = layout.channels
    what = f" ({_COLORS[there]})" if layout.colors and there in _COLORS else ""
    count = f"{there} {'channel' if there == 1 else 'channels'}{what}"
    advice = ""
    if layout.colors and there >= 3 and channels == 1:
        advice = "; convert it to gray, or train with 3"
    elif not layout.colors and layout.height == channels:
        advice = "; channels come last: (height, width, channels)"
    return f"has {count}, expected {channels}{advice}"


def _arranged(
    path: Path, values: NDArray[Any], channels: int, layout: SampleLayout
) -> NDArray[Any]:
    """Return so many channels, if nothing is lost; gray becomes RGB.

    Raises:
        PictureError: something would be lost.
    """
    if not layout.colors or values.shape[2] == channels:
        return values
    if channels in {values.shape[2] - 1, 1} and values.shape[2] in (2, 4):
        white = 1 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
        if (values[..., -1] == white).all():
            values = values[..., :-1]
    is_gray = values.shape[2] == 3 and bool((values[..., :1] == values).all())
    if is_gray and channels == 1:
        values = values[..., :1]
    if values.shape[2] == 1 and channels == 3:
        values = np.repeat(values, 3, axis=2)
    if values.shape[2] != channels:
        raise PictureError(path, _describe(layout, channels))
    return np.ascontiguousarray(values)
