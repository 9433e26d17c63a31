"""Generator weights on disk: Impasto's safetensors, and the reference implementation's ``.pth``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from impasto.cyclegan.architecture import GeneratorArchitecture, detect_architecture
from impasto.cyclegan.networks import Generator, load_weights
from impasto.options.errors import CheckpointError
from impasto.options.fields import MOST_BENT_PX
from impasto.runs.state import load_tensors, save_safetensors

__all__ = ["LoadedGenerator", "load_generator", "read_weights", "save_generator"]

# What nn.DataParallel, DistributedDataParallel and torch.compile put before the names.
_PREFIXES = ("module.", "_orig_mod.")
_SHOWN = 4  # parts of a checkpoint that are named in a message
_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


@dataclass(frozen=True, kw_only=True)
class LoadedGenerator:
    """A generator read from a file, and what had to be done to its weights.

    Attributes:
        network: generator network, on the CPU, in evaluation mode.
        architecture: architecture of the generator.
        notes: dropped or renamed weights, in words, one line each.
        provenance: metadata of the file about its origin (direction, epoch, images), if any.
    """

    network: Generator = field(repr=False)
    architecture: GeneratorArchitecture
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def grid_bend_px(self) -> float:
        """Strength of the warp in pixels, from the generator's file or run; 0 if neither has one.

        Raises:
            CheckpointError: the value is not a length from 0 to 3.5.
        """
        text = self.provenance.get("grid_bend_px", "0")
        try:
            length = float(text)
        except ValueError:
            length = -1.0
        if not 0 <= length <= MOST_BENT_PX:
            raise CheckpointError(
                f"its metadata ask for a grid_bend_px of {text!r}, expected 0 to {MOST_BENT_PX}"
            )
        return length


def load_generator(path: Path) -> LoadedGenerator:
    """Read a generator from a ``.safetensors`` or ``.pth`` file.

    Reference files of every age load: prefixes of parallel or compiled models are removed, and
    the running statistics that InstanceNorm kept until 2018 (issue 461 of the reference) are
    dropped, since neither implementation uses them. Blocks, filters, dropout, normalization and
    upsampling are read off the names and shapes.

    Args:
        path: path of the file.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, or does not hold a generator; the
            message names the weights that do not fit or are not finite.
    """
    try:
        weights, metadata = _read(path)
        weights, notes = _clean(weights)
        described = metadata.get("architecture")
        architecture = (
            GeneratorArchitecture.from_json(described)
            if described
            else detect_architecture(weights)
        )
        network = _build(architecture)
        load_weights(network, weights, what=f"a generator ({architecture})")
        _check_finite(weights)
        loaded = LoadedGenerator(
            network=network.eval(),
            architecture=architecture,
            notes=tuple(notes),
            provenance={key: value for key, value in metadata.items() if key != "architecture"},
        )
        loaded.grid_bend_px  # noqa: B018 - refused here, where the file's name is known
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return loaded


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the weights of any network, such as a discriminator, cleaned as those of generators.

    Args:
        path: ``.pth`` or ``.safetensors`` file.

    Returns:
        The state_dict, on the CPU.

    Raises:
        CheckpointError: the file is missing, damaged or unsafe, holds something else, or a weight
            is not finite.
    """
    try:
        weights, _ = _clean(_read(path)[0])
        _check_finite(weights)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return weights


def save_generator(
    path: Path,
    weights: Mapping[str, Tensor],
    architecture: GeneratorArchitecture,
    provenance: Mapping[str, str],
) -> None:
    """Write a generator atomically as safetensors with its architecture in the metadata.

    Args:
        path: ``.safetensors`` file to write.
        weights: state_dict of the generator.
        architecture: architecture of the generator.
        provenance: origin of the generator (direction, epoch, images, version), as texts.

    Raises:
        OSError: the file cannot be written.
    """
    save_safetensors(path, weights, {**provenance, "architecture": architecture.to_json()})


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a file and our metadata."""
    loaded, metadata = load_tensors(path)
    if not isinstance(loaded, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in loaded.items()
    ):
        raise CheckpointError(f"expected a state_dict of tensors{_where_weights_are(path, loaded)}")
    return dict(loaded), metadata


def _where_weights_are(path: Path, loaded: Any) -> str:
    """Say in words what to do with a file that holds weights deeper inside, or nothing."""
    if path.name == "state.pt":
        return "; give the run's folder instead"
    if not isinstance(loaded, dict):
        return f", got {type(loaded).__name__}"
    holders = [
        key
        for key, value in loaded.items()
        if isinstance(value, dict) and any(isinstance(item, Tensor) for item in value.values())
    ]
    if not holders:
        return ""
    names = ", ".join(map(repr, holders[:_SHOWN])) + (", ..." if len(holders) > _SHOWN else "")
    example = f"torch.load('{path.name}', weights_only=True)[{holders[0]!r}]"
    return (
        f"; it is a training's checkpoint, which holds some under {names}; write the one of the "
        f"generator into a file of its own, such as torch.save({example}, 'generator.pth')"
    )


def _build(architecture: GeneratorArchitecture) -> Generator:
    """Make the network that a file describes.

    Raises:
        CheckpointError: there is no such network.
    """
    try:
        return architecture.build()
    except (RuntimeError, TypeError, ValueError) as error:
        raise CheckpointError(
            f"describes no possible generator, {architecture}: {error}"
        ) from error


def _check_finite(weights: Mapping[str, Tensor]) -> None:
    """Refuse weights of which all translations would be black.

    Raises:
        CheckpointError: a value is NaN or infinite; the message names the first such tensor.
    """
    for name, tensor in weights.items():
        finite = tensor.isfinite()
        if not finite.all():
            count = tensor.numel() - int(finite.sum())
            raise CheckpointError(
                f"{count} of the {tensor.numel()} values of {name} are not finite numbers (NaN or "
                "infinite): its training had failed, or the file is damaged; take another epoch or "
                "file"
            )


def _clean(weights: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], list[str]]:
    """Remove prefixes and stale statistics; return the rest and what was done, in words."""
    notes, cleaned = [], dict(weights)
    while found := [p for p in _PREFIXES if cleaned and all(k.startswith(p) for k in cleaned)]:
        notes.append(f"removed the prefix {found[0]!r} from {len(cleaned)} names")
        cleaned = {key.removeprefix(found[0]): value for key, value in cleaned.items()}
    stale = [
        key
        for key in cleaned
        if key.endswith(_STATISTICS) and f"{key.rpartition('.')[0]}.weight" not in cleaned
    ]
    if stale:
        notes.append(
            f"dropped {len(stale)} running statistics of InstanceNorm, which no version uses: "
            f"{stale[0]}, ..."
        )
    return {key: value for key, value in cleaned.items() if key not in stale}, notes
