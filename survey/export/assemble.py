"""From pictures to a study: their names, practice, attention checks, and the orders.

An attention check is a card that says in words what to answer.
"""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from impasto.data.standardize import encode_plain_png
from impasto.options.errors import ImpastoError, OptionError
from impasto.options.fields import flatten
from impasto.options.survey import SurveyExportOptions
from impasto.survey.export.orders import (
    Shown,
    bits_told,
    make_orders,
    pair_up,
    smallest_max_run,
)
from impasto.survey.export.select import REAL, Gathered, Prepared
from impasto.survey.key import Key, KeyedPicture, draw_tokens, make_rng
from impasto.survey.study import Practice, Study, Trial
from impasto.survey.texts import Words

__all__ = ["Piece", "assemble", "attention_cards", "draw_check", "pieces_of"]


Rgb = NDArray[np.uint8]

_WORDS = ("answer_real", "answer_fake", "picture_first", "picture_second")
_INK, _MARGIN = (255, 255, 255), 0.08


def draw_check(
    sentence: str, answer: str, *, width: int, height: int, rng: np.random.Generator
) -> Rgb:
    """Draw a card with a sentence, and the answer that it asks for in large letters.

    The ground is a soft pattern of dark colours, another for each card, so that the file is no
    shorter than others where they are compressed, and no two are the same.

    Args:
        sentence: e.g. ``Please answer``.
        answer: e.g. ``REAL``.
        width: pixels.
        height: pixels.
        rng: draws the pattern.

    Returns:
        RGB, (height, width, 3), uint8.

    Raises:
        ImpastoError: the font has no letter for a part of the text.
    """
    coarse = rng.integers(20, 100, (4, 4, 3), dtype=np.uint8)
    card = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(card)
    for text, share, middle in ((sentence, 0.12, 0.32), (answer, 0.3, 0.62)):
        font = _fitting(text, round(height * share), width * (1 - 2 * _MARGIN))
        draw.text((width / 2, height * middle), text, _INK, font, anchor="mm")
    return np.asarray(card)


def _fitting(text: str, size: int, width: float) -> ImageFont.FreeTypeFont:
    """Return the font at a size, or smaller, so that the text is no wider than ``width``."""
    path = _font()
    font = ImageFont.truetype(path, max(size, 8))
    missing = bytes(font.getmask("\uffff"))
    for letter in set(text) - {" "}:
        if bytes(font.getmask(letter)) == missing:
            raise ImpastoError(
                f"the font of attention checks has no {letter!r} ({text!r}); change the text, or "
                "take --attention 0"
            )
    while font.size > 8 and font.getlength(text) > width:
        font = ImageFont.truetype(path, font.size - 1)
    return font


def _font() -> Path:
    """Return DejaVu Sans (Latin, Greek, Cyrillic and more), which comes with matplotlib."""
    found = importlib.util.find_spec("matplotlib")
    assert found is not None  # noqa: S101 - a dependency of Impasto
    assert found.origin is not None  # noqa: S101
    return Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"


@dataclass(frozen=True, kw_only=True)
class Piece:
    """A picture of a study.

    Attributes:
        keyed: the truth about it.
        png: what is shown.
        scene: what it shows, as far as its file's name told.
    """

    keyed: KeyedPicture
    png: bytes
    scene: str


def pieces_of(gathered: Gathered) -> list[Piece]:
    """Return the gathered pictures with their truth."""
    pieces = []
    for name, group in gathered.chosen.items():
        for place, one in enumerate(group):
            ready = gathered.prepared[one.path]
            keyed = KeyedPicture(
                kind="practice" if place < gathered.needs[name].practice else "scored",
                label="real" if name == REAL else "fake",
                generator=name,
                source=_as_text(one.path),
                source_sha256=ready.source_sha256,
                picture_sha256=ready.sha256,
            )
            pieces.append(Piece(keyed=keyed, png=ready.png, scene=one.scene))
    return pieces


def attention_cards(options: SurveyExportOptions, study: Study, seed: int) -> list[Piece]:
    """Draw the attention checks: one card for each, or two for each pair."""
    words = Words(study)
    rng = make_rng(seed, "attention")
    pieces = []
    for number in range(options.attention):
        for label in study.rules.labels_in_check(number):
            card = draw_check(
                words("attention_card"),
                words(f"answer_{label}").upper(),
                width=options.width,
                height=options.height,
                rng=rng,
            )
            ready = Prepared(png=encode_plain_png(card), source_sha256="", scale=1, jpeg=False)
            keyed = KeyedPicture(kind="attention", label=label, picture_sha256=ready.sha256)
            pieces.append(Piece(keyed=keyed, png=ready.png, scene=f"card {number} {label}"))
    return pieces


def assemble(
    options: SurveyExportOptions, study: Study, pieces: Sequence[Piece], seed: int
) -> tuple[Study, Key]:
    """Give the pictures names, and the participants orders.

    Args:
        options: of ``impasto survey export``.
        study: what is known without them.
        pieces: all pictures.
        seed: of the study.

    Returns:
        The study, and its key, whose tokens are in the order of ``pieces``.

    Raises:
        OptionError: ``max_run`` would give the answers away.
        ImpastoError: the pictures cannot be ordered.
    """
    tokens = draw_tokens(len(pieces), make_rng(seed, "tokens"))
    pictures = {token: one.keyed for token, one in zip(tokens, pieces, strict=True)}
    by_kind: dict[str, list[Shown]] = {"scored": [], "practice": [], "attention": []}
    for token, one in zip(tokens, pieces, strict=True):
        shown = Shown(token=token, fake=one.keyed.label == "fake", scene=one.scene)
        by_kind[one.keyed.kind].append(shown)
    attention = [one.token for one in by_kind["attention"]]
    _require_silent_runs(options, study, by_kind["scored"])
    rng = make_rng(seed, "orders")
    pairs = study.rules.is_paired
    orders = make_orders(
        by_kind["scored"],
        _attention_trials(attention, rng, pairs=pairs),
        rng,
        count=options.orders,
        pairs=pairs,
        max_run=options.max_run,
    )
    practice = _practice(study, by_kind["practice"], make_rng(seed, "practice"))
    study = replace(
        study,
        pictures={token: f"images/{token}.png" for token in sorted(tokens)},
        practice=practice,
        orders=orders,
    )
    key = Key(
        survey_id=study.survey_id,
        version=study.version,
        protocol=study.protocol,
        seed=seed,
        pictures=pictures,
        orders=orders,
        options=_stored_options(options, study),
    )
    return study, key


def _require_silent_runs(
    options: SurveyExportOptions, study: Study, shown: Sequence[Shown]
) -> None:
    """Refuse a limit of runs that would tell everybody who compares the orders what is real."""
    if options.max_run is None:
        return
    fakes = sum(one.fake for one in shown)
    numbers = len(shown) - fakes, fakes, options.orders
    pairs = study.rules.is_paired
    smallest = smallest_max_run(*numbers, pairs=pairs)
    if options.max_run < smallest:
        bits = bits_told(*numbers, options.max_run, pairs=pairs)
        raise OptionError(
            "max_run",
            f"{options.max_run}: only one in 2^{bits:.0f} ways of naming the pictures real and "
            f"fake would obey it in all {options.orders} orders, which everybody can read; take "
            f"{smallest} or more, or fewer --orders",
        )


def _stored_options(options: SurveyExportOptions, study: Study) -> dict[str, Any]:
    """Return the options for the key, and the words by which platforms will report answers."""
    words = Words(study)
    names = dict.fromkeys((*_WORDS, *study.rules.labels))
    flat = {
        name: _as_text(Path(value)) if isinstance(value, str) else value
        for name, value in flatten(options).items()
    }
    flat["fake"] = [f"{name}={_as_text(path)}" for name, path in options.generators.items()]
    return {**flat, "words": {name: words(name) for name in names}}


def _attention_trials(
    tokens: Sequence[str], rng: np.random.Generator, *, pairs: bool
) -> list[Trial]:
    if not pairs:
        return [(token,) for token in tokens]
    turned = rng.permutation(len(tokens) // 2) % 2
    return [
        (tokens[place + 1], tokens[place]) if turn else (tokens[place], tokens[place + 1])
        for place, turn in zip(range(0, len(tokens), 2), turned.tolist(), strict=True)
    ]


def _practice(study: Study, shown: Sequence[Shown], rng: np.random.Generator) -> list[Practice]:
    if not study.rules.is_paired:
        return [
            Practice(trial=(shown[place].token,), answer="fake" if shown[place].fake else "real")
            for place in rng.permutation(len(shown)).tolist()
        ]
    turned = (rng.permutation(len(shown) // 2) % 2).tolist()
    return [
        Practice(
            trial=(fake.token, real.token) if turn else (real.token, fake.token),
            answer="fake" if turn else "real",
        )
        for (real, fake), turn in zip(pair_up(shown, rng), turned, strict=True)
    ]


def _as_text(path: Path) -> str:
    """Return a path as text; bytes in it that are no text (possible on Linux) are spelled out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
