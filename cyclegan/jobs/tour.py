"""`impasto demo`: a training on two domains that can be drawn, its true distance, and the page.

For the sample domains the true translation of every photograph is known, so that the training can
be measured. The page has a chapter for each thing that the demo did, with pictures and numbers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from dominate import tags
from numpy.typing import NDArray

from impasto.cyclegan.build import build_networks
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.train import train
from impasto.cyclegan.models import find_generator
from impasto.cyclegan.networks import Generator
from impasto.data.decode import read_picture
from impasto.data.files import list_pictures
from impasto.data.metrics.paired import Comparison, compare
from impasto.data.samples.domains import SampleDomains
from impasto.data.tensors import to_pictures, to_tensor
from impasto.options.train import TrainOptions
from impasto.runs.job import TrainResult
from impasto.runs.observers import Observer
from impasto.runs.pages.gallery import BeforeAfter, Strip, draw_pairs, draw_strip
from impasto.runs.pages.page import page, relative_url, write_page
from impasto.runs.state import make_generator

__all__ = ["Chapter", "TourResult", "measure_table", "run_tour", "write_tour"]


Pictures = dict[str, NDArray[np.uint8]]


@dataclass(frozen=True, kw_only=True)
class TourResult:
    """The result of the demo's training.

    Attributes:
        training: how the training ended.
        comparisons: how far from the true paintings of the held-out photographs are: the
            ``photographs`` themselves, the translations ``before training`` and ``after training``.
        photographs: the held-out photographs.
        translations: translations of the photographs by the trained generator.
        truth: true paintings of the photographs.
    """

    training: TrainResult
    comparisons: dict[str, Comparison]
    photographs: Pictures
    translations: Pictures
    truth: Pictures


def run_tour(
    domains: SampleDomains, options: TrainOptions, *, observers: Sequence[Observer] = ()
) -> TourResult:
    """Train on the sample domains and compare the translations of held-out photographs.

    Nothing of the training sees the held-out pictures, and nothing was chosen by them: the
    recipe of the demo was found on the validation set.

    Args:
        domains: folders of both domains; A are paintings, B photographs.
        options: options of the training.
        observers: observers of the training.

    Raises:
        ImpastoError: see :func:`impasto.cyclegan.train`.
    """
    photographs, truth = _read(domains.testB), _read(domains.testB_painted)
    generator = make_generator(options.run.seed, "weights")
    untrained = build_networks(options.networks, generator=generator)["G_B"]
    assert isinstance(untrained, Generator)  # noqa: S101 - for mypy
    before = _translate(photographs, untrained)
    training = train(options, observers=observers)
    trained = find_generator(training.directory, direction="BtoA").network
    after = _translate(photographs, trained)
    return TourResult(
        training=training,
        comparisons={
            "photographs": compare(photographs, truth),
            "before training": compare(before, truth),
            "after training": compare(after, truth),
        },
        photographs=photographs,
        translations=after,
        truth=truth,
    )


def _read(folder: Path) -> Pictures:
    return {path.name: read_picture(path).rgb for path in list_pictures(folder)}


def _translate(pictures: Pictures, network: Generator) -> Pictures:
    translate: Callable[[torch.Tensor], torch.Tensor] = Translator(
        network, device=torch.device("cpu")
    )
    return {
        name: to_pictures(translate(to_tensor(rgb).unsqueeze(0)))[0]
        for name, rgb in pictures.items()
    }


# Field of Comparison -> how to call it, and which way is better.
_MEASURES = {
    "mean_absolute_error": ("mean absolute error (0-255)", "lower"),
    "color_distance": ("color distance (CIEDE2000)", "lower"),
    "palette_distance": ("palette distance (Lab)", "lower"),
    "psnr": ("PSNR of luminance (dB)", "higher"),
    "ssim": ("SSIM of luminance", "higher"),
    "edge_correlation": ("edge correlation", "higher"),
}


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """One chapter of the page, about one step of the demo.

    Attributes:
        heading: heading of the chapter.
        text: description in one or two sentences.
        pairs: pictures before and after, each with a slider.
        strips: strips of pictures.
        comparisons: columns of a table of measures, by heading.
        links: files to open, by the text of the link.
        commands: commands that do the same, to be copied.
    """

    heading: str
    text: str
    pairs: Sequence[BeforeAfter] = ()
    strips: Sequence[Strip] = ()
    comparisons: Mapping[str, Comparison] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)
    commands: Sequence[str] = ()


def write_tour(path: Path, chapters: Sequence[Chapter], *, title: str, description: str) -> None:
    """Write the page.

    Args:
        path: ``.html`` file to write; its folder must exist.
        chapters: chapters in their order.
        title: heading of the page.
        description: one sentence under the heading.

    Raises:
        OSError: the folder cannot be written.
    """
    document = page(title, description=description)
    for chapter in chapters:
        _add_chapter(document.main, chapter, path.parent)
    write_page(path, document)


def _add_chapter(parent: tags.html_tag, chapter: Chapter, folder: Path) -> None:
    section = parent.add(tags.section(cls="chapter"))
    section.add(tags.h2(chapter.heading))
    section.add(tags.p(chapter.text))
    if chapter.pairs:
        section.add(draw_pairs(chapter.pairs, folder))
    if chapter.strips:
        strips = section.add(tags.div(cls="strips"))
        for strip in chapter.strips:
            strips.add(draw_strip(strip, folder))
    if chapter.comparisons:
        section.add(tags.div(cls="measures-frame")).add(_table(chapter.comparisons))
    if chapter.links:
        links = section.add(tags.p(cls="chapter-links"))
        for name, file in chapter.links.items():
            links.add(tags.a(name, href=relative_url(file, folder)))
    for command in chapter.commands:
        # A long one is slid sideways, by keys, too; one click selects all of it.
        section.add(tags.pre(tags.code(command), cls="command", tabindex="0"))


def measure_table(comparisons: Mapping[str, Comparison]) -> str:
    """Return the table as text, for a terminal."""
    lines = [" " * 30 + "".join(f"{name:>17}" for name in comparisons) + "   better"]
    for measure, (label, better) in _MEASURES.items():
        cells = "".join(f"{row.as_dict()[measure]:17.3f}" for row in comparisons.values())
        lines.append(f"{label:<30}{cells}   {better}")
    return "\n".join(lines)


def _table(comparisons: Mapping[str, Comparison]) -> tags.html_tag:
    table = tags.table(cls="measures")
    head = table.add(tags.thead()).add(tags.tr())
    head.add(tags.th("\u2193 lower, \u2191 higher is better", scope="col"))
    for name in comparisons:
        head.add(tags.th(name, scope="col"))
    body = table.add(tags.tbody())
    for measure, (label, better) in _MEASURES.items():
        line = body.add(tags.tr())
        arrow = {"lower": "\u2193", "higher": "\u2191"}[better]
        line.add(tags.th(f"{label} {arrow}", scope="row", title=f"{better} is better"))
        for comparison in comparisons.values():
            line.add(tags.td(f"{comparison.as_dict()[measure]:#.3g}"))
    return table
