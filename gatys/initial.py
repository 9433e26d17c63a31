"""The picture that optimisation starts from."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.data.transforms import resize
from impasto.gatys.colours import match_colours

__all__ = ["NOISE_DEVIATION", "Start", "initial_image", "noise_image", "picture_image"]
__all__ += ["recoloured", "statistics_image"]

Rgb = NDArray[np.uint8]
Start = Literal["content", "palette", "noise", "statistics", "file"]

# Pixels that stand for a palette.
_PIXELS = 2**17

NOISE_DEVIATION = 0.2
"""Standard deviation of noise about mid-grey in sRGB: 1.2 % of the values have to be clipped."""


def initial_image(
    start: Start,
    *,
    height: int,
    width: int,
    generator: torch.Generator,
    picture: Rgb | None = None,
    styles: Sequence[Rgb] = (),
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Return the picture to start from; the same for the same generator state.

    Args:
        start: ``content`` and ``file`` (both: ``picture``, resized), ``palette`` (``picture``,
            whose colours get the mean and covariance of the styles'), ``noise`` (white noise about
            mid-grey), ``statistics`` (white noise with mean and covariance of the styles' colours).
        height: pixels.
        width: pixels.
        generator: source of randomness, on the CPU.
        picture: RGB, (H, W, 3), uint8.
        styles: RGB, (H, W, 3), uint8.
        weights: of the styles; all the same unless given.

    Returns:
        RGB, (1, 3, height, width), float32, sRGB in [0, 1], on the CPU.

    Raises:
        ValueError: what ``start`` needs is missing, or ``start`` is unknown.
    """
    if start in {"content", "palette", "file"}:
        if picture is None:
            raise ValueError(f"start {start}: expected a picture, got None")
        if start == "palette":
            picture = recoloured(picture, styles, weights=weights)
        return picture_image(picture, height, width)
    if start == "noise":
        return noise_image(height, width, generator=generator)
    if start == "statistics":
        return statistics_image(styles, height, width, generator=generator, weights=weights)
    raise ValueError(f"start: expected content, palette, noise, statistics or file, got {start!r}")


def picture_image(picture: Rgb, height: int, width: int) -> Tensor:
    """Return a picture, RGB, (H, W, 3), uint8, as (1, 3, height, width) in [0, 1]."""
    resized = np.array(resize(np.ascontiguousarray(picture), height, width))
    return torch.from_numpy(resized).permute(2, 0, 1).unsqueeze(0).contiguous().float().div_(255)


def recoloured(
    picture: Rgb, styles: Sequence[Rgb], *, weights: Sequence[float] | None = None
) -> Rgb:
    """Return a picture whose colours have the mean and covariance of the styles'.

    Args:
        picture: RGB, (H, W, 3), uint8.
        styles: the same, at least one; together they are one collection of pixels.
        weights: shares of the styles; all the same unless given.

    Raises:
        ValueError: there are no styles, or the weights do not fit them.
    """
    shares = _shares(styles, weights)
    picked = []
    for style, share in zip(styles, shares, strict=True):
        pixels = style.reshape(-1, 3)
        count = round(share * _PIXELS)
        picked.append(pixels[np.linspace(0, len(pixels) - 1, count).round().astype(np.int64)])
    palette = np.concatenate(picked)[None] / 255.0
    return np.rint(match_colours(picture / 255.0, palette) * 255).astype(np.uint8)


def noise_image(
    height: int, width: int, *, generator: torch.Generator, deviation: float = NOISE_DEVIATION
) -> Tensor:
    """Return normal noise about .5, in sRGB values, clipped to [0, 1]; (1, 3, height, width).

    Args:
        height: pixels.
        width: pixels.
        generator: source of randomness, on the CPU.
        deviation: standard deviation before clipping.
    """
    noise = torch.randn(1, 3, height, width, generator=generator)
    return noise.mul_(deviation).add_(0.5).clamp_(0, 1)


def statistics_image(
    styles: Sequence[Rgb],
    height: int,
    width: int,
    *,
    generator: torch.Generator,
    weights: Sequence[float] | None = None,
) -> Tensor:
    """Return normal noise with mean and covariance of the styles' colours, clipped to [0, 1].

    Several styles are one collection of pixels: means and raw second moments are averaged.

    Args:
        styles: RGB, (H, W, 3), uint8, at least one.
        height: pixels.
        width: pixels.
        generator: source of randomness, on the CPU.
        weights: of the styles, not negative; all the same unless given.

    Raises:
        ValueError: there are no styles, or the weights do not fit them.
    """
    shares = _shares(styles, weights)
    mean, second = np.zeros(3), np.zeros((3, 3))
    for style, share in zip(styles, shares, strict=True):
        colours = style.reshape(-1, 3).astype(np.float64) / 255
        mean += share * colours.mean(axis=0)
        second += share * (colours.T @ colours) / len(colours)
    values, vectors = np.linalg.eigh(second - np.outer(mean, mean))
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    noise = torch.randn(height * width, 3, generator=generator, dtype=torch.float64)
    coloured = noise @ torch.from_numpy(root) + torch.from_numpy(mean)
    return coloured.float().clamp_(0, 1).T.reshape(1, 3, height, width).contiguous()


def _shares(styles: Sequence[Rgb], weights: Sequence[float] | None) -> NDArray[np.float64]:
    if not styles:
        raise ValueError("expected at least one style, got none")
    shares = np.ones(len(styles)) if weights is None else np.asarray(weights, dtype=np.float64)
    if len(shares) != len(styles) or shares.min() < 0 or shares.sum() <= 0:
        raise ValueError(f"weights: expected {len(styles)}, none negative, got {weights}")
    normalised: NDArray[np.float64] = shares / shares.sum()
    return normalised
