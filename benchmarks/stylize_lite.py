"""What the preset ``lite`` costs beside ``builtin``: processor seconds of whole commands.

    python benchmarks/stylize_lite.py --content photo.jpg --style painting.jpg --rounds 3

Every command is a process of its own with one thread, start and imports included; the presets take
turns, so that a machine that others use, too, is as slow for one as for the other. The medians of
the processor seconds (user and system) are printed, their ratios to ``builtin``, and the largest
memory. ``builtin`` is not run at the ``--large`` sizes, where it would take very long.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

PRESETS = ("builtin", "lite", "lite_fast")


def main() -> int:
    """Run the commands of the command line's sizes, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--content", type=Path, required=True)
    parser.add_argument("--style", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="*", default=[384])
    parser.add_argument("--large", type=int, nargs="*", default=[512, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    jobs = [(preset, size) for size in args.sizes for preset in PRESETS]
    jobs += [("lite", size) for size in args.large]
    seconds: dict[tuple[str, int], list[float]] = defaultdict(list)
    memory: dict[tuple[str, int], float] = {}
    for _ in range(args.rounds):
        for job in jobs:
            used, mib = _measure(*job, args.content, args.style)
            seconds[job].append(used)
            memory[job] = max(memory.get(job, 0.0), mib)
    print(f"{'preset':10} {'size':>5} {'CPU s':>7} {'of builtin':>11} {'MiB':>6}")
    for job in jobs:
        preset, size = job
        middle = statistics.median(seconds[job])
        rival = seconds.get(("builtin", size))
        ratio = f"{middle / statistics.median(rival):11.2f}" if rival else f"{'':>11}"
        print(f"{preset:10} {size:5} {middle:7.1f} {ratio} {memory[job]:6.0f}")
    return 0


def _measure(preset: str, size: int, content: Path, style: Path) -> tuple[float, float]:
    """Return processor seconds and peak memory in MiB of one command."""
    with tempfile.TemporaryDirectory() as folder:
        words = ("stylize", content, style, "--preset", preset, "--size", size, "--device", "cpu")
        output = ("--threads", 1, "--output", Path(folder) / "made.png")
        command = [sys.executable, "-m", "impasto", *map(str, (*words, *output))]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603 - ours
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)}: exit status {process.returncode}")
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


if __name__ == "__main__":
    raise SystemExit(main())
