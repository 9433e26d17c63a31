"""The generators: ResNet (Johnson et al. 2016, Zhu et al. 2017), U-Net (Isola et al. 2017).

Layer order and state_dict keys equal the reference implementation's, so that weights move freely.
"""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from impasto.cyclegan.blocks import (
    ColorSkip,
    ResnetBlock,
    has_bias,
    norm_layer,
    upsample_layer,
)

__all__ = ["ResnetGenerator", "UnetGenerator"]


class ResnetGenerator(nn.Module):
    """Two strided convolutions down, residual blocks at a quarter of the size, two steps up.

    Input and output: RGB, (N, 3, H, W), float in [-1, 1], H and W multiples of 4, at least 8.
    Zhu et al. 2017, appendix 7.2: c7s1-64, d128, d256, R256 x 9, u128, u64, c7s1-3.

    Args:
        channels: filters of the first convolution (``ngf``).
        blocks: residual blocks: 9 for 256 px, 6 for 128 px.
        norm: ``instance``, ``batch``, ``layer`` or ``none``.
        dropout: dropout of 0.5 in the blocks.
        upsample: ``deconv``, ``resize`` (nearest neighbour + convolution) or ``bilinear``.
        color_skip: carry the colours around all layers, see
            :class:`~impasto.cyclegan.blocks.ColorSkip`.
        in_channels: channels of the input.
        out_channels: channels of the output.

    Raises:
        ValueError: ``norm`` or ``upsample`` is unknown, or there are no three channels for
            ``color_skip``.
    """

    stride = 4
    smallest = 8

    def __init__(  # noqa: PLR0913
        self,
        *,
        channels: int = 64,
        blocks: int = 9,
        norm: str = "instance",
        dropout: bool = False,
        upsample: str = "deconv",
        color_skip: bool = False,
        in_channels: int = 3,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        if color_skip and (in_channels, out_channels) != (3, 3):
            raise ValueError(
                f"color_skip: needs RGB, got {in_channels} and {out_channels} channels"
            )
        normalise, bias = norm_layer(norm), has_bias(norm)

        def finish(width: int) -> list[nn.Module]:
            return [normalise(width), nn.ReLU(inplace=True)]

        layers: list[nn.Module] = [
            nn.ReflectionPad2d(3),
            nn.Conv2d(in_channels, channels, 7, bias=bias),
            *finish(channels),
        ]
        for width in (channels, 2 * channels):
            layers += [
                nn.Conv2d(width, 2 * width, 3, stride=2, padding=1, bias=bias),
                *finish(2 * width),
            ]
        layers += [ResnetBlock(4 * channels, norm=norm, dropout=dropout) for _ in range(blocks)]
        for width in (4 * channels, 2 * channels):
            layers += [
                upsample_layer(upsample, width, width // 2, bias=bias),
                *finish(width // 2),
            ]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(channels, out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        self.color_skip = ColorSkip(reduction=self.stride) if color_skip else None

    def forward(self, images: Tensor) -> Tensor:
        """Translate images (N, 3, H, W) in [-1, 1] to the other domain, same shape and range."""
        if self.color_skip is None:
            return self.model(images)  # type: ignore[no-any-return]
        painted = self.model[:-1](images) + self.color_skip(images)
        return self.model[-1](painted)  # type: ignore[no-any-return]


class UnetGenerator(nn.Module):
    """Encoder and decoder with a skip connection at every size.

    Input and output: RGB, (N, 3, H, W), float in [-1, 1], H and W multiples of 2**downs.

    Args:
        downs: halvings: 8 for ``unet_256``, 7 for ``unet_128``.
        channels: filters of the first convolution (``ngf``).
        norm: ``instance``, ``batch``, ``layer`` or ``none``.
        dropout: dropout of 0.5 in the inner blocks of full width.
        upsample: ``deconv``, ``resize`` (nearest neighbour + convolution) or ``bilinear``.
        in_channels: channels of the input.
        out_channels: channels of the output.

    Raises:
        ValueError: ``norm`` or ``upsample`` is unknown.
    """

    def __init__(
        self,
        *,
        downs: int = 8,
        channels: int = 64,
        norm: str = "instance",
        dropout: bool = False,
        upsample: str = "deconv",
        in_channels: int = 3,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        self.stride = self.smallest = 2**downs
        widths = [channels * min(2**level, 8) for level in range(downs)]
        block: _SkipBlock | None = None
        for level in reversed(range(1, downs)):
            block = _SkipBlock(
                widths[level - 1],
                widths[level],
                inner=block,
                norm=norm,
                # The reference has it between the innermost block and those that halve filters.
                dropout=dropout and 4 <= level < downs - 1,
                upsample=upsample,
            )
        if block is None:
            raise ValueError(f"downs: expected 2 or more, got {downs}")
        outermost = nn.Sequential(
            nn.Conv2d(in_channels, channels, 4, stride=2, padding=1, bias=has_bias(norm)),
            block,
            nn.ReLU(inplace=True),
            upsample_layer(upsample, 2 * channels, out_channels, bias=True, kernel=4),
            nn.Tanh(),
        )
        # The reference's outermost level is a block of its own, so its names have one more model.
        self.model = nn.Sequential(OrderedDict(model=outermost))

    def forward(self, images: Tensor) -> Tensor:
        """Translate images (N, 3, H, W) in [-1, 1] to the other domain, same shape and range."""
        return self.model(images)  # type: ignore[no-any-return]


class _SkipBlock(nn.Module):
    """An inner U-Net level: halve, go deeper, double, and join with what came in."""

    def __init__(
        self,
        outer: int,
        width: int,
        *,
        inner: nn.Module | None,
        norm: str,
        dropout: bool,
        upsample: str,
    ) -> None:
        super().__init__()
        normalise, bias = norm_layer(norm), has_bias(norm)
        down: list[nn.Module] = [
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(outer, width, 4, stride=2, padding=1, bias=bias),
        ]
        if inner is not None:
            down += [normalise(width), inner]
        joined = width if inner is None else 2 * width
        up: list[nn.Module] = [
            nn.ReLU(inplace=True),
            upsample_layer(upsample, joined, outer, bias=bias, kernel=4),
            normalise(outer),
        ]
        self.model = nn.Sequential(*down, *up, *([nn.Dropout(0.5)] if dropout else []))

    def forward(self, x: Tensor) -> Tensor:
        # The first layer works in place, so the skip carries the activated input. A ReLU follows
        # every join, so that is the same as carrying the input itself.
        out = self.model(x)
        return torch.cat([x, out], dim=1)
