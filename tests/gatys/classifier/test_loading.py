"""Batches: sizes, chance, passing over what cannot be read, order, and held-out pictures."""

import logging
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch.utils.data import _utils as worker_utils

from impasto.data import loaders
from impasto.data.datasets import Draw, UnpairedSampler
from impasto.gatys.classifier.data import PictureArrays, PictureFiles
from impasto.gatys.classifier.loading import (
    Augmentation,
    ClassBatch,
    ClassPictures,
    HeldOutPictures,
    TrainingLoader,
    collate_classes,
)
from impasto.options.errors import FolderError, LostProcessError

HOW = Augmentation(size=32)
Fill = Callable[..., Path]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def numbered(count: int) -> PictureArrays:
    """Plain pictures, each of its number as a level; classes 0, 1, 2, 0, ..."""
    images = np.repeat(np.arange(count, dtype=np.uint8), 32 * 32 * 3).reshape(count, 32, 32, 3)
    labels = [index % 3 for index in range(count)]
    return PictureArrays(file=Path("made"), images=images, labels=labels)


PLAIN = Augmentation(size=32, flip=False, light=0.0)


def levels(batch: ClassBatch) -> list[int]:
    return [round(float(image.double().mean())) for image in batch.images]


# One picture.


@pytest.mark.parametrize("shape", [(32, 32), (300, 200), (200, 300), (33, 500), (5, 9), (9000, 1)])
def test_every_size_becomes_a_square(shape: tuple[int, int]) -> None:
    fitted = HOW.fit(noise(*shape))
    assert HOW.vary(fitted, generator=seeded()).shape == (32, 32, 3)
    assert HOW.center(fitted).shape == (32, 32, 3)


def test_fitting_shrinks_as_far_as_the_smallest_part_allows() -> None:
    how = Augmentation(size=32, smallest_area=0.25)
    assert how.fit(noise(256, 512)).shape == (64, 128, 3)
    small = noise(60, 80)
    assert how.fit(small) is small


def test_the_center_is_the_middle_square_of_the_whole() -> None:
    rgb = np.zeros((64, 192, 3), np.uint8)
    rgb[:, 64:128] = 255
    assert (HOW.center(rgb) == 255).all()


def test_the_center_is_as_large_as_the_largest_part() -> None:
    rgb = np.zeros((160, 240, 3), np.uint8)
    rgb[40:120, 80:160] = 255
    how = Augmentation(size=40, smallest_area=0.1, largest_area=0.25)
    assert (how.center(rgb) == 255).all()
    pixels = noise(160, 240)
    same = Augmentation(size=80, smallest_area=0.25, largest_area=0.25).center(pixels)
    np.testing.assert_array_equal(same, pixels[40:120, 80:160])


def test_what_is_shown_in_training_is_varied_and_reproducible() -> None:
    rgb = noise(64, 64)
    first, same, other = (HOW.vary(rgb, generator=seeded(seed)) for seed in (0, 0, 1))
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)


def test_half_of_the_pictures_are_mirrored() -> None:
    rgb = np.zeros((32, 32, 3), np.uint8)
    rgb[:, 16:] = 255
    for flip, low, high in ((True, 30, 70), (False, 0, 0)):
        how = Augmentation(size=32, smallest_area=1.0, light=0.0, flip=flip)
        varied = [how.vary(rgb, generator=seeded(seed)) for seed in range(100)]
        mirrored = sum(bool(one[:, :8].mean() > one[:, -8:].mean()) for one in varied)
        assert low <= mirrored <= high


# Batches.


def test_a_batch_has_bytes_that_become_numbers_between_0_and_1_and_their_classes() -> None:
    data = ClassPictures(numbered(6), augmentation=PLAIN)
    batch = collate_classes([data[Draw(index_A=i, index_B=0, seed=i)] for i in (5, 1, 3)])
    assert batch.images.shape == (3, 3, 32, 32)
    assert batch.images.dtype == torch.uint8
    assert levels(batch) == [5, 1, 3]
    assert batch.labels.tolist() == [2, 1, 0]
    one = ClassPictures(
        PictureArrays(file=Path("x"), images=noise(32, 32)[None], labels=[0]), augmentation=PLAIN
    ).center(0)
    expected = torch.from_numpy(noise(32, 32)).permute(2, 0, 1) / 255
    assert torch.equal(one.to(torch.device("cpu")).images[0], expected)


def test_what_is_kept_in_memory_is_the_same_and_read_once(
    picture_folder: Fill,
) -> None:
    paths = sorted(picture_folder("a", count=3, size=(90, 120)).iterdir())
    files = PictureFiles(paths=paths, labels=[0, 0, 1])
    kept, fresh = (ClassPictures(files, augmentation=HOW, cache=cache) for cache in (True, False))
    for place in (0, 1, 0):
        draw = Draw(index_A=place, index_B=0, seed=place)
        assert torch.equal(kept[draw].images, fresh[draw].images)
    paths[0].unlink()
    draw = Draw(index_A=0, index_B=0, seed=4)
    assert not kept[draw].unreadable
    assert [path for path, _ in fresh[draw].unreadable] == [paths[0]]


def loader(pictures: ClassPictures, *, batch: int = 4, **how: Any) -> TrainingLoader:
    sampler = UnpairedSampler(len(pictures), 1, batch_size=batch, generator=seeded(), **how)
    return TrainingLoader(pictures, sampler=sampler)


def test_an_epoch_shows_each_picture_once_and_fills_up_the_last_batch() -> None:
    source = loader(ClassPictures(numbered(10), augmentation=PLAIN))
    first, second = ([levels(batch) for batch in source] for _ in range(2))
    assert [len(batch) for batch in first] == [4, 4, 4]
    for epoch in (first, second):
        shown = [level for batch in epoch for level in batch]
        assert sorted(shown[:10]) == list(range(10))
        assert shown[10:] == shown[:2]
    assert first != second


def test_a_state_in_the_middle_of_an_epoch_gives_the_rest_of_it() -> None:
    source, again = (loader(ClassPictures(numbered(10), augmentation=HOW)) for _ in range(2))
    batches = iter(source)
    next(batches)
    state = source.state_dict()
    rest = [batch.images for batch in batches] + [batch.images for batch in source]
    again.load_state_dict(state)
    found = [batch.images for batch in again] + [batch.images for batch in again]
    assert len(found) == 5
    assert all(map(torch.equal, found, rest))


def test_processes_share_a_batch() -> None:
    whole = loader(ClassPictures(numbered(9), augmentation=PLAIN), batch=4)
    halves = [
        loader(ClassPictures(numbered(9), augmentation=PLAIN), batch=2, process=i, processes=2)
        for i in range(2)
    ]
    for together, *parts in zip(whole, *halves, strict=True):
        assert [level for part in parts for level in levels(part)] == levels(together)


# What cannot be read.


def with_broken(picture_folder: Fill, broken: str) -> PictureFiles:
    """Two classes of three pictures, of which those of these places cannot be read."""
    paths = [path for name in "ab" for path in sorted(picture_folder(name, count=3).iterdir())]
    for place in map(int, broken):
        paths[place].write_bytes(b"no picture")
    return PictureFiles(paths=paths, labels=[0, 0, 0, 1, 1, 1])


def test_an_unreadable_picture_is_named_once_and_another_stands_in(
    picture_folder: Fill, caplog: pytest.LogCaptureFixture
) -> None:
    files = with_broken(picture_folder, "14")
    source = loader(ClassPictures(files, augmentation=HOW), batch=3)
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        sizes = [len(batch.labels) for batch in source]
        assert sizes == [3, 3]
    assert set(source.unreadable) == {files.paths[1], files.paths[4]}
    assert sorted(message.split(" cannot be read")[0] for message in caplog.messages) == sorted(
        str(files.paths[place]) for place in (1, 4)
    )


@pytest.mark.parametrize(("broken", "named"), [("345", "b"), ("012", "a"), ("012345", "[ab]")])
def test_a_class_none_of_whose_pictures_can_be_read_is_an_error(
    picture_folder: Fill, broken: str, named: str
) -> None:
    source = loader(ClassPictures(with_broken(picture_folder, broken), augmentation=HOW), batch=3)
    expected = f"/{named}: none of the training pictures of this class can be read; the first"
    with pytest.raises(FolderError, match=expected):
        list(source)


# Held-out pictures.


@pytest.mark.parametrize("workers", [0, 1])
def test_held_out_pictures_come_in_order_and_again(workers: int) -> None:
    data = ClassPictures(numbered(7), augmentation=HOW)
    held_out = HeldOutPictures(data, batch_size=3, workers=workers)
    before = torch.get_rng_state()
    for _ in range(2):
        batches = list(held_out)
        assert [levels(batch) for batch in batches] == [[0, 1, 2], [3, 4, 5], [6]]
        assert torch.cat([batch.labels for batch in batches]).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert torch.equal(torch.get_rng_state(), before)


def test_held_out_pictures_are_shared_out_to_processes() -> None:
    data = ClassPictures(numbered(7), augmentation=HOW)
    parts = [HeldOutPictures(data, batch_size=9, process=i, processes=2) for i in range(2)]
    assert [[levels(batch) for batch in part] for part in parts] == [[[0, 2, 4, 6]], [[1, 3, 5]]]


def test_held_out_pictures_that_cannot_be_read_are_left_out(picture_folder: Fill) -> None:
    files = with_broken(picture_folder, "015")
    held_out = HeldOutPictures(ClassPictures(files, augmentation=HOW), batch_size=2)
    # The first two are a batch of none.
    assert [batch.labels.tolist() for batch in held_out] == [[0, 1], [1]]
    assert set(held_out.unreadable) == {files.paths[place] for place in (0, 1, 5)}


class Picture(PictureArrays):
    """Plain pictures; whoever loads the fourth gets a signal first."""

    number: signal.Signals | None = None

    def read(self, index: int) -> NDArray[np.uint8]:
        if index == 3 and self.number is not None:
            os.kill(os.getpid(), self.number)
        return super().read(index)


def dangerous(number: signal.Signals) -> tuple[HeldOutPictures, Picture]:
    plain = numbered(7)
    pictures = Picture(file=plain.file, images=plain.images, labels=plain.labels)
    pictures.number = number
    data = ClassPictures(pictures, augmentation=HOW)
    return HeldOutPictures(data, batch_size=2, workers=2), pictures


@pytest.mark.parametrize(
    ("asked", "patience", "says"),
    [
        (False, "_STOPPED_PATIENCE_SECONDS", "was stopped by a signal and gave none for 2 seconds"),
        (False, "_PATIENCE_SECONDS", "gave none for 2 seconds; does the disk"),
        (True, "_ASKED_PATIENCE_SECONDS", "stopped while a process that loads pictures gave none"),
    ],
)
def test_held_out_pictures_do_not_wait_for_a_process_that_hangs(
    monkeypatch: pytest.MonkeyPatch, asked: bool, patience: str, says: str
) -> None:
    monkeypatch.setattr(worker_utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    monkeypatch.setattr(loaders, patience, 2.0)
    held_out, pictures = dangerous(signal.SIGSTOP)
    held_out.stop = lambda: asked
    batches = iter(held_out)
    assert levels(next(batches)) == [0, 1]
    processes = list(held_out.processes)
    assert len(processes) >= 1
    with pytest.raises(LostProcessError, match=says):
        list(batches)
    assert not any(process.is_alive() for process in processes)
    pictures.number, held_out.stop = None, lambda: False
    assert [levels(batch) for batch in held_out] == [[0, 1], [2, 3], [4, 5], [6]]


def test_held_out_pictures_tell_of_a_process_that_is_killed() -> None:
    held_out, pictures = dangerous(signal.SIGKILL)
    with pytest.raises(RuntimeError, match="DataLoader worker"):  # as torch itself says it
        list(held_out)
    assert not held_out.processes
    pictures.number = None
    assert [levels(batch) for batch in held_out] == [[0, 1], [2, 3], [4, 5], [6]]


def test_a_process_that_hangs_behind_the_last_picture_is_not_left_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker_utils, "MP_STATUS_CHECK_INTERVAL", 0.2)
    held_out = HeldOutPictures(
        ClassPictures(numbered(7), augmentation=HOW), batch_size=7, workers=1
    )
    batches = iter(held_out)
    next(batches)
    (process,) = held_out.processes
    os.kill(process.pid or 0, signal.SIGSTOP)
    assert list(batches) == []
    assert not process.is_alive()


def test_who_stops_looking_at_held_out_pictures_leaves_no_process() -> None:
    held_out = HeldOutPictures(
        ClassPictures(numbered(7), augmentation=HOW), batch_size=2, workers=2
    )
    batches = iter(held_out)
    next(batches)
    processes = list(held_out.processes)
    batches.close()  # type: ignore[attr-defined]
    assert processes
    assert not any(process.is_alive() for process in processes)
