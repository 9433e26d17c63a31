"""Tests."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from impasto.gatys.losses.functional import gram_loss, gram_matrix, moments, position_weights
from impasto.gatys.losses.statistics import (
    Gaussian,
    Gram,
    MeanCovariance,
    PatchDistributions,
    Patches,
    ResampledSliced,
    Sliced,
    Statistic,
    shares_of,
)
from impasto.gatys.losses.transport import Normal, wasserstein_loss


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


Doubles = NDArray[np.float64]


def picture(height: int, width: int, seed: int = 0, channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, channels, height, width, generator=generator, dtype=torch.float64)


def whole(*, side: int = 3, count: int = 8, seed: int = 0) -> Patches:
    """All filters of the stock count, so that nothing is random but the stock."""
    return Patches(side=side, filters=count, stock=count, seed=seed)


def projected(features: Tensor, filters: Tensor) -> Doubles:
    """Each patch times each filter, position by position; (D, H, W)."""
    image, kernels = features[0].numpy(), filters.double().numpy()
    side = kernels.shape[2]
    margin = side // 2
    wide = np.pad(image, ((0, 0), (margin, margin), (margin, margin)), mode="edge")
    found = np.empty((len(kernels), *image.shape[1:]))
    for row in range(image.shape[1]):
        for column in range(image.shape[2]):
            patch = wide[:, row : row + side, column : column + side]
            found[:, row, column] = (kernels * patch).sum(axis=(1, 2, 3))
    return found


@pytest.mark.parametrize("side", [1, 3, 5])
def test_projections_and_distance_by_numpy(side: int) -> None:
    style, image = picture(6, 7), picture(7, 6, 1)
    patches = whole(side=side)
    target = patches.measure(style)
    assert target.filters.shape == (8, 3, side, side)
    torch.testing.assert_close(target.filters.flatten(1).norm(dim=1), torch.ones(8))
    wanted = np.sort(projected(style, target.filters).reshape(8, -1), axis=1)
    np.testing.assert_allclose(target.quantiles[0].numpy(), wanted, atol=1e-12)
    found = np.sort(projected(image, target.filters).reshape(8, -1), axis=1)
    expected = np.abs(found - wanted).mean()
    assert patches.distance(image, target).item() == pytest.approx(expected, rel=1e-12)
    assert patches.energy(target).item() == pytest.approx(np.abs(wanted).mean(), rel=1e-12)


def test_a_style_of_another_size_is_read_between_its_quantiles() -> None:
    style, image = picture(5, 8), picture(6, 4, 1)
    patches = whole()
    target = patches.measure(style)
    wanted = np.sort(projected(style, target.filters).reshape(8, -1), axis=1)
    found = np.sort(projected(image, target.filters).reshape(8, -1), axis=1)
    ranks, places = (np.arange(24) + 0.5) / 24, (np.arange(40) + 0.5) / 40
    read = np.stack([np.interp(ranks, places, one) for one in wanted])
    expected = np.abs(found - read).mean()
    assert patches.distance(image, target).item() == pytest.approx(expected, rel=1e-9)


def test_equal_pictures_are_no_distance_apart_and_others_are() -> None:
    style = picture(8, 9)
    patches = Patches(filters=4, stock=16)
    target = patches.measure(style)
    for _ in range(5):
        assert patches.distance(style, target).item() == 0
        assert patches.distance(style.flip(1), target).item() > 0.01


def test_the_same_pixels_in_another_order_are_other_patches() -> None:
    stripes = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    stripes[..., ::2] = 1
    halves = torch.zeros(1, 3, 8, 8, dtype=torch.float64)
    halves[..., :4] = 1
    pixels, patches = whole(side=1), whole(side=3)
    assert pixels.distance(halves, pixels.measure(stripes)).item() == 0
    assert patches.distance(halves, patches.measure(stripes)).item() > 0.1


@pytest.mark.parametrize("masked", [False, True])
def test_gradients_of_patches(masked: bool) -> None:
    patches = whole(count=4)
    target = patches.measure(picture(4, 5))
    mask = None
    if masked:
        mask = torch.rand(1, 1, 4, 3, generator=torch.Generator().manual_seed(9)).double()
    image = picture(4, 3, 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: patches.distance(x, target, mask), (image,))


def test_two_styles_are_one_pool_of_patches() -> None:
    patches = whole()
    first, second = patches.measure(picture(6, 6)), patches.measure(picture(6, 5, 1) / 2)
    mixed = patches.mix([first, second], [36, 30])
    pooled = torch.cat([first.quantiles, second.quantiles], dim=2).sort(dim=2).values
    # As many as the larger one has: 36 of the 66.
    places = [math.ceil(66 * (rank + 0.5) / 36) - 1 for rank in range(36)]
    torch.testing.assert_close(mixed.quantiles, pooled[..., places])
    assert mixed.filters is first.filters
    doubled = patches.mix([first, first], [1, 3])
    torch.testing.assert_close(doubled.quantiles, first.quantiles)
    only = patches.mix([second, first], [0, 2])
    torch.testing.assert_close(only.quantiles, first.quantiles)


def test_a_mask_of_ones_is_no_mask() -> None:
    patches, style, image = whole(), picture(6, 7), picture(5, 6, 1)
    plain = patches.measure(style)
    masked = patches.measure(style, torch.ones(1, 1, 6, 7))
    torch.testing.assert_close(masked.quantiles, plain.quantiles)
    found = patches.distance(image, plain, torch.ones(1, 1, 5, 6))
    torch.testing.assert_close(found, patches.distance(image, plain))


def test_masks_leave_out_positions_of_style_and_picture() -> None:
    patches, style, image = whole(), picture(6, 8), picture(6, 8, 1)
    mask = torch.zeros(1, 1, 6, 8)
    mask[..., :4] = 1
    target = patches.measure(style, mask)
    values = projected(style, target.filters)[..., :4].reshape(8, -1)
    # 48 quantiles of 24 values: each twice.
    expected = np.sort(values, axis=1).repeat(2, axis=1)
    np.testing.assert_allclose(target.quantiles[0].numpy(), expected, atol=1e-12)
    found = np.sort(projected(image, target.filters)[..., :4].reshape(8, -1), axis=1)
    distance = np.abs(found - np.sort(values, axis=1)).mean()
    assert patches.distance(image, target, mask).item() == pytest.approx(distance, rel=1e-6)
    changed = image.clone()
    changed[..., 5:] = 7  # patches of 3 pixels about the first four columns end before
    assert patches.distance(changed, target, mask) == patches.distance(image, target, mask)
    with pytest.raises(ValueError, match=r"expected a mask of \(6, 8\), got \(6, 7\)"):
        patches.distance(image, target, mask[..., 1:])


def test_filters_are_drawn_without_replacement() -> None:
    patches = Patches(side=1, filters=3, stock=4)
    filters = torch.zeros(4, 3, 1, 1)
    # The distance adds up what is drawn: each filter has its own power of ten.
    levels = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    target = PatchDistributions(filters=filters, quantiles=levels.view(1, 4, 1).expand(1, 4, 4))
    image = torch.zeros(1, 3, 2, 2)
    sums = {round(patches.distance(image, target).item() * 3) for _ in range(60)}
    assert sums == {111, 1011, 1101, 1110}


def test_the_same_seed_gives_the_same_values() -> None:
    style, image = picture(8, 8), picture(8, 8, 1)

    def values(seed: int) -> list[float]:
        patches = Patches(filters=4, stock=32, seed=seed)
        target = patches.measure(style)
        return [patches.distance(image, target).item() for _ in range(6)]

    assert values(3) == values(3)
    assert len(set(values(3))) == 6
    assert set(values(3)).isdisjoint(values(4))


def test_all_pictures_are_measured_along_one_stock() -> None:
    patches = Patches(filters=4, stock=100)
    first, second = patches.measure(picture(6, 6)), patches.measure(picture(5, 9, 1))
    assert torch.equal(first.filters, second.filters)
    # More than are projected at once.
    values = projected(picture(6, 6), first.filters).reshape(100, -1)
    np.testing.assert_allclose(first.quantiles[0].numpy(), np.sort(values, axis=1), atol=1e-12)


def test_large_styles_are_kept_in_few_quantiles() -> None:
    few = Patches(side=3, filters=8, stock=8, quantiles=20)
    style = picture(10, 14)
    target, full = few.measure(style), whole().measure(style)
    assert target.quantiles.shape == (1, 8, 20)
    # 140 values: the middle one of each 7.
    torch.testing.assert_close(target.quantiles, full.quantiles[..., 3::7])


def test_half_precision_and_autocast_are_projected_in_float32() -> None:
    style, image = picture(8, 9), picture(8, 9, 1)
    patches = whole()
    halves = style.bfloat16(), image.bfloat16()
    exact = patches.distance(halves[1].double(), patches.measure(halves[0].double())).item()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        target = patches.measure(halves[0])
        found = patches.distance(halves[1], target)
    assert target.quantiles.dtype == found.dtype == torch.float32
    assert found.item() == pytest.approx(exact, rel=1e-5)


def test_patches_are_a_statistic_of_any_features() -> None:
    statistic: Statistic[PatchDistributions] = whole()
    features = picture(6, 6, channels=7)
    assert statistic.distance(features, statistic.measure(features)).item() == 0
    tiny = picture(1, 1)
    assert statistic.measure(tiny).quantiles.shape == (1, 8, 1)


def test_mistakes() -> None:
    for side in (0, 4, -3):
        with pytest.raises(ValueError, match=f"side: expected an odd number of pixels, got {side}"):
            Patches(side=side)
    for filters in (0, 17):
        with pytest.raises(ValueError, match=f"filters: expected 1 to 16, .* got {filters}"):
            Patches(filters=filters, stock=16)
    with pytest.raises(ValueError, match="positions: expected at least 1, or None, got 0"):
        Patches(positions=0)
    patches = whole()
    with pytest.raises(ValueError, match="weights: expected at least 0"):
        patches.mix([patches.measure(picture(4, 4))], [0])


def test_without_gradients_patches_are_compared_along_the_whole_stock() -> None:
    style, image = picture(9, 8), picture(9, 8, 1)
    patches = Patches(side=3, filters=5, stock=130)
    target = patches.measure(style)
    wanted = np.sort(projected(style, target.filters).reshape(130, -1), axis=1)
    found = np.sort(projected(image, target.filters).reshape(130, -1), axis=1)
    with torch.no_grad():
        distances = [patches.distance(image, target).item() for _ in range(2)]
    assert distances == pytest.approx([np.abs(found - wanted).mean()] * 2, rel=1e-6)
    # With gradients it is a mean over 5 of the 130, another one each time, and right on average.
    some = [patches.distance(image, target).item() for _ in range(300)]
    each = np.abs(found - wanted).mean(axis=1)
    error = float(each.std()) / 5**0.5 / 300**0.5
    assert np.std(some) == pytest.approx(each.std() / 5**0.5, rel=0.25)
    assert np.mean(some) == pytest.approx(distances[0], abs=4 * error)


def test_few_filters_are_projected_and_sorted_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    # Each takes some 30 bytes per pixel, and 64 of them needed more than all else that lite does.
    convolution, seen = functional.conv2d, list[int]()

    def noted(image: Tensor, filters: Tensor, stride: int) -> Tensor:
        seen.append(len(filters))
        return convolution(image, filters, stride=stride)

    monkeypatch.setattr(functional, "conv2d", noted)
    patches = Patches(side=3, filters=5, stock=130)
    target = patches.measure(picture(9, 8))
    assert (sum(seen), max(seen) <= 16) == (130, True)
    with torch.no_grad():
        patches.distance(picture(9, 8, 1), target)
    assert (sum(seen), max(seen) <= 16) == (260, True)


def test_patches_on_a_grid() -> None:
    style, image = picture(12, 13), picture(13, 12, 1)
    patches = Patches(side=3, filters=8, stock=8, positions=16)
    assert patches.is_random
    target = patches.measure(style)
    # 156 positions, or 3 x 3 for each of 16: every third row and column.
    wanted = np.sort(projected(style, target.filters)[:, ::3, ::3].reshape(8, -1), axis=1)
    np.testing.assert_allclose(target.quantiles[0].numpy(), wanted, atol=1e-6)
    shown = projected(image, target.filters)
    apart = [
        np.abs(quantiles_like(shown[:, top::3, left::3], 20) - quantiles_like(wanted, 20)).mean()
        for top in range(3)
        for left in range(3)
    ]
    with torch.no_grad():
        first = [patches.distance(image, target).item() for _ in range(2)]
    assert first[0] == first[1] == pytest.approx(apart[0], rel=0.1)
    # With gradients, every grid comes, each as often as the others.
    some = [patches.distance(image, target).item() for _ in range(300)]
    assert len({round(value, 9) for value in some}) == 9
    assert np.mean(some) == pytest.approx(np.mean(apart), rel=0.1)
    # What is covered by a mask counts alone, and a small part is looked at closely.
    mask = torch.zeros(1, 1, 13, 12)
    mask[..., 4:8, 5:9] = 1
    part = image[..., 4:8, 5:9]
    dense = Patches(side=1, filters=8, stock=8, positions=16)
    seen = dense.measure(style)
    assert dense.distance(image, seen, mask).item() == pytest.approx(
        dense.distance(part, seen).item(), rel=1e-5
    )


def quantiles_like(values: NDArray[np.float64], count: int) -> NDArray[np.float64]:
    """Return evenly spaced quantiles of rows of numbers, by NumPy."""
    ranks = (np.arange(count) + 0.5) / count
    return np.quantile(values.reshape(len(values), -1), ranks, axis=1, method="hazen").T


def test_statistics_say_whether_they_are_random() -> None:
    assert Patches(filters=4, stock=8).is_random
    assert not Patches(filters=8, stock=8).is_random
    assert resampled().is_random
    assert not any(getattr(one, "is_random", False) for one in (Gram(), Gaussian(), Sliced()))


def test_mean_and_covariance_relative_to_the_target() -> None:
    statistic = MeanCovariance()
    generator = torch.Generator().manual_seed(5)
    shown, style = (torch.rand(1, 4, 6, 7, generator=generator).double() for _ in range(2))
    target = statistic.measure(style)
    a, b = (x[0].flatten(1).numpy() for x in (shown, style))
    means = np.square(a.mean(1) - b.mean(1)).sum() / np.square(b.mean(1)).sum()
    covariances = [np.cov(x, ddof=0) for x in (a, b)]
    spread = np.square(covariances[0] - covariances[1]).sum() / np.square(covariances[1]).sum()
    assert statistic.distance(shown, target).item() == pytest.approx(means + spread)
    assert statistic.distance(style, target).item() == pytest.approx(0, abs=1e-12)
    nothing = statistic.distance(torch.zeros_like(style), target)
    assert nothing.item() == pytest.approx(statistic.energy(target).item())
    # A mix of two is the measurement of both, side by side.
    both = statistic.measure(torch.cat([shown, style], dim=3))
    mixed = statistic.mix([statistic.measure(shown), target], [1, 1])
    assert torch.allclose(mixed.covariance, both.covariance)
    # Of a uniform style nothing can be relative to its covariance.
    plain = statistic.measure(torch.full_like(style, 0.5))
    assert 0 < statistic.distance(shown, plain).item() < 1e6
