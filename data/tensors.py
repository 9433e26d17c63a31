"""Between pictures (uint8 in [0, 255]) and tensors (float in [-1, 1]), with checks at the door.

Pictures of other channels and depths than RGB of 8 bits are numbers, float32 in [-1, 1] already.

Pictures travel as bytes and become numbers where they are computed with: a quarter of the memory,
and of what is sent to a device.

A tensor of any size is padded by reflection to a size that a network takes.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = [
    "check_images",
    "normalize",
    "pad_to_multiple",
    "reflected_places",
    "to_byte_tensor",
    "to_bytes",
    "to_color",
    "to_pictures",
    "to_shown",
    "to_stored_tensor",
    "to_tensor",
    "to_unit_range",
]


def to_tensor(rgb: NDArray[np.uint8]) -> Tensor:
    """Turn a picture into a tensor: 0 becomes -1, 255 becomes 1.

    Args:
        rgb: RGB, (H, W, 3), uint8.

    Returns:
        RGB, (3, H, W), float32 in [-1, 1].

    Raises:
        ValueError: the shape or type is another.
    """
    return normalize(to_byte_tensor(rgb))


def to_byte_tensor(rgb: NDArray[np.uint8]) -> Tensor:
    """Turn a picture, RGB, (H, W, 3), uint8, into a tensor (3, H, W), uint8, of its own memory.

    Raises:
        ValueError: the shape or type is another.
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"rgb: expected (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    return to_stored_tensor(rgb)


def to_stored_tensor(values: NDArray[Any]) -> Tensor:
    """Turn a picture of any channels, (H, W, C), into a tensor (C, H, W) of its own memory.

    Args:
        values: uint8, or float32 in [-1, 1]; the tensor has the same type.

    Raises:
        ValueError: the shape or type is another.
    """
    if values.ndim != 3 or values.dtype not in (np.uint8, np.float32):
        raise ValueError(
            f"values: expected (H, W, C) uint8 or float32, got {values.shape} {values.dtype}"
        )
    # A copy: decoded pictures may be read-only, and mirrored ones run backwards.
    return torch.from_numpy(np.array(values)).permute(2, 0, 1).contiguous()


def to_color(images: Tensor) -> Tensor:
    """Return images as RGB for what looks at colors: gray is repeated three times.

    Args:
        images: (N, 3, H, W) or (N, 1, H, W).

    Returns:
        (N, 3, H, W): the same tensor, or a view of it.

    Raises:
        ValueError: they have another number of channels, which have no colors.
    """
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images: expected 1 or 3 channels to look at, got {images.shape[1]}")
    return images if images.shape[1] == 3 else images.expand(-1, 3, -1, -1)


def to_shown(images: Tensor) -> Tensor:
    """Return images of any channels as RGB to show: (N, 3, H, W), of the same range.

    They are the first three channels, or the first one as gray if there are fewer than three.
    """
    return images[:, :3] if images.shape[1] >= 3 else images[:, :1].expand(-1, 3, -1, -1)


def normalize(images: Tensor) -> Tensor:
    """Turn bytes into numbers for the networks, on their device: 0 becomes -1, 255 becomes 1.

    Args:
        images: uint8; floating-point images in [-1, 1] are returned as they are.

    Returns:
        The same shape, float32 in [-1, 1], the same numbers on every device.
    """
    return images if images.is_floating_point() else _quotient(images, 127.5).sub_(1.0)


def to_unit_range(images: Tensor) -> Tensor:
    """Do what :func:`normalize` does, for numbers in [0, 1]: 0 becomes 0, 255 becomes 1."""
    return images if images.is_floating_point() else _quotient(images, 255.0)


def _quotient(images: Tensor, divisor: float) -> Tensor:
    # By a tensor: a GPU would multiply by the reciprocal of a number, which is rounded otherwise.
    by = torch.full((), divisor, dtype=torch.float32, device=images.device)
    return images.to(torch.float32).div_(by)


def to_pictures(images: Tensor) -> list[NDArray[np.uint8]]:
    """Turn a batch of tensors into pictures, rounding to the nearest of 256 values.

    Departure: the reference truncates, which darkens every picture by half a value.

    Args:
        images: RGB, (N, 3, H, W), float in [-1, 1]; values outside are clipped.

    Returns:
        N pictures, RGB, (H, W, 3), uint8, on the CPU.

    Raises:
        ValueError: the shape is another.
    """
    check_images(images, name="images")
    return list(to_bytes(images).cpu().numpy())


def to_bytes(images: Tensor) -> Tensor:
    """Do what :func:`to_pictures` does, on the device: (N, H, W, 3), uint8."""
    scaled = images.detach().float().add(1.0).mul_(127.5).round_().clamp_(0, 255)
    return scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def check_images(images: Tensor, *, name: str, multiple_of: int = 1, channels: int = 3) -> None:
    """Refuse what is not a batch of RGB images.

    Args:
        images: expected RGB, (N, 3, H, W), floating point.
        name: name of the tensor in the error.
        multiple_of: H and W must be multiples of it.
        channels: number of channels, of images that are not RGB.

    Raises:
        ValueError: prints the expected and the actual shape and type.
    """
    shape = tuple(images.shape)
    fits = len(shape) == 4 and shape[1] == channels and images.is_floating_point()
    if not fits or shape[2] % multiple_of or shape[3] % multiple_of:
        sides = f", H and W multiples of {multiple_of}" if multiple_of > 1 else ""
        raise ValueError(
            f"{name}: expected (N, {channels}, H, W) floating point{sides}, got {shape} "
            f"{images.dtype}"
        )


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
    rows, top = reflected_places(height, multiple, smallest)
    columns, left = reflected_places(width, multiple, smallest)
    padded = images
    if len(rows) != height:
        padded = padded.index_select(2, rows.to(images.device))
    if len(columns) != width:
        padded = padded.index_select(3, columns.to(images.device))
    return padded, (slice(top, top + height), slice(left, left + width))


def reflected_places(size: int, multiple: int, smallest: int) -> tuple[Tensor, int]:
    """Return what :func:`pad_to_multiple` does to a side.

    Args:
        size: height or width of a picture.
        multiple: the padded side is a multiple of it.
        smallest: and at least this.

    Returns:
        Which pixel stands at each place of the padded side, and where the original starts.
    """
    target = -(-max(size, smallest) // multiple) * multiple
    before = (target - size) // 2
    if size == 1:
        return torch.zeros(target, dtype=torch.long), before
    # Going on along a mirrored line comes back every 2 (size - 1) pixels.
    place = (torch.arange(target) - before) % (2 * (size - 1))
    return torch.minimum(place, 2 * (size - 1) - place), before
