"""Paint a photograph: layered curved brush strokes, after Hertzmann.

Hertzmann 1998, "Painterly Rendering with Curved Brush Strokes of Multiple Sizes" (SIGGRAPH 98,
doi:10.1145/280814.280951) paints one layer per brush, from the largest to the smallest. A layer
looks at the photograph blurred to the size of its brush, and sets a stroke only where the canvas
still differs from it; a stroke follows the normals of the image gradient.

Departures from the paper, all of them here or in the style's fields:

* the photograph first takes the colors of the style's palette, then it is painted;
* the canvas begins as the mean color, and every cell of the first layer gets a stroke;
* ``slant_deg`` and ``direction_blur`` steady the direction of the strokes where the photograph is
  nearly plain; the paper ends a stroke where the gradient vanishes;
* a stroke that leaves the picture ends there.

A stroke is a smooth curve through control points, with a round brush. Palettes and styles, those of
the paper beside our own, say how a painter paints.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw
from skimage.color import hsv2rgb, lab2rgb, rgb2hsv, rgb2lab
from skimage.filters import gaussian, sobel

__all__ = [
    "COLORIST_WASH",
    "EXPRESSIONIST",
    "IMPRESSIONIST",
    "LATE_MONET",
    "POINTILLIST",
    "SUPERSAMPLING",
    "PaintStyle",
    "Palette",
    "apply_palette",
    "draw_stroke",
    "paint",
    "spline",
]


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
            the painting; a whole number is the center of a pixel.
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


@dataclass(frozen=True, kw_only=True)
class Palette:
    """A fixed mapping of colors, in CIE L*a*b* (D65); the defaults change nothing.

    Attributes:
        black: L* (0..100) that black becomes: above 0, no shadow is black.
        white: L* (0..100) that white becomes.
        chroma: factor on a* and b*; 1 leaves the saturation.
        shadow_tint: (a*, b*) added to black, fading to none at white.
        light_tint: (a*, b*) added to white, fading to none at black.
    """

    black: float = 0.0
    white: float = 100.0
    chroma: float = 1.0
    shadow_tint: tuple[float, float] = (0.0, 0.0)
    light_tint: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        if not 0 <= self.black < self.white <= 100:
            raise ValueError(f"black, white: expected 0 <= black < white <= 100, got {self}")
        if self.chroma < 0:
            raise ValueError(f"chroma: expected at least 0, got {self.chroma}")


def apply_palette(rgb: npt.NDArray[np.uint8], palette: Palette) -> npt.NDArray[np.uint8]:
    """Give a picture the colors of a palette, pixel by pixel.

    Args:
        rgb: RGB, shape (H, W, 3), uint8.
        palette: the mapping.

    Returns:
        RGB, shape (H, W, 3), uint8; what leaves sRGB is clipped.
    """
    if palette == Palette():
        return rgb
    lab = rgb2lab(rgb)
    light = lab[..., :1] / 100
    lab[..., :1] = palette.black + (palette.white - palette.black) * light
    # Squares keep the middle tones nearly free of tint.
    lab[..., 1:] = palette.chroma * lab[..., 1:]
    lab[..., 1:] += np.array(palette.shadow_tint) * (1 - light) ** 2
    lab[..., 1:] += np.array(palette.light_tint) * light**2
    return np.rint(255 * _to_srgb(lab)).astype(np.uint8)


def _to_srgb(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(lab2rgb(lab)).clip(0, 1)


@dataclass(frozen=True, kw_only=True)
class PaintStyle:
    """A manner of painting: the parameters of Hertzmann 1998, section 3.1, and ours below them.

    Attributes:
        threshold: T, mean color difference (Euclidean, RGB 0..255) of a grid cell above which
            it is painted over. Larger is rougher.
        brush_radii_px: R_i, radii of the brushes; largest first or in any order.
        curvature_filter: f_c in (0, 1]; small values keep strokes straight.
        blur_factor: f_sigma; the picture is blurred by f_sigma * R_i for brush R_i.
        opacity: alpha in (0, 1] of a stroke.
        grid_size: f_g; strokes start f_g * R_i apart.
        min_length: shortest stroke, in steps of one brush radius.
        max_length: longest stroke, likewise; 0 paints dots.
        jitter_hsv: j_h, j_s, j_v in 0..1, random change of a stroke's hue, saturation and value;
            1 spans half the range.
        jitter_rgb: j_r, j_g, j_b, likewise.
        direction_blur: the direction of strokes is averaged over this many brush radii.
            Departure: the paper follows the gradient of every pixel, 0.
        slant_deg: direction of strokes where the picture is plain, in degrees from the
            horizontal, rising to the right. Departure: the paper ends a stroke there, None.
        palette: colors that the picture takes before it is painted. Departure: the paper
            paints with the picture's own.
    """

    threshold: float
    brush_radii_px: tuple[float, ...]
    curvature_filter: float = 1.0
    blur_factor: float = 0.5
    opacity: float = 1.0
    grid_size: float = 1.0
    min_length: int = 4
    max_length: int = 16
    jitter_hsv: tuple[float, float, float] = (0.0, 0.0, 0.0)
    jitter_rgb: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction_blur: float = 0.0
    slant_deg: float | None = None
    palette: Palette = Palette()

    def __post_init__(self) -> None:
        demands = {
            "threshold": (self.threshold >= 0, "at least 0"),
            "brush_radii_px": (
                len(self.brush_radii_px) > 0 and min(self.brush_radii_px, default=0) > 0,
                "one or more radii above 0",
            ),
            "curvature_filter": (0 < self.curvature_filter <= 1, "above 0, at most 1"),
            "blur_factor": (self.blur_factor >= 0, "at least 0"),
            "opacity": (0 < self.opacity <= 1, "above 0, at most 1"),
            "grid_size": (self.grid_size > 0, "above 0"),
            "min_length": (0 <= self.min_length <= self.max_length, "0..max_length"),
            "jitter_hsv": (all(0 <= j <= 1 for j in self.jitter_hsv), "0..1 each"),
            "jitter_rgb": (all(0 <= j <= 1 for j in self.jitter_rgb), "0..1 each"),
            "direction_blur": (self.direction_blur >= 0, "at least 0"),
        }
        for field, (holds, expected) in demands.items():
            if not holds:
                raise ValueError(f"{field}: expected {expected}, got {getattr(self, field)}")


# Hertzmann 1998, section 3.2. The paper itself could not be opened here: the values are from
# memory and agree with two independent implementations (rgcesar/painterlybrush and Yazdani's
# CS 798 applet), but for the value jitter and opacity of EXPRESSIONIST (0.5 and 0.7, against the
# applet's 0.7 and 0.75) and the opacity of POINTILLIST (1 against painterlybrush's 0.1).
IMPRESSIONIST = PaintStyle(threshold=100, brush_radii_px=(8, 4, 2))
"""A normal painting style: no curvature filter, no random color."""

EXPRESSIONIST = PaintStyle(
    threshold=50,
    brush_radii_px=(8, 4, 2),
    curvature_filter=0.25,
    opacity=0.7,
    min_length=10,
    jitter_hsv=(0.0, 0.0, 0.5),
)
"""Long, straightened strokes whose brightness varies."""

COLORIST_WASH = PaintStyle(
    threshold=200, brush_radii_px=(8, 4, 2), opacity=0.5, jitter_rgb=(0.3, 0.3, 0.3)
)
"""Loose, half-transparent strokes with random color."""

POINTILLIST = PaintStyle(
    threshold=100,
    brush_radii_px=(4, 2),
    grid_size=0.5,
    min_length=0,
    max_length=0,
    jitter_hsv=(0.3, 0.0, 1.0),
)
"""Dense dots with random hue and brightness."""

LATE_MONET = PaintStyle(
    threshold=22,
    brush_radii_px=(7, 4, 2),
    curvature_filter=0.6,
    blur_factor=0.5,
    min_length=3,
    max_length=8,
    jitter_hsv=(0.06, 0.20, 0.16),
    direction_blur=1.0,
    slant_deg=25.0,
    palette=Palette(
        black=22.0, white=97.0, chroma=1.2, shadow_tint=(12.0, -30.0), light_tint=(2.0, 12.0)
    ),
)
"""Ours, for the pictures of ``impasto demo``: the late Monet in a word. Short curved touches of
three brushes, shadows lifted to a bluish violet, warm lights, strong colors, soft contrast."""


_Indices = npt.NDArray[np.intp]

# Hertzmann 1998, section 2.2: the luminance whose gradient guides the strokes.
_LUMINANCE = np.array([0.30, 0.59, 0.11])

# Below this slope (gray levels per pixel) the painter's own slant outweighs the photograph.
_PLAIN_SLOPE = 0.6


def paint(
    rgb: npt.NDArray[np.uint8], style: PaintStyle, generator: np.random.Generator
) -> npt.NDArray[np.uint8]:
    """Paint a picture in a style.

    The result depends on nothing but the three arguments.

    Args:
        rgb: the picture, RGB, shape (H, W, 3), uint8; any size from 1 x 1.
        style: the manner of painting.
        generator: draws the order of the strokes and the jitter of their colors.

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
        """Section 2.2: end where the canvas is nearer to the picture than the stroke's color."""
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
    """Measure the slope along an axis by Sobel, in gray levels per pixel."""
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
    """Vary the colors of strokes (N, 3) by the style's jitter.

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
