"""Whether a training on few paintings gets farther when it starts from a model.

    python benchmarks/few_pictures.py --photos monet2photo/trainB --paintings cezanne/train \
        --real cezanne/test --inputs monet2photo/testB --work /tmp/few_pictures

Trains photographs into paintings twice for each seed, with the same options and number of pictures:
from random weights with the architecture of the model, and from the model. Both are measured
against paintings that neither saw, beside the model itself and the untouched inputs. It prints the
ratio of their SWD; the exit status is 1 unless the training from the model has the lower one with
every seed.

`--losses painter` trains one direction with losses that draw just what SWD sees (colors, strokes)
to the paintings', whatever the pictures show; `--losses cyclegan` trains both directions with those
of a CycleGAN, of which the one to photographs starts from random weights in any case.
"""

import argparse
from pathlib import Path
from statistics import mean
from typing import Any

import impasto
from impasto.runs.directory import RunDirectory

_COMMON: dict[str, Any] = {
    "diffaugment": ["translation"],
    "cache_images": True,
    "num_threads": 0,
    "ema_decay": 0.99,
    "display": "console",
}
_LOSSES: dict[str, dict[str, Any]] = {
    "painter": {
        "one_sided": True,
        "lambda_perceptual": 1.0,
        "lambda_style": 1.0,
        "lambda_palette": 2.0,
        "netD": "projected",
        "ndf": 32,
        "gan_mode": "hinge",
    },
    "cyclegan": {"ndf": 32},
}
_ARCHITECTURE = ("netG", "ngf", "norm", "upsample", "color_skip", "output_base", "stroke_noise")
_MEASURES = ("swd", "kid", "palette", "strokes")


def main() -> int:
    """Train twice for each seed, measure, and print the tables and the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("photos", "paintings", "real", "inputs", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model", default="monet_cycle")
    parser.add_argument(
        "--init_direction",
        choices=("AtoB", "BtoA"),
        default="BtoA",
        help="direction in which the model paints, which --losses cyclegan has to know",
    )
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--crop_size", type=int, default=96)
    parser.add_argument("--losses", choices=_LOSSES, default="painter")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    given = parser.parse_args()
    ratios = []
    for seed in given.seeds:
        values = _compare(given, seed)
        for name, measures in values.items():
            known = [(each, measures[each]) for each in _MEASURES if measures.get(each) is not None]
            print(f"seed {seed}: {name:22}{', '.join(f'{each} {v:.3g}' for each, v in known)}")
        tuned, scratch = (values[name]["swd"] for name in (f"tuned_{seed}", f"scratch_{seed}"))
        ratios.append(tuned / scratch)
        print(f"seed {seed}: SWD {tuned:.1f} from the model, {scratch:.1f} from scratch", end="; ")
        print(f"ratio {ratios[-1]:.3f}", flush=True)
    print(f"ratio of SWD, from the model over from scratch: mean {mean(ratios):.3f}", end=", ")
    print(f"{min(ratios):.3f} to {max(ratios):.3f} over {len(ratios)} seeds")
    return 0 if max(ratios) < 1 else 1


def _compare(given: argparse.Namespace, seed: int) -> dict[str, Any]:
    """Train from the model and from random weights, and return the measures of each row."""
    recipe: dict[str, Any] = {
        **_COMMON,
        **_LOSSES[given.losses],
        "load_size": 2 * given.crop_size,
        "crop_size": given.crop_size,
        "folder_A": given.photos,
        "folder_B": given.paintings,
        "checkpoints_dir": given.work,
        "max_images": given.images,
        "seed": seed,
    }
    start: dict[str, Any] = {"init_from": given.model, "warmup_images": given.images // 6}
    if given.losses == "cyclegan":
        start["init_direction"] = given.init_direction
    tuned = impasto.train(name=f"tuned_{seed}", **start, **recipe)
    stored = RunDirectory(tuned.directory).read_options()
    same = {name: stored[name] for name in (*_ARCHITECTURE, "dropout", "grid_bend_px")}
    scratch = impasto.train(name=f"scratch_{seed}", **recipe, **same)
    result = impasto.evaluate(
        [scratch.directory, tuned.directory, given.model],
        real=given.real,
        inputs=given.inputs,
        output=given.work / f"evaluation_{seed}",
    )
    return {row.name: row.values for row in result.evaluation.rows}


if __name__ == "__main__":
    raise SystemExit(main())
