"""Converting many pictures: reading, translating and writing at the same time."""

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.cyclegan.inference.fitting import blend, fit_strokes, scale_samples
from impasto.cyclegan.inference.large import LargePlan, scaled_rows
from impasto.cyclegan.inference.memory import TranslationMemory
from impasto.cyclegan.inference.translator import NotFiniteError, Translator
from impasto.cyclegan.jobs.pictures import (
    MAY_BE_DEEP,
    ReadPicture,
    limit_picture,
    paint_numbers,
    read_to_translate,
    result_of,
)
from impasto.cyclegan.jobs.results import describe
from impasto.data.atomic import is_disk_full
from impasto.data.channels.ranges import Formats
from impasto.data.channels.read import is_deep, picture_size
from impasto.data.channels.write import what_holds, write_samples
from impasto.data.decode import Picture, open_rows, read_size
from impasto.data.encode import write_picture, write_rows
from impasto.data.provenance import FileNote
from impasto.data.tensors import to_pictures, to_tensor
from impasto.options.errors import FolderError, ImpastoError, PictureError
from impasto.runs.memory import gigabytes

__all__ = [
    "Conversion",
    "Converted",
    "Job",
    "convert",
    "paint",
    "paint_fitted",
]

_BATCH_PIXELS = 2**21
_ROWS_SUFFIX = ".tif"  # of results that are written by rows

Translate = Callable[[Tensor], Tensor]
Result = TypeVar("Result")
Painted = Callable[[], list[NDArray[Any]]]
Paint = Callable[[Sequence[NDArray[Any]]], Painted]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One picture to convert.

    Attributes:
        source: picture file to read.
        target: file to write.
        before: path for a small copy of the source for a page, or None.
        after: path for a small copy of the result, if that is large, or None.
    """

    source: Path
    target: Path
    before: Path | None = None
    after: Path | None = None

    @property
    def copies(self) -> list[tuple[Path, Path | None]]:
        """Source and target, each with its small copy."""
        return [(self.source, self.before), (self.target, self.after)]


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """Settings of a conversion.

    Attributes:
        batch_size: number of pictures of equal size that are translated together.
        ahead: number of batches that are begun before the result of an earlier one is waited for;
            1 keeps a GPU busy while results are fetched.
        threads: number of reading threads, and also of writing threads.
        long_side: longest side to which larger pictures are first scaled down, in pixels; None: no
            limit.
        stroke_scale: factor by which pictures are shrunk for the generator; its results are
            enlarged to the size of the picture, which also enlarges the strokes.
        strokes_at_px: shorter side of the pictures for which the generator's strokes are right;
            ``stroke_scale`` then does not count, and each picture has the factor of its size.
        strength: share of the translation in the results, from 0 to 1; the rest is the picture.
        quality: quality of JPEG and WebP files, 1 to 100.
        preview_px: longer side of the small copies, in pixels.
        formats: what the numbers of inputs and of results mean; None: they are colors, RGB.
        bits: bits per sample of RGB results, 8 or 16; None: as many as the input has.
    """

    batch_size: int = 4
    ahead: int = 0
    threads: int = 4
    long_side: int | None = None
    stroke_scale: float = 1.0
    strokes_at_px: float | None = None
    strength: float = 1.0
    quality: int = 95
    preview_px: int = 1024
    formats: Formats = (None, None)
    bits: int | None = 8

    def scale_of(self, height: int, width: int) -> float:
        """Return the factor by which a picture of a size is shrunk for the generator."""
        if self.strokes_at_px is None:
            return self.stroke_scale
        return fit_strokes(height, width, strokes_at_px=self.strokes_at_px)

    def may_be_deep(self, job: Job) -> bool:
        """Whether the result of a job is written with 16 bits if its input has more than 8."""
        able = job.target.suffix.removeprefix(".") in what_holds("uint16", 3)
        return self.formats == (None, None) and self.bits is None and able


@dataclass(kw_only=True)
class Converted:
    """The outcome of the jobs.

    Attributes:
        done: jobs whose target was written.
        failures: source files that failed, with the reasons.
        seconds: duration, in seconds.
        pixels: total number of pixels of all results.
    """

    done: list[Job] = field(default_factory=list)
    failures: dict[Path, str] = field(default_factory=dict)
    seconds: float = 0.0
    pixels: int = 0


def convert(  # noqa: PLR0913
    jobs: Sequence[Job],
    translate: Translate,
    *,
    how: Conversion,
    memory: TranslationMemory | None = None,
    result: Converted | None = None,
    on_done: Callable[[Job], None] = lambda _job: None,
    on_whole: Callable[[Job, FileNote, Path], None] = lambda _job, _source, _file: None,
    on_written: Callable[[Job], None] = lambda _job: None,
    on_note: Callable[[str], None] = lambda _words: None,
) -> Converted:
    """Translate every job's source into its target.

    A picture that cannot be read, translated or written is recorded, and the others continue.
    Results are written atomically, after their previews, so a target that exists is complete.
    Pictures that are large for this machine come last, alone and from small to large; where even
    that needs more memory than there is, they fail at once, before anything is translated.

    Args:
        jobs: jobs to do.
        translate: function from pictures (N, 3, H, W) in [-1, 1] to the same shape and range.
        how: settings of the conversion.
        memory: estimate of what each size needs; None takes what comes.
        result: record to add the jobs to, which the caller has also where this raises.
        on_done: called in this thread for each finished job, successful or not.
        on_whole: called in the thread that writes a result, before that takes its place, with the
            source as it was read, and the temporary file of the result.
        on_written: called in the same thread when the result is in its place.
        on_note: called at once with what will not fit into memory, in words.

    Returns:
        The finished and the failed jobs.

    Raises:
        ImpastoError: the disk is full; what is written stays, a repeated call goes on from there.
    """
    started = time.perf_counter()
    result = Converted() if result is None else result
    painter = partial(_begin, translate=translate, scale_of=how.scale_of)
    work = _Work(
        how=how,
        painter=painter,
        result=result,
        on_done=on_done,
        on_whole=on_whole,
        on_written=on_written,
    )
    try:
        usual, large = _sort(jobs, memory, work, translate, on_note)
        at_once = None if memory is None else memory.batch_pixels
        work.convert(usual, _BATCH_PIXELS if at_once is None else min(_BATCH_PIXELS, at_once))
        for job, size in large:
            # Only now, for what is free changes; nothing else is being read, painted or written.
            known = _memory_for(job, memory, how)
            by_rows = known is memory and _has_rows(job, translate)
            if known is not None and (reason := known.refusal(*size, by_rows=by_rows)):
                work.fail(job, reason)
                continue
            if known is not None and (plan := known.plan(*size, by_rows=by_rows)):
                on_note(_say_rows(job, size, plan, known.file_bytes(*size, plan)))
                if by_rows:
                    work.convert_rows(job, partial(_convert_rows, job, translate, plan=plan))
                    continue
                work.painter = partial(
                    _begin_rows, translate=translate, scale_of=how.scale_of, plan=plan
                )
            else:
                work.painter = painter
            work.convert([job], _BATCH_PIXELS)
    except KeyboardInterrupt:
        work.end_writing()  # what is painted
        raise
    finally:
        work.close()
        result.seconds = time.perf_counter() - started
    return result


class _Work:
    """The threads that read and write, what they are doing, and what came of it."""

    def __init__(
        self,
        *,
        how: Conversion,
        painter: Paint,
        result: Converted,
        on_done: Callable[[Job], None],
        on_whole: Callable[[Job, FileNote, Path], None],
        on_written: Callable[[Job], None],
    ) -> None:
        self.how, self.painter, self.result = how, painter, result
        self.readers = ThreadPoolExecutor(how.threads)
        self._writers = ThreadPoolExecutor(how.threads)
        self._on_done, self._on_whole, self._on_written = on_done, on_whole, on_written
        self._write = partial(_write, how=how, on_whole=on_whole, on_written=on_written)
        self._begun: deque[tuple[list[tuple[Job, ReadPicture]], Painted | str]] = deque()
        self._pending: deque[tuple[Job, Future[int]]] = deque()

    def convert(self, jobs: Sequence[Job], batch_pixels: int) -> None:
        """Read, translate and write pictures, up to the last one."""
        for batch in _batches(self._read_ahead(jobs), self.how.batch_size, batch_pixels):
            self._begun.append((batch, self._begin(batch)))
            failed = isinstance(self._begun[-1][1], str)
            self._end_begun(0 if failed else self.how.ahead)
        self._end_begun(0)
        self._collect(0)

    def convert_rows(self, job: Job, convert_it: Callable[..., int]) -> None:
        """Read, translate and write one picture, all of it by rows."""
        done: Future[int] = Future()
        hooks = {"on_whole": self._on_whole, "on_written": self._on_written}
        try:
            done.set_result(convert_it(how=self.how, **hooks))
        except PictureError as error:
            done.set_exception(error)
        except (NotFiniteError, FolderError, MemoryError, RuntimeError) as error:
            if not isinstance(error, ImpastoError) and not _is_memory(error):
                raise
            done.set_exception(PictureError(job.source, str(error) or "out of memory"))
        _finish(job, done, self.result)
        self._on_done(job)

    def fail(self, job: Job, reason: str) -> None:
        """Record a job that failed."""
        self.result.failures[job.source] = reason
        self._on_done(job)

    def end_writing(self) -> None:
        """Write what is translated, and nothing else."""
        self.readers.shutdown(cancel_futures=True)
        self._writers.shutdown()
        self._collect(0)

    def close(self) -> None:
        """End the threads, with what they are at."""
        self.readers.shutdown(cancel_futures=True)
        self._writers.shutdown(cancel_futures=True)

    def _collect(self, limit: int) -> None:
        """Record what was written, until no more than so many are left."""
        while len(self._pending) > limit:
            job, future = self._pending.popleft()
            _finish(job, future, self.result)
            self._on_done(job)

    def _read_ahead(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, ReadPicture]]:
        """Yield the decoded pictures in order, with a few being read in advance."""
        waiting = iter(jobs)
        ahead: deque[tuple[Job, Future[ReadPicture]]] = deque()

        def submit(count: int) -> None:
            for job in islice(waiting, count):
                ahead.append((job, self.readers.submit(_read, job, self.how)))

        submit(self.how.threads + self.how.batch_size)
        while ahead:
            job, future = ahead.popleft()
            submit(1)
            try:
                yield job, future.result()
            except PictureError as error:
                self.fail(job, error.reason)

    def _begin(self, batch: list[tuple[Job, ReadPicture]]) -> Painted | str:
        """Begin to translate pictures of one size, or return why that failed."""
        paint = partial(self.painter, [read.shown for _, read in batch])
        begun = _try(paint, batch)
        if isinstance(begun, str) and self._begun:
            self._end_begun(0)
            begun = _try(paint, batch)  # now that no other batch takes memory
        return begun

    def _end_begun(self, limit: int) -> None:
        """End what was begun first, until no more than so many batches are left."""
        while len(self._begun) > limit:
            self._end(*self._begun.popleft())

    def _end(self, batch: list[tuple[Job, ReadPicture]], begun: Painted | str) -> None:
        """Wait for results and let them be written; what fails together is done one at a time."""
        made = begun if isinstance(begun, str) else _try(begun, batch)
        del begun
        if not isinstance(made, str):
            for (job, read), each in zip(batch, made, strict=True):
                written = self._writers.submit(self._write, job, read, each)
                self._pending.append((job, written))
        elif len(batch) > 1:
            for single in batch:
                self._end([single], self._begin([single]))
        else:
            self.fail(batch[0][0], made)
        self._collect(2 * self.how.threads)


def _sort(
    jobs: Sequence[Job],
    memory: TranslationMemory | None,
    work: _Work,
    translate: Translate,
    on_note: Callable[[str], None],
) -> tuple[list[Job], list[tuple[Job, tuple[int, int]]]]:
    """Return the usual jobs, and the large ones with their sizes, which come later, in order.

    What will never fit fails here.
    """
    if memory is None:
        return list(jobs), []
    usual: list[Job] = []
    large: list[tuple[Job, tuple[int, int]]] = []
    numbers = work.how.formats[0] is not None
    sizes = list(work.readers.map(partial(_size, numbers=numbers), [job.source for job in jobs]))
    if work.how.strokes_at_px is not None:
        _say_scales([size for size in sizes if size is not None], work.how, on_note)
    for job, size in zip(jobs, sizes, strict=True):
        known = memory if size is None else _memory_for(job, memory, work.how) or memory
        if size is None or not known.is_large(*size):
            usual.append(job)
        elif reason := known.refusal(*size, by_rows=known is memory and _has_rows(job, translate)):
            on_note(f"{job.source} will not be translated: {reason}")
            work.fail(job, reason)
        else:
            large.append((job, size))
    return usual, sorted(large, key=lambda one: one[1][0] * one[1][1])


def _say_rows(job: Job, size: tuple[int, int], plan: LargePlan, file_bytes: int) -> str:
    """Say how a picture is translated that does not fit into memory at once."""
    how = (
        "with the statistics of a reduced copy (--tile fast)"
        if plan.fast_px is not None
        else f"with {gigabytes(file_bytes)} in a temporary file in {plan.folder}"
        if file_bytes
        else "which takes longer"
    )
    return f"{job.source}: {size[1]} x {size[0]} pixels are translated in rows, {how}"


def _say_scales(
    sizes: Sequence[tuple[int, int]], how: Conversion, on_note: Callable[[str], None]
) -> None:
    """Say by how much strokes become larger in pictures of these sizes, height and width."""
    scales = []
    for height, width in sizes:
        shrunk = 1.0 if how.long_side is None else min(1.0, how.long_side / max(height, width))
        scales.append(how.scale_of(round(height * shrunk), round(width * shrunk)))
    if scales:
        least, most = f"{min(scales):.2g}", f"{max(scales):.2g}"
        on_note(
            f"--stroke_scale auto is {least if least == most else f'{least} to {most}'}: the "
            "strokes of this model are right for pictures whose shorter side is about "
            f"{how.strokes_at_px:.0f} pixels"
        )


def _memory_for(
    job: Job, memory: TranslationMemory | None, how: Conversion
) -> TranslationMemory | None:
    """Return the estimate for a job, whose picture may be numbers."""
    if memory is None:
        return None
    channels = [4 if each is None else each.channels for each in how.formats]
    if how.formats != (None, None) or how.bits == 16:
        return memory.of_numbers(max(channels))
    deep = how.may_be_deep(job) and job.source.suffix.lower() in MAY_BE_DEEP
    return memory.of_numbers(4) if deep and is_deep(job.source) else memory


def _size(path: Path, *, numbers: bool) -> tuple[int, int] | None:
    """Return height and width of a picture, from its header; None where reading it will fail."""
    try:
        width, height = picture_size(path) if numbers else read_size(path)
    except PictureError:
        return None
    return height, width


def _batches(
    pictures: Iterator[tuple[Job, ReadPicture]], batch_size: int, batch_pixels: int
) -> Iterator[list[tuple[Job, ReadPicture]]]:
    """Group pictures of equal size; when too many sizes wait, the one that waited longest goes.

    Large pictures fill a device by themselves: joined, they would only take more memory.
    """
    groups: dict[tuple[int, int, str], list[tuple[Job, ReadPicture]]] = {}
    for job, read in pictures:
        size = (read.picture.height, read.picture.width, read.shown.dtype.name)
        groups.setdefault(size, []).append((job, read))
        fits = max(1, min(batch_size, batch_pixels // (size[0] * size[1])))
        if len(groups[size]) >= fits:
            yield groups.pop(size)
        elif sum(map(len, groups.values())) >= 2 * batch_size:
            yield groups.pop(next(iter(groups)))
    yield from groups.values()


def _try(work: Callable[[], Result], batch: list[tuple[Job, ReadPicture]]) -> Result | str:
    """Do what translates a batch, or return why that failed, with everything freed."""
    try:
        return work()
    except (NotFiniteError, FolderError) as error:
        return str(error)
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        height, width = batch[0][1].picture.rgb.shape[:2]
        return f"not enough memory for {width} x {height} pixels; try --long_side"


def _begin(
    pictures: Sequence[NDArray[Any]],
    translate: Translate,
    *,
    scale_of: Callable[[int, int], float],
) -> Painted:
    """Begin to do what :func:`paint` does, which the function that is returned ends."""
    height, width = pictures[0].shape[:2]
    scale = scale_of(height, width)
    if pictures[0].dtype != np.uint8:
        numbers = paint_numbers(pictures, translate, scale=scale)
        return lambda: numbers
    if not isinstance(translate, Translator):
        made = paint(pictures, translate, scale=scale)
        return lambda: made
    small = max(1, round(height / scale)), max(1, round(width / scale))
    if small == (height, width):
        return translate.begin(pictures)
    ended = translate.begin([scale_samples(rgb, *small) for rgb in pictures])
    return lambda: [scale_samples(rgb, height, width) for rgb in ended()]


def _begin_rows(
    pictures: Sequence[NDArray[np.uint8]],
    *,
    translate: Translate,
    scale_of: Callable[[int, int], float],
    plan: LargePlan,
) -> Painted:
    """Do what :func:`_begin` does with one picture, in rows."""
    large = translate.large() if isinstance(translate, Translator) else None
    if large is None or len(pictures) > 1:
        return _begin(pictures, translate, scale_of=scale_of)
    rgb = pictures[0]
    made, scale = np.empty_like(rgb), scale_of(*rgb.shape[:2])

    def put(start: int, rows: NDArray[np.uint8]) -> None:
        made[start : start + len(rows)] = rows

    _require_finite(
        large.translate(lambda start, stop: rgb[start:stop], put, made.shape[:2], plan, scale=scale)
    )
    return lambda: [made]


def _require_finite(finite: bool) -> None:
    if not finite:
        raise NotFiniteError("the generator made values that are not finite numbers")


def _has_rows(job: Job, translate: Translate) -> bool:
    """Whether a picture can be read, translated and written by rows."""
    if job.target.suffix != _ROWS_SUFFIX or not isinstance(translate, Translator):
        return False
    try:
        return translate.large() is not None and open_rows(job.source) is not None
    except PictureError:
        return False  # which reading it will say


class _Shown:
    """A picture that is read by rows, in the size in which it is shown."""

    def __init__(self, path: Path, long_side: int | None) -> None:
        rows = open_rows(path)
        if rows is None:
            raise PictureError(path, "was changed while it was read")
        self._rows, self._whole = rows, (rows.height, rows.width)
        self.size = self._whole if long_side is None else _fitted(self._whole, long_side)
        self.has_alpha = rows.read(0, 1).alpha is not None

    def rgb(self, start: int, stop: int) -> NDArray[np.uint8]:
        if self.size == self._whole:
            return self._rows.rgb(start, stop)
        return scaled_rows(self._rows.rgb, self._whole, self.size, start, stop)

    def alpha(self, start: int, stop: int) -> NDArray[np.uint8] | None:
        if not self.has_alpha or self.size == self._whole:
            return self._rows.read(start, stop).alpha
        return scaled_rows(self._gray, self._whole, self.size, start, stop)[..., 0]

    def reduced(self, long_side: int) -> Picture:
        """Return a small copy of the picture."""
        height, width = small = _fitted(self.size, long_side)
        rgb = scaled_rows(self.rgb, self.size, small, 0, height)
        alpha = None
        if self.has_alpha:
            alpha = scaled_rows(self._gray, self._whole, (height, width), 0, height)[..., 0]
        return Picture(rgb=rgb, alpha=alpha)

    def _gray(self, start: int, stop: int) -> NDArray[np.uint8]:
        """Return the alpha as a gray picture."""
        return np.dstack([np.asarray(self._rows.read(start, stop).alpha)] * 3)


def _fitted(size: tuple[int, int], long_side: int) -> tuple[int, int]:
    scale = min(1.0, long_side / max(size))
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _convert_rows(
    job: Job,
    translate: Translate,
    *,
    plan: LargePlan,
    how: Conversion,
    on_whole: Callable[[Job, FileNote, Path], None],
    on_written: Callable[[Job], None],
) -> int:
    """Read, translate and write a picture by rows; return the result's pixels."""
    note = describe(job.source)
    # Two, since they are read in different places at the same time.
    seen, before = (_Shown(job.source, how.long_side) for _ in range(2))
    size, large = seen.size, translate.large() if isinstance(translate, Translator) else None
    assert large is not None  # noqa: S101 - or there would be no plan

    def whole(file: Path) -> None:
        if job.before is not None:
            write_picture(job.before, before.reduced(how.preview_px), quality=85)
        if job.after is not None:
            write_picture(job.after, _Shown(file, None).reduced(how.preview_px), quality=85)
        on_whole(job, note, file)

    with write_rows(job.target, size, alpha=seen.has_alpha, on_whole=whole) as write:

        def put(start: int, made: NDArray[np.uint8]) -> None:
            stop = start + len(made)
            if how.strength != 1:
                made = blend(before.rgb(start, stop), made, how.strength)
            write(start, Picture(rgb=made, alpha=before.alpha(start, stop)))

        scale = how.scale_of(*size)
        _require_finite(large.translate(seen.rgb, put, size, plan, scale=scale))
    on_written(job)
    return size[0] * size[1]


def paint(
    pictures: Sequence[NDArray[np.uint8]], translate: Translate, *, scale: float = 1.0
) -> list[NDArray[np.uint8]]:
    """Translate pictures ``scale`` times smaller, and enlarge the results.

    Args:
        pictures: pictures, RGB, (H, W, 3), uint8, all of one size.
        translate: function from pictures (N, 3, H, W) in [-1, 1] to the same shape and range.
        scale: factor by which strokes become larger, at least 1.

    Returns:
        RGB, (H, W, 3), uint8.
    """
    height, width = pictures[0].shape[:2]
    small = max(1, round(height / scale)), max(1, round(width / scale))
    if small == (height, width):
        return to_pictures(translate(torch.stack([to_tensor(rgb) for rgb in pictures])))
    shown = torch.stack([to_tensor(scale_samples(rgb, *small)) for rgb in pictures])
    return [scale_samples(rgb, height, width) for rgb in to_pictures(translate(shown))]


def paint_fitted(
    rgb: NDArray[np.uint8], translate: Translate, *, strokes_at_px: float | None
) -> NDArray[np.uint8]:
    """Translate a picture with strokes that fit its size, as `impasto translate` does by itself.

    Args:
        rgb: the picture, RGB, (H, W, 3), uint8.
        translate: function from pictures (N, 3, H, W) in [-1, 1] to the same shape and range.
        strokes_at_px: shorter side of the pictures for which strokes are right; None: they stay as
            they are.

    Returns:
        RGB, (H, W, 3), uint8.
    """
    scale = 1.0
    if strokes_at_px is not None:
        scale = fit_strokes(*rgb.shape[:2], strokes_at_px=strokes_at_px)
    return paint([rgb], translate, scale=scale)[0]


def _read(job: Job, how: Conversion) -> ReadPicture:
    deep = how.may_be_deep(job)
    return read_to_translate(job.source, how.formats, how.bits, how.long_side, deep=deep)


def _write(
    job: Job,
    read: ReadPicture,
    made: NDArray[Any],
    *,
    how: Conversion,
    on_whole: Callable[[Job, FileNote, Path], None],
    on_written: Callable[[Job], None],
) -> int:
    """Write previews and result; return the result's pixels."""
    as_array = job.target.suffix == ".npy"
    after, values = result_of(read, made, how.formats, how.bits, how.strength, as_array=as_array)
    if job.before is not None:
        write_picture(job.before, limit_picture(read.picture, how.preview_px), quality=85)
    is_tiff = job.target.suffix == _ROWS_SUFFIX  # which no browser shows
    shown = values is not None or is_tiff or max(after.height, after.width) > how.preview_px
    if job.after is not None and shown:
        write_picture(job.after, limit_picture(after, how.preview_px), quality=85)
    elif job.after is not None:  # of an earlier, larger result
        job.after.unlink(missing_ok=True)
    noted = partial(on_whole, job, read.note)
    if values is not None:
        srgb = how.formats[1] is None
        write_samples(job.target, values, quality=how.quality, srgb=srgb, on_whole=noted)
    elif is_tiff:
        size, has_alpha = (after.height, after.width), after.alpha is not None
        with write_rows(job.target, size, alpha=has_alpha, on_whole=noted) as put:
            put(0, after)
    else:
        write_picture(job.target, after, quality=how.quality, on_whole=noted)
    on_written(job)
    return after.height * after.width


def _finish(job: Job, future: Future[int], result: Converted) -> None:
    try:
        result.pixels += future.result()
    except PictureError as error:
        if is_disk_full(error.__cause__):
            raise ImpastoError(
                f"{job.target}: the disk is full after {len(result.done)} pictures; "
                f"free some space and repeat the command, it goes on from there ({error.reason})"
            ) from error
        result.failures[job.source] = error.reason
    else:
        result.done.append(job)


def _is_memory(error: Exception) -> bool:
    """Whether torch or Python ran out of memory (torch says so by RuntimeError on the CPU)."""
    text = str(error).lower()
    # The last one is what cuDNN and cuBLAS say.
    signs = ("out of memory", "allocate memory", "alloc_failed")
    return isinstance(error, MemoryError) or any(sign in text for sign in signs)
