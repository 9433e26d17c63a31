from pathlib import Path
from typing import Any

import pytest

from impasto.options import OptionError, PlotOptions, flatten, make


def options(**changes: Any) -> PlotOptions:
    return PlotOptions(**{"output": Path("losses.png"), **changes})


def test_losses_are_words_or_commas_each_once() -> None:
    assert options().loss_names == ("auto",)
    assert options(losses=["G_A,D_A", "cycle", "G_A"]).loss_names == ("G_A", "D_A", "cycle")


@pytest.mark.parametrize("name", ["a.png", "a.SVG", "deep/er/a.pdf"])
def test_the_ending_of_the_figure_is_its_kind(name: str) -> None:
    assert options(output=Path(name)).output == Path(name)


def test_flat_values_make_the_same_options() -> None:
    some = options(losses=("idt",), table=Path("a.csv"), first=1500, height_inches=4.0)
    assert make(PlotOptions, flatten(some)).loss_names == ("idt",)
    assert make(PlotOptions, flatten(some)).table == Path("a.csv")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"output": Path("a.gif")}, r"--output: a.gif ends in none of .png, .svg, .pdf"),
        ({"output": Path("a.pngg")}, "did you mean .png"),
        ({"output": Path("losses")}, "--output: losses ends in none of"),
        ({"table": Path("a.xlsx")}, "--table: a.xlsx does not end in .csv"),
        ({"losses": ()}, "--losses: expected at least one loss"),
        ({"losses": (" ,",)}, "--losses: expected at least one loss"),
        ({"first": 0}, "--first: 0 is not above 0"),
        ({"smoothing": 1.0}, "--smoothing: 1.0 is not from 0.0 to below 1.0"),
        ({"smoothing": float("nan")}, "--smoothing: nan"),
        ({"width_inches": 0.5}, "--width_inches: 0.5"),
        ({"height_inches": 100.0}, "--height_inches: 100.0"),
        ({"dpi": 5000}, "--dpi: 5000 is not between 10 and 1000"),
    ],
)
def test_mistakes_name_the_option(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        options(**changes)
