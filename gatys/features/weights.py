"""Weights of feature networks: finding, loading and packing them. Nothing is downloaded.

The weights of both kinds of networks, Impasto's VGG and torchvision's models, are searched in
torchvision's cache unless the user names a file. A VGG's file may be packed, which means that it
holds the convolutions only.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.gatys.features.graph import find_anatomy, model_names, stage_of
from impasto.gatys.features.lite import find_lite_weights, missing_lite_message
from impasto.gatys.features.models import ModelNetwork
from impasto.gatys.features.vgg import Vgg, convolution_names, layer_names
from impasto.gatys.features.weight_files import (
    TRAINED_HERE,
    WeightsFile,
    read_tensors,
    read_weights,
    tensors_sha256,
    verify_name,
)
from impasto.options.errors import CheckpointError
from impasto.options.fields import nearest
from impasto.runs.state import refuse_other_files, save_safetensors

__all__ = [
    "PUBLISHED",
    "ModelWeights",
    "Published",
    "cached_files",
    "candidates",
    "find_model_weights",
    "find_weights",
    "load_model",
    "load_weights",
    "missing_message",
    "missing_model_message",
    "model_candidates",
    "model_of_file",
    "pack",
    "weights_folder",
]


@dataclass(frozen=True, kw_only=True)
class Published:
    """A file that torchvision publishes.

    Attributes:
        name: name of the file; the hexadecimal digits in it are the beginning of its SHA-256.
        megabytes: size of the file, in MB.
        weights: torchvision's name of the weights.
    """

    name: str
    megabytes: int
    weights: str

    @property
    def url(self) -> str:
        """URL of the file, as torchvision knows it."""
        from torchvision import models  # noqa: PLC0415 - it takes as long as torch

        return str(models.get_weight(self.weights).url)


PUBLISHED = {
    16: Published(name="vgg16-397923af.pth", megabytes=528, weights="VGG16_Weights.IMAGENET1K_V1"),
    19: Published(name="vgg19-dcbb9e9d.pth", megabytes=548, weights="VGG19_Weights.IMAGENET1K_V1"),
}
"""Depth to torchvision's weights, trained on ImageNet (``VGG19_Weights.IMAGENET1K_V1``)."""


def weights_folder() -> Path:
    """Return torchvision's cache, ``$TORCH_HOME/hub/checkpoints`` or its default."""
    return Path(torch.hub.get_dir()) / "checkpoints"


def candidates(depth: int = 19) -> tuple[Path, ...]:
    """Return the default places of a VGG's weights: torchvision's file, and a packed one."""
    folder = weights_folder()
    return folder / PUBLISHED[depth].name, folder / f"vgg{depth}-features.safetensors"


def find_weights(depth: int = 19, file: Path | None = None) -> Path | None:
    """Return the file with the weights of a network, or None if there is none.

    Args:
        depth: 16 or 19.
        file: file that the user named, which must exist; otherwise torchvision's cache is searched,
            for its own file and for a packed one. Nothing is downloaded.

    Raises:
        CheckpointError: the file that the user named does not exist.
    """
    return _find_file(file, candidates(depth), f"VGG{depth} weights")


def _find_file(named: Path | None, places: Sequence[Path], expected: str) -> Path | None:
    """Return the file that the user named, or the first of some places that is a file."""
    if named is None:
        return next((path for path in places if path.is_file()), None)
    if not named.is_file():
        raise CheckpointError(f"{named}: no such file; expected {expected}")
    return named


def load_weights(network: Vgg, path: Path) -> WeightsFile:
    """Fill a network from a file; see :func:`~impasto.gatys.features.weight_files.read_weights`.

    If the file ends early, as a packed one does, so does the network: its ``layers`` become those
    that can be computed.

    Args:
        network: network to fill, of the same depth and width as the file's.
        path: path of the file.

    Returns:
        The contents of the file.

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
        path: file to read.
        output: ``.safetensors`` file to write; its folder is created. Unless given, the file is
            written where :func:`find_weights` searches, which is allowed for the published network
            only.
        last: last convolution to keep.

    Returns:
        The contents of the written file, read back.

    Raises:
        CheckpointError: the file cannot be used, does not reach ``last``, or is the output itself;
            or the network is not the published one, and no ``output`` is given.
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
    output.parent.mkdir(parents=True, exist_ok=True)
    save_safetensors(output, weights, provenance)


def missing_message(depth: int = 19) -> str:
    """Return the message that weights are missing, how to get them, and what works without."""
    published, folder = PUBLISHED[depth], weights_folder()
    digits = published.name.split("-")[1].removesuffix(".pth")
    return (
        f"No weights of VGG{depth} were found in {folder}; only impasto fetch downloads.\n"
        f"The file is torchvision's {published.name} ({published.megabytes} MB; its SHA-256 "
        f"begins with {digits}). With a network:\n"
        f"  impasto fetch vgg{depth}\n"
        f"On another machine with a network:\n"
        f"  curl --fail --location --remote-name {published.url}\n"
        f"Put it into {folder}, or give it as --weights FILE. To carry less:\n"
        f"  impasto weights pack {published.name} --output {candidates(depth)[1].name}\n"
        f"writes the convolutions alone, a tenth of it, which serves just as well there.\n"
        f"{_works_without()}"
    )


def _works_without() -> str:
    """Say what stylizes without a file of VGG's, and what is missing for it."""
    if find_lite_weights() is not None:
        return "Without a file, --preset lite works now: its network comes with Impasto."
    return (
        "Without a file, --preset builtin works now: it needs no network.\n"
        f"--preset lite gives better pictures; {missing_lite_message()}"
    )


def _computable(network: Vgg, convolutions: int) -> str:
    """Return the last layer that needs no more than the first ``convolutions`` convolutions."""
    names = layer_names(network.depth)
    after = convolution_names(network.depth)[convolutions:]
    return names[names.index(after[0]) - 1] if after else names[-1]


# What wrappers put before the names of weights.
_WRAPPERS = re.compile(r"^(?:module\.|_orig_mod\.|model\.|backbone\.)+")
# Names of torchvision's own files of DenseNet, of before modules' names could have no dots.
_OLD_DENSENET = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
_SHOWN = 4
# Models that Impasto has networks of its own for.
_OWN = ("vgg16", "vgg19")


@dataclass(frozen=True, kw_only=True)
class ModelWeights:
    """A file with weights of a model.

    Attributes:
        path: path of the file.
        model: torchvision's name of the model.
        bytes: size of the file, in bytes.
        sha256: SHA-256 of the whole file, 64 hexadecimal digits.
        verified: how the contents were verified, in words; empty if they could not be.
        entry: torchvision's name of these weights, e.g. ``IMAGENET1K_V2``; empty if they are not
            known to be torchvision's.
    """

    path: Path
    model: str
    bytes: int
    sha256: str
    verified: str
    entry: str

    def __str__(self) -> str:
        known = f" {self.entry}" if self.entry else ""
        return (
            f"{self.model}{known}, {self.bytes / 1e6:,.1f} MB, SHA-256 {self.sha256[:8]}... "
            f"{self.verified or '(nothing to compare it with)'}"
        )


def model_candidates(model: str) -> tuple[Path, ...]:
    """Return the default places of a model's weights: torchvision's files in its cache.

    torchvision's default comes first.
    """
    return tuple(weights_folder() / _file_name(entry) for entry in _entries(model))


def find_model_weights(model: str, file: Path | None = None) -> Path | None:
    """Return the file with the weights of a model, or None if there is none.

    Args:
        model: torchvision's name of the model.
        file: file that the user named, which must exist; otherwise torchvision's cache is searched.
            Nothing is downloaded.

    Raises:
        CheckpointError: the file that the user named does not exist.
    """
    return _find_file(file, model_candidates(model), f"weights of {model}")


def load_model(model: str, path: Path) -> tuple[ModelNetwork, ModelWeights]:
    """Make a model with the weights of a ``.pth`` or ``.safetensors`` file, and verify them.

    Weights of the classification head may be missing or of any shape. Pictures are normalized as
    torchvision specifies for these weights, or for its default weights if the file is not
    torchvision's.

    Args:
        model: torchvision's name of the model.
        path: a state_dict with torchvision's names.

    Returns:
        The network, frozen, on the CPU, and the facts about the file.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, does not have the hash in its name,
            or holds the weights of another network.
        OptionError: torchvision has no such model, or it takes pictures of one size only.
    """
    network = ModelNetwork(model)
    try:
        refuse_other_files(path)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        verified = verify_name(path, sha256)
        tensors, _ = read_tensors(path)
        _fill_network(network, tensors)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    entries = _entries(model)
    known = next((entry for entry in entries if sha256.startswith(_digits(entry))), None)
    expects = (known or entries[0]).transforms()
    network.set_normalization(expects.mean, expects.std)
    return network, ModelWeights(
        path=path,
        model=model,
        bytes=path.stat().st_size,
        sha256=sha256,
        verified="as torchvision says" if known else verified,
        entry=known.name if known else "",
    )


def cached_files() -> list[Path]:
    """Return torchvision's weights files in its cache, except those of VGG16 and VGG19."""
    every = (path for model in model_names() for path in model_candidates(model))
    return [path for path in every if path.is_file() and model_of_file(path)]


def model_of_file(path: Path) -> str | None:
    """Return the model whose weights torchvision publishes under a file's name.

    None if there is no such model, and for VGG16 and VGG19, for which Impasto has its own networks.
    """
    for model in model_names():
        if model not in _OWN and path.name in map(_file_name, _entries(model)):
            return model
    return None


def missing_model_message(model: str) -> str:
    """Return the message that weights are missing, how to get them, and what works without."""
    entry, folder = _entries(model)[0], weights_folder()
    name = _file_name(entry)
    return (
        f"No weights of {model} were found in {folder}; only impasto fetch downloads.\n"
        f"The file is torchvision's {name} ({round(entry.meta['_file_size'])} MB; its SHA-256 "
        f"begins with {_digits(entry)}). With a network:\n"
        f"  impasto fetch {model}\n"
        f"On another machine with a network:\n"
        f"  curl --fail --location --remote-name {entry.url}\n"
        f"Put it into {folder}, or give it as --weights FILE.\n"
        f"Without a file, weights are random, the same each time (--backbone random:{model}).\n"
        f"Trained ones without a file are those of --backbone lite{_if_missing()}."
    )


def _if_missing() -> str:
    """Say what is missing for EfficientNet-Lite0; nothing if it is there."""
    there = find_lite_weights() is not None
    return ", whose network comes with Impasto" if there else f": {missing_lite_message()}"


def _entries(model: str) -> list[Any]:
    """Return torchvision's weights of a model, its default first."""
    from torchvision import models  # noqa: PLC0415 - it takes as long as torch

    entries = models.get_model_weights(model)
    return list(dict.fromkeys([entries.DEFAULT, *entries]))


def _file_name(entry: Any) -> str:
    return str(entry.url).rsplit("/", 1)[-1]


def _digits(entry: Any) -> str:
    """Return the first digits of a file's SHA-256, which torchvision puts into its name."""
    return Path(_file_name(entry)).stem.rsplit("-", 1)[-1]


def _fill_network(network: ModelNetwork, tensors: Mapping[str, Tensor]) -> None:
    """Copy a state_dict into a network, if it is one of that model."""
    expected = network.body.state_dict()
    held = {_rename(name, expected): value for name, value in tensors.items()}
    missing = [
        name for name in expected if name not in held and not name.endswith("num_batches_tracked")
    ]
    stages = set(map(stage_of, expected))
    # What tells classes apart is no stage of the network, and may be whatever it is.
    unexpected = [
        name
        for name in held
        if name not in find_anatomy(network.model).state_names and stage_of(name) in stages
    ]
    if missing or unexpected:
        raise CheckpointError(
            f"not weights of {network.model}: "
            + " and ".join(
                f"{what} {_list_names(names)}"
                for what, names in (("lacks", missing), ("holds unexpected", unexpected))
                if names
            )
        )
    for name, value in expected.items():
        weight = held.get(name, value)
        if weight.shape != value.shape:
            raise CheckpointError(
                f"not weights of {network.model}: {name} has shape {tuple(weight.shape)}, expected "
                f"{tuple(value.shape)}"
            )
        if not weight.isfinite().all():
            raise CheckpointError(f"{name} holds values that are not finite numbers")
    network.body.load_state_dict({name: held.get(name, value) for name, value in expected.items()})


def _rename(name: str, expected: Mapping[str, Tensor]) -> str:
    """Return torchvision's name of a weight, without what wrappers put before it."""
    if name in expected:
        return name
    bare = _WRAPPERS.sub("", name)
    modern = _OLD_DENSENET.sub(r"\1\2", bare)
    return modern if modern in expected else bare


def _list_names(names: Sequence[str]) -> str:
    """Return the first of some names, and how many there are."""
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown}, ... ({len(names)} in all)"
