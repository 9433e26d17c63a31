"""Between pictures (uint8 in [0, 255]) and tensors (float in [-1, 1]); checks at the door."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["check_images", "to_pictures", "to_tensor"]


def to_tensor(rgb: NDArray[np.uint8]) -> Tensor:
    """Turn a picture into a tensor: 0 becomes -1, 255 becomes 1.

    Args:
        rgb: RGB, (H, W, 3), uint8.

    Returns:
        RGB, (3, H, W), float32 in [-1, 1].
    """
    if rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.dtype != np.uint8:
        raise ValueError(f"rgb: expected (H, W, 3) uint8, got {rgb.shape} {rgb.dtype}")
    # A copy: decoded pictures may be read-only, and mirrored ones run backwards.
    tensor = torch.from_numpy(np.array(rgb)).permute(2, 0, 1).contiguous()
    return tensor.to(torch.float32).div_(127.5).sub_(1.0)


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
    scaled = images.detach().float().add(1.0).mul(127.5).round().clamp_(0, 255)
    array = scaled.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()
    return list(array)


def check_images(images: Tensor, *, name: str, multiple_of: int = 1) -> None:
    """Refuse what is not a batch of RGB images.

    Args:
        images: expected RGB, (N, 3, H, W), floating point.
        name: what to call it in the error.
        multiple_of: H and W must be multiples of it.

    Raises:
        ValueError: prints the expected and the actual shape and type.
    """
    shape = tuple(images.shape)
    fits = len(shape) == 4 and shape[1] == 3 and images.is_floating_point()
    if not fits or shape[2] % multiple_of or shape[3] % multiple_of:
        sides = f", H and W multiples of {multiple_of}" if multiple_of > 1 else ""
        raise ValueError(
            f"{name}: expected (N, 3, H, W) floating point{sides}, got {shape} {images.dtype}"
        )
