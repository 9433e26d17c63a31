"""Variance components of the answers in a crossed design: people, pictures, and residual.

Answers of a study are not independent. Answers of one person share that person's tendency to answer
REAL; answers about one picture share its quality; and the quantity of interest, over other people
and other pictures of the same generator, varies in both. The components are estimated by the method
of moments (Henderson 1953, method 1; for binary crossed data Gao, Owen 2017), without bias for any
pattern of missing answers.

On the log-odds scale, an answer is REAL with the log-odds (constant + person + picture), where
person and picture are normal with mean 0: the mixed logistic model. Rates are averages over both,
computed by Gauss-Hermite quadrature.
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
    "beta_kurtosis",
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
    """Variance components of answers (0 or 1), and their contributions to the variance of the mean.

    Attributes:
        factors: estimated variance component of each factor, such as people and pictures; a small
            one can be below 0 by chance.
        noise: residual variance.
        levels: number of levels of each factor, such as the numbers of people and of pictures.
        weights: factor by which each variance component is multiplied in the variance of the mean.
        n: number of answers.
    """

    factors: tuple[float, ...]
    noise: float
    levels: tuple[int, ...]
    weights: tuple[float, ...]
    n: int

    @property
    def in_mean(self) -> tuple[float, ...]:
        """Contribution of each factor to the variance of the mean; never below 0."""
        pairs = zip(self.factors, self.weights, strict=True)
        return tuple(max(factor, 0.0) * weight for factor, weight in pairs)

    @property
    def noise_in_mean(self) -> float:
        """Contribution of the residual variance to the variance of the mean; never below 0."""
        return max(self.noise, 0.0) / self.n


def components(values: Values, factors: Sequence[Labels]) -> Components:
    """Estimate the variance components of crossed factors.

    The sum of squares within the levels of each factor, and the total sum of squares, have known
    expectations in terms of the components: as many equations as unknowns. Factors that cannot be
    distinguished (pairs of pictures that are always the same) share their variance equally.

    Args:
        values: values of the answers, (N,).
        factors: level of each factor for each answer, whole numbers from 0; one array (N,) per
            factor.
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
    """Return the covariance of the means of several groups that the same people judged.

    Args:
        residuals: answers less their group's mean, one array per group.
        people: index of the person who gave each answer, whole numbers in [0, ``count``), one array
            per group.
        count: number of people.

    Returns:
        Covariances of the means, (groups, groups); the diagonal still includes residual variance.
    """
    sums = np.array(
        [
            np.bincount(who, weights=some, minlength=count) / max(len(some), 1)
            for some, who in zip(residuals, people, strict=True)
        ]
    )
    return np.asarray(sums @ sums.T * (count / max(count - 1, 1)))


def beta_kurtosis(mean: float, variance: float) -> float:
    """Return the excess kurtosis of the beta distribution with this mean and variance, at least 0.

    People's or pictures' own rates are skewed where their mean is near 0 or 1: a few far away make
    up most of the variance, which is then less certain than Satterthwaite's normal one.

    Args:
        mean: mean of the rates, in the open interval (0, 1).
        variance: variance of the rates, at least 0; from mean * (1 - mean) on, the result is 0.
    """
    if not 0 < variance < mean * (1 - mean):
        return 0.0
    total = mean * (1 - mean) / variance - 1
    a, b = mean * total, (1 - mean) * total
    numerator = (a - b) ** 2 * (total + 1) - a * b * (total + 2)
    return max(6 * numerator / (a * b * (total + 2) * (total + 3)), 0.0)


def _within(values: Values, group: Labels) -> float:
    """Return the sum of squares within the levels."""
    n = np.maximum(np.bincount(group), 1)
    means = np.bincount(group, weights=values) / n
    return float(((values - means[group]) ** 2).sum())


def _expected(group: Labels, of: Labels) -> float:
    """Return the coefficient of a variance component in the sum of squares within the levels."""
    cells = np.unique(group * (int(of.max()) + 1) + of, return_counts=True)
    levels = cells[0] // (int(of.max()) + 1)
    n = np.bincount(group)
    return float(len(group) - (cells[1].astype(float) ** 2 / n[levels]).sum())


_NODES, _WEIGHTS = hermegauss(41)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
_LARGEST = 6.0


@dataclass(frozen=True, kw_only=True)
class Variances:
    """Variances of an answer (0 or 1) around a given rate.

    Attributes:
        people: variance between people's own rates.
        pictures: variance between pictures' own rates.
        noise: residual variance; the three add up to rate * (1 - rate).
    """

    people: float
    pictures: float
    noise: float


def constant_of(rate: float, person_sd: float, picture_sd: float) -> float:
    """Return the constant of the mixed logistic model whose answers have this mean rate."""
    spread = float(np.hypot(person_sd, picture_sd))

    def excess(constant: float) -> float:
        return float(_WEIGHTS @ expit(constant + spread * _NODES)) - rate

    start = float(logit(rate)) * float(np.sqrt(1 + spread**2))
    return float(brentq(excess, start - 5 - spread, start + 5 + spread))


def variances(rate: float, person_sd: float, picture_sd: float) -> Variances:
    """Return the variance components of answers for given standard deviations in log-odds.

    Args:
        rate: mean share, in the open interval (0, 1).
        person_sd: standard deviation between people, in log-odds.
        picture_sd: standard deviation between pictures, in log-odds.
    """
    constant = constant_of(rate, person_sd, picture_sd)
    grid = expit(constant + person_sd * _NODES[:, None] + picture_sd * _NODES[None, :])
    people = float(_WEIGHTS @ (grid @ _WEIGHTS - rate) ** 2)
    pictures = float(_WEIGHTS @ (_WEIGHTS @ grid - rate) ** 2)
    return Variances(people=people, pictures=pictures, noise=rate * (1 - rate) - people - pictures)


def standard_deviations(rate: float, people: float, pictures: float) -> tuple[float, float]:
    """Return the standard deviations in log-odds that produce these variances of rates.

    Args:
        rate: mean share, in the open interval (0, 1).
        people: variance between people's own rates; a value below 0 counts as 0.
        pictures: variance between pictures' own rates; a value below 0 counts as 0.
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
