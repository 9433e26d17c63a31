"""The page of a report, in a browser and as text."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.survey.analysis.findings import Findings

if TYPE_CHECKING:
    from tests.browser import Browser, Page


CONTRAST = """(() => {
  const channel = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = (rgb) => rgb.map(channel).reduce((sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const ground = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const color = parse(getComputedStyle(e).backgroundColor);
      if (color.length < 4 || color[3] > 0) return color.slice(0, 3);
    }
    return parse(getComputedStyle(document.documentElement).backgroundColor).slice(0, 3);
  };
  let worst = [99, ""];
  for (const element of document.body.querySelectorAll("*")) {
    if (![...element.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim())) continue;
    const [a, b] = [light(parse(getComputedStyle(element).color).slice(0, 3)), light(ground(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, element.outerHTML.slice(0, 90)];
  }
  return worst;
})()"""  # noqa: E501 - JavaScript


def test_the_page_shows_each_picture_with_its_percentages(
    report: tuple[Path, Findings], parse_page: Callable[[Path], "Page"]
) -> None:
    output, findings = report
    page = parse_page(output / "index.html")
    images = page.find("img")
    assert len(images) == 24
    for image, one in zip(images, findings.pictures, strict=True):
        assert one.token in image.attributes["src"]
        assert (output / image.attributes["src"]).is_file()
    shares = page.find("span", class_="shares")
    for element, one in zip(shares, findings.pictures, strict=True):
        assert one.real_share is not None
        text = element.text.replace("\N{NO-BREAK SPACE}", " ")
        assert f"REAL {100 * one.real_share:.0f} %" in text
        assert f"FAKE {100 - 100 * one.real_share:.0f} %" in text
    assert page.find("b") != []
    assert not any("<b>" in element.attributes.get("href", "") for element in page.elements)
    linked = [element.attributes["href"] for element in page.find("a")]
    assert all((output / href).is_file() for href in linked)


def test_the_page_is_readable_at_any_width_in_light_and_dark(
    report: tuple[Path, Findings], browser: "Browser"
) -> None:
    output, _ = report
    for width, height, dark in ((1280, 900, False), (390, 800, False), (320, 700, True)):
        browser.set_view(width, height, dark=dark)
        browser.open(output / "index.html")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate("document.images.length") == 24
        assert browser.becomes_true(
            "[...document.images].every((i) => { i.loading = 'eager'; return i.naturalWidth; })"
        )
        ratio, element = browser.evaluate(CONTRAST)
        assert ratio >= 4.5, element
        spilled = browser.evaluate(
            "[...document.querySelectorAll('.shares')].filter((e) => e.scrollWidth > e.clientWidth)"
            ".length"
        )
        assert spilled == 0
        assert browser.console() == []
    # Nothing is loaded but the pictures beside it.
    loaded = browser.evaluate("performance.getEntriesByType('resource').map((e) => e.name)")
    assert all(name.startswith((output / "pictures").as_uri()) for name in loaded)


def test_a_whisker_stands_where_its_interval_is(
    report: tuple[Path, Findings], browser: "Browser"
) -> None:
    output, findings = report
    browser.open(output / "index.html")
    places = browser.evaluate(
        """[...document.querySelectorAll('.row:has(.both)')].map((r) => {
          const of = (name) => r.querySelector(name).getBoundingClientRect();
          const [track, both, point] = [of('.track'), of('.both'), of('.point')];
          return [both.left, both.right, (point.left + point.right) / 2].map(
            (x) => (x - track.left) / track.width);
        })"""
    )
    for (low, high, value), group in zip(places, findings.groups, strict=False):
        interval = group.called_real.interval
        assert interval is not None
        assert (low, high) == pytest.approx((interval.low, interval.high), abs=0.003)
        assert value == pytest.approx(group.called_real.value, abs=0.003)
