"""Sheets of pictures in rows, each with a label below it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from impasto.data.decode import Rgb
from impasto.data.transforms import limit_long_side

__all__ = ["Cell", "draw_sheet", "sheet_size", "write_label"]

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

_TEXT = 1 / 20  # of a cell
_SMALLEST_TEXT = 11
_GAP = 1 / 48  # of a cell
_FOOT = 1.8  # of the text
_INK, _EMPTY = (34, 34, 34), (238, 238, 238)
_MISSING = "failed"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One place on a sheet.

    Attributes:
        label: text below the picture.
        rgb: the picture, RGB, (H, W, 3), uint8; None leaves an empty place, which says so.
    """

    label: str
    rgb: Rgb | None = None


def draw_sheet(rows: Sequence[Sequence[Cell]], *, cell_px: int) -> Rgb:
    """Draw rows of pictures, with a label below each.

    Args:
        rows: cells from left to right, of the rows from top to bottom.
        cell_px: longer side of a picture on the sheet, in pixels; smaller ones are not enlarged.

    Returns:
        The sheet, RGB, (H, W, 3), uint8, on white.

    Raises:
        ValueError: there is no picture.
    """
    shown = [
        [None if cell.rgb is None else limit_long_side(cell.rgb, cell_px) for cell in row]
        for row in rows
    ]
    there = [rgb for row in shown for rgb in row if rgb is not None]
    if not there:
        raise ValueError("expected at least one picture")
    width = max(rgb.shape[1] for rgb in there)
    usual = max(rgb.shape[0] for rgb in there)
    heights = [
        max((rgb.shape[0] for rgb in row if rgb is not None), default=usual) for row in shown
    ]
    text, gap, foot = _measures(cell_px)
    columns = max(len(row) for row in rows)
    sheet = Image.new(
        "RGB",
        (gap + columns * (width + gap), gap + sum(heights) + len(rows) * (foot + gap)),
        "white",
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(text)
    top = gap
    for row, pictures, height in zip(rows, shown, heights, strict=True):
        for column, (cell, rgb) in enumerate(zip(row, pictures, strict=True)):
            left = gap + column * (width + gap)
            if rgb is None:
                draw.rectangle((left, top, left + width - 1, top + height - 1), fill=_EMPTY)
                write_label(draw, _MISSING, (left, left + width), top + height / 2, font, _INK)
            else:
                place = left + (width - rgb.shape[1]) // 2, top + (height - rgb.shape[0]) // 2
                sheet.paste(Image.fromarray(rgb), place)
            write_label(draw, cell.label, (left, left + width), top + height + foot / 2, font, _INK)
        top += height + foot + gap
    return np.asarray(sheet)


def sheet_size(rows: int, columns: int, *, cell_px: int) -> tuple[int, int]:
    """Return the largest height and width, in pixels, of a sheet of so many cells."""
    _, gap, foot = _measures(cell_px)
    return gap + rows * (cell_px + foot + gap), gap + columns * (cell_px + gap)


def _measures(cell_px: int) -> tuple[int, int, int]:
    """Return the size of the text, the gap between cells, and the height of a line of labels."""
    text = max(round(cell_px * _TEXT), _SMALLEST_TEXT)
    return text, max(round(cell_px * _GAP), 2), round(_FOOT * text)


def write_label(
    draw: ImageDraw.ImageDraw,
    label: str,
    span: tuple[float, float],
    middle: float,
    font: Font,
    color: tuple[int, int, int],
) -> None:
    """Write a text in the middle of a span; a long one is cut, and ends in an ellipsis.

    Args:
        draw: where to write.
        label: the text, which is left out where not even an ellipsis fits.
        span: left and right edge, in pixels.
        middle: height of the middle of the text, in pixels from the top.
        font: font of the text.
        color: color of the text, RGB, 0 to 255.
    """
    left, right = span
    text = label
    while text and draw.textlength(_cut(text, label), font) > right - left:
        text = text[:-1]
    draw.text(((left + right) / 2, middle), _cut(text, label), fill=color, font=font, anchor="mm")


def _cut(text: str, label: str) -> str:
    return label if text == label else f"{text.rstrip()}..." if text else ""
