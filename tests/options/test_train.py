from pathlib import Path
from typing import Any

import pytest
import yaml

from impasto.options import (
    DataOptions,
    OptionError,
    TrainOptions,
    TranslateOptions,
    difference,
    flatten,
    make,
)
from impasto.options.command_line import preset_names
from impasto.options.fields import sections

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


@pytest.mark.parametrize("name", preset_names())
def test_presets_are_valid(name: str) -> None:
    assert isinstance(make(TrainOptions, preset(name)), TrainOptions)


def test_flat_and_nested_form_are_one() -> None:
    options = make(TrainOptions, {"lr": 1e-3, "folder_A": "a", "folder_B": "b", "ngf": 8})
    assert options.schedule.lr == 1e-3
    assert options.data.folder_A == Path("a")
    assert options.networks.ngf == 8
    assert make(TrainOptions, flatten(options)) == options
    assert yaml.safe_load(yaml.safe_dump(flatten(options))) == flatten(options)


def test_names_are_unique_across_sections() -> None:
    options = TrainOptions()
    parts = [getattr(options, name) for name in sections(TrainOptions)]
    assert len(flatten(options)) == sum(len(flatten(part)) for part in parts)


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


def test_unknown_name_shows_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"--lambda_C: unknown option; did you mean lambda_"):
        make(TrainOptions, {"lambda_C": 3.0})


@pytest.mark.parametrize(
    "changes",
    [
        {"quality": 0},
        {"quality": 101},
        {"long_side": 0},
        {"stroke_scale": 0.5},
        {"stroke_scale": float("nan")},
        {"stroke_scale": float("inf")},
        {"epoch": "last"},
        {"grid_bend_px": 4.0},
        {"grid_bend_px": -1.0},
    ],
)
def test_bad_translate_values(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"--{next(iter(changes))}: "):
        make(TranslateOptions, {"model": "m", "output": "o", **changes})


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


def test_difference_shows_both_values() -> None:
    assert difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == {
        "b": (2, 3),
        "c": ("(absent)", 4),
    }


def test_only_options_objects_are_flattened() -> None:
    with pytest.raises(TypeError, match="expected an options object"):
        flatten(TrainOptions)
