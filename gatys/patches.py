"""Small patches of a picture as a style: no network, and yet strokes and palette.

Sliced Wasserstein distance of patches (Elnekave and Weiss 2022, "Generating natural images with
direct patch distributions matching"): all patches of a picture, projected on a random filter, are a
distribution of numbers, and sorting tells how far two of them are apart. A convolution projects
all patches at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from impasto.gatys.losses import full_precision, position_weights, without_autocast
from impasto.gatys.statistics import shares_of
from impasto.gatys.transport import mixed_quantiles, quantiles_of, transport_cost

__all__ = ["PatchDistributions", "Patches"]

# Filters that a picture is projected on at once when it is measured: bounds the memory.
_AT_ONCE = 64


@dataclass(frozen=True, kw_only=True)
class PatchDistributions:
    """How the patches of a style are distributed along filters.

    Attributes:
        filters: of length 1, (D, C, P, P).
        quantiles: evenly spaced, (1, D, K).
    """

    filters: Tensor
    quantiles: Tensor


class Patches:
    """Distributions of patches along random filters, some new ones of a stock in each evaluation.

    For Adam, which averages over evaluations. The distance is the mean absolute one (the authors'
    program does the same): with squares, few patches that are far off would blur all others.

    Departure: the paper draws filters anew each time. A stock lets what a style shows along them
    be sorted once, whatever the number of its pictures.

    Args:
        side: of the patches, in pixels, odd.
        filters: in one evaluation.
        stock: of filters in all.
        quantiles: the most that are kept of a style picture per filter.
        seed: of the stock, and of what is taken from it.
    """

    def __init__(
        self,
        *,
        side: int = 5,
        filters: int = 64,
        stock: int = 512,
        quantiles: int = 2**14,
        seed: int = 0,
    ) -> None:
        if side < 1 or side % 2 == 0:
            raise ValueError(f"side: expected an odd number of pixels, got {side}")
        if not 1 <= filters <= stock:
            raise ValueError(f"filters: expected 1 to {stock}, the stock, got {filters}")
        self._side, self._filters, self._stock = side, filters, stock
        self._quantiles, self._seed = quantiles, seed
        self._generator = torch.Generator().manual_seed(seed)

    def measure(self, features: Tensor, mask: Tensor | None = None) -> PatchDistributions:
        """Return the distributions of a style picture along the whole stock."""
        generator = torch.Generator().manual_seed(self._seed)
        shape = (self._stock, features.shape[1], self._side, self._side)
        drawn = torch.randn(shape, generator=generator)
        filters = (drawn / drawn.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).to(features.device)
        weights = position_weights(features, mask)
        count = min(features.shape[2] * features.shape[3], self._quantiles)
        parts = [
            quantiles_of(self._projected(features, some), count, weights)
            for some in filters.split(_AT_ONCE)
        ]
        return PatchDistributions(filters=filters, quantiles=torch.cat(parts, dim=1))

    def mix(
        self, measured: Sequence[PatchDistributions], weights: Sequence[float]
    ) -> PatchDistributions:
        """Return the distributions of the patches of all styles together."""
        parts = [one.quantiles for one in measured]
        mixed = mixed_quantiles(parts, shares_of(weights))
        return PatchDistributions(filters=measured[0].filters, quantiles=mixed)

    def distance(
        self, features: Tensor, target: PatchDistributions, mask: Tensor | None = None
    ) -> Tensor:
        """Return the mean absolute distance of quantiles along some filters of the stock."""
        taken = torch.randperm(self._stock, generator=self._generator)[: self._filters]
        taken = taken.to(features.device, non_blocking=True)
        values = self._projected(features, target.filters[taken])
        weights = position_weights(features, mask)
        return transport_cost(values, target.quantiles[:, taken], weights, cost=torch.abs)

    def energy(self, target: PatchDistributions) -> Tensor:
        """Return the mean absolute value of the quantiles."""
        return target.quantiles.abs().mean()

    def _projected(self, features: Tensor, filters: Tensor) -> Tensor:
        """Return a number for each position and filter, (1, D, H * W).

        The picture is continued by its edge pixels, or patches would see edges too seldom.
        """
        margin = self._side // 2
        wide = functional.pad(full_precision(features), (margin,) * 4, mode="replicate")
        with without_autocast(wide):
            return functional.conv2d(wide, filters.to(wide.dtype)).flatten(2)
