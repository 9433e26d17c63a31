"""The whole tour of `impasto demo`: all three methods on shipped pictures, and one page of it all.

It is the one job that takes from the CycleGAN, from stylization and from the survey.
"""

import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import numpy as np
from numpy.typing import NDArray

from impasto.cyclegan.jobs.painters import PaintersResult, translate_all
from impasto.cyclegan.jobs.tour import Chapter, TourResult, measure_table, run_tour, write_tour
from impasto.cyclegan.jobs.translate import TranslateResult, translate
from impasto.cyclegan.models import SHIPPED
from impasto.data import Picture, write_picture
from impasto.data.atomic import write_text_atomic
from impasto.data.decode import read_size
from impasto.data.encode import write_float_picture
from impasto.data.samples.domains import SampleDomains, make_sample_domains
from impasto.data.samples.painting import LATE_MONET, paint
from impasto.data.samples.photographs import sample_photographs
from impasto.gatys.features.lite import find_lite_weights
from impasto.gatys.jobs.stylize import stylize
from impasto.options.config import read_config
from impasto.options.errors import FolderError
from impasto.options.fields import make
from impasto.options.stylize import StylizeOptions
from impasto.options.survey import SurveyExportOptions
from impasto.options.train import TrainOptions
from impasto.options.translate import ALL_PAINTERS, DemoOptions, TranslateOptions
from impasto.runs.directory import RunDirectory
from impasto.runs.pages.gallery import BeforeAfter, Strip
from impasto.survey.export.job import export_study

__all__ = ["DemoResult", "called_as", "run_demo", "spell_seconds"]

# What a person would call the photographs, the best results first; those are shown large.
_NAMES = {
    "china": "temple",
    "flower": "dahlia",
    "coffee": "coffee",
    "chelsea": "cat",
    "astronaut": "astronaut",
    "motorcycle": "motorcycle",
    "rocket": "rocket",
}
_LARGE = 4
_SHOWN = 6
_SIZE_PX = 136  # a little more than the crop of the preset
_CONTENT, _STYLE = "chelsea", "coffee"  # of the stylized picture; the style is painted first
# Longer side in pixels, and numbers of iterations, by preset: what is done within 20 seconds of one
# idle core. `lite` has 30 at the full size otherwise, and `builtin` its own at each size.
_STYLIZED: Mapping[str, tuple[int, tuple[int, ...]]] = {
    "lite": (384, (80, 55, 12)),
    "builtin": (192, ()),
}
_SHEET = "painters.jpg"
# What the demo writes into its folder; nothing of it is replaced unless the note, or the digest in
# the note, says that the demo wrote it.
_STUDY = ("study.key.json", "study.zip", "study")
_MADE = (
    *_STUDY,
    *(
        "photographs",
        "painters",
        _SHEET,
        "monets",
        "domains",
        "checkpoints/demo",
        "pictures",
        "translated",
        "fakes",
    ),
    *("style.png", "stylized.png", "index.html"),
)
_NOTE = "impasto_demo.json"
_CREDIT = "Photographs: scikit-image; temple and dahlia: scikit-learn, CC BY 2.0."


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """How the demo ended.

    Attributes:
        page: path of the page; it does not exist if the demo was stopped.
        seconds: wall-clock time.
        signal: signal that stopped the training, and so the demo, or None.
    """

    page: Path
    seconds: float
    signal: Signals | None = None


def run_demo(
    options: DemoOptions, *, say: Callable[[str], None] = lambda _line: None
) -> DemoResult:
    """Show the painters, train, measure, translate, stylize, make a survey and a page of it all.

    Args:
        options: all options of the demo.
        say: called with one line about each step and its result.

    Raises:
        FolderError: the output folder holds files that no demo wrote and this one would replace, or
            it cannot be written.
        ImpastoError: a step failed.
    """
    _claim(options.output)
    started = time.perf_counter()

    def step(number: int, what: str) -> None:
        say(f"{number}/7 [{time.perf_counter() - started:3.0f} s] {what}")

    say("about three minutes on two idle cores, longer where others work, too")
    page = options.output / "index.html"
    step(1, f"the {_NAMES[_STYLE]} in the hands of the painters in the box")
    photographs = _write_photographs(options.output / "photographs")
    painted = _paint(photographs, options.output)
    say(f"    {len(painted.results)} of them; open {(options.output / _SHEET).resolve()}")
    step(2, "photographs into Monets, by the model in the box")
    monets = _translate(photographs, TranslateOptions.model, options.output / "monets")
    say(f"    {len(monets.converted.done)} pictures; open {monets.page.resolve()}")
    step(3, "painting the training pictures (photographs: scikit-image, scikit-learn)")
    domains = make_sample_domains(
        options.output / "domains",
        size_px=_SIZE_PX,
        train_pictures=options.train_pictures,
        test_pictures=options.test_pictures,
        seed=options.seed,
    )
    step(4, f"training on {domains.trainA} and {domains.trainB}")
    RunDirectory(options.output / "checkpoints" / "demo").start_afresh()
    begun = time.perf_counter()
    tour = run_tour(domains, _train_options(options, domains.root))
    trained_seconds = time.perf_counter() - begun
    if tour.training.signal is not None:
        return DemoResult(
            page=page, seconds=time.perf_counter() - started, signal=tour.training.signal
        )
    say("distance of the held-out photographs from their true paintings:")
    say(measure_table(tour.comparisons))
    step(5, "translating whole photographs with what was trained")
    translated = _translate(
        photographs, tour.training.directory, options.output / "translated", direction="BtoA"
    )
    step(6, f"the {_NAMES[_CONTENT]} in the style of a painting of the {_NAMES[_STYLE]}")
    stylized = _stylize(photographs, options)
    step(7, "a survey of true paintings and translations")
    study = _survey(domains, tour, options)
    seconds = time.perf_counter() - started  # once, so that page and terminal say the same
    write_tour(
        page,
        [
            _painters_chapter(painted, options.output),
            _monet_chapter(monets, options.output),
            stylized,
            _training_chapter(tour, translated, options.output, trained_seconds),
            study,
            _own_chapter(),
        ],
        title="Impasto's demo",
        description=f"Made by this machine in {spell_seconds(seconds)}, "
        f"without a network. {_CREDIT}",
    )
    return DemoResult(page=page, seconds=seconds)


def spell_seconds(seconds: float) -> str:
    """Write a duration as a person would.

    Example:
        >>> spell_seconds(288.4)
        '4 minutes 48 seconds'
    """
    minutes, rest = divmod(round(seconds), 60)
    parts = [(minutes, "minute"), (rest, "second")]
    said = [f"{count} {unit}{'s' * (count != 1)}" for count, unit in parts if count]
    return " ".join(said) or "0 seconds"


def _impasto(*words: str | Path) -> str:
    """Return a command to be copied, which begins as this one was called."""
    return shlex.join([*called_as(), *map(str, words)])


def called_as() -> list[str]:
    """Return the words that call `impasto` from here: by its name only where that is found."""
    called = Path(sys.argv[0])
    if shutil.which("impasto"):
        return ["impasto"]
    if called.name == "impasto" and called.is_file():
        return [str(called)]
    return [sys.executable, "-m", "impasto"]


def _claim(output: Path) -> None:
    """Note that the folder is the demo's; refuse one with anything that it would replace.

    A key cannot be made again, so a study must be, to the last byte, the one that the demo wrote.

    Raises:
        FolderError: the demo did not write what is there, or the folder cannot be written.
    """
    noted = _read_note(output)
    for name in _MADE if noted is None else _STUDY:
        path = output / name
        if os.path.lexists(path) and (noted is None or _digest(path) != noted.get(name)):
            raise FolderError(
                path,
                "is not what an earlier demo wrote there, and this demo would replace it; choose "
                "another --output, or move it away",
            )
    if noted is None:
        _write_note(output, {})


def _read_note(output: Path) -> Mapping[str, str] | None:
    """Return the digests of the demo's study in a folder; None if the folder is not the demo's."""
    try:
        digests = json.loads((output / _NOTE).read_text(encoding="utf-8"))["study"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return digests if isinstance(digests, dict) else None


def _write_note(output: Path, digests: Mapping[str, str]) -> None:
    note = {"made_by": "impasto demo", "study": digests}
    try:
        output.mkdir(parents=True, exist_ok=True)
        write_text_atomic(output / _NOTE, json.dumps(note, indent=1) + "\n")
    except OSError as error:
        raise FolderError(output, f"cannot be written ({error.strerror or error})") from error


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of all files in a folder and their names; "" of a link."""
    if path.is_symlink():
        return ""
    # Hidden files are what desktops leave in a folder that they show.
    files = sorted(path.rglob("[!.]*")) if path.is_dir() else [path]
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(path).as_posix().encode("utf-8", "surrogateescape"))
        if file.is_file():
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _train_options(options: DemoOptions, dataroot: Path) -> TrainOptions:
    changes = {
        "name": "demo",
        "checkpoints_dir": str(options.output / "checkpoints"),
        "dataroot": str(dataroot),
        "seed": options.seed,
        "device": "cpu",
        "max_images": options.max_images,
    }
    return make(TrainOptions, {**read_config("demo", presets="."), **changes})


def _write_photographs(folder: Path) -> Path:
    """Write the whole sample photographs, of which training saw small parts of some."""
    for name, rgb in sample_photographs().items():
        _write(folder / f"{_NAMES[name]}.jpg", rgb)
    return folder


def _write(path: Path, rgb: NDArray[np.uint8]) -> Path:
    write_picture(path, Picture(rgb=rgb))
    return path


def _translate(
    photographs: Path,
    model: Path,
    output: Path,
    *,
    direction: str | None = None,
) -> TranslateResult:
    return translate(
        [photographs],
        make(
            TranslateOptions,
            {
                "model": model,
                "direction": direction,
                "output": output,
                "overwrite": True,
                "device": "cpu",
            },
        ),
    )


def _paint(photographs: Path, output: Path) -> PaintersResult:
    """Show one photograph in the hands of all painters that ship, on a sheet."""
    sheet = output / _SHEET
    sheet.unlink(missing_ok=True)  # of an earlier demo
    asked = {"model": ALL_PAINTERS, "output": output / "painters", "sheet": sheet}
    return translate_all(
        [photographs / f"{_NAMES[_STYLE]}.jpg"],
        make(TranslateOptions, {**asked, "overwrite": True, "device": "cpu"}),
    )


def _painters_chapter(painted: PaintersResult, output: Path) -> Chapter:
    results = painted.results.items()
    photograph = output / "photographs" / f"{_NAMES[_STYLE]}.jpg"
    pictures = {SHIPPED[name].label: result.targets for name, result in results}
    files = {label: next(iter(targets.values())) for label, targets in pictures.items() if targets}
    return Chapter(
        heading="One photograph in the painters' hands",
        text="What each painter that ships with Impasto makes of a photograph that none of them "
        "has seen.",
        strips=[
            Strip(name=_NAMES[_STYLE].capitalize(), pictures={"photograph": photograph, **files})
        ],
        links={"The sheet": output / _SHEET},
        commands=[_impasto("translate", photograph, "--model", ALL_PAINTERS, "--sheet", _SHEET)],
    )


def _monet_chapter(monets: TranslateResult, output: Path) -> Chapter:
    made = {job.source.stem: job for job in monets.converted.done}
    pairs = [
        BeforeAfter(
            title=name.capitalize(),
            before=made[name].source,
            after=made[name].target,
            size=read_size(made[name].target),
        )
        for name in [name for name in _NAMES.values() if name in made][:_LARGE]
    ]
    return Chapter(
        heading="Photographs into Monets",
        text="The model that ships with Impasto, on photographs that it has never seen, in their "
        "own sizes. Drag the handles.",
        pairs=pairs,
        links={f"All {len(made)} photographs": monets.page},
        commands=[_impasto("translate", output / "photographs", "--output", "monets")],
    )


def _training_chapter(
    result: TourResult, translated: TranslateResult, output: Path, seconds: float
) -> Chapter:
    strips: list[Strip] = []
    step = max(1, len(result.photographs) // _SHOWN)
    for name in sorted(result.photographs)[::step][:_SHOWN]:
        stem = Path(name).stem
        files = {
            heading: _write(
                output / "pictures" / f"{stem}_{heading.replace(' ', '_')}.png", pictures[name]
            )
            for heading, pictures in (
                ("photograph", result.photographs),
                ("translation", result.translations),
                ("true painting", result.truth),
            )
        }
        shown = _NAMES[stem.partition("_")[0]].capitalize()  # its place follows in the file name
        number = sum(strip.name.startswith(shown) for strip in strips) + 1
        strips.append(Strip(name=f"{shown} {number}", pictures=files))
    return Chapter(
        heading=f"What a training of {spell_seconds(seconds)} learns",
        text=f"{result.training.progress.images:,} pictures of each of two small domains, from "
        "random weights. The photographs below were held out, and their true paintings are known, "
        "so that the distance to the truth can be measured: mostly the painter's colors are "
        "learned in so short a time, and not yet the strokes.",
        strips=strips,
        comparisons=result.comparisons,
        links={
            "How the training went": result.training.directory / "web" / "index.html",
            "Whole photographs, before and after": translated.page,
        },
        commands=[
            _impasto(
                *("train", "--config", "demo", "--dataroot", output / "domains", "--name", "mine")
            )
        ],
    )


def _stylize(photographs: Path, options: DemoOptions) -> Chapter:
    """Show a photograph in the style of a painting of another."""
    content, style = photographs / f"{_NAMES[_CONTENT]}.jpg", options.output / "style.png"
    generator = np.random.default_rng(options.seed)
    _write(style, paint(sample_photographs()[_STYLE], LATE_MONET, generator))
    output = options.output / "stylized.png"
    # Not `auto`: where somebody has VGG19, that would take minutes.
    preset = "lite" if find_lite_weights() is not None else "builtin"
    size, iterations = _STYLIZED[preset]
    made = stylize(
        StylizeOptions(
            content=content,
            styles=(style,),
            size=size,
            iterations=iterations,
            output=output,
            preset=preset,
            device="cpu",
        )
    )
    write_float_picture(output, made.image)
    pictures = {"photograph": content, "the style, a painting": style, "stylized": output}
    return Chapter(
        heading="One picture in the style of another",
        text="The pixels are optimized; nothing is trained, and nothing is downloaded. The style "
        f"is a painting of the {_NAMES[_STYLE]}, by the painter of the next chapter.",
        strips=[Strip(name=_NAMES[_CONTENT].capitalize(), pictures=pictures)],
        commands=[
            _impasto(
                *("stylize", content, style, "--preset", preset, "--size", f"{size}"),
                *(("--iterations", *map(str, iterations)) if iterations else ()),
                *("--output", "stylized.png"),
            )
        ],
    )


def _own_chapter() -> Chapter:
    """Say how to go on."""
    return Chapter(
        heading="Now with your own pictures",
        text="Put the names of your folders and files where there are capitals. The strokes of the "
        "models in the box grow with the size of a picture; to those of a model of your own, say "
        "--stroke_scale 2 for pictures with sides of about 1,000 pixels.",
        commands=[
            _impasto("translate", "PHOTOS", "--output", "monets"),
            _impasto("stylize", "PHOTO.jpg", "PAINTING.jpg", "--output", "stylized.png"),
            _impasto(
                *("train", "--config", "monet_small", "--folder_A", "PAINTINGS"),
                *("--folder_B", "PHOTOS", "--name", "mine"),
            ),
            _impasto(
                *("translate", "PHOTOS", "--model", "checkpoints/mine", "--direction", "BtoA"),
                *("--output", "mine"),
            ),
            _impasto(
                *("survey", "export", "--real", "PAINTINGS", "--fake", "mine=mine"),
                *("--output", "study"),
            ),
        ],
    )


def _survey(domains: SampleDomains, result: TourResult, options: DemoOptions) -> Chapter:
    """Make a study of true paintings and of what the training made of photographs."""
    fakes = options.output / "fakes"
    for file in fakes.glob("*.png"):  # of an earlier model
        file.unlink()
    for name, rgb in result.translations.items():
        _write(fakes / name, rgb)
    study = options.output / "study"
    _claim(options.output)  # again: minutes have passed
    shutil.rmtree(study, ignore_errors=True)
    for file in (study.with_suffix(".zip"), study.with_suffix(".key.json")):
        file.unlink(missing_ok=True)
    practice = 2
    done = export_study(
        SurveyExportOptions(
            output=study,
            real=domains.testA,
            fake=[f"demo={fakes}"],
            per_class=max(1, min(10, options.test_pictures - practice)),
            practice=practice,
            attention=1,
            orders=20,
            width=_SIZE_PX,
            height=_SIZE_PX,
            seed=options.seed,
        )
    )
    made = (done.key, done.archive, done.folder)
    _write_note(options.output, {path.name: _digest(path) for path in made})
    return Chapter(
        heading="Real or fake?",
        text="A survey of true paintings and of what the training made: nothing in the folder "
        "tells which is which. The key is in a file of its own.",
        links={"Take it": done.folder / "index.html"},
        commands=[
            _impasto(
                *("survey", "serve", done.folder, "--key", done.key),
                *("--database", "answers.sqlite"),
            )
        ],
    )
