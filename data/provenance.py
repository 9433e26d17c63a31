"""What the translations in a folder were made of: the notes that `impasto translate` leaves there.

The notes lie beside the small copies for the page, one JSON object on each line. Whoever looks for
pictures reads them, so that results that lie among their photographs are not taken for photographs.
"""

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

__all__ = [
    "NOTES",
    "PREVIEWS_MARK",
    "FileNote",
    "Made",
    "hash_file",
    "holds_notes",
    "made_below",
    "read_notes",
]

NOTES = "made_with.jsonl"
"""Name of the file of notes, in the folder of the small copies."""

PREVIEWS_MARK = ".previews"
"""A folder with a file of this name holds small copies for a page, and nothing to work on."""

_BEFORE_NOTES = "made_with.json"  # where earlier versions noted settings only


@dataclass(frozen=True, kw_only=True)
class FileNote:
    """A file as it was.

    Attributes:
        path: absolute path.
        bytes: size in bytes.
        mtime_ns: time of its last change, in nanoseconds since 1970.
        sha256: SHA-256 of its content, in hexadecimal digits.
    """

    path: str
    bytes: int
    mtime_ns: int
    sha256: str

    def is_still(self, path: Path) -> bool:
        """Whether a file has the content that was noted; without reading it where nothing moved."""
        try:
            status = path.stat()
            if status.st_size != self.bytes:
                return False
            if status.st_mtime_ns == self.mtime_ns and str(path.absolute()) == self.path:
                return True
            return hash_file(path) == self.sha256
        except OSError:
            return False


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a file's content, 64 hexadecimal digits.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@dataclass(frozen=True, kw_only=True)
class Made:
    """What one result was made of, and with.

    Attributes:
        source: picture that was translated.
        result: result as it was written.
        settings: settings in words, by the names of the options.
        identity: what decides how the result looks; equal ones make equal results.
        begun: whether it may not have taken its place yet, when this was noted.
    """

    source: FileNote
    result: FileNote
    settings: Mapping[str, str]
    identity: str
    begun: bool = False


def holds_notes(previews: Path) -> bool:
    """Whether a folder holds the small copies and notes of translations."""
    noted = (previews / NOTES).is_file() or (previews / _BEFORE_NOTES).is_file()
    return noted and (previews / PREVIEWS_MARK).exists()


def made_below(root: Path, previews: Iterable[Path]) -> set[Path]:
    """Return the results that were made of pictures in a folder or below it.

    It does not matter whether the whole folder was moved since.

    Args:
        root: folder of pictures.
        previews: folders of small copies; each lies in a folder of results.

    Returns:
        Paths of the results, which begin as the folders that were given do.
    """
    noted = [folder for folder in previews if holds_notes(folder)]
    if not noted:
        return set()  # so that other folders cost no look-up
    root = root.resolve()
    place: Callable[[Path], Path] = cache(Path.resolve)
    return {
        folder.parent / name
        for folder in noted
        for name, made in read_notes(folder / NOTES, folder.parent).items()
        if place(Path(made.source.path).parent).is_relative_to(root)
        or _moved_with(name, made, folder.parent, root, place)
    }


def _moved_with(
    name: str, made: Made, results: Path, root: Path, place: Callable[[Path], Path]
) -> bool:
    """Whether the picture lies, seen from its result, where it lay then, and below ``root``."""
    try:
        before = Path(made.result.path).parents[name.count("/")]
        way = os.path.relpath(made.source.path, before)
        source = Path(os.path.normpath(place(results) / way))
        return source.is_relative_to(root) and source.stat().st_size == made.source.bytes
    except (IndexError, OSError, ValueError):  # damaged notes; it is gone; drives of Windows
        return False


def read_notes(notes: Path, output: Path) -> dict[str, Made]:
    """Return what is noted of the results that are there.

    A result that was announced, and not confirmed, was written if it has that content now;
    otherwise what was there before still is, or what somebody has made of it since.
    """
    noted: dict[str, list[Made]] = {}
    for name, made in _notes_in(notes):
        earlier = noted.get(name, []) if made.begun else []
        noted[name] = [*earlier, made]
    known: dict[str, Made] = {}
    for name, some in noted.items():
        target = output / name
        there = (one for one in reversed(some) if not one.begun or one.result.is_still(target))
        if target.is_file() and (made_last := next(there, None)):
            known[name] = replace(made_last, begun=False)
    return known


def _notes_in(file: Path) -> Iterator[tuple[str, Made]]:
    """Yield each note with the name of its result; damaged or cut lines count as nothing."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            facts = json.loads(line)
            name = facts.pop("name")
            source, result = (FileNote(**facts.pop(key)) for key in ("source", "result"))
            yield name, Made(source=source, result=result, **facts)
        except (AttributeError, KeyError, TypeError, ValueError):
            continue
