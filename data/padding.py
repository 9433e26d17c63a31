"""Padding by reflection, to any size and from any size."""

import torch
from torch import Tensor

__all__ = ["pad_to_multiple"]


def pad_to_multiple(
    images: Tensor, multiple: int, *, smallest: int = 1
) -> tuple[Tensor, tuple[slice, slice]]:
    """Pad height and width to the next multiple by reflecting the picture at its borders.

    Unlike ``torch.nn.functional.pad`` it may reflect more pixels than there are, so that a picture
    of a single pixel works too.

    Args:
        images: (N, C, H, W).
        multiple: the padded sides are multiples of it.
        smallest: and at least this.

    Returns:
        The padded images, and the (rows, columns) that cut the original out again.
    """
    height, width = images.shape[2:]
    rows, top = _reflected(height, multiple, smallest)
    columns, left = _reflected(width, multiple, smallest)
    padded = images
    if len(rows) != height:
        padded = padded.index_select(2, rows.to(images.device))
    if len(columns) != width:
        padded = padded.index_select(3, columns.to(images.device))
    return padded, (slice(top, top + height), slice(left, left + width))


def _reflected(size: int, multiple: int, smallest: int) -> tuple[Tensor, int]:
    """Return which pixel stands at each place of the padded side, and where the original starts."""
    target = -(-max(size, smallest) // multiple) * multiple
    before = (target - size) // 2
    if size == 1:
        return torch.zeros(target, dtype=torch.long), before
    # Going on along a mirrored line comes back every 2 (size - 1) pixels.
    place = (torch.arange(target) - before) % (2 * (size - 1))
    return torch.minimum(place, 2 * (size - 1) - place), before
