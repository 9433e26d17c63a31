"""log.jsonl: one line for each report."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from giverny.data.atomic import write_text_atomic
from giverny.runs.observers import Observer, Progress

__all__ = ["JsonLog", "read_log"]


class JsonLog(Observer):
    """Appends each report as a line of JSON: epoch, images, steps, losses, rate, speed, waiting.

    When a training is resumed, the lines of the pictures that will be seen again are removed
    first, so that the log reads as that of an uninterrupted training.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_start(self, progress: Progress) -> None:
        """Keep the lines up to where the training continues."""
        kept = [record for record in read_log(self._path) if record["images"] <= progress.images]
        write_text_atomic(self._path, "".join(json.dumps(record) + "\n" for record in kept))

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Append a line."""
        position = {key: asdict(progress)[key] for key in ("epoch", "images", "steps")}
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({**position, **record}) + "\n")


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
