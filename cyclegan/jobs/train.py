"""The whole training, from options to a run directory.

The network files of a run directory.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Protocol

import torch
from torch import Tensor, nn

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.build import (
    build_doctor,
    build_loader,
    build_sample_batch,
    build_trainer,
    generator_architecture,
)
from impasto.cyclegan.networks import Networks
from impasto.cyclegan.optim import WeightAverage
from impasto.cyclegan.terms import LossTerm, PerceptualLoss
from impasto.cyclegan.weights import save_generator
from impasto.options.fields import default_values, flatten
from impasto.options.train import MAY_CHANGE, TrainOptions
from impasto.runs.directory import RunDirectory
from impasto.runs.job import (
    TrainResult,
    build_displays,
    build_pace,
    check_run,
    run_in_directory,
)
from impasto.runs.loop import TrainingLoop
from impasto.runs.observers import Observer, Progress, Watchers
from impasto.runs.processes import keep_freed_memory, make_accelerator
from impasto.runs.state import save_pth

__all__ = ["TrainResult", "TranslationLearner", "save_networks", "train"]


class TranslationLearner(Protocol):
    """What a learner of translations shows of itself, so that its networks can be saved.

    A method with other networks than CycleGAN's, such as generators of one direction alone, is a
    learner with these three.
    """

    @property
    def networks(self) -> Networks:
        """All networks, by the names that their files have."""
        ...

    @property
    def averages(self) -> Mapping[str, WeightAverage]:
        """Running averages of networks, by name."""
        ...

    @property
    def directions(self) -> Mapping[str, str]:
        """``AtoB``, ``BtoA`` or both, and the name of the generator of each."""
        ...


def save_networks(
    directory: RunDirectory,
    label: str,
    learner: TranslationLearner,
    architecture: GeneratorArchitecture,
    progress: Progress,
    *,
    grid_bend_px: float = 0.0,
) -> None:
    """Write all networks under the reference's names, and the latest generators as safetensors.

    With running averages, these go to ``<label>_net_G_A_ema.pth`` and into the safetensors.

    Args:
        directory: the run.
        label: ``latest`` or an epoch.
        learner: holds the networks.
        architecture: of all generators.
        progress: where the training is, for the metadata.
        grid_bend_px: how far pictures shall be bent for the generators, likewise.

    Raises:
        OSError: a file cannot be written.
    """
    for name, weights in learner.networks.state_dict().items():
        save_pth(directory.network_file(label, name), weights)
    for direction, name in learner.directions.items():
        average = learner.averages.get(name)
        weights, kind = _best(learner.networks[name], average)
        if average is not None:
            save_pth(directory.network_file(label, f"{name}_ema"), weights)
        if label == "latest":
            provenance = {
                "impasto": version("impasto"),
                "direction": direction,
                "weights": kind,
                "images": str(progress.images),
                "grid_bend_px": str(grid_bend_px),
            }
            save_generator(
                directory.path / f"{name}.safetensors", weights, architecture, provenance
            )


def _best(network: nn.Module, average: WeightAverage | None) -> tuple[dict[str, Tensor], str]:
    if average is None:
        return network.state_dict(), "last"
    return average.weights(network), "averaged"


def train(
    options: TrainOptions,
    *,
    resume: bool = False,
    allow_changes: bool = False,
    observers: Sequence[Observer] = (),
    make_perceptual: Callable[[torch.device], PerceptualLoss] | None = None,
    extra_terms: Sequence[LossTerm] = (),
) -> TrainResult:
    """Train a CycleGAN into ``checkpoints_dir/name``; Ctrl-C and SIGTERM save and return.

    Args:
        options: all options.
        resume: continue the run of that name, exactly where its state was saved.
        allow_changes: resume even where options that alter the training differ.
        observers: who else is told what happens, beside log.jsonl and ``--display``.
        make_perceptual: makes the perceptual loss on a device; called if the options have one.
        extra_terms: further terms of the generators' objective, after those of the options.

    Raises:
        OptionError: an option cannot be used here, or differs from the run that is resumed.
        FolderError: a folder of pictures is missing or empty, or the run directory exists already
            (without ``resume``), or cannot be written.
        CheckpointError: the state to resume is missing or damaged.
        TrainingError: a loss is not finite.
        ImpastoError: a state cannot be written, or another process trains this run.
    """
    directory = RunDirectory(options.run.checkpoints_dir / options.run.name)
    accelerator = make_accelerator(options.run.device, options.run.mixed_precision)
    flat = flatten(options)
    check_run(
        directory,
        flat,
        resume=resume,
        defaults=default_values(TrainOptions),
        may_change=MAY_CHANGE,
        may_grow=("n_epochs_decay",),
        allow_changes=allow_changes,
    )
    if accelerator.device.type == "cpu" and options.data.crops:
        keep_freed_memory()  # blocks of ever other sizes would not fit into those that were freed
    torch.manual_seed(options.run.seed + accelerator.process_index)
    torch.backends.cudnn.benchmark = options.data.crops  # worth it where all sizes are equal
    loader = build_loader(options, accelerator)
    perceptual = None
    if options.losses.lambda_perceptual > 0 and make_perceptual is not None:
        perceptual = make_perceptual(accelerator.device)
    trainer = build_trainer(options, accelerator, perceptual=perceptual, extra_terms=extra_terms)
    if accelerator.is_main_process:
        directory.create()
    displays = build_displays(options.displays, directory, options=flat, accelerator=accelerator)
    loop = TrainingLoop(
        trainer,
        loader,
        pace=build_pace(
            options.run,
            epochs=options.schedule.total_epochs,
            max_images=options.schedule.max_images,
        ),
        directory=directory,
        accelerator=accelerator,
        observer=Watchers([*displays, *observers]),
        export=partial(_export, directory, trainer, options),
        doctor=build_doctor(options),
        sample_batch=build_sample_batch(options) if accelerator.is_main_process else None,
    )
    try:
        signal = run_in_directory(
            loop,
            directory,
            options=flat,
            command="train",
            resume=resume,
            is_main_process=accelerator.is_main_process,
        )
    finally:
        loader.close()
    return TrainResult(
        directory=directory.path,
        progress=loop.progress,
        signal=signal,
        unreadable=dict(loader.unreadable),
        is_main_process=accelerator.is_main_process,
    )


def _export(
    directory: RunDirectory,
    learner: TranslationLearner,
    options: TrainOptions,
    label: str,
    progress: Progress,
) -> None:
    save_networks(
        directory,
        label,
        learner,
        generator_architecture(options.networks),
        progress,
        grid_bend_px=options.run.grid_bend_px,
    )
