"""Adam on the pixels of a picture, with moments that survive a change of scale.

L-BFGS on the pixels of a picture (Liu and Nocedal 1989).

``torch.optim.LBFGS`` serves the line search. Without one, its way has three faults here: it waits
for the device several times per evaluation and twice per remembered step; it forgets every step
whose curvature is below 1e-10, which all are where losses are means over many pixels; and the
length of its first step depends on the unit of the loss. So the recursion stands here, 20 lines,
and a test holds that the iterates are torch's.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Adam", "AdamState", "AdamWalk", "History", "Lbfgs", "LbfgsWalk", "LineSearchWalk"]


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


_Evaluate = Callable[[], tuple[Tensor, Tensor]]

# A pair whose curvature is less than this share of |s| |y| tells rounding errors only.
_LEAST_CURVATURE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Lbfgs:
    """L-BFGS, by default without a line search, as Gatys et al. 2016 and its successors run it.

    Attributes:
        lr: length of a step as a share of the one that the approximate Hessian asks for.
        history: steps to remember; each takes the memory of two pictures.
        line_search: search a step that meets the strong Wolfe conditions, with torch's
            ``strong_wolfe``: safer, and several evaluations per step.
        first_step: mean absolute change of values by the first step, in units of the range [0, 1].
            Small, since all it is for is to learn the curvature: a tenth of a value of 8 bits.
        longest_step: root mean square change of values that no step exceeds, in the same units.
            Departure: nothing holds steps back in L-BFGS; a jump by far more than that leaves the
            pictures that a network knows.
        explosion: how many times the best loss counts as divergence (not in a line search, which
            tries steps that are too long on purpose).
    """

    lr: float = 1.0
    history: int = 20
    line_search: bool = False
    first_step: float = 0.1 / 255
    longest_step: float = 0.1
    explosion: float = 10.0

    def __post_init__(self) -> None:
        if self.history < 1:
            raise ValueError(f"history: expected at least 1, got {self.history}")

    @property
    def tolerated(self) -> float:
        """How many times the best loss may be exceeded before it counts as divergence."""
        return math.inf if self.line_search else self.explosion

    def walk(self, image: Tensor, shrink: float, _state: object = None) -> "LbfgsWalk":
        """Return the steps of L-BFGS on ``image``, each ``shrink`` times as long as usual."""
        kind = LineSearchWalk if self.line_search else LbfgsWalk
        return kind(image, self, shrink=shrink)


class History:
    """The last steps and the changes of the gradient along them, as an inverse Hessian.

    Nothing here waits for the device: whether a pair counts is decided there.

    Args:
        size: pairs to keep.
        scale: the inverse Hessian, a multiple of the identity, before there are pairs.
    """

    def __init__(self, size: int, scale: Tensor) -> None:
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=size)
        self._scale = scale

    def add(self, step: Tensor, change: Tensor) -> None:
        """Remember one step and the change of the gradient, both (n,).

        A pair without positive curvature stays, with no weight.
        """
        curvature = step.dot(change)
        squared = change.dot(change)
        counts = curvature > _LEAST_CURVATURE * step.norm() * squared.sqrt()
        self._pairs.append((step, change, torch.where(counts, 1 / curvature, 0)))
        self._scale = torch.where(counts, curvature / squared, self._scale)

    def direction(self, gradient: Tensor) -> Tensor:
        """Return minus the inverse Hessian times a gradient, (n,).

        Nocedal and Wright 2006, algorithm 7.4, scaled by their equation 7.20.
        """
        direction = gradient.neg()
        shares = []
        for step, change, inverse in reversed(self._pairs):
            share = inverse * step.dot(direction)
            direction.addcmul_(change, share, value=-1)
            shares.append(share)
        direction.mul_(self._scale)
        for (step, change, inverse), share in zip(self._pairs, reversed(shares), strict=True):
            direction.addcmul_(step, share - inverse * change.dot(direction))
        return direction


class LbfgsWalk:
    """Steps of L-BFGS on one picture, without a line search.

    Args:
        image: changed in place, (1, 3, H, W), contiguous, a leaf.
        settings: of the method.
        shrink: factor of the length of steps.
    """

    def __init__(self, image: Tensor, settings: Lbfgs, *, shrink: float = 1.0) -> None:
        self._image, self._settings, self._shrink = image, settings, shrink

    @property
    def state(self) -> None:
        """Nothing goes on at the next scale: the steps of a small picture do not fit a large."""

    def run(self, evaluate: _Evaluate) -> NoReturn:
        """Evaluate and step until ``evaluate`` raises."""
        settings, flat = self._settings, self._image.detach().view(-1)
        lr = settings.lr * self._shrink
        longest = settings.longest_step * self._shrink * math.sqrt(flat.numel())
        before, unit = _in_units(evaluate()[1])
        history = History(settings.history, torch.full_like(unit, settings.first_step))
        while True:
            step = history.direction(before).mul_(lr)
            step.mul_((longest / step.norm()).clamp_max(1))
            flat.add_(step)
            gradient = evaluate()[1].reshape(-1) / unit
            history.add(step, gradient - before)
            before = gradient


class LineSearchWalk(LbfgsWalk):
    """Steps of ``torch.optim.LBFGS`` with its strong Wolfe line search on one picture."""

    def run(self, evaluate: _Evaluate) -> NoReturn:
        """Evaluate and step until ``evaluate`` raises."""
        settings, image = self._settings, self._image
        optimizer = torch.optim.LBFGS(
            [image],
            lr=settings.lr * self._shrink,
            history_size=settings.history,
            line_search_fn="strong_wolfe",
            max_iter=100,
            max_eval=1_000_000,
            tolerance_grad=0,
            tolerance_change=0,
        )
        unit: Tensor | None = None

        def closure() -> Tensor:
            nonlocal unit
            total, gradient = evaluate()
            if unit is None:
                unit = _in_units(gradient)[1]
            # torch's optimiser needs a contiguous gradient.
            image.grad = (gradient / unit).contiguous()
            return total / unit

        while True:
            optimizer.step(closure)  # type: ignore[no-untyped-call]


def _in_units(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return a gradient as (n,) with mean absolute value 1, and what it was divided by.

    The curvature of losses from 1e-9 to 1e17 then has one size, which float32 can square.
    """
    mean = gradient.abs().mean()
    unit = torch.where(mean > 0, mean, torch.ones_like(mean))
    return gradient.reshape(-1) / unit, unit
