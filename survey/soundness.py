"""Is a folder the study that it claims to be, and is it that of a key?"""

import json
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Literal, get_args

from impasto.options.errors import SurveyError
from impasto.survey.archive import public_files
from impasto.survey.key import Key, KeyedPicture, file_sha256
from impasto.survey.tokens import TOKEN
from impasto.survey.trials import Protocol, Study

__all__ = ["check_folder", "check_key", "read_study"]

Fault = tuple[Literal["leak", "fault", "warning", "ok"], str, str]

_EXPECTED = {
    *("index.html", "survey.js", "survey.css", "study.json"),
    *(f"platforms/{name}" for name in ("google_forms.gs", "mturk.csv", "mturk.html")),
    *("platforms/qualtrics.txt", "platforms/jspsych.html"),
}


def read_study(folder: Path) -> Study:
    """Read ``study.json`` of an exported folder.

    Raises:
        SurveyError: there is none, it is damaged, or it names files outside of the folder.
    """
    path = folder / "study.json"
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
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
    return study


def check_key(path: Path, key: Key) -> None:
    """Refuse a key whose checksum is right and whose content makes no sense.

    Raises:
        SurveyError: names what is wrong.
    """
    words = key.options.get("words", {}) if isinstance(key.options, dict) else None
    if not isinstance(words, dict) or not isinstance(key.survey_id, str):
        raise SurveyError(path, "is no key: expected options by name, and a text as survey_id")
    if key.protocol not in get_args(Protocol):
        raise SurveyError(path, f"is no key: {key.protocol!r} is no protocol")
    for order in key.orders:
        if not all(token in key.pictures for trial in order for token in trial):
            raise SurveyError(path, "is no key: an order names an unknown picture")
    for token, one in key.pictures.items():
        _check_picture(path, token, one)


def check_folder(folder: Path, study: Study, key: Key) -> list[Fault]:
    """Compare a folder with its key: the same study, and every file as it was exported.

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


def _check_picture(path: Path, token: str, one: KeyedPicture) -> None:
    if not TOKEN.fullmatch(token):
        raise SurveyError(path, f"{token!r} is no token")
    texts = (one.kind, one.label, one.generator, one.source, one.source_sha256)
    if not all(isinstance(text, str) for text in (*texts, one.picture_sha256)):
        raise SurveyError(path, f"{token}: expected texts")
    if one.kind not in ("scored", "practice", "attention") or one.label not in (
        "real",
        "fake",
    ):
        raise SurveyError(path, f"{token}: is {one.kind!r}, {one.label!r}, which is nothing")
    if one.kind != "attention" and bool(one.generator) != (one.label == "fake"):
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
    for order in [[one.trial for one in study.practice], *study.orders]:
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
    practice = {token for one in study.practice for token in one.trial}
    for token, one in sorted(key.pictures.items()):
        if (one.kind == "practice") != (token in practice) and token in study.pictures:
            faults.append(("leak", "practice", f"{token} is {one.kind} and its truth is public"))
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
