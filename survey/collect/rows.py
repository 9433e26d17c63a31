"""Rows of tables as answers that are not yet checked."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from impasto.options.survey import AnswerFormat
from impasto.survey.answers import Vocabulary
from impasto.survey.study import Trial
from impasto.survey.tables import Table, decimal

__all__ = [
    "PARTICIPANT",
    "SESSION",
    "Namer",
    "Names",
    "Raw",
    "ReadFile",
    "answers_of_row",
    "as_number",
    "asked_columns",
    "few",
    "first_of",
]

PARTICIPANT = (
    *("PROLIFIC_PID", "Participant", "Participant id", "Participant number", "WorkerId"),
    *("Worker", "Subject", "Subject id", "ExternalReference", "User", "Username"),
    *("Email Address", "Email", "Name"),
)
SESSION = ("SESSION_ID", "Session", "ResponseId", "AssignmentId", "Submission id")
_LONGEST_ID = 200

Namer = Callable[[str], str]
"""Turns what one file calls somebody without an id into a name that no other file has."""


@dataclass(frozen=True, kw_only=True)
class Raw:
    """An answer as a file has it.

    Attributes:
        where: file and line.
        participant: or empty.
        session: or empty.
        trial: tokens, one or two.
        said: what was answered, in the file's words; empty: nothing.
        place: position in the session, or 0.
        survey_id: or empty.
        rt_ms: milliseconds, or None.
        exposure_ms: milliseconds, or None.
        is_practice: or None where the file does not tell.
        completed: or None where the file does not tell.
        onset: ISO 8601, or empty.
        viewport: or empty.
        device_pixel_ratio: or None.
    """

    where: str
    participant: str = ""
    session: str = ""
    trial: Trial
    said: str
    place: int = 0
    survey_id: str = ""
    rt_ms: float | None = None
    exposure_ms: float | None = None
    is_practice: bool | None = None
    completed: bool | None = None
    onset: str = ""
    viewport: str = ""
    device_pixel_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """What a file holds.

    Attributes:
        path: of it.
        format: what it was taken for.
        answers: in it, blanks among them.
        people: of a Prolific export: participant to what it says about them.
        notes: what was passed over, in words.
    """

    path: Path
    format: AnswerFormat
    answers: Sequence[Raw] = ()
    people: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()


class Names:
    """Names of those who have no id: people of two files are two people.

    Attributes:
        repeated: names that more than one file has.
    """

    def __init__(self) -> None:
        self.repeated: set[str] = set()
        self._file_of: dict[str, int] = {}

    def of_file(self, number: int) -> Namer:
        """Return what names the people of a file; files of the same number are one."""

        def name(base: str) -> str:
            if self._file_of.setdefault(base, number) == number:
                return base
            self.repeated.add(base)
            return f"{base} (file {number})"

        return name


def asked_columns(table: Table, vocabulary: Vocabulary) -> dict[str, Trial]:
    """Return the columns that hold answers: those that name pictures, and say nothing else."""
    found = {}
    for name in table.header:
        trial = vocabulary.trial_in(name)
        beside = re.match(r"(?:Answer\.)?(rt|trial|onset|exposure)[_ ]", name)
        if trial and not beside:
            found[name] = trial
    return found


def answers_of_row(
    where: str,
    row: Mapping[str, str],
    columns: Mapping[str, Trial],
    participant: str,
    session: str,
    *,
    completed: bool | None = None,
) -> Iterator[Raw]:
    """Yield the answers of a row that has one for each picture.

    Beside a column ``NAME`` may stand ``rt_NAME``, ``trial_NAME`` and ``onset_NAME``.

    Args:
        where: file and line.
        row: cells by column.
        columns: those that hold answers, and of which trial.
        participant: whose they are.
        session: of which visit.
        completed: whether it was gone through to its end, where the file tells.
    """
    for column, trial in columns.items():
        name = column.removeprefix("Answer.")
        prefix = "Answer." if column.startswith("Answer.") else ""
        yield Raw(
            where=where,
            participant=participant,
            session=session,
            trial=trial,
            said=row[column],
            place=int(as_number(row.get(f"{prefix}trial_{name}", "")) or 0),
            survey_id=row.get(f"{prefix}survey_id", ""),
            rt_ms=as_number(row.get(f"{prefix}rt_{name}", "")),
            onset=row.get(f"{prefix}onset_{name}", ""),
            viewport=row.get(f"{prefix}viewport", ""),
            device_pixel_ratio=as_number(row.get(f"{prefix}device_pixel_ratio", "")),
            completed=completed,
        )


def first_of(row: Mapping[str, str], table: Table, names: Sequence[str]) -> str:
    """Return the first of some columns that is not empty, as an id."""
    for name in names:
        column = table.column(name)
        if column is not None and row.get(column):
            return " ".join(row[column].split())[:_LONGEST_ID]
    return ""


def as_number(text: str) -> float | None:
    """Return a number, or None where a text is none, or is beyond all sense."""
    try:
        number = decimal(text)
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None


def few(things: Sequence[object], most: int = 8) -> str:
    """Return the first of some things, and how many more there are."""
    rest = len(things) - most
    return ", ".join(map(str, things[:most])) + (f" and {rest} more" if rest > 0 else "")
