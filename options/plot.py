"""All options of `impasto plot`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from impasto.options.fields import nearest, require, require_between, require_positive

__all__ = ["FIGURE_SUFFIXES", "PlotOptions", "XAxis"]

FIGURE_SUFFIXES = (".png", ".svg", ".pdf")
XAxis = Literal["iterations", "images", "epochs"]


@dataclass(frozen=True, kw_only=True)
class PlotOptions:
    """Draw the losses of one or several runs, from their log.jsonl."""

    output: Path
    """file for the figure; its ending says which kind: .png, .svg or .pdf"""
    losses: Sequence[str] = ("auto",)
    """losses to draw: as the log names them (G_A), both of a kind (G), or all; auto is G and D,
    and all of a run that has neither"""
    first: int | None = None
    """draw only the first so many iterations (updates)"""
    x_axis: XAxis = "iterations"
    """what is counted from left to right: iterations (updates), images of each domain, epochs"""
    smoothing: float = 0.6
    """weight that the running average gives to what came before, per report; 0 does not smooth.
    What was reported stays visible behind it"""
    log_scale: bool = False
    """logarithmic scale of the losses"""
    title: str = ""
    """heading of the figure"""
    table: Path | None = None
    """file for the numbers, as .csv: run, loss, iteration, image, epoch, value (not smoothed)"""
    checkpoints_dir: Path = Path("checkpoints")
    """folder in which runs are looked up by name"""
    width_inches: float = 8.0
    """width of the figure"""
    height_inches: float | None = None
    """height of the figure; unless given, it grows with the number of panels"""
    dpi: int = 200
    """pixels per inch of a .png"""

    def __post_init__(self) -> None:
        suffix = self.output.suffix.lower()
        require(
            suffix in FIGURE_SUFFIXES,
            "output",
            f"{self.output} ends in none of {', '.join(FIGURE_SUFFIXES)}"
            f"{nearest(suffix, FIGURE_SUFFIXES) if suffix else ''}",
        )
        require(
            self.table is None or self.table.suffix.lower() == ".csv",
            "table",
            f"{self.table} does not end in .csv",
        )
        require(bool(self.loss_names), "losses", "names no loss; e.g. G D, or all")
        if self.first is not None:
            require_positive("first", self.first)
        require_between("smoothing", self.smoothing, 0.0, 1.0)
        for option, inches in (
            ("width_inches", self.width_inches),
            ("height_inches", self.height_inches),
        ):
            if inches is not None:
                require_between(option, inches, 1.0, 60.0)
        require(10 <= self.dpi <= 1000, "dpi", f"{self.dpi} is not in 10..1000")

    @property
    def loss_names(self) -> tuple[str, ...]:
        """The words in ``losses``, each once; commas separate as well."""
        words = (word.strip() for some in self.losses for word in some.split(","))
        return tuple(dict.fromkeys(word for word in words if word))
