"""The whole translation job, from options to a folder of pictures with a page.

The folder notes what each of its results was made of and with, so that page and command remain
correct when a later call adds results of other pictures, or with other settings.
"""

import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import torch

from impasto.cyclegan.cluster.job import make_on_ray
from impasto.cyclegan.films.job import Filming, is_single_film
from impasto.cyclegan.jobs.convert import Converted, Job
from impasto.cyclegan.jobs.making import bend_of, make_here, prepare
from impasto.cyclegan.jobs.pictures import (
    copies_shown,
    refuse_films_of_numbers,
)
from impasto.cyclegan.jobs.results import PREVIEWS, ResultsFolder
from impasto.cyclegan.models import shipped_model
from impasto.cyclegan.weights import LoadedGenerator
from impasto.data.atomic import check_writable
from impasto.data.channels.read import picture_size
from impasto.data.files import gather_pictures, output_names, pick_shard
from impasto.data.films.reading import FILM_SUFFIXES, is_film
from impasto.data.films.writing import film_suffix
from impasto.data.provenance import Made, made_below, stylized_below
from impasto.options.errors import FolderError, OptionError, PictureError
from impasto.options.translate import TranslateOptions
from impasto.runs.devices import computing, describe_computing
from impasto.runs.pages.gallery import BeforeAfter, write_gallery

__all__ = ["Outcome", "TranslateResult", "plan_jobs", "translate"]

Settings = Mapping[str, str]

# Options beside model and direction that decide how a result looks.
_LOOKS = (
    *("epoch", "style", "long_side", "strength", "stroke_scale", "grid_bend_px"),
    *("format", "bits", "quality", "mixed_precision", "tile"),
)
# What results were made with of which an earlier version noted nothing.
_ALWAYS_WERE = {"strength": "1"}


@dataclass(frozen=True, kw_only=True)
class TranslateResult:
    """The outcome of a translation.

    Attributes:
        page: path of the page with all pairs; of a film with an output file of its own, that file.
        targets: files of all results of this call that are there, by their sources.
        converted: finished and failed jobs of this call.
        skipped: number of results that were there already, of the same pictures and settings.
        generator: generator, with notes on how its file was converted.
        replaced: results of this call that were there already and were made anew, with the reason.
        others: number of results in the folder that this call was not about.
        differing: in words, for each group of those that were made with other settings: what
            differs.
        passed_over: pictures of the input that Impasto made of others of it before.
        films: number of films among the finished jobs.
        shown: small pictures of 8 bits to look at, by their files, where those are not such.
        strokes_look_small: whether the pictures are so large that the generator's strokes look
            small; ``--stroke_scale`` would enlarge the strokes.
    """

    page: Path
    converted: Converted
    skipped: int
    generator: LoadedGenerator
    targets: Mapping[Path, Path] = field(default_factory=dict)
    replaced: Mapping[Path, str] = field(default_factory=dict)
    others: int = 0
    differing: Sequence[str] = ()
    passed_over: Sequence[Path] = ()
    films: int = 0
    shown: Mapping[Path, Path] = field(default_factory=dict)
    strokes_look_small: bool = False


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one picture or film.

    Attributes:
        source: the picture or film.
        result: the file of its result; None if it failed.
        kind: ``picture`` or ``film``.
        status: ``translated``, ``there`` (an earlier call made it) or ``failed``.
        reason: why it failed; None unless it did.
    """

    source: Path
    result: Path | None
    kind: Literal["picture", "film"]
    status: Literal["translated", "there", "failed"]
    reason: str | None = None


def translate(  # noqa: PLR0913, PLR0915
    photos: Sequence[Path],
    options: TranslateOptions,
    *,
    exclude: Sequence[Path] = (),
    on_start: Callable[[int, LoadedGenerator], None] = lambda _count, _generator: None,
    on_done: Callable[[Job], None] = lambda _job: None,
    on_note: Callable[[str], None] = lambda _words: None,
    on_film: Callable[[Path, int, int], None] = lambda _film, _frames, _done: None,
    on_frame: Callable[[], None] = lambda: None,
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
) -> TranslateResult:
    """Translate folders and files into ``options.folder``, and write its page.

    Films come after all pictures. Results that are there already, of the same pictures, weights
    and settings, stay as they are; others that an earlier call made are made anew. A single film
    whose ``output`` ends like one is written there, without a page.

    Args:
        photos: folders and files of pictures; results of a folder keep their paths relative to it.
        options: all options of the translation; ``sheet`` does not count here.
        exclude: files and folders that are no photographs.
        on_start: called with the number of pictures to translate, and the generator.
        on_done: called for each finished picture, successful or not.
        on_note: called, before anything is translated, with sentences about where and how is
            computed, results that are made anew, and pictures that are passed over or will not fit
            into memory.
        on_film: called with each film that is begun, the number of its frames, about, and of those
            that an earlier call made.
        on_frame: called after each frame of a film.
        on_outcome: called with what became of each picture and film, as soon as that is known.

    Raises:
        FolderError: an input is missing or empty, or the output cannot be written or holds a page
            of something else.
        CheckpointError: the model cannot be loaded.
        OptionError: an option cannot be used here.
        ImpastoError: the disk is full, or another process writes into the output.
    """
    # Where workers compute, this process only plans.
    plans = options.engine == "ray"
    looks = replace(options, device="cpu", mixed_precision="no") if plans else options
    prepared = prepare(looks, on_film=on_film, on_frame=on_frame, on_note=on_note)
    given, options = options, prepared.options
    generator, filming = prepared.generator, prepared.filming
    settings = _settings(options, generator)
    where = partial(describe_computing, prepared.device, options.mixed_precision)
    if is_single_film(photos, options.output):
        if plans:
            raise OptionError(
                "engine", f"ray needs a folder as --output, and {options.output} is a film"
            )
        refuse_films_of_numbers(generator)
        with computing(threads=options.threads):
            on_start(0, generator)
            on_note(f"computing on {where(torch.get_num_threads())}")
            return _translate_to(photos[0], options, generator, filming, on_done, on_outcome)
    sources, root, passed_over = _gather(photos, options.folder, exclude, generator)
    films = {path for path in sources if generator.are_colors and is_film(path)}
    suffixes = [film_suffix(path) if path in films else f".{options.format}" for path in sources]
    names = output_names(sources, root=root, suffix=suffixes)
    named = _own_part(dict(zip(sources, names, strict=True)), root, options)
    folder = ResultsFolder(options.folder, list(named.values()), part=options.part)
    jobs = plan_jobs(list(named), list(named.values()), folder)
    with computing(threads=options.threads), folder.opened():
        plan = _plan(jobs, folder, filming.identity_of(films), overwrite=options.overwrite)
        on_start(len(plan.waiting), generator)
        if not plans:
            on_note(f"computing on {where(torch.get_num_threads())}")
        _say(plan, passed_over, on_note)
        folder.tidy()
        converted = Converted(failures=dict(plan.failures))
        on_done = _telling(plan, converted, films, on_outcome, on_done)
        finish = partial(
            _finish, plan, folder, options, generator, converted, settings, passed_over=passed_over
        )
        try:
            if plans:
                make_on_ray(
                    plan.waiting,
                    films,
                    given,
                    folder,
                    settings,
                    filming.identity,
                    converted,
                    on_done,
                    on_note,
                )
            else:
                make_here(plan.waiting, films, prepared, folder, settings, converted, on_done)
        except KeyboardInterrupt:
            finish(films=films)  # the page shows what is done
            raise
        return finish(films=films)


def _telling(
    plan: "_Plan",
    converted: Converted,
    films: Collection[Path],
    on_outcome: Callable[[Outcome], None],
    on_done: Callable[[Job], None],
) -> Callable[[Job], None]:
    """Tell of what is not to be done, and return what tells of each job that is done."""
    waiting = set(plan.waiting)
    for job in plan.jobs:
        if job not in waiting:
            _tell(on_outcome, converted, films, job, "there")

    def done(job: Job) -> None:
        on_done(job)
        _tell(on_outcome, converted, films, job)

    return done


def _tell(
    on_outcome: Callable[[Outcome], None],
    converted: Converted,
    films: Collection[Path],
    job: Job,
    status: Literal["translated", "there"] = "translated",
) -> None:
    """Tell what became of a job, unless it failed as this."""
    reason = converted.failures.get(job.source)
    on_outcome(
        Outcome(
            source=job.source,
            result=job.target if reason is None else None,
            kind="film" if job.source in films else "picture",
            status=status if reason is None else "failed",
            reason=reason,
        )
    )


def _own_part(
    named: Mapping[Path, PurePosixPath], root: Path, options: TranslateOptions
) -> Mapping[Path, PurePosixPath]:
    """Return the pictures of this shard, with the names that they have among all pictures."""
    if options.part is None:
        return named
    shard, shards = options.part
    own = pick_shard(list(named), root=root, shard=shard, shards=shards)
    return {path: named[path] for path in own}


def _translate_to(
    source: Path,
    options: TranslateOptions,
    generator: LoadedGenerator,
    filming: Filming,
    on_done: Callable[[Job], None],
    on_outcome: Callable[[Outcome], None],
) -> TranslateResult:
    """Translate one film to a file of its own."""
    assert options.output is not None  # noqa: S101 - for mypy
    job = Job(source=source, target=options.output)
    try:
        check_writable(job.target.parent)
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error}); choose another --output"
        raise FolderError(job.target.parent, reason) from error
    converted = Converted()
    filming.translate(
        job,
        converted,
        lambda _source, _file: None,
        lambda _job: None,
        overwrite=options.overwrite,
    )
    on_done(job)
    _tell(on_outcome, converted, {source}, job, "translated" if converted.done else "there")
    failed = bool(converted.failures)
    return TranslateResult(
        page=job.target,
        converted=converted,
        skipped=0 if converted.done or failed else 1,
        generator=generator,
        targets={} if failed else {source: job.target},
        films=len(converted.done),
    )


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What is to be done, and what is not."""

    jobs: Sequence[Job]
    waiting: Sequence[Job]
    replaced: Mapping[Path, str]
    failures: Mapping[Path, str]

    @property
    def skipped(self) -> int:
        return len(self.jobs) - len(self.waiting) - len(self.failures)


def _plan(
    jobs: Sequence[Job],
    folder: ResultsFolder,
    identity_of: Callable[[Job], str],
    *,
    overwrite: bool,
) -> _Plan:
    """Find out which results are there already and right."""
    waiting: list[Job] = []
    replaced: dict[Path, str] = {}
    failures: dict[Path, str] = {}
    for job in jobs:
        if not os.path.lexists(job.target):
            waiting.append(job)
            continue
        if not job.target.is_file():
            kind = "a folder" if job.target.is_dir() else "no regular file"
            failures[job.source] = (
                f"its result cannot be written: {job.target} is {kind}; move that away, or choose "
                "another --output"
            )
            continue
        if overwrite:
            waiting.append(job)
            continue
        try:
            reason = folder.why_not(_name(job, folder), job.source, identity_of(job))
        except PictureError as error:
            failures[job.source] = str(error)
        else:
            if reason is not None:
                replaced[job.target] = reason
                waiting.append(job)
    return _Plan(jobs=jobs, waiting=waiting, replaced=replaced, failures=failures)


def _say(plan: _Plan, passed_over: Sequence[Path], say: Callable[[str], None]) -> None:
    """Say before the work what of earlier calls is replaced, and what is not looked at."""
    for reason, count in Counter(plan.replaced.values()).items():
        target = next(target for target, why in plan.replaced.items() if why == reason)
        more = f" (and {count - 1} more)" if count > 1 else ""
        say(f"made anew: {target}, which {reason}{more}")
    if passed_over:
        count = len(passed_over)
        what = "picture" if count == 1 else "pictures"
        say(
            f"passed over: {count} {what} that Impasto made of others of this input, such as "
            f"{passed_over[0]}"
        )


def _finish(  # noqa: PLR0913
    plan: _Plan,
    folder: ResultsFolder,
    options: TranslateOptions,
    generator: LoadedGenerator,
    converted: Converted,
    settings: Settings,
    *,
    passed_over: Sequence[Path],
    films: Collection[Path],
) -> TranslateResult:
    """Write the page of all results in the folder, and sum up."""
    whole = folder.whole()
    own = {_name(job, folder) for job in plan.jobs}
    others = {name: made for name, made in whole.items() if name not in own}
    differing = _differing(others.values(), settings)
    write_gallery(
        folder.page,
        _pairs(whole, folder),
        title="Translations" if differing else f"Translated by {options.model.name}",
        summary=_summary(options, generator, converted, plan, len(others), differing),
        failures={str(source): reason for source, reason in converted.failures.items()},
    )
    return TranslateResult(
        page=folder.page,
        converted=converted,
        skipped=plan.skipped,
        generator=generator,
        targets={job.source: job.target for job in plan.jobs if _name(job, folder) in whole},
        replaced=plan.replaced,
        others=len(others),
        differing=differing,
        passed_over=passed_over,
        films=sum(job.source in films for job in converted.done),
        shown={} if generator.are_colors else copies_shown(job.copies for job in plan.jobs),
        strokes_look_small=_strokes_look_small(options, converted),
    )


def _strokes_look_small(options: TranslateOptions, converted: Converted) -> bool:
    model = shipped_model(options.model)
    if model is None or model.fine_above_pixels is None or options.stroke_scale != 1:
        return False
    pictures = sum(job.target.suffix.lower() not in FILM_SUFFIXES for job in converted.done)
    return converted.pixels > model.fine_above_pixels * max(pictures, 1)


def _gather(
    photos: Sequence[Path], output: Path, exclude: Sequence[Path], generator: LoadedGenerator
) -> tuple[list[Path], Path, list[Path]]:
    """Return the pictures, their common folder, and those that are results made of the others."""
    found, root = gather_pictures(
        photos,
        exclude=output,
        results=True,
        films=generator.are_colors,
        arrays=generator.formats[0] is not None,
    )
    left_out = [path.resolve() for path in exclude]
    found = [
        path for path in found if not any(path.resolve().is_relative_to(one) for one in left_out)
    ]
    folders = {folder for path in found for folder in path.parents if folder.is_relative_to(root)}
    previews = (
        place for folder in sorted(folders - {root}) for place in folder.glob(f"{PREVIEWS}*")
    )
    recipes = (file for folder in sorted(folders) for file in folder.glob("*.yaml"))
    # What is named itself is meant, and not found in a folder.
    named = {path.parent.resolve() / path.name for path in photos if path.is_file()}
    results = made_below(root, previews) | (stylized_below(root, recipes) - named)
    sources = [path for path in found if path not in results]
    if not sources:
        raise FolderError(root, "holds no picture but what Impasto made of those in it before")
    return sources, root, [path for path in found if path in results]


def plan_jobs(
    sources: Sequence[Path], names: Sequence[PurePosixPath], folder: ResultsFolder
) -> list[Job]:
    """Assign an output file to each input; no two inputs share an output.

    Args:
        sources: pictures and films.
        names: names of their results in the folder.
        folder: folder of the results.

    Raises:
        OptionError: an input would be overwritten.
    """
    jobs = []
    for source, name in zip(sources, names, strict=True):
        target = folder.output / name
        if target.resolve() == source.resolve():
            raise OptionError("output", f"{target} would overwrite the picture itself")
        jobs.append(Job(source=source, target=target, **folder.copies(str(name))))
    return jobs


def _name(job: Job, folder: ResultsFolder) -> str:
    return folder.name_of(job.target)


def _pairs(whole: Mapping[str, Made], folder: ResultsFolder) -> list[BeforeAfter]:
    """Return the pairs of all results that exist, of this call and of earlier ones."""
    pairs = []
    for name, made in whole.items():
        target, previews = folder.output / name, folder.copies(name)
        before = previews["before"] if previews["before"].exists() else Path(made.source.path)
        after = previews["after"] if previews["after"].exists() else target
        try:
            film = target.suffix.lower() in FILM_SUFFIXES
            size = None if film else picture_size(target)
        except PictureError:
            continue
        pairs.append(
            BeforeAfter(title=name, before=before, after=after, after_full=target, size=size)
        )
    return pairs


def _differing(made: Iterable[Made], now: Settings) -> list[str]:
    """Say, for each group of results with other settings, what differs."""
    groups = {tuple(sorted(one.settings.items())) for one in made}
    words = []
    for known in map(dict, sorted(groups)):
        settings = {**_ALWAYS_WERE, **known}
        names = [name for name in sorted({*settings, *now}) if settings.get(name) != now.get(name)]
        if names:
            words.append(", ".join(f"{name} {settings.get(name, 'unknown')}" for name in names))
    return words


def _direction(options: TranslateOptions, generator: LoadedGenerator) -> str:
    """Return the direction; a reference file alone does not say which it is, whatever is asked for.

    Of a shipped model it is in words: nobody who uses it knows which domain was A in its training.
    """
    if (shipped := shipped_model(options.model)) is not None:
        return shipped.what
    return generator.provenance.get("direction", "that of the file")


def _settings(options: TranslateOptions, generator: LoadedGenerator) -> dict[str, str]:
    """Return what decides how a result looks, by the options' names."""
    return {
        "model": str(options.model),
        "direction": _direction(options, generator),
        "epoch": options.epoch,
        **({} if options.style is None else {"style": options.style}),
        "images trained": generator.provenance.get("images", "unknown"),
        "long_side": str(options.long_side),
        "strength": f"{options.strength:g}",
        "stroke_scale": _spelled(options.stroke_scale),
        "grid_bend_px": f"{bend_of(options, generator):g}",
        **({} if options.bits == "auto" else {"bits": str(options.bits)}),
    }


def _spelled(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _chosen(options: TranslateOptions, generator: LoadedGenerator) -> dict[str, str]:
    """Return, for the page, what was chosen that decides how results look, as it is typed."""
    usual = {entry.name: entry.default for entry in fields(TranslateOptions)}
    usual["grid_bend_px"] = generator.grid_bend_px
    usual["stroke_scale"] = 1.0 if generator.strokes_at_px is None else "auto"
    values = {name: getattr(options, name) for name in _LOOKS}
    values["grid_bend_px"] = bend_of(options, generator)
    chosen = [
        f"--{name} {_spelled(value)}" for name, value in values.items() if value != usual[name]
    ]
    return {"Settings": ", ".join(chosen)} if chosen else {}


def _summary(
    options: TranslateOptions,
    generator: LoadedGenerator,
    converted: Converted,
    plan: _Plan,
    others: int,
    differing: Sequence[str],
) -> Mapping[str, str]:
    done, seconds = len(converted.done), max(converted.seconds, 1e-9)
    rows = {
        "Model": str(options.model),
        "Direction": _direction(options, generator),
        "Network": str(generator.architecture),
        **{
            f"Pictures {way}": str(samples)
            for way, samples in zip(("in", "out"), generator.formats, strict=True)
            if samples is not None
        },
        **_chosen(options, generator),
    }
    if done:
        speed = f"{seconds:.1f} s ({done / seconds:.2f} images/s)"
        rows["Translated"] = f"{done} {'picture' if done == 1 else 'pictures'} in {speed}"
    if plan.skipped:
        rows["Already there"] = f"{plan.skipped} pictures"
    if others:
        rows["Of earlier calls"] = f"{others} pictures"
    if differing:
        rows["Of earlier calls, some with"] = "; ".join(differing)
    return rows
