"""Weights of the feature network: where they are, loading them, packing them. Never downloads."""

import json
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor

from impasto.data.atomic import atomic_path, write_error
from impasto.gatys.backbones import Vgg
from impasto.gatys.layers import convolution_names, layer_names
from impasto.gatys.weight_files import (
    METADATA_KEY,
    TRAINED_HERE,
    WeightsFile,
    read_weights,
    tensors_sha256,
)
from impasto.options.errors import CheckpointError
from impasto.options.fields import nearest

__all__ = [
    "PUBLISHED",
    "Published",
    "candidates",
    "find_weights",
    "load_weights",
    "missing_message",
    "pack",
    "weights_folder",
]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file that torchvision publishes.

    Attributes:
        name: of the file; its hex digits are the beginning of its SHA-256.
        megabytes: its size.
    """

    name: str
    megabytes: int

    @property
    def url(self) -> str:
        """Where it can be downloaded."""
        return f"https://download.pytorch.org/models/{self.name}"


PUBLISHED = {
    16: Published(name="vgg16-397923af.pth", megabytes=528),
    19: Published(name="vgg19-dcbb9e9d.pth", megabytes=548),
}
"""Depth to torchvision's weights, trained on ImageNet (``VGG19_Weights.IMAGENET1K_V1``)."""


def weights_folder() -> Path:
    """Return torchvision's cache, ``$TORCH_HOME/hub/checkpoints`` or its default."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def candidates(depth: int = 19) -> tuple[Path, ...]:
    """Return where weights are found without being named: torchvision's file, and a packed one."""
    folder = weights_folder()
    return folder / PUBLISHED[depth].name, folder / f"vgg{depth}-features.safetensors"


def find_weights(depth: int = 19, file: Path | None = None) -> Path | None:
    """Return the file with the weights of a network, or None if there is none.

    Args:
        depth: 16 or 19.
        file: the file that the user named, which then must exist; otherwise torchvision's cache
            is looked through, for its own file and for a packed one. Nothing is downloaded.

    Raises:
        CheckpointError: there is no such file.
    """
    if file is not None:
        if not file.is_file():
            raise CheckpointError(f"{file}: no such file; expected VGG{depth} weights")
        return file
    return next((path for path in candidates(depth) if path.is_file()), None)


def load_weights(network: Vgg, path: Path) -> WeightsFile:
    """Fill a network from a file; see :func:`~impasto.gatys.weight_files.read_weights`.

    If the file ends early, as a packed one does, so does the network: its ``layers`` become those
    that can be computed.

    Args:
        network: of the same depth and width.
        path: the file.

    Returns:
        What the file holds.

    Raises:
        CheckpointError: the file is missing, damaged, or does not fit the network.
    """
    file = read_weights(path)
    expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    if list(file.weights) != list(expected)[: len(file.weights)]:
        raise CheckpointError(
            f"{path}: holds VGG{file.depth} up to {file.last}, and the network is "
            f"VGG{network.depth} up to {network.layers[-1]}"
        )
    for name, value in file.weights.items():
        if tuple(value.shape) != expected[name]:
            raise CheckpointError(
                f"{path}: {name} has shape {tuple(value.shape)}, expected {expected[name]} "
                f"(the file is {file.width:g} times as wide as the published network, the "
                f"network {network.width:g} times)"
            )
    network.truncate(_computable(network, len(file.weights) // 2))
    network.load_state_dict(dict(file.weights))
    return file


def pack(path: Path, output: Path | None = None, *, last: str = "conv5_1") -> WeightsFile:
    """Write the convolutions alone as safetensors, with their provenance, atomically.

    Through ``conv5_1``, the deepest that Gatys et al. 2016 use, VGG19 takes 52 MB of the 548; all
    16 convolutions take 80 MB.

    Args:
        path: what to read.
        output: the ``.safetensors`` to write; its folder is made. Unless given, it is where
            :func:`find_weights` looks, which is for the published network alone.
        last: last convolution to keep.

    Returns:
        What was written, read back.

    Raises:
        CheckpointError: the file cannot be used, does not reach ``last``, or is the output; or it
            is another network than the published one, and there is no ``output``.
        OSError: the output cannot be written.
    """
    file = read_weights(path)
    if output is None:
        _require_published(file)
        output = candidates(file.depth)[1]
    if output.suffix != ".safetensors":
        raise CheckpointError(f"{output}: expected a name that ends in .safetensors")
    if output.exists() and output.samefile(path):
        raise CheckpointError(f"{output}: is the file to read; name another output")
    names = convolution_names(file.depth)
    held = names[: names.index(file.last) + 1]
    if last not in held:
        raise CheckpointError(
            f"{path}: has no convolution {last}; it holds conv1_1 to {file.last}"
            f"{nearest(last, held)}"
        )
    kept = dict(list(file.weights.items())[: 2 * (held.index(last) + 1)])
    kind = f"convolutions of VGG{file.depth}, conv1_1 to {last}"
    provenance = {
        **file.provenance,
        "kind": f"{kind}, {TRAINED_HERE}" if file.trained_here else kind,
        "source": path.name,
        "source_sha256": file.sha256,
        "source_verified": file.verified,
        "notes": "; ".join(file.notes),
        "tensors_sha256": tensors_sha256(kept),
        "packed_by": f"Impasto {version('impasto')}",
    }
    _write(output, kept, provenance)
    return read_weights(output)


def _require_published(file: WeightsFile) -> None:
    """Refuse what every later run would take for the published weights."""
    if not file.trained_here and file.width == 1:
        return
    what = "your own network" if file.trained_here else f"a network {file.width:g} times as wide"
    raise CheckpointError(
        f"{file.path}: is {what}, and without --output it would be taken for the published "
        f"VGG{file.depth} from then on; give --output, and use it as --weights"
    )


def _write(output: Path, weights: dict[str, Tensor], provenance: dict[str, str]) -> None:
    metadata = {"format": "pt", METADATA_KEY: json.dumps(provenance, sort_keys=True)}
    output.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(output) as temporary:
        try:
            save_file(weights, temporary, metadata=metadata)
        except SafetensorError as error:
            raise write_error(output, error) from error


def missing_message(depth: int = 19) -> str:
    """Say that there are no weights, how to get them, and what works without."""
    published, folder = PUBLISHED[depth], weights_folder()
    digits = published.name.split("-")[1].removesuffix(".pth")
    return (
        f"No weights of VGG{depth} were found in {folder}; Impasto never downloads them.\n"
        f"The file is torchvision's {published.name} ({published.megabytes} MB; its SHA-256 "
        f"begins with {digits}). On a machine with a network:\n"
        f"  curl --fail --location --remote-name {published.url}\n"
        f"Put it into {folder}, or give it as --weights FILE. To carry less:\n"
        f"  impasto weights pack {published.name} --output {candidates(depth)[1].name}\n"
        f"writes the convolutions alone, a tenth of it, which serves just as well there.\n"
        "Without a file, --preset builtin works now: it needs no network."
    )


def _computable(network: Vgg, convolutions: int) -> str:
    """Return the last layer that needs no more than the first so many convolutions."""
    names = layer_names(network.depth)
    after = convolution_names(network.depth)[convolutions:]
    return names[names.index(after[0]) - 1] if after else names[-1]
