"""The gallery of pairs: cards, links, pages, failures, and the slider in a real browser.

Strips of pictures, as the pages of evaluations and of the tour draw them.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

import pytest
from PIL import Image

from impasto.cyclegan.jobs.tour import Chapter, write_tour
from impasto.options.errors import OptionError
from impasto.runs.pages import gallery
from impasto.runs.pages.gallery import BeforeAfter, Strip, draw_strip, write_gallery
from impasto.runs.pages.page import page, write_page

if TYPE_CHECKING:
    from tests.browser import Browser, Page


Parse = Callable[[Path], "Page"]

HARD_NAMES = [
    "a b.jpg",
    "100% #1?&x=1.jpg",
    "\"quoted\" 'name'.jpg",
    "<script>alert(1)<script>.jpg",
    "javascript:alert(1).jpg",
    "睡蓮 é.jpg",
    "line\nbreak.jpg",
    os.fsdecode(b"not utf-8 \xe9.jpg"),
]


def make_pair(folder: Path, name: str, size: tuple[int, int] = (24, 16)) -> BeforeAfter:
    """Write two small pictures, one of them in a folder below, and pair them."""
    before, after = folder / "page" / name, folder / name
    before.parent.mkdir(exist_ok=True)
    Image.new("RGB", size, "red").save(before)
    Image.new("RGB", size, "blue").save(after)
    return BeforeAfter(title=name, before=before, after=after, size=size)


def same_files(folder: Path, count: int) -> list[BeforeAfter]:
    pair = make_pair(folder, "one.png")
    return [
        BeforeAfter(title=f"{i}.png", before=pair.before, after=pair.after, size=pair.size)
        for i in range(1, count + 1)
    ]


def write(folder: Path, pairs: list[BeforeAfter], **failures: str) -> Path:
    path = folder / "index.html"
    summary = {"Model": "monet.safetensors", "Speed": "3 images/s"}
    write_gallery(path, pairs, title="Photos to Monet", summary=summary, failures=failures)
    return path


def resolve(folder: Path, url: str) -> bytes:
    return os.path.normpath(os.path.join(os.fsencode(folder), unquote_to_bytes(url)))  # noqa: PTH118 (bytes)


def test_card(tmp_path: Path, parse_page: Parse) -> None:
    parsed = parse_page(write(tmp_path, [make_pair(tmp_path, "a.jpg", (30, 20))]))
    assert len(parsed.find("li", class_="card")) == 1
    assert parsed.find("span", class_="name")[0].text == "a.jpg"
    assert parsed.find("span", class_="size")[0].text == "30 × 20"  # noqa: RUF001 (a times sign)
    assert [image.attributes for image in parsed.find("img")] == [
        {
            "src": url,
            "alt": f"a.jpg, {label}",
            "width": "30",
            "height": "20",
            "loading": "lazy",
            "decoding": "async",
        }
        for url, label in (("page/a.jpg", "before"), ("a.jpg", "after"))
    ]
    slider = parsed.find("input", type="range")[0].attributes
    assert (slider["min"], slider["max"], slider["value"]) == ("0", "100", "50")
    assert slider["aria-label"] == "Compare a.jpg"
    links = {link.text: link.attributes for link in parsed.find("a")}
    assert links["Open before"]["href"] == "page/a.jpg"
    assert links["Open after"] == {"href": "a.jpg", "aria-label": "Open after: a.jpg"}


def test_summary(tmp_path: Path, parse_page: Parse) -> None:
    parsed = parse_page(write(tmp_path, [make_pair(tmp_path, "a.jpg")]))
    assert [term.text for term in parsed.find("dt")] == ["Model", "Speed"]
    assert [value.text for value in parsed.find("dd")] == ["monet.safetensors", "3 images/s"]


@pytest.mark.parametrize("name", HARD_NAMES)
def test_hard_names_are_escaped_and_resolve(tmp_path: Path, name: str, parse_page: Parse) -> None:
    pair = make_pair(tmp_path, name)
    parsed = parse_page(write(tmp_path, [pair], **{name: name}))
    shown = name.encode("utf-8", "replace").decode()
    assert parsed.find("span", class_="name")[0].text == shown
    assert parsed.find("th", scope="row")[0].text == shown
    assert parsed.find("td")[0].text == shown
    assert len(parsed.find("script")) == 1
    urls = [image.attributes["src"] for image in parsed.find("img")]
    assert [resolve(tmp_path, url) for url in urls] == [
        os.fsencode(pair.before),
        os.fsencode(pair.after),
    ]


def test_full_files_are_what_the_links_open(tmp_path: Path, parse_page: Parse) -> None:
    small = make_pair(tmp_path, "a.jpg")
    pair = BeforeAfter(
        title="a.tif",
        before=small.before,
        after=small.after,
        size=(6000, 4000),
        before_full=tmp_path.parent / "photos" / "a.tif",
        after_full=tmp_path / "a.tif",
    )
    parsed = parse_page(write(tmp_path, [pair]))
    assert [image.attributes["src"] for image in parsed.find("img")] == ["page/a.jpg", "a.jpg"]
    assert [a.attributes["href"] for a in parsed.find("a")] == ["../photos/a.tif", "a.tif"]


def test_unknown_size(tmp_path: Path, parse_page: Parse) -> None:
    known = make_pair(tmp_path, "a.jpg")
    pair = BeforeAfter(title="a", before=known.before, after=known.after, size=None)
    parsed = parse_page(write(tmp_path, [pair]))
    assert parsed.find("div", class_="unsized")
    assert parsed.find("span", class_="size")[0].text == ""
    assert all("width" not in image.attributes for image in parsed.find("img"))


@pytest.mark.parametrize(("size", "ratio"), [((3, 5000), "0.1250"), ((5000, 3), "8.0000")])
def test_slivers_are_stretched_and_say_so(
    tmp_path: Path, size: tuple[int, int], ratio: str, parse_page: Parse
) -> None:
    parsed = parse_page(write(tmp_path, [make_pair(tmp_path, "a.png", size)]))
    assert parsed.find("div", class_="stage", style=f"--ratio: {ratio}")
    assert parsed.find("span", class_="size")[0].text.endswith("shown stretched")


def test_bad_size_is_refused() -> None:
    with pytest.raises(OptionError, match=r"'a' has \(0, 5\); expected"):
        BeforeAfter(title="a", before=Path("a"), after=Path("a"), size=(0, 5))


def test_cards_take_the_usual_shape(tmp_path: Path, parse_page: Parse) -> None:
    sizes = [(30, 20), (36, 24), (10, 90)]
    pairs = [make_pair(tmp_path, f"{i}.png", size) for i, size in enumerate(sizes)]
    assert parse_page(write(tmp_path, pairs)).find("section", style="--card: 1.5000")


def test_failures_are_listed_and_announced(tmp_path: Path, parse_page: Parse) -> None:
    path = write(tmp_path, [make_pair(tmp_path, "a.jpg")], bad="truncated", worse="not a picture")
    parsed = parse_page(path)
    assert [row.text for row in parsed.find("th", scope="row")] == ["bad", "worse"]
    assert [cell.text for cell in parsed.find("td")] == ["truncated", "not a picture"]
    assert parsed.find("a", href="#failed")[0].text == "2 files failed: see the list"
    assert parsed.find("section", id="failed")


def test_nothing_to_show(tmp_path: Path, parse_page: Parse) -> None:
    parsed = parse_page(write(tmp_path, []))
    assert [heading.text for heading in parsed.find("h2")] == ["0 pictures"]
    assert not parsed.find("img")
    assert not parsed.find("section", id="failed")
    assert not parsed.find("nav")


@pytest.fixture
def three_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "PAIRS_PER_PAGE", 3)


@pytest.mark.usefixtures("three_a_page")
def test_long_gallery_is_cut_into_linked_pages(tmp_path: Path, parse_page: Parse) -> None:
    first = write(tmp_path, same_files(tmp_path, 8), bad="truncated")
    names = ["index.html", "index-2.html", "index-3.html"]
    assert sorted(path.name for path in tmp_path.glob("*.html")) == sorted(names)
    pages = [parse_page(tmp_path / name) for name in names]
    titles = [[n.text for n in parsed.find("span", class_="name")] for parsed in pages]
    assert titles == [["1.png", "2.png", "3.png"], ["4.png", "5.png", "6.png"], ["7.png", "8.png"]]
    assert pages[1].find("h2")[0].text == "Pictures 4 to 6 of 8"
    assert pages[1].find("h1")[0].text == "Photos to Monet, page 2 of 3"
    for number, parsed in enumerate(pages):
        previous = {link.attributes["href"] for link in parsed.find("a", rel="prev")}
        following = {link.attributes["href"] for link in parsed.find("a", rel="next")}
        assert previous == set(names[number - 1 : number] if number else [])
        assert following == set(names[number + 1 : number + 2])
        here = parsed.find("a", aria_current="page")
        assert {link.attributes["href"] for link in here} == {names[number]}
    assert [bool(parsed.find("dl")) for parsed in pages] == [True, False, False]
    assert [bool(parsed.find("table")) for parsed in pages] == [False, False, True]
    assert pages[0].find("a", href="index-3.html#failed")
    assert first.name == "index.html"


@pytest.mark.usefixtures("three_a_page")
def test_page_numbers_are_shortened(tmp_path: Path, parse_page: Parse) -> None:
    write(tmp_path, same_files(tmp_path, 30))
    below = parse_page(tmp_path / "index-5.html").find("nav", aria_label="Pages")[0]
    assert below.text.split() == ["Previous", "1", "…", "4", "5", "6", "…", "10", "Next"]


@pytest.mark.usefixtures("three_a_page")
def test_stale_pages_are_removed_and_nothing_else(tmp_path: Path) -> None:
    write(tmp_path, same_files(tmp_path, 12))
    others = ["index-9.html", "index-02.html", "other-4.html", "index-4.htm", "index-4.html.bak"]
    for name in others:
        (tmp_path / name).write_text("<p>somebody else's</p>", encoding="utf-8")
    (tmp_path / "index-8.html").mkdir()
    write(tmp_path, same_files(tmp_path, 4))
    left = sorted(path.name for path in tmp_path.iterdir() if path.name not in others)
    assert left == ["index-2.html", "index-8.html", "index.html", "one.png", "page"]
    assert all((tmp_path / name).exists() for name in others)


@pytest.mark.usefixtures("three_a_page")
def test_first_page_is_written_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, same_files(tmp_path, 2))
    old = (tmp_path / "index.html").read_bytes()

    def killed(path: Path, document: object) -> None:
        if path.name == "index.html":
            raise KeyboardInterrupt
        write_page(path, document)

    monkeypatch.setattr("impasto.runs.pages.gallery.write_page", killed)
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path, same_files(tmp_path, 9))
    assert (tmp_path / "index.html").read_bytes() == old
    assert (tmp_path / "index-2.html").exists()


# In a real browser. WebDriver's codes of keys (W3C WebDriver, section 17.4.2).

ARROW_RIGHT, HOME, ESCAPE = "\ue014", "\ue011", "\ue00c"

CLIPS = """
    [...document.querySelectorAll('.card:first-child .frame img')]
        .map((image) => getComputedStyle(image).clipPath)
"""
LOAD = """
    Promise.all([...document.images].map(async (image) => {
        image.loading = 'eager';
        await image.decode();
        return image.naturalWidth;
    }))
"""


@pytest.fixture
def hard_gallery(tmp_path: Path) -> Path:
    """Awkward names and shapes in one gallery."""
    pairs = [make_pair(tmp_path, name) for name in HARD_NAMES]
    shapes = {"tall.png": (3, 5000), "wide.png": (5000, 3), "portrait.png": (40, 60)}
    pairs += [make_pair(tmp_path, name, size) for name, size in shapes.items()]
    return write(tmp_path, pairs, **{"x" * 200: "no space in this name"})


def test_browser_loads_every_picture(hard_gallery: Path, browser: "Browser") -> None:
    browser.open(hard_gallery)
    widths = browser.evaluate(LOAD)
    assert widths[-6:] == [3, 3, 5000, 5000, 40, 40]
    assert all(width > 0 for width in widths)
    urls = browser.evaluate(
        "[...document.querySelectorAll('[src], [href]')].map((e) => e.src || e.href)"
    )
    assert len(urls) > len(widths)
    assert all(url.startswith(("file:", "data:")) for url in urls)
    assert browser.console() == []


@pytest.mark.parametrize("scripts", [True, False])
def test_browser_needs_no_sideways_scroll(
    hard_gallery: Path, browser: "Browser", *, scripts: bool
) -> None:
    browser.set_scripts(enabled=scripts)
    browser.set_view(360, 800, touch=True)
    browser.open(hard_gallery)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360


def test_browser_lays_both_pictures_in_one_box(hard_gallery: Path, browser: "Browser") -> None:
    browser.open(hard_gallery)
    boxes = browser.evaluate("""
        [...document.querySelectorAll('.frame')].map((frame) => {
            const [a, b] = [...frame.querySelectorAll('img')]
                .map((image) => image.getBoundingClientRect());
            const stage = frame.parentElement.getBoundingClientRect();
            return [a.left - b.left, a.top - b.top, a.right - b.right, a.bottom - b.bottom,
                    stage.right + 1 > a.right, a.width >= 20 && a.height >= 20];
        })
    """)
    assert boxes == [[0, 0, 0, 0, True, True]] * len(boxes)


LABELS = """
    [...document.querySelectorAll('.stage')].flatMap((stage) => {
        const boxOf = (element) => element.getBoundingClientRect();
        const holds = (a, b) => a.left <= b.left + .5 && a.right >= b.right - .5
                                && a.top <= b.top + .5 && a.bottom >= b.bottom - .5;
        const meet = (a, b) => a.left < b.right && a.right > b.left
                               && a.top < b.bottom && a.bottom > b.top;
        const [before, after] = [...stage.querySelectorAll('.tag')].map(boxOf);
        const images = [...stage.querySelectorAll('img')].map(boxOf);
        return [before, after].map((tag, place) =>
            holds(boxOf(stage), tag) && !meet(before, after) && tag.height < 30
            && images.every((image) => holds(image, tag) || !meet(image, tag)));
    })
"""


@pytest.mark.parametrize("width", [320, 360, 700, 1280])
@pytest.mark.parametrize("scripts", [True, False])
def test_browser_no_label_lies_across_the_edge_of_a_picture(
    tmp_path: Path, browser: "Browser", *, scripts: bool, width: int
) -> None:
    """Or leaves its card, or covers the other: pictures of all shapes in cards of one shape."""
    sizes = [(3, 5000), (50, 200), (60, 150), (80, 120), (100, 99), (130, 100), (150, 100)]
    sizes += [(160, 100), (170, 100), (300, 100), (5000, 3)]
    pairs = [make_pair(tmp_path, f"{number}.png", size) for number, size in enumerate(sizes)]
    browser.set_scripts(enabled=scripts)
    browser.set_view(width, 900, touch=width < 500)
    browser.open(write(tmp_path, pairs))
    browser.evaluate(LOAD)
    assert browser.evaluate(LABELS) == [True] * 2 * len(sizes)


def test_browser_keyboard_moves_the_divide(hard_gallery: Path, browser: "Browser") -> None:
    browser.open(hard_gallery)
    slider = browser.driver.find_element("css selector", ".frame input")
    assert browser.evaluate(CLIPS) == ["inset(0px 50% 0px 0px)", "inset(0px 0px 0px 50%)"]
    slider.send_keys(ARROW_RIGHT)
    assert browser.evaluate(CLIPS) == ["inset(0px 49% 0px 0px)", "inset(0px 0px 0px 51%)"]
    assert slider.get_attribute("aria-valuetext") == "51% before"
    slider.send_keys(HOME)
    assert browser.evaluate(CLIPS) == ["inset(0px 100% 0px 0px)", "inset(0px 0px 0px 0%)"]
    assert browser.console() == []


@pytest.mark.parametrize("part", [0.05, 0.95])
def test_browser_divide_follows_the_mouse(
    hard_gallery: Path, browser: "Browser", part: float
) -> None:
    """Also near the borders: the middle of the thumb, not its edge, is the divide."""
    browser.open(hard_gallery)
    frame = browser.driver.find_element("css selector", ".frame")
    way = round((part - 0.5) * frame.size["width"])
    rise = round(-0.4 * frame.size["height"])
    browser.drag(frame, (0, rise), (way, 5))
    split = float(
        browser.evaluate("document.querySelector('.frame').style.getPropertyValue('--split')")
    )
    assert split == pytest.approx(50 + 100 * way / frame.size["width"], abs=0.5)


def test_browser_finger_slides_the_handle_and_else_scrolls(
    hard_gallery: Path, browser: "Browser"
) -> None:
    browser.set_view(360, 800, touch=True)
    browser.open(hard_gallery)
    x, y, width = browser.evaluate("""
        (() => {
            const box = document.querySelector('.frame').getBoundingClientRect();
            return [box.left + box.width / 2, box.top + box.height / 2, box.width];
        })()
    """)
    split = "Number(document.querySelector('.frame').style.getPropertyValue('--split') || 50)"
    browser.swipe((x - 100, y), (x - 50, y))
    assert browser.evaluate(split) == 50
    browser.swipe((x, y), (x - 80, y))
    assert browser.evaluate(split) == pytest.approx(50 - 8000 / width, abs=2)


def test_browser_viewer(hard_gallery: Path, browser: "Browser") -> None:
    browser.open(hard_gallery)
    browser.driver.find_element("css selector", ".card:nth-child(2) .enlarge").click()
    name = browser.driver.find_element("css selector", "dialog .name")
    assert name.text == HARD_NAMES[1]
    browser.driver.find_element("xpath", "//dialog//button[text()='Next']").click()
    assert name.text == HARD_NAMES[2].strip()
    assert browser.evaluate("document.activeElement.matches('dialog .frame input')")
    browser.driver.switch_to.active_element.send_keys(ESCAPE)
    assert not browser.evaluate("document.querySelector('dialog').open")
    assert browser.becomes_true("document.activeElement.matches('.card:nth-child(3) .enlarge')")
    assert browser.console() == []


def test_browser_without_scripts_shows_both_side_by_side(
    hard_gallery: Path, browser: "Browser"
) -> None:
    browser.set_scripts(enabled=False)
    browser.open(hard_gallery)
    left, right = browser.evaluate("""
        [...document.querySelectorAll('.card:first-child .frame img')].map((image) => {
            const box = image.getBoundingClientRect();
            return [box.left, box.right, getComputedStyle(image).clipPath];
        })
    """)
    assert left[1] <= right[0]
    assert left[2] == right[2] == "none"
    assert (
        browser.evaluate("getComputedStyle(document.querySelector('.frame input')).display")
        == "none"
    )


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
