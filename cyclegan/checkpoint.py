"""The network files of a run directory, and finding a generator in one."""

from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from torch import Tensor, nn

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.averaging import WeightAverage
from impasto.cyclegan.shipped import hidden_by_shipped, resolve_model
from impasto.cyclegan.trainer import Trainer
from impasto.cyclegan.weights import LoadedGenerator, load_generator, save_generator, save_pth
from impasto.options.errors import CheckpointError, OptionError
from impasto.runs.directory import RunDirectory
from impasto.runs.observers import Progress

__all__ = ["GENERATOR_OF", "find_generator", "save_networks"]

GENERATOR_OF = {"AtoB": "G_A", "BtoA": "G_B"}
"""The generator of each direction."""


def save_networks(
    directory: RunDirectory,
    label: str,
    trainer: Trainer,
    architecture: GeneratorArchitecture,
    progress: Progress,
    *,
    grid_bend_px: float = 0.0,
) -> None:
    """Write all networks under the reference's names, and the latest generators as safetensors.

    With running averages, these go to ``<label>_net_G_A_ema.pth`` and into the safetensors.

    Args:
        directory: the run.
        label: ``latest`` or an epoch.
        trainer: holds the networks.
        architecture: of both generators.
        progress: where the training is, for the metadata.
        grid_bend_px: how far pictures shall be bent for the generators, likewise.

    Raises:
        OSError: a file cannot be written.
    """
    for name, weights in trainer.networks.state_dict().items():
        save_pth(directory.network_file(label, name), weights)
    averages = trainer.averages or (None, None)
    for direction, network, average in (
        ("AtoB", trainer.networks.G_A, averages[0]),
        ("BtoA", trainer.networks.G_B, averages[1]),
    ):
        name = GENERATOR_OF[direction]
        weights, kind = _best(network, average)
        if average is not None:
            save_pth(directory.network_file(label, f"{name}_ema"), weights)
        if label == "latest":
            provenance = {
                "impasto": version("impasto"),
                "direction": direction,
                "weights": kind,
                "images": str(progress.images),
                "grid_bend_px": str(grid_bend_px),
            }
            save_generator(
                directory.path / f"{name}.safetensors", weights, architecture, provenance
            )


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


def _best(network: nn.Module, average: WeightAverage | None) -> tuple[dict[str, Tensor], str]:
    if average is None:
        return network.state_dict(), "last"
    return average.weights(network), "averaged"
