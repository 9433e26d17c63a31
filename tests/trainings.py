"""What tests of trainings share: made batches, states to compare, and runs that are resumed."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from impasto.cyclegan import train
from impasto.data import UnpairedBatch
from impasto.options import TrainOptions
from impasto.runs import load_state, read_log


def number(value: Tensor) -> float:
    return float(value.detach())


def numbers(state: Any) -> Any:
    """Return a nested state with lists in place of tensors."""
    if isinstance(state, Tensor):
        return state.tolist()
    if isinstance(state, dict):
        return {key: numbers(value) for key, value in state.items()}
    if isinstance(state, list | tuple):
        return [numbers(value) for value in state]
    return state


def make_batch(seed: int, *, count: int = 1, side: int = 24) -> UnpairedBatch:
    generator = torch.Generator().manual_seed(seed)
    first, second = (torch.rand(count, 3, side, side, generator=generator) * 2 - 1 for _ in "AB")
    return UnpairedBatch(A=first, B=second)


def folder_of(options: TrainOptions) -> Path:
    return options.run.checkpoints_dir / options.run.name


def assert_resumes(make: Callable[..., TrainOptions], *, stop_at: int, **changes: Any) -> None:
    """Train as a whole and in two parts; states and losses have to be equal, bit for bit."""
    whole, parts = (make(**changes, name=name) for name in ("whole", "parts"))
    train(whole)
    train(make(**changes, name="parts", max_images=stop_at))
    train(parts, resume=True)
    one, other = (load_state(folder_of(options) / "state.pt") for options in (whole, parts))
    assert numbers(one["learner"]) == numbers(other["learner"])
    assert numbers(one["processes"]) == numbers(other["processes"])
    logs = [read_log(folder_of(options) / "log.jsonl") for options in (whole, parts)]
    assert logs[0]
    assert [record["losses"] for record in logs[0]] == [record["losses"] for record in logs[1]]
