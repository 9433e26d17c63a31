"""The whole evaluation, from options to a page and a JSON file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from giverny.cyclegan.candidates import make_candidates, make_reference
from giverny.cyclegan.evaluation import (
    SET_MEASURES,
    Candidate,
    Evaluation,
    Reference,
    Row,
    Sample,
    closed,
    evaluate,
)
from giverny.cyclegan.evaluation_words import as_json, facts_of, sentences_of
from giverny.cyclegan.picture_sets import Extractor, Settings
from giverny.data.atomic import write_text_atomic
from giverny.data.decode import Picture
from giverny.data.encode import write_picture
from giverny.data.files import PREVIEWS_MARK
from giverny.data.transforms import resize
from giverny.options.errors import FolderError
from giverny.options.evaluate import EvaluateOptions
from giverny.runs.evaluation_page import Strip, write_evaluation

__all__ = ["EvaluateResult", "run_evaluation"]

_SHOWN = 8  # inputs on the page
_SHOWN_CANDIDATES = 6
_SHOWN_PX = 768


@dataclass(frozen=True, kw_only=True)
class EvaluateResult:
    """What was measured and written.

    Attributes:
        evaluation: all rows.
        sentences: what they say, in words.
        page: the page.
        results: the JSON file.
    """

    evaluation: Evaluation
    sentences: Sequence[str]
    page: Path
    results: Path


def run_evaluation(
    candidates: Sequence[Path],
    options: EvaluateOptions,
    *,
    device: torch.device,
    extractor: Extractor | None = None,
    on_start: Callable[[int], None] = lambda _count: None,
    on_sample: Callable[[str], None] = lambda _row: None,
    on_row: Callable[[Row], None] = lambda _row: None,
) -> EvaluateResult:
    """Measure candidates and write ``results.json`` and ``index.html`` into ``options.output``.

    Args:
        candidates: folders of results, run folders, files of generators, names of models.
        options: all options.
        device: where generators compute.
        extractor: of features for KID and FID.
        on_start: told how many pictures there are, in all sets together.
        on_sample: told the name of its row at each picture.
        on_row: told each row as it is ready.

    Raises:
        CheckpointError: a model cannot be loaded.
        FolderError: a folder is missing, holds too few pictures, or cannot be written.
        OptionError: an option cannot be used here.
        PictureError: a picture cannot be read; leaving it out would change the numbers.
    """
    _check_output(options, candidates)
    reference = make_reference(options)
    made = make_candidates(candidates, options, device=device)
    sets = [reference.real, reference.others, *(candidate.pictures for candidate in made)]
    if reference.inputs is not None:
        sets.append(reference.inputs)
    if extractor is not None:
        _check_counts(reference, made, options)
    shown = _Shown(_make_folder(options.output), reference, made)
    on_start(sum(map(len, sets)))

    def see(row: str, sample: Sample) -> None:
        shown.see(row, sample)
        on_sample(row)

    evaluation = evaluate(
        reference,
        made,
        settings=Settings(size_px=options.size_px, patches=options.patches, seed=options.seed),
        extractor=extractor,
        best_by=None if options.best_by == "auto" else options.best_by,
        on_sample=see,
        on_row=on_row,
    )
    name = None if extractor is None else extractor.name
    facts = facts_of(evaluation, options, name, made)
    sentences = sentences_of(evaluation, made)
    results, page = options.output / "results.json", options.output / "index.html"
    text = as_json(evaluation, options, facts=facts, sentences=sentences, extractor=name)
    write_text_atomic(results, text)
    write_evaluation(
        page,
        evaluation.rows,
        shown.strips(),
        best=evaluation.best if len(made) > 1 else None,
        shares=_shares(evaluation),
        sentences=sentences,
        facts=facts,
    )
    return EvaluateResult(evaluation=evaluation, sentences=sentences, page=page, results=results)


def _check_output(options: EvaluateOptions, candidates: Sequence[Path]) -> None:
    """Refuse a folder where the page would mix with pictures, or write over another page."""
    output = options.output
    taken = [options.real, options.inputs, options.more_real, *candidates]
    for folder in taken:
        if folder is not None and folder.is_dir() and folder.resolve() == output.resolve():
            raise FolderError(output, "holds what is measured; choose another --output")
    pictures = output / "pictures"
    foreign_page = (output / "index.html").exists() and not (output / "results.json").exists()
    foreign_pictures = pictures.exists() and not (pictures / PREVIEWS_MARK).exists()
    if foreign_page or foreign_pictures:
        found = "an index.html" if foreign_page else "a folder 'pictures'"
        raise FolderError(
            output, f"holds {found} that is of no evaluation; choose another --output"
        )


def _make_folder(output: Path) -> Path:
    """Make the output folder, and forget the pictures of an earlier evaluation."""
    pictures = output / "pictures"
    try:
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / PREVIEWS_MARK).touch()
        for earlier in pictures.glob("[0-9][0-9]_*.png"):
            earlier.unlink()
    except OSError as error:
        raise FolderError(output, f"cannot be written ({error.strerror})") from error
    return pictures


def _check_counts(
    reference: Reference, candidates: Sequence[Candidate], options: EvaluateOptions
) -> None:
    sets = {str(options.real): reference.real, str(options.more_real): reference.others}
    if reference.inputs is not None:
        sets[str(options.inputs)] = reference.inputs
    sets |= {candidate.name: candidate.pictures for candidate in candidates}
    for name, pictures in sets.items():
        if len(pictures) < 2:
            raise FolderError(
                Path(name), "holds one picture; KID and FID compare two or more with two or more"
            )


def _shares(evaluation: Evaluation) -> dict[str, dict[str, float]]:
    """Return how far each result has come, by row and measure."""
    return {
        row.name: {
            measure: share
            for measure in SET_MEASURES
            if measure in row.values and (share := closed(evaluation, row, measure)) is not None
        }
        for row in evaluation.results
    }


class _Shown:
    """Keeps, for the page, the first few inputs and what the first few candidates made of them."""

    def __init__(self, folder: Path, reference: Reference, candidates: Sequence[Candidate]) -> None:
        self._folder = folder
        self._rows = ["do nothing", *(row.name for row in candidates[:_SHOWN_CANDIDATES])]
        self._inputs = reference.inputs is not None
        self._found: dict[str, dict[str, Path]] = {}

    def see(self, row: str, sample: Sample) -> None:
        """Write a picture, if it is to be shown."""
        if not self._inputs or row not in self._rows:
            return
        first = row == self._rows[0]
        if first and len(self._found) < _SHOWN:
            self._found[sample.name] = {}
        if sample.name not in self._found or (not first and sample.before is None):
            return
        place = list(self._found).index(sample.name)
        path = self._folder / f"{place:02}_{self._rows.index(row)}.png"
        write_picture(path, Picture(rgb=_smaller(sample.picture)))
        self._found[sample.name]["input" if first else row] = path

    def strips(self) -> list[Strip]:
        """Return what was written."""
        return [Strip(name=name, pictures=pictures) for name, pictures in self._found.items()]


def _smaller(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    scale = _SHOWN_PX / max(height, width)
    if scale >= 1:
        return rgb
    return resize(rgb, max(1, round(height * scale)), max(1, round(width * scale)))
