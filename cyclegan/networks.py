"""The networks of a CycleGAN, their initial weights, and named sets of networks.

Generators are a ResNet (Johnson et al. 2016, Zhu et al. 2017) and a U-Net (Isola et al. 2017),
discriminators a PatchGAN (Isola et al. 2017) and its one-pixel variant. Layer order and state_dict
keys equal the reference implementation's, so that weights move freely between the two.
"""

from collections import OrderedDict
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from impasto.cyclegan.blocks import (
    ColorSkip,
    ResnetBlock,
    SoftKuwahara,
    StrokeNoise,
    has_bias,
    keep_in_range,
    norm_layer,
    upsample_layer,
)
from impasto.cyclegan.convolutions import Conv2d
from impasto.options.errors import CheckpointError, OptionError
from impasto.runs.meter import require_finite_weights

__all__ = [
    "Generator",
    "Networks",
    "PatchDiscriminator",
    "PixelDiscriminator",
    "ResnetGenerator",
    "UnetGenerator",
    "freeze_encoders",
    "init_weights",
    "load_weights",
    "receptive_field",
]


_ENCODER = 10  # layers of a ResNet before its first residual block


class Generator(nn.Module):
    """Base of all generators: images in, images of the same size and range out.

    Attributes:
        stride: number of pixels of which the sides of its inputs must be multiples.
        smallest: smallest side of its inputs, in pixels.
        in_channels: number of channels of its inputs.
        out_channels: number of channels of its outputs.
    """

    stride: int
    smallest: int
    in_channels: int = 3
    out_channels: int = 3

    def encoder(self) -> list[nn.Module]:
        """Return the layers down to the lowest resolution, which ``--freeze encoder`` keeps.

        A generator that names none cannot be trained so.
        """
        return []


class ResnetGenerator(Generator):
    """Two strided convolutions down, residual blocks at a quarter of the size, two steps up.

    Input and output: RGB, (N, 3, H, W), float in [-1, 1], H and W multiples of 4, at least 8.
    Zhu et al. 2017, appendix 7.2: c7s1-64, d128, d256, R256 x 9, u128, u64, c7s1-3.

    Args:
        channels: number of filters of the first convolution (``ngf``).
        blocks: number of residual blocks: 9 for 256 px, 6 for 128 px.
        norm: normalization: ``instance``, ``affine``, ``batch``, ``layer`` or ``none``.
        dropout: whether to use dropout of 0.5 in the blocks.
        upsample: upsampling layers: ``deconv``, ``resize`` (nearest neighbor + convolution) or
            ``bilinear``.
        color_skip: whether to add a skip connection for colors around all layers, see
            :class:`~impasto.cyclegan.blocks.ColorSkip`.
        base: what the output of the last convolution is added to: ``none``, or ``kuwahara``, the
            picture without its texture (:class:`~impasto.cyclegan.blocks.SoftKuwahara`); the sum is
            clamped, in place of a tanh.
        noise: whether to add noise to the features before the residual blocks, see
            :class:`~impasto.cyclegan.blocks.StrokeNoise`.
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.

    Attributes:
        blocks: number of residual blocks.

    Raises:
        ValueError: ``norm``, ``upsample`` or ``base`` is unknown, or ``color_skip`` or ``base`` is
            set without three input and output channels.
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
        base: str = "none",
        noise: bool = False,
        in_channels: int = 3,
        out_channels: int = 3,
    ) -> None:
        super().__init__()
        if base not in {"none", "kuwahara"}:
            raise ValueError(f"base: expected none or kuwahara, got {base!r}")
        for name, given in (("color_skip", color_skip), ("base", base != "none")):
            if given and (in_channels, out_channels) != (3, 3):
                raise ValueError(
                    f"{name}: needs RGB, got {in_channels} and {out_channels} channels"
                )
        normalize, bias = norm_layer(norm), has_bias(norm)

        def finish(width: int) -> list[nn.Module]:
            return [normalize(width), nn.ReLU(inplace=True)]

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
        layers += [nn.ReflectionPad2d(3), Conv2d(channels, out_channels, 7), nn.Tanh()]
        self.model = nn.Sequential(*layers)
        self.color_skip = ColorSkip(reduction=self.stride) if color_skip else None
        self.base = SoftKuwahara() if base == "kuwahara" else None
        self.noise = StrokeNoise(4 * channels) if noise else None
        self.blocks = blocks
        self.in_channels, self.out_channels = in_channels, out_channels

    def forward(self, images: Tensor) -> Tensor:
        """Translate images (N, 3, H, W) in [-1, 1] to the other domain, same shape and range."""
        if self.color_skip is None and self.base is None and self.noise is None:
            return self.model(images)  # type: ignore[no-any-return]
        if self.noise is None:
            painted: Tensor = self.model[:-1](images)
        else:
            painted = self.model[_ENCODER:-1](self.noise(self.model[:_ENCODER](images)))
        if self.color_skip is not None:
            painted = painted + self.color_skip(images)
        if self.base is not None:
            return keep_in_range(self.base(images) + painted)
        return self.model[-1](painted)  # type: ignore[no-any-return]

    def encoder(self) -> list[nn.Module]:
        """Return the first convolution and the two strided ones, with their normalization."""
        return list(self.model[:_ENCODER])


class UnetGenerator(Generator):
    """Encoder and decoder with a skip connection at every size.

    Input and output: RGB, (N, 3, H, W), float in [-1, 1], H and W multiples of 2**downs.

    Args:
        downs: number of halvings: 8 for ``unet_256``, 7 for ``unet_128``.
        channels: number of filters of the first convolution (``ngf``).
        norm: normalization: ``instance``, ``affine``, ``batch``, ``layer`` or ``none``.
        dropout: whether to use dropout of 0.5 in the inner blocks of full width.
        upsample: upsampling layers: ``deconv``, ``resize`` (nearest neighbor + convolution) or
            ``bilinear``.
        in_channels: number of channels of the input.
        out_channels: number of channels of the output.

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
        self.in_channels, self.out_channels = in_channels, out_channels
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

    def encoder(self) -> list[nn.Module]:
        """Return the strided convolutions of all levels, with their normalization."""
        levels = [module for module in self.modules() if isinstance(module, _SkipBlock)]
        outermost = next(module for module in self.modules() if isinstance(module, nn.Conv2d))
        return [outermost, *(layer for level in levels for layer in level.down)]


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
        normalize, bias = norm_layer(norm), has_bias(norm)
        down: list[nn.Module] = [
            nn.LeakyReLU(0.2, inplace=True),
            nn.Conv2d(outer, width, 4, stride=2, padding=1, bias=bias),
        ]
        if inner is not None:
            down += [normalize(width), inner]
        joined = width if inner is None else 2 * width
        up: list[nn.Module] = [
            nn.ReLU(inplace=True),
            upsample_layer(upsample, joined, outer, bias=bias, kernel=4),
            normalize(outer),
        ]
        self.model = nn.Sequential(*down, *up, *([nn.Dropout(0.5)] if dropout else []))
        self._down_layers = len(down) if inner is None else len(down) - 1

    @property
    def down(self) -> list[nn.Module]:
        """The layers before the next level."""
        return list(self.model[: self._down_layers])

    def forward(self, x: Tensor) -> Tensor:
        # The first layer works in place, so the skip carries the activated input. A ReLU follows
        # every join, so that is the same as carrying the input itself.
        out = self.model(x)
        return torch.cat([x, out], dim=1)


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of a picture; three layers see 70 x 70 pixels each.

    Input: RGB, (N, 3, H, W), float in [-1, 1]. Output: scores (N, 1, h, w) without sigmoid;
    256 px give 30 x 30 scores. Zhu et al. 2017, appendix 7.2: C64-C128-C256-C512.

    Args:
        channels: number of filters of the first convolution (``ndf``).
        layers: number of convolutions with stride 2.
        norm: normalization: ``instance``, ``affine``, ``batch``, ``layer`` or ``none``.
        in_channels: number of channels of the input.

    Raises:
        ValueError: ``norm`` is unknown.
    """

    def __init__(
        self, *, channels: int = 64, layers: int = 3, norm: str = "instance", in_channels: int = 3
    ) -> None:
        super().__init__()
        normalize, bias = norm_layer(norm), has_bias(norm)
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
                normalize(width),
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
        channels: number of filters of the first convolution (``ndf``).
        norm: normalization: ``instance``, ``affine``, ``batch``, ``layer`` or ``none``.
        in_channels: number of channels of the input.

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


def init_weights(
    network: nn.Module,
    *,
    init_type: str = "normal",
    gain: float = 0.02,
    generator: torch.Generator,
) -> None:
    """Draw the weights of every convolution anew, in place; biases become 0.

    Zhu et al. 2017, appendix 7.1: N(0, 0.02). Weights of batch normalization are drawn from
    N(1, gain) (Radford et al. 2016).

    Args:
        network: the network to initialize, on the CPU.
        init_type: distribution of the weights: ``normal`` (gain is the standard deviation),
            ``xavier``, ``kaiming`` (gain is not used) or ``orthogonal``.
        gain: scale of the weights.
        generator: random generator, on the CPU.

    Raises:
        ValueError: ``init_type`` is unknown.
    """
    draw = {
        "normal": lambda weight: nn.init.normal_(weight, 0.0, gain, generator=generator),
        "xavier": lambda weight: nn.init.xavier_normal_(weight, gain, generator=generator),
        "kaiming": lambda weight: nn.init.kaiming_normal_(weight, generator=generator),
        "orthogonal": lambda weight: nn.init.orthogonal_(weight, gain, generator=generator),
    }
    if init_type not in draw:
        raise ValueError(f"init_type: expected one of {', '.join(draw)}, got {init_type!r}")
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            draw[init_type](module.weight)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, gain, generator=generator)
            nn.init.zeros_(module.bias)


class Networks(Mapping[str, nn.Module]):
    """Networks by name, such as ``G_A``, as used in file names.

    Args:
        networks: networks by name, in the order in which they are saved.
    """

    def __init__(self, networks: Mapping[str, nn.Module]) -> None:
        self._modules = nn.ModuleDict(networks)

    def __getitem__(self, name: str) -> nn.Module:
        return self._modules[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._modules)

    def __len__(self) -> int:
        return len(self._modules)

    def only(self, *names: str) -> "Networks":
        """Return some of the networks, in the given order."""
        return Networks({name: self[name] for name in names})

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of all networks, for an optimizer."""
        return self._modules.parameters()

    def requires_grad_(self, requires_grad: bool) -> None:
        """Enable or disable the gradients of all networks' parameters."""
        self._modules.requires_grad_(requires_grad)

    def train(self, training: bool) -> None:
        """Put all networks into training mode, or into evaluation mode."""
        self._modules.train(training)

    def to(self, device: torch.device) -> "Networks":
        """Move all networks to a device, and return them."""
        self._modules.to(device)
        return self

    def check_finite(self) -> None:
        """Refuse weights that are not finite, so that a good state is never overwritten.

        Raises:
            TrainingError: a weight is not finite; the message names the first such network.
        """
        for name, network in self.items():
            require_finite_weights(network.parameters(), what=name)

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return the weights of each network, by name."""
        return {name: network.state_dict() for name, network in self.items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the weights of each network.

        Raises:
            CheckpointError: a network is missing, or its weights do not fit; the message names
                them.
        """
        for name, network in self.items():
            if name not in state:
                raise CheckpointError(f"holds no network {name}, only {', '.join(state)}")
            load_weights(network, state[name], what=f"the network {name}")


def load_weights(network: nn.Module, weights: Mapping[str, Tensor], *, what: str) -> None:
    """Load a state_dict strictly.

    Args:
        network: network to load into.
        weights: state_dict to load.
        what: description of the network, for error messages.

    Raises:
        CheckpointError: a weight is missing, unknown or of the wrong shape; the message names the
            weights.
    """
    expected = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    given = {key: tuple(value.shape) for key, value in weights.items()}
    # Earlier files have no share of the picture, which then is none.
    later = {
        f"{name}.photograph"
        for name, module in network.named_modules()
        if isinstance(module, SoftKuwahara)
    }
    problems = [f"missing {key}" for key in expected if key not in given and key not in later]
    problems += [f"unknown {key}" for key in given if key not in expected]
    problems += [
        f"{key} has shape {given[key]}, expected {shape}"
        for key, shape in expected.items()
        if key in given and given[key] != shape
    ]
    if problems:
        more = f", and {len(problems) - 6} more" if len(problems) > 6 else ""
        raise CheckpointError(f"does not fit {what}: {'; '.join(problems[:6])}{more}")
    network.load_state_dict(dict(weights))


def freeze_encoders(networks: Networks) -> None:
    """Keep the weights of the generators' encoders, and what normalization remembers there.

    Raises:
        OptionError: the generators do not say what their encoder is.
    """
    for name, network in networks.items():
        if not isinstance(network, Generator):
            continue
        layers = network.encoder()
        if not layers:
            raise OptionError(
                "freeze", f"{name} names no encoder (Generator.encoder); expected none"
            )
        for layer in layers:
            layer.requires_grad_(False)
            if isinstance(layer, nn.BatchNorm2d):
                layer.momentum = 0.0  # the running statistics stay, too
