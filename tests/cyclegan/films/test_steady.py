"""Steady films: a pan over a photograph flickers less, and stays sharp; motion is known here."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from impasto.cyclegan.films.steady import Steadier, WarpingError
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.models import find_generator
from impasto.data.metrics.paired import ssim
from tests.films import STEP, Rgb, pan

pytest.importorskip("cv2", reason='needs OpenCV: pip install "impasto[film]"')


def apart(frames: list[Rgb]) -> float:
    """Return the mean squared difference of each frame from the one before, moved as it was."""
    height, width = frames[0].shape[:2]
    y, x = np.mgrid[: height - 2, : width - 4].astype(np.float64)
    errors = []
    for before, now in pairwise(frames):
        for channel in range(3):
            places = [y + STEP[0], x + STEP[1]]
            moved = map_coordinates(before[..., channel] / 255.0, places, order=3)
            errors.append(np.mean((moved - now[: height - 2, : width - 4, channel] / 255) ** 2))
    return float(np.mean(errors))


@pytest.mark.parametrize("name", ["monet", "vangogh", "paintings"])
def test_a_pan_flickers_less_than_half_as_much_and_stays_sharp(name: str) -> None:
    frames = pan(6, height=96, width=128)
    translator = Translator.of(find_generator(Path(name)), device=torch.device("cpu"))
    alone = [translator.begin([frame])()[0] for frame in frames]
    own: list[Rgb] = []

    def paint(rgb: Rgb, origin_px: tuple[int, int]) -> Rgb:
        own.append(translator.in_scene(rgb, origin_px))
        return own[-1]

    steadier = Steadier()
    steady = [steadier.step(frame, paint) for frame in frames]
    assert apart(steady) < 0.25 * apart(alone)
    # Strokes that follow the scene are at other places than those that do not, so what is mixed is
    # compared with what was translated at the same places.
    alike = [ssim(made, painted) for made, painted in zip(steady, own, strict=True)]
    assert min(alike) >= 0.9
    assert apart(own) < apart(alone)


@pytest.mark.parametrize("name", ["monet", "vangogh", "monet_cycle"])
def test_a_pan_whose_strokes_stay_on_the_screen_is_near_to_that_frame_by_frame(name: str) -> None:
    frames = pan(6, height=96, width=128)
    translator = Translator.of(find_generator(Path(name)), device=torch.device("cpu"))
    alone = [translator.begin([frame])()[0] for frame in frames]
    steadier = Steadier(follows=False)
    places: list[tuple[int, int]] = []

    def paint(rgb: Rgb, origin_px: tuple[int, int]) -> Rgb:
        places.append(origin_px)
        return translator.begin([rgb])()[0]

    steady = [steadier.step(frame, paint) for frame in frames]
    assert set(places) == {(0, 0)}
    assert apart(steady) <= 0.5 * apart(alone)
    assert min(ssim(made, painted) for made, painted in zip(steady, alone, strict=True)) >= 0.9


@pytest.mark.parametrize("name", ["monet", "vangogh"])
def test_strokes_move_with_the_scene(name: str) -> None:
    """What is in two frames is painted alike, away from their borders, wherever it lies in them."""
    whole = pan(1, height=120, width=150)[0]
    translator = Translator.of(find_generator(Path(name)), device=torch.device("cpu"))
    first = translator.in_scene(whole[:96, :128], (0, 0))
    moved = translator.in_scene(whole[5:101, 7:135], (5, 7))
    still = translator.in_scene(whole[5:101, 7:135], (0, 0))
    inside = np.s_[35:60, 40:85]
    here = first[5:, 7:][inside].astype(float)
    assert np.abs(moved[inside] - here).mean() < 0.35 * np.abs(still[inside] - here).mean()


def test_a_frame_is_translated_as_before_after_one_of_a_scene() -> None:
    frame = pan(1)[0]
    translator = Translator.of(find_generator(Path("vangogh")), device=torch.device("cpu"))
    before = translator.begin([frame])()[0]
    translator.in_scene(frame, (13, -7))
    np.testing.assert_array_equal(translator.begin([frame])()[0], before)


def noise_on(seed: int) -> Callable[[Rgb, tuple[int, int]], Rgb]:
    """Return a painter that adds other noise to each frame."""
    rng = np.random.default_rng(seed)

    def paint(rgb: Rgb, _origin_px: tuple[int, int]) -> Rgb:
        return np.clip(rgb + rng.normal(0, 12, rgb.shape), 0, 255).round().astype(np.uint8)

    return paint


def paint_as(result: Rgb) -> Callable[[Rgb, tuple[int, int]], Rgb]:
    return lambda _rgb, _origin: result


def test_origins_follow_the_camera_and_begin_anew_after_a_cut() -> None:
    frames = [*pan(5), *pan(5, picture="astronaut")]
    origins = []

    def paint(rgb: Rgb, origin_px: tuple[int, int]) -> Rgb:
        origins.append(origin_px)
        return rgb

    steadier = Steadier()
    results = [steadier.step(frame, paint) for frame in frames]
    wanted = [(STEP[0] * index, STEP[1] * index) for index in range(5)] * 2
    np.testing.assert_allclose(origins, wanted, atol=1.01)
    np.testing.assert_array_equal(results[5], frames[5])  # nothing of the scene before


def test_what_appears_is_not_mixed_with_what_hid_it() -> None:
    ground = pan(1, height=64, width=96)[0]
    with_disk = [ground.copy() for _ in range(2)]
    with_disk[0][20:44, 30:54] = (255, 0, 0)
    with_disk[1][20:44, 38:62] = (255, 0, 0)
    steadier = Steadier()
    *_, last = [steadier.step(frame, lambda rgb, _origin: rgb) for frame in with_disk]
    assert np.abs(last.astype(int) - with_disk[1]).mean() < 1.5
    assert np.abs(last[22:42, 31:36].astype(int) - ground[22:42, 31:36]).max() < 40


def test_going_on_from_a_state_is_the_same() -> None:
    frames, paint = pan(5), noise_on(1)
    painted = [paint(frame, (0, 0)) for frame in frames]

    def steps(steadier: Steadier, indices: range) -> list[Rgb]:
        return [steadier.step(frames[i], paint_as(painted[i])) for i in indices]

    whole, first, second = Steadier(), Steadier(), Steadier()
    first.load({})  # a film begins so
    wanted = steps(whole, range(5))
    steps(first, range(3))
    second.load(first.state())
    np.testing.assert_array_equal(steps(second, range(3, 5)), wanted[3:])


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (9, 12), (17, 40)])
def test_any_size_goes(size: tuple[int, int]) -> None:
    frames = [np.full((*size, 3), value, np.uint8) for value in (100, 104)]
    steadier, error = Steadier(), WarpingError()
    for frame in frames:
        assert steadier.step(frame, lambda rgb, _origin: rgb).shape == (*size, 3)
        error.add(frame, frame)


def test_the_warping_error_is_that_of_the_noise() -> None:
    """Independent noise of a variance on each frame has twice that variance between two of them."""
    frames = [pan(1)[0]] * 6
    error = WarpingError()
    paint = noise_on(2)
    middle = np.full_like(frames[0], 128)
    for frame in frames:
        error.add(frame, paint(middle, (0, 0)))
    assert error.value == pytest.approx(2 * (144 + 1 / 12) / 255**2, rel=0.03)


def test_the_warping_error_of_a_pan_is_small_and_cuts_do_not_count() -> None:
    frames = [*pan(4), *pan(4, picture="astronaut")]
    error = WarpingError()
    for frame in frames:
        error.add(frame, frame)
    assert error.cuts == 1
    assert error.value < 5e-4
    assert np.isnan(WarpingError().value)
    with pytest.raises(ValueError, match="one size"):
        error.add(frames[0], frames[0][1:])
