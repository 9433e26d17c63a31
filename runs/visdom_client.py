"""A visdom server, asked in ways that always end: in an answer, or in an error within seconds."""

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import ArrayLike, NDArray

from impasto.options.errors import OptionError

__all__ = ["UnansweredError", "VisdomClient"]

_CONNECT_SECONDS = 1.0
_CHECK_SECONDS = 2.0
# A proxy of the environment is not for a server that the user has started.
_DIRECT = {"http": "", "https": ""}


class UnansweredError(Exception):
    """The server cannot be reached, does not answer in time, or is no visdom server."""


class VisdomClient:
    """Windows in one environment of a visdom server; what has the same title is replaced.

    The library prints, logs and warns as it connects, and waits for as long as it takes. It does
    none of that here: it only makes the messages, and each is sent in a request of its own.

    Args:
        server: address, e.g. ``http://localhost``; a path in it is kept.
        port: port of the server.
        env: environment.
        timeout_seconds: how long an answer may take.

    Raises:
        OptionError: visdom is not installed, or the address cannot be one.
    """

    def __init__(self, server: str, port: int, env: str, *, timeout_seconds: float = 5.0) -> None:
        try:
            from visdom import Visdom  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise OptionError(
                "display",
                "visdom is not installed; leave it out, or install it with\n"
                '  pip install "setuptools<81" wheel\n'
                '  pip install --no-build-isolation "impasto[visdom]"',
            ) from error
        base, path = _split(server)
        self.place = f"{base.partition('://')[2]}:{port}{path}"
        self._timeout_seconds = timeout_seconds
        self._check_address = f"{base}:{port}{path}/win_exists"

        class Client(Visdom):
            """Sends in the way that the library asks subclasses to."""

            send: bool

            def _handle_post(self, url: str, data: str = "{}") -> str:
                return _post(url, data, timeout_seconds)

        # Made as if nothing were to be sent, it does not connect.
        self._visdom: Any = Client(
            server=base,
            port=port,
            base_url=path or "/",
            env=env,
            send=False,
            use_incoming_socket=False,
            raise_exceptions=True,
        )
        self._visdom.send = True

    def check(self) -> None:
        """Return if a visdom server answers.

        Raises:
            UnansweredError: none does; says what happened. So do all methods below.
        """
        answer = _post(self._check_address, '{"win": ""}', _CHECK_SECONDS)
        if answer not in {"true", "false"}:
            raise UnansweredError("something else than visdom answers")

    def fingerprint(self, title: str) -> str:
        """Return what changes with the content of a window; nothing if there is no window."""
        exists = self._visdom.win_exists(title)
        return str(self._visdom.win_hash(title)) if exists else ""

    def draw_lines(
        self, title: str, x: ArrayLike, y: ArrayLike, *, names: Sequence[str], xlabel: str
    ) -> None:
        """Replace a window by curves.

        Args:
            title: of the window.
            x: places, (N,).
            y: values, (N, number of names).
            names: of the curves.
            xlabel: what ``x`` is.
        """
        opts = {"title": title, "legend": list(names), "xlabel": xlabel, "ylabel": "loss"}
        self._visdom.line(X=np.asarray(x), Y=_finite(y), win=title, opts=opts)

    def append_to_lines(
        self, title: str, x: ArrayLike, y: ArrayLike, *, names: Sequence[str]
    ) -> None:
        """Append points, like those of :meth:`draw_lines`, to the curves of a window."""
        opts = {"legend": list(names)}
        self._visdom.line(X=np.asarray(x), Y=_finite(y), win=title, update="append", opts=opts)

    def draw_picture(self, title: str, rgb: NDArray[np.uint8]) -> None:
        """Replace a window by a picture, RGB, (H, W, 3), uint8."""
        self._visdom.image(rgb.transpose(2, 0, 1), win=title, opts={"title": title})

    def write_table(self, title: str, rows: Sequence[Sequence[str]]) -> None:
        """Replace a window by a table of texts."""
        lines = ("".join(f"<td>{escape(text)}</td>" for text in row) for row in rows)
        table = "".join(f"<tr>{line}</tr>" for line in lines)
        self._visdom.text(f'<table border="1">{table}</table>', win=title, opts={"title": title})

    def close(self, title: str) -> None:
        """Remove a window, if there is one."""
        if self._visdom.win_exists(title):
            self._visdom.close(title)


def _split(server: str) -> tuple[str, str]:
    """Return ``http://host`` and ``/path`` of an address.

    Raises:
        OptionError: it has none, or more than that.
    """
    with_scheme = server if "://" in server else f"http://{server}"
    try:
        address = urlsplit(with_scheme)
        host, port = address.hostname, address.port
    except ValueError:
        host, port, address = None, None, urlsplit("")
    if not host or address.scheme not in {"http", "https"}:
        raise OptionError(
            "display_server", f"{server!r} is no address; expected e.g. http://localhost"
        )
    if address.username is not None:
        raise OptionError(
            "display_server",
            "the address holds a name or password; a server with a login cannot be used",
        )
    if port is not None:
        raise OptionError(
            "display_server", f"{server!r} has a port; give it as --display_port {port}"
        )
    return f"{address.scheme}://{address.netloc}", address.path.rstrip("/")


def _post(url: str, data: str, timeout_seconds: float) -> str:
    """Send a message and return the answer.

    Raises:
        UnansweredError: there is none.
    """
    import requests  # noqa: PLC0415 - comes with visdom

    timeout = (_CONNECT_SECONDS, timeout_seconds)
    try:
        response = requests.post(url, data=data, timeout=timeout, proxies=_DIRECT)
    except requests.ReadTimeout as error:
        raise UnansweredError(f"no answer within {timeout_seconds:g} s") from error
    except requests.RequestException as error:
        raise UnansweredError("it cannot be reached") from error
    if response.status_code != requests.codes.ok:
        raise UnansweredError(f"it answers with status {response.status_code}")
    return response.text


def _finite(values: ArrayLike) -> NDArray[np.float64]:
    """Leave out what is not finite: visdom draws a gap for NaN, and browsers know no infinity."""
    array = np.asarray(values, dtype=np.float64)
    return np.where(np.isfinite(array), array, np.nan)
