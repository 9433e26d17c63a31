"""What both sides of ``benchmarks/stylize.py`` tell and measure."""

import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter, process_time
from typing import Any, TextIO

import torch
import torchvision
from torch import Tensor

__all__ = ["EndedError", "Job", "Session"]

_MIB = 2**20
_SHAKE = 1e-6


@dataclass(frozen=True, kw_only=True)
class Job:
    """What the process does.

    Attributes:
        preset: ``leongatys``, ``neural_style`` or ``crowsonkb``.
        folder: with ``content.png`` and ``style.png`` at their final size, and all weights.
        iterations: evaluations with L-BFGS, and steps at each scale with Adam.
        checkout: of the program that the preset is of; None for Impasto.
        picture: file to write the final picture to.
        own_steps: Impasto's default steps instead of the program's.
        smallest: longest side of the first scale of ``crowsonkb``, in pixels.
        threads: of torch, 0 for its default.
        shake: seed of noise that is added to the content to start from, 0 for none. It is far below
            one value of 8 bits; steps grow apart from it as from rounding.
        judge: files of pictures to evaluate; if there are any, nothing is optimized.
    """

    preset: str
    folder: str
    iterations: int
    checkout: str | None = None
    picture: str = ""
    own_steps: bool = False
    smallest: int = 128
    threads: int = 0
    shake: int = 0
    judge: tuple[str, ...] = ()


class EndedError(Exception):
    """All evaluations are done: ends a program's loop."""


class Session:
    """What is told to the parent process, and measured.

    Args:
        job: what the process does.
        answers: where lines go to.
    """

    def __init__(self, job: Job, answers: TextIO) -> None:
        self.job = job
        self.count = 0
        self.last: Tensor | None = None
        self.best: Tensor | None = None
        self.least = float("inf")
        self._answers = answers
        self._resumed = self._cpu_resumed = 0.0
        self._before = 0

    def shaken(self, picture: Tensor) -> Tensor:
        """Return a picture to start from, RGB in [0, 1], with the job's noise."""
        if not self.job.shake:
            return picture
        generator = torch.Generator().manual_seed(self.job.shake)
        return picture + _SHAKE * torch.randn(picture.shape, generator=generator)

    def begin(self) -> None:
        """Say that everything is imported, and wait."""
        self._tell(environment=_environment())

    def evaluated(self, loss: Tensor, picture: Tensor) -> None:
        """Tell one evaluation, its seconds since the last, and wait."""
        value = loss.item()
        self.count += 1
        self.last = picture.detach().clone()
        if value < self.least:
            self.best, self.least = self.last, value
        seconds, cpu = perf_counter() - self._resumed, process_time() - self._cpu_resumed
        if self.count == 1:
            self._before = _peak(reset=True)
        self._tell(loss=value, seconds=seconds, cpu=cpu, pixels=picture.shape[-2:].numel())

    def end(self, picture: Tensor, loss: float) -> None:
        """Write the final picture, RGB in [0, 1] or beyond, and tell its loss and the memory."""
        torch.save(picture.detach().contiguous().clone(), self.job.picture)
        peak = _peak()
        self._tell(final=loss, peak=peak / _MIB, whole=max(peak, self._before) / _MIB)

    def judged(self, losses: list[float]) -> None:
        """Tell the losses of the pictures to judge."""
        self._tell(judged=losses)

    def _tell(self, **answer: Any) -> None:
        print(json.dumps(answer), file=self._answers, flush=True)
        if not sys.stdin.readline():
            raise SystemExit(1)  # the parent process is gone
        self._resumed, self._cpu_resumed = perf_counter(), process_time()


def _environment() -> dict[str, Any]:
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "threads": torch.get_num_threads(),
        "processor": f"{names[0] if names else platform.processor()} x {os.cpu_count()}",
    }


def _peak(*, reset: bool = False) -> int:
    """Return the most memory that the process has held, in bytes; ``reset``: and begin anew."""
    status = Path("/proc/self/status")
    if not status.exists():
        import resource  # noqa: PLC0415 - not on Windows

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024
    lines = status.read_text(encoding="ascii", errors="replace").splitlines()
    peak = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
    if reset:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak
