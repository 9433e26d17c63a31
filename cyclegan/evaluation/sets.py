"""Distances between two sets of pictures (patches, colors, features), and grid artifacts.

A set is summarized once, picture by picture, and summaries are compared. KID and FID of two sets of
features are computed by torchmetrics.
"""

import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from impasto.cyclegan.evaluation.strokes import StrokeFeatures, stroke_distances
from impasto.data.decode import Rgb
from impasto.data.metrics.paired import palette_distance
from impasto.data.metrics.spectrum import GridPeaks
from impasto.data.metrics.swd import PatchSampler, patch_distance
from impasto.data.transforms import center_crop, resize
from impasto.options.errors import ImpastoError

__all__ = [
    "Extractor",
    "PictureSet",
    "Settings",
    "compare_sets",
    "frechet_distance",
    "kernel_distance",
    "summarize",
    "torchmetrics_image",
]


_SUBSETS = 100
_SUBSET_SIZE = 1000  # Binkowski et al. 2018, section 4; smaller sets are compared as a whole
_FEWEST_FOR_SPREAD = 4


class _Given(nn.Module):
    """Takes the place of the network where the features are there already."""

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.num_features = num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


def kernel_distance(real: Tensor, other: Tensor, *, seed: int = 0) -> tuple[float, float]:
    """Compute the kernel distance KID (Binkowski et al. 2018): unbiased even for few pictures.

    Args:
        real: features of the real pictures, (N, D), floating point.
        other: features of the other pictures, (M, D), floating point.
        seed: seed that draws the subsets.

    Returns:
        Mean over 100 subsets of as many pictures as the smaller set has, at most 1,000: about 0, of
        either sign, for sets of one distribution. And the standard deviation over 100 subsets of
        half as many, which for sets of equal size, up to 2,000, is about the standard error that
        the choice of pictures gives the mean (a delete-half jackknife, Shao and Wu 1989); for sets
        of unequal size and for larger ones it is above that. NaN if a set has fewer than four
        pictures.

    Raises:
        ImpastoError: torchmetrics is not installed.
        ValueError: a set has fewer than two pictures.
    """
    _check(real, other)
    count = min(len(real), len(other))
    mean, _ = _kernel_distances(real, other, min(count, _SUBSET_SIZE), seed)
    if count < _FEWEST_FOR_SPREAD:
        return mean, math.nan
    _, spread = _kernel_distances(real, other, min(count // 2, _SUBSET_SIZE), seed)
    return mean, spread


def frechet_distance(real: Tensor, other: Tensor) -> float:
    """Compute the Frechet distance FID (Heusel et al. 2017, eq. 6) of two sets of features.

    Its bias is large for fewer pictures than features; compare only sets of equal numbers, and
    with a floor of as many.

    Args:
        real: features of the real pictures, (N, D), floating point.
        other: features of the other pictures, (M, D), floating point.

    Raises:
        ImpastoError: torchmetrics is not installed.
        ValueError: a set has fewer than two pictures.
    """
    _check(real, other)
    metric = torchmetrics_image("fid").FrechetInceptionDistance(feature=_Given(real.shape[1]))
    return float(_compute(metric.set_dtype(torch.float64), real.double(), other.double()))


def torchmetrics_image(name: str) -> ModuleType:
    """Import a module of torchmetrics' image metrics, such as ``kid``.

    Raises:
        ImpastoError: torchmetrics is not installed; says how to install it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about other extras of torchmetrics
            return import_module(f"torchmetrics.image.{name}")
    except ImportError as error:
        raise ImpastoError(
            'KID and FID need torchmetrics: pip install "impasto[metrics]"'
        ) from error


def _kernel_distances(
    real: Tensor, other: Tensor, subset_size: int, seed: int
) -> tuple[float, float]:
    """Return mean and standard deviation over subsets."""
    # Where a subset is all there is, all subsets are one.
    subsets = 1 if subset_size == len(real) == len(other) else _SUBSETS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it keeps the features, which are small
        metric = torchmetrics_image("kid").KernelInceptionDistance(
            feature=_Given(real.shape[1]), subsets=subsets, subset_size=subset_size
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        mean, spread = _compute(metric, real.double(), other.double())
    return float(mean), float(spread)


def _compute(metric: Any, real: Tensor, other: Tensor) -> Any:
    metric.update(real, real=True)
    metric.update(other, real=False)
    return metric.compute()


def _check(real: Tensor, other: Tensor) -> None:
    if real.ndim != 2 or other.ndim != 2 or real.shape[1] != other.shape[1]:
        raise ValueError(
            f"expected features (N, D) and (M, D), got {tuple(real.shape)}, {tuple(other.shape)}"
        )
    if min(len(real), len(other)) < 2:
        raise ValueError(f"expected two pictures or more, got {len(real)} and {len(other)}")


_PALETTE_PIXELS = 2**20


class Extractor(Protocol):
    """Turns pictures into vectors, such as features of a network.

    Attributes:
        name: name of the network, its weights and the layer.
    """

    name: str

    def __call__(self, pictures: list[Rgb], /) -> Tensor:
        """Return (N, D), float32, on the CPU, of RGB pictures, (H, W, 3), uint8."""
        ...


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of the comparison of sets.

    Attributes:
        size_px: side of the squares that pictures become: the middle square, scaled. A power of
            two from 16.
        patches: number of patches per level of the sliced Wasserstein distance.
        seed: seed of all random draws.
    """

    size_px: int = 256
    patches: int = 16384
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class PictureSet:
    """Summary of a set of pictures; only features take memory for each picture.

    Attributes:
        count: number of pictures.
        enlarged: number of pictures smaller than the squares, which were enlarged.
        patches: patch descriptors by level, see :func:`impasto.data.metrics.swd.patch_descriptors`.
        colors: evenly spaced pixels of all squares, RGB, (1, pixels, 3), uint8.
        features: features of the pictures, (count, D); None without an extractor.
        strokes: statistics of each picture's crops; empty without stroke features.
        grids: periodic grid patterns of the pictures at their original sizes; see
            :class:`impasto.data.metrics.spectrum.GridPeaks`.
    """

    count: int
    enlarged: int
    patches: Mapping[int, NDArray[np.float32]]
    colors: Rgb
    features: Tensor | None
    strokes: Sequence[Mapping[str, Tensor]]
    grids: Mapping[int, float]


def summarize(
    pictures: Iterable[Rgb],
    settings: Settings,
    extractor: Extractor | None = None,
    *,
    count: int,
    strokes: StrokeFeatures | None = None,
) -> PictureSet:
    """Summarize pictures, one after the other, for the comparison of sets.

    Args:
        pictures: pictures, RGB, (H, W, 3), uint8, of any sizes, at least one.
        settings: settings of the comparison, the same for all sets.
        extractor: feature extractor; None: no features are computed.
        count: expected number of pictures.
        strokes: features of the stroke distance; None: none are computed.

    Raises:
        ValueError: the number of pictures is not ``count``.
    """
    # All sets draw with one seed, so that equal pictures are at distance 0.
    patches = PatchSampler(count, np.random.default_rng(settings.seed), patches=settings.patches)
    # Odd, so that it does not meet the same columns of every square.
    step = -(-count * settings.size_px**2 // _PALETTE_PIXELS) | 1
    colors, features, crops, grids, enlarged = [], [], [], GridPeaks(), 0
    for picture in pictures:
        square = _square(picture, settings.size_px)
        patches.add(square)
        colors.append(square.reshape(-1, 3)[::step].copy())
        grids.add(picture)
        enlarged += min(picture.shape[:2]) < settings.size_px
        if extractor is not None:
            features.append(extractor([square]))
        if strokes is not None:
            crops.append(strokes(square))
    return PictureSet(
        count=count,
        enlarged=enlarged,
        patches=patches.result(),
        colors=np.concatenate(colors)[None],
        features=torch.cat(features) if features else None,
        strokes=crops,
        grids=grids.result(),
    )


def compare_sets(real: PictureSet, other: PictureSet, settings: Settings) -> dict[str, float]:
    """Measure the distances of a set from the real one.

    Returns:
        ``swd`` (mean over the levels) and ``swd_256``, ... (times 1000); ``palette`` (L*a*b*);
        ``grid_2`` and ``grid_4`` (of ``other`` alone, in pictures from 64 px); with features
        ``kid``, ``kid_spread`` (from four pictures) and ``fid``; with stroke features
        ``strokes_1`` to ``strokes_7``, the stroke distance at each depth.

    Raises:
        ImpastoError: there are features, and torchmetrics is not installed.
        ValueError: there are features, but of fewer than two pictures.
    """
    generator = np.random.default_rng((settings.seed, 1))
    levels = patch_distance(real.patches, other.patches, generator)
    values = {"swd": float(np.mean(list(levels.values())))}
    values |= {f"swd_{px}": distance for px, distance in levels.items()}
    values["palette"] = palette_distance(real.colors, other.colors, generator)
    values |= {f"grid_{period}": peak for period, peak in other.grids.items()}
    if real.features is not None and other.features is not None:
        kid, spread = kernel_distance(real.features, other.features, seed=settings.seed)
        values |= {"kid": kid, "fid": frechet_distance(real.features, other.features)}
        if not math.isnan(spread):
            values["kid_spread"] = spread
    if real.strokes and other.strokes:
        values |= stroke_distances(real.strokes, other.strokes)
    return values


def _square(picture: Rgb, side: int) -> Rgb:
    """Scale the middle square to ``side`` pixels."""
    return resize(center_crop(picture, min(picture.shape[:2])), side, side)
