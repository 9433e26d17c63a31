"""`impasto backbone train`: train an own VGG as a classifier, for `impasto stylize`."""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from impasto.options.backbone import BackboneOptions
from impasto.options.command_line import CommandParser
from impasto.scripts._training import add_resuming, parse_training, run_training

if TYPE_CHECKING:
    from impasto.runs.job import TrainResult
    from impasto.runs.observers import Observer

__all__ = ["main"]

_EPILOG = """examples:
  impasto backbone train --dataroot animals --name animals
  impasto backbone train --config small --dataroot monet2photo --name monet \\
      --classes monet=trainA photo=trainB --val_classes monet=testA photo=testB
  impasto backbone train --dataset cifar100 --dataroot datasets --mixed_precision bf16
  impasto backbone train --resume --name monet
  impasto stylize photo.jpg starry.jpg --weights checkpoints/monet/backbone.safetensors
"""


def main(argv: Sequence[str]) -> int:
    """Parse, train, report; return the exit status."""
    words = parse_training(_parser, BackboneOptions, argv)
    data = words.options.data
    if words.resume:
        data.require_unmoved()
    if data.dataset == "folder" and not data.classes:
        from impasto.data.files import find_class_folders  # noqa: PLC0415 - after parsing

        find_class_folders(data.dataroot)  # a wrong folder, before the seconds that torch takes

    def start(observers: "Sequence[Observer]") -> "TrainResult":
        from impasto.gatys.classifier.train import train_backbone  # noqa: PLC0415 - torch

        return train_backbone(
            words.options,
            resume=words.resume,
            allow_changes=words.allow_changes,
            observers=observers,
        )

    report = partial(_report, words.options)
    return run_training(
        start,
        command="backbone train",
        changes=words.changes,
        report=report,
        note=words.note,
        longer="raise --n_epochs, or --patience where it ended early",
    )


def _report(options: BackboneOptions, result: "TrainResult") -> None:
    """Say how well it went, and what comes next."""
    from impasto.gatys.classifier.train import backbone_file  # noqa: PLC0415 - torch
    from impasto.gatys.features.weight_files import read_weights  # noqa: PLC0415

    file = backbone_file(result.directory)
    said = read_weights(file).provenance
    schedule, early = options.schedule, ""
    if result.progress.total_epochs < schedule.n_epochs:
        count = "1 epoch" if schedule.patience == 1 else f"{schedule.patience} epochs"
        early = f"; the held-out loss did not fall for {count}"
    images = result.progress.images
    if images != result.first_image:
        print(f"trained: {result.directory} ({images} images{early})")
    if "top1_val" in said:
        top5 = f", top-5 {float(said['top5_val']):.1%}" if "top5_val" in said else ""
        print(
            f"best epoch {said['epoch']}: held out, top-1 {float(said['top1_val']):.1%}{top5}, "
            f"cross-entropy {float(said['loss_val']):.3f}"
        )
    print(f"stylize with: impasto stylize PHOTO STYLE --weights {file} --output FILE")


def _parser() -> CommandParser:
    parser = CommandParser(
        "impasto backbone train",
        BackboneOptions,
        description="Train a VGG16 or VGG19 of your own as a picture classifier; it then serves as "
        "the feature network of impasto stylize.",
        epilog=_EPILOG,
        skip={"download"},
        presets="backbones",
    )
    parser.add_switch(
        "data",
        "download",
        "download cifar100 or caltech101 if it is not in DATAROOT; otherwise nothing is downloaded",
    )
    add_resuming(parser)
    return parser
