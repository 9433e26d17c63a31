"""The TensorBoard display, read back with TensorBoard's own reader."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from impasto.cyclegan import train
from impasto.options import OptionError, TrainOptions
from impasto.runs import Background, Progress, read_log
from impasto.runs.displays.tensorboard import TensorBoardDisplay

accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")

SPEED = {"learning_rate": 2e-4, "seconds": 1.0, "data_wait": 0.25, "images_per_second": 2.0}


def progress(images: int) -> Progress:
    return Progress(epoch=1, images=images, steps=images, total_images=100, total_epochs=1)


def report(display: TensorBoardDisplay, *images: int) -> None:
    for number in images:
        display.on_report(progress(number), {"losses": {"G_A": number / 8}, **SPEED})


def read(folder: Path) -> Any:
    return accumulators.EventAccumulator(str(folder)).Reload()


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def test_numbers_and_samples(tmp_path: Path) -> None:
    display = TensorBoardDisplay(tmp_path)
    display.on_start(progress(0))
    report(display, 2, 4)
    rgb = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    display.on_samples(progress(4), {"fake_B": rgb})
    display.on_end(progress(4))
    events = read(tmp_path)
    tags = events.Tags()
    assert set(tags["scalars"]) == {"loss/G_A", "learning_rate", "images_per_second", "data_wait"}
    assert scalars(tmp_path, "loss/G_A") == [(2, 0.25), (4, 0.5)]
    assert scalars(tmp_path, "learning_rate")[0][1] == pytest.approx(2e-4)
    (image,) = events.Images("samples/fake_B")
    assert (image.step, image.width, image.height) == (4, 5, 4)


def test_what_is_done_again_is_shown_once(tmp_path: Path) -> None:
    for start, images in ((0, (2, 4, 6)), (4, (5, 8))):
        display = TensorBoardDisplay(tmp_path)
        display.on_start(progress(start))
        report(display, *images)
        display.on_end(progress(images[-1]))
    assert [step for step, _ in scalars(tmp_path, "loss/G_A")] == [2, 4, 5, 8]


def test_a_training_that_reports_nothing_writes_nothing(tmp_path: Path) -> None:
    display = TensorBoardDisplay(tmp_path / "tensorboard")
    display.on_start(progress(0))
    display.on_end(progress(0))
    assert not (tmp_path / "tensorboard").exists()


def test_a_run_directory_that_was_removed_is_not_made_again(tmp_path: Path) -> None:
    display = TensorBoardDisplay(tmp_path / "run" / "tensorboard")
    display.on_start(progress(0))
    with pytest.raises(FileNotFoundError):
        report(display, 2)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_cannot_be_written_is_one_warning(
    read_only_disk: Path, caplog: pytest.LogCaptureFixture
) -> None:
    display = Background(TensorBoardDisplay(read_only_disk / "tensorboard"))
    display.on_start(progress(0))
    for images in (2, 4):
        display.on_report(progress(images), {"losses": {"G_A": 1.0}, **SPEED})
    display.on_end(progress(4))
    display.finish(120)
    (warning,) = caplog.messages
    assert warning.startswith("TensorBoardDisplay failed, and is tried again: ")


# The thread of TensorBoard's writer ends with its error, and the next call is told of it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_after_a_full_disk_it_goes_on(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(2**15))
    display = TensorBoardDisplay(small_disk / "tensorboard")
    display.on_start(progress(0))
    report(display, 2)
    noise = np.random.default_rng(0).integers(0, 256, (128, 128, 3), dtype=np.uint8)
    with pytest.raises(OSError, match="No space left"):
        display.on_samples(progress(2), {"fake_B": noise})  # 48 KiB, and there are 28
    filler.unlink()
    report(display, 4, 6)
    display.on_end(progress(6))
    assert scalars(small_disk / "tensorboard", "loss/G_A") == [(2, 0.25), (4, 0.5), (6, 0.75)]


def test_a_whole_training(tiny_options: Callable[..., TrainOptions]) -> None:
    directory = train(tiny_options(display="tensorboard")).directory
    records = read_log(directory / "log.jsonl")
    steps, values = zip(*scalars(directory / "tensorboard", "loss/G_A"), strict=True)
    assert list(steps) == [record["images"] for record in records]
    assert list(values) == pytest.approx([record["losses"]["G_A"] for record in records])
    assert "samples/fake_B" in read(directory / "tensorboard").Tags()["images"]


def test_without_tensorboard_it_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard.writer", None)
    with pytest.raises(OptionError, match="--display: tensorboard is not installed") as caught:
        TensorBoardDisplay(tmp_path)
    assert str(caught.value).splitlines()[1].strip() == 'pip install "impasto[tensorboard]"'
