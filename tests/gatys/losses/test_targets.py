"""The content with the histograms of styles; the rest of targets is in test_objective.py."""

from collections.abc import Sequence

import torch
from torch import Tensor

from impasto.gatys.features.pixels import Pixels
from impasto.gatys.features.smoothing import Smoothing, smooth
from impasto.gatys.losses.objective import Objective
from impasto.gatys.losses.statistics import Patches
from impasto.gatys.losses.targets import Content, Region, Style, StylePicture, feature_losses
from impasto.gatys.losses.transport import match_histograms, mixed_quantiles, quantiles_of

LAYERS = {"luminance": 1.0}


def picture(height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64)


CONTENT, STYLE, OTHER, IMAGE = (
    picture(8, 12, 0),
    picture(10, 6, 1) / 4,
    picture(6, 6, 2) / 4 + 0.75,
    picture(8, 12, 3),
)


def whole(*styles: StylePicture) -> Region:
    return Region(styles=styles)


def light(image: Tensor) -> Tensor:
    found: Tensor = Pixels(1.0)(image, ["luminance"])["luminance"]
    return found


def spread(image: Tensor) -> Tensor:
    values = light(image).flatten(2)
    return quantiles_of(values, values.shape[2])


def content_loss(
    image: Tensor, histograms: Sequence[Region], smoothing: Smoothing | None = None
) -> Tensor:
    content = Content(
        picture=CONTENT, layers=LAYERS, histograms=histograms, smoothing=smoothing or Smoothing()
    )
    network = Pixels(1.0)
    return Objective(network, feature_losses(network, content=content))(image)["content"]


def squares(image: Tensor, target: Tensor) -> Tensor:
    return (light(image) - target).square().mean()


def test_without_histograms_the_target_is_the_content() -> None:
    torch.testing.assert_close(content_loss(IMAGE, []), squares(IMAGE, light(CONTENT)))
    assert content_loss(CONTENT, []).item() == 0


def test_histograms_of_a_style_become_the_target_s() -> None:
    target = match_histograms(light(CONTENT), spread(STYLE))
    found = content_loss(IMAGE, [whole(StylePicture(picture=STYLE))])
    torch.testing.assert_close(found, squares(IMAGE, target))
    assert found > 2 * content_loss(IMAGE, [])  # the style is dark


def test_histograms_of_the_content_itself_change_nothing() -> None:
    own = whole(StylePicture(picture=CONTENT))
    torch.testing.assert_close(content_loss(IMAGE, [own]), content_loss(IMAGE, []))


def test_histograms_are_those_of_the_mix() -> None:
    both = whole(StylePicture(picture=STYLE, weight=3.0), StylePicture(picture=OTHER, weight=1.0))
    mixed = mixed_quantiles([spread(STYLE), spread(OTHER)], [0.75, 0.25])
    target = match_histograms(light(CONTENT), mixed)
    torch.testing.assert_close(content_loss(IMAGE, [both]), squares(IMAGE, target))


def test_each_region_has_the_histograms_of_its_own_style() -> None:
    left = torch.zeros(1, 1, 8, 12, dtype=torch.float64)
    left[..., :5] = 1
    regions = [
        Region(styles=[StylePicture(picture=STYLE)], mask=left),
        Region(styles=[StylePicture(picture=OTHER)], mask=1 - left),
    ]
    shown = light(CONTENT)
    target = torch.cat(
        [
            match_histograms(shown[..., :5], spread(STYLE)),
            match_histograms(shown[..., 5:], spread(OTHER)),
        ],
        dim=3,
    )
    torch.testing.assert_close(content_loss(IMAGE, regions), squares(IMAGE, target))
    rest = torch.cat([target[..., :5], shown[..., 5:]], dim=3)
    torch.testing.assert_close(content_loss(IMAGE, regions[:1]), squares(IMAGE, rest))


def test_only_the_part_of_a_style_that_counts_gives_histograms() -> None:
    half = torch.zeros(1, 1, 10, 6, dtype=torch.float64)
    half[..., :5, :] = 1
    masked = whole(StylePicture(picture=STYLE, mask=half))
    values = light(STYLE)[..., :5, :].flatten(2)
    # 60 quantiles of 30 values: each twice.
    target = match_histograms(light(CONTENT), quantiles_of(values, 30).repeat_interleave(2, dim=2))
    torch.testing.assert_close(content_loss(IMAGE, [masked]), squares(IMAGE, target))


def test_targets_are_smoothed_after_they_are_match_histograms() -> None:
    smoothing = Smoothing(kind="scale", amount=0.5)
    found = content_loss(IMAGE, [whole(StylePicture(picture=STYLE))], smoothing)
    target = smooth(match_histograms(light(CONTENT), spread(STYLE)), smoothing)
    expected = (smooth(light(IMAGE), smoothing) - target).square().mean()
    torch.testing.assert_close(found, expected)


def test_histograms_and_style_may_be_of_one_region() -> None:
    region = whole(StylePicture(picture=STYLE))
    patches = Patches(side=3, filters=8, stock=8)
    network = Pixels(1.0)
    terms = feature_losses(
        network,
        content=Content(picture=CONTENT, layers=LAYERS, histograms=[region], weight=3.0),
        style=Style(regions=[region], layers={"pixels": 1.0}, statistic=patches),
    )
    losses = Objective(network, terms)(IMAGE)
    torch.testing.assert_close(losses["content"], 3 * content_loss(IMAGE, [region]))
    torch.testing.assert_close(losses["style"], patches.distance(IMAGE, patches.measure(STYLE)))
