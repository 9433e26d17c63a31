import math

import pytest
import torch
from torch import Tensor

from impasto.cyclegan.pools import ImagePool


def pool(size: int, seed: int = 0) -> ImagePool:
    return ImagePool(size, generator=torch.Generator().manual_seed(seed))


def image(value: float, *, side: int = 1) -> Tensor:
    return torch.full((1, 3, side, side), float(value))


def ask(images: ImagePool, value: float) -> int:
    return int(images.query(image(value))[0, 0, 0, 0])


def test_gives_back_the_first_fifty() -> None:
    images = pool(50)
    assert [ask(images, value) for value in range(50)] == list(range(50))
    assert len(images) == 50
    for value in range(50, 80):
        ask(images, value)
    assert len(images) == 50


def test_then_swaps_half_of_them() -> None:
    images, asked = pool(50), 4000
    for value in range(50):
        ask(images, value)
    answers = [ask(images, value) for value in range(50, 50 + asked)]
    old = [answer for value, answer in enumerate(answers, start=50) if answer != value]
    # Binomial with p = 1/2: four deviations.
    assert abs(len(old) - asked / 2) < 4 * math.sqrt(asked / 4)
    # A picture leaves the pool when it is given out: none is met twice.
    assert len(set(answers)) == len(answers)
    assert all(answer <= value for value, answer in enumerate(answers, start=50))


def test_every_place_is_swapped_alike() -> None:
    images, asked, size = pool(5), 4000, 5
    held = {value: value for value in range(size)}
    for value in range(size):
        ask(images, value)
    counts = dict.fromkeys(range(size), 0)
    place_of = dict(held)
    for value in range(size, size + asked):
        answer = ask(images, value)
        if answer != value:
            place = place_of.pop(answer)
            place_of[value] = place
            counts[place] += 1
    expected = sum(counts.values()) / size
    # Chi-square with 4 degrees of freedom exceeds 18.47 once in a thousand.
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 18.47


def test_size_0_passes_through() -> None:
    images = pool(0)
    assert [ask(images, value) for value in range(20)] == list(range(20))
    assert len(images) == 0


def test_negative_size_is_refused() -> None:
    with pytest.raises(ValueError, match="size: expected 0 or more, got -1"):
        pool(-1)


def test_batches_keep_their_shape_and_are_detached() -> None:
    for size in (0, 3, 10):
        images = pool(size)
        for step in range(5):
            batch = torch.rand(4, 3, 6, 5, requires_grad=True) + step
            answer = images.query(batch)
            assert answer.shape == batch.shape
            assert not answer.requires_grad


def test_keeps_copies_not_views() -> None:
    images = pool(1)
    first = image(1)
    images.query(first)
    first.zero_()
    assert {ask(images, 2) for _ in range(20)} == {1, 2}


def test_one_batch_may_meet_itself() -> None:
    # Pictures enter one by one, as in the reference: the second may push out the first.
    answers = {
        tuple(
            pool(1, seed).query(torch.cat([image(1), image(2), image(3)])).flatten(1)[:, 0].tolist()
        )
        for seed in range(30)
    }
    assert answers == {(1, 2, 3), (1, 1, 2), (1, 1, 3), (1, 2, 1)}


def test_sizes_are_not_mixed() -> None:
    images = pool(4)
    for value in range(4):
        images.query(image(value))
    for value in range(4, 60):
        answer = images.query(image(value, side=2))
        assert answer.shape == (1, 3, 2, 2)
        assert int(answer[0, 0, 0, 0]) == value
    # Nor did they push the others out.
    assert {ask(images, 100) for _ in range(60)} >= {0, 1, 2, 3, 100}


@pytest.mark.parametrize("steps", [0, 3, 10, 40])
def test_continues_with_identical_choices(steps: int) -> None:
    images = pool(10)
    for value in range(steps):
        ask(images, value)
    restored = pool(10, seed=99)
    restored.load_state_dict(images.state_dict())
    assert len(restored) == len(images)
    later = range(steps, steps + 50)
    assert [ask(restored, value) for value in later] == [ask(images, value) for value in later]


def test_state_is_not_changed_by_what_follows() -> None:
    images = pool(3)
    for value in range(3):
        ask(images, value)
    state = images.state_dict()
    first = [ask(images, value) for value in range(10, 40)]
    restored = pool(3)
    restored.load_state_dict(state)
    assert [ask(restored, value) for value in range(10, 40)] == first


def test_smaller_pool_forgets_the_rest() -> None:
    images = pool(5)
    for value in range(5):
        ask(images, value)
    restored = pool(2)
    restored.load_state_dict(images.state_dict(), device=torch.device("cpu"))
    assert len(restored) == 2
    assert {ask(restored, 9) for _ in range(30)} == {0, 1, 9}


def test_samples_are_drawn_from_all_stored_pictures_and_leave_the_pool_alone() -> None:
    images = pool(4)
    for value in range(4):
        ask(images, value)
    drawn = images.sample(200)
    assert drawn.shape == (200, 3, 1, 1)
    assert {int(value) for value in drawn[:, 0, 0, 0]} == {0, 1, 2, 3}
    assert len(images) == 4
    other = pool(4, seed=5)
    other.load_state_dict(images.state_dict())
    assert torch.equal(images.sample(9), other.sample(9))


def test_an_empty_pool_has_no_samples() -> None:
    with pytest.raises(ValueError, match="the pool is empty"):
        pool(4).sample(1)
