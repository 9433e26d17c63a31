"""Transfers of files over a network, which go on where they were cut, by pooch (an extra).

pooch asks and writes; what it lacks stands here: going on with HTTP's Range, and if the server
still has the same file, trying again, and refusing what is plainly not the file before it is there.
"""

import errno
import json
import re
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from impasto.options.errors import FetchError

__all__ = ["copy_file", "download", "require_space"]

_CHUNK_BYTES = 2**14  # what a cut loses at most
_TRIES = 4  # in a row, that bring nothing
_MOST_TRIES = 200
_AGAIN = {408, 425, 429, 500, 502, 503, 504}  # a server that is busy, or not there for a while
_NOT_SATISFIABLE = 416


def require_space(folder: Path, size: int) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        OSError: fewer bytes than that are free.
    """
    free = shutil.disk_usage(folder).free
    if free < size:
        raise OSError(
            errno.ENOSPC,
            f"the disk has {free / 1e6:,.1f} MB free, and {size / 1e6:,.1f} MB are needed",
            str(folder),
        )


def copy_file(source: Path, path: Path) -> None:
    """Copy a file of a disk.

    Raises:
        FetchError: it is not there, or cannot be read.
        OSError: the copy cannot be written.
    """
    if not source.is_file():
        raise FetchError("is a folder" if source.is_dir() else "no such file")
    require_space(path.parent, source.stat().st_size)
    try:
        with source.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise FetchError(f"cannot be read ({error.strerror})") from error
    shutil.copyfile(source, path)


def download(
    url: str,
    path: Path,
    *,
    timeout_s: float,
    size: int | None = None,
    known: bool = False,
    pause_s: float = 1.0,
) -> None:
    """Transfer a file; what is there of it from an earlier time is not transferred again.

    Args:
        url: address, of HTTP or FTP.
        path: file to write; beside it lies a note on what it is a part of, while it is one.
        timeout_s: longest time without an answer or another byte, in seconds.
        size: size that the file must have, in bytes; None: unknown.
        known: whether its checksum will be compared, so that a part may be continued though the
            server does not say whether it still has the same file.
        pause_s: time before the second try, in seconds; each further pause is twice as long.

    Raises:
        FetchError: the file is not there, is another one, or cannot be transferred; the message
            omits the address. What was transferred stays, but for another file.
        OSError: the disk is full or cannot be written; what was transferred stays.
    """
    try:
        import pooch  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise FetchError("needs the package pooch: pip install pooch") from error
    if url.startswith("ftp:"):
        _by_ftp(pooch, url, path, timeout_s)
        return
    transfer, failures = _Transfer(url, path, size=size, known=known), 0
    for _ in range(_MOST_TRIES):
        start = transfer.start()
        problem = transfer.attempt(pooch, timeout_s)
        if not problem:
            transfer.forget()
            return
        failures = 0 if transfer.present > start else failures + 1
        if failures >= _TRIES:
            kept = f"; {transfer.present:,} bytes are kept" if transfer.present else ""
            raise FetchError(f"{problem}{kept}")
        time.sleep(pause_s * 2**failures if failures else 0)
    raise FetchError("the connection is cut again and again")


class _Transfer:
    """A file that is transferred in one or more parts."""

    def __init__(self, url: str, path: Path, *, size: int | None, known: bool) -> None:
        self._url, self._path, self._size, self._known = url, path, size, known
        self._note = path.with_name(f"{path.name}.part.json")
        self._total: int | None = None
        self._validator = ""
        self._responses: list[Any] = []

    @property
    def present(self) -> int:
        """Number of bytes that are there."""
        return self._path.stat().st_size if self._path.is_file() else 0

    def start(self) -> int:
        """Return where to go on: 0 where what is there is not known to be a part of this file."""
        noted: dict[str, Any] = {}
        with suppress(OSError, ValueError):
            noted = dict(json.loads(self._note.read_text(encoding="utf-8")))
        self._validator = str(noted.get("validator", ""))
        if noted.get("url") != self._url or not (self._validator or self._known):
            self.discard()
        return self.present

    def discard(self) -> None:
        """Begin anew."""
        self._path.unlink(missing_ok=True)
        self._validator = ""

    def forget(self) -> None:
        """Remove the note: the file is whole."""
        self._note.unlink(missing_ok=True)

    def attempt(self, pooch: Any, timeout_s: float) -> str:
        """Transfer what is missing; return why that failed, or nothing.

        Raises:
            FetchError: another attempt would be in vain.
        """
        from requests import exceptions  # noqa: PLC0415 - an extra, which pooch uses

        try:
            self._run(pooch, timeout_s)
        except exceptions.HTTPError as error:
            status = getattr(error.response, "status_code", 0)
            if status == _NOT_SATISFIABLE and self.present:
                self.discard()
            elif status not in _AGAIN:
                raise FetchError(_of_status(status)) from error
            return _of_status(status)
        except (exceptions.InvalidURL, exceptions.TooManyRedirects) as error:
            raise FetchError(f"cannot be asked for ({type(error).__name__})") from error
        except exceptions.RequestException as error:
            reason = _reason(error)
            if "timed out" in reason:
                return f"no answer, or no further byte, in {timeout_s:g} seconds"
            cut = "IncompleteRead" in reason
            return "the connection is cut" if cut else f"the connection fails ({reason})"
        whole = self._total is None or self.present == self._total
        return "" if whole else "it ends too early"

    def _run(self, pooch: Any, timeout_s: float) -> None:
        """Ask for what is missing, and write it."""
        start = self.present
        if start and self._total == start:
            return
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self._validator:
                headers["If-Range"] = self._validator
        bar = _Bar(self._path.name)
        with self._path.open("r+b" if start else "wb") as file:
            file.seek(start)
            ask = pooch.HTTPDownloader(
                progressbar=bar,
                chunk_size=_CHUNK_BYTES,
                headers=headers,
                timeout=timeout_s,
                hooks={"response": self._checker(file, start, bar)},
            )
            try:
                ask(self._url, file, None)
            finally:
                bar.close()
                for response in self._responses:  # pooch leaves them open where something fails
                    response.close()
                self._responses.clear()

    def _checker(self, file: IO[bytes], start: int, bar: "_Bar") -> Callable[..., None]:
        """Return what looks at an answer before its contents are written."""

        def check(response: Any, **_: Any) -> None:
            self._responses.append(response)
            if response.is_redirect or not response.ok:
                return  # followed, or raised
            headers = response.headers
            begun = start
            if response.status_code != 206 and start:  # it knows no ranges, or has another file
                begun = 0
                file.seek(0)
                file.truncate()
            elif start and not re.match(rf"bytes {start}-", headers.get("Content-Range", "")):
                raise FetchError("the server sends another part of the file than it was asked for")
            if headers.get("Content-Type", "").startswith("text/html"):
                raise FetchError("the server answers with a web page instead of the file")
            length = headers.get("Content-Length", "")
            plain = headers.get("Content-Encoding", "identity") == "identity"
            self._total = begun + int(length) if length.isdecimal() and plain else None
            if self._size is not None and self._total not in {None, self._size}:
                raise FetchError(
                    f"has {self._total:,} bytes, expected {self._size:,}: another version or "
                    "another file; --any_checksum true keeps it nevertheless"
                )
            if self._total is not None:
                require_space(self._path.parent, self._total - begun)
            bar.begin(begun, self._total)
            etag = headers.get("ETag", "")
            validator = "" if etag.startswith("W/") else etag or headers.get("Last-Modified", "")
            note = {"url": self._url, "validator": validator}
            self._note.write_text(json.dumps(note), encoding="utf-8")

        return check


class _Bar:
    """The progress in a terminal, as pooch drives it; elsewhere nothing."""

    def __init__(self, name: str) -> None:
        self.total = 0  # set by pooch
        self._name = name
        self._bar: Any = None

    def begin(self, start: int, total: int | None) -> None:
        """Show where the transfer begins."""
        if not sys.stderr.isatty():
            return
        from tqdm import tqdm  # noqa: PLC0415 - only where somebody looks

        self._bar = tqdm(
            total=total, initial=start, desc=self._name, unit="B", unit_scale=True, leave=False
        )

    def update(self, count: int) -> None:
        """Show more bytes."""
        if self._bar is not None:
            self._bar.update(count)

    def reset(self) -> None:
        """Do nothing: pooch would fill the bar at the end."""
        self.close()

    def close(self) -> None:
        """Remove the bar."""
        if self._bar is not None:
            self._bar.close()
        self._bar = None


def _by_ftp(pooch: Any, url: str, path: Path, timeout_s: float) -> None:
    """Transfer a file by FTP, as a whole."""
    import ftplib  # noqa: PLC0415 - rare

    path.unlink(missing_ok=True)
    try:
        pooch.FTPDownloader(timeout=timeout_s)(url, str(path), None)
    except (*ftplib.all_errors,) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        raise FetchError(f"cannot be transferred ({_reason(error)})") from error


def _of_status(status: int) -> str:
    words = {404: "is not there", 410: "is gone", 401: "asks for a password", 403: "is not allowed"}
    return f"{words.get(status, 'the server refuses it')} (HTTP {status})"


def _reason(error: BaseException) -> str:
    """Return the innermost reason, without the address, which may hold a key."""
    while (inner := getattr(error, "reason", None) or error.__cause__ or error.__context__) and (
        isinstance(inner, BaseException)
    ):
        error = inner
    said = str(error).splitlines()[0] if str(error) else ""
    return type(error).__name__ if not said or "://" in said or "host=" in said else said
