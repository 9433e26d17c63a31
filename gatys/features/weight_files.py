"""Reading and verifying files of VGG weights."""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from impasto.gatys.features.vgg import DEPTHS, IMAGENET_MEAN, IMAGENET_STD, layer_names
from impasto.options.errors import CheckpointError
from impasto.runs.state import load_tensors, refuse_other_files

__all__ = [
    "TRAINED_HERE",
    "WeightsFile",
    "is_trained_here",
    "read_tensors",
    "read_weights",
    "tensors_sha256",
    "verify_name",
]

TRAINED_HERE = "trained by impasto backbone train"
"""How the provenance of such a file ends, under ``kind``."""

# torchvision and torch.hub put the first digits of a file's SHA-256 into its name.
_HASH_IN_NAME = re.compile(r"-([0-9a-f]{8,64})\.pth?$")
# Justin Johnson's conversions from Caffe (jcjohnson/pytorch-vgg, README): the hashes of VGG19 and
# VGG16. They have torchvision's names of weights, but expect Caffe's pictures.
_CAFFE_HASHES = ("d01eb7cb", "00b39a1b")
# What those expect: BGR in 0..255 less this mean (the same README), here in the order of RGB.
_CAFFE_MEAN_RGB = (123.68, 116.779, 103.939)
# Classes of ImageNet, and channels of the first convolution, of the published networks.
_PUBLISHED_CLASSES, _PUBLISHED_CHANNELS = 1000, 64


@dataclass(frozen=True, kw_only=True)
class WeightsFile:
    """The contents of a file of VGG weights.

    Attributes:
        path: path of the file.
        bytes: size of the file, in bytes.
        sha256: SHA-256 of the whole file, 64 hexadecimal digits.
        verified: how the contents were verified, in words; empty if they could not be.
        depth: depth of the network, 16 or 19.
        last: last convolution in the file, for example ``conv5_4``.
        width: number of channels relative to the published network.
        notes: conversions that were applied to the weights, in words.
        provenance: metadata of the file about its origin.
        trained_here: whether the weights are the user's own instead of published ones; see
            :func:`is_trained_here`.
        weights: state_dict of the convolutions, float32, for RGB normalized as ImageNet.
    """

    path: Path
    bytes: int
    sha256: str
    verified: str
    depth: int
    last: str
    width: float
    notes: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    trained_here: bool = False
    weights: Mapping[str, Tensor] = field(repr=False)

    def __str__(self) -> str:
        width = "" if self.width == 1 else f", {self.width:g} times as wide"
        return (
            f"VGG{self.depth}{width}, conv1_1 to {self.last}, {self.bytes / 1e6:,.1f} MB, "
            f"SHA-256 {self.sha256[:8]}... {self.verified or '(nothing to compare it with)'}"
        )


def read_weights(path: Path) -> WeightsFile:
    """Read the convolutions of a VGG from a ``.pth`` or ``.safetensors`` file, and verify them.

    Supported are torchvision's full files, convolutions alone (``features.0.weight`` or
    ``0.weight``), names with the prefixes of wrappers, Impasto's packed files, and Caffe's weights
    as Leon Gatys (``conv1_1.weight``) and Justin Johnson converted them. The latter are converted
    to expect the same pictures as torchvision's; the conversion is exact except at the outermost
    pixels, where padding with zeros stands for a different color.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe, not a file of VGG weights, or does
            not have the hash in its name or metadata.
    """
    try:
        return _read(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error


def is_trained_here(path: Path) -> bool:
    """Return whether a file holds the user's own weights, to which published losses do not apply.

    Such files are written by ``impasto backbone train``, packed or not: files whose metadata say
    so, and whole classifiers whose width is not that of the published network, or whose classes are
    not ImageNet's 1000. For a file that cannot be read, the result is False.
    """
    try:
        # Shapes are enough: a meta device leaves the values on the disk.
        return _is_own(*read_tensors(path, device="meta"))
    except (CheckpointError, OSError):
        return False


def tensors_sha256(weights: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of names, shapes and values (float32), independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        digest.update(f"{name} {tuple(weights[name].shape)}\n".encode())
        digest.update(weights[name].float().contiguous().numpy().tobytes())
    return digest.hexdigest()


def _read(path: Path) -> WeightsFile:
    refuse_other_files(path)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    verified = verify_name(path, sha256)
    tensors, provenance = read_tensors(path)
    weights, depth, named_as_caffe = _rename(tensors)
    if expected := provenance.get("tensors_sha256"):
        if tensors_sha256(weights) != expected:
            raise CheckpointError("its weights are not those that were packed: damaged; pack again")
        verified = "as packed"
    notes = []
    if named_as_caffe or sha256.startswith(_CAFFE_HASHES):
        weights |= _from_caffe(weights["features.0.weight"], weights["features.0.bias"])
        notes.append("converted from Caffe's BGR in 0..255")
    last = layer_names(depth)[max(_index(name) for name in weights)]
    return WeightsFile(
        path=path,
        bytes=path.stat().st_size,
        sha256=sha256,
        verified=verified,
        depth=depth,
        last=last,
        width=len(weights["features.0.bias"]) / _PUBLISHED_CHANNELS,
        notes=tuple(notes),
        provenance=provenance,
        trained_here=_is_own(tensors, provenance),
        weights=weights,
    )


def verify_name(path: Path, sha256: str) -> str:
    """Verify the hash in a file's name; return the result in words, empty if there is no hash.

    Raises:
        CheckpointError: the name has a different hash; the message omits the path.
    """
    match = _HASH_IN_NAME.search(path.name)
    if match is None:
        return ""
    if not sha256.startswith(match[1]):
        raise CheckpointError(
            f"its SHA-256 begins with {sha256[: len(match[1])]}, its name says {match[1]}: "
            f"damaged, cut short ({path.stat().st_size / 1e6:,.1f} MB) or another file; "
            "download it again"
        )
    return "as its name says"


def read_tensors(
    path: Path, *, device: Literal["cpu", "meta"] = "cpu"
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return all tensors of a ``.pth`` or ``.safetensors`` file, and its metadata.

    Args:
        path: path of the file.
        device: ``meta`` to read only the shapes; ``.safetensors`` files are read completely in any
            case.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or of another kind; the message omits
            the path.
    """
    loaded, metadata = load_tensors(path, device=device)
    return _flat(loaded), {str(key): str(value) for key, value in metadata.items()}


def _flat(loaded: Any) -> dict[str, Tensor]:
    """Return the tensors of a state_dict, which trainers like to wrap once more."""
    if isinstance(loaded, dict) and isinstance(loaded.get("state_dict"), dict):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, dict):
        raise CheckpointError(f"expected a state_dict of tensors, got {type(loaded).__name__}")
    return {str(name): value for name, value in loaded.items() if isinstance(value, Tensor)}


def _is_own(tensors: Mapping[str, Tensor], provenance: Mapping[str, str]) -> bool:
    if provenance.get("kind", "").endswith(TRAINED_HERE):
        return True
    outputs = {name: len(value) for name, value in tensors.items() if value.ndim}
    matches = {name: re.fullmatch(r"(?:.*\.)?classifier\.(\d+)\.weight", name) for name in outputs}
    heads = {int(match[1]): outputs[name] for name, match in matches.items() if match}
    first = [count for name, count in outputs.items() if name.endswith("features.0.weight")]
    return bool(heads) and (
        heads[max(heads)] != _PUBLISHED_CLASSES or first not in ([], [_PUBLISHED_CHANNELS])
    )


def _rename(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], int, bool]:
    """Return the convolutions under torchvision's names, the depth, and whether named as Caffe."""
    if any(name.endswith("running_mean") for name in tensors):
        raise CheckpointError(
            "holds batch normalization (vgg19_bn?); expected VGG16 or VGG19 without"
        )
    for pattern in (r"(?:.*\.)?features\.(\d+)", r"(?:.*\.)?(conv\d_\d)", r"(?:\w+\.)?(\d+)"):
        matches = {name: re.fullmatch(rf"{pattern}\.(weight|bias)", name) for name in tensors}
        if found := {(m[1], m[2]): tensors[name] for name, m in matches.items() if m}:
            break
    else:
        some = ", ".join(sorted(tensors)[:3]) or "nothing"
        raise CheckpointError(
            f"holds no convolutions of a VGG; expected features.0.weight, ..., found {some}"
        )
    caffe = any(place.startswith("conv") for place, _ in found)
    places = {place for place, _ in found}
    for depth in reversed(DEPTHS):
        layers = layer_names(depth)
        every = [(n if caffe else str(i), i) for i, n in enumerate(layers) if n.startswith("conv")]
        first = every[: len(places)]
        if {place for place, _ in first} == places:
            return _ordered(found, first), depth, caffe
    raise CheckpointError(
        f"its layers with weights are {', '.join(sorted(places, key=_natural))}: not those of "
        f"VGG16 or VGG19 from conv1_1 on"
    )


def _ordered(
    found: Mapping[tuple[str, str], Tensor], places: list[tuple[str, int]]
) -> dict[str, Tensor]:
    """Return weights by torchvision's names, from the first layer on, after checking the shapes."""
    weights: dict[str, Tensor] = {}
    channels = 3
    for place, index in places:
        weight, bias = found.get((place, "weight")), found.get((place, "bias"))
        if weight is None or bias is None:
            raise CheckpointError(f"layer {place} has no {'weight' if weight is None else 'bias'}")
        shape = tuple(weight.shape)
        if len(shape) != 4 or shape[1] != channels or tuple(bias.shape) != shape[:1]:
            raise CheckpointError(
                f"layer {place} has a weight of shape {shape} and a bias of {tuple(bias.shape)}; "
                f"expected (C, {channels}, 3, 3) and (C,)"
            )
        if not (weight.isfinite().all() and bias.isfinite().all()):
            raise CheckpointError(f"layer {place} holds values that are not finite numbers")
        channels = shape[0]
        weights[f"features.{index}.weight"] = weight.float()
        weights[f"features.{index}.bias"] = bias.float()
    return weights


def _from_caffe(weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """Return the first convolution for pictures normalized as ImageNet instead of Caffe's.

    With x in [0, 1], Caffe's input is 255 x - m_c and ours n = (x - m) / s, so it is
    255 s n + (255 m - m_c): a scale for the weights and a shift for the bias.
    """
    rgb = weight.double().flip(1)
    mean, std, caffe = (
        torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1)
        for values in (IMAGENET_MEAN, IMAGENET_STD, _CAFFE_MEAN_RGB)
    )
    shift = (rgb * (255 * mean - caffe)).sum(dim=(1, 2, 3))
    return {
        "features.0.weight": (rgb * 255 * std).float(),
        "features.0.bias": (bias.double() + shift).float(),
    }


def _index(name: str) -> int:
    return int(name.split(".")[1])


def _natural(place: str) -> tuple[int, str]:
    return (int(place) if place.isdigit() else 0, place)
