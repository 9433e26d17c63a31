"""Methods on losses whose minima are known; counting, divergence, averages, watchers."""

import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from impasto.gatys.features.make import with_autocast
from impasto.gatys.optim.iterates import Iterate, IterateAverage, Losses, Watch, total_loss
from impasto.gatys.optim.loop import DivergencePolicy, Method, Outcome, optimize
from impasto.gatys.optim.methods import Adam, AdamState, Lbfgs
from impasto.options.errors import ImpastoError

METHODS: list[Method] = [Lbfgs(), Adam()]
NAMES = ["lbfgs", "adam"]


def only_content(content: Tensor) -> Losses:
    return {"content": content, "style": torch.zeros_like(content)}


def picture(height: int = 6, width: int = 8, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(1, 3, height, width, generator=generator)


@dataclass
class Quadratic:
    """Half the weighted squared distance from a picture; curvatures from 1 to 100."""

    target: Tensor
    weight: float = 1.0
    calls: int = 0
    spoil: Callable[[int, Tensor], Tensor] = lambda _call, loss: loss
    seen: list[Tensor] = field(default_factory=list)

    def __call__(self, image: Tensor) -> Losses:
        self.calls += 1
        self.seen.append(image.detach().clone())
        curvature = torch.linspace(1, 100, image.numel()).view_as(image)
        loss = self.weight * 0.5 * (curvature * (image - self.target).square()).sum()
        return only_content(self.spoil(self.calls, loss))


def rosenbrock(image: Tensor) -> Losses:
    """Chained Rosenbrock, minimum 0 where all values are 1."""
    x = image.flatten()
    return only_content((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum())


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_a_quadratic_is_minimized(method: Method) -> None:
    start, target = picture(), picture(seed=1)
    kept = start.clone()
    outcome = optimize(start, Quadratic(target), method=method, iterations=400)
    torch.testing.assert_close(outcome.image, target, rtol=0, atol=2e-3)
    assert torch.equal(start, kept)
    assert outcome.losses["total"] < 1e-3
    assert outcome.ended == "complete"
    assert outcome.rollbacks == 0


def test_a_curved_valley_is_followed_to_its_end() -> None:
    start = 0.5 * picture(2, 2) + 0.4
    outcome = optimize(start, rosenbrock, method=Lbfgs(), iterations=400)
    torch.testing.assert_close(outcome.image, torch.ones(1, 3, 2, 2), rtol=0, atol=1e-2)


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("iterations", [1, 2, 3, 17, 40])
@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_iterations_are_evaluations_exactly(
    method: Method, iterations: int, average: float | None
) -> None:
    objective = Quadratic(picture(seed=1))
    outcome = optimize(picture(), objective, method=method, iterations=iterations, average=average)
    assert objective.calls == outcome.evaluations == iterations
    assert outcome.statement == f"complete after {iterations} of {iterations} evaluations"


@pytest.mark.parametrize("weight", [1e-9, 1e-2, 1.0, 1e6, 1e17])
def test_lbfgs_does_not_depend_on_the_unit_of_the_loss(weight: float) -> None:
    first = optimize(picture(), Quadratic(picture(seed=1)), method=Lbfgs(), iterations=30)
    other = optimize(
        picture(), Quadratic(picture(seed=1), weight=weight), method=Lbfgs(), iterations=30
    )
    torch.testing.assert_close(other.image, first.image, rtol=0, atol=1e-4)
    assert other.rollbacks == 0


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_the_same_start_gives_the_same_bits(method: Method) -> None:
    runs = [optimize(picture(), rosenbrock, method=method, iterations=60).image for _ in range(2)]
    assert torch.equal(*runs)


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_channels_last_makes_no_difference(method: Method) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)

    def objective(image: Tensor) -> Losses:
        features = layer(image.contiguous(memory_format=torch.channels_last))
        return only_content((features - 0.3).square().mean())

    start = picture()
    runs = [
        optimize(image, objective, method=method, iterations=20).image
        for image in (start, start.contiguous(memory_format=torch.channels_last))
    ]
    assert torch.equal(*runs)
    assert layer.weight.grad is None  # not frozen, and no gradient all the same


def test_adam_is_torchs_with_clipping() -> None:
    start, target = picture(), picture(seed=1) * 3 - 1
    x = start.clone().requires_grad_()
    reference = torch.optim.Adam([x], lr=0.02, betas=(0.9, 0.99), eps=1e-12)
    for _ in range(29):
        reference.zero_grad()
        total_loss(Quadratic(target)(x)).backward()  # type: ignore[no-untyped-call]
        reference.step()
        with torch.no_grad():
            x.clamp_(0, 1)
    objective = Quadratic(target)
    optimize(start, objective, method=Adam(), iterations=30)
    assert torch.equal(objective.seen[-1], x.detach())
    assert all(seen.min() >= 0 and seen.max() <= 1 for seen in objective.seen)


def test_lbfgs_never_clips_what_it_optimizes() -> None:
    objective = Quadratic(torch.full((1, 3, 6, 8), 1.5))
    outcome = optimize(picture(), objective, method=Lbfgs(), iterations=60)
    torch.testing.assert_close(objective.seen[-1], objective.target, rtol=0, atol=1e-3)
    assert torch.equal(outcome.image, torch.ones(1, 3, 6, 8))


def test_moments_go_on_where_they_were() -> None:
    """Two halves of a run, with the moments handed over, are the run in one."""
    target = picture(seed=1)
    whole, first = Quadratic(target), Quadratic(target)
    optimize(picture(), whole, method=Adam(), iterations=21)
    half = optimize(picture(), first, method=Adam(), iterations=11)
    assert half.state is not None
    assert half.state.step == 10
    second = Quadratic(target)
    optimize(first.seen[-1], second, method=Adam(), iterations=11, state=half.state)
    assert torch.equal(second.seen[-1], whole.seen[-1])


def test_moments_are_resized() -> None:
    generator = torch.Generator().manual_seed(0)
    first = torch.randn(1, 3, 6, 8, generator=generator)
    state = AdamState(step=7, first=first, second=first.square())
    larger = state.resized(9, 12)
    assert larger.step == 7
    assert larger.first.shape == larger.second.shape == (1, 3, 9, 12)
    assert larger.second.min() >= 0
    assert larger.first.min() < 0
    assert state.resized(6, 8) is state
    flat = AdamState(step=1, first=torch.full((1, 3, 4, 4), -2.0), second=torch.ones(1, 3, 4, 4))
    torch.testing.assert_close(flat.resized(7, 5).first, torch.full((1, 3, 7, 5), -2.0))
    outcome = optimize(
        picture(9, 12), Quadratic(picture(9, 12, 1)), method=Adam(), iterations=3, state=state
    )
    assert outcome.state is not None
    assert outcome.state.step == 9


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_average_in_numpy(decay: float) -> None:
    pictures = [picture(seed=seed) for seed in range(6)]
    average = IterateAverage(decay)
    for image in pictures:
        average.update(image)
    weights = (1 - decay) * decay ** np.arange(5, -1, -1.0)
    expected = sum(w * p.numpy() for w, p in zip(weights, pictures, strict=True)) / weights.sum()
    np.testing.assert_allclose(average.value.numpy(), expected, rtol=2e-5)
    average.restart()
    with pytest.raises(ValueError, match="no pictures"):
        _ = average.value
    with pytest.raises(ValueError, match="below 1, got 1"):
        IterateAverage(1.0)


def test_the_average_is_the_result_and_is_what_was_measured() -> None:
    objective = Quadratic(picture(seed=1))
    told: list[Iterate] = []
    outcome = optimize(
        picture(),
        objective,
        method=Adam(),
        iterations=31,
        average=0.9,
        watch=Watch(tell=told.append, every=10),
    )
    weights = 0.9 ** np.arange(29, -1, -1.0)
    stack = np.stack([seen.numpy() for seen in objective.seen[:30]])
    # The last iterate is averaged too, though the last evaluation is spent on the average.
    last = torch.as_tensor(objective.seen[30])
    assert torch.equal(outcome.image, last)
    ten = sum(w * p for w, p in zip(weights[20:], stack[:10], strict=True)) / weights[20:].sum()
    np.testing.assert_allclose(told[0].image.numpy(), ten, rtol=2e-5)
    measured = total_loss(Quadratic(objective.target)(outcome.image)).item()
    assert outcome.losses["total"] == pytest.approx(measured)


def spoil_from(first: int, last: int, value: float) -> Callable[[int, Tensor], Tensor]:
    return lambda call, loss: loss * value if first <= call <= last else loss


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_bad_evaluation_is_rolled_back(
    method: Method, value: float, caplog: pytest.LogCaptureFixture
) -> None:
    objective = Quadratic(picture(seed=1), spoil=spoil_from(9, 9, value))
    with caplog.at_level(logging.WARNING):
        outcome = optimize(picture(), objective, method=method, iterations=400)
    assert outcome.rollbacks == 1
    assert outcome.ended == "complete"
    assert outcome.evaluations == objective.calls == 400
    assert outcome.losses["total"] < 1
    assert outcome.statement.endswith("diverged and went back 1 times")
    (message,) = caplog.messages
    assert message.startswith(f"evaluation 9: the loss went to {value:.6g} from ")
    assert message.endswith("back to the best picture, with steps of 0.25 times the length")
    totals = [total_loss(Quadratic(objective.target)(seen)).item() for seen in objective.seen[:8]]
    before = totals.index(min(totals))
    assert torch.equal(objective.seen[9], objective.seen[before])


def test_an_explosion_is_rolled_back_for_lbfgs_alone() -> None:
    for method, expected in ((Lbfgs(), 1), (Adam(), 0)):
        objective = Quadratic(picture(seed=1), spoil=spoil_from(5, 5, 1e6))
        outcome = optimize(picture(), objective, method=method, iterations=60)
        assert outcome.rollbacks == expected
        assert outcome.losses["total"] < 0.5 * total_loss(objective(picture())).item()


@pytest.mark.parametrize("method", METHODS, ids=NAMES)
def test_divergence_without_end_is_given_up(
    method: Method, caplog: pytest.LogCaptureFixture
) -> None:
    objective = Quadratic(picture(seed=1), spoil=spoil_from(9, 10**9, float("nan")))
    outcome = optimize(
        picture(), objective, method=method, iterations=400, policy=DivergencePolicy(tries=3)
    )
    assert outcome.ended == "diverged"
    assert outcome.rollbacks == 3
    assert outcome.evaluations == objective.calls == 12
    assert "given up at evaluation 12" in outcome.statement
    assert outcome.statement in caplog.messages
    assert outcome.image.isfinite().all()
    totals = [total_loss(Quadratic(objective.target)(seen)).item() for seen in objective.seen[:8]]
    assert outcome.losses["total"] == pytest.approx(min(totals))


def test_a_gradient_that_is_not_finite_is_named() -> None:
    def objective(image: Tensor) -> Losses:
        return only_content((image - image).abs().sqrt().sum() + image.sum())

    outcome = optimize(picture(), objective, method=Lbfgs(), iterations=50)
    assert outcome.ended == "diverged"
    assert "the gradient is not finite" in outcome.statement
    assert torch.equal(outcome.image, picture())


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("iterations", [1, 10])
def test_without_any_finite_loss_there_is_an_error(iterations: int, average: float | None) -> None:
    objective = Quadratic(picture(seed=1), spoil=spoil_from(1, 99, float("nan")))
    with pytest.raises(ImpastoError, match=r"no picture has finite losses \(content nan, style 0"):
        optimize(picture(), objective, method=Adam(), iterations=iterations, average=average)


def test_without_any_weight_there_is_an_error() -> None:
    with pytest.raises(ImpastoError, match="give a weight above 0"):
        optimize(
            picture(),
            lambda _image: only_content(torch.zeros(())),
            method=Adam(),
            iterations=5,
        )


def test_a_start_at_the_minimum_stays_there() -> None:
    for method in METHODS:
        outcome = optimize(picture(), Quadratic(picture()), method=method, iterations=20)
        assert torch.equal(outcome.image, picture())
        assert outcome.rollbacks == 0


@pytest.mark.parametrize("average", [None, 0.9])
@pytest.mark.parametrize("at", [1, 4, 10])
def test_stop_ends_after_the_present_evaluation(at: int, average: float | None) -> None:
    objective = Quadratic(picture(seed=1))
    told: list[Iterate] = []
    watch = Watch(tell=told.append, every=2, stop=lambda: objective.calls >= at)
    outcome = optimize(
        picture(), objective, method=Adam(), iterations=99, average=average, watch=watch
    )
    # An average is measured before it is returned, which is one evaluation more, and counted.
    assert outcome.evaluations == objective.calls == at + (average is not None)
    assert outcome.ended == "stopped"
    assert outcome.statement.startswith(
        f"stopped as wished, with the best picture after {objective.calls} of 99"
    )
    assert told[-1].last
    assert torch.equal(told[-1].image, outcome.image)
    measured = total_loss(Quadratic(objective.target)(outcome.image)).item()
    assert outcome.losses["total"] == pytest.approx(measured)


def test_watchers_are_told() -> None:
    told: list[Iterate] = []
    watch = Watch(tell=told.append, every=10, scale=2, scales=3, before=100)
    outcome = optimize(
        picture(), Quadratic(picture(seed=1)), method=Lbfgs(), iterations=30, watch=watch
    )
    assert [iterate.step for iterate in told] == [10, 20, 30]
    assert [iterate.evaluations for iterate in told] == [110, 120, 130]
    assert [iterate.last for iterate in told] == [False, False, True]
    for iterate in told:
        assert (iterate.steps, iterate.scale, iterate.scales) == (30, 2, 3)
        assert (iterate.height, iterate.width) == (6, 8)
        assert list(iterate.losses) == ["content", "style", "total"]
        assert iterate.image.min() >= 0
        assert iterate.image.max() <= 1
        assert not iterate.image.requires_grad
    assert told[0].seconds <= told[-1].seconds <= outcome.seconds
    assert told[-1].losses == outcome.losses
    assert not torch.equal(told[0].image, told[1].image)


def test_what_a_watcher_raises_reaches_the_caller() -> None:
    def fail(_iterate: Iterate) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        optimize(
            picture(), rosenbrock, method=Adam(), iterations=9, watch=Watch(tell=fail, every=3)
        )


class Reads(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often the host reads a value from a tensor, which waits for a GPU."""

    count = 0

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, func, types, args=(), kwargs=None
    ):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **kwargs or {})


@pytest.mark.parametrize("method", [Lbfgs(history=10), Adam()], ids=["lbfgs", "adam"])
def test_the_host_reads_nothing_between_looks(method: Method) -> None:
    counts = []
    for iterations in (51, 91):
        with Reads() as reads:  # type: ignore[no-untyped-call]
            optimize(
                picture(),
                Quadratic(picture(seed=1)),
                method=method,
                iterations=iterations,
                watch=Watch(every=1000),
                policy=DivergencePolicy(check_every=20),
            )
        counts.append(reads.count)
    # Adam's own step counter lies on the CPU, and is read there, once per step.
    own = 40 if isinstance(method, Adam) else 0
    assert counts[1] - counts[0] - own <= 2  # evaluations 60 and 80


def test_the_network_may_run_in_bfloat16() -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(3, 4, 3)
    seen = set()

    def features(image: Tensor, _layers: Sequence[str]) -> dict[str, Tensor]:
        return {"layer": layer(image)}

    def run(dtype: torch.dtype | None, loss_scale: float) -> Outcome:
        network = with_autocast(features, dtype)

        def objective(image: Tensor) -> Losses:
            found = network(image, ["layer"])["layer"]
            seen.add(found.dtype)
            return only_content((found.float() - 0.3).square().mean())

        return optimize(picture(), objective, method=Adam(), iterations=20, loss_scale=loss_scale)

    half, full = run(torch.bfloat16, 64.0), run(None, 1.0)
    assert seen == {torch.bfloat16, torch.float32}
    assert half.image.dtype == torch.float32
    assert half.losses["total"] == pytest.approx(full.losses["total"], rel=0.2)


def test_the_scale_of_the_loss_is_taken_back() -> None:
    runs = [
        optimize(picture(), rosenbrock, method=Adam(), iterations=9, loss_scale=s)
        for s in (1.0, 1024.0)
    ]
    assert torch.equal(runs[0].image, runs[1].image)


def extreme(weight: float, start: Tensor, style: Tensor, method: Method) -> Outcome:
    torch.manual_seed(0)
    layers = [nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, stride=2)]

    def features(image: Tensor) -> list[Tensor]:
        first = layers[0](image).relu()
        return [first, layers[1](first).relu()]

    def grams(image: Tensor) -> list[Tensor]:
        flat = [f.flatten(2) for f in features(image)]
        return [f @ f.transpose(1, 2) / f.shape[2] for f in flat]

    with torch.no_grad():
        content, targets = features(picture(64, 64, 5))[1], grams(style)

    def objective(image: Tensor) -> Losses:
        distance = (features(image)[1] - content).square().mean()
        pairs = zip(grams(image), targets, strict=True)
        style_loss = torch.stack([(g - t).square().sum() for g, t in pairs]).sum()
        return {"content": distance, "style": weight * style_loss}

    return optimize(start, objective, method=method, iterations=40)


@pytest.mark.parametrize("method", [*METHODS, Lbfgs(history=100)], ids=[*NAMES, "long"])
@pytest.mark.parametrize("weight", [1e-2, 1.0, 1e6])
@pytest.mark.parametrize("plain", [False, True])
def test_extreme_weights_on_a_small_network(method: Method, weight: float, plain: bool) -> None:
    style = torch.full((1, 3, 64, 64), 0.5) if plain else picture(64, 64, 7)
    outcome = extreme(weight, picture(64, 64, 9), style, method)
    assert outcome.image.isfinite().all()
    assert outcome.ended == "complete"
    assert outcome.losses["total"] >= 0


@pytest.mark.parametrize(
    ("image", "iterations", "expected"),
    [
        (torch.zeros(3, 4, 4), 5, r"expected \(1, 3, H, W\) floating point, got \(3, 4, 4\)"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), 5, "got .* torch.uint8"),
        (torch.full((1, 3, 4, 4), float("nan")), 5, "finite values"),
        (torch.zeros(1, 3, 4, 4), 0, "at least 1, got 0"),
    ],
)
def test_what_cannot_be_optimized(image: Tensor, iterations: int, expected: str) -> None:
    with pytest.raises(ValueError, match=expected):
        optimize(image, rosenbrock, method=Adam(), iterations=iterations)


def test_settings_are_checked() -> None:
    with pytest.raises(ValueError, match="every: expected at least 1, got 0"):
        Watch(every=0)
    with pytest.raises(ValueError, match="history: expected at least 1, got 0"):
        Lbfgs(history=0)


def test_looks_are_rare_off_the_cpu() -> None:
    assert DivergencePolicy().interval(torch.device("cpu")) == 1
    assert DivergencePolicy().interval(torch.device("cuda")) == 10
    assert DivergencePolicy(check_every=3).interval(torch.device("cuda")) == 3


def test_the_average_begins_anew_after_a_rollback() -> None:
    objective = Quadratic(picture(seed=1), spoil=spoil_from(9, 9, float("nan")))
    optimize(picture(), objective, method=Adam(), iterations=13, average=0.9)
    weights = 0.9 ** np.arange(3, -1, -1.0)
    # Evaluations 10, 11 and 12, the step after them, and the average itself as the 13th.
    assert objective.calls == 13
    shown, seen = objective.seen[12].numpy(), [x.numpy() for x in objective.seen[9:12]]
    known = sum(w * x for w, x in zip(weights[:3], seen, strict=True))
    last = shown * weights.sum() - known
    assert np.abs(last - seen[-1]).max() < 0.01  # one step of Adam at a quarter of .02


@dataclass
class Lucky(Quadratic):
    """A quadratic whose fifth evaluation happens to be far lower; the gradient does not tell."""

    is_random: bool = True
    luck: float = 1e6

    def __call__(self, image: Tensor) -> Losses:
        losses = super().__call__(image)
        return only_content(losses["content"] - (self.luck if self.calls == 5 else 0.0))


@pytest.mark.parametrize("stopped", [False, True])
def test_of_random_losses_the_last_picture_is_the_result_and_not_the_luckiest(
    stopped: bool,
) -> None:
    plain = Quadratic(picture(seed=1))
    optimize(picture(), plain, method=Adam(), iterations=20)
    objective = Lucky(picture(seed=1))
    watch = Watch(stop=lambda: stopped and objective.calls == 11)
    outcome = optimize(picture(), objective, method=Adam(), iterations=20, watch=watch)
    last = plain.seen[10 if stopped else 19]
    assert torch.equal(outcome.image, last)
    measured = total_loss(Quadratic(picture(seed=1))(last)).item()
    assert outcome.losses["total"] == pytest.approx(measured)
    # The picture of a run that was stopped is evaluated once more, for its own loss.
    assert outcome.evaluations == objective.calls == (12 if stopped else 20)
    assert ("with the last picture" in outcome.statement) == stopped
    # The same luck where losses can be compared is the best picture.
    sure = Lucky(picture(seed=1), is_random=False)
    assert torch.equal(optimize(picture(), sure, method=Adam(), iterations=20).image, plain.seen[4])


def test_a_last_picture_of_random_losses_that_is_not_finite_is_not_the_result() -> None:
    objective = Lucky(
        picture(seed=1), spoil=lambda call, loss: loss * (torch.inf if call == 20 else 1), luck=0
    )
    outcome = optimize(picture(), objective, method=Adam(), iterations=20)
    assert torch.equal(outcome.image, objective.seen[18])
    assert math.isfinite(outcome.losses["total"])


def test_a_rate_that_falls_goes_on_falling_after_a_return_to_the_best_picture() -> None:
    seen: list[float] = []

    def slope(image: Tensor) -> Losses:
        """Adam's step along a slope that stays the same is its rate."""
        seen.append(float(image.detach().flatten()[0]))
        return only_content(image.sum() * (torch.nan if len(seen) == 10 else 1.0))

    method = Adam(lr=0.01, decay_over=40)
    outcome = optimize(torch.full((1, 3, 2, 2), 0.9), slope, method=method, iterations=40)
    assert outcome.rollbacks == 1
    steps = [before - after for before, after in pairwise(seen)]
    assert seen[10] == seen[8]
    before, after = range(9), range(10, 39)
    assert [steps[i] for i in before] == pytest.approx([method.rate(i) for i in before], abs=1e-6)
    assert [steps[i] for i in after] == pytest.approx(
        [0.25 * method.rate(i) for i in after], abs=1e-6
    )
    # The last step is next to nothing, as without a return: 0.01 (1 + cos(38 pi / 40)) / 2 / 4.
    assert steps[38] == pytest.approx(0.01 * 0.25 * 0.00616, abs=1e-6)
