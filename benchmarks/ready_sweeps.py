"""Run every sweep that ships with Impasto on real pictures, and say what came of it.

    python benchmarks/ready_sweeps.py --output /tmp/sweeps
    python benchmarks/ready_sweeps.py --only pooling init --iterations 300 --output /tmp/sweeps

All cells look through what needs no file: patches, or random filters. Each sweep leaves what
`impasto sweep` leaves: results.csv, contact sheet, curves, index.html; all are linked from
OUTPUT/index.html. An interrupted run goes on where it stopped. Exit status 1 if a cell failed.
"""

import argparse
import csv
from pathlib import Path
from statistics import median

import dominate
from dominate import tags

from impasto.data.atomic import write_text_atomic
from impasto.gatys.sweep.plan import read_sweep, sweep_names
from impasto.scripts.main import main as impasto

_PAIRS = Path(__file__).resolve().parents[2] / "shared" / "pairs"


def main() -> int:
    """Run the sweeps one after another; print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=sweep_names(), default=sweep_names())
    parser.add_argument("--contents", type=Path, default=_PAIRS / "content_landscape.jpg")
    parser.add_argument("--styles", type=Path, nargs="+", default=sorted(_PAIRS.glob("style_*")))
    parser.add_argument("--size", type=int, default=128, help="longer side, pixels")
    parser.add_argument(
        "--iterations", type=int, help="at each scale, for sweeps that do not vary it themselves"
    )
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    status = 0
    print(f"{'sweep':22} {'cells':>5} {'failed':>6} {'median s':>9} {'median MiB':>11}")
    for name in arguments.only:
        plan = read_sweep(name, contents=[arguments.contents], styles=arguments.styles)
        styles = arguments.styles if name == "contents_by_styles" else arguments.styles[-1:]
        changes = [] if "size" in plan.axes else [f"size={arguments.size}"]
        if arguments.iterations and "iterations" not in plan.axes:
            changes.append(f"iterations={arguments.iterations}")
        output = arguments.output / name
        words = ["sweep", name, "--contents", str(arguments.contents)]
        words += ["--styles", *map(str, styles), "--output", str(output)]
        status = max(status, impasto([*words, *(["--set", *changes] if changes else [])]))
        print(_line(name, output / "results.csv"), flush=True)
    _write_index(arguments.output, arguments.only)
    return status


def _line(name: str, table: Path) -> str:
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    done = [row for row in rows if row["status"] == "done"]
    seconds, memory = (
        median(float(row[column]) for row in done) if done else float("nan")
        for column in ("seconds", "peak_memory_mib")
    )
    return f"{name:22} {len(rows):5} {len(rows) - len(done):6} {seconds:9.1f} {memory:11.0f}"


def _write_index(folder: Path, names: list[str]) -> None:
    page = dominate.document(title="Ready sweeps")
    with page, tags.ul():
        for name in names:
            tags.li(tags.a(name, href=f"{name}/index.html"))
    write_text_atomic(folder / "index.html", page.render())


if __name__ == "__main__":
    raise SystemExit(main())
