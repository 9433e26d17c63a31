"""Regular grids in pictures, such as the checkerboards that some networks draw.

A grid of period p stands out in the power spectrum as a peak at the frequencies 1 / p, which
neither brush strokes nor photographs have: their spectra fall smoothly (Odena et al. 2016 show
checkerboards; Durall et al. 2020 their spectra).
"""

from collections.abc import Sequence

import numpy as np
import skimage  # whose parts are imported when they are first used, with SciPy
from numpy.typing import NDArray

from impasto.data.decode import Rgb
from impasto.data.transforms import center_crop

__all__ = ["GridPeaks"]

_SMALLEST_PX = 64
# Half side, in frequencies, of the square around a peak that says what is usual there.
_NEIGHBORS = 6


class GridPeaks:
    """Measures how far grids stand out in a set of pictures that are shown to it one by one.

    The luminance of each picture's middle square (its side rounded down to a multiple of four
    times the longest period) is windowed, and the power spectra are averaged around the grids'
    frequencies, each relative to its mean. A grid's power, at (1/p, 0), (0, 1/p) and (1/p, 1/p), is
    then divided by the median of its surroundings.

    Args:
        periods: periods of the grids, in pixels.
    """

    def __init__(self, periods: Sequence[int] = (2, 4)) -> None:
        self._sums: dict[int, NDArray[np.float64]] = {}
        self._periods = tuple(periods)

    def add(self, picture: Rgb) -> None:
        """Add a picture, RGB, (H, W, 3), uint8; one below 64 x 64 pixels does not count."""
        if min(picture.shape[:2]) < _SMALLEST_PX:
            return
        spectrum = _power(picture, multiple=4 * max(self._periods))
        for period in self._periods:
            places = _around(spectrum, len(spectrum) // period)
            self._sums[period] = self._sums.get(period, 0.0) + places

    def result(self) -> dict[int, float]:
        """Return the largest of the three quotients, for each period; nothing without pictures.

        About 1 without a grid, often a little above, since horizontals and verticals are common:
        compare with the quotients of untouched pictures.
        """
        return {period: _largest(places) for period, places in self._sums.items()}


def _power(picture: Rgb, *, multiple: int) -> NDArray[np.float64]:
    """Return the power spectrum of the middle square, (S, S), relative to its mean."""
    side = min(picture.shape[:2]) // multiple * multiple
    luminance = skimage.color.rgb2gray(center_crop(picture, side))
    window = np.hanning(side + 1)[:-1]
    windowed = (luminance - luminance.mean()) * window[:, None] * window
    power: NDArray[np.float64] = np.abs(np.fft.fft2(windowed)) ** 2
    mean = power.mean()
    # Rounding leaves powers of about 1e-30 in a plain picture.
    return power / mean if mean > 1e-20 else np.zeros_like(power)


def _around(spectrum: NDArray[np.float64], frequency: int) -> NDArray[np.float64]:
    """Cut out the three places where a grid of this frequency shows, (3, n, n)."""
    reach = np.arange(-_NEIGHBORS, _NEIGHBORS + 1)
    places = ((frequency, 0), (0, frequency), (frequency, frequency))
    size = len(spectrum)
    return np.stack([spectrum[np.ix_((y + reach) % size, (x + reach) % size)] for y, x in places])


def _largest(places: NDArray[np.float64]) -> float:
    """Return the largest quotient of a middle and the median around it."""
    middles = places[:, _NEIGHBORS, _NEIGHBORS]
    usual = np.median(places, axis=(1, 2))
    return float(np.max(np.where(usual > 0, middles / np.where(usual > 0, usual, 1), 1.0)))
