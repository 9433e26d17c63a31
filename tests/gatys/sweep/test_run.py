"""What a whole sweep does while its cells run; functions stand in for the cells."""

import json
import logging
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from impasto.data import Picture, write_picture
from impasto.gatys.outputs.recipe import (
    Facts,
    FileFacts,
    describe_file,
    installed_versions,
    recipe_path,
    write_recipe,
)
from impasto.gatys.sweep.cells import CellFiles, CellResult, cell_key
from impasto.gatys.sweep.plan import SweepCell, SweepPlan
from impasto.gatys.sweep.run import SweepResult, run_sweep
from impasto.options.errors import FolderError
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
        end = time.monotonic() + 120
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


ONE = SweepPlan(name="one", title="one", axes={}, rows=[], columns=[])
SEEDS = (1, 2, 3)


def cells(**changes: Any) -> list[SweepCell]:
    """Cells of three seeds, of one content and one style in the present folder."""
    pair: dict[str, Any] = {"content": Path("content.png"), "styles": (Path("style.png"),)}
    base = {**pair, "preset": "builtin", "backbone": "random", "size": 64, **changes}
    return [
        SweepCell(
            number=number,
            labels={"seed": str(seed)},
            options=StylizeOptions(**{**base, "seed": seed}),
        )
        for number, seed in enumerate(SEEDS, start=1)
    ]


def finish(cell: SweepCell, folder: Path, threads: int) -> CellResult:
    """Leave what a cell leaves that is done; it stands in for the process."""
    files, options = CellFiles(folder), cell.options
    folder.mkdir(parents=True, exist_ok=True)
    files.picture.write_bytes(b"picture of seed %d" % options.seed)
    files.losses.write_bytes(b"losses")
    flat = {field.name: getattr(options, field.name) for field in fields(options)}
    del flat["overwrite"]
    write_recipe(files.recipe, {**flat, "output": files.picture})
    inputs: list[FileFacts] = [describe_file(Path(name)) for name in ("content.png", "style.png")]
    facts = Facts(
        inputs=inputs,
        backbone="random",
        backbone_sha256="",
        versions=installed_versions(),
        device="cpu",
        threads=threads,
        seed=options.seed,
        evaluations=1,
        seconds=1.0,
        losses={},
    )
    write_recipe(recipe_path(files.picture), flat, facts)
    result = CellResult(
        key=cell_key(cell, threads),
        labels=cell.labels,
        losses={"total": 1.0},
        seconds=1.0,
        wall_seconds=4.0,
        peak_memory_mib=1.0,
        hashes=files.hashes(),
    )
    files.result.write_text(json.dumps(asdict(result)), encoding="utf-8")
    return result


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Cells are computed at once; the seeds of those that were, in their order."""
    monkeypatch.chdir(tmp_path)
    for name, level in (("content.png", 10), ("style.png", 200)):
        write_picture(Path(name), Picture(rgb=np.full((8, 8, 3), level, np.uint8)))
    computed: list[str] = []

    def run(cell: SweepCell, folder: Path, threads: int, **_stop: Any) -> CellResult:
        computed.append(cell.labels["seed"])
        return finish(cell, folder, threads)

    monkeypatch.setattr("impasto.gatys.sweep.run.run_cell", run)
    return computed


def change_content() -> dict[str, Any]:
    write_picture(Path("content.png"), Picture(rgb=np.zeros((8, 8, 3), np.uint8)))
    return {}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda: {"options": {"size": 128}}, r"made with size 64 \(now 128\), to be"),
        (lambda: {"threads": 2}, r"made with threads 1 \(now 2\), to be"),
        (change_content, r"made with /.*content\.png as it was before, to be"),
        (
            lambda: {"options": {"style_weight": 2.0, "size": 32}},
            r"made with size 64 \(now 32\), style_weight unset \(now 2.0\), to be",
        ),
    ],
)
def test_finished_cells_of_other_settings_are_not_replaced_unasked(
    made: list[str],
    caplog: pytest.LogCaptureFixture,
    change: Callable[[], dict[str, Any]],
    says: str,
) -> None:
    out = Path("out")
    started: list[int] = []
    run_sweep(ONE, cells(), out)
    first = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    made.clear()
    other = change()
    changed, threads = cells(**other.get("options", {})), other.get("threads", 1)
    with pytest.raises(FolderError, match=f"holds 3 finished cells {says}"):
        run_sweep(ONE, changed, out, threads=threads, start=started.append)
    assert not made
    assert not started
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == first
    run_sweep(ONE, changed, out, threads=threads, overwrite=True, start=started.append)
    assert made == ["1", "2", "3"]
    assert started == [3]
    assert "replaced: 3 finished cells made with " in caplog.text
    made.clear()
    run_sweep(ONE, changed, out, threads=threads)
    assert not made


def test_another_version_is_a_difference(made: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    run_sweep(ONE, cells(), Path("out"))
    before = installed_versions()["impasto"]
    monkeypatch.setattr("impasto.gatys.sweep.cells.version", lambda _: "99.1")
    with pytest.raises(FolderError, match=rf"made with Impasto {before} \(now 99\.1\), to be"):
        run_sweep(ONE, cells(), Path("out"))
    assert made == ["1", "2", "3"]


def test_differences_are_counted(made: list[str]) -> None:
    first, second, third = cells()
    other = replace(second, options=replace(second.options, size=32))
    run_sweep(ONE, [first, other, third], Path("out"))
    says = r"holds 1 finished cell made with size 32 \(now 64\), to be"
    with pytest.raises(FolderError, match=says):
        run_sweep(ONE, cells(), Path("out"))
    says = r"holds 3 finished cells made with size 64 \(now 48\) \(2 of them\); size 32 \(now 48\)"
    with pytest.raises(FolderError, match=says):
        run_sweep(ONE, cells(size=48), Path("out"))
    made.clear()
    run_sweep(ONE, cells(), Path("out"), overwrite=True)
    assert made == ["2"]  # the others were of the same settings
    run_sweep(ONE, cells(), Path("out"), overwrite=True)
    assert made == ["2", "1", "2", "3"]  # nothing differs, so all are meant


def test_a_stopped_replacement_goes_on_where_it_stopped(made: list[str]) -> None:
    run_sweep(ONE, cells(), Path("out"))
    made.clear()
    stopped = run_sweep(
        ONE, cells(size=32), Path("out"), overwrite=True, stop=lambda: len(made) == 2
    )
    assert sorted(stopped.results) == [1, 2]
    assert list(stopped.replaced) == [1, 2, 3]
    run_sweep(ONE, cells(size=32), Path("out"), overwrite=True)
    assert made == ["1", "2", "3"]


def test_paths_are_the_same_from_every_folder(
    made: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_sweep(ONE, cells(), tmp_path / "out")
    made.clear()
    monkeypatch.chdir("/")
    there = {"content": tmp_path / "content.png", "styles": (tmp_path / "style.png",)}
    run_sweep(ONE, cells(**there), tmp_path / "out")
    assert not made


def test_what_another_sweep_left_is_named_and_stays(
    made: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    run_sweep(ONE, cells(), Path("out"))
    assert not caplog.messages
    others = [replace(cell, labels={"hue": cell.labels["seed"]}) for cell in cells()[:1]]
    with caplog.at_level(logging.WARNING):
        run_sweep(
            ONE, [replace(one, labels={**one.labels, "seed": "9"}) for one in others], Path("out")
        )
    assert "out/cells: cells of another sweep, or of values that are no longer in" in caplog.text
    assert "stay (3)" in caplog.text
    assert len(list(Path("out").glob("cells/*/picture.png"))) == 4
    assert len(made) == 4


@pytest.mark.parametrize(("jobs", "seconds"), [(1, 8.0), (2, 4.0)])
def test_what_is_left_takes_as_long_as_what_is_done(jobs: int, seconds: float) -> None:
    done = CellResult(key="", labels={}, losses={}, seconds=1.0, wall_seconds=4.0)
    failed = replace(done, error="odd", wall_seconds=99.0)
    result = SweepResult(
        plan=ONE, cells=cells(), results={1: done, 2: failed}, folder=Path("out"), jobs=jobs
    )
    assert result.seconds_left == seconds
    assert replace(result, results={2: failed}).seconds_left is None
