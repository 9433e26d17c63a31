"""The algorithm of style transfer: evaluate the losses of a picture, take a step, again and again.

Everything is counted in evaluations of the losses. ``iterations`` is their exact number, regardless
of the method; n evaluations give n - 1 steps.

The result is the picture with the lowest loss. Where losses are drawn anew in each evaluation, that
would be the luckiest draw, taken before the learning rate has fallen and its noise has gone; the
result is then the last picture.

:func:`optimize` is the loop. :class:`Evaluations` keeps its results: which picture is the best, and
whether the losses are finite, is decided on the device, and the host reads these facts only every
few evaluations, so that it does not synchronize with a GPU each time.
"""

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn

import torch
from torch import Tensor

from impasto.gatys.optim.captured import Repeated, graph_maker
from impasto.gatys.optim.iterates import Iterate, IterateAverage, LossFunction, Watch, total_loss
from impasto.gatys.optim.methods import Adam, AdamState, Lbfgs, Stepper
from impasto.options.errors import ImpastoError
from impasto.runs.capture import StepGraph

__all__ = ["DivergencePolicy", "Ended", "Evaluations", "Method", "Outcome", "optimize"]


Ended = Literal["complete", "stopped", "diverged"]
"""How an optimization ended: as planned, by the watcher's wish, or given up."""

# Share of the first loss below which it does not matter how many times the best a loss is.
_NEXT_TO_NOTHING = 1e-6


class Evaluations:
    """The evaluations of the losses at one scale.

    Args:
        image: picture that is optimized in place, (1, 3, H, W), a leaf tensor that requires a
            gradient.
        objective: losses of the picture.
        average: decay of the average of iterates; None: no average.
        check_every: number of evaluations between checks for divergence.
        explosion: multiple of the best total loss that counts as divergence.
        loss_scale: factor of the total loss in the backward pass.
        make_graph: function that makes the graph that an evaluation is captured as; None: none is.

    Attributes:
        count: number of evaluations so far.
        names: names of the losses, ``total`` last; empty before the first evaluation.
        losses: losses of the last evaluation, in the order of ``names``, float32, without
            gradients.
        is_random: whether losses are drawn anew in each evaluation.
    """

    def __init__(
        self,
        image: Tensor,
        objective: LossFunction,
        *,
        average: float | None,
        check_every: int,
        explosion: float,
        loss_scale: float,
        make_graph: Callable[[], StepGraph] | None = None,
    ) -> None:
        self._image, self._objective = image, objective
        self.is_random = bool(getattr(objective, "is_random", False))
        self._average = None if average is None else IterateAverage(average)
        self._check_every, self._explosion, self._loss_scale = check_every, explosion, loss_scale
        self._differentiate = Repeated(self._losses_and_gradient, make_graph)
        self.count = 0
        self.names: tuple[str, ...] = ()
        # A total of infinity, until the first evaluation says how many losses there are.
        self.losses = torch.full((1,), torch.inf, dtype=torch.float32, device=image.device)
        self._best_losses, self._best_image = self.losses, image.detach().clone()
        self._first_total = self.losses[-1]
        self._diverged = torch.zeros((), dtype=torch.bool, device=image.device)
        self._diverged_losses = self.losses

    @property
    def best_total(self) -> float:
        """The lowest total loss so far, infinite if there is none; synchronizes with the device."""
        return self._best_losses[-1].item()

    @property
    def shown(self) -> Tensor:
        """The average of iterates if there is one, otherwise the current picture."""
        return self._image if self._average is None else self._average.value

    def evaluate(self) -> Tensor:
        """Evaluate the current picture, update the best one, and return the gradient, (1, 3, H, W).

        Raises:
            ImpastoError: the losses do not depend on the picture.
        """
        if self._average is not None:
            self._average.update(self._image)
        self.losses, gradient = self._differentiate()
        self.count += 1
        self._judge(gradient)
        return gradient

    def find_divergence(self) -> str:
        """Describe what diverged since the last check, "" if nothing did or no check is due.

        A check synchronizes with the device; the first evaluation is also followed by one.

        Raises:
            ImpastoError: not even the first picture has finite losses.
        """
        due = self.count == 1 or self.count % self._check_every == 0
        if not due or not self._diverged.item():
            return ""
        best, total = self.best_total, self._diverged_losses[-1].item()
        if best == math.inf:
            self._refuse()
        if math.isfinite(total) and total <= self._explosion * best:
            return f"the gradient is not finite at a loss of {total:.6g}"
        return f"the loss went to {total:.6g} from {best:.6g}, the best"

    def restore_best(self) -> None:
        """Restore the best picture, and restart the average from it."""
        with torch.no_grad():
            self._image.copy_(self._best_image)
        self._diverged.zero_()
        if self._average is not None:
            self._average.restart()

    @torch.no_grad()
    def conclude(self, ended: Ended) -> tuple[Tensor, Tensor]:
        """Return the result, (1, 3, H, W), and its losses in the order of ``names``.

        The result is the average of iterates if there is one and it has not diverged; otherwise the
        last picture if losses are random and it has not diverged; and otherwise the picture with
        the lowest total loss. Averages, last pictures of complete optimizations and of random
        losses are evaluated here, without a gradient.

        Raises:
            ImpastoError: no picture has finite losses.
        """
        if self._average is not None and ended != "diverged":
            if ended == "complete":
                self._average.update(self._image)
            average = self._average.value
            self._measure(average)
            self._diverged_losses = self.losses
            limit = self._explosion * self._best_losses[-1]
            if self._is_finite() and not (self.losses[-1] > limit).item():
                return average, self.losses
        elif ended == "complete" or (self.is_random and ended == "stopped"):
            self._measure(self._image)
            self._judge(None)
            if self.is_random and self._is_finite():
                return self._image.detach().clone(), self.losses
        if not self._best_losses.isfinite().all().item():
            self._refuse()
        return self._best_image, self._best_losses

    def _is_finite(self) -> bool:
        return bool(self.losses.isfinite().all().item())

    def _measure(self, image: Tensor) -> None:
        """Count one evaluation without a gradient, and note its losses."""
        self.losses, _ = self._losses(image)
        self.count += 1

    def _losses(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return the losses in the order of ``names``, float32, and the total with its graph."""
        losses = self._objective(image)
        total = total_loss(losses)
        self.names = (*losses, "total")
        values = [*losses.values(), total]
        return torch.stack([value.detach().float().reshape(()) for value in values]), total

    def _losses_and_gradient(self) -> tuple[Tensor, Tensor]:
        """Return the losses of the current picture and the gradient of their total."""
        losses, total = self._losses(self._image)
        if not total.requires_grad:
            raise ImpastoError(
                "the losses do not depend on the picture: give a weight above 0 to at least one"
            )
        (gradient,) = torch.autograd.grad(total * self._loss_scale, self._image)
        return losses, gradient / self._loss_scale

    def _judge(self, gradient: Tensor | None) -> None:
        """Keep the picture if it is the best; note whether it has diverged. Never waits."""
        losses = self.losses
        total, best = losses[-1], self._best_losses[-1]
        if self.count == 1:
            self._first_total = total
        finite = losses.isfinite().all()
        better = finite & (total < best)
        # Beside a loss of next to nothing, rounding errors would be explosions.
        usual = torch.maximum(best, _NEXT_TO_NOTHING * self._first_total)
        exploded = (total > self._explosion * usual) & (usual > 0)
        diverged = ~finite | exploded
        if gradient is not None:
            diverged = diverged | ~gradient.isfinite().all()
        first = diverged & ~self._diverged
        self._diverged_losses = torch.where(first, losses, self._diverged_losses)
        self._diverged = self._diverged | diverged
        self._best_image = torch.where(better, self._image.detach(), self._best_image)
        self._best_losses = torch.where(better, losses, self._best_losses)

    def _refuse(self) -> NoReturn:
        values = zip(self.names, self._diverged_losses.tolist(), strict=True)
        listed = ", ".join(f"{name} {value:.6g}" for name, value in values)
        raise ImpastoError(
            f"no picture has finite losses ({listed}): give smaller weights, another picture to "
            "start from, or float32 instead of autocast"
        )


_log = logging.getLogger(__name__)

Method = Adam | Lbfgs


@dataclass(frozen=True, kw_only=True)
class DivergencePolicy:
    """The reaction to diverging losses: return to the best picture, and take smaller steps.

    Attributes:
        tries: number of consecutive returns without improvement before giving up.
        shrink: factor of the step length for each consecutive return.
        check_every: number of evaluations between checks for divergence; None: 1 on the CPU and 10
            elsewhere, since each check synchronizes with the device.
    """

    tries: int = 5
    shrink: float = 0.25
    check_every: int | None = None

    def interval(self, device: torch.device) -> int:
        """Return the number of evaluations between checks on a device."""
        return self.check_every or (1 if device.type == "cpu" else 10)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result at one scale.

    Attributes:
        image: resulting picture, RGB, (1, 3, H, W), float32, sRGB clipped to [0, 1]: the average of
            iterates if requested, otherwise the iterate with the lowest total loss, or, if losses
            are random, the last one.
        losses: weighted losses of the picture by name, ``total`` last, before clipping.
        evaluations: exact number of evaluations of the losses.
        rollbacks: number of returns to the best picture.
        seconds: wall-clock time.
        ended: how the optimization ended: ``complete``, ``stopped`` (by the watcher) or
            ``diverged``.
        statement: one sentence about the outcome.
        state: Adam's moments for the next scale; None with L-BFGS.
    """

    image: Tensor
    losses: dict[str, float]
    evaluations: int
    rollbacks: int
    seconds: float
    ended: Ended
    statement: str
    state: AdamState | None = None


def optimize(  # noqa: PLR0913 - two that are needed, and what a run may set
    image: Tensor,
    objective: LossFunction,
    *,
    method: Method,
    iterations: int,
    average: float | None = None,
    watch: Watch | None = None,
    state: AdamState | None = None,
    policy: DivergencePolicy | None = None,
    loss_scale: float = 1.0,
) -> Outcome:
    """Minimize the losses of a picture at one scale.

    Args:
        image: initial picture, RGB, (1, 3, H, W), sRGB in [0, 1], in any memory format; it is not
            changed.
        objective: losses of the picture. Network parameters get no gradients, frozen or not. If it
            has an attribute ``is_random`` that is True, the result is the last picture.
        method: optimizer, :class:`Adam` or :class:`Lbfgs`.
        iterations: exact number of evaluations of ``objective``.
        average: decay of the average of iterates (.99 is usual), which then is the result.
        watch: watcher that receives iterates and can stop the optimization.
        state: Adam's moments from the previous scale, to continue with; None: start from zero.
        policy: reaction to diverging losses.
        loss_scale: factor of the total loss in the backward pass, so that small gradients do not
            vanish in float16 (1024 is a reasonable choice there; bfloat16 needs none).

    Raises:
        ImpastoError: not even the first picture has finite losses, or no loss has a weight.
        ValueError: the picture's shape or values, or the settings, cannot be used.
    """
    _check(image, iterations)
    watch, policy = watch or Watch(), policy or DivergencePolicy()
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    moving = image.detach().to(dtype, memory_format=torch.contiguous_format, copy=True)
    evaluations = Evaluations(
        moving.requires_grad_(),
        objective,
        average=average,
        check_every=policy.interval(image.device),
        explosion=method.explosion,
        loss_scale=loss_scale,
        make_graph=graph_maker(
            image.device,
            evaluations=iterations,
            is_random=bool(getattr(objective, "is_random", False)),
        ),
    )
    report, rollbacks = _Report(evaluations, watch, iterations), _Rollbacks(policy)
    stepper: Stepper = method.stepper(moving, state=state)
    ended: Ended = "complete"
    for count in range(1, iterations):  # the last evaluation is that of the result
        gradient = evaluations.evaluate()
        if watch.stop():
            ended = "stopped"
            break
        if divergence := evaluations.find_divergence():
            if not rollbacks.allow(divergence, evaluations):
                ended = "diverged"
                break
            evaluations.restore_best()
            stepper = method.stepper(moving, shrink=rollbacks.shrink, done=evaluations.count)
            continue
        if count % watch.every == 0:
            report.tell(evaluations.shown, evaluations.losses)
        stepper.step(gradient)
    final = report.tell(*evaluations.conclude(ended), last=True)
    return Outcome(
        image=final.image,
        losses=final.losses,
        evaluations=evaluations.count,
        rollbacks=rollbacks.count,
        seconds=final.seconds,
        ended=ended,
        statement=rollbacks.given_up or _statement(evaluations, ended, iterations, rollbacks.count),
        state=stepper.state,
    )


class _Rollbacks:
    """Counts returns to the best picture, all of them and those in a row without progress."""

    def __init__(self, policy: DivergencePolicy) -> None:
        self._policy = policy
        self._in_a_row, self._reached = 0, math.inf
        self.count, self.given_up = 0, ""

    @property
    def shrink(self) -> float:
        """Factor of the step length from now on."""
        return self._policy.shrink**self._in_a_row

    def allow(self, divergence: str, evaluations: Evaluations) -> bool:
        """Return whether to restore the best picture again, and log it; else set ``given_up``."""
        best = evaluations.best_total
        # Progress by less than a thousandth does not count: this must come to an end.
        self._in_a_row = 1 if best < 0.999 * self._reached else self._in_a_row + 1
        self._reached = min(best, self._reached)
        if self._in_a_row > self._policy.tries:
            self.given_up = (
                f"diverged and given up at evaluation {evaluations.count}: {divergence}, after "
                f"{self.count} returns to the best picture, which is the result"
            )
            _log.warning("%s", self.given_up)
            return False
        self.count += 1
        _log.warning(
            "evaluation %d: %s; back to the best picture, with steps of %.3g times the length",
            evaluations.count,
            divergence,
            self.shrink,
        )
        return True


class _Report:
    """Tells a watcher how an optimization stands."""

    def __init__(self, evaluations: Evaluations, watch: Watch, steps: int) -> None:
        self._evaluations, self._watch, self._steps = evaluations, watch, steps
        self._start = time.perf_counter()

    def tell(self, image: Tensor, losses: Tensor, *, last: bool = False) -> Iterate:
        """Make an iterate of a picture and its losses, pass it to the watcher, and return it."""
        watch, evaluations = self._watch, self._evaluations
        iterate = Iterate(
            step=evaluations.count,
            steps=self._steps,
            scale=watch.scale,
            scales=watch.scales,
            evaluations=watch.before + evaluations.count,
            height=image.shape[-2],
            width=image.shape[-1],
            losses=dict(zip(evaluations.names, losses.tolist(), strict=True)),
            image=image.detach().clamp(0, 1),
            seconds=time.perf_counter() - self._start,
            last=last,
        )
        watch.tell(iterate)
        return iterate


def _statement(evaluations: Evaluations, ended: Ended, iterations: int, rollbacks: int) -> str:
    which = "last" if evaluations.is_random else "best"
    how = "complete" if ended == "complete" else f"stopped as wished, with the {which} picture"
    returns = f"; diverged and went back {rollbacks} times" if rollbacks else ""
    return f"{how} after {evaluations.count} of {iterations} evaluations{returns}"


def _check(image: Tensor, iterations: int) -> None:
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[:2] != (1, 3) or not image.is_floating_point():
        raise ValueError(f"image: expected (1, 3, H, W) floating point, got {shape} {image.dtype}")
    if not image.isfinite().all().item():
        raise ValueError("image: expected finite values")
    if iterations < 1:
        raise ValueError(f"iterations: expected at least 1, got {iterations}")
