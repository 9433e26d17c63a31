"""What `impasto train` and `impasto backbone train` have in common: resuming, changes, the end."""

import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from impasto.options.command_line import CommandParser
from impasto.options.errors import ImpastoError
from impasto.options.fields import ABSENT, difference, expand_home, flatten, spell_change
from impasto.runs.directory import RunDirectory

if TYPE_CHECKING:
    from impasto.runs.job import TrainResult
    from impasto.runs.observers import Observer, Progress

__all__ = ["TrainingRequest", "add_resuming", "parse_training", "run_training"]

T = TypeVar("T")

_CONTROL = ("resume", "allow_changes")


@dataclass(frozen=True, kw_only=True)
class TrainingRequest(Generic[T]):
    """A training that the command line asks for.

    Attributes:
        options: all options of the training.
        resume: whether a run is continued.
        allow_changes: whether the options may differ from those of the continued run.
        changes: names of the options that differ from the continued run, with old and new values.
        given: names of the options on the command line.
        note: what else a user must know of the continued run, in words; mostly nothing.
        switches: whether further switches of the command were given, by name.
    """

    options: T
    resume: bool
    allow_changes: bool
    changes: Mapping[str, tuple[object, object]]
    given: Collection[str] = ()
    note: str = ""
    switches: Mapping[str, bool] = field(default_factory=dict)


def add_resuming(parser: CommandParser) -> None:
    """Add ``--resume`` and ``--allow_changes``."""
    parser.add_switch("run", "resume", "continue the run NAME exactly where it was last saved")
    parser.add_switch(
        "run", "allow_changes", "allow options of a resumed run to differ from those it had before"
    )


def parse_training(
    make_parser: Callable[[], CommandParser],
    options: type[T],
    argv: Sequence[str],
    *,
    switches: Sequence[str] = (),
) -> TrainingRequest[T]:
    """Parse; what a run to be resumed was started with is the default, so changes are enough.

    Args:
        make_parser: makes a parser with :func:`add_resuming`.
        options: the options class; has ``--name`` and ``--checkpoints_dir``.
        argv: the words after the command.
        switches: names of further switches of the parser.

    Raises:
        FolderError: there is no run to resume, or one where a new one should go.
    """
    parser = make_parser()
    parsed = parser.parse(argv)
    note = ""
    stored: Mapping[str, Any] = {}
    directory = RunDirectory(expand_home(parsed.checkpoints_dir) / parsed.name)
    if parsed.resume:
        stored = directory.read_options()
        seen = directory.seen_from_here(stored)
        parser = make_parser()
        parser.set_stored(seen, str(directory.options_file))
        parsed = parser.parse(argv)
        if seen != stored:
            note = (
                f"relative paths of this run are those in {directory.started_in(stored)}, where it "
                "was started"
            )
    made = parser.make(options, parsed, drop=[*_CONTROL, *switches])
    if not parsed.resume:  # told before the seconds that torch takes
        directory.require_no_state()
    return TrainingRequest(
        options=made,
        resume=bool(parsed.resume),
        allow_changes=bool(parsed.allow_changes),
        changes=difference(stored, directory.as_started(stored, flatten(made))) if stored else {},
        given={word.partition("=")[0].lstrip("-") for word in argv if word.startswith("--")},
        note=note,
        switches={name: bool(getattr(parsed, name)) for name in switches},
    )


def run_training(
    train: "Callable[[Sequence[Observer]], TrainResult]",
    *,
    command: str,
    changes: Mapping[str, tuple[object, object]],
    report: "Callable[[TrainResult], None]",
    longer: str,
    note: str = "",
) -> int:
    """Train, and print how it ended; of several processes, only the main one prints.

    Args:
        train: runs the training, with further observers.
        command: the words after ``impasto``, for the message on how to continue.
        changes: names of changed options with old and new values, which are printed at the start.
        report: prints the results of a training that came to its end.
        longer: the option that lets a training that is complete go on.
        note: a sentence that is printed at the start, too.

    Returns:
        The exit status.
    """
    from impasto.runs.processes import first_to_speak, leave_processes  # noqa: PLC0415 - torch

    try:
        result = train([_observe_start(changes, note)])
    except ImpastoError as error:
        if first_to_speak():
            raise
        return error.exit_status
    leave_processes()
    if not result.is_main_process:
        return 0 if result.signal is None else 128 + result.signal
    return _report_end(result, command=command, report=report, longer=longer)


def _report_end(
    result: "TrainResult", *, command: str, report: "Callable[[TrainResult], None]", longer: str
) -> int:
    """Print how a training ended; return the exit status."""
    if result.unreadable:
        print(f"{len(result.unreadable)} pictures could not be read and were skipped")
    if result.signal is None:
        images = result.progress.images
        if images and images == result.first_image:
            print(
                f"already complete: {result.directory} ({images} images), nothing was trained; to "
                f"train on, {longer}"
            )
        report(result)
        return 0
    folder = result.directory.parent
    where = "" if folder == Path("checkpoints") else f" --checkpoints_dir {folder}"
    print(
        f"stopped at image {result.progress.images}; saved in {result.directory}. "
        f"Continue with: impasto {command} --resume --name {result.directory.name}{where}"
    )
    return 128 + result.signal


def _observe_start(changes: Mapping[str, tuple[object, object]], note: str) -> "Observer":
    """Return an observer that tells what has changed, once it is sure that the training begins."""
    from impasto.runs.observers import Observer  # noqa: PLC0415 - NumPy

    class Changes(Observer):
        """Tells what has changed, once it is sure that the training begins."""

        def on_start(self, progress: "Progress") -> None:  # noqa: ARG002
            if note:
                print(f"note: {note}", file=sys.stderr)
            for name, (old, new) in changes.items():
                if old != ABSENT:  # else the run is older than the option
                    print(f"changed: {spell_change(name, old, new)}", file=sys.stderr)

    return Changes()
