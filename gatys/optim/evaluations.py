"""Counting, judging and showing the evaluations of one optimisation.

What is best, and whether losses are finite, is decided on the device; the host reads it every few
evaluations, so that it need not wait for a GPU each time.

The average of iterates, which is smoother than any of them.
"""

import math
import time
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from impasto.gatys.optim.iterates import TERMS, Iterate, LossFunction, Watch
from impasto.options.errors import ImpastoError

__all__ = ["DivergedError", "Evaluations", "IterateAverage", "Precision", "SpentError"]


class IterateAverage:
    """An exponential moving average whose start does not weigh too much.

    Kingma and Ba 2015, section 3: the average begins at 0 and is divided by the weight that it has
    taken in, 1 - decay^n after n pictures.

    Args:
        decay: share of the old average that is kept at each update, at least 0 and below 1.
    """

    def __init__(self, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay: expected at least 0 and below 1, got {decay}")
        self._decay = decay
        self._missing = 1.0
        self._sum: Tensor | None = None

    def update(self, image: Tensor) -> None:
        """Take in one more picture, (1, 3, H, W)."""
        image = image.detach()
        if self._sum is None:
            self._sum = torch.zeros_like(image)
        self._sum.lerp_(image, 1 - self._decay)
        self._missing *= self._decay

    def restart(self) -> None:
        """Forget all pictures."""
        self._missing, self._sum = 1.0, None

    @property
    def value(self) -> Tensor:
        """The average, (1, 3, H, W); a copy.

        Raises:
            ValueError: nothing has been averaged yet.
        """
        if self._sum is None:
            raise ValueError("the average of no pictures")
        return self._sum / (1 - self._missing)


# Share of the first loss below which it does not matter how many times the best a loss is.
_NEXT_TO_NOTHING = 1e-6


class SpentError(Exception):
    """All evaluations are done, or whoever watches wishes to stop; ends a method's loop."""


class DivergedError(Exception):
    """The losses are not finite, or have exploded; the message has the numbers."""


@dataclass(frozen=True, kw_only=True)
class Precision:
    """The arithmetic of the network; picture, moments and matrices of moments stay float32.

    Attributes:
        dtype: ``torch.bfloat16`` or ``torch.float16`` for autocast; None for none.
        loss_scale: what the loss is multiplied by on its way back, so that small gradients do not
            vanish in float16 (1024 is a fair choice there; bfloat16 needs none).
    """

    dtype: torch.dtype | None = None
    loss_scale: float = 1.0

    def context(self, device: torch.device) -> AbstractContextManager[object]:
        """Return what to compute the losses in."""
        if self.dtype is None:
            return nullcontext()
        return torch.autocast(device.type, dtype=self.dtype)


class Evaluations:
    """The evaluations of the losses at one scale.

    Args:
        image: what the method changes in place, (1, 3, H, W), a leaf that requires a gradient.
        objective: its losses.
        limit: evaluations to stop at.
        watch: who is told.
        average: decay of the average of iterates, or None for none.
        explosion: how many times the best total counts as divergence.
        check_every: evaluations between looks at whether it diverges.
        precision: of the network.

    Attributes:
        count: evaluations so far.
        stopped: whether ``watch.stop`` has said so.
    """

    def __init__(  # noqa: PLR0913 - made in one place, from a method's and a run's settings
        self,
        image: Tensor,
        objective: LossFunction,
        *,
        limit: int,
        watch: Watch,
        average: float | None,
        explosion: float,
        check_every: int,
        precision: Precision,
    ) -> None:
        self._image, self._objective = image, objective
        self._limit, self._watch = limit, watch
        self._average = None if average is None else IterateAverage(average)
        self._explosion, self._check_every, self._precision = explosion, check_every, precision
        self._start = time.perf_counter()
        self.count, self.stopped = 0, False
        unknown = torch.full((len(TERMS),), torch.inf, dtype=torch.float32, device=image.device)
        self._best_losses, self._best_image = unknown, image.detach().clone()
        self._first = unknown[-1]
        self._bad = torch.zeros((), dtype=torch.bool, device=image.device)
        self._bad_losses = unknown
        self._result: tuple[Tensor, Tensor] | None = None

    @property
    def seconds(self) -> float:
        """Since the first evaluation was prepared."""
        return time.perf_counter() - self._start

    @property
    def best(self) -> float:
        """The least total so far, infinite if there is none; waits for the device."""
        return self._best_losses[-1].item()

    def evaluate(self) -> tuple[Tensor, Tensor]:
        """Return total and gradient, (1, 3, H, W), of the picture as it is now.

        The last evaluation needs no gradient, and, where iterates are averaged, is that of the
        average.

        Raises:
            SpentError: this was the last one.
            DivergedError: go back to the best picture.
            ImpastoError: not even the first picture has finite losses.
        """
        if self._average is not None:
            self._average.update(self._image)
        if self.count + 1 >= self._limit:
            self._conclude()
        total, losses = self._losses(self._image)
        (gradient,) = torch.autograd.grad(total * self._precision.loss_scale, self._image)
        gradient = gradient / self._precision.loss_scale
        self._judge(losses, gradient)
        if self._watch.stop():
            self.stopped = True
            self._conclude()
        if self.count == 1 or self.count % self._check_every == 0:
            self._check()
        if self.count % self._watch.every == 0:
            shown = self._image if self._average is None else self._average.value
            self._watch.tell(self._iterate(shown, losses))
        return total.detach(), gradient

    def go_back(self) -> None:
        """Put the best picture back, and average from there."""
        with torch.no_grad():
            self._image.copy_(self._best_image)
        self._bad.zero_()
        if self._average is not None:
            self._average.restart()

    def finish(self) -> Iterate:
        """Tell, and return, the result: the average if there is one, or else the best picture."""
        image, losses = self._result or (self._best_image, self._best_losses)
        result = self._iterate(image, losses, last=True)
        self._watch.tell(result)
        return result

    def _conclude(self) -> None:
        """Measure the result if that is yet to be done, without a gradient.

        Raises:
            SpentError: always.
            ImpastoError: no picture at all has finite losses.
        """
        if self._average is not None:
            average = self._average.value
            with torch.no_grad():
                _, losses = self._losses(average, needs_gradient=False)
            self._bad_losses = losses
            limit = self._explosion * self._best_losses[-1]
            if losses.isfinite().all().item() and not (losses[-1] > limit).item():
                self._result = average, losses
        elif not self.stopped:
            with torch.no_grad():
                _, losses = self._losses(self._image, needs_gradient=False)
            self._judge(losses, None)
        if self._result is None and not self._best_losses.isfinite().all().item():
            self._refuse()
        raise SpentError

    def _losses(self, image: Tensor, *, needs_gradient: bool = True) -> tuple[Tensor, Tensor]:
        """Return the total, and all losses as (5,) float32 without gradients."""
        with self._precision.context(image.device):
            terms = self._objective(image)
        self.count += 1
        total = terms.total
        if needs_gradient and not total.requires_grad:
            raise ImpastoError(
                "the losses do not depend on the picture: give a weight above 0 to at least one"
            )
        each = [terms.content, terms.style, terms.variation, terms.value_range, total]
        return total, torch.stack([term.detach().float().reshape(()) for term in each])

    def _judge(self, losses: Tensor, gradient: Tensor | None) -> None:
        """Keep the picture if it is the best; note whether it has diverged. Never waits."""
        total, best = losses[-1], self._best_losses[-1]
        if self.count == 1:
            self._first = total
        finite = losses.isfinite().all()
        better = finite & (total < best)
        # Beside a loss of next to nothing, rounding errors would be explosions.
        usual = torch.maximum(best, _NEXT_TO_NOTHING * self._first)
        exploded = (total > self._explosion * usual) & (usual > 0)
        bad = ~finite | exploded
        if gradient is not None:
            bad = bad | ~gradient.isfinite().all()
        self._bad_losses = torch.where(bad & ~self._bad, losses, self._bad_losses)
        self._bad = self._bad | bad
        self._best_image = torch.where(better, self._image.detach(), self._best_image)
        self._best_losses = torch.where(better, losses, self._best_losses)

    def _check(self) -> None:
        """Raise if something has diverged since the last look. Waits for the device."""
        if not self._bad.item():
            return
        best, total = self.best, self._bad_losses[-1].item()
        if best == float("inf"):
            self._refuse()
        if math.isfinite(total) and total <= self._explosion * best:
            raise DivergedError(f"the gradient is not finite at a loss of {total:.6g}")
        raise DivergedError(f"the loss went to {total:.6g} from {best:.6g}, the best")

    def _refuse(self) -> None:
        named = zip(TERMS, self._bad_losses.tolist(), strict=True)
        listed = ", ".join(f"{name} {value:.6g}" for name, value in named)
        raise ImpastoError(
            f"no picture has finite losses ({listed}): give smaller weights, another picture to "
            "start from, or float32 instead of autocast"
        )

    def _iterate(self, image: Tensor, losses: Tensor, *, last: bool = False) -> Iterate:
        watch = self._watch
        return Iterate(
            step=self.count,
            steps=self._limit,
            scale=watch.scale,
            scales=watch.scales,
            evaluations=watch.before + self.count,
            height=image.shape[-2],
            width=image.shape[-1],
            losses=dict(zip(TERMS, losses.tolist(), strict=True)),
            image=image.detach().clamp(0, 1),
            seconds=self.seconds,
            last=last,
        )
