"""JPEGs that are decoded at a fraction of their size: how large they are, and where they lie."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.data.decode import read_picture, read_reduced
from tests.data.test_decode import RNG, SIDES, Bytes, exif, saved


@pytest.mark.parametrize("orientation", range(1, 9))
def test_reduced_pictures_lie_where_the_whole_one_does(tmp_path: Path, orientation: int) -> None:
    # A quarter of 83 x 61 pixels is 20.75 x 15.25; the rest is filled up at the last stored
    # column and row.
    path = tmp_path / "picture.jpg"
    image = Image.linear_gradient("L").resize((83, 61)).convert("RGB")
    image.save(path, quality=95, exif=b"Exif\0\0" + exif(orientation))
    whole = read_picture(path).rgb
    lying = orientation >= 5
    rgb, box = read_reduced(path, (20, 15) if lying else (15, 20))
    assert rgb.shape == ((21, 16, 3) if lying else (16, 21, 3))
    row_side, column_side = SIDES[orientation]
    last_row, last_column = (
        {"top": "bottom", "bottom": "top", "left": "right", "right": "left"}[side]
        for side in (row_side, column_side)
    )
    wide, high = (15.25, 20.75) if lying else (20.75, 15.25)
    left = 0.75 if lying else 0.25
    top = 0.25 if lying else 0.75
    expected = (
        left if "left" in (last_row, last_column) else 0,
        top if "top" in (last_row, last_column) else 0,
    )
    assert box == (*expected, expected[0] + wide, expected[1] + high)
    small, other = (
        np.asarray(Image.fromarray(some).resize((5, 5), Image.Resampling.BICUBIC, part), int)
        for some, part in ((whole, None), (rgb, box))
    )
    assert np.abs(small - other).max() <= 3


@pytest.mark.parametrize(
    ("least", "kind", "sides"),
    [
        ((30, 40), "JPEG", (30, 40)),
        ((31, 10), "JPEG", (60, 80)),
        ((30, 41), "JPEG", (60, 80)),
        ((0, 0), "JPEG", (8, 10)),  # an eighth at most
        ((1, 1), "PNG", (60, 80)),
    ],
)
def test_no_less_is_decoded_than_is_enough(
    tmp_path: Path, least: tuple[int, int], kind: str, sides: tuple[int, int]
) -> None:
    path = tmp_path / "picture"
    noise: Bytes = RNG.integers(0, 256, (60, 80, 3), dtype=np.uint8)
    path.write_bytes(saved(Image.fromarray(noise), kind))
    rgb, box = read_reduced(path, least)
    assert list(rgb.shape) == [*sides, 3]
    scale = round(60 / sides[0])
    assert list(box) == [0, 0, 80 / scale, 60 / scale]
    if scale == 1:
        np.testing.assert_array_equal(rgb, read_picture(path).rgb)
