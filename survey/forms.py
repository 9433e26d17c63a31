"""What browsers send, checked: everything here may have been written by anybody."""

import math
import re
from collections.abc import Mapping
from typing import NoReturn

from impasto.survey.sessions import Measured

__all__ = ["BadFormError", "read_measured", "read_position"]

_DAY_MS = 86_400_000.0
_ONSET = re.compile(r"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_VIEWPORT = re.compile(r"[1-9]\d{0,4}x[1-9]\d{0,4}")
_POSITION = re.compile(r"\d{1,6}")


class BadFormError(ValueError):
    """A form that no page of ours sends."""


def read_position(form: Mapping[str, str]) -> int:
    """Return which step the form is of.

    Raises:
        BadFormError: it does not say.
    """
    return int(_matching(form, "step", _POSITION) or _fail("step"))


def read_measured(
    form: Mapping[str, str], choices: tuple[str, ...], *, needs_exposure: bool
) -> Measured:
    """Return the answer in a form.

    Args:
        form: names to values, as sent.
        choices: the possible answers.
        needs_exposure: whether the pictures are shown for a certain time, which only the script
            can do and measure.

    Raises:
        BadFormError: a value is missing, or cannot be.
    """
    choice = form.get("choice", "")
    exposure = _number(form, "exposure_ms", 0.0, _DAY_MS)
    if choice not in choices or (needs_exposure and exposure is None):
        raise BadFormError
    return Measured(
        choice=choice,
        rt_ms=_number(form, "rt_ms", 0.0, _DAY_MS),
        exposure_ms=exposure,
        onset=_matching(form, "onset", _ONSET),
        viewport=_matching(form, "viewport", _VIEWPORT),
        device_pixel_ratio=_number(form, "device_pixel_ratio", 0.01, 100.0),
    )


def _number(form: Mapping[str, str], name: str, low: float, high: float) -> float | None:
    text = form.get(name, "")
    if not text:
        return None
    try:
        value = float(text) if len(text) < 40 and text.isascii() else math.nan
    except ValueError:
        value = math.nan
    return value if low <= value <= high else _fail(name)


def _matching(form: Mapping[str, str], name: str, pattern: re.Pattern[str]) -> str:
    text = form.get(name, "")
    if text and not (text.isascii() and pattern.fullmatch(text)):
        _fail(name)
    return text


def _fail(name: str) -> NoReturn:
    raise BadFormError(name)
