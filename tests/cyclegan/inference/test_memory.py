"""What translating takes, against counting by hand and against real runs."""

import subprocess
import sys
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest
import torch
from torch import Tensor, nn

from impasto.cyclegan.inference import memory
from impasto.cyclegan.inference.memory import TranslationMemory
from impasto.cyclegan.networks import Generator, ResnetGenerator

CPU = torch.device("cpu")
GB = 10**9


class Three(Generator):
    """Convolutions to 10 channels, to 20, and back to 3."""

    stride, smallest = 1, 1

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 10, 1), nn.Conv2d(10, 20, 1), nn.Conv2d(20, 3, 1))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)  # type: ignore[no-any-return]


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int | None]:
    """What is free, by kind of device, to be changed."""
    there: dict[str, int | None] = {"cpu": GB}
    monkeypatch.setattr(memory, "free_memory", lambda device: there[device.type])
    return there


def test_the_layer_that_needs_most_counts() -> None:
    # At the second convolution there are the 3 channels that came in, 10 before it and 20 behind
    # it, and the latter two once more in the order of the library.
    counted = memory.activation_bytes(Three(), CPU)
    assert counted == 4 * (3 + 10 + 20 + 10 + 20)


@pytest.mark.usefixtures("free")
def test_pixels_decide_not_the_shape() -> None:
    estimate = TranslationMemory(Three(), device=CPU)
    assert estimate.bytes(1000, 1000) == estimate.bytes(500, 2000)
    expected = 10**6 * (1.1 * 4 * 63 + 16 + 32) + 2 * 4 * (30 + 10 + 200 + 20 + 60 + 3)
    assert estimate.bytes(1000, 1000) == pytest.approx(expected)


@pytest.mark.usefixtures("free")
def test_scaling_down_needs_less_but_for_decoding() -> None:
    whole = TranslationMemory(Three(), device=CPU).bytes(2000, 1000)
    quarter = TranslationMemory(Three(), device=CPU, long_side=1000).bytes(2000, 1000)
    assert quarter == pytest.approx((whole - 2 * 10**6 * 16) / 4 + 2 * 10**6 * 16, rel=1e-4)
    strokes = TranslationMemory(Three(), device=CPU, stroke_scale=2).bytes(2000, 1000)
    assert strokes == pytest.approx(whole - 0.75 * 2 * 10**6 * 1.1 * 4 * 63, rel=1e-4)
    # With strokes for 500 pixels, this is what a factor of 2 takes, and a small picture all of it.
    fitted = TranslationMemory(Three(), device=CPU, strokes_at_px=500)
    assert fitted.bytes(2000, 1000) == pytest.approx(strokes, rel=1e-6)
    assert fitted.bytes(600, 500) == TranslationMemory(Three(), device=CPU).bytes(600, 500)
    reduced = TranslationMemory(Three(), device=CPU, strokes_at_px=500, long_side=1000)
    assert reduced.bytes(2000, 1000) == quarter  # of 500 by 1000 pixels, nothing is to be larger
    assert TranslationMemory(Three(), device=CPU, short=True).bytes(2000, 1000) < whole
    assert TranslationMemory(Three(), device=CPU, bends=True).bytes(2000, 1000) > whole


def test_what_does_not_fit_is_refused_with_the_side_that_does(
    free: dict[str, int | None],
) -> None:
    estimate = TranslationMemory(Three(), device=CPU)
    side = next(side for side in range(4000, 0, -10) if estimate.bytes(side, side) <= GB)
    assert estimate.refusal(side, side) is None
    refused = estimate.refusal(side + 10, side + 10)
    assert refused is not None
    assert refused.startswith(f"{side + 10} x {side + 10} pixels need about 1.0 GB of memory, and")
    # Scaled down, it still has to be decoded, so the side is smaller than what fits as it is.
    assert 0 < int(refused.rpartition(" ")[2]) <= side
    free["cpu"] = 1000
    assert "this machine has too little" in str(estimate.refusal(side, side))
    free["cpu"] = None
    assert estimate.refusal(10**5, 10**5) is None


@pytest.mark.usefixtures("free")
def test_large_is_what_takes_a_quarter() -> None:
    estimate = TranslationMemory(Three(), device=CPU)
    sides = [side for side in range(100, 2000, 10) if not estimate.is_large(side, side)]
    assert estimate.bytes(sides[-1], sides[-1]) <= GB / 4
    assert estimate.bytes(sides[-1] + 10, sides[-1] + 10) > GB / 4
    assert estimate.batch_pixels == int(GB / 4 / (1.1 * 4 * 63))
    # Where many threads decode at once, each has less.
    shared = TranslationMemory(Three(), device=CPU, threads=16, long_side=10)
    assert shared.is_large(2000, 1000)
    assert not TranslationMemory(Three(), device=CPU, long_side=10).is_large(2000, 1000)


def test_a_gpu_has_memory_of_its_own(free: dict[str, int | None]) -> None:
    estimate = TranslationMemory(Three(), device=CPU)
    estimate._device = torch.device("cuda")
    free["cuda"] = 10**6
    assert "1 MB are free" in str(estimate.refusal(1000, 1000))
    free |= {"cuda": GB, "cpu": 10**6}
    assert "48 MB of memory, and 1 MB are free" in str(estimate.refusal(1000, 1000))


def small_resnet(norm: str = "instance") -> ResnetGenerator:
    return ResnetGenerator(channels=8, blocks=2, norm=norm).eval()


def test_what_does_not_fit_at_once_is_translated_in_rows(
    tmp_path: Path, free: dict[str, int | None]
) -> None:
    estimate = TranslationMemory(small_resnet(), device=CPU, folder=tmp_path)
    free["cpu"] = 10**10
    assert estimate.plan(4000, 4000) is None  # 16 megapixels, with 8 values of 4 bytes in each
    free["cpu"] = 12 * 10**8
    plan = estimate.plan(4000, 4000)
    assert plan is not None
    assert estimate.refusal(4000, 4000) is None
    assert plan.fast_px is None
    # What is left of 85 % of it for 32, 16, or 8 bytes a pixel decides what is kept.
    assert plan.resident * 4 < 0.85 * 12 * 10**8 - 16 * 10**6 * 7
    kept = {"all": 32, "inner": 16, "trunk": 8}
    fitting = [keep for keep, count in kept.items() if 16.1e6 * count <= plan.resident * 4]
    assert plan.keep == (fitting[0] if fitting else "trunk")
    free["cpu"] = 3 * 10**8
    refused = estimate.refusal(4000, 4000)
    assert refused is not None
    assert "even in rows" in refused
    assert estimate.plan(4000, 4000) is None
    fast = TranslationMemory(small_resnet(), device=CPU, folder=tmp_path, fast=True)
    free["cpu"] = 7 * 10**8
    plan = fast.plan(4000, 4000)
    assert plan is not None
    assert plan.fast_px == 1024
    assert fast.file_bytes(4000, 4000, plan) == 0
    exact = estimate.plan(4000, 4000)
    assert exact is not None
    assert estimate.file_bytes(4000, 4000, exact) == max(0, 4 * (8 * 4000**2 // 4 - exact.resident))


def test_a_file_is_used_where_the_system_keeps_it_in_memory(
    tmp_path: Path, free: dict[str, int | None]
) -> None:
    """Within a limit; where memory itself is short, computing again takes less than a disk."""
    own = int(psutil.Process().memory_info().rss)
    limited = TranslationMemory(small_resnet(), device=CPU, folder=tmp_path, limit=own + 5 * 10**8)
    kept = []
    for there in (10**10, 5 * 10**8):
        free["cpu"] = there
        plan = limited.plan(4000, 4000)
        assert plan is not None
        kept.append(plan.keep)
        on_disk = (16 if plan.keep == "inner" else 8) * 4000**2
        assert limited.file_bytes(4000, 4000, plan) == pytest.approx(
            max(0, on_disk - 4 * plan.resident), abs=10**6
        )
    assert kept == ["inner", "trunk"]


@pytest.mark.usefixtures("free")
def test_batch_normalization_needs_one_pass_and_keeps_nothing(tmp_path: Path) -> None:
    estimate = TranslationMemory(small_resnet("batch"), device=CPU, folder=tmp_path)
    plan = estimate.plan(5000, 4000)
    assert plan is not None
    assert plan.keep == "none"
    assert estimate.file_bytes(5000, 4000, plan) == 0


def test_a_limit_is_for_the_whole_process(free: dict[str, int | None]) -> None:
    own = int(psutil.Process().memory_info().rss)
    free["cpu"] = 10**12
    limited = TranslationMemory(small_resnet(), device=CPU, limit=own + 10**9)
    assert limited._free()[1] == pytest.approx(10**9, abs=5 * 10**7)
    free["cpu"] = 10**7  # a limit does not make more of it than there is
    assert limited._free()[1] == 10**7
    small = TranslationMemory(small_resnet(), device=CPU, limit=1)
    assert small.refusal(1000, 1000) is not None


@pytest.mark.usefixtures("free")
def test_what_has_no_rows_is_refused_and_why_is_said(tmp_path: Path) -> None:
    estimate = TranslationMemory(Three(), device=CPU, folder=tmp_path)
    assert estimate.plan(9000, 9000) is None
    assert "such as a U-Net, have no rows" in str(estimate.refusal(9000, 9000))
    short = TranslationMemory(small_resnet(), device=CPU, folder=tmp_path, short=True)
    assert "--mixed_precision no" in str(short.refusal(9000, 9000))


_REAL = """
import sys
import torch
from impasto.cyclegan import GeneratorArchitecture
from impasto.cyclegan.inference.memory import TranslationMemory
from impasto.cyclegan.inference.translator import Translator
from impasto.runs.memory import peak_memory_mib

device = torch.device("cpu")
kind, depth = sys.argv[1:]
network = GeneratorArchitecture(kind=kind, depth=int(depth), channels=24).build()
translator = Translator(network, device=device)
translator(torch.zeros(1, 3, 256, 256))
estimate = TranslationMemory(network, device=device).bytes(1280, 1280)
before = peak_memory_mib(device)
translator(torch.zeros(1, 3, 1280, 1280))
print(estimate / 2**20, peak_memory_mib(device) - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "depth"), [("resnet", 2), ("unet", 7)])
def test_real_runs_take_about_that(kind: str, depth: int) -> None:
    ran = subprocess.run(
        [sys.executable, "-c", _REAL, kind, str(depth)], capture_output=True, text=True, check=True
    )
    estimate, peak = map(float, ran.stdout.split())
    # From a peak that is reached already by a smaller picture, so the real one is a little larger.
    assert 0.9 < estimate / peak < 2
