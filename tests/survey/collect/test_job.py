"""Files of platforms, as they come, become one table; what is odd is counted and named."""

from collections.abc import Callable
from pathlib import Path

import pytest

from impasto.options.errors import SurveyError
from impasto.survey.answers import (
    answers_csv,
    answers_json,
    read_answers,
    write_answers,
)
from impasto.survey.collect.job import import_answers
from impasto.survey.key import Key
from tests.survey.collect.forms import (
    CHECK,
    FAKE,
    JUDGED,
    PRACTICE,
    QUALTRICS,
    REAL,
    answer,
    odd,
    said,
    table,
)


@pytest.mark.parametrize("form", [answers_csv, answers_json])
def test_files_of_the_site_come_through_unchanged(
    tmp_path: Path, key: Key, form: Callable[..., str]
) -> None:
    answers = [
        answer(
            token,
            trial=place,
            rt_ms=321.5,
            exposure_ms=200.0,
            onset="2024-05-01T12:00:00.000Z",
            viewport="1x2",
            device_pixel_ratio=1.5,
            is_practice=token == PRACTICE,
        )
        for place, token in enumerate((PRACTICE, *JUDGED), 1)
    ]
    path = tmp_path / ("a.json" if form is answers_json else "a.csv")
    path.write_text(form(answers), encoding="utf-8")
    imported = import_answers([path], key=key)
    assert list(imported.answers) == answers
    again = tmp_path / "again.csv"
    write_answers(again, imported.answers)
    assert read_answers(again) == answers
    assert list(import_answers([again], key=key).answers) == answers


def test_duplicates_count_once_and_are_named(tmp_path: Path, key: Key) -> None:
    first = [answer(token) for token in JUDGED]
    files = {
        "a.csv": first,
        "b.csv": [answer(REAL[0]), answer(REAL[1], response="fake")],
        "c.csv": [answer(FAKE[0], session="later")],
        "d.csv": [answer(FAKE[1], survey_id="study-2", participant="x")],
    }
    for name, answers in files.items():
        (tmp_path / name).write_text(answers_csv(answers), encoding="utf-8")
    imported = import_answers([tmp_path / name for name in files], key=key)
    assert sorted(one.token for one in imported.answers) == sorted(JUDGED)
    assert said(imported)["p", REAL[1]] == "real"
    assert odd(imported) == {
        "answers of another study": ["study-2"],
        "duplicates": [f"p: {REAL[0]}"],
        "duplicates that contradict the first": [f"p: {REAL[1]}"],
        "second sessions, left out": ["p: later, 1 answers"],
    }


def test_of_two_sessions_the_first_counts_whole_and_the_other_completes_nothing(
    tmp_path: Path, key: Key
) -> None:
    stopped = [
        answer(CHECK, response="fake", completed=False, onset="2024-05-01T12:00:00.000Z"),
        answer(REAL[0], completed=False, onset="2024-05-01T12:00:01.000Z"),
    ]
    later = {"session": "t", "onset": "2024-05-01T13:00:00.000Z"}
    again = [answer(token, **later) for token in JUDGED]
    only_practice = [answer(PRACTICE, session="r", onset="2024-05-01T11:00:00.000Z")]
    paths = [tmp_path / name for name in ("again.csv", "first.csv", "copy.csv", "practice.csv")]
    for path, answers in zip(paths, (again, stopped, stopped, only_practice), strict=True):
        write_answers(path, answers)
    imported = import_answers(paths, key=key)
    assert said(imported) == {("p", CHECK): "fake", ("p", REAL[0]): "real"}
    assert [(one.session, one.completed) for one in imported.answers] == [("s", False)] * 2
    assert odd(imported) == {
        "second sessions, left out": ["p: t, 5 answers", "p: r, 1 answers"],
        "duplicates": [f"p: {CHECK}", f"p: {REAL[0]}"],
        "partial sessions": ["p: 2 of 5"],
    }


def test_a_person_in_two_files_without_sessions_is_one(
    write: Callable[..., Path], key: Key
) -> None:
    one = write([["participant", *REAL], ["p", "real", "fake"]], "one.csv")
    two = write([["participant", *FAKE, CHECK], ["p", *["fake"] * 3]], "two.csv")
    imported = import_answers([one, two], key=key)
    assert (len(imported.answers), odd(imported)) == (5, {})
    assert all(one.completed for one in imported.answers)


def test_people_without_an_id_are_others_in_every_file(tmp_path: Path, key: Key) -> None:
    forms: dict[str, list[list[str]]] = {
        "google_forms": [["Timestamp", *JUDGED], ["2024/05/01 3:04:05", *["real"] * 5]],
        "wide": [["remarks", *JUDGED], ["fine", *["real"] * 5]],
        "long": [["picture", "answer"], *[[token, "real"] for token in JUDGED]],
        "qualtrics": [
            [*QUALTRICS, *JUDGED],
            ["s", "e", "IP Address", "100", "True", "r", "", *["real"] * 5],
        ],
        "mturk": [
            ["AssignmentId", "WorkerId", *[f"Answer.{token}" for token in JUDGED]],
            ["", "", *["real"] * 5],
        ],
        "jspsych": [
            ["trial_type", "trial_index", "stimulus", "response"],
            *[["x", str(place), f"{token}.png", "0"] for place, token in enumerate(JUDGED)],
        ],
    }
    for name, rows in forms.items():
        paths = [tmp_path / name / folder / "responses.csv" for folder in "ab"]
        for path in paths:
            path.parent.mkdir(parents=True)
            path.write_text(table(rows), encoding="utf-8")
        imported = import_answers([*paths, paths[0]], key=key)
        assert {file.format for file in imported.files} == {name}
        stem = imported.participants[0]
        assert imported.participants == [stem, f"{stem} (file 2)"], name
        assert {one.participant for one in imported.answers if one.completed} == {
            *imported.participants
        }
        found = odd(imported)
        assert len(found.pop("duplicates")) == 5  # of the file that is given twice
        assert found == {
            "without an id and of the same name in several files, taken for others": [stem]
        }


def test_sessions_name_people_without_an_id(write: Callable[..., Path], key: Key) -> None:
    long = write(
        [["session", "picture", "answer"]]
        + [[name, token, "real"] for name in "st" for token in JUDGED]
    )
    imported = import_answers([long], key=key)
    assert (imported.participants, len(imported.answers)) == (["s", "t"], 10)


def test_times_with_a_decimal_comma(tmp_path: Path, key: Key) -> None:
    path = tmp_path / "in.csv"
    rows = [["id", "picture", "answer", "rt_ms"]]
    rows += [
        ["p", token, "1,0", time]
        for token, time in zip(JUDGED, ("2618,6", "2618.6", "nan", "inf", "1.234,5"), strict=True)
    ]
    path.write_text(table(rows, ";"), encoding="utf-8")
    found = {one.token: one.rt_ms for one in import_answers([path], key=key).answers}
    assert [found[token] for token in JUDGED] == [2618.6, 2618.6, None, None, None]


def test_a_session_that_was_stopped_and_one_that_lost_answers(tmp_path: Path, key: Key) -> None:
    answers = [answer(REAL[0], completed=False), answer(REAL[1], participant="q")]
    path = tmp_path / "a.csv"
    path.write_text(answers_csv(answers), encoding="utf-8")
    assert odd(import_answers([path], key=key)) == {
        "partial sessions": ["p: 1 of 5"],
        "ended, and answers are missing": ["q: 1 of 5"],
    }


def test_a_pair_is_the_same_pair_whichever_is_left(
    write: Callable[..., Path], pair_key: Key
) -> None:
    path = write(
        [
            ["participant", f"{REAL[0]}_{FAKE[0]}", f"{FAKE[0]}_{REAL[0]}"],
            ["p", "real", "fake"],
        ]
    )
    imported = import_answers([path], key=pair_key)
    assert said(imported) == {("p", REAL[0]): "real"}
    assert odd(imported)["duplicates"] == [f"p: {FAKE[0]}"]


@pytest.mark.parametrize("separator", [";", "\t"])
def test_tables_of_other_countries(tmp_path: Path, key: Key, separator: str) -> None:
    rows = [["Teilnehmer", "Participant", *JUDGED], ["x", "Jürgen", *["écht"] * 5]]
    path = tmp_path / "in.csv"
    path.write_bytes(table(rows, separator).encode("cp1252"))
    imported = import_answers([path], key=key)
    assert {one.participant for one in imported.answers} == {"Jürgen"}
    assert {one.response for one in imported.answers} == {"real"}


def test_lines_that_are_too_short_or_too_long_are_named(
    write: Callable[..., Path], key: Key
) -> None:
    path = write([["participant", *JUDGED], ["a", "real"], [], ["b", *["fake"] * 5, "more"]])
    imported = import_answers([path], key=key)
    assert odd(imported)["notes"] == [
        "in.csv: lines with too few or too many cells: 2, 4",
    ]
    assert len(imported.answers) == 6


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "a.json"):
        with pytest.raises(SurveyError, match="no such file"):
            import_answers([tmp_path / name])
