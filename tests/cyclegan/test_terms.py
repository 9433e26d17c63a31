"""The palette loss: colors of many translations together against those of many real pictures."""

import pytest
import torch
from torch import Tensor

from impasto.cyclegan.terms import PaletteLoss


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, *, seed: int, side: int = 32) -> Tensor:
    """Plain squares of 8 pixels, each of a color of its own."""
    colors = torch.rand(count, 3, side // 8, side // 8, generator=seeded(seed)) - 0.5
    return colors.repeat_interleave(8, 2).repeat_interleave(8, 3)


def test_the_same_colors_at_other_places_are_no_distance() -> None:
    loss = PaletteLoss(generator=seeded())
    real = pictures(4, seed=1)
    for _ in range(3):
        moved = real.roll((8, 16), dims=(2, 3)).flip(0)
        assert float(loss(moved, real)) < 1e-6


def test_a_shift_of_all_colors_is_its_length_along_the_directions() -> None:
    loss = PaletteLoss(generator=seeded())
    real = pictures(4, seed=1)
    shift = torch.tensor([0.2, 0.0, -0.1])[:, None, None]
    # The mean over directions of the projected length is half the length (Archimedes).
    expected = float(shift.norm()) / 2
    found = [float(loss(real + shift, real)) for _ in range(100)]
    assert sum(found) / 100 == pytest.approx(expected, rel=0.15)


def test_earlier_pictures_count_so_that_one_picture_need_not_have_all_colors() -> None:
    """Dark and light pictures in turns, against a mixture of both."""
    dark, light = pictures(1, seed=1) - 0.5, pictures(1, seed=2) + 0.5
    alone = float(PaletteLoss(generator=seeded())(dark, light))
    loss = PaletteLoss(generator=seeded())
    found = [float(loss(*((dark, light) if turn % 2 else (light, dark)))) for turn in range(20)]
    assert found[0] > 0.5 * alone
    assert found[-1] < 0.15 * alone


def test_descending_it_gives_the_palette_and_keeps_the_order() -> None:
    made = pictures(8, seed=3) * 0.4 + 0.3
    before, real = made.mean(dim=1), pictures(8, seed=4)

    def distance(seed: int) -> Tensor:
        """Without a past, as the pictures are new ones in each step."""
        return PaletteLoss(generator=seeded(seed))(made, real)

    def mean_distance() -> float:
        return sum(float(distance(seed)) for seed in range(900, 920)) / 20

    first = mean_distance()
    for step in range(150):
        made.requires_grad_()
        (slope,) = torch.autograd.grad(distance(step), made)
        made = made.detach() - 300 * (1 - step / 150) * slope
    assert mean_distance() < 0.1 * first
    order = torch.corrcoef(torch.stack([before.flatten(), made.mean(dim=1).flatten()]))
    assert order[0, 1] > 0.9


def test_sizes_may_differ_and_16_bits_do_not_matter() -> None:
    loss = PaletteLoss(generator=seeded())
    made, real = pictures(2, seed=5, side=64), pictures(1, seed=6, side=32)
    with torch.autocast("cpu", torch.bfloat16):
        found = loss(made, real)
    assert found.dtype == torch.float32
    assert float(found) == float(PaletteLoss(generator=seeded())(made, real))
    assert 0 < float(loss(made[:, :, :7, :5], real)) < 1  # smaller than a square


def test_it_goes_on_from_its_state() -> None:
    loss = PaletteLoss(generator=seeded())
    for seed in range(3):
        loss(pictures(2, seed=seed), pictures(2, seed=seed + 10))
    again = PaletteLoss(generator=seeded(7))
    again.load_state_dict(loss.state_dict(), device=torch.device("cpu"))
    for seed in range(3, 6):
        made, real = pictures(2, seed=seed), pictures(2, seed=seed + 10)
        assert torch.equal(loss(made, real), again(made, real))
