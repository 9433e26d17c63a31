"""What pictures and films are translated with, and translating them: here, or as a worker.

:func:`prepare` makes it of the options alone, so that a :class:`Worker` of a cluster has what the
command has that it works for. :func:`make_here` translates, and notes each result.
"""

import json
import math
import os
import platform
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TypedDict

import torch

from impasto.cyclegan.films.job import Filming, FilmSettings
from impasto.cyclegan.inference.memory import TranslationMemory
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.convert import Conversion, Converted, Job, convert
from impasto.cyclegan.jobs.export import choose_runtime, weights_sha256
from impasto.cyclegan.jobs.pictures import refuse_what_does_not_hold, suitable_precision
from impasto.cyclegan.jobs.results import ResultNotes
from impasto.cyclegan.models import find_generator
from impasto.cyclegan.weights import LoadedGenerator
from impasto.data.channels.read import picture_size
from impasto.data.provenance import FileNote, Made, read_notes
from impasto.options.errors import FolderError, ImpastoError, PictureError
from impasto.options.translate import TranslateOptions
from impasto.runs.devices import choose_precision, computing
from impasto.runs.memory import free_memory
from impasto.runs.processes import pick_device

__all__ = [
    "Orders",
    "Prepared",
    "Report",
    "Task",
    "Worker",
    "bend_of",
    "make_here",
    "pixels_of",
    "prepare",
]

# Of the memory that is free, as much is for the workers of a machine; others use it, too.
_SHARE = 0.85


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a call translates with.

    Attributes:
        options: all options, with what was left open decided.
        generator: generator, with notes on how its file was converted.
        device: device that computes.
        filming: what translates films, and holds what translates pictures.
    """

    options: TranslateOptions
    generator: LoadedGenerator
    device: torch.device
    filming: Filming


def prepare(
    options: TranslateOptions,
    *,
    on_film: Callable[[Path, int, int], None] = lambda _film, _frames, _done: None,
    on_frame: Callable[[], None] = lambda: None,
    on_note: Callable[[str], None] = lambda _words: None,
) -> Prepared:
    """Load the model, and decide what the options leave open.

    Args:
        options: all options of the translation.
        on_film: called with each film that is begun, the number of its frames, about, and of those
            that an earlier call made.
        on_frame: called after each frame of a film.
        on_note: called with sentences.

    Raises:
        CheckpointError: the model cannot be loaded.
        OptionError: an option cannot be used here.
    """
    device = pick_device(options.device)
    generator = find_generator(
        options.model, direction=options.direction, epoch=options.epoch, style=options.style
    )
    precision = choose_precision(suitable_precision(options, generator), device)
    options = replace(options, mixed_precision=precision)
    generator, options, device = choose_runtime(generator, options, device)
    options, strokes = _with_strokes(options, generator)
    refuse_what_does_not_hold(options, generator)
    filming = _filming(generator, options, strokes, device, on_film, on_frame, on_note)
    return Prepared(options=options, generator=generator, device=device, filming=filming)


def _filming(
    generator: LoadedGenerator,
    options: TranslateOptions,
    strokes: "_Strokes",
    device: torch.device,
    on_film: Callable[[Path, int, int], None],
    on_frame: Callable[[], None],
    on_note: Callable[[str], None],
) -> Filming:
    """Return what pictures and films are translated with."""
    how = Conversion(
        batch_size=options.batch_size or _usual_batch(device),
        ahead=0 if device.type == "cpu" else 1,
        threads=options.num_threads,
        long_side=options.long_side,
        **strokes,
        strength=options.strength,
        quality=options.quality,
        formats=generator.formats,
        bits=None if options.bits == "auto" else options.bits,
    )
    memory_of = partial(
        TranslationMemory,
        generator.network,
        device=device,
        bends=bend_of(options, generator) > 0,
        short=options.mixed_precision in {"bf16", "fp16"},
        long_side=options.long_side,
        **strokes,
        threads=options.num_threads,
        limit=options.memory_bytes,
        fast=options.tile == "fast",
    )
    translator = Translator.of(
        generator,
        device=device,
        mixed_precision=options.mixed_precision,
        grid_bend_px=options.grid_bend_px,
    )
    return Filming(
        translator=translator,
        how=how,
        settings=FilmSettings(
            steady=options.steady,
            strokes=options.steady_strokes,
            codec=options.codec,
            crf=options.crf,
        ),
        identity=_identity(options, generator),
        memory_of=memory_of,
        on_film=on_film,
        on_frame=on_frame,
        on_note=on_note,
    )


def make_here(
    jobs: Sequence[Job],
    films: Collection[Path],
    prepared: Prepared,
    notes: ResultNotes,
    settings: Mapping[str, str],
    converted: Converted,
    on_done: Callable[[Job], None],
) -> None:
    """Translate pictures, then films, in this process.

    Args:
        jobs: what to translate; the targets lie in the folder of the results.
        films: sources of those that are films.
        prepared: what to translate with.
        notes: where each result is noted.
        settings: settings in words, by the names of the options.
        converted: record to add the jobs to, which the caller has also where this raises.
        on_done: called for each finished job, successful or not.

    Raises:
        ImpastoError: the disk is full.
    """
    filming, options = prepared.filming, prepared.options
    identity_of = filming.identity_of(films)

    def announce(job: Job, source: FileNote, file: Path) -> None:
        if not options.overwrite:
            notes.refuse_changes(notes.name_of(job.target))
        name = notes.name_of(job.target)
        notes.announce(name, file, source, settings, identity_of(job))

    def confirm(job: Job) -> None:
        notes.confirm(notes.name_of(job.target))

    convert(
        [job for job in jobs if job.source not in films],
        filming.translator,
        how=filming.how,
        memory=filming.memory_of(folder=notes.output),
        result=converted,
        on_done=on_done,
        on_whole=announce,
        on_written=confirm,
        on_note=filming.on_note,
    )
    for job in jobs:
        if job.source in films:
            filming.translate(job, converted, partial(announce, job), confirm)
            on_done(job)


class _Strokes(TypedDict):
    """How strokes become larger, as a conversion takes it: by a factor, or as the size asks for."""

    stroke_scale: float
    strokes_at_px: float | None


def _with_strokes(
    options: TranslateOptions, generator: LoadedGenerator
) -> tuple[TranslateOptions, _Strokes]:
    """Return the options, where ``auto`` is 1 unless the model knows its size, and what follows."""
    if options.stroke_scale != "auto":
        return options, _Strokes(stroke_scale=options.stroke_scale, strokes_at_px=None)
    if generator.strokes_at_px is None:
        options = replace(options, stroke_scale=1.0)
    return options, _Strokes(stroke_scale=1.0, strokes_at_px=generator.strokes_at_px)


def _usual_batch(device: torch.device) -> int:
    """Return how many pictures a device translates together best; a processor, one by one."""
    return 1 if device.type == "cpu" else 4


def bend_of(options: TranslateOptions, generator: LoadedGenerator) -> float:
    """Return by how many pixels, about, pictures are bent for the generator."""
    return generator.grid_bend_px if options.grid_bend_px is None else options.grid_bend_px


def _identity(options: TranslateOptions, generator: LoadedGenerator) -> str:
    """Return a text that is equal where results are: weights and settings, whatever their names.

    Precision and device are not in it: what they change is rounding.
    """
    follows_size = options.stroke_scale == "auto"
    facts: dict[str, object] = {
        "weights": weights_sha256(generator),
        "long_side": options.long_side,
        "stroke_scale": ["auto", generator.strokes_at_px] if follows_size else options.stroke_scale,
        "grid_bend_px": bend_of(options, generator),
        "quality": options.quality if options.format in {"jpg", "webp"} else None,
    }
    if options.tile != "exact":  # the exact ones do not depend on the memory there is
        facts["tile"] = options.tile
    if options.bits != "auto":
        facts["bits"] = options.bits
    if not generator.are_colors:
        facts["samples"] = [None if each is None else each.to_text() for each in generator.formats]
    if options.strength != 1:  # results of earlier versions, which had none, stay what they are
        facts["strength"] = options.strength
    return json.dumps(facts, sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class Orders:
    """What each worker is told when it begins.

    Attributes:
        options: all options of the translation, as they were given.
        output: folder of the results, absolute.
        settings: settings in words, by the names of the options.
        identity: what decides how a picture's result looks; the worker's model has to have it, too.
        folder: folder in which the command was started.
        mark: file in the folder of the small copies that holds ``token``.
        token: text by which a worker knows that it sees the same folder.
        example: a picture that is to be translated.
        notes: file in which the worker notes what it makes, without the worker's own part.
        neighbors: number of workers that share a machine, about.
    """

    options: TranslateOptions
    output: Path
    settings: Mapping[str, str]
    identity: str
    folder: Path
    mark: Path
    token: str
    example: Path
    neighbors: int = 1


@dataclass(frozen=True, kw_only=True)
class Task:
    """A picture or film to translate.

    Attributes:
        number: its place among all.
        job: source and target, absolute.
        film: whether it is a film.
        known: what is noted of the result that is there already.
    """

    number: int
    job: Job
    film: bool = False
    known: Made | None = None


@dataclass(kw_only=True)
class Report:
    """What a worker made of some tasks: numbers of those that are done, and why others failed."""

    done: list[int] = field(default_factory=list)
    failures: dict[int, str] = field(default_factory=dict)
    pixels: int = 0
    seconds: float = 0.0
    said: list[str] = field(default_factory=list)
    fatal: str | None = None


class Worker:
    """A process of a cluster, which translates what it is given.

    Args:
        orders: what it is told.
        notes: file in which it notes what it makes.
    """

    def __init__(self, orders: Orders, notes: Path) -> None:
        self._orders = orders
        self._said: list[str] = []
        self._prepared: Prepared | None = None
        self._notes = ResultNotes(notes, orders.output)

    def start(self) -> str | None:
        """Load the model; return why this worker cannot be used, None if it can."""
        where = f"machine {platform.node()}"
        try:
            self._check_folders()
            self._prepared = prepare(self._with_memory(), on_note=self._said.append)
        except ImpastoError as error:
            return f"{where}: {error}"
        except OSError as error:
            output = self._orders.output
            return f"{where}: {output} cannot be written ({error.strerror or error})"
        if self._prepared.filming.identity != self._orders.identity:
            return (
                f"{where} has other weights or another version of Impasto, so that its results "
                f"would be others; expected the same {self._orders.options.model} everywhere"
            )
        return None

    def _check_folders(self) -> None:
        """Refuse a machine that does not see the same folders.

        Raises:
            FolderError: it does not.
            OSError: the folder of the results cannot be written.
        """
        with suppress(OSError):  # paths of options may be relative to it
            os.chdir(self._orders.folder)
        seen = {
            self._orders.output: self._sees_output(),
            self._orders.example: self._orders.example.is_file(),
        }
        for path, is_seen in seen.items():
            if not is_seen:
                raise FolderError(
                    path,
                    "is not there, or is another one; pictures and results have to be in folders "
                    "that all machines of the cluster share, under the same path",
                )
        self._notes.file.touch()

    def _sees_output(self) -> bool:
        try:
            return self._orders.mark.read_text(encoding="ascii") == self._orders.token
        except OSError:
            return False

    def _with_memory(self) -> TranslateOptions:
        """Return the options; of what is free, workers of one machine take equal parts."""
        options = self._orders.options
        free = free_memory(torch.device("cpu"))
        if options.memory is None and free is not None and self._orders.neighbors > 1:
            part = int(_SHARE * free / self._orders.neighbors)
            return replace(options, memory=f"{max(part // 2**20, 1)}MiB")
        return options

    def make(self, tasks: Sequence[Task]) -> Report:
        """Translate some pictures or films; what is there already stays."""
        assert self._prepared is not None  # noqa: S101 - for mypy
        if not self._sees_output():  # as where a network disk was lost; no picture is to blame
            raise RuntimeError(f"{self._orders.output} is not there any more")
        report, started = Report(), time.perf_counter()
        left = {task.job: task for task in tasks if not self._is_there(task, report)}
        self._notes.made = {
            self._notes.name_of(job.target): task.known
            for job, task in left.items()
            if task.known is not None
        }
        films = {job.source for job, task in left.items() if task.film}
        converted = Converted()
        self._said.clear()
        try:
            with computing(threads=self._prepared.options.threads):
                make_here(
                    list(left),
                    films,
                    self._prepared,
                    self._notes,
                    self._orders.settings,
                    converted,
                    lambda _job: None,
                )
        except ImpastoError as error:  # a full disk
            report.fatal = str(error)
        report.failures = {
            task.number: converted.failures[job.source]
            for job, task in left.items()
            if job.source in converted.failures
        }
        # A film that was whole already is neither; it counts as done.
        done = converted.done if report.fatal is not None else left
        report.done += [left[job].number for job in done if job.source not in converted.failures]
        report.pixels += converted.pixels
        report.seconds = time.perf_counter() - started
        names = [str(path) for job in left for path in (job.source, job.target)]
        # What is said of all pictures of a call is not so of these few.
        report.said = [words for words in self._said if any(name in words for name in names)]
        return report

    def _is_there(self, task: Task, report: Report) -> bool:
        """Whether a worker that was lost had finished it; then it is reported as done."""
        if task.known is not None or not os.path.lexists(task.job.target):
            return False
        name = self._notes.name_of(task.job.target)
        for file in self._notes.file.parent.glob("*.jsonl"):
            made = read_notes(file, self._orders.output).get(name)
            if made is not None and made.result.is_still(task.job.target):
                report.done.append(task.number)
                report.pixels += pixels_of(task)
                return True
        return False


def pixels_of(task: Task) -> int:
    """Return the pixels of a result; none of a film, as elsewhere."""
    try:
        return 0 if task.film else math.prod(picture_size(task.job.target))
    except PictureError:
        return 0
