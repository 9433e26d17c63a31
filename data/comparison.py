"""Comparing a set of pictures with the true ones, by all measures at once."""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from impasto.data.measures import (
    color_distance,
    edge_correlation,
    mean_absolute_error,
    palette_distance,
    psnr,
    ssim,
)

__all__ = ["Comparison", "compare"]

Rgb = NDArray[np.uint8]
Pictures = Mapping[str, Rgb]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Means over all pairs of pictures; ``palette_distance`` is of the sets as wholes.

    Attributes:
        mean_absolute_error: 0 to 255, lower is better.
        color_distance: CIEDE2000, lower is better.
        palette_distance: L*a*b* units, lower is better.
        psnr: dB, higher is better.
        ssim: up to 1, higher is better.
        edge_correlation: up to 1, higher is better.
    """

    mean_absolute_error: float
    color_distance: float
    palette_distance: float
    psnr: float
    ssim: float
    edge_correlation: float

    def as_dict(self) -> dict[str, float]:
        """Return the measures by name."""
        return asdict(self)


def compare(results: Pictures, truth: Pictures, *, seed: int = 0) -> Comparison:
    """Compare pictures with the true ones of the same names.

    Args:
        results: RGB, (H, W, 3), uint8, by name.
        truth: pictures of the same sizes, by the same names.
        seed: draws the directions of the palette distance.

    Raises:
        ValueError: the names differ, or there are none.
    """
    if not results or results.keys() != truth.keys():
        raise ValueError(
            f"expected the same names on both sides, got {len(results)} and {len(truth)} pictures"
        )
    pairs = [(results[name], truth[name]) for name in sorted(truth)]
    clouds = [
        np.concatenate([side.reshape(-1, 1, 3) for side in sides])
        for sides in zip(*pairs, strict=True)
    ]

    def mean(measure: Callable[[Rgb, Rgb], float]) -> float:
        return float(np.mean([measure(one, other) for one, other in pairs]))

    return Comparison(
        mean_absolute_error=mean(mean_absolute_error),
        color_distance=mean(color_distance),
        palette_distance=palette_distance(clouds[0], clouds[1], np.random.default_rng(seed)),
        psnr=mean(psnr),
        ssim=mean(ssim),
        edge_correlation=mean(edge_correlation),
    )
