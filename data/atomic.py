"""Atomic file writes: a reader, or a kill at any moment, never meets half a file.

Only the rename is essential. Network disks, disks of Windows and of virtual machines refuse to set
permissions or to flush folders, and files are written there nevertheless. What a killed process
leaves behind is removed by the next one that writes to the same folder.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

__all__ = [
    "atomic_path",
    "check_writable",
    "flush_file",
    "is_abandoned",
    "is_disk_full",
    "make_folder",
    "make_temporary_folder",
    "owner_mark",
    "remove_leftovers",
    "write_error",
    "write_text_atomic",
]

_PREFIX = ".impasto-"
_SUFFIX = ".tmp"
_SHORT_PREFIX = ".~"  # where the usual names do not fit: digits follow, up to the result's length
_SHORT = rf"{re.escape(_SHORT_PREFIX)}[0-9a-f]{{2,32}}(?!\w)"
_TEMPORARY = re.compile(
    rf"[^\s'\"]*(?:{re.escape(_PREFIX)}[\w-]*{re.escape(_SUFFIX)}|(?<![^\s'\"/\\]){_SHORT})"
)
_MARK = re.compile(r"(?P<machine>[0-9a-f]{8})-(?P<pid>\d{1,9})-(?P<process>[0-9a-f]{4})(?!\w)")
_PROBE_BYTES = 2**20
# Which process of another machine still writes cannot be asked; none writes a file for so long.
_OLD_SECONDS = 86_400
_FULL = {errno.ENOSPC, errno.EDQUOT}  # the latter where the quota of a user is used up
# Where a flush fails in one of these ways, what was written is lost; in others, the disk has none.
_LOST = {errno.EIO, *_FULL}
_TOO_LONG = {errno.ENAMETOOLONG, errno.ENOENT}  # the latter on Windows, beyond 260 characters

# Tells a process from an earlier one of the same number: in containers, each one may be the first.
_PROCESS = secrets.token_hex(2)
_swept: set[Path] = set()


@contextmanager
def atomic_path(path: Path, *, mode: int = 0o666) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it is flushed and renamed to ``path``.

    The temporary file lies in the same folder, so the rename never crosses a file system. If the
    body raises, the temporary file is removed and whatever stood at ``path`` is untouched. The
    first write to a folder removes what killed processes have left there.

    Args:
        path: the file to write. Its folder must exist.
        mode: permissions of the file, before the umask takes some of them away.

    Yields:
        The path to write to. The body must have closed the file when it ends.

    Raises:
        OSError: the folder cannot be written or the disk is full. The error names ``path``, not the
            temporary file.
    """
    _sweep_once(path.parent)
    temporary = _create(path, mode)
    try:
        yield temporary
        flush_file(temporary)
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and _is_about(error, temporary):
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    _flush_folder(path.parent)


def check_writable(folder: Path) -> None:
    """Make a folder, write into it and rename, so that long work fails before it begins.

    Raises:
        OSError: it cannot be made or written, or the disk is full.
    """
    make_folder(folder)
    _sweep_once(folder)
    # The shortest name that a result may have, so that no longer path than that is asked for.
    file = _create(folder / "0.png", 0o600)
    try:
        file.write_bytes(b"0")
        file = file.rename(file.with_name(_another_name(file.name)))
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(folder)) from error
    finally:
        with suppress(OSError):
            file.unlink(missing_ok=True)


def is_disk_full(error: BaseException | None) -> bool:
    """Whether a write failed because the disk is full, or the quota of the user is used up."""
    return isinstance(error, OSError) and error.errno in _FULL


def make_folder(folder: Path) -> None:
    """Make a folder, unless it is there.

    Raises:
        OSError: it cannot be made; where it or a folder above it is a file, the error says so.
    """
    there = next((path for path in (folder, *folder.parents) if path.exists()), None)
    if there is not None and not there.is_dir():
        what = "it is" if there == folder else f"{there} is"
        raise NotADirectoryError(errno.ENOTDIR, f"{what} a file, not a folder", str(folder))
    folder.mkdir(parents=True, exist_ok=True)


def write_error(path: Path, error: Exception) -> OSError:
    """Turn what a library raised while writing ``path`` into the error that open() would raise.

    torch and safetensors report a full disk as an error of their own, in varying words. So the
    system is asked, by writing a little more: it alone knows of quotas. Call it before the
    half-written file is removed.
    """
    if isinstance(error, OSError) and is_disk_full(error):
        return OSError(error.errno, error.strerror, str(path))
    try:
        probe = _create(path, 0o600)
        try:
            probe.write_bytes(secrets.token_bytes(_PROBE_BYTES))
            flush_file(probe)
        finally:
            with suppress(OSError):
                probe.unlink(missing_ok=True)
    except OSError as reason:  # also where the folder was removed
        return OSError(reason.errno, reason.strerror, str(path))
    said = _TEMPORARY.sub(lambda _: path.name, str(error) or "unknown error").splitlines()[0]
    return OSError(errno.EIO, said, str(path))


def write_text_atomic(path: Path, text: str, *, mode: int = 0o666) -> None:
    """Write ``text`` as UTF-8 to ``path`` atomically, with permissions as in :func:`atomic_path`.

    Bytes of file names that are no text, which Python has as lone surrogates, are written as JSON
    escapes them, and reads them again.

    Raises:
        OSError: the folder cannot be written or the disk is full.
    """
    with atomic_path(path, mode=mode) as temporary:
        temporary.write_bytes(text.encode("utf-8", "backslashreplace"))


def remove_leftovers(folder: Path, *, alone: bool = False) -> None:
    """Remove the temporary files that killed writers left directly in ``folder``.

    Args:
        folder: folder to look in; it need not exist.
        alone: whether nobody else can be writing there now, as it is locked. Otherwise files of
            processes that run stay, and files of other machines for a day.
    """
    with suppress(OSError):
        left = list(folder.glob(f"{_PREFIX}*{_SUFFIX}"))
        if not _fits(folder / _usual_name()):  # elsewhere, no file of a short name is ours
            short = folder.glob(f"{_SHORT_PREFIX}*")
            left += [path for path in short if re.fullmatch(_SHORT, path.name)]
        for leftover in left:
            if not leftover.is_dir() and (alone or is_abandoned(leftover)):
                with suppress(OSError):
                    leftover.unlink(missing_ok=True)


def make_temporary_folder(parent: Path, prefix: str) -> Path:
    """Make a private folder for temporary files, and remove those that killed processes left.

    Args:
        parent: folder to make it in.
        prefix: beginning of its name, for this purpose only.

    Raises:
        OSError: it cannot be made.
    """
    with suppress(OSError):
        for left in list(parent.glob(f"{prefix}*{_SUFFIX}")):
            if is_abandoned(left):
                shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{owner_mark()}-", suffix=_SUFFIX, dir=parent))


def owner_mark() -> str:
    """Return a part for names of temporary files that tells which process they belong to."""
    return f"{_machine()}-{os.getpid()}-{_PROCESS}"


def is_abandoned(path: Path) -> bool:
    """Whether the process is gone whose :func:`owner_mark` is in the name of a file or folder.

    Those of other machines, which share a network disk, and those without a mark count as abandoned
    when they have not been changed for a day.
    """
    mark = _MARK.search(path.name)
    if mark and mark["machine"] == _machine() != _UNKNOWN:
        number = int(mark["pid"])
        if number == os.getpid():
            return mark["process"] != _PROCESS
        return not _runs(number)
    try:
        return time.time() - path.stat().st_mtime > _OLD_SECONDS
    except OSError:
        return False


_UNKNOWN = "0" * 8


@lru_cache(maxsize=1)
def _machine() -> str:
    """Return a hash of this machine, or container: of that in which process numbers mean a process.

    On Windows, where nobody can be asked without harm whether a process runs, it is unknown.
    """
    if os.name != "posix":
        return _UNKNOWN
    facts = [os.uname().nodename]
    with suppress(OSError):
        facts.append(Path("/etc/machine-id").read_text(encoding="utf-8", errors="replace"))
    with suppress(OSError):
        facts.append(os.readlink("/proc/self/ns/pid"))  # noqa: PTH115 - no file, but a name
    return hashlib.sha256("\n".join(facts).encode("utf-8", "replace")).hexdigest()[:8]


def _runs(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _sweep_once(folder: Path) -> None:
    """Remove leftovers in a folder before the first write to it."""
    if folder not in _swept:
        _swept.add(folder)
        remove_leftovers(folder)


def _create(path: Path, mode: int) -> Path:
    """Create an empty file beside ``path``, with the permissions that open() would give it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    name, shortest = _usual_name(), False
    while True:
        try:
            os.close(os.open(path.with_name(name), flags, mode))
        except FileExistsError:
            name = _another_name(name)
        except OSError as error:
            if error.errno in _TOO_LONG and not shortest and path.parent.is_dir():
                # Not longer than the result's, so that no writable path is refused.
                name, shortest = _short_name(len(path.name)), True
                continue
            raise OSError(error.errno, error.strerror, str(path)) from error
        else:
            return path.with_name(name)


def _usual_name() -> str:
    return f"{_PREFIX}{owner_mark()}-{secrets.token_hex(4)}{_SUFFIX}"


def _short_name(length: int) -> str:
    return f"{_SHORT_PREFIX}{secrets.token_hex(16)}"[: max(length, 4)]


def _another_name(name: str) -> str:
    """Return another name of the same kind and length."""
    return _short_name(len(name)) if name.startswith(_SHORT_PREFIX) else _usual_name()


def _fits(path: Path) -> bool:
    """Whether a path is not too long for the system; on Windows, which does not say, never."""
    try:
        os.lstat(path)
    except OSError as error:
        return os.name == "posix" and error.errno not in _TOO_LONG - {errno.ENOENT}
    return True


def _is_about(error: OSError, temporary: Path) -> bool:
    """Whether an error names the temporary file, or nothing, as those of a full disk."""
    named = {error.filename, error.filename2} - {None}
    return str(temporary) in {str(name) for name in named} or (
        not named and error.errno is not None and type(error).__module__ == "builtins"
    )


def flush_file(path: Path) -> None:
    """Flush a file to the disk, if the disk can do that.

    Raises:
        OSError: what was written is lost.
    """
    handle = os.open(path, os.O_RDWR)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno in _LOST:
            raise
    finally:
        os.close(handle)


def _flush_folder(folder: Path) -> None:
    """Flush a folder's entries, if the system can do that; the file itself is there already."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
