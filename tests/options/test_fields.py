"""Flat values from a program become options, or an error that names the option."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from impasto.options import (
    OptionError,
    StylizeOptions,
    TrainOptions,
    TranslateOptions,
    flatten,
    make,
)


def test_texts_become_paths_and_one_value_a_tuple() -> None:
    options = make(
        StylizeOptions,
        {"content": "photo.jpg", "styles": "night.jpg", "iterations": 3, "masks": ["a=b", "c=d"]},
    )
    assert options.content == Path("photo.jpg")
    assert options.styles == (Path("night.jpg"),)
    assert options.iterations == (3,)
    assert options.masks == ("a=b", "c=d")


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
            "--format: expected one of png, jpg, webp, got wepb; did you mean webp?",
        ),
        ({"quality": "high"}, "--quality: expected a whole number, got 'high'"),
        ({"quality": 3.5}, "--quality: expected a whole number, got 3.5"),
        ({"quality": True}, "--quality: expected a whole number, got True"),
        ({"stroke_scale": "2"}, "--stroke_scale: expected a number, got '2'"),
        ({"overwrite": 1}, "--overwrite: expected true or false, got 1"),
        ({"epoch": 3}, "--epoch: expected a text, got 3"),
        ({"model": 3}, "--model: expected a path, got 3"),
        ({"format": None}, "--format: expected one of png, jpg, webp, got None"),
        ({"quality": None}, "--quality: expected a whole number, got None"),
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
    with pytest.raises(OptionError, match="--output: is missing, and has no default") as error:
        make(TranslateOptions, {})
    assert error.value.option == "output"
