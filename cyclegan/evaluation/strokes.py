"""A distance between sets of pictures that sees brush strokes, as a multiple of its floor.

Measures of color and of small patches call a generator finished that adds grain of the right
spectrum to a photograph. Here EfficientNet-Lite0 looks at crops of 128 pixels, at four depths, and
each crop becomes the means and standard deviations of each depth's channels: which textures there
are, how strong, and how evenly spread, wherever in the crop they lie. Sets of crops are compared by
the kernel distance of KID (Binkowski et al. 2018), depth by depth, and each distance is divided by
that of other real pictures, so that depths of different scales count alike.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from impasto.data.decode import Rgb
from impasto.gatys.features.lite import find_lite_weights, load_lite

__all__ = [
    "StrokeFeatures",
    "crop_distance",
    "make_stroke_features",
    "stroke_distances",
    "times_floor",
]

_BLOCKS = (1, 3, 5, 7)
_CROP_PX = 128
# Crops in each of the two samples whose expected distance is computed.
_SAMPLE = 100
# Rows of the kernel's matrix at a time: sets of thousands of pictures fit into memory.
_ROWS = 1024


class StrokeFeatures:
    """Turns a square picture into the statistics of its crops, at four depths.

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
