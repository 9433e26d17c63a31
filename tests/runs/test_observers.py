"""Tests."""

import errno
import io
import json
import subprocess
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from impasto.data import read_picture
from impasto.runs import (
    Background,
    CompositeObserver,
    Console,
    JsonLog,
    Observer,
    Pictures,
    Progress,
    SamplePictures,
    read_log,
)
from impasto.runs.displays.page import list_samples

RECORD = {
    "losses": {"G_A": 0.5},
    "learning_rate": 2e-4,
    "seconds": 1.0,
    "data_wait": 0.25,
    "images_per_second": 2.0,
}


def progress(images: int = 30, *, total: int = 100_030) -> Progress:
    return Progress(epoch=2, images=images, steps=15, total_images=total, total_epochs=9)


class Recorder(Observer):
    def __init__(self) -> None:
        self.seen: list[str] = []

    def on_start(self, progress: Progress) -> None:
        self.seen.append("start")

    def on_step(self, progress: Progress) -> None:
        self.seen.append("step")

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        self.seen.append("report")

    def on_samples(self, progress: Progress, samples: Pictures) -> None:
        self.seen.append("samples")

    def on_checkpoint(self, progress: Progress, path: Path) -> None:
        self.seen.append("checkpoint")

    def on_end(self, progress: Progress, error: str | None = None) -> None:
        self.seen.append("end")


class Broken(Observer):
    calls = 0

    def on_step(self, progress: Progress) -> None:
        self.calls += 1
        raise RuntimeError("the server is gone")


def tell_everything(observer: Observer) -> None:
    observer.on_start(progress())
    observer.on_step(progress())
    observer.on_report(progress(), RECORD)
    observer.on_samples(progress(), {})
    observer.on_checkpoint(progress(), Path("state.pt"))
    observer.on_end(progress())


def test_watchers_tell_all_of_everything() -> None:
    one, two = Recorder(), Recorder()
    tell_everything(CompositeObserver([one, two]))
    everything = ["start", "step", "report", "samples", "checkpoint", "end"]
    assert one.seen == two.seen == everything


def test_an_observer_that_fails_is_named_once_and_dropped(
    caplog: pytest.LogCaptureFixture,
) -> None:
    broken, sound = Broken(), Recorder()
    watchers = CompositeObserver([broken, sound])
    watchers.on_step(progress())
    watchers.on_step(progress())
    assert broken.calls == 1
    assert sound.seen == ["step", "step"]
    assert caplog.messages == ["Broken failed and is switched off: the server is gone"]


def line(images: int) -> str:
    return json.dumps({"epoch": 1, "images": images, "steps": images, **RECORD})


def changed(**changes: object) -> bytes:
    record = {"epoch": 1, "images": 15, "steps": 15, **RECORD, **changes}
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    "damage",
    [
        *(b"oops", b"\xff\xfe", b"null", b'{"a": 1}', b"[" * 100_000, b"1" * 5_000),
        *(changed(epoch=0), changed(epoch="1"), changed(steps=True), changed(images=10**30)),
        *(changed(losses={"G": "2"}), changed(losses=[1]), changed(scores={"x": [1]})),
        *(changed(learning_rate="0.1"), changed(warnings="all"), changed(outputs=3)),
    ],
)
def test_a_damaged_log_is_mended_and_kept(
    tmp_path: Path, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log.jsonl"
    whole = b"\n".join([line(10).encode(), damage, line(20).encode(), b""])
    path.write_bytes(whole)
    log = JsonLog(path)
    log.on_start(progress(20))
    log.on_report(progress(30), RECORD)
    assert [record["images"] for record in read_log(path)] == [10, 20, 30]
    assert (tmp_path / "log.jsonl.damaged").read_bytes() == whole
    assert len(caplog.messages) == 1
    assert "1 damaged lines are left out" in caplog.messages[0]


@pytest.mark.parametrize(
    ("end", "kept"),
    [
        (b'{"epoch": 1, "images": 22, "st', [10, 20]),  # a kill within a line,
        (line(22).encode(), [10, 20, 22]),  # or between a line and its end
        (b"", [10, 20]),
    ],
)
def test_the_next_line_is_not_appended_to_half_a_line(
    tmp_path: Path, end: bytes, kept: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(f"{line(10)}\n{line(20)}\n".encode() + end)
    log = JsonLog(path)
    log.on_start(progress(22))
    log.on_report(progress(30), RECORD)
    log.on_report(progress(40), RECORD)
    records = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
    assert [record["images"] for record in records] == [*kept, 30, 40]
    assert not caplog.messages


@pytest.mark.parametrize("left", [b'{"epoch": 1, "ima', b'{"epoch": 1}\n{"ima', b"\n"])
def test_a_fresh_log_begins_with_its_first_line(tmp_path: Path, left: bytes) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(left)
    log = JsonLog(path)
    log.on_start(progress(0))
    log.on_report(progress(10), RECORD)
    assert path.read_text(encoding="utf-8").count("\n") == 1
    assert [record["images"] for record in read_log(path)] == [10]


def test_a_log_that_cannot_be_begun_is_tried_again(read_only_disk: Path) -> None:
    log = JsonLog(read_only_disk / "log.jsonl")
    log.on_start(progress(0))
    log.on_report(progress(10), RECORD)
    subprocess.run(["mount", "-o", "remount,rw", str(read_only_disk)], check=True)  # noqa: S607
    log.on_report(progress(20), RECORD)
    assert [record["images"] for record in read_log(log._path)] == [10, 20]


def test_the_log_forgets_what_will_be_seen_again(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    lines = [line(images) for images in (10, 20, 30, 40)]
    path.write_text("\n".join(lines) + '\n{"ima', encoding="utf-8")
    log = JsonLog(path)
    log.on_start(progress(30))
    log.on_report(progress(35), RECORD)
    assert [record["images"] for record in read_log(path)] == [10, 20, 30, 35]
    position = {"epoch": 2, "images": 35, "steps": 15, "global_batch": 1}
    assert read_log(path)[-1] == {**position, **RECORD}


def test_a_log_that_cannot_be_rewritten_at_the_start_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log.jsonl"
    first = JsonLog(path)
    first.on_start(progress(0))
    for images in (10, 20, 30):
        first.on_report(progress(images), {"losses": {}})
    before = path.read_bytes()

    def fill(path: Path, _text: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("impasto.runs.log.write_text_atomic", fill)
    log = JsonLog(path)
    log.on_start(progress(20))
    log.on_report(progress(25), {"losses": {}})
    assert path.read_bytes() == before
    monkeypatch.undo()
    log.on_report(progress(35), {"losses": {}})
    assert [record["images"] for record in read_log(path)] == [10, 20, 25, 35]


def test_the_log_catches_up_after_a_full_disk(
    small_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, filler = small_disk / "log.jsonl", small_disk / "filler"
    log = JsonLog(path)
    log.on_start(progress(0))
    log.on_report(progress(10), RECORD)
    with suppress(OSError), filler.open("wb") as file:
        while True:
            file.write(bytes(512))
            file.flush()
    numbers = range(11, 60)  # more than the rest of the block that the file has
    for images in numbers:
        log.on_report(progress(images), RECORD)
    assert len(read_log(path)) < len(numbers)
    filler.unlink()
    log.on_end(progress(60))
    assert [record["images"] for record in read_log(path)] == [10, *numbers]
    reason = "cannot be written (No space left on device); trying again with each report"
    assert caplog.messages == [f"{path}: {reason}"]


def test_a_log_that_is_deleted_meanwhile_is_begun_again(tmp_path: Path) -> None:
    log = JsonLog(tmp_path / "log.jsonl")
    log.on_start(progress(0))
    log.on_report(progress(10), RECORD)
    (tmp_path / "log.jsonl").unlink()
    log.on_report(progress(20), RECORD)
    log.on_report(progress(30), RECORD)
    log.on_end(progress(30))
    assert [record["images"] for record in read_log(tmp_path / "log.jsonl")] == [20, 30]


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert read_log(tmp_path / "none") == []


@pytest.mark.parametrize(
    ("total", "left"), [(150, "1 min"), (86_430, "12 h 0 min"), (864_030, "5 d 0 h")]
)
def test_console_in_a_file_prints_lines_and_no_bar(total: int, left: str) -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.on_start(progress(total=total))
    console.on_step(progress(total=total))
    console.on_report(progress(total=total), RECORD)
    console.on_checkpoint(progress(), Path("run/state.pt"))
    console.on_end(progress())
    assert stream.getvalue() == (
        f"training: 9 epochs, to image {total:,}; 30 are done\n"
        f"epoch 2/9, image 30: G_A 0.500 | lr 0.0002, 2 img/s, waited 25%, {left} left\n"
        "saved run/state.pt at image 30\n"
    )


def test_console_in_a_terminal_has_a_bar() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    console = Console(stream)
    console.on_start(progress(10, total=40))
    console.on_step(progress(30, total=40))
    console.on_end(progress(40, total=40))
    assert "40/40" in stream.getvalue()


def test_console_knows_no_time_left_without_speed() -> None:
    stream = io.StringIO()
    Console(stream).on_report(progress(), {**RECORD, "images_per_second": 0.0})
    assert "? left" in stream.getvalue()


def test_console_prints_a_warning_when_it_comes_up() -> None:
    stream = io.StringIO()
    console = Console(stream)
    for warnings in (
        [],
        ["D is at zero"],
        ["D is at zero", "slow"],
        ["D is at zero"],
        [],
        ["slow"],
    ):
        console.on_report(progress(), {**RECORD, "warnings": warnings})
    printed = [line for line in stream.getvalue().splitlines() if line.startswith("WARN")]
    assert printed == ["WARNING: D is at zero", "WARNING: slow", "WARNING: slow"]


def test_console_tells_of_several_processes() -> None:
    stream = io.StringIO()
    console = Console(stream)
    console.on_start(replace(progress(), processes=4, global_batch=8))
    console.on_end(progress())
    told = "4 processes, 8 images per batch of all of them\n"
    assert stream.getvalue().endswith(told)


def test_samples_of_epochs_to_come_are_removed(tmp_path: Path) -> None:
    observer = SamplePictures(tmp_path)
    rgb = np.zeros((4, 5, 3), dtype=np.uint8)
    for epoch in (1, 2, 3, 1000):
        observer.on_samples(replace(progress(), epoch=epoch), {"fake_B": rgb})
    (tmp_path / "epoch003_notes.txt").write_text("mine", encoding="utf-8")
    observer.on_start(progress())  # in epoch 2
    assert {epoch: list(files) for epoch, files in list_samples(tmp_path).items()} == {
        1: ["fake_B"],
        2: ["fake_B"],
    }
    observer.on_start(progress(0))  # from the beginning
    # The mark says that what lies here is no picture of a folder of pictures.
    kept = {".previews", "epoch003_notes.txt"}
    assert {file.name for file in tmp_path.iterdir()} == kept


def test_samples_are_pictures_of_the_epoch(tmp_path: Path) -> None:
    rgb = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    SamplePictures(tmp_path / "images").on_samples(progress(), {"fake_B": rgb})
    written = read_picture(tmp_path / "images" / "epoch002_fake_B.png").rgb
    assert np.array_equal(written, rgb)


def progress_at(images: int = 0) -> Progress:
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

    def on_start(self, progress_at: Progress) -> None:
        self._note("start")

    def on_report(self, progress_at: Progress, record: Mapping[str, Any]) -> None:
        self.busy.set()
        assert self.go.wait(120)
        self._note(f"report {record['number']}")

    def on_samples(self, progress_at: Progress, samples: Pictures) -> None:
        self._note(f"samples {samples['fake_B'][0, 0, 0]}")

    def on_checkpoint(self, progress_at: Progress, path: Path) -> None:
        self._note(f"checkpoint {path}")

    def on_end(self, progress_at: Progress, error: str | None = None) -> None:
        self._note(f"end {error}")


def picture(value: int) -> Pictures:
    return {"fake_B": np.full((1, 1, 3), value, dtype=np.uint8)}


def test_the_training_does_not_wait_and_the_newest_wins() -> None:
    slow = Slow()
    observer = Background(slow, most_reports=3)
    observer.on_start(progress_at())
    assert slow.threads == {threading.get_ident()}  # before there is anything to hold up
    observer.on_report(progress_at(), {"number": 0})
    assert slow.busy.wait(120)  # it sits in its first report, and everything else has to wait
    for number in range(1, 9):
        observer.on_report(progress_at(number), {"number": number})
        observer.on_samples(progress_at(number), picture(number))
        observer.on_checkpoint(progress_at(number), Path(str(number)))
    assert slow.told == ["start"]
    slow.go.set()
    observer.on_end(progress_at(9), "no more")
    observer.finish(120)
    kept = ["report 6", "report 7", "report 8", "samples 8", "checkpoint 8"]
    assert slow.told == ["start", "report 0", *kept, "end no more"]
    assert len(slow.threads) == 2


def test_the_end_waits_only_so_long(caplog: pytest.LogCaptureFixture) -> None:
    slow = Slow()
    observer = Background(slow)
    observer.on_report(progress_at(), {"number": 0})
    assert slow.busy.wait(120)
    observer.on_end(progress_at())
    observer.finish(0.05)
    assert caplog.messages == ["Slow did not finish in time and is left behind"]
    slow.go.set()


class BrokenInBackground(Observer):
    """Fails when it is told something."""

    def __init__(self, where: str, error: Exception) -> None:
        self.where, self.error = where, error
        self.calls = 0

    def on_start(self, progress_at: Progress) -> None:
        self._fail("start")

    def on_report(self, progress_at: Progress, record: Mapping[str, Any]) -> None:
        self._fail("report")

    def _fail(self, where: str) -> None:
        if where == self.where:
            self.calls += 1
            raise self.error


@pytest.mark.parametrize("where", ["start", "report"])
def test_an_observer_that_fails_is_named_once(where: str, caplog: pytest.LogCaptureFixture) -> None:
    broken = BrokenInBackground(where, RuntimeError("out of order"))
    observer = Background(broken)
    observer.on_start(progress_at())
    for _ in range(3):
        observer.on_report(progress_at(), {})
        end = time.monotonic() + 120
        while not broken.calls and time.monotonic() < end:
            time.sleep(0.001)
    observer.on_end(progress_at())
    observer.finish(120)
    assert broken.calls == 1
    assert caplog.messages == ["BrokenInBackground failed and is switched off: out of order"]


@pytest.mark.parametrize(("where", "calls"), [("start", 1), ("report", 3)])
def test_an_observer_that_cannot_write_is_tried_again(
    where: str, calls: int, caplog: pytest.LogCaptureFixture
) -> None:
    full = BrokenInBackground(where, OSError("no space left"))
    observer = Background(full)
    observer.on_start(progress_at())
    for _ in range(3):
        observer.on_report(progress_at(), {})
    observer.on_end(progress_at())
    observer.finish(120)
    assert full.calls == calls
    assert caplog.messages == ["BrokenInBackground failed, and is tried again: no space left"]


def test_nothing_but_an_end_starts_and_ends_it() -> None:
    slow = Slow()
    observer = Background(slow)
    observer.finish(120)
    observer.on_end(progress_at(), None)
    observer.finish(120)
    assert slow.told == ["end None"]
