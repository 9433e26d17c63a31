"""A generator that knows several styles: each has its own scales and shifts, and nothing else.

Dumoulin et al. 2017, "A learned representation for artistic style": conditional instance
normalization. A mixture of styles is a mixture of their scales and shifts.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.blocks import StrokeNoise

__all__ = ["ConditionalNorm", "StyleNetwork", "style_architecture"]

# Of the last layer's weights, so that all begins with the picture's base; and of those that mix
# noise into features of about unit variance.
_LAST_DEVIATION, _NOISE_DEVIATION = 0.01, 0.1


def style_architecture(
    *, channels: int, blocks: int, base: str, noise: bool
) -> GeneratorArchitecture:
    """Return the architecture of fast styles: a ResNet whose normalizations scale and shift.

    Args:
        channels: number of filters of the first convolution.
        blocks: number of residual blocks.
        base: what the output is added to: ``none`` or ``kuwahara``.
        noise: whether strokes begin from noise on plain grounds.
    """
    return GeneratorArchitecture(
        depth=blocks,
        channels=channels,
        norm="affine",
        upsample="bilinear",
        base=base,
        noise=noise,
    )


class ConditionalNorm(nn.Module):
    """Instance normalization with a scale and a shift of each channel for each style.

    Input and output: (N, channels, H, W).

    Args:
        channels: number of channels.
        styles: number of styles.
        eps: what is added to variances.

    Attributes:
        shares: share of each style in each picture, (N, styles); set before each call.
    """

    def __init__(self, channels: int, styles: int, *, eps: float = 1e-5) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(styles, channels))
        self.bias = nn.Parameter(torch.zeros(styles, channels))
        self.shares: Tensor | None = None
        self._eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Normalize, scale and shift."""
        if self.shares is None:
            raise ValueError("shares: expected the shares of the styles, got none")
        count, channels, height, width = x.shape
        scales, shifts = (self.shares @ each for each in (self.weight, self.bias))
        # Batch normalization of one picture with N C channels is what instance normalization is;
        # so it scales and shifts in the same pass over the memory.
        flat = x.reshape(1, count * channels, height, width)
        made = F.batch_norm(
            flat, None, None, scales.reshape(-1), shifts.reshape(-1), training=True, eps=self._eps
        )
        return made.view_as(x)


class StyleNetwork(nn.Module):
    """A generator whose normalizations are conditional.

    Args:
        architecture: architecture of the generator, with the normalization ``affine``.
        styles: number of styles.
        generator: random generator of the first weights, on the CPU.

    Attributes:
        painter: the generator; its state_dict is what a file of styles holds.
    """

    def __init__(
        self, architecture: GeneratorArchitecture, styles: int, *, generator: torch.Generator
    ) -> None:
        super().__init__()
        if architecture.norm != "affine":
            raise ValueError(f"architecture: expected norm affine, got {architecture.norm}")
        self.painter = architecture.build()
        self._norms: list[ConditionalNorm] = []
        for parent in list(self.painter.modules()):
            for name, child in list(parent.named_children()):
                if isinstance(child, nn.InstanceNorm2d):
                    norm = ConditionalNorm(child.num_features, styles, eps=child.eps)
                    setattr(parent, name, norm)
                    self._norms.append(norm)
        self._init_weights(generator)

    def _init_weights(self, generator: torch.Generator) -> None:
        layers = [module for module in self.painter.modules() if isinstance(module, nn.Conv2d)]
        mixes = [module.mix for module in self.painter.modules() if isinstance(module, StrokeNoise)]
        for layer in layers:
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        last = [layer for layer in layers if layer not in mixes][-1]
        nn.init.normal_(last.weight, 0.0, _LAST_DEVIATION, generator=generator)
        for mix in mixes:
            nn.init.normal_(mix.weight, 0.0, _NOISE_DEVIATION, generator=generator)

    def forward(self, images: Tensor, shares: Tensor) -> Tensor:
        """Show images in styles.

        Args:
            images: RGB, (N, 3, H, W), in [-1, 1], sides that the generator takes.
            shares: share of each style in each picture, (N, styles).

        Returns:
            RGB, (N, 3, H, W), in [-1, 1].
        """
        for norm in self._norms:
            norm.shares = shares
        try:
            made: Tensor = self.painter(images)
        finally:
            for norm in self._norms:
                norm.shares = None
        return made
