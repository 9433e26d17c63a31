"""HYPE-time: how long a picture must be shown until people tell a fake (Zhou et al. 2019).

Reaction times: medians, since a few are always very long.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from impasto.survey.analysis.findings import Exposure, Times
from impasto.survey.analysis.judgements import Judgement, Session
from impasto.survey.rates import Interval
from impasto.survey.staircase import modal_exposure

__all__ = ["hype_time", "median_time", "reaction_times"]

_STEP_MS = 10
_JITTER_MS = 60.0


def hype_time(
    sessions: Sequence[Session], *, blocks: int, resamples: int, rng: np.random.Generator
) -> Exposure | None:
    """Score a staircase.

    Exposures are those that browsers measured, so they are rounded to the 10 ms of the staircase;
    a screen of 60 Hz shows only multiples of 16.7 ms.

    Args:
        sessions: that count.
        blocks: equal parts of a session, each with a staircase of its own; HYPE has three.
        resamples: of people, for the interval.
        rng: draws them.

    Returns:
        Mean over people of the mean over blocks of the modal exposure; None if exposures differ by
        no more than screens make them differ, or are not known.
    """
    timed = [[one for one in session.judgements if one.exposure_ms] for session in sessions]
    timed = [judgements for judgements in timed if len(judgements) >= blocks]
    known = [one.exposure_ms or 0.0 for judgements in timed for one in judgements]
    if not known or np.ptp(np.quantile(known, [0.05, 0.95])) < _JITTER_MS:
        return None
    scores = np.array([_score(judgements, blocks) for judgements in timed])
    drawn = scores[rng.integers(0, len(scores), (resamples, len(scores)))].mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975]).tolist()
    errors: dict[int, tuple[int, int]] = {}
    for judgements in timed:
        for one in judgements:
            exposure = _rounded(one)
            n, wrong = errors.get(exposure, (0, 0))
            errors[exposure] = (n + 1, wrong + one.wrong)
    return Exposure(
        score_ms=float(scores.mean()),
        people=Interval(low=low, high=high),
        blocks=blocks,
        errors={str(exposure): errors[exposure] for exposure in sorted(errors)},
    )


def _score(judgements: Sequence[Judgement], blocks: int) -> float:
    parts = np.array_split(np.array([_rounded(one) for one in judgements]), blocks)
    return float(np.mean([modal_exposure(part.tolist()) for part in parts]))


def _rounded(judgement: Judgement) -> int:
    return _STEP_MS * round((judgement.exposure_ms or 0.0) / _STEP_MS)


def median_time(judgements: Iterable[Judgement]) -> float | None:
    """Return the median in milliseconds; None without any time."""
    times = [one.rt_ms for one in judgements if one.rt_ms is not None]
    return float(np.median(times)) if times else None


def reaction_times(by_person: Iterable[list[Judgement]]) -> Times | None:
    """Summarise the times of some judgements; None without any.

    Args:
        by_person: judgements of each person.
    """
    people = [some for some in by_person if median_time(some) is not None]
    timed = [one for some in people for one in some if one.rt_ms is not None]
    if not timed:
        return None
    times = [one.rt_ms for one in timed if one.rt_ms is not None]
    low, middle, high = np.quantile(times, [0.25, 0.5, 0.75]).tolist()
    medians = [median_time(some) or 0.0 for some in people]
    return Times(
        n=len(times),
        quartiles=(low, middle, high),
        right=median_time(one for one in timed if not one.wrong),
        wrong=median_time(one for one in timed if one.wrong),
        people=float(np.median(medians)),
    )
