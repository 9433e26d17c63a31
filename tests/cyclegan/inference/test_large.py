"""Large pictures in rows, against the same picture translated at once."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from impasto.cyclegan.inference import maps
from impasto.cyclegan.inference.large import LargePlan, scaled_rows
from impasto.cyclegan.inference.strips import Keep
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.networks import Generator, ResnetGenerator, UnetGenerator
from impasto.data.tensors import to_pictures, to_tensor

CPU = torch.device("cpu")
Pixels = NDArray[np.uint8]


def painter(norm: str, *, blocks: int = 2, noise: bool = False) -> ResnetGenerator:
    network = ResnetGenerator(
        channels=4,
        blocks=blocks,
        norm=norm,
        upsample="bilinear",
        noise=noise,
        base="kuwahara" if noise else "none",
        color_skip=True,
    )
    drawn = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point() and "sharpness" not in name:
                value.normal_(0, 0.3, generator=drawn)
                if name.endswith("running_var"):
                    value.abs_().add_(0.5)
    return network.eval()


def photograph(height: int, width: int) -> Pixels:
    """Return waves of many lengths, with noise: other means in other parts."""
    rows, columns = np.mgrid[:height, :width] / 97.0
    waves = np.stack([np.sin(rows * 5 + columns**2), np.cos(rows**2 * 3), np.sin(columns)], -1)
    drawn = np.random.default_rng(0).normal(0, 20, waves.shape)
    return np.clip(128 + 90 * waves + drawn, 0, 255).astype(np.uint8)


def in_rows(translator: Translator, picture: Pixels, plan: LargePlan) -> Pixels:
    made, translate = np.zeros_like(picture), translator.large()
    assert translate is not None
    expected_next = [0]

    def put(start: int, rows: Pixels) -> None:
        assert start == expected_next[0]
        made[start : start + len(rows)] = rows
        expected_next[0] += len(rows)

    assert translate.translate(
        lambda start, stop: picture[start:stop], put, picture.shape[:2], plan
    )
    assert expected_next[0] == len(picture)
    return made


@pytest.fixture(autouse=True)
def low_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let strips be of four rows, so that borders of strips are everywhere."""
    monkeypatch.setattr(maps, "_STRIP_BYTES", 1)
    monkeypatch.setattr(maps, "_LEAST_ROWS", 4)


@pytest.mark.parametrize("keep", ["all", "inner", "trunk"])
@pytest.mark.parametrize(("bend", "size"), [(0, (3, 1)), (0, (61, 50)), (3, (173, 70))])
@pytest.mark.parametrize("norm", ["instance", "layer", "batch"])
def test_rows_are_those_of_the_whole(
    tmp_path: Path, norm: str, bend: float, size: tuple[int, int], keep: Keep
) -> None:
    translator = Translator(painter(norm, noise=True), device=CPU, grid_bend_px=bend)
    picture = photograph(*size)
    plan = LargePlan(keep=keep, resident=2000, folder=tmp_path)
    made, (whole,) = in_rows(translator, picture, plan), translator.begin([picture])()
    assert whole.std() > 10
    difference = np.abs(made.astype(int) - whole)
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.005


@pytest.mark.parametrize("target", [(40, 30), (130, 91), (260, 200), (1, 1)])
def test_rows_are_scaled_as_the_whole_is(target: tuple[int, int]) -> None:
    picture = photograph(130, 91)
    whole = Image.fromarray(picture).resize(target[::-1], Image.Resampling.BICUBIC)

    def read(start: int, stop: int) -> Pixels:
        assert 0 <= start < stop <= 130
        return picture[start:stop]

    parts = [
        scaled_rows(read, (130, 91), target, start, min(start + 17, target[0]))
        for start in range(0, target[0], 17)
    ]
    assert np.abs(np.concatenate(parts).astype(int) - np.asarray(whole)).max() <= 1


def test_fast_is_exact_where_nothing_is_reduced(tmp_path: Path) -> None:
    translator = Translator(painter("instance"), device=CPU, grid_bend_px=3)
    picture = photograph(90, 120)
    plan = LargePlan(keep="none", resident=0, folder=tmp_path, fast_px=120)
    made, (whole,) = in_rows(translator, picture, plan), translator.begin([picture])()
    assert np.abs(made.astype(int) - whole).max() <= 1


def normalized_as(network: ResnetGenerator, reduced: Pixels, picture: Pixels) -> Pixels:
    """Translate by the network's own layers, with means and variances of the reduced picture."""
    found: list[tuple[torch.Tensor, torch.Tensor]] = []
    taken = iter(found)

    def note(_layer: nn.Module, inputs: tuple[torch.Tensor], _made: torch.Tensor) -> None:
        found.append(
            (
                inputs[0].mean((2, 3), keepdim=True),
                inputs[0].var((2, 3), correction=0, keepdim=True),
            )
        )

    def take(_layer: nn.Module, inputs: tuple[torch.Tensor], _made: torch.Tensor) -> torch.Tensor:
        mean, variance = next(taken)
        return (inputs[0] - mean) / (variance + 1e-5).sqrt()

    layers = [layer for layer in network.modules() if isinstance(layer, nn.InstanceNorm2d)]

    def apply(hook: Callable[..., object], rgb: Pixels) -> torch.Tensor:
        hooks = [layer.register_forward_hook(hook) for layer in layers]
        with torch.no_grad():
            made = network(to_tensor(rgb)[None])
        for one in hooks:
            one.remove()
        assert isinstance(made, torch.Tensor)
        return made

    apply(note, reduced)
    return to_pictures(apply(take, picture))[0]


def test_fast_takes_the_statistics_of_a_reduced_picture(tmp_path: Path) -> None:
    network = painter("instance")
    translator = Translator(network, device=CPU)
    picture = photograph(160, 120)
    plan = LargePlan(keep="none", resident=0, folder=tmp_path, fast_px=80)
    made = in_rows(translator, picture, plan)
    reduced = np.asarray(Image.fromarray(picture).resize((60, 80), Image.Resampling.BICUBIC))
    expected = normalized_as(network, reduced, picture).astype(int)
    assert np.abs(made - expected).max() <= 2
    (whole,) = translator.begin([picture])()
    assert np.abs(whole - expected).max() > 10


def test_fast_is_exact_where_statistics_are_in_the_model(tmp_path: Path) -> None:
    translator, picture = Translator(painter("batch"), device=CPU), photograph(160, 120)
    plan = LargePlan(keep="none", resident=0, folder=tmp_path)
    made, (whole,) = in_rows(translator, picture, plan), translator.begin([picture])()
    assert np.abs(made.astype(int) - whole).max() <= 1


def test_no_period_of_strips_is_in_the_spectrum(tmp_path: Path) -> None:
    """Where borders of strips showed, lines would stand at multiples of 1/4, 1/8 or 1/64."""
    translator = Translator(painter("layer"), device=CPU)
    noise = np.random.default_rng(0).integers(0, 256, (512, 64, 3), np.uint8)
    plan = LargePlan(keep="trunk", resident=1000, folder=tmp_path)
    made, (whole,) = in_rows(translator, noise, plan), translator.begin([noise])()

    def power(picture: Pixels) -> NDArray[np.float64]:
        lines = picture.astype(np.float64).mean(axis=(1, 2))
        return np.abs(np.fft.rfft(lines - lines.mean())) ** 2

    # What the network itself does every four pixels is in both; rounding adds next to nothing.
    for period in (4, 8, 16, 64):
        places = np.arange(512 // period, 257, 512 // period)
        assert power(made)[places] == pytest.approx(power(whole)[places], rel=0.05, abs=5)
    seams = made.copy()
    seams[::64] = np.clip(seams[::64].astype(int) + 2, 0, 255)
    assert power(seams)[8] - power(whole)[8] > 5  # two levels at each border would be seen


def test_what_cannot_be_computed_in_rows_is_none() -> None:
    unet: Generator = UnetGenerator(downs=3, channels=2)
    assert Translator(unet, device=CPU).large() is None
    assert Translator(painter("layer"), device=CPU, mixed_precision="bf16").large() is None


def test_values_that_are_no_numbers_are_found(tmp_path: Path) -> None:
    network = painter("layer")
    first = network.model[1]
    assert isinstance(first, nn.Conv2d)
    with torch.no_grad():
        first.weight[0, 0, 0, 0] = torch.nan
    translate = Translator(network, device=CPU).large()
    assert translate is not None
    picture = photograph(40, 40)
    plan = LargePlan(keep="inner", resident=10**6, folder=tmp_path)
    finite = translate.translate(
        lambda start, stop: picture[start:stop], lambda _start, _rows: None, (40, 40), plan
    )
    assert not finite
