"""Sheets of labelled pictures: where everything lies, against counting by hand."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from impasto.data.sheets import Cell, draw_sheet, sheet_size, write_label

INK = (34, 34, 34)


def plain(height: int, width: int, color: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((height, width, 3), color, np.uint8)


def extent_of(sheet: NDArray[np.uint8], color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    return extent(np.all(sheet == color, axis=2))


def extent(mask: Any) -> tuple[int, int, int, int]:
    """Give first and last row and first and last column of what is true, the last ones excluded."""
    rows, columns = np.nonzero(mask)
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_pictures_stand_in_rows_as_large_as_their_cells() -> None:
    red, green, blue = (255, 0, 0), (0, 255, 0), (0, 0, 255)
    rows = [
        [Cell(label="a", rgb=plain(200, 400, red)), Cell(label="b", rgb=plain(50, 100, green))],
        [Cell(label="c", rgb=plain(400, 200, blue))],
    ]
    sheet = draw_sheet(rows, cell_px=100)
    places = {
        name: extent_of(sheet, color)
        for name, color in (("red", red), ("green", green), ("blue", blue))
    }
    sizes = {name: (b - a, d - c) for name, (a, b, c, d) in places.items()}
    # Longer sides of 100; what fits is not enlarged.
    assert sizes == {"red": (50, 100), "green": (50, 100), "blue": (100, 50)}
    assert places["red"][0] == places["green"][0]
    assert places["red"][3] < places["green"][2]  # the first is at the left
    assert places["blue"][0] > places["red"][1]  # and the second row below the first
    # In the middle of its column.
    assert places["blue"][2] + places["blue"][3] == places["red"][2] + places["red"][3]
    height, width = sheet.shape[:2]
    highest, widest = sheet_size(2, 2, cell_px=100)
    assert width <= widest
    assert height <= highest
    assert sheet_size(2, 2, cell_px=100)[1] - sheet_size(2, 1, cell_px=100)[1] > 100


def test_each_label_is_below_its_picture_and_within_its_width() -> None:
    color = (200, 0, 0)
    long = "a name that no cell has room for, since it goes on and on"
    sheet = draw_sheet(
        [
            [
                Cell(label="Monet", rgb=plain(90, 90, color)),
                Cell(label=long, rgb=plain(90, 90, color)),
            ]
        ],
        cell_px=90,
    )
    _, bottom, left, right = extent_of(sheet, color)
    dark: Any = np.all(sheet < 100, axis=2)
    assert not dark[:bottom].any()
    first, second = dark[:, : (left + right) // 2], dark[:, (left + right) // 2 :]
    for half in (first, second):
        assert half[bottom:].any()
    ink = extent(dark)
    assert left <= ink[2]
    assert ink[3] <= right


def test_what_is_missing_leaves_a_place_that_says_so() -> None:
    color = (200, 0, 0)
    whole = draw_sheet([[Cell(label="a", rgb=plain(80, 100, color)), Cell(label="b")]], cell_px=100)
    both = draw_sheet([[Cell(label=name, rgb=plain(80, 100, color)) for name in "ab"]], cell_px=100)
    assert whole.shape == both.shape
    place = extent_of(both, color)
    gap = np.s_[place[0] : place[1], place[3] - 100 : place[3]]
    assert ((whole[gap] == 238).all(axis=2)).mean() > 0.8  # a light gray ground
    assert (whole[gap] < 100).any()  # and a word on it
    with pytest.raises(ValueError, match="at least one picture"):
        draw_sheet([[Cell(label="a")]], cell_px=100)


@pytest.mark.parametrize("width", [400, 60, 3])
def test_labels_are_cut_to_their_span(width: int) -> None:
    image = Image.new("RGB", (500, 40), "white")
    font = ImageFont.load_default(14)
    write_label(ImageDraw.Draw(image), "photographs", (50, 50 + width), 20, font, INK)
    dark: Any = np.all(np.asarray(image) < 128, axis=2)
    if width == 3:
        assert not dark.any()  # not even an ellipsis fits
        return
    _, _, left, right = extent(dark)
    assert 49 <= left < right <= 51 + width
    assert abs((left + right) / 2 - (50 + width / 2)) < 4
