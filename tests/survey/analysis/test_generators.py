"""Errors, sensitivity and comparisons of generators, from simulated answers."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from impasto.survey.analysis.generators import yes_no
from impasto.survey.analysis.simulation import Population, simulate
from impasto.survey.report.text import conclusions, limits, verdict

if TYPE_CHECKING:
    pass
from tests.survey.analysis.studies import Made, answer_all, find, make_study, scored


def test_errors_are_those_of_hype_and_d_prime_is_that_of_the_counts(single: Made) -> None:
    found = find(single, answer_all(single))
    fooled, real = found.group("good"), found.group("real")
    good = next(one for one in found.generators if one.name == "good")
    assert fooled is not None
    assert real is not None
    assert good.error is not None
    wanted = (fooled.called_real.value + 1 - real.called_real.value) / 2
    assert good.error.value == pytest.approx(wanted)
    counted = yes_no(
        fooled.answers - fooled.real, fooled.answers, real.answers - real.real, real.answers
    )
    assert good.d_prime is not None
    assert good.criterion is not None
    assert good.d_prime.value == pytest.approx(counted.d_prime)
    assert good.criterion.value == pytest.approx(counted.criterion)
    assert good.d_prime.interval is not None
    assert good.d_prime.interval.holds(good.d_prime.value)
    assert good.d_prime_people is not None


def test_a_clear_difference_between_generators_is_found_and_worded(single: Made) -> None:
    found = find(single, answer_all(single, people=30))
    (compared,) = found.comparisons
    assert (compared.first, compared.second) == ("bad <b>", "good")
    assert compared.difference.value < 0
    assert compared.permutation is not None
    assert compared.permutation.paired
    assert compared.permutation.p < 0.01
    said = conclusions(found)
    assert any(text.startswith("good fools people more often than bad <b>") for text in said)
    assert any("bad <b>: people called its pictures REAL in" in text for text in said)


def test_indistinguishable_takes_an_equivalence_test(tmp_path: Path) -> None:
    many = make_study(tmp_path / "many", per_class=40, orders=4)
    population = Population(called_real={"real": 0.5, "good": 0.5}, person_sd=0.2, picture_sd=0.2)
    answers = simulate(many.key, population, people=60, rng=np.random.default_rng(0))
    (shown,) = find(many, answers).generators
    assert shown.equivalence is not None
    assert shown.equivalence.shown
    assert verdict(shown) == "indistinguishable within the margin"
    few = make_study(tmp_path / "few")
    found = find(few, answer_all(few, people=5, good=0.7, real=0.7))
    (unclear,) = found.generators
    assert unclear.equivalence is not None
    assert not unclear.equivalence.shown
    assert verdict(unclear) == "open"
    assert any("This is no proof that they cannot" in text for text in conclusions(found))
    assert any("5 people are few" in text for text in limits(found))


def test_one_person_is_told_in_plain_words_what_cannot_be_said(tmp_path: Path) -> None:
    study = make_study(tmp_path)
    found = find(study, answer_all(study, people=1))
    (generator,) = found.generators
    assert verdict(generator) == "cannot be said"
    (said,) = conclusions(found)
    assert "Whether people can tell them apart cannot be said" in said
    assert "no interval: it takes two people and two pictures" in said
    assert "\N{EN DASH}" not in said
    told = limits(found)
    assert any(text.startswith("One person is no sample") for text in told)
    assert any("Two given pictures never differ by more than chance" in text for text in told)


def test_an_interval_of_nearly_everything_says_why(tmp_path: Path) -> None:
    study = make_study(tmp_path, per_class=2)
    answers = [
        replace(one, response="real") if scored(study, one) else one
        for one in answer_all(study, people=2)
    ]
    found = find(study, answers)
    (generator,) = found.generators
    (said,) = conclusions(found)
    # Two answers, both REAL: Clopper and Pearson's interval begins at sqrt(0.025).
    assert said.count("95 % interval 16 to 100\N{NO-BREAK SPACE}%: too few people or pictures") == 2
    assert verdict(generator) == "open"
    assert "all answers about one kind of picture are the same" in said
    assert "could not tell them apart" not in said
