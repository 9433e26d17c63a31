"""Distances between two sets of pictures (patches, colors, features), and grid artifacts.

A set is summarized once, picture by picture, and summaries are compared. KID, FID, precision and
recall of two sets of features are computed by torch-fidelity.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from impasto.data.decode import Rgb
from impasto.data.metrics.paired import palette_distance
from impasto.data.metrics.spectrum import GridPeaks
from impasto.data.metrics.swd import PatchSampler, patch_distance
from impasto.data.transforms import center_crop, resize
from impasto.gatys.features.lite import find_lite_weights, load_lite
from impasto.options.errors import ImpastoError

__all__ = [
    "FEWEST_FOR_PRECISION",
    "Extractor",
    "PictureSet",
    "Settings",
    "StrokeFeatures",
    "compare_sets",
    "crop_distance",
    "fidelity",
    "frechet_distance",
    "kernel_distance",
    "make_stroke_features",
    "precision_and_recall",
    "square",
    "stroke_distances",
    "summarize",
    "times_floor",
]

FEWEST_FOR_PRECISION = 4
"""Pictures that a set needs for precision and recall: one, and its three nearest neighbors."""

_NEIGHBORS = FEWEST_FOR_PRECISION - 1  # Kynkaanniemi et al. 2019, section 3
_SUBSETS = 100
_SUBSET_SIZE = 1000  # Binkowski et al. 2018, section 4; smaller sets are compared as a whole
_FEWEST_FOR_SPREAD = 4


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
        ImpastoError: torch-fidelity is not installed.
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
        ImpastoError: torch-fidelity is not installed.
        ValueError: a set has fewer than two pictures.
    """
    _check(real, other)
    found = fidelity("metric_fid")
    sides = [real.double(), other.double()]
    together = torch.cat(sides)
    if not together.isfinite().all():
        return math.nan
    if len(together) < real.shape[1]:
        # All pictures lie in a space of as many dimensions as there are pictures, and a turn of
        # the axes changes no distance: matrices of 60 instead of 2,048 rows.
        axes = torch.linalg.qr(together.T).Q
        sides = [side @ axes for side in sides]
    statistics = [found.fid_features_to_statistics(side) for side in sides]
    return float(found.fid_statistics_to_metric(*statistics, False)[found.KEY_METRIC_FID])


def precision_and_recall(real: Tensor, other: Tensor) -> tuple[float, float]:
    """Compute improved precision and recall (Kynkaanniemi et al. 2019, eq. 1 and 2).

    Args:
        real: features of the real pictures, (N, D), floating point.
        other: features of the other pictures, (M, D), floating point.

    Returns:
        The share of the other pictures that are at most as far from one of the real pictures as
        that one's third nearest neighbor among the real ones, and the share of the real pictures of
        which the same is true with the two sets exchanged. Not a number where a feature is none.

    Raises:
        ImpastoError: torch-fidelity is not installed.
        ValueError: a set has fewer than four pictures.
    """
    _check(real, other, fewest=FEWEST_FOR_PRECISION)
    found = fidelity("metric_prc")
    if not (real.isfinite().all() and other.isfinite().all()):
        return math.nan, math.nan
    # In 64 bits, so that a picture is at distance 0 from itself.
    values = found.prc_features_to_metric(
        other.double(), real.double(), prc_neighborhood=_NEIGHBORS, verbose=False
    )
    return float(values[found.KEY_METRIC_PRECISION]), float(values[found.KEY_METRIC_RECALL])


def fidelity(name: str) -> ModuleType:
    """Import a module of torch-fidelity, such as ``metric_kid``.

    Raises:
        ImpastoError: torch-fidelity is not installed, or an earlier version; says what to install.
    """
    try:
        return import_module(f"torch_fidelity.{name}")
    except ImportError as error:
        raise ImpastoError(
            "KID, FID, precision and recall are computed by torch-fidelity, which is not "
            'installed; run: pip install "torch-fidelity>=0.4"'
        ) from error


def _kernel_distances(
    real: Tensor, other: Tensor, subset_size: int, seed: int
) -> tuple[float, float]:
    """Return mean and standard deviation over subsets."""
    found = fidelity("metric_kid")
    # Where a subset is all there is, all subsets are one.
    subsets = 1 if subset_size == len(real) == len(other) else _SUBSETS
    values = found.kid_features_to_metric(
        real.double(),
        other.double(),
        kid_subsets=subsets,
        kid_subset_size=subset_size,
        rng_seed=seed,
        verbose=False,
    )
    return float(values[found.KEY_METRIC_KID_MEAN]), float(values[found.KEY_METRIC_KID_STD])


def _check(real: Tensor, other: Tensor, *, fewest: int = 2) -> None:
    if real.ndim != 2 or other.ndim != 2 or real.shape[1] != other.shape[1]:
        raise ValueError(
            f"expected features (N, D) and (M, D), got {tuple(real.shape)}, {tuple(other.shape)}"
        )
    if min(len(real), len(other)) < fewest:
        number = {2: "two", FEWEST_FOR_PRECISION: "four"}[fewest]
        raise ValueError(f"expected {number} pictures or more, got {len(real)} and {len(other)}")


_PALETTE_PIXELS = 2**20
_BATCH = 8  # pictures that a network sees together


_BLOCKS = (1, 3, 5, 7)
_CROP_PX = 128
# Crops in each of the two samples whose expected distance is computed.
_SAMPLE = 100
# Rows of the kernel's matrix at a time: sets of thousands of pictures fit into memory.
_ROWS = 1024


class StrokeFeatures:
    """Turns a square picture into the statistics of its crops, at four depths.

    Measures of color and of small patches call a generator finished that adds grain of the right
    spectrum to a photograph. Here each crop becomes the means and standard deviations of what
    EfficientNet-Lite0 sees: which textures there are, how strong, and how evenly spread.

    Args:
        network: EfficientNet-Lite0 with the layers ``block1.expand``, ``block3.expand``,
            ``block5.expand`` and ``block7.expand``; it is moved to the device.
        device: device that computes.
    """

    def __init__(self, network: nn.Module, *, device: torch.device) -> None:
        self._network, self._device = network.to(device), device
        self._layers = {f"strokes_{block}": f"block{block}.expand" for block in _BLOCKS}

    @torch.inference_mode()
    def __call__(self, square: Rgb) -> dict[str, Tensor]:
        """Return the statistics of all crops of a picture that do not overlap.

        Args:
            square: RGB, (S, S, 3), uint8, S at least 16.

        Returns:
            For each depth, by name (``strokes_1``, ...): (crops, 2 C), float64, on the CPU; the
            means of the C channels over the positions of a crop, then their standard deviations.
            Crops have sides of 128 pixels; a smaller picture is one crop.
        """
        image = torch.from_numpy(np.array(square)).permute(2, 0, 1).to(self._device)
        side = min(_CROP_PX, *square.shape[:2])
        crops = image.unfold(1, side, side).unfold(2, side, side)
        crops = crops.permute(1, 2, 0, 3, 4).flatten(0, 1).float() / 255
        maps = self._network(crops, list(self._layers.values()))
        return {name: _statistics(maps[layer]) for name, layer in self._layers.items()}


def make_stroke_features(device: torch.device) -> StrokeFeatures | None:
    """Make them with the installed EfficientNet-Lite0; None where that is not installed.

    Raises:
        CheckpointError: its file is damaged.
    """
    if find_lite_weights() is None:
        return None
    layers = [f"block{block}.expand" for block in _BLOCKS]
    return StrokeFeatures(load_lite(layers=layers), device=device)


def _statistics(features: Tensor) -> Tensor:
    flat = features.flatten(2).double()
    return torch.cat([flat.mean(2), flat.std(2, correction=0)], dim=1).cpu()


def crop_distance(real: Tensor, other: Tensor) -> float:
    """Return the expected kernel distance of 100 crops drawn from each set.

    With the kernel k(x, y) = (x.y / D + 1)^3 of Binkowski et al. 2018, section 4, the squared
    maximum mean discrepancy of two samples of m crops, drawn without replacement, is expected to be

        W(real) + W(other) - 2 mean k(x, y),  W(set) = mean k(x, x) / m + (1 - 1/m) mean k(x, x'),

    with m = 100, or the number of crops of the smaller set if it has fewer. Departure: KID leaves
    k(x, x) out, and so is about 0, of either sign, for pictures of one kind: nothing can be a
    multiple of it. This is never negative, and from 100 crops on the same for sets of any size.

    Args:
        real: statistics of the crops of all real pictures, (crops, D), float64.
        other: likewise.

    Returns:
        A squared distance, at least 0; NaN if a set has fewer than two crops.
    """
    sample = min(_SAMPLE, len(real), len(other))
    if sample < 2:
        return math.nan
    across = _total(real, other) / (len(real) * len(other))
    return _within(real, sample) + _within(other, sample) - 2 * across


def stroke_distances(
    real: Sequence[Mapping[str, Tensor]], other: Sequence[Mapping[str, Tensor]]
) -> dict[str, float]:
    """Return :func:`crop_distance` at each depth, by name.

    Args:
        real: what :class:`StrokeFeatures` says of each real picture, at least one.
        other: likewise.
    """
    return {
        name: crop_distance(*(torch.cat([each[name] for each in side]) for side in (real, other)))
        for name in real[0]
    }


def times_floor(distances: Mapping[str, float], floor: Mapping[str, float]) -> float:
    """Return the geometric mean over the depths of a distance divided by its floor.

    Args:
        distances: distances of a set from the real pictures, by depth.
        floor: those of other real pictures.

    Returns:
        1 at the floor; NaN where a distance or a floor is not above 0.
    """
    pairs = [(distances[name], floor[name]) for name in floor]
    if not all(above > 0 and below > 0 for above, below in pairs):
        return math.nan
    return math.exp(sum(math.log(above / below) for above, below in pairs) / len(pairs))


def _within(crops: Tensor, sample: int) -> float:
    itself = float(_kernel_of_each(crops).sum())
    apart = (_total(crops, crops) - itself) / (len(crops) * (len(crops) - 1))
    return itself / len(crops) / sample + (1 - 1 / sample) * apart


def _total(x: Tensor, y: Tensor) -> float:
    parts = [_kernel(x[first : first + _ROWS], y).sum() for first in range(0, len(x), _ROWS)]
    return float(torch.stack(parts).sum())


def _kernel_of_each(x: Tensor) -> Tensor:
    return (x.square().mean(dim=1) + 1) ** 3


def _kernel(x: Tensor, y: Tensor) -> Tensor:
    return (x @ y.T / x.shape[1] + 1) ** 3


class Extractor(Protocol):
    """Turns pictures into vectors, such as features of a network.

    Attributes:
        name: name of the network, its weights and the layer.
        short: one or two words for the headings of what is computed from the vectors, as in
            ``KID (lite)``; empty only for what published figures are computed from.
    """

    name: str
    short: str

    def __call__(self, pictures: list[Rgb], /) -> Tensor:
        """Return (N, D), float32, on the CPU, of RGB pictures, (H, W, 3), uint8, of one size."""
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
    batch: list[Rgb] = []
    for picture in pictures:
        batch.append(square(picture, settings.size_px))
        patches.add(batch[-1])
        colors.append(batch[-1].reshape(-1, 3)[::step].copy())
        grids.add(picture)
        enlarged += min(picture.shape[:2]) < settings.size_px
        if strokes is not None:
            crops.append(strokes(batch[-1]))
        if extractor is None or len(batch) == _BATCH:
            features += [extractor(batch)] if extractor is not None else []
            batch = []
    if batch and extractor is not None:
        features.append(extractor(batch))
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
        ``grid_2`` and ``grid_4`` (of ``other`` alone, in pictures from 64 px); with stroke features
        ``strokes_1`` to ``strokes_7``, the stroke distance at each depth; with features of two
        pictures or more in both sets ``kid`` and ``fid``; of four or more ``kid_spread``,
        ``precision`` and ``recall``, too.

    Raises:
        ImpastoError: there are features, and torch-fidelity is not installed.
    """
    generator = np.random.default_rng((settings.seed, 1))
    levels = patch_distance(real.patches, other.patches, generator)
    values = {"swd": float(np.mean(list(levels.values())))}
    values |= {f"swd_{px}": distance for px, distance in levels.items()}
    values["palette"] = palette_distance(real.colors, other.colors, generator)
    values |= {f"grid_{period}": peak for period, peak in other.grids.items()}
    if real.strokes and other.strokes:
        values |= stroke_distances(real.strokes, other.strokes)
    if real.features is None or other.features is None or min(real.count, other.count) < 2:
        return values
    kid, spread = kernel_distance(real.features, other.features, seed=settings.seed)
    values |= {"kid": kid, "fid": frechet_distance(real.features, other.features)}
    if not math.isnan(spread):
        values["kid_spread"] = spread
    if min(real.count, other.count) >= FEWEST_FOR_PRECISION:
        precision, recall = precision_and_recall(real.features, other.features)
        values |= {"precision": precision, "recall": recall}
    return values


def square(picture: Rgb, side: int) -> Rgb:
    """Scale the middle square of a picture, (H, W, 3), uint8, to ``side`` pixels."""
    return resize(center_crop(picture, min(picture.shape[:2])), side, side)
