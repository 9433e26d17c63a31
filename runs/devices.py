"""What a device does well: 16 bits, threads, and what only the processor can compute.

:func:`choose_precision` times a small convolution where ``auto`` or ``bf16`` is asked for;
:func:`computing` sets the number of threads, and keeps them from blocking shared cores;
:func:`where_complete` names the device for what Apple's GPUs cannot compute.
"""

import logging
import math
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from time import perf_counter
from typing import Literal, cast

import torch
from torch import Tensor
from torch.nn import functional

from impasto.options.errors import OptionError

__all__ = [
    "Precision",
    "bf16_slowdown",
    "choose_precision",
    "computing",
    "describe_computing",
    "describe_precision",
    "usable_cores",
    "where_complete",
]

_log = logging.getLogger(__name__)

Precision = Literal["no", "fp16", "bf16"]

# The convolutions of the probe: pictures, channels and side in pixels. On processors the first one
# tells those without bf16 units apart (10 times slower on AVX2, 1.8 times on AVX-512 without them),
# within a tenth of a second; the second one, whether those that have them gain by it. A GPU
# needs more to do than to start kernels.
_PROBES = {"cpu": ((1, 32, 24), (1, 128, 32))}
_PROBES_ELSEWHERE = ((8, 512, 64),)
_REPEATS = 3
# bf16 is taken only where it saves at least a tenth of the time, and warned of where it costs half.
_WORTH, _SLOW = 0.9, 1.5


def choose_precision(
    mixed_precision: str, device: torch.device, *, before: str | None = None
) -> Precision:
    """Return the precision to compute in; a slow one that was asked for is warned of.

    Args:
        mixed_precision: precision: ``no`` (float32), ``fp16``, ``bf16``, or ``auto``, which is
            ``bf16`` where that is measurably faster on the device, and ``no`` elsewhere.
        device: device that computes.
        before: what ``auto`` has become where the work was begun, which it stays unless that is
            slow here; two measurements need not agree.

    Returns:
        ``no``, ``fp16`` or ``bf16``.

    Raises:
        OptionError: the device cannot compute in that precision.
    """
    if mixed_precision == "fp16" and device.type == "cpu":
        raise OptionError("mixed_precision", "fp16 needs a GPU; use bf16 or no on the CPU")
    if mixed_precision == "auto":
        if before == "no":
            return "no"
        slowdown = bf16_slowdown(device)
        if before == "bf16" and slowdown > _SLOW:
            _log.warning(
                "the run was computed in bf16, which is slow here, and goes on in 32 bits: it is "
                "not exactly the run that it would have been"
            )
        return "bf16" if slowdown < (_SLOW if before == "bf16" else _WORTH) else "no"
    if mixed_precision == "bf16" and (slowdown := bf16_slowdown(device)) > _SLOW:
        _log.warning(
            "--mixed_precision bf16 is slow here: a small convolution takes %.2g times as long as "
            "in 32 bits, larger ones perhaps more, as this %s has no units for bf16; with auto "
            "or no, Impasto computes in 32 bits",
            slowdown,
            "processor" if device.type == "cpu" else "device",
        )
    return cast("Precision", mixed_precision)


def describe_computing(device: torch.device, mixed_precision: str, threads: int) -> str:
    """Say in words where and how is computed.

    Example:
        >>> describe_computing(torch.device("cpu"), "no", 2)
        'cpu (2 threads, 32 bits)'
    """
    number = f"{threads} threads" if threads > 1 else "1 thread"
    return f"{device} ({number}, {describe_precision(mixed_precision)})"


def describe_precision(mixed_precision: str) -> str:
    """Say in words what ``no``, ``fp16`` and ``bf16`` mean."""
    return "32 bits" if mixed_precision == "no" else f"32 and 16 bits ({mixed_precision})"


@cache
def bf16_slowdown(device: torch.device) -> float:
    """Return how many times as long as float32 a convolution with its gradients takes in bf16.

    Measured once for each device of a process, in about a tenth of a second; infinite where the
    device cannot compute in bf16 at all. What processors say of themselves is no help: torch's flag
    for bf16 is also set with AVX-512 that lacks the units for it.
    """
    slowdown = math.inf
    for size in _PROBES.get(device.type, _PROBES_ELSEWHERE):
        try:
            slowdown = _time_ratio(*size, device=device)
        except (RuntimeError, TypeError):  # torch names no kind of error for it
            return math.inf
        if slowdown > _SLOW:
            break
    return slowdown


def _time_ratio(pictures: int, channels: int, side: int, *, device: torch.device) -> float:
    """Return the time of a convolution and its gradients in bf16, divided by that in float32."""

    def ramp(*shape: int) -> Tensor:
        # Not random: a draw would change what is drawn after it.
        values = torch.linspace(-1, 1, math.prod(shape), device=device).view(shape)
        return values.requires_grad_()

    images, weight = ramp(pictures, channels, side, side), ramp(channels, channels, 3, 3)

    def seconds(*, halved: bool) -> float:
        _wait_for(device)
        started = perf_counter()
        with torch.autocast(device.type, torch.bfloat16, enabled=halved):
            made = functional.conv2d(images, weight, padding=1)
        torch.autograd.grad(made, (images, weight), made.detach())
        _wait_for(device)
        return perf_counter() - started

    # With several threads, so small a convolution would only show how they wait for one another.
    with computing(threads=1), torch.inference_mode(mode=False), torch.enable_grad():
        pairs = [(seconds(halved=True), seconds(halved=False)) for _ in range(1 + _REPEATS)]
    # The first of each prepares; what else the machine does can only lengthen the others.
    halved, whole = zip(*pairs[1:], strict=True)
    return float(min(halved) / min(whole))


def _wait_for(device: torch.device) -> None:
    waits: dict[str, Callable[[], None]] = {
        "cuda": torch.cuda.synchronize,
        "mps": torch.mps.synchronize,
    }
    if device.type in waits:
        waits[device.type]()


def where_complete(device: torch.device) -> torch.device:
    """Return where to compute what not every device can: the device itself, or the processor.

    Apple's GPUs have no float64, and depending on torch's version no eigenvalues, no bicubic
    sampling, and no area interpolation to sides that do not divide. To and from such a device,
    tensors change their place and their type in two steps, the type on the processor.
    """
    return device if device.type in {"cpu", "cuda"} else torch.device("cpu")


@contextmanager
def computing(*, threads: int | None = None) -> Iterator[None]:
    """Set the number of threads, and let them sleep while other programs use the cores.

    At the end, what was set is restored, ``torch.backends.cudnn.benchmark`` included, which
    trainings set: whoever translates pictures of many sizes afterwards would else wait for the
    measurement of each.

    Args:
        threads: number of threads of torch on the processor; by default as many as torch starts,
            but not more than this process may use cores, see :func:`usable_cores`.
    """
    threads_before, benchmark_before = torch.get_num_threads(), torch.backends.cudnn.benchmark
    if threads is None and not {"OMP_NUM_THREADS", "MKL_NUM_THREADS"} & os.environ.keys():
        threads = min(threads_before, usable_cores())
    if threads is not None and threads != threads_before:
        torch.set_num_threads(threads)
    try:
        with _sleeping_soon():
            yield
    finally:
        torch.backends.cudnn.benchmark = benchmark_before
        if torch.get_num_threads() != threads_before:
            torch.set_num_threads(threads_before)


@contextmanager
def _sleeping_soon() -> Iterator[None]:
    """Watch whether other programs use the cores, and let threads wait accordingly, until the end.

    GNU's OpenMP lets threads that wait for one another spin for about 3 ms before they sleep. Where
    the one that they wait for has no core, that made a training step 20 to 100 times slower; where
    the cores are idle, to sleep at once makes it up to twice as slow. OpenMP decides which once,
    when it is loaded, except that it spins a thousandth of that time while it has more threads than
    there are cores (libgomp, ``gomp_throttled_spin_count_var``). So while cores are short, it is
    given more threads, which do nothing. Elsewhere, this has no effect. Neither number nor order of
    the computing threads changes, hence no result does. Measured in benchmarks/shared_cores.py.
    """
    ours = {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"}.isdisjoint(os.environ)
    useful = ours and torch.get_num_threads() > 1 and _seconds_without_core()
    if not (useful and _ONE.acquire(blocking=False)):
        yield
        return
    ended = threading.Event()
    watcher = threading.Thread(target=_watch_cores, args=[ended], daemon=True)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
        _ONE.release()


_ONE = threading.Lock()
_EVERY_SECONDS = 0.5
# Seconds per second, of all threads together, in which they could run but had no core: beside one
# other busy program on two cores it is about 1.
_SHORT, _AMPLE = 0.3, 0.05
_AMPLE_READINGS = 20
_MOST_IDLERS = 64


def _watch_cores(ended: threading.Event) -> None:
    """Hold idle threads of OpenMP while cores are short."""
    before, ample = _seconds_without_core(), 0
    with ExitStack() as held:
        holds = False
        while not ended.wait(_EVERY_SECONDS):
            now = _seconds_without_core()
            lost = sum(max(0.0, now[thread] - before.get(thread, now[thread])) for thread in now)
            before, share = now, lost / _EVERY_SECONDS
            ample = ample + 1 if share < _AMPLE else 0
            if not holds and share > _SHORT:
                held.enter_context(_idle_threads())
                holds = True
            elif holds and ample >= _AMPLE_READINGS:
                held.close()
                holds = False


@contextmanager
def _idle_threads() -> Iterator[None]:
    """Let OpenMP manage more threads than there are cores; the additional ones sleep."""
    threads, ended = torch.get_num_threads(), threading.Event()
    missing = _cores() + 1 - threads
    started = threading.Barrier(1 + min(max(1, math.ceil(missing / (threads - 1))), _MOST_IDLERS))

    def idle() -> None:
        # A team of its own, which OpenMP keeps for this thread as long as it lives.
        torch.zeros(1 << 18).add_(1)
        started.wait()
        ended.wait()

    idlers = [threading.Thread(target=idle, daemon=True) for _ in range(started.parties - 1)]
    for idler in idlers:
        idler.start()
    started.wait()
    try:
        yield
    finally:
        ended.set()
        for idler in idlers:
            idler.join()


def _seconds_without_core() -> dict[str, float]:
    """Return for each thread of this process how long it could run but had to wait for a core.

    Empty where the system does not tell, as other systems than Linux.
    """
    found = {}
    for told in Path("/proc/self/task").glob("*/schedstat"):
        try:
            found[told.parent.name] = int(told.read_text(encoding="ascii").split()[1]) / 1e9
        except (OSError, ValueError, IndexError):  # ValueError: the thread has just ended
            continue
    return found


def usable_cores(root: Path = Path("/sys/fs/cgroup")) -> int:
    """Return the number of cores that this process may use, at least 1.

    A container that was given two cores' worth of time sees all cores of its machine; a thread on
    each of them would wait for its share of that time, and the others for it.

    Args:
        root: where the system tells the limits of containers (Linux' control groups).
    """
    cores, quota = _cores(), math.ceil(_quota(root))
    return min(cores, quota) if quota else cores


def _cores() -> int:
    """Return the number of cores that the system lets this process run on."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _quota(root: Path) -> float:
    """Return the limit of the time on processors, in cores; 0 where there is none."""
    told = ["cpu.max"], ["cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us"]  # versions 2 and 1
    for names in told:
        try:
            # Microseconds of a period; no limit is "max", or -1.
            texts = [(root / name).read_text(encoding="ascii") for name in names]
            quota, period = map(int, " ".join(texts).split())
        except (OSError, ValueError):
            continue
        return max(0.0, quota / period)
    return 0.0
