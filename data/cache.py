"""Decoded pictures, kept in memory that all processes that load them share."""

import logging
import os
import struct
import tempfile
import weakref
import zlib
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import get_worker_info

__all__ = ["PictureCache"]

_log = logging.getLogger(__name__)

# Where a picture lies: which file, from which byte on; its height and width; and a checksum of
# these, since another process may read what is just being written.
_PLACE, _CHECK = struct.Struct("<IQII"), struct.Struct("<I")
_RECORD_BYTES = _PLACE.size + _CHECK.size


class PictureCache:
    """Keeps pictures in memory, once for all processes that load them.

    Each process appends to a file of its own, which lies in memory, and writes in a common table
    where the picture is; none waits for another. What a killed process has begun is in no table,
    and where there is no memory left, pictures are decoded again, which is said once. The memory is
    free when the process that made the cache has ended, however that was.

    Args:
        count: number of pictures.
        workers: loading processes beside this one (of torch's loader, which numbers them); with 0
            the pictures are kept in this process alone.
        channels: number of channels of the pictures.
        dtype: type of their numbers.
    """

    def __init__(
        self, count: int, *, workers: int = 0, channels: int = 3, dtype: str = "uint8"
    ) -> None:
        self._channels, self._dtype = channels, np.dtype(dtype)
        self._own: dict[int, NDArray[Any]] | None = {} if workers == 0 else None
        self._full = False
        self._paths: list[str] = []
        self._opened: _Opened | None = None
        if workers:
            kept, self._paths = _make_files(workers + 2)  # the table, this process, and the others
            weakref.finalize(self, _remove, kept, self._paths, os.getpid())
            with Path(self._paths[0]).open("r+b") as table:
                table.truncate(count * _RECORD_BYTES)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": None}

    def get(self, index: int) -> NDArray[Any] | None:
        """Return a picture, (H, W, C); None if it is not kept.

        It is not to be written to.
        """
        if self._own is not None:
            return self._own.get(index)
        try:
            table, *files = self._files()
            table.seek(index * _RECORD_BYTES)
            record = table.read(_RECORD_BYTES)
            place, check = record[: _PLACE.size], record[_PLACE.size :]
            # A record of zeros, which none has written, has another checksum, too.
            if len(check) < _CHECK.size or _CHECK.unpack(check)[0] != zlib.crc32(place):
                return None
            number, start, height, width = _PLACE.unpack(place)
            files[number].seek(start)
            size = height * width * self._channels * self._dtype.itemsize
            values = files[number].read(size)
            if len(values) < size:
                return None
        except OSError as error:
            self._give_up(error)
            return None
        return np.frombuffer(values, self._dtype).reshape(height, width, self._channels)

    def put(self, index: int, rgb: NDArray[Any]) -> None:
        """Keep a picture, (H, W, C), of the cache's channels and type, if there is room."""
        if self._own is not None:
            self._own[index] = rgb
            return
        if self._full:
            return
        worker = get_worker_info()
        number = 0 if worker is None else worker.id + 1
        try:
            table, *files = self._files()
            if number >= len(files):
                return  # a loader with more processes than were told
            start = files[number].seek(0, os.SEEK_END)
            _write(files[number], np.ascontiguousarray(rgb).tobytes())
            place = _PLACE.pack(number, start, *rgb.shape[:2])
            table.seek(index * _RECORD_BYTES)
            _write(table, place + _CHECK.pack(zlib.crc32(place)))
        except (OSError, MemoryError) as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        if not self._full:
            _log.warning(
                "no more pictures are kept in memory (%s); the others are decoded each time",
                getattr(error, "strerror", None) or str(error) or "there is none left",
            )
        self._full = True

    def _files(self) -> Sequence[IO[bytes]]:
        """Return the files, opened by this process, since those of a parent share their places."""
        if self._opened is None or self._opened.process != os.getpid():
            self._opened = _Opened(self._paths)
        return self._opened.files


class _Opened:
    """Files as this process has opened them, which are closed when they are no longer needed."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.process = os.getpid()
        with ExitStack() as stack:
            self.files = [
                stack.enter_context(Path(path).open("r+b", buffering=0)) for path in paths
            ]
            weakref.finalize(self, stack.pop_all().close)


def _make_files(count: int) -> tuple[list[int], list[str]]:
    """Make files that processes of this user can open while this one lives.

    Returns:
        Their descriptors, if they are of memory alone, and paths.
    """
    if hasattr(os, "memfd_create"):  # Linux
        kept = [os.memfd_create("impasto-pictures") for _ in range(count)]
        paths = [f"/proc/{os.getpid()}/fd/{descriptor}" for descriptor in kept]
        if Path(paths[0]).exists():
            return kept, paths
        _remove(kept, [], os.getpid())
    paths = []
    for _ in range(count):
        descriptor, path = tempfile.mkstemp(prefix="impasto-pictures-")
        os.close(descriptor)
        paths.append(path)
    return [], paths


def _remove(kept: Sequence[int], paths: Sequence[str], owner: int) -> None:
    if os.getpid() != owner:
        return  # a process that was forked off ends; the others go on
    for descriptor in kept:
        os.close(descriptor)
    for path in () if kept else paths:
        with suppress(OSError):  # Windows keeps what another process still has open
            Path(path).unlink()


def _write(file: IO[bytes], values: bytes) -> None:
    """Write all of it, which a file without a buffer need not do at once."""
    rest = memoryview(values)
    while rest:
        rest = rest[file.write(rest) :]
