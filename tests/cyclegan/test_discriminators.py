import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.discriminators import (
    PatchDiscriminator,
    PixelDiscriminator,
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
    # Without normalisation, which would let every pixel of a channel see all others.
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
