"""HYPE-time: how long a picture must be shown until people tell a fake (Zhou et al. 2019)."""

from collections.abc import Sequence

import numpy as np

from impasto.survey.findings import Exposure
from impasto.survey.judgements import Judgement, Session
from impasto.survey.rates import Interval
from impasto.survey.staircase import modal_exposure

__all__ = ["hype_time"]

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
