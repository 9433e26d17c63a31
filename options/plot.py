"""All options of `impasto plot`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from impasto.options.fields import (
    nearest_suffix,
    option_class,
    require,
    require_between,
    require_positive,
    require_range,
)

__all__ = ["FIGURE_SUFFIXES", "PlotOptions", "XAxis"]

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
XAxis = Literal["iterations", "images", "epochs"]


@option_class
class PlotOptions:
    """Draw the losses of one or several runs, from their log.jsonl."""

    headings: ClassVar[Mapping[str, str]] = {
        "output": "figure",
        "losses": "curves",
        "title": "title, table and runs",
        "width_inches": "size",
    }

    output: Path
    """file for the figure: .png, .svg or .pdf"""
    losses: Sequence[str] = ("auto",)
    """losses to draw: names in the log (G_A), kinds (G is G_A and G_B), or all; auto is G and
    D, or all losses of a run that has neither. Give this option after the runs, or with commas:
    --losses=G,cycle_A"""
    first: int | None = None
    """draw only the first FIRST iterations (default: all)"""
    x_axis: XAxis = "iterations"
    """unit of the horizontal axis: iterations (updates of the weights), images of each domain,
    or epochs"""
    smoothing: float = 0.6
    """weight of the past in the exponential moving average, per report, from 0 (no smoothing)
    to below 1; the values that were reported stay visible behind the average"""
    log_scale: bool = False
    """use a logarithmic scale for the losses"""
    title: str = ""
    """title of the figure"""
    table: Path | None = None
    """CSV file for the values before smoothing: run, loss, iteration, image, epoch, value"""
    checkpoints_dir: Path = Path("checkpoints")
    """folder in which runs are looked up by their names"""
    width_inches: float = 8.0
    """width of the figure, in inches"""
    height_inches: float | None = None
    """height of the figure, in inches (default: depends on the number of panels)"""
    dpi: int = 200
    """resolution of a .png, in pixels per inch"""

    def __post_init__(self) -> None:
        suffix = self.output.suffix.lower()
        require(
            suffix in FIGURE_SUFFIXES,
            "output",
            f"{self.output} ends in none of {', '.join(FIGURE_SUFFIXES)}"
            f"{nearest_suffix(suffix, FIGURE_SUFFIXES)}",
        )
        require(
            self.table is None or self.table.suffix.lower() == ".csv",
            "table",
            f"{self.table} does not end in .csv",
        )
        require(
            bool(self.loss_names), "losses", "expected at least one loss, for example G D, or all"
        )
        if self.first is not None:
            require_positive("first", self.first)
        require_between("smoothing", self.smoothing, 0.0, 1.0)
        for option, inches in (
            ("width_inches", self.width_inches),
            ("height_inches", self.height_inches),
        ):
            if inches is not None:
                require_between(option, inches, 1.0, 60.0)
        require_range("dpi", self.dpi, 10, 1000)

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The words in ``losses``, each once; commas separate as well."""
        words = (word.strip() for some in self.losses for word in some.split(","))
        return tuple(dict.fromkeys(word for word in words if word))
