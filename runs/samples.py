"""Sample pictures of a training, under the reference's file names."""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from giverny.data.decode import Picture
from giverny.data.encode import write_picture
from giverny.data.tensors import to_pictures
from giverny.runs.observers import Observer, Progress

__all__ = ["SamplePictures"]


class SamplePictures(Observer):
    """Writes ``epoch007_fake_B.png`` and so on; later samples of an epoch replace earlier ones.

    Args:
        folder: where to, e.g. ``web/images`` of a run directory.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def on_samples(self, progress: Progress, samples: Mapping[str, Tensor]) -> None:
        """Write the first picture of each sample."""
        for name, images in samples.items():
            picture = Picture(rgb=to_pictures(images[:1])[0], alpha=None)
            write_picture(self._folder / f"epoch{progress.epoch:03d}_{name}.png", picture)
