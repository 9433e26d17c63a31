"""Inter-rater agreement about a picture: raw agreement, Fleiss' kappa, Krippendorff's alpha."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from impasto.survey.rates import Interval

__all__ = ["Agreement", "agreement", "fleiss_kappa", "krippendorff_alpha"]

AnswerCounts = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Inter-rater agreement about the pictures.

    Attributes:
        pictures: number of pictures that at least two people judged.
        raw: observed agreement in [0, 1]: probability that two people who judged the same picture
            give the same answer, averaged over pictures; None without such pictures.
        expected: agreement expected by chance in [0, 1], from the overall shares of the answers;
            None without such pictures.
        fleiss: Fleiss' kappa, (raw - expected) / (1 - expected); None unless all pictures have the
            same number of answers, or if all answers are identical.
        alpha: Krippendorff's alpha, which allows for missing answers; None if all answers are
            identical.
        alpha_interval: 95 % bootstrap interval of ``alpha``, by resampling pictures; None if it
            cannot be computed.
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
        counts: number of times each picture got each answer, (pictures, answers); all rows have the
            same sum.

    Raises:
        ValueError: the row sums are unequal, or below 2.
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
    """Return Krippendorff's alpha for nominal data (Krippendorff 2019, section 12.3).

    Args:
        counts: number of times each picture got each answer, (pictures, answers); pictures with
            fewer than two answers are ignored.

    Returns:
        1 for perfect agreement, 0 for agreement at chance level; None if all answers are identical.
    """
    alpha = float(_alphas(counts[None].astype(np.float64))[0])
    return None if np.isnan(alpha) else alpha


def agreement(counts: AnswerCounts, *, resamples: int, rng: np.random.Generator) -> Agreement:
    """Measure inter-rater agreement.

    Args:
        counts: number of times each picture got each answer, (pictures, answers).
        resamples: number of bootstrap resamples of the pictures for the interval. People are not
            resampled: a person drawn twice would agree with themselves.
        rng: random number generator that draws the resamples.
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
