"""`impasto stylize` that is stopped keeps the best picture so far."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from impasto.gatys.optim.iterates import Iterate
from impasto.gatys.outputs.loss_log import LossLog, read_losses
from impasto.gatys.outputs.recipe import read_recipe
from impasto.runs.processes import PARENT_VARIABLE
from tests.scripts.stylizing import (
    HEIGHT,
    WIDTH,
    frames_of,
    pixels,
    stylize,
)


def wait_for(reached: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_stopped_at_a_coarse_scale_it_is_as_large_as_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = LossLog.__call__

    def note_and_interrupt(log: LossLog, iterate: Iterate) -> None:
        note(log, iterate)
        if iterate.evaluations == 10:
            signal.raise_signal(signal.SIGINT)

    words = ("content.png", "a.png", "--preset", "builtin", "--size", "40", "--iterations", "1000")
    with monkeypatch.context() as patch:
        patch.setattr(LossLog, "__call__", note_and_interrupt)
        assert stylize(*words, "--output", "out.png", "--video", "making.gif") == 130
    assert "stopped; wrote out.png (40 x 30) after 12 evaluations in" in capsys.readouterr().out
    assert pixels(folder / "out.png").shape == (HEIGHT, WIDTH, 3)
    assert frames_of(folder / "making.gif")[-1].shape == (HEIGHT, WIDTH, 3)
    facts = read_recipe(folder / "out.png.yaml").facts
    assert facts is not None
    assert facts.stopped == "stopped after 12 evaluations of 5000, at 10 x 8 pixels, and enlarged"
    again = ("--output", "again.png", "--video", "again.gif")
    assert stylize("--config", "out.png.yaml", "--iterations", "2", *again) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not as")]
    assert lines == [
        f"not as in the recipe: it goes on to its end now, the recipe is of a picture "
        f"{facts.stopped}"
    ]
    whole = read_recipe(folder / "again.png.yaml").facts
    assert whole is not None
    assert whole.stopped == ""


def test_a_cell_whose_sweep_is_gone_ends_and_writes_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("content.png", "a.png", "--size", "40", "--output", "out.png")
    monkeypatch.setenv(PARENT_VARIABLE, str(os.getppid()))
    assert stylize(*words, "--iterations", "2") == 0
    (folder / "out.png").unlink()
    monkeypatch.setenv(PARENT_VARIABLE, "0")
    assert stylize(*words, "--iterations", "40") == 1
    assert "the sweep that this is a cell of was killed" in capsys.readouterr().err
    assert not (folder / "out.png").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_end_it_with_the_best_picture_so_far(
    number: signal.Signals,
    status: int,
    folder: Path,
    start_process: Callable[..., "subprocess.Popen[str]"],
) -> None:
    words = ("content.png", "a.png", "--size", "40", "--iterations", "1000000")
    extra = ("--output", "out.png", "--video", "making.gif", "--plot_losses", "losses.svg")
    process = start_process(
        [sys.executable, "-m", "impasto.scripts.main", "stylize", *words, *extra],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=folder,
    )
    log = folder / "out.losses.csv"
    wait_for(lambda: log.exists() and len(log.read_text("utf-8").splitlines()) >= 2, process)
    os.killpg(process.pid, number)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    assert "stopped; wrote out.png (" in printed
    assert "Traceback" not in errors
    shown = pixels(folder / "out.png")
    rows = read_losses(log)
    assert f"after {rows[-1].evaluations} evaluations" in printed
    assert np.isfinite(rows[-1].losses["total"])
    assert shown.std() > 1
    assert (frames_of(folder / "making.gif")[-1].shape, (folder / "losses.svg").exists()) == (
        shown.shape,
        True,
    )
    facts = read_recipe(folder / "out.png.yaml").facts
    assert facts is not None
    assert facts.evaluations == rows[-1].evaluations
