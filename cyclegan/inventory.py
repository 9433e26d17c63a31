"""Which generators there are: the shipped ones, and those in folders."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from impasto.cyclegan.architecture import detect_architecture
from impasto.cyclegan.checkpoint import GENERATOR_OF, find_generator, kept_epochs
from impasto.cyclegan.shipped import SHIPPED
from impasto.options.errors import CheckpointError, FolderError, ImpastoError
from impasto.runs.state import DAMAGED

__all__ = ["KnownModel", "models_in", "shipped_models"]


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """One generator.

    Attributes:
        name: what ``--model`` takes, as one types it.
        what: direction, network and provenance in words; what is wrong with a damaged file.
        usable: whether it can be loaded.
    """

    name: str
    what: str
    usable: bool = True


def shipped_models() -> list[KnownModel]:
    """Return the generators inside the package."""
    return [
        _describe(model.path, name=model.name, what=f"{model.what}; ") for model in SHIPPED.values()
    ]


def models_in(folder: Path) -> list[KnownModel]:
    """Return the generators of all runs in a folder, or of one run, and single files.

    Args:
        folder: of runs (``checkpoints``), a run, or any folder with generator files.

    Raises:
        FolderError: there is no such folder, or it cannot be listed.
    """
    if not folder.is_dir():
        raise FolderError(folder, "no such folder; give a folder of runs, such as checkpoints")
    try:
        runs = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        return [model for run in runs for model in _of_run(run)]
    except OSError as error:
        raise FolderError(folder, f"cannot be listed ({error.strerror})") from error


def _of_run(run: Path) -> Iterator[KnownModel]:
    """Yield the latest generators of a run, or the single files of a folder."""
    # Where a shipped model has that name, only the whole path leads here.
    run = run.absolute() if str(run) in SHIPPED else run
    # A published model is one generator without a letter: both directions would mean the same file.
    ways = GENERATOR_OF if any(run.glob("*G_[AB]*")) else ()
    kept = [direction for direction in ways if "latest" in kept_epochs(run, direction)]
    for direction in kept:
        name = f"{shlex.quote(str(run))} --direction {direction}"
        yield _describe(run, name=name, direction=direction)
    if not kept:
        for path in sorted([*run.glob("*_net_G*.pth"), *run.glob("*.safetensors")]):
            known = _describe(path, name=shlex.quote(str(path)))
            if known.usable or not _is_something_else(path):
                yield known


def _is_something_else(path: Path) -> bool:
    """Whether it is no weights file, or a whole one of another network, such as a backbone."""
    if path.suffix == ".pth":
        return False  # its name says that it is a generator
    try:
        detect_architecture(load_file(path))
    except CheckpointError:
        return True
    except (*DAMAGED, SafetensorError):
        return path.is_dir()
    return False


def _describe(
    model: Path, *, name: str, direction: str | None = None, what: str = ""
) -> KnownModel:
    """Describe what `impasto translate` would take."""
    try:
        loaded = find_generator(model, direction=direction)
    except ImpastoError as error:
        reason = str(error).removeprefix(f"{model}: ").removeprefix(f"{model}/")
        return KnownModel(name=name, what=f"cannot be used: {reason}", usable=False)
    images = loaded.provenance.get("images")
    seen = f", trained on {int(images):,} images" if images and images.isdecimal() else ""
    size = f"{sum(weights.numel() for weights in loaded.network.parameters()):,} weights"
    return KnownModel(name=name, what=f"{what}{loaded.architecture}, {size}{seen}")
