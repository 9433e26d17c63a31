"""The table and the page of an evaluation, as text, as HTML, and in a browser."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from impasto.cyclegan.evaluation.page import columns_of, text_table, write_evaluation
from impasto.runs.pages.gallery import Strip


@dataclass(frozen=True)
class Row:
    name: str
    kind: str = "result"
    pictures: int = 30
    paired: int = 0
    values: Mapping[str, float] = field(default_factory=dict)


SETS = {"swd": 61.24, "swd_256": 40.0, "swd_16": 106.0, "palette": 3.456, "grid_2": 1.7}
FEATURES = {
    "kid": 0.0123456,
    "kid_spread": 0.00123,
    "fid": 88.123,
    "precision": 0.5,
    "recall": 0.25,
    "strokes": 1.5,
}
PAIRS = {"content": 0.3, "ssim": 0.52, "psnr": math.inf, "edges": 0.5, "cycle_ssim": 0.6}
ROWS = [
    Row("do nothing", "nothing", values={**SETS, **FEATURES}),
    Row("floor (other real pictures)", "floor", values={**SETS, **FEATURES}),
    Row("epoch 5", paired=28, values={**SETS, **FEATURES, **PAIRS}),
]


@pytest.fixture
def page(tmp_path: Path) -> Path:
    """A page of four results with a hostile name, two strips, and all columns."""
    strips = []
    for name in ("a.jpg", "<b>.jpg"):
        pictures = {}
        for heading in ("input", "epoch 5", "epoch 10"):
            path = tmp_path / f"{name[1]}_{heading}.png"
            Image.new("RGB", (64, 48), (200, 120, 40)).save(path)
            pictures[heading] = path
        strips.append(Strip(name=name, pictures=pictures))
    levels = {f"swd_{px}": 50.0 for px in (256, 128, 64, 32, 16)}
    results = [
        Row(f"{name}", paired=30, values={**SETS, **FEATURES, **PAIRS, **levels, "grid_4": 2.0})
        for name in ("epoch 5", "epoch 10", "<script>alert(1)</script>")
    ]
    path = tmp_path / "index.html"
    write_evaluation(
        path,
        [*ROWS[:2], *results],
        strips,
        best="epoch 10",
        shares={"epoch 5": {"swd": 0.694}},
        sentences=["Best by KID: epoch 10.", "Beware & behold."],
        facts={"real pictures": "24, testA", "seed": "0"},
        headings={name: f"{name} (lite)" for name in (*FEATURES, "content")},
    )
    return path


def test_columns_are_those_that_some_row_has_with_the_scales_after_their_mean() -> None:
    headings = [column.heading for column in columns_of(ROWS[:1])]
    assert headings == [
        *("SWD", "256 px", "16 px", "strokes (x floor)", "KID", "FID", "precision", "recall"),
        *("palette", "grid 2"),
    ]
    named = columns_of(ROWS[:1], {"kid": "KID (lite)"})
    assert "KID (lite)" in [column.heading for column in named]
    assert "cycle" in [column.heading for column in columns_of(ROWS)]


def test_the_table_as_text() -> None:
    lines = {line.split("  ")[0]: line for line in text_table(ROWS, width=120).splitlines()}
    assert lines["pictures"].split() == ["pictures", "30", "30", "30"]
    assert lines["with inputs"].split()[2:] == ["28"]
    assert lines["KID \u2193"].split("\u2193")[1].split() == ["0.01235", "\u00b1", "0.00123"] * 3
    assert lines["FID \u2193"].endswith("88.12")
    assert lines["PSNR \u2191"].split()[-1] == "inf"
    assert lines["grid 2"].split()[2:] == ["1.70"] * 3


def test_many_rows_go_into_several_tables_that_fit() -> None:
    rows = [*ROWS, *(Row(f"checkpoint number {n}", values=SETS) for n in range(9))]
    text = text_table(rows, width=80)
    assert all(len(line) <= 80 for line in text.splitlines())
    blocks = text.split("\n\n")
    assert len(blocks) > 1
    assert all("SWD" in block for block in blocks)
    assert sum(block.count("61.2") for block in blocks) == len(rows)
    narrow = text_table(ROWS, width=5)
    assert narrow.count("SWD") == len(ROWS)


def test_the_page_holds_every_number_its_facts_and_its_pictures(
    page: Path, parse_page: Callable[[Path], Any]
) -> None:
    parsed = parse_page(page)
    tables = parsed.find("table")
    assert len(tables) == 2  # of sets, and of pictures by themselves
    rows = [row for row in parsed.find("tr") if row.attributes]
    kinds = ["nothing", "floor", "result", "result best", "result"]
    assert [row.attributes["class"] for row in rows] == kinds * 2
    assert "epoch 10 (best)" in rows[3].text
    cells = ["".join(cell.text.split()) for cell in parsed.find("td")]
    assert {"61.269%", "0.01235\u00b10.00123", "88.12", "inf", "0.600"} <= set(cells)
    assert len(cells) == 5 * (len(parsed.find("th", scope="col")) - len(tables))
    assert not parsed.find("script", src="alert(1)")
    assert "<script>alert(1)</script>" in rows[4].text
    texts = [element.text for element in parsed.find("dd")]
    assert {"24, testA", "0"} <= set(texts)
    assert "Beware & behold." in [item.text for item in parsed.find("li")]
    explained = [paragraph.text for paragraph in parsed.find("p")]
    assert any("the inputs as they are" in text for text in explained)
    assert any(text.startswith("floor (other real pictures): as near as") for text in explained)
    assert any("where a measure is blind, which is that" in text for text in explained)
    images = parsed.find("img")
    assert len(images) == 6
    assert all(image.attributes["alt"] for image in images)


def test_an_evaluation_without_results_pictures_or_words_is_a_page_too(
    tmp_path: Path, parse_page: Callable[[Path], Any]
) -> None:
    path = tmp_path / "index.html"
    write_evaluation(path, ROWS[1:2], [], best=None, shares={}, sentences=[], facts={})
    parsed = parse_page(path)
    assert [len(parsed.find(name)) for name in ("table", "tr")] == [2, 4]
    assert not any("Percentages" in text.text for text in parsed.find("p", class_="hint"))


def test_wide_tables_slide_under_their_names_and_the_page_does_not(
    page: Path, browser: Any
) -> None:
    for width, dark in ((1280, False), (1280, True), (390, False)):
        browser.set_view(width, 800, dark=dark, touch=width < 400)
        browser.open(page)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        text = "[...document.querySelectorAll('thead th')].map(cell => cell.innerText).join()"
        assert "(lite)" in browser.evaluate(text)
        assert browser.becomes_true("[...document.images].every(i => i.naturalWidth > 0)")
        frame = "document.querySelector('.measures-frame')"
        browser.evaluate(f"{frame}.scrollLeft = 10000")
        slid = browser.evaluate(f"{frame}.scrollLeft")
        assert (slid > 100) == (width < 400)
        left = "document.querySelector('tbody th').getBoundingClientRect().left"
        assert browser.evaluate(f"{left} - {frame}.getBoundingClientRect().left") < 3
        ground, text = (
            browser.evaluate(
                f"getComputedStyle(document.querySelector('tbody th')).{what}.match(/\\d+/)[0] * 1"
            )
            for what in ("backgroundColor", "color")
        )
        assert abs(ground - text) > 150
        assert not browser.console()
