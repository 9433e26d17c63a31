"""Files without history: constant times and rights, and an archive that is always the same."""

import os
import zipfile
from pathlib import Path

__all__ = ["EPOCH", "public_files", "settle", "write_archive"]

EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every entry of an archive: the first that it can hold."""

_SECONDS = 315_532_800  # the same in UTC
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
_UNIX = 3


def public_files(folder: Path) -> list[Path]:
    """List all files below a folder, links to files too, in the order of their names."""
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def settle(folder: Path) -> None:
    """Give everything in a folder, and the folder, the same times and rights.

    Raises:
        OSError: that is not allowed.
    """
    inner = sorted(folder.rglob("*"), key=lambda path: path.as_posix(), reverse=True)
    for path in [*inner, folder]:  # a folder after what it holds
        path.chmod(_FOLDER_MODE if path.is_dir() else _FILE_MODE)
        os.utime(path, (_SECONDS, _SECONDS))


def write_archive(folder: Path, path: Path, *, prefix: str) -> None:
    """Write a zip archive of a folder: entries in the order of their names, all of one time.

    Nothing is compressed, so that no length in it depends on what a picture shows. The same files
    give the same bytes.

    Args:
        folder: what to pack.
        path: the archive, which must not exist.
        prefix: folder in the archive.

    Raises:
        OSError: a file cannot be read or written.
    """
    with zipfile.ZipFile(path, "x", zipfile.ZIP_STORED) as archive:
        for file in public_files(folder):
            name = f"{prefix}/{file.relative_to(folder).as_posix()}"
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.create_system = _UNIX
            entry.external_attr = (0o100000 | _FILE_MODE) << 16
            archive.writestr(entry, file.read_bytes())
