"""Where to compute."""

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState

from impasto.options.errors import OptionError

__all__ = ["make_accelerator", "pick_device"]


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


def make_accelerator(device: str, mixed_precision: str) -> Accelerator:
    """Make what knows the device, the precision and the processes of a training.

    Args:
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        mixed_precision: ``no``, ``fp16`` or ``bf16``.

    Raises:
        OptionError: the device is not there, or cannot compute in that precision.
    """
    chosen = pick_device(device)
    if mixed_precision == "fp16" and chosen.type == "cpu":
        raise OptionError("mixed_precision", "fp16 needs a GPU; use bf16 or no on the CPU")
    # Accelerate keeps its state for the whole process and refuses other settings later on, but
    # one program may train twice.
    alone = not (torch.distributed.is_available() and torch.distributed.is_initialized())
    AcceleratorState._reset_state(reset_partial_state=alone)  # noqa: SLF001
    GradientState._reset_state()  # noqa: SLF001
    return Accelerator(cpu=chosen.type == "cpu", mixed_precision=mixed_precision)
