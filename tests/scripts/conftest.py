"""What the tests of the commands share: a working directory to stylize in."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.scripts.stylizing import HEIGHT, WIDTH


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a content, styles and masks, and without weights in torch's cache.

    ``one`` is a folder of styles.
    """
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    here = tmp_path / "here"
    (here / "one").mkdir(parents=True)
    rng = np.random.default_rng(3)

    def paint(name: str, height: int, width: int, low: int, high: int) -> None:
        small = rng.integers(low, high, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        picture.save(here / name)

    paint("content.png", HEIGHT, WIDTH, 90, 165)
    paint("a.png", 36, 44, 0, 256)
    paint("b.png", 40, 32, 0, 256)
    for index in range(3):
        paint(f"one/{index}.png", 30, 32, 0, 256)
    Image.new("RGB", (32, 32), (220, 30, 30)).save(here / "red.png")
    Image.new("RGB", (32, 32), (30, 30, 220)).save(here / "blue.png")
    left = np.zeros((HEIGHT, WIDTH), np.uint8)
    left[:, : WIDTH // 2] = 255
    Image.fromarray(left).save(here / "left.png")
    Image.fromarray(255 - left).save(here / "right.png")
    monkeypatch.chdir(here)
    return here
