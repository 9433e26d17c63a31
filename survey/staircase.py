"""HYPE-time: exposure needed to recognize fakes, by an adaptive staircase (Zhou et al. 2019)."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

__all__ = ["Staircase", "modal_exposure"]


@dataclass(frozen=True, kw_only=True)
class Staircase:
    """Weighted up-down staircase (Kaernbach 1991): shorter when correct, longer when wrong.

    It converges where ``share correct * down_ms == share wrong * up_ms``: with 30 up and 10 down,
    at 75 % correct, the threshold defined for HYPE-time.

    Departure: Zhou et al. (2019, section 3.1) print that the exposure "is raised in 10 ms
    increments and reduced in 30 ms decrements", which would settle at 25 % right. Their "3-up/
    1-down" and their 75 % are those of the steps below.

    Attributes:
        start_ms: first exposure, milliseconds.
        shortest_ms: minimum exposure, milliseconds.
        longest_ms: maximum exposure, milliseconds.
        up_ms: increase after a wrong answer, milliseconds.
        down_ms: decrease after a correct answer, milliseconds.
    """

    start_ms: int = 500
    shortest_ms: int = 100
    longest_ms: int = 1000
    up_ms: int = 30
    down_ms: int = 10

    def exposure_ms(self, rights: Iterable[bool]) -> int:
        """Return the exposure of the next trial, milliseconds.

        Args:
            rights: True or False for each scored answer so far, correct or wrong, in order.

        >>> Staircase().exposure_ms([]), Staircase().exposure_ms([True, True, False])
        (500, 510)
        """
        now = self.start_ms
        for right in rights:
            now += -self.down_ms if right else self.up_ms
            now = min(max(now, self.shortest_ms), self.longest_ms)
        return now


def modal_exposure(exposures: Sequence[int]) -> float | None:
    """Return the most frequent exposure, averaged over ties: the score of a block.

    Source: Zhou et al. 2019, section 3.1. None if there are no exposures.

    >>> modal_exposure([500, 490, 500, 490, 480])
    495.0
    """
    counts = Counter(exposures)
    most = max(counts.values(), default=0)
    modes = [exposure for exposure, count in counts.items() if count == most]
    return sum(modes) / len(modes) if modes else None
