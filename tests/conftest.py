"""The fixtures that all tests share: tiny picture folders, tiny options, headless Chromium."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

# NumPy and torch read this once, when they are imported; child processes inherit it. One thread
# keeps sums in one order and leaves the other cores to the other test processes.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
from PIL import Image

from impasto.options import (
    DataOptions,
    LossOptions,
    NetworkOptions,
    RunOptions,
    ScheduleOptions,
    TrainOptions,
    flatten,
    make,
)

pytest.register_assert_rewrite(
    "tests.browser", "tests.loopback", "tests.trainings", "tests.translating"
)

from tests.browser import Browser, Page, open_chromium, parse_page

MONET2PHOTO = Path(__file__).parents[2] / "shared" / "monet2photo"


def pytest_configure() -> None:
    """Let programs that tests start hear Ctrl-C, where these tests themselves were told not to.

    A shell tells that to what it starts in the background, and children inherit it.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that open pages in a browser, before ``-m`` selects by marks."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """Undo what a test did to the number of threads: see ``OMP_NUM_THREADS`` above."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.set_num_threads(1)


@pytest.fixture
def start_process() -> Iterator[Callable[..., subprocess.Popen[Any]]]:
    """Return ``subprocess.Popen`` for tests: what still runs when the test ends is killed.

    A test that fails half way would otherwise leave a process that slows the next tests, and pipes
    whose warnings, when they are collected, fail one of those.
    """
    started: list[subprocess.Popen[Any]] = []

    def start(command: Sequence[str | Path], **options: Any) -> subprocess.Popen[Any]:
        started.append(subprocess.Popen([str(word) for word in command], **options))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                with contextlib.suppress(OSError):  # what nobody will read any more
                    pipe.close()


@pytest.fixture
def monet2photo() -> Path:
    """Real pictures in ``trainA`` and ``trainB``; a skip where they are not."""
    if not MONET2PHOTO.is_dir():
        pytest.skip(f"needs {MONET2PHOTO}")
    return MONET2PHOTO


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
        # Lazily: a process that is just ending may still hold it for a moment.
        subprocess.run(["umount", "--lazy", str(disk)], check=True)  # noqa: S607


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


@pytest.fixture(scope="session", name="parse_page")
def _parse_page() -> Callable[[Path], Page]:
    """A function that parses an HTML file."""
    return parse_page


@pytest.fixture(scope="session")
def _chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with open_chromium(tmp_path_factory.mktemp("chromium")) as browser:
        yield browser


@pytest.fixture
def browser(_chromium: Browser) -> Browser:
    """Headless Chromium with a mouse, in a light window of 1280 by 900 pixels."""
    _chromium.set_scripts(enabled=True)
    _chromium.set_view(1280, 900)
    return _chromium
