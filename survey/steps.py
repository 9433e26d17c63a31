"""What a participant goes through, screen by screen; ``page/survey.js`` makes the same."""

from dataclasses import dataclass, replace
from typing import Literal

from impasto.survey.trials import Practice, Study, Trial

__all__ = ["Screen", "Step", "make_steps", "response_of"]

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
    parts = len(study.practice)
    for number, one in enumerate(study.practice, 1):
        step = Step(
            screen="trial",
            trial=one.trial,
            practice=one,
            number=number,
            total=parts,
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
                position=parts + number,
            )
        )
    return [*steps, Step(screen="thanks")]


def response_of(study: Study, choice: str) -> Literal["real", "fake"]:
    """Return what the first picture was called; in a pair, the second was called the other.

    Args:
        study: the study.
        choice: one of :data:`impasto.survey.screens.CHOICES`.
    """
    if study.protocol != "pair":
        return "real" if choice == "real" else "fake"
    if choice == "1":
        return study.question
    return "fake" if study.question == "real" else "real"
