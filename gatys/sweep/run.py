"""A whole sweep: unfinished cells are computed, then table, sheet, curves and page are written."""

import csv
import io
import logging
import signal
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from impasto.data.atomic import write_text_atomic
from impasto.gatys.sweep.cells import CellFiles, CellResult, cell_key, read_cell, run_cell
from impasto.gatys.sweep.plan import SweepCell, SweepPlan

__all__ = ["SweepResult", "run_sweep", "write_results"]

_log = logging.getLogger(__name__)

_AWAKE_SECONDS = 0.2

Told = Callable[[SweepCell, CellResult, bool], None]


@dataclass(frozen=True, kw_only=True)
class SweepResult:
    """The result of a sweep.

    Attributes:
        plan: plan of the sweep.
        cells: all cells of the sweep.
        results: results by the number of the cell; some are missing if the sweep was stopped.
        folder: folder of all results; cells are in its ``cells/``.
        threads: number of threads of each process.
    """

    plan: SweepPlan
    cells: Sequence[SweepCell]
    results: Mapping[int, CellResult]
    folder: Path
    threads: int = 1

    @property
    def failed(self) -> list[CellResult]:
        """Results of the cells that failed."""
        return [result for result in self.results.values() if result.error]

    def has_failed(self, cell: SweepCell) -> bool:
        """Whether a cell was tried and failed."""
        result = self.results.get(cell.number)
        return result is not None and bool(result.error)

    def files(self, cell: SweepCell) -> CellFiles:
        """Return the paths of a cell's files."""
        return CellFiles(self.folder / "cells" / cell.folder)

    def picture(self, cell: SweepCell) -> Path | None:
        """Return the picture of a cell, None if it has none."""
        result = self.results.get(cell.number)
        return None if result is None or result.error else self.files(cell).picture


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
    """Run all cells that are not on disk yet. A failed cell does not stop the others.

    Args:
        plan: plan of the sweep.
        cells: cells of the plan.
        folder: folder for all results.
        jobs: number of cells that run at the same time, each in its own process.
        threads: number of threads of each process.
        overwrite: whether to run finished cells again.
        tell: called for each cell with its result, and whether the result was on disk already.
        stop: called several times a second; if it returns True, the sweep ends, and finished cells
            are kept.

    Raises:
        OSError: the folder cannot be written.
    """
    results: dict[int, CellResult] = {}
    places = {cell.number: folder / "cells" / cell.folder for cell in cells}
    waiting = []
    for cell in cells:
        known = read_cell(places[cell.number], cell_key(cell, threads))
        if known is None or overwrite:
            waiting.append(cell)
        else:
            results[cell.number] = known
            tell(cell, known, True)
    ended, warnings = Event(), set[str]()

    def make(cell: SweepCell) -> CellResult | None:
        def halted() -> bool:
            return ended.is_set() or stop()

        return None if halted() else run_cell(cell, places[cell.number], threads, stop=halted)

    pool = ThreadPoolExecutor(jobs, initializer=_block_what_terminals_send)
    try:
        running = {pool.submit(make, cell): cell for cell in waiting}
        while running:
            # Awake now and then: Python handles a signal in this thread alone, and the system may
            # have given it to another one, which does not wake this.
            done, _ = wait(running, timeout=_AWAKE_SECONDS, return_when=FIRST_COMPLETED)
            for future in done:
                cell, result = running.pop(future), future.result()
                if result is not None:
                    _repeat_warnings(CellFiles(places[cell.number]), warnings)
                    results[cell.number] = result
                    tell(cell, result, False)
    finally:
        ended.set()
        pool.shutdown(cancel_futures=True)
    return SweepResult(
        plan=plan,
        cells=cells,
        results=dict(sorted(results.items())),
        folder=folder,
        threads=threads,
    )


def _block_what_terminals_send() -> None:
    """Block Ctrl-C and hangups in a thread, which only waits for a process that inherits this.

    A terminal sends them to all processes; they are the first one's to decide about, and the others
    get SIGTERM.
    """
    sent = {number for number in signal.Signals if number.name in ("SIGINT", "SIGHUP")}
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_BLOCK, sent)


def _repeat_warnings(files: CellFiles, known: set[str]) -> None:
    """Repeat each warning that the process of a cell has printed, once for the whole sweep."""
    for line in files.read_log().splitlines():
        mark, _, message = line.partition(": ")
        if mark == "WARNING" and message not in known:
            known.add(message)
            _log.warning("%s", message)


def write_results(result: SweepResult) -> Path:
    """Write results.csv: a row for each cell, in the order of the sweep; return its path.

    ``parts_sum`` is the sum of the losses, which ``total_loss`` must equal except for rounding.

    Raises:
        OSError: the file cannot be written.
    """
    text = io.StringIO()
    axes = list(result.plan.axes)
    named = {name: f"{name}_loss" for cell in result.results.values() for name in cell.losses}
    names = [
        *axes,
        "status",
        *named.values(),
        "parts_sum",
        "evaluations",
        "seconds",
        "peak_memory_mib",
    ]
    writer = csv.DictWriter(text, [*names, "width", "height", "picture", "error"])
    writer.writeheader()
    for cell in result.cells:
        outcome = result.results.get(cell.number)
        row: dict[str, object] = dict(cell.labels)
        if outcome is None:
            row["status"] = "missing"
        elif outcome.error:
            row |= {"status": "failed", "error": " ".join(outcome.error.split())}
        else:
            picture = result.picture(cell)
            parts = sum(outcome.losses[name] for name in outcome.losses if name != "total")
            row |= {
                "status": "done",
                **{named[name]: f"{loss:.9g}" for name, loss in outcome.losses.items()},
                "parts_sum": f"{parts:.9g}",
                "evaluations": outcome.evaluations,
                "seconds": f"{outcome.seconds:.3f}",
                "peak_memory_mib": f"{outcome.peak_memory_mib:.0f}",
                "width": outcome.size[0],
                "height": outcome.size[1],
                "picture": picture.relative_to(result.folder).as_posix() if picture else "",
            }
        writer.writerow(row)
    path = result.folder / "results.csv"
    write_text_atomic(path, text.getvalue())
    return path
