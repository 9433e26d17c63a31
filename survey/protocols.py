"""Protocols: how a study presents trials. One object each, used by all other modules.

Three are built in: ``single``, ``pair`` and ``timed``. A program adds its own with
:func:`register_protocol`; no other module has to change. What a protocol can vary is limited by
what an :class:`impasto.survey.answers.Answer` can hold: a trial shows one picture, or one real and
one fake picture side by side, and an answer states whether the first is real or fake.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from impasto.options.errors import OptionError
from impasto.options.fields import nearest, require

__all__ = [
    "FIRST_OR_SECOND",
    "REAL_OR_FAKE",
    "Choice",
    "Question",
    "SurveyProtocol",
    "find_protocol",
    "opposite",
    "protocol_names",
    "register_protocol",
]

Question = Literal["real", "fake"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")


def opposite(response: Question) -> Question:
    """Return the opposite answer.

    >>> opposite("real")
    'fake'
    """
    return "fake" if response == "real" else "real"


@dataclass(frozen=True)
class Choice:
    """One of the answers that a participant can choose.

    Attributes:
        value: value that the page's form sends.
        label: name of the text on its button, and on the forms of platforms.
        meaning: answer about the first picture: ``real``, ``fake``, ``asked`` (what the study's
            question asks for) or ``other`` (the opposite of that).
    """

    value: str
    label: str
    meaning: Literal["real", "fake", "asked", "other"]


REAL_OR_FAKE = (Choice("real", "answer_real", "real"), Choice("fake", "answer_fake", "fake"))
"""The choices of protocols that show one picture."""

FIRST_OR_SECOND = (Choice("1", "picture_first", "asked"), Choice("2", "picture_second", "other"))
"""The choices of protocols that show a pair, one picture of which is to be chosen."""


@dataclass(frozen=True, kw_only=True)
class SurveyProtocol:
    """Protocol: what a trial shows, how it is answered, and what an answer means.

    The names of texts are those of ``page/texts_en.yaml`` or of ``texts``. In the texts,
    ``{question}`` is replaced by what the study asks for, and ``{answer}`` by the correct answer:
    ``real`` or ``fake``.

    Attributes:
        name: name for ``--protocol`` and ``study.json``: lower-case letters, digits and _.
        description: description of a trial, in English, for reports.
        picture_names: names of the texts that describe each picture of a trial to people who cannot
            see it; one, or two for a pair of a real and a fake picture.
        choices: possible answers, in the order of their buttons: :data:`REAL_OR_FAKE` for one
            picture, :data:`FIRST_OR_SECOND` for a pair. Labels can differ from these; values and
            meanings cannot, because the pages' scripts depend on them.
        exposure_ms: default time for which the pictures are shown, milliseconds; None: until the
            answer.
        instructions: name of the text with the instructions.
        share: name of the text that states the share of real pictures.
        keys: name of the text that states which keys select an answer.
        question: name of the text above the choices.
        feedback: name of the text with the feedback of a practice trial.
        texts: English texts that only this protocol has, as a mapping from name to text.

    Raises:
        ValueError: the name, the number of pictures, or the choices are not as described above.
    """

    name: str
    description: str
    picture_names: Sequence[str] = ("picture",)
    choices: Sequence[Choice] = REAL_OR_FAKE
    exposure_ms: int | None = None
    instructions: str
    share: str = "instructions_share"
    keys: str = "instructions_keys_single"
    question: str
    feedback: str = "feedback_is_{answer}"
    texts: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(f"{self.name!r} is no name of a protocol")
        if self.pictures_per_trial not in (1, 2):
            raise ValueError(f"{self.name}: a trial shows one picture or two")
        known = FIRST_OR_SECOND if self.is_paired else REAL_OR_FAKE
        if [(choice.value, choice.meaning) for choice in self.choices] != [
            (choice.value, choice.meaning) for choice in known
        ]:
            raise ValueError(
                f"{self.name}: expected choices with the values and meanings of {known}"
            )

    @property
    def pictures_per_trial(self) -> int:
        """Number of pictures that a trial shows."""
        return len(self.picture_names)

    @property
    def is_paired(self) -> bool:
        """True if a trial shows one real and one fake picture."""
        return self.pictures_per_trial == 2

    @property
    def is_timed(self) -> bool:
        """True if the pictures disappear before the answer."""
        return self.exposure_ms is not None

    @property
    def unit(self) -> Literal["answers", "pairs"]:
        """Unit of the analysis: answers about single pictures, or decisions within pairs."""
        return "pairs" if self.is_paired else "answers"

    @property
    def fits_forms(self) -> bool:
        """True if Google Forms and Qualtrics support the protocol: they cannot hide a picture."""
        return not self.is_timed

    @property
    def layout(self) -> str:
        """Name of the layout in ``survey.js`` and ``survey.css``; only pairs have their own."""
        return "pair" if self.is_paired else self.name

    @property
    def values(self) -> tuple[str, ...]:
        """Values that the page's form may send."""
        return tuple(choice.value for choice in self.choices)

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the texts of the choices, in their order."""
        return tuple(choice.label for choice in self.choices)

    def response_of(self, value: str, question: Question) -> Question:
        """Return a choice's answer about the first picture; in pairs, the second is the opposite.

        Args:
            value: value that the form sent.
            question: kind of picture that the study's question asks for, ``real`` or ``fake``.

        Raises:
            KeyError: the protocol has no such value.
        """
        meaning = {choice.value: choice.meaning for choice in self.choices}[value]
        if meaning == "asked":
            return question
        return opposite(question) if meaning == "other" else meaning

    def labels_in_check(self, number: int) -> tuple[Question, ...]:
        """Return the answers that an attention check's cards request; single cards alternate."""
        return ("real", "fake") if self.is_paired else (("real", "fake")[number % 2],)

    def practice_per_kind(self, trials: int) -> int:
        """Return the number of real pictures, and of fake ones, in a number of practice trials.

        Raises:
            OptionError: the numbers of real and fake pictures cannot be equal.
        """
        if self.is_paired:
            return trials
        require(
            trials % 2 == 0,
            "practice",
            f"{trials} is odd; half of the practice pictures are real",
        )
        return trials // 2

    def exposure_of(self, wanted_ms: int | None) -> int | None:
        """Return the time for which pictures are shown, milliseconds; None: until the answer.

        Args:
            wanted_ms: time that the study requests, milliseconds; None: the protocol's default.

        Raises:
            OptionError: a time is requested, but the protocol does not support one.
        """
        if wanted_ms is not None and not self.is_timed:
            timed = [name for name, other in _PROTOCOLS.items() if other.is_timed]
            raise OptionError(
                "exposure_ms", f"goes with --protocol {' or '.join(timed)}, not {self.name}"
            )
        return self.exposure_ms if wanted_ms is None else wanted_ms


_PROTOCOLS: dict[str, SurveyProtocol] = {}


def register_protocol(protocol: SurveyProtocol) -> None:
    """Register a protocol under its name, in this process.

    Raises:
        ValueError: another protocol has that name.
    """
    if _PROTOCOLS.setdefault(protocol.name, protocol) != protocol:
        raise ValueError(f"there is another protocol {protocol.name!r}")


def protocol_names() -> tuple[str, ...]:
    """Return the names of all registered protocols, the built-in ones first."""
    return tuple(_PROTOCOLS)


def find_protocol(name: str) -> SurveyProtocol:
    """Return the protocol with a given name.

    Raises:
        OptionError: no protocol has that name.
    """
    if name not in _PROTOCOLS:
        expected = f"{', '.join(protocol_names())}{nearest(name, _PROTOCOLS)}"
        raise OptionError("protocol", f"{name!r}: expected one of {expected}")
    return _PROTOCOLS[name]


register_protocol(
    SurveyProtocol(
        name="single",
        description="one picture at a time, no limit of time",
        instructions="instructions_single",
        question="question_single",
    )
)
register_protocol(
    SurveyProtocol(
        name="pair",
        description="pairs of one real and one fake picture",
        picture_names=("picture_first", "picture_second"),
        choices=FIRST_OR_SECOND,
        instructions="instructions_pair_{question}",
        share="instructions_share_pair",
        keys="instructions_keys_pair",
        question="question_pair_{question}",
        feedback="feedback_first_{answer}",
    )
)
register_protocol(
    SurveyProtocol(
        name="timed",
        description="one picture at a time, shown for a limited time",
        exposure_ms=1000,  # as in AMT Real vs Fake (Isola et al. 2017, section 3)
        instructions="instructions_timed",
        question="question_timed",
    )
)
