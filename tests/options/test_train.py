from pathlib import Path
from typing import Any

import pytest
import yaml

from impasto.options import (
    DataOptions,
    OptionError,
    TrainOptions,
    difference,
    flatten,
    make,
)
from impasto.options.config import preset_names, read_config

PRESETS = Path(__file__).parents[2] / "options" / "presets"

# options/train_options.py and base_options.py of the reference implementation.
REFERENCE_DEFAULTS = {
    "lr": 0.0002,
    "beta1": 0.5,
    "beta2": 0.999,
    "n_epochs": 100,
    "n_epochs_decay": 100,
    "batch_size": 1,
    "pool_size": 50,
    "load_size": 286,
    "crop_size": 256,
    "preprocess": "resize_and_crop",
    "flip": True,
    "lambda_A": 10.0,
    "lambda_B": 10.0,
    "lambda_identity": 0.5,
    "gan_mode": "lsgan",
    "norm": "instance",
    "dropout": False,
    "netG": "resnet_9blocks",
    "netD": "basic",
    "ngf": 64,
    "ndf": 64,
    "lr_policy": "linear",
    "lr_decay_iters": 50,
    "num_threads": 4,
    "direction": "AtoB",
    "init_type": "normal",
    "init_gain": 0.02,
    "upsample": "deconv",
    "print_freq": 100,
    "display_freq": 400,
    "save_latest_freq": 5000,
    "save_epoch_freq": 5,
}


def preset(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((PRESETS / f"{name}.yaml").read_text(encoding="utf-8"))
    return loaded


def test_defaults_are_the_reference_s() -> None:
    flat = flatten(TrainOptions())
    assert {name: flat[name] for name in REFERENCE_DEFAULTS} == REFERENCE_DEFAULTS


def test_monet2photo_is_the_defaults_spelled_out() -> None:
    assert make(TrainOptions, preset("monet2photo")) == TrainOptions()


def test_batch2_differs_in_the_batch_alone() -> None:
    changes = difference(preset("monet2photo"), preset("monet2photo_batch2"))
    assert changes == {"batch_size": (1, 2)}


def test_a_former_name_is_the_preset_that_had_it() -> None:
    assert read_config("monet_strokes", presets=".") == preset("monet")
    assert "monet_strokes" not in preset_names()


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid(name: str) -> None:
    assert isinstance(make(TrainOptions, preset(name)), TrainOptions)


@pytest.mark.parametrize(
    ("changes", "option"),
    [
        ({"lr": 0.0}, "lr"),
        ({"lr": float("nan")}, "lr"),
        ({"beta1": 1.0}, "beta1"),
        ({"batch_size": 0}, "batch_size"),
        ({"num_threads": -1}, "num_threads"),
        ({"crop_size": 300}, "crop_size"),
        ({"crop_size": 250}, "crop_size"),
        ({"crop_size": 16, "load_size": 16}, "crop_size"),
        ({"netG": "unet_256", "crop_size": 128, "load_size": 128}, "crop_size"),
        ({"preprocess": "none", "batch_size": 2}, "batch_size"),
        ({"preprocess": "none", "gan_mode": "wgangp"}, "gan_mode"),
        ({"folder_A": "a"}, "folder_B"),
        ({"folder_B": "b"}, "folder_A"),
        ({"lambda_A": -1.0}, "lambda_A"),
        ({"pool_size": -1}, "pool_size"),
        ({"n_epochs": 0, "n_epochs_decay": 0}, "n_epochs"),
        ({"max_images": 0}, "max_images"),
        ({"max_dataset_size": 0}, "max_dataset_size"),
        ({"ema_decay": 1.0}, "ema_decay"),
        ({"name": "a/b"}, "name"),
        ({"name": ".."}, "name"),
        ({"name": ""}, "name"),
        ({"seed": -1}, "seed"),
        ({"print_freq": 0}, "print_freq"),
        ({"n_layers_D": 0}, "n_layers_D"),
        ({"batch_size_D": -1}, "batch_size_D"),
        ({"batch_size_D": 3, "batch_size": 4}, "batch_size_D"),
        ({"batch_size_D": 4, "preprocess": "none"}, "batch_size_D"),
        ({"batch_size_D": 4, "pool_size": 0}, "batch_size_D"),
        ({"diffaugment": ["color", "blur"]}, "diffaugment"),
    ],
)
def test_bad_values_name_their_option(changes: dict[str, Any], option: str) -> None:
    with pytest.raises(OptionError) as caught:
        make(TrainOptions, changes)
    assert caught.value.option == option
    assert caught.value.exit_status == 2
    assert str(caught.value).startswith(f"--{option}: ")


def test_a_discriminator_judges_the_batch_alone_or_at_least_the_batch() -> None:
    for judged in (0, 4, 5):
        make(TrainOptions, {"batch_size": 4, "batch_size_D": judged})
    with pytest.raises(OptionError, match=r"3 is below --batch_size 4.*expected 0.*at least 4"):
        make(TrainOptions, {"batch_size": 4, "batch_size_D": 3})


def test_direction_swaps_the_folders() -> None:
    forward = DataOptions(dataroot=Path("root"))
    backward = DataOptions(dataroot=Path("root"), direction="BtoA")
    assert forward.folders == (Path("root/trainA"), Path("root/trainB"))
    assert backward.folders == forward.folders[::-1]


@pytest.mark.parametrize(
    ("netD", "n_layers_D", "smallest"), [("basic", 3, 24), ("n_layers", 5, 96), ("pixel", 3, 8)]
)
def test_smallest_crop(netD: str, n_layers_D: int, smallest: int) -> None:
    size = {"load_size": 96, "crop_size": 96, "netD": netD, "n_layers_D": n_layers_D}
    assert make(TrainOptions, size).networks.smallest == smallest
