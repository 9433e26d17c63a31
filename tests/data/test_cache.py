"""What one process has decoded, all find; where there is no room, nothing fails."""

import errno
import gc
import logging
import os
import pickle
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from impasto.data import cache as module
from impasto.data.cache import PictureCache
from impasto.data.datasets import Domain, UnpairedBatch, UnpairedSampler
from impasto.data.decode import Rgb
from impasto.data.loaders import UnpairedLoader
from impasto.data.transforms import Preprocessing

Folder = Callable[..., Path]


def noise(height: int, width: int, seed: int = 0) -> Rgb:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.fixture(params=["memory", "files"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """Let caches lie in memory, or, as on other systems than Linux, in temporary files."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    if request.param == "files":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    elif not hasattr(os, "memfd_create"):
        pytest.skip("the system has no files in memory")
    return str(request.param)


@pytest.mark.parametrize("workers", [0, 2])
def test_pictures_are_kept_as_they_were(workers: int) -> None:
    cache = PictureCache(5, workers=workers)
    pictures = {3: noise(7, 5), 0: noise(1, 9), 4: noise(20, 30)[:, ::-1]}
    for index, rgb in pictures.items():
        assert cache.get(index) is None
        cache.put(index, rgb)
    for index, rgb in pictures.items():
        np.testing.assert_array_equal(cache.get(index), rgb)
    assert cache.get(1) is None
    cache.put(3, noise(4, 4, seed=1))
    np.testing.assert_array_equal(cache.get(3), noise(4, 4, seed=1))


def test_another_process_finds_them(place: str) -> None:
    cache = PictureCache(3, workers=1)
    other = pickle.loads(pickle.dumps(cache))  # noqa: S301 - as a spawned process gets it
    other.put(2, noise(6, 4))
    np.testing.assert_array_equal(cache.get(2), noise(6, 4))
    assert place in {"memory", "files"}


def loader(folders: tuple[Path, Path], *, workers: int, cache: bool) -> UnpairedLoader:
    A, B = (
        Domain(
            sorted(folder.iterdir()),
            preprocessing=Preprocessing(load_size=12, crop_size=8),
            cache=cache,
            workers=workers,
        )
        for folder in folders
    )
    sampler = UnpairedSampler(
        len(A), len(B), batch_size=1, generator=torch.Generator().manual_seed(0)
    )
    return UnpairedLoader((A, B), folders, sampler=sampler, workers=workers)


@pytest.mark.usefixtures("place")
def test_each_file_is_read_once_for_all_processes(
    picture_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two processes, also where there is one core.
    monkeypatch.setattr("impasto.data.loaders.useful_processes", lambda asked: asked)
    folders = picture_folder("A", count=6, seed=1), picture_folder("B", count=6, seed=2)
    expected: list[UnpairedBatch] = []
    plain = loader(folders, workers=0, cache=False)
    for _ in range(4):
        expected += list(plain)
    shared = loader(folders, workers=2, cache=True)
    found = list(shared)
    # What none has seen yet by chance: B is drawn anew for each picture of A.
    for domain in shared._domains:
        for index in range(6):
            domain.draw(index, generator=torch.Generator())
    for folder in folders:
        for path in folder.iterdir():
            path.unlink()
    found += [batch for _ in range(2) for batch in shared]
    shared.close()  # other processes take their places
    found += list(shared)
    shared.close()
    assert not shared.unreadable
    assert len(found) == len(expected) == 24
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine.A, theirs.A)
        assert torch.equal(mine.B, theirs.B)


def test_where_there_is_no_room_it_is_said_once_and_nothing_fails(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = PictureCache(4, workers=1)
    cache.put(0, noise(3, 3))

    def full(_file: object, _values: bytes) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with caplog.at_level(logging.WARNING), monkeypatch.context() as patch:
        patch.setattr(module, "_write", full)
        for index in (1, 2):
            cache.put(index, noise(3, 3))
            assert cache.get(index) is None
    np.testing.assert_array_equal(cache.get(0), noise(3, 3))
    (message,) = [record.getMessage() for record in caplog.records]
    assert "No space left on device" in message


def test_what_was_only_begun_is_not_read() -> None:
    cache = PictureCache(4, workers=1)
    cache.put(1, noise(3, 3))
    table, *files = cache._files()
    table.seek(module._RECORD_BYTES)
    record = table.read(module._RECORD_BYTES)
    for damaged in (record[:10] + bytes(len(record) - 10), bytes(len(record)), record[::-1]):
        table.seek(module._RECORD_BYTES)
        table.write(damaged)
        assert cache.get(1) is None
    table.seek(module._RECORD_BYTES)
    table.write(record)
    np.testing.assert_array_equal(cache.get(1), noise(3, 3))
    files[0].truncate(5)
    assert cache.get(1) is None


def test_the_memory_is_free_when_the_cache_is_gone(place: str, tmp_path: Path) -> None:
    before = set(Path("/proc/self/fd").iterdir()) if place == "memory" else set()
    cache = PictureCache(4, workers=3)
    cache.put(1, noise(3, 3))
    # The table, this process and three others.
    assert len(list(tmp_path.iterdir())) == (0 if place == "memory" else 5)
    del cache
    gc.collect()
    assert not list(tmp_path.iterdir())
    if place == "memory":
        assert set(Path("/proc/self/fd").iterdir()) <= before
