"""What every training does around its loop: checks, displays, the lock, and how it ended.

What a run was computed with: versions, machine, device, processes.

The observers that ``--display`` asks for.
"""

import os
import platform
import socket
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from signal import Signals
from typing import Any

import torch
from accelerate import Accelerator

from impasto.options.errors import FolderError, OptionError
from impasto.options.fields import difference
from impasto.options.train import BasicDisplayOptions, BasicRunOptions
from impasto.runs.directory import RunDirectory
from impasto.runs.displays.console import Console
from impasto.runs.displays.page import ReportPage
from impasto.runs.log import JsonLog
from impasto.runs.loop import Pace, TrainingLoop
from impasto.runs.observers import Background, Observer, Progress

__all__ = [
    "TrainResult",
    "build_displays",
    "build_pace",
    "check_run",
    "describe_environment",
    "make_displays",
    "run_in_directory",
]


def describe_environment(accelerator: Accelerator) -> dict[str, str]:
    """Return facts about where a run is computed, by name, in the order to show them."""
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
        "precision": "32 bits"
        if accelerator.mixed_precision == "no"
        else f"32 and 16 bits ({accelerator.mixed_precision})",
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


def make_displays(
    names: Sequence[str],
    directory: RunDirectory,
    *,
    options: Mapping[str, Any],
    environment: Mapping[str, str],
    server: str,
    port: int,
    env: str,
) -> list[Observer]:
    """Make the log and the displays of a run; those that take their time get a thread.

    Args:
        names: any of ``console``, ``page``, ``visdom``, ``tensorboard``.
        directory: of the run.
        options: of the run, flat, to show.
        environment: what :func:`describe_environment` returned, to show.
        server: address of the visdom server.
        port: port of the visdom server.
        env: visdom environment.

    Raises:
        OptionError: the package of a display is not installed; says how to install it.
    """
    displays: list[Observer] = [JsonLog(directory.log_file)]
    if "console" in names:
        page = directory.web / "index.html" if "page" in names else None
        displays.append(Console(page=page))
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
    return displays


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


def check_run(
    directory: RunDirectory,
    options: Mapping[str, Any],
    *,
    resume: bool,
    defaults: Mapping[str, Any],
    may_change: Collection[str],
    may_grow: Collection[str] = (),
    allow_changes: bool = False,
) -> None:
    """Refuse to overwrite a run, or to continue it with options that would make it another.

    Args:
        directory: of the run.
        options: flat options of now.
        resume: whether the run is to be continued.
        defaults: what options count as that are newer than the run.
        may_change: names of options that alter nothing of what is continued.
        may_grow: those of them that may not become smaller.
        allow_changes: let all changes pass.

    Raises:
        FolderError: there is a run, and it is not to be continued.
        OptionError: shows each refused option with its old and new value.
    """
    if not resume:
        if directory.has_state:
            raise FolderError(
                directory.path, "holds a training already; add --resume, or choose another --name"
            )
        return
    stored = {**defaults, **directory.read_options()}
    changes = difference(stored, options)
    refused = {name: pair for name, pair in changes.items() if name not in may_change}
    for name in may_grow:
        if options[name] < stored.get(name, 0):
            refused[name] = changes[name]
    if refused and not allow_changes:
        lines = "".join(f"\n  {name}: {old} -> {new}" for name, (old, new) in refused.items())
        raise OptionError(
            next(iter(refused)),
            f"options differ from the run that is resumed:{lines}\n"
            "leave them out, or add --allow_changes to continue with the new values",
        )


def build_pace(
    run: BasicRunOptions, *, epochs: int, max_images: int | None, evaluate: bool = False
) -> Pace:
    """Return how long to train, and how often to report and save.

    Args:
        run: has the intervals.
        epochs: of the training.
        max_images: where it ends before, or None.
        evaluate: whether what is trained judges itself at the end of each epoch.
    """
    return Pace(
        epochs=epochs,
        max_images=max_images,
        accumulate=run.gradient_accumulation_steps,
        report_images=run.print_freq,
        sample_images=run.display_freq,
        checkpoint_images=run.save_latest_freq,
        keep_epochs=run.save_epoch_freq,
        evaluate=evaluate,
    )


def build_displays(
    displays: BasicDisplayOptions,
    directory: RunDirectory,
    *,
    options: Mapping[str, Any],
    accelerator: Accelerator,
) -> list[Observer]:
    """Make the log and the displays that the options ask for; none but in the main process.

    Args:
        displays: which.
        directory: of the run.
        options: of the run, flat, to show.
        accelerator: knows device and processes.

    Raises:
        OptionError: the package of a display is not installed.
    """
    if not accelerator.is_main_process:
        return []
    return make_displays(
        displays.displays,
        directory,
        options=options,
        environment=describe_environment(accelerator),
        server=displays.display_server,
        port=displays.display_port,
        env=displays.display_env or directory.path.name,
    )


def run_in_directory(
    loop: TrainingLoop[Any],
    directory: RunDirectory,
    *,
    options: Mapping[str, Any],
    command: str,
    resume: bool,
    is_main_process: bool,
) -> Signals | None:
    """Hold the run, resume it if asked, write its options, and train.

    Args:
        loop: what trains.
        directory: of the run.
        options: flat, to write.
        command: the words after ``impasto`` that take them.
        resume: whether to continue from the state.
        is_main_process: whether this process writes.

    Returns:
        The signal that stopped it, or None.

    Raises:
        ImpastoError: see :meth:`TrainingLoop.run` and :meth:`RunDirectory.locked`.
    """
    with directory.locked(write=is_main_process):
        if resume:
            loop.resume()
        if is_main_process:
            directory.write_options(options, command=command)
        return loop.run()
