"""What can be fetched, what is remembered of it, and how it is found."""

import re
from pathlib import Path

import pytest
from torchvision import models

from impasto.data.fetch.catalog import (
    catalog,
    expected_checksum,
    fetch_hint,
    find_dataset,
    home,
    record_checksum,
)
from impasto.options import FetchError, FolderError

# The published models, as the script of the reference names them.
MODELS = {
    *("apple2orange", "orange2apple", "summer2winter_yosemite", "winter2summer_yosemite"),
    *("horse2zebra", "zebra2horse", "monet2photo", "style_monet", "style_cezanne", "style_ukiyoe"),
    *("style_vangogh", "sat2map", "map2sat", "cityscapes_photo2label", "cityscapes_label2photo"),
    *("facades_photo2label", "facades_label2photo", "iphone2dslr_flower"),
}


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_the_catalog_is_whole() -> None:
    known = catalog()
    datasets = [entry for entry in known.values() if entry.kind == "dataset"]
    published = [entry for entry in datasets if entry.sha256]
    assert len(published) == 10
    assert all(re.fullmatch(r"[0-9a-f]{64}", entry.sha256) for entry in published)
    assert len({entry.sha256 for entry in published}) == 10
    assert all(entry.bytes and entry.file == f"{entry.name}.zip" for entry in published)
    # Of the four sets of paintings, the photographs are the same.
    paintings = [entry for entry in datasets if entry.name.endswith("2photo")]
    assert {(entry.pictures["trainB"], entry.pictures["testB"]) for entry in paintings} == {
        (6287, 751)
    }
    assert known["monet2photo"].pictures["trainA"] == 1072
    assert {entry.file for entry in known.values() if entry.kind == "model"} == {
        f"{name}.pth" for name in MODELS
    }
    assert all(entry.license and entry.what for entry in known.values())
    assert "cityscapes" not in known  # withdrawn


def test_nothing_names_a_host() -> None:
    folder = Path(__file__).parents[3] / "data" / "fetch"
    for file in folder.glob("*.*"):
        assert not re.findall(r"https?://\w", file.read_text(encoding="utf-8")), file


@pytest.mark.parametrize(("name", "depth"), [("vgg16", 16), ("vgg19", 19)])
def test_networks_are_torchvisions(name: str, depth: int) -> None:
    entry = catalog()[name]
    weights = models.get_model_weights(f"vgg{depth}").IMAGENET1K_V1
    assert str(weights.url).endswith(f"/{entry.file}")
    assert entry.file == f"vgg{depth}-{entry.sha256}.pth"


def test_a_checksum_that_nobody_publishes_is_remembered(own_home: Path) -> None:
    entry = catalog()["style_monet"]
    assert expected_checksum(entry) == ("", "")
    record_checksum(entry, "ab" * 32)
    found, who = expected_checksum(entry)
    assert found == "ab" * 32
    assert str(own_home / "checksums.json") in who
    assert expected_checksum(catalog()["style_vangogh"]) == ("", "")


def test_a_published_checksum_is_not_replaced(own_home: Path) -> None:
    record_checksum(catalog()["facades"], "ab" * 32)
    assert not own_home.exists()
    assert expected_checksum(catalog()["facades"])[0].startswith("9a31ebf3")


@pytest.mark.parametrize("content", ["{", "[]"])
def test_a_damaged_memory_is_named(own_home: Path, content: str) -> None:
    own_home.mkdir()
    (own_home / "checksums.json").write_text(content, encoding="utf-8")
    with pytest.raises(FetchError, match=r"checksums\.json: .*; mend or remove it"):
        expected_checksum(catalog()["style_monet"])


def test_the_home_of_a_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("IMPASTO_HOME")
    assert home() == Path.home() / ".impasto"


def test_data_sets_are_found_by_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "datasets" / "monet2photo").mkdir(parents=True)
    (tmp_path / "own").mkdir()
    assert find_dataset(Path("monet2photo")) == Path("datasets/monet2photo")
    assert find_dataset(Path("own")) == Path("own")
    # A folder that only has the name does not hide it; one of pictures does.
    (tmp_path / "monet2photo" / "notes").mkdir(parents=True)
    assert find_dataset(Path("monet2photo")) == Path("datasets/monet2photo")
    (tmp_path / "monet2photo" / "trainA").mkdir()
    assert find_dataset(Path("monet2photo")) == Path("monet2photo")
    assert find_dataset(Path("datasets/none")) == Path("datasets/none")
    assert find_dataset(Path("none")) == Path("none")
    with pytest.raises(FolderError, match="no such folder; impasto fetch vangogh2photo fetches it"):
        find_dataset(Path("vangogh2photo"))


def test_what_can_be_fetched_is_said() -> None:
    assert fetch_hint("style_monet", "model") == "; impasto fetch style_monet fetches it"
    assert "fetch horse2zebra_pretrained" in fetch_hint("horse2zebra", "model")
    assert fetch_hint("horse2zebra", "dataset") == "; impasto fetch horse2zebra fetches it"
    assert fetch_hint("mine", "model") == ""
