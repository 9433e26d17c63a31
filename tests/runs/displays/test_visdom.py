"""The visdom display against real servers: present, absent, killed, restarted, mute."""

import base64
import io
import json
import logging
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import requests
from PIL import Image

from impasto.options import OptionError
from impasto.runs import Background, Progress
from impasto.runs.displays.visdom import VisdomClient, VisdomDisplay

Visdom = pytest.importorskip("visdom").Visdom

LOSSES = "monet loss over time"
Make = Callable[..., VisdomDisplay]


def progress(images: int) -> Progress:
    """Ten epochs of 100 pictures."""
    epoch = 1 + (images - 1) // 100
    return Progress(
        epoch=max(1, epoch), images=images, steps=images, total_images=1000, total_epochs=10
    )


def record(images: int, **changes: Any) -> dict[str, Any]:
    losses = {"D_A": images / 1000, "G_A": 1 - images / 1000}
    speed = {"learning_rate": 2e-4, "seconds": 1.0, "data_wait": 0.25, "images_per_second": 2.0}
    return {"losses": losses, **speed, "warnings": [], **changes}


def report(display: VisdomDisplay, *images: int) -> None:
    for number in images:
        display.on_report(progress(number), record(number))


def expected(*images: int) -> dict[str, list[tuple[float, float]]]:
    """Return the points of both losses."""
    names = record(0)["losses"]
    return {n: [(1 + i / 100, record(i)["losses"][n]) for i in images] for n in names}


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Where the log of the run would be."""
    return tmp_path / "log.jsonl"


@pytest.fixture
def make(visdom_server: Any, log: Path) -> Make:
    """Return a function that makes a display of that server."""

    def display(**changes: Any) -> VisdomDisplay:
        place = {"server": "http://localhost", "port": visdom_server.port, "env": "impasto"}
        return VisdomDisplay("monet", log=log, **{**place, "retry_seconds": 0.0, **changes})

    return display


@pytest.fixture
def mute_port() -> Iterator[int]:
    """The port of something that lets everybody in and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        yield mute.getsockname()[1]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_windows_are_those_of_the_reference(
    visdom_server: Any, make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    visdom_server.start()
    display = make()
    display.on_start(progress(0))
    report(display, 20, 50, 100, 150)
    assert set(visdom_server.environments()) == {"main", "impasto"}  # the server makes main
    assert visdom_server.windows("main") == {}
    assert visdom_server.curves("impasto", LOSSES) == expected(20, 50, 100, 150)
    layout = visdom_server.windows("impasto")[LOSSES]["content"]["layout"]
    assert (layout["xaxis"]["title"], layout["yaxis"]["title"]) == ("epoch", "loss")
    assert layout["showlegend"]
    assert capfd.readouterr() == ("", "")


def test_samples_are_a_grid_with_labels(visdom_server: Any, make: Make) -> None:
    visdom_server.start()
    display = make()
    display.on_start(progress(0))
    names = ["real_A", "fake_B", "rec_A", "idt_B", "<b>"]
    pictures = {n: np.full((5 + i, 8, 3), 40 * i, dtype=np.uint8) for i, n in enumerate(names)}
    display.on_samples(progress(20), pictures)
    windows = visdom_server.windows("impasto")
    assert list(windows) == ["monet images", "monet labels"]
    source = windows["monet images"]["content"]["src"].partition(",")[2]
    grid = np.asarray(Image.open(io.BytesIO(base64.b64decode(source))))
    assert grid.shape == (2 * (9 + 4), 4 * (8 + 4), 3)  # the largest, and two pixels all around
    for index, (row, column) in enumerate([(0, 0), (0, 1), (0, 2), (0, 3), (1, 0)]):
        top, left = row * 13 + 2, column * 12 + 2
        assert (grid[top : top + 5 + index, left : left + 8] == 40 * index).all()
        assert (grid[top + 5 + index : top + 11, left : left + 8] == 255).all()
    assert (grid[13:, 12:] == 255).all()
    table = windows["monet labels"]["content"]
    assert table.count("<tr>") == 2
    assert "<td>fake_B</td>" in table
    assert "<td>&lt;b&gt;</td>" in table


def test_a_resumed_run_draws_its_log(visdom_server: Any, make: Make, log: Path) -> None:
    visdom_server.start()
    display = make()
    display.on_start(progress(0))
    report(display, 20, 40, 60)
    display.on_samples(progress(60), {"fake_B": np.zeros((4, 4, 3), dtype=np.uint8)})
    kept = [
        {"epoch": 1, "images": i, "steps": i, **record(i, warnings=["D is bored"])}
        for i in (20, 40, 60)
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in kept), encoding="utf-8")
    display = make()
    display.on_start(progress(40))  # the report at 60 will be made again
    assert visdom_server.curves("impasto", LOSSES) == expected(20, 40)
    windows = visdom_server.windows("impasto")
    assert set(windows) == {LOSSES, "monet images", "monet labels", "monet warnings"}
    assert "D is bored" in windows["monet warnings"]["content"]
    report(display, 60, 80)
    assert visdom_server.curves("impasto", LOSSES) == expected(20, 40, 60, 80)
    assert "monet warnings" not in visdom_server.windows("impasto")  # it is better now


def test_a_run_that_begins_again_forgets_its_windows(visdom_server: Any, make: Make) -> None:
    visdom_server.start()
    display = make()
    display.on_start(progress(0))
    display.on_report(progress(20), record(20, warnings=["D is bored"]))
    display.on_samples(progress(20), {"fake_B": np.zeros((4, 4, 3), dtype=np.uint8)})
    assert len(visdom_server.windows("impasto")) == 4
    make().on_start(progress(0))
    assert visdom_server.windows("impasto") == {}


def test_a_killed_server_gets_everything_when_it_is_back(
    visdom_server: Any, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    visdom_server.start()
    display = make()
    display.on_start(progress(0))
    report(display, 20, 40)
    display.on_samples(progress(40), {"fake_B": np.zeros((4, 4, 3), dtype=np.uint8)})
    visdom_server.kill()
    report(display, 60, 80)
    visdom_server.start()
    report(display, 100)
    assert visdom_server.curves("impasto", LOSSES) == expected(20, 40, 60, 80, 100)
    assert "monet images" in visdom_server.windows("impasto")
    place = f"localhost:{visdom_server.port}"
    assert caplog.messages == [
        f"visdom found at {place}",
        f"visdom at {place} is lost (it cannot be reached); training goes on, "
        "looking for it again every 0 s",
        f"visdom found at {place}",
    ]


def test_a_restart_between_two_reports_is_noticed(
    visdom_server: Any, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    visdom_server.start()
    display = make()
    display.on_start(progress(0))
    report(display, 20, 40)
    visdom_server.kill()
    visdom_server.start()
    report(display, 60)
    assert visdom_server.curves("impasto", LOSSES) == expected(20, 40, 60)
    assert warnings_of(caplog) == []


def test_a_server_that_comes_at_last_gets_everything(visdom_server: Any, make: Make) -> None:
    display = make(retry_seconds=3600.0)
    display.on_start(progress(0))
    report(display, 20, 40)
    visdom_server.start()
    report(display, 60)  # it is not time yet
    assert visdom_server.environments() == ["main"]  # the server's own
    display.on_end(progress(60))
    assert visdom_server.curves("impasto", LOSSES) == expected(20, 40, 60)


def test_no_server_is_one_warning(
    make: Make,
    visdom_server: Any,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    display = make()
    display.on_start(progress(0))
    report(display, 20, 40)
    display.on_samples(progress(40), {"fake_B": np.zeros((4, 4, 3), dtype=np.uint8)})
    display.on_end(progress(40))
    port = visdom_server.port
    assert caplog.messages == [
        f"no visdom server at localhost:{port} (it cannot be reached); training goes on without "
        "it, and uses it as soon as it answers. To start one: "
        f"python -m visdom.server -port {port}"
    ]
    assert capfd.readouterr() == ("", "")


def limits_of(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Give the limits in seconds, to connect and to answer, of all requests from now on."""
    limits, post = [], requests.post

    def note(*values: Any, **named: Any) -> requests.Response:
        limits.append(named["timeout"])
        return post(*values, **named)

    monkeypatch.setattr(requests, "post", note)
    return limits


def test_a_mute_server_holds_nobody_up(
    mute_port: int,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    display = Background(make(port=mute_port, retry_seconds=3600.0))
    asked = limits_of(monkeypatch)
    display.on_start(progress(0))
    assert asked == [(1.0, 2.0)]
    for images in (20, 40, 60):
        display.on_report(progress(images), record(images))
    display.on_end(progress(60))
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"no visdom server at localhost:{mute_port} (no answer within 2 s)")


def test_a_server_that_falls_silent_is_lost(
    visdom_server: Any,
    make: Make,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    visdom_server.start()
    display = make(retry_seconds=3600.0, timeout_seconds=0.5)
    display.on_start(progress(0))
    report(display, 20)
    visdom_server.send(signal.SIGSTOP)
    asked = limits_of(monkeypatch)
    report(display, 40, 60)
    assert [answer for _connect, answer in asked] == [0.5]
    (warning,) = warnings_of(caplog)
    assert "is lost (no answer within 0.5 s)" in warning
    assert "looking for it again every 3600 s" in warning
    visdom_server.send(signal.SIGCONT)
    display.on_end(progress(60))
    assert visdom_server.curves("impasto", LOSSES) == expected(20, 40, 60)


@pytest.mark.parametrize(
    ("status", "reason"),
    [(404, "it answers with status 404"), (200, "something else than visdom answers")],
)
def test_what_is_no_visdom_server_is_left_alone(
    status: int, reason: str, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"hello")

        def log_message(self, *_: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        make(port=other.server_port).on_start(progress(0))
        other.shutdown()
    (warning,) = warnings_of(caplog)
    assert f"({reason})" in warning


def test_the_window_of_a_long_run_stays_small(visdom_server: Any, make: Make) -> None:
    visdom_server.start()
    display = make(most_points=8)
    display.on_start(progress(0))
    points: list[tuple[float, float]] = []
    for images in range(10, 1010, 10):
        report(display, images)
        points = visdom_server.curves("impasto", LOSSES)["G_A"]
        assert len(points) <= 16
        assert points[-1][0] == pytest.approx(1 + images / 100)
    assert points[0][0] == pytest.approx(1 + 160 / 100)  # the mean of the first 16 reports
    assert points[0][1] == pytest.approx(1 - np.mean(range(10, 170, 10)) / 1000)


def test_losses_may_come_go_and_be_infinite(visdom_server: Any, make: Make) -> None:
    visdom_server.start()
    display = make()
    display.on_start(progress(0))
    display.on_report(progress(10), record(10, losses={"G_A": float("inf")}))
    display.on_report(progress(20), record(20, losses={"G_A": 1.0, "idt_A": 2.0}))
    display.on_report(progress(30), record(30, losses={"G_A": 3.0}))
    assert visdom_server.curves("impasto", LOSSES) == {
        "G_A": [(1.1, None), (1.2, 1.0), (1.3, 3.0)],
        "idt_A": [(1.1, None), (1.2, 2.0), (1.3, None)],
    }


def test_the_axis_counts_pictures_where_epochs_are_not_known(
    visdom_server: Any, make: Make
) -> None:
    visdom_server.start()
    display = make()
    for images in (0, 8, 16):  # max_images of 100 for ten epochs: at 16 it is still the first
        where = Progress(epoch=1, images=images, steps=1, total_images=100, total_epochs=10)
        if images == 0:
            display.on_start(where)
        else:
            display.on_report(where, record(images))
    assert [x for x, _ in visdom_server.curves("impasto", LOSSES)["G_A"]] == [8, 16]
    layout = visdom_server.windows("impasto")[LOSSES]["content"]["layout"]
    assert layout["xaxis"]["title"] == "images"


def test_a_proxy_is_not_asked(
    visdom_server: Any, make: Make, mute_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{mute_port}")
    monkeypatch.delenv("no_proxy", raising=False)
    visdom_server.start()
    display = make()
    display.on_start(progress(0))
    report(display, 20)
    monkeypatch.undo()
    assert visdom_server.curves("impasto", LOSSES) == expected(20)


def test_windows_are_those_that_the_library_makes(visdom_server: Any) -> None:
    visdom_server.start()
    client = VisdomClient("localhost", visdom_server.port, "ours")
    x, y = [1.0, 2.0], [[0.5, 8.0], [np.nan, 4.0]]
    rgb = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)
    client.draw_lines("curves", x, y, names=["G", "D"], xlabel="epoch")
    client.append_to_lines("curves", [3.0], [[np.nan, 2.0]], names=["G", "D"])
    client.draw_picture("picture", rgb)
    client.write_table("table", [["a", "b"]])

    library = Visdom(env="library", send=False, use_incoming_socket=False)
    opts = {"title": "curves", "legend": ["G", "D"], "xlabel": "epoch", "ylabel": "loss"}
    messages = [
        library.line(X=np.array(x), Y=np.array(y), win="curves", opts=opts),
        library.image(rgb.transpose(2, 0, 1), win="picture", opts={"title": "picture"}),
        library.text(
            '<table border="1"><tr><td>a</td><td>b</td></tr></table>',
            win="table",
            opts={"title": "table"},
        ),
    ]
    for message, endpoint in messages:
        visdom_server.post(endpoint, message)
    ours, theirs = visdom_server.windows("ours"), visdom_server.windows("library")
    assert list(ours) == list(theirs) == ["curves", "picture", "table"]
    for title, window in theirs.items():
        for key in ("id", "type", "title", "width", "height", "inflate"):
            assert ours[title][key] == window[key], (title, key)
    assert ours["curves"]["content"]["layout"] == theirs["curves"]["content"]["layout"]
    assert ours["table"]["content"] == theirs["table"]["content"]
    for trace, other in zip(*(w["curves"]["content"]["data"] for w in (ours, theirs)), strict=True):
        assert [trace[key] for key in ("name", "type", "mode")] == [
            other[key] for key in ("name", "type", "mode")
        ]
        assert trace["x"] == [*other["x"], 3.0]
        assert trace["y"] == [*other["y"], None if trace["name"] == "G" else 2.0]
    sources = (w["picture"]["content"]["src"].partition(",")[2] for w in (ours, theirs))
    pictures = [np.asarray(Image.open(io.BytesIO(base64.b64decode(s)))) for s in sources]
    assert np.array_equal(pictures[0], rgb)
    assert np.array_equal(pictures[1], rgb)


@pytest.mark.parametrize("server", ["", "ftp://host", "http://", "http://host:x", "http://[::1"])
def test_an_address_that_cannot_be_one_is_refused(server: str) -> None:
    with pytest.raises(OptionError, match="is no address"):
        VisdomClient(server, 8097, "main")


def test_an_address_with_a_port_is_refused() -> None:
    with pytest.raises(OptionError, match="give it as --display_port 80"):
        VisdomClient("http://host:80", 8097, "main")


@pytest.mark.parametrize(
    ("server", "place"),
    [
        ("localhost", "localhost:8097"),
        ("https://host/path/", "host:8097/path"),
        ("http://[::1]", "[::1]:8097"),
    ],
)
def test_addresses(server: str, place: str) -> None:
    assert VisdomClient(server, 8097, "main").place == place


def test_without_visdom_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "visdom", None)
    with pytest.raises(OptionError, match="--display: visdom is not installed") as caught:
        VisdomDisplay("monet", log=Path("log"), server="localhost", port=8097, env="main")
    lines = [line.strip() for line in str(caught.value).splitlines()[1:]]
    assert lines == [
        'pip install "setuptools<81" wheel',
        'pip install --no-build-isolation "impasto[visdom]"',
    ]
