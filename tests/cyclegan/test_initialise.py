import math

import pytest
import torch
from torch import Tensor, nn

from impasto.cyclegan.discriminators import PatchDiscriminator
from impasto.cyclegan.generators import ResnetGenerator
from impasto.cyclegan.initialise import init_weights


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
