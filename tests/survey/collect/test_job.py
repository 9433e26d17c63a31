"""Files of platforms, as they come, become one table; what is odd is counted and named."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from impasto.options.errors import SurveyError
from impasto.survey.answers import (
    Answer,
    answers_csv,
    answers_json,
    read_answers,
    write_answers,
)
from impasto.survey.collect.job import Imported, import_answers, participants_table
from impasto.survey.collect.rows import Vocabulary
from impasto.survey.key import Key, KeyedPicture
from impasto.survey.tables import read_table

# Two real, two fake, one check, one for practice.
REAL, FAKE = ("bk3f9x2q", "cm4g8w3r"), ("dn5h7v4s", "fp6j6t5t")
CHECK, PRACTICE = "gq7k5s6v", "hr8m4r7w"
JUDGED = (*REAL, *FAKE, CHECK)


@pytest.fixture
def key() -> Key:
    def keyed(kind: Any, label: Any) -> KeyedPicture:
        return KeyedPicture(kind=kind, label=label, picture_sha256="0" * 64)

    pictures = {token: keyed("scored", "real") for token in REAL}
    pictures |= {token: keyed("scored", "fake") for token in FAKE}
    pictures |= {CHECK: keyed("attention", "real"), PRACTICE: keyed("practice", "fake")}
    return Key(
        survey_id="study-1",
        version="0",
        protocol="single",
        seed=1,
        pictures=pictures,
        orders=[[(token,) for token in JUDGED]],
        options={"words": {"answer_real": "Écht", "answer_fake": "Vervalst"}},
    )


@pytest.fixture
def pair_key(key: Key) -> Key:
    orders = [[(REAL[0], FAKE[0]), (FAKE[1], REAL[1])]]
    words = {"picture_first": "Foto 1", "picture_second": "Foto 2"}
    options = {"question": "fake", "words": words}
    return Key(**{**vars(key), "protocol": "pair", "orders": orders, "options": options})


def table(rows: Sequence[Sequence[object]], separator: str = ",") -> str:
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=separator).writerows(rows)
    return text.getvalue()


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def save(
        rows: Sequence[Sequence[object]], name: str = "in.csv", encoding: str = "utf-8"
    ) -> Path:
        path = tmp_path / name
        path.write_bytes(table(rows).encode(encoding))
        return path

    return save


def said(imported: Imported) -> dict[tuple[str, str], str]:
    return {(one.participant, one.token): one.response for one in imported.answers}


def odd(imported: Imported) -> dict[str, list[str]]:
    return {one.what: list(one.names) for one in imported.oddities}


def test_google_forms(write: Callable[..., Path], key: Key) -> None:
    titles = [f"Is this picture real or fake? [{token}]" for token in JUDGED]
    path = write(
        [
            ["Timestamp", "Participant", *titles],
            ["2024/05/01 3:04:05 PM GMT+2", "ann", "Real", "Real", "Fake", "Écht", "REAL"],
            ["2024/05/01 3:04:06 PM GMT+2", "", "Fake", "", "Fake", "vervalst", "Real"],
            ["2024/05/01 3:04:06 PM GMT+2", "", *["Real"] * 5],
        ]
    )
    imported = import_answers([path], key=key)
    assert imported.files[0].format == "google_forms"
    answers = said(imported)
    assert len(answers) == 14
    assert answers["ann", FAKE[1]] == "real"
    stamp = "2024/05/01 3:04:06 PM GMT+2"
    assert answers[stamp, FAKE[1]] == "fake"
    assert odd(imported) == {
        "blanks": [f"{stamp}: {REAL[1]}"],
        "partial sessions": [f"{stamp}: 4 of 5"],
    }
    completed = {one.participant: one.completed for one in imported.answers}
    assert completed == {"ann": True, stamp: False, f"{stamp} (2)": True}
    assert {one.survey_id for one in imported.answers} == {"study-1"}


MTURK = (
    *("HITId", "HITTypeId", "Title", "AssignmentId", "WorkerId", "AssignmentStatus"),
    *("AcceptTime", "SubmitTime", "WorkTimeInSeconds", "Input.survey_id", "Input.trials"),
)


def test_mturk(write: Callable[..., Path], key: Key) -> None:
    fields = [f"Answer.{token}" for token in JUDGED]
    times = [f"Answer.rt_{token}" for token in JUDGED]
    trials = " ".join(JUDGED)
    path = write(
        [
            [*MTURK, "Answer.survey_id", *fields, *times, "Answer.viewport", "Approve", "Reject"],
            ["h", "t", "x", "a1", "w1", "Approved", "", "", "90", "study-1", trials, "study-1",
             *["real", "fake", "fake", "real", "real"], *range(500, 505), "800x600", "x", ""],
            ["h", "t", "x", "a2", "w2", "Rejected", "", "", "90", "study-1", trials, "study-1",
             *["fake"] * 5, *[""] * 5, "", "", "x"],
        ]
    )  # fmt: skip
    imported = import_answers([path], key=key)
    assert imported.files[0].format == "mturk"
    first = next(one for one in imported.answers if one.participant == "w1")
    assert (first.session, first.viewport, first.completed) == ("a1", "800x600", True)
    times_of = {one.token: one.rt_ms for one in imported.answers if one.participant == "w1"}
    assert times_of == {token: 500.0 + place for place, token in enumerate(JUDGED)}
    assert odd(imported) == {"notes": ["in.csv: 1 rejected assignments are among the answers"]}


def test_mturk_with_all_answers_in_one_cell(write: Callable[..., Path], key: Key) -> None:
    cell = json.dumps([{REAL[0]: "real", f"rt_{REAL[0]}": 321, FAKE[0]: "fake"}])
    path = write([["AssignmentId", "WorkerId", "Answer.taskAnswers"], ["a", "w", cell]])
    imported = import_answers([path], key=key)
    assert said(imported) == {("w", REAL[0]): "real", ("w", FAKE[0]): "fake"}
    assert odd(imported) == {"partial sessions": ["w: 2 of 5"]}


QUALTRICS = ("StartDate", "EndDate", "Status", "Progress", "Finished", "RecordedDate", "ResponseId")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("words", [("Real", "Fake"), ("1", "2")])
def test_qualtrics_with_its_three_header_rows(
    write: Callable[..., Path], key: Key, encoding: str, words: tuple[str, str]
) -> None:
    real, fake = words
    # The last question's tag was changed; its text still shows the picture.
    tags = [*JUDGED[:4], "Q19"]
    texts = [f'<img src="https://x/images/{token}.png"> Real or fake?' for token in JUDGED]
    ids = [f'{{"ImportId":"QID{n}"}}' for n in range(len(QUALTRICS) + 6)]
    path = write(
        [
            [*QUALTRICS, *tags, "PROLIFIC_PID"],
            [*QUALTRICS, *texts, "PROLIFIC_PID"],
            ids,
            ["s", "e", "IP Address", "100", "True", "r", "R_1", real, fake, fake, fake, real, "p1"],
            ["s", "e", "IP Address", "60", "False", "r", "R_2", real, fake, "", "", "", ""],
            ["s", "e", "Survey Preview", "100", "True", "r", "R_3", *[real] * 5, ""],
        ],
        encoding=encoding,
    )
    imported = import_answers([path], key=key)
    assert imported.files[0].format == "qualtrics"
    assert said(imported) == {
        ("p1", REAL[0]): "real",
        ("p1", REAL[1]): "fake",
        ("p1", FAKE[0]): "fake",
        ("p1", FAKE[1]): "fake",
        ("p1", CHECK): "real",
        ("R_2", REAL[0]): "real",
        ("R_2", REAL[1]): "fake",
    }
    assert odd(imported)["notes"] == ["in.csv: 1 previews passed over"]
    assert odd(imported)["partial sessions"] == ["R_2: 2 of 5"]
    assert len(odd(imported)["blanks"]) == 3


def jspsych_rows() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = [
        {"trial_type": "preload", "trial_index": 0, "rt": None, "participant": "p"}
    ]
    rows += [
        {
            "trial_type": "html-button-response",
            "trial_index": place + 1,
            "rt": 700 + place,
            "response": place % 2,
            "token": token,
            "other": "",
            "survey_response": ["real", "fake"][place % 2],
            "survey_trial": place + 1,
            "survey_id": "study-1",
            "participant": "p",
            "session": "s",
            "stimulus": "",
            "device_pixel_ratio": 2,
        }
        for place, token in enumerate((PRACTICE, *JUDGED))
    ]
    return rows


@pytest.mark.parametrize("form", ["csv", "json", "lists of lists"])
def test_jspsych(tmp_path: Path, key: Key, form: str) -> None:
    rows = jspsych_rows()
    path = tmp_path / f"data.{form[:4].strip()}"
    if form == "csv":
        text = io.StringIO(newline="")
        names = list(dict.fromkeys(name for row in rows for name in row))
        saved = csv.DictWriter(text, names)
        saved.writeheader()
        saved.writerows(rows)
        path.write_text(text.getvalue(), encoding="utf-8")
    else:
        path = tmp_path / "data.json"
        path.write_text(json.dumps(rows if form == "json" else [rows]), encoding="utf-8")
    imported = import_answers([path], key=key)
    assert imported.files[0].format == "jspsych"
    assert [(one.token, one.response, one.is_practice) for one in imported.answers] == [
        (token, ["real", "fake"][place % 2], place == 0)
        for place, token in enumerate((PRACTICE, *JUDGED))
    ]
    assert [one.rt_ms for one in imported.answers] == [700.0 + place for place in range(6)]
    assert odd(imported) == {}


def test_jspsych_of_another_timeline_by_path_and_button(
    write: Callable[..., Path], key: Key
) -> None:
    path = write(
        [
            ["trial_type", "trial_index", "stimulus", "rt", "response", "subject"],
            ["instructions", 0, "", 900, "", "s7"],
            ["image-button-response", 1, f"img/{REAL[0]}.png", 612.5, 0, "s7"],
            ["image-button-response", 2, f"img/{FAKE[0]}.png", 713, 1, "s7"],
            ["image-button-response", 3, f"img/{FAKE[1]}.png", "null", "null", "s7"],
        ]
    )
    imported = import_answers([path], key=key)
    assert said(imported) == {("s7", REAL[0]): "real", ("s7", FAKE[0]): "fake"}
    assert odd(imported)["blanks"] == [f"s7: {FAKE[1]}"]


def test_wide_and_long_tables(write: Callable[..., Path], key: Key) -> None:
    wide = write(
        [["name", *[f"images/{token}.png" for token in JUDGED]], ["eve", "R", "f", 1, 2, "1.0"]],
        "wide.csv",
    )
    long = write(
        [
            ["Subject", "Picture", "Answer", "rt_s"],
            ["max", f"{REAL[0]}.png", "real", "1.25"],
            ["max", "images/zz.png", "fake", "2"],
            ["max", "bbbbbbbb", "fake", "2"],
            ["max", FAKE[0], "perhaps", "2"],
        ],
        "long.csv",
    )
    imported = import_answers([wide, long], key=key)
    assert [file.format for file in imported.files] == ["wide", "long"]
    answers = said(imported)
    assert [answers["eve", token] for token in JUDGED] == ["real", "fake", "real", "fake", "real"]
    assert [one.rt_ms for one in imported.answers if one.participant == "max"] == [1250.0]
    assert odd(imported) == {
        "unknown pictures": ["images/zz.png", "bbbbbbbb"],
        "not understood": ["long.csv, line 5: 'perhaps'"],
        "partial sessions": ["max: 1 of 5"],
    }


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


@pytest.mark.parametrize(
    ("asked", "choice", "expected"),
    [
        ("fake", "Picture 1", "fake"),
        ("fake", "foto 2", "real"),
        ("fake", "1", "fake"),
        ("real", "left", "real"),
        ("real", "Second", "fake"),
        ("real", "fake", "fake"),
    ],
)
def test_choices_of_pairs(
    write: Callable[..., Path], pair_key: Key, asked: str, choice: str, expected: str
) -> None:
    options = {**pair_key.options, "question": asked}
    changed = Key(**{**vars(pair_key), "options": options})
    path = write(
        [["participant", f"Which one? [{REAL[0]} {FAKE[0]}]"], ["p", choice]],
    )
    (found,) = import_answers([path], key=changed).answers
    assert (found.token, found.other, found.response) == (REAL[0], FAKE[0], expected)


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


def test_a_choice_of_a_pair_is_not_guessed_without_a_key(write: Callable[..., Path]) -> None:
    path = write([["participant", f"{REAL[0]}_{FAKE[0]}"], ["p", "1"]])
    with pytest.raises(SurveyError, match="takes --key"):
        import_answers([path])


def test_without_a_key_what_looks_like_a_picture_is_one(write: Callable[..., Path]) -> None:
    path = write([["id", *JUDGED, "remarks"], ["", *["real"] * 5, "fine"], ["", "fake", *[""] * 5]])
    imported = import_answers([path])
    assert len(imported.answers) == 6
    assert odd(imported)["partial sessions"] == ["in line 3: 1 of 5"]


def test_prolific_says_who_took_part(tmp_path: Path, write: Callable[..., Path], key: Key) -> None:
    people = write(
        [
            ["Submission id", "Participant id", "Status", "Started at", "Age", "Sex"],
            ["s1", "p", "APPROVED", "2024", "31", "Female"],
            ["s2", "q", "RETURNED", "2024", "CONSENT_REVOKED", ""],
            ["s3", "lost", "APPROVED", "2024", "40", "Male"],
        ],
        "prolific.csv",
    )
    answers = [answer(token, participant=name) for name in "pqr" for token in JUDGED]
    path = tmp_path / "a.csv"
    path.write_text(answers_csv(answers), encoding="utf-8")
    imported = import_answers([path, people], key=key)
    assert imported.files[1].format == "prolific"
    assert odd(imported) == {
        "answered, and not in Prolific's list": ["r"],
        "in Prolific's list, and no answers": ["lost"],
        "answered, and returned at Prolific": ["q"],
    }
    header, rows = participants_table(imported)
    assert header[:4] == ["participant", "answers", "completed", "Submission id"]
    assert [row[:3] for row in rows] == [
        ["lost", "0", "0"],
        ["p", "5", "1"],
        ["q", "5", "1"],
        ["r", "5", "1"],
    ]
    assert rows[1][header.index("Age")] == "31"


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


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"\0\0\0\0", "is no text"),
        (b"a,b\n1,2\n", "no column names a picture"),
        (b'[{"a": 1', "is no JSON"),
        (b"[1, 2]", "expected a list of answers"),
        (b"[" * 100_000, "is no JSON"),
        (b"{}", "expected a list of answers"),
        (b"SQLite format 3\0 and then nothing", "in.csv"),
        (b'token,answer\n"' + b"x" * 2_000_000, "is no CSV"),
        (b"survey_id,token,response,is_practice\n1,2,3,4\n", "has no column"),
        (b"\xff\xfe\x00", "is no text"),
        (f"participant,{REAL[0]}\np,\n".encode(), "no answer could be read: blanks: 1"),
    ],
)
def test_files_that_hold_no_answers_are_refused(
    tmp_path: Path, key: Key, content: bytes, message: str
) -> None:
    path = tmp_path / "in.csv"
    path.write_bytes(content)
    with pytest.raises(SurveyError, match=message):
        import_answers([path], key=key)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    for name in ("a.csv", "a.json"):
        with pytest.raises(SurveyError, match="no such file"):
            import_answers([tmp_path / name])


def test_a_format_that_is_told_is_believed(write: Callable[..., Path], key: Key) -> None:
    path = write([["Timestamp", *JUDGED], ["x", *["real"] * 5]])
    assert import_answers([path], key=key, format_="wide").files[0].format == "wide"
    with pytest.raises(SurveyError, match="Answer"):
        import_answers([path], key=key, format_="mturk")
    with pytest.raises(SurveyError, match="no database"):
        import_answers([path], key=key, format_="database")


def test_hostile_ids_are_one_line_and_not_endless(write: Callable[..., Path], key: Key) -> None:
    name = "a\r\nb\tc" + "x" * 10_000
    path = write([["participant", *JUDGED], [name, *["real"] * 5]])
    (only,) = import_answers([path], key=key).participants
    assert only == ("a b c" + "x" * 10_000)[:200]


def test_repeated_columns_are_told_apart(tmp_path: Path) -> None:
    path = tmp_path / "in.csv"
    path.write_text("a,a,b\n1,2,3\n", encoding="utf-8")
    assert read_table(path).header == ("a", "a (2)", "b")


def test_a_token_is_found_in_whatever_surrounds_it() -> None:
    words = Vocabulary(tokens={REAL[0], "zz9"})
    for text in (f"https://x.org/images/{REAL[0]}.png?x=1", f"Answer.{REAL[0]}", f"({REAL[0]})"):
        assert words.trial_in(text) == (REAL[0],)
    assert words.trial_in("ZZ9") == ("zz9",)
    assert words.trial_in("is this picture real or fake") == ()
