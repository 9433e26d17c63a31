"""The page of `impasto demo`: a chapter for each thing that it did, with pictures and numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dominate import tags

from impasto.data.metrics.paired import Comparison
from impasto.runs.pages.gallery import Strip, draw_strip
from impasto.runs.pages.page import page, relative_url, write_page

__all__ = ["Chapter", "measure_table", "write_tour"]

# Field of Comparison -> how to call it, and which way is better.
_MEASURES = {
    "mean_absolute_error": ("mean absolute error (0-255)", "lower"),
    "color_distance": ("colour distance (CIEDE2000)", "lower"),
    "palette_distance": ("palette distance (Lab)", "lower"),
    "psnr": ("PSNR of luminance (dB)", "higher"),
    "ssim": ("SSIM of luminance", "higher"),
    "edge_correlation": ("edge correlation", "higher"),
}


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One thing that was done.

    Attributes:
        heading: its name.
        text: what it is, in a sentence or two.
        strips: pictures.
        comparisons: columns of a table of measures, by heading.
        links: files to open, by what to call them.
    """

    heading: str
    text: str
    strips: Sequence[Strip] = ()
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)


def write_tour(path: Path, chapters: Sequence[Chapter], *, title: str, description: str) -> None:
    """Write the page.

    Args:
        path: the ``.html`` file; its folder must exist.
        chapters: in their order.
        title: the heading.
        description: one sentence under it.

    Raises:
        OSError: the folder cannot be written.
    """
    document = page(title, description=description)
    for chapter in chapters:
        section = document.main.add(tags.section(cls="chapter"))
        section.add(tags.h2(chapter.heading))
        section.add(tags.p(chapter.text))
        if chapter.links:
            links = section.add(tags.p(cls="chapter-links"))
            for name, file in chapter.links.items():
                links.add(tags.a(name, href=relative_url(file, path.parent)))
        if chapter.comparisons:
            section.add(tags.div(cls="measures-frame")).add(_table(chapter.comparisons))
        for strip in chapter.strips:
            section.add(draw_strip(strip, path.parent))
    write_page(path, document)


def measure_table(comparisons: Mapping[str, Comparison]) -> str:
    """Return the table as text, for a terminal."""
    lines = [" " * 30 + "".join(f"{name:>17}" for name in comparisons) + "   better"]
    for measure, (label, better) in _MEASURES.items():
        cells = "".join(f"{row.as_dict()[measure]:17.3f}" for row in comparisons.values())
        lines.append(f"{label:<30}{cells}   {better}")
    return "\n".join(lines)


def _table(comparisons: Mapping[str, Comparison]) -> tags.html_tag:
    table = tags.table(cls="measures")
    head = table.add(tags.thead()).add(tags.tr())
    head.add(tags.th("\u2193 lower, \u2191 higher is better", scope="col"))
    for name in comparisons:
        head.add(tags.th(name, scope="col"))
    body = table.add(tags.tbody())
    for measure, (label, better) in _MEASURES.items():
        line = body.add(tags.tr())
        arrow = {"lower": "\u2193", "higher": "\u2191"}[better]
        line.add(tags.th(f"{label} {arrow}", scope="row", title=f"{better} is better"))
        for comparison in comparisons.values():
            line.add(tags.td(f"{comparison.as_dict()[measure]:.3g}"))
    return table
