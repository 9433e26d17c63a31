"""`impasto survey serve` in a process of its own: gone through in a browser, killed, loaded."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest

from impasto.scripts.main import main
from impasto.survey.answers import Answer
from impasto.survey.serve.requests import RateLimit

if TYPE_CHECKING:
    from tests.survey.conftest import Person, SmallStudy, SurveyServer

Make = Callable[..., "SmallStudy"]
Serve = Callable[..., "SurveyServer"]
Refused = Callable[..., tuple[int, str]]
LOAD = Path(__file__).parents[3] / "benchmarks" / "survey_load.py"


def visit(person: "Person", server: "SurveyServer", query: str = "") -> None:
    person.browser.console()
    person.browser.driver.get(f"{server.url}{query}")


def click(person: "Person", said: dict[str, str], tokens: list[str]) -> None:
    said[tokens[0]] = "real" if len(said) % 3 else "fake"
    person.click(f"button[value={said[tokens[0]]}]")


def said_in(answers: list[Answer]) -> dict[str, str]:
    return {one.token: one.response for one in answers}


@pytest.mark.parametrize("view", [(1280, 900, False), (360, 640, True)])
def test_by_mouse_and_by_touch(
    small_study: Make, survey_server: Serve, person: "Person", view: tuple[int, int, bool]
) -> None:
    small = small_study()
    server = survey_server(small, "--completion_code", "C0DE", "--redirect_url", "https://x.org/?c")
    width, height, touch = view
    person.browser.set_view(width, height, touch=touch)
    visit(person, server, "?PROLIFIC_PID=p1&STUDY_ID=st&SESSION_ID=se")
    person.agree()
    said: dict[str, str] = {}
    person.goes_through(partial(click, person, said))
    assert person.text(".code") == "C0DE"
    assert not person.browser.evaluate("document.documentElement.scrollWidth > innerWidth")
    answers = server.answers()
    assert said_in(answers) == said
    assert len(answers) == 6
    assert {one.viewport for one in answers} == {f"{width}x{height}"}
    assert all(one.completed and 0 < (one.rt_ms or 0) < 60_000 and one.onset for one in answers)
    assert person.browser.console() == []
    assert server.stop() == 0
    assert "stopped: 6 answers" in server.said()
    assert not server.database.with_name(f"{server.database.name}-wal").exists()


def test_by_keyboard_with_a_refresh_everywhere(
    small_study: Make, survey_server: Serve, person: "Person"
) -> None:
    server = survey_server(small_study())
    visit(person, server)
    person.agree()
    person.browser.driver.refresh()
    said: dict[str, str] = {}

    def press(tokens: list[str]) -> None:
        before = person.where()
        person.browser.driver.refresh()
        assert person.is_asked()
        assert (person.where(), person.shown()) == (before, tokens)
        said[tokens[0]] = "fake" if len(said) % 2 else "real"
        person.press(said[tokens[0]][0])

    person.goes_through(press)
    person.browser.driver.refresh()
    assert person.comes_to("thanks")
    assert said_in(server.answers()) == said
    assert len(server.answers()) == 6
    assert person.browser.console() == []


def test_the_back_button_leads_to_where_the_participant_is(
    small_study: Make, survey_server: Serve, person: "Person"
) -> None:
    server = survey_server(small_study(practice=0))
    visit(person, server)
    person.agree()
    person.start()
    for key in "rf":
        person.answers(lambda _, key=key: person.press(key))  # type: ignore[misc]
    person.browser.driver.back()
    person.browser.driver.forward()
    assert person.is_asked()
    assert person.where() == "3 of 4"
    person.browser.driver.back()
    if person.browser.driver.current_url.startswith(server.url):
        person.browser.driver.get(server.url)
        assert person.is_asked()
        assert person.where() == "3 of 4"
    assert [one.response for one in server.answers()] == ["real", "fake"]


def test_a_double_click_on_begin_sends_one_form(
    small_study: Make, survey_server: Serve, person: "Person"
) -> None:
    server = survey_server(small_study())
    visit(person, server)
    assert person.comes_to("consent")
    # The replies are not awaited: this is what a slow network makes of two clicks.
    stopped = person.browser.evaluate("""(() => {
        const stopped = [];
        document.querySelector("input[type=checkbox]").checked = true;
        document.addEventListener("submit", (event) => stopped.push(event.defaultPrevented));
        const button = document.querySelector("section .main-button");
        for (let click = 0; click < 3; click += 1) button.click();
        return stopped;
    })()""")
    assert stopped == [False, True, True]
    assert person.comes_to("instructions")


def test_without_javascript(small_study: Make, survey_server: Serve, person: "Person") -> None:
    server = survey_server(small_study())
    person.browser.set_scripts(enabled=False)
    visit(person, server, "?participant=p")
    driver = person.browser.driver
    said: dict[str, str] = {}
    for _ in range(30):
        screen = person.browser.evaluate("document.querySelector('section').dataset.screen")
        if screen == "thanks":
            break
        person.browser.evaluate("window.isLeft = true")
        if screen == "consent":
            driver.find_element("css selector", "input[type=checkbox]").click()
        if screen == "trial":
            (token,) = person.shown()
            said[token] = "fake" if len(said) % 2 else "real"
            assert driver.find_element("css selector", ".frame img").is_displayed()
            driver.find_element("css selector", f"button[value={said[token]}]").click()
        else:
            driver.find_element("css selector", ".main-button").click()
        # A click does not wait for the page that it asks for.
        assert person.browser.becomes_true("!window.isLeft && document.readyState === 'complete'")
    assert said_in(server.answers()) == said
    assert len(said) == 6
    assert driver.current_url == f"{server.url}?participant=p"


def test_a_timed_study_on_a_staircase(
    small_study: Make, survey_server: Serve, person: "Person"
) -> None:
    small = small_study(protocol="timed", exposure_ms=500, mask_ms=60, practice=0, trials=3)
    start = ("--staircase_start_ms", "150", "--staircase_shortest_ms", "50")
    steps = ("--staircase_down_ms", "50", "--staircase_up_ms", "100")
    server = survey_server(small, "--staircase", "true", *start, *steps)
    visit(person, server)
    person.agree()
    asked: list[float] = []

    def right(tokens: list[str]) -> None:
        asked.append(
            float(person.browser.evaluate("document.querySelector('section').dataset.exposure"))
        )
        person.press(small.truth(tokens[0])[0])

    person.goes_through(right)
    assert asked == [150, 100, 50]
    answers = server.answers()
    # To a frame; a busy machine may miss some, never show shorter.
    for one, exposure in zip(answers, asked, strict=True):
        assert exposure - 17 <= (one.exposure_ms or 0) <= exposure + 150


def test_a_pair_study_at_phone_width(
    small_study: Make, survey_server: Serve, person: "Person"
) -> None:
    small = small_study(protocol="pair", practice=1, trials=3)
    server = survey_server(small)
    person.browser.set_view(360, 640, touch=True)
    visit(person, server)
    person.agree()
    person.goes_through(lambda _: person.click("button[value='2']"))
    answers = server.answers()
    assert [one.response for one in answers] == ["fake"] * 4
    assert [(one.token, one.other) for one in answers[1:]] == list(small.study.orders[0])


def test_a_killed_server_loses_nothing_that_was_acknowledged(
    small_study: Make, survey_server: Serve, person: "Person"
) -> None:
    server = survey_server(small_study(practice=0, trials=8))
    visit(person, server)
    person.agree()
    person.start()
    said: dict[str, str] = {}
    for _ in range(3):
        person.answers(partial(click, person, said))
    assert said_in(server.answers()) == said
    server.kill()
    # Answered while there is no server: kept in the page, and sent when there is one again.
    assert person.is_asked()
    click(person, said, person.shown())
    assert person.browser.becomes_true(
        "document.querySelector('.status').textContent.includes('connection is lost')"
    )
    assert person.where() == "4 of 8"
    server.start()
    assert person.browser.becomes_true("document.querySelector('.where').textContent === '5 of 8'")
    server.kill()
    server.start()
    person.browser.driver.refresh()
    assert person.is_asked()
    assert person.where() == "5 of 8"
    person.goes_through(partial(click, person, said))
    answers = server.answers()
    assert said_in(answers) == said
    assert [one.trial for one in answers] == list(range(1, 9))
    assert all(one.completed for one in answers)


def test_pictures_come_while_another_program_locks_the_database_and_answers_after(
    small_study: Make, survey_server: Serve, person: "Person"
) -> None:
    small = small_study(practice=0)
    server = survey_server(small)
    visit(person, server)
    person.agree()
    person.start()
    assert person.is_asked()
    with closing(sqlite3.connect(server.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        person.press("r")
        status = "document.querySelector('.status').textContent"
        assert person.browser.becomes_true(f"{status}.includes('connection is lost')")
        # More pages than there are threads for them wait meanwhile.
        with ExitStack() as stack:
            for _ in range(12):
                waiting = HTTPConnection("127.0.0.1", server.port, timeout=60)
                stack.callback(waiting.close)
                waiting.request("GET", "/", headers={"Cookie": cookie_of(person)})
            for path in small.study.pictures.values():
                end = b"Host: x\r\nConnection: close\r\n\r\n"
                reply = raw(server, f"GET /{path} HTTP/1.1\r\n".encode() + end)
                assert reply.startswith(b"HTTP/1.1 200"), reply[:80]
        assert server.answers() == []
        other.execute("ROLLBACK")
    assert person.browser.becomes_true("document.querySelector('.where').textContent === '2 of 4'")
    assert [one.response for one in server.answers()] == ["real"]


def cookie_of(person: "Person") -> str:
    cookies = person.browser.driver.get_cookies()
    return "; ".join(f"{one['name']}={one['value']}" for one in cookies)


def test_another_staircase_is_refused_and_other_texts_are_recorded(
    small_study: Make, survey_server: Serve, tmp_path: Path, refused: Refused
) -> None:
    small = small_study(protocol="timed", exposure_ms=500, mask_ms=60)
    server = survey_server(small)
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        begin_by_hand(connection, "p1")
    server.stop()
    start = words_of(small, database=server.database)
    status, message = refused(*start, "--staircase", "true")
    assert status == 2
    assert "has 1 sessions with no staircase" in message
    texts = tmp_path / "texts.yaml"
    texts.write_text("consent_agree: I agree to more.", encoding="utf-8")
    server._options = ("--texts", str(texts))
    server.start()
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        begin_by_hand(connection, "p2")
    server.stop()
    assert "1 sessions so far began with other texts (consent_agree)" in server.said()
    query = (
        "SELECT participant, json_extract(content, '$.texts.consent_agree') FROM sessions "
        "JOIN conditions ON conditions.number = condition ORDER BY participant"
    )
    with closing(sqlite3.connect(server.database)) as connection:
        read = dict(connection.execute(query))
    assert read["p1"].startswith("I am at least 18 years old")
    assert read["p2"] == "I agree to more."


def begin_by_hand(connection: HTTPConnection, participant: str) -> None:
    """Open the first page and agree."""
    connection.request("GET", f"/?participant={participant}")
    reply = connection.getresponse()
    found = re.search(r'name="csrf" type="hidden" value="(\w+)"', reply.read().decode())
    assert found
    cookie = (reply.getheader("Set-Cookie") or "").partition(";")[0]
    fields = {"csrf": found[1], "participant": participant, "agree": "yes"}
    kind = "application/x-www-form-urlencoded"
    headers = {"Cookie": cookie, "Content-Type": kind}
    connection.request("POST", "/begin", urlencode(fields), headers)
    reply = connection.getresponse()
    assert (reply.status, reply.read()) == (303, b"")


def test_the_owner_watches(small_study: Make, survey_server: Serve, person: "Person") -> None:
    server = survey_server(small_study(practice=0))
    visit(person, server)
    person.agree()
    person.goes_through(lambda _: person.press("r"))
    for view in ((1280, 900), (360, 640)):
        person.browser.set_view(*view)
        person.browser.driver.get(server.results_url)
        assert "secretgan" in person.text("table")
        assert not person.browser.evaluate("document.documentElement.scrollWidth > innerWidth")
        assert "100%" in person.text("table")
    assert person.browser.console() == []


def test_ctrl_c_ends_it_in_good_order(small_study: Make, survey_server: Serve) -> None:
    server = survey_server(small_study())
    # A browser that keeps its connection does not keep the server.
    with closing(HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection:
        connection.request("GET", "/survey.js")
        assert connection.getresponse().read()
        assert server.stop(signal.SIGINT) == 0
    with (
        closing(HTTPConnection("127.0.0.1", server.port, timeout=120)) as connection,
        pytest.raises(OSError, match="refused"),
    ):
        connection.request("GET", "/")
    assert "stopped: 0 answers" in server.said()


@pytest.mark.parametrize("kill", [False, True])
def test_many_participants_at_once(*, kill: bool) -> None:
    """The benchmark in short: it compares each answer with the database itself."""
    command = [sys.executable, str(LOAD), "--participants", "10", "--trials", "12"]
    command += ["--kill", "--think_ms", "20"] if kill else []
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "120 of 120; counted twice: 0" in done.stdout
    assert "p95" in done.stdout
    assert "nothing lost, nothing twice" in done.stdout


# Raw requests


def raw(server: "SurveyServer", request: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port), timeout=120) as connection:
        connection.sendall(request)
        connection.settimeout(20)
        parts = []
        try:
            while part := connection.recv(65536):
                parts.append(part)
        except (ConnectionResetError, TimeoutError):
            pass
        return b"".join(parts)


def test_raw_hostile_requests_get_short_refusals(small_study: Make, survey_server: Serve) -> None:
    server = survey_server(small_study())
    end = b"Host: x\r\nConnection: close\r\n\r\n"
    requests = {
        b"GET /../../../../etc/passwd HTTP/1.1\r\n" + end: b"404",
        b"GET /images/..%2f..%2fstudy.key.json HTTP/1.1\r\n" + end: b"404",
        b"GET /images/%2e%2e%5cstudy.json HTTP/1.1\r\n" + end: b"404",
        b"NONSENSE\r\n\r\n": b"400",
        b"POST /next HTTP/1.1\r\nContent-Length: 10000000\r\n" + end: b"413",
        b"POST /next HTTP/1.1\r\nContent-Length: -5\r\n" + end: b"400",
        b"GET / HTTP/1.1\r\nCookie: " + b"a" * 40_000 + b"\r\n" + end: b"431",
        b"POST /next HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + end + b"zz\r\n": b"400",
    }
    for request, status in requests.items():
        reply = raw(server, request)
        assert reply.split(b" ", 2)[1] == status, request[:60]
        for word in (b"Traceback", b"File ", b".py", b"/secret", b"root:"):
            assert word not in reply
        assert b"server: waitress" not in reply.lower()
    assert raw(server, b"GET / HTTP/1.1\r\n" + end).startswith(b"HTTP/1.1 200")
    assert "Traceback" not in server.said()


# What it refuses to start with


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Refused:
    """A function that runs the command, which must refuse; gives status and message."""

    def run(*words: str) -> tuple[int, str]:
        try:
            status = main(["survey", "serve", *words])
        except SystemExit as ended:
            status = int(ended.code or 0)
        return status, capsys.readouterr().err

    return run


def words_of(small: "SmallStudy", **changes: Path) -> list[str]:
    paths = {"key": small.key_path, "database": small.folder.with_name("a.sqlite")} | changes
    folder = paths.pop("folder", small.folder)
    options = [word for name, path in paths.items() for word in (f"--{name}", str(path))]
    return [str(folder), *options, "--port", "0"]


def test_a_taken_port_is_said(small_study: Make, survey_server: Serve, refused: Refused) -> None:
    small = small_study()
    server = survey_server(small)
    status, message = refused(*words_of(small)[:-1], str(server.port))
    assert status == 1
    assert f"port {server.port}: address already in use; give another --port" in message
    # And the first one goes on.
    assert raw(server, b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def test_a_key_of_another_study_is_refused(small_study: Make, refused: Refused) -> None:
    one, other = small_study("one"), small_study("other")
    status, message = refused(*words_of(one, key=other.key_path))
    assert status == 1
    assert f"is study {one.study.survey_id}, and the key is of {other.study.survey_id}" in message
    assert not one.folder.with_name("a.sqlite").exists()


def test_a_tampered_key_is_refused(small_study: Make, refused: Refused) -> None:
    small = small_study()
    text = small.key_path.read_text().replace('"label": "fake"', '"label": "real"', 1)
    small.key_path.write_text(text)
    status, message = refused(*words_of(small))
    assert status == 1
    assert "was changed since it was written" in message


def test_a_database_of_another_study_is_refused(
    small_study: Make, survey_server: Serve, refused: Refused
) -> None:
    one, other = small_study("one"), small_study("other")
    server = survey_server(one)
    server.stop()
    status, message = refused(*words_of(other, database=server.database))
    assert status == 1
    assert f"holds answers of {one.study.survey_id}" in message


def test_a_damaged_database_is_refused(small_study: Make, refused: Refused) -> None:
    small = small_study()
    path = small.folder.with_name("a.sqlite")
    path.write_bytes(b"SQLite format 3\x00" + b"\xff" * 5000)
    status, message = refused(*words_of(small))
    assert status == 1
    assert "damaged" in message
    assert len(path.read_bytes()) == 5016


@pytest.mark.parametrize("what", ["changed", "missing", "link"])
def test_a_folder_that_is_not_as_it_was_exported_is_refused(
    small_study: Make, what: str, refused: Refused
) -> None:
    small = small_study()
    path = small.folder / next(iter(small.study.pictures.values()))
    content = path.read_bytes()
    path.unlink()
    if what == "changed":
        path.write_bytes(content + b"\0")
    if what == "link":
        path.symlink_to("/etc/passwd")
    status, message = refused(*words_of(small))
    assert status == 1
    assert "is not as it was exported" in message
    assert path.name in message


def test_an_empty_folder_and_a_missing_key_are_said(
    small_study: Make, tmp_path: Path, refused: Refused
) -> None:
    small = small_study()
    status, message = refused(*words_of(small, folder=tmp_path))
    assert (status, "is no study" in message) == (1, True)
    status, message = refused(*words_of(small, key=tmp_path / "none"))
    assert (status, "no such file" in message) == (1, True)
    status, message = refused(*words_of(small, database=tmp_path / "none" / "a"))
    assert (status, "there is no folder" in message) == (1, True)


def test_unfit_options_are_refused(small_study: Make, tmp_path: Path, refused: Refused) -> None:
    small = small_study()
    texts = tmp_path / "texts.yaml"
    texts.write_text("titel: x", encoding="utf-8")
    for words, status, message in (
        (["--port", "70000"], 2, "70000 is not between 0 and 65535"),
        (["--staircase", "true"], 2, "is for timed studies, and this one is single"),
        (["--staircase_start_ms", "50"], 2, "is not between"),
        (["--redirect_url", "javascript:alert(1)"], 2, "begins with https://"),
        (["--completion_code", "a\nb"], 2, "printable"),
        (["--host", "999.1.1.1"], 1, "is no address"),
        (["--host", "192.0.2.1"], 1, "cannot listen on 192.0.2.1"),
        (["--texts", str(texts)], 1, "titel: no such text; did you mean title"),
        (["--prot", "1"], 2, "--prot"),
    ):
        got, said = refused(*words_of(small), *words)
        assert (got, message in said) == (status, True), said


def test_help_comes_without_flask_or_torch() -> None:
    code = (
        "import sys\nfrom impasto.scripts.main import main\n"
        "try:\n main(['survey', 'serve', '--help'])\nexcept SystemExit:\n pass\n"
        "sys.exit(any(name in sys.modules for name in ('flask', 'torch', 'scipy')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "--completion_code" in done.stdout


def test_without_flask_it_says_what_to_install(small_study: Make) -> None:
    code = (
        "import sys\nsys.modules['flask'] = None\n"
        "from impasto.scripts.main import main\n"
        f"sys.exit(main(['survey', 'serve', *{words_of(small_study())!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert 'pip install "impasto[survey]"' in done.stderr
    assert "Traceback" not in done.stderr


def test_serving_needs_no_torch(small_study: Make, survey_server: Serve) -> None:
    server = survey_server(small_study())
    assert server._process is not None
    maps = Path(f"/proc/{server._process.pid}/maps")
    if not maps.exists():
        pytest.skip("needs /proc")
    read = maps.read_text()
    assert "libtorch" not in read
    assert "/torch/" not in read


def test_a_second_start_goes_on_and_results_keep_their_address(
    small_study: Make, survey_server: Serve
) -> None:
    server = survey_server(small_study())
    first = server.results_url
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/results/[0-9a-f]{40}", first)
    server.stop()
    server.start()
    assert server.results_url == first


def test_behind_a_proxy_visitors_are_told_apart(
    small_study: Make, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_refilled(per_second: float, burst: float) -> RateLimit:
        return RateLimit(per_second / 1e9, burst)  # however long a busy machine takes

    monkeypatch.setattr("impasto.survey.serve.job.RateLimit", never_refilled)
    small = small_study()
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    replies: list[tuple[int, str]] = []

    def ask(visitor: str) -> None:
        with closing(HTTPConnection("127.0.0.1", port, timeout=120)) as connection:
            headers = {"X-Forwarded-For": visitor, "X-Forwarded-Proto": "https"}
            connection.request("GET", "/", headers=headers)
            reply = connection.getresponse()
            reply.read()
            replies.append((reply.status, reply.getheader("Set-Cookie") or ""))

    def visit_and_stop() -> None:
        end = time.monotonic() + 120
        while time.monotonic() < end and not replies:
            try:
                ask("192.0.2.1")
            except OSError:
                time.sleep(0.05)
        for visitor in ("192.0.2.1", "192.0.2.2"):
            ask(visitor)
        os.kill(os.getpid(), signal.SIGTERM)

    visitors = threading.Thread(target=visit_and_stop)
    visitors.start()
    limit = ("--behind_proxy", "true", "--requests_per_second", "0.1")
    assert main(["survey", "serve", *words_of(small)[:-1], str(port), *limit]) == 0
    visitors.join()
    assert [status for status, _ in replies] == [200, 429, 200]
    assert "; Secure" in replies[0][1]
    printed = capsys.readouterr().out
    assert f"open     http://127.0.0.1:{port}/" in printed
    assert "stopped: 0 answers" in printed
