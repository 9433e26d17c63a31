"""`impasto train` as a user calls it: words in, files, lines and an exit status out."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from impasto.options import TrainOptions, flatten
from impasto.runs import RunDirectory, load_state
from impasto.scripts.main import main

Options = Callable[..., TrainOptions]


@pytest.fixture
def config(tiny_options: Options, tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(flatten(tiny_options())), encoding="utf-8")
    return file


def run_directory(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints" / "tiny"


def test_trains_and_says_what_comes_next(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--config", str(config), "--max_images", "6"]) == 0
    printed = capsys.readouterr()
    assert f"trained: {run_directory(tmp_path)} (6 images)" in printed.out
    A, B = (tmp_path / "data" / name for name in ("trainA", "trainB"))
    assert f"from {A} to {B}: impasto translate PHOTOS --model {run_directory(tmp_path)} " in (
        printed.out
    )
    assert f"from {B} to {A}: " in printed.out
    assert printed.out.rstrip().endswith("--direction BtoA --output DIR")
    assert "stopped at --max_images; to train for all epochs, add --resume" in printed.out
    assert "epoch 1/3, image 3: D_A " in printed.err
    assert " img/s, waited " in printed.err
    assert "\npictures: 5 of A, 7 of B\n" in printed.err
    assert "\ntraining: 3 epochs of 7 images, to image 6\n" in printed.err
    weights = torch.load(run_directory(tmp_path) / "latest_net_D_A.pth", weights_only=True)
    millions = sum(each.numel() for each in weights.values()) / 1e6
    assert f" D_A {millions:.3g}" in printed.err


def test_the_page_is_named_where_it_is_the_only_display(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--config", str(config), "--max_images", "2", "--display", "page"]
    assert main(words) == 0
    page = run_directory(tmp_path) / "web" / "index.html"
    assert page.is_file()
    assert capsys.readouterr().err.splitlines() == [f"watch it: {page}"]


def test_resume_needs_nothing_but_the_name(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--checkpoints_dir", str(tmp_path / "checkpoints"), "--name", "tiny"]
    assert main(["train", "--config", str(config), "--max_images", "6"]) == 0
    assert main(["train", "--resume", *where, "--max_images", "9"]) == 0
    assert "changed: max_images: 6 -> 9" in capsys.readouterr().err
    assert load_state(run_directory(tmp_path) / "state.pt")["progress"]["images"] == 9
    assert main(["train", "--resume", *where, "--max_images", "21"]) == 0  # all three epochs
    assert "stopped at --max_images" not in capsys.readouterr().out


def test_a_perceptual_loss_through_a_network_of_gatys_resumes(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--checkpoints_dir", str(tmp_path / "checkpoints"), "--name", "tiny"]
    seen = ["--perceptual_backbone", "random", "--perceptual_layers", "relu1_2", "relu2_1"]
    words = ["train", "--config", str(config), "--max_images", "3", "--lambda_perceptual", "2"]
    assert main([*words, *seen]) == 0
    assert "perceptual loss: random (no file), relu1_2 relu2_1" in capsys.readouterr().out
    assert main(["train", "--resume", *where, "--max_images", "6"]) == 0
    printed = capsys.readouterr()
    assert "perceptual loss: random (no file), relu1_2 relu2_1" in printed.out
    assert " perceptual_A " in printed.err
    assert main(["train", "--resume", *where, "--perceptual_layers", "relu1_1"]) == 2
    assert "perceptual_layers: " in capsys.readouterr().err


def test_a_training_starts_from_a_run_and_needs_it_no_more(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", "--config", str(config), "--max_images", "2"]) == 0
    capsys.readouterr()
    checkpoints = str(tmp_path / "checkpoints")
    tuned = ["--name", "tuned", "--checkpoints_dir", checkpoints, "--max_images"]
    # No option of the architecture is typed; the defaults are those of the reference.
    folders = ["--dataroot", str(tmp_path / "data"), "--load_size", "28", "--crop_size", "24"]
    small = ["--num_threads", "0", "--device", "cpu", "--n_epochs", "1", "--n_epochs_decay", "1"]
    start = ["--init_from", str(run_directory(tmp_path)), "--init_direction", "BtoA"]
    words = ["train", *folders, *small, *start, *tuned, "3"]
    assert main([*words, "--ngf", "64"]) == 2
    printed = capsys.readouterr()
    assert "--ngf: 64, but " in printed.err
    assert " has 2; leave it out, or start from another model" in printed.err
    assert not (tmp_path / "checkpoints" / "tuned").exists()
    assert main(words) == 0
    printed = capsys.readouterr()
    assert f"G_A: {run_directory(tmp_path)} (G_B), resnet, 6 blocks, 2 filters" in printed.out
    assert "netG: resnet_9blocks -> resnet_6blocks, ngf: 64 -> 2, ndf: 64 -> 2" in printed.out
    assert "D_B starts from the model's weights" in printed.out
    shutil.rmtree(run_directory(tmp_path))
    assert main(["train", "--resume", *tuned, "5"]) == 0
    printed = capsys.readouterr()
    assert "starts from" not in printed.out
    assert load_state(tmp_path / "checkpoints" / "tuned" / "state.pt")["progress"]["images"] == 5
    assert main(["train", "--resume", "--init_from", "monet", *tuned, "6"]) == 2
    assert "a run that is resumed keeps its networks" in capsys.readouterr().err


def test_an_unknown_perceptual_layer_is_named(
    config: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--config", str(config), "--lambda_perceptual", "1"]
    assert main([*words, "--perceptual_layers", "relu3_33"]) == 2
    assert "--perceptual_layers: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("device: cqu", "device: expected one of auto, cpu, cuda, mps, got cqu; did you mean cpu?"),
        (
            "norm: instanc",
            "norm: expected one of instance, affine, batch, layer, none, got instanc; did",
        ),
        (
            "gan_mode: lsgann",
            "gan_mode: expected one of lsgan, vanilla, wgangp, hinge, got lsgann; did",
        ),
        ("netG: null", "netG: expected one of resnet_9blocks"),
        ("lr: abc", "lr: expected a number, got 'abc'"),
        ("lr: -1", "lr: -1.0 is not"),
        ("seed: -1", "seed: -1 is not between 0 and 9223372036854775807"),
        ("diffaugment: 3", "diffaugment: expected one or more of color, translation, cutout"),
        ("dataroot: {a: 1}", "dataroot: expected a path, got {'a': 1}"),
    ],
)
def test_an_edited_value_of_the_run_is_named_with_its_file(
    tiny_options: Options,
    capsys: pytest.CaptureFixture[str],
    line: str,
    says: str,
) -> None:
    options = tiny_options()
    run = options.run.checkpoints_dir / "tiny"
    RunDirectory(run).create()
    stored = {**flatten(options), **yaml.safe_load(line)}
    (run / "options.yaml").write_text(yaml.safe_dump(stored), encoding="utf-8")
    with pytest.raises(SystemExit, match="2"):
        main(["train", "--resume", "--name", "tiny", "--checkpoints_dir", str(run.parent)])
    assert f"{run / 'options.yaml'}: {says}" in capsys.readouterr().err


def test_resume_with_another_option_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--checkpoints_dir", str(tmp_path / "checkpoints"), "--name", "tiny"]
    assert main(["train", "--config", str(config), "--max_images", "4"]) == 0
    assert main(["train", "--resume", *where, "--lr", "0.5"]) == 2
    assert "lr: 0.0002 -> 0.5" in capsys.readouterr().err
    assert main(["train", "--resume", *where, "--lr", "1e-5", "--allow_changes"]) == 0


def test_changes_are_told_once_it_begins_as_they_are_given(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--checkpoints_dir", str(tmp_path / "checkpoints"), "--name", "tiny"]
    assert main(["train", "--config", str(config), "--max_images", "4"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", *where, "--lr", "0.5", "--max_images", "null"]) == 2
    refused = capsys.readouterr().err
    assert refused.count("lr: 0.0002 -> 0.5") == 1
    assert "changed: " not in refused
    assert main(["train", "--resume", *where, "--max_images", "null"]) == 0
    assert "changed: max_images: 4 -> null\n" in capsys.readouterr().err


def test_a_complete_run_says_so_and_what_to_raise(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--checkpoints_dir", str(tmp_path / "checkpoints"), "--name", "tiny"]
    assert main(["train", "--config", str(config)]) == 0
    assert "already complete" not in capsys.readouterr().out
    assert main(["train", "--resume", *where]) == 0
    printed = capsys.readouterr().out
    assert "already complete: " in printed
    assert "(21 images), nothing was trained; to train on, raise --n_epochs_decay\n" in printed
    assert "trained: " not in printed.replace("already", "")
    assert main(["train", "--resume", *where, "--n_epochs_decay", "2"]) == 0
    assert "trained: " in capsys.readouterr().out


def test_a_run_that_is_not_there_lists_those_that_are(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "checkpoints"
    assert main(["train", "--resume", "--checkpoints_dir", str(folder)]) == 1
    assert f"experiment_name: no such run in {folder}, which holds none" in capsys.readouterr().err
    assert main(["train", "--config", str(config), "--max_images", "1"]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", "--checkpoints_dir", str(folder)]) == 1
    assert f"no such run in {folder}; there are tiny (--name)" in capsys.readouterr().err
    assert main(["train", "--resume", "--checkpoints_dir", str(folder), "--name", "tini"]) == 1
    assert "did you mean tiny?" in capsys.readouterr().err


def test_a_folder_that_was_moved_is_named_with_the_cure(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ["--checkpoints_dir", str(tmp_path / "checkpoints"), "--name", "tiny"]
    assert main(["train", "--config", str(config), "--max_images", "1"]) == 0
    (tmp_path / "data").rename(tmp_path / "moved")
    resume = ["train", "--resume", *where, "--max_images", "2"]
    assert main(resume) == 1
    said = capsys.readouterr().err
    assert "trainA: no such folder; if the pictures were moved" in said
    assert "add --dataroot NEW --allow_changes" in said
    assert main([*resume, "--dataroot", str(tmp_path / "moved"), "--allow_changes"]) == 0


@pytest.mark.slow
def test_a_run_goes_on_from_another_folder_and_where_it_was_moved_to(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """As if nobody had gone anywhere: with the same weights, and no other options."""
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    (tmp_path / "data").rename(project / "data")
    first = ["train", "--config", str(config), "--checkpoints_dir", "runs", "--dataroot", "data"]
    monkeypatch.chdir(project)
    assert main([*first, "--name", "whole", "--max_images", "6"]) == 0
    assert main([*first, "--max_images", "2"]) == 0
    options = (project / "runs" / "tiny" / "options.yaml").read_text(encoding="utf-8")
    monkeypatch.chdir(elsewhere)
    resume = ["train", "--resume", "--checkpoints_dir", "../project/runs", "--name", "tiny"]
    capsys.readouterr()
    assert main([*resume, "--max_images", "4"]) == 0
    said = capsys.readouterr().err
    assert f"note: relative paths of this run are those in {project}, where it was" in said
    assert "changed: max_images: 2 -> 4" in said
    assert said.count("changed: ") == 1
    now = (project / "runs" / "tiny" / "options.yaml").read_text(encoding="utf-8")
    assert now == options.replace("max_images: 2", "max_images: 4")
    # The same place in other words is no other place.
    same = ["--max_images", "5", "--dataroot", str(project / "data")]
    assert main([*resume, *same]) == 0
    project.rename(tmp_path / "moved")
    resume[3] = str(tmp_path / "moved" / "runs")
    assert main([*resume, "--max_images", "6"]) == 0
    tiny, whole = (
        torch.load(tmp_path / "moved" / "runs" / name / "latest_net_G_A.pth", weights_only=True)
        for name in ("tiny", "whole")
    )
    assert all(torch.equal(tiny[name], whole[name]) for name in whole)


def test_a_relative_folder_that_is_gone_is_named_with_the_cure(
    config: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    project, elsewhere = tmp_path / "project", tmp_path / "elsewhere"
    for folder in (project, elsewhere):
        folder.mkdir()
    (tmp_path / "data").rename(project / "data")
    where = ["--checkpoints_dir", "runs", "--name", "tiny"]
    first = ["train", "--config", str(config), *where, "--dataroot", "data"]
    monkeypatch.chdir(project)
    assert main([*first, "--max_images", "6"]) == 0
    (project / "data").rename(elsewhere / "pictures")
    monkeypatch.chdir(elsewhere)
    resume = ["train", "--resume", "--checkpoints_dir", "../project/runs", "--name", "tiny"]
    capsys.readouterr()
    assert main([*resume, "--max_images", "7"]) == 1
    said = capsys.readouterr().err
    assert f"{project}/data/trainA: no such folder; if the pictures were moved, say" in said
    assert "add --dataroot NEW --allow_changes" in said
    moved = ["--max_images", "7", "--dataroot", "pictures", "--allow_changes"]
    assert main([*resume, *moved]) == 0
    # What was named here is found from everywhere.
    monkeypatch.chdir(project)
    assert main(["train", "--resume", *where, "--max_images", "8"]) == 0
    # An absolute place of the run does not tell where that was.
    where[1] = str(tmp_path / "runs")
    monkeypatch.chdir(elsewhere)
    data = ["--folder_A", "pictures/trainA", "--folder_B", "pictures/trainB"]
    assert main(["train", "--config", str(config), *where, *data, "--max_images", "1"]) == 0
    monkeypatch.chdir(project)
    capsys.readouterr()
    assert main(["train", "--resume", *where]) == 1
    said = capsys.readouterr().err
    assert f"pictures/trainA: no such folder in {project}; go on in the folder that the" in said
    assert "add --folder_A NEW --folder_B NEW --allow_changes" in said


def test_a_dataroot_without_an_effect_is_refused(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    A, B = (str(tmp_path / "data" / name) for name in ("trainA", "trainB"))
    where = ["--checkpoints_dir", str(tmp_path / "checkpoints"), "--name", "tiny"]
    words = ["train", "--config", str(config), "--folder_A", A, "--folder_B", B]
    assert main([*words, "--dataroot", str(tmp_path / "data")]) == 2
    assert "--dataroot: has no effect, since the pictures" in capsys.readouterr().err
    assert main([*words, "--max_images", "1"]) == 0
    resume = ["train", "--resume", *where, "--dataroot", str(tmp_path / "data"), "--max_images"]
    assert main([*resume, "2"]) == 2
    nulls = ["--folder_A", "null", "--folder_B", "null", "--allow_changes"]
    assert main([*resume, "2", *nulls]) == 0


@pytest.mark.parametrize(
    ("argv", "status", "says"),
    [
        (["--dataroot", "nowhere"], 1, "trainA"),
        (["--name", "other", "--resume"], 1, "checkpoints/other: no such run in "),
        (["--lr", "0"], 2, "--lr: 0.0 is not above 0"),
        (["--device", "cuda"], 2, "cuda is not available here"),
        (["--mixed_precision", "fp16"], 2, "fp16 needs a GPU"),
        (
            ["--config", "monet_smal"],
            2,
            "a preset; did you mean monet_small",
        ),
    ],
)
def test_mistakes_have_a_message_and_a_status(
    argv: list[str],
    status: int,
    says: str,
    config: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        found = main(["train", "--config", str(config), *argv])
    except SystemExit as ended:
        found = int(str(ended.code))
    printed = capsys.readouterr().err
    assert (found, says in printed) == (status, True), printed
    assert "Traceback" not in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_signals_save_and_say_how_to_go_on(
    number: signal.Signals,
    status: int,
    config: Path,
    tmp_path: Path,
    start_process: Callable[..., "subprocess.Popen[str]"],
) -> None:
    words = ["train", "--config", str(config), "--n_epochs", "1000", "--num_threads", "1"]
    process = start_process(
        [sys.executable, "-m", "impasto.scripts.main", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "image 12:" in line:
            break
    os.killpg(process.pid, number)  # as a terminal does: the loading process gets it too
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    assert "Continue with: impasto train --resume --name tiny" in printed
    assert "Traceback" not in errors
    state = load_state(run_directory(tmp_path) / "state.pt")
    assert state["progress"]["images"] >= 12


def test_a_full_disk_keeps_the_last_good_state(
    config: Path, mount_disk: Callable[[str], Path], capsys: pytest.CaptureFixture[str]
) -> None:
    disk = mount_disk("6m")
    words = ["train", "--config", str(config), "--checkpoints_dir", str(disk)]
    assert main([*words, "--max_images", "4"]) == 0
    state, filler = disk / "tiny" / "state.pt", disk / "filler"
    before = state.read_bytes()
    fill(filler)
    assert main([*words, "--resume"]) == 1
    assert "tiny: cannot be written (No space left on device)" in capsys.readouterr().err
    os.truncate(filler, filler.stat().st_size - 65536)  # enough for the log, not for a state
    assert main([*words, "--resume"]) == 1
    printed = capsys.readouterr().err
    assert "tiny: cannot save (No space left on device)" in printed
    assert "The last good state, at image 4, is kept" in printed
    assert state.read_bytes() == before
    assert not list(state.parent.glob(".impasto-*"))
    filler.unlink()
    assert main([*words, "--resume", "--max_images", "12"]) == 0


def test_a_read_only_place_is_refused(
    config: Path, read_only_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", "--config", str(config), "--checkpoints_dir", str(read_only_disk)]
    assert main(words) == 1
    assert "cannot be written (Read-only file system)" in capsys.readouterr().err


def fill(path: Path) -> None:
    """Write until the disk is full."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 65536):
            pass
