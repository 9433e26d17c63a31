"""Audit of an exported study: does anything in it reveal which pictures are real?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.data.decode import read_picture
from impasto.options.errors import PictureError, SurveyError
from impasto.survey.audit.orders import find_habits, pairs_among, partners_of
from impasto.survey.audit.pictures import (
    ADVICE,
    EQUALIZED,
    UNIFORM,
    measure_pixels,
    observe_archive,
    observe_files,
    observe_study,
)
from impasto.survey.audit.report import Audit, Row, Status
from impasto.survey.audit.statistics import Finding, Observable, examine
from impasto.survey.audit.texts import observe_text, read_text, search_secrets, text_files
from impasto.survey.key import Key, check_folder, make_rng, read_study
from impasto.survey.study import Study

__all__ = ["audit_study"]

_PIXEL_ALPHA = 0.01


def audit_study(
    folder: Path,
    key: Key,
    *,
    archive: Path | None = None,
    alpha: float = 0.001,
    permutations: int = 9999,
) -> Audit:
    """Audit everything that participants can see of a study.

    Args:
        folder: folder written by ``impasto survey export``.
        key: answer key of the study.
        archive: zip archive of the folder, or None if there is none.
        alpha: probability that a study without a leak fails, over all observables together.
        permutations: number of random labelings for the permutation tests.

    Returns:
        Results of the audit, which are deterministic.

    Raises:
        SurveyError: the folder is not an exported study, or the key is of another study.
    """
    study = read_study(folder)
    rows = check_folder(folder, study, key)
    faults = [Row(status=status, name=name, detail=detail) for status, name, detail in rows]
    present = {token for token in study.pictures if token in key.pictures}
    judged = sorted(token for token in present if key.pictures[token].kind == "scored")
    shown = sorted(token for token in present if key.pictures[token].kind != "attention")
    if not judged:
        raise SurveyError(folder, "has no picture of this key that is judged")

    files = observe_files(folder, study, shown)
    zipped = observe_archive(archive, folder, study, shown) if archive else None
    stored = read_text(folder / "study.json")
    parts: list[tuple[Sequence[str], Mapping[str, list[Observable]]]] = [
        (shown, {**files.values, **(zipped.values if zipped else {})}),
        (judged, {**observe_study(study, judged, stored).values, **_texts(folder, study, judged)}),
    ]
    faults += [Row(status="leak", name="metadata", detail=fault) for fault in _few(files.faults)]
    if zipped:
        faults += [
            Row(status="fault", name="archive", detail=fault) for fault in _few(zipped.faults)
        ]
    faults += search_secrets(folder, study, key, archive)

    sets = _generator_sets(key)
    # The error rate is shared out among the families of tests, each of which controls its own.
    families = len(parts) * len(sets) + 1
    permutations = max(permutations, round(3 * families / alpha))
    partners = partners_of(study)
    # Names and files are drawn for each picture, whatever its partner; places are not.
    findings = [
        _examine(part, some, key, partners if places and partners else {}, permutations)
        for places, part in enumerate(parts)
        for some in sets
    ]
    tested = [_judge(found, alpha) for found in _strongest(findings, families)]
    orders = _orders(study, key, permutations=permutations, alpha=alpha, families=families)
    fakes = sum(key.pictures[token].label == "fake" for token in judged)
    return Audit(
        rows=[*faults, *tested, *orders, *_pixels(folder, study, key, judged)],
        pictures=len(shown),
        smallest_p=families * _smallest_p(len(judged), fakes, permutations, pairs=bool(partners)),
        alpha=alpha,
    )


def _generator_sets(key: Key) -> list[Sequence[str]]:
    """Return the sets of generators that are compared with the real pictures: all, and each."""
    generators = key.generators
    return [generators, *([name] for name in generators if len(generators) > 1)]


def _examine(
    part: tuple[Sequence[str], Mapping[str, list[Observable]]],
    generators: Sequence[str],
    key: Key,
    partners: Mapping[str, str],
    permutations: int,
) -> list[Finding]:
    """Test the observables of the pictures of given generators and of the real pictures.

    In paired protocols, a real picture is left out together with its partner.
    """
    tokens, values = part

    def is_wanted(token: str) -> bool:
        picture = key.pictures[token]
        if picture.label == "real" and partners.get(token) in key.pictures:
            picture = key.pictures[partners[token]]
        return picture.label == "real" or picture.generator in generators

    wanted = [place for place, token in enumerate(tokens) if is_wanted(token)]
    fake = np.array([key.pictures[tokens[place]].label == "fake" for place in wanted], bool)
    if not wanted or fake.all() or not fake.any():
        return []
    return examine(
        {name: [_take(form, wanted) for form in forms] for name, forms in values.items()},
        fake,
        make_rng(0, "audit"),
        permutations=permutations,
        pairs=pairs_among([tokens[place] for place in wanted], partners),
    )


def _strongest(findings: Sequence[Sequence[Finding]], families: int) -> list[Finding]:
    """Return the strongest finding for each observable, with p adjusted for all families."""
    strongest: dict[str, Finding] = {}
    for finding in (finding for family in findings for finding in family):
        shared = replace(finding, p=min(1.0, finding.p * families))
        if finding.name not in strongest or shared.p < strongest[finding.name].p:
            strongest[finding.name] = shared
    return list(strongest.values())


def _take(form: Observable, places: Sequence[int]) -> Observable:
    if isinstance(form, np.ndarray):
        taken: NDArray[np.float64] = form[places]
        return taken
    return [form[place] for place in places]  # type: ignore[return-value]


def _judge(finding: Finding, alpha: float) -> Row:
    separates = abs(finding.auc - 0.5) > 0.5 - 1e-9
    varies = finding.name in UNIFORM and finding.values > 1
    real, fake = finding.example
    status: Status = "ok"
    detail = "the same for all" if finding.values == 1 else ""
    if finding.p < alpha or (varies and separates):
        status = "leak"
        detail = f"real e.g. {real or 'none'}, fake e.g. {fake or 'none'}"
    elif varies:
        status = "warning"
        detail = f"not the same for all pictures ({finding.values} values), as an export makes it"
    p = None if finding.values == 1 else finding.p
    auc = None if finding.values == 1 else finding.auc
    return Row(status=status, name=finding.name, auc=auc, p=p, detail=detail)


def _texts(folder: Path, study: Study, judged: Sequence[str]) -> dict[str, list[Observable]]:
    """Observe the texts of all public files except the pictures."""
    values: dict[str, list[Observable]] = {}
    for path in text_files(folder, study):
        name = path.relative_to(folder).as_posix()
        for what, forms in observe_text(read_text(path), judged).items():
            values[f"{name}: {what}"] = forms
    return values


def _orders(study: Study, key: Key, *, permutations: int, alpha: float, families: int) -> list[Row]:
    """Test what the orders have in common."""
    fake = {
        token: picture.label == "fake"
        for token, picture in key.pictures.items()
        if picture.kind == "scored"
    }
    rows = []
    if partners_of(study) is None:
        text = "pictures are paired in several ways: who compares orders can part the two kinds"
        rows.append(Row(status="leak", name="orders: pairs", detail=text))
    rng = make_rng(0, "orders")
    for finding in find_habits(study, fake, rng, permutations=permutations):
        p = min(1.0, finding.p * families)
        seen, chance = finding.example
        rows.append(
            Row(
                status="leak" if p < alpha else "ok",
                name=finding.name,
                p=p,
                detail=f"{seen}, by chance {chance}"
                + (": raise --max_run, or take fewer --orders" if p < alpha else ""),
            )
        )
    return rows


def _pixels(folder: Path, study: Study, key: Key, judged: Sequence[str]) -> list[Row]:
    """Measure what pixels reveal; this is never a leak, since pixels are what people judge."""
    measured: list[dict[str, float]] = []
    tokens = []
    for token in judged:
        try:
            measured.append(measure_pixels(read_picture(folder / study.pictures[token]).rgb))
        except PictureError:
            continue  # its hash is a fault already
        tokens.append(token)
    fake = np.array([key.pictures[token].label == "fake" for token in tokens], bool)
    if not tokens or fake.all() or not fake.any():
        return []
    # As columns, which are compared by size alone: categories know no more and less.
    columns: dict[str, list[Observable]] = {
        name: [np.array([[row[name]] for row in measured])] for name in measured[0]
    }
    known, equalize = dict(ADVICE), str(key.options.get("equalize", "none"))
    if equalize != "none":
        known["JPEG blocks"] = EQUALIZED.format(equalize=equalize)
    rows = []
    for finding in examine(columns, fake, make_rng(0, "pixels"), permutations=1999):
        differs = finding.p < _PIXEL_ALPHA
        side = "more" if finding.auc > 0.5 else "less"
        advice = f": {known[finding.name]}" if finding.name in known else ""
        rows.append(
            Row(
                status="warning" if differs else "ok",
                name=f"pixels: {finding.name}",
                auc=finding.auc,
                p=finding.p,
                detail=f"fakes have {side}; people may judge by it{advice}" if differs else "",
            )
        )
    return rows


def _smallest_p(count: int, fakes: int, permutations: int, *, pairs: bool) -> float:
    """Return the smallest p possible with these numbers: of the true labels and their opposite."""
    labellings = 2**fakes if pairs else math.comb(count, fakes)
    return max(1 / (1 + permutations), min(1.0, 2 / labellings))


def _few(texts: Sequence[str], most: int = 5) -> list[str]:
    rest = len(texts) - most
    return [*texts[:most], *([f"and {rest} more like this"] if rest > 0 else [])]
