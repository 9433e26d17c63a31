"""Two numbers for a translated picture that tell a sound training from known failures."""

import math

import torch
from torch import Tensor

__all__ = ["contrast_and_correlation", "read_back"]

# Rec. 709 luma (ITU-R BT.709-6, section 3.2), of the encoded values as they are.
_LUMA = (0.2126, 0.7152, 0.0722)

# Standard deviation of luma, on the scale of [-1, 1], below which a picture counts as plain: one
# of the 255 steps of a picture file. What is left then is rounding, which correlates with nothing.
_PLAIN = 2 / 255


def contrast_and_correlation(translated: Tensor, picture: Tensor) -> Tensor:
    """Compare the luma of translations with that of the pictures they were made from.

    Args:
        translated: G(picture), RGB, (N, 3, H, W), in [-1, 1].
        picture: the input, the same shape and range.

    Returns:
        Two float32 numbers on the device, means over those of the pictures that are not plain:
        the standard deviation relative to the input's (1: as rich in contrast), and Pearson's
        correlation (1: light stays light; -1: a negative). NaN where there is none: both of plain
        inputs, the correlation also of plain translations.
    """
    ours, theirs = _centred_luma(translated), _centred_luma(picture)
    spread, original = ours.square().mean(1).sqrt(), theirs.square().mean(1).sqrt()
    none = torch.full_like(spread, math.nan)
    seen = original > _PLAIN
    contrast = torch.where(seen, spread / original, none)
    covariance = (ours * theirs).mean(1) / (spread * original)
    correlation = torch.where(seen & (spread > _PLAIN), covariance, none)
    return torch.stack([contrast.nanmean(), correlation.nanmean()])


def read_back(values: Tensor) -> list[float | None]:
    """Bring numbers from the device in one go; those that are not finite become None."""
    return [value if math.isfinite(value) else None for value in values.tolist()]


def _centred_luma(pictures: Tensor) -> Tensor:
    """Return luma minus its mean over each picture, (N, H * W), float32."""
    weights = torch.tensor(_LUMA, device=pictures.device)
    luma = torch.einsum("nchw,c->nhw", pictures.float(), weights).flatten(1)
    return luma - luma.mean(1, keepdim=True)
