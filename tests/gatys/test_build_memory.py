"""The memory that a stylization is estimated to need, and which networks can be run in tiles."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from impasto.gatys.build import build_memory_estimate, build_settings
from impasto.gatys.features.lite import Lite
from impasto.gatys.features.models import ModelNetwork
from impasto.gatys.features.pixels import Pixels
from impasto.gatys.features.smoothing import Smoothing
from impasto.gatys.features.vgg import Vgg
from impasto.gatys.presets import BUILTIN, LITE, PRESETS, Preset
from impasto.options.stylize import StylizeOptions

WIDTH = 1 / 16


def test_demand_of_pixels() -> None:
    estimate = build_memory_estimate(BUILTIN, Pixels())
    assert (estimate.history, list(estimate.style_channels)) == (0, [])
    assert [layer.stride for layer in estimate.layers] == [1]
    assert 10e6 < estimate.bytes(256, 256) < 1e9
    assert (
        build_memory_estimate(replace(BUILTIN, optimizer="lbfgs", history=9), Pixels()).history == 9
    )


def test_demand_of_a_network() -> None:
    network = Vgg(width=WIDTH)
    network.truncate("relu5_1")
    wanted = replace(PRESETS["gatys2016"], style_layers={"relu1_1": 0.5, "pool2": 0.5})
    estimate = build_memory_estimate(wanted, network)
    assert estimate.history == 100
    assert list(estimate.style_channels) == [4]
    # 13 convolutions and 4 poolings, whose averages keep no indices.
    assert len(estimate.layers) == 17
    assert {layer.index_bytes for layer in estimate.layers} == {0}
    assert estimate.layers[-1].channels == 32
    assert estimate.layers[-1].stride == 16
    adam = build_memory_estimate(replace(wanted, optimizer="adam", pooling="max"), network)
    assert adam.history == 0
    assert {layer.index_bytes for layer in adam.layers} == {0, 8}
    network.truncate("conv2_2")
    shallow = replace(wanted, content_layers={"relu2_1": 1.0})
    assert len(build_memory_estimate(replace(shallow, style_layers={}), network).layers) == 5


def test_networks_of_which_parts_are_seen_as_in_the_whole_can_be_tiled() -> None:
    def reach(preset: Preset, network: Any, **changes: Any) -> Any:
        return build_memory_estimate(replace(preset, **changes), network).reach

    lite, vgg = LITE, PRESETS["crowsonkb"]
    # Worked out by hand, with the larger side of what is padded: 3 x 3 at strides 1, 2, 2, 4, 8
    # (twice) and 16, and 5 x 5 at 4 and 8, of which those at 1, 2, 4 and 8 halve the size.
    assert reach(lite, Lite()) == (2 + 2 + 4 + 4 + 16 + 16 + 16 + 16, 16)
    # Two convolutions and a pooling, twice; four and a pooling, twice; and one.
    assert reach(vgg, Vgg(width=WIDTH)) == (3 + 6 + 20 + 40 + 16, 16)
    estimate = build_memory_estimate(lite, Lite())
    assert [layer.stride for layer in estimate.pixel_layers] == [1, 2, 4, 1]
    assert [(layer.channels, layer.stride) for layer in estimate.kept_maps] == [(240, 8)] * 6
    assert {layer.stride for layer in estimate.compared} == {2, 4, 8, 16}
    assert reach(vgg, Vgg(width=WIDTH), statistic="sliced") is None
    assert reach(lite, Lite(), smoothing=Smoothing(kind="softmax")) is None
    given = StylizeOptions(
        content=Path("a.png"), styles=[Path("b.png")], backbone="random:resnet18", smoothing="none"
    )
    assert reach(build_settings(given), ModelNetwork("resnet18")) is None
