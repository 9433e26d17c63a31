from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from impasto.gatys.features.make import FeatureFunction, with_autocast
from impasto.gatys.features.pixels import Pixels
from impasto.gatys.features.smoothing import LayerFeatures, Smoothing, smooth
from impasto.gatys.losses.functional import (
    content_loss,
    gram_loss,
    gram_matrix,
    range_penalty,
    total_variation,
)
from impasto.gatys.losses.objective import (
    ChromaVariation,
    LossTerm,
    Objective,
    PixelLoss,
    RangePenalty,
    ShiftedObjective,
    TotalVariation,
    Window,
)
from impasto.gatys.losses.statistics import Gaussian, Gram, Patches, Sliced, Statistic
from impasto.gatys.losses.targets import (
    Content,
    Region,
    Style,
    StylePicture,
    feature_losses,
    layers_of,
    mask_at,
    with_targets_of,
)
from impasto.gatys.optim.iterates import total_loss
from impasto.options.errors import ImpastoError


class Net(nn.Module):
    """Three small convolutions, each at half the size of the one before; no biases."""

    def __init__(self, dtype: torch.dtype = torch.float64) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.calls: list[tuple[str, ...]] = []
        sizes = {"a": (3, 4), "b": (4, 5), "c": (5, 6)}
        self.kernels = {
            name: torch.randn(c_out, c_in, 3, 3, generator=generator, dtype=dtype) / c_in
            for name, (c_in, c_out) in sizes.items()
        }

    def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        self.calls.append(tuple(layers))
        features, found = image, {}
        for index, (name, kernel) in enumerate(self.kernels.items()):
            if index:
                features = functional.avg_pool2d(features, 2)
            features = functional.relu(functional.conv2d(features, kernel, padding=1))
            found[name] = features
        return {name: found[name] for name in layers}


def picture(height: int, width: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, height, width, generator=generator, dtype=torch.float64)


CONTENT, STYLE, OTHER, IMAGE = (
    picture(16, 24, 0),
    picture(20, 12, 1),
    picture(12, 12, 2),
    picture(16, 24, 3),
)
LAYERS = {"a": 0.7, "c": 0.3}


def whole(*pictures: Tensor) -> list[Region]:
    return [Region(styles=[StylePicture(picture=one) for one in pictures])]


def left() -> Tensor:
    mask = torch.zeros(1, 1, 16, 24, dtype=torch.float64)
    mask[..., :8] = 1
    return mask


def objective_of(
    network: FeatureFunction,
    *,
    content: Content | None = None,
    style: Style | None = None,
    variation: TotalVariation | None = None,
    value_range: float = 0.0,
    relative: bool = False,
) -> Objective:
    """The objective of `impasto stylize`."""
    terms: dict[str, LossTerm] = {
        **feature_losses(network, content=content, style=style, relative=relative),
        "variation": variation or TotalVariation(weight=0.0),
        "value_range": RangePenalty(weight=value_range),
    }
    return Objective(network, terms)


def test_terms_are_weighted_sums_of_layers() -> None:
    net = Net()
    objective = objective_of(
        net,
        content=Content(picture=CONTENT, layers={"b": 1.0}, weight=3.0),
        style=Style(regions=whole(STYLE), layers=LAYERS, weight=5.0),
        variation=TotalVariation(weight=7.0, kind="nine_point"),
        value_range=11.0,
    )
    image = IMAGE * 2 - 0.5
    terms = objective(image)
    every = ["a", "b", "c"]
    f, p, s = net(image, every), net(CONTENT, every), net(STYLE, every)
    style = sum(w * gram_loss(gram_matrix(f[n]), gram_matrix(s[n])) for n, w in LAYERS.items())
    torch.testing.assert_close(terms["content"], 3 * content_loss(f["b"], p["b"]))
    torch.testing.assert_close(terms["style"], 5 * style)
    torch.testing.assert_close(terms["variation"], 7 * total_variation(image, kind="nine_point"))
    torch.testing.assert_close(terms["value_range"], 11 * range_penalty(image))
    parts = (terms["content"], terms["style"], terms["variation"], terms["value_range"])
    torch.testing.assert_close(total_loss(terms), torch.stack(parts).sum())
    assert all(part.shape == () for part in parts)


def test_one_pass_for_each_evaluation_and_targets_once() -> None:
    net = Net()
    content = Content(picture=CONTENT, layers={"b": 1.0})
    objective = objective_of(
        net, content=content, style=Style(regions=whole(STYLE, OTHER), layers=LAYERS)
    )
    assert objective.layers == ("b", "a", "c")
    assert net.calls == [("b", "a", "c")] * 3
    objective(IMAGE)
    objective(IMAGE)
    assert len(net.calls) == 5


def test_what_has_no_weight_is_not_computed() -> None:
    net = Net()
    style = Style(regions=whole(STYLE), layers={"a": 1.0, "c": 0.0})
    content = Content(picture=CONTENT, layers={"c": 1.0}, weight=0)
    objective = objective_of(net, content=content, style=style)
    assert objective.layers == ("a",)
    terms = objective(IMAGE)
    assert (terms["content"].item(), terms["variation"].item(), terms["value_range"].item()) == (
        0,
        0,
        0,
    )
    alone = objective_of(net, variation=TotalVariation(weight=1.0))
    before = len(net.calls)
    assert total_loss(alone(IMAGE)) == total_variation(IMAGE)
    assert len(net.calls) == before


@pytest.mark.parametrize(
    "statistic", [Gram(), Gaussian(iterations=None), Sliced()], ids=lambda one: type(one).__name__
)
@pytest.mark.parametrize("relative", [False, True])
def test_gradient(statistic: Gram | Gaussian | Sliced, relative: bool) -> None:
    small = picture(8, 8, 5)
    mask = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    region = Region(styles=[StylePicture(picture=STYLE)], mask=mask)
    objective = objective_of(
        Net(),
        content=Content(picture=small, layers={"b": 1.0}, smoothing=Smoothing(kind="softmax")),
        style=Style(regions=[region], layers=LAYERS, statistic=statistic),
        variation=TotalVariation(weight=1.0),
        value_range=1.0,
        relative=relative,
    )
    image = (picture(8, 8, 6) * 1.4 - 0.2).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: total_loss(objective(x)), (image,))


def test_targets_carry_no_gradient() -> None:
    content = CONTENT.clone().requires_grad_()
    objective = objective_of(Net(), content=Content(picture=content, layers={"a": 1.0}))
    total_loss(objective(IMAGE.clone().requires_grad_())).backward()  # type: ignore[no-untyped-call]
    assert content.grad is None


def test_mixed_styles_have_the_average_gram_matrix() -> None:
    net = Net()
    styles = [StylePicture(picture=STYLE, weight=3), StylePicture(picture=OTHER, weight=1)]
    objective = objective_of(net, style=Style(regions=[Region(styles=styles)], layers={"b": 1.0}))
    first, second, found = (gram_matrix(net(one, ["b"])["b"]) for one in (STYLE, OTHER, IMAGE))
    expected = gram_loss(found, (3 * first + second) / 4)
    torch.testing.assert_close(objective(IMAGE)["style"], expected)


def test_a_collection_is_read_one_by_one() -> None:
    net = Net()
    pictures = [picture(8 + 4 * (i % 3), 12, i) for i in range(40)]
    alive: list[int] = []

    def read() -> Iterator[StylePicture]:
        for index, one in enumerate(pictures):
            alive.append(index)
            assert len(net.calls) >= index  # the one before has been looked at
            yield StylePicture(picture=one)

    style = Style(regions=[Region(styles=read())], layers={"b": 1.0})
    objective = objective_of(net, style=style)
    assert alive == list(range(40))
    mean = torch.stack([gram_matrix(net(one, ["b"])["b"]) for one in pictures]).mean(dim=0)
    expected = gram_loss(gram_matrix(net(IMAGE, ["b"])["b"]), mean)
    torch.testing.assert_close(objective(IMAGE)["style"], expected)
    with pytest.raises(ValueError, match="the whole picture: expected at least one style picture"):
        objective_of(net, style=style)  # the generator is used up


def test_regions_are_weighted_by_area() -> None:
    net = Net()
    regions = [
        Region(styles=[StylePicture(picture=STYLE)], mask=left(), name="left"),
        Region(styles=[StylePicture(picture=OTHER)], mask=1 - left(), name="right"),
    ]
    content = Content(picture=CONTENT, layers={"b": 1.0})
    found = objective_of(net, content=content, style=Style(regions=regions, layers={"a": 1.0}))
    features, s, o = (net(one, ["a"])["a"] for one in (IMAGE, STYLE, OTHER))
    expected = (
        gram_loss(gram_matrix(features[..., :8]), gram_matrix(s)) / 3
        + gram_loss(gram_matrix(features[..., 8:]), gram_matrix(o)) * 2 / 3
    )
    torch.testing.assert_close(found(IMAGE)["style"], expected)
    # Without a content, masks tell the size.
    alone = objective_of(net, style=Style(regions=regions, layers={"a": 1.0}))
    torch.testing.assert_close(alone(IMAGE)["style"], expected)


def test_one_mask_of_everything_is_no_mask() -> None:
    mask = torch.ones(1, 1, 16, 24, dtype=torch.float64)
    region = Region(styles=[StylePicture(picture=STYLE, mask=torch.ones(1, 1, 5, 5))], mask=mask)
    plain, masked = (
        objective_of(Net(), style=Style(regions=regions, layers=LAYERS))
        for regions in (whole(STYLE), [region])
    )
    torch.testing.assert_close(plain(IMAGE)["style"], masked(IMAGE)["style"])


@pytest.mark.parametrize("size", [(16, 24), (8, 12), (4, 6), (5, 7), (1, 1)])
def test_masks_keep_their_area(size: tuple[int, int]) -> None:
    found = mask_at(left(), torch.zeros(1, 9, *size))
    assert found.shape == (1, 1, *size)
    assert found.mean().item() == pytest.approx(1 / 3, abs=0.06)
    if size == (4, 6):
        assert found[0, 0, 0].tolist() == [1, 1, 0, 0, 0, 0]


def test_a_region_that_vanishes_in_deep_layers_is_styled_by_the_others() -> None:
    net = Net()
    mask = torch.zeros(1, 1, 16, 24, dtype=torch.float64)
    mask[..., :2, :3] = 1  # 6 pixels: 6 of 16 of a position of layer c
    region = Region(styles=[StylePicture(picture=STYLE)], mask=mask)
    objective = objective_of(net, style=Style(regions=[region], layers=LAYERS))
    features, target = net(IMAGE, ["a"])["a"], net(STYLE, ["a"])["a"]
    expected = gram_loss(gram_matrix(features[..., :2, :3]), gram_matrix(target)) * 6 / (16 * 24)
    torch.testing.assert_close(objective(IMAGE)["style"], expected)  # weight 0.7 + 0.3


def test_a_region_that_vanishes_everywhere_is_an_error() -> None:
    message = "sky: expected masks that cover at least one position of one of the layers a, c"
    for region in (
        Region(styles=[StylePicture(picture=STYLE)], mask=0 * left(), name="sky"),
        Region(styles=[StylePicture(picture=STYLE, mask=0 * left())], name="sky"),
    ):
        with pytest.raises(ImpastoError, match=message):
            objective_of(Net(), style=Style(regions=[region], layers=LAYERS))


@pytest.mark.parametrize(
    "statistic", [Gram(), Gaussian(epsilon=1e-9), Sliced()], ids=lambda one: type(one).__name__
)
def test_relative_losses_do_not_depend_on_the_size_of_activations(
    statistic: Gram | Gaussian | Sliced,
) -> None:
    class Loud(Net):
        def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
            return {name: 1000 * found for name, found in super().forward(image, layers).items()}

    quiet, loud = (
        objective_of(
            net,
            content=Content(picture=CONTENT, layers={"b": 1.0}),
            style=Style(regions=whole(STYLE), layers=LAYERS, statistic=statistic),
            relative=True,
        )(IMAGE)
        for net in (Net(), Loud())
    )
    torch.testing.assert_close(quiet["content"], loud["content"])
    torch.testing.assert_close(quiet["style"], loud["style"], rtol=1e-4, atol=0)


def test_relative_losses_of_nothing_are_one() -> None:
    objective = objective_of(
        Net(),
        content=Content(picture=CONTENT, layers={"b": 1.0}),
        style=Style(regions=whole(STYLE), layers=LAYERS),
        relative=True,
    )
    terms = objective(torch.zeros_like(IMAGE))
    assert (terms["content"].item(), terms["style"].item()) == pytest.approx((1, 1))


@pytest.mark.parametrize("style", [torch.zeros_like(STYLE), torch.full_like(STYLE, 0.5)])
@pytest.mark.parametrize("content", [torch.zeros_like(CONTENT), CONTENT, None])
def test_plain_pictures_give_finite_relative_losses(style: Tensor, content: Tensor | None) -> None:
    objective = objective_of(
        Net(),
        content=None if content is None else Content(picture=content, layers={"b": 1.0}),
        style=Style(regions=whole(style), layers=LAYERS),
        relative=True,
    )
    image = IMAGE.clone().requires_grad_()
    total = total_loss(objective(image))
    (gradient,) = torch.autograd.grad(total, image)
    assert total.isfinite()
    assert gradient.isfinite().all()


def test_smoothing_is_done_to_both_sides() -> None:
    net, soft = Net(), Smoothing(kind="softmax", amount=2)
    style = Style(regions=whole(STYLE), layers=LAYERS, smoothing={"c": soft})
    terms = objective_of(net, style=style)(IMAGE)
    f, s = net(IMAGE, ["a", "c"]), net(STYLE, ["a", "c"])
    expected = 0.7 * gram_loss(gram_matrix(f["a"]), gram_matrix(s["a"])) + 0.3 * gram_loss(
        gram_matrix(smooth(f["c"], soft)), gram_matrix(smooth(s["c"], soft))
    )
    torch.testing.assert_close(terms["style"], expected)


def test_autocast_is_for_the_network_alone() -> None:
    seen: list[torch.dtype] = []

    class Watched(Net):
        def forward(self, image: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
            found = super().forward(image, layers)
            seen.extend(features.dtype for features in found.values())
            return found

    content, style = CONTENT.float(), STYLE.float()
    exact, half = (
        objective_of(
            with_autocast(Watched(torch.float32), autocast),
            content=Content(picture=content, layers={"b": 1.0}),
            style=Style(regions=whole(style), layers=LAYERS),
        )(IMAGE.float())
        for autocast in (None, torch.bfloat16)
    )
    assert set(seen) == {torch.float32, torch.bfloat16}
    assert total_loss(half).dtype == torch.float32
    torch.testing.assert_close(total_loss(half), total_loss(exact), rtol=0.05, atol=0)


def test_what_is_refused() -> None:
    net = Net()
    with pytest.raises(ValueError, match=r"picture: expected \(1, 3, H, W\), got \(3, 16, 24\)"):
        objective_of(net, content=Content(picture=CONTENT[0], layers={"a": 1.0}))
    with pytest.raises(ValueError, match="b: expected a weight of at least 0, got -1"):
        layers_of(Content(picture=CONTENT, layers={"b": -1.0}))
    with pytest.raises(ValueError, match="variation: expected a weight of at least 0, got -2"):
        objective_of(net, variation=TotalVariation(weight=-2))
    with pytest.raises(ValueError, match="kind: expected one of"):
        TotalVariation(weight=1, kind="l1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="value_range: expected a weight of at least 0, got nan"):
        objective_of(net, value_range=float("nan"))
    for name in ("total", "two words", "seconds"):
        with pytest.raises(ValueError, match=f"'{name}': expected a name like 'style' for a loss"):
            Objective(net, {name: RangePenalty(weight=1.0)})
    with pytest.raises(ValueError, match=r"image: expected \(1, 3, H, W\), got \(3, 16, 24\)"):
        objective_of(net)(IMAGE[0])


def test_an_objective_is_random_if_a_term_that_counts_is() -> None:
    drawn = Patches(filters=2, stock=4, side=1)

    def style_of(statistic: Statistic[Any], weight: float = 1.0) -> Style:
        return Style(regions=whole(STYLE), layers={"a": 1.0}, statistic=statistic, weight=weight)

    assert objective_of(Net(), style=style_of(drawn)).is_random
    assert not objective_of(Net(), style=style_of(drawn, weight=0.0)).is_random
    assert not objective_of(Net(), style=style_of(Gram())).is_random
    assert not objective_of(Net(), content=Content(picture=CONTENT, layers=LAYERS)).is_random


def test_chroma_is_relative_to_that_of_the_styles() -> None:
    gray = torch.rand(1, 1, 6, 6).expand(1, 3, 6, 6)
    assert ChromaVariation(weight=2.0, reference=0.1)(
        gray, LayerFeatures({})
    ).item() == pytest.approx(0, abs=1e-9)
    image = picture(6, 6, 1)
    colors = image - image.mean(dim=1, keepdim=True)
    wanted = 2.0 * total_variation(colors).item() / 0.1
    assert ChromaVariation(weight=2.0, reference=0.1)(
        image, LayerFeatures({})
    ).item() == pytest.approx(wanted)
    of_gray_styles = ChromaVariation(weight=1.0, reference=0.0)(image, LayerFeatures({}))
    assert of_gray_styles.isfinite()


def test_a_loss_of_pixels_beside_those_of_features() -> None:
    region = Region(styles=[StylePicture(picture=picture(8, 8, 1))])
    pixels = feature_losses(
        Pixels(),
        style=Style(regions=[region], layers={"pixels": 1.0}, weight=3.0),
        relative=True,
    )["style"]
    term = PixelLoss(loss=pixels, network=Pixels())
    assert (term.weight, term.is_random, tuple(term.layers)) == (3.0, False, ())
    image = picture(8, 8, 2)
    alone = Objective(Pixels(), {"style": pixels})(image)["style"]
    net = Net()
    found = Objective(net, {"patches": term})(image)["patches"]
    assert found.item() == pytest.approx(alone.item())
    assert not net.calls


def test_a_window_that_moves() -> None:
    canvas = picture(8, 9, 3)
    windows = [Window(top=top, left=left, height=6, width=7) for top, left in ((1, 1), (0, 2))]

    def levels(image: Tensor) -> dict[str, Tensor]:
        return {"mean": image.mean()}

    shifted = ShiftedObjective(
        [levels, levels],  # type: ignore[list-item]
        windows,
        generator=torch.Generator().manual_seed(0),
    )
    assert shifted.is_random
    means = [canvas[..., 1:7, 1:8].mean().item(), canvas[..., 0:6, 2:9].mean().item()]
    seen = {round(shifted(canvas)["mean"].item(), 12) for _ in range(20)}
    assert seen == {round(mean, 12) for mean in means}
    with torch.no_grad():
        assert {shifted(canvas)["mean"].item() for _ in range(9)} == {means[0]}
    for wrong in ([], windows):
        with pytest.raises(ValueError, match="expected an objective for each window"):
            ShiftedObjective([levels], wrong, generator=torch.Generator())  # type: ignore[list-item]


def test_content_relative_to_its_variance_and_seen_through_windows() -> None:
    net, shown, other = Net(), picture(12, 12, 4), picture(12, 12, 5)
    content = Content(picture=shown, layers={"a": 1.0}, weight=2.0, centered=True)
    loss = feature_losses(net, content=content, relative=True)["content"]
    features, target = (net(x, ["a"])["a"] for x in (other, shown))
    variance = target.flatten(2).var(dim=2, correction=0).mean()
    wanted = 2.0 * (features - target).square().mean() / variance
    assert Objective(net, {"content": loss})(other)["content"].item() == pytest.approx(
        wanted.item()
    )
    moved = with_targets_of(loss, net, other)
    assert Objective(net, {"content": moved})(other)["content"].item() == 0
    assert moved.parts[0].weight == loss.parts[0].weight
