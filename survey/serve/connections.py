"""The server's connections: many at once, of which none keeps others waiting.

A browser opens six connections and keeps them. So a place is never held by one that says nothing:
where all places are taken, the connection that was silent for longest is closed, and its browser
opens another when it needs one.
"""

import ipaddress
import select
from collections.abc import Callable, Iterable, MutableMapping
from contextlib import suppress
from socket import socket
from typing import Any, Protocol, TypeVar

import waitress.server
from waitress.channel import HTTPChannel
from waitress.task import ThreadedTaskDispatcher

__all__ = ["Connection", "find_surplus", "make_server", "network_of"]

_MOST = 2000
# Three tenths for one address: a hundred people behind one proxy have all six connections of their
# browsers, and more than a hundred share these.
_SHARE_OF_ONE = 0.3
_SILENT_SECONDS = 30
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
        last_activity: time of the last byte in either direction, in seconds.
        will_close: True if it is about to be closed.
    """

    network: str
    requests: Any
    total_outbufs_len: int
    last_activity: float
    will_close: bool


C = TypeVar("C", bound=Connection)


def find_surplus(
    connections: Iterable[C], network: str, *, most: int, most_of_one: int
) -> tuple[bool, C | None]:
    """Find room for another connection.

    Args:
        connections: the open connections.
        network: address of the new one.
        most: largest number of open connections.
        most_of_one: largest number of one address.

    Returns:
        Whether there is no room, and the connection to close for it; None if all are busy.
    """
    counted = [one for one in connections if not one.will_close]
    own = [one for one in counted if one.network == network]
    if len(own) >= most_of_one:
        counted = own
    elif len(counted) < most:
        return False, None
    silent = (one for one in counted if not one.requests and not one.total_outbufs_len)
    return True, min(silent, key=lambda one: one.last_activity, default=None)


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
    return server


class _Channel(HTTPChannel):  # type: ignore[misc]  # waitress has no types
    """Connection that closes a silent one where there are too many, and else itself."""

    def __init__(self, server: Any, *values: Any, limits: dict[str, int], **named: Any) -> None:
        self.network = network_of(values[1][0])
        full, surplus = find_surplus(server.active_channels.values(), self.network, **limits)
        super().__init__(server, *values, **named)
        if full:
            (surplus or self).will_close = True


class _Lanes:
    """Dispatcher of requests to threads: one group for pages, one for files."""

    def __init__(self, pages: ThreadedTaskDispatcher) -> None:
        self._pages, self._files = pages, ThreadedTaskDispatcher()
        self._files.set_thread_count(_FILE_THREADS)

    def add_task(self, channel: Any) -> None:
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
    wanted = _MOST + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return _MOST
    if soft < wanted:
        raised = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            soft = raised
    return max(_OTHER_FILES // 2, min(_MOST, soft - _OTHER_FILES))
