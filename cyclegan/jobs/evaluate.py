"""The whole evaluation, from options to a page and a JSON file."""

import csv
import io
import itertools
import json
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from impasto.cyclegan.evaluation.candidates import make_candidates, make_reference
from impasto.cyclegan.evaluation.inception import Inception, find_inception
from impasto.cyclegan.evaluation.page import (
    facts_of,
    sentences_of,
    write_evaluation,
)
from impasto.cyclegan.evaluation.sets import Extractor, Settings, fidelity, make_stroke_features
from impasto.cyclegan.evaluation.table import (
    SET_MEASURES,
    Candidate,
    Comparison,
    Evaluation,
    Pictures,
    Reference,
    Row,
    Sample,
    closed,
    evaluate,
)
from impasto.data.atomic import atomic_path
from impasto.data.decode import Picture
from impasto.data.encode import write_picture
from impasto.data.provenance import PREVIEWS_MARK
from impasto.data.transforms import limit_long_side
from impasto.gatys.features.lite import find_lite_weights, missing_lite_message
from impasto.gatys.features.weights import weights_folder
from impasto.options.errors import CheckpointError, FolderError, OptionError
from impasto.options.evaluate import EvaluateOptions
from impasto.options.fields import flatten
from impasto.runs.devices import choose_precision, computing
from impasto.runs.directory import lock_folder
from impasto.runs.pages.gallery import Strip
from impasto.runs.processes import pick_device

__all__ = [
    "EvaluateResult",
    "Networks",
    "as_csv",
    "as_json",
    "build_networks",
    "row_as_json",
    "run_evaluation",
]

_log = logging.getLogger(__name__)

_PAGE = "index.html"
_PICTURES = "pictures"

_SHOWN = 8  # inputs on the page, or pictures of a set
_SHOWN_CANDIDATES = 6
_SHOWN_PX = 768
_INPUT = "input"
_INPUTS = "inputs"
_REAL = "real pictures"


@dataclass(frozen=True, kw_only=True)
class EvaluateResult:
    """The result of an evaluation, and its files.

    Attributes:
        evaluation: rows of all sets.
        sentences: interpretation of the rows, in words.
        page: path of the page.
        results: path of the JSON file.
        table: path of the CSV file.
    """

    evaluation: Evaluation
    sentences: Sequence[str]
    page: Path
    results: Path
    table: Path


@dataclass(frozen=True, kw_only=True)
class Networks:
    """The networks that see the pictures.

    Attributes:
        extractor: feature extractor for KID, FID, precision and recall; None leaves them out.
        comparison: comparison for content and style distances; None leaves them out.
        note: sentence about what is missing, and how to get it; empty if nothing is.
    """

    extractor: Extractor | None = None
    comparison: Comparison | None = None
    note: str = ""

    @property
    def names(self) -> list[str]:
        """Names of the networks, with weights and layers."""
        return [part.name for part in (self.extractor, self.comparison) if part is not None]


def run_evaluation(
    candidates: Sequence[Path],
    options: EvaluateOptions,
    *,
    device: torch.device | None = None,
    networks: Networks | None = None,
    on_start: Callable[[int], None] = lambda _count: None,
    on_sample: Callable[[str], None] = lambda _row: None,
    on_row: Callable[[Row], None] = lambda _row: None,
) -> EvaluateResult:
    """Measure candidates; ``options.output`` gets ``results.json``, ``.csv`` and ``index.html``.

    Args:
        candidates: candidates: folders of results, run folders, files of generators, names of
            models, or, with styles, pictures.
        options: all options of the evaluation.
        device: device that networks compute on; the options' unless given.
        networks: networks that see the pictures, instead of those that the options name.
        on_start: called with the number of pictures in all sets together.
        on_sample: called for each picture with the name of its row.
        on_row: called with each row as soon as it is ready.

    Raises:
        CheckpointError: a model cannot be loaded.
        FolderError: a folder is missing, holds too few pictures, or cannot be written.
        ImpastoError: a package that KID and FID need is not installed, or another evaluation is
            writing to the same folder.
        OptionError: an option cannot be used here.
        PictureError: a picture cannot be read; leaving it out would change the numbers.
    """
    if device is None:
        device = pick_device(options.device)
    options = replace(options, mixed_precision=choose_precision(options.mixed_precision, device))
    if networks is None:
        networks = build_networks(options, device)
    strokes = None if options.real is None else make_stroke_features(device)
    if strokes is None and options.best_by == "strokes":
        raise OptionError("best_by", f"strokes cannot be measured: {missing_lite_message()}")
    _check_output(options, candidates)
    reference = make_reference(options)
    made = make_candidates(candidates, options, device=device)
    sets = [reference.real, reference.others, *(candidate.pictures for candidate in made)]
    sets += [style.pictures for style in reference.styles]
    counted = [pictures for pictures in (*sets, reference.inputs) if pictures is not None]
    if networks.extractor is not None and reference.real is not None:
        alone = _holding_one(reference, made, options)
        if alone and (options.backbone, options.weights) != ("auto", None):
            raise FolderError(
                Path(alone[0]),
                "holds one picture; KID and FID compare two or more with two or more",
            )
    busy = "another evaluation is writing there; wait for it, or choose another --output"
    with (
        computing(threads=options.threads),
        lock_folder(options.output, busy),
        _folder_of_pictures(options.output) as folder,
    ):
        shown = _Shown(folder)
        on_start(sum(map(len, counted)))
        evaluation = evaluate(
            shown.watch_reference(reference),
            shown.watch_candidates(made),
            settings=Settings(size_px=options.size_px, patches=options.patches, seed=options.seed),
            extractor=networks.extractor,
            strokes=strokes,
            comparison=networks.comparison,
            best_by=_best_by(options, networks),
            on_sample=lambda row, _sample: on_sample(row),
            on_row=on_row,
        )
        return _write(evaluation, options, made, networks=networks, strips=shown.strips())


def build_networks(options: EvaluateOptions, device: torch.device) -> Networks:
    """Make the networks that the options name; ``auto`` takes what there is.

    Raises:
        CheckpointError: weights are not found, damaged, or of another network.
        ImpastoError: a package that KID and FID need is not installed.
        OptionError: the network or the layer is unknown.
    """
    if options.backbone == "none":
        return Networks()
    from impasto.gatys.features.distances import (  # noqa: PLC0415 - only if asked
        make_comparison,
        make_extractor,
    )

    name, weights = options.backbone, options.weights
    lite = find_lite_weights() is not None
    if name == "auto" and weights is None:
        weights = None if options.layer else find_inception()
        name = "inception" if weights else "lite"
        if not (weights or lite):
            if options.styles:
                raise CheckpointError(missing_lite_message())
            note = f"KID, FID and content distances are left out: {missing_lite_message()}"
            return Networks(note=note)
    if options.real is not None:
        fidelity("metric_prc")  # its absence should show now, not after minutes
    if name != "inception":
        return Networks(
            extractor=make_extractor(name, weights, layer=options.layer, device=device),
            comparison=make_comparison(name, weights, device=device),
        )
    weights = weights or find_inception()
    if weights is None:
        raise OptionError(
            "weights",
            "missing; inception needs its file, weights-inception-2015-12-05-6726825d.pth of "
            f"torch-fidelity, here or in {weights_folder()} (Impasto downloads nothing)",
        )
    # Content and style are compared by maps, which Inception does not give.
    return Networks(
        extractor=Inception(weights, device=device),
        comparison=make_comparison("lite", device=device) if lite else None,
        note="" if lite else f"content distances are left out: {missing_lite_message()}",
    )


def _best_by(options: EvaluateOptions, networks: Networks) -> str | None:
    """Return the measure that decides; None leaves that to the table."""
    if options.best_by != "auto":
        return options.best_by
    asked = options.backbone != "auto" or options.weights is not None or options.layer
    published = networks.extractor is not None and not networks.extractor.short
    # What nobody asked for does not decide; docs/evaluating.md has how KID (lite) orders sets.
    return None if options.styles or asked or published else "swd"


def _write(
    evaluation: Evaluation,
    options: EvaluateOptions,
    candidates: Sequence[Candidate],
    *,
    networks: Networks,
    strips: Sequence[Strip],
) -> EvaluateResult:
    """Write numbers and page, all or none."""
    facts = facts_of(evaluation, options, networks.names, candidates)
    sentences = sentences_of(evaluation, candidates)
    if networks.note:
        sentences.append(f"{networks.note}.")
    results, page = options.output / "results.json", options.output / _PAGE
    table = options.output / "results.csv"
    with (
        atomic_path(page) as new_page,
        atomic_path(table) as new_table,
        atomic_path(results) as new_results,
    ):
        text = as_json(
            evaluation,
            options,
            facts=facts,
            sentences=sentences,
            extractor=networks.extractor.name if networks.extractor else None,
            comparison=networks.comparison.name if networks.comparison else None,
        )
        new_results.write_text(text, encoding="utf-8")
        new_table.write_text(as_csv(evaluation, networks.names), encoding="utf-8")
        write_evaluation(
            new_page,
            evaluation.rows,
            strips,
            best=evaluation.best if len(candidates) > 1 else None,
            shares=_shares(evaluation),
            sentences=sentences,
            facts=facts,
            headings=evaluation.headings,
        )
        # Between the renames there is no page, rather than one of other numbers.
        page.unlink(missing_ok=True)
    return EvaluateResult(
        evaluation=evaluation, sentences=sentences, page=page, results=results, table=table
    )


def as_json(
    evaluation: Evaluation,
    options: EvaluateOptions,
    *,
    facts: Mapping[str, str],
    sentences: Sequence[str],
    extractor: str | None,
    comparison: str | None = None,
) -> str:
    """Return all numbers as JSON; values that are not finite become null, as JSON has none.

    Measures of a network's features go by their headings, such as ``KID (lite)``.
    """
    content: dict[str, Any] = {
        "best_by": _key(evaluation.best_by, evaluation),
        "best": evaluation.best,
        "real_pictures": evaluation.real_pictures,
        "seed": options.seed,
        "extractor": extractor,
        "comparison": comparison,
        "rows": [row_as_json(evaluation, row) for row in evaluation.rows],
        "sentences": list(sentences),
        "facts": dict(facts),
        "options": flatten(options),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name need not be valid text.
    return text.encode("utf-8", "replace").decode("utf-8")


def row_as_json(evaluation: Evaluation, row: Row) -> dict[str, Any]:
    """Return the numbers of a row as JSON has them; values that are not finite become None."""
    shares = {
        _key(name, evaluation): closed(evaluation, row, name)
        for name in SET_MEASURES
        if name in row.values
    }
    values = {_key(name, evaluation): value for name, value in row.values.items()}
    return {
        "name": row.name,
        "kind": row.kind,
        "pictures": row.pictures,
        "paired": row.paired,
        "unequal": row.unequal,
        "enlarged": row.enlarged,
        **{name: value if math.isfinite(value) else None for name, value in values.items()},
        "closed": shares,
    }


def as_csv(evaluation: Evaluation, networks: Sequence[str]) -> str:
    """Return all numbers as a table for other programs, a line for each row.

    Args:
        evaluation: results of the evaluation.
        networks: names of the feature extractor and the comparison, for the last column.
    """
    names = dict.fromkeys(name for row in evaluation.rows for name in row.values)
    file = io.StringIO()
    table = csv.writer(file, lineterminator="\n")
    own = ("name", "kind", "pictures", "paired")
    table.writerow([*own, *(_key(name, evaluation) for name in names), "features"])
    for row in evaluation.rows:
        values = [repr(row.values[name]) if name in row.values else "" for name in names]
        table.writerow([row.name, row.kind, row.pictures, row.paired, *values, "; ".join(networks)])
    return file.getvalue().encode("utf-8", "replace").decode("utf-8")


def _key(measure: str, evaluation: Evaluation) -> str:
    """Name a measure in files: by its heading, where that says which network it is of."""
    of, _, what = measure.partition("_")
    heading = evaluation.headings.get(of, "")
    if "(" not in heading:
        return measure
    return f"{heading} {what}" if what else heading


def _check_output(options: EvaluateOptions, candidates: Sequence[Path]) -> None:
    """Refuse a folder where the page would mix with pictures, or write over another page."""
    output = options.output
    taken = [options.real, options.inputs, options.more_real, *options.styles, *candidates]
    for folder in taken:
        if folder is not None and folder.is_dir() and folder.resolve() == output.resolve():
            raise FolderError(output, "holds what is measured; choose another --output")
    pictures = output / _PICTURES
    foreign_page = (output / _PAGE).exists() and not (output / "results.json").exists()
    foreign_pictures = pictures.exists() and not (pictures / PREVIEWS_MARK).exists()
    if foreign_page or foreign_pictures:
        found = "an index.html" if foreign_page else "a folder 'pictures'"
        raise FolderError(
            output, f"holds {found} that is of no evaluation; choose another --output"
        )


@contextmanager
def _folder_of_pictures(output: Path) -> Iterator[Path]:
    """Give an empty folder for pictures; at the end, only those on the page are left.

    So the pictures of an earlier evaluation stay as long as its page does, and those of one that
    ends early go.

    Raises:
        FolderError: it cannot be made.
    """
    pictures = output / _PICTURES
    try:
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / PREVIEWS_MARK).touch()
        taken = [int(path.name) for path in pictures.iterdir() if path.name.isdecimal()]
        folder = pictures / str(max(taken, default=0) + 1)
        folder.mkdir()
    except OSError as error:
        raise FolderError(output, f"cannot be written ({error.strerror})") from error
    try:
        yield folder
    finally:
        with suppress(OSError):
            _forget_what_is_not_shown(output)


def _forget_what_is_not_shown(output: Path) -> None:
    page = output / _PAGE
    html = page.read_bytes() if page.exists() else b""
    for folder in (output / _PICTURES).iterdir():
        if folder.name.isdecimal() and f'"{_PICTURES}/{folder.name}/'.encode() not in html:
            shutil.rmtree(folder, ignore_errors=True)


def _holding_one(
    reference: Reference, candidates: Sequence[Candidate], options: EvaluateOptions
) -> list[str]:
    """Return the names of sets of one picture, which have neither KID nor FID."""
    sets = {
        str(options.real): reference.real,
        str(options.more_real): reference.others,
        str(options.inputs): reference.inputs,
        **{candidate.name: candidate.pictures for candidate in candidates},
    }
    return [name for name, pictures in sets.items() if pictures is not None and len(pictures) < 2]


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


class _Watched:
    """A set of pictures that shows each as it is read, and holds the first for a strip of its own.

    Attributes:
        heading: heading of the set on the page.
        judged: whether the set is a candidate.
        first: reduced pictures by name; empty where the set stands beside inputs.
        beside_inputs: whether the set's pictures are shown beside their inputs.
    """

    def __init__(
        self,
        heading: str,
        pictures: Pictures,
        see: "Callable[[_Watched, Sample], None]",
        *,
        judged: bool,
    ) -> None:
        self.heading = heading
        self.judged = judged
        self.first: dict[str, NDArray[np.uint8]] = {}
        self.beside_inputs = False
        self._pictures = pictures
        self._see = see

    def __len__(self) -> int:
        return len(self._pictures)

    def __iter__(self) -> Iterator[Sample]:
        for sample in self._pictures:
            self._see(self, sample)
            yield sample


class _Shown:
    """Chooses and keeps what the page shows.

    Styles come first, then results beside their inputs. Where a candidate has none of those on the
    page, it gets a strip of its own, and so do the real pictures and the inputs, for the eye to
    compare sets.
    """

    def __init__(self, folder: Path) -> None:
        self._files = (folder / f"{number:03}.png" for number in itertools.count())
        self._by_input: dict[str, dict[str, Path]] = {}
        self._sets: list[_Watched] = []
        self._styles: dict[str, Path] = {}

    def watch_reference(self, reference: Reference) -> Reference:
        """Return the same sets, watched."""
        real, inputs = (
            None if pictures is None else self._watch(heading, pictures, judged=False)
            for heading, pictures in ((_REAL, reference.real), (_INPUTS, reference.inputs))
        )
        styles = [
            replace(
                style,
                pictures=_Watched(style.name, style.pictures, self._see_style, judged=False),
            )
            for style in reference.styles
        ]
        return replace(reference, real=real, inputs=inputs, styles=styles)

    def watch_candidates(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """Return the same candidates, the first few watched."""
        watched = []
        for candidate in candidates[:_SHOWN_CANDIDATES]:
            name = candidate.name
            # Else it would take the place of what is compared with it.
            heading = f"{name} (results)" if name in {_INPUT, _INPUTS, _REAL} else name
            pictures = self._watch(heading, candidate.pictures, judged=True)
            watched.append(replace(candidate, pictures=pictures))
        return [*watched, *candidates[_SHOWN_CANDIDATES:]]

    def strips(self) -> list[Strip]:
        """Return what is shown."""
        strips = [Strip(name="styles", pictures=self._styles)] if self._styles else []
        strips += [Strip(name=name, pictures=files) for name, files in self._by_input.items()]
        alone = [pictures for pictures in self._sets if pictures.first]
        if any(pictures.judged for pictures in alone):
            for pictures in alone:
                files = {name: self._write(rgb) for name, rgb in pictures.first.items()}
                strips.append(Strip(name=f"{pictures.heading}: first pictures", pictures=files))
        return strips

    def _watch(self, heading: str, pictures: Pictures, *, judged: bool) -> _Watched:
        self._sets.append(_Watched(heading, pictures, self._see, judged=judged))
        return self._sets[-1]

    def _see_style(self, pictures: _Watched, sample: Sample) -> None:
        """Keep the first picture of each style."""
        if pictures.heading not in self._styles and len(self._styles) < _SHOWN:
            self._styles[pictures.heading] = self._write(sample.picture)

    def _see(self, pictures: _Watched, sample: Sample) -> None:
        """Keep a picture, if it may be shown."""
        named = sample.style and len(self._styles) > 1
        heading = f"{pictures.heading}: {sample.style}" if named else pictures.heading
        if sample.before is not None and self._add_to_input(heading, sample, sample.before):
            pictures.beside_inputs = True
            pictures.first.clear()
        elif not pictures.beside_inputs and len(pictures.first) < _SHOWN:
            pictures.first[sample.name] = limit_long_side(sample.picture, _SHOWN_PX)

    def _add_to_input(self, heading: str, sample: Sample, before: NDArray[np.uint8]) -> bool:
        """Show a result beside its input, if that is shown, or can still be."""
        if sample.name not in self._by_input:
            if len(self._by_input) >= _SHOWN:
                return False
            self._by_input[sample.name] = {_INPUT: self._write(before)}
        self._by_input[sample.name][heading] = self._write(sample.picture)
        return True

    def _write(self, rgb: NDArray[np.uint8]) -> Path:
        path = next(self._files)
        write_picture(path, Picture(rgb=limit_long_side(rgb, _SHOWN_PX)))
        return path
