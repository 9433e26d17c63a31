"""What forms give: tables, and what was read of them."""

import csv
import io
from collections.abc import Sequence
from typing import Any

from impasto.survey.answers import (
    Answer,
)
from impasto.survey.collect.job import Imported

# Two real, two fake, one check, one for practice.
REAL, FAKE = ("bk3f9x2q", "cm4g8w3r"), ("dn5h7v4s", "fp6j6t5t")


CHECK, PRACTICE = "gq7k5s6v", "hr8m4r7w"


JUDGED = (*REAL, *FAKE, CHECK)


def answer(token: str, **changes: Any) -> Answer:
    values: dict[str, Any] = {
        "survey_id": "study-1",
        "participant": "p",
        "session": "s",
        "trial": 1,
        "token": token,
        "response": "real",
        "completed": True,
    }
    return Answer(**{**values, **changes})


def table(rows: Sequence[Sequence[object]], separator: str = ",") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue()


def said(imported: Imported) -> dict[tuple[str, str], str]:
    return {(one.participant, one.token): one.response for one in imported.answers}


def odd(imported: Imported) -> dict[str, list[str]]:
    return {one.what: list(one.names) for one in imported.oddities}


QUALTRICS = ("StartDate", "EndDate", "Status", "Progress", "Finished", "RecordedDate", "ResponseId")
