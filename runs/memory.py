"""How the process gets its memory."""

import ctypes
import platform

__all__ = ["keep_freed_memory"]

# malloc.h of the GNU C library.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


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
