"""Adam and L-BFGS on the pixels of a picture.

:class:`Adam` and :class:`Lbfgs` are settings, which make a :class:`Stepper` for a picture. The
stepper changes the picture in place, one step for each gradient.

L-BFGS (Liu and Nocedal 1989) is implemented here, as that of ``torch.optim`` has three faults
without a line search: it synchronizes with the device several times per evaluation and twice per
stored step; it discards every step whose curvature is below 1e-10, which holds for all steps if
losses are means over many pixels; and the length of its first step depends on the unit of the loss.
A test verifies that the iterates of this implementation equal torch's.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "Adam",
    "AdamState",
    "AdamStepper",
    "History",
    "Lbfgs",
    "LbfgsStepper",
    "StackedHistory",
    "Stepper",
]


class Stepper(Protocol):
    """Updates one picture, step by step."""

    @property
    def state(self) -> "AdamState | None":
        """The state with which the next scale can continue; None if there is none."""
        ...

    def step(self, gradient: Tensor) -> None:
        """Change the picture in place, given the gradient of its total loss, (1, 3, H, W)."""
        ...


@dataclass(frozen=True, kw_only=True)
class AdamState:
    """The moments of Adam, with which the next scale continues.

    Attributes:
        step: number of updates so far.
        first: running mean of gradients, (1, 3, H, W).
        second: running mean of squared gradients, (1, 3, H, W).
    """

    step: int
    first: Tensor
    second: Tensor

    def resized(self, height: int, width: int) -> "AdamState":
        """Return the moments resized: the first bicubic, the second bilinear and never below 0."""
        if self.first.shape[-2:] == (height, width):
            return self
        size = (height, width)
        first = functional.interpolate(self.first, size=size, mode="bicubic", align_corners=False)
        second = functional.interpolate(self.second, size=size, mode="bilinear")
        return AdamState(step=self.step, first=first, second=second.clamp_min(0))


@dataclass(frozen=True, kw_only=True)
class Adam:
    """Adam (Kingma and Ba 2015), with the picture clipped to [0, 1] after each step.

    Attributes:
        lr: learning rate, about the largest change of a value in one step, in units of the range
            [0, 1]. A rate for pixels of 0 to 255 is divided by 255; one for pixels that are
            normalized by ImageNet's deviations (.229, .224, .225) is multiplied by about .226.
        betas: decay rates of the two moments.
        epsilon: value added to the root of the second moment. Departure: the paper's 1e-8 is not
            small relative to the gradients of means over a large picture.
        decay_over: number of steps over which the rate falls to 0 along half a cosine (Loshchilov
            and Hutter 2017, equation 5, without restarts), where it stays; None: constant rate.
            Meant for stochastic losses, whose noise would otherwise remain in the picture.
        explosion: multiple of the best loss that counts as divergence. Infinite here: the first
            step from the content itself may raise the loss manyfold, and a clipped picture cannot
            diverge.
    """

    lr: float = 0.02
    betas: tuple[float, float] = (0.9, 0.99)
    epsilon: float = 1e-12
    decay_over: int | None = None
    explosion: float = math.inf

    def rate(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if self.decay_over is None:
            return self.lr
        done = min(step / self.decay_over, 1.0)
        return self.lr * (1 + math.cos(math.pi * done)) / 2

    def stepper(
        self, image: Tensor, *, shrink: float = 1.0, state: AdamState | None = None, done: int = 0
    ) -> "AdamStepper":
        """Return the stepper of ``image``, whose step length is multiplied by ``shrink``.

        Args:
            image: picture to change in place, see :class:`AdamStepper`.
            shrink: factor of the learning rate.
            state: moments to continue with, of any picture size.
            done: number of steps of the schedule of the learning rate that lie behind.
        """
        return AdamStepper(image, self, shrink=shrink, state=state, done=done)


class AdamStepper:
    """Steps of Adam on one picture.

    Args:
        image: picture to change in place, (1, 3, H, W), a leaf tensor that requires a gradient.
        settings: settings of the method.
        shrink: factor of the learning rate.
        state: moments to continue with, of any picture size.
        done: number of steps of the schedule of the learning rate that lie behind.
    """

    def __init__(
        self,
        image: Tensor,
        settings: Adam,
        *,
        shrink: float = 1.0,
        state: AdamState | None = None,
        done: int = 0,
    ) -> None:
        self._image, self._settings, self._shrink = image, settings, shrink
        self._steps = done
        self._optimizer = torch.optim.Adam(
            [image], lr=settings.lr * shrink, betas=settings.betas, eps=settings.epsilon
        )
        if state is not None:
            self._load(state.resized(*image.shape[-2:]))

    def step(self, gradient: Tensor) -> None:
        """Update the picture, and clip it to [0, 1]."""
        self._image.grad = gradient
        for group in self._optimizer.param_groups:
            group["lr"] = self._settings.rate(self._steps) * self._shrink
        self._optimizer.step()
        with torch.no_grad():
            self._image.clamp_(0, 1)
        self._steps += 1

    @property
    def state(self) -> AdamState | None:
        """The current moments; None before the first step."""
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


# A pair whose curvature is less than this share of |s| |y| tells rounding errors only.
_LEAST_CURVATURE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Lbfgs:
    """L-BFGS without a line search, as Gatys et al. 2016 and later programs use it.

    Attributes:
        lr: length of a step as a share of the one that the approximate Hessian asks for.
        history: number of steps to store; each takes the memory of two pictures.
        first_step: mean absolute change of values by the first step, in units of the range [0, 1].
            It is small, a tenth of an 8-bit level, since it only serves to measure the curvature.
        longest_step: upper bound of the root mean square change of values by one step, in the same
            units. Departure: plain L-BFGS has no bound; a much longer step leaves the range of
            pictures that the network was trained on.
        explosion: multiple of the best loss that counts as divergence.
    """

    lr: float = 1.0
    history: int = 20
    first_step: float = 0.1 / 255
    longest_step: float = 0.1
    explosion: float = 10.0

    def __post_init__(self) -> None:
        if self.history < 1:
            raise ValueError(f"history: expected at least 1, got {self.history}")

    def stepper(
        self, image: Tensor, *, shrink: float = 1.0, state: AdamState | None = None, done: int = 0
    ) -> "LbfgsStepper":
        """Return the stepper of ``image``, whose step length is multiplied by ``shrink``.

        Args:
            image: picture to change in place, see :class:`LbfgsStepper`.
            shrink: factor of the step length.
            state: state of Adam; ignored, as L-BFGS has no use for it.
            done: ignored, as the step length has no schedule.
        """
        del state, done
        return LbfgsStepper(image, self, shrink=shrink)


class History:
    """The last steps and gradient changes, which approximate the inverse Hessian.

    Nothing here synchronizes with the device: whether a pair is used is decided there.

    Args:
        size: number of pairs to keep.
        scale: initial inverse Hessian before there are pairs, as a multiple of the identity.
    """

    def __init__(self, size: int, scale: Tensor) -> None:
        self._pairs: deque[tuple[Tensor, Tensor, Tensor]] = deque(maxlen=size)
        self._scale = scale

    def add(self, step: Tensor, change: Tensor) -> None:
        """Store one step and the change of the gradient along it, both (n,).

        A pair without positive curvature is stored with a weight of 0.
        """
        curvature = step.dot(change)
        squared = change.dot(change)
        counts = curvature > _LEAST_CURVATURE * step.norm() * squared.sqrt()
        self._pairs.append((step, change, torch.where(counts, 1 / curvature, 0)))
        self._scale = torch.where(counts, curvature / squared, self._scale)

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the negative product of the inverse Hessian and a gradient, (n,).

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


class StackedHistory:
    """The same as :class:`History`, of whole matrices, for GPUs.

    A GPU starts some ten kernels for each pair of a :class:`History`, and none of them has enough
    to do. The compact form of the inverse Hessian (Byrd, Nocedal and Schnabel 1994, equation 3.1)
    is the same in exact arithmetic, and needs two products with all pairs at once and some of
    small matrices. On processors the two-loop recursion remains, for its rounding.

    Args:
        size: number of pairs to keep.
        scale: initial inverse Hessian before there are pairs, as a multiple of the identity.
    """

    def __init__(self, size: int, scale: Tensor) -> None:
        self._size, self._scale = size, scale
        self._next = 0  # where the next pair goes, in place of the oldest one
        self._pairs = torch.empty(0)  # steps, then changes of the gradient
        self._products = self._squares = torch.empty(0)

    def add(self, step: Tensor, change: Tensor) -> None:
        """Store one step and the change of the gradient along it, both (n,).

        A pair without positive curvature is stored as zeros.
        """
        if not self._pairs.numel():
            self._pairs = step.new_zeros(2 * self._size, step.numel())
            self._products = step.new_zeros(self._size, self._size, dtype=_double_on(step))
            self._squares = torch.zeros_like(self._products)
        curvature = step.dot(change)
        squared = change.dot(change)
        counts = curvature > _LEAST_CURVATURE * step.norm() * squared.sqrt()
        self._scale = torch.where(counts, curvature / squared, self._scale)
        size, place = self._size, self._next
        self._pairs[place] = torch.where(counts, step, 0)
        self._pairs[size + place] = torch.where(counts, change, 0)
        both = (self._pairs @ self._pairs[size + place]).to(self._products.dtype)
        self._products[:, place] = both[:size]
        self._squares[:, place] = both[size:]
        self._squares[place] = both[size:]
        self._next = (place + 1) % size

    def direction(self, gradient: Tensor) -> Tensor:
        """Return the negative product of the inverse Hessian and a gradient, (n,)."""
        if not self._pairs.numel():
            return gradient.neg() * self._scale
        size, shift = self._size, -self._next
        scale = self._scale.to(self._products.dtype)
        along = (self._pairs @ gradient).to(self._products.dtype).view(2, size)
        along_steps, along_changes = along.roll(shift, 1).unsqueeze(2)
        products, squares = (
            matrix.roll((shift, shift), (0, 1)) for matrix in (self._products, self._squares)
        )
        curvatures = products.diagonal()
        # Pairs of zeros must not make the triangle singular; their products stay 0.
        triangle = products.triu() + torch.diag((curvatures == 0).to(products.dtype))
        solved = torch.linalg.solve_triangular(triangle, along_steps, upper=True)
        middle = curvatures.unsqueeze(1) * solved + scale * (squares @ solved - along_changes)
        of_steps = torch.linalg.solve_triangular(triangle.t(), middle, upper=False)
        shares = torch.cat([of_steps, -scale * solved]).view(2, size).roll(-shift, 1)
        far = self._pairs.t() @ shares.flatten().to(gradient.dtype)
        return (gradient * self._scale + far).neg()


def _double_on(tensor: Tensor) -> torch.dtype:
    """Return float64, or the tensor's type where its device has none."""
    return tensor.dtype if tensor.device.type == "mps" else torch.float64


class LbfgsStepper:
    """Steps of L-BFGS on one picture.

    Args:
        image: picture to change in place, (1, 3, H, W), a contiguous leaf tensor.
        settings: settings of the method.
        shrink: factor of the step length.
    """

    def __init__(self, image: Tensor, settings: Lbfgs, *, shrink: float = 1.0) -> None:
        self._pixels, self._settings = image.detach().view(-1), settings
        self._lr = settings.lr * shrink
        self._longest = settings.longest_step * shrink * math.sqrt(self._pixels.numel())
        self._history: History | StackedHistory | None = None
        self._unit = self._step = self._gradient = torch.empty(0)

    @property
    def state(self) -> None:
        """None: the steps of a small picture do not fit a large one, so each scale starts anew."""

    def step(self, gradient: Tensor) -> None:
        """Update the picture; it is never clipped."""
        if self._history is None:
            self._gradient, self._unit = _in_units(gradient)
            first_step = torch.full_like(self._unit, self._settings.first_step)
            kind = StackedHistory if self._pixels.is_cuda else History
            self._history = kind(self._settings.history, first_step)
        else:
            before, self._gradient = self._gradient, gradient.reshape(-1) / self._unit
            self._history.add(self._step, self._gradient - before)
        self._step = self._history.direction(self._gradient).mul_(self._lr)
        self._step.mul_((self._longest / self._step.norm()).clamp_max(1))
        self._pixels.add_(self._step)


def _in_units(gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return a gradient as (n,) with mean absolute value 1, and what it was divided by.

    The curvature of losses from 1e-9 to 1e17 then has one size, which float32 can square.
    """
    mean = gradient.abs().mean()
    unit = torch.where(mean > 0, mean, torch.ones_like(mean))
    return gradient.reshape(-1) / unit, unit
