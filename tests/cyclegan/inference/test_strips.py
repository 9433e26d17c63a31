"""Computing in strips, against the network's own layers in 64 bits, and against counting."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from impasto.cyclegan.blocks import ResnetBlock
from impasto.cyclegan.inference import maps
from impasto.cyclegan.inference.maps import Affine, Space
from impasto.cyclegan.inference.strips import ImageMap, Keep, StripGenerator
from impasto.cyclegan.models import find_generator
from impasto.cyclegan.networks import ResnetGenerator, UnetGenerator


def drawn(network: ResnetGenerator) -> ResnetGenerator:
    """Draw all weights and statistics, so that none of them could be forgotten unseen."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in network.state_dict().items():
            if value.is_floating_point():
                scale = value[0].numel() ** -0.5 if value.ndim == 4 else 0.4
                value.normal_(0, scale, generator=generator)
                if name.endswith("running_var"):
                    value.abs_().add_(0.5)
    return network.eval()


def picture(height: int, width: int, count: int = 1) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(count, 3, height, width, generator=generator) * 2 - 1


def in_64_bits(network: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        made = network.double()(images.double())
    network.float()
    assert isinstance(made, Tensor)
    return made


@pytest.fixture
def low_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every strip have four rows, so that borders of strips are everywhere."""
    monkeypatch.setattr(maps, "_STRIP_BYTES", 1)
    monkeypatch.setattr(maps, "_LEAST_ROWS", 4)


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize("size", [(8, 8), (36, 20), (44, 64), (12, 100)])
@pytest.mark.parametrize("upsample", ["deconv", "resize", "bilinear"])
@pytest.mark.parametrize("norm", ["instance", "affine", "layer", "batch", "none"])
def test_strips_equal_the_layers(norm: str, upsample: str, size: tuple[int, int]) -> None:
    network = drawn(
        ResnetGenerator(
            channels=6, blocks=2, norm=norm, upsample=upsample, dropout=True, color_skip=True
        )
    )
    images, computed = picture(*size, count=2), StripGenerator.of(network)
    assert computed is not None
    made, expected = computed(images), in_64_bits(network, images)
    assert expected.std() > 0.1
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=2e-5)


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize("color_skip", [False, True])
def test_strips_are_added_to_the_base(color_skip: bool) -> None:
    network = drawn(ResnetGenerator(channels=6, blocks=2, color_skip=color_skip, base="kuwahara"))
    images, computed = picture(44, 64, count=2), StripGenerator.of(network)
    assert computed is not None
    made, expected = computed(images), in_64_bits(network, images)
    assert (made - network.model(images)).abs().max() > 0.1
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=5e-5)


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize(("taken", "made"), [(1, 1), (3, 1), (1, 3), (2, 5)])
def test_other_channels_than_rgb(taken: int, made: int) -> None:
    network = drawn(ResnetGenerator(channels=6, blocks=2, in_channels=taken, out_channels=made))
    images = torch.rand(2, taken, 24, 20, generator=torch.Generator().manual_seed(0)) * 2 - 1
    computed = StripGenerator.of(network)
    assert computed is not None
    with torch.no_grad():
        torch.testing.assert_close(computed(images), network(images), atol=1e-5, rtol=1e-5)


def test_strips_get_the_noise_of_their_rows() -> None:
    network = drawn(ResnetGenerator(channels=6, blocks=2, noise=True))
    assert network.noise is not None
    nn.init.normal_(network.noise.mix.weight, generator=torch.Generator().manual_seed(0))
    images, computed = picture(44, 64, count=2), StripGenerator.of(network)
    assert computed is not None
    made, expected = computed(images), in_64_bits(network, images)
    assert (made - network.model(images)).abs().max() > 0.1
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=5e-5)


@pytest.mark.parametrize("upsample", ["deconv", "resize", "bilinear"])
def test_many_channels_differ_by_rounding(upsample: str) -> None:
    """128 channels and more are multiplied a quarter as often, where that was measured."""
    network = drawn(ResnetGenerator(channels=32, blocks=2, upsample=upsample))
    images, computed = picture(52, 72), StripGenerator.of(network)
    assert computed is not None
    made, expected = computed(images).double(), in_64_bits(network, images)
    assert (made - expected).abs().max() < 2e-4  # a 40th of one of 256 values
    levels = [value.add(1).mul(127.5).round() for value in (made, expected)]
    assert (levels[0] - levels[1]).abs().max() <= 1
    assert (levels[0] != levels[1]).double().mean() < 0.005


@pytest.mark.parametrize("model", ["monet", "monet_cycle", "photo"])
def test_shipped_models_differ_by_one_value_at_most(model: str) -> None:
    network = find_generator(Path(model)).network
    images, computed = picture(60, 92), StripGenerator.of(network)
    assert computed is not None
    made, expected = computed(images).double(), in_64_bits(network, images)
    assert (made - expected).abs().max() < 1e-4
    levels = [value.add(1).mul(127.5).round() for value in (made, expected)]
    assert (levels[0] - levels[1]).abs().max() <= 1
    assert (levels[0] != levels[1]).double().mean() < 0.002


def test_what_is_kept_is_counted() -> None:
    # The first layer's 8 channels at full size, or the last one's; and the four rows of 8 channels
    # that are read once what is made of them begins to take their place.
    computed = StripGenerator.of(ResnetGenerator(channels=8, blocks=1).eval())
    assert computed is not None
    assert computed.map_bytes(64, 32) == 4 * (64 * 32 * 8 + 4 * 32 * 8)


def test_a_smaller_picture_after_a_larger_one_is_as_alone() -> None:
    network = drawn(ResnetGenerator(channels=5, blocks=1))
    one, other = StripGenerator.of(network), StripGenerator.of(network)
    assert one is not None
    assert other is not None
    one(picture(64, 80))
    assert torch.equal(one(picture(24, 16)), other(picture(24, 16)))


def test_another_picture_at_the_same_time_does_not_touch_it() -> None:
    """What a second thread does, in the midst of the last layer."""
    computed = StripGenerator.of(drawn(ResnetGenerator(channels=5, blocks=1)))
    assert computed is not None
    images, alone = picture(24, 16), computed(picture(24, 16))
    last, others = computed._last, [picture(24, 16) * 0.5]

    def compute(*strip: Any) -> Tensor:
        if others:
            computed(others.pop())
        return last.compute(*strip)

    computed._last = replace(last, compute=compute)
    assert torch.equal(computed(images), alone)
    assert not others


def test_means_far_from_zero_are_exact() -> None:
    values = torch.randn(4000, 6, generator=torch.Generator().manual_seed(1)) * 0.1 + 50
    moments = maps.Moments(6)
    for part in (values[:1], values[1:1000], values[1000:]):
        moments.add(part)
    means, variances = moments.result(None)
    expected = values.double().var(dim=0, unbiased=False)
    torch.testing.assert_close(means, values.double().mean(dim=0), rtol=1e-6, atol=0)
    torch.testing.assert_close(variances, expected, rtol=1e-4, atol=0)
    _, together = moments.result(2)
    left = values[:, :3].double().var(unbiased=False)
    torch.testing.assert_close(together[:3], left.expand(3), rtol=1e-4, atol=0)


class Own(ResnetGenerator):
    """Computes something else than its layers say."""

    def forward(self, images: Tensor) -> Tensor:
        return -super().forward(images)


def test_what_is_not_known_is_left_to_the_network() -> None:
    other = ResnetGenerator(channels=2, blocks=1)
    other.model[3] = nn.GELU()
    wide = ResnetGenerator(channels=2, blocks=1)
    wide.model[10] = nn.Sequential(ResnetBlock(8), nn.ReLU())
    for network in (UnetGenerator(downs=3, channels=2), Own(channels=2, blocks=1), other, wide):
        assert StripGenerator.of(network.eval()) is None


def in_little_memory(
    computed: StripGenerator,
    image: Tensor,
    folder: Path,
    *,
    keep: Keep,
    resident: int,
    known: list[Affine] | None = None,
) -> Tensor:
    """Translate with some layers kept, of which only so many values are in memory."""
    result = torch.full_like(image, torch.nan)

    def put(start: int, rows: Tensor) -> None:
        result[:, start : start + rows.shape[1]] = rows

    floats = computed.map_floats(*image.shape[1:], keep=keep)
    with Space(floats, resident=resident, folder=folder) as space:
        computed.translate(ImageMap(image), put, space=space, keep=keep, known=known)
        assert not list(folder.iterdir())  # the file has no name that could be left behind
    return result


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize("resident", [0, 3001, 10**9])
@pytest.mark.parametrize("keep", ["all", "inner", "trunk"])
@pytest.mark.parametrize("norm", ["instance", "layer", "batch"])
@pytest.mark.parametrize("size", [(8, 8), (44, 64), (100, 12)])
def test_little_memory_gives_the_same(
    tmp_path: Path, size: tuple[int, int], norm: str, keep: Keep, resident: int
) -> None:
    network = ResnetGenerator(
        channels=6, blocks=3, norm=norm, upsample="bilinear", base="kuwahara", noise=True
    )
    assert drawn(network).noise is not None
    images, computed = picture(*size), StripGenerator.of(network)
    assert computed is not None
    made = in_little_memory(computed, images[0], tmp_path, keep=keep, resident=resident)
    expected = in_64_bits(network, images)[0]
    assert expected.std() > 0.1
    torch.testing.assert_close(made.double(), expected, rtol=0, atol=5e-5)


@pytest.mark.usefixtures("low_strips")
@pytest.mark.parametrize(("norm", "passes"), [("instance", True), ("batch", False)])
def test_known_statistics_need_one_pass(norm: str, passes: bool) -> None:
    network = drawn(
        ResnetGenerator(
            channels=6, blocks=6, norm=norm, upsample="resize", color_skip=True, noise=True
        )
    )
    images, computed = picture(100, 24), StripGenerator.of(network)
    assert computed is not None
    assert computed.needs_passes == passes
    known = computed.translate(
        ImageMap(images[0]),
        lambda _start, _rows: None,
        space=Space(computed.map_floats(100, 24)),
    )
    read: list[tuple[int, int]] = []

    class Counted(ImageMap):
        def rows(self, start: int, stop: int) -> Tensor:
            read.append((start, stop))
            return super().rows(start, stop)

    result = torch.full_like(images[0], torch.nan)

    def put(start: int, rows: Tensor) -> None:
        result[:, start : start + rows.shape[1]] = rows

    computed.translate(Counted(images[0]), put, keep="none", known=known)
    expected = in_64_bits(network, images)[0]
    torch.testing.assert_close(result.double(), expected, rtol=0, atol=5e-5)
    # Once for the first layer, of which each strip looks three rows further on both sides, and once
    # for the colors, which look at rows on both sides, too.
    assert sum(stop - start for start, stop in read) <= 100 * 10 / 4 + 100 * 12 / 4
