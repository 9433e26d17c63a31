"""What benchmarks/shipped_model.py makes of numbers that others measured."""

import json
import runpy
from pathlib import Path
from typing import Any

import pytest

from impasto.cyclegan.evaluation.table import Evaluation, Row
from impasto.cyclegan.jobs.evaluate import as_json
from impasto.options.evaluate import EvaluateOptions

KID = "KID (classifier)"  # as `impasto evaluate` names it
BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "shipped_model.py"


@pytest.fixture(scope="module")
def benchmark() -> dict[str, Any]:
    """Return what the program defines, without running it: tests do not import benchmarks."""
    return runpy.run_path(str(BENCHMARK))


def results(**of_result: object) -> dict[str, Any]:
    """Return what `impasto evaluate` writes of a model that meets everything."""
    inputs = {"kind": "nothing", "swd": 100.0, KID: 2.0, "grid_2": 1.0, "grid_4": 2.0}
    floor = {"kind": "floor", "swd": 40.0, KID: 0.5, "grid_2": 1.0, "grid_4": 1.0}
    result = {
        "kind": "result",
        "closed": {"swd": 0.7, KID: 0.9},
        "ssim": 0.6,
        "grid_2": 1.1,
        "grid_4": 1.0,
    }
    return {"rows": [inputs, floor, {**result, **of_result}]}


def test_requirements_hold_at_their_bounds_and_not_beyond(benchmark: dict[str, Any]) -> None:
    found = benchmark["requirements"](results())
    assert [one.value for one in found] == pytest.approx([0.7, 0.9, 0.6, 1.1, 0.5])
    assert all(one.met for one in found)
    bounds = results(closed={"swd": 0.5, KID: 0.5}, ssim=0.5, grid_2=1.2, grid_4=2.4)
    assert all(one.met for one in benchmark["requirements"](bounds))
    worse: list[dict[str, object]] = [
        {"closed": {"swd": 0.49, KID: 0.9}},
        {"closed": {"swd": 0.7, KID: -0.1}},
        {"ssim": 0.49},
        {"grid_2": 1.3},
        {"grid_4": 2.5},
    ]
    for place, change in enumerate(worse):
        found = benchmark["requirements"](results(**change))
        assert [number for number, one in enumerate(found) if not one.met] == [place]
        assert str(found[place]).endswith("MISSED")


def test_it_reads_what_evaluate_writes(benchmark: dict[str, Any]) -> None:
    rows = [
        Row(
            name=kind,
            kind=kind,  # type: ignore[arg-type]
            pictures=30,
            paired=30,
            unequal=0,
            enlarged=0,
            values={"swd": swd, "kid": kid, "ssim": 0.6, "grid_2": 1.0, "grid_4": 1.0},
        )
        for kind, swd, kid in (("nothing", 10.0, 4.0), ("floor", 5.0, 2.0), ("result", 6.0, 2.5))
    ]
    for heading in ("KID", "KID (classifier)", "KID (my own run)"):
        evaluation = Evaluation(
            rows=rows,
            real_pictures=30,
            real_enlarged=0,
            best_by="kid",
            best="result",
            headings={"kid": heading},
        )
        text = as_json(
            evaluation, EvaluateOptions(real=Path("a")), facts={}, sentences=[], extractor="x"
        )
        found = benchmark["requirements"](json.loads(text))
        assert [one.value for one in found] == pytest.approx([0.8, 0.75, 0.6, 1.0, 1.0])


def test_results_without_kid_are_refused_in_words(benchmark: dict[str, Any]) -> None:
    with pytest.raises(SystemExit, match="expected one KID among swd"):
        benchmark["requirements"](results(closed={"swd": 0.5}))


def test_a_blind_measure_is_missed_and_says_what_it_saw(benchmark: dict[str, Any]) -> None:
    blind = results(closed={"swd": 0.7, KID: None})
    blind["rows"][0][KID] = 0.25
    found = benchmark["requirements"](blind)
    assert [one.met for one in found] == [True, False, True, True, True]
    assert "other Monets, KID" in str(found[1])
    assert str(found[1]).endswith(" blind: do nothing 0.250, floor 0.500   MISSED")


def test_numbers_that_are_not_finite_are_missed(benchmark: dict[str, Any]) -> None:
    broken = results(closed={"swd": 0.7, KID: None}, ssim=None, grid_4=None)
    broken["rows"][1][KID] = None
    found = benchmark["requirements"](broken)
    assert [one.met for one in found] == [True, False, False, True, False]
    assert "not finite: do nothing 2.000, floor not finite   MISSED" in str(found[1])
    assert "not measured   MISSED" in str(found[2])


def test_losses_of_the_same_picture_are_compared_relatively(benchmark: dict[str, Any]) -> None:
    log = [
        {"images": 50, "losses": {"G_A": 2.0, "D_A": 0.5, "idt_A": 0.0}},
        {"images": 100, "losses": {"G_A": 1.0, "D_A": 0.4, "idt_A": 0.0}},
        {"images": 150, "losses": {"G_A": 9.0, "D_A": 9.0, "idt_A": 9.0}},
    ]
    again = [
        {"images": 50, "losses": {"G_A": 2.0, "D_A": 0.5, "idt_A": 0.0}},
        {"images": 75, "losses": {"G_A": 5.0, "D_A": 5.0, "idt_A": 5.0}},
        {"images": 100, "losses": {"G_A": 1.02, "D_A": 0.38, "idt_A": 1e-5}},
    ]
    assert benchmark["log_differences"](log, again) == pytest.approx({50: 0.0, 100: 0.05})
    assert benchmark["log_differences"](log, again[1:2]) == {}
