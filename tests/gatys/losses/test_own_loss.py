"""A style loss of one's own, added from outside with public names alone."""

from collections.abc import Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from impasto.gatys import Adam, Content, Iterate, Objective, Pixels, Watch, feature_losses, optimize

# The discrete Laplacian.
KERNEL = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])


def edges(luminance: Tensor) -> Tensor:
    return functional.conv2d(luminance, KERNEL[None, None])


@dataclass(frozen=True)
class LaplacianLoss:
    """The edges of the content (Li et al. 2017, "Laplacian-Steered Neural Style Transfer")."""

    weight: float
    target: Tensor
    layers: tuple[str, ...] = ("luminance",)

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        return self.weight * (edges(features["luminance"]) - self.target).square().mean()


@dataclass(frozen=True)
class MeanColor:
    """The mean color of the picture; looks at no layer."""

    weight: float
    color: tuple[float, float, float]
    layers: tuple[str, ...] = ()

    def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
        difference = image.mean(dim=(0, 2, 3)) - torch.tensor(self.color)
        return self.weight * difference.square().sum()


def picture(seed: int) -> Tensor:
    return torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(seed))


def test_a_loss_of_one_s_own_is_lowered_and_is_in_the_log() -> None:
    network, content = Pixels(blur=0), picture(0)
    target = edges(network(content, ["luminance"])["luminance"])
    told: list[Iterate] = []
    objective = Objective(
        network,
        {
            **feature_losses(
                network, content=Content(picture=content, layers={"luminance": 1.0}, weight=0.1)
            ),
            "laplacian": LaplacianLoss(weight=1.0, target=target),
            "mean_color": MeanColor(weight=10.0, color=(0.6, 0.5, 0.4)),
        },
    )
    assert objective.layers == ("luminance",)
    outcome = optimize(
        picture(1),
        objective,
        method=Adam(),
        iterations=300,
        watch=Watch(tell=told.append, every=1),
    )
    names = ["content", "laplacian", "mean_color", "total"]
    assert all(list(iterate.losses) == names for iterate in told)
    for iterate in told:
        *parts, total = iterate.losses.values()
        assert total == pytest.approx(sum(parts), rel=1e-5)
    for name in names:
        assert outcome.losses[name] < 0.05 * told[0].losses[name]
    means = outcome.image.mean(dim=(0, 2, 3))
    torch.testing.assert_close(means, torch.tensor([0.6, 0.5, 0.4]), rtol=0, atol=0.02)


def test_without_a_weight_it_is_not_computed_and_still_has_its_name() -> None:
    class Forbidden(MeanColor):
        def __call__(self, image: Tensor, features: Mapping[str, Tensor]) -> Tensor:
            raise AssertionError

    objective = Objective(Pixels(), {"nothing": Forbidden(weight=0.0, color=(0, 0, 0))})
    assert objective(picture(0)) == {"nothing": torch.zeros(())}
