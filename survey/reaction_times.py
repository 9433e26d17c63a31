"""Reaction times: medians, since a few are always very long."""

from collections.abc import Iterable

import numpy as np

from impasto.survey.findings import Times
from impasto.survey.judgements import Judgement

__all__ = ["median_time", "reaction_times"]


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
