"""Fetching: from a name to a folder of pictures, a generator or weights where others find them.

Files are verified before they take their place: checksums, archives before they are unpacked, and
weights by loading them, which runs no code that they may hold.
"""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torchvision import models

from impasto.cyclegan.weights import load_generator
from impasto.data.atomic import make_folder
from impasto.data.fetch.archives import find_root, unpack
from impasto.data.fetch.catalog import (
    SETS,
    Entry,
    catalog,
    expected_checksum,
    home,
    record_checksum,
)
from impasto.data.fetch.sources import MIRRORS, Source, find_sources
from impasto.data.fetch.transfer import copy_file, download, require_space
from impasto.data.files import list_pictures
from impasto.gatys.features.weight_files import read_weights
from impasto.gatys.features.weights import weights_folder
from impasto.options.errors import (
    CheckpointError,
    FetchError,
    FolderError,
    ImpastoError,
    OptionError,
)
from impasto.options.fetch import FetchOptions
from impasto.options.fields import nearest
from impasto.runs.directory import lock_folder
from impasto.runs.state import load_tensors

__all__ = ["FetchResult", "Fetched", "place_of", "run_fetch"]

_TRAINING_SETS = SETS[:2]
_VGG = ("vgg16", "vgg19", "vgg16_caffe", "vgg19_caffe")


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """One thing that is there now.

    Attributes:
        entry: what it is.
        path: its folder or file.
        new: whether it was fetched now; False if it was there already.
        notes: what it holds, and what is to be known of it, in words.
        sha256: SHA-256 of the file that was fetched; empty if it was there already.
    """

    entry: Entry
    path: Path
    new: bool
    notes: Sequence[str] = ()
    sha256: str = ""


@dataclass(frozen=True, kw_only=True)
class FetchResult:
    """What became of each name.

    Attributes:
        fetched: what is there now, in the order of the names.
        failures: what is not, with the reasons, by name.
    """

    fetched: Sequence[Fetched]
    failures: Mapping[str, str] = field(default_factory=dict)


def run_fetch(
    options: FetchOptions, *, announce: Callable[[str], None] = lambda _line: None
) -> FetchResult:
    """Fetch what is named; where one thing fails, the others are fetched all the same.

    Args:
        options: all options.
        announce: called with one line for each source that is tried, and each that fails.

    Raises:
        OptionError: a name or an address is none.
        OSError: a disk is full, or cannot be written.
    """
    entries = [_find_entry(name) for name in dict.fromkeys(options.names)]
    fetched, failures = [], {}
    for entry in entries:
        try:
            fetched.append(_fetch(entry, options, announce))
        except OptionError:
            raise
        except ImpastoError as error:
            failures[entry.name] = str(error)
        except KeyboardInterrupt:
            announce(f"{entry.name}: what was transferred is kept; the same command goes on there")
            raise
    return FetchResult(fetched=fetched, failures=failures)


def place_of(entry: Entry, *, datasets_dir: Path, checkpoints_dir: Path) -> Path:
    """Return the folder of a data set, or the file of a model or network, that others look for."""
    if entry.kind == "dataset":
        return datasets_dir / entry.name
    if entry.kind == "model":
        return checkpoints_dir / entry.name / "latest_net_G.pth"
    return weights_folder() / entry.file


def _find_entry(name: str) -> Entry:
    """Return what a name means: something of the catalog, or a model of torchvision.

    Raises:
        OptionError: it means nothing.
    """
    known = catalog()
    entry = known.get(name) or known.get(f"{name}_pretrained")
    if entry is not None:
        return entry
    others = models.list_models(models)
    if name not in others:
        raise OptionError(
            "names",
            f"unknown: {name!r}{nearest(name, [*known, *others])}; impasto fetch --list lists what "
            "there is, and models of torchvision go by their names",
        )
    weights = models.get_model_weights(name).DEFAULT
    file = str(weights.url).rsplit("/", 1)[-1]
    return Entry(
        name=name,
        kind="network",
        file=file,
        what=f"{name} of torchvision",
        license="torchvision's terms; ImageNet is for research that is not commercial",
        sha256=Path(file).stem.rpartition("-")[2],
        library=f"torchvision:{weights}",
    )


def _fetch(entry: Entry, options: FetchOptions, announce: Callable[[str], None]) -> Fetched:
    place = place_of(
        entry, datasets_dir=options.datasets_dir, checkpoints_dir=options.checkpoints_dir
    )
    if place.exists() and not options.overwrite:
        return Fetched(entry=entry, path=place, new=False)
    if entry.kind == "model" and (place.parent / "options.yaml").exists():
        raise FolderError(place.parent, "is a run of yours; choose another --checkpoints_dir")
    folder = place.parent.parent if entry.kind == "model" else place.parent
    work = folder / f".fetch-{entry.name}"
    with lock_folder(work, f"another process is fetching {entry.name}; wait for it"):
        try:
            fetched = _from_any(entry, place, work, options, announce)
        except FetchError:
            if not _kept(work):
                shutil.rmtree(work, ignore_errors=True)
            raise
    shutil.rmtree(work, ignore_errors=True)
    return fetched


def _kept(work: Path) -> list[Path]:
    """Return the files from which a later fetch goes on."""
    return [path for path in work.iterdir() if path.name != ".lock" and path.stat().st_size]


def _from_any(
    entry: Entry, place: Path, work: Path, options: FetchOptions, announce: Callable[[str], None]
) -> Fetched:
    """Try one source after the other.

    Raises:
        FetchError: all of them fail, or there is none; the message says what else can be done.
    """
    if options.file is not None:
        sources = [Source(origin="--from", path=options.file)]
    else:
        sources = find_sources(entry, options.source)
    problems = []
    for source in sources:
        announce(f"{entry.name}: from {source} ({source.origin})")
        try:
            file, sha256 = _obtain(entry, source, work, options)
            try:
                notes = _keep(entry, file, place, work, options)
            except (CheckpointError, FetchError):
                if file.parent == work:
                    file.unlink(missing_ok=True)
                raise
        except (CheckpointError, FetchError) as error:
            problems.append(f"{source}: {str(error).removeprefix(f'{work}/')}")
            announce(f"{entry.name}: {problems[-1]}")
            continue
        try:
            record_checksum(entry, sha256)
        except OSError as error:
            notes.append(f"note: its SHA-256 cannot be remembered ({error})")
        return Fetched(entry=entry, path=place, new=True, notes=notes, sha256=sha256)
    raise FetchError("".join(f"{problem}\n  " for problem in problems) + _alternatives(entry))


def _obtain(entry: Entry, source: Source, work: Path, options: FetchOptions) -> tuple[Path, str]:
    """Return the file of a source, on this disk, and its SHA-256, which is what it should be.

    Raises:
        FetchError: it cannot be had, or is another file.
    """
    source.require_usable()
    expected, who = ("", "") if options.any_checksum else expected_checksum(entry)
    file = work / entry.file
    if source.path is not None and entry.kind == "dataset":
        file = source.path  # unpacked where it lies
        if not file.is_file():
            raise FetchError("is a folder, not the file" if file.is_dir() else "no such file")
    elif source.path is not None:
        copy_file(source.path, file)
    elif not (expected and file.is_file() and _digest(file).startswith(expected)):
        size = None if options.any_checksum else entry.bytes
        if size is not None and not file.exists():
            require_space(work, size)
        download(
            source.url, file, timeout_s=options.timeout_seconds, size=size, known=bool(expected)
        )
    sha256 = _digest(file)
    if not sha256.startswith(expected):
        if source.path is None:
            file.unlink()
        raise FetchError(
            f"its SHA-256 is {sha256[:12]}..., expected {expected[:12]}..., {who}: damaged, "
            "another version or another file; --any_checksum true keeps it nevertheless"
        )
    return file, sha256


def _digest(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except PermissionError as error:
        raise FetchError(f"cannot be read ({error.strerror})") from error


def _keep(entry: Entry, file: Path, place: Path, work: Path, options: FetchOptions) -> list[str]:
    """Verify what a file holds and put it in its place; return what it holds, in words.

    Raises:
        CheckpointError: weights are damaged, unsafe, or of another network.
        FetchError: an archive is damaged or unsafe, or holds no data set.
    """
    if entry.kind == "dataset":
        return _keep_pictures(entry, file, place, work, options)
    if entry.kind == "model":
        notes = [str(load_generator(file).architecture)]
    elif entry.name in _VGG:
        notes = [str(read_weights(file))]
    else:
        tensors, _ = load_tensors(file)
        if not isinstance(tensors, dict):
            raise CheckpointError(f"holds {type(tensors).__name__}; expected weights by name")
        notes = []
    make_folder(place.parent)
    file.replace(place)
    return notes


def _keep_pictures(
    entry: Entry, file: Path, place: Path, work: Path, options: FetchOptions
) -> list[str]:
    unpacked = work / "unpacked"
    shutil.rmtree(unpacked, ignore_errors=True)
    unpacked.mkdir()
    try:
        unpack(file, unpacked)
        root = find_root(unpacked, _TRAINING_SETS)
        if root is None:
            raise FetchError(f"holds no folders {' and '.join(_TRAINING_SETS)}")
        counts = {name: len(list_pictures(root / name)) for name in SETS if (root / name).is_dir()}
        _move(root, place, work / "replaced")
    except FolderError as error:  # no pictures in it
        raise FetchError(str(error).replace(f"{unpacked}/", "")) from error
    finally:
        shutil.rmtree(unpacked, ignore_errors=True)
    if options.keep_archive and file.parent == work:
        file.replace(place.parent / entry.file)
    notes = [", ".join(f"{name} {count:,}" for name, count in counts.items()) + " pictures"]
    for name, expected in entry.pictures.items():
        if counts.get(name, 0) != expected:
            notes.append(
                f"note: {name} holds {counts.get(name, 0):,} pictures, as published {expected:,}"
            )
    return notes


def _move(folder: Path, place: Path, aside: Path) -> None:
    """Move a folder to its place; what is there stays if that fails."""
    replaced = place.exists()
    if replaced:
        shutil.rmtree(aside, ignore_errors=True)
        place.rename(aside)
    try:
        folder.rename(place)
    except OSError:
        if replaced:
            aside.rename(place)
        raise


def _alternatives(entry: Entry) -> str:
    """Say what else can be done to get a file."""
    scripts = {
        "dataset": "datasets/download_cyclegan_dataset.sh",
        "model": "scripts/download_cyclegan_model.sh",
    }
    where = (
        f" The script {scripts[entry.kind]} of the reference implementation says where its authors "
        "host it now."
        if entry.kind in scripts
        else ""
    )
    return (
        f"{entry.name} could not be fetched from any source that is known. Give the address of "
        f"{entry.file}, or of a folder that holds it, by --source, IMPASTO_SOURCE or "
        f"{home() / MIRRORS}; or, if the file is on this disk, --from FILE.{where}"
    )
