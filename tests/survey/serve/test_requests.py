"""What browsers send is checked, and how often they may is limited."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from impasto.survey.serve.requests import RateLimit

if TYPE_CHECKING:
    pass
from tests.survey.serve.visits import SCRIPTED, Running, Visit, assert_calm


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


def test_the_memory_of_addresses_is_bounded() -> None:
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
