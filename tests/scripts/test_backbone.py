"""`impasto backbone train` as a user calls it: words in, files, lines and an exit status out."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file

from impasto.runs import load_state
from impasto.scripts.main import main

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def words(tmp_path: Path, picture_folder: Callable[..., Path]) -> list[str]:
    """The words of a training of a second, and where it goes."""
    for place, folder in enumerate(("trainA", "trainB", "testA", "testB")):
        picture_folder(f"data/{folder}", count=6, seed=place)
    return [
        *("backbone", "train", "--dataroot", str(tmp_path / "data")),
        *("--classes", "monet=trainA", "photo=trainB"),
        *("--val_classes", "monet=testA", "photo=testB"),
        *("--size", "32", "--width", "0.0625", "--batch_size", "4", "--num_threads", "0"),
        *("--n_epochs", "2", "--print_freq", "4", "--save_latest_freq", "8", "--device", "cpu"),
        *where(tmp_path),
    ]


def where(tmp_path: Path) -> list[str]:
    return ["--name", "mine", "--checkpoints_dir", str(tmp_path / "runs")]


def status_of(argv: list[str]) -> int:
    try:
        return main(argv)
    except SystemExit as ended:
        return int(str(ended.code))


def test_trains_and_says_how_well_and_what_comes_next(
    words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert main(words) == 0
    printed = capsys.readouterr()
    run = tmp_path / "runs" / "mine"
    assert f"trained: {run} (24 images)" in printed.out
    assert "held out, top-1 " in printed.out
    assert f"--weights {run / 'backbone.safetensors'}" in printed.out
    assert "epoch 1/2, image 4: loss " in printed.err
    assert "loss_val" in printed.err
    assert f"watch it: {run / 'web' / 'index.html'}" in printed.err


def test_stylize_and_weights_take_what_it_leaves(
    words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert main([*words, "--max_images", "4", "--batch_norm", "true", "--display", "none"]) == 0
    weights = tmp_path / "runs" / "mine" / "backbone.safetensors"
    assert main(["weights", "check", str(weights)]) == 0
    assert "VGG19, 0.0625 times as wide" in capsys.readouterr().out
    content, style = (tmp_path / "data" / name / "00.png" for name in ("trainB", "trainA"))
    output = tmp_path / "styled.png"
    argv = ["stylize", str(content), str(style), "--weights", str(weights)]
    assert main([*argv, "--output", str(output), "--iterations", "2", "--size", "64"]) == 0
    assert np.asarray(Image.open(output)).std() > 0
    recipe = yaml.safe_load(Path(f"{output}.yaml").read_text(encoding="utf-8"))
    assert recipe["weights"] == str(weights)


def test_resume_needs_nothing_but_the_name(
    words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert main([*words, "--max_images", "8"]) == 0
    resume = ["backbone", "train", "--resume", *where(tmp_path)]
    assert main([*resume, "--lr", "0.5"]) == 2
    assert "lr: 0.001 -> 0.5" in capsys.readouterr().err
    assert main([*resume, "--max_images", "16"]) == 0
    assert "changed: max_images: 8 -> 16" in capsys.readouterr().err
    assert load_state(tmp_path / "runs" / "mine" / "state.pt")["progress"]["images"] == 16


def test_a_folder_that_was_moved_is_named_with_the_cure(
    words: list[str], tmp_path: Path, capsys: Capture
) -> None:
    assert main([*words, "--max_images", "4"]) == 0
    (tmp_path / "data").rename(tmp_path / "moved")
    resume = ["backbone", "train", "--resume", *where(tmp_path), "--max_images", "8"]
    assert main(resume) == 1
    said = capsys.readouterr().err
    assert f"{tmp_path / 'data'}" in said
    assert "no such folder; if the pictures were moved, say where they are now" in said
    assert "add --dataroot NEW --allow_changes" in said
    assert main([*resume, "--dataroot", str(tmp_path / "moved"), "--allow_changes"]) == 0


def test_the_options_of_a_run_repeat_it(words: list[str], tmp_path: Path) -> None:
    assert main(words) == 0
    stored = tmp_path / "runs" / "mine" / "options.yaml"
    assert main(["backbone", "train", "--config", str(stored), "--name", "again"]) == 0
    one, again = (
        load_file(tmp_path / "runs" / name / "backbone.safetensors") for name in ("mine", "again")
    )
    assert all(torch.equal(one[key], again[key]) for key in one)


def test_it_says_when_it_ended_early(words: list[str], capsys: Capture) -> None:
    assert main([*words, "--n_epochs", "60", "--patience", "1", "--lr", "1e-12"]) == 0
    assert "images; the held-out loss did not fall for 1 epoch)" in capsys.readouterr().out


def test_a_preset_by_name(words: list[str], capsys: Capture) -> None:
    assert status_of(["backbone", "train", "--config", "small", "--print_config"]) == 0
    shown = yaml.safe_load(capsys.readouterr().out)
    assert shown["batch_norm"] is True
    assert status_of([*words, "--config", "smal"]) == 2
    assert "did you mean small" in capsys.readouterr().err
    # Those of the other trainings are none of this one.
    assert status_of([*words, "--config", "monet2photo"]) == 2
    assert "neither a file nor a preset" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (["--dataroot", "nowhere"], 1, "nowhere/trainA"),
        (["--name", "other", "--resume"], 1, "no such run in "),
        (["--classes", "monet=trainA"], 2, "expected two classes or more"),
        (["--classes", "monet=trainA", "photo=testB"], 1, "would be used twice"),
        (["--lr", "0"], 2, "--lr: 0.0 is not above 0"),
        (["--init", "zeros"], 2, "expected one of"),
        (["--device", "cuda"], 2, "cuda is not available here"),
        (["--mixed_precision", "fp16"], 2, "fp16 needs a GPU"),
        (["--widht", "1"], 2, "did you mean --width"),
        (["--download"], 2, "can only be used with --dataset cifar100 or caltech101"),
    ],
)
def test_mistakes_have_a_message_and_a_status(
    argv: list[str], status: int, says: str, words: list[str], capsys: Capture
) -> None:
    found = status_of([*words, *argv])
    printed = capsys.readouterr().err
    assert (found, says in printed) == (status, True), printed
    assert "Traceback" not in printed


def test_a_data_set_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    for dataset in ("cifar100", "caltech101"):
        argv = ["backbone", "train", "--dataset", dataset, "--dataroot", str(tmp_path)]
        assert main([*argv, *where(tmp_path)]) == 1
        assert "Add --download to fetch" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        ([], 2, "usage: impasto backbone ACTION"),
        (["--help"], 0, "usage: impasto backbone ACTION"),
        (["trian"], 2, "unknown action 'trian'; did you mean train?"),
        (["train", "--help"], 0, "--val_classes"),
    ],
)
def test_help(argv: list[str], status: int, says: str, capsys: Capture) -> None:
    assert status_of(["backbone", *argv]) == status
    printed = capsys.readouterr()
    assert says in printed.out + printed.err
