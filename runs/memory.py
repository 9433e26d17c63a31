"""The memory of this machine: how much a run may still take, and how much it has taken."""

import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import torch

__all__ = ["free_memory", "gigabytes", "peak_memory_mib", "usable_memory"]


def free_memory(device: torch.device) -> int | None:
    """Return the free memory of a device, in bytes, or None if it cannot be determined.

    On the CPU, the minimum of the memory that the system reports as available and the rest of
    the control groups' limits; on CUDA, the driver's free memory plus the unused part of torch's
    reserved memory.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type != "cpu":
        return None
    available, left = int(psutil.virtual_memory().available), _left_by_groups()
    return available if left is None else min(available, left)


def usable_memory(device: torch.device, limit: int | None = None) -> int | None:
    """Return how much memory of a device a run may still take, in bytes; None if nobody knows.

    Args:
        device: device that computes.
        limit: most memory of it that the whole process may take, in bytes; None: what is free.
    """
    free = free_memory(device)
    if limit is None:
        return free
    if device.type == "cuda":
        taken = torch.cuda.memory_allocated(device)
    else:
        taken = int(psutil.Process().memory_info().rss)
    left = max(0, limit - taken)
    return left if free is None else min(free, left)


def gigabytes(count: int) -> str:
    """Format a number of bytes, such as ``1.4 GB`` (10^9 bytes)."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.0f} MB"


def peak_memory_mib(device: torch.device) -> float:
    """Return the peak memory of this process in MiB, on the device if that is a GPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii")
        line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    except (OSError, StopIteration):
        if peak := getattr(psutil.Process().memory_info(), "peak_wset", 0):  # Windows
            return float(peak / 2**20)
        import resource  # noqa: PLC0415 - not on Windows

        # The system's own count includes the memory of the process that started this one.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak / (2**20 if sys.platform == "darwin" else 1024)


def _left_by_groups(
    root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Return what the memory limits of this process's control groups leave; None without limits."""
    left = []
    for folder, names in _group_folders(root, own):
        limit, used, cache = (_read(folder / names[0]), _read(folder / names[1]), names[2])
        if limit is not None and used is not None:
            # Pages of files that nobody uses are given back before a limit bites.
            left.append(max(limit - used + _statistic(folder / "memory.stat", cache), 0))
    return min(left, default=None)


_VERSION_2 = ("memory.max", "memory.current", "inactive_file")
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def _group_folders(root: Path, own: Path) -> list[tuple[Path, tuple[str, str, str]]]:
    """Return the folders of this process's groups and their parents, with names of files."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top, names = (root / "memory", _VERSION_1) if controllers else (root, _VERSION_2)
        inside = Path(path.lstrip("/"))
        # In a container the path may be the host's, and only the top is there.
        folders = [top / inside, *(top / parent for parent in inside.parents), top]
        found += [(folder, names) for folder in dict.fromkeys(folders)]
    return found


def _read(path: Path) -> int | None:
    try:
        text = path.read_text(encoding="ascii").strip()
    except OSError:
        return None
    # Version 1 says "no limit" with a number near 2**63.
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def _statistic(path: Path, name: str) -> int:
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.split()[0] == name), 0)
