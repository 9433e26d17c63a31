"""Sheets of several pictures: content, styles and result side by side, or a grid with labels."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from impasto.data.decode import Rgb
from impasto.data.sheets import write_label
from impasto.data.transforms import resize
from impasto.gatys.scales import fit

__all__ = ["draw_contact_sheet", "draw_triptych"]


Color = tuple[int, int, int]

_STYLES_IN_A_COLUMN = 4
_GAP = 1 / 64  # of the height
_TEXT = 1 / 24  # of the height
_SMALLEST_TEXT = 11
_DARK, _LIGHT = (34, 34, 34), (238, 238, 238)


@dataclass(frozen=True, kw_only=True)
class _Placed:
    """A picture, and where its upper left corner lies on the sheet."""

    rgb: Rgb
    top: int
    left: int


def draw_triptych(
    content: Rgb,
    styles: Sequence[Rgb],
    result: Rgb,
    *,
    height: int | None = None,
    labels: Sequence[str] | None = None,
    ground: Color = (255, 255, 255),
) -> Rgb:
    """Put content, styles and result side by side, all as high as the result.

    Several styles are stacked in columns, whose width is chosen so that they fill the height.

    Args:
        content: content picture, RGB, (H, W, 3), uint8, of any size.
        styles: style pictures, in the same format, at least one.
        result: stylized picture, in the same format.
        height: height of the pictures on the sheet, in pixels; the height of the result unless
            given.
        labels: three labels under content, styles and result; no labels unless given.
        ground: background color between and around the pictures, RGB, 0 to 255.

    Returns:
        RGB, (H, W, 3), uint8.

    Raises:
        ValueError: there is no style, or there are not exactly three labels.
    """
    if not styles:
        raise ValueError("a triptych needs at least one style")
    if labels is not None and len(labels) != 3:
        raise ValueError(f"expected three labels, got {len(labels)}")
    height = height or result.shape[0]
    gap = max(round(height * _GAP), 2)
    columns = [[content], *_in_columns(styles), [result]]
    left, placed = gap, []
    for column in columns:
        stack = _stack(column, height, gap=gap, left=left)
        placed.append(stack)
        left += stack[0].rgb.shape[1] + gap
    text = max(round(height * _TEXT), _SMALLEST_TEXT)
    foot = round(1.6 * text) if labels else gap
    sheet = np.full((gap + height + foot, left, 3), ground, np.uint8)
    for picture in (picture for stack in placed for picture in stack):
        rows, width = picture.rgb.shape[:2]
        sheet[picture.top : picture.top + rows, picture.left : picture.left + width] = picture.rgb
    if not labels:
        return sheet
    spans = [_span(placed[:1]), _span(placed[1:-1]), _span(placed[-1:])]
    return _write_labels(sheet, labels, spans, size=text, foot=foot, ground=ground)


def _in_columns(styles: Sequence[Rgb]) -> list[list[Rgb]]:
    """Divide the styles into as few columns as leave none with more than four."""
    count = -(-len(styles) // _STYLES_IN_A_COLUMN)
    bounds = [round(index * len(styles) / count) for index in range(count + 1)]
    return [list(styles[a:b]) for a, b in pairwise(bounds)]


def _stack(pictures: Sequence[Rgb], height: int, *, gap: int, left: int) -> list[_Placed]:
    """Scale pictures to one width with which they fill the height, with gaps between them."""
    free = max(height - gap * (len(pictures) - 1), len(pictures))
    slopes = [rgb.shape[0] / rgb.shape[1] for rgb in pictures]
    width = max(round(free / sum(slopes)), 1)
    # Edges are rounded, not heights, so that the stack ends where its neighbors do.
    edges = np.rint(np.cumsum([0.0, *slopes]) * free / sum(slopes)).astype(int)
    return [
        _Placed(
            rgb=resize(rgb, max(int(below - above), 1), width),
            top=gap + int(above) + gap * index,
            left=left,
        )
        for index, (rgb, (above, below)) in enumerate(zip(pictures, pairwise(edges), strict=True))
    ]


def _span(stacks: Sequence[Sequence[_Placed]]) -> tuple[int, int]:
    """Return the left and right edge of neighboring stacks."""
    last = stacks[-1][0]
    return stacks[0][0].left, last.left + last.rgb.shape[1]


def _write_labels(
    sheet: Rgb,
    labels: Sequence[str],
    spans: Sequence[tuple[int, int]],
    *,
    size: int,
    foot: int,
    ground: Color,
) -> Rgb:
    """Write each label in the middle below its span; a long one ends in an ellipsis."""
    image = Image.fromarray(sheet)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size)
    # ITU-R BT.601 luma.
    bright = float(np.dot(ground, (0.299, 0.587, 0.114))) > 127
    for label, span in zip(labels, spans, strict=True):
        color = _DARK if bright else _LIGHT
        write_label(draw, label, span, sheet.shape[0] - foot / 2, font, color)
    return np.asarray(image)


_MARGIN = 12
_GAP_PX = 6
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
        pictures: pictures, RGB, (H, W, 3), uint8, by the labels of row and column; a missing one
            leaves an empty cell, as wide and high as the others.
        rows: labels of the rows, from top to bottom.
        columns: labels of the columns, from left to right.
        row_title: heading of the row labels.
        column_title: heading of the column labels.
        failed: row and column labels of the cells whose picture failed, which the sheet marks.
        tile: longest side of a picture on the sheet, in pixels; smaller ones are not enlarged.

    Returns:
        The sheet, RGB, uint8.

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
    width = max(width, _widest([_FAILED], small) + _GAP_PX) if failed else width
    down = [_lines(label, font, max(width // 2, 90)) for label in rows]
    line = round(1.3 * size)
    beside = max(_widest([row_title], small), *(_widest(lines, font) for lines in down))
    left = _MARGIN + beside + 2 * _GAP_PX
    titles = line if row_title or column_title else 0
    top = _MARGIN + titles + max(len(lines) for lines in across) * line + _GAP_PX
    sheet = Image.new(
        "RGB",
        (
            left
            + max(len(columns) * (width + _GAP_PX) - _GAP_PX, _widest([column_title], small))
            + _MARGIN,
            top + sum(heights) + (len(rows) - 1) * _GAP_PX + _MARGIN,
        ),
        "white",
    )
    draw = ImageDraw.Draw(sheet)
    draw.text((left, _MARGIN), column_title, _FAINT, small)
    draw.text((_MARGIN, top - line - _GAP_PX), row_title, _FAINT, small)
    for column, lines in enumerate(across):
        middle = left + column * (width + _GAP_PX) + width // 2
        _write(draw, lines, middle, top - _GAP_PX - len(lines) * line, line, font, anchor="ma")
    y = top
    for row, lines, height in zip(rows, down, heights, strict=True):
        first = y + height // 2 - len(lines) * line // 2
        _write(draw, lines, left - 2 * _GAP_PX, first, line, font, anchor="ra")
        for index, name in enumerate(columns):
            x = left + index * (width + _GAP_PX)
            if (row, name) in shown:
                rgb = shown[row, name]
                place = (x + (width - rgb.shape[1]) // 2, y + (height - rgb.shape[0]) // 2)
                sheet.paste(Image.fromarray(rgb), place)
            else:
                note = _FAILED if (row, name) in failed else ""
                _write_empty(draw, (x, y, x + width - 1, y + height - 1), note, small)
        y += height + _GAP_PX
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
    draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], note: str, font: _Font
) -> None:
    draw.rectangle(box, fill=_EMPTY)
    draw.text(((box[0] + box[2]) // 2, (box[1] + box[3]) // 2), note, _INK, font, anchor="mm")


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
