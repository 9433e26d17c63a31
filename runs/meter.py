"""Collects the losses of each step on the device and reads them back only for a report."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from impasto.options.errors import TrainingError

__all__ = ["AFTER_NOT_FINITE", "Meter", "require_finite_weights"]

AFTER_NOT_FINITE = "Try a lower --lr, or --mixed_precision bf16 or no instead of fp16"
"""What to try when losses or weights are no longer numbers."""


def require_finite_weights(weights: Iterable[Tensor], *, what: str) -> None:
    """Refuse weights that are not finite, so that a good state is never overwritten.

    Args:
        weights: weights and statistics of a network, of any shapes, on one device.
        what: name of the network, for the message.

    Raises:
        TrainingError: a value is NaN or infinite.
    """
    finite = [torch.isfinite(value).all() for value in weights]
    if finite and not torch.stack(finite).all():
        raise TrainingError(
            f"the weights of {what} are no longer finite numbers. {AFTER_NOT_FINITE}"
        )


class Meter:
    """Losses, seconds and waiting time since the last report.

    Args:
        average: function that returns the mean of a vector over all processes; each calls it
            equally often.
    """

    def __init__(self, average: Callable[[Tensor], Tensor] = lambda values: values) -> None:
        self._average = average
        self._losses: list[Tensor] = []
        self._names: Sequence[str] = ()
        self._first_step = 0
        self._started = time.perf_counter()
        self._waited = 0.0
        self._images = 0

    def add(self, losses: Mapping[str, Tensor], *, step: int, images: int) -> None:
        """Remember the losses of one step: scalars on one device, by name."""
        if not self._losses or set(losses) != set(self._names):
            # Those of a run that is resumed with other losses cannot be averaged with these.
            self._losses, self._names, self._first_step = [], list(losses), step
        self._losses.append(torch.stack([losses[name] for name in self._names]))
        self._images += images

    def wait(self, seconds: float) -> None:
        """Count seconds in which the step waited for pictures."""
        self._waited += seconds

    def check(self) -> dict[str, float]:
        """Read the losses back and return their means, without forgetting them.

        Raises:
            TrainingError: a loss is not finite; names the step and its losses.
        """
        if not self._losses:
            return {}
        # Those of a resumed run come from the disk.
        device = self._losses[-1].device
        values = torch.stack([loss.to(device) for loss in self._losses]).cpu().double()
        bad = (~values.isfinite()).any(dim=1).nonzero().flatten().tolist()
        if bad:
            self._average(values.mean(dim=0))  # so that the other processes learn of it
            step = self._first_step + bad[0]
            spelled = ", ".join(
                f"{name} {value:.4g}"
                for name, value in zip(self._names, values[bad[0]].tolist(), strict=True)
            )
            raise TrainingError(
                f"a loss is not a finite number at step {step}: {spelled}. {AFTER_NOT_FINITE}"
            )
        means = self._average(values.mean(dim=0))
        if not means.isfinite().all():
            raise TrainingError(
                f"a loss is not a finite number in another process of this job. {AFTER_NOT_FINITE}"
            )
        return dict(zip(self._names, means.tolist(), strict=True))

    def state_dict(self) -> dict[str, Any]:
        """Return the losses since the last report, so that a resumed run reports them too."""
        losses = torch.stack([loss.cpu() for loss in self._losses]) if self._losses else None
        return {"losses": losses, "names": list(self._names), "first_step": self._first_step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state; the clock starts anew."""
        self._losses = [] if state["losses"] is None else list(state["losses"])
        self._names, self._first_step = state["names"], state["first_step"]

    def report(self) -> dict[str, Any]:
        """Return the means since the last report and start anew.

        Returns:
            ``losses`` (means by name), ``seconds``, ``data_wait`` (share of the time, 0 to 1) and
            ``images_per_second``.

        Raises:
            TrainingError: a loss is not finite.
        """
        losses = self.check()
        seconds = max(time.perf_counter() - self._started, 1e-9)
        record = {
            "losses": losses,
            "seconds": round(seconds, 3),
            "data_wait": round(min(self._waited / seconds, 1.0), 4),
            "images_per_second": round(self._images / seconds, 3),
        }
        self._losses, self._waited, self._images = [], 0.0, 0
        self._started = time.perf_counter()
        return record
