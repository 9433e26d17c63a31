"""Bending a picture for the network and back again, so that the network's grid leaves no trace."""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["BentGrid"]

# Distance, in pixels, over which displacements go from one value to another one.
_LENGTH_PX = 28
# Fixed-point iterations of the inverse; each takes away a quarter of the error or more.
_ITERATIONS = 20
_SEED = 0


class BentGrid:
    """A smooth random field of displacements, and its inverse.

    A generator with strides repeats its patterns at fixed places of its grid, every four pixels,
    say, and the eye sees rows of dots. If the picture is bent before the generator and straightened
    after it, what is in the picture comes to lie where it was, while the grid is bent: its patterns
    have no common place any more, and look like strokes (the idea is that of jittered sampling,
    Cook 1986). The field depends on the size alone, so equal pictures have equal results.

    Args:
        height: of the pictures, in pixels.
        width: likewise.
        strength_px: standard deviation of the displacements; 3 for a grid of 4 px. Above 3.5 the
            picture would fold.
        device: where to compute.
    """

    def __init__(
        self, height: int, width: int, *, strength_px: float, device: torch.device
    ) -> None:
        generator = torch.Generator().manual_seed(_SEED)
        places = (height // _LENGTH_PX + 2, width // _LENGTH_PX + 2)
        coarse = torch.randn(1, 2, *places, generator=generator).to(device)
        fine = F.interpolate(coarse, scale_factor=_LENGTH_PX, mode="bicubic", align_corners=False)[
            :, :, :height, :width
        ]
        # Interpolated noise is weaker than the noise itself.
        self._there = fine * (strength_px / fine.std().clamp_min(1e-6))
        self._back = -self._there
        for _ in range(_ITERATIONS):
            self._back = -_sample(self._there, self._back)

    def bend(self, images: Tensor) -> Tensor:
        """Return bent pictures, (N, C, H, W)."""
        return _sample(images, self._there)

    def straighten(self, images: Tensor) -> Tensor:
        """Undo :meth:`bend`, up to twofold bicubic interpolation."""
        return _sample(images, self._back)


def _sample(images: Tensor, displacements: Tensor) -> Tensor:
    """Look at each place plus its displacement, (1, 2, H, W) in pixels: x, then y."""
    height, width = images.shape[2:]
    rows = torch.arange(height, device=images.device, dtype=images.dtype)[:, None]
    columns = torch.arange(width, device=images.device, dtype=images.dtype)
    x = (columns + displacements[:, 0]) * 2 / max(width - 1, 1) - 1
    y = (rows + displacements[:, 1]) * 2 / max(height - 1, 1) - 1
    places = torch.stack([x, y], dim=-1).expand(len(images), -1, -1, -1)
    return F.grid_sample(
        images, places, mode="bicubic", padding_mode="reflection", align_corners=True
    )
