"""The report page of a run: what it says, that it stays small, and the page in a real browser."""

import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from impasto.data import list_pictures
from impasto.runs import Doctor, History, Progress, ReportPage, RunDirectory, read_log
from impasto.runs.doctor import DataWait

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tests.browser import Browser, Page

Read = Callable[[], "Page"]

OPTIONS = {"name": "run", "lr": 2e-4, "max_images": None, "dataroot": "<b>photos"}
ENVIRONMENT = {"PyTorch": "2.9", "device": "cpu: <i>"}
SCRIPT = "<script>alert('x')</script>"
ARROW_LEFT, HOME = "\ue012", "\ue011"


def progress(images: int, **changes: Any) -> Progress:
    """Epochs of ten images, a hundred of them."""
    values = {"epoch": images // 10 + 1, "total_images": 1000, "total_epochs": 100, **changes}
    return Progress(images=images, steps=images, **values)


def record(value: float = 0.5, **changes: Any) -> dict[str, Any]:
    names = [f"{kind}_{domain}" for kind in ("D", "G", "cycle", "idt") for domain in "AB"]
    return {
        "losses": {name: value + index / 10 for index, name in enumerate(names)},
        "learning_rate": 2e-4,
        "seconds": 40.0,
        "data_wait": 0.25,
        "images_per_second": 2.0,
        "outputs": {},
        "warnings": [],
        **changes,
    }


def pictures(red: int, names: str = "real_A fake_B") -> "Mapping[str, NDArray[np.uint8]]":
    return {name: np.full((6, 8, 3), (red, 0, 0), np.uint8) for name in names.split()}


ALL = "real_A fake_B rec_A idt_B real_B fake_A rec_B idt_A mask"


def make(directory: RunDirectory) -> ReportPage:
    directory.create()
    return ReportPage(directory, options=OPTIONS, environment=ENVIRONMENT)


def write_log(directory: RunDirectory, reports: int) -> None:
    directory.create()
    records = [
        {"epoch": i // 10 + 1, "images": i, "steps": i, **record(1 / i)}
        for i in range(1, reports + 1)
    ]
    lines = [json.dumps(one) for one in records]
    directory.log_file.write_text("\n".join(lines) + "\n", encoding="utf-8")


@pytest.fixture
def directory(tmp_path: Path) -> RunDirectory:
    return RunDirectory(tmp_path / "run")


@pytest.fixture
def index(directory: RunDirectory) -> Path:
    return directory.web / "index.html"


def test_samples_of_a_run_among_photographs_are_no_photographs(
    directory: RunDirectory, tmp_path: Path
) -> None:
    Image.new("RGB", (8, 8)).save(tmp_path / "own.png")
    observer = make(directory)
    observer.on_start(progress(0))
    observer.on_samples(progress(2), pictures(9))
    assert len(list((directory.web / "images").glob("epoch*.png"))) == 2
    assert list_pictures(tmp_path) == [tmp_path / "own.png"]


def test_a_run_directory_that_was_removed_is_not_made_again(directory: RunDirectory) -> None:
    observer = make(directory)
    observer.on_start(progress(0))
    shutil.rmtree(directory.web)
    observer.on_samples(progress(2), pictures(9))  # this is the observer's own
    assert len(list((directory.web / "images").glob("*.png"))) == 2
    shutil.rmtree(directory.path)
    tells: list[Callable[[], None]] = [
        lambda: observer.on_samples(progress(4), pictures(9)),
        lambda: observer.on_report(progress(4), record()),
        lambda: observer.on_end(progress(4)),
    ]
    for tell in tells:
        with pytest.raises(FileNotFoundError):
            tell()
    assert not directory.path.exists()


@pytest.fixture
def read(index: Path, parse_page: Callable[[Path], "Page"]) -> Callable[[], "Page"]:
    """Return a function that parses the page as it is now."""
    return lambda: parse_page(index)


def facts(parsed: "Page") -> dict[str, str]:
    names, values = parsed.find("dt"), parsed.find("dd")
    return {name.text: value.text for name, value in zip(names, values, strict=True)}


def test_before_the_first_report(directory: RunDirectory, read: Read) -> None:
    make(directory).on_start(progress(0))
    parsed = read()
    assert parsed.find("p", class_="lead")[0].text == ("Training: epoch 1 of 100, image 0 of 1,000")
    assert facts(parsed)["Time left"] == "known after a report"
    assert not parsed.find("svg")
    assert not parsed.find("img")
    bar = parsed.find("progress")[0].attributes
    assert (bar["value"], bar["max"]) == ("0", "1000")


def test_a_running_training(directory: RunDirectory, index: Path, read: Read) -> None:
    observer = make(directory)
    observer.on_start(progress(0))
    observer.on_report(progress(100, global_batch=4, processes=2), record(0.25))
    parsed = read()
    assert parsed.find("h1")[0].text == "run"
    shown = facts(parsed)
    assert shown["Time left"] == "8 min"  # 900 images, 2 in a second: 7.5 min
    assert re.fullmatch(r"\w{3} \d+ \w{3} \d{4}, \d\d:\d\d .*", shown["Finish"])
    assert shown["Speed"] == "2 images/s"
    assert shown["Data wait"] == "25%"
    assert shown["Global batch"] == "4 images, 2 processes"
    assert "Written" in shown
    assert shown["dataroot"] == "<b>photos"
    assert shown["max_images"] == "none"
    assert shown["device"] == "cpu: <i>"
    titles = [heading.text.split()[0] for heading in parsed.find("h3")]
    assert titles == ["G", "D", "cycle", "idt", "Learning", "Images", "Waited"]
    assert [path.attributes["data-name"] for path in parsed.find("path", class_="curve")][:8] == [
        *("G_A", "G_B", "D_A", "D_B", "cycle_A", "cycle_B", "idt_A", "idt_B")
    ]
    # Half of the 40 s between reports.
    assert parsed.find("p", id="silent")[0].attributes["data-reload-seconds"] == "20"
    assert parsed.find("meta", content="20")
    text = re.sub(r"(?m)^\s*//.*$", "", index.read_text(encoding="utf-8"))
    assert not re.search(r"https?:|//[a-z]|@import|url\(", text)


def test_losses_of_another_method(directory: RunDirectory, read: Read) -> None:
    observer = make(directory)
    losses = {"odd": 3.0, "cross_entropy": 2.0, "odd_A": 1.0, "odd_B": 0.1}
    observer.on_report(progress(10), record(losses=losses))
    parsed = read()
    titles = [heading.text.strip() for heading in parsed.find("h3")]
    assert titles[:2] == ["odd", "cross_entropy"]
    names = [path.attributes["data-name"] for path in parsed.find("path", class_="curve")]
    assert names[:4] == ["odd_A", "odd_B", "odd", "cross_entropy"]


@pytest.mark.parametrize(
    ("images", "error", "words"),
    [
        (1000, None, "Finished: epoch 100 of 100, image 1,000 of 1,000"),
        (500, None, "Stopped before the end: epoch 51 of 100, image 500 of 1,000"),
        (500, f"a loss is {SCRIPT}", "Stopped by an error: epoch 51 of 100, image 500 of 1,000"),
    ],
)
def test_the_end(
    directory: RunDirectory, read: Read, images: int, error: str | None, words: str
) -> None:
    observer = make(directory)
    observer.on_start(progress(0))
    observer.on_report(progress(images), record())
    observer.on_end(progress(images), error)
    parsed = read()
    assert parsed.find("p", class_="lead")[0].text == words
    errors = [notice.text for notice in parsed.find("p", class_="error")]
    assert [text.split(".", 1)[1].strip() for text in errors] == ([error] if error else [])
    assert {"Time left", "Finish"}.isdisjoint(facts(parsed))
    assert "Ended" in facts(parsed)
    assert not parsed.find("noscript")
    assert not parsed.find("p", id="silent")


def test_warnings_come_first(tmp_path: Path, parse_page: Callable[[Path], "Page"]) -> None:
    observer = make(RunDirectory(tmp_path / "<b>run"))
    observer.on_report(progress(10), record(warnings=["D_A has won.", SCRIPT]))
    parsed = parse_page(tmp_path / "<b>run" / "web" / "index.html")
    warnings = [p.text.split(".", 1)[1].strip() for p in parsed.find("p", class_="notice")[1:]]
    assert warnings == ["D_A has won.", SCRIPT]
    assert parsed.find("h1")[0].text == "<b>run"
    assert len(parsed.find("script")) == 1
    names = [element.name for element in parsed.elements]
    assert names.index("strong") < names.index("dl")


def test_samples_in_two_rows(directory: RunDirectory, index: Path, read: Read) -> None:
    observer = make(directory)
    observer.on_start(progress(0))
    observer.on_samples(progress(4), pictures(9, ALL))
    parsed = read()
    images = [image.attributes for image in parsed.find("img")]
    assert [image["data-name"] for image in images] == ALL.split()
    assert images[0]["src"] == "images/epoch001_real_A.png?images=4"
    assert (images[0]["width"], images[0]["height"]) == ("8", "6")
    assert images[1]["alt"] == "fake_B translated"
    assert len(parsed.find("div", class_="samples")) == 3
    assert not parsed.find("input")  # one epoch: nothing to choose
    assert all((index.parent / image["src"].split("?")[0]).is_file() for image in images)


def test_epochs_are_listed_compactly(directory: RunDirectory, read: Read) -> None:
    observer = make(directory)
    observer.on_start(progress(0))
    for epoch in (1, 2, 2, 3, 5, 7, 8):
        observer.on_samples(progress(10 * epoch - 5), pictures(epoch))
    slider = read().find("input", type="range")[0].attributes
    assert slider["data-epochs"] == "1-3,5-5,7-8"
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "5", "5")
    assert read().find("label", **{"for": "epoch"})[0].text.split() == ["Epoch", "8"]


def test_a_resumed_run_takes_up_what_was_before(directory: RunDirectory, read: Read) -> None:
    first = make(directory)
    for epoch in (1, 2, 3, 4):
        first.on_samples(progress(10 * epoch - 5), pictures(epoch))
    write_log(directory, 40)
    make(directory).on_start(progress(25))
    parsed = read()
    assert parsed.find("svg")[0].attributes["viewbox"].split()[2] == "25"
    assert parsed.find("input", type="range")[0].attributes["data-epochs"] == "1-3"
    assert parsed.find("img")[0].attributes["src"] == "images/epoch003_real_A.png?images=25"
    assert parsed.find("img")[0].attributes["width"] == "8"
    make(directory).on_start(progress(0))
    assert not read().find("img")


@pytest.mark.parametrize("left_out", ["learning_rate", "data_wait", "images_per_second", "seconds"])
def test_a_report_that_lacks_a_value_is_shown(
    directory: RunDirectory, read: Read, left_out: str
) -> None:
    write_log(directory, 3)
    log = directory.log_file.read_text(encoding="utf-8").splitlines()
    log[2] = log[2].replace(f'"{left_out}"', '"another"')
    directory.log_file.write_text("\n".join(log) + "\n", encoding="utf-8")
    watcher = make(directory)
    watcher.on_start(progress(3))
    assert len(watcher._history.points) == 3
    assert len(read().find("path", class_="curve")) > 8
    watcher.on_report(progress(4), record())


def test_no_damage_of_the_log_switches_the_page_off(directory: RunDirectory, index: Path) -> None:
    write_log(directory, 4)
    whole, chance = directory.log_file.read_bytes(), np.random.default_rng(0)
    signs = Doctor([DataWait(num_threads=0, cache_images=False)])
    for _ in range(300):
        damaged = bytearray(whole)
        for place in chance.integers(len(whole), size=2):
            damaged[place] ^= 1 << int(chance.integers(8))
        directory.log_file.write_bytes(damaged)
        index.unlink(missing_ok=True)
        watcher = make(directory)
        watcher._history = History(most_points=2)  # joins neighbors, which have to be numbers
        watcher.on_start(progress(4))
        signs.restore(read_log(directory.log_file))
        assert index.is_file()
        assert sum(point.reports for point in watcher._history.points) >= 1


def test_the_page_does_not_grow(directory: RunDirectory, index: Path) -> None:
    def size(reports: int, epochs: int) -> int:
        write_log(directory, reports)
        folder = directory.web / "images"
        folder.mkdir(exist_ok=True)
        for epoch in range(1, epochs + 1):
            (folder / f"epoch{epoch:03d}_real_A.png").touch()
        observer = make(directory)
        observer.on_start(progress(reports, epoch=epochs, total_images=100_000))
        observer.on_samples(progress(reports, epoch=epochs), pictures(1))
        return index.stat().st_size

    short, long = size(600, 60), size(6000, 1000)
    assert long < 1.25 * short
    assert long < 200_000


def test_reports_in_a_hurry_do_not_each_write_the_page(
    directory: RunDirectory, index: Path
) -> None:
    observer = make(directory)
    for images in range(1, 100):
        observer.on_report(progress(images), record())
    assert "image 99 of" not in index.read_text(encoding="utf-8")
    observer.on_end(progress(99))
    assert "image 99 of" in index.read_text(encoding="utf-8")


def test_a_failed_write_keeps_the_old_page(
    directory: RunDirectory, index: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    observer = make(directory)
    observer.on_start(progress(0))
    old = index.read_bytes()

    def full_disk(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        observer.on_report(progress(10), record())
    assert index.read_bytes() == old
    assert list(index.parent.iterdir()) == [index]


# In a real browser.

LOADED = """
    Promise.all([...document.images].map((image) => image.decode().then(() => image.naturalWidth)))
"""


@pytest.fixture
def running(directory: RunDirectory) -> ReportPage:
    """A training in its fifth epoch."""
    observer = make(directory)
    write_log(directory, 40)
    observer.on_start(progress(40))
    for epoch in (1, 2, 3, 4, 5):
        observer.on_samples(progress(10 * epoch - 5), pictures(epoch, ALL))
    observer.on_report(progress(45), record())
    return observer


def hurry(index: Path, **changes: str) -> None:
    """Change numbers in the page, so that a test need not wait."""
    text = index.read_text(encoding="utf-8")
    for name, value in {"data-reload-seconds": "0.2", **changes}.items():
        text, count = re.subn(f'{name}="[^"]*"', f'{name}="{value}"', text)
        assert count == 1
    other = index.with_suffix(".new")
    other.write_text(text, encoding="utf-8")
    other.replace(index)


def survives(change: str, holds: str) -> str:
    """Return what makes a change until a page that loaded later has it by itself.

    The page loads itself anew all the time: what is changed between its last look at what the
    reader set and its end is lost, as a reader would lose it and set it again.
    """
    return f"""
        (() => {{
            if (document.readyState !== 'complete') return false;
            if ({holds} && !window.changed) return true;
            window.changed = true;
            {change};
            return false;
        }})()
    """


def slide(end: str) -> str:
    """Return what moves the slider to an end and sees it stay there."""
    slider = "document.getElementById('epoch')"
    change = f"{slider}.focus(); {slider}.value = {slider}.{end}; "
    return survives(
        f"{change} {slider}.dispatchEvent(new Event('input'))",
        f"{slider}.value === {slider}.{end} && document.activeElement === {slider}",
    )


@pytest.mark.usefixtures("running")
def test_browser_shows_pictures_and_curves(index: Path, browser: "Browser") -> None:
    browser.open(index)
    assert browser.evaluate(LOADED) == [8] * 9
    boxes = browser.evaluate("""
        [...document.querySelectorAll('path[data-name]')].map((path) => {
            const box = path.getBoundingClientRect();
            return [box.width, box.height];
        })
    """)
    assert len(boxes) == 11
    assert all(width > 100 for width, _ in boxes)
    assert all(height > 5 for _, height in boxes[:8])
    assert browser.console() == []


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize("scripts", [True, False])
def test_browser_fits_a_phone(index: Path, browser: "Browser", *, scripts: bool) -> None:
    browser.set_scripts(enabled=scripts)
    browser.set_view(390, 800, touch=True)
    browser.open(index)
    browser.evaluate("document.querySelectorAll('details').forEach((d) => { d.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    shown = browser.evaluate("document.getElementById('epoch').checkVisibility()")
    assert shown is scripts
    grid = "getComputedStyle(document.querySelector('.samples')).gridTemplateColumns.split(' ')"
    assert browser.evaluate(f"{grid}.length") == 2


@pytest.mark.usefixtures("running")
def test_browser_slider_changes_the_pictures(index: Path, browser: "Browser") -> None:
    browser.open(index)
    slider = browser.driver.find_element("id", "epoch")
    source = "document.images[0].getAttribute('src')"
    assert browser.evaluate(source) == "images/epoch005_real_A.png?images=45"
    slider.send_keys(ARROW_LEFT)
    assert browser.evaluate(source) == "images/epoch004_real_A.png"
    slider.send_keys(HOME)
    assert browser.evaluate(source) == "images/epoch001_real_A.png"
    assert browser.evaluate(LOADED) == [8] * 9
    assert slider.get_attribute("aria-valuetext") == "epoch 1"
    assert browser.driver.find_element("css selector", "label[for=epoch]").text == "Epoch 1"
    browser.driver.find_element("id", "play").click()
    assert browser.becomes_true(f"{source}.includes('epoch005')")
    assert browser.becomes_true("document.getElementById('play').textContent === 'Play'")
    assert browser.console() == []


@pytest.mark.usefixtures("running")
def test_browser_reads_values_under_the_pointer(index: Path, browser: "Browser") -> None:
    browser.open(index)
    browser.evaluate("""
        (() => {
            const plot = document.querySelector('.plot');
            plot.scrollIntoView();
            const box = plot.getBoundingClientRect();
            const place = { clientX: box.left + box.width * 10 / 45, clientY: box.top + 9 };
            plot.dispatchEvent(new PointerEvent('pointermove', place));
        })()
    """)
    assert browser.evaluate("document.querySelector('.cursor').textContent") == "10"
    # G_A at image 10: 1 / 10 and two tenths.
    values = "[...document.querySelectorAll('.key b')].map((b) => Number(b.textContent))"
    assert browser.evaluate(values)[:3] == pytest.approx([0.3, 0.4, 0.1], abs=1e-3)
    browser.evaluate(
        "document.querySelector('.plot').dispatchEvent(new PointerEvent('pointerleave'))"
    )
    assert browser.evaluate(values)[:2] == pytest.approx([0.7, 0.8], abs=1e-3)
    assert not browser.evaluate("document.querySelector('.cursor')")
    assert browser.console() == []


def test_browser_refreshes_itself_and_keeps_what_the_reader_set(
    running: ReportPage, index: Path, browser: "Browser"
) -> None:
    hurry(index)
    browser.open(index)
    assert browser.becomes_true(slide("min"))
    options = "document.querySelector('#options')"
    assert browser.becomes_true(survives(f"{options}.open = true", f"{options}.open"))
    running.on_samples(progress(55), pictures(6, ALL))
    hurry(index)
    lead = "document.querySelector('.lead')?.textContent"
    assert browser.becomes_true(f"{lead}?.includes('image 55 of')")
    assert browser.becomes_true("document.images[0]?.src.endsWith('epoch001_real_A.png')")
    assert browser.becomes_true("document.querySelector('#options')?.open")
    assert browser.becomes_true("document.activeElement?.id === 'epoch'")
    # Who looks at the newest pictures goes on to see the newest.
    assert browser.becomes_true(slide("max"))
    running.on_samples(progress(65), pictures(7, ALL))
    hurry(index)
    assert browser.becomes_true("document.images[0]?.src.includes('epoch007')")
    running.on_end(progress(1000))
    assert browser.becomes_true(f"{lead}?.startsWith('Finished')")
    # It is finished: it stays as it is.
    browser.evaluate("window.stayed = true")
    assert not browser.becomes_true("!window.stayed", seconds=1.5)


@pytest.mark.usefixtures("running")
def test_browser_says_that_a_training_fell_silent(index: Path, browser: "Browser") -> None:
    browser.open(index)
    assert browser.evaluate("document.getElementById('silent').hidden")
    hurry(index, **{"data-reload-seconds": "60", "data-written": "1700000000"})
    browser.open(index)
    text = browser.driver.find_element("id", "silent").text
    assert re.fullmatch(r"No report since .*2023.*: the training may have been killed\.", text)
    assert browser.console() == []
