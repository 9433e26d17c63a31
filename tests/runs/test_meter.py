import pytest
import torch
from torch import Tensor

from impasto.options import TrainingError
from impasto.runs.meter import Meter, require_finite_weights


def losses(G: float, D: float) -> dict[str, Tensor]:
    return {"G": torch.tensor(G), "D": torch.tensor(D)}


def test_reports_means_and_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([100.0, 108.0, 108.0, 110.0, 110.0])
    monkeypatch.setattr("impasto.runs.meter.time.perf_counter", lambda: next(clock))
    meter = Meter()
    meter.add(losses(1.0, 4.0), step=1, images=2)
    meter.add(losses(3.0, 8.0), step=2, images=2)
    assert meter.check() == {"G": 2.0, "D": 6.0}
    record = meter.report()
    assert record["losses"] == {"G": 2.0, "D": 6.0}
    assert (record["seconds"], record["images_per_second"]) == (8.0, 0.5)
    again = meter.report()
    assert (again["losses"], again["images_per_second"]) == ({}, 0.0)


def test_a_resumed_run_reports_what_came_before() -> None:
    before, after = Meter(), Meter()
    before.add(losses(1.0, 4.0), step=7, images=1)
    after.load_state_dict(before.state_dict())
    assert after.report()["losses"] == {"G": 1.0, "D": 4.0}
    after.load_state_dict(before.state_dict())
    after.add(losses(3.0, float("nan")), step=8, images=1)
    with pytest.raises(TrainingError, match="at step 8"):
        after.check()
    after.load_state_dict(Meter().state_dict())
    assert after.check() == {}


def test_waiting_is_a_share_of_the_time() -> None:
    meter = Meter()
    meter.wait(1000.0)
    assert meter.report()["data_wait"] == 1.0
    assert meter.report()["data_wait"] == 0.0


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_names_the_first_step_that_is_not_finite(bad: float) -> None:
    meter = Meter()
    for step in range(7, 11):
        meter.add(losses(1.5, bad if step >= 9 else 2.0), step=step, images=1)
    with pytest.raises(TrainingError, match=r"not a finite number at step 9: G 1\.5, D "):
        meter.report()


def test_means_are_those_of_all_processes() -> None:
    def average(values: Tensor) -> Tensor:  # with a process whose losses are all 10
        return (values + 10.0) / 2

    meter = Meter(average)
    meter.add(losses(2.0, 4.0), step=1, images=1)
    assert meter.check() == {"G": 6.0, "D": 7.0}


def test_a_bad_loss_in_another_process_is_an_error_here_too() -> None:
    calls = []

    def average(values: Tensor) -> Tensor:
        calls.append(values)
        return values * float("nan")

    meter = Meter(average)
    meter.add(losses(2.0, 4.0), step=1, images=1)
    with pytest.raises(TrainingError, match="in another process of this job"):
        meter.check()
    # And the process that has it takes part in the average, for the others wait for it.
    meter.add(losses(2.0, float("inf")), step=2, images=1)
    with pytest.raises(TrainingError, match="at step 2"):
        meter.check()
    assert len(calls) == 2


@pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
def test_one_value_that_is_no_number_refuses_the_weights(wrong: float) -> None:
    weights = [torch.zeros(2, 3), torch.tensor(4), torch.ones(5)]
    require_finite_weights(weights, what="G_A")
    require_finite_weights([], what="G_A")
    weights[2][4] = wrong
    with pytest.raises(TrainingError, match="the weights of G_A are no longer finite numbers"):
        require_finite_weights(weights, what="G_A")
