"""A whole sweep: cells that are not done yet are made, then table, sheet, curves and page."""

import csv
import io
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

from impasto.data.atomic import write_text_atomic
from impasto.gatys.sweep.cells import CellResult, cell_key, read_cell, run_cell, write_failure
from impasto.gatys.sweep.plan import SweepCell, SweepPlan

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

    def has_failed(self, cell: SweepCell) -> bool:
        """Whether a cell was tried and failed."""
        found = self.results.get(cell.number)
        return found is not None and bool(found.error)

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
    # A process of its own for each cell: its peak memory is its own, torch is not forked, and if
    # the system kills it for its memory, the others go on. No pool: that breaks as a whole.
    left = list(cells)
    running: list[_Child] = []
    try:
        while left or running:
            while left and len(running) < jobs and not stop():
                cell = left.pop(0)
                running.append(_Child(cell, folder / cell.folder, threads))
            if not running:
                return
            for child in _ended(running, stop()):
                running.remove(child)
                result = child.result()
                if result is not None:
                    yield child.cell, result
    finally:
        for child in running:
            child.process.terminate()
            child.process.join()


def _ended(running: Sequence["_Child"], stopped: bool) -> list["_Child"]:
    """Wait a little for children, which are told if they are to stop; return those that ended."""
    if stopped:
        for child in running:
            child.stop()
    wait([child.process.sentinel for child in running], timeout=0.2)
    return [child for child in running if child.process.exitcode is not None]


class _Child:
    """A process that makes one cell."""

    def __init__(self, cell: SweepCell, folder: Path, threads: int) -> None:
        self.cell, self._folder, self._threads = cell, folder, threads
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._stopped = False
        self.process: SpawnProcess = context.Process(
            target=_make_in_child, args=(other, cell, folder, threads), daemon=True
        )
        # Ctrl-C goes to all processes, and is this one's to decide about. A child inherits what is
        # blocked, so that it is safe while it starts, too.
        resource_tracker.ensure_running()  # which would unblock it
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self.process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.close()

    def stop(self) -> None:
        """Ask it to end after its evaluation."""
        if self._stopped:
            return
        self._stopped = True
        try:
            self._pipe.send(None)
        except OSError:  # it has just ended
            return

    def result(self) -> CellResult | None:
        """Return what came of it when it has ended; None if it was stopped.

        Raises:
            OSError: the folder cannot be written.
        """
        self.process.join()
        try:
            found: CellResult | Exception | None = self._pipe.recv()
        except (EOFError, OSError):
            if self._stopped:
                return None
            key = cell_key(self.cell, self._threads)
            return write_failure(self.cell, self._folder, key, _death(self.process.exitcode))
        finally:
            self._pipe.close()
        if isinstance(found, Exception):
            raise found
        return found


def _death(status: int | None) -> str:
    if status is None or status >= 0:
        return f"its process ended with status {status}"
    killed = f"its process was killed by {signal.Signals(-status).name}"
    more = ", as systems do where memory runs out; try fewer --jobs or a smaller size"
    return killed + (more if -status == signal.SIGKILL else "")


def _make_in_child(pipe: Connection, cell: SweepCell, folder: Path, threads: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    found: CellResult | Exception | None
    try:
        # Something to read is the wish to stop, or the end of the process that would say so.
        found = run_cell(cell, folder, threads, stop=pipe.poll)
    except Exception as error:  # noqa: BLE001 - it is raised again where it can be told
        found = error
    try:
        pipe.send(found)
    except OSError:  # nobody is left to tell
        return


def write_results(result: SweepResult) -> Path:
    """Write results.csv: a row for each cell, in the order of the sweep; return its path.

    ``parts_sum`` is the sum of the losses, which ``total_loss`` must equal but for rounding.

    Raises:
        OSError: it cannot be written.
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
        found = result.results.get(cell.number)
        row: dict[str, object] = dict(cell.labels)
        if found is None:
            row["status"] = "missing"
        elif found.error:
            row |= {"status": "failed", "error": " ".join(found.error.split())}
        else:
            picture = result.picture(cell)
            parts = sum(found.losses[name] for name in found.losses if name != "total")
            row |= {
                "status": "done",
                **{named[name]: f"{loss:.9g}" for name, loss in found.losses.items()},
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
