import errno
import os
import signal
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from impasto.data.atomic import (
    atomic_path,
    check_writable,
    remove_leftovers,
    write_text_atomic,
)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root passes every permission check: be nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_text_is_utf_8_and_replaces_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text_atomic(path, "old and longer")
    write_text_atomic(path, "Väter\n")
    assert path.read_bytes() == b"V\xc3\xa4ter\n"
    assert names(tmp_path) == ["a.txt"]


def test_nothing_shows_at_the_path_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with atomic_path(path) as temporary:
        assert temporary.parent == tmp_path
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o077])
def test_permissions_are_those_of_open(tmp_path: Path, mask: int) -> None:
    # In a process of its own, because the mask is read at import.
    code = (
        "import os, sys; from pathlib import Path\n"
        f"os.umask({mask})\n"
        "from impasto.data.atomic import write_text_atomic\n"
        "write_text_atomic(Path(sys.argv[1]), 'x')\n"
        "assert os.umask(0) == int(sys.argv[2]), 'reading the mask changed it'\n"
    )
    path = tmp_path / "a.txt"
    subprocess.run([sys.executable, "-c", code, str(path), str(mask)], check=True)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_failure_keeps_the_old_file_and_cleans_up(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(type(error)):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_kill_keeps_the_old_file_and_leftovers_can_be_removed(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from impasto.data.atomic import atomic_path\n"
        "with atomic_path(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    child = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert child.returncode == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 2
    (tmp_path / "b.tmp").write_text("somebody else's")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / ".impasto-x.tmp").write_text("not directly in the folder")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["a.txt", "b.tmp", "deep"]
    assert names(tmp_path / "deep") == [".impasto-x.tmp"]


def test_file_and_folder_are_synced_before_and_after_the_rename(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.txt"
    synced: list[tuple[str, bool]] = []
    real_sync = os.fsync

    def record(handle: int) -> None:
        kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
        synced.append((kind, path.exists()))
        real_sync(handle)

    monkeypatch.setattr(os, "fsync", record)
    write_text_atomic(path, "x")
    assert synced == [("file", False), ("folder", True)]


def test_full_disk(small_disk: Path) -> None:
    path = small_disk / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left") as caught:
        write_text_atomic(path, "x" * 200_000)
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert names(small_disk) == ["a.txt"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
def test_folder_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with as_ordinary_user(), pytest.raises(PermissionError):
            write_text_atomic(folder / "a.txt", "x")
        assert names(folder) == []


def test_missing_folder_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_text_atomic(tmp_path / "deep" / "a.txt", "x")
    assert names(tmp_path) == []


def test_a_folder_is_made_and_written_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "deep" / "er")
    check_writable(tmp_path / "deep" / "er")
    assert names(tmp_path / "deep" / "er") == []
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError):
        check_writable(tmp_path / "file" / "deep")


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
def test_a_folder_that_may_not_be_written_is_noticed_before_the_work() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        with as_ordinary_user(), pytest.raises(PermissionError):
            check_writable(folder)
