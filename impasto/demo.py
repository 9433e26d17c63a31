"""The whole tour of `impasto demo`: all three methods on shipped pictures, and one page of it all.

It is the one job that takes from the CycleGAN, from stylization and from the survey.
"""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import numpy as np
from numpy.typing import NDArray

from impasto.cyclegan.jobs.tour import Chapter, TourResult, measure_table, run_tour, write_tour
from impasto.cyclegan.jobs.translate import TranslateResult, translate
from impasto.data import Picture, write_picture
from impasto.data.atomic import write_text_atomic
from impasto.data.encode import write_float_picture
from impasto.data.files import list_pictures
from impasto.data.samples.domains import SampleDomains, make_sample_domains
from impasto.data.samples.photographs import sample_photographs
from impasto.gatys.jobs.stylize import stylize
from impasto.options.config import read_config
from impasto.options.errors import FolderError
from impasto.options.fields import make
from impasto.options.stylize import StylizeOptions
from impasto.options.survey import SurveyExportOptions
from impasto.options.train import TrainOptions
from impasto.options.translate import DemoOptions, TranslateOptions
from impasto.runs.directory import RunDirectory
from impasto.runs.pages.gallery import Strip
from impasto.survey.export.job import export_study

__all__ = ["DemoResult", "run_demo"]

_LIKE_MONETS = ("china", "flower", "coffee", "chelsea")  # shown large; all are on their own page
_STROKE_SCALE = 2  # for photographs of 450 to 740 pixels
_SHOWN = 6
_SIZE_PX = 136  # a little more than the crop of the preset
_CONTENT, _STYLE = "rocket", "flower"  # of the stylized picture
_STYLIZED_PX = 192
# What the demo writes into its folder; nothing of it is replaced unless the note, or the digest in
# the note, says that the demo wrote it.
_STUDY = ("study.key.json", "study.zip", "study")
_MADE = (
    *_STUDY,
    *("photographs", "monets", "domains", "checkpoints/demo", "pictures", "translated", "fakes"),
    *("stylized.png", "index.html"),
)
_NOTE = "impasto_demo.json"
_CREDIT = "Photographs: scikit-image; china and flower: scikit-learn, CC BY 2.0."


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
    """Turn photographs into Monets, train, measure, translate, stylize, make a survey and a page.

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
        say(f"{number}/6 [{time.perf_counter() - started:3.0f} s] {what}")

    page = options.output / "index.html"
    step(1, "photographs into Monets, by the model in the box")
    photographs = _write_photographs(options.output / "photographs")
    monets = _translate(
        photographs, Path("monet"), options.output / "monets", stroke_scale=_STROKE_SCALE
    )
    say(f"    {len(monets.converted.done)} pictures; open {monets.page.resolve()}")
    step(2, "painting the training pictures (photographs: scikit-image, scikit-learn)")
    domains = make_sample_domains(
        options.output / "domains",
        size_px=_SIZE_PX,
        train_pictures=options.train_pictures,
        test_pictures=options.test_pictures,
        seed=options.seed,
    )
    step(3, f"training on {domains.trainA} and {domains.trainB}")
    RunDirectory(options.output / "checkpoints" / "demo").start_afresh()
    tour = run_tour(domains, _train_options(options, domains.root))
    if tour.training.signal is not None:
        return DemoResult(
            page=page, seconds=time.perf_counter() - started, signal=tour.training.signal
        )
    say("distance of the held-out photographs from their true paintings:")
    say(measure_table(tour.comparisons))
    step(4, "translating whole photographs with what was trained")
    translated = _translate(
        photographs, tour.training.directory, options.output / "translated", direction="BtoA"
    )
    step(5, f"{_CONTENT} in the style of a painting of {_STYLE}")
    stylized = _stylize(photographs / f"{_CONTENT}.jpg", domains, options.output / "stylized.png")
    step(6, "a survey of true paintings and translations")
    study = _survey(domains, tour, options)
    write_tour(
        page,
        [
            _monet_chapter(monets, options.output),
            _training_chapter(tour, translated, options.output),
            stylized,
            study,
        ],
        title="Impasto's demo",
        description=f"Made by this machine in {time.perf_counter() - started:.0f} seconds, without "
        f"a network. {_CREDIT}",
    )
    return DemoResult(page=page, seconds=time.perf_counter() - started)


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
        _write(folder / f"{name}.jpg", rgb)
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
    stroke_scale: float = 1.0,
) -> TranslateResult:
    return translate(
        [photographs],
        make(
            TranslateOptions,
            {
                "model": model,
                "direction": direction,
                "output": output,
                "stroke_scale": stroke_scale,
                "overwrite": True,
                "device": "cpu",
            },
        ),
    )


def _monet_chapter(monets: TranslateResult, output: Path) -> Chapter:
    made = {job.source.stem: job for job in monets.converted.done}
    strips = [
        Strip(
            name=name,
            pictures={
                "photograph": made[name].source,
                "by the model in the box": made[name].target,
            },
        )
        for name in _LIKE_MONETS
        if name in made
    ]
    return Chapter(
        heading="Photographs into Monets",
        text="The model that ships with Impasto, on photographs that it has never seen, in their "
        f"own sizes: impasto translate {output / 'photographs'} --stroke_scale {_STROKE_SCALE} "
        "--output DIR.",
        strips=strips,
        links={"All of them, with sliders": monets.page},
    )


def _training_chapter(result: TourResult, translated: TranslateResult, output: Path) -> Chapter:
    strips = []
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
        strips.append(Strip(name=stem, pictures=files))
    return Chapter(
        heading="A training of two minutes",
        text=f"{result.training.progress.images} pictures of each of two small domains, from "
        "random weights. The photographs below were held out, and their true paintings are known, "
        "so that the distance to the truth can be measured.",
        strips=strips,
        comparisons=result.comparisons,
        links={
            "Whole photographs, before and after": translated.page,
            "How the training went": result.training.directory / "web" / "index.html",
        },
    )


def _stylize(content: Path, domains: SampleDomains, output: Path) -> Chapter:
    """Show a photograph in the style of one of the domain's paintings."""
    paintings = list_pictures(domains.testA)
    style = next((path for path in paintings if path.name.startswith(_STYLE)), paintings[0])
    made = stylize(
        StylizeOptions(
            content=content,
            styles=(style,),
            size=_STYLIZED_PX,
            output=output,
            preset="builtin",
            device="cpu",
        )
    )
    write_float_picture(output, made.image)
    pictures = {"photograph": content, "style": style, "stylized": output}
    return Chapter(
        heading="One picture in the style of another",
        text="Optimized pixel by pixel, without weights and without training: impasto stylize "
        f"{content} {style} --output PICTURE.",
        strips=[Strip(name=content.stem, pictures=pictures)],
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
    )
