"""Tests."""

import itertools
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from impasto.data import transforms
from impasto.data.datasets import (
    Domain,
    Draw,
    UnpairedBatch,
    UnpairedPictures,
    UnpairedSampler,
    collate_unpaired,
)
from impasto.data.decode import Picture, read_picture
from impasto.data.samples.photographs import sample_photographs
from impasto.data.transforms import Preprocessing
from impasto.options.errors import FolderError

PLAIN = Preprocessing(mode="none", flip=False)
CROPPING = Preprocessing(load_size=12, crop_size=8)


def fill(folder: Path, count: int, *, first: int = 0, size: tuple[int, int] = (8, 8)) -> list[Path]:
    """Write pictures of one color each: picture i is (i, 2 i, 100)."""
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
    assert image.dtype == torch.uint8
    red, green, blue = image.flatten(1).double().mean(dim=1).round().int().tolist()
    assert (green, blue) == (2 * red, 100)
    return int(red)


def test_a_picture_is_decoded_fitted_and_scaled(tmp_path: Path) -> None:
    (path,) = noisy(tmp_path, 1)
    domain = Domain([path], preprocessing=PLAIN)
    image, unreadable = domain.draw(0, generator=seeded())
    with Image.open(path) as file:
        scaled = np.asarray(file.resize((16, 20), Image.Resampling.BICUBIC))
    assert image is not None
    assert image.dtype == torch.uint8
    np.testing.assert_array_equal(image.numpy(), np.moveaxis(scaled, 2, 0))
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


def test_pictures_are_drawn_one_after_another_and_begin_anew(tmp_path: Path) -> None:
    paths = fill(tmp_path, 4)
    paths[2].write_bytes(b"x")
    drawn = Domain(paths, preprocessing=PLAIN).drawn([0, 2, 5], seeded())
    assert [which(each) for each in drawn] == [0, 3, 1]


def test_what_is_drawn_of_a_folder_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    paths = fill(tmp_path, 2)
    for path in paths:
        path.write_bytes(b"")
    drawn = Domain(paths, preprocessing=PLAIN).drawn([0], seeded())
    with pytest.raises(FolderError, match=r"none of its pictures can be read; .* is empty"):
        next(drawn)


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

    monkeypatch.setattr(transforms, "read_picture", counting)
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


@pytest.mark.parametrize("mode", ["resize_and_crop", "scale_width_and_crop", "none"])
def test_reduced_decoding_gives_the_same_sizes_and_nearly_the_same_pixels(
    tmp_path: Path, mode: str
) -> None:
    (photograph, *_) = sample_photographs().values()
    path = tmp_path / "photograph.jpg"
    Image.fromarray(photograph).resize((1201, 803)).save(path, quality=95)
    how = Preprocessing(mode=mode, load_size=72, crop_size=40)
    exact, reduced = (
        Domain([path], preprocessing=how, reduced_decoding=value).draw(0, generator=seeded())[0]
        for value in (False, True)
    )
    assert exact is not None
    assert reduced is not None
    assert exact.shape == reduced.shape
    apart = (exact.double() - reduced.double()).abs()
    assert (apart.max() > 0) == (mode != "none")  # of which every pixel is needed
    assert apart.mean() < 1  # of 255 levels


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


def test_bytes_become_numbers_on_the_device(tmp_path: Path) -> None:
    batch = pairs(tmp_path)[Draw(index_A=1, index_B=0, seed=0)]
    assert batch.A.dtype == batch.B.dtype == torch.uint8
    there = batch.to(torch.device("cpu"))
    # The numbers that loaders gave when they normalized themselves.
    assert torch.equal(there.A, batch.A.float() / 127.5 - 1)
    again = there.to(torch.device("cpu"))
    assert torch.equal(again.B, batch.B.float() / 127.5 - 1)
    sent = batch.sent(torch.device("meta"))
    assert sent.A.is_meta
    assert sent.A.dtype == torch.uint8  # a quarter of what numbers would be


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


def sampler(
    size_A: int = 5, size_B: int = 7, *, seed: int = 0, batch_size: int = 1, **options: Any
) -> UnpairedSampler:
    generator = torch.Generator().manual_seed(seed)
    return UnpairedSampler(size_A, size_B, batch_size=batch_size, generator=generator, **options)


def run(of: UnpairedSampler, batches: int) -> list[list[Draw]]:
    """Take batches, over as many epochs as it needs."""
    taken: list[list[Draw]] = []
    while len(taken) < batches:
        for batch in of:
            of.advance()
            taken.append(batch)
            if len(taken) == batches:
                break
        else:
            of.next_epoch()
    return taken


def flat(batches: list[list[Draw]]) -> list[Draw]:
    return list(itertools.chain.from_iterable(batches))


@pytest.mark.parametrize(
    ("size_A", "size_B", "length"), [(5, 7, 7), (7, 5, 7), (4, 4, 4), (1, 9, 9)]
)
def test_an_epoch_has_as_many_pairs_as_the_larger_domain(
    size_A: int, size_B: int, length: int
) -> None:
    of = sampler(size_A, size_B)
    assert of.epoch_length == len(of) == len(list(of)) == length


@pytest.mark.parametrize(("size_A", "size_B"), [(5, 17), (17, 5), (6, 6), (1, 8)])
def test_A_is_covered_evenly_and_wraps_around(size_A: int, size_B: int) -> None:
    of = sampler(size_A, size_B)
    for _ in range(5):
        counts = Counter(draw.index_A for draw in flat(list(of)))
        pairs = max(size_A, size_B)
        # The reference's rule: index modulo the number of pictures.
        assert counts == Counter(index % size_A for index in range(pairs))
        of.next_epoch()


def test_order_of_A_is_shuffled_anew_each_epoch() -> None:
    of, orders = sampler(20, 20), []
    for _ in range(3):
        orders.append([draw.index_A for draw in flat(list(of))])
        of.next_epoch()
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len({tuple(order) for order in [*orders, list(range(20))]}) == 4


def test_every_picture_of_A_comes_first_equally_often() -> None:
    of, counts = sampler(8, 3), [0] * 8
    for _ in range(1600):
        counts[next(iter(of))[0].index_A] += 1
        of.next_epoch()
    # Chi-square with 7 degrees of freedom exceeds 24.3 once in a thousand.
    assert sum((count - 200) ** 2 / 200 for count in counts) < 24.3


def test_B_is_uniform_and_does_not_depend_on_A() -> None:
    of = sampler(4, 5)
    counts = Counter((draw.index_A, draw.index_B) for draw in flat(run(of, 10_000)))
    assert set(counts) == set(itertools.product(range(4), range(5)))
    by_A, by_B = Counter[int](), Counter[int]()
    for (index_A, index_B), count in counts.items():
        by_A[index_A] += count
        by_B[index_B] += count
    # Of B alone: chi-square with 4 degrees of freedom exceeds 18.5 once in a thousand.
    assert sum((count - 2000) ** 2 / 2000 for count in by_B.values()) < 18.5
    # Of both: 3 x 4 degrees of freedom, 32.9.
    independent = {pair: by_A[pair[0]] * by_B[pair[1]] / 10_000 for pair in counts}
    assert sum((counts[pair] - e) ** 2 / e for pair, e in independent.items()) < 32.9


def test_B_is_drawn_with_replacement() -> None:
    counts = Counter(draw.index_B for draw in flat(run(sampler(3, 50), 50)))
    assert max(counts.values()) > 1


def test_serial_takes_both_in_order() -> None:
    of = sampler(3, 5, serial=True)
    for _ in range(2):
        pairs = [(draw.index_A, draw.index_B) for draw in flat(list(of))]
        assert pairs == [(0, 0), (1, 1), (2, 2), (0, 3), (1, 4)]
        of.next_epoch()
    larger_A = sampler(5, 3, serial=True)
    assert [(draw.index_A, draw.index_B) for draw in flat(list(larger_A))][3:] == [(3, 0), (4, 1)]


@pytest.mark.parametrize("serial", [False, True])
def test_seeds_of_augmentation_are_never_repeated(serial: bool) -> None:
    seeds = [draw.seed for draw in flat(run(sampler(serial=serial), 300))]
    assert len(set(seeds)) == 300
    assert all(0 <= seed < 2**62 for seed in seeds)


@pytest.mark.parametrize("serial", [False, True])
def test_epochs_are_filled_up_to_whole_batches_from_the_beginning(serial: bool) -> None:
    of = sampler(7, 4, batch_size=3, serial=serial)
    for _ in range(3):
        batches = list(of)
        assert [len(batch) for batch in batches] == [3, 3, 3]
        assert len(of) == 3
        assert of.epoch_length == 9
        order = [draw.index_A for draw in flat(batches)]
        assert sorted(order[:7]) == list(range(7))
        assert order[7:] == order[:2]
        of.next_epoch()


def test_batch_larger_than_the_domains() -> None:
    (batch,) = sampler(2, 1, batch_size=5)
    assert [draw.index_A for draw in batch][2:4] == [draw.index_A for draw in batch][:2]
    assert len(batch) == 5


@pytest.mark.parametrize(("batch_size", "processes"), [(1, 2), (2, 3), (3, 2)])
def test_processes_share_the_order_of_one(batch_size: int, processes: int) -> None:
    alone = sampler(11, 9, batch_size=batch_size * processes)
    shares = [
        sampler(11, 9, batch_size=batch_size, process=process, processes=processes)
        for process in range(processes)
    ]
    for _ in range(3):
        per_process = [list(share) for share in shares]
        assert {len(batches) for batches in per_process} == {len(alone)}
        for step, batch in enumerate(alone):
            parts = [batches[step] for batches in per_process]
            assert all(len(part) == batch_size for part in parts)
            assert flat(parts) == batch
        for share in (alone, *shares):
            assert share.epoch_length == alone.epoch_length
            assert share.global_batch == batch_size * processes
            share.next_epoch()


@pytest.mark.parametrize("batch_size", [1, 2, 3])
def test_resumed_at_every_position_equals_uninterrupted(batch_size: int) -> None:
    total = 3 * len(sampler(batch_size=batch_size)) + 1
    whole = run(sampler(batch_size=batch_size), total)
    for position in range(total):
        first = sampler(batch_size=batch_size)
        begun = run(first, position)
        saved = first.state_dict()
        list(first)  # worker processes may have read on to the end of the epoch
        resumed = sampler(seed=99, batch_size=batch_size)
        resumed.load_state_dict(saved)
        assert begun + run(resumed, total - position) == whole


def test_saved_at_the_very_end_of_an_epoch() -> None:
    of = sampler()
    expected = run(sampler(), 14)
    run(of, 7)
    assert len(of) == 0
    resumed = sampler(seed=1)
    resumed.load_state_dict(of.state_dict())
    assert list(resumed) == []
    resumed.next_epoch()
    assert list(resumed) == expected[7:]


def test_looking_does_not_move() -> None:
    of = sampler()
    assert list(of) == list(of)
    assert of.position == 0
    of.advance()
    assert of.position == 1
    assert len(of) == 6


def test_state_is_not_changed_by_what_follows() -> None:
    of = sampler()
    state = of.state_dict()
    expected = run(of, 20)
    again = sampler(seed=5)
    again.load_state_dict(state)
    assert run(again, 20) == expected


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("size_A", (0, 1, 1)), ("size_B", (1, 0, 1)), ("batch_size", (1, 1, 0))],
)
def test_sizes_must_be_positive(name: str, sizes: tuple[int, int, int]) -> None:
    size_A, size_B, batch_size = sizes
    with pytest.raises(ValueError, match=f"{name}: expected 1 or more, got 0"):
        sampler(size_A, size_B, batch_size=batch_size)
