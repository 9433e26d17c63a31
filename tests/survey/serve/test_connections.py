"""Connections: more than there are places for, and none who keeps others out."""

import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.client import HTTPConnection
from typing import TYPE_CHECKING, Any

import pytest
from waitress import wasyncore

from impasto.survey.serve import connections
from impasto.survey.serve.connections import find_surplus, network_of

if TYPE_CHECKING:
    from tests.survey.conftest import SmallStudy, SurveyServer

Make = Callable[..., "SmallStudy"]
Serve = Callable[..., "SurveyServer"]


@dataclass
class Open:
    network: str
    last_activity: float = 0.0
    requests: list[str] = field(default_factory=list)
    total_outbufs_len: int = 0
    will_close: bool = False


def test_there_is_room_below_both_limits() -> None:
    few = [Open("a"), Open("a"), Open("b")]
    assert find_surplus(few, "a", most=4, most_of_one=3) == (False, None)


def test_one_address_makes_room_among_its_own() -> None:
    others = [Open("b", 0.0) for _ in range(5)]
    own = [Open("a", 7.0), Open("a", 3.0), Open("a", 5.0)]
    assert find_surplus([*others, *own], "a", most=100, most_of_one=3) == (True, own[1])
    assert find_surplus([*others, *own], "c", most=100, most_of_one=3) == (False, None)


def test_where_all_is_full_the_longest_silent_goes_whose_ever_it_is() -> None:
    some = [Open("a", 4.0), Open("b", 2.0), Open("c", 3.0)]
    assert find_surplus(some, "d", most=3, most_of_one=3) == (True, some[1])


def test_nobody_is_cut_off_in_the_middle_of_a_reply() -> None:
    asked, sent = Open("a", 1.0, requests=["GET /"]), Open("a", 2.0, total_outbufs_len=9)
    idle = Open("a", 3.0)
    assert find_surplus([asked, sent, idle], "a", most=9, most_of_one=3) == (True, idle)
    assert find_surplus([asked, sent], "a", most=9, most_of_one=2) == (True, None)
    # One that closes already holds no place.
    idle.will_close = True
    assert find_surplus([asked, sent, idle], "a", most=9, most_of_one=3) == (False, None)


def test_addresses_of_one_line_count_as_one() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of(None) == network_of("nonsense") == "unknown"


def ask(port: int, source: str = "127.0.0.1", path: str = "/") -> HTTPConnection:
    """Open a connection, get a page, and keep the connection, as a browser does."""
    connection = HTTPConnection("127.0.0.1", port, timeout=20, source_address=(source, 0))
    connection.request("GET", path)
    reply = connection.getresponse()
    assert reply.status == 200
    assert b"csrf" in reply.read()
    return connection


def is_open(connection: HTTPConnection) -> bool:
    connection.sock.setblocking(False)
    try:
        return connection.sock.recv(1, socket.MSG_PEEK) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


def eventually(holds: Callable[[], bool]) -> bool:
    """Whether it holds soon: the server closes connections a moment later."""
    end = time.monotonic() + 20
    while not holds() and time.monotonic() < end:
        time.sleep(0.02)
    return holds()


def test_seventeen_browsers_of_six_connections_lock_nobody_out(
    small_study: Make, survey_server: Serve
) -> None:
    server = survey_server(small_study())
    with ExitStack() as stack:
        kept = []
        for _ in range(17 * 6 + 20):
            kept.append(ask(server.port))
            stack.callback(kept[-1].close)
        # There is room for all, so that nobody had to give way.
        assert all(is_open(connection) for connection in kept)


@contextmanager
def running(app: Callable[..., list[bytes]]) -> Iterator[int]:
    """Serve an application; give the port."""
    stop, channels = threading.Event(), dict[int, object]()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = connections.make_server(app, listening, channels, behind_proxy=False)

        def run() -> None:
            while not stop.is_set():
                wasyncore.loop(timeout=0.05, use_poll=True, map=channels, count=1)

        thread = threading.Thread(target=run)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            stop.set()
            thread.join()
            server.task_dispatcher.shutdown()
            wasyncore.close_all(channels, ignore_all=True)


def test_one_address_has_its_share_and_others_come_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty places, six of them for one address."""
    if sys.platform != "linux":
        pytest.skip("needs a machine that has all of 127.0.0.0/8")
    monkeypatch.setattr(connections, "_most_connections", lambda: 20)

    def app(_: Any, start: Callable[..., Any]) -> list[bytes]:
        start("200 OK", [("Content-Length", "4")])
        return [b"csrf"]

    with running(app) as port, ExitStack() as stack:

        def open_some(count: int, source: str) -> list[HTTPConnection]:
            made = [ask(port, source) for _ in range(count)]
            for connection in made:
                stack.callback(connection.close)
            return made

        own = open_some(15, "127.0.0.1")
        # All were answered; the last of them are open.
        assert eventually(lambda: [is_open(one) for one in own] == [False] * 9 + [True] * 6)
        others = [one for place in range(2, 6) for one in open_some(6, f"127.0.0.{place}")]
        # Four more addresses want six each: the first gave way to them.
        assert eventually(lambda: sum(map(is_open, own + others)) == 20)
        assert not any(map(is_open, own))


def test_pictures_do_not_wait_for_pages() -> None:
    """All threads for pages are busy, as where the database is locked."""
    gate = threading.Event()

    def app(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        if not environ["PATH_INFO"].startswith("/images/"):
            gate.wait(60)
        start("200 OK", [("Content-Length", "4")])
        return [b"csrf"]

    with running(app) as port, ExitStack() as stack:
        waiting = [HTTPConnection("127.0.0.1", port, timeout=20) for _ in range(20)]
        for connection in waiting:
            stack.callback(connection.close)
            connection.request("GET", "/next")
        for _ in range(8):
            stack.callback(ask(port, path="/images/a.png").close)
        gate.set()
        assert [connection.getresponse().status for connection in waiting] == [200] * 20
