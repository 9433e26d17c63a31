"""Files of tensors: ``state.pt``, which continues a training, and weights of networks.

All are written atomically, and read without running code that a file may hold: ``.pth`` with
torch's ``weights_only``, ``.safetensors`` by their library. Both carry checksums, which are
compared when they are read; equal tensors give files of equal bytes.

Part of a state are random generators: :func:`make_generator` makes one for each purpose.
"""

import hashlib
import json
import os
import pickle
import struct
import sys
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from impasto.data.atomic import atomic_path, flush_file, write_error
from impasto.options.errors import CheckpointError

__all__ = [
    "CHECKSUM_KEY",
    "DAMAGED",
    "METADATA_KEY",
    "load_last_state",
    "load_pth",
    "load_state",
    "load_tensors",
    "make_generator",
    "peek_state",
    "random_state",
    "refuse_other_files",
    "restore_random_state",
    "save_pth",
    "save_safetensors",
    "save_state",
]

METADATA_KEY = "impasto"
"""Name under which our safetensors hold what they say of themselves, as JSON."""

CHECKSUM_KEY = "impasto_sha256"
"""Name under which they hold the SHA-256 of that JSON and of all tensors."""

_VERSION = 1

DAMAGED = (
    *(AssertionError, AttributeError, EOFError, LookupError, OSError, RuntimeError, TypeError),
    *(ValueError, pickle.UnpicklingError, struct.error, zipfile.BadZipFile, zlib.error),
)
"""What torch.load and zipfile raise on files that are damaged or something else."""

Device = Literal["cpu", "meta"]

_ONLY_TORCH = "expected weights that PyTorch saved, .pth, or .safetensors"
# What other programs call their files, where the first bytes do not tell.
_OTHER_PROGRAMS = {
    ".onnx": "an ONNX file, which holds a whole program and not only weights",
    ".t7": "a file of Lua Torch",
    ".pb": "a TensorFlow graph",
    ".tflite": "a TensorFlow Lite file",
}


def save_state(path: Path, state: Mapping[str, Any], *, previous: Path | None = None) -> None:
    """Write a state of tensors and plain values atomically.

    Args:
        path: file to write.
        state: tensors, numbers, texts, and lists and dictionaries of them.
        previous: file that keeps the state that stood at ``path`` before; one that was there is
            removed.

    Raises:
        OSError: the file cannot be written; an existing file is untouched.
    """
    with atomic_path(path) as temporary:
        _write_archive({"version": _VERSION, **state}, temporary, path)
        if previous is not None and path.is_file():
            flush_file(temporary)  # before anything moves: a disk may say only now that it is full
            _give_name(path, previous)


def load_state(path: Path) -> dict[str, Any]:
    """Read a state, running no code that it may hold (``weights_only``).

    Raises:
        CheckpointError: the file is missing, damaged, or of another version of Impasto.
    """
    return _load_state(path, "cpu")


def peek_state(path: Path) -> dict[str, Any]:
    """Read a state without the values of its tensors, which are on the ``meta`` device: fast.

    Raises:
        CheckpointError: as :func:`load_state`, but damage of the tensors is not noticed.
    """
    return _load_state(path, "meta")


def load_last_state(path: Path, previous: Path) -> tuple[dict[str, Any], str | None]:
    """Read the last state or, if that is damaged or missing, the one before it.

    Args:
        path: file of the last state.
        previous: file of the state before it, as :func:`save_state` kept it.

    Returns:
        The state; and what is wrong with the last one if the state is the one before it, else None.

    Raises:
        CheckpointError: neither can be read; the message says why.
    """
    try:
        return load_state(path), None
    except CheckpointError as error:
        if not previous.is_file():
            raise
        try:
            return load_state(previous), str(error) if path.is_file() else f"{path}: no such file"
        except CheckpointError as other:
            raise CheckpointError(
                f"{error}. The state before it: {other}. Nothing else is there to continue from; "
                "train anew under another --name (the networks of the run may still be whole)"
            ) from error


def _load_state(path: Path, device: Device) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file; there is nothing to resume")
    try:
        state = _load_archive(path, device, "a state that a training saved")
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
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
        whole = {key: value.detach().cpu() for key, value in weights.items()}
        _write_archive(whole, temporary, path)


def save_safetensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """Write tensors atomically as safetensors, with metadata and a checksum of both.

    Args:
        path: ``.safetensors`` file to write.
        tensors: tensors by name, on any device.
        metadata: plain values, written as JSON under :data:`METADATA_KEY`.

    Raises:
        OSError: the file cannot be written.
    """
    whole = {key: value.detach().cpu().contiguous() for key, value in tensors.items()}
    described = json.dumps(metadata, sort_keys=True)
    said = {
        "format": "pt",
        METADATA_KEY: described,
        CHECKSUM_KEY: _checksum(whole, described),
    }
    with atomic_path(path) as temporary:
        try:
            save_file(whole, temporary, metadata=said)
        except SafetensorError as error:
            raise write_error(path, error) from error
        _sort_header(temporary)


def load_tensors(path: Path, *, device: Device = "cpu") -> tuple[Any, dict[str, Any]]:
    """Return the contents of a ``.safetensors`` or ``.pth`` file, and its metadata.

    Checksums in the file are compared with the contents; files of others may have none.

    Args:
        path: path of the file.
        device: ``meta`` to read only the shapes, without comparing checksums; ``.safetensors``
            files are read completely in any case.

    Returns:
        The tensors of a ``.safetensors`` by name, or the object saved as ``.pth``, which should be
        a state_dict but may be anything; and the metadata, none in a ``.pth``.

    Raises:
        CheckpointError: the file is missing, damaged, unsafe or of another kind; the message omits
            the path.
    """
    refuse_other_files(path)
    if path.suffix == ".safetensors":
        try:
            return _load_safetensors(path)
        except CheckpointError:
            raise
        except (*DAMAGED, SafetensorError) as error:
            raise _unreadable(error) from error
    return load_pth(path, device=device), {}


def refuse_other_files(path: Path) -> None:
    """Refuse files that are often mistaken for weights, and name what they are.

    Raises:
        CheckpointError: the file is one of these; the message omits the path.
    """
    if not path.is_file():
        raise CheckpointError("a folder; give a file" if path.is_dir() else "no such file")
    with path.open("rb") as file:
        start = file.read(64)
    head = start.lstrip().lower()
    if not head:
        raise CheckpointError("empty; download it again")
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError(
            "a Git LFS pointer, not the weights; run 'git lfs pull' in the repository it is from"
        )
    if head.startswith((b"<!doctype", b"<html", b"<?xml")):
        raise CheckpointError(
            "a web page, not weights: the server answered with a page instead of the file; "
            "download it again"
        )
    if start.startswith(b"\x89HDF"):
        raise CheckpointError(f"an HDF5 file, as Keras and TensorFlow write them; {_ONLY_TORCH}")
    if (kind := _OTHER_PROGRAMS.get(path.suffix.lower())) is not None:
        raise CheckpointError(f"{kind}; {_ONLY_TORCH}")
    if start.startswith(b"PK\x03\x04"):
        _refuse_packed(path)


def _refuse_packed(path: Path) -> None:
    """Refuse a zip archive that holds files of weights instead of being one."""
    names: list[str] = []
    with suppress(*DAMAGED), zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    inside = [name for name in names if name.endswith((".pth", ".pt", ".safetensors"))]
    if inside and not any(name.endswith("data.pkl") for name in names):
        raise CheckpointError(
            f"a zip archive that holds {inside[0]}; unpack it, and give the file inside"
        )


def load_pth(path: Path, *, device: Device = "cpu") -> Any:
    """Return what ``torch.save`` wrote, after comparing it with its checksums.

    torch itself ignores the checksums. Files without any, such as those of torch before 1.6, are
    read as they are.

    Args:
        path: path of the file.
        device: ``meta`` to read everything except the values of the tensors.

    Raises:
        CheckpointError: the file is damaged, unsafe or of another kind; the message omits the path.
    """
    return _load_archive(path, device, "a state_dict saved with torch.save")


def _load_archive(path: Path, device: Device, expected: str) -> Any:
    try:
        _check_archive(path, device)
        return torch.load(path, map_location=device, weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        # torch names what it refuses to call; anything else that it cannot read is no pickle.
        problem = (
            "holds more than tensors, so it is not loaded (it could run code)"
            if "GLOBAL" in str(error)
            else "damaged or not a weights file (was the copy or download complete?)"
        )
        raise CheckpointError(f"{problem}; expected {expected}") from error
    except DAMAGED as error:
        raise _unreadable(error) from error


def _unreadable(error: Exception) -> CheckpointError:
    reason = str(error).splitlines()[0] if str(error) else "it ends too early"
    return CheckpointError(f"damaged or not a weights file ({reason})")


def _check_archive(path: Path, device: Device) -> None:
    """Read the members of a zip, but for the tensors' values if on ``meta``, by their CRC-32.

    Raises:
        CheckpointError: one of them is not what was written.
    """
    with path.open("rb") as file:
        if file.read(4) != b"PK\x03\x04" and not zipfile.is_zipfile(file):
            return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        # torch.serialization.set_crc32_options(False) writes zeros instead.
        if not any(member.CRC for member in members):
            return
        for member in members:
            if device == "meta" and not member.filename.endswith(".pkl"):
                continue
            try:
                with archive.open(member) as part:
                    while part.read(2**20):
                        pass
            except DAMAGED as error:
                raise CheckpointError(
                    f"damaged: its part {member.filename!r} is not what was written "
                    f"({str(error) or 'it ends too early'})"
                ) from error


def _load_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    with _utf8_path(path) as readable, safe_open(readable, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        header = file.metadata() or {}
    described = header.get(METADATA_KEY, "{}")
    if (checksum := header.get(CHECKSUM_KEY)) and checksum != _checksum(tensors, described):
        raise CheckpointError(
            "damaged: its tensors or metadata do not have the SHA-256 that was written with them "
            f"({checksum[:8]}...)"
        )
    metadata = json.loads(described)
    if not isinstance(metadata, dict):
        raise ValueError(f"its metadata are {metadata!r}")  # noqa: TRY004
    return tensors, metadata


@contextmanager
def _utf8_path(path: Path) -> Iterator[Path]:
    """Give a path that safetensors reads, which takes none that is not UTF-8, as Linux has them."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        with path.open("rb") as file:
            yield Path(f"/proc/self/fd/{file.fileno()}")
    else:
        yield path


def _checksum(tensors: Mapping[str, Tensor], described: str) -> str:
    """Return the SHA-256 of a text, and of names, types, shapes and bytes of tensors by name."""
    digest = hashlib.sha256(described.encode("utf-8"))
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"\n{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sort_header(path: Path) -> None:
    """Write the header of a safetensors file in a fixed order; its library's order is random."""
    with path.open("r+b") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
        text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
        file.seek(8)
        file.write(text.ljust(size))


def _write_archive(contents: Any, temporary: Path, path: Path) -> None:
    """Write with torch.save, through a file: a path would leave its name in the file.

    Raises:
        OSError: it cannot be written; the error names ``path``.
    """
    try:
        with temporary.open("wb") as file:
            torch.save(_as_new(contents), file)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    except RuntimeError as error:
        raise write_error(path, error) from error


def _as_new(value: Any) -> Any:
    """Copy lists, dictionaries and texts, since a pickle says which of them are one object.

    That differs between a training and its resumed twin, whose values were read from a file.
    """
    if isinstance(value, str):
        return sys.intern(str(value))
    if type(value) in (dict, OrderedDict):
        return {_as_new(key): _as_new(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_as_new(item) for item in value)
    return value


def _give_name(path: Path, name: Path) -> None:
    """Let a file be found under another name, too; only there where a disk has no hard links."""
    name.unlink(missing_ok=True)
    try:
        os.link(path, name)
    except OSError:
        path.replace(name)


def random_state() -> dict[str, Any]:
    """Return the states of torch's own generators, which dropout draws from."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    return {"cpu": torch.get_rng_state(), "cuda": cuda, "mps": mps}


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Set torch's own generators to a saved state."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
    if state.get("mps") is not None and torch.backends.mps.is_available():
        torch.mps.set_rng_state(state["mps"])


def make_generator(seed: int, purpose: str, *, process: int = 0) -> torch.Generator:
    """Return a generator on the CPU whose numbers are independent of every other purpose's.

    Args:
        seed: seed of the run.
        purpose: purpose of the numbers, for example ``"pool A"``.
        process: index of the process, where each process needs its own numbers.
    """
    text = f"{seed}/{purpose}/{process}".encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
    return torch.Generator().manual_seed(number >> 1)
