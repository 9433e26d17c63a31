"""Learning-rate schedules, and running averages of weights.

Schedules go by whole epochs. The average of a generator's weights translates more steadily than its
latest weights do.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from impasto.runs.capture import on_device

__all__ = [
    "LearningRate",
    "WeightAverage",
    "exported_weights",
    "load_optimizer",
    "lr_multiplier",
    "make_adam",
    "optimizer_state",
]


_POLICIES = ("linear", "step", "cosine", "plateau")


def lr_multiplier(
    policy: str, epoch: int, *, n_epochs: int, n_epochs_decay: int, lr_decay_iters: int = 50
) -> float:
    """Return the factor of the initial learning rate in ``epoch``.

    Args:
        policy: schedule; ``linear``: constant, then linearly to zero (Zhu et al. 2017, section 4);
            as in the reference the divisor is one more than the decaying epochs, so that the last
            epoch still learns. ``step``: multiplied by 0.1 every ``lr_decay_iters`` epochs.
            ``cosine``: half a cosine over all epochs (Loshchilov and Hutter 2017, eq. 5);
            departure: the reference anneals over ``n_epochs`` alone and then climbs again.
            ``plateau``: 1, since it depends on the losses.
        epoch: number of the epoch, counted from 1.
        n_epochs: number of epochs at the full rate.
        n_epochs_decay: number of epochs in which the rate falls.
        lr_decay_iters: number of epochs between two drops of ``step``.

    Raises:
        ValueError: the policy is unknown.

    Example:
        >>> round(2e-4 * lr_multiplier("linear", 150, n_epochs=100, n_epochs_decay=100), 10)
        0.0001009901
    """
    if policy == "linear":
        return max(0.0, 1.0 - max(0, epoch - n_epochs) / (n_epochs_decay + 1))
    if policy == "step":
        return float(0.1 ** ((epoch - 1) // lr_decay_iters))
    if policy == "cosine":
        return 0.5 * (1 + math.cos(math.pi * (epoch - 1) / (n_epochs + n_epochs_decay)))
    if policy == "plateau":
        return 1.0
    raise ValueError(f"lr_policy: expected one of {', '.join(_POLICIES)}, got {policy!r}")


class LearningRate:
    """Sets the learning rate of optimizers at the start of each epoch.

    All policies except ``plateau`` are pure functions of the epoch, so that a longer
    ``n_epochs_decay`` takes effect as soon as a run is resumed.

    Args:
        optimizers: optimizers whose rate is set.
        lr: initial learning rate.
        policy: schedule, see :func:`lr_multiplier`; ``plateau`` divides the rate by 5 in the
            sixth epoch in a row without 1 % of progress.
        n_epochs: number of epochs at the full rate.
        n_epochs_decay: number of epochs in which the rate falls.
        lr_decay_iters: number of epochs between two drops of ``step``.
        warmup_images: number of pictures at the start in which the rate rises linearly from 0 to
            that of the schedule.

    Attributes:
        present: the learning rate of the next step.

    Raises:
        ValueError: the policy is unknown.
    """

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        *,
        lr: float,
        policy: str,
        n_epochs: int,
        n_epochs_decay: int,
        lr_decay_iters: int = 50,
        warmup_images: int = 0,
    ) -> None:
        self.lr = self.present = self._scheduled = lr
        self._warmup_images, self._images = warmup_images, 0
        self._optimizers = optimizers
        self._policy = policy
        self._lengths = {
            "n_epochs": n_epochs,
            "n_epochs_decay": n_epochs_decay,
            "lr_decay_iters": lr_decay_iters,
        }
        self._plateaus = [
            ReduceLROnPlateau(optimizer, factor=0.2, threshold=0.01, patience=5)
            for optimizer in (optimizers if policy == "plateau" else ())
        ]
        self.start_epoch(1)

    def start_epoch(self, epoch: int) -> None:
        """Set the learning rate of ``epoch``, counted from 1."""
        if not self._plateaus:
            self._set(self.lr * lr_multiplier(self._policy, epoch, **self._lengths))

    def end_epoch(self, loss: float) -> None:
        """Pass the mean generator loss of the finished epoch to ``plateau``."""
        lowered = self._scheduled
        for plateau in self._plateaus:
            groups = plateau.optimizer.param_groups
            kept = [group["lr"] for group in groups]
            for group in groups:
                group["lr"] = self._scheduled  # a tensor would be replaced, or read from the device
            plateau.step(loss)
            lowered = float(groups[0]["lr"])
            for group, rate in zip(groups, kept, strict=True):
                group["lr"] = rate
        if self._plateaus:
            self._set(lowered)

    def end_step(self, images: int) -> None:
        """Count the pictures of a finished step, of all processes; in the warm-up, raise the rate.

        The step that comes after n pictures has min(1, (n + 1) / ``warmup_images``) of the rate.
        """
        warming = self._images < self._warmup_images
        self._images += images
        if warming:
            self._set(self._scheduled)

    def _set(self, rate: float) -> None:
        self._scheduled = self.present = rate
        if self._images + 1 < self._warmup_images:
            self.present = rate * (self._images + 1) / self._warmup_images
        for group in (group for optimizer in self._optimizers for group in optimizer.param_groups):
            _set_rate(group, self.present)

    @property
    def needs_loss(self) -> bool:
        """Whether :meth:`end_epoch` uses the loss."""
        return bool(self._plateaus)

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state: the rates, and the progress of ``plateau`` and of the warm-up."""
        plateaus = [plateau.state_dict() for plateau in self._plateaus]
        return {
            "lr": self.lr,
            "present": self._scheduled,
            "plateaus": plateaus,
            "images": self._images,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state, and from the rates that the optimizers were saved with.

        If ``plateau`` is new to the run, it starts anew; a changed initial rate changes the current
        one in proportion.
        """
        for plateau, saved in zip(self._plateaus, state["plateaus"], strict=False):
            plateau.load_state_dict(saved)
        # States of earlier versions count no pictures, and had no warm-up.
        self._images = state.get("images", self._warmup_images)
        rate = state.get("present")  # states of earlier versions hold none
        if rate is None:
            rate = float(self._optimizers[0].param_groups[0]["lr"])
        self._set(rate * (self.lr / state["lr"]) if self._plateaus else rate)


def make_adam(
    parameters: Iterable[nn.Parameter],
    *,
    lr: float,
    betas: tuple[float, float],
    in_graph: bool = False,
) -> Adam:
    """Make Adam (Kingma and Ba 2015), with its other settings as torch has them.

    Args:
        parameters: parameters to optimize, on their device.
        lr: initial learning rate.
        betas: decay rates of the two moments.
        in_graph: keep the rate and the count of steps on the device and update all weights at once,
            as a step needs that is captured as a graph.
    """
    if not in_graph:
        return Adam(parameters, lr=lr, betas=betas)
    some = list(parameters)
    device = some[0].device
    rate = torch.tensor(lr, dtype=torch.float32, device=device)
    return Adam(some, lr=rate, betas=betas, fused=True, capturable=device.type == "cuda")


def optimizer_state(optimizer: Optimizer) -> dict[str, Any]:
    """Return the state of an optimizer in the form that those of every device continue from."""
    state = optimizer.state_dict()
    groups = [
        {**group, "lr": float(group["lr"]), "fused": None, "capturable": False}
        for group in state["param_groups"]
    ]
    values = {
        place: {
            key: value.cpu() if key == "step" and isinstance(value, Tensor) else value
            for key, value in kept.items()
        }
        for place, kept in state["state"].items()
    }
    return {"state": values, "param_groups": groups}


def load_optimizer(optimizer: Optimizer, state: Mapping[str, Any]) -> None:
    """Continue from a saved state, and how the optimizer computes stays as it is.

    Its decay rates stay, too: they are those of the options, which a resumed run may change.
    """
    kept = [
        {key: group[key] for key in ("betas", "foreach", "fused", "capturable") if key in group}
        for group in optimizer.param_groups
    ]
    rates = [group["lr"] for group in optimizer.param_groups]
    groups = [{**saved, **own} for saved, own in zip(state["param_groups"], kept, strict=True)]
    optimizer.load_state_dict({"state": state["state"], "param_groups": groups})
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        if isinstance(rate, Tensor):
            rate.fill_(float(group["lr"]))
            group["lr"] = rate


def _set_rate(group: dict[str, Any], rate: float) -> None:
    """Set a learning rate, in place where a captured step looks for it."""
    if isinstance(group["lr"], Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


class WeightAverage:
    """Exponential moving average of a network's weights (Yazici et al. 2019).

    Departure: the decay of early steps is (1 + step) / (10 + step), where that is smaller, so that
    the random initial weights are forgotten.

    Args:
        network: the network to follow.
        decay: share of the old average that is kept at each step, in (0, 1).
    """

    def __init__(self, network: nn.Module, *, decay: float) -> None:
        if not 0 < decay < 1:
            raise ValueError(f"decay: expected a number between 0 and 1, got {decay}")
        self.decay = decay
        self.steps = 0
        self._average = {key: value.detach().clone() for key, value in _floats(network)}

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards the network's current weights."""
        present = dict(_floats(network))
        averages = [self._average[key] for key in present]
        device = next(iter(present.values())).device
        share = on_device(self._next_share, device)
        torch._foreach_lerp_(averages, list(present.values()), [share] * len(averages))

    def _next_share(self) -> Tensor:
        """Count a step, and return the share that its weights have."""
        self.steps += 1
        return torch.tensor(1 - min(self.decay, (1 + self.steps) / (10 + self.steps)))

    def weights(self, network: nn.Module) -> dict[str, Tensor]:
        """Return a state_dict of ``network`` with the averages in place of its weights."""
        return {**network.state_dict(), **self._average}

    @contextmanager
    def applied_to(self, network: nn.Module) -> Iterator[None]:
        """Put the averages in place of the network's weights for a while, then put those back."""
        present = dict(_floats(network))
        kept = {key: value.detach().clone() for key, value in present.items()}
        try:
            _copy(self._average, present)
            yield
        finally:
            _copy(kept, present)

    @torch.no_grad()
    def restart(self, network: nn.Module) -> None:
        """Restart the average from the network's current weights."""
        self.steps = 0
        for key, value in _floats(network):
            self._average[key].copy_(value)

    def state_dict(self) -> dict[str, Any]:
        """Return the averages and how many steps they have seen."""
        return {"steps": self.steps, "average": dict(self._average)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        saved = state["average"]
        for key, value in self._average.items():
            # States of earlier versions do not have it, and it is a constant.
            if key in saved or key != "base.photograph":
                value.copy_(saved[key])
        self.steps = int(state["steps"])


def exported_weights(
    network: nn.Module, average: WeightAverage | None
) -> tuple[dict[str, Tensor], str]:
    """Return the weights of a generator that are exported, and ``averaged`` or ``last``."""
    if average is None:
        return network.state_dict(), "last"
    return average.weights(network), "averaged"


@torch.no_grad()
def _copy(values: Mapping[str, Tensor], into: Mapping[str, Tensor]) -> None:
    for key, value in into.items():
        value.copy_(values[key])


def _floats(network: nn.Module) -> Iterable[tuple[str, Tensor]]:
    """Yield the weights and buffers that can be averaged."""
    return (
        (key, value) for key, value in network.state_dict().items() if value.is_floating_point()
    )
