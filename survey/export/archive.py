"""Writing a study without traces: constant times and permissions, one archive, all or nothing.

Times and permissions of files can reveal the order in which pictures were made; here they are
constant, and the same files produce the same archive. A study is written to a private temporary
folder and renamed to its destination when it is complete.
"""

import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from impasto.data.atomic import make_temporary_folder
from impasto.options.errors import FolderError, SurveyError

__all__ = ["EPOCH", "public_files", "publish", "settle", "staged", "write_archive"]


EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every entry of an archive: the first that it can hold."""

_SECONDS = 315_532_800  # the same in UTC
_FILE_MODE, _FOLDER_MODE = 0o644, 0o755
_UNIX = 3


def public_files(folder: Path) -> list[Path]:
    """List all files below a folder, including links to files, in the order of their names."""
    files = [path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir()]
    return sorted(files, key=lambda path: path.relative_to(folder).as_posix())


def settle(folder: Path) -> None:
    """Set the same times and permissions on a folder and everything in it.

    Disks of networks and of Windows may refuse both. Their permissions are the same for all files,
    and their times tell nothing as long as files are written in the order of their random names.
    """
    inner = sorted(folder.rglob("*"), key=lambda path: path.as_posix(), reverse=True)
    for path in [*inner, folder]:  # a folder after what it holds
        with suppress(OSError):
            path.chmod(_FOLDER_MODE if path.is_dir() else _FILE_MODE)
        with suppress(OSError):
            os.utime(path, (_SECONDS, _SECONDS))


def write_archive(folder: Path, path: Path, *, prefix: str) -> None:
    """Write a zip archive of a folder: entries sorted by name, all with the same time.

    The entries are not compressed, so that no length in the archive depends on the content of a
    picture. The same files produce the same bytes.

    Args:
        folder: folder to archive.
        path: path of the archive, which must not exist yet.
        prefix: name of the top-level folder in the archive.

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


_PREFIX = ".impasto-export-"


@contextmanager
def staged(beside: Path) -> Iterator[Path]:
    """Create a private temporary folder beside a path, and remove it afterward in any case.

    Folders left behind by killed exports are removed first.

    Args:
        beside: path beside which the folder is created; its parent folder is created if missing.

    Raises:
        FolderError: the folder cannot be written.
    """
    parent = beside.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        folder = make_temporary_folder(parent, _PREFIX)
    except OSError as error:
        raise FolderError(parent, f"cannot be written: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def publish(moves: Mapping[Path, Path]) -> None:
    """Rename files and folders to their destinations, in order; undo everything on failure.

    Args:
        moves: mapping from source to destination, on one file system.

    Raises:
        SurveyError: a destination has come into existence in the meantime.
        OSError: a destination cannot be written.
    """
    done: list[tuple[Path, Path]] = []
    try:
        for source, target in moves.items():
            _rename(source, target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        raise


def _rename(source: Path, target: Path) -> None:
    if os.path.lexists(target):
        raise SurveyError(target, "exists meanwhile; nothing was exported")
    source.rename(target)
