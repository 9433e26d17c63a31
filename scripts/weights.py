"""`impasto weights`: find, check and pack the weights of feature networks; list layers."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.options.backbone import WeightsOptions
from impasto.options.command_line import CommandParser
from impasto.options.errors import CheckpointError

if TYPE_CHECKING:
    from impasto.gatys.features.weight_files import WeightsFile

__all__ = ["main"]

_EPILOG = """actions:
  list    list the weights that are found, where they are, and whether their SHA-256 is right
  check   print what FILE holds; the exit status is 1 if it is damaged or no weights file
  pack    copy the convolutions of VGG into a small file: 52 MB of the 548 MB of VGG19
  layers  list the layers of MODEL, for --style_layers; without MODEL, list all networks

examples:
  impasto weights list
  impasto weights check vgg19-dcbb9e9d.pth
  impasto weights pack vgg19-dcbb9e9d.pth --output vgg19.safetensors
  impasto weights layers resnet50
"""


def main(argv: Sequence[str]) -> int:
    """Parse, do, report; return the exit status."""
    actions = ["list", "check", "pack", "layers"]
    parser = CommandParser(
        "impasto weights",
        WeightsOptions,
        description="Find, check and pack the weights of feature networks, and list their layers. "
        "Nothing is downloaded.",
        epilog=_EPILOG,
        positionals=f"{{{','.join(actions)}}} [FILE | MODEL]",
        skip={"action", "file", "model"},
    )
    parser.add_argument("action", choices=actions, help="what to do; see below")
    parser.add_argument(
        "what",
        nargs="?",
        metavar="FILE | MODEL",
        help="weights file to check or pack, or network whose layers are listed",
    )
    parsed = parser.parse(argv)
    if parsed.action in {"check", "pack"} and parsed.what is None:
        parser.error(f"missing: FILE, the weights file to {parsed.action}")
    if parsed.action == "layers":
        parsed.model = parsed.what or ""
    elif parsed.what is not None:
        parsed.file = Path(parsed.what)
    options = parser.make(WeightsOptions, parsed, drop=["what"])
    if options.action == "layers":
        return _layers(options.model)
    if options.file is None:
        return _list()
    if not options.file.is_file():
        what = (
            "is a folder; expected a file of weights" if options.file.is_dir() else "no such file"
        )
        raise CheckpointError(f"{options.file}: {what}")
    packed = _check(options.file) if options.action == "check" else _pack(options.file, options)
    print(f"next: impasto stylize PHOTO STYLE --weights {shlex.quote(str(packed))} --output FILE")
    return 0


def _list() -> int:
    from impasto.gatys.features.lite import find_lite_weights  # noqa: PLC0415
    from impasto.gatys.features.make import describe_lite  # noqa: PLC0415
    from impasto.gatys.features.weights import (  # noqa: PLC0415
        PUBLISHED,
        cached_files,
        candidates,
        find_weights,
        missing_message,
    )

    status = 0
    vgg = {path: depth for depth in sorted(PUBLISHED, reverse=True) for path in candidates(depth)}
    for path in [*filter(Path.is_file, vgg), *cached_files()]:
        try:
            _check(path)
        except CheckpointError as error:
            print(error)
            status = 1
    for depth in sorted(PUBLISHED, reverse=True):
        if find_weights(depth) is None:
            print(f"VGG{depth}: no weights")
    try:
        print(describe_lite())
    except CheckpointError as error:
        print(error)
        status = 1 if find_lite_weights() else status
    if find_weights() is None:
        print(f"\n{missing_message()}")
    else:
        print("next: impasto stylize PHOTO STYLE --output FILE; it finds them by itself")
    return status


def _check(path: Path) -> Path:
    from impasto.gatys.features.lite import LITE_FILE  # noqa: PLC0415
    from impasto.gatys.features.make import describe_lite  # noqa: PLC0415
    from impasto.gatys.features.weight_files import read_weights  # noqa: PLC0415
    from impasto.gatys.features.weights import load_model, model_of_file  # noqa: PLC0415

    if path.name == LITE_FILE:
        print(describe_lite(path))
    elif model := model_of_file(path):
        print(f"{path}: {load_model(model, path)[1]}")
    else:
        _print(read_weights(path))
    return path


def _layers(name: str) -> int:
    """Print the layers of a network, and where its weights are; or the names of all models."""
    from impasto.gatys.features.graph import model_names  # noqa: PLC0415
    from impasto.gatys.features.make import OWN_NETWORKS, model_of  # noqa: PLC0415
    from impasto.gatys.features.models import layer_table  # noqa: PLC0415
    from impasto.gatys.features.pixels import Pixels  # noqa: PLC0415
    from impasto.gatys.features.vgg import layer_names  # noqa: PLC0415
    from impasto.gatys.features.weights import (  # noqa: PLC0415
        find_model_weights,
        missing_model_message,
    )

    if not name:
        print("\n".join(dict.fromkeys([*OWN_NETWORKS, *model_names()])))
        return 0
    model = model_of(name)
    if name == "lite":
        return _lite_layers()
    if model is None:
        depth = 16 if name == "vgg16" else 19
        print("\n".join(Pixels.layers if name == "pixels" else layer_names(depth)))
        return 0
    path = find_model_weights(model)
    print(layer_table(model))
    print(f"\n{missing_model_message(model)}" if path is None else f"weights: {path}")
    print(f"next: impasto stylize PHOTO STYLE --backbone {name} --style_layers LAYER [LAYER ...]")
    return 0


def _lite_layers() -> int:
    from impasto.gatys.features.lite import (  # noqa: PLC0415
        find_lite_weights,
        lite_layers,
        missing_lite_message,
    )

    print(f"{'layer':18} channels  pixels per position")
    for layer, (channels, stride) in lite_layers().items():
        print(f"{layer:18} {channels:8}  {stride}")
    path = find_lite_weights()
    print(f"\n{missing_lite_message() if path is None else f'weights: {path}'}")
    return 0


def _pack(path: Path, options: WeightsOptions) -> Path:
    from impasto.gatys.features.weights import pack  # noqa: PLC0415

    packed = pack(path, options.output, last=options.last_layer)
    _print(packed)
    return packed.path


def _print(file: "WeightsFile") -> None:
    print(f"{file.path}: {file}")
    for name, value in file.provenance.items():
        if value:
            print(f"  {name}: {value}")
    for note in file.notes:
        print(f"  {note}")
