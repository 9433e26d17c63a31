"""The classifier: weights as drawn, as torchvision names them, and with normalization folded."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from impasto.gatys.classifier.model import Init, VggClassifier, init_weights
from impasto.gatys.features.vgg import IMAGENET_MEAN, IMAGENET_STD, Vgg, layer_names

MEAN, STD = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int = 2, side: int = 64) -> Tensor:
    return torch.rand(count, 3, side, side, generator=seeded(9))


def small(init: Init = "kaiming", **changes: object) -> VggClassifier:
    network = VggClassifier(3, **{"width": 1 / 8, "pooled": 1, **changes})  # type: ignore[arg-type]
    init_weights(network, init=init, generator=seeded())
    return network


def with_statistics(network: VggClassifier) -> VggClassifier:
    """Let batch normalization see pictures, and give it weights that are not 1 and 0."""
    for part in network.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.5, 1.5, generator=seeded(1))
            nn.init.uniform_(part.bias, -0.5, 0.5, generator=seeded(2))
    with torch.no_grad():
        for seed in range(3):
            network.train()(torch.rand(4, 3, 32, 32, generator=seeded(seed)))
    return network.eval()


def layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [part for part in network.modules() if isinstance(part, nn.Conv2d | nn.Linear)]


@pytest.mark.parametrize("depth", [16, 19])
def test_it_has_as_many_layers_with_weights_as_its_depth_says(depth: int) -> None:
    network = small(depth=depth)
    assert len(layers(network)) == depth
    assert isinstance(network.features, nn.Sequential)
    assert isinstance(network.avgpool, nn.AdaptiveAvgPool2d)
    assert [type(part) for part in network.classifier].count(nn.Dropout) == 2
    assert network.eval()(pictures()).shape == (2, 3)


@pytest.mark.parametrize(
    ("init", "normal", "variance"),
    [
        ("kaiming", True, lambda inputs, _: 2 / inputs),  # He et al. 2015, equation 10
        ("xavier", False, lambda inputs, outputs: 2 / (inputs + outputs)),  # Glorot, equation 16
        ("default", False, lambda inputs, _: 1 / (3 * inputs)),
    ],
)
def test_weights_are_drawn_from_the_distribution_asked_for(
    init: Init, normal: bool, variance: Callable[[int, int], float]
) -> None:
    for layer in layers(small(init, width=0.25))[:-1]:
        weight = layer.weight.detach()
        size = weight[0, 0].numel()
        inputs, outputs = weight.shape[1] * size, weight.shape[0] * size
        expected = variance(inputs, outputs)
        error = 6 * expected * (2 / weight.numel()) ** 0.5
        assert weight.var().item() == pytest.approx(expected, abs=error)
        assert abs(weight.mean().item()) < 6 * (expected / weight.numel()) ** 0.5
        # Of a normal distribution 31.7 % lie beyond one deviation, of an even one 42.3 %.
        beyond = (weight.abs() > expected**0.5).float().mean().item()
        spread = 6 * (0.25 / weight.numel()) ** 0.5
        assert beyond == pytest.approx(0.317 if normal else 0.423, abs=spread)
        bias = layer.bias
        assert bias is not None
        assert bool(bias.any()) == (init == "default")


def test_kaiming_keeps_the_size_of_activations_and_the_logits_are_linear() -> None:
    network = small(width=0.5).eval()
    features = network.features(torch.randn(4, 3, 64, 64, generator=seeded(3)))
    assert 0.2 < features.pow(2).mean().item() < 20  # through 16 layers
    last = layers(network)[-1]
    assert last.weight.var().item() == pytest.approx(1 / last.weight.shape[1], rel=0.2)


def test_weights_come_from_the_generator_alone() -> None:
    before = torch.get_rng_state()
    one, same, other = small(), small(), VggClassifier(3, width=1 / 8, pooled=1)
    init_weights(other, generator=seeded(1))
    assert torch.equal(torch.get_rng_state(), before)
    for first, second, third in zip(*map(layers, (one, same, other)), strict=True):
        assert torch.equal(first.weight, second.weight)
        assert not torch.equal(first.weight, third.weight)


@pytest.mark.parametrize("name", ["vgg16", "vgg19", "vgg16_bn", "vgg19_bn"])
def test_names_and_shapes_are_torchvision_s(name: str) -> None:
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, num_classes=7)
    ours = VggClassifier(7, depth=int(name[3:5]), batch_norm=name.endswith("bn"))
    expected = {key: value.shape for key, value in theirs.state_dict().items()}
    found = {key: value.shape for key, value in ours.state_dict().items()}
    assert found == expected
    assert list(found) == list(expected)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_weights_are_exchanged_with_torchvision_both_ways(batch_norm: bool) -> None:
    name = "vgg19_bn" if batch_norm else "vgg19"
    ours = VggClassifier(5, batch_norm=batch_norm)
    init_weights(ours, generator=seeded())
    for part in ours.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.get_buffer("running_mean"), -0.1, 0.1, generator=seeded(4))
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, num_classes=5)
    theirs.load_state_dict(ours.state_dict(), assign=True)
    images = pictures(1)
    with torch.no_grad():
        logits = theirs.eval()((images - MEAN) / STD)
        assert logits.std() > 0
        torch.testing.assert_close(ours.eval()(images), logits, rtol=1e-5, atol=1e-5)
    back = VggClassifier(5, batch_norm=batch_norm)
    back.load_state_dict(theirs.state_dict(), assign=True)
    with torch.no_grad():
        assert torch.equal(back.eval()(images), ours(images))


@pytest.mark.parametrize("depth", [16, 19])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_plain_features_give_the_activations_of_the_whole(depth: int, batch_norm: bool) -> None:
    network = with_statistics(small(depth=depth, batch_norm=batch_norm))
    plain = Vgg(depth=depth, width=1 / 8)
    plain.load_state_dict(network.plain_features())
    images = pictures()
    rectified = [name for name in layer_names(depth) if name.startswith("relu")]
    expected, value = {}, (images - MEAN) / STD
    names = iter(rectified)
    with torch.no_grad():
        for part in network.features:
            if isinstance(part, nn.ReLU):
                value = F.relu(value)
                expected[next(names)] = value
            else:
                value = part(value)
        found = plain(images, rectified)
    assert next(names, None) is None
    for name in rectified:
        assert expected[name].std() > 0
        torch.testing.assert_close(found[name], expected[name], rtol=1e-4, atol=1e-4)


def test_plain_features_share_no_memory_with_the_network() -> None:
    network = small()
    plain = network.plain_features()
    before = plain["features.0.weight"].clone()
    with torch.no_grad():
        layers(network)[0].weight.add_(1)
    assert torch.equal(plain["features.0.weight"], before)


@pytest.mark.parametrize(("width", "first"), [(1.0, 64), (0.25, 16), (0.1, 6), (0.0625, 4)])
def test_each_block_is_twice_as_wide_as_the_one_before(width: float, first: int) -> None:
    network = VggClassifier(2, width=width, pooled=1)
    wide = [part.out_channels for part in network.features if isinstance(part, nn.Conv2d)]
    assert wide == [first] * 2 + [2 * first] * 2 + [4 * first] * 4 + [8 * first] * 8
    assert network.width == first / 64
