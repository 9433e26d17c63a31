"""A whole sweep: cells that are not done yet are made, then table, sheet, curves and page."""

import csv
import io
import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path

from giverny.data.atomic import write_text_atomic
from giverny.gatys.iterates import TERMS
from giverny.gatys.sweep_cell import CellResult, cell_key, read_cell, run_cell
from giverny.gatys.sweep_plan import SweepCell, SweepPlan

__all__ = ["SweepResult", "run_sweep", "write_results"]

Told = Callable[[SweepCell, CellResult, bool], None]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """What came of a sweep.

    Attributes:
        plan: what was asked for.
        cells: all of them.
        results: by the number of the cell; some are missing if it was stopped.
        folder: where everything lies; cells in ``cells/``.
    """

    plan: SweepPlan
    cells: Sequence[SweepCell]
    results: Mapping[int, CellResult]
    folder: Path

    @property
    def failed(self) -> list[CellResult]:
        """Results of the cells that failed."""
        return [result for result in self.results.values() if result.error]

    def picture(self, cell: SweepCell) -> Path | None:
        """Return the picture of a cell, None if it has none."""
        found = self.results.get(cell.number)
        if found is None or found.error:
            return None
        return self.folder / "cells" / cell.folder / "picture.png"

    def losses(self, cell: SweepCell) -> Path:
        """Return where the losses of a cell lie."""
        return self.folder / "cells" / cell.folder / "losses.csv"


def run_sweep(  # noqa: PLR0913 - what is run, where, how, and who is told
    plan: SweepPlan,
    cells: Sequence[SweepCell],
    folder: Path,
    *,
    jobs: int = 1,
    threads: int = 1,
    overwrite: bool = False,
    tell: Told = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> SweepResult:
    """Make all cells that are not on disk yet. One that fails does not stop the others.

    Args:
        plan: the sweep.
        cells: of the plan.
        folder: where to.
        jobs: processes; 1 computes in this one.
        threads: of each.
        overwrite: make done cells again.
        tell: told of each cell: its result, and whether it was on disk already.
        stop: asked after each evaluation and cell; True ends the sweep, done cells are kept.

    Raises:
        OSError: the folder cannot be written.
    """
    results: dict[int, CellResult] = {}
    waiting = []
    for cell in cells:
        found = read_cell(folder / "cells" / cell.folder, cell_key(cell, threads))
        if found is None or overwrite:
            waiting.append(cell)
        else:
            results[cell.number] = found
            tell(cell, found, True)
    make = _in_processes if jobs > 1 and len(waiting) > 1 else _here
    for cell, result in make(waiting, folder / "cells", jobs, threads, stop):
        results[cell.number] = result
        tell(cell, result, False)
    return SweepResult(plan=plan, cells=cells, results=dict(sorted(results.items())), folder=folder)


def _here(
    cells: Sequence[SweepCell], folder: Path, _jobs: int, threads: int, stop: Callable[[], bool]
) -> Iterator[tuple[SweepCell, CellResult]]:
    for cell in cells:
        if stop():
            return
        result = run_cell(cell, folder / cell.folder, threads, stop=stop)
        if result is not None:
            yield cell, result


def _in_processes(
    cells: Sequence[SweepCell], folder: Path, jobs: int, threads: int, stop: Callable[[], bool]
) -> Iterator[tuple[SweepCell, CellResult]]:
    # A process of its own for each cell: its peak memory is its own, and torch is not forked.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, mp_context=context, max_tasks_per_child=1) as pool:
        left = list(cells)
        running: dict[Future[CellResult | None], SweepCell] = {}
        while left or running:
            while left and len(running) < jobs and not stop():
                cell = left.pop(0)
                running[pool.submit(run_cell, cell, folder / cell.folder, threads)] = cell
            if not running:
                return
            done, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in done:
                cell = running.pop(future)
                result = future.result()
                if result is not None:
                    yield cell, result


def write_results(result: SweepResult) -> Path:
    """Write results.csv: a row for each cell, in the order of the sweep; return its path.

    ``parts_sum`` is the sum of the four parts, which ``total_loss`` must equal but for rounding.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO()
    axes = list(result.plan.axes)
    losses = [f"{name}_loss" for name in TERMS]
    names = [*axes, "status", *losses, "parts_sum", "evaluations", "seconds", "peak_memory_mib"]
    writer = csv.DictWriter(text, [*names, "width", "height", "picture", "error"])
    writer.writeheader()
    for cell in result.cells:
        found = result.results.get(cell.number)
        row: dict[str, object] = dict(cell.labels)
        if found is None:
            row["status"] = "missing"
        elif found.error:
            row |= {"status": "failed", "error": " ".join(found.error.split())}
        else:
            picture = result.picture(cell)
            parts = sum(found.losses[name] for name in TERMS if name != "total")
            row |= {
                "status": "done",
                **{f"{name}_loss": f"{found.losses[name]:.9g}" for name in TERMS},
                "parts_sum": f"{parts:.9g}",
                "evaluations": found.evaluations,
                "seconds": f"{found.seconds:.3f}",
                "peak_memory_mib": f"{found.peak_memory_mib:.0f}",
                "width": found.size[0],
                "height": found.size[1],
                "picture": picture.relative_to(result.folder).as_posix() if picture else "",
            }
        writer.writerow(row)
    path = result.folder / "results.csv"
    write_text_atomic(path, text.getvalue())
    return path
