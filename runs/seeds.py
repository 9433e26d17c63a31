"""One generator for each purpose, all from one seed."""

import hashlib

import torch

__all__ = ["make_generator"]


def make_generator(seed: int, purpose: str, *, process: int = 0) -> torch.Generator:
    """Return a generator on the CPU whose numbers are independent of every other purpose's.

    Args:
        seed: seed of the run.
        purpose: purpose of the numbers, for example ``"pool A"``.
        process: index of the process, where each process needs its own numbers.
    """
    text = f"{seed}/{purpose}/{process}".encode()
    number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")
    return torch.Generator().manual_seed(number >> 1)
