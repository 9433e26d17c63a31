"""The four networks of a CycleGAN."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from impasto.cyclegan.architecture import Generator
from impasto.cyclegan.weights import load_weights

__all__ = ["Networks"]


@dataclass(frozen=True, kw_only=True)
class Networks:
    """Two generators and two discriminators, named as in the reference implementation.

    Attributes:
        G_A: translates A to B (G of the paper).
        G_B: translates B to A (F of the paper).
        D_A: judges domain **B**: real B against G_A(A) (D_Y of the paper).
        D_B: judges domain **A**: real A against G_B(B) (D_X of the paper).
    """

    G_A: Generator
    G_B: Generator
    D_A: nn.Module
    D_B: nn.Module

    def named(self) -> dict[str, nn.Module]:
        """Return the networks by the names that their files have."""
        return {"G_A": self.G_A, "G_B": self.G_B, "D_A": self.D_A, "D_B": self.D_B}

    @property
    def generators(self) -> nn.ModuleList:
        """Both generators."""
        return nn.ModuleList([self.G_A, self.G_B])

    @property
    def discriminators(self) -> nn.ModuleList:
        """Both discriminators."""
        return nn.ModuleList([self.D_A, self.D_B])

    def to(self, device: torch.device) -> "Networks":
        """Move all four to a device."""
        for network in self.named().values():
            network.to(device)
        return self

    def state_dict(self) -> dict[str, dict[str, Tensor]]:
        """Return the weights of each network, by name."""
        return {name: network.state_dict() for name, network in self.named().items()}

    def load_state_dict(self, state: Mapping[str, Mapping[str, Tensor]]) -> None:
        """Load the weights of each network.

        Raises:
            CheckpointError: weights do not fit; names them.
        """
        for name, network in self.named().items():
            load_weights(network, state[name], what=f"the network {name}")
