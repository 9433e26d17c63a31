"""The processes of a training: device, other processes and memory.

Several processes of one training average their gradients, share weights and gather states; one
process does none of it. :func:`pick_device` and :func:`make_accelerator` say where to compute, and
:func:`keep_freed_memory` spares page faults on the CPU.
"""

import ctypes
import os
import platform
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from impasto.options.errors import OptionError
from impasto.runs.devices import choose_precision

if TYPE_CHECKING:  # who only asks for the device does without it, which takes as long as NumPy
    from accelerate import Accelerator

__all__ = [
    "PARENT_VARIABLE",
    "average_gradients",
    "average_statistics",
    "first_to_speak",
    "gather_states",
    "keep_freed_memory",
    "leave_processes",
    "make_accelerator",
    "mean_over_processes",
    "normalization_statistics",
    "parent_is_gone",
    "pick_device",
    "return_freed_memory",
    "share_weights",
    "what_was_lost",
]


def average_gradients(parameters: Iterable[nn.Parameter], accelerator: "Accelerator") -> None:
    """Replace each gradient by its mean over all processes, in one message.

    Called once per update, after the last backward pass. Wrapping the networks for it (as
    DistributedDataParallel does) would forbid what a CycleGAN needs: passing one network several
    times before one backward pass, and freezing a network for half of a step.

    Args:
        parameters: parameters with gradients; the same in every process.
        accelerator: accelerator of the processes.
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


def normalization_statistics(network: nn.Module) -> dict[str, Tensor]:
    """Return the running means and variances of batch normalization by name, as they are."""
    return {name: value for name, value in network.named_buffers() if "running" in name}


@torch.no_grad()
def average_statistics(networks: Iterable[nn.Module], accelerator: "Accelerator") -> None:
    """Give all processes the mean of their statistics of batch normalization, in place.

    Each has those of its own pictures, and weights are written by one of them.

    Args:
        networks: networks, the same in every process.
        accelerator: accelerator of the processes.
    """
    if accelerator.num_processes > 1:
        for network in networks:
            for statistic in normalization_statistics(network).values():
                statistic.copy_(accelerator.reduce(statistic, reduction="mean"))


def mean_over_processes(values: Tensor, *, accelerator: "Accelerator") -> Tensor:
    """Return the mean of a vector over all processes, on the CPU."""
    if accelerator.num_processes == 1:
        return values
    return torch.as_tensor(
        accelerator.reduce(values.to(accelerator.device), reduction="mean")
    ).cpu()


def leave_processes() -> None:
    """End the communication with the other processes, at the end of a successful training.

    A process that simply exits may end other processes that are still writing.
    """
    if _several():
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def share_weights(networks: Iterable[nn.Module], accelerator: "Accelerator") -> None:
    """Give every process the first process's weights and buffers, in place."""
    if accelerator.num_processes == 1:
        return
    from accelerate.utils import broadcast  # noqa: PLC0415

    for network in networks:
        for tensor in network.state_dict().values():
            tensor.copy_(broadcast(tensor))


def gather_states(state: dict[str, Any], accelerator: "Accelerator") -> list[dict[str, Any]]:
    """Return the states that differ between processes, one for each process, in all of them."""
    if accelerator.num_processes == 1:
        return [state]
    from accelerate.utils import gather_object  # noqa: PLC0415

    return list(gather_object([state]))


def what_was_lost(error: BaseException) -> str | None:
    """Say in words which process is gone, if that is what an error of torch is about."""
    if not isinstance(error, RuntimeError):
        return None
    text = str(error)
    if "DataLoader worker" in text and "shared memory" in text:
        return (
            "a process that loads pictures had too little shared memory (/dev/shm); in a "
            "container, start that with --ipc=host or a larger --shm-size, or use --num_threads 0, "
            "which needs none"
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
    except (AttributeError, RuntimeError):  # not in this torch; or who kept the store is gone
        return True


def _several() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def pick_device(device: str) -> torch.device:
    """Return the device of a name: ``auto``, ``cpu``, ``cuda`` or ``mps``.

    Raises:
        OptionError: this machine, or this build of torch, does not have it.
    """
    present = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if device == "auto":
        return torch.device(next(name for name, there in present.items() if there))
    if not present[device]:
        there = " and ".join(name for name, found in present.items() if found)
        raise OptionError("device", f"{device} is not available here; this machine has {there}")
    return torch.device(device)


def make_accelerator(
    device: str, mixed_precision: str, *, before: str | None = None
) -> "Accelerator":
    """Make the accelerator: device, precision and processes of a training.

    Args:
        device: name of the device, ``auto``, ``cpu``, ``cuda`` or ``mps``.
        mixed_precision: precision: ``no`` (float32), ``auto``, ``fp16`` or ``bf16``; see
            :func:`~impasto.runs.devices.choose_precision`.
        before: what ``auto`` has become where the run was begun.

    Raises:
        OptionError: the device is not there, or cannot compute in that precision.
    """
    from accelerate import Accelerator  # noqa: PLC0415
    from accelerate.state import AcceleratorState, GradientState, PartialState  # noqa: PLC0415
    from accelerate.utils import broadcast_object_list  # noqa: PLC0415

    chosen = pick_device(device)
    precision = choose_precision(mixed_precision, chosen, before=before)
    # Accelerate keeps its state for the whole process and refuses other settings later on, but
    # one program may train twice.
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    AcceleratorState._reset_state(reset_partial_state=alone)  # noqa: SLF001
    GradientState._reset_state()  # noqa: SLF001
    if mixed_precision == "auto":  # measurements may differ, so the first process decides
        PartialState(cpu=chosen.type == "cpu")
        (precision,) = broadcast_object_list([precision])
    return Accelerator(cpu=chosen.type == "cpu", mixed_precision=precision)


# Holds the number of the process that started this one and without which it is to end.
PARENT_VARIABLE = "IMPASTO_SWEEP"


def parent_is_gone() -> bool:
    """Whether the process that is named in the environment is no longer this one's parent.

    That is how a process learns that its parent was killed, which could not tell it.
    """
    parent = os.environ.get(PARENT_VARIABLE)
    return bool(parent) and parent != str(os.getppid())


# malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
# What they are unless somebody sets them.
_TRIM_THRESHOLD, _MMAP_MAX = 2**17, 2**16


def keep_freed_memory() -> None:
    """Let the C library reuse large freed blocks instead of giving them back to the system.

    A training step on the CPU frees activations of tens of megabytes, which are otherwise given
    back, and faulted in again by the next step: at 256 px that took a seventh of the time
    (benchmarks/train_step.py). Does nothing without the GNU C library.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, 0)
    libc.mallopt(_M_TRIM_THRESHOLD, -1)


def return_freed_memory() -> None:
    """Undo :func:`keep_freed_memory`: large freed blocks go back to the system, now and later.

    Where memory is what there is little of: blocks of ever other sizes, as of pictures at several
    scales, leave gaps that are kept and too small for the next. Does nothing without the GNU C
    library.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_MAX, _MMAP_MAX)
    libc.mallopt(_M_TRIM_THRESHOLD, _TRIM_THRESHOLD)
    libc.malloc_trim(0)
