"""The sliced Wasserstein distance of patches of Laplacian pyramids."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from impasto.data.metrics.swd import _laplacian_pyramid, patch_descriptors, patch_distance

# Burt and Adelson 1983: separable, with a = 3/8, which gives the binomials.
KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def _noise(count: int, *, seed: int, side: int = 64, sigma: float = 0.0) -> list[np.ndarray]:
    generator = np.random.default_rng(seed)
    pictures = []
    for _ in range(count):
        noise = generator.normal(size=(side, side, 3))
        if sigma:
            noise = gaussian_filter(noise, (sigma, sigma, 0))
        noise = 128 + 40 * noise / noise.std()
        pictures.append(noise.clip(0, 255).astype(np.uint8))
    return pictures


def _distance(first: list[np.ndarray], second: list[np.ndarray]) -> dict[int, float]:
    one = patch_descriptors(first, np.random.default_rng(1), patches=2048)
    other = patch_descriptors(second, np.random.default_rng(2), patches=2048)
    return patch_distance(one, other, np.random.default_rng(3), directions=64)


def _convolve(picture: np.ndarray) -> np.ndarray:
    """Sum 25 shifted copies of a picture that is mirrored at its first and last pixels."""
    padded = np.pad(picture.astype(np.float64), ((2, 2), (2, 2), (0, 0)), mode="reflect")
    rows, columns = picture.shape[:2]
    total = np.zeros(picture.shape)
    for i, j in np.ndindex(5, 5):
        total += KERNEL[i, j] * padded[i : i + rows, j : j + columns]
    return total


def _reduce(picture: np.ndarray) -> np.ndarray:
    """REDUCE of Burt and Adelson 1983."""
    return _convolve(picture)[::2, ::2]


def _expand(picture: np.ndarray) -> np.ndarray:
    """EXPAND of Burt and Adelson 1983, with its factor 4."""
    spread = np.zeros((2 * len(picture), 2 * len(picture), 3))
    spread[::2, ::2] = picture
    return 4 * _convolve(spread)


def test_the_levels_rebuild_the_picture() -> None:
    picture = _noise(1, seed=0)[0].astype(np.float32)
    *details, rebuilt = _laplacian_pyramid(picture)
    assert [len(level) for level in (*details, rebuilt)] == [64, 32, 16]
    for detail in reversed(details):
        rebuilt = detail + _expand(rebuilt)
    np.testing.assert_allclose(rebuilt, picture, atol=1e-3)


def test_a_constant_picture_has_no_detail_and_keeps_its_color() -> None:
    picture = np.full((64, 64, 3), (200, 100, 50), np.float32)
    *details, smallest = _laplacian_pyramid(picture)
    for detail in details:
        np.testing.assert_allclose(detail, 0, atol=1e-3)
    np.testing.assert_allclose(smallest, picture[:16, :16], atol=1e-3)


def test_every_level_is_what_an_independent_convolution_gives() -> None:
    picture = _noise(1, seed=3)[0].astype(np.float32)
    finest, middle, smallest = _laplacian_pyramid(picture)
    half = _reduce(picture)
    np.testing.assert_allclose(finest, picture - _expand(half), atol=1e-3)
    np.testing.assert_allclose(middle, half - _expand(_reduce(half)), atol=1e-3)
    np.testing.assert_allclose(smallest, _reduce(half), atol=1e-3)


def test_levels_are_halvings_down_to_16_pixels() -> None:
    descriptors = patch_descriptors(_noise(3, seed=0), np.random.default_rng(0), patches=500)
    assert list(descriptors) == [64, 32, 16]
    assert {level.shape for level in descriptors.values()} == {(500, 147)}


def test_each_channel_of_a_level_has_mean_0_and_deviation_1() -> None:
    level = patch_descriptors(_noise(2, seed=0), np.random.default_rng(0), patches=800)[32]
    channels = level.reshape(800, 3, 49)
    np.testing.assert_allclose(channels.mean(axis=(0, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(channels.std(axis=(0, 2)), 1, atol=1e-4)


def test_equal_sets_are_at_0_and_sets_of_one_kind_are_near() -> None:
    first = _noise(4, seed=0)
    descriptors = patch_descriptors(first, np.random.default_rng(1), patches=2048)
    assert set(patch_distance(descriptors, descriptors, np.random.default_rng(0)).values()) == {0.0}
    same = _distance(first, _noise(4, seed=9))
    # Filtered noise differs from white noise in its finest level, wherever the filter reaches.
    other = _distance(first, _noise(4, seed=9, sigma=1.5))
    assert other[64] > 2 * same[64]


def test_the_distance_sees_structure_and_neither_palette_nor_contrast() -> None:
    pictures = _noise(4, seed=0)
    faint = [(60 + picture * np.array([0.4, 0.3, 0.2])).astype(np.uint8) for picture in pictures]
    level = _distance(pictures, faint)
    blurred = [
        gaussian_filter(picture.astype(float), (1.5, 1.5, 0)).astype(np.uint8)
        for picture in pictures
    ]
    assert level[64] < 0.5 * _distance(pictures, blurred)[64]


def test_the_distance_of_one_dimensional_patches_is_that_of_their_values() -> None:
    one = {16: np.array([[0.0], [1.0], [2.0]], dtype=np.float32)}
    other = {16: np.array([[5.0], [3.0], [4.0]], dtype=np.float32)}
    # In one dimension every direction is +1 or -1: the sorted values differ by 3 each.
    assert patch_distance(one, other, np.random.default_rng(0))[16] == pytest.approx(3000)


def test_pictures_share_the_patches_evenly() -> None:
    black, white = np.zeros((16, 16, 3), np.uint8), np.full((16, 16, 3), 255, np.uint8)
    level = patch_descriptors([black, white, white], np.random.default_rng(0), patches=100)[16]
    assert (level[:, 0] < 0).sum() == 34


@pytest.mark.parametrize(
    "pictures",
    [
        [],
        [np.zeros((48, 48, 3), np.uint8)],
        [np.zeros((32, 16, 3), np.uint8)],
        [np.zeros((32, 32, 3), np.float32)],
        [np.zeros((32, 32, 3), np.uint8), np.zeros((16, 16, 3), np.uint8)],
    ],
)
def test_other_pictures_are_refused(pictures: list[np.ndarray]) -> None:
    with pytest.raises(ValueError, match="RGB squares"):
        patch_descriptors(pictures, np.random.default_rng(0))


def test_sets_of_different_sizes_are_refused() -> None:
    one = {16: np.zeros((3, 147), np.float32)}
    with pytest.raises(ValueError, match="same levels"):
        patch_distance(one, {16: np.zeros((4, 147), np.float32)}, np.random.default_rng(0))


def test_more_pictures_than_patches_leave_some_out() -> None:
    pictures = _noise(5, seed=0)
    descriptors = patch_descriptors(pictures, np.random.default_rng(0), patches=3)
    assert {len(level) for level in descriptors.values()} == {3}
