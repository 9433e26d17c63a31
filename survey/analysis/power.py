"""Precision of a planned study: expected widths of intervals, and sizes for a desired width."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.special import expit, logit
from scipy.stats import norm, t as student

from impasto.options.errors import SurveyError
from impasto.survey.analysis.components import Variances, variances
from impasto.survey.rates import Rate

__all__ = ["Design", "picture_half_width", "raters_for_picture", "read_pilot"]

_MOST = 20_000
_POWER = 0.8


@dataclass(frozen=True, kw_only=True)
class Design:
    """Design of a planned study in which everybody judges all pictures.

    Attributes:
        raters: number of people.
        pictures: number of pictures per generator, and of real pictures.
        rate: expected fooling rate, in (0, 1).
        person_sd: standard deviation between people, in log-odds.
        picture_sd: standard deviation between pictures, in log-odds.
    """

    raters: int
    pictures: int
    rate: float = 0.5
    person_sd: float = 0.5
    picture_sd: float = 1.0

    @cached_property
    def variances(self) -> Variances:
        """Variance components of an answer."""
        return variances(self.rate, self.person_sd, self.picture_sd)

    def half_width(self, level: float = 0.95) -> float:
        """Return the expected half width of the interval for other people and other pictures."""
        people = self.variances.people / self.raters
        pictures = self.variances.pictures / self.pictures
        noise = self._noise
        # As in impasto.survey.analysis.bootstrap, with the components as they are expected.
        doubt = (
            (people + noise / 2) ** 2 / (self.raters - 1)
            + (pictures + noise / 2) ** 2 / (self.pictures - 1)
            + noise**2 / ((self.raters - 1) * (self.pictures - 1))
        )
        total = people + pictures + noise
        return self._reach(total, float(student.ppf((1 + level) / 2, total**2 / doubt)))

    def half_width_for_people(self) -> float:
        """Return the half width of 95 % intervals for other people who judge the same pictures."""
        total = self.variances.people / self.raters + self._noise
        return self._reach(total, float(student.ppf(0.975, self.raters - 1)))

    def half_width_if_independent(self) -> float:
        """Return the half width of Wilson's 95 % interval, treating all answers as independent."""
        return picture_half_width(self.raters * self.pictures, self.rate)

    def detectable_difference(self) -> float:
        """Return the difference between two generators that is detected with 80 % power.

        The same people judge both, so that their response bias cancels; 5 % level, two-sided.
        """
        error = np.sqrt(2 * (self.variances.pictures / self.pictures + self._noise))
        return float((norm.ppf(0.975) + norm.ppf(_POWER)) * error)

    def provable_margin(self) -> float:
        """Return the equivalence margin that is shown with 80 % power if people guess.

        The error rate is the mean of two shares, of fakes and of the same number of real pictures;
        two one-sided tests at the 2.5 % level, as in the report.
        """
        error = np.sqrt(2 * (self.variances.pictures / self.pictures + self._noise)) / 2
        return float((norm.ppf(0.975) + norm.ppf((1 + _POWER) / 2)) * error)

    def raters_for(self, half_width: float) -> int | None:
        """Return the smallest number of people for a half width; None if no number suffices."""
        return _smallest(lambda raters: replace(self, raters=raters).half_width() <= half_width)

    def pictures_for(self, half_width: float) -> int | None:
        """Return the smallest number of pictures for a half width; None if no number suffices."""
        return _smallest(
            lambda pictures: replace(self, pictures=pictures).half_width() <= half_width
        )

    @property
    def _noise(self) -> float:
        return self.variances.noise / (self.raters * self.pictures)

    def _reach(self, variance: float, quantile: float) -> float:
        """Return the half width of an interval that is symmetric in log-odds."""
        reach = quantile * variance**0.5 / (self.rate * (1 - self.rate))
        low, high = expit(logit(self.rate) + np.array([-reach, reach])).tolist()
        return float(high - low) / 2


def picture_half_width(raters: int, rate: float = 0.5) -> float:
    """Return the half width of Wilson's 95 % interval for one picture.

    For a fractional number of answers, the widths at the neighboring integers are interpolated.
    """
    below = int(raters * rate)
    above = min(below + 1, raters)
    found = [Rate(count=count, n=raters).wilson() for count in (below, above)]
    widths = [one.half_width if one else 0.5 for one in found]
    return float(np.interp(raters * rate - below, [0.0, 1.0], widths))


def raters_for_picture(half_width: float, rate: float = 0.5) -> int | None:
    """Return the smallest number of people for a half width of one picture's interval, or None."""
    return _smallest(lambda raters: picture_half_width(raters, rate) <= half_width)


def read_pilot(path: Path) -> tuple[float, float, float]:
    """Read the parameters for planning from the report of a pilot study.

    Args:
        path: ``results.json`` of the report.

    Returns:
        Mean fooling rate of the generators, and the standard deviations between people and between
        pictures in log-odds: root mean squares over the generators.

    Raises:
        SurveyError: the file is not a report's ``results.json``, or the study is too small.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        groups = [group for group in stored["groups"] if group["name"] != "real"]
        rates = [float(group["called_real"]["value"]) for group in groups]
        sds = [
            (float(group["person_sd"]), float(group["picture_sd"]))
            for group in groups
            if group["person_sd"] is not None
        ]
    except FileNotFoundError:
        raise SurveyError(
            path, "no such file; expected the results.json of 'impasto survey report'"
        ) from None
    except OSError as error:
        raise SurveyError(path, f"cannot be read: {error.strerror or error}") from error
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        reason = "its groups do not say what those of a report say"
        if isinstance(error, json.JSONDecodeError | UnicodeDecodeError | RecursionError):
            reason = "it is no JSON"
        raise SurveyError(
            path, f"is no results.json of 'impasto survey report': {reason}"
        ) from error
    if not sds:
        raise SurveyError(path, "does not say how much people and pictures differ: it is too small")
    person_sd, picture_sd = np.sqrt(np.mean(np.square(sds), axis=0)).tolist()
    return min(max(float(np.mean(rates)), 0.01), 0.99), person_sd, picture_sd


def _smallest(fits: Callable[[int], bool]) -> int | None:
    """Return the smallest number from 2 that fits, where all above it fit; None if none does."""
    if not fits(_MOST):
        return None
    low, high = 1, _MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if fits(middle) else (middle, high)
    return high
