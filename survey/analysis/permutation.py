"""Permutation tests: between generators, and of pictures against chance."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import permutation_test

from impasto.survey.analysis.bootstrap import JudgementTable

__all__ = ["PermutationTest", "compare_generators", "pictures_differ"]

Values = NDArray[np.float64]
_AT_ONCE = 200_000  # answers


@dataclass(frozen=True, kw_only=True)
class PermutationTest:
    """Permutation test of equal fooling rates of two generators.

    Attributes:
        paired: True if the same people judged both generators.
        people: number of people included; if ``paired``, those who judged both generators.
        difference: mean of people's own fooling rates for the first generator, less that for the
            second.
        p: two-sided p-value.
    """

    paired: bool
    people: int
    difference: float
    p: float


def compare_generators(
    table: JudgementTable, first: str, second: str, *, resamples: int, rng: np.random.Generator
) -> PermutationTest | None:
    """Test for equal fooling rates with other people who judge the same pictures.

    People's own fooling rates are compared.

    If most people judged both generators, only those are included, and each person's two rates are
    swapped at random; otherwise people are exchanged between the generators. The test is exact if
    there are no more than ``resamples`` permutations.

    Returns:
        The test result; None with fewer than two people.
    """
    rates = [_rates_of_people(table, name) for name in (first, second)]
    known = [~np.isnan(rate) for rate in rates]
    both = known[0] & known[1]
    paired = bool(2 * both.sum() >= (known[0] | known[1]).sum())
    if paired:
        samples = [rate[both] for rate in rates]
    else:
        # Who judged both would stand on both sides; each counts where nobody else does.
        samples = [rate[judged & ~both] for rate, judged in zip(rates, known, strict=True)]
    if min(len(sample) for sample in samples) < 2:
        return None

    def difference(x: Values, y: Values, axis: int) -> Values:
        return np.asarray(x.mean(axis=axis) - y.mean(axis=axis))

    result = permutation_test(
        samples,
        difference,
        permutation_type="samples" if paired else "independent",
        vectorized=True,
        n_resamples=resamples,
        batch=1000,
        rng=rng,
    )
    people = len(samples[0]) if paired else sum(len(sample) for sample in samples)
    return PermutationTest(
        paired=paired, people=people, difference=float(result.statistic), p=float(result.pvalue)
    )


def pictures_differ(
    table: JudgementTable, name: str, *, resamples: int, rng: np.random.Generator
) -> float | None:
    """Test for differences between the shares of a group's pictures that exceed chance.

    Each person's answers are permuted among the pictures that this person judged, which preserves
    each person's own tendency to answer REAL (the permutation form of Cochran's Q, 1950, for any
    pattern of missing answers).

    Returns:
        The p-value; None with fewer than two pictures or people.
    """
    rows = table.of(name)
    person = np.unique(table.person[rows], return_inverse=True)[1]
    picture = np.unique(table.picture[rows], return_inverse=True)[1]
    answered_real = table.called_real[rows]
    if not len(answered_real) or person.max() < 1 or picture.max() < 1:
        return None
    n = np.bincount(picture)
    by_picture = np.argsort(picture, kind="stable")
    first_of_picture = np.cumsum(n) - n
    # What people's own rates let expect of each picture.
    own = (np.bincount(person, weights=answered_real) / np.bincount(person))[person]
    expected = np.bincount(picture, weights=own)

    def scatter(answers: Values) -> Values:
        counts = np.add.reduceat(answers[:, by_picture], first_of_picture, axis=1)
        return np.asarray((((counts - expected) ** 2) / n).sum(axis=1))

    observed = float(scatter(answered_real[None])[0])
    by_person = np.argsort(person, kind="stable")
    places = person[by_person]
    at_once = max(1, _AT_ONCE // len(answered_real))
    at_least = 0
    for start in range(0, resamples, at_once):
        size = min(at_once, resamples - start)
        # Sorting by person and then at random mixes the answers within each person.
        mixed = np.argsort(places + rng.random((size, len(answered_real))), axis=1)
        answers = np.empty((size, len(answered_real)))
        answers[:, by_person] = answered_real[by_person][mixed]
        at_least += int((scatter(answers) >= observed - 1e-9).sum())
    return (1 + at_least) / (1 + resamples)


def _rates_of_people(table: JudgementTable, name: str) -> Values:
    rows = table.of(name)
    count = int(table.person.max()) + 1
    asked = np.bincount(table.person[rows], minlength=count)
    called = np.bincount(table.person[rows], weights=table.called_real[rows], minlength=count)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(asked > 0, called / asked, np.nan))
