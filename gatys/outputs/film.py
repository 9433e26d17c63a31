"""The film of an optimisation: frames wait on disk, and become an animation at the end."""

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self, overload

from impasto.data.animations import check_animation, write_animation
from impasto.data.decode import Picture, Rgb, read_picture
from impasto.data.encode import write_picture
from impasto.options.errors import ImpastoError

__all__ = ["Film"]


class Film:
    """Collects frames of an optimisation and writes them as GIF, APNG or MP4.

    Frames of any size may be added: those of the coarse scales are enlarged to the size of the
    last. Use it as a context manager; the frames on disk are removed at its end. What was added
    before an interruption can still be written.

    Example::

        with Film(Path("monet.gif")) as film:
            film.add(frame)
            film.write()

    Args:
        path: ends in ``.gif``, ``.png``, ``.apng`` or ``.mp4``.
        frame_ms: how long each frame is shown, in milliseconds.
        hold_ms: how long the last frame is shown.

    Raises:
        PictureError: the suffix is unknown, or is ``.mp4`` and PyAV is missing: said here, before
            anything is computed.
    """

    def __init__(self, path: Path, *, frame_ms: int = 100, hold_ms: int = 2000) -> None:
        check_animation(path)
        self.path = path
        self._frame_ms, self._hold_ms = frame_ms, hold_ms
        self._folder = tempfile.TemporaryDirectory(prefix="impasto-film-")
        self._count = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._folder.cleanup()

    def __len__(self) -> int:
        """Return how many frames there are."""
        return self._count

    def add(self, frame: Rgb) -> None:
        """Add a frame, RGB, (H, W, 3), uint8.

        Raises:
            PictureError: the temporary folder is full.
        """
        write_picture(_frame_file(Path(self._folder.name), self._count), Picture(rgb=frame))
        self._count += 1

    def write(self) -> Path:
        """Write the animation, whole or not at all; return its path.

        Raises:
            ImpastoError: no frame was added.
            PictureError: it cannot be written.
        """
        if not self._count:
            raise ImpastoError(f"{self.path}: there is no frame to make an animation of")
        frames = _Frames(Path(self._folder.name), self._count)
        write_animation(self.path, frames, frame_ms=self._frame_ms, hold_ms=self._hold_ms)
        return self.path


class _Frames(Sequence[Rgb]):
    """The frames on disk; one is in memory while it is used."""

    def __init__(self, folder: Path, count: int) -> None:
        self._folder, self._count = folder, count

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> Rgb: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[Rgb]: ...

    def __getitem__(self, index: int | slice) -> Rgb | Sequence[Rgb]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(index)
        return read_picture(_frame_file(self._folder, index % self._count)).rgb


def _frame_file(folder: Path, index: int) -> Path:
    return folder / f"{index:06d}.png"
