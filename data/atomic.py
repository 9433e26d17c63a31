"""Atomic file writes: a reader, or a kill at any moment, never meets half a file."""

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = [
    "atomic_path",
    "check_writable",
    "remove_leftovers",
    "write_error",
    "write_text_atomic",
]

_PREFIX = ".impasto-"
_SUFFIX = ".tmp"
_NEARLY_FULL_BYTES = 2**20


def _read_umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


# Read once, at import: os.umask can only be read by setting it, which is not safe in threads.
_UMASK = _read_umask()


@contextmanager
def atomic_path(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is synced and renamed to ``path``.

    The temporary file lies in the same folder, so the rename never crosses a file system. If the
    body raises, the temporary file is removed and whatever stood at ``path`` is untouched.

    Args:
        path: the file to write. Its folder must exist.
        mode: permissions of the file, before the umask takes some of them away.

    Yields:
        The path to write to. The body must have closed the file when it ends.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    handle, name = tempfile.mkstemp(prefix=_PREFIX, suffix=_SUFFIX, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        # mkstemp makes private files; give what an ordinary open() would have given.
        temporary.chmod(mode & ~_UMASK)
        temporary.replace(path)
        _sync(path.parent)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_writable(folder: Path) -> None:
    """Make a folder and write into it, so that long work fails before it begins, not at its end.

    Raises:
        OSError: it cannot be made or written, or the disk is full.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"0")


def write_error(path: Path, error: Exception) -> OSError:
    """Turn what a library raised while writing ``path`` into the error that open() would raise.

    torch and safetensors report a full disk as an error of their own, in varying words. Call it
    before the half-written file is removed.
    """
    full = shutil.disk_usage(path.parent).free < _NEARLY_FULL_BYTES
    number = errno.ENOSPC if full else errno.EIO
    reason = os.strerror(number) if full else str(error).splitlines()[0]
    return OSError(number, reason, str(path))


def write_text_atomic(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Write ``text`` as UTF-8 to ``path`` atomically, with permissions as in :func:`atomic_path`.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    with atomic_path(path, mode=mode) as temporary:
        temporary.write_text(text, encoding="utf-8")


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files that a killed writer left directly in ``folder``."""
    for leftover in folder.glob(f"{_PREFIX}*{_SUFFIX}"):
        leftover.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    """Flush a file or a folder entry to the disk (folders cannot be opened on Windows)."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
