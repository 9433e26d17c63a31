"""The network files of a run directory."""

from importlib.metadata import version

from torch import Tensor, nn

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.averaging import WeightAverage
from impasto.cyclegan.checkpoint import GENERATOR_OF
from impasto.cyclegan.trainer import Trainer
from impasto.cyclegan.weights import save_generator, save_pth
from impasto.runs.directory import RunDirectory
from impasto.runs.observers import Progress

__all__ = ["save_networks"]


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


def _best(network: nn.Module, average: WeightAverage | None) -> tuple[dict[str, Tensor], str]:
    if average is None:
        return network.state_dict(), "last"
    return average.weights(network), "averaged"
