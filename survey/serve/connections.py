"""The server's connections: many at once, of which none keeps others waiting.

A browser opens six connections and keeps them. So a place is never held by one that says nothing:
where all places are taken, the connection that was silent for longest is closed, and its browser
opens another when it needs one. Nor does a thread ever wait for somebody who does not read: a reply
lies in the connection's buffer, and the next request is taken up when it is sent.
"""

import ipaddress
import select
import threading
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import suppress
from socket import socket
from typing import Any, Protocol, TypeVar

import waitress.server
from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher

__all__ = ["Connection", "find_silent", "find_surplus", "make_server", "network_of"]

_MOST = 2000
# Three tenths for one address: a hundred people behind one proxy have all six connections of their
# browsers, and more than a hundred share these.
_SHARE_OF_ONE = 0.3
_SILENT_SECONDS = 30
# Requests of one connection that wait for their replies. Browsers and proxies send one at a time.
_MOST_REQUESTS = 8
# Bytes above which a thread would wait until a connection is read: never, since it holds one reply.
_NO_LIMIT = 2**62
# Of the files that a process may have open, those that are no connections.
_OTHER_FILES = 64
# select(), which is all that Windows has, takes 512.
_MOST_WITHOUT_POLL = 480
_PAGE_THREADS, _FILE_THREADS = 8, 4
_FILES = ("/images/", "/survey.js", "/survey.css")


def network_of(address: str | None) -> str:
    """Return what counts as one address: for IPv6, the 64-bit network of a subscriber.

    >>> network_of("192.0.2.7"), network_of("2001:db8::1:2")
    ('192.0.2.7', '2001:db8::/64')
    """
    try:
        parsed = ipaddress.ip_address((address or "").partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class Connection(Protocol):
    """What of an open connection matters here.

    Attributes:
        network: address that it counts for, see
            :func:`network_of`.
        requests: requests that wait for their replies.
        total_outbufs_len: number of bytes that wait to be sent.
        last_activity: time of the last byte in either direction, or of a reply that became ready,
            in seconds.
    """

    network: str
    requests: Any
    total_outbufs_len: int
    last_activity: float


C = TypeVar("C", bound=Connection)


def _waits_for_us(one: Connection) -> bool:
    """Return True if it is the server's turn; otherwise it is the other side's, to read or ask."""
    return bool(one.requests) and not one.total_outbufs_len


def find_surplus(
    connections: Iterable[C], network: str, *, most: int, most_of_one: int
) -> C | None:
    """Find the connection to close for another one.

    That is the one in which nothing has moved for longest, whether it has asked for something or
    not: who asks and does not read keeps nobody out. Those that wait for the server come last.

    Args:
        connections: the open connections.
        network: address of the new one.
        most: largest number of open connections.
        most_of_one: largest number of one address.

    Returns:
        The connection to close; None if there is room.
    """
    counted = list(connections)
    own = [one for one in counted if one.network == network]
    if len(own) >= most_of_one:
        counted = own
    elif len(counted) < most:
        return None
    return min(counted, key=lambda one: (_waits_for_us(one), one.last_activity))


def find_silent(connections: Iterable[C], since: float) -> list[C]:
    """Find the connections in which nothing has moved since a time, and which do not wait for us.

    Args:
        connections: the open connections.
        since: time, in seconds.
    """
    return [one for one in connections if one.last_activity < since and not _waits_for_us(one)]


def make_server(
    app: Callable[..., Any],
    listening: socket,
    channels: MutableMapping[int, object],
    *,
    behind_proxy: bool,
) -> waitress.server.BaseWSGIServer:
    """Make a server of an application that listens already.

    Pictures and other files have threads of their own, so that they never wait for a database.

    Args:
        app: WSGI application.
        listening: listening socket.
        channels: mapping that will hold all connections, by the numbers of their files.
        behind_proxy: True if all connections are of a proxy, which is trusted to name the visitors.
    """
    trust = {
        "trusted_proxy": "*",
        "trusted_proxy_count": 1,
        "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"},
    }
    most = _most_connections()
    server = waitress.server.create_server(
        app,
        channels,
        sockets=[listening],
        threads=_PAGE_THREADS,
        ident=None,
        # Above what is let in here, so that it never stops listening.
        connection_limit=2 * most,
        asyncore_use_poll=True,
        channel_timeout=_SILENT_SECONDS,
        cleanup_interval=_SILENT_SECONDS // 3,
        outbuf_high_watermark=_NO_LIMIT,
        max_request_body_size=64 * 1024,
        max_request_header_size=16 * 1024,
        clear_untrusted_proxy_headers=True,
        **(trust if behind_proxy else {}),
    )
    most_of_one = most if behind_proxy else max(6, int(most * _SHARE_OF_ONE))
    server.channel_class = lambda *values, **named: _Channel(
        *values, **named, limits={"most": most, "most_of_one": most_of_one}
    )
    server.task_dispatcher = _Lanes(server.task_dispatcher)

    def close_silent(now: float) -> None:
        # waitress itself passes by those with requests, and only marks the others, which closes
        # them when they read again.
        channels = server.active_channels.values()
        for channel in find_silent(channels, now - server.adj.channel_timeout):
            channel.handle_close()

    server.maintenance = close_silent
    return server


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """Connection that closes a silent one where there are too many, and holds one reply at most."""

    def __init__(self, server: Any, *values: Any, limits: dict[str, int], **named: Any) -> None:
        self.network = network_of(values[1][0])
        self._is_held, self._holding = False, threading.Lock()
        surplus = find_surplus(server.active_channels.values(), self.network, **limits)
        if surplus is not None:
            surplus.handle_close()
        super().__init__(server, *values, **named)

    def readable(self) -> bool:
        return self.socket is not None and bool(super().readable())

    def writable(self) -> bool:
        return self.socket is not None and bool(super().writable())

    def close(self) -> None:
        # With its buffers, of which large ones are files.
        self.handle_close()

    def received(self, data: bytes) -> bool:
        taken = bool(super().received(data))
        if len(self.requests) > _MOST_REQUESTS:
            self.handle_close()
        return taken

    def handle_write(self) -> None:
        if self.socket is None:  # closed a moment ago
            return
        super().handle_write()
        if self.connected and self.is_free():
            self.server.task_dispatcher.start(self)

    def hold(self) -> None:
        """Hold back the next request until the reply before it is sent."""
        with self._holding:
            self._is_held = True

    def is_free(self) -> bool:
        """Return True, once, if a request was held back and there is nothing left to send."""
        with self._holding:
            freed = self._is_held and not self.total_outbufs_len
            self._is_held = self._is_held and not freed
            return freed


class _Lanes:
    """Dispatcher of requests to threads: one group for pages, one for files."""

    def __init__(self, pages: ThreadedTaskDispatcher) -> None:
        self._pages, self._files = pages, ThreadedTaskDispatcher()
        self._files.set_thread_count(_FILE_THREADS)

    def add_task(self, channel: Any) -> None:
        """Take up the first request of a connection, now or when its last reply is sent."""
        # In this order: what is sent in between is noticed here or in ``handle_write``.
        channel.hold()
        if channel.is_free():
            self.start(channel)

    def start(self, channel: Any) -> None:
        """Give the first request of a connection to a thread."""
        # One that could not be read has no path.
        is_file = getattr(channel.requests[0], "path", "").startswith(_FILES)
        (self._files if is_file else self._pages).add_task(channel)

    def shutdown(self, *values: Any, **named: Any) -> bool:
        ended = [lane.shutdown(*values, **named) for lane in (self._pages, self._files)]
        return any(ended)


def _most_connections() -> int:
    """Return how many connections this process can have; allow as many as the system lets it."""
    if not hasattr(select, "poll"):
        return _MOST_WITHOUT_POLL
    try:
        import resource  # noqa: PLC0415 - Windows has none
    except ImportError:
        return _MOST
    # Twice, since a large reply that waits to be read is a file, too.
    wanted = 2 * _MOST + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    if soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return max(_OTHER_FILES // 2, min(_MOST, soft - _OTHER_FILES))
