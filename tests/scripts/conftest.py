"""What the tests of the commands share: a working directory to stylize in, a run to translate."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cyclegan import GeneratorArchitecture
from impasto.cyclegan.weights import save_generator
from impasto.runs.state import save_pth
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


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A run directory with two generators, of which G_B makes everything darker."""
    run = tmp_path / "run"
    run.mkdir()
    architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
    torch.manual_seed(0)
    for name, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        network = architecture.build()
        if name == "G_B":
            torch.nn.init.constant_(network.get_parameter("model.18.bias"), -9.0)
        save_generator(
            run / f"{name}.safetensors",
            network.state_dict(),
            architecture,
            {"direction": direction, "weights": "last"},
        )
        save_pth(run / f"7_net_{name}.pth", network.state_dict())
    return run
