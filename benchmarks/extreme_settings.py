"""Stylize with extreme settings by L-BFGS, and see that no run ends with NaN.

    python benchmarks/extreme_settings.py
    python benchmarks/extreme_settings.py --iterations 200
    python benchmarks/extreme_settings.py --only "constant style" "huge content weight"
    python benchmarks/extreme_settings.py --content photo.jpg --style painting.jpg

Ten runs of 64 to 384 pixels: weights from next to nothing to absurd, noise, pictures of one color,
steps that are far too long. No file of weights is needed, nor used: the networks are random. A run
is well if it ends with a finite picture in [0, 1] whose loss is no larger than that of the first
picture at its last scale, or with a plain error of Impasto's. Prints a table, and exits with 1 if a
run is not well. With --iterations 15 it takes two minutes on one core.
"""

import argparse
import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from impasto.data.decode import Picture
from impasto.data.encode import write_picture
from impasto.gatys.jobs.stylize import stylize
from impasto.gatys.optim.iterates import Iterate
from impasto.options.errors import ImpastoError
from impasto.options.stylize import StylizeOptions

__all__ = ["RUNS", "Report", "main", "run"]

RUNS: Mapping[str, Mapping[str, Any]] = {
    "style weight 1e-2": {"preset": "random", "size": 384, "style_weight": 1e-2},
    "style weight 1e6": {"preset": "random", "size": 256, "style_weight": 1e6},
    "style weight 1e6, noise": {
        "preset": "random",
        "size": 128,
        "style_weight": 1e6,
        "init": "noise",
        "statistic": "gram",
    },
    "huge content weight": {"preset": "random", "size": 192, "content_weight": 1e10},
    "constant style": {"preset": "random", "size": 192, "styles": ("flat",)},
    "constant content": {"preset": "random", "size": 192, "content": "flat", "init": "content"},
    "constant both, noise": {
        "preset": "gatys2016",
        "size": 128,
        "init": "noise",
        "content": "flat",
        "styles": ("flat",),
    },
    "gatys2016 by random filters": {"preset": "gatys2016", "size": 256},
    "gatys2016, black style, 1e6": {
        "preset": "gatys2016",
        "size": 128,
        "style_weight": 1e6,
        "styles": ("black",),
        "init": "content",
    },
    "patches, 1e6, steps 50 times too long": {
        "preset": "builtin",
        "optimizer": "lbfgs",
        "size": 64,
        "style_weight": 1e6,
        "lr": 50.0,
        "history": 3,
    },
}


@dataclass(frozen=True, kw_only=True)
class Report:
    """How one run ended.

    Attributes:
        size: of the picture.
        seconds: of all of it.
        evaluations: of the losses.
        words: what the optimization, or the error, says.
        finite: whether there is a picture, finite and in [0, 1]; None after an error of Impasto's.
        fell: the loss at the last scale, as a share of its first.
    """

    size: int
    seconds: float
    evaluations: int
    words: str
    finite: bool | None
    fell: float

    @property
    def well(self) -> bool:
        """Whether it ended as it should."""
        return self.finite is None or (self.finite and self.fell <= 1)


def run(settings: Mapping[str, Any], pictures: Mapping[str, Path], iterations: int) -> Report:
    """Run one of :data:`RUNS`.

    Args:
        settings: options; content and styles are names of pictures.
        pictures: files by those names.
        iterations: evaluations at each scale.
    """
    options = StylizeOptions(
        **{
            **settings,
            "content": pictures[settings.get("content", "content")],
            "styles": tuple(pictures[name] for name in settings.get("styles", ("style",))),
            "iterations": (iterations,),
            "device": "cpu",
        }
    )
    seen: list[Iterate] = []
    start = time.perf_counter()
    try:
        result = stylize(options, watcher=seen.append, every=1)
    except ImpastoError as error:
        seconds = time.perf_counter() - start
        count = seen[-1].evaluations if seen else 0
        return Report(
            size=options.size,
            seconds=seconds,
            evaluations=count,
            words=f"error: {error}",
            finite=None,
            fell=float("nan"),
        )
    image = result.image
    first = next(iterate for iterate in seen if iterate.scale == iterate.scales)
    least = first.losses["total"]
    return Report(
        size=options.size,
        seconds=time.perf_counter() - start,
        evaluations=result.evaluations,
        words="; ".join(dict.fromkeys(result.statements)),
        finite=bool(np.isfinite(image).all() and image.min() >= 0 and image.max() <= 1),
        fell=result.losses["total"] / least if least else float(result.losses["total"] > 0),
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run all, print the table; return 1 if one is not well."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--iterations", type=int, default=60, help="evaluations at each scale")
    parser.add_argument("--size", type=int, help="of all runs, instead of their own")
    parser.add_argument("--only", nargs="+", choices=RUNS, default=list(RUNS), metavar="RUN")
    parser.add_argument("--content", type=Path, help="a picture; smooth colours unless given")
    parser.add_argument("--style", type=Path, help="a picture; coarse noise unless given")
    parsed = parser.parse_args(argv)
    well = True
    with tempfile.TemporaryDirectory() as folder:
        # Where there are no weights.
        os.environ["TORCH_HOME"] = folder
        pictures = _paint(Path(folder))
        for name in ("content", "style"):
            if (given := getattr(parsed, name)) is not None:
                pictures[name] = given
        print(f"{'run':<38}{'size':>5}{'s':>7}{'evals':>7}{'loss':>10}  finite  how it ended")
        for name in parsed.only:
            settings = {**RUNS[name], **({"size": parsed.size} if parsed.size else {})}
            report = run(settings, pictures, parsed.iterations)
            well &= report.well
            finite = {True: "yes", False: "NO", None: "-"}[report.finite]
            print(
                f"{name:<38}{report.size:>5}{report.seconds:>7.1f}{report.evaluations:>7}"
                f"{report.fell:>10.2g}  {finite:<6}  {report.words}",
                flush=True,
            )
    print("all are well" if well else "NOT all are well")
    return 0 if well else 1


def _paint(folder: Path) -> dict[str, Path]:
    """Write the pictures; return their files by name."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[0:300, 0:400] / 400
    waves = [np.sin(9 * rows + 4 * columns + phase) for phase in (0.0, 2.0, 4.0)]
    smooth = np.rint(127.5 + 127.5 * np.stack(waves, axis=2)).astype(np.uint8)
    noise = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    painted = {
        "content": smooth,
        "style": noise,
        "flat": np.full((300, 400, 3), (200, 120, 40), np.uint8),
        "black": np.zeros((300, 400, 3), np.uint8),
    }
    files = {name: folder / f"{name}.png" for name in painted}
    for name, rgb in painted.items():
        write_picture(files[name], Picture(rgb=rgb))
    return files


if __name__ == "__main__":
    raise SystemExit(main())
