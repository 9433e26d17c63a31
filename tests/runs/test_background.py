import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from impasto.runs import Background, Observer, Pictures, Progress


def progress(images: int = 0) -> Progress:
    return Progress(epoch=1, images=images, steps=images, total_images=99, total_epochs=1)


class Slow(Observer):
    """Remembers what it was told; each report waits until ``go`` is set."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.threads: set[int] = set()
        self.go = threading.Event()
        self.busy = threading.Event()

    def _note(self, what: str) -> None:
        self.told.append(what)
        self.threads.add(threading.get_ident())

    def on_start(self, progress: Progress) -> None:
        self._note("start")

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        self.busy.set()
        assert self.go.wait(20)
        self._note(f"report {record['number']}")

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        self._note(f"samples {samples['fake_B'][0, 0, 0]}")

    def on_checkpoint(self, progress: Progress, path: Path) -> None:
        self._note(f"checkpoint {path}")

    def on_end(self, progress: Progress, error: str | None = None) -> None:
        self._note(f"end {error}")


def picture(value: int) -> Pictures:
    return {"fake_B": np.full((1, 1, 3), value, dtype=np.uint8)}


def test_the_training_does_not_wait_and_the_newest_wins() -> None:
    slow = Slow()
    observer = Background(slow, most_reports=3)
    observer.on_start(progress())
    assert slow.threads == {threading.get_ident()}  # before there is anything to hold up
    observer.on_report(progress(), {"number": 0})
    assert slow.busy.wait(20)  # it sits in its first report, and everything else has to wait
    for number in range(1, 9):
        observer.on_report(progress(number), {"number": number})
        observer.on_samples(progress(number), picture(number))
        observer.on_checkpoint(progress(number), Path(str(number)))
    assert slow.told == ["start"]
    slow.go.set()
    observer.on_end(progress(9), "no more")
    observer.finish(20)
    kept = ["report 6", "report 7", "report 8", "samples 8", "checkpoint 8"]
    assert slow.told == ["start", "report 0", *kept, "end no more"]
    assert len(slow.threads) == 2


def test_the_end_waits_only_so_long(caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow()
    observer = Background(slow)
    observer.on_report(progress(), {"number": 0})
    assert slow.busy.wait(20)
    observer.on_end(progress())
    observer.finish(0.05)
    assert caplog.messages == ["Slow did not finish in time and is left behind"]
    slow.go.set()


class Broken(Observer):
    """Fails when it is told something."""

    def __init__(self, where: str, error: Exception) -> None:
        self.where, self.error = where, error
        self.calls = 0

    def on_start(self, progress: Progress) -> None:
        self._fail("start")

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        self._fail("report")

    def _fail(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            raise self.error


@pytest.mark.parametrize("where", ["start", "report"])
def test_an_observer_that_fails_is_named_once(where: str, caplog: pytest.LogCaptureFixture) -> None:
    broken = Broken(where, RuntimeError("out of order"))
    observer = Background(broken)
    observer.on_start(progress())
    for _ in range(3):
        observer.on_report(progress(), {})
        end = time.monotonic() + 20
        while not broken.calls and time.monotonic() < end:
            time.sleep(0.001)
    observer.on_end(progress())
    observer.finish(20)
    assert broken.calls == 1
    assert caplog.messages == ["Broken failed and is switched off: out of order"]


@pytest.mark.parametrize(("where", "calls"), [("start", 1), ("report", 3)])
def test_an_observer_that_cannot_write_is_tried_again(
    where: str, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    full = Broken(where, OSError("no space left"))
    observer = Background(full)
    observer.on_start(progress())
    for _ in range(3):
        observer.on_report(progress(), {})
    observer.on_end(progress())
    observer.finish(20)
    assert full.calls == calls
    assert caplog.messages == ["Broken failed, and is tried again: no space left"]


def test_nothing_but_an_end_starts_and_ends_it() -> None:
    slow = Slow()
    observer = Background(slow)
    observer.finish(20)
    observer.on_end(progress(), None)
    observer.finish(20)
    assert slow.told == ["end None"]
