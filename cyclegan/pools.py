"""Training images of the discriminators: new ones, and a replay of earlier ones from pools.

Replaying earlier translations keeps a discriminator from forgetting them (Shrivastava et al. 2017,
section 2.3).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from impasto.data.datasets import UnpairedBatch
from impasto.runs.capture import on_device

__all__ = ["DiscriminatorBatch", "ImagePool", "ReplayPools"]


class ImagePool:
    """Keeps up to ``size`` earlier translations and swaps new ones for old ones at random.

    Until the pool is full, each picture is stored and returned. Then, with probability 1/2, a
    random stored picture is returned and the new one takes its place; otherwise the new one is
    returned. The choices come from a generator on the CPU, so nothing waits for the device.

    Args:
        size: number of pictures kept; Zhu et al. 2017, section 4: 50. With 0 every picture passes
            through.
        generator: random generator, on the CPU; its state is part of the pool's state.
    """

    def __init__(self, size: int, *, generator: torch.Generator) -> None:
        if size < 0:
            raise ValueError(f"size: expected 0 or more, got {size}")
        self.size = size
        self._generator = generator
        self._stored = 0
        # Pictures of one size: the stored ones, room for more, and for those of the present batch.
        self._rows: Tensor | None = None
        # Pictures of several sizes, which no tensor holds together.
        self._mixed: list[Tensor] | None = None

    def __len__(self) -> int:
        return self._stored if self._mixed is None else len(self._mixed)

    @property
    def settled(self) -> bool:
        """Whether each further batch is exchanged by the same work on the device."""
        return self._mixed is None and self._stored == self.size

    def query(self, images: Tensor) -> Tensor:
        """Return a batch of the same shape, partly of earlier pictures.

        Args:
            images: translations, (N, 3, H, W); detached here.

        Returns:
            (N, 3, H, W) pictures. A stored picture of another size is never swapped in, since
            it would not fit the batch.
        """
        images = images.detach()
        if self.size == 0:
            return images
        if self._rows is not None and self._rows.shape[1:] != images.shape[1:]:
            self._mixed = list(self._rows[: self._stored].clone().unbind())
            self._rows = None
        if self._mixed is not None:
            return torch.stack([self._swap(image, self._mixed) for image in images])
        rows = self._with_room(images)
        moves = on_device(partial(self._choose, len(images)), images.device)
        rows[self.size : self.size + len(images)] = images
        answer = rows.index_select(0, moves[0])
        rows.index_copy_(0, moves[1], images)
        return answer

    def sample(self, count: int) -> Tensor:
        """Draw stored pictures with replacement, (count, 3, H, W); all must have the same size.

        Raises:
            ValueError: no picture is stored.
        """
        if not len(self):
            raise ValueError("the pool is empty")
        if self._rows is None:
            return torch.stack([(self._mixed or [])[place] for place in self._draw(count).tolist()])
        return self._rows.index_select(0, on_device(partial(self._draw, count), self._rows.device))

    def _draw(self, count: int) -> Tensor:
        return torch.randint(len(self), (count,), generator=self._generator)

    def _with_room(self, images: Tensor) -> Tensor:
        """Return the rows, with one behind the stored ones for each picture of a batch."""
        rows, count = self._rows, self.size + len(images)
        if rows is None or len(rows) < count:
            self._rows = images.new_empty(count, *images.shape[1:])
            if rows is not None:
                self._rows[: self._stored] = rows[: self._stored]
        return self._rows  # type: ignore[return-value]  # made above

    def _choose(self, count: int) -> Tensor:
        """Choose for each new picture which row is returned, and which row it goes to.

        Returns:
            (2, count) int64. The new pictures lie behind the stored ones; one that is not kept, or
            is swapped for a later one of the same batch, goes there, and all rows differ.
        """
        spare = range(self.size, self.size + count)
        answers, newest = list(spare), dict[int, int]()
        for picture in range(count):
            if self._stored < self.size:
                newest[self._stored] = picture
                self._stored += 1
                continue
            swaps, place = self._toss()
            if swaps:
                answers[picture] = spare[newest[place]] if place in newest else place
                newest[place] = picture
        places = list(spare)
        for place, picture in newest.items():
            places[picture] = place
        return torch.tensor([answers, places])

    def _toss(self) -> tuple[bool, int]:
        """Return whether a full pool swaps a picture, and for which."""
        swaps = torch.rand((), generator=self._generator).item() > 0.5
        return swaps, int(torch.randint(self.size, (), generator=self._generator))

    def _swap(self, image: Tensor, stored: list[Tensor]) -> Tensor:
        if len(stored) < self.size:
            stored.append(image.clone())
            return image
        swaps, place = self._toss()
        if not swaps or stored[place].shape != image.shape:
            return image
        old = stored[place]
        stored[place] = image.clone()
        return old

    def state_dict(self) -> dict[str, Any]:
        """Return the stored pictures, on the CPU, and the generator's state."""
        stored = self._mixed if self._rows is None else self._rows[: self._stored]
        # Copies: the rows are written to by the next steps.
        images = [image.to("cpu", copy=True) for image in (() if stored is None else stored)]
        return {"images": images, "generator": self._generator.get_state()}

    def load_state_dict(self, state: dict[str, Any], *, device: torch.device | None = None) -> None:
        """Continue from a saved state; pictures beyond ``size`` are forgotten."""
        images = [image.to(device) for image in state["images"][: self.size]]
        alike = len({image.shape for image in images}) <= 1
        self._stored = len(images)
        self._rows = torch.stack(images) if images and alike else None
        self._mixed = None if alike else images
        self._generator.set_state(state["generator"].cpu())


@dataclass(frozen=True, kw_only=True)
class DiscriminatorBatch:
    """The training images of both discriminators in one step; each (N, 3, H, W) in [-1, 1]."""

    real_A: Tensor
    real_B: Tensor
    fake_A: Tensor
    fake_B: Tensor


class ReplayPools:
    """Makes the batches of the discriminators, and remembers images for later ones.

    Translations are randomly swapped for earlier ones (Shrivastava et al. 2017). With a ``count``
    above the batch, further real pictures and translations are drawn from the pools: discriminators
    cost little beside the generators of a CycleGAN, and learn more steadily from several pictures.

    Args:
        fakes: pools of earlier fake_A and fake_B.
        reals: pools of earlier real A and real B; None if no real pictures are added.
        count: number of real images, and of translations, in a batch; 0: only the new ones.
    """

    def __init__(
        self,
        fakes: tuple[ImagePool, ImagePool],
        *,
        reals: tuple[ImagePool, ImagePool] | None = None,
        count: int = 0,
    ) -> None:
        if count > 0 and (reals is None or min(pool.size for pool in (*fakes, *reals)) == 0):
            raise ValueError(f"count: {count} needs pools of real pictures and translations")
        self._fake_A, self._fake_B = fakes
        self._reals, self._count = reals, count

    @property
    def settled(self) -> bool:
        """Whether each further batch is exchanged by the same work on the device."""
        reals = self._reals if self._count > 0 and self._reals is not None else ()
        return all(pool.settled for pool in (self._fake_A, self._fake_B, *reals))

    def choose(self, batch: UnpairedBatch, fake_A: Tensor, fake_B: Tensor) -> DiscriminatorBatch:
        """Return the training images of the discriminators for this step.

        Args:
            batch: new real pictures.
            fake_A: new translations of ``batch.B``, detached, (N, 3, H, W).
            fake_B: new translations of ``batch.A``, detached, (N, 3, H, W).
        """
        fake_A, fake_B = self._fake_A.query(fake_A), self._fake_B.query(fake_B)
        if self._count == 0 or self._reals is None:
            return DiscriminatorBatch(real_A=batch.A, real_B=batch.B, fake_A=fake_A, fake_B=fake_B)
        for pool, new in zip(self._reals, (batch.A, batch.B), strict=True):
            pool.query(new)
        return DiscriminatorBatch(
            real_A=self._fill(batch.A, self._reals[0]),
            real_B=self._fill(batch.B, self._reals[1]),
            fake_A=self._fill(fake_A, self._fake_A),
            fake_B=self._fill(fake_B, self._fake_B),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return the states of all pools."""
        return {
            "fake_A_pool": self._fake_A.state_dict(),
            "fake_B_pool": self._fake_B.state_dict(),
            "real_pools": [pool.state_dict() for pool in self._reals or ()],
        }

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from saved pools; states of old versions may lack pools of real pictures."""
        self._fake_A.load_state_dict(state["fake_A_pool"], device=device)
        self._fake_B.load_state_dict(state["fake_B_pool"], device=device)
        for pool, saved in zip(self._reals or (), state.get("real_pools", ()), strict=False):
            pool.load_state_dict(saved, device=device)

    def _fill(self, new: Tensor, pool: ImagePool) -> Tensor:
        missing = self._count - len(new)
        return torch.cat([new, pool.sample(missing)]) if missing > 0 else new
