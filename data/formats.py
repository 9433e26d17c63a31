"""The picture formats: how a file's format is told by its content, and how each is opened.

Pillow decodes them all, HEIC with pillow-heif. What neither can read is refused here in words that
say what it is, before it is tried: :class:`UnreadableError`.
"""

import ctypes
import os
import re
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Literal

import PIL
from PIL import Image
from PIL.AvifImagePlugin import AvifImageFile
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import COMPRESSION_INFO, TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

__all__ = [
    "ARRAY_SUFFIXES",
    "HEADER_BYTES",
    "PICTURE_SUFFIXES",
    "PictureFormat",
    "TiffFile",
    "UnreadableError",
    "exif_orientation",
    "libtiff_errors",
    "rawmode_of",
    "recognize",
    "tiff_tags",
    "wide_layout",
]

PICTURE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".png", ".apng", ".webp", ".bmp", ".tif", ".tiff"),
    *(".gif", ".avif", ".heic", ".heif", ".hif", ".ppm", ".pgm", ".pbm", ".pnm"),
)
"""File name endings that are taken for pictures, in lower case; ``.JPG`` counts too."""

ARRAY_SUFFIXES = (".npy",)
"""Endings of files of numbers that are no pictures, in lower case."""

HEADER_BYTES = 64
"""How much of a file's beginning tells its format."""

# TIFF 6.0 tags; DNG 1.4 for the last.
_SUBFILE, _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 254, 256, 257, 258, 259, 262
_SAMPLES, _PLANES, _SUB_IFDS, _EXTRAS, _SAMPLE_FORMAT, _DNG_VERSION = 277, 284, 330, 338, 339, 50706
# The entry of an EXIF block in the list of items, with its number and more (ISO 14496-12, 8.11.6).
_EXIF_ITEM = re.compile(rb"(infe.{8,10}?)Exif", re.DOTALL)
_ORIENTATION = 274  # of TIFF and of EXIF
_SIGNED, _FLOATS = 2, 3  # values of the sample format
_GRAY, _RGB = 1, 2  # values of the photometric interpretation


class UnreadableError(Exception):
    """A file is no picture, or of a kind that cannot be read; the text says what it is."""


@dataclass(frozen=True, kw_only=True)
class PictureFormat:
    """A format of picture files.

    Attributes:
        name: name of the format, for messages.
        open: function that opens a file at its beginning without decoding it. Its second argument
            is whether the pixels are wanted, or the size alone. It returns the file to decode from,
            which may be another, and the opened picture; it raises :class:`UnreadableError` for
            what cannot be read, and whatever Pillow raises for what is damaged.
    """

    name: str
    open: Callable[[IO[bytes], bool], tuple[IO[bytes], ImageFile]]


def recognize(start: bytes) -> PictureFormat:
    """Return the format of a file that begins with ``start``, :data:`HEADER_BYTES` or all of it.

    Raises:
        UnreadableError: it is none that can be read; the message says what it is, if that is known.
    """
    if not start:
        raise UnreadableError("is empty")
    if start[4:8] == b"ftyp":
        return _recognize_media(start)
    if start.startswith(b"RIFF"):
        start = start[:4] + start[8:]  # without its length
    for name, signatures, kind in _FORMATS:
        if start.startswith(signatures):
            return PictureFormat(name=name, open=kind)
    for what, signatures in _OTHERS:
        if start.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(signatures):
            raise UnreadableError(f"is {what}; expected a {_NAMES} picture")
    raise UnreadableError(f"is not a {_NAMES} picture")


def _recognize_media(start: bytes) -> PictureFormat:
    """Tell AVIF, HEIC and others by the brands that they claim (ISO 14496-12, 4.3)."""
    end = min(int.from_bytes(start[:4], "big"), len(start))
    brands = {start[8:12], *(start[at : at + 4] for at in range(16, end, 4))}
    if brands & {b"avif", b"avis"}:
        return PictureFormat(name="AVIF", open=_open_avif)
    if b"crx " in brands:
        return PictureFormat(name="raw", open=_refuse_raw)
    heif = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"mif2", b"msf1")
    if brands & set(heif):
        return PictureFormat(name="HEIC", open=_open_heic)
    raise UnreadableError(f"is {_VIDEO}; expected a {_NAMES} picture")


def _open(kind: type[ImageFile], file: IO[bytes], _pixels: bool) -> tuple[IO[bytes], ImageFile]:
    return file, kind(file)


def _open_avif(file: IO[bytes], _pixels: bool) -> tuple[IO[bytes], ImageFile]:
    """Open an AVIF without its EXIF block, whose damage Pillow would take for the picture's.

    It does not say how the picture is turned: properties of the picture do (ISO 23008-12, 6.5.10).
    """
    plain = BytesIO(_EXIF_ITEM.sub(rb"\1skip", file.read()))
    return plain, AvifImageFile(plain)


def _refuse_raw(_file: IO[bytes], _pixels: bool) -> tuple[IO[bytes], ImageFile]:
    raise UnreadableError(f"is {_RAW}")


def _open_heic(file: IO[bytes], _pixels: bool) -> tuple[IO[bytes], ImageFile]:
    try:
        import pillow_heif  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UnreadableError(
            "is a HEIC picture, which needs the package pillow-heif: pip install pillow-heif"
        ) from error
    kind: type[ImageFile] = pillow_heif.HeifImageFile
    return file, kind(file)


def _open_png(file: IO[bytes], pixels: bool) -> tuple[IO[bytes], ImageFile]:
    """Open a PNG without its comments, whose size and checksums Pillow would be strict about.

    Of the chunks that may be left out, those are kept that change what is seen, and if they are
    intact, as libpng does. The EXIF chunk comes before the pixels, behind which older ExifTools put
    it. Pillow would refuse profiles of more than a mebibyte.
    """
    front: dict[bytes, bytes] = {b"": file.read(8)}
    data: list[bytes] = []
    profile = None
    for name, chunk in _png_chunks(file, pixels):
        if name in (b"IDAT", b"IEND") or not name.isalpha():
            data += [chunk] if pixels or not data else []
        elif name == b"iCCP":
            profile = _inflate_profile(chunk[8:-4]) if _is_intact(chunk) else b""
        elif name[:1].isupper() or _is_intact(chunk):
            front.setdefault(name, chunk)
    plain = BytesIO(b"".join([*front.values(), *data]))
    image = PngImageFile(plain)
    if profile is not None:
        image.info["icc_profile"] = profile
    return plain, image


def _png_chunks(file: IO[bytes], pixels: bool) -> Iterator[tuple[bytes, bytes]]:
    """Yield name and bytes of the chunks that change what is seen; without pixels, their heads."""
    while len(head := file.read(8)) == 8:
        length, name = int.from_bytes(head[:4], "big"), head[4:]
        end = file.tell() + length + 4
        # An upper-case letter begins the name of a chunk that may not be left out.
        if name[:1].isupper() or name in (b"tRNS", b"eXIf", b"iCCP") or not name.isalpha():
            yield name, head + (file.read(length + 4) if pixels or name != b"IDAT" else b"")
        if not name.isalpha():
            return  # Pillow says so, if it still needs a chunk
        file.seek(end)


def _is_intact(chunk: bytes) -> bool:
    return zlib.crc32(chunk[4:-4]) == int.from_bytes(chunk[-4:], "big")


def _inflate_profile(content: bytes) -> bytes:
    """Return the color profile in an iCCP chunk (PNG 11.3.2.3); nothing where it is damaged."""
    packed = content.partition(b"\0")[2][1:]
    try:
        return zlib.decompressobj().decompress(packed, 1 << 26)
    except zlib.error:
        return b""


class _Jpeg(JpegImageFile):
    # Pillow asks for the EXIF block to find the resolution, and warns where it is damaged.
    def getexif(self) -> Image.Exif:
        return Image.Exif()


class TiffFile(TiffImageFile):
    """A TIFF file, of which the picture is not turned yet.

    Attributes:
        floats: whether its samples are floating-point numbers in a layout that Pillow does not
            know: gray, gray and alpha, RGB or RGB and alpha.
    """

    floats = False

    def getexif(self) -> Image.Exif:
        """Return nothing: some versions of Pillow would turn the picture, which is done later."""
        return Image.Exif()

    def load_prepare(self) -> None:
        """Reserve the memory, or Pillow would count the pixels again, by its global limit."""
        self._size = self.tag_v2[_WIDTH], self.tag_v2[_HEIGHT]
        self.im = Image.new(self.mode, self._size).im
        super().load_prepare()

    # Called once the tags are read. Pillow speaks of its own tables here, or in bare numbers.
    def _setup(self) -> None:
        tags = self.tag_v2
        _refuse_unclear(tags)
        if _has_foreign_floats(tags):
            self._size, self.floats = (tags[_WIDTH], tags[_HEIGHT]), True
            self._mode = "RGB" if tags[_PHOTOMETRIC] == _RGB else "L"
            self.tile = []
            return
        try:
            super()._setup()
        except (SyntaxError, KeyError) as error:
            if "unknown" not in str(error):
                raise
            raise UnreadableError(f"{_describe_samples(tags)}; {_SAVE_PLAIN}") from error


def _refuse_unclear(tags: Mapping[int, Any]) -> None:
    """Refuse a TIFF that Pillow would misread, fail to read, or complain of on its own."""
    compression = tags.get(_COMPRESSION, 1)
    if _DNG_VERSION in tags or (tags.get(_SUBFILE, 0) & 1 and _SUB_IFDS in tags):
        raise UnreadableError(f"is {_RAW}")
    if compression not in COMPRESSION_INFO or not _can_decompress(compression):
        method = _METHODS.get(compression, f"method {compression}, which is unknown")
        raise UnreadableError(
            f"is a TIFF compressed by {method}, which cannot be read here; save it with LZW or ZIP "
            "compression, or with none"
        )
    bits, kinds = tags.get(_BITS, (1,)), tags.get(_SAMPLE_FORMAT, (1,))
    if _SIGNED in kinds and max(bits) <= 8:
        raise UnreadableError(
            "has signed samples of 8 bits, -128 to 127, of which it is not known what is white; "
            f"{_SAVE_PLAIN}"
        )
    if tags.get(_SAMPLES, 1) > 5:
        raise UnreadableError(f"{_describe_samples(tags)}; expected 1 to 4: save three as RGB")


def _has_foreign_floats(tags: Mapping[int, Any]) -> bool:
    """Whether samples are floats that Pillow does not read: all but gray of 32 bits."""
    kinds, bits = tags.get(_SAMPLE_FORMAT, (1,)), tags.get(_BITS, (1,))
    colors = {_GRAY: 1, _RGB: 3}.get(tags.get(_PHOTOMETRIC, _GRAY))
    if set(kinds) != {_FLOATS} or colors is None or tags.get(_PLANES, 1) != 1:
        return False
    extras = len(tags.get(_EXTRAS, ()))
    usual = colors == 1 and extras == 0 and bits == (32,)
    return not usual and extras < 2 and tags.get(_SAMPLES, 1) == colors + extras


def _describe_samples(tags: Mapping[int, Any]) -> str:
    count, bits = tags.get(_SAMPLES, 1), sorted(set(tags.get(_BITS, (1,))))
    kinds = {_SIGNED: "signed ", _FLOATS: "floating-point ", 5: "complex ", 6: "complex "}
    kind = kinds.get(max(tags.get(_SAMPLE_FORMAT, (1,))), "")
    wide = " and ".join(map(str, bits))
    return f"has {count} {kind}{'channel' if count == 1 else 'channels'} of {wide} bits"


def exif_orientation(exif: bytes) -> int:
    """Return the orientation that an EXIF block names, without its mark; 1 where it names none."""
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


def tiff_tags(image: ImageFile) -> Mapping[int, Any]:
    """Return the tags of a TIFF; of another picture none."""
    return image.tag_v2 if isinstance(image, TiffImageFile) else {}


def rawmode_of(image: ImageFile) -> str:
    """Return the layout of the samples in the file."""
    args = image.tile[0][3] if image.tile else ""  # a WebP has none yet
    return str(args[0] if isinstance(args, tuple) else args)


def wide_layout(image: ImageFile) -> str:
    """Return the channels of color of 16 bits a sample, of which Pillow keeps 8; else nothing."""
    rawmode = rawmode_of(image)
    # A bare ";16" (BMP) is 16 bits a pixel; an order of bytes follows where it is a sample.
    wide = rawmode.endswith((";16B", ";16L", ";16N")) and not image.mode.startswith("I")
    return rawmode.partition(";16")[0] if wide else ""


@contextmanager
def libtiff_errors() -> Iterator[list[str]]:
    """Collect what libtiff reports in this thread, as names of its functions, instead of printing.

    Pillow lets it print to the standard error stream, without the name of the file, and does not
    notice what a decoder of faxes reports of damaged data.
    """
    _libtiff()
    _reported.names = []
    try:
        yield _reported.names
    finally:
        _reported.names = None


class _Reported(threading.local):
    names: list[str] | None = None


_reported = _Reported()


def _note_error(module: bytes | None, _message: bytes, _values: int) -> None:
    if _reported.names is not None:
        _reported.names.append((module or b"").decode("ascii", "replace"))


_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_void_p)(_note_error)


@lru_cache(maxsize=1)
def _libtiff() -> ctypes.CDLL | None:
    """Return the libtiff that Pillow uses, silenced; None where it cannot be reached."""
    package = Path(PIL.__file__).parent
    bundled = [*package.parent.glob("[Pp]illow.libs/libtiff*"), *package.glob(".dylibs/libtiff*")]
    # Not a second one from elsewhere: it has to be loaded already.
    loaded = getattr(os, "RTLD_NOLOAD", 0) | getattr(os, "RTLD_NOW", 0)
    for name in [*map(str, bundled), "libtiff.so.6", "libtiff.so.5"] if loaded else []:
        try:
            library = ctypes.CDLL(name, mode=loaded)
            library.TIFFSetErrorHandler.restype = ctypes.c_void_p
            library.TIFFSetErrorHandler(_HANDLER)
        except (OSError, AttributeError):
            continue
        return library
    return None


def _can_decompress(compression: int) -> bool:
    library = _libtiff()
    if library is None or compression in (1, 32771):  # Pillow reads these by itself
        return compression not in (50001,)
    return bool(library.TIFFIsCODECConfigured(ctypes.c_uint16(compression)))


# Image.open is not used: it compares sizes with a global limit and warns, and warnings can neither
# be caught in one thread only (warnings.catch_warnings changes the whole process) nor filtered
# without changing the caller's filters. These classes are what it would choose from.
_Opener = Callable[[IO[bytes], bool], tuple[IO[bytes], ImageFile]]
_FORMATS: tuple[tuple[str, tuple[bytes, ...], _Opener], ...] = (
    ("JPEG", (b"\xff\xd8\xff",), partial(_open, _Jpeg)),
    ("PNG", (b"\x89PNG\r\n\x1a\n",), _open_png),
    ("WebP", (b"RIFFWEBP",), partial(_open, WebPImageFile)),
    ("BMP", (b"BM",), partial(_open, BmpImageFile)),
    ("raw", (b"II*\0\x10\0\0\0CR",), _refuse_raw),
    ("TIFF", (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), partial(_open, TiffFile)),
    ("GIF", (b"GIF87a", b"GIF89a"), partial(_open, GifImageFile)),
    *(
        (
            name,
            tuple(magic + space for space in (b" ", b"\t", b"\r", b"\n")),
            partial(_open, PpmImageFile),
        )
        for name, magic in zip(
            ("PBM", "PGM", "PPM") * 2, (b"P1", b"P2", b"P3", b"P4", b"P5", b"P6"), strict=True
        )
    ),
)
_NAMES = "JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, HEIC or PPM"
_SAVE_PLAIN = "save it as RGB or gray with 8 or 16 bits a sample"
_RAW = (
    "a camera's raw file, in which only a small preview is a picture; develop it, and save that as "
    "TIFF or JPEG"
)
_VIDEO = "a video, which impasto translate alone takes"

# What is met beside pictures, and under their names.
_OTHERS: tuple[tuple[str, tuple[bytes, ...]], ...] = (
    ("a JPEG 2000 file", (b"\0\0\0\x0cjP  ", b"\xff\x4f\xff\x51")),
    ("a JPEG XL file", (b"\0\0\0\x0cJXL ", b"\xff\x0a")),
    ("a Photoshop file", (b"8BPS",)),
    ("a GIMP file", (b"gimp xcf",)),
    ("a PDF file", (b"%PDF",)),
    ("a PostScript file", (b"%!PS", b"\xc5\xd0\xd3\xc6")),
    ("an OpenEXR file", (b"\x76\x2f\x31\x01",)),
    ("a Radiance HDR file", (b"#?RADIANCE", b"#?RGBE")),
    ("a camera's raw file", (b"IIRO", b"IIRS", b"IIU\0", b"MMOR", b"FUJIFILMCCD-RAW")),
    (_VIDEO, (b"\x1a\x45\xdf\xa3", b"RIFF")),
    ("a drawing (SVG)", (b"<svg",)),
    ("a web page", (b"<!DOCTYPE html", b"<!doctype html", b"<html")),
    ("an archive", (b"PK\3\4", b"Rar!", b"7z\xbc\xaf", b"\x1f\x8b")),
    ("a stand-in of Git LFS (run: git lfs pull)", (b"version https://git-lfs",)),
)

# Registered TIFF compression schemes (tiff.h) that Pillow or its libtiff may lack.
_METHODS = {
    **dict.fromkeys((33003, 33004, 33005, 34712), "JPEG 2000"),
    34887: "LERC",
    34892: "lossy JPEG",
    34925: "LZMA",
    34933: "PNG",
    **dict.fromkeys((22610, 34934), "JPEG XR"),
    50000: "Zstandard",
    50001: "WebP",
    **dict.fromkeys((50002, 52546), "JPEG XL"),
    **dict.fromkeys((32767, 32769, 34713, 65535), "the method of a camera's raw files"),
}
