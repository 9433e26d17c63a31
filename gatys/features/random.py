"""Feature networks with random weights, reproducible from a seed, that need no file.

:func:`random_vgg` is the built-in backbone. He, Wang and Hopcroft 2016 ("A powerful generative
model using random weights for the deep image representation") transfer styles with a VGG of random
Gaussian filters and average pooling, after balancing the contributions of its layers; Ustyuzhaninov
et al. 2017 ("What does it take to generate natural textures?") get textures from a single layer of
random filters of several sizes. Here the balance is in the network: every layer is scaled so that
made-up pictures give activations with a mean square of 1, much as Gatys et al. 2016, section 2,
rescale the filters of their trained VGG to a mean activation of 1. The user's pictures are not used
for it.

Departure: He et al. draw each layer several times and keep the filters from which a picture can
best be reconstructed; that takes an optimization per layer and is not done.

:func:`random_model` makes any model of torchvision. Wang, Li and Vasconcelos 2021 find that with
their smoothing, residual networks of random weights transfer styles too. Here batch normalization
gets the statistics of made-up pictures, and every layer's output is scaled as in the VGG.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, fx, nn
from torch.utils.hooks import RemovableHandle

from impasto.gatys.features.graph import find_anatomy, part_of
from impasto.gatys.features.models import ModelNetwork
from impasto.gatys.features.vgg import IMAGENET_MEAN, IMAGENET_STD, Pooling, Vgg
from impasto.runs.state import make_generator

__all__ = [
    "RANDOM_RECIPE",
    "Filters",
    "Normalize",
    "RandomRecipe",
    "calibration_pictures",
    "normal",
    "random_model",
    "random_vgg",
    "rounded",
]


Filters = Literal["kaiming", "orthogonal"]
Normalize = Literal["layer", "channel"]

# Measured with seeds 0 and 1 on the sample photographs, at 256 pixels: mean squares are 0.3 to 5
# down to relu5_1 with the default recipe, however many pictures. Channels that are centered or
# scaled one by one fit photographs less, up to 60 times too strong there; clouds of 1 / f noise in
# place of discs made that several hundred. Losses relative to the target's energy do not care.
_CALIBRATION_PICTURES = 8
_CALIBRATION_SIDE = 96
_DISCS = 400
_SMALLEST_RADIUS = 2.0


@dataclass(frozen=True, kw_only=True)
class RandomRecipe:
    """The parameters of a random VGG.

    Attributes:
        depth: 16 or 19.
        width: number of channels relative to the published network.
        pooling: ``average`` as in Gatys et al. 2016, ``max`` or ``l2``.
        filters: ``kaiming``: independent and nearly normal (He et al. 2015, equation 10);
            ``orthogonal``: the same, with the filters of each layer made orthogonal where possible
            (Saxe et al. 2014).
        first_kernels: side lengths of the first layer's filters, odd. Each size gets an equal share
            of the channels, as in the multi-scale model of Ustyuzhaninov et al. 2017.
        normalize: whether one factor per layer, or one per channel, makes the mean square 1.
            In random layers, the features of all positions point more and more the same way
            (mean cosine on the sample photographs: 0.62 at relu1_1, 0.85 at relu5_1), so that deep
            layers tell little of a picture; one factor per channel lifts the channels that vary
            (0.35 at relu5_1).
        centered: shift each channel so that its mean before the ReLU is 0 (Salimans and Kingma
            2016, section 3), against the same (0.49 at relu5_1).
        replicate_padding: the first convolution continues the picture by its edge pixels.
    """

    depth: int = 19
    width: float = 0.5
    pooling: Pooling = "average"
    filters: Filters = "kaiming"
    first_kernels: tuple[int, ...] = (3,)
    normalize: Normalize = "layer"
    centered: bool = False
    replicate_padding: bool = True


RANDOM_RECIPE = RandomRecipe(width=0.5, pooling="average", normalize="channel")
"""That of the network ``random``. One factor per channel, or deep layers would tell next to nothing
of a picture."""


def random_vgg(seed: int = 0, recipe: RandomRecipe | None = None) -> Vgg:
    """Make a VGG with random filters, on the CPU, in float32.

    The same seed gives the same bits on every machine: the draws are exact, sums run in float64,
    and measured values are rounded to 8 binary digits, which is far coarser than the differences
    between machines.

    Args:
        seed: seed of the filters and the calibration pictures.
        recipe: parameters of the network; the default recipe unless given.

    Returns:
        The network, frozen.
    """
    recipe = recipe or RandomRecipe()
    network = Vgg(
        depth=recipe.depth,
        width=recipe.width,
        pooling=recipe.pooling,
        replicate_padding=recipe.replicate_padding,
        first_kernel=max(recipe.first_kernels),
    ).double()
    generator = torch.Generator().manual_seed(seed)
    for name in network.layers:
        if name.startswith("conv"):
            kernels = recipe.first_kernels if name == "conv1_1" else (3,)
            weight = network.convolution(name).weight
            weight.copy_(_filters(weight.shape, kernels, recipe.filters, generator))
    _calibrate(network, calibration_pictures(generator), recipe)
    return network.float()


def calibration_pictures(
    generator: torch.Generator, *, count: int = _CALIBRATION_PICTURES, side: int = _CALIBRATION_SIDE
) -> Tensor:
    """Make synthetic pictures with the statistics of photographs, from overlapping discs.

    Discs whose radii have a density of r^-3 give the edges and the scale invariance of photographs
    (Ruderman 1997; Lee, Mumford and Huang 2001). Their colors have about the means and standard
    deviations of ImageNet, and differ in gray much more than in color.

    Args:
        generator: source of randomness, on the CPU.
        count: number of pictures.
        side: height and width of the pictures, in pixels.

    Returns:
        RGB, (count, 3, side, side), float64 in [0, 1].
    """
    return torch.stack([_discs(side, generator) for _ in range(count)])


def _discs(side: int, generator: torch.Generator) -> Tensor:
    """Paint one picture; elementary arithmetic in float64, so the same on every machine."""
    uniform = torch.rand(3, _DISCS, generator=generator).double()
    drawn = normal(_DISCS * 4, generator).view(_DISCS, 4, 1, 1)
    mean, std = (
        torch.tensor(values, dtype=torch.float64).view(3, 1, 1)
        for values in (IMAGENET_MEAN, IMAGENET_STD)
    )
    colors = mean + std * (drawn[:, :1] + 0.3 * drawn[:, 1:])
    largest, smallest = side**-2, _SMALLEST_RADIUS**-2
    squared_radii = 1 / (smallest - uniform[0] * (smallest - largest))
    # Centers may lie outside by a tenth, or edges would have fewer discs.
    down, across = (1.2 * uniform[1:] - 0.1) * side
    place = torch.arange(side, dtype=torch.float64)
    picture = mean.expand(3, side, side)
    for y, x, squared, color in zip(down, across, squared_radii, colors, strict=True):
        inside = (place.view(-1, 1) - y) ** 2 + (place - x) ** 2 < squared
        picture = torch.where(inside, color, picture)
    return picture.clamp(0, 1)


def _filters(
    shape: torch.Size, kernels: tuple[int, ...], kind: Filters, generator: torch.Generator
) -> Tensor:
    """Draw the filters of a layer, (C', C, K, K), float64."""
    weight = torch.zeros(shape, dtype=torch.float64)
    largest = shape[-1]
    for kernel, group in zip(kernels, weight.tensor_split(len(kernels)), strict=True):
        edge = (largest - kernel) // 2
        fan_in = shape[1] * kernel * kernel
        drawn = normal(group.shape[0] * fan_in, generator).view(-1, fan_in)
        if kind == "orthogonal":
            drawn = _orthogonal(drawn)
        window = group[..., edge : edge + kernel, edge : edge + kernel]
        window.copy_((math.sqrt(2 / fan_in) * drawn).view_as(window))
    return weight


def normal(count: int, generator: torch.Generator) -> Tensor:
    """Draw nearly normal numbers of mean 0 and variance 1: sums of four uniform ones.

    torch's own normal numbers differ in the last bits between processors; uniform ones and their
    sums in float64 are exact.
    """
    uniform = torch.rand(4, count, generator=generator)
    drawn: Tensor = (uniform.double().sum(dim=0) - 2) * math.sqrt(3)
    return drawn


def _orthogonal(matrix: Tensor) -> Tensor:
    """Return a matrix with orthogonal rows, or columns if these are fewer, of mean square 1."""
    tall = matrix.shape[0] >= matrix.shape[1]
    q, r = torch.linalg.qr(matrix if tall else matrix.T)
    q = q * r.diagonal().sign()  # else the draw would not be uniform (Mezzadri 2007)
    orthogonal = q if tall else q.T
    return rounded(orthogonal / orthogonal.square().mean().sqrt(), bits=16)


def _calibrate(network: Vgg, pictures: Tensor, recipe: RandomRecipe) -> None:
    """Scale every convolution so that the mean square after its ReLU is 1 on these pictures."""
    over = (0, 2, 3) if recipe.normalize == "channel" else (0, 1, 2, 3)
    features = network.normalize(pictures)
    for name in network.layers:
        features = network.compute(name, features)
        if not name.startswith("conv"):
            continue
        shift = torch.zeros(features.shape[1], dtype=features.dtype)
        if recipe.centered:
            shift = rounded(-features.mean(dim=(0, 2, 3)))
        shifted = features + shift.view(1, -1, 1, 1)
        energy = shifted.clamp_min(0).square().mean(dim=over)
        # A channel that never fires stays as it is.
        factor = torch.where(energy > 0, rounded(energy.rsqrt()), 1.0).expand_as(shift)
        convolution = network.convolution(name)
        assert convolution.bias is not None  # noqa: S101 - as Vgg makes them
        convolution.weight.mul_(factor.view(-1, 1, 1, 1))
        convolution.bias.copy_(shift * factor)
        features = shifted * factor.view(1, -1, 1, 1)


def rounded(values: Tensor, *, bits: int = 8) -> Tensor:
    """Round to a number of binary digits, to remove rounding differences between machines."""
    mantissa, exponent = torch.frexp(values)
    return torch.ldexp((mantissa * 2**bits).round(), exponent - bits)


# Calibration pictures have positions of the deepest layer beyond one, along each side: statistics
# of a single position for each picture are useless on larger pictures.
_MORE_POSITIONS = 3


def random_model(model: str, seed: int = 0, *, layers: Sequence[str] = ()) -> ModelNetwork:
    """Make a model with random weights, on the CPU, in float32.

    Weights of convolutions and linear layers are independent and nearly normal (He et al. 2015,
    equation 10). Normalization multiplies by 1. So do ConvNeXt's layer scales, which torchvision
    starts at 1e-6: only training raises them, and until then the blocks have almost no effect. The
    same seed gives the same bits: measured values are rounded to 8 binary digits.

    Args:
        model: torchvision's name.
        seed: seed of the weights and the calibration pictures.
        layers: layers to keep; the network is truncated to what they need; all unless given.

    Returns:
        The network, frozen.

    Raises:
        OptionError: torchvision has no such model, or it takes pictures of one size only.
        ValueError: the model has no such layer.
    """
    network = ModelNetwork(model)
    deepest = network.layers[-1]
    side = network.smallest([deepest]) + _MORE_POSITIONS * network.strides[deepest]
    if layers:
        network.truncate(layers)
    network.double()
    for name, parameter in network.body.named_parameters():
        # A generator for each, so that weights do not depend on what else there is.
        _fill(name.rsplit(".", 1)[-1], parameter, make_generator(seed, name))
    handles = [
        module.register_forward_pre_hook(_measure)
        for module in network.body.modules()
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d)
    ]
    try:
        network.factors = _factors(
            network, calibration_pictures(make_generator(seed, "pictures"), side=side)
        )
    finally:
        _remove(handles)
    return network.float()


def _fill(kind: str, parameter: Tensor, generator: torch.Generator) -> None:
    if kind == "weight" and parameter.ndim > 1:
        fan_in = parameter[0].numel()
        drawn = normal(parameter.numel(), generator).view_as(parameter)
        parameter.copy_(math.sqrt(2 / fan_in) * drawn)
    elif kind in {"weight", "layer_scale"}:
        nn.init.ones_(parameter)
    else:
        nn.init.zeros_(parameter)


def _measure(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """Give batch normalization the statistics of what it is about to see."""
    (features,) = inputs
    over = [axis for axis in range(features.ndim) if axis != 1]
    module.get_buffer("running_mean").copy_(rounded(features.mean(dim=over)))
    variance = features.var(dim=over, correction=0)
    # A channel that says nothing stays as it is.
    module.get_buffer("running_var").copy_(
        torch.where(variance > 0, rounded(variance), torch.ones_like(variance))
    )


def _factors(network: ModelNetwork, pictures: Tensor) -> dict[str, float]:
    """Return what brings the mean square of each layer to 1, calibrating on the way."""
    anatomy = find_anatomy(network.model)
    graph, nodes = part_of(anatomy, network.layers, returned=network.layers[-1:])
    layers = {node: name for name, node in nodes.items()}
    measure = _Measure(fx.GraphModule(network.body, graph), layers)
    measure.run(network.normalize(pictures))
    return measure.factors


def _remove(handles: list[RemovableHandle]) -> None:
    for handle in handles:
        handle.remove()


class _Measure(fx.Interpreter):
    """Runs a network node by node, keeping no map of features longer than it is needed."""

    def __init__(self, network: fx.GraphModule, layers: Mapping[fx.Node, str]) -> None:
        super().__init__(network)
        self.layers = layers
        self.factors: dict[str, float] = {}

    def run_node(self, n: fx.Node) -> Any:
        output = super().run_node(n)
        if n in self.layers:
            energy = output.square().mean()
            factor = rounded(energy.rsqrt()).item() if energy > 0 else 1.0
            self.factors[self.layers[n]] = factor
        return output
