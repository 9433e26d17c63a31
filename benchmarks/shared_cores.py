"""Training on cores that other programs use, too: how threads should wait for one another.

    python benchmarks/shared_cores.py
    python benchmarks/shared_cores.py --preset monet_small --cores 2 --busy 1 --rounds 3

The threads of a training step wait for one another some thousand times. GNU's OpenMP lets them spin
for about 3 ms before they sleep, unless GOMP_SPINCOUNT or OMP_WAIT_POLICY says otherwise. That is
right on idle cores, and ruinous where the one that they wait for has no core to run on. Impasto
looks whether cores are short, and lets them sleep sooner only then. Each way of
waiting trains the same small network, in a process of its own, in turn: first with the cores to
itself, then beside processes that this program starts and that do nothing but count.

The table gives the seconds of a step, its CPU seconds, and both as multiples of those of the first
way, which is OpenMP's own. Other load on the machine spoils the first half; its share is printed.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from statistics import median
from time import perf_counter, process_time, sleep

__all__ = ["main"]

# What each way adds to the environment; Impasto leaves alone what is there.
_WAYS: Mapping[str, dict[str, str]] = {
    "OpenMP's own (spins 300000 times)": {"GOMP_SPINCOUNT": "300000"},
    "Impasto's": {},
    "spins 10000 times": {"GOMP_SPINCOUNT": "10000"},
    "spins 1000 times": {"GOMP_SPINCOUNT": "1000"},
    "sleeps at once": {"OMP_WAIT_POLICY": "passive"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
_COSTS = ("wall", "cpu")
_OPENMP = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure all ways of waiting on idle cores, and on busy ones."""
    arguments = _parser().parse_args(argv)
    if arguments.child:
        _train(arguments.preset, arguments.seconds)
        return
    if arguments.cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: arguments.cores])
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    ways = [way for way in _WAYS if not arguments.only or any(o in way for o in arguments.only)]
    print(f"{arguments.preset} on {cores} cores; {_idle_share():.0%} of the machine is idle now\n")
    for count in arguments.busy if arguments.busy is not None else (0, cores):
        with _counting(count):
            measured: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
            for _ in range(arguments.rounds):
                for way in ways:
                    measured[way].append(_measure(way, arguments))
        _print_table(f"beside {count} busy processes" if count else "alone", measured)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--preset", choices=["tiny", "monet_small"], default="tiny")
    parser.add_argument("--cores", type=int, default=0, help="use only so many cores (0: all)")
    parser.add_argument(
        "--busy", type=int, nargs="*", help="numbers of busy processes (default: 0, one per core)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="times that each way is measured")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of one measurement")
    parser.add_argument("--only", nargs="*", default=[], help="words in the names of the ways")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser


@contextmanager
def _counting(count: int) -> Iterator[None]:
    """Let so many processes use a core each."""
    command = [sys.executable, "-c", "while True: sum(range(10**6))"]
    processes = [subprocess.Popen(command) for _ in range(count)]  # noqa: S603 - ours
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def _measure(way: str, arguments: argparse.Namespace) -> dict[str, float]:
    """Train in a process of its own; return wall and CPU seconds of a step, and the threads."""
    environment = {name: value for name, value in os.environ.items() if name not in _OPENMP}
    command = [sys.executable, *sys.argv[:1], "--child", "--preset", arguments.preset]
    ended = subprocess.run(  # noqa: S603 - this very file
        [*command, "--seconds", str(arguments.seconds)],
        env=environment | _WAYS[way],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
    )
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def _train(preset: str, seconds: float) -> None:
    """Make steps for some seconds, at least one, and print what one takes."""
    import torch  # noqa: PLC0415 - only in this process

    from impasto.cyclegan.build import build_trainer  # noqa: PLC0415
    from impasto.data.datasets import UnpairedBatch  # noqa: PLC0415
    from impasto.options.config import read_config  # noqa: PLC0415
    from impasto.options.fields import make  # noqa: PLC0415
    from impasto.options.train import TrainOptions  # noqa: PLC0415
    from impasto.runs.devices import computing  # noqa: PLC0415
    from impasto.runs.processes import keep_freed_memory, make_accelerator  # noqa: PLC0415

    options = make(TrainOptions, read_config(preset, "."))
    keep_freed_memory()
    trainer = build_trainer(options, make_accelerator("cpu", "no"))
    side = options.data.crop_size
    batch = UnpairedBatch(A=torch.rand(1, 3, side, side), B=torch.rand(1, 3, side, side))
    with computing():
        warm = perf_counter() + 2  # what shares the cores must be noticed first
        while perf_counter() < warm:
            trainer.step([batch])
        started, cpu_started, steps = perf_counter(), process_time(), 0
        while not steps or perf_counter() - started < seconds:
            trainer.step([batch])
            steps += 1
    found = {
        "wall": (perf_counter() - started) / steps,
        "cpu": (process_time() - cpu_started) / steps,
        "threads": torch.get_num_threads(),
    }
    print(json.dumps(found))


def _print_table(title: str, measured: Mapping[str, Sequence[Mapping[str, float]]]) -> None:
    middle = {
        way: {what: median(one[what] for one in found) for what in (*_COSTS, "threads")}
        for way, found in measured.items()
    }
    first = next(iter(middle.values()))
    print(f"{title}\n{'':36}threads    s/step    ratio    CPU s/step    ratio")
    for way, found in middle.items():
        wall, cpu = (f"{found[what]:.3f}{found[what] / first[what]:9.2f}" for what in _COSTS)
        print(f"{way:36}{found['threads']:7.0f}{wall:>19}{cpu:>23}")
    print(flush=True)


def _idle_share() -> float:
    """Return the share of all cores that was idle during a second; NaN where nothing tells."""
    before = _cpu_times()
    sleep(1)
    spent = [now - then for then, now in zip(before, _cpu_times(), strict=True)]
    return spent[3] / sum(spent) if spent else float("nan")


def _cpu_times() -> list[int]:
    try:
        with open("/proc/stat", encoding="ascii") as file:  # noqa: PTH123
            return [int(word) for word in file.readline().split()[1:]]
    except OSError:
        return []


if __name__ == "__main__":
    main()
