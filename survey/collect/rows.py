"""Table rows as answers that are not yet checked."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from impasto.options.survey import AnswerFormat
from impasto.survey.answers import Measurements
from impasto.survey.key import Key
from impasto.survey.protocols import Question, opposite
from impasto.survey.study import Trial
from impasto.survey.tables import Table, decimal

__all__ = [
    "PARTICIPANT",
    "SESSION",
    "Namer",
    "Names",
    "RawAnswer",
    "ReadFile",
    "Vocabulary",
    "abbreviate",
    "answers_of_row",
    "as_number",
    "asked_columns",
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

_WORDS = re.compile(r"[0-9a-z]+")
# As impasto.survey.key draws them.
_TOKEN = re.compile(r"[bcdfghjkmnpqrstvwxz][bcdfghjkmnpqrstvwxz2-9]{7}")
# A number stands for the choice of that place: REAL first, or the first picture.
_REAL, _FAKE = frozenset({"real", "r", "1"}), frozenset({"fake", "f", "2", "0"})
_FIRST = frozenset({"1", "first", "left", "a", "picture 1"})
_SECOND = frozenset({"2", "second", "right", "b", "picture 2"})


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """Words and tokens with which the answers to a study are recognized.

    Attributes:
        tokens: tokens of the study's pictures; None if unknown, in which case anything in the form
            of a token is taken for one.
        asked: in paired protocols, kind of picture that the question asks for; None if unknown.
        real: words that mean real.
        fake: words that mean fake.
        first: words that mean the first picture of a pair.
        second: words that mean the second picture of a pair.
    """

    tokens: Collection[str] | None = None
    asked: Question | None = None
    real: frozenset[str] = field(default=_REAL)
    fake: frozenset[str] = field(default=_FAKE)
    first: frozenset[str] = field(default=_FIRST)
    second: frozenset[str] = field(default=_SECOND)

    @classmethod
    def of(cls, key: Key | None) -> "Vocabulary":
        """Return the vocabulary of the key's study; without a key, that for any study."""
        if key is None:
            return cls()
        words: Mapping[str, Any] = key.options.get("words", {})
        rules = key.rules

        def also(known: frozenset[str], *names: str) -> frozenset[str]:
            return known | {_fold(str(words[name])) for name in names if name in words}

        def labels(meaning: str) -> list[str]:
            return [choice.label for choice in rules.choices if choice.meaning == meaning]

        asked = key.options.get("question")
        return cls(
            tokens=frozenset(key.pictures),
            asked=asked if asked in ("real", "fake") else None,
            real=also(_REAL, "answer_real", *labels("real")),
            fake=also(_FAKE, "answer_fake", *labels("fake")),
            first=also(_FIRST, "picture_first", *labels("asked")),
            second=also(_SECOND, "picture_second", *labels("other")),
        )

    def trial_in(self, text: str) -> Trial:
        """Return the tokens in a text, at most two; also anything in the form of a token.

        >>> Vocabulary().trial_in("7. Real or fake? [bk3f9x2q]")
        ('bk3f9x2q',)
        """
        words: list[str] = _WORDS.findall(text.lower())
        known = self.tokens or ()
        tokens = [word for word in words if word in known or _TOKEN.fullmatch(word)]
        return tuple(dict.fromkeys(tokens))[:2]

    def meaning(self, text: str, *, pair: bool) -> Question | None:
        """Return what a response calls the first picture of a trial; None if not recognized.

        >>> Vocabulary(asked="fake").meaning("Picture 2", pair=True)
        'real'
        """
        word = _fold(text)
        if word.endswith((".0", ",0")):  # a spreadsheet's number
            word = word[:-2]
        if pair and self.asked is not None and word in self.first | self.second:
            chosen_is_first = word in self.first
            return self.asked if chosen_is_first else opposite(self.asked)
        if pair and word.isdecimal():
            return None
        if word in self.real:
            return "real"
        return "fake" if word in self.fake else None


@dataclass(frozen=True, kw_only=True)
class RawAnswer(Measurements):
    """Answer as it is in a file, with its measurements.

    Attributes:
        where: file and line of the answer.
        participant: identifier of the participant, or empty if unknown.
        session: identifier of the session, or empty if unknown.
        trial: tokens of the trial's pictures, one or two.
        text: response in the words of the file; empty if there is none.
        place: position of the trial in the session, from 1; 0 if unknown.
        survey_id: identifier of the study, or empty if unknown.
        is_practice: True for a practice trial; None if the file does not record it.
        completed: True if the session was completed; None if the file does not record it.
    """

    where: str
    participant: str = ""
    session: str = ""
    trial: Trial
    text: str
    place: int = 0
    survey_id: str = ""
    is_practice: bool | None = None
    completed: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ReadFile:
    """Content of a file of answers.

    Attributes:
        path: path of the file.
        format: format as which the file was read.
        answers: answers in the file, including blank ones.
        people: for a Prolific export, mapping from participant to their data; otherwise empty.
        notes: what was skipped, in words.
    """

    path: Path
    format: AnswerFormat
    answers: Sequence[RawAnswer] = ()
    people: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    notes: Sequence[str] = ()


class Names:
    """Names for participants without an identifier; those of different files are different people.

    Attributes:
        repeated: names that occur in more than one file.
    """

    def __init__(self) -> None:
        self.repeated: set[str] = set()
        self._file_of: dict[str, int] = {}

    def of_file(self, number: int) -> Namer:
        """Return a function that names the participants of a file, given the file's number."""

        def name(base: str) -> str:
            if self._file_of.setdefault(base, number) == number:
                return base
            self.repeated.add(base)
            return f"{base} (file {number})"

        return name


def asked_columns(table: Table, vocabulary: Vocabulary) -> dict[str, Trial]:
    """Return the columns of answers: named with tokens of pictures, and not of measurements."""
    columns = {}
    for name in table.header:
        trial = vocabulary.trial_in(name)
        beside = re.match(r"(?:Answer\.)?(rt|trial|onset|exposure)[_ ]", name)
        if trial and not beside:
            columns[name] = trial
    return columns


def answers_of_row(
    where: str,
    row: Mapping[str, str],
    columns: Mapping[str, Trial],
    participant: str,
    session: str,
    *,
    completed: bool | None = None,
) -> Iterator[RawAnswer]:
    """Yield the answers of a row that has one answer per picture.

    A column ``NAME`` can be accompanied by ``rt_NAME``, ``trial_NAME`` and ``onset_NAME``.

    Args:
        where: file and line of the row.
        row: cells of the row, by column name.
        columns: mapping from each column with answers to its trial.
        participant: identifier of the participant.
        session: identifier of the session.
        completed: True if the session was completed; None if the file does not record it.
    """
    for column, trial in columns.items():
        name = column.removeprefix("Answer.")
        prefix = "Answer." if column.startswith("Answer.") else ""
        yield RawAnswer(
            where=where,
            participant=participant,
            session=session,
            trial=trial,
            text=row[column],
            place=int(as_number(row.get(f"{prefix}trial_{name}", "")) or 0),
            survey_id=row.get(f"{prefix}survey_id", ""),
            rt_ms=as_number(row.get(f"{prefix}rt_{name}", "")),
            onset=row.get(f"{prefix}onset_{name}", ""),
            viewport=row.get(f"{prefix}viewport", ""),
            device_pixel_ratio=as_number(row.get(f"{prefix}device_pixel_ratio", "")),
            completed=completed,
        )


def first_of(row: Mapping[str, str], table: Table, names: Sequence[str]) -> str:
    """Return the first nonempty cell of the named columns, as an identifier."""
    for name in names:
        column = table.column(name)
        if column is not None and row.get(column):
            return " ".join(row[column].split())[:_LONGEST_ID]
    return ""


def as_number(text: str) -> float | None:
    """Return a number, or None if the text is not a number or is out of any plausible range."""
    try:
        number = decimal(text)
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None


def abbreviate(things: Sequence[object], most: int = 8) -> str:
    """Return the first few items as text, and the number of those left out."""
    rest = len(things) - most
    return ", ".join(map(str, things[:most])) + (f" and {rest} more" if rest > 0 else "")


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
