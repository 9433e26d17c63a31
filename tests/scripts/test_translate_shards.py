"""`impasto translate --shard` and `--json`: parts of one folder, and lines for other programs."""

import json
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from PIL import Image

from impasto.cyclegan.jobs.results import ResultsFolder
from impasto.data.files import pick_shard
from impasto.options.errors import ImpastoError
from tests.translating import shown, translate


def test_shards_are_the_whole_and_none_twice_in_whatever_order() -> None:
    root = Path("/photos")
    files = [root / f"{index % 7}" / f"{index}.jpg" for index in range(2000)]
    parts = [pick_shard(files, root=root, shard=number, shards=4) for number in range(1, 5)]
    assert sorted(path for part in parts for path in part) == sorted(files)
    assert all(400 <= len(part) <= 600 for part in parts)
    shuffled = sorted(files, key=lambda path: path.stem[::-1])
    elsewhere = [Path("/other") / path.relative_to(root) for path in shuffled]
    again = pick_shard(elsewhere, root=Path("/other"), shard=2, shards=4)
    assert {path.relative_to("/other") for path in again} == {
        path.relative_to(root) for path in parts[1]
    }
    # `printf 0/0.jpg | sha256sum` begins with 60eec52ce31ceadd, and 0x60eec52ce31ceadd % 4 is 1.
    assert files[0] in parts[1]
    with pytest.raises(ValueError, match="a shard from 1 to 4, got 5"):
        pick_shard(files, root=root, shard=5, shards=4)


def test_four_shards_make_what_one_command_makes(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    for folder in ("", "deep"):
        (photos / folder).mkdir()
    for index in range(24):
        name = ("deep/" * (index % 2)) + f"{index}.png"
        Image.new("RGB", (5, 4), (10 * index, 90, 30)).save(photos / name)
    Image.new("RGB", (5, 4)).save(photos / "0.bmp")  # names depend on what other shards have
    counts = []
    for number in range(1, 5):
        words = (photos, "--model", model, "--output", out, "--shard", f"{number}/4")
        assert translate(*words) == 0
        counts.append(len(list(out.rglob("*.png"))))
        assert (out / f"index-shard-{number}-of-4.html").is_file()
        assert "0 already there, 0 failed" in capsys.readouterr().out
        assert translate(*words) == 0
        assert capsys.readouterr().out.startswith("0 translated")
    assert counts == sorted(counts)
    assert counts[0] < counts[-1] == 25
    assert not (out / "index.html").exists()
    # A different number of parts finds them all there, too.
    assert translate(photos, "--model", model, "--output", out, "--shard", "2/3") == 0
    assert capsys.readouterr().out.startswith("0 translated")
    # The same command without a shard makes the one page, and takes over what shards noted.
    assert translate(photos, "--model", model, "--output", out) == 0
    assert "0 translated, 25 already there, 0 failed" in capsys.readouterr().out
    assert len(shown(out)) == 50
    assert sorted(path.name for path in out.iterdir() if path.suffix != ".png") == [
        "deep",
        "index.html",
        "page",
    ]
    alone = tmp_path / "alone"
    assert translate(photos, "--model", model, "--output", alone) == 0
    for path in alone.rglob("*.png"):
        assert (out / path.relative_to(alone)).read_bytes() == path.read_bytes()


def test_shards_of_other_numbers_know_what_was_made_last(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for index in range(6):
        Image.new("RGB", (8, 6), (40 * index, 90, 30)).save(photos / f"{index}.png")
    # Sorted by their names, the folders of the second split lie before and behind the first.
    for shards, strength in ((2, 1), (3, 0.5), (2, 0.7), (3, 0)):
        for number in range(1, shards + 1):
            words = ("--shard", f"{number}/{shards}", "--strength", strength)
            assert translate(photos, "--model", model, "--output", out, *words) == 0
    printed = capsys.readouterr()
    assert "was changed after it was made" not in printed.err
    assert translate(photos, "--model", model, "--output", out, "--strength", 0) == 0
    assert "0 translated, 6 already there" in capsys.readouterr().out
    assert not list(out.glob("page-shard-*"))
    for index in range(6):
        with Image.open(out / f"{index}.png") as made, Image.open(photos / f"{index}.png") as was:
            assert made.tobytes() == was.tobytes()
        assert (out / "page" / "before" / f"{index}.png.webp").is_file()


def test_shards_run_beside_each_other_and_not_beside_the_whole(tmp_path: Path) -> None:
    names = [PurePosixPath("a.png")]

    def folder(part: tuple[int, int] | None) -> ResultsFolder:
        return ResultsFolder(tmp_path, names, part=part)

    with folder((1, 2)).opened(), folder((2, 2)).opened():
        with pytest.raises(ImpastoError, match="another impasto translate writes into it"):
            folder((1, 2)).opened().__enter__()
        with pytest.raises(ImpastoError, match="writes a shard into it"):
            folder(None).opened().__enter__()
    with folder(None).opened():
        assert [path.name for path in tmp_path.iterdir()] == ["page"]


def test_no_shard_begins_while_the_whole_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.sleep", lambda _seconds: None)
    names = [PurePosixPath("a.png")]
    with (
        ResultsFolder(tmp_path, names).opened(),
        pytest.raises(ImpastoError, match="another impasto translate writes into it"),
    ):
        ResultsFolder(tmp_path, names, part=(1, 2)).opened().__enter__()


@pytest.mark.parametrize("shard", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2"])
def test_shards_that_are_none(
    picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str], shard: str
) -> None:
    assert translate(picture_folder("photos"), "--output", "out", f"--shard={shard}") == 2
    assert (
        "--shard: expected a part and how many there are, such as 3/16" in capsys.readouterr().err
    )


def test_a_sheet_is_not_for_a_shard(
    picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate(picture_folder("photos"), "--sheet", "a.jpg", "--shard", "1/2") == 2
    assert "--sheet: shows all pictures" in capsys.readouterr().err


def test_json_has_one_line_for_each_picture_and_nothing_else(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for name in ("a.png", "é.png"):
        Image.new("RGB", (5, 4)).save(photos / name)
    (photos / "bad.jpg").write_bytes(b"no picture")
    (photos / "notes.txt").write_bytes(b"not looked at")
    words = (photos, "--model", model, "--output", out, "--json")
    assert translate(*words) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    found = {Path(line["source"]).name: line for line in lines}
    assert len(lines) == len(found) == 3
    assert found["é.png"] == {
        "model": str(model),
        "source": str(photos / "é.png"),
        "result": str(out / "é.png"),
        "kind": "picture",
        "status": "translated",
        "reason": None,
    }
    assert (found["bad.jpg"]["status"], found["bad.jpg"]["result"]) == ("failed", None)
    assert "is not a JPEG" in found["bad.jpg"]["reason"]
    assert translate(*words) == 1
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert sorted(line["status"] for line in lines) == ["failed", "there", "there"]


def test_a_printed_config_gives_the_same_options(
    model: Path, picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = picture_folder("photos", count=1, size=(4, 4))
    out = photos.parent / "out"
    assert translate(photos, "--model", model, "--output", out, "--print_config") == 0
    printed = capsys.readouterr().out
    assert "json" not in printed
    (photos.parent / "config.yaml").write_text(printed, encoding="utf-8")
    assert translate(photos, "--config", photos.parent / "config.yaml") == 0
    assert (out / "00.png").is_file()
