"""Tests."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor

from impasto.gatys.losses.functional import gram_matrix
from impasto.gatys.losses.smoothing import (
    NO_SMOOTHING,
    Smoothing,
    smooth,
    smoothing_of_layers,
    toned,
)
from impasto.gatys.losses.transport import quantiles_of


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_softmax_in_scipy() -> None:
    features = 5 * noise(2, 3, 4, 5)
    found = smooth(features, Smoothing(kind="softmax", amount=2.5))
    for index in range(2):
        expected = scipy.special.softmax(features[index].numpy() / 2.5) * 60
        np.testing.assert_allclose(found[index], expected, rtol=1e-12)
    torch.testing.assert_close(found.mean(dim=(1, 2, 3)), torch.ones(2, dtype=torch.float64))


def test_softmax_lowers_peaks() -> None:
    features = noise(1, 3, 4, 5)
    features[0, 0, 0, 0] = 100
    soft = smooth(features, Smoothing(kind="softmax", amount=50))
    assert soft.max() / soft.mean() < features.max() / features.abs().mean() / 3


def test_softmax_of_half_precision_is_float32() -> None:
    features = (1000 * noise(1, 3, 64, 64)).half()
    found = smooth(features, Smoothing(kind="softmax"))
    assert found.dtype == torch.float32
    assert found.isfinite().all()


def test_smoothed_gram_does_not_depend_on_size() -> None:
    features, smoothing = noise(1, 3, 4, 5), Smoothing(kind="softmax")
    torch.testing.assert_close(
        gram_matrix(smooth(features.repeat(1, 1, 2, 3), smoothing)),
        gram_matrix(smooth(features, smoothing)),
    )


def test_scale_and_none() -> None:
    features = noise(1, 3, 4, 5)
    torch.testing.assert_close(
        smooth(features, Smoothing(kind="scale", amount=0.001)), features / 1000
    )
    assert smooth(features, NO_SMOOTHING) is features


@pytest.mark.parametrize("text", ["softmax(3)", "scale(0.1)"])
def test_gradients(text: str) -> None:
    smoothing = Smoothing.parse(text)
    assert torch.autograd.gradcheck(
        lambda x: smooth(x, smoothing), (noise(2, 2, 3, 2).requires_grad_(),)
    )


@pytest.mark.parametrize("text", ["none", "softmax(1)", "softmax(0.5)", "scale(0.001)"])
def test_parse_reads_what_str_writes(text: str) -> None:
    assert str(Smoothing.parse(text)) == text


def test_parse() -> None:
    assert Smoothing.parse(" softmax ") == Smoothing(kind="softmax", amount=1)
    for text in ["", "soft", "scale", "scale()", "scale(x)", "softmax(0)", "scale(inf)", "none(1)"]:
        with pytest.raises(ValueError, match=r"expected none, softmax, softmax\(T\) or scale\(a\)"):
            Smoothing.parse(text)


def test_values_are_checked() -> None:
    with pytest.raises(ValueError, match="kind: expected one of"):
        Smoothing(kind="hard")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="amount: expected more than 0, got -1"):
        Smoothing(kind="scale", amount=-1)


def test_layers() -> None:
    soft = Smoothing(kind="softmax")
    assert smoothing_of_layers(soft, ["a", "b"]) == {"a": soft, "b": soft}
    assert smoothing_of_layers({"b": soft}, ["a", "b"]) == {"a": NO_SMOOTHING, "b": soft}
    with pytest.raises(ValueError, match="smoothing: expected layers among a, b, got c, d"):
        smoothing_of_layers({"d": soft, "c": soft}, ["a", "b"])


def gray_noise(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def test_values_become_the_quantiles_in_their_own_order() -> None:
    features = gray_noise(1, 2, 5, 6)
    quantiles = gray_noise(1, 2, 30, seed=1).sort(dim=2).values * 3 + 5
    found = toned(features, quantiles)
    assert found.shape == features.shape
    for channel in range(2):
        values, before = found[0, channel].flatten(), features[0, channel].flatten()
        torch.testing.assert_close(values.sort().values, quantiles[0, channel])
        assert torch.equal(values.argsort(), before.argsort())


@pytest.mark.parametrize("count", [7, 400])
def test_any_number_of_quantiles(count: int) -> None:
    features, quantiles = gray_noise(1, 1, 8, 8), gray_noise(1, 1, count, seed=1).sort(dim=2).values
    found = toned(features, quantiles).flatten().numpy()
    ranks = scipy.stats.rankdata(features.flatten().numpy())
    expected = np.interp(
        (ranks - 0.5) / 64, (np.arange(count) + 0.5) / count, quantiles.flatten().numpy()
    )
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_a_picture_in_its_own_tones_stays() -> None:
    features = gray_noise(1, 3, 6, 7)
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
    features = gray_noise(1, 2, 4, 6)
    before = features.clone()
    mask = torch.zeros(1, 1, 4, 6)
    mask[..., :3], mask[..., 3] = 1, 0.5
    quantiles = gray_noise(1, 2, 12, seed=1).sort(dim=2).values
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
