"""Evaluating the losses of a picture, and remembering what came of it.

Which picture is the best, and whether the losses are finite, is decided on the device. The host
reads it every few evaluations only, so that it need not wait for a GPU each time.
"""

import math
from typing import Literal, NoReturn

import torch
from torch import Tensor

from impasto.gatys.optim.iterates import IterateAverage, LossFunction, total_loss
from impasto.options.errors import ImpastoError

__all__ = ["Ended", "Evaluations"]

Ended = Literal["complete", "stopped", "diverged"]
"""How an optimisation ended: as planned, by the watcher's wish, or given up."""

# Share of the first loss below which it does not matter how many times the best a loss is.
_NEXT_TO_NOTHING = 1e-6


class Evaluations:
    """The evaluations of the losses at one scale.

    Args:
        image: what is optimised, in place, (1, 3, H, W), a leaf that requires a gradient.
        objective: its losses.
        average: decay of the average of iterates, or None for none.
        check_every: evaluations between looks at whether the losses diverge.
        explosion: how many times the best total counts as divergence.
        loss_scale: what the total is multiplied by on its way back.

    Attributes:
        count: evaluations so far.
        names: of the losses, ``total`` last; empty before the first evaluation.
        losses: of the last evaluation, in the order of ``names``, float32, without gradients.
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
    ) -> None:
        self._image, self._objective = image, objective
        self._average = None if average is None else IterateAverage(average)
        self._check_every, self._explosion, self._loss_scale = check_every, explosion, loss_scale
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
        """The least total so far, infinite if there is none; waits for the device."""
        return self._best_losses[-1].item()

    @property
    def shown(self) -> Tensor:
        """The average of iterates if there is one, or else the picture as it is now."""
        return self._image if self._average is None else self._average.value

    def evaluate(self) -> Tensor:
        """Evaluate the picture as it is now, judge it, and return the gradient, (1, 3, H, W).

        Raises:
            ImpastoError: the losses do not depend on the picture.
        """
        if self._average is not None:
            self._average.update(self._image)
        total = self._measure(self._image)
        if not total.requires_grad:
            raise ImpastoError(
                "the losses do not depend on the picture: give a weight above 0 to at least one"
            )
        (gradient,) = torch.autograd.grad(total * self._loss_scale, self._image)
        gradient = gradient / self._loss_scale
        self._judge(gradient)
        return gradient

    def find_divergence(self) -> str:
        """Say what diverged since the last look, "" if nothing did or it is no time to look.

        A look waits for the device; there is one after the first evaluation, too.

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
        """Put the best picture back, and average from there."""
        with torch.no_grad():
            self._image.copy_(self._best_image)
        self._diverged.zero_()
        if self._average is not None:
            self._average.restart()

    @torch.no_grad()
    def conclude(self, ended: Ended) -> tuple[Tensor, Tensor]:
        """Return the result, (1, 3, H, W), and its losses in the order of ``names``.

        It is the average of iterates if there is one and it has not diverged, and the picture with
        the least total otherwise. The average, or the last picture of a complete optimisation, is
        evaluated here for the first time, without a gradient.

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
            if self.losses.isfinite().all().item() and not (self.losses[-1] > limit).item():
                return average, self.losses
        elif ended == "complete":
            self._measure(self._image)
            self._judge(None)
        if not self._best_losses.isfinite().all().item():
            self._refuse()
        return self._best_image, self._best_losses

    def _measure(self, image: Tensor) -> Tensor:
        """Count one evaluation, note its losses, and return the total with its graph."""
        losses = self._objective(image)
        self.count += 1
        total = total_loss(losses)
        self.names = (*losses, "total")
        values = [*losses.values(), total]
        self.losses = torch.stack([value.detach().float().reshape(()) for value in values])
        return total

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
