"""The shared look of pages: structure, escaping, offline, atomic writes, contrast."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import pytest
from dominate import tags

from impasto.options.errors import PictureError
from impasto.runs.pages import page as page_module
from impasto.runs.pages.page import page, relative_url, write_page

if TYPE_CHECKING:
    from tests.browser import Browser, Page

Parse = Callable[[Path], "Page"]
SCRIPT = "<script>alert('x')</script> & \"Monet\""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    document = page(SCRIPT, description=SCRIPT)
    document.main.add(tags.p(SCRIPT, title=SCRIPT))
    write_page(tmp_path / "index.html", document)
    return tmp_path / "index.html"


def test_text_is_escaped_everywhere(written: Path, parse_page: Parse) -> None:
    parsed = parse_page(written)
    assert parsed.find("title")[0].text == SCRIPT
    assert parsed.find("h1")[0].text == SCRIPT
    assert [p.text for p in parsed.find("p")][:2] == [SCRIPT, SCRIPT]
    assert parsed.find("p", title=SCRIPT)
    assert parsed.find("meta", name="description")[0].attributes["content"] == SCRIPT
    assert len(parsed.find("script")) == 1


def test_head_and_landmarks(written: Path, parse_page: Parse) -> None:
    parsed = parse_page(written)
    names = [element.name for element in parsed.elements]
    assert written.read_text(encoding="utf-8").startswith("<!DOCTYPE html>\n")
    assert parsed.find("html")[0].attributes["lang"] == "en"
    assert names[names.index("head") + 1] == "meta"
    assert parsed.elements[names.index("head") + 1].attributes == {"charset": "utf-8"}
    assert parsed.find("meta", name="viewport")
    assert all(names.count(landmark) == 1 for landmark in ("header", "main", "footer", "h1"))


def test_description_is_left_out_when_empty(tmp_path: Path, parse_page: Parse) -> None:
    write_page(tmp_path / "plain.html", page("Plain"))
    parsed = parse_page(tmp_path / "plain.html")
    assert not parsed.find("meta", name="description")
    assert not parsed.find("p", class_="lead")


def test_nothing_comes_from_the_network(written: Path, parse_page: Parse) -> None:
    text = written.read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]|@import|url\(", re.sub(r"(?m)^\s*//.*$", "", text))
    linked = [
        e.attributes.get("src", e.attributes.get("href")) for e in parse_page(written).elements
    ]
    assert [url for url in linked if url is not None] == ["data:,"]


@pytest.mark.parametrize("name", ["page.css", "page.js", "report.css", "report.js"])
def test_inlined_files_cannot_end_their_element(name: str) -> None:
    assert "</" not in page_module._asset(name)


def test_failed_write_keeps_the_old_page(written: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = written.read_bytes()

    def full_disk(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_page(written, page("New"))
    assert written.read_bytes() == old
    assert list(written.parent.iterdir()) == [written]


def test_undecodable_file_name_is_written(tmp_path: Path, parse_page: Parse) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    write_page(tmp_path / "index.html", page(name))
    assert parse_page(tmp_path / "index.html").find("h1")[0].text == os.fsencode(name).decode(
        "ascii", "replace"
    ).replace("�", "?")


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("a b.jpg", "a%20b.jpg"),
        ("100% #1?.jpg", "100%25%20%231%3F.jpg"),
        ("a:b.jpg", "a%3Ab.jpg"),
        ("\"quoted' & <b>.jpg", "%22quoted%27%20%26%20%3Cb%3E.jpg"),
        ("睡蓮.jpg", "%E7%9D%A1%E8%93%AE.jpg"),
        ("page/x.jpg", "page/x.jpg"),
        ("../x.jpg", "../x.jpg"),
    ],
)
def test_relative_url(tmp_path: Path, name: str, url: str) -> None:
    assert relative_url(tmp_path / name, tmp_path) == url


def test_relative_url_keeps_undecodable_bytes(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.jpg")
    assert unquote_to_bytes(relative_url(tmp_path / name, tmp_path)) == b"caf\xe9.jpg"


def test_relative_url_of_relative_paths() -> None:
    assert relative_url(Path("out/page/a.jpg"), Path("out")) == "page/a.jpg"


def test_other_drive_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def other_drive(*_: Any) -> str:
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", other_drive)
    with pytest.raises(PictureError, match=r"x\.jpg: lies on another drive .* copy it") as caught:
        relative_url(Path("x.jpg"), tmp_path)
    assert caught.value.path == Path("x.jpg")


def test_no_torch() -> None:
    code = "import sys, impasto.runs.pages.gallery; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def _luminance(color: str) -> float:
    """Relative luminance of ``#rrggbb`` (WCAG 2.2)."""
    channels = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("text", "ground"),
        ("text", "mat"),
        ("quiet", "ground"),
        ("accent", "ground"),
        ("accent", "mat"),
        ("warning-text", "warning-ground"),
        ("error-text", "error-ground"),
        ("series-a", "ground"),
        ("series-b", "ground"),
    ],
)
def test_contrast(scheme: str, text: str, ground: str) -> None:
    """WCAG 2.2, 1.4.3: text has a contrast of 4.5 to 1 or more."""
    colors: dict[str, str] = {}
    for name in ("page.css", "report.css"):
        blocks = re.findall(r":root \{(.*?)\}", page_module._asset(name), re.DOTALL)
        colors |= dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", blocks[scheme == "dark"]))
    low, high = sorted((_luminance(colors[text]), _luminance(colors[ground])))
    assert (high + 0.05) / (low + 0.05) >= 4.5


@pytest.mark.parametrize("dark", [False, True])
def test_browser_shows_the_page(written: Path, browser: "Browser", *, dark: bool) -> None:
    browser.set_view(360, 800, dark=dark)
    browser.open(written)
    assert browser.evaluate("document.querySelector('h1').innerText") == SCRIPT
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    ground = browser.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    assert (sum(int(value) for value in re.findall(r"\d+", ground)) < 3 * 128) is dark
    assert browser.console() == []
