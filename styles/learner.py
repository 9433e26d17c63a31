"""One training step of fast styles, their previews, and their state (Johnson et al. 2016)."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from impasto.cyclegan.optim import WeightAverage
from impasto.options.errors import CheckpointError
from impasto.runs.learner import StepResult
from impasto.runs.meter import require_finite_weights
from impasto.styles.loading import Crops
from impasto.styles.losses import StyleObjective
from impasto.styles.network import StyleNetwork

__all__ = ["StyleLearner"]

_clock = time.monotonic

_WARM_UP_STEPS = 100
_BETAS = (0.9, 0.99)
# No step goes further than this: a rare crop of one color has a huge content loss.
_MOST_GRADIENT = 1.0


class StyleLearner:
    """Trains a network of several styles with the losses of stylize.

    Styles are dealt out to the crops of a batch in turn. The learning rate rises for 100 steps,
    then falls along a cosine to 0 at the end: after ``max_images`` crops, or after ``max_minutes``.

    Args:
        network: network to train, on the accelerator's device.
        objective: losses of a batch.
        styles: names of the styles.
        accelerator: device and precision.
        lr: largest learning rate of Adam.
        ema_decay: decay per step of the average of the weights.
        max_images: number of crops of the whole training.
        max_minutes: length of the whole training at most, or None.

    Attributes:
        network: the network.
        average: running average of the weights of its generator.
        styles: names of the styles.
    """

    def __init__(  # noqa: PLR0913
        self,
        network: StyleNetwork,
        objective: StyleObjective,
        *,
        styles: Sequence[str],
        accelerator: Accelerator,
        lr: float,
        ema_decay: float,
        max_images: int,
        max_minutes: float | None = None,
    ) -> None:
        self.network, self.styles = network, tuple(styles)
        self.average = WeightAverage(network.painter, decay=ema_decay)
        self._objective, self._accelerator = objective, accelerator
        device = accelerator.device
        optimizer = torch.optim.Adam(
            network.parameters(), lr=lr, betas=_BETAS, fused=device.type == "cuda"
        )
        self._optimizer = accelerator.prepare_optimizer(optimizer)
        self._lr, self._max_images, self._max_minutes = lr, max_images, max_minutes
        self._images = self._steps = 0
        self._began: float | None = None
        self._earlier_seconds = 0.0
        self._shares = torch.eye(len(styles), device=device)

    @property
    def seconds(self) -> float:
        """Seconds of training so far, of resumed runs together."""
        began = _clock() if self._began is None else self._began
        return self._earlier_seconds + _clock() - began

    @property
    def _done(self) -> float:
        """Share of the training that is done, 0 to 1."""
        share = self._images / self._max_images
        if self._max_minutes is not None:
            share = max(share, self.seconds / (60 * self._max_minutes))
        return min(share, 1.0)

    def time_is_up(self) -> bool:
        """Whether the training has taken as many minutes as it may."""
        return self._max_minutes is not None and self.seconds >= 60 * self._max_minutes

    def step(self, batches: Sequence[Crops]) -> StepResult:
        """Make one update from one or more batches, whose gradients are added up.

        Returns:
            The weighted losses, means over the batches: ``content``, ``style``, ``variation``,
            ``patches``, ``chroma``, and their sum, ``total``.
        """
        if self._began is None:
            self._began = _clock()
        for group in self._optimizer.param_groups:
            group["lr"] = self.present_learning_rate
        self._optimizer.zero_grad()
        found: list[dict[str, Tensor]] = []
        for batch in batches:
            images = batch.to(self._accelerator.device)
            styles = self._dealt(len(images))
            with self._accelerator.autocast():
                made = self.network(images, self._shares.index_select(0, styles))
                losses = self._objective(made, images, styles)
            total = torch.stack(list(losses.values())).sum()
            self._accelerator.backward(total / len(batches))
            found.append({name: loss.detach() for name, loss in {**losses, "total": total}.items()})
            self._images += len(images)
        self._accelerator.unscale_gradients(self._optimizer)
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), _MOST_GRADIENT, foreach=True)
        self._optimizer.step()
        self.average.update(self.network.painter)
        self._steps += 1
        means = {name: torch.stack([each[name] for each in found]).mean() for name in found[0]}
        return StepResult(losses=means)

    def _dealt(self, count: int) -> Tensor:
        """Return the number of the style of each crop, (count,)."""
        places = torch.arange(count, device=self._shares.device) + self._images
        return places % len(self.styles)

    def start_epoch(self, epoch: int) -> None:
        """Do nothing: all epochs are alike."""

    def end_epoch(self) -> None:
        """Do nothing: there is nothing to evaluate."""

    @torch.no_grad()
    def samples(self, batch: Crops) -> dict[str, Tensor]:
        """Return the first photograph of a batch, and what the average makes of it in each style.

        Returns:
            ``photograph`` and the styles by their names, each RGB, (1, 3, S, S), in [-1, 1].
        """
        image = batch.to(self._accelerator.device)[:1]
        made = {"photograph": image}
        self.network.eval()
        with self.average.applied_to(self.network.painter), self._accelerator.autocast():
            for place, name in enumerate(self.styles):
                made[name] = self.network(image, self._shares[place : place + 1]).float()
        self.network.train()
        return made

    def output_statistics(self, batch: Crops) -> dict[str, float | None]:  # noqa: ARG002
        """Return no statistics: the losses say it all."""
        return {}

    def check_finite(self) -> None:
        """Refuse weights that are not finite, so that a good state is never overwritten.

        Raises:
            TrainingError: a weight is not finite.
        """
        require_finite_weights(self.network.state_dict().values(), what="the network")

    def weights(self) -> dict[str, Tensor]:
        """Return the average of the generator's weights, as a file of styles holds them."""
        return self.average.weights(self.network.painter)

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state."""
        scaler = self._accelerator.scaler
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "objective": self._objective.state_dict(),
            "styles": list(self.styles),
            "images": self._images,
            "steps": self._steps,
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            CheckpointError: the state belongs to other styles or another network.
        """
        if state["styles"] != list(self.styles):
            raise CheckpointError(
                f"the run has the styles {', '.join(state['styles'])}, got {', '.join(self.styles)}"
                "; give the pictures their old names and order, or start a new run under another "
                "--name"
            )
        try:
            self.network.load_state_dict(state["network"])
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise CheckpointError(f"the state does not fit the network: {reason}") from error
        self.average.load_state_dict(state["average"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._accelerator.scaler is not None and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])
        self._objective.load_state_dict(state["objective"])
        self._images, self._steps = state["images"], state["steps"]
        self._earlier_seconds, self._began = state["seconds"], None

    def process_state(self) -> dict[str, Any]:
        """Return nothing: there is one process."""
        return {}

    def load_process_state(self, state: Mapping[str, Any]) -> None:
        """Do nothing: there is one process."""

    @property
    def loss_weights(self) -> dict[str, float]:
        """No weights: the losses are weighted already."""
        return {}

    @property
    def present_learning_rate(self) -> float:
        """The learning rate of the next step."""
        warm = min(1.0, (self._steps + 1) / _WARM_UP_STEPS)
        return self._lr * warm * (1 + math.cos(math.pi * self._done)) / 2
