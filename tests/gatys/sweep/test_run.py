"""What a whole sweep does while its cells run; functions stand in for the cells."""

import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from impasto.gatys.sweep.cells import CellResult
from impasto.gatys.sweep.plan import SweepCell, SweepPlan
from impasto.gatys.sweep.run import run_sweep
from impasto.options.stylize import StylizeOptions
from impasto.runs.signals import Interrupts

CELL = SweepCell(
    number=1,
    labels={"seed": "1"},
    options=StylizeOptions(content=Path("content.png"), styles=(Path("style.png"),)),
)


def test_a_signal_that_another_thread_gets_is_heard_while_cells_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system chooses the thread; Python runs handlers in the main one, once that is awake."""
    heard = []

    def cell(
        _cell: SweepCell, _folder: Path, _threads: int, *, stop: Callable[[], bool]
    ) -> CellResult | None:
        time.sleep(0.5)  # until the main thread waits
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        end = time.monotonic() + 10
        while not stop() and time.monotonic() < end:
            time.sleep(0.02)
        heard.append(stop())
        return None

    monkeypatch.setattr("impasto.gatys.sweep.run.run_cell", cell)
    plan = SweepPlan(name="one", title="one", axes={}, rows=[], columns=[])
    with Interrupts(announce=False) as interrupts:
        run_sweep(plan, [CELL], tmp_path, stop=lambda: interrupts.received is not None)
    assert heard == [True]
    assert interrupts.received == signal.SIGTERM
