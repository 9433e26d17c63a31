"""The public side of a study: its trials in their orders, without a word on which picture is real.

Also the screens that a participant goes through, one by one; ``page/survey.js`` makes the same list
for the site that works without a server.
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
    """A trial with feedback; the only kind whose truth is public.

    Attributes:
        trial: its pictures, which are in no other trial.
        answer: what its first picture is; of a pair, the second is the other.
    """

    trial: Trial
    answer: Question


@dataclass(frozen=True, kw_only=True)
class Study:
    """The public side of a study: everything that a participant's browser may know.

    It is ``study.json`` of the exported folder, and the manifest of it.

    Attributes:
        survey_id: names the study in every answer.
        version: of Impasto.
        protocol: name of how trials are shown and answered; see :mod:`impasto.survey.protocols`.
        question: of a pair, which of the two is to be chosen.
        pictures: token to the file's path, relative to the folder.
        width: of every picture, pixels.
        height: of every picture, pixels.
        practice: trials that come first, the same for everybody.
        orders: one for each participant to come; each is used in turn, then from the beginning.
        real_share: share of real pictures among those that are judged, as participants are told.
        attention_checks: how many trials of each order ask for one certain answer.
        exposure_ms: how long a picture is shown; None: until it is answered.
        mask_ms: how long the mask is shown after it.
        texts: name to text, all that participants read (``page/texts_en.yaml``).
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
        """What its protocol says about trials, choices and answers."""
        return find_protocol(self.protocol)

    def as_dict(self) -> dict[str, Any]:
        """Return what ``study.json`` holds."""
        return asdict(self)

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> "Study":
        """Make a study of what ``study.json`` holds.

        Raises:
            KeyError, TypeError: it is of another form.
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
    """One screen.

    Attributes:
        screen: which.
        trial: the pictures of a trial or of its feedback.
        practice: the practice trial that it belongs to, or None.
        number: of the trial in its part, from 1.
        total: trials of that part.
        position: of the trial in the session, practice included, from 1; 0 of other screens.
    """

    screen: Screen
    trial: Trial = ()
    practice: Practice | None = None
    number: int = 0
    total: int = 0
    position: int = 0


def make_steps(study: Study, order: int) -> list[Step]:
    """Return the screens of a participant after consent.

    Args:
        study: the study.
        order: which of its orders.
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
