"""`giverny weights`: find, check and pack the weights of feature networks."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from giverny.options.command_line import CommandParser
from giverny.options.errors import CheckpointError
from giverny.options.weights import WeightsOptions

if TYPE_CHECKING:
    from giverny.gatys.weight_files import WeightsFile

__all__ = ["main"]

_EPILOG = """actions:
  list    what is found where, and whether its SHA-256 is right
  check   what a file holds; exit status 1 if it is damaged or something else
  pack    write the convolutions alone: 52 MB of VGG19's 548

examples:
  giverny weights list
  giverny weights check vgg19-dcbb9e9d.pth
  giverny weights pack vgg19-dcbb9e9d.pth --output vgg19.safetensors
"""


def main(argv: Sequence[str]) -> int:
    """Parse, do, report; return the exit status."""
    parser = CommandParser(
        "giverny weights",
        WeightsOptions,
        description="Find, check and pack the weights of feature networks. Downloads nothing.",
        epilog=_EPILOG,
        positionals=" {list,check,pack} [FILE]",
        skip={"action", "file"},
    )
    parser.add_argument("action", choices=["list", "check", "pack"], help="list, check or pack")
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="weights file")
    options = parser.make(WeightsOptions, parser.parse(argv))
    if options.file is None:
        return _list()
    return _check(options.file) if options.action == "check" else _pack(options.file, options)


def _list() -> int:
    from giverny.gatys.weights import (  # noqa: PLC0415 - torch, after parsing
        PUBLISHED,
        candidates,
        find_weights,
        missing_message,
    )

    status = 0
    for depth in sorted(PUBLISHED, reverse=True):
        for path in candidates(depth):
            try:
                if path.is_file():
                    _check(path)
            except CheckpointError as error:
                print(error)
                status = 1
        if find_weights(depth) is None:
            print(f"VGG{depth}: no weights")
    if find_weights() is None:
        print(f"\n{missing_message()}")
    return status


def _check(path: Path) -> int:
    from giverny.gatys.weight_files import read_weights  # noqa: PLC0415

    _print(read_weights(path))
    return 0


def _pack(path: Path, options: WeightsOptions) -> int:
    from giverny.gatys.weights import pack  # noqa: PLC0415

    _print(pack(path, options.output, last=options.last_layer))
    return 0


def _print(file: "WeightsFile") -> None:
    print(f"{file.path}: {file}")
    for name, value in file.provenance.items():
        if value:
            print(f"  {name}: {value}")
    for note in file.notes:
        print(f"  {note}")
