"""Where a training is watched: terminal, report page, visdom, TensorBoard."""

from dataclasses import dataclass
from typing import Literal

from impasto.options.checks import require
from impasto.options.names import nearest

__all__ = ["DISPLAYS", "BasicDisplayOptions", "DisplayOptions", "Samples"]

DISPLAYS = ("console", "page", "visdom", "tensorboard")
Samples = Literal["fixed", "batch"]


@dataclass(frozen=True, kw_only=True)
class BasicDisplayOptions:
    """Where a training is watched. log.jsonl is always written."""

    display: str = "console,page"
    """where to watch, with commas between: console, page, visdom, tensorboard; or none"""
    display_server: str = "http://localhost"
    """address of the visdom server"""
    display_port: int = 8097
    """port of the visdom server"""
    display_env: str = ""
    """visdom environment; the run's name if empty"""

    def __post_init__(self) -> None:
        for name in self.displays:
            require(
                name in DISPLAYS,
                "display",
                f"{name!r} is none of {', '.join(DISPLAYS)}, none{nearest(name, DISPLAYS)}",
            )
        require(
            0 < self.display_port < 2**16,
            "display_port",
            f"{self.display_port} is no port; use 1 to 65535",
        )

    @property
    def displays(self) -> tuple[str, ...]:
        """The names in ``display``, each once."""
        names = (name.strip() for name in self.display.split(","))
        return tuple(dict.fromkeys(name for name in names if name not in {"", "none"}))


@dataclass(frozen=True, kw_only=True)
class DisplayOptions(BasicDisplayOptions):
    """Where a training is watched. log.jsonl is always written."""

    display_samples: Samples = "fixed"
    """pictures to show: fixed, the first of each domain every time, or those of the batch"""
