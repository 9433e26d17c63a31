"""Content, styles and result side by side on one sheet."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from impasto.data.transforms import resize

__all__ = ["draw_triptych"]

Rgb = NDArray[np.uint8]
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

    Several styles are stacked, in columns as wide as makes them fill the height together.

    Args:
        content: RGB, (H, W, 3), uint8, of any size.
        styles: the same, at least one.
        result: the same.
        height: of the pictures, in pixels; the result's own unless given.
        labels: three texts under content, styles and result; none unless given.
        ground: the colour between and around, RGB, 0 to 255.

    Returns:
        RGB, (H, W, 3), uint8.

    Raises:
        ValueError: there is no style, or not three labels.
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
    # Edges are rounded, not heights, so that the stack ends where its neighbours do.
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
    """Return the left and right edge of neighbouring stacks."""
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
    for label, (left, right) in zip(labels, spans, strict=True):
        text = label
        while text and draw.textlength(_shown(text, label), font) > right - left:
            text = text[:-1]
        draw.text(
            ((left + right) / 2, sheet.shape[0] - foot / 2),
            _shown(text, label),
            fill=_DARK if bright else _LIGHT,
            font=font,
            anchor="mm",
        )
    return np.asarray(image)


def _shown(text: str, label: str) -> str:
    return label if text == label else f"{text.rstrip()}..." if text else ""
