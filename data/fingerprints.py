"""What identifies a set of picture files, so that a resumed training notices that it changed.

A fingerprint holds neither pictures nor names, only a hash of each name, and each file's size and
time: 24 bytes a picture, which every saved state can afford.
"""

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

__all__ = ["count_moved", "describe_changes", "fingerprint"]

# FAT and zip archives keep times to two seconds, in nanoseconds here.
_COARSEST_TIME = 2_000_000_000

_Row = tuple[int, int, int]


def fingerprint(paths: Sequence[Path], root: Path | None) -> Tensor:
    """Return a hash of the name, the size and the time of each file, without opening it.

    Args:
        paths: files, in any order.
        root: folder that all lie in and that their names are relative to, so that the whole may be
            moved; None: the names are the whole paths.

    Returns:
        (N, 3), int64: hash of the name, size in bytes, time of the last change in nanoseconds; both
        -1 for a file that is gone.
    """
    rows = []
    for path in paths:
        try:
            status = path.stat()
            size, time = status.st_size, status.st_mtime_ns
        except OSError:
            size, time = -1, -1
        name = path if root is None else path.relative_to(root)
        rows.append((_hash(name.as_posix()), size, time))
    return torch.tensor(rows, dtype=torch.int64).reshape(-1, 3)


def describe_changes(before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> str:
    """Say in words how sets of files changed; nothing if they are the same.

    Args:
        before: earlier fingerprints of the sets, by the names to show.
        now: present fingerprints, by the same names.
    """
    both = [name for name in now if name in before]
    if len(both) == 2:
        first, second = both
        was, crossed = ({name: set(_table(of[name])) for name in both} for of in (before, now))
        swapped = was[first] == crossed[second] and was[second] == crossed[first]
        if swapped and was[first] != was[second]:
            return f"{first} and {second} are swapped"
    told = ((name, _differences(before[name], now[name])) for name in both)
    return "; ".join(f"{name}: {words}" for name, words in told if words)


def count_moved(before: Tensor, now: Tensor) -> int:
    """Return how many files of a set are, by name, in another set now.

    Args:
        before: earlier fingerprint of the one set.
        now: present fingerprint of the other.
    """
    return len(_table(before).keys() & _table(now).keys())


def _differences(before: Tensor, now: Tensor) -> str:
    old, new = _table(before), _table(now)
    gone = Counter(old[name] for name in old.keys() - new.keys())
    come = Counter(new[name] for name in new.keys() - old.keys())
    renamed = (gone & come).total()
    kept = [(old[name], new[name]) for name in old.keys() & new.keys()]
    resized = sum(was[0] != now_is[0] for was, now_is in kept)
    retimed = sum(
        was[0] == now_is[0] and abs(was[1] - now_is[1]) > _COARSEST_TIME for was, now_is in kept
    )
    counts = {
        "added": come.total() - renamed,
        "removed": gone.total() - renamed,
        "renamed": renamed,
        "changed": resized,
        "with another time and the same size (copied, or replaced)": retimed,
    }
    told = [f"{count} {what}" for what, count in counts.items() if count]
    return f"{', '.join(told)} (of {len(old)} before, {len(new)} now)" if told else ""


def _table(of: Tensor) -> dict[int, tuple[int, int]]:
    """Return size and time of each file by the hash of its name."""
    rows: list[_Row] = of.tolist()
    return {name: (size, time) for name, size, time in rows}


def _hash(name: str) -> int:
    # One form of Unicode: macOS may give back another than was written.
    text = unicodedata.normalize("NFC", name).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)
