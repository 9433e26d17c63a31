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
from impasto.survey.serve.connections import find_silent, find_surplus, network_of

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


def test_there_is_room_below_both_limits() -> None:
    few = [Open("a"), Open("a"), Open("b")]
    assert find_surplus(few, "a", most=4, most_of_one=3) is None


def test_one_address_makes_room_among_its_own() -> None:
    others = [Open("b", 0.0) for _ in range(5)]
    own = [Open("a", 7.0), Open("a", 3.0), Open("a", 5.0)]
    assert find_surplus([*others, *own], "a", most=100, most_of_one=3) is own[1]
    assert find_surplus([*others, *own], "c", most=100, most_of_one=3) is None


def test_where_all_is_full_the_longest_silent_goes_whose_ever_it_is() -> None:
    some = [Open("a", 4.0), Open("b", 2.0), Open("c", 3.0)]
    assert find_surplus(some, "d", most=3, most_of_one=3) is some[1]


def test_who_asks_and_does_not_read_goes_before_who_has_just_read() -> None:
    unread = Open("a", 1.0, requests=["GET /", "GET /"], total_outbufs_len=9)
    idle, reading = Open("a", 2.0), Open("a", 3.0, total_outbufs_len=9)
    asked = Open("a", 0.0, requests=["GET /"])
    every = [reading, idle, asked, unread]
    # Last of all those who wait for the server, although nothing has moved there for longer.
    while every:
        surplus = find_surplus(every, "a", most=99, most_of_one=len(every))
        assert surplus is min(every, key=[unread, idle, reading, asked].index)
        every.remove(surplus)


def test_four_addresses_that_do_not_read_lock_nobody_out() -> None:
    held = [Open(f"a{place % 4}", 5.0, ["GET /"], 9) for place in range(2000)]
    held[700].last_activity = 4.0
    assert find_surplus(held, "b", most=2000, most_of_one=600) is held[700]


def test_silent_are_those_whose_output_does_not_move_also_where_more_was_asked() -> None:
    unread = Open("a", 1.0, requests=["GET /", "GET /"], total_outbufs_len=9)
    idle, slow = Open("a", 2.0), Open("a", 8.0, total_outbufs_len=9)
    asked = Open("a", 0.0, requests=["GET /"])
    assert find_silent([asked, slow, idle, unread], 7.0) == [idle, unread]


def test_addresses_of_one_line_count_as_one() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1"
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of(None) == network_of("nonsense") == "unknown"


def ask(port: int, source: str = "127.0.0.1", path: str = "/") -> HTTPConnection:
    """Open a connection, get a page, and keep the connection, as a browser does."""
    # Less than the 30 s after which the server closes what is silent, and so makes room.
    connection = HTTPConnection("127.0.0.1", port, timeout=25, source_address=(source, 0))
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
    end = time.monotonic() + 25
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
def running(
    app: Callable[..., list[bytes]], channels: dict[int, Any] | None = None
) -> Iterator[int]:
    """Serve an application; give the port."""
    stop = threading.Event()
    channels = {} if channels is None else channels
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
            gate.wait(600)  # far longer than anybody waits for a picture
        start("200 OK", [("Content-Length", "4")])
        return [b"csrf"]

    with running(app) as port, ExitStack() as stack:
        waiting = [HTTPConnection("127.0.0.1", port, timeout=25) for _ in range(20)]
        for connection in waiting:
            stack.callback(connection.close)
            connection.request("GET", "/next")
        stack.callback(gate.set)
        for _ in range(8):
            stack.callback(ask(port, path="/images/a.png").close)
        gate.set()
        assert [connection.getresponse().status for connection in waiting] == [200] * 20


PICTURE = bytes(range(256)) * 20_000  # 5 MB: four of them are above what waitress holds


def give_pictures(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
    body = b"csrf" if environ["PATH_INFO"] == "/images/small.png" else PICTURE
    start("200 OK", [("Content-Length", str(len(body)))])
    return [body]


def ask_without_reading(port: int, count: int) -> socket.socket:
    """Ask for pictures all at once, and read none of them."""
    one = socket.socket()
    one.settimeout(20)
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.connect(("127.0.0.1", port))
    one.sendall(b"GET /images/x.png HTTP/1.1\r\n\r\n" * count)
    return one


def waiting_bytes(channels: dict[int, Any]) -> list[int]:
    """Number of bytes that each connection's buffer holds."""
    every = list(channels.values())
    return [one.total_outbufs_len for one in every if hasattr(one, "total_outbufs_len")]


@pytest.mark.parametrize("requests", [8, 202])
def test_who_does_not_read_stops_nobody_and_holds_one_reply(requests: int) -> None:
    """With 8 the buffers are filled; with 202 the connection is closed."""
    channels: dict[int, Any] = {}
    with running(give_pictures, channels) as port, ExitStack() as stack:
        for _ in range(6):
            stack.callback(ask_without_reading(port, requests).close)
        kept = 6 if requests == 8 else 0
        assert eventually(lambda: sum(held > 0 for held in waiting_bytes(channels)) == kept)
        # There are four threads for files: none of them waits.
        for _ in range(8):
            stack.callback(ask(port, path="/images/small.png").close)
        assert eventually(lambda: len(waiting_bytes(channels)) == kept + 8)
        # A reply is its picture, and some hundred bytes before it.
        assert max(waiting_bytes(channels)) < len(PICTURE) + 1000


def test_requests_that_come_at_once_are_answered_in_their_order() -> None:
    def app(environ: dict[str, Any], start: Callable[..., Any]) -> list[bytes]:
        body = environ["PATH_INFO"].encode() * 100_000
        start("200 OK", [("Content-Length", str(len(body)))])
        return [body]

    with running(app) as port, socket.create_connection(("127.0.0.1", port), timeout=25) as one:
        paths = [b"/images/1", b"/2", b"/images/3", b"/4", b"/images/5", b"/6"]
        one.sendall(b"".join(b"GET " + path + b" HTTP/1.1\r\n\r\n" for path in paths))
        with one.makefile("rb") as replies:
            for path in paths:
                header = [line.lower() for line in iter(replies.readline, b"\r\n")]
                assert header[0] == b"http/1.1 200 ok\r\n"
                assert b"content-length: %d\r\n" % (100_000 * len(path)) in header
                assert replies.read(100_000 * len(path)) == path * 100_000


def test_who_reads_nothing_for_long_is_closed_with_requests_that_wait() -> None:
    channels: dict[int, Any] = {}
    with running(give_pictures, channels) as port, ExitStack() as stack:
        for requests in (1, 3):
            stack.callback(ask_without_reading(port, requests).close)
        assert eventually(lambda: sum(held > 0 for held in waiting_bytes(channels)) == 2)
        (server,) = {one.server for one in list(channels.values()) if hasattr(one, "server")}
        assert server.adj.channel_timeout == 30
        server.adj.channel_timeout = server.next_channel_cleanup = 0
        assert eventually(lambda: waiting_bytes(channels) == [])
