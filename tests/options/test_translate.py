"""Options of `impasto translate`: refusals."""

from typing import Any

import pytest

from impasto.options import OptionError, TranslateOptions, make


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
def test_bad_values_name_their_option(changes: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"--{next(iter(changes))}: "):
        make(TranslateOptions, {"model": "m", "output": "o", **changes})
