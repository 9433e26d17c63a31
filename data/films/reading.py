"""Films in: frames as upright 8-bit RGB, one after another, with the times at which they are shown.

Video files are read by PyAV (FFmpeg, which its package brings along), animated GIF, PNG and WebP by
Pillow. Only one frame is in memory at a time. What a file says of its frames is followed:

- **Times.** Those of the file, in its own units, so that a variable frame rate stays as it is.
- **Rotation.** Frames are turned upright, as a player turns them.
- **Colors.** The matrix and range of the file; where it names no matrix, BT.601 below 720 rows and
  BT.709 from there on, as players guess. What has more than 8 bits is rounded to 8.
"""

import importlib
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np
from PIL import Image
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from impasto.data.decode import DEFAULT_MAX_PIXELS, Picture, Rgb, refuse_large
from impasto.data.standardize import flatten_alpha
from impasto.options.errors import PictureError

__all__ = [
    "FILM_SUFFIXES",
    "NO_MATRIX",
    "FilmColors",
    "FilmFacts",
    "FilmFrame",
    "FilmReader",
    "color_table_bytes",
    "is_film",
    "open_film",
    "read_comment",
    "require_av",
    "usual_matrix",
]

FILM_SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg"),
    *(".mts", ".m2ts", ".wmv", ".flv", ".3gp", ".ogv"),
)
"""Endings of the names of video files that are looked for in folders, in lower case."""

NO_MATRIX = 2
"""What stands for a film that names no matrix (ITU-T H.273)."""

_ANIMATED = (".gif", ".png", ".apng", ".webp")
# By their first bytes, as pictures are read, too: many a GIF is called .png.
_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"GIF8", GifImageFile),
    (_PNG, PngImageFile),
    (b"RIFF", WebPImageFile),
)
_MS = Fraction(1, 1000)
_USUAL_MS = 100  # of an animation that names none, as browsers show it
# Matrices of ITU-T H.273 as FFmpeg numbers them, by what its scaler calls them.
_MATRICES = {1: 1, 4: 4, 5: 5, 6: 5, 7: 7, 9: 9, 10: 9}
_BT709, _BT601, _HD_ROWS, _FULL_RANGE, _LIMITED = 1, 5, 720, 2, 1
_HDR = {16: "PQ", 18: "HLG"}  # transfers of H.273
# How much shorter than announced a film may be, in seconds: files round, and count in packets.
_SHORT_SECONDS = 0.5


@dataclass(frozen=True, kw_only=True)
class FilmColors:
    """How RGB becomes the samples of a video file: numbers of ITU-T H.273.

    Attributes:
        matrix: matrix as FFmpeg's scaler numbers it (1: BT.709, 5: BT.601, 9: BT.2020).
        range: 1: limited, 16 to 235; 2: full, 0 to 255.
        tags: matrix, primaries, transfer and range as the file names them; 2 and 0 stand for
            nothing.
    """

    matrix: int = _BT709
    range: int = _LIMITED
    tags: tuple[int, int, int, int] = (1, 1, 13, 1)


@dataclass(frozen=True, kw_only=True)
class FilmFacts:
    """What a film says of itself.

    Attributes:
        height: rows of an upright frame.
        width: columns of an upright frame.
        time_base: unit of all times, in seconds.
        rate: average number of frames in a second.
        frames: about how many frames there are; 0 if that is not known.
        colors: how its samples are meant.
        aspect: width of a pixel by its height.
        loops: how often an animation plays; 0: for ever; None: once.
        sound: names of the codecs of what is beside the pictures: sound and subtitles.
        notes: sentences about what cannot be kept.
    """

    height: int
    width: int
    time_base: Fraction
    rate: Fraction
    frames: int = 0
    colors: FilmColors = FilmColors()
    aspect: Fraction = Fraction(1)
    loops: int | None = 0
    sound: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, eq=False)
class FilmFrame:
    """One frame.

    Attributes:
        rgb: RGB, (H, W, 3), uint8, upright.
        time: when it is shown, in units of the film; larger than that of the frame before.
        duration: how long it is shown, in units of the film; 0 if that is not known.
    """

    rgb: Rgb
    time: int
    duration: int


def require_av() -> Any:
    """Return the module ``av`` (PyAV).

    Raises:
        ImportError: it is not installed; the message says how to install it.
    """
    try:
        return importlib.import_module("av")
    except ImportError as error:
        raise ImportError(
            "films need the packages PyAV and OpenCV: pip install av opencv-python-headless"
        ) from error


def open_film(path: Path) -> Any:
    """Return a video file, open for reading by PyAV; nothing but this file is ever opened.

    Raises:
        ImportError: PyAV is not installed.
        av.FFmpegError: it cannot be read.
    """
    # A playlist could name other files, and addresses; and a name such as "12:30.mp4" looks like an
    # address itself.
    options = {"protocol_whitelist": "file", "format_whitelist": _CONTAINERS}
    return require_av().open(f"file:{path}", options=options, metadata_errors="replace")


def is_film(path: Path) -> bool:
    """Whether a file is a film: by the ending of its name, or as a picture of several frames.

    Of GIF, PNG and WebP the beginning is read; what cannot be read is no film.
    """
    suffix = path.suffix.lower()
    if suffix in FILM_SUFFIXES:
        return True
    if suffix not in _ANIMATED:
        return False
    try:
        with path.open("rb") as file:
            return _is_animated(file)
    except (OSError, IndexError):  # cut short
        return False


def read_comment(path: Path) -> str:
    """Return the comment that a film carries; nothing where there is none to be read."""
    try:
        if (kind := _kind_of(path)) is not None:
            with path.open("rb") as file, kind(file) as image:
                said = image.info.get("comment", image.info.get("Comment", ""))
            return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        with open_film(path) as container:
            found = {name.lower(): value for name, value in container.metadata.items()}
    except (ImportError, OSError, ValueError, SyntaxError, struct.error):
        return ""
    return str(found.get("comment", ""))


def _kind_of(path: Path) -> type[ImageFile] | None:
    """Return what reads an animation, by its first bytes; None for video files.

    Raises:
        OSError: the file cannot be read.
    """
    if path.suffix.lower() not in _ANIMATED:
        return None
    with path.open("rb") as file:
        start = file.read(len(_PNG))
    return next((kind for sign, kind in _KINDS if start.startswith(sign)), PngImageFile)


def _is_animated(file: IO[bytes]) -> bool:
    start = file.read(21)
    if start.startswith(_PNG):
        file.seek(8)
        while len(head := file.read(8)) == 8 and head[4:] != b"IDAT":
            if head[4:] == b"acTL":  # PNG 3rd edition, 11.3.2.1: before the pixels
                return int.from_bytes(file.read(4), "big") > 1
            file.seek(int.from_bytes(head[:4], "big") + 4, 1)
        return False
    if start[:4] == b"RIFF" and start[8:16] == b"WEBPVP8X":
        return bool(start[20] & 2)
    return start[:6] in (b"GIF87a", b"GIF89a") and _holds_two(file, start)


def _holds_two(file: IO[bytes], start: bytes) -> bool:
    """Whether a GIF holds a second picture (GIF89a, 20 to 26)."""
    file.seek(13 + color_table_bytes(start[10]))
    pictures = 0
    while kind := file.read(1):
        if kind == b"\x21":
            file.read(1)
        elif kind == b"\x2c":
            pictures += 1
            if pictures == 2:
                return True
            file.seek(color_table_bytes(file.read(9)[8]) + 1, 1)
        else:
            return False
        while length := file.read(1)[0]:
            file.seek(length, 1)
    return False


def color_table_bytes(flags: int) -> int:
    """Return the size of the color table of a GIF that its flags announce, in bytes."""
    return 3 * 2 ** ((flags & 7) + 1) if flags & 0x80 else 0


class FilmReader:
    """A film that is open for reading; a context manager.

    Args:
        path: a video file, or an animated GIF, PNG or WebP.

    Attributes:
        path: the file.
        facts: what it says of itself.

    Raises:
        PictureError: it cannot be opened, is damaged, or holds no moving picture; or PyAV is not
            installed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._open = ExitStack()
        self._animation: ImageFile | None = None
        self._first_index = 0
        if path.exists() and not path.is_file():  # opening a pipe would wait for ever
            raise PictureError(path, "is no regular file")
        try:
            kind = _kind_of(path)
        except OSError as error:
            raise PictureError(path, _why(error)) from error
        try:
            if kind is None:
                self.facts = self._open_video()
            else:
                self.facts = self._open_animation(kind)
        except BaseException:
            self._open.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._open.close()

    def frames(self) -> Iterator[FilmFrame]:
        """Yield all frames in the order in which they are shown; call it once.

        Raises:
            PictureError: the film is damaged or cut short.
        """
        found = self._video_frames() if self._animation is None else self._animation_frames()
        last = None
        for frame in found:
            if last is None or frame.time > last.time:
                last = frame
            else:  # of a damaged file
                last = replace(frame, time=last.time + max(last.duration, 1))
            yield last

    def _open_animation(self, kind: type[ImageFile]) -> FilmFacts:
        try:
            image = self._open.enter_context(kind(self._open.enter_context(self.path.open("rb"))))
            refuse_large(self.path, *image.size, DEFAULT_MAX_PIXELS)
            frames = int(getattr(image, "n_frames", 1))
            if getattr(image, "default_image", False) and frames > 1:
                # A PNG's own picture, for viewers that know no animations, which is no frame.
                self._first_index, frames = 1, frames - 1
                image.seek(1)
            info = dict(image.info)
            clear = image.mode in {"RGBA", "LA", "PA"} or "transparency" in info
        except PictureError:
            raise
        except OSError as error:
            raise PictureError(self.path, _why(error)) from error
        except (SyntaxError, ValueError, struct.error, EOFError) as error:
            raise PictureError(self.path, "is damaged, or no animation") from error
        self._animation = image
        width, height = image.size
        seconds = Fraction(max(int(info.get("duration", 0)), 1), 1000)
        return FilmFacts(
            height=height,
            width=width,
            time_base=_MS,
            rate=Fraction(1) / (seconds if info.get("duration") else Fraction(_USUAL_MS, 1000)),
            frames=frames,
            loops=info.get("loop"),
            notes=("its transparent parts become white",) * clear,
        )

    def _animation_frames(self) -> Iterator[FilmFrame]:
        image = self._animation
        assert image is not None  # noqa: S101 - for mypy
        time = 0
        for index in range(self.facts.frames):
            try:
                image.seek(self._first_index + index)
                samples = np.asarray(image.convert("RGBA"))
                duration = round(image.info.get("duration", 0)) or _USUAL_MS
            except (OSError, EOFError, SyntaxError, ValueError, struct.error) as error:
                raise PictureError(
                    self.path, f"is damaged or cut short after {index} frames"
                ) from error
            picture = Picture(rgb=samples[:, :, :3], alpha=samples[:, :, 3])
            yield FilmFrame(rgb=flatten_alpha(picture), time=time, duration=duration)
            time += duration

    def _open_video(self) -> FilmFacts:
        try:
            av = require_av()
        except ImportError as error:
            raise PictureError(self.path, f"cannot be read: {error}") from error
        try:
            self._container = self._open.enter_context(open_film(self.path))
        except av.FFmpegError as error:
            raise PictureError(self.path, _why(error)) from error
        pictures = [
            stream
            for stream in self._container.streams.video
            if not int(stream.disposition) & int(_ATTACHED)
        ]
        if not pictures:
            raise PictureError(self.path, "holds no moving picture; is it sound alone?")
        self._stream = pictures[0]
        self._stream.thread_type = "AUTO"
        try:
            context = self._stream.codec_context
        except ValueError:  # where FFmpeg was built without it
            context = None
        if context is None:
            raise PictureError(self.path, "is coded in a way that this FFmpeg does not know")
        self._first = self._decode_first()
        return self._describe_video(context, len(pictures))

    def _decode_first(self) -> Any:
        """Return the first frame, which alone tells rotation and colors of some files."""
        av = require_av()
        self._decoded = self._container.decode(self._stream)
        try:
            return next(self._decoded)
        except ValueError as error:
            if isinstance(error, av.FFmpegError):
                raise PictureError(self.path, _why(error)) from error
            raise PictureError(
                self.path, f"cannot be read: this FFmpeg has no decoder for it ({error})"
            ) from error
        except StopIteration:
            raise PictureError(self.path, "holds no frame; it is cut short or damaged") from None
        except av.FFmpegError as error:
            raise PictureError(self.path, _why(error)) from error

    def _describe_video(self, context: Any, videos: int) -> FilmFacts:
        stream, first = self._stream, self._first
        rate = Fraction(stream.average_rate or stream.base_rate or 25)
        seconds = self._seconds() or (self._container.duration or 0) / 1e6
        frames = int(stream.frames) or round(seconds * rate)
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        height, width = first.height, first.width
        if int(first.rotation) % 180:
            height, width, aspect = width, height, 1 / aspect
        others = [*self._container.streams.audio, *self._container.streams.subtitles]
        return FilmFacts(
            height=height,
            width=width,
            time_base=Fraction(stream.time_base),
            rate=rate,
            frames=frames,
            colors=_colors_of(first, context),
            aspect=aspect,
            sound=tuple(one.name for one in others if one.codec_context is not None),
            notes=tuple(self._notes(first, videos)),
        )

    def _notes(self, first: Any, videos: int) -> Iterator[str]:
        bits = max(part.bits for part in first.format.components)
        if bits > 8:
            yield f"it has {bits} bits a sample; its frames are translated and written with 8"
        if (hdr := _HDR.get(int(first.color_trc))) is not None:
            yield (
                f"its brightness is that of HDR ({hdr}), which models have not seen: colors will "
                "look flat; convert it to SDR first"
            )
        if first.interlaced_frame:
            yield "it is interlaced; its lines will show unless it is deinterlaced first"
        if any(part.is_alpha for part in first.format.components):
            yield "it has transparent parts, which become opaque"
        if videos > 1:
            yield f"it holds {videos} videos, of which the first is translated"
        streams = self._container.streams
        if unknown := sum(
            one.codec_context is None for one in (*streams.audio, *streams.subtitles)
        ):
            yield f"{unknown} of its streams of sound or subtitles cannot be copied by this FFmpeg"

    def _seconds(self) -> float | None:
        """Return how long the pictures go on, if the file says so of them alone."""
        stream, container = self._stream, self._container
        if stream.duration:
            return float(stream.duration * stream.time_base)
        alone = not container.streams.audio
        return container.duration / 1e6 if alone and container.duration else None

    def _video_frames(self) -> Iterator[FilmFrame]:
        av = require_av()
        count, end = 0, 0.0
        start = self._first.pts or 0
        frame: Any = self._first
        last_time, unit = start - 1, max(round(1 / (self.facts.rate * self.facts.time_base)), 1)
        while frame is not None:
            if (frame.height, frame.width) != (self._first.height, self._first.width):
                raise PictureError(
                    self.path,
                    f"changes its size after {count} frames, from {self._first.width} x "
                    f"{self._first.height} to {frame.width} x {frame.height}",
                )
            time = frame.pts if frame.pts is not None else last_time + unit
            duration = int(frame.duration or 0)
            yield FilmFrame(rgb=self._rgb(frame), time=time, duration=duration)
            count, last_time = count + 1, time
            end = float((time - start + (duration or unit)) * self.facts.time_base)
            try:
                frame = next(self._decoded, None)
            except av.FFmpegError as error:
                raise PictureError(
                    self.path, f"is damaged after {count} frames, {end:.1f} s: {_why(error)}"
                ) from error
        seconds = self._seconds()
        if seconds is not None and end < seconds - max(_SHORT_SECONDS, 5 / float(self.facts.rate)):
            raise PictureError(
                self.path,
                f"is cut short: it ends after {end:.1f} of {seconds:.1f} s ({count} frames)",
            )

    def _rgb(self, frame: Any) -> Rgb:
        colors = self.facts.colors
        if frame.format.name in {"rgb24", "bgr24", "gbrp", "rgba", "bgra"}:
            rgb = frame.to_ndarray(format="rgb24")
        else:
            rgb = frame.reformat(
                format="rgb24",
                src_colorspace=colors.matrix,
                dst_colorspace=colors.matrix,
                src_color_range=colors.range,
                dst_color_range=_FULL_RANGE,
                interpolation=_INTERPOLATION,
                threads=1,
            ).to_ndarray()
        # FFmpeg counts degrees against the clock, as NumPy does.
        turned = np.rot90(rgb, k=round(int(frame.rotation) / 90) % 4)
        return np.ascontiguousarray(turned)


# swscale: bicubic, of full chroma, with accurate rounding, the same bits on each machine.
_INTERPOLATION = 4 | 0x2000 | 0x4000 | 0x40000 | 0x80000
_ATTACHED = 0x400  # AV_DISPOSITION_ATTACHED_PIC: the cover of an album
_CONTAINERS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,asf,flv,ogg,m4v,h264,hevc,nut"
)


def usual_matrix(height: int, width: int) -> int:
    """Return the matrix that players guess for a film of a size that names none."""
    return _BT709 if min(height, width) >= _HD_ROWS else _BT601


def _colors_of(frame: Any, context: Any) -> FilmColors:
    matrix = int(frame.colorspace)
    usual = usual_matrix(frame.height, frame.width)
    full = int(frame.color_range) == _FULL_RANGE or frame.format.name.startswith("yuvj")
    range_ = _FULL_RANGE if full else _LIMITED
    return FilmColors(
        matrix=_MATRICES.get(matrix, usual),
        range=range_,
        tags=(
            matrix if matrix in _MATRICES else NO_MATRIX,  # RGB is none of what is written
            int(context.color_primaries),
            int(context.color_trc),
            range_ if full or int(frame.color_range) else 0,
        ),
    )


def _why(error: Exception) -> str:
    """Say in words why a film cannot be read."""
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError)):
        return f"cannot be opened: {(error.strerror or str(error)).lower()}"
    if type(error).__name__ in {"InvalidDataError", "EOFError"}:
        return "is damaged or cut short, or no film"
    if isinstance(error, Image.DecompressionBombError):
        return "is too large"
    said = getattr(error, "strerror", None) or str(error)
    return f"cannot be read: {said.lower()}"
