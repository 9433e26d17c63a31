"""Observables of the pictures of a study: first of their files, then of their pixels.

Names, times, order and positions, in the folder and in its archive; what a picture file contains
besides its pixels: chunks, tables and lengths, read byte by byte. These must not reveal anything.

:func:`measure_pixels` measures properties that differ in many fakes. An export cannot remove them
without changing what is judged; a difference is still worth knowing, because people may judge by it
instead of by the content of the picture.
"""

import hashlib
import json
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import laplace

from impasto.data.decode import Rgb
from impasto.survey.audit.statistics import Observable
from impasto.survey.export.archive import public_files
from impasto.survey.study import Study

__all__ = [
    "ADVICE",
    "MEASURES",
    "UNIFORM",
    "Container",
    "Observed",
    "measure_pixels",
    "observe_archive",
    "observe_files",
    "observe_study",
    "read_container",
]


_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
# Chunks and markers without which there is no picture; the others are metadata.
_PNG_NEEDED = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_JPEG_NEEDED = {0xC0, 0xC1, 0xC2, 0xC4, 0xDA, 0xDB, 0xDD}
_JFIF = 0xE0
_STANDALONE = {0x01, *range(0xD0, 0xD9)}


@dataclass(frozen=True, kw_only=True)
class Container:
    """Structure of a picture file.

    Attributes:
        format: ``PNG``, ``JPEG``, or the first bytes of a file in another format.
        width: width in pixels, or 0 if unknown.
        height: height in pixels, or 0 if unknown.
        samples: bit depth, color type and interlacing of a PNG; bit depth, channels and coding of a
            JPEG.
        chunks: names of the chunks or markers, in order; consecutive repetitions are listed once.
        lengths: total length of each group of chunks in ``chunks``, bytes, in the same order.
        tables: hash of the quantization tables of a JPEG; empty for other formats.
        coding: coding of the samples: first bytes of a PNG's compressed stream, hexadecimal; name
            of a JPEG's frame marker, such as ``SOF0``; empty for other formats.
        metadata: name and beginning of each part of the file that is not needed to show the
            picture.
    """

    format: str
    width: int = 0
    height: int = 0
    samples: str = ""
    chunks: str = ""
    lengths: str = ""
    tables: str = ""
    coding: str = ""
    metadata: tuple[str, ...] = ()


def read_container(content: bytes) -> Container:
    """Parse a picture file; a damaged one is parsed as far as possible."""
    if content.startswith(_PNG):
        return _read_png(content)
    if content.startswith(_JPEG):
        return _read_jpeg(content)
    return Container(format=content[:8].hex(" ") or "empty")


def _read_png(content: bytes) -> Container:
    pieces: list[tuple[bytes, bytes]] = []
    place = len(_PNG)
    while place + 12 <= len(content) and (not pieces or pieces[-1][0] != b"IEND"):
        (length,) = struct.unpack_from(">I", content, place)
        pieces.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    header = next((body for name, body in pieces if name == b"IHDR" and len(body) == 13), bytes(13))
    width, height, *rest = struct.unpack(">IIBBBBB", header)
    metadata = [_show(name, body) for name, body in pieces if name not in _PNG_NEEDED]
    if place < len(content):
        metadata.append(_show(b"after the end", content[place:]))
    stream = next((body for name, body in pieces if name == b"IDAT"), b"")
    names, lengths = _sum_up([(name.decode("latin-1"), len(body)) for name, body in pieces])
    return Container(
        format="PNG",
        width=width,
        height=height,
        samples="/".join(map(str, rest)),
        chunks=names,
        lengths=lengths,
        coding=stream[:2].hex(),
        metadata=tuple(metadata),
    )


def _read_jpeg(content: bytes) -> Container:
    pieces: list[tuple[int, bytes]] = []
    place, end = 2, len(content)
    while place + 4 <= len(content) and content[place] == 0xFF:
        marker = content[place + 1]
        if marker in _STANDALONE or marker == 0xFF:
            place += 1 if marker == 0xFF else 2
            continue
        (length,) = struct.unpack_from(">H", content, place + 2)
        pieces.append((marker, content[place + 4 : place + 2 + length]))
        place += 2 + length
        if marker == 0xDA:  # the samples, up to the next marker that is none of theirs
            place = _after_samples(content, place)
        if content[place : place + 2] == b"\xff\xd9":
            end = place + 2
            break
    frame = next((body for mark, body in pieces if mark in (0xC0, 0xC1, 0xC2)), bytes(6))
    bits, height, width, channels = struct.unpack(">BHHB", frame[:6].ljust(6, b"\0"))
    coding = next((f"SOF{mark - 0xC0}" for mark, _ in pieces if mark in (0xC0, 0xC1, 0xC2)), "")
    metadata = [
        _show(f"marker {mark:02X}".encode(), body)
        for mark, body in pieces
        # The resolution in a JFIF header is history, too, unless it is the aspect 1:1.
        if mark not in _JPEG_NEEDED and (mark != _JFIF or body[7:14] != b"\0\0\1\0\1\0\0")
    ]
    if end < len(content):
        metadata.append(_show(b"after the end", content[end:]))
    tables = b"".join(body for mark, body in pieces if mark == 0xDB)
    names, lengths = _sum_up([(f"{mark:02X}", len(body)) for mark, body in pieces])
    return Container(
        format="JPEG",
        width=width,
        height=height,
        samples=f"{bits}/{channels}/{frame[6:].hex()}",
        chunks=names,
        lengths=lengths,
        tables=hashlib.sha256(tables).hexdigest()[:16],
        coding=coding,
        metadata=tuple(metadata),
    )


def _after_samples(content: bytes, place: int) -> int:
    """Return the offset of the next marker that is neither stuffing nor a restart."""
    while (place := content.find(b"\xff", place)) >= 0 and place + 1 < len(content):
        if content[place + 1] not in (0x00, 0xFF, *range(0xD0, 0xD8)):
            return place
        place += 1
    return len(content)


def _sum_up(pieces: list[tuple[str, int]]) -> tuple[str, str]:
    """Return the names, with consecutive ones merged, and the total length of each such group."""
    names: list[str] = []
    lengths: list[int] = []
    for name, length in pieces:
        if names and names[-1] == name:
            lengths[-1] += length
        else:
            names.append(name)
            lengths.append(length)
    return " ".join(names), " ".join(map(str, lengths))


def _show(name: bytes, body: bytes) -> str:
    start = body[:40].decode("latin-1")
    return f"{name.decode('latin-1')}: {start!r}"


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
    """Observables of the pictures, and faults of the export.

    Attributes:
        values: mapping from observable to one or more forms of it, each with a value for each
            token.
        faults: deviations from what an export writes, in words.
    """

    values: dict[str, list[Observable]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


def observe_files(folder: Path, study: Study, tokens: Sequence[str]) -> Observed:
    """Observe the files of pictures; an unreadable file is a fault."""
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
    """Return a name without the archive's top-level folder."""
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
    """Observe the positions of pictures in the orders and in ``study.json``.

    Args:
        study: public side of the study.
        tokens: tokens of the pictures that are judged.
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
    if study.rules.is_paired:
        observed.values["side"] = _mean_all_first(sides)
    return observed


def _mean_all_first(values: NDArray[np.float64]) -> list[Observable]:
    """Return the means over all orders, the values in each order, and those in the first.

    Missing values are replaced by the mean.
    """
    middle = np.nanmean(values) if np.isfinite(values).any() else 0.0
    filled = np.where(np.isfinite(values), values, middle)
    return [filled.mean(1).round(9).tolist(), filled, filled[:, 0].tolist()]


Floats = NDArray[np.float64]

_BLOCK = 8  # ITU-T T.81, A.1.1: samples are coded in blocks of 8 x 8


def measure_pixels(rgb: Rgb) -> dict[str, float]:
    """Compute all :data:`MEASURES` of a picture, RGB, (H, W, 3), uint8."""
    return {name: function(rgb) for name, function in MEASURES.items()}


def _gray(rgb: Rgb) -> Floats:
    gray: Floats = rgb @ np.array([0.299, 0.587, 0.114]) / 255
    return gray


def _sharpness(rgb: Rgb) -> float:
    return float(np.log(np.square(laplace(_gray(rgb), mode="reflect")).mean() + 1e-12))


def _blockiness(rgb: Rgb) -> float:
    """Steps at the borders of 8 x 8 blocks relative to steps elsewhere, for the strongest phase."""
    gray = _gray(rgb)
    ratios = []
    for picture in (gray, gray.T):
        steps = np.abs(np.diff(picture, axis=0)).mean(1)
        by_phase = [steps[phase::_BLOCK].mean() for phase in range(_BLOCK)]
        largest = int(np.argmax(by_phase))
        others = np.mean([value for phase, value in enumerate(by_phase) if phase != largest])
        ratios.append(by_phase[largest] / (others + 1e-6))
    return float(np.mean(ratios))


def _checkerboard(rgb: Rgb) -> float:
    """Power of stripes of one pixel, an artifact of upsampling layers (Odena et al. 2016)."""
    power = np.abs(np.fft.rfft2(_gray(rgb) - _gray(rgb).mean())) ** 2
    rows, columns = power.shape
    last = power[:, columns - 1].mean() + power[rows // 2].mean()
    near = power[:, columns - 5 : columns - 2].mean() + power[rows // 2 - 4 : rows // 2 - 1].mean()
    return float(np.log((last + 1e-9) / (near + 1e-9)))


def _border(rgb: Rgb) -> float:
    """Difference of the outermost pixels from their neighbors, relative to that further in."""
    gray = _gray(rgb)
    outer, inner = [], []
    for picture in (gray, gray[::-1], gray.T, gray.T[::-1]):
        outer.append(np.abs(picture[0] - picture[1]).mean())
        inner.append(np.abs(picture[8] - picture[9]).mean())
    return float(np.mean(outer) / (np.mean(inner) + 1e-6))


def _saturation(rgb: Rgb) -> float:
    most, least = rgb.max(2).astype(float), rgb.min(2).astype(float)
    return float(((most - least) / np.maximum(most, 1)).mean())


def _clipped(rgb: Rgb) -> float:
    return float(((rgb == 0) | (rgb == 255)).mean())


def _compressed(rgb: Rgb) -> float:
    rows = np.diff(rgb.reshape(len(rgb), -1), axis=0, prepend=rgb[:1].reshape(1, -1))
    return len(zlib.compress(rows.tobytes(), 1)) / rgb.size


MEASURES: Mapping[str, Callable[[Rgb], float]] = {
    "fine detail": _sharpness,
    "JPEG blocks": _blockiness,
    "stripes of one pixel": _checkerboard,
    "border": _border,
    "saturation": _saturation,
    "brightness": lambda rgb: float(_gray(rgb).mean()),
    "contrast": lambda rgb: float(_gray(rgb).std()),
    "clipped values": _clipped,
    "compressibility": _compressed,
}
"""Name to a function of RGB, (H, W, 3), uint8."""

ADVICE: Mapping[str, str] = {
    "fine detail": "take originals of the same size, or a smaller --width and --height",
    "JPEG blocks": "--equalize jpeg:90 gives all pictures one JPEG history",
    "border": "leave out pictures with frames, margins or signatures (--exclude)",
    "clipped values": "networks seldom reach 0 and 255, and no option hides that; leave out "
    "pictures with large black or white areas (--exclude), or report it",
    "compressibility": "follows from fine detail and noise",
}
"""What can be done about some of them."""

EQUALIZED = "they are equalized ({equalize}) already; a lower quality hides more of what is older"
"""What can be done about JPEG blocks of pictures that were put through JPEG."""
