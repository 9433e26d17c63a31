"""Help for a mistyped name."""

import difflib
from collections.abc import Iterable

__all__ = ["nearest"]


def nearest(name: str, valid: Iterable[str]) -> str:
    """Return ``"; did you mean X?"`` for the valid names closest to ``name``, or nothing."""
    by_lower = {choice.lower(): choice for choice in valid}
    found = difflib.get_close_matches(name.lower(), by_lower, n=3, cutoff=0.6)
    if not found:
        return ""
    return f"; did you mean {' or '.join(by_lower[match] for match in found)}?"
