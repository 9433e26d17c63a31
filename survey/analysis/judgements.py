"""Answers joined with the answer key: what each person answered, and what was correct."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np

from impasto.options.errors import SurveyError
from impasto.survey.analysis.bootstrap import JudgementTable
from impasto.survey.answers import Answer
from impasto.survey.key import Key
from impasto.survey.protocols import opposite

__all__ = ["REAL_GROUP", "JoinedAnswers", "JudgedSession", "Judgement", "judge", "tabulate"]

REAL_GROUP = "real"
"""Name of the group of real pictures; the others have the names of their generators."""


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """One scored answer.

    Attributes:
        trial: position of the trial in the session.
        token: token of the picture; in a pair, of its fake picture.
        beside: in a pair, token of the real picture; otherwise empty.
        group: ``real``, or the name of the generator; in a pair, the generator of its fake picture.
        called_real: True if ``token`` was called REAL.
        wrong: True if the answer is wrong.
        left: in a pair, True if the fake picture was on the left; otherwise None.
        rt_ms: reaction time in milliseconds, or None if not measured.
        exposure_ms: time for which the picture was shown, in milliseconds, or None if not measured.
    """

    trial: int
    token: str
    beside: str
    group: str
    called_real: bool
    wrong: bool
    left: bool | None
    rt_ms: float | None
    exposure_ms: float | None


@dataclass(frozen=True, kw_only=True)
class JudgedSession:
    """One visit of one participant.

    Attributes:
        participant: identifier of the participant on the platform; kept out of all results.
        session: identifier of the session, unique within the participant.
        judgements: scored answers in the order of the trials.
        checks_passed: number of attention checks answered as requested.
        checks_failed: number of attention checks answered otherwise.
        completed: True if the session was completed.
        onset: time at which the picture of its first answer became visible, ISO 8601, or empty if
            unknown.
    """

    participant: str
    session: str
    judgements: Sequence[Judgement]
    checks_passed: int = 0
    checks_failed: int = 0
    completed: bool = False
    onset: str = ""


@dataclass(frozen=True, kw_only=True)
class JoinedAnswers:
    """Sessions with scored answers, and the numbers of answers that were left out.

    Attributes:
        sessions: sessions in the order of their first answers in the files.
        practice: number of practice answers (with feedback), which are not scored.
        other_surveys: number of answers of other studies.
        unknown: number of answers about pictures that are not in the key.
        copies: number of exact duplicates of another answer.
        repeats: number of repeated answers to the same picture within a session; only the first
            counts.
    """

    sessions: Sequence[JudgedSession]
    practice: int = 0
    other_surveys: int = 0
    unknown: int = 0
    copies: int = 0
    repeats: int = 0


@dataclass
class _Collected:
    """A session while it is being assembled."""

    judgements: list[Judgement] = field(default_factory=list)
    checks: dict[Sequence[str], bool] = field(default_factory=dict)
    completed: bool = False
    onset: str = ""


Verdict = Literal["scored", "attention", "practice", "unknown"]


def judge(answers: Iterable[Answer], key: Key, path: Path) -> JoinedAnswers:
    """Join answers with the answer key.

    Args:
        answers: answers from all files.
        key: answer key of the study.
        path: path of the key file, for error messages.

    Raises:
        SurveyError: there are answers, and none is of this study; or a pair is not one real and
            one fake picture.
    """
    given = list(answers)
    ours = [answer for answer in given if answer.survey_id == key.survey_id]
    if given and not ours:
        names = ", ".join(sorted({answer.survey_id for answer in given})[:3])
        raise SurveyError(
            path,
            f"is the key of study {key.survey_id}, and all answers are of {names}; "
            "give the key that was exported with that study",
        )
    unique = list(dict.fromkeys(ours))
    counts = {"practice": 0, "unknown": 0, "repeats": 0}
    by_session: dict[tuple[str, str], _Collected] = {}
    for answer in unique:
        verdict = _verdict(answer, key)
        session = by_session.setdefault((answer.participant, answer.session), _Collected())
        session.completed |= answer.completed
        session.onset = min(filter(None, (session.onset, answer.onset)), default="")
        if verdict in ("practice", "unknown"):
            counts[verdict] += 1
        elif not _add(session, answer, key, verdict, path):
            counts["repeats"] += 1
    return JoinedAnswers(
        sessions=[_close(name, session) for name, session in by_session.items()],
        practice=counts["practice"],
        other_surveys=len(given) - len(ours),
        unknown=counts["unknown"],
        copies=len(ours) - len(unique),
        repeats=counts["repeats"],
    )


def tabulate(sessions: Sequence[JudgedSession], key: Key) -> JudgementTable:
    """Return the judgements as arrays; people are numbered in the order of ``sessions``."""
    tokens = {token: place for place, token in enumerate(sorted(key.pictures))}
    present = {judgement.group for session in sessions for judgement in session.judgements}
    groups = tuple(name for name in (REAL_GROUP, *key.generators) if name in present)
    rows = [
        (who, judgement) for who, session in enumerate(sessions) for judgement in session.judgements
    ]
    judged = [judgement for _, judgement in rows]
    paired = key.rules.unit == "pairs"
    return JudgementTable(
        called_real=np.array([judgement.called_real for judgement in judged], np.float64),
        person=np.array([who for who, _ in rows], np.int64),
        picture=np.array([tokens[judgement.token] for judgement in judged], np.int64),
        group=np.array([groups.index(judgement.group) for judgement in judged], np.int64),
        groups=groups,
        beside=np.array([tokens[judgement.beside] for judgement in judged], np.int64)
        if paired
        else None,
    )


def _verdict(answer: Answer, key: Key) -> Verdict:
    shown = [token for token in (answer.token, answer.other) if token]
    kinds = {key.pictures[token].kind if token in key.pictures else "unknown" for token in shown}
    for kind in ("unknown", "practice", "attention"):
        if kind in kinds:
            return kind
    return "practice" if answer.is_practice else "scored"


def _add(session: _Collected, answer: Answer, key: Key, verdict: Verdict, path: Path) -> bool:
    """Add an answer to its session; return False if that already has one about the picture."""
    if verdict == "attention":
        shown = (answer.token, answer.other)
        if shown in session.checks:
            return False
        session.checks[shown] = key.pictures[answer.token].label == answer.response
        return True
    judgement = _judgement(answer, key, path)
    if any(earlier.token == judgement.token for earlier in session.judgements):
        return False
    session.judgements.append(judgement)
    return True


def _judgement(answer: Answer, key: Key, path: Path) -> Judgement:
    token, beside, response, left = answer.token, "", answer.response, None
    if answer.other:
        labels = {key.pictures[shown].label for shown in (answer.token, answer.other)}
        if len(labels) != 2:
            raise SurveyError(
                path,
                f"pictures {answer.token} and {answer.other} were shown as a pair, and both are "
                f"{labels.pop()}; these answers do not belong to this key",
            )
        left = key.pictures[answer.token].label == "fake"
        beside = answer.other
        if not left:
            token, beside = answer.other, answer.token
            response = opposite(answer.response)
    picture = key.pictures[token]
    return Judgement(
        trial=answer.trial,
        token=token,
        beside=beside,
        group=picture.generator or REAL_GROUP,
        called_real=response == "real",
        wrong=response != picture.label,
        left=left,
        rt_ms=answer.rt_ms,
        exposure_ms=answer.exposure_ms,
    )


def _close(name: tuple[str, str], session: _Collected) -> JudgedSession:
    passed = sum(session.checks.values())
    return JudgedSession(
        participant=name[0],
        session=name[1],
        # Files without positions have 0 everywhere, and keep their order.
        judgements=sorted(session.judgements, key=lambda judgement: judgement.trial),
        checks_passed=passed,
        checks_failed=len(session.checks) - passed,
        completed=session.completed,
        onset=session.onset,
    )
