from itertools import pairwise

import pytest
import torch
from torch import Tensor

from impasto.gatys.adam import Adam, AdamState


class EnoughError(Exception):
    """Ends a walk, as the last evaluation does."""


def walk(settings: Adam, gradients: list[float], *, shrink: float = 1.0) -> list[float]:
    """The value of a plain picture of 0.5 before each evaluation and at the end."""
    image = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    steps = settings.walk(image, shrink, None)
    values: list[float] = []

    def evaluate() -> tuple[Tensor, Tensor]:
        values.append(float(image.detach()[0, 0, 0, 0]))
        if len(values) > len(gradients):
            raise EnoughError
        return torch.zeros(()), torch.full_like(image, gradients[len(values) - 1])

    with pytest.raises(EnoughError):
        steps.run(evaluate)
    return values


def test_the_rate_stays_unless_it_is_to_fall() -> None:
    adam = Adam(lr=0.05)
    assert [adam.rate(step) for step in (0, 1, 10_000)] == [0.05] * 3


def test_the_rate_falls_along_half_a_cosine_and_stays_at_0() -> None:
    adam = Adam(lr=0.08, decay_over=40)
    rates = [adam.rate(step) for step in range(41)]
    assert rates[0] == 0.08
    assert rates[10] == pytest.approx(0.04 * (1 + 0.5**0.5))
    assert rates[20] == pytest.approx(0.04)
    assert rates[30] == pytest.approx(0.04 * (1 - 0.5**0.5))
    assert rates[40] == 0
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert [adam.rate(step) for step in (41, 80, 1000)] == [0.0] * 3


def test_steps_are_as_long_as_the_rate() -> None:
    # Whatever the size of gradients that stay the same, Adam's step is its rate.
    adam = Adam(lr=0.02, decay_over=5)
    values = walk(adam, [0.3] * 7)
    steps = [before - after for before, after in pairwise(values)]
    expected = [adam.rate(step) for step in range(7)]
    assert steps == pytest.approx(expected, abs=1e-6)
    assert expected[5:] == [0.0, 0.0]
    shorter = walk(adam, [0.3] * 7, shrink=0.25)
    assert shorter[0] - shorter[-1] == pytest.approx((values[0] - values[-1]) / 4, abs=1e-6)


def test_a_constant_rate_is_torch_s_adam() -> None:
    gradients = [0.3, -0.1, 0.2, 0.7, -0.4]
    image = torch.full((1, 3, 2, 2), 0.5)
    optimizer = torch.optim.Adam([image], lr=0.02, betas=(0.9, 0.99), eps=1e-12)
    expected = [0.5]
    for gradient in gradients:
        image.grad = torch.full_like(image, gradient)
        optimizer.step()
        expected.append(float(image[0, 0, 0, 0]))
    assert walk(Adam(), gradients) == expected


def test_the_rate_begins_anew_with_each_walk_and_moments_do_not() -> None:
    adam = Adam(lr=0.02, decay_over=4)
    image = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    state = AdamState(step=100, first=torch.full((1, 3, 2, 2), 0.3), second=torch.ones(1, 3, 2, 2))
    steps = adam.walk(image, 1.0, state)
    evaluations = 0

    def evaluate() -> tuple[Tensor, Tensor]:
        nonlocal evaluations
        evaluations += 1
        if evaluations > 1:
            raise EnoughError
        return torch.zeros(()), torch.full_like(image, 0.3)

    with pytest.raises(EnoughError):
        steps.run(evaluate)
    after = steps.state
    assert after is not None
    assert after.step == 101
    torch.testing.assert_close(after.first, torch.full((1, 3, 2, 2), 0.3))
    second = 0.99 * 1 + 0.01 * 0.09
    correction = 1 - 0.99**101
    moved = 0.5 - 0.02 * (0.3 / (1 - 0.9**101)) / (second / correction) ** 0.5
    torch.testing.assert_close(image.detach(), torch.full((1, 3, 2, 2), moved))
