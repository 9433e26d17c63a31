"""What was said, in one of two words, and which pictures a text means."""

import re
import unicodedata
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from impasto.survey.key import Key
from impasto.survey.trials import Question, Trial

__all__ = ["Vocabulary"]

_WORDS = re.compile(r"[0-9a-z]+")
# As impasto.survey.tokens draws them.
_TOKEN = re.compile(r"[bcdfghjkmnpqrstvwxz][bcdfghjkmnpqrstvwxz2-9]{7}")
# A number stands for the choice of that place: REAL first, or the first picture.
_REAL, _FAKE = frozenset({"real", "r", "1"}), frozenset({"fake", "f", "2", "0"})
_FIRST = frozenset({"1", "first", "left", "a", "picture 1"})
_SECOND = frozenset({"2", "second", "right", "b", "picture 2"})


@dataclass(frozen=True, kw_only=True)
class Vocabulary:
    """How the answers to one study read.

    Attributes:
        tokens: of its pictures; None: unknown, so that whatever looks like one is one.
        asked: of pairs, which picture was to be chosen; None: unknown.
        real: words for real.
        fake: words for fake.
        first: words for the first picture of a pair.
        second: words for the second.
    """

    tokens: Collection[str] | None = None
    asked: Question | None = None
    real: frozenset[str] = field(default=_REAL)
    fake: frozenset[str] = field(default=_FAKE)
    first: frozenset[str] = field(default=_FIRST)
    second: frozenset[str] = field(default=_SECOND)

    @classmethod
    def of(cls, key: Key | None) -> "Vocabulary":
        """Return the vocabulary of a study, or of any study."""
        if key is None:
            return cls()
        words: Mapping[str, Any] = key.options.get("words", {})

        def also(known: frozenset[str], name: str) -> frozenset[str]:
            return known | ({_fold(str(words[name]))} if name in words else frozenset())

        asked = key.options.get("question")
        return cls(
            tokens=frozenset(key.pictures),
            asked=asked if asked in ("real", "fake") else None,
            real=also(_REAL, "answer_real"),
            fake=also(_FAKE, "answer_fake"),
            first=also(_FIRST, "picture_first"),
            second=also(_SECOND, "picture_second"),
        )

    def trial_in(self, text: str) -> Trial:
        """Return the tokens in a text, at most two; also those that only look like tokens.

        >>> Vocabulary().trial_in("7. Real or fake? [bk3f9x2q]")
        ('bk3f9x2q',)
        """
        words: list[str] = _WORDS.findall(text.lower())
        known = self.tokens or ()
        found = [word for word in words if word in known or _TOKEN.fullmatch(word)]
        return tuple(dict.fromkeys(found))[:2]

    def meaning(self, said: str, *, pair: bool) -> Question | None:
        """Return what the first picture of a trial was called; None: not understood.

        >>> Vocabulary(asked="fake").meaning("Picture 2", pair=True)
        'real'
        """
        word = _fold(said)
        if word.endswith((".0", ",0")):  # a spreadsheet's number
            word = word[:-2]
        if pair and self.asked is not None and word in self.first | self.second:
            chosen_is_first = word in self.first
            return self.asked if chosen_is_first else _OPPOSITE[self.asked]
        if pair and word.isdecimal():
            return None
        if word in self.real:
            return "real"
        return "fake" if word in self.fake else None


_OPPOSITE: Mapping[Question, Question] = {"real": "fake", "fake": "real"}


def _fold(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
