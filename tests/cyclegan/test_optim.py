"""Tests."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from impasto.cyclegan.networks import ResnetGenerator
from impasto.cyclegan.optim import LearningRate, WeightAverage, lr_multiplier


def optimizer(lr: float = 2e-4) -> SGD:
    return SGD([nn.Parameter(torch.zeros(1))], lr=lr)


def schedule(policy: str, *optimizers: SGD, **changes: int) -> LearningRate:
    lengths = {"n_epochs": 100, "n_epochs_decay": 100, **changes}
    return LearningRate(list(optimizers), lr=2e-4, policy=policy, **lengths)


def rate(of: SGD) -> float:
    (group,) = of.param_groups
    return float(group["lr"])


@pytest.mark.parametrize(
    ("epoch", "expected"),
    # reference/cyclegan.md, section 3.5
    [(1, 2e-4), (100, 2e-4), (101, 1.980198e-4), (150, 1.009901e-4), (200, 1.980198e-6)],
)
def test_linear_in_the_numbers_of_the_reference(epoch: int, expected: float) -> None:
    first, second = optimizer(), optimizer()
    steering = schedule("linear", first, second)
    steering.start_epoch(epoch)
    assert rate(first) == rate(second) == pytest.approx(expected, rel=1e-6)


def test_linear_equals_the_reference_stepped_at_the_end_of_each_epoch() -> None:
    theirs, ours = optimizer(), optimizer()
    stepped = LambdaLR(theirs, lambda count: 1.0 - max(0, count + 1 - 100) / float(100 + 1))
    steering = schedule("linear", ours)
    for epoch in range(1, 201):
        steering.start_epoch(epoch)
        assert rate(ours) == pytest.approx(rate(theirs), rel=1e-12)
        assert rate(ours) > 0
        theirs.step()
        stepped.step()


def test_linear_is_never_negative() -> None:
    assert lr_multiplier("linear", 500, n_epochs=100, n_epochs_decay=100) == 0


def test_rate_of_the_first_epoch_is_set_at_once() -> None:
    steered = optimizer(lr=1.0)
    schedule("linear", steered)
    assert rate(steered) == 2e-4


def test_longer_decay_takes_effect_in_the_next_epoch() -> None:
    first, longer = optimizer(), optimizer()
    before, after = schedule("linear", first), schedule("linear", longer, n_epochs_decay=300)
    before.start_epoch(150)
    after.load_state_dict(before.state_dict())
    after.start_epoch(151)
    assert rate(longer) == pytest.approx(2e-4 * (1 - 51 / 301))


def test_the_rate_rises_linearly_from_the_first_picture() -> None:
    steered = optimizer()
    steering = schedule("linear", steered, warmup_images=4)
    found = [rate(steered)]
    for images in (1, 1, 1, 1, 1):
        steering.end_step(images)
        found.append(rate(steered))
    assert found == pytest.approx([5e-5, 1e-4, 1.5e-4, 2e-4, 2e-4, 2e-4], rel=1e-12)
    assert steering.present == rate(steered)


def test_the_warm_up_counts_pictures_and_not_steps_or_epochs() -> None:
    steered = optimizer()
    steering = schedule("linear", steered, warmup_images=100, n_epochs=1, n_epochs_decay=1)
    steering.end_step(24)
    assert rate(steered) == pytest.approx(2e-4 * 0.25)
    steering.start_epoch(2)  # half of the rate by the schedule
    assert rate(steered) == pytest.approx(2e-4 * 0.25 / 2)
    steering.end_step(75)
    assert rate(steered) == pytest.approx(1e-4)


def test_a_warm_up_goes_on_where_it_was() -> None:
    first, second = optimizer(), optimizer()
    before = schedule("linear", first, warmup_images=10)
    before.end_step(4)
    after = schedule("linear", second, warmup_images=10)
    after.load_state_dict(before.state_dict())
    assert rate(second) == rate(first) == pytest.approx(2e-4 * 0.5)
    after.end_step(2)
    assert rate(second) == pytest.approx(2e-4 * 0.7)


def test_states_without_a_warm_up_are_past_it() -> None:
    steered = optimizer()
    steering = schedule("linear", steered, warmup_images=10)
    steering.load_state_dict({"lr": 2e-4, "present": 2e-4, "plateaus": []})
    assert rate(steered) == 2e-4


def test_a_plateau_in_the_warm_up_lowers_the_whole_rate() -> None:
    steered = optimizer()
    steering = schedule("plateau", steered, warmup_images=100)
    steering.end_step(49)
    for _ in range(7):  # the first is the best one, and the sixth after it is too many
        steering.end_epoch(1.0)
    assert rate(steered) == pytest.approx(2e-4 / 5 / 2)
    steering.end_step(50)
    assert rate(steered) == pytest.approx(2e-4 / 5)


def test_step() -> None:
    steered = optimizer()
    steering = schedule("step", steered, lr_decay_iters=3)
    found = []
    for epoch in range(1, 9):
        steering.start_epoch(epoch)
        found.append(rate(steered))
    assert found == pytest.approx([2e-4] * 3 + [2e-5] * 3 + [2e-6] * 2)


def test_cosine_falls_all_the_way_and_never_climbs() -> None:
    def share(epoch: int) -> float:
        return lr_multiplier("cosine", epoch, n_epochs=6, n_epochs_decay=4)

    assert share(1) == 1
    assert share(6) == pytest.approx(0.5)
    # A third of the way along half a circle: (1 + cos(pi / 5)) / 2 has a closed form.
    assert share(3) == pytest.approx((1 + (1 + math.sqrt(5)) / 4) / 2)
    found = [share(epoch) for epoch in range(1, 11)]
    assert found == sorted(found, reverse=True)
    assert found[-1] > 0


def rates_of(steering: LearningRate, of: SGD, losses: list[float]) -> list[float]:
    found = []
    for epoch, loss in enumerate(losses, start=1):
        steering.start_epoch(epoch)
        found.append(rate(of))
        steering.end_epoch(loss)
    return found


def test_plateau() -> None:
    first, second = optimizer(), optimizer()
    steering = schedule("plateau", first, second)
    assert steering.needs_loss
    # The first epoch sets the mark; then five without 1 % of progress are forgiven.
    found = rates_of(steering, first, [1.0, *[0.995] * 5, 0.992, 0.5, 0.5])
    assert found == pytest.approx([2e-4] * 7 + [4e-5] * 2)
    assert rate(second) == rate(first)


def test_plateau_depends_on_losses_and_not_on_the_epoch() -> None:
    for epoch in (1, 100, 500):
        assert lr_multiplier("plateau", epoch, n_epochs=100, n_epochs_decay=100) == 1


def test_progress_keeps_the_plateau_away() -> None:
    steered = optimizer()
    losses = [0.98**epoch for epoch in range(20)]
    assert rates_of(schedule("plateau", steered), steered, losses) == [2e-4] * 20


def test_only_plateau_needs_the_loss() -> None:
    for policy in ("linear", "step", "cosine"):
        steered = optimizer()
        steering = schedule(policy, steered)
        assert not steering.needs_loss
        steering.end_epoch(math.nan)
        assert rate(steered) == 2e-4


@pytest.mark.parametrize("policy", ["linear", "step", "cosine", "plateau"])
def test_continues_from_a_saved_state(policy: str) -> None:
    losses = [1.0] * 30
    whole = optimizer()
    expected = rates_of(schedule(policy, whole), whole, losses)
    before = optimizer()
    steering = schedule(policy, before)
    first = rates_of(steering, before, losses[:10])
    saved: dict[str, Any] = {"steering": steering.state_dict(), "optimizer": before.state_dict()}
    after = optimizer()
    resumed = schedule(policy, after)
    after.load_state_dict(saved["optimizer"])
    resumed.load_state_dict(saved["steering"])
    second = []
    for epoch in range(11, 31):
        resumed.start_epoch(epoch)
        second.append(rate(after))
        resumed.end_epoch(1.0)
    assert first + second == expected
    assert policy != "plateau" or len(set(expected)) > 2


def test_unknown_policy() -> None:
    with pytest.raises(
        ValueError, match="expected one of linear, step, cosine, plateau, got 'exp'"
    ):
        schedule("exp", optimizer())


def network(value: float) -> nn.Module:
    module = nn.Sequential(nn.Conv2d(1, 1, 2), nn.BatchNorm2d(1))
    set_all(module, value)
    return module


def set_all(module: nn.Module, value: float) -> None:
    with torch.no_grad():
        for tensor in module.state_dict().values():
            tensor.fill_(value)


def value_of(average: WeightAverage, module: nn.Module) -> float:
    weights = average.weights(module)
    values = {
        float(value) for key, value in weights.items() if "num" not in key and value.ndim == 1
    }
    (value,) = values
    assert torch.all(weights["0.weight"] == value)
    return value


def by_hand(path: list[float], decay: float, start: float) -> float:
    average = np.float64(start)
    for step, value in enumerate(path, start=1):
        keep = min(decay, (1 + step) / (10 + step))
        average = keep * average + (1 - keep) * value
    return float(average)


@pytest.mark.parametrize("decay", [0.3, 0.9, 0.9999])
def test_follows_the_recurrence(decay: float) -> None:
    module = network(-2.0)
    average = WeightAverage(module, decay=decay)
    path = [1.0, 3.0, -1.0, 0.5, 10.0, 2.0, 2.0, 2.0]
    for steps, value in enumerate(path, start=1):
        set_all(module, value)
        average.update(module)
        expected = by_hand(path[:steps], decay, -2.0)
        assert value_of(average, module) == pytest.approx(expected, rel=1e-5)
    assert average.steps == len(path)


def test_late_steps_use_the_decay_itself() -> None:
    module = network(0.0)
    average = WeightAverage(module, decay=0.5)
    for _ in range(8):  # (1 + 8) / (10 + 8) is 0.5
        average.update(module)
    set_all(module, 1.0)
    average.update(module)
    assert value_of(average, module) == pytest.approx(0.5)


def test_early_weights_are_forgotten() -> None:
    module = network(1000.0)
    average = WeightAverage(module, decay=0.9999)
    set_all(module, 1.0)
    for _ in range(100):
        average.update(module)
    # The product of (1 + s) / (10 + s) for s to 100 is 2 * ... * 10 / (102 * ... * 110).
    left = np.prod(np.arange(2, 11) / np.arange(102, 111))
    assert value_of(average, module) == pytest.approx(1 + 999 * left, rel=1e-5)
    assert value_of(average, module) < 1.01


def test_covers_buffers_and_takes_counters_from_the_network() -> None:
    module = network(0.0)
    average = WeightAverage(module, decay=0.5)
    module.state_dict()["1.num_batches_tracked"].fill_(7)
    average.update(module)
    weights = average.weights(module)
    assert list(weights) == list(module.state_dict())
    assert int(weights["1.num_batches_tracked"]) == 7
    assert weights["1.running_var"].dtype == torch.float32


def test_the_network_is_not_touched_and_does_not_touch() -> None:
    module = network(4.0)
    average = WeightAverage(module, decay=0.5)
    set_all(module, 8.0)
    assert value_of(average, module) == 4.0
    average.update(module)
    assert float(module.state_dict()["0.bias"]) == 8.0
    assert not any(value.requires_grad for value in average.weights(module).values())


def test_an_average_continues_from_a_saved_state() -> None:
    def walk(average: WeightAverage, module: nn.Module, path: list[float]) -> None:
        for value in path:
            set_all(module, value)
            average.update(module)

    path = [0.3, -1.0, 2.0, 7.0, 0.1, 5.0]
    whole_module, module = network(1.0), network(1.0)
    whole, first = (WeightAverage(m, decay=0.99) for m in (whole_module, module))
    walk(whole, whole_module, path)
    walk(first, module, path[:3])
    saved = {key: clone(value) for key, value in first.state_dict().items()}
    other = network(-50.0)
    second = WeightAverage(other, decay=0.99)
    second.load_state_dict(saved)
    walk(second, other, path[3:])
    assert second.steps == 6
    for key, value in whole.weights(whole_module).items():
        assert torch.equal(value, second.weights(other)[key])


def clone(value: object) -> object:
    if isinstance(value, dict):
        return {key: tensor.clone() for key, tensor in value.items() if isinstance(tensor, Tensor)}
    return value


@pytest.mark.parametrize("decay", [0.0, 1.0, -1.0, float("nan")])
def test_decay_out_of_range(decay: float) -> None:
    with pytest.raises(ValueError, match="decay: expected a number between 0 and 1"):
        WeightAverage(network(0.0), decay=decay)


def test_a_saved_average_without_the_share_of_the_picture_is_taken() -> None:
    network = ResnetGenerator(channels=4, blocks=1, base="kuwahara")
    saved = WeightAverage(network, decay=0.9).state_dict()
    earlier = {key: value + 1 for key, value in saved["average"].items()}
    del earlier["base.photograph"]
    average = WeightAverage(network, decay=0.9)
    average.load_state_dict({"steps": 3, "average": earlier})
    for key, value in average.weights(network).items():
        assert torch.equal(value, earlier.get(key, torch.tensor(0.0)))
    del earlier["base.sharpness"]
    with pytest.raises(KeyError):
        average.load_state_dict({"steps": 3, "average": earlier})
