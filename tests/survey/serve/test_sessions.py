"""Sessions and their database: each answer once, on the disk, also under threads and damage."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from impasto.options.errors import SurveyError
from impasto.survey.key import Key
from impasto.survey.serve import database as database_module
from impasto.survey.serve.database import Database, read_database
from impasto.survey.serve.owner import exposures_by_key
from impasto.survey.serve.sessions import (
    BadIdError,
    MeasuredChoice,
    OutOfOrderError,
    Session,
    Sessions,
    Visitor,
    read_visitor,
)
from impasto.survey.staircase import Staircase, modal_exposure
from impasto.survey.study import make_steps

if TYPE_CHECKING:
    from tests.survey.conftest import SmallStudy

Make = Callable[..., "SmallStudy"]


@pytest.fixture
def small(small_study: Make) -> "SmallStudy":
    return small_study()


@pytest.fixture
def database(small: "SmallStudy", tmp_path: Path) -> Iterator[Database]:
    with closing(Database(tmp_path / "answers.sqlite", small.study)) as opened:
        yield opened


@pytest.fixture
def sessions(small: "SmallStudy", database: Database) -> Sessions:
    return Sessions(database, small.study)


def go_through(sessions: Sessions, session: Session, token: str, choice: str = "real") -> Session:
    while sessions.step(session).screen != "thanks":
        is_trial = sessions.step(session).screen == "trial"
        measured = MeasuredChoice(choice=choice, rt_ms=500.0) if is_trial else None
        session = sessions.take(token, session.position, measured)
    return session


def test_steps_are_practice_with_feedback_then_the_trials_of_the_order(small: "SmallStudy") -> None:
    steps = make_steps(small.study, 3)
    assert [step.screen for step in steps] == [
        "instructions",
        *("trial", "feedback", "trial", "feedback"),
        "ready",
        *("trial",) * 4,
        "thanks",
    ]
    trials = [step for step in steps if step.screen == "trial"]
    assert [step.position for step in trials] == [1, 2, 3, 4, 5, 6]
    assert [step.trial for step in trials[2:]] == list(small.study.orders[3])
    assert [(step.number, step.total) for step in trials] == [
        *((1, 2), (2, 2)),
        *((1, 4), (2, 4), (3, 4), (4, 4)),
    ]


@pytest.mark.parametrize(
    ("protocol", "question", "choice", "response"),
    [
        ("single", "real", "real", "real"),
        ("timed", "real", "fake", "fake"),
        ("pair", "real", "1", "real"),
        ("pair", "real", "2", "fake"),
        ("pair", "fake", "1", "fake"),
        ("pair", "fake", "2", "real"),
    ],
)
def test_a_response_is_about_the_first_picture(
    small_study: Make, protocol: str, question: str, choice: str, response: str
) -> None:
    study = small_study(protocol=protocol, question=question).study
    assert study.rules.response_of(choice, study.question) == response


def test_orders_are_given_in_turn_also_to_people_who_come_at_once(sessions: Sessions) -> None:
    with ThreadPoolExecutor(16) as pool:
        begun = list(pool.map(lambda n: sessions.begin(Visitor(participant=f"p{n}")), range(50)))
    assert Counter(session.order for session, _ in begun) == dict.fromkeys(range(5), 10)
    assert len({session.number for session, _ in begun}) == 50


def test_the_same_person_twice_at_once_begins_one_session(sessions: Sessions) -> None:
    with ThreadPoolExecutor(8) as pool:
        begun = list(pool.map(lambda _: sessions.begin(Visitor(participant="p")), range(8)))
    assert {session.number for session, _ in begun} == {0}
    valid = [token for _, token in begun if sessions.find(token)]
    assert len(valid) == 1


def test_the_first_of_many_posts_of_the_same_trial_counts(
    sessions: Sessions, database: Database
) -> None:
    session, token = sessions.begin(Visitor())
    session = sessions.take(token, 0, None)
    choices = ["real", "fake"] * 8

    def post(choice: str) -> int:
        return sessions.take(token, session.position, MeasuredChoice(choice=choice)).position

    with ThreadPoolExecutor(8) as pool:
        positions = list(pool.map(post, choices))
    assert set(positions) == {2}
    assert len(database.answers()) == 1
    first = database.answers()[0].response
    sessions.take(token, 1, MeasuredChoice(choice="fake" if first == "real" else "real"))
    assert database.answers()[0].response == first


def test_what_is_yet_to_come_is_refused_and_leaves_nothing(
    sessions: Sessions, database: Database
) -> None:
    session, token = sessions.begin(Visitor())
    for position in (1, 2, 99):
        with pytest.raises(OutOfOrderError):
            sessions.take(token, position, MeasuredChoice(choice="real"))
    sessions.take(token, 0, None)
    with pytest.raises(OutOfOrderError):
        sessions.take(token, 1, None)
    with pytest.raises(LookupError):
        sessions.take("x" * 43, 1, MeasuredChoice(choice="real"))
    assert database.answers() == []
    done = go_through(sessions, sessions.take(token, 0, None), token)
    with pytest.raises(OutOfOrderError):
        sessions.take(token, done.position, MeasuredChoice(choice="real"))
    assert len(database.answers()) == 6
    assert session.number == done.number


def test_answers_are_as_they_were_sent(sessions: Sessions, database: Database) -> None:
    session, token = sessions.begin(Visitor(participant="p", session="s", study="x"))
    sessions.take(token, 0, None)
    sessions.view(sessions.take(token, 0, None))
    sent = MeasuredChoice(
        choice="fake",
        rt_ms=812.4,
        exposure_ms=None,
        onset="2026-01-02T03:04:05.678Z",
        viewport="360x640",
        device_pixel_ratio=2.5,
    )
    sessions.take(token, 1, sent)
    (answer,) = database.answers()
    assert (answer.rt_ms, answer.onset, answer.viewport) == (812.4, sent.onset, "360x640")
    assert (answer.device_pixel_ratio, answer.exposure_ms) == (2.5, None)
    assert (answer.participant, answer.trial, answer.is_practice) == ("p", 1, True)
    assert not answer.completed
    (row,) = database.read("SELECT served, received, views FROM answers")
    assert row["served"] <= row["received"]
    assert row["views"] == 1
    go_through(sessions, sessions.take(token, 1, sent), token)
    assert all(one.completed for one in database.answers())
    assert sessions.find_participant("p") == sessions.find(token)
    assert session.order == 0


def test_a_second_visit_takes_up_the_session_and_ends_the_first_token(sessions: Sessions) -> None:
    session, first = sessions.begin(Visitor(participant="p"))
    sessions.take(first, 0, None)
    again, second = sessions.begin(Visitor(participant="p", session="another"))
    assert (again.number, again.position) == (session.number, 1)
    assert sessions.find(first) is None
    with pytest.raises(LookupError):
        sessions.take(first, 1, MeasuredChoice(choice="real"))
    assert sessions.find(second) == again


def test_people_without_an_id_are_never_taken_for_each_other(sessions: Sessions) -> None:
    begun = [sessions.begin(Visitor())[0] for _ in range(3)]
    assert len({session.participant for session in begun}) == 3
    with pytest.raises(BadIdError):
        read_visitor({"participant": begun[0].participant})
    assert sessions.find_participant(begun[0].participant) is None


@pytest.mark.parametrize(
    "bad",
    [
        "'; DROP TABLE answers; --",
        "<script>alert(1)</script>",
        "../../etc/passwd",
        "a\nb",
        "a b",
        "a,b",
        '"a"',
        "=1+1",
        "-1",
        "@SUM(1)",
        "ä",
        "a" * 129,
        "\x00",
    ],
)
@pytest.mark.parametrize("name", ["PROLIFIC_PID", "SESSION_ID", "STUDY_ID"])
def test_ids_that_no_platform_gives_are_refused(name: str, bad: str) -> None:
    with pytest.raises(BadIdError):
        read_visitor({"PROLIFIC_PID": "p", name: bad})


def test_ids_of_platforms_are_read() -> None:
    assert read_visitor({}) == Visitor()
    turk = {"workerId": "A1", "assignmentId": "3X", "hitId": "H"}
    assert read_visitor(turk) == Visitor(participant="A1", session="3X", study="H")
    preview = read_visitor({"assignmentId": "ASSIGNMENT_ID_NOT_AVAILABLE"})
    assert preview.is_preview
    assert not read_visitor(turk).is_preview


# The file


def test_a_database_is_gone_on_with(small: "SmallStudy", tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    secrets = []
    for _ in range(2):
        with closing(Database(path, small.study)) as database:
            sessions = Sessions(database, small.study)
            go_through(sessions, *sessions.begin(Visitor()))
            secrets.append(database.secret)
        assert not path.with_name("a.sqlite-wal").exists()
    assert secrets[0] == secrets[1]
    assert len(read_database(path)) == 12


def test_an_open_database_may_be_read(sessions: Sessions, database: Database) -> None:
    session, token = sessions.begin(Visitor(participant="p"))
    with database.transaction() as connection:
        connection.execute("UPDATE sessions SET views = 1")
        assert read_database(database.path) == []
    go_through(sessions, session, token)
    assert read_database(database.path) == database.answers()
    assert len(database.answers()) == 6


def test_texts_may_be_corrected_meanwhile_and_pictures_not(
    small: "SmallStudy", tmp_path: Path
) -> None:
    path = tmp_path / "a.sqlite"
    Database(path, small.study).close()
    Database(path, replace(small.study, texts={"title": "Other"}, version="9")).close()
    for changed, message in (
        (replace(small.study, orders=small.study.orders[:2]), "another export"),
        (replace(small.study, survey_id="other"), "holds answers of study-"),
    ):
        with pytest.raises(SurveyError, match=message):
            Database(path, changed)


def others_may_read(path: Path) -> list[str]:
    return sorted(
        one.name for one in path.parent.glob(f"{path.name}*") if one.stat().st_mode & 0o77
    )


def test_only_the_owner_may_read_the_file_and_those_beside_it(
    small: "SmallStudy", tmp_path: Path
) -> None:
    path = tmp_path / "private" / "a.sqlite"
    path.parent.mkdir()
    mask = os.umask(0)
    try:
        with closing(Database(path, small.study)) as database:
            Sessions(database, small.study).begin(Visitor(participant="p"))
            names = {one.name for one in path.parent.iterdir()}
            assert names == {"a.sqlite", "a.sqlite-wal", "a.sqlite-shm"}
            assert others_may_read(path) == []
    finally:
        os.umask(mask)
    path.chmod(0o644)  # as an earlier Impasto made it
    with closing(Database(path, small.study)) as database:
        Sessions(database, small.study).begin(Visitor(participant="q"))
        assert others_may_read(path) == []
    # What is no database of ours is left as it is.
    other = tmp_path / "notes"
    other.write_bytes(b"x" * 5000)
    other.chmod(0o644)
    with pytest.raises(SurveyError):
        Database(other, small.study)
    assert others_may_read(other) == ["notes"]


def test_a_database_of_the_first_format_is_gone_on_with(
    small: "SmallStudy", tmp_path: Path
) -> None:
    path = tmp_path / "a.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in database_module._SCHEMA:
            lines = [line for line in statement.splitlines() if "condition" not in line]
            text = "\n".join(lines).replace("completed TEXT,", "completed TEXT")
            connection.execute(text)
        connection.execute(f"PRAGMA application_id = {0x47565259}")
        connection.execute("PRAGMA user_version = 1")
        connection.execute(
            "INSERT INTO study VALUES (1, ?, ?, ?, 'then')",
            (small.study.survey_id, database_module._fingerprint(small.study), b"s" * 32),
        )
    assert read_database(path) == []
    with closing(Database(path, small.study)) as database:
        assert database.secret == b"s" * 32
        sessions = Sessions(database, small.study, condition=database.start({"texts": {}}))
        go_through(sessions, *sessions.begin(Visitor()))
        assert database.earlier_conditions() == [({"texts": {}}, 1)]
    assert len(read_database(path)) == 6


def test_each_session_keeps_what_was_in_force_when_it_began(
    small: "SmallStudy", database: Database
) -> None:
    one, other = {"texts": {"title": "A"}}, {"texts": {"title": "\u00c4"}}
    for condition in (one, other, one):
        sessions = Sessions(database, small.study, condition=database.start(condition))
        sessions.begin(Visitor())
    assert database.earlier_conditions() == [(one, 2), (other, 1)]
    rows = database.read("SELECT condition FROM starts ORDER BY started, rowid")
    assert [row["condition"] for row in rows] == [1, 2, 1]


def test_a_lock_of_another_program_stops_answers_only(
    sessions: Sessions, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_PATIENCE_SECONDS", 0.2)
    session, token = sessions.begin(Visitor(participant="p"))
    with closing(sqlite3.connect(database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with ThreadPoolExecutor(8) as pool:
            posts = [pool.submit(sessions.take, token, 0, None) for _ in range(8)]
            assert sessions.find(token) == session
            assert database.answers() == []
            for post in posts:
                with pytest.raises(sqlite3.OperationalError, match="locked"):
                    post.result(timeout=120)
        other.execute("ROLLBACK")
    assert sessions.take(token, 0, None).position == 1


def test_a_lock_at_the_start_is_explained(
    small: "SmallStudy", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_module, "_PATIENCE_SECONDS", 0.2)
    path = tmp_path / "a.sqlite"
    Database(path, small.study).close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(SurveyError, match="locked by another program"):
            Database(path, small.study)


def spoil_header(path: Path) -> None:
    path.write_bytes(b"not a database at all" * 100)


def spoil_middle(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 4] = os.urandom(4096 * 3)
    path.write_bytes(content)


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def another_program(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE bookmarks (url TEXT)")


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 7")


def no_tables(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE answers")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_header, "is no database of answers, or is damaged"),
        (spoil_middle, "damaged"),
        (cut_short, "damaged"),
        (another_program, "is a database of something else"),
        (newer, "is of format 7; this Impasto reads format 2"),
    ],
)
def test_a_damaged_or_foreign_file_is_refused(
    small: "SmallStudy", tmp_path: Path, spoil: Callable[[Path], None], message: str
) -> None:
    path = tmp_path / "a.sqlite"
    Database(path, small.study).close()
    spoil(path)
    before = path.read_bytes()
    for use in (read_database, lambda path: Database(path, small.study)):
        with pytest.raises(SurveyError, match=message) as caught:
            use(path)
        assert str(path) in str(caught.value)
    assert path.read_bytes() == before


def test_a_file_without_its_tables_is_refused(small: "SmallStudy", tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    Database(path, small.study).close()
    no_tables(path)
    for use in (read_database, lambda path: Database(path, small.study)):
        with pytest.raises(SurveyError, match="no such table: answers"):
            use(path)


def test_a_missing_file_or_folder_is_said(small: "SmallStudy", tmp_path: Path) -> None:
    with pytest.raises(SurveyError, match="no such file"):
        read_database(tmp_path / "none.sqlite")
    with pytest.raises(SurveyError, match="there is no folder"):
        Database(tmp_path / "none" / "a.sqlite", small.study)
    with pytest.raises(SurveyError, match="cannot be"):
        Database(tmp_path, small.study)


def test_a_full_disk_leaves_whole_answers(
    small: "SmallStudy", mount_disk: Callable[[str], Path]
) -> None:
    path = mount_disk("256k") / "a.sqlite"
    with closing(Database(path, small.study)) as database:
        sessions = Sessions(database, small.study)
        acknowledged = 0

        def fill() -> None:
            nonlocal acknowledged
            for _ in range(2000):
                session, token = sessions.begin(Visitor())
                while sessions.step(session).screen != "thanks":
                    is_trial = sessions.step(session).screen == "trial"
                    measured = MeasuredChoice(choice="real") if is_trial else None
                    session = sessions.take(token, session.position, measured)
                    acknowledged += is_trial

        with pytest.raises(sqlite3.OperationalError):
            fill()
    assert len(read_database(path)) == acknowledged > 0


def test_what_was_acknowledged_survives_a_kill(small: "SmallStudy", tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    code = """if True:
        import sys
        from pathlib import Path
        from impasto.survey.serve.database import Database
        from impasto.survey.key import read_key
        from impasto.survey.serve.sessions import Visitor
        from impasto.survey.serve.sessions import MeasuredChoice, Sessions
        from impasto.survey.key import read_study
        study, key = read_study(Path(sys.argv[1])), read_key(Path(sys.argv[2]))
        sessions = Sessions(Database(Path(sys.argv[3]), study), study)
        while True:
            session, token = sessions.begin(Visitor())
            while sessions.step(session).screen != "thanks":
                trial = sessions.step(session).screen == "trial"
                measured = MeasuredChoice(choice="real") if trial else None
                session = sessions.take(token, session.position, measured)
                if trial:
                    print(session.participant, flush=True)
    """
    command = [sys.executable, "-c", code, str(small.folder), str(small.key_path), str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline().strip() for _ in range(40)]
        process.send_signal(signal.SIGKILL)
        acknowledged += process.stdout.read().split()
    stored = Counter(one.participant for one in read_database(path))
    told = Counter(acknowledged)
    assert stored.total() - told.total() in (0, 1)  # one may be written and not yet told
    assert told <= stored
    assert max(stored.values()) <= 6
    Database(path, small.study).close()


# The staircase


@pytest.mark.parametrize(("up", "down", "share"), [(30, 10, 0.75), (10, 10, 0.5)])
def test_a_staircase_settles_at_its_share_of_right_answers(
    up: int, down: int, share: float
) -> None:
    rng = np.random.default_rng(1)
    staircase = Staircase(up_ms=up, down_ms=down, shortest_ms=10, longest_ms=2000)

    def chance(exposure: int) -> float:
        return float(0.3 + 0.7 / (1 + np.exp(-(exposure - 400) / 80)))

    rights: list[bool] = []
    exposures = [staircase.start_ms]
    for _ in range(3000):
        rights.append(bool(rng.random() < chance(exposures[-1])))
        # From where it is, so that the test need not go through all answers each time.
        exposures.append(replace(staircase, start_ms=exposures[-1]).exposure_ms(rights[-1:]))
    settled = np.array(exposures[300:])
    assert np.mean(rights[300:]) == pytest.approx(share, abs=0.02)
    threshold = 400 - 80 * np.log(0.7 / (share - 0.3) - 1)
    assert settled.mean() == pytest.approx(threshold, abs=25)


def test_a_staircase_stays_in_its_range() -> None:
    staircase = Staircase()
    assert staircase.exposure_ms([True] * 60) == 100
    assert staircase.exposure_ms([False] * 60) == 1000
    assert staircase.exposure_ms([False] * 60 + [True]) == 990
    assert modal_exposure([]) is None
    assert modal_exposure([500, 490, 490, 480]) == 490


def test_only_scored_answers_move_the_staircase(small_study: Make, tmp_path: Path) -> None:
    small = small_study(protocol="timed", exposure_ms=700, trials=4)
    check = small.study.orders[0][1][0]
    pictures = dict(small.key.pictures)
    pictures[check] = replace(pictures[check], kind="attention", generator="")
    key: Key = replace(small.key, pictures=pictures)
    with closing(Database(tmp_path / "a.sqlite", small.study)) as database:
        sessions = Sessions(database, small.study, exposures_by_key(Staircase(), key))
        session, token = sessions.begin(Visitor())
        asked = []
        while sessions.step(session).screen != "thanks":
            step = sessions.step(session)
            measured = None
            if step.screen == "trial":
                asked.append(sessions.exposure_ms(session))
                measured = MeasuredChoice(choice=small.truth(step.trial[0]))
            session = sessions.take(token, session.position, measured)
        # Two of practice, then one right, the check, two right.
        assert asked == [500, 500, 500, 490, 490, 480]
        rows = database.read("SELECT asked_ms FROM answers ORDER BY trial")
        assert [row["asked_ms"] for row in rows] == asked
        assert Sessions(database, small.study).exposure_ms(session) == 700
