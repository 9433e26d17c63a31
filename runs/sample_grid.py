"""The samples of a training in a grid, with a slider over all epochs.

The page holds the newest pictures and the list of the epochs; ``report.js`` loads those of an older
epoch by their file names when the reader asks for it. So the page does not grow.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dominate import tags

from impasto.data.decode import read_size
from impasto.options.errors import PictureError
from impasto.runs.observers import Pictures, Progress
from impasto.runs.page import relative_url
from impasto.runs.samples import list_samples, sample_file

__all__ = ["SampleGrid"]

# The reference's names: a row for each domain, with what a network makes of a picture of it.
_ROWS = (("real_A", "fake_B", "rec_A", "idt_B"), ("real_B", "fake_A", "rec_B", "idt_A"))
_MEANINGS = {
    "real": "input",
    "fake": "translated",
    "rec": "and back",
    "idt": "identity",
    "hardest": "held out, high loss",
    "training": "as learnt from",
}


@dataclass(kw_only=True)
class SampleGrid:
    """Knows which epochs have samples, and the newest of them.

    Attributes:
        folder: where the pictures lie.
        runs: epochs that have samples, as first and last of runs of consecutive ones.
        sizes: width and height of the newest samples in pixels, by name.
        version: pictures seen when the newest were made: they are rewritten within an epoch.
    """

    folder: Path
    runs: list[tuple[int, int]] = field(default_factory=list)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    version: int = 0

    def restore(self, progress: Progress) -> None:
        """Take up what lies in the folder."""
        samples = list_samples(self.folder)
        # An epoch that lacks one, after a full disk say, would be shown with a hole.
        names = {name for files in samples.values() for name in files}
        samples = {epoch: files for epoch, files in samples.items() if names <= set(files)}
        for epoch in samples:
            self._add_epoch(epoch)
        if samples:
            self.sizes = _sizes(samples[self.runs[-1][1]])
            self.version = progress.images

    def add(self, progress: Progress, samples: Pictures) -> None:
        """Take up new samples; the files must have been written."""
        self._add_epoch(progress.epoch)
        self.sizes = {name: (rgb.shape[1], rgb.shape[0]) for name, rgb in samples.items()}
        self.version = progress.images

    def section(self, page_folder: Path) -> tags.html_tag:
        """Return the section of a page in ``page_folder``."""
        section = tags.section(id="samples")
        head = section.add(tags.div(tags.h2("Samples"), cls="section-head"))
        if not self.sizes:
            section.add(tags.p("None yet.", cls="hint"))
            return section
        head.add(self._slider(page_folder))
        newest = self.runs[-1][1]
        for row in _rows(list(self.sizes)):
            cells = [self._cell(name, newest, page_folder) for name in row]
            section.add(tags.div(cells, cls="samples"))
        return section

    def _add_epoch(self, epoch: int) -> None:
        first, last = self.runs[-1] if self.runs else (epoch, epoch - 1)
        if epoch == last + 1:
            self.runs[-1:] = [(first, epoch)]
        elif epoch > last:
            self.runs.append((epoch, epoch))

    def _slider(self, page_folder: Path) -> tags.html_tag:
        count = sum(last - first + 1 for first, last in self.runs)
        newest = self.runs[-1][1]
        slider = tags.input_(
            type="range",
            id="epoch",
            min="0",
            max=str(count - 1),
            value=str(count - 1),
            autocomplete="off",
            aria_valuetext=f"epoch {newest}",
            data_epochs=",".join(f"{first}-{last}" for first, last in self.runs),
            data_folder=f"{relative_url(self.folder, page_folder)}/",
        )
        label = tags.label("Epoch ", tags.b(str(newest)), html_for="epoch")
        if count < 2:
            return tags.div(label, cls="epochs")
        slider_and_button = tags.span(
            slider,
            tags.button("Play", type="button", id="play", aria_label="Play the epochs"),
            cls="needs-js",
        )
        return tags.div(label, slider_and_button, cls="epochs")

    def _cell(self, name: str, epoch: int, page_folder: Path) -> tags.html_tag:
        file = relative_url(sample_file(self.folder, epoch, name), page_folder)
        source = f"{file}?images={self.version}"
        width, height = self.sizes[name]
        meaning = _MEANINGS.get(name.rsplit("_", 1)[0], "")
        image = tags.img(
            src=source, alt=f"{name} {meaning}".strip(), width=width, height=height, data_name=name
        )
        caption = tags.figcaption(tags.span(name), tags.small(meaning) if meaning else "")
        return tags.figure(tags.a(image, href=source), caption)


def _rows(names: list[str]) -> list[list[str]]:
    """Share the names out to the rows of the reference, and one more for what it does not know."""
    known = [[name for name in row if name in names] for row in _ROWS]
    others = [name for name in names if not any(name in row for row in _ROWS)]
    return [row for row in (*known, others) if row]


def _sizes(files: Mapping[str, Path]) -> dict[str, tuple[int, int]]:
    """Read the sizes of pictures; leaves out what cannot be read."""
    sizes = {}
    for name, file in files.items():
        try:
            sizes[name] = read_size(file)
        except PictureError:
            continue
    return sizes
