"""Discrimination of each generator's pictures from real ones, and comparison of generators.

Sensitivity and response bias are separated by signal detection theory: the signal is a fake, and
the response to it is FAKE. Rates get the log-linear correction (x + 0.5) / (n + 1) (Hautus 1995),
so that rates of 0 and 1 have finite z-values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, ttest_1samp

from impasto.survey.analysis.bootstrap import JudgementTable, RateStatistic, Spread, TwoLevel
from impasto.survey.analysis.findings import Comparison, Equivalence, Estimate, GeneratorFindings
from impasto.survey.analysis.judgements import REAL_GROUP, JudgedSession
from impasto.survey.analysis.permutation import compare_generators
from impasto.survey.rates import Interval, holm

__all__ = [
    "Sensitivity",
    "compare_all",
    "criterion_of_rates",
    "d_prime_of_rates",
    "estimate",
    "judge_generator",
    "log_linear",
    "person_d_prime",
    "yes_no",
]

Values = NDArray[np.float64]
_SQRT2 = float(np.sqrt(2))


@dataclass(frozen=True, kw_only=True)
class Sensitivity:
    """Sensitivity and response bias of signal detection theory, with fakes as the signal.

    Attributes:
        d_prime: sensitivity d': distance between fake and real in standard deviations; 0 is chance
            level.
        criterion: response bias c: 0 is unbiased; below 0, people are biased toward FAKE, above 0
            toward REAL.
    """

    d_prime: float
    criterion: float


def log_linear(count: float, n: float) -> float:
    """Return a rate with the log-linear correction, which is never 0 or 1 (Hautus 1995)."""
    return (count + 0.5) / (n + 1)


def yes_no(
    hits: int, signals: int, false_alarms: int, noises: int, *, corrected: bool = True
) -> Sensitivity:
    """Return d' and criterion of a yes-no task: answers about one picture at a time.

    Args:
        hits: number of fakes called FAKE.
        signals: number of fakes.
        false_alarms: number of real pictures called FAKE.
        noises: number of real pictures.
        corrected: apply the log-linear correction.

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
    """Return d' from the shares called REAL of fakes and of real pictures; (..., 2) to (...)."""
    z = norm.ppf(called_real)
    return np.asarray(z[..., 1] - z[..., 0])


def criterion_of_rates(called_real: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the criterion from shares called REAL of fakes and real ones; (..., 2) to (...)."""
    z = norm.ppf(called_real)
    return np.asarray((z[..., 1] + z[..., 0]) / 2)


def estimate(
    two_level: TwoLevel, statistic: RateStatistic, *, corrected: bool = False
) -> tuple[Estimate, Spread | None]:
    """Return a statistic with its intervals, and its confidence distribution for tests."""
    spread = two_level.spread(statistic, corrected=corrected)
    value = float(statistic(two_level.corrected_rates if corrected else two_level.rates))
    if corrected:
        return Estimate(value=value, interval=spread.interval() if spread else None), spread
    measured = Estimate(
        value=value,
        interval=spread.interval() if spread else None,
        people=two_level.for_people(statistic),
        percentiles=two_level.percentiles(statistic),
    )
    return measured, spread


def judge_generator(
    name: str,
    table: JudgementTable,
    two_level: TwoLevel,
    sessions: Sequence[JudgedSession],
    *,
    margin: float,
) -> GeneratorFindings:
    """Compute error rate and sensitivity for one generator.

    Args:
        name: name of the generator, which is one of the table's groups.
        table: answers of the sessions that were not excluded.
        two_level: two-level bootstrap of the table.
        sessions: sessions that were not excluded.
        margin: equivalence margin, as a difference from an error rate of one half.
    """
    if table.beside is None and REAL_GROUP not in table.groups:
        return GeneratorFindings(
            name=name,
            error=None,
            p_chance=None,
            equivalence=None,
            d_prime=None,
            criterion=None,
            d_prime_people=None,
        )
    error, spread = estimate(two_level, _error(table, name))
    if table.beside is None:
        places = [table.groups.index(name), table.groups.index(REAL_GROUP)]
        sensitivity, _ = estimate(
            two_level, lambda rates: d_prime_of_rates(rates[..., places]), corrected=True
        )
        criterion, _ = estimate(
            two_level, lambda rates: criterion_of_rates(rates[..., places]), corrected=True
        )
    else:
        sensitivity = _forced_choice(table, name, error.interval)
        criterion = Estimate(value=_side_leaning(sessions, name))
    return GeneratorFindings(
        name=name,
        error=error,
        p_chance=spread.p_two_sided(0.5) if spread else None,
        equivalence=_equivalence(spread, margin) if spread else None,
        d_prime=sensitivity,
        criterion=criterion,
        d_prime_people=_mean_of_people([person_d_prime(session, {name}) for session in sessions]),
    )


def compare_all(
    table: JudgementTable, two_level: TwoLevel, *, resamples: int, rng: np.random.Generator
) -> list[Comparison]:
    """Compare all pairs of generators; Holm's correction covers all comparisons of a kind."""
    names = [name for name in table.groups if name != REAL_GROUP]
    compared = []
    for first, second in combinations(names, 2):
        difference, spread = estimate(two_level, _difference(table, first, second))
        permutation = compare_generators(table, first, second, resamples=resamples, rng=rng)
        compared.append((first, second, difference, spread, permutation))
    two_level_p = [spread.p_two_sided(0.0) if spread else None for *_, spread, _ in compared]
    people_p = [permutation.p if permutation else None for *_, permutation in compared]
    corrected = zip(holm(two_level_p), holm(people_p), strict=True)
    return [
        Comparison(
            first=first,
            second=second,
            difference=difference,
            p_two_level=p,
            p_two_level_holm=p_holm,
            permutation=permutation,
            p_permutation_holm=p_people_holm,
        )
        for (first, second, difference, _, permutation), p, (p_holm, p_people_holm) in zip(
            compared, two_level_p, corrected, strict=True
        )
    ]


def person_d_prime(session: JudgedSession, generators: set[str]) -> float | None:
    """Return one person's d' (log-linear); None without these fakes or without real pictures."""
    fakes = [judgement for judgement in session.judgements if judgement.group in generators]
    if fakes and fakes[0].beside:
        right = sum(not judgement.wrong for judgement in fakes)
        return _SQRT2 * float(norm.ppf(log_linear(right, len(fakes))))
    reals = [judgement for judgement in session.judgements if judgement.group == REAL_GROUP]
    if not fakes or not reals:
        return None
    hits = sum(not judgement.called_real for judgement in fakes)
    alarms = sum(not judgement.called_real for judgement in reals)
    return yes_no(hits, len(fakes), alarms, len(reals)).d_prime


def _error(table: JudgementTable, name: str) -> RateStatistic:
    place = table.groups.index(name)
    if table.beside is not None:
        return lambda rates: rates[..., place]
    real = table.groups.index(REAL_GROUP)
    return lambda rates: (rates[..., place] + 1 - rates[..., real]) / 2


def _difference(table: JudgementTable, first: str, second: str) -> Callable[[Values], Values]:
    one, other = table.groups.index(first), table.groups.index(second)
    return lambda rates: rates[..., one] - rates[..., other]


def _equivalence(spread: Spread, margin: float) -> Equivalence:
    # Each of the two tests at 2.5 %, as ICH E9 (1998, section 5.5) asks of one-sided claims: at
    # 5 %, with shares near 1, "not told apart" is false more often than in 5 % of studies.
    one_sided = max(spread.p_at_most(0.5 - margin), spread.p_at_least(0.5 + margin))
    p = min(2 * one_sided, 1.0)
    return Equivalence(
        margin=margin,
        interval=spread.interval(0.95),
        p=p,
        shown=p < 0.05 and not spread.at_wall,
        unanimous=spread.at_wall,
    )


def _forced_choice(table: JudgementTable, name: str, interval: Interval | None) -> Estimate:
    """Return d' in pairs: sqrt(2) z(share of correct answers) (Macmillan, Creelman 2005)."""
    rate = table.rate(name)
    d_prime_interval = None
    if interval is not None:
        # As the point: never infinitely far from guessing.
        ends = np.clip([interval.low, interval.high], 0.5 / (rate.n + 1), 1 - 0.5 / (rate.n + 1))
        low, high = (_SQRT2 * float(norm.ppf(1 - end)) for end in ends[::-1])
        d_prime_interval = Interval(low=low, high=high)
    right = log_linear(rate.n - rate.count, rate.n)
    return Estimate(value=_SQRT2 * float(norm.ppf(right)), interval=d_prime_interval)


def _side_leaning(sessions: Sequence[JudgedSession], name: str) -> float:
    """Return the criterion of sides: below 0, people are biased to calling the left one fake."""
    judged = [
        judgement
        for session in sessions
        for judgement in session.judgements
        if judgement.group == name
    ]
    left = [judgement for judgement in judged if judgement.left]
    right = [judgement for judgement in judged if not judgement.left]
    hits = sum(not judgement.called_real for judgement in left)
    alarms = sum(judgement.called_real for judgement in right)
    z = norm.ppf([log_linear(hits, len(left)), log_linear(alarms, len(right))])
    return -float(z.sum()) / 2


def _mean_of_people(values: Sequence[float | None]) -> Estimate | None:
    known = [value for value in values if value is not None]
    if not known:
        return None
    interval = None
    if len(known) > 1 and np.ptp(known) > 1e-9:
        from_test = ttest_1samp(known, 0.0).confidence_interval(0.95)
        interval = Interval(low=float(from_test.low), high=float(from_test.high))
    return Estimate(value=float(np.mean(known)), interval=interval)
