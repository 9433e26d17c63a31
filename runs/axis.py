"""One axis of a chart: the range that shows all values, round ticks on it, and numbers as text."""

import math
from collections.abc import Sequence

__all__ = ["axis_range", "round_ticks", "spell_number", "tick_labels"]

_PADDING = 0.04
_SUFFIXES = ((1e12, ""), (1e9, "G"), (1e6, "M"), (1e4, "k"))
_DIVISORS = {"G": 1e9, "M": 1e6, "k": 1e3}


def axis_range(values: Sequence[float], *, from_zero: bool = False) -> tuple[float, float]:
    """Return the ends of an axis that shows all values, the lower first.

    Zero is shown where it is near, or where ``from_zero`` asks for it; else the data decide.

    Args:
        values: finite numbers, at least one.
        from_zero: for what is read as an amount, such as a speed.
    """
    low, high = min(values), max(values)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    elif 0 <= low <= 0.6 * high:
        low = 0.0
    size = max(abs(low), abs(high))
    if high - low <= 1e-9 * size:  # constant: in the middle, above or below zero
        return (min(0.0, 2 * low), max(0.0, 2 * high)) if size else (0.0, 1.0)
    padding = _PADDING * (high - low)
    return (low - padding if low else 0.0, high + padding if high else 0.0)


def round_ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return the multiples of a round number (1, 2, 2.5 or 5 times a power of ten) in a range.

    Example:
        >>> round_ticks(0, 1300)
        [0.0, 500.0, 1000.0]
    """
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 2.5, 5, 10) if f * power >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def tick_labels(ticks: Sequence[float]) -> list[str]:
    """Write ticks alike: all in thousands (``k``), millions (``M``), or with one exponent.

    Example:
        >>> tick_labels([0, 500_000, 1_000_000])
        ['0', '0.5M', '1M']
        >>> tick_labels([0, 5e-5, 1e-4])
        ['0', '0.5e-4', '1e-4']
    """
    size = max((abs(tick) for tick in ticks), default=0.0)
    if not size:
        return ["0" for _ in ticks]
    suffix = next((suffix for least, suffix in _SUFFIXES if size >= least), "")
    divisor = _DIVISORS.get(suffix, 1.0)
    if size < 1e-2 or size >= 1e12:
        exponent = math.floor(math.log10(size) + 1e-9)
        divisor, suffix = 10.0**exponent, f"e{exponent}"
    return [f"{tick / divisor:.6g}{suffix}" if tick else "0" for tick in ticks]


def spell_number(value: float) -> str:
    """Write a value with three digits, and thousands with commas; as ``report.js`` does.

    Example:
        >>> spell_number(0.41234), spell_number(1234.5), spell_number(2e-4)
        ('0.412', '1,234', '2e-4')
    """
    if 999.5 <= abs(value) < 1e12:
        return f"{value:,.0f}"
    if value and not 1e-3 <= abs(value) < 1e12:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:.3g}"
