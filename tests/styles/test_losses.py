"""The batched losses of fast styles against those of stylize, one picture at a time."""

from collections.abc import Mapping

import torch

from impasto.gatys.features.pixels import Pixels
from impasto.gatys.losses.functional import chroma_variation, moments, total_variation
from impasto.gatys.losses.statistics import MeanCovariance
from impasto.styles.losses import LossWeights, StyleObjective

SIZE = 64
ALL = LossWeights(content=1.0, style=1.0, variation=1.0, patches=1.0, chroma=1.0)
LAYERS = {"pixels": 0.25, "luminance": 0.75}


def pictures(seed: int, count: int, height: int = SIZE, width: int = SIZE) -> torch.Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(seed))


def make_objective(
    paintings: list[torch.Tensor],
    weights: LossWeights = ALL,
    layers: Mapping[str, float] = LAYERS,
) -> StyleObjective:
    return StyleObjective(
        Pixels(),
        paintings,
        content_layers={"pixels": 1.0},
        style_layers=layers,
        weights=weights,
        size=SIZE,
        generator=torch.Generator().manual_seed(0),
    )


def test_the_style_loss_is_that_of_stylize_for_each_picture_by_itself() -> None:
    paintings = [pictures(1, 1, 40, 50) ** 2, pictures(2, 1, 70, 30) * 0.5]
    made, styles = pictures(3, 3), torch.tensor([1, 0, 1])
    network, statistic = Pixels(), MeanCovariance()
    found = make_objective(paintings).style(network(made, list(LAYERS)), styles)
    for place, style in enumerate(styles.tolist()):
        expected = sum(
            share
            / 2
            * statistic.distance(
                network(made[place : place + 1], [layer])[layer],
                moments(network(paintings[style], [layer])[layer]),
            )
            for layer, share in LAYERS.items()
        )
        assert torch.allclose(found[place], torch.as_tensor(expected), rtol=1e-4)


def test_a_painting_has_no_distance_from_itself_and_zeros_have_1() -> None:
    painting = pictures(1, 1, 56, 56)  # as large as the windows
    objective = make_objective([painting], layers={"pixels": 1.0})
    features = Pixels()(painting, ["pixels"])
    first = torch.tensor([0])
    assert objective.style(features, first) < 1e-6
    nothing = {layer: torch.zeros_like(values) for layer, values in features.items()}
    assert torch.allclose(objective.style(nothing, first), torch.ones(1), atol=1e-3)
    # At every second pixel the quantiles are nearly those of all.
    assert objective.patches(painting, first) < 0.05
    assert torch.allclose(objective.patches(painting * 0, first), torch.ones(1), atol=0.2)


def test_the_content_loss_is_the_share_of_the_variance_that_is_lost() -> None:
    photograph = pictures(4, 2)
    means = photograph.mean((2, 3), keepdim=True)
    plain = means.expand_as(photograph)
    found = make_objective([pictures(1, 1)]).content(
        {"pixels": torch.cat([plain[:1], photograph[1:]])},
        {"pixels": photograph},
        torch.tensor([0, 0]),
    )
    assert torch.allclose(found, torch.tensor([1.0, 0.0]), atol=1e-5)


def test_variations_are_those_of_stylize_within_the_window() -> None:
    painting, made = pictures(1, 1, 56, 56), pictures(5, 1)
    objective = make_objective([painting])
    losses = objective(made * 2 - 1, made * 2 - 1, torch.tensor([0]))
    down, right = torch.randint(8, (2,), generator=_after_filters()).tolist()
    window = made[..., down : down + 56, right : right + 56]
    assert torch.allclose(losses["variation"], total_variation(window), rtol=1e-4)
    expected = chroma_variation(window) / chroma_variation(painting)
    assert torch.allclose(losses["chroma"], expected, rtol=1e-4)
    assert losses["content"] < 1e-10


def _after_filters() -> torch.Generator:
    """Return the objective's random generator as it is after its filters were drawn."""
    generator = torch.Generator().manual_seed(0)
    torch.randn(64, 3, 5, 5, generator=generator)
    return generator


def test_losses_without_a_weight_are_not_computed() -> None:
    weights = LossWeights(content=1.0, style=1.0, variation=1.0, patches=0.0, chroma=0.0)
    image = pictures(1, 1)
    losses = make_objective([image], weights)(image, image, torch.tensor([0]))
    assert set(losses) == {"content", "style", "variation"}
