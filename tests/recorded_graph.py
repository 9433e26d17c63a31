"""A graph for the CPU, which repeats the operations of a step as a CUDA graph repeats its kernels.

It records every operation of torch below autograd, with the very tensors that it read and wrote.
Like a CUDA graph, it does not do the work while it is captured, and a replay runs no Python of the
step: whatever the step decides in Python alone keeps the value of the capture.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Result = TypeVar("Result")
READING = {"aten::_local_scalar_dense", "aten::is_nonzero", "aten::nonzero", "aten::equal"}
"""Operations whose results come to the host."""


class RecordedGraph:
    """Captures on the CPU, see :class:`impasto.runs.capture.StepGraph`."""

    def __init__(self) -> None:
        self.warm_ups = self.captures = self.replays = 0
        self._recorder = _Recorder()

    def warm_up(self, work: Callable[[], Result]) -> Result:
        self.warm_ups += 1
        return work()

    def capture(self, work: Callable[[], Result]) -> Result:
        self.captures += 1
        random = torch.get_rng_state()
        with self._recorder:
            result = work()
        self._recorder.undo()
        torch.set_rng_state(random)
        return result

    def replay(self) -> None:
        self.replays += 1
        self._recorder.repeat()


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._calls: list[tuple[Any, Sequence[Any], dict[str, Any], list[Tensor]]] = []
        self._before: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(
        self, func: Any, _types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func._schema.name in READING:
            raise RuntimeError(f"{func} reads from the device while a step is captured")
        self._before += [(tensor, tensor.clone()) for tensor in _written(func, args, kwargs)]
        result = func(*args, **kwargs)
        known = {tensor.untyped_storage().data_ptr() for tensor in _tensors((args, kwargs))}
        outputs = _tensors(result)
        fresh = [out.untyped_storage().data_ptr() not in known for out in outputs]
        if any(fresh) or any(True for _ in _written(func, args, kwargs)):
            assert all(fresh) or not any(fresh), f"{func}: some results are views of arguments"
            self._calls.append((func, args, kwargs, outputs if any(fresh) else []))
        return result

    def undo(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():
            for tensor, before in reversed(self._before):
                tensor.copy_(before)
        self._before = []

    def repeat(self) -> None:
        with torch._C._AutoDispatchBelowAutograd():
            for func, args, kwargs, outputs in self._calls:
                made = _tensors(func(*args, **kwargs))
                for kept, new in zip(outputs, made if outputs else [], strict=True):
                    kept.copy_(new)


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


def _written(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> Iterator[Tensor]:
    """Yield the tensors among the arguments that an operation writes to."""
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            value = args[place] if place < len(args) else kwargs.get(argument.name)
            yield from _tensors(value)
    if func._schema.name == "aten::native_batch_norm":  # does not say that it does
        yield from _tensors(args[3:5])
