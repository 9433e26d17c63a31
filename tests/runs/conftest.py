"""What the tests of displays share: a real visdom server."""

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

import pytest


class VisdomServer:
    """A real visdom server in a process of its own, which can be killed and started again."""

    # Its command would download scripts of the page first; and it needs no torch.
    _CODE = """if True:
        import sys
        sys.modules["torch"] = None
        from visdom.server.run_server import start_server
        start_server(port=int(sys.argv[1]), env_path=sys.argv[2], base_url="", bind_local=True)
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]

    def start(self) -> None:
        self._folder.mkdir(exist_ok=True)
        command = [sys.executable, "-c", self._CODE, str(self.port), str(self._folder)]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        for _ in range(600):
            try:
                self.ask("win_exists", {"win": ""})
            except (URLError, ConnectionError):
                assert self._process.poll() is None, (self._folder / "log").read_text()
                time.sleep(0.05)
            else:
                return
        raise TimeoutError("visdom does not start")

    def send(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def post(self, what: str, message: dict[str, Any]) -> bytes:
        url = f"http://127.0.0.1:{self.port}/{what}"
        request = Request(url, data=json.dumps(message).encode())
        with urlopen(request, timeout=120) as answer:  # noqa: S310 - http
            return bytes(answer.read())

    def ask(self, what: str, message: dict[str, Any]) -> Any:
        return json.loads(self.post(what, message))

    def environments(self) -> list[str]:
        return list(self.ask("env_state", {}))

    def windows(self, env: str) -> dict[str, dict[str, Any]]:
        """Return the windows of an environment by their titles."""
        if env not in self.environments():
            return {}
        windows = self.ask("win_data", {"win": None, "eid": env}).values()
        return {window["title"]: window for window in windows}

    def curves(self, env: str, title: str) -> dict[str, list[tuple[float, float]]]:
        """Return the points of each curve in a window."""
        curves = self.windows(env)[title]["content"]["data"]
        return {c["name"]: list(zip(c["x"], c["y"], strict=True)) for c in curves}


@pytest.fixture
def visdom_server(tmp_path: Path) -> Iterator[VisdomServer]:
    """A real visdom server that is not started yet; skips where visdom is not installed."""
    pytest.importorskip("visdom")
    server = VisdomServer(tmp_path / "visdom")
    yield server
    server.kill()
