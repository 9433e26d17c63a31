"""Pictures with classes: folders of class folders, CIFAR-100 and Caltech-101."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from impasto.data.decode import Rgb, read_picture
from impasto.data.files import list_pictures
from impasto.options.errors import FolderError

__all__ = [
    "ClassSets",
    "Labelled",
    "PictureArrays",
    "PictureFiles",
    "open_caltech101",
    "open_cifar100",
    "open_folders",
    "split_by_class",
]


class Labelled(Protocol):
    """Pictures, each with the number of its class."""

    @property
    def labels(self) -> Sequence[int]:
        """Class of each picture, counted from 0."""
        ...

    def path(self, index: int) -> Path:
        """Return the file that a picture is in, for messages."""
        ...

    def read(self, index: int) -> Rgb:
        """Return a picture, RGB, (H, W, 3), uint8.

        Raises:
            PictureError: it cannot be read.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class PictureFiles:
    """Pictures in files of their own, decoded when asked for.

    Attributes:
        paths: paths of the picture files.
        labels: class index of each picture, counted from 0.
    """

    paths: Sequence[Path]
    labels: Sequence[int]

    def path(self, index: int) -> Path:
        """Return the file of a picture."""
        return self.paths[index]

    def read(self, index: int) -> Rgb:
        """Return a picture, RGB, (H, W, 3), uint8, upright, sRGB.

        Raises:
            PictureError: it cannot be read.
        """
        return read_picture(self.paths[index]).rgb


@dataclass(frozen=True, kw_only=True, eq=False)
class PictureArrays:
    """Pictures in memory.

    Attributes:
        file: file that the pictures were read from.
        images: the pictures, RGB, (N, H, W, 3), uint8.
        labels: class index of each picture, counted from 0.
    """

    file: Path
    images: Rgb
    labels: Sequence[int]

    def path(self, index: int) -> Path:  # noqa: ARG002
        """Return the file that holds all of them."""
        return self.file

    def read(self, index: int) -> Rgb:
        """Return a picture, RGB, (H, W, 3), uint8."""
        picture: Rgb = self.images[index]
        return picture


@dataclass(frozen=True, kw_only=True)
class ClassSets:
    """The training pictures and the held-out pictures of a classifier.

    Attributes:
        classes: names of the classes.
        train: pictures for training.
        held_out: pictures of the same classes for validation.
    """

    classes: tuple[str, ...]
    train: Labelled
    held_out: Labelled


def open_folders(
    train: Mapping[str, Path],
    held_out: Mapping[str, Path] | None = None,
    *,
    share: float,
    generator: torch.Generator,
) -> ClassSets:
    """List the pictures of class folders, which may have folders inside.

    Args:
        train: folder of each class, by the name of the class.
        held_out: folders of the same classes with other pictures; unless given, a share of each
            class is held out.
        share: share of each class that is held out, 0 to 1.
        generator: random generator that chooses the held-out pictures, on the CPU.

    Raises:
        FolderError: a folder is missing or holds no pictures, or a picture is used twice.
    """
    files = _list(train)
    if held_out is None:
        _refuse_repeated(files)
        return split_by_class(tuple(train), files, share=share, generator=generator)
    others = _list({name: held_out[name] for name in train})
    _refuse_repeated(files, others)
    return ClassSets(classes=tuple(train), train=files, held_out=others)


def open_cifar100(root: Path, *, download: bool = False) -> ClassSets:
    """Open CIFAR-100 (Krizhevsky 2009) as torchvision keeps it; its test pictures are held out.

    Args:
        root: folder with ``cifar-100-python``.
        download: download the data set if it is missing, 169 MB.

    Raises:
        FolderError: the data set is missing, damaged, or cannot be downloaded.
    """
    from torchvision import datasets  # noqa: PLC0415 - it takes as long as torch

    try:
        parts = [datasets.CIFAR100(root, train=train, download=download) for train in (True, False)]
    except (OSError, RuntimeError, LookupError, EOFError, ValueError) as error:
        raise FolderError(
            root,
            f"CIFAR-100 cannot be read ({_first_line(error)}); expected cifar-100-python/train, "
            "test and meta, as torchvision unpacks and verifies them"
            + ("" if download else ". Add --download to fetch 169 MB"),
        ) from error
    train, held_out = (
        PictureArrays(
            file=root / datasets.CIFAR100.base_folder / name,
            images=np.ascontiguousarray(part.data),
            labels=[int(label) for label in part.targets],
        )
        for name, part in zip(("train", "test"), parts, strict=True)
    )
    return ClassSets(classes=tuple(parts[0].classes), train=train, held_out=held_out)


def open_caltech101(
    root: Path, *, share: float, generator: torch.Generator, download: bool = False
) -> ClassSets:
    """Open Caltech-101 (Fei-Fei et al. 2004) as torchvision keeps it; it has no test set.

    Args:
        root: folder with ``caltech101/101_ObjectCategories``.
        share: share of each class that is held out, 0 to 1.
        generator: random generator that chooses the held-out pictures, on the CPU.
        download: download the data set if it is missing, 137 MB.

    Raises:
        FolderError: the data set is missing or cannot be downloaded.
    """
    from torchvision import datasets  # noqa: PLC0415 - it takes as long as torch

    folder = root / "caltech101" / "101_ObjectCategories"
    if not folder.is_dir() and not download:  # torchvision would make the one above it
        raise FolderError(root, _NO_CALTECH)
    try:
        found = datasets.Caltech101(root, download=download)
    except (OSError, RuntimeError, ImportError, ValueError) as error:
        raise FolderError(root, f"{_NO_CALTECH} ({_first_line(error)})") from error
    files = PictureFiles(
        paths=[
            folder / found.categories[label] / f"image_{number:04d}.jpg"
            for label, number in zip(found.y, found.index, strict=True)
        ],
        labels=list(found.y),
    )
    return split_by_class(tuple(found.categories), files, share=share, generator=generator)


def split_by_class(
    classes: tuple[str, ...], files: PictureFiles, *, share: float, generator: torch.Generator
) -> ClassSets:
    """Hold out the same share of each class: one picture at least, and never all.

    Args:
        classes: names of the classes.
        files: all pictures.
        share: share of each class that is held out, 0 to 1.
        generator: random generator that chooses the held-out pictures, on the CPU.

    Raises:
        FolderError: a class has a single picture.
    """
    places: dict[int, list[int]] = {}
    for index, label in enumerate(files.labels):
        places.setdefault(label, []).append(index)
    held: set[int] = set()
    for label, some in sorted(places.items()):
        if len(some) < 2:
            raise FolderError(
                files.paths[some[0]].parent,
                f"class {classes[label]} has a single picture; one has to be held out, so it takes "
                "two or more",
            )
        count = min(max(1, round(share * len(some))), len(some) - 1)
        order = torch.randperm(len(some), generator=generator).tolist()
        held.update(some[place] for place in order[:count])
    train, held_out = (
        PictureFiles(
            paths=[files.paths[index] for index in chosen],
            labels=[files.labels[index] for index in chosen],
        )
        for chosen in (sorted(set(range(len(files.paths))) - held), sorted(held))
    )
    return ClassSets(classes=classes, train=train, held_out=held_out)


_NO_CALTECH = (
    "holds no Caltech-101; expected caltech101/101_ObjectCategories, as torchvision unpacks it. "
    "Add --download to fetch 137 MB"
)


def _list(folders: Mapping[str, Path]) -> PictureFiles:
    paths: list[Path] = []
    labels: list[int] = []
    for label, folder in enumerate(folders.values()):
        found = list_pictures(folder)
        paths += found
        labels += [label] * len(found)
    return PictureFiles(paths=paths, labels=labels)


def _refuse_repeated(*parts: PictureFiles) -> None:
    """Refuse a picture of two classes, and one that is both learnt from and held out.

    Scores would mean nothing, and nobody would see it.
    """
    seen: set[str] = set()
    for path in (path for part in parts for path in part.paths):
        place = os.path.abspath(path)  # noqa: PTH100 - not resolve(), which asks the disk
        if place in seen:
            raise FolderError(
                path.parent,
                f"{path.name} would be used twice: in two classes, or both to learn from and held "
                "out; expected folders that share no picture",
            )
        seen.add(place)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
