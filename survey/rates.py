"""Proportions of answers with Wilson and Clopper-Pearson intervals, and Holm's correction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

__all__ = ["Interval", "Rate", "holm"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Closed interval from ``low`` to ``high``."""

    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of the difference between the ends."""
        return (self.high - self.low) / 2

    def holds(self, value: float) -> bool:
        """Return True if ``value`` lies in the interval."""
        return self.low <= value <= self.high


@dataclass(frozen=True, kw_only=True)
class Rate:
    """Proportion ``count`` of ``n`` answers, which are treated as independent of each other.

    Independence holds for the answers of different people about one picture. It does not hold for
    all answers of a study: see :class:`impasto.survey.analysis.bootstrap.TwoLevel`.
    """

    count: int
    n: int

    @property
    def share(self) -> float:
        """Proportion in [0, 1]; NaN without answers."""
        return self.count / self.n if self.n else float("nan")

    def wilson(self, level: float = 0.95) -> Interval | None:
        """Return the Wilson score interval (Wilson 1927); None without answers."""
        return self._interval("wilson", level)

    def clopper_pearson(self, level: float = 0.95) -> Interval | None:
        """Return the exact interval, which is conservative (Clopper, Pearson 1934), or None."""
        return self._interval("exact", level)

    def p_half(self) -> float | None:
        """Return the exact two-sided binomial p-value against one half; None without answers."""
        return float(binomtest(self.count, self.n, 0.5).pvalue) if self.n else None

    def _interval(self, method: str, level: float) -> Interval | None:
        if not self.n:
            return None
        bounds = binomtest(self.count, self.n).proportion_ci(level, method=method)
        return Interval(low=float(bounds.low), high=float(bounds.high))


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Correct p-values for multiple testing, so that the family-wise error is at most alpha.

    Args:
        p_values: p-value of each test; None for a test that was not made, which is not counted.

    Returns:
        Adjusted p-values in the same order (Holm 1979; SciPy has no step-down method).

    >>> holm([0.01, None, 0.04, 0.03])
    [0.03, None, 0.06, 0.06]
    >>> holm([1.5e-30, 0.5])
    [3e-30, 0.5]
    """
    known = [(p, place) for place, p in enumerate(p_values) if p is not None]
    raw: NDArray[np.float64] = np.array(sorted(known), dtype=np.float64).reshape(-1, 2)[:, 0]
    steps = np.minimum(np.maximum.accumulate(raw * np.arange(len(raw), 0, -1)), 1.0)
    corrected: list[float | None] = [None] * len(p_values)
    for (_, place), value in zip(sorted(known), steps.tolist(), strict=True):
        # Products of p-values with whole numbers have no more digits than p-values.
        corrected[place] = float(f"{value:.12g}")
    return corrected
