"""What the tests of the site and the server share: small studies, a real server, downloads."""

import hashlib
import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from impasto.survey.answers import Answer
from impasto.survey.export.site import write_site
from impasto.survey.key import Key, KeyedPicture, write_key
from impasto.survey.serve.database import read_database
from impasto.survey.study import Practice, Study

if TYPE_CHECKING:
    from tests.browser import Browser


@dataclass(frozen=True)
class SmallStudy:
    """An exported study of tiny pictures, and its key."""

    folder: Path
    study: Study
    key: Key

    @property
    def key_path(self) -> Path:
        return self.folder.with_name(f"{self.folder.name}.key.json")

    @property
    def site(self) -> Path:
        return self.folder / "index.html"

    def truth(self, token: str) -> str:
        return self.key.pictures[token].label


def _make(folder: Path, *, trials: int, practice: int, orders: int, **changes: Any) -> SmallStudy:
    protocol = changes.get("protocol", "single")
    per = 2 if protocol == "pair" else 1
    rng = np.random.default_rng(5)
    tokens = [f"t{rng.bytes(5).hex()}" for _ in range(per * (trials + practice))]
    width, height = changes.pop("size", (48, 36))
    (folder / "images").mkdir(parents=True)
    keyed, shown = {}, []
    for index in range(trials + practice):
        trial = tuple(tokens[per * index : per * (index + 1)])
        shown.append(trial)
        for place, token in enumerate(trial):
            path = folder / "images" / f"{token}.png"
            noise = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC).save(path)
            real = (index + place) % 2 == 0
            keyed[token] = KeyedPicture(
                kind="practice" if index < practice else "scored",
                label="real" if real else "fake",
                generator="" if real else f"secretgan{index % 3}",
                source=f"/secret/source/{index}.jpg",
                source_sha256=hashlib.sha256(token.encode()).hexdigest(),
                picture_sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
            )
    study = Study(
        **{
            "survey_id": f"study-{secrets.token_hex(4)}",
            "version": "0.1.0",
            "protocol": "single",
            "question": "real",
            "pictures": {token: f"images/{token}.png" for token in tokens},
            "width": width,
            "height": height,
            "practice": [
                Practice(trial=trial, answer=keyed[trial[0]].label) for trial in shown[:practice]
            ],
            "orders": [
                [shown[practice + place] for place in rng.permutation(trials)]
                for _ in range(orders)
            ],
            "real_share": 0.5,
            **changes,
        }
    )
    write_site(folder, study)
    key = Key(
        survey_id=study.survey_id,
        version=study.version,
        protocol=study.protocol,
        seed=0,
        pictures=keyed,
        orders=study.orders,
    )
    small = SmallStudy(folder, study, key)
    write_key(small.key_path, key)
    return small


@pytest.fixture
def small_study(tmp_path: Path) -> Callable[..., SmallStudy]:
    """A function that exports a study: two practice trials, four others; takes changes of it."""

    def make(name: str = "study", **changes: Any) -> SmallStudy:
        sizes = {"trials": 4, "practice": 2, "orders": 5} | changes
        return _make(tmp_path / name, **sizes)

    return make


class SurveyServer:
    """A real `impasto survey serve` in a process of its own, on one port, which can be killed."""

    def __init__(self, small: SmallStudy, *options: str) -> None:
        self.small, self._options = small, options
        self.database = small.folder.with_name(f"{small.folder.name}.sqlite")
        self.log = small.folder.with_name(f"{small.folder.name}.log")
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> "SurveyServer":
        command = [
            *(sys.executable, "-m", "impasto.scripts.main", "survey", "serve"),
            *(str(self.small.folder), "--key", str(self.small.key_path)),
            *("--database", str(self.database), "--port", str(self.port), *self._options),
        ]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        end = time.monotonic() + 60
        while not (found := re.search(r"open +http://127.0.0.1:(\d+)/", self.said())):
            assert self._process.poll() is None, self.said()
            assert time.monotonic() < end, self.said()
            time.sleep(0.05)
        self.port = int(found[1])
        return self

    def kill(self) -> None:
        self.stop(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; return the exit status."""
        assert self._process is not None
        os.kill(self._process.pid, number)
        # Less than the 30 s after which silent connections are closed anyway.
        status = self._process.wait(timeout=25)
        self._process = None
        return status

    def close(self) -> None:
        if self._process is not None:
            self.kill()

    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def answers(self) -> list[Answer]:
        return read_database(self.database)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @property
    def results_url(self) -> str:
        found = re.search(r"results +(\S+)", self.said())
        assert found
        return found[1]


@pytest.fixture
def survey_server() -> Iterator[Callable[..., SurveyServer]]:
    """A function that starts a server of a study."""
    started: list[SurveyServer] = []

    def start(small: SmallStudy, *options: str) -> SurveyServer:
        started.append(SurveyServer(small, *options))
        return started[-1].start()

    yield start
    for server in started:
        server.close()


class Person:
    """Somebody at a browser who goes through a study; what can be seen is what counts."""

    SCREEN = "section:not([hidden])"

    def __init__(self, browser: "Browser") -> None:
        self.browser = browser

    def screen(self) -> str:
        return str(self.browser.evaluate("document.documentElement.dataset.screen || ''"))

    def comes_to(self, screen: str) -> bool:
        return self.browser.becomes_true(f"document.documentElement.dataset.screen === '{screen}'")

    def is_asked(self) -> bool:
        """Whether a trial waits for an answer, soon."""
        return self.browser.becomes_true(
            "document.documentElement.dataset.screen === 'trial' && "
            f"document.querySelector('{self.SCREEN} fieldset.answers')?.disabled === false"
        )

    def text(self, selector: str) -> str:
        return str(
            self.browser.evaluate(f"document.querySelector('{self.SCREEN} {selector}').textContent")
        )

    def click(self, selector: str) -> None:
        """Click with the mouse, or touch where the browser has touch."""
        self.browser.driver.find_element("css selector", f"{self.SCREEN} {selector}").click()

    def press(self, key: str) -> None:
        webdriver = pytest.importorskip("selenium.webdriver")
        webdriver.ActionChains(self.browser.driver).send_keys(key).perform()

    def agree(self) -> None:
        assert self.comes_to("consent")
        self.click("input[type=checkbox]")
        self.click(".main-button")
        assert self.comes_to("instructions")

    def start(self) -> None:
        """Go on from the instructions as soon as all pictures are there."""
        assert self.comes_to("instructions")
        button = f"document.querySelector('{self.SCREEN} .main-button')"
        assert self.browser.becomes_true(f"!{button}.disabled")
        self.click(".main-button")

    def where(self) -> str:
        return self.text(".where")

    def shown(self) -> list[str]:
        """The tokens of the pictures that are on the screen."""
        found = self.browser.evaluate(
            f"[...document.querySelectorAll('{self.SCREEN} .frame img')].map(i => i.src)"
        )
        return [Path(url).stem for url in found]

    def answers(self, answer: Callable[[list[str]], None]) -> None:
        """Answer the trial that is shown, and wait until something else is."""
        assert self.is_asked()
        before = self.where()
        other = (
            "document.documentElement.dataset.screen !== 'trial' || document.querySelector("
            f"'{self.SCREEN} .where')?.textContent !== '{before}'"
        )
        answer(self.shown())
        assert self.browser.becomes_true(other)

    def goes_through(self, answer: Callable[[list[str]], None]) -> None:
        """Go on from wherever this is to the end."""
        for _ in range(100):
            screen = self.screen()
            if screen == "thanks":
                return
            if screen == "instructions":
                self.start()
                assert self.comes_to("trial")
            elif screen in ("feedback", "ready"):
                before = self.text("h1")
                self.click(".main-button")
                assert self.browser.becomes_true(
                    f"document.querySelector('{self.SCREEN} h1').textContent !== {before!r}"
                )
            else:
                self.answers(answer)
        raise AssertionError("the study does not end")


@pytest.fixture
def person(browser: "Browser") -> Person:
    """Somebody at the browser, without a memory of other tests."""
    browser.driver.execute_cdp_cmd("Network.enable", {})
    browser.driver.execute_cdp_cmd("Network.clearBrowserCookies", {})
    return Person(browser)


@pytest.fixture
def downloads(browser: "Browser", tmp_path: Path) -> Callable[[str], Path]:
    """A function that waits for a downloaded file whose name ends so."""
    folder = tmp_path / "downloads"
    folder.mkdir()
    behavior = {"behavior": "allow", "downloadPath": str(folder)}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)

    def wait(ending: str) -> Path:
        end = time.monotonic() + 120
        # Chromium first makes an empty file of the name, and renames the whole one to it.
        while not (found := sorted(p for p in folder.glob(f"*{ending}") if p.stat().st_size)):
            assert time.monotonic() < end, list(folder.iterdir())
            time.sleep(0.05)
        return found[0]

    return wait
