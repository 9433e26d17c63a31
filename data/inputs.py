"""The pictures that a user names on the command line: folders, files, or both."""

import os
from collections.abc import Sequence
from pathlib import Path

from impasto.data.files import list_pictures
from impasto.options.errors import FolderError

__all__ = ["gather_pictures"]


def gather_pictures(paths: Sequence[Path], *, exclude: Path) -> tuple[list[Path], Path]:
    """Find all pictures that are meant, and the folder that their names are relative to.

    Args:
        paths: folders (searched with all that is below them) and single files.
        exclude: a folder to leave out: the output, which may lie inside of an input.

    Returns:
        The files, each once, in the order of the arguments; and their common folder.

    Raises:
        FolderError: a path does not exist, or a folder holds no pictures.
    """
    if len(paths) == 1 and paths[0].is_dir():
        return list_pictures(paths[0], exclude=exclude), paths[0]
    found: dict[Path, None] = {}
    folders = []
    for path in paths:
        folder = path.parent if path.is_file() else path
        # A missing folder is refused by list_pictures, with the nearest name.
        files = [path] if path.is_file() else list_pictures(path, exclude=exclude)
        # Only the folder is resolved: a picture may itself be a link to somewhere else.
        folders.append(folder.resolve())
        found.update(dict.fromkeys(folders[-1] / file.relative_to(folder) for file in files))
    try:
        root = Path(os.path.commonpath(folders))
    except ValueError as error:  # drives of Windows
        raise FolderError(folders[-1], "lies on another drive than the other inputs") from error
    return list(found), root
