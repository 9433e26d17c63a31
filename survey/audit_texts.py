"""Searching the public side of a study for what only its key should hold."""

import tempfile
from dataclasses import replace
from pathlib import Path

from impasto.survey.archive import public_files
from impasto.survey.audit_report import Row
from impasto.survey.key import Key
from impasto.survey.platforms import write_platforms
from impasto.survey.public_text import find_terms, read_text, secret_terms
from impasto.survey.site import write_site
from impasto.survey.trials import Practice, Study

__all__ = ["search_secrets", "text_files"]

_LONGEST_TEXT = 2**26


def text_files(folder: Path, study: Study) -> list[Path]:
    """List all public files but the pictures; not those that are too long to be texts."""
    pictures = {folder / place for place in study.pictures.values()}
    return [
        path
        for path in public_files(folder)
        if path not in pictures and path.is_file() and path.stat().st_size <= _LONGEST_TEXT
    ]


def search_secrets(folder: Path, study: Study, key: Key, archive: Path | None) -> list[Row]:
    """Search the texts, and the names of files, for what only the key should hold."""
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
    """Return the texts of a study without pictures: words that say nothing."""
    names = [f"zzz{letter}" for letter in "bcdfgh"]
    size = 2 if study.protocol == "pair" else 1
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
