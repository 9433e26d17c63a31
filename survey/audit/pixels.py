"""What pictures themselves may tell: measures of pixels in which fakes often differ.

An export cannot remove these without changing what is judged; that they differ is worth knowing
all the same, because people may judge by them instead of by what the picture shows.
"""

import zlib
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import laplace

from impasto.data.decode import Rgb

__all__ = ["ADVICE", "MEASURES", "measure_pixels"]

Floats = NDArray[np.float64]

_BLOCK = 8  # ITU-T T.81, A.1.1: samples are coded in blocks of 8 x 8


def measure_pixels(rgb: Rgb) -> dict[str, float]:
    """Measure a picture, RGB, (H, W, 3), uint8, in every way of :data:`MEASURES`."""
    return {name: function(rgb) for name, function in MEASURES.items()}


def _gray(rgb: Rgb) -> Floats:
    gray: Floats = rgb @ np.array([0.299, 0.587, 0.114]) / 255
    return gray


def _sharpness(rgb: Rgb) -> float:
    return float(np.log(np.square(laplace(_gray(rgb), mode="reflect")).mean() + 1e-12))


def _blockiness(rgb: Rgb) -> float:
    """Steps at the borders of blocks over steps elsewhere, where they are largest."""
    gray = _gray(rgb)
    ratios = []
    for picture in (gray, gray.T):
        steps = np.abs(np.diff(picture, axis=0)).mean(1)
        by_phase = [steps[phase::_BLOCK].mean() for phase in range(_BLOCK)]
        largest = int(np.argmax(by_phase))
        others = np.mean([value for phase, value in enumerate(by_phase) if phase != largest])
        ratios.append(by_phase[largest] / (others + 1e-6))
    return float(np.mean(ratios))


def _checkerboard(rgb: Rgb) -> float:
    """Power of stripes of one pixel, as layers that enlarge leave them (Odena et al. 2016)."""
    power = np.abs(np.fft.rfft2(_gray(rgb) - _gray(rgb).mean())) ** 2
    rows, columns = power.shape
    last = power[:, columns - 1].mean() + power[rows // 2].mean()
    near = power[:, columns - 5 : columns - 2].mean() + power[rows // 2 - 4 : rows // 2 - 1].mean()
    return float(np.log((last + 1e-9) / (near + 1e-9)))


def _border(rgb: Rgb) -> float:
    """How much the outermost pixels differ from those beside them, over those further in."""
    gray = _gray(rgb)
    outer, inner = [], []
    for picture in (gray, gray[::-1], gray.T, gray.T[::-1]):
        outer.append(np.abs(picture[0] - picture[1]).mean())
        inner.append(np.abs(picture[8] - picture[9]).mean())
    return float(np.mean(outer) / (np.mean(inner) + 1e-6))


def _saturation(rgb: Rgb) -> float:
    most, least = rgb.max(2).astype(float), rgb.min(2).astype(float)
    return float(((most - least) / np.maximum(most, 1)).mean())


def _clipped(rgb: Rgb) -> float:
    return float(((rgb == 0) | (rgb == 255)).mean())


def _compressed(rgb: Rgb) -> float:
    rows = np.diff(rgb.reshape(len(rgb), -1), axis=0, prepend=rgb[:1].reshape(1, -1))
    return len(zlib.compress(rows.tobytes(), 1)) / rgb.size


MEASURES: Mapping[str, Callable[[Rgb], float]] = {
    "fine detail": _sharpness,
    "JPEG blocks": _blockiness,
    "stripes of one pixel": _checkerboard,
    "border": _border,
    "saturation": _saturation,
    "brightness": lambda rgb: float(_gray(rgb).mean()),
    "contrast": lambda rgb: float(_gray(rgb).std()),
    "clipped values": _clipped,
    "compressibility": _compressed,
}
"""Name to a function of RGB, (H, W, 3), uint8."""

ADVICE: Mapping[str, str] = {
    "fine detail": "take originals of the same size, or a smaller --width and --height",
    "JPEG blocks": "--equalize jpeg:90 gives all pictures one JPEG history",
    "compressibility": "follows from fine detail and noise",
}
"""What can be done about some of them."""
