"""Checks every report for known failures of a training."""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

__all__ = ["DataWait", "Doctor", "Level", "Measure", "Record", "Rise", "Sign", "Window"]

Record = Mapping[str, Any]
"""What :meth:`Observer.on_report` is told, with the position: a line of ``log.jsonl``."""

Measure = Callable[[Record], float | None]
"""Reads one number from a record; None where there is none."""


class Sign(Protocol):
    """A check for one known failure."""

    def look(self, record: Record) -> str | None:
        """Return what is wrong at this report, in words that stay the same while it lasts."""
        ...


class Doctor:
    """Describes what is wrong with a training, since when, and what to try.

    The state of the checks depends only on the records, so a resumed run, which passes all earlier
    records to them, is judged like an uninterrupted one.

    Args:
        signs: checks for failures of the training; none unless given.
        local_signs: checks that concern the current machine, which earlier records say nothing
            about.
    """

    def __init__(self, signs: Sequence[Sign] = (), *, local_signs: Sequence[Sign] = ()) -> None:
        self._signs, self._local_signs = tuple(signs), tuple(local_signs)

    def restore(self, records: Sequence[Record]) -> None:
        """Process the records of the part of the run that is already done, the oldest first."""
        for record in records:
            for sign in self._signs:
                sign.look(record)

    def examine(self, record: Record) -> list[str]:
        """Return what is wrong at this report, a plain sentence or two each.

        Args:
            record: record as passed to :meth:`Observer.on_report`, with ``epoch``, ``images``,
                ``steps``.
        """
        found = [sign.look(record) for sign in (*self._signs, *self._local_signs)]
        return [words for words in found if words is not None]


class Window:
    """The last values of a measure, over at least a number of steps and reports.

    Args:
        steps: minimum number of steps from the first report of the window to its last.
        reports: minimum number of reports with a value.
    """

    def __init__(self, *, steps: int, reports: int) -> None:
        self._steps, self._reports = steps, max(1, reports)
        self._values: deque[tuple[int, int, float]] = deque()
        self._sum = 0.0

    def add(self, record: Record, value: float) -> None:
        """Add the value of a report, and discard values that are no longer needed."""
        self._values.append((record["steps"], record["images"], value))
        self._sum += value
        while self._covers(1):
            self._sum -= self._values.popleft()[2]

    @property
    def mean(self) -> float | None:
        """The mean of the values; None as long as the window is not full."""
        return self._sum / len(self._values) if self._covers(0) else None

    @property
    def first_images(self) -> int:
        """Number of pictures of each domain at the first report of the window."""
        return self._values[0][1]

    def __len__(self) -> int:
        return len(self._values)

    def _covers(self, first: int) -> bool:
        """Whether the values from ``first`` on are enough."""
        values = self._values
        return (
            len(values) - first >= self._reports and values[-1][0] - values[first][0] >= self._steps
        )


class Level:
    """A measure whose mean over a window is beyond a bound.

    The failure is over when the mean passes another bound, farther on the healthy side, so that
    noise does not make the warning come and go.

    Args:
        words: text of the warning; ``{since}`` becomes the picture at which the window began.
        measure: function that returns the number.
        begins: bound at which the failure begins.
        ends: bound at which the failure is over; above ``begins`` if low values are bad.
        window: window over which the mean is taken.
    """

    def __init__(
        self, words: str, measure: Measure, *, begins: float, ends: float, window: Window
    ) -> None:
        self._words, self._measure, self._window = words, measure, window
        self._side = 1.0 if begins > ends else -1.0
        self._begins, self._ends = self._side * begins, self._side * ends
        self._since: int | None = None

    def look(self, record: Record) -> str | None:
        """Take up the value of this report, and judge the mean."""
        value = self._measure(record)
        if value is not None and math.isfinite(value):
            self._window.add(record, value)
        mean = self._window.mean
        if mean is not None and self._since is None and self._side * mean >= self._begins:
            self._since = self._window.first_images
        elif mean is not None and self._side * mean <= self._ends:
            self._since = None
        return None if self._since is None else self._words.format(since=self._since)


class Rise:
    """A measure that should fall, and whose mean is far above the lowest that it has had.

    Args:
        words: text of the warning; ``{since}`` becomes the picture at which the lowest mean ended.
        measure: the number, at least 0.
        begins: how many times the lowest mean it is at least when it comes up.
        ends: how many times the lowest mean it is at most when it is over.
        least: by how much it has risen at least: where the lowest mean is nearly 0, many times
            as much is still nothing.
        window: what the means are taken over.
    """

    def __init__(
        self,
        words: str,
        measure: Measure,
        *,
        begins: float,
        ends: float,
        least: float,
        window: Window,
    ) -> None:
        self._words, self._measure, self._window = words, measure, window
        self._begins, self._ends, self._least = begins, ends, least
        self._lowest: tuple[float, int] | None = None
        self._risen = False

    def look(self, record: Record) -> str | None:
        """Take up the value of this report, and compare the mean with the lowest."""
        value = self._measure(record)
        if value is not None and math.isfinite(value):
            self._window.add(record, value)
        mean = self._window.mean
        if mean is None:
            return None
        if self._lowest is None or mean < self._lowest[0]:
            self._lowest = mean, record["images"]
        lowest, since = self._lowest
        most = self._ends if self._risen else self._begins
        self._risen = mean >= most * lowest and mean - lowest >= self._least
        return self._words.format(since=since) if self._risen else None


class DataWait:
    """The networks wait for pictures for a fifth of the time or more.

    The bound is above what a slow first report or the start of an epoch adds to ten reports, and
    below what is worth changing an option for.

    Args:
        num_threads: processes that load pictures.
        cache_images: whether pictures are kept in memory; then the wait counts only when there
            was the time to read them all once.
        size_option: the option that files need not be much larger than.
    """

    def __init__(
        self, *, num_threads: int, cache_images: bool, size_option: str = "load_size"
    ) -> None:
        self._loading_epochs = 1 if cache_images else 0
        self._first_epoch: int | None = None
        self._level = Level(
            "The networks have waited for pictures for more than 20 % of the time since image "
            f"{{since}}. {_loading_advice(num_threads, cache_images, size_option)}",
            self._waited,
            begins=0.2,
            ends=0.15,
            window=Window(steps=200, reports=10),
        )

    def look(self, record: Record) -> str | None:
        """Take up the share of this report, and judge the mean."""
        if self._first_epoch is None:
            self._first_epoch = record["epoch"]
        return self._level.look(record)

    def _waited(self, record: Record) -> float | None:
        warm = record["epoch"] >= (self._first_epoch or 1) + self._loading_epochs
        return record.get("data_wait") if warm else None


def _loading_advice(num_threads: int, cache_images: bool, size_option: str) -> str:
    """Say the next thing to try, and then what always helps."""
    threads = (
        "Load them in processes of their own: --num_threads 4"
        if num_threads == 0
        else f"Load them in more processes than {num_threads}: --num_threads {2 * num_threads}, "
        "if there are as many cores: no more than those are started"
    )
    cache = "" if cache_images else "; keep them in memory, if they fit: --cache_images true"
    return (
        f"{threads}{cache}; or shrink the files once to little more than --{size_option}, "
        "and put them on a local disk."
    )
