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
        without_times: kept sessions without reaction times, for which speed cannot be checked.
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
        "Attention check failed": lambda session: session.checks_failed > criteria.failed_checks,
        "Incomplete": lambda session: (
            not (criteria.keep_incomplete or session.completed)
            and len(session.judgements) < expected
        ),
        "Same answer everywhere": lambda session: (
            not criteria.keep_straight_lines and _is_straight_line(session)
        ),
        "Too fast": lambda session: _fast_share(session, criteria.min_rt_ms) > criteria.fast_share,
    }
    reasons_of = [
        tuple(name for name, applies_to in applies.items() if applies_to(session))
        for session in sessions
    ]
    kept = [session for session, reasons in zip(sessions, reasons_of, strict=True) if not reasons]
    slow = [replace(session, judgements=_slow(session, criteria.min_rt_ms)) for session in kept]
    return Exclusions(
        kept=slow,
        reasons=[
            Reason(
                name=name,
                meets=sum(name in reasons for reasons in reasons_of),
                removed=sum(reasons[:1] == (name,) for reasons in reasons_of),
            )
            for name in applies
        ],
        excluded=[
            Excluded(number=number, reasons=reasons, answers=len(session.judgements))
            for number, (session, reasons) in enumerate(zip(sessions, reasons_of, strict=True), 1)
            if reasons
        ],
        fast_answers=sum(len(session.judgements) for session in kept)
        - sum(len(session.judgements) for session in slow),
        without_times=sum(all(j.rt_ms is None for j in session.judgements) for session in kept),
        without_checks=sum(session.checks_passed + session.checks_failed == 0 for session in kept),
    )


def _is_straight_line(session: JudgedSession) -> bool:
    """Whether all answers are the same; of pairs, whether the same side was always chosen."""
    answers = {
        judgement.called_real if judgement.left is None else judgement.called_real == judgement.left
        for judgement in session.judgements
    }
    return len(answers) == 1 and len(session.judgements) >= _FEWEST_FOR_STRAIGHT_LINES


def _fast_share(session: JudgedSession, min_rt_ms: float) -> float:
    times = [
        time for judgement in session.judgements if (time := _thinking_ms(judgement)) is not None
    ]
    return sum(time < min_rt_ms for time in times) / len(times) if times else 0.0


def _slow(session: JudgedSession, min_rt_ms: float) -> list[Judgement]:
    times = [(judgement, _thinking_ms(judgement)) for judgement in session.judgements]
    return [judgement for judgement, time in times if time is None or time >= min_rt_ms]


def _thinking_ms(judgement: Judgement) -> float | None:
    """Return the time in which an answer was possible: of timed pictures, after they were gone."""
    if judgement.rt_ms is None:
        return None
    return judgement.rt_ms - (judgement.exposure_ms or 0.0)
