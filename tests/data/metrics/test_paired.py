"""Each measure against closed forms and independent NumPy spellings."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import scipy.stats
from skimage.color import rgb2lab

from impasto.data.metrics.paired import (
    color_distance,
    compare,
    edge_correlation,
    mean_absolute_error,
    palette_distance,
    psnr,
    ssim,
)

RGB = npt.NDArray[np.uint8]
Measure = Callable[[RGB, RGB], float]
PAIRWISE = (mean_absolute_error, psnr, ssim, color_distance, edge_correlation)
REC_709 = np.array([0.2125, 0.7154, 0.0721])


def noise(seed: int, height: int = 24, width: int = 31) -> RGB:
    shape = (height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, size=shape).astype(np.uint8)


def plain(*color: int, height: int = 16, width: int = 16) -> RGB:
    return np.full((height, width, 3), color, dtype=np.uint8)


def luminance(rgb: RGB) -> npt.NDArray[np.float64]:
    return np.asarray(rgb / 255 @ REC_709)


@pytest.mark.parametrize(
    ("measure", "best"),
    [
        (mean_absolute_error, 0.0),
        (psnr, np.inf),
        (ssim, 1.0),
        (color_distance, 0.0),
        (edge_correlation, 1.0),
    ],
)
def test_equal_pictures_reach_the_best_value(measure: Measure, best: float) -> None:
    assert measure(noise(0), noise(0)) == pytest.approx(best)


@pytest.mark.parametrize("measure", PAIRWISE)
def test_measures_are_symmetric_floats(measure: Measure) -> None:
    value = measure(noise(0), noise(1))
    assert type(value) is float
    assert value == pytest.approx(measure(noise(1), noise(0)))


@pytest.mark.parametrize("measure", PAIRWISE)
def test_sizes_must_agree_and_are_named(measure: Measure) -> None:
    with pytest.raises(ValueError, match=r"\(24, 31, 3\).*\(24, 30, 3\)"):
        measure(noise(0), noise(0, width=30))


@pytest.mark.parametrize("measure", PAIRWISE)
@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((20, 20), np.uint8),
        np.zeros((20, 20, 4), np.uint8),
        np.zeros((20, 20, 3)),
        np.zeros((0, 20, 3), np.uint8),
    ],
)
def test_only_rgb_uint8_is_taken(measure: Measure, wrong: RGB) -> None:
    with pytest.raises(ValueError, match="second: expected RGB"):
        measure(plain(0, 0, 0, height=20, width=20), wrong)


def test_mean_absolute_error_has_no_overflow_and_averages_channels() -> None:
    assert mean_absolute_error(plain(0, 250, 10), plain(255, 5, 10)) == pytest.approx(500 / 3)


def test_psnr_against_its_formula() -> None:
    first, second = noise(2), noise(3)
    error = np.mean((luminance(first) - luminance(second)) ** 2)
    assert psnr(first, second) == pytest.approx(-10 * np.log10(error))
    assert psnr(plain(0, 0, 0), plain(255, 255, 255)) == pytest.approx(0.0, abs=1e-9)


def test_ssim_against_its_definition() -> None:
    first, second = noise(4), noise(5)
    # Wang et al. 2004, equation 13, on the one 11 x 11 window in the middle of each picture.
    x, y = (luminance(picture[:11, :11]) for picture in (first, second))
    bell = np.exp(-(np.arange(-5, 6) ** 2) / (2 * 1.5**2))
    weight = np.outer(bell, bell) / bell.sum() ** 2
    mean_x, mean_y = np.sum(weight * x), np.sum(weight * y)
    spread_x = np.sum(weight * (x - mean_x) ** 2)
    spread_y = np.sum(weight * (y - mean_y) ** 2)
    both = np.sum(weight * (x - mean_x) * (y - mean_y))
    c1, c2 = 0.01**2, 0.03**2
    expected = (2 * mean_x * mean_y + c1) * (2 * both + c2)
    expected /= (mean_x**2 + mean_y**2 + c1) * (spread_x + spread_y + c2)
    # An 11 x 11 picture has exactly one window that lies inside.
    assert ssim(first[:11, :11], second[:11, :11]) == pytest.approx(expected, abs=1e-9)


def test_ssim_names_a_picture_smaller_than_its_window() -> None:
    with pytest.raises(ValueError, match="at least 11 x 11 pixels, got 10 x 40"):
        ssim(noise(0, 10, 40), noise(1, 10, 40))


def test_color_distance_of_grays_against_the_lightness_term() -> None:
    # For two grays CIEDE2000 is the lightness difference over S_L: Sharma et al. 2005, eq. 15.
    first, second = plain(119, 119, 119), plain(140, 140, 140)
    one, other = (rgb2lab(picture)[0, 0, 0] for picture in (first, second))
    offset = ((one + other) / 2 - 50) ** 2
    expected = abs(one - other) / (1 + 0.015 * offset / np.sqrt(20 + offset))
    assert color_distance(first, second) == pytest.approx(expected, abs=1e-3)
    assert color_distance(plain(0, 0, 0), plain(255, 255, 255)) == pytest.approx(100, abs=0.01)


def test_color_distance_averages_over_pixels() -> None:
    half = plain(0, 0, 0)
    half[:, 8:] = 255
    assert color_distance(half, plain(0, 0, 0)) == pytest.approx(50, abs=0.01)


def sobel_steepness(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    padded = np.pad(values, 1, mode="edge")
    rows, columns = values.shape
    near = [[padded[i : i + rows, j : j + columns] for j in range(3)] for i in range(3)]
    down = sum(w * (near[2][j] - near[0][j]) for j, w in enumerate((1, 2, 1)))
    right = sum(w * (near[i][2] - near[i][0]) for i, w in enumerate((1, 2, 1)))
    return np.hypot(down, right)


def test_edge_correlation_against_numpy() -> None:
    first, second = noise(6), noise(7)
    slopes = [sobel_steepness(luminance(picture)).ravel() for picture in (first, second)]
    assert edge_correlation(first, second) == pytest.approx(
        np.corrcoef(slopes[0], slopes[1])[0, 1], abs=1e-9
    )


def test_edge_correlation_looks_past_contrast_and_brightness() -> None:
    picture = noise(8)
    assert edge_correlation(picture, 255 - picture) == pytest.approx(1.0)
    assert edge_correlation(picture // 2 * 2, picture // 2 + 60) == pytest.approx(1.0)
    assert abs(edge_correlation(noise(9, 90, 90), noise(10, 90, 90))) < 0.1


@pytest.mark.parametrize("color", [(0, 0, 0), (13, 77, 201), (255, 255, 255)])
def test_a_plain_picture_has_no_edges_to_correlate(color: tuple[int, int, int]) -> None:
    assert edge_correlation(plain(*color, height=24, width=31), noise(0)) == 0.0
    assert edge_correlation(plain(*color), plain(*color)) == 0.0


def test_palette_distance_ignores_where_colors_stand() -> None:
    picture = noise(11)
    shuffled = np.random.default_rng(0).permutation(picture.reshape(-1, 3)).reshape(picture.shape)
    assert palette_distance(picture, shuffled, np.random.default_rng(1)) == pytest.approx(0.0)
    # Twice the same pixels, in a picture of another size, are the same palette.
    double = np.vstack([picture, picture])
    assert palette_distance(picture, double, np.random.default_rng(1)) == pytest.approx(0.0)


def test_palette_distance_of_two_colors_is_half_their_distance() -> None:
    first, second = plain(200, 30, 60), plain(20, 90, 210, height=3, width=5)
    apart = np.linalg.norm(rgb2lab(first)[0, 0] - rgb2lab(second)[0, 0])
    value = palette_distance(first, second, np.random.default_rng(0), directions=4000)
    # The mean of |cos| over directions in space is 1/2.
    assert value == pytest.approx(apart / 2, rel=0.03)


def test_palette_distance_against_sorted_samples_and_masses() -> None:
    first, second = noise(12, 6, 10), noise(13, 12, 5)
    axes = np.random.default_rng(5).normal(size=(3, 32))
    axes /= np.linalg.norm(axes, axis=0)
    one, other = (np.sort(rgb2lab(p).reshape(-1, 3) @ axes, axis=0) for p in (first, second))
    expected = np.abs(one - other).mean()
    assert palette_distance(first, second, np.random.default_rng(5)) == pytest.approx(expected)
    # One third white against one quarter white, on a dark ground: 1/12 of the mass moves.
    third, quarter = plain(0, 0, 0, height=1, width=3), plain(0, 0, 0, height=1, width=4)
    third[:, 0] = quarter[:, 0] = 255
    white = palette_distance(
        plain(0, 0, 0), plain(255, 255, 255), np.random.default_rng(2), directions=7
    )
    part = palette_distance(third, quarter, np.random.default_rng(2), directions=7)
    assert part == pytest.approx(white / 12)


@pytest.mark.parametrize("other", [(8, 9), (5, 7), (16, 9)])
def test_palette_distance_by_scipy(other: tuple[int, int]) -> None:
    rng = np.random.default_rng(7)
    first, second = (rng.integers(0, 256, (*size, 3), dtype=np.uint8) for size in ((8, 9), other))
    axes = np.random.default_rng(4).normal(size=(3, 6))
    axes /= np.linalg.norm(axes, axis=0)
    one, two = (rgb2lab(picture).reshape(-1, 3) @ axes for picture in (first, second))
    expected = np.mean(
        [scipy.stats.wasserstein_distance(*pair) for pair in zip(one.T, two.T, strict=True)]
    )
    found = palette_distance(first, second, np.random.default_rng(4), directions=6)
    assert found == pytest.approx(expected, rel=1e-12)


def test_palette_distance_is_repeatable_and_checked() -> None:
    first, second = noise(14), noise(15)
    values = {palette_distance(first, second, np.random.default_rng(3)) for _ in range(2)}
    assert len(values) == 1
    with pytest.raises(ValueError, match="directions: expected at least 1, got 0"):
        palette_distance(first, second, np.random.default_rng(3), directions=0)
    with pytest.raises(ValueError, match="first: expected RGB"):
        palette_distance(first[..., 0], second, np.random.default_rng(3))


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
