"""Whether people agree about a picture: raw agreement, Fleiss' kappa, Krippendorff's alpha."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from impasto.survey.rates import Interval

__all__ = ["Agreement", "agreement", "fleiss_kappa", "krippendorff_alpha"]

AnswerCounts = NDArray[np.int64]


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


def fleiss_kappa(counts: AnswerCounts) -> tuple[float, float, float | None]:
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


def krippendorff_alpha(counts: AnswerCounts) -> float | None:
    """Return alpha for answers without an order (Krippendorff 2019, section 12.3).

    Args:
        counts: how often each picture got each answer, (pictures, answers); pictures with fewer
            than two answers do not count.

    Returns:
        1 for full agreement, 0 for that of chance; None if all answers are the same.
    """
    alpha = float(_alphas(counts[None].astype(np.float64))[0])
    return None if np.isnan(alpha) else alpha


def agreement(counts: AnswerCounts, *, resamples: int, rng: np.random.Generator) -> Agreement:
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


def _raw(counts: AnswerCounts) -> float:
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
