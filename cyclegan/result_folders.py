"""Folders of pictures as sets to measure, and which result was made of which input."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from impasto.cyclegan.evaluation import Sample
from impasto.data.decode import read_picture
from impasto.options.errors import FolderError, OptionError

__all__ = ["PictureFiles", "Results", "distinct_names", "find_results"]

# What the reference implementation's test.py appends to names: it puts inputs, results and
# reconstructions of both directions into one folder; with --model test, inputs and results of one.
_FAKES = {"AtoB": "_fake_B", "BtoA": "_fake_A"}
_FAKE, _REAL = "_fake", "_real"


@dataclass(frozen=True, kw_only=True)
class PictureFiles:
    """Files that are read when they are needed, one after the other.

    Attributes:
        folder: that names are relative to.
        files: pictures in it.
        inputs: name and file of what each was made of; None where that is unknown.
    """

    folder: Path
    files: Sequence[Path]
    inputs: Sequence[tuple[str, Path]] | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        """Read them.

        Raises:
            PictureError: one cannot be read; leaving it out would change the numbers.
        """
        for place, file in enumerate(self.files):
            if self.inputs is None:
                name = file.relative_to(self.folder).as_posix()
                yield Sample(picture=read_picture(file).rgb, name=name)
            else:
                name, source = self.inputs[place]
                before = read_picture(source).rgb
                yield Sample(picture=read_picture(file).rgb, before=before, name=name)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a folder of results holds.

    Attributes:
        pictures: the results, with their inputs where these are known.
        notes: what was left out or not found, one sentence each.
    """

    pictures: PictureFiles
    notes: Sequence[str] = ()


def find_results(
    folder: Path,
    files: Sequence[Path],
    *,
    inputs: tuple[Path, Sequence[Path]] | None,
    direction: str | None = None,
    max_pictures: int | None = None,
) -> Results:
    """Find the results in a folder, and their inputs by name.

    ``a.jpg`` is the input of ``a.jpg.png`` (as `impasto translate` names two inputs that differ in
    their endings only), of ``a.jpg``, and of ``a.png``, in this order. Of what the reference
    implementation writes, only ``a_fake_B.png`` is a result, or ``a_fake_A.png``, or, beside
    ``a_real.png``, ``a_fake.png``.

    Args:
        folder: of results.
        files: pictures in it.
        inputs: folder of inputs and those to look for; None if they are unknown.
        direction: chooses between ``_fake_A`` and ``_fake_B`` where there are both.
        max_pictures: the first so many, where inputs are unknown.

    Raises:
        FolderError: several results have the name of one input.
        OptionError: there are ``_fake_A`` and ``_fake_B``, and no direction.
    """
    named, notes = _results_by_name(folder, files, direction)
    every = [file for several in named.values() for file in several]
    if inputs is None:
        kept = every[:max_pictures]
        return Results(pictures=PictureFiles(folder=folder, files=kept), notes=notes)
    root, sources = inputs
    pairs = _match(folder, named, root, sources)
    if not pairs:
        kept = every[:max_pictures]
        notes.append(
            f"no result in {folder} has the name of an input in {root}, so they are not compared "
            "with inputs"
        )
        return Results(pictures=PictureFiles(folder=folder, files=kept), notes=notes)
    missing = len(sources) - len(pairs)
    if missing:
        notes.append(f"{missing} of {len(sources)} inputs have no result in {folder}")
    if unused := len(every) - len(pairs):
        notes.append(f"{unused} pictures in {folder} are no results of these inputs: left out")
    found = PictureFiles(
        folder=folder,
        files=[file for file, _, _ in pairs],
        inputs=[(name, source) for _, name, source in pairs],
    )
    return Results(pictures=found, notes=notes)


def distinct_names(folders: Sequence[Path]) -> list[str]:
    """Name folders by as many of their last parts as it takes to tell them apart.

    Raises:
        FolderError: one is named twice.

    Example:
        >>> distinct_names([Path("a/monet"), Path("b/monet"), Path("c")])
        ['a/monet', 'b/monet', 'c']
    """
    parts = [Path(os.path.normpath(folder.absolute())).parts for folder in folders]
    for place, folder in enumerate(folders):
        if parts[place] in parts[:place]:
            raise FolderError(folder, "is named twice; name each folder and model once")
    depths = [1] * len(parts)
    names = ["/".join(own[-depth:]) for own, depth in zip(parts, depths, strict=True)]
    while len(set(names)) < len(names):
        depths = [
            depth + (names.count(name) > 1) for depth, name in zip(depths, names, strict=True)
        ]
        names = ["/".join(own[-depth:]) for own, depth in zip(parts, depths, strict=True)]
    return names


def _stem(file: Path, folder: Path) -> str:
    """Return a file's name relative to a folder, without the ending."""
    return file.relative_to(folder).with_suffix("").as_posix()


def _results_by_name(
    folder: Path, files: Sequence[Path], direction: str | None
) -> tuple[dict[str, list[Path]], list[str]]:
    """Return the results by their names without endings, and what was left out."""
    found = [way for way, end in _FAKES.items() if any(file.stem.endswith(end) for file in files)]
    named: dict[str, list[Path]] = {}
    stems = {_stem(file, folder) for file in files}
    single = any(
        stem.endswith(_FAKE) and stem.removesuffix(_FAKE) + _REAL in stems for stem in stems
    )
    if not found and not single:
        for file in files:
            named.setdefault(_stem(file, folder), []).append(file)
        return named, []
    if direction is None and len(found) > 1:
        raise OptionError(
            "direction",
            f"missing; {folder} holds {' and '.join(f'*{_FAKES[way]}' for way in found)}: "
            "AtoB takes *_fake_B, BtoA takes *_fake_A",
        )
    end = _FAKES[direction if direction in found else found[0]] if found else _FAKE
    for file in files:
        if file.stem.endswith(end):
            named.setdefault(_stem(file, folder).removesuffix(end), []).append(file)
    others = len(files) - sum(map(len, named.values()))
    return named, [
        f"of {folder} only *{end} are taken for results, {others} other pictures are left out"
    ]


def _match(
    folder: Path, named: Mapping[str, list[Path]], root: Path, sources: Sequence[Path]
) -> list[tuple[Path, str, Path]]:
    """Return result, name and input of every input that has a result."""
    stems = [_stem(source, root) for source in sources]
    pairs = []
    for source, short in zip(sources, stems, strict=True):
        full = source.relative_to(root).as_posix()
        candidates = named.get(full) or named.get(short, [])
        same = [file for file in candidates if file.relative_to(folder).as_posix() == full]
        candidates = same or candidates
        if len(candidates) > 1:
            raise FolderError(
                folder,
                f"holds several results of {full}: {', '.join(file.name for file in candidates)}; "
                "keep one",
            )
        if not candidates:
            continue
        if not same and full not in named and stems.count(short) > 1:
            raise FolderError(
                folder,
                f"{candidates[0].name} could be the result of any of {stems.count(short)} inputs "
                f"named {short}; rename them, or keep one",
            )
        pairs.append((candidates[0], full, source))
    return pairs
