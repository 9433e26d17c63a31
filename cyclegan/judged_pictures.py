"""Which pictures the discriminators judge in an update: new ones, and earlier ones out of pools."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from impasto.cyclegan.image_pool import ImagePool
from impasto.data.datasets import UnpairedBatch

__all__ = ["Judged", "JudgedPictures"]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What the discriminators judge in one update; each (N, 3, H, W) in [-1, 1]."""

    real_A: Tensor
    real_B: Tensor
    fake_A: Tensor
    fake_B: Tensor


class JudgedPictures:
    """Chooses what is judged, and remembers it for later.

    Translations are swapped for earlier ones by chance (Shrivastava et al. 2017). With a ``count``
    above the batch, further real pictures and translations come out of the pools: discriminators
    cost little beside the generators of a CycleGAN, and learn more steadily from several pictures.

    Args:
        fakes: histories of fake_A and of fake_B.
        reals: histories of real A and of real B; None where nothing is added.
        count: real pictures, and as many translations, that are judged; 0 is the batch alone.
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

    def choose(self, batch: UnpairedBatch, fake_A: Tensor, fake_B: Tensor) -> Judged:
        """Return what is judged now.

        Args:
            batch: new real pictures.
            fake_A: new translations of ``batch.B``, detached, (N, 3, H, W).
            fake_B: new translations of ``batch.A``, likewise.
        """
        fake_A, fake_B = self._fake_A.query(fake_A), self._fake_B.query(fake_B)
        if self._count == 0 or self._reals is None:
            return Judged(real_A=batch.A, real_B=batch.B, fake_A=fake_A, fake_B=fake_B)
        for pool, new in zip(self._reals, (batch.A, batch.B), strict=True):
            pool.query(new)
        return Judged(
            real_A=self._fill(batch.A, self._reals[0]),
            real_B=self._fill(batch.B, self._reals[1]),
            fake_A=self._fill(fake_A, self._fake_A),
            fake_B=self._fill(fake_B, self._fake_B),
        )

    def state_dict(self) -> dict[str, Any]:
        """Return all pools."""
        return {
            "fake_A_pool": self._fake_A.state_dict(),
            "fake_B_pool": self._fake_B.state_dict(),
            "real_pools": [pool.state_dict() for pool in self._reals or ()],
        }

    def load_state_dict(self, state: Mapping[str, Any], *, device: torch.device) -> None:
        """Continue from saved pools; real ones may be missing, as from an earlier version."""
        self._fake_A.load_state_dict(state["fake_A_pool"], device=device)
        self._fake_B.load_state_dict(state["fake_B_pool"], device=device)
        for pool, saved in zip(self._reals or (), state.get("real_pools", ()), strict=False):
            pool.load_state_dict(saved, device=device)

    def _fill(self, new: Tensor, pool: ImagePool) -> Tensor:
        missing = self._count - len(new)
        return torch.cat([new, pool.sample(missing)]) if missing > 0 else new
