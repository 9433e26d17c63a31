"""Telling apart and leaning to an answer, separated: signal detection theory.

The signal is a fake, and the response to it is FAKE. Rates get the log-linear correction
(x + 0.5) / (n + 1) (Hautus 1995), so that 0 and 1 have finite z-values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

__all__ = [
    "Sensitivity",
    "criterion_of_rates",
    "d_prime_of_rates",
    "log_linear",
    "yes_no",
]


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """How well fakes were told from real pictures, and how readily they were called fake.

    Attributes:
        d_prime: distance between fake and real in standard deviations; 0 is guessing.
        criterion: 0 is no leaning; below 0, people lean to FAKE, above 0 to REAL.
    """

    d_prime: float
    criterion: float


def log_linear(count: float, n: float) -> float:
    """Return a rate that is never 0 or 1 (Hautus 1995)."""
    return (count + 0.5) / (n + 1)


def yes_no(
    hits: int, signals: int, false_alarms: int, noises: int, *, corrected: bool = True
) -> Sensitivity:
    """Judge answers about one picture at a time.

    Args:
        hits: fakes that were called fake.
        signals: fakes.
        false_alarms: real pictures that were called fake.
        noises: real pictures.
        corrected: use the log-linear correction.

    Returns:
        d' = z(H) - z(F) and c = -(z(H) + z(F)) / 2 (Macmillan, Creelman 2005, ch. 1 and 2).
    """
    hit, alarm = hits / signals, false_alarms / noises
    if corrected:
        hit, alarm = log_linear(hits, signals), log_linear(false_alarms, noises)
    rates = np.array([1 - hit, 1 - alarm])
    return Sensitivity(
        d_prime=float(d_prime_of_rates(rates)), criterion=float(criterion_of_rates(rates))
    )


def d_prime_of_rates(called_real: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return d' of shares called REAL: of fakes, of real pictures; (..., 2) to (...)."""
    z = norm.ppf(called_real)
    return np.asarray(z[..., 1] - z[..., 0])


def criterion_of_rates(called_real: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the criterion of shares called REAL: of fakes, of real pictures; (..., 2) to (...)."""
    z = norm.ppf(called_real)
    return np.asarray((z[..., 1] + z[..., 0]) / 2)
