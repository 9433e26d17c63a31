"""The losses of image style transfer, each a function of tensors.

Features are (N, C, H, W) floating point; C is their channels, M = H W their positions. Whatever the
features' type, and inside autocast too, sums over positions are computed in float32 or better. All
losses are means over channels and positions, so that their scale does not depend on the size of the
picture; :mod:`impasto.gatys.presets` says how the weights of other programs are converted.
Distances between whole distributions are in :mod:`impasto.gatys.losses.transport`.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from impasto.gatys.features.smoothing import full_precision, precise_dtype

__all__ = [
    "Moments",
    "VariationKind",
    "chroma_variation",
    "content_loss",
    "gram_loss",
    "gram_matrix",
    "moments",
    "position_weights",
    "range_penalty",
    "total_variation",
    "without_autocast",
]

VariationKind = Literal["squared", "nine_point", "absolute"]
"""How neighboring pixels are compared; see :func:`total_variation`."""


def content_loss(features: Tensor, target: Tensor) -> Tensor:
    """Return the mean squared difference between two sets of features.

    This is 2 / (C M) times the content loss of Gatys et al. 2016, equation 1, which is half the
    sum of squares.

    Args:
        features: features of a layer, (N, C, H, W).
        target: target features, of the same shape.

    Raises:
        ValueError: the shapes differ.
    """
    if features.shape != target.shape:
        raise ValueError(f"expected features of {tuple(target.shape)}, got {tuple(features.shape)}")
    return functional.mse_loss(full_precision(features), full_precision(target))


def gram_matrix(features: Tensor, mask: Tensor | None = None) -> Tensor:
    """Return the mean over positions of the products of channels.

    Gatys et al. 2016, equation 3, divided by the number of positions M.

    Args:
        features: features of a layer, (N, C, H, W).
        mask: weight of each position, (1, 1, H, W), 0 to 1; all 1 unless given.

    Returns:
        (N, C, C), float32 or better.

    Raises:
        ValueError: the mask has a different size than the features.
    """
    gram: Tensor = _SecondMoment.apply(features.flatten(2), position_weights(features, mask))
    return gram


def gram_loss(gram: Tensor, target: Tensor) -> Tensor:
    """Return E_l of Gatys et al. 2016, equation 4: sum (G - A)^2 / (4 C^2).

    The factor 1 / M^2 of the paper is already contained in the matrices.

    Args:
        gram: Gram matrices of the picture, (N, C, C), from :func:`gram_matrix`.
        target: Gram matrices of the style, (1, C, C) or (N, C, C).
    """
    return (gram - target).square().mean() / 4


@dataclass(frozen=True, kw_only=True)
class Moments:
    """First two moments of features over positions; both can be averaged over pictures.

    Attributes:
        mean: mean of each channel, (N, C).
        second: raw second moment, which is the Gram matrix, (N, C, C).
    """

    mean: Tensor
    second: Tensor

    @property
    def covariance(self) -> Tensor:
        """The covariance of the channels, (N, C, C)."""
        return self.second - self.mean.unsqueeze(2) * self.mean.unsqueeze(1)


def moments(features: Tensor, mask: Tensor | None = None) -> Moments:
    """Return mean and raw second moment of features over their positions.

    Args:
        features: features of a layer, (N, C, H, W).
        mask: weight of each position, (1, 1, H, W), 0 to 1; all 1 unless given.

    Raises:
        ValueError: the mask has a different size than the features.
    """
    flat = features.flatten(2)
    weights = position_weights(features, mask)
    if weights is None:
        mean = flat.mean(dim=2, dtype=precise_dtype(flat.dtype))
    else:
        with without_autocast(features):
            mean = (full_precision(flat) @ weights.transpose(1, 2)).squeeze(2)
    return Moments(mean=mean, second=_SecondMoment.apply(flat, weights))


def total_variation(image: Tensor, *, kind: VariationKind = "squared") -> Tensor:
    """Return how much neighboring pixels differ, summed over directions.

    ``squared`` is the mean squared difference downwards plus that to the right. ``nine_point``
    compares diagonal neighbors too, by 2/3 of the straight and 1/6 of the diagonal differences,
    so that it equals ``squared`` on ramps and depends less on the direction of an edge; the picture
    is continued by its edge pixels (the stencil of crowsonkb's program). ``absolute`` is the mean
    absolute difference downwards plus that to the right (jcjohnson's term divided by its counts).

    Departure: Mahendran and Vedaldi 2015, section 3.2, take the root of the sum of both squares
    at each pixel, whose gradient is discontinuous in uniform areas; that of the square is not.

    Args:
        image: picture, (N, C, H, W), at least 2 x 2 pixels.
        kind: ``squared``, ``nine_point`` or ``absolute``.

    Raises:
        ValueError: the kind is unknown, or the picture has a side of 1 pixel.
    """
    if kind not in get_args(VariationKind):
        raise ValueError(f"kind: expected one of {get_args(VariationKind)}, got {kind!r}")
    if min(image.shape[-2:]) < 2:
        raise ValueError(f"image: expected at least 2 x 2 pixels, got {tuple(image.shape[-2:])}")
    if kind == "nine_point":
        return _nine_point(image)
    down = image[..., 1:, :] - image[..., :-1, :]
    right = image[..., :, 1:] - image[..., :, :-1]
    if kind == "absolute":
        return down.abs().mean() + right.abs().mean()
    return down.square().mean() + right.square().mean()


def chroma_variation(image: Tensor) -> Tensor:
    """Return the ``squared`` total variation of a picture minus the mean of its color channels.

    Args:
        image: picture, RGB, (N, 3, H, W), at least 2 x 2 pixels; gray pictures give 0.
    """
    return total_variation(image - image.mean(dim=1, keepdim=True))


def range_penalty(image: Tensor, *, low: float = 0.0, high: float = 1.0) -> Tensor:
    """Return the mean squared distance of values from [``low``, ``high``]; 0 inside."""
    return (image - image.clamp(low, high)).square().mean()


def without_autocast(values: Tensor) -> torch.autocast:
    """Return a context that disables autocast for products of tensors on the device of ``values``.

    Autocast would compute them in half precision, even for float32 operands.
    """
    device = values.device.type
    # A device that knows no autocast needs none switched off: any name that is valid will do.
    return torch.autocast(
        device if torch.amp.is_autocast_available(device) else "cpu", enabled=False
    )


def position_weights(features: Tensor, mask: Tensor | None) -> Tensor | None:
    """Return the weights of positions, adding up to 1, (1, 1, M), float32 or better.

    Args:
        features: features of a layer, (N, C, H, W).
        mask: weight of each position, (1, 1, H, W), 0 to 1, or None.

    Returns:
        The weights, or None without a mask: then all positions have the same weight.

    Raises:
        ValueError: the mask has a different size than the features.
    """
    if mask is None:
        return None
    if mask.shape[-2:] != features.shape[-2:]:
        raise ValueError(
            f"expected a mask of {tuple(features.shape[-2:])}, got {tuple(mask.shape[-2:])}"
        )
    weights = mask.flatten(2).to(precise_dtype(features.dtype))
    return weights / weights.sum().clamp_min(torch.finfo(weights.dtype).tiny)


class _SecondMoment(torch.autograd.Function):
    """Weighted mean over positions of the outer product of features.

    Written out because autograd would take two products in the backward pass where one is enough
    (the result is symmetric), and would keep float32 copies of features that came in half
    precision.
    """

    @staticmethod
    def forward(ctx: Any, flat: Tensor, weights: Tensor | None) -> Tensor:
        """Return (N, C, C) from features (N, C, M) and weights (1, 1, M); None: all 1 / M."""
        ctx.save_for_backward(flat, weights)
        with without_autocast(flat):
            precise = full_precision(flat)
            if weights is None:
                return torch.bmm(precise, precise.transpose(1, 2)) / flat.shape[2]
            return torch.bmm(precise * weights, precise.transpose(1, 2))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        """Return the gradient with respect to the features, in the features' data type."""
        flat, weights = ctx.saved_tensors
        both = gradient + gradient.transpose(1, 2)
        with without_autocast(flat):
            if weights is None:
                product = torch.bmm(both / flat.shape[2], full_precision(flat))
            else:
                product = torch.bmm(both, full_precision(flat)) * weights
        return product.to(flat.dtype), None


def _nine_point(image: Tensor) -> Tensor:
    padded = functional.pad(image, (1, 1, 1, 1), mode="replicate")
    middle = padded[..., 1:-1, 1:-1]
    down = (padded[..., 2:, 1:-1] - middle).square().mean()
    right = (padded[..., 1:-1, 2:] - middle).square().mean()
    falling = (padded[..., 1:, 1:] - padded[..., :-1, :-1]).square().mean()
    rising = (padded[..., 1:, :-1] - padded[..., :-1, 1:]).square().mean()
    return 2 / 3 * (down + right) + 1 / 6 * (falling + rising)
