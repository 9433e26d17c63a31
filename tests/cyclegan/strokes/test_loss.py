"""The stroke loss: its formula in NumPy, its gradient by differences, and what it remembers."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from impasto.cyclegan.painting import FrozenFeatures
from impasto.cyclegan.strokes import loss as module
from impasto.cyclegan.strokes.loss import (
    StrokeLoss,
    count_pictures,
    cut_crops,
    describe_strokes,
    kernel_mean,
)
from impasto.options.errors import CheckpointError

Array = NDArray[np.float64]
CPU = torch.device("cpu")


class Pixels(FrozenFeatures):
    """Features that are the pictures themselves."""

    def __init__(self, name: str = "pixels") -> None:
        self.layers = (name,)
        self.channels = {name: 3}

    def __call__(self, images: Tensor) -> dict[str, Tensor]:
        return {self.layers[0]: images}


def number(value: Tensor) -> float:
    return float(value.detach())


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def pictures(count: int, *, seed: int, side: int = 16) -> Tensor:
    """Make pictures of different light and contrast, in [-1, 1]."""
    draw = seeded(seed)
    light, contrast = (torch.rand(count, 3, 1, 1, generator=draw) for _ in range(2))
    noise = torch.rand(count, 3, side, side, generator=draw) * 2 - 1
    return (light - 0.5) + 0.5 * contrast * noise


def stroke_loss(real: Tensor, *, seed: int = 0, name: str = "pixels") -> StrokeLoss:
    loss = StrokeLoss(Pixels(name), generator=seeded(seed))
    loss.show(list(real), device=CPU)
    return loss


def described(images: Tensor) -> Array:
    """Describe pictures of one crop each: means and deviations of their channels."""
    values = images.double().numpy().reshape(len(images), 3, -1)
    return np.concatenate([values.mean(2), values.std(2)], axis=1)


def kernel(x: Array, y: Array) -> float:
    return float((np.dot(x, y) / len(x) + 1) ** 3)


def mean_kernel(one: Array, other: Array) -> float:
    return float(np.mean([[kernel(x, y) for y in other] for x in one]))


def mean_of_different(crops: Array) -> float:
    values = [
        kernel(crops[i], crops[j]) for i in range(len(crops)) for j in range(len(crops)) if i != j
    ]
    return float(np.mean(values))


def floor_of(real: Array) -> float:
    """Return the expected distance of two samples of 100: twice W of `crop_distance`."""
    itself = np.mean([kernel(x, x) for x in real])
    return float(2 / 100 * (itself - mean_of_different(real)))


def by_hand(made: Array, known: Array, real: Array) -> float:
    apart = mean_kernel(made, known) + mean_of_different(real) - 2 * mean_kernel(made, real)
    return apart / floor_of(real)


def test_mean_of_the_kernel_is_that_of_all_pairs() -> None:
    x, y = (described(pictures(count, seed=count)) for count in (3, 5))
    found = kernel_mean(torch.from_numpy(x), torch.from_numpy(y))
    assert number(found) == pytest.approx(mean_kernel(x, y), rel=1e-9)
    assert number(kernel_mean(torch.ones(1, 4), torch.ones(2, 4))) == 8


def test_a_crop_is_described_by_means_and_deviations() -> None:
    maps = pictures(4, seed=0)
    found = describe_strokes({"a": maps, "b": 3 * maps})
    np.testing.assert_allclose(found["a"], described(maps), atol=1e-6)
    np.testing.assert_allclose(found["b"], 3 * described(maps), atol=1e-6)


def test_even_maps_have_gradients_that_are_numbers() -> None:
    even = torch.zeros(1, 3, 8, 8, requires_grad=True)
    (gradient,) = torch.autograd.grad(describe_strokes({"even": even})["even"].sum(), even)
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("shares", "first"), [((0.0, 0.0), (0, 0)), ((0.999, 0.999), (12, 5)), ((0.5, 0.2), (6, 1))]
)
def test_crops_of_128_px_do_not_overlap_and_may_lie_anywhere(
    shares: tuple[float, float], first: tuple[int, int]
) -> None:
    images = pictures(2, seed=1, side=280)[:, :, :268, :261]
    down, right = (torch.tensor(share) for share in shares)
    crops = cut_crops(images, down, right)
    expected = [
        picture[:, top : top + 128, left : left + 128]
        for picture in images
        for top in (first[0], first[0] + 128)
        for left in (first[1], first[1] + 128)
    ]
    assert torch.equal(crops, torch.stack(expected))


def test_a_smaller_picture_is_one_crop_or_some_squares() -> None:
    images = pictures(1, seed=1, side=40)
    zero = torch.tensor(0.0)
    assert torch.equal(cut_crops(images, zero, zero), images)
    wide = torch.cat([images, images + 1], dim=3)
    assert torch.equal(cut_crops(wide, zero, zero), torch.cat([images, images + 1]))


def test_the_loss_is_the_distance_from_paintings_and_from_itself() -> None:
    real, made = pictures(7, seed=0), [pictures(2, seed=seed) * 0.5 for seed in (1, 2, 3)]
    loss = stroke_loss(real)
    assert number(loss(made[0])) == 0  # nothing to tell the first ones from
    paintings, ours = described(real), [described(each) for each in made]
    second, third = number(loss(made[1])), number(loss(made[2]))
    assert second == pytest.approx(by_hand(ours[1], ours[0], paintings), rel=1e-4)
    known = np.concatenate([ours[1], ours[0]])
    assert third == pytest.approx(by_hand(ours[2], known, paintings), rel=1e-4)


def test_real_crops_are_compared_some_at_a_time_with_the_same_result(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real, made = pictures(8, seed=0), [pictures(2, seed=seed) for seed in (1, 2)]
    whole = stroke_loss(real)
    monkeypatch.setattr(module, "_ROWS", 3)
    parts = stroke_loss(real)
    for loss in (whole, parts):
        loss(made[0])
    assert number(parts(made[1])) == pytest.approx(number(whole(made[1])), rel=1e-5)


def test_few_real_pictures_are_in_memory_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_AT_ONCE", 2)
    given, waiting = pictures(7, seed=0), []

    class Counting(Pixels):
        seen = 0

        def __call__(self, images: Tensor) -> dict[str, Tensor]:
            self.seen += len(images)
            return super().__call__(images)

    features = Counting()

    def draw() -> Iterator[Tensor]:
        for count, picture in enumerate(given, 1):
            waiting.append(count - features.seen)
            yield picture

    StrokeLoss(features, generator=seeded()).show(draw(), device=CPU)
    assert (features.seen, max(waiting)) == (7, 2)


@pytest.mark.parametrize(
    ("side", "count"), [(32, 1000), (128, 1000), (255, 1000), (256, 1000), (512, 250), (1100, 63)]
)
def test_about_4000_crops_are_enough(side: int, count: int) -> None:
    assert count_pictures(side) == count


def test_layers_weigh_alike_whatever_the_size_of_their_distances() -> None:
    class Two(FrozenFeatures):
        def __init__(self) -> None:
            self.layers = ("small", "large")

        def __call__(self, images: Tensor) -> dict[str, Tensor]:
            return {"small": 0.3 * images, "large": 2 * images}

    real, made = pictures(6, seed=0), [pictures(2, seed=seed) for seed in (1, 2)]
    loss = StrokeLoss(Two(), generator=seeded())
    loss.show(list(real), device=CPU)
    loss(made[0])
    expected = np.mean(
        [
            by_hand(*(scale * described(each) for each in (made[1], made[0], real)))
            for scale in (0.3, 2)
        ]
    )
    assert number(loss(made[1])) == pytest.approx(expected, rel=1e-4)


def test_the_gradient_is_that_of_a_distance_in_which_both_crops_of_a_pair_move() -> None:
    real, known = pictures(5, seed=0), pictures(3, seed=1)
    loss = stroke_loss(real)
    loss(known)
    made = pictures(1, seed=2).requires_grad_()
    (gradient,) = torch.autograd.grad(loss(made), made)
    direction = torch.randn(made.shape, generator=seeded(3))

    def moved(step: float) -> float:
        """Return the part that depends on the newest crop: twice k(x, o), as o will move, too."""
        ours, theirs, before = (
            described(each) for each in (made.detach() + step * direction, real, known)
        )
        apart = 2 * mean_kernel(ours, before) - 2 * mean_kernel(ours, theirs)
        return apart / floor_of(theirs)

    slope = (moved(1e-3) - moved(-1e-3)) / 2e-3
    assert number((gradient * direction).sum()) == pytest.approx(slope, rel=1e-3)


def test_gradients_are_of_the_translation_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KNOWN", 1)
    loss = stroke_loss(pictures(5, seed=0))
    first, second = (pictures(1, seed=seed).requires_grad_() for seed in (1, 2))
    loss(first)
    value = loss(second)
    with pytest.raises(RuntimeError, match="used in the graph"):
        torch.autograd.grad(value, first, retain_graph=True)
    (gradient,) = torch.autograd.grad(value, second)  # though what is known was written over
    assert gradient.abs().max() > 0


def test_it_is_about_nothing_for_other_pictures_of_the_kind_and_far_for_others() -> None:
    loss, far = (stroke_loss(pictures(400, seed=0)) for _ in range(2))
    alike = [number(loss(pictures(8, seed=seed))) for seed in range(1, 60)][8:]
    apart = [number(far(0.3 * pictures(8, seed=seed))) for seed in range(1, 60)][8:]
    assert abs(np.mean(alike)) < 1 < np.mean(apart) / 5


def test_a_generator_of_one_picture_is_not_as_near_as_one_of_many() -> None:
    """The nearest single picture: with means alone, nothing could be nearer."""
    real = pictures(200, seed=0)
    together, single = stroke_loss(real), stroke_loss(real)
    middle = real.mean(0, keepdim=True)
    for seed in range(1, 10):
        together(pictures(8, seed=seed))
        single(middle.expand(8, -1, -1, -1))
    near, far = together(pictures(8, seed=20)), single(middle.expand(8, -1, -1, -1))
    assert number(far) > number(near) + 1


def test_the_last_crops_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KNOWN", 3)
    loss = stroke_loss(pictures(4, seed=0))
    made = pictures(5, seed=1)
    for count, picture in enumerate(made):
        assert loss.settled == (count > 2)
        loss(picture[None])
    known = loss.state_dict()["made"]["pixels"]
    np.testing.assert_allclose(known, described(made.flip(0)[:3]), atol=1e-5)


def test_a_loaded_loss_goes_on_as_the_saved_one_with_the_paintings_of_then() -> None:
    one = stroke_loss(pictures(4, seed=0), seed=1)
    other = stroke_loss(pictures(6, seed=9), seed=2)
    # Wider than their crops, whose places are drawn.
    made = [pictures(1, seed=seed, side=140) for seed in range(4)]
    for each in made[:2]:
        one(each)
    other.load_state_dict(one.state_dict(), device=CPU)
    for each in made[2:]:
        assert torch.equal(one(each), other(each))


def test_a_state_of_other_layers_is_refused() -> None:
    state: dict[str, Any] = stroke_loss(pictures(4, seed=0), name="others").state_dict()
    with pytest.raises(CheckpointError, match="compares pixels; the state is of others"):
        stroke_loss(pictures(4, seed=0)).load_state_dict(state, device=CPU)


def test_paintings_come_first() -> None:
    with pytest.raises(ValueError, match="show real pictures"):
        StrokeLoss(Pixels(), generator=seeded())(pictures(1, seed=0))
