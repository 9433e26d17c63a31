import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from impasto.gatys.tones import toned
from impasto.gatys.transport import quantiles_of


def noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_values_become_the_quantiles_in_their_own_order() -> None:
    features = noise(1, 2, 5, 6)
    quantiles = noise(1, 2, 30, seed=1).sort(dim=2).values * 3 + 5
    found = toned(features, quantiles)
    assert found.shape == features.shape
    for channel in range(2):
        values, before = found[0, channel].flatten(), features[0, channel].flatten()
        torch.testing.assert_close(values.sort().values, quantiles[0, channel])
        assert torch.equal(values.argsort(), before.argsort())


@pytest.mark.parametrize("count", [7, 400])
def test_any_number_of_quantiles(count: int) -> None:
    features, quantiles = noise(1, 1, 8, 8), noise(1, 1, count, seed=1).sort(dim=2).values
    found = toned(features, quantiles).flatten().numpy()
    ranks = scipy.stats.rankdata(features.flatten().numpy())
    expected = np.interp(
        (ranks - 0.5) / 64, (np.arange(count) + 0.5) / count, quantiles.flatten().numpy()
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_picture_in_its_own_tones_stays() -> None:
    features = noise(1, 3, 6, 7)
    torch.testing.assert_close(toned(features, quantiles_of(features.flatten(2), 42)), features)


def test_ties_share_the_mean_of_their_ranks() -> None:
    features = torch.tensor([[[[3.0, 1.0, 3.0, 2.0], [3.0, 1.0, 9.0, 3.0]]]])
    quantiles = torch.arange(8.0).view(1, 1, 8)
    expected = [[4.5, 0.5, 4.5, 2.0], [4.5, 0.5, 7.0, 4.5]]
    assert toned(features, quantiles).tolist() == [[expected]]


def test_a_plain_picture_becomes_the_median() -> None:
    quantiles = torch.tensor([[[0.0, 1.0, 10.0]]])
    found = toned(torch.full((1, 1, 3, 4), 0.2), quantiles)
    assert torch.equal(found, torch.ones(1, 1, 3, 4))


def test_a_mask_leaves_the_others() -> None:
    features = noise(1, 2, 4, 6)
    before = features.clone()
    mask = torch.zeros(1, 1, 4, 6)
    mask[..., :3], mask[..., 3] = 1, 0.5
    quantiles = noise(1, 2, 12, seed=1).sort(dim=2).values
    found = toned(features, quantiles, mask)
    assert torch.equal(found[..., 3:], features[..., 3:])
    torch.testing.assert_close(found[..., :3], toned(features[..., :3], quantiles))
    assert torch.equal(features, before)
    assert torch.equal(toned(features, quantiles, torch.zeros(1, 1, 4, 6)), features)


def test_half_precision_has_ranks_of_its_own() -> None:
    # 4096 values, more than bfloat16 counts to.
    features = torch.linspace(-1, 1, 4096).view(1, 1, 64, 64).bfloat16()
    quantiles = torch.linspace(0, 1, 4096).view(1, 1, -1)
    found = toned(features, quantiles)
    exact = toned(features.float(), quantiles)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, exact.bfloat16())
