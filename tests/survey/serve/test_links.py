"""Signed links and lists of participants: who comes in, and what an id alone tells."""

import csv
import hashlib
import hmac
import shlex
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from impasto.options.errors import OptionError, SurveyError
from impasto.options.survey import SurveyLinksOptions
from impasto.scripts.main import main
from impasto.survey.serve.database import Database
from impasto.survey.serve.links import random_ids, read_ids, write_links
from impasto.survey.serve.sessions import Admission
from tests.survey.serve.visits import Running, Visit, assert_calm

if TYPE_CHECKING:
    from tests.survey.conftest import SmallStudy

Make = Callable[..., "SmallStudy"]
RunApp = Callable[..., Running]
SIGNED = Admission(signed_links=True)
CODE = {"completion_code": "C0DE", "redirect_url": "https://example.org/?done"}


def signature(secret: bytes, participant: str) -> str:
    """HMAC-SHA256 of "participant ID", from the definition in RFC 2104."""
    key = secret.ljust(64, b"\0")
    inner = bytes(one ^ 0x36 for one in key) + f"participant {participant}".encode()
    outer = bytes(one ^ 0x5C for one in key) + hashlib.sha256(inner).digest()
    return hashlib.sha256(outer).hexdigest()[:32]


def read(table: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(table.read_text(encoding="utf-8").splitlines()))


def link(running: Running, participant: str) -> str:
    return f"?participant={participant}&signature={signature(running.database.secret, participant)}"


def test_links_let_their_participants_in(
    small_study: Make, tmp_path: Path, run_app: RunApp, capsys: pytest.CaptureFixture[str]
) -> None:
    small = small_study()
    ids, table = tmp_path / "my ids.txt", tmp_path / "links.csv"
    ids.write_text("# my list\nanna\n\nb+c@example.org\n", encoding="utf-8")
    words = ["--database", str(tmp_path / "0.sqlite"), "--base_url", "https://example.org/study"]
    words += ["--participants", str(ids), "--output", str(table)]
    assert main(["survey", "links", str(small.folder), *words]) == 0
    said = capsys.readouterr().out
    assert "2 links" in said
    told = shlex.split(said.partition("next: ")[2])
    assert told[:4] == ["impasto", "survey", "serve", str(small.folder)]
    assert told[told.index("--participants") + 1] == str(ids)
    assert main(["survey", "links", str(small.folder), *words]) == 2
    assert "exists; --overwrite true replaces it" in capsys.readouterr().err
    assert table.stat().st_mode & 0o777 == 0o600
    rows = read(table)
    assert [row["participant"] for row in rows] == ["anna", "b+c@example.org"]
    running = run_app(small, admission=SIGNED)
    for row in rows:
        assert row["url"].startswith("https://example.org/study/?participant=")
        visit = Visit(running, f"?{urlsplit(row['url']).query}")
        visit.agree()
        assert visit.form.screen == "instructions"
    # The table is a list of participants itself.
    assert read_ids(table) == ["anna", "b+c@example.org"]


def test_without_a_valid_signature_nobody_comes_in(run_app: RunApp) -> None:
    running = run_app(admission=SIGNED, page=CODE)
    good = link(running, "anna")
    visit = Visit(running, good)
    visit.agree()
    other = signature(running.database.secret, "bert")
    for query in ("", "?participant=anna", f"?participant=anna&signature={other}"):
        reply = running.client().get(f"/{query}")
        assert reply.status_code in (400, 403)
        assert_calm(reply)
    for bad in ("x", "0" * 31, good[-32:].upper() + "0", "%00"):
        assert running.client().get(f"/?participant=anna&signature={bad}").status_code == 400
    # Nor by the form alone: its id is changed to that of another.
    thief = Visit(running, link(running, "carl"))
    thief.form.fields["participant"] = "anna"
    assert thief.send(agree="yes").status_code == 403
    visit.goes_through(lambda _: "real")
    assert "C0DE" in visit.replies[-1].text


def test_a_signed_session_is_found_again_without_its_cookie(run_app: RunApp) -> None:
    running = run_app(admission=SIGNED, page=CODE)
    first = Visit(running, link(running, "anna"))
    first.agree()
    first.send()
    # Where it led is an address that finds the session: with the signature.
    assert first.location == f"/{link(running, 'anna')}"
    second = Visit(running, link(running, "anna"))
    second.agree()
    assert second.form.screen == "trial"
    second.goes_through(lambda _: "real")
    assert "C0DE" in Visit(running, link(running, "anna")).replies[-1].text


def test_an_id_alone_tells_no_completion_code(run_app: RunApp) -> None:
    running = run_app(page=CODE)
    visit = Visit(running, "?PROLIFIC_PID=p1&SESSION_ID=secret9")
    visit.agree()
    visit.goes_through(lambda _: "real")
    told = visit.replies[-1].text
    assert "C0DE" in told
    assert CODE["redirect_url"] in told
    for query in ("?participant=p1", "?PROLIFIC_PID=p1&SESSION_ID=another"):
        stranger = Visit(running, query)
        assert stranger.form.screen == "thanks"
        assert "C0DE" not in stranger.replies[-1].text
        assert CODE["redirect_url"] not in stranger.replies[-1].text
    # Nor by the form that begins, with the id of another.
    thief = Visit(running, "?participant=p2")
    thief.form.fields["participant"] = "p1"
    thief.agree()
    assert thief.form.screen == "thanks"
    assert all("C0DE" not in reply.text for reply in thief.replies)
    # Whose it is sees it again, by the cookie, or by the address of the platform.
    visit.open()
    assert "C0DE" in visit.replies[-1].text
    assert "C0DE" in Visit(running, "?PROLIFIC_PID=p1&SESSION_ID=secret9").replies[-1].text


def test_only_those_on_the_list_come_in(run_app: RunApp) -> None:
    running = run_app(admission=Admission(allowed=frozenset({"anna", "bert"})))
    assert Visit(running, "?participant=anna").form.screen == "consent"
    assert Visit(running, "?PROLIFIC_PID=bert&SESSION_ID=1").form.screen == "consent"
    reply = running.client().get("/?participant=carl")
    assert reply.status_code == 403
    assert "is not on the list" in reply.text
    assert "not valid" not in reply.text
    assert running.client().get("/").status_code == 400


@pytest.mark.parametrize(
    ("query", "admission", "text"),
    [
        ("?participant=carl", Admission(allowed=frozenset({"anna"})), "is not on the list"),
        ("", Admission(allowed=frozenset({"anna"})), "has no participant number"),
        ("", SIGNED, "has no participant number"),
        ("", Admission(require_participant=True), "has no participant number"),
        ("?participant=anna", Admission(allowed=frozenset({"anna"})), ""),
    ],
)
def test_a_session_from_before_a_list_takes_no_answer_of_others(
    run_app: RunApp, query: str, admission: Admission, text: str
) -> None:
    running = run_app(practice=0)
    visit = Visit(running, query)
    visit.agree()
    visit.send()
    assert visit.form.screen == "trial"
    running.sessions._admission = admission  # as by another start with the same database
    reply = visit.send(choice="real")
    if text:
        assert reply.status_code == 403
        assert text in reply.text
        assert 'class="main-button"' not in reply.text
        assert_calm(reply)
    assert len(running.database.answers()) == (0 if text else 1)


def test_a_signature_that_is_given_is_looked_at_also_where_none_is_asked_for(
    run_app: RunApp,
) -> None:
    running = run_app()
    assert running.client().get(f"/{link(running, 'anna')}").status_code == 200
    assert running.client().get(f"/?participant=anna&signature={'0' * 32}").status_code == 403


def test_random_ids_differ_and_links_stay_the_same(small_study: Make, tmp_path: Path) -> None:
    small = small_study()

    def make(name: str, ids: list[str]) -> list[dict[str, str]]:
        database = tmp_path / "a.sqlite"
        write_links(small.folder, database, tmp_path / name, ids, base_url="http://192.0.2.7:8080")
        return read(tmp_path / name)

    ids = random_ids(50)
    assert len(set(ids)) == 50
    first = make("first.csv", ids)
    assert make("again.csv", read_ids(tmp_path / "first.csv")) == first
    with pytest.raises(OptionError, match="is public"):
        make(f"{small.folder.name}/links.csv", ids)
    with closing(Database(tmp_path / "a.sqlite", small.study)) as database:
        expected = hmac.new(database.secret, b"participant x", "sha256").hexdigest()[:32]
        assert signature(database.secret, "x") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("anna\nb c\n", "line 2: 'b c': expected 1 to 128 letters"),
        ("anna\nbert\nanna\n", "line 3: anna is in line 1, too"),
        ("# nothing\n", "has no id"),
        ("anonymous-1\n", "line 1: 'anonymous-1': is one that this program gives itself"),
    ],
)
def test_a_list_with_what_is_no_id_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "ids.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SurveyError) as caught:
        read_ids(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("PROLIFIC_PID\nanna\nbert\n", ["anna", "bert"]),
        ("id\nanna\n", ["anna"]),
        ("# mine\n\nWorkerId,Name\nanna,Anna A\n", ["anna"]),
        ("Submission id,Participant id,Status\ns1,anna,OK\ns2,bert,OK\n", ["anna", "bert"]),
        ("participant,url\nanna,https://x.org/?participant=anna\n", ["anna"]),
        ("anna\nid\n", ["anna", "id"]),
        ("anna,1\nbert,2\n", ["anna", "bert"]),
    ],
)
def test_the_column_of_ids_is_found_by_its_heading(
    tmp_path: Path, text: str, ids: list[str]
) -> None:
    path = tmp_path / "ids.csv"
    path.write_text(text, encoding="utf-8")
    assert read_ids(path) == ids


def test_ids_or_a_number_of_them_and_an_address_are_needed(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="either --participants or --count"):
        SurveyLinksOptions(database=tmp_path / "a", base_url="https://x.org")
    with pytest.raises(OptionError, match="begins with https://"):
        SurveyLinksOptions(database=tmp_path / "a", count=3)
    for url in ("https://x.org/?a=b", "https://x.org/#a", "https://x.org/s?"):
        with pytest.raises(OptionError, match=r"without \? or #"):
            SurveyLinksOptions(database=tmp_path / "a", count=3, base_url=url)
