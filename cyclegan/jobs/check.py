"""`impasto train --check`: what is wrong with the pictures, and what a training will take.

The pictures are read one by one; a few real steps are made in a folder that is removed again, which
tells time, memory and the size of checkpoints.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from statistics import median

import numpy as np

from impasto.cyclegan.build import split_domains
from impasto.cyclegan.jobs.start import read_start
from impasto.cyclegan.jobs.train import find_formats, train
from impasto.data.channels.ranges import SampleFormat, show_numbers
from impasto.data.channels.read import read_samples
from impasto.data.decode import Picture, Rgb, read_small
from impasto.data.encode import write_picture
from impasto.data.files import list_pictures
from impasto.data.metrics.inspection import PictureFacts, find_alike, inspect_pictures
from impasto.data.sheets import Cell, draw_sheet
from impasto.data.transforms import limit_long_side
from impasto.options.errors import FolderError, ImpastoError
from impasto.options.train import DisplayOptions, EvaluationOptions, TrainOptions
from impasto.runs.devices import usable_cores
from impasto.runs.displays.console import spell_duration
from impasto.runs.memory import free_memory, gigabytes, peak_memory_mib
from impasto.runs.observers import Observer, Progress
from impasto.runs.processes import pick_device

__all__ = ["CheckResult", "check_training"]

_FEW = 20
_SHARE = 0.1  # by which the domains differ where that is worth a word
_CELL_PX, _COLUMNS, _SHEET_ROWS = 128, 8, 2
_NAMED = 3
_STEPS = {"cpu": 4}
_STEPS_ELSEWHERE = 20


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What a check has found.

    Attributes:
        facts: numbers by name: of each set of pictures, of time, memory and disk.
        problems: sentences about what is wrong and what to do; none if all is well.
        notes: sentences about what is good to know.
        sheet: contact sheet of both domains; None if there is nothing to show.
    """

    facts: Mapping[str, object]
    problems: Sequence[str]
    notes: Sequence[str]
    sheet: Path | None


@dataclass(kw_only=True)
class _Findings:
    facts: dict[str, object] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Cost:
    """What a training takes: seconds, bytes."""

    seconds_per_image: float
    epoch_images: int
    memory: int
    state: int
    epoch: int
    latest: int


def check_training(
    options: TrainOptions,
    *,
    sheet: Path,
    typed: Collection[str] | None = None,
    on_start: Callable[[int], None] = lambda _count: None,
    on_picture: Callable[[], object] = lambda: None,
) -> CheckResult:
    """Look at all pictures of a training, and make a few of its steps.

    Args:
        options: all options of the training.
        sheet: picture file to write the contact sheet to.
        typed: names of the options that a user gave, as in :func:`~impasto.cyclegan.train`.
        on_start: called with the number of pictures that are read.
        on_picture: called after each of them.

    Raises:
        FolderError: a folder of pictures is missing or empty.
        OptionError: a domain is of numbers whose range is not known.
        ImpastoError: the contact sheet cannot be written.
    """
    asked, options = options, _fitted(options, typed)
    formats = dict(zip("AB", find_formats(options), strict=True))
    sets = _sets(options)
    on_start(sum(len(files) for _, files in sets.values()))
    known = {
        name: inspect_pictures(
            files,
            samples=formats.get(name),
            threads=options.run.threads or usable_cores(),
            on_picture=on_picture,
        )
        for name, (_, files) in sets.items()
    }
    found = _Findings()
    if options.data.paired and "B" not in known:
        known["A"] = [replace(each, width=each.width // 2) for each in known["A"]]
        found.notes.append("The pictures show both halves of a pair; widths are those of a half.")
    for name, facts in known.items():
        _describe(found, name, facts, sets[name][0], options)
        if (samples := formats.get(name)) is not None:
            _describe_numbers(found, name, facts, samples)
    if "B" in known:
        _compare(found, known)
    _find_copies(found, known, paired=options.data.paired)
    drawn = _draw(sheet, {name: facts for name, facts in known.items() if len(name) == 1}, formats)
    options = asked
    if all(any(not each.unreadable for each in facts) for facts in known.values()):
        _try(found, options, typed)
    return CheckResult(facts=found.facts, problems=found.problems, notes=found.notes, sheet=drawn)


def _fitted(options: TrainOptions, typed: Collection[str] | None) -> TrainOptions:
    """Return the options as the model asks for that the training starts from, if there is one."""
    if not options.networks.init_from:
        return options
    try:
        return read_start(options, typed=typed).options
    except ImpastoError:
        return options  # the steps say what is wrong


def _sets(options: TrainOptions) -> dict[str, tuple[Path, list[Path]]]:
    """Return folder and files of each set of pictures: trained on, and measured with."""
    most = options.data.max_dataset_size
    sets: dict[str, tuple[Path, list[Path]]] = {}
    held_back = {}
    for name, folder, (files, held) in zip(
        "AB", options.data.folders, split_domains(options), strict=True
    ):
        if folder in {known for known, _ in sets.values()}:
            continue  # both halves of pictures side by side
        sets[name] = (folder, files[:most])
        held_back[f"held back of {name}"] = (folder, held)
    evaluation = options.evaluation
    for name, validation in (("val_A", evaluation.val_A), ("val_B", evaluation.val_B)):
        if validation is not None:
            sets[name] = (validation, list_pictures(validation))
    if evaluation.held_back:
        sets |= held_back
    return sets


def _describe(
    found: _Findings,
    name: str,
    facts: Sequence[PictureFacts],
    folder: Path,
    options: TrainOptions,
) -> None:
    """Count what a set holds, and say what is wrong with single pictures."""
    good = [each for each in facts if not each.unreadable]
    bad = [each for each in facts if each.unreadable]
    sides = {side: _spread([getattr(each, side) for each in good]) for side in ("width", "height")}
    small = [each for each in good if min(each.width, each.height) < options.data.crop_size]
    kinds = {
        "smaller_than_crop_size": small,
        **{kind: [each for each in good if getattr(each, kind)] for kind in _KINDS},
    }
    found.facts[name] = {
        "folder": str(folder),
        "pictures": len(facts),
        "unreadable": {str(each.path): each.unreadable for each in bad},
        **{f"{side}_px": spread for side, spread in sides.items()},
        **{kind: len(some) for kind, some in kinds.items()},
    }
    if bad:
        named = "; ".join(f"{each.path} {each.unreadable}" for each in bad)
        found.problems.append(
            f"{_count(len(bad), 'picture')} of {name} cannot be read, and a training passes over "
            f"them: {named}. Copy them again, or remove them."
        )
    if len(good) < _FEW and len(name) == 1:
        found.problems.append(
            f"{name} has {_count(len(good), 'picture')} that can be read, which are few for a "
            "training from random weights: add more, or start from a model with --init_from "
            "(docs/little_data.md)."
        )
    for kind, (verb, what) in _KINDS.items():
        if kinds[kind] and what:
            found.problems.append(f"{_of(kinds[kind], name)} {verb}: {what}")
    if turned := kinds["turned"]:
        found.notes.append(
            f"{_of(turned, name)} {_KINDS['turned'][0]}, which is followed: nothing is to be done."
        )
    if small:
        found.notes.append(
            f"{_of(small, name)} smaller than --crop_size {options.data.crop_size} and enlarged, "
            "which blurs them; a smaller --load_size and --crop_size, or larger files, avoid that."
        )


def _describe_numbers(
    found: _Findings, name: str, facts: Sequence[PictureFacts], samples: SampleFormat
) -> None:
    """Say how the numbers of a set are read, and which of them are lost."""
    clipped = [each for each in facts if each.clipped]
    entry = found.facts[name]
    assert isinstance(entry, dict)  # noqa: S101 - made above
    entry |= {"format": str(samples), "clipped": len(clipped)}
    measured = ", as measured" if samples.source == "auto" else ""
    found.notes.append(f"Pictures of {name} are read as {samples}{measured}.")
    if clipped:
        found.problems.append(
            f"{_of(clipped, name)} clipped: there are values outside of {samples.low:g} to "
            f"{samples.high:g}. Give a wider --value_range, or auto."
        )


_KINDS = {
    "gray": ("gray", ""),
    "plain": (
        "nearly one plain color",
        "there is nothing to learn from them; look at them, and remove what is no picture.",
    ),
    "transparent": (
        "partly transparent",
        "a training sees whatever colors lie below; save them without transparency, on a "
        "background of your choice.",
    ),
    "turned": ("to be turned or mirrored by what their EXIF data say", ""),
}


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    if not values:
        return None
    return {"least": min(values), "median": median(values), "most": max(values)}


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _of(some: Sequence[PictureFacts], name: str) -> str:
    """Name the first few pictures: ``2 pictures of A (1.png, 2.png) are``."""
    named = ", ".join(each.path.name for each in some[:_NAMED])
    more = ", ..." if len(some) > _NAMED else ""
    verb = "is" if len(some) == 1 else "are"
    return f"{_count(len(some), 'picture')} of {name} ({named}{more}) {verb}"


def _compare(found: _Findings, known: Mapping[str, Sequence[PictureFacts]]) -> None:
    """Say what tells the two domains apart that nobody wants to be learned."""
    shares: dict[str, list[float]] = {"gray": [], "small": []}
    for name in "AB":
        facts, entry = known[name], found.facts[name]
        assert isinstance(entry, dict)  # noqa: S101 - made above
        readable = max(1, len(facts) - len(entry["unreadable"]))
        shares["gray"].append(entry["gray"] / readable)
        shares["small"].append(entry["smaller_than_crop_size"] / readable)
        entry["gray_share"] = round(shares["gray"][-1], 4)
    (gray_A, gray_B), (small_A, small_B) = shares["gray"], shares["small"]
    if abs(gray_A - gray_B) >= _SHARE:
        found.problems.append(
            f"{gray_A:.0%} of A and {gray_B:.0%} of B are gray: the generators will learn to give "
            "or take colors, since that tells the domains apart. Remove the gray ones, or make the "
            "others gray, too."
        )
    elif gray_A or gray_B:
        found.notes.append(f"{gray_A:.1%} of A and {gray_B:.1%} of B are gray.")
    if abs(small_A - small_B) >= _SHARE:
        found.problems.append(
            f"{small_A:.0%} of A and {small_B:.0%} of B are smaller than --crop_size: the "
            "discriminators will tell the domains apart by blur. Use a smaller --load_size and "
            "--crop_size, or larger files."
        )


def _find_copies(
    found: _Findings, known: Mapping[str, Sequence[PictureFacts]], *, paired: bool
) -> None:
    """Say which pictures are there twice, in one set or in two."""
    every = [(name, each) for name, facts in known.items() for each in facts]
    pairs: dict[tuple[str, str], list[tuple[Path, Path]]] = {}
    for first, second in find_alike([each for _, each in every]):
        (name, one), (other, two) = every[first], every[second]
        if paired and name != other and len(name) == len(other) == 1:
            continue  # a pair may look alike
        pairs.setdefault((name, other), []).append((one.path, two.path))
    found.facts["copies"] = [
        {"sets": list(names), "files": [str(one), str(two)]}
        for names, files in pairs.items()
        for one, two in files
    ]
    for (name, other), files in pairs.items():
        shown = "; ".join(f"{one} and {two}" for one, two in files[:_NAMED])
        more = "; ..." if len(files) > _NAMED else ""
        number = f"{_count(len(files), 'pair')} of files"
        told = f"{shown}{more}"
        if name == other:
            found.problems.append(
                f"{number} in {name} show the same picture, perhaps in other sizes: {told}. "
                "Keep one of each: copies count twice."
            )
        elif len(name) == len(other) == 1:
            found.problems.append(
                f"{number} show the same picture in A and in B: {told}. Remove it from the domain "
                "that it does not belong to; as it is, both discriminators call it real."
            )
        else:
            found.problems.append(
                f"{number} show the same picture in {name} and in {other}: {told}. Remove it from "
                "one of them: what is measured should not be trained on."
            )


def _draw(
    sheet: Path,
    known: Mapping[str, Sequence[PictureFacts]],
    formats: Mapping[str, SampleFormat | None],
) -> Path | None:
    """Write a contact sheet: pictures of A, evenly chosen, and below them pictures of B."""
    rows = []
    for name, facts in known.items():
        good = [each for each in facts if not each.unreadable]
        count = min(len(good), _COLUMNS * _SHEET_ROWS)
        places = np.linspace(0, len(good) - 1, count).round().astype(int).tolist()
        cells = [
            Cell(
                label=f"{name}: {good[place].path.name}",
                rgb=_shown(good[place].path, formats[name]),
            )
            for place in places
        ]
        rows += [cells[first : first + _COLUMNS] for first in range(0, count, _COLUMNS)]
    if not rows:
        return None
    try:
        write_picture(sheet, Picture(rgb=draw_sheet(rows, cell_px=_CELL_PX)))
    except OSError as error:
        reason = error.strerror or error
        raise ImpastoError(f"{sheet}: the contact sheet cannot be written ({reason})") from error
    return sheet


def _shown(path: Path, samples: SampleFormat | None) -> Rgb:
    if samples is None:
        return read_small(path, (_CELL_PX, _CELL_PX)).rgb
    values = read_samples(path, channels=samples.channels)
    rgb = show_numbers(samples.normalize(values, path=path, tells=False))
    return limit_long_side(rgb, _CELL_PX)  # now, or the sheet would hold all of them whole


class _Clock(Observer):
    """Notes when each step ends, and how the training is divided."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.images: list[int] = []
        self.epoch_images = 0

    def on_start(self, progress: Progress) -> None:
        self.epoch_images = progress.epoch_images

    def on_step(self, progress: Progress) -> None:
        self.times.append(time.perf_counter())
        self.images.append(progress.images)


def _try(found: _Findings, options: TrainOptions, typed: Collection[str] | None) -> None:
    """Make a few steps, and say what the whole training takes."""
    try:
        cost = _measure(options, typed)
    except (ImpastoError, MemoryError, OSError, RuntimeError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        found.problems.append(f"A few steps of this training do not work here: {reason}")
        return
    epochs = options.schedule.total_epochs
    total = min(options.schedule.max_images or np.inf, epochs * cost.epoch_images)
    epoch, whole = (
        timedelta(seconds=cost.seconds_per_image * images) for images in (cost.epoch_images, total)
    )
    device = pick_device(options.run.device)
    kept = int(total // cost.epoch_images) // options.run.save_epoch_freq
    disk = 2 * cost.state + cost.latest + kept * cost.epoch
    folder = _existing(options.run.checkpoints_dir)
    free = shutil.disk_usage(folder).free
    found.facts["cost"] = {
        **asdict(cost),
        "epochs": epochs,
        "epoch_seconds": round(epoch.total_seconds(), 1),
        "training_seconds": round(whole.total_seconds(), 1),
        "disk": disk,
        "disk_free": free,
    }
    found.notes.append(
        f"A picture of each domain takes {cost.seconds_per_image:.3g} s here on {device}, an epoch "
        f"of {cost.epoch_images:,} {spell_duration(epoch)}, the whole training "
        f"{spell_duration(whole)}. Other programs on this machine make it longer."
    )
    left = free_memory(device)
    beside = "" if left is None else f"; {gigabytes(left)} are free beside it"
    found.notes.append(f"It takes {gigabytes(cost.memory)} of memory{beside}.")
    every = options.run.save_epoch_freq
    needed = (
        f"{gigabytes(disk)} of disk in {options.run.checkpoints_dir}: {gigabytes(2 * cost.state)} "
        f"for the state and the one before it, {gigabytes(cost.epoch)} for each of {kept} epochs "
        f"that are kept (--save_epoch_freq {every}); {gigabytes(free)} are free"
    )
    if disk > free:
        found.problems.append(f"The checkpoints need {needed}. Free some, or keep fewer epochs.")
    else:
        found.notes.append(f"The checkpoints take {needed}.")


def _measure(options: TrainOptions, typed: Collection[str] | None) -> _Cost:
    """Train for a few steps into a folder that is removed again."""
    device = pick_device(options.run.device)
    steps = _STEPS.get(device.type, _STEPS_ELSEWHERE)
    each = options.data.batch_size * options.run.gradient_accumulation_steps
    clock = _Clock()
    with tempfile.TemporaryDirectory(prefix="impasto_check_") as folder:
        run = replace(options.run, checkpoints_dir=Path(folder), save_latest_freq=2**40)
        result = train(
            replace(
                options,
                run=run,
                schedule=replace(options.schedule, max_images=steps * each),
                evaluation=EvaluationOptions(),
                displays=replace(DisplayOptions(), display="none"),
            ),
            typed=typed,
            observers=[clock],
        )
        memory = int(peak_memory_mib(device) * 2**20)
        state = (result.directory / "state.pt").stat().st_size
        networks = sum(path.stat().st_size for path in result.directory.glob("latest_net_*.pth"))
        files = sum(path.stat().st_size for path in result.directory.glob("*.safetensors"))
    if len(clock.times) < 2:
        raise FolderError(options.data.folders[0], "holds too few pictures to make two steps with")
    # The first step prepares what the others use.
    spent = (np.diff(clock.times) / np.diff(clock.images)).tolist()
    return _Cost(
        seconds_per_image=median(spent),
        epoch_images=clock.epoch_images,
        memory=memory,
        state=state,
        epoch=networks,
        latest=networks + files,
    )


def _existing(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(path for path in (folder, *folder.parents) if path.is_dir())
