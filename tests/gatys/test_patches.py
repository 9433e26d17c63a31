import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.gatys.patches import PatchDistributions, Patches
from impasto.gatys.statistics import Statistic

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
def test_gradients(masked: bool) -> None:
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
    patches = whole()
    with pytest.raises(ValueError, match="weights: expected at least 0"):
        patches.mix([patches.measure(picture(4, 4))], [0])
