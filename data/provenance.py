"""What the results in a folder were made of: the notes that commands leave beside them.

Those of `impasto translate` lie beside the small copies for its page, one JSON object on each line;
`impasto stylize` writes a recipe beside each picture. Whoever looks for pictures reads them, so
that results that lie among their photographs are not taken for photographs.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

__all__ = [
    "FACTS_MARK",
    "NOTES",
    "PREVIEWS_MARK",
    "RECIPE_MARK",
    "FileNote",
    "Made",
    "hash_file",
    "holds_notes",
    "made_below",
    "read_notes",
    "sheets_of_sweeps",
    "stylized_below",
]

FACTS_MARK = "#| "
"""Before each line of a recipe's facts: no comment that a user adds looks like it."""


NOTES = "made_with.jsonl"
"""Name of the file of notes, in the folder of the small copies."""

PREVIEWS_MARK = ".previews"
"""A folder with a file of this name holds small copies for a page, and nothing to work on."""

RECIPE_MARK = "# How this picture was made."
"""Beginning of a recipe that `impasto stylize` writes beside a picture."""

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
    except IndexError:  # damaged notes
        return False
    source = _as_seen_from(place(results), before, Path(made.source.path))
    return source is not None and source.is_relative_to(root) and _has(source, made.source.bytes)


def _as_seen_from(now: Path, before: Path, path: Path) -> Path | None:
    """Return what lies, seen from a folder, where a path lay when the folder was elsewhere."""
    try:
        return Path(os.path.normpath(now / os.path.relpath(path, before)))
    except ValueError:  # drives of Windows
        return None


def _has(path: Path, size_bytes: int | None) -> bool:
    """Whether a file of that size is there, or a folder where no size is known."""
    try:
        return path.is_dir() if size_bytes is None else path.stat().st_size == size_bytes
    except OSError:
        return False


def stylized_below(root: Path, recipes: Iterable[Path]) -> set[Path]:
    """Return what `impasto stylize` made of a content or style in a folder or below it.

    These are the pictures beside their recipes, unless another picture has taken their place, and
    the further results of the same runs. It does not matter whether the whole folder was moved
    since.

    Args:
        root: folder of pictures.
        recipes: files, which begin as ``root`` does; those that are no recipes are passed over.

    Returns:
        Paths of the results, which begin as the recipes and ``root`` do.
    """
    runs = {recipe: run for recipe in recipes if (run := _read_run(recipe)) is not None}
    if not runs:
        return set()  # so that other folders cost no look-up
    there = root.resolve()
    place: Callable[[Path], Path] = cache(Path.resolve)
    found: set[Path] = set()
    for recipe, run in runs.items():
        picture, folder = run.picture(recipe), place(recipe.parent)
        if picture is not None and run.is_of(there, folder, place):
            further = (path for path in run.further(folder, place) if there in path.parents)
            found |= {picture, *run.kept_in(recipe.parent)}
            found |= {root / path.relative_to(there) for path in further}
    return found


@dataclass(frozen=True, kw_only=True)
class _Run:
    """What a recipe says of the files of its run; all paths as they were then.

    Attributes:
        output: the picture.
        output_bytes: its size.
        sources: content and styles, each a file or a folder, with its size, None for a folder.
        others: files that were asked for beside the picture.
        keeps: whether intermediate pictures were kept.
    """

    output: Path
    output_bytes: int
    sources: Mapping[Path, int | None]
    others: tuple[Path, ...]
    keeps: bool

    def picture(self, recipe: Path) -> Path | None:
        """Return the picture beside a recipe, also where both were renamed; None for another."""
        places = (recipe.with_name(name) for name in (recipe.stem, self.output.name))
        return next((path for path in places if _has(path, self.output_bytes)), None)

    def is_of(self, root: Path, now: Path, place: Callable[[Path], Path]) -> bool:
        """Whether a source lies in ``root`` or below, now or when seen from the picture."""
        for source, size in self.sources.items():
            moved = _as_seen_from(now, self.output.parent, source)
            if place(source.parent).is_relative_to(root) or place(source) == root:
                return True
            if moved is not None and moved.is_relative_to(root) and _has(moved, size):
                return True
        return False

    def kept_in(self, folder: Path) -> set[Path]:
        """Return the intermediate pictures, which lie beside the picture."""
        if not self.keeps:
            return set()
        kept = re.compile(rf"{re.escape(self.output.stem)}_[0-9]{{4,}}\.png")
        return {path for path in folder.iterdir() if kept.fullmatch(path.name)}

    def further(self, now: Path, place: Callable[[Path], Path]) -> set[Path]:
        """Return where the other files are, with their folders resolved."""
        seen = (_as_seen_from(now, self.output.parent, path) for path in self.others)
        paths = {*self.others, *(path for path in seen if path is not None)}
        return {place(path.parent) / path.name for path in paths}


def _read_run(recipe: Path) -> _Run | None:
    """Read a recipe with facts; None for any other file, and for a damaged one."""
    try:
        import yaml  # noqa: PLC0415 - impasto-lite has none, and passes over no results
    except ImportError:
        return None
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast
    try:
        with recipe.open(encoding="utf-8") as file:
            if not file.readline().startswith(RECIPE_MARK):
                return None
            text = file.read()
        marked = (line for line in text.splitlines() if line.startswith(FACTS_MARK))
        options: dict[str, Any] = yaml.load(text, loader)  # noqa: S506 - a safe loader
        told = "\n".join(line.removeprefix(FACTS_MARK) for line in marked)
        facts: dict[str, Any] = yaml.load(told, loader)  # noqa: S506
        sizes = {str(file["path"]): int(file["bytes"]) for file in facts["inputs"]}
        sources = [options["content"], *options["styles"]]
        others = (options.get(name) for name in ("triptych", "video", "plot_losses"))
        return _Run(
            output=Path(options["output"]),
            output_bytes=int(facts["picture"]["bytes"]),
            sources={Path(source): sizes.get(source) for source in sources},
            others=tuple(Path(path) for path in others if path is not None),
            keeps=options.get("save_every") is not None,
        )
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError):
        return None


def sheets_of_sweeps(files: Iterable[Path]) -> set[Path]:
    """Return the contact sheets and figures that sweeps made of the cells that are among files."""
    sweeps = {
        path.parents[2]
        for path in files
        if path.name == "cell.json" and path.parent.parent.name == "cells"
    }
    return {sweep / name for sweep in sweeps for name in ("contact_sheet.png", "losses.png")}


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
