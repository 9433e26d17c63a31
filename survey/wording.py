"""How numbers are written in a report."""

from collections.abc import Sequence

from impasto.survey.findings import Measured
from impasto.survey.rates import Interval

__all__ = [
    "counted",
    "decimal",
    "decimal_range",
    "joined",
    "p_value",
    "percent",
    "percent_range",
    "points",
    "points_range",
    "seconds",
]

_SPACE = "\N{NO-BREAK SPACE}"
_MINUS = "\N{MINUS SIGN}"


def percent(share: float | None, digits: int = 0) -> str:
    """Write a share: ``31 %``; a dash for None."""
    return "\N{EN DASH}" if share is None else f"{100 * share:.{digits}f}{_SPACE}%"


def percent_range(interval: Interval | None, digits: int = 0) -> str:
    """Write an interval of shares: ``22 to 42 %``; a dash for None."""
    if interval is None:
        return "\N{EN DASH}"
    return f"{100 * interval.low:.{digits}f} to {percent(interval.high, digits)}"


def points(difference: float) -> str:
    """Write a difference of shares: ``+12 points``."""
    return f"{_signed(100 * difference, 0)} points"


def points_range(interval: Interval | None) -> str:
    """Write an interval of differences: ``-3 to +27 points``; a dash for None."""
    if interval is None:
        return "\N{EN DASH}"
    return f"{_signed(100 * interval.low, 0)} to {points(interval.high)}"


def decimal(measured: Measured | None) -> str:
    """Write a number with two digits; a dash for None."""
    return "\N{EN DASH}" if measured is None else _plain(measured.value)


def decimal_range(measured: Measured | None) -> str:
    """Write the interval of a number with two digits; a dash for None."""
    if measured is None or measured.interval is None:
        return "\N{EN DASH}"
    return f"{_plain(measured.interval.low)} to {_plain(measured.interval.high)}"


def p_value(p: float | None) -> str:
    """Write a p-value: ``p = 0.031``, ``p < 0.001``; a dash for None."""
    if p is None:
        return "\N{EN DASH}"
    if p < 0.001:
        return f"p{_SPACE}<{_SPACE}0.001"
    return f"p{_SPACE}={_SPACE}{p:.3f}" if p < 0.1 else f"p{_SPACE}={_SPACE}{p:.2f}"


def seconds(milliseconds: float | None) -> str:
    """Write a time: ``2.3 s``; a dash for None."""
    return "\N{EN DASH}" if milliseconds is None else f"{milliseconds / 1000:.1f}{_SPACE}s"


def counted(number: int, noun: str, plural: str = "") -> str:
    """Write a number of things: ``1 person``, ``14 people``."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def joined(words: Sequence[str]) -> str:
    """Write a list: ``a, b and c``."""
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"


def _plain(number: float) -> str:
    return f"{number:.2f}".replace("-", _MINUS) if f"{number:.2f}" != "-0.00" else "0.00"


def _signed(number: float, digits: int) -> str:
    text = f"{number:+.{digits}f}"
    return "0" if float(text) == 0 else text.replace("-", _MINUS)
