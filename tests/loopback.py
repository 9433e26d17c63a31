"""A server on this machine that fails in all the ways in which servers fail."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

__all__ = ["Served", "Server", "serve"]


@dataclass
class Served:
    """One file, and how the server treats who asks for it.

    Attributes:
        content: what it holds.
        etag: what tells this version from others; empty: the server does not say.
        ranges: whether parts can be asked for.
        cuts: after how many bytes the connection ends, one for each request, until none is left.
        statuses: what is answered instead, one for each request, until none is left.
        kind: the Content-Type.
        stall_s: pause after the first half, in seconds.
        says_size: whether the server says how much it sends.
    """

    content: bytes
    etag: str = '"1"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    kind: str = "application/octet-stream"
    stall_s: float = 0.0
    says_size: bool = True


@dataclass
class Server:
    """The server: its files by path, what it was asked for, and its address.

    Attributes:
        files: files by their paths, which begin with ``/``.
        asked: path and Range of each request.
        url: address, without a slash at its end.
    """

    files: dict[str, Served] = field(default_factory=dict)
    asked: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""


def _start(served: Served, wanted: str, condition: str) -> int | None:
    """Return the first byte to send; None where the file has no such byte."""
    if not (wanted and served.ranges and condition in ("", served.etag)):
        return 0
    start = int(wanted.removeprefix("bytes=").rstrip("-"))
    return start if start < len(served.content) else None


class _Handler(BaseHTTPRequestHandler):
    state: ClassVar[Server]

    def do_GET(self) -> None:
        wanted = self.headers.get("Range", "")
        self.state.asked.append((self.path, wanted))
        served = self.state.files.get(self.path.partition("?")[0])
        if served is None:
            self._refuse(404)
        elif served.statuses:
            self._refuse(served.statuses.pop(0))
        elif (start := _start(served, wanted, self.headers.get("If-Range", ""))) is None:
            self._refuse(416)
        else:
            self._send(served, start)

    def _send(self, served: Served, start: int) -> None:
        body, whole = served.content[start:], len(served.content)
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", served.kind)
        if served.says_size:
            self.send_header("Content-Length", str(len(body)))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{whole - 1}/{whole}")
        if served.etag:
            self.send_header("ETag", served.etag)
        self.end_headers()
        cut = served.cuts.pop(0) if served.cuts else len(body)
        half = cut // 2
        self.wfile.write(body[:half])
        self.wfile.flush()
        time.sleep(served.stall_s)
        self.wfile.write(body[half:cut])

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Print nothing where a client has gone away."""


@contextmanager
def serve() -> Iterator[Server]:
    """Serve, on a free port of the loopback interface, until the end of the block."""
    server = Server()
    with _Quiet(("127.0.0.1", 0), type("Bound", (_Handler,), {"state": server})) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()
