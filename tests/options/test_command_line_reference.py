"""Every option of the reference is ours, or is answered; answers name options that there are."""

import re
from pathlib import Path

import pytest

from impasto.options import TrainOptions, TranslateOptions
from impasto.options.command_line import REFERENCE_GUIDE, REFERENCE_OPTIONS, CommandParser
from impasto.options.fields import types_of
from impasto.scripts.main import main

GUIDE = Path(__file__).parents[2] / "docs" / "from_the_reference.md"
OURS = {"impasto train": TrainOptions, "impasto translate": TranslateOptions}
# The options of pytorch-CycleGAN-and-pix2pix, as its option classes declare them: base and train,
# with those of its CycleGAN model; then base and test.
BASE = """
    dataroot name gpu_ids checkpoints_dir model input_nc output_nc ngf ndf netD netG n_layers_D norm
    init_type init_gain no_dropout dataset_mode direction serial_batches num_threads batch_size
    load_size crop_size max_dataset_size preprocess no_flip display_winsize epoch load_iter verbose
    suffix use_wandb wandb_project_name
"""
TRAIN = """
    display_freq display_ncols display_id display_server display_env display_port update_html_freq
    print_freq no_html save_latest_freq save_epoch_freq save_by_iter continue_train epoch_count
    phase n_epochs n_epochs_decay beta1 lr gan_mode pool_size lr_policy lr_decay_iters lambda_A
    lambda_B lambda_identity niter niter_decay
"""
TEST = "results_dir aspect_ratio phase eval num_test model_suffix"
# Of trainings, and in the base of both all the same.
NO_TEST = {"ndf", "netD", "n_layers_D", "init_type", "init_gain", "max_dataset_size"}
NO_TEST |= {"use_wandb", "wandb_project_name"}


@pytest.mark.parametrize(
    ("command", "names"),
    [
        ("impasto train", {*BASE.split(), *TRAIN.split()}),
        ("impasto translate", {*BASE.split(), *TEST.split()} - NO_TEST),
    ],
)
def test_every_option_is_ours_or_is_answered(command: str, names: set[str]) -> None:
    assert names <= {*types_of(OURS[command]), *REFERENCE_OPTIONS[command]}


@pytest.mark.parametrize("command", list(OURS))
def test_answers_name_options_that_there_are(command: str) -> None:
    known = {*types_of(OURS[command]), "resume"}
    for name, answer in REFERENCE_OPTIONS[command].items():
        assert name not in known
        assert set(re.findall(r"--(\w+)", answer)) <= known, name


def test_commands_of_the_reference_get_all_their_answers_at_once(
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = "--dataroot x --name y --model cycle_gan --gpu_ids -1 --continue_train --no_flip"
    with pytest.raises(SystemExit) as ended:
        main(["train", *words.split(), "--display_id=-1", "--max_dataset_size", "inf"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "did you mean" not in said
    for line in (
        "--model: leave it out",
        "--gpu_ids: is --device here",
        "--continue_train: is --resume here",
        "--no_flip: is --flip false here",
        "--display_id: leave it out",
        f"{REFERENCE_GUIDE} has a table",
    ):
        assert line in said
    with pytest.raises(SystemExit):
        main(["translate", "--dataroot", "x", "--name", "y", "--results_dir", "z"])
    said = capsys.readouterr().err
    assert "--dataroot: is an argument here" in said
    assert "--results_dir: is --output here" in said


def test_the_guide_lists_what_is_answered() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    named = set(re.findall(r"--(\w+)", text))
    assert str(GUIDE).endswith(REFERENCE_GUIDE)
    for command in OURS:
        assert {*REFERENCE_OPTIONS[command]} <= named


def test_other_commands_answer_as_ever(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        CommandParser("it", TrainOptions, description="").parse(["--no_flip"])
    assert "it: error: unknown option --no_flip; did you mean --flip?" in capsys.readouterr().err
