"""The answer key of a study: which picture is what. It never leaves its owner."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from impasto.data.atomic import write_text_atomic
from impasto.options.errors import SurveyError
from impasto.survey.trials import Order, Protocol, Question

__all__ = ["Key", "KeyedPicture", "Kind", "file_sha256", "read_key", "write_key"]

Kind = Literal["scored", "practice", "attention"]

_FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class KeyedPicture:
    """The truth about one exported picture.

    Attributes:
        kind: ``scored``, ``practice``, or ``attention``: it says itself what to answer.
        label: what it is; of an attention check, the answer that it asks for.
        generator: name of what made a fake; empty for a real one.
        source: file it was made of; empty for an attention check.
        source_sha256: of that file, hexadecimal; empty for an attention check.
        picture_sha256: of the exported file, hexadecimal.
    """

    kind: Kind
    label: Question
    generator: str = ""
    source: str = ""
    source_sha256: str = ""
    picture_sha256: str


@dataclass(frozen=True, kw_only=True)
class Key:
    """The private side of a study.

    Attributes:
        survey_id: of the study.
        version: of Impasto.
        protocol: of the study.
        seed: of the selection, the tokens and the orders.
        pictures: token to the truth.
        orders: as in the study.
        options: of ``impasto survey export``, flat.
        files: name to SHA-256, hexadecimal, of the public files that are no pictures.
    """

    survey_id: str
    version: str
    protocol: Protocol
    seed: int
    pictures: Mapping[str, KeyedPicture]
    orders: Sequence[Order]
    options: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def generators(self) -> list[str]:
        """Names of what made the fakes, sorted."""
        return sorted({one.generator for one in self.pictures.values() if one.generator})


def write_key(path: Path, key: Key) -> None:
    """Write a key atomically, with a checksum, readable by its owner alone.

    Raises:
        OSError: the file cannot be written.
    """
    content = {"format": _FORMAT, **asdict(key)}
    text = json.dumps({**content, "sha256": _checksum(content)}, indent=1, ensure_ascii=False)
    write_text_atomic(path, text + "\n", mode=0o600)


def read_key(path: Path) -> Key:
    """Read a key.

    Raises:
        SurveyError: the file is missing, no key, or was changed since it was written.
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
        pictures = {token: KeyedPicture(**one) for token, one in stored["pictures"].items()}
        orders = [[tuple(trial) for trial in order] for order in stored["orders"]]
        return Key(**{**stored, "pictures": pictures, "orders": orders})
    except (AttributeError, KeyError, TypeError) as error:
        raise SurveyError(path, f"is no key: {error}") from error


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _checksum(content: Mapping[str, Any]) -> str:
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
