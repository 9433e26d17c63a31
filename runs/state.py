"""state.pt: everything that is needed to continue a training, in one atomic file."""

import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.data.atomic import atomic_path, write_error
from impasto.options.errors import CheckpointError

__all__ = [
    "DAMAGED",
    "load_state",
    "random_state",
    "restore_random_state",
    "save_pth",
    "save_state",
]

_VERSION = 1

DAMAGED = (
    *(AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError),
    *(ValueError, pickle.UnpicklingError, struct.error),
)
"""What torch.load raises on files that are damaged or something else."""


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write a state of tensors and plain values atomically.

    Raises:
        OSError: the file cannot be written; what stood there before is untouched.
    """
    with atomic_path(path) as temporary:
        try:
            torch.save({"version": _VERSION, **state}, temporary)
        except RuntimeError as error:  # torch reports a full disk so
            raise write_error(path, error) from error


def load_state(path: Path) -> dict[str, Any]:
    """Read a state, running no code that it may hold (``weights_only``).

    Raises:
        CheckpointError: it is missing, damaged, or of another version of Impasto.
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


def random_state() -> dict[str, Any]:
    """Return the states of torch's own generators, which dropout draws from."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Set torch's own generators to a saved state."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
