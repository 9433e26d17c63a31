"""Intervals for other people and other pictures: two-level bootstrap with corrected spread.

People and pictures are resampled independently of each other, and an answer is weighted by the
product of the numbers of times that its person and its picture were drawn (the pigeonhole
bootstrap; McCullagh 2000, Owen 2007). Without correction, it has two errors: it counts the residual
variance three times (Owen 2007, theorem 3: intervals are far too wide if people and pictures hardly
differ), and it ignores how few people and pictures there are (otherwise intervals are too narrow).
So only the shape of the distribution is taken from its replicates, on an unbounded scale (the
log-odds for shares). The spread is set to the unbiased estimate of
:mod:`impasto.survey.analysis.components`, widened from the normal to the t-distribution with the
degrees of freedom of that estimate (Satterthwaite 1946). benchmarks/survey_coverage.py measures the
coverage.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, ndtri
from scipy.stats import t as student

from impasto.survey.analysis.components import Components, Labels, components, covariance_of_people
from impasto.survey.rates import Interval, Rate

__all__ = ["JudgementTable", "Spread", "TwoLevel"]

Values = NDArray[np.float64]
Scale = Literal["share", "difference", "plain"]
RateStatistic = Callable[[Values], Values]
"""From shares called REAL of the groups, (..., groups), to a number, (...)."""

_AT_ONCE = 500


@dataclass(frozen=True, kw_only=True)
class JudgementTable:
    """Answers about pictures as arrays, (N,) each.

    Attributes:
        called_real: 1 where a picture was called REAL, else 0.
        person: index of the person who answered, whole numbers from 0.
        picture: index of the picture that was judged, whole numbers from 0.
        group: group of the picture, as an index into ``groups``.
        groups: names of the groups: real pictures and each generator.
        beside: in paired protocols, index of the picture shown beside it, whole numbers from 0;
            otherwise None.
    """

    called_real: Values
    person: Labels
    picture: Labels
    group: Labels
    groups: tuple[str, ...]
    beside: Labels | None = None

    @property
    def people(self) -> int:
        """Number of people."""
        return len(np.unique(self.person))

    def of(self, name: str) -> NDArray[np.bool_]:
        """Return a mask of the answers about the pictures of a group."""
        return np.asarray(self.group == self.groups.index(name))

    def rate(self, name: str) -> Rate:
        """Return how often the pictures of a group were called REAL."""
        answers = self.called_real[self.of(name)]
        return Rate(count=int(answers.sum()), n=len(answers))


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Confidence distribution of a statistic, generalized to other people and other pictures.

    Attributes:
        estimate: value of the statistic.
        center: the estimate on the transformed scale (see ``scale``).
        error: standard error on the transformed scale.
        freedom: degrees of freedom of the standard error.
        deviations: absolute deviations of the bootstrap replicates from their median, in units of
            their standard deviation, sorted.
        scale: scale on which the statistic is transformed: ``share`` for log-odds, ``difference``
            for the inverse hyperbolic tangent, otherwise none.
        extreme: effective number of independent answers if the share is 0 or 1, where the variation
            between people and pictures cannot be estimated: the number of people or of pictures,
            whichever is smaller. None otherwise.
    """

    estimate: float
    center: float
    error: float
    freedom: float
    deviations: Values
    scale: Scale
    extreme: int | None = None

    def interval(self, level: float = 0.95) -> Interval:
        """Return the interval that covers with probability ``level``."""
        if self.extreme is not None:
            count = round(self.estimate) * self.extreme
            found = Rate(count=count, n=self.extreme).clopper_pearson(level)
            if found is not None:
                return found
        normal = np.quantile(self.deviations, level)
        reach = self.error * float(student.ppf(ndtr(normal), self.freedom))
        low, high = _backward(self.scale, np.array([self.center - reach, self.center + reach]))
        # Beyond the last finite value of a scale there is only the estimate itself.
        return Interval(low=min(float(low), self.estimate), high=max(float(high), self.estimate))

    def p_two_sided(self, value: float) -> float:
        """Return the two-sided p-value of the null hypothesis ``statistic == value``."""
        if self.extreme is not None:
            return self._p_extreme(value)
        distance = abs(float(_forward(self.scale, np.array(value))) - self.center) / self.error
        normal = ndtri(student.cdf(distance, self.freedom))
        beyond = len(self.deviations) - int(np.searchsorted(self.deviations, normal))
        return (1 + beyond) / (1 + len(self.deviations))

    def p_at_most(self, value: float) -> float:
        """Return the one-sided p-value of the null hypothesis ``statistic <= value``."""
        half = self.p_two_sided(value) / 2
        return half if self.estimate > value else 1 - half

    def p_at_least(self, value: float) -> float:
        """Return the one-sided p-value of the null hypothesis ``statistic >= value``."""
        half = self.p_two_sided(value) / 2
        return half if self.estimate < value else 1 - half

    def _p_extreme(self, value: float) -> float:
        chance = value if self.estimate > 0.5 else 1 - value
        return float(min(1.0, 2 * chance ** (self.extreme or 0)))


class TwoLevel:
    """Two-level bootstrap of a table of answers: people and pictures are both resampled.

    Args:
        table: the answers.
        resamples: number of bootstrap resamples of people and pictures.
        rng: random number generator that draws the resamples.

    Attributes:
        rates: share of each group's answers that are REAL, (groups,).
        corrected_rates: the same shares with the log-linear correction, (groups,).
        parts: variance components of each group; None for a group with fewer than two people or
            pictures.
    """

    def __init__(self, table: JudgementTable, *, resamples: int, rng: np.random.Generator) -> None:
        self._table = table
        self._people = int(table.person.max()) + 1 if len(table.person) else 0
        self._counts = [table.rate(name) for name in table.groups]
        self.rates: Values = np.array([rate.share for rate in self._counts])
        self.corrected_rates: Values = np.array([(r.count + 0.5) / (r.n + 1) for r in self._counts])
        self.parts: list[Components | None] = [self._components(name) for name in table.groups]
        self._covariance = self._between_people()
        self._both: Values
        self._both_raw: Values
        self._people_raw: Values
        self._draw(resamples, rng)

    def spread(
        self, statistic: RateStatistic, scale: Scale, *, corrected: bool = False
    ) -> Spread | None:
        """Return the confidence distribution of a statistic.

        Args:
            statistic: function that computes the statistic from the groups' shares called REAL.
            scale: ``share`` for statistics in [0, 1], ``difference`` for those in [-1, 1].
            corrected: compute the statistic from log-linearly corrected shares.

        Returns:
            The confidence distribution; None if a group that the statistic depends on has fewer
            than two people or pictures.
        """
        inside = (self.rates > 0) & (self.rates < 1)
        at = np.where(inside & (not corrected), self.rates, self.corrected_rates)
        slope = self._slope(statistic, scale, at)
        used = np.flatnonzero(np.abs(slope) > 1e-12)
        parts = [self.parts[place] for place in used]
        if not len(used) or any(part is None for part in parts):
            return None
        estimate = float(statistic(at if corrected else self.rates))
        variance, freedom = self._variance(slope, used)
        replicates = _forward(scale, statistic(self._both))
        replicates = replicates[np.isfinite(replicates)]
        centered = np.abs(replicates - np.median(replicates))
        extreme = None
        center = float(_forward(scale, np.array(estimate)))
        if not np.isfinite(center):
            center = float(_forward(scale, statistic(at)))
            if scale == "share":
                people = min(part.levels[0] for part in parts if part is not None)
                pictures = sum(part.levels[1] for part in parts if part is not None)
                extreme = min(people, pictures)
        return Spread(
            estimate=estimate,
            center=center,
            error=float(np.sqrt(variance)),
            freedom=freedom,
            deviations=np.sort(centered / max(float(replicates.std()), 1e-300)),
            scale=scale,
            extreme=extreme,
        )

    def percentiles(self, statistic: RateStatistic, level: float = 0.95) -> Interval:
        """Return the uncorrected percentile interval of the two-level bootstrap."""
        return _percentiles(statistic(self._both_raw), level)

    def for_people(self, statistic: RateStatistic, level: float = 0.95) -> Interval:
        """Return the interval for other people who judge the same pictures: only people resampled.

        This is the interval of HYPE (Zhou et al. 2019, section 3.3).
        """
        return _percentiles(statistic(self._people_raw), level)

    def _components(self, name: str) -> Components | None:
        some = self._table.of(name)
        factors = [self._table.person[some], self._table.picture[some]]
        if any(len(np.unique(factor)) < 2 for factor in factors):
            return None
        if self._table.beside is not None:
            factors.append(self._table.beside[some])
        dense = [np.unique(factor, return_inverse=True)[1] for factor in factors]
        return components(self._table.called_real[some], dense)

    def _between_people(self) -> Values:
        """Return the covariance between the groups' rates due to people (no residual variance)."""
        groups = [self._table.of(name) for name in self._table.groups]
        residuals = [
            self._table.called_real[some] - rate
            for some, rate in zip(groups, self.rates, strict=True)
        ]
        who = [self._table.person[some] for some in groups]
        covariance = covariance_of_people(residuals, who, self._people)
        own = [part.in_mean[0] if part else 0.0 for part in self.parts]
        np.fill_diagonal(covariance, own)
        # No covariance may exceed what the two variances allow.
        limit = np.sqrt(np.outer(own, own))
        return np.clip(covariance, -limit, limit)

    def _slope(self, statistic: RateStatistic, scale: Scale, at: Values) -> Values:
        """Return the derivative on the transformed scale with respect to the shares, (groups,)."""
        step = 1e-6 * np.eye(len(at)) * np.minimum(at, 1 - at)[:, None]
        up, down = (_forward(scale, statistic(at + sign * step)) for sign in (1, -1))
        return np.asarray((up - down) / (2 * step.diagonal()))

    def _variance(self, slope: Values, used: NDArray[np.int64]) -> tuple[float, float]:
        """Return variance and degrees of freedom of a statistic with this derivative."""
        people = max(float(slope @ self._covariance @ slope), 0.0)
        floor = noise = 0.0
        uncertain: list[tuple[float, int]] = []
        pictures = 0.0
        for place in used.tolist():
            part = self.parts[place]
            if part is None:
                continue
            square, count = float(slope[place] ** 2), self._counts[place]
            share = count.share if 0 < count.count < count.n else float(self.corrected_rates[place])
            floor += square * share * (1 - share) / count.n
            own_noise = square * part.noise_in_mean
            noise += own_noise
            for added, levels in zip(part.in_mean[1:], part.levels[1:], strict=True):
                pictures += square * added
                uncertain.append((_uncertain(square * added, own_noise), levels - 1))
            uncertain.append((own_noise, int(np.prod([level - 1 for level in part.levels[:2]]))))
        judges = len(np.unique(self._table.person[np.isin(self._table.group, used)]))
        uncertain.append((_uncertain(people, noise), judges - 1))
        variance = max(people + pictures + noise, floor)
        doubt = sum(part**2 / max(freedom, 1) for part, freedom in uncertain)
        return variance, max(variance**2 / doubt, 1.0) if doubt else 1e6

    def _draw(self, resamples: int, rng: np.random.Generator) -> None:
        """Draw the bootstrap replicates of the groups' rates, (resamples, groups) each."""
        answered = [self._grid(name) for name in self._table.groups]
        both, both_raw, people_raw = [], [], []
        for start in range(0, resamples, _AT_ONCE):
            size = min(_AT_ONCE, resamples - start)
            people = _times(self._people, size, rng)
            parts = [_replicate(people, said, asked, rng) for said, asked in answered]
            both.append(np.stack([part[0] for part in parts], axis=1))
            both_raw.append(np.stack([part[1] for part in parts], axis=1))
            people_raw.append(np.stack([part[2] for part in parts], axis=1))
        self._both = np.concatenate(both)
        self._both_raw = np.concatenate(both_raw)
        self._people_raw = np.concatenate(people_raw)

    def _grid(self, name: str) -> tuple[Values, Values]:
        """Return the counts of answers REAL and of all answers, each (people, pictures)."""
        rows = self._table.of(name)
        picture = np.unique(self._table.picture[rows], return_inverse=True)[1]
        shape = (self._people, int(picture.max()) + 1 if len(picture) else 0)
        real, asked = np.zeros(shape), np.zeros(shape)
        place = (self._table.person[rows], picture)
        np.add.at(real, place, self._table.called_real[rows])
        np.add.at(asked, place, 1.0)
        return real, asked


def _times(count: int, size: int, rng: np.random.Generator) -> Values:
    """Return how often each of ``count`` items is drawn in ``count`` draws, (size, count)."""
    drawn = rng.multinomial(count, np.full(count, 1 / max(count, 1)), size)
    return drawn.astype(np.float64)


def _replicate(
    people: Values, called_real: Values, asked: Values, rng: np.random.Generator
) -> tuple[Values, Values, Values]:
    """Return corrected and raw shares of people and pictures drawn anew, and of people alone."""
    pictures = _times(called_real.shape[1], len(people), rng)
    count_of_pictures, n_of_pictures = people @ called_real, people @ asked
    count = (count_of_pictures * pictures).sum(axis=1)
    n = (n_of_pictures * pictures).sum(axis=1)
    with np.errstate(invalid="ignore"):
        raw = count / n
        alone = count_of_pictures.sum(axis=1) / n_of_pictures.sum(axis=1)
    corrected = np.where(n > 0, (count + 0.5) / (n + 1), np.nan)
    return corrected, raw, alone


def _uncertain(component: float, noise: float) -> float:
    """Return the part of a variance component that counts for its degrees of freedom.

    Departure: Satterthwaite's mean square includes all of the residual variance, which makes
    intervals too wide for components that are truncated at 0; the component alone includes none of
    it, which makes them too narrow. With half of it, coverage is 93 to 97 % over designs
    (benchmarks/survey_coverage.py).
    """
    return component + noise / 2 if component > 0 else 0.0


def _percentiles(replicates: Values, level: float) -> Interval:
    tails = [(1 - level) / 2, (1 + level) / 2]
    low, high = np.quantile(replicates[np.isfinite(replicates)], tails).tolist()
    return Interval(low=low, high=high)


def _forward(scale: Scale, value: Values) -> Values:
    if scale == "share":
        return np.asarray(logit(value))
    if scale == "difference":
        with np.errstate(divide="ignore"):
            return np.asarray(np.arctanh(value))
    return np.asarray(value)


def _backward(scale: Scale, value: Values) -> Values:
    if scale == "share":
        return np.asarray(expit(value))
    return np.asarray(np.tanh(value)) if scale == "difference" else value
