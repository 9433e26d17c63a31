"""Pictures with classes: folders, CIFAR-100 and Caltech-101 as torchvision keeps them."""

import hashlib
import pickle
import tarfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision import datasets

from impasto.data.files import find_class_folders
from impasto.gatys.classifier.data import (
    PictureFiles,
    open_caltech101,
    open_cifar100,
    open_folders,
    split_by_class,
)
from impasto.gatys.classifier.train import open_class_sets
from impasto.options.backbone import ClassDataOptions
from impasto.options.errors import FolderError

Fill = Callable[..., Path]


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def read_folders(
    tmp_path: Path, **options: object
) -> "tuple[tuple[str, ...], list[str], list[str]]":
    """The classes, and class and name of each picture to learn from and of each held out."""
    sets = open_class_sets(ClassDataOptions(dataroot=tmp_path, **options), seed=0)  # type: ignore[arg-type]
    found: list[list[str]] = []
    for part in (sets.train, sets.held_out):
        labels = [sets.classes[label] for label in part.labels]
        places = [part.path(index) for index in range(len(labels))]
        found.append([f"{c} {p.parent.name}/{p.name}" for c, p in zip(labels, places, strict=True)])
    return sets.classes, found[0], found[1]


# Folders.


def test_each_folder_is_a_class_and_a_share_of_each_is_held_out(
    tmp_path: Path, picture_folder: Fill
) -> None:
    picture_folder("cats", count=10)
    picture_folder("dogs/small", count=5)
    picture_folder("dogs/large", count=15)
    picture_folder(".cache", count=1)
    (tmp_path / "notes.txt").write_text("none of the classes")
    classes, train, held_out = read_folders(tmp_path, val_share=0.2)
    assert classes == ("cats", "dogs")
    assert Counter(name.split()[0] for name in train) == {"cats": 8, "dogs": 16}
    assert Counter(name.split()[0] for name in held_out) == {"cats": 2, "dogs": 4}
    assert len({*train, *held_out}) == 30


def test_the_seed_alone_says_what_is_held_out() -> None:
    files = PictureFiles(paths=[Path(f"{i}.png") for i in range(40)], labels=[0] * 20 + [1] * 20)
    first, same, other = (
        split_by_class(("a", "b"), files, share=0.3, generator=seeded(seed)).held_out
        for seed in (0, 0, 1)
    )
    assert first == same != other
    # Not the last ones of each folder, which may all be of one series.
    assert first.path(0) != Path("14.png")


@pytest.mark.parametrize(("share", "held"), [(0.001, 1), (0.5, 2), (0.99, 3)])
def test_of_each_class_some_are_held_out_and_some_are_not(share: float, held: int) -> None:
    files = PictureFiles(paths=[Path(f"{i}.png") for i in range(8)], labels=[0, 1] * 4)
    sets = split_by_class(("a", "b"), files, share=share, generator=seeded())
    assert Counter(sets.held_out.labels) == {0: held, 1: held}
    assert Counter(sets.train.labels) == {0: 4 - held, 1: 4 - held}


def test_classes_are_named_and_may_lie_anywhere(tmp_path: Path, picture_folder: Fill) -> None:
    for folder in ("data/trainA", "data/testA", "data/testB", "photo"):
        picture_folder(folder, count=2)
    elsewhere = tmp_path / "photo"
    classes, train, held_out = read_folders(
        tmp_path / "data",
        classes=("monet=trainA", f"photo={elsewhere}"),
        val_classes=("photo=testB", "monet=testA"),
    )
    assert classes == ("monet", "photo")
    assert [name.rsplit("/", 1)[0] for name in train] == ["monet trainA"] * 2 + ["photo photo"] * 2
    assert held_out == [
        *("monet testA/00.png", "monet testA/01.png"),
        *("photo testB/00.png", "photo testB/01.png"),
    ]


@pytest.mark.parametrize("named", [False, True])
def test_a_folder_of_held_out_pictures_has_the_same_classes(
    tmp_path: Path, picture_folder: Fill, named: bool
) -> None:
    for folder in ("train/a", "train/b", "val/a", "val/b"):
        picture_folder(folder, count=2)
    words = {"classes": ("first=a", "second=b")} if named else {}
    classes, train, held_out = read_folders(
        tmp_path / "train", val_folder=tmp_path / "val", **words
    )
    assert classes == (("first", "second") if named else ("a", "b"))
    assert len(train) == len(held_out) == 4
    assert held_out[3] == f"{classes[1]} b/01.png"


def test_one_class_is_none(tmp_path: Path, picture_folder: Fill) -> None:
    with pytest.raises(FolderError, match="holds no folder; expected two or more"):
        find_class_folders(tmp_path)
    picture_folder("cats")
    with pytest.raises(FolderError, match=r"holds cats; expected two or more.*--classes"):
        find_class_folders(tmp_path)
    with pytest.raises(FolderError, match="no such folder; expected one with"):
        find_class_folders(tmp_path / "nowhere")


def test_a_class_needs_two_pictures_where_one_is_held_out(
    tmp_path: Path, picture_folder: Fill
) -> None:
    picture_folder("cats", count=3)
    picture_folder("dogs", count=1)
    with pytest.raises(FolderError, match=r"dogs: class dogs has a single picture"):
        read_folders(tmp_path)


def test_a_folder_without_pictures_is_named(tmp_path: Path, picture_folder: Fill) -> None:
    picture_folder("cats", count=3)
    (tmp_path / "dogs").mkdir()
    with pytest.raises(FolderError, match="dogs"):
        read_folders(tmp_path)
    with pytest.raises(FolderError, match="wolves"):
        read_folders(tmp_path, classes=("cats", "wolves"))


def test_a_picture_is_used_once(tmp_path: Path, picture_folder: Fill) -> None:
    a, b = picture_folder("a"), picture_folder("b")
    with pytest.raises(FolderError, match=r"00\.png would be used twice"):
        open_folders({"a": a, "b": tmp_path / "b" / ".." / "a"}, share=0.5, generator=seeded())
    with pytest.raises(FolderError, match=r"b: 00\.png would be used twice.*held out"):
        open_folders(
            {"a": a, "b": b},
            {"a": picture_folder("c"), "b": b},
            share=0.5,
            generator=seeded(),
        )


def test_pictures_are_read_when_asked_for(tmp_path: Path, picture_folder: Fill) -> None:
    picture_folder("a", count=2, size=(12, 20))
    picture_folder("b", count=2, size=(30, 8))
    sets = open_class_sets(ClassDataOptions(dataroot=tmp_path), seed=0)
    assert [sets.train.read(index).shape for index in range(2)] == [(12, 20, 3), (30, 8, 3)]


# CIFAR-100.


def write_cifar100(root: Path, monkeypatch: pytest.MonkeyPatch, *, train: int = 6) -> Path:
    """Write a small CIFAR-100 in the published layout, and tell torchvision its checksums.

    Pickled dictionaries; ``data`` has rows of 3072 values, all of red, then of green, then of blue.
    """
    folder: Path = root / datasets.CIFAR100.base_folder
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", train), ("test", 4)):
        fine = [index % 3 for index in range(count)]
        entry = {
            "filenames": [f"{name}_{index}.png" for index in range(count)],
            "batch_label": "a small one",
            "fine_labels": fine,
            "coarse_labels": [0] * count,
            "data": rng.integers(0, 256, (count, 3072), dtype=np.uint8),
        }
        (folder / name).write_bytes(pickle.dumps(entry, protocol=2))
    meta = {"fine_label_names": ["apple", "bear", "crab"], "coarse_label_names": ["things"]}
    (folder / "meta").write_bytes(pickle.dumps(meta, protocol=2))
    md5 = {
        path.name: hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        for path in folder.iterdir()
    }
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [["train", md5["train"]]])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [["test", md5["test"]]])
    monkeypatch.setattr(datasets.CIFAR100, "meta", {**datasets.CIFAR100.meta, "md5": md5["meta"]})
    return folder


def test_cifar100_is_read_as_torchvision_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_cifar100(tmp_path, monkeypatch)
    sets = open_class_sets(ClassDataOptions(dataset="cifar100", dataroot=tmp_path), seed=0)
    assert sets.classes == ("apple", "bear", "crab")
    assert list(sets.train.labels) == [0, 1, 2, 0, 1, 2]
    assert list(sets.held_out.labels) == [0, 1, 2, 0]
    stored = pickle.loads((folder / "test").read_bytes())  # noqa: S301 - written above
    row = stored["data"][2]
    picture = sets.held_out.read(2)
    assert picture.shape == (32, 32, 3)
    # Row 5, column 7 of red, green, blue.
    assert picture[5, 7].tolist() == [row[plane * 1024 + 5 * 32 + 7] for plane in range(3)]
    assert sets.held_out.path(2) == folder / "test"


def test_cifar100_is_unpacked_from_the_file_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_cifar100(tmp_path / "made", monkeypatch)
    archive = tmp_path / "data" / datasets.CIFAR100.filename
    archive.parent.mkdir()
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    md5 = hashlib.md5(archive.read_bytes(), usedforsecurity=False).hexdigest()
    monkeypatch.setattr(datasets.CIFAR100, "tgz_md5", md5)
    monkeypatch.setattr(datasets.CIFAR100, "url", "file:///nowhere")
    with pytest.raises(FolderError, match="--download"):
        open_cifar100(archive.parent)
    sets = open_cifar100(archive.parent, download=True)
    assert len(sets.train.labels) == 6


def test_a_cifar100_of_other_contents_is_never_unpickled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "sprung",))

    folder = write_cifar100(tmp_path, monkeypatch)
    (folder / "train").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(FolderError, match=r"CIFAR-100 cannot be read .*corrupted"):
        open_cifar100(tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_without_cifar100_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match=r"expected cifar-100-python/train.*Add --download"):
        open_cifar100(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


# Caltech-101.


def write_caltech101(root: Path, *, background: bool = True) -> Path:
    folder = root / "caltech101" / "101_ObjectCategories"
    for index, name in enumerate(["BACKGROUND_Google"] * background + ["anchor", "wrench"]):
        (folder / name).mkdir(parents=True)
        for number in range(1, 6):
            # Some of its pictures are gray.
            picture = Image.new("L" if number == 5 else "RGB", (40, 30), index * 50)
            picture.save(folder / name / f"image_{number:04d}.jpg")
    return folder


def test_caltech101_is_read_as_torchvision_keeps_it(tmp_path: Path) -> None:
    folder = write_caltech101(tmp_path)
    data = ClassDataOptions(dataset="caltech101", dataroot=tmp_path, val_share=0.4)
    sets = open_class_sets(data, seed=0)
    assert sets.classes == ("anchor", "wrench")
    assert Counter(sets.train.labels) == {0: 3, 1: 3}
    assert Counter(sets.held_out.labels) == {0: 2, 1: 2}
    everything = [
        (part.path(index), part.labels[index])
        for part in (sets.train, sets.held_out)
        for index in range(len(part.labels))
    ]
    assert sorted(everything) == [
        (folder / name / f"image_{number:04d}.jpg", label)
        for label, name in enumerate(("anchor", "wrench"))
        for number in range(1, 6)
    ]
    assert all(sets.train.read(index).shape == (30, 40, 3) for index in range(6))


def test_without_caltech101_it_says_what_to_do_and_makes_no_folder(tmp_path: Path) -> None:
    for root in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(FolderError, match=r"no Caltech-101; expected.*--download"):
            open_caltech101(root, share=0.1, generator=seeded())
    assert not list(tmp_path.iterdir())


def test_a_caltech101_of_another_layout_is_refused_in_words(tmp_path: Path) -> None:
    write_caltech101(tmp_path, background=False)
    with pytest.raises(FolderError, match="no Caltech-101"):
        open_caltech101(tmp_path, share=0.1, generator=seeded())
