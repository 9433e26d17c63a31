"""Finding a generator in a run directory."""

import re
from dataclasses import replace
from pathlib import Path

from impasto.cyclegan.shipped import hidden_by_shipped, resolve_model
from impasto.cyclegan.weights import LoadedGenerator, load_generator
from impasto.options.errors import CheckpointError, OptionError
from impasto.runs.directory import RunDirectory

__all__ = ["GENERATOR_OF", "epochs_of", "find_generator", "kept_epochs"]

GENERATOR_OF = {"AtoB": "G_A", "BtoA": "G_B"}
"""The generator of each direction."""


def find_generator(
    model: Path, *, direction: str | None = None, epoch: str = "latest"
) -> LoadedGenerator:
    """Load the generator that a user means.

    Args:
        model: a run directory, one generator's file, or a name; see
            :func:`~impasto.cyclegan.shipped.resolve_model`.
        direction: ``AtoB`` or ``BtoA``; None is ``AtoB`` of a run, and whatever a file says.
        epoch: ``latest`` or a kept epoch, of a run directory.

    Raises:
        CheckpointError: there is no such generator, or it cannot be loaded.
        OptionError: the file says that it translates the other way.
    """
    own, model = hidden_by_shipped(model), resolve_model(model)
    if not model.is_dir():
        loaded = _load_for_pictures(model)
        if own is not None:
            note = f"{own} is another model than the {own.name} that ships with Impasto, taken here"
            loaded = replace(loaded, notes=(*loaded.notes, note))
        says = loaded.provenance.get("direction", direction)
        if direction not in {None, says}:
            raise OptionError("direction", f"{direction}, but {model} translates {says}")
        return loaded
    name, directory = GENERATOR_OF[direction or "AtoB"], RunDirectory(model)
    latest = [model / f"{name}.safetensors"] if epoch == "latest" else []
    candidates = [
        *latest,
        directory.network_file(epoch, f"{name}_ema"),
        directory.network_file(epoch, name),
        # The published models of the reference hold one generator, without a letter.
        directory.network_file(epoch, "G"),
    ]
    for path in candidates:
        if path.is_file():
            return _as_its_run_says(_load_for_pictures(path), directory)
    kept = sorted(file.name for file in model.glob(f"*_net_{name}.pth"))
    raise CheckpointError(
        f"{model}: holds no generator {name} of epoch {epoch}; "
        f"expected {' or '.join(path.name for path in candidates)}, "
        f"found {', '.join(kept) or 'no network files'}"
    )


def _load_for_pictures(path: Path) -> LoadedGenerator:
    loaded = load_generator(path)
    channels = loaded.architecture.in_channels, loaded.architecture.out_channels
    if channels != (3, 3):
        raise CheckpointError(
            f"{path}: takes {channels[0]} and makes {channels[1]} channels; expected 3 and 3, "
            "since Impasto translates RGB pictures"
        )
    return loaded


def _as_its_run_says(loaded: LoadedGenerator, directory: RunDirectory) -> LoadedGenerator:
    """Add how far to bend pictures for it, which a ``.pth`` cannot say."""
    if "grid_bend_px" in loaded.provenance or not directory.options_file.is_file():
        return loaded
    bend_px = str(directory.read_options().get("grid_bend_px", 0.0))
    return replace(loaded, provenance={**loaded.provenance, "grid_bend_px": bend_px})


def kept_epochs(run: Path, direction: str) -> list[str]:
    """Return the epochs whose weights a run has kept, in their order, then ``latest`` if it has."""
    # The published models of the reference hold one generator, without a letter.
    found = epochs_of(run, GENERATOR_OF[direction]) | epochs_of(run, "G")
    latest = sorted(found & {"latest"})
    return [*sorted(found - {"latest"}, key=int), *latest]


def epochs_of(run: Path, generator: str) -> set[str]:
    """Return the epochs, and ``latest``, of which a run has kept a generator such as ``G_A``."""
    pattern = re.compile(rf"(\d+|latest)_net_{generator}(?:_ema)?\.pth")
    found = {match[1] for path in run.iterdir() if (match := pattern.fullmatch(path.name))}
    return found | ({"latest"} if (run / f"{generator}.safetensors").is_file() else set())
