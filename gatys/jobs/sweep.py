"""The whole sweep, from a file or a name to pictures, table, contact sheet, curves and page."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from impasto.data.atomic import check_writable
from impasto.data.files import refuse_missing
from impasto.gatys.sweep.plan import SweepCell, read_sweep, sweep_cells
from impasto.options.errors import FolderError
from impasto.options.stylize import SweepOptions
from impasto.runs.directory import lock_folder

if TYPE_CHECKING:
    from impasto.gatys.sweep.cells import CellResult
    from impasto.gatys.sweep.run import SweepResult

__all__ = ["sweep"]


def sweep(
    plan: str,
    options: SweepOptions,
    *,
    on_start: Callable[[int], None] = lambda _count: None,
    on_cell: "Callable[[SweepCell, CellResult, bool], None]" = lambda *_: None,
    stop: Callable[[], bool] = lambda: False,
) -> "SweepResult":
    """Stylize with all combinations of some settings; finished cells are not computed again.

    Args:
        plan: YAML file with the sweep, or the name of a shipped one.
        options: all options of the sweep.
        on_start: called with the number of cells.
        on_cell: called for each cell with its result, and whether the result was on disk already.
        stop: called several times a second; if it returns True, the sweep ends, and finished cells
            are kept.

    Returns:
        The cells and their results. Those that failed have an ``error``.

    Raises:
        OptionError: an option, also one in the plan, is unknown or invalid.
        ImpastoError: the plan cannot be read, or another sweep is writing to the same folder.
        PictureError: a content or style picture is not there.
        FolderError: the output cannot be written, or holds finished cells of other settings, which
            only ``overwrite`` replaces; both are found before anything is computed.
        OSError: it can no longer be written, as the disk is full.
    """
    sweep_plan = read_sweep(
        plan,
        contents=[Path(path) for path in options.contents],
        styles=[Path(path) for path in options.styles],
        changes=options.changes(),
    )
    cells = sweep_cells(sweep_plan)
    for folder in (options.output, options.output / "cells"):
        try:
            check_writable(folder)
        except OSError as error:
            message = f"cannot be written ({error.strerror or error}); choose another --output"
            raise FolderError(folder, message) from error
    named = (path for cell in cells for path in (cell.options.content, *cell.options.styles))
    for path in dict.fromkeys(named):
        if path is not None:
            refuse_missing(path, reason="a cell of the sweep needs it")

    # torch, once the plan is known to be right
    from impasto.gatys.sweep.page import write_sweep_page  # noqa: PLC0415
    from impasto.gatys.sweep.run import run_sweep, write_results  # noqa: PLC0415

    busy = "another sweep is computing cells there; wait for it, or choose another --output"
    with lock_folder(options.output, busy):
        result = run_sweep(
            sweep_plan,
            cells,
            options.output,
            jobs=options.jobs,
            threads=options.threads,
            overwrite=options.overwrite,
            start=on_start,
            tell=on_cell,
            stop=stop,
        )
        write_results(result)
        write_sweep_page(result)
    return result
