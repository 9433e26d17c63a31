"""log.jsonl: one line for each report."""

import json
import logging
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from impasto.data.atomic import write_text_atomic
from impasto.runs.observers import Observer, Progress

__all__ = ["JsonLog", "inspect_log", "read_log"]

_log = logging.getLogger(__name__)
_POSITION = ("epoch", "images", "steps", "global_batch")


class JsonLog(Observer):
    """Appends each report as a line of JSON: epoch, images, steps, losses, rate, speed, waiting.

    When a training is resumed, the lines of the pictures that will be seen again are removed
    first, so that the log reads as that of an uninterrupted training. Lines that cannot be
    written, on a full disk say, are written with a later one.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._size = 0
        self._unwritten: list[str] = []
        self._failed = False

    def on_start(self, progress: Progress) -> None:
        """Keep the lines up to where the training continues; what is damaged is put aside."""
        records, damaged = inspect_log(self._path)
        kept = [record for record in records if record["images"] <= progress.images]
        text = "".join(json.dumps(record) + "\n" for record in kept)
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
            if damaged or len(kept) < len(records) or not self._path.is_file():
                write_text_atomic(self._path, text)
            self._size = self._path.stat().st_size
        except OSError as error:
            self._warn(error)
            self._unwritten = [text] if text else []

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
        text = "".join(self._unwritten).encode("utf-8")
        try:
            with os.fdopen(os.open(self._path, os.O_RDWR | os.O_CREAT), "r+b") as file:
                # Not what an earlier failure left of a line.
                whole = min(self._size, file.seek(0, os.SEEK_END))
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
        path: the file; a missing one has no records.
    """
    return inspect_log(path)[0]


def inspect_log(path: Path) -> tuple[list[dict[str, Any]], int]:
    """Return the records, and how many lines but a last one that a kill cut short are damaged."""
    if not path.is_file():
        return [], 0
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    found = [_record(line) for line in lines]
    damaged = sum(record is None for record in found[:-1])
    return [record for record in found if record is not None], damaged


def _record(line: str) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
    except json.JSONDecodeError:
        return None
    whole = isinstance(record, dict) and isinstance(record.get("losses"), dict)
    if not whole or not all(
        isinstance(record.get(key), int) for key in ("epoch", "images", "steps")
    ):
        return None
    return dict(record)
