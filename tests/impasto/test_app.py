"""`impasto app`: what the page does, without it, and the page in headless Chromium."""

import io
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from impasto.app import Studio, run_app
from impasto.cyclegan.models import SHIPPED
from impasto.data import Picture, read_picture, read_size, write_picture
from impasto.options.errors import ImpastoError, PictureError
from impasto.options.translate import AppOptions, TranslateOptions
from impasto.scripts.main import main
from tests.browser import Browser

if TYPE_CHECKING:
    from selenium.webdriver.remote.webelement import WebElement

ONE_OF_SEVERAL = "\u201cGreat wave\u201d"


@pytest.fixture
def studio(tmp_path: Path) -> Studio:
    folder = tmp_path / "studio"
    folder.mkdir()
    return Studio(folder, AppOptions(checkpoints_dir=tmp_path / "none", threads=1, device="cpu"))


def photograph(path: Path, height: int = 48, width: int = 64, *, seed: int = 0) -> Path:
    """Write a picture of soft colors."""
    rows, columns = np.mgrid[:height, :width]
    waves = [np.sin(rows / 7 + k + seed) * np.cos(columns / 9 - k) for k in range(3)]
    rgb = np.stack([127.5 + 100 * wave for wave in waves], axis=-1).round().astype(np.uint8)
    write_picture(path, Picture(rgb=rgb))
    return path


def test_every_painter_and_each_painting_is_a_choice(studio: Studio) -> None:
    whole = [choice for choice in studio.choices.values() if choice.style is None]
    assert {choice.name for choice in whole} < set(SHIPPED)
    assert whole[0].model == TranslateOptions.__dataclass_fields__["model"].default
    assert ONE_OF_SEVERAL in studio.choices
    assert len(studio.choices) == len({choice.name for choice in studio.choices.values()})


def test_a_picture_is_painted_as_the_command_does(studio: Studio, tmp_path: Path) -> None:
    photo, out = photograph(tmp_path / "sea & sky.png"), tmp_path / "out"
    for label, words in (
        (ONE_OF_SEVERAL, ["--model", "paintings", "--style", "great_wave"]),
        (SHIPPED["vangogh"].label, ["--model", "vangogh"]),
    ):
        made = studio.paint(photo, label, strength=0.75, stroke_scale="1.5")
        words += ["--strength", "0.75", "--stroke_scale", "1.5", "--threads", "1"]
        assert main(["translate", str(photo), *words, "--output", str(out), "--overwrite"]) == 0
        assert made.after.read_bytes() == next(out.glob("*.png")).read_bytes()
        assert np.array_equal(read_picture(made.before).rgb, read_picture(photo).rgb)
        assert made.after.name == f"sea  sky_{studio.choices[label].name}.png"
        assert label in made.words


def test_large_pictures_are_reduced_and_upright(tmp_path: Path) -> None:
    studio = Studio(tmp_path, AppOptions(long_side=40, threads=1, checkpoints_dir=tmp_path / "no"))
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    turned = tmp_path / "turned.jpg"
    Image.fromarray(read_picture(photograph(tmp_path / "a.png")).rgb).save(turned, exif=exif)
    made = studio.paint(turned, SHIPPED["vangogh"].label, file_format="jpg")
    assert read_size(made.before) == read_size(made.after) == (30, 40)  # width first
    assert made.after.suffix == ".jpg"


def test_no_files_are_left_of_a_request_that_failed(studio: Studio, tmp_path: Path) -> None:
    bad = tmp_path / "not a picture.png"
    bad.write_text("<script>alert(1)</script>")
    with pytest.raises(PictureError, match=r"not a picture\.png"):
        studio.paint(bad, SHIPPED["vangogh"].label)
    assert not list((tmp_path / "studio").iterdir())


def test_files_of_requests_are_deleted_after_six_hours(studio: Studio, tmp_path: Path) -> None:
    photo, label = photograph(tmp_path / "a.png"), SHIPPED["vangogh"].label
    old, recent = (studio.paint(photo, label).after for _ in range(2))
    now = time.time()
    os.utime(old.parent, (now - 6 * 3600 - 60,) * 2)
    os.utime(recent.parent, (now - 6 * 3600 + 60,) * 2)
    last = studio.paint(photo, label).after
    assert [path.exists() for path in (old, recent, last)] == [False, True, True]


def test_own_painting_shows_how_it_comes_about(studio: Studio, tmp_path: Path) -> None:
    photo, painting = photograph(tmp_path / "a.png"), photograph(tmp_path / "b.png", seed=2)
    *before, (last, words) = studio.stylize(photo, painting, size=64)
    assert len(before) > 2
    assert all(isinstance(shown, np.ndarray) and shown.dtype == np.uint8 for shown, _ in before)
    assert isinstance(last, Path)
    assert last.name == "a_in_the_style_of_b.png"
    assert read_size(last) == (64, 48)
    assert words.startswith("done in ")


def test_long_names_of_any_script_are_shortened(studio: Studio, tmp_path: Path) -> None:
    # As an upload is called: at most 200 bytes.
    snow = "\u96ea"
    photo = photograph(tmp_path / f"{65 * snow}.png")
    *_, (last, _) = studio.stylize(photo, photo, size=32)
    assert isinstance(last, Path)
    assert len(os.fsencode(last.name)) <= 255
    assert last.name.startswith(snow)
    assert read_size(last) == (32, 24)
    after = studio.paint(photo, ONE_OF_SEVERAL).after
    assert after.name == f"{60 * snow}_great_wave.png"


def test_own_painting_stops_early_or_when_nobody_looks(studio: Studio, tmp_path: Path) -> None:
    photo, painting = photograph(tmp_path / "a.png"), photograph(tmp_path / "b.png", seed=2)
    stopped = threading.Event()
    shown = []
    for one, _ in studio.stylize(photo, painting, size=64, stopped=stopped):
        shown.append(one)
        stopped.set()
    assert isinstance(shown[-1], Path)
    assert len(shown) < 5
    steps = studio.stylize(photo, painting, size=64)
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert not [one for one in threading.enumerate() if one.name == "stylize"]


def test_own_painting_says_what_is_wrong(studio: Studio, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"GIF89a")
    with pytest.raises(PictureError, match=r"bad\.png"):
        list(studio.stylize(photograph(tmp_path / "a.png"), bad, size=64))


def test_without_gradio_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gradio", None)
    assert main(["app"]) == 1
    assert "pip install 'impasto[app]'" in capsys.readouterr().err


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """The address of the running page; a skip where Gradio is not installed."""
    if find_spec("gradio") is None:
        pytest.skip("needs gradio: pip install 'impasto[app]'")
    words = ["--port", "0", "--open_browser", "false", "--threads", "1", "--device", "cpu"]
    words += ["--max_upload_mb", "1", "--long_side", "512"]
    command = [sys.executable, "-m", "impasto", "app", *words]
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        env={**os.environ, "TMPDIR": str(scratch)},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        said = running.stdout.readline()
        try:
            assert said.startswith("open http://127.0.0.1:"), said
            yield said.split()[1]
        finally:
            running.send_signal(signal.SIGINT)
            assert running.wait(timeout=60) in {0, 130}
            assert not list(scratch.glob("impasto_app_*"))  # nobody finds the pictures later


def chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data).to_bytes(4, "big")
    return len(data).to_bytes(4, "big") + kind + data + check


def huge_png() -> bytes:
    """Give a small file that says it is of 60,000 x 60,000 pixels."""
    size = (60_000).to_bytes(4, "big")
    head = size + size + bytes([8, 2, 0, 0, 0])
    data = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def upload(browser: Browser, name: str, file: Path) -> None:
    by = pytest.importorskip("selenium.webdriver.common.by").By
    field: WebElement = browser.driver.find_element(by.CSS_SELECTOR, f"#{name} input[type=file]")
    field.send_keys(str(file))


@pytest.mark.slow
def test_the_page_paints_compares_and_saves(browser: Browser, address: str, tmp_path: Path) -> None:
    browser.driver.get(address)
    assert browser.becomes_true("!!document.querySelector('#paint')")
    photo = photograph(tmp_path / "meadow.png", 90, 120)
    upload(browser, "photo", photo)
    assert browser.becomes_true("!!document.querySelector('#photo img')")
    browser.evaluate("document.querySelector('#paint').click()")
    shown = "document.querySelectorAll('#compared img').length == 2"
    assert browser.becomes_true(shown), browser.console()
    assert browser.becomes_true("document.querySelector('#words').innerText.includes('120 x 90')")
    saved = tmp_path / "saved"
    behavior = {"behavior": "allow", "downloadPath": str(saved)}
    browser.driver.execute_cdp_cmd("Browser.setDownloadBehavior", behavior)
    assert browser.becomes_true("!document.querySelector('#save').disabled")
    browser.evaluate("document.querySelector('#save').click()")
    end = time.monotonic() + 60
    while not (files := list(saved.glob("meadow_*.png"))) and time.monotonic() < end:
        time.sleep(0.1)
    assert [read_size(file) for file in files] == [(120, 90)]
    elsewhere: Any = browser.evaluate(
        "performance.getEntriesByType('resource').map(one => one.name)"
        f".filter(one => !one.startsWith('{address}') && !one.startsWith('data:'))"
    )
    assert not [one for one in elsewhere if not one.startswith("blob:")]


@pytest.mark.slow
def test_the_page_says_what_is_wrong_with_hostile_uploads(
    browser: Browser, address: str, tmp_path: Path
) -> None:
    whole = io.BytesIO()
    Image.fromarray(read_picture(photograph(tmp_path / "a.png")).rgb).save(whole, "PNG")
    hostile = {
        "text.png": b"<script>alert(1)</script>",
        "cut.png": whole.getvalue()[:200],
        "huge.png": huge_png(),
        "<img src=x onerror=alert(1)>.png": b"",
        "drawing.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        "large.png": whole.getvalue() + bytes(2_000_000),
    }
    for name, data in hostile.items():
        browser.driver.get(address)
        assert browser.becomes_true("!!document.querySelector('#paint')")
        (tmp_path / name).write_bytes(data)
        upload(browser, "photo", tmp_path / name)
        browser.becomes_true("!!document.querySelector('#photo img')", seconds=2)
        browser.evaluate("document.querySelector('#paint').click()")
        told = "document.querySelector('.toast-body, .toast-wrap')?.innerText ?? ''"
        nothing = "document.querySelector('#words').innerText"
        assert browser.becomes_true(
            f"({told}).length > 0 || {nothing}.includes('No photograph')"
        ), name
        assert not browser.evaluate("document.querySelectorAll('#compared img').length"), name
    # It goes on.
    browser.driver.get(address)
    assert browser.becomes_true("!!document.querySelector('#paint')")
    upload(browser, "photo", photograph(tmp_path / "good.png"))
    assert browser.becomes_true("!!document.querySelector('#photo img')")
    browser.evaluate("document.querySelector('#paint').click()")
    assert browser.becomes_true("document.querySelectorAll('#compared img').length == 2")


@pytest.mark.slow
def test_the_page_paints_like_a_painting(browser: Browser, address: str, tmp_path: Path) -> None:
    browser.driver.get(address)
    assert browser.becomes_true("document.querySelectorAll('button[role=tab]').length == 2")
    browser.evaluate("document.querySelectorAll('button[role=tab]')[1].click()")
    assert browser.becomes_true("!!document.querySelector('#begin')")
    for name in ("content", "style"):
        upload(browser, name, photograph(tmp_path / f"{name}.png", seed=len(name)))
        assert browser.becomes_true(f"!!document.querySelector('#{name} img')")
    browser.evaluate("document.querySelector('#begin').click()")
    seen = "document.querySelector('#told').innerText"
    assert browser.becomes_true(f"{seen}.includes('of')")
    browser.evaluate("document.querySelector('#stop').click()")
    assert browser.becomes_true(f"{seen}.startsWith('done in')")
    assert browser.evaluate("!!document.querySelector('#stylized img')")


def test_a_port_that_is_taken_is_said() -> None:
    pytest.importorskip("gradio")
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(ImpastoError, match=f"port {port} .*choose another --port"):
            run_app(AppOptions(port=port, open_browser=False))
