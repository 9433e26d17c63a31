"""Converting many pictures: reading, translating and writing at the same time."""

import errno
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.cyclegan.translator import NotFiniteError
from impasto.data.decode import Picture, read_picture
from impasto.data.encode import write_picture
from impasto.data.tensors import to_pictures, to_tensor
from impasto.data.transforms import limit_long_side
from impasto.options.errors import ImpastoError, PictureError

__all__ = ["Conversion", "Converted", "Job", "convert", "paint"]

_BATCH_PIXELS = 2**21

Translate = Callable[[Tensor], Tensor]
Paint = Callable[[Sequence[NDArray[np.uint8]]], list[NDArray[np.uint8]]]


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


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """Settings of a conversion.

    Attributes:
        batch_size: number of pictures of equal size that are translated together.
        threads: number of reading threads, and also of writing threads.
        long_side: longest side to which larger pictures are first scaled down, in pixels; None: no
            limit.
        stroke_scale: factor by which pictures are shrunk for the generator; its results are
            enlarged to the size of the picture, which also enlarges the strokes.
        quality: quality of JPEG and WebP files, 1 to 100.
        preview_px: longer side of the small copies, in pixels.
    """

    batch_size: int = 4
    threads: int = 4
    long_side: int | None = None
    stroke_scale: float = 1.0
    quality: int = 95
    preview_px: int = 1024


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


def convert(
    jobs: Sequence[Job],
    translate: Translate,
    *,
    how: Conversion,
    on_done: Callable[[Job], None] = lambda _job: None,
) -> Converted:
    """Translate every job's source into its target.

    A picture that cannot be read, translated or written is recorded, and the others continue.
    Results are written atomically, after their previews, so a target that exists is complete.

    Args:
        jobs: jobs to do.
        translate: function from pictures (N, 3, H, W) in [-1, 1] to the same shape and range.
        how: settings of the conversion.
        on_done: called in this thread for each finished job, successful or not.

    Returns:
        The finished and the failed jobs.

    Raises:
        ImpastoError: the disk is full; what is written stays, a repeated call goes on from there.
    """
    started = time.perf_counter()
    result = Converted()
    readers, writers = ThreadPoolExecutor(how.threads), ThreadPoolExecutor(how.threads)
    pending: deque[tuple[Job, Future[int]]] = deque()

    def collect(limit: int) -> None:
        while len(pending) > limit:
            job, future = pending.popleft()
            _finish(job, future, result)
            on_done(job)

    painter = partial(paint, translate=translate, scale=how.stroke_scale)
    try:
        pictures = _read_ahead(jobs, readers, how, result, on_done)
        for batch in _batches(pictures, how.batch_size):
            for job, before, after in _translate_batch(batch, painter, result, on_done):
                pending.append((job, writers.submit(_write, job, before, after, how)))
            collect(2 * how.threads)
        collect(0)
    finally:
        readers.shutdown(cancel_futures=True)
        writers.shutdown(cancel_futures=True)
    result.seconds = time.perf_counter() - started
    return result


def _read_ahead(
    jobs: Sequence[Job],
    readers: ThreadPoolExecutor,
    how: Conversion,
    result: Converted,
    on_done: Callable[[Job], None],
) -> Iterator[tuple[Job, Picture]]:
    """Yield the decoded pictures in order, with a few being read in advance."""
    waiting = iter(jobs)
    ahead: deque[tuple[Job, Future[Picture]]] = deque()

    def submit(count: int) -> None:
        for job in islice(waiting, count):
            ahead.append((job, readers.submit(_read, job.source, how.long_side)))

    submit(how.threads + how.batch_size)
    while ahead:
        job, future = ahead.popleft()
        submit(1)
        try:
            yield job, future.result()
        except PictureError as error:
            result.failures[job.source] = error.reason
            on_done(job)


def _batches(
    pictures: Iterator[tuple[Job, Picture]], batch_size: int
) -> Iterator[list[tuple[Job, Picture]]]:
    """Group pictures of equal size; when too many sizes wait, the one that waited longest goes.

    Large pictures fill a device by themselves: joined, they would only take more memory.
    """
    groups: dict[tuple[int, int], list[tuple[Job, Picture]]] = {}
    for job, picture in pictures:
        size = (picture.height, picture.width)
        groups.setdefault(size, []).append((job, picture))
        fits = max(1, min(batch_size, _BATCH_PIXELS // (size[0] * size[1])))
        if len(groups[size]) >= fits:
            yield groups.pop(size)
        elif sum(map(len, groups.values())) >= 2 * batch_size:
            yield groups.pop(next(iter(groups)))
    yield from groups.values()


def _translate_batch(
    batch: list[tuple[Job, Picture]],
    painter: Paint,
    result: Converted,
    on_done: Callable[[Job], None],
) -> Iterator[tuple[Job, Picture, Picture]]:
    """Yield each job with its picture before and after; what fails together, one at a time."""
    translated = _try_to_paint([picture.rgb for _, picture in batch], painter)
    if not isinstance(translated, str):
        for (job, picture), rgb in zip(batch, translated, strict=True):
            yield job, picture, Picture(rgb=rgb, alpha=picture.alpha)
    elif len(batch) > 1:
        for single in batch:
            yield from _translate_batch([single], painter, result, on_done)
    else:
        job, _ = batch[0]
        result.failures[job.source] = translated
        on_done(job)


def _try_to_paint(
    pictures: Sequence[NDArray[np.uint8]], painter: Paint
) -> list[NDArray[np.uint8]] | str:
    """Paint pictures of one size, or return why that failed, with everything freed."""
    try:
        return painter(pictures)
    except NotFiniteError as error:
        return str(error)
    except (MemoryError, RuntimeError) as error:
        if not _is_memory(error):
            raise
        height, width = pictures[0].shape[:2]
        return f"not enough memory for {width} x {height} pixels; try --long_side"


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
    shown = torch.stack([to_tensor(_scaled(rgb, *small)) for rgb in pictures])
    return [_scaled(rgb, height, width) for rgb in to_pictures(translate(shown))]


def _scaled(samples: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Scale what is as large as its file made it, so without the limit of ``resize``."""
    return np.asarray(Image.fromarray(samples).resize((width, height), Image.Resampling.BICUBIC))


def _read(path: Path, long_side: int | None) -> Picture:
    picture = read_picture(path)
    try:
        return picture if long_side is None else _limit(picture, long_side)
    except (MemoryError, ValueError) as error:
        raise PictureError(path, str(error) or "does not fit in memory") from error


def _limit(picture: Picture, long_side: int) -> Picture:
    """Scale a picture down so that its longer side has at most ``long_side`` pixels."""
    rgb = limit_long_side(picture.rgb, long_side)
    if rgb is picture.rgb:
        return picture
    alpha = picture.alpha
    return Picture(rgb=rgb, alpha=None if alpha is None else _scaled(alpha, *rgb.shape[:2]))


def _write(job: Job, before: Picture, after: Picture, how: Conversion) -> int:
    """Write previews and result; return the result's pixels."""
    if job.before is not None:
        write_picture(job.before, _limit(before, how.preview_px), quality=85)
    if job.after is not None and max(after.height, after.width) > how.preview_px:
        write_picture(job.after, _limit(after, how.preview_px), quality=85)
    elif job.after is not None:  # of an earlier, larger result
        job.after.unlink(missing_ok=True)
    write_picture(job.target, after, quality=how.quality)
    return after.height * after.width


def _finish(job: Job, future: Future[int], result: Converted) -> None:
    try:
        result.pixels += future.result()
    except PictureError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno == errno.ENOSPC:
            raise ImpastoError(
                f"{job.target}: the disk is full after {len(result.done)} pictures; "
                "free some space and repeat the command, it goes on from there"
            ) from error
        result.failures[job.source] = error.reason
    else:
        result.done.append(job)


def _is_memory(error: Exception) -> bool:
    """Whether torch or Python ran out of memory (torch says so by RuntimeError on the CPU)."""
    text = str(error).lower()
    return isinstance(error, MemoryError) or "out of memory" in text or "allocate memory" in text
