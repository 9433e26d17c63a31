"""Complete analysis of a study: from answers and key to all numbers of a report.

Reaction times are summarized by medians, since a few are always very long. Studies with a staircase
are scored by HYPE-time: the exposure that people need to recognize fakes (Zhou et al. 2019).
"""

from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.options.errors import SurveyError
from impasto.options.survey import SurveyReportOptions
from impasto.survey.analysis.agreement import agreement
from impasto.survey.analysis.bootstrap import JudgementTable, TwoLevel
from impasto.survey.analysis.components import standard_deviations
from impasto.survey.analysis.exclusions import Criteria, Exclusions, exclude, first_sessions
from impasto.survey.analysis.findings import (
    Estimate,
    Exposure,
    Findings,
    GroupFindings,
    PersonFindings,
    PictureFindings,
    StageCounts,
    Times,
)
from impasto.survey.analysis.generators import (
    compare_all,
    estimate,
    judge_generator,
    person_d_prime,
)
from impasto.survey.analysis.judgements import REAL_GROUP, JudgedSession, Judgement, judge, tabulate
from impasto.survey.analysis.permutation import pictures_differ
from impasto.survey.answers import Answer
from impasto.survey.key import Key
from impasto.survey.rates import Interval, Rate, holm
from impasto.survey.staircase import modal_exposure

__all__ = ["analyze", "hype_time", "median_time", "picture_findings", "reaction_times"]

_STEP_MS = 10
_JITTER_MS = 60.0


def analyze(
    answers: Sequence[Answer],
    key: Key,
    key_path: Path,
    options: SurveyReportOptions,
    *,
    answers_path: Path | None = None,
) -> Findings:
    """Compute all results of a study.

    Args:
        answers: answers from all files.
        key: answer key of the study.
        key_path: path of the key file, for error messages about the key.
        answers_path: path of the answers, for error messages about them; None: that of the key.
        options: exclusion criteria, equivalence margin, number of resamples, and seed.

    Raises:
        SurveyError: the answers are not of this study, or all of them are excluded.
    """
    judged = judge(answers, key, key_path)
    sessions, further = first_sessions(judged.sessions)
    exclusions = exclude(
        sessions,
        Criteria(
            failed_checks=options.failed_checks,
            min_rt_ms=options.min_rt_ms,
            fast_share=options.fast_share,
            keep_incomplete=options.keep_incomplete,
            keep_straight_lines=options.keep_straight_lines,
        ),
        expected=_expected_trials(key),
    )
    kept = exclusions.kept
    if not any(session.judgements for session in kept):
        raise SurveyError(answers_path or key_path, _nobody(sessions, exclusions))
    before = tabulate(sessions, key)
    table = tabulate(kept, key)
    rngs = _generators_of_numbers(options.seed)
    # The same numbers again: where nobody is excluded, nothing changes.
    rngs["before"] = _generators_of_numbers(options.seed)["after"]
    two_level = TwoLevel(table, resamples=options.resamples, rng=rngs["after"])
    pictures = picture_findings(kept, key)
    return Findings(
        survey_id=key.survey_id,
        protocol=key.protocol,
        seed=options.seed,
        resamples=options.resamples,
        versions={name: version(name) for name in ("impasto", "numpy", "scipy")},
        sessions={
            "answers in the files": len(answers),
            "practice answers": judged.practice,
            "answers of other studies": judged.other_surveys,
            "answers about unknown pictures": judged.unknown,
            "answers that were there twice": judged.copies,
            "second answers about a picture": judged.repeats,
            "sessions without a scored answer": len(judged.sessions) - len(sessions) - further,
            "further sessions of a participant": further,
        },
        before=_count(
            sessions, before, TwoLevel(before, resamples=options.resamples, rng=rngs["before"])
        ),
        after=_count(kept, table, two_level),
        reasons=exclusions.reasons,
        excluded=exclusions.excluded,
        notes=_notes(exclusions),
        groups=[
            _group(name, table, two_level, kept, pictures, options, rngs["groups"])
            for name in table.groups
        ],
        generators=[
            judge_generator(name, table, two_level, kept, margin=options.margin)
            for name in table.groups
            if name != REAL_GROUP
        ],
        pictures=pictures,
        comparisons=compare_all(
            table, two_level, resamples=options.resamples, rng=rngs["comparisons"]
        ),
        agreement=agreement(
            _answer_counts(pictures, key),
            resamples=options.resamples,
            rng=rngs["agreement"],
        ),
        people=[
            _person(number, session) for number, session in enumerate(kept, 1) if session.judgements
        ],
        exposure=hype_time(
            kept, blocks=options.blocks, resamples=options.resamples, rng=rngs["exposure"]
        )
        if key.rules.is_timed
        else None,
    )


def picture_findings(sessions: Sequence[JudgedSession], key: Key) -> list[PictureFindings]:
    """Return the results for each scored picture: by group, then by descending share of REAL."""
    answers: dict[str, list[tuple[bool, Judgement]]] = {
        token: [] for token, picture in key.pictures.items() if picture.kind == "scored"
    }
    for session in sessions:
        for judgement in session.judgements:
            answers.setdefault(judgement.token, []).append((judgement.called_real, judgement))
            if judgement.beside:
                answers.setdefault(judgement.beside, []).append(
                    (not judgement.called_real, judgement)
                )
    rates = {
        token: Rate(count=sum(real for real, _ in judged), n=len(judged))
        for token, judged in answers.items()
    }
    groups = {token: key.pictures[token].generator or REAL_GROUP for token in answers}
    order = sorted(
        answers,
        key=lambda token: (
            groups[token] != REAL_GROUP,
            groups[token],
            -np.nan_to_num(rates[token].share),
            token,
        ),
    )
    tests = [rates[token].p_half() for token in order]
    numbers: dict[str, int] = {}
    results = []
    for token, p, p_holm in zip(order, tests, holm(tests), strict=True):
        group, rate = groups[token], rates[token]
        numbers[group] = numbers.get(group, 0) + 1
        share = rate.share if rate.n else None
        wrong = None if share is None else (1 - share if group == REAL_GROUP else share)
        results.append(
            PictureFindings(
                token=token,
                name=f"{group} {numbers[group]}",
                group=group,
                source=key.pictures[token].source,
                n=rate.n,
                real=rate.count,
                fake=rate.n - rate.count,
                real_share=share,
                error_share=wrong,
                wilson=rate.wilson(),
                clopper_pearson=rate.clopper_pearson(),
                p=p,
                p_holm=p_holm,
                median_rt_ms=median_time(judgement for _, judgement in answers[token]),
            )
        )
    return results


def _group(
    name: str,
    table: JudgementTable,
    two_level: TwoLevel,
    sessions: Sequence[JudgedSession],
    pictures: Sequence[PictureFindings],
    options: SurveyReportOptions,
    rng: np.random.Generator,
) -> GroupFindings:
    place = table.groups.index(name)
    rate = table.rate(name)
    called_real, spread = estimate(two_level, lambda rates: rates[..., place])
    parts = two_level.parts[place]
    sds: tuple[float | None, float | None] = (None, None)
    if parts is not None and 0 < rate.count < rate.n:
        sds = standard_deviations(rate.share, parts.factors[0], sum(parts.factors[1:]))
    own = [
        [judgement for judgement in session.judgements if judgement.group == name]
        for session in sessions
    ]
    asked = [picture for picture in pictures if picture.group == name and picture.n]
    return GroupFindings(
        name=name,
        people=sum(map(bool, own)),
        pictures=len(asked),
        answers=rate.n,
        real=rate.count,
        called_real=called_real,
        wilson=rate.wilson(),
        clopper_pearson=rate.clopper_pearson(),
        p_half=rate.p_half(),
        p_half_two_level=spread.p_two_sided(0.5) if spread else None,
        person_sd=sds[0],
        picture_sd=sds[1],
        p_pictures=pictures_differ(table, name, resamples=options.resamples, rng=rng),
        agreement=agreement(
            np.array([(picture.real, picture.fake) for picture in asked], np.int64).reshape(-1, 2),
            resamples=options.resamples,
            rng=rng,
        ),
        times=reaction_times(own),
    )


def _count(
    sessions: Sequence[JudgedSession], table: JudgementTable, two_level: TwoLevel
) -> StageCounts:
    return StageCounts(
        people=len(sessions),
        answers=len(table.called_real),
        called_real={name: _short(two_level, place) for place, name in enumerate(table.groups)},
    )


def _short(two_level: TwoLevel, place: int) -> Estimate:
    return estimate(two_level, lambda rates: rates[..., place])[0]


def _answer_counts(pictures: Sequence[PictureFindings], key: Key) -> NDArray[np.int64]:
    """Return the counts of REAL and FAKE for each picture; each pair is counted once."""
    in_pairs = key.rules.unit == "pairs"
    counted = [picture for picture in pictures if not in_pairs or picture.group != REAL_GROUP]
    return np.array([(picture.real, picture.fake) for picture in counted], np.int64).reshape(-1, 2)


def _person(number: int, session: JudgedSession) -> PersonFindings:
    by_group: dict[str, list[bool]] = {}
    for judgement in session.judgements:
        by_group.setdefault(judgement.group, []).append(judgement.called_real)
    return PersonFindings(
        number=number,
        answers=len(session.judgements),
        error_share=sum(judgement.wrong for judgement in session.judgements)
        / len(session.judgements),
        called_real={
            name: float(np.mean(answers_of_group))
            for name, answers_of_group in sorted(by_group.items())
        },
        d_prime=person_d_prime(session, set(by_group) - {REAL_GROUP}),
        median_rt_ms=median_time(session.judgements),
    )


def _nobody(sessions: Sequence[JudgedSession], exclusions: Exclusions) -> str:
    if not sessions:
        return "there is no answer about a picture of this key"
    toll = ", ".join(
        f"{reason.name.lower()}: {reason.meets}" for reason in exclusions.reasons if reason.meets
    )
    return (
        f"all {len(sessions)} participants are excluded ({toll}); to count them nevertheless, give "
        "--failed_checks NUMBER, --keep_incomplete true, --keep_straight_lines true or "
        "--fast_share SHARE"
    )


def _expected_trials(key: Key) -> int:
    """Return the number of scored trials in a complete session: those of the shortest order."""
    lengths = [
        sum(key.pictures[trial[0]].kind == "scored" for trial in order) for order in key.orders
    ]
    return min(lengths, default=0)


def _notes(exclusions: Exclusions) -> list[str]:
    notes = []
    if exclusions.fast_answers:
        notes.append(
            f"{exclusions.fast_answers} answers of people who count came too fast and do not count."
        )
    if exclusions.without_times:
        notes.append(
            f"{exclusions.without_times} sessions have no reaction times: whether they were too "
            "fast cannot be told."
        )
    if exclusions.without_checks:
        notes.append(
            f"{exclusions.without_checks} sessions have no attention checks: whether their people "
            "paid attention cannot be told."
        )
    return notes


def _generators_of_numbers(seed: int) -> dict[str, np.random.Generator]:
    """Return an independent random number generator for each part."""
    names = ("after", "groups", "comparisons", "agreement", "exposure")
    seeds = np.random.SeedSequence(seed).spawn(len(names))
    return {
        name: np.random.default_rng(sequence) for name, sequence in zip(names, seeds, strict=True)
    }


def hype_time(
    sessions: Sequence[JudgedSession], *, blocks: int, resamples: int, rng: np.random.Generator
) -> Exposure | None:
    """Compute HYPE-time from the exposures of a staircase.

    Exposures are those measured by the browsers, so they are rounded to the 10 ms of the staircase;
    a 60 Hz screen supports only multiples of 16.7 ms.

    Args:
        sessions: sessions that were not excluded.
        blocks: number of equal parts of a session, each with a staircase of its own; HYPE has
            three.
        resamples: number of bootstrap resamples of people for the interval.
        rng: random number generator that draws the resamples.

    Returns:
        Mean over people of the mean over blocks of the modal exposure; None if exposures differ no
        more than the jitter of screens, or are unknown.
    """
    timed = [
        [judgement for judgement in session.judgements if judgement.exposure_ms]
        for session in sessions
    ]
    timed = [judgements for judgements in timed if len(judgements) >= blocks]
    known = [judgement.exposure_ms or 0.0 for judgements in timed for judgement in judgements]
    if not known or np.ptp(np.quantile(known, [0.05, 0.95])) < _JITTER_MS:
        return None
    scores = np.array([_score(judgements, blocks) for judgements in timed])
    drawn = scores[rng.integers(0, len(scores), (resamples, len(scores)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    errors: dict[int, tuple[int, int]] = {}
    for judgements in timed:
        for judgement in judgements:
            exposure = _rounded(judgement)
            n, wrong = errors.get(exposure, (0, 0))
            errors[exposure] = (n + 1, wrong + judgement.wrong)
    return Exposure(
        score_ms=float(scores.mean()),
        people=Interval(low=low, high=high),
        blocks=blocks,
        errors={str(exposure): errors[exposure] for exposure in sorted(errors)},
    )


def _score(judgements: Sequence[Judgement], blocks: int) -> float:
    parts = np.array_split(np.array([_rounded(judgement) for judgement in judgements]), blocks)
    return float(np.mean([modal_exposure(part.tolist()) for part in parts]))


def _rounded(judgement: Judgement) -> int:
    return _STEP_MS * round((judgement.exposure_ms or 0.0) / _STEP_MS)


def median_time(judgements: Iterable[Judgement]) -> float | None:
    """Return the median reaction time in milliseconds; None without reaction times."""
    times = [judgement.rt_ms for judgement in judgements if judgement.rt_ms is not None]
    return float(np.median(times)) if times else None


def reaction_times(by_person: Iterable[list[Judgement]]) -> Times | None:
    """Summarize reaction times; None without reaction times.

    Args:
        by_person: judgements of each person, one list per person.
    """
    people = [own for own in by_person if median_time(own) is not None]
    timed = [judgement for own in people for judgement in own if judgement.rt_ms is not None]
    if not timed:
        return None
    times = [judgement.rt_ms for judgement in timed if judgement.rt_ms is not None]
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
    medians = [median_time(own) or 0.0 for own in people]
    return Times(
        n=len(times),
        quartiles=(low, middle, high),
        right=median_time(judgement for judgement in timed if not judgement.wrong),
        wrong=median_time(judgement for judgement in timed if judgement.wrong),
        people=float(np.median(medians)),
    )
