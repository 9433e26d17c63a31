r"""What looks best without weights: recipes side by side, as a figure and as numbers.

    python benchmarks/builtin_recipes.py --content ../shared/pairs/content_landscape.jpg \
        --styles ../shared/pairs/style_*.jpg --own checkpoints/monet --output /tmp/recipes.jpg

A column for each style, a row for each recipe. Numbers are means over the styles: seconds of
processor time, how well the content's edges are kept (correlation of edge strengths, 1: all), how
far the colors are from the style's (in CIELAB, 0: the same). They are no measure of beauty: look
at the figure.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from impasto.data import Picture, read_picture, write_picture
from impasto.data.metrics.paired import edge_correlation, palette_distance
from impasto.data.transforms import resize
from impasto.gatys import stylize
from impasto.options.stylize import StylizeOptions

Rgb = NDArray[np.uint8]

RECIPES: dict[str, dict[str, Any]] = {
    "patches (builtin)": {"preset": "builtin"},
    "patches, no content loss": {"preset": "builtin", "content_weight": 0.0},
    "random VGG, sliced (random)": {"preset": "random"},
    "random VGG, Gram": {"preset": "random", "statistic": "gram"},
}
_OWN = "own VGG19, means and covariances (trained)"
_GAP, _TEXT = 6, 15


def main() -> None:
    """Run all recipes on all styles; print the table, write the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--content", type=Path, required=True)
    parser.add_argument("--styles", type=Path, nargs="+", required=True)
    parser.add_argument("--own", help="what `impasto backbone train` wrote; one more row")
    parser.add_argument("--size", type=int, default=256, help="longer side, pixels")
    parser.add_argument("--output", type=Path, required=True, help="the figure")
    arguments = parser.parse_args()
    base = StylizeOptions(content=arguments.content, size=arguments.size)
    styles = [read_picture(path).rgb for path in arguments.styles]
    rows: list[tuple[str, list[Rgb]]] = []
    print(f"{'recipe':30} {'CPU s':>8} {'edges kept':>11} {'palette distance':>17}")
    recipes = RECIPES | ({} if arguments.own is None else {_OWN: {"backbone": arguments.own}})
    for name, changes in recipes.items():
        numbers, made = [], []
        for path, style in zip(arguments.styles, styles, strict=True):
            started = time.process_time()
            result = stylize(replace(base, styles=[path], **changes))
            rgb = np.rint(result.image * 255).astype(np.uint8)
            content = resize(result.pictures.content, *rgb.shape[:2])
            kept, distance = (
                edge_correlation(rgb, content),
                palette_distance(rgb, style, np.random.default_rng(0)),
            )
            numbers.append((time.process_time() - started, kept, distance))
            made.append(rgb)
        seconds, kept, distance = (mean(column) for column in zip(*numbers, strict=True))
        print(f"{name:30} {seconds:8.0f} {kept:11.2f} {distance:17.1f}", flush=True)
        rows.append((name, made))
    write_picture(arguments.output, Picture(rgb=_sheet(styles, rows)))


def _sheet(styles: Sequence[Rgb], rows: Sequence[tuple[str, list[Rgb]]]) -> Rgb:
    """Draw the styles, and below them the rows, each under its name."""
    height, width = rows[0][1][0].shape[:2]
    top = height
    sheet = Image.new(
        "RGB",
        (
            len(styles) * (width + _GAP) - _GAP,
            top + len(rows) * (height + _TEXT + 2 * _GAP),
        ),
        "white",
    )
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(_TEXT - 2)
    for column, style in enumerate(styles):
        wide = min(width, round(style.shape[1] * height / style.shape[0]))
        left = column * (width + _GAP) + (width - wide) // 2
        sheet.paste(Image.fromarray(resize(style, height, wide)), (left, 0))
    for index, (name, pictures) in enumerate(rows):
        y = top + index * (height + _TEXT + 2 * _GAP) + _GAP
        draw.text((0, y), name, "black", font)
        for column, rgb in enumerate(pictures):
            sheet.paste(Image.fromarray(rgb), (column * (width + _GAP), y + _TEXT + _GAP))
    return np.asarray(sheet)


if __name__ == "__main__":
    main()
