"""Tests."""

import itertools
import math
from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.networks import (
    PatchDiscriminator,
    PixelDiscriminator,
    ResnetGenerator,
    UnetGenerator,
    init_weights,
    receptive_field,
)

# reference/cyclegan.md, section 3.2.
BASIC = {
    "model.0": (64, 3, 4, 4),
    "model.2": (128, 64, 4, 4),
    "model.5": (256, 128, 4, 4),
    "model.8": (512, 256, 4, 4),
    "model.11": (1, 512, 4, 4),
}


def shapes(network: nn.Module) -> dict[str, tuple[int, ...]]:
    return {key: tuple(value.shape) for key, value in network.state_dict().items()}


def parameters(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def noise(*shape: int) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(1)) * 2 - 1


def test_basic_has_the_10_tensors_of_the_reference() -> None:
    with torch.device("meta"):
        network = PatchDiscriminator()
        scores = network(torch.empty(2, 3, 256, 256))
    expected: list[tuple[str, tuple[int, ...]]] = []
    for name, shape in BASIC.items():
        expected += [(f"{name}.weight", shape), (f"{name}.bias", shape[:1])]
    assert list(shapes(network).items()) == expected
    assert len(expected) == 10
    assert parameters(network) == 2_764_737
    assert scores.shape == (2, 1, 30, 30)


def test_first_and_last_layer_always_have_a_bias() -> None:
    for norm in ("instance", "batch", "none"):
        with torch.device("meta"):
            network = PatchDiscriminator(norm=norm)
        found = {
            name: module.bias is not None
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d)
        }
        middle = norm == "instance"
        assert list(found.values()) == [True, middle, middle, middle, True]


@pytest.mark.parametrize(
    ("layers", "widths", "patch", "side"),
    [
        (1, [64, 128, 1], 16, 126),
        (2, [64, 128, 256, 1], 34, 62),
        (3, [64, 128, 256, 512, 1], 70, 30),
        (4, [64, 128, 256, 512, 512, 1], 142, 14),
        (5, [64, 128, 256, 512, 512, 512, 1], 286, 6),
    ],
)
def test_depth(layers: int, widths: list[int], patch: int, side: int) -> None:
    with torch.device("meta"):
        network = PatchDiscriminator(layers=layers)
        assert network(torch.empty(1, 3, 256, 256)).shape == (1, 1, side, side)
    convolutions = [module for module in network.modules() if isinstance(module, nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == widths
    assert [module.stride[0] for module in convolutions] == [2] * layers + [1, 1]
    assert receptive_field(layers) == patch


@pytest.mark.parametrize(("layers", "patch"), [(1, 16), (2, 34), (3, 70), (4, 142), (5, 286)])
def test_receptive_field_measured_by_gradient(layers: int, patch: int) -> None:
    # Without normalization, which would let every pixel of a channel see all others.
    network = PatchDiscriminator(channels=1, layers=layers, norm="none").double()
    images = noise(1, 3, 4 * patch, 4 * patch).double().requires_grad_()
    scores = network(images)
    middle = scores.shape[2] // 2
    scores[0, 0, middle, middle].backward()
    assert images.grad is not None
    influence = images.grad[0].abs().sum(dim=0)
    rows, columns = (influence.sum(dim=dim).nonzero().flatten() for dim in (1, 0))
    for places in (rows, columns):
        assert places[-1] - places[0] + 1 == patch
    assert len(rows) == patch


def test_scores_equal_the_paper_written_in_functions() -> None:
    network = PatchDiscriminator(channels=4, layers=2)
    weights = network.state_dict()
    images = noise(2, 3, 32, 40)
    x = images
    for place, stride in ((0, 2), (2, 2), (5, 1)):
        x = F.conv2d(x, weights[f"model.{place}.weight"], weights[f"model.{place}.bias"], stride, 1)
        if place:
            mean = x.mean(dim=(2, 3), keepdim=True)
            x = (x - mean) / torch.sqrt(((x - mean) ** 2).mean(dim=(2, 3), keepdim=True) + 1e-5)
        x = torch.where(x > 0, x, 0.2 * x)
    expected = F.conv2d(x, weights["model.8.weight"], weights["model.8.bias"], 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(network(images), expected, rtol=1e-4, atol=1e-5)


def test_pixel_names_and_parameters() -> None:
    with torch.device("meta"):
        network = PixelDiscriminator()
    assert list(shapes(network).items()) == [
        ("net.0.weight", (64, 3, 1, 1)),
        ("net.0.bias", (64,)),
        ("net.2.weight", (128, 64, 1, 1)),
        ("net.2.bias", (128,)),
        ("net.5.weight", (1, 128, 1, 1)),
        ("net.5.bias", (1,)),
    ]
    with torch.device("meta"):
        # The reference gives even the last layer no bias then.
        assert "net.5.bias" not in PixelDiscriminator(norm="batch").state_dict()


def test_pixel_judges_every_pixel_alone() -> None:
    network = PixelDiscriminator(channels=4, norm="none")
    images = noise(1, 3, 7, 9)
    with torch.no_grad():
        before = network(images)
        images[0, :, 3, 4] += 0.5
        changed = (network(images) != before).nonzero().tolist()
    assert before.shape == (1, 1, 7, 9)
    assert changed == [[0, 0, 3, 4]]


def test_unknown_norm_is_refused() -> None:
    for make in (PatchDiscriminator, PixelDiscriminator):
        with pytest.raises(ValueError, match=r"norm: .*'group'"):
            make(channels=2, norm="group")


# reference/cyclegan.md, section 3.1: the layers that have weights, in order.
RESNET_9BLOCKS = {
    "model.1": (64, 3, 7, 7),
    "model.4": (128, 64, 3, 3),
    "model.7": (256, 128, 3, 3),
    "model.10.conv_block.1": (256, 256, 3, 3),
    "model.10.conv_block.5": (256, 256, 3, 3),
    "model.11.conv_block.1": (256, 256, 3, 3),
    "model.11.conv_block.5": (256, 256, 3, 3),
    "model.12.conv_block.1": (256, 256, 3, 3),
    "model.12.conv_block.5": (256, 256, 3, 3),
    "model.13.conv_block.1": (256, 256, 3, 3),
    "model.13.conv_block.5": (256, 256, 3, 3),
    "model.14.conv_block.1": (256, 256, 3, 3),
    "model.14.conv_block.5": (256, 256, 3, 3),
    "model.15.conv_block.1": (256, 256, 3, 3),
    "model.15.conv_block.5": (256, 256, 3, 3),
    "model.16.conv_block.1": (256, 256, 3, 3),
    "model.16.conv_block.5": (256, 256, 3, 3),
    "model.17.conv_block.1": (256, 256, 3, 3),
    "model.17.conv_block.5": (256, 256, 3, 3),
    "model.18.conv_block.1": (256, 256, 3, 3),
    "model.18.conv_block.5": (256, 256, 3, 3),
    "model.19": (256, 128, 3, 3),  # transposed: in, out
    "model.22": (128, 64, 3, 3),
    "model.26": (3, 64, 7, 7),
}
TRANSPOSED = {"model.19", "model.22"}


def generator_shapes(network: nn.Module) -> list[tuple[str, tuple[int, ...]]]:
    return [(key, tuple(value.shape)) for key, value in network.state_dict().items()]


def fill(network: nn.Module, *, seed: int = 0, scale: float = 1.0) -> None:
    """Weights of ordinary size, biases included: fresh ones make outputs that are nearly zero."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.ndim == 4:
                tensor.normal_(0, scale * tensor[0].numel() ** -0.5, generator=generator)
            elif tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5, generator=generator)


def uniform_noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def normalized(x: Tensor) -> Tensor:
    """Ulyanov et al. 2016, by hand: mean 0 and variance 1 in each channel of each picture."""
    mean = x.mean(dim=(2, 3), keepdim=True)
    variance = ((x - mean) ** 2).mean(dim=(2, 3), keepdim=True)
    return (x - mean) / torch.sqrt(variance + 1e-5)


def test_resnet_9blocks_has_the_48_tensors_of_the_reference() -> None:
    with torch.device("meta"):
        network = ResnetGenerator()
    expected = []
    for name, shape in RESNET_9BLOCKS.items():
        out = shape[1] if name in TRANSPOSED else shape[0]
        expected += [(f"{name}.weight", shape), (f"{name}.bias", (out,))]
    assert generator_shapes(network) == expected
    assert len(expected) == 48
    assert parameters(network) == 11_378_179


def test_resnet_6blocks() -> None:
    with torch.device("meta"):
        network = ResnetGenerator(blocks=6)
    names = [key for key, _ in generator_shapes(network)]
    layers = ["1", "4", "7", *(f"{i}.conv_block.{j}" for i in range(10, 16) for j in (1, 5))]
    layers += ["16", "19", "23"]
    assert names == [f"model.{layer}.{kind}" for layer in layers for kind in ("weight", "bias")]
    # Three blocks fewer, of two convolutions 256 -> 256 with biases.
    assert parameters(network) == 11_378_179 - 3 * 2 * (256 * 256 * 9 + 256)


@pytest.mark.parametrize("make", [ResnetGenerator, UnetGenerator])
def test_only_instance_norm_has_biases(make: type[ResnetGenerator | UnetGenerator]) -> None:
    for norm in ("instance", "batch", "none"):
        with torch.device("meta"):
            network = make(channels=4, norm=norm)
        biases = {
            name: module.bias is not None
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)
        }
        last = list(biases)[-1]
        assert biases.pop(last)
        assert set(biases.values()) == {norm == "instance"}


def test_batch_norm_tensors_appear_and_instance_norm_has_none() -> None:
    with torch.device("meta"):
        batch, instance, none = (
            ResnetGenerator(channels=4, blocks=1, norm=norm)
            for norm in ("batch", "instance", "none")
        )
    places = ["2", "5", "8", "10.conv_block.2", "10.conv_block.6", "12", "15"]
    kinds = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    wanted = {f"model.{place}.{kind}" for place in places for kind in kinds}
    keys, plain = set(batch.state_dict()), set(none.state_dict())
    assert keys - plain == wanted
    assert not wanted & set(instance.state_dict())


def test_dropout_moves_the_second_convolution() -> None:
    with torch.device("meta"):
        plain, dropping = (ResnetGenerator(dropout=dropout) for dropout in (False, True))
    moved = [key.replace("conv_block.5.", "conv_block.6.") for key in plain.state_dict()]
    assert list(dropping.state_dict()) == moved
    assert parameters(dropping) == parameters(plain)
    drops = {name: m.p for name, m in dropping.named_modules() if isinstance(m, nn.Dropout)}
    assert drops == {f"model.{block}.conv_block.4": 0.5 for block in range(10, 19)}


def resnet_by_hand(weights: Mapping[str, Tensor], x: Tensor, blocks: int, upsample: str) -> Tensor:
    """Zhu et al. 2017, appendix 7.2, in functions."""

    def conv(x: Tensor, name: str, pad: int, stride: int = 1) -> Tensor:
        if stride == 1:
            x = F.pad(x, (pad,) * 4, mode="reflect")
        return F.conv2d(
            x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride, pad if stride > 1 else 0
        )

    x = F.relu(normalized(conv(x, "model.1", 3)))
    for name in ("model.4", "model.7"):
        x = F.relu(normalized(conv(x, name, 1, stride=2)))
    for block in range(10, 10 + blocks):
        inner = F.relu(normalized(conv(x, f"model.{block}.conv_block.1", 1)))
        x = x + normalized(conv(inner, f"model.{block}.conv_block.5", 1))
    for place in (10 + blocks, 13 + blocks):
        name = f"model.{place}"
        if upsample == "resize":
            x = conv(x.repeat_interleave(2, 2).repeat_interleave(2, 3), name, 1)
        else:
            weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
            x = F.conv_transpose2d(x, weight, bias, 2, 1, output_padding=1)
        x = F.relu(normalized(x))
    return torch.tanh(conv(x, f"model.{17 + blocks}", 3))


@pytest.mark.parametrize("upsample", ["deconv", "resize"])
def test_resnet_equals_the_paper_written_in_functions(upsample: str) -> None:
    network = ResnetGenerator(channels=4, blocks=2, upsample=upsample)
    fill(network)
    images = uniform_noise(2, 3, 16, 24)
    with torch.no_grad():
        found = network(images)
    expected = resnet_by_hand(dict(network.state_dict()), images, 2, upsample)
    assert found.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("upsample", ["deconv", "resize", "bilinear"])
@pytest.mark.parametrize("size", [(8, 8), (12, 20), (36, 8)])
def test_resnet_keeps_sizes_that_are_multiples_of_4(size: tuple[int, int], upsample: str) -> None:
    network = ResnetGenerator(channels=4, blocks=1, upsample=upsample)
    with torch.no_grad():
        assert network(uniform_noise(2, 3, *size)).shape == (2, 3, *size)


def test_output_lies_between_minus_one_and_one() -> None:
    network = ResnetGenerator(channels=4, blocks=1)
    fill(network)
    with torch.no_grad():
        gentle = network(uniform_noise(1, 3, 32, 32))
        fill(network, scale=20)
        harsh = network(uniform_noise(1, 3, 32, 32))
    assert gentle.abs().max() < 1
    assert harsh.abs().max() <= 1
    assert harsh.abs().max() > 0.99
    assert harsh.min() < 0 < harsh.max()


def checkerboard(network: ResnetGenerator) -> float:
    """Amplitude of patterns with a period of 2 and 4 pixels in the answer to an even picture."""
    with torch.no_grad():
        answer = network.model[:-1](torch.full((1, 3, 128, 128), 0.5))
    spectrum = np.abs(np.fft.fft2(answer[0, :, 48:80, 48:80].numpy())).sum(axis=0)
    level = spectrum[0, 0]
    spectrum[0, 0] = 0
    # Of 32 places the frequencies 1/4, 1/2 and 3/4 stand at 8, 16 and 24.
    return float(spectrum[::8, ::8].max() / level)


def test_resizing_leaves_no_checkerboard_and_transposed_convolution_does() -> None:
    found = {}
    for upsample in ("deconv", "resize", "bilinear"):
        # Without normalization, which would turn an even picture into zeros.
        network = ResnetGenerator(channels=8, blocks=1, norm="none", upsample=upsample)
        init_weights(network, init_type="kaiming", generator=torch.Generator().manual_seed(0))
        found[upsample] = checkerboard(network)
    assert found["deconv"] > 0.1
    assert found["resize"] < 1e-5
    assert found["bilinear"] < 1e-5


def test_resizing_keeps_the_names_and_has_the_shape_of_a_convolution() -> None:
    with torch.device("meta"):
        deconv, resize = (ResnetGenerator(upsample=upsample) for upsample in ("deconv", "resize"))
    assert list(resize.state_dict()) == list(deconv.state_dict())
    expected = dict(generator_shapes(deconv))
    expected |= {"model.19.weight": (128, 256, 3, 3), "model.22.weight": (64, 128, 3, 3)}
    assert dict(generator_shapes(resize)) == expected


def test_interpolating_puts_its_convolutions_one_level_deeper() -> None:
    with torch.device("meta"):
        resnet, unet = (
            make(channels=4, upsample="bilinear") for make in (ResnetGenerator, UnetGenerator)
        )
    names = [key for key in resnet.state_dict() if key.endswith(".2.weight")]
    assert names == ["model.19.2.weight", "model.22.2.weight"]
    assert unet.state_dict()["model.model.3.2.weight"].shape == (3, 8, 3, 3)


def test_layer_norm_keeps_what_instance_norm_forgets() -> None:
    """The same pattern in other light: to instance norm they are one picture."""
    pattern = 0.2 * uniform_noise(1, 3, 16, 16)
    light = torch.tensor([0.8, -0.2, -0.6])[None, :, None, None]
    found = {}
    for norm in ("instance", "layer"):
        network = ResnetGenerator(channels=8, blocks=1, norm=norm)
        init_weights(network, init_type="kaiming", generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            found[norm] = (network(pattern + light) - network(pattern - light)).abs().mean()
    assert found["instance"] < 1e-3
    assert found["layer"] > 0.1


def unet_layers(downs: int) -> list[str]:
    """Names of the convolutions of a U-Net: down to the innermost, and up again."""
    levels = ["model.model.1" + ".model.3" * level for level in range(downs - 1)]
    down = ["model.model.0", *(f"{level}.model.1" for level in levels)]
    up = [f"{level}.model.5" for level in levels[:-1]]
    # The innermost level holds no other between its two convolutions, nor a normalization.
    return [*down, f"{levels[-1]}.model.3", *reversed(up), "model.model.3"]


@pytest.mark.parametrize(("downs", "expected"), [(8, 54_409_603), (7, 41_825_667)])
def test_unet_names_and_parameters(downs: int, expected: int) -> None:
    with torch.device("meta"):
        network = UnetGenerator(downs=downs)
    names = [f"{layer}.{kind}" for layer in unet_layers(downs) for kind in ("weight", "bias")]
    assert list(network.state_dict()) == names
    widths = [3, 64, 128, 256] + [512] * (downs - 3)
    down = sum(16 * a * b + b for a, b in itertools.pairwise(widths))
    innermost = 16 * 512 * 512 + 512
    up = sum(16 * 2 * b * a + a for a, b in itertools.pairwise(widths[:-1]))
    assert parameters(network) == down + innermost + up == expected
    assert network.state_dict()["model.model.3.weight"].shape == (128, 3, 4, 4)


def test_unet_with_resizing_keeps_the_names() -> None:
    plain, resizing = (
        UnetGenerator(downs=4, channels=2, upsample=up) for up in ("deconv", "resize")
    )
    assert list(plain.state_dict()) == list(resizing.state_dict())
    assert plain.state_dict()["model.model.3.weight"].shape == (4, 3, 4, 4)
    assert resizing.state_dict()["model.model.3.weight"].shape == (3, 4, 3, 3)
    assert resizing(torch.zeros(1, 3, 32, 16)).shape == (1, 3, 32, 16)


def test_unet_with_batch_norm_has_the_published_number_of_parameters() -> None:
    with torch.device("meta"):
        network = UnetGenerator(norm="batch")
    assert parameters(network) == 54_413_955  # "54.414 M" in the reference's own log of pix2pix


@pytest.mark.parametrize("downs", [7, 8])
def test_unet_dropout_stands_in_the_inner_levels_and_renames_nothing(downs: int) -> None:
    with torch.device("meta"):
        plain, dropping = (UnetGenerator(downs=downs, dropout=dropout) for dropout in (False, True))
    assert generator_shapes(plain) == generator_shapes(dropping)
    drops = {name for name, module in dropping.named_modules() if isinstance(module, nn.Dropout)}
    assert drops == {
        "model.model.1" + ".model.3" * (level - 1) + ".model.7" for level in range(4, downs - 1)
    }


def unet_by_hand(weights: Mapping[str, Tensor], x: Tensor, downs: int) -> Tensor:
    """Isola et al. 2017, appendix 6.1.1, in functions."""
    layers = unet_layers(downs)

    def apply(function: str, x: Tensor, layer: str) -> Tensor:
        convolve = getattr(F, function)
        result: Tensor = convolve(x, weights[f"{layer}.weight"], weights[f"{layer}.bias"], 2, 1)
        return result

    skips = [apply("conv2d", x, layers[0])]
    for layer in layers[1:downs]:
        x = apply("conv2d", F.leaky_relu(skips[-1], 0.2), layer)
        skips.append(x if layer == layers[downs - 1] else normalized(x))
    x = skips.pop()
    for layer in layers[downs:-1]:
        x = normalized(apply("conv_transpose2d", F.relu(x), layer))
        x = torch.cat([F.leaky_relu(skips.pop(), 0.2), x], dim=1)
    return torch.tanh(apply("conv_transpose2d", F.relu(x), layers[-1]))


def test_unet_equals_the_paper_written_in_functions() -> None:
    network = UnetGenerator(downs=4, channels=4)
    fill(network)
    images = uniform_noise(2, 3, 32, 48)
    with torch.no_grad():
        found = network(images)
    assert found.shape == images.shape
    assert found.std() > 0.1
    expected = unet_by_hand(dict(network.state_dict()), images, 4)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("downs", [7, 8])
def test_unet_keeps_multiples_of_its_stride(downs: int) -> None:
    network = UnetGenerator(downs=downs, channels=2)
    side = 2**downs
    assert network.stride == network.smallest == side
    with torch.no_grad():
        assert network(uniform_noise(1, 3, side, 2 * side)).shape == (1, 3, side, 2 * side)


def test_other_channels() -> None:
    with torch.device("meta"):
        resnet = ResnetGenerator(channels=4, in_channels=1, out_channels=2)
        unet = UnetGenerator(channels=4, in_channels=1, out_channels=2)
        assert resnet(torch.empty(1, 1, 16, 16)).shape == (1, 2, 16, 16)
        assert unet(torch.empty(1, 1, 256, 256)).shape == (1, 2, 256, 256)


def test_unknown_layers_are_refused() -> None:
    with pytest.raises(
        ValueError, match="norm: expected one of instance, affine, batch, layer, none, got 'group'"
    ):
        ResnetGenerator(channels=2, norm="group")
    with pytest.raises(ValueError, match=r"norm: .*'group'"):
        UnetGenerator(channels=2, norm="group")
    with pytest.raises(ValueError, match="expected deconv, resize or bilinear, got 'bicubic'"):
        ResnetGenerator(channels=2, upsample="bicubic")
    with pytest.raises(ValueError, match="downs: expected 2 or more, got 1"):
        UnetGenerator(channels=2, downs=1)


def test_the_color_skip_lets_coarse_colors_pass_and_no_light() -> None:
    network = ResnetGenerator(channels=4, blocks=1, color_skip=True)
    with torch.no_grad():
        for name, weight in network.named_parameters():
            if not name.startswith("color_skip"):
                weight.zero_()
    colors = torch.tensor([0.3, -0.1, -0.2])[None, :, None, None].expand(1, 3, 16, 12)
    light = uniform_noise(1, 1, 16, 12).expand(1, 3, 16, 12)
    with torch.no_grad():
        torch.testing.assert_close(network(colors), colors.tanh())
        torch.testing.assert_close(network(colors + light), colors.tanh())
        # Colors that change from pixel to pixel average out.
        stripes = colors * torch.tensor([1.0, -1.0]).repeat(6)
        torch.testing.assert_close(network(stripes), torch.zeros(1, 3, 16, 12))


def test_the_color_skip_is_learned_and_adds_one_name() -> None:
    plain, network = (ResnetGenerator(channels=4, blocks=1, color_skip=on) for on in (False, True))
    assert set(network.state_dict()) - set(plain.state_dict()) == {"color_skip.weight"}
    network(uniform_noise(1, 3, 8, 8)).square().sum().backward()
    assert network.color_skip is not None
    assert network.color_skip.weight.grad is not None
    assert network.color_skip.weight.grad.abs().min() > 0


def test_the_color_skip_needs_colors() -> None:
    with pytest.raises(ValueError, match="color_skip: needs RGB, got 1 and 3 channels"):
        ResnetGenerator(in_channels=1, color_skip=True)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def convolutions(network: nn.Module) -> list[nn.Conv2d | nn.ConvTranspose2d]:
    return [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)]


def check_normal(values: Tensor, mean: float, deviation: float) -> None:
    """Mean, deviation and shape agree with N(mean, deviation**2) within 4.5 sampling errors."""
    z = (values.detach().double().flatten() - mean) / deviation
    n = z.numel()
    assert abs(float(z.mean())) < 4.5 / math.sqrt(n)
    assert abs(float(z.std()) - 1) < 4.5 / math.sqrt(2 * n)
    within = 0.6826895  # of a normal distribution lies within one deviation
    error = math.sqrt(within * (1 - within) / n)
    assert abs(float((z.abs() < 1).double().mean()) - within) < 4.5 * error


def test_normal_is_the_default_with_deviation_0_02() -> None:
    for network in (ResnetGenerator(channels=16, blocks=2), PatchDiscriminator(channels=16)):
        init_weights(network, generator=seeded())
        for layer in convolutions(network):
            check_normal(layer.weight, 0, 0.02)
            assert layer.bias is not None
            assert not layer.bias.any()


@pytest.mark.parametrize(
    ("init_type", "squared"),
    [
        # Glorot and Bengio 2010, eq. 12, and He et al. 2015, eq. 10: the variance for gain 1.
        ("xavier", lambda fan_in, fan_out: 2 / (fan_in + fan_out)),
        ("kaiming", lambda fan_in, _: 2 / fan_in),
    ],
)
@pytest.mark.parametrize("gain", [0.02, 3.0])
def test_fans(init_type: str, squared: object, gain: float) -> None:
    assert callable(squared)
    layers = [nn.Conv2d(20, 40, 3), nn.ConvTranspose2d(20, 40, 3), nn.Linear(50, 70)]
    init_weights(nn.Sequential(*layers), init_type=init_type, gain=gain, generator=seeded())
    # torch counts the fan of a transposed convolution as if it were none: its second axis is "in".
    fans = [(20 * 9, 40 * 9), (40 * 9, 20 * 9), (50, 70)]
    for layer, (fan_in, fan_out) in zip(layers, fans, strict=True):
        scale = 1 if init_type == "kaiming" else gain
        weight, bias = layer.weight, layer.bias
        assert isinstance(weight, Tensor)
        assert isinstance(bias, Tensor)
        check_normal(weight, 0, scale * math.sqrt(squared(fan_in, fan_out)))
        assert not bias.any()


def test_orthogonal() -> None:
    wide, high = nn.Conv2d(6, 8, 3), nn.Conv2d(1, 30, 3)
    init_weights(nn.Sequential(wide, high), init_type="orthogonal", gain=0.5, generator=seeded())
    rows = wide.weight.detach().flatten(1)
    torch.testing.assert_close(rows @ rows.T, 0.25 * torch.eye(8), rtol=0, atol=1e-6)
    columns = high.weight.detach().flatten(1)
    torch.testing.assert_close(columns.T @ columns, 0.25 * torch.eye(9), rtol=0, atol=1e-6)


def test_batch_norm_is_around_one() -> None:
    norm = nn.BatchNorm2d(5000)
    nn.init.ones_(norm.bias)
    init_weights(nn.Sequential(norm), gain=0.02, generator=seeded())
    check_normal(norm.weight, 1, 0.02)
    assert not norm.bias.any()


def test_reproducible_by_the_generator_alone() -> None:
    def draw(seed: int, init_type: str) -> list[Tensor]:
        network = ResnetGenerator(channels=2, blocks=1, norm="batch")
        before = torch.get_rng_state()
        init_weights(network, init_type=init_type, generator=seeded(seed))
        assert torch.equal(torch.get_rng_state(), before)
        return [parameter.detach() for parameter in network.parameters()]

    for init_type in ("normal", "xavier", "kaiming", "orthogonal"):
        first, same, other = (draw(seed, init_type) for seed in (1, 1, 2))
        assert all(torch.equal(a, b) for a, b in zip(first, same, strict=True))
        assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_unknown_type() -> None:
    message = "init_type: expected one of normal, xavier, kaiming, orthogonal, got 'he'"
    with pytest.raises(ValueError, match=message):
        init_weights(nn.Conv2d(1, 1, 1), init_type="he", generator=seeded())
