"""Smoothing against SciPy."""

import numpy as np
import pytest
import scipy.special
import scipy.stats
import torch

from impasto.gatys.features.smoothing import (
    NO_SMOOTHING,
    Smoothing,
    smooth,
    smoothing_of_layers,
)
from impasto.gatys.losses.functional import gram_matrix


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
