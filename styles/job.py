"""The whole training of fast styles, from options to a run directory with one model in it."""

import json
import re
from collections.abc import Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.models import STYLES_FILE
from impasto.cyclegan.weights import save_generator
from impasto.data.decode import read_picture
from impasto.data.files import gather_pictures
from impasto.data.standardize import fill_hidden
from impasto.gatys.features.make import make_network
from impasto.gatys.inputs import cut_frame, picture_image, style_size
from impasto.gatys.presets import LITE
from impasto.options.errors import OptionError
from impasto.options.styles import (
    STYLE_FIXED,
    STYLE_MAY_CHANGE,
    StyleDataOptions,
    StyleTrainOptions,
)
from impasto.runs.directory import RunDirectory
from impasto.runs.doctor import Doctor
from impasto.runs.job import TrainingParts, TrainResult, run_training_job
from impasto.runs.observers import Observer, Progress
from impasto.runs.processes import keep_freed_memory
from impasto.runs.state import make_generator
from impasto.styles.learner import StyleLearner
from impasto.styles.loading import CropLoader, Crops, read_photographs
from impasto.styles.losses import LossWeights, StyleObjective
from impasto.styles.network import StyleNetwork, style_architecture

__all__ = ["name_styles", "read_paintings", "styles_file", "train_styles"]


def styles_file(run: Path) -> Path:
    """Return the model of a run, for ``impasto translate --model``."""
    return run / STYLES_FILE


def train_styles(
    options: StyleTrainOptions,
    *,
    resume: bool = False,
    allow_changes: bool = False,
    observers: Sequence[Observer] = (),
) -> TrainResult:
    """Train one network for some paintings; Ctrl-C and SIGTERM save and return.

    ``checkpoints_dir/name/styles.safetensors`` holds the average of the weights, and is a generator
    like any other: ``impasto translate --model`` takes it, or the folder of the run.

    Args:
        options: all options of the training.
        resume: continue the run of that name, exactly where its state was saved.
        allow_changes: resume even where options that alter the training differ.
        observers: further observers of the training, besides log.jsonl and ``--display``.

    Raises:
        OptionError: an option is missing, cannot be used here, or differs from the run that is
            resumed.
        FolderError: a folder of pictures is missing or empty, or the run directory exists already
            (without ``resume``), or cannot be written.
        PictureError: a painting cannot be read.
        CheckpointError: the state to resume is missing or damaged, or the weights of
            EfficientNet-Lite0 are not installed.
        TrainingError: a loss is not finite.
        ImpastoError: a state cannot be written, or another process trains this run.
    """
    options.require_pictures()

    def build(accelerator: Accelerator) -> TrainingParts[Crops]:
        if accelerator.num_processes > 1:
            raise OptionError(
                "device",
                "one process trains fast styles; start it without torchrun or accelerate launch",
            )
        if accelerator.device.type == "cpu":
            keep_freed_memory()
        loader = _build_loader(options, accelerator)
        learner = _build_learner(options, accelerator)
        # All crops have one size; the paintings, which were measured just now, have not.
        torch.backends.cudnn.benchmark = True
        weights = sum(each.numel() for each in learner.network.parameters())
        count = len(loader.middles(options.data.max_dataset_size).pixels)
        return TrainingParts(
            learner=learner,
            loader=loader,
            export=partial(_export, learner, _architecture(options), options.data.style_size),
            doctor=Doctor(),
            epochs=-(-options.schedule.max_images // loader.epoch_images),
            max_images=options.schedule.max_images,
            sample_batch=loader.middles(1),
            converged=learner.time_is_up,
            summary=[
                f"pictures: {count:,} photographs, {len(learner.styles)} styles "
                f"({', '.join(learner.styles)})",
                f"millions of parameters: {weights / 1e6:.3g}",
            ],
        )

    return run_training_job(
        options,
        build,
        command="style train",
        may_change=STYLE_MAY_CHANGE,
        fixed=STYLE_FIXED,
        resume=resume,
        allow_changes=allow_changes,
        observers=observers,
    )


def name_styles(paths: Sequence[Path]) -> list[str]:
    """Return the names of styles: those of their files, with ``_`` for what no name may hold.

    Raises:
        OptionError: two have the same name.

    Example:
        >>> name_styles([Path("paintings/Great Wave.jpg"), Path("fuji.png")])
        ['Great_Wave', 'fuji']
    """
    names = [re.sub(r"[^\w-]+", "_", path.stem).strip("_") or "style" for path in paths]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise OptionError(
                "styles",
                f"{paths[names.index(name)]} and {paths[place]} would both be called {name}; "
                "rename one of them",
            )
    return names


def read_paintings(data: StyleDataOptions) -> list[Tensor]:
    """Read the styles, each RGB, (1, 3, H, W), in [0, 1], reduced to their size.

    Raises:
        PictureError: one cannot be read.
    """
    paintings = []
    for path in data.styles:
        rgb = fill_hidden(read_picture(path))
        rgb = rgb if data.style_frames else cut_frame(rgb)
        paintings.append(picture_image(rgb, *style_size(rgb, data.style_size)))
    return paintings


def _architecture(options: StyleTrainOptions) -> GeneratorArchitecture:
    network = options.network
    return style_architecture(
        channels=network.ngf,
        blocks=network.n_blocks,
        base=network.output_base,
        noise=network.stroke_noise,
    )


def _build_loader(options: StyleTrainOptions, accelerator: Accelerator) -> CropLoader:
    data = options.data
    # Nothing of the run lies among the photographs, or it would be learned from on resuming.
    paths, _ = gather_pictures(data.photos, exclude=options.run.checkpoints_dir / options.run.name)
    photographs = read_photographs(
        paths[: data.max_dataset_size],
        smallest=data.crop_size,
        largest=data.load_size,
        threads=data.num_threads,
    )
    return CropLoader(
        photographs,
        size=data.crop_size,
        batch_size=data.batch_size,
        generator=make_generator(options.run.seed, "crops"),
        pin_memory=accelerator.device.type == "cuda",
    )


def _build_learner(options: StyleTrainOptions, accelerator: Accelerator) -> StyleLearner:
    seed, losses, schedule = options.run.seed, options.losses, options.schedule
    names = name_styles(options.data.styles)
    network = StyleNetwork(
        _architecture(options), len(names), generator=make_generator(seed, "network")
    )
    content, style = LITE.content_layers, LITE.style_layers
    features = make_network("lite", layers=[*content, *style]).network.to(accelerator.device)
    objective = StyleObjective(
        features,
        [each.to(accelerator.device) for each in read_paintings(options.data)],
        content_layers=content,
        style_layers=style,
        weights=LossWeights(
            content=losses.content_weight,
            style=losses.style_weight,
            variation=losses.tv_weight,
            patches=losses.patch_weight,
            chroma=losses.chroma_weight,
        ),
        size=options.data.crop_size,
        generator=make_generator(seed, "losses"),
    )
    return StyleLearner(
        network.to(accelerator.device),
        objective,
        styles=names,
        accelerator=accelerator,
        lr=schedule.lr,
        ema_decay=schedule.ema_decay,
        max_images=schedule.max_images,
        max_minutes=schedule.max_minutes,
    )


def _export(
    learner: StyleLearner,
    architecture: GeneratorArchitecture,
    style_size_px: int,
    directory: RunDirectory,
    label: str,
    progress: Progress,
) -> None:
    """Write the model of the run; of other labels than ``latest``, nothing."""
    if label != "latest":
        return
    provenance = {
        "impasto": version("impasto"),
        "styles": json.dumps(list(learner.styles)),
        "what": "pictures into the styles of single paintings",
        "style_size": str(style_size_px),
        # Of the shorter side: a little finer than the painting's own, not to enlarge too much.
        "strokes_at_px": str(style_size_px),
        "weights": "averaged",
        "images": str(progress.images),
    }
    save_generator(styles_file(directory.path), learner.weights(), architecture, provenance)
