"""`impasto train`: train a CycleGAN on two folders of pictures."""

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.options.command_line import CommandParser
from impasto.options.errors import FolderError
from impasto.options.fields import require
from impasto.options.train import DataOptions, TrainOptions
from impasto.scripts._training import TrainingRequest, add_resuming, parse_training, run_training

if TYPE_CHECKING:
    from impasto.runs.job import TrainResult
    from impasto.runs.observers import Observer

__all__ = ["main"]

_SWITCHES = ("check", "json")
_EPILOG = """examples:
  impasto train --dataroot datasets/monet2photo --name monet --check
  impasto train --dataroot datasets/monet2photo --name monet
  impasto train --config tiny --folder_A paintings --folder_B photos --name try
  impasto train --dataroot datasets/monet2photo --name sharp --lambda_perceptual 1
  impasto train --folder_A photos --folder_B paintings --name painter --one_sided true \\
      --lambda_perceptual 1 --lambda_style 1 --netD projected --gan_mode hinge
  impasto train --folder_A photos --folder_B cezannes --name cezanne --one_sided true \\
      --lambda_perceptual 1 --init_from monet_cycle --warmup_images 200
  impasto train --dataroot datasets/facades --paired true --direction BtoA --name facades
  impasto train --dataroot datasets/monet2photo --name mine --evaluate_every_epochs 5 \\
      --held_back 64 --patience 6
  impasto train --resume --name monet
  impasto train --resume --name monet --n_epochs_decay 200
"""


def main(argv: Sequence[str]) -> int:
    """Parse, train, report; return the exit status."""
    words = parse_training(_parser, TrainOptions, argv, switches=_SWITCHES)
    words.options.data.require_one_place(words.given)
    if not words.resume:
        words = replace(words, options=_with_dataset_by_name(words.options))
    _refuse_missing(words.options, resume=words.resume)
    if words.switches["check"] or words.switches["json"]:
        return _check(words)

    def start(observers: "Sequence[Observer]") -> "TrainResult":
        from impasto.cyclegan.jobs.train import train  # noqa: PLC0415 - torch, after parsing

        return train(
            words.options,
            resume=words.resume,
            allow_changes=words.allow_changes,
            typed=words.given,
            announce=print,
            observers=observers,
        )

    report = partial(_report, words.options)
    limited = words.options.schedule.max_images is not None
    patience = " or --patience" if words.options.evaluation.patience else ""
    longer = f"raise {'--max_images or ' if limited else ''}--n_epochs_decay{patience}"
    return run_training(
        start, command="train", changes=words.changes, report=report, longer=longer, note=words.note
    )


def _check(words: TrainingRequest[TrainOptions]) -> int:
    """Check pictures and machine instead of training; return 1 where something is wrong."""
    require(words.switches["check"], "json", "says how --check tells what it found; add --check")
    require(not words.resume, "check", "looks at a training before it begins; leave --resume out")
    from tqdm import tqdm  # noqa: PLC0415 - after parsing

    from impasto.cyclegan.jobs.check import check_training  # noqa: PLC0415 - torch, after parsing

    name = words.options.run.name
    with tqdm(unit=" pictures", disable=not sys.stderr.isatty(), leave=False) as bar:
        result = check_training(
            words.options,
            sheet=Path(f"{name}_check.jpg"),
            typed=words.given,
            on_start=bar.reset,
            on_picture=bar.update,
        )
    if words.switches["json"]:
        said = asdict(result) | {"sheet": None if result.sheet is None else str(result.sheet)}
        print(json.dumps(said, indent=2))
        return 1 if result.problems else 0
    for set_name, facts in result.facts.items():
        if isinstance(facts, dict) and "pictures" in facts:
            print(_spell_set(set_name, facts))
    for note in result.notes:
        print(f"note: {note}")
    for problem in result.problems:
        print(f"WRONG: {problem}")
    if result.sheet is not None:
        print(f"contact sheet: {result.sheet}; look at it")
    number = len(result.problems)
    wrong = "1 thing looks wrong" if number == 1 else f"{number} things look wrong"
    print(wrong if number else "nothing looks wrong")
    return 1 if number else 0


def _spell_set(name: str, facts: Mapping[str, Any]) -> str:
    sides = [
        f"{side} {each['least']:g} to {each['most']:g} px, median {each['median']:g}"
        for side in ("width", "height")
        if (each := facts[f"{side}_px"])
    ]
    count, folder = facts["pictures"], facts["folder"]
    return f"{name}: {'; '.join([f'{count:,} pictures in {folder}', *sides])}"


def _with_dataset_by_name(options: TrainOptions) -> TrainOptions:
    """Return options in which a data set that was given by its name has its folder."""
    from impasto.data.fetch.catalog import find_dataset  # noqa: PLC0415 - after parsing

    data = options.data
    if data.folder_A is not None:
        return options
    return replace(options, data=replace(data, dataroot=find_dataset(data.dataroot)))


def _refuse_missing(options: TrainOptions, *, resume: bool) -> None:
    """Refuse folders and models that are not there, before the seconds that torch takes."""
    from impasto.data.files import list_pairs, list_pictures  # noqa: PLC0415 - after parsing

    data = options.data
    if resume:
        data.require_unmoved()
    if data == DataOptions() and not data.dataroot.exists():
        raise FolderError(
            data.dataroot,
            "no such folder; give the two folders of pictures with --folder_A and --folder_B, or "
            "the folder that holds trainA and trainB with --dataroot",
        )
    if data.paired and not data.folders[0].exists() and data.folder_A is None:
        raise FolderError(
            data.dataroot,
            "holds no pairs; expected pictures of the same names in trainA and trainB, or pictures "
            "with both halves of a pair side by side in train",
        )
    if data.paired:
        list_pairs(*data.folders, arrays=not all(options.are_colors))
    else:
        for folder, colors in zip(data.folders, options.are_colors, strict=True):
            list_pictures(folder, arrays=not colors)
    for model in () if resume else options.networks.init_from:
        from impasto.cyclegan.models import resolve_model  # noqa: PLC0415 - only where it is asked

        resolve_model(model)


def _report(options: TrainOptions, result: "TrainResult") -> None:
    """Say how it ended and what comes next."""
    from impasto.cyclegan.models import is_reserved  # noqa: PLC0415 - torch is there by now

    images, epochs = result.progress.images, result.progress.total_epochs
    if images != result.first_image:
        print(f"trained: {result.directory} ({images} images)")
    most = options.schedule.max_images
    if most is not None and most <= images < epochs * result.progress.epoch_images:
        print("stopped at --max_images; to train for all epochs, add --resume --max_images null")
    run = result.directory.absolute() if is_reserved(result.directory) else result.directory
    _report_best(options, result.directory)
    folders = options.data.folders
    ways = (("AtoB", folders), ("BtoA", folders[::-1]))
    single = options.networks.one_sided or options.data.paired
    for direction, (first, second) in ways[:1] if single else ways:
        halves = "left to right" if options.data.direction == "AtoB" else "right to left"
        way = f"from {first} to {second}" if first != second else f"from {halves} in {first}"
        print(
            f"{way}: impasto translate PHOTOS --model {shlex.quote(str(run))} "
            f"--direction {direction} --output DIR"
        )


def _report_best(options: TrainOptions, directory: Path) -> None:
    """Say which epoch was best, and how its numbers are computed again."""
    from impasto.cyclegan.jobs.judge import read_best  # noqa: PLC0415 - torch is there by now

    evaluation = options.evaluation
    for generator in ("G_A", "G_B", "G") if evaluation.evaluate_every_epochs else ():
        if said := read_best(directory, generator):
            print(
                f"best of {generator}: epoch {said['epoch']}, {said['best_by']} "
                f"{float(said['value']):.4g}; impasto translate takes it with --epoch best"
            )


def _parser() -> CommandParser:
    parser = CommandParser(
        "impasto train",
        TrainOptions,
        description="Train a CycleGAN on two folders of unpaired pictures, or pix2pix on pairs.",
        epilog=_EPILOG,
        presets=".",
    )
    add_resuming(parser)
    parser.add_switch(
        "run",
        "check",
        "do not train, but look at the pictures (sizes, damage, copies, gray and plain ones) and "
        "make a few steps: what looks wrong, what to do, time, memory and disk, and a contact "
        "sheet, NAME_check.jpg; the exit status is 1 where something is wrong",
    )
    parser.add_switch("run", "json", "with --check, write what is found as JSON")
    return parser
