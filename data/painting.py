"""Paint a photograph: layered curved brush strokes, after Hertzmann.

Hertzmann 1998, "Painterly Rendering with Curved Brush Strokes of Multiple Sizes" (SIGGRAPH 98,
doi:10.1145/280814.280951) paints one layer per brush, from the largest to the smallest. A layer
looks at the photograph blurred to the size of its brush, and sets a stroke only where the canvas
still differs from it; a stroke follows the normals of the image gradient.

Departures from the paper, all of them here or in the style's fields:

* the photograph first takes the colours of the style's palette, then it is painted;
* the canvas begins as the mean colour, and every cell of the first layer gets a stroke;
* ``slant_deg`` and ``direction_blur`` steady the direction of the strokes where the photograph is
  nearly plain; the paper ends a stroke where the gradient vanishes;
* a stroke that leaves the picture ends there.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.color import hsv2rgb, rgb2hsv
from skimage.filters import gaussian, sobel

from impasto.data.paint_styles import PaintStyle, apply_palette
from impasto.data.strokes import SUPERSAMPLING, draw_stroke

__all__ = ["paint"]

_Floats = npt.NDArray[np.float64]
_Indices = npt.NDArray[np.intp]

# Hertzmann 1998, section 2.2: the luminance whose gradient guides the strokes.
_LUMINANCE = np.array([0.30, 0.59, 0.11])

# Below this slope (grey levels per pixel) the painter's own slant outweighs the photograph.
_PLAIN_SLOPE = 0.6


def paint(
    rgb: npt.NDArray[np.uint8], style: PaintStyle, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Paint a picture in a style.

    The result depends on nothing but the three arguments.

    Args:
        rgb: the picture, RGB, shape (H, W, 3), uint8; any size from 1 x 1.
        style: the manner of painting.
        generator: draws the order of the strokes and the jitter of their colours.

    Returns:
        The painting, RGB, shape (H, W, 3), uint8.

    Raises:
        ValueError: ``rgb`` is not an RGB uint8 array with pixels in it.

    Source: Hertzmann 1998, section 2.1 (the procedure ``paint``) with the strokes of section 2.2;
    the module names the departures.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8 or rgb.size == 0:
        raise ValueError(f"rgb: expected (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    source = apply_palette(rgb, style.palette).astype(np.float64)
    height, width, _ = source.shape
    ground = np.rint(source.mean(axis=(0, 1))).astype(int)
    size = (width * SUPERSAMPLING, height * SUPERSAMPLING)
    easel = Image.new("RGB", size, tuple(ground.tolist()))
    for number, radius_px in enumerate(sorted(style.brush_radii_px, reverse=True)):
        canvas = np.asarray(easel.reduce(SUPERSAMPLING), dtype=np.float64)
        layer = _Layer.look(source, canvas, radius_px, style)
        starts = layer.find_starts(style, everywhere=number == 0)
        # Section 2.1: the strokes of a layer are painted in random order.
        starts = starts[generator.permutation(len(starts))]
        colors = layer.reference[starts[:, 0], starts[:, 1]]
        points, counts = layer.trace(starts, colors, style)
        paints = _jitter(colors, style, generator)
        for stroke, count, color in zip(points, counts, paints.tolist(), strict=True):
            draw_stroke(easel, stroke[:count], radius_px, tuple(color), style.opacity)
    return np.asarray(easel.reduce(SUPERSAMPLING))


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """What the painter sees with one brush in hand.

    Attributes:
        reference: the picture blurred to the size of the brush, (H, W, 3), 0..255.
        canvas: the painting before this layer, (H, W, 3), 0..255.
        direction: unit vectors (row, column) along which a stroke runs, (H, W, 2); zero where
            the gradient vanishes.
        radius_px: radius of the brush.
    """

    reference: _Floats
    canvas: _Floats
    direction: _Floats
    radius_px: float

    @classmethod
    def look(
        cls, source: _Floats, canvas: _Floats, radius_px: float, style: PaintStyle
    ) -> "_Layer":
        sigma = style.blur_factor * radius_px
        reference = _blur(source, sigma)
        direction = _stroke_direction(reference @ _LUMINANCE, radius_px, style)
        return cls(reference=reference, canvas=canvas, direction=direction, radius_px=radius_px)

    def find_starts(self, style: PaintStyle, *, everywhere: bool) -> _Indices:
        """Find the worst pixel of every grid cell whose mean error exceeds the threshold.

        Section 2.1, ``paintLayer``. Returns (N, 2) rows and columns.
        """
        step = max(1, round(style.grid_size * self.radius_px))
        error = np.linalg.norm(self.reference - self.canvas, axis=2)
        height, width = error.shape
        rows, columns = -(-height // step), -(-width // step)
        # Cells at the border may be cut: pad with errors that are never the largest.
        padded = np.full((rows * step, columns * step), -1.0)
        padded[:height, :width] = error
        blocks = padded.reshape(rows, step, columns, step).swapaxes(1, 2)
        cells = blocks.reshape(rows * columns, step * step)
        inside = cells >= 0
        mean = np.where(inside, cells, 0).sum(axis=1) / inside.sum(axis=1)
        chosen = np.flatnonzero(mean > style.threshold) if not everywhere else np.arange(len(cells))
        worst = cells[chosen].argmax(axis=1)
        row = chosen // columns * step + worst // step
        column = chosen % columns * step + worst % step
        return np.stack([row, column], axis=1)

    def trace(
        self, starts: _Indices, colors: _Floats, style: PaintStyle
    ) -> tuple[_Floats, _Indices]:
        """Follow all strokes of the layer at once, one control point per round.

        Section 2.2, ``makeSplineStroke``: the canvas stays as it was before the layer, so no
        stroke depends on another one and the rounds need no order.

        Returns:
            Control points (row, column), shape (N, 1 + max_length, 2), and how many of them each
            stroke has, shape (N,).
        """
        points = np.zeros((len(starts), 1 + style.max_length, 2))
        points[:, 0] = starts
        counts = np.ones(len(starts), dtype=np.intp)
        heading = np.zeros((len(starts), 2))
        moving = np.arange(len(starts))
        limits = np.array(self.direction.shape[:2]) - 0.5
        for number in range(1, 1 + style.max_length):
            here = points[moving, number - 1]
            pixel = np.rint(here).astype(np.intp)
            fits = np.all((here > -0.5) & (here < limits), axis=1)
            moving, pixel = moving[fits], pixel[fits]
            if number > style.min_length:
                worth = self._is_worth_going_on(pixel, colors[moving])
                moving, pixel = moving[worth], pixel[worth]
            turn = self._next_heading(pixel, heading[moving], style)
            alive = np.any(turn != 0, axis=1)
            moving, turn = moving[alive], turn[alive]
            heading[moving] = turn
            points[moving, number] = points[moving, number - 1] + self.radius_px * turn
            counts[moving] = number + 1
        return points, counts

    def _is_worth_going_on(self, pixel: _Indices, colors: _Floats) -> npt.NDArray[np.bool_]:
        """Section 2.2: end where the canvas is nearer to the picture than the stroke's colour."""
        seen = self.reference[pixel[:, 0], pixel[:, 1]]
        there = self.canvas[pixel[:, 0], pixel[:, 1]]
        off_canvas = np.linalg.norm(seen - there, axis=1)
        off_stroke = np.linalg.norm(seen - colors, axis=1)
        return np.asarray(off_canvas >= off_stroke)

    def _next_heading(self, pixel: _Indices, last: _Floats, style: PaintStyle) -> _Floats:
        """Turn along the picture, never backwards, held back by the curvature filter."""
        along = self.direction[pixel[:, 0], pixel[:, 1]]
        backwards = np.sum(along * last, axis=1) < 0
        along = np.where(backwards[:, None], -along, along)
        vanished = ~np.any(along != 0, axis=1)
        blend = style.curvature_filter * along + (1 - style.curvature_filter) * last
        length = np.linalg.norm(blend, axis=1, keepdims=True)
        unit = np.divide(blend, length, out=np.zeros_like(blend), where=length > 0)
        return np.where(vanished[:, None], 0.0, unit)


def _blur(image: _Floats, sigma: float) -> _Floats:
    """Blur an image (H, W) or (H, W, C) by a Gaussian, each channel by itself."""
    channels = 2 if image.ndim == 3 else None
    blurred = gaussian(image, sigma, mode="nearest", channel_axis=channels)  # type: ignore[no-untyped-call]
    return np.asarray(blurred, dtype=np.float64)


def _slope(luminance: _Floats, axis: int) -> _Floats:
    """Measure the slope along an axis by Sobel, in grey levels per pixel."""
    slope = sobel(luminance, axis=axis, mode="nearest")  # type: ignore[no-untyped-call]
    return np.asarray(slope, dtype=np.float64)


def _stroke_direction(luminance: _Floats, radius_px: float, style: PaintStyle) -> _Floats:
    """Find the direction of the edges: unit vectors (row, column), shape (H, W, 2).

    The gradient is averaged as a doubled angle, so that the two sides of a line, whose gradients
    are opposite, agree instead of cancelling (Bigun and Granlund 1987).
    """
    down, right = _slope(luminance, axis=0), _slope(luminance, axis=1)
    real, imaginary = right**2 - down**2, 2 * right * down
    if style.direction_blur > 0:
        sigma = style.direction_blur * radius_px
        real, imaginary = _blur(real, sigma), _blur(imaginary, sigma)
    if style.slant_deg is not None:
        # A stroke at the slant lies across a gradient at the slant plus a right angle.
        doubled = 2 * np.deg2rad(90 - style.slant_deg)
        real = real + _PLAIN_SLOPE**2 * np.cos(doubled)
        imaginary = imaginary + _PLAIN_SLOPE**2 * np.sin(doubled)
    angle = np.arctan2(imaginary, real) / 2
    direction = np.stack([np.cos(angle), -np.sin(angle)], axis=2)
    direction[(real == 0) & (imaginary == 0)] = 0
    return direction


def _jitter(
    colors: _Floats, style: PaintStyle, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Vary the colours of strokes (N, 3) by the style's jitter.

    A factor j spans -j/4..j/4 of the whole range of a channel, or of the circle of hues: the
    paper gives its factors no unit, and a half of it would drown the picture in POINTILLIST.
    """
    hsv_spread, rgb_spread = np.array(style.jitter_hsv), np.array(style.jitter_rgb)
    shifts = generator.uniform(-0.25, 0.25, size=(len(colors), 2, 3))
    hsv = rgb2hsv(colors / 255) + hsv_spread * shifts[:, 0]
    # Hue is an angle; saturation and value end at 0 and 1.
    hsv = np.concatenate([hsv[:, :1] % 1, hsv[:, 1:].clip(0, 1)], axis=1)
    rgb = (hsv2rgb(hsv) + rgb_spread * shifts[:, 1]).clip(0, 1)
    return np.asarray(np.rint(255 * rgb), dtype=np.uint8)
