import numpy as np
import pytest
import torch

from impasto.gatys.scales import (
    add_detail,
    enlarge,
    fit,
    plan_scales,
    scale_sizes,
    widen,
)
from impasto.options.errors import OptionError


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (512, [128, 181, 256, 362, 512]),  # Crowson's style-transfer-pytorch
        (128, [128]),
        (100, [100]),
        (180, [180]),
        (181, [128, 181]),
    ],
)
def test_sizes_by_the_root_of_two(size: int, expected: list[int]) -> None:
    assert scale_sizes(size) == expected


@pytest.mark.parametrize(("size", "total"), [(512, 3000), (1024, 4000), (2896, 5500)])
def test_iterations_as_published(size: int, total: int) -> None:
    plan = plan_scales(size, size, scale_sizes(size))
    assert [scale.iterations for scale in plan] == [1000] + [500] * (len(plan) - 1)
    assert plan[-1].before + plan[-1].iterations == total


def test_other_factors() -> None:
    assert scale_sizes(400, smallest=100, factor=2) == [100, 200, 400]
    # Rounding may not repeat a size.
    assert scale_sizes(3, smallest=1, factor=1.01) == [3]
    with pytest.raises(ValueError, match="factor: expected above 1, got 1"):
        scale_sizes(512, factor=1)


@pytest.mark.parametrize(
    ("height", "width", "longest", "expected"),
    [
        (300, 400, 200, (150, 200)),
        (400, 300, 800, (800, 600)),
        (64, 64, 99, (99, 99)),
        (1000, 1, 10, (10, 1)),
    ],
)
def test_the_shape_is_kept(
    height: int, width: int, longest: int, expected: tuple[int, int]
) -> None:
    assert fit(height, width, longest) == expected


def test_fit_refuses_nothing_sized() -> None:
    with pytest.raises(ValueError, match="sides of at least 1, got 0, 4, 5"):
        fit(0, 4, 5)


def test_a_plan_counts_on() -> None:
    plan = plan_scales(300, 400, [100, 200, 400], iterations=[70, 50, 30])
    assert [(s.height, s.width) for s in plan] == [(75, 100), (150, 200), (300, 400)]
    assert [(s.index, s.scales, s.before) for s in plan] == [(1, 3, 0), (2, 3, 70), (3, 3, 120)]
    assert [s.iterations for s in plan_scales(9, 9, [4, 9], iterations=7)] == [7, 7]
    assert [s.iterations for s in plan_scales(9, 9, [9])] == [1000]


def test_coarse_scales_below_the_network_are_left_out() -> None:
    plan = plan_scales(100, 400, [100, 200, 400], iterations=[7, 5, 3], smallest_side=32)
    assert [(s.height, s.width, s.iterations) for s in plan] == [(50, 200, 5), (100, 400, 3)]
    assert [(s.index, s.scales, s.before) for s in plan] == [(1, 2, 0), (2, 2, 5)]
    with pytest.raises(OptionError, match=r"400 x 100 pixels .* side is 128: .* at least 512"):
        plan_scales(100, 400, [400], smallest_side=128)


@pytest.mark.parametrize("sizes", [[], [0], [200, 100], [100, 100]])
def test_sizes_must_ascend(sizes: list[int]) -> None:
    with pytest.raises(OptionError, match="--sizes: expected ascending sizes"):
        plan_scales(10, 10, sizes)


@pytest.mark.parametrize("iterations", [0, [], [5, 0], [1, 2, 3]])
def test_iterations_must_fit(iterations: int | list[int]) -> None:
    with pytest.raises(OptionError, match="--iterations: expected 1 to 2 numbers"):
        plan_scales(10, 10, [5, 10], iterations=iterations)


def test_enlarging() -> None:
    image = torch.rand(1, 3, 6, 8, generator=torch.Generator().manual_seed(0)).round()
    larger = enlarge(image, 12, 16)
    assert larger.shape == (1, 3, 12, 16)
    assert larger.min() == 0  # bicubic weights overshoot, and are clipped
    assert larger.max() == 1
    assert torch.equal(enlarge(image, 6, 8), image)
    plain = torch.full((1, 3, 6, 8), 0.25)
    torch.testing.assert_close(enlarge(plain, 9, 7), torch.full((1, 3, 9, 7), 0.25))


def test_a_margin_is_a_mirror_image() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    wide = widen(image, 2)
    assert (wide[0, 0].numpy() == np.pad(image[0, 0].numpy(), 2, mode="reflect")).all()
    narrow = widen(image, 3)  # more than there is
    assert (narrow[0, 0].numpy() == np.pad(image[0, 0].numpy(), 3, mode="edge")).all()
    assert widen(image, 0) is image


def test_detail_that_a_coarse_scale_did_not_show() -> None:
    fine = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    coarse = enlarge(fine, 8, 8)
    # Nothing was changed at the coarse scale: all detail is back.
    assert torch.allclose(add_detail(coarse, coarse, fine, 1.0), fine, atol=1e-6)
    assert add_detail(coarse, coarse, fine, 0.0) is coarse
    half = add_detail(coarse, coarse, fine, 0.5)
    assert torch.allclose(half, (fine + enlarge(coarse, 16, 16)) / 2, atol=1e-6)
