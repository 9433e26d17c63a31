"""Files of tensors: what is damaged is never loaded, and equal contents are equal files."""

import errno
import os
import sys
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from impasto.options.errors import CheckpointError
from impasto.runs.state import (
    load_last_state,
    load_pth,
    load_state,
    load_tensors,
    peek_state,
    save_pth,
    save_safetensors,
    save_state,
)

WEIGHTS = {
    "layer.weight": torch.randn(24, 8, 3, 3, generator=torch.Generator().manual_seed(0)),
    "layer.bias": torch.arange(24.0),
    "half": torch.arange(40).to(torch.bfloat16),
    "count": torch.tensor(7),
    "none": torch.zeros(0, 3),
}
METADATA = {"direction": "AtoB", "grid_bend_px": "3.0"}
FILES: dict[str, tuple[Callable[[Path], None], Callable[[Path], Any]]] = {
    "state.pt": (
        lambda path: save_state(path, {"learner": WEIGHTS, "at": 3}),
        load_state,
    ),
    "net.pth": (lambda path: save_pth(path, WEIGHTS), lambda path: load_tensors(path)[0]),
    "net.safetensors": (
        lambda path: save_safetensors(path, WEIGHTS, METADATA),
        lambda path: dict(zip(("weights", "metadata"), load_tensors(path), strict=True)),
    ),
}


def plain(value: Any) -> Any:
    """Give a nested value as something that can be compared with ==, bit for bit."""
    if isinstance(value, Tensor):
        whole = value.reshape(-1).contiguous()
        return str(value.dtype), tuple(value.shape), whole.view(torch.uint8).tolist()
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def damaged(content: bytes, kind: str, chance: np.random.Generator) -> bytes:
    damage, place = bytearray(content), int(chance.integers(len(content)))
    if kind == "bit":
        damage[place] ^= 1 << int(chance.integers(8))
    elif kind == "zeros":
        damage[place : place + 512] = bytes(len(damage[place : place + 512]))
    elif kind == "moved":
        del damage[place]
    else:
        del damage[place:]
    return bytes(damage)


@pytest.mark.parametrize("kind", ["bit", "zeros", "moved", "cut"])
@pytest.mark.parametrize("name", FILES)
def test_damage_is_refused_or_harms_nothing(tmp_path: Path, name: str, kind: str) -> None:
    save, load = FILES[name]
    path, chance, refused = tmp_path / name, np.random.default_rng(len(name + kind)), 0
    save(path)
    whole, expected = path.read_bytes(), plain(load(path))
    for _ in range(100):
        path.write_bytes(damaged(whole, kind, chance))
        try:
            found = load(path)
        except CheckpointError:
            refused += 1
        else:
            assert plain(found) == expected
    assert refused >= 80  # the rest hit what pads the file


@pytest.mark.parametrize("name", ["state.pt", "net.pth"])
def test_the_damaged_part_is_named(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    FILES[name][0](path)
    value = WEIGHTS["layer.weight"].numpy().tobytes()
    content = path.read_bytes()
    path.write_bytes(content.replace(value[100:200], bytes(100)))
    with pytest.raises(CheckpointError, match="damaged: its part 'archive/data/0' is not what was"):
        FILES[name][1](path)


def test_damaged_words_of_safetensors_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_safetensors(path, WEIGHTS, METADATA)
    content = path.read_bytes()
    assert content.count(b"3.0") == 1
    path.write_bytes(content.replace(b"3.0", b"1.0"))
    with pytest.raises(CheckpointError, match="damaged: its tensors or metadata do not have"):
        load_tensors(path)


def test_files_without_checksums_load(tmp_path: Path) -> None:
    old, fast, other = (tmp_path / name for name in ("old.pth", "fast.pth", "other.safetensors"))
    torch.save(WEIGHTS, old, _use_new_zipfile_serialization=False)
    torch.serialization.set_crc32_options(compute_crc32=False)
    try:
        torch.save(WEIGHTS, fast)
    finally:
        torch.serialization.set_crc32_options(compute_crc32=True)
    save_file(WEIGHTS, other)
    for path in (old, fast, other):
        assert plain(load_tensors(path)[0]) == plain(WEIGHTS)


def test_a_checksum_is_no_hindrance_to_others(tmp_path: Path) -> None:
    save_pth(tmp_path / "net.pth", WEIGHTS)
    save_safetensors(tmp_path / "net.safetensors", WEIGHTS, METADATA)
    theirs = torch.load(tmp_path / "net.pth", weights_only=True)
    assert plain(theirs) == plain(WEIGHTS)
    assert plain(load_file(tmp_path / "net.safetensors")) == plain(WEIGHTS)


@pytest.mark.parametrize("name", FILES)
def test_equal_contents_are_equal_files(tmp_path: Path, name: str) -> None:
    contents = set()
    for folder in "abcdefgh":
        (tmp_path / folder).mkdir()
        FILES[name][0](tmp_path / folder / name)
        contents.add((tmp_path / folder / name).read_bytes())
    assert len(contents) == 1


def test_a_state_that_was_read_is_written_as_it_was(tmp_path: Path) -> None:
    one, two = tmp_path / "one.pt", tmp_path / "two.pt"
    words = ["conv", "conv"]  # one object here, two where they are read from a file
    state = {"names": words, "weights": OrderedDict(WEIGHTS), "more": ("conv", {"conv": words})}
    save_state(one, state)
    save_state(two, load_state(one))
    assert one.read_bytes() == two.read_bytes()


def test_what_a_state_says_is_read_without_its_tensors(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    save_state(path, {"options": {"lr": 0.1}, "weights": WEIGHTS})
    said = peek_state(path)
    assert said["options"] == {"lr": 0.1}
    assert {weights.device.type for weights in said["weights"].values()} == {"meta"}


@pytest.mark.parametrize("links", [True, False])
def test_the_state_before_the_last_is_kept(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:

        def refuse(*_paths: Path) -> None:
            raise OSError(errno.EPERM, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    last, previous = tmp_path / "state.pt", tmp_path / "state.previous.pt"
    for number in range(4):
        save_state(last, {"number": number}, previous=previous)
        assert load_state(last)["number"] == number
        if number:
            assert load_state(previous)["number"] == number - 1
    assert {path.name for path in tmp_path.iterdir()} == {last.name, previous.name}
    assert load_last_state(last, previous) == ({"version": 1, "number": 3}, None)
    last.write_bytes(b"")
    state, problem = load_last_state(last, previous)
    assert state["number"] == 2
    assert str(problem).startswith(f"{last}: damaged")


def test_a_disk_that_is_full_when_it_flushes_leaves_both_states(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_paths: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    def fill(_handle: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", refuse)
    last, previous = tmp_path / "state.pt", tmp_path / "state.previous.pt"
    for number in range(2):
        save_state(last, {"number": number}, previous=previous)
    monkeypatch.setattr(os, "fsync", fill)
    with pytest.raises(OSError, match="No space left"):
        save_state(last, {"number": 2}, previous=previous)
    assert (load_state(last)["number"], load_state(previous)["number"]) == (1, 0)


def test_a_hostile_pickle_is_called_so(tmp_path: Path) -> None:
    class Danger:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "danger"),)

    torch.save({"version": 1, "x": Danger()}, tmp_path / "net.pth")
    with pytest.raises(CheckpointError, match="it could run code"):
        load_pth(tmp_path / "net.pth")
    assert not (tmp_path / "danger").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only there are names any bytes")
@pytest.mark.parametrize("name", FILES)
def test_files_lie_in_folders_whose_names_are_no_text(tmp_path: Path, name: str) -> None:
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    write, read = FILES[name]
    write(tmp_path / name)
    write(folder / name)
    assert (folder / name).read_bytes() == (tmp_path / name).read_bytes()
    assert repr(read(folder / name)) == repr(read(tmp_path / name))
