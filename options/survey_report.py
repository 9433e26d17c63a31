"""All options of `impasto survey report`."""

from dataclasses import dataclass
from pathlib import Path

from impasto.options.checks import require, require_at_least, require_between

__all__ = ["SurveyReportOptions"]


@dataclass(frozen=True, kw_only=True)
class SurveyReportOptions:
    """Analyse the answers of a study: a page, tables, figures."""

    key: Path
    """the answer key that impasto survey export wrote"""
    output: Path = Path("report")
    """folder for index.html, results.csv, results.json and figures"""
    study: Path | None = None
    """the exported folder, for the pictures; without it there are only tables"""
    title: str = "Real or fake?"
    """heading of the page"""
    failed_checks: int = 0
    """attention checks that a participant may fail"""
    min_rt_ms: float = 200.0
    """answers that come faster than this do not count"""
    fast_share: float = 0.1
    """share of such answers above which none of the participant's answers count"""
    keep_incomplete: bool = False
    """count participants who did not come to the end"""
    keep_straight_lines: bool = False
    """count participants who gave the same answer everywhere"""
    margin: float = 0.05
    """how far from 50 % the share of errors may be for pictures to be called indistinguishable"""
    blocks: int = 1
    """equal parts of a session with a staircase of its own each, for HYPE-time; HYPE has 3, impasto
    survey serve 1"""
    resamples: int = 10_000
    """of every bootstrap and permutation test"""
    seed: int = 0
    """of all resampling"""

    def __post_init__(self) -> None:
        if self.study is not None:
            output = self.output.resolve()
            require(
                self.study.resolve() not in (output, *output.parents),
                "output",
                f"{self.output} is in the folder of the study, which is public, and a report tells "
                "which pictures are real",
            )
        require_at_least("failed_checks", self.failed_checks, 0)
        require_at_least("min_rt_ms", self.min_rt_ms, 0)
        require_between("fast_share", self.fast_share, 0.0, 1.000001)
        require(0 < self.margin < 0.5, "margin", f"{self.margin} is not between 0 and 0.5")
        require_at_least("blocks", self.blocks, 1)
        require_at_least("resamples", self.resamples, 1000)
        require(self.resamples <= 1_000_000, "resamples", f"{self.resamples} are above 1,000,000")
        require(0 <= self.seed < 2**63, "seed", f"{self.seed} is not in [0, 2**63)")
