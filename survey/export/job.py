"""`impasto survey export`: from folders of pictures to a study that hides which ones are real.

The pictures get random names; practice trials, attention checks (cards that state in words what to
answer) and the orders of the trials are drawn; everything is written to a temporary folder,
audited, and renamed to its destination only if it reveals no answer.
"""

import importlib.util
import os
import secrets
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont, features

from impasto.data.decode import Rgb
from impasto.data.standardize import encode_plain_png
from impasto.options.errors import ImpastoError, OptionError, SurveyError
from impasto.options.fields import flatten
from impasto.options.survey import SurveyExportOptions
from impasto.survey.audit.job import audit_study
from impasto.survey.audit.report import Audit
from impasto.survey.export.archive import public_files, publish, settle, staged, write_archive
from impasto.survey.export.orders import (
    Shown,
    bits_told,
    make_orders,
    pair_up,
    smallest_max_run,
)
from impasto.survey.export.platforms import write_platforms
from impasto.survey.export.select import REAL, Gathered, Prepared, gather, gathering_notes
from impasto.survey.export.site import write_site
from impasto.survey.key import (
    Key,
    KeyedPicture,
    draw_tokens,
    file_sha256,
    make_rng,
    write_key,
)
from impasto.survey.protocols import find_protocol
from impasto.survey.study import Practice, Study, Trial
from impasto.survey.texts import Words, read_texts

__all__ = [
    "Exported",
    "Piece",
    "assemble",
    "attention_cards",
    "draw_check",
    "export_study",
    "find_font",
    "pieces_of",
]


_WORDS = ("answer_real", "answer_fake", "picture_first", "picture_second")
_INK, _MARGIN = (255, 255, 255), 0.08


@dataclass(frozen=True, kw_only=True)
class Exported:
    """Result of an export.

    Attributes:
        folder: path of the study's folder, which is public.
        archive: path of the zip archive of that folder, which is public.
        key: path of the answer key, which is private.
        study: public side of the study.
        audit: result of the audit before publication.
        passed_over: mapping from each file that could not be used to the reason.
        notes: remarks for the researcher, in words.
    """

    folder: Path
    archive: Path
    key: Path
    study: Study
    audit: Audit
    passed_over: Mapping[Path, str]
    notes: Sequence[str]


def export_study(
    options: SurveyExportOptions, *, on_picture: Callable[[int], None] | None = None
) -> Exported:
    """Create a study; on failure, nothing is left behind.

    Args:
        options: options of ``impasto survey export``.
        on_picture: function called after each picture with the total number of pictures.

    Returns:
        Paths of the written files, the public side of the study, and the result of the audit.

    Raises:
        OptionError: a required option is missing.
        ImpastoError: there are too few pictures, or they cannot be ordered.
        SurveyError: the output exists, or the audit found a leak.
        OSError: a file or folder cannot be written.
    """
    rules = find_protocol(options.protocol)
    rules.practice_per_kind(options.practice)
    exposure_ms = rules.exposure_of(options.exposure_ms)
    folders = _folders(options)
    _refuse_existing(options)
    texts = read_texts(options.texts, rules.texts)
    seed = secrets.randbits(63) if options.seed is None else options.seed
    survey_id = options.survey_id or f"study-{draw_tokens(1, make_rng(seed, 'survey id'))[0]}"
    study = Study(
        survey_id=survey_id,
        version=version("impasto"),
        protocol=options.protocol,
        question=options.question,
        pictures={},
        width=options.width,
        height=options.height,
        practice=[],
        orders=[],
        real_share=0.5,
        attention_checks=options.attention,
        exposure_ms=exposure_ms,
        mask_ms=options.mask_ms if rules.is_timed else 0,
        texts=texts,
    )
    # Before the pictures, which take long: a font may be missing.
    cards = attention_cards(options, study, seed)
    gathered = gather(options, folders, seed, on_picture=on_picture)
    pieces = [*pieces_of(gathered), *cards]
    study, key = assemble(options, study, pieces, seed)
    contents = dict(zip(key.pictures, [piece.png for piece in pieces], strict=True))
    audit = _write(options, study, key, contents)
    return Exported(
        folder=options.output,
        archive=options.zip_path,
        key=options.key_path,
        study=study,
        audit=audit,
        passed_over=gathered.passed_over,
        notes=gathering_notes(gathered, equalized=options.equalize != "none"),
    )


def _folders(options: SurveyExportOptions) -> dict[str, Path]:
    """Return the folder of every group, that of the real pictures first."""
    if options.real is None:
        raise OptionError("real", "is missing: expected a folder with real pictures")
    if not options.generators:
        raise OptionError("fake", "is missing: expected NAME=FOLDER, one or more")
    folders = {REAL: options.real, **options.generators}
    for folder in folders.values():
        if options.output.resolve().is_relative_to(folder.resolve()):
            raise OptionError(
                "output",
                f"{options.output} lies in {folder}, so that another export would take its "
                "pictures, real and fake ones, for input; choose a folder outside of it",
            )
    return folders


def _refuse_existing(options: SurveyExportOptions) -> None:
    for path in (options.output, options.zip_path, options.key_path):
        try:
            path.lstat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:  # such as a name that is too long
            reason = (error.strerror or str(error)).lower()
            raise SurveyError(path, f"cannot be written: {reason}; choose another") from error
        raise SurveyError(
            path,
            "exists, and an export replaces nothing, least of all a key; choose another "
            "--output, or move it away",
        )


def _write(
    options: SurveyExportOptions, study: Study, key: Key, contents: Mapping[str, bytes]
) -> Audit:
    """Write all files in a temporary folder, audit them, and publish them if nothing leaks."""
    with ExitStack() as stack:
        public = stack.enter_context(staged(options.output))
        private = stack.enter_context(staged(options.key_path))
        folder, archive = public / "study", public / "study.zip"
        (folder / "images").mkdir(parents=True)
        # In the order of their names, so that what a file system numbers tells nothing either.
        for token in sorted(contents):
            (folder / study.pictures[token]).write_bytes(contents[token])
        write_site(folder, study)
        write_platforms(folder / "platforms", study, base_url=options.base_url)
        settle(folder)
        texts = [path for path in public_files(folder) if path.parent.name != "images"]
        hashes = {path.relative_to(folder).as_posix(): file_sha256(path) for path in texts}
        key = replace(key, files=hashes)
        write_archive(folder, archive, prefix=study.survey_id)
        write_key(private / "key.json", key)
        audit = audit_study(folder, key, archive=archive)
        if not audit.passed:
            leaks = [f"  {row.name}: {row.detail}" for row in audit.of("leak", "fault")[:10]]
            raise SurveyError(
                options.output,
                "was not written, because the study would give answers away:\n" + "\n".join(leaks),
            )
        options.key_path.parent.mkdir(parents=True, exist_ok=True)
        # The folder comes last: where it is, all is.
        publish(
            {
                private / "key.json": options.key_path,
                archive: options.zip_path,
                folder: options.output,
            }
        )
    return audit


@dataclass(frozen=True, kw_only=True)
class Piece:
    """Picture of a study, with its entry in the key.

    Attributes:
        keyed: entry of the picture in the answer key.
        png: PNG file as it is shown.
        scene: scene that the picture shows, as inferred from its file name.
    """

    keyed: KeyedPicture
    png: bytes
    scene: str


def pieces_of(gathered: Gathered) -> list[Piece]:
    """Return the gathered pictures with their entries in the key."""
    pieces = []
    for name, group in gathered.chosen.items():
        for place, candidate in enumerate(group):
            ready = gathered.prepared[candidate.path]
            keyed = KeyedPicture(
                kind="practice" if place < gathered.needs[name].practice else "scored",
                label="real" if name == REAL else "fake",
                generator=name,
                source=_as_text(candidate.path),
                source_sha256=ready.source_sha256,
                picture_sha256=ready.sha256,
            )
            pieces.append(Piece(keyed=keyed, png=ready.png, scene=candidate.scene))
    return pieces


def attention_cards(options: SurveyExportOptions, study: Study, seed: int) -> list[Piece]:
    """Draw the attention checks: one card for each, or two for each in paired protocols."""
    words = Words(study)
    rng = make_rng(seed, "attention")
    sentence = words("attention_card")
    answers = {label: words(f"answer_{label}").upper() for label in ("real", "fake")}
    font = find_font([sentence, *answers.values()], options.font) if options.attention else None
    pieces = []
    for number in range(options.attention):
        for label in study.rules.labels_in_check(number):
            card = draw_check(
                sentence,
                answers[label],
                width=options.width,
                height=options.height,
                rng=rng,
                font=font,
            )
            ready = Prepared(png=encode_plain_png(card), source_sha256="", scale=1, jpeg=False)
            keyed = KeyedPicture(kind="attention", label=label, picture_sha256=ready.sha256)
            pieces.append(Piece(keyed=keyed, png=ready.png, scene=f"card {number} {label}"))
    return pieces


def assemble(
    options: SurveyExportOptions, study: Study, pieces: Sequence[Piece], seed: int
) -> tuple[Study, Key]:
    """Assign tokens to the pictures, and draw the orders of the trials.

    Args:
        options: options of ``impasto survey export``.
        study: the study, still without pictures and orders.
        pieces: all pictures of the study.
        seed: random seed of the study.

    Returns:
        The study, and its answer key, whose tokens are in the order of ``pieces``.

    Raises:
        OptionError: ``max_run`` would reveal which pictures are real.
        ImpastoError: the pictures cannot be ordered.
    """
    tokens = draw_tokens(len(pieces), make_rng(seed, "tokens"))
    pictures = {token: piece.keyed for token, piece in zip(tokens, pieces, strict=True)}
    by_kind: dict[str, list[Shown]] = {"scored": [], "practice": [], "attention": []}
    for token, piece in zip(tokens, pieces, strict=True):
        shown = Shown(token=token, fake=piece.keyed.label == "fake", scene=piece.scene)
        by_kind[piece.keyed.kind].append(shown)
    attention = [shown.token for shown in by_kind["attention"]]
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
    """Refuse a limit on runs with which the orders together reveal which pictures are real."""
    if options.max_run is None:
        return
    fakes = sum(picture.fake for picture in shown)
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
    """Return the options for the key, and the labels by which platforms will report answers."""
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


def draw_check(
    sentence: str,
    answer: str,
    *,
    width: int,
    height: int,
    rng: np.random.Generator,
    font: Path | None = None,
) -> Rgb:
    """Draw a card with a sentence and the requested answer in large letters.

    The background is a smooth random pattern of dark colors, different for each card, so that the
    file is not shorter than others if the pictures are compressed, and no two files are the same.

    Args:
        sentence: text above the answer, e.g. ``Please answer``; lines and tabs become spaces.
        answer: requested answer, e.g. ``REAL``.
        width: width in pixels.
        height: height in pixels.
        rng: random number generator that draws the pattern.
        font: font file, see :func:`find_font`; None: DejaVu Sans.

    Returns:
        The card in RGB, (height, width, 3), uint8.
    """
    coarse = rng.integers(20, 100, (4, 4, 3), dtype=np.uint8)
    card = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(card)
    for text, share, middle in ((sentence, 0.12, 0.32), (answer, 0.3, 0.62)):
        line = " ".join(text.split())
        fitting = _fitting(
            font or _own_font(), line, round(height * share), width * (1 - 2 * _MARGIN)
        )
        draw.text((width / 2, height * middle), line, _INK, fitting, anchor="mm")
    return np.asarray(card)


def find_font(texts: Sequence[str], given: Path | None = None) -> Path:
    """Find a font that has all letters of some texts.

    Args:
        texts: texts that will be drawn.
        given: font file to use, or None: DejaVu Sans if it has them, otherwise the first font of
            this system, by the path of its file, that does.

    Raises:
        OptionError: the given file is no font, or lacks a letter.
        ImpastoError: no font has them all, or they are written from right to left, which this
            Pillow cannot draw.
    """
    letters = sorted({letter for letter in "".join(texts) if not letter.isspace()})
    _require_direction(letters)
    if given is not None:
        try:
            missing = _missing(given, letters)
        except OSError as error:
            raise OptionError(
                "font", f"{given} cannot be read as a font (.ttf, .otf or .ttc): {error}"
            ) from error
        if missing:
            raise OptionError(
                "font", f"{given} has no {missing[0]!r}, which is on the cards of attention checks"
            )
        return given
    missing = _missing(_own_font(), letters)
    if not missing:
        return _own_font()
    for path in _system_fonts():
        try:
            if not _missing(path, letters):
                return path
        except OSError:
            continue  # a format that Pillow does not read
    raise ImpastoError(
        f"no font for the cards of attention checks has {missing[0]!r}; give one that does with "
        "--font, change the texts attention_card, answer_real and answer_fake, or take "
        "--attention 0"
    )


def _require_direction(letters: Sequence[str]) -> None:
    """Refuse letters that this Pillow would draw in the wrong direction, and not joined."""
    leftward = [one for one in letters if unicodedata.bidirectional(one) in ("R", "AL")]
    if leftward and not features.check("raqm"):
        raise ImpastoError(
            f"the cards of attention checks have {leftward[0]!r}, which is written from right to "
            "left, and this Pillow, which has no Raqm, would draw it from left to right; install "
            "FriBiDi and a Pillow with Raqm, such as that of PyPI, or take --attention 0"
        )


def _missing(path: Path, letters: Sequence[str]) -> list[str]:
    """Return the letters for which a font draws the sign for missing ones."""
    font = ImageFont.truetype(path, 32)
    sign = bytes(font.getmask("\uffff"))
    return [letter for letter in letters if bytes(font.getmask(letter)) == sign]


def _fitting(path: Path, text: str, size: int, width: float) -> ImageFont.FreeTypeFont:
    """Return a font at a size, or smaller, so that the text is no wider than ``width``."""
    font = ImageFont.truetype(path, max(size, 8))
    while font.size > 8 and font.getlength(text) > width:
        font = ImageFont.truetype(path, font.size - 1)
    return font


def _own_font() -> Path:
    """Return DejaVu Sans (Latin, Greek, Cyrillic and more), which comes with matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    assert spec is not None  # noqa: S101 - a dependency of Impasto
    assert spec.origin is not None  # noqa: S101
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSans-Bold.ttf"


def _system_fonts() -> list[Path]:
    from matplotlib.font_manager import findSystemFonts  # noqa: PLC0415 - takes a second

    return sorted(map(Path, findSystemFonts()))
