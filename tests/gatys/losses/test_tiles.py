"""Losses of tiles: equal to those of the whole picture, which is computed at once."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.gatys.features.lite import Lite
from impasto.gatys.features.smoothing import Smoothing
from impasto.gatys.features.vgg import Pooling, Vgg
from impasto.gatys.losses.objective import Objective, TotalVariation
from impasto.gatys.losses.statistics import Gaussian, Gram, MeanCovariance, Sliced, Statistic
from impasto.gatys.losses.targets import (
    Content,
    Region,
    Style,
    StylePicture,
    feature_losses,
)
from impasto.gatys.losses.tiles import (
    TiledNetwork,
    TiledObjective,
    Tiling,
    has_reach,
    is_averaged,
)
from impasto.gatys.optim.iterates import total_loss

LAYERS = ("stem", "block1.expand", "block3.depthwise", "block4.expand", "block5.expand")
VGG_LAYERS = ("relu1_1", "conv2_2", "relu3_1", "pool3", "relu4_1")
SIZES = [(129, 95), (96, 160), (64, 33), (131, 67)]


def some_lite(**options: Any) -> Lite:
    """A network of random weights, float64, whose values neither vanish nor are all clipped."""
    network = Lite(**options)
    generator = torch.Generator().manual_seed(0)
    for parameter in network.parameters():
        spread = 2 / max(parameter[0].numel(), 1) ** 0.5 if parameter.ndim > 1 else 0.3
        parameter.data = torch.randn(parameter.shape, generator=generator) * spread
    return network.double()


def some_vgg(pooling: Pooling = "max") -> Vgg:
    network = Vgg(pooling=pooling, width=0.1, first_kernel=9, replicate_padding=pooling != "max")
    generator = torch.Generator().manual_seed(1)
    for parameter in network.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
    return network.double()


def picture(height: int, width: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand((1, 3, height, width), generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("side", [32, 48, 1000])
@pytest.mark.parametrize(
    ("network", "layers"),
    [
        (some_lite(), LAYERS),
        (some_lite(padding="zeros"), LAYERS),
        (some_lite(antialias=True), LAYERS),
        (some_vgg(), VGG_LAYERS),
        (some_vgg("average"), VGG_LAYERS),
    ],
    ids=["lite", "lite-zeros", "lite-antialias", "vgg", "vgg-average"],
)
def test_features_of_tiles_are_those_of_the_whole(
    network: Lite | Vgg, layers: Sequence[str], side: int, size: tuple[int, int]
) -> None:
    shown = picture(*size)
    whole = network(shown, layers)
    tiling = Tiling(network, layers, side)
    tiled = TiledNetwork(network, tiling)(shown, layers)
    assert list(tiled) == list(whole)
    for layer in layers:
        torch.testing.assert_close(tiled[layer], whole[layer], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("side", "step"), [(32, 32), (40, 8), (64, 16)])
def test_tiles_cover_a_picture_once(size: tuple[int, int], side: int, step: int) -> None:
    class Looks:
        def reach(self, layers: Sequence[str]) -> tuple[int, int]:
            return 5, step

    count = torch.zeros(1, 1, *size)
    for tile in Tiling(Looks(), ["a"], side).tiles(*size):
        count[..., tile.rows.start : tile.rows.stop, tile.columns.start : tile.columns.stop] += 1
        for span, length in zip((tile.rows, tile.columns), size, strict=True):
            assert span.start % step == span.first_seen % step == 0
            assert (span.end_seen - span.first_seen) % step == length % step
            assert span.first_seen <= max(span.start - 5, 0)
            assert span.end_seen >= min(span.stop + 5, length)
            assert span.is_last == (span.stop == length)
    assert count.eq(1).all()


@pytest.mark.parametrize(
    "network",
    [some_lite(), some_lite(antialias=True), some_vgg(), some_vgg("l2")],
    ids=["lite", "lite-antialias", "vgg", "vgg-l2"],
)
def test_no_position_looks_farther_than_the_reach(network: Lite | Vgg) -> None:
    # The gradient of one position shows all pixels that it depends on.
    layers = ("block3.expand", "block4.expand") if isinstance(network, Lite) else VGG_LAYERS[1:]
    shown = picture(200, 232).requires_grad_()
    for layer in layers:
        reach, stride = network.reach([layer])
        features = network(shown, [layer])[layer]
        row, column = features.shape[2] // 2, features.shape[3] // 2
        (slope,) = torch.autograd.grad(features[0, :, row, column].square().sum(), shown)
        for place, seen in ((row, slope.sum((0, 1, 3))), (column, slope.sum((0, 1, 2)))):
            where = seen.nonzero().flatten()
            assert where.min() >= place * stride - reach
            assert where.max() < (place + 1) * stride + reach


def losses(
    network: Lite | Vgg,
    layers: Sequence[str],
    statistic: Statistic[Any],
    *,
    size: tuple[int, int],
    masks: bool = False,
    smoothing: Smoothing | None = None,
) -> dict[str, Any]:
    styles = [StylePicture(picture=picture(80, 60, seed)) for seed in (1, 2)]
    regions = [Region(styles=styles)]
    if masks:
        left = torch.zeros(1, 1, *size, dtype=torch.float64)
        left[..., : size[1] // 3] = 1
        regions = [
            Region(styles=styles[:1], mask=left, name="left"),
            Region(styles=styles[1:], mask=1 - left, name="right"),
        ]
    smoothing = smoothing or Smoothing()
    shares = dict.fromkeys(layers, 1 / len(layers))
    return feature_losses(
        network,
        content=Content(
            picture=picture(*size, seed=3), layers={layers[-1]: 1.0}, smoothing=smoothing
        ),
        style=Style(
            regions=regions, layers=shares, weight=5.0, statistic=statistic, smoothing=smoothing
        ),
        relative=True,
    )


@pytest.mark.parametrize("masks", [False, True])
@pytest.mark.parametrize(
    "statistic", [Gram(), MeanCovariance(), Gaussian(iterations=30)], ids=["gram", "moments", "w2"]
)
@pytest.mark.parametrize("kind", ["lite", "vgg"])
def test_losses_and_gradients_are_those_of_the_whole(
    kind: str, statistic: Statistic[Any], *, masks: bool
) -> None:
    network: Lite | Vgg = some_lite() if kind == "lite" else some_vgg()
    layers = LAYERS if kind == "lite" else VGG_LAYERS
    size = (129, 95)
    terms = losses(
        network,
        layers,
        statistic,
        size=size,
        masks=masks,
        smoothing=Smoothing(kind="scale", amount=2),
    )
    terms["variation"] = TotalVariation(weight=0.7)
    tiled = TiledObjective(network, terms, Tiling(network, layers, 32))
    whole = Objective(network, terms)
    assert (tiled.layers, tiled.is_random) == (whole.layers, whole.is_random)
    for seed in (5, 6):  # twice, as the shares are found once
        shown = picture(*size, seed=seed).requires_grad_()
        wanted, found = whole(shown), tiled(shown)
        assert list(found) == list(wanted)
        for name, value in wanted.items():
            assert value.item() > 0
            torch.testing.assert_close(found[name].detach(), value.detach(), rtol=1e-7, atol=0)
        (slope,) = torch.autograd.grad(total_loss(wanted), shown)
        (other,) = torch.autograd.grad(3 * total_loss(found), shown)
        torch.testing.assert_close(
            other / 3, slope, rtol=1e-5, atol=1e-7 * slope.abs().max().item()
        )
        with torch.no_grad():
            assert tiled(shown)["style"].item() == pytest.approx(wanted["style"].item(), rel=1e-7)


def test_a_term_without_weight_is_zero_and_pixels_alone_are_fine() -> None:
    network = some_lite()
    tiling = Tiling(network, LAYERS, 32)
    terms = losses(network, LAYERS, Gram(), size=(64, 64))
    terms = {"variation": TotalVariation(weight=1.0), "other": TotalVariation(weight=0.0)}
    shown = picture(64, 64).requires_grad_()
    found = TiledObjective(network, terms, tiling)(shown)
    assert found["other"] == 0
    assert torch.equal(found["variation"], Objective(network, terms)(shown)["variation"])


@pytest.mark.parametrize(
    ("statistic", "smoothing", "said"),
    [
        (Sliced(), None, "style: Sliced is no average of its parts"),
        (Gram(), Smoothing(kind="softmax"), "content: a softmax is of the whole picture"),
    ],
)
def test_what_is_of_the_whole_is_refused(
    statistic: Statistic[Any], smoothing: Smoothing | None, said: str
) -> None:
    network = some_lite()
    terms = losses(network, LAYERS, statistic, size=(64, 64), smoothing=smoothing)
    with pytest.raises(ValueError, match=said):
        TiledObjective(network, terms, Tiling(network, LAYERS, 32))


def test_what_can_be_tiled_says_so() -> None:
    def looks_everywhere(image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        raise NotImplementedError

    assert has_reach(Lite())
    assert not has_reach(looks_everywhere)
    assert is_averaged(Gram())
    assert not is_averaged(Sliced())
    with pytest.raises(ValueError, match="side: expected at least 1, got 0"):
        Tiling(Lite(), ["stem"], 0)


def test_small_gradients_do_not_vanish_in_half_precision() -> None:
    network = some_lite().float()
    size = (64, 96)

    def compute(image: Tensor, layers: Sequence[str]) -> Mapping[str, Tensor]:
        with torch.autocast("cpu", dtype=torch.float16):
            found: Mapping[str, Tensor] = network(image, layers)
        return found

    terms = losses(network.double(), LAYERS, Gram(), size=size)
    network.float()
    # As of a picture of many pixels, of which each has a small part.
    small = {
        name: replace(
            term,
            parts=[
                replace(part, weight=float(part.weight) * 1e-5, target=part.target.float())
                for part in term.parts
            ],
        )
        for name, term in terms.items()
    }
    shown = picture(*size, seed=5).float().requires_grad_()
    (exact,) = torch.autograd.grad(total_loss(Objective(network, small)(shown)), shown)
    tiled = TiledObjective(compute, small, Tiling(network, LAYERS, 32))
    (found,) = torch.autograd.grad(total_loss(tiled(shown)), shown)
    (plain,) = torch.autograd.grad(total_loss(Objective(compute, small)(shown)), shown)
    assert (plain - exact).norm() > 0.9 * exact.norm()  # without a scale, nothing is left
    assert (found - exact).norm() < 0.5 * exact.norm()


def test_a_tile_that_no_part_looks_at_has_no_gradient() -> None:
    network, size = some_lite(), (64, 160)
    left = torch.zeros(1, 1, *size, dtype=torch.float64)
    left[..., :32] = 1
    style = Style(
        regions=[Region(styles=[StylePicture(picture=picture(80, 60))], mask=left)],
        layers={"stem": 1.0},
    )
    terms = feature_losses(network, style=style)
    shown = picture(*size).requires_grad_()
    tiled = TiledObjective(network, terms, Tiling(network, ["stem"], 32))
    (found,) = torch.autograd.grad(total_loss(tiled(shown)), shown)
    (wanted,) = torch.autograd.grad(total_loss(Objective(network, terms)(shown)), shown)
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-12)
    assert found[..., 64:].eq(0).all()
    assert found[..., :32].ne(0).any()
