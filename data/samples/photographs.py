"""The color photographs that scikit-image and scikit-learn ship, and which part serves what.

Nothing is downloaded: the files lie inside the installed wheels (scikit-image 0.24 and later,
scikit-learn 1.4 and later).

The parts, such that no pixel serves two of them::

    chelsea  china  coffee  motorcycle  rocket        astronaut          flower
    each cut in 2 x 3 tiles, one of                   +----+-------+     +------------+
    +---+---+---+      +---+---+---+                  | t  |       |     |   testB    |
    | A | B | A |      | B | A | B |                  | e  |       |     |            |
    +---+---+---+  or  +---+---+---+                  | s  | testB |     +------------+
    | B | V | B |      | A | V | A |                  | tA |       |     |   testA    |
    +---+---+---+      +---+---+---+                  +----+-------+     +------------+

A is the source of the paintings of ``trainA``, B is ``trainB``, V is the validation set: parts
that training never sees, of photographs that it does see. The checkerboard gives both domains
skies and grounds alike, so that they differ by the painting and not by what is painted. The test
sets come from two photographs that training never sees at all.
"""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from impasto.options.errors import FolderError, PictureError

__all__ = ["Part", "Region", "sample_photographs", "sample_regions"]

Part = Literal["trainA", "trainB", "validation", "testA", "testB"]
"""What a region serves."""

# The package that ships each photograph, and its file there. Of the stereo pair of the
# motorcycle only the left picture: the right one shows the same pixels again. Left out are the
# pictures that are no everyday photographs: medical, microscopic, astronomical and drawn ones.
_FILES = {
    # NASA, public domain: Eileen Collins
    "astronaut": ("skimage", "data/astronaut.png"),
    # Stefan van der Walt, CC0
    "chelsea": ("skimage", "data/chelsea.png"),
    # danielbuechele on Flickr, CC BY 2.0: the Summer Palace, Beijing
    "china": ("sklearn", "datasets/images/china.jpg"),
    # Rachel Michetti, CC0
    "coffee": ("skimage", "data/coffee.png"),
    # Flickr user vultilion, CC BY 2.0: a dahlia
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    # Middlebury stereo benchmark 2014 (Scharstein et al.), CC0
    "motorcycle": ("skimage", "data/motorcycle_left.png"),
    # SpaceX, public domain
    "rocket": ("skimage", "data/rocket.jpg"),
}
_DISTRIBUTIONS = {"skimage": "scikit-image", "sklearn": "scikit-learn"}

# Rows of tiles as in the module's picture; the two boards alternate from photograph to photograph.
_BOARDS = (("ABA", "BVB"), ("BAB", "AVA"))
_BOARD_PARTS: dict[str, Part] = {"A": "trainA", "B": "trainB", "V": "validation"}
_TRAINING = ("chelsea", "china", "coffee", "motorcycle", "rocket")


def sample_photographs() -> dict[str, npt.NDArray[np.uint8]]:
    """Load the photographs that scikit-image and scikit-learn ship.

    Returns:
        Name to RGB picture, shape (H, W, 3), uint8, 300..512 rows and 451..741 columns, in
        alphabetical order of the names.

    Raises:
        FolderError: scikit-image or scikit-learn is not installed.
        PictureError: a photograph is missing from the installed package or damaged.
    """
    return {name: _load(*source) for name, source in _FILES.items()}


def _load(package: str, file: str) -> npt.NDArray[np.uint8]:
    # find_spec of a top-level name finds the folder without the seconds that an import takes.
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        name = _DISTRIBUTIONS[package]
        raise FolderError(Path(package), f"not installed; run: pip install {name}")
    path = Path(spec.origin).parent / file
    try:
        with Image.open(path) as picture:
            return np.asarray(picture.convert("RGB"))
    except OSError as error:
        name = _DISTRIBUTIONS[package]
        reason = f"{name} ships this photograph, but it is gone or damaged; reinstall {name}"
        raise PictureError(path, reason) from error


@dataclass(frozen=True, kw_only=True)
class Region:
    """A rectangle of a sample photograph.

    Attributes:
        photograph: its name in ``sample_photographs()``.
        top: first row, counted from 0.
        left: first column, counted from 0.
        height_px: number of rows.
        width_px: number of columns.
    """

    photograph: str
    top: int
    left: int
    height_px: int
    width_px: int

    def cut(self, photographs: dict[str, npt.NDArray[np.uint8]]) -> npt.NDArray[np.uint8]:
        """Cut the region out: RGB, shape (height_px, width_px, 3), uint8, a view."""
        rows = slice(self.top, self.top + self.height_px)
        columns = slice(self.left, self.left + self.width_px)
        return photographs[self.photograph][rows, columns]


def sample_regions(
    photographs: dict[str, npt.NDArray[np.uint8]],
) -> dict[Part, tuple[Region, ...]]:
    """Divide the sample photographs into parts that share no pixel.

    Args:
        photographs: what ``sample_photographs`` returned.

    Returns:
        The regions of each part; the module's text draws them. Every side has 140 pixels or more.
    """
    sizes = {name: picture.shape[:2] for name, picture in photographs.items()}
    regions: dict[Part, tuple[Region, ...]] = {
        "trainA": (),
        "trainB": (),
        "validation": (),
        "testA": (_whole(sizes, "astronaut", right=140), _whole(sizes, "flower", top=287)),
        "testB": (_whole(sizes, "astronaut", left=140), _whole(sizes, "flower", bottom=287)),
    }
    for number, name in enumerate(_TRAINING):
        for mark, region in _tiles(name, sizes[name], _BOARDS[number % 2]):
            regions[_BOARD_PARTS[mark]] += (region,)
    return regions


def _whole(
    sizes: dict[str, tuple[int, ...]],
    name: str,
    *,
    top: int = 0,
    left: int = 0,
    bottom: int | None = None,
    right: int | None = None,
) -> Region:
    """Take a photograph from ``top``, ``left`` to before ``bottom``, ``right``."""
    height, width = sizes[name]
    return Region(
        photograph=name,
        top=top,
        left=left,
        height_px=(height if bottom is None else bottom) - top,
        width_px=(width if right is None else right) - left,
    )


def _tiles(name: str, size: tuple[int, ...], board: tuple[str, str]) -> list[tuple[str, Region]]:
    """Cut a photograph in the tiles of a board; each tile comes with its mark."""
    height, width = size[0] // len(board), size[1] // len(board[0])
    return [
        (
            mark,
            Region(
                photograph=name,
                top=row * height,
                left=column * width,
                height_px=height,
                width_px=width,
            ),
        )
        for row, marks in enumerate(board)
        for column, mark in enumerate(marks)
    ]
