"""The look of every page that Impasto writes: one HTML file that opens from disk, offline.

A page brings its style sheet and its script inside the file (``page.css`` and ``page.js`` beside
this module), refers to pictures by relative URLs and to nothing else, and works without
JavaScript. Build one with :func:`page`, add to ``document.main``, save it with :func:`write_page`.
"""

import os
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import quote

import dominate
from dominate import tags
from dominate.util import raw

from impasto.data.atomic import write_text_atomic
from impasto.options.errors import PictureError

__all__ = ["GENERATOR_TAG", "page", "relative_url", "write_page"]

# Near the top of every page; lets a later run recognize a file as ours before it removes it.
GENERATOR_TAG = '<meta content="Impasto" name="generator">'


def page(title: str, *, description: str = "", extra: str = "") -> dominate.document:
    """Start a page: head, style, script, heading and footer; the caller fills ``document.main``.

    Args:
        title: the heading, and the name of the browser tab.
        description: one plain sentence under the heading; left out when empty.
        extra: name of a further style sheet and script beside this module, such as ``report``
            for ``report.css`` and ``report.js``.

    Returns:
        The document. Add content with ``document.main.add(...)``: dominate escapes every string.
    """
    document = dominate.document(title, lang="en")
    assets = ("page", extra) if extra else ("page",)
    # First in the file: browsers look for the encoding in its first 1024 bytes.
    document.head.children[:0] = [
        tags.meta(charset="utf-8"),
        tags.meta(name="generator", content="Impasto"),
    ]
    document.head.add(
        tags.meta(name="viewport", content="width=device-width, initial-scale=1"),
        tags.meta(name="color-scheme", content="light dark"),
        # An empty icon: the browser would ask a server for /favicon.ico otherwise.
        tags.link(rel="icon", href="data:,"),
        tags.style(raw("\n".join(_asset(f"{name}.css") for name in assets))),
        # In the head, so that the page is laid out once: the script only listens on the document.
        tags.script(raw("\n".join(_asset(f"{name}.js") for name in assets))),
    )
    heading = document.header.add(tags.header(tags.h1(title, dir="auto"), cls="page-header"))
    if description:
        document.head.add(tags.meta(name="description", content=description))
        heading.add(tags.p(description, cls="lead", dir="auto"))
    # dominate's own ``main`` is a list without an element; a page has one <main> landmark.
    document.main = document.main.add(tags.main())
    document.footer.add(tags.footer(tags.p("Made with Impasto"), cls="page-footer"))
    return document


def write_page(path: Path, document: dominate.document) -> None:
    """Write ``document`` to ``path`` atomically, as UTF-8.

    A file name that is not valid text (possible on Linux) is shown with question marks; its
    URL still names the file.

    Args:
        path: the ``.html`` file. Its folder must exist.
        document: what :func:`page` returned.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    text: str = document.render(indent=" ")
    write_text_atomic(path, text.encode("utf-8", "replace").decode("utf-8") + "\n")


def relative_url(target: Path, folder: Path) -> str:
    """Give the percent-encoded URL of a file as seen from a page in ``folder``.

    Args:
        target: the file. It should lie in ``folder`` or below, so that the folder can be copied
            elsewhere with the page still whole.
        folder: the folder of the page.

    Returns:
        A relative URL with forward slashes, such as ``page/100%25%20%23sure.jpg``.

    Raises:
        PictureError: the file lies on another drive, where no relative URL leads (Windows).
    """
    try:
        relative = os.path.relpath(target, folder)
    except ValueError as error:
        reason = f"lies on another drive than the page in {folder}; copy it into that folder"
        raise PictureError(target, reason) from error
    # The file system's own bytes: they need not be valid UTF-8.
    return quote(os.fsencode(Path(relative).as_posix()))


@cache
def _asset(name: str) -> str:
    """Read a file that is shipped beside this module."""
    return files("impasto.runs.pages").joinpath(name).read_text(encoding="utf-8")
