"""Kill a training with SIGKILL again and again, resume it, and compare it with one left in peace.

    python benchmarks/resume_drill.py
    python benchmarks/resume_drill.py --dataroot PATH --kills 30 --seed 7
    python benchmarks/resume_drill.py --also one_sided=true lambda_nce=1 lambda_style=1
    python benchmarks/resume_drill.py --compare RUN_DIRECTORY OTHER_RUN_DIRECTORY

Both trainings are `impasto train` processes with the same small options: dropout, running averages,
a pool that fills up and swaps, a loading process, and states in the middle of epochs. Each kill
comes at a random picture, and there either after a random delay or, for a part of them, while a
file is being written. Every segment between two kills is long enough to save a new state.

In the end both run directories must hold the same: every number in state.pt and in each network
file, bit for bit, and the same positions in log.jsonl, each once and in order.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from impasto.data.files import list_pictures
from impasto.runs.directory import RunDirectory
from impasto.runs.log import read_log
from impasto.runs.state import load_state

__all__ = ["Kill", "differences", "drill", "kill_images", "main", "run_differences"]

_NAME = "drill"
_EPOCH_IMAGES = 23
_SAVE_IMAGES = 7
# Reports (3), states (7) and samples (11) do not divide the epoch, so that states fall into its
# middle, and between two reports.
_OPTIONS = (
    "--config=tiny",
    f"--name={_NAME}",
    "--device=cpu",
    "--ngf=8",
    "--ndf=8",
    "--init_gain=0.2",
    "--dropout=true",
    "--ema_decay=0.99",
    "--num_threads=1",
    "--cache_images=false",
    f"--max_dataset_size={_EPOCH_IMAGES}",
    "--print_freq=3",
    "--display_freq=11",
    f"--save_latest_freq={_SAVE_IMAGES}",
    "--save_epoch_freq=2",
)
_GAP_IMAGES = 2 * _SAVE_IMAGES  # from one kill to the next, so that a state is saved between them
_PATIENCE_S = 300.0
_POLL_S = 0.0005


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One SIGKILL.

    Attributes:
        seconds: since the process was started.
        images: at its last report, which came up to two pictures before.
        resumed: picture of the state that the next process continues from.
        moment: ``step`` or ``write``: what it was aimed at.
        unfinished: temporary files that it left, of a write that it cut short.
    """

    seconds: float
    images: int
    resumed: int
    moment: str
    unfinished: int


def main(argv: Sequence[str] | None = None) -> int:
    """Print the kills and ``identical`` or the differences; return 1 if there are any."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    beside = Path(__file__).resolve().parents[2] / "shared" / "monet2photo"
    parser.add_argument("--dataroot", type=Path, default=beside, help="holds trainA and trainB")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0, help="of the moments of the kills")
    parser.add_argument("--crop_size", type=int, default=64, help="in pixels")
    parser.add_argument(
        "--also",
        nargs="+",
        default=[],
        metavar="NAME=VALUE",
        help="further options of impasto train, such as one_sided=true lambda_nce=1",
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="keep both runs in this folder")
    parser.add_argument(
        "--compare", type=Path, nargs=2, metavar="RUN", help="only compare two runs"
    )
    arguments = parser.parse_args(argv)
    if arguments.compare:
        return _verdict(*arguments.compare)
    with tempfile.TemporaryDirectory() as temporary:
        work = arguments.work or Path(temporary)
        for side in ("uninterrupted", "killed"):
            if (work / side).exists():
                parser.error(f"--work: {work / side} exists already")
        return drill(
            work,
            arguments.dataroot.resolve(),
            kills=arguments.kills,
            seed=arguments.seed,
            crop_size=arguments.crop_size,
            also=arguments.also,
        )


def drill(
    work: Path, dataroot: Path, *, kills: int, seed: int, crop_size: int, also: Sequence[str] = ()
) -> int:
    """Train twice, once with kills, and compare; return 1 where the runs differ."""
    moments = np.random.default_rng(seed)
    places = kill_images(kills, moments)
    epoch = min(_EPOCH_IMAGES, max(_count(dataroot / f"train{domain}") for domain in "AB"))
    epochs = -(-(sum(places[-1:]) + _GAP_IMAGES) // epoch)
    words = [*_OPTIONS, f"--dataroot={dataroot}"]
    words += [f"--crop_size={crop_size}", f"--load_size={crop_size + 8}"]
    words += [f"--{option}" for option in also]
    words += [f"--n_epochs={epochs - epochs // 2}", f"--n_epochs_decay={epochs // 2}"]
    peaceful = _Training(work / "uninterrupted", words)
    started = time.monotonic()
    peaceful.finish()
    print(
        f"{epochs} epochs of {epoch} images, uninterrupted: {time.monotonic() - started:.1f} s",
        flush=True,
    )
    killed = _Training(work / "killed", words)
    print(f"{'kill':>4}{'after':>9}{'report at':>11}{'resumed from':>14}  aimed at, found")
    for number, image in enumerate(places, start=1):
        kill = killed.kill(image, moments, during_write=number % 3 == 2)
        print(
            f"{number:>4}{kill.seconds:>7.1f} s{kill.images:>11}{kill.resumed:>14}"
            f"  {kill.moment}{', unfinished file left' if kill.unfinished else ''}",
            flush=True,
        )
    killed.finish()
    return _verdict(peaceful.run.path, killed.run.path)


def kill_images(kills: int, moments: np.random.Generator) -> list[int]:
    """Draw the pictures at which a training is killed, in order, with room for a state between."""
    gaps = moments.integers(_GAP_IMAGES, 2 * _GAP_IMAGES, size=kills)
    return [int(image) for image in np.cumsum(gaps)]


class _Training:
    """An `impasto train` that is started, killed and resumed.

    Args:
        folder: for the run directory and what the processes say.
        words: the options of its first start.
    """

    def __init__(self, folder: Path, words: Sequence[str]) -> None:
        folder.mkdir(parents=True)
        self.run = RunDirectory(folder / _NAME)
        self._words = [*words, f"--checkpoints_dir={folder}"]
        self._folder = folder

    def finish(self) -> None:
        """Start or resume it, and wait for its end.

        Raises:
            RuntimeError: it failed, or took too long.
        """
        process = self._start()
        try:
            self._wait(process, lambda: False)
        finally:
            process.kill()
            process.wait()
        if process.returncode != 0:
            raise RuntimeError(self._failure(process.returncode))

    def kill(self, image: int, moments: np.random.Generator, *, during_write: bool) -> Kill:
        """Start or resume it, and kill it some time after ``image``.

        Raises:
            RuntimeError: it ended by itself, or has saved no new state.
        """
        before = self._saved_image()
        started = time.monotonic()
        process = self._start()
        try:
            self._wait(process, lambda: _last_image(self.run) >= image)
            if during_write:
                self._wait(process, lambda: bool(self._unfinished()))
            # A state and its network files take some 0.05 s to write, a step 0.1 s.
            time.sleep(float(moments.uniform(0.0, 0.05 if during_write else 0.5)))
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        seconds, unfinished = time.monotonic() - started, len(self._unfinished())
        resumed = self._saved_image()
        if process.returncode != -signal.SIGKILL:
            raise RuntimeError(self._failure(process.returncode))
        if resumed <= before:
            raise RuntimeError(f"{self.run.path}: no progress, still at image {resumed}")
        return Kill(
            seconds=seconds,
            images=_last_image(self.run),
            resumed=resumed,
            moment="write" if during_write else "step",
            unfinished=unfinished,
        )

    def _start(self) -> subprocess.Popen[bytes]:
        """Start it, or resume it where it has a state."""
        words = self._words
        if self.run.has_state:
            words = ["--resume", f"--name={_NAME}", f"--checkpoints_dir={self._folder}"]
        # So small networks gain nothing from threads, and lose much on a busy machine.
        environment = {"OMP_NUM_THREADS": "1", **os.environ}
        with (self._folder / "output.txt").open("ab") as output:
            return subprocess.Popen(  # noqa: S603 - this very package
                [sys.executable, "-m", "impasto.scripts.main", "train", *words],
                stdout=output,
                stderr=output,
                env=environment,
            )

    def _wait(self, process: subprocess.Popen[bytes], ready: Callable[[], bool]) -> None:
        """Wait until ``ready``, or until the process has ended.

        Raises:
            RuntimeError: that took too long.
        """
        end = time.monotonic() + _PATIENCE_S
        while not ready() and process.poll() is None:
            if time.monotonic() > end:
                raise RuntimeError(self._failure(None))
            time.sleep(_POLL_S)

    def _unfinished(self) -> list[Path]:
        return list(self.run.path.rglob(".impasto-*.tmp"))

    def _saved_image(self) -> int:
        if not self.run.has_state:
            return 0
        return int(load_state(self.run.state_file)["progress"]["images"])

    def _failure(self, status: int | None) -> str:
        output = (self._folder / "output.txt").read_text(encoding="utf-8", errors="replace")
        what = f"took over {_PATIENCE_S:.0f} s" if status is None else f"ended with status {status}"
        return f"{self.run.path}: a training {what}; it said last:\n{output[-2000:]}"


def run_differences(first: Path, second: Path) -> Iterator[str]:
    """Yield every difference between two run directories.

    Compared are the names of all files; states, networks, sample pictures and the losses in the
    logs, bit for bit. Options (the folder) and times in the log may differ.

    Args:
        first: run directory.
        second: the one to compare with it.
    """
    for path in (first, second):
        images = [record["images"] for record in read_log(path / "log.jsonl")]
        if images != sorted(set(images)):
            yield f"{path / 'log.jsonl'}: images are not in order, each once: {images}"
    logs = [
        [_untimed(record) for record in read_log(path / "log.jsonl")] for path in (first, second)
    ]
    yield from differences(*logs, where="log.jsonl")
    names = [{file.relative_to(path) for file in _files(path)} for path in (first, second)]
    for name in sorted(names[0] ^ names[1]):
        yield f"{name}: only in {first if name in names[0] else second}"
    for name in sorted(names[0] & names[1]):
        contents = [_read(path / name) for path in (first, second)]
        yield from differences(*contents, where=str(name))


def _untimed(record: dict[str, Any]) -> dict[str, Any]:
    """Return a report without what the clock decides."""
    timed = {"seconds", "data_wait", "images_per_second"}
    return {name: value for name, value in record.items() if name not in timed}


def differences(first: Any, second: Any, *, where: str) -> Iterator[str]:
    """Yield where two nested values differ; tensors are compared bit for bit.

    Args:
        first: tensors, plain values, or mappings and sequences of these.
        second: what to compare with it.
        where: the path so far, for the messages.
    """
    if type(first) is not type(second):
        yield f"{where}: {type(first).__name__} and {type(second).__name__}"
    elif isinstance(first, Mapping | list | tuple):
        parts, others = _parts(first), _parts(second)
        for key in sorted(parts.keys() ^ others.keys(), key=str):
            yield f"{where}.{key}: only in the {'first' if key in parts else 'second'}"
        for key in (key for key in parts if key in others):
            yield from differences(parts[key], others[key], where=f"{where}.{key}")
    elif isinstance(first, Tensor):
        yield from _tensor_differences(first, second, where)
    elif first != second:
        is_short = len(repr(first)) + len(repr(second)) < 80
        yield f"{where}: {f'{first!r} and {second!r}' if is_short else 'contents differ'}"


def _tensor_differences(first: Tensor, second: Tensor, where: str) -> Iterator[str]:
    if (first.shape, first.dtype) != (second.shape, second.dtype):
        yield f"{where}: {first.dtype} {[*first.shape]} and {second.dtype} {[*second.shape]}"
    elif first.numpy().tobytes() != second.numpy().tobytes():
        apart = (first.double() - second.double()).abs().max()
        yield f"{where}: numbers differ, by up to {apart:.3g}"


def _parts(value: Any) -> dict[Any, Any]:
    """Return what a mapping or a sequence holds, by key or place."""
    return dict(value) if isinstance(value, Mapping) else dict(enumerate(value))


def _read(path: Path) -> Any:
    """Return what is to be compared of a file."""
    if path.name == "log.jsonl":
        positions = ("epoch", "images", "steps")
        return [{key: record[key] for key in positions} for record in read_log(path)]
    if path.suffix in {".pt", ".pth"}:
        return torch.load(path, map_location="cpu", weights_only=True)
    if path.suffix == ".safetensors":
        return load_file(path)
    return path.read_bytes() if path.suffix == ".png" else None


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _last_image(run: RunDirectory) -> int:
    records = read_log(run.log_file)
    return int(records[-1]["images"]) if records else 0


def _count(folder: Path) -> int:
    return len(list_pictures(folder))


def _verdict(first: Path, second: Path) -> int:
    """Compare two runs and say so; return 1 if they differ."""
    found = list(run_differences(first, second))
    for line in found[:20]:
        print(line)
    if found:
        print(f"DIFFERENT: {len(found)} differences")
        return 1
    images = _read(first / "log.jsonl")[-1]["images"]
    numbers = sum(value.numel() for value in _tensors(_read(first / "state.pt")))
    print(f"identical: {numbers:,} numbers of state.pt at image {images}, networks, samples, log")
    return 0


def _tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in a nested value."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for part in _parts(value).values():
            yield from _tensors(part)


if __name__ == "__main__":
    raise SystemExit(main())
