"""All measures of results: how close they are to a domain, to styles, and to their inputs.

Every number stands beside references: the untouched inputs ("do nothing"), other real pictures
("floor"), and other parts of the styles ("floor of the styles").
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Protocol

import numpy as np

from impasto.cyclegan.evaluation.sets import (
    Extractor,
    PictureSet,
    Settings,
    StrokeFeatures,
    compare_sets,
    square,
    summarize,
    times_floor,
)
from impasto.data.decode import Rgb
from impasto.data.metrics.paired import edge_correlation, mean_absolute_error, psnr, ssim

__all__ = [
    "BIASED",
    "SET_MEASURES",
    "Candidate",
    "Comparison",
    "Evaluation",
    "Measurer",
    "Pictures",
    "Reference",
    "Row",
    "Sample",
    "StyleSet",
    "closed",
    "evaluate",
    "is_blind",
    "same_size",
]

SET_MEASURES = ("swd", "strokes", "kid", "fid", "palette", "style")
"""Measures that say how far a set is from the real one, or from the styles; lower is nearer."""

BIASED = ("swd", "strokes", "fid", "palette")
"""Those of them that are larger for fewer pictures."""

_SAME_SIZE = 0.9  # from here on two sets' sizes, and so their biases, are taken for equal

_Kind = Literal["nothing", "floor", "style", "result"]
_SET_FEATURES = ("kid", "fid", "precision", "recall")
_PAIR_FEATURES = ("style", "content", "combined")
_HEADINGS = {"kid": "KID", "fid": "FID"}
_SMALLEST_PX = 11  # of SSIM
_STYLES = "styles"


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One picture of a set; all are RGB, (H, W, 3), uint8.

    Attributes:
        picture: picture that is measured.
        before: input of the picture; None if unknown.
        back: the picture translated back by the generator of the other direction; None if there is
            none.
        name: name of the input's file or, where the input is unknown, of the picture's own file.
        style: name of the style that the picture was made in; empty for all styles together.
    """

    picture: Rgb
    before: Rgb | None = None
    back: Rgb | None = None
    name: str = ""
    style: str = ""


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
        real: real pictures that all sets are compared with; None: with none.
        others: further real pictures, which show how close real pictures are to one another.
        inputs: input pictures of the results; None if unknown.
        styles: styles that the results were made in.
        truth: returns the true picture for an input, by the name of its file; None for none. Of
            paired data alone.
    """

    real: Pictures | None = None
    others: Pictures | None = None
    inputs: Pictures | None = None
    styles: "Sequence[StyleSet]" = ()
    truth: Callable[[str], Rgb | None] | None = None


@dataclass(frozen=True, kw_only=True)
class StyleSet:
    """A style: one picture, or several that are compared with as one.

    Attributes:
        name: name of the style, unique among styles.
        pictures: pictures of the style.
    """

    name: str
    pictures: Pictures


class Comparison(Protocol):
    """Compares pictures by content and style; `gatys.features.distances` has one.

    Attributes:
        name: name of the network, its weights and the layers.
        short: one or two words for the headings of what it measures.
    """

    name: str
    short: str

    def content_distance(self, picture: Rgb, other: Rgb, /) -> float:
        """Return how far the contents of two pictures are apart, which are of one size."""
        ...

    def statistics(self, pictures: Sequence[Rgb], /) -> Any:
        """Return what the style of pictures is told by."""
        ...

    def style_distance(self, picture: Any, style: Any, /) -> float:
        """Return how far two results of :meth:`statistics` are apart."""
        ...


@dataclass(frozen=True, kw_only=True)
class Row:
    """All measures of one set.

    Attributes:
        name: heading of the row.
        kind: kind of set: ``nothing`` (the untouched inputs), ``floor`` (other real pictures),
            ``style`` (the styles' own parts) or ``result``.
        pictures: number of pictures.
        paired: number of pictures compared with their inputs, which must be known, of the same
            size, and at least 11 x 11 pixels.
        unequal: number of pictures whose input has a different size.
        enlarged: number of pictures smaller than the squares in which sets are compared.
        values: measures by name: ``swd``, ``swd_256``, ..., ``palette``, ``grid_2``, ``grid_4``;
            with stroke features ``strokes``, a multiple of the floor's, and ``strokes_1``, ...;
            with an extractor ``kid``, ``kid_spread``, ``fid``, ``precision`` and ``recall``; with
            styles ``style``, and of the inputs ``style_parts``, for which parts of them as large as
            the floor's are compared with parts of the styles; for results also ``ssim``, ``psnr``,
            ``edges`` (means over the paired pictures), ``cycle_ssim``, ``content`` (mean over all
            whose input is known) and ``combined``. Where true pictures are known, and have the same
            size, of results and inputs also ``true_psnr``, ``true_ssim``, ``true_l1`` and, with a
            comparison, ``true_content``.
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
        rows: ``nothing`` (if the inputs are known), ``floor`` (if there are real pictures),
            ``style`` (if there are styles), then the candidates in their order.
        real_pictures: number of real pictures that all sets were compared with; 0 for none.
        real_enlarged: number of real pictures smaller than the squares.
        best_by: measure that determines the best candidate.
        best: name of the candidate with the lowest value of that measure; None if no value is
            finite, or if the measure is blind.
        headings: headings of measures that are of a network's features, such as ``KID (lite)``.
    """

    rows: Sequence[Row]
    real_pictures: int
    real_enlarged: int
    best_by: str
    best: str | None
    headings: Mapping[str, str] = field(default_factory=dict)

    @property
    def nothing(self) -> Row | None:
        """The untouched inputs, None if they are unknown."""
        return next((row for row in self.rows if row.kind == "nothing"), None)

    @property
    def floor(self) -> Row | None:
        """Other real pictures, None if there are none."""
        return next((row for row in self.rows if row.kind == "floor"), None)

    @property
    def style_floor(self) -> Row | None:
        """The styles' own parts, None if there are no styles."""
        return next((row for row in self.rows if row.kind == "style"), None)

    @property
    def results(self) -> Sequence[Row]:
        """The candidates."""
        return [row for row in self.rows if row.kind == "result"]


def evaluate(  # noqa: PLR0913 - what is compared, how, and who is told
    reference: Reference,
    candidates: Sequence[Candidate],
    *,
    settings: Settings | None = None,
    extractor: Extractor | None = None,
    strokes: StrokeFeatures | None = None,
    comparison: Comparison | None = None,
    best_by: str | None = None,
    on_sample: Callable[[str, Sample], None] = lambda _row, _sample: None,
    on_row: Callable[[Row], None] = lambda _row: None,
) -> Evaluation:
    """Measure candidates and all references.

    Args:
        reference: real pictures, styles and inputs.
        candidates: candidates to measure.
        settings: settings of the measures that compare sets; the defaults unless given.
        extractor: feature extractor for KID, FID, precision and recall; None leaves them out.
        strokes: features of the stroke distance; None leaves it out.
        comparison: comparison for content and style distances; None leaves them out.
        best_by: measure that determines the best candidate, one of :data:`SET_MEASURES` or
            ``combined``; unless given ``combined`` with styles (``style`` where inputs are not
            known), else ``kid``, and ``swd`` without extractor.
        on_sample: called with the row's name and each picture as it is read, real ones included.
        on_row: called with each row as soon as it is ready, but for its stroke distance, which
            needs the floor.

    Raises:
        ImpastoError: torch-fidelity is needed and not installed.
        ValueError: two candidates have one name, a set is empty, there are neither real pictures
            nor styles, or styles without comparison.
    """
    names = [candidate.name for candidate in candidates]
    if len(set(names)) < len(names):
        raise ValueError(f"candidates: expected names that differ, got {names}")
    if reference.real is None and not reference.styles:
        raise ValueError("reference: expected real pictures or styles, got neither")
    if reference.styles and comparison is None:
        raise ValueError("comparison: expected one, since there are styles")
    measure_row = Measurer(
        reference,
        settings or Settings(),
        extractor=extractor,
        strokes=strokes,
        comparison=comparison,
        on_sample=on_sample,
    )
    rows: list[Row] = []
    for name, kind, pictures in _sets(reference, candidates):
        rows.append(measure_row(name, kind, pictures))
        on_row(rows[-1])
    rows = _with_strokes(rows)
    measure = best_by or _best_measure(rows, reference)
    finite = [
        row
        for row in rows
        if row.kind == "result" and math.isfinite(row.values.get(measure, math.nan))
    ]
    best = min(finite, key=lambda row: row.values[measure]).name if finite else None
    evaluation = Evaluation(
        rows=rows,
        real_pictures=measure_row.real.count if measure_row.real else 0,
        real_enlarged=measure_row.real.enlarged if measure_row.real else 0,
        best_by=measure,
        best=best,
        headings={**_named(_SET_FEATURES, extractor), **_named(_PAIR_FEATURES, comparison)},
    )
    return replace(evaluation, best=None) if is_blind(evaluation, measure) else evaluation


def _with_strokes(rows: Sequence[Row]) -> list[Row]:
    """Add the stroke distance to all rows, as a multiple of the floor's, if it was measured."""
    depths = [
        {key: value for key, value in row.values.items() if key.startswith("strokes_")}
        for row in rows
    ]
    floors = [own for row, own in zip(rows, depths, strict=True) if row.kind == "floor"]
    if not any(floors):
        return list(rows)
    return [
        replace(row, values={**row.values, "strokes": times_floor(own, floors[0])}) if own else row
        for row, own in zip(rows, depths, strict=True)
    ]


def _sets(
    reference: Reference, candidates: Sequence[Candidate]
) -> Iterator[tuple[str, _Kind, Pictures]]:
    """Give name, kind and pictures of every row."""
    if reference.inputs is not None:
        yield "do nothing", "nothing", reference.inputs
    if reference.real is not None and reference.others is not None:
        yield "floor (other real pictures)", "floor", reference.others
    if reference.styles:
        yield f"floor ({_STYLES} themselves)", "style", []
    for candidate in candidates:
        yield candidate.name, "result", candidate.pictures


class Measurer:
    """Measures one row after the other; the real pictures are looked at once, when it is made.

    Args:
        reference: real pictures and styles.
        settings: settings of the measures that compare sets.
        extractor: feature extractor for KID, FID, precision and recall; None leaves them out.
        strokes: features of the stroke distance; None leaves it out.
        comparison: comparison for content and style distances; None leaves them out.
        on_sample: called with the row's name and each picture as it is read, real ones included.

    Attributes:
        real: summary of the real pictures; None if there are none.
    """

    def __init__(
        self,
        reference: Reference,
        settings: Settings,
        *,
        extractor: Extractor | None = None,
        strokes: StrokeFeatures | None = None,
        comparison: Comparison | None = None,
        on_sample: Callable[[str, Sample], None] = lambda _row, _sample: None,
    ) -> None:
        self._settings, self._on_sample = settings, on_sample
        self._truth = reference.truth
        self._pairs: _Pairs | None = None
        if comparison is not None:
            self._pairs = _Pairs(comparison, reference.styles, settings.size_px, on_sample)
        self._eyes = (None, None) if reference.real is None else (extractor, strokes)
        self.real: PictureSet | None = None
        if reference.real is not None:
            self.real = self._look("real pictures", reference.real, None).summary

    def __call__(self, name: str, kind: _Kind, pictures: Pictures) -> Row:
        """Measure a set, but for its stroke distance, which needs the floor.

        Raises:
            ImpastoError: torch-fidelity is needed and not installed.
            ValueError: the set is empty.
        """
        if kind == "style" and self._pairs is not None:
            return self._pairs.floor_row(name)
        seen = self._look(name, pictures, kind)
        values = {f"grid_{period}": peak for period, peak in seen.summary.grids.items()}
        if self.real is not None:
            values = compare_sets(self.real, seen.summary, self._settings)
        values |= seen.means
        if kind == "nothing" and "style" in values:
            values["content"] = 0.0
        if (
            self._pairs is not None
            and self._pairs.floor > 0
            and {"style", "content"} <= set(values)
        ):
            # As Wright and Ommer 2022 (ArtFID, equation 3) combine distances of other networks.
            # Departure: style is in multiples of its floor, as their FID is in tens; else the
            # content would decide alone.
            style = values["style"] / self._pairs.floor
            values["combined"] = (1 + style) * (1 + values["content"])
        return Row(
            name=name,
            kind=kind,
            pictures=seen.summary.count,
            paired=seen.paired,
            unequal=seen.unequal,
            enlarged=seen.summary.enlarged,
            values=values,
        )

    def _look(self, name: str, pictures: Pictures, kind: _Kind | None) -> "_Seen":
        def told(sample: Sample) -> None:
            self._on_sample(name, sample)

        def compared(sample: Sample) -> dict[str, float]:
            values = _compare_pair(sample)
            if self._pairs is not None:
                values |= self._pairs.measure(sample, in_parts=kind == "nothing")
            if self._truth is not None and kind in {"nothing", "result"}:
                values |= self._compare_true(sample.picture, self._truth(sample.name))
            return values

        return _look(pictures, self._settings, self._eyes, compared, told)

    def _compare_true(self, picture: Rgb, true: Rgb | None) -> dict[str, float]:
        """Compare a picture with the true one, if that is known and of the same size."""
        if true is None or true.shape != picture.shape or min(true.shape[:2]) < _SMALLEST_PX:
            return {}
        values = {
            "true_psnr": psnr(true, picture),
            "true_ssim": ssim(true, picture),
            "true_l1": mean_absolute_error(true, picture),
        }
        if self._pairs is not None:
            values["true_content"] = self._pairs.content_distance(picture, true)
        return values


def _best_measure(rows: Sequence[Row], reference: Reference) -> str:
    """Choose the measure that decides, of those that there are."""
    results = [row.values for row in rows if row.kind == "result"]
    order = ("combined", "style") if reference.styles else ("kid", "swd")
    return next((name for name in order if all(name in values for values in results)), order[-1])


def _named(measures: Sequence[str], network: Extractor | Comparison | None) -> dict[str, str]:
    """Return headings that name the network, unless it is that of published figures."""
    if network is None:
        return {}
    ending = f" ({network.short})" if network.short else ""
    return {name: f"{_HEADINGS.get(name, name)}{ending}" for name in measures}


def closed(evaluation: Evaluation, row: Row, measure: str) -> float | None:
    """Return the share of the distance from the inputs to the floor that a row has covered.

    The floor of ``style`` is that of the styles.

    1 is at the floor, 0 at the inputs, negative beyond them; None where the inputs are unknown or
    not above the floor, the measure is blind, or a value is not finite, and, of measures in
    :data:`BIASED`, where the three sets differ in size.
    """
    if is_blind(evaluation, measure):
        return None
    untouched = evaluation.nothing
    reached = evaluation.style_floor if measure == "style" else evaluation.floor
    sides = [side for side in (untouched, reached, row) if side and measure in side.values]
    if len(sides) < 3 or (measure in BIASED and not same_size(sides)):
        return None
    nothing, floor, found = (side.values[measure] for side in sides)
    if not nothing > floor:
        return None
    share = (nothing - found) / (nothing - floor)
    return share if math.isfinite(share) else None


def is_blind(evaluation: Evaluation, measure: str) -> bool:
    """Whether a measure does not see what tells the two domains apart.

    Then the inputs are as near to the real pictures as other real pictures are, or as near to the
    styles as their own parts, and its values of results say nothing. ``combined`` is blind where
    ``style`` is: doing nothing would be best.

    Nobody knows where the inputs are unknown, a value is not finite, or, of measures in
    :data:`BIASED`, the floor has fewer pictures, which alone makes it larger; then this is false.
    """
    nothing, floor = evaluation.nothing, evaluation.floor
    if measure in {"style", "combined"}:
        measure, floor = "style", evaluation.style_floor
    if nothing is None or floor is None:
        return False
    fewer = floor.pictures < nothing.pictures and not same_size([nothing, floor])
    if measure in BIASED and fewer:
        return False
    untouched = nothing.values.get(measure, math.nan)
    if measure == "style":
        untouched = nothing.values.get("style_parts", untouched)
    return untouched <= floor.values.get(measure, math.nan)


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


class _Pairs:
    """Measures content and style distances, in squares of one size.

    Attributes:
        floor: how far parts of each style are apart on average: its pictures, or the halves of the
            only one; 0 without styles.
    """

    def __init__(
        self,
        comparison: Comparison,
        styles: Sequence[StyleSet],
        size_px: int,
        on_sample: Callable[[str, Sample], None],
    ) -> None:
        self._comparison, self._size_px = comparison, size_px
        # Squares of styles are few; those of results are not kept.
        self._squares: dict[str, list[Rgb]] = {}
        for style in styles:
            squares = self._squares[style.name] = []
            for sample in style.pictures:
                squares.append(square(sample.picture, size_px))
                on_sample(_STYLES, sample)
        self._styles = {
            name: comparison.statistics(squares) for name, squares in self._squares.items()
        }
        if styles:
            every = [picture for squares in self._squares.values() for picture in squares]
            self._styles[""] = comparison.statistics(every)
        # What each part of a style is compared with, and that part.
        self._parts = {name: self._pair_parts(squares) for name, squares in self._squares.items()}
        self.floor = self._floor()

    def measure(self, sample: Sample, *, in_parts: bool = False) -> dict[str, float]:
        """Return ``content`` of a picture whose input is known, and ``style`` if there are some.

        Args:
            sample: the picture.
            in_parts: return ``style_parts``, too: its distance as the floor is measured, in parts
                as large, since the distance is larger for fewer positions.
        """
        picture = square(sample.picture, self._size_px)
        values = {}
        if sample.before is not None:
            values["content"] = self.content_distance(sample.picture, sample.before)
        if self._styles:
            found = self._comparison.statistics([picture])
            values["style"] = self._comparison.style_distance(found, self._styles[sample.style])
            if in_parts:
                values["style_parts"] = self._in_parts(picture, found)
        return values

    def content_distance(self, picture: Rgb, other: Rgb) -> float:
        """Return how far the contents of two pictures are apart, each as a square."""
        one, two = (square(each, self._size_px) for each in (picture, other))
        return self._comparison.content_distance(one, two)

    def floor_row(self, name: str) -> Row:
        """Return a row of how far parts of the styles are apart."""
        return Row(
            name=name,
            kind="style",
            pictures=sum(map(len, self._squares.values())),
            paired=0,
            unequal=0,
            enlarged=0,
            values={"style": self.floor},
        )

    def _floor(self) -> float:
        distances = [
            self._comparison.style_distance(part, others)
            for pairs in self._parts.values()
            for part, others in pairs
        ]
        return float(np.mean(distances)) if distances else 0.0

    def _pair_parts(self, squares: Sequence[Rgb]) -> list[tuple[Any, Any]]:
        """Return statistics of each part of a style, and of its other parts."""
        parts = squares if len(squares) > 1 else self._halves(squares[0])
        measured = self._comparison.statistics
        return [
            (measured([part]), measured([*parts[:place], *parts[place + 1 :]]))
            for place, part in enumerate(parts)
        ]

    def _halves(self, picture: Rgb) -> list[Rgb]:
        middle = self._size_px // 2
        return [picture[:, :middle], picture[:, middle:]]

    def _in_parts(self, picture: Rgb, found: Any) -> float:
        """Put parts of a picture into the place of each part of the styles, and measure."""
        halves = [self._comparison.statistics([half]) for half in self._halves(picture)]
        distances = []
        for name, pairs in self._parts.items():
            own = halves if len(self._squares[name]) == 1 else [found] * len(pairs)
            distances += [
                self._comparison.style_distance(part, others)
                for part, (_, others) in zip(own, pairs, strict=True)
            ]
        return float(np.mean(distances))


def _look(
    pictures: Pictures,
    settings: Settings,
    eyes: tuple[Extractor | None, StrokeFeatures | None],
    compare: Callable[[Sample], dict[str, float]],
    on_sample: Callable[[Sample], None],
) -> _Seen:
    """Measure one set, holding a few pictures at a time."""
    measured: dict[str, list[float]] = {}
    unequal = 0

    def looked_at() -> Iterator[Rgb]:
        nonlocal unequal
        for sample in pictures:
            unequal += sample.before is not None and sample.before.shape != sample.picture.shape
            for name, value in compare(sample).items():
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
