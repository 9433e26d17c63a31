"""The results of Mechanical Turk, Qualtrics, jsPsych, and Prolific."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from impasto.options.errors import SurveyError
from impasto.survey.collect.rows import (
    PARTICIPANT,
    SESSION,
    Namer,
    Raw,
    ReadFile,
    Vocabulary,
    answers_of_row,
    as_number,
    asked_columns,
    first_of,
)
from impasto.survey.tables import Table

__all__ = ["read_jspsych", "read_mturk", "read_prolific", "read_qualtrics"]


def read_mturk(table: Table, vocabulary: Vocabulary, named: Namer) -> ReadFile:
    """Read a batch's results; columns Answer.NAME, or all in Answer.taskAnswers as JSON."""
    answers: list[Raw] = []
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


def read_qualtrics(table: Table, vocabulary: Vocabulary, named: Namer) -> ReadFile:
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
    answers: list[Raw] = []
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


def read_jspsych(
    path: Path, rows: Sequence[tuple[str, Mapping[str, str]]], vocabulary: Vocabulary, named: Namer
) -> ReadFile:
    """Read jsPsych's data, of this export's page or of a timeline of image-button-response."""
    header = tuple(dict.fromkeys(name for _, row in rows for name in row))
    table = Table(path=path, header=header, rows=())
    answers: list[Raw] = []
    places: dict[str, int] = {}
    for where, row in rows:
        # Where pictures are named apart, rows without a name only show them.
        own = f"{row.get('token', '')} {row.get('other', '')}"
        trial = vocabulary.trial_in(own if "token" in header else row.get("stimulus", ""))
        if not trial:
            continue
        said = row.get("survey_response", "") or row.get("response", "")
        if said.isdecimal() and not row.get("survey_response"):
            said = str(int(said) + 1)  # buttons are counted from 0
        name = first_of(row, table, PARTICIPANT)
        session = first_of(row, table, SESSION) or name or named(path.stem)
        places[session] = places.get(session, 0) + 1
        practice = row.get("is_practice", "")
        answers.append(
            Raw(
                where=f"{path.name}, {where}",
                participant=name or session,
                session=session,
                trial=trial,
                said="" if said == "null" else said,
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


def read_prolific(table: Table, _vocabulary: Vocabulary, _named: Namer) -> ReadFile:
    """Read who took part; later submissions of the same person count."""
    column = table.column("Participant id") or ""
    people = {row[column]: row for _, row in table.records() if row.get(column)}
    return ReadFile(path=table.path, format="prolific", people=people)
