"""Options of `impasto translate`: refusals."""

from pathlib import Path
from typing import Any

import pytest

from impasto.options import ModelsOptions, OptionError, TranslateOptions, make


@pytest.mark.parametrize(
    "changes",
    [
        {"quality": 0},
        {"quality": 101},
        {"long_side": 0},
        {"stroke_scale": 0.5},
        {"stroke_scale": float("nan")},
        {"stroke_scale": float("inf")},
        {"strength": -0.1},
        {"strength": 1.1},
        {"strength": float("nan")},
        {"sheet": "sheet.gif"},
        {"sheet": "sheet"},
        {"sheet_cell_px": 0},
        {"epoch": "last"},
        {"grid_bend_px": 4.0},
        {"grid_bend_px": -1.0},
    ],
)
def test_bad_values_name_their_option(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"--{next(iter(changes))}: "):
        make(TranslateOptions, {"model": "m", "output": "o", **changes})


def test_results_lie_in_the_output_or_in_a_folder_named_after_the_sheet() -> None:
    assert make(TranslateOptions, {"output": "o", "sheet": "a/s.jpg"}).folder == Path("o")
    assert make(TranslateOptions, {"sheet": "a/s.jpg"}).folder == Path("a/s")
    with pytest.raises(OptionError, match="--output: is missing"):
        make(TranslateOptions, {})


def test_a_photograph_of_thumbnails_needs_their_sheet() -> None:
    with pytest.raises(OptionError, match="--photo: is for the contact sheet"):
        ModelsOptions(photo=Path("a.jpg"))
    with pytest.raises(OptionError, match=r"--sheet: a.jpgg ends in none of .*did you mean"):
        ModelsOptions(sheet=Path("a.jpgg"))
