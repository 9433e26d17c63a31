import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from impasto.cyclegan.schedules import LearningRate, lr_multiplier


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
