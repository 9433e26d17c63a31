"""Fetching, from a name to what others find: pictures to train on, generators, weights."""

import hashlib
import io
import os
import pickle
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import models

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.jobs.fetch import FetchResult, run_fetch
from impasto.cyclegan.models import find_generator
from impasto.data.fetch import sources as sources_module
from impasto.data.fetch.catalog import Entry, catalog
from impasto.gatys.features.weights import find_model_weights
from impasto.options import CheckpointError, FetchOptions, OptionError
from impasto.runs.directory import lock_folder
from tests.loopback import Served, Server, serve

COUNTS = {"trainA": 3, "testA": 1, "trainB": 2, "testB": 1}


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own for all that is remembered, and to be in."""
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.delenv("IMPASTO_SOURCE", raising=False)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


def picture(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 36, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def archive(top: str = "tiny/", more: dict[str, bytes] | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as opened:
        for folder, count in COUNTS.items():
            for index in range(count):
                opened.writestr(f"{top}{folder}/{index}.png", picture(index))
        for name, content in (more or {}).items():
            opened.writestr(name, content)
    return buffer.getvalue()


def register(monkeypatch: pytest.MonkeyPatch, content: bytes, **changes: Any) -> Entry:
    """Put a data set into the catalog, as if it were published."""
    facts: dict[str, Any] = {
        "name": "tiny",
        "kind": "dataset",
        "file": "tiny.zip",
        "what": "noise, and noise",
        "license": "none",
        "bytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "pictures": COUNTS,
        **changes,
    }
    entry = Entry(**facts)
    monkeypatch.setitem(catalog(), entry.name, entry)
    return entry


def fetch(*names: str, **changes: Any) -> tuple[FetchResult, list[str]]:
    said = list[str]()
    changes.setdefault("timeout_seconds", 5.0)
    return run_fetch(FetchOptions(names=names, **changes), announce=said.append), said


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.is_dir() else set()


def test_a_file_of_the_disk_becomes_a_folder_to_train_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive()
    register(monkeypatch, content)
    file = tmp_path / "downloaded.zip"
    file.write_bytes(content)
    result, _ = fetch("tiny", file=file)
    (fetched,) = result.fetched
    assert fetched.path == Path("datasets/tiny")
    assert fetched.notes == ["trainA 3, trainB 2, testA 1, testB 1 pictures"]
    assert fetched.sha256 == hashlib.sha256(content).hexdigest()
    for folder, count in COUNTS.items():
        found = sorted((fetched.path / folder).iterdir())
        assert [path.read_bytes() for path in found] == [picture(i) for i in range(count)]
    assert left(Path("datasets")) == {"tiny"}
    assert file.read_bytes() == content  # it is the user's


def test_other_counts_than_published_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive()
    register(monkeypatch, content, pictures={**COUNTS, "trainB": 6287})
    (tmp_path / "tiny.zip").write_bytes(content)
    result, _ = fetch("tiny", source=[str(tmp_path)])
    assert "note: trainB holds 2 pictures, as published 6,287" in result.fetched[0].notes


def test_a_cut_connection(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive(more={"pad": os.urandom(200_000)})
    register(monkeypatch, content)
    server.files["/sets/tiny.zip"] = Served(content, cuts=[100_000])
    result, _ = fetch("tiny", source=[f"{server.url}/sets"], keep_archive=True)
    assert not result.failures
    assert [asked for _, asked in server.asked] == ["", f"bytes={6 * 2**14}-"]
    assert left(Path("datasets")) == {"tiny", "tiny.zip"}
    assert Path("datasets/tiny.zip").read_bytes() == content


def test_a_wrong_hash_a_page_and_a_gone_file_and_then_a_good_source(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive()
    register(monkeypatch, content)
    server.files["/wrong/tiny.zip"] = Served(content[:-1] + b"?")
    server.files["/page/tiny.zip"] = Served(b"<html>", kind="text/html")
    server.files["/good/tiny.zip"] = Served(content)
    monkeypatch.setenv("IMPASTO_SOURCE", f"{server.url}/good")
    result, said = fetch("tiny", source=[f"{server.url}/{at}" for at in ("gone", "wrong", "page")])
    assert not result.failures
    tried = "\n".join(said)
    assert "/gone/tiny.zip: is not there (HTTP 404)" in tried
    assert "/wrong/tiny.zip: its SHA-256 is " in tried
    assert "as it is published: damaged, another version or another file" in tried
    assert "a web page instead of the file" in tried
    assert "/good/tiny.zip (IMPASTO_SOURCE)" in said[-1]
    assert left(Path("datasets")) == {"tiny"}


def test_where_all_sources_fail_each_is_said_and_what_else_can_be_done(server: Server) -> None:
    result, _ = fetch("monet2photo", source=[f"{server.url}/a", f"{server.url}/b"])
    text = result.failures["monet2photo"]
    for words in (
        *("/a/monet2photo.zip: is not there (HTTP 404)", "/b/monet2photo.zip: is not there"),
        *("--source", "IMPASTO_SOURCE", "mirrors.yaml", "--from FILE"),
        "datasets/download_cyclegan_dataset.sh of the reference implementation",
    ):
        assert words in text
    assert left(Path("datasets")) == set()


def test_a_source_whose_package_is_missing_does_not_hold_up_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive()
    register(monkeypatch, content)
    (tmp_path / "tiny.zip").write_bytes(content)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # as if it were not installed
    result, said = fetch("tiny", source=["hf:owner/name", str(tmp_path)])
    assert not result.failures
    assert any("needs the package huggingface_hub: pip install huggingface_hub" in s for s in said)
    result, _ = fetch("tiny", source=["hf:owner/name"], overwrite=True)
    assert "hf:owner/name: hf:owner/name needs the package" in result.failures["tiny"]
    assert left(Path("datasets/tiny")) == set(COUNTS)


def test_without_any_source_it_is_said_what_to_do() -> None:
    result, _ = fetch("monet2photo", "style_monet")
    assert set(result.failures) == {"monet2photo", "style_monet"}
    assert "monet2photo could not be fetched from any source" in result.failures["monet2photo"]
    assert "scripts/download_cyclegan_model.sh" in result.failures["style_monet"]


def test_a_server_without_ranges_and_without_names_of_versions(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive(more={"pad": os.urandom(100_000)})
    register(monkeypatch, content)
    server.files["/tiny.zip"] = Served(content, etag="", ranges=False, cuts=[50_000])
    assert not fetch("tiny", source=[server.url])[0].failures


def test_an_archive_that_leads_out_of_its_folder(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its checksum is right: nothing of it is unpacked, and the next source is asked."""
    evil, good = archive(more={"../../evil.png": picture(9)}), archive()
    register(monkeypatch, evil, sha256="", bytes=None)
    server.files["/a/tiny.zip"], server.files["/b/tiny.zip"] = Served(evil), Served(good)
    result, _ = fetch("tiny", source=[f"{server.url}/a"])
    assert "'../../evil.png', a name that may lead out of its folder" in result.failures["tiny"]
    assert not list(tmp_path.rglob("evil.png"))
    assert not Path("datasets/tiny").exists()
    result, _ = fetch("tiny", source=[f"{server.url}/a", f"{server.url}/b"])
    assert not result.failures
    assert not list(tmp_path.rglob("evil.png"))


@pytest.mark.parametrize("top", ["", "a/b/c/"])
def test_the_folders_are_found_wherever_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, top: str
) -> None:
    content = archive(top)
    register(monkeypatch, content)
    (tmp_path / "tiny.zip").write_bytes(content)
    assert not fetch("tiny", file=tmp_path / "tiny.zip")[0].failures
    assert left(Path("datasets/tiny")) >= set(COUNTS)


def test_an_archive_of_something_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, b"", sha256="", bytes=None)
    with zipfile.ZipFile(tmp_path / "tiny.zip", "w") as opened:
        opened.writestr("train/1.png", picture(1))
    result, _ = fetch("tiny", file=tmp_path / "tiny.zip")
    assert "holds no folders trainA and trainB" in result.failures["tiny"]
    with zipfile.ZipFile(tmp_path / "tiny.zip", "w") as opened:
        opened.writestr("trainA/1.txt", b"no picture")
        opened.writestr("trainB/1.png", picture(1))
    result, _ = fetch("tiny", file=tmp_path / "tiny.zip")
    assert "trainA: " in result.failures["tiny"]
    assert left(Path("datasets")) == set()


def test_a_full_disk_leaves_nothing_half(
    server: Server, mount_disk: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mount_disk("512k")
    content = archive(
        more={"pad": os.urandom(400_000)}
    )  # it fits, and what is in it does not beside it
    register(monkeypatch, content, bytes=None)
    server.files["/tiny.zip"] = Served(content)
    with pytest.raises(OSError, match=r"MB free, and .* MB are needed"):
        fetch("tiny", source=[server.url], datasets_dir=disk)
    assert left(disk) == {".fetch-tiny"}
    assert not list(disk.rglob("*.png"))
    register(monkeypatch, content, bytes=10**9)
    with pytest.raises(OSError, match=r"1,000\.0 MB are needed"):
        fetch("tiny", source=[server.url], datasets_dir=disk / "other")


def test_what_is_there_stays_unless_told_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive()
    register(monkeypatch, content)
    (tmp_path / "tiny.zip").write_bytes(content)
    Path("datasets/tiny/trainA").mkdir(parents=True)
    Path("datasets/tiny/trainA/own.png").write_bytes(picture(0))
    (fetched,) = fetch("tiny", file=tmp_path / "tiny.zip")[0].fetched
    assert not fetched.new
    assert Path("datasets/tiny/trainA/own.png").exists()
    (fetched,) = fetch("tiny", file=tmp_path / "tiny.zip", overwrite=True)[0].fetched
    assert fetched.new
    assert left(Path("datasets")) == {"tiny"}
    assert left(Path("datasets/tiny/trainA")) == {"0.png", "1.png", "2.png"}


def test_what_is_whole_already_is_not_transferred_again(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a kill between the transfer and its verification leaves it."""
    content = archive()
    register(monkeypatch, content)
    Path("datasets/.fetch-tiny").mkdir(parents=True)
    Path("datasets/.fetch-tiny/tiny.zip").write_bytes(content)
    assert not fetch("tiny", source=[server.url])[0].failures
    assert server.asked == []


def test_a_folder_that_cannot_be_moved_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = archive()
    register(monkeypatch, content)
    (tmp_path / "tiny.zip").write_bytes(content)
    assert not fetch("tiny", file=tmp_path / "tiny.zip")[0].failures
    rename = Path.rename

    def refuse(self: Path, target: Path) -> Path:
        if self.parent.name == "unpacked":
            raise OSError(5, "Input/output error", str(self))
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="Input/output error"):
        fetch("tiny", file=tmp_path / "tiny.zip", overwrite=True)
    assert left(Path("datasets/tiny")) == set(COUNTS)


def test_two_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = archive()
    register(monkeypatch, content)
    (tmp_path / "tiny.zip").write_bytes(content)
    with lock_folder(Path("datasets/.fetch-tiny"), "busy"):
        result, _ = fetch("tiny", file=tmp_path / "tiny.zip")
    assert "another process is fetching tiny; wait for it" in result.failures["tiny"]


def generator(seed: int) -> bytes:
    torch.manual_seed(seed)
    network = GeneratorArchitecture(depth=6, channels=2).build()
    buffer = io.BytesIO()
    torch.save(network.state_dict(), buffer)
    return buffer.getvalue()


def test_a_published_model_is_found_by_its_name(server: Server) -> None:
    with pytest.raises(CheckpointError, match="impasto fetch style_monet fetches it"):
        find_generator(Path("style_monet"))
    server.files["/models/style_monet.pth"] = Served(generator(1))
    result, _ = fetch("style_monet", source=[f"{server.url}/models"])
    (fetched,) = result.fetched
    assert fetched.path == Path("checkpoints/style_monet/latest_net_G.pth")
    assert fetched.notes == ["resnet, 6 blocks, 2 filters, norm instance, upsample deconv"]
    assert left(Path("checkpoints")) == {"style_monet"}
    assert str(find_generator(Path("style_monet")).architecture) == fetched.notes[0]


def test_the_checksum_of_the_first_fetch_is_compared_later(server: Server) -> None:
    server.files["/style_monet.pth"] = Served(generator(1))
    assert not fetch("style_monet", source=[server.url])[0].failures
    server.files["/style_monet.pth"] = Served(generator(2))
    result, _ = fetch("style_monet", source=[server.url], overwrite=True)
    assert "as when it was first fetched (" in result.failures["style_monet"]
    assert Path("checkpoints/style_monet/latest_net_G.pth").read_bytes() == generator(1)
    again = {"source": [server.url], "overwrite": True}
    assert not fetch("style_monet", any_checksum=True, **again)[0].failures
    assert Path("checkpoints/style_monet/latest_net_G.pth").read_bytes() == generator(2)
    assert not fetch("style_monet", **again)[0].failures  # remembered from then on


class _Evil:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, ("ran",))


def test_a_model_that_could_run_code_is_not_kept(server: Server) -> None:
    server.files["/style_monet.pth"] = Served(pickle.dumps({"model.1.weight": _Evil()}, protocol=2))
    result, _ = fetch("style_monet", source=[server.url])
    assert "style_monet.pth: " in result.failures["style_monet"]
    assert not Path("ran").exists()
    assert not list(Path("checkpoints").rglob("*.pth"))
    buffer = io.BytesIO()
    torch.save({"fc.weight": torch.zeros(2)}, buffer)
    server.files["/style_monet.pth"] = Served(buffer.getvalue())
    result, _ = fetch("style_monet", source=[server.url])
    assert "not the weights of a CycleGAN generator" in result.failures["style_monet"]
    assert not Path("checkpoints/style_monet").exists()


def test_a_run_of_that_name_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "style_monet.pth").write_bytes(generator(1))
    Path("checkpoints/style_monet").mkdir(parents=True)
    Path("checkpoints/style_monet/options.yaml").touch()
    result, _ = fetch("style_monet", file=tmp_path / "style_monet.pth")
    assert "is a run of yours; choose another --checkpoints_dir" in result.failures["style_monet"]
    assert left(Path("checkpoints/style_monet")) == {"options.yaml"}


def test_a_network_goes_where_torchvision_looks(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources_module, "_PLUGINS", {})  # the library's own is far away
    weights = models.get_model_weights("squeezenet1_1").DEFAULT
    name = str(weights.url).rsplit("/", 1)[-1]
    buffer = io.BytesIO()
    torch.save(models.squeezenet1_1().state_dict(), buffer)
    server.files[f"/{name}"] = Served(buffer.getvalue())
    result, _ = fetch("squeezenet1_1", source=[server.url])
    assert "its SHA-256 is " in result.failures["squeezenet1_1"]  # these weights are random
    result, _ = fetch("squeezenet1_1", source=[server.url], any_checksum=True)
    assert not result.failures
    assert find_model_weights("squeezenet1_1") == result.fetched[0].path


def test_names() -> None:
    with pytest.raises(OptionError, match="unknown: 'monet2foto'; did you mean monet2photo"):
        fetch("monet2foto")
    result, _ = fetch("facades_label2photo", "facades_label2photo")
    assert list(result.failures) == ["facades_label2photo"]
    several: tuple[dict[str, Any], ...] = (
        {"names": []},
        {"names": ["a", "b"], "file": "x"},
        {"timeout_seconds": 0},
    )
    for wrong in several:
        with pytest.raises(OptionError):
            FetchOptions(**{"names": ["monet2photo"], **wrong})
