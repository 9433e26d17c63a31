"""Thousands of small pictures over two workers of Ray, one of which is killed; and by four shards.

The system itself is the witness (inotify, on Linux): it counts how often a file took its place in
the folder of results, so that a picture that was made twice would show, whatever Impasto noted.

Run: python benchmarks/cluster_drill.py [--pictures 2000]
"""

import argparse
import ctypes
import os
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import torch
from PIL import Image

from impasto.cyclegan import GeneratorArchitecture
from impasto.cyclegan.weights import save_generator

Start = Callable[..., "subprocess.Popen[Any]"]

_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")
_PATIENCE_SECONDS = 1800


@dataclass(frozen=True, kw_only=True)
class Drill:
    """What became of a command.

    Attributes:
        status: its exit status.
        said: what it printed.
        seconds: its duration, from start to end.
        moves: how often each name took its place in the folder of results.
        killed: process that was killed, or None where the command had finished before.
        there: number of results that were there then.
        helpers: number of processes that worked for it then.
        left: number of those that were there a minute after its end.
    """

    status: int
    said: str
    seconds: float
    moves: Counter[str]
    killed: int | None = None
    there: int = 0
    helpers: int = 0
    left: int = 0


@contextmanager
def moves_into(folder: Path) -> Iterator[Counter[str]]:
    """Count what takes its place in a folder by a rename, by its name, while this is open."""
    libc = ctypes.CDLL(None, use_errno=True)
    handle = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    if handle < 0 or libc.inotify_add_watch(handle, os.fsencode(folder), _MOVED_TO) < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(folder))
    counted: Counter[str] = Counter()
    ended = Event()

    def read() -> None:
        while True:
            last = ended.is_set()  # what happened until then is in the queue
            if select.select([handle], [], [], 0 if last else 0.1)[0]:
                _count(os.read(handle, 1 << 16), counted)
            elif last:
                return

    reader = Thread(target=read)
    reader.start()
    try:
        yield counted
    finally:
        ended.set()
        reader.join()
        os.close(handle)


def _count(events: bytes, counted: Counter[str]) -> None:
    at = 0
    while at < len(events):
        _, mask, _, length = _EVENT.unpack_from(events, at)
        if mask & _MOVED_TO == 0:
            raise OSError("events were lost, so that nothing can be counted")
        at += _EVENT.size + length
        counted[os.fsdecode(events[at - length : at].rstrip(b"\0"))] += 1


def make_pictures(folder: Path, count: int, side: int) -> list[str]:
    """Write small pictures of noise, and return their names."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    names = [f"{index:05d}.png" for index in range(count)]
    for name in names:
        size = (side, side + int(rng.integers(0, 8)), 3)
        Image.fromarray(rng.integers(0, 256, size, dtype=np.uint8)).save(folder / name)
    return names


def make_model(file: Path) -> None:
    """Write a tiny generator."""
    architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
    torch.manual_seed(0)
    save_generator(file, architecture.build().state_dict(), architecture, {"direction": "AtoB"})


def command(photos: Path, model: Path, out: Path, *words: str) -> list[str]:
    """Return the command that translates, with more words."""
    translate = [sys.executable, "-m", "impasto", "translate", str(photos)]
    return [*translate, "--model", str(model), "--output", str(out), *words]


def over_ray(
    photos: Path,
    model: Path,
    out: Path,
    *,
    kill_at: int,
    start: Start = subprocess.Popen,
    more: Sequence[str] = (),
) -> Drill:
    """Translate over two workers, and kill one as soon as so many results are there.

    The command itself is held meanwhile, so that it hands out nothing more before.

    Args:
        photos: folder of pictures.
        model: file of a generator.
        out: folder for the results, which must not be there.
        kill_at: number of results at which a worker is killed.
        start: function that starts a process, as ``subprocess.Popen``.
        more: more words of the command.
    """
    out.mkdir()
    total = sum(1 for _ in photos.iterdir())
    here = ("--engine", "ray", "--ray_address", "local", "--ray_workers", "2")
    words = command(photos, model, out, *here, *more)
    started = time.perf_counter()
    killed, there = None, 0
    helpers: list[psutil.Process] = []
    with moves_into(out) as moves:
        # Elsewhere than in the tree, whose folder impasto Ray's workers would take for the package.
        process = start(
            words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=out.parent
        )
        until = time.monotonic() + _PATIENCE_SECONDS
        while process.poll() is None and time.monotonic() < until and not killed:
            if sum(1 for _ in out.glob("*.png")) >= kill_at:
                process.send_signal(signal.SIGSTOP)
                try:
                    helpers = psutil.Process(process.pid).children(recursive=True)
                    there = sum(1 for _ in out.glob("*.png"))
                    killed = _kill_worker(helpers) if there < total else None
                finally:
                    process.send_signal(signal.SIGCONT)
                if killed is None:
                    break
            time.sleep(0.01)
        said = process.communicate(timeout=max(1.0, until - time.monotonic()))[0]
    seconds = time.perf_counter() - started
    return Drill(
        status=process.returncode,
        said=said,
        seconds=seconds,
        moves=moves,
        killed=killed,
        there=there,
        helpers=len(helpers),
        left=_count_left(helpers),
    )


def _count_left(processes: Sequence[psutil.Process], timeout_s: float = 60) -> int:
    """Return how many still run after a while; one that ended and was not waited for does not."""
    until = time.monotonic() + timeout_s
    while left := [one for one in processes if _runs(one)]:
        if time.monotonic() > until:
            break
        time.sleep(0.1)
    return len(left)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _kill_worker(helpers: Sequence[psutil.Process]) -> int | None:
    """Kill a worker of Ray, one that is at work if there is any, and return its number."""
    workers = []
    for process in helpers:
        try:
            title = " ".join(process.cmdline())
        except psutil.Error:
            continue
        if title.startswith("ray::Worker"):
            workers.append((".make" in title, process.pid))
    if not workers:
        return None
    pid: int = max(workers)[1]
    os.kill(pid, signal.SIGKILL)
    return pid


def by_shards(photos: Path, model: Path, out: Path, *, shards: int = 4, beside: int = 2) -> Drill:
    """Translate by shards, some beside each other, and return what became of all of them."""
    out.mkdir()
    started, statuses, said = time.perf_counter(), [], []
    with moves_into(out) as moves:
        for first in range(1, shards + 1, beside):
            numbers = range(first, min(first + beside, shards + 1))
            processes = [
                subprocess.Popen(  # noqa: S603 - our own command
                    command(photos, model, out, "--shard", f"{number}/{shards}"),
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    cwd=out.parent,
                )
                for number in numbers
            ]
            for process in processes:
                said.append(process.communicate()[0])
                statuses.append(process.returncode)
    seconds = time.perf_counter() - started
    return Drill(status=max(statuses), said="\n".join(said), seconds=seconds, moves=moves)


def main() -> int:
    """Parse, drill, print; return 1 if a picture is missing, was made twice, or differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--side", type=int, default=64, help="shorter side of the pictures, pixels")
    parsed = parser.parse_args()
    good = True
    with tempfile.TemporaryDirectory() as where:
        folder = Path(where)
        names = make_pictures(folder / "photos", parsed.pictures, parsed.side)
        make_model(folder / "model.safetensors")
        given = (folder / "photos", folder / "model.safetensors")
        drills = {
            "ray": over_ray(*given, folder / "ray", kill_at=parsed.pictures // 3),
            "shards": by_shards(*given, folder / "shards"),
        }
        for name, drill in drills.items():
            made = {path.name for path in (folder / name).glob("*.png")}
            times = Counter(drill.moves[each] for each in names)
            print(f"{name}: exit status {drill.status}, {drill.seconds:.1f} s")
            print(drill.said)
            print(
                f"{name}: {len(made & set(names))} of {len(names)} are there; times that each took "
                f"its place: {dict(times)}"
            )
            if drill.killed is not None:
                print(
                    f"{name}: worker {drill.killed} was killed at {drill.there} results; of "
                    f"{drill.helpers} processes, {drill.left} were left after the end"
                )
            good &= (
                drill.left == 0 and drill.status == 0 and made == set(names) and set(times) == {1}
            )
        good &= drills["ray"].killed is not None
        pairs = [[folder / each / name for each in drills] for name in names]
        same = sum(one.read_bytes() == other.read_bytes() for one, other in pairs if one.exists())
        print(f"{same} of {len(names)} are the same file in both")
        good &= same == len(names)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
