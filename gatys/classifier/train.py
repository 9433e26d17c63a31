"""The whole training of a classifier, from options to a run directory.

It writes the classifier's weights, and its convolutions as a feature network for stylize.
"""

import json
import os
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor
from torch.optim import AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau

from impasto.data.datasets import UnpairedSampler
from impasto.data.files import find_class_folders
from impasto.data.fingerprints import fingerprint
from impasto.data.loaders import useful_processes
from impasto.gatys.classifier.data import (
    ClassSets,
    open_caltech101,
    open_cifar100,
    open_folders,
)
from impasto.gatys.classifier.learner import ClassifierLearner
from impasto.gatys.classifier.loading import (
    HELD_OUT,
    LEARNED,
    Augmentation,
    ClassBatch,
    ClassPictures,
    HeldOutPictures,
    TrainingLoader,
)
from impasto.gatys.classifier.model import VggClassifier, init_weights
from impasto.gatys.features.weight_files import TRAINED_HERE, tensors_sha256
from impasto.options.backbone import (
    BACKBONE_FIXED,
    BACKBONE_MAY_CHANGE,
    BackboneOptions,
    ClassDataOptions,
)
from impasto.runs.directory import RunDirectory
from impasto.runs.doctor import DataWait, Doctor
from impasto.runs.job import TrainingParts, TrainResult, run_training_job
from impasto.runs.observers import Observer, Progress
from impasto.runs.processes import share_weights
from impasto.runs.state import make_generator, save_pth, save_safetensors

__all__ = ["backbone_file", "open_class_sets", "save_classifier", "train_backbone"]


def backbone_file(run: Path) -> Path:
    """Return the feature network of a run, for ``impasto stylize --weights``."""
    return run / "backbone.safetensors"


def save_classifier(
    directory: RunDirectory, label: str, learner: ClassifierLearner, classes: Sequence[str]
) -> None:
    """Write the classifier, and the convolutions of its best epoch.

    ``<label>_net_classifier.pth`` is the whole network with torchvision's names.
    ``backbone.safetensors`` holds the convolutions of the epoch with the lowest held-out loss (the
    present ones before the first), batch normalization folded in; its metadata name the
    architecture, the classes and the scores.

    Args:
        directory: directory of the run.
        label: ``latest`` or the number of an epoch.
        learner: learner that holds the network.
        classes: names of the classes.

    Raises:
        OSError: a file cannot be written.
    """
    network, best = learner.network, learner.best
    save_pth(directory.network_file(label, "classifier"), network.state_dict())
    if label != "latest":
        return
    features = dict(best.features or network.plain_features())
    provenance = {
        "kind": f"convolutions of VGG{network.depth}, {TRAINED_HERE}",
        "architecture": _describe(network),
        "classes": json.dumps(list(classes)),
        "epoch": str(best.epoch),
        **{name: f"{score:.6g}" for name, score in best.scores.items() if best.epoch},
        "tensors_sha256": tensors_sha256(features),
        "packed_by": f"Impasto {version('impasto')}",
    }
    save_safetensors(backbone_file(directory.path), features, provenance)


def _describe(network: VggClassifier) -> str:
    """Return what it takes to build the network again, as JSON."""
    size = network.avgpool.output_size
    return json.dumps(
        {
            "depth": network.depth,
            "width": network.width,
            "batch_norm": network.batch_norm,
            "pooled": size,
            "classes": network.classes,
        }
    )


def train_backbone(
    options: BackboneOptions,
    *,
    resume: bool = False,
    allow_changes: bool = False,
    observers: Sequence[Observer] = (),
) -> TrainResult:
    """Train a classifier into ``checkpoints_dir/name``; Ctrl-C and SIGTERM save and return.

    Args:
        options: all options of the training.
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

    def build(accelerator: Accelerator) -> TrainingParts[ClassBatch]:
        if resume:
            options.data.require_unmoved(in_python=True)
        torch.backends.cudnn.benchmark = True  # all pictures have one size
        sets = open_class_sets(options.data, seed=options.run.seed)
        loader = _build_loader(options, sets, accelerator, allow_changes=allow_changes)
        held_out = _build_held_out(options.data, sets, accelerator)
        held_out.stop = lambda: loader.stop()  # noqa: PLW0108 - the loop sets it later
        learner = _build_learner(options, sets, held_out, accelerator)
        return TrainingParts(
            learner=learner,
            loader=loader,
            export=partial(_export, learner, sets.classes),
            doctor=_build_doctor(options.data),
            epochs=options.schedule.n_epochs,
            max_images=options.schedule.max_images,
            evaluate=True,
            converged=learner.converged,
            summary=[
                f"pictures: {len(sets.train.labels):,} of {len(sets.classes)} classes, "
                f"{len(sets.held_out.labels):,} held out",
                "millions of parameters: "
                f"{sum(each.numel() for each in learner.network.parameters()) / 1e6:.3g}",
            ],
            held_out_unreadable=held_out.unreadable,
        )

    return run_training_job(
        options,
        build,
        command="backbone train",
        may_change=BACKBONE_MAY_CHANGE,
        fixed=BACKBONE_FIXED,
        resume=resume,
        allow_changes=allow_changes,
        observers=observers,
    )


def open_class_sets(data: ClassDataOptions, *, seed: int) -> ClassSets:
    """Find the pictures that the options name.

    Args:
        data: options that name the pictures.
        seed: seed that chooses the held-out pictures, where none are given.

    Raises:
        FolderError: a folder is missing, or holds no pictures or too few classes.
    """
    generator = make_generator(seed, "held out")
    if data.dataset == "cifar100":
        return open_cifar100(data.dataroot, download=data.download)
    if data.dataset == "caltech101":
        return open_caltech101(
            data.dataroot, share=data.val_share, generator=generator, download=data.download
        )
    folders = data.class_folders or find_class_folders(data.dataroot)
    held_out = data.val_class_folders
    if not held_out and data.val_folder is not None:
        held_out = {name: data.val_folder / name for name in folders}
    return open_folders(folders, held_out or None, share=data.val_share, generator=generator)


def _build_loader(
    options: BackboneOptions, sets: ClassSets, accelerator: Accelerator, *, allow_changes: bool
) -> TrainingLoader:
    data = options.data
    pictures = ClassPictures(
        sets.train,
        augmentation=_augmentation(data),
        cache=data.cache_images,
        workers=useful_processes(data.num_threads),
    )
    sampler = UnpairedSampler(
        len(pictures),
        1,  # there is no second domain to pair with
        batch_size=data.batch_size,
        generator=make_generator(options.run.seed, "order"),
        process=accelerator.process_index,
        processes=accelerator.num_processes,
    )
    return TrainingLoader(
        pictures,
        sampler=sampler,
        workers=data.num_threads,
        pin_memory=accelerator.device.type == "cuda",
        classes=sets.classes,
        allow_changes=allow_changes,
        fingerprints=_fingerprints(sets) if accelerator.is_main_process else None,
    )


def _fingerprints(sets: ClassSets) -> dict[str, Tensor]:
    """Return what identifies the files; those of a packed data set hold many pictures each."""
    files = {
        name: list(dict.fromkeys(pictures.path(i).absolute() for i in range(len(pictures.labels))))
        for name, pictures in ((LEARNED, sets.train), (HELD_OUT, sets.held_out))
    }
    try:
        root = Path(os.path.commonpath([path.parent for some in files.values() for path in some]))
    except ValueError:  # several drives of Windows
        root = None
    return {name: fingerprint(some, root) for name, some in files.items()}


def _build_held_out(
    data: ClassDataOptions, sets: ClassSets, accelerator: Accelerator
) -> HeldOutPictures:
    pictures = ClassPictures(
        sets.held_out,
        augmentation=_augmentation(data),
        cache=data.cache_images,
        workers=useful_processes(data.num_threads),
    )
    return HeldOutPictures(
        pictures,
        batch_size=data.batch_size,
        workers=data.num_threads,
        process=accelerator.process_index,
        processes=accelerator.num_processes,
    )


def _augmentation(data: ClassDataOptions) -> Augmentation:
    return Augmentation(
        size=data.side,
        smallest_area=data.smallest_area,
        largest_area=data.largest_area,
        flip=data.flip,
        light=data.light,
    )


def _build_learner(
    options: BackboneOptions,
    sets: ClassSets,
    held_out: HeldOutPictures,
    accelerator: Accelerator,
) -> ClassifierLearner:
    shape, schedule = options.network, options.schedule
    network = VggClassifier(
        len(sets.classes),
        depth=shape.depth,
        width=shape.width,
        batch_norm=shape.batch_norm,
        pooled=shape.pooled or min(7, options.data.side // 32),
        dropout=shape.dropout,
    )
    generator = make_generator(options.run.seed, "weights")
    init_weights(network, init=shape.init, generator=generator)
    network.to(accelerator.device)
    share_weights([network], accelerator)
    optimizer = AdamW(network.parameters(), lr=schedule.lr, weight_decay=schedule.weight_decay)
    return ClassifierLearner(
        network,
        optimizer=optimizer,
        plateau=ReduceLROnPlateau(
            optimizer, factor=schedule.plateau_factor, patience=schedule.plateau_patience
        ),
        held_out=held_out,
        accelerator=accelerator,
        label_smoothing=schedule.label_smoothing,
        patience=schedule.patience,
    )


def _build_doctor(data: ClassDataOptions) -> Doctor:
    waits = DataWait(
        num_threads=data.num_threads, cache_images=data.cache_images, size_option="size"
    )
    return Doctor(local_signs=[waits])


def _export(
    learner: ClassifierLearner,
    classes: Sequence[str],
    directory: RunDirectory,
    label: str,
    progress: Progress,  # noqa: ARG001
) -> None:
    save_classifier(directory, label, learner, classes)
