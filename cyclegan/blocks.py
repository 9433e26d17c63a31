"""The layers of the generators and discriminators."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.convolutions import Conv2d

__all__ = [
    "BatchNorm2d",
    "ColorSkip",
    "NormLayer",
    "ResizeConv2d",
    "ResnetBlock",
    "SoftKuwahara",
    "StrokeNoise",
    "apply_together",
    "has_bias",
    "is_per_sample",
    "keep_in_range",
    "norm_layer",
    "smooth_resize_layer",
    "take_statistics",
    "upsample_layer",
]

NormLayer = Callable[[int], nn.Module]


class BatchNorm2d(nn.BatchNorm2d):
    """Batch normalization that can take the statistics of each picture alone in evaluation.

    Attributes:
        of_picture: whether evaluation takes the mean and the variance of each picture, as a
            training with batches of one does, in place of the running ones. The weights are the
            same either way.
    """

    of_picture: bool = False

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, C, H, W)."""
        if self.of_picture and not self.training:
            return F.instance_norm(x, weight=self.weight, bias=self.bias, eps=self.eps)
        return super().forward(x)


def take_statistics(network: nn.Module, *, of_picture: bool) -> None:
    """Let batch normalization take the statistics of each picture in evaluation, or running ones.

    Args:
        network: network whose layers are set.
        of_picture: whether each picture is normalized by its own statistics.
    """
    for module in network.modules():
        if isinstance(module, BatchNorm2d):
            module.of_picture = of_picture


def norm_layer(norm: str) -> NormLayer:
    """Return a function that makes a normalization layer for a number of channels.

    Instance normalization has no weights and keeps no running statistics (Ulyanov et al. 2016):
    a checkpoint holds no tensors of it.

    Layer normalization takes all channels of a picture together (Ba et al. 2016; GroupNorm of one
    group, Wu and He 2018). It preserves what instance normalization removes: the brightness and
    color of a picture, which are in the means of its channels.

    ``affine`` is instance normalization with a scale and a shift for each channel. Generators of
    single styles have it, of which each has its own scales and shifts (Dumoulin et al. 2017).

    Args:
        norm: normalization: ``instance``, ``affine``, ``batch``, ``layer`` or ``none``.

    Raises:
        ValueError: ``norm`` is none of these.
    """
    layers: dict[str, NormLayer] = {
        "instance": nn.InstanceNorm2d,
        "affine": partial(nn.InstanceNorm2d, affine=True),
        "batch": BatchNorm2d,
        "layer": partial(nn.GroupNorm, 1),
        "none": lambda _channels: nn.Identity(),
    }
    if norm not in layers:
        raise ValueError(f"norm: expected one of {', '.join(layers)}, got {norm!r}")
    return layers[norm]


def has_bias(norm: str) -> bool:
    """Whether the convolutions before a normalization layer have a bias.

    Only with instance normalization, plain or affine, where the bias has no effect: the reference
    implementation has it, and so do its files. Of the affine one, it tells weights from those of a
    layer normalization, which have the same names and shapes.
    """
    return norm in {"instance", "affine"}


class ResnetBlock(nn.Module):
    """Two 3x3 convolutions around which the input is added (He et al. 2016); no ReLU after the sum.

    Input and output: (N, channels, H, W), H and W at least 2.

    Args:
        channels: number of input and output channels.
        norm: normalization: ``instance``, ``affine``, ``batch``, ``layer`` or ``none``.
        dropout: whether to put dropout of 0.5 between the convolutions. It shifts the second
            convolution's index, and so its name in a checkpoint, from 5 to 6, as in the reference.
    """

    def __init__(self, channels: int, *, norm: str = "instance", dropout: bool = False) -> None:
        super().__init__()
        normalize, bias = norm_layer(norm), has_bias(norm)
        layers: list[nn.Module] = [
            nn.ReflectionPad2d(1),
            Conv2d(channels, channels, 3, bias=bias),
            normalize(channels),
            nn.ReLU(inplace=True),
        ]
        if dropout:
            layers.append(nn.Dropout(0.5))
        layers += [
            nn.ReflectionPad2d(1),
            Conv2d(channels, channels, 3, bias=bias),
            normalize(channels),
        ]
        self.conv_block = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Return ``x`` plus the block's output."""
        return x + self.conv_block(x)  # type: ignore[no-any-return]


class ColorSkip(nn.Module):
    """Skip connection that adds coarse colors of the input before the generator's tanh.

    Pictures differ so much more in light than in color (in monet2photo four times) that a generator
    may train for days on few pictures before red and green pass through its layers. Here they
    bypass the layers: the picture is averaged over squares, its channels mixed by a learned matrix
    that lets nothing but color pass at first (what each channel differs from the mean of the
    three), and interpolated. Light, and with it all texture, is left to the layers.

    Input and output: (N, 3, H, W).

    Args:
        reduction: side of the averaged squares, in pixels; H and W are multiples of it.
    """

    def __init__(self, *, reduction: int) -> None:
        super().__init__()
        self.reduction = reduction
        self.weight = nn.Parameter(torch.eye(3) - 1 / 3)

    def forward(self, images: Tensor) -> Tensor:
        """Return the coarse colors to add."""
        coarse = self.coarse(images)
        return F.interpolate(coarse, scale_factor=self.reduction, mode="bilinear")

    def coarse(self, images: Tensor) -> Tensor:
        """Return the colors to add before they are enlarged: (N, 3, H, W) divided by reduction."""
        averages = F.avg_pool2d(images, self.reduction)
        return torch.einsum("oi,nihw->nohw", self.weight, averages)


class SoftKuwahara(nn.Module):
    """Smoothing that keeps edges and takes away texture (Kuwahara et al. 1976).

    Each pixel becomes the mean of the flattest of the four 3 x 3 windows that it is a corner of.
    Departure: a mean of the four, weighted by (100 variance + 0.02)^-4 of lightness in [-1, 1], in
    which the flattest counts most, so that nothing jumps where two are about as flat.

    Input and output: RGB, (N, 3, H, W), in [-1, 1], H and W at least 3.

    Attributes:
        photograph: share of the picture itself in the output, a scalar; 0 unless a model that was
            made weaker says otherwise.
    """

    sharpness: Tensor
    photograph: Tensor

    def __init__(self) -> None:
        super().__init__()
        # Kept with the weights, which so tell that the generator has it.
        self.register_buffer("sharpness", torch.tensor(4.0))
        self.register_buffer("photograph", torch.tensor(0.0))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *further: Any) -> None:
        # Earlier files have no share.
        state_dict.setdefault(f"{prefix}photograph", torch.zeros_like(self.photograph))
        super()._load_from_state_dict(state_dict, prefix, *further)

    def forward(self, images: Tensor) -> Tensor:
        """Return the smoothed images, float32."""
        padded = F.pad(images.float(), (2, 2, 2, 2), mode="reflect")
        light = padded.mean(dim=1, keepdim=True)
        means, mean = F.avg_pool2d(padded, 3, stride=1), F.avg_pool2d(light, 3, stride=1)
        variance = (F.avg_pool2d(light.square(), 3, stride=1) - mean.square()).clamp_min(0)
        weights = (100 * variance + 0.02) ** -self.sharpness.float()
        height, width = images.shape[2:]
        corners = [
            (slice(None), slice(None), slice(top, top + height), slice(left, left + width))
            for top in (0, 2)
            for left in (0, 2)
        ]
        total = torch.stack([weights[corner] for corner in corners]).sum(0)
        smoothed = torch.stack([weights[corner] * means[corner] for corner in corners]).sum(0)
        return torch.lerp(smoothed / total, images.float(), self.photograph.float())


_NOISE_SIDE = 256
_NOISE_SIGMAS = (0.0, 2.0, 8.0)


class StrokeNoise(nn.Module):
    """Adds random maps to features, so that strokes have where to begin where a picture is plain.

    Convolutions make the same of all positions that look the same: on a clear sky, rings around
    whatever stands in it. Here each channel gets three maps of unit variance, mixed by learned
    weights: white noise, and noise smoothed by Gaussians of 2 and 8 positions. The maps repeat
    themselves after 256 positions. In training each picture sees other parts of them, which are
    drawn on its device by torch's own random generator; in evaluation all see the same part, so
    that a picture is translated alike each time, in whatever strips.

    Input and output: (N, channels, h, w).

    Args:
        channels: number of channels of the features.
    """

    maps: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(len(_NOISE_SIGMAS), channels, 1, bias=False)
        # NumPy promises that this generator's numbers stay as they are, torch does not of its own.
        white = np.random.RandomState(0).standard_normal(
            (len(_NOISE_SIGMAS), _NOISE_SIDE, _NOISE_SIDE)
        )
        frequency = np.fft.fftfreq(_NOISE_SIDE)
        squares = frequency[:, None] ** 2 + frequency**2
        for smoothed, sigma in zip(white, _NOISE_SIGMAS, strict=True):
            passed = np.fft.fft2(smoothed) * np.exp(-2 * (np.pi * sigma) ** 2 * squares)
            smoothed[:] = np.fft.ifft2(passed).real
        white -= white.mean(axis=(1, 2), keepdims=True)
        white /= white.std(axis=(1, 2), keepdims=True)
        self.register_buffer("maps", torch.from_numpy(white).float(), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return the features with the mixed maps added."""
        size, device = (len(features), len(self.maps)), features.device
        if self.training:
            starts = torch.randint(_NOISE_SIDE, (2, *size, 1), device=device)
        else:
            starts = torch.zeros((2, *size, 1), dtype=torch.long, device=device)
        height, width = features.shape[2:]
        rows = (starts[0] + torch.arange(height, device=device)) % _NOISE_SIDE
        columns = (starts[1] + torch.arange(width, device=device)) % _NOISE_SIDE
        kinds = torch.arange(len(self.maps), device=device)[None, :, None, None]
        drawn = self.maps[kinds, rows[:, :, :, None], columns[:, :, None, :]]
        mixed: Tensor = self.mix(drawn)
        return features + mixed

    def rows(self, start: int, stop: int, width: int) -> Tensor:
        """Return what is added in evaluation to some rows of features, (stop - start, width, C).

        Args:
            start: first row.
            stop: row after the last.
            width: number of columns.
        """
        rows, columns = (
            torch.arange(*ends, device=self.maps.device) % _NOISE_SIDE
            for ends in ((start, stop), (0, width))
        )
        part = self.maps[:, rows[:, None], columns].permute(1, 2, 0)
        return part @ self.mix.weight[:, :, 0, 0].t()


class _KeepInRange(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return values.clamp(-1, 1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (values,) = ctx.saved_tensors
        outwards = ((values > 1) & (gradient < 0)) | ((values < -1) & (gradient > 0))
        return gradient.masked_fill(outwards, 0)


def keep_in_range(values: Tensor) -> Tensor:
    """Clamp to [-1, 1]; gradients that lead back into the range pass, those that lead out do not.

    So a pixel that a network has made too light can be made darker again, unlike behind a plain
    clamp.
    """
    if not (torch.is_grad_enabled() and values.requires_grad):
        return values.clamp(-1, 1)
    kept: Tensor = _KeepInRange.apply(values)
    return kept


class ResizeConv2d(nn.Conv2d):
    """Double the size by nearest neighbor, then a 3x3 convolution (Odena et al. 2016).

    Takes the place of a transposed convolution, whose uneven overlaps draw checkerboards. Being
    a convolution itself, its weight keeps the name that the transposed one would have, with the
    shape (out, in, 3, 3).

    Input (N, in, H, W), output (N, out, 2H, 2W).
    """

    def __init__(self, in_channels: int, out_channels: int, *, bias: bool) -> None:
        super().__init__(in_channels, out_channels, 3, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """Double the size and convolve."""
        enlarged = F.interpolate(x, scale_factor=2, mode="nearest")
        padded = F.pad(enlarged, (1, 1, 1, 1), mode="reflect")
        return super().forward(padded)


def smooth_resize_layer(in_channels: int, out_channels: int, *, bias: bool) -> nn.Module:
    """Return a layer that doubles the size by bilinear interpolation, then a 3x3 convolution.

    Nearest neighbors leave steps between equal blocks for the next layers to smooth;
    interpolation leaves none. Its weights lie one level deeper than those of the other layers
    (``.2.weight``), which tells them apart.

    Input (N, in, H, W), output (N, out, 2H, 2W).
    """
    return nn.Sequential(
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
        nn.ReflectionPad2d(1),
        nn.Conv2d(in_channels, out_channels, 3, bias=bias),
    )


def upsample_layer(
    upsample: str, in_channels: int, out_channels: int, *, bias: bool, kernel: int = 3
) -> nn.Module:
    """Return a layer that doubles height and width.

    Args:
        upsample: kind of upsampling: ``deconv`` (the reference's transposed convolution),
            ``resize`` (nearest neighbor and a convolution) or ``bilinear`` (the same,
            interpolating).
        in_channels: number of input channels.
        out_channels: number of output channels.
        bias: whether the convolution has a bias.
        kernel: side of the transposed convolution's kernel: 3 in a ResNet, 4 in a U-Net.

    Raises:
        ValueError: ``upsample`` is none of the three.
    """
    if upsample == "deconv":
        return nn.ConvTranspose2d(
            in_channels,
            out_channels,
            kernel,
            stride=2,
            padding=1,
            output_padding=kernel % 2,
            bias=bias,
        )
    if upsample == "resize":
        return ResizeConv2d(in_channels, out_channels, bias=bias)
    if upsample == "bilinear":
        return smooth_resize_layer(in_channels, out_channels, bias=bias)
    raise ValueError(f"upsample: expected deconv, resize or bilinear, got {upsample!r}")


def is_per_sample(network: nn.Module) -> bool:
    """Whether the network processes the pictures of a batch independently.

    Batches can then be joined. Only batch normalization in training mode mixes the pictures of a
    batch.
    """
    return not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())


def apply_together(network: nn.Module, *inputs: Tensor) -> list[Tensor]:
    """Apply ``network`` to several batches, in one pass where that gives the same numbers.

    Args:
        network: a generator or discriminator.
        inputs: batches, (N, C, H, W). They are joined if the network processes pictures
            independently and all have the same size; otherwise they are processed one after the
            other.

    Returns:
        One output for each input, in order.
    """
    if len({batch.shape[1:] for batch in inputs}) > 1 or not is_per_sample(network):
        return [network(batch) for batch in inputs]
    return list(network(torch.cat(inputs)).split([len(batch) for batch in inputs]))
