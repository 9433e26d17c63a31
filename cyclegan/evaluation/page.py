"""The report of an evaluation: page, table, and sentences in plain words.

The page shows all measures of all rows, then pictures side by side, and below them how the
evaluation was made.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import Protocol

from dominate import tags

from impasto.cyclegan.evaluation.table import (
    BIASED,
    SET_MEASURES,
    Candidate,
    Evaluation,
    Row,
    closed,
    is_blind,
    same_size,
)
from impasto.gatys.features.lite import missing_lite_message
from impasto.options.evaluate import EvaluateOptions
from impasto.runs.pages.gallery import Strip, draw_strip
from impasto.runs.pages.page import page, write_page

__all__ = [
    "Column",
    "columns_of",
    "facts_of",
    "legend_of",
    "sentences_of",
    "text_table",
    "write_evaluation",
]


class _Row(Protocol):
    @property
    def name(self) -> str: ...

    @property
    def kind(self) -> str: ...

    @property
    def pictures(self) -> int: ...

    @property
    def paired(self) -> int: ...

    @property
    def values(self) -> Mapping[str, float]: ...


@dataclass(frozen=True, kw_only=True)
class Column:
    """One measure, as a column of the table.

    Attributes:
        key: name of the measure in a row's values.
        heading: short heading for tables.
        better: which values are better: ``lower``, ``higher``, or empty if neither is.
        what: description in one sentence.
        digits: number of decimals; None: as many as show four digits of the largest value.
        spread: name of the value that gives the uncertainty of this measure, or empty.
    """

    key: str
    heading: str
    better: str
    what: str
    digits: int | None
    spread: str = ""


_COLUMNS = (
    Column(
        key="swd",
        heading="SWD",
        better="lower",
        what="sliced Wasserstein distance of patches, mean over the scales, times 1000",
        digits=1,
    ),
    Column(
        key="strokes",
        heading="strokes (x floor)",
        better="lower",
        what="kernel distance of crops of 128 pixels, as EfficientNet-Lite0 sees them at four "
        "depths, divided by that of other real pictures: 1 is as near as those",
        digits=2,
    ),
    Column(
        key="kid",
        heading="KID",
        better="lower",
        what="kernel distance of features, unbiased: about 0, of either sign, for pictures of one "
        "kind; its deviation is over random halves of the sets",
        digits=None,
        spread="kid_spread",
    ),
    Column(
        key="fid",
        heading="FID",
        better="lower",
        what="Frechet distance of features; too high, the more so the fewer pictures",
        digits=None,
    ),
    Column(
        key="precision",
        heading="precision",
        better="higher",
        what="share of the pictures that are as near to a real picture as the third nearest of the "
        "other real ones is, as a network sees them",
        digits=2,
    ),
    Column(
        key="recall",
        heading="recall",
        better="higher",
        what="share of the real pictures that are as near to one of the pictures as the third "
        "nearest of the others is: how much of the variety there is",
        digits=2,
    ),
    Column(
        key="palette",
        heading="palette",
        better="lower",
        what="sliced Wasserstein distance of all colors, in L*a*b* units",
        digits=2,
    ),
    Column(
        key="combined",
        heading="combined",
        better="lower",
        what="(1 + style / floor of the styles) x (1 + content), as ArtFID combines others",
        digits=2,
    ),
    Column(
        key="style",
        heading="style",
        better="lower",
        what="Frechet distance of the features at all places of a picture from those of its style, "
        "relative to the style's; mean over the pictures",
        digits=3,
    ),
    Column(
        key="content",
        heading="content",
        better="lower",
        what="distance of normalized features from those of the input at the same place: 0 is the "
        "same picture, about 1 another one; mean over the pictures",
        digits=3,
    ),
    Column(
        key="true_psnr",
        heading="PSNR to true",
        better="higher",
        what="peak signal-to-noise ratio of luminance to the true picture, dB",
        digits=2,
    ),
    Column(
        key="true_ssim",
        heading="SSIM to true",
        better="higher",
        what="structural similarity of luminance to the true picture",
        digits=3,
    ),
    Column(
        key="true_l1",
        heading="L1 to true",
        better="lower",
        what="mean absolute difference from the true picture, gray levels",
        digits=2,
    ),
    Column(
        key="true_content",
        heading="content to true",
        better="lower",
        what="distance of normalized features from those of the true picture at the same place",
        digits=3,
    ),
    Column(
        key="ssim",
        heading="SSIM",
        better="higher",
        what="structural similarity of luminance to the input",
        digits=3,
    ),
    Column(
        key="psnr",
        heading="PSNR",
        better="higher",
        what="of luminance against the input, in dB",
        digits=1,
    ),
    Column(
        key="edges",
        heading="edges",
        better="higher",
        what="correlation of gradients with the input's",
        digits=3,
    ),
    Column(
        key="cycle_ssim",
        heading="cycle",
        better="higher",
        what="SSIM of the input and what the other generator makes of the result",
        digits=3,
    ),
    Column(
        key="grid_2",
        heading="grid 2",
        better="",
        what="spectral peak at 2 pixels, in full size; above that of the inputs: a checkerboard",
        digits=2,
    ),
    Column(key="grid_4", heading="grid 4", better="", what="the same at 4 pixels", digits=2),
)


_NONE: Mapping[str, str] = MappingProxyType({})
# Measures of pictures and their inputs; with styles, content stands beside style.
_ALONE = frozenset({"content", "ssim", "psnr", "edges", "cycle_ssim", "grid_2", "grid_4"})


def columns_of(rows: Sequence[_Row], headings: Mapping[str, str] = _NONE) -> list[Column]:
    """Return the measures that at least one row has; the scales of SWD follow their mean.

    Args:
        rows: rows of references and results.
        headings: headings of measures that say which network they are of, such as ``KID (lite)``.
    """
    present = {key for row in rows for key in row.values}
    scales = sorted((int(key[4:]) for key in present if key.startswith("swd_")), reverse=True)
    columns: list[Column] = []
    for column in _COLUMNS:
        if column.key not in present:
            continue
        columns.append(replace(column, heading=headings.get(column.key, column.heading)))
        if column.key == "swd":
            columns += [
                Column(
                    key=f"swd_{px}",
                    heading=f"{px} px",
                    better="lower",
                    what=f"the same at the scale of {px} pixels",
                    digits=1,
                )
                for px in scales
            ]
    return columns


def text_table(
    rows: Sequence[_Row], *, headings: Mapping[str, str] = _NONE, width: int = 100
) -> str:
    """Return all rows as text, for a terminal: measures from top to bottom.

    Args:
        rows: rows of references and results.
        headings: headings of measures that say which network they are of.
        width: number of characters in a line; columns that do not fit go into further tables below.
    """
    columns = columns_of(rows, headings)
    labels = ["", "pictures", "with inputs", *(f"{c.heading}{_ARROWS[c.better]}" for c in columns)]
    left = max(map(len, labels))
    blocks: list[list[list[str]]] = []
    used = left
    for row in rows:
        cells = [str(row.pictures), str(row.paired or "")]
        cells += [_cell(row, column, rows) for column in columns]
        name = textwrap.wrap(row.name, max(_NAME_CHARACTERS, *map(len, cells))) or [""]
        wide = max(map(len, [*name, *cells])) + 2
        if not blocks or (blocks[-1] and used + wide > width):
            blocks.append([])
            used = left
        blocks[-1].append([*name, *cells])
        used += wide
    return "\n\n".join(_block(labels, block) for block in blocks)


_ARROWS = {"lower": " \u2193", "higher": " \u2191", "": ""}
_NAME_CHARACTERS = 14


def _block(labels: Sequence[str], block: Sequence[Sequence[str]]) -> str:
    """Set rows of one table side by side; names may take several lines."""
    count = len(labels) - 1
    height = max(len(cells) for cells in block) - count
    shown = [[*[""] * (height + count - len(cells)), *cells] for cells in block]
    sides = [[""] * (height - 1) + list(labels), *shown]
    lines = []
    for place in range(height + count):
        cells = [side[place].rjust(max(map(len, side))) for side in sides[1:]]
        left = sides[0][place].ljust(max(map(len, labels)))
        if place < height or any(cell.strip() for cell in cells):
            lines.append("  ".join([left, *cells]).rstrip())
    return "\n".join(lines)


def write_evaluation(  # noqa: PLR0913 - all that stands on the page
    path: Path,
    rows: Sequence[_Row],
    strips: Sequence[Strip],
    *,
    best: str | None,
    shares: Mapping[str, Mapping[str, float]],
    sentences: Sequence[str],
    facts: Mapping[str, str],
    headings: Mapping[str, str] = _NONE,
) -> None:
    """Write the page.

    Args:
        path: ``.html`` file to write; its folder must exist.
        rows: rows of references and results.
        strips: strips of pictures below the table.
        best: name of the best row.
        shares: by row and measure, the share of the distance from the inputs to the floor that the
            row has covered.
        sentences: interpretation of the numbers; the first sentence is placed under the heading.
        facts: facts about how the numbers were computed.
        headings: headings of measures that say which network they are of.

    Raises:
        OSError: the folder cannot be written.
    """
    document = page("How near are they?", description=sentences[0] if sentences else "")
    main = document.main
    if sentences[1:]:
        main.add(tags.ul((tags.li(sentence) for sentence in sentences[1:]), cls="remarks"))
    for columns in _halves(columns_of(rows, headings)):
        shown = [row for row in rows if any(column.key in row.values for column in columns)]
        frame = main.add(tags.div(cls="measures-frame", tabindex="0"))
        frame.add(_table(columns, shown, best, shares))
    for sentence in legend_of(rows):
        main.add(tags.p(sentence, cls="hint"))
    if any(shares.values()):
        main.add(
            tags.p(
                "Percentages: how much of the way from the untouched inputs (0 %) to "
                f"{_goals(rows)} (100 %) a result has gone; there is none where a measure is "
                "blind, which is that it cannot tell the two apart.",
                cls="hint",
            )
        )
    for strip in strips:
        main.add(draw_strip(strip, path.parent, titled=True))
    main.add(_definitions("What the measures are", _meanings(columns_of(rows, headings))))
    main.add(_definitions("How these numbers were made", facts))
    write_page(path, document)


def _halves(columns: Sequence[Column]) -> list[list[Column]]:
    """Part measures of sets from those of pictures by themselves, for tables that fit a page."""
    of_styles = any(column.key == "style" for column in columns)
    alone = [
        column
        for column in columns
        if column.key in _ALONE and not (of_styles and column.key == "content")
    ]
    sets = [column for column in columns if column not in alone]
    return [half for half in (sets, alone) if half]


def _goals(rows: Sequence[_Row]) -> str:
    names = {"floor": "other real pictures", "style": "the styles themselves"}
    return " or ".join(names[row.kind] for row in rows if row.kind in names)


def _definitions(heading: str, texts: Mapping[str, str]) -> tags.html_tag:
    listed = [tags.div(tags.dt(name), tags.dd(text)) for name, text in texts.items()]
    return tags.section(tags.h2(heading), tags.dl(listed, cls="definitions"))


def _meanings(columns: Sequence[Column]) -> dict[str, str]:
    """Explain every measure; the scales of SWD together."""
    scales = [column.heading for column in columns if column.key.startswith("swd_")]
    texts = {c.heading: c.what for c in columns if not c.key.startswith("swd_")}
    if scales:
        texts["SWD"] += f"; {', '.join(scales)} are its scales, by the side of the picture"
    return texts


def _table(
    columns: Sequence[Column],
    rows: Sequence[_Row],
    best: str | None,
    shares: Mapping[str, Mapping[str, float]],
) -> tags.html_tag:
    table = tags.table(cls="measures evaluation")
    head = table.add(tags.thead()).add(tags.tr())
    head.add(tags.th("\u2193 less, \u2191 more is better", scope="col"))
    for column in columns:
        cls = "scale" if column.key.startswith("swd_") else ""
        measure, *network = column.heading.partition(" (")
        cell = head.add(tags.th(f"{measure}{_ARROWS[column.better]}", scope="col", cls=cls))
        cell.set_attribute("title", column.what)
        if any(network):
            cell.add(tags.small("".join(network).strip()))
    body = table.add(tags.tbody())
    for row in rows:
        is_best = row.kind == "result" and row.name == best
        line = body.add(tags.tr(cls=f"{row.kind} best" if is_best else row.kind))
        name = line.add(tags.th(scope="row"))
        name.add(tags.span(f"{row.name} (best)" if is_best else row.name, dir="auto"))
        some = 0 < row.paired < row.pictures
        paired = f", {row.paired} of them compared with inputs" if some else ""
        name.add(tags.small(f"{row.pictures} pictures{paired}"))
        for column in columns:
            cls = "scale" if column.key.startswith("swd_") else ""
            number, *deviation = _cell(row, column, rows).partition(" \u00b1")
            cell = line.add(tags.td(number, cls=cls))
            if any(deviation):
                cell.add(tags.small("".join(deviation).strip()))
            share = shares.get(row.name, {}).get(column.key) if row.kind == "result" else None
            if share is not None:
                cell.add(tags.small(f"{share:.0%}"))
    return table


def _cell(row: _Row, column: Column, rows: Sequence[_Row]) -> str:
    value = row.values.get(column.key)
    if value is None:
        return ""
    digits = column.digits
    if digits is None:
        sizes = [abs(other.values.get(column.key, 0.0)) for other in rows]
        largest = max((size for size in sizes if math.isfinite(size)), default=0.0)
        digits = min(8, max(0, 3 - math.floor(math.log10(largest)))) if largest else 1
    spread = row.values.get(column.spread)
    return f"{value:.{digits}f}" + ("" if spread is None else f" \u00b1 {spread:.{digits}f}")


_SET_MEASURES = tuple(name for name in SET_MEASURES if name != "style")
_FEW = 100  # pictures; below, a draw of other ones would change every number visibly

_GRID = 2.0  # times the inputs' spectral peak; docs/evaluating.md has how much that varies


def facts_of(
    evaluation: Evaluation,
    options: EvaluateOptions,
    networks: Sequence[str],
    candidates: Sequence[Candidate],
) -> dict[str, str]:
    """Return facts about how the numbers were computed, to be shown beside them.

    Args:
        evaluation: results of the evaluation.
        options: all options of the evaluation.
        networks: names of the feature extractor and the comparison; none if there are none.
        candidates: candidates that were measured.
    """
    nothing, floor, style = evaluation.nothing, evaluation.floor, evaluation.style_floor
    facts = {}
    if floor is not None:
        others = options.more_real or f"{options.real}, its other half"
        facts["real pictures"] = f"{evaluation.real_pictures}, {options.real}"
        facts["floor (other real pictures)"] = f"{floor.pictures}, {others}"
    if style is not None:
        facts["styles"] = f"{style.pictures}, {', '.join(map(str, options.styles))}"
    facts |= {
        "inputs": "not given" if nothing is None else f"{nothing.pictures}, {options.inputs}",
        "features": "; ".join(networks) or "none, hence no KID and FID",
        "compared as": f"middle squares, scaled to {options.size_px} px (bicubic, antialiased)",
    }
    if floor is not None:
        facts["patches"] = f"{options.patches:,} of 7 x 7 px per scale, 512 directions"
        facts["strokes"] = _about_strokes(floor)
    facts |= {
        "seed": str(options.seed),
        "versions": ", ".join(f"{name} {version(name)}" for name in _packages(networks)),
    }
    return facts | {f"result {row.name}": row.what for row in candidates if row.what}


def _about_strokes(floor: Row) -> str:
    if "strokes" in floor.values:
        return (
            "EfficientNet-Lite0, expansions of blocks 1, 3, 5 and 7; 100 crops of 128 px a sample"
        )
    return f"not measured: {missing_lite_message()}"


def _packages(networks: Sequence[str]) -> list[str]:
    return ["impasto", "torch", "numpy", *(["torch-fidelity"] if networks else [])]


def legend_of(rows: Sequence[_Row]) -> list[str]:
    """Explain, for page and terminal, the rows that results are compared with."""
    texts = {
        "nothing": "the inputs as they are, which is what a generator that changes nothing gets",
        "floor": "as near as real pictures are to one another; no result can be expected to come "
        "nearer",
        "style": "as near as parts of a style are to its other parts; no result can be expected to "
        "come nearer",
    }
    return [f"{row.name}: {texts[row.kind]}." for row in rows if row.kind in texts]


def sentences_of(evaluation: Evaluation, candidates: Sequence[Candidate]) -> list[str]:
    """State the best candidate, its progress, measures without information, and caveats."""
    sentences = _about_best(evaluation)
    nothing = evaluation.nothing
    if nothing is not None:
        sentences += _about_blindness(evaluation)
        sentences += _about_grids(evaluation, nothing)
    sentences += _about_networks(evaluation)
    sentences += [f"{note}." for candidate in candidates for note in candidate.notes]
    sentences += _about_pairs(evaluation)
    return sentences + _about_counts(evaluation)


def _about_best(evaluation: Evaluation) -> list[str]:
    results, by = evaluation.results, evaluation.best_by
    blind = is_blind(evaluation, by)
    if len(results) > 1 and blind:
        nothing = evaluation.nothing
        seeing = [
            name
            for name in SET_MEASURES
            if nothing is not None and closed(evaluation, nothing, name) is not None
        ]
        other = f"; --best_by {' or '.join(seeing)} would choose" if seeing else ""
        return [f"No result is called the best, as {_shown(by, evaluation)} is blind here{other}."]
    # A single result of a blind measure is told about, too, by those that see.
    best = next((row for row in results if blind or row.name == evaluation.best), None)
    if best is None:
        return []
    sentences = []
    if len(results) > 1:
        sentences.append(f"Best by {_shown(by, evaluation)}: {best.name}.")
    for measures, goal in (
        (_SET_MEASURES, "other real pictures"),
        (("style",), "the styles themselves"),
    ):
        ways = [
            f"{share:.0%} in {_shown(name, evaluation)}"
            for name in measures
            if (share := closed(evaluation, best, name)) is not None
        ]
        if ways:
            sentences.append(
                f"{best.name} has gone {', '.join(ways)} of the way from the untouched inputs to "
                f"{goal}."
            )
    return sentences


def _about_blindness(evaluation: Evaluation) -> list[str]:
    """Name the measures that are blind, or may be."""
    sentences = [
        f"{_shown(name, evaluation)} is blind here, so its numbers say nothing about results: it "
        f"finds the untouched inputs as near to the {what}."
        for names, what in (
            (_SET_MEASURES, "real pictures as other real pictures are"),
            (("style",), "styles as parts of the styles are to one another"),
        )
        for name in names
        if is_blind(evaluation, name)
    ]
    nothing, floor = evaluation.nothing, evaluation.floor
    if nothing is None or floor is None:
        return sentences
    unknown = [
        _shown(name, evaluation)
        for name in _SET_MEASURES
        if nothing.values.get(name, math.nan) <= floor.values.get(name, math.nan)
        and not is_blind(evaluation, name)
    ]
    if unknown:
        sentences.append(
            "Not known is whether inputs can be told from real pictures by "
            f"{', '.join(unknown)}: the "
            "inputs are as near to the real pictures as the floor is, but that has only "
            f"{floor.pictures} pictures beside {nothing.pictures}, and fewer make these measures "
            "larger. Give more as --more_real."
        )
    return sentences


def _about_networks(evaluation: Evaluation) -> list[str]:
    """Say that numbers of another network than the published one are no published numbers."""
    present = {name for row in evaluation.rows for name in row.values}
    other = [
        heading
        for name, heading in evaluation.headings.items()
        if name in {"kid", "fid", "precision", "recall"} & present and "(" in heading
    ]
    if not other:
        return []
    return [
        f"{', '.join(other[:-1])} and {other[-1]} are not what papers print under these names: "
        "they were computed with another network. Compare them within this table only."
    ]


def _about_grids(evaluation: Evaluation, nothing: Row) -> list[str]:
    return [
        f"{row.name} draws a grid of {period} px: its spectral peak is {peak / usual:.1f} times "
        "that of its inputs."
        for row in evaluation.results
        for period in ("2", "4")
        if (peak := row.values.get(f"grid_{period}", 0.0))
        > _GRID * (usual := nothing.values.get(f"grid_{period}", math.inf))
    ]


def _about_pairs(evaluation: Evaluation) -> list[str]:
    return [
        f"{row.unequal} of {row.pictures} pictures of {row.name} have another size than their "
        "input, and are left out of SSIM, PSNR, edges and cycle."
        for row in evaluation.results
        if row.unequal
    ]


def _about_counts(evaluation: Evaluation) -> list[str]:
    sentences = []
    enlarged = {row.name: (row.enlarged, row.pictures) for row in evaluation.rows}
    enlarged["real pictures"] = (evaluation.real_enlarged, evaluation.real_pictures)
    for name, (count, of) in enlarged.items():
        if count:
            sentences.append(
                f"{count} of {of} in {name} are smaller than the squares and were enlarged, which "
                "a smaller --size_px avoids."
            )
    if evaluation.floor is None:
        return sentences
    compared = [row for row in evaluation.rows if row.kind != "style"]
    known = {evaluation.real_pictures, *(row.pictures for row in compared)}
    if min(known) < _FEW:
        sizes = " to ".join(map(str, sorted({min(known), max(known)})))
        sentences.append(
            f"Sets of {sizes} pictures are small: other pictures of the "
            "same kind would give other numbers. Trust large differences only."
        )
    if not same_size(compared):
        biased = [_shown(name, evaluation) for name in BIASED if name in evaluation.rows[0].values]
        counts = sorted(row.pictures for row in compared)
        sentences.append(
            f"Rows have {counts[0]} to {counts[-1]} pictures, and fewer make {', '.join(biased)} "
            "larger: compare only rows of as many. A floor of as many as there are inputs needs "
            "--more_real."
        )
    return sentences


def _shown(measure: str, evaluation: Evaluation) -> str:
    usual = {"swd": "SWD", "kid": "KID", "fid": "FID"}.get(measure, measure)
    return evaluation.headings.get(measure, usual)
