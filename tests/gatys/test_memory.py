import functools
import re
from typing import Any

import pytest
import torch

from impasto.gatys.memory import (
    Layer,
    MemoryEstimate,
    MemoryPlan,
    plan_memory,
    vgg_layers,
)
from impasto.options.errors import ImpastoError
from impasto.runs.memory import gigabytes

CPU = torch.device("cpu")


@pytest.mark.parametrize(("depth", "convolutions"), [(16, 11), (19, 13)])
def test_layers_of_a_vgg_up_to_conv5_1(depth: int, convolutions: int) -> None:
    layers = vgg_layers(depth)
    kept = [layer for layer in layers if not layer.index_bytes]
    assert len(kept) == convolutions
    assert len(layers) == convolutions + 4
    assert layers[-1] == Layer(channels=512, stride=16)
    # Simonyan and Zisserman 2015, configuration E: 2 x 64, 2 x 128 / 4, 4 x 256 / 16, ...
    if depth == 19:
        assert sum(layer.channels / layer.stride**2 for layer in kept) == 128 + 64 + 64 + 32 + 2
    assert all(not layer.index_bytes for layer in vgg_layers(depth, pooling="average"))


def test_a_narrower_network_needs_less() -> None:
    halves = vgg_layers(19, width=0.5, blocks=3, last=2)
    assert [layer.channels for layer in halves] == [32, 32, 32, 64, 64, 64, 128, 128]
    assert MemoryEstimate(layers=halves).bytes(256, 256) < MemoryEstimate().bytes(256, 256) / 1.5


def test_history_costs_two_pictures_a_step_and_some_gaps() -> None:
    costs = [MemoryEstimate(history=history).bytes(100, 200) for history in (10, 11)]
    assert costs[1] - costs[0] == pytest.approx(1.35 * 2 * 3 * 100 * 200 * 4, abs=1)


def test_half_precision_needs_less() -> None:
    assert MemoryEstimate(value_bytes=2).bytes(512, 512) < MemoryEstimate().bytes(512, 512)


def test_the_largest_side_is_the_largest_that_fits() -> None:
    estimate = MemoryEstimate(history=10)
    side = estimate.largest_side(300, 400, 10**9)
    assert estimate.bytes(round(side * 0.75), side) <= 10**9
    assert estimate.bytes(round((side + 1) * 0.75), side + 1) > 10**9
    assert estimate.largest_side(300, 400, 0) == 0


def test_a_margin_is_computed_and_no_part_of_the_size() -> None:
    estimate, free = MemoryEstimate(), 10**9
    side = estimate.largest_side(400, 400, free, margin=8)
    # The picture with its margin on either side is as large as one without a margin can be.
    assert side + 16 == estimate.largest_side(400, 400, free)
    assert plan_memory(estimate, side, side, device=CPU, margin=8, available=free).bytes <= free
    said = f"^{side + 1} x {side + 1} pixels need .* use a size of at most {side}$"
    with pytest.raises(ImpastoError, match=said):
        plan_memory(estimate, side + 1, side + 1, device=CPU, margin=8, available=free)


def test_what_fits_is_estimated() -> None:
    estimate = MemoryEstimate()
    expected = estimate.bytes(256, 256)
    plan = MemoryPlan(bytes=expected)
    assert plan_memory(estimate, 256, 256, device=CPU, available=expected) == plan
    assert plan_memory(estimate, 256, 256, device=torch.device("mps")) == plan


def test_what_does_not_fit_is_refused_with_advice() -> None:
    estimate = MemoryEstimate(history=100)
    adam = MemoryEstimate().bytes(512, 512)
    with pytest.raises(ImpastoError) as caught:
        plan_memory(estimate, 512, 512, device=CPU, available=adam + 6 * 10**7)
    side = estimate.largest_side(512, 512, adam + 6 * 10**7)
    steps = estimate.longest_history(512, 512, adam + 6 * 10**7)
    assert str(caught.value) == (
        f"512 x 512 pixels need about {gigabytes(estimate.bytes(512, 512))} on cpu, of which "
        f"{gigabytes(adam + 6 * 10**7)} are available: use a size of at most {side} or an "
        f"L-BFGS history of at most {steps} or Adam"
    )
    assert steps == 7  # 6e7 bytes / (1.35 * 2 * 3 * 512 * 512 * 4)
    assert MemoryEstimate(history=5).longest_history(512, 512, 10**6) == -1
    with pytest.raises(ImpastoError) as caught:
        plan_memory(MemoryEstimate(), 512, 512, device=CPU, available=10**6)
    assert str(caught.value).endswith("use another machine")


def tileable(**changes: Any) -> MemoryEstimate:
    """An estimate of a network of one layer that is kept, 40 channels at full size."""
    layer = Layer(channels=40, stride=1)
    compared = Layer(channels=2, stride=1)
    given = {"layers": [layer], "compared": [compared], "reach": (8, 8), "style_channels": ()}
    return MemoryEstimate(**{**given, **changes})


def test_what_fits_is_seen_whole_and_other_pictures_in_the_largest_tiles_that_fit() -> None:
    estimate = tileable()
    whole = estimate.bytes(3000, 3000)
    plan = functools.partial(plan_memory, estimate, 3000, 3000, device=CPU)
    assert plan(available=whole) == MemoryPlan(bytes=whole)
    less = plan(available=whole - 1)
    assert less.tile_px == 2048
    assert less.bytes == estimate.bytes(3000, 3000, tile_px=2048) < whole
    smallest = estimate.bytes(3000, 3000, tile_px=192)
    assert plan(available=smallest) == MemoryPlan(bytes=smallest, tile_px=192)
    with pytest.raises(ImpastoError, match=r"3000 x 3000 pixels need about .* even in tiles, of"):
        plan(available=smallest - 1)


def test_what_advice_says_fits_in_tiles() -> None:
    estimate = tileable()
    with pytest.raises(ImpastoError) as caught:
        plan_memory(estimate, 6000, 3000, device=CPU, available=10**9)
    side = int(re.findall(r"a size of at most (\d+)", str(caught.value))[0])
    assert plan_memory(estimate, side, side // 2, device=CPU, available=10**9).tile_px
    assert estimate.bytes(side, side // 2) > 10**9


def test_a_tile_takes_what_its_surroundings_take_and_the_maps_that_are_compared() -> None:
    estimate = tileable()
    outputs = 1.35 * (1 + 4) * 40 * (256 + 2 * 16) ** 2 * 4
    maps = 2 * 2 * 1000 * 2000 * 4
    pictures = 12 * 3 * 1000 * 2000 * 4
    assert estimate.bytes(1000, 2000, tile_px=256) == pytest.approx(outputs + maps + pictures)
    # Losses of pixels are of the whole, and so are the maps of the content.
    pixels = tileable(pixel_layers=[Layer(channels=4, stride=1)] * 3, kept_maps=estimate.compared)
    evaluating = 2 * 1000 * 2000 * 4 + 1.35 * (3 + 4) * 4 * 1000 * 2000 * 4
    assert pixels.bytes(1000, 2000, tile_px=256) == pytest.approx(outputs + evaluating + pictures)


def test_a_style_larger_than_the_content_counts() -> None:
    usual, large = tileable(), tileable(style_share=8.0)
    assert large.bytes(160, 1280, tile_px=192) - usual.bytes(160, 1280, tile_px=192) == (
        2 * 7 * 2 * 160 * 1280 * 4
    )
    # Seen whole, its maps count where they are more than what is kept of the content.
    assert tileable(style_share=2.0).bytes(160, 1280) == usual.bytes(160, 1280)
    assert tileable(style_share=400.0).bytes(160, 1280) > 2 * usual.bytes(160, 1280)


def test_losses_that_take_some_positions_keep_no_more() -> None:
    layer = Layer(channels=3, stride=2, sampled=100, most_step=5)
    assert layer.positions(20, 20) == 100
    assert layer.positions(38, 40) == 380  # not yet four for each
    assert layer.positions(40, 40) == 100
    assert layer.positions(2000, 1000) == 500_000 // 25


def test_other_networks_have_no_tiles() -> None:
    with pytest.raises(ValueError, match="this network cannot be run tile by tile"):
        MemoryEstimate().bytes(1000, 1000, tile_px=256)
    with pytest.raises(ImpastoError, match=r"^1000 x 1000 pixels need about [^ ]+ GB on cpu, of"):
        plan_memory(MemoryEstimate(), 1000, 1000, device=CPU, available=10**8)
