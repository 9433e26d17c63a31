"""Fast training steps: networks that are compiled, and a step captured once and then replayed.

A GPU computes a step of a small batch in less time than Python takes to ask for it. As a CUDA graph
the whole step is asked for at once. The graph repeats what the device did and nothing that Python
did, so what the host decides anew in each step (random draws, places in a pool) goes through
:func:`on_device`: in a replay, its function is called again and fills the memory that the graph
reads.
"""

import gc
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from math import prod
from textwrap import shorten
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from impasto.options.errors import OptionError
from impasto.runs.state import random_state, restore_random_state

if TYPE_CHECKING:  # stylize captures, too, and has none
    from accelerate import Accelerator

__all__ = [
    "CompiledStep",
    "Compiling",
    "CudaGraph",
    "HostValues",
    "Resumable",
    "StepGraph",
    "choose_compiling",
    "on_device",
    "uncompiled",
]

_log = logging.getLogger(__name__)

Result = TypeVar("Result")
Losses = Mapping[str, Tensor]
Body = Callable[[Sequence[Tensor]], Losses]

# Steps of one kind before the capture, in which libraries choose their algorithms.
_WARM_UP_STEPS = 4
# Of a message of a compiler, which may print whole programs.
_MOST_CHARACTERS = 240
# Bytes at whose multiples values lie in their common memory, so that all types fit.
_ALIGNMENT = 16


def on_device(decide: Callable[[], Tensor], device: torch.device) -> Tensor:
    """Return on a device what the host decides for this step.

    Args:
        decide: function that makes the value, a tensor on the CPU of the same shape and type in
            each step. All that the host remembers from one step to the next, such as the state of
            a random generator or a count, it changes itself: a replayed step calls it and nothing
            else.
        device: device that the value is needed on.
    """
    values = _PRESENT.get()
    return _send(decide(), device) if values is None else values.ask(decide, device)


class HostValues:
    """The values that the host decides for a step, in the order in which the step asks for them."""

    def __init__(self) -> None:
        self._decide: list[Callable[[], Tensor]] = []
        self._kinds: list[tuple[torch.Size, torch.dtype]] = []
        self._memory: Tensor | None = None  # of all values on the device, as bytes
        self._asked = 0

    @contextmanager
    def recorded(self) -> Iterator[None]:
        """Remember how the values of a step are decided, while it is made."""
        self._decide, self._kinds, self._memory = [], [], None
        with self._present():
            yield

    @contextmanager
    def given(self) -> Iterator[None]:
        """Give a step the values of the last :meth:`decide`.

        Raises:
            RuntimeError: the step asks for more or fewer values than the one that was recorded.
        """
        self._asked = 0
        with self._present():
            yield
        if self._asked != len(self._decide):
            raise self._other(self._asked)

    def decide(self, device: torch.device) -> None:
        """Decide the values of the next step, and send them to the memory that the step reads."""
        if self._memory is None:
            self._memory = torch.empty(self._bytes, dtype=torch.uint8, device=device)
        # Pinned memory anew each time: torch does not give it out again before it is copied.
        staged = torch.empty(self._bytes, dtype=torch.uint8, pin_memory=device.type == "cuda")
        for decide, place in zip(self._decide, self._places(staged), strict=True):
            place.copy_(decide())
        self._memory.copy_(staged, non_blocking=True)

    def ask(self, decide: Callable[[], Tensor], device: torch.device) -> Tensor:
        """Return the next value, for :func:`on_device`."""
        if self._memory is None:
            value = decide()
            self._decide.append(decide)
            self._kinds.append((value.shape, value.dtype))
            return _send(value, device)
        if self._asked == len(self._decide):
            raise self._other(self._asked + 1)
        self._asked += 1
        return self._places(self._memory)[self._asked - 1]

    def _other(self, asked: int) -> RuntimeError:
        return RuntimeError(f"a step asked for {len(self._decide)} values and the next for {asked}")

    @contextmanager
    def _present(self) -> Iterator[None]:
        token = _PRESENT.set(self)
        try:
            yield
        finally:
            _PRESENT.reset(token)

    @property
    def _bytes(self) -> int:
        return sum(map(_room, self._kinds))

    def _places(self, memory: Tensor) -> list[Tensor]:
        """Return the parts of a memory as tensors of the values' shapes and types."""
        places, start = [], 0
        for shape, dtype in self._kinds:
            part = memory[start : start + prod(shape) * dtype.itemsize]
            places.append(part.view(dtype).view(shape))
            start += _room((shape, dtype))
        return places


_PRESENT: ContextVar[HostValues | None] = ContextVar("values of the present step", default=None)


def _room(kind: tuple[torch.Size, torch.dtype]) -> int:
    shape, dtype = kind
    return -(-prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT


def _send(value: Tensor, device: torch.device) -> Tensor:
    """Return a value on a device, without waiting for the device."""
    if device.type == "cuda":
        value = value.pin_memory()
    return value.to(device, non_blocking=True)


class StepGraph(Protocol):
    """Records the work of a device, and repeats it on the memory that it was recorded with."""

    def warm_up(self, work: Callable[[], Result]) -> Result:
        """Do work where it will be recorded, and return its result."""
        ...

    def capture(self, work: Callable[[], Result]) -> Result:
        """Record work without doing it; its result is in memory that each replay fills."""
        ...

    def replay(self) -> None:
        """Do the work."""
        ...


class CudaGraph:
    """A :class:`StepGraph` of a GPU of NVIDIA or AMD."""

    def __init__(self) -> None:
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._graph = torch.cuda.CUDAGraph()

    def warm_up(self, work: Callable[[], Result]) -> Result:
        """Do work on the stream of the graph, in its turn among what else the GPU does."""
        present = torch.cuda.current_stream()
        self._stream.wait_stream(present)
        with torch.cuda.stream(self._stream):
            result = work()
        present.wait_stream(self._stream)
        return result

    def capture(self, work: Callable[[], Result]) -> Result:
        """Record work without doing it; where that fails, the GPU is left as it was."""
        # Gradients' nodes that a cycle keeps alive would belong to the stream of earlier steps.
        gc.collect()
        present, device = torch.cuda.current_stream(), torch.cuda.current_device()
        try:
            # Other threads, which pin the next batch's memory, may go on meanwhile.
            with torch.cuda.graph(
                self._graph, stream=self._stream, capture_error_mode="thread_local"
            ):
                return work()
        except BaseException:
            # torch leaves its generator as in a capture, and would refuse to draw for dropout.
            with suppress(Exception):  # the reason of the failure is what is told
                fresh = torch.Generator(f"cuda:{device}").graphsafe_get_state()
                torch.cuda.default_generators[device].graphsafe_set_state(fresh)
            raise
        finally:
            torch.cuda.set_stream(present)  # which torch does not where a capture fails

    def replay(self) -> None:
        """Do the work."""
        self._graph.replay()


@dataclass(frozen=True, kw_only=True)
class Compiling:
    """How training steps are made faster.

    Attributes:
        networks: whether the networks are compiled with torch.compile.
        make_graph: function that makes the graph that a step is captured as, or None.
        backend: backend of torch.compile.
    """

    networks: bool = False
    make_graph: Callable[[], StepGraph] | None = None
    backend: str = "inductor"


def choose_compiling(
    mode: str,
    accelerator: "Accelerator",
    *,
    sizes_differ: bool = False,
    hindrances: Sequence[str] = (),
) -> Compiling:
    """Choose what is compiled, and say in one line what was expected and is not.

    Args:
        mode: ``off``; ``graph``, which captures the step; ``full``, which also compiles the
            networks; or ``auto``, which is ``graph`` on GPUs of NVIDIA or AMD, and ``off``
            elsewhere.
        accelerator: device, precision and processes.
        sizes_differ: whether the pictures have many sizes, each of which would be compiled for.
        hindrances: why a step cannot be captured, in words; none if it can.

    Raises:
        OptionError: a graph is asked for where there is no such GPU.
    """
    graphs = accelerator.device.type == "cuda"
    if mode == "graph" and not graphs:
        raise OptionError(
            "compile",
            f"graph needs a GPU of NVIDIA or AMD, and the device is {accelerator.device.type}; "
            "use auto, off or full",
        )
    if mode == "off" or (mode == "auto" and not graphs):
        return Compiling()
    if accelerator.num_processes > 1 or sizes_differ:
        why = "the pictures have many sizes" if sizes_differ else "several processes train together"
        _log.warning("--compile %s: nothing is compiled, since %s", mode, why)
        return Compiling()
    if accelerator.scaler is not None:
        hindrances = ["fp16 checks its gradients on the processor; bf16 does not", *hindrances]
    if graphs and hindrances:
        _log.warning(
            "--compile %s: the steps are not captured as a graph, which would be faster: %s",
            mode,
            hindrances[0],
        )
    make_graph = CudaGraph if graphs and not hindrances else None
    return Compiling(networks=mode == "full", make_graph=make_graph)


class Resumable(Protocol):
    """What a failed try of a step can be undone on: any learner of :mod:`impasto.runs.learner`."""

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


class CompiledStep:
    """Makes training steps in the fastest way that works, and says in one line what does not.

    The networks are compiled at the first step. Steps are captured as a graph once some of one
    kind were made. Those with fewer pictures, such as the last ones of an epoch, are made without
    it; after others, which may need more room than there is, it is captured anew. Whatever fails
    is undone, by the learner's state and that of torch's random generators, and the step is made
    without it, as are all that follow.

    Args:
        body: function that makes a step from a batch's tensors, on the device, and returns its
            losses by name. The same tensors of weights, and of all else that a step changes, must
            serve all steps.
        learner: learner that the step trains.
        compiling: what is compiled; nothing unless given.
        networks: networks that are compiled where that is asked for.
        settled: function that says whether the next steps do all the same work on the device, so
            that one may be captured.
    """

    def __init__(
        self,
        body: Body,
        *,
        learner: Resumable,
        compiling: Compiling | None = None,
        networks: Sequence[nn.Module] = (),
        settled: Callable[[], bool] = lambda: True,
    ) -> None:
        compiling = compiling or Compiling()
        self._body, self._learner, self._settled = body, learner, settled
        self._networks = tuple(networks) if compiling.networks else ()
        self._backend, self._make_graph = compiling.backend, compiling.make_graph
        self._compiled = False
        self._kind: tuple[Any, ...] = ()
        self.reset()

    def reset(self) -> None:
        """Forget what was captured, since tensors that a step changes were replaced by others."""
        self._graph: StepGraph | None = None
        self._values = HostValues()
        self._held: list[Tensor] = []
        self._names: list[str] = []
        self._losses: Tensor | None = None
        self._warm_steps = 0

    @property
    def compiles(self) -> bool:
        """Whether the next step waits for networks to be compiled."""
        return bool(self._networks) and not self._compiled

    @property
    def compiled(self) -> bool:
        """Whether steps are made with compiled networks by now."""
        return bool(self._networks) and self._compiled

    @property
    def captured(self) -> bool:
        """Whether steps are replayed by now."""
        return self._losses is not None

    def __call__(self, tensors: Sequence[Tensor]) -> Losses:
        """Make a step, and return its losses, detached scalars, by name.

        Args:
            tensors: tensors of the batches, on the device.
        """
        kind = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
        if self._losses is not None and _fits(kind, self._kind):
            return self._replay(tensors) if kind == self._kind else self._body(tensors)
        if self._losses is not None:
            self.reset()  # before tensors that the graph writes to are replaced
        if self.compiles:
            return self._compile(tensors)
        if self._make_graph is None or not self._settled():
            self._warm_steps = 0
            return self._body(tensors)
        if kind != self._kind:
            self._kind, self._warm_steps = kind, 0
        if self._warm_steps == _WARM_UP_STEPS:
            return self._capture(tensors)
        self._warm_steps += 1
        return self._warm_up(tensors, self._make_graph)

    def _compile(self, tensors: Sequence[Tensor]) -> Losses:
        self._compiled = True
        undo = _undoing(self._learner)
        try:
            for network in self._networks:
                network.compile(backend=self._backend, dynamic=False)
            return self._body(tensors)
        except Exception as error:  # noqa: BLE001 - compilers fail in many ways
            for network in self._networks:
                _set_compiled(network, None)
            self._networks = ()
            undo()
            _log.warning(
                "--compile: the networks cannot be compiled here (%s); they are used as they are",
                _first_line(error),
            )
        # Out here, where the error no longer holds what the failed try has made.
        return self._body(tensors)

    def _warm_up(self, tensors: Sequence[Tensor], make_graph: Callable[[], StepGraph]) -> Losses:
        if self._graph is None:
            self._graph = make_graph()
        self._values = HostValues()
        with self._values.recorded():
            return self._graph.warm_up(partial(self._body, tensors))

    def _capture(self, tensors: Sequence[Tensor]) -> Losses:
        graph, device = self._graph, tensors[0].device
        undo = _undoing(self._learner)
        try:
            assert graph is not None  # noqa: S101 - made by the first step that warms up
            self._held = [tensor.clone() for tensor in tensors]
            self._values.decide(device)
            with self._values.given():
                self._losses = graph.capture(self._captured_body)
            graph.replay()
        except Exception as error:  # noqa: BLE001 - so does capturing
            self.reset()
            self._make_graph = None
            undo()
            _log.warning(
                "--compile: a step cannot be captured as a graph here (%s); each is made anew, "
                "which is slower",
                _first_line(error),
            )
        # Out here, where the error no longer holds what the failed try has made.
        return self._body(tensors) if self._losses is None else self._result(self._losses)

    def _captured_body(self) -> Tensor:
        losses = self._body(self._held)
        self._names = list(losses)
        return torch.stack([loss.float() for loss in losses.values()])

    def _replay(self, tensors: Sequence[Tensor]) -> Losses:
        assert self._graph is not None  # noqa: S101
        assert self._losses is not None  # noqa: S101
        for held, tensor in zip(self._held, tensors, strict=True):
            held.copy_(tensor, non_blocking=True)
        self._values.decide(tensors[0].device)
        self._graph.replay()
        return self._result(self._losses)

    def _result(self, losses: Tensor) -> Losses:
        # A copy, since the next replay writes to the same memory.
        return dict(zip(self._names, losses.clone().unbind(), strict=True))


def _fits(kind: Sequence[Any], captured: Sequence[Any]) -> bool:
    """Whether a step needs no more room than the captured one: fewer pictures of the same size."""
    return len(kind) <= len(captured) and all(
        shape[1:] == known[1:] and shape[:1] <= known[:1] and dtype == kept
        for (shape, dtype), (known, kept) in zip(kind, captured, strict=False)
    )


def _undoing(learner: Resumable) -> Callable[[], None]:
    """Return a function that brings back the present state of a learner and of random numbers."""
    shared, own, random = deepcopy((learner.state_dict(), learner.process_state(), random_state()))

    def undo() -> None:
        learner.load_state_dict(shared)
        learner.load_process_state(own)
        restore_random_state(random)

    return undo


def _first_line(error: Exception) -> str:
    """Return the kind of an error, and what its message says first, in one line."""
    first, *more = [line.strip() for line in str(error).splitlines() if line.strip()] or [""]
    if first.endswith(":") and more:
        first = f"{first} {more[0]}"
    return shorten(f"{type(error).__name__}: {first}".removesuffix(": "), _MOST_CHARACTERS)


@contextmanager
def uncompiled(networks: Sequence[nn.Module]) -> Iterator[None]:
    """Use networks as they are for a while: each new kind of batch would be compiled for anew."""
    compiled = [(network, network._compiled_call_impl) for network in networks]  # noqa: SLF001
    for network, _ in compiled:
        _set_compiled(network, None)
    try:
        yield
    finally:
        for network, call in compiled:
            _set_compiled(network, call)


def _set_compiled(network: nn.Module, call: Any) -> None:
    # torch compiles a module in place, and has no public way back.
    network._compiled_call_impl = call  # noqa: SLF001
