from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from giverny.runs import JsonLog, Progress, ReportPage, RunDirectory, SamplePictures


def progress(images: int) -> Progress:
    return Progress(epoch=2, images=images, steps=images, total_images=100, total_epochs=4)


def record(loss: float) -> dict[str, Any]:
    return {
        "losses": {"G_A": loss},
        "learning_rate": 2e-4,
        "seconds": 1.0,
        "data_wait": 0.25,
        "images_per_second": 2.0,
    }


def rows(path: Path, parse_page: Callable[[Path], Any]) -> list[str]:
    return [cell.text for cell in parse_page(path).find("td")]


def test_shows_the_latest_reports_and_samples(
    tmp_path: Path, parse_page: Callable[[Path], Any]
) -> None:
    directory = RunDirectory(tmp_path / "run")
    directory.create()
    index = directory.web / "index.html"
    samples = {"real_A": torch.zeros(1, 3, 4, 4), "fake_B": torch.zeros(1, 3, 4, 4)}
    observers = [
        JsonLog(directory.log_file),
        SamplePictures(directory.web / "images"),
        ReportPage(directory),
    ]
    for observer in observers:
        observer.on_start(progress(0))
        for images in range(1, 31):
            observer.on_report(progress(images), record(images / 1000))
        observer.on_samples(progress(30), samples)
    text = index.read_text(encoding="utf-8")
    assert "training: image 30 of 100, epoch 2 of 4" in text
    losses = [f"{images / 1000:.3f}" for images in range(30, 10, -1)]
    assert [cell for cell in rows(index, parse_page) if cell in losses] == losses
    sources = [image.attributes["src"] for image in parse_page(index).find("img")]
    assert sources == ["images/epoch002_real_A.png", "images/epoch002_fake_B.png"]
    assert all((directory.web / source).is_file() for source in sources)
    assert "http://" not in text
    assert "https://" not in text
    # A resumed run shows what came before it, up to where it goes on.
    resumed = ReportPage(directory)
    resumed.on_start(progress(25))
    assert "0.025" in rows(index, parse_page)
    assert "0.026" not in rows(index, parse_page)
    resumed.on_end(progress(100))
    assert "finished: image 100 of 100" in index.read_text(encoding="utf-8")
