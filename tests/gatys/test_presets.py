"""Each preset's weights against the source's own loss, spelled here in NumPy."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from impasto.gatys.losses.objective import Objective, TotalVariation
from impasto.gatys.losses.statistics import Gaussian, Gram, Statistic
from impasto.gatys.losses.targets import Content, Region, Style, StylePicture, feature_losses
from impasto.gatys.presets import (
    PRESETS,
    Preset,
    caffe_scale,
    content_from_half_sum,
    find_preset,
    gram_from_mean_square,
    variation_from_sum,
)

Array = NDArray[np.float64]
Layers = Mapping[str, Array]
CHANNELS = {"1": 64, "2": 128, "3": 256, "4": 512, "5": 512}
GATYS = ["relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu5_1"]


class Net:
    """VGG's channels over averaged pixels, normalized as ImageNet's, without biases.

    Its features are in proportion to ``gain``, which stands for another scale of input.
    """

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain

    def __call__(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        mean = torch.tensor([0.485, 0.456, 0.406], dtype=image.dtype).view(1, 3, 1, 1)
        deviation = torch.tensor([0.229, 0.224, 0.225], dtype=image.dtype).view(1, 3, 1, 1)
        normal = (image - mean) / deviation * self.gain
        found = {}
        for layer in layers:
            # relu4_2 of a picture of 512 x 512 is 64 x 64; the others need not be that large here.
            pooled = functional.avg_pool2d(normal, 8 if layer == "relu4_2" else 64)
            generator = torch.Generator().manual_seed(int(layer[4]) * 10 + int(layer[6]))
            kernel = torch.randn(CHANNELS[layer[4]], 3, 1, 1, generator=generator).to(image)
            found[layer] = functional.relu(functional.conv2d(pooled, kernel))
        return found

    def numpy(self, image: Tensor, layers: Sequence[str]) -> dict[str, Array]:
        return {name: found[0].numpy() for name, found in self(image, layers).items()}


def picture(seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 64, 64, generator=generator, dtype=torch.float64)
    fine = torch.rand(1, 3, 512, 512, generator=generator, dtype=torch.float64)
    return (functional.interpolate(coarse, scale_factor=8) + fine) / 2


CONTENT, STYLE, IMAGE = picture(0), picture(1), picture(2)


def ours(preset: Preset, net: Net) -> dict[str, Tensor]:
    statistic: Statistic[Any] = Gram()
    if preset.statistic == "gaussian":
        statistic = Gaussian(iterations=preset.root_iterations)
    style = Style(
        regions=[Region(styles=[StylePicture(picture=STYLE)])],
        layers=preset.style_layers,
        weight=preset.style_weight,
        statistic=statistic,
    )
    content = Content(picture=CONTENT, layers=preset.content_layers, weight=preset.content_weight)
    variation = TotalVariation(weight=preset.variation, kind=preset.variation_kind)
    compared = feature_losses(net, content=content, style=style)
    return Objective(net, {**compared, "variation": variation})(IMAGE)


def for_input(preset: Preset, scale: float) -> Preset:
    """The preset for a network whose input is `scale` times ours."""
    power = 4 if preset.statistic == "gram" else 2
    return replace(
        preset,
        input_scale=preset.input_scale / scale,
        content_weight=preset.content_weight / scale**2,
        style_weight=preset.style_weight / scale**power,
    )


def gram(features: Array) -> Array:
    flat = features.reshape(len(features), -1)
    return flat @ flat.T


def sizes(features: Array) -> tuple[int, int]:
    return features.shape[0], features.shape[1] * features.shape[2]


def gatys2016(f: Layers, p: Layers, a: Layers) -> tuple[float, float, float]:
    content = 0.5 * np.sum((f["relu4_2"] - p["relu4_2"]) ** 2)
    style = 0.0
    for layer in GATYS:
        n, m = sizes(f[layer])
        squares = float(np.sum((gram(f[layer]) - gram(a[layer])) ** 2))
        style += 0.2 * squares / (4 * n**2 * m**2)
    alpha, beta = 1.0, 1e3
    return alpha * content, beta * style, 0.0


def leongatys(f: Layers, p: Layers, a: Layers) -> tuple[float, float, float]:
    style = 0.0
    for layer, n in zip(GATYS, [64, 128, 256, 512, 512], strict=True):
        _, m = sizes(f[layer])
        style += 1e3 / n**2 * float(np.mean((gram(f[layer]) / m - gram(a[layer]) / m) ** 2))
    return float(np.mean((f["relu4_2"] - p["relu4_2"]) ** 2)), style, 0.0


def tutorial(f: Layers, p: Layers, a: Layers) -> tuple[float, float, float]:
    style = 0.0
    for layer in ["conv1_1", "conv1_2", "conv2_1", "conv2_2", "conv3_1"]:
        size = f[layer].size
        style += float(np.mean((gram(f[layer]) / size - gram(a[layer]) / size) ** 2))
    return float(np.mean((f["conv3_1"] - p["conv3_1"]) ** 2)), 1e7 * style, 0.0


def neural_style(f: Layers, p: Layers, a: Layers) -> tuple[float, float, float]:
    style = 0.0
    for layer in GATYS:
        size = f[layer].size
        style += 1e2 * float(np.mean((gram(f[layer]) / size - gram(a[layer]) / size) ** 2))
    x = IMAGE[0].numpy() * 256
    variation = np.abs(x[:, 1:] - x[:, :-1]).sum() + np.abs(x[:, :, 1:] - x[:, :, :-1]).sum()
    content = 5 * np.mean((f["relu4_2"] - p["relu4_2"]) ** 2)
    return float(content), style, 1e-3 * float(variation)


def crowsonkb(f: Layers, p: Layers, a: Layers) -> tuple[float, float, float]:
    style = 0.0
    for layer, weight in zip(GATYS, [256, 64, 16, 4, 1], strict=True):
        x, y = (v[layer].reshape(len(v[layer]), -1) for v in (f, a))
        s, t = (np.cov(v, ddof=0) + 1e-4 * np.eye(len(v)) for v in (x, y))
        root = scipy.linalg.sqrtm(t)
        cross = np.real(scipy.linalg.sqrtm(root @ s @ root))
        means = np.mean((x.mean(axis=1) - y.mean(axis=1)) ** 2)
        style += weight / 341 * float(means + np.mean(np.diag(s + t - 2 * cross)))
    x = np.pad(IMAGE[0].numpy(), ((0, 0), (1, 1), (1, 1)), mode="edge")
    middle = x[:, 1:-1, 1:-1]
    straight = np.mean((x[:, 1:-1, 2:] - middle) ** 2) + np.mean((x[:, 2:, 1:-1] - middle) ** 2)
    diagonal = np.mean((x[:, 1:, 1:] - x[:, :-1, :-1]) ** 2)
    diagonal += np.mean((x[:, 1:, :-1] - x[:, :-1, 1:]) ** 2)
    content = 0.015 * np.mean((f["relu4_2"] - p["relu4_2"]) ** 2)
    return float(content), style, 2 * 2 * float(straight / 3 + diagonal / 12)


def adam_5000(f: Layers, p: Layers, a: Layers) -> tuple[float, float, float]:
    _, style, _ = gatys2016(f, p, a)
    return 0.01 * float(np.mean((f["relu4_2"] - p["relu4_2"]) ** 2)), 5 * style / 1e3, 0.0


def adam_lr5(f: Layers, p: Layers, a: Layers) -> tuple[float, float, float]:
    style = 0.0
    for layer in GATYS:
        _, m = sizes(f[layer])
        style += float(np.mean((gram(f[layer]) / m - gram(a[layer]) / m) ** 2)) / 5
    return 1e5 * float(np.mean((f["relu5_2"] - p["relu5_2"]) ** 2)), 1e2 * style, 0.0


Spelling = Callable[[Layers, Layers, Layers], tuple[float, float, float]]
SOURCES: Mapping[str, tuple[Spelling, float]] = MappingProxyType(
    {
        # The white of the network's input, where it is not normalized as ours.
        "gatys2016": (gatys2016, 0),
        "leongatys": (leongatys, 255),
        "tutorial": (tutorial, 0),
        "neural_style": (neural_style, 256),
        "crowsonkb": (crowsonkb, 0),
        "adam_5000": (adam_5000, 0),
        "adam_lr5": (adam_lr5, 255),
    }
)


@pytest.mark.parametrize("name", SOURCES)
def test_converted_weights_give_the_loss_of_the_source(name: str) -> None:
    preset = find_preset(name)
    spelling, white = SOURCES[name]
    gain = white * (0.229 + 0.224 + 0.225) / 3 if white else 1.0
    source = Net(gain)
    layers = [*preset.style_layers, *preset.content_layers]
    found = (source.numpy(one, layers) for one in (IMAGE, CONTENT, STYLE))
    content, style, variation = spelling(*found)
    if preset.statistic == "gaussian":
        assert preset.root_iterations == 12
        preset = Preset(**{**vars(preset), "root_iterations": None})  # as scipy: exact
    for terms in (ours(preset, Net()), ours(for_input(preset, preset.input_scale), source)):
        assert terms["content"].item() == pytest.approx(content, rel=1e-9)
        assert terms["style"].item() == pytest.approx(style, rel=1e-6)
        assert terms["variation"].item() == pytest.approx(variation, rel=1e-9)


def test_every_preset_is_compared() -> None:
    assert set(SOURCES) == set(PRESETS)


@pytest.mark.parametrize("preset", PRESETS.values(), ids=lambda preset: preset.name)
def test_presets_are_whole(preset: Preset) -> None:
    assert sum(preset.content_layers.values()) == pytest.approx(1)
    assert sum(preset.style_layers.values()) == pytest.approx(1)
    assert len(preset.sizes) == len(preset.iterations)
    assert (preset.input_scale > 50) == (preset.network == "vgg19_caffe")
    assert preset.source


def test_facts() -> None:
    leon, crowson, tutorial = (find_preset(n) for n in ("leongatys", "crowsonkb", "tutorial"))
    assert leon.style_layers["relu1_1"] / leon.style_layers["relu5_1"] == pytest.approx(8**2)
    assert list(crowson.style_layers.values()) == pytest.approx(
        [0.7507, 0.1877, 0.0469, 0.0117, 0.0029], abs=5e-5
    )
    assert sum(crowson.iterations) == 3000
    # conv_5 of the tutorial, which counts convolutions, is the first of the third block.
    assert list(tutorial.content_layers) == ["conv3_1"]
    assert tutorial.pooling == "average"
    assert caffe_scale() == pytest.approx(57.6, abs=0.05)


def test_conversions() -> None:
    assert content_from_half_sum(2.0, channels=3, positions=5) == 15
    style, layers = gram_from_mean_square({"a": 1.0, "b": 3.0})
    assert (style, layers) == (16, {"a": 0.25, "b": 0.75})
    style, layers = gram_from_mean_square({"a": 1.0, "b": 1.0}, channels={"a": 1, "b": 2})
    assert (style, layers) == (5, {"a": 0.8, "b": 0.2})
    # 3 channels, 4 rows and columns, 12 differences each way.
    assert variation_from_sum(1.0, height=4, width=4, white=1) == 36


def test_unknown_preset() -> None:
    with pytest.raises(ValueError, match=r"preset: expected one of gatys2016, .*, got 'gatys'"):
        find_preset("gatys")
