"""Grids in pictures, seen in their spectra."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from impasto.data.metrics.spectrum import GridPeaks


def _pictures(count: int = 6, side: int = 128) -> list[np.ndarray]:
    generator = np.random.default_rng(0)
    return [
        (128 + 400 * gaussian_filter(generator.normal(size=(side, side, 3)), (2, 2, 0))).clip(
            0, 255
        )
        for _ in range(count)
    ]


def _peaks(pictures: list[np.ndarray]) -> dict[int, float]:
    grids = GridPeaks()
    for picture in pictures:
        grids.add(picture.clip(0, 255).astype(np.uint8))
    return grids.result()


def test_pictures_without_a_grid_have_no_peak() -> None:
    peaks = _peaks(_pictures())
    assert all(peak < 3 for peak in peaks.values())


@pytest.mark.parametrize("period", [2, 4])
def test_a_faint_grid_shows_at_its_own_period(period: int) -> None:
    rows, columns = np.mgrid[:128, :128]
    grid = 2.0 * ((rows % period == 0) | (columns % period == 0))[..., None]
    before, after = _peaks(_pictures()), _peaks([picture + grid for picture in _pictures()])
    assert after[period] > 20 * before[period]


def test_a_checkerboard_of_single_pixels_shows_at_period_2_alone() -> None:
    rows, columns = np.mgrid[:128, :128]
    board = 2.0 * ((rows + columns) % 2)[..., None]
    before, after = _peaks(_pictures()), _peaks([picture + board for picture in _pictures()])
    assert after[2] > 20 * before[2]
    assert after[4] == pytest.approx(before[4], rel=0.5)


def test_pictures_of_several_sizes_count_and_small_ones_do_not() -> None:
    grids = GridPeaks()
    grids.add(np.zeros((63, 100, 3), np.uint8))
    assert grids.result() == {}
    for picture in [*_pictures(1, 100), *_pictures(1, 131)]:
        grids.add(picture.astype(np.uint8))
    assert set(grids.result()) == {2, 4}


def test_a_plain_picture_has_no_grid() -> None:
    assert _peaks([np.full((64, 64, 3), 9.0)]) == {2: 1.0, 4: 1.0}
