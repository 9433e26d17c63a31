"""Pages as the tests see them: parsed into elements, and opened in headless Chromium."""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement


@dataclass
class Element:
    """One element of a page: its name, attributes, and the text in it and in its descendants."""

    name: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page:
    """The elements of a page in the order of their start tags."""

    elements: list[Element] = field(default_factory=list)

    def find(self, name: str, /, **attributes: str) -> list[Element]:
        """Give the elements of that name whose attributes have these values (``class_``: one)."""
        found = [element for element in self.elements if element.name == name]
        if one := attributes.pop("class_", None):
            found = [e for e in found if one in e.attributes.get("class", "").split()]
        wanted = {key.replace("_", "-"): value for key, value in attributes.items()}
        return [e for e in found if wanted.items() <= e.attributes.items()]


class _Parser(HTMLParser):
    """Collects elements, and fails on an end tag that closes nothing or the wrong element."""

    VOID = frozenset({"meta", "link", "img", "input", "br"})

    def __init__(self) -> None:
        super().__init__()
        self.page = Page()
        self.open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {key: value or "" for key, value in attrs})
        self.page.elements.append(element)
        if tag not in self.VOID:
            self.open.append(element)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop().name == tag

    def handle_data(self, data: str) -> None:
        for element in self.open:
            element.text += data


def parse_page(path: Path) -> Page:
    """Parse an HTML file; fails where an element is left open or is closed by the wrong tag."""
    parser = _Parser()
    parser.feed(path.read_text(encoding="utf-8"))
    parser.close()
    assert not parser.open
    return parser.page


@dataclass(frozen=True)
class Browser:
    """One browser window; ``driver`` is the full selenium interface."""

    driver: "Chrome"

    def set_view(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Set the size of the page in CSS pixels, the color scheme, and finger or mouse."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": touch})
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def set_scripts(self, *, enabled: bool) -> None:
        """Let the next pages run their JavaScript, or not."""
        self.driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not enabled})

    def open(self, path: Path) -> None:
        """Open a file from disk, and forget what the console said before."""
        self.console()
        self.driver.get(path.absolute().as_uri())

    def evaluate(self, expression: str) -> Any:
        """Give the value of a JavaScript expression, awaited; works with the page's scripts off."""
        answer = self.driver.execute_cdp_cmd(
            "Runtime.evaluate",
            {"expression": expression, "returnByValue": True, "awaitPromise": True},
        )
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def becomes_true(self, expression: str, *, seconds: float = 60.0) -> bool:
        """Whether an expression holds soon: the page does some things a moment later."""
        leaving = pytest.importorskip("selenium.common").WebDriverException
        end = time.monotonic() + seconds
        holds = False
        while not holds and time.monotonic() < end:
            try:
                holds = bool(self.evaluate(expression))
            except leaving:  # the page gave way to another while it was asked
                holds = False
            if not holds:
                time.sleep(0.05)
        return holds

    def drag(self, element: "WebElement", start: tuple[int, int], way: tuple[int, int]) -> None:
        """Press the mouse at ``start``, from the element's center, move it by ``way``, let go."""
        webdriver = pytest.importorskip("selenium.webdriver")
        actions = webdriver.ActionChains(self.driver)
        actions.move_to_element_with_offset(element, *start)
        actions.click_and_hold().move_by_offset(*way).release().perform()

    def swipe(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Move one finger from ``start`` to ``end``, in CSS pixels of the window."""
        for kind, points in (("touchStart", [start]), ("touchMove", [end]), ("touchEnd", [])):
            touches = [{"x": x, "y": y} for x, y in points]
            event = {"type": kind, "touchPoints": touches}
            self.driver.execute_cdp_cmd("Input.dispatchTouchEvent", event)

    def console(self) -> list[str]:
        """Give, and forget, the warnings and errors of the browser's console."""
        return [entry["message"] for entry in self.driver.get_log("browser")]  # type: ignore[no-untyped-call]


# Ends a group of processes as soon as its standard input does. Only the process that runs the tests
# holds the other end of that pipe, so it closes however that process ends.
_WATCH = "import os, sys; sys.stdin.read(); os.killpg(int(sys.argv[1]), 9)"


@contextmanager
def open_chromium(profile: Path) -> Iterator[Browser]:
    """Run headless Chromium with its profile in that folder; skips where it is not installed.

    No Chromium outlives the process that runs the tests. Ctrl-C reaches only that process, which
    then closes the browser; where it is killed instead, as the workers of xdist are, a watcher
    ends the browser and its driver.
    """
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("needs chromium and chromedriver (apt install chromium chromium-driver)")
    pytest.importorskip("selenium")
    from selenium import webdriver  # noqa: PLC0415 - see above

    class Service(webdriver.ChromeService):
        """The driver in a session and process group of its own, with a watcher."""

        watcher: subprocess.Popen[bytes] | None = None

        def start(self) -> None:
            super().start()
            command = [sys.executable, "-c", _WATCH, str(self.process.pid)]
            self.watcher = subprocess.Popen(
                command, stdin=subprocess.PIPE, start_new_session=True, stderr=subprocess.DEVNULL
            )

        def end(self) -> None:
            """End whatever is left of the driver and its browsers, and then the watcher."""
            if self.watcher is not None and self.watcher.stdin is not None:
                self.watcher.stdin.close()
                self.watcher.wait()

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-breakpad",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        f"--user-data-dir={profile}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING"})
    # With the path given, selenium does not look for a driver in the network.
    service = Service(executable_path=chromedriver, popen_kw={"start_new_session": True})
    try:
        driver = webdriver.Chrome(options=options, service=service)
        try:
            yield Browser(driver)
        finally:
            driver.quit()
    finally:
        service.end()
