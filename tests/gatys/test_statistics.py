from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.gatys.losses import gram_loss, gram_matrix, moments, position_weights
from impasto.gatys.statistics import (
    Gaussian,
    Gram,
    ResampledSliced,
    Sliced,
    Statistic,
    shares_of,
)
from impasto.gatys.transport import Normal, wasserstein_loss


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def resampled(seed: int = 0, **options: Any) -> ResampledSliced:
    return ResampledSliced(generator=torch.Generator().manual_seed(seed), **options)


ALL: list[Statistic[Any]] = [
    Gram(),
    Gaussian(),
    Gaussian(iterations=None),
    Sliced(),
    resampled(directions=400),
]
each = pytest.mark.parametrize("statistic", ALL, ids=lambda one: type(one).__name__)


def near(statistic: Statistic[Any]) -> float:
    """How exact a statistic is: quantiles of two sizes are read between the samples."""
    return 0.06 if isinstance(statistic, Sliced | ResampledSliced) else 1e-9


@each
def test_nothing_is_nearer_than_itself(statistic: Statistic[Any]) -> None:
    features = noise(1, 4, 6, 7)
    target = statistic.measure(features)
    assert abs(statistic.distance(features, target).item()) < 1e-3
    assert statistic.distance(features, statistic.measure(features + 1)) > 0.1


@each
def test_size_does_not_matter(statistic: Statistic[Any]) -> None:
    features, other = noise(1, 4, 20, 24), 2 * noise(1, 4, 17, 17, seed=1)
    found = statistic.distance(features, statistic.measure(other))
    for target in (other, other.repeat(1, 1, 3, 2)):
        large = statistic.distance(features.repeat(1, 1, 2, 3), statistic.measure(target))
        torch.testing.assert_close(large, found, rtol=near(statistic), atol=0)


@each
def test_a_mix_is_the_style_of_a_picture_that_shows_both(statistic: Statistic[Any]) -> None:
    first, second = noise(1, 4, 16, 16), 2 * noise(1, 4, 16, 16, seed=1) + 1
    mixed = statistic.mix([statistic.measure(first), statistic.measure(second)], [3, 1])
    both = statistic.measure(torch.cat([first, first, first, second], dim=3))
    features = noise(1, 4, 18, 18, seed=2)
    torch.testing.assert_close(
        statistic.distance(features, mixed),
        statistic.distance(features, both),
        rtol=0.15 if isinstance(statistic, ResampledSliced) else near(statistic),
        atol=0,
    )


@each
def test_mix_of_one_is_itself(statistic: Statistic[Any]) -> None:
    features, other = noise(1, 4, 6, 6), noise(1, 4, 6, 6, seed=1)
    target = statistic.measure(other)
    torch.testing.assert_close(
        statistic.distance(features, statistic.mix([target], [7])),
        statistic.distance(features, target),
        rtol=0.1 if isinstance(statistic, ResampledSliced) else 1e-9,
        atol=0,
    )


@each
def test_masked_parts(statistic: Statistic[Any]) -> None:
    features, other = noise(1, 4, 20, 30), 2 * noise(1, 4, 20, 30, seed=1)
    mask, style_mask = torch.zeros(1, 1, 20, 30), torch.zeros(1, 1, 20, 30)
    mask[..., 4:], style_mask[..., :25] = 1, 1
    features[..., :4], other[..., 25:] = 1e3, -1e3  # do not count
    found = statistic.distance(features, statistic.measure(other, style_mask), mask)
    expected = statistic.distance(features[..., 4:], statistic.measure(other[..., :25]))
    torch.testing.assert_close(found, expected, rtol=near(statistic), atol=0)


@each
def test_energy_is_the_distance_from_nothing(statistic: Statistic[Any]) -> None:
    target = statistic.measure(3 * noise(1, 4, 6, 7) + 1)
    nothing = statistic.distance(torch.zeros(1, 4, 5, 5, dtype=torch.float64), target)
    torch.testing.assert_close(statistic.energy(target), nothing, rtol=0.05, atol=0)


# Newton's root with so many steps that it is exact. Directions that are drawn again are left out,
# as they make another function each time.
@pytest.mark.parametrize(
    "statistic",
    [Gram(), Gaussian(iterations=None), Gaussian(iterations=40), Sliced()],
    ids=lambda one: type(one).__name__,
)
@pytest.mark.parametrize("masked", [False, True])
def test_gradients(statistic: Statistic[Any], masked: bool) -> None:
    features = noise(1, 3, 4, 4).requires_grad_()
    mask = torch.rand(1, 1, 4, 4, generator=torch.Generator().manual_seed(1)).double()
    target = statistic.measure(noise(1, 3, 5, 5, seed=1))
    assert torch.autograd.gradcheck(
        lambda x: statistic.distance(x, target, mask if masked else None), (features,)
    )


def test_gram_and_gaussian_are_the_losses() -> None:
    features, other = noise(1, 4, 6, 6), noise(1, 4, 6, 6, seed=1)
    expected = gram_loss(gram_matrix(features), gram_matrix(other))
    assert Gram().distance(features, Gram().measure(other)) == expected
    normal = Normal(moments=moments(other), epsilon=0.01)
    statistic = Gaussian(epsilon=0.01, iterations=None)
    found = statistic.distance(features, statistic.measure(other))
    assert found == wasserstein_loss(moments(features), normal)


def test_newton_is_not_upset_by_few_positions() -> None:
    """64 positions of 256 channels: the gradient of float32 follows that of float64."""
    features = (30 * noise(1, 256, 8, 8)).relu()
    statistic = Gaussian()
    gradients = []
    for dtype in (torch.float32, torch.float64):
        image = features.to(dtype).requires_grad_()
        target = statistic.measure((40 * noise(1, 256, 20, 20, seed=1)).relu().to(dtype))
        (gradient,) = torch.autograd.grad(statistic.distance(image, target), image)
        gradients.append(gradient.double())
    assert (gradients[0] - gradients[1]).norm() < 1e-3 * gradients[1].norm()


def test_covariance_of_a_mix_knows_of_its_means() -> None:
    low, high = torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), 2.0)
    statistic = Gaussian()
    mixed = statistic.mix([statistic.measure(low), statistic.measure(high)], [1, 1])
    assert mixed.moments.covariance.item() == 1


def test_sliced_is_deterministic_and_its_seed_counts() -> None:
    features, other = noise(1, 4, 6, 6), noise(1, 4, 6, 6, seed=1)
    first, second = (
        [one.distance(features, one.measure(other)).item() for one in (Sliced(), Sliced(seed=1))]
        for _ in range(2)
    )
    assert first == second
    assert first[0] != first[1]
    assert Sliced(directions=3).measure(other).directions.shape == (3, 4)
    assert Sliced(quantiles=9).measure(other).quantiles.shape == (1, 4, 9)


def test_resampled_directions_average_to_many() -> None:
    features, other = noise(1, 4, 6, 6), noise(1, 4, 6, 6, seed=1)
    statistic = resampled()
    target = statistic.measure(other)
    found = [statistic.distance(features, target).item() for _ in range(300)]
    assert len(set(found)) == 300
    many = Sliced(directions=20_000)
    assert np.mean(found) == pytest.approx(
        many.distance(features, many.measure(other)).item(), rel=0.05
    )


def test_resampled_keeps_some_positions() -> None:
    statistic = resampled(positions=10)
    ramp = torch.arange(100.0).view(1, 1, 10, 10)
    kept = statistic.measure(ramp)
    assert kept.shape == (1, 1, 10, 1)
    assert kept.flatten().diff().tolist() == [10] * 9
    mask = torch.zeros(1, 1, 10, 10)
    mask[..., 3] = 1
    assert {value % 10 for value in statistic.measure(ramp, mask).flatten().tolist()} == {3}


def test_shares() -> None:
    assert shares_of([1, 3]) == [0.25, 0.75]
    for weights in ([], [0.0], [1, -1], [float("inf")]):
        with pytest.raises(ValueError, match="weights: expected at least 0"):
            shares_of(weights)


def test_weights_of_positions_add_up_to_one() -> None:
    weights = position_weights(torch.zeros(1, 2, 3, 4), torch.full((1, 1, 3, 4), 0.3))
    assert weights is not None
    assert weights.sum().item() == pytest.approx(1)
