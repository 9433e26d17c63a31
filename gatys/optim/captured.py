"""Evaluations on a GPU without Python: what one does is captured once for each scale, and replayed.

A small picture's losses and their gradient are some thousand kernels, which a GPU computes faster
than Python can start them. As a CUDA graph all are started at once. Nothing here has run on a GPU
yet; the tests put a graph in its place that does the work anew.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from impasto.runs.capture import CudaGraph, StepGraph

__all__ = ["Repeated", "choosing_algorithms", "graph_maker"]

_log = logging.getLogger(__name__)

# Evaluations before the capture, in which libraries choose their algorithms and make workspaces.
_WARM_UP = 3
# A capture takes about as long as some evaluations.
_LEAST_EVALUATIONS = 20


def graph_maker(
    device: torch.device, *, evaluations: int, is_random: bool
) -> Callable[[], StepGraph] | None:
    """Return the function that makes the graph of a scale; None where none is of use.

    Args:
        device: device that computes.
        evaluations: number of evaluations at the scale.
        is_random: whether losses are drawn anew in each evaluation, on the host, which a graph
            would not repeat.
    """
    useful = device.type == "cuda" and evaluations >= _LEAST_EVALUATIONS and not is_random
    return CudaGraph if useful else None


class Repeated:
    """Calls a function that does the same work each time, in the fastest way that works.

    Args:
        work: function without arguments that reads and writes the same tensors at each call, and
            returns new ones.
        make_graph: function that makes the graph that the work is captured as; None: the function
            is called each time.
    """

    def __init__(
        self,
        work: Callable[[], tuple[Tensor, ...]],
        make_graph: Callable[[], StepGraph] | None = None,
    ) -> None:
        self._work, self._make_graph = work, make_graph
        self._graph: StepGraph | None = None
        self._results: tuple[Tensor, ...] | None = None
        self._calls = 0

    def __call__(self) -> tuple[Tensor, ...]:
        """Return what the work returns; that a capture failed is said in one line, once."""
        if self._make_graph is None:
            return self._work()
        if self._graph is None:
            self._graph = self._make_graph()
        if self._calls < _WARM_UP:
            self._calls += 1
            return self._graph.warm_up(self._work)
        if self._results is None:
            try:
                self._results = self._graph.capture(self._work)
            except Exception as error:  # noqa: BLE001 - whatever cannot be captured is computed
                self._make_graph = self._graph = None
                lines = str(error).splitlines()
                _log.warning(
                    "the evaluations cannot be captured as a graph here (%s: %s); each is started "
                    "by Python, which is slower",
                    type(error).__name__,
                    lines[0] if lines else "",
                )
                return self._work()
        self._graph.replay()
        # Copies, since the next replay writes to the same memory.
        return tuple(result.clone() for result in self._results)


@contextmanager
def choosing_algorithms(device: torch.device) -> Iterator[None]:
    """Let cuDNN measure which algorithms are the fastest, as all evaluations are of one size."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = before or device.type == "cuda"
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before
