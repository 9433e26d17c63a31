"""The pictures of docs/model_card.md, made by the shipped models.

    python benchmarks/shipped_figures.py

Writes docs/figures/monets.jpg (five test photographs, and below each what `--model monet` makes of
it), monets_all.jpg (all thirty, as a contact sheet: the failures, too), monets_cycle.jpg (the five
with `--model monet_cycle`), photos.jpg (`--model photo`) and strokes.jpg (a part of a larger
photograph, pixel for pixel, with `monet_cycle` and strokes of two sizes).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.convert import paint
from impasto.cyclegan.models import find_generator
from impasto.data import Picture, read_picture, write_picture
from impasto.data.files import list_pictures
from impasto.data.samples.photographs import sample_photographs
from impasto.data.transforms import resize

Rgb = NDArray[np.uint8]

_FIGURES = Path(__file__).parents[1] / "docs" / "figures"
# By their place among the test photographs, in order of names.
_CHOSEN = (0, 4, 6, 12, 21)
_GAP_PX = 6
_PART = np.s_[20:420, 60:460]  # of the larger photograph, which has 427 x 640 pixels


def main() -> None:
    """Translate the test pictures with the models, and write the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    shared = Path(__file__).parents[2] / "shared" / "monet2photo"
    parser.add_argument("--monet2photo", type=Path, default=shared, help="testA and testB")
    parser.add_argument("--chosen", type=int, nargs=5, default=_CHOSEN, help="of monets.jpg")
    parser.add_argument("--output", type=Path, default=_FIGURES)
    arguments = parser.parse_args()
    photographs = _read(arguments.monet2photo / "testB")
    monets = _translate(photographs, "monet")
    paintings = _read(arguments.monet2photo / "testA")[::5]
    chosen = arguments.chosen
    tens = [slice(start, start + 10) for start in range(0, len(photographs), 10)]
    five = [photographs[i] for i in chosen]
    figures = {
        "monets.jpg": ([five, [monets[i] for i in chosen]], 240),
        "monets_cycle.jpg": ([five, _translate(five, "monet_cycle")], 240),
        "monets_all.jpg": ([row for ten in tens for row in (photographs[ten], monets[ten])], 128),
        "photos.jpg": ([paintings, _translate(paintings, "photo")], 240),
    }
    large = sample_photographs()["china"]
    cycle = (_translate([large], "monet_cycle", stroke_scale=scale)[0] for scale in (1, 2))
    strokes = [large, *cycle]
    figures["strokes.jpg"] = ([[rgb[_PART] for rgb in strokes]], 400)
    for name, (rows, side_px) in figures.items():
        write_picture(arguments.output / name, Picture(rgb=_sheet(rows, side_px)), quality=88)


def _read(folder: Path) -> list[Rgb]:
    return [read_picture(path).rgb for path in list_pictures(folder)]


def _translate(pictures: Sequence[Rgb], model: str, *, stroke_scale: float = 1) -> list[Rgb]:
    translator = Translator.of(find_generator(Path(model)), device=torch.device("cpu"))
    return [paint([rgb], translator, scale=stroke_scale)[0] for rgb in pictures]


def _sheet(rows: Sequence[Sequence[Rgb]], side_px: int) -> Rgb:
    """Return square pictures in rows on white; each pair of rows belongs together."""
    high = len(rows) * side_px + ((len(rows) + 1) // 2 - 1) * _GAP_PX
    sheet = np.full((high, len(rows[0]) * (side_px + _GAP_PX) - _GAP_PX, 3), 255, np.uint8)
    for number, row in enumerate(rows):
        top = number * side_px + number // 2 * _GAP_PX
        for column, rgb in enumerate(row):
            left = column * (side_px + _GAP_PX)
            sheet[top : top + side_px, left : left + side_px] = resize(rgb, side_px, side_px)
    return sheet


if __name__ == "__main__":
    main()
