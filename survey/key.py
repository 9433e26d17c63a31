"""The answer key of a study: which pictures are real. It never leaves its owner.

This module also has all operations that only the owner performs: drawing random names (tokens) and
the random numbers for them, reading an exported folder, and comparing it with its key. Modules
whose output participants see must not import it; ``tests/test_architecture.py`` checks that.
"""

import hashlib
import json
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from impasto.data.atomic import write_text_atomic
from impasto.options.errors import SurveyError
from impasto.options.fields import nearest
from impasto.survey.export.archive import public_files
from impasto.survey.protocols import Question, SurveyProtocol, find_protocol, protocol_names
from impasto.survey.study import Order, Study

__all__ = [
    "TOKEN",
    "Key",
    "KeyedPicture",
    "Kind",
    "check_folder",
    "check_key",
    "draw_tokens",
    "file_sha256",
    "make_rng",
    "read_key",
    "read_study",
    "write_key",
]


Kind = Literal["scored", "practice", "attention"]

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class KeyedPicture:
    """Entry of one exported picture in the answer key.

    Attributes:
        kind: ``scored``, ``practice``, or ``attention`` (a card that states the requested answer).
        label: ``real`` or ``fake``; for an attention check, the requested answer.
        generator: name of the generator of a fake; empty for a real picture.
        source: source file of the picture; empty for an attention check.
        source_sha256: SHA-256 of the source file, hexadecimal; empty for an attention check.
        picture_sha256: SHA-256 of the exported file, hexadecimal.
    """

    kind: Kind
    label: Question
    generator: str = ""
    source: str = ""
    source_sha256: str = ""
    picture_sha256: str


@dataclass(frozen=True, kw_only=True)
class Key:
    """Answer key: the private side of a study.

    Attributes:
        survey_id: identifier of the study.
        version: version of Impasto that exported the study.
        protocol: name of the study's protocol.
        seed: random seed of the selection of pictures, the tokens and the orders.
        pictures: mapping from token to the picture's entry.
        orders: orders of the trials, as in the public study.
        options: options of ``impasto survey export``, as a flat mapping.
        files: mapping from name to SHA-256, hexadecimal, of the public files other than pictures.
    """

    survey_id: str
    version: str
    protocol: str
    seed: int
    pictures: Mapping[str, KeyedPicture]
    orders: Sequence[Order]
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def rules(self) -> SurveyProtocol:
        """Protocol of the study, which defines trials, choices and answers."""
        return find_protocol(self.protocol)

    @property
    def generators(self) -> list[str]:
        """Names of the generators, sorted."""
        return sorted(
            {picture.generator for picture in self.pictures.values() if picture.generator}
        )


def write_key(path: Path, key: Key) -> None:
    """Write a key atomically, with a checksum, readable only by its owner.

    Raises:
        OSError: the file cannot be written.
    """
    content = {"format": _FORMAT, **asdict(key)}
    text = json.dumps({**content, "sha256": _checksum(content)}, indent=1, ensure_ascii=False)
    write_text_atomic(path, text + "\n", mode=0o600)


def read_key(path: Path) -> Key:
    """Read a key.

    Raises:
        SurveyError: the file is missing, is not a key, or was changed since it was written.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise SurveyError(
            path, "no such file; expected the key that 'impasto survey export' wrote"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SurveyError(path, f"is no key: {error}") from error
    if not isinstance(stored, dict) or "sha256" not in stored:
        raise SurveyError(path, "is no key; expected what 'impasto survey export' wrote")
    if stored.get("format") != _FORMAT:
        raise SurveyError(
            path, f"is of format {stored.get('format')}; this Impasto reads format {_FORMAT}"
        )
    if stored.pop("sha256") != _checksum(stored):
        raise SurveyError(
            path, "was changed since it was written; take the original, or export again"
        )
    del stored["format"]
    try:
        pictures = {token: KeyedPicture(**fields) for token, fields in stored["pictures"].items()}
        orders = [[tuple(trial) for trial in order] for order in stored["orders"]]
        return Key(**{**stored, "pictures": pictures, "orders": orders})
    except (AttributeError, KeyError, TypeError) as error:
        raise SurveyError(path, f"is no key: {error}") from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


TOKEN = re.compile(r"[0-9a-z]{4,32}")
"""What a token may look like."""

# No vowels: no words, no "true", and no 1e5, which spreadsheets would turn into numbers.
_LETTERS = "bcdfghjkmnpqrstvwxz"
_SIGNS = _LETTERS + "23456789"
_LENGTH = 8


def make_rng(seed: int, purpose: str) -> np.random.Generator:
    """Return a random number generator for one purpose.

    Its output may become public (orders, tokens). It reveals neither the seed nor the output for
    another purpose, because the state is derived by a hash.
    """
    digest = hashlib.blake2b(f"{seed}/{purpose}".encode(), digest_size=32).digest()
    return np.random.default_rng(np.frombuffer(digest, np.uint32))


def draw_tokens(count: int, rng: np.random.Generator) -> list[str]:
    """Draw distinct random tokens of eight characters; each begins with a letter."""
    tokens: dict[str, None] = {}
    while len(tokens) < count:
        first = _LETTERS[rng.integers(len(_LETTERS))]
        rest = "".join(_SIGNS[place] for place in rng.integers(len(_SIGNS), size=_LENGTH - 1))
        tokens[first + rest] = None
    return list(tokens)


Fault = tuple[Literal["leak", "fault", "warning", "ok"], str, str]

_EXPECTED = {
    *("index.html", "survey.js", "survey.css", "study.json"),
    *(f"platforms/{name}" for name in ("google_forms.gs", "mturk.csv", "mturk.html")),
    *("platforms/qualtrics.txt", "platforms/jspsych.html"),
}


def read_study(folder: Path) -> Study:
    """Read ``study.json`` of an exported folder.

    Raises:
        SurveyError: the file is missing or damaged, or it names files outside of the folder.
    """
    path = folder / "study.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if not folder.exists():
            raise SurveyError(folder, f"no such folder{_study_like(folder)}") from None
        raise SurveyError(
            folder, "is no study: has no study.json; expected what 'impasto survey export' wrote"
        ) from None
    except OSError as error:
        raise SurveyError(path, f"cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise SurveyError(path, f"is no JSON: {error}") from error
    try:
        study = Study.from_dict(stored)
        _require_sound(study)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise SurveyError(path, f"is no study: {error}") from error
    if study.protocol not in protocol_names():
        raise SurveyError(path, f"is of protocol {study.protocol!r}, which is not known here")
    return study


def _study_like(folder: Path) -> str:
    """Return a hint at the studies beside a folder whose names are like that of the folder."""
    beside = folder.absolute().parent
    studies = [path.parent.name for path in beside.glob("*/study.json")]
    return nearest(folder.name, studies)


def check_key(path: Path, key: Key) -> None:
    """Reject a key whose checksum is valid but whose content is inconsistent.

    Raises:
        SurveyError: the key is inconsistent; names what is wrong.
    """
    words = key.options.get("words", {}) if isinstance(key.options, dict) else None
    if not isinstance(words, dict) or not isinstance(key.survey_id, str):
        raise SurveyError(path, "is no key: expected options by name, and a text as survey_id")
    if key.protocol not in protocol_names():
        raise SurveyError(path, f"is no key: its protocol {key.protocol!r} is not known here")
    for order in key.orders:
        if not all(token in key.pictures for trial in order for token in trial):
            raise SurveyError(path, "is no key: an order names an unknown picture")
    for token, picture in key.pictures.items():
        _check_picture(path, token, picture)


def check_folder(folder: Path, study: Study, key: Key) -> list[Fault]:
    """Compare a folder with its key: same study, and every file unchanged since the export.

    Raises:
        SurveyError: the key is of another study.
    """
    if study.survey_id != key.survey_id:
        raise SurveyError(folder, f"is study {study.survey_id}, and the key is of {key.survey_id}")
    faults: list[Fault] = []
    if _trials(study.orders) != _trials(key.orders):
        faults.append(("fault", "orders", "study.json has other orders than the key"))
    if study.protocol != key.protocol:
        faults.append(("fault", "protocol", f"{study.protocol}, and {key.protocol} in the key"))
    faults += _compare_tokens(study, key)
    faults += _compare_pictures(folder, study, key)
    faults += _compare_files(folder, study, key)
    return faults or [("ok", "files", f"{len(study.pictures)} pictures are those of the key")]


def _check_picture(path: Path, token: str, picture: KeyedPicture) -> None:
    if not TOKEN.fullmatch(token):
        raise SurveyError(path, f"{token!r} is no token")
    texts = (picture.kind, picture.label, picture.generator, picture.source, picture.source_sha256)
    if not all(isinstance(text, str) for text in (*texts, picture.picture_sha256)):
        raise SurveyError(path, f"{token}: expected texts")
    if picture.kind not in ("scored", "practice", "attention") or picture.label not in (
        "real",
        "fake",
    ):
        raise SurveyError(
            path, f"{token}: is {picture.kind!r}, {picture.label!r}, which is nothing"
        )
    if picture.kind != "attention" and bool(picture.generator) != (picture.label == "fake"):
        raise SurveyError(path, f"{token}: a fake has a generator, a real one has none")


def _require_sound(study: Study) -> None:
    if not isinstance(study.pictures, Mapping):
        raise TypeError("pictures: expected names and paths")
    for token, place in study.pictures.items():
        if not TOKEN.fullmatch(token):
            raise ValueError(f"{token!r} is no token")
        path = PurePosixPath(place)
        if path.is_absolute() or ".." in path.parts or "\\" in place or not path.parts:
            raise ValueError(f"picture {place!r} lies outside of the folder")
    for order in [[example.trial for example in study.practice], *study.orders]:
        for trial in order:
            if not all(token in study.pictures for token in trial):
                raise ValueError(f"trial {list(trial)} names an unknown picture")


def _trials(orders: object) -> list[list[list[str]]]:
    return [[list(trial) for trial in order] for order in orders]  # type: ignore[attr-defined]


def _compare_tokens(study: Study, key: Key) -> list[Fault]:
    faults: list[Fault] = [
        ("fault", "pictures", f"{token} is not in the key")
        for token in sorted(study.pictures.keys() - key.pictures.keys())
    ]
    faults += [
        ("fault", "pictures", f"{token} of the key is not in study.json")
        for token in sorted(key.pictures.keys() - study.pictures.keys())
    ]
    for place in sorted(study.pictures.values()):
        if any(word in place.casefold() for word in ("real", "fake")):
            faults.append(("leak", "names", f"{place} has an answer in its name"))
    practice = {token for example in study.practice for token in example.trial}
    for token, picture in sorted(key.pictures.items()):
        if (picture.kind == "practice") != (token in practice) and token in study.pictures:
            faults.append(
                ("leak", "practice", f"{token} is {picture.kind} and its truth is public")
            )
    return faults


def _compare_pictures(folder: Path, study: Study, key: Key) -> list[Fault]:
    faults: list[Fault] = []
    for token, place in sorted(study.pictures.items()):
        path = folder / place
        try:
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                faults.append(("leak", "links", f"{place} is a link to {path.readlink()}"))
            elif not stat.S_ISREG(mode):
                faults.append(("fault", "pictures", f"{place} is no file"))
            elif token in key.pictures and file_sha256(path) != key.pictures[token].picture_sha256:
                faults.append(("fault", "pictures", f"{place} was changed since the export"))
        except OSError as error:
            faults.append(("fault", "pictures", f"{place}: {error.strerror or error}"))
    if len(faults) > 5:
        faults[5:] = [("fault", "pictures", f"and {len(faults) - 5} more")]
    return faults


def _compare_files(folder: Path, study: Study, key: Key) -> list[Fault]:
    expected = _EXPECTED | set(study.pictures.values())
    faults: list[Fault] = []
    for path in public_files(folder):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() and name not in study.pictures.values():
            faults.append(("leak", "links", f"{name} is a link to {path.readlink()}"))
        elif name not in expected:
            faults.append(("warning", "other files", f"{name} is not from the export"))
        elif name in key.files and file_sha256(path) != key.files[name]:
            faults.append(("fault", "files", f"{name} was changed since the export"))
    faults += [
        ("fault", "files", f"{name} is missing")
        for name in key.files
        if not (folder / name).is_file()
    ]
    return faults[:20]
