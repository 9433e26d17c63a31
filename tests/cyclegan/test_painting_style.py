"""The style loss: its formula by hand, what is matched with what, and what it remembers."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from impasto.cyclegan.painting import FrozenFeatures, StyleLoss, describe_crops, moment_distance
from impasto.gatys.features.lite import find_lite_weights
from impasto.options.losses import StyleTargets
from tests.trainings import number


class Pixels(FrozenFeatures):
    """Features that are the pictures themselves."""

    def __init__(self) -> None:
        self.layers = ("pixels",)
        self.channels = {"pixels": 3}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        return {"pixels": images}


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, *, seed: int, side: int = 32) -> Tensor:
    return torch.rand(count, 3, side, side, generator=seeded(seed)) * 2 - 1


def style(targets: StyleTargets = "nearest", candidates: int = 4, scales: int = 1) -> StyleLoss:
    return StyleLoss(
        Pixels(), targets=targets, candidates=candidates, scales=scales, generator=seeded()
    )


def still(loss: StyleLoss, monkeypatch: pytest.MonkeyPatch) -> StyleLoss:
    monkeypatch.setattr(loss, "_shift", lambda images: images)
    return loss


def limited(distance: float) -> float:
    return distance / (1 + distance / 20)


def by_hand(made: Tensor, target: Tensor) -> float:
    """Compare (3, positions) with (3, positions)."""
    one, other = made.double().numpy(), target.double().numpy()
    means, covariances = ([f(side) for side in (one, other)] for f in (_mean, _covariance))
    parts = [
        ((ours - theirs) ** 2).sum() / ((theirs**2).sum() + 1e-6)
        for ours, theirs in (means, covariances)
    ]
    return limited(float(sum(parts)))


def _mean(x: Any) -> Any:
    return x.mean(axis=1)


def _covariance(x: Any) -> Any:
    return np.cov(x, bias=True)


def test_distance_of_moments_is_relative_to_the_target_and_limited() -> None:
    mean, zero = torch.tensor([[3.0, 4.0]]), torch.zeros(1, 2)
    eye = torch.eye(2)[None]
    assert number(moment_distance((zero, eye), (mean, eye))) == pytest.approx(limited(1))
    assert number(moment_distance((mean, 3 * eye), (mean, eye))) == pytest.approx(
        limited(4), rel=1e-5
    )
    assert number(moment_distance((mean, eye), (mean, eye))) == 0
    assert number(moment_distance((mean, eye), (zero, eye))) == pytest.approx(20, rel=1e-5)


def test_a_translation_is_compared_with_the_only_candidate(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loss = still(style(candidates=1), monkeypatch)
    made, source, real = (pictures(1, seed=seed) for seed in range(3))
    expected = by_hand(made[0].flatten(1), real[0].flatten(1))
    assert number(loss(made, source, real)) == pytest.approx(expected, rel=1e-4)


def test_skies_learn_from_skies_though_all_paintings_are_darker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Light and dark photographs, light and dark paintings, the lightest of which are darker."""
    loss = still(style(candidates=6), monkeypatch)
    noise = 0.1 * pictures(1, seed=0)
    light = torch.tensor([0.9, 0.8, 0.7, 0.2, 0.1, 0.0])[:, None, None, None]
    photographs, paintings = light + noise, light - 1 + noise
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    loss(photographs, photographs, paintings[order])
    matched = loss._match(photographs, paintings[order])
    # As light among the paintings as the photograph is among photographs: not the nearest in light.
    assert matched.mean((1, 2, 3)).tolist() == pytest.approx(
        paintings.mean((1, 2, 3)).tolist(), abs=0.15
    )


def test_candidates_are_the_last_real_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = still(style(candidates=3), monkeypatch)
    real = pictures(5, seed=1)
    for picture in real:
        loss(pictures(1, seed=2), pictures(1, seed=3), picture[None])
    assert torch.equal(loss.state_dict()["candidates"], real[2:].flip(0))


def test_the_collection_is_the_mean_of_all_real_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    loss = still(style("collection"), monkeypatch)
    # Around another light than 0, to which a mean can be relative.
    made, source = pictures(2, seed=0), pictures(2, seed=1)
    shades = ((2, 1.0), (3, 0.3), (4, 0.7))
    real = [pictures(1, seed=seed) * scale + 0.4 for seed, scale in shades]
    for picture in real[:2]:
        loss(made, source, picture)
    together = torch.cat([picture[0].flatten(1) for picture in real], dim=1)
    ours = torch.cat([picture.flatten(1) for picture in made], dim=1)
    found = number(loss(made, source, real[2]))
    assert found == pytest.approx(by_hand(ours, together), rel=1e-4)


def test_both_is_the_mean_of_the_two(monkeypatch: pytest.MonkeyPatch) -> None:
    made, source, real = (pictures(2, seed=seed) for seed in range(3))
    nearest, collection, both = (
        number(still(style(targets), monkeypatch)(made, source, real))
        for targets in ("nearest", "collection", "both")
    )
    assert both == pytest.approx((nearest + collection) / 2)


@pytest.mark.parametrize("targets", ["nearest", "collection"])
def test_two_scales_are_the_mean_of_both_sizes(
    targets: StyleTargets, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss = still(style(targets, scales=2), monkeypatch)
    source, real = (pictures(1, seed=seed) for seed in (2, 3))
    made = pictures(1, seed=1, side=16).repeat_interleave(2, 2).repeat_interleave(2, 3)
    halves = [each.reshape(1, 3, 16, 2, 16, 2).mean((3, 5)) for each in (made, real)]
    expected = [
        by_hand(one.flatten(2)[0], other.flatten(2)[0]) for one, other in ((made, real), halves)
    ]
    assert expected[0] != pytest.approx(expected[1], rel=0.01)
    assert number(loss(made, source, real)) == pytest.approx(np.mean(expected), rel=1e-4)


def test_gradients_are_of_the_translation_alone_and_lead_to_the_target() -> None:
    loss = style(candidates=1)
    made, source, real = (pictures(1, seed=seed).requires_grad_() for seed in range(3))
    value = loss(made, source, real * 0.3)
    (gradient,) = torch.autograd.grad(value, made, retain_graph=True)
    with pytest.raises(RuntimeError, match="used in the graph"):
        torch.autograd.grad(value, [source, real])
    nearer = style(candidates=1)((made - 5 * gradient).detach(), source, real * 0.3)
    assert number(nearer) < number(value)


@pytest.mark.parametrize("scales", [1, 2])
@pytest.mark.parametrize("targets", ["nearest", "collection", "both"])
def test_a_loaded_loss_goes_on_as_the_saved_one(targets: StyleTargets, scales: int) -> None:
    one, other = style(targets, scales=scales), style(targets, scales=scales)
    batches = [tuple(pictures(1, seed=10 * step + k) for k in range(3)) for step in range(5)]
    for batch in batches[:3]:
        one(*batch)
    other.load_state_dict(one.state_dict(), device=torch.device("cpu"))
    for batch in batches[3:]:
        assert torch.equal(one(*batch), other(*batch))


@pytest.mark.parametrize("earlier", [("nearest", 1), ("collection", 1), ("both", 3)])
def test_what_was_not_remembered_begins_anew_with_the_first_picture_after_a_change(
    earlier: tuple[StyleTargets, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With targets or scales that are new, the first real picture is all of the collection."""
    before = style(earlier[0], scales=earlier[1])
    for step in range(6):
        before(*(pictures(1, seed=10 * step + k) for k in range(3)))
    state = before.state_dict()
    # The second scale is new to all but the last, the first one to `nearest` alone.
    loss = still(style("collection", scales=2), monkeypatch)
    loss.load_state_dict(state, device=torch.device("cpu"))
    made = torch.zeros(1, 3, 32, 32)
    seen = [pictures(1, seed=seed) * 0.5 + 0.3 for seed in (7, 8)]
    loss(made, made, seen[0])
    loss(made, made, seen[1])
    names = {0: "pixels mean", 1: "1/2 pixels mean"}
    moments = loss.state_dict()
    fresh = {"nearest": {0, 1}, "collection": {1}, "both": set()}[earlier[0]]
    for scale, name in names.items():
        both = torch.stack([picture.mean((2, 3)) for picture in seen]).mean(0)
        assert torch.allclose(moments["collection"][name], both, atol=1e-5) == (scale in fresh)
        assert moments["seen"][scale] == (2 if scale in fresh else 8)


def test_what_is_not_needed_is_forgotten_and_not_found_old_later() -> None:
    one = style("both", scales=2)
    for step in range(5):
        one(*(pictures(1, seed=10 * step + k) for k in range(3)))
    other, last = style("nearest", scales=2), style("both", scales=2)
    other.load_state_dict(one.state_dict(), device=torch.device("cpu"))
    kept = other.state_dict()
    assert (kept["collection"], kept["seen"]) == ({}, [0, 0])
    assert torch.equal(kept["candidates"], one.state_dict()["candidates"])
    last.load_state_dict(kept, device=torch.device("cpu"))
    assert last.state_dict()["seen"] == [0, 0]
    collection = style("collection")
    collection.load_state_dict(one.state_dict(), device=torch.device("cpu"))
    kept = collection.state_dict()
    assert (kept["candidates"], kept["usual"], kept["seen"]) == (None, {}, [5])
    assert set(kept["collection"]) == {"pixels mean", "pixels square"}


def test_a_state_of_earlier_versions_counted_all_sizes_as_one() -> None:
    one, other = style("both", scales=2), style("both", scales=2)
    for step in range(3):
        one(*(pictures(1, seed=10 * step + k) for k in range(3)))
    state = {**one.state_dict(), "seen": 3}
    other.load_state_dict(state, device=torch.device("cpu"))
    batch = [pictures(1, seed=70 + k) for k in range(3)]
    assert torch.equal(one(*batch), other(*batch))


def test_crops_are_described_by_light_color_spread_detail_and_what_is_below() -> None:
    image = torch.full((1, 3, 32, 32), -1.0)
    image[:, 0, 16:] = 1.0  # black above, red below
    light, red, green, spread, detail, below = describe_crops(image)[0].tolist()
    assert light == pytest.approx(0.299 / 2)
    assert (red, green) == pytest.approx((0.25, -0.125))
    assert below == pytest.approx(0.299)
    assert spread == pytest.approx(np.log(0.299 / 2 * np.sqrt(256 / 255) + 0.01), rel=1e-4)
    assert detail == pytest.approx(np.log(0.299 / 15 + 0.003), rel=1e-4)


@pytest.mark.skipif(find_lite_weights() is None, reason="no EfficientNet-Lite0")
def test_the_installed_network_tells_long_marks_from_spots() -> None:
    def marks(seed: int, kernel: tuple[int, int]) -> Tensor:
        noise = torch.randn(1, 3, 96, 96, generator=seeded(seed))
        smooth = torch.nn.functional.avg_pool2d(noise, kernel, 1, padding=[k // 2 for k in kernel])
        return smooth / smooth.std() / 3

    long, alike, spots = marks(0, (1, 13)), marks(1, (1, 13)), marks(2, (3, 5))
    near, far = (
        number(StyleLoss(targets="nearest", candidates=1, generator=seeded())(made, made, long))
        for made in (alike, spots)
    )
    assert near < far / 2
