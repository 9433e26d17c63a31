"""Validation of what browsers send, because anybody can send anything; and rate limits.

Rate limits are kept per address, in memory.
"""

import math
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import NoReturn

from impasto.survey.serve.sessions import MeasuredChoice

__all__ = ["BadFormError", "RateLimit", "read_measured", "read_position"]


_DAY_MS = 86_400_000.0
_ONSET = re.compile(r"20\d\d-[01]\d-[0-3]\dT[0-2]\d:[0-5]\d:[0-6]\d(\.\d{1,6})?(Z|[+-]\d\d:\d\d)")
_VIEWPORT = re.compile(r"[1-9]\d{0,4}x[1-9]\d{0,4}")
_POSITION = re.compile(r"\d{1,6}")


class BadFormError(ValueError):
    """Form that none of the server's pages sends."""


def read_position(form: Mapping[str, str]) -> int:
    """Return the position of the step to which the form belongs.

    Raises:
        BadFormError: the position is missing or invalid.
    """
    return int(_matching(form, "step", _POSITION) or _fail("step"))


def read_measured(
    form: Mapping[str, str], choices: tuple[str, ...], *, needs_exposure: bool
) -> MeasuredChoice:
    """Return the answer and the measurements in a form.

    Args:
        form: mapping from field names to values, as sent.
        choices: values of the possible answers.
        needs_exposure: True if the pictures are shown for a limited time, which only the script can
            do and measure.

    Raises:
        BadFormError: a value is missing or impossible.
    """
    choice = form.get("choice", "")
    exposure = _number(form, "exposure_ms", 0.0, _DAY_MS)
    if choice not in choices or (needs_exposure and exposure is None):
        raise BadFormError
    return MeasuredChoice(
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


_MOST_ADDRESSES = 20_000


class RateLimit:
    """Token bucket for each address, which is refilled at a constant rate.

    Args:
        per_second: tokens added per second; 0 disables the limit.
        burst: capacity of a bucket, in tokens.
        clock: function that returns monotonic time in seconds.
    """

    def __init__(
        self, per_second: float, burst: float, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_second, self._burst, self._clock = per_second, burst, clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self._lock = threading.Lock()

    def wait(self, address: str, *, cost: float = 1.0) -> float:
        """Take ``cost`` tokens for ``address``; return 0, or the seconds to wait for enough."""
        if self._per_second <= 0:
            return 0.0
        now = self._clock()
        with self._lock:
            tokens, since = self._buckets.pop(address, (self._burst, now))
            tokens = min(self._burst, tokens + (now - since) * self._per_second)
            allowed = tokens >= cost
            self._buckets[address] = (tokens - cost * allowed, now)
            # The address that was silent for longest has the fullest bucket to lose.
            if len(self._buckets) > _MOST_ADDRESSES:
                self._buckets.popitem(last=False)
        return 0.0 if allowed else (cost - tokens) / self._per_second
