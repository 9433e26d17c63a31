"""Initial weights of generators and discriminators."""

import torch
from torch import nn

__all__ = ["init_weights"]


def init_weights(
    network: nn.Module,
    *,
    init_type: str = "normal",
    gain: float = 0.02,
    generator: torch.Generator,
) -> None:
    """Draw the weights of every convolution anew, in place; biases become 0.

    Zhu et al. 2017, appendix 7.1: N(0, 0.02). Weights of batch normalisation are drawn from
    N(1, gain) (Radford et al. 2016).

    Args:
        network: the network to initialise, on the CPU.
        init_type: ``normal`` (gain is the standard deviation), ``xavier``, ``kaiming`` (gain is
            not used) or ``orthogonal``.
        gain: scale of the weights.
        generator: source of randomness, on the CPU.

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
