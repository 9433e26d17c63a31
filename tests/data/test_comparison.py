import numpy as np
import pytest

from impasto.data.comparison import compare
from impasto.data.measures import color_distance, mean_absolute_error

RNG = np.random.default_rng(0)


def pictures(count: int = 3) -> dict[str, np.ndarray]:
    return {f"{i}.png": RNG.integers(0, 256, (16, 12, 3), dtype=np.uint8) for i in range(count)}


def test_the_truth_is_at_no_distance() -> None:
    truth = pictures()
    found = compare(truth, truth)
    assert found.mean_absolute_error == found.color_distance == found.palette_distance == 0
    assert found.ssim == pytest.approx(1)
    assert found.edge_correlation == pytest.approx(1)
    assert found.psnr == float("inf")


def test_means_are_over_the_pairs() -> None:
    results, truth = pictures(), pictures()
    found = compare(results, truth)
    pairs = [(results[name], truth[name]) for name in truth]
    assert found.mean_absolute_error == pytest.approx(
        np.mean([np.abs(a.astype(float) - b).mean() for a, b in pairs])
    )
    assert found.color_distance == pytest.approx(np.mean([color_distance(*pair) for pair in pairs]))
    assert found.as_dict()["mean_absolute_error"] == pytest.approx(
        np.mean([mean_absolute_error(*pair) for pair in pairs])
    )


def test_the_palette_is_of_the_set_not_of_the_pairs() -> None:
    truth = pictures()
    names = sorted(truth)
    swapped = {name: truth[names[(i + 1) % 3]] for i, name in enumerate(names)}
    found = compare(swapped, truth)
    assert found.palette_distance == pytest.approx(0, abs=1e-9)
    assert found.mean_absolute_error > 10


def test_names_must_agree() -> None:
    with pytest.raises(ValueError, match="the same names"):
        compare(pictures(2), pictures(3))
    with pytest.raises(ValueError, match="the same names"):
        compare({}, {})
