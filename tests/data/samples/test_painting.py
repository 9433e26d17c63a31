"""The painter: strokes of the right width and direction, layers, palettes, and odd inputs."""

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image
from skimage.color import rgb2lab
from skimage.filters import gaussian

from impasto.data.samples import painting
from impasto.data.samples.painting import (
    LATE_MONET,
    SUPERSAMPLING,
    PaintStyle,
    Palette,
    apply_palette,
    draw_stroke,
    paint,
    spline,
)

RGB = npt.NDArray[np.uint8]
STYLES = ("IMPRESSIONIST", "EXPRESSIONIST", "COLORIST_WASH", "POINTILLIST", "LATE_MONET")
# One brush, nothing random but the order of the strokes.
SOBER = PaintStyle(threshold=0, brush_radii_px=(4,))


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def scene(height: int = 64, width: int = 72) -> RGB:
    """A smooth random picture with contrast at the scale of the brushes."""
    shape = (height, width, 3)
    noise = generator(7).normal(size=shape)
    field = np.asarray(gaussian(noise, 2.5, channel_axis=2))  # type: ignore[no-untyped-call]
    return np.asarray(255 * (0.5 + field / 6 / field.std()).clip(0, 1), dtype=np.uint8)


def error(first: RGB, second: RGB) -> float:
    return float(np.abs(first.astype(float) - second).mean())


@pytest.mark.parametrize("name", STYLES)
def test_same_seed_same_painting_other_seed_another(name: str) -> None:
    style = getattr(painting, name)
    first, again, other = (paint(scene(), style, generator(seed)) for seed in (1, 1, 2))
    assert first.shape == scene().shape
    assert first.dtype == np.uint8
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_the_picture_is_left_alone() -> None:
    picture = scene()
    before = picture.copy()
    paint(picture, LATE_MONET, generator())
    np.testing.assert_array_equal(picture, before)


def test_finer_brushes_come_nearer_to_the_picture() -> None:
    errors = [
        error(
            paint(scene(), replace(SOBER, threshold=20, brush_radii_px=radii), generator()), scene()
        )
        for radii in ((8,), (8, 4), (8, 4, 2), (8, 4, 2, 1))
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.5 * errors[0]


def test_a_lower_threshold_comes_nearer_to_the_picture() -> None:
    style = replace(SOBER, brush_radii_px=(8, 2))
    rough, fine = (
        error(paint(scene(), replace(style, threshold=t), generator()), scene()) for t in (120, 10)
    )
    assert fine < 0.8 * rough


def test_brushes_are_taken_from_large_to_small() -> None:
    first, second = (
        paint(scene(), replace(SOBER, brush_radii_px=radii), generator())
        for radii in ((2, 8, 4), (8, 4, 2))
    )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("color", [(0, 0, 0), (255, 255, 255), (190, 40, 90)])
def test_a_plain_picture_becomes_the_palette_color(color: tuple[int, int, int]) -> None:
    plain = np.full((40, 50, 3), color, dtype=np.uint8)
    style = replace(LATE_MONET, jitter_hsv=(0.0, 0.0, 0.0))
    painted = paint(plain, style, generator())
    np.testing.assert_array_equal(painted, apply_palette(plain, style.palette))
    assert (painted != plain).any()
    # With jitter the strokes scatter around that color.
    jittered = paint(plain, LATE_MONET, generator()).astype(float)
    assert jittered.std(axis=(0, 1)).max() > 1
    assert np.abs(jittered - painted).mean() < 12


def test_jitter_by_channel() -> None:
    colors = np.full((4000, 3), 128.0)
    red = painting._jitter(colors, replace(SOBER, jitter_rgb=(0.4, 0.0, 0.0)), generator())
    # A tenth of the range to each side.
    assert (red[:, 0].min(), red[:, 0].max()) == pytest.approx((102.5, 153.5), abs=1)
    assert set(np.unique(red[:, 1:])) == {128}
    orange = np.tile([200.0, 120.0, 40.0], (4000, 1))
    value = painting._jitter(orange, replace(SOBER, jitter_hsv=(0.0, 0.0, 0.8)), generator())
    # A change of value keeps the proportions of the channels.
    np.testing.assert_allclose(value[:, 1] / value[:, 0], 0.6, atol=0.01)
    assert np.ptp(value[:, 0].astype(int)) > 95


@pytest.mark.parametrize("radius_px", [1.5, 2.0, 4.0, 7.0])
def test_a_stroke_has_the_width_of_its_brush(radius_px: float) -> None:
    easel = Image.new("RGB", (80 * SUPERSAMPLING, 60 * SUPERSAMPLING))
    points = np.stack([np.full(6, 30.0), np.linspace(20, 60, 6)], axis=1)
    draw_stroke(easel, points, radius_px, (255, 255, 255))
    cover = np.asarray(easel.reduce(SUPERSAMPLING))[..., 0] / 255
    widths = cover[:, 25:56].sum(axis=0)
    assert widths == pytest.approx(2 * radius_px, abs=1.01)
    assert widths.mean() == pytest.approx(2 * radius_px, abs=0.55)
    # Round ends: half a brush beyond the outer points, and no corner.
    assert cover.sum() == pytest.approx(2 * radius_px * 40 + np.pi * radius_px**2, rel=0.13)
    middle = np.average(np.arange(60), weights=cover.sum(axis=1))
    assert middle == pytest.approx(30.0, abs=0.3)


def test_a_dot_is_a_disc_in_its_place() -> None:
    easel = Image.new("RGB", (40 * SUPERSAMPLING, 40 * SUPERSAMPLING))
    draw_stroke(easel, np.array([[12.0, 25.0]]), 5.0, (255, 255, 255))
    cover = np.asarray(easel.reduce(SUPERSAMPLING))[..., 0] / 255
    rows, columns = np.mgrid[:40, :40]
    distance = np.hypot(rows - 12, columns - 25)
    assert cover[distance < 4].min() == 1
    assert cover[distance > 6].max() == 0
    assert 0 < cover[(distance > 4) & (distance < 6)].mean() < 1
    assert cover.sum() == pytest.approx(np.pi * 25, rel=0.04)
    assert np.average(rows, weights=cover) == pytest.approx(12, abs=0.05)
    assert np.average(columns, weights=cover) == pytest.approx(25, abs=0.05)


def test_opacity_lays_a_stroke_on_once() -> None:
    points = np.array([[15.0, 10.0], [15.0, 14.0], [15.0, 18.0], [15.0, 12.0], [15.0, 24.0]])
    easel = Image.new("RGB", (40 * SUPERSAMPLING, 30 * SUPERSAMPLING), (200, 200, 200))
    draw_stroke(easel, points, 4.0, (100, 0, 200), 0.5)
    colors = np.unique(np.asarray(easel).reshape(-1, 3), axis=0)
    # Where the stroke crosses itself it is as thin as elsewhere.
    np.testing.assert_allclose(colors, [[150, 100, 200], [200, 200, 200]], atol=1)


def test_a_translucent_stroke_may_leave_the_easel() -> None:
    easel = Image.new("RGB", (20, 20))
    draw_stroke(easel, np.array([[-3.0, -3.0], [4.0, 4.0]]), 3.0, (80, 80, 80), 0.5)
    assert np.asarray(easel)[0, 0, 0] == 40
    assert np.asarray(easel)[19, 19, 0] == 0


def de_boor(points: npt.NDArray[np.float64], t: float) -> npt.NDArray[np.float64]:
    """Evaluate the uniform cubic B-spline with thrice counted ends by its basis functions."""

    def basis(x: float) -> float:
        x = abs(x)
        return 2 / 3 - x**2 + x**3 / 2 if x < 1 else max(2 - x, 0) ** 3 / 6

    ends = [points[0]] * 2 + list(points) + [points[-1]] * 2
    return np.asarray(sum(basis(t - (i - 1)) * p for i, p in enumerate(ends)))


@pytest.mark.parametrize("count", [1, 2, 3, 9])
def test_spline_against_the_basis_functions(count: int) -> None:
    points = generator().uniform(0, 50, size=(count, 2))
    curve = spline(points)
    np.testing.assert_allclose(curve[[0, -1]], points[[0, -1]], atol=1e-9)
    spans = count + 1
    for t, place in zip(np.linspace(0, spans, len(curve)), curve, strict=True):
        if count > 1:
            np.testing.assert_allclose(place, de_boor(points, t), atol=1e-9)


def edge(angle_deg: float, size: int = 81) -> RGB:
    """Two soft-edged halves; the edge runs at an angle from the horizontal, rising rightwards."""
    rows, columns = np.mgrid[:size, :size] - size // 2
    angle = np.deg2rad(angle_deg)
    across = rows * np.cos(angle) + columns * np.sin(angle)
    level = 60 + 130 / (1 + np.exp(-across / 2))
    return np.repeat(level[..., None], 3, axis=2).astype(np.uint8)


def strokes_from_middle(
    picture: RGB, style: PaintStyle, radius_px: float = 3
) -> npt.NDArray[np.float64]:
    source = picture.astype(float)
    layer = painting._Layer.look(source, np.full_like(source, 255.0), radius_px, style)
    middle = np.array([[picture.shape[0] // 2, picture.shape[1] // 2]])
    colors = layer.reference[middle[:, 0], middle[:, 1]]
    points, counts = layer.trace(middle, colors, style)
    return points[0, : counts[0]]


@pytest.mark.parametrize("angle_deg", [0, 30, 45, 90, 150])
@pytest.mark.parametrize("direction_blur", [0.0, 1.0])
def test_strokes_run_along_edges(angle_deg: float, direction_blur: float) -> None:
    style = replace(SOBER, min_length=5, max_length=5, direction_blur=direction_blur)
    points = strokes_from_middle(edge(angle_deg), style)
    assert len(points) == 6
    np.testing.assert_allclose(np.linalg.norm(np.diff(points, axis=0), axis=1), 3.0)
    run = points[-1] - points[0]
    assert np.linalg.norm(run) > 14.5
    measured = np.rad2deg(np.arctan2(-run[0], run[1])) % 180
    assert min(abs(measured - angle_deg), 180 - abs(measured - angle_deg)) < 4


def test_strokes_follow_a_circle_and_a_curvature_filter_holds_them_straight() -> None:
    rows, columns = np.mgrid[:121, :121] - 60
    ring = 60 + 130 / (1 + np.exp(-(np.hypot(rows, columns + 25) - 25) / 2))
    picture = np.repeat(ring[..., None], 3, axis=2).astype(np.uint8)
    follow, hold = (
        strokes_from_middle(
            picture, replace(SOBER, min_length=14, max_length=14, curvature_filter=f)
        )
        for f in (1.0, 0.05)
    )
    distance = np.hypot(follow[:, 0] - 60, follow[:, 1] - 35)
    assert np.abs(distance - 25).max() < 4
    assert np.hypot(hold[:, 0] - 60, hold[:, 1] - 35).max() > 40
    # All the way round, where the angle of the gradient jumps by half a turn: it never goes back.
    turns = strokes_from_middle(picture, replace(SOBER, min_length=45, max_length=45))
    around = np.unwrap(np.arctan2(turns[:, 0] - 60, turns[:, 1] - 35))
    assert abs(around[-1] - around[0]) > 1.5 * np.pi


def test_plain_pictures_end_a_stroke_or_take_the_slant() -> None:
    plain = np.full((81, 81, 3), 90, dtype=np.uint8)
    style = replace(SOBER, min_length=4, max_length=6)
    assert len(strokes_from_middle(plain, style)) == 1
    points = strokes_from_middle(plain, replace(style, slant_deg=25.0))
    assert len(points) == 7
    run = points[-1] - points[0]
    assert np.rad2deg(np.arctan2(-run[0], run[1])) % 180 == pytest.approx(25, abs=0.1)


@pytest.mark.parametrize(("shortest", "longest"), [(0, 0), (0, 6), (3, 6), (6, 6)])
def test_strokes_keep_to_their_lengths(shortest: int, longest: int) -> None:
    # A canvas that equals the picture stops every stroke as soon as it may stop.
    source = edge(30).astype(float)
    style = replace(SOBER, min_length=shortest, max_length=longest, slant_deg=0.0)
    far, near = (
        painting._Layer.look(source, canvas, 2, style)
        for canvas in (np.full_like(source, 255.0), source)
    )
    starts = np.mgrid[36:44, 36:44].reshape(2, -1).T
    # A color no pixel has, so that the stroke is always worse than the canvas.
    wrong = np.full((len(starts), 3), 1000.0)
    right = far.reference[starts[:, 0], starts[:, 1]]
    np.testing.assert_array_equal(near.trace(starts, wrong, style)[1], 1 + shortest)
    assert far.trace(starts, right, style)[1].max() == 1 + longest


def test_strokes_end_at_the_border() -> None:
    style = replace(SOBER, min_length=16, max_length=16, slant_deg=0.0)
    plain = np.full((20, 21, 3), 90, dtype=np.uint8)
    points = strokes_from_middle(plain, style)
    inside = [bool(-0.5 < y < 19.5 and -0.5 < x < 20.5) for y, x in points.tolist()]
    assert inside == [True] * (len(points) - 1) + [False]


def test_strokes_start_at_the_worst_pixel_of_bad_cells() -> None:
    source = np.full((10, 11, 3), 100.0)
    canvas = source.copy()
    canvas[5, 6] = 0.0  # in the cell of rows 4..7 and columns 4..7
    canvas[9, 10] = 40.0  # in the cut cell of rows 8..9 and columns 8..10
    style = replace(SOBER, blur_factor=0.0)
    layer = painting._Layer.look(source, canvas, 4, style)
    spot, corner = 100 * 3**0.5 / 16, 60 * 3**0.5 / 6

    def starts(threshold: float, *, everywhere: bool = False) -> list[list[int]]:
        threshold_style = replace(style, threshold=threshold)
        found: list[list[int]] = layer.find_starts(threshold_style, everywhere=everywhere).tolist()
        return found

    assert starts(spot - 0.1) == [[5, 6], [9, 10]]
    assert starts(spot + 0.1) == [[9, 10]]
    assert starts(corner + 0.1) == []
    assert len(starts(corner + 0.1, everywhere=True)) == 9
    halved = replace(style, grid_size=0.5, threshold=0.0)
    assert layer.find_starts(halved, everywhere=True).shape == (5 * 6, 2)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (3, 500), (500, 3), (17, 2)])
@pytest.mark.parametrize("name", STYLES)
def test_any_size_is_painted(size: tuple[int, int], name: str) -> None:
    picture = generator().integers(0, 256, size=(*size, 3)).astype(np.uint8)
    painted = paint(picture, getattr(painting, name), generator())
    assert painted.shape == picture.shape


def test_a_gray_picture_stays_gray_without_palette_and_jitter() -> None:
    gray = np.repeat(scene()[..., :1], 3, axis=2)
    painted = paint(gray, replace(SOBER, brush_radii_px=(4, 2)), generator())
    assert np.ptp(painted.astype(int), axis=2).max() <= 1
    assert error(painted, gray) < 20


def test_crops_of_one_painting_look_alike() -> None:
    painted = paint(scene(128, 128), LATE_MONET, generator())
    halves = [half.reshape(-1, 3).mean(axis=0) for half in (painted[:64], painted[64:])]
    np.testing.assert_allclose(halves[0], halves[1], atol=20)


@pytest.mark.parametrize(
    "wrong",
    [
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((8, 8, 3)),
        np.zeros((0, 8, 3), np.uint8),
    ],
)
def test_only_rgb_uint8_is_painted(wrong: RGB) -> None:
    with pytest.raises(ValueError, match=r"rgb: expected \(H, W, 3\) uint8, got"):
        paint(wrong, LATE_MONET, generator())


def test_palette_ends_and_tints() -> None:
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    lab = rgb2lab(apply_palette(ramp, LATE_MONET.palette))[0]
    palette = LATE_MONET.palette
    np.testing.assert_allclose(lab[0], [palette.black, *palette.shadow_tint], atol=1.5)
    np.testing.assert_allclose(lab[-1], [palette.white, *palette.light_tint], atol=2.5)
    assert (np.diff(lab[:, 0]) > 0).mean() > 0.97
    # Middle gray takes a quarter of each tint.
    middle = np.argmin(np.abs(rgb2lab(ramp)[0, :, 0] - 50))
    expected = (np.array(palette.shadow_tint) + palette.light_tint) / 4
    np.testing.assert_allclose(lab[middle, 1:], expected, atol=1)


def test_palette_scales_chroma_and_the_plain_one_changes_nothing() -> None:
    picture = (scene() // 3 + 85).astype(np.uint8)
    np.testing.assert_array_equal(apply_palette(picture, Palette()), picture)
    np.testing.assert_allclose(
        rgb2lab(apply_palette(picture, Palette(chroma=1.3)))[..., 1:],
        1.3 * rgb2lab(picture)[..., 1:],
        atol=2,
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("threshold", -1),
        ("brush_radii_px", ()),
        ("brush_radii_px", (4, 0)),
        ("curvature_filter", 1.5),
        ("curvature_filter", 0),
        ("blur_factor", -0.1),
        ("opacity", 0),
        ("opacity", 1.1),
        ("grid_size", 0),
        ("min_length", 17),
        ("min_length", -1),
        ("jitter_hsv", (0, 2, 0)),
        ("jitter_rgb", (0, 0, -0.1)),
        ("direction_blur", -1),
    ],
)
def test_a_wrong_style_names_its_field(field: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"^{field}: expected"):
        replace(SOBER, **{field: value})


@pytest.mark.parametrize("wrong", [{"black": 60.0, "white": 50.0}, {"white": 101.0}])
def test_a_palette_must_rise(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="expected 0 <= black < white <= 100"):
        Palette(**wrong)
    with pytest.raises(ValueError, match=r"chroma: expected at least 0, got -1"):
        Palette(chroma=-1.0)
