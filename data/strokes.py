"""Draw one brush stroke: a smooth curve through control points, with a round brush."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

__all__ = ["SUPERSAMPLING", "draw_stroke", "spline"]

SUPERSAMPLING = 2
"""Pixels of the easel per pixel of the painting, along each axis: the antialiasing."""

# Points of the drawn curve per control point: the chords stay within 0.1 pixel of the curve.
_SAMPLES_PER_POINT = 2

_Floats = npt.NDArray[np.float64]


def spline(points: _Floats) -> _Floats:
    """Sample the cubic B-spline of a stroke; it starts and ends at the outer control points.

    Args:
        points: control points, shape (N, 2) with N >= 1, float64, in pixels.

    Returns:
        Points along the curve, shape (M, 2), float64; a single control point stays itself.

    Source: Hertzmann 1998, section 2.2 (strokes are cubic B-splines through the list of control
    points).
    """
    if len(points) == 1:
        return points
    return _spline_basis(len(points)) @ points


@lru_cache(maxsize=64)
def _spline_basis(count: int) -> _Floats:
    """Weights (M, count) of the control points; the outer ones count three times (clamped)."""
    ends = np.pad(np.arange(count), 2, mode="edge")
    spans = len(ends) - 3
    t = np.linspace(0, spans, _SAMPLES_PER_POINT * (count - 1) + 1)
    span = np.minimum(t.astype(int), spans - 1)
    u = t - span
    cubic = np.stack(
        [(1 - u) ** 3, 3 * u**3 - 6 * u**2 + 4, -3 * u**3 + 3 * u**2 + 3 * u + 1, u**3]
    )
    basis = np.zeros((len(t), count))
    for offset, weight in enumerate(cubic / 6):
        np.add.at(basis, (np.arange(len(t)), ends[span + offset]), weight)
    return basis


def draw_stroke(
    easel: Image.Image,
    points: _Floats,
    radius_px: float,
    color: tuple[int, int, int],
    opacity: float = 1.0,
) -> None:
    """Draw a stroke on the easel, in place.

    Args:
        easel: RGB picture, ``SUPERSAMPLING`` times as large as the painting.
        points: control points (row, column) of the stroke, shape (N, 2), float64, in pixels of
            the painting; a whole number is the centre of a pixel.
        radius_px: radius of the round brush, in pixels of the painting.
        color: RGB, 0..255.
        opacity: 1 covers what is below, 0 leaves it.
    """
    curve = (spline(points) + 0.5) * SUPERSAMPLING
    radius = radius_px * SUPERSAMPLING
    if opacity >= 1:
        _sweep(ImageDraw.Draw(easel), curve, radius, color)
        return
    # A stroke covers itself without doubling: it is drawn as a mask, then laid on once.
    corner = np.floor(curve.min(axis=0) - radius).astype(int)
    height, width = (np.ceil(curve.max(axis=0) + radius).astype(int) - corner + 1).tolist()
    mask = Image.new("L", (width, height))
    _sweep(ImageDraw.Draw(mask), curve - corner, radius, round(255 * opacity))
    easel.paste(color, (int(corner[1]), int(corner[0])), mask)


def _sweep(
    draw: ImageDraw.ImageDraw, curve: _Floats, radius: float, ink: int | tuple[int, int, int]
) -> None:
    """Move a round brush along a curve (row, column), in pixels of the picture drawn on."""
    xy = curve[:, ::-1]
    # Pillow counts pixels, not the lines between them: an edge at 3.0 ends with pixel 2.
    boxes = np.concatenate([xy - radius, xy + radius - 1], axis=1)
    for box in boxes.tolist():
        draw.ellipse(box, fill=ink)
    if len(xy) > 1:
        draw.line((xy - 0.5).ravel().tolist(), fill=ink, width=round(2 * radius))
