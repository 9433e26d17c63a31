"""All options of `impasto survey audit`."""

from dataclasses import dataclass
from pathlib import Path

from impasto.options.checks import require, require_between

__all__ = ["SurveyAuditOptions"]


@dataclass(frozen=True, kw_only=True)
class SurveyAuditOptions:
    """Look for what gives the answers of a study away."""

    key: Path | None = None
    """the answer key that impasto survey export wrote; FOLDER.key.json unless given"""
    zip: Path | None = None
    """archive of the folder; FOLDER.zip, if there is one, unless given"""
    alpha: float = 0.001
    """chance that a study without a leak fails, all observables together"""
    permutations: int = 9999
    """random labellings that the observables are compared with"""
    output: Path | None = None
    """file for the findings, as .json"""

    def __post_init__(self) -> None:
        require_between("alpha", self.alpha, 1e-6, 0.5)
        require(
            self.permutations * self.alpha >= 2,
            "permutations",
            f"{self.permutations} are too few for --alpha {self.alpha:g}; "
            f"take {round(9.999 / self.alpha)} or so",
        )
        require(self.permutations <= 10**6, "permutations", f"{self.permutations} are above 10**6")
        require(
            self.output is None or self.output.suffix.lower() == ".json",
            "output",
            f"{self.output} does not end in .json",
        )
