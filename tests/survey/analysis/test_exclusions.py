"""Whose answers do not count, and what that changes."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.options.errors import SurveyError
from impasto.survey.analysis.exclusions import first_sessions
from impasto.survey.analysis.job import analyze
from impasto.survey.analysis.judgements import JudgedSession, Judgement
from impasto.survey.answers import Answer
from impasto.survey.report.text import limits

if TYPE_CHECKING:
    pass
from tests.survey.analysis.studies import Made, answer_all, change, find, options, scored


def test_who_does_not_attend_is_excluded_and_counted(single: Made) -> None:
    answers = answer_all(single, people=10)

    def wrong_checks(one: Answer) -> Answer:
        if made_kind(one) != "attention":
            return one
        return replace(one, response="fake" if one.response == "real" else "real")

    def made_kind(one: Answer) -> str:
        return single.key.pictures[one.token].kind

    answers = change(answers, 1, wrong_checks)
    answers = change(
        answers, 2, lambda one: replace(one, completed=False) if one.trial < 9 else None
    )
    answers = change(
        answers, 3, lambda one: replace(one, response="real") if scored(single, one) else one
    )
    answers = change(answers, 4, lambda one: replace(one, rt_ms=120.0))
    # One fast answer of many is left out alone.
    answers = change(answers, 5, lambda one: replace(one, rt_ms=120.0) if one.trial == 1 else one)
    found = find(single, answers)
    meets = {reason.name: (reason.meets, reason.removed) for reason in found.reasons}
    assert meets == {
        "Attention check failed": (1, 1),
        "Incomplete": (1, 1),
        "Same answer everywhere": (1, 1),
        "Too fast": (1, 1),
    }
    assert (found.before.people, found.after.people) == (10, 6)
    assert [one.number for one in found.excluded] == [1, 2, 3, 4]
    assert found.after.answers == 6 * 24 - 1
    assert any("1 answers of people who count came too fast" in note for note in found.notes)
    assert any("4 of 10 people are excluded" in text for text in limits(found))
    lenient = find(
        single,
        answers,
        failed_checks=2,
        keep_incomplete=True,
        keep_straight_lines=True,
        min_rt_ms=0.0,
    )
    assert lenient.after == lenient.before
    assert lenient.after.people == 10


def test_nobody_excluded_changes_nothing(single: Made) -> None:
    found = find(single, answer_all(single))
    assert found.before == found.after
    assert "Nobody was excluded." in limits(found)


def test_the_earlier_session_counts() -> None:
    one = Judgement(
        trial=1,
        token="a",  # noqa: S106 - of a picture
        beside="",
        group="real",
        called_real=True,
        wrong=False,
        left=None,
        rt_ms=None,
        exposure_ms=None,
    )
    late = JudgedSession(participant="p", session="1", judgements=[one], onset="2026-05-02T08:00Z")
    early = replace(late, session="2", onset="2026-05-01T08:00Z")
    empty = replace(late, participant="q", judgements=[])
    kept, further = first_sessions([late, early, empty])
    assert ([session.session for session in kept], further) == (["2"], 1)


def test_excluding_everybody_is_an_error_that_says_why(single: Made) -> None:
    answers = [replace(one, rt_ms=1.0) for one in answer_all(single, people=3)]
    with pytest.raises(SurveyError, match=r"all 3 participants are excluded \(too fast: 3\)"):
        find(single, answers)
    source = Path("answers.csv")
    with pytest.raises(SurveyError, match=r"^answers\.csv: .*--keep_straight_lines true"):
        analyze(answers, single.key, single.key_path, options(single), answers_path=source)
