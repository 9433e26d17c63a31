"""Shows the losses and samples of a training in visdom, whose server may come, go and come again.

:class:`VisdomClient` speaks to the server's HTTP interface: a message in JSON to ``/events`` makes
or replaces a window, one to ``/update`` appends to it, and ``/win_exists``, ``/win_hash`` and
``/close`` ask for, compare and remove one. Each request ends in an answer or in an error within
seconds. The library's own client would wait for as long as the server takes, and prints, logs and
warns as it connects. :class:`VisdomDisplay` is the observer of a training that uses the client.
"""

import json
import logging
import math
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import ArrayLike, NDArray

from impasto.data.encode import encode_png
from impasto.options.errors import OptionError
from impasto.runs.curves import History, is_measured, reported_values
from impasto.runs.log import read_log
from impasto.runs.observers import Observer, Pictures, Progress

__all__ = ["UnansweredError", "VisdomClient", "VisdomDisplay"]

_CONNECT_SECONDS = 1.0
_CHECK_SECONDS = 2.0
# A proxy of the environment is not for a server that the user has started.
_DIRECT = {"http": "", "https": ""}
_MARGINS = {"l": 60, "r": 60, "t": 60, "b": 60}  # pixels, as the library's own client has them


class UnansweredError(Exception):
    """The server cannot be reached, does not answer in time, or is no visdom server."""


class VisdomClient:
    """Windows in one environment of a visdom server; a window with the same title is replaced.

    Args:
        server: address of the server, for example ``http://localhost``; a path in it is kept.
        port: port of the server.
        env: visdom environment.
        timeout_seconds: time limit of an answer, in seconds.

    Raises:
        OptionError: visdom is not installed, or the address cannot be one.
    """

    def __init__(self, server: str, port: int, env: str, *, timeout_seconds: float = 5.0) -> None:
        if find_spec("visdom") is None:  # which brings requests, and the server
            raise OptionError(
                "display",
                "visdom is not installed; leave it out, or install it with\n"
                '  pip install "setuptools<81" wheel\n'
                '  pip install --no-build-isolation "impasto[visdom]"',
            )
        base, path = _split(server)
        self.place = f"{base.partition('://')[2]}:{port}{path}"
        self._address = f"{base}:{port}{path}"
        self._env = env
        self._timeout_seconds = timeout_seconds

    def check(self) -> None:
        """Return if a visdom server answers.

        Raises:
            UnansweredError: no server answers; the message says what happened. All methods below
                raise it too.
        """
        self._exists("", _CHECK_SECONDS)

    def fingerprint(self, title: str) -> str:
        """Return a value that changes with the content of a window; "" if there is no window."""
        # The server has no answer for a window in an environment that it does not know.
        return self._ask("win_hash", {"win": title}) if self._exists(title) else ""

    def draw_lines(
        self,
        title: str,
        x: ArrayLike,
        y: ArrayLike,
        *,
        names: Sequence[str],
        xlabel: str,
        ylabel: str = "loss",
    ) -> None:
        """Replace a window by curves.

        Args:
            title: title of the window.
            x: x values of the points, (N,).
            y: y values of the points, (N, number of names); values that are not finite are gaps.
            names: names of the curves.
            xlabel: label of the x axis.
            ylabel: label of the y axis.
        """
        layout = {
            "title": title,
            "showlegend": True,
            "margin": _MARGINS,
            "xaxis": {"title": xlabel},
            "yaxis": {"title": ylabel},
        }
        self._replace(title, _traces(x, y, names), layout=layout)

    def append_to_lines(
        self, title: str, x: ArrayLike, y: ArrayLike, *, names: Sequence[str]
    ) -> None:
        """Append points, like those of :meth:`draw_lines`, to the curves of a window."""
        message = {"win": title, "data": _traces(x, y, names), "layout": {}, "opts": {}}
        self._ask("update", {**message, "append": True})

    def draw_picture(self, title: str, rgb: NDArray[np.uint8]) -> None:
        """Replace a window by a picture, RGB, (H, W, 3), uint8."""
        source = f"data:image/png;base64,{b64encode(encode_png(rgb)).decode('ascii')}"
        height, width = rgb.shape[:2]
        content = {"type": "image", "content": {"src": source}}
        self._replace(title, [content], width=width, height=height)

    def write_table(self, title: str, rows: Sequence[Sequence[str]]) -> None:
        """Replace a window by a table of texts."""
        lines = ("".join(f"<td>{escape(text)}</td>" for text in row) for row in rows)
        table = "".join(f"<tr>{line}</tr>" for line in lines)
        content = {"type": "text", "content": f'<table border="1">{table}</table>'}
        self._replace(title, [content])

    def close(self, title: str) -> None:
        """Remove a window, if there is one."""
        if self._exists(title):
            self._ask("close", {"win": title})

    def _exists(self, title: str, timeout_seconds: float | None = None) -> bool:
        answer = self._ask("win_exists", {"win": title}, timeout_seconds)
        if answer not in {"true", "false"}:
            raise UnansweredError("something else than visdom answers")
        return answer == "true"

    def _replace(
        self,
        title: str,
        data: Sequence[Mapping[str, Any]],
        *,
        layout: Mapping[str, Any] | None = None,
        **opts: Any,
    ) -> None:
        message = {"win": title, "data": data, "opts": {"title": title, **opts}}
        self._ask("events", {**message, "layout": layout or {}})

    def _ask(
        self, endpoint: str, message: Mapping[str, Any], timeout_seconds: float | None = None
    ) -> str:
        """Send a message about this environment and return the answer."""
        content = json.dumps({"eid": self._env, **message}, allow_nan=False)
        return _post(
            f"{self._address}/{endpoint}", content, timeout_seconds or self._timeout_seconds
        )


def _split(server: str) -> tuple[str, str]:
    """Return ``http://host`` and ``/path`` of an address.

    Raises:
        OptionError: the address is not one of HTTP, or has more parts than a server's address may.
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


def _traces(x: ArrayLike, y: ArrayLike, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the curves as Plotly's traces; JSON, and so browsers, know no infinity and no NaN."""
    places = np.asarray(x, dtype=np.float64).tolist()
    columns = np.asarray(y, dtype=np.float64).T.tolist()
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": places,
            "y": [value if math.isfinite(value) else None for value in column],
        }
        for name, column in zip(names, columns, strict=True)
    ]


_log = logging.getLogger(__name__)
_MOST_POINTS = 512
_COLUMNS = 4
_PADDING = 2
_NO_LOSSES = {"learning_rate", "images_per_second", "data_wait"}

_Place = tuple[int, int, Mapping[str, float]]
"""Pictures, epoch and values of a point."""


class VisdomDisplay(Observer):
    """Shows a training in visdom if a server answers, and whenever one does.

    The windows have the reference's titles: ``<name> loss over time``, ``<name> images`` and
    ``<name> labels``; where generators are measured between epochs there is ``<name> evaluation
    over time``, with the floor and what doing nothing comes to; and while something looks wrong
    there is ``<name> warnings`` too. Points are
    appended. All that is known is drawn anew when the training starts or is resumed, when a server
    is found again or has been restarted, when somebody has closed the window, and after as many
    reports as the history has points, so that a window stays small however long the training is.

    Its requests end within seconds, but it should have a thread:
    ``Background(VisdomDisplay(...))``.

    Args:
        name: name of the run.
        log: path of the run's ``log.jsonl``.
        server: address of the server, e.g. ``http://localhost``.
        port: port of the server.
        env: visdom environment.
        retry_seconds: time between attempts to reach a server that does not answer, in seconds.
        timeout_seconds: time limit of an answer of the server, in seconds.
        most_points: maximum number of points in the history.

    Raises:
        OptionError: visdom is not installed, or the address cannot be one.
    """

    def __init__(  # noqa: PLR0913
        self,
        name: str,
        *,
        log: Path,
        server: str,
        port: int,
        env: str,
        retry_seconds: float = 30.0,
        timeout_seconds: float = 5.0,
        most_points: int = _MOST_POINTS,
    ) -> None:
        self._client = VisdomClient(server, port, env, timeout_seconds=timeout_seconds)
        self._port, self._log_file, self._retry_seconds = port, log, retry_seconds
        self._curves = _Curves(self._client, f"{name} loss over time", most_points)
        self._measured = _Curves(
            self._client, f"{name} evaluation over time", most_points, measured=True
        )
        self._titles = {what: f"{name} {what}" for what in ("images", "labels", "warnings")}
        self._samples: Pictures = {}
        self._warnings: list[str] = []
        self._shown_warnings: list[str] = []
        self._connected = False
        self._looked = 0.0

    def on_start(self, progress: Progress) -> None:
        """Show the run so far, if a server answers."""
        records = [r for r in read_log(self._log_file) if r["images"] <= progress.images]
        self._curves.start(progress, records)
        self._measured.start(progress, records)
        self._warnings = list(records[-1].get("warnings", ())) if records else []
        problem = self._look()
        if problem:
            _log.warning(
                "no visdom server at %s (%s); training goes on without it, and uses it as soon as "
                "it answers. To start one: python -m visdom.server -port %d",
                self._client.place,
                problem,
                self._port,
            )

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Append a point."""
        whole = {"epoch": progress.epoch, "images": progress.images, **record}
        self._curves.add(whole)
        self._measured.add(whole)
        self._warnings = list(record.get("warnings", ()))
        self._show(self._draw_report)

    def on_samples(self, progress: Progress, samples: Pictures) -> None:  # noqa: ARG002
        """Show the newest pictures."""
        self._samples = samples
        self._show(self._draw_samples)

    def on_end(self, progress: Progress, error: str | None = None) -> None:  # noqa: ARG002
        """Look for a lost server a last time."""
        if not self._connected:
            self._look()

    def _show(self, draw: Callable[[], None]) -> None:
        """Draw something, or everything if a server is found only now."""
        if not self._connected:
            if time.monotonic() - self._looked >= self._retry_seconds:
                self._look()
            return
        try:
            draw()
        except UnansweredError as error:
            self._connected, self._looked = False, time.monotonic()
            _log.warning(
                "visdom at %s is lost (%s); training goes on, looking for it again every %g s",
                self._client.place,
                f"{error}",
                self._retry_seconds,
            )

    def _look(self) -> str:
        """Draw everything if a server answers; otherwise return what the problem is."""
        try:
            self._client.check()
            self._draw_all()
        except UnansweredError as error:
            self._looked = time.monotonic()
            return str(error)
        self._connected = True
        _log.info("visdom found at %s", self._client.place)
        return ""

    def _draw_all(self) -> None:
        self._curves.draw()
        self._measured.draw()
        if self._samples:
            self._draw_samples()
        elif self._curves.empty:  # what an earlier training of that name has left
            self._client.close(self._titles["images"])
            self._client.close(self._titles["labels"])
        self._draw_warnings()

    def _draw_report(self) -> None:
        self._curves.update()
        self._measured.update()
        if self._warnings != self._shown_warnings:
            self._draw_warnings()

    def _draw_samples(self) -> None:
        names, pictures = list(self._samples), list(self._samples.values())
        rows = [names[first : first + _COLUMNS] for first in range(0, len(names), _COLUMNS)]
        self._client.draw_picture(self._titles["images"], _grid(pictures))
        self._client.write_table(self._titles["labels"], rows)

    def _draw_warnings(self) -> None:
        title = self._titles["warnings"]
        if self._warnings:
            self._client.write_table(title, [[sentence] for sentence in self._warnings])
        else:
            self._client.close(title)
        self._shown_warnings = self._warnings


class _Curves:
    """The window of the losses, and what has to be in it.

    Or of what is measured between epochs, which has other sizes, and a point now and then.

    The horizontal axis counts epochs as the reference does: 1 is the beginning, 1.5 the middle of
    the first. Where epochs cannot have been that long, because the folders have changed since, it
    counts pictures.
    """

    def __init__(
        self, client: VisdomClient, title: str, most_points: int, *, measured: bool = False
    ) -> None:
        self._client, self._title, self._most_points = client, title, most_points
        self._measured = measured
        self._history = History(most_points)
        self._latest: _Place = (0, 1, {})
        self._epoch_images = 1.0
        self._axis = "epoch"
        self._drawn: tuple[Sequence[str], str] = ((), "")
        self._drawn_latest = False
        self._appended = 0
        self._fingerprint = ""

    @property
    def empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not self._history.points

    def start(self, progress: Progress, records: Sequence[Mapping[str, Any]]) -> None:
        """Load an earlier part of the run."""
        whole = progress.total_images / progress.total_epochs
        self._epoch_images = progress.epoch_images or whole
        for record in records:
            self.add(record)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record of ``log.jsonl``, if it has any of the values that are shown."""
        values = reported_values(record)
        if self._measured and not any(map(is_measured, values)):
            return
        self._history.add(record)
        self._latest, self._drawn_latest = (record["images"], record["epoch"], values), False
        if record["images"] > record["epoch"] * self._epoch_images:
            self._axis = "images"

    def draw(self) -> None:
        """Draw the whole history."""
        if self.empty:
            self._client.close(self._title)
            return
        names = self._names
        x, y = self._coordinates([(p.images, p.epoch, p.values) for p in self._history.points])
        ylabel = "distance" if self._measured else "loss"
        self._client.draw_lines(self._title, x, y, names=names, xlabel=self._axis, ylabel=ylabel)
        self._note(0)

    def update(self) -> None:
        """Append the latest report, if the window still shows what was drawn before it."""
        if self._measured and self._drawn_latest:
            return
        same = self._drawn == (self._names, self._axis) and self._appended < self._most_points
        if not same or self._client.fingerprint(self._title) != self._fingerprint:
            self.draw()
            return
        x, y = self._coordinates([self._latest])
        self._client.append_to_lines(self._title, x, y, names=self._names)
        self._note(self._appended + 1)

    @property
    def _names(self) -> Sequence[str]:
        shown = (name for name in self._history.names if name not in _NO_LOSSES)
        return [name for name in shown if is_measured(name) == self._measured]

    def _coordinates(self, places: Sequence[_Place]) -> tuple[list[float], list[list[float]]]:
        x = [float(images) for images, _, _ in places]
        if self._axis == "epoch":
            # Not outside of the epoch, where the folders were larger when the run began.
            x = [
                min(max(1 + images / self._epoch_images, epoch), epoch + 1)
                for images, epoch, _ in places
            ]
        return x, [[values.get(name, np.nan) for name in self._names] for _, _, values in places]

    def _note(self, appended: int) -> None:
        """Remember what the window shows."""
        self._drawn, self._appended = (self._names, self._axis), appended
        self._drawn_latest = True
        self._fingerprint = self._client.fingerprint(self._title)


def _grid(pictures: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the pictures on white, ``_COLUMNS`` to a row, in cells of the size of the largest."""
    height = max(rgb.shape[0] for rgb in pictures) + 2 * _PADDING
    width = max(rgb.shape[1] for rgb in pictures) + 2 * _PADDING
    columns = min(_COLUMNS, len(pictures))
    rows = -(-len(pictures) // columns)
    grid = np.full((rows * height, columns * width, 3), 255, dtype=np.uint8)
    for index, rgb in enumerate(pictures):
        top = index // columns * height + _PADDING
        left = index % columns * width + _PADDING
        grid[top : top + rgb.shape[0], left : left + rgb.shape[1]] = rgb
    return grid
