"""What watching a training costs: the seconds that its displays take from its steps.

    python benchmarks/display_cost.py
    python benchmarks/display_cost.py --displays console,page --device cuda

Three measurements, with the default intervals (a report each 100 pictures, samples each 400):

1. *A report.* Displays are told of reports and samples of the given size as a training would tell
   them. Counted are the seconds in which the training waits for them, and the seconds of processor
   time that they use in their own threads, which a training may have to share. To both belong the
   passes through the generators that samples and health measures are made of. The sum is compared
   with the steps of one report interval, measured here with the default networks.
2. *A whole training*, small and fast, hence the worst case, with ``--display none`` and with all
   displays in turns: the ratio of seconds, pair by pair, and the processor time that all threads
   but the training's own used. The second is steadier where other programs run.
3. *A display that sleeps* for a second at each report, told directly and through ``Background``.

With visdom installed, its real server is started on a free port and told as well.
"""

import argparse
import io
import logging
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from dataclasses import dataclass
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from impasto.cyclegan import train
from impasto.cyclegan.build import build_trainer
from impasto.data import Picture, UnpairedBatch, write_picture
from impasto.options import TrainOptions, flatten, make
from impasto.runs import (
    Background,
    CompositeObserver,
    Observer,
    Progress,
    RunDirectory,
    describe_environment,
    make_accelerator,
    make_displays,
)

__all__ = ["main"]

_NAMES = ("D_A", "G_A", "cycle_A", "idt_A", "D_B", "G_B", "cycle_B", "idt_B")
_SAMPLES = ("real_A", "fake_B", "rec_A", "idt_B", "real_B", "fake_A", "rec_B", "idt_A")
_RUN = TrainOptions().run


def main() -> int:
    """Measure and print; return the exit status."""
    args = _arguments()
    torch.set_num_threads(args.threads or torch.get_num_threads())
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder, _visdom(args.displays) as port:
        displays = ",".join(name for name in args.displays.split(",") if port or name != "visdom")
        print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {displays}\n")
        step, look, samples = _steps(args.size, args.device, args.steps)
        cost = _reports(args.size, displays, port, Path(folder), args.reports)
        _print_share(step, look, samples, cost)
        _print_pairs(displays, port, Path(folder), args.pairs)
        _print_sleeper()
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--displays", default="console,page,visdom,tensorboard")
    parser.add_argument("--size", type=int, default=256, help="side of the pictures in pixels")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=0, help="of torch, 0 for its default")
    parser.add_argument("--steps", type=int, default=5, help="steps that are timed")
    parser.add_argument("--reports", type=int, default=400, help="reports that are timed")
    parser.add_argument("--pairs", type=int, default=5, help="pairs of trainings")
    return parser.parse_args()


def _steps(size: int, device: str, count: int) -> tuple[float, float, float]:
    """Return the median seconds of a step, of the health measures, and of a set of samples."""
    accelerator = make_accelerator(device, "no")
    trainer = build_trainer(make(TrainOptions, {"load_size": size, "crop_size": size}), accelerator)
    generator = torch.Generator().manual_seed(0)

    def batch() -> UnpairedBatch:
        A, B = torch.rand(2, 1, 3, size, size, generator=generator) * 2 - 1
        return UnpairedBatch(A=A, B=B).to(accelerator.device)

    def seconds(action: Callable[[UnpairedBatch], Any]) -> float:
        action(batch())
        times = []
        for _ in range(count):
            given = batch()
            _wait(accelerator.device)
            started = time.perf_counter()
            action(given)
            _wait(accelerator.device)
            times.append(time.perf_counter() - started)
        return float(np.median(times))

    return (
        seconds(lambda given: trainer.step([given])),
        seconds(trainer.output_statistics),
        seconds(lambda given: [image.cpu() for image in trainer.samples(given).values()]),
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


@dataclass(frozen=True, kw_only=True)
class _Cost:
    """Seconds per report, with the quarter of a set of samples that belongs to it."""

    waited: float
    longest: float
    threads: float


def _reports(size: int, displays: str, port: int, folder: Path, count: int) -> _Cost:
    """Tell the displays of reports, at the pace at which they can follow."""
    directory = RunDirectory(folder / "reports")
    directory.create()
    accelerator = make_accelerator("cpu", "no")
    rng = np.random.default_rng(0)
    pictures = {name: _photograph(rng, size) for name in _SAMPLES}
    waits = []
    with redirect_stderr(io.StringIO()):
        watchers = CompositeObserver(
            make_displays(
                displays.split(","),
                directory,
                options=flatten(TrainOptions()),
                environment=describe_environment(accelerator),
                server="http://localhost",
                port=port or 1,
                env="reports",
            )
        )
        watchers.on_start(_progress(0, count))
        cpu, own = time.process_time(), time.thread_time()
        for number in range(1, count + 1):
            progress, record = _progress(number, count), _record(rng)
            started = time.perf_counter()
            watchers.on_report(progress, record)
            if number * _RUN.print_freq % _RUN.display_freq == 0:
                watchers.on_samples(progress, pictures)
            waits.append(time.perf_counter() - started)
            time.sleep(0.1)  # a training would compute meanwhile
        watchers.on_end(_progress(count, count))
    threads = (time.process_time() - cpu) - (time.thread_time() - own)
    return _Cost(waited=sum(waits) / count, longest=max(waits), threads=threads / count)


def _progress(number: int, count: int) -> Progress:
    images = number * _RUN.print_freq
    total = count * _RUN.print_freq
    return Progress(
        epoch=1 + images // 1000,
        images=images,
        steps=images,
        total_images=total,
        total_epochs=1 + total // 1000,
    )


def _record(rng: np.random.Generator) -> Mapping[str, Any]:
    return {
        "losses": dict(zip(_NAMES, rng.random(8).tolist(), strict=True)),
        "learning_rate": 2e-4,
        "seconds": 20.0,
        "images_per_second": 5.0 + rng.random(),
        "data_wait": 0.01,
        "outputs": {},
        "warnings": [],
    }


def _photograph(rng: np.random.Generator, size: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Return something as hard to compress as a photograph: smooth, with a little noise."""
    coarse = torch.from_numpy(rng.random((1, 3, 12, 12))).float()
    smooth = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    noisy: Tensor = smooth[0].permute(1, 2, 0) * 220 + torch.from_numpy(
        rng.normal(0, 4, (size, size, 3))
    )
    return noisy.clamp(0, 255).to(torch.uint8).numpy()


def _print_share(step: float, look: float, samples: float, cost: _Cost) -> None:
    """Print all costs of one report interval against its steps."""
    each = _RUN.print_freq / _RUN.display_freq
    parts = {
        "training waits for the displays": cost.waited,
        "their threads compute": cost.threads,
        "health measures": look,
        "samples, each 4th report": samples * each,
    }
    interval = step * _RUN.print_freq
    print(f"1. One report interval: {_RUN.print_freq} steps of {step:.3f} s")
    for name, seconds in parts.items():
        print(f"   {name:<34}{seconds * 1e3:>9.1f} ms{seconds / interval:>9.3%}")
    total = sum(parts.values())
    print(f"   {'all':<34}{total * 1e3:>9.1f} ms{total / interval:>9.3%}")
    print(f"   longest wait for the displays {cost.longest * 1e3:.1f} ms\n")


def _print_pairs(displays: str, port: int, folder: Path, pairs: int) -> None:
    """Train with and without displays in turns."""
    data, rng = folder / "data", np.random.default_rng(1)
    for domain in ("trainA", "trainB"):
        for number in range(20):
            picture = Picture(rgb=_photograph(rng, 72))
            write_picture(data / domain / f"{number}.png", picture)
    times: dict[str, list[float]] = {"none": [], displays: []}
    shares: dict[str, list[float]] = {"none": [], displays: []}
    for number in range(pairs):
        for display, seconds in times.items():
            options = _small(data, folder / f"{number}{display[:4]}", display, port)
            started, cpu, own = time.perf_counter(), time.process_time(), time.thread_time()
            with redirect_stderr(io.StringIO()):
                train(options)
            seconds.append(time.perf_counter() - started)
            own = time.thread_time() - own
            shares[display].append((time.process_time() - cpu - own) / own)
    ratios = np.divide(times[displays], times["none"])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    print(f"2. A training of {np.median(times['none']):.1f} s, displays to none: ratio of seconds")
    print(f"   {middle:.3f} (quartiles {low:.3f} to {high:.3f}, {pairs} pairs)")
    print(f"   processor time of other threads, displays {np.median(shares[displays]):.2%} of the")
    print(f"   training's own, none {np.median(shares['none']):.2%}\n")


def _small(data: Path, folder: Path, display: str, port: int) -> TrainOptions:
    changes = {
        "dataroot": data,
        "checkpoints_dir": folder,
        "name": "small",
        "device": "cpu",
        "netG": "resnet_6blocks",
        "ngf": 8,
        "ndf": 8,
        "load_size": 72,
        "crop_size": 64,
        "cache_images": True,
        "num_threads": 0,
        "max_images": 400,
        "n_epochs": 40,
        "save_epoch_freq": 40,
        "display": display,
        "display_port": port or 1,
    }
    return make(TrainOptions, changes)


class _Sleeper(Observer):
    """Takes a second for each report."""

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:  # noqa: ARG002
        time.sleep(1.0)


def _print_sleeper() -> None:
    """Tell a slow display of ten reports, 50 ms apart."""
    rng = np.random.default_rng(2)
    print("3. Ten reports, 50 ms apart, to a display that takes a second for each")
    observers: Sequence[tuple[str, Observer]] = (
        ("told directly", _Sleeper()),
        ("in the background", Background(_Sleeper(), most_reports=4)),
    )
    for name, observer in observers:
        started = time.perf_counter()
        for number in range(1, 11):
            observer.on_report(_progress(number, 10), _record(rng))
            time.sleep(0.05)
        print(f"   {name:<34}{time.perf_counter() - started:>9.2f} s")


@contextmanager
def _visdom(displays: str) -> Iterator[int]:
    """Start the real server if it is asked for and installed; give its port, or 0."""
    if "visdom" not in displays.split(",") or find_spec("visdom") is None:
        yield 0
        return
    port = 20_000 + os.getpid() % 20_000
    with tempfile.TemporaryDirectory() as folder:
        process = get_context("spawn").Process(target=_serve, args=(port, folder), daemon=True)
        process.start()
        time.sleep(8)
        yield port
        process.kill()
        process.join()


def _serve(port: int, folder: str) -> None:
    from visdom.server.run_server import start_server  # noqa: PLC0415 - an extra

    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 - of the process's life
    start_server(port=port, env_path=folder, base_url="")


if __name__ == "__main__":
    raise SystemExit(main())
