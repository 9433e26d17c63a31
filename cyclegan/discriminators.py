"""The discriminators: PatchGAN (Isola et al. 2017) and its one-pixel variant.

Layer order and state_dict keys equal the reference implementation's.
"""

from torch import Tensor, nn

from impasto.cyclegan.blocks import has_bias, norm_layer

__all__ = ["PatchDiscriminator", "PixelDiscriminator", "receptive_field"]


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of a picture; three layers see 70 x 70 pixels each.

    Input: RGB, (N, 3, H, W), float in [-1, 1]. Output: scores (N, 1, h, w) without sigmoid;
    256 px give 30 x 30 scores. Zhu et al. 2017, appendix 7.2: C64-C128-C256-C512.

    Args:
        channels: filters of the first convolution (``ndf``).
        layers: convolutions of stride 2.
        norm: ``instance``, ``batch``, ``layer`` or ``none``.
        in_channels: channels of the input.

    Raises:
        ValueError: ``norm`` is unknown.
    """

    def __init__(
        self, *, channels: int = 64, layers: int = 3, norm: str = "instance", in_channels: int = 3
    ) -> None:
        super().__init__()
        normalise, bias = norm_layer(norm), has_bias(norm)
        sequence: list[nn.Module] = [
            nn.Conv2d(in_channels, channels, 4, stride=2, padding=1),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        width = channels
        for layer in range(1, layers + 1):
            previous, width = width, channels * min(2**layer, 8)
            stride = 2 if layer < layers else 1
            sequence += [
                nn.Conv2d(previous, width, 4, stride=stride, padding=1, bias=bias),
                normalise(width),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        sequence.append(nn.Conv2d(width, 1, 4, padding=1))
        self.model = nn.Sequential(*sequence)

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (N, 1, h, w) for images (N, 3, H, W) in [-1, 1]."""
        return self.model(images)  # type: ignore[no-any-return]


class PixelDiscriminator(nn.Module):
    """Judges every pixel alone (the 1x1 PatchGAN of Isola et al. 2017).

    Input: RGB, (N, 3, H, W), float in [-1, 1]. Output: scores (N, 1, H, W) without sigmoid.

    Args:
        channels: filters of the first convolution (``ndf``).
        norm: ``instance``, ``batch``, ``layer`` or ``none``.
        in_channels: channels of the input.

    Raises:
        ValueError: ``norm`` is unknown.
    """

    def __init__(self, *, channels: int = 64, norm: str = "instance", in_channels: int = 3) -> None:
        super().__init__()
        bias = has_bias(norm)
        # The reference calls this sequence ``net``, unlike every other network's ``model``.
        self.net = nn.Sequential(
            nn.Conv2d(in_channels, channels, 1),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(channels, 2 * channels, 1, bias=bias),
            norm_layer(norm)(2 * channels),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(2 * channels, 1, 1, bias=bias),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Return scores (N, 1, H, W) for images (N, 3, H, W) in [-1, 1]."""
        return self.net(images)  # type: ignore[no-any-return]


def receptive_field(layers: int) -> int:
    """Return the side, in pixels, of the patch that one score of a PatchGAN depends on.

    Example:
        >>> receptive_field(3)
        70
    """
    field = 1
    for stride in (1, 1, *[2] * layers):
        field = (field - 1) * stride + 4
    return field
