"""`giverny train`: train a CycleGAN on two folders of pictures."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from jsonargparse import Namespace

from giverny.options.command_line import CommandParser
from giverny.options.errors import GivernyError
from giverny.options.run import RunOptions
from giverny.options.sections import ABSENT, difference, flatten
from giverny.options.train import TrainOptions
from giverny.runs.directory import RunDirectory

if TYPE_CHECKING:
    from giverny.cyclegan.training import TrainResult

__all__ = ["main"]

_CONTROL = ("resume", "allow_changes")

_EPILOG = """examples:
  giverny train --dataroot datasets/monet2photo --name monet
  giverny train --config tiny --folder_A paintings --folder_B photos --name try
  giverny train --resume --name monet
  giverny train --resume --name monet --n_epochs_decay 200
"""


def main(argv: Sequence[str]) -> int:
    """Parse, train, report; return the exit status."""
    options, control, changes = _parse(argv)
    for name, (old, new) in changes.items():
        if old == ABSENT:  # the run is older than the option
            continue
        print(f"changed: {name}: {old} -> {new}", file=sys.stderr)

    from giverny.cyclegan.training import train  # noqa: PLC0415 - torch, after parsing
    from giverny.runs.processes import first_to_speak, leave_processes  # noqa: PLC0415

    try:
        result = train(options, resume=control["resume"], allow_changes=control["allow_changes"])
    except GivernyError as error:
        if first_to_speak():
            raise
        return error.exit_status
    leave_processes()
    if result.is_main_process:
        _report(result, options.run.name)
    return 0 if result.signal is None else 128 + result.signal


def _report(result: "TrainResult", name: str) -> None:
    """Say how it ended and what comes next."""
    if result.unreadable:
        print(f"{len(result.unreadable)} pictures could not be read and were passed over")
    if result.signal is not None:
        folder = result.directory.parent
        where = "" if folder == Path("checkpoints") else f" --checkpoints_dir {folder}"
        print(
            f"stopped at image {result.progress.images}; saved in {result.directory}. "
            f"Continue with: giverny train --resume --name {name}{where}"
        )
    else:
        print(f"trained: {result.directory} ({result.progress.images} images)")
        print(f"translate with: giverny translate PHOTOS --model {result.directory} --output DIR")


def _parse(
    argv: Sequence[str],
) -> tuple[TrainOptions, dict[str, bool], dict[str, tuple[object, object]]]:
    """Return the options, the control words, and what a resumed run changes."""
    parser = _parser()
    parsed = parser.parse(argv)
    stored = None
    if parsed.resume:
        # What the run was started with becomes the default, so only changes need be given.
        run = RunOptions(name=parsed.name, checkpoints_dir=Path(parsed.checkpoints_dir))
        stored = RunDirectory(run.checkpoints_dir / run.name).read_options()
        parser = _parser()
        parser.set_stored(stored)
        parsed = parser.parse(argv)
    options = parser.make(TrainOptions, parsed, drop=_CONTROL)
    changes = difference(stored, flatten(options)) if stored else {}
    return options, _control(parsed), changes


def _parser() -> CommandParser:
    parser = CommandParser(
        "giverny train",
        TrainOptions,
        description="Train a CycleGAN on two folders of unpaired pictures.",
        epilog=_EPILOG,
        presets=True,
    )
    parser.add_argument(
        "--resume", action="store_true", help="continue the run NAME exactly where it was saved"
    )
    parser.add_argument(
        "--allow_changes",
        action="store_true",
        help="resume although options differ from those of the run",
    )
    return parser


def _control(parsed: Namespace) -> dict[str, bool]:
    return {name: bool(parsed[name]) for name in _CONTROL}
