"""Measure how the memory of a long training grows, and whether what grows is ours.

    python benchmarks/memory_growth.py
    python benchmarks/memory_growth.py --steps 3000 --trace

A training of tiny networks reports, shows samples and ends epochs far more often than a real one:
what is kept for each of them shows after thousands of steps. Every tenth of the steps, all is
collected and measured: the resident memory (RSS); what the C library has handed out and not got
back (in use); what it keeps for the next call (kept); the objects that Python tracks; and, with
``--trace``, what Python's own allocations hold (tracemalloc, slower) and which lines grew.

A leak makes "in use" or the objects grow with the steps. RSS alone grows where the C library's
blocks are divided among ever other sizes, with the trimming that the training switches off on the
CPU (``keep_freed_memory``); the last row is measured after giving all that is free back
(``malloc_trim``).
"""

import argparse
import ctypes
import gc
import platform
import tempfile
import tracemalloc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from impasto.cyclegan import train
from impasto.options.fields import make
from impasto.options.train import TrainOptions
from impasto.runs.observers import Observer, Progress

__all__ = ["Measurement", "MemoryWatch", "main", "slope"]

_PICTURES = 8
_MB = 2.0**20


class _MallInfo(ctypes.Structure):
    # malloc.h of the GNU C library, since 2.33.
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            *("arena", "ordblks", "smblks", "hblks", "hblkhd"),
            *("usmblks", "fsmblks", "uordblks", "fordblks", "keepcost"),
        )
    ]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """The memory of this process at one moment.

    Attributes:
        steps: number of updates of the training.
        rss_mb: resident memory, in MB (2**20 bytes).
        in_use_mb: memory that the C library has handed out, in MB; NaN without the GNU C library.
        kept_mb: free memory that it keeps, in MB; NaN without the GNU C library.
        objects: number of objects that Python's garbage collector tracks.
        traced_mb: memory of Python's own allocations, in MB; 0 without tracing.
    """

    steps: int
    rss_mb: float
    in_use_mb: float
    kept_mb: float
    objects: int
    traced_mb: float

    @classmethod
    def now(cls, steps: int, *, trim: bool = False) -> "Measurement":
        """Measure, after collecting what nothing refers to.

        Args:
            steps: number of updates of the training.
            trim: give free memory back to the system first.
        """
        gc.collect()
        in_use = kept = float("nan")
        if platform.libc_ver()[0] == "glibc":
            libc = ctypes.CDLL(None)
            if trim:
                libc.malloc_trim(0)
            libc.mallinfo2.restype = _MallInfo
            info = libc.mallinfo2()
            in_use, kept = (info.uordblks + info.hblkhd) / _MB, info.fordblks / _MB
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        (rss_kb,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmRSS"))
        return cls(
            steps=steps,
            rss_mb=int(rss_kb) / 1024,
            in_use_mb=in_use,
            kept_mb=kept,
            objects=len(gc.get_objects()),
            traced_mb=tracemalloc.get_traced_memory()[0] / _MB,
        )

    def __str__(self) -> str:
        return (
            f"{self.steps:>7} {self.rss_mb:>9.1f} {self.in_use_mb:>9.1f} {self.kept_mb:>9.1f} "
            f"{self.objects:>9} {self.traced_mb:>9.2f}"
        )


class MemoryWatch(Observer):
    """Measures the memory of a training as it goes on.

    Args:
        every: number of steps between two measurements.
    """

    def __init__(self, every: int) -> None:
        self.found: list[Measurement] = []
        self._every = every
        self._first: tracemalloc.Snapshot | None = None
        self._last: tracemalloc.Snapshot | None = None

    def on_step(self, progress: Progress) -> None:
        """Measure, if it is time."""
        if progress.steps % self._every:
            return
        self.found.append(Measurement.now(progress.steps))
        print(self.found[-1], flush=True)
        if tracemalloc.is_tracing() and self._first is None:
            self._first = tracemalloc.take_snapshot()

    def on_end(self, progress: Progress, error: str | None = None) -> None:  # noqa: ARG002
        """Note what is allocated, before the training is taken apart."""
        if self._first is not None:
            self._last = tracemalloc.take_snapshot()

    def grown(self, most: int) -> list[str]:
        """Return the lines of code whose allocations grew most since the first measurement."""
        if self._first is None or self._last is None:
            return []
        found = self._last.compare_to(self._first, "lineno")
        found.sort(key=lambda line: line.size_diff, reverse=True)
        return [str(line) for line in found[:most]]


def slope(found: Sequence[Measurement], name: str) -> float:
    """Return the growth of a measure per 1,000 steps, over the last two thirds of the training.

    Args:
        found: at least three measurements.
        name: one of their attributes.
    """
    late = found[len(found) // 3 :]
    steps = np.array([each.steps for each in late]) / 1000
    values = np.array([getattr(each, name) for each in late])
    return float(np.polyfit(steps, values, 1)[0])


def main() -> None:
    """Train, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--display", default="console,page")
    parser.add_argument("--trace", action="store_true", help="trace Python's allocations")
    words = parser.parse_args()
    if words.trace:
        tracemalloc.start()
    watch = MemoryWatch(max(1, words.steps // 10))
    print(f"{'steps':>7} {'RSS MB':>9} {'in use':>9} {'kept':>9} {'objects':>9} {'traced':>9}")
    with tempfile.TemporaryDirectory() as folder:
        options = _options(Path(folder), words.steps, words.display)
        train(options, observers=[watch])
    print(Measurement.now(words.steps, trim=True), "after the end, trimmed")
    for name in ("rss_mb", "in_use_mb", "kept_mb", "objects", "traced_mb"):
        print(f"{name}: {slope(watch.found, name):+.2f} per 1,000 steps")
    print("\n".join(watch.grown(12)))


def _options(folder: Path, steps: int, displays: str) -> TrainOptions:
    chance = np.random.default_rng(0)
    for domain in "AB":
        pictures = folder / f"train{domain}"
        pictures.mkdir()
        for number in range(_PICTURES):
            pixels = chance.integers(0, 256, (28, 28, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(pictures / f"{number}.png")
    flat = {
        "dataroot": folder,
        "name": "long",
        "checkpoints_dir": folder / "checkpoints",
        "load_size": 28,
        "crop_size": 24,
        "num_threads": 0,
        "cache_images": True,
        "netG": "resnet_6blocks",
        "ngf": 2,
        "ndf": 2,
        "pool_size": 4,
        "device": "cpu",
        "print_freq": 10,
        "display_freq": 8,
        "save_latest_freq": 250,
        "save_epoch_freq": 50,
        "n_epochs": steps,
        "n_epochs_decay": 0,
        "max_images": steps,
        "display": displays,
    }
    return make(TrainOptions, flat)


if __name__ == "__main__":
    main()
