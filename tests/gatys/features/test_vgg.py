"""Tests."""

import logging
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from impasto.gatys.features.vgg import (
    DEPTHS,
    POOLING_FACTORS,
    Pooling,
    Vgg,
    convolution_names,
    layer_names,
    parse_layers,
)
from impasto.options.errors import ImpastoError, OptionError

MEAN = torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
STD = torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
LAYERS = ("relu1_1", "relu2_1", "relu3_1")


def picture(height: int, width: int, *, seed: int = 0, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def fill(network: nn.Module, seed: int = 0) -> None:
    """Kaiming's normal weights and small biases, so that activations keep their size."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            std = (2 / parameter[0].numel()) ** 0.5 if parameter.ndim == 4 else 0.1
            parameter.normal_(0, std, generator=generator)


def small(**changes: Any) -> Vgg:
    network = Vgg(**{"width": 1 / 16, **changes})
    fill(network)
    return network


@pytest.fixture(scope="module")
def torchvision_features() -> Callable[[int], nn.Sequential]:
    def make(depth: int) -> nn.Sequential:
        with torch.device("meta"):  # the fully connected layers would take half a gigabyte
            model = getattr(torchvision.models, f"vgg{depth}")(weights=None)
        features: nn.Sequential = model.features.to_empty(device="cpu").eval()
        fill(features)
        for module in features:
            if isinstance(module, nn.ReLU):
                module.inplace = False
        return features

    return make


def by_torchvision(features: nn.Sequential, image: Tensor) -> list[Tensor]:
    outputs, value = [], (image - MEAN) / STD
    with torch.no_grad():
        for module in features:
            value = module(value)
            outputs.append(value)
    return outputs


def agree(found: dict[str, Tensor], expected: list[Tensor]) -> None:
    for value, reference in zip(found.values(), expected, strict=True):
        assert value.shape == reference.shape
        torch.testing.assert_close(value, reference, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("depth", [16, 19])
def test_every_layer_equals_torchvisions(
    depth: int, torchvision_features: Callable[[int], nn.Sequential]
) -> None:
    features = torchvision_features(depth)
    network = Vgg(depth=depth)
    theirs = {f"features.{name}": value for name, value in features.state_dict().items()}
    assert list(network.state_dict()) == list(theirs)
    network.load_state_dict(theirs)
    image = picture(40, 51)
    # All at once: no ReLU may write into a convolution's output that was asked for.
    agree(network(image, network.layers), by_torchvision(features, image))


@pytest.mark.parametrize("pooling", ["average", "l2"])
@pytest.mark.parametrize("keep_size", [False, True])
def test_poolings_equal_replaced_modules(
    pooling: Pooling,
    keep_size: bool,
    torchvision_features: Callable[[int], nn.Sequential],
) -> None:
    features = torchvision_features(19)[:19]

    class Scaled(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            pool = nn.AvgPool2d(2) if pooling == "average" else nn.LPPool2d(2, 2)
            pooled: Tensor = pool(values)
            return pooled * {"average": 2.0, "l2": 0.78}[pooling] if keep_size else pooled

    for index in (4, 9, 18):
        features[index] = Scaled()
    network = Vgg(pooling=pooling, keep_size_of_activations=keep_size)
    network.truncate("pool3")
    theirs = {f"features.{name}": value for name, value in features.state_dict().items()}
    network.load_state_dict(theirs)
    image = picture(33, 24)
    agree(network(image, network.layers), by_torchvision(features, image))


@pytest.mark.parametrize("pooling", POOLING_FACTORS)
def test_factors_keep_the_size_of_activations(pooling: Pooling) -> None:
    # Rectified noise is not a photograph, so they fit roughly only.
    noise = torch.randn(1, 8, 64, 64, generator=torch.Generator().manual_seed(0)).relu()
    rms = [
        small(pooling=kind, keep_size_of_activations=True)
        .compute("pool1", noise)
        .square()
        .mean()
        .sqrt()
        for kind in ("max", pooling)
    ]
    assert 0.6 < rms[1] / rms[0] < 1.7


def test_replicated_edges() -> None:
    plain = small(replicate_padding=True)
    image = picture(1, 1).expand(1, 3, 20, 20).contiguous()
    features = plain(image, ["conv1_1"])["conv1_1"]
    torch.testing.assert_close(features, features[..., 5:6, 5:6].expand_as(features))
    usual = small()(image, ["conv1_1"])["conv1_1"]
    assert (usual[..., 0, 0] - usual[..., 5, 5]).abs().max() > 0.1
    torch.testing.assert_close(usual[..., 1:-1, 1:-1], features[..., 1:-1, 1:-1])


def test_only_what_is_asked_for_is_computed() -> None:
    network = small()
    computed = []
    for key, module in network.features.items():
        module.register_forward_hook(lambda *_, key=key: computed.append(int(key)))
    found = network(picture(16, 16), ["relu2_1", "conv1_2"])
    assert list(found) == ["relu2_1", "conv1_2"]
    assert computed == [0, 2, 5]


def test_asking_for_more_changes_nothing() -> None:
    network, image = small(), picture(32, 32)
    every = network(image, network.layers)
    for name in network.layers:
        assert torch.equal(network(image, [name])[name], every[name])
    assert every["conv3_2"].min() < 0
    assert torch.equal(every["conv3_2"].relu(), every["relu3_2"])


def test_the_picture_is_not_changed() -> None:
    network, image = small(), picture(16, 16)
    before = image.clone()
    network(image, ["relu2_1"])
    assert torch.equal(image, before)


@pytest.mark.usefixtures("_torch_state")
def test_frozen_in_evaluation_and_zero_at_first() -> None:
    network = Vgg(width=1 / 16)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert all((parameter == 0).all() for parameter in network.parameters())


@pytest.fixture
def _torch_state() -> Any:
    """Making a network must not draw from the global generator."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("pooling", POOLING_FACTORS)
def test_gradients(pooling: Pooling) -> None:
    network = small(pooling=pooling, keep_size_of_activations=True).double()
    image = picture(6, 8).double().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: tuple(network(x, ("conv1_2", "relu1_2", "relu3_1")).values()), (image,)
    )


def test_gradient_of_the_l2_norm_at_zeros() -> None:
    values = torch.zeros(1, 2, 4, 4, requires_grad=True)
    (gradient,) = torch.autograd.grad(small(pooling="l2").compute("pool1", values).sum(), values)
    assert torch.equal(gradient, torch.zeros_like(values))


def test_l2_pooling_of_large_half_precision_values() -> None:
    values = torch.full((1, 1, 2, 2), 1000.0, dtype=torch.float16)
    assert small(pooling="l2").compute("pool1", values).item() == 2000.0


def test_autocast_and_memory_formats() -> None:
    network, image = small(), picture(32, 40)
    plain = network(image, LAYERS)
    with torch.autocast("cpu", torch.bfloat16):
        halved = network(image, LAYERS)
    network.to(memory_format=torch.channels_last)
    last = network(image.contiguous(memory_format=torch.channels_last), LAYERS)
    for name in LAYERS:
        assert halved[name].dtype == torch.bfloat16
        torch.testing.assert_close(halved[name].float(), plain[name], rtol=0.1, atol=0.1)
        assert last[name].is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(last[name], plain[name], rtol=1e-5, atol=1e-5)


def test_a_batch_is_its_pictures() -> None:
    network = small()
    images = picture(18, 20, count=2)
    both = network(images, ["relu3_1"])["relu3_1"]
    one = network(images[1:], ["relu3_1"])["relu3_1"]
    torch.testing.assert_close(both[1:], one)


def test_smallest_sides_can_be_computed_and_smaller_ones_not() -> None:
    network = small()
    sides = {"relu1_2": 1, "pool1": 2, "relu2_2": 2, "relu4_2": 8, "relu5_1": 16, "pool5": 32}
    for name, side in sides.items():
        assert network.smallest(["relu1_1", name]) == side
        assert min(network(picture(side, side + 1), [name])[name].shape[2:]) == 1
    says = r"a picture of 40 x 15 pixels is too small for layer relu5_1, which needs 16 x 16"
    with pytest.raises(ImpastoError, match=says):
        network(picture(15, 40), ["conv1_1", "relu5_1"])


@pytest.mark.parametrize(
    ("image", "layers", "says"),
    [
        (torch.zeros(3, 32, 32), LAYERS, r"image: expected \(N, 3, H, W\) floating point, got"),
        (torch.zeros(1, 1, 32, 32), LAYERS, r"got \(1, 1, 32, 32\) torch.float32"),
        (torch.zeros(1, 3, 32, 32, dtype=torch.uint8), LAYERS, "got .* torch.uint8"),
        (torch.zeros(1, 3, 32, 32), [], "expected at least one"),
        (torch.zeros(1, 3, 32, 32), ["relu4-2"], "'relu4-2' is no layer of VGG19; did you mean"),
    ],
)
def test_what_is_refused(image: Tensor, layers: list[str], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        small()(image, layers)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"depth": 11}, "depth: expected one of"),
        ({"pooling": "median"}, "pooling: expected one of max, average, l2, got 'median'"),
        ({"width": 0}, "width above 0"),
        ({"first_kernel": 4}, "odd first_kernel"),
    ],
)
def test_values_that_are_refused(values: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        Vgg(**values)


def test_a_truncated_network_says_what_it_lacks() -> None:
    network = small()
    network.truncate("relu3_1")
    assert network.layers[-1] == "relu3_1"
    assert list(network.features) == ["0", "2", "5", "7", "10"]
    with pytest.raises(ValueError, match="this VGG19 end with relu3_1, and conv4_1 comes after"):
        network(picture(32, 32), ["conv4_1"])


def test_no_memory_for_what_is_not_asked_for() -> None:
    """Only ReLUs and poolings are kept for the gradient: convolutions are overwritten."""
    network, image = small(width=0.25), picture(64, 64).requires_grad_()
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        found = network(image, ["relu2_2"])
    weights = {value.untyped_storage().data_ptr() for value in network.state_dict().values()}
    activations = sum(size for place, size in kept.items() if place not in weights)
    full, half = 64 * 64 * 4, 32 * 32 * 4
    # Picture, normalized; relu1_1, relu1_2 with 16 channels; pool1 and its indices (64 bits);
    # relu2_1, relu2_2 with 32 channels.
    most = (3 + 3 + 16 + 16) * full + (16 + 32 + 32 + 32) * half + 1024
    assert activations <= most
    assert found["relu2_2"].requires_grad


@pytest.mark.parametrize("depth", DEPTHS)
def test_positions_are_torchvisions_indices(depth: int) -> None:
    with torch.device("meta"):
        features = getattr(torchvision.models, f"vgg{depth}")(weights=None).features
    kinds = {nn.Conv2d: "conv", nn.ReLU: "relu", nn.MaxPool2d: "pool"}
    names = layer_names(depth)
    assert [kinds[type(module)] for module in features] == [name[:4] for name in names]
    assert len(convolution_names(depth)) == depth - 3  # three fully connected layers
    assert (names[0], names[-1]) == ("conv1_1", "pool5")


def test_known_indices() -> None:
    # crowsonkb/style-transfer-pytorch names layers by these numbers and these words.
    names = layer_names(19)
    assert [names[i] for i in (1, 6, 11, 20, 22, 29)] == [
        *("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
    ]


def test_our_names_need_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert parse_layers(["relu4_2", "CONV1_1", "pool3"]) == ("relu4_2", "conv1_1", "pool3")
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "depth", "layer"),
    [
        ("conv_5", 19, "conv3_1"),  # seed 001 of the survey of users: far from conv5_1
        ("conv_10", 19, "conv4_2"),
        ("conv_13", 19, "conv5_1"),
        ("conv_11", 16, "conv5_1"),
        ("relu_2", 19, "relu1_2"),
        ("features.28", 19, "conv5_1"),
        ("28", 16, "conv5_3"),
        ("22", 19, "relu4_2"),
        ("block5_conv2", 19, "relu5_2"),
        ("block3_pool", 16, "pool3"),
        ("r42", 19, "relu4_2"),
        ("p4", 19, "pool4"),
    ],
)
def test_names_of_other_programs(
    name: str, depth: int, layer: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse_layers([name], depth) == (layer,)
    (record,) = caplog.records
    assert f"read {name} as {layer} of VGG{depth}" in record.getMessage()


def test_one_warning_for_all_names(caplog: pytest.LogCaptureFixture) -> None:
    found = parse_layers([f"conv_{k}" for k in (1, 3, 5, 9, 13)])
    assert found == ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
    assert len(caplog.records) == 1
    assert "conv_9 as conv4_1, conv_13 as conv5_1" in caplog.text


@pytest.mark.parametrize(
    ("names", "depth", "says"),
    [
        (["conv4_5"], 19, "'conv4_5' is no layer of VGG19; did you mean conv4_"),
        (["conv3_4"], 16, "is no layer of VGG16; did you mean conv3_"),
        (["relu42"], 19, "did you mean relu4_2"),
        (["pool_4"], 19, "did you mean pool4"),
        (["conv_17"], 19, "'conv_17' is no layer"),
        (["conv_0"], 19, "'conv_0' is no layer"),
        (["37"], 19, "'37' is no layer"),
        (["block6_conv1"], 19, "is no layer"),
        (["xyz"], 19, r"'xyz' is no layer of VGG19 \(layers: conv1_1, relu1_1, conv1_2, .*pool5\)"),
        (["relu1_1", "r11"], 19, r"relu1_1 is named twice \(relu1_1 and r11\)"),
        # A published program does this, and so silently has four layers instead of five.
        (["conv_1", "conv_3", "conv_3"], 19, "conv2_1 is named twice"),
        ([], 19, "names no layer"),
    ],
)
def test_names_that_are_refused(names: list[str], depth: int, says: str) -> None:
    with pytest.raises(OptionError, match=f"^--style_layers: .*{says}"):
        parse_layers(names, depth, option="style_layers")


def test_unknown_depth() -> None:
    with pytest.raises(ValueError, match=r"depth: expected one of \(16, 19\), got 13"):
        layer_names(13)
