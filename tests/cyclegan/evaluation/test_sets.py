"""KID, FID, precision and recall beside formulas written out by themselves."""

import sys

import numpy as np
import pytest
import torch
from scipy import linalg

from impasto.cyclegan.evaluation.sets import (
    Settings,
    compare_sets,
    fidelity,
    frechet_distance,
    kernel_distance,
    precision_and_recall,
    summarize,
)
from impasto.options.errors import ImpastoError


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


def test_without_torch_fidelity_the_message_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "torch_fidelity.metric_kid", None)
    with pytest.raises(ImpastoError, match=r'pip install "torch-fidelity>=0.4"'):
        fidelity("metric_kid")


def test_fid_of_fewer_pictures_than_features_is_that_of_all_their_axes() -> None:
    one = features(6, seed=0, size=40).double().numpy()
    other = features(8, seed=1, size=40, shift=0.5).double().numpy()
    # The trace of the root of a product of covariances is a nuclear norm of centered features.
    centered = [side - side.mean(axis=0) for side in (one, other)]
    freedom = [len(side) - 1 for side in centered]
    overlap = np.linalg.norm(centered[0] @ centered[1].T, "nuc") / np.sqrt(np.prod(freedom))
    spread = sum(np.square(side).sum() / n for side, n in zip(centered, freedom, strict=True))
    gap = one.mean(axis=0) - other.mean(axis=0)
    expected = gap @ gap + spread - 2 * overlap
    found = frechet_distance(torch.from_numpy(one), torch.from_numpy(other))
    assert found == pytest.approx(expected, rel=1e-5)


def share_within(inside: np.ndarray, of: np.ndarray, neighbors: int = 3) -> float:
    """Kynkaanniemi et al. 2019, eq. 1 and 2, picture by picture: the share of ``inside``."""
    hits = 0
    for picture in inside:
        for center in of:
            radius = sorted(float(np.linalg.norm(center - each)) for each in of)[neighbors]
            if float(np.linalg.norm(picture - center)) <= radius:
                hits += 1
                break
    return hits / len(inside)


@pytest.mark.parametrize(("counts", "shift"), [((30, 30), 0.0), ((25, 12), 2.0), ((6, 9), 4.0)])
def test_precision_and_recall_are_shares_within_the_third_neighbor(
    counts: tuple[int, int], shift: float
) -> None:
    real = features(counts[0], seed=0).double()
    other = features(counts[1], seed=1, shift=shift).double()
    found = precision_and_recall(real.float(), other.float())
    expected = (
        share_within(other.numpy(), real.numpy()),
        share_within(real.numpy(), other.numpy()),
    )
    assert found == pytest.approx(expected)
    assert expected[0] != expected[1]


def test_precision_and_recall_of_known_sets() -> None:
    real = features(20, seed=0)
    assert precision_and_recall(real, real) == (1, 1)
    assert precision_and_recall(real, real + 1000) == (0, 0)
    # All alike, and each as a real one is: exact, without any variety.
    alike = real[:1].expand(10, -1) + 1e-6 * features(10, seed=1)
    precision, recall = precision_and_recall(real, alike)
    assert precision == 1
    assert recall == pytest.approx(0.05)  # that one alone
    with pytest.raises(ValueError, match="four pictures or more, got 20 and 3"):
        precision_and_recall(real, real[:3])


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_a_set_has_what_its_number_of_pictures_allows(count: int) -> None:
    def means(pictures: list[np.ndarray]) -> torch.Tensor:
        return torch.from_numpy(np.stack(pictures).mean(axis=(1, 2))).float()

    drawn = np.random.default_rng(0).integers(0, 256, (6, 24, 24, 3), dtype=np.uint8)
    settings = Settings(size_px=16, patches=256)
    real = summarize(list(drawn), settings, means, count=6)  # type: ignore[arg-type]
    few = summarize(list(drawn[:count]), settings, means, count=count)  # type: ignore[arg-type]
    found = set(compare_sets(real, few, settings))
    assert ({"kid", "fid"} <= found) == (count >= 2)
    assert ({"kid_spread", "precision", "recall"} <= found) == (count >= 4)
    assert "swd" in found


def test_pictures_go_through_a_network_in_batches_and_in_their_order() -> None:
    seen: list[int] = []

    def levels(pictures: list[np.ndarray]) -> torch.Tensor:
        seen.append(len(pictures))
        return torch.tensor([[float(picture[0, 0, 0])] for picture in pictures])

    pictures = [np.full((20, 20, 3), level, np.uint8) for level in range(19)]
    settings = Settings(size_px=16, patches=256)
    found = summarize(pictures, settings, levels, count=19)  # type: ignore[arg-type]
    assert found.features is not None
    assert found.features[:, 0].tolist() == list(range(19))
    assert seen == [8, 8, 3]
