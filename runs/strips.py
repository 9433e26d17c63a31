"""Strips on pages: pictures of one subject, side by side."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dominate import tags

from impasto.runs.page import relative_url

__all__ = ["Strip", "draw_strip"]


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Pictures of one subject, side by side.

    Attributes:
        name: what the subject is called.
        pictures: files by heading.
    """

    name: str
    pictures: Mapping[str, Path]


def draw_strip(strip: Strip, folder: Path, *, titled: bool = False) -> tags.html_tag:
    """Draw a strip.

    Args:
        strip: what is drawn.
        folder: of the page.
        titled: with its name above and as many pictures in a row as fit; otherwise three in a row,
            or a pair as large as the page allows, with the name in each caption.

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
