"""Loss curves as numbers: one series for each loss of a run, smoothed, chosen, written as CSV.

:class:`History` keeps the course of a run in a bounded number of points, however long it is.
"""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from impasto.options.errors import OptionError
from impasto.options.fields import nearest
from impasto.options.plot import XAxis

__all__ = [
    "Curve",
    "History",
    "Point",
    "choose_losses",
    "curves_csv",
    "is_measured",
    "loss_kind",
    "reported_values",
]


_MAIN_KINDS = ("G", "D")
_PACE = ("learning_rate", "images_per_second", "data_wait")
_FIRST_KINDS = ("G", "D", "cycle", "idt", "perceptual")


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One loss of one run, as it was reported.

    Attributes:
        run: name of the run.
        loss: name of the loss, e.g. ``G_A``.
        iterations: number of updates since the beginning at each report, (N,), int64, increasing.
        images: number of pictures of each domain since the beginning, (N,), int64.
        epochs: number of the epoch, counted from 1, (N,), int64.
        values: mean of the loss since the previous report, (N,), float64.
        epoch_images: number of pictures in an epoch; None if the log does not contain it.
    """

    run: str
    loss: str
    iterations: NDArray[np.int64]
    images: NDArray[np.int64]
    epochs: NDArray[np.int64]
    values: NDArray[np.float64]
    epoch_images: float | None = None

    def first(self, iterations: int) -> "Curve":
        """Return the part that was reported up to an iteration, that one included."""
        kept = self.iterations <= iterations
        return replace(
            self,
            iterations=self.iterations[kept],
            images=self.images[kept],
            epochs=self.epochs[kept],
            values=self.values[kept],
        )

    def x(self, axis: XAxis) -> NDArray[np.float64]:
        """Return the x positions of the reports, (N,): each at the end of its averaging interval.

        Raises:
            OptionError: positions in epochs are requested, but the log does not contain the length
                of an epoch.
        """
        if axis == "iterations":
            return self.iterations.astype(np.float64)
        if axis == "images":
            return self.images.astype(np.float64)
        if self.epoch_images is None:
            raise OptionError(
                "x_axis",
                f"{self.run} is in its first epoch, and its log does not tell how long that is; "
                "use iterations or images",
            )
        return self.images / self.epoch_images

    def smoothed(self, weight: float, *, span: float) -> NDArray[np.float64]:
        """Return the exponential moving average of the values, (N,), corrected for its beginning.

        It is the average over *iterations*, as if each of them had the mean that was reported for
        it, and what lies ``span`` iterations back counts ``weight`` times as much. A report that
        stands for n iterations so pushes what came before back by ``weight ** (n / span)``; where
        all stand for ``span``, this is the usual average over reports. The correction divides by
        the weights that were given out so far (Kingma and Ba 2015, section 3), so that the first
        value is the first report and not one drawn towards 0.

        Args:
            weight: smoothing weight, from 0 (no smoothing) to below 1.
            span: number of iterations that ``weight`` refers to.
        """
        if weight == 0:
            return self.values
        logarithms = np.log(weight) * np.diff(self.iterations, prepend=0) / span
        average = given = 0.0
        averages = []
        for value, logarithm in zip(self.values.tolist(), logarithms.tolist(), strict=True):
            kept, new = np.exp(logarithm), -np.expm1(logarithm)
            average = kept * average + new * value
            given = kept * given + new
            averages.append(average / given)
        return np.array(averages)


def loss_kind(loss: str) -> str:
    """Return the kind of a loss: ``G`` for ``G_A`` and ``G_B``, ``loss`` for ``loss_val``."""
    return loss[:-2] if loss.endswith(("_A", "_B")) else loss.removesuffix("_val")


def is_measured(name: str) -> bool:
    """Whether a value is a measurement of held-out pictures between epochs, such as val_swd_A."""
    return name.startswith("val_")


def choose_losses(words: Iterable[str], present: Sequence[str]) -> list[str]:
    """Return the selected losses, each once.

    Args:
        words: selection: names (``G_A``), kinds (``G`` is ``G_A`` and ``G_B``), ``all``, or
            ``auto``, which is ``G`` and ``D`` where there are any and all otherwise.
        present: names of the losses in the logs.

    Raises:
        OptionError: a word is none of these; the message lists the losses in the logs.
    """
    known = [kind for kind in _FIRST_KINDS if kind in map(loss_kind, present)]
    kinds = list(dict.fromkeys([*known, *map(loss_kind, present)]))
    main = [kind for kind in kinds if kind in _MAIN_KINDS]
    chosen: list[str] = []
    for word in words:
        of = {"all": kinds, "auto": main or kinds}.get(word, [word])
        found = [loss for kind in of for loss in present if kind in {loss, loss_kind(loss)}]
        if not found:
            raise OptionError(
                "losses",
                f"{word!r} is not in the log, which has {', '.join(present)} (or {', '.join(kinds)}"
                f" for both, or all){nearest(word, [*present, *kinds, 'all'])}",
            )
        chosen.extend(found)
    return list(dict.fromkeys(chosen))


def curves_csv(curves: Iterable[Curve]) -> str:
    """Return the series as CSV, one line per value: run, loss, iteration, image, epoch, value."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["run", "loss", "iteration", "image", "epoch", "value"])
    for curve in curves:
        columns = (curve.iterations, curve.images, curve.epochs, curve.values)
        for values in zip(*(column.tolist() for column in columns), strict=True):
            writer.writerow([curve.run, curve.loss, *values])
    return text.getvalue()


@dataclass(frozen=True, kw_only=True)
class Point:
    """The mean of one or several neighboring reports.

    Attributes:
        images: number of pictures of each domain at the last of the reports.
        epoch: number of the epoch at the last of the reports.
        values: mean losses and scores by name, and ``learning_rate``, ``images_per_second``,
            ``data_wait``.
        reports: number of reports in this point.
    """

    images: int
    epoch: int
    values: Mapping[str, float]
    reports: int = 1


class History:
    """Keeps the course of a run, at a resolution that halves whenever there are too many points.

    Args:
        most_points: maximum number of points; beyond it, each two neighbors are merged into one.
    """

    def __init__(self, most_points: int = 512) -> None:
        self._most_points = max(2, most_points)
        self._points: list[Point] = []
        self._each = 1  # reports per point

    def add(self, record: Mapping[str, Any]) -> None:
        """Add a record of ``log.jsonl`` (with ``images`` and ``epoch``)."""
        pace = {name: record.get(name) for name in _PACE}
        values = {**reported_values(record), **_finite(pace)}
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
    """Return the losses of a record of ``log.jsonl``, and the scores where an epoch ended.

    Only those that are finite numbers.
    """
    return _finite({**record["losses"], **record.get("scores", {})})


def _finite(values: Mapping[str, float | None]) -> dict[str, float]:
    return {
        name: value for name, value in values.items() if value is not None and math.isfinite(value)
    }


def _joined(one: Point, other: Point) -> Point:
    """Return the mean of two points, each value weighted by the reports that it stands for."""
    reports = one.reports + other.reports
    values = {}
    for name in dict.fromkeys((*one.values, *other.values)):
        here = [(p.values[name], p.reports) for p in (one, other) if name in p.values]
        values[name] = sum(v * n for v, n in here) / sum(n for _, n in here)
    return Point(images=other.images, epoch=other.epoch, values=values, reports=reports)
