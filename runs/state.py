"""Files of tensors: ``state.pt``, which continues a training, and weights of networks.

All are written atomically, and read without running code that a file may hold: ``.pth`` with
torch's ``weights_only``, ``.safetensors`` by their library.
"""

import json
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.data.atomic import atomic_path, write_error
from impasto.options.errors import CheckpointError

__all__ = [
    "DAMAGED",
    "METADATA_KEY",
    "load_state",
    "load_tensors",
    "random_state",
    "restore_random_state",
    "save_pth",
    "save_safetensors",
    "save_state",
]

METADATA_KEY = "impasto"
"""Name under which our safetensors hold what they say of themselves, as JSON."""

_VERSION = 1

DAMAGED = (
    *(AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError),
    *(ValueError, pickle.UnpicklingError, struct.error),
)
"""What torch.load raises on files that are damaged or something else."""


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state of tensors and plain values atomically.

    Raises:
        OSError: the file cannot be written; an existing file is untouched.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save({"version": _VERSION, **state}, temporary)
        except RuntimeError as error:  # torch reports a full disk so
            raise write_error(path, error) from error


def load_state(path: Path) -> dict[str, Any]:
    """Read a state, running no code that it may hold (``weights_only``).

    Raises:
        CheckpointError: the file is missing, damaged, or of another version of Impasto.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError(f"{path}: no such file; there is nothing to resume") from error
    except DAMAGED as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise CheckpointError(f"{path}: damaged ({reason})") from error
    if not isinstance(state, dict) or state.get("version") != _VERSION:
        found = state.get("version") if isinstance(state, dict) else None
        raise CheckpointError(f"{path}: expected a state of version {_VERSION}, found {found}")
    return state


def save_pth(path: Path, weights: Mapping[str, Tensor]) -> None:
    """Write the state_dict of a network atomically, with its tensors on the CPU.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save({key: value.detach().cpu() for key, value in weights.items()}, temporary)
        except RuntimeError as error:  # torch reports a full disk so
            raise write_error(path, error) from error


def save_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write tensors atomically as safetensors, with metadata.

    Args:
        path: ``.safetensors`` file to write.
        tensors: tensors by name, on any device.
        metadata: plain values, written as JSON under :data:`METADATA_KEY`.

    Raises:
        OSError: the file cannot be written.
    """
    whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    said = {"format": "pt", METADATA_KEY: json.dumps(metadata, sort_keys=True)}
    with atomic_path(path) as temporary:
        try:
            save_file(whole, temporary, metadata=said)
        except SafetensorError as error:
            raise write_error(path, error) from error


def load_tensors(
    path: Path, *, device: Literal["cpu", "meta"] = "cpu"
) -> tuple[Any, dict[str, Any]]:
    """Return the contents of a ``.safetensors`` or ``.pth`` file, and its metadata.

    Args:
        path: path of the file.
        device: ``meta`` to read only the shapes; ``.safetensors`` files are read completely in any
            case.

    Returns:
        The tensors of a ``.safetensors`` by name, or the object saved as ``.pth``, which should be
        a state_dict but may be anything; and the metadata, none in a ``.pth``.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or of another kind; the message omits
            the path.
    """
    if not path.is_file():
        raise CheckpointError("no such file")
    try:
        if path.suffix == ".safetensors":
            return _load_safetensors(path)
        return torch.load(path, map_location=device, weights_only=True), {}
    except pickle.UnpicklingError as error:
        # torch names what it refuses to call; anything else that it cannot read is no pickle.
        problem = (
            "holds more than tensors, so it is not loaded (it could run code)"
            if "GLOBAL" in str(error)
            else "damaged or not a weights file (was the download complete?)"
        )
        raise CheckpointError(f"{problem}; expected a state_dict saved with torch.save") from error
    except (*DAMAGED, SafetensorError) as error:
        reason = str(error).splitlines()[0] if str(error) else "it ends too early"
        raise CheckpointError(f"damaged or not a weights file ({reason})") from error


def _load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = json.loads((file.metadata() or {}).get(METADATA_KEY, "{}"))
    if not isinstance(metadata, dict):
        raise ValueError(f"its metadata are {metadata!r}")  # noqa: TRY004
    return tensors, metadata


def random_state() -> dict[str, Any]:
    """Return the states of torch's own generators, which dropout draws from."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Set torch's own generators to a saved state."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
