"""Files of forms and platforms, as they come."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from impasto.options.errors import SurveyError
from impasto.survey.answers import (
    answers_csv,
)
from impasto.survey.collect.job import import_answers, participants_table
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
)


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


def test_a_format_that_is_told_is_believed(write: Callable[..., Path], key: Key) -> None:
    path = write([["Timestamp", *JUDGED], ["x", *["real"] * 5]])
    assert import_answers([path], key=key, format_="wide").files[0].format == "wide"
    with pytest.raises(SurveyError, match="Answer"):
        import_answers([path], key=key, format_="mturk")
    with pytest.raises(SurveyError, match="no database"):
        import_answers([path], key=key, format_="database")


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
