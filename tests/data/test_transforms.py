import math

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from impasto.data import transforms
from impasto.data.transforms import (
    Preprocessing,
    random_crop,
    random_flip,
    random_light,
    random_part,
    resize,
    round_to_multiple,
)

RNG = np.random.default_rng(4)


def noise(height: int, width: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)


def places(height: int, width: int) -> NDArray[np.uint8]:
    """A picture whose colors say where each pixel stands."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([y, x, 0 * x], axis=-1).astype(np.uint8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("size", [(7, 5), (40, 31), (1, 1), (13, 90)])
def test_resize_is_bicubic_of_pillow(size: tuple[int, int]) -> None:
    rgb = noise(20, 30)
    expected = Image.fromarray(rgb).resize((size[1], size[0]), Image.Resampling.BICUBIC)
    found = resize(rgb, *size)
    np.testing.assert_array_equal(found, np.asarray(expected))
    assert found.dtype == np.uint8


def test_resize_to_its_own_size_changes_nothing() -> None:
    rgb = noise(9, 7)
    assert resize(rgb, 9, 7) is rgb


def test_absurd_sizes_are_refused() -> None:
    with pytest.raises(ValueError, match="288 x 476664 pixels, more than 134217728"):
        Preprocessing(mode="scale_width").fit(noise(5000, 3))


def test_random_crop_is_inside_and_uniform() -> None:
    rgb, generator = places(7, 9), seeded()
    counts = np.zeros((3, 5), int)
    for _ in range(3000):
        crop = random_crop(rgb, 5, generator=generator)
        top, left = int(crop[0, 0, 0]), int(crop[0, 0, 1])
        np.testing.assert_array_equal(crop, rgb[top : top + 5, left : left + 5])
        counts[top, left] += 1
    # Chi-square with 14 degrees of freedom exceeds 36.1 once in a thousand.
    assert ((counts - 200) ** 2 / 200).sum() < 36.1


def test_crop_of_the_whole_picture() -> None:
    rgb = noise(4, 4)
    np.testing.assert_array_equal(random_crop(rgb, 4, generator=seeded()), rgb)


def test_flips_half_of_the_pictures_left_to_right() -> None:
    rgb, generator, flipped = places(2, 3), seeded(), 0
    for _ in range(2000):
        found = random_flip(rgb, generator=generator)
        np.testing.assert_array_equal(found[:, :, 0], rgb[:, :, 0])
        columns = found[0, :, 1].tolist()
        assert columns in ([0, 1, 2], [2, 1, 0])
        flipped += columns == [2, 1, 0]
    assert abs(flipped - 1000) < 4 * math.sqrt(500)


@pytest.mark.parametrize(
    ("size", "smallest", "expected"),
    [(1, 1, 4), (5, 1, 4), (7, 1, 8), (258, 1, 256), (259, 1, 260), (3, 24, 24), (3, 22, 24)],
)
def test_round_to_multiple_of_4(size: int, smallest: int, expected: int) -> None:
    assert round_to_multiple(size, 4, smallest=smallest) == expected


SIZES = [(1, 1), (3, 5000), (5000, 3), (100, 75), (75, 100), (30, 30), (41, 33)]


def fitted(mode: str, height: int, width: int) -> tuple[int, int]:
    how = Preprocessing(mode=mode, load_size=36, crop_size=32, smallest=24)
    return how.fit(np.zeros((height, width, 3), np.uint8)).shape[:2]


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_resize_and_crop_squeezes_to_a_square(height: int, width: int) -> None:
    assert fitted("resize_and_crop", height, width) == (36, 36)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (32, 32)),
        ((3, 5000), (32, 53333)),
        ((100, 75), (100, 75)),
        ((30, 30), (32, 32)),
        ((20, 40), (32, 64)),
        ((32, 40), (32, 40)),
    ],
)
def test_crop_enlarges_only_what_is_smaller_than_the_crop(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert fitted("crop", *size) == expected


def scale_width(width: int, height: int, target: int, smallest: int) -> tuple[int, int]:
    """The reference's rule: exact width, height in proportion, cut off, not below the crop."""
    exact = target * height / width
    return (math.floor(exact) if exact > smallest else smallest), target


@pytest.mark.parametrize(("height", "width"), [*SIZES[:2], *SIZES[3:], (101, 70), (93, 94)])
def test_scale_width_and_crop_follows_the_reference(height: int, width: int) -> None:
    assert fitted("scale_width_and_crop", height, width) == scale_width(width, height, 36, 32)


@pytest.mark.parametrize(("height", "width"), [*SIZES[:2], *SIZES[3:], (101, 70), (93, 94)])
def test_scale_width_rounds_the_same_to_the_stride(height: int, width: int) -> None:
    tall, wide = scale_width(width, height, 36, 32)
    found = fitted("scale_width", height, width)
    assert found[0] % 4 == found[1] % 4 == 0
    assert abs(found[0] - tall) <= 2
    assert found[1] == wide == 36


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1, 1), (24, 24)),
        ((3, 5000), (24, 5000)),
        ((41, 33), (40, 32)),
        ((43, 26), (44, 24)),  # 26 lies in the middle: to the even multiple, as the reference does
        ((100, 76), (100, 76)),
    ],
)
def test_none_only_rounds_to_the_stride(size: tuple[int, int], expected: tuple[int, int]) -> None:
    assert fitted("none", *size) == expected


def test_other_stride() -> None:
    how = Preprocessing(mode="none", stride=128, smallest=128)
    assert how.fit(noise(300, 100)).shape == (256, 128, 3)


@pytest.mark.parametrize("mode", ["resize_and_crop", "crop", "scale_width_and_crop"])
def test_crops_are_squares_of_any_picture(mode: str) -> None:
    how = Preprocessing(mode=mode, load_size=36, crop_size=32)
    for height, width in ((1, 1), (3, 400), (100, 75), (32, 32)):
        result = how.augment(how.fit(noise(height, width)), generator=seeded())
        assert result.shape == (32, 32, 3)
        assert result.dtype == np.uint8


@pytest.mark.parametrize("mode", ["scale_width", "none"])
def test_other_modes_do_not_crop(mode: str) -> None:
    how = Preprocessing(mode=mode, load_size=36, crop_size=32, flip=False)
    fit = how.fit(noise(60, 44))
    np.testing.assert_array_equal(how.augment(fit, generator=seeded()), fit)


def test_crop_larger_than_the_load_size_cannot_reach_beyond() -> None:
    # The options refuse it; here the picture is only as large as the load size.
    how = Preprocessing(load_size=30, crop_size=32)
    with pytest.raises(RuntimeError):
        how.augment(how.fit(noise(40, 40)), generator=seeded())


def test_augmentation_is_a_crop_and_a_flip() -> None:
    how = Preprocessing(load_size=36, crop_size=32)
    rgb, seen = places(36, 36), set()
    for seed in range(200):
        result = how.augment(rgb, generator=seeded(seed)).astype(int)
        step = result[0, 1, 1] - result[0, 0, 1]
        left = min(result[0, 0, 1], result[0, -1, 1])
        top = result[0, 0, 0]
        expected = places(36, 36)[top : top + 32, left : left + 32]
        np.testing.assert_array_equal(result, expected if step == 1 else expected[:, ::-1])
        seen.add((top, left, step))
    # Of 5 x 5 x 2 possible results nearly all were met.
    assert len(seen) > 45


@pytest.mark.parametrize(("mode", "shape"), [("resize_and_crop", (8, 8)), ("none", (20, 12))])
def test_the_center_is_kept_without_chance(mode: str, shape: tuple[int, int]) -> None:
    how = Preprocessing(mode=mode, load_size=12, crop_size=8)
    rgb = np.arange(20 * 12 * 3, dtype=np.uint8).reshape(20, 12, 3)
    kept = how.keep_center(rgb)
    assert kept.shape[:2] == shape
    if mode == "resize_and_crop":
        assert np.array_equal(kept, rgb[6:14, 2:10])
    else:
        assert np.array_equal(kept, rgb)


def test_without_flip_nothing_is_mirrored() -> None:
    how = Preprocessing(load_size=36, crop_size=32, flip=False)
    for seed in range(30):
        result = how.augment(places(36, 36), generator=seeded(seed)).astype(int)
        assert (np.diff(result[0, :, 1]) == 1).all()


def test_deterministic_by_the_generator_alone() -> None:
    how, rgb = Preprocessing(load_size=36, crop_size=20), noise(36, 36)
    before = torch.get_rng_state()
    first, same = (how.augment(rgb, generator=seeded(3)) for _ in range(2))
    np.testing.assert_array_equal(first, same)
    assert any(
        not np.array_equal(first, how.augment(rgb, generator=seeded(seed))) for seed in range(5)
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_fitting_involves_no_chance_and_leaves_its_input() -> None:
    rgb = noise(50, 61)
    copy = rgb.copy()
    how = Preprocessing(load_size=36, crop_size=32)
    np.testing.assert_array_equal(how.fit(rgb), how.fit(rgb))
    how.augment(how.fit(rgb), generator=seeded())
    np.testing.assert_array_equal(rgb, copy)


def test_unknown_mode() -> None:
    with pytest.raises(ValueError, match=r"mode: expected one of resize_and_crop.*, got 'squash'"):
        Preprocessing(mode="squash")


def test_limit_counts_the_result(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transforms, "_MAX_PIXELS", 100)
    assert resize(noise(3, 3), 10, 10).shape == (10, 10, 3)
    with pytest.raises(ValueError, match="11 x 10 pixels, more than 100"):
        resize(noise(3, 3), 10, 11)
    assert resize(noise(20, 20), 20, 20).shape == (20, 20, 3)  # it is there already


def test_a_random_part_has_the_area_and_shape_asked_for() -> None:
    rgb = places(240, 240)
    shares, aspects = [], []
    for seed in range(200):
        part = random_part(rgb, 50, smallest_area=0.2, generator=seeded(seed)).astype(float)
        assert part.shape == (50, 50, 3)
        # Away from the edges, which bicubic interpolation bends.
        high, wide = ((part[-3, -3, i] - part[2, 2, i]) * 50 / 45 for i in (0, 1))
        shares.append(high * wide / 240**2)
        aspects.append(wide / high)
    assert 0.18 < min(shares) < 0.25
    assert 0.85 < max(shares) < 1.02
    assert np.mean(shares) == pytest.approx(0.58, abs=0.06)
    assert 0.73 < min(aspects) < 0.8
    assert 1.25 < max(aspects) < 1.37


def test_a_random_part_may_have_to_be_small() -> None:
    spans = []
    for seed in range(100):
        part = random_part(
            places(200, 200), 40, smallest_area=0.04, largest_area=0.09, generator=seeded(seed)
        ).astype(int)
        high, wide = (part[-3, -3, i] - part[2, 2, i] for i in (0, 1))
        spans.append(float(high * wide) * (40 / 35) ** 2 / 200**2)
    assert 0.035 < min(spans) < 0.05
    assert 0.08 < max(spans) < 0.1


def test_all_of_the_area_of_a_square_is_nearly_all_of_it() -> None:
    parts = [
        random_part(places(60, 60), 60, smallest_area=1.0, generator=seeded(seed)).astype(int)
        for seed in range(50)
    ]
    spans = [part.max(axis=(0, 1))[:2] - part.min(axis=(0, 1))[:2] for part in parts]
    # A side is never longer than the picture, so that of another shape loses up to a seventh.
    assert min(map(min, spans)) >= 59 * 0.85
    assert all(max(span) >= 58 for span in spans)


def test_light_changes_brightness_and_contrast_within_bounds_and_no_hue() -> None:
    rgb = noise(20, 20) // 4 + 96  # far from black and white, where values are cut off
    gains = []
    for seed in range(200):
        lit = random_light(rgb, 0.2, generator=seeded(seed)).astype(float)
        gain, offset = np.polyfit(rgb.ravel().astype(float), lit.ravel(), 1)
        # All three channels are on one line, but for rounding to whole levels.
        np.testing.assert_allclose(lit, gain * rgb + offset, atol=1.0)
        gains.append(gain)
        assert 0.79 < lit.mean() / rgb.mean() < 1.21
    assert 0.63 < min(gains) < 0.75
    assert 1.3 < max(gains) < 1.45
    assert random_light(rgb, 1.0, generator=seeded()).dtype == np.uint8


def test_light_of_no_strength_changes_nothing() -> None:
    rgb = noise(9, 9)
    np.testing.assert_array_equal(random_light(rgb, 0.0, generator=seeded()), rgb)


@pytest.mark.parametrize(
    ("height", "width", "longest", "size"),
    [(30, 40, 20, (15, 20)), (40, 30, 20, (20, 15)), (1, 100, 10, (1, 10)), (9, 9, 4, (4, 4))],
)
def test_the_long_side_is_limited(
    height: int, width: int, longest: int, size: tuple[int, int]
) -> None:
    rgb = np.full((height, width, 3), 77, dtype=np.uint8)
    limited = transforms.limit_long_side(rgb, longest)
    assert limited.shape == (*size, 3)
    assert (limited == 77).all()


@pytest.mark.parametrize("longest", [40, 41])
def test_what_fits_stays_the_same_array(longest: int) -> None:
    rgb = np.zeros((30, 40, 3), dtype=np.uint8)
    assert transforms.limit_long_side(rgb, longest) is rgb
