"""Strips of pictures, as the pages of evaluations and of the tour draw them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from impasto.runs.page import page, write_page
from impasto.runs.strips import Strip, draw_strip
from impasto.runs.tour_page import Chapter, write_tour


@pytest.fixture
def strip(tmp_path: Path) -> Strip:
    pictures = {"input": tmp_path / "in" / "100%.png", "<Monet>": tmp_path / "b.png"}
    return Strip(name="a & b", pictures=pictures)


def test_a_strip_has_its_name_above_or_in_its_captions(
    strip: Strip, tmp_path: Path, parse_page: Callable[[Path], Any]
) -> None:
    for titled in (True, False):
        document = page("Strips")
        document.main.add(draw_strip(strip, tmp_path, titled=titled))
        write_page(tmp_path / "index.html", document)
        parsed = parse_page(tmp_path / "index.html")
        images = [element.attributes for element in parsed.find("img")]
        assert [image["src"] for image in images] == ["in/100%25.png", "b.png"]
        assert [image["alt"] for image in images] == ["a & b: input", "a & b: <Monet>"]
        assert [heading.text for heading in parsed.find("h2")] == ["a & b"] * titled
        captions = [caption.text for caption in parsed.find("figcaption")]
        names = ["input", "<Monet>"]
        assert captions == (names if titled else [f"a & b: {name}" for name in names])
        assert len(parsed.find("div", class_="as-many-as-fit")) == titled
        assert len(parsed.find("div", class_="pair")) == (not titled)


def test_the_tour_shows_the_strips_of_its_chapters(
    strip: Strip, tmp_path: Path, parse_page: Callable[[Path], Any]
) -> None:
    chapter = Chapter(heading="Monets", text="Three of them.", strips=[strip, strip])
    write_tour(tmp_path / "index.html", [chapter], title="Tour", description="All.")
    parsed = parse_page(tmp_path / "index.html")
    assert len(parsed.find("div", class_="strip")) == 2
    assert [element.text for element in parsed.find("figcaption")][:2] == [
        "a & b: input",
        "a & b: <Monet>",
    ]
