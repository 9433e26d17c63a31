"""Batches of labeled pictures, resized and randomly augmented; unreadable files are skipped."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from impasto.data.cache import PictureCache
from impasto.data.datasets import Draw, UnpairedSampler
from impasto.data.decode import Rgb
from impasto.data.fingerprints import count_moved
from impasto.data.loaders import GuardedLoader, PictureLoader
from impasto.data.tensors import to_byte_tensor, to_unit_range
from impasto.data.transforms import center_crop, random_flip, random_light, random_part, resize
from impasto.gatys.classifier.data import Labelled
from impasto.options.errors import CheckpointError, FolderError, PictureError

__all__ = [
    "HELD_OUT",
    "LEARNED",
    "Augmentation",
    "ClassBatch",
    "ClassPictures",
    "HeldOutPictures",
    "TrainingLoader",
    "collate_classes",
]


LEARNED, HELD_OUT = "to learn from", "held out"
"""Names of the two sets of pictures in a state, and in messages about it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class ClassBatch:
    """Pictures and their classes.

    Attributes:
        images: RGB, (N, 3, S, S), float32 in [0, 1], or uint8 as loaders give them.
        labels: (N,), int64.
        unreadable: files that could not be read, with the reasons.
    """

    images: Tensor
    labels: Tensor
    unreadable: tuple[tuple[Path, str], ...] = ()

    def to(self, device: torch.device) -> "ClassBatch":
        """Return the batch on a device, with pictures as float32 in [0, 1].

        The copy is asynchronous if the memory is pinned.
        """
        return ClassBatch(
            images=to_unit_range(self.images.to(device, non_blocking=True)),
            labels=self.labels.to(device, non_blocking=True),
            unreadable=self.unreadable,
        )

    def pin_memory(self) -> "ClassBatch":
        """Return the batch in page-locked memory (called by torch's loader)."""
        return ClassBatch(
            images=self.images.pin_memory(),
            labels=self.labels.pin_memory(),
            unreadable=self.unreadable,
        )


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """The cropping and augmentation of pictures.

    Attributes:
        size: side of the square crop, in pixels.
        smallest_area: smallest area of a random crop in training, relative to the picture.
        largest_area: largest area of a random crop, relative to the picture; of a held-out picture,
            the network sees the center crop of this area.
        flip: mirror half of the training pictures horizontally.
        light: strength of random brightness and contrast changes in training; hues never change.
    """

    size: int
    smallest_area: float = 0.35
    largest_area: float = 1.0
    flip: bool = True
    light: float = 0.2

    def fit(self, rgb: Rgb) -> Rgb:
        """Shrink a large picture until its smallest crops have ``size`` pixels; deterministic."""
        height, width = rgb.shape[:2]
        scale = self.size / (min(height, width) * self.smallest_area**0.5)
        return rgb if scale >= 1 else resize(rgb, round(height * scale), round(width * scale))

    def vary(self, rgb: Rgb, *, generator: torch.Generator) -> Rgb:
        """Return a random square crop of ``size`` pixels for training, augmented."""
        part = random_part(
            rgb,
            self.size,
            smallest_area=self.smallest_area,
            largest_area=self.largest_area,
            generator=generator,
        )
        if self.light:
            part = random_light(part, self.light, generator=generator)
        return random_flip(part, generator=generator) if self.flip else part

    def center(self, rgb: Rgb) -> Rgb:
        """Return the center square, scaled to ``size`` pixels."""
        side = max(1, round(min(rgb.shape[:2]) * self.largest_area**0.5))
        return resize(center_crop(rgb, side), self.size, self.size)


class ClassPictures(Dataset[ClassBatch]):
    """Pictures looked up by a :class:`Draw`; unreadable ones are skipped.

    Args:
        pictures: source of the pictures.
        augmentation: cropping and augmentation of the pictures.
        cache: keep the resized pictures in memory.
        workers: processes that load the pictures, which then share that memory.
    """

    def __init__(
        self,
        pictures: Labelled,
        *,
        augmentation: Augmentation,
        cache: bool = False,
        workers: int = 0,
    ) -> None:
        self.pictures = pictures
        self._augmentation = augmentation
        self._cache = PictureCache(len(self), workers=workers) if cache else None

    def __len__(self) -> int:
        return len(self.pictures.labels)

    def __getitem__(self, draw: Draw) -> ClassBatch:
        """Return ``draw.index_A``, varied, or the next readable one; empty if there is none."""
        generator = torch.Generator().manual_seed(draw.seed)
        unreadable: list[tuple[Path, str]] = []
        for place in range(draw.index_A, draw.index_A + len(self)):
            try:
                fitted = self._fitted(place % len(self))
            except PictureError as error:
                unreadable.append((error.path, error.reason))
            else:
                varied = self._augmentation.vary(fitted, generator=generator)
                return self._batch(place % len(self), varied, unreadable)
        return _empty(unreadable)

    def center(self, index: int) -> ClassBatch:
        """Return the center crop of a picture as a batch of one; empty if it cannot be read."""
        try:
            return self._batch(index, self._augmentation.center(self._fitted(index)), [])
        except PictureError as error:
            return _empty([(error.path, error.reason)])

    def _batch(self, index: int, rgb: Rgb, unreadable: Sequence[tuple[Path, str]]) -> ClassBatch:
        return ClassBatch(
            images=to_byte_tensor(rgb).unsqueeze(0),
            labels=torch.tensor([self.pictures.labels[index]]),
            unreadable=tuple(unreadable),
        )

    def _fitted(self, index: int) -> Rgb:
        kept = None if self._cache is None else self._cache.get(index)
        if kept is not None:
            return kept
        fitted = self._augmentation.fit(self.pictures.read(index))
        if self._cache is not None:
            self._cache.put(index, fitted)
        return fitted


class TrainingLoader(PictureLoader[ClassBatch]):
    """Yields training batches, and keeps its position for resuming.

    Args:
        pictures: pictures for training.
        sampler: sampler of as many pairs as there are pictures; only the first element of each pair
            is used.
        workers: number of loading processes; 0 loads in this process.
        pin_memory: load into page-locked memory, for a GPU.
        classes: names of the classes, in the order of their numbers.
        allow_changes: continue from a state with other classes, too.
        fingerprints: what identifies the files of :data:`LEARNED` and :data:`HELD_OUT`, as of
            :class:`~impasto.data.loaders.PictureLoader`.
    """

    def __init__(
        self,
        pictures: ClassPictures,
        *,
        sampler: UnpairedSampler,
        workers: int = 0,
        pin_memory: bool = False,
        classes: Sequence[str] = (),
        allow_changes: bool = False,
        fingerprints: Mapping[str, Tensor] | None = None,
    ) -> None:
        super().__init__(
            pictures,
            sampler=sampler,
            collate=collate_classes,
            workers=workers,
            pin_memory=pin_memory,
            fingerprints=fingerprints,
        )

        self._pictures = pictures.pictures
        self._classes, self._allow_changes = list(classes), allow_changes
        self._lost = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the sampler's state, the fingerprints of the files, and the classes."""
        return {**super().state_dict(), "classes": self._classes}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state; warn where its files have changed.

        Raises:
            CheckpointError: the classes are others, or in another order, and this is not allowed.
        """
        # States of earlier versions hold none.
        earlier = state.get("classes", self._classes)
        if earlier != self._classes and not self._allow_changes:
            raise CheckpointError(
                "the classes are not those that the run has learned: they were "
                f"{_enumerate(earlier)}, and are now {_enumerate(self._classes)}. The network "
                "would take one for another; give the folders their old names, start a new run "
                "under another --name, or add --allow_changes to continue all the same"
            )
        super().load_state_dict(state)
        files = state.get("files", {})
        if LEARNED in files and HELD_OUT in self._fingerprints:
            known = count_moved(files[LEARNED], self._fingerprints[HELD_OUT])
            if known:
                _log.warning(
                    "%d of the pictures that are held out now were learned from before, so the "
                    "scores will look better than they are",
                    known,
                )

    def _check(self, batch: ClassBatch) -> None:  # noqa: ARG002
        if len(self.unreadable) > self._lost:
            self._lost = len(self.unreadable)
            _refuse_lost_class(self._pictures, self.unreadable)


class HeldOutPictures(GuardedLoader[ClassBatch]):
    """Yields center crops in order, any number of times; unreadable pictures are skipped.

    Loading processes end with each time.

    Args:
        pictures: held-out pictures.
        batch_size: number of pictures per batch.
        workers: number of loading processes; 0 loads in this process.
        process: index of this process.
        processes: number of processes; each gets its share.
    """

    def __init__(
        self,
        pictures: ClassPictures,
        *,
        batch_size: int,
        workers: int = 0,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        middles = _Middles(pictures, range(process, len(pictures), processes))
        super().__init__(middles, collate=collate_classes, workers=workers, batch_size=batch_size)

    def __iter__(self) -> Iterator[ClassBatch]:
        """Yield the batches, each with a picture at least.

        Raises:
            LostProcessError: a loading process cannot be started, or was waited for in vain; the
                message says why.
        """
        try:
            yield from (batch for batch in self._each() if len(batch.labels))
        finally:
            self.close()  # also one that hangs, which torch would leave behind


def collate_classes(some: Sequence[ClassBatch]) -> ClassBatch:
    """Join batches of one picture, or of none, into one batch."""
    return ClassBatch(
        images=torch.cat([one.images for one in some]),
        labels=torch.cat([one.labels for one in some]),
        unreadable=tuple(failure for one in some for failure in one.unreadable),
    )


def _enumerate(classes: Sequence[str]) -> str:
    few = ", ".join(classes[:10])
    return few if len(classes) <= 10 else f"{few} and {len(classes) - 10} more"


def _refuse_lost_class(pictures: Labelled, unreadable: Mapping[Path, str]) -> None:
    """Refuse to train without a class; where single pictures are missing, others stand in."""
    left: set[int] = set()
    lost: dict[int, Path] = {}
    for index, label in enumerate(pictures.labels):
        path = pictures.path(index)
        if path in unreadable:
            lost.setdefault(label, path)
        else:
            left.add(label)
    for path in (path for label, path in lost.items() if label not in left):
        raise FolderError(
            path.parent,
            "none of the training pictures of this class can be read; the first reason: "
            f"{unreadable[path]}",
        )


class _Middles(Dataset[ClassBatch]):
    def __init__(self, pictures: ClassPictures, indices: Sequence[int]) -> None:
        self._pictures, self._indices = pictures, indices

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, place: int) -> ClassBatch:
        return self._pictures.center(self._indices[place])


def _empty(unreadable: Sequence[tuple[Path, str]]) -> ClassBatch:
    return ClassBatch(
        images=torch.empty(0, dtype=torch.uint8),  # of one axis, which torch.cat leaves out
        labels=torch.empty(0, dtype=torch.int64),
        unreadable=tuple(unreadable),
    )
