"""The table of answers is read whatever program saved it; what is damaged is named by its line."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.options.errors import SurveyError
from impasto.survey.answers import Answer, answers_csv, answers_json, read_answers, write_answers
from impasto.survey.collect.job import import_answers
from impasto.survey.report.job import read_all_answers
from impasto.survey.serve.database import Database
from impasto.survey.serve.sessions import MeasuredChoice, Sessions, Visitor

if TYPE_CHECKING:
    from tests.survey.conftest import SmallStudy


ANSWERS = [
    Answer(
        survey_id="study-1",
        participant="Zoë",
        session="s",
        trial=place,
        token=token,
        response="real",
        rt_ms=2618.5,
        exposure_ms=None,
        is_practice=place == 1,
        onset="2024-05-01T12:00:00.000Z",
        viewport="1x2",
        device_pixel_ratio=1.5,
        completed=True,
    )
    for place, token in enumerate(("bk3f9x2q", "cm4g8w3r"), 1)
]


CSV = answers_csv(ANSWERS)


def in_cells(text: str, changes: dict[str, Callable[[str], str]], separator: str) -> str:
    """Change cells of some columns, as a spreadsheet does."""
    header, *rows = [line.split(",") for line in text.splitlines()]
    changed = [
        [changes.get(name, str)(cell) for name, cell in zip(header, row, strict=True)]
        for row in rows
    ]
    return "\r\n".join(separator.join(row) for row in [header, *changed]) + "\r\n"


def european(text: str) -> str:
    numbers = dict.fromkeys(("rt_ms", "device_pixel_ratio"), lambda cell: cell.replace(".", ","))
    flags = dict.fromkeys(
        ("is_practice", "completed"), lambda cell: "TRUE" if cell == "1" else "FALSE"
    )
    return in_cells(text, {**numbers, **flags, "trial": lambda cell: f"{cell},0"}, ";")


@pytest.mark.parametrize(
    "stored",
    [
        CSV.encode(),
        CSV.encode("cp1252"),
        CSV.encode("utf-16"),
        european(CSV).encode("utf-8-sig"),
        in_cells(CSV, {"trial": lambda cell: f"{cell}.0"}, "\t").encode("utf-16"),
        answers_json(ANSWERS).encode("utf-8-sig"),
        answers_json(ANSWERS).replace('": 1,', '": 1.0,').encode(),
    ],
)
def test_what_a_spreadsheet_saved_is_read_as_it_was(tmp_path: Path, stored: bytes) -> None:
    path = tmp_path / "answers.csv"
    path.write_bytes(stored)
    assert read_answers(path) == ANSWERS
    assert read_all_answers([path]) == ANSWERS
    assert list(import_answers([path]).answers) == ANSWERS


def test_json_in_utf_16_is_read(tmp_path: Path) -> None:
    path = tmp_path / "answers.json"
    path.write_bytes(answers_json(ANSWERS).encode("utf-16"))
    assert read_answers(path) == ANSWERS
    assert list(import_answers([path]).answers) == ANSWERS


@pytest.mark.parametrize("name", ["answers.csv", "answers.json"])
def test_answers_are_for_their_owner_alone(tmp_path: Path, name: str) -> None:
    write_answers(tmp_path / name, [])
    assert (tmp_path / name).stat().st_mode & 0o777 == 0o600


def test_unknown_times_stay_unknown(tmp_path: Path) -> None:
    path = tmp_path / "answers.csv"
    answers = [replace(one, rt_ms=None, device_pixel_ratio=None) for one in ANSWERS]
    path.write_text(answers_csv(answers), encoding="utf-8")
    assert read_answers(path) == answers


def test_files_of_any_name_are_told_by_what_they_hold(
    small_study: Callable[..., "SmallStudy"], tmp_path: Path
) -> None:
    small, path = small_study(), tmp_path / "answers"
    with closing(Database(path, small.study)) as database:
        sessions = Sessions(database, small.study)
        session, token = sessions.begin(Visitor(participant="p"))
        while sessions.step(session).screen != "trial":
            session = sessions.take(token, session.position, None)
        sessions.take(token, session.position, MeasuredChoice(choice="fake", rt_ms=500.0))
    (found,) = read_all_answers([path])
    assert (found.participant, found.response, found.rt_ms) == ("p", "fake", 500.0)
    plain = tmp_path / "table"
    plain.write_text(CSV, encoding="utf-8")
    assert read_all_answers([path, plain]) == [found, *ANSWERS]


SECOND = CSV.splitlines()[2]


@pytest.mark.parametrize(
    ("damaged", "message"),
    [
        (SECOND.replace(",2,cm", ",,cm"), "line 3: trial: expected a whole number, got ''"),
        (SECOND.replace(",2,cm", ",2.5,cm"), r"line 3: trial: expected a whole number, got '2\.5'"),
        (SECOND.replace("2618.5", "nan"), "line 3: rt_ms: expected a number or nothing, got 'nan'"),
        (SECOND.replace("2618.5", "-inf"), "line 3: rt_ms: .* got '-inf'"),
        (SECOND.replace("2618.5", "1.234,5"), "line 3: expected 14 cells"),
        (SECOND.replace("2618.5", '"1.234,5"'), "line 3: rt_ms: .* got '1.234,5'"),
        (SECOND.replace(",real,", ",perhaps,"), "line 3: response: expected real or fake"),
        (SECOND[:-1] + "2", "line 3: completed: expected 0, 1, true or false, got '2'"),
        (SECOND[:-1] + "yes", "line 3: completed: .* got 'yes'"),
        (SECOND[:30], "line 3: expected 14 cells as in the header"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, damaged: str, message: str) -> None:
    path = tmp_path / "answers.csv"
    path.write_text(CSV.replace(SECOND, damaged), encoding="utf-8")
    for read in (read_answers, lambda path: import_answers([path])):
        with pytest.raises(SurveyError, match=rf"answers\.csv: {message}"):
            read(path)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (answers_json(ANSWERS).encode("cp1252"), "is no JSON"),
        (answers_json(ANSWERS).replace("2618.5", "NaN").encode(), "answer 1: rt_ms: .* got nan"),
        (answers_json(ANSWERS).replace("2618.5", "Infinity").encode(), "answer 1: rt_ms"),
        (answers_json(ANSWERS).replace("2618.5", "[1]").encode(), "answer 1: rt_ms"),
        (answers_json(ANSWERS).replace("Zo\u00eb", "\\ud800").encode(), "answer 1: participant"),
        (json.dumps([{"token": "bk3f9x2q"}]).encode(), "answer 1 has no survey_id, participant"),
        (b"[" * 100_000, "is no JSON"),
    ],
)
def test_a_damaged_answer_of_json_is_named(tmp_path: Path, stored: bytes, message: str) -> None:
    path = tmp_path / "answers.json"
    path.write_bytes(stored)
    for read in (read_answers, lambda path: import_answers([path])):
        with pytest.raises(SurveyError, match=rf"answers\.json: {message}"):
            read(path)
