"""The whole training, from options to a run directory, and the network files in it."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.build import (
    build_doctor,
    build_loader,
    build_perceptual,
    build_sample_batch,
    build_trainer,
    generator_architecture,
    split_domains,
)
from impasto.cyclegan.jobs.start import Start, read_start
from impasto.cyclegan.networks import Networks
from impasto.cyclegan.optim import WeightAverage, exported_weights
from impasto.cyclegan.terms import LossTerm, PerceptualLoss
from impasto.cyclegan.trainer import Trainer
from impasto.cyclegan.weights import save_generator
from impasto.data.atomic import atomic_path
from impasto.data.channels.ranges import Formats, SampleFormat, find_format, tell_pages
from impasto.data.datasets import UnpairedBatch
from impasto.data.fetch.catalog import find_dataset
from impasto.data.files import list_pictures
from impasto.data.loaders import UnpairedLoader
from impasto.gatys.features.lite import find_lite_weights, missing_lite_message
from impasto.options.errors import CheckpointError
from impasto.options.train import FIXED, MAY_CHANGE, TrainOptions
from impasto.runs.directory import RunDirectory
from impasto.runs.job import TrainingParts, TrainResult, run_training_job
from impasto.runs.learner import Judge
from impasto.runs.observers import Observer, Progress
from impasto.runs.processes import keep_freed_memory
from impasto.runs.state import peek_state, save_pth

__all__ = ["TranslationLearner", "find_formats", "save_networks", "train"]


class TranslationLearner(Protocol):
    """A learner of translations, with the networks that are saved.

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


def save_networks(  # noqa: PLR0913 - all that the files say
    directory: RunDirectory,
    label: str,
    learner: TranslationLearner,
    architecture: GeneratorArchitecture,
    progress: Progress,
    *,
    grid_bend_px: float = 0.0,
    strokes_at_px: float | None = None,
    init_from: str = "",
    statistics: str = "",
    formats: Formats = (None, None),
) -> None:
    """Write all networks under the reference's names, and the latest generators as safetensors.

    With running averages, these go to ``<label>_net_G_A_ema.pth`` and into the safetensors.

    Args:
        directory: directory of the run.
        label: ``latest`` or the number of an epoch.
        learner: learner that holds the networks.
        architecture: architecture of the generator from A to B; that of the other direction has
            its channels the other way round.
        progress: progress of the training, for the metadata.
        grid_bend_px: how far pictures should be bent for the generators, in pixels, for the
            metadata.
        strokes_at_px: shorter side of the pictures for which strokes are right, in pixels, for the
            metadata; None if that is not known.
        init_from: models that the training started from, for the metadata; nothing if there are
            none.
        statistics: ``picture`` if batch normalization is to take those of each picture, for the
            metadata; nothing for the running ones.
        formats: what the numbers of the pictures of A and of B mean, for the metadata; None: they
            are RGB of 8 bits.

    Raises:
        OSError: a file cannot be written.
    """
    for name, weights in learner.networks.state_dict().items():
        save_pth(directory.network_file(label, name), weights)
    for direction, name in learner.directions.items():
        average = learner.averages.get(name)
        weights, kind = exported_weights(learner.networks[name], average)
        if average is not None:
            save_pth(directory.network_file(label, f"{name}_ema"), weights)
        if label == "latest":
            there = name != "G_B"
            ends = zip(("input", "output"), formats if there else formats[::-1], strict=True)
            provenance = {
                "impasto": version("impasto"),
                "direction": direction,
                "weights": kind,
                "images": str(progress.images),
                "grid_bend_px": str(grid_bend_px),
                **({} if strokes_at_px is None else {"strokes_at_px": f"{strokes_at_px:g}"}),
                **({"init_from": init_from} if init_from else {}),
                **({"statistics": statistics} if statistics else {}),
                **{
                    f"{end}_samples": samples.to_text()
                    for end, samples in ends
                    if samples is not None
                },
            }
            save_generator(
                directory.path / f"{name}.safetensors",
                weights,
                architecture if there else architecture.reversed(),
                provenance,
            )


def train(  # noqa: PLR0913 - all that a training can be given
    options: TrainOptions,
    *,
    resume: bool = False,
    allow_changes: bool = False,
    typed: Collection[str] | None = None,
    observers: Sequence[Observer] = (),
    perceptual: PerceptualLoss | None = None,
    extra_terms: Sequence[LossTerm] = (),
    announce: Callable[[str], None] = lambda _line: None,
) -> TrainResult:
    """Train a CycleGAN, or pix2pix, into ``checkpoints_dir/name``; Ctrl-C and SIGTERM save.

    Args:
        options: all options of the training.
        resume: continue the run of that name, exactly where its state was saved.
        allow_changes: resume even where options that alter the training differ.
        typed: names of the options that a user gave, which a model to start from (``init_from``)
            must agree with, while the others are as in the model; by default those whose values are
            not the defaults.
        observers: further observers of the training, besides log.jsonl and ``--display``.
        perceptual: distance for the perceptual loss, on the device of the training, instead of the
            one with the network that the options name.
        extra_terms: further terms of the generators' objective, after those of the options.
        announce: called with lines that state which network the perceptual loss uses, and what the
            networks start from.

    Raises:
        OptionError: an option cannot be used here, differs from the run that is resumed, or
            contradicts the model that the training starts from.
        FolderError: a folder of pictures is missing or empty, or the run directory exists already
            (without ``resume``), or cannot be written.
        CheckpointError: the state to resume, or a model to start from, is missing or damaged.
        TrainingError: a loss is not finite.
        ImpastoError: a state cannot be written, or another process trains this run.
    """
    if not resume:
        options = replace(
            options, data=replace(options.data, dataroot=find_dataset(options.data.dataroot))
        )
    start = Start(options=options)
    if options.networks.init_from and not resume:  # what is resumed has its weights
        RunDirectory(options.run.checkpoints_dir / options.run.name).require_no_state()
        start = read_start(options, typed=typed)
        options = start.options

    directory = RunDirectory(options.run.checkpoints_dir / options.run.name)
    held_back = _HeldBackLists(directory.path)

    def build(accelerator: Accelerator) -> TrainingParts[UnpairedBatch]:
        if resume:
            options.data.require_unmoved(in_python=True)
        if accelerator.device.type == "cpu" and options.data.crops:
            keep_freed_memory()  # blocks of ever other sizes would not fit those that were freed
        torch.backends.cudnn.benchmark = options.data.crops  # worth it where all sizes are equal
        says = announce if accelerator.is_main_process else lambda _line: None
        formats = find_formats(options, known=_formats_before(options) if resume else {})
        loader = build_loader(options, accelerator, formats=formats)
        distance = perceptual
        if options.losses.lambda_perceptual > 0 and distance is None:
            before = _fingerprint_before(options) if resume else ""
            distance = build_perceptual(options.losses, accelerator.device, fingerprint=before)
            says(f"perceptual loss: {distance}")
        for line in start.lines:
            says(line)
        trainer = build_trainer(
            options,
            accelerator,
            perceptual=distance,
            extra_terms=extra_terms,
            start=start.weights,
            formats=formats,
            announce=says,
        )
        judged = _judged_pictures(options) if accelerator.is_main_process else {}
        held_back.files = {
            name: files for name, (_, files) in judged.items() if options.evaluation.held_back
        }
        return TrainingParts(
            learner=trainer,
            loader=loader,
            export=partial(_export, trainer, options, formats),
            doctor=build_doctor(options),
            epochs=options.schedule.total_epochs,
            max_images=options.schedule.max_images,
            sample_batch=build_sample_batch(options, formats=formats)
            if accelerator.is_main_process
            else None,
            judge_epochs=options.evaluation.evaluate_every_epochs,
            judge=_build_judge(trainer, options, judged, accelerator.device, resume=resume),
            summary=[
                *_summary(loader, trainer, paired=options.data.paired),
                *_judging(options, judged),
            ],
        )

    return run_training_job(
        options,
        build,
        command="train",
        may_change=MAY_CHANGE,
        may_grow=("n_epochs_decay",),
        fixed=FIXED,
        resume=resume,
        allow_changes=allow_changes,
        observers=[*observers, held_back],
    )


class _HeldBackLists(Observer):
    """Writes which pictures are held back, one absolute path a line, when the training begins.

    Args:
        folder: folder of the run.

    Attributes:
        files: the pictures of each domain, by the name of the list.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.files: Mapping[str, Sequence[Path]] = {}

    def on_start(self, progress: Progress) -> None:  # noqa: ARG002
        """Write the lists."""
        for domain, files in self.files.items():
            lines = b"".join(os.fsencode(file.absolute()) + b"\n" for file in files)
            with atomic_path(self._folder / f"held_back_{domain}.txt") as temporary:
                temporary.write_bytes(lines)


def _judged_pictures(options: TrainOptions) -> dict[str, tuple[Path, list[Path]]]:
    """Return folder and files of the pictures of each domain that generators are measured with."""
    evaluation = options.evaluation
    if not evaluation.evaluate_every_epochs:
        return {}
    if evaluation.val_A is None or evaluation.val_B is None:
        held = [held for _, held in split_domains(options)]
        return dict(zip("AB", zip(options.data.folders, held, strict=True), strict=True))
    folders = (evaluation.val_A, evaluation.val_B)
    swapped = folders if options.data.direction == "AtoB" else folders[::-1]
    return {
        name: (folder, list_pictures(folder)) for name, folder in zip("AB", swapped, strict=True)
    }


def _build_judge(
    trainer: Trainer,
    options: TrainOptions,
    pictures: Mapping[str, tuple[Path, Sequence[Path]]],
    device: torch.device,
    *,
    resume: bool,
) -> Judge | None:
    """Make the judge of the epochs; None without pictures to measure with.

    Raises:
        CheckpointError: the network is not installed whose features a new training is to be judged
            by; one that is resumed goes on without.
        FolderError: a folder is missing or holds too few pictures.
    """
    evaluation = options.evaluation
    if not pictures:
        return None
    if evaluation.best == "kid_lite" and not resume and find_lite_weights() is None:
        raise CheckpointError(f"{missing_lite_message()}; or judge epochs by --best swd")
    from impasto.cyclegan.jobs.judge import EpochJudge  # noqa: PLC0415 - SciPy, where it is asked

    return EpochJudge(
        trainer,
        pictures,
        architecture=generator_architecture(options.networks),
        run=options.run.checkpoints_dir / options.run.name,
        device=device,
        best=evaluation.best,
        patience=evaluation.patience,
        provenance=_says(options),
    )


def _judging(
    options: TrainOptions, pictures: Mapping[str, tuple[Path, Sequence[Path]]]
) -> list[str]:
    """Say what is measured between epochs."""
    evaluation = options.evaluation
    if not pictures:
        return []
    counts = " and ".join(f"{len(files):,} of {name}" for name, (_, files) in pictures.items())
    epochs = evaluation.evaluate_every_epochs
    every = "every epoch" if epochs == 1 else f"every {epochs} epochs"
    held = "held back from the training" if evaluation.held_back else "not trained on"
    best = f"the best by {evaluation.best} is kept"
    return [f"measured after {every}: {counts} that are {held}; {best}"]


def _says(options: TrainOptions) -> dict[str, str]:
    """Return what the files of the best epochs say of how their generators are used."""
    strokes_at_px = options.run.strokes_at_px
    models = " ".join(map(str, options.networks.init_from))
    return {
        "grid_bend_px": str(options.run.grid_bend_px),
        "statistics": "picture" if options.data.paired else "running",
        **({} if strokes_at_px is None else {"strokes_at_px": f"{strokes_at_px:g}"}),
        **({"init_from": models} if models else {}),
    }


def _fingerprint_before(options: TrainOptions) -> str:
    """Return the fingerprint of the perceptual distance that the resumed run had, or nothing."""
    run = RunDirectory(options.run.checkpoints_dir / options.run.name)
    for path in (run.state_file, run.previous_state_file):
        with suppress(CheckpointError):  # said when it is loaded
            return str(peek_state(path).get("learner", {}).get("perceptual", ""))
    return ""


def find_formats(options: TrainOptions, *, known: Mapping[str, str] | None = None) -> Formats:
    """Return what the numbers of A and of B mean; None for RGB pictures of 8 bits.

    What a domain loses that is read as such is told.

    Args:
        options: all options of the training.
        known: formats of ``A`` and ``B`` that the resumed run had, as texts.

    Raises:
        FolderError: a folder is missing, or holds no picture of these channels.
        OptionError: a range is needed.
        CheckpointError: a known format is damaged.
    """
    found: list[SampleFormat | None] = []
    networks, data = options.networks, options.data
    for name, colors, option, channels, asked, folder in zip(
        "AB",
        options.are_colors,
        ("input_nc", "output_nc"),
        (networks.input_nc, networks.output_nc),
        data.value_ranges,
        data.folders,
        strict=True,
    ):
        if colors:
            tell_pages(list_pictures(folder)[: data.max_dataset_size], folder)
            found.append(None)
        elif name in (known or {}):
            found.append(SampleFormat.from_text((known or {})[name]))
        else:
            files = list_pictures(folder, arrays=True)[: data.max_dataset_size]
            found.append(
                find_format(
                    files, channels=channels, value_range=asked, option=option, folder=folder
                )
            )
    return found[0], found[1]


def _formats_before(options: TrainOptions) -> Mapping[str, str]:
    """Return what the numbers of the resumed run meant, unless another range is asked for now."""
    directory = RunDirectory(options.run.checkpoints_dir / options.run.name)
    stored = directory.read_options().get("value_range", [])
    if list(stored) != list(options.data.value_range):
        return {}
    for path in (directory.state_file, directory.previous_state_file):
        with suppress(CheckpointError):  # said when it is loaded
            return dict(peek_state(path).get("loader", {}).get("samples", {}))
    return {}


def _summary(loader: UnpairedLoader, trainer: Trainer, *, paired: bool) -> list[str]:
    """Say what is trained on what, and what the first step waits for."""
    first, second = loader.sizes
    parts = [
        f"{name} {sum(each.numel() for each in network.parameters()) / 1e6:.3g}"
        for name, network in trainer.networks.items()
    ]
    compiling = "the networks are compiled first, for some minutes; --compile auto starts sooner"
    numbers = [
        f"pictures of {name}: {samples}" + (", as measured" if samples.source == "auto" else "")
        for name, samples in zip("AB", loader.samples, strict=True)
        if samples is not None
    ]
    return [
        f"pairs of pictures: {first:,}" if paired else f"pictures: {first:,} of A, {second:,} of B",
        *numbers,
        f"millions of parameters: {', '.join(parts)}",
        *([compiling] if trainer.compiles else []),
    ]


def _export(
    learner: TranslationLearner,
    options: TrainOptions,
    formats: Formats,
    directory: RunDirectory,
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
        strokes_at_px=options.run.strokes_at_px,
        init_from=" ".join(map(str, options.networks.init_from)),
        statistics="picture" if options.data.paired else "",
        formats=formats,
    )
