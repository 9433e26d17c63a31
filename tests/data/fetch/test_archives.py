"""Archives of strangers: what is unpacked, and what is refused."""

import os
import stat
import struct
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from impasto.data.fetch.archives import find_root, unpack
from impasto.options import FetchError


def pack(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "inside" / "unpacked"
    folder.mkdir(parents=True)
    return folder


def everything(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_files_are_unpacked_and_what_systems_add_is_not(tmp_path: Path, into: Path) -> None:
    files = {"set/trainA/1.jpg": b"one", "set/trainA/sub/2.jpg": b"two", "set/readme.txt": b"r"}
    added = {"__MACOSX/set/._1.jpg": b"x", "set/.DS_Store": b"y", "set/trainA/.hidden/3.jpg": b"z"}
    assert unpack(pack(tmp_path / "a.zip", {**files, **added}), into) == 3
    assert everything(into) == files


@pytest.mark.parametrize(
    "name",
    [
        *("../evil.jpg", "a/../../evil.jpg", "/evil.jpg", "..", "a/.."),
        *("C:/evil.jpg", "a\\..\\..\\evil.jpg", "a.jpg:stream"),
    ],
)
def test_names_that_lead_out_are_refused(tmp_path: Path, into: Path, name: str) -> None:
    archive = pack(tmp_path / "a.zip", {"good.jpg": b"good", "evil.jpg": b"evil"})
    raw = archive.read_bytes()
    # zipfile mends such names when it writes them, so both headers are written by hand.
    info = zipfile.ZipFile(archive).infolist()
    assert [each.filename for each in info] == ["good.jpg", "evil.jpg"]
    with zipfile.ZipFile(archive, "w") as opened:
        opened.writestr("good.jpg", b"good")
        entry = zipfile.ZipInfo("x")
        entry.filename = name
        opened.writestr(entry, b"evil")
    assert raw != archive.read_bytes()
    with pytest.raises(FetchError, match="a name that may lead out of its folder"):
        unpack(archive, into)
    assert everything(tmp_path / "inside") == {}
    assert not (tmp_path / "evil.jpg").exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR])
def test_links_and_devices_are_refused(tmp_path: Path, into: Path, kind: int) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        entry = zipfile.ZipInfo("link")
        entry.external_attr = (kind | 0o777) << 16
        archive.writestr(entry, "/etc/passwd")
        archive.writestr("link/file.jpg", b"through it")
    with pytest.raises(FetchError, match="'link', which is a link or no file at all"):
        unpack(tmp_path / "a.zip", into)
    assert everything(into) == {}


def test_a_link_that_a_program_packed_is_refused(tmp_path: Path, into: Path) -> None:
    """Python's own command, where the tool zip is not there, follows links: made by hand above."""
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "out").symlink_to("/etc")
    made = (
        subprocess.run(
            ["zip", "--quiet", "--symlinks", "-r", "../a.zip", "."],  # noqa: S607
            cwd=tmp_path / "set",
            check=False,
            capture_output=True,
        )
        if sys.platform == "linux" and _has_zip()
        else None
    )
    if made is None or made.returncode:
        pytest.skip("needs the program zip")
    with pytest.raises(FetchError, match="link"):
        unpack(tmp_path / "a.zip", into)


def _has_zip() -> bool:
    return any(Path(folder, "zip").is_file() for folder in os.environ["PATH"].split(":"))


def test_a_bomb_is_refused_before_anything_is_written(tmp_path: Path, into: Path) -> None:
    pack(tmp_path / "a.zip", {f"{index}.jpg": bytes(10**6) for index in range(20)})
    assert (tmp_path / "a.zip").stat().st_size < 10**5
    with pytest.raises(FetchError, match=r"would grow from 0\.0 to 20\.0 MB"):
        unpack(tmp_path / "a.zip", into)
    assert everything(into) == {}


def test_a_file_that_is_larger_than_it_says_is_refused(tmp_path: Path, into: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a.jpg": b"x" * 5000})
    raw = bytearray(archive.read_bytes())
    for place, size in ((0, 22), (raw.index(b"PK\x01\x02"), 24)):
        raw[place + size : place + size + 4] = struct.pack("<I", 100)
    archive.write_bytes(raw)
    with pytest.raises(FetchError):
        unpack(archive, into)
    assert sum(map(len, everything(into).values())) <= 5000


def test_names_that_are_one_file_on_some_disks_are_refused(tmp_path: Path, into: Path) -> None:
    pack(tmp_path / "a.zip", {"a/1.JPG": b"1", "A/1.jpg": b"2"})
    with pytest.raises(FetchError, match=r"'A/1\.jpg' and 'a/1\.JPG', which are one file"):
        unpack(tmp_path / "a.zip", into)


def test_encrypted_archives_are_refused(tmp_path: Path, into: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a.jpg": b"x"})
    raw = bytearray(archive.read_bytes())
    raw[6] |= 1
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    with pytest.raises(FetchError, match="encrypted"):
        unpack(archive, into)


def test_damaged_archives(tmp_path: Path, into: Path) -> None:
    archive = pack(tmp_path / "a.zip", {"a.jpg": bytes(range(256)) * 40})
    whole = archive.read_bytes()
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(FetchError, match="is a damaged zip archive, or none"):
        unpack(archive, into)
    archive.write_bytes(b"no zip")
    with pytest.raises(FetchError, match="is a damaged zip archive, or none"):
        unpack(archive, into)
    raw = bytearray(whole)
    raw[60] ^= 255  # in the middle of what is packed
    archive.write_bytes(raw)
    with pytest.raises(FetchError, match="is a damaged zip archive, or none"):
        unpack(archive, into)


def test_a_disk_without_room(tmp_path: Path, mount_disk: Callable[[str], Path]) -> None:
    disk = mount_disk("64k")
    pack(tmp_path / "a.zip", {"a.jpg": os.urandom(100_000)})
    with pytest.raises(OSError, match="are needed"):
        unpack(tmp_path / "a.zip", disk)
    assert everything(disk) == {}


def test_the_uppermost_folder_with_both_sets(tmp_path: Path) -> None:
    for folder in ("x/y/trainA", "x/y/trainB", "x/y/trainA/deep/trainA", "x/y/trainA/deep/trainB"):
        (tmp_path / folder).mkdir(parents=True)
    assert find_root(tmp_path, ("trainA", "trainB")) == tmp_path / "x" / "y"
    assert find_root(tmp_path, ("trainA", "trainC")) is None
