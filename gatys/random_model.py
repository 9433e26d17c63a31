"""Models of torchvision with random weights, the same for a seed, that need no file.

Wang, Li and Vasconcelos 2021 find that with their smoothing, residual networks of random weights
transfer styles too; He, Wang and Hopcroft 2016 balance the layers of a random network. Here batch
normalisation gets the statistics of made-up pictures, and every layer's output is scaled so that
they give it a mean square of 1, as :func:`~impasto.gatys.random_backbone.random_vgg` does.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.hooks import RemovableHandle

from impasto.gatys.model_anatomy import find_anatomy, part_of
from impasto.gatys.model_network import ModelNetwork
from impasto.gatys.random_backbone import calibration_pictures, normal, rounded
from impasto.runs.seeds import make_generator

__all__ = ["random_model"]

# Calibration pictures have positions of the deepest layer beyond one, along each side: statistics
# of a single position for each picture are useless on larger pictures.
_MORE_POSITIONS = 3


def random_model(model: str, seed: int = 0, *, layers: Sequence[str] = ()) -> ModelNetwork:
    """Make a model with random weights, on the CPU, in float32.

    Weights of convolutions and linear layers are independent and nearly normal (He et al. 2015,
    equation 10). Normalisation multiplies by 1. So do ConvNeXt's layer scales, which torchvision
    starts at 1e-6: training has to raise them, and until then blocks are not seen. The same seed
    gives the same bits: what is measured is rounded to 8 binary digits.

    Args:
        model: torchvision's name.
        seed: of weights and calibration pictures.
        layers: the network has no more than these need, as if it were truncated; all unless given.

    Returns:
        The network, frozen.

    Raises:
        OptionError: torchvision has no such model, or it takes pictures of one size only.
        ValueError: it has no such layer.
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
        if isinstance(module, _BatchNorm)
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
    """Give batch normalisation the statistics of what it is about to see."""
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
    measure.run(network.normalise(pictures))
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
        found = super().run_node(n)
        if n in self.layers:
            energy = found.square().mean()
            factor = rounded(energy.rsqrt()).item() if energy > 0 else 1.0
            self.factors[self.layers[n]] = factor
        return found
