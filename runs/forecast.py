"""When a training will end, from the speed of its latest reports; durations and times as text."""

from collections import deque
from collections.abc import Mapping
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from impasto.runs.observers import Progress

__all__ = ["Forecast", "spell_duration", "spell_time"]


class Forecast:
    """Estimates from the median of the latest reports, so that one slow report changes nothing.

    Args:
        reports: how many reports count.
    """

    def __init__(self, reports: int = 10) -> None:
        self._speeds: deque[float] = deque(maxlen=reports)
        self._intervals: deque[float] = deque(maxlen=reports)

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a report."""
        self._speeds.append(record["images_per_second"])
        self._intervals.append(record["seconds"])

    @property
    def report_seconds(self) -> float | None:
        """Usual seconds from one report to the next; None before the first."""
        return median(self._intervals) if self._intervals else None

    def time_left(self, progress: Progress) -> timedelta | None:
        """Return the time that the rest will take; None where it cannot be told."""
        speed = median(self._speeds) if self._speeds else 0.0
        if speed <= 0:
            return None
        try:
            return timedelta(seconds=(progress.total_images - progress.images) / speed)
        except OverflowError:
            return None


def spell_duration(duration: timedelta) -> str:
    """Write a duration with its two largest units.

    Example:
        >>> spell_duration(timedelta(hours=31, minutes=12))
        '1 d 7 h'
    """
    minutes = round(duration.total_seconds() / 60)
    if minutes < 1:
        return "under a minute"
    if minutes < 60:
        return f"{minutes} min"
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60} min"
    hours = round(minutes / 60)
    return f"{hours // 24:,} d {hours % 24} h"


def spell_time(time: datetime) -> str:
    """Write a time with its date and zone, e.g. ``Sat 21 Nov 2026, 14:05 UTC``."""
    return f"{time:%a} {time.day} {time:%b %Y, %H:%M %Z}"
