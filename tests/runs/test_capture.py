"""What a step asks of the host, and what is compiled where."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from impasto.options import OptionError
from impasto.runs import capture
from impasto.runs.capture import (
    CompiledStep,
    Compiling,
    CudaGraph,
    HostValues,
    choose_compiling,
    on_device,
    uncompiled,
)
from tests.recorded_graph import RecordedGraph

CPU = torch.device("cpu")
# torch.compile itself looks at the gradients of results, and would fail by a warning of its own.
dynamo = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor")


class Counter:
    """A learner that adds a picture's mean, and what the host counts, to its weight."""

    def __init__(self) -> None:
        self.network = nn.Linear(2, 2)
        with torch.no_grad():
            self.network.weight.zero_()
        self.count = 0

    def step(self, tensors: Sequence[Tensor]) -> dict[str, Tensor]:
        with torch.no_grad():
            count = on_device(self._next, CPU)
            self.network.weight += tensors[0].mean() + count
            made = self.network(torch.ones(1, 2))
        weight = self.network.weight.detach()[0, 0].clone()
        return {"weight": weight, "made": made.sum()}

    def _next(self) -> Tensor:
        self.count += 1
        return torch.tensor(self.count)

    def state_dict(self) -> dict[str, Any]:
        return self.network.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.network.load_state_dict(state)

    def process_state(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_process_state(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


def test_host_values_of_all_types_come_in_their_order() -> None:
    numbers = iter(range(100))

    def whole() -> Tensor:
        return torch.tensor([next(numbers), -1])

    def half() -> Tensor:
        return torch.full((3, 1), next(numbers) / 2)

    def true() -> Tensor:
        return torch.tensor(next(numbers) > 4)

    asked = (whole, half, true, whole)
    values = HostValues()
    with values.recorded():
        first = [on_device(decide, CPU) for decide in asked]
    values.decide(CPU)
    with values.given():
        second = [on_device(decide, CPU) for decide in asked]
    assert [value.tolist() for value in first] == [[0, -1], [[0.5]] * 3, False, [3, -1]]
    assert [value.tolist() for value in second] == [[4, -1], [[2.5]] * 3, True, [7, -1]]
    assert [value.dtype for value in second] == [value.dtype for value in first]
    values.decide(CPU)  # into the memory that the step has already
    assert [value.tolist() for value in second] == [[8, -1], [[4.5]] * 3, True, [11, -1]]
    assert on_device(half, CPU).tolist() == [[6.0]] * 3  # and outside of any step


@pytest.mark.parametrize("asked", [0, 2])
def test_a_step_that_asks_for_more_or_less_cannot_be_repeated(asked: int) -> None:
    values = HostValues()
    with values.recorded():
        on_device(lambda: torch.zeros(2), CPU)
    values.decide(CPU)

    def repeat() -> None:
        with values.given():
            for _ in range(asked):
                on_device(lambda: torch.zeros(2), CPU)

    with pytest.raises(RuntimeError, match=f"asked for 1 values and the next for {asked}"):
        repeat()


def test_steps_are_warmed_up_captured_and_replayed() -> None:
    learner, graphs = Counter(), []

    def make_graph() -> RecordedGraph:
        graphs.append(RecordedGraph())
        return graphs[-1]

    ready = [False, False, True, True, True, True, True, True, True]
    settled = iter(ready)
    step = CompiledStep(
        learner.step,
        learner=learner,
        compiling=Compiling(make_graph=make_graph),
        settled=lambda: next(settled),
    )
    weights = [float(step([torch.full((2, 2), 10.0)])["weight"]) for _ in range(9)]
    # 10 and the number of the step are added each time.
    assert weights == [10 * n + n * (n + 1) / 2 for n in range(1, 10)]
    (graph,) = graphs
    assert (graph.warm_ups, graph.captures, graph.replays) == (4, 1, 3)
    step.reset()
    assert not step.captured


def said_here(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Return what was logged by us, and not by torch."""
    return [x.getMessage() for x in caplog.records if x.name.startswith("impasto")]


def fails(_module: Any, _inputs: Any) -> Any:
    raise RuntimeError("no compiler")


@dynamo
def test_networks_that_cannot_be_compiled_are_used_as_they_are(
    caplog: pytest.LogCaptureFixture,
) -> None:
    learner, plain = Counter(), Counter()
    plain.load_state_dict(learner.state_dict())
    step = CompiledStep(
        learner.step,
        learner=learner,
        compiling=Compiling(networks=True, backend=fails),  # type: ignore[arg-type]
        networks=[learner.network],
    )
    for _ in range(3):
        assert step([torch.ones(1)]) == plain.step([torch.ones(1)])
    (message,) = said_here(caplog)
    assert "cannot be compiled here" in message
    assert "raised: RuntimeError: no compiler)" in message


@dynamo
def test_networks_are_compiled_for_steps_and_not_for_what_lies_between() -> None:
    learner, traced = Counter(), []

    def backend(module: Any, _inputs: Any) -> Any:
        traced.append(module)
        return module.forward

    step = CompiledStep(
        learner.step,
        learner=learner,
        compiling=Compiling(networks=True, backend=backend),  # type: ignore[arg-type]
        networks=[learner.network],
    )
    step([torch.ones(1)])
    step([torch.ones(1)])
    assert len(traced) == 1
    with uncompiled([learner.network]):
        learner.network(torch.ones(5, 2))
    assert len(traced) == 1
    learner.network(torch.ones(5, 2))
    assert len(traced) == 2


class Machine:
    """What is asked of an accelerator."""

    def __init__(self, device: str, *, processes: int = 1, scaler: object = None) -> None:
        self.device, self.num_processes, self.scaler = torch.device(device), processes, scaler


FULL, GRAPH = Compiling(networks=True, make_graph=CudaGraph), Compiling(make_graph=CudaGraph)


@pytest.mark.parametrize(
    ("mode", "machine", "why", "expected", "said"),
    [
        ("auto", Machine("cpu"), {}, Compiling(), None),
        ("auto", Machine("mps"), {}, Compiling(), None),
        ("full", Machine("cpu"), {}, Compiling(networks=True), None),
        ("off", Machine("cuda"), {}, Compiling(), None),
        ("auto", Machine("cuda"), {}, GRAPH, None),
        ("full", Machine("cuda"), {}, FULL, None),
        ("graph", Machine("cuda"), {}, GRAPH, None),
        ("auto", Machine("cuda", processes=2), {}, Compiling(), "several processes"),
        ("auto", Machine("cuda"), {"sizes_differ": True}, Compiling(), "many sizes"),
        ("auto", Machine("cuda", scaler=1), {}, Compiling(), "fp16"),
        ("full", Machine("cuda", scaler=1), {}, Compiling(networks=True), "fp16"),
        ("full", Machine("cuda"), {"hindrances": ["it"]}, Compiling(networks=True), "faster: it"),
        ("graph", Machine("cuda"), {"hindrances": ["it"]}, Compiling(), "faster: it"),
    ],
)
def test_what_is_compiled_where(
    mode: str,
    machine: Any,
    why: dict[str, Any],
    expected: Compiling,
    said: str | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    accelerator: Accelerator = machine
    assert choose_compiling(mode, accelerator, **why) == expected
    messages = said_here(caplog)
    assert len(messages) == (0 if said is None else 1)
    assert said is None or said in messages[0]


def test_a_graph_needs_a_gpu() -> None:
    machine: Any = Machine("cpu")
    with pytest.raises(OptionError, match="--compile: graph needs a GPU"):
        choose_compiling("graph", machine)


class BrokenCapture:
    """Ends as torch's does: where the capture is invalid, its stream stays the present one."""

    def __init__(self, _graph: Any, *, stream: str, capture_error_mode: str) -> None:
        assert capture_error_mode == "thread_local"
        self._stream = stream

    def __enter__(self) -> None:
        torch.cuda.set_stream(self._stream)  # type: ignore[arg-type]

    def __exit__(self, *_error: object) -> None:
        raise RuntimeError("capture invalidated")


def test_a_capture_that_fails_leaves_the_present_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    # torch.cuda.graph.__exit__ leaves its stream only after capture_end, which raises.
    streams = ["present"]
    for name, value in {
        "Stream": lambda: "own",
        "CUDAGraph": object,
        "current_stream": lambda: streams[-1],
        "current_device": lambda: 0,
        "set_stream": streams.append,
        "graph": BrokenCapture,
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    with pytest.raises(RuntimeError, match="capture invalidated"):
        CudaGraph().capture(lambda: None)
    assert streams == ["present", "own", "present"]


def test_an_error_of_several_lines_is_told_in_one() -> None:
    assert capture._first_line(ValueError("\n  first\nsecond")) == "ValueError: first"
    assert capture._first_line(ValueError("here:\nit is")) == "ValueError: here: it is"
    assert capture._first_line(ValueError()) == "ValueError"
    assert len(capture._first_line(ValueError("many words " * 100))) <= 240
