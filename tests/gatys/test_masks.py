"""Masks: reading, pairing with styles, coverage, and the untouched region."""

import logging
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.gatys.masks import (
    MaskedRegion,
    MaskPair,
    compose_untouched,
    make_regions,
    parse_mask_pair,
    read_mask,
    resize_mask,
)
from impasto.options.errors import OptionError, PictureError

STYLES = [Path("paintings/starry.jpg"), Path("scream.png"), Path("a=b.jpg")]
Array = NDArray[np.float32]


def half(*, left: bool, height: int = 20, width: int = 30, edge: int = 15) -> Array:
    mask = np.zeros((height, width), np.float32)
    mask[:, :edge] = 1
    return mask if left else 1 - mask


def pairs(*styles: int | None) -> list[MaskPair]:
    return [MaskPair(path=Path(f"m{n}.png"), style=style) for n, style in enumerate(styles)]


@pytest.mark.parametrize(
    ("text", "path", "style"),
    [
        ("sky.png=paintings/starry.jpg", "sky.png", 0),
        ("sky.png=starry.jpg", "sky.png", 0),
        ("sky.png=starry", "sky.png", 0),
        ("in/sky.png=scream.png", "in/sky.png", 1),
        ("sky.png=untouched", "sky.png", None),
        ("sky.png=a=b.jpg", "sky.png", 2),
        ("x=y.png=a=b", "x=y.png", 2),
    ],
)
def test_pairs(text: str, path: str, style: int | None) -> None:
    assert parse_mask_pair(text, STYLES) == MaskPair(path=Path(path), style=style)


def test_one_style_needs_no_name() -> None:
    assert parse_mask_pair("sky.png", STYLES[:1]) == MaskPair(path=Path("sky.png"), style=0)


def test_both_sides_may_lie_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    styles = [Path("b.png"), tmp_path / "a.png"]
    whole = MaskPair(path=tmp_path / "sky.png", style=1)
    assert parse_mask_pair("~/sky.png=~/a.png", styles) == whole
    alone = MaskPair(path=tmp_path / "sky.png", style=0)
    assert parse_mask_pair("~/sky.png", styles[1:]) == alone


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sky.png", "--masks: sky.png: expected MASK=STYLE, with STYLE one of starry.jpg, scream"),
        ("=starry", "--masks: =starry: expected MASK=STYLE"),
        ("sky.png=stary.jpg", "stary.jpg is no style.*did you mean starry.jpg"),
        ("sky.png=", "is no style"),
    ],
)
def test_bad_pairs(text: str, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        parse_mask_pair(text, STYLES)


def test_a_name_that_fits_two_styles() -> None:
    styles = [Path("a/x.jpg"), Path("b/x.jpg")]
    with pytest.raises(OptionError, match=r"x fits a/x.jpg and b/x.jpg; give its whole path"):
        parse_mask_pair("m.png=x", styles)
    assert parse_mask_pair("m.png=b/x.jpg", styles).style == 1
    assert parse_mask_pair("m.png=x", [styles[0], styles[0]]).style == 0


def test_read_gray_one_bit_and_alpha(tmp_path: Path) -> None:
    gray = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    path = tmp_path / "m.png"
    Image.fromarray(gray).save(path)
    mask = read_mask(path, 3, 4)
    assert mask.dtype == np.float32
    np.testing.assert_allclose(mask, gray / 255, atol=1e-5)

    Image.fromarray((gray > 100).astype(np.uint8) * 255).convert("1").save(path)
    np.testing.assert_array_equal(read_mask(path, 3, 4), gray > 100)

    white = np.full((3, 4, 3), 255, np.uint8)
    Image.fromarray(np.dstack([white, gray])).save(path)
    np.testing.assert_allclose(read_mask(path, 3, 4), gray / 255, atol=1e-5)

    Image.fromarray(gray.astype(np.uint16) * 257).save(path)
    np.testing.assert_allclose(read_mask(path, 3, 4), gray / 255, atol=1e-5)


def test_a_colored_mask_counts_by_its_luma(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[255, 0, 0], [255, 255, 255]]], np.uint8)).save(tmp_path / "m.png")
    np.testing.assert_allclose(read_mask(tmp_path / "m.png", 1, 2), [[0.299, 1]], atol=1 / 255)


def test_masks_are_scaled(tmp_path: Path) -> None:
    big = np.zeros((723, 1024), np.uint8)
    big[:, 512:] = 255
    Image.fromarray(big).save(tmp_path / "m.png")
    for height, width in ((181, 256), (1446, 2048), (362, 512)):
        mask = read_mask(tmp_path / "m.png", height, width)
        assert mask.shape == (height, width)
        assert (mask[:, : width // 2 - 3] == 0).all()
        assert (mask[:, width // 2 + 3 :] == 1).all()  # exactly: untouched means untouched
        assert abs(mask.mean() - 0.5) < 0.01


@pytest.mark.parametrize("size", [(30, 20), (20, 33), (200, 333)])
def test_a_mask_of_another_shape(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("L", size, 255).save(tmp_path / "m.png")
    with pytest.raises(PictureError, match=f"m.png: has {size[0]} x {size[1]} pixels.* 40 x 30"):
        read_mask(tmp_path / "m.png", 30, 40)


def test_masks_that_mark_nothing(tmp_path: Path) -> None:
    Image.new("L", (40, 30)).save(tmp_path / "black.png")
    with pytest.raises(PictureError, match=r"black.png: marks nothing: it is black"):
        read_mask(tmp_path / "black.png", 30, 40)
    dot = Image.new("L", (2000, 1500))
    dot.putpixel((7, 7), 1)
    dot.save(tmp_path / "dot.png")
    with pytest.raises(PictureError, match=r"dot.png: marks nothing that is left at 4 x 3"):
        read_mask(tmp_path / "dot.png", 3, 4)
    with pytest.raises(OptionError, match=r"m1.png marks nothing"):
        make_regions(pairs(0, 1), [half(left=True), 0 * half(left=True)], STYLES[:2], rest="style")


def test_complementary_masks_stay_so_when_scaled() -> None:
    rng = np.random.default_rng(0)
    mask = rng.random((40, 60)).astype(np.float32)
    for height, width in ((13, 20), (80, 120)):
        total = resize_mask(mask, height, width) + resize_mask(1 - mask, height, width)
        np.testing.assert_allclose(total, 1, atol=2 / 65535)


def test_two_halves(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    masks = [half(left=True), half(left=False)]
    regions = make_regions(pairs(1, 0), masks, STYLES[:2], rest="untouched")
    assert [(region.name, region.style) for region in regions] == [("m0.png", 1), ("m1.png", 0)]
    for region, mask in zip(regions, masks, strict=True):
        np.testing.assert_array_equal(region.mask, mask)
    assert caplog.messages == []


@pytest.mark.parametrize(("rest", "style"), [("style", 1), ("untouched", None)])
def test_the_rest(rest: str, style: int | None, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    regions = make_regions(pairs(0), [half(left=True)], STYLES[: 1 + (style or 0)], rest=rest)  # type: ignore[arg-type]
    assert [(region.name, region.style) for region in regions] == [("m0.png", 0), ("rest", style)]
    np.testing.assert_array_equal(regions[1].mask, half(left=False))
    assert "300 pixels (50.00%) in no mask are left" in caplog.text


def test_the_rest_gets_the_first_style_where_all_have_masks() -> None:
    regions = make_regions(pairs(0), [half(left=True)], STYLES[:1], rest="style")
    assert regions[1].style == 0


def test_the_rest_gets_one_style_only() -> None:
    with pytest.raises(OptionError, match=r"--mask_rest: .*scream.png and a=b.jpg have no mask"):
        make_regions(pairs(0), [half(left=True)], STYLES, rest="style")


def test_an_unused_style_is_said(caplog: pytest.LogCaptureFixture) -> None:
    make_regions(pairs(0), [half(left=True)], STYLES[:2], rest="untouched")
    assert "no region is left for scream.png: not used" in caplog.text


def test_overlap_is_refused_with_counts_and_names() -> None:
    masks = [half(left=True, edge=18), half(left=False, edge=15)]
    with pytest.raises(OptionError) as caught:
        make_regions(pairs(0, 1), masks, STYLES[:2], rest="style")
    message = str(caught.value)
    # 3 columns of 20 rows, of 600 pixels; the smaller mask has 15 columns.
    assert "m0.png and m1.png both claim 60 pixels (10.00%), 20.0% of the smaller" in message


def test_a_small_overlap_is_shared(caplog: pytest.LogCaptureFixture) -> None:
    masks = [
        half(left=True, height=10, width=400, edge=201),
        half(left=False, height=10, width=400, edge=200),
    ]
    regions = make_regions(pairs(0, 1), masks, STYLES[:2], rest="style")
    assert "both claim 10 pixels (0.25%), 0.5% of the smaller one; they share it" in caplog.text
    for region in regions:
        assert (region.mask[:, 200] == 0.5).all()


def test_a_small_gap_is_said(caplog: pytest.LogCaptureFixture) -> None:
    masks = [
        half(left=True, height=10, width=400, edge=199),
        half(left=False, height=10, width=400, edge=200),
    ]
    regions = make_regions(pairs(0, 1), masks, STYLES[:2], rest="untouched")
    assert "almost cover the picture: 10 pixels (0.25%) in no mask" in caplog.text
    assert regions[2].style is None
    assert regions[2].mask.sum() == 10


def test_soft_edges_add_up_to_one() -> None:
    ramp = np.clip(np.linspace(-1, 2, 30), 0, 1).astype(np.float32)
    one = np.tile(ramp, (20, 1))
    # Feathered too widely: both are above 0 over several pixels, and add up to up to 1.2.
    other = np.clip(1.2 - one, 0, 1)
    for masks, count in (
        ([one, other], 2),
        ([one, 1 - one], 2),
        ([one], 2),
        ([0.7 * one, other * 0.2], 3),
    ):
        regions = make_regions(
            pairs(*range(len(masks))), masks, STYLES[: len(masks)], rest="untouched"
        )
        assert len(regions) == count
        np.testing.assert_allclose(sum(region.mask for region in regions), 1, atol=1e-6)


def test_a_speck_in_no_mask_belongs_to_all() -> None:
    masks = [
        half(left=True, height=200, width=200, edge=100),
        half(left=False, height=200, width=200, edge=100),
    ]
    masks[0][3, 3] = 0
    regions = make_regions(pairs(0, 1), masks, STYLES[:2], rest="untouched")
    assert [region.mask[3, 3] for region in regions] == [0.5, 0.5]


def test_the_untouched_region_is_the_content_bit_for_bit() -> None:
    rng = np.random.default_rng(1)
    result, content = (rng.random((20, 30, 3)).astype(np.float32) for _ in range(2))
    mask = np.tile(np.clip(np.linspace(-1, 2, 30), 0, 1).astype(np.float32), (20, 1))
    regions = [
        MaskedRegion(name="sky", mask=1 - mask, style=0),
        MaskedRegion(name="a", mask=(mask / 3).astype(np.float32), style=None),
        MaskedRegion(name="b", mask=(mask * 2 / 3).astype(np.float32), style=None),
    ]
    composed = compose_untouched(result, content, regions)
    assert composed.dtype == np.float32
    assert composed[mask == 1].tobytes() == content[mask == 1].tobytes()
    assert composed[mask == 0].tobytes() == result[mask == 0].tobytes()
    soft = (mask > 0) & (mask < 1)
    assert soft.any()
    expected = (1 - mask[..., None]) * result + mask[..., None] * content
    np.testing.assert_allclose(composed, expected, atol=1e-6)


def test_nothing_untouched() -> None:
    result = np.zeros((4, 5, 3), np.float32)
    region = MaskedRegion(name="all", mask=np.ones((4, 5), np.float32), style=0)
    assert compose_untouched(result, result + 1, [region]) is result
    other = MaskedRegion(name="all", mask=np.ones((4, 6), np.float32), style=None)
    with pytest.raises(ValueError, match=r"a result of \(4, 5, 3\).*masks of \(4, 6\)"):
        compose_untouched(result, result, [other])
