"""The pictures that a user names on the command line: folders, files, or both."""

import os
from collections.abc import Sequence
from pathlib import Path

from giverny.data.files import list_pictures
from giverny.options.errors import FolderError

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
    found: dict[Path, None] = {}
    for path in paths:
        if path.is_file():
            found[path] = None
        else:  # a missing one is refused there, with the nearest name
            found.update(dict.fromkeys(list_pictures(path, exclude=exclude)))
    if len(paths) == 1 and paths[0].is_dir():
        return list(found), paths[0]
    folders = [path if path.is_dir() else path.parent for path in paths]
    try:
        root = Path(os.path.commonpath([folder.resolve() for folder in folders]))
    except ValueError as error:  # drives of Windows
        raise FolderError(folders[-1], "lies on another drive than the other inputs") from error
    return list(dict.fromkeys(path.absolute() for path in found)), root
