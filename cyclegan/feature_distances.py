"""KID and FID of two sets of features, computed by torchmetrics."""

import math
import warnings
from importlib import import_module
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from impasto.options.errors import ImpastoError

__all__ = ["frechet_distance", "kernel_distance", "torchmetrics_image"]

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
    """Compute the kernel distance KID (Binkowski et al. 2018): no bias, also of few pictures.

    Args:
        real: features, (N, D), float.
        other: features, (M, D), float.
        seed: draws the subsets.

    Returns:
        Mean over 100 subsets of as many pictures as the smaller set has, at most 1,000: about 0, of
        either sign, for sets of one distribution. And the standard deviation over 100 subsets of
        half as many, which for sets of equal size, up to 2,000, is about the standard error that
        the choice of pictures gives the mean (a delete-half jackknife, Shao and Wu 1989); for sets
        of unequal size and for larger ones it is above that. Not a number where a set has fewer
        than four pictures.

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
        real: features, (N, D), float.
        other: features, (M, D), float.

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
