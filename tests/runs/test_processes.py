"""Tests."""

import platform
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from impasto.runs import processes
from impasto.runs.processes import first_to_speak, mean_over_processes, what_was_lost


@pytest.fixture
def job(tmp_path: Path) -> Iterator[None]:
    """A job of one process, which has what a job of several has."""
    torch.distributed.init_process_group(
        "gloo", init_method=(tmp_path / "meet").as_uri(), world_size=1, rank=0
    )
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize(
    "text",
    [
        "DataLoader worker (pid 7) is killed by signal: Killed. ",
        "DataLoader worker (pid(s) 7, 8) exited unexpectedly",
    ],
)
def test_a_lost_loading_process_is_known(text: str) -> None:
    lost = what_was_lost(RuntimeError(text))
    assert lost is not None
    assert lost.startswith("a process that loads pictures was killed")


GLOO = "[../third_party/gloo/gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]"


@pytest.mark.usefixtures("job")
@pytest.mark.parametrize(
    "error",
    [RuntimeError(GLOO), torch.distributed.DistBackendError("NCCL communicator was aborted")],
)
def test_a_lost_training_process_is_known(error: RuntimeError) -> None:
    assert what_was_lost(error) == "another process of this job ended or cannot be reached"


@pytest.mark.usefixtures("job")
def test_other_errors_are_not_about_processes() -> None:
    assert what_was_lost(RuntimeError("CUDA out of memory")) is None
    assert what_was_lost(ConnectionError("nccl")) is None


def test_one_process_alone_loses_no_other() -> None:
    assert what_was_lost(RuntimeError(GLOO)) is None
    assert first_to_speak()
    assert first_to_speak()


@pytest.mark.usefixtures("job")
def test_only_the_first_of_a_job_speaks() -> None:
    assert first_to_speak()
    assert not first_to_speak()


@pytest.mark.usefixtures("job")
def test_where_nobody_can_be_asked_each_speaks(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable() -> None:
        raise torch.distributed.DistNetworkError("Connection reset by peer")

    monkeypatch.setattr(torch.distributed.distributed_c10d, "_get_default_store", unreachable)
    assert first_to_speak()


@pytest.mark.usefixtures("job")
def test_leaving_ends_the_talk() -> None:
    processes.leave_processes()
    assert not torch.distributed.is_initialized()
    processes.leave_processes()


def test_the_mean_of_one_process_is_its_own() -> None:
    class Alone:
        num_processes = 1

    values = torch.tensor([1.0, 2.0])
    assert mean_over_processes(values, accelerator=Alone()) is values


# Takes and frees 64 MB ten times, and prints how often the system had to hand out pages.
LOOP = """
import resource, sys
import numpy as np
from impasto.runs.processes import keep_freed_memory, return_freed_memory
if sys.argv[1] != "plain":
    keep_freed_memory()
if sys.argv[1] == "return":
    return_freed_memory()
np.ones(8_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(8_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def page_faults(word: str) -> int:
    command = [sys.executable, "-c", LOOP, word]
    return int(subprocess.run(command, capture_output=True, check=True, text=True).stdout)


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only the GNU C library")
def test_freed_memory_is_used_again() -> None:
    assert page_faults("keep") < page_faults("plain") / 10
    assert page_faults("return") > page_faults("plain") / 2
