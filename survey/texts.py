"""All texts that participants read: the included English ones, or custom or translated ones."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any

import yaml

from impasto.options.errors import SurveyError
from impasto.options.fields import nearest
from impasto.survey.study import Study

__all__ = ["Words", "check_texts", "complete_texts", "read_texts"]


def read_texts(path: Path | None, own: Mapping[str, str] | None = None) -> dict[str, str]:
    """Read texts by name.

    Args:
        own: additional English texts of the study's protocol.
        path: path of a YAML file such as ``page/texts_en.yaml``. Missing texts are taken from the
            English ones, unless the file declares another language. None: the English texts.

    Returns:
        Mapping from name to text; placeholders in braces are not filled in yet.

    Raises:
        SurveyError: the file is not YAML, a name is unknown, a translation is incomplete, a text
            has a placeholder that it cannot have, or the two keys are the same.
        OSError: the file cannot be read.
    """
    english = {**_english(), **(own or {})}
    if path is None:
        return english
    try:
        given = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SurveyError(path, f"is no YAML: {error}") from error
    if not isinstance(given, dict):
        raise SurveyError(path, "expected lines of 'name: text'")
    for name, text in given.items():
        _check(path, name, text, english)
    texts = {name: str(text).strip() for name, text in given.items()}
    missing = sorted(set(english) - set(texts))
    if texts.get("language", "en").split("-")[0] != "en" and missing:
        raise SurveyError(
            path, f"is in {texts['language']!r}, but has no text for {', '.join(missing)}"
        )
    texts = {**english, **texts}
    _check_settings(path, texts)
    return texts


def check_texts(path: Path, study: Study) -> None:
    """Reject the texts of a stored study if they cannot be shown.

    Raises:
        SurveyError: as for :func:`read_texts`; names ``path``.
    """
    known = {**_english(), **study.rules.texts}
    for name, text in study.texts.items():
        _check(path, name, text, known)
    _check_settings(path, complete_texts(study))


def complete_texts(study: Study) -> dict[str, str]:
    """Return the texts of a study; missing ones are replaced by the English ones."""
    return {**_english(), **study.rules.texts, **study.texts}


class Words:
    """Texts of a study, with their placeholders filled in.

    >>> from impasto.survey.study import Study
    >>> study = Study(
    ...     survey_id="s",
    ...     version="1",
    ...     protocol="single",
    ...     question="real",
    ...     pictures={},
    ...     width=8,
    ...     height=8,
    ...     practice=[],
    ...     orders=[[("a",), ("b",)]],
    ...     real_share=0.5,
    ... )
    >>> Words(study)("trial_where", number=1, total=2)
    '1 of 2'
    >>> Words(study)("instructions_trials")
    'There are 2 of them, one after the other.'
    """

    def __init__(self, study: Study) -> None:
        self.texts = complete_texts(study)
        trials = len(study.orders[0]) if study.orders else 0
        # Of a person who needs four seconds for a trial, and a minute for the rest.
        minutes = 1 + -(-(trials + len(study.practice)) * 4 // 60)
        self.constants: dict[str, Any] = {
            "exposure_ms": study.exposure_ms or 0,
            "key_fake": self.texts["key_fake"],
            "key_real": self.texts["key_real"],
            "minutes": minutes,
            "practice": len(study.practice),
            "real_percent": f"{100 * study.real_share:.3g}",
            "trials": trials,
        }

    def __call__(self, name: str, **values: Any) -> str:
        """Return one text with its placeholders filled in."""
        return self.texts[name].format_map({**self.constants, **values})

    def paragraphs(self, name: str) -> list[str]:
        """Return one text, with its placeholders filled in, as a list of paragraphs."""
        return [" ".join(part.split()) for part in self(name).split("\n\n") if part.strip()]


# Places that every text may have, and those that single texts have besides.
_CONSTANTS = (
    "exposure_ms",
    "key_fake",
    "key_real",
    "minutes",
    "practice",
    "real_percent",
    "trials",
)
_PLACES = dict.fromkeys(("practice_where", "trial_where"), ("number", "total"))


@cache
def _english() -> Mapping[str, str]:
    text = (files("impasto.survey") / "page" / "texts_en.yaml").read_text(encoding="utf-8")
    return {name: str(value).strip() for name, value in yaml.safe_load(text).items()}


def _check(path: Path, name: object, text: object, known: Mapping[str, str]) -> None:
    if not isinstance(name, str) or name not in known:
        raise SurveyError(path, f"{name}: no such text{nearest(str(name), known)}")
    if isinstance(text, bool) or not isinstance(text, str | int):
        hint = "; write it in quotes" if text is not None else ""
        raise SurveyError(path, f"{name}: expected a text, got {text!r}{hint}")
    if not str(text).strip():
        raise SurveyError(path, f"{name}: is empty")
    allowed = {*_CONSTANTS, *_PLACES.get(name, ())}
    try:
        parts = list(Formatter().parse(str(text)))
    except ValueError as error:
        raise SurveyError(path, f"{name}: {error}; write {{{{ for a brace itself") from error
    for _, place, form, conversion in parts:
        if place is not None and (place not in allowed or form or conversion):
            raise SurveyError(
                path,
                f"{name}: cannot fill in {{{place}}}; can fill in {', '.join(sorted(allowed))}",
            )


def _check_settings(path: Path, texts: Mapping[str, str]) -> None:
    if texts["direction"] not in ("ltr", "rtl"):
        raise SurveyError(path, f"direction: expected ltr or rtl, got {texts['direction']!r}")
    keys = [texts["key_real"].casefold(), texts["key_fake"].casefold()]
    if not all(len(key) == 1 and key.isalnum() for key in keys) or keys[0] == keys[1]:
        raise SurveyError(
            path, f"key_real, key_fake: expected two different letters or digits, got {keys}"
        )
