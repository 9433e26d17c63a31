"""How tests call `impasto translate`, and look at its page."""

from pathlib import Path
from urllib.parse import unquote

from impasto.scripts.main import main
from tests.browser import parse_page


def translate(*words: object) -> int:
    try:
        return main(["translate", *map(str, words)])
    except SystemExit as ended:
        return int(str(ended.code))


def shown(out: Path) -> list[str]:
    """The pictures on a page, all of which are there."""
    images = parse_page(out / "index.html").find("img")
    sources = [unquote(image.attributes["src"]) for image in images]
    assert all((out / source).is_file() for source in sources)
    return sources
