"""Differentiable augmentation (Zhao et al. 2020)."""

import pytest
import torch
from torch import Tensor

from impasto.cyclegan.augment import DifferentiableAugmentation


def augment(*policy: str, seed: int = 0) -> DifferentiableAugmentation:
    return DifferentiableAugmentation(policy, generator=torch.Generator().manual_seed(seed))


def pictures(count: int = 4, *, height: int = 16, width: int = 24) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(9)) * 2 - 1


def test_cutout_grays_a_rectangle_of_up_to_half_the_sides_in_each_picture() -> None:
    images = pictures(64).abs() + 0.1
    changed = augment("cutout")(images)
    gray = (changed == 0).all(dim=1)
    assert torch.equal(
        changed[~gray[:, None].expand_as(changed)], images[~gray[:, None].expand_as(images)]
    )
    rows, columns = gray.any(dim=2).sum(dim=1), gray.any(dim=1).sum(dim=1)
    # A rectangle is as large as its rows times its columns.
    assert torch.equal(gray.sum(dim=(1, 2)), rows * columns)
    assert int(rows.max()) == 8
    assert int(columns.max()) == 12
    assert int(rows.min()) < 8  # its middle may lie at the border


def test_translation_moves_by_up_to_an_eighth_and_lets_gray_in() -> None:
    images = pictures(200).abs() + 0.1
    changed = augment("translation")(images)
    seen = set()
    for before, after in zip(images, changed, strict=True):
        kept = after[0] != 0
        rows, columns = kept.any(dim=1).nonzero()[:, 0], kept.any(dim=0).nonzero()[:, 0]
        top, left = int(rows[0]), int(columns[0])
        height, width = len(rows), len(columns)
        down = top - (16 - height) if top == 0 else top
        right = left - (24 - width) if left == 0 else left
        seen.add((down, right))
        part = before[:, max(-down, 0) : max(-down, 0) + height]
        part = part[:, :, max(-right, 0) : max(-right, 0) + width]
        assert torch.equal(after[:, rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], part)
    assert {down for down, _ in seen} == set(range(-2, 3))
    assert {right for _, right in seen} == set(range(-3, 4))


def test_color_keeps_the_pattern_and_changes_light_saturation_and_contrast() -> None:
    gray = torch.linspace(-0.5, 0.5, 8 * 8).view(1, 1, 8, 8).expand(1, 3, 8, 8)
    changed = augment("color")(gray)
    # Gray stays gray, and all values lie on one rising line of the old ones.
    assert torch.allclose(changed[:, 0], changed[:, 2], atol=1e-6)
    slope = (changed[..., 1:] - changed[..., :-1]).flatten()
    assert slope.std() < 1e-5
    assert 0.5 <= float(slope[0]) * 63 <= 1.5


def test_each_picture_has_draws_of_its_own_and_they_come_from_the_generator() -> None:
    images = pictures(1).expand(3, -1, -1, -1)
    first, second, third = augment("color", "translation", "cutout")(images)
    assert not torch.equal(first, second)
    assert not torch.equal(second, third)
    again = augment("color", "translation", "cutout")(images)
    assert torch.equal(first, again[0])
    assert not torch.equal(first, augment("color", "translation", "cutout", seed=1)(images)[0])


def test_its_state_can_be_saved() -> None:
    images, one, other = pictures(), augment("cutout"), augment("cutout", seed=7)
    one(images)
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(images), other(images))


@pytest.mark.parametrize("policy", ["color", "translation", "cutout"])
def test_gradients_pass(policy: str) -> None:
    images = pictures(2).requires_grad_(True)
    torch.autograd.backward(augment(policy)(images).square().sum())
    assert images.grad is not None
    assert float((images.grad != 0).float().mean()) > 0.5


def test_without_a_policy_nothing_changes() -> None:
    assert torch.equal(augment()(pictures()), pictures())


def test_an_unknown_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="expected some of color, translation, cutout, got 'blur'"):
        augment("blur")
