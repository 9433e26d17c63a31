"""The frame of every training around its loop, from options to :class:`TrainResult`.

A method says how it is built, as :class:`TrainingParts`; :func:`run_training_job` does the rest: it
checks the run directory, picks the device, seeds, makes displays, holds the lock, resumes, trains.
"""

import logging
import os
import platform
import socket
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from signal import Signals
from typing import Any, Generic, Protocol, TypeVar

import torch
from accelerate import Accelerator

from impasto.options.errors import CheckpointError, OptionError
from impasto.options.fields import default_values, difference, flatten, spell_change
from impasto.options.train import BasicDisplayOptions, BasicRunOptions
from impasto.runs.devices import computing, describe_precision
from impasto.runs.directory import RunDirectory
from impasto.runs.displays.console import Console
from impasto.runs.displays.page import ReportPage
from impasto.runs.displays.tracking import TRACKERS
from impasto.runs.doctor import Doctor
from impasto.runs.learner import Judge, Learner, Loader
from impasto.runs.log import JsonLog
from impasto.runs.loop import ReportIntervals, TrainingLoop
from impasto.runs.observers import Background, CompositeObserver, Observer, Progress
from impasto.runs.processes import make_accelerator
from impasto.runs.state import peek_state

__all__ = [
    "RunningOptions",
    "TrainResult",
    "TrainingParts",
    "describe_environment",
    "make_displays",
    "run_training_job",
]

Batch = TypeVar("Batch")

_log = logging.getLogger(__name__)


def describe_environment(accelerator: Accelerator) -> dict[str, str]:
    """Return facts about the machine of a run, by name, in the order of display."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    facts = {
        "Impasto": _version("impasto"),
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "host": socket.gethostname(),
        "device": f"{device.type}: {name}",
        "threads": str(torch.get_num_threads()),
        "processes": str(accelerator.num_processes),
        "precision": describe_precision(accelerator.mixed_precision),
    }
    if device.type == "cuda":
        facts["CUDA"] = str(torch.version.cuda)
    return facts


def _processor() -> str:
    """Return the name of the processor where the system tells it, or its kind."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            lines = [line for line in file if line.startswith("model name")]
    except OSError:
        lines = []
    name = lines[0].split(":", 1)[1].strip() if lines else platform.processor()
    return f"{name or platform.machine()}, {os.cpu_count()} cores"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def make_displays(  # noqa: PLR0913
    names: Sequence[str],
    directory: RunDirectory,
    *,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    server: str,
    port: int,
    env: str,
    summary: Sequence[str] = (),
    first_losses: Callable[[], Mapping[str, float]] | None = None,
) -> list[Observer]:
    """Make the log and the displays of a run; slow displays get their own thread.

    Args:
        names: names of displays, any of ``console``, ``page``, ``visdom``, ``tensorboard``,
            ``wandb``, ``mlflow``, ``trackio``.
        directory: directory of the run.
        options: options of the run by their flat names, to be shown.
        environment: result of :func:`describe_environment`, to be shown.
        server: address of the visdom server.
        port: port of the visdom server.
        env: visdom environment of the windows.
        summary: lines for the start of the training, for the console.
        first_losses: function that returns the means of the losses so far, for the console.

    Raises:
        OptionError: the package of visdom or tensorboard is not installed; the message says how to
            install it. Trackers that are not installed are named, and left out.
    """
    displays: list[Observer] = [JsonLog(directory.log_file)]
    page = directory.web / "index.html" if "page" in names else None
    if "console" in names:
        told = ("device", "threads", "precision")
        facts = ", ".join(f"{name} {environment[name]}" for name in told if name in environment)
        displays.append(Console(page=page, facts=facts, summary=summary, first_losses=first_losses))
    elif page is not None:
        # The only display would be one that nobody is told of.
        sys.stderr.write(f"watch it: {page}\n")
    if "page" in names:
        report = ReportPage(directory, options=options, environment=environment)
        displays.append(Background(report))
    if "visdom" in names:
        from impasto.runs.displays.visdom import VisdomDisplay  # noqa: PLC0415 - an extra

        visdom = VisdomDisplay(
            directory.path.name, log=directory.log_file, server=server, port=port, env=env
        )
        displays.append(Background(visdom))
    if "tensorboard" in names:
        from impasto.runs.displays.tensorboard import TensorBoardDisplay  # noqa: PLC0415 - an extra

        displays.append(Background(TensorBoardDisplay(directory.path / "tensorboard")))
    return [*displays, *_trackers(names, directory, {**options, **environment})]


def _trackers(
    names: Sequence[str], directory: RunDirectory, config: Mapping[str, Any]
) -> list[Observer]:
    """Make the trackers among the displays, each in a thread of its own."""
    chosen = [TRACKERS[name] for name in names if name in TRACKERS]
    return [
        Background(tracker(directory.path, config=config))
        for tracker in chosen
        if tracker.is_installed()
    ]


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a training ended.

    Attributes:
        directory: directory of the run.
        progress: progress of the training when it ended.
        signal: signal that stopped the training, or None.
        unreadable: pictures that were skipped, with the reasons.
        is_main_process: whether this is the process that writes; of several processes only one
            does.
        first_image: pictures that were trained on before: 0 of a new training.
    """

    directory: Path
    progress: Progress
    signal: Signals | None
    unreadable: Mapping[Path, str]
    is_main_process: bool = True
    first_image: int = 0


class RunningOptions(Protocol):
    """Options of a training, of any method: a dataclass with these two sections among others."""

    @property
    def run(self) -> BasicRunOptions:
        """Name, folder, device, reports and checkpoints."""
        ...

    @property
    def displays(self) -> BasicDisplayOptions:
        """Where it is watched."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainingParts(Generic[Batch]):
    """The parts that a method builds from its options, to be trained.

    Attributes:
        learner: learner to train.
        loader: source of the batches.
        export: function that writes the networks into a run under a label, ``latest`` or an epoch.
        doctor: doctor that checks every report for known failures.
        epochs: number of epochs of the whole training.
        max_images: number of pictures after which the training ends early, or None.
        sample_batch: pictures that samples are made from; the current batch unless given.
        evaluate: whether the learner evaluates itself at the end of each epoch.
        judge_epochs: number of epochs between two measurements by the judge; 0 for none.
        judge: who measures between epochs, in the first process.
        converged: function called after each epoch; if it returns True, the training ends.
        summary: lines for the terminal at the start: how many pictures, which networks.
        held_out_unreadable: held-out pictures that were skipped, with the reasons.
    """

    learner: Learner[Batch]
    loader: Loader[Batch]
    export: Callable[[RunDirectory, str, Progress], None]
    doctor: Doctor
    epochs: int
    max_images: int | None
    sample_batch: Batch | None = None
    evaluate: bool = False
    judge_epochs: int = 0
    judge: Judge | None = None
    converged: Callable[[], bool] = lambda: False
    summary: Sequence[str] = ()
    held_out_unreadable: Mapping[Path, str] = field(default_factory=dict)


def run_training_job(  # noqa: PLR0913 - each method says all of itself in one call
    options: RunningOptions,
    build: Callable[[Accelerator], TrainingParts[Batch]],
    *,
    command: str,
    may_change: Collection[str],
    may_grow: Collection[str] = (),
    fixed: Collection[str] = (),
    resume: bool = False,
    allow_changes: bool = False,
    observers: Sequence[Observer] = (),
) -> TrainResult:
    """Train into ``checkpoints_dir/name``; Ctrl-C and SIGTERM save and return.

    Args:
        options: all options of the training, a dataclass.
        build: function that builds the parts, called after the run was checked and random numbers
            were seeded.
        command: the words after ``impasto`` that take the options.
        may_change: names of options that do not alter the training of a resumed run.
        may_grow: those of them that may not become smaller.
        fixed: names of options that a resumed run cannot change at all.
        resume: continue the run of that name, exactly where its state was saved.
        allow_changes: resume even where options that alter the training differ.
        observers: further observers of the training, besides log.jsonl and ``--display``.

    Raises:
        OptionError: an option cannot be used here, or differs from the run that is resumed.
        FolderError: a folder of pictures is missing or empty, or the run directory exists already
            (without ``resume``), or cannot be written.
        CheckpointError: the state to resume is missing, damaged or of another network.
        TrainingError: a loss is not finite.
        ImpastoError: a state cannot be written, or another process trains this run.
    """
    run, flat = options.run, flatten(options)
    directory = RunDirectory(run.checkpoints_dir / run.name)
    if resume:
        flat = directory.as_started(directory.read_options(), flat)
    _check_run(
        directory,
        flat,
        resume=resume,
        defaults=default_values(type(options)),
        may_change=may_change,
        may_grow=may_grow,
        fixed=fixed,
        allow_changes=allow_changes,
    )
    with computing(threads=run.threads):
        before = _facts_of_state(directory).get("precision") if resume else None
        accelerator = make_accelerator(run.device, run.mixed_precision, before=before)
        torch.manual_seed(run.seed + accelerator.process_index)
        parts = build(accelerator)
        try:
            writes = accelerator.is_main_process
            if writes:
                directory.create()
            displays = (
                _build_displays(
                    options.displays,
                    directory,
                    flat,
                    accelerator,
                    summary=parts.summary,
                    first_losses=lambda: loop.losses,
                )
                if writes
                else []
            )
            loop = TrainingLoop(
                parts.learner,
                parts.loader,
                intervals=_build_intervals(run, parts),
                directory=directory,
                accelerator=accelerator,
                observer=CompositeObserver([*displays, *observers]),
                export=partial(parts.export, directory),
                doctor=parts.doctor,
                sample_batch=parts.sample_batch,
                converged=parts.converged,
                judge=parts.judge,
                facts={
                    "options": _compared(flat, may_change=may_change, may_grow=may_grow),
                    "precision": accelerator.mixed_precision,
                },
            )
            with directory.locked(write=writes):
                if resume:
                    loop.resume()
                first_image = loop.progress.images
                if writes:
                    directory.write_options(flat, command=command)
                signal = loop.run()
        finally:
            parts.loader.close()
    return TrainResult(
        directory=directory.path,
        progress=loop.progress,
        signal=signal,
        unreadable={**parts.loader.unreadable, **parts.held_out_unreadable},
        is_main_process=writes,
        first_image=first_image,
    )


def _check_run(  # noqa: PLR0913 - all that is compared
    directory: RunDirectory,
    options: Mapping[str, Any],
    *,
    resume: bool,
    defaults: Mapping[str, Any],
    may_change: Collection[str],
    may_grow: Collection[str] = (),
    fixed: Collection[str] = (),
    allow_changes: bool = False,
) -> None:
    """Refuse to overwrite a run, or to continue it with options that would make it another.

    They are compared with those in the state, since ``options.yaml`` may have been edited.

    Args:
        directory: directory of the run.
        options: current options by their flat names.
        resume: whether the run is to be continued.
        defaults: values assumed for options that are newer than the run.
        may_change: names of options that do not alter the training of a resumed run.
        may_grow: those of them that may not become smaller.
        fixed: names of options that cannot change, since the state would not fit.
        allow_changes: let all other changes pass.

    Raises:
        FolderError: a run exists, and is not to be continued.
        OptionError: an option must not change; the message shows the old and new value of each.
    """
    if not resume:
        directory.require_no_state()
        return
    written = {**defaults, **directory.read_options()}
    saved = _options_of_state(directory)
    # What the file has beside those, and no option is called, means nothing.
    stored = {**{name: written[name] for name in written if name in options or not saved}, **saved}
    changes = difference(stored, options)
    refused = {name: pair for name, pair in changes.items() if name not in may_change}
    for name in may_grow:
        if options[name] < stored.get(name, 0):
            refused[name] = changes[name]
    lines = _lines(refused)
    edited = [name for name in refused if written.get(name) == options.get(name)]
    edited_lines = (
        f"{directory.options_file} was changed since the training was saved: {', '.join(edited)}"
    )
    if never := {name: pair for name, pair in refused.items() if name in fixed}:
        others = {name: pair for name, pair in refused.items() if name not in fixed}
        raise OptionError(
            next(iter(never)),
            f"a run that is resumed keeps its networks, which these change:{_lines(never)}\n"
            + (f"and these need --allow_changes:{_lines(others)}\n" if others else "")
            + (f"{edited_lines}; put the old values back there, or\n" if edited else "")
            + "leave them out, or start a new training under another --name, without --resume",
        )
    if refused and not allow_changes:
        raise OptionError(
            next(iter(refused)),
            f"options differ from the run that is resumed:{lines}\n"
            + (f"{edited_lines}; put the old values back there, or\n" if edited else "")
            + "leave them out, or add --allow_changes to continue with the new values",
        )
    if edited:
        _log.warning("%s. Continuing with:%s", edited_lines, lines)


def _lines(changes: Mapping[str, tuple[Any, Any]]) -> str:
    return "".join(f"\n  {spell_change(name, *pair)}" for name, pair in changes.items())


def _compared(
    options: Mapping[str, Any], *, may_change: Collection[str], may_grow: Collection[str]
) -> dict[str, Any]:
    """Return the options that are compared with those of a resumed run."""
    return {
        name: value for name, value in options.items() if name not in may_change or name in may_grow
    }


def _options_of_state(directory: RunDirectory) -> dict[str, Any]:
    """Return the options that the state was made with; none if it cannot be read, or is older."""
    options = _facts_of_state(directory).get("options")
    return dict(options) if isinstance(options, dict) else {}


def _facts_of_state(directory: RunDirectory) -> Mapping[str, Any]:
    """Return what the state says of the run; nothing if it cannot be read."""
    for path in (directory.state_file, directory.previous_state_file):
        with suppress(CheckpointError):  # said when it is loaded
            return peek_state(path)
    return {}


def _build_intervals(run: BasicRunOptions, parts: TrainingParts[Any]) -> ReportIntervals:
    """Return how long to train, and how often to report and save."""
    return ReportIntervals(
        epochs=parts.epochs,
        max_images=parts.max_images,
        accumulate=run.gradient_accumulation_steps,
        report_images=run.print_freq,
        sample_images=run.display_freq,
        checkpoint_images=run.save_latest_freq,
        keep_epochs=run.save_epoch_freq,
        evaluate=parts.evaluate,
        judge_epochs=parts.judge_epochs,
    )


def _build_displays(
    displays: BasicDisplayOptions,
    directory: RunDirectory,
    options: Mapping[str, Any],
    accelerator: Accelerator,
    *,
    summary: Sequence[str],
    first_losses: Callable[[], Mapping[str, float]] | None,
) -> list[Observer]:
    """Make the log and the displays that the options ask for."""
    return make_displays(
        displays.displays,
        directory,
        options=options,
        environment=describe_environment(accelerator),
        server=displays.display_server,
        port=displays.display_port,
        env=displays.display_env or directory.path.name,
        summary=summary,
        # Several processes average what they report, with each other.
        first_losses=first_losses if accelerator.num_processes == 1 else None,
    )
