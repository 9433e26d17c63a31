"""Statistics of a style to match: Gram matrices, moments, or whole feature distributions.

A statistic measures features, mixes the measurements of several pictures, and computes the distance
of features from a mix. A mix always equals the measurement of one picture that shows each style on
its share of the area: Gram matrices and raw moments are averaged, distributions are pooled. That
holds for two styles with weights and for the pictures of a whole collection (Zhu et al. 2017,
section 5.2, average Gram matrices over a collection).

Distances do not depend on the size of a picture. To make layers and networks comparable, a distance
can be divided by the energy of its target, which is the target's distance from features that are
all 0.

:class:`Patches` needs no network, and still reproduces strokes and palette: the sliced Wasserstein
distance of small patches (Elnekave and Weiss 2022, "Generating natural images with direct patch
distributions matching"). All patches of a picture, projected on a random filter, are a distribution
of numbers, and the distance between two of them is found by sorting. A convolution projects all
patches at once.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol, TypeVar

import torch
from torch import Tensor
from torch.nn import functional

from impasto.gatys.features.smoothing import full_precision
from impasto.gatys.losses.functional import (
    Moments,
    gram_loss,
    gram_matrix,
    moments,
    position_weights,
    without_autocast,
)
from impasto.gatys.losses.transport import (
    Normal,
    mixed_quantiles,
    quantiles,
    quantiles_of,
    sliced_wasserstein_loss,
    transport_cost,
    unit_directions,
    wasserstein_loss,
)

__all__ = [
    "Gaussian",
    "Gram",
    "MeanCovariance",
    "PatchDistributions",
    "Patches",
    "Projections",
    "ResampledSliced",
    "Sliced",
    "Statistic",
    "shares_of",
]


T = TypeVar("T")

# What may be divided by.
_LEAST_SQUARE = 1e-12


class Statistic(Protocol[T]):
    """A statistic of features that characterizes a style. Features are (1, C, H, W).

    A statistic whose distance depends on random numbers that are drawn anew each time also has an
    attribute ``is_random``, which is True.
    """

    def measure(self, features: Tensor, mask: Tensor | None = None) -> T:
        """Return the measurement of a style picture, weighted by ``mask``, (1, 1, H, W)."""
        ...

    def mix(self, measured: Sequence[T], weights: Sequence[float]) -> T:
        """Return the measurement of a mix of styles; weights need not add up to 1."""
        ...

    def distance(self, features: Tensor, target: T, mask: Tensor | None = None) -> Tensor:
        """Return the distance of features from a target, weighted by ``mask``; a scalar >= 0."""
        ...

    def energy(self, target: T) -> Tensor:
        """Return the distance of a target from features that are all 0, a scalar."""
        ...


def shares_of(weights: Sequence[float]) -> list[float]:
    """Return weights divided by their sum.

    Raises:
        ValueError: there are no weights, one is negative or not finite, or all are 0.
    """
    total = sum(weights)
    if not weights or min(weights) < 0 or not 0 < total < float("inf"):
        raise ValueError(f"weights: expected at least 0, and one more than 0, got {list(weights)}")
    return [weight / total for weight in weights]


class Gram:
    """Gram matrices and their loss E_l (Gatys et al. 2016, equations 3 and 4)."""

    def measure(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the Gram matrix, (1, C, C)."""
        return gram_matrix(features, mask)

    def mix(self, measured: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """Return the average Gram matrix."""
        return _average(measured, shares_of(weights))

    def distance(self, features: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the loss E_l."""
        return self.compare(gram_matrix(features, mask), target)

    def compare(self, measured: Tensor, target: Tensor) -> Tensor:
        """Return the loss E_l of a Gram matrix that is measured already."""
        return gram_loss(measured, target)

    def energy(self, target: Tensor) -> Tensor:
        """Return E_l of a Gram matrix of zeros."""
        return gram_loss(torch.zeros_like(target), target)


@dataclass(frozen=True, kw_only=True)
class Gaussian:
    """Mean and covariance, compared as normal distributions (Wasserstein-2, per channel).

    Attributes:
        epsilon: value added to the diagonals of covariances, in squared units of the features.
        iterations: number of Newton-Schulz iterations for the matrix square root; None: exact, by
            eigenvalues. The exact root is meant for float64: where a layer has more channels than
            positions, its gradient follows the rounding errors of float32 covariances, and on a GPU
            it is slow and synchronizes with the device.
    """

    epsilon: float = 1e-4
    iterations: int | None = 12

    def measure(self, features: Tensor, mask: Tensor | None = None) -> Normal:
        """Return the moments as a target."""
        return Normal(moments=moments(features, mask), epsilon=self.epsilon)

    def mix(self, measured: Sequence[Normal], weights: Sequence[float]) -> Normal:
        """Return the average of means and of raw second moments.

        Covariances must not be averaged: differences between the styles' means add to the
        covariance of the mix.
        """
        mixed = _average_moments([part.moments for part in measured], shares_of(weights))
        return Normal(moments=mixed, epsilon=self.epsilon)

    def distance(self, features: Tensor, target: Normal, mask: Tensor | None = None) -> Tensor:
        """Return the squared distance per channel."""
        return self.compare(self.measure(features, mask), target)

    def compare(self, measured: Normal, target: Normal) -> Tensor:
        """Return the squared distance per channel of what is measured already."""
        return wasserstein_loss(measured.moments, target, iterations=self.iterations)

    def energy(self, target: Normal) -> Tensor:
        """Return the distance from a point mass at 0 (except for the ridge): the mean square."""
        return target.moments.second.diagonal(dim1=1, dim2=2).mean()


@dataclass(frozen=True, kw_only=True)
class MeanCovariance:
    """Mean and covariance, each compared relative to the target's own.

    No matrix root is taken, as :class:`Gaussian` does, so that it costs as little as Gram matrices.
    Departure: Gram matrices hold products of means in each of their entries; here means and
        covariances count the same, whatever the network.

    Attributes:
        least: least size of a target's covariance, as a share of that of its squared means: a
            uniform picture would divide by next to nothing.
    """

    least: float = 1e-2

    def measure(self, features: Tensor, mask: Tensor | None = None) -> Moments:
        """Return mean and raw second moment."""
        return moments(features, mask)

    def mix(self, measured: Sequence[Moments], weights: Sequence[float]) -> Moments:
        """Return the average of means and of raw second moments, as :class:`Gaussian` does."""
        return _average_moments(measured, shares_of(weights))

    def distance(self, features: Tensor, target: Moments, mask: Tensor | None = None) -> Tensor:
        """Return |m - m_t|^2 / |m_t|^2 + |C - C_t|^2 / |C_t|^2 in the norm of Frobenius."""
        return self.compare(moments(features, mask), target)

    def compare(self, measured: Moments, target: Moments) -> Tensor:
        """Return the distance of moments that are measured already."""
        means, covariances = target.mean.square().sum(), target.covariance.square().sum()
        covariances = covariances.maximum((self.least * means).square()).clamp_min(_LEAST_SQUARE)
        far = (measured.mean - target.mean).square().sum() / means.clamp_min(_LEAST_SQUARE)
        return far + (measured.covariance - target.covariance).square().sum() / covariances

    def energy(self, target: Moments) -> Tensor:
        """Return 2, the distance from features that are all 0."""
        return target.mean.new_tensor(2.0)


@dataclass(frozen=True, kw_only=True)
class Projections:
    """The projections of a feature distribution on directions.

    Attributes:
        directions: unit vectors, (D, C).
        quantiles: evenly spaced quantiles of each projection, (1, D, K).
    """

    directions: Tensor
    quantiles: Tensor


@dataclass(frozen=True, kw_only=True)
class Sliced:
    """Sliced Wasserstein distance along fixed random directions (Heitz et al. 2021); deterministic.

    Attributes:
        seed: seed of the directions. A different seed for each scale gives each scale different
            directions.
        directions: number of directions; None: as many as channels, as in the paper.
        quantiles: maximum number of quantiles kept of a style picture per direction.
    """

    seed: int = 0
    directions: int | None = None
    quantiles: int = 2**14

    def measure(self, features: Tensor, mask: Tensor | None = None) -> Projections:
        """Return quantiles along directions that depend only on the seed and the channel count."""
        channels = features.shape[1]
        generator = torch.Generator().manual_seed(self.seed)
        drawn = unit_directions(self.directions or channels, channels, generator=generator)
        directions = drawn.to(features.device)
        count = min(features.shape[2] * features.shape[3], self.quantiles)
        return Projections(
            directions=directions, quantiles=quantiles(features, directions, count, mask)
        )

    def mix(self, measured: Sequence[Projections], weights: Sequence[float]) -> Projections:
        """Return the quantiles of the pooled distributions.

        A weighted sum of distances would instead have the gradient of the distance from averaged
        quantiles, which describe an intermediate style that none of the pictures has.
        """
        parts = [part.quantiles for part in measured]
        mixed = mixed_quantiles(parts, shares_of(weights))
        return Projections(directions=measured[0].directions, quantiles=mixed)

    def distance(self, features: Tensor, target: Projections, mask: Tensor | None = None) -> Tensor:
        """Return the mean squared distance between quantiles."""
        return sliced_wasserstein_loss(features, target.quantiles, target.directions, mask)

    def energy(self, target: Projections) -> Tensor:
        """Return the mean square of the quantiles."""
        return target.quantiles.square().mean()


@dataclass(frozen=True, kw_only=True)
class ResampledSliced:
    """Like :class:`Sliced`, but with new directions in each evaluation, as in the paper.

    For Adam, which averages over evaluations. L-BFGS would mistake the change of directions for
    curvature: use :class:`Sliced` with it.

    Attributes:
        generator: random generator of the directions, and of the positions that are kept.
        directions: number of directions; None: as many as channels.
        positions: maximum number of positions kept of a style picture.
        is_random: True, as the distance depends on the directions.
    """

    is_random: ClassVar[bool] = True

    generator: torch.Generator
    directions: int | None = None
    positions: int = 2**14

    def measure(self, features: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return feature vectors, (1, C, K, 1), all of equal weight.

        With a mask, or more than ``positions`` vectors, they are drawn at random.
        """
        flat = full_precision(features.flatten(2))
        weights = position_weights(features, mask)
        count = flat.shape[2]
        if weights is not None:
            return self._drawn(flat, weights.flatten(), min(count, self.positions))
        if count > self.positions:
            return self._drawn(flat, flat.new_ones(count), self.positions)
        return flat.unsqueeze(3)

    def mix(self, measured: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
        """Return feature vectors of all styles, drawn in proportion to the shares of the styles."""
        shares = shares_of(weights)
        if len(measured) == 1:
            return measured[0]
        flat = torch.cat([part.flatten(2) for part in measured], dim=2)
        chances = torch.cat(
            [
                torch.full((part.shape[2],), share / part.shape[2], device=flat.device)
                for part, share in zip(measured, shares, strict=True)
            ]
        )
        return self._drawn(flat, chances, max(part.shape[2] for part in measured))

    def distance(self, features: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the mean squared distance between quantiles along new directions."""
        channels = features.shape[1]
        drawn = unit_directions(self.directions or channels, channels, generator=self.generator)
        directions = drawn.to(features.device, non_blocking=True)
        wanted = quantiles(target, directions, target.shape[2])
        return sliced_wasserstein_loss(features, wanted, directions, mask)

    def energy(self, target: Tensor) -> Tensor:
        """Return the mean square of the features, which equals the mean over all directions."""
        return target.square().mean()

    def _drawn(self, flat: Tensor, chances: Tensor, count: int) -> Tensor:
        """Return ``count`` positions of (1, C, M), each drawn by its chance, (1, C, count, 1)."""
        # Evenly spaced ranks with one random shift: each position comes as often as it should, but
        # for less than one time. On the CPU, which has float64.
        ranks = chances.cpu().double().cumsum(dim=0)
        shift = torch.rand(1, generator=self.generator, device=self.generator.device).to(ranks)
        wanted = (torch.arange(count) + shift) / count * ranks[-1]
        places = torch.searchsorted(ranks, wanted).clamp_max(flat.shape[2] - 1)
        return flat[:, :, places.to(flat.device)].unsqueeze(3)


def _average(parts: Sequence[Tensor], shares: Sequence[float]) -> Tensor:
    total = torch.zeros_like(parts[0])
    for part, share in zip(parts, shares, strict=True):
        total = total + share * part
    return total


def _average_moments(parts: Sequence[Moments], shares: Sequence[float]) -> Moments:
    return Moments(
        mean=_average([part.mean for part in parts], shares),
        second=_average([part.second for part in parts], shares),
    )


# Filters that a picture is projected on at once when it is measured: bounds the memory.
_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class PatchDistributions:
    """The distributions of a style's patches, projected on filters.

    Attributes:
        filters: filters of unit norm, (D, C, P, P).
        quantiles: evenly spaced quantiles of each projection, (1, D, K).
    """

    filters: Tensor
    quantiles: Tensor


class Patches:
    """Patch distributions along random filters, drawn anew from a stock in each evaluation.

    For Adam, which averages over evaluations. The distance is the mean absolute one (the authors'
    program does the same): with squares, a few distant patches would blur all others.

    Departure: the paper draws new filters each time. With a stock, the projections of a style are
        sorted only once, regardless of the number of its pictures.

    Args:
        side: side of the square patches, in pixels, odd.
        filters: number of filters used in one evaluation.
        stock: number of filters in the whole stock.
        quantiles: maximum number of quantiles kept of a style picture per filter.
        positions: about as many patches, and up to four times as many, are compared in each
            evaluation, on a grid of at most ``side`` pixels that is shifted at random; None: all.
        seed: seed of the stock, and of the filters and grids chosen in each evaluation.

    Attributes:
        is_random: whether the distance depends on which filters are chosen.
    """

    def __init__(
        self,
        *,
        side: int = 5,
        filters: int = 64,
        stock: int = 512,
        quantiles: int = 2**14,
        positions: int | None = None,
        seed: int = 0,
    ) -> None:
        if side < 1 or side % 2 == 0:
            raise ValueError(f"side: expected an odd number of pixels, got {side}")
        if not 1 <= filters <= stock:
            raise ValueError(f"filters: expected 1 to {stock}, the stock, got {filters}")
        self._side, self._filters, self._stock = side, filters, stock
        if positions is not None and positions < 1:
            raise ValueError(f"positions: expected at least 1, or None, got {positions}")
        self._quantiles, self._positions, self._seed = quantiles, positions, seed
        self.is_random = filters < stock or positions is not None
        self._generator = torch.Generator().manual_seed(seed)

    def measure(self, features: Tensor, mask: Tensor | None = None) -> PatchDistributions:
        """Return the distributions of a style picture along the whole stock."""
        generator = torch.Generator().manual_seed(self._seed)
        shape = (self._stock, features.shape[1], self._side, self._side)
        drawn = torch.randn(shape, generator=generator)
        filters = (drawn / drawn.flatten(1).norm(dim=1).view(-1, 1, 1, 1)).to(features.device)
        grid = self._grid(features, mask)
        weights = grid.weights(features, mask)
        count = min(grid.count(features), self._quantiles)
        parts = [
            quantiles_of(self._projected(features, some, grid), count, weights)
            for some in filters.split(_AT_ONCE)
        ]
        return PatchDistributions(filters=filters, quantiles=torch.cat(parts, dim=1))

    def mix(
        self, measured: Sequence[PatchDistributions], weights: Sequence[float]
    ) -> PatchDistributions:
        """Return the distributions of the patches of all styles together."""
        parts = [part.quantiles for part in measured]
        mixed = mixed_quantiles(parts, shares_of(weights))
        return PatchDistributions(filters=measured[0].filters, quantiles=mixed)

    def distance(
        self, features: Tensor, target: PatchDistributions, mask: Tensor | None = None
    ) -> Tensor:
        """Return the mean absolute distance between quantiles along some filters of the stock.

        Without gradients, as the loss of a result is measured, it is that along the whole stock.
        """
        if not torch.is_grad_enabled():
            return self._whole_distance(features, target, mask)
        taken = torch.randperm(self._stock, generator=self._generator)[: self._filters]
        taken = taken.to(features.device, non_blocking=True)
        grid = self._grid(features, mask)
        if grid.step > 1:
            top, left = torch.randint(grid.step, (2,), generator=self._generator).tolist()
            grid = replace(grid, top=top, left=left)
        values = self._projected(features, target.filters[taken], grid)
        weights = grid.weights(features, mask)
        return transport_cost(values, target.quantiles[:, taken], weights, cost=torch.abs)

    def _whole_distance(
        self, features: Tensor, target: PatchDistributions, mask: Tensor | None
    ) -> Tensor:
        grid = self._grid(features, mask)
        weights = grid.weights(features, mask)
        total = features.new_zeros((), dtype=torch.float32)
        for first in range(0, self._stock, _AT_ONCE):
            filters = target.filters[first : first + _AT_ONCE]
            wanted = target.quantiles[:, first : first + _AT_ONCE]
            values = self._projected(features, filters, grid)
            cost = transport_cost(values, wanted, weights, cost=torch.abs)
            total = total + cost * (len(filters) / self._stock)
        return total

    def energy(self, target: PatchDistributions) -> Tensor:
        """Return the mean absolute value of the quantiles."""
        return target.quantiles.abs().mean()

    def _grid(self, features: Tensor, mask: Tensor | None) -> "_Grid":
        if self._positions is None:
            return _Grid()
        area = features.shape[2] * features.shape[3]
        if mask is not None:  # a small region is not to fall between the positions
            area = int(mask.sum())
        step = math.isqrt(area // self._positions)
        return _Grid(step=max(1, min(step, self._side)))

    def _projected(self, features: Tensor, filters: Tensor, grid: "_Grid") -> Tensor:
        """Return a number for each position of a grid and each filter, (1, D, M).

        The picture is continued by its edge pixels, or patches would see edges too seldom.
        """
        margin = self._side // 2
        wide = functional.pad(full_precision(features), (margin,) * 4, mode="replicate")
        with without_autocast(wide):
            shifted = wide[..., grid.top :, grid.left :]
            return functional.conv2d(shifted, filters.to(wide.dtype), stride=grid.step).flatten(2)


@dataclass(frozen=True, kw_only=True)
class _Grid:
    """Positions of a picture, every ``step`` pixels from (``top``, ``left``)."""

    step: int = 1
    top: int = 0
    left: int = 0

    def count(self, features: Tensor) -> int:
        """Return the number of positions that features, (1, C, H, W), have on the grid."""
        height, width = features.shape[-2:]
        rows, columns = range(self.top, height, self.step), range(self.left, width, self.step)
        return len(rows) * len(columns)

    def weights(self, features: Tensor, mask: Tensor | None) -> Tensor | None:
        """Return the weights of the positions, (1, 1, M), adding up to 1; None: all the same."""
        rows, columns = slice(self.top, None, self.step), slice(self.left, None, self.step)
        shown = None if mask is None else mask[..., rows, columns]
        return position_weights(features[..., rows, columns], shown)
