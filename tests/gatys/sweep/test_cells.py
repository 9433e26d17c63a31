"""What becomes of a cell whose process fails or is stopped; short programs stand in for it."""

import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest

from impasto.gatys.sweep.cells import CellResult, read_cell, run_cell
from impasto.gatys.sweep.plan import SweepCell, SweepPlan
from impasto.gatys.sweep.run import run_sweep
from impasto.options.stylize import StylizeOptions
from impasto.runs.processes import PARENT_VARIABLE, parent_is_gone

CELL = SweepCell(
    number=1,
    labels={"seed": "1"},
    options=StylizeOptions(content=Path("content.png"), styles=(Path("style.png"),)),
)
HALF_DONE = """
import os, pathlib, signal, sys, time
from impasto.data.atomic import owner_mark
folder = pathlib.Path(sys.argv[1]).parent
temporary = f".impasto-{owner_mark()}-0.tmp"
for name in ("picture.png", "picture.png.yaml", "picture.losses.csv", temporary):
    (folder / name).write_text("half done")
print("stopped; wrote picture.png", flush=True)
"""
Run = Callable[..., CellResult | None]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a cell, with a program instead of `impasto stylize`."""

    def run_program(program: str, stop: Callable[[], bool] = lambda: False) -> CellResult | None:
        monkeypatch.setattr(
            "impasto.gatys.sweep.cells.cell_command",
            lambda recipe: [sys.executable, "-c", program, str(recipe)],
        )
        return run_cell(CELL, tmp_path / "cell", 1, stop=stop)

    return run_program


def left(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "cell").iterdir()}


@pytest.mark.parametrize(
    ("end", "name"),
    [
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(60)", "SIGTERM"),
        ("sys.exit(128 + signal.SIGTERM)", "SIGTERM"),
        ("sys.exit(128 + signal.SIGINT)", "SIGINT"),
        ("os.kill(os.getpid(), signal.SIGHUP); time.sleep(60)", "SIGHUP"),
    ],
)
def test_a_cell_that_is_stopped_alone_has_failed_and_keeps_nothing_half_done(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, name: str
) -> None:
    monkeypatch.setattr("impasto.gatys.sweep.cells._GRACE_SECONDS", 0.1)
    result = run(HALF_DONE + end)
    assert result is not None
    assert result.error == f"its process was stopped by {name}"
    assert left(tmp_path) == {"cell.yaml", "cell.json", "stylize.log"}


def test_a_cell_that_hears_of_the_stop_before_the_sweep_does_is_missing(
    run: Run, tmp_path: Path
) -> None:
    told = iter([False, False])
    assert run(HALF_DONE + "sys.exit(143)", lambda: next(told, True)) is None
    assert left(tmp_path) == {"cell.yaml", "stylize.log"}


def test_a_stopped_sweep_leaves_no_half_done_picture(run: Run, tmp_path: Path) -> None:
    program = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1]).parent
def end(*_):
    for name in ("picture.png", "picture.png.yaml", "picture.losses.csv"):
        (folder / name).write_text("half done")
    sys.exit(143)
signal.signal(signal.SIGTERM, end)
print("ready", flush=True)
time.sleep(60)
"""
    log = tmp_path / "cell" / "stylize.log"
    assert run(program, lambda: log.read_text(encoding="utf-8") != "") is None
    assert left(tmp_path) == {"cell.yaml", "stylize.log"}


def test_what_a_cell_says_is_read_whatever_the_encoding_is(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    result = run("print('caf\\xe9 \\udcff'); raise SystemExit(3)")
    assert result is not None
    assert result.error == "caf\xe9 \\udcff"


def test_a_log_that_is_not_utf_8_is_read_nevertheless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    program = "import os; os.write(1, b'WARNING: caf\\xe9\\n'); raise SystemExit(3)"
    monkeypatch.setattr(
        "impasto.gatys.sweep.cells.cell_command", lambda _: [sys.executable, "-c", program]
    )
    plan = SweepPlan(name="one", title="one", axes={}, rows=[], columns=[])
    result = run_sweep(plan, [CELL], tmp_path)
    assert result.results[1].error == "WARNING: caf\N{REPLACEMENT CHARACTER}"
    assert "caf\N{REPLACEMENT CHARACTER}" in caplog.text


def test_a_cell_knows_whose_it_is(run: Run) -> None:
    result = run(f"import os; print(os.environ[{PARENT_VARIABLE!r}], os.getppid()); exit(3)")
    assert result is not None
    assert result.error == f"{os.getpid()} {os.getpid()}"


@pytest.mark.parametrize(
    ("parent", "gone"), [("", False), (str(os.getppid()), False), ("0", True), ("none", True)]
)
def test_a_parent_is_gone_when_another_took_its_place(
    monkeypatch: pytest.MonkeyPatch, parent: str, gone: bool
) -> None:
    monkeypatch.setenv(PARENT_VARIABLE, parent)
    assert parent_is_gone() == gone
    monkeypatch.delenv(PARENT_VARIABLE)
    assert not parent_is_gone()


@pytest.mark.parametrize("name", ["picture.png", "picture.losses.csv"])
def test_a_cell_whose_files_are_damaged_is_made_again(tmp_path: Path, name: str) -> None:
    contents = {"picture.png": b"pixels" * 50, "picture.losses.csv": b"total\n" * 50}
    for file, content in contents.items():
        (tmp_path / file).write_bytes(content)
    made = CellResult(
        key="of these settings",
        labels={"seed": "1"},
        losses={"total": 1.0},
        peak_memory_mib=1.0,
        size=(5, 10),
        hashes={file: hashlib.sha256(content).hexdigest() for file, content in contents.items()},
    )
    (tmp_path / "cell.json").write_text(json.dumps(asdict(made)), encoding="utf-8")
    assert read_cell(tmp_path, "of these settings") == made
    assert read_cell(tmp_path, "of others") is None
    whole, path = contents[name], tmp_path / name
    for damaged in (whole[:-1], bytes([whole[0] ^ 1]) + whole[1:], b""):
        path.write_bytes(damaged)
        assert read_cell(tmp_path, "of these settings") is None
    path.write_bytes(whole)
    assert read_cell(tmp_path, "of these settings") == made
    path.unlink()
    assert read_cell(tmp_path, "of these settings") is None
