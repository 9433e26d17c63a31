"""Adam on the pixels of a picture, with moments that survive a change of scale."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Adam", "AdamState", "AdamWalk"]


@dataclass(frozen=True, kw_only=True)
class AdamState:
    """The moments of Adam, to go on with at the next scale.

    Attributes:
        step: updates so far.
        first: running mean of gradients, (1, 3, H, W).
        second: running mean of squared gradients, (1, 3, H, W).
    """

    step: int
    first: Tensor
    second: Tensor

    def resized(self, height: int, width: int) -> "AdamState":
        """Return the moments for another size: first bicubic, second bilinear and never below 0."""
        if self.first.shape[-2:] == (height, width):
            return self
        size = (height, width)
        first = functional.interpolate(self.first, size=size, mode="bicubic", align_corners=False)
        second = functional.interpolate(self.second, size=size, mode="bilinear")
        return AdamState(step=self.step, first=first, second=second.clamp_min(0))


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Kingma and Ba 2015, with the picture clipped to [0, 1] after each step.

    Attributes:
        lr: learning rate, about the largest change of a value in one step, in units of the range
            [0, 1]. A rate for pixels of 0 to 255 is divided by 255; one for pixels that are
            normalised by ImageNet's deviations (.229, .224, .225) is multiplied by about .226.
        betas: decay of the two moments.
        epsilon: added to the root of the second moment. Departure: 1e-8 in the paper, which is no
            longer small beside the gradients of means over a large picture.
        decay_over: steps over which the rate falls to 0 along half a cosine (Loshchilov and Hutter
            2017, equation 5, without restarts), where it stays; None: it does not fall. For losses
            that change from step to step, whose noise would stay in the picture.
    """

    lr: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    epsilon: float = 1e-12
    decay_over: int | None = None

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if self.decay_over is None:
            return self.lr
        done = min(step / self.decay_over, 1.0)
        return self.lr * (1 + math.cos(math.pi * done)) / 2

    @property
    def tolerated(self) -> float:
        """How many times the best loss may be exceeded before it counts as divergence.

        Without end: the first step from the content itself may raise the loss manyfold, and a
        picture that is clipped cannot run away.
        """
        return float("inf")

    def walk(self, image: Tensor, shrink: float, state: AdamState | None) -> "AdamWalk":
        """Return the steps of Adam on ``image``, each ``shrink`` times as long as usual."""
        return AdamWalk(image, self, shrink=shrink, state=state)


class AdamWalk:
    """Steps of Adam on one picture.

    Args:
        image: changed in place, (1, 3, H, W), a leaf that requires a gradient.
        settings: of the method.
        shrink: factor of the learning rate.
        state: moments to go on with, of any size.
    """

    def __init__(
        self, image: Tensor, settings: Adam, *, shrink: float = 1.0, state: AdamState | None = None
    ) -> None:
        self._image, self._settings, self._shrink = image, settings, shrink
        self._optimizer = torch.optim.Adam(
            [image], lr=settings.lr * shrink, betas=settings.betas, eps=settings.epsilon
        )
        if state is not None:
            self._load(state.resized(*image.shape[-2:]))

    def run(self, evaluate: Callable[[], tuple[Tensor, Tensor]]) -> NoReturn:
        """Evaluate and step until ``evaluate`` raises."""
        step = 0
        while True:
            _, self._image.grad = evaluate()
            for group in self._optimizer.param_groups:
                group["lr"] = self._settings.rate(step) * self._shrink
            self._optimizer.step()
            with torch.no_grad():
                self._image.clamp_(0, 1)
            step += 1

    @property
    def state(self) -> AdamState | None:
        """The moments now; None before the first step."""
        moments = self._optimizer.state.get(self._image)
        if not moments:
            return None
        first, second = moments["exp_avg"].detach(), moments["exp_avg_sq"].detach()
        return AdamState(step=int(moments["step"]), first=first.clone(), second=second.clone())

    def _load(self, state: AdamState) -> None:
        full = self._optimizer.state_dict()
        full["state"] = {
            0: {
                "step": torch.tensor(float(state.step)),
                "exp_avg": state.first.clone(),
                "exp_avg_sq": state.second.clone(),
            }
        }
        self._optimizer.load_state_dict(full)
