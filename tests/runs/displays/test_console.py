"""The estimated end of a training, and durations as text."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from impasto.runs.displays.console import Console, Forecast, spell_duration, spell_time
from impasto.runs.observers import Progress


def progress(images: int) -> Progress:
    return Progress(epoch=1, images=images, steps=images, total_images=1000, total_epochs=2)


def test_one_slow_report_changes_nothing() -> None:
    forecast = Forecast()
    assert forecast.time_left(progress(0)) is None
    assert forecast.report_seconds is None
    for speed in [1.0] * 50 + [5.0] * 9 + [0.01]:
        forecast.add({"images_per_second": speed, "seconds": 100 / speed})
    assert forecast.time_left(progress(500)) == timedelta(seconds=100)
    assert forecast.report_seconds == 20


def test_no_speed_no_forecast() -> None:
    forecast = Forecast()
    forecast.add({"images_per_second": 0.0, "seconds": 1.0})
    assert forecast.time_left(progress(0)) is None
    forecast = Forecast()
    forecast.add({"images_per_second": 1e-300, "seconds": 1.0})
    assert forecast.time_left(progress(0)) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "under a minute"),
        (90, "2 min"),
        (3599, "1 h 0 min"),
        (4 * 3600 + 61, "4 h 1 min"),
        (86_399, "1 d 0 h"),
        (400 * 86_400, "400 d 0 h"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert spell_duration(timedelta(seconds=seconds)) == text


def test_times() -> None:
    assert spell_time(datetime(2026, 8, 3, 9, 5, tzinfo=UTC)) == "Mon 3 Aug 2026, 09:05 UTC"


def test_a_pipe_gets_a_line_where_reports_are_far_apart() -> None:
    now, out = 0.0, io.StringIO()
    console = Console(out, quiet_seconds=60, clock=lambda: now)
    console.on_start(progress(100))  # of a run that was resumed
    for image in range(101, 125):
        now += 10
        console.on_step(progress(image))
    assert out.getvalue().splitlines() == [
        "training: 2 epochs, to image 1,000; 100 are done",
        "image 106 of 1000, 0.1 img/s",
        "image 112 of 1000, 0.1 img/s",
        "image 118 of 1000, 0.1 img/s",
        "image 124 of 1000, 0.1 img/s",
    ]
    console.on_end(progress(124))


def test_the_start_says_what_is_trained_and_how_long() -> None:
    out = io.StringIO()
    console = Console(out, facts="threads 2", summary=["pictures: 4 of A, 9 of B"])
    first = Progress(
        epoch=1, images=0, steps=0, total_images=1800, total_epochs=200, epoch_images=9
    )
    console.on_start(first)
    assert out.getvalue().splitlines() == [
        "computing with threads 2",
        "pictures: 4 of A, 9 of B",
        "training: 200 epochs of 9 images, to image 1,800",
    ]


def test_the_first_losses_are_told_early_and_once() -> None:
    now, out = 0.0, io.StringIO()
    means = iter([{"D_A": 0.25, "G_A": 1.5}])
    console = Console(out, first_losses=lambda: next(means), clock=lambda: now)
    console.on_start(progress(0))
    for image in range(1, 6):
        now += 10
        console.on_step(progress(image))
    assert out.getvalue().splitlines()[1:] == [
        "first losses, image 3: D_A 0.250 G_A 1.500 | 0.1 img/s"
    ]


def test_no_early_losses_after_a_report() -> None:
    now, out = 0.0, io.StringIO()
    console = Console(out, first_losses=lambda: {"D_A": 0.25}, clock=lambda: now)
    console.on_start(progress(0))
    record = {"losses": {"D_A": 0.5}, "learning_rate": 0.1, "data_wait": 0}
    console.on_report(progress(1), {**record, "seconds": 1.0, "images_per_second": 1.0})
    now = 50.0
    console.on_step(progress(2))
    assert "first losses" not in out.getvalue()


def test_saves_are_told_once_a_minute_and_the_last_always() -> None:
    now, out = 0.0, io.StringIO()
    console = Console(out, clock=lambda: now)
    console.on_start(progress(0))
    for image in range(1, 10):
        console.on_checkpoint(progress(image), Path("state.pt"))
        now += 25
    console.on_end(progress(9))
    told = [line for line in out.getvalue().splitlines() if line.startswith("saved")]
    assert told == [f"saved state.pt at image {image}" for image in (1, 4, 7, 9)]
