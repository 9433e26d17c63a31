"""All options of `impasto survey import`."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from impasto.options.checks import require

__all__ = ["ANSWER_FORMATS", "AnswerFormat", "SurveyImportOptions"]

AnswerFormat = Literal[
    "auto",
    "impasto",
    "database",
    "google_forms",
    "mturk",
    "qualtrics",
    "jspsych",
    "prolific",
    "wide",
    "long",
]
ANSWER_FORMATS = (
    *("impasto", "database", "google_forms", "mturk", "qualtrics", "jspsych", "prolific"),
    *("wide", "long"),
)
"""What `impasto survey import` can read."""


@dataclass(frozen=True, kw_only=True)
class SurveyImportOptions:
    """Read the answers of forms and platforms into one table."""

    output: Path = Path("answers.csv")
    """file for the answers: .csv or .json"""
    key: Path | None = None
    """the study's key: tells practice, unknown pictures, and who did not answer all"""
    format: AnswerFormat = "auto"
    """what the files are; auto looks into each: impasto (downloaded from the page, or imported
    before), database (of impasto survey serve), google_forms, mturk, qualtrics, jspsych, prolific
    (who took part), wide (a row for each participant), long (a row for each answer)"""
    participants: Path | None = None
    """file for who took part, as .csv, with what a Prolific export says about them"""
    overwrite: bool = False
    """replace the output if it exists"""

    def __post_init__(self) -> None:
        require(
            self.output.suffix.lower() in (".csv", ".json"),
            "output",
            f"{self.output} ends in neither .csv nor .json",
        )
        require(
            self.participants is None or self.participants.suffix.lower() == ".csv",
            "participants",
            f"{self.participants} does not end in .csv",
        )
        if self.participants is not None:
            require(
                self.participants.resolve() != self.output.resolve(),
                "participants",
                f"{self.participants} is also the output",
            )
