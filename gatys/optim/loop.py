"""Changing a picture until its losses are small.

One number counts everywhere: evaluations of the losses. ``iterations`` is how many there are, no
more and no fewer, whatever the method makes of them; n evaluations give n - 1 steps.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, NoReturn, Protocol

import torch
from torch import Tensor

from impasto.gatys.optim.evaluations import DivergedError, Evaluations, Precision, SpentError
from impasto.gatys.optim.iterates import LossFunction, Watch
from impasto.gatys.optim.methods import Adam, AdamState, Lbfgs

__all__ = ["Method", "Outcome", "Safety", "optimize"]

_log = logging.getLogger(__name__)

Method = Adam | Lbfgs


class _Walk(Protocol):
    @property
    def state(self) -> AdamState | None: ...

    def run(self, evaluate: Callable[[], tuple[Tensor, Tensor]], /) -> NoReturn: ...


@dataclass(frozen=True, kw_only=True)
class Safety:
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
        losses: its weighted losses by the names in ``TERMS``, before it was clipped.
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
    ended: Literal["complete", "stopped", "diverged"]
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
    safety: Safety | None = None,
    precision: Precision | None = None,
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
        safety: what happens when the losses diverge.
        precision: autocast for the network.

    Raises:
        ImpastoError: not even the first picture has finite losses, or no loss has a weight.
        ValueError: the picture's shape or values, or the settings, cannot be used.
    """
    _check(image, method, iterations, average)
    watch, safety = watch or Watch(), safety or Safety()
    dtype = torch.float64 if image.dtype == torch.float64 else torch.float32
    moving = image.detach().to(dtype, memory_format=torch.contiguous_format, copy=True)
    moving.requires_grad_()
    evaluations = Evaluations(
        moving,
        objective,
        limit=iterations,
        watch=watch,
        average=average,
        explosion=method.tolerated,
        check_every=safety.interval(image.device),
        precision=precision or Precision(),
    )
    walk, rollbacks, given_up = _walk_safely(evaluations, moving, method, safety, state)
    final = evaluations.finish()
    ended: Literal["complete", "stopped", "diverged"] = "complete"
    if given_up or evaluations.stopped:
        ended = "diverged" if given_up else "stopped"
    return Outcome(
        image=final.image,
        losses=final.losses,
        evaluations=evaluations.count,
        rollbacks=rollbacks,
        seconds=evaluations.seconds,
        ended=ended,
        statement=given_up or _statement(ended, evaluations.count, iterations, rollbacks),
        state=walk.state,
    )


def _walk_safely(
    evaluations: Evaluations,
    image: Tensor,
    method: Method,
    safety: Safety,
    state: AdamState | None,
) -> tuple[_Walk, int, str]:
    """Run a method to its end; return its last walk, rollbacks, and why it was given up or ""."""
    rollbacks = in_a_row = 0
    reached = float("inf")
    walk: _Walk = method.walk(image, 1.0, state)
    while True:
        try:
            walk.run(evaluations.evaluate)
        except SpentError:
            return walk, rollbacks, ""
        except DivergedError as reason:
            best = evaluations.best
            # Progress by less than a thousandth does not count: this must come to an end.
            in_a_row = 1 if best < 0.999 * reached else in_a_row + 1
            reached = min(best, reached)
            if in_a_row > safety.tries:
                given_up = (
                    f"diverged and given up at evaluation {evaluations.count}: {reason}, after "
                    f"{rollbacks} returns to the best picture, which is the result"
                )
                _log.warning("%s", given_up)
                return walk, rollbacks, given_up
            shrink = safety.shrink**in_a_row
            _log.warning(
                "evaluation %d: %s; back to the best picture, with steps of %.3g times the length",
                evaluations.count,
                reason,
                shrink,
            )
            rollbacks += 1
            evaluations.go_back()
            walk = method.walk(image, shrink, None)


def _statement(ended: str, count: int, iterations: int, rollbacks: int) -> str:
    how = "complete" if ended == "complete" else "stopped as wished, with the best picture"
    returns = f"; diverged and went back {rollbacks} times" if rollbacks else ""
    return f"{how} after {count} of {iterations} evaluations{returns}"


def _check(image: Tensor, method: Method, iterations: int, average: float | None) -> None:
    shape = tuple(image.shape)
    if len(shape) != 4 or shape[:2] != (1, 3) or not image.is_floating_point():
        raise ValueError(f"image: expected (1, 3, H, W) floating point, got {shape} {image.dtype}")
    if not image.isfinite().all().item():
        raise ValueError("image: expected finite values")
    if iterations < 1:
        raise ValueError(f"iterations: expected at least 1, got {iterations}")
    if average is not None and isinstance(method, Lbfgs) and method.line_search:
        raise ValueError("average: a line search tries pictures that must not be averaged")
