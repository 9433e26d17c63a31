"""Intervals and tests of a share, against the reference and R."""

import numpy as np
import pytest
from hypothesis import given, strategies as st
from scipy.stats import binom

from impasto.survey.rates import Rate, holm


@pytest.mark.parametrize(
    ("count", "n", "wilson", "exact"),
    [
        (7, 14, (0.2680, 0.7320), (0.2304, 0.7696)),
        (10, 14, (0.4535, 0.8828), (0.4190, 0.9161)),
        (0, 14, (0.0, 0.2153), (0.0, 0.2316)),
        (14, 14, (0.7847, 1.0), (0.7684, 1.0)),
        (30, 100, (0.2189, 0.3958), (0.2124, 0.3998)),
        (134, 500, (0.2311, 0.3085), (0.2296, 0.3091)),
    ],
)
def test_intervals_of_a_share_are_those_of_the_reference(
    count: int, n: int, wilson: tuple[float, float], exact: tuple[float, float]
) -> None:
    rate = Rate(count=count, n=n)
    for found, wanted in ((rate.wilson(), wilson), (rate.clopper_pearson(), exact)):
        assert found is not None
        assert (found.low, found.high) == pytest.approx(wanted, abs=6e-5)


@pytest.mark.parametrize(
    ("n", "points"),
    [
        (10, 26.3),
        (14, 23.2),
        (20, 20.1),
        (30, 16.8),
        (50, 13.4),
        (100, 9.6),
        (300, 5.6),
        (1000, 3.1),
    ],
)
def test_half_widths_at_one_half_are_those_of_the_reference(n: int, points: float) -> None:
    found = Rate(count=n // 2, n=n).wilson()
    assert found is not None
    assert 100 * found.half_width == pytest.approx(points, abs=0.051)


def test_a_share_without_answers_has_no_interval_and_no_test() -> None:
    rate = Rate(count=0, n=0)
    assert rate.wilson() is None
    assert rate.clopper_pearson() is None
    assert rate.p_half() is None
    assert np.isnan(rate.share)


def test_the_binomial_test_is_exact() -> None:
    assert Rate(count=10, n=14).p_half() == pytest.approx(2 * binom.sf(9, 14, 0.5))


def test_holm_gives_what_r_gives() -> None:
    # p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm") of R 4.3
    assert holm([0.01, 0.02, 0.03, 0.04, 0.05]) == [0.05, 0.08, 0.09, 0.09, 0.09]
    assert holm([0.04, None, 0.01]) == [0.04, None, 0.02]
    assert holm([0.7, 0.6]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_keeps_the_order_and_never_lowers_a_value(p_values: list[float]) -> None:
    corrected = [value if value is not None else -1.0 for value in holm(p_values)]
    for p, value in zip(p_values, corrected, strict=True):
        assert p - 1e-9 <= value <= 1
    by_p = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[by_p]) >= -1e-9).all()


def test_no_p_value_of_holm_is_rounded_to_0() -> None:
    # 100 of 100 answers are the same: 2 / 2^100, and it is the smallest of 20 tests.
    corrected = holm([Rate(count=100, n=100).p_half(), *[0.5] * 19])
    assert corrected[0] == pytest.approx(20 * 2.0**-99, rel=1e-9)
    assert corrected[1:] == [1.0] * 19
