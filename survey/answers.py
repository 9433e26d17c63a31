"""The answer of one participant in one trial, in a common format for all platforms' files.

The server, the site and the import write the same columns, as CSV or JSON; the report reads them.
"""

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, fields
from pathlib import Path
from typing import Any

from impasto.data.atomic import write_text_atomic
from impasto.options.errors import SurveyError
from impasto.survey.protocols import Question
from impasto.survey.tables import decimal, read_bytes, read_table

__all__ = [
    "COLUMNS",
    "Answer",
    "Measurements",
    "answers_csv",
    "answers_json",
    "measurements_of",
    "read_answers",
    "write_answers",
]


@dataclass(frozen=True, kw_only=True)
class Measurements:
    """Measurements of a browser in a trial, besides the answer; see :class:`Answer`."""

    rt_ms: float | None = None
    exposure_ms: float | None = None
    onset: str = ""
    viewport: str = ""
    device_pixel_ratio: float | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Answer of one participant in one trial; contains nothing about what is correct.

    The fields are the columns of the table, in this order, and of the server's database.

    Attributes:
        survey_id: identifier of the study.
        participant: identifier of the participant on the platform.
        session: identifier of one visit of that participant.
        trial: position in the session, practice included, from 1; 0 if unknown.
        token: token of the picture, or of the left picture of a pair.
        other: token of the right picture of a pair; empty for a single picture.
        response: answer about ``token``; ``other`` was called the opposite.
        rt_ms: reaction time from when the picture became visible, milliseconds, or None if unknown.
        exposure_ms: time for which the picture was shown, milliseconds; None if it stayed until the
            answer.
        is_practice: True for a practice trial, which has feedback and is not scored.
        onset: time at which the picture became visible, ISO 8601 with time zone, or empty if
            unknown.
        viewport: size of the browser's viewport, ``WIDTHxHEIGHT`` in CSS pixels, or empty if
            unknown.
        device_pixel_ratio: screen pixels per CSS pixel, or None if unknown.
        completed: True if the session was completed.
    """

    survey_id: str
    participant: str
    session: str
    trial: int
    token: str
    other: str = ""
    response: Question
    rt_ms: float | None = None
    exposure_ms: float | None = None
    is_practice: bool = False
    onset: str = ""
    viewport: str = ""
    device_pixel_ratio: float | None = None
    completed: bool = False


COLUMNS = tuple(column.name for column in fields(Answer))
"""Names of the columns of a table of answers, in their order."""

_NUMBERS = [column.name for column in fields(Answer) if column.type == float | None]
_FLAGS = [column.name for column in fields(Answer) if column.type is bool]
_TEXTS = [column.name for column in fields(Answer) if column.type is str]
_NEEDED = [column.name for column in fields(Answer) if column.default is MISSING]


def measurements_of(answer: "Answer | Measurements") -> dict[str, Any]:
    """Return the browser's measurements as a mapping by field name."""
    return {column.name: getattr(answer, column.name) for column in fields(Measurements)}


def answers_csv(answers: Iterable[Answer]) -> str:
    """Return a CSV table with a header and one line per answer; unknown values are empty."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    table.writeheader()
    for answer in answers:
        row = asdict(answer)
        row.update({name: "" if row[name] is None else f"{row[name]:g}" for name in _NUMBERS})
        row.update({name: int(row[name]) for name in _FLAGS})
        table.writerow(row)
    return text.getvalue()


def answers_json(answers: Iterable[Answer]) -> str:
    """Return a JSON list, one object per answer."""
    return json.dumps([asdict(answer) for answer in answers], indent=1, ensure_ascii=False)


def write_answers(path: Path, answers: Iterable[Answer]) -> None:
    """Write answers atomically: JSON if the file name has that extension, otherwise CSV.

    Raises:
        OSError: the file cannot be written.
    """
    form = answers_json if path.suffix.lower() == ".json" else answers_csv
    # With ids of people: for their owner alone.
    write_text_atomic(path, form(answers), mode=0o600)


def read_answers(path: Path) -> list[Answer]:
    """Read a file written by :func:`write_answers`, even if a spreadsheet has re-saved it.

    A file that is not JSON is read as a table in any encoding and with any separator that
    :func:`read_table` supports.

    Raises:
        SurveyError: the file cannot be read, or is not such a table; names the line and the column.
    """
    stored = read_bytes(path)
    start = stored.removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
    if path.suffix.lower() == ".json" or start in (b"[", b"{"):
        return _of_json(path, stored)
    table = read_table(path)
    columns = {name: table.column(name) for name in COLUMNS}
    if missing := [name for name, column in columns.items() if column is None]:
        raise SurveyError(
            path,
            f"has no column {', '.join(missing)}; expected the table of 'impasto survey import' "
            "or 'impasto survey serve'",
        )
    if table.ragged:
        raise SurveyError(
            path,
            f"line {table.ragged[0]}: expected {len(table.header)} cells as in the header; the "
            "line was cut off, or has a separator too many",
        )
    return [
        _answer(path, f"line {line}", {name: row[column or ""] for name, column in columns.items()})
        for line, row in table.records()
    ]


def _of_json(path: Path, stored: bytes) -> list[Answer]:
    try:
        rows = json.loads(stored)
    except (ValueError, RecursionError) as error:
        raise SurveyError(path, f"is no JSON: {error}") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise SurveyError(path, "expected a list of answers")
    for number, row in enumerate(rows, 1):
        if missing := [name for name in _NEEDED if name not in row]:
            raise SurveyError(path, f"answer {number} has no {', '.join(missing)}")
    return [_answer(path, f"answer {number}", row) for number, row in enumerate(rows, 1)]


def _answer(path: Path, where: str, row: Mapping[str, Any]) -> Answer:
    """Make an answer of a row of texts, or of an object of JSON."""

    def value(name: str, read: Callable[[str], Any], expected: str) -> Any:
        cell = row.get(name, "")
        try:
            return read(_as_text(cell))
        except (TypeError, ValueError):
            shown = repr(cell)[:40]
            message = f"{where}: {name}: expected {expected}, got {shown}"
            raise SurveyError(path, message) from None

    values = {name: value(name, str, "a text") for name in _TEXTS}
    values |= {name: value(name, _number, "a number or nothing") for name in _NUMBERS}
    values |= {name: value(name, _flag, "0, 1, true or false") for name in _FLAGS}
    values["trial"] = value("trial", _whole, "a whole number")
    values["response"] = value("response", _response, "real or fake")
    return Answer(**values)


def _as_text(cell: object) -> str:
    if not isinstance(cell, str | int | float | None):
        raise TypeError(cell)
    text = "" if cell is None else str(cell)
    text.encode()  # half a pair of surrogates can be in JSON, and cannot be written
    return text


def _number(text: str) -> float | None:
    return decimal(text) if text else None


def _whole(text: str) -> int:
    number = decimal(text)
    if number != int(number):
        raise ValueError(text)
    return int(number)


def _flag(text: str) -> bool:
    word = text.casefold()
    if word in ("", "true", "false"):
        return word == "true"
    number = decimal(word)
    if number not in (0, 1):
        raise ValueError(text)
    return number == 1


def _response(text: str) -> str:
    if text not in ("real", "fake"):
        raise ValueError(text)
    return text
