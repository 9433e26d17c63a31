"""The errors that Impasto raises for a user's mistake or a failed job.

The tree::

    ImpastoError                 exit status 1: the job failed
    ├── OptionError              exit status 2: a bad argument; names the option and the value
    ├── FolderError              a folder is missing, empty, or cannot be written
    ├── PictureError             one picture file cannot be read or written
    ├── CheckpointError          a weights or state file does not fit, or is damaged
    ├── FetchError               a file cannot be fetched, or is not what was asked for
    ├── SurveyError              a file of a survey is missing, damaged, or of another survey
    └── TrainingError            training cannot go on (a loss is not finite)
        └── LostProcessError     another process of the job is gone

A message names the file, field or shape, says what was expected, and what to do. The command
prints it without a traceback; programs catch the class.
"""

from collections.abc import Sequence
from pathlib import Path

__all__ = [
    "CheckpointError",
    "FetchError",
    "FolderError",
    "ImpastoError",
    "LostProcessError",
    "OptionError",
    "PictureError",
    "SurveyError",
    "TrainingError",
    "moved_away",
]


class ImpastoError(Exception):
    """Base of every error that Impasto raises on purpose."""

    exit_status = 1


class OptionError(ImpastoError, ValueError):
    """An option has a value that cannot be used.

    Attributes:
        option: name of the option as the user writes it, without dashes.
        reason: what is wrong with its value.
        place: file and line that the value is from; empty for a value of the command line or of a
            program.
    """

    exit_status = 2

    def __init__(self, option: str, reason: str, *, place: str = "") -> None:
        super().__init__(f"{place}: {option}: {reason}" if place else f"--{option}: {reason}")
        self.option = option
        self.reason = reason
        self.place = place


class FolderError(ImpastoError, OSError):
    """A folder is missing, holds no pictures, or cannot be written.

    Attributes:
        folder: the folder.
    """

    def __init__(self, folder: Path, message: str) -> None:
        super().__init__(f"{folder}: {message}")
        self.folder = folder


class PictureError(ImpastoError, OSError):
    """One picture file cannot be decoded or written.

    Attributes:
        path: the file.
        reason: what is wrong with it, without the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class CheckpointError(ImpastoError, ValueError):
    """A weights or state file does not fit the networks, or is damaged."""


class FetchError(ImpastoError):
    """A file cannot be fetched, or is not what was asked for."""


class SurveyError(ImpastoError, ValueError):
    """A key, an answers file, a database or an export is missing, damaged, or does not fit.

    Attributes:
        path: the file or folder.
        reason: what is wrong with it, without the path.
    """

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class TrainingError(ImpastoError, RuntimeError):
    """Training cannot go on; the last good state is kept on disk."""


class LostProcessError(TrainingError):
    """Another process of the training, or one that loads pictures for it, is gone."""


def moved_away(folder: Path, names: Sequence[str], *, in_python: bool) -> FolderError:
    """Return what a resumed training says of pictures that are no longer there.

    Args:
        folder: folder that is missing.
        names: options that name the new place.
        in_python: whether the cure is for a function or for the command line.
    """
    shown = []
    for name in names:
        each = "classes" in name  # one word for each class
        if in_python:
            shown.append(f"{name}=" + ('["CLASS=NEW", ...]' if each else '"NEW"'))
        else:
            shown.append(f"--{name} {'CLASS=NEW ...' if each else 'NEW'}")
    if in_python:
        cure = f"pass {', '.join([*shown, 'allow_changes=True'])}"
    else:
        cure = f"add {' '.join([*shown, '--allow_changes'])}"
    moved = f"if the pictures were moved, say where they are now: {cure}"
    if folder.is_absolute():
        return FolderError(folder, f"no such folder; {moved}")
    return FolderError(
        folder,
        f"no such folder in {Path.cwd()}; go on in the folder that the training was started in or, "
        f"{moved}",
    )
