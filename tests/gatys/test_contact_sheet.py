"""Grids of pictures with labels."""

import numpy as np
import pytest
from numpy.typing import NDArray

from impasto.gatys.contact_sheet import draw_contact_sheet

Rgb = NDArray[np.uint8]


def plain(colour: tuple[int, int, int], height: int = 40, width: int = 60) -> Rgb:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def places(sheet: Rgb, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Return top, left, height and width of what has a colour."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    return (
        int(rows.min()),
        int(columns.min()),
        int(np.ptp(rows)) + 1,
        int(np.ptp(columns)) + 1,
    )


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def test_pictures_stand_in_their_rows_and_columns() -> None:
    sheet = draw_contact_sheet(
        {("a", "x"): plain(RED), ("a", "y"): plain(GREEN), ("b", "y"): plain(BLUE)},
        ["a", "b"],
        ["x", "y"],
    )
    red, green, blue = (places(sheet, colour) for colour in (RED, GREEN, BLUE))
    assert red[2:] == green[2:] == blue[2:] == (40, 60)
    assert red[0] == green[0] < blue[0]
    assert red[1] < green[1] == blue[1]


def test_a_missing_picture_leaves_its_place_grey() -> None:
    sheet = draw_contact_sheet({("a", "x"): plain(RED)}, ["a", "b"], ["x"])
    assert places(sheet, (238, 238, 238))[2:] == (40, 60)


def test_large_pictures_are_fitted_and_small_ones_are_not_enlarged() -> None:
    pictures = {("a", "x"): plain(RED, 300, 600), ("a", "y"): plain(GREEN, 20, 30)}
    sheet = draw_contact_sheet(pictures, ["a"], ["x", "y"], tile=100)
    assert places(sheet, RED)[2:] == (50, 100)
    assert places(sheet, GREEN)[2:] == (20, 30)


def test_labels_are_written_and_long_ones_broken() -> None:
    short = draw_contact_sheet({("a", "x"): plain(RED)}, ["a"], ["x"])
    long = draw_contact_sheet(
        {("a", "x"): plain(RED)}, ["a"], ["x"], row_title="style", column_title="pooling"
    )
    assert long.shape[0] > short.shape[0]
    broken = draw_contact_sheet(
        {("a", "relu1_1+relu2_1+relu3_1"): plain(RED)}, ["a"], ["relu1_1+relu2_1+relu3_1"]
    )
    assert broken.shape[1] == short.shape[1]
    assert broken.shape[0] > short.shape[0]
    assert (broken != 255).any(axis=2).sum() > (short != 255).any(axis=2).sum()


def test_labels_of_narrow_columns_do_not_overlap() -> None:
    label = "unbreakablelabel"
    pictures = {("a", "x"): plain(RED, 40, 16), ("a", label): plain(GREEN, 40, 16)}
    sheet = draw_contact_sheet(pictures, ["a"], ["x", label, f"{label}s"], column_title="t" * 90)
    top, green = places(sheet, RED)[0], places(sheet, GREEN)
    ink = (sheet[top - 20 : top - 4] < 200).any(axis=(0, 2))
    centre = green[1] + green[3] // 2
    words = np.split(np.nonzero(ink)[0], np.nonzero(np.diff(np.nonzero(ink)[0]) > 5)[0] + 1)
    assert len(words) >= 3  # gaps between the labels
    assert any(word[0] < centre < word[-1] for word in words)
    assert (sheet[:, -4:] == 255).all()


def test_a_failed_place_says_so() -> None:
    pictures = {("a", "x"): plain(RED, 40, 16)}
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
