"""Measure how fast a training's pictures are loaded, and compute how long a GPU waits for them.

    python benchmarks/loader.py [--processes 8] [--batch_size 8] [--steps_ms 19.5 50 100]

Photographs are written as JPEGs of several sizes, as `impasto train` reads them. Of each size it is
measured what one picture costs the process that loads it, in CPU seconds (of one process, so that
what else runs beside counts little): decoded as a whole, with --reduced_decoding, and from the
cache that all processes share. And what a batch costs the training process, which takes it over
from two processes: all CPU seconds of its threads, though some of them work beside the training.

The share of the time that a GPU waits is computed, since there is none here: a step of b pictures
of each domain needs 2 b of them, and p processes with a core each give p in the time of one. The
host takes a batch over while the GPU computes the step before; so a GPU waits for what loading, or
taking over, is longer than a step. The
first of the steps in milliseconds, 19.5, is the least that the arithmetic of a step of the
reference's networks with a batch of 8 takes on an H100, in bf16 (docs/performance.md): no step
there is shorter.
"""

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from impasto.data.datasets import Domain, Draw, UnpairedPictures, UnpairedSampler
from impasto.data.loaders import UnpairedLoader
from impasto.data.samples.photographs import sample_photographs
from impasto.data.transforms import Preprocessing

__all__ = ["main"]

_SIDES = ((256, 256), (640, 480), (1600, 1200), (4000, 3000))
_PICTURES = 6
_GRAIN = 6.0  # of a camera, in levels, without which large JPEGs would be smooth and small


def main() -> None:
    """Print what loading costs, and the computed shares of waiting."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--processes", type=int, default=8, help="processes that load")
    parser.add_argument("--batch_size", type=int, default=8, help="pictures of each domain")
    parser.add_argument("--steps_ms", type=float, nargs="+", default=[19.5, 50, 100])
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    steps = arguments.steps_ms
    print("| pictures | way | ms a picture | ms a batch, handed over | waits at a step of: |")
    print("| | | | | " + " ".join(f"{step:g} ms;" for step in steps) + " |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as name:
        over = _milliseconds_of_taking_over(Path(name), arguments.batch_size)
        for width, height in _SIDES:
            folder = Path(name) / str(width)
            paths = _write(folder, width, height)
            ways: dict[str, dict[str, Any]] = {
                "whole": {},
                "reduced": {"reduced_decoding": True},
                "shared cache": {"cache": True, "workers": arguments.processes},
            }
            for way, changes in ways.items():
                domain = Domain(paths, preprocessing=Preprocessing(), **changes)
                pictures = UnpairedPictures(domain, domain)
                picture = _milliseconds_of_a_picture(pictures, arguments.repeats)
                waits = [
                    _wait(step, picture, over, arguments.batch_size, arguments.processes)
                    for step in steps
                ]
                print(
                    f"| {width} x {height} | {way} | {picture:.2f} | {over:.2f} | "
                    + "; ".join(f"{100 * share:.1f} %" for share in waits)
                    + " |",
                    flush=True,
                )


def _write(folder: Path, width: int, height: int) -> list[Path]:
    folder.mkdir()
    chance = np.random.default_rng(0)
    paths = []
    for number, photograph in enumerate(list(sample_photographs().values())[:_PICTURES]):
        large = Image.fromarray(photograph).resize((width, height), Image.Resampling.BICUBIC)
        grain = chance.normal(0, _GRAIN, (height, width, 3))
        levels = (np.asarray(large) + grain).clip(0, 255).astype(np.uint8)
        paths.append(folder / f"{number}.jpg")
        Image.fromarray(levels).save(paths[-1], quality=92)
    return paths


def _milliseconds_of_a_picture(pictures: UnpairedPictures, repeats: int) -> float:
    """Return the median CPU milliseconds of loading one, after a round that warms up."""
    spent = []
    for _ in range(repeats + 1):
        began = time.process_time()
        for index in range(_PICTURES):
            pictures[Draw(index_A=index, index_B=index, seed=index)]
        spent.append(time.process_time() - began)
    return 1000 * statistics.median(spent[1:]) / (2 * _PICTURES)


def _milliseconds_of_taking_over(folder: Path, batch_size: int) -> float:
    """Return the CPU milliseconds of this process for one batch that others have loaded."""
    paths = _write(folder / "small", 300, 300) * 40
    domain = Domain(paths, preprocessing=Preprocessing(), cache=True, workers=2)
    sampler = UnpairedSampler(
        len(paths), len(paths), batch_size=batch_size, generator=torch.Generator()
    )
    loader = UnpairedLoader((domain, domain), (folder, folder), sampler=sampler, workers=2)
    batches = len(list(loader))  # fills the cache
    began = time.process_time()
    for batch in loader:
        batch.A.clone()  # as into pinned memory
        batch.B.clone()
    spent = time.process_time() - began
    loader.close()
    return 1000 * spent / batches


def _wait(step: float, picture: float, over: float, batch_size: int, processes: int) -> float:
    """Return the share of the time in which the device waits."""
    loading = 2 * batch_size * picture / processes
    whole = max(step, loading, over)
    return (whole - step) / whole


if __name__ == "__main__":
    main()
