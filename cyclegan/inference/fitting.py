"""What is done to pictures around a generator: strokes that fit their size, and blending."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["blend", "fit_strokes", "scale_samples"]

_BLENDED_PIXELS = 2**18  # at once, as floating-point numbers
# Above the size that strokes are right for, they look finer; up to a third more that is no harm,
# and a smaller factor would only blur.
_LEAST_SCALE = 4 / 3


def fit_strokes(height: int, width: int, *, strokes_at_px: float) -> float:
    """Return the factor by which strokes have to be larger in a picture, to be as wide as usual.

    A model whose strokes are 1/60 to 1/30 as wide as a picture of its own size makes such strokes
    in pictures of any larger size, too.

    Args:
        height: height of the picture, in pixels.
        width: width of the picture, in pixels.
        strokes_at_px: shorter side of the pictures for which the model's strokes are right.

    Returns:
        At least 1: in smaller pictures, strokes are as large as the model makes them.

    Example:
        >>> fit_strokes(3000, 4000, strokes_at_px=500)
        6.0
        >>> fit_strokes(600, 800, strokes_at_px=500)
        1.0
    """
    scale = min(height, width) / strokes_at_px
    return scale if scale >= _LEAST_SCALE else 1.0


def blend(
    before: NDArray[np.uint8], after: NDArray[np.uint8], strength: float
) -> NDArray[np.uint8]:
    """Mix a picture with its translation, pixel by pixel.

    Beside the result it takes little memory, whatever the size.

    Args:
        before: the picture, RGB, (H, W, 3), uint8.
        after: its translation, in the same format and size.
        strength: share of the translation, from 0 (the picture) to 1 (the translation).

    Returns:
        RGB, (H, W, 3), uint8: before + strength * (after - before), rounded.
    """
    if strength == 1:
        return after
    mixed = np.empty_like(before)
    rows = max(1, _BLENDED_PIXELS // before.shape[1])
    for top in range(0, len(before), rows):
        part = np.s_[top : top + rows]
        photograph = before[part].astype(np.float32)
        difference = after[part].astype(np.float32) - photograph
        mixed[part] = np.rint(photograph + np.float32(strength) * difference)
    return mixed


def scale_samples(samples: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """Scale a picture or its alpha, uint8, to a size in pixels, bicubic with antialiasing.

    It is as large as its file made it, so that there is no limit here.
    """
    return np.asarray(Image.fromarray(samples).resize((width, height), Image.Resampling.BICUBIC))
