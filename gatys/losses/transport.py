"""Optimal transport distances between distributions of features.

There are two, both squared 2-Wasserstein distances: between normal distributions, in closed form,
and between the distributions themselves, along directions. Both are normalized so that they do not
depend on the numbers of channels and positions.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from impasto.gatys.features.smoothing import full_precision
from impasto.gatys.losses.functional import (
    Moments,
    position_weights,
    without_autocast,
)
from impasto.runs.devices import where_complete

__all__ = [
    "Normal",
    "match_histograms",
    "mixed_quantiles",
    "quantiles",
    "quantiles_at",
    "quantiles_of",
    "sliced_wasserstein_loss",
    "sorted_rows",
    "symmetric_root",
    "trace_of_root",
    "transport_cost",
    "unit_directions",
    "wasserstein_loss",
]


@dataclass(frozen=True, kw_only=True)
class Normal:
    """A normal distribution as the target of :func:`wasserstein_loss`.

    Attributes:
        moments: moments of the distribution, (N, C) and (N, C, C).
        epsilon: value added to the diagonals of covariances, so that their roots have gradients.
    """

    moments: Moments
    epsilon: float = 1e-4

    def __post_init__(self) -> None:
        if self.epsilon <= 0:
            raise ValueError(f"epsilon: expected more than 0, got {self.epsilon}")

    @cached_property
    def covariance(self) -> Tensor:
        """The covariance with ``epsilon`` on its diagonal, (N, C, C)."""
        return _ridged(self.moments, self.epsilon)

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root of the covariance, in float64.

        Computed once, as targets do not change. It is on the processor if the device has no
        float64.
        """
        with without_autocast(self.covariance):
            return symmetric_root(_double(self.covariance))


def wasserstein_loss(present: Moments, target: Normal, *, iterations: int | None = None) -> Tensor:
    """Return the squared 2-Wasserstein distance between two normal distributions, per channel.

    ``|m - m_t|^2 + tr(S + S_t - 2 (S_t^1/2 S S_t^1/2)^1/2)`` (Dowson and Landau 1982, equation 4;
    for style transfer: Mroueh 2019), divided by the number of channels C.

    Args:
        present: moments of the optimized picture's features, (N, C) and (N, C, C).
        target: normal distribution of the style's features.
        iterations: number of Newton-Schulz iterations, see :func:`trace_of_root`; None: exact.
    """
    covariance = _ridged(present, target.epsilon)
    with without_autocast(covariance):
        if iterations is None:
            # Rounding of float32 (1e-7 of the largest) would drown the eigenvalues of the ridge.
            product = target.root @ _double(covariance) @ target.root
            # None is smaller than epsilon squared, but for rounding.
            cross = trace_of_root(product, smallest=target.epsilon**2).to(covariance.dtype)
            cross = cross.to(covariance.device)
        else:
            root = target.root.to(covariance.dtype).to(covariance.device)
            cross = trace_of_root(root @ covariance @ root, iterations=iterations)
    straight = (covariance + target.covariance).diagonal(dim1=1, dim2=2).sum(dim=1)
    means = (present.mean - target.moments.mean).square().sum(dim=1)
    return ((means + straight - 2 * cross) / present.mean.shape[1]).mean()


def trace_of_root(
    matrix: Tensor, *, iterations: int | None = None, smallest: float = 0.0
) -> Tensor:
    """Return the traces of the square roots of positive definite matrices, (N, C, C) -> (N,).

    The gradient is half the inverse root, without differences of eigenvalues, so it is finite where
    eigenvalues coincide.

    Args:
        matrix: positive definite matrices, (N, C, C), symmetric up to rounding, float32 or better.
        iterations: number of Newton-Schulz iterations (Higham 2008, equation 5.35). They consist of
            matrix products only, which are fast on GPUs and need no synchronization. Eigenvalues
            below ``(2/3)**(2 * iterations)`` of the matrix's norm come out too small: with 12
            iterations, 1/17000. More than 15 need float64, as rounding errors grow too. None:
            exact, by eigenvalues.
        smallest: lower bound to which eigenvalues are clamped; used with ``iterations=None``.
    """
    if iterations is None:
        whole = matrix.to(where_complete(matrix.device))
        trace: Tensor = _ExactTraceOfRoot.apply(whole, smallest).to(matrix.device)
    else:
        trace = _NewtonTraceOfRoot.apply(matrix, iterations)
    return trace


def symmetric_root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of positive semidefinite matrices, (N, C, C)."""
    values, vectors = torch.linalg.eigh(matrix.to(where_complete(matrix.device)))
    root: Tensor = (vectors * values.clamp_min(0).sqrt().unsqueeze(1)) @ vectors.transpose(1, 2)
    return root.to(matrix.device)


def unit_directions(count: int, channels: int, *, generator: torch.Generator) -> Tensor:
    """Return random directions, uniform on the sphere, (``count``, ``channels``), float32.

    Args:
        count: number of directions.
        channels: number of channels of the features.
        generator: random generator; the result is on its device.
    """
    directions = torch.randn(count, channels, generator=generator, device=generator.device)
    return functional.normalize(directions, dim=1)


def sliced_wasserstein_loss(
    features: Tensor, target: Tensor, directions: Tensor, mask: Tensor | None = None
) -> Tensor:
    """Return the squared 2-Wasserstein distance along directions, averaged over them.

    Heitz et al. 2021, equation 4, for any two sizes: each projected feature is compared with the
    target's quantile of the same rank.

    Args:
        features: features of a layer, (N, C, H, W).
        target: quantiles of the target along the same directions, (1, D, K), from
            :func:`quantiles`.
        directions: unit vectors, (D, C).
        mask: weight of each position, (1, 1, H, W), 0 to 1; all 1 unless given.

    Raises:
        ValueError: the mask has a different size than the features.
    """
    return transport_cost(
        _projected(features, directions), target, position_weights(features, mask)
    )


def transport_cost(
    values: Tensor,
    target: Tensor,
    weights: Tensor | None = None,
    *,
    cost: Callable[[Tensor], Tensor] = torch.square,
) -> Tensor:
    """Return the mean cost of moving values to target quantiles, each to the quantile of its rank.

    Args:
        values: values along D directions, (N, D, M).
        target: evenly spaced quantiles of the target, (1, D, K).
        weights: weights of the positions, (N, 1, M), adding up to 1; equal unless given.
        cost: function that gives the cost of each difference between two values.
    """
    values, order = sorted_rows(values)
    if weights is None:
        if target.shape[2] != values.shape[2]:
            # Both hold quantiles at (i + 1/2) / count: just how this reads between its samples.
            target = functional.interpolate(target, size=values.shape[2], mode="linear")
        return cost(values - target).mean()
    weights = weights.expand_as(values).gather(2, order)
    ranks = weights.cumsum(dim=2) - weights / 2
    return (weights * cost(values - quantiles_at(target, ranks))).sum(dim=2).mean()


def quantiles(
    features: Tensor, directions: Tensor, count: int, mask: Tensor | None = None
) -> Tensor:
    """Return ``count`` evenly spaced quantiles of projected features, (N, D, ``count``).

    Args:
        features: features of a layer, (N, C, H, W).
        directions: unit vectors, (D, C).
        count: number of quantiles; the number of positions keeps all values.
        mask: weight of each position, (1, 1, H, W), 0 to 1; all 1 unless given.

    Raises:
        ValueError: the mask has a different size than the features.
    """
    projected = _projected(features, directions)
    return quantiles_of(projected, count, position_weights(features, mask))


def quantiles_of(values: Tensor, count: int, weights: Tensor | None = None) -> Tensor:
    """Return ``count`` evenly spaced quantiles of numbers, (N, D, M) -> (N, D, ``count``).

    Args:
        values: values along D directions, (N, D, M).
        count: number of quantiles; M keeps all values.
        weights: weights of the positions, (N, 1, M); equal unless given.
    """
    if weights is None and count == values.shape[2]:
        return sorted_rows(values)[0]
    if weights is None:
        weights = values.new_full((1, 1, values.shape[2]), 1 / values.shape[2])
    return _weighted_quantiles(values, weights.expand_as(values), count)


def sorted_rows(values: Tensor) -> tuple[Tensor, Tensor]:
    """Return values sorted along the last dimension, and the index where each was; differentiable.

    Equal values stay in the order in which they were, as with ``torch.sort(stable=True)``. On the
    processor, float32 is sorted by NumPy as integers of 64 bits, which hold the value and its
    index: no two are equal, and NumPy sorts such integers by vector instructions. There is one
    order of them, regardless of the processor and the number of threads.

    Args:
        values: values of any shape with at least one dimension, and less than 2**31 in a row. Those
            that are not numbers come first or last.
    """
    if values.device.type != "cpu" or values.dtype != torch.float32 or not values.numel():
        ordered, order = values.sort(dim=-1, stable=True)
        return ordered, order
    sorted_values, order = _SortedRows.apply(values)
    return sorted_values, order


def mixed_quantiles(parts: list[Tensor], weights: list[float]) -> Tensor:
    """Return the quantiles of a mixture of distributions, as many as the longest part has.

    Args:
        parts: quantiles of each distribution, (1, D, K), along the same directions.
        weights: share of each distribution, adding up to 1.
    """
    if len(parts) == 1:
        return parts[0]
    shares = [
        torch.full_like(part, weight / part.shape[2])
        for part, weight in zip(parts, weights, strict=True)
    ]
    count = max(part.shape[2] for part in parts)
    return _weighted_quantiles(torch.cat(parts, dim=2), torch.cat(shares, dim=2), count)


def quantiles_at(even: Tensor, ranks: Tensor) -> Tensor:
    """Return evenly spaced quantiles, (1, D, K), read at ranks in (0, 1), (N, D, M)."""
    count = even.shape[2]
    place = (ranks * count - 0.5).clamp(0, count - 1)
    lower = place.floor().long()
    upper = (lower + 1).clamp_max(count - 1)
    even = even.expand(ranks.shape[0], -1, -1)
    return torch.lerp(even.gather(2, lower), even.gather(2, upper), place - lower)


def match_histograms(features: Tensor, quantiles: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return features matched, channel by channel, to the distributions that quantiles describe.

    Exact histogram specification (Coltuc, Bolon and Chassery 2006), with one rank for equal values:
    each value becomes that of the same rank. A content changed in this way needs no value more
    often than the style has it, so that content and style losses do not oppose each other.

    Args:
        features: features of the content, (1, C, H, W).
        quantiles: evenly spaced quantiles of each channel, (1, C, K).
        mask: mask of the region, (1, 1, H, W); where it is at most 1/2, values remain unchanged.
    """
    flat = features.flatten(2)
    inside = torch.ones_like(flat[0, 0], dtype=torch.bool)
    if mask is not None:
        inside = mask.flatten() > 0.5
    result = flat.clone()
    for channel in range(flat.shape[1]):
        values = full_precision(flat[0, channel, inside])
        if values.numel():
            ranks = _ranks(values).view(1, 1, -1)
            wanted = quantiles[:, channel : channel + 1].to(values.dtype)
            result[0, channel, inside] = quantiles_at(wanted, ranks).flatten().to(flat.dtype)
    return result.view_as(features)


# Numbers that are sorted at once: their integers stay in a processor's cache.
_SORTED_AT_ONCE = 2**16
_SIGNLESS = np.int32(0x7FFFFFFF)


class _SortedRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> tuple[Tensor, Tensor]:
        rows = values.detach().contiguous().view(-1, values.shape[-1]).numpy()
        ordered, order = np.empty_like(rows), np.empty(rows.shape, np.int64)
        count = max(1, _SORTED_AT_ONCE // max(1, rows.shape[1]))
        parts = [slice(first, first + count) for first in range(0, len(rows), count)]

        def sort(part: slice) -> None:
            _sort_rows(rows[part], ordered[part], order[part])

        threads = min(torch.get_num_threads(), len(parts))
        if threads > 1:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(sort, parts))
        else:
            for part in parts:
                sort(part)
        places = torch.from_numpy(order).view(values.shape)
        ctx.save_for_backward(places)
        ctx.mark_non_differentiable(places)
        return torch.from_numpy(ordered).view(values.shape), places

    @staticmethod
    def backward(ctx: Any, gradient: Tensor, _: Tensor) -> Tensor:
        (places,) = ctx.saved_tensors
        return torch.zeros_like(gradient).scatter(-1, places, gradient)


def _sort_rows(
    rows: NDArray[np.float32], ordered: NDArray[np.float32], order: NDArray[np.int64]
) -> None:
    """Sort each row into ``ordered``, and write into ``order`` where each value was."""
    bits = (rows + np.float32(0)).view(np.int32)  # -0 becomes 0, which it is equal to
    # As integers, positive numbers have their order, and negative ones the reverse of it.
    order[...] = bits ^ ((bits >> 31) & _SIGNLESS)
    order <<= 32
    order |= np.arange(rows.shape[1])
    order.sort(axis=1)
    bits = (order >> 32).astype(np.int32)
    ordered[...] = (bits ^ ((bits >> 31) & _SIGNLESS)).view(np.float32)
    order &= 0xFFFFFFFF


class _ExactTraceOfRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, smallest: float) -> Tensor:
        values, vectors = torch.linalg.eigh(matrix)
        floor = max(smallest, torch.finfo(values.dtype).tiny)
        roots = values.clamp_min(floor).sqrt()
        ctx.save_for_backward(roots, vectors)
        trace: Tensor = roots.sum(dim=1)
        return trace

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        roots, vectors = ctx.saved_tensors
        slopes = gradient.unsqueeze(1) / (2 * roots)
        return (vectors * slopes.unsqueeze(1)) @ vectors.transpose(1, 2), None


class _NewtonTraceOfRoot(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, matrix: Tensor, iterations: int) -> Tensor:
        # Frobenius' norm brings all eigenvalues into (0, 1], where the iteration converges.
        norm = matrix.flatten(1).norm(dim=1).clamp_min(torch.finfo(matrix.dtype).tiny)
        identity = torch.eye(matrix.shape[1], dtype=matrix.dtype, device=matrix.device)
        root, inverse = matrix / norm.view(-1, 1, 1), identity.expand_as(matrix)
        for _ in range(iterations):
            step = 1.5 * identity - 0.5 * (inverse @ root)
            root, inverse = root @ step, step @ inverse
        ctx.save_for_backward(inverse / norm.sqrt().view(-1, 1, 1))
        trace: Tensor = root.diagonal(dim1=1, dim2=2).sum(dim=1) * norm.sqrt()
        return trace

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        # The second result of the iteration is the inverse root: the gradient costs nothing.
        (inverse,) = ctx.saved_tensors
        symmetric = (inverse + inverse.transpose(1, 2)) / 4
        return gradient.view(-1, 1, 1) * symmetric, None


def _ridged(given: Moments, epsilon: float) -> Tensor:
    covariance = given.covariance
    return covariance + epsilon * torch.eye(
        covariance.shape[1], dtype=covariance.dtype, device=covariance.device
    )


def _double(matrix: Tensor) -> Tensor:
    """Return the matrix in float64, on the processor if its device has none."""
    return matrix.to(where_complete(matrix.device)).double()


def _projected(features: Tensor, directions: Tensor) -> Tensor:
    """Return features along directions, (N, D, M), float32 or better."""
    flat = full_precision(features.flatten(2))
    with without_autocast(flat):
        return directions.to(flat.device, flat.dtype) @ flat


def _weighted_quantiles(values: Tensor, weights: Tensor, count: int) -> Tensor:
    """Return evenly spaced quantiles, (N, D, ``count``), of weighted values, both (N, D, M).

    Each is one of the values: nothing is read between them, as one without weight might lie there.
    """
    values, order = sorted_rows(values)
    shares = weights.gather(2, order).cumsum(dim=2)
    shares = shares / shares[..., -1:].clamp_min(torch.finfo(shares.dtype).tiny)
    wanted = (torch.arange(count, device=values.device, dtype=values.dtype) + 0.5) / count
    places = torch.searchsorted(shares, wanted.expand(*values.shape[:2], count).contiguous())
    return values.gather(2, places.clamp_max(values.shape[2] - 1))


def _ranks(values: Tensor) -> Tensor:
    """Return ranks in (0, 1); equal values share the mean of theirs."""
    _, index, counts = torch.unique(values, return_inverse=True, return_counts=True)
    upper = counts.cumsum(dim=0)
    middle = upper.to(values.dtype) - counts.to(values.dtype) / 2
    ranks: Tensor = middle[index] / values.numel()
    return ranks
