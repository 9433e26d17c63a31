"""The public side of a study: trials and orders, without any information on which are real.

Also the list of screens of a participant's session; ``page/survey.js`` makes the same list for the
site that works without a server.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from impasto.survey.protocols import Question, SurveyProtocol, find_protocol

__all__ = [
    "Order",
    "Practice",
    "Screen",
    "Step",
    "Study",
    "Trial",
    "make_steps",
]

Trial = tuple[str, ...]
"""Tokens of the pictures of one trial: one, or those at the left and the right of a pair."""
Order = Sequence[Trial]
"""All trials of one participant after practice, attention checks among them."""


@dataclass(frozen=True, kw_only=True)
class Practice:
    """Practice trial, which has feedback; the only kind of trial whose correct answer is public.

    Attributes:
        trial: tokens of its pictures, which are in no other trial.
        answer: correct answer about the first picture; in a pair, the second picture is the
            opposite.
    """

    trial: Trial
    answer: Question


@dataclass(frozen=True, kw_only=True)
class Study:
    """Public side of a study: everything that a participant's browser may know.

    It is stored as ``study.json`` in the exported folder, and serves as the folder's manifest.

    Attributes:
        survey_id: identifier of the study, which is part of every answer.
        version: version of Impasto that exported the study.
        protocol: name of the protocol, see :mod:`impasto.survey.protocols`.
        question: in paired protocols, kind of picture to choose, ``real`` or ``fake``.
        pictures: mapping from token to the path of the picture file, relative to the folder.
        width: width of every picture in pixels.
        height: height of every picture in pixels.
        practice: practice trials, which come first and are the same for everybody.
        orders: orders of the trials; successive participants get successive orders, cyclically.
        real_share: share of real pictures among the judged ones, in [0, 1], as participants are
            told.
        attention_checks: number of attention check trials in each order.
        exposure_ms: time for which a picture is shown, milliseconds; None: until the answer.
        mask_ms: time for which a mask is shown after the picture, milliseconds.
        texts: mapping from name to text for everything that participants read
            (``page/texts_en.yaml``).
    """

    survey_id: str
    version: str
    protocol: str
    question: Question
    pictures: Mapping[str, str]
    width: int
    height: int
    practice: Sequence[Practice]
    orders: Sequence[Order]
    real_share: float
    attention_checks: int = 0
    exposure_ms: int | None = None
    mask_ms: int = 0
    texts: Mapping[str, str] = field(default_factory=dict)

    @property
    def rules(self) -> SurveyProtocol:
        """Protocol of the study, which defines trials, choices and answers."""
        return find_protocol(self.protocol)

    def as_dict(self) -> dict[str, Any]:
        """Return the content of ``study.json``."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Study":
        """Create a study from the content of ``study.json``.

        Raises:
            KeyError, TypeError: the content has a different structure.
        """
        practice = [
            Practice(trial=tuple(example["trial"]), answer=example["answer"])
            for example in stored["practice"]
        ]
        orders = [[tuple(trial) for trial in order] for order in stored["orders"]]
        return cls(**{**stored, "practice": practice, "orders": orders})


Screen = Literal["instructions", "trial", "feedback", "ready", "thanks"]


@dataclass(frozen=True, kw_only=True)
class Step:
    """Step of a session: one screen.

    Attributes:
        screen: kind of screen.
        trial: tokens of the pictures of the trial, or of the trial that the feedback is about;
            otherwise empty.
        practice: the practice trial that the step belongs to, or None.
        number: number of the trial within its part of the session (practice or scored), from 1.
        total: number of trials in that part.
        position: position of the trial in the session, practice included, from 1; 0 for other
            screens.
    """

    screen: Screen
    trial: Trial = ()
    practice: Practice | None = None
    number: int = 0
    total: int = 0
    position: int = 0


def make_steps(study: Study, order: int) -> list[Step]:
    """Return the screens of a participant's session after consent.

    Args:
        study: public side of the study.
        order: index of the order in ``study.orders``.
    """
    steps = [Step(screen="instructions")]
    examples = len(study.practice)
    for number, example in enumerate(study.practice, 1):
        step = Step(
            screen="trial",
            trial=example.trial,
            practice=example,
            number=number,
            total=examples,
            position=number,
        )
        steps += [step, replace(step, screen="feedback", position=0)]
    if study.practice:
        steps.append(Step(screen="ready"))
    trials = study.orders[order]
    for number, trial in enumerate(trials, 1):
        steps.append(
            Step(
                screen="trial",
                trial=trial,
                number=number,
                total=len(trials),
                position=examples + number,
            )
        )
    return [*steps, Step(screen="thanks")]
