import itertools
from collections import Counter
from typing import Any

import pytest
import torch

from impasto.data.sampling import Draw, UnpairedSampler


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
