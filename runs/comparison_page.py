"""A page that compares sets of pictures with the true ones: a table of measures, then pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dominate import tags

from giverny.data.comparison import Comparison
from giverny.runs.page import page, relative_url, write_page

__all__ = ["ComparisonRow", "measure_table", "write_comparison"]

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
class ComparisonRow:
    """Pictures of one subject, side by side.

    Attributes:
        name: what the subject is called.
        pictures: files by column heading, the same headings in every row.
    """

    name: str
    pictures: Mapping[str, Path]


def write_comparison(
    path: Path,
    comparisons: Mapping[str, Comparison],
    rows: Sequence[ComparisonRow],
    *,
    title: str,
    description: str,
    links: Mapping[str, Path],
) -> None:
    """Write the page.

    Args:
        path: the ``.html`` file; its folder must exist.
        comparisons: columns of the table, by heading.
        rows: pictures below the table.
        title: the heading.
        description: one sentence under it.
        links: further files, by what to call them.

    Raises:
        OSError: the folder cannot be written.
    """
    document = page(title, description=description)
    document.main.add(tags.div(cls="measures-frame")).add(_table(comparisons))
    for row in rows:
        figure = document.main.add(tags.section(cls="strip"))
        figure.add(tags.h2(row.name))
        strip = figure.add(tags.div(cls="strip-pictures"))
        for heading, file in row.pictures.items():
            cell = strip.add(tags.figure())
            cell.add(tags.img(src=relative_url(file, path.parent), alt=f"{row.name}: {heading}"))
            cell.add(tags.figcaption(heading))
    listed = document.main.add(tags.ul())
    for name, file in links.items():
        listed.add(tags.li(tags.a(name, href=relative_url(file, path.parent))))
    write_page(path, document)


def measure_table(comparisons: Mapping[str, Comparison]) -> str:
    """Return the table as text, for a terminal."""
    lines = [" " * 30 + "".join(f"{name:>17}" for name in comparisons) + "   better"]
    for field, (label, better) in _MEASURES.items():
        cells = "".join(f"{row.as_dict()[field]:17.3f}" for row in comparisons.values())
        lines.append(f"{label:<30}{cells}   {better}")
    return "\n".join(lines)


def _table(comparisons: Mapping[str, Comparison]) -> tags.html_tag:
    table = tags.table(cls="measures")
    head = table.add(tags.thead()).add(tags.tr())
    head.add(tags.th("\u2193 lower, \u2191 higher is better", scope="col"))
    for name in comparisons:
        head.add(tags.th(name, scope="col"))
    body = table.add(tags.tbody())
    for field, (label, better) in _MEASURES.items():
        line = body.add(tags.tr())
        arrow = {"lower": "\u2193", "higher": "\u2191"}[better]
        line.add(tags.th(f"{label} {arrow}", scope="row", title=f"{better} is better"))
        for comparison in comparisons.values():
            line.add(tags.td(f"{comparison.as_dict()[field]:.3g}"))
    return table
