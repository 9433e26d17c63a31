"""Leaks in the texts of a study: everything public except the pictures.

Pages, scripts, tables and forms are searched for what only the key should hold, such as names of
generators and sources; and the text around each picture's name is an observable like any other.
"""

import html
import re
import tempfile
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePath
from urllib.parse import unquote

import numpy as np

from impasto.survey.audit.report import Row
from impasto.survey.audit.statistics import Observable
from impasto.survey.export.archive import public_files
from impasto.survey.export.platforms import write_platforms
from impasto.survey.export.site import write_site
from impasto.survey.key import Key
from impasto.survey.study import Practice, Study

__all__ = [
    "Hit",
    "find_terms",
    "observe_text",
    "read_text",
    "search_secrets",
    "secret_terms",
    "text_files",
]


_AROUND = 60
_MOST_SURROUNDINGS = 12
_SHORTEST_TERM = 3
_SHORTEST_STEM = 4
_WORDS = re.compile(r"[0-9a-z]+")
_NUMBERS = re.compile(r"[0-9]{2,}")
# Parts of a text by which it is searched: words of ASCII, and single characters of other scripts.
_PARTS = re.compile(r"[0-9a-z]+|[^\x00-\x7f]")


@dataclass(frozen=True, kw_only=True)
class Hit:
    """Occurrence of a secret in a text.

    Attributes:
        what: kind of secret.
        term: term that was searched for.
        around: text around the occurrence.
    """

    what: str
    term: str
    around: str


def read_text(path: Path) -> str:
    """Read a file as text, regardless of its content.

    Raises:
        OSError: the file cannot be read.
    """
    return path.read_bytes().decode("utf-8", "replace")


def secret_terms(key: Key) -> dict[str, str]:
    """Return what must not be public, as a mapping from term to kind of secret.

    The terms are the names of generators, files and folders, the file names without extension if
    they have a letter and are not too short, and the hashes of the files.
    """
    terms: dict[str, str] = {}
    folders: Counter[str] = Counter()
    for picture in key.pictures.values():
        if not picture.source:
            continue
        path = PurePath(picture.source.replace("\\", "/"))
        terms[path.name] = "name of a source"
        if len(path.stem) >= _SHORTEST_STEM and re.search(r"[^\W\d_]", path.stem):
            terms[path.stem] = "name of a source"
        terms[picture.source_sha256] = "hash of a source"
        folders.update(path.parts[:-1])
    # Not the folders that all pictures share: /home tells nothing.
    count = sum(1 for picture in key.pictures.values() if picture.source)
    for folder, times in folders.items():
        if times < count and len(folder) >= _SHORTEST_STEM:
            terms[folder] = "folder of sources"
    for name in key.generators:
        terms[name] = "name of a generator"
    # Every page says REAL and FAKE; what stands around pictures is looked at elsewhere.
    answers = {"real", "fake"}
    return {
        term: what
        for term, what in terms.items()
        if len(term) >= _SHORTEST_TERM and _fold(term) not in answers
    }


def find_terms(
    text: str, terms: Mapping[str, str], *, known: Iterable[str] = ()
) -> tuple[list[Hit], list[str]]:
    """Find terms as words of a text, in plain form or encoded for HTML, URLs, or JSON.

    Args:
        text: text to search.
        terms: mapping from term to kind of secret.
        known: texts that are the same in every study; a term that occurs in them is not searched
            for.

    Returns:
        The hits, one per term; and the terms that were not searched for.
    """
    usual = "\n".join(_fold(one) for one in known)
    plain = "\n".join(sorted({_fold(form) for form in _forms(text)}))
    words = {term: _fold(term) for term in terms}
    index = _Index(plain, words.values())
    hits, left_out = [], []
    for term, what in terms.items():
        word = words[term]
        place = index.find(word)
        if place is None:
            continue
        if usual and re.search(rf"(?<![0-9a-z]){re.escape(word)}(?![0-9a-z])", usual):
            left_out.append(term)
        else:
            start, end = max(0, place - 30), place + len(word) + 30
            hits.append(Hit(what=what, term=term, around=" ".join(plain[start:end].split())))
    return hits, left_out


class _Index:
    """Where terms may be in a text: it is read once, however many terms there are.

    Attributes:
        looked_at: number of places of the text that were compared with a term.
    """

    def __init__(self, text: str, terms: Iterable[str]) -> None:
        self._text, self.looked_at = text, 0
        wanted = {found[0] for term in terms for found in _PARTS.finditer(term)}
        self._places: dict[str, list[int]] = {part: [] for part in wanted}
        for found in _PARTS.finditer(text):
            if found[0] in wanted:
                self._places[found[0]].append(found.start())

    def find(self, term: str) -> int | None:
        """Return where a term first stands as a word; None if it does nowhere.

        Each word of ASCII letters and digits in a term is one in the text, too, since no such
        character may stand beside the term; so it is looked for where its rarest part is.
        """
        parts = [(found[0], found.start()) for found in _PARTS.finditer(term)]
        if parts:
            rarest, offset = min(parts, key=lambda part: len(self._places[part[0]]))
            places = [place - offset for place in self._places[rarest]]
        else:  # signs alone
            places = [found.start() for found in re.finditer(f"(?={re.escape(term)})", self._text)]
        for place in places:
            self.looked_at += 1
            if place >= 0 and self._text.startswith(term, place) and self._has_borders(place, term):
                return place
        return None

    def _has_borders(self, place: int, term: str) -> bool:
        after = place + len(term)
        around = (self._text[place - 1 : place] if place else "") + self._text[after : after + 1]
        return not _WORDS.search(around)


def observe_text(text: str, tokens: Sequence[str]) -> dict[str, list[Observable]]:
    """Observe where each picture is first named in a text, and what surrounds its name.

    Args:
        text: content of one file.
        tokens: tokens of the pictures that are judged.

    Returns:
        Observables by name; empty if the text names no picture.
    """
    rows = {token: row for row, token in enumerate(tokens)}
    first = [-1.0] * len(tokens)
    places: list[tuple[int, int, int]] = []
    for word in _WORDS.finditer(text):
        row = rows.get(word[0])
        if row is None:
            continue
        places.append((word.start(), word.end(), row))
        if first[row] < 0:
            first[row] = float(word.start())
    if not places:
        return {}
    ranks = {place: float(rank) for rank, place in enumerate(sorted(set(first)))}
    return {
        "first place": [[ranks[place] for place in first]],
        "surroundings": _surroundings(text, places, len(tokens), set(tokens)),
    }


def _surroundings(
    text: str, places: Sequence[tuple[int, int, int]], count: int, tokens: Collection[str]
) -> list[Observable]:
    """Return how often each picture occurs in each of the most frequent surroundings.

    Surroundings are taken as they are and without longer numbers, which may be counters.
    """
    masked = _WORDS.sub(
        lambda word: "@" * len(word[0]) if word[0] in tokens else word[0],
        text,
    )
    times: list[dict[str, Counter[int]]] = [defaultdict(Counter), defaultdict(Counter)]
    for start, end, row in places:
        around = f"{masked[max(0, start - _AROUND) : start]}#{masked[end : end + _AROUND]}"
        times[0][around][row] += 1
    # Many are the same, so they are looked at once; a word cut off at an end is dropped.
    whole: dict[str, Counter[int]] = defaultdict(Counter)
    for around, rows in times[0].items():
        kept = re.sub(r"^[0-9a-z@]+|[0-9a-z@]+$", "", around).replace("@@", "")
        whole[kept].update(rows)
        times[1][_NUMBERS.sub("0", kept)].update(rows)
    times[0] = whole
    observables: list[Observable] = []
    for form in times:
        commonest = sorted(form, key=lambda around: (-form[around].total(), around))
        for around in commonest[:_MOST_SURROUNDINGS]:
            times_beside = np.zeros((count, 1))
            rows = form[around]
            times_beside[list(rows), 0] = list(rows.values())
            observables.append(times_beside)
    return observables


def _forms(text: str) -> set[str]:
    """Return a text as it is, and with one layer of escapes removed."""
    escaped = re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text).replace(
        "\\/", "/"
    )
    return {text, html.unescape(text), unquote(text, errors="replace"), escaped}


def _fold(text: str) -> str:
    return unicodedata.normalize("NFC", text).casefold()


_LONGEST_TEXT = 2**26


def text_files(folder: Path, study: Study) -> list[Path]:
    """List all public files except the pictures and files too long to be texts."""
    pictures = {folder / place for place in study.pictures.values()}
    return [
        path
        for path in public_files(folder)
        if path not in pictures and path.is_file() and path.stat().st_size <= _LONGEST_TEXT
    ]


def search_secrets(folder: Path, study: Study, key: Key, archive: Path | None) -> list[Row]:
    """Search the texts, and the file names, for anything that only the key should hold."""
    terms = secret_terms(key)
    known = _usual_texts(study)
    rows: list[Row] = []
    left_out: set[str] = set()
    texts = {
        path.relative_to(folder).as_posix(): read_text(path) for path in text_files(folder, study)
    }
    names = [path.relative_to(folder).as_posix() for path in public_files(folder)]
    texts["names of files"] = "\n".join(names)
    if archive is not None:
        raw = archive.read_bytes()
        # Only the directory at the end, which has all names and comments.
        texts[archive.name] = raw[max(0, raw.rfind(b"PK\x01\x02", 0, -1) - 2**20) :].decode(
            "latin-1"
        )
        texts[archive.name] = texts[archive.name][texts[archive.name].find("PK\x01\x02") :]
    for name, text in texts.items():
        hits, usual = find_terms(text, terms, known=known)
        left_out.update(usual)
        rows += [
            Row(status="leak", name=f"text of {name}", detail=f"{hit.what}: ...{hit.around}...")
            for hit in hits[:5]
        ]
        if "picture_sha256" in text or "source_sha256" in text:
            rows.append(Row(status="leak", name=f"text of {name}", detail="holds an answer key"))
    if rows:
        return rows
    names = sorted(term for term in left_out if not terms[term].startswith("folder"))
    skipped = f"; not searched for, since every page has it: {', '.join(names[:10])}"
    generators = left_out & set(key.generators)
    return [
        Row(
            status="warning" if generators else "ok",
            name="secret words",
            detail=f"none of {len(terms)} found{skipped if names else ''}",
        )
    ]


def _usual_texts(study: Study) -> list[str]:
    """Return the texts of a study without pictures, which carry no information."""
    names = [f"zzz{letter}" for letter in "bcdfgh"]
    size = study.rules.pictures_per_trial
    trials = [tuple(names[place * size : (place + 1) * size]) for place in range(3)]
    blank = replace(
        study,
        survey_id="blank",
        pictures={name: f"images/{name}.png" for name in names},
        practice=[Practice(trial=trials[0], answer="real")] if study.practice else [],
        orders=[trials[1:]],
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_site(folder, blank)
        write_platforms(folder / "platforms", blank, base_url="")
        return [read_text(path) for path in public_files(folder)]
