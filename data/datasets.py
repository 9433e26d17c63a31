"""The unpaired training set: two folders of pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from impasto.data.decode import read_picture
from impasto.data.sampling import Draw
from impasto.data.tensors import to_tensor
from impasto.data.transforms import Preprocessing
from impasto.options.errors import PictureError

__all__ = ["Domain", "UnpairedBatch", "UnpairedPictures", "collate_unpaired"]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnpairedBatch:
    """Pictures of both domains.

    Attributes:
        A: RGB, (N, 3, H, W), float32 in [-1, 1].
        B: RGB, (N, 3, H', W'), float32 in [-1, 1].
        unreadable: files that were met and could not be read, with the reason.
    """

    A: Tensor
    B: Tensor
    unreadable: tuple[tuple[Path, str], ...] = ()

    def to(self, device: torch.device) -> "UnpairedBatch":
        """Return the batch on a device; the copy does not wait where the memory is pinned."""
        return UnpairedBatch(
            A=self.A.to(device, non_blocking=True),
            B=self.B.to(device, non_blocking=True),
            unreadable=self.unreadable,
        )

    def pin_memory(self) -> "UnpairedBatch":
        """Return the batch in page-locked memory (called by torch's loader)."""
        return UnpairedBatch(
            A=self.A.pin_memory(), B=self.B.pin_memory(), unreadable=self.unreadable
        )


class Domain:
    """The pictures of one domain, decoded when asked for; unreadable ones are passed over.

    Args:
        paths: the picture files, at least one.
        preprocessing: how they are brought to size.
        cache: keep fitted pictures in memory.
    """

    def __init__(
        self, paths: Sequence[Path], *, preprocessing: Preprocessing, cache: bool = False
    ) -> None:
        self.paths = list(paths)
        self._preprocessing = preprocessing
        self._cache: dict[int, NDArray[np.uint8]] | None = {} if cache else None

    def __len__(self) -> int:
        return len(self.paths)

    def draw(
        self, index: int, *, generator: torch.Generator
    ) -> tuple[Tensor | None, list[tuple[Path, str]]]:
        """Return picture ``index``, cropped and flipped, or the next one that can be read.

        Returns:
            RGB, (3, H, W), float32 in [-1, 1], or None if no picture at all can be read; and the
            unreadable files met on the way, with the reasons.
        """
        unreadable = []
        for place in range(index, index + len(self.paths)):
            try:
                fitted = self._fitted(place % len(self.paths))
            except PictureError as error:
                unreadable.append((error.path, error.reason))
            else:
                return to_tensor(
                    self._preprocessing.augment(fitted, generator=generator)
                ), unreadable
        return None, unreadable

    def first(self) -> Tensor | None:
        """Return the middle of the first readable picture, to look at during training.

        Returns:
            RGB, (1, 3, H, W), float32 in [-1, 1], or None if no picture can be read.
        """
        for index in range(len(self.paths)):
            try:
                return to_tensor(self._preprocessing.keep_centre(self._fitted(index))).unsqueeze(0)
            except PictureError:
                continue  # named when the training meets it
        return None

    def _fitted(self, index: int) -> NDArray[np.uint8]:
        if self._cache is not None and index in self._cache:
            return self._cache[index]
        path = self.paths[index]
        try:
            fitted = self._preprocessing.fit(read_picture(path).rgb)
        except ValueError as error:
            raise PictureError(path, str(error)) from error
        if self._cache is not None:
            self._cache[index] = fitted
        return fitted


class UnpairedPictures(Dataset[UnpairedBatch]):
    """Pairs of unrelated pictures, looked up by a :class:`Draw`.

    Args:
        domain_A: pictures of A.
        domain_B: pictures of B.
    """

    def __init__(self, domain_A: Domain, domain_B: Domain) -> None:  # noqa: N803
        self._domains = domain_A, domain_B

    def __getitem__(self, draw: Draw) -> UnpairedBatch:
        """Return the pair as a batch of one; an empty tensor for a domain that has none left."""
        generator = torch.Generator().manual_seed(draw.seed)
        images, unreadable = [], []
        for domain, index in zip(self._domains, (draw.index_A, draw.index_B), strict=True):
            image, failed = domain.draw(index, generator=generator)
            images.append(torch.empty(0) if image is None else image.unsqueeze(0))
            unreadable += failed
        return UnpairedBatch(A=images[0], B=images[1], unreadable=tuple(unreadable))


def collate_unpaired(pairs: Sequence[UnpairedBatch]) -> UnpairedBatch:
    """Join batches of one into a batch."""
    return UnpairedBatch(
        A=torch.cat([pair.A for pair in pairs]),
        B=torch.cat([pair.B for pair in pairs]),
        unreadable=tuple(failure for pair in pairs for failure in pair.unreadable),
    )
