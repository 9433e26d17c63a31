"""Simulated participants, for trying out a report without answers and testing its intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from impasto.survey.analysis.components import constant_of
from impasto.survey.analysis.judgements import REAL_GROUP
from impasto.survey.answers import Answer
from impasto.survey.key import Key
from impasto.survey.protocols import Question
from impasto.survey.study import Trial

__all__ = ["Population", "simulate"]


@dataclass(frozen=True, kw_only=True)
class Population:
    """Population parameters of simulated people and pictures.

    Attributes:
        called_real: mapping from ``real`` and each generator to the share of REAL; in paired
            protocols, from each generator to the share of pairs in which it fools people.
        person_sd: standard deviation between people, in log-odds.
        picture_sd: standard deviation between pictures, in log-odds.
        median_ms: median of the reaction times, milliseconds.
    """

    called_real: Mapping[str, float]
    person_sd: float = 0.5
    picture_sd: float = 1.0
    median_ms: float = 1900.0


def simulate(
    key: Key, population: Population, *, people: int, rng: np.random.Generator
) -> list[Answer]:
    """Simulate people who each take one order of the key and pass all attention checks.

    Args:
        key: answer key of the study.
        population: population parameters.
        people: number of people.
        rng: random number generator that draws people, pictures and answers.
    """
    spread = float(population.picture_sd)
    pictures = {token: spread * float(rng.standard_normal()) for token in sorted(key.pictures)}
    constants = {
        name: constant_of(share, population.person_sd, spread)
        for name, share in population.called_real.items()
    }
    answers: list[Answer] = []
    for person in range(people):
        own = population.person_sd * float(rng.standard_normal())
        pace = population.median_ms * float(np.exp(0.25 * rng.standard_normal()))
        for number, trial in enumerate(key.orders[person % len(key.orders)], 1):
            answers.append(
                Answer(
                    survey_id=key.survey_id,
                    participant=f"person-{person + 1:03d}",
                    session="1",
                    trial=number,
                    token=trial[0],
                    other=trial[1] if len(trial) > 1 else "",
                    response=_say(key, trial, own, constants, pictures, rng),
                    rt_ms=float(round(300 + pace * np.exp(0.5 * rng.standard_normal()))),
                    completed=True,
                )
            )
    return answers


def _say(
    key: Key,
    trial: Trial,
    own: float,
    constants: Mapping[str, float],
    pictures: Mapping[str, float],
    rng: np.random.Generator,
) -> Question:
    shown: Sequence[str] = trial
    first = key.pictures[shown[0]]
    if first.kind == "attention":
        return first.label
    token = next((one for one in shown if key.pictures[one].label == "fake"), shown[0])
    group = key.pictures[token].generator or REAL_GROUP
    called_real = bool(rng.random() < expit(constants[group] + own + pictures[token]))
    if token != shown[0]:
        called_real = not called_real
    return "real" if called_real else "fake"
