"""The interfaces between the training loop and a method: the learner and the loader."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar

from torch import Tensor

from impasto.runs.observers import Progress

__all__ = ["Evaluation", "Judge", "Learner", "Loader", "StepResult", "Verdict"]

Batch_contra = TypeVar("Batch_contra", contravariant=True)
Batch_co = TypeVar("Batch_co", covariant=True)


@dataclass(frozen=True, kw_only=True)
class StepResult:
    """The result of one update.

    Attributes:
        losses: losses by their names in the log, detached scalars on the device.
    """

    losses: Mapping[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """The result of a learner's evaluation at the end of an epoch.

    Attributes:
        scores: measures by name; ``loss_val`` is drawn beside the loss ``loss``.
        samples: pictures to show, each RGB, (N, 3, H, W), in [-1, 1].
    """

    scores: Mapping[str, float]
    samples: Mapping[str, Tensor] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a judge says of the networks at the end of an epoch.

    Attributes:
        scores: measures by name; none if they could not be measured.
        note: the result in words, for the terminal and the page.
        better: whether networks were kept as the best so far.
        stops: whether the training is to end.
    """

    scores: Mapping[str, float] = field(default_factory=dict)
    note: str = ""
    better: bool = False
    stops: bool = False


class Judge(Protocol):
    """Measures between epochs what a learner has come to, and keeps the best.

    It changes nothing that the training depends on, and raises nothing: what cannot be measured
    must not end a training.
    """

    def restore(self, progress: Progress) -> Verdict:
        """Take up what was measured before a training is resumed."""
        ...

    def measure(self, progress: Progress) -> Verdict:
        """Measure at the end of an epoch."""
        ...


class Learner(Protocol[Batch_contra]):
    """The interface of what is trained."""

    def step(self, batches: Sequence[Batch_contra]) -> StepResult:
        """Make one update."""
        ...

    def start_epoch(self, epoch: int) -> None:
        """Prepare for an epoch, counted from 1."""
        ...

    def end_epoch(self) -> Evaluation | None:
        """Finish an epoch; return what to report if ``ReportIntervals.evaluate`` is set."""
        ...

    def samples(self, batch: Batch_contra) -> Mapping[str, Tensor]:
        """Return sample images, each RGB, (N, 3, H, W), in [-1, 1]."""
        ...

    def output_statistics(self, batch: Batch_contra) -> Mapping[str, float | None]:
        """Return statistics of the outputs for a batch, for the log and the doctor."""
        ...

    def check_finite(self) -> None:
        """Raise TrainingError where a weight is not finite."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the state that all processes share."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        ...

    def process_state(self) -> dict[str, Any]:
        """Return the state that differs between processes."""
        ...

    def load_process_state(self, state: Mapping[str, Any]) -> None:
        """Continue from a saved state."""
        ...

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """The weights by which the losses of a step are multiplied, by the names of the losses."""
        ...

    @property
    def present_learning_rate(self) -> float:
        """The learning rate of the next step."""
        ...


class Loader(Protocol[Batch_co]):
    """The interface of the source of batches, epoch by epoch.

    Attributes:
        stop: whether the end of the training was asked for, which a wait for a batch does not
            hold up.
    """

    stop: Callable[[], bool]

    @property
    def global_batch(self) -> int:
        """Number of pictures per batch, of all processes together."""
        ...

    @property
    def epoch_images(self) -> int:
        """Pictures per epoch."""
        ...

    @property
    def position(self) -> int:
        """Number of pictures of this epoch that were used."""
        ...

    @property
    def unreadable(self) -> Mapping[Path, str]:
        """Pictures that were skipped, with the reasons."""
        ...

    def close(self) -> None:
        """End the processes that load."""
        ...

    def __iter__(self) -> Iterator[Batch_co]:
        """Yield the rest of the epoch."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Return the position."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a saved state."""
        ...
