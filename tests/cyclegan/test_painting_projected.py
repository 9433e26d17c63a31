"""The discriminator on frozen features, beside its formula computed with other means."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from impasto.cyclegan.painting import FrozenFeatures, ProjectedDiscriminator
from impasto.gatys.features.lite import find_lite_weights, load_lite
from tests.trainings import number

pytestmark = pytest.mark.skipif(find_lite_weights() is None, reason="no EfficientNet-Lite0")


def pictures(count: int, *, seed: int, side: int = 48) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def discriminator(seed: int = 0, channels: int = 4) -> ProjectedDiscriminator:
    return ProjectedDiscriminator(channels=channels, generator=torch.Generator().manual_seed(seed))


def test_features_are_the_network_s_of_pictures_between_0_and_1() -> None:
    images = pictures(2, seed=0)
    layers = ["stem", "block2.expand"]
    found = FrozenFeatures(layers)(images)
    expected = load_lite()(images / 2 + 0.5, layers)
    assert all(torch.equal(found[layer], expected[layer]) for layer in layers)


def test_scores_are_those_of_heads_divided_by_their_largest_singular_values() -> None:
    judge, images = discriminator(), pictures(1, seed=1)
    real = list(pictures(3, seed=2))
    judge.standardize(real)
    for _ in range(30):
        judge(images)  # each pass brings the power iteration nearer
    judge.eval()
    network, found = load_lite(), judge(images)
    assert found.shape == (1, 4, 24, 24)
    for depth, block in enumerate((1, 3, 5, 7)):
        layer = f"block{block}.expand"
        known = torch.cat(
            [network(each[None] / 2 + 0.5, [layer])[layer].flatten(2) for each in real], dim=2
        )[0].numpy()
        features = network(images / 2 + 0.5, [layer])[layer].numpy()
        mean, deviation = known.mean(1), known.std(1)
        x = torch.from_numpy(
            (features - mean[:, None, None]) / (deviation[:, None, None] + 0.05)
        ).float()
        weights = judge.state_dict()
        for place, padding in ((0, 0), (2, 1), (4, 0)):
            name = f"heads.{depth}.{place}"
            raw = weights[f"{name}.parametrizations.weight.original"]
            largest = np.linalg.svd(raw.flatten(1).numpy(), compute_uv=False)[0]
            x = F.conv2d(x, raw / float(largest), weights[f"{name}.bias"], padding=padding)
            x = F.leaky_relu(x, 0.2) if place < 4 else 4 * x
        repeated = (
            x[0, 0].repeat_interleave(24 // x.shape[2], 0).repeat_interleave(24 // x.shape[3], 1)
        )
        assert torch.allclose(found[0, depth], repeated, rtol=1e-3, atol=1e-4)


def test_weights_are_drawn_from_the_given_generator_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    one, same, other = discriminator(0), discriminator(0), discriminator(1)
    assert torch.equal(torch.rand(2), expected)
    states = [judge.state_dict() for judge in (one, same, other)]
    assert all(torch.equal(states[0][key], states[1][key]) for key in states[0])
    assert not all(torch.equal(states[0][key], states[2][key]) for key in states[0])


def test_the_frozen_network_is_neither_trained_nor_saved_and_passes_gradients() -> None:
    judge, images = discriminator(), pictures(1, seed=1).requires_grad_()
    judge(images).mean().backward()
    assert images.grad is not None
    assert number(images.grad.abs().max()) > 0
    assert sum(weights.numel() for weights in judge.parameters()) < 10_000
    assert all(weights.grad is not None for weights in judge.parameters())
