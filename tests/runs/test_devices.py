"""Precision that is measured, threads that are set and sleep, and what is restored."""

import logging
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from impasto.options.errors import OptionError
from impasto.runs import devices
from impasto.runs.devices import (
    bf16_slowdown,
    choose_precision,
    computing,
    usable_cores,
    where_complete,
)

CPU = torch.device("cpu")


@pytest.fixture
def slowdown(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the probe finds from now on, under ``bf16``."""
    found = {"bf16": 1.0}
    monkeypatch.setattr(devices, "bf16_slowdown", lambda _device: found["bf16"])
    return found


@pytest.mark.parametrize(("takes", "chosen"), [(0.5, "bf16"), (0.95, "no"), (14.0, "no")])
def test_auto_is_bf16_where_it_is_faster(
    slowdown: dict[str, float],
    caplog: pytest.LogCaptureFixture,
    takes: float,
    chosen: str,
) -> None:
    slowdown["bf16"] = takes
    assert choose_precision("auto", CPU) == chosen
    assert not caplog.records


def test_a_slow_bf16_that_was_asked_for_is_warned_of_with_its_factor(
    slowdown: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    slowdown["bf16"] = 0.6
    assert choose_precision("bf16", CPU) == "bf16"
    assert not caplog.records
    slowdown["bf16"] = 14.04
    assert choose_precision("bf16", CPU) == "bf16"  # as was asked for
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "takes 14 times as long as in 32 bits" in record.getMessage()


def test_32_bits_are_never_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(devices, "bf16_slowdown")
    assert choose_precision("no", CPU) == "no"
    with pytest.raises(OptionError, match="fp16 needs a GPU"):
        choose_precision("fp16", CPU)


@pytest.mark.parametrize(
    ("before", "takes", "chosen"),
    [("no", 0.5, "no"), ("bf16", 0.5, "bf16"), ("bf16", 1.2, "bf16"), (None, 1.2, "no")],
)
def test_a_run_that_goes_on_keeps_what_auto_was(
    slowdown: dict[str, float], before: str | None, takes: float, chosen: str
) -> None:
    slowdown["bf16"] = takes
    assert choose_precision("auto", CPU, before=before) == chosen


def test_a_run_that_was_in_bf16_goes_on_in_32_bits_where_that_is_slow(
    slowdown: dict[str, float], caplog: pytest.LogCaptureFixture
) -> None:
    slowdown["bf16"] = 10.0
    assert choose_precision("auto", CPU, before="bf16") == "no"
    assert "goes on in 32 bits" in caplog.text


def test_the_probe_leaves_no_trace() -> None:
    torch.set_num_threads(2)
    random = torch.get_rng_state()
    bf16_slowdown.cache_clear()
    with torch.inference_mode():  # as translating does
        ratio = bf16_slowdown(CPU)
    assert ratio > 0
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.get_num_threads() == 2
    assert bf16_slowdown(CPU) == ratio  # kept


def test_a_device_that_lacks_bf16_takes_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: int, device: torch.device) -> float:
        raise RuntimeError(f"BFloat16 is not supported on {device}")

    monkeypatch.setattr(devices, "_time_ratio", fail)
    bf16_slowdown.cache_clear()
    try:
        assert bf16_slowdown(CPU) == float("inf")
        assert choose_precision("auto", CPU) == "no"
    finally:
        bf16_slowdown.cache_clear()


def test_only_whole_devices_compute_everything() -> None:
    assert where_complete(torch.device("cuda", 1)) == torch.device("cuda", 1)
    assert where_complete(CPU) == CPU
    assert where_complete(torch.device("mps")) == CPU


def test_what_is_set_for_computing_is_restored() -> None:
    torch.set_num_threads(1)
    assert not torch.backends.cudnn.benchmark
    with computing(threads=3):
        assert torch.get_num_threads() == 3
        torch.backends.cudnn.benchmark = True
        with computing():
            assert torch.get_num_threads() == 3  # OMP_NUM_THREADS is set here: no own default
    assert torch.get_num_threads() == 1
    assert not torch.backends.cudnn.benchmark
    with pytest.raises(KeyError), computing(threads=2):
        raise KeyError
    assert torch.get_num_threads() == 1


def test_no_more_threads_than_a_container_may_use_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    monkeypatch.setattr(devices, "usable_cores", lambda: 2)
    torch.set_num_threads(4)
    with computing():
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == 4
    with computing(threads=3):
        assert torch.get_num_threads() == 3  # as was asked for
    monkeypatch.setenv("OMP_NUM_THREADS", "4")
    with computing():
        assert torch.get_num_threads() == 4


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "150000 100000\n"}, 2),
        ({"cpu.max": "10000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 3),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({}, None),
    ],
)
def test_limits_of_containers_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], quota: int | None
) -> None:
    monkeypatch.setattr(devices, "_cores", lambda: 64)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert usable_cores(tmp_path) == (quota or 64)
    monkeypatch.setattr(devices, "_cores", lambda: 1)
    assert usable_cores(tmp_path) == 1


class Ended:
    """Is set after a number of readings, without waiting for any."""

    def __init__(self, readings: int) -> None:
        self._left = readings

    def wait(self, _seconds: float) -> bool:
        self._left -= 1
        return self._left < 0


def watched(monkeypatch: pytest.MonkeyPatch, shares: list[float]) -> list[int]:
    """Give the readings at which threads were let sleep, and at which no longer.

    Args:
        monkeypatch: puts these readings in the place of the system's.
        shares: seconds without a core per second, from one reading to the next.
    """
    told: list[int] = []
    reading = 0

    def read() -> dict[str, float]:
        nonlocal reading
        reading += 1
        lost = sum(shares[: reading - 1]) * devices._EVERY_SECONDS
        # One thread for the whole time, and one that is new in each reading.
        return {"1": lost, f"new {reading}": 100.0}

    @contextmanager
    def idle_threads() -> Iterator[None]:
        told.append(reading - 1)
        yield
        told.append(reading - 1)

    monkeypatch.setattr(devices, "_seconds_without_core", read)
    monkeypatch.setattr(devices, "_idle_threads", idle_threads)
    devices._watch_cores(Ended(len(shares)))  # type: ignore[arg-type]
    return told


def test_threads_sleep_while_cores_are_short_and_not_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert watched(monkeypatch, [0.0, 0.1, 0.2] * 10) == []
    shares = [0.0, 0.0, 1.2, 1.2, 0.01, 0.2, *([0.01] * 20), 0.0]
    assert watched(monkeypatch, shares) == [3, 26]
    assert watched(monkeypatch, [0.0, 1.2, 0.0]) == [2, 3]  # released at the end


def test_idle_threads_change_no_result_and_end() -> None:
    torch.set_num_threads(2)
    images, weight = torch.rand(1, 8, 64, 64), torch.rand(8, 8, 3, 3)
    expected = torch.nn.functional.conv2d(images, weight)
    before = threading.active_count()
    with devices._idle_threads():
        assert threading.active_count() > before
        assert torch.get_num_threads() == 2
        assert torch.equal(torch.nn.functional.conv2d(images, weight), expected)
    assert threading.active_count() == before


@pytest.fixture
def watchers(monkeypatch: pytest.MonkeyPatch) -> list[threading.Event]:
    """One event for each watcher that was started."""
    started: list[threading.Event] = []

    def watch(ended: threading.Event) -> None:
        started.append(ended)
        ended.wait()

    for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(devices, "_watch_cores", watch)
    monkeypatch.setattr(devices, "_seconds_without_core", lambda: {"1": 0.0})
    return started


def test_one_watcher_for_all_that_compute(watchers: list[threading.Event]) -> None:
    with computing(threads=2), computing(threads=2):
        pass
    assert [ended.is_set() for ended in watchers] == [True]
    with computing(threads=2):
        pass
    assert len(watchers) == 2
    with computing(threads=1):  # waits for no other
        pass
    assert len(watchers) == 2


@pytest.mark.parametrize("name", ["GOMP_SPINCOUNT", "OMP_WAIT_POLICY"])
def test_a_users_own_setting_is_left_alone(
    watchers: list[threading.Event], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "1000")
    with computing(threads=2):
        pass
    assert not watchers
    assert os.environ[name] == "1000"


@pytest.mark.skipif(not Path("/proc/self/schedstat").is_file(), reason="the system does not tell")
def test_the_system_tells_of_each_thread() -> None:
    told = devices._seconds_without_core()
    assert str(threading.get_native_id()) in told
    assert all(seconds >= 0 for seconds in told.values())
