"""Graphs on the CPU, which do the captured work anew; no GPU is needed, and none was here."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.gatys.optim import loop
from impasto.gatys.optim.captured import Repeated, choosing_algorithms, graph_maker
from impasto.gatys.optim.iterates import Losses
from impasto.gatys.optim.loop import Method, Outcome, optimize
from impasto.gatys.optim.methods import Adam, Lbfgs
from impasto.options.errors import ImpastoError
from impasto.runs.capture import CudaGraph

CUDA = torch.device("cuda")


class AgainGraph:
    """Does the work anew in each replay, into the memory of the capture."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def warm_up(self, work: Callable[[], Any]) -> Any:
        self.did.append("warm-up")
        return work()

    def capture(self, work: Callable[[], Any]) -> Any:
        self.did.append("capture")
        self._work, results = work, work()
        self._results = results
        for result in results:
            result.fill_(torch.nan)  # a capture does nothing
        return results

    def replay(self) -> None:
        self.did.append("replay")
        for kept, new in zip(self._results, self._work(), strict=True):
            kept.copy_(new)


class NoGraph(AgainGraph):
    def capture(self, work: Callable[[], Any]) -> Any:
        super().capture(work)
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


def quadratic(image: Tensor) -> Losses:
    curvature = torch.linspace(1, 50, image.numel()).view_as(image)
    return {
        "content": (curvature * (image - 0.3).square()).mean(),
        "style": (image.square().mean(dim=(2, 3)) - 0.2).square().sum(),
    }


def optimized(monkeypatch: pytest.MonkeyPatch, graph: AgainGraph | None, method: Method) -> Outcome:
    monkeypatch.setattr(
        loop, "graph_maker", lambda *_, **__: None if graph is None else lambda: graph
    )
    start = torch.rand(1, 3, 6, 7, generator=torch.Generator().manual_seed(1))
    return optimize(start, quadratic, method=method, iterations=12)


@pytest.mark.parametrize("method", [Lbfgs(), Adam()], ids=["lbfgs", "adam"])
def test_replayed_evaluations_give_the_same_picture(
    method: Method, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = AgainGraph()
    expected = optimized(monkeypatch, None, method)
    found = optimized(monkeypatch, graph, method)
    # Of 12 evaluations, 11 have a gradient.
    assert graph.did == ["warm-up"] * 3 + ["capture"] + ["replay"] * 8
    assert torch.equal(found.image, expected.image)
    assert (found.losses, found.evaluations) == (expected.losses, expected.evaluations)


def test_what_cannot_be_captured_is_computed_and_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    graph = NoGraph()
    expected = optimized(monkeypatch, None, Lbfgs())
    with caplog.at_level(logging.WARNING):
        found = optimized(monkeypatch, graph, Lbfgs())
    assert graph.did == ["warm-up"] * 3 + ["capture"]
    (message,) = caplog.messages
    assert "RuntimeError: operation not permitted when stream is capturing)" in message
    assert torch.equal(found.image, expected.image)


def test_losses_that_need_no_picture_are_refused_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "graph_maker", lambda *_, **__: AgainGraph)
    with pytest.raises(ImpastoError, match="do not depend on the picture"):
        optimize(
            torch.rand(1, 3, 4, 4), lambda _: {"a": torch.ones(())}, method=Adam(), iterations=9
        )


def test_results_outlive_the_next_replay() -> None:
    counter = torch.zeros(1)
    graph = AgainGraph()
    work = Repeated(lambda: (counter.add_(1).clone(),), lambda: graph)
    seen = [work()[0] for _ in range(7)]
    # The fake does the captured work once more than a true graph, which only records it.
    assert [value.item() for value in seen] == [1, 2, 3, 5, 6, 7, 8]


def test_graphs_are_for_long_scales_of_fixed_losses_on_gpus() -> None:
    assert graph_maker(CUDA, evaluations=500, is_random=False) is CudaGraph
    assert graph_maker(CUDA, evaluations=500, is_random=True) is None
    assert graph_maker(CUDA, evaluations=5, is_random=False) is None
    assert graph_maker(torch.device("cpu"), evaluations=500, is_random=False) is None


@pytest.mark.parametrize("before", [True, False])
def test_the_choice_of_algorithms_is_put_back(
    before: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "benchmark", before)
    with choosing_algorithms(torch.device("cpu")):
        assert torch.backends.cudnn.benchmark is before
    chosen = []

    def fail() -> None:
        with choosing_algorithms(CUDA):
            chosen.append(torch.backends.cudnn.benchmark)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert chosen == [True]
    assert torch.backends.cudnn.benchmark is before
