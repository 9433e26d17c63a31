"""The content in the tones of a style: each value becomes the style's of the same rank.

Exact histogram specification (Coltuc, Bolon and Chassery 2006), with one rank for equal values.
What is to be shown then asks for no value oftener than the style has it, so that content and style
do not pull against each other.
"""

import torch
from torch import Tensor

from impasto.gatys.losses import full_precision
from impasto.gatys.transport import quantiles_at

__all__ = ["toned"]


def toned(features: Tensor, quantiles: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return features whose values are, channel by channel, spread as quantiles say.

    Args:
        features: (1, C, H, W).
        quantiles: evenly spaced, of each channel, (1, C, K).
        mask: (1, 1, H, W); where it is at most 1/2, values stay as they are.
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


def _ranks(values: Tensor) -> Tensor:
    """Return ranks in (0, 1); equal values share the mean of theirs."""
    _, index, counts = torch.unique(values, return_inverse=True, return_counts=True)
    upper = counts.cumsum(dim=0)
    middle = upper.to(values.dtype) - counts.to(values.dtype) / 2
    ranks: Tensor = middle[index] / values.numel()
    return ranks
