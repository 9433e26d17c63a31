"""Bending pictures for the network, so that its grid leaves no trace."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.inference.translator import (
    BentGrid,
    NotFiniteError,
    Translator,
    fit_strokes,
)
from impasto.cyclegan.networks import ResnetGenerator, UnetGenerator
from impasto.data import to_pictures, to_tensor
from impasto.data.metrics.spectrum import GridPeaks

CPU = torch.device("cpu")


class Unchanged(ResnetGenerator):
    """Gives back what it gets, and notes its size."""

    def __init__(self) -> None:
        super().__init__(channels=1, blocks=1)
        self.seen: list[tuple[int, ...]] = []

    def forward(self, images: Tensor) -> Tensor:
        self.seen.append(tuple(images.shape))
        return images


def resnet() -> ResnetGenerator:
    network = ResnetGenerator(channels=4, blocks=2)
    with torch.no_grad():
        generator = torch.Generator().manual_seed(0)
        for parameter in network.parameters():
            scale = parameter[0].numel() ** -0.5 if parameter.ndim == 4 else 0.5
            parameter.normal_(0, scale, generator=generator)
    return network


def noise(*shape: int, seed: int = 1) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    ("size", "padded"),
    [
        ((1, 1), (8, 8)),
        ((1, 7), (8, 8)),
        ((3, 500), (8, 500)),
        ((257, 130), (260, 132)),
        ((64, 36), (64, 36)),
        ((9, 4), (12, 8)),
    ],
)
def test_any_size(size: tuple[int, int], padded: tuple[int, int]) -> None:
    images = noise(2, 3, *size)
    unchanged = Unchanged()
    # What was padded is what is cut off: every pixel comes back in its place.
    assert torch.equal(Translator(unchanged, device=CPU)(images), images)
    assert unchanged.seen == [(2, 3, *padded)]
    result = Translator(resnet(), device=CPU)(images)
    assert result.shape == images.shape
    assert result.isfinite().all()


def test_padding_continues_the_picture_by_reflection() -> None:
    images, network = noise(1, 3, 13, 18), resnet().eval()
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (1, 2), (1, 1)), mode="reflect")
    with torch.no_grad():
        expected = network(torch.from_numpy(padded))[:, :, 1:14, 1:19]
    torch.testing.assert_close(Translator(network, device=CPU)(images), expected)


@pytest.mark.parametrize("size", [(8, 8), (64, 36), (12, 100)])
def test_equals_the_plain_network_on_multiples_of_4(size: tuple[int, int]) -> None:
    images, network = noise(1, 3, *size), resnet().eval()
    with torch.no_grad():
        expected = network(images)
    made = Translator(network, device=CPU)(images)
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-5)


def test_a_picture_does_not_depend_on_its_batch() -> None:
    images, translate = noise(3, 3, 21, 30), Translator(resnet(), device=CPU)
    together = translate(images)
    assert together.std() > 0.1
    for index in range(3):
        torch.testing.assert_close(
            translate(images[index : index + 1])[0], together[index], rtol=0, atol=1e-5
        )


def test_dropout_is_off_and_no_gradient_is_kept() -> None:
    network = ResnetGenerator(channels=2, blocks=2, dropout=True).train()
    translate = Translator(network, device=CPU)
    images = noise(1, 3, 16, 16)
    first = translate(images)
    assert torch.equal(first, translate(images))
    assert not first.requires_grad
    assert not network.training


def test_unet_of_any_size() -> None:
    translate = Translator(UnetGenerator(downs=5, channels=2), device=CPU)
    for size in ((1, 1), (33, 5), (64, 32)):
        assert translate(noise(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_floating_point_becomes_float32(dtype: torch.dtype) -> None:
    images, translate = noise(1, 3, 10, 9).to(dtype), Translator(resnet(), device=CPU)
    result = translate(images)
    assert result.dtype == torch.float32
    assert torch.equal(result, translate(images.float()))


def test_mixed_precision_stays_close() -> None:
    images, network = noise(1, 3, 16, 16), resnet()
    exact = Translator(network, device=CPU)(images)
    mixed = Translator(network, device=CPU, mixed_precision="bf16")(images)
    assert mixed.dtype == torch.float32
    assert not torch.equal(mixed, exact)
    assert (mixed - exact).abs().mean() < 0.05


@pytest.mark.parametrize(
    "images",
    [
        torch.zeros(3, 8, 8),
        torch.zeros(1, 4, 8, 8),
        torch.zeros(1, 8, 8, 3),
        torch.zeros(1, 3, 8, 8, dtype=torch.uint8),
    ],
)
def test_other_shapes_and_types_are_refused(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"images: expected \(N, 3, H, W\) floating") as caught:
        Translator(resnet(), device=CPU)(images)
    assert f"got {tuple(images.shape)} {images.dtype}" in str(caught.value)


class Dots(nn.Module):
    """Returns the picture with a faint dot in every cell of four pixels."""

    stride, smallest = 4, 8

    def forward(self, images: Tensor) -> Tensor:
        dots = torch.zeros_like(images)
        dots[:, :, ::4, ::4] = 0.1
        return images + dots


def smooth_pictures(count: int = 4, side: int = 128) -> Tensor:
    noise = torch.randn(count, 3, 20, 20, generator=torch.Generator().manual_seed(1))
    return F.interpolate(noise, side, mode="bicubic") * 0.2


def peaks(images: Tensor) -> dict[int, float]:
    grids = GridPeaks()
    for picture in to_pictures(images):
        grids.add(picture)
    return grids.result()


def test_straightening_undoes_bending_up_to_the_border() -> None:
    images = smooth_pictures()
    for strength in (1.0, 3.0, 3.5):
        grid = BentGrid(128, 128, strength_px=strength, device=CPU)
        bent = grid.bend(images)
        back = grid.straighten(bent)
        assert (bent[:, :, 20:-20, 20:-20] - images).abs().mean() > 5 * (back - images).abs().mean()
        assert (back - images).abs().mean() < 0.005
        border = (back - images).abs()
        border[:, :, 4:-4, 4:-4] = 0
        assert border.max() < 0.06


@pytest.mark.parametrize("strength", [3.0, 3.5])
@pytest.mark.parametrize("size", [(64, 64), (700, 1100)])
def test_nothing_folds(strength: float, size: tuple[int, int]) -> None:
    """The places that neighbors come from keep their order: the Jacobian stays positive."""
    rows, columns = (torch.arange(float(side + 40)) for side in size)
    places = torch.stack(torch.meshgrid(columns, rows, indexing="xy"))[None]
    grid = BentGrid(*size, strength_px=strength, device=CPU)
    moved = grid.bend(places[:, :, 20:-20, 20:-20])[0, :, 32:-32, 32:-32]
    along_x, along_y = moved[:, :-1].diff(dim=2), moved[:, :, :-1].diff(dim=1)
    areas = along_x[0] * along_y[1] - along_x[1] * along_y[0]
    assert 0.02 < areas.min() < 0.6
    assert areas.mean() == pytest.approx(1, abs=0.05)


def test_too_strong_a_bend_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected 0 to 3\.5, got 4"):
        BentGrid(64, 64, strength_px=4, device=CPU)


def test_displacements_have_the_strength_that_is_asked_for() -> None:
    columns = torch.arange(300.0).expand(1, 1, 200, 300)
    moved = BentGrid(200, 300, strength_px=3.0, device=CPU).bend(columns)[:, :, 20:-20, 20:-20]
    assert 2.5 < float((moved - columns)[..., 16:-16].std()) < 3.5


def test_a_grid_of_the_generator_vanishes_and_the_picture_stays() -> None:
    images = smooth_pictures()
    dotted, bent = (
        Translator(Dots(), device=CPU, grid_bend_px=bend)(images)  # type: ignore[arg-type]
        for bend in (0.0, 3.0)
    )
    before, straight, after = peaks(images), peaks(dotted), peaks(bent)
    assert straight[4] > 100 * before[4]
    assert after[4] < 0.02 * straight[4]
    assert (bent - images - 0.1 / 16).abs().mean() < 0.02


@pytest.mark.parametrize("size", [(64, 64), (65, 130), (97, 71)])
def test_sizes_stay_and_equal_pictures_have_equal_results(size: tuple[int, int]) -> None:
    images = torch.rand(2, 3, *size) * 2 - 1
    first, second = (
        Translator(Dots(), device=CPU, grid_bend_px=3.0)(images)  # type: ignore[arg-type]
        for _ in range(2)
    )
    assert first.shape == images.shape
    assert torch.equal(first, second)
    assert first.abs().max() <= 1


def test_small_pictures_stay_straight() -> None:
    images = torch.rand(1, 3, 40, 63) - 0.5
    straight, bent = (
        Translator(Dots(), device=CPU, grid_bend_px=bend)(images)  # type: ignore[arg-type]
        for bend in (0.0, 3.0)
    )
    np.testing.assert_array_equal(straight, bent)


class Broken(Unchanged):
    """Makes a value that is no number of the first pixel."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([images[..., :1] / 0 * 0, images[..., 1:]], dim=3)


@pytest.mark.parametrize("bend_px", [0.0, 3.0])
def test_what_is_not_finite_is_no_picture(bend_px: float) -> None:
    images = noise(1, 3, 80, 80)
    with pytest.raises(NotFiniteError, match=r"not finite numbers \(NaN or infinite\)$"):
        Translator(Broken(), device=CPU, grid_bend_px=bend_px)(images)
    with pytest.raises(NotFiniteError, match="try --mixed_precision no"):
        Translator(Broken(), device=CPU, mixed_precision="bf16", grid_bend_px=bend_px)(images)


@pytest.mark.parametrize("bend_px", [0.0, 3.0])
def test_bytes_in_and_out_are_the_same_as_floating_point(bend_px: float) -> None:
    rng = np.random.default_rng(2)
    rgb = [rng.integers(0, 256, (70, 66, 3), dtype=np.uint8) for _ in range(2)]
    translate = Translator(resnet(), device=CPU, grid_bend_px=bend_px)
    expected = to_pictures(translate(torch.stack([to_tensor(one) for one in rgb])))
    for made, wanted in zip(translate.begin(rgb)(), expected, strict=True):
        np.testing.assert_array_equal(made, wanted)


def test_what_is_not_finite_is_told_at_the_end() -> None:
    ended = Translator(Broken(), device=CPU).begin([np.zeros((16, 16, 3), dtype=np.uint8)])
    with pytest.raises(NotFiniteError, match="not finite"):
        ended()


def test_weights_that_change_later_count() -> None:
    network, images = resnet(), noise(1, 3, 24, 16)
    translate = Translator(network, device=CPU)
    before = translate(images)
    network.load_state_dict({name: value * 1.5 for name, value in network.state_dict().items()})
    after = translate(images)
    assert torch.equal(after, Translator(network, device=CPU)(images))
    assert (after - before).abs().max() > 0.05


@pytest.mark.parametrize("sides", [(3000, 4000), (4000, 3000), (1000, 5000), (700, 700)])
def test_strokes_are_as_wide_a_part_of_every_large_picture(sides: tuple[int, int]) -> None:
    # The generator sees a picture whose shorter side is the one its strokes are right for, so that
    # they are as wide a part of it as they are there.
    seen = min(sides) / fit_strokes(*sides, strokes_at_px=500)
    assert seen == pytest.approx(500)


def test_strokes_of_smaller_pictures_stay_as_they_are() -> None:
    assert fit_strokes(500, 800, strokes_at_px=500) == 1
    assert fit_strokes(20, 30, strokes_at_px=500) == 1
    # Up to a third finer is no harm, and a small factor would blur.
    assert fit_strokes(650, 800, strokes_at_px=500) == 1
    assert fit_strokes(670, 800, strokes_at_px=500) == pytest.approx(1.34)
