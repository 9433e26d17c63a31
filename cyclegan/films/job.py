"""A film through a generator: decoded, translated and encoded in segments that survive a kill.

While it is worked on, finished segments lie in a hidden folder beside the result, with what the
next one depends on. A repeated command goes on after the last whole segment, and the film becomes
the same, bit for bit, as if nothing had happened.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Literal

import numpy as np
from PIL import Image

from impasto.cyclegan.films.steady import Steadier, WarpingError, require_cv2
from impasto.cyclegan.inference.fitting import blend
from impasto.cyclegan.inference.memory import TranslationMemory
from impasto.cyclegan.inference.translator import NotFiniteError, Translator
from impasto.cyclegan.jobs.convert import Conversion, Converted, Job
from impasto.cyclegan.jobs.results import describe
from impasto.data.atomic import atomic_path, is_disk_full, write_text_atomic
from impasto.data.decode import Picture, Rgb
from impasto.data.encode import write_picture
from impasto.data.files import fit_name
from impasto.data.films.reading import (
    FILM_SUFFIXES,
    FilmFacts,
    FilmFrame,
    FilmReader,
    is_film,
    read_comment,
)
from impasto.data.films.writing import FilmCodec, FilmSegments, film_format
from impasto.data.provenance import FileNote
from impasto.data.transforms import limit_long_side
from impasto.options.errors import ImpastoError, OptionError, PictureError
from impasto.runs.directory import lock_folder

__all__ = [
    "FilmFlicker",
    "FilmSettings",
    "Filming",
    "is_single_film",
    "measure_flicker",
    "translate_film",
]

_SEGMENT = 24  # frames; a kill loses no more than these
_BUSY = "another impasto translate works on this film; wait for its end"


@dataclass(frozen=True, kw_only=True)
class FilmSettings:
    """What is special about films.

    Attributes:
        steady: whether the result before is mixed in.
        strokes: whether strokes then follow the scene, or stay on the screen.
        codec: how pictures are coded.
        crf: constant quality, or None for that of the codec.
    """

    steady: bool = False
    strokes: Literal["scene", "screen"] = "scene"
    codec: FilmCodec = "auto"
    crf: int | None = None


@dataclass(frozen=True, kw_only=True)
class FilmFlicker:
    """How much a film flickers.

    Attributes:
        film: the film.
        inputs: the film that it was made of; None where it was not given.
        warping_error: see :class:`~impasto.cyclegan.films.steady.WarpingError`; NaN for a film of
            one frame.
        inputs_warping_error: that of the inputs, which is as low as a result can be expected to
            come; None without them.
        frames: number of frames.
        cuts: number of cuts.
    """

    film: Path
    inputs: Path | None
    warping_error: float
    inputs_warping_error: float | None
    frames: int
    cuts: int


def translate_film(  # noqa: PLR0913
    work: Job,
    translator: Translator,
    *,
    how: Conversion,
    settings: FilmSettings,
    identity: str,
    memory: TranslationMemory | None = None,
    overwrite: bool = True,
    on_start: Callable[[int, int], None] = lambda _frames, _done: None,
    on_frame: Callable[[], None] = lambda: None,
    on_note: Callable[[str], None] = lambda _words: None,
    on_whole: Callable[[FileNote, Path], None] = lambda _source, _file: None,
) -> int:
    """Translate a film.

    Args:
        work: the film and its result.
        translator: translates frames.
        how: settings of the conversion, as of pictures.
        settings: what is special about films.
        identity: a text that is equal where weights and settings are, for going on.
        memory: estimate of what a frame needs; None takes what comes.
        overwrite: whether a result that is there is replaced; otherwise it is kept, if it is that
            of the same film and settings.
        on_start: called with the number of frames, about, and of those that are done.
        on_frame: called after each frame.
        on_note: called with sentences about what cannot be kept.
        on_whole: called with the source as it was read and the temporary file of the result, before
            that takes its place.

    Returns:
        Number of frames; 0 where the result was there already.

    Raises:
        PictureError: the film is damaged or too large, or cannot be written, or another one is
            there.
        ImpastoError: the disk is full; what is done stays, and a repeated call goes on from there.
    """
    if settings.steady:
        require_cv2()
    note = describe(work.source)
    folder = work.target.with_name(fit_name(f".{work.target.name}.film"))
    try:
        with FilmReader(work.source) as reader:
            film = _Film(reader, work, translator, how=how, settings=settings)
            film.identify(f"{note.sha256} {identity}")
            if not overwrite and os.path.lexists(work.target):
                film.refuse_other()
                return 0
            with _working_in(folder):
                frames = film.make(
                    folder, memory=memory, on_start=on_start, on_frame=on_frame, on_note=on_note
                )
                with atomic_path(work.target) as whole:
                    film.segments.join(whole, work.source, film.comment)
                    if not note.is_still(work.source):
                        raise PictureError(
                            work.source, "was changed while it was read; repeat the command"
                        )
                    on_whole(note, whole)
    except OSError as error:
        cause = error.__cause__ if isinstance(error, PictureError) else error
        if is_disk_full(cause):
            raise ImpastoError(
                f"{work.target}: the disk is full; what is done lies in {folder}; free some space "
                "and repeat the command, it goes on from there"
            ) from error
        if isinstance(error, ImpastoError):
            raise
        reason = (error.strerror or str(error)).lower()
        raise PictureError(work.target, f"cannot be written: {reason}") from error
    return frames


@contextmanager
def _working_in(folder: Path) -> Iterator[None]:
    """Hold the folder of a film, and remove it once the film is whole or no segment of it is.

    Raises:
        ImpastoError: another process holds it.
    """
    with lock_folder(folder, _BUSY):
        try:
            yield
        except OSError as error:
            cause = error.__cause__ if isinstance(error, PictureError) else error
            if not is_disk_full(cause) and not any(folder.glob("*.json")):
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)  # while no other process can have begun
    if os.name != "posix":  # where what is open cannot be removed
        shutil.rmtree(folder, ignore_errors=True)


class _Film:
    """A film that is being made."""

    segments: FilmSegments

    def __init__(
        self,
        reader: FilmReader,
        work: Job,
        translator: Translator,
        *,
        how: Conversion,
        settings: FilmSettings,
    ) -> None:
        self._reader, self._work, self._translator = reader, work, translator
        self._how, self._settings = how, settings
        follows = settings.strokes == "scene"
        self._steadier = Steadier(follows=follows) if settings.steady else None
        self._facts = _limited(reader.facts, how.long_side)
        self._written = film_format(
            work.target, self._facts, codec=settings.codec, crf=settings.crf
        )
        self._key = ""

    @property
    def comment(self) -> str:
        """What the result says of how it was made."""
        return f"impasto translate {self._key}"

    def identify(self, identity: str) -> None:
        """Say what decides how the result looks, beside how it is written."""
        facts = [identity, self._written.key, self._settings.steady, _SEGMENT]
        if self._settings.strokes != "scene":
            facts.append(self._settings.strokes)
        self._key = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def refuse_other(self) -> None:
        """Refuse to replace anything but the result of the same film and settings.

        Raises:
            PictureError: something else is there.
        """
        if read_comment(self._work.target) != self.comment:
            raise PictureError(
                self._work.target,
                "is there already, and not known to be what this command would make; choose "
                "another --output, or replace it with --overwrite true",
            )

    def make(
        self,
        folder: Path,
        *,
        memory: TranslationMemory | None,
        on_start: Callable[[int, int], None],
        on_frame: Callable[[], None],
        on_note: Callable[[str], None],
    ) -> int:
        """Translate what is not done yet; return the number of all frames."""
        for words in (*self._facts.notes, *self._written.notes):
            on_note(f"{self._work.source}: {words}")
        height, width = self._reader.facts.height, self._reader.facts.width
        if memory is not None and (reason := memory.refusal(height, width)):
            raise PictureError(self._work.source, reason)
        self._open(folder)
        self.segments.check_sound(self._work.source)
        done = self.segments.frames
        on_start(max(self._facts.frames, done), done)
        if self._steadier is not None and done:
            with np.load(self._state(folder, len(self.segments) - 1)) as state:
                self._steadier.load(dict(state))
        frames = (self._limit(frame) for frame in self._reader.frames())
        rest = islice(frames, done, None)
        while part := list(islice(rest, 1)):
            segment = chain(part, islice(rest, _SEGMENT - 1))
            self._write(folder, self._translated(segment, on_frame, done))
            done = self.segments.frames
        if not done:
            raise PictureError(self._work.source, "holds no frame")
        return done

    def _open(self, folder: Path) -> None:
        """Take what is there of the same film with the same settings, and nothing else."""
        noted = folder / "key"
        if not noted.is_file() or noted.read_text(encoding="utf-8") != self._key:
            for path in folder.iterdir():
                if path.name != ".lock":
                    path.unlink()
            write_text_atomic(noted, self._key)
        self.segments = FilmSegments(folder, self._written)

    def _write(self, folder: Path, frames: Iterator[FilmFrame]) -> None:
        """Write a segment, and before it is noted as whole, what the next one depends on."""
        index = len(self.segments)

        def with_state() -> Iterator[FilmFrame]:
            yield from frames
            if self._steadier is not None:
                with atomic_path(self._state(folder, index)) as path, path.open("wb") as file:
                    np.savez(file, allow_pickle=False, **self._steadier.state())

        self.segments.write(with_state())
        if index:
            self._state(folder, index - 1).unlink(missing_ok=True)

    @staticmethod
    def _state(folder: Path, index: int) -> Path:
        return folder / f"{index:06d}.npz"

    def _limit(self, frame: FilmFrame) -> FilmFrame:
        if self._how.long_side is None:
            return frame
        return replace(frame, rgb=limit_long_side(frame.rgb, self._how.long_side))

    def _translated(
        self, frames: Iterator[FilmFrame], on_frame: Callable[[], None], first: int
    ) -> Iterator[FilmFrame]:
        """Yield the results of a segment's frames."""
        size = 1 if self._steadier is not None else self._how.batch_size
        number = first
        while batch := list(islice(frames, size)):
            results = self._paint([frame.rgb for frame in batch])
            for frame, painted in zip(batch, results, strict=True):
                rgb = blend(frame.rgb, painted, self._how.strength)
                if not number:
                    self._show(frame.rgb, rgb)
                number += 1
                yield replace(frame, rgb=rgb)
                on_frame()

    def _paint(self, batch: Sequence[Rgb]) -> Sequence[Rgb]:
        height, width = batch[0].shape[:2]
        scale = self._how.scale_of(height, width)
        small = max(1, round(height / scale)), max(1, round(width / scale))
        same = small == (height, width)
        try:
            if self._steadier is not None and self._settings.strokes == "scene":
                paint = partial(self._paint_in_scene, small=small, scale=1.0 if same else scale)
                return [self._steadier.step(rgb, paint) for rgb in batch]
            shown = batch if same else [_scaled(rgb, *small) for rgb in batch]
            made = self._translator.begin(shown)()
        except NotFiniteError as error:
            raise PictureError(self._work.source, str(error)) from error
        made = made if same else [_scaled(rgb, height, width) for rgb in made]
        if self._steadier is None:
            return made
        steadier = self._steadier
        return [
            steadier.step(rgb, lambda *_, painted=painted: painted)
            for rgb, painted in zip(batch, made, strict=True)
        ]

    def _paint_in_scene(
        self, rgb: Rgb, origin_px: tuple[int, int], *, small: tuple[int, int], scale: float
    ) -> Rgb:
        if scale == 1:
            return self._translator.in_scene(rgb, origin_px)
        place = round(origin_px[0] / scale), round(origin_px[1] / scale)
        return _scaled(self._translator.in_scene(_scaled(rgb, *small), place), *rgb.shape[:2])

    def _show(self, before: Rgb, after: Rgb) -> None:
        """Write pictures of the first frame for a page."""
        for path, rgb in ((self._work.before, before), (self._work.after, after)):
            if path is not None:
                small = limit_long_side(rgb, self._how.preview_px)
                write_picture(path, Picture(rgb=small), quality=85)


def _limited(facts: FilmFacts, long_side: int | None) -> FilmFacts:
    """Return the facts with the size of the result."""
    if long_side is None or max(facts.height, facts.width) <= long_side:
        return facts
    small = limit_long_side(np.zeros((facts.height, facts.width, 3), np.uint8), long_side)
    return replace(facts, height=small.shape[0], width=small.shape[1])


@dataclass(frozen=True, kw_only=True)
class Filming:
    """What all films of a call are translated with.

    Attributes:
        translator: translates frames.
        how: settings of the conversion, as of pictures.
        settings: what is special about films.
        identity: a text that is equal where weights and settings of pictures are.
        memory_of: makes the estimate of what a picture needs.
        on_film: called with each film, the number of its frames and of those that are done.
        on_frame: called after each frame.
        on_note: called with sentences.
    """

    translator: Translator
    how: Conversion
    settings: FilmSettings
    identity: str
    memory_of: Callable[..., TranslationMemory]
    on_film: Callable[[Path, int, int], None]
    on_frame: Callable[[], None]
    on_note: Callable[[str], None]

    @property
    def whole_identity(self) -> str:
        """The identity of pictures, with what is special about films."""
        return json.dumps([self.identity, asdict(self.settings)], sort_keys=True)

    def identity_of(self, films: Collection[Path]) -> Callable[[Job], str]:
        """Return what gives the identity of a job, if these sources are films."""
        return lambda job: self.whole_identity if job.source in films else self.identity

    def translate(
        self,
        job: Job,
        result: Converted,
        on_whole: Callable[[FileNote, Path], None],
        on_written: Callable[[Job], None],
        *,
        overwrite: bool = True,
    ) -> None:
        """Translate a film, and record what became of it."""
        started = time.perf_counter()
        try:
            frames = translate_film(
                job,
                self.translator,
                how=self.how,
                settings=self.settings,
                identity=self.whole_identity,
                memory=self.memory_of(),  # frames are translated whole, never in rows
                overwrite=overwrite,
                on_start=partial(self.on_film, job.source),
                on_frame=self.on_frame,
                on_note=self.on_note,
                on_whole=on_whole,
            )
        except PictureError as error:
            own = error.path == job.source
            result.failures[job.source] = error.reason if own else str(error)
            return
        on_written(job)
        if frames:
            result.done.append(job)
            seconds = time.perf_counter() - started
            self.on_note(f"{job.target}: {frames} frames, {seconds:.1f} s")


def is_single_film(photos: Sequence[Path], output: Path | None) -> bool:
    """Whether a single film is to become the file that ``output`` names.

    Raises:
        OptionError: it names a film, and there is something else to translate.
    """
    if output is None or output.is_dir():
        return False
    suffix = output.suffix.lower()
    if len(photos) == 1 and photos[0].is_file() and is_film(photos[0]):
        if output.resolve() == photos[0].resolve():
            raise OptionError("output", f"{output} would overwrite the film itself")
        return suffix in (*FILM_SUFFIXES, ".gif", ".png", ".apng", ".webp")
    if suffix in FILM_SUFFIXES:
        raise OptionError(
            "output",
            f"{output} is the name of a film, which is for a single film; name a folder for "
            "several films, and for pictures",
        )
    return False


def measure_flicker(
    film: Path,
    inputs: Path | None,
    *,
    on_start: Callable[[int], None] = lambda _frames: None,
    on_frame: Callable[[], None] = lambda: None,
) -> FilmFlicker:
    """Measure how much a film flickers, frame by frame.

    Args:
        film: the film.
        inputs: the film that it was made of, whose motion counts; None: its own.
        on_start: called with the number of frames, about.
        on_frame: called after each frame.

    Raises:
        PictureError: a film is damaged, or the two have other numbers of frames.
        OptionError: the frames of the two have different proportions.
        ImpastoError: OpenCV is not installed.
    """
    require_cv2()
    error, own = WarpingError(), WarpingError()
    count = 0
    with FilmReader(film) as results, FilmReader(inputs or film) as sources:
        on_start(results.facts.frames)
        size = results.facts.height, results.facts.width
        found = sources.frames()
        for result in results.frames():
            source = next(found, None) if inputs is not None else result
            if source is None:
                raise PictureError(film, f"has more frames than {inputs}, which has {count}")
            seen = source.rgb if source.rgb.shape[:2] == size else _fitted(source.rgb, size, film)
            error.add(seen, result.rgb)
            if inputs is not None:
                own.add(seen, seen)
            count += 1
            on_frame()
        if inputs is not None and next(found, None) is not None:
            raise PictureError(film, f"has {count} frames, and {inputs} has more")
    return FilmFlicker(
        film=film,
        inputs=inputs,
        warping_error=error.value,
        inputs_warping_error=own.value if inputs is not None else None,
        frames=count,
        cuts=error.cuts,
    )


def _fitted(rgb: Rgb, size: tuple[int, int], film: Path) -> Rgb:
    """Scale a frame of the inputs to the size of the results, where both have the same shape."""
    height, width = rgb.shape[:2]
    # Files with odd sides get a row or column more.
    if abs(height * size[1] - width * size[0]) > 2 * max(*size, height, width):
        raise OptionError(
            "inputs",
            f"its frames are {width} x {height}, and those of {film} {size[1]} x {size[0]}: "
            "it is another film",
        )
    return _scaled(rgb, *size)


def _scaled(rgb: Rgb, height: int, width: int) -> Rgb:
    """Scale as pictures are for larger strokes, without the limit in size of ``resize``."""
    return np.asarray(Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC))
