"""What all tests share: tiny picture folders and the tiny options that train on them."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from giverny.options import (
    DataOptions,
    LossOptions,
    NetworkOptions,
    RunOptions,
    ScheduleOptions,
    TrainOptions,
    flatten,
    make,
)

MONET2PHOTO = Path(__file__).parents[2] / "shared" / "monet2photo"


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Keep sums in one order, and leave the other core to the other test process."""
    torch.set_num_threads(1)


@pytest.fixture
def picture_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that fills a folder with small random pictures."""

    def fill(name: str, *, count: int = 5, size: tuple[int, int] = (40, 36), seed: int = 0) -> Path:
        folder = tmp_path / name
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(seed)
        for index in range(count):
            small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            picture = Image.fromarray(small).resize((size[1], size[0]), Image.Resampling.BICUBIC)
            picture.save(folder / f"{index:02d}.png")
        return folder

    return fill


@pytest.fixture
def mount_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Return a function that mounts a small file system in memory; skips without the right to."""
    mounted: list[Path] = []

    def mount(size: str) -> Path:
        disk = tmp_path / f"disk{len(mounted)}"
        disk.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(disk)]
        if sys.platform != "linux" or subprocess.run(command, check=False).returncode:
            pytest.skip("needs the right to mount")
        mounted.append(disk)
        return disk

    yield mount
    for disk in mounted:
        subprocess.run(["umount", str(disk)], check=True)  # noqa: S607


@pytest.fixture
def read_only_disk(mount_disk: Callable[[str], Path]) -> Path:
    """A file system that not even root can write to."""
    disk = mount_disk("64k")
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)  # noqa: S607
    return disk


@pytest.fixture
def small_disk(mount_disk: Callable[[str], Path]) -> Path:
    """A file system of 64 KiB."""
    return mount_disk("64k")


@pytest.fixture
def tiny_options(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> Callable[..., TrainOptions]:
    """Return a function that makes options of a training of seconds; takes flat changes."""
    picture_folder("data/trainA", count=5, seed=1)
    picture_folder("data/trainB", count=7, seed=2)
    base = TrainOptions(
        run=RunOptions(
            name="tiny",
            checkpoints_dir=tmp_path / "checkpoints",
            device="cpu",
            print_freq=3,
            display_freq=7,
            save_latest_freq=4,
            save_epoch_freq=2,
        ),
        data=DataOptions(
            dataroot=tmp_path / "data", load_size=28, crop_size=24, num_threads=0, cache_images=True
        ),
        networks=NetworkOptions(netG="resnet_6blocks", ngf=2, ndf=2, init_gain=0.2),
        losses=LossOptions(pool_size=4),
        schedule=ScheduleOptions(n_epochs=2, n_epochs_decay=1),
    )

    def changed(**changes: Any) -> TrainOptions:
        return make(TrainOptions, {**flatten(base), **changes})

    return changed
