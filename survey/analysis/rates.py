"""A share of answers with its exact and its usual interval, and Holm's correction of tests.

Whether people agree: raw agreement, Fleiss' kappa, Krippendorff's alpha.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

__all__ = [
    "Agreement",
    "Interval",
    "Rate",
    "agreement",
    "fleiss_kappa",
    "holm",
    "krippendorff_alpha",
]


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
        found = binomtest(self.count, self.n).proportion_ci(level, method=method)
        return Interval(low=float(found.low), high=float(found.high))


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


Counts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How much people say the same about a picture.

    Attributes:
        pictures: that at least two people judged.
        raw: of two people who judged a picture, how often both say the same; mean over pictures.
        expected: the same if all answers were mixed up.
        fleiss: (raw - expected) / (1 - expected); None unless all pictures have equally many
            answers, or if all answers are the same.
        alpha: Krippendorff's, which allows for missing answers; None if all answers are the same.
        alpha_interval: 95 % interval of it, by resampling pictures.
    """

    pictures: int
    raw: float | None
    expected: float | None
    fleiss: float | None
    alpha: float | None
    alpha_interval: Interval | None


def fleiss_kappa(counts: Counts) -> tuple[float, float, float | None]:
    """Return raw agreement, expected agreement, and kappa (Fleiss 1971).

    Args:
        counts: how often each picture got each answer, (pictures, answers); equal sums of rows.

    Raises:
        ValueError: the rows' sums are unequal, or below 2.
    """
    raters = counts.sum(axis=1)
    if len(set(raters.tolist())) != 1 or raters[0] < 2:
        message = "Fleiss' kappa needs two or more answers, and equally many for each picture"
        raise ValueError(message)
    raw = _raw(counts)
    shares = counts.sum(axis=0) / counts.sum()
    expected = float((shares**2).sum())
    return raw, expected, None if expected == 1 else (raw - expected) / (1 - expected)


def krippendorff_alpha(counts: Counts) -> float | None:
    """Return alpha for answers without an order (Krippendorff 2019, section 12.3).

    Args:
        counts: how often each picture got each answer, (pictures, answers); pictures with fewer
            than two answers do not count.

    Returns:
        1 for full agreement, 0 for that of chance; None if all answers are the same.
    """
    alpha = float(_alphas(counts[None].astype(np.float64))[0])
    return None if np.isnan(alpha) else alpha


def agreement(counts: Counts, *, resamples: int, rng: np.random.Generator) -> Agreement:
    """Measure agreement.

    Args:
        counts: how often each picture got each answer, (pictures, answers).
        resamples: of the pictures, for the interval. People are not resampled: one who is drawn
            twice would agree with himself.
        rng: draws them.
    """
    counts = counts[counts.sum(axis=1) >= 2]
    if not len(counts):
        return Agreement(
            pictures=0, raw=None, expected=None, fleiss=None, alpha=None, alpha_interval=None
        )
    shares = counts.sum(axis=0) / counts.sum()
    equal = len(set(counts.sum(axis=1).tolist())) == 1
    interval = None
    if len(counts) > 1:
        drawn = rng.integers(0, len(counts), (resamples, len(counts)))
        alphas = _alphas(counts.astype(np.float64)[drawn])
        if np.isfinite(alphas).mean() > 0.9:
            low, high = np.nanquantile(alphas, [0.025, 0.975]).tolist()
            interval = Interval(low=low, high=high)
    return Agreement(
        pictures=len(counts),
        raw=_raw(counts),
        expected=float((shares**2).sum()),
        fleiss=fleiss_kappa(counts)[2] if equal else None,
        alpha=krippendorff_alpha(counts),
        alpha_interval=interval,
    )


def _raw(counts: Counts) -> float:
    n = counts.sum(axis=1)
    return float(((counts * (counts - 1)).sum(axis=1) / (n * (n - 1))).mean())


def _alphas(counts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return alpha of each of several tables, (tables, pictures, answers) to (tables,)."""
    n = counts.sum(axis=2)
    counts = np.where((n >= 2)[..., None], counts, 0.0)
    n = counts.sum(axis=2)
    # Ordered pairs of unlike answers, within pictures and in all.
    unlike = n**2 - (counts**2).sum(axis=2)
    observed = (unlike / np.maximum(n - 1, 1)).sum(axis=1)
    totals = counts.sum(axis=1)
    everything = totals.sum(axis=1)
    expected = (everything**2 - (totals**2).sum(axis=1)) / np.maximum(everything - 1, 1)
    return np.where(expected > 0, 1 - observed / np.where(expected > 0, expected, 1), np.nan)
