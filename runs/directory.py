"""The directory of a run: its file paths, and the lock that lets only one process write to it."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from impasto.data.atomic import make_folder, remove_leftovers, write_text_atomic
from impasto.options.config import read_config
from impasto.options.errors import FolderError, ImpastoError, OptionError
from impasto.options.fields import nearest

__all__ = ["RunDirectory", "lock_folder", "take_lock"]

_MOST_NAMES = 10

# Options that name files or folders to read; those that name no such thing stay as they are.
_PATHS = (
    *("dataroot", "folder_A", "folder_B", "val_folder", "val_A", "val_B"),
    *("perceptual_backbone", "perceptual_weights"),
)


class RunDirectory:
    """``checkpoints/<name>/``: options, log, state, networks and page of one training.

    Args:
        path: path of the directory, which :meth:`create` makes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.options_file = path / "options.yaml"
        self.log_file = path / "log.jsonl"
        self.state_file = path / "state.pt"
        self.previous_state_file = path / "state.previous.pt"
        self.web = path / "web"

    def create(self) -> None:
        """Make the directory.

        Raises:
            FolderError: the directory cannot be created or written.
        """
        try:
            self.web.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FolderError(self.path, f"cannot be written ({error.strerror})") from error

    def start_afresh(self) -> None:
        """Discard an earlier training: remove its state, log and networks.

        Raises:
            FolderError: a file cannot be removed.
        """
        networks = [*self.path.glob("*_net_*.pth"), *self.path.glob("*.safetensors")]
        try:
            for file in (*self.path.glob("state*.pt*"), self.log_file, *networks):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise FolderError(self.path, f"cannot be cleared ({error.strerror})") from error

    @property
    def has_state(self) -> bool:
        """Whether there is a training to resume."""
        return self.state_file.is_file() or self.previous_state_file.is_file()

    def put_damaged_state_aside(self) -> Path | None:
        """Let the state before the last be the last one; keep the last, which is damaged.

        Returns:
            Where the damaged state is now; None if there was none.

        Raises:
            FolderError: a file cannot be renamed.
        """
        aside = self.state_file.with_name(f"{self.state_file.name}.damaged")
        try:
            there = self.state_file.is_file()
            if there:
                self.state_file.replace(aside)
            self.previous_state_file.replace(self.state_file)
        except OSError as error:
            raise FolderError(self.path, f"cannot be written ({error.strerror})") from error
        return aside if there else None

    def require_no_state(self) -> None:
        """Refuse to begin a training where there is one.

        Raises:
            FolderError: the directory holds a training.
        """
        if self.has_state:
            raise FolderError(
                self.path, "holds a training already; add --resume, or choose another --name"
            )

    def network_file(self, label: str, network: str) -> Path:
        """Return the reference's file name of a network, e.g. ``latest_net_G_A.pth``."""
        return self.path / f"{label}_net_{network}.pth"

    def write_options(self, flat: Mapping[str, Any], *, command: str = "train") -> None:
        """Write the complete options, reloadable with ``--config``.

        Args:
            flat: options by their flat names.
            command: the words after ``impasto`` that take them.

        Raises:
            FolderError: the file cannot be written.
        """
        text = yaml.safe_dump(dict(flat), sort_keys=False, allow_unicode=True)
        header = f"# All options of this run. To repeat it: impasto {command} --config THIS_FILE\n"
        try:
            write_text_atomic(self.options_file, header + text)
        except OSError as error:
            raise FolderError(self.path, f"cannot be written ({error.strerror})") from error

    def read_options(self) -> dict[str, Any]:
        """Return the options that the run was started with.

        Raises:
            FolderError: there is no such run, or its options are missing or damaged.
        """
        if not self.path.exists():
            runs = sorted(file.parent.name for file in self.path.parent.glob("*/options.yaml"))
            among = f"; there are {', '.join(runs[:_MOST_NAMES])}" if runs else ", which holds none"
            near = nearest(self.path.name, runs)
            raise FolderError(
                self.path, f"no such run in {self.path.parent}{near or among} (--name)"
            )
        if not self.options_file.exists():
            raise FolderError(self.path, "holds no run (no options.yaml)")
        try:
            return read_config(self.options_file)
        except OptionError as error:
            reason = f"{error.place}: {error.reason}" if error.place else error.reason
            reason = reason.replace(str(self.options_file), self.options_file.name)
            raise FolderError(self.path, reason) from error

    def started_in(self, stored: Mapping[str, Any]) -> Path | None:
        """Return the folder that relative paths of a run are relative to; None if unknown.

        The run's own place tells it, also when the whole was moved: where ``checkpoints_dir`` is
        ``checkpoints``, ``/a/b/checkpoints/monet`` was started in ``/a/b``.

        Args:
            stored: options that the run was started with.
        """
        place = Path(str(stored.get("checkpoints_dir", "")), str(stored.get("name", ""))).parts
        typed = self.path.absolute()
        for here in (typed.parts, Path(os.path.normpath(typed)).parts):
            # An absolute place has as many parts as this one, and tells nothing.
            if 0 < len(place) < len(here) and here[-len(place) :] == place:
                return _tidy(Path(*here[: -len(place)]))
        return None

    def seen_from_here(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """Return a run's options with relative paths that hold in the current folder.

        Those that lead to something from here only stay as they are.

        Args:
            stored: options that the run was started with.
        """
        base, seen = self.started_in(stored), dict(stored)
        if base is None or _same(base, Path.cwd()):
            return seen
        for name in _PATHS:
            path = _path(name, stored)
            if path is not None and ((base / path).exists() or not path.exists()):
                seen[name] = str(base / path)
        return seen

    def as_started(self, stored: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
        """Return options with paths as they would be in the folder that the run was started in.

        So a run that is resumed from elsewhere is still the same, and can be moved as a whole.

        Args:
            stored: options that the run was started with.
            options: options of the same training now, with paths as seen from the current folder.
        """
        base, made = self.started_in(stored), dict(options)
        if base is None:
            return made
        for name in ("checkpoints_dir", *_PATHS):
            now, before = _path(name, options), _path(name, stored)
            if now is None or now == before:
                continue
            if before is not None and _same(now, base / before):
                made[name] = stored[name]
            elif not _same(base, Path.cwd()):
                made[name] = str(now.absolute())
        return made

    @contextmanager
    def locked(self, *, write: bool = True) -> Iterator[None]:
        """Lock the run for this process, so that no second training overwrites the first.

        The lock ends with the process, however it ends. Partly written files of an earlier process
        are removed.

        Args:
            write: whether this process writes; of several processes only the first does.

        Raises:
            ImpastoError: another process holds the lock.
        """
        if not write:
            yield
            return
        busy = "another process is training this run; wait for it, or choose another --name"
        with lock_folder(self.path, busy):
            # Only now: before, these could be files that the holder is writing.
            for folder in (self.path, *(found for found in self.path.rglob("*") if found.is_dir())):
                remove_leftovers(folder, alone=True)
            yield


def _path(option: str, options: Mapping[str, Any]) -> Path | None:
    """Return the path that an option names; None where it names none, as a backbone may not."""
    value = options.get(option)
    if not value or not isinstance(value, str | os.PathLike):
        return None
    path = Path(value)
    return None if option == "perceptual_backbone" and len(path.parts) < 2 else path


def _tidy(folder: Path) -> Path:
    """Return a folder without ``..``, unless a link makes that another folder."""
    tidy = Path(os.path.normpath(folder))
    return tidy if tidy.exists() and folder.exists() and tidy.samefile(folder) else folder


def _same(first: Path, second: Path) -> bool:
    return os.path.abspath(first) == os.path.abspath(second)  # noqa: PTH100 - as it is typed


@contextmanager
def lock_folder(folder: Path, busy: str) -> Iterator[None]:
    """Lock a folder for this process, by a hidden file in it; the lock ends with the process.

    Args:
        folder: folder to lock; it is made where it is missing.
        busy: what to say where another process holds the lock.

    Raises:
        FolderError: the folder cannot be made or written.
        ImpastoError: another process holds the lock.
    """
    try:
        make_folder(folder)
        file = (folder / ".lock").open("w")
    except OSError as error:
        raise FolderError(folder, f"cannot be written ({error.strerror})") from error
    with file:
        if not take_lock(file.fileno()):
            raise ImpastoError(f"{folder}: {busy}")
        if hasattr(os, "register_at_fork"):
            # A loading process outlives a killed training by seconds, and would hold its lock.
            os.register_at_fork(after_in_child=file.close)
        yield


def take_lock(handle: int) -> bool:
    """Take an exclusive lock of an open file without waiting; it ends when the file is closed.

    Returns:
        False if another process holds it; True also where the system or the disk has no locks.
    """
    if os.name != "posix":
        return True
    import fcntl  # noqa: PLC0415 - only there on POSIX systems

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network file system without locks
        return True
    return True
