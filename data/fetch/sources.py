"""Where a file may be had: nothing here names a host.

Addresses come from a user (``--source``, the environment variable ``IMPASTO_SOURCE``, the file
``mirrors.yaml`` in :func:`~impasto.data.fetch.catalog.home`) and from libraries that know their
own. :func:`register_source` adds a plug-in.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit
from urllib.request import url2pathname

from impasto.data.fetch.catalog import Entry, home
from impasto.options.config import read_config
from impasto.options.errors import FetchError, OptionError
from impasto.options.fields import expand_home

__all__ = ["MIRRORS", "Source", "SourcePlugin", "find_sources", "register_source"]

MIRRORS = "mirrors.yaml"
"""Name of the file with addresses of a user."""

_REMOTE = ("http", "https", "ftp")
_HUB = "hf:"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One place of a file.

    Attributes:
        origin: who named it, for messages.
        url: its address; empty if it is on the disk.
        path: its path on the disk; None if it is remote.
        problem: why it cannot be asked on this machine; empty if it can.
    """

    origin: str
    url: str = ""
    path: Path | None = None
    problem: str = ""

    def require_usable(self) -> None:
        """Refuse what cannot be asked on this machine.

        Raises:
            FetchError: the message says what is missing.
        """
        if self.problem:
            raise FetchError(self.problem)

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        parts = urlsplit(self.url)  # what follows may be a key, and so may a user's name
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit((parts.scheme, host, parts.path, "", ""))


SourcePlugin = Callable[[Entry], Iterable[str]]
"""Returns addresses of an entry: of its file, or of the folder that holds it."""

_PLUGINS: dict[str, SourcePlugin] = {}


def register_source(origin: str, plugin: SourcePlugin) -> None:
    """Ask one more plug-in for addresses, after those that there are.

    Args:
        origin: what it is called in messages.
        plugin: returns addresses of an entry, none if it knows none.
    """
    _PLUGINS[origin] = plugin


def find_sources(entry: Entry, given: Sequence[str] = ()) -> list[Source]:
    """Return all places where a file may be had, those that a user named first.

    Args:
        entry: what to fetch.
        given: addresses or folders of ``--source``.

    Raises:
        FetchError: the file of mirrors is damaged.
        OptionError: an address is none.
    """
    named = [("--source", place) for place in given]
    for origin, plugin in _PLUGINS.items():
        named += [(origin, place) for place in plugin(entry)]
    found: dict[str, Source] = {}
    for origin, place in named:
        source = _locate(place, entry, origin)
        found.setdefault(source.url or str(source.path), source)
    return list(found.values())


def _locate(place: str, entry: Entry, origin: str) -> Source:
    """Return the source that an address or a folder means."""
    place = place.replace("{name}", entry.name).replace("{file}", entry.file)
    if place.startswith(_HUB):
        try:
            return Source(origin=origin, url=_hub_address(place.removeprefix(_HUB), entry))
        except FetchError as error:  # the other sources may have it
            return Source(origin=origin, url=place, problem=str(error))
    scheme, separator, _ = place.partition("://")
    if not separator:
        path = expand_home(place)
        return Source(origin=origin, path=path / entry.file if path.is_dir() else path)
    if scheme == "file":
        return _locate(url2pathname(urlsplit(place).path), entry, origin)
    if scheme not in _REMOTE or not urlsplit(place).hostname:
        raise OptionError(
            "source",
            f"{place!r} ({origin}) is no address; expected one that begins with "
            f"{', '.join(f'{each}://' for each in _REMOTE)} or hf:, or a folder or file",
        )
    parts = urlsplit(place)
    suffix = PurePosixPath(entry.file).suffix
    if not unquote(parts.path).lower().endswith(suffix):
        parts = parts._replace(path=f"{parts.path.rstrip('/')}/{entry.file}")
    return Source(origin=origin, url=urlunsplit(parts))


def _hub_address(place: str, entry: Entry) -> str:
    """Return the address of a file in a repository of a model hub, as its library knows it."""
    hub = _module("huggingface_hub", "huggingface_hub", f"{_HUB}{place}")
    kind, _, rest = place.partition("/")
    plural = {"datasets": "dataset", "models": "model"}
    owner, name, *inside = *(rest if kind in plural else place).split("/"), ""
    if not owner or not name:
        raise OptionError("source", f"{_HUB}{place} names no repository; expected {_HUB}OWNER/NAME")
    file = "/".join(part for part in inside if part) or entry.file
    return str(hub.hf_hub_url(f"{owner}/{name}", file, repo_type=plural.get(kind)))


def _module(name: str, package: str, what: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise FetchError(f"{what} needs the package {package}: pip install {package}") from error


def _from_environment(_entry: Entry) -> list[str]:
    return os.environ.get("IMPASTO_SOURCE", "").split()


def _from_mirrors(entry: Entry) -> list[str]:
    """Return what the file of mirrors says of an entry, and then of all."""
    file = home() / MIRRORS
    if not file.is_file():
        return []
    try:
        stored = read_config(file)
    except OptionError as error:
        raise FetchError(f"{error.place or file}: {error.reason}") from error
    places: list[str] = []
    for name in (entry.name, entry.kind, "all"):
        some = stored.get(name) or []
        some = [some] if isinstance(some, str) else some
        if not isinstance(some, list) or not all(isinstance(place, str) for place in some):
            raise FetchError(f"{file}: {name}: expected an address or a list of them, got {some!r}")
        places += some
    return places


def _from_library(entry: Entry) -> list[str]:
    """Return the address that a library has of its own file."""
    library, _, weights = entry.library.partition(":")
    try:
        if library == "torchvision":
            return [str(import_module("torchvision.models").get_weight(weights).url)]
        if library == "torch_fidelity":
            known = import_module("torch_fidelity.feature_extractor_inceptionv3")
            return [str(known.URL_INCEPTION_V3)]
    except (AttributeError, ImportError, ValueError):  # another version of it
        return []
    return []


register_source("IMPASTO_SOURCE", _from_environment)
register_source(MIRRORS, _from_mirrors)
register_source("the library", _from_library)
