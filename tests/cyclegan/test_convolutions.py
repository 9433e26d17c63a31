from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from impasto.cyclegan.build import build_trainer
from impasto.cyclegan.convolutions import (
    Conv2d,
    economize,
    tap_convolution,
    winograd_convolution,
)
from impasto.data.datasets import UnpairedBatch
from impasto.options.fields import make
from impasto.options.train import TrainOptions
from impasto.runs.processes import make_accelerator

Convolve = Callable[..., Tensor]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()


SIZES = [  # pictures, inputs, outputs, height and width; filter
    (winograd_convolution, (1, 2, 3, 6, 10), (3, 3)),  # whole tiles
    (winograd_convolution, (2, 3, 2, 5, 12), (3, 3)),  # tiles that lie partly outside
    (winograd_convolution, (1, 1, 1, 3, 3), (3, 3)),
    (tap_convolution, (2, 3, 2, 9, 8), (7, 7)),
    (tap_convolution, (1, 2, 3, 7, 7), (7, 7)),
    (tap_convolution, (2, 2, 1, 6, 9), (3, 5)),
]


@pytest.mark.parametrize(("convolve", "size", "side"), SIZES)
@pytest.mark.parametrize("biased", [True, False])
def test_is_the_convolution(
    convolve: Convolve, size: tuple[int, ...], side: tuple[int, int], biased: bool
) -> None:
    pictures, inputs, outputs, height, width = size
    x, weight = noise(pictures, inputs, height, width), noise(outputs, inputs, *side, seed=1)
    bias = noise(outputs, seed=2) if biased else None
    found, expected = convolve(x, weight, bias), functional.conv2d(x, weight, bias)
    assert found.is_contiguous()
    assert torch.allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("convolve", "size", "side"), SIZES)
def test_gradients(convolve: Convolve, size: tuple[int, ...], side: tuple[int, int]) -> None:
    pictures, inputs, outputs, height, width = size
    x, weight = noise(pictures, inputs, height, width), noise(outputs, inputs, *side, seed=1)
    assert torch.autograd.gradcheck(convolve, (x, weight, noise(outputs, seed=2)))
    # One without the other, as where the input is a picture or the weights are frozen.
    assert torch.autograd.gradcheck(lambda given: convolve(given, weight.detach(), None), (x,))
    assert torch.autograd.gradcheck(lambda given: convolve(x.detach(), given, None), (weight,))


@pytest.mark.parametrize("convolve", [winograd_convolution, tap_convolution])
def test_many_parts_are_one(convolve: Convolve) -> None:
    # More channels, and more rows, than are computed at once.
    x, weight = noise(2, 40, 92, 80), noise(3, 40, 3, 3, seed=1)
    expected = functional.conv2d(x, weight)
    found = convolve(x, weight, None)
    assert torch.allclose(found, expected, rtol=0, atol=1e-10)
    upstream = noise(*expected.shape, seed=2)
    for mine, theirs in zip(
        torch.autograd.grad(found, (x, weight), upstream),
        torch.autograd.grad(expected, (x, weight), upstream),
        strict=True,
    ):
        assert torch.allclose(mine, theirs, rtol=0, atol=1e-9)


@pytest.mark.parametrize(
    ("convolve", "outputs", "side"), [(winograd_convolution, 192, 3), (tap_convolution, 3, 7)]
)
def test_rounding_stays_within_its_bound(convolve: Convolve, outputs: int, side: int) -> None:
    x, weight = noise(1, 192, 34, 34), noise(outputs, 192, side, side, seed=1)
    exact = functional.conv2d(x, weight)
    upstream = noise(*exact.shape, seed=2)
    wanted = [exact, *torch.autograd.grad(exact, (x, weight), upstream)]
    short = [given.detach().float().requires_grad_() for given in (x, weight)]
    made = convolve(*short, None)
    found = [made, *torch.autograd.grad(made, short, upstream.float())]
    for mine, true in zip(found, wanted, strict=True):
        assert (mine.double() - true).abs().max() < 2e-5 * true.abs().max()


def layer(inputs: int = 192, outputs: int = 192, side: int = 3, **further: Any) -> Conv2d:
    made = Conv2d(inputs, outputs, side, **further)
    economize(made)
    return made


def direct(layer: Conv2d, x: Tensor) -> Tensor:
    return functional.conv2d(
        x, layer.weight, layer.bias, layer.stride, layer.padding, layer.dilation, layer.groups
    )


@pytest.mark.parametrize(("inputs", "outputs", "side"), [(192, 192, 3), (32, 3, 7)])
def test_multiplies_less_only_while_it_trains(inputs: int, outputs: int, side: int) -> None:
    x = noise(1, inputs, 34, 34, dtype=torch.float32)
    made = layer(inputs, outputs, side)
    exact = direct(made, x)
    assert not torch.equal(made(x), exact)
    assert torch.allclose(made(x), exact, rtol=0, atol=1e-4)
    with torch.no_grad():
        assert torch.equal(made(x), exact)
    made.economical = False
    assert torch.equal(made(x), exact)


@pytest.mark.parametrize(
    "made",
    [
        layer(188),
        layer(outputs=188),
        layer(padding=1),
        layer(stride=2),
        layer(dilation=2),
        layer(384, 384, groups=2),
        layer(side=5),
        layer(31, 3, 7),
        layer(32, 5, 7),
    ],
)
def test_others_are_the_librarys(made: Conv2d) -> None:
    x = noise(1, made.in_channels, 34, 34, dtype=torch.float32)
    assert torch.equal(made(x), direct(made, x))


def test_small_maps_and_other_types_are_the_librarys() -> None:
    made = layer()
    small = noise(1, 192, 33, 30, dtype=torch.float32)  # 8 x 7 tiles
    assert torch.equal(made(small), direct(made, small))
    with torch.autocast("cpu", torch.bfloat16):
        x = noise(1, 192, 34, 34, dtype=torch.float32)
        assert torch.equal(made(x), direct(made, x))
    double, x = made.double(), noise(1, 192, 34, 34)
    assert torch.equal(double(x), direct(double, x))


@pytest.mark.parametrize(("given", "economical"), [({}, False), ({"convolution": "auto"}, True)])
def test_another_arithmetic_has_to_be_asked_for(given: dict[str, str], economical: bool) -> None:
    """Or a run that was begun before there was the option would go on with another one."""
    options = make(TrainOptions, {"netG": "resnet_6blocks", "ngf": 2, "ndf": 2, **given})
    networks = build_trainer(options, make_accelerator("cpu", "no")).networks
    ways = {
        module.economical
        for network in networks.values()
        for module in network.modules()
        if isinstance(module, Conv2d)
    }
    assert ways == {economical}


def generator_gradients(
    way: str, batch: UnpairedBatch, dtype: torch.dtype
) -> tuple[dict[str, float], Tensor]:
    """Give the losses of a first step, and the gradient of all weights of G_A."""
    given = {"convolution": way, "netG": "resnet_6blocks", "ngf": 48, "ndf": 8}
    options = make(TrainOptions, {**given, "crop_size": 96, "load_size": 96})
    trainer = build_trainer(options, make_accelerator("cpu", "no"))
    for network in trainer.networks.values():
        network.to(dtype)
    batch = UnpairedBatch(A=batch.A.to(dtype), B=batch.B.to(dtype))
    losses = trainer.generator_losses(batch, trainer.translate(batch))
    weights = [each for each in trainer.networks["G_A"].parameters() if each.dim() == 4]
    gradients = torch.autograd.grad(torch.stack(list(losses.values())).sum(), weights)
    flat = torch.cat([gradient.flatten().double() for gradient in gradients])
    return {name: loss.item() for name, loss in losses.items()}, flat


@pytest.mark.slow
def test_gradients_of_a_training_are_as_good_as_the_librarys() -> None:
    A, B = noise(2, 1, 3, 96, 96).detach().clamp(-1, 1)
    batch = UnpairedBatch(A=A, B=B)
    losses, exact = generator_gradients("direct", batch, torch.float64)
    errors = {}
    for way in ("direct", "auto"):
        found, gradient = generator_gradients(way, batch, torch.float32)
        assert found == pytest.approx(losses, rel=2e-5)
        errors[way] = float((gradient - exact).norm() / exact.norm())
    # Of float32, too, some pixels of the absolute losses come out on the other side of 0.
    assert errors["direct"] < 0.02
    assert errors["auto"] < 0.03
    assert errors["auto"] != errors["direct"]  # it was another arithmetic
