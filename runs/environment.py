"""What a run was computed with: versions, machine, device, processes."""

import os
import platform
import socket
from importlib.metadata import PackageNotFoundError, version

import torch
from accelerate import Accelerator

__all__ = ["describe_environment"]


def describe_environment(accelerator: Accelerator) -> dict[str, str]:
    """Return facts about where a run is computed, by name, in the order to show them."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    facts = {
        "Impasto": _version("impasto"),
        "PyTorch": torch.__version__,
        "Python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "host": socket.gethostname(),
        "device": f"{device.type}: {name}",
        "threads": str(torch.get_num_threads()),
        "processes": str(accelerator.num_processes),
        "precision": "32 bits"
        if accelerator.mixed_precision == "no"
        else f"32 and 16 bits ({accelerator.mixed_precision})",
    }
    if device.type == "cuda":
        facts["CUDA"] = str(torch.version.cuda)
    return facts


def _processor() -> str:
    """Return the name of the processor where the system tells it, or its kind."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123
            lines = [line for line in file if line.startswith("model name")]
    except OSError:
        lines = []
    name = lines[0].split(":", 1)[1].strip() if lines else platform.processor()
    return f"{name or platform.machine()}, {os.cpu_count()} cores"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
