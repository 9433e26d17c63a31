"""Which picture of A meets which picture of B, reproducibly and resumably."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

__all__ = ["Draw", "UnpairedSampler"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Draw:
    """One training pair.

    Attributes:
        index_A: which picture of A.
        index_B: which picture of B.
        seed: seed of the pair's crops and flips, so that they do not depend on which worker
            process loads it, or on how many there are.
    """

    index_A: int
    index_B: int
    seed: int


class UnpairedSampler:
    """Draws the pairs of each epoch: A in order of a shuffled index, B at random.

    As in the reference an epoch has max(|A|, |B|) pairs, the index of A wraps around, and B is
    drawn anew for each pair. Departure: the length is rounded up to whole batches, with pairs of
    the beginning, so that no batch is smaller than the others.

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
