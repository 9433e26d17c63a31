"""What `impasto fetch` knows, and where it puts it; torch is never imported.

``catalog.yaml`` beside this module lists names, sizes, checksums and licenses. Checksums that
nobody publishes are those of the first fetch: they are kept in a file of the user, in
``IMPASTO_HOME`` or ``~/.impasto``, and compared from then on.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Literal, get_args

import yaml

from impasto.data.atomic import make_folder, write_text_atomic
from impasto.options.errors import FetchError, FolderError

__all__ = [
    "DATASETS",
    "SETS",
    "Entry",
    "Kind",
    "catalog",
    "expected_checksum",
    "fetch_hint",
    "find_dataset",
    "home",
    "record_checksum",
]

Kind = Literal["dataset", "model", "network"]

DATASETS = Path("datasets")
"""Where data sets are unless told otherwise, and where ``--dataroot NAME`` looks for them."""

SETS = ("trainA", "trainB", "testA", "testB")
"""The folders of a data set; those for training must be there."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One thing that can be fetched.

    Attributes:
        name: name that a user gives.
        kind: ``dataset``, a zip of pictures; ``model``, a generator; ``network``, weights of a
            feature network.
        file: name of the file as it is published.
        what: description in words.
        license: one sentence on what it may be used for.
        bytes: size of the file, if it is published.
        sha256: SHA-256 of the file, or its first digits; empty if nobody publishes it.
        pictures: number of pictures in each folder, if it is published.
        library: library that knows an address, ``torchvision:WEIGHTS`` or ``torch_fidelity``; empty
            if none does.
    """

    name: str
    kind: Kind
    file: str
    what: str
    license: str
    bytes: int | None = None
    sha256: str = ""
    pictures: Mapping[str, int] = field(default_factory=dict)
    library: str = ""

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"{self.name}: expected a kind of {get_args(Kind)}, got {self.kind!r}")


@lru_cache(maxsize=1)
def catalog() -> dict[str, Entry]:
    """Return all that can be fetched, by name."""
    text = (files("impasto.data.fetch") / "catalog.yaml").read_text(encoding="utf-8")
    return {name: Entry(name=name, **facts) for name, facts in yaml.safe_load(text).items()}


def home() -> Path:
    """Return the folder of what Impasto remembers for a user; it need not exist.

    It is the environment variable ``IMPASTO_HOME``, or ``~/.impasto``.
    """
    return Path(os.environ.get("IMPASTO_HOME") or Path.home() / ".impasto").expanduser()


def expected_checksum(entry: Entry) -> tuple[str, str]:
    """Return the SHA-256 that a file must have, or begin with, and who says so; empty if nobody."""
    if entry.sha256:
        return entry.sha256, "as it is published"
    remembered = _remembered().get(entry.file, "")
    return remembered, f"as when it was first fetched ({_checksums()})" if remembered else ""


def record_checksum(entry: Entry, sha256: str) -> None:
    """Remember the SHA-256 of a file, if nobody publishes it.

    Raises:
        OSError: it cannot be written.
    """
    known = _remembered()
    if entry.sha256 or known.get(entry.file) == sha256:
        return
    make_folder(home())
    text = json.dumps({**known, entry.file: sha256}, indent=2, sort_keys=True)
    write_text_atomic(_checksums(), text + "\n")


def find_dataset(dataroot: Path) -> Path:
    """Return the folder of a data set, which may be given by its name alone.

    Args:
        dataroot: a folder, or the name of one in ``datasets``.

    Raises:
        FolderError: there is no such folder, and the name is that of a data set to be fetched.
    """
    if len(dataroot.parts) != 1 or any((dataroot / name).is_dir() for name in (*SETS, "train")):
        return dataroot
    if (DATASETS / dataroot).is_dir():
        return DATASETS / dataroot  # also where a folder of that name here holds something else
    if dataroot.exists():
        return dataroot
    if fetch_hint(str(dataroot), "dataset"):
        raise FolderError(dataroot, f"no such folder{fetch_hint(str(dataroot), 'dataset')}")
    return dataroot


def fetch_hint(name: str, kind: Kind) -> str:
    """Return ``"; impasto fetch NAME fetches it"`` for what can be fetched, or nothing."""
    for known in (name, f"{name}_pretrained"):
        entry = catalog().get(known)
        if entry is not None and entry.kind == kind:
            return f"; impasto fetch {known} fetches it"
    return ""


def _checksums() -> Path:
    return home() / "checksums.json"


def _remembered() -> dict[str, str]:
    """Return the checksums of earlier fetches, by the names of files.

    Raises:
        FetchError: the file is damaged.
    """
    file = _checksums()
    if not file.is_file():
        return {}
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise FetchError(f"{file}: cannot be read ({error}); mend or remove it") from error
    if not isinstance(found, dict):
        raise FetchError(f"{file}: holds no checksums by name; mend or remove it")
    return {str(name): str(value) for name, value in found.items()}
