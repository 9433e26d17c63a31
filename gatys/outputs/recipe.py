"""The recipe beside a picture: everything needed to reproduce it, in one YAML file.

The options are plain YAML, so that ``impasto stylize --config PICTURE.yaml`` reads them. The facts
(hashes, versions, device, time, losses) stand in comments above them, which the command line
ignores, since facts cannot be set. Options and facts share one file so that they cannot be
separated.
"""

import hashlib
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import yaml

from impasto.data.atomic import write_text_atomic
from impasto.data.files import fit_name
from impasto.data.provenance import FACTS_MARK, RECIPE_MARK
from impasto.gatys.masks import parse_mask_pair
from impasto.options.errors import OptionError, PictureError

__all__ = [
    "Facts",
    "FileFacts",
    "Recipe",
    "absolute_masks",
    "changes_since",
    "describe_file",
    "difference_from",
    "installed_versions",
    "read_recipe",
    "recipe_path",
    "write_recipe",
]

_HEADER = f"{RECIPE_MARK} To make it again: impasto stylize --config THIS_FILE\n"
_FACTS_HEADER = "# The facts, which are not read as options:\n"
_PACKAGES = ("impasto", "torch", "torchvision", "numpy", "Pillow", "scikit-image")


@dataclass(frozen=True, kw_only=True)
class FileFacts:
    """The path, size and hash of a file when it was read.

    Attributes:
        path: absolute path of the file.
        bytes: size of the file, in bytes.
        sha256: SHA-256 of the file's content, 64 hexadecimal digits.
    """

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """The inputs, software and circumstances that a picture was made with.

    Attributes:
        inputs: all files that were read: contents, styles, masks and weights.
        backbone: name of the feature network.
        backbone_sha256: SHA-256 of the feature network's weights; empty where the weights are drawn
            from a seed.
        versions: versions of packages, Python and the operating system, by name.
        device: device that computed, for example ``cpu: AMD EPYC``.
        threads: number of threads of the computation; the order of sums depends on it.
        seed: seed of all random numbers.
        evaluations: number of evaluations of the losses.
        stopped: how far the run had come when it was stopped early; empty if it was not.
        seconds: duration of the optimization, in seconds.
        losses: final losses by name.
        peak_memory_mib: peak memory in MiB, on the device if that is a GPU; 0 if not known.
        picture: picture that was written, if known.
    """

    inputs: Sequence[FileFacts]
    backbone: str
    backbone_sha256: str
    versions: Mapping[str, str]
    device: str
    threads: int
    seed: int
    evaluations: int
    seconds: float
    losses: Mapping[str, float]
    peak_memory_mib: float = 0.0
    picture: FileFacts | None = None
    stopped: str = ""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe that was read.

    Attributes:
        options: options by their flat names.
        facts: facts in the comments; None in a file that a user wrote.
    """

    options: dict[str, Any]
    facts: Facts | None


def recipe_path(picture: Path) -> Path:
    """Return where the recipe of a picture lies: ``monet.png.yaml`` beside ``monet.png``."""
    return picture.with_name(fit_name(f"{picture.name}.yaml"))


def describe_file(path: Path) -> FileFacts:
    """Return path, size and hash of a file.

    Raises:
        PictureError: the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            return FileFacts(path=str(path.absolute()), bytes=file.tell(), sha256=digest)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PictureError(path, f"cannot be opened: {reason}") from error


def installed_versions() -> dict[str, str]:
    """Return the versions of the software that takes part in a computation, by name."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "not installed"
    versions["Python"] = platform.python_version()
    versions["system"] = f"{platform.system()} {platform.machine()}"
    return versions


def absolute_masks(masks: Sequence[str], styles: Sequence[Path]) -> list[str]:
    """Return the texts of ``--masks`` with absolute paths, so that they work from every folder.

    Raises:
        OptionError: a text is not a pair of a mask and a style, or its style is not among the given
            ones.
    """
    pairs = [parse_mask_pair(text, styles) for text in masks]
    return [
        f"{pair.path.absolute()}="
        + ("untouched" if pair.style is None else str(styles[pair.style].absolute()))
        for pair in pairs
    ]


def write_recipe(path: Path, options: Mapping[str, Any], facts: Facts | None = None) -> None:
    """Write a recipe, whole or not at all.

    Args:
        path: path of the recipe, from :func:`recipe_path`.
        options: all resolved options, by their flat names. A ``Path`` is written absolute, so that
            the recipe works from every folder; a text is written unchanged.
        facts: facts to write in the comments; None before the picture is made.

    Raises:
        PictureError: the recipe cannot be written.
    """
    flat = {name: _to_yaml(value) for name, value in options.items()}
    header = _HEADER
    if facts is not None:
        noted = _dump(_to_yaml(asdict(facts))).splitlines()
        header += _FACTS_HEADER + "".join(f"{FACTS_MARK}{line}\n" for line in noted)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text_atomic(path, f"{header}\n{_dump(flat)}")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise PictureError(path, f"cannot be written: {reason}") from error


def read_recipe(path: Path) -> Recipe:
    """Read a recipe, or any file of options.

    Raises:
        OptionError: the file cannot be read, or is not a file of options.
    """
    try:
        text = path.read_text(encoding="utf-8")
        options = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise OptionError("config", f"{path} cannot be read: {reason.lower()}") from error
    except yaml.YAMLError as error:
        raise OptionError("config", f"{path} is no YAML: {error}") from error
    if options is None:
        options = {}
    if not isinstance(options, dict):
        raise OptionError("config", f"{path}: expected 'name: value' lines")
    return Recipe(options=options, facts=_read_facts(path, text))


def changes_since(facts: Facts, *, device: str, threads: int) -> list[str]:
    """Describe changes since a picture was made that may change the result.

    Args:
        facts: facts that the recipe records.
        device: device used now, in the format of the facts.
        threads: number of threads used now.

    Returns:
        A sentence for each input file that is missing or has another content, and for each version,
        device or number of threads that differs, and one if the recorded run was stopped early;
        empty if the picture will be the same.
    """
    changes = [change for file in facts.inputs if (change := _file_change(file))]
    if facts.stopped:
        changes.append(f"it goes on to its end now, the recipe is of a picture {facts.stopped}")
    now = installed_versions()
    for name, before in facts.versions.items():
        if now.get(name) != before:
            changes.append(f"{name} is {now.get(name, 'unknown')} now, the recipe is of {before}")
    if device != facts.device:
        changes.append(f"the device is {device} now, the recipe is of {facts.device}")
    if threads != facts.threads:
        changes.append(f"{threads} threads compute now, the recipe is of {facts.threads}")
    return changes


def difference_from(recipe: Recipe, options: Mapping[str, Any]) -> str:
    """Describe how a picture differs from the one that options make.

    Args:
        recipe: recipe of the picture.
        options: options by their flat names; those that are not among them do not count.

    Returns:
        The first three settings that are others, or the input file that has changed or is missing,
        in words; empty if the options make the same picture again.
    """
    flat = {name: _to_yaml(value) for name, value in options.items()}
    others = [
        f"{name} {_word(recipe.options.get(name))} (now {_word(value)})"
        for name, value in flat.items()
        if recipe.options.get(name) != value
    ]
    if others:
        return ", ".join(others[:3]) + (f", and {len(others) - 3} more" if others[3:] else "")
    if recipe.facts is None:
        return "unknown files"
    changed = (file.path for file in recipe.facts.inputs if _file_change(file))
    return next((f"{path} as it was before" for path in changed), "")


def _word(value: object) -> str:
    """Write the value of an option as the command line takes it."""
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return "unset" if value is None else str(value)


def _file_change(then: FileFacts) -> str | None:
    path = Path(then.path)
    try:
        now = describe_file(path)
    except PictureError as error:
        return f"{path} {error.reason}"
    if now.sha256 == then.sha256:
        return None
    return (
        f"{path} is another file than the recipe is of: {now.bytes} bytes, SHA-256 "
        f"{now.sha256[:12]}..., expected {then.bytes} bytes, {then.sha256[:12]}..."
    )


def _read_facts(path: Path, text: str) -> Facts | None:
    lines = [
        line.removeprefix(FACTS_MARK) for line in text.splitlines() if line.startswith(FACTS_MARK)
    ]
    if not lines:
        return None
    try:
        noted = yaml.safe_load("\n".join(lines))
        # What a later version of Impasto notes too is passed over.
        known = {field.name: noted[field.name] for field in fields(Facts) if field.name in noted}
        known["inputs"] = tuple(FileFacts(**file) for file in known["inputs"])
        if known.get("picture") is not None:
            known["picture"] = FileFacts(**known["picture"])
        return Facts(**known)
    except (yaml.YAMLError, TypeError, KeyError) as error:
        raise OptionError(
            "config",
            f"{path}: its facts (lines that begin with '{FACTS_MARK.strip()}') are damaged; remove "
            "them to use the options alone",
        ) from error


def _to_yaml(value: Any) -> Any:
    """Return what YAML can hold: paths absolute, tuples as lists, numbers as Python's own."""
    if isinstance(value, Path):
        return str(value.absolute())
    if isinstance(value, Mapping):
        return {str(name): _to_yaml(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_to_yaml(part) for part in value]
    if hasattr(value, "item"):  # a number of NumPy or torch
        return value.item()
    return value


def _dump(plain: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(plain), sort_keys=False, allow_unicode=True, width=1000)
