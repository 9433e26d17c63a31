"""What of a set of pictures is compared with another set: patches, colours, features, grids."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.cyclegan.feature_distances import frechet_distance, kernel_distance
from impasto.data.metrics.paired import palette_distance
from impasto.data.metrics.spectrum import GridPeaks
from impasto.data.metrics.swd import PatchSampler, patch_distance
from impasto.data.transforms import centre_crop, resize

__all__ = ["Extractor", "PictureSet", "Settings", "compare_sets", "summarise"]

Rgb = NDArray[np.uint8]

_PALETTE_PIXELS = 2**20


class Extractor(Protocol):
    """Turns pictures into vectors, such as features of a network.

    Attributes:
        name: of the network, its weights and the layer.
    """

    name: str

    def __call__(self, pictures: list[Rgb], /) -> Tensor:
        """Return (N, D), float32, on the CPU, of RGB pictures, (H, W, 3), uint8."""
        ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How sets are compared.

    Attributes:
        size_px: side of the squares that pictures become: the middle square, scaled. A power of
            two from 16.
        patches: per level of the sliced Wasserstein distance.
        seed: of all draws.
    """

    size_px: int = 256
    patches: int = 16384
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """A set of pictures, reduced to what is compared; only features take memory for each picture.

    Attributes:
        count: pictures.
        enlarged: how many of them were smaller than the squares.
        patches: descriptors by level, see :func:`impasto.data.metrics.swd.patch_descriptors`.
        colours: RGB, (1, pixels, 3), uint8: evenly spaced pixels of all squares.
        features: (count, D), None without an extractor.
        grids: of the pictures in their own sizes; see
            :class:`impasto.data.metrics.spectrum.GridPeaks`.
    """

    count: int
    enlarged: int
    patches: Mapping[int, NDArray[np.float32]]
    colours: Rgb
    features: Tensor | None
    grids: Mapping[int, float]


def summarise(
    pictures: Iterable[Rgb], settings: Settings, extractor: Extractor | None = None, *, count: int
) -> PictureSet:
    """Reduce pictures, one after the other, to what is compared.

    Args:
        pictures: RGB, (H, W, 3), uint8, of any sizes, at least one.
        settings: the same for all sets.
        extractor: of features; None for none.
        count: how many pictures there are.

    Raises:
        ValueError: there are more or fewer pictures.
    """
    # All sets draw with one seed, so that equal pictures are at distance 0.
    patches = PatchSampler(count, np.random.default_rng(settings.seed), patches=settings.patches)
    # Odd, so that it does not meet the same columns of every square.
    step = -(-count * settings.size_px**2 // _PALETTE_PIXELS) | 1
    colours, features, grids, enlarged = [], [], GridPeaks(), 0
    for picture in pictures:
        square = _square(picture, settings.size_px)
        patches.add(square)
        colours.append(square.reshape(-1, 3)[::step].copy())
        grids.add(picture)
        enlarged += min(picture.shape[:2]) < settings.size_px
        if extractor is not None:
            features.append(extractor([square]))
    return PictureSet(
        count=count,
        enlarged=enlarged,
        patches=patches.result(),
        colours=np.concatenate(colours)[None],
        features=torch.cat(features) if features else None,
        grids=grids.result(),
    )


def compare_sets(real: PictureSet, other: PictureSet, settings: Settings) -> dict[str, float]:
    """Measure how far a set is from the real one.

    Returns:
        ``swd`` (mean over the levels) and ``swd_256``, ... (times 1000); ``palette`` (L*a*b*);
        ``grid_2`` and ``grid_4`` (of ``other`` alone, in pictures from 64 px); with features
        ``kid``, ``kid_spread`` (from four pictures) and ``fid``.

    Raises:
        ImpastoError: there are features, and torchmetrics is not installed.
        ValueError: there are features, and of fewer than two pictures.
    """
    generator = np.random.default_rng((settings.seed, 1))
    levels = patch_distance(real.patches, other.patches, generator)
    values = {"swd": float(np.mean(list(levels.values())))}
    values |= {f"swd_{px}": distance for px, distance in levels.items()}
    values["palette"] = palette_distance(real.colours, other.colours, generator)
    values |= {f"grid_{period}": peak for period, peak in other.grids.items()}
    if real.features is not None and other.features is not None:
        kid, spread = kernel_distance(real.features, other.features, seed=settings.seed)
        values |= {"kid": kid, "fid": frechet_distance(real.features, other.features)}
        if not math.isnan(spread):
            values["kid_spread"] = spread
    return values


def _square(picture: Rgb, side: int) -> Rgb:
    """Scale the middle square to ``side`` pixels."""
    return resize(centre_crop(picture, min(picture.shape[:2])), side, side)
