import pytest

from impasto.runs import History


def add(history: History, number: int, **losses: float) -> None:
    history.add(
        {
            "images": 10 * number,
            "epoch": 1 + number // 4,
            "losses": losses or {"G_A": float(number)},
            "learning_rate": 2e-4,
            "images_per_second": 3.0,
            "data_wait": 0.1,
        }
    )


def test_a_short_run_is_kept_whole() -> None:
    history = History()
    for number in range(1, 6):
        add(history, number)
    assert [point.images for point in history.points] == [10, 20, 30, 40, 50]
    assert [point.values["G_A"] for point in history.points] == [1, 2, 3, 4, 5]
    assert [point.epoch for point in history.points] == [1, 1, 1, 2, 2]
    assert history.names == ("G_A", "learning_rate", "images_per_second", "data_wait")


@pytest.mark.parametrize("reports", [7, 8, 9, 100, 1000, 1023, 1025])
def test_a_long_run_is_bounded_and_loses_no_mean(reports: int) -> None:
    history = History(most_points=8)
    for number in range(1, reports + 1):
        add(history, number)
        assert len(history.points) <= 8
    points = history.points
    assert sum(point.reports for point in points) == reports
    mean = sum(point.values["G_A"] * point.reports for point in points) / reports
    assert mean == pytest.approx((reports + 1) / 2)
    images = [point.images for point in points]
    assert images == sorted(set(images))
    assert images[-1] == 10 * reports
    assert len(points) >= 4
    # All but the last stand for equally many reports.
    assert len({point.reports for point in points[:-1]}) == 1


def test_a_value_that_comes_later_is_averaged_where_it_is() -> None:
    history = History(most_points=2)
    add(history, 1, G_A=1.0)
    add(history, 2, G_A=3.0, idt_A=5.0)
    add(history, 3, G_A=4.0)
    first, last = history.points
    assert (first.values["G_A"], first.values["idt_A"], first.reports) == (2.0, 5.0, 2)
    assert (last.values["G_A"], "idt_A" in last.values) == (4.0, False)
