"""Names that say nothing, and the random numbers of a study."""

import hashlib
import re

import numpy as np

__all__ = ["TOKEN", "draw_tokens", "make_rng"]

TOKEN = re.compile(r"[0-9a-z]{4,32}")
"""What a token may look like."""

# No vowels: no words, no "true", and no 1e5, which spreadsheets would turn into numbers.
_LETTERS = "bcdfghjkmnpqrstvwxz"
_SIGNS = _LETTERS + "23456789"
_LENGTH = 8


def make_rng(seed: int, purpose: str) -> np.random.Generator:
    """Return a generator for one purpose.

    Its numbers can become public (orders, tokens): what is learned from them about its state tells
    neither the seed nor the numbers of another purpose, because a hash lies between.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=32).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


def draw_tokens(count: int, rng: np.random.Generator) -> list[str]:
    """Draw different tokens of eight signs, in no order; each begins with a letter."""
    tokens: dict[str, None] = {}
    while len(tokens) < count:
        first = _LETTERS[rng.integers(len(_LETTERS))]
        rest = "".join(_SIGNS[place] for place in rng.integers(len(_SIGNS), size=_LENGTH - 1))
        tokens[first + rest] = None
    return list(tokens)
