"""Small studies with simulated answers, and their analysis."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from impasto.options.survey import SurveyReportOptions
from impasto.survey.analysis.findings import Findings
from impasto.survey.analysis.job import analyze
from impasto.survey.analysis.simulation import Population, simulate
from impasto.survey.answers import Answer
from impasto.survey.key import Key, KeyedPicture, write_key

if TYPE_CHECKING:
    pass


RATES = {"real": 0.75, "good": 0.5, "bad <b>": 0.15}


@dataclass(frozen=True)
class Made:
    """A study on disk with its key."""

    key: Key
    key_path: Path
    study: Path


def make_study(
    folder: Path,
    *,
    generators: Sequence[str] = ("good",),
    per_class: int = 6,
    protocol: str = "single",
    orders: int = 8,
    pictures: bool = False,
) -> Made:
    rng = np.random.default_rng(0)
    study = folder / "study"
    (study / "images").mkdir(parents=True)
    keyed: dict[str, KeyedPicture] = {}

    def add(label: Any, generator: str, kind: Any, source: str) -> str:
        token = rng.bytes(6).hex()
        content = b""
        if pictures:
            file = study / "images" / f"{token}.png"
            Image.fromarray(rng.integers(0, 256, (24, 32, 3), np.uint8)).save(file)
            content = file.read_bytes()
        keyed[token] = KeyedPicture(
            kind=kind,
            label=label,
            generator=generator,
            source=source,
            picture_sha256=hashlib.sha256(content).hexdigest(),
        )
        return token

    count = per_class * len(generators)
    reals = [add("real", "", "scored", f"photos/{place}.jpg") for place in range(count)]
    fakes = [
        add("fake", name, "scored", f"{place}_{name}.png")
        for name in generators
        for place in range(per_class)
    ]
    checks = [(add(label, "", "attention", ""),) for label in ("real", "fake")]
    practice = add("real", "", "practice", "practice.jpg")
    keyed[practice] = replace(keyed[practice], kind="practice")
    made = []
    for _ in range(orders):
        trials: list[tuple[str, ...]]
        if protocol == "pair":
            pairs = zip(rng.permutation(reals), rng.permutation(fakes), strict=True)
            trials = [tuple(str(one) for one in rng.permutation(pair)) for pair in pairs]
        else:
            trials = [(str(token),) for token in rng.permutation(reals + fakes)]
        made.append([*trials[:2], *checks, *trials[2:]])
    key = Key(survey_id="s1", version="0", protocol=protocol, seed=0, pictures=keyed, orders=made)
    write_key(folder / "key.json", key)
    return Made(key, folder / "key.json", study)


def answer_all(made: Made, people: int = 14, seed: int = 3, **rates: float) -> list[Answer]:
    population = Population(called_real={**RATES, **rates}, picture_sd=0.5)
    return simulate(made.key, population, people=people, rng=np.random.default_rng(seed))


def options(made: Made, **changes: Any) -> SurveyReportOptions:
    return SurveyReportOptions(key=made.key_path, **{"resamples": 1000, **changes})


def find(made: Made, answers: Sequence[Answer], **changes: Any) -> Findings:
    return analyze(answers, made.key, made.key_path, options(made, **changes))


def scored(made: Made, answer: Answer) -> bool:
    return made.key.pictures[answer.token].kind == "scored"


def change(
    answers: Sequence[Answer], person: int, edit: Callable[[Answer], Answer | None]
) -> list[Answer]:
    name = f"person-{person:03d}"
    edited = [edit(one) if one.participant == name else one for one in answers]
    return [one for one in edited if one is not None]
