"""Bringing pictures to size: the reference's preprocess modes, as functions of arrays."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from impasto.data.channels.ranges import SampleFormat
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
    "scale_channels",
]


# A 3 x 5000 sliver scaled to 286 px of width would be 476,667 px high: refuse such sizes.
_MAX_PIXELS = 2**27


def resize(rgb: NDArray[Any], height: int, width: int, *, box: Box | None = None) -> NDArray[Any]:
    """Scale a picture with antialiased bicubic interpolation (Pillow's, as in the reference).

    Args:
        rgb: RGB, (H, W, 3), uint8; or numbers, (H, W, C), uint8, or float32 in [-1, 1].
        height: new height in pixels.
        width: new width in pixels.
        box: left, upper, right and lower end, in pixels, of the part that is scaled; all of it
            unless given.

    Returns:
        (height, width, C), of the same type.

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
    return scale_channels(rgb, height, width, box=box)


def scale_channels(
    values: NDArray[Any], height: int, width: int, *, box: Box | None = None
) -> NDArray[Any]:
    """Do what :func:`resize` does, in any case and to any size."""
    to = (width, height)
    if values.dtype == np.uint8 and values.shape[2] == 3:
        return np.asarray(Image.fromarray(values).resize(to, Image.Resampling.BICUBIC, box))
    # Channel by channel: Pillow would multiply colors by what it takes for alpha.
    scaled = [
        np.asarray(
            Image.fromarray(np.ascontiguousarray(values[..., channel])).resize(
                to, Image.Resampling.BICUBIC, box
            )
        )
        for channel in range(values.shape[2])
    ]
    stacked = np.stack(scaled, axis=2)
    # Bicubic interpolation goes beyond what it is between.
    return stacked if values.dtype == np.uint8 else stacked.clip(-1, 1)


def limit_long_side(rgb: NDArray[Any], longest: int) -> NDArray[Any]:
    """Scale a picture down, if need be, so that its longer side has at most so many pixels.

    Args:
        rgb: RGB, (H, W, 3), uint8; or numbers, as :func:`resize` takes them.
        longest: most pixels of the longer side.

    Returns:
        A picture of the same shape to whole pixels; the same array where it fits.
    """
    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return rgb
    return resize(rgb, max(1, round(height * scale)), max(1, round(width * scale)))


def random_crop(rgb: NDArray[Any], size: int, *, generator: torch.Generator) -> NDArray[Any]:
    """Cut a random square of ``size`` pixels out of a picture.

    Args:
        rgb: (H, W, C), both sides at least ``size``.
        size: side of the square in pixels.
        generator: source of randomness, on the CPU.

    Returns:
        (size, size, C), of the same type.
    """
    height, width = rgb.shape[:2]
    top = int(torch.randint(height - size + 1, (), generator=generator))
    left = int(torch.randint(width - size + 1, (), generator=generator))
    return rgb[top : top + size, left : left + size]


def center_crop(rgb: NDArray[Any], size: int) -> NDArray[Any]:
    """Cut the middle square of ``size`` pixels out of a picture, (H, W, C)."""
    top, left = ((side - size) // 2 for side in rgb.shape[:2])
    return rgb[top : top + size, left : left + size]


def random_flip(rgb: NDArray[Any], *, generator: torch.Generator) -> NDArray[Any]:
    """Mirror a picture, (H, W, C), left to right with probability 1/2."""
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
        samples: what the numbers of the files mean; None: they are colors, RGB of 8 bits.
    """

    mode: str = "resize_and_crop"
    load_size: int = 286
    crop_size: int = 256
    flip: bool = True
    stride: int = 4
    smallest: int = 1
    samples: SampleFormat | None = None

    def __post_init__(self) -> None:
        modes = ("resize_and_crop", "crop", "scale_width", "scale_width_and_crop", "none")
        if self.mode not in modes:
            raise ValueError(f"mode: expected one of {', '.join(modes)}, got {self.mode!r}")

    def fit(self, rgb: NDArray[Any]) -> NDArray[Any]:
        """Scale a picture, (H, W, C), as :func:`resize` takes it, as the mode says.

        Raises:
            ValueError: the scaled picture would be absurdly large.
        """
        return resize(rgb, *self._fitted_size(*rgb.shape[:2]))

    def read(self, path: Path, *, margin: int = 0) -> NDArray[Any]:
        """Read a picture and do what ``fit`` does.

        It is uint8, or float32 in [-1, 1] where ``samples`` says that it does not travel as bytes.

        Args:
            path: path of the picture file.
            margin: decode a JPEG at a fraction of its size, if both sides remain so many times
                those of the result; 0: decode all of it. It has no effect on ``samples``.

        Raises:
            PictureError: it cannot be read.
            ValueError: the scaled picture would be absurdly large.
        """
        if self.samples is not None:
            return self.fit(self.samples.read(path))
        if not margin:
            return self.fit(read_picture(path).rgb)
        width, height = read_size(path)
        target = self._fitted_size(height, width)
        rgb, box = read_reduced(path, (margin * target[0], margin * target[1]))
        return resize(rgb, *target, box=box)

    def augment(self, rgb: NDArray[Any], *, generator: torch.Generator) -> NDArray[Any]:
        """Crop and flip a fitted picture at random, (H, W, C) -> (h, w, C)."""
        if self._crops:
            rgb = random_crop(rgb, self.crop_size, generator=generator)
        return random_flip(rgb, generator=generator) if self.flip else rgb

    def keep_center(self, rgb: NDArray[Any]) -> NDArray[Any]:
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
