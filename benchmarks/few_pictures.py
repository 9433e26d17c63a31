"""Whether a training on few paintings gets farther when it starts from a model.

    python benchmarks/few_pictures.py --photos monet2photo/trainB --paintings cezanne/train \
        --real cezanne/test --inputs monet2photo/testB --work /tmp/few_pictures

Trains one direction twice, with the same options, seed and number of pictures: from random weights
with the architecture of the model, and from the model. Both are measured against paintings that
neither saw, beside the model itself and the untouched inputs. The exit status is 1 unless the
training from the model has the lower SWD.
"""

import argparse
from pathlib import Path
from typing import Any

import impasto
from impasto.runs.directory import RunDirectory

_RECIPE: dict[str, Any] = {
    "one_sided": True,
    "lambda_perceptual": 1.0,
    "lambda_style": 1.0,
    "lambda_palette": 2.0,
    "netD": "projected",
    "ndf": 32,
    "gan_mode": "hinge",
    "diffaugment": ["translation"],
    "load_size": 192,
    "crop_size": 96,
    "cache_images": True,
    "num_threads": 0,
    "ema_decay": 0.99,
    "display": "console",
}
_ARCHITECTURE = ("netG", "ngf", "norm", "upsample", "color_skip", "output_base", "stroke_noise")


def main() -> int:
    """Train twice, measure, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name in ("photos", "paintings", "real", "inputs", "work"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--model", default="monet_cycle")
    parser.add_argument("--images", type=int, default=300)
    given = parser.parse_args()
    recipe = {
        **_RECIPE,
        "folder_A": given.photos,
        "folder_B": given.paintings,
        "checkpoints_dir": given.work,
        "max_images": given.images,
    }
    tuned = impasto.train(
        name="tuned", init_from=given.model, warmup_images=given.images // 6, **recipe
    )
    stored = RunDirectory(tuned.directory).read_options()
    same = {name: stored[name] for name in (*_ARCHITECTURE, "dropout", "grid_bend_px")}
    scratch = impasto.train(name="scratch", **recipe, **same)
    result = impasto.evaluate(
        [scratch.directory, tuned.directory, given.model],
        real=given.real,
        inputs=given.inputs,
        output=given.work / "evaluation",
    )
    values = {row.name: row.values for row in result.evaluation.rows}
    for name, measures in values.items():
        shown = ", ".join(
            f"{measure} {measures[measure]:.3g}"
            for measure in ("swd", "kid", "palette", "strokes")
            if measures.get(measure) is not None
        )
        print(f"{name:30}{shown}")
    return 0 if values["tuned"]["swd"] < values["scratch"]["swd"] else 1


if __name__ == "__main__":
    raise SystemExit(main())
