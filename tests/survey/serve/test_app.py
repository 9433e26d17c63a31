"""The server's replies: whole sessions without JavaScript, and everything hostile."""

import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from werkzeug.test import TestResponse

from impasto.survey.serve.pages import Pages

if TYPE_CHECKING:
    pass
from impasto.survey.serve.sessions import Admission
from tests.survey.serve.visits import SCRIPTED, Form, Running, Visit, assert_calm


def test_a_session_without_javascript(run_app: Callable[..., Running]) -> None:
    running = run_app(page={"completion_code": "C0DE", "redirect_url": "https://example.org/?a=b"})
    visit = Visit(running, "?PROLIFIC_PID=p1&SESSION_ID=s1&STUDY_ID=st1")
    assert visit.form.screen == "consent"
    visit.agree()
    assert visit.location == "/?participant=p1"
    assert visit.form.screen == "instructions"
    screens = []
    said: dict[str, str] = {}

    def answer(form: Form) -> str:
        screens.append(form.fields["step"])
        assert form.choices == ["real", "fake"]
        token = Path(form.pictures[0]).stem
        said[token] = "real" if len(said) % 2 else "fake"
        return said[token]

    visit.goes_through(answer)
    answers = running.database.answers()
    assert {one.token: one.response for one in answers} == said
    assert [one.trial for one in answers] == [1, 2, 3, 4, 5, 6]
    assert [(one.token,) for one in answers[2:]] == list(running.small.study.orders[0])
    assert all(one.completed and one.rt_ms is None for one in answers)
    thanks = visit.replies[-1].text
    assert "C0DE" in thanks
    assert 'href="https://example.org/?a=b"' in thanks
    (row,) = running.database.read("SELECT * FROM sessions")
    assert (row["participant"], row["platform_session"], row["platform_study"]) == (
        *("p1", "s1"),
        "st1",
    )
    # Later, from another browser, without a cookie.
    assert Visit(running, "?PROLIFIC_PID=p1").form.screen == "thanks"
    assert len(running.database.read("SELECT 1 FROM sessions")) == 1


def test_a_pair_without_javascript(run_app: Callable[..., Running]) -> None:
    running = run_app(protocol="pair", question="fake", practice=1, trials=2)
    visit = Visit(running)
    visit.agree()
    visit.goes_through(lambda form: form.choices[1])
    answers = running.database.answers()
    assert [one.response for one in answers] == ["real"] * 3
    assert [(one.token, one.other) for one in answers[1:]] == running.small.study.orders[0]


def test_practice_feedback_is_right(run_app: Callable[..., Running]) -> None:
    running = run_app()
    visit = Visit(running)
    visit.agree()
    visit.send()
    for verdict, fact in (("That is right", "is real"), ("That is not right", "is fake")):
        visit.send(choice="real")
        assert visit.form.screen == "feedback"
        assert verdict in visit.replies[-1].text
        assert f"This picture {fact}." in visit.replies[-1].text
        visit.send()


def test_refresh_back_button_and_double_posts(run_app: Callable[..., Running]) -> None:
    running = run_app(practice=0)
    visit = Visit(running)
    visit.agree()
    visit.send()
    old = dict(visit.form.fields)
    for _ in range(3):
        visit.open()
        assert visit.form.fields == old
    visit.send(choice="real")
    second = dict(visit.form.fields)
    assert second["step"] == "2"
    # Back, and another answer to the same trial: the first counts, and the study goes on.
    for scripted in ({}, SCRIPTED):
        reply = visit.client.post("/next", data=old | {"choice": "fake"}, headers=scripted)
        assert reply.status_code == (200 if scripted else 303)
        if scripted:
            assert Form(reply.text).fields["step"] == "2"
    (answer,) = running.database.answers()
    assert answer.response == "real"
    (row,) = running.database.read("SELECT views FROM answers")
    assert row["views"] == 4


def test_scripts_get_the_next_screen_in_reply(run_app: Callable[..., Running]) -> None:
    running = run_app(practice=0)
    visit = Visit(running)
    visit.agree()
    measured = {
        "choice": "real",
        "rt_ms": "612.3",
        "onset": "2026-05-06T07:08:09.123Z",
        "viewport": "1280x900",
        "device_pixel_ratio": "1.25",
    }
    for fields in ({}, measured):
        data = visit.form.fields | fields
        reply = visit.client.post("/next", data=data, headers=SCRIPTED)
        assert reply.status_code == 200
        visit.form = Form(reply.text)
    assert visit.form.fields["step"] == "2"
    (answer,) = running.database.answers()
    assert (answer.rt_ms, answer.onset, answer.viewport, answer.device_pixel_ratio) == (
        *(612.3, "2026-05-06T07:08:09.123Z"),
        *("1280x900", 1.25),
    )


def test_orders_are_given_in_turn(run_app: Callable[..., Running]) -> None:
    running = run_app(practice=0)
    firsts = []
    for _ in range(7):
        visit = Visit(running)
        visit.agree()
        visit.send()
        firsts.append(Path(visit.form.pictures[0]).stem)
    orders = running.small.study.orders
    assert firsts == [orders[number % 5][0][0] for number in range(7)]


@pytest.mark.parametrize("query", ["", "?participant=p1"])
def test_a_form_that_is_sent_twice_begins_one_session(
    run_app: Callable[..., Running], query: str
) -> None:
    """As by a double click: with the cookie and the token of the same page."""
    running = run_app()
    first = Visit(running, query)
    form, cookie = first.form.fields | {"agree": "yes"}, first.cookie()

    def begin_again() -> str:
        client = running.client()
        client.set_cookie(cookie.key, cookie.value)
        assert client.post("/begin", data=form).status_code == 303
        assert Form(client.get("/").text).screen == "instructions"
        (sent,) = (client._cookies or {}).values()
        return sent.value

    tokens = {begin_again() for _ in range(3)}
    # One session, and one token, whichever reply is the last to arrive.
    assert len(tokens) == 1
    assert tokens != {cookie.value}
    assert len(running.database.read("SELECT 1 FROM sessions")) == 1
    first.agree()
    first.send()
    assert first.form.screen == "trial"
    if not query:
        # By the form with which it began nobody gets into a session that goes on.
        assert begin_again() not in tokens
        assert len(running.database.read("SELECT 1 FROM sessions")) == 2


def test_a_page_comes_while_another_program_locks_the_database(
    run_app: Callable[..., Running],
) -> None:
    running = run_app(practice=0)
    visit = Visit(running)
    visit.agree()
    visit.send()
    with closing(sqlite3.connect(running.database.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        for _ in range(2):
            visit.open()
            assert visit.replies[-1].status_code == 200
            assert visit.form.screen == "trial"
        other.execute("ROLLBACK")
    visit.open()
    visit.send(choice="real")
    # Sent after the instructions, twice during the lock, which is not counted, and once after it.
    (row,) = running.database.read("SELECT views FROM answers")
    assert row["views"] == 2


def test_consent_and_cookies_are_needed(run_app: Callable[..., Running]) -> None:
    running = run_app()
    visit = Visit(running)
    assert visit.send().status_code == 400
    assert "tick the box" in visit.replies[-1].text
    assert running.database.read("SELECT 1 FROM sessions") == []
    visit.agree()
    assert visit.form.screen == "instructions"
    other = Visit(running)
    stateless = running.app.test_client(use_cookies=False)
    reply = stateless.post("/begin", data=other.form.fields | {"agree": "yes"})
    assert reply.status_code == 400
    assert "allow cookies" in reply.text


def test_who_comes_without_an_id_may_be_refused(run_app: Callable[..., Running]) -> None:
    running = run_app(admission=Admission(require_participant=True))
    reply = running.client().get("/")
    assert reply.status_code == 400
    assert "no participant number" in reply.text
    assert running.client().get("/?participant=p").status_code == 200


def test_a_link_with_another_id_does_not_end_a_session(run_app: Callable[..., Running]) -> None:
    running = run_app()
    visit = Visit(running)
    visit.agree()
    visit.send()
    other = visit.client.get("/?participant=somebody")
    assert Form(other.text).screen == "consent"
    visit.open()
    assert visit.form.screen == "trial"


def test_the_next_person_at_the_same_device(run_app: Callable[..., Running]) -> None:
    running = run_app(practice=0, trials=1)
    visit = Visit(running)
    visit.agree()
    visit.goes_through(lambda _: "real")
    assert visit.form.action == "leave"
    visit.send()
    assert visit.form.screen == "consent"
    visit.agree()
    visit.goes_through(lambda _: "fake")
    answers = running.database.answers()
    assert [one.response for one in answers] == ["real", "fake"]
    assert answers[0].participant != answers[1].participant


def test_a_preview_on_mechanical_turk_begins_nothing(run_app: Callable[..., Running]) -> None:
    running = run_app()
    visit = Visit(running, "?assignmentId=ASSIGNMENT_ID_NOT_AVAILABLE&workerId=w")
    assert 'disabled="disabled"' in visit.replies[-1].text
    assert visit.send(agree="yes").status_code == 400
    assert running.database.read("SELECT 1 FROM sessions") == []


@pytest.mark.parametrize("protocol", ["single", "pair", "timed"])
def test_no_reply_of_a_whole_session_tells_the_truth(
    run_app: Callable[..., Running], protocol: str
) -> None:
    timed = {"exposure_ms": 500, "mask_ms": 100} if protocol == "timed" else {}
    running = run_app(protocol=protocol, trials=8, **timed)
    names = {"pair": {"real": "1", "fake": "2"}}.get(protocol, {"real": "real", "fake": "fake"})
    opposite = {"real": "fake", "fake": "real"}

    def go(*, right: bool) -> list[TestResponse]:
        """Give all replies to somebody who is always right, or always wrong, of the first order."""
        visit = Visit(running)
        visit.agree()
        with running.database.transaction() as connection:
            connection.execute("UPDATE sessions SET order_index = 0")

        def choice(form: Form) -> str:
            truth = running.small.truth(Path(form.pictures[0]).stem)
            return names[truth if right else opposite[truth]]

        visit.goes_through(choice, exposure_ms="500")
        return visit.replies

    both = [go(right=True), go(right=False)]
    told = b"".join(r.get_data() + str(r.headers).encode() for replies in both for r in replies)
    for secret in (b"/secret", b"sha256", b"secretgan", b'"label"', b"generator"):
        assert secret not in told
    for one in running.small.key.pictures.values():
        assert one.source_sha256.encode() not in told
        assert one.picture_sha256.encode() not in told
    # But for the feedback of practice, the same bytes for both, except what is each session's own.
    first, second = [[page_of(reply) for reply in replies] for replies in both]
    assert len([page for page in first if page]) > 8
    assert first == second


def page_of(reply: TestResponse) -> str:
    if reply.mimetype != "text/html" or 'data-screen="feedback"' in reply.text:
        return ""
    return re.sub(r'name="csrf" type="hidden" value="[0-9a-f]+"', "", reply.text)


def test_pictures_come_without_times_and_in_equal_words(run_app: Callable[..., Running]) -> None:
    running = run_app()
    client = running.client()
    headers = set()
    for token, path in running.small.study.pictures.items():
        reply = client.get(f"/images/{token}.png")
        assert reply.get_data() == (running.small.folder / path).read_bytes()
        kept = [(k, v) for k, v in reply.headers if k not in ("Content-Length", "Date")]
        headers.add(tuple(kept))
        assert not {"ETag", "Last-Modified", "Content-Disposition"} & set(reply.headers.keys())
    assert len(headers) == 1


@pytest.mark.parametrize(
    "path",
    [
        "/images/../study.json",
        "/images/..%2fstudy.json",
        "/images/%2e%2e/study.json",
        "/images/....//study.json",
        "/images/..\\study.json",
        "/images//etc/passwd",
        "/images/%00.png",
        "/images/",
        "/study.json",
        "/study.key.json",
        "/index.html",
        "/platforms/mturk.csv",
        "/static/x",
        "/results/",
        "/results/x",
        "/results/x/answers.csv",
        "/%ff%fe",
        "/.git/config",
    ],
)
def test_there_is_nothing_but_the_study(run_app: Callable[..., Running], path: str) -> None:
    running = run_app()
    token = next(iter(running.small.study.pictures))
    assert running.client().get(f"/images/{token}.png").status_code == 200
    for wrong in (path, path.replace("study", token)):
        reply = running.client().get(wrong)
        assert reply.status_code in (404, 308), wrong
        assert_calm(reply)


@pytest.mark.parametrize("name", ["token", "key", "suffix"])
def test_a_picture_has_one_name(run_app: Callable[..., Running], name: str) -> None:
    running = run_app()
    token = next(iter(running.small.study.pictures))
    wrong = {"token": token, "key": f"{token}.key.json", "suffix": f"{token}.jpg"}[name]
    assert running.client().get(f"/images/{wrong}").status_code == 404


def test_every_reply_has_its_headers(run_app: Callable[..., Running]) -> None:
    running = run_app()
    client = running.client()
    token = next(iter(running.small.study.pictures))
    for path in ("/", f"/images/{token}.png", "/survey.js", "/survey.css", "/none", "/next"):
        reply = client.get(path)
        policy = reply.headers["Content-Security-Policy"]
        assert "unsafe" not in policy
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert reply.headers["X-Content-Type-Options"] == "nosniff"
        assert reply.headers["Referrer-Policy"] == "no-referrer"
        assert reply.headers["X-Frame-Options"] == "DENY"
    cookie = client.get("/").headers["Set-Cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert "Secure" not in cookie
    secure = running.client().get("/", base_url="https://localhost")
    assert "; Secure" in secure.headers["Set-Cookie"]
    assert client.get("/").headers["Cache-Control"] == "no-store"


def test_forms_from_elsewhere_are_refused(run_app: Callable[..., Running]) -> None:
    running = run_app()
    visit, other = Visit(running), Visit(running)
    for fields in (
        {"csrf": ""},
        {"csrf": "0" * 64},
        {"csrf": "ä"},
        {"csrf": other.form.fields["csrf"]},
    ):
        reply = visit.client.post("/begin", data={**fields, "agree": "yes"})
        assert reply.status_code == 403
        assert_calm(reply)
    reply = visit.client.post(
        "/begin",
        data=visit.form.fields | {"agree": "yes"},
        headers={"Sec-Fetch-Site": "cross-site"},
    )
    assert reply.status_code == 403
    assert running.database.read("SELECT 1 FROM sessions") == []
    visit.agree()
    other.agree()
    stolen = {"csrf": other.form.fields["csrf"], "step": "0"}
    assert visit.client.post("/next", data=stolen).status_code == 403
    assert visit.client.post("/leave", data=stolen).status_code == 403
    visit.open()
    assert visit.form.screen == "instructions"


def test_forged_and_replayed_session_tokens_are_refused(run_app: Callable[..., Running]) -> None:
    running = run_app(practice=0)
    visit = Visit(running, "?participant=p")
    visit.agree()
    visit.send()
    cookie = visit.cookie()
    old, fields = cookie.value, dict(visit.form.fields)
    # The same person on another device: the first token is worth nothing any more.
    moved = Visit(running, "?participant=p")
    moved.agree()
    assert moved.form.screen == "trial"
    reply = visit.client.post("/next", data=fields | {"choice": "real"})
    assert reply.status_code == 410
    assert "another window" in reply.text
    for forged in (old, old[:-1] + "x", "", "x" * 43, "../../x", "' OR 1=1 --", "a" * 3000):
        client = running.app.test_client()
        client.set_cookie(cookie.key, forged)
        reply = client.post("/next", data=fields | {"choice": "real"})
        assert reply.status_code == 410
        assert_calm(reply)
    assert running.database.answers() == []
    moved.send(choice="fake")
    assert [one.response for one in running.database.answers()] == ["fake"]


def test_a_token_of_another_study_is_refused(run_app: Callable[..., Running]) -> None:
    first, second = run_app(name="one"), run_app(name="two")
    visit = Visit(first)
    visit.agree()
    token = visit.cookie()
    client = second.client()
    client.set_cookie(token.key, token.value)
    name = client.get("/").headers["Set-Cookie"].partition("=")[0]
    assert name != token.key
    client.set_cookie(name, token.value)
    assert client.post("/next", data=visit.form.fields).status_code == 410


def test_texts_cannot_break_out_of_the_page(run_app: Callable[..., Running]) -> None:
    attack = "</script><script>alert(1)</script><b onmouseover=alert(2)>"
    running = run_app(
        texts={"title": attack, "question_single": attack, "loading": attack},
        page={"completion_code": attack},
        practice=0,
    )
    visit = Visit(running)
    visit.agree()
    visit.goes_through(lambda _: "real")
    for reply in visit.replies:
        if reply.mimetype == "text/html":
            assert "<script>alert" not in reply.text
            assert "<b onmouseover" not in reply.text


def test_oversized_bodies_and_wrong_kinds_are_refused(run_app: Callable[..., Running]) -> None:
    running = run_app()
    visit = Visit(running)
    visit.agree()
    big = visit.form.fields | {"choice": "a" * 20_000}
    for reply in (
        visit.client.post("/next", data=big),
        visit.client.post("/next", data=big | {"file": (b"x" * 20_000).decode()}),
        visit.client.post(
            "/next", data=b"x" * 20_000, content_type="multipart/form-data; boundary=x"
        ),
    ):
        assert reply.status_code == 413
        assert_calm(reply)
    for data, kind in ((b"{}", "application/json"), (b"\xff\xfe", "text/plain"), (b"", "")):
        reply = visit.client.post("/next", data=data, content_type=kind)
        assert reply.status_code == 403
    many = "&".join(f"a{n}=1" for n in range(3000))
    reply = visit.client.post("/next", data=many, content_type="application/x-www-form-urlencoded")
    assert reply.status_code in (400, 403, 413)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "TRACE"])
def test_other_methods_are_refused(run_app: Callable[..., Running], method: str) -> None:
    reply = run_app().client().open("/next", method=method)
    assert reply.status_code == 405
    assert_calm(reply)


def test_a_failing_database_is_said_without_a_word_about_it(
    run_app: Callable[..., Running], caplog: pytest.LogCaptureFixture
) -> None:
    running = run_app(practice=0)
    visit = Visit(running)
    visit.agree()
    visit.send()
    with running.database.transaction() as connection:
        connection.execute("ALTER TABLE answers RENAME TO away")
    fields = visit.form.fields | {"choice": "real"}
    reply = visit.client.post("/next", data=fields, headers=SCRIPTED)
    assert reply.status_code == 503
    assert reply.headers["Retry-After"] == "2"
    assert_calm(reply)
    assert "no such table" not in reply.text
    assert "no such table" in caplog.text
    with running.database.transaction() as connection:
        connection.execute("ALTER TABLE away RENAME TO answers")
    # The browser sends it again.
    assert visit.client.post("/next", data=fields, headers=SCRIPTED).status_code == 200
    assert len(running.database.answers()) == 1


def test_a_fault_in_a_view_is_said_without_a_word_about_it(
    run_app: Callable[..., Running],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    running = run_app()

    def broken(*_: object) -> None:
        raise RuntimeError("/secret/path")

    monkeypatch.setattr(Pages, "consent", broken)
    reply = running.client().get("/")
    assert reply.status_code == 503
    assert "/secret" not in reply.text
    assert_calm(reply)
    assert "/secret/path" in caplog.text


def test_a_locked_database_is_waited_for(run_app: Callable[..., Running]) -> None:
    running = run_app()
    visit = Visit(running)
    with closing(sqlite3.connect(running.database.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sessions").fetchall()
        visit.agree()
        assert visit.form.screen == "instructions"
