"""Conditional instance normalization, by hand and folded into an ordinary generator."""

import pytest
import torch
from torch import nn

from impasto.cyclegan.inference.strips import StripGenerator
from impasto.cyclegan.weights import fold_styles
from impasto.styles.network import ConditionalNorm, StyleNetwork, style_architecture

ARCHITECTURE = style_architecture(channels=4, blocks=1, base="kuwahara", noise=True)


def make_network(styles: int = 3) -> StyleNetwork:
    network = StyleNetwork(ARCHITECTURE, styles, generator=torch.Generator().manual_seed(1))
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, ConditionalNorm):
                module.weight.add_(torch.randn(module.weight.shape, generator=generator), alpha=0.3)
                module.bias.add_(torch.randn(module.bias.shape, generator=generator), alpha=0.3)
            elif isinstance(module, nn.Conv2d):
                module.weight.mul_(3)  # or the last layer would paint next to nothing
    return network.eval()


def picture(seed: int = 3, count: int = 1) -> torch.Tensor:
    return torch.rand(count, 3, 24, 32, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_normalization_is_that_of_a_computation_by_hand() -> None:
    # One channel of 1, 2, 3, 6: mean 3, variance (4 + 1 + 0 + 9) / 4 = 3.5.
    norm = ConditionalNorm(1, 2, eps=0.5)  # so that the divisor is 2
    norm.weight.data.copy_(torch.tensor([[4.0], [8.0]]))
    norm.bias.data.copy_(torch.tensor([[1.0], [-1.0]]))
    norm.shares = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.75, 0.25]])
    values = torch.tensor([1.0, 2.0, 3.0, 6.0]).view(1, 1, 2, 2).expand(3, 1, 2, 2)
    expected = [
        [-3.0, -1.0, 1.0, 7.0],  # (x - 3) / 2 * 4 + 1
        [-9.0, -5.0, -1.0, 11.0],  # (x - 3) / 2 * 8 - 1
        [-4.5, -2.0, 0.5, 8.0],  # (x - 3) / 2 * 5 + 0.5
    ]
    assert torch.allclose(norm(values).flatten(1), torch.tensor(expected))


def test_normalization_without_shares_is_refused() -> None:
    with pytest.raises(ValueError, match="shares: expected"):
        ConditionalNorm(2, 2)(torch.zeros(1, 2, 4, 4))


@pytest.mark.parametrize("shares", [(0.0, 1.0, 0.0), (0.5, 0.2, 0.3)])
def test_a_folded_generator_equals_the_network(shares: tuple[float, ...]) -> None:
    network, image = make_network(), picture()
    folded = ARCHITECTURE.build().eval()
    names = dict(zip("abc", shares, strict=True))
    folded.load_state_dict(fold_styles(network.painter.state_dict(), names))
    with torch.no_grad():
        expected = network(image, torch.tensor([shares]))
        made = folded(image)
    assert torch.allclose(made, expected, atol=1e-5)
    strips = StripGenerator.of(folded)
    assert strips is not None  # bounded memory
    assert torch.allclose(strips(image), expected, atol=1e-4)


def test_styles_differ_and_pictures_of_a_batch_do_not_mix() -> None:
    network, images = make_network(), picture(count=2)
    shares = torch.eye(3)[:2]
    with torch.no_grad():
        both = network(images, shares)
        alone = [network(images[place : place + 1], shares[place : place + 1]) for place in (0, 1)]
        other = network(images[:1], shares[1:])
    assert torch.allclose(both, torch.cat(alone), atol=1e-5)
    assert (both[:1] - other).abs().mean() > 0.01


def test_a_new_network_paints_next_to_nothing_over_its_base() -> None:
    network = StyleNetwork(ARCHITECTURE, 1, generator=torch.Generator().manual_seed(0)).eval()
    base = network.painter.base
    assert isinstance(base, nn.Module)
    with torch.no_grad():
        assert (network(picture(), torch.ones(1, 1)) - base(picture())).abs().mean() < 0.2


def test_other_normalizations_are_refused() -> None:
    from dataclasses import replace  # noqa: PLC0415

    with pytest.raises(ValueError, match="expected norm affine"):
        StyleNetwork(replace(ARCHITECTURE, norm="instance"), 1, generator=torch.Generator())


def test_the_network_as_it_is_trained_has_half_a_million_weights_at_most() -> None:
    network = StyleNetwork(
        style_architecture(channels=16, blocks=5, base="kuwahara", noise=True),
        8,
        generator=torch.Generator(),
    )
    assert sum(each.numel() for each in network.parameters()) <= 500_000
