"""Intervals for other people and other pictures: two-level bootstrap with corrected spread.

People and pictures are resampled independently of each other, and an answer is weighted by the
product of the numbers of times that its person and its picture were drawn (the pigeonhole
bootstrap; McCullagh 2000, Owen 2007). Without correction, it has two errors: it counts the residual
variance three times (Owen 2007, theorem 3: intervals are far too wide if people and pictures hardly
differ), and it ignores how few people and pictures there are (otherwise intervals are too narrow).
So only the shape of the distribution of a group's share is taken from its replicates, in log-odds.
The spread is set to the unbiased estimate of :mod:`impasto.survey.analysis.components`, widened
from the normal to the t-distribution with the degrees of freedom of that estimate (Satterthwaite
1946). Where a share is 0 or 1, the components cannot be estimated, and the interval is the exact
one of as many independent answers as there are people or pictures, whichever are fewer.

Statistics of several groups' shares, such as the error rate, get their intervals from those of the
shares (recovery of variance estimates: Zou and Donner 2008, for correlated shares Zou 2008), so
that near 0 and 1 they are as lopsided as these are, and never narrower than the share at a wall
allows. benchmarks/survey_coverage.py measures the coverage.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit, logit, ndtr, stdtrit

from impasto.survey.analysis.components import (
    Components,
    Labels,
    beta_kurtosis,
    components,
    covariance_of_people,
)
from impasto.survey.rates import Interval, Rate

__all__ = ["JudgementTable", "Spread", "TwoLevel"]

Values = NDArray[np.float64]
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
class _ShareSpread:
    """Confidence distribution of one group's share, generalized to other people and pictures.

    Attributes:
        center: the share in log-odds; with the log-linear correction if it is 0 or 1.
        error: standard error of the log-odds.
        freedom: degrees of freedom of the standard error.
        deviations: absolute deviations of the bootstrap replicates from their median, in units of
            their standard deviation, sorted.
        wall: the share if it is 0 or 1, where the variation between people and pictures cannot be
            estimated; None otherwise.
        independent: number of independent answers that the group's answers count as at a wall: the
            number of people or of pictures, whichever is smaller.
    """

    center: float
    error: float
    freedom: float
    deviations: Values
    wall: float | None
    independent: int

    @property
    def error_of_share(self) -> float:
        """Standard error of the share itself."""
        return self.error * float(expit(self.center) * expit(-self.center))

    def interval(self, level: float) -> tuple[float, float]:
        """Return the ends of the interval that covers with probability ``level``."""
        if self.wall is not None:
            # Clopper and Pearson's interval where all answers are the same.
            reach = 1 - ((1 - level) / 2) ** (1 / self.independent)
            return (0.0, reach) if self.wall == 0 else (1 - reach, 1.0)
        normal = np.quantile(self.deviations, level)
        reach = self.error * float(stdtrit(self.freedom, ndtr(normal)))
        return float(expit(self.center - reach)), float(expit(self.center + reach))


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Confidence distribution of a statistic, generalized to other people and other pictures.

    Attributes:
        estimate: value of the statistic.
        at_wall: whether the share of a group that the statistic depends on is 0 or 1. Its answers
            then do not tell how much people and pictures differ, so that the interval is wide, and
            the statistic must not be declared to be equivalent to anything.
    """

    estimate: float
    at_wall: bool
    _statistic: RateStatistic
    _rates: Values
    _bounds: Values
    _shares: Mapping[int, _ShareSpread]
    _signs: Values
    _correlation: Values
    _resolution: float

    def interval(self, level: float = 0.95) -> Interval:
        """Return the interval that covers with probability ``level``."""
        below, above = [], []
        for (place, share), sign in zip(self._shares.items(), self._signs, strict=True):
            ends = np.clip(share.interval(level), self._bounds[place], 1 - self._bounds[place])
            low, high = (self._distance(place, end) for end in (ends if sign > 0 else ends[::-1]))
            below.append(low)
            above.append(high)
        return Interval(
            low=self.estimate - self._combined(below), high=self.estimate + self._combined(above)
        )

    def p_two_sided(self, value: float) -> float:
        """Return the two-sided p-value of the null hypothesis ``statistic == value``.

        It is 1 less the level of the interval that ends at the value, and never below the
        resolution of the bootstrap.
        """

        def outside(log_p: float) -> float:
            interval = self.interval(1 - float(np.exp(log_p)))
            return max(interval.low - value, value - interval.high)

        least = float(np.log(self._resolution))
        if outside(0.0) <= 0:
            return 1.0
        if outside(least) >= 0:
            return self._resolution
        return float(np.exp(brentq(outside, least, 0.0, xtol=1e-9)))

    def p_at_most(self, value: float) -> float:
        """Return the one-sided p-value of the null hypothesis ``statistic <= value``."""
        half = self.p_two_sided(value) / 2
        return half if self.estimate > value else 1 - half

    def p_at_least(self, value: float) -> float:
        """Return the one-sided p-value of the null hypothesis ``statistic >= value``."""
        half = self.p_two_sided(value) / 2
        return half if self.estimate < value else 1 - half

    def _distance(self, place: int, end: float) -> float:
        """Return how far the statistic moves if one share moves to an end of its interval."""
        moved = self._rates.copy()
        moved[place] = end
        return abs(float(self._statistic(moved)) - self.estimate)

    def _combined(self, distances: list[float]) -> float:
        signed = np.array(distances) * self._signs
        return math.sqrt(max(float(signed @ self._correlation @ signed), 0.0))


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

    def spread(self, statistic: RateStatistic, *, corrected: bool = False) -> Spread | None:
        """Return the confidence distribution of a statistic.

        Args:
            statistic: function that computes the statistic from the groups' shares called REAL; it
                must rise or fall in each of them throughout.
            corrected: compute the statistic from log-linearly corrected shares.

        Returns:
            The confidence distribution; None if a group that the statistic depends on has fewer
            than two people or pictures.
        """
        step = 1e-3 * np.diag(np.minimum(self.corrected_rates, 1 - self.corrected_rates))
        up, down = (statistic(self.corrected_rates + sign * step) for sign in (1, -1))
        signs = np.sign(np.where(np.abs(up - down) > 1e-12, up - down, 0.0))
        used = np.flatnonzero(signs)
        if not len(used) or any(self.parts[place] is None for place in used):
            return None
        shares = {place: self._share_spread(place, corrected) for place in used.tolist()}
        errors = np.array([share.error_of_share for share in shares.values()])
        correlation = self._covariance[np.ix_(used, used)] / np.outer(errors, errors)
        np.fill_diagonal(correlation, 1.0)
        rates = self.corrected_rates if corrected else self.rates
        # As the corrected shares themselves: never infinitely far on a scale of z-values.
        bounds = np.array([0.5 / (count.n + 1) if corrected else 0.0 for count in self._counts])
        return Spread(
            estimate=float(statistic(rates)),
            at_wall=any(share.wall is not None for share in shares.values()),
            _statistic=statistic,
            _rates=rates,
            _bounds=bounds,
            _shares=shares,
            _signs=signs[used],
            _correlation=correlation,
            _resolution=1 / (1 + len(self._both)),
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

    def _share_spread(self, place: int, corrected: bool) -> _ShareSpread:
        """Return the confidence distribution of a group's share."""
        part, count = self.parts[place], self._counts[place]
        if part is None:
            raise ValueError(f"{self._table.groups[place]}: expected two people and two pictures")
        inside = 0 < count.count < count.n
        observed = count.share if inside else float(self.corrected_rates[place])
        share = float(self.corrected_rates[place]) if corrected else observed
        noise = part.noise_in_mean
        doubt = noise**2 / max(int(np.prod([level - 1 for level in part.levels[:2]])), 1)
        for component, added, levels in zip(part.factors, part.in_mean, part.levels, strict=True):
            freedom = _freedom(levels, beta_kurtosis(observed, max(component, 0.0)))
            doubt += _uncertain(added, noise) ** 2 / max(freedom, 1.0)
        variance = max(sum(part.in_mean) + noise, observed * (1 - observed) / count.n)
        replicates = logit(self._both[:, place])
        replicates = replicates[np.isfinite(replicates)]
        centered = np.abs(replicates - np.median(replicates))
        return _ShareSpread(
            center=float(logit(share)),
            error=float(np.sqrt(variance)) / (share * (1 - share)),
            # A higher floor would pretend that many people make up for few pictures.
            freedom=max(variance**2 / doubt, 1.0) if doubt else 1e6,
            deviations=np.sort(centered / max(float(replicates.std()), 1e-300)),
            wall=None if inside else count.share,
            independent=min(part.levels[:2]),
        )

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


def _freedom(levels: int, kurtosis: float) -> float:
    """Return the degrees of freedom of the variance between levels with an excess kurtosis.

    The variance of a sample variance is sigma^4 (2 / (n - 1) + kurtosis / n).
    """
    return 2 / (2 / (levels - 1) + kurtosis / levels)


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
