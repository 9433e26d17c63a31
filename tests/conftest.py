"""What all tests share: tiny picture folders, tiny options, parsed pages, headless Chromium."""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.options import (
    DataOptions,
    LossOptions,
    NetworkOptions,
    RunOptions,
    ScheduleOptions,
    TrainOptions,
    flatten,
    make,
)

if TYPE_CHECKING:
    from selenium.webdriver import Chrome
    from selenium.webdriver.remote.webelement import WebElement

MONET2PHOTO = Path(__file__).parents[2] / "shared" / "monet2photo"


def pytest_configure() -> None:
    """Let programs that tests start hear Ctrl-C, where these tests themselves were told not to.

    A shell tells that to what it starts in the background, and children inherit it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Keep sums in one order, and leave the other core to the other test process."""
    torch.set_num_threads(1)


@pytest.fixture
def monet2photo() -> Path:
    """Real pictures in ``trainA`` and ``trainB``; a skip where they are not."""
    if not MONET2PHOTO.is_dir():
        pytest.skip(f"needs {MONET2PHOTO}")
    return MONET2PHOTO


@pytest.fixture
def picture_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that fills a folder with small random pictures."""

    def fill(name: str, *, count: int = 5, size: tuple[int, int] = (40, 36), seed: int = 0) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        for index in range(count):
            small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC)
            picture.save(folder / f"{index:02d}.png")
        return folder

    return fill


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a small file system in memory; skips without the right to."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        disk = tmp_path / f"disk{len(mounted)}"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if sys.platform != "linux" or subprocess.run(command, check=False).returncode:
            pytest.skip("needs the right to mount")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        # Lazily: a process that is just ending may still hold it for a moment.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607


@pytest.fixture
def read_only_disk(mount_disk: Callable[[str], Path]) -> Path:
    """A file system that not even root can write to."""
    disk = mount_disk("64k")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)  # noqa: S607
    return disk


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    """A file system of 64 KiB."""
    return mount_disk("64k")


@pytest.fixture
def tiny_options(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> Callable[..., TrainOptions]:
    """Return a function that makes options of a training of seconds; takes flat changes."""
    picture_folder("data/trainA", count=5, seed=1)
    picture_folder("data/trainB", count=7, seed=2)
    base = TrainOptions(
        run=RunOptions(
            name="tiny",
            checkpoints_dir=tmp_path / "checkpoints",
            device="cpu",
            print_freq=3,
            display_freq=7,
            save_latest_freq=4,
            save_epoch_freq=2,
        ),
        data=DataOptions(
            dataroot=tmp_path / "data", load_size=28, crop_size=24, num_threads=0, cache_images=True
        ),
        networks=NetworkOptions(netG="resnet_6blocks", ngf=2, ndf=2, init_gain=0.2),
        losses=LossOptions(pool_size=4),
        schedule=ScheduleOptions(n_epochs=2, n_epochs_decay=1),
    )

    def changed(**changes: Any) -> TrainOptions:
        return make(TrainOptions, {**flatten(base), **changes})

    return changed


# Pages: parsed, and in a browser (a skip where Chromium is not installed).


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


@pytest.fixture(scope="session")
def parse_page() -> Callable[[Path], Page]:
    """A function that parses an HTML file."""

    def parse(path: Path) -> Page:
        parser = _Parser()
        parser.feed(path.read_text(encoding="utf-8"))
        parser.close()
        assert not parser.open
        return parser.page

    return parse


@dataclass(frozen=True)
class Browser:
    """One browser window; ``driver`` is the full selenium interface."""

    driver: "Chrome"

    def set_view(self, width: int, height: int, *, dark: bool = False, touch: bool = False) -> None:
        """Set the size of the page in CSS pixels, the colour scheme, and finger or mouse."""
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

    def becomes_true(self, expression: str, *, seconds: float = 20.0) -> bool:
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
        """Press the mouse at ``start``, from the element's centre, move it by ``way``, let go."""
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


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium, chromedriver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not chromedriver:
        pytest.skip("needs chromium and chromedriver (apt install chromium chromium-driver)")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-quic",
        "--disable-dev-shm-usage",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--no-first-run",
        "--hide-scrollbars",
        f"--user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "WARNING"})
    # With the path given, selenium does not look for a driver in the network.
    service = webdriver.ChromeService(executable_path=chromedriver)
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture
def browser(_chromium: Browser) -> Browser:
    """Headless Chromium with a mouse, in a light window of 1280 by 900 pixels."""
    _chromium.set_scripts(enabled=True)
    _chromium.set_view(1280, 900)
    return _chromium
