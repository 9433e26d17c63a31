"""Translating with several models at once, and the contact sheet of what they make."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import chain, islice
from pathlib import Path

import torch

from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.convert import Job, paint_fitted
from impasto.cyclegan.jobs.pictures import limit_picture
from impasto.cyclegan.jobs.results import describe
from impasto.cyclegan.jobs.translate import Outcome, TranslateResult, translate
from impasto.cyclegan.models import ShippedModel, hidden_by_shipped, painters, shipped_model
from impasto.cyclegan.weights import LoadedGenerator, load_generator
from impasto.data.atomic import write_text_atomic
from impasto.data.decode import Picture, Rgb, read_picture
from impasto.data.encode import write_picture
from impasto.data.films.reading import FILM_SUFFIXES
from impasto.data.provenance import FileNote
from impasto.data.samples.photographs import sample_photographs
from impasto.data.sheets import Cell, draw_sheet, sheet_size
from impasto.data.standardize import flatten_alpha
from impasto.data.transforms import limit_long_side
from impasto.options.errors import OptionError, PictureError
from impasto.options.translate import ALL_PAINTERS, ModelsOptions, TranslateOptions

__all__ = ["PaintersResult", "translate_all", "write_thumbnails"]

Made = Sequence[tuple[str, Mapping[Path, Path]]]
"""For each model, the label of its column on the sheet, and the results by their photographs."""

# The largest sheet: what a file format can hold, and what a computer shows without pain.
_LONGEST_PX = {".webp": 16383}
_USUAL_LONGEST_PX = 65500
_MOST_PIXELS = 2**27
# In the folder of results: what sheets were written, so that nothing else is replaced.
_NOTE = ".sheets.json"
_THUMBNAIL = "coffee"  # of scikit-image
_THUMBNAIL_PX = 384
_THUMBNAILS_IN_A_ROW = 4


@dataclass(frozen=True, kw_only=True)
class PaintersResult:
    """What several models made.

    Attributes:
        results: the outcome of each model, by its name.
        sheet: path of the contact sheet; None if none was asked for, or nothing could be shown.
        left_out: number of photographs for which the sheet has no room.
    """

    results: Mapping[str, TranslateResult]
    sheet: Path | None = None
    left_out: int = 0


@dataclass(frozen=True, kw_only=True)
class _Painter:
    """A model, the name below its pictures, and the options of its translation."""

    name: str
    label: str
    options: TranslateOptions = field(repr=False)


def translate_all(  # noqa: PLR0913
    photos: Sequence[Path],
    options: TranslateOptions,
    *,
    on_start: Callable[[str, int, LoadedGenerator], None] = lambda _name, _count, _generator: None,
    on_done: Callable[[Job], None] = lambda _job: None,
    on_note: Callable[[str], None] = lambda _words: None,
    on_film: Callable[[Path, int, int], None] = lambda _film, _frames, _done: None,
    on_frame: Callable[[], None] = lambda: None,
    on_outcome: Callable[[str, Outcome], None] = lambda _name, _outcome: None,
) -> PaintersResult:
    """Translate with one model or with all painters that ship, and write the contact sheet.

    With ``model`` all, each painter has a folder of its own in ``options.folder``. What was made
    by an earlier call stays, as in :func:`~impasto.cyclegan.jobs.translate.translate`.

    Args:
        photos: folders and files of pictures.
        options: all options of the translation; without ``sheet``, none is written.
        on_start: called with the name of each model, the number of pictures that it has to
            translate, and its generator.
        on_done: called for each finished picture, successful or not.
        on_note: called with sentences about what is done, as by ``translate``.
        on_film: called with each film that is begun, as by ``translate``.
        on_frame: called after each frame of a film.
        on_outcome: called with the name of the model and what became of a picture or film.

    Raises:
        OptionError: the sheet is one of the photographs, or an option cannot be used here.
        PictureError: the sheet cannot be written, or something else lies at its place.
        ImpastoError: as ``translate`` raises.
    """
    sheet = options.sheet
    if sheet is not None:
        _refuse_sheet(sheet, photos, options)
    output = options.output
    is_film = output is not None and output.suffix.lower() in FILM_SUFFIXES
    if is_film and (options.model == ALL_PAINTERS or sheet is not None):
        option = "sheet" if sheet is not None else "model"
        raise OptionError(option, f"needs a folder as --output, and {output} is a film")
    if options.model == ALL_PAINTERS and (own := hidden_by_shipped(options.model)) is not None:
        on_note(f"all means all painters that ship; for the run {own}, use its whole path")
    results: dict[str, TranslateResult] = {}
    asked = _painters(options)
    left_out = [] if sheet is None else [sheet]
    if len(asked) > 1:  # what one painter makes is no photograph for the next
        left_out += [painter.options.folder for painter in asked]
    for painter in asked:
        results[painter.name] = translate(
            photos,
            painter.options,
            exclude=left_out,
            on_start=partial(on_start, painter.name),
            on_done=on_done,
            on_note=on_note,
            on_film=on_film,
            on_frame=on_frame,
            on_outcome=partial(on_outcome, painter.name),
        )
    if sheet is None:
        return PaintersResult(results=results)
    made = [(painter.label, results[painter.name].targets) for painter in asked]
    return _write_sheet(sheet, results, made, options)


def _painters(options: TranslateOptions) -> list[_Painter]:
    if options.model != ALL_PAINTERS:
        known = shipped_model(options.model)
        label = options.model.name if known is None else known.label
        return [_Painter(name=str(options.model), label=label, options=options)]
    return [
        _Painter(
            name=model.name,
            label=model.label,
            options=replace(
                options, model=Path(model.name), output=options.folder / model.name, sheet=None
            ),
        )
        for model in painters()
    ]


def _refuse_sheet(sheet: Path, photos: Sequence[Path], options: TranslateOptions) -> None:
    """Refuse to replace what is no sheet of ours.

    Raises:
        OptionError: it is one of the photographs.
        PictureError: something else is there.
    """
    if any(sheet.resolve() == photo.resolve() for photo in photos):
        raise OptionError("sheet", f"{sheet} would overwrite the picture itself")
    if not sheet.exists() or (options.overwrite and sheet.is_file()):
        return
    known = _read_note(options.folder).get(str(sheet.absolute()))
    if known is None or not known.is_still(sheet):
        raise PictureError(
            sheet,
            "is there already, and is not a sheet as impasto translate wrote it into "
            f"{options.folder}; choose another --sheet, or replace it with --overwrite true",
        )


def _read_note(folder: Path) -> dict[str, FileNote]:
    try:
        noted = json.loads((folder / _NOTE).read_text(encoding="utf-8"))
        return {path: FileNote(**facts) for path, facts in noted.items()}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write_sheet(
    sheet: Path,
    results: Mapping[str, TranslateResult],
    made: Made,
    options: TranslateOptions,
) -> PaintersResult:
    sources = dict.fromkeys(chain.from_iterable(result.targets for result in results.values()))
    most = _most_rows(1 + len(made), sheet, options.sheet_cell_px)
    shown = {path: small for result in results.values() for path, small in result.shown.items()}
    rows = list(islice(_rows(sources, made, options.sheet_cell_px, shown), most))
    if not rows:
        return PaintersResult(results=results)

    def note(file: Path) -> None:
        written = replace(describe(file), path=str(sheet.absolute()))
        noted = {**_read_note(options.folder), str(sheet.absolute()): written}
        text = json.dumps({path: asdict(facts) for path, facts in noted.items()}, indent=1)
        try:
            write_text_atomic(options.folder / _NOTE, text + "\n")
        except OSError as error:
            reason = f"cannot be written: {(error.strerror or str(error)).lower()}"
            raise PictureError(options.folder / _NOTE, reason) from error

    drawn = Picture(rgb=draw_sheet(rows, cell_px=options.sheet_cell_px))
    write_picture(sheet, drawn, on_whole=note)
    return PaintersResult(results=results, sheet=sheet, left_out=max(0, len(sources) - len(rows)))


def _rows(
    sources: Mapping[Path, None], made: Made, cell_px: int, shown: Mapping[Path, Path]
) -> Iterator[list[Cell]]:
    """Yield a row for each photograph that can be read, or for what is shown in its place."""
    for source in sources:
        photograph = _small(shown.get(source, source), cell_px)
        if photograph is None:
            continue
        row = [Cell(label=source.stem, rgb=photograph)]
        for label, targets in made:
            target = targets.get(source)
            small = None if target is None else _small(shown.get(target, target), cell_px)
            row.append(Cell(label=label, rgb=small))
        yield row


def _small(path: Path, cell_px: int) -> Rgb | None:
    """Return a picture as large as a cell, on white where it is transparent; None of a damaged one.

    It is read whole, and forgotten before the next one is.
    """
    try:
        return flatten_alpha(limit_picture(read_picture(path), cell_px))
    except PictureError:
        return None


def _most_rows(columns: int, sheet: Path, cell_px: int) -> int:
    """Return for how many photographs a sheet has room, at least one."""
    longest = _LONGEST_PX.get(sheet.suffix.lower(), _USUAL_LONGEST_PX)
    rows = 1
    while True:
        height, width = sheet_size(rows + 1, columns, cell_px=cell_px)
        if height > longest or height * width > _MOST_PIXELS:
            return rows
        rows += 1


def write_thumbnails(options: ModelsOptions) -> None:
    """Write a contact sheet of a photograph and what each painter that ships makes of it.

    Args:
        options: all options of ``impasto models``; ``sheet`` has to be one of them.

    Raises:
        OptionError: the sheet would overwrite the photograph.
        PictureError: the photograph cannot be read, or the sheet cannot be written.
        CheckpointError: a model cannot be loaded.
    """
    assert options.sheet is not None  # noqa: S101 - for mypy
    if options.photo is None:
        photograph = sample_photographs()[_THUMBNAIL]
    elif options.sheet.resolve() == options.photo.resolve():
        raise OptionError("sheet", f"{options.sheet} would overwrite the photograph itself")
    else:
        photograph = flatten_alpha(read_picture(options.photo))
    photograph = limit_long_side(photograph, _THUMBNAIL_PX)
    row = [Cell(label="photograph", rgb=photograph)]
    row += [Cell(label=model.label, rgb=_painted(model, photograph)) for model in painters()]
    count = min(len(row), _THUMBNAILS_IN_A_ROW)
    rows = [row[start : start + count] for start in range(0, len(row), count)]
    write_picture(options.sheet, Picture(rgb=draw_sheet(rows, cell_px=_THUMBNAIL_PX)))


def _painted(model: ShippedModel, photograph: Rgb) -> Rgb:
    loaded = load_generator(model.path)
    translator = Translator.of(loaded, device=torch.device("cpu"))
    return paint_fitted(photograph, translator, strokes_at_px=loaded.strokes_at_px)
