"""`impasto sweep` through the command."""

import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil  # type: ignore[import-untyped]
import pytest
import yaml

from impasto.data import Picture, list_pictures, read_picture, write_picture
from impasto.gatys.features.weights import weights_folder
from impasto.gatys.outputs.loss_log import read_losses
from impasto.gatys.sweep.cells import cell_key, read_cell, run_cell
from impasto.gatys.sweep.plan import SweepCell, sweep_names
from impasto.options.stylize import StylizeOptions
from impasto.runs.directory import lock_folder
from impasto.scripts.main import main

Process = subprocess.Popen[bytes]
Start = Callable[[list[str]], Process]
SWEEPS = Path(__file__).parents[2] / "options" / "presets" / "sweeps"
TINY = ["--set", "size=32", "iterations=[2]", "--threads", "1"]
# Each cell takes seconds, to start its process: two of them, where four show nothing more.
TWO = ["--jobs", "2", "--threads", "1", "--set", "size=32", "content_weight=1"]


@pytest.fixture
def pictures(picture_folder: Callable[..., Path]) -> list[str]:
    """Arguments that name a content and a style."""
    content = picture_folder("contents", count=1, seed=1)
    styles = picture_folder("styles", count=1, seed=2)
    return ["--contents", str(content), "--styles", str(styles)]


@pytest.fixture
def sweep(tmp_path: Path) -> str:
    """A sweep of four quick cells."""
    path = tmp_path / "mine.yaml"
    path.write_text(
        "title: Seeds\noptions: {preset: builtin, init: noise}\n"
        "axes: {seed: [1, 2], content_weight: [0.5, 4]}\nrows: seed\ncolumns: content_weight\n",
        encoding="utf-8",
    )
    return str(path)


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def without_times(table: list[dict[str, str]]) -> list[dict[str, str]]:
    varying = {"seconds", "wall_seconds", "peak_memory_mib"}
    return [{k: v for k, v in row.items() if k not in varying} for row in table]


@pytest.mark.slow
def test_table_sheet_curves_and_page(
    sweep: str, pictures: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["sweep", sweep, *pictures, "--output", str(out), *TINY]) == 0
    assert "4 of 4 cells done, 0 failed" in capsys.readouterr().out
    table = rows(out)
    assert [(row["seed"], row["content_weight"]) for row in table] == [
        ("1", "0.5"),
        ("1", "4"),
        ("2", "0.5"),
        ("2", "4"),
    ]
    for row in table:
        assert row["status"] == "done"
        assert float(row["parts_sum"]) == pytest.approx(float(row["total_loss"]), rel=1e-5)
        assert float(row["wall_seconds"]) > float(row["seconds"]) > 0
        assert float(row["peak_memory_mib"]) > 10
        assert row["evaluations"] == "10"  # two at each of five sizes
        assert (out / row["picture"]).is_file()
    assert table[0]["total_loss"] != table[2]["total_loss"]
    sheet = read_picture(out / "contact_sheet.png").rgb
    assert sheet.shape[1] > 2 * 32
    page = (out / "index.html").read_text(encoding="utf-8")
    assert all(name in page for name in ("contact_sheet.png", "losses.png", "results.csv"))
    recipes = sorted(path.relative_to(out).as_posix() for path in out.glob("cells/*/cell.yaml"))
    assert len(recipes) == 4
    assert all(f'href="{recipe}"' in page for recipe in recipes)
    assert "OMP_NUM_THREADS=1 impasto stylize --config RECIPE --output again.png" in page
    # Among what it was made of, nothing of it counts as a picture; alone, its cells do.
    assert [path.name for path in list_pictures(tmp_path)] == ["00.png", "00.png"]
    assert list_pictures(out) == [
        out / "cells" / path.name / "picture.png" for path in sorted((out / "cells").iterdir())
    ]


@pytest.mark.slow
def test_done_cells_are_skipped_and_the_table_is_the_same(
    sweep: str, pictures: list[str], tmp_path: Path
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    arguments = ["sweep", sweep, *pictures, *TWO, "iterations=[2]"]
    assert main([*arguments, "--output", str(whole)]) == 0
    assert main([*arguments, "--output", str(out)]) == 0
    before = {path: path.stat().st_mtime_ns for path in sorted(out.glob("cells/*/picture.png"))}
    lost, *kept = before
    lost.unlink()  # as after a kill
    assert main([*arguments, "--output", str(out)]) == 0
    assert all(path.stat().st_mtime_ns == before[path] for path in kept)
    assert without_times(rows(out)) == without_times(rows(whole))
    assert lost.read_bytes() == (whole / lost.relative_to(out)).read_bytes()


@pytest.mark.slow
def test_only_what_is_new_of_a_grown_axis_is_computed(pictures: list[str], tmp_path: Path) -> None:
    path, out = tmp_path / "mine.yaml", tmp_path / "out"
    words = ["sweep", str(path), *pictures, "--output", str(out), *TINY]
    path.write_text("options: {preset: builtin}\naxes: {seed: [5]}\n", encoding="utf-8")
    assert main(words) == 0
    (before,) = out.glob("cells/*/picture.png")
    changed = before.stat().st_mtime_ns
    path.write_text("options: {preset: builtin}\naxes: {seed: [4, 5]}\n", encoding="utf-8")
    assert main(words) == 0
    assert before.stat().st_mtime_ns == changed
    assert [row["status"] for row in rows(out)] == ["done", "done"]
    assert (out / rows(out)[1]["picture"]) == before


def one_cell(tmp_path: Path, **options: Any) -> SweepCell:
    rgb = np.random.default_rng(3).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    for name in ("a.png", "b.png"):
        write_picture(tmp_path / name, Picture(rgb=rgb))
    made = StylizeOptions(content=tmp_path / "a.png", styles=(tmp_path / "b.png",), **options)
    return SweepCell(number=1, labels={"seed": "1"}, options=made)


def test_a_cell_is_of_its_masks(tmp_path: Path) -> None:
    mask = tmp_path / "mask.png"
    cell = one_cell(tmp_path, preset="builtin", masks=(f"{mask}={tmp_path / 'b.png'}",))
    write_picture(mask, Picture(rgb=np.zeros((40, 40, 3), np.uint8)))
    dark = cell_key(cell, 1)
    assert cell_key(cell, 1) == dark
    write_picture(mask, Picture(rgb=np.full((50, 40, 3), 255, np.uint8)))
    assert cell_key(cell, 1) != dark


@pytest.mark.parametrize(
    ("backbone", "file"),
    [
        ("auto", "vgg19-dcbb9e9d.pth"),
        ("vgg16", "vgg16-397923af.pth"),
        ("resnet50", "resnet50-11ad3fa6.pth"),
    ],
)
def test_a_cell_is_of_the_weights_that_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, backbone: str, file: str
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    cell = one_cell(tmp_path, backbone=backbone)
    none = cell_key(cell, 1)
    weights_folder().mkdir(parents=True)
    (weights_folder() / file).write_bytes(b"weights")
    some = cell_key(cell, 1)
    (weights_folder() / file).write_bytes(b"other weights")
    assert len({none, some, cell_key(cell, 1)}) == 3


@pytest.mark.parametrize("error", [ValueError("odd"), RuntimeError("odd"), MemoryError()])
def test_any_failure_is_a_result_and_leaves_no_older_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    cell, out = one_cell(tmp_path, preset="builtin"), tmp_path / "out"
    out.mkdir()
    for name in ("picture.png", "picture.png.yaml", "picture.losses.csv"):
        (out / name).write_text("of other settings", encoding="utf-8")
    failing = [sys.executable, "-c", f"raise {error!r}"]
    monkeypatch.setattr("impasto.gatys.sweep.cells.cell_command", lambda _: failing)
    result = run_cell(cell, out, 1)
    assert result is not None
    assert result.error.startswith(type(error).__name__)
    assert {path.name for path in out.iterdir()} == {"cell.yaml", "cell.json", "stylize.log"}
    assert read_cell(out, cell_key(cell, 1)) is None


@pytest.mark.slow
def test_a_cell_is_repeated_by_hand_from_its_recipe(tmp_path: Path) -> None:
    mask = f"{os.path.relpath(tmp_path / 'a.png')}=b.png"
    options = {"preset": "builtin", "size": 32, "iterations": (2,), "masks": (mask,)}
    cell = one_cell(tmp_path, **options)
    result = run_cell(cell, tmp_path / "cell", 1)
    assert result is not None
    assert (result.error, result.size, result.evaluations) == ("", (32, 32), 10)
    assert result == read_cell(tmp_path / "cell", cell_key(cell, 1))
    picture, losses = (tmp_path / "cell" / name for name in ("picture.png", "picture.losses.csv"))
    made, rows = picture.read_bytes(), read_losses(losses)
    picture.unlink()
    losses.unlink()
    recipe = str(tmp_path / "cell" / "cell.yaml")
    again = tmp_path / "again.png"
    assert main(["stylize", "--config", recipe, "--output", str(again)]) == 0
    assert again.read_bytes() == made
    assert main(["stylize", "--config", recipe]) == 0
    assert picture.read_bytes() == made
    assert [row.losses for row in read_losses(losses)] == [row.losses for row in rows]


@pytest.mark.slow
def test_changed_options_are_computed_again_where_that_is_asked_for(
    sweep: str,
    pictures: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    out = tmp_path / "out"
    arguments = ["sweep", sweep, *pictures, "--output", str(out), *TWO]
    assert main([*arguments, "iterations=[2]"]) == 0
    first = rows(out)
    capsys.readouterr()
    assert main([*arguments, "iterations=[3]"]) == 1
    said = capsys.readouterr().err
    assert f"{out}: holds 2 finished cells made with iterations 2 (now 3), to be replaced" in said
    assert rows(out) == first
    assert main([*arguments, "iterations=[3]", "--overwrite"]) == 0
    assert "replaced: 2 finished cells made with iterations 2 (now 3)" in caplog.text
    assert [row["evaluations"] for row in rows(out)] == ["15"] * 2
    assert first != rows(out)


@pytest.mark.slow
def test_processes_give_the_same_table(sweep: str, pictures: list[str], tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    changes = ["--set", "size=32", "iterations=[2]", "seed=1"]
    arguments = ["sweep", sweep, *pictures, *changes]
    assert main([*arguments, "--output", str(one), "--jobs", "1"]) == 0
    assert main([*arguments, "--output", str(two), "--jobs", "2"]) == 0
    assert without_times(rows(one)) == without_times(rows(two))


def test_two_sweeps_do_not_compute_the_same_cells_at_once(
    sweep: str, pictures: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    with lock_folder(out, ""):
        assert main(["sweep", sweep, *pictures, "--output", str(out), *TINY]) == 1
    assert f"{out}: another sweep is computing cells there" in capsys.readouterr().err
    assert not list(out.glob("cells/*"))


@pytest.mark.slow
def test_a_failed_cell_does_not_stop_the_others(
    tmp_path: Path, pictures: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "options: {preset: builtin}\naxes: {content_layers: [[luminance], [luminanse]]}\n",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    assert main(["sweep", str(path), *pictures, "--output", str(out), *TINY]) == 1
    assert [row["status"] for row in rows(out)] == ["done", "failed"]
    assert "did you mean luminance" in rows(out)[1]["error"]
    said = capsys.readouterr()
    assert "1 of 2 cells done, 1 failed" in said.out
    assert "Traceback" not in said.err
    assert "luminanse" in (out / "index.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_an_interrupted_sweep_goes_on(
    sweep: str, pictures: list[str], tmp_path: Path, start_process: Callable[..., Process]
) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    words = ["sweep", sweep, *pictures, "--threads", "1", "--set", "size=32", "iterations=[12]"]
    words += ["content_weight=1"]
    code = f"from impasto.scripts.main import main; raise SystemExit(main({words!r} + "
    process = start_process(
        [sys.executable, "-c", f"{code}['--output', {str(out)!r}]))"], stderr=subprocess.PIPE
    )
    end = time.monotonic() + 120
    while not list(out.glob("cells/*/cell.json")) and time.monotonic() < end:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 130
    assert b"Traceback" not in said
    statuses = [row["status"] for row in rows(out)]
    assert statuses == ["done", "missing"]
    assert main([*words, "--output", str(out)]) == 0
    assert main([*words, "--output", str(whole)]) == 0
    assert without_times(rows(out)) == without_times(rows(whole))


@pytest.fixture
def start(start_process: Callable[..., Process]) -> Start:
    """A function that starts a sweep in a process group of its own, as a terminal does."""

    def start(words: list[str]) -> Process:
        code = f"from impasto.scripts.main import main; raise SystemExit(main({words!r}))"
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return start_process([sys.executable, "-c", code], start_new_session=True, **pipes)

    return start


def children_of(process: Process) -> list[int]:
    """Return the processes that make cells."""
    found = []
    for child in psutil.Process(process.pid).children():
        with contextlib.suppress(psutil.NoSuchProcess):  # it had ended when it was asked
            if any("stylize" in word for word in child.cmdline()):
                found.append(child.pid)
    return found


def wait_for(ready: Callable[[], object]) -> None:
    end = time.monotonic() + 120
    while not ready() and time.monotonic() < end:
        time.sleep(0.02)
    assert ready()


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_what_all_processes_hear_ends_the_sweep_and_everything_is_written(
    sweep: str, pictures: list[str], tmp_path: Path, number: signal.Signals, start: Start
) -> None:
    out = tmp_path / "out"
    changes = ["--set", "size=64", "iterations=[4000]", "content_weight=1"]
    process = start(["sweep", sweep, *pictures, "--output", str(out), "--jobs", "2", *changes])
    wait_for(lambda: len(children_of(process)) == 2)  # which are just starting
    os.killpg(process.pid, number)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert b"Traceback" not in said
    assert [row["status"] for row in rows(out)] == ["missing", "missing"]
    assert (out / "index.html").is_file()


@pytest.mark.slow
def test_a_killed_process_is_a_failed_cell(
    sweep: str, pictures: list[str], tmp_path: Path, start: Start
) -> None:
    out = tmp_path / "out"
    changes = ["--set", "size=32", "iterations=[40]", "content_weight=1"]
    process = start(["sweep", sweep, *pictures, "--output", str(out), "--jobs", "2", *changes])
    wait_for(lambda: len(children_of(process)) == 2)
    os.kill(children_of(process)[0], signal.SIGKILL)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert b"Traceback" not in said
    assert sorted(row["status"] for row in rows(out)) == ["done", "failed"]
    (failed,) = (row for row in rows(out) if row["status"] == "failed")
    assert "killed by SIGKILL" in failed["error"]


@pytest.mark.slow
def test_cells_of_a_killed_sweep_end_by_themselves(
    sweep: str, pictures: list[str], tmp_path: Path, start: Start
) -> None:
    out = tmp_path / "out"
    changes = ["--set", "size=32", "iterations=[1000000]", "content_weight=1"]
    process = start(["sweep", sweep, *pictures, "--output", str(out), *changes])
    wait_for(lambda: list(out.glob("cells/*/picture.losses.csv")))
    (cell,) = children_of(process)
    process.kill()
    process.communicate(timeout=120)
    try:
        wait_for(lambda: not running(cell))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(cell, signal.SIGKILL)
    assert not list(out.glob("cells/*/picture.png*"))


def running(process: int) -> bool:
    try:
        return bool(psutil.Process(process).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize(("place", "named"), [("file", ""), ("file/out", ""), ("folder", "cells")])
def test_an_output_that_cannot_be_written_is_refused_at_once(
    sweep: str, tmp_path: Path, place: str, named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "cells").write_text("no folder", encoding="utf-8")
    pair = ["--contents", "none.png", "--styles", "none.png"]
    assert main(["sweep", sweep, *pair, "--output", str(tmp_path / place)]) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / place / named}: cannot be written (" in said
    assert "choose another --output" in said


@pytest.mark.slow
@pytest.mark.parametrize("name", sweep_names())
def test_every_shipped_sweep_runs(name: str, pictures: list[str], tmp_path: Path) -> None:
    raw = yaml.safe_load((SWEEPS / f"{name}.yaml").read_text(encoding="utf-8"))
    axes = raw.get("axes", {})
    axes |= {"iterations": [2, 3]} if "iterations" in axes else {}
    axes |= {"size": [32, 40]} if "size" in axes else {}
    if axes:  # two cells are enough
        first, *others = ((axis, [*values][:2]) for axis, values in axes.items())
        kept = [(axis, values[:1]) for axis, values in others]
        raw["axes"] = {axis: _values(axes[axis], values) for axis, values in [first, *kept]}
    path = tmp_path / f"{name}.yaml"
    path.write_text(yaml.safe_dump(raw, sort_keys=False), encoding="utf-8")
    changes = [] if "iterations" in axes else ["iterations=[2]"]
    changes += [] if "size" in axes else ["size=40"]  # ResNet50's last stage needs 32 on each side
    out = tmp_path / "out"
    words = ["sweep", str(path), *pictures, "--output", str(out)]
    assert main([*words, *(["--set", *changes] if changes else [])]) == 0
    assert {row["status"] for row in rows(out)} == {"done"}
    assert (out / "contact_sheet.png").is_file()


def _values(every: object, kept: list[object]) -> object:
    return {label: every[label] for label in kept} if isinstance(every, dict) else kept
