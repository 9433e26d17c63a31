"""log.jsonl: one line for each report."""

import json
import logging
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from giverny.data.atomic import write_text_atomic
from giverny.runs.observers import Observer, Progress

__all__ = ["JsonLog", "read_log"]

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
        """Keep the lines up to where the training continues."""
        kept = [record for record in read_log(self._path) if record["images"] <= progress.images]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        write_text_atomic(self._path, text)
        self._size = len(text.encode("utf-8"))

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Append a line."""
        position = {key: asdict(progress)[key] for key in _POSITION}
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
            if not self._failed:
                _log.warning(
                    "%s: cannot be written (%s); trying again with each report",
                    self._path,
                    error.strerror or error,
                )
            self._failed = True
            return
        self._size = whole + len(text)
        self._unwritten = []
        self._failed = False


def read_log(path: Path) -> list[dict[str, Any]]:
    """Return the records of a log; a last line that a kill cut short is left out.

    Args:
        path: the file; a missing one has no records.
    """
    if not path.is_file():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records
