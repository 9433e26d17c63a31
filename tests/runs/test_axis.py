"""Axes: ranges, round ticks, labels."""

import math

import pytest
from hypothesis import given, strategies as st

from impasto.runs.axis import axis_range, round_ticks, spell_number, tick_labels

NUMBERS = st.floats(-1e300, 1e300).filter(lambda value: value == 0 or abs(value) > 1e-290)


@pytest.mark.parametrize(
    ("low", "high", "ticks"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 1_257_400, [0, 500_000, 1_000_000]),
        (0.13, 0.29, [0.15, 0.2, 0.25]),
        (-3, 3, [-2, 0, 2]),
        (0, 2.08e-4, [0, 0.5e-4, 1e-4, 1.5e-4, 2e-4]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert round_ticks(low, high) == pytest.approx(ticks)


@given(st.lists(NUMBERS, min_size=1, max_size=20), st.booleans())
def test_every_value_is_shown_between_few_ticks(values: list[float], from_zero: bool) -> None:
    low, high = axis_range(values, from_zero=from_zero)
    assert math.isfinite(high - low)
    assert low < high
    assert low <= min(values) <= max(values) <= high
    ticks = round_ticks(low, high)
    assert 1 <= len(ticks) <= 7
    assert all(low - (high - low) / 1e6 <= tick <= high + (high - low) / 1e6 for tick in ticks)
    assert len(tick_labels(ticks)) == len(ticks)


@pytest.mark.parametrize(
    ("values", "from_zero", "ends"),
    [
        ([0.5, 0.5], False, (0, 1)),
        ([0.5], False, (0, 1)),
        ([-2.0], False, (-4, 0)),
        ([0.0, 0.0], True, (0, 1)),
        ([2e-4, 2e-4], True, (0, 2.08e-4)),
        ([1.0, 2.0], False, (0, 2.08)),
        ([9.0, 10.0], False, (8.96, 10.04)),
        ([-1.0, 1.0], False, (-1.08, 1.08)),
    ],
)
def test_ranges(values: list[float], from_zero: bool, ends: tuple[float, float]) -> None:
    assert axis_range(values, from_zero=from_zero) == pytest.approx(ends)


@pytest.mark.parametrize(
    ("ticks", "labels"),
    [
        ([], []),
        ([0.0], ["0"]),
        ([0, 0.25, 0.5], ["0", "0.25", "0.5"]),
        ([0, 500, 1000], ["0", "500", "1000"]),
        ([0, 50_000, 100_000], ["0", "50k", "100k"]),
        ([0, 2_500_000], ["0", "2.5M"]),
        ([-4e9, 0], ["-4G", "0"]),
        ([0, 5e-5, 1e-4], ["0", "0.5e-4", "1e-4"]),
        ([0, 2e20], ["0", "2e20"]),
    ],
)
def test_labels(ticks: list[float], labels: list[str]) -> None:
    assert tick_labels(ticks) == labels


def test_numbers() -> None:
    spelled = {0: "0", 0.04567: "0.0457", 12.34: "12.3", -98765.4: "-98,765", 1.5e-5: "1.5e-5"}
    assert {value: spell_number(value) for value in spelled} == spelled
