"""The recursion of L-BFGS against the dense BFGS formula and against torch's iterates."""

import itertools
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.gatys.optim import methods
from impasto.gatys.optim.methods import Adam, AdamState, History, Lbfgs, StackedHistory

HISTORIES = [History, StackedHistory]


def values_of(settings: Adam, gradients: list[float], *, shrink: float = 1.0) -> list[float]:
    """The value of a plain picture of 0.5 before each evaluation and at the end."""
    image = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    stepper = settings.stepper(image, shrink=shrink)
    values = [0.5]
    for gradient in gradients:
        stepper.step(torch.full_like(image, gradient))
        values.append(float(image.detach()[0, 0, 0, 0]))
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
    values = values_of(adam, [0.3] * 7)
    steps = [before - after for before, after in pairwise(values)]
    expected = [adam.rate(step) for step in range(7)]
    assert steps == pytest.approx(expected, abs=1e-6)
    assert expected[5:] == [0.0, 0.0]
    shorter = values_of(adam, [0.3] * 7, shrink=0.25)
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
    assert values_of(Adam(), gradients) == expected


def test_the_rate_begins_anew_with_each_stepper_and_moments_do_not() -> None:
    adam = Adam(lr=0.02, decay_over=4)
    image = torch.full((1, 3, 2, 2), 0.5, requires_grad=True)
    state = AdamState(step=100, first=torch.full((1, 3, 2, 2), 0.3), second=torch.ones(1, 3, 2, 2))
    stepper = adam.stepper(image, state=state)
    stepper.step(torch.full_like(image, 0.3))
    after = stepper.state
    assert after is not None
    assert after.step == 101
    torch.testing.assert_close(after.first, torch.full((1, 3, 2, 2), 0.3))
    second = 0.99 * 1 + 0.01 * 0.09
    correction = 1 - 0.99**101
    moved = 0.5 - 0.02 * (0.3 / (1 - 0.9**101)) / (second / correction) ** 0.5
    torch.testing.assert_close(image.detach(), torch.full((1, 3, 2, 2), moved))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("kind", HISTORIES)
def test_direction_by_the_dense_formula(
    kind: type[History] | type[StackedHistory], count: int
) -> None:
    generator = np.random.default_rng(0)
    n = 7
    root = generator.normal(size=(n, n))
    hessian = root @ root.T + np.eye(n)
    history = kind(3, torch.tensor(0.5, dtype=torch.float64))
    pairs = []
    for _ in range(count):
        step = generator.normal(size=n)
        pairs.append((step, hessian @ step))
        history.add(*(torch.from_numpy(part) for part in pairs[-1]))
    s, y = pairs[-1]
    inverse = (s @ y) / (y @ y) * np.eye(n)
    for s, y in pairs[-3:]:
        # Nocedal and Wright 2006, equation 7.16.
        v = np.eye(n) - np.outer(y, s) / (s @ y)
        inverse = v.T @ inverse @ v + np.outer(s, s) / (s @ y)
    gradient = generator.normal(size=n)
    found = history.direction(torch.from_numpy(gradient)).numpy()
    np.testing.assert_allclose(found, -inverse @ gradient, rtol=1e-10)


@pytest.mark.parametrize("kind", HISTORIES)
def test_pairs_without_curvature_have_no_weight(
    kind: type[History] | type[StackedHistory],
) -> None:
    history = kind(5, torch.tensor(2.0))
    gradient, step = torch.tensor([1.0, -3.0]), torch.tensor([1.0, 0.0])
    for change in (-step, 0 * step, torch.tensor([0.0, 1.0])):
        history.add(step, change)
        assert torch.equal(history.direction(gradient), -2 * gradient)


def test_pairs_without_curvature_change_nothing_among_others() -> None:
    histories = [StackedHistory(4, torch.tensor(2.0)) for _ in range(2)]
    for index in range(3):
        step = torch.eye(3)[index] + 0.2
        for history in histories:
            history.add(step, step * torch.tensor([1.0, 2.0, 3.0]))
        histories[0].add(step, -step if index else torch.full((3,), torch.nan))
    gradient = torch.tensor([1.0, -3.0, 0.5])
    # Of the first history, the first of three pairs was forgotten: four are kept, of either sort.
    expected = StackedHistory(2, torch.tensor(2.0))
    for index in (1, 2):
        step = torch.eye(3)[index] + 0.2
        expected.add(step, step * torch.tensor([1.0, 2.0, 3.0]))
    found = histories[0].direction(gradient)
    torch.testing.assert_close(found, expected.direction(gradient), rtol=1e-5, atol=1e-6)
    assert not torch.allclose(found, histories[1].direction(gradient))


@pytest.mark.parametrize("kind", HISTORIES)
def test_directions_of_32_bits_are_nearly_those_of_64(
    kind: type[History] | type[StackedHistory],
) -> None:
    # Successive steps of a descent, which resemble one another; curvatures from 1 to 1000.
    curvature = torch.logspace(0, 3, 3000, dtype=torch.float64)
    short = kind(20, torch.tensor(1e-3))
    exact = History(20, torch.tensor(1e-3, dtype=torch.float64))
    x = noise = torch.randn(3000, generator=torch.Generator().manual_seed(1)).double()
    for _ in range(30):
        gradient = curvature * x
        expected, found = exact.direction(gradient), short.direction(gradient.float())
        assert (found.double() - expected).norm() < 2e-3 * expected.norm()
        step = 0.9 * expected + 1e-3 * noise
        exact.add(step, curvature * step)
        short.add(step.float(), (curvature * step).float())
        x = x + step


@pytest.mark.parametrize("kind", HISTORIES)
@pytest.mark.parametrize("size", [3, 20])
def test_iterates_are_those_of_torch(
    size: int, kind: type[History] | type[StackedHistory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(methods, "History", kind)
    curvature = torch.linspace(1, 50, 48, dtype=torch.float64).view(1, 3, 4, 4)
    start = torch.linspace(0, 1, 48, dtype=torch.float64).view(1, 3, 4, 4)

    def loss(image: Tensor) -> Tensor:
        return (curvature * (image - 0.3).square() + (image - 0.1) ** 4).mean()

    # Few enough that no curvature is below torch's 1e-10, from where on it would forget steps.
    theirs: list[Tensor] = []
    x = start.clone().requires_grad_()
    reference = torch.optim.LBFGS(
        [x], history_size=size, max_iter=25, max_eval=25, tolerance_grad=-1, tolerance_change=-1
    )

    def closure() -> Tensor:
        theirs.append(x.detach().clone())
        reference.zero_grad()
        value = loss(x)
        value.backward()  # type: ignore[no-untyped-call]
        return value

    reference.step(closure)  # type: ignore[no-untyped-call]
    # Torch's first step is min(1, 1 / |g|_1) times the gradient g; ours is in units of pixels.
    first_step = (theirs[1] - theirs[0]).abs().mean().item()
    ours = [start.clone()]
    image = start.clone().requires_grad_()
    stepper = Lbfgs(history=size, first_step=first_step, longest_step=1e9).stepper(image)
    for _ in theirs[1:]:
        stepper.step(torch.autograd.grad(loss(image), image)[0])
        ours.append(image.detach().clone())
    for n, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(our, their, rtol=0, atol=1e-9, msg=f"iterate {n}")


def test_no_step_is_longer_than_allowed() -> None:
    image = torch.full((1, 3, 4, 4), 0.5).requires_grad_()
    seen = [image.detach().clone()]
    stepper = Lbfgs(longest_step=0.1).stepper(image)
    for _ in range(8):
        stepper.step(torch.autograd.grad((image - 50).square().sum(), image)[0])
        seen.append(image.detach().clone())
    lengths = [(b - a).square().mean().sqrt().item() for a, b in itertools.pairwise(seen)]
    assert max(lengths) == pytest.approx(0.1, rel=1e-4)
