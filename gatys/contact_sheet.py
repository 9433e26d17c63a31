"""A grid of pictures with labelled rows and columns, as one puts it into a report."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from impasto.data.transforms import resize
from impasto.gatys.scales import fit

__all__ = ["draw_contact_sheet"]

Rgb = NDArray[np.uint8]

_MARGIN = 12
_GAP = 6
_FAILED = "failed"
_INK, _FAINT, _EMPTY = (34, 34, 34), (110, 110, 110), (238, 238, 238)


def draw_contact_sheet(
    pictures: Mapping[tuple[str, str], Rgb],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    row_title: str = "",
    column_title: str = "",
    failed: Collection[tuple[str, str]] = (),
    tile: int = 256,
) -> Rgb:
    """Draw pictures in a grid.

    Args:
        pictures: RGB, (H, W, 3), uint8, by labels of row and column; a missing one leaves an empty
            place, as wide and high as the others.
        rows: labels from top to bottom.
        columns: labels from left to right.
        row_title: what the rows are.
        column_title: what the columns are.
        failed: places that say that their picture failed.
        tile: longest side of a picture on the sheet, in pixels; smaller ones are not enlarged.

    Returns:
        RGB, uint8.

    Raises:
        ValueError: there are no pictures, rows or columns.
    """
    if not pictures or not rows or not columns:
        raise ValueError("expected at least one picture, one row and one column")
    shown = {place: _fitted(rgb, tile) for place, rgb in pictures.items()}
    width = max(rgb.shape[1] for rgb in shown.values())
    heights = _heights(shown, rows, columns)
    size = max(13, min(26, round(width / 12)))
    font, small = ImageFont.load_default(size), ImageFont.load_default(max(11, size - 3))
    across = [_lines(label, font, width) for label in columns]
    width = max(width, *(_widest(lines, font) for lines in across))
    width = max(width, _widest([_FAILED], small) + _GAP) if failed else width
    down = [_lines(label, font, max(width // 2, 90)) for label in rows]
    line = round(1.3 * size)
    beside = max(_widest([row_title], small), *(_widest(lines, font) for lines in down))
    left = _MARGIN + beside + 2 * _GAP
    titles = line if row_title or column_title else 0
    top = _MARGIN + titles + max(len(lines) for lines in across) * line + _GAP
    sheet = Image.new(
        "RGB",
        (
            left
            + max(len(columns) * (width + _GAP) - _GAP, _widest([column_title], small))
            + _MARGIN,
            top + sum(heights) + (len(rows) - 1) * _GAP + _MARGIN,
        ),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((left, _MARGIN), column_title, _FAINT, small)
    draw.text((_MARGIN, top - line - _GAP), row_title, _FAINT, small)
    for column, lines in enumerate(across):
        middle = left + column * (width + _GAP) + width // 2
        _write(draw, lines, middle, top - _GAP - len(lines) * line, line, font, anchor="ma")
    y = top
    for row, lines, height in zip(rows, down, heights, strict=True):
        first = y + height // 2 - len(lines) * line // 2
        _write(draw, lines, left - 2 * _GAP, first, line, font, anchor="ra")
        for index, name in enumerate(columns):
            x = left + index * (width + _GAP)
            if (row, name) in shown:
                found = shown[row, name]
                place = (x + (width - found.shape[1]) // 2, y + (height - found.shape[0]) // 2)
                sheet.paste(Image.fromarray(found), place)
            else:
                said = _FAILED if (row, name) in failed else ""
                _write_empty(draw, (x, y, x + width - 1, y + height - 1), said, small)
        y += height + _GAP
    return np.asarray(sheet)


_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def _fitted(rgb: Rgb, tile: int) -> Rgb:
    height, width = rgb.shape[:2]
    return rgb if max(height, width) <= tile else resize(rgb, *fit(height, width, tile))


def _heights(
    shown: Mapping[tuple[str, str], Rgb], rows: Sequence[str], columns: Sequence[str]
) -> list[int]:
    """Return the height of each row; one without pictures is as high as the highest."""
    heights = [
        max((shown[row, name].shape[0] for name in columns if (row, name) in shown), default=0)
        for row in rows
    ]
    return [height or max(heights) for height in heights]


def _lines(label: str, font: _Font, width: int) -> list[str]:
    """Break a label between words, or after + and _, to fit into a width."""
    words = label.replace("+", "+ ").replace("_", "_ ").split(" ")
    lines = [""]
    for word in words:
        glue = "" if not lines[-1] or lines[-1][-1] in "+_" else " "
        longer = lines[-1] + glue + word
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines


def _widest(lines: Sequence[str], font: _Font) -> int:
    return round(max(font.getlength(line) for line in lines))


def _write_empty(
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], said: str, font: _Font
) -> None:
    draw.rectangle(box, fill=_EMPTY)
    draw.text(((box[0] + box[2]) // 2, (box[1] + box[3]) // 2), said, _INK, font, anchor="mm")


def _write(
    draw: ImageDraw.ImageDraw,
    lines: Sequence[str],
    x: int,
    y: int,
    line: int,
    font: _Font,
    *,
    anchor: str,
) -> None:
    for index, text in enumerate(lines):
        draw.text((x, y + index * line), text, _INK, font, anchor=anchor)
