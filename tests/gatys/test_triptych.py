"""Triptychs: where each picture lies, and that labels are drawn below it."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.gatys.triptych import draw_triptych

Rgb = NDArray[np.uint8]
RED, GREEN, BLUE, GOLD = (200, 0, 0), (0, 160, 0), (0, 0, 200), (190, 160, 30)
WHITE = (255, 255, 255)


def plain(color: tuple[int, int, int], height: int, width: int) -> Rgb:
    return np.full((height, width, 3), color, np.uint8)


def box(sheet: Rgb, color: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Top, bottom, left, right of a colour."""
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
    assert boxes[-1][1] == 260  # they end where their neighbours do
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
