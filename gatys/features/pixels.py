"""Features without a network: colors and blurred luminance."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from impasto.data.tensors import check_images
from impasto.options.fields import nearest

__all__ = ["LUMA", "Pixels"]

LUMA = (0.299, 0.587, 0.114)
"""Luminance of R, G and B as television weighted them (ITU-R BT.601)."""


class Pixels(nn.Module):
    """Has colors, and the light and dark of large shapes.

    ``pixels`` is the picture itself; ``pixels_2`` and ``pixels_4`` are its means over squares of 2
    and 4 pixels, (N, 3, H / 2, W / 2), rounded up, and so on; ``luminance``, (N, 1, H, W), is
    blurred.

    Attributes:
        layers: names of the layers.

    Args:
        blur: standard deviation of the Gaussian blur of the luminance, in pixels, which leaves the
            content's large shapes; 0: no blur.
    """

    layers = ("pixels", "pixels_2", "pixels_4", "luminance")

    def __init__(self, blur: float = 1.5) -> None:
        super().__init__()
        if not 0 <= blur < math.inf:
            raise ValueError(f"blur: expected at least 0 pixels, got {blur}")
        reach = math.ceil(3 * blur)
        distance = torch.arange(-reach, reach + 1, dtype=torch.float64)
        kernel = torch.exp(-((distance / max(blur, 1e-6)) ** 2) / 2)
        self.register_buffer("_kernel", (kernel / kernel.sum()).float(), persistent=False)
        self.register_buffer("_luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)

    def smallest(self, layers: Sequence[str]) -> int:  # noqa: ARG002 - as of other networks
        """Return the smallest side of a picture, in pixels: 1."""
        return 1

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Compute the requested layers, of pictures of any size.

        Takes pictures, RGB, (N, 3, H, W), in [0, 1], and returns (N, C, H', W') by layer; the rest
        of the contract is that of every :class:`~impasto.gatys.features.make.Network`.
        """
        check_images(image, name="image")
        for name in layers:
            if name not in self.layers:
                raise ValueError(
                    f"layers: {name!r} is none of {', '.join(self.layers)}"
                    f"{nearest(name, self.layers)}"
                )
        return {name: self._layer(name, image) for name in layers}

    def _layer(self, name: str, image: Tensor) -> Tensor:
        if name == "luminance":
            return self._luminance(image)
        if name == "pixels":
            return image
        return functional.avg_pool2d(image, int(name.removeprefix("pixels_")), ceil_mode=True)

    def _luminance(self, image: Tensor) -> Tensor:
        luminance = (image * self.get_buffer("_luma")).sum(dim=1, keepdim=True)
        kernel = self.get_buffer("_kernel").to(luminance.dtype)
        reach = kernel.numel() // 2
        if not reach:
            return luminance
        wide = functional.pad(luminance, (reach,) * 4, mode="replicate")
        rows = functional.conv2d(wide, kernel.view(1, 1, 1, -1))
        return functional.conv2d(rows, kernel.view(1, 1, -1, 1))
