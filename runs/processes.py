"""What several processes of one training do together. One process does none of it."""

from collections.abc import Iterable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor, nn

__all__ = [
    "average_gradients",
    "first_to_speak",
    "gather_states",
    "leave_processes",
    "mean_over_processes",
    "share_weights",
    "what_was_lost",
]


def average_gradients(parameters: Iterable[nn.Parameter], accelerator: Accelerator) -> None:
    """Replace each gradient by its mean over all processes, in one message.

    Called once per update, after the last backward pass. Wrapping the networks for it (as
    DistributedDataParallel does) would forbid what a CycleGAN needs: passing one network several
    times before one backward pass, and freezing a network for half of a step.

    Args:
        parameters: what has gradients; the same in every process.
        accelerator: knows the processes.
    """
    if accelerator.num_processes == 1:
        return
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    mean = accelerator.reduce(flat, reduction="mean")
    for gradient, part in zip(
        gradients, mean.split([gradient.numel() for gradient in gradients]), strict=True
    ):
        gradient.copy_(part.view_as(gradient))


def mean_over_processes(values: Tensor, *, accelerator: Accelerator) -> Tensor:
    """Return the mean of a vector over all processes, on the CPU."""
    if accelerator.num_processes == 1:
        return values
    return torch.as_tensor(
        accelerator.reduce(values.to(accelerator.device), reduction="mean")
    ).cpu()


def leave_processes() -> None:
    """End the talk with the other processes, at the very end of a training that went well.

    A process that just exits may take its still-writing siblings down with it.
    """
    if _several():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def share_weights(networks: Iterable[nn.Module], accelerator: Accelerator) -> None:
    """Give every process the first process's weights and buffers, in place."""
    if accelerator.num_processes == 1:
        return
    for network in networks:
        for tensor in network.state_dict().values():
            tensor.copy_(broadcast(tensor))


def gather_states(state: dict[str, Any], accelerator: Accelerator) -> list[dict[str, Any]]:
    """Return the states that differ between processes, one for each process, in all of them."""
    if accelerator.num_processes == 1:
        return [state]
    return list(gather_object([state]))


def what_was_lost(error: BaseException) -> str | None:
    """Say in words which process is gone, if that is what an error of torch is about."""
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    if text.startswith("DataLoader worker") and "shared memory" in text:
        return (
            "a process that loads pictures had too little shared memory; in a container, start it "
            "with --ipc=host or a larger --shm-size, or try a smaller --num_threads"
        )
    if text.startswith("DataLoader worker"):
        return (
            "a process that loads pictures was killed, perhaps for want of memory; "
            "try a smaller --num_threads"
        )
    if _several() and (
        isinstance(error, torch.distributed.DistError)
        or any(word in text.lower() for word in ("gloo", "nccl", "connection closed by peer"))
    ):
        return "another process of this job ended or cannot be reached"
    return None


def first_to_speak() -> bool:
    """Whether no other process of this job has said yet why it ends."""
    if not _several():
        return True
    try:
        store = torch.distributed.distributed_c10d._get_default_store()  # noqa: SLF001
        return int(store.add("impasto/why_it_ends", 1)) == 1
    except RuntimeError:  # the process that kept the store is gone
        return True


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
