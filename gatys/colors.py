"""Color preservation: after the stylization, or by recoloring the style picture before it.

Two ways of Gatys, Bethge, Hertzmann and Shechtman 2016, "Preserving Color in Neural Artistic Style
Transfer": :func:`keep_colors` takes the result's lightness and the content's color (section 3.2),
:func:`match_colors` recolors the style picture before it is used (section 3.1). Pictures are sRGB
arrays, (H, W, 3), floating point in [0, 1]; sums and matrices are float64, results float32.
"""

from typing import Literal

import numpy as np
import skimage  # whose parts are imported when they are first used, with SciPy
from numpy.typing import NDArray

__all__ = ["ColorMatch", "keep_colors", "match_colors"]

Image = NDArray[np.floating]
Colors = NDArray[np.float32]
Doubles = NDArray[np.float64]
ColorMatch = Literal["linear", "histogram"]

# A direction of color along which a picture varies by less than one of 255 levels holds noise of
# rounding and of JPEG, not colors; stretched to the variance of a photograph it would be visible.
_LEAST_DEVIATION = 1 / 255
_HALVINGS = 12  # of the interval of chroma: to 1/4096, well below a visible step

# IEC 61966-2-1: XYZ of D65 from linear sRGB, whose rows scikit-image uses too; white of D65, 2
# degrees. CIE 15:2004, equations 8.3 to 8.5, for the way back from L*a*b*.
_XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_RGB_FROM_XYZ = np.linalg.inv(_XYZ_FROM_RGB)
_WHITE = np.array([0.95047, 1.0, 1.08883])


def keep_colors(result: Image, content: Image) -> Colors:
    """Return the lightness of ``result`` with the color of ``content``, at each pixel.

    In CIE L*a*b*, whose lightness is perceptual: L* of one, a* and b* of the other. Where sRGB has
    no such color (a vivid blue made very light), its chroma is reduced until there is one, which
    keeps lightness and hue; clipping the three channels would change both.
    Departure: Gatys et al. 2016 exchange the luma of YIQ, which is linear in the stored values.

    Args:
        result: the styled picture, sRGB, (H, W, 3), 0 to 1; values outside are clipped.
        content: content picture, sRGB, of the same size, 0 to 1.

    Returns:
        sRGB, (H, W, 3), float32, 0 to 1.

    Raises:
        ValueError: the sizes differ, or an array is not an RGB picture.
    """
    _check(result, content)
    if result.shape != content.shape:
        raise ValueError(f"expected a content of shape {result.shape}, got {content.shape}")
    lab = skimage.color.rgb2lab(_double(content))
    lab[..., 0] = skimage.color.rgb2lab(_double(result))[..., 0]
    lab[..., 1:] *= _chroma_share(lab)[..., None]
    return _colors(skimage.color.lab2rgb(lab))


def match_colors(style: Image, content: Image, method: ColorMatch = "linear") -> Colors:
    """Return the style picture with the colors of the content; sizes may differ.

    ``linear`` moves all pixels by one affine map, so that mean and covariance of the channels
    become the content's (Gatys et al. 2016, equations 1 to 4, with the symmetric roots that their
    section 3.1 prefers to Cholesky factors; Hertzmann et al. 2001, "Image Analogies"). Directions
    in which the style hardly varies (all, in a picture of one color; two, in a gray one) become
    flat. ``histogram`` gives each channel the content's histogram by itself; a channel of a single
    value becomes the content's median. Values outside [0, 1] are clipped.

    Args:
        style: style picture, sRGB, (H, W, 3), 0 to 1; values outside are clipped.
        content: content picture, sRGB, (h, w, 3), 0 to 1.
        method: ``linear`` or ``histogram``.

    Returns:
        sRGB, (H, W, 3), float32, 0 to 1.

    Raises:
        ValueError: an array is not an RGB picture, or the method is unknown.
    """
    _check(style, content)
    if method == "histogram":
        matched = _match_histograms(_double(style), _double(content))
    elif method == "linear":
        matched = _match_moments(_double(style), _double(content))
    else:
        raise ValueError(f"method: expected linear or histogram, got {method!r}")
    return _colors(matched)


def _match_moments(style: Doubles, content: Doubles) -> Doubles:
    """Return A x + b with A = S_content^1/2 S_style^-1/2."""
    pixels, model = style.reshape(-1, 3), content.reshape(-1, 3)
    means = pixels.mean(axis=0), model.mean(axis=0)
    moved = _power(_covariance(model), 0.5) @ _power(_covariance(pixels), -0.5)
    matched = (pixels - means[0]) @ moved.T + means[1]
    return np.asarray(matched.reshape(style.shape), np.float64)


def _covariance(pixels: Doubles) -> Doubles:
    """Return the covariance of channels, (3, 3), of pixels, (N, 3)."""
    centered = pixels - pixels.mean(axis=0)
    return np.asarray(centered.T @ centered / len(pixels), np.float64)


def _power(covariance: Doubles, exponent: float) -> Doubles:
    """Return a power of a covariance; directions without variance stay 0 in negative ones too."""
    values, vectors = np.linalg.eigh(covariance)
    known = values > (_LEAST_DEVIATION**2 if exponent < 0 else 0)
    powers = np.where(known, np.where(known, values, 1) ** exponent, 0)
    return np.asarray((vectors * powers) @ vectors.T, np.float64)


def _match_histograms(style: Doubles, content: Doubles) -> Doubles:
    found = skimage.exposure.match_histograms(style, content, channel_axis=2)
    matched = np.asarray(found, np.float64)
    for channel in range(3):
        # scikit-image would give a single value the content's highest.
        if np.ptp(style[..., channel]) == 0:
            matched[..., channel] = np.median(content[..., channel])
    return matched


def _chroma_share(lab: Doubles) -> Doubles:
    """Return the largest share of chroma, 0 to 1, (H, W), with which sRGB has each color."""
    share = np.ones(lab.shape[:2])
    beyond = ~_in_gamut(lab)
    colors = lab[beyond]
    low, high = np.zeros(len(colors)), np.ones(len(colors))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        inside = _in_gamut(colors * np.stack([np.ones_like(middle), middle, middle], axis=1))
        low, high = np.where(inside, middle, low), np.where(inside, high, middle)
    share[beyond] = low
    return share


def _in_gamut(lab: Doubles, *, slack: float = 1e-6) -> NDArray[np.bool_]:
    """Whether linear sRGB lies within [0, 1]; ``slack`` is for the rounding of matrices."""
    lightness, a, b = np.moveaxis(lab, -1, 0)
    y = (lightness + 16) / 116
    cubes = np.stack([y + a / 500, y, y - b / 200], axis=-1)
    # CIE 15:2004: a straight line below (6/29)^3.
    xyz = np.where(cubes > 6 / 29, cubes**3, (cubes - 4 / 29) * 3 * (6 / 29) ** 2) * _WHITE
    linear = xyz @ _RGB_FROM_XYZ.T
    return np.asarray(((linear >= -slack) & (linear <= 1 + slack)).all(axis=-1), np.bool_)


def _colors(image: Doubles) -> Colors:
    return np.asarray(np.clip(image, 0, 1), np.float32)


def _double(image: Image) -> Doubles:
    return np.clip(image.astype(np.float64), 0, 1)


def _check(*images: Image) -> None:
    for image in images:
        if image.ndim != 3 or image.shape[2] != 3 or not np.issubdtype(image.dtype, np.floating):
            raise ValueError(
                f"expected RGB, (H, W, 3), floating point, got {image.shape} {image.dtype}"
            )
