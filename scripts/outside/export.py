"""`impasto export`: write a model as ONNX, TorchScript or a program of torch.export."""

import sys
from collections.abc import Sequence
from pathlib import Path

from impasto.options.command_line import CommandParser
from impasto.options.translate import ExportOptions

__all__ = ["main"]

_EPILOG = """examples:
  impasto export monet
  impasto export checkpoints/mine --direction BtoA --format torchscript --output mine.pt
  impasto export paintings --style great_wave --output great_wave.onnx
  impasto translate photos --model monet.onnx --output monets
"""


def main(argv: Sequence[str]) -> int:
    """Parse, export, report; return the exit status."""
    parser = CommandParser(
        "impasto export",
        ExportOptions,
        description="Write a trained generator as one graph that other programs can run, for "
        "pictures of any size. Before the file is written, it is compared with impasto translate.",
        epilog=_EPILOG,
        positionals="MODEL",
    )
    parser.add_argument(
        "model", metavar="MODEL", help="model to export, as impasto translate --model takes it"
    )
    parsed = parser.parse(argv)
    options = parser.make(ExportOptions, parsed, drop=["model"])
    model = Path(parsed.model)

    from impasto.cyclegan.models import refuse_choices  # noqa: PLC0415

    refuse_choices(model, direction=options.direction, epoch=options.epoch)  # before torch

    from impasto.cyclegan.jobs.export import export  # noqa: PLC0415 - torch, after parsing

    made = export(model, options, on_note=lambda words: print(words, file=sys.stderr))
    for note in made.generator.notes:
        print(f"note: {note}", file=sys.stderr)
    for height, width in made.undetermined:
        print(
            f"note: of a picture of one color, as of {width} x {height} pixels, this network makes "
            "something else with every way of rounding, so that none was compared",
            file=sys.stderr,
        )
    compared = (
        f"{len(made.sizes)} sizes from {_spelled(made.sizes[0])} to {_spelled(made.sizes[-1])}"
    )
    print(
        f"exported: {made.path} ({made.path.stat().st_size / 1e6:.1f} MB); on pictures of "
        f"{compared} pixels it differs from torch by {made.levels} of 255 levels at most"
    )
    return 0


def _spelled(size: tuple[int, int]) -> str:
    return f"{size[1]} x {size[0]}"
