"""A whole sweep: unfinished cells are computed, then table, sheet, curves and page are written."""

import csv
import io
import logging
import math
import signal
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from threading import Event

from impasto.data.atomic import write_text_atomic
from impasto.gatys.sweep.cells import (
    CellFiles,
    CellResult,
    cell_key,
    difference_on_disk,
    read_cell,
    run_cell,
)
from impasto.gatys.sweep.plan import SweepCell, SweepPlan
from impasto.options.errors import FolderError

__all__ = ["SweepResult", "run_sweep", "write_results"]

_log = logging.getLogger(__name__)

_AWAKE_SECONDS = 0.2
_MOST_DIFFERENCES = 3  # that a message names

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
        jobs: number of cells that run at the same time.
        replaced: numbers of the cells that take the place of finished ones of other settings.
    """

    plan: SweepPlan
    cells: Sequence[SweepCell]
    results: Mapping[int, CellResult]
    folder: Path
    threads: int = 1
    jobs: int = 1
    replaced: Collection[int] = ()

    @property
    def done(self) -> list[CellResult]:
        """Results of the cells that are done."""
        return [result for result in self.results.values() if not result.error]

    @property
    def failed(self) -> list[CellResult]:
        """Results of the cells that failed."""
        return [result for result in self.results.values() if result.error]

    @property
    def seconds_left(self) -> float | None:
        """About how long the cells that are not done take, in seconds; None if not known."""
        known = [result.wall_seconds for result in self.done if result.wall_seconds]
        if not known:
            return None
        left = len(self.cells) - len(self.done)
        return math.ceil(left / self.jobs) * fmean(known)

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
    start: Callable[[int], None] = lambda _count: None,
    tell: Told = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> SweepResult:
    """Run all cells that are not on disk yet. A failed cell does not stop the others.

    Finished cells that were made with other settings, of other files or by another version are
    replaced only if ``overwrite`` says so; what differs is said before anything is computed.

    Args:
        plan: plan of the sweep.
        cells: cells of the plan.
        folder: folder for all results.
        jobs: number of cells that run at the same time, each in its own process.
        threads: number of threads of each process.
        overwrite: whether to replace finished cells that differ; if there are none, all are run
            again.
        start: called before the first cell with the number of all cells.
        tell: called for each cell with its result, and whether the result was on disk already.
        stop: called several times a second; if it returns True, the sweep ends, and finished cells
            are kept.

    Raises:
        FolderError: finished cells would be replaced, and ``overwrite`` does not say so.
        OSError: the folder cannot be written.
    """
    results: dict[int, CellResult] = {}
    places = {cell.number: folder / "cells" / cell.folder for cell in cells}
    replaced = _find_replaced(cells, places, folder, threads, overwrite=overwrite)
    start(len(cells))
    waiting = []
    for cell in cells:
        known = read_cell(places[cell.number], cell_key(cell, threads))
        if known is None or (overwrite and not replaced):
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
        jobs=jobs,
        replaced=replaced,
    )


def _find_replaced(
    cells: Sequence[SweepCell],
    places: Mapping[int, Path],
    folder: Path,
    threads: int,
    *,
    overwrite: bool,
) -> list[int]:
    """Return the numbers of the cells that take the place of finished ones of other settings.

    Raises:
        FolderError: there are some, and ``overwrite`` does not say that they may be replaced.
    """
    found = {
        cell.number: difference
        for cell in cells
        if (difference := difference_on_disk(cell, places[cell.number], threads))
    }
    if found and not overwrite:
        raise FolderError(
            folder,
            f"holds {_describe_replaced(found.values())}, to be replaced by this sweep; choose "
            "another --output, or replace them with --overwrite true",
        )
    if found:
        _log.warning("%s: replaced: %s", folder, _describe_replaced(found.values()))
    _say_others(folder / "cells", {place.name for place in places.values()})
    return list(found)


def _describe_replaced(differences: Collection[str]) -> str:
    """Say how many finished cells there are, and what they were made with that is other now."""
    counts = Counter(differences).most_common()
    said = f"{len(differences)} finished cell{'s' * (len(differences) != 1)} made with "
    if len(counts) == 1:
        return said + counts[0][0]
    named, others = counts[:_MOST_DIFFERENCES], counts[_MOST_DIFFERENCES:]
    each = [f"{difference} ({count} of them)" for difference, count in named]
    if others:
        each.append(f"other settings ({sum(count for _, count in others)})")
    return said + "; ".join(each)


def _say_others(folder: Path, own: Collection[str]) -> None:
    """Say that table, sheet and page do not show what another sweep has left here."""
    others = [path for path in folder.glob("*/cell.json") if path.parent.name not in own]
    if others:
        _log.warning(
            "%s: cells of another sweep, or of values that are no longer in this one, stay (%d); "
            "the table, the contact sheet and the page are without them",
            folder,
            len(others),
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
    ``seconds`` are those of optimizing, ``wall_seconds`` those of the whole cell.

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
        "wall_seconds",
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
                "wall_seconds": f"{outcome.wall_seconds:.3f}" if outcome.wall_seconds else "",
                "peak_memory_mib": f"{outcome.peak_memory_mib:.0f}",
                "width": outcome.size[0],
                "height": outcome.size[1],
                "picture": picture.relative_to(result.folder).as_posix() if picture else "",
            }
        writer.writerow(row)
    path = result.folder / "results.csv"
    write_text_atomic(path, text.getvalue())
    return path
