"""An unpaired two-domain dataset, made on the spot from photographs that need no download.

Domain B is photographs; domain A is paintings, in the style ``LATE_MONET``, of *other* parts of
photographs. Because we hold the painter, the true painting of every test photograph is known,
which no collection of real paintings can give.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from impasto.data.atomic import remove_leftovers, write_text_atomic
from impasto.data.decode import Picture
from impasto.data.encode import write_picture
from impasto.data.samples.painting import LATE_MONET, paint
from impasto.data.samples.photographs import Part, Region, sample_photographs, sample_regions
from impasto.options.errors import FolderError, OptionError

__all__ = ["SampleDomains", "make_sample_domains"]

_RGB = npt.NDArray[np.uint8]

# Raise when the pictures change: folders made before are then made anew.
_RECIPE = 1
_NOTE = "sample_domains.json"


@dataclass(frozen=True, kw_only=True)
class SampleDomains:
    """The folders of the dataset; each holds square RGB PNG files.

    A file is named after where it was cut: ``china_0012_0345.png`` begins at row 12 and column
    345 of the photograph ``china``.

    Attributes:
        root: the folder that holds the others: a ``--dataroot``.
        trainA: paintings.
        trainB: photographs, of other parts than ``trainA``.
        testA: paintings of photographs that training never sees.
        testB: photographs that training never sees, of other parts than ``testA``: the held-out
            set.
        testB_painted: the true paintings of ``testB``, under the same file names.
        validationB: unseen parts of the photographs of the training sets.
        validationB_painted: the true paintings of ``validationB``, under the same file names.
    """

    root: Path
    trainA: Path
    trainB: Path
    testA: Path
    testB: Path
    testB_painted: Path
    validationB: Path
    validationB_painted: Path


# Which folder receives the photographs of a part, and which their paintings.
_PHOTOGRAPHS: dict[Part, str] = {
    "trainB": "trainB",
    "testB": "testB",
    "validation": "validationB",
}
_PAINTINGS: dict[Part, str] = {
    "trainA": "trainA",
    "testA": "testA",
    "testB": "testB_painted",
    "validation": "validationB_painted",
}
_FOLDERS = tuple(sorted({*_PHOTOGRAPHS.values(), *_PAINTINGS.values()}))


def make_sample_domains(
    root: Path,
    *,
    size_px: int = 96,
    train_pictures: int = 96,
    test_pictures: int = 24,
    seed: int = 0,
) -> SampleDomains:
    """Make the dataset of ``impasto demo``: a few seconds on one core, and no network.

    The same arguments give the same pictures. If they are there already, nothing is written; if
    other arguments made what is there, it is replaced.

    Every region of the photographs is painted by itself and then cropped, so that no stroke
    carries a color from one set into another, and crops show no border of a canvas.

    Args:
        root: folder to make, with its parents.
        size_px: side of the square pictures, 1..140.
        train_pictures: number of pictures in ``trainA``, and in ``trainB``.
        test_pictures: number of pictures in each of the other folders.
        seed: draws the places of the crops and the painter's hand.

    Returns:
        The folders.

    Raises:
        OptionError: a number is out of range.
        FolderError: ``root`` holds pictures that this function did not write.
        PictureError: a photograph is missing from the installed packages.
    """
    recipe = {
        "recipe": _RECIPE,
        "size_px": size_px,
        "train_pictures": train_pictures,
        "test_pictures": test_pictures,
        "seed": seed,
    }
    domains = SampleDomains(root=root, **{name: root / name for name in _FOLDERS})
    if _is_made(root, recipe):
        return domains
    photographs = sample_photographs()
    regions = sample_regions(photographs)
    counts = _count_crops(regions, size_px, train_pictures, test_pictures)
    # The generator's own error for a negative seed does not name the option.
    if seed < 0:
        raise OptionError("seed", f"expected at least 0, got {seed}")
    _clear(root)
    _write_note(root, recipe, [])
    files = []
    # A generator per region: asking for more training pictures leaves the test pictures alone.
    sequences = iter(np.random.SeedSequence(seed).spawn(len(counts)))
    for part, places in regions.items():
        for region in places:
            generator = np.random.default_rng(next(sequences))
            crops = _crop(part, region, region.cut(photographs), counts[region], size_px, generator)
            for file, picture in crops:
                write_picture(root / file, Picture(rgb=picture))
                files.append(file)
    _write_note(root, recipe, files)
    return domains


def _count_crops(
    regions: dict[Part, tuple[Region, ...]], size_px: int, train_pictures: int, test_pictures: int
) -> dict[Region, int]:
    """Spread the pictures of each part evenly over its regions."""
    largest = min(min(r.height_px, r.width_px) for places in regions.values() for r in places)
    if not 1 <= size_px <= largest:
        raise OptionError("size_px", f"expected 1..{largest}, got {size_px}")
    counts = {}
    for part, places in regions.items():
        option = "train_pictures" if part in ("trainA", "trainB") else "test_pictures"
        wanted = train_pictures if option == "train_pictures" else test_pictures
        most = len(places) * min(len(_corners(region, size_px)) for region in places)
        if not 1 <= wanted <= most:
            raise OptionError(
                option, f"expected 1..{most} pictures of {size_px} pixels, got {wanted}"
            )
        for number, region in enumerate(places):
            counts[region] = wanted // len(places) + (number < wanted % len(places))
    return counts


def _corners(region: Region, size_px: int) -> npt.NDArray[np.intp]:
    """List all places of a crop in a region, (N, 2): rows and columns from its corner."""
    rows = np.arange(region.height_px - size_px + 1)
    columns = np.arange(region.width_px - size_px + 1)
    return np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=2).reshape(-1, 2)


def _spread(
    corners: npt.NDArray[np.intp], count: int, generator: np.random.Generator
) -> npt.NDArray[np.intp]:
    """Choose ``count`` places: a random one, then always the farthest from those chosen.

    Crops of a small region overlap; this way they do so as little as may be.
    """
    chosen = [int(generator.integers(len(corners)))]
    distance = np.full(len(corners), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(corners - corners[chosen[-1]], axis=1))
        chosen.append(int(distance.argmax()))
    return corners[chosen]


def _crop(
    part: Part,
    region: Region,
    photograph: _RGB,
    count: int,
    size_px: int,
    generator: np.random.Generator,
) -> Iterator[tuple[str, _RGB]]:
    """Yield the crops of one region, each with its file below the root."""
    if count == 0:
        return
    corners = _spread(_corners(region, size_px), count, generator)
    pictures = {}
    if part in _PHOTOGRAPHS:
        pictures[_PHOTOGRAPHS[part]] = photograph
    if part in _PAINTINGS:
        pictures[_PAINTINGS[part]] = paint(photograph, LATE_MONET, generator)
    for row, column in corners.tolist():
        name = f"{region.photograph}_{region.top + row:04d}_{region.left + column:04d}.png"
        for folder, picture in pictures.items():
            yield f"{folder}/{name}", picture[row : row + size_px, column : column + size_px]


def _is_made(root: Path, recipe: dict[str, int]) -> bool:
    """Say whether the recipe was finished here and its files are still there."""
    try:
        note = json.loads((root / _NOTE).read_text(encoding="utf-8"))
        files = note["files"]
        finished = note["made_by"] == recipe and len(files) > 0
        return finished and all((root / file).is_file() for file in files)
    except (OSError, ValueError, KeyError, TypeError):
        # No note, or one that a hand has changed: make the pictures again.
        return False


def _write_note(root: Path, recipe: dict[str, int], files: list[str]) -> None:
    """Write what was made; a note without files marks an unfinished folder as ours."""
    note = {"made_by": recipe, "files": files}
    write_text_atomic(root / _NOTE, json.dumps(note, indent=1) + "\n")


def _clear(root: Path) -> None:
    """Make the folders, empty of what an earlier run left; refuse anybody else's pictures."""
    ours = (root / _NOTE).is_file()
    for name in _FOLDERS:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        if not ours and any(folder.iterdir()):
            raise FolderError(
                folder, "holds files that the sample domains did not write; choose another folder"
            )
        remove_leftovers(folder)
        for file in folder.glob("*.png"):
            file.unlink()
