import errno
import fcntl
import json
import os
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from impasto.data.atomic import (
    atomic_path,
    check_writable,
    is_abandoned,
    is_disk_full,
    make_temporary_folder,
    owner_mark,
    remove_leftovers,
    write_error,
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


@pytest.fixture
def poor_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that stores files, and refuses all else, as those of networks and of Windows."""

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def refuse_flush(_handle: int) -> None:
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    for name in ("chmod", "fchmod", "utime", "link", "chown"):
        monkeypatch.setattr(os, name, refuse)
    monkeypatch.setattr(os, "fsync", refuse_flush)
    monkeypatch.setattr(fcntl, "flock", refuse)


@pytest.mark.usefixtures("poor_disk")
def test_only_the_rename_is_essential(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    check_writable(tmp_path)
    write_text_atomic(path, "old")
    write_text_atomic(path, "new")
    assert path.read_text() == "new"
    assert names(tmp_path) == ["a.txt"]
    write_text_atomic(tmp_path / "key", "private", mode=0o600)
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.EINVAL, errno.ENOSYS, errno.EACCES])
def test_a_disk_that_cannot_flush_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", refuse)
    write_text_atomic(tmp_path / "a.txt", "x")
    assert (tmp_path / "a.txt").read_text() == "x"


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_what_is_lost_while_it_is_flushed_is_an_error_and_the_old_file_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "a.txt"
    write_text_atomic(path, "old")

    def lose(_handle: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", lose)
    with pytest.raises(OSError, match=r"a\.txt") as caught:
        write_text_atomic(path, "new")
    assert (caught.value.errno, caught.value.filename) == (number, str(path))
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_folder_that_cannot_be_read_is_written() -> None:
    # Flushing a folder opens it; one into which others only drop files cannot be opened.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o333)
        with as_ordinary_user():
            write_text_atomic(folder / "a.txt", "x")
        folder.chmod(0o700)
        assert names(folder) == ["a.txt"]


def test_errors_name_the_file_and_not_the_temporary_one(tmp_path: Path, small_disk: Path) -> None:
    (tmp_path / "taken").mkdir()
    for path, text in (
        (tmp_path / "taken", "x"),
        (tmp_path / "missing" / "a.txt", "x"),
        (small_disk / "a.txt", "x" * 200_000),
    ):
        with pytest.raises(OSError, match=r"No space|directory") as caught:
            write_text_atomic(path, text)
        assert caught.value.filename == str(path)
        assert str(path) in str(caught.value)
        assert ".impasto" not in str(caught.value)


def test_errors_of_libraries_name_the_file_and_not_the_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    with atomic_path(path) as temporary:
        error = write_error(path, RuntimeError(f"File {temporary} cannot be opened.\nmore"))
    assert str(error) == f"[Errno {errno.EIO}] File state.pt cannot be opened.: '{path}'"


def test_an_error_after_the_folder_was_removed_says_that(tmp_path: Path) -> None:
    error = write_error(tmp_path / "gone" / "state.pt", RuntimeError("some words of torch"))
    assert isinstance(error, FileNotFoundError)
    assert error.filename == str(tmp_path / "gone" / "state.pt")


def test_an_error_of_a_library_on_a_full_disk_is_that_of_the_disk(small_disk: Path) -> None:
    with atomic_path(small_disk / "state.pt") as temporary:
        with pytest.raises(OSError, match="No space"):
            temporary.write_bytes(bytes(200_000))
        error = write_error(small_disk / "state.pt", RuntimeError("file write failed"))
        assert names(small_disk) == [temporary.name]
    assert (error.errno, error.filename) == (errno.ENOSPC, str(small_disk / "state.pt"))


def test_an_error_of_a_library_over_quota_is_that_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_handle: int) -> None:
        raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    # As disks of networks say it; the disk itself has much space left.
    monkeypatch.setattr(os, "fsync", refuse)
    error = write_error(tmp_path / "state.pt", RuntimeError("file write failed"))
    assert is_disk_full(error)
    assert (error.errno, error.filename) == (errno.EDQUOT, str(tmp_path / "state.pt"))
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "words"), True),
        (OSError(errno.EDQUOT, "words"), True),
        (OSError(errno.EIO, "words"), False),
        (OSError("No space left on device"), False),
        (RuntimeError("No space left on device"), False),
        (None, False),
    ],
)
def test_a_full_disk_is_told_by_the_number_of_the_error(
    error: Exception | None, full: bool
) -> None:
    assert is_disk_full(error) == full


def deep_folder(root: Path, length: int) -> Path:
    """Make a folder whose path has exactly so many bytes."""
    folder = root
    while (left := length - len(bytes(folder))) > 201:
        folder /= "d" * min(200, left - 3)
    folder /= "e" * (left - 1)
    folder.mkdir(parents=True)
    assert len(bytes(folder)) == length
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="the longest path is that of Linux")
def test_wherever_the_file_fits_the_temporary_one_does(tmp_path: Path) -> None:
    # PATH_MAX is 4096 with the byte at the end.
    folder = deep_folder(tmp_path, 4095 - len("/a.txt"))
    check_writable(folder)
    write_text_atomic(folder / "a.txt", "x")
    assert (folder / "a.txt").read_text() == "x"
    assert names(folder) == ["a.txt"]
    with pytest.raises(OSError, match="too long") as caught:
        write_text_atomic(folder / "longer.txt", "x")
    assert caught.value.filename == str(folder / "longer.txt")


KILLED_WHILE_WRITING = (
    "with atomic.atomic_path(folder / 'a.txt') as temporary:\n"
    "    temporary.write_text('half')\n"
    "    os.kill(os.getpid(), signal.SIGKILL)\n"
)
KILLED_WHILE_CHECKING = (
    "os.unlink = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)\n"
    "atomic.check_writable(folder)\n"
)


@pytest.mark.skipif(sys.platform != "linux", reason="the longest path is that of Linux")
@pytest.mark.parametrize("code", [KILLED_WHILE_WRITING, KILLED_WHILE_CHECKING])
@pytest.mark.parametrize("deep", [False, True])
def test_whatever_a_killed_process_left_is_found(tmp_path: Path, code: str, deep: bool) -> None:
    folder = deep_folder(tmp_path, 4095 - len("/a.txt")) if deep else tmp_path
    imports = "import os, signal, sys\nfrom pathlib import Path\nfrom impasto.data import atomic\n"
    code = f"{imports}folder = Path(sys.argv[1])\n{code}"
    child = subprocess.run([sys.executable, "-c", code, str(folder)], check=False)
    assert child.returncode == -signal.SIGKILL
    (left,) = names(folder)
    error = write_error(folder / "a.txt", RuntimeError(f"{folder / left} cannot be opened"))
    assert error.strerror == "a.txt cannot be opened"
    for other in ("~", ".~ab~", ".~xy"):
        (folder / other).touch()
    remove_leftovers(folder, alone=True)
    assert names(folder) == [".~ab~", ".~xy", "~"]


def test_short_names_are_somebody_elses_where_the_usual_ones_fit(tmp_path: Path) -> None:
    (tmp_path / ".~ab1").touch()
    remove_leftovers(tmp_path, alone=True)
    assert names(tmp_path) == [".~ab1"]


def test_the_longest_name_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".txt")
    write_text_atomic(path, "x")
    assert names(tmp_path) == [path.name]


def left_by(mark: str) -> str:
    return f".impasto-{mark}-00000000.tmp"


def test_what_killed_processes_left_goes_before_the_next_write(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    machine, number, process = owner_mark().split("-")
    assert int(number) == os.getpid()
    other = f"{int(machine, 16) ^ 1:08x}"
    stays = {
        "writing": left_by(owner_mark()),
        "another that runs": left_by(f"{machine}-{os.getppid()}-0000"),
        "on another machine": left_by(f"{other}-{ended.pid}-0000"),
        "without a mark": ".impasto-abcdefgh.tmp",
        "not ours": "b.tmp",
    }
    goes = {
        "killed": left_by(f"{machine}-{ended.pid}-{process}"),
        "killed, and had our number": left_by(f"{machine}-{number}-{int(process, 16) ^ 1:04x}"),
        "on another machine, long ago": left_by(f"{other}-1-0000"),
        "without a mark, long ago": ".impasto-ijklmnop.tmp",
    }
    for name in (*stays.values(), *goes.values()):
        (tmp_path / name).write_text("half")
        assert not is_abandoned(tmp_path / name) or name in goes.values()
    long_ago = time.time() - 100_000
    for name in list(goes.values())[2:]:
        os.utime(tmp_path / name, (long_ago, long_ago))
    write_text_atomic(tmp_path / "a.txt", "x")
    assert names(tmp_path) == sorted(["a.txt", *stays.values()])
    remove_leftovers(tmp_path, alone=True)
    assert names(tmp_path) == ["a.txt", "b.tmp"]


def test_where_nothing_tells_machines_apart_only_age_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As on Windows.
    monkeypatch.setattr("impasto.data.atomic._machine", lambda: "0" * 8)
    left = tmp_path / left_by(f"{'0' * 8}-999999999-0000")
    left.write_text("half")
    assert not is_abandoned(left)
    os.utime(left, (0, 0))
    assert is_abandoned(left)


def test_bytes_of_names_that_are_no_text_are_escaped_and_json_reads_them(tmp_path: Path) -> None:
    name = os.fsdecode(b"caf\xe9.png")
    write_text_atomic(tmp_path / "a.json", json.dumps([name], ensure_ascii=False))
    written = (tmp_path / "a.json").read_bytes()
    assert written == b'["caf\\udce9.png"]'
    assert json.loads(written) == [name]


def test_temporary_folders_of_killed_processes_go_with_all_that_is_in_them(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from impasto.data.atomic import make_temporary_folder\n"
        "folder = make_temporary_folder(Path(sys.argv[1]), 'frames-')\n"
        "(folder / 'frame').write_text('x')\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    mine = make_temporary_folder(tmp_path, "frames-")
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert len(names(tmp_path)) == 2
    make_temporary_folder(tmp_path, "others-")
    assert len(names(tmp_path)) == 3
    second = make_temporary_folder(tmp_path, "frames-")
    assert len(names(tmp_path)) == 3
    assert mine.is_dir()
    assert stat.S_IMODE(second.stat().st_mode) == 0o700
