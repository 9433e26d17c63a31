"""How the tests of `impasto stylize` call it, and look at what it wrote."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from impasto.scripts.main import main

Rgb = NDArray[np.uint8]
HEIGHT, WIDTH = 30, 40
SMALL = ("--size", "40", "--iterations", "3", "2")
RANDOM = ("--preset", "random")
BUILTIN = ("--preset", "builtin")
FIRST = ("content.png", "a.png")
RESNET = ("--backbone", "random:resnet18")


def stylize(*words: str) -> int:
    try:
        return main(["stylize", *words])
    except SystemExit as ended:
        return int(str(ended.code))


def pixels(path: Path) -> Rgb:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def frames_of(path: Path) -> list[Rgb]:
    with Image.open(path) as image:
        frames = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
        return frames
