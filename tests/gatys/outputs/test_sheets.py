"""Triptychs: where each picture lies, and that labels are drawn below it.

Grids of pictures with labels.
"""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.gatys.outputs.sheets import draw_contact_sheet, draw_triptych

Rgb = NDArray[np.uint8]
RED, GREEN, BLUE, GOLD = (200, 0, 0), (0, 160, 0), (0, 0, 200), (190, 160, 30)
WHITE = (255, 255, 255)


def plain(color: tuple[int, int, int], height: int, width: int) -> Rgb:
    return np.full((height, width, 3), color, np.uint8)


def box(sheet: Rgb, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of a color."""
    rows, columns = np.nonzero((sheet == color).all(axis=2))
    assert len(rows) == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)  # a full rectangle
    return rows.min(), rows.max() + 1, columns.min(), columns.max() + 1


def test_equal_heights_in_order_with_gaps() -> None:
    sheet = draw_triptych(plain(RED, 300, 400), [plain(BLUE, 50, 25)], plain(GREEN, 128, 160))
    content, style, result = (box(sheet, color) for color in (RED, BLUE, GREEN))
    assert sheet.shape == (128 + 4, 171 + 64 + 160 + 8, 3)
    assert content == (2, 130, 2, 173)
    assert style == (2, 130, 175, 239)
    assert result == (2, 130, 241, 401)
    assert (sheet[0] == WHITE).all()
    assert (sheet[:, -1] == WHITE).all()


def test_the_result_keeps_its_pixels() -> None:
    result = np.random.default_rng(0).integers(0, 256, (64, 80, 3), dtype=np.uint8)
    sheet = draw_triptych(plain(RED, 64, 80), [plain(BLUE, 9, 9)], result)
    np.testing.assert_array_equal(sheet[2:66, -82:-2], result)


@pytest.mark.parametrize("count", [2, 3, 4])
def test_several_styles_are_stacked(count: int) -> None:
    colors = [(0, 0, 40 * index + 40) for index in range(count)]
    styles = [plain(color, 100 + 37 * index, 130) for index, color in enumerate(colors)]
    sheet = draw_triptych(plain(RED, 90, 90), styles, plain(GREEN, 256, 256))
    boxes = [box(sheet, color) for color in colors]
    assert boxes[0][0] == 4
    assert boxes[-1][1] == 260  # they end where their neighbors do
    for above, below in pairwise(boxes):
        assert below[0] - above[1] == 4
        assert below[2:] == above[2:]
    for style, (top, bottom, left, right) in zip(styles, boxes, strict=True):
        assert abs((bottom - top) - (right - left) * style.shape[0] / 130) <= 1


def test_many_styles_make_columns() -> None:
    colors = [(0, 0, 20 * index + 20) for index in range(7)]
    styles = [plain(color, 100, 130) for color in colors]
    sheet = draw_triptych(plain(RED, 90, 90), styles, plain(GREEN, 256, 256))
    lefts = [box(sheet, color)[2] for color in colors]
    assert len(set(lefts)) == 2
    assert lefts == sorted(lefts)


def test_height_and_ground() -> None:
    sheet = draw_triptych(
        plain(RED, 30, 40), [plain(BLUE, 30, 30)], plain(GREEN, 30, 40), height=90, ground=(1, 2, 3)
    )
    assert box(sheet, GREEN)[:2] == (2, 92)
    assert tuple(sheet[0, 0]) == (1, 2, 3)


@pytest.mark.parametrize("ground", [WHITE, (20, 20, 20)])
def test_labels_stand_below_their_pictures(ground: tuple[int, int, int]) -> None:
    arguments = (plain(RED, 120, 160), [plain(BLUE, 50, 25)], plain(GREEN, 240, 320))
    bare = draw_triptych(*arguments, ground=ground)
    sheet = draw_triptych(*arguments, ground=ground, labels=("content", "", "result"))
    foot = sheet[box(sheet, GREEN)[1] :]
    assert sheet.shape[0] > bare.shape[0]
    ink = np.abs(foot.astype(int) - ground).sum(axis=(0, 2)) > 60
    for color, inked in ((RED, True), (BLUE, False), (GREEN, True)):
        left, right = box(sheet, color)[2:]
        columns = np.nonzero(ink[left:right])[0]
        assert bool(columns.size) == inked
        if inked:
            assert abs(columns.min() + columns.max() - (right - left)) <= 6  # in the middle
    # Legible: the text is far from the ground in brightness.
    assert np.abs(foot.astype(int) - ground).max() > 150


def test_a_long_label_stays_below_its_picture() -> None:
    long = "a painting with a name that goes on and on"
    sheet = draw_triptych(
        plain(RED, 240, 200), [plain(BLUE, 240, 60)], plain(GREEN, 240, 200), labels=("", long, "")
    )
    left, right = box(sheet, BLUE)[2:]
    foot = sheet[box(sheet, GREEN)[1] :]
    ink = np.nonzero((foot != 255).any(axis=(0, 2)))[0]
    assert ink.size
    assert left <= ink.min() <= ink.max() < right
    narrow = draw_triptych(
        plain(RED, 240, 200), [plain(BLUE, 240, 3)], plain(GREEN, 240, 200), labels=("", long, "")
    )
    assert (narrow[box(narrow, GREEN)[1] :] == 255).all()  # no room for a single letter


def test_what_is_refused() -> None:
    one = plain(GOLD, 20, 20)
    with pytest.raises(ValueError, match="at least one style"):
        draw_triptych(one, [], one)
    with pytest.raises(ValueError, match="expected three labels, got 2"):
        draw_triptych(one, [one], one, labels=("a", "b"))


def test_tiny_pictures() -> None:
    one = plain(GOLD, 1, 1)
    assert draw_triptych(one, [one] * 5, one, labels=("a", "b", "c")).shape[2] == 3


def plain_cell(color: tuple[int, int, int], height: int = 40, width: int = 60) -> Rgb:
    return np.full((height, width, 3), color, dtype=np.uint8)


def places(sheet: Rgb, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Return top, left, height and width of what has a color."""
    rows, columns = np.nonzero((sheet == color).all(axis=2))
    return (
        int(rows.min()),
        int(columns.min()),
        int(np.ptp(rows)) + 1,
        int(np.ptp(columns)) + 1,
    )


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_pictures_stand_in_their_rows_and_columns() -> None:
    sheet = draw_contact_sheet(
        {("a", "x"): plain_cell(RED), ("a", "y"): plain_cell(GREEN), ("b", "y"): plain_cell(BLUE)},
        ["a", "b"],
        ["x", "y"],
    )
    red, green, blue = (places(sheet, color) for color in (RED, GREEN, BLUE))
    assert red[2:] == green[2:] == blue[2:] == (40, 60)
    assert red[0] == green[0] < blue[0]
    assert red[1] < green[1] == blue[1]


def test_a_missing_picture_leaves_its_place_gray() -> None:
    sheet = draw_contact_sheet({("a", "x"): plain_cell(RED)}, ["a", "b"], ["x"])
    assert places(sheet, (238, 238, 238))[2:] == (40, 60)


def test_large_pictures_are_fitted_and_small_ones_are_not_enlarged() -> None:
    pictures = {("a", "x"): plain_cell(RED, 300, 600), ("a", "y"): plain_cell(GREEN, 20, 30)}
    sheet = draw_contact_sheet(pictures, ["a"], ["x", "y"], tile=100)
    assert places(sheet, RED)[2:] == (50, 100)
    assert places(sheet, GREEN)[2:] == (20, 30)


def test_labels_are_written_and_long_ones_broken() -> None:
    short = draw_contact_sheet({("a", "x"): plain_cell(RED)}, ["a"], ["x"])
    long = draw_contact_sheet(
        {("a", "x"): plain_cell(RED)}, ["a"], ["x"], row_title="style", column_title="pooling"
    )
    assert long.shape[0] > short.shape[0]
    broken = draw_contact_sheet(
        {("a", "relu1_1+relu2_1+relu3_1"): plain_cell(RED)}, ["a"], ["relu1_1+relu2_1+relu3_1"]
    )
    assert broken.shape[1] == short.shape[1]
    assert broken.shape[0] > short.shape[0]
    assert (broken != 255).any(axis=2).sum() > (short != 255).any(axis=2).sum()


def test_labels_of_narrow_columns_do_not_overlap() -> None:
    label = "unbreakablelabel"
    pictures = {("a", "x"): plain_cell(RED, 40, 16), ("a", label): plain_cell(GREEN, 40, 16)}
    sheet = draw_contact_sheet(pictures, ["a"], ["x", label, f"{label}s"], column_title="t" * 90)
    top, green = places(sheet, RED)[0], places(sheet, GREEN)
    ink = (sheet[top - 20 : top - 4] < 200).any(axis=(0, 2))
    center = green[1] + green[3] // 2
    words = np.split(np.nonzero(ink)[0], np.nonzero(np.diff(np.nonzero(ink)[0]) > 5)[0] + 1)
    assert len(words) >= 3  # gaps between the labels
    assert any(word[0] < center < word[-1] for word in words)
    assert (sheet[:, -4:] == 255).all()


def test_a_failed_place_says_so() -> None:
    pictures = {("a", "x"): plain_cell(RED, 40, 16)}
    blank = draw_contact_sheet(pictures, ["a", "b", "c"], ["x"])
    told = draw_contact_sheet(pictures, ["a", "b", "c"], ["x"], failed={("b", "x")})
    assert told.shape[1] > blank.shape[1]  # room for the word
    top, left, height, width = places(told, (238, 238, 238))
    b, c = told[top : top + 40, left : left + width], told[top + 46 : top + height]
    assert (b < 100).any()
    assert (c[:, left : left + width] == 238).all()


def test_nothing_to_draw_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one picture"):
        draw_contact_sheet({}, ["a"], ["x"])
