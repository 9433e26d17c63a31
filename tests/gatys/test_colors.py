"""Colors: against formulas written out here, and pictures without colors or variance."""

from typing import Any, Literal

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage.color import rgb2lab

from impasto.gatys.colors import keep_colors, match_colors

Array = NDArray[np.float32]


def picture(seed: int, shape: tuple[int, int] = (24, 31), *, spread: float = 0.15) -> Array:
    """Correlated colors well within the range, so that nothing is clipped."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(3, 3)) / 4 + np.eye(3)
    colors = rng.uniform(-1, 1, (*shape, 3)) @ mixing * spread + 0.5
    assert colors.min() > 0
    assert colors.max() < 1
    return colors.astype(np.float32)


def flat(*color: float) -> Array:
    return np.full((24, 31, 3), color, np.float32)


def moments(image: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    pixels = image.reshape(-1, 3).astype(np.float64)
    return pixels.mean(axis=0), np.cov(pixels.T, ddof=0)


def newton_root(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix root without eigenvalues: Denman and Beavers 1976."""
    root, inverse = matrix, np.eye(3)
    for _ in range(60):
        root, inverse = (root + np.linalg.inv(inverse)) / 2, (inverse + np.linalg.inv(root)) / 2
    np.testing.assert_allclose(root @ root, matrix, atol=1e-12)
    return root


def lab(image: NDArray[Any]) -> NDArray[np.float64]:
    return np.asarray(rgb2lab(image.astype(np.float64)))


def test_linear_gives_the_contents_mean_and_covariance() -> None:
    style, content = picture(1), picture(2, (17, 40))
    matched = match_colors(style, content, "linear")
    assert matched.shape == style.shape
    assert matched.dtype == np.float32
    for ours, theirs in zip(moments(matched), moments(content), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-7)


def test_linear_is_the_map_of_the_paper() -> None:
    style, content = picture(3), picture(4)
    (mean_s, cov_s), (mean_c, cov_c) = moments(style), moments(content)
    matrix = newton_root(cov_c) @ np.linalg.inv(newton_root(cov_s))
    expected = (style.astype(np.float64) - mean_s) @ matrix.T + mean_c
    np.testing.assert_allclose(match_colors(style, content), expected, atol=1e-6)


@pytest.mark.parametrize("method", ["linear", "histogram"])
def test_colors_of_oneself_change_nothing(method: Literal["linear", "histogram"]) -> None:
    style = picture(5)
    np.testing.assert_allclose(match_colors(style, style, method), style, atol=1e-6)


def test_histogram_equals_the_contents_sorted_values() -> None:
    style, content = picture(6), picture(7)
    matched = match_colors(style, content, "histogram")
    for channel in range(3):
        np.testing.assert_allclose(
            np.sort(matched[..., channel].ravel()),
            np.sort(content[..., channel].ravel()),
            atol=1e-6,
        )
        assert (
            np.argsort(matched[..., channel].ravel()) == np.argsort(style[..., channel].ravel())
        ).all()


def test_a_style_of_one_color() -> None:
    content = picture(8)
    linear = match_colors(flat(0.2, 0.4, 0.6), content)
    np.testing.assert_allclose(
        linear, np.broadcast_to(moments(content)[0], linear.shape), atol=1e-6
    )
    histogram = match_colors(flat(0.2, 0.4, 0.6), content, "histogram")
    np.testing.assert_array_equal(histogram[0, 0], np.median(content.reshape(-1, 3), axis=0))
    assert np.ptp(histogram.reshape(-1, 3), axis=0).max() == 0


@pytest.mark.parametrize("method", ["linear", "histogram"])
def test_a_content_of_one_color(method: Literal["linear", "histogram"]) -> None:
    matched = match_colors(picture(9), flat(0.2, 0.4, 0.6), method)
    np.testing.assert_allclose(matched, flat(0.2, 0.4, 0.6), atol=1e-6)


def test_noise_of_rounding_is_not_stretched_to_colors() -> None:
    rng = np.random.default_rng(0)
    almost_flat = np.rint(127 + rng.uniform(-1, 1, (24, 31, 3))) / 255
    matched = match_colors(almost_flat, picture(10))
    assert np.ptp(matched, axis=(0, 1)).max() == 0


def test_a_gray_style_gets_the_contents_variance_along_one_line() -> None:
    gray = np.repeat(picture(11, spread=0.3)[..., :1], 3, axis=2)
    matched = match_colors(gray, picture(12))
    values = np.linalg.eigvalsh(moments(matched)[1])
    assert values[-1] > 1e-4
    assert values[:2].max() < 1e-9
    np.testing.assert_allclose(moments(matched)[0], moments(picture(12))[0], atol=1e-6)


def test_what_leaves_the_range_is_clipped() -> None:
    narrow, wide = picture(13, spread=0.1), np.random.default_rng(1).random((20, 20, 3)).round()
    matched = match_colors(narrow, wide)
    assert matched.min() == 0
    assert matched.max() == 1


def test_kept_colors_have_the_results_lightness_and_the_contents_color() -> None:
    result, content = picture(14), picture(15)
    kept = lab(keep_colors(result, content))
    np.testing.assert_allclose(kept[..., 0], lab(result)[..., 0], atol=1e-3)
    np.testing.assert_allclose(kept[..., 1:], lab(content)[..., 1:], atol=1e-3)


def test_colors_beyond_srgb_keep_lightness_and_hue() -> None:
    rng = np.random.default_rng(2)
    result, content = rng.random((40, 40, 3)), rng.random((40, 40, 3))
    kept = keep_colors(result, content)
    assert kept.min() >= 0
    assert kept.max() <= 1
    ours, theirs = lab(kept), lab(content)
    np.testing.assert_allclose(ours[..., 0], lab(result)[..., 0], atol=0.01)
    chroma = np.hypot(ours[..., 1], ours[..., 2])
    assert (chroma <= np.hypot(theirs[..., 1], theirs[..., 2]) + 0.01).all()
    assert (chroma < 0.9 * np.hypot(theirs[..., 1], theirs[..., 2])).mean() > 0.1  # it happened
    turn = np.angle((ours[..., 1] + 1j * ours[..., 2]) * (theirs[..., 1] - 1j * theirs[..., 2]))
    assert np.abs(turn[chroma > 1]).max() < np.radians(1)


def test_gray_and_constant_pictures() -> None:
    content = picture(16)
    gray = np.repeat(content[..., :1], 3, axis=2)
    # A gray content makes the result gray, a gray result takes the content's color.
    assert np.ptp(keep_colors(picture(17), gray), axis=2).max() < 2e-4
    np.testing.assert_allclose(
        lab(keep_colors(gray, content))[..., 1:], lab(content)[..., 1:], atol=1e-3
    )
    np.testing.assert_allclose(keep_colors(content, content), content, atol=1e-6)
    for black_or_white in (flat(0, 0, 0), flat(1, 1, 1)):
        kept = keep_colors(black_or_white, content)
        np.testing.assert_allclose(kept, black_or_white, atol=1e-3)


def test_wrong_arrays() -> None:
    with pytest.raises(ValueError, match=r"expected a content of shape \(24, 31, 3\)"):
        keep_colors(picture(1), picture(1, (3, 4)))
    with pytest.raises(ValueError, match=r"floating point, got \(4, 4, 3\) uint8"):
        match_colors(np.zeros((4, 4, 3), np.uint8), picture(1))
    with pytest.raises(ValueError, match=r"got \(4, 4\) float64"):
        keep_colors(np.zeros((4, 4)), np.zeros((4, 4)))
    with pytest.raises(ValueError, match="expected linear or histogram, got 'lab'"):
        match_colors(picture(1), picture(1), "lab")  # type: ignore[arg-type]
