"""The recursion of L-BFGS against the dense BFGS formula and against torch's iterates."""

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.gatys.lbfgs import History, Lbfgs, LbfgsWalk


class EnoughError(Exception):
    pass


def test_direction_by_the_dense_formula() -> None:
    generator = np.random.default_rng(0)
    n = 7
    root = generator.normal(size=(n, n))
    hessian = root @ root.T + np.eye(n)
    history = History(3, torch.tensor(0.5, dtype=torch.float64))
    pairs = []
    for _ in range(5):
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


def test_pairs_without_curvature_have_no_weight() -> None:
    history = History(5, torch.tensor(2.0))
    gradient, step = torch.tensor([1.0, -3.0]), torch.tensor([1.0, 0.0])
    for change in (-step, 0 * step, torch.tensor([0.0, 1.0])):
        history.add(step, change)
    assert torch.equal(history.direction(gradient), -2 * gradient)


@pytest.mark.parametrize("size", [3, 20])
def test_iterates_are_those_of_torch(size: int) -> None:
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
    ours: list[Tensor] = []
    image = start.clone().requires_grad_()

    def evaluate() -> tuple[Tensor, Tensor]:
        ours.append(image.detach().clone())
        if len(ours) == len(theirs):
            raise EnoughError
        value = loss(image)
        return value.detach(), torch.autograd.grad(value, image)[0]

    settings = Lbfgs(history=size, first_step=first_step, longest_step=1e9)
    with pytest.raises(EnoughError):
        LbfgsWalk(image, settings).run(evaluate)
    for n, (our, their) in enumerate(zip(ours, theirs, strict=True)):
        torch.testing.assert_close(our, their, rtol=0, atol=1e-9, msg=f"iterate {n}")


def test_no_step_is_longer_than_allowed() -> None:
    image = torch.full((1, 3, 4, 4), 0.5).requires_grad_()
    seen: list[Tensor] = []

    def evaluate() -> tuple[Tensor, Tensor]:
        seen.append(image.detach().clone())
        if len(seen) == 9:
            raise EnoughError
        value = (image - 50).square().sum()
        return value.detach(), torch.autograd.grad(value, image)[0]

    with pytest.raises(EnoughError):
        LbfgsWalk(image, Lbfgs(longest_step=0.1)).run(evaluate)
    lengths = [(b - a).square().mean().sqrt().item() for a, b in itertools.pairwise(seen)]
    assert max(lengths) == pytest.approx(0.1, rel=1e-4)
