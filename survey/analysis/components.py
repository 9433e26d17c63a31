"""How much of the scatter of answers is people, pictures, and chance: a crossed design.

Answers of a study are no independent draws. Those of one person share how readily that person
says REAL; those about one picture share how good it is; and what is asked about, other people
and other pictures of the same generator, varies in both. The components are estimated by moments
(Henderson 1953, method 1; for binary crossed data Gao, Owen 2017), exactly without bias for any
pattern of missing answers.

On the log-odds scale, an answer is REAL with the log-odds (constant + person + picture), where
person and picture are normal around 0: the mixed logistic model. Rates need averages over both, by
Gauss-Hermite quadrature.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from numpy.typing import NDArray
from scipy.optimize import brentq, least_squares
from scipy.special import expit, logit

__all__ = [
    "Components",
    "Variances",
    "components",
    "constant_of",
    "covariance_of_people",
    "standard_deviations",
    "variances",
]


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
    estimates = np.linalg.lstsq(matrix, squares, rcond=1e-9)[0].tolist()
    counts = [np.bincount(factor) for factor in factors]
    return Components(
        factors=tuple(estimates[:-1]),
        noise=estimates[-1],
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


_NODES, _WEIGHTS = hermegauss(41)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_LARGEST = 6.0


@dataclass(frozen=True, kw_only=True)
class Variances:
    """Variances of an answer (0 or 1) around a rate.

    Attributes:
        people: of people's own rates.
        pictures: of pictures' own rates.
        noise: of the rest; the three add up to rate * (1 - rate).
    """

    people: float
    pictures: float
    noise: float


def constant_of(rate: float, person_sd: float, picture_sd: float) -> float:
    """Return the constant with which answers have this rate on average."""
    spread = float(np.hypot(person_sd, picture_sd))

    def excess(constant: float) -> float:
        return float(_WEIGHTS @ expit(constant + spread * _NODES)) - rate

    start = float(logit(rate)) * float(np.sqrt(1 + spread**2))
    return float(brentq(excess, start - 5 - spread, start + 5 + spread))


def variances(rate: float, person_sd: float, picture_sd: float) -> Variances:
    """Return what people and pictures of these standard deviations (log-odds) do to answers.

    Args:
        rate: mean share, inside (0, 1).
        person_sd: of people, in log-odds.
        picture_sd: of pictures, in log-odds.
    """
    constant = constant_of(rate, person_sd, picture_sd)
    grid = expit(constant + person_sd * _NODES[:, None] + picture_sd * _NODES[None, :])
    people = float(_WEIGHTS @ (grid @ _WEIGHTS - rate) ** 2)
    pictures = float(_WEIGHTS @ (_WEIGHTS @ grid - rate) ** 2)
    return Variances(people=people, pictures=pictures, noise=rate * (1 - rate) - people - pictures)


def standard_deviations(rate: float, people: float, pictures: float) -> tuple[float, float]:
    """Return the standard deviations in log-odds that make these variances of rates.

    Args:
        rate: mean share, inside (0, 1).
        people: variance of people's own rates; below 0 counts as 0.
        pictures: of pictures' own rates.
    """
    wanted = np.sqrt(np.maximum([people, pictures], 0.0))

    def distance(sds: np.ndarray) -> np.ndarray:
        found = variances(rate, float(sds[0]), float(sds[1]))
        return np.sqrt([found.people, found.pictures]) - wanted

    start = np.clip(wanted / (rate * (1 - rate)), 1e-3, _LARGEST / 2)
    solution = least_squares(distance, start, bounds=(0.0, _LARGEST), xtol=1e-8)
    person_sd, picture_sd = (
        float(sd) if some > 0 else 0.0 for sd, some in zip(solution.x, wanted, strict=True)
    )
    return person_sd, picture_sd
