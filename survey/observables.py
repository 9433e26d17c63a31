"""What can be observed of every picture of a study without looking at it."""

import json
import os
import re
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from impasto.survey.archive import public_files
from impasto.survey.containers import read_container
from impasto.survey.leak_statistics import Observable
from impasto.survey.trials import Study

__all__ = [
    "UNIFORM",
    "Observed",
    "observe_archive",
    "observe_files",
    "observe_study",
]

UNIFORM = frozenset(
    {
        *("file length", "file times", "file rights", "file kind", "format", "width", "height"),
        *("samples", "chunks", "chunk lengths", "quantisation tables", "coding", "metadata"),
        *("name length", "folder", "zip length", "zip times", "zip attributes"),
    }
)
"""Observables that are the same for all pictures of an export."""


_DIGITS = re.compile(r"[0-9]+")


@dataclass(kw_only=True)
class Observed:
    """What was observed.

    Attributes:
        values: observable to one or more forms of it, each with a value for each token.
        faults: what is not as an export leaves it, in words.
    """

    values: dict[str, list[Observable]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def observe_files(folder: Path, study: Study, tokens: Sequence[str]) -> Observed:
    """Observe the files of pictures; what cannot be read is a fault."""
    observed = Observed()
    rows: list[dict[str, float | str]] = []
    for token in tokens:
        path = folder / study.pictures[token]
        row, metadata = _observe_file(path)
        rows.append(row)
        observed.faults += [f"{path.name} holds {one}" for one in metadata]
    if rows:
        for name in rows[0]:
            observed.values[name] = [_column([row[name] for row in rows])]
    names = sorted(tokens, key=lambda token: study.pictures[token])
    ranks = {token: float(rank) for rank, token in enumerate(names)}
    observed.values["name rank"] = [[ranks[token] for token in tokens]]
    observed.values["name length"] = [[float(len(study.pictures[token])) for token in tokens]]
    observed.values["folder"] = [[os.path.dirname(study.pictures[token]) for token in tokens]]  # noqa: PTH120
    stems = [Path(study.pictures[token]).stem for token in tokens]
    observed.values["name's letters"] = [
        *([stem[:length] for stem in stems] for length in (1, 2, 3)),
        *([stem[-length:] for stem in stems] for length in (1, 2, 4)),
        [_DIGITS.sub("0", stem) for stem in stems],
    ]
    return observed


def _observe_file(path: Path) -> tuple[dict[str, float | str], tuple[str, ...]]:
    try:
        status = path.lstat()
        content = path.read_bytes()
    except OSError as error:
        return {**_nothing(), "file kind": error.strerror or "unreadable"}, ()
    container = read_container(content)
    row: dict[str, float | str] = {
        "file length": float(len(content)),
        "file times": float(status.st_mtime),
        "file rights": f"{status.st_mode & 0o7777:o} {status.st_uid} {status.st_gid}",
        "file kind": "link" if path.is_symlink() else "file",
        "format": container.format,
        "width": float(container.width),
        "height": float(container.height),
        "samples": container.samples,
        "chunks": container.chunks,
        "chunk lengths": container.lengths,
        "quantisation tables": container.tables,
        "coding": container.coding,
        "metadata": " ".join(one.partition(":")[0] for one in container.metadata),
    }
    return row, container.metadata


def _nothing() -> dict[str, float | str]:
    numbers = ("file length", "file times", "width", "height")
    names = ("file rights", "file kind", "format", "samples", "chunks", "chunk lengths")
    texts = (*names, "quantisation tables", "coding", "metadata")
    return {**dict.fromkeys(numbers, -1.0), **dict.fromkeys(texts, "")}


def _column(values: Sequence[float | str]) -> Observable:
    if all(isinstance(value, float) for value in values):
        return [float(value) for value in values]
    return [str(value) for value in values]


def observe_archive(path: Path, folder: Path, study: Study, tokens: Sequence[str]) -> Observed:
    """Observe the entries of an archive, and compare it with the folder."""
    observed = Observed()
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if archive.comment:
                observed.faults.append(f"{path.name} has a comment: {archive.comment[:40]!r}")
            observed.faults += _differences(archive, folder)
    except (OSError, zipfile.BadZipFile) as error:
        observed.faults.append(f"{path.name} cannot be read: {error}")
        return observed
    by_name = {_inner(entry.filename): (place, entry) for place, entry in enumerate(entries)}
    found = [by_name.get(study.pictures[token]) for token in tokens]
    present = [one for one in found if one is not None]
    if len(present) < len(found):
        observed.faults.append(f"{path.name} lacks {len(found) - len(present)} pictures")
        return observed
    observed.values["zip order"] = [[float(place) for place, _ in present]]
    observed.values["zip length"] = [
        [float(entry.file_size) for _, entry in present],
        [float(entry.compress_size) for _, entry in present],
    ]
    observed.values["zip times"] = [
        ["-".join(map(str, entry.date_time)) for _, entry in present],
        [float(np.dot(entry.date_time, (32140800, 2678400, 86400, 3600, 60, 1)))
         for _, entry in present],
    ]  # fmt: skip
    observed.values["zip attributes"] = [
        [
            f"{entry.external_attr:x} {entry.compress_type} {entry.create_system} "
            f"{entry.flag_bits} {entry.extra!r} {entry.comment!r}"
            for _, entry in present
        ]
    ]
    return observed


def _inner(name: str) -> str:
    """Return a name without the archive's own folder."""
    return name.partition("/")[2]


def _differences(archive: zipfile.ZipFile, folder: Path) -> list[str]:
    """Compare the files in an archive with those in a folder."""
    inside = {_inner(entry.filename): entry for entry in archive.infolist()}
    outside = {path.relative_to(folder).as_posix(): path for path in public_files(folder)}
    faults = [f"the archive holds {name}, the folder does not" for name in inside.keys() - outside]
    faults += [f"the folder holds {name}, the archive does not" for name in outside.keys() - inside]
    for name in sorted(inside.keys() & outside):
        # The length first: an entry may claim to be of any length.
        same = inside[name].file_size == outside[name].stat().st_size
        if not same or archive.read(inside[name]) != outside[name].read_bytes():
            faults.append(f"{name} in the archive is another than in the folder")
    return sorted(faults)


def observe_study(study: Study, tokens: Sequence[str], stored: str) -> Observed:
    """Observe the places of pictures in the orders, and in ``study.json``.

    Args:
        study: the public side.
        tokens: pictures that are judged.
        stored: text of ``study.json``.
    """
    places = {token: place for place, token in enumerate(json.loads(stored)["pictures"])}
    positions = np.full((len(tokens), len(study.orders)), np.nan)
    sides = np.full_like(positions, np.nan)
    rows = {token: row for row, token in enumerate(tokens)}
    times = np.zeros(len(tokens))
    for column, order in enumerate(study.orders):
        for place, trial in enumerate(order):
            for side, token in enumerate(trial):
                if token in rows:
                    positions[rows[token], column] = place
                    sides[rows[token], column] = side
                    times[rows[token]] += 1
    observed = Observed()
    observed.values["place in study.json"] = [[float(places.get(token, -1)) for token in tokens]]
    observed.values["position"] = _mean_all_first(positions)
    observed.values["times shown"] = [times.tolist()]
    if study.protocol == "pair":
        observed.values["side"] = _mean_all_first(sides)
    return observed


def _mean_all_first(values: NDArray[np.float64]) -> list[Observable]:
    """Return the means over all orders, the values in each, and in the first.

    What is missing is put into the middle.
    """
    middle = np.nanmean(values) if np.isfinite(values).any() else 0.0
    filled = np.where(np.isfinite(values), values, middle)
    return [filled.mean(1).round(9).tolist(), filled, filled[:, 0].tolist()]
