"""KID and FID beside formulas written out by themselves."""

import sys

import numpy as np
import pytest
import torch
from scipy import linalg

from impasto.cyclegan.evaluation.sets import (
    frechet_distance,
    kernel_distance,
    torchmetrics_image,
)
from impasto.options.errors import ImpastoError

pytest.importorskip("torchmetrics")


def features(count: int, *, seed: int, shift: float = 0.0, size: int = 5) -> torch.Tensor:
    drawn = np.random.default_rng(seed).normal(size=(count, size))
    return torch.from_numpy(drawn @ np.diag(np.arange(1, size + 1)) + shift).float()


def unbiased_mmd(one: np.ndarray, other: np.ndarray) -> float:
    """Binkowski et al. 2018, eq. 4 with the kernel of section 4, pair by pair."""
    size = one.shape[1]

    def kernel(x: np.ndarray, y: np.ndarray) -> float:
        return float((x @ y / size + 1) ** 3)

    def within(pictures: np.ndarray) -> float:
        pairs = [
            kernel(x, y) for i, x in enumerate(pictures) for j, y in enumerate(pictures) if i != j
        ]
        return float(np.mean(pairs))

    across = float(np.mean([kernel(x, y) for x in one for y in other]))
    return within(one) + within(other) - 2 * across


def test_kid_of_equally_many_is_the_unbiased_estimate() -> None:
    one, other = features(12, seed=0), features(12, seed=1, shift=0.7)
    mean, _ = kernel_distance(one, other)
    assert mean == pytest.approx(unbiased_mmd(one.double().numpy(), other.double().numpy()))


def test_kid_of_unequal_sets_uses_all_of_the_larger() -> None:
    one, other = features(10, seed=0), features(14, seed=1, shift=1.0)
    mean, spread = kernel_distance(one, other)
    expected = unbiased_mmd(one.double().numpy(), other.double().numpy())
    assert mean == pytest.approx(expected, abs=spread / 4)


def test_the_deviation_of_kid_is_about_its_standard_error() -> None:
    pairs = [
        kernel_distance(features(40, seed=2 * i), features(40, seed=2 * i + 1, shift=0.5))
        for i in range(12)
    ]
    between = np.std([mean for mean, _ in pairs])
    assert 0.5 < np.mean([spread for _, spread in pairs]) / between < 2


def test_kid_is_drawn_from_its_seed_and_leaves_torch_s_own_alone() -> None:
    one, other = features(9, seed=0), features(13, seed=1)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = kernel_distance(one, other, seed=7)
    assert torch.equal(torch.rand(3), expected)
    assert kernel_distance(one, other, seed=7) == first
    assert kernel_distance(one, other, seed=8) != first


def test_kid_of_two_or_three_pictures_has_no_deviation() -> None:
    mean, spread = kernel_distance(features(3, seed=0), features(3, seed=1))
    assert np.isfinite(mean)
    assert np.isnan(spread)


@pytest.mark.parametrize("count", [40, 4])  # of five features: also fewer pictures than features
def test_fid_is_the_distance_of_two_gaussians(count: int) -> None:
    one = features(count, seed=0).double().numpy()
    other = features(count + 3, seed=1, shift=0.5).double().numpy()
    covariances = [np.cov(side, rowvar=False) for side in (one, other)]
    root = linalg.sqrtm(covariances[0] @ covariances[1]).real
    gap = one.mean(axis=0) - other.mean(axis=0)
    expected = gap @ gap + np.trace(covariances[0] + covariances[1] - 2 * root)
    found = frechet_distance(torch.from_numpy(one).float(), torch.from_numpy(other).float())
    assert found == pytest.approx(expected, rel=1e-4)


def test_equal_sets_have_no_frechet_distance() -> None:
    one = features(30, seed=0)
    assert frechet_distance(one, one) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("distance", [kernel_distance, frechet_distance])
def test_other_shapes_are_refused(distance: object) -> None:
    assert callable(distance)
    one = features(4, seed=0)
    for other, says in (
        (features(4, seed=0, size=6), "expected features"),
        (one[0], "expected features"),
        (one[:1], "two pictures or more, got 4 and 1"),
    ):
        with pytest.raises(ValueError, match=says):
            distance(one, other)


def test_without_torchmetrics_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.setitem(sys.modules, "torchmetrics.image", None)
    monkeypatch.setitem(sys.modules, "torchmetrics.image.kid", None)
    with pytest.raises(ImpastoError, match=r'pip install "impasto\[metrics\]"'):
        torchmetrics_image("kid")
