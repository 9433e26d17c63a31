"""Room for maps, against an array; rows that are computed when they are read, by counting."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.cyclegan.inference.maps import Computed, Space, strip_rows
from impasto.options.errors import FolderError

FULL = Path("/dev/full")


@pytest.mark.parametrize("resident", [0, 5, 37, 100, None])
def test_space_is_a_ring_in_memory_and_on_disk(tmp_path: Path, resident: int | None) -> None:
    size, drawn = 100, np.random.default_rng(0)
    expected = np.zeros(size, np.float32)
    with Space(size, resident=resident, folder=tmp_path) as space:
        space.write(0, torch.zeros(10, 5, 2))
        for _ in range(60):
            place, rows = int(drawn.integers(0, 300)), int(drawn.integers(1, 9))
            values = torch.from_numpy(drawn.standard_normal((rows, 3, 4), np.float32))
            swapped = values.transpose(0, 1).contiguous().transpose(0, 1)  # not in order in memory
            space.write(place, swapped)
            expected[np.arange(place, place + rows * 12) % size] = values.numpy().ravel()
            start, count = int(drawn.integers(0, 300)), int(drawn.integers(1, size))
            read = space.read(start, count)
            assert np.array_equal(read.numpy(), expected[np.arange(start, start + count) % size])


@pytest.mark.skipif(not FULL.exists(), reason="a disk that is always full is a file of Linux")
def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **_how: FULL.open("r+b", buffering=0))
    with Space(10**9, resident=4, folder=tmp_path) as space:
        space.write(0, torch.ones(2, 2, 1))
        with pytest.raises(FolderError, match=r"the disk is full: .* up to 4.0 GB there.*--memory"):
            space.write(0, torch.ones(2, 2, 2))


def test_a_folder_that_is_missing_is_said(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="no such file or directory"):
        Space(8, resident=4, folder=tmp_path / "none")


def test_rows_are_computed_once_in_each_pass() -> None:
    values, made = torch.randn(1, 2, 22, 3), list[tuple[int, int]]()

    def make(start: int, stop: int) -> Tensor:
        made.append((start, stop))
        return values[:, :, start:stop]

    computed = Computed(make, height=22, width=3, channels=2, step=4, behind=4)
    for _ in range(2):
        made.clear()
        for start in range(0, 22, 4):  # three rows further on each side, and one strip behind
            for rows in ((max(start - 3, 0), min(start + 7, 22)), (max(start - 4, 0), start + 1)):
                assert torch.equal(computed.rows(*rows), values[:, :, slice(*rows)])
        assert made == [(start, min(start + 4, 22)) for start in range(0, 22, 4)]
    again = computed.again()
    assert torch.equal(again.rows(0, 3), values[:, :, :3])
    assert torch.equal(computed.rows(18, 22), values[:, :, 18:])


def test_strips_fit_a_cache_of_two_mebibytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert strip_rows(2**21 // 4 // 20) == 20
    assert strip_rows(2**21 // 4 // 23) == 20
    assert strip_rows(2**21) == 8
