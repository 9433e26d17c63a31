"""Readers for the files of forms and platforms; the answers are not yet checked.

Impasto's own tables and databases, Google Forms, Mechanical Turk, Qualtrics, jsPsych, Prolific's
list of participants, and any table with a row for each participant (wide) or each answer (long).
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from impasto.options.errors import SurveyError
from impasto.options.survey import AnswerFormat
from impasto.survey.answers import Answer, measurements_of, read_answers
from impasto.survey.collect.rows import (
    PARTICIPANT,
    SESSION,
    Namer,
    RawAnswer,
    ReadFile,
    Vocabulary,
    abbreviate,
    answers_of_row,
    as_number,
    asked_columns,
    first_of,
)
from impasto.survey.serve.database import read_database
from impasto.survey.tables import Table, read_bytes, read_table

__all__ = ["read_file"]


_PICTURE = ("token", "picture", "image", "stimulus", "item", "file", "filename")
_ANSWER = ("survey_response", "response", "answer", "choice", "judgement", "judgment", "said")


def read_file(path: Path, format_: AnswerFormat, vocabulary: Vocabulary, named: Namer) -> ReadFile:
    """Read a file of answers; detect its format if ``format_`` is ``auto``.

    Args:
        path: file to read.
        format_: format of the file, or ``auto`` to detect it.
        vocabulary: words and tokens with which the answers to the study are recognized.
        named: function that names participants without an identifier.

    Raises:
        SurveyError: the file cannot be read, or has no recognized column.
    """
    if format_ in ("auto", "database") and _begins(path, b"SQLite format 3\0"):
        answers = _of_answers(path, read_database(path))
        return ReadFile(path=path, format="database", answers=answers)
    if format_ == "database":
        raise SurveyError(path, "is no database of 'impasto survey serve'")
    if _begins(path, b"[") or _begins(path, b"{") or path.suffix.lower() == ".json":
        return _read_json(path, format_, vocabulary, named)
    table = read_table(path)
    kind = _recognize(table, vocabulary) if format_ == "auto" else format_
    readers: Mapping[str, Callable[[Table, Vocabulary, Namer], ReadFile]] = {
        "impasto": _read_own,
        "google_forms": _read_wide,
        "mturk": _read_mturk,
        "qualtrics": _read_qualtrics,
        "jspsych": _read_jspsych_table,
        "prolific": _read_prolific,
        "wide": _read_wide,
        "long": _read_long,
    }
    content = readers[kind](table, vocabulary, named)
    ragged = (
        [f"lines with too few or too many cells: {abbreviate(table.ragged)}"]
        if table.ragged
        else []
    )
    return ReadFile(
        path=path,
        format=kind,
        answers=content.answers,
        people=content.people,
        notes=[*content.notes, *ragged],
    )


def _recognize(table: Table, vocabulary: Vocabulary) -> AnswerFormat:
    has = table.column
    tests: Sequence[tuple[AnswerFormat, bool]] = [
        ("jspsych", bool(has("trial_type") and has("trial_index"))),
        ("impasto", all(map(has, ("survey_id", "token", "response", "is_practice")))),
        ("mturk", bool(has("AssignmentId") and has("WorkerId"))),
        ("qualtrics", bool(has("ResponseId") and has("RecordedDate", "StartDate"))),
        ("prolific", bool(has("Submission id") and has("Participant id") and has("Status"))),
        ("google_forms", table.header[0] == "Timestamp" and bool(asked_columns(table, vocabulary))),
        ("long", bool(has(*_PICTURE) and has(*_ANSWER))),
        ("wide", bool(asked_columns(table, vocabulary))),
    ]
    for name, holds in tests:
        if holds:
            return name
    raise SurveyError(
        table.path,
        "is not understood: no column names a picture of the study, and none is called "
        f"{' or '.join(_PICTURE[:3])}; its columns are {abbreviate(table.header)}. "
        "Say what it is with --format",
    )


def _read_jspsych_table(table: Table, vocabulary: Vocabulary, named: Namer) -> ReadFile:
    rows = [(f"line {line}", row) for line, row in table.records()]
    return _read_jspsych(table.path, rows, vocabulary, named)


def _read_own(table: Table, _vocabulary: Vocabulary, _named: Namer) -> ReadFile:
    return ReadFile(
        path=table.path,
        format="impasto",
        answers=_of_answers(table.path, read_answers(table.path)),
    )


def _of_answers(path: Path, answers: Sequence[Answer]) -> list[RawAnswer]:
    return [
        RawAnswer(
            where=f"{path.name}, answer {number}",
            participant=answer.participant,
            session=answer.session,
            trial=(answer.token, answer.other) if answer.other else (answer.token,),
            text=answer.response,
            place=answer.trial,
            survey_id=answer.survey_id,
            is_practice=answer.is_practice,
            completed=answer.completed,
            **measurements_of(answer),
        )
        for number, answer in enumerate(answers, 1)
    ]


def _read_wide(table: Table, vocabulary: Vocabulary, named: Namer) -> ReadFile:
    """Read a table with one row per participant; Google Forms begins it with the time."""
    columns = asked_columns(table, vocabulary)
    if not columns:
        raise SurveyError(table.path, "no column names a picture of the study")
    answers: list[RawAnswer] = []
    times: dict[str, int] = {}
    for line, row in table.records():
        session = first_of(row, table, SESSION)
        name = first_of(row, table, PARTICIPANT) or session
        if not name:
            stamp = row.get("Timestamp", "") or f"{table.path.stem} line {line}"
            times[stamp] = times.get(stamp, 0) + 1
            name = named(stamp if times[stamp] == 1 else f"{stamp} ({times[stamp]})")
        answers += answers_of_row(
            f"{table.path.name}, line {line}", row, columns, name, session or name
        )
    return ReadFile(path=table.path, format="wide", answers=answers)


def _read_long(table: Table, vocabulary: Vocabulary, named: Namer) -> ReadFile:
    """Read a table with one row per answer."""
    picture, answer_column = table.column(*_PICTURE), table.column(*_ANSWER)
    if picture is None or answer_column is None:
        raise SurveyError(
            table.path,
            f"expected a column {', '.join(_PICTURE[:4])}, and one {', '.join(_ANSWER[1:4])}",
        )
    milliseconds = table.column("rt_ms", "rt", "reaction_time_ms", "response_time_ms")
    seconds = table.column("rt_s", "reaction_time_s", "seconds")
    other, place = table.column("other"), table.column("trial", "trial_number", "position")
    answers = []
    for line, row in table.records():
        text = f"{row[picture]} {row[other] if other else ''}"
        # What names no picture of the study is reported as it is.
        trial = vocabulary.trial_in(text) or (row[picture],)
        taken = as_number(row[milliseconds]) if milliseconds else None
        if taken is None and seconds and (slow := as_number(row[seconds])) is not None:
            taken = slow * 1000
        session = first_of(row, table, SESSION)
        name = first_of(row, table, PARTICIPANT) or session or named(table.path.stem)
        answers.append(
            RawAnswer(
                where=f"{table.path.name}, line {line}",
                participant=name,
                session=session or name,
                trial=trial,
                text=row[answer_column],
                place=int(as_number(row[place]) or 0) if place else 0,
                survey_id=row.get("survey_id", ""),
                rt_ms=taken,
            )
        )
    return ReadFile(path=table.path, format="long", answers=answers)


def _read_mturk(table: Table, vocabulary: Vocabulary, named: Namer) -> ReadFile:
    """Read a batch's results; columns Answer.NAME, or all in Answer.taskAnswers as JSON."""
    answers: list[RawAnswer] = []
    rejected = 0
    for line, row in table.records():
        where = f"{table.path.name}, line {line}"
        cells = {**row, **_task_answers(table.path, line, row)}
        own = Table(path=table.path, header=tuple(cells), rows=())
        columns = {
            name: trial
            for name, trial in asked_columns(own, vocabulary).items()
            # Orders differ, so a column is empty where a worker had another pair.
            if name.startswith("Answer.") and (cells[name] or len(trial) == 1)
        }
        rejected += row.get("AssignmentStatus", "") == "Rejected"
        session = row.get("AssignmentId", "")
        name = row.get("WorkerId", "") or session or named(f"{table.path.stem} line {line}")
        answers += answers_of_row(where, cells, columns, name, session)
    if not answers:
        raise SurveyError(table.path, "no column Answer.* names a picture of the study")
    notes = [f"{rejected} rejected assignments are among the answers"] if rejected else []
    return ReadFile(path=table.path, format="mturk", answers=answers, notes=notes)


def _task_answers(path: Path, line: int, row: Mapping[str, str]) -> dict[str, str]:
    text = row.get("Answer.taskAnswers", "")
    if not text:
        return {}
    try:
        stored = json.loads(text)
    except json.JSONDecodeError as error:
        raise SurveyError(path, f"line {line}: Answer.taskAnswers is no JSON: {error}") from error
    first = stored[0] if isinstance(stored, list) and stored else stored
    if not isinstance(first, dict):
        raise SurveyError(path, f"line {line}: Answer.taskAnswers: expected an object")
    return {f"Answer.{name}": str(value) for name, value in first.items()}


def _read_qualtrics(table: Table, vocabulary: Vocabulary, named: Namer) -> ReadFile:
    """Read a survey's responses; below the header are the questions' texts, then import ids."""
    rows = list(table.records())
    ids = next((n for n, (_, row) in enumerate(rows[:3]) if "ImportId" in "".join(row.values())), 0)
    texts = rows[0][1] if ids else {}
    # The export tag is the token; where somebody changed it, the text shows the picture's address.
    columns = {
        name: trial
        for name in table.header
        if (trial := vocabulary.trial_in(name) or vocabulary.trial_in(texts.get(name, "")))
    }
    if not columns:
        raise SurveyError(table.path, "no question names or shows a picture of the study")
    answers: list[RawAnswer] = []
    previews = 0
    for line, row in rows[ids + 1 if ids else 0 :]:
        if row.get("Status", "") in ("Survey Preview", "Survey Test", "1", "2"):
            previews += 1
            continue
        finished = row.get("Finished", "").casefold()
        session = row.get("ResponseId", "")
        name = first_of(row, table, PARTICIPANT) or session
        answers += answers_of_row(
            f"{table.path.name}, line {line}",
            row,
            columns,
            name or named(f"{table.path.stem} line {line}"),
            session,
            completed=finished in ("true", "1") if finished else None,
        )
    notes = [f"{previews} previews passed over"] if previews else []
    return ReadFile(path=table.path, format="qualtrics", answers=answers, notes=notes)


def _read_jspsych(
    path: Path, rows: Sequence[tuple[str, Mapping[str, str]]], vocabulary: Vocabulary, named: Namer
) -> ReadFile:
    """Read jsPsych's data, of this export's page or of a timeline of image-button-response."""
    header = tuple(dict.fromkeys(name for _, row in rows for name in row))
    table = Table(path=path, header=header, rows=())
    answers: list[RawAnswer] = []
    places: dict[str, int] = {}
    for where, row in rows:
        # Where pictures are named apart, rows without a name only show them.
        own = f"{row.get('token', '')} {row.get('other', '')}"
        trial = vocabulary.trial_in(own if "token" in header else row.get("stimulus", ""))
        if not trial:
            continue
        chosen = row.get("survey_response", "") or row.get("response", "")
        if chosen.isdecimal() and not row.get("survey_response"):
            chosen = str(int(chosen) + 1)  # buttons are counted from 0
        name = first_of(row, table, PARTICIPANT)
        session = first_of(row, table, SESSION) or name or named(path.stem)
        places[session] = places.get(session, 0) + 1
        practice = row.get("is_practice", "")
        answers.append(
            RawAnswer(
                where=f"{path.name}, {where}",
                participant=name or session,
                session=session,
                trial=trial,
                text="" if chosen == "null" else chosen,
                place=int(as_number(row.get("survey_trial", "")) or places[session]),
                survey_id=row.get("survey_id", ""),
                rt_ms=as_number(row.get("rt", "")),
                exposure_ms=as_number(row.get("exposure_ms", "")),
                is_practice=practice.casefold() in ("1", "true") if practice else None,
                onset=row.get("onset", ""),
                viewport=row.get("viewport", ""),
                device_pixel_ratio=as_number(row.get("device_pixel_ratio", "")),
            )
        )
    if not answers:
        raise SurveyError(path, "no trial shows a picture of the study")
    return ReadFile(path=path, format="jspsych", answers=answers)


def _read_prolific(table: Table, _vocabulary: Vocabulary, _named: Namer) -> ReadFile:
    """Read who took part; later submissions of the same person count."""
    column = table.column("Participant id") or ""
    people = {row[column]: row for _, row in table.records() if row.get(column)}
    return ReadFile(path=table.path, format="prolific", people=people)


def _read_json(path: Path, format_: AnswerFormat, vocabulary: Vocabulary, named: Namer) -> ReadFile:
    try:
        stored = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise SurveyError(path, f"is no JSON: {error}") from error
    rows = stored if isinstance(stored, list) else []
    # Saved by a server, each participant's list may be in a list of its own.
    rows = [row for part in rows for row in (part if isinstance(part, list) else [part])]
    if not rows or not all(isinstance(row, dict) for row in rows):
        raise SurveyError(path, "expected a list of answers")
    jspsych = any("trial_type" in row or "trial_index" in row for row in rows)
    if format_ == "jspsych" or (format_ == "auto" and jspsych):
        texts = [
            (f"trial {number}", {name: _cell(value) for name, value in row.items()})
            for number, row in enumerate(rows, 1)
        ]
        return _read_jspsych(path, texts, vocabulary, named)
    if format_ not in ("auto", "impasto"):
        raise SurveyError(path, f"is JSON, and {format_} is not")
    return ReadFile(path=path, format="impasto", answers=_of_answers(path, read_answers(path)))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _begins(path: Path, start: bytes) -> bool:
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return False
    if start.startswith(b"SQLite"):
        return head.startswith(start)
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(start)
