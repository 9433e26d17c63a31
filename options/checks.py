"""Small validators that the option classes call when they are made."""

from impasto.options.errors import OptionError

__all__ = [
    "MOST_BENT_PX",
    "require",
    "require_at_least",
    "require_between",
    "require_grid_bend",
    "require_positive",
]

MOST_BENT_PX = 3.5
"""How far pictures may be bent for a generator; beyond, they would fold."""


def require(condition: bool, option: str, message: str) -> None:
    """Raise :class:`OptionError` for ``option`` with ``message`` unless ``condition`` holds."""
    if not condition:
        raise OptionError(option, message)


def require_positive(option: str, value: float) -> None:
    """Refuse a ``value`` that is not above zero (not-a-number included)."""
    require(value > 0, option, f"{value} is not above 0")


def require_at_least(option: str, value: float, minimum: float) -> None:
    """Refuse a ``value`` below ``minimum`` (not-a-number included)."""
    require(value >= minimum, option, f"{value} is below the smallest possible value, {minimum}")


def require_between(option: str, value: float, low: float, high: float) -> None:
    """Refuse a ``value`` outside of [``low``, ``high``) (not-a-number included)."""
    require(low <= value < high, option, f"{value} is not in [{low}, {high})")


def require_grid_bend(length_px: float) -> None:
    """Refuse a ``grid_bend_px`` outside of [0, 3.5] (not-a-number included)."""
    require(
        0 <= length_px <= MOST_BENT_PX,
        "grid_bend_px",
        f"{length_px} is not in 0..{MOST_BENT_PX}; beyond, pictures would fold",
    )
