"""All measures of results: how close they are to a domain, and to their inputs.

Every number stands beside two references: the untouched inputs ("do nothing") and other real
pictures ("floor").
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np

from impasto.cyclegan.evaluation.sets import (
    Extractor,
    PictureSet,
    Settings,
    compare_sets,
    summarize,
)
from impasto.cyclegan.evaluation.strokes import StrokeFeatures, times_floor
from impasto.data.decode import Rgb
from impasto.data.metrics.paired import edge_correlation, psnr, ssim

__all__ = [
    "BIASED",
    "SET_MEASURES",
    "Candidate",
    "Evaluation",
    "Pictures",
    "Reference",
    "Row",
    "Sample",
    "closed",
    "evaluate",
    "is_blind",
    "same_size",
]

SET_MEASURES = ("swd", "strokes", "kid", "fid", "palette")
"""Measures that say how far a set is from the real one; lower is nearer."""

BIASED = ("swd", "strokes", "fid", "palette")
"""Those of them that are larger for fewer pictures."""

_SAME_SIZE = 0.9  # from here on two sets' sizes, and so their biases, are taken for equal

_Kind = Literal["nothing", "floor", "result"]
_SMALLEST_PX = 11  # of SSIM


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture of a set; all are RGB, (H, W, 3), uint8.

    Attributes:
        picture: picture that is measured.
        before: input of the picture; None if unknown.
        back: the picture translated back by the generator of the other direction; None if there is
            none.
        name: name of the input's file or, where the input is unknown, of the picture's own file.
    """

    picture: Rgb
    before: Rgb | None = None
    back: Rgb | None = None
    name: str = ""


class Pictures(Protocol):
    """An iterable set of samples of known length, such as a list."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Sample]: ...


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Results that are measured.

    Attributes:
        name: heading of the candidate's row, unique among candidates.
        pictures: results, with their inputs where these are known.
        what: origin of the results, in words.
        notes: sentences that a reader of the numbers must know.
    """

    name: str
    pictures: Pictures
    what: str = ""
    notes: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The sets that results are compared with.

    Attributes:
        real: real pictures that all sets are compared with.
        others: further real pictures, which show how close real pictures are to one another.
        inputs: input pictures of the results; None if unknown.
    """

    real: Pictures
    others: Pictures
    inputs: Pictures | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """All measures of one set.

    Attributes:
        name: heading of the row.
        kind: kind of set: ``nothing`` (the untouched inputs), ``floor`` (other real pictures) or
            ``result``.
        pictures: number of pictures.
        paired: number of pictures compared with their inputs, which must be known, of the same
            size, and at least 11 x 11 pixels.
        unequal: number of pictures whose input has a different size.
        enlarged: number of pictures smaller than the squares in which sets are compared.
        values: measures by name: ``swd``, ``swd_256``, ..., ``palette``, ``grid_2``, ``grid_4``;
            with an extractor also ``kid``, ``kid_spread``, ``fid``; with stroke features
            ``strokes``, a multiple of the floor's, and ``strokes_1``, ...; for results also
            ``ssim``, ``psnr``, ``edges`` (means over the paired pictures) and ``cycle_ssim``.
    """

    name: str
    kind: _Kind
    pictures: int
    paired: int
    unequal: int
    enlarged: int
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Rows of all sets, the references first.

    Attributes:
        rows: ``nothing`` (if the inputs are known), ``floor``, then the candidates in their order.
        real_pictures: number of real pictures that all sets were compared with.
        real_enlarged: number of real pictures smaller than the squares.
        best_by: measure that determines the best candidate.
        best: name of the candidate with the lowest value of that measure; None if no value is
            finite, or if the measure is blind.
    """

    rows: Sequence[Row]
    real_pictures: int
    real_enlarged: int
    best_by: str
    best: str | None

    @property
    def nothing(self) -> Row | None:
        """The untouched inputs, None if they are unknown."""
        return next((row for row in self.rows if row.kind == "nothing"), None)

    @property
    def floor(self) -> Row:
        """Other real pictures."""
        return next(row for row in self.rows if row.kind == "floor")

    @property
    def results(self) -> Sequence[Row]:
        """The candidates."""
        return [row for row in self.rows if row.kind == "result"]


def evaluate(  # noqa: PLR0913
    reference: Reference,
    candidates: Sequence[Candidate],
    *,
    settings: Settings | None = None,
    extractor: Extractor | None = None,
    strokes: StrokeFeatures | None = None,
    best_by: str | None = None,
    on_sample: Callable[[str, Sample], None] = lambda _row, _sample: None,
    on_row: Callable[[Row], None] = lambda _row: None,
) -> Evaluation:
    """Measure candidates and both references.

    Args:
        reference: real pictures and inputs.
        candidates: candidates to measure.
        settings: settings of the measures that compare sets; the defaults unless given.
        extractor: feature extractor for KID and FID; None leaves both out.
        strokes: features of the stroke distance; None leaves it out.
        best_by: measure that determines the best candidate, one of :data:`SET_MEASURES`; ``kid``
            unless given, ``swd`` without extractor.
        on_sample: called with the row's name and each picture as it is read, real ones included.
        on_row: called with each row as soon as it is ready, but for its stroke distance, which
            needs the floor.

    Raises:
        ImpastoError: torchmetrics is needed and not installed.
        ValueError: two candidates have one name, a set is empty, or one of fewer than two pictures
            is to be compared by features.
    """
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise ValueError(f"candidates: expected names that differ, got {names}")
    settings = settings or Settings()
    rows: list[Row] = []

    def look(name: str, pictures: Pictures) -> "_Seen":
        eyes = (extractor, strokes)
        return _look(pictures, settings, eyes, lambda sample: on_sample(name, sample))

    real = look("real pictures", reference.real).summary

    def add(name: str, kind: _Kind, pictures: Pictures) -> None:
        seen = look(name, pictures)
        rows.append(
            Row(
                name=name,
                kind=kind,
                pictures=seen.summary.count,
                paired=seen.paired,
                unequal=seen.unequal,
                enlarged=seen.summary.enlarged,
                values={**compare_sets(real, seen.summary, settings), **seen.means},
            )
        )
        on_row(rows[-1])

    if reference.inputs is not None:
        add("do nothing", "nothing", reference.inputs)
    add("floor (other real pictures)", "floor", reference.others)
    for candidate in candidates:
        add(candidate.name, "result", candidate.pictures)
    rows = _with_strokes(rows)
    measure = best_by or ("swd" if extractor is None else "kid")
    finite = [row for row in rows if row.kind == "result" and math.isfinite(row.values[measure])]
    best = min(finite, key=lambda row: row.values[measure]).name if finite else None
    evaluation = Evaluation(
        rows=rows,
        real_pictures=real.count,
        real_enlarged=real.enlarged,
        best_by=measure,
        best=best,
    )
    return replace(evaluation, best=None) if is_blind(evaluation, measure) else evaluation


def _with_strokes(rows: Sequence[Row]) -> list[Row]:
    """Add the stroke distance to all rows, as a multiple of the floor's, if it was measured."""
    depths = [
        {key: value for key, value in row.values.items() if key.startswith("strokes_")}
        for row in rows
    ]
    floor = next(own for row, own in zip(rows, depths, strict=True) if row.kind == "floor")
    if not floor:
        return list(rows)
    return [
        replace(row, values={**row.values, "strokes": times_floor(own, floor)})
        for row, own in zip(rows, depths, strict=True)
    ]


def closed(evaluation: Evaluation, row: Row, measure: str) -> float | None:
    """Return the share of the distance from the inputs to the floor that a row has covered.

    1 is at the floor, 0 at the inputs, negative beyond them; None where the inputs are unknown,
    the measure is blind, or a value is not finite, and, of measures in :data:`BIASED`, where the
    three sets differ in size.
    """
    if evaluation.nothing is None:
        return None
    if measure in BIASED and not same_size([evaluation.nothing, evaluation.floor, row]):
        return None
    nothing, floor = (side.values[measure] for side in (evaluation.nothing, evaluation.floor))
    if not nothing > floor:
        return None
    share = (nothing - row.values[measure]) / (nothing - floor)
    return share if math.isfinite(share) else None


def is_blind(evaluation: Evaluation, measure: str) -> bool:
    """Whether a measure does not see what tells the two domains apart.

    Then the inputs are as near to the real pictures as other real pictures are, and its values of
    results say nothing. Nobody knows where the inputs are unknown, or, of measures in
    :data:`BIASED`, where their number is another one than the floor's.
    """
    nothing, floor = evaluation.nothing, evaluation.floor
    if nothing is None or (measure in BIASED and not same_size([nothing, floor])):
        return False
    return not nothing.values[measure] > floor.values[measure]


def same_size(rows: Sequence[Row]) -> bool:
    """Whether sets have about the same size, so that biased measures can be compared."""
    counts = [row.pictures for row in rows]
    return min(counts) >= _SAME_SIZE * max(counts)


@dataclass(frozen=True, kw_only=True)
class _Seen:
    summary: PictureSet
    paired: int
    unequal: int
    means: Mapping[str, float]


def _look(
    pictures: Pictures,
    settings: Settings,
    eyes: tuple[Extractor | None, StrokeFeatures | None],
    on_sample: Callable[[Sample], None],
) -> _Seen:
    """Measure one set, holding one picture at a time."""
    measured: dict[str, list[float]] = {}
    unequal = 0

    def looked_at() -> Iterator[Rgb]:
        nonlocal unequal
        for sample in pictures:
            unequal += sample.before is not None and sample.before.shape != sample.picture.shape
            for name, value in _compare_pair(sample).items():
                measured.setdefault(name, []).append(value)
            yield sample.picture
            on_sample(sample)

    if not len(pictures):
        raise ValueError("pictures: expected at least one in every set, got none")
    extractor, strokes = eyes
    summary = summarize(looked_at(), settings, extractor, count=len(pictures), strokes=strokes)
    return _Seen(
        summary=summary,
        paired=len(measured.get("ssim", [])),
        unequal=unequal,
        means={name: float(np.mean(values)) for name, values in measured.items()},
    )


def _compare_pair(sample: Sample) -> dict[str, float]:
    before, after = sample.before, sample.picture
    if before is None or before.shape != after.shape or min(before.shape[:2]) < _SMALLEST_PX:
        return {}
    values = {
        "ssim": ssim(before, after),
        "psnr": psnr(before, after),
        "edges": edge_correlation(before, after),
    }
    if sample.back is not None and sample.back.shape == before.shape:
        values["cycle_ssim"] = ssim(before, sample.back)
    return values
