"""Several files and a folder that appear together, or not at all."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from impasto.options.errors import FolderError, SurveyError

__all__ = ["publish", "staged"]

_PREFIX, _SUFFIX = ".impasto-export-", ".tmp"


@contextmanager
def staged(beside: Path) -> Iterator[Path]:
    """Give a private folder beside a path, which is gone afterwards, however this ends.

    What exports that were killed have left there is removed first.

    Args:
        beside: its folder is made where it is missing.

    Raises:
        FolderError: nothing can be written there.
    """
    parent = beside.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(parent)
        folder, lock = _make(parent)
    except OSError as error:
        raise FolderError(parent, f"cannot be written: {error.strerror or error}") from error
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def publish(moves: Mapping[Path, Path]) -> None:
    """Rename files and folders to their places, in order; undo it all if one cannot be.

    Args:
        moves: from where to where, on one file system.

    Raises:
        SurveyError: something has appeared at a place meanwhile.
        OSError: a place cannot be written.
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


def _make(parent: Path) -> tuple[Path, int | None]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, suffix=_SUFFIX, dir=parent))
        lock = _lock(folder)
        if folder.exists():  # another export may have taken it for a leftover before the lock
            return folder, lock
        if lock is not None:
            os.close(lock)


def _lock(folder: Path) -> int | None:
    """Hold a lock on a folder that ends with this process; None where folders have no locks."""
    try:
        import fcntl  # noqa: PLC0415 - Windows has none
    except ImportError:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(handle)
        return None
    return handle


def _remove_leftovers(parent: Path) -> None:
    """Remove the folders of exports that no process holds any more."""
    for folder in parent.glob(f"{_PREFIX}*{_SUFFIX}"):
        lock = _lock(folder)
        if lock is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
