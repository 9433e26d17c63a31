"""The algorithm of style transfer: evaluate the losses of a picture, take a step, again and again.

One number counts everywhere: evaluations of the losses. ``iterations`` is how many there are, no
more and no fewer, whatever the method makes of them; n evaluations give n - 1 steps.
"""

import logging
import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.gatys.optim.evaluations import Ended, Evaluations
from impasto.gatys.optim.iterates import Iterate, LossFunction, Watch
from impasto.gatys.optim.methods import Adam, AdamState, Lbfgs, Stepper

__all__ = ["DivergencePolicy", "Method", "Outcome", "optimize"]

_log = logging.getLogger(__name__)

Method = Adam | Lbfgs


@dataclass(frozen=True, kw_only=True)
class DivergencePolicy:
    """What happens when the losses diverge: back to the best picture, with smaller steps.

    Attributes:
        tries: how often in a row to go back without getting any further, before giving up.
        shrink: factor of the length of steps, each time in a row.
        check_every: evaluations between looks at whether it happens; None: 1 on the CPU and 10
            elsewhere, since each look waits for the device.
    """

    tries: int = 5
    shrink: float = 0.25
    check_every: int | None = None

    def interval(self, device: torch.device) -> int:
        """Return ``check_every`` for a device."""
        return self.check_every or (1 if device.type == "cpu" else 10)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result at one scale.

    Attributes:
        image: RGB, (1, 3, H, W), float32, sRGB clipped to [0, 1]: the average of iterates if
            that was asked for, or else the iterate with the least total.
        losses: its weighted losses by name, ``total`` last, before it was clipped.
        evaluations: of the losses, exactly.
        rollbacks: how often it went back to the best picture.
        seconds: wall-clock.
        ended: ``complete``, ``stopped`` (by the watcher's wish) or ``diverged``.
        statement: what there is to say about it, one sentence.
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
    """Lower the losses of a picture at one scale.

    Args:
        image: where to start, RGB, (1, 3, H, W), sRGB in [0, 1], any memory format; left as it is.
        objective: its losses. Parameters get no gradients, frozen or not.
        method: :class:`Adam` or :class:`Lbfgs`.
        iterations: evaluations of ``objective``, exactly.
        average: decay of the average of iterates (.99 is usual), which then is the result.
        watch: who is told, how often, and whose wish to stop counts.
        state: of the scale before, to go on with Adam's moments.
        policy: what happens when the losses diverge.
        loss_scale: what the total is multiplied by on its way back, so that small gradients do not
            vanish in float16 (1024 is a fair choice there; bfloat16 needs none).

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
            stepper = method.stepper(moving, shrink=rollbacks.shrink)
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
        statement=rollbacks.given_up
        or _statement(ended, evaluations.count, iterations, rollbacks.count),
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
        """Factor of the length of steps from here on."""
        return self._policy.shrink**self._in_a_row

    def allow(self, divergence: str, evaluations: Evaluations) -> bool:
        """Return whether to go back once more, and log it; otherwise ``given_up`` says why not."""
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
    """Tells a watcher how an optimisation stands."""

    def __init__(self, evaluations: Evaluations, watch: Watch, steps: int) -> None:
        self._evaluations, self._watch, self._steps = evaluations, watch, steps
        self._start = time.perf_counter()

    def tell(self, image: Tensor, losses: Tensor, *, last: bool = False) -> Iterate:
        """Make an iterate of a picture and its losses, tell it, and return it."""
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


def _statement(ended: Ended, count: int, iterations: int, rollbacks: int) -> str:
    how = "complete" if ended == "complete" else "stopped as wished, with the best picture"
    returns = f"; diverged and went back {rollbacks} times" if rollbacks else ""
    return f"{how} after {count} of {iterations} evaluations{returns}"


def _check(image: Tensor, iterations: int) -> None:
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[:2] != (1, 3) or not image.is_floating_point():
        raise ValueError(f"image: expected (1, 3, H, W) floating point, got {shape} {image.dtype}")
    if not image.isfinite().all().item():
        raise ValueError("image: expected finite values")
    if iterations < 1:
        raise ValueError(f"iterations: expected at least 1, got {iterations}")
