import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from impasto.cyclegan.losses import (
    AdversarialLoss,
    adversarial_loss,
    cycle_loss,
    discriminator_loss,
    gradient_penalty,
    hinge_loss,
    identity_loss,
    least_squares_loss,
    vanilla_loss,
    wasserstein_loss,
)


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def close(found: Tensor, expected: float) -> None:
    assert found.shape == ()
    assert found.item() == pytest.approx(expected, rel=1e-12, abs=1e-14)


def squared(x: np.ndarray, real: bool) -> float:
    return float(np.mean((x - (1 if real else 0)) ** 2))


def entropy(x: np.ndarray, real: bool) -> float:
    p = 1 / (1 + np.exp(-x))
    return float(-np.mean(np.log(p if real else 1 - p)))


def critic(x: np.ndarray, real: bool) -> float:
    return float(np.mean(x)) * (-1 if real else 1)


def hinge(x: np.ndarray, real: bool) -> float:
    return float(np.mean([max(0.0, 1 - score if real else 1 + score) for score in x.ravel()]))


LOSSES: list[tuple[str, AdversarialLoss, Callable[[np.ndarray, bool], float]]] = [
    ("lsgan", least_squares_loss, squared),
    ("vanilla", vanilla_loss, entropy),
    ("wgangp", wasserstein_loss, critic),
    ("hinge", hinge_loss, hinge),
]


@pytest.mark.parametrize(("mode", "loss", "by_hand"), LOSSES)
@pytest.mark.parametrize("real", [True, False])
def test_adversarial_losses_in_numpy(
    mode: str, loss: AdversarialLoss, by_hand: Callable[[np.ndarray, bool], float], real: bool
) -> None:
    scores = noise(2, 1, 5, 4)
    close(loss(scores, real), by_hand(scores.numpy(), real))
    assert adversarial_loss(mode) is loss


def test_perfect_and_undecided_scores() -> None:
    close(least_squares_loss(torch.ones(3, dtype=torch.float64), True), 0.0)
    close(least_squares_loss(torch.zeros(3, dtype=torch.float64), False), 0.0)
    close(least_squares_loss(torch.zeros(3, dtype=torch.float64), True), 1.0)
    for real in (True, False):
        close(vanilla_loss(torch.zeros(3, dtype=torch.float64), real), math.log(2))
    # A logit of 1000 must not become infinite.
    close(vanilla_loss(torch.full((3,), 1000.0, dtype=torch.float64), False), 1000.0)


def test_wasserstein_signs() -> None:
    scores = torch.tensor([3.0, 5.0], dtype=torch.float64)
    close(wasserstein_loss(scores, True), -4.0)  # higher scores of real pictures: less loss
    close(wasserstein_loss(scores, False), 4.0)


@pytest.mark.parametrize(("_mode", "loss", "by_hand"), LOSSES)
def test_discriminator_loss_is_halved(
    _mode: str, loss: AdversarialLoss, by_hand: Callable[[np.ndarray, bool], float]
) -> None:
    real, fake = noise(2, 1, 3, 3, seed=1), noise(2, 1, 3, 3, seed=2)
    found = discriminator_loss(loss, real, fake)
    close(found, (by_hand(real.numpy(), True) + by_hand(fake.numpy(), False)) / 2)


@pytest.mark.parametrize("loss", [cycle_loss, identity_loss])
def test_distances_in_numpy(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    first, second = noise(2, 3, 4, 5, seed=1), noise(2, 3, 4, 5, seed=2)
    close(loss(first, second), float(np.abs(first.numpy() - second.numpy()).mean()))


@pytest.mark.parametrize("real", [True, False])
@pytest.mark.parametrize("mode", ["lsgan", "vanilla", "wgangp"])
def test_gradients_of_adversarial_losses(mode: str, real: bool) -> None:
    loss = adversarial_loss(mode)
    scores = noise(2, 1, 3, 2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: loss(x, real), (scores,))
    other = noise(2, 1, 3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: discriminator_loss(loss, a, b), (scores, other))


@pytest.mark.parametrize("loss", [cycle_loss, identity_loss])
def test_gradients_of_distances(loss: Callable[[Tensor, Tensor], Tensor]) -> None:
    first, second = (noise(1, 3, 2, 2, seed=seed).requires_grad_() for seed in (1, 2))
    assert torch.autograd.gradcheck(loss, (first, second))


def test_unknown_mode() -> None:
    with pytest.raises(
        ValueError, match="gan_mode: expected one of lsgan, vanilla, wgangp, hinge, got 'w'"
    ):
        adversarial_loss("w")


class Linear(nn.Module):
    """A critic whose gradient is its weight everywhere."""

    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)

    def forward(self, images: Tensor) -> Tensor:
        return (images * self.weight).sum(dim=(1, 2, 3)) + 7


class Quadratic(nn.Module):
    """A critic whose gradient is its input."""

    def forward(self, images: Tensor) -> Tensor:
        return (images**2).sum(dim=(1, 2, 3)) / 2


def penalty(module: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    return gradient_penalty(module, real, fake, generator=torch.Generator().manual_seed(5))


def test_penalty_of_a_linear_critic() -> None:
    weight = noise(3, 4, 4)
    module = Linear(weight.clone())
    found = penalty(module, noise(2, 3, 4, 4, seed=1), noise(2, 3, 4, 4, seed=2))
    norm = float(np.linalg.norm(weight.numpy()))
    close(found, (norm - 1) ** 2)
    (gradient,) = torch.autograd.grad(found, module.weight)
    # d (|w| - 1)^2 / dw
    torch.testing.assert_close(gradient, 2 * (norm - 1) * weight / norm)


def test_penalty_of_a_unit_critic_is_nothing() -> None:
    weight = noise(3, 4, 4)
    found = penalty(Linear(weight / weight.norm()), noise(2, 3, 4, 4), noise(2, 3, 4, 4, seed=1))
    assert found.item() == pytest.approx(0, abs=1e-15)


def test_penalty_is_taken_between_real_and_fake_at_one_point_for_each_pair() -> None:
    # Between ones and zeros the point is the mixing share itself, in every pixel.
    real, fake = torch.ones(64, 3, 2, 2), torch.zeros(64, 3, 2, 2)
    found = penalty(Quadratic(), real, fake)
    shares = torch.rand(64, 1, 1, 1, generator=torch.Generator().manual_seed(5)).numpy()
    expected = ((shares.astype(np.float64) * math.sqrt(12) - 1) ** 2).mean()
    assert found.item() == pytest.approx(expected, rel=1e-5)
    # And the two ends are real and fake: E[(u sqrt(12) - 1)^2] = 4 - sqrt(12) + 1 for u in [0, 1].
    assert found.item() == pytest.approx(5 - math.sqrt(12), abs=0.7)


def test_penalty_of_a_flat_critic_has_a_finite_gradient() -> None:
    module = Linear(torch.zeros(3, 4, 4))
    images = torch.zeros(2, 3, 4, 4)
    found = penalty(module, images, images)
    assert found.item() == pytest.approx(1)
    (gradient,) = torch.autograd.grad(found, module.weight)
    assert gradient.isfinite().all()


def test_penalty_gives_no_gradient_to_the_pictures() -> None:
    real, fake = noise(2, 3, 4, 4).requires_grad_(), noise(2, 3, 4, 4, seed=1).requires_grad_()
    found = penalty(Linear(noise(3, 4, 4, seed=2)), real, fake)
    for images in (real, fake):
        assert torch.autograd.grad(found, images, retain_graph=True, allow_unused=True)[0] is None


def test_gradient_of_the_penalty() -> None:
    real, fake = noise(2, 3, 2, 2), noise(2, 3, 2, 2, seed=1)

    def of_weight(weight: Tensor) -> Tensor:
        module = Linear(torch.zeros(3, 2, 2))
        del module.weight
        module.weight = weight  # type: ignore[assignment]
        return penalty(module, real, fake)

    assert torch.autograd.gradcheck(of_weight, (noise(3, 2, 2, seed=3).requires_grad_(),))
