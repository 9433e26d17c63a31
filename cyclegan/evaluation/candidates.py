"""The candidates of `impasto evaluate`: folders of pictures, and the outputs of generators.

Both become sets to measure; in a folder of results, file names tell the input of each result.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from impasto.cyclegan.evaluation.stylized import Origin, StyleFiles, find_origins, list_styles
from impasto.cyclegan.evaluation.table import Candidate, Reference, Sample, StyleSet
from impasto.cyclegan.inference.memory import TranslationMemory
from impasto.cyclegan.inference.translator import Translator, translate_colors
from impasto.cyclegan.jobs.convert import paint_fitted
from impasto.cyclegan.models import (
    GENERATOR_OF,
    ShippedModel,
    epochs_of,
    find_generator,
    kept_epochs,
    resolve_results,
    shipped_model,
)
from impasto.cyclegan.weights import LoadedGenerator
from impasto.data.datasets import Half, read_half
from impasto.data.decode import Rgb, read_picture, read_size
from impasto.data.files import list_pairs, list_pictures
from impasto.data.formats import PICTURE_SUFFIXES
from impasto.data.tensors import to_pictures, to_tensor
from impasto.options.errors import FolderError, OptionError, PictureError
from impasto.options.evaluate import EvaluateOptions

__all__ = [
    "LoadsGenerator",
    "PictureFiles",
    "Results",
    "Translations",
    "distinct_names",
    "find_results",
    "is_picture",
    "is_run",
    "make_candidates",
    "make_reference",
    "split_real",
]


# What the reference implementation's test.py appends to names: it puts inputs, results and
# reconstructions of both directions into one folder; with --model test, inputs and results of one.
_FAKES = {"AtoB": "_fake_B", "BtoA": "_fake_A"}
_FAKE, _REAL = "_fake", "_real"


@dataclass(frozen=True, kw_only=True)
class PictureFiles:
    """Picture files that are read on demand, one after the other.

    Attributes:
        folder: folder that names are relative to.
        files: picture files in the folder.
        inputs: name and file of each picture's input; None where the input is unknown.
        origins: content and style of each picture, instead of ``inputs``, of stylized pictures.
        half: half of each file that is the picture; None: all of it.
        input_half: half of each input's file that is the input, likewise.
    """

    folder: Path
    files: Sequence[Path]
    inputs: Sequence[tuple[str, Path]] | None = None
    origins: Sequence[Origin] | None = None
    half: Half | None = None
    input_half: Half | None = None

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Sample]:
        """Read them.

        Raises:
            PictureError: one cannot be read; leaving it out would change the numbers.
        """
        for place, file in enumerate(self.files):
            if self.origins is not None:
                yield self._stylized(file, self.origins[place])
            elif self.inputs is None:
                name = file.relative_to(self.folder).as_posix()
                yield Sample(picture=_read(file, self.half), name=name)
            else:
                name, source = self.inputs[place]
                before = _read(source, self.input_half)
                yield Sample(picture=read_picture(file).rgb, before=before, name=name)

    def _stylized(self, file: Path, origin: Origin) -> Sample:
        source = origin.source
        return Sample(
            picture=read_picture(file).rgb,
            before=None if source is None else read_picture(source).rgb,
            name=file.relative_to(self.folder).as_posix() if source is None else source.name,
            style=origin.style,
        )


def _read(path: Path, half: Half | None) -> Rgb:
    return read_picture(path).rgb if half is None else read_half(path, half)


@dataclass(frozen=True, kw_only=True)
class Results:
    """The contents of a folder of results.

    Attributes:
        pictures: results, with their inputs where these are known.
        notes: sentences about what was left out or not found.
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
        folder: folder of results.
        files: picture files in the folder.
        inputs: folder of inputs, and the inputs to look for; None if they are unknown.
        direction: direction that chooses between ``_fake_A`` and ``_fake_B`` if both exist.
        max_pictures: maximum number of pictures, where inputs are unknown; the first are used.

    Raises:
        FolderError: several results match the name of one input.
        OptionError: ``_fake_A`` and ``_fake_B`` both exist, and no direction is given.
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
        FolderError: a folder is named twice.

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


_OTHER_WAY = {"AtoB": "BtoA", "BtoA": "AtoB"}
_LONG = {"options", "data", "licence", "what"}  # of a shipped model's provenance: for reading there


def make_reference(options: EvaluateOptions) -> Reference:
    """List the real pictures, the styles and the inputs.

    Raises:
        FolderError: a folder is missing, holds too few pictures, or ``more_real`` holds pictures of
            ``real``.
    """
    inputs = None
    if options.inputs is not None:
        root, files = _inputs(options.inputs, options)
        inputs = PictureFiles(folder=root, files=files, half=_halves(options)[0])
    styles = [
        StyleSet(
            name=style.name, pictures=PictureFiles(folder=_root(style.path), files=style.files)
        )
        for style in list_styles(options.styles, exclude=options.output)
    ]
    if options.real is None:
        return Reference(inputs=inputs, styles=styles)
    real, others = _real(options.real, options, None if inputs is None else len(inputs))
    truth = _true_pictures(options) if options.paired else None
    return Reference(real=real, others=others, inputs=inputs, styles=styles, truth=truth)


def _halves(options: EvaluateOptions) -> tuple[Half | None, Half | None]:
    """Return which halves of files are inputs and real pictures; None where files are one each."""
    if not options.paired or options.inputs is None or options.real is None:
        return None, None
    if options.inputs.resolve() != options.real.resolve():
        return None, None
    return ("left", "right") if options.input_half == "left" else ("right", "left")


def _true_pictures(options: EvaluateOptions) -> Callable[[str], Rgb | None]:
    """Return a function that reads the true picture for an input, by the name of its file.

    Raises:
        FolderError: a picture has no partner, or no name has one.
        PictureError: the two of a pair differ in size; leaving them out would change the numbers.
    """
    inputs, real = options.inputs, options.real
    assert inputs is not None  # noqa: S101 - checked by the options
    assert real is not None  # noqa: S101 - likewise
    pairs, lonely = list_pairs(inputs, real)
    if lonely:
        raise FolderError(
            lonely[0].parent,
            f"{len(lonely)} pictures of {inputs} and {real} have no partner, such as "
            f"{lonely[0].name}; leave them out, or --paired",
        )
    half = _halves(options)[1]
    for source, true in pairs if half is None else ():
        if (size := read_size(source)) != (other := read_size(true)):
            raise PictureError(
                true,
                f"has {other[0]} x {other[1]} pixels, and its partner {source} {size[0]} x "
                f"{size[1]}; expected pairs of one size",
            )
    known = {source.relative_to(inputs).as_posix(): true for source, true in pairs}
    return lambda name: _read(known[name], half) if name in known else None


def _real(
    folder: Path, options: EvaluateOptions, inputs: int | None
) -> tuple[PictureFiles, PictureFiles]:
    """List the real pictures, and further ones, as many as there are inputs."""
    root, real = _listed(folder, options)
    half = _halves(options)[1]
    if options.more_real is None:
        if len(real) < 4:
            raise FolderError(
                folder,
                f"holds {len(real)} pictures, too few to compare one half with the other; give "
                "more pictures, or further ones as --more_real",
            )
        return split_real(root, real, seed=options.seed, half=half)
    shuffle = np.random.default_rng(options.seed).permutation
    more = list_pictures(options.more_real, exclude=options.output)
    if twice := {path.resolve() for path in real} & {path.resolve() for path in more}:
        raise FolderError(
            options.more_real,
            f"holds {len(twice)} of the pictures in {folder}, such as "
            f"{min(twice).name}; give other ones, as they show how near real pictures are to "
            "one another",
        )
    # As many as there are inputs, so that both references err by as much.
    chosen = shuffle(len(more))[: inputs or len(real)]
    return (
        PictureFiles(folder=root, files=real, half=half),
        PictureFiles(folder=options.more_real, files=[more[place] for place in sorted(chosen)]),
    )


def split_real(
    folder: Path, files: Sequence[Path], *, seed: int, half: Half | None = None
) -> tuple[PictureFiles, PictureFiles]:
    """Split real pictures into two halves, of which the second shows how near real pictures are.

    Args:
        folder: folder that the names are relative to.
        files: picture files in the folder, at least two.
        seed: seed that draws the halves.
        half: half of each picture that is taken, of pictures side by side; None: all of it.
    """
    halves = np.array_split(np.random.default_rng(seed).permutation(len(files)), 2)
    real, others = ([files[place] for place in sorted(half)] for half in halves)
    first, second = (PictureFiles(folder=folder, files=some, half=half) for some in (real, others))
    return first, second


def make_candidates(
    named: Sequence[Path], options: EvaluateOptions, *, device: torch.device
) -> list[Candidate]:
    """Make a candidate of each folder of results, and of each checkpoint of each model.

    All are checked, and each model is loaded once; no network stays in memory.

    Args:
        named: candidates: folders of results, run folders, files of generators, names of shipped
            models, or, with styles, pictures.
        options: all options of the evaluation.
        device: device that the generators compute on.

    Raises:
        CheckpointError: a generator is missing or damaged.
        FolderError: a folder is missing, empty, ambiguous or named twice, or a generator has no
            inputs.
        OptionError: a generator translates in the other direction.
    """
    meant = [path if is_picture(path) else resolve_results(path) for path in named]
    candidates: list[Candidate] = []
    for path, where, name in zip(named, meant, distinct_names(meant), strict=True):
        if options.styles and (is_picture(where) or (where.is_dir() and not is_run(where))):
            candidates.append(_of_stylized(where, name, options))
        elif is_picture(where):
            raise OptionError(
                "styles", f"missing; {where} is one picture, and only stylized ones go alone"
            )
        elif (shipped := shipped_model(path)) is not None:
            candidates.append(_of_shipped(shipped, options, device))
        elif where.is_file():
            candidates.append(_of_file(where, name, options, device))
        elif is_run(where):
            candidates += _of_run(where, name, options, device)
        else:
            candidates.append(_of_folder(where, name, options))
    return candidates


def is_picture(path: Path) -> bool:
    """Whether a path is a picture file, by its ending."""
    return path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()


def is_run(folder: Path) -> bool:
    """Whether a folder holds the generators of a run of Impasto or the reference implementation."""
    return any(folder.glob("G_[AB].safetensors")) or any(folder.glob("*_net_G*.pth"))


def _of_shipped(model: ShippedModel, options: EvaluateOptions, device: torch.device) -> Candidate:
    candidate = _of_model(
        f"{model.name} (shipped)",
        _Generator(
            path=Path(model.name),
            way_back=None if model.opposite is None else Path(model.opposite),
        ),
        options,
        device,
    )
    says = find_generator(Path(model.name)).provenance.get("direction")
    if says is not None and options.direction not in {None, says}:
        note = f"{candidate.name} translates {says}, so --direction says nothing about it"
        candidate = replace(candidate, notes=[*candidate.notes, note])
    return _without_epochs(candidate, options)


def _of_file(path: Path, name: str, options: EvaluateOptions, device: torch.device) -> Candidate:
    generator = _Generator(path=path, direction=options.direction)
    return _without_epochs(_of_model(name, generator, options, device), options)


def _without_epochs(candidate: Candidate, options: EvaluateOptions) -> Candidate:
    if options.epochs == ("latest",):
        return candidate
    note = f"{candidate.name} has no epochs, so --epochs says nothing about it"
    return replace(candidate, notes=[*candidate.notes, note])


def _of_run(
    run: Path, name: str, options: EvaluateOptions, device: torch.device
) -> list[Candidate]:
    direction = options.direction or "AtoB"
    opposite = epochs_of(run, GENERATOR_OF[_OTHER_WAY[direction]])
    epochs: Sequence[str] = options.epochs
    if "all" in epochs:
        epochs = kept_epochs(run, direction) or ["latest"]
    return [
        _of_model(
            name if len(epochs) == 1 and epoch == "latest" else f"{name}, epoch {epoch}",
            _Generator(
                path=run,
                # A single generator without a letter has none, and says so if one is asked for.
                direction=direction if opposite else options.direction,
                epoch=epoch,
                way_back=run if epoch in opposite else None,
            ),
            options,
            device,
        )
        for epoch in epochs
    ]


@dataclass(frozen=True, kw_only=True)
class _Generator:
    """Where a generator is, and the one of the other direction, None for none."""

    path: Path
    direction: str | None = None
    epoch: str = "latest"
    way_back: Path | None = None

    def load(self) -> LoadedGenerator:
        return find_generator(self.path, direction=self.direction, epoch=self.epoch)

    def load_way_back(self) -> LoadedGenerator | None:
        if self.way_back is None:
            return None
        direction = None if self.direction is None else _OTHER_WAY[self.direction]
        return find_generator(self.way_back, direction=direction, epoch=self.epoch)


_SMALLER = "evaluate the results of impasto translate --long_side {side} instead of the model"


class LoadsGenerator(Protocol):
    """Gives a generator when it is needed, and the one of the other direction, None for none."""

    def load(self) -> LoadedGenerator:
        """Return the generator."""
        ...

    def load_way_back(self) -> LoadedGenerator | None:
        """Return the generator of the other direction."""
        ...


@dataclass(frozen=True, kw_only=True)
class Translations:
    """Pictures that are translated when they are needed; networks are in memory meanwhile.

    Attributes:
        inputs: pictures to translate.
        generator: what gives the generator.
        grid_bend_px: strength of the warp in pixels; None: the value that the generator came with.
        mixed_precision: precision: ``no`` (float32), ``fp16`` or ``bf16``.
        device: device that computes.
    """

    inputs: PictureFiles
    generator: LoadsGenerator
    grid_bend_px: float | None
    mixed_precision: str
    device: torch.device

    def __len__(self) -> int:
        return len(self.inputs)

    def __iter__(self) -> Iterator[Sample]:
        loaded = self.generator.load()
        translator = self._translator(loaded)
        memory = TranslationMemory(
            loaded.network,
            device=self.device,
            bends=self.grid_bend_px != 0.0,
            strokes_at_px=loaded.strokes_at_px,
        )
        opposite = self.generator.load_way_back()
        back = None if opposite is None else self._translator(opposite)
        for sample in self.inputs:
            height, width = sample.picture.shape[:2]
            if reason := memory.refusal(height, width, advice=_SMALLER):
                raise PictureError(self.inputs.folder / sample.name, reason)
            translated = paint_fitted(
                sample.picture, translator, strokes_at_px=loaded.strokes_at_px
            )
            yield Sample(
                picture=translated,
                before=sample.picture,
                back=None
                if back is None
                else to_pictures(back(to_tensor(translated).unsqueeze(0)))[0],
                name=sample.name,
            )

    def _translator(self, loaded: LoadedGenerator) -> Callable[[Tensor], Tensor]:
        translator = Translator.of(
            loaded,
            device=self.device,
            mixed_precision=self.mixed_precision,
            grid_bend_px=self.grid_bend_px,
        )
        return translate_colors(loaded, translator)


def _of_model(
    name: str, generator: _Generator, options: EvaluateOptions, device: torch.device
) -> Candidate:
    if options.inputs is None:
        raise OptionError("inputs", f"missing; {generator.path} is a model, and needs pictures")
    loaded = generator.load()
    root, files = _inputs(options.inputs, options)
    inputs = PictureFiles(folder=root, files=files, half=_halves(options)[0])
    told = [f"epoch {generator.epoch}"] if generator.path.is_dir() else []
    told += [
        f"{key} {value}" for key, value in sorted(loaded.provenance.items()) if key not in _LONG
    ]
    if options.grid_bend_px is not None:
        told.append(f"here bent by {options.grid_bend_px} px")
    return Candidate(
        name=name,
        pictures=Translations(
            inputs=inputs,
            generator=generator,
            grid_bend_px=options.grid_bend_px,
            mixed_precision=options.mixed_precision,
            device=device,
        ),
        what=f"{generator.path}: {'; '.join([str(loaded.architecture), *told])}",
        notes=loaded.notes,
    )


def _of_folder(folder: Path, name: str, options: EvaluateOptions) -> Candidate:
    inputs = None
    if options.inputs is not None:
        inputs = _inputs(options.inputs, options)
    found = find_results(
        folder,
        list_pictures(folder, exclude=options.output),
        inputs=inputs,
        direction=options.direction,
        max_pictures=options.max_pictures,
    )
    pictures = replace(found.pictures, input_half=_halves(options)[0])
    candidate = Candidate(name=name, pictures=pictures, what=str(folder), notes=found.notes)
    return _without_epochs(candidate, options)


def _of_stylized(where: Path, name: str, options: EvaluateOptions) -> Candidate:
    """Make a candidate of stylized pictures, whose names tell content and style."""
    folder = _root(where)
    files = [where] if where != folder else _list(where, options)
    _, sources = (folder, []) if options.inputs is None else _inputs(options.inputs, options)
    styles = list_styles(options.styles, exclude=options.output)
    origins = find_origins(folder, files, sources=sources, styles=styles)
    candidate = Candidate(
        name=name,
        pictures=PictureFiles(folder=folder, files=files, origins=origins),
        what=str(where),
        notes=_about_origins(where, origins, styles, inputs=options.inputs),
    )
    return _without_epochs(candidate, options)


def _about_origins(
    where: Path, origins: Sequence[Origin], styles: Sequence[StyleFiles], *, inputs: Path | None
) -> list[str]:
    notes = []
    unknown = sum(origin.source is None for origin in origins)
    if unknown and inputs is not None:
        notes.append(
            f"{unknown} of {len(origins)} pictures in {where} have no name of a picture in "
            f"{inputs} in theirs, so they are not compared with inputs"
        )
    mixed = sum(not origin.style for origin in origins)
    if mixed and len(styles) > 1:
        notes.append(
            f"{mixed} of {len(origins)} pictures in {where} name none of the styles, or several, "
            "so they are compared with all styles together"
        )
    return notes


def _root(path: Path) -> Path:
    """Return the folder that names are relative to: of a picture, its own."""
    return path.parent if path.is_file() else path


def _inputs(path: Path, options: EvaluateOptions) -> tuple[Path, list[Path]]:
    """Return folder and files of the inputs, which may be one picture."""
    one = path.is_file() and path.suffix.lower() != ".txt"
    return (path.parent, [path]) if one else _listed(path, options)


def _listed(path: Path, options: EvaluateOptions) -> tuple[Path, list[Path]]:
    """Return folder and files of pictures, in a folder or named in a text file.

    Raises:
        FolderError: there is no such folder, or the text file names what is no file.
    """
    if path.suffix.lower() != ".txt" or not path.is_file():
        return path, _list(path, options)
    try:
        lines = path.read_text(encoding="utf-8-sig", errors="surrogateescape").splitlines()
    except OSError as error:
        raise FolderError(path, f"cannot be read ({error.strerror})") from error
    files = [path.parent / line for line in lines if line.strip()]  # or as it is, if absolute
    missing = [file for file in files if not file.is_file()]
    if missing or not files:
        which = f"{len(missing)} files that are not there, such as {missing[0]}" if missing else ""
        raise FolderError(
            path, f"names {which or 'no file'}; expected the path of one picture in each line"
        )
    root = Path(os.path.commonpath([file.parent for file in files]))
    return root, files[: options.max_pictures]


def _list(folder: Path, options: EvaluateOptions) -> list[Path]:
    return list_pictures(folder, exclude=options.output)[: options.max_pictures]
