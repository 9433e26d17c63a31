"""The whole training, from options to a run directory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import Signals
from typing import Any

import torch
from accelerate import Accelerator

from giverny.cyclegan.build import (
    build_doctor,
    build_loader,
    build_pace,
    build_sample_batch,
    build_trainer,
    generator_architecture,
)
from giverny.cyclegan.checkpoint import save_networks
from giverny.options.errors import FolderError, OptionError
from giverny.options.sections import difference, flatten
from giverny.options.train import MAY_CHANGE, TrainOptions
from giverny.runs.devices import make_accelerator
from giverny.runs.directory import RunDirectory
from giverny.runs.displays import make_displays
from giverny.runs.environment import describe_environment
from giverny.runs.loop import TrainingLoop
from giverny.runs.memory import keep_freed_memory
from giverny.runs.observers import Observer, Progress, Watchers

__all__ = ["TrainResult", "train"]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a training ended.

    Attributes:
        directory: the run directory.
        progress: where it ended.
        signal: the signal that stopped it, or None.
        unreadable: pictures that were passed over, with the reasons.
        is_main_process: whether this is the process that writes; of several only one does.
    """

    directory: Path
    progress: Progress
    signal: Signals | None
    unreadable: Mapping[Path, str]
    is_main_process: bool = True


def train(
    options: TrainOptions,
    *,
    resume: bool = False,
    allow_changes: bool = False,
    observers: Sequence[Observer] = (),
) -> TrainResult:
    """Train a CycleGAN into ``checkpoints_dir/name``; Ctrl-C and SIGTERM save and return.

    Args:
        options: all options.
        resume: continue the run of that name, exactly where its state was saved.
        allow_changes: resume even where options that alter the training differ.
        observers: who else is told what happens, beside log.jsonl and ``--display``.

    Raises:
        OptionError: an option cannot be used here, or differs from the run that is resumed.
        FolderError: a folder of pictures is missing or empty, or the run directory exists already
            (without ``resume``), or cannot be written.
        CheckpointError: the state to resume is missing or damaged.
        TrainingError: a loss is not finite.
        GivernyError: a state cannot be written, or another process trains this run.
    """
    directory = RunDirectory(options.run.checkpoints_dir / options.run.name)
    accelerator = make_accelerator(options.run.device, options.run.mixed_precision)
    if directory.has_state and not resume:
        raise FolderError(
            directory.path, "holds a training already; add --resume, or choose another --name"
        )
    if resume:
        _check_changes(directory.read_options(), flatten(options), allow_changes=allow_changes)
    if accelerator.device.type == "cpu" and options.data.crops:
        keep_freed_memory()  # blocks of ever other sizes would not fit into those that were freed
    torch.manual_seed(options.run.seed + accelerator.process_index)
    torch.backends.cudnn.benchmark = options.data.crops  # worth it where all sizes are equal
    loader = build_loader(options, accelerator)
    trainer = build_trainer(options, accelerator)
    if accelerator.is_main_process:
        directory.create()
    displays = _displays(options, directory, accelerator) if accelerator.is_main_process else ()
    loop = TrainingLoop(
        trainer,
        loader,
        pace=build_pace(options),
        directory=directory,
        accelerator=accelerator,
        observer=Watchers([*displays, *observers]),
        export=partial(_export, directory, trainer, options),
        doctor=build_doctor(options),
        sample_batch=build_sample_batch(options) if accelerator.is_main_process else None,
    )
    with directory.locked(write=accelerator.is_main_process):
        if resume:
            loop.resume()
        if accelerator.is_main_process:
            directory.write_options(flatten(options))
        try:
            signal = loop.run()
        finally:
            loader.close()
    return TrainResult(
        directory=directory.path,
        progress=loop.progress,
        signal=signal,
        unreadable=dict(loader.unreadable),
        is_main_process=accelerator.is_main_process,
    )


def _displays(
    options: TrainOptions, directory: RunDirectory, accelerator: Accelerator
) -> list[Observer]:
    displays = options.displays
    return make_displays(
        displays.displays,
        directory,
        options=flatten(options),
        environment=describe_environment(accelerator),
        server=displays.display_server,
        port=displays.display_port,
        env=displays.display_env or options.run.name,
    )


def _export(
    directory: RunDirectory,
    trainer: Any,
    options: TrainOptions,
    label: str,
    progress: Progress,
) -> None:
    save_networks(directory, label, trainer, generator_architecture(options.networks), progress)


def _check_changes(
    stored: Mapping[str, Any], present: Mapping[str, Any], *, allow_changes: bool
) -> None:
    """Refuse to continue a run with options that would make it another run.

    Raises:
        OptionError: shows each such option with its old and new value.
    """
    changes = difference(stored, present)
    refused = {name: pair for name, pair in changes.items() if name not in MAY_CHANGE}
    if present["n_epochs_decay"] < stored.get("n_epochs_decay", 0):
        refused["n_epochs_decay"] = changes["n_epochs_decay"]
    if refused and not allow_changes:
        lines = "".join(f"\n  {name}: {old} -> {new}" for name, (old, new) in refused.items())
        raise OptionError(
            next(iter(refused)),
            f"options differ from the run that is resumed:{lines}\n"
            "leave them out, or add --allow_changes to continue with the new values",
        )
