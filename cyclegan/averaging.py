"""Running averages of weights: the average translates more steadily than the latest weights."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["WeightAverage"]


class WeightAverage:
    """Exponential moving average of a network's weights (Yazici et al. 2019).

    Departure: the decay of early steps is (1 + step) / (10 + step), where that is smaller, so that
    the random initial weights are forgotten.

    Args:
        network: the network to follow.
        decay: share of the old average that each step keeps, in (0, 1).
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay: expected a number between 0 and 1, got {decay}")
        self.decay = decay
        self.steps = 0
        self._average = {key: value.detach().clone() for key, value in _floats(network)}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network's present weights."""
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        present = dict(_floats(network))
        averages = [self._average[key] for key in present]
        torch._foreach_lerp_(averages, list(present.values()), 1 - decay)

    def weights(self, network: nn.Module) -> dict[str, Tensor]:
        """Return a state_dict of ``network`` with the averages in place of its weights."""
        return {**network.state_dict(), **self._average}

    @torch.no_grad()
    def restart(self, network: nn.Module) -> None:
        """Begin anew from the network's present weights."""
        self.steps = 0
        for key, value in _floats(network):
            self._average[key].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and how many steps they have seen."""
        return {"steps": self.steps, "average": dict(self._average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        for key, value in self._average.items():
            value.copy_(state["average"][key])
        self.steps = int(state["steps"])


def _floats(network: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Yield the weights and buffers that can be averaged."""
    return (
        (key, value) for key, value in network.state_dict().items() if value.is_floating_point()
    )
