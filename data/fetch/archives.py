"""Unpacking of zip archives that strangers made."""

import stat
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from impasto.data.fetch.transfer import require_space
from impasto.data.files import is_passed_over
from impasto.options.errors import FetchError

__all__ = ["find_root", "unpack"]

_MOST_FILES = 500_000
# Pictures hardly shrink in an archive; what grows a hundred times is made to fill disks.
_MOST_TIMES_LARGER = 100
_CHUNK_BYTES = 2**20
_BAD = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError)


def unpack(archive: Path, folder: Path) -> int:
    """Unpack the files of a zip archive, once nothing in it can do harm.

    Refused are names that lead out of the folder, links and other things that are no files, names
    that are one and the same on some disks, encrypted files, and archives that grow beyond measure.
    Hidden files and folders of systems (``__MACOSX``) are left out. Contents are compared with
    their CRC-32.

    Args:
        archive: the archive.
        folder: an empty folder.

    Returns:
        Number of files.

    Raises:
        FetchError: the archive is damaged or refused; the message omits its path.
        OSError: the disk is full or cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            members = list(_safe_members(opened.infolist(), archive.stat().st_size))
            require_space(folder, sum(member.file_size for _, member in members))
            for name, member in members:
                _write(opened, member, folder / name)
    except _BAD as error:
        said = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FetchError(f"is a damaged zip archive, or none ({said})") from error
    return len(members)


def find_root(folder: Path, expected: tuple[str, ...]) -> Path | None:
    """Return the uppermost folder that holds all of the expected ones, or None."""
    level = [folder]
    while level:
        for each in level:
            if all((each / name).is_dir() for name in expected):
                return each
        level = sorted(inner for each in level for inner in each.iterdir() if inner.is_dir())
    return None


def _safe_members(
    members: list[zipfile.ZipInfo], packed: int
) -> Iterator[tuple[PurePosixPath, zipfile.ZipInfo]]:
    """Yield files with their names; refuse the archive for whatever could do harm."""
    if len(members) > _MOST_FILES:
        raise FetchError(f"holds {len(members):,} files; expected {_MOST_FILES:,} at most")
    whole = sum(member.file_size for member in members)
    if whole > _MOST_TIMES_LARGER * max(packed, 2**16):
        raise FetchError(
            f"would grow from {packed / 1e6:,.1f} to {whole / 1e6:,.1f} MB, as no pictures do"
        )
    seen: dict[str, str] = {}
    for member in members:
        shown, name = member.filename, PurePosixPath(member.filename)
        if problem := _problem(member, name):
            raise FetchError(f"holds {shown!r}, {problem}")
        if member.is_dir() or any(is_passed_over(part) for part in name.parts):
            continue
        same = unicodedata.normalize("NFC", str(name)).casefold()
        if same in seen:
            raise FetchError(
                f"holds {shown!r} and {seen[same]!r}, which are one file on some disks"
            )
        seen[same] = shown
        yield name, member


def _problem(member: zipfile.ZipInfo, name: PurePosixPath) -> str:
    """Say what is wrong with a member of an archive; nothing if it is a file or folder."""
    # Windows knows drives, backslashes, and streams after a colon.
    if name.is_absolute() or ".." in name.parts or set(member.filename) & set("\\:\0"):
        return "a name that may lead out of its folder"
    if stat.S_IFMT(member.external_attr >> 16) not in {0, stat.S_IFREG, stat.S_IFDIR}:
        return "which is a link or no file at all"
    return "which is encrypted" if member.flag_bits & 1 else ""


def _write(opened: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """Write a file, and no more of it than the archive says."""
    path.parent.mkdir(parents=True, exist_ok=True)
    written = 0
    with opened.open(member) as packed, path.open("xb") as file:
        while part := packed.read(_CHUNK_BYTES):
            written += len(part)
            if written > member.file_size:
                raise FetchError(f"holds {member.filename!r}, which is larger than it says")
            file.write(part)
