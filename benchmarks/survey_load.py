"""Many participants at once against the real survey server: nothing lost, and how fast it answers.

    python benchmarks/survey_load.py
    python benchmarks/survey_load.py --participants 50 --trials 40 --think_ms 300 --kill

Makes a study of small pictures, starts `impasto survey serve` in a process of its own, and lets
each participant agree, load all pictures over the six connections that a browser opens and keeps,
and answer all trials, one after the other, as the page's script does. Timed are each request, with
all its repetitions; how long everybody waits until all pictures are there; and each answer: from
the first byte sent until the next screen has come, which is when the answer is on the disk. At the
end the database must hold exactly what was acknowledged. With `--kill`, the server is killed
(SIGKILL) in the middle and started again; the participants go on by themselves.
"""

import argparse
import hashlib
import html
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from urllib.parse import urlencode

import numpy as np
from PIL import Image

from impasto.survey.export.site import write_site
from impasto.survey.key import Key, KeyedPicture, write_key
from impasto.survey.serve.database import read_database
from impasto.survey.study import Study


def main() -> int:
    """Run, print, and return 0 if nothing was lost."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--participants", type=int, default=50)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--think_ms", type=float, default=0.0, help="pause before each answer")
    parser.add_argument("--side_px", type=int, default=32, help="width and height of the pictures")
    parser.add_argument("--connections", type=int, default=6, help="of each participant's browser")
    parser.add_argument("--kill", action="store_true", help="kill the server in the middle")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        server = _Server(
            Path(folder), _make_study(Path(folder), arguments.trials, arguments.side_px)
        )
        server.start()
        people = [
            _Participant(server.port, number, arguments.think_ms / 1000, arguments.connections)
            for number in range(arguments.participants)
        ]
        begun = time.perf_counter()
        threads = [threading.Thread(target=person.go_through) for person in people]
        for thread in threads:
            thread.start()
        if arguments.kill:
            _kill_in_the_middle(server, people, arguments.trials)
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - begun
        server.stop()
        return _report(server.database, people, arguments.trials, seconds)


@dataclass
class _Participant:
    """One person at a browser, which keeps its connections open."""

    port: int
    number: int
    think: float
    connections: int
    cookie: str = ""
    said: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    ready_seconds: float = 0.0
    longest_seconds: float = 0.0
    retries: int = 0

    def __post_init__(self) -> None:
        self._open = [
            HTTPConnection("127.0.0.1", self.port, timeout=30) for _ in range(self.connections)
        ]
        self._rng = np.random.default_rng(self.number)

    def go_through(self) -> None:
        """Agree, load, answer everything."""
        begun = time.perf_counter()
        page = self._ask("GET", f"/?participant=p{self.number}")
        self._ask("POST", "/begin", {**_fields(page), "agree": "yes"})
        page = self._ask("GET", f"/?participant=p{self.number}")
        self._load(sorted(set(re.findall(r"images/\w+\.png", page))))
        self.ready_seconds = time.perf_counter() - begun
        while 'data-screen="thanks"' not in page:
            fields = _fields(page)
            if 'data-screen="trial"' not in page:
                page = self._ask("POST", "/next", fields)
                continue
            time.sleep(self.think * self._rng.uniform(0.5, 1.5))
            answer = ("real", "fake")[self._rng.integers(2)]
            begun = time.perf_counter()
            page = self._ask("POST", "/next", {**fields, "choice": answer, "rt_ms": "500"})
            self.seconds.append(time.perf_counter() - begun)
            self.said.append(answer)

    def _load(self, paths: list[str]) -> None:
        """Load pictures over all connections at once."""
        waiting = iter(paths)

        def work(connection: HTTPConnection) -> None:
            for path in waiting:  # one iterator for all: each picture is asked for once
                self._ask("GET", f"/{path}", connection=connection)

        threads = [threading.Thread(target=work, args=[one]) for one in self._open]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _ask(
        self,
        method: str,
        path: str,
        fields: dict[str, str] | None = None,
        connection: HTTPConnection | None = None,
    ) -> str:
        """Send until there is an answer, as the page's script does."""
        begun = time.perf_counter()
        try:
            return self._send(method, path, fields, connection or self._open[0])
        finally:
            self.longest_seconds = max(self.longest_seconds, time.perf_counter() - begun)

    def _send(
        self, method: str, path: str, fields: dict[str, str] | None, connection: HTTPConnection
    ) -> str:
        headers = {"X-Requested-With": "survey.js"} | (
            {"Cookie": self.cookie} if self.cookie else {}
        )
        if fields is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        for _ in range(200):
            try:
                body = urlencode(fields) if fields is not None else None
                connection.request(method, path, body, headers)
                reply = connection.getresponse()
                content = reply.read()
            except (OSError, HTTPException):
                connection.close()
                reply, content = None, b""
            if reply is not None and reply.status < 400:
                self.cookie = (reply.getheader("Set-Cookie") or self.cookie).partition(";")[0]
                return content.decode("utf-8", "replace")
            if reply is not None and reply.status not in (429, 503):
                raise RuntimeError(f"{method} {path}: {reply.status}")
            self.retries += 1
            time.sleep(0.2)
        raise RuntimeError(f"{method} {path}: no answer")


class _Server:
    """The real command."""

    def __init__(self, folder: Path, study: Path) -> None:
        self.port = 0
        self.database = folder / "answers.sqlite"
        self._study, self._log = study, folder / "log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start, and wait until it listens."""
        key = self._study.with_name("study.key.json")
        command = [
            *(sys.executable, "-m", "impasto.scripts.main", "survey", "serve", str(self._study)),
            *("--key", str(key), "--database", str(self.database), "--port", str(self.port)),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)  # noqa: S603
        while not (found := re.search(r"open +http://127.0.0.1:(\d+)/", self._log.read_text())):
            if self._process.poll() is not None:
                raise RuntimeError(self._log.read_text())
            time.sleep(0.05)
        self.port = int(found[1])

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal and wait for the end."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()


def _make_study(folder: Path, trials: int, side: int) -> Path:
    """Export a study of small pictures, with its key beside it."""
    rng = np.random.default_rng(0)
    study_folder = folder / "study"
    (study_folder / "images").mkdir(parents=True)
    keyed = {}
    for index in range(trials):
        token = f"t{rng.bytes(6).hex()}"
        path = study_folder / "images" / f"{token}.png"
        Image.fromarray(rng.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
        keyed[token] = KeyedPicture(
            kind="scored",
            label="fake" if index % 2 else "real",
            generator="model" if index % 2 else "",
            picture_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        )
    tokens = list(keyed)
    orders = [[(tokens[place],) for place in rng.permutation(trials)] for _ in range(20)]
    study = Study(
        survey_id="load",
        version="0",
        protocol="single",
        question="real",
        pictures={token: f"images/{token}.png" for token in tokens},
        width=side,
        height=side,
        practice=[],
        orders=orders,
        real_share=0.5,
    )
    write_site(study_folder, study)
    key = Key(
        survey_id="load", version="0", protocol="single", seed=0, pictures=keyed, orders=orders
    )
    write_key(folder / "study.key.json", key)
    return study_folder


def _kill_in_the_middle(server: _Server, people: list[_Participant], trials: int) -> None:
    half = len(people) * trials // 2
    while sum(len(person.said) for person in people) < half:
        time.sleep(0.005)
    server.stop(signal.SIGKILL)
    server.start()


def _fields(page: str) -> dict[str, str]:
    found = re.findall(r'<input name="(\w+)" type="hidden" value="([^"]*)">', page)
    return {name: html.unescape(value) for name, value in found}


def _report(database: Path, people: list[_Participant], trials: int, seconds: float) -> int:
    answers = read_database(database)
    stored = {person.number: [""] * len(person.said) for person in people}
    for one in answers:
        stored[int(one.participant[1:])][one.trial - 1] = one.response
    same = all(stored[person.number] == person.said for person in people)
    twice = sum(n > 1 for n in Counter((one.session, one.trial) for one in answers).values())
    times = np.array([second for person in people for second in person.seconds]) * 1000
    p50, p95, p99 = np.percentile(times, [50, 95, 99])
    expected = len(people) * trials
    print(
        f"{len(people)} participants at once, {people[0].connections} connections and {trials} "
        f"trials each, in {seconds:.1f} s"
    )
    print(f"answers in the database: {len(answers):,} of {expected:,}; counted twice: {twice}")
    print(f"answers per second: {len(times) / seconds:.0f}")
    print(f"retries: {sum(person.retries for person in people)}")
    ready = max(person.ready_seconds for person in people)
    print(f"all pictures of everybody were there after {ready:.1f} s")
    print(f"longest wait for any reply: {max(one.longest_seconds for one in people):.1f} s")
    print(f"answer time, ms: p50 {p50:.1f}, p95 {p95:.1f}, p99 {p99:.1f}, most {times.max():.1f}")
    whole = same and len(answers) == expected and not twice
    print("nothing lost, nothing twice" if whole else "FAILED: the database differs")
    return 0 if whole else 1


if __name__ == "__main__":
    raise SystemExit(main())
