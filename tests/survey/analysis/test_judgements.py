"""Answers are joined with the key; what is not of this study stays out."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from impasto.options.errors import SurveyError

if TYPE_CHECKING:
    pass
from tests.survey.analysis.studies import Made, answer_all, find, make_study, scored


def test_copies_repeats_practice_and_strangers_do_not_count(single: Made) -> None:
    answers = answer_all(single, people=4)
    clean = find(single, answers)
    again = next(one for one in answers if scored(single, one))
    practice = next(t for t, one in single.key.pictures.items() if one.kind == "practice")
    messy = [
        *answers,
        *answers[:7],
        replace(again, trial=99, response="fake" if again.response == "real" else "real"),
        replace(again, token=practice),
        replace(again, token="nobody-knows"),  # noqa: S106 - of a picture
        replace(again, survey_id="another"),
        *(replace(one, session="2") for one in answers if one.participant == "person-001"),
    ]
    found = find(single, messy)
    assert found.after == clean.after
    assert {name: count for name, count in found.sessions.items() if count} == {
        "answers in the files": len(messy),
        "practice answers": 1,
        "answers of other studies": 1,
        "answers about unknown pictures": 1,
        "answers that were there twice": 7,
        "second answers about a picture": 1,
        "further sessions of a participant": 1,
    }


def test_answers_of_another_study_are_refused(single: Made) -> None:
    answers = [replace(one, survey_id="other") for one in answer_all(single)]
    with pytest.raises(SurveyError, match="is the key of study s1, and all answers are of other"):
        find(single, answers)
    with pytest.raises(SurveyError, match="no answer"):
        find(single, [])


def test_pairs_of_two_of_a_kind_are_refused(tmp_path: Path) -> None:
    made = make_study(tmp_path, protocol="pair")
    reals = [t for t, one in made.key.pictures.items() if one.generator == "" and one.source]
    answer = answer_all(made)[0]
    with pytest.raises(SurveyError, match="both are real"):
        find(made, [replace(answer, token=reals[0], other=reals[1])])
