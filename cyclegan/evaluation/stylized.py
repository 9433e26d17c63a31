"""Stylized pictures: which style each was made in, and of which content.

A picture's recipe (``night.png.yaml``, as `impasto stylize` writes it) knows both. Without one, its
name is searched, with the folders that it is in: ``photo_starry_night.png``,
``photo_stylized_starry_night.jpg`` and ``starry_night/photo.png`` are of ``photo.jpg`` in the style
``starry_night.jpg``.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from impasto.data.files import list_pictures
from impasto.options.config import read_config
from impasto.options.errors import FolderError, OptionError

__all__ = ["Origin", "StyleFiles", "find_origins", "list_styles"]


@dataclass(frozen=True, kw_only=True)
class StyleFiles:
    """One style: a picture, or a folder of pictures.

    Attributes:
        name: name of the style, unique among styles.
        path: path that the user gave.
        files: its picture files.
    """

    name: str
    path: Path
    files: Sequence[Path]


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What one result was made of.

    Attributes:
        source: content picture; None if unknown.
        style: name of its style; empty if unknown, or if it was made in several.
    """

    source: Path | None
    style: str


def list_styles(paths: Sequence[Path], *, exclude: Path) -> list[StyleFiles]:
    """List styles, each a picture or a folder of pictures.

    Args:
        paths: pictures and folders.
        exclude: a folder whose content is left out: the output.

    Raises:
        FolderError: one does not exist, a folder holds no picture, or one is named twice.
    """
    found: list[StyleFiles] = []
    for place, path in enumerate(paths):
        if path.resolve() in [other.resolve() for other in paths[:place]]:
            raise FolderError(path, "is named twice; name each style once")
        files = [path] if path.is_file() else list_pictures(path, exclude=exclude)
        name = path.stem if path.is_file() else path.resolve().name
        if name in [style.name for style in found]:
            name = str(path)
        found.append(StyleFiles(name=name, path=path, files=files))
    return found


def find_origins(
    folder: Path,
    files: Sequence[Path],
    *,
    sources: Sequence[Path],
    styles: Sequence[StyleFiles],
) -> list[Origin]:
    """Find content and style of each result.

    Args:
        folder: folder that names are relative to.
        files: results.
        sources: content pictures; none if they are unknown.
        styles: all styles.
    """
    by_path = {source.resolve(): source for source in sources}
    origins = []
    for file in files:
        recipe = _recipe(file)
        name = rest = file.relative_to(folder).with_suffix("").as_posix()
        style = _style_of_recipe(recipe, styles)
        if style is None and len(styles) > 1:
            style, rest = _longest_in(name, [one.name for one in styles])
        elif style is None:
            style = styles[0].name
        source = by_path.get(Path(str(recipe.get("content", ""))).resolve())
        if source is None and len(sources) == len(files) == 1:
            source = sources[0]
        if source is None:
            source = _source_by_name(name, rest, sources, styles)
        origins.append(Origin(source=source, style=style))
    return origins


def _recipe(file: Path) -> Mapping[str, Any]:
    """Return the options of the recipe beside a picture; nothing if there is none."""
    with suppress(OptionError, OSError):
        return read_config(file.with_name(f"{file.name}.yaml"))
    return {}


def _style_of_recipe(recipe: Mapping[str, Any], styles: Sequence[StyleFiles]) -> str | None:
    """Return the one style of a recipe, nothing where it has several, None where it has none."""
    named = recipe.get("styles")
    if not named or isinstance(named, str):
        named = [named] if named else []
    paths = {Path(str(path)).resolve() for path in named}
    found = [style.name for style in styles if style.path.resolve() in paths]
    if not found:
        return None
    return found[0] if len(found) == len(paths) == 1 else ""


def _source_by_name(
    name: str, rest: str, sources: Sequence[Path], styles: Sequence[StyleFiles]
) -> Path | None:
    """Return the content picture whose name a result's name is, or has in it: the longest.

    Args:
        name: name of the result, with its folders.
        rest: what is left of it without the name of its style.
        sources: content pictures.
        styles: all styles.
    """
    stems: dict[str, Path] = {}
    for source in sources:
        stems.setdefault(source.stem, source)
    if exact := stems.get(name.rpartition("/")[2]):
        return exact
    # A style's name, too, may have that of a content in it.
    for style in styles:
        rest = _without(rest, style.name)
    found, _ = _longest_in(rest, list(stems))
    return stems.get(found)


def _longest_in(name: str, words: Sequence[str]) -> tuple[str, str]:
    """Return the longest word that a name has as a whole word in it, and the name without it."""
    for word in sorted(words, key=len, reverse=True):
        rest = _without(name, word)
        if rest != name:
            return word, rest
    return "", name


def _without(name: str, word: str) -> str:
    whole = rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"
    return re.sub(whole, "", name, flags=re.IGNORECASE)
