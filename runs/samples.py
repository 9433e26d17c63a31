"""Sample pictures of a training, under the reference's file names."""

import re
from collections.abc import Mapping
from pathlib import Path

from impasto.data.decode import Picture
from impasto.data.encode import write_picture
from impasto.runs.observers import Observer, Pictures, Progress

__all__ = ["SamplePictures", "list_samples", "sample_file"]

_NAME = re.compile(r"epoch(\d{3,})_(\w+)\.png")


class SamplePictures(Observer):
    """Writes ``epoch007_fake_B.png`` and so on; later samples of an epoch replace earlier ones.

    Args:
        folder: where to, e.g. ``web/images`` of a run directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_start(self, progress: Progress) -> None:
        """Remove the samples of epochs that are yet to come, from an earlier start of the run."""
        for epoch, files in list_samples(self._folder).items():
            if epoch > progress.epoch or progress.images == 0:
                for file in files.values():
                    file.unlink(missing_ok=True)

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        """Write the pictures."""
        for name, rgb in samples.items():
            write_picture(sample_file(self._folder, progress.epoch, name), Picture(rgb=rgb))


def sample_file(folder: Path, epoch: int, name: str) -> Path:
    """Return the file of a sample, e.g. ``epoch007_fake_B.png``."""
    return folder / f"epoch{epoch:03d}_{name}.png"


def list_samples(folder: Path) -> Mapping[int, Mapping[str, Path]]:
    """Return the samples in a folder: epoch -> name -> file, in order of epochs."""
    found: dict[int, dict[str, Path]] = {}
    for file in sorted(folder.glob("epoch*.png")):
        match = _NAME.fullmatch(file.name)
        if match:
            found.setdefault(int(match[1]), {})[match[2]] = file
    return dict(sorted(found.items()))
