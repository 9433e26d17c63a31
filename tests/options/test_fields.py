"""Flat values become options and back, or an error names the option; files of weights by name."""

import re
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import Any

import numpy as np
import pytest
import yaml

import impasto.options
from impasto.options import (
    DataOptions,
    LossOptions,
    NetworkOptions,
    OptionError,
    ScheduleOptions,
    StylizeOptions,
    TrainOptions,
    TranslateOptions,
    difference,
    flatten,
    make,
)
from impasto.options.fields import sections


def test_texts_become_paths_and_one_value_a_tuple() -> None:
    options = make(
        StylizeOptions,
        {"content": "photo.jpg", "styles": "night.jpg", "iterations": 3, "masks": ["a=b", "c=d"]},
    )
    assert options.content == Path("photo.jpg")
    assert options.styles == (Path("night.jpg"),)
    assert options.iterations == (3,)
    assert options.masks == ("a=b", "c=d")


def test_every_option_class_takes_texts_for_paths_and_lists(tmp_path: Path) -> None:
    """Made directly, without make(): what is a path in the end was a text."""
    seen = 0
    for module in iter_modules(impasto.options.__path__):
        for kind in vars(import_module(f"impasto.options.{module.name}")).values():
            if not (
                isinstance(kind, type) and is_dataclass(kind) and kind.__name__.endswith("Options")
            ):
                continue
            hints = {field.name: field.type for field in fields(kind)}
            needed: dict[str, object] = {n: "a" for n, hint in hints.items() if hint is Path}
            needed |= {"action": "check"} if "action" in hints else {}
            needed |= {"names": ["a"]} if "names" in hints else {}
            paths = [name for name, hint in hints.items() if hint in (Path, Path | None)]
            for name in paths:
                text = str(tmp_path / f"{name}.png")
                try:
                    made = kind(**{**needed, name: text})
                except OptionError:  # other options must go with it; its type was right
                    continue
                assert getattr(made, name) == Path(text), (kind, name)
                seen += 1
    assert seen > 30


def test_options_made_directly_are_checked_as_those_of_make(tmp_path: Path) -> None:
    data = DataOptions(dataroot=str(tmp_path))  # type: ignore[arg-type]
    assert TrainOptions(data=data).data.dataroot == tmp_path
    made = StylizeOptions(styles=["night.jpg"], content="~/a.jpg")  # type: ignore[list-item, arg-type]
    assert made.styles == (Path("night.jpg"),)
    assert made.content == Path.home() / "a.jpg"
    with pytest.raises(OptionError, match=r"--lr: expected a number, got 'fast'"):
        ScheduleOptions(lr="fast")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match=r"--norm: expected one of .*did you mean instance"):
        NetworkOptions(norm="instanc")  # type: ignore[arg-type]


def test_a_whole_number_is_a_text_where_a_text_is_expected() -> None:
    assert make(TranslateOptions, {"output": "out", "epoch": 5}).epoch == "5"


def test_numbers_of_numpy_become_plain_ones() -> None:
    flat = {"output": "out", "long_side": np.int64(64), "stroke_scale": np.float32(1.5)}
    options = make(TranslateOptions, flat)
    assert (type(options.long_side), type(options.stroke_scale)) == (int, float)
    assert flatten(options)["long_side"] == 64


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"outptu": "out"}, "--outptu: unknown option; did you mean output?"),
        (
            {"format": "wepb"},
            "--format: expected one of png, jpg, webp, tif, npy, got wepb; did you mean webp?",
        ),
        ({"quality": "high"}, "--quality: expected a whole number, got 'high'"),
        ({"quality": 3.5}, "--quality: expected a whole number, got 3.5"),
        ({"quality": True}, "--quality: expected a whole number, got True"),
        ({"stroke_scale": "2"}, "--stroke_scale: expected a number or auto, got '2'"),
        ({"stroke_scale": "aut"}, "--stroke_scale: expected a number or auto, got 'aut'"),
        ({"stroke_scale": None}, "--stroke_scale: expected a number or auto, got null"),
        ({"overwrite": 1}, "--overwrite: expected true or false, got 1"),
        ({"epoch": True}, "--epoch: expected a text, got True"),
        ({"epoch": 3.5}, "--epoch: expected a text, got 3.5"),
        ({"model": 3}, "--model: expected a path, got 3"),
        ({"format": None}, "--format: expected one of png, jpg, webp, tif, npy, got null"),
        ({"quality": None}, "--quality: expected a whole number, got null"),
    ],
)
def test_a_value_of_another_type_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=f"^{re.escape(says)}$") as error:
        make(TranslateOptions, {"output": "out", **changes})
    assert error.value.option == next(iter(changes))


def test_a_value_in_a_section_or_in_a_list_is_looked_at_too() -> None:
    with pytest.raises(OptionError, match="--lr: expected a number, got 'fast'"):
        make(TrainOptions, {"name": "run", "lr": "fast"})
    with pytest.raises(OptionError, match="--style_weights: expected a number, got 'much'"):
        make(StylizeOptions, {"style_weights": [1, "much"]})


def test_what_is_missing_is_named() -> None:
    with pytest.raises(
        OptionError, match="--output: is missing; this option must be given"
    ) as error:
        make(TranslateOptions, {})
    assert error.value.option == "output"


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


def test_unknown_name_shows_the_nearest() -> None:
    with pytest.raises(OptionError, match=r"--lambda_C: unknown option; did you mean lambda_"):
        make(TrainOptions, {"lambda_C": 3.0})


def test_difference_shows_both_values() -> None:
    assert difference({"a": 1, "b": 2}, {"a": 1, "b": 3, "c": 4}) == {
        "b": (2, 3),
        "c": ("(absent)", 4),
    }


def test_only_options_objects_are_flattened() -> None:
    with pytest.raises(TypeError, match="expected an options object"):
        flatten(TrainOptions)


# A backbone by its name, its file or its run directory.


def test_a_name_stays_a_name() -> None:
    options = StylizeOptions(backbone="resnet50", weights=Path("file.pth"))
    assert (options.backbone, options.weights) == ("resnet50", Path("file.pth"))


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".PT"])
def test_a_file_is_the_weights(suffix: str) -> None:
    options = StylizeOptions(backbone=f"runs/own{suffix}")
    assert (options.backbone, options.weights) == ("auto", Path(f"runs/own{suffix}"))
    losses = LossOptions(lambda_perceptual=1.0, perceptual_backbone=f"own{suffix}")
    assert losses.perceptual_weights == Path(f"own{suffix}")


def test_a_run_directory_is_its_weights(tmp_path: Path) -> None:
    (tmp_path / "backbone.safetensors").touch()
    assert StylizeOptions(backbone=str(tmp_path)).weights == tmp_path / "backbone.safetensors"


def test_two_files_are_refused() -> None:
    with pytest.raises(OptionError, match=r"own.pth is a weights file, and --weights is b.pth"):
        StylizeOptions(backbone="own.pth", weights=Path("b.pth"))
    with pytest.raises(OptionError, match=r"--perceptual_weights is b.pth"):
        LossOptions(
            lambda_perceptual=1.0, perceptual_backbone="own.pth", perceptual_weights=Path("b.pth")
        )


@pytest.mark.parametrize(
    ("kind", "name"), [(ScheduleOptions, "lr"), (LossOptions, "lambda_A"), (StylizeOptions, "lr")]
)
def test_no_number_is_infinite(kind: type, name: str) -> None:
    with pytest.raises(OptionError, match=f"--{name}: inf is not .*finite"):
        kind(**{name: float("inf")})
