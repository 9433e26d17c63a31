"""Addresses: whose they are, what they mean, and in which order they are tried."""

from collections.abc import Iterable
from importlib import import_module
from pathlib import Path

import pytest
from torchvision import models

from impasto.data.fetch import sources as sources_module
from impasto.data.fetch.catalog import Entry, catalog
from impasto.data.fetch.sources import find_sources, register_source
from impasto.options import FetchError, OptionError

MONET = catalog()["monet2photo"]


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("IMPASTO_SOURCE", raising=False)
    (tmp_path / "home").mkdir()
    return tmp_path / "home"


def addresses(entry: Entry, *given: str) -> list[str]:
    return [source.url or str(source.path) for source in find_sources(entry, given)]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("https://mirror.example/sets", "https://mirror.example/sets/monet2photo.zip"),
        ("https://mirror.example/sets/", "https://mirror.example/sets/monet2photo.zip"),
        ("http://mirror.example/m.zip", "http://mirror.example/m.zip"),
        ("https://mirror.example/m.zip?key=1", "https://mirror.example/m.zip?key=1"),
        (
            "https://mirror.example/{name}/{file}",
            "https://mirror.example/monet2photo/monet2photo.zip",
        ),
        ("ftp://mirror.example/sets", "ftp://mirror.example/sets/monet2photo.zip"),
    ],
)
def test_an_address_of_a_file_or_of_its_folder(given: str, meant: str) -> None:
    assert addresses(MONET, given) == [meant]


def test_folders_and_files_of_the_disk(tmp_path: Path) -> None:
    file = tmp_path / "monet2photo.zip"
    assert addresses(MONET, str(tmp_path), str(tmp_path / "x.zip"), tmp_path.as_uri()) == [
        str(file),
        str(tmp_path / "x.zip"),
    ]


@pytest.mark.parametrize("given", ["gopher://a/b", "https://", "s3://bucket/x"])
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(OptionError, match="is no address; expected one that begins with http"):
        find_sources(MONET, [given])


def test_whatever_is_named_is_tried_in_order(
    own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPASTO_SOURCE", "https://b.example https://c.example")
    (own_home / "mirrors.yaml").write_text(
        "all: https://f.example\n"
        "dataset: [https://e.example, https://a.example]\n"
        "monet2photo: [https://d.example/x.zip]\n"
        "vangogh2photo: https://z.example\n",
        encoding="utf-8",
    )
    found = find_sources(MONET, ["https://a.example"])
    assert [source.url.split("/")[2][0] for source in found] == list("abcdef")
    assert [source.origin for source in found] == [
        *("--source", "IMPASTO_SOURCE", "IMPASTO_SOURCE"),
        *("mirrors.yaml", "mirrors.yaml", "mirrors.yaml"),
    ]


@pytest.mark.parametrize("text", ["all: 3\n", "all: [1]\n", "- a\n"])
def test_a_file_of_mirrors_that_is_none(own_home: Path, text: str) -> None:
    (own_home / "mirrors.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(FetchError, match=r"mirrors\.yaml"):
        find_sources(MONET)


def test_libraries_know_their_own_files() -> None:
    assert addresses(catalog()["vgg19"]) == [models.VGG19_Weights.IMAGENET1K_V1.url]
    inception = import_module("torch_fidelity.feature_extractor_inceptionv3")
    assert addresses(catalog()["inception"]) == [inception.URL_INCEPTION_V3]
    assert addresses(MONET) == []


def test_a_hub_knows_its_address() -> None:
    hub = pytest.importorskip("huggingface_hub")
    assert addresses(MONET, "hf:datasets/owner/name", "hf:owner/name/sub/x.zip") == [
        hub.hf_hub_url("owner/name", "monet2photo.zip", repo_type="dataset"),
        hub.hf_hub_url("owner/name", "sub/x.zip"),
    ]
    with pytest.raises(OptionError, match="names no repository"):
        find_sources(MONET, ["hf:owner"])


def test_a_plug_in_is_asked_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources_module, "_PLUGINS", dict(sources_module._PLUGINS))

    def plugin(entry: Entry) -> Iterable[str]:
        return [f"https://own.example/{entry.name}.zip"]

    register_source("own", plugin)
    found = find_sources(MONET, ["https://a.example"])
    assert [(source.origin, source.url) for source in found][1:] == [
        ("own", "https://own.example/monet2photo.zip")
    ]


def test_keys_are_not_shown() -> None:
    (source,) = find_sources(MONET, ["https://me:secret@mirror.example/m.zip?token=secret"])
    assert "secret" in source.url
    assert str(source) == "https://mirror.example/m.zip"
