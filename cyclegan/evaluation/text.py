"""What an evaluation says: facts about how it was made, sentences, and JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from impasto.cyclegan.evaluation.table import (
    BIASED,
    SET_MEASURES,
    Candidate,
    Evaluation,
    Row,
    closed,
    same_size,
)
from impasto.options.evaluate import EvaluateOptions
from impasto.options.fields import flatten

__all__ = ["as_json", "facts_of", "sentences_of"]

_FEW = 100  # pictures; below, a draw of other ones would change every number visibly

_GRID = 2.0  # times the inputs' spectral peak; docs/evaluating.md has how much that varies


def facts_of(
    evaluation: Evaluation,
    options: EvaluateOptions,
    extractor: str | None,
    candidates: Sequence[Candidate],
) -> dict[str, str]:
    """Return how the numbers were made, to stand beside them.

    Args:
        evaluation: the numbers.
        options: all options.
        extractor: its name; None if there is none.
        candidates: what was judged.
    """
    nothing = evaluation.nothing
    others = options.more_real or f"{options.real}, its other half"
    facts = {
        "real pictures": f"{evaluation.real_pictures}, {options.real}",
        "floor": f"{evaluation.floor.pictures}, {others}",
        "inputs": "not given" if nothing is None else f"{nothing.pictures}, {options.inputs}",
        "features": extractor or "none, hence no KID and FID",
        "compared as": f"middle squares, scaled to {options.size_px} px (bicubic, antialiased)",
        "patches": f"{options.patches:,} of 7 x 7 px per scale, 512 directions",
        "seed": str(options.seed),
        "versions": ", ".join(f"{name} {version(name)}" for name in _packages(extractor)),
    }
    return facts | {f"result {row.name}": row.what for row in candidates if row.what}


def sentences_of(evaluation: Evaluation, candidates: Sequence[Candidate]) -> list[str]:
    """Say which is best, how far it has come, which measures see nothing, and what to beware of."""
    measures = [name for name in SET_MEASURES if name in evaluation.floor.values]
    sentences = _about_best(evaluation, measures)
    nothing = evaluation.nothing
    if nothing is not None:
        sentences += [
            f"{_shown(name)} is blind here: the inputs are as near to the real pictures as other "
            "real pictures are."
            for name in measures
            if not nothing.values[name] > evaluation.floor.values[name]
        ]
        sentences += _about_grids(evaluation, nothing)
    sentences += [f"{note}." for candidate in candidates for note in candidate.notes]
    sentences += _about_pairs(evaluation)
    return sentences + _about_counts(evaluation)


def as_json(
    evaluation: Evaluation,
    options: EvaluateOptions,
    *,
    facts: Mapping[str, str],
    sentences: Sequence[str],
    extractor: str | None,
) -> str:
    """Return all numbers as JSON; what is not finite becomes null, for JSON knows no infinity."""
    content: dict[str, Any] = {
        "best_by": evaluation.best_by,
        "best": evaluation.best,
        "real_pictures": evaluation.real_pictures,
        "seed": options.seed,
        "extractor": extractor,
        "rows": [_row(evaluation, row) for row in evaluation.rows],
        "sentences": list(sentences),
        "facts": dict(facts),
        "options": flatten(options),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    # A file name need not be valid text.
    return text.encode("utf-8", "replace").decode("utf-8")


def _row(evaluation: Evaluation, row: Row) -> dict[str, Any]:
    shares = {name: closed(evaluation, row, name) for name in SET_MEASURES if name in row.values}
    return {
        "name": row.name,
        "kind": row.kind,
        "pictures": row.pictures,
        "paired": row.paired,
        "unequal": row.unequal,
        "enlarged": row.enlarged,
        **{name: value if math.isfinite(value) else None for name, value in row.values.items()},
        "closed": shares,
    }


def _about_best(evaluation: Evaluation, measures: Sequence[str]) -> list[str]:
    if evaluation.best is None:
        return []
    best = next(row for row in evaluation.results if row.name == evaluation.best)
    sentences = []
    if len(evaluation.results) > 1:
        sentences.append(f"Best by {_shown(evaluation.best_by)}: {best.name}.")
    ways = [
        f"{share:.0%} in {_shown(name)}"
        for name in measures
        if (share := closed(evaluation, best, name)) is not None
    ]
    if ways:
        sentences.append(
            f"{best.name} has gone {', '.join(ways)} of the way from the untouched inputs to other "
            "real pictures."
        )
    return sentences


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
    known = {evaluation.real_pictures, *(row.pictures for row in evaluation.rows)}
    if min(known) < _FEW:
        sizes = " to ".join(map(str, sorted({min(known), max(known)})))
        sentences.append(
            f"Sets of {sizes} pictures are small: other pictures of the "
            "same kind would give other numbers. Trust large differences only."
        )
    if not same_size(evaluation.rows):
        biased = [_shown(name) for name in BIASED if name in evaluation.floor.values]
        counts = sorted(row.pictures for row in evaluation.rows)
        sentences.append(
            f"Rows have {counts[0]} to {counts[-1]} pictures, and fewer make {', '.join(biased)} "
            "larger: compare only rows of as many. A floor of as many as there are inputs needs "
            "--more_real."
        )
    return sentences


def _packages(extractor: str | None) -> list[str]:
    return ["impasto", "torch", "numpy", *(["torchmetrics"] if extractor else [])]


def _shown(measure: str) -> str:
    return measure if measure == "palette" else measure.upper()
