"""Galleries: pairs of pictures, before and after, with a slider; and strips, side by side.

The page works from disk, on a phone and with the keyboard. Without JavaScript the two pictures of a
pair stand side by side. A long gallery is cut into pages of 100 pairs, so that each opens at once.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from dominate import tags

from impasto.options.errors import OptionError
from impasto.runs.pages.page import GENERATOR_TAG, page, relative_url, write_page

__all__ = [
    "PAIRS_PER_PAGE",
    "BeforeAfter",
    "Strip",
    "draw_pairs",
    "draw_strip",
    "is_generated",
    "write_gallery",
]


PAIRS_PER_PAGE = 100
"""Number of pairs on each page of a gallery."""

_NO_FAILURES: Mapping[str, str] = MappingProxyType({})

# The cards of a gallery share one shape, the usual one of its pictures, kept within these bounds.
_NARROWEST_CARD, _WIDEST_CARD = 2 / 3, 2.0
# A picture longer than this is stretched in its card: 3 x 5000 would be a line that nobody sees.
_LONGEST_RATIO = 8.0


@dataclass(frozen=True, kw_only=True)
class BeforeAfter:
    """One pair of a gallery: two picture files that lie on disk.

    The files should lie in the folder of the page or below, so that the folder can be copied
    elsewhere. Where the originals do not, or a browser cannot show them (TIFF), give small JPEG
    copies and name the full files in ``before_full`` and ``after_full``.

    Attributes:
        title: title of the card, usually the file name.
        before: the picture shown on the left of the slider.
        after: the picture shown on the right, of the same proportions.
        size: width and height of the full picture in pixels, for the caption and to lay the page
            out before the pictures are loaded; None if unknown.
        before_full: the file that the link opens; None for ``before`` itself.
        after_full: the file that the link opens; None for ``after`` itself.

    Raises:
        OptionError: a width or height below 1.
    """

    title: str
    before: Path
    after: Path
    size: tuple[int, int] | None
    before_full: Path | None = None
    after_full: Path | None = None

    def __post_init__(self) -> None:
        if self.size is not None and min(self.size) < 1:
            message = f"{self.title!r} has {self.size}; expected a width and height of 1 or more"
            raise OptionError("size", message)


def write_gallery(
    path: Path,
    pairs: Sequence[BeforeAfter],
    *,
    title: str,
    summary: Mapping[str, str],
    failures: Mapping[str, str] = _NO_FAILURES,
) -> None:
    """Write a gallery: ``path`` and, beyond 100 pairs, ``index-2.html``, ``index-3.html``, ...

    Every page is written atomically, the first one last: it never links to a page that is not
    there. Further pages of an earlier, longer gallery are then removed; other files are not.

    Args:
        path: the first page, such as ``DIR/index.html``. Its folder must exist.
        pairs: the pictures, in the order of the cards.
        title: the heading.
        summary: facts about the run for the head of the first page, such as model, direction,
            number of pictures, and date.
        failures: name and reason of each file that failed; listed on the last page, and
            announced on the first.

    Raises:
        PictureError: a picture lies on another drive than the page.
        OSError: the folder cannot be written or the disk is full.
    """
    count = max(1, -(-len(pairs) // PAIRS_PER_PAGE))
    shape = _card_shape(pairs)
    for number in range(count, 0, -1):
        start = (number - 1) * PAIRS_PER_PAGE
        pages = _Pages(first=path, number=number, count=count)
        heading = title if number == 1 else f"{title}, page {number} of {count}"
        document = page(heading)
        if number == 1:
            _add_summary(document.main, summary)
            _announce_failures(document.main, failures, pages)
        _add_pictures(document.main, pairs, start, pages, shape)
        if number == count:
            _add_failures(document.main, failures)
        write_page(pages.path(number), document)
    _remove_stale_pages(path, count)


@dataclass(frozen=True, kw_only=True)
class _Pages:
    """Where a page stands in its gallery."""

    first: Path
    number: int
    count: int

    def path(self, number: int) -> Path:
        if number == 1:
            return self.first
        return self.first.with_name(f"{self.first.stem}-{number}{self.first.suffix}")

    def url(self, number: int) -> str:
        return relative_url(self.path(number), self.first.parent)


def _card_shape(pairs: Sequence[BeforeAfter]) -> float:
    """Give the width of a card's picture area divided by its height."""
    ratios = [pair.size[0] / pair.size[1] for pair in pairs if pair.size]
    usual = statistics.median(ratios) if ratios else 4 / 3
    return min(max(usual, _NARROWEST_CARD), _WIDEST_CARD)


def _add_summary(parent: tags.html_tag, summary: Mapping[str, str]) -> None:
    if summary:
        facts = [
            tags.div(tags.dt(name), tags.dd(value, dir="auto")) for name, value in summary.items()
        ]
        parent.add(tags.dl(facts, cls="facts"))


def _announce_failures(parent: tags.html_tag, failures: Mapping[str, str], pages: _Pages) -> None:
    if failures:
        text = f"{_counted(len(failures), 'file')} failed: see the list"
        url = "#failed" if pages.count == 1 else f"{pages.url(pages.count)}#failed"
        parent.add(tags.p(tags.a(text, href=url), cls="notice"))


def _add_pictures(
    parent: tags.html_tag,
    pairs: Sequence[BeforeAfter],
    start: int,
    pages: _Pages,
    shape: float,
) -> None:
    """Add the cards of one page, with the links to the other pages above and below."""
    shown = pairs[start : start + PAIRS_PER_PAGE]
    heading = _counted(len(pairs), "picture")
    if pages.count > 1:
        heading = f"Pictures {start + 1:,} to {start + len(shown):,} of {len(pairs):,}"
    section = parent.add(tags.section(cls="pictures", style=f"--card: {shape:.4f}"))
    head = section.add(tags.div(tags.h2(heading), cls="section-head"))
    if not shown:
        section.add(tags.p("No picture was written.", cls="hint"))
        return
    keys = tags.span(" With the keyboard, use the arrow keys.", cls="needs-keys")
    head.add(tags.p("Drag the handle to compare.", keys, cls="hint needs-js"))
    _add_page_links(section, pages, "Pages, above the pictures")
    folder = pages.first.parent
    section.add(tags.ul([_card(pair, folder, shape) for pair in shown], cls="cards", role="list"))
    _add_page_links(section, pages, "Pages")


def draw_pairs(pairs: Sequence[BeforeAfter], folder: Path) -> tags.html_tag:
    """Draw pairs, each with a slider, for a page that shows other things, too.

    Args:
        pairs: the pictures, in the order of the cards.
        folder: folder that holds the page.

    Raises:
        PictureError: a picture lies on another drive than the page (Windows).
    """
    shape = _card_shape(pairs)
    cards = [_card(pair, folder, shape) for pair in pairs]
    return tags.ul(cards, cls="cards", role="list", style=f"--card: {shape:.4f}")


def _card(pair: BeforeAfter, folder: Path, shape: float) -> tags.html_tag:
    ratio = pair.size[0] / pair.size[1] if pair.size else shape
    bounded = min(max(ratio, 1 / _LONGEST_RATIO), _LONGEST_RATIO)
    facts = []
    if pair.size:
        facts.append(f"{pair.size[0]} \N{MULTIPLICATION SIGN} {pair.size[1]}")
    if bounded != ratio:
        facts.append("shown stretched")
    stage = tags.div(_frame(pair, folder), cls="stage", style=f"--ratio: {bounded:.4f}")
    return tags.li(tags.figure(stage, _caption(pair, folder, ", ".join(facts))), cls="card")


def _frame(pair: BeforeAfter, folder: Path) -> tags.html_tag:
    """Build the two pictures and the slider that divides them."""
    return tags.div(
        _side("Before", pair.before, pair, folder),
        _side("After", pair.after, pair, folder),
        # Text, not numbers: dominate leaves out an attribute that equals False, so also 0.
        tags.input_(
            type="range",
            min="0",
            max="100",
            value="50",
            step="any",
            # Firefox would otherwise bring back the old value, without an event, on reload.
            autocomplete="off",
            aria_label=f"Compare {pair.title}",
            aria_valuetext="50% before",
        ),
        tags.span(cls="handle", aria_hidden="true"),
        cls="frame" if pair.size else "frame unsized",
    )


def _side(label: str, picture: Path, pair: BeforeAfter, folder: Path) -> tags.html_tag:
    image = tags.img(
        src=relative_url(picture, folder),
        alt=f"{pair.title}, {label.lower()}",
        loading="lazy",
        decoding="async",
    )
    if pair.size:
        image.set_attribute("width", pair.size[0])
        image.set_attribute("height", pair.size[1])
    tag = tags.span(label, cls="tag", aria_hidden="true")
    return tags.div(image, tag, cls=f"side {label.lower()}")


def _caption(pair: BeforeAfter, folder: Path, facts: str) -> tags.html_tag:
    before = relative_url(pair.before_full or pair.before, folder)
    after = relative_url(pair.after_full or pair.after, folder)
    actions = [
        tags.a("Open before", href=before, aria_label=f"Open before: {pair.title}"),
        tags.a("Open after", href=after, aria_label=f"Open after: {pair.title}"),
        tags.button(
            "Enlarge",
            type="button",
            cls="enlarge needs-js",
            aria_label=f"Enlarge: {pair.title}",
        ),
    ]
    return tags.figcaption(
        tags.span(pair.title, cls="name", dir="auto"),
        tags.span(facts, cls="size"),
        tags.span(actions, cls="actions"),
    )


def _add_page_links(parent: tags.html_tag, pages: _Pages, label: str) -> None:
    """Add previous, numbers and next: the first, the last, and the neighbors of this page."""
    if pages.count == 1:
        return
    near = {1, pages.number - 1, pages.number, pages.number + 1, pages.count}
    numbers = sorted(near & set(range(1, pages.count + 1)))
    links = tags.ul(role="list")
    if pages.number > 1:
        links.add(tags.li(tags.a("Previous", href=pages.url(pages.number - 1), rel="prev")))
    for last, number in zip([0, *numbers], numbers, strict=False):
        if number > last + 1:
            links.add(tags.li("\N{HORIZONTAL ELLIPSIS}", cls="gap"))
        links.add(tags.li(_page_link(pages, number)))
    if pages.number < pages.count:
        links.add(tags.li(tags.a("Next", href=pages.url(pages.number + 1), rel="next")))
    parent.add(tags.nav(links, cls="pages", aria_label=label))


def _page_link(pages: _Pages, number: int) -> tags.html_tag:
    link = tags.a(str(number), href=pages.url(number), aria_label=f"Page {number}")
    if number == pages.number:
        link.set_attribute("aria-current", "page")
    return link


def _add_failures(parent: tags.html_tag, failures: Mapping[str, str]) -> None:
    if not failures:
        return
    rows = [
        tags.tr(tags.th(name, scope="row", dir="auto"), tags.td(reason, dir="auto"))
        for name, reason in failures.items()
    ]
    head = tags.thead(tags.tr(tags.th("File", scope="col"), tags.th("Reason", scope="col")))
    parent.add(
        tags.section(
            tags.h2(f"{_counted(len(failures), 'file')} failed"),
            tags.table(head, tags.tbody(rows), cls="failures"),
            id="failed",
        )
    )


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def _remove_stale_pages(first: Path, count: int) -> None:
    """Remove the further pages of an earlier gallery, and nothing that Impasto did not write."""
    name = re.compile(rf"{re.escape(first.stem)}-([1-9][0-9]*){re.escape(first.suffix)}")
    for path in first.parent.iterdir():
        match = name.fullmatch(path.name)
        if match and int(match[1]) > count and path.is_file() and is_generated(path):
            path.unlink()


def is_generated(path: Path) -> bool:
    """Return whether Impasto wrote a page.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return GENERATOR_TAG.encode() in file.read(1024)


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Pictures of one subject, side by side.

    Attributes:
        name: name of the subject.
        pictures: picture files by heading.
    """

    name: str
    pictures: Mapping[str, Path]


def draw_strip(strip: Strip, folder: Path, *, titled: bool = False) -> tags.html_tag:
    """Draw a strip.

    Args:
        strip: strip to draw.
        folder: folder that holds the page.
        titled: whether to put the name above and as many pictures in a row as fit; otherwise three
            in a row, or a pair as large as the page allows, with the name in each caption.

    Raises:
        PictureError: a picture lies on another drive than the page (Windows).
    """
    if titled:
        around = tags.section(tags.h2(strip.name, dir="auto"), cls="strip")
    else:
        around = tags.div(cls="strip")
    columns = " as-many-as-fit" if titled else " pair" if len(strip.pictures) == 2 else ""
    row = around.add(tags.div(cls=f"strip-pictures{columns}"))
    for heading, file in strip.pictures.items():
        text = f"{strip.name}: {heading}"
        image = tags.img(src=relative_url(file, folder), alt=text, loading="lazy")
        row.add(tags.figure(image, tags.figcaption(heading if titled else text, dir="auto")))
    return around
