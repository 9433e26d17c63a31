"""One training step of a classifier, its evaluation on held-out pictures, and its state."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from impasto.data.tensors import to_unit_range
from impasto.gatys.classifier.loading import ClassBatch
from impasto.gatys.classifier.model import VggClassifier
from impasto.options.errors import CheckpointError, ImpastoError, TrainingError
from impasto.runs.learner import Evaluation, StepResult
from impasto.runs.meter import AFTER_NOT_FINITE, require_finite_weights
from impasto.runs.processes import (
    average_gradients,
    average_statistics,
    mean_over_processes,
    normalization_statistics,
)

__all__ = ["Best", "ClassifierLearner"]

_SHOWN = 6  # pictures of each kind
_TOP = 5


@dataclass(frozen=True, kw_only=True)
class Best:
    """The epoch with the lowest held-out loss.

    Attributes:
        epoch: number of the epoch, counted from 1; 0 before the first.
        scores: scores on the held-out pictures after that epoch.
        features: weights of the convolutions, batch normalization folded in; None before the first
            epoch.
    """

    epoch: int = 0
    scores: Mapping[str, float]
    features: Mapping[str, Tensor] | None = None


class ClassifierLearner:
    """Minimizes the cross-entropy with label smoothing (Szegedy et al. 2016, section 7).

    Args:
        network: classifier to train, on the accelerator's device.
        optimizer: optimizer of the network's parameters.
        plateau: scheduler that lowers the learning rate when the held-out loss stops falling.
        held_out: held-out pictures of this process, read again for each evaluation.
        accelerator: device, precision and processes.
        label_smoothing: share of the target that is spread over all classes.
        patience: number of epochs without a lower held-out loss after which the training ends.
    """

    def __init__(
        self,
        network: VggClassifier,
        *,
        optimizer: Optimizer,
        plateau: ReduceLROnPlateau,
        held_out: Iterable[ClassBatch],
        accelerator: Accelerator,
        label_smoothing: float = 0.0,
        patience: int = 15,
    ) -> None:
        self.network = network
        self.best = Best(scores={"loss_val": math.inf})
        self._epoch = self._judged = 0
        # The same names in all samples of a run: the page passes over an epoch that lacks one.
        self._hardest: dict[str, Tensor] = {}
        self._learnt: dict[str, Tensor] = {}
        self._lr = float(optimizer.param_groups[0]["lr"])
        self._optimizer = accelerator.prepare_optimizer(optimizer)
        self._plateau, self._held_out = plateau, held_out
        self._accelerator = accelerator
        self._label_smoothing, self._patience = label_smoothing, patience

    def step(self, batches: Sequence[ClassBatch]) -> StepResult:
        """Make one update from one or more batches, whose gradients are added up.

        Args:
            batches: at least one; each RGB, (N, 3, S, S), uint8, or float32 in [0, 1].

        Returns:
            Means over the batches: ``loss``, the cross-entropy with label smoothing, and ``top1``,
            the share that was classified correctly, with dropout and augmentation.
        """
        self._optimizer.zero_grad()
        losses, rights = [], []
        for batch in (batch.to(self._accelerator.device) for batch in batches):
            with self._accelerator.autocast():
                logits = self.network(batch.images)
            loss = F.cross_entropy(
                logits.float(), batch.labels, label_smoothing=self._label_smoothing
            )
            self._accelerator.backward(loss / len(batches))
            losses.append(loss.detach())
            rights.append((logits.detach().argmax(1) == batch.labels).float().mean())
        average_gradients(self.network.parameters(), self._accelerator)
        self._optimizer.step()
        self._learnt = _training_samples(batches[-1])
        means = {"loss": torch.stack(losses).mean(), "top1": torch.stack(rights).mean()}
        return StepResult(losses=means)

    def start_epoch(self, epoch: int) -> None:
        """Remember the epoch, counted from 1."""
        self._epoch = epoch

    def end_epoch(self) -> Evaluation:
        """Evaluate on the held-out pictures, adjust the learning rate, keep the best weights.

        Returns:
            ``loss_val`` (without label smoothing), ``top1_val`` and, with more than five classes,
            ``top5_val``; and the pictures with the highest losses, beside some of the last step.

        Raises:
            ImpastoError: no held-out picture can be read.
            TrainingError: the loss is not finite.
        """
        average_statistics([self.network], self._accelerator)
        self.network.eval()
        scores, hardest = self._evaluate()
        self.network.train()
        if not math.isfinite(scores["loss_val"]):
            raise TrainingError(f"the held-out loss is not a finite number. {AFTER_NOT_FINITE}")
        self._judged = self._epoch
        if scores["loss_val"] < self.best.scores["loss_val"]:
            features = self.network.plain_features()
            self.best = Best(epoch=self._epoch, scores=scores, features=features)
        self._plateau.step(scores["loss_val"])
        self._hardest = {f"hardest_{place}": image for place, image in enumerate(hardest, start=1)}
        return Evaluation(scores=scores, samples={**self._hardest, **self._learnt})

    def converged(self) -> bool:
        """Whether the held-out loss has not fallen for ``patience`` epochs."""
        return self.best.epoch > 0 and self._judged - self.best.epoch >= self._patience

    @torch.no_grad()
    def _evaluate(self) -> tuple[dict[str, float], list[Tensor]]:
        device = self._accelerator.device
        top = min(_TOP, self.network.classes)
        sums = torch.zeros(4, dtype=torch.float64)
        hardest: list[tuple[float, Tensor]] = []
        for batch in (batch.to(device) for batch in self._held_out):
            with self._accelerator.autocast():
                logits = self.network(batch.images).float()
            losses = F.cross_entropy(logits, batch.labels, reduction="none")
            right = logits.topk(top).indices == batch.labels.unsqueeze(1)
            found = torch.stack([losses.sum(), right[:, 0].sum(), right.sum()]).cpu()
            sums += torch.cat([found, torch.tensor([len(losses)])])
            hardest = _hardest(hardest, losses, batch.images)
        means = mean_over_processes(sums, accelerator=self._accelerator)
        loss, first, among, count = means.tolist()
        if count == 0:
            raise ImpastoError("no held-out picture can be read")
        scores = {"loss_val": loss / count, "top1_val": first / count}
        if self.network.classes > _TOP:
            scores["top5_val"] = among / count
        return scores, [image for _, image in hardest]

    def samples(self, batch: ClassBatch) -> dict[str, Tensor]:
        """Return the pictures with the highest losses, and some of a batch after augmentation.

        Args:
            batch: RGB, (N, 3, S, S), in [0, 1].

        Returns:
            ``hardest_1``, ... (none before the first epoch has ended) and ``training_1``, ..., each
            RGB, (1, 3, S, S), in [-1, 1].
        """
        return {**self._hardest, **_training_samples(batch)}

    def output_statistics(self, batch: ClassBatch) -> dict[str, float | None]:  # noqa: ARG002
        """Return no statistics: losses and scores suffice for a classifier."""
        return {}

    def check_finite(self) -> None:
        """Refuse weights that are not finite, so that a good state is never overwritten.

        Raises:
            TrainingError: a weight is not finite.
        """
        require_finite_weights(self.network.state_dict().values(), what="the network")

    def state_dict(self) -> dict[str, Any]:
        """Return the state that all processes share."""
        scaler = self._accelerator.scaler
        return {
            "network": self.network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "plateau": self._plateau.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "lr": self._lr,
            "judged": self._judged,
            "best": {
                "epoch": self.best.epoch,
                "scores": dict(self.best.scores),
                "features": self.best.features,
            },
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state.

        Raises:
            CheckpointError: the state belongs to a different network.
        """
        try:
            self.network.load_state_dict(state["network"])
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise CheckpointError(f"the state does not fit the network: {reason}") from error
        decays = [group["weight_decay"] for group in self._optimizer.param_groups]
        self._optimizer.load_state_dict(state["optimizer"])
        for group, decay in zip(self._optimizer.param_groups, decays, strict=True):
            # Those of the options, which a resumed run may change; plateaus have lowered the rate.
            group["lr"] *= self._lr / state["lr"]
            group["weight_decay"] = decay
        self._plateau.load_state_dict(
            {**state["plateau"], "patience": self._plateau.patience, "factor": self._plateau.factor}
        )
        self._judged = state["judged"]
        self.best = Best(**state["best"])
        if self._accelerator.scaler is not None and state["scaler"]:
            self._accelerator.scaler.load_state_dict(state["scaler"])

    def process_state(self) -> dict[str, Any]:
        """Return what differs between processes: the statistics of batch normalization."""
        if self._accelerator.num_processes == 1:
            return {}
        return {name: value.cpu() for name, value in normalization_statistics(self.network).items()}

    def load_process_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved process state."""
        statistics = normalization_statistics(self.network)
        for name, value in state.items():
            statistics[name].copy_(value)

    @property
    def loss_weights(self) -> dict[str, float]:
        """No weights: the single loss is not weighted."""
        return {}

    @property
    def present_learning_rate(self) -> float:
        """The learning rate of the next step."""
        return float(self._optimizer.param_groups[0]["lr"])


def _training_samples(batch: ClassBatch) -> dict[str, Tensor]:
    some = to_unit_range(batch.images[:_SHOWN]) * 2 - 1
    return {f"training_{place}": image[None] for place, image in enumerate(some, start=1)}


def _hardest(
    known: list[tuple[float, Tensor]], losses: Tensor, images: Tensor
) -> list[tuple[float, Tensor]]:
    """Return the pictures with the highest losses so far, the worst first, in [-1, 1]."""
    values, places = losses.topk(min(_SHOWN, len(losses)))
    new = [
        (value, images[place : place + 1].cpu() * 2 - 1)
        for value, place in zip(values.tolist(), places.tolist(), strict=True)
    ]
    return sorted([*known, *new], key=lambda pair: -pair[0])[:_SHOWN]
