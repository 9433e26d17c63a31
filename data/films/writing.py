"""Films out: segments that are encoded one after another, and one file made of them.

Each segment is a file of its own, written atomically, so that a command that is killed loses one
segment at most. Its encoder begins anew with a key frame and knows nothing of the others; so the
finished film is the same, bit for bit, however often the work was interrupted. Sound and subtitles
are copied as they are, packet by packet.
"""

import errno
import heapq
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from fractions import Fraction
from io import BytesIO
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any, Literal

import numpy as np

from impasto.data.animations import StoredFrames, write_animation
from impasto.data.atomic import atomic_path, write_text_atomic
from impasto.data.decode import Picture
from impasto.data.encode import write_picture
from impasto.data.films.reading import (
    NO_MATRIX,
    FilmFacts,
    FilmFrame,
    open_film,
    require_av,
    usual_matrix,
)
from impasto.options.errors import OptionError, PictureError

__all__ = ["FilmCodec", "FilmFormat", "FilmSegments", "film_format", "film_suffix"]

FilmCodec = Literal["auto", "h264", "hevc", "vp9"]

_ANIMATIONS = (".gif", ".png", ".apng")
_CONTAINERS = {
    ".mp4": "mp4",
    ".m4v": "mp4",
    ".mov": "mov",
    ".mkv": "matroska",
    ".webm": "webm",
}
# Encoders of each codec, the best first, and the last resort of "auto".
_ENCODERS = {
    "h264": ("libx264", "libopenh264"),
    "hevc": ("libx265",),
    "vp9": ("libvpx-vp9",),
}
_LAST_RESORT = "mpeg4"
# Constant quality at which strokes stay crisp; each encoder counts in its own way.
_CRF = {"libx264": 18, "libx265": 20, "libvpx-vp9": 24}
_MOST_CRF = {"libx264": 51, "libx265": 51}
# Frames in their order (no B-frames), so that segments can stand one after another; and a fixed
# number of threads, on which the bits depend.
_OPTIONS: Mapping[str, Mapping[str, str]] = {
    "libx264": {"bf": "0", "threads": "4"},
    "libx265": {"x265-params": "bframes=0:pools=4:frame-threads=1:log-level=error"},
    "libvpx-vp9": {"b": "0", "auto-alt-ref": "0", "threads": "4", "cpu-used": "3"},
    "mpeg4": {"qscale": "3", "bf": "0", "threads": "1"},
}
_FULL_RANGE = 2
_GLOBAL_HEADER = 1 << 22  # AV_CODEC_FLAG_GLOBAL_HEADER
_QSCALE = 1 << 1  # AV_CODEC_FLAG_QSCALE
_LAMBDA = 118  # FF_QP2LAMBDA
# swscale: bicubic, accurately rounded, the same bits on each machine.
_INTERPOLATION = 4 | 0x40000 | 0x80000


@dataclass(frozen=True, kw_only=True)
class FilmFormat:
    """How a film is written.

    Attributes:
        target: the file.
        facts: those of the film that it is made of, with the size of the result.
        encoder: FFmpeg's encoder; empty for an animation.
        settings: its options.
        notes: sentences about what is not as the film was.
    """

    target: Path
    facts: FilmFacts
    encoder: str = ""
    settings: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """A text that is equal where the same frames make the same file."""
        facts = self.facts
        made = [facts.height, facts.width, str(facts.time_base), str(facts.rate)]
        made += [str(facts.aspect), str(facts.colors), str(facts.loops)]
        version = require_av().library_versions if self.encoder else ()
        return json.dumps([self.encoder, dict(self.settings), made, str(version)])


def film_suffix(source: Path) -> str:
    """Return the ending of the film that is made of another one, unless a user names it."""
    suffix = source.suffix.lower()
    if suffix in _CONTAINERS or suffix in _ANIMATIONS:
        return suffix
    return ".png" if suffix == ".webp" else ".mkv"


def film_format(
    target: Path, facts: FilmFacts, *, codec: FilmCodec = "auto", crf: int | None = None
) -> FilmFormat:
    """Choose how a film is written, by the ending of its name and what FFmpeg has.

    Args:
        target: the file.
        facts: those of the film that it is made of, with the size of the result.
        codec: how pictures are coded; auto is vp9 for ``.webm`` and h264 elsewhere, or MPEG-4 Part
            2 where there is no encoder for that.
        crf: constant quality, smaller is better; None: one at which strokes stay crisp.

    Raises:
        OptionError: the codec does not fit into such a file, or the quality is none of its own.
        PictureError: no film of that ending is written, or there is no encoder.
    """
    suffix = target.suffix.lower()
    if suffix in _ANIMATIONS:
        silent = (f"{suffix} has no sound, and none is written",) * bool(facts.sound)
        return FilmFormat(target=target, facts=facts, settings={}, notes=silent)
    if suffix not in _CONTAINERS:
        known = ", ".join((*_CONTAINERS, *_ANIMATIONS))
        raise PictureError(target, f"is no film that is written; expected one of {known}")
    encoder = _find_encoder(target, codec)
    notes: tuple[str, ...] = ()
    if encoder == _LAST_RESORT:
        notes = ("FFmpeg has no encoder for H.264 here; MPEG-4 Part 2 takes its place",)
    if facts.height % 2 or facts.width % 2:
        notes += ("its last row or column is doubled, as such files need even sides",)
    settings = {**_OPTIONS.get(encoder, {}), **_quality(encoder, crf)}
    facts = _with_matrix(facts)
    return FilmFormat(target=target, facts=facts, encoder=encoder, settings=settings, notes=notes)


def _with_matrix(facts: FilmFacts) -> FilmFacts:
    """Let the film name its matrix where its size would let players guess another one."""
    colors = facts.colors
    if colors.tags[0] != NO_MATRIX or colors.matrix == usual_matrix(facts.height, facts.width):
        return facts
    return replace(facts, colors=replace(colors, tags=(colors.matrix, *colors.tags[1:])))


def _find_encoder(target: Path, codec: FilmCodec) -> str:
    """Return the best encoder that FFmpeg has here."""
    is_web = target.suffix.lower() == ".webm"
    if is_web and codec not in {"auto", "vp9"}:
        raise OptionError("codec", f"{codec} does not fit into .webm; expected vp9")
    try:
        available = require_av().codecs_available
    except ImportError as error:
        raise PictureError(target, f"cannot be written: {error}") from error
    wanted = codec if codec != "auto" else "vp9" if is_web else "h264"
    names = list(_ENCODERS[wanted])
    if codec == "auto" and not is_web:
        names.append(_LAST_RESORT)
    found = next((name for name in names if name in available), None)
    if found is None:
        raise PictureError(target, f"FFmpeg has no encoder for {wanted} here; choose another codec")
    return found


def _quality(encoder: str, crf: int | None) -> dict[str, str]:
    most = _MOST_CRF.get(encoder, 63)
    if crf is not None and crf > most:
        raise OptionError("crf", f"expected 0 to {most} for {encoder}, got {crf}")
    usual = _CRF.get(encoder)
    return {} if usual is None else {"crf": str(usual if crf is None else crf)}


class FilmSegments:
    """The segments of a film, in a folder of their own.

    Args:
        folder: the folder, which exists.
        how: how the film is written.
    """

    def __init__(self, folder: Path, how: FilmFormat) -> None:
        self._folder, self._how = folder, how
        self._notes: list[tuple[list[int], list[int]]] = []
        while (note := self._note(len(self._notes))).is_file():
            noted = json.loads(note.read_text(encoding="utf-8"))
            self._notes.append((noted["times"], noted["durations"]))

    def __len__(self) -> int:
        """Return how many segments are whole."""
        return len(self._notes)

    @property
    def frames(self) -> int:
        """How many frames they hold."""
        return sum(len(times) for times, _ in self._notes)

    def write(self, frames: Iterable[FilmFrame]) -> None:
        """Encode a segment and put it behind the others, whole or not at all.

        Raises:
            OSError: it cannot be written.
        """
        index = len(self._notes)
        times: list[int] = []
        durations: list[int] = []

        def noted() -> Iterator[FilmFrame]:
            for frame in frames:
                times.append(frame.time)
                durations.append(frame.duration)
                yield frame

        if not self._how.encoder:
            for number, frame in enumerate(noted(), self.frames):
                write_picture(self._picture(number), Picture(rgb=frame.rgb))
        else:
            with atomic_path(self._video(index)) as file:
                _encode(file, noted(), self._how)
        text = json.dumps({"times": times, "durations": durations})
        write_text_atomic(self._note(index), text)
        self._notes.append((times, durations))

    def join(self, path: Path, source: Path, comment: str) -> None:
        """Write the film.

        Args:
            path: file to write; its name may be a temporary one.
            source: film whose sound and subtitles are copied.
            comment: text that the film carries.

        Raises:
            OSError: it cannot be written.
            PictureError: sound does not fit into such a file.
        """
        if self._how.encoder:
            with _saying(self._how.target), path.open("wb") as file:
                self._mux(file, source, comment)
        else:
            frames = StoredFrames([self._picture(number) for number in range(self.frames)])
            # The name tells the format, and the temporary one may not.
            whole = self._folder / f"whole{self._how.target.suffix.lower()}"
            loops = self._how.facts.loops
            durations = self._durations_ms()
            write_animation(whole, frames, durations_ms=durations, loops=loops, comment=comment)
            whole.replace(path)

    def check_sound(self, source: Path) -> None:
        """Refuse sound that does not fit into the file, before anything is computed.

        Raises:
            PictureError: it does not.
        """
        if self._how.encoder and self._how.facts.sound:
            with (
                _saying(self._how.target),
                atomic_path(self._folder / "sound") as path,
                path.open("wb") as file,
            ):
                self._mux(file, source, "", alone=True)

    def _note(self, index: int) -> Path:
        return self._folder / f"{index:06d}.json"

    def _video(self, index: int) -> Path:
        return self._folder / f"{index:06d}.nut"

    def _picture(self, number: int) -> Path:
        return self._folder / f"frame_{number:08d}.png"

    def _times(self) -> list[tuple[int, int]]:
        """Return when each frame is shown and for how long, in units of the film."""
        times = [time for some, _ in self._notes for time in some]
        facts = self._how.facts
        usual = max(round(1 / (facts.rate * facts.time_base)), 1)
        last = self._notes[-1][1][-1] or usual
        ends = [*times[1:], times[-1] + last]
        return [(time, end - time) for time, end in zip(times, ends, strict=True)]

    def _durations_ms(self) -> list[int]:
        """Return durations in milliseconds, of a GIF in tens, that do not drift from the times."""
        step = 10 if self._how.target.suffix.lower() == ".gif" else 1
        unit = self._how.facts.time_base * 1000 / step
        times = self._times()
        ends = [round((time - times[0][0]) * unit) for time, _ in times]
        ends.append(round((times[-1][0] + times[-1][1] - times[0][0]) * unit))
        return [min(max((end - start) * step, 1), 65535) for start, end in pairwise(ends)]

    def _mux(self, file: Any, source: Path, comment: str, *, alone: bool = False) -> None:
        """Put pictures and sound into one file; ``alone`` writes its beginning without pictures."""
        av = require_av()
        facts, container = self._how.facts, _CONTAINERS[self._how.target.suffix.lower()]
        options = {"fflags": "+bitexact"}
        if container in {"mp4", "mov"}:
            options["video_track_timescale"] = str(facts.time_base.denominator)
        with ExitStack() as opened:
            out = opened.enter_context(av.open(file, "w", format=container, options=options))
            if comment:
                out.metadata["comment"] = comment
            # Its encoder makes nothing but the head, which is that of each segment.
            pictures = _add_pictures(out, self._how)
            # Recordings of broadcasts begin at any time; what is written, at 0.
            begun = Fraction(0) if alone else self._times()[0][0] * facts.time_base
            sound: Iterator[tuple[Fraction, Any]] = iter(())
            if facts.sound:
                read = opened.enter_context(open_film(source))
                begun = Fraction(read.start_time or 0, 1_000_000)
                sound = self._sound(source, read, out, max(begun, Fraction(0)))
            shift = max(begun, Fraction(0))
            if alone:
                out.start_encoding()
                return
            packets = heapq.merge(self._packets(pictures, shift), sound, key=itemgetter(0))
            for _, packet in packets:
                out.mux(packet)

    def _sound(
        self, source: Path, read: Any, out: Any, shift: Fraction
    ) -> Iterator[tuple[Fraction, Any]]:
        """Add the streams of sound and subtitles; return their packets with their times."""
        taken = [*read.streams.audio, *read.streams.subtitles]
        taken = [stream for stream in taken if stream.codec_context is not None]
        to = {}
        for stream in taken:
            try:
                to[stream.index] = out.add_stream_from_template(stream)
            except ValueError as error:
                raise PictureError(
                    self._how.target,
                    f"cannot hold {stream.type} in {stream.name}, which {source} has; "
                    f"{_where_it_fits(taken)}",
                ) from error
            if language := stream.metadata.get("language"):
                to[stream.index].metadata["language"] = language
        return _copied(read.demux(taken), to, shift) if taken else iter(())

    def _packets(self, stream: Any, shift: Fraction) -> Iterator[tuple[Fraction, Any]]:
        unit = self._how.facts.time_base
        by, times = round(shift / unit), iter(self._times())
        for index in range(len(self._notes)):
            with open_film(self._video(index)) as read:
                for packet in read.demux(video=0):
                    if packet.dts is None:
                        continue
                    time, packet.duration = next(times)
                    packet.time_base = unit
                    packet.pts = packet.dts = time - by
                    packet.stream = stream
                    yield packet.pts * unit, packet


def _copied(
    packets: Iterable[Any], to: Mapping[int, Any], shift: Fraction
) -> Iterator[tuple[Fraction, Any]]:
    """Yield packets for other streams, with their times, earlier by so many seconds."""
    for packet in packets:
        if packet.dts is None:  # the end of a stream
            continue
        by = round(shift / packet.time_base)
        packet.dts -= by
        if packet.pts is not None:
            packet.pts -= by
        packet.stream = to[packet.stream.index]
        yield packet.dts * packet.time_base, packet


def _where_it_fits(streams: Sequence[Any]) -> str:
    """Say what film could hold all these streams."""
    fits: list[str] = []
    for suffix, container in sorted(_CONTAINERS.items(), key=lambda one: one[0] != ".mkv"):
        with suppress(ValueError), require_av().open(BytesIO(), "w", format=container) as out:
            for stream in streams:
                out.add_stream_from_template(stream)
            fits.append(suffix)
    if not fits:
        return "nor can any other film that is written here; take that stream out of it first"
    return f"choose a name that ends in one of {', '.join(fits)}, which can"


def _encode(path: Path, frames: Iterable[FilmFrame], how: FilmFormat) -> None:
    """Encode frames into a file of their own."""
    av = require_av()
    with (
        _saying(how.target),
        path.open("wb") as file,
        av.open(file, "w", format="nut", options={"fflags": "+bitexact"}) as out,
    ):
        stream = _add_pictures(out, how)
        for frame in frames:
            out.mux(stream.encode(_video_frame(frame, how)))
        out.mux(stream.encode())


def _add_pictures(out: Any, how: FilmFormat) -> Any:
    """Add the stream of pictures, with its encoder."""
    facts = how.facts
    stream = out.add_stream(how.encoder, rate=facts.rate, options=dict(how.settings))
    stream.height, stream.width = (side + side % 2 for side in (facts.height, facts.width))
    stream.pix_fmt = "yuv420p"  # what every player shows; it needs even sides
    context = stream.codec_context
    stream.time_base = context.time_base = facts.time_base
    context.flags |= _GLOBAL_HEADER
    if how.encoder == _LAST_RESORT:
        context.flags |= _QSCALE
        context.options = {**how.settings, "global_quality": str(3 * _LAMBDA)}
    matrix, primaries, transfer, range_ = facts.colors.tags
    context.colorspace, context.color_primaries, context.color_trc = matrix, primaries, transfer
    context.color_range = range_
    if facts.aspect != 1:
        context.sample_aspect_ratio = facts.aspect
    return stream


def _video_frame(frame: FilmFrame, how: FilmFormat) -> Any:
    """Return a frame in the colors of the film, its last row and column doubled where uneven."""
    av, colors = require_av(), how.facts.colors
    height, width = frame.rgb.shape[:2]
    even = np.pad(frame.rgb, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
    made = av.VideoFrame.from_ndarray(even, format="rgb24").reformat(
        format="yuv420p",
        src_colorspace=colors.matrix,
        dst_colorspace=colors.matrix,
        src_color_range=_FULL_RANGE,
        dst_color_range=colors.range,
        interpolation=_INTERPOLATION,
        threads=1,
    )
    made.pts, made.time_base = frame.time, how.facts.time_base
    return made


@contextmanager
def _saying(target: Path) -> Iterator[None]:
    """Turn FFmpeg's errors into those that open() would raise."""
    av = require_av()
    try:
        yield
    except av.FFmpegError as error:
        if error.errno == errno.ENOSPC:
            raise OSError(errno.ENOSPC, error.strerror, str(target)) from error
        raise PictureError(
            target, f"cannot be written: {(error.strerror or str(error)).lower()}"
        ) from error
