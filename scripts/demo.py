"""`giverny demo`: the whole tour on shipped material, offline, in minutes."""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from giverny.options.command_line import CommandParser, preset_text
from giverny.options.demo import DemoOptions
from giverny.options.sections import make
from giverny.options.train import TrainOptions
from giverny.options.translate import TranslateOptions

if TYPE_CHECKING:
    from giverny.cyclegan.tour import TourResult

__all__ = ["main"]

_EPILOG = """examples:
  giverny demo
  giverny demo --output /tmp/tour --seed 1
"""
_SHOWN = 6
_SIZE_PX = 136  # a little more than the crop of the preset


def main(argv: Sequence[str]) -> int:
    """Parse, make the domains, train, translate, report; return the exit status."""
    parser = CommandParser(
        "giverny demo",
        DemoOptions,
        description="Make two small domains from shipped photographs, train a CycleGAN on them, "
        "measure it against the truth, translate whole photographs, write a page.",
        epilog=_EPILOG,
    )
    options = parser.make(DemoOptions, parser.parse(argv))
    started = time.perf_counter()

    from giverny.cyclegan.tour import run_tour  # noqa: PLC0415 - torch, after parsing
    from giverny.cyclegan.translation import translate  # noqa: PLC0415
    from giverny.data.sample_domains import make_sample_domains  # noqa: PLC0415
    from giverny.runs.comparison_page import measure_table  # noqa: PLC0415
    from giverny.runs.directory import RunDirectory  # noqa: PLC0415

    print("1/4 painting the training pictures (photographs: scikit-image, scikit-learn)")
    domains = make_sample_domains(
        options.output / "domains",
        size_px=_SIZE_PX,
        train_pictures=options.train_pictures,
        test_pictures=options.test_pictures,
        seed=options.seed,
    )
    print(f"2/4 training on {domains.trainA} and {domains.trainB}")
    RunDirectory(options.output / "checkpoints" / "demo").start_afresh()
    result = run_tour(domains, _train_options(options, domains.root))
    if result.training.signal is not None:
        print("stopped")
        return 128 + result.training.signal
    print("3/4 distance of the held-out photographs from their true paintings")
    print(measure_table(result.comparisons))
    print("4/4 translating whole photographs")
    photographs = _write_photographs(options.output / "photographs")
    translated = translate(
        [photographs],
        TranslateOptions(
            model=result.training.directory,
            direction="BtoA",
            output=options.output / "translated",
            overwrite=True,
            device="cpu",
        ),
    )
    page = _write_page(options.output, result, translated.page)
    print(f"done in {time.perf_counter() - started:.0f} s; open {page.resolve()}")
    return 0


def _train_options(options: DemoOptions, dataroot: Path) -> TrainOptions:
    changes = {
        "name": "demo",
        "checkpoints_dir": str(options.output / "checkpoints"),
        "dataroot": str(dataroot),
        "seed": options.seed,
        "device": "cpu",
        "max_images": options.max_images,
    }
    return make(TrainOptions, {**yaml.safe_load(preset_text("demo")), **changes})


def _write_photographs(folder: Path) -> Path:
    """Write the whole sample photographs, of which training saw small parts of some."""
    from giverny.data import Picture, write_picture  # noqa: PLC0415
    from giverny.data.sample_photographs import sample_photographs  # noqa: PLC0415

    for name, rgb in sample_photographs().items():
        write_picture(folder / f"{name}.jpg", Picture(rgb=rgb))
    return folder


def _write_page(output: Path, result: "TourResult", gallery: Path) -> Path:
    """Write the page that shows numbers, held-out pictures and the way to the rest."""
    from giverny.data import Picture, write_picture  # noqa: PLC0415
    from giverny.runs.comparison_page import ComparisonRow, write_comparison  # noqa: PLC0415

    rows = []
    step = max(1, len(result.photographs) // _SHOWN)
    for name in sorted(result.photographs)[::step][:_SHOWN]:
        stem, files = Path(name).stem, {}
        for heading, pictures in (
            ("photograph", result.photographs),
            ("translation", result.translations),
            ("true painting", result.truth),
        ):
            files[heading] = output / "pictures" / f"{stem}_{heading.replace(' ', '_')}.png"
            write_picture(files[heading], Picture(rgb=pictures[name]))
        rows.append(ComparisonRow(name=stem, pictures=files))
    page = output / "index.html"
    write_comparison(
        page,
        result.comparisons,
        rows,
        title="Giverny's demo",
        description=(
            f"{result.training.progress.images} pictures of each domain, from random weights. "
            "The photographs below were held out, and their true paintings are known. "
            "Photographs: scikit-image; china and flower: scikit-learn, CC BY 2.0."
        ),
        links={
            "Whole photographs, before and after": gallery,
            "How the training went": result.training.directory / "web" / "index.html",
        },
    )
    return page
