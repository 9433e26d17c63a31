"""Animations out: GIF, APNG or MP4, frame by frame, so that memory holds one frame at a time.

Pillow can write GIF and APNG, but keeps all frames until the last; so it encodes each frame alone,
and the containers, which are simple, are put together here. A :class:`Film` collects frames on disk
while something is computed, and becomes an animation at its end.
"""

import importlib
import shutil
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self, overload

import numpy as np
from PIL import Image

from impasto.data.atomic import atomic_path, make_temporary_folder
from impasto.data.decode import Picture, Rgb, read_picture
from impasto.data.encode import write_picture
from impasto.data.films.reading import color_table_bytes
from impasto.data.transforms import resize
from impasto.options.errors import ImpastoError, PictureError

__all__ = [
    "ANIMATION_SUFFIXES",
    "Film",
    "StoredFrames",
    "check_animation",
    "write_animation",
]

Frames = Sequence[Rgb]

ANIMATION_SUFFIXES = (".gif", ".png", ".apng", ".mp4")
"""File name endings of animations, in lower case; ``.png`` and ``.apng`` are both APNG."""

_PALETTE_FRAMES = 16
_PALETTE_SIDE = 128
_LONGEST_GIF_SIDE = 65535  # GIF89a, section 18: sizes have 16 bits
_SHORTEST_GIF_MS = 20  # browsers play anything shorter at 100 ms
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def check_animation(path: Path) -> None:
    """Refuse what could not be written, before the frames are computed.

    Raises:
        PictureError: the suffix is none of ``ANIMATION_SUFFIXES``, or is ``.mp4`` and PyAV is
            missing.
    """
    suffix = path.suffix.lower()
    if suffix not in ANIMATION_SUFFIXES:
        known = ", ".join(ANIMATION_SUFFIXES)
        raise PictureError(path, f"cannot be written: its suffix is none of {known}")
    if suffix == ".mp4":
        try:
            importlib.import_module("av")
        except ImportError as error:
            raise PictureError(
                path,
                'needs PyAV: pip install "impasto[video]"; or choose .gif or .png, which do not',
            ) from error


def write_animation(
    path: Path,
    frames: Frames,
    *,
    frame_ms: int = 100,
    hold_ms: int = 2000,
    durations_ms: Sequence[int] | None = None,
    loops: int | None = 0,
    comment: str = "",
) -> None:
    """Write frames as an animation, which plays for ever unless told otherwise.

    An MP4 plays as often as the player is told to.

    All frames get the size of the last; others are scaled to it. Equal frames give equal bytes.

    Args:
        path: ends in ``.gif`` (256 colors, the same for all frames so that still areas do not
            flicker), ``.png`` or ``.apng`` (exact), or ``.mp4`` (H.264; sides are made even).
        frames: RGB, (H, W, 3), uint8; at least one. Read twice, and never all at once.
        frame_ms: how long each frame is shown, in milliseconds; a GIF counts in tens.
        hold_ms: how long the last frame is shown, at least ``frame_ms``.
        durations_ms: how long each frame is shown, instead of ``frame_ms`` and ``hold_ms``; not
            for an MP4.
        loops: how often it plays, as the formats count; 0: for ever; None: once.
        comment: text that the file carries, ASCII; not for an MP4.

    Raises:
        ValueError: there are no frames, a duration is not within 1 to 65535, or there are more or
            fewer than frames.
        PictureError: the suffix is unknown, PyAV is missing, or the file cannot be written. What
            stood at ``path`` before is then untouched.
    """
    if not frames:
        raise ValueError("an animation needs at least one frame")
    if not 1 <= frame_ms <= 65535 or not 1 <= hold_ms <= 65535:
        raise ValueError(f"expected durations of 1 to 65535 ms, got {frame_ms} and {hold_ms}")
    check_animation(path)
    encode = _ENCODERS[path.suffix.lower()]
    durations = durations_ms or [frame_ms] * (len(frames) - 1) + [max(hold_ms, frame_ms)]
    if len(durations) != len(frames) or not 1 <= min(durations) <= max(durations) <= 65535:
        raise ValueError("expected a duration of 1 to 65535 ms for each frame")
    height, width = frames[-1].shape[:2]
    if encode is _encode_gif and max(height, width) > _LONGEST_GIF_SIDE:
        raise PictureError(path, f"cannot be written: {width} x {height} is too large for a GIF")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary, temporary.open("wb") as file:
            encode(file, _Sized(frames, height, width), durations, loops, comment)
    except PictureError:
        raise
    except (OSError, ValueError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or str(error) or "out of memory"
        raise PictureError(path, f"cannot be written: {reason.lower()}") from error


class _Sized:
    """Frames scaled to one size when they are read."""

    def __init__(self, frames: Frames, height: int, width: int) -> None:
        self._frames = frames
        self.height, self.width = height, width

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> Rgb:
        return resize(self._frames[index], self.height, self.width)

    def __iter__(self) -> Iterator[Rgb]:
        return (self[index] for index in range(len(self)))


# GIF


def _encode_gif(
    file: BinaryIO, frames: _Sized, durations: Sequence[int], loops: int | None, comment: str
) -> None:
    """Write a GIF89a: a global palette, the loop extension, and each frame in full."""
    palette = _common_palette(frames)
    colors = bytes(palette.getpalette("RGB") or ()).ljust(768, b"\0")
    file.write(b"GIF89a" + struct.pack("<HHBBB", frames.width, frames.height, 0xF7, 0, 0))
    file.write(colors)
    if loops is not None:
        file.write(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<HB", loops, 0))
    if comment:  # GIF89a, section 24
        said = comment.encode("ascii")
        blocks = (said[at : at + 255] for at in range(0, len(said), 255))
        file.write(b"\x21\xfe" + b"".join(bytes([len(one)]) + one for one in blocks) + b"\0")
    for frame, duration in zip(frames, durations, strict=True):
        hundredths = round(max(duration, _SHORTEST_GIF_MS) / 10)
        file.write(b"\x21\xf9\x04\x04" + struct.pack("<HBB", hundredths, 0, 0))
        file.write(b"\x2c" + struct.pack("<HHHHB", 0, 0, frames.width, frames.height, 0))
        file.write(_gif_pixels(Image.fromarray(frame).quantize(palette=palette)))
    file.write(b"\x3b")


def _common_palette(frames: _Sized) -> Image.Image:
    """Choose 256 colors for all frames, from some of them, scaled down, the last among them."""
    count = min(len(frames), _PALETTE_FRAMES)
    chosen = np.linspace(0, len(frames) - 1, count).round().astype(int)
    shrink = min(1.0, _PALETTE_SIDE / max(frames.height, frames.width))
    small = (max(round(frames.height * shrink), 1), max(round(frames.width * shrink), 1))
    # Sampled, not averaged: an average has none of the brightest and darkest colors.
    rows, columns = (
        np.linspace(0, side - 1, less).round().astype(int)
        for side, less in zip((frames.height, frames.width), small, strict=True)
    )
    sheet = np.concatenate([frames[index][np.ix_(rows, columns)] for index in chosen])
    return Image.fromarray(sheet).quantize(256, Image.Quantize.MEDIANCUT, kmeans=1)


def _gif_pixels(image: Image.Image) -> bytes:
    """Return the compressed pixels of a picture: code size, data blocks, terminator."""
    encoded = BytesIO()
    # Pillow would remove the colors that a frame does not use, and renumber the others.
    image.save(encoded, "GIF", optimize=False, interlace=False)
    data = encoded.getvalue()
    at = 13 + color_table_bytes(data[10])
    while data[at : at + 1] == b"\x21":
        at = _after_blocks(data, at + 2)
    pixels = at + 10 + color_table_bytes(data[at + 9])
    return data[pixels : _after_blocks(data, pixels + 1)]


def _after_blocks(data: bytes, at: int) -> int:
    """Return the position after the sub-blocks that begin at ``at``, and their terminator."""
    while data[at]:
        at += data[at] + 1
    return at + 1


# APNG


def _encode_apng(
    file: BinaryIO, frames: _Sized, durations: Sequence[int], loops: int | None, comment: str
) -> None:
    """Write an animated PNG (PNG 3rd edition, 11.3.2): every frame in full, exact."""
    size = struct.pack(">II", frames.width, frames.height)
    file.write(_SIGNATURE + _chunk(b"IHDR", size + b"\x08\x02\0\0\0"))
    file.write(_chunk(b"acTL", struct.pack(">II", len(frames), 1 if loops is None else loops)))
    if comment:  # PNG 3rd edition, 11.3.3
        file.write(_chunk(b"tEXt", b"Comment\0" + comment.encode("ascii")))
    number = 0
    for index, (frame, duration) in enumerate(zip(frames, durations, strict=True)):
        control = (
            struct.pack(">I", number) + size + struct.pack(">IIHHBB", 0, 0, duration, 1000, 0, 0)
        )
        file.write(_chunk(b"fcTL", control))
        number += 1
        for data in _png_pixels(frame):
            if index == 0:
                file.write(_chunk(b"IDAT", data))
            else:
                file.write(_chunk(b"fdAT", struct.pack(">I", number) + data))
                number += 1
    file.write(_chunk(b"IEND", b""))


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png_pixels(frame: Rgb) -> Iterable[bytes]:
    """Yield the contents of the IDAT chunks of a picture."""
    encoded = BytesIO()
    Image.fromarray(frame).save(encoded, "PNG", compress_level=6)
    data, at = encoded.getvalue(), len(_SIGNATURE)
    while at < len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        if data[at + 4 : at + 8] == b"IDAT":
            yield data[at + 8 : at + 8 + length]
        at += 12 + length


# MP4


def _encode_mp4(
    file: BinaryIO,
    frames: _Sized,
    durations: Sequence[int],
    _loops: int | None,
    _comment: str,
) -> None:
    """Write H.264; the last frame is repeated for as long as it is held."""
    av = importlib.import_module("av")
    rate = Fraction(1000, durations[0])
    held = max(round(durations[-1] * rate / 1000), 1)
    try:
        with av.open(file, "w", format="mp4") as container:
            # One thread: with more, the bytes depend on how many.
            settings = {"crf": "16", "threads": "1"}
            stream = container.add_stream("libx264", rate=rate, options=settings)
            _describe_video(stream, frames)
            for index, frame in enumerate(frames):
                for _ in range(held if index == len(frames) - 1 else 1):
                    container.mux(stream.encode(_video_frame(av, frame)))
            container.mux(stream.encode())
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error


def _describe_video(stream: Any, frames: _Sized) -> None:
    stream.height, stream.width = (side + side % 2 for side in (frames.height, frames.width))
    stream.pix_fmt = "yuv420p"  # what every player shows; it needs even sides
    # Said in the file, because players guess by size: matrix and primaries of ITU-R BT.709, the
    # transfer of sRGB (ITU-T H.273, 13), the limited range.
    context = stream.codec_context
    context.colorspace, context.color_primaries, context.color_trc = 1, 1, 13
    context.color_range = 1


def _video_frame(av: Any, frame: Rgb) -> Any:
    """Return a frame in BT.709's limited range, its last row and column doubled where uneven."""
    even = np.pad(frame, ((0, frame.shape[0] % 2), (0, frame.shape[1] % 2), (0, 0)), "edge")
    rgb = av.VideoFrame.from_ndarray(even, format="rgb24")
    return rgb.reformat(format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG")


_ENCODERS: dict[str, Callable[[BinaryIO, _Sized, Sequence[int], int | None, str], None]] = {
    ".gif": _encode_gif,
    ".png": _encode_apng,
    ".apng": _encode_apng,
    ".mp4": _encode_mp4,
}


class Film:
    """Collects frames of an optimization and writes them as GIF, APNG or MP4.

    Frames of any size may be added: those of the coarse scales are enlarged to the size of the
    last. Use it as a context manager; the frames on disk are removed at its end. What was added
    before an interruption can still be written.

    Example::

        with Film(Path("monet.gif")) as film:
            film.add(frame)
            film.write()

    Args:
        path: ends in ``.gif``, ``.png``, ``.apng`` or ``.mp4``.
        frame_ms: how long each frame is shown, in milliseconds.
        hold_ms: how long the last frame is shown.

    Raises:
        PictureError: the suffix is unknown, or is ``.mp4`` and PyAV is missing: said here, before
            anything is computed.
    """

    def __init__(self, path: Path, *, frame_ms: int = 100, hold_ms: int = 2000) -> None:
        check_animation(path)
        self.path = path
        self._frame_ms, self._hold_ms = frame_ms, hold_ms
        self._folder = make_temporary_folder(Path(tempfile.gettempdir()), "impasto-film-")
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def __len__(self) -> int:
        """Return how many frames there are."""
        return self._count

    def add(self, frame: Rgb) -> None:
        """Add a frame, RGB, (H, W, 3), uint8.

        Raises:
            PictureError: the temporary folder is full.
        """
        write_picture(_frame_file(self._folder, self._count), Picture(rgb=frame))
        self._count += 1

    def write(self) -> Path:
        """Write the animation, whole or not at all; return its path.

        Raises:
            ImpastoError: no frame was added.
            PictureError: it cannot be written.
        """
        if not self._count:
            raise ImpastoError(f"{self.path}: there is no frame to make an animation of")
        frames = StoredFrames([_frame_file(self._folder, index) for index in range(self._count)])
        write_animation(self.path, frames, frame_ms=self._frame_ms, hold_ms=self._hold_ms)
        return self.path


class StoredFrames(Sequence[Rgb]):
    """Frames that are picture files on disk; one is in memory while it is used."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files

    def __len__(self) -> int:
        return len(self._files)

    @overload
    def __getitem__(self, index: int) -> Rgb: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Rgb]: ...

    def __getitem__(self, index: int | slice) -> Rgb | Sequence[Rgb]:
        if isinstance(index, slice):
            return StoredFrames(self._files[index])
        return read_picture(self._files[index]).rgb


def _frame_file(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.png"
