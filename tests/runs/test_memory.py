from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import psutil  # type: ignore[import-untyped]
import pytest
import torch

from impasto.runs import memory
from impasto.runs.memory import free_memory, gigabytes, peak_memory_mib, usable_memory

CPU = torch.device("cpu")


def test_bytes_in_words() -> None:
    assert gigabytes(1_440_000_000) == "1.4 GB"
    assert gigabytes(52_300_000) == "52 MB"


def test_this_machine_has_memory() -> None:
    free = free_memory(CPU)
    assert free is None or 2**20 < free < 2**50
    assert free_memory(torch.device("mps")) is None


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="asks Linux itself")
def test_what_linux_calls_available() -> None:
    """Never more; less where the control groups of this process allow less."""
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    told = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable"))
    free = free_memory(CPU)
    assert free is not None
    assert free < told + 2**31  # what other programs took and gave back meanwhile


def test_a_system_without_the_module_resource_is_asked_otherwise(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As Windows, which has neither /proc nor resource."""
    monkeypatch.setattr(Path, "read_text", Mock(side_effect=OSError))
    process = Mock(memory_info=lambda: SimpleNamespace(peak_wset=300 * 2**20))
    monkeypatch.setattr(psutil, "Process", lambda: process)
    assert peak_memory_mib(CPU) == 300


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_limits_of_control_groups_version_2(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("0::/outer/inner\n")
    assert memory._left_by_groups(root, own) is None
    stat = "anon 5\ninactive_file 40\n"
    group(root / "outer" / "inner", memory__max="max\n", memory__current="600\n")
    assert memory._left_by_groups(root, own) is None
    group(root / "outer", memory__max="1000\n", memory__current="700\n", memory__stat=stat)
    assert memory._left_by_groups(root, own) == 340
    group(root / "outer" / "inner", memory__max="620\n")
    assert memory._left_by_groups(root, own) == 20
    group(root / "outer" / "inner", memory__max="500\n")
    assert memory._left_by_groups(root, own) == 0


def test_limits_of_control_groups_version_1(tmp_path: Path) -> None:
    root, own = tmp_path / "cgroup", tmp_path / "own"
    own.write_text("9:name=systemd:/\n4:cpu,memory:/elsewhere\n")
    # In a container the path is the host's, and only the top is there.
    files = {"memory__limit_in_bytes": "9000", "memory__usage_in_bytes": "8000"}
    group(root / "memory", **files, memory__stat="inactive_file 7\ntotal_inactive_file 50\n")
    assert memory._left_by_groups(root, own) == 1050
    group(root / "memory", memory__limit_in_bytes=str(2**63 - 4096))
    assert memory._left_by_groups(root, own) is None
    assert memory._left_by_groups(root, tmp_path / "absent") is None


def test_cuda_counts_what_torch_has_in_reserve(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (500, 1000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 300)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 100)
    assert free_memory(torch.device("cuda")) == 700


def test_a_limit_counts_what_the_process_has_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = psutil.Process().memory_info().rss
    monkeypatch.setattr(memory, "free_memory", lambda _: 10**12)
    assert usable_memory(CPU) == 10**12
    left = usable_memory(CPU, 10**11)
    assert left is not None
    assert left == pytest.approx(10**11 - taken, abs=2 * 10**8)
    assert usable_memory(CPU, 1) == 0
    monkeypatch.setattr(memory, "free_memory", lambda _: 5)
    assert usable_memory(CPU, 10**11) == 5
    monkeypatch.setattr(memory, "free_memory", lambda _: None)
    assert usable_memory(torch.device("mps")) is None
