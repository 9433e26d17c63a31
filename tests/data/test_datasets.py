from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.data import datasets
from impasto.data.datasets import Domain, UnpairedBatch, UnpairedPictures, collate_unpaired
from impasto.data.decode import Picture, read_picture
from impasto.data.sampling import Draw
from impasto.data.transforms import Preprocessing

PLAIN = Preprocessing(mode="none", flip=False)
CROPPING = Preprocessing(load_size=12, crop_size=8)


def fill(folder: Path, count: int, *, first: int = 0, size: tuple[int, int] = (8, 8)) -> list[Path]:
    """Write pictures of one colour each: picture i is (i, 2 i, 100)."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in range(first, first + count):
        rgb = np.empty((*size, 3), np.uint8)
        rgb[:] = index, 2 * index, 100
        paths.append(folder / f"{index:02d}.png")
        Image.fromarray(rgb).save(paths[-1])
    return paths


def noisy(folder: Path, count: int, size: tuple[int, int] = (20, 17)) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    paths = [folder / f"{index}.png" for index in range(count)]
    for path in paths:
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return paths


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def which(image: Tensor | None) -> int:
    """Which of the pictures of :func:`fill` it is."""
    assert image is not None
    red, green, blue = ((image.flatten(1).mean(dim=1) + 1) * 127.5).round().int().tolist()
    assert (green, blue) == (2 * red, 100)
    return int(red)


def test_a_picture_is_decoded_fitted_and_scaled(tmp_path: Path) -> None:
    (path,) = noisy(tmp_path, 1)
    domain = Domain([path], preprocessing=PLAIN)
    image, unreadable = domain.draw(0, generator=seeded())
    with Image.open(path) as file:
        scaled = np.asarray(file.resize((16, 20), Image.Resampling.BICUBIC))
    assert image is not None
    np.testing.assert_allclose(image.numpy(), np.moveaxis(scaled, 2, 0) / 127.5 - 1, atol=1e-6)
    assert unreadable == []
    assert len(domain) == 1


def test_augmentation_comes_from_the_generator(tmp_path: Path) -> None:
    domain = Domain(noisy(tmp_path, 1), preprocessing=CROPPING)

    def draw(seed: int) -> Tensor:
        image, _ = domain.draw(0, generator=seeded(seed))
        assert image is not None
        assert image.shape == (3, 8, 8)
        return image

    assert torch.equal(draw(1), draw(1))
    assert len({draw(seed).sum().item() for seed in range(20)}) > 10


def test_the_first_picture_is_the_middle_of_the_first_that_can_be_read(tmp_path: Path) -> None:
    bad, good = noisy(tmp_path, 2, size=(8, 10))
    bad.write_bytes(b"")
    domain = Domain([bad, good], preprocessing=Preprocessing(mode="crop", crop_size=8))
    image = domain.first()
    assert image is not None
    middle = np.moveaxis(read_picture(good).rgb[:, 1:9], 2, 0) / 127.5 - 1
    np.testing.assert_allclose(image.numpy(), middle[None], atol=1e-6)
    good.write_bytes(b"")
    assert domain.first() is None


def test_unreadable_pictures_are_passed_over(tmp_path: Path) -> None:
    paths = fill(tmp_path, 5)
    paths[2].write_bytes(b"")
    paths[3].unlink()
    domain = Domain(paths, preprocessing=PLAIN)
    for index, expected in ((1, 1), (2, 4), (3, 4), (4, 4)):
        image, unreadable = domain.draw(index, generator=seeded())
        assert which(image) == expected
        assert [path for path, _ in unreadable] == paths[index:expected]
    assert dict(domain.draw(2, generator=seeded())[1]) == {
        paths[2]: "is empty",
        paths[3]: "cannot be opened: no such file or directory",
    }


def test_passing_over_wraps_around_and_ends(tmp_path: Path) -> None:
    paths = fill(tmp_path, 3)
    paths[2].write_bytes(b"x")
    assert which(Domain(paths, preprocessing=PLAIN).draw(2, generator=seeded())[0]) == 0
    for path in paths:
        path.write_bytes(b"x")
    image, unreadable = Domain(paths, preprocessing=PLAIN).draw(1, generator=seeded())
    assert image is None
    assert [path for path, _ in unreadable] == [paths[1], paths[2], paths[0]]


def test_a_sliver_that_would_become_absurdly_high_is_unreadable(tmp_path: Path) -> None:
    paths = [*fill(tmp_path, 1, size=(5000, 3)), *fill(tmp_path, 1, first=7)]
    domain = Domain(paths, preprocessing=Preprocessing(mode="scale_width", crop_size=8))
    image, unreadable = domain.draw(0, generator=seeded())
    assert which(image) == 7
    ((path, reason),) = unreadable
    assert path == paths[0]
    assert "it would be scaled to" in reason


@pytest.mark.parametrize("cache", [False, True])
def test_cache_reads_each_file_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: bool
) -> None:
    paths, read = noisy(tmp_path, 3), []

    def counting(path: Path) -> Picture:
        read.append(path)
        return read_picture(path)

    monkeypatch.setattr(datasets, "read_picture", counting)
    domain = Domain(paths, preprocessing=CROPPING, cache=cache)
    fresh = Domain(paths, preprocessing=CROPPING)
    for seed in range(4):
        for index in (0, 2):
            image, _ = domain.draw(index, generator=seeded(seed))
            again, _ = fresh.draw(index, generator=seeded(seed))
            assert image is not None
            assert again is not None
            assert torch.equal(image, again)
            image.zero_()  # what is given out is not the cache's own
    assert len(read) == (2 if cache else 8) + 8


def test_unreadable_pictures_are_not_cached(tmp_path: Path) -> None:
    paths = fill(tmp_path, 2)
    good: NDArray[np.uint8] = np.frombuffer(paths[0].read_bytes(), np.uint8)
    paths[0].write_bytes(b"half")
    domain = Domain(paths, preprocessing=PLAIN, cache=True)
    assert which(domain.draw(0, generator=seeded())[0]) == 1
    paths[0].write_bytes(good.tobytes())
    assert which(domain.draw(0, generator=seeded())[0]) == 0


def pairs(tmp_path: Path) -> UnpairedPictures:
    return UnpairedPictures(
        Domain(fill(tmp_path / "A", 3), preprocessing=PLAIN),
        Domain(fill(tmp_path / "B", 4, first=50), preprocessing=PLAIN),
    )


def test_pairs_are_looked_up_by_a_draw(tmp_path: Path) -> None:
    batch = pairs(tmp_path)[Draw(index_A=2, index_B=1, seed=0)]
    assert batch.A.shape == batch.B.shape == (1, 3, 8, 8)
    assert (which(batch.A[0]), which(batch.B[0])) == (2, 51)
    assert batch.unreadable == ()


def test_the_draws_seed_decides_both_crops(tmp_path: Path) -> None:
    paths = noisy(tmp_path, 1)
    dataset = UnpairedPictures(*(Domain(paths, preprocessing=CROPPING) for _ in range(2)))
    first, same, other = (dataset[Draw(index_A=0, index_B=0, seed=seed)] for seed in (1, 1, 2))
    assert torch.equal(first.A, same.A)
    assert torch.equal(first.B, same.B)
    assert not torch.equal(first.A, other.A)
    # And B is not cropped where A is.
    crops = [dataset[Draw(index_A=0, index_B=0, seed=seed)] for seed in range(10)]
    assert any(not torch.equal(crop.A, crop.B) for crop in crops)


def test_a_domain_with_nothing_left_gives_an_empty_tensor(tmp_path: Path) -> None:
    dataset = pairs(tmp_path)
    for path in (tmp_path / "B").iterdir():
        path.write_bytes(b"x")
    batch = dataset[Draw(index_A=0, index_B=0, seed=0)]
    assert batch.A.shape == (1, 3, 8, 8)
    assert batch.B.numel() == 0
    assert len(batch.unreadable) == 4
    joined = collate_unpaired([batch, batch])
    assert joined.A.shape == (2, 3, 8, 8)
    assert joined.B.numel() == 0


def test_collate_keeps_order_and_failures(tmp_path: Path) -> None:
    dataset = pairs(tmp_path)
    (tmp_path / "A" / "01.png").write_bytes(b"x")
    batch = collate_unpaired([dataset[Draw(index_A=a, index_B=3 - a, seed=0)] for a in (0, 1, 2)])
    assert [which(image) for image in batch.A] == [0, 2, 2]
    assert [which(image) for image in batch.B] == [53, 52, 51]
    assert [path.name for path, _ in batch.unreadable] == ["01.png"]


def test_moving_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = ((Path("a.png"), "is empty"),)
    batch = UnpairedBatch(A=torch.zeros(1), B=torch.ones(1), unreadable=failures)
    moved = batch.to(torch.device("meta"))
    assert moved.A.is_meta
    assert moved.B.is_meta
    assert moved.unreadable == failures
    # Without a GPU there is no page-locked memory: only see that both are asked for it.
    monkeypatch.setattr(Tensor, "pin_memory", lambda tensor: tensor + 5)
    pinned = batch.pin_memory()
    assert (pinned.A.item(), pinned.B.item(), pinned.unreadable) == (5, 6, failures)
