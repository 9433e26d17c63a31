"""Losses, speed and samples of a training as files that TensorBoard shows."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from impasto.options.errors import OptionError
from impasto.runs.observers import Observer, Pictures, Progress

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

__all__ = ["TensorBoardDisplay"]


class TensorBoardDisplay(Observer):
    """Writes ``loss/<name>``, the learning rate, the speed, the waiting, and ``samples/<name>``.

    A step of TensorBoard is one picture of each domain. When a run is resumed, TensorBoard hides
    the reports of the interrupted part beyond the point of resumption.

    Args:
        folder: folder for the files, for example ``tensorboard`` in a run directory; created when
            training starts. The one above it, which may have been removed, is not.

    Raises:
        OptionError: tensorboard is not installed.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard.writer import SummaryWriter  # noqa: PLC0415 - an extra
        except ImportError as error:
            raise OptionError(
                "display",
                "tensorboard is not installed; leave it out, or install it with\n"
                '  pip install "impasto[tensorboard]"',
            ) from error
        self._make_writer = SummaryWriter
        self._folder = folder
        self._writer: SummaryWriter | None = None
        self._purge_step: int | None = None

    def on_start(self, progress: Progress) -> None:
        """Remember from where on earlier reports no longer count."""
        self._purge_step = progress.images + 1

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        """Write the numbers."""
        numbers = {f"loss/{name}": value for name, value in record["losses"].items()}
        numbers |= {f"score/{name}": value for name, value in record.get("scores", {}).items()}
        for name in ("learning_rate", "images_per_second", "data_wait"):
            numbers[name] = record[name]
        with self._writing() as writer:
            for name, value in numbers.items():
                writer.add_scalar(name, value, progress.images)

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        """Write the pictures."""
        with self._writing() as writer:
            for name, rgb in samples.items():
                writer.add_image(f"samples/{name}", rgb, progress.images, dataformats="HWC")

    def on_end(self, progress: Progress, error: str | None = None) -> None:  # noqa: ARG002
        """Close the file."""
        if self._writer is not None:
            self._writer.close()

    @contextmanager
    def _writing(self) -> Iterator["SummaryWriter"]:
        """Give the writer, which starts a thread; one that has failed is replaced by a new one."""
        writer, self._writer = self._writer, None
        if writer is None:
            self._folder.mkdir(exist_ok=True)
            writer = self._make_writer(str(self._folder), purge_step=self._purge_step)
        yield writer
        writer.flush()
        self._writer, self._purge_step = writer, None
