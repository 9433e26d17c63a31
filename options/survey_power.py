"""All options of `impasto survey power`."""

from dataclasses import dataclass
from pathlib import Path

from impasto.options.checks import require, require_at_least

__all__ = ["SurveyPowerOptions"]

_MOST = 100_000


@dataclass(frozen=True, kw_only=True)
class SurveyPowerOptions:
    """Say how exact a study will be, and how large one must be."""

    raters: int = 30
    """people who judge all pictures"""
    pictures: int = 50
    """pictures of each generator, and as many real ones"""
    half_width: float = 0.05
    """wanted half width of the interval: 0.05 is 5 points to each side"""
    rate: float | None = None
    """fooling rate to expect: 0.5 unless given, where intervals are widest"""
    person_sd: float | None = None
    """how much people differ: standard deviation in log-odds, 0.5 unless given"""
    picture_sd: float | None = None
    """how much pictures differ: standard deviation in log-odds, 1.0 unless given"""
    pilot: Path | None = None
    """results.json of an earlier report, for the three options above"""

    def __post_init__(self) -> None:
        for name, least in (("raters", 2), ("pictures", 2)):
            require_at_least(name, getattr(self, name), least)
            require(getattr(self, name) <= _MOST, name, f"{getattr(self, name)} is above {_MOST}")
        require(
            0.001 <= self.half_width < 0.5, "half_width", f"{self.half_width} is not in 0.001..0.5"
        )
        if self.rate is not None:
            require(0.01 <= self.rate <= 0.99, "rate", f"{self.rate} is not in 0.01..0.99")
        for name in ("person_sd", "picture_sd"):
            value = getattr(self, name)
            if value is not None:
                require(0 <= value <= 5, name, f"{value} is not in 0..5")
