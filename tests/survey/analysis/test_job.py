"""From simulated answers to findings; pairs; staircases."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from impasto.survey.analysis.job import hype_time
from impasto.survey.analysis.judgements import JudgedSession, Judgement, judge
from impasto.survey.report.job import results_json
from impasto.survey.report.text import conclusions

if TYPE_CHECKING:
    pass
from tests.survey.analysis.studies import Made, answer_all, find, make_study, options, scored


def test_rates_are_counts_of_the_answers(single: Made) -> None:
    answers = answer_all(single)
    found = find(single, answers)
    for group in found.groups:
        said = [
            one.response
            for one in answers
            if scored(single, one)
            and (single.key.pictures[one.token].generator or "real") == group.name
        ]
        assert group.answers == len(said)
        assert group.real == said.count("real")
        assert group.called_real.value == pytest.approx(said.count("real") / len(said))
        assert group.called_real.interval is not None
        assert group.called_real.interval.holds(group.called_real.value)
    assert [group.name for group in found.groups] == ["real", "bad <b>", "good"]
    assert sum(one.n for one in found.pictures) == sum(group.answers for group in found.groups)


def test_pairs_are_judged_by_their_fakes(tmp_path: Path) -> None:
    made = make_study(tmp_path, protocol="pair")
    answers = answer_all(made, good=0.3)
    found = find(made, answers)
    (group,) = found.groups
    fooled = 0
    for one in answers:
        if one.other:
            left_is_fake = made.key.pictures[one.token].label == "fake"
            fooled += (one.response == "real") == left_is_fake
    assert (group.name, group.real, group.answers) == ("good", fooled, 14 * 6)
    # Each answer tells of both pictures.
    assert sum(one.n for one in found.pictures) == 2 * 14 * 6
    reals = [one for one in found.pictures if one.group == "real"]
    assert sum(one.fake for one in reals) == fooled
    (good,) = found.generators
    assert good.error == group.called_real
    assert good.d_prime is not None
    assert good.d_prime.value > 0
    assert good.d_prime.interval is not None
    assert good.d_prime.interval.holds(good.d_prime.value)
    assert good.criterion is not None
    assert any("was taken for the real one" in text for text in conclusions(found))
    assert json.loads(results_json(found, options(made)))["protocol"] == "pair"


def test_files_without_times_and_positions_are_analysed(single: Made) -> None:
    answers = [replace(one, rt_ms=None, trial=0) for one in answer_all(single)]
    found = find(single, answers)
    assert found.groups[0].times is None
    assert any("no reaction times" in note for note in found.notes)
    assert judge(answers, single.key, single.key_path).repeats == 0


def timed(exposures: Sequence[float], wrong: Sequence[bool] = ()) -> JudgedSession:
    flags = list(wrong) or [False] * len(exposures)
    return JudgedSession(
        participant="p",
        session="1",
        judgements=[
            Judgement(
                trial=trial,
                token=str(trial),
                beside="",
                group="real",
                called_real=True,
                wrong=flag,
                left=None,
                rt_ms=500.0,
                exposure_ms=exposure,
            )
            for trial, (exposure, flag) in enumerate(zip(exposures, flags, strict=True), 1)
        ],
    )


def test_hype_time_is_the_mean_over_blocks_of_the_commonest_exposure() -> None:
    rng = np.random.default_rng(0)
    one = timed([500, 400, 400, 300, 200, 200])  # 400 and 200
    other = timed([500, 500, 500, 100, 100, 300])  # 500 and 100
    found = hype_time([one, other], blocks=2, resamples=1000, rng=rng)
    assert found is not None
    assert found.score_ms == (300 + 300) / 2
    assert found.people.low == found.people.high == 300
    whole = hype_time([one, other], blocks=1, resamples=1000, rng=rng)
    assert whole is not None
    assert whole.score_ms == ((400 + 200) / 2 + 500) / 2
    assert whole.errors["500"] == (4, 0)


def test_the_jitter_of_screens_is_no_staircase() -> None:
    rng = np.random.default_rng(0)
    exposures = rng.choice([983.4, 1000.1, 1016.7], 40).tolist()
    assert hype_time([timed(exposures)], blocks=1, resamples=1000, rng=rng) is None


def test_a_staircase_is_reported(tmp_path: Path) -> None:
    made = make_study(tmp_path, protocol="timed")
    answers = [
        replace(one, exposure_ms=500.0 - 20 * one.trial) for one in answer_all(made, good=0.4)
    ]
    found = find(made, answers)
    assert found.exposure is not None
    assert any("HYPE-time" in text for text in conclusions(found))
