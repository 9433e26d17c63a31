"""The server's replies: whole sessions without JavaScript, and everything hostile."""

import re
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import Cookie, TestResponse

from impasto.survey.answers import answers_csv
from impasto.survey.serve.app import RequestLimits, create_app
from impasto.survey.serve.database import Database
from impasto.survey.serve.owner import add_owner_pages, exposures_by_key
from impasto.survey.serve.pages import Pages
from impasto.survey.serve.requests import RateLimit, network_of
from impasto.survey.serve.sessions import Sessions
from impasto.survey.staircase import Staircase
from impasto.survey.texts import Words

if TYPE_CHECKING:
    from tests.survey.conftest import SmallStudy

Make = Callable[..., "SmallStudy"]
SCRIPTED = {"X-Requested-With": "survey.js"}


@dataclass
class Running:
    """An application in this process, and its study."""

    app: Flask
    small: "SmallStudy"
    sessions: Sessions

    def client(self) -> FlaskClient:
        return self.app.test_client()

    @property
    def database(self) -> Database:
        return self.sessions.database

    @property
    def results(self) -> str:
        return f"/results/{self.sessions.results_token()}"


@pytest.fixture
def run_app(small_study: Make, tmp_path: Path) -> Iterator[Callable[..., Running]]:
    """A function that makes an application; takes changes of the study and some of the server."""
    opened: list[Database] = []

    def run(
        small: "SmallStudy | None" = None,
        *,
        staircase: Staircase | None = None,
        requests: RateLimit | None = None,
        begun: RateLimit | None = None,
        require_participant: bool = False,
        page: dict[str, str] | None = None,
        **changes: Any,
    ) -> Running:
        small = small or small_study(**changes)
        opened.append(Database(tmp_path / f"{len(opened)}.sqlite", small.study))
        exposures = exposures_by_key(staircase, small.key) if staircase else None
        sessions = Sessions(opened[-1], small.study, exposures)
        pages = Pages(
            sessions=sessions,
            words=Words(small.study),
            varying_exposure=staircase is not None,
            **(page or {}),
        )
        free = RateLimit(0, 0)
        limits = RequestLimits(requests=requests or free, sessions=begun or free)
        app = create_app(
            small.folder,
            sessions,
            pages,
            limits,
            require_participant=require_participant,
        )
        add_owner_pages(app, small.key, sessions, pages, RateLimit(1, 3))
        return Running(app, small, sessions)

    yield run
    for database in opened:
        database.close()


class Form(HTMLParser):
    """The first form of a page: where it goes, and its hidden fields; the screen's name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self.choices: list[str] = []
        self.screen = ""
        self.pictures: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.screen = self.screen or values.get("data-screen", "")
        if tag == "form":
            self.action = self.action or values["action"]
        elif tag == "input" and values["type"] == "hidden":
            self.fields[values["name"]] = values["value"]
        elif tag == "button" and values.get("name") == "choice":
            self.choices.append(values["value"])
        elif tag == "img":
            self.pictures.append(values.get("src") or values["data-url"])


class Visit:
    """Somebody without JavaScript, who follows links and sends forms."""

    def __init__(self, running: Running, query: str = "") -> None:
        self.client = running.client()
        self.replies: list[TestResponse] = []
        self.location = f"/{query}"
        self.open()

    def open(self) -> None:
        self.note(self.client.get(self.location))

    def note(self, reply: TestResponse) -> TestResponse:
        self.replies.append(reply)
        if reply.status_code == 303:
            self.location = "/" + reply.headers["Location"].removeprefix("./")
            self.open()
        else:
            self.form = Form(reply.text)
        return reply

    def send(self, **values: str) -> TestResponse:
        """Send the form that is shown, with these values besides."""
        return self.note(self.client.post(f"/{self.form.action}", data=self.form.fields | values))

    def cookie(self) -> Cookie:
        """Give the cookie of the session."""
        cookies = self.client._cookies
        assert cookies
        (found,) = cookies.values()
        return found

    def agree(self) -> None:
        self.send(agree="yes")

    def goes_through(self, choice: Callable[[Form], str], **measured: str) -> None:
        while self.form.screen != "thanks":
            if self.form.screen == "trial":
                for url in self.form.pictures:
                    self.replies.append(self.client.get(f"/{url}"))
                # As the script would say it; only a picture shown for a moment needs it.
                self.send(choice=choice(self.form), **measured)
            else:
                self.send()


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
    running = run_app(require_participant=True)
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


# Nothing tells the truth


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


# Hostile requests


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


def assert_calm(reply: TestResponse) -> None:
    """A page in plain words, with all headers, without a word about the inside."""
    text = reply.text
    for word in ("Traceback", "File ", ".py", "sqlite", "werkzeug", "Flask", "Exception"):
        assert word not in text, word
    assert reply.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in reply.headers


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


@pytest.mark.parametrize(
    "bad",
    [
        {"choice": "maybe"},
        {"choice": ""},
        {"choice": "1"},
        {"rt_ms": "-1"},
        {"rt_ms": "nan"},
        {"rt_ms": "inf"},
        {"rt_ms": "1e99"},
        {"rt_ms": "<script>"},
        {"rt_ms": "1" * 1000},
        {"rt_ms": "\N{ARABIC-INDIC DIGIT ONE}"},
        {"exposure_ms": "x"},
        {"onset": "yesterday"},
        {"onset": "2026-05-06T07:08:09Z'; DROP TABLE answers; --"},
        {"viewport": "=cmd|' /C calc'!A0"},
        {"viewport": "0x0"},
        {"device_pixel_ratio": "0"},
        {"step": "-1"},
        {"step": "1.5"},
        {"step": ""},
        {"step": "9" * 50},
        {"step": "\N{ARABIC-INDIC DIGIT ONE}"},
    ],
)
def test_values_that_cannot_be_are_refused(
    run_app: Callable[..., Running], bad: dict[str, str]
) -> None:
    running = run_app(practice=0)
    visit = Visit(running)
    visit.agree()
    visit.send()
    good = visit.form.fields | {"choice": "real", "rt_ms": "500"}
    reply = visit.client.post("/next", data=good | bad, headers=SCRIPTED)
    assert reply.status_code == 400
    assert_calm(reply)
    assert running.database.answers() == []
    assert visit.client.post("/next", data=good, headers=SCRIPTED).status_code == 200


@pytest.mark.parametrize("step", ["3", "5", "999999"])
def test_nobody_skips_ahead(run_app: Callable[..., Running], step: str) -> None:
    running = run_app(practice=0)
    visit = Visit(running)
    visit.agree()
    visit.send()
    reply = visit.client.post("/next", data=visit.form.fields | {"choice": "real", "step": step})
    assert reply.status_code == 409
    assert_calm(reply)
    assert running.database.answers() == []


def test_a_timed_answer_needs_its_exposure(run_app: Callable[..., Running]) -> None:
    running = run_app(protocol="timed", exposure_ms=500, practice=0)
    visit = Visit(running)
    visit.agree()
    assert "needs JavaScript" in visit.replies[-1].text
    visit.send()
    # Not there to be seen without the script that ends the exposure.
    assert "<img" in visit.replies[-1].text
    assert not re.search(r"<img[^>]* src=", visit.replies[-1].text)
    assert visit.send(choice="real").status_code == 400
    visit.open()
    visit.send(choice="real", exposure_ms="499.9")
    assert [one.exposure_ms for one in running.database.answers()] == [499.9]


@pytest.mark.parametrize(
    "value",
    [
        "<script>alert(1)</script>",
        "' OR '1'='1",
        "../../etc/passwd",
        "%00",
        "a" * 5000,
        "\N{SNOWMAN}",
    ],
)
def test_hostile_ids_are_refused_and_never_shown(
    run_app: Callable[..., Running], value: str
) -> None:
    running = run_app()
    for name in ("PROLIFIC_PID", "participant", "workerId"):
        reply = running.client().get("/", query_string={name: value})
        assert reply.status_code == 400
        assert "not valid" in reply.text
        assert value not in reply.text
        assert_calm(reply)
    visit = Visit(running)
    for name in ("participant", "session", "study"):
        reply = visit.client.post(
            "/begin", data=visit.form.fields | {"participant": "p", "agree": "yes", name: value}
        )
        assert reply.status_code == 400
    assert running.database.read("SELECT 1 FROM sessions") == []


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


# Limits


def test_a_bucket_empties_and_fills_up() -> None:
    now = [0.0]
    limit = RateLimit(2.0, 3, clock=lambda: now[0])
    assert [limit.wait("a") for _ in range(4)] == [0, 0, 0, 0.5]
    assert limit.wait("b") == 0
    now[0] = 0.5
    assert [limit.wait("a") == 0 for _ in range(2)] == [True, False]
    now[0] = 100.0
    assert [limit.wait("a") == 0 for _ in range(4)] == [True, True, True, False]
    assert [limit.wait("c", cost=0.25) == 0 for _ in range(13)] == [True] * 12 + [False]
    free = RateLimit(0, 0)
    assert not any(free.wait("a") for _ in range(1000))


def test_addresses_of_one_line_count_as_one_and_memory_is_bounded() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of(None) == network_of("nonsense") == "unknown"
    limit = RateLimit(1, 1)
    for number in range(30_000):
        limit.wait(str(number))
    assert len(limit._buckets) <= 20_000


def test_too_many_requests_are_asked_to_wait(run_app: Callable[..., Running]) -> None:
    running = run_app(requests=RateLimit(0.5, 3))
    client = running.client()
    replies = [client.get("/survey.css") for _ in range(5)]
    assert [reply.status_code for reply in replies] == [200, 200, 200, 429, 429]
    assert int(replies[-1].headers["Retry-After"]) >= 2
    assert_calm(replies[-1])
    assert client.get("/", environ_base={"REMOTE_ADDR": "192.0.2.9"}).status_code == 200


def test_too_many_sessions_of_one_address_are_asked_to_wait(
    run_app: Callable[..., Running],
) -> None:
    running = run_app(begun=RateLimit(0.001, 2))
    codes = []
    for _ in range(3):
        visit = Visit(running)
        fields = visit.form.fields | {"agree": "yes"}
        codes.append(visit.client.post("/begin", data=fields).status_code)
    assert codes == [303, 303, 429]
    assert len(running.database.read("SELECT 1 FROM sessions")) == 2


# The owner's page


def test_results_are_for_the_owner_alone(run_app: Callable[..., Running]) -> None:
    running = run_app(trials=6)
    assert "none" in running.client().get(running.results).text
    always = Visit(running)
    always.agree()
    always.goes_through(lambda _: "real")
    right = Visit(running)
    right.agree()
    right.goes_through(lambda form: running.small.truth(Path(form.pictures[0]).stem))
    half = Visit(running)
    half.agree()
    page = running.client().get(running.results).text
    cells = [re.sub(r"<[^>]+>|\s+", " ", row) for row in page.split("<tr>")]
    rows = {" ".join(row.split()[:-3][:2]): row.split() for row in cells}
    assert rows["Real pictures"][2:4] == ["6", "100%"]
    fakes = [row for row in cells if "secretgan" in row]
    # One of the two people was fooled by each fake: 1 of 2 answers, or 2 of 4.
    assert fakes
    assert all(row.split()[2] == "50%" for row in fakes)
    assert re.search(r"<dt>Begun</dt>\s*<dd>3</dd>", page)
    assert re.search(r"<dt>Completed</dt>\s*<dd>2</dd>", page)
    table = running.client().get(f"{running.results}/answers.csv")
    assert table.text == answers_csv(running.database.answers())
    assert "/secret" not in page
    assert 'href="../survey.css"' in page
    guesser = running.client()
    codes = [guesser.get(f"{running.results[:-1]}!").status_code for _ in range(6)]
    assert codes == [404, 404, 404, 429, 429, 429]
    assert running.client().get(running.results).status_code == 200


def test_results_of_a_staircase_name_its_score(run_app: Callable[..., Running]) -> None:
    running = run_app(
        protocol="timed", exposure_ms=500, practice=0, trials=4, staircase=Staircase()
    )
    visit = Visit(running)
    visit.agree()
    visit.send()
    asked = []
    while visit.form.screen == "trial":
        asked.append(re.findall(r'data-exposure="(\d+)"', visit.replies[-1].text)[0])
        truth = running.small.truth(Path(visit.form.pictures[0]).stem)
        visit.send(choice=truth, exposure_ms="500")
    assert asked == ["500", "490", "480", "470"]
    page = running.client().get(running.results).text
    assert re.search(r"<dt>Mean of modal exposures</dt>\s*<dd>485 ms</dd>", page)


def test_an_attention_check_is_counted_apart(
    run_app: Callable[..., Running], small_study: Make
) -> None:
    small = small_study(practice=0, trials=3, attention_checks=1)
    token = small.study.orders[0][0][0]
    pictures = dict(small.key.pictures)
    pictures[token] = replace(pictures[token], kind="attention", label="fake", generator="")
    running = run_app(replace(small, key=replace(small.key, pictures=pictures)))
    visit = Visit(running)
    visit.agree()
    visit.goes_through(lambda _: "fake")
    page = re.sub(r"<[^>]+>|\s+", " ", running.client().get(running.results).text)
    assert re.search(r"Attention checks done as asked +1 +100%", page)


def test_a_locked_database_is_waited_for(run_app: Callable[..., Running]) -> None:
    running = run_app()
    visit = Visit(running)
    with closing(sqlite3.connect(running.database.path)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM sessions").fetchall()
        visit.agree()
        assert visit.form.screen == "instructions"
