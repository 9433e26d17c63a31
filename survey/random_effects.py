"""People and pictures that differ, on the log-odds scale and on that of rates.

An answer is REAL with the log-odds (constant + person + picture), where person and picture are
normal around 0: the mixed logistic model. Rates need averages over both, by Gauss-Hermite
quadrature.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial.hermite_e import hermegauss
from scipy.optimize import brentq, least_squares
from scipy.special import expit, logit

__all__ = ["Variances", "constant_of", "standard_deviations", "variances"]

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
