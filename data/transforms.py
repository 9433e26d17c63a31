"""Bringing pictures to size: the reference's preprocess modes, as functions of arrays."""

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from impasto.data.decode import Box, Rgb, read_picture, read_reduced, read_size

__all__ = [
    "Preprocessing",
    "center_crop",
    "limit_long_side",
    "random_crop",
    "random_flip",
    "random_light",
    "random_part",
    "resize",
    "round_to_multiple",
]


# A 3 x 5000 sliver scaled to 286 px of width would be 476,667 px high: refuse such sizes.
_MAX_PIXELS = 2**27


def resize(rgb: Rgb, height: int, width: int, *, box: Box | None = None) -> Rgb:
    """Scale a picture with antialiased bicubic interpolation (Pillow's, as in the reference).

    Args:
        rgb: RGB, (H, W, 3), uint8.
        height: new height in pixels.
        width: new width in pixels.
        box: left, upper, right and lower end, in pixels, of the part that is scaled; all of it
            unless given.

    Returns:
        RGB, (height, width, 3), uint8.

    Raises:
        ValueError: the new size is beyond 2**27 pixels.
    """
    whole = (0, 0, rgb.shape[1], rgb.shape[0])
    if rgb.shape[:2] == (height, width) and box in {None, whole}:
        return rgb
    if height * width > _MAX_PIXELS:
        raise ValueError(
            f"it would be scaled to {width} x {height} pixels, more than {_MAX_PIXELS}"
        )
    scaled = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC, box)
    return np.asarray(scaled)


def limit_long_side(rgb: Rgb, longest: int) -> Rgb:
    """Scale a picture down, if need be, so that its longer side has at most so many pixels.

    Args:
        rgb: RGB, (H, W, 3), uint8.
        longest: most pixels of the longer side.

    Returns:
        RGB, (H, W, 3), uint8, of the same shape to whole pixels; the same array where it fits.
    """
    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return rgb
    return resize(rgb, max(1, round(height * scale)), max(1, round(width * scale)))


def random_crop(rgb: Rgb, size: int, *, generator: torch.Generator) -> Rgb:
    """Cut a random square of ``size`` pixels out of a picture.

    Args:
        rgb: RGB, (H, W, 3), uint8, both sides at least ``size``.
        size: side of the square in pixels.
        generator: source of randomness, on the CPU.

    Returns:
        RGB, (size, size, 3), uint8.
    """
    height, width = rgb.shape[:2]
    top = int(torch.randint(height - size + 1, (), generator=generator))
    left = int(torch.randint(width - size + 1, (), generator=generator))
    return rgb[top : top + size, left : left + size]


def center_crop(rgb: Rgb, size: int) -> Rgb:
    """Cut the middle square of ``size`` pixels out of a picture, (H, W, 3), uint8."""
    top, left = ((side - size) // 2 for side in rgb.shape[:2])
    return rgb[top : top + size, left : left + size]


def random_flip(rgb: Rgb, *, generator: torch.Generator) -> Rgb:
    """Mirror a picture, (H, W, 3) uint8, left to right with probability 1/2."""
    flips = torch.rand((), generator=generator).item() < 0.5
    return rgb[:, ::-1] if flips else rgb


def random_part(
    rgb: Rgb,
    size: int,
    *,
    smallest_area: float,
    largest_area: float = 1.0,
    generator: torch.Generator,
) -> Rgb:
    """Cut a random part out of a picture and scale it to a square (Szegedy et al. 2015, sec. 6).

    Args:
        rgb: RGB, (H, W, 3), uint8.
        size: side of the result in pixels.
        smallest_area: the part has at least this share of the picture's area.
        largest_area: and at most this one, evenly distributed; its sides are as 3 : 4 to 4 : 3, and
            never longer than the picture's.
        generator: source of randomness, on the CPU.

    Returns:
        RGB, (size, size, 3), uint8.
    """
    height, width = rgb.shape[:2]
    draws = torch.rand(4, generator=generator, dtype=torch.float64).tolist()
    area = height * width * (smallest_area + (largest_area - smallest_area) * draws[0])
    aspect = (4 / 3) ** (2 * draws[1] - 1)
    wide, high = min(math.sqrt(area * aspect), width), min(math.sqrt(area / aspect), height)
    left, top = draws[2] * (width - wide), draws[3] * (height - high)
    part = Image.fromarray(rgb).resize(
        (size, size), Image.Resampling.BICUBIC, box=(left, top, left + wide, top + high)
    )
    return np.asarray(part)


def random_light(rgb: Rgb, strength: float, *, generator: torch.Generator) -> Rgb:
    """Change brightness and contrast by chance, and the colors not at all.

    All three channels get the same line, so hue and the order of colors stay.

    Args:
        rgb: RGB, (H, W, 3), uint8.
        strength: both factors are between 1 - strength and 1 + strength.
        generator: source of randomness, on the CPU.
    """
    bright, contrast = (
        1 + strength * (2 * torch.rand(2, generator=generator, dtype=torch.float64) - 1)
    ).tolist()
    mean = float(rgb.mean())
    table = (np.arange(256) - mean) * contrast + mean
    levels: Rgb = np.rint(table * bright).clip(0, 255).astype(np.uint8)
    return levels[rgb]


def round_to_multiple(size: int, multiple: int, *, smallest: int = 1) -> int:
    """Round ``size`` to the nearest multiple, at least ``smallest`` and at least one multiple."""
    return max(round(size / multiple), -(-smallest // multiple), 1) * multiple


@dataclass(frozen=True, kw_only=True)
class Preprocessing:
    """The way of one picture from its file to the networks.

    ``fit`` is the part without chance, so that its result may be cached; ``augment`` draws the
    crop and the flip.

    Attributes:
        mode: ``resize_and_crop`` (to ``load_size`` squared, then a crop), ``crop``, ``scale_width``
            (width to ``load_size``, height in proportion but not below ``crop_size``),
            ``scale_width_and_crop``, ``none``. Modes without a crop round both sides to
            ``stride``, the others enlarge pictures that are smaller than the crop.
        load_size: pixels.
        crop_size: pixels.
        flip: whether to mirror half of the pictures.
        stride: multiple that the sides of an uncropped picture are rounded to.
        smallest: smallest side, in pixels, of an uncropped picture.
    """

    mode: str = "resize_and_crop"
    load_size: int = 286
    crop_size: int = 256
    flip: bool = True
    stride: int = 4
    smallest: int = 1

    def __post_init__(self) -> None:
        modes = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")
        if self.mode not in modes:
            raise ValueError(f"mode: expected one of {', '.join(modes)}, got {self.mode!r}")

    def fit(self, rgb: Rgb) -> Rgb:
        """Scale a picture, RGB, (H, W, 3), uint8, as the mode says.

        Raises:
            ValueError: the scaled picture would be absurdly large.
        """
        return resize(rgb, *self._fitted_size(*rgb.shape[:2]))

    def read(self, path: Path, *, margin: int = 0) -> Rgb:
        """Read a picture and do what ``fit`` does.

        Args:
            path: path of the picture file.
            margin: decode a JPEG at a fraction of its size, if both sides remain so many times
                those of the result; 0: decode all of it.

        Raises:
            PictureError: it cannot be read.
            ValueError: the scaled picture would be absurdly large.
        """
        if not margin:
            return self.fit(read_picture(path).rgb)
        width, height = read_size(path)
        target = self._fitted_size(height, width)
        rgb, box = read_reduced(path, (margin * target[0], margin * target[1]))
        return resize(rgb, *target, box=box)

    def augment(self, rgb: Rgb, *, generator: torch.Generator) -> Rgb:
        """Crop and flip a fitted picture at random, (H, W, 3) -> (h, w, 3), uint8."""
        if self._crops:
            rgb = random_crop(rgb, self.crop_size, generator=generator)
        return random_flip(rgb, generator=generator) if self.flip else rgb

    def keep_center(self, rgb: Rgb) -> Rgb:
        """Do what ``augment`` does without chance: the middle of a fitted picture, not mirrored."""
        return center_crop(rgb, self.crop_size) if self._crops else rgb

    @property
    def _crops(self) -> bool:
        return self.mode in {"resize_and_crop", "crop", "scale_width_and_crop"}

    def _fitted_size(self, height: int, width: int) -> tuple[int, int]:
        if self.mode == "resize_and_crop":
            return self.load_size, self.load_size
        if self.mode.startswith("scale_width"):
            height = max(int(self.load_size * height / width), self.crop_size)
            width = self.load_size
        if self._crops:
            grow = max(1.0, self.crop_size / min(height, width))
            return max(round(height * grow), self.crop_size), max(
                round(width * grow), self.crop_size
            )
        return (
            round_to_multiple(height, self.stride, smallest=self.smallest),
            round_to_multiple(width, self.stride, smallest=self.smallest),
        )
