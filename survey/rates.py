"""A share of answers with its usual and its exact interval, and Holm's correction of tests."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

__all__ = ["Interval", "Rate", "holm"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """From where to where a value may lie; both ends belong to it."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the distance between the ends."""
        return (self.high - self.low) / 2

    def holds(self, value: float) -> bool:
        """Whether ``value`` lies in it."""
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Rate:
    """``count`` of ``n`` answers, taken as independent of each other.

    That holds for the answers of different people about one picture. It does not hold for the
    answers of a whole study: see :class:`impasto.survey.analysis.bootstrap.TwoLevel`.
    """

    count: int
    n: int

    @property
    def share(self) -> float:
        """In [0, 1]; not a number where there is no answer."""
        return self.count / self.n if self.n else float("nan")

    def wilson(self, level: float = 0.95) -> Interval | None:
        """Return the score interval (Wilson 1927); None without answers."""
        return self._interval("wilson", level)

    def clopper_pearson(self, level: float = 0.95) -> Interval | None:
        """Return the interval that covers at least ``level`` (Clopper, Pearson 1934), or None."""
        return self._interval("exact", level)

    def p_half(self) -> float | None:
        """Return the exact two-sided binomial test of a share of one half; None without answers."""
        return float(binomtest(self.count, self.n, 0.5).pvalue) if self.n else None

    def _interval(self, method: str, level: float) -> Interval | None:
        if not self.n:
            return None
        bounds = binomtest(self.count, self.n).proportion_ci(level, method=method)
        return Interval(low=float(bounds.low), high=float(bounds.high))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct tests that are read together, so that all of them err in alpha at most.

    Args:
        p_values: of each test; None where there was none, which counts for nothing.

    Returns:
        Corrected values in the same order (Holm 1979; SciPy has no step-down method).

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    """
    known = [(p, place) for place, p in enumerate(p_values) if p is not None]
    raw: NDArray[np.float64] = np.array(sorted(known), dtype=np.float64).reshape(-1, 2)[:, 0]
    steps = np.minimum(np.maximum.accumulate(raw * np.arange(len(raw), 0, -1)), 1.0)
    corrected: list[float | None] = [None] * len(p_values)
    for (_, place), value in zip(sorted(known), steps.tolist(), strict=True):
        corrected[place] = round(value, 12)
    return corrected
