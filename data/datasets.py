"""The training set: two folders of pictures, and which picture of A meets which of B.

The order is drawn from a seed, so that it can be repeated, and resumed at any picture. Of paired
data, a picture of A meets its partner, and both are cropped and flipped alike.
"""

import hashlib
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from impasto.data.cache import PictureCache
from impasto.data.channels.ranges import SampleFormat
from impasto.data.decode import read_picture
from impasto.data.tensors import normalize, to_stored_tensor
from impasto.data.transforms import Preprocessing
from impasto.options.errors import FolderError, PictureError

# Of the sides that a JPEG is decoded to, over those that it is scaled to; Pillow's thumbnails, too.
_MARGIN = 2

__all__ = [
    "Domain",
    "Draw",
    "Half",
    "PairedPictures",
    "UnpairedBatch",
    "UnpairedPictures",
    "UnpairedSampler",
    "collate_unpaired",
    "hold_back",
    "read_half",
]


Half = Literal["left", "right"]
"""Side of a picture that shows both pictures of a pair."""


def read_half(path: Path, half: Half, samples: SampleFormat | None = None) -> NDArray[Any]:
    """Read one half of a picture that shows both pictures of a pair side by side.

    Args:
        path: picture file.
        half: ``left`` or ``right``; of an odd width, the column in the middle belongs to neither.
        samples: what the numbers of the file mean; None: they are colors, RGB of 8 bits.

    Returns:
        RGB, (H, W // 2, 3), uint8; or (H, W // 2, C), uint8, or float32 in [-1, 1].

    Raises:
        PictureError: it cannot be read, or is one pixel wide.
    """
    try:
        status = path.stat()
    except OSError as error:
        raise PictureError(path, (error.strerror or str(error)).lower()) from error
    rgb = _read_last(path, status.st_mtime_ns, status.st_size, samples)
    width = rgb.shape[1] // 2
    if not width:
        raise PictureError(path, "is one pixel wide; expected two pictures side by side")
    return rgb[:, :width] if half == "left" else rgb[:, -width:]


@lru_cache(maxsize=1)
def _read_last(
    path: Path, _mtime_ns: int, _bytes: int, samples: SampleFormat | None
) -> NDArray[Any]:
    """Read a picture, of which one half is asked for after the other."""
    return read_picture(path).rgb if samples is None else samples.read(path)


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """One training pair.

    Attributes:
        index_A: index of the picture of A.
        index_B: index of the picture of B.
        seed: seed of the pair's crops and flips, so that they do not depend on which worker
            process loads it, or on how many there are.
    """

    index_A: int
    index_B: int
    seed: int


def hold_back(
    paths: Sequence[Path], count: int, *, root: Path, seed: int
) -> tuple[list[Path], list[Path]]:
    """Split picture files into those to train on, and some that are held back.

    Which ones depends on the seed and on their names alone, so that a picture that is added or
    removed later on changes at most one of those that are held back.

    Args:
        paths: the picture files.
        count: number of files to hold back.
        root: folder that names are relative to.
        seed: seed of the choice.

    Returns:
        Both parts, in the order of ``paths``.

    Raises:
        FolderError: nothing would be left to train on.
    """
    if count >= len(paths):
        raise FolderError(
            root, f"holds {len(paths)} pictures; --held_back {count} would leave none to train on"
        )

    def place(path: Path) -> bytes:
        name = unicodedata.normalize("NFC", path.relative_to(root).as_posix())
        text = f"{seed}/held back/{name}".encode("utf-8", "surrogatepass")
        return hashlib.blake2b(text, digest_size=16).digest()

    held = set(sorted(paths, key=place)[:count])
    return [path for path in paths if path not in held], [path for path in paths if path in held]


class UnpairedSampler:
    """Draws the pairs of each epoch: A in order of a shuffled index, B at random.

    As in the reference an epoch has as many pairs as the larger domain has pictures, the index of A
    wraps around, and B is drawn anew for each pair. Departure: the length is rounded up to whole
    batches, with pairs of the beginning, so that no batch is smaller than the others.

    The whole epoch is drawn at once from the generator. The state is the generator's state before
    that plus a position, so a resumed run sees exactly the pairs that it would have seen, however
    far ahead worker processes had read.

    Args:
        size_A: pictures of A.
        size_B: pictures of B.
        batch_size: pairs per batch and process.
        generator: source of randomness, on the CPU; the same in every process.
        serial: take both in order (``serial_batches``).
        process: index of this process.
        processes: number of processes; each gets its share of every global batch.

    Raises:
        ValueError: a size is not positive.
    """

    def __init__(
        self,
        size_A: int,  # noqa: N803
        size_B: int,  # noqa: N803
        *,
        batch_size: int,
        generator: torch.Generator,
        serial: bool = False,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        for name, size in (("size_A", size_A), ("size_B", size_B), ("batch_size", batch_size)):
            if size < 1:
                raise ValueError(f"{name}: expected 1 or more, got {size}")
        self.size_A, self.size_B = size_A, size_B
        self._batch_size, self._process, self._processes = batch_size, process, processes
        self._generator, self._serial = generator, serial
        self._before = generator.get_state()
        self._draws = self._draw_epoch()
        self.position = 0

    @property
    def global_batch(self) -> int:
        """Pairs per batch of all processes together."""
        return self._batch_size * self._processes

    @property
    def epoch_length(self) -> int:
        """Pairs per epoch of all processes together, a multiple of the global batch."""
        return -(-max(self.size_A, self.size_B) // self.global_batch) * self.global_batch

    def __len__(self) -> int:
        """Batches that are left in the epoch."""
        return max(0, self.epoch_length - self.position) // self.global_batch

    def __iter__(self) -> Iterator[list[Draw]]:
        """Yield this process's batches from the position on; does not move the position."""
        share = self._process * self._batch_size
        for start in range(self.position, self.epoch_length, self.global_batch):
            yield self._draws[start + share : start + share + self._batch_size]

    def advance(self) -> None:
        """Count one global batch as used."""
        self.position += self.global_batch

    def next_epoch(self) -> None:
        """Draw the next epoch and go to its start."""
        self._before = self._generator.get_state()
        self._draws = self._draw_epoch()
        self.position = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the generator's state before this epoch, and the position in it."""
        return {"generator": self._before, "position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        self._generator.set_state(state["generator"])
        self.next_epoch()
        # Whole batches only: the batch may be another than the one it was saved with.
        self.position = int(state["position"]) // self.global_batch * self.global_batch

    def _draw_epoch(self) -> list[Draw]:
        pairs, length = max(self.size_A, self.size_B), self.epoch_length
        seeds = torch.randint(2**62, (length,), generator=self._generator).tolist()
        if self._serial:
            order = list(range(pairs))
            partners = order
        else:
            order = torch.randperm(pairs, generator=self._generator).tolist()
            partners = torch.randint(self.size_B, (length,), generator=self._generator).tolist()
        return [
            Draw(
                index_A=order[step % pairs] % self.size_A,
                index_B=partners[step % len(partners)] % self.size_B,
                seed=seeds[step],
            )
            for step in range(length)
        ]


@dataclass(frozen=True, kw_only=True, slots=True)
class UnpairedBatch:
    """Pictures of both domains.

    Attributes:
        A: RGB, (N, 3, H, W), float32 in [-1, 1], or uint8 as loaders give them; or of as many other
            channels as the domain has.
        B: RGB, (N, 3, H', W'), likewise.
        unreadable: files that were met and could not be read, with the reason.
    """

    A: Tensor
    B: Tensor
    unreadable: tuple[tuple[Path, str], ...] = ()

    def to(self, device: torch.device) -> "UnpairedBatch":
        """Return the batch on a device, normalized there: float32 in [-1, 1]."""
        sent = self.sent(device)
        return UnpairedBatch(A=normalize(sent.A), B=normalize(sent.B), unreadable=self.unreadable)

    def sent(self, device: torch.device) -> "UnpairedBatch":
        """Return the batch as it is on a device; the copy does not wait for pinned memory."""
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
        preprocessing: resizing, cropping and flipping of the pictures.
        cache: keep fitted pictures in memory.
        workers: processes that load the pictures, which then share that memory.
        reduced_decoding: decode JPEGs at a half, a quarter or an eighth of their size where at
            least twice the sides remain that they are scaled to.
        half: the half of each picture that is of this domain; None: all of it. Halves are always
            decoded at their whole size.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        *,
        preprocessing: Preprocessing,
        cache: bool = False,
        workers: int = 0,
        reduced_decoding: bool = False,
        half: Half | None = None,
    ) -> None:
        self.paths = list(paths)
        self._preprocessing = preprocessing
        samples = preprocessing.samples
        kept_as: dict[str, Any] = {}
        if samples is not None:
            dtype = "uint8" if samples.is_bytes else "float32"
            kept_as = {"channels": samples.channels, "dtype": dtype}
        self._cache = PictureCache(len(self.paths), workers=workers, **kept_as) if cache else None
        self._margin = _MARGIN if reduced_decoding else 0
        self._half: Half | None = half

    def __len__(self) -> int:
        return len(self.paths)

    @property
    def samples(self) -> SampleFormat | None:
        """What the numbers of the files mean; None: they are colors, RGB of 8 bits."""
        return self._preprocessing.samples

    def draw(
        self, index: int, *, generator: torch.Generator
    ) -> tuple[Tensor | None, list[tuple[Path, str]]]:
        """Return picture ``index``, cropped and flipped, or the next one that can be read.

        Returns:
            RGB, (3, H, W), uint8, or None if no picture at all can be read (of other domains,
            (C, H, W), uint8, or float32 in [-1, 1]); and the unreadable files met on the way, with
            the reasons.
        """
        unreadable = []
        for place in range(index, index + len(self.paths)):
            try:
                fitted = self.fitted(place % len(self.paths))
            except PictureError as error:
                unreadable.append((error.path, error.reason))
            else:
                return self.augmented(fitted, generator=generator), unreadable
        return None, unreadable

    def drawn(self, places: Iterable[int], generator: torch.Generator) -> Iterator[Tensor]:
        """Yield pictures, each as :meth:`draw` returns it; places beyond the last begin anew.

        Raises:
            FolderError: no picture at all can be read.
        """
        for place in places:
            picture, unreadable = self.draw(place % len(self), generator=generator)
            if picture is None:
                path, reason = unreadable[0]
                why = f"none of its pictures can be read; the first reason: {reason}"
                raise FolderError(path.parent, why)
            yield picture

    def first(self) -> Tensor | None:
        """Return the middle of the first readable picture, to look at during training.

        Returns:
            (1, C, H, W), float32 in [-1, 1], or None if no picture can be read.
        """
        for index in range(len(self.paths)):
            try:
                return self.centered(self.fitted(index))
            except PictureError:
                continue  # named when the training meets it
        return None

    def augmented(self, fitted: NDArray[Any], *, generator: torch.Generator) -> Tensor:
        """Return a fitted picture cropped and flipped at random, (C, H, W), as :meth:`draw`."""
        return to_stored_tensor(self._preprocessing.augment(fitted, generator=generator))

    def centered(self, fitted: NDArray[Any]) -> Tensor:
        """Return the middle of a fitted picture, (1, C, H, W), float32 in [-1, 1]."""
        return normalize(to_stored_tensor(self._preprocessing.keep_center(fitted))).unsqueeze(0)

    def fitted(self, index: int) -> NDArray[Any]:
        """Return picture ``index``, scaled but not cropped, (H, W, C).

        It is RGB, uint8, or of other domains uint8, or float32 in [-1, 1].

        Raises:
            PictureError: it cannot be read, or would be absurdly large.
        """
        kept = None if self._cache is None else self._cache.get(index)
        if kept is not None:
            return kept
        path = self.paths[index]
        try:
            if self._half is None:
                fitted = self._preprocessing.read(path, margin=self._margin)
            else:
                samples = self._preprocessing.samples
                fitted = self._preprocessing.fit(read_half(path, self._half, samples))
        except ValueError as error:
            raise PictureError(path, str(error)) from error
        if self._cache is not None:
            self._cache.put(index, fitted)
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
            images.append(torch.empty(0, dtype=torch.uint8) if image is None else image[None])
            unreadable += failed
        return UnpairedBatch(A=images[0], B=images[1], unreadable=tuple(unreadable))


class PairedPictures(Dataset[UnpairedBatch]):
    """Pairs of pictures of one thing, looked up by the ``index_A`` of a :class:`Draw`.

    Both pictures of a pair are cropped and flipped alike.

    Args:
        domain_A: pictures of A.
        domain_B: their partners, in the same order.

    Raises:
        ValueError: the domains differ in length.
    """

    def __init__(self, domain_A: Domain, domain_B: Domain) -> None:  # noqa: N803
        if len(domain_A) != len(domain_B):
            raise ValueError(f"expected pairs, got {len(domain_A)} and {len(domain_B)} pictures")
        self._domains = domain_A, domain_B

    def __getitem__(self, draw: Draw) -> UnpairedBatch:
        """Return the pair as a batch of one, or the next one of which both can be read.

        Where there is none at all, the batch holds empty tensors.
        """
        unreadable: list[tuple[Path, str]] = []
        count = len(self._domains[0])
        for place in range(draw.index_A, draw.index_A + count):
            try:
                pair = self._fitted(place % count)
            except PictureError as error:
                unreadable.append((error.path, error.reason))
                continue
            first, second = (
                domain.augmented(fitted, generator=torch.Generator().manual_seed(draw.seed))[None]
                for domain, fitted in zip(self._domains, pair, strict=True)
            )
            return UnpairedBatch(A=first, B=second, unreadable=tuple(unreadable))
        none = torch.empty(0, dtype=torch.uint8)
        return UnpairedBatch(A=none, B=none, unreadable=tuple(unreadable))

    def first(self) -> UnpairedBatch | None:
        """Return the middle of the first readable pair, to look at during training.

        Returns:
            A batch of one, float32 in [-1, 1], or None if no pair can be read.
        """
        for place in range(len(self._domains[0])):
            try:
                pair = self._fitted(place)
            except PictureError:
                continue  # named when the training meets it
            first, second = (
                domain.centered(fitted) for domain, fitted in zip(self._domains, pair, strict=True)
            )
            return UnpairedBatch(A=first, B=second)
        return None

    def _fitted(self, place: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return both pictures of a pair.

        Raises:
            PictureError: one cannot be read, or they differ in size, so that no crop fits both.
        """
        first, second = (domain.fitted(place) for domain in self._domains)
        if first.shape[:2] != second.shape[:2]:
            sizes = [f"{rgb.shape[1]} x {rgb.shape[0]}" for rgb in (first, second)]
            path, partner = (domain.paths[place] for domain in self._domains)
            raise PictureError(
                partner,
                f"is {sizes[1]} pixels after --preprocess and its partner {path} {sizes[0]}; "
                "expected pairs of one size, or --preprocess resize_and_crop",
            )
        return first, second


def collate_unpaired(pairs: Sequence[UnpairedBatch]) -> UnpairedBatch:
    """Join batches of one into a batch."""
    return UnpairedBatch(
        A=torch.cat([pair.A for pair in pairs]),
        B=torch.cat([pair.B for pair in pairs]),
        unreadable=tuple(failure for pair in pairs for failure in pair.unreadable),
    )
