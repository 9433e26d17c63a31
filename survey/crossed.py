"""How much of the scatter of answers is people, pictures, and chance: a crossed design.

Answers of a study are no independent draws. Those of one person share how readily that person
says REAL; those about one picture share how good it is; and what is asked about, other people
and other pictures of the same generator, varies in both. The components are estimated by moments
(Henderson 1953, method 1; for binary crossed data Gao, Owen 2017), exactly without bias for any
pattern of missing answers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Components", "components", "covariance_of_people"]

Labels = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Components:
    """Variances of answers (0 or 1), and what each adds to the variance of their mean.

    Attributes:
        factors: of each factor, such as people and pictures; below 0 by chance if it is small.
        noise: of the rest.
        levels: number of people, of pictures, ...
        weights: what a factor's variance is multiplied with in the variance of the mean.
        n: number of answers.
    """

    factors: tuple[float, ...]
    noise: float
    levels: tuple[int, ...]
    weights: tuple[float, ...]
    n: int

    @property
    def in_mean(self) -> tuple[float, ...]:
        """What each factor adds to the variance of the mean; never below 0."""
        pairs = zip(self.factors, self.weights, strict=True)
        return tuple(max(factor, 0.0) * weight for factor, weight in pairs)

    @property
    def noise_in_mean(self) -> float:
        """What the rest adds to the variance of the mean; never below 0."""
        return max(self.noise, 0.0) / self.n


def components(values: Values, factors: Sequence[Labels]) -> Components:
    """Estimate the variance components of crossed factors.

    The sum of squares within the levels of each factor, and that of all, have known expectations
    in terms of the components: as many equations as unknowns. Factors that cannot be told apart
    (pairs of pictures that are always the same) share their variance equally.

    Args:
        values: of the answers, (N,).
        factors: the level of each answer, whole numbers from 0, each (N,).
    """
    n = len(values)
    everything = np.zeros(n, np.int64)
    groupings = [*factors, everything]
    unknowns = [*factors, np.arange(n)]
    matrix = np.array([[_expected(group, of) for of in unknowns] for group in groupings])
    squares = np.array([_within(values, group) for group in groupings])
    found = np.linalg.lstsq(matrix, squares, rcond=1e-9)[0].tolist()
    counts = [np.bincount(factor) for factor in factors]
    return Components(
        factors=tuple(found[:-1]),
        noise=found[-1],
        levels=tuple(int((count > 0).sum()) for count in counts),
        weights=tuple(float((count.astype(float) ** 2).sum()) / n**2 for count in counts),
        n=n,
    )


def covariance_of_people(
    residuals: Sequence[Values], people: Sequence[Labels], count: int
) -> NDArray[np.float64]:
    """Return how the means of several groups of answers vary together, as people judge several.

    Args:
        residuals: of each group, answers less their mean.
        people: of each group, who gave each answer, whole numbers in [0, ``count``).
        count: number of people.

    Returns:
        Covariances of the means, (groups, groups); on the diagonal, chance is still in it.
    """
    sums = np.array(
        [
            np.bincount(who, weights=some, minlength=count) / max(len(some), 1)
            for some, who in zip(residuals, people, strict=True)
        ]
    )
    return np.asarray(sums @ sums.T * (count / max(count - 1, 1)))


def _within(values: Values, group: Labels) -> float:
    """Return the sum of squares within the levels."""
    n = np.maximum(np.bincount(group), 1)
    means = np.bincount(group, weights=values) / n
    return float(((values - means[group]) ** 2).sum())


def _expected(group: Labels, of: Labels) -> float:
    """Return how often a component of variance 1 is in the sum of squares within the levels."""
    cells = np.unique(group * (int(of.max()) + 1) + of, return_counts=True)
    levels = cells[0] // (int(of.max()) + 1)
    n = np.bincount(group)
    return float(len(group) - (cells[1].astype(float) ** 2 / n[levels]).sum())
