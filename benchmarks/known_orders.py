"""Do the measures of `impasto evaluate` put sets of pictures in the order that is known?

Real pictures are Monets. Compared with them are other Monets, translations by the shipped model,
half-way blends of photographs and translations, translations that were blurred, or made noisy, or
made by the model with noise in its weights (as of a bad epoch), photographs, and other painters. At
the end, photographs are compared with photographs. All sets have as many pictures.

Each chain below is in its order by construction; the last columns of the table say how many pairs
of neighbors in it a measure puts the wrong way round.

    python benchmarks/known_orders.py /work/shared/monet2photo --painters /work/shared/pictures
"""

import copy
import itertools
import platform
import sys
import time
from argparse import ArgumentParser
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from impasto.cyclegan import (
    Candidate,
    Evaluation,
    Reference,
    Sample,
    Translator,
    evaluate,
    find_generator,
)
from impasto.data.decode import read_picture
from impasto.data.files import list_pictures
from impasto.data.tensors import to_pictures, to_tensor
from impasto.data.transforms import center_crop, resize
from impasto.gatys.features.distances import make_comparison, make_extractor

Rgb = NDArray[np.uint8]

_SIDE = 256
_CPU = torch.device("cpu")
_LOWER = ("swd", "kid", "fid", "palette")
_MEASURES = (*_LOWER, "precision", "recall", "content", "ssim")
_CHAINS = {
    "blends": (
        "other Monets",
        "translations",
        "75 % translation",
        "50 % translation",
        "25 % translation",
        "photographs",
    ),
    "blur": ("translations", "blurred by 1 px", "blurred by 2 px"),
    "noise": ("translations", "noise of 10", "noise of 30"),
    "weights": ("translations", "weights off by 10 %", "weights off by 20 %"),
}


def main() -> int:
    """Measure, and print the tables."""
    parser = ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("monet2photo", type=Path, help="the data set, with trainA and trainB")
    parser.add_argument("--painters", type=Path, help="folder with vangogh and ukiyoe")
    parser.add_argument("--pictures", type=int, default=30, help="number of each set")
    parser.add_argument("--seed", type=int, default=0, help="seed that draws the pictures")
    given = parser.parse_args()
    count = given.pictures
    began = time.process_time()

    def draw(folder: Path, number: int = count) -> list[Rgb]:
        return _draw(folder, number, seed=given.seed)

    monets = draw(given.monet2photo / "trainA", 2 * count)
    photos = draw(given.monet2photo / "trainB", 2 * count)
    sets = {"photographs": photos[:count], **_translations(photos[:count], seed=given.seed)}
    if given.painters is not None:
        for name in ("vangogh", "ukiyoe"):
            sets[f"paintings: {name}"] = draw(given.painters / name / "train")
    evaluation = _evaluate(monets[:count], monets[count:], sets, photos[:count])
    print(f"{count} pictures in each set, seed {given.seed}, real: Monets\n")
    _print_table(evaluation)
    print()
    _print_chains(evaluation)
    sys.stdout.flush()
    apart = _evaluate(photos[:count], photos[count:], {}, None)
    print(f"\n{count} photographs and {count} other ones\n")
    _print_table(apart, floor="other photographs")
    seconds = time.process_time() - began
    print(f"\n{seconds:.0f} s of one core, {platform.processor() or platform.machine()}")
    return 0


def _draw(folder: Path, count: int, *, seed: int) -> list[Rgb]:
    files = list_pictures(folder)
    if len(files) < count:
        sys.exit(f"{folder} holds {len(files)} pictures; give at most --pictures {len(files)}")
    chosen = np.random.default_rng(seed).permutation(len(files))[:count]
    pictures = (read_picture(files[place]).rgb for place in chosen)
    return [resize(center_crop(one, min(one.shape[:2])), _SIDE, _SIDE) for one in pictures]


def _translations(photos: Sequence[Rgb], *, seed: int) -> dict[str, list[Rgb]]:
    """Return translations, and what is worse in a known way."""
    loaded = find_generator(Path("monet_cycle"))
    rng = np.random.default_rng(seed)
    made = _translate(photos, Translator.of(loaded, device=_CPU))
    sets = {"translations": made}
    for share in (75, 50, 25):
        sets[f"{share} % translation"] = [
            np.round(share / 100 * after + (1 - share / 100) * before).astype(np.uint8)
            for before, after in zip(photos, made, strict=True)
        ]
    for sigma in (1, 2):
        sets[f"blurred by {sigma} px"] = [gaussian_filter(one, (sigma, sigma, 0)) for one in made]
    for deviation in (10, 30):
        sets[f"noise of {deviation}"] = [
            np.clip(one + rng.normal(0, deviation, one.shape), 0, 255).astype(np.uint8)
            for one in made
        ]
    for percent in (10, 20):
        worse = copy.deepcopy(loaded)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for weights in worse.network.parameters():
                drawn = torch.randn(weights.shape, generator=generator)
                weights.add_(percent / 100 * weights.square().mean().sqrt() * drawn)
        worse_ones = _translate(photos, Translator.of(worse, device=_CPU))
        sets[f"weights off by {percent} %"] = worse_ones
    return sets


def _translate(photos: Sequence[Rgb], translator: Translator) -> list[Rgb]:
    return [to_pictures(translator(to_tensor(photo)[None]))[0] for photo in photos]


def _evaluate(
    real: Sequence[Rgb],
    others: Sequence[Rgb],
    sets: Mapping[str, Sequence[Rgb]],
    inputs: Sequence[Rgb] | None,
) -> Evaluation:
    def samples(name: str, pictures: Sequence[Rgb]) -> list[Sample]:
        if inputs is None or name.startswith("paintings"):
            return [Sample(picture=one) for one in pictures]
        pairs = zip(pictures, inputs, strict=True)
        return [Sample(picture=one, before=before) for one, before in pairs]

    return evaluate(
        Reference(
            real=[Sample(picture=one) for one in real],
            others=[Sample(picture=one) for one in others],
        ),
        [Candidate(name=name, pictures=samples(name, some)) for name, some in sets.items()],
        extractor=make_extractor("lite", device=_CPU),
        comparison=make_comparison("lite", device=_CPU),
        on_row=lambda row: print(f"measured {row.name}", file=sys.stderr, flush=True),
    )


def _print_table(evaluation: Evaluation, *, floor: str = "other Monets") -> None:
    usual = {"swd": "SWD", "ssim": "SSIM"}
    headings = [evaluation.headings.get(name, usual.get(name, name)) for name in _MEASURES]
    print(f"| | {' | '.join(headings)} |\n|---|{'---|' * len(headings)}")
    rows = {_name(row.name, floor): row.values for row in evaluation.rows}
    for name in sorted(rows, key=lambda name: rows[name]["kid"]):
        values = rows[name]
        cells = [f"{values[one]:.3g}" if one in values else "" for one in _MEASURES]
        spread = f" ± {values['kid_spread']:.2g}"
        cells[_MEASURES.index("kid")] += spread
        print(f"| {name} | {' | '.join(cells)} |")


def _name(row: str, floor: str = "other Monets") -> str:
    return floor if row.startswith("floor") else row


def _print_chains(evaluation: Evaluation) -> None:
    """Say how many neighbors of each chain are the wrong way round, and which."""
    rows = {_name(row.name): row.values for row in evaluation.rows}
    measures = (*_LOWER, "precision", "recall")
    print(f"| wrong neighbors | {' | '.join(measures)} |\n|---|{'---|' * len(measures)}")
    for chain, names in _CHAINS.items():
        cells = []
        for measure in measures:
            sign = 1 if measure in _LOWER else -1
            wrong = [
                second
                for first, second in itertools.pairwise(names)
                if sign * rows[first][measure] > sign * rows[second][measure]
            ]
            cells.append(f"{len(wrong)} of {len(names) - 1}" + (f" ({wrong[0]})" if wrong else ""))
        print(f"| {chain} | {' | '.join(cells)} |")


if __name__ == "__main__":
    raise SystemExit(main())
