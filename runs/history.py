"""The course of a run in a bounded number of points, however long it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

__all__ = ["History", "Point", "reported_values"]


@dataclass(frozen=True, kw_only=True)
class Point:
    """The mean of one or several neighbouring reports.

    Attributes:
        images: pictures of each domain at the last of the reports.
        epoch: epoch of the last of the reports.
        values: mean losses and scores by name, and ``learning_rate``, ``images_per_second``,
            ``data_wait``.
        reports: how many reports are in it.
    """

    images: int
    epoch: int
    values: Mapping[str, float]
    reports: int = 1


class History:
    """Keeps all of a run at a resolution that halves whenever there are too many points.

    Args:
        most_points: points at most; where there would be more, each two neighbours become one.
    """

    def __init__(self, most_points: int = 512) -> None:
        self._most_points = max(2, most_points)
        self._points: list[Point] = []
        self._each = 1  # reports per point

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record of ``log.jsonl`` (with ``images`` and ``epoch``)."""
        values = reported_values(record)
        for name in ("learning_rate", "images_per_second", "data_wait"):
            values[name] = record[name]
        point = Point(images=record["images"], epoch=record["epoch"], values=values)
        if self._points and self._points[-1].reports < self._each:
            point = _joined(self._points.pop(), point)
        self._points.append(point)
        if len(self._points) > self._most_points:
            self._each *= 2
            pairs = zip(self._points[::2], self._points[1::2], strict=False)
            odd = self._points[-1:] if len(self._points) % 2 else []
            self._points = [_joined(one, other) for one, other in pairs] + odd

    @property
    def points(self) -> Sequence[Point]:
        """All points, the oldest first."""
        return tuple(self._points)

    @property
    def names(self) -> Sequence[str]:
        """Names of the values, in the order in which they were first met."""
        return tuple(dict.fromkeys(name for point in self._points for name in point.values))


def reported_values(record: Mapping[str, Any]) -> dict[str, float]:
    """Return the losses of a record of ``log.jsonl``, and the scores where an epoch ended."""
    return {**record["losses"], **record.get("scores", {})}


def _joined(one: Point, other: Point) -> Point:
    """Return the mean of two points, each value weighted by the reports that it stands for."""
    reports = one.reports + other.reports
    values = {}
    for name in dict.fromkeys((*one.values, *other.values)):
        here = [(p.values[name], p.reports) for p in (one, other) if name in p.values]
        values[name] = sum(v * n for v, n in here) / sum(n for _, n in here)
    return Point(images=other.images, epoch=other.epoch, values=values, reports=reports)
