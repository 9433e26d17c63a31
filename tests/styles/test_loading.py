"""Photographs in memory, and crops of them."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.options.errors import FolderError
from impasto.styles.loading import CropLoader, Photographs, read_photographs


def photographs(count: int = 5, height: int = 12, width: int = 9) -> Photographs:
    # The red of each pixel is the number of its photograph, green its row, blue its column.
    rows, columns = np.indices((height, width))
    pictures = [
        np.stack([np.full_like(rows, place), rows, columns], axis=2).astype(np.uint8)
        for place in range(count)
    ]
    return Photographs(
        pictures=pictures, paths=[Path(f"{place}.png") for place in range(count)], unreadable={}
    )


def make_loader(some: Photographs, batch: int = 2, seed: int = 0) -> CropLoader:
    generator = torch.Generator().manual_seed(seed)
    return CropLoader(some, size=8, batch_size=batch, generator=generator)


def test_an_epoch_shows_each_photograph_in_whole_batches() -> None:
    loader = make_loader(photographs())
    batches = [batch.pixels for batch in loader]
    assert [len(batch) for batch in batches] == [2, 2, 2]
    assert loader.epoch_images == 6
    seen = [int(number) for batch in batches for number in batch[:, 0, 0, 0]]
    assert sorted(seen[:5]) == [0, 1, 2, 3, 4]
    assert seen[5] == seen[0]
    assert loader.position == 0


def test_crops_are_parts_of_photographs_upright_or_mirrored() -> None:
    loader, steps, tops = make_loader(photographs()), set(), set()
    for _ in range(20):
        for batch in loader:
            for crop in batch.pixels.int():
                assert (crop[1:, :, 1] - crop[:-1, :, 1] == 1).all()
                across = crop[:, 1:, 2] - crop[:, :-1, 2]
                assert len(across.unique()) == 1
                steps.add(int(across[0, 0]))
                tops.add(int(crop[0, 0, 1]))
    assert steps == {1, -1}
    assert tops == {0, 1, 2, 3, 4}


def test_a_batch_on_a_device_is_in_the_range_of_generators() -> None:
    batch = next(iter(make_loader(photographs())))
    images = batch.to(torch.device("cpu"))
    assert images.shape == (2, 3, 8, 8)
    assert images.is_contiguous()
    expected = batch.pixels.permute(0, 3, 1, 2) / 127.5 - 1
    assert torch.allclose(images, expected)


def test_a_resumed_loader_goes_on_exactly(caplog: pytest.LogCaptureFixture) -> None:
    whole, first = make_loader(photographs()), make_loader(photographs())
    expected = [batch.pixels for _ in range(2) for batch in whole]
    found = [next(iter(first)).pixels]
    state = first.state_dict()
    second = make_loader(photographs(), seed=9)
    second.load_state_dict(state)
    found += [batch.pixels for _ in range(2) for batch in second]
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))
    assert not caplog.records


def test_other_photographs_are_told_and_begin_an_epoch(caplog: pytest.LogCaptureFixture) -> None:
    loader = make_loader(photographs())
    next(iter(loader))
    state = loader.state_dict()
    others = make_loader(photographs(3))
    with caplog.at_level(logging.WARNING):
        others.load_state_dict(state)
    assert "the pictures changed since the state was saved" in caplog.text
    assert others.position == 0


def test_shorter_sides_are_spread_and_nothing_else_is_changed(tmp_path: Path) -> None:
    for place in range(8):
        Image.new("RGB", (40, 20), (place, 0, 0)).save(tmp_path / f"{place}.png")
    paths = sorted(tmp_path.glob("*.png"))
    found = read_photographs(paths, smallest=10, largest=30, threads=2)
    sides = [min(picture.shape[:2]) for picture in found.pictures]
    assert min(sides) == 10
    assert max(sides) > 25
    assert all(picture.shape[1] == 2 * picture.shape[0] for picture in found.pictures)
    assert [int(picture[0, 0, 0]) for picture in found.pictures] == list(range(8))


def test_what_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    Image.new("RGB", (40, 20)).save(tmp_path / "a.png")
    (tmp_path / "b.png").write_bytes(b"nothing")
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    found = read_photographs(paths, smallest=10, largest=30, threads=1)
    assert list(found.unreadable) == [tmp_path / "b.png"]
    assert len(found.pictures) == 1
    with pytest.raises(FolderError, match="no photograph can be read"):
        read_photographs(paths[1:], smallest=10, largest=30, threads=1)
