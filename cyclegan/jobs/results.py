"""What a folder of translations holds, and what each result was made of: pictures and settings.

The notes lie beside the small copies for the page, one JSON object on each line. A result is noted,
with its content, before it takes its place, and again when it is there. So whatever ends a command,
the next one knows for certain what is a result of what, and what is somebody else's.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path, PurePosixPath
from threading import Lock
from typing import Any, Self

from impasto.data.atomic import check_writable, remove_leftovers, write_text_atomic
from impasto.data.files import fit_name
from impasto.data.provenance import (
    NOTES,
    PREVIEWS_MARK,
    FileNote,
    Made,
    hash_file,
    holds_notes,
    read_notes,
)
from impasto.options.errors import FolderError, ImpastoError, PictureError
from impasto.runs.directory import lock_folder
from impasto.runs.pages.gallery import PAIRS_PER_PAGE, is_generated

__all__ = ["PREVIEWS", "ResultNotes", "ResultsFolder", "describe"]

PREVIEWS = "page"
"""Beginning of the name of the folder of small copies, which lies in a folder of results."""

_PAGE = "index.html"
_MOST_PREVIEWS_FOLDERS = 100
_SHARD = "-shard-"
_WORKER = "made_by-"  # beginning of the names of files of notes
_TRIES = 20


def describe(path: Path) -> FileNote:
    """Describe a file as it is now.

    Raises:
        PictureError: it cannot be read.
    """
    if path.exists() and not path.is_file():  # opening a pipe would wait for ever
        raise PictureError(path, "is a folder" if path.is_dir() else "is not a regular file")
    try:
        status = path.stat()
        return FileNote(
            path=str(path.absolute()),
            bytes=status.st_size,
            mtime_ns=status.st_mtime_ns,
            sha256=hash_file(path),
        )
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PictureError(path, f"cannot be opened: {reason}") from error


class ResultNotes:
    """A file of notes, one line for each result before and after it takes its place.

    Args:
        file: the file, which only one process at a time writes to.
        output: folder of the results.
    """

    def __init__(self, file: Path, output: Path) -> None:
        self.file, self.output = file, output
        self.made: dict[str, Made] = {}
        self._announced: dict[str, Made] = {}
        self._lock = Lock()

    def name_of(self, target: Path) -> str:
        """Return the name by which a result is noted."""
        return target.relative_to(self.output).as_posix()

    def refuse_changes(self, name: str) -> None:
        """Refuse to replace what came to the place of a result, or was changed, since the start.

        Raises:
            PictureError: what is there is not what was made; the reason says what to do.
        """
        target, made = self.output / name, self.made.get(name)
        if os.path.lexists(target) and (made is None or not made.result.is_still(target)):
            raise PictureError(
                target,
                f"its result cannot be written: {target} was put there or changed meanwhile; "
                "choose another --output, or replace it with --overwrite true",
            )

    def announce(
        self, name: str, file: Path, source: FileNote, settings: Mapping[str, str], identity: str
    ) -> None:
        """Note a result that is about to take its place; safe to call from several threads at once.

        Args:
            name: its name in the folder.
            file: temporary file that holds it.
            source: picture that was translated.
            settings: settings in words, by the names of the options.
            identity: what decides how the result looks.

        Raises:
            PictureError: the file cannot be read again, or the notes cannot be written.
        """
        target = self.output / name
        try:
            result = replace(describe(file), path=str(target.absolute()))
        except PictureError as error:
            raise PictureError(target, error.reason) from error.__cause__
        made = Made(source=source, result=result, settings=settings, identity=identity, begun=True)
        self._note(name, made)
        self._announced[name] = made

    def confirm(self, name: str) -> None:
        """Note that a result took its place; safe to call from several threads at once.

        Raises:
            PictureError: the notes cannot be written.
        """
        made = replace(self._announced.pop(name), begun=False)
        self.made[name] = made
        self._note(name, made)

    def _note(self, name: str, made: Made) -> None:
        try:
            with self._lock, self.file.open("a", encoding="utf-8") as file:
                file.write(_line(name, asdict(made)))
        except OSError as error:
            reason = f"cannot be written: {(error.strerror or str(error)).lower()}"
            raise PictureError(self.file, reason) from error


class ResultsFolder(ResultNotes):
    """A folder of results and its notes; only one process at a time writes into it.

    Calls that are about different parts of the same pictures, shards, may write at the same time:
    each has notes, small copies and a page of its own, which the next call without a shard takes
    over.

    Args:
        output: folder of the results, which is made.
        names: results that this call is about, relative to ``output``.
        part: number of the shard and of all shards, or None.

    Raises:
        FolderError: it cannot be written, or a page lies there that translations did not make.
        ImpastoError: another process writes into it.
    """

    def __init__(
        self, output: Path, names: Sequence[PurePosixPath], *, part: tuple[int, int] | None = None
    ) -> None:
        self.output, self._names = output, names
        self._shard = "" if part is None else f"{_SHARD}{part[0]}-of-{part[1]}"
        self.page = output / f"{PurePosixPath(_PAGE).stem}{self._shard}.html"
        try:
            check_writable(output)
        except OSError as error:
            reason = f"cannot be written ({error.strerror or error}); choose another --output"
            raise FolderError(output, reason) from error
        self._before, self.previews = self._find_previews(names)
        self._refuse_other_pages(len(names))
        super().__init__(self.previews / NOTES, output)

    @contextmanager
    def opened(self) -> Iterator[Self]:
        """Hold the folder for this process, with what a killed one left removed.

        Raises:
            FolderError: the folder cannot be written.
            ImpastoError: another process writes into it.
        """
        busy = (
            "another impasto translate writes into it; wait for its end, or choose another --output"
        )
        if self._shard:
            self._refuse_beside_whole(busy)
        with lock_folder(self._before, busy):
            if self._before != self.previews:
                self._before.rename(self.previews)
            # Half of the previews are photographs: a mark keeps them out of what reads the results.
            (self.previews / PREVIEWS_MARK).touch()
            self.file.touch()
            self.made = _read_all(self.previews, self.output)
            if self._shard:
                self._learn_from_others()
            else:
                self._take_over_shards()
            self._remove_leftovers()
            yield self

    def _remove_leftovers(self) -> None:
        """Remove what killed processes left of files that they were writing."""
        folders = {self.output, self.previews, self.previews / "before"}
        names = (*self.made, *map(str, self._names))
        for root in (self.output, self.previews / "before", self.previews / "after"):
            folders |= {(root / name).parent for name in names}
        for folder in folders:
            remove_leftovers(folder, alone=not self._shard)

    def worker_notes(self, worker: str) -> Path:
        """Return the file in which a worker of a cluster notes what it makes for this call."""
        return self.previews / f"{_WORKER}{worker}.jsonl"

    def take_over_workers(self) -> None:
        """Take over the notes of workers, all of which have ended, and remove what they left.

        What a killed call leaves of them, the next one takes over when it begins.

        Raises:
            FolderError: the notes cannot be written.
        """
        self.made = {**self.made, **_read_all(self.previews, self.output)}
        self.tidy()
        self._remove_leftovers()

    def _refuse_beside_whole(self, busy: str) -> None:
        """Refuse to begin while a call without a shard writes into the folder."""
        whole = self.output / PREVIEWS
        if not holds_notes(whole):
            return
        for tries in range(_TRIES, 0, -1):  # another shard may be asking just now
            try:
                with lock_folder(whole, busy):
                    return
            except ImpastoError:
                if tries == 1:
                    raise
                time.sleep(0.1 + os.getpid() % 10 / 50)

    def _learn_from_others(self) -> None:
        """Know the results of this shard that calls with other shards made."""
        names = set(map(str, self._names))
        for folder in self.output.glob(f"{PREVIEWS}*"):
            if folder != self.previews and holds_notes(folder):
                known = _read_all(folder, self.output)
                for name in names & known.keys():
                    self._learn(name, known[name])

    def _take_over_shards(self) -> None:
        """Take over notes and small copies of shards; their pages are then those of this call.

        Raises:
            ImpastoError: a shard is being written.
        """
        busy = "another impasto translate writes a shard into it; wait for its end"
        found = sorted(self.output.glob(f"{PREVIEWS}{_SHARD}*-of-*"))
        folders = [folder for folder in found if holds_notes(folder)]
        with ExitStack() as locked:
            for folder in folders:
                locked.enter_context(lock_folder(folder, busy))
            for folder in folders:
                for name, made in _read_all(folder, self.output).items():
                    self._take_over(name, made, folder)
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
            shard = folder.name.removeprefix(PREVIEWS)
            stem = f"{PurePosixPath(_PAGE).stem}{shard}"
            for page in (self.output / f"{stem}.html", *self.output.glob(f"{stem}-*.html")):
                if page.is_file() and is_generated(page):
                    page.unlink()

    def _learn(self, name: str, made: Made) -> bool:
        """Note what a call with other shards made; return whether that is the last there was."""
        known = self.made.get(name)
        if known is not None and known.result.mtime_ns > made.result.mtime_ns:
            return False
        self.made[name] = made
        return True

    def _take_over(self, name: str, made: Made, folder: Path) -> None:
        """Take over the note and the small copies of a result, if they are the last there were."""
        known = self.made.get(name)
        if not self._learn(name, made):
            return
        self._note(name, made)
        here = self.copies(name)
        for side, there in self.copies(name, below=folder).items():
            if there.exists():
                here[side].parent.mkdir(parents=True, exist_ok=True)
                there.replace(here[side])
            elif known != made:  # or a call that was killed has taken it over
                here[side].unlink(missing_ok=True)

    def copies(self, name: str, *, below: Path | None = None) -> dict[str, Path]:
        """Return the small copies of a picture and its result, ``before`` and ``after``.

        Args:
            name: name of the result.
            below: folder that they lie in; None: that of this call.
        """
        own, root = PurePosixPath(name), self.previews if below is None else below
        copy = own.with_name(fit_name(f"{own.name}.webp"))
        return {side: root / side / copy for side in ("before", "after")}

    def why_not(self, name: str, source: Path, identity: str) -> str | None:
        """Return why a result has to be made although one is there; None if it is the right one.

        Raises:
            PictureError: what is there is not to be replaced; the reason says why.
        """
        target, made = self.output / name, self.made.get(name)
        if made is None:
            raise PictureError(
                target,
                "is there already, and was not made by impasto translate; choose another --output, "
                "or replace it with --overwrite true",
            )
        same_source = made.source.is_still(source)
        if same_source and made.identity == identity:
            now = replace(
                made.source, path=str(source.absolute()), mtime_ns=source.stat().st_mtime_ns
            )
            self.made[name] = replace(made, source=now)  # it may have moved, or been touched
            return None
        if not made.result.is_still(target):
            raise PictureError(
                target,
                "was changed after it was made, and its picture or the settings are others now; "
                "choose another --output, or replace it with --overwrite true",
            )
        before = made.source.path
        changed = before == str(source.absolute())
        other = "before its picture changed" if changed else f"of another picture, {before}"
        return f"was made {'with other settings' if same_source else other}"

    def tidy(self) -> None:
        """Write the notes anew, without those of results that are gone.

        Raises:
            FolderError: the notes cannot be written.
        """
        self.made = {name: made for name, made in self.made.items() if self._has(name)}
        lines = [_line(name, asdict(made)) for name, made in self.made.items()]
        try:
            write_text_atomic(self.file, "".join(lines))
        except OSError as error:
            reason = f"cannot be written ({error.strerror or error})"
            raise FolderError(self.output, reason) from error
        for file in self.previews.glob(f"{_WORKER}*.jsonl"):  # which are in the notes now
            file.unlink(missing_ok=True)

    def whole(self) -> dict[str, Made]:
        """Return the results that are there, of all calls, by their names, in order."""
        return {name: made for name, made in sorted(self.made.items()) if self._has(name)}

    def _has(self, name: str) -> bool:
        return (self.output / name).is_file()

    def _find_previews(self, names: Sequence[PurePosixPath]) -> tuple[Path, Path]:
        """Return where the folder of the small copies is, and where it is to be.

        It gives way to results in a folder of its name.

        Raises:
            FolderError: there is no free name.
        """
        taken = {name.parts[0].casefold() for name in names if len(name.parts) > 1}
        if self._shard:
            own = self.output / f"{PREVIEWS}{self._shard}"
            if own.name.casefold() in taken or (own.exists() and not _is_ours(own)):
                raise FolderError(
                    self.output,
                    f"holds {own.name}, where this shard would keep its small copies; choose "
                    "another --output",
                )
            return own, own
        numbers = ["", *(f"-{number}" for number in range(2, _MOST_PREVIEWS_FOLDERS))]
        folders = [self.output / f"{PREVIEWS}{number}" for number in numbers]
        ours = next((folder for folder in folders if holds_notes(folder)), None)
        if ours is not None and ours.name.casefold() not in taken:
            return ours, ours
        for folder in folders:
            if folder.name.casefold() not in taken and not os.path.lexists(folder):
                return ours or folder, folder
        raise FolderError(
            self.output, f"has no name left for the folder {PREVIEWS}; choose another --output"
        )

    def _refuse_other_pages(self, count: int) -> None:
        """Refuse a page at the place of this one that translations did not make."""
        known = len(read_notes(self._before / NOTES, self.output))
        numbers = range(2, (count + known) // PAIRS_PER_PAGE + 2)
        stem = self.page.stem
        pages = [self.page, *(self.output / f"{stem}-{number}.html" for number in numbers)]
        ours = holds_notes(self._before)
        for page in pages:
            if os.path.lexists(page) and not (ours and page.is_file() and is_generated(page)):
                raise FolderError(
                    self.output,
                    f"holds a page {page.name} that impasto translate did not make; choose another "
                    "--output",
                )


def _read_all(previews: Path, output: Path) -> dict[str, Made]:
    """Return what is noted in a folder of small copies, by the call itself and by workers."""
    known = read_notes(previews / NOTES, output)
    for file in sorted(previews.glob(f"{_WORKER}*.jsonl")):
        for name, made in read_notes(file, output).items():
            if name not in known or made.result.is_still(output / name):
                known[name] = made
    return known


def _is_ours(folder: Path) -> bool:
    """Whether a folder holds notes, or was only just made for them."""
    return holds_notes(folder) or {path.name for path in folder.iterdir()} <= {
        ".lock",
        PREVIEWS_MARK,
    }


def _line(name: str, facts: Mapping[str, Any]) -> str:
    # As ASCII: a name need not be valid text.
    return json.dumps({"name": name, **facts}) + "\n"
