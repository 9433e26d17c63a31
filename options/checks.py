"""Small validators that the option classes call when they are made."""

from giverny.options.errors import OptionError

__all__ = ["require", "require_at_least", "require_between", "require_positive"]


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
