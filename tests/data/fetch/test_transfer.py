"""Transfers from a server that cuts, stalls, refuses, lies and changes its files."""

import errno
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from impasto.data.fetch.transfer import copy_file, download, require_space
from impasto.options import FetchError
from tests.loopback import Served, Server, serve

CONTENT = np.random.default_rng(0).bytes(1_000_000)


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


def get(server: Server, path: Path, *, name: str = "/a.zip", **changes: object) -> None:
    settings: dict[str, object] = {"timeout_s": 5.0, "pause_s": 0.0, **changes}
    download(f"{server.url}{name}", path, **settings)  # type: ignore[arg-type]


def leftovers(path: Path) -> set[str]:
    return {each.name for each in path.parent.iterdir()} - {path.name}


def test_a_whole_file(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT)
    get(server, tmp_path / "a.zip", size=len(CONTENT))
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert not leftovers(tmp_path / "a.zip")
    assert server.asked == [("/a.zip", "")]


def test_a_cut_connection_is_continued_where_it_was_cut(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, cuts=[300_000, 200_000, 1])
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    # Of what was sent, whole parts of 16 KiB are kept: 18 of them, then 12 more, then none.
    begun = [0, 18 * 2**14, 30 * 2**14, 30 * 2**14]
    assert server.asked == [("/a.zip", f"bytes={each}-" if each else "") for each in begun]


def test_another_day_goes_on_where_the_first_was_cut(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, cuts=[409_600, 0, 0, 0, 0])
    with pytest.raises(FetchError, match=r"the connection is cut; 409,600 bytes are kept"):
        get(server, tmp_path / "a.zip")
    server.files["/a.zip"].cuts.clear()
    server.asked.clear()
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert server.asked == [("/a.zip", "bytes=409600-")]


def test_where_there_are_no_ranges_it_begins_anew(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, ranges=False, cuts=[606_208])
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [asked[1] for asked in server.asked] == ["", "bytes=606208-"]


def test_a_file_that_changed_meanwhile_is_not_mixed(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, cuts=[409_600, 0, 0, 0, 0])
    with pytest.raises(FetchError):
        get(server, tmp_path / "a.zip")
    newer = CONTENT[::-1]
    server.files["/a.zip"] = Served(newer, etag='"2"')
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == newer


@pytest.mark.parametrize("known", [True, False])
def test_a_server_that_names_no_version(server: Server, tmp_path: Path, known: bool) -> None:
    """What is there is gone on with only if a checksum will tell whether that was right."""
    server.files["/a.zip"] = Served(CONTENT, etag="", cuts=[409_600])
    get(server, tmp_path / "a.zip", known=known)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert [asked[1] for asked in server.asked] == ["", "bytes=409600-" if known else ""]


def test_a_part_of_another_address_is_not_continued(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, cuts=[409_600, 0, 0, 0, 0])
    with pytest.raises(FetchError):
        get(server, tmp_path / "a.zip")
    server.files["/b.zip"] = Served(CONTENT)
    server.asked.clear()
    get(server, tmp_path / "a.zip", name="/b.zip", known=True)
    assert server.asked == [("/b.zip", "")]
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_server_that_does_not_say_how_much(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, says_size=False)
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, statuses=[503, 429, 500])
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("status", "says"),
    [(404, "is not there"), (410, "is gone"), (401, "password"), (403, "not allowed")],
)
def test_what_is_gone_is_not_asked_for_again(
    server: Server, tmp_path: Path, status: int, says: str
) -> None:
    server.files["/a.zip"] = Served(CONTENT, statuses=[status] * 9)
    with pytest.raises(FetchError, match=rf"{says} \(HTTP {status}\)"):
        get(server, tmp_path / "a.zip")
    assert len(server.asked) == 1


def test_a_stalled_server(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, stall_s=1.0, cuts=[10, 10, 10, 10, 10])
    with pytest.raises(FetchError, match=r"no answer, or no further byte, in 0\.2 seconds"):
        get(server, tmp_path / "a.zip", timeout_s=0.2)


def test_a_slow_server_is_waited_for(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, stall_s=0.3)
    get(server, tmp_path / "a.zip", timeout_s=20.0)
    assert (tmp_path / "a.zip").read_bytes() == CONTENT
    assert len(server.asked) == 1


def test_a_page_instead_of_the_file(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(b"<html>sign in</html>", kind="text/html; charset=utf-8")
    with pytest.raises(FetchError, match="a web page instead of the file"):
        get(server, tmp_path / "a.zip")


def test_a_file_of_another_size_is_not_transferred(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT)
    with pytest.raises(FetchError, match=r"has 1,000,000 bytes, expected 5"):
        get(server, tmp_path / "a.zip", size=5)
    assert (tmp_path / "a.zip").stat().st_size == 0


def test_nobody_answers(tmp_path: Path) -> None:
    with serve() as server:
        pass
    with pytest.raises(FetchError, match="the connection fails"):
        get(server, tmp_path / "a.zip", timeout_s=1.0)


def test_an_older_part_that_is_longer_than_the_file(server: Server, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, cuts=[409_600, 0, 0, 0, 0])
    with pytest.raises(FetchError):
        get(server, tmp_path / "a.zip")
    server.files["/a.zip"] = Served(CONTENT[:300_000])
    get(server, tmp_path / "a.zip")
    assert (tmp_path / "a.zip").read_bytes() == CONTENT[:300_000]


def test_a_disk_without_room_is_said_before_the_transfer(
    server: Server, mount_disk: Callable[[str], Path]
) -> None:
    disk = mount_disk("256k")
    server.files["/a.zip"] = Served(CONTENT)
    with pytest.raises(OSError, match=r"0\.3 MB free, and 1\.0 MB are needed") as caught:
        get(server, disk / "a.zip")
    assert caught.value.errno == errno.ENOSPC
    assert (disk / "a.zip").stat().st_size == 0


def test_a_disk_that_becomes_full(server: Server, mount_disk: Callable[[str], Path]) -> None:
    """Where the server does not say how much it sends; what is there is kept."""
    disk = mount_disk("256k")
    server.files["/a.zip"] = Served(CONTENT, says_size=False)
    with pytest.raises(OSError, match="No space left") as caught:
        get(server, disk / "a.zip")
    assert caught.value.errno == errno.ENOSPC


def test_space_that_is_there(tmp_path: Path) -> None:
    require_space(tmp_path, 1)
    with pytest.raises(OSError, match="are needed"):
        require_space(tmp_path, 2**62)


def test_files_of_the_disk_are_copied(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    copy_file(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "b").read_bytes() == CONTENT
    for wrong, says in ((tmp_path / "c", "no such file"), (tmp_path, "is a folder")):
        with pytest.raises(FetchError, match=says):
            copy_file(wrong, tmp_path / "d")
