"""log.jsonl of a run, one line for each report: written, found by name or path, and read."""

import io
import json
import logging
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from impasto.data.atomic import write_text_atomic
from impasto.options.errors import FolderError, ImpastoError
from impasto.options.fields import nearest
from impasto.runs.curves import Curve, reported_values
from impasto.runs.observers import Observer, Progress

__all__ = ["JsonLog", "RunLog", "inspect_log", "read_log", "read_runs"]


_log = logging.getLogger(__name__)
_POSITION = ("epoch", "images", "steps", "global_batch")


class JsonLog(Observer):
    """Appends each report as a line of JSON: epoch, images, steps, losses, rate, speed, waiting.

    When a training is resumed, the lines of the pictures that will be seen again are removed first,
    so that the log reads as that of an uninterrupted training. Lines that cannot be written, for
    example on a full disk, are written with a later one.

    Args:
        path: path of the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._unwritten: list[str] = []
        self._failed = False
        self._images: int | None = None  # where the lines are still to be cut off

    def on_start(self, progress: Progress) -> None:
        """Keep the lines up to where the training continues; what is damaged is put aside.

        A last line that a kill has cut short is removed, so that the next is not appended to it.
        """
        self._images = progress.images
        self._begin()

    def _begin(self) -> None:
        """Keep the lines up to the start, once; where that fails, the file stays as it is."""
        if self._images is None:
            return
        lines, damaged = _read_lines(self._path)
        kept = [line for line, record in lines if record["images"] <= self._images]
        text = "".join(f"{line}\n" for line in kept)
        try:
            if damaged:
                aside = self._path.with_name(self._path.name + ".damaged")
                shutil.copyfile(self._path, aside)
                _log.warning(
                    "%s: %d damaged lines are left out; as it was, it is kept as %s",
                    self._path,
                    damaged,
                    aside.name,
                )
            if not self._path.is_file() or self._path.read_bytes() != text.encode("utf-8"):
                write_text_atomic(self._path, text)
            self._size = self._path.stat().st_size
            self._images = None
        except OSError as error:
            self._warn(error)

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Append a line."""
        position = {key: getattr(progress, key) for key in _POSITION}
        self._unwritten.append(json.dumps({**position, **record}) + "\n")
        self._write()

    def on_end(self, progress: Progress, error: str | None = None) -> None:  # noqa: ARG002
        """Write what could not be written before."""
        if self._unwritten:
            self._write()

    def _write(self) -> None:
        self._begin()
        if self._images is not None:
            return
        text = "".join(self._unwritten).encode("utf-8")
        try:
            self._path.touch()
            with self._path.open("r+b") as file:
                # Not what an earlier failure left of a line.
                whole = min(self._size, file.seek(0, io.SEEK_END))
                file.truncate(whole)
                file.seek(whole)
                file.write(text)
        except OSError as error:
            self._warn(error)
            return
        self._size = whole + len(text)
        self._unwritten = []
        self._failed = False

    def _warn(self, error: OSError) -> None:
        if not self._failed:
            _log.warning(
                "%s: cannot be written (%s); trying again with each report",
                self._path,
                error.strerror or error,
            )
        self._failed = True


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log, each with its position and losses; damaged lines are left out.

    Args:
        path: path of the file; a missing file has no records.
    """
    return inspect_log(path)[0]


def inspect_log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records, and the number of damaged lines, except an incomplete last one."""
    lines, damaged = _read_lines(path)
    return [record for _, record in lines], damaged


def _read_lines(path: Path) -> tuple[list[tuple[str, dict[str, Any]]], int]:
    """Return the whole lines with their records, and the number of damaged ones."""
    if not path.is_file():
        return [], 0
    # The last is not ended: it is empty, or cut short, if only by its line end.
    *ended, last = path.read_bytes().decode("utf-8", errors="replace").split("\n")
    found = [(line, _record(line)) for line in (*ended, last)]
    damaged = sum(record is None for _, record in found[:-1])
    return [(line, record) for line, record in found if record is not None], damaged


def _record(line: str) -> dict[str, Any] | None:
    """Return the record of a line; None where a value is missing or cannot be one of a report.

    Readers rely on the position and the losses, and on the kinds of all other values. Those may be
    missing: logs of earlier versions have fewer.
    """
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or not {*_POSITION[:3], "losses"} <= set(record):
        return None
    fits = all(fit(record[name]) for name, fit in _KINDS.items() if name in record)
    return dict(record) if fits and record["epoch"] > 0 else None


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_value(value: Any) -> bool:
    """Whether it is a number (perhaps not finite), or None, which stands for "undefined"."""
    if isinstance(value, int):
        return not isinstance(value, bool) and abs(value) < 2**63
    return value is None or isinstance(value, float)


def _are_values(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_value, value.values()))


def _are_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)


_KINDS: Mapping[str, Callable[[Any], bool]] = {
    **dict.fromkeys(_POSITION, _is_count),
    **dict.fromkeys(("losses", "scores", "weights", "outputs"), _are_values),
    **dict.fromkeys(("learning_rate", "seconds", "images_per_second", "data_wait"), _is_value),
    "warnings": _are_texts,
}


_LOG = "log.jsonl"
_AXES = ("steps", "images", "epoch")
_MOST_NAMES = 8


@dataclass(frozen=True)
class RunLog:
    """The log of a run.

    Attributes:
        run: name of the run.
        path: path of the file.
        records: records of the log, the oldest first, each with its position.
    """

    run: str
    path: Path
    records: Sequence[Mapping[str, Any]]

    @cached_property
    def losses(self) -> tuple[str, ...]:
        """Names of the losses and scores, in the order of the log."""
        names = (
            name
            for record in self.records
            for name in (*record["losses"], *record.get("scores", ()))
        )
        return tuple(dict.fromkeys(names))

    @cached_property
    def span(self) -> float:
        """Median number of iterations between reports."""
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
        kept = [record for record in self.records if loss in reported_values(record)]
        steps, images, epochs = (
            np.array([record[name] for record in kept], dtype=np.int64) for name in _AXES
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
        words: for each run its directory, its ``log.jsonl``, or its name in ``checkpoints_dir``. A
            run that is given twice is read once.
        checkpoints_dir: folder in which runs are searched by name.

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
