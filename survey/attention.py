"""Attention checks: pictures that say in words what to answer."""

import importlib.util
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from impasto.options.errors import ImpastoError

__all__ = ["draw_check"]

Rgb = NDArray[np.uint8]

_INK, _MARGIN = (255, 255, 255), 0.08


def draw_check(
    sentence: str, answer: str, *, width: int, height: int, rng: np.random.Generator
) -> Rgb:
    """Draw a card with a sentence, and the answer that it asks for in large letters.

    The ground is a soft pattern of dark colours, another for each card, so that the file is no
    shorter than others where they are compressed, and no two are the same.

    Args:
        sentence: e.g. ``Please answer``.
        answer: e.g. ``REAL``.
        width: pixels.
        height: pixels.
        rng: draws the pattern.

    Returns:
        RGB, (height, width, 3), uint8.

    Raises:
        ImpastoError: the font has no letter for a part of the text.
    """
    coarse = rng.integers(20, 100, (4, 4, 3), dtype=np.uint8)
    card = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(card)
    for text, share, middle in ((sentence, 0.12, 0.32), (answer, 0.3, 0.62)):
        font = _fitting(text, round(height * share), width * (1 - 2 * _MARGIN))
        draw.text((width / 2, height * middle), text, _INK, font, anchor="mm")
    return np.asarray(card)


def _fitting(text: str, size: int, width: float) -> ImageFont.FreeTypeFont:
    """Return the font at a size, or smaller, so that the text is no wider than ``width``."""
    path = _font()
    font = ImageFont.truetype(path, max(size, 8))
    missing = bytes(font.getmask("\uffff"))
    for letter in set(text) - {" "}:
        if bytes(font.getmask(letter)) == missing:
            raise ImpastoError(
                f"the font of attention checks has no {letter!r} ({text!r}); change the text, or "
                "take --attention 0"
            )
    while font.size > 8 and font.getlength(text) > width:
        font = ImageFont.truetype(path, font.size - 1)
    return font


def _font() -> Path:
    """Return DejaVu Sans (Latin, Greek, Cyrillic and more), which comes with matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None  # noqa: S101 - a dependency of Impasto
    assert found.origin is not None  # noqa: S101
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"
