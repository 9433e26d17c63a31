"""The pictures of a report: taken from the exported folder, checked against the key, copied."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from impasto.data.atomic import atomic_path
from impasto.options.errors import SurveyError
from impasto.survey.key import Key

__all__ = ["copy_pictures"]


def copy_pictures(study: Path, key: Key, tokens: Iterable[str], folder: Path) -> dict[str, Path]:
    """Copy exported pictures into the folder of a report.

    Args:
        study: the exported folder.
        key: its key.
        tokens: of the pictures.
        folder: where to; made if it is not there.

    Returns:
        Token to the copy.

    Raises:
        SurveyError: ``study`` is no exported folder, or a picture is missing or not that of the
            key.
        OSError: a file cannot be read or written.
    """
    files = _files(study)
    folder.mkdir(parents=True, exist_ok=True)
    copies = {}
    for token in tokens:
        path = files.get(token)
        if path is None or not path.is_file():
            raise SurveyError(
                study, f"has no picture {token}; give the folder that was exported with this key"
            )
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != key.pictures[token].picture_sha256:
            raise SurveyError(
                path,
                "is not the picture of the key: it was changed, or is of another study; give the "
                "folder that was exported with this key",
            )
        copies[token] = folder / f"{token}{path.suffix}"
        with atomic_path(copies[token]) as temporary:
            temporary.write_bytes(content)
    return copies


def _files(study: Path) -> dict[str, Path]:
    """Return token to file, as the study's manifest has it, or as its pictures are named."""
    manifest = study / "study.json"
    if not manifest.is_file():
        return {path.stem: path for path in sorted((study / "images").glob("*"))}
    try:
        stored = json.loads(manifest.read_text(encoding="utf-8"))["pictures"]
        found = {str(token): study / str(name) for token, name in stored.items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SurveyError(manifest, f"is no manifest of a study: {error}") from error
    inside = study.resolve()
    for path in found.values():
        if not path.resolve().is_relative_to(inside):
            raise SurveyError(manifest, f"names a picture outside of its folder: {path}")
    return found
