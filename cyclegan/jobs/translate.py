"""The whole translation job, from options to a folder of pictures with a page.

The folder records the settings of its results, so that page and command remain correct when a later
call adds results with different settings.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from impasto.cyclegan.jobs.convert import Conversion, Converted, Job, convert
from impasto.cyclegan.models import SHIPPED, find_generator
from impasto.cyclegan.translator import Translator
from impasto.cyclegan.weights import LoadedGenerator
from impasto.data.atomic import check_writable, write_text_atomic
from impasto.data.decode import read_size
from impasto.data.files import PREVIEWS_MARK, fit_name, gather_pictures, output_names
from impasto.options.errors import FolderError, OptionError, PictureError
from impasto.options.translate import TranslateOptions
from impasto.runs.pages.gallery import BeforeAfter, write_gallery
from impasto.runs.processes import pick_device

__all__ = ["TranslateResult", "other_settings", "plan_jobs", "translate"]


Settings = Mapping[str, str]


def other_settings(
    note: Path, settings: Settings, *, adds: bool, afresh: bool
) -> list[dict[str, str]]:
    """Record the settings of this call, and return differing settings of earlier calls.

    Args:
        note: file that records the settings; a missing or damaged file counts as empty.
        settings: settings of this call, by the names to show them under.
        adds: whether this call makes results.
        afresh: whether this call makes all results, so that earlier settings are discarded.

    Returns:
        The differing settings of each earlier call: only what differs.

    Raises:
        OSError: the file cannot be written.
    """
    now = dict(settings)
    earlier = [] if afresh else [made for made in _read(note) if made != now]
    if adds:
        write_text_atomic(note, json.dumps([*earlier, now], indent=1, ensure_ascii=False))
    names = [{*made, *now} for made in earlier]
    return [
        {
            name: made.get(name, "unknown")
            for name in sorted(either)
            if made.get(name) != now.get(name)
        }
        for made, either in zip(earlier, names, strict=True)
    ]


def _read(path: Path) -> list[dict[str, str]]:
    try:
        notes = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [note for note in notes if isinstance(note, dict)] if isinstance(notes, list) else []


# Small copies of the pictures, for the page, lie in this folder of the output.
_PREVIEWS = "page"
_MADE_WITH = "made_with.json"


@dataclass(frozen=True, kw_only=True)
class TranslateResult:
    """The outcome of a translation.

    Attributes:
        page: path of the page with all pairs.
        converted: finished and failed jobs of this call.
        skipped: number of results that existed already.
        generator: generator, with notes on how its file was converted.
        differing: in words, for each earlier call with other settings whose results may be among
            those that were there already: what differed.
        strokes_look_small: whether the pictures are so large that the generator's strokes look
            small; ``--stroke_scale`` would enlarge the strokes.
    """

    page: Path
    converted: Converted
    skipped: int
    generator: LoadedGenerator
    differing: Sequence[str] = ()
    strokes_look_small: bool = False


def translate(
    photos: Sequence[Path],
    options: TranslateOptions,
    *,
    on_start: Callable[[int, LoadedGenerator], None] = lambda _count, _generator: None,
    on_done: Callable[[Job], None] = lambda _job: None,
) -> TranslateResult:
    """Translate folders and files into ``options.output``, and write its page.

    Args:
        photos: folders and files of pictures; results of a folder keep their paths relative to it.
        options: all options of the translation.
        on_start: called with the number of pictures to translate, and the generator.
        on_done: called for each finished picture, successful or not.

    Raises:
        FolderError: an input is missing or empty, or the output cannot be written.
        CheckpointError: the model cannot be loaded.
        OptionError: an option cannot be used here.
        ImpastoError: the disk is full.
    """
    device = pick_device(options.device)
    if options.mixed_precision == "fp16" and device.type == "cpu":
        raise OptionError("mixed_precision", "fp16 needs a GPU; use bf16 or no on the CPU")
    generator = find_generator(options.model, direction=options.direction, epoch=options.epoch)
    jobs = plan_jobs(photos, options)
    try:
        check_writable(options.output)
    except OSError as error:
        reason = f"cannot be written ({error.strerror or error}); choose another --output"
        raise FolderError(options.output, reason) from error
    _mark_previews(options.output / _PREVIEWS)
    waiting = [job for job in jobs if options.overwrite or not job.target.exists()]
    skipped = len(jobs) - len(waiting)
    translator = Translator.of(
        generator,
        device=device,
        mixed_precision=options.mixed_precision,
        grid_bend_px=options.grid_bend_px,
    )
    others = other_settings(
        options.output / _PREVIEWS / _MADE_WITH,
        _settings(options, generator),
        adds=bool(waiting),
        afresh=not skipped,
    )
    differing = [", ".join(f"{key} {value}" for key, value in made.items()) for made in others]
    on_start(len(waiting), generator)
    converted = convert(
        waiting,
        translator,
        how=Conversion(
            batch_size=options.batch_size,
            threads=options.num_threads,
            long_side=options.long_side,
            stroke_scale=options.stroke_scale,
            quality=options.quality,
        ),
        on_done=on_done,
    )
    page = options.output / "index.html"
    write_gallery(
        page,
        _pairs(jobs, options.output),
        title="Translations" if differing else f"Translated by {options.model.name}",
        summary=_summary(options, generator, converted, skipped, differing),
        failures={str(source): reason for source, reason in converted.failures.items()},
    )
    return TranslateResult(
        page=page,
        converted=converted,
        skipped=skipped,
        generator=generator,
        differing=differing,
        strokes_look_small=_strokes_look_small(options, converted),
    )


def _strokes_look_small(options: TranslateOptions, converted: Converted) -> bool:
    model = SHIPPED.get(str(options.model))
    if model is None or model.fine_above_pixels is None or options.stroke_scale != 1:
        return False
    return converted.pixels > model.fine_above_pixels * len(converted.done)


def plan_jobs(photos: Sequence[Path], options: TranslateOptions) -> list[Job]:
    """Assign an output file to each input; no two inputs share an output.

    Raises:
        FolderError: an input is missing or empty.
        OptionError: an input would be overwritten.
    """
    sources, root = gather_pictures(photos, exclude=options.output)
    names = output_names(sources, root=root, suffix=f".{options.format}")
    previews = options.output / _PREVIEWS
    jobs = []
    for source, name in zip(sources, names, strict=True):
        target = options.output / name
        if target.resolve() == source.resolve():
            raise OptionError("output", f"{target} would overwrite the picture itself")
        preview = name.with_name(fit_name(f"{name.name}.webp"))
        jobs.append(
            Job(
                source=source,
                target=target,
                before=previews / "before" / preview,
                after=previews / "after" / preview,
            )
        )
    return jobs


def _mark_previews(folder: Path) -> None:
    """Keep the previews, half of which are untouched photographs, out of what reads the results."""
    folder.mkdir(exist_ok=True)
    (folder / PREVIEWS_MARK).touch()


def _pairs(jobs: Sequence[Job], output: Path) -> list[BeforeAfter]:
    """Return the pairs of all results that exist, of this call and of earlier ones."""
    pairs = []
    for job in jobs:
        if not job.target.exists():
            continue
        before = job.before if job.before is not None and job.before.exists() else job.source
        after = job.after if job.after is not None and job.after.exists() else job.target
        try:
            size = read_size(job.target)
        except PictureError:
            continue
        pairs.append(
            BeforeAfter(
                title=job.target.relative_to(output).as_posix(),
                before=before,
                after=after,
                after_full=job.target,
                size=size,
            )
        )
    return pairs


def _direction(options: TranslateOptions, generator: LoadedGenerator) -> str:
    """Return the direction; a reference file alone does not say which it is."""
    unknown = "that of the file" if options.model.is_file() else "AtoB"
    return generator.provenance.get("direction", options.direction or unknown)


def _settings(options: TranslateOptions, generator: LoadedGenerator) -> dict[str, str]:
    """Return what decides how a result looks, by the options' names."""
    bend_px = generator.grid_bend_px if options.grid_bend_px is None else options.grid_bend_px
    return {
        "model": str(options.model),
        "direction": _direction(options, generator),
        "epoch": options.epoch,
        "images trained": generator.provenance.get("images", "unknown"),
        "long_side": str(options.long_side),
        "stroke_scale": f"{options.stroke_scale:g}",
        "grid_bend_px": f"{bend_px:g}",
    }


def _summary(
    options: TranslateOptions,
    generator: LoadedGenerator,
    converted: Converted,
    skipped: int,
    differing: Sequence[str],
) -> Mapping[str, str]:
    done, seconds = len(converted.done), max(converted.seconds, 1e-9)
    rows = {
        "Model": str(options.model),
        "Direction": _direction(options, generator),
        "Network": str(generator.architecture),
        "Translated": f"{done} pictures in {seconds:.1f} s ({done / seconds:.2f} images/s)",
    }
    if skipped:
        rows["Already there"] = f"{skipped} pictures"
    if differing:
        rows["Of earlier calls, some with"] = "; ".join(differing)
    return rows
