import numpy as np
import pytest
import torch
from torch import Tensor, nn

from impasto.cyclegan.averaging import WeightAverage


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


def test_continues_from_a_saved_state() -> None:
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
