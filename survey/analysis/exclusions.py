"""Exclusion criteria, which are set before the answers are seen, and how many they exclude."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from impasto.survey.analysis.judgements import JudgedSession, Judgement

__all__ = ["Criteria", "Excluded", "Exclusions", "Reason", "exclude", "first_sessions"]

# Of fewer, honest answers are too often all the same: of ten tosses of a coin, one in 512 times.
_FEWEST_FOR_STRAIGHT_LINES = 10


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Criteria for excluding a session.

    Attributes:
        failed_checks: number of attention checks that may be failed without exclusion.
        min_rt_ms: reaction time in milliseconds below which an answer is dropped as too fast.
        fast_share: share of too fast answers, in [0, 1], above which the session is excluded.
        keep_incomplete: keep sessions that were not completed.
        keep_straight_lines: keep sessions in which all answers are the same.
    """

    failed_checks: int = 0
    min_rt_ms: float = 200.0
    fast_share: float = 0.1
    keep_incomplete: bool = False
    keep_straight_lines: bool = False


@dataclass(frozen=True, kw_only=True)
class Reason:
    """An exclusion criterion and the number of sessions that it excluded.

    Attributes:
        name: name of the criterion.
        meets: number of sessions that meet the criterion.
        removed: number of those sessions that no earlier criterion had excluded.
    """

    name: str
    meets: int
    removed: int


@dataclass(frozen=True, kw_only=True)
class Excluded:
    """An excluded session.

    Attributes:
        number: index of the session among all sessions, from 1; participants' names stay private.
        reasons: names of all criteria that the session meets.
        answers: number of answers in the session.
    """

    number: int
    reasons: tuple[str, ...]
    answers: int


@dataclass(frozen=True, kw_only=True)
class Exclusions:
    """Kept and excluded sessions.

    Attributes:
        kept: sessions that are kept, without the answers that were too fast.
        reasons: criteria in the order in which they are applied.
        excluded: sessions that are excluded.
        fast_answers: number of answers dropped from the kept sessions because they were too fast.
        without_times: number of kept sessions without reaction times, for which speed cannot be
            checked.
        without_checks: number of kept sessions without attention checks.
    """

    kept: Sequence[JudgedSession]
    reasons: Sequence[Reason]
    excluded: Sequence[Excluded]
    fast_answers: int
    without_times: int
    without_checks: int


def first_sessions(sessions: Sequence[JudgedSession]) -> tuple[list[JudgedSession], int]:
    """Keep each participant's first session with an answer; in later ones, pictures are familiar.

    Returns:
        These sessions, and the number of further sessions that were dropped.
    """
    answered = [session for session in sessions if session.judgements]
    by_onset = sorted(range(len(answered)), key=lambda place: (answered[place].onset or "~", place))
    first: dict[str, int] = {}
    for place in by_onset:
        first.setdefault(answered[place].participant, place)
    kept = [answered[place] for place in sorted(first.values())]
    return kept, len(answered) - len(kept)


def exclude(sessions: Sequence[JudgedSession], criteria: Criteria, *, expected: int) -> Exclusions:
    """Apply the exclusion criteria.

    Args:
        sessions: sessions to filter, one per participant.
        criteria: criteria for excluding a session.
        expected: number of scored trials in a complete session.
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
    """Return True if all answers are the same, or, in pairs, if the same side was always chosen."""
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
    """Return the time available for answering: for timed pictures, from when they disappeared."""
    if judgement.rt_ms is None:
        return None
    return judgement.rt_ms - (judgement.exposure_ms or 0.0)
