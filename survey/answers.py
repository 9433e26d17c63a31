"""One answer of one participant, as every platform's files are turned into, and its CSV."""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from giverny.data.atomic import write_text_atomic
from giverny.options.errors import SurveyError
from giverny.survey.trials import Question

__all__ = ["Answer", "answers_csv", "answers_json", "read_answers", "write_answers"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one participant said in one trial; nothing in it tells the truth.

    Attributes:
        survey_id: of the study.
        participant: who it was, as the platform names them.
        session: one visit of that participant.
        trial: position in the session, practice included, from 1; 0 where it is not known.
        token: the picture, or the left one of a pair.
        other: the right one of a pair, or empty.
        response: what ``token`` was called; ``other`` was called the opposite.
        rt_ms: reaction time from when the picture could be seen, milliseconds, or None.
        exposure_ms: how long the picture was shown, milliseconds, or None: until the answer.
        is_practice: whether it had feedback and is not scored.
        onset: when the picture could be seen, ISO 8601 with zone, or empty.
        viewport: of the browser, ``WIDTHxHEIGHT`` in CSS pixels, or empty.
        device_pixel_ratio: screen pixels per CSS pixel, or None.
        completed: whether the session was gone through to its end.
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


_COLUMNS = [column.name for column in fields(Answer)]
_NUMBERS = ("rt_ms", "exposure_ms", "device_pixel_ratio")
_FLAGS = ("is_practice", "completed")


def answers_csv(answers: Iterable[Answer]) -> str:
    """Return a table with a header, one line per answer; unknown values are empty."""
    text = io.StringIO(newline="")
    table = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
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
    """Write a CSV, or JSON if the file's name ends so; atomically.

    Raises:
        OSError: the file cannot be written.
    """
    form = answers_json if path.suffix.lower() == ".json" else answers_csv
    write_text_atomic(path, form(answers))


def read_answers(path: Path) -> list[Answer]:
    """Read what :func:`write_answers` wrote.

    Raises:
        SurveyError: the file is no such table; names the line and the column.
        OSError: the file cannot be read.
    """
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix.lower() == ".json":
        try:
            rows = json.loads(text)
        except json.JSONDecodeError as error:
            raise SurveyError(path, f"is no JSON: {error}") from error
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise SurveyError(path, "expected a list of answers")
        return [_answer(path, f"answer {number}", row) for number, row in enumerate(rows, 1)]
    table = csv.DictReader(io.StringIO(text, newline=""))
    missing = [name for name in _COLUMNS if name not in (table.fieldnames or [])]
    if missing:
        raise SurveyError(
            path,
            f"has no column {', '.join(missing)}; expected the table of 'giverny survey import' "
            "or 'giverny survey serve'",
        )
    return [_answer(path, f"line {table.line_num}", row) for row in table]


def _answer(path: Path, where: str, row: Mapping[str, Any]) -> Answer:
    """Make an answer of a row of texts, or of an object of JSON."""
    values: dict[str, Any] = {name: row.get(name, "") for name in _COLUMNS}
    try:
        values["trial"] = int(values["trial"])
        for name in _NUMBERS:
            values[name] = None if values[name] in ("", None) else float(values[name])
        for name in _FLAGS:
            values[name] = bool(int(values[name]))
    except (TypeError, ValueError) as error:
        raise SurveyError(path, f"{where}: {error}") from error
    if values["response"] not in ("real", "fake"):
        raise SurveyError(
            path, f"{where}: response: expected real or fake, got {values['response']!r}"
        )
    return Answer(**values)
