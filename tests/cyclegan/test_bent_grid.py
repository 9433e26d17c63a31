"""Bending pictures for the network, so that its grid leaves no trace."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from impasto.cyclegan.bent_grid import BentGrid
from impasto.cyclegan.translator import Translator
from impasto.data import to_pictures
from impasto.data.metrics.spectrum import GridPeaks

CPU = torch.device("cpu")


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
    """The places that neighbours come from keep their order: the Jacobian stays positive."""
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
