"""Which generators there are: the shipped ones, and those in folders."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from giverny.cyclegan.checkpoint import GENERATOR_OF
from giverny.cyclegan.shipped import SHIPPED
from giverny.cyclegan.weights import load_generator
from giverny.options.errors import CheckpointError, FolderError

__all__ = ["KnownModel", "models_in", "shipped_models"]


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """One generator file.

    Attributes:
        name: what ``--model`` takes, as one types it.
        path: the file.
        what: direction, network and provenance in words; what is wrong with a damaged file.
        usable: whether it can be loaded.
    """

    name: str
    path: Path
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
    latest = [
        (path, direction)
        for direction, name in GENERATOR_OF.items()
        if (path := _latest(run, name)) is not None
    ]
    for path, direction in latest:
        yield _describe(path, name=f"{shlex.quote(str(run))} --direction {direction}")
    if not latest:
        for path in sorted([*run.glob("*_net_G*.pth"), *run.glob("*.safetensors")]):
            known = _describe(path, name=shlex.quote(str(path)))
            if known.usable or path.suffix == ".pth":
                yield known


def _latest(run: Path, name: str) -> Path | None:
    candidates = (run / f"{name}.safetensors", run / f"latest_net_{name}.pth")
    return next((path for path in candidates if path.is_file()), None)


def _describe(path: Path, *, name: str, what: str = "") -> KnownModel:
    try:
        loaded = load_generator(path)
    except CheckpointError as error:
        reason = str(error).removeprefix(f"{path}: ")
        return KnownModel(name=name, path=path, what=f"cannot be used: {reason}", usable=False)
    images = loaded.provenance.get("images")
    seen = f", trained on {int(images):,} images" if images and images.isdecimal() else ""
    size = f"{path.stat().st_size / 1e6:.1f} MB"
    return KnownModel(name=name, path=path, what=f"{what}{loaded.architecture}, {size}{seen}")
