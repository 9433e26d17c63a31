"""The logs of runs: found by name or path, checked, and read into curves."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from impasto.options.errors import FolderError, ImpastoError
from impasto.options.fields import nearest
from impasto.runs.curves import Curve
from impasto.runs.history import reported_values
from impasto.runs.log import inspect_log

__all__ = ["RunLog", "read_runs"]

_log = logging.getLogger(__name__)
_LOG = "log.jsonl"
_POSITION = ("steps", "images", "epoch")
_MOST_NAMES = 8


@dataclass(frozen=True)
class RunLog:
    """The log of a run.

    Attributes:
        run: name of the run.
        path: the file.
        records: its lines, the oldest first, of which every one has a position.
    """

    run: str
    path: Path
    records: Sequence[Mapping[str, Any]]

    @cached_property
    def losses(self) -> tuple[str, ...]:
        """Names of the losses and scores, in the order of the log."""
        names = (name for record in self.records for name in reported_values(record))
        return tuple(dict.fromkeys(names))

    @cached_property
    def span(self) -> float:
        """How many iterations a report stands for, mostly (the median)."""
        return float(np.median(np.diff([record["steps"] for record in self.records], prepend=0)))

    @cached_property
    def epoch_images(self) -> float | None:
        """Pictures in an epoch: the fewest that put no report behind its epoch; None in the first.

        Too low by less than the pictures of one report, divided by the number of epochs.
        """
        if self.records[-1]["epoch"] < 2:
            return None
        return float(max(record["images"] / record["epoch"] for record in self.records))

    def curve(self, loss: str) -> Curve:
        """Return the series of a loss, finite values only; empty if the run does not have it."""
        kept = [record for record in self.records if _is_number(reported_values(record).get(loss))]
        steps, images, epochs = (
            np.array([record[name] for record in kept], dtype=np.int64) for name in _POSITION
        )
        return Curve(
            run=self.run,
            loss=loss,
            iterations=steps,
            images=images,
            epochs=epochs,
            values=np.array([reported_values(record)[loss] for record in kept], dtype=np.float64),
            epoch_images=self.epoch_images,
        )


def read_runs(words: Sequence[str], checkpoints_dir: Path) -> list[RunLog]:
    """Read the logs of runs.

    Args:
        words: for each a run directory, its ``log.jsonl``, or its name in ``checkpoints_dir``.
            One that is given twice is read once.
        checkpoints_dir: where runs are looked up by name.

    Returns:
        The logs. Each has the name of its directory, with as many of the folders above it as it
        takes to tell them apart.

    Raises:
        FolderError: there is no such run, or it has no log.
        ImpastoError: a log holds less than two reports, or is none.
    """
    logs = {log.resolve(): log for log in (_find_log(word, checkpoints_dir) for word in words)}
    names = _names(list(logs.values()))
    return [
        RunLog(name, log, _read_records(log))
        for name, log in zip(names, logs.values(), strict=True)
    ]


def _find_log(word: str, checkpoints_dir: Path) -> Path:
    given = Path(word).parent if Path(word).name == _LOG else Path(word)
    places = list(dict.fromkeys((given, checkpoints_dir / given)))
    for place in places:
        log = place if place.is_file() else place / _LOG
        if log.is_file():
            return log
    for place in places:
        if place.is_dir():
            inside = _runs_in(place)
            hint = f"; give one of its runs: {inside[0]}" if inside else ": nothing was reported"
            raise FolderError(place, f"holds no {_LOG}{hint}")
    folder = given.parent if len(given.parts) > 1 else checkpoints_dir
    runs = _runs_in(folder)
    among = f"; there are {', '.join(runs[:_MOST_NAMES])}" if runs else ", which holds no run"
    raise FolderError(given, f"no such run in {folder}{nearest(given.name, runs) or among}")


def _runs_in(folder: Path) -> list[str]:
    return sorted(log.parent.name for log in folder.glob(f"*/{_LOG}"))


def _folder(log: Path) -> Path:
    """Return what a log is named after: its directory, or itself if it has a name of its own."""
    path = log.resolve() if ".." in log.parts else log.absolute()
    return path.parent if path.name == _LOG else path.with_suffix("")


def _names(logs: Sequence[Path]) -> list[str]:
    """Name each log after its last folders, as many as it takes to make all different."""
    folders = [_folder(log) for log in logs]
    for depth in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-depth:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(log) for log in logs]


def _read_records(log: Path) -> list[dict[str, Any]]:
    records, damaged = inspect_log(log)
    if not records and log.stat().st_size and log.name != _LOG:
        raise ImpastoError(f"{log}: is not a log of impasto train")
    if damaged:
        _log.warning("%s: %d damaged lines are left out", log, damaged)
    if len(records) < 2:
        raise ImpastoError(
            f"{log}: holds {'one report' if records else 'no report'} so far, and a curve takes "
            "two; train on, or report more often with a smaller --print_freq"
        )
    before = 0
    for number, record in enumerate(records, start=1):
        if record["steps"] <= before:
            raise ImpastoError(
                f"{log}: report {number} is at iteration {record['steps']}, and the one before at "
                f"{before}; is it the log of a single training?"
            )
        before = record["steps"]
    return records


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
