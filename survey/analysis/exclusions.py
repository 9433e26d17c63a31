"""Whose answers count: criteria that are set before the answers are looked at, and their toll."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from impasto.survey.analysis.judgements import JudgedSession, Judgement

__all__ = ["Criteria", "Excluded", "Exclusions", "Reason", "exclude", "first_sessions"]

# Of fewer, honest answers are too often all the same: of ten tosses of a coin, one in 512 times.
_FEWEST_FOR_STRAIGHT_LINES = 10


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """When a session does not count.

    Attributes:
        failed_checks: attention checks that may be failed.
        min_rt_ms: answers that come faster than this do not count.
        fast_share: share of such answers from which on the whole session does not count.
        keep_incomplete: count sessions that were not gone through to the end.
        keep_straight_lines: count sessions with the same answer everywhere.
    """

    failed_checks: int = 0
    min_rt_ms: float = 200.0
    fast_share: float = 0.1
    keep_incomplete: bool = False
    keep_straight_lines: bool = False


@dataclass(frozen=True, kw_only=True)
class Reason:
    """One criterion and its toll.

    Attributes:
        name: of the criterion.
        meets: sessions that it applies to.
        removed: of those, the ones that no criterion above had removed.
    """

    name: str
    meets: int
    removed: int


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """A session that does not count.

    Attributes:
        number: place of the session among all, from 1; names stay private.
        reasons: names of all criteria that apply.
        answers: how many it had.
    """

    number: int
    reasons: tuple[str, ...]
    answers: int


@dataclass(frozen=True, kw_only=True)
class Exclusions:
    """What counts, and what does not.

    Attributes:
        kept: sessions that count, without answers that came too fast.
        reasons: criteria in the order in which they are applied.
        excluded: sessions that do not count.
        fast_answers: of the kept sessions, answers that do not count.
        without_times: kept sessions without reaction times; of these nobody can say.
        without_checks: kept sessions without attention checks.
    """

    kept: Sequence[JudgedSession]
    reasons: Sequence[Reason]
    excluded: Sequence[Excluded]
    fast_answers: int
    without_times: int
    without_checks: int


def first_sessions(sessions: Sequence[JudgedSession]) -> tuple[list[JudgedSession], int]:
    """Keep the first session of each participant that has an answer; the rest had seen pictures.

    Returns:
        These sessions, and how many further ones there were.
    """
    answered = [session for session in sessions if session.judgements]
    by_onset = sorted(range(len(answered)), key=lambda place: (answered[place].onset or "~", place))
    first: dict[str, int] = {}
    for place in by_onset:
        first.setdefault(answered[place].participant, place)
    kept = [answered[place] for place in sorted(first.values())]
    return kept, len(answered) - len(kept)


def exclude(sessions: Sequence[JudgedSession], criteria: Criteria, *, expected: int) -> Exclusions:
    """Apply the criteria.

    Args:
        sessions: one of each participant.
        criteria: when a session does not count.
        expected: scored trials of a whole session.
    """
    applies: dict[str, Callable[[JudgedSession], bool]] = {
        "Attention check failed": lambda one: one.checks_failed > criteria.failed_checks,
        "Incomplete": lambda one: (
            not (criteria.keep_incomplete or one.completed) and len(one.judgements) < expected
        ),
        "Same answer everywhere": lambda one: (
            not criteria.keep_straight_lines and _is_straight_line(one)
        ),
        "Too fast": lambda one: _fast_share(one, criteria.min_rt_ms) > criteria.fast_share,
    }
    found = [
        tuple(name for name, applies_to in applies.items() if applies_to(one)) for one in sessions
    ]
    kept = [one for one, reasons in zip(sessions, found, strict=True) if not reasons]
    slow = [replace(one, judgements=_slow(one, criteria.min_rt_ms)) for one in kept]
    return Exclusions(
        kept=slow,
        reasons=[
            Reason(
                name=name,
                meets=sum(name in reasons for reasons in found),
                removed=sum(reasons[:1] == (name,) for reasons in found),
            )
            for name in applies
        ],
        excluded=[
            Excluded(number=number, reasons=reasons, answers=len(one.judgements))
            for number, (one, reasons) in enumerate(zip(sessions, found, strict=True), 1)
            if reasons
        ],
        fast_answers=sum(len(one.judgements) for one in kept)
        - sum(len(one.judgements) for one in slow),
        without_times=sum(all(j.rt_ms is None for j in one.judgements) for one in kept),
        without_checks=sum(one.checks_passed + one.checks_failed == 0 for one in kept),
    )


def _is_straight_line(session: JudgedSession) -> bool:
    """Whether all answers are the same; of pairs, whether the same side was always chosen."""
    said = {
        one.called_real if one.left is None else one.called_real == one.left
        for one in session.judgements
    }
    return len(said) == 1 and len(session.judgements) >= _FEWEST_FOR_STRAIGHT_LINES


def _fast_share(session: JudgedSession, min_rt_ms: float) -> float:
    times = [time for one in session.judgements if (time := _thinking_ms(one)) is not None]
    return sum(time < min_rt_ms for time in times) / len(times) if times else 0.0


def _slow(session: JudgedSession, min_rt_ms: float) -> list[Judgement]:
    times = [(one, _thinking_ms(one)) for one in session.judgements]
    return [one for one, time in times if time is None or time >= min_rt_ms]


def _thinking_ms(judgement: Judgement) -> float | None:
    """Return the time in which an answer was possible: of timed pictures, after they were gone."""
    if judgement.rt_ms is None:
        return None
    return judgement.rt_ms - (judgement.exposure_ms or 0.0)
