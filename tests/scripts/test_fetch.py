"""`impasto fetch` as a user calls it, and what other commands find by name."""

import io
import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from impasto.data.fetch.catalog import Entry, catalog
from impasto.scripts.main import main
from tests.loopback import Served, serve


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("IMPASTO_SOURCE", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    facts = {"kind": "dataset", "file": "tiny.zip", "what": "noise", "license": "free to use"}
    monkeypatch.setitem(catalog(), "tiny", Entry(name="tiny", **facts))  # type: ignore[arg-type]


@pytest.fixture
def archive(picture_folder: Callable[..., Path]) -> bytes:
    folders = [picture_folder(f"tiny/train{side}", count=3, seed=ord(side)) for side in "AB"]
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for folder in folders:
            for path in folder.iterdir():
                opened.write(path, f"tiny/{folder.name}/{path.name}")
    return buffer.getvalue()


def test_fetched_and_trained_on_by_name(archive: bytes, capsys: pytest.CaptureFixture[str]) -> None:
    with serve() as server:
        server.files["/tiny.zip"] = Served(archive, statuses=[503])
        assert main(["fetch", "tiny", "--source", server.url]) == 0
    printed = capsys.readouterr()
    assert printed.out.splitlines() == [
        "tiny: noise: datasets/tiny",
        "  license: free to use",
        "  trainA 3, trainB 3 pictures",
        "  next: impasto train --dataroot datasets/tiny --name tiny",
    ]
    assert f"tiny: from {server.url}/tiny.zip (--source)" in printed.err
    small = ["--crop_size", "24", "--load_size", "28", "--netG", "resnet_4blocks", "--ngf", "2"]
    quick = ["--ndf", "2", "--num_threads", "0", "--max_images", "1", "--device", "cpu"]
    assert main(["train", "--dataroot", "tiny", "--name", "mine", *small, *quick]) == 0
    assert "from datasets/tiny/trainA to datasets/tiny/trainB" in capsys.readouterr().out
    assert main(["fetch", "tiny"]) == 0
    assert "tiny: is there already: datasets/tiny; --overwrite true" in capsys.readouterr().out


def test_a_file_of_the_disk(
    archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.zip").write_bytes(archive)
    words = ["fetch", "tiny", "--from", str(tmp_path / "my.zip"), "--datasets_dir", "sets"]
    assert main([*words, "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["path"], found["new"], found["license"]) == ("sets/tiny", True, "free to use")
    assert len(list(Path("sets/tiny/trainA").iterdir())) == 3


def test_what_fails_is_said_with_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", "tiny", "--from", "none.zip"]) == 1
    error = capsys.readouterr().err
    assert "impasto fetch: error: tiny: none.zip: no such file" in error
    assert "--from FILE" in error
    assert "Traceback" not in error


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "missing: NAME, what to fetch; impasto fetch --list"),
        (["monet2foto"], "did you mean monet2photo"),
        (["tiny", "facades", "--from", "x.zip"], "--from: is one file, and these are 2 names"),
        (["tiny", "--source", "gopher://x/y"], "is no address"),
        (["tiny", "--from", "x.zip", "--source", "y"], "expected one of the two"),
    ],
)
def test_mistakes(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        status = main(["fetch", *words])
    except SystemExit as ended:
        status = int(ended.code or 0)
    assert status == 2
    assert says in capsys.readouterr().err


def test_the_list(archive: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "my.zip").write_bytes(archive)
    assert main(["fetch", "tiny", "--from", str(tmp_path / "my.zip")]) == 0
    capsys.readouterr()
    assert main(["fetch", "--list"]) == 0
    listed = capsys.readouterr().out
    assert (
        "monet2photo                       paintings by Claude Monet, and photographs, 305 MB"
        in (listed)
    )
    assert "noise; there: datasets/tiny" in listed
    assert main(["fetch", "--list", "--json"]) == 0
    found = {each["name"]: each for each in json.loads(capsys.readouterr().out)}
    assert found["tiny"]["path"] == "datasets/tiny"
    assert found["monet2photo"]["bytes"] == 305_231_073
    assert found["monet2photo"]["path"] is None
    assert found["vgg19"]["sources"][0].endswith("/vgg19-dcbb9e9d.pth")


def test_other_commands_say_what_can_be_fetched(
    tmp_path: Path, picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos = picture_folder("photos", count=1)
    assert main(["train", "--dataroot", "vangogh2photo", "--name", "x"]) == 1
    assert "no such folder; impasto fetch vangogh2photo fetches it" in capsys.readouterr().err
    translate = ["translate", str(photos), "--model", "style_cezanne", "--output"]
    assert main([*translate, str(tmp_path / "out")]) == 1
    assert "impasto fetch style_cezanne fetches it" in capsys.readouterr().err
    words = ["evaluate", "style_cezanne", "--real", str(photos), "--inputs", str(photos)]
    assert main([*words, "--output", str(tmp_path / "out")]) == 1
    assert "impasto fetch style_cezanne fetches it" in capsys.readouterr().err
