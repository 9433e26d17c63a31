"""Other ways to make Impasto's training step on a GPU, tried by ``on_gpu.py``.

They show what the step could gain; ``impasto train`` does not have them yet. The pools are empty,
since choosing from them is done on the CPU, and rates and random draws are those of the capture.
"""

from collections.abc import Callable, Sequence

import torch

from impasto.cyclegan.trainer import Trainer
from impasto.data.datasets import UnpairedBatch
from impasto.runs.learner import StepResult

__all__ = ["WAYS", "other_way"]

WAYS = ("channels_last", "compile", "graph")
"""What a way is put together of, joined by ``+``: weights and pictures with the channels last in
memory; networks compiled by torch.compile; the whole step captured as one CUDA graph."""

_WARMUP_STEPS = 4


def other_way(
    trainer: Trainer, way: str, *, batch_size: int, size: int
) -> Callable[[Sequence[UnpairedBatch]], StepResult]:
    """Return a function that makes the trainer's step in another way.

    Args:
        trainer: on a GPU, with empty pools.
        way: some of :data:`WAYS`, joined by ``+``.
        batch_size: pictures of each domain in a step.
        size: their side in pixels.

    Raises:
        ValueError: a way is unknown.
    """
    parts = way.split("+")
    if unknown := set(parts) - set(WAYS):
        raise ValueError(f"way: expected {', '.join(WAYS)}, joined by +, got {unknown}")
    layout = torch.channels_last if "channels_last" in parts else torch.contiguous_format
    for network in trainer.networks.values():
        network.to(memory_format=layout)
        if "compile" in parts:
            network.compile()
    device = next(trainer.networks.parameters()).device
    held = UnpairedBatch(
        A=torch.zeros(batch_size, 3, size, size, device=device).to(memory_format=layout),
        B=torch.zeros(batch_size, 3, size, size, device=device).to(memory_format=layout),
    )

    if "graph" in parts:
        replay = _capture(trainer, held)

    def step(batches: Sequence[UnpairedBatch]) -> StepResult:
        held.A.copy_(batches[0].A, non_blocking=True)
        held.B.copy_(batches[0].B, non_blocking=True)
        return replay() if "graph" in parts else trainer.step([held])

    return step


def _capture(trainer: Trainer, held: UnpairedBatch) -> Callable[[], StepResult]:
    """Capture the step of one batch, whose tensors are to be filled before each replay."""
    for optimizer in (trainer._optimizer_G, trainer._optimizer_D):  # noqa: SLF001 - a trial
        for group in optimizer.param_groups:
            group["capturable"] = True
    held.A.uniform_(-1, 1)
    held.B.uniform_(-1, 1)
    side = torch.cuda.Stream()  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(_WARMUP_STEPS):
            trainer.step([held])
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = trainer.step([held])

    def replay() -> StepResult:
        graph.replay()
        return result

    return replay
