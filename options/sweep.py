"""All options of `giverny sweep`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from giverny.options.checks import require, require_positive

__all__ = ["SweepOptions"]


@dataclass(frozen=True, kw_only=True)
class SweepOptions:
    """Stylize with all combinations of some settings; compare pictures, losses and times."""

    output: Path
    """folder for pictures, results.csv, contact sheet, curves and page"""
    contents: Sequence[Path] = ()
    """what to show: pictures or folders, in place of the sweep's"""
    styles: Sequence[Path] = ()
    """how: pictures or folders, each picture a style, in place of the sweep's"""
    set: Sequence[str] = ()
    """NAME=VALUE options of giverny stylize for all cells, such as size=128"""
    jobs: int = 1
    """cells that are computed at the same time, each in a process of its own"""
    threads: int = 1
    """threads of each job; the pictures depend on it, in their last bits"""
    overwrite: bool = False
    """whether to compute again what is done"""

    def __post_init__(self) -> None:
        require_positive("jobs", self.jobs)
        require_positive("threads", self.threads)
        for text in self.set:
            require("=" in text, "set", f"expected NAME=VALUE, got {text!r}")

    def changes(self) -> dict[str, Any]:
        """Return what ``set`` says, values still as texts."""
        return {name: value for name, _, value in (text.partition("=") for text in self.set)}
