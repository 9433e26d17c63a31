"""Whole trainings beside a visdom server that is absent, killed, or well: all end the same."""

import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from impasto.cyclegan import train
from impasto.options import TrainOptions
from impasto.runs import Observer, Progress, load_state, read_log

pytest.importorskip("visdom")

Options = Callable[..., TrainOptions]
LOSSES = "with loss over time"


class KillServer(Observer):
    """Kills the server at the first report, as soon as it shows a point."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self.killed_at: int | None = None

    def on_report(self, progress: Progress, record: Mapping[str, Any]) -> None:
        if self.killed_at is not None:
            return
        for _ in range(200):
            if LOSSES in self._server.windows("paintings"):
                break
            time.sleep(0.05)
        self._server.kill()
        self.killed_at = progress.images


def run(tiny_options: Options, name: str, *observers: Observer, **changes: Any) -> Path:
    return train(tiny_options(name=name, **changes), observers=observers).directory


def with_visdom(tiny_options: Options, server: Any, *observers: Observer) -> Path:
    place = {"display_port": server.port, "display_env": "paintings"}
    return run(tiny_options, "with", *observers, display="visdom", **place)


def numbers(state: Any) -> list[Any]:
    """Return all that a nested state holds, in order."""
    if isinstance(state, Mapping):
        return [one for key in state for one in (key, *numbers(state[key]))]
    if isinstance(state, list | tuple):
        return [one for item in state for one in numbers(item)]
    return [state]


def assert_same(one: Any, other: Any) -> None:
    """Compare nested states bit for bit."""
    for left, right in zip(numbers(one), numbers(other), strict=True):
        assert type(left) is type(right)
        assert torch.equal(left, right) if isinstance(left, Tensor) else left == right


def assert_same_training(one: Path, other: Path) -> None:
    networks = sorted(path.name for path in one.glob("*_net_*.pth"))
    assert {f"latest_net_{name}.pth" for name in ("G_A", "G_B", "D_A", "D_B")} <= {*networks}
    for name in networks:
        states = (torch.load(run / name, weights_only=True) for run in (one, other))
        assert_same(*states)
    assert_same(*(load_state(run / "state.pt") for run in (one, other)))
    losses = [[r["losses"] for r in read_log(run / "log.jsonl")] for run in (one, other)]
    assert losses[0] == losses[1]


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno >= logging.WARNING]


def test_a_training_without_a_server_ends_as_one_without_visdom(
    tiny_options: Options, visdom_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plain = run(tiny_options, "plain", display="none")
    watched = with_visdom(tiny_options, visdom_server)
    assert_same_training(plain, watched)
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"no visdom server at localhost:{visdom_server.port}")


@pytest.mark.slow
def test_a_training_whose_server_is_killed_ends_as_one_without_visdom(
    tiny_options: Options, visdom_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plain = run(tiny_options, "plain", display="none")
    visdom_server.start()
    killer = KillServer(visdom_server)
    watched = with_visdom(tiny_options, visdom_server, killer)
    assert killer.killed_at == 3  # pictures, of 21
    assert_same_training(plain, watched)
    (warning,) = warnings_of(caplog)
    assert warning.startswith(f"visdom at localhost:{visdom_server.port} is lost")


@pytest.mark.slow
def test_a_training_with_a_server_shows_itself_and_ends_as_one_without_visdom(
    tiny_options: Options, visdom_server: Any, caplog: pytest.LogCaptureFixture
) -> None:
    plain = run(tiny_options, "plain", display="none")
    visdom_server.start()
    watched = with_visdom(tiny_options, visdom_server)
    assert_same_training(plain, watched)
    assert warnings_of(caplog) == []
    assert {LOSSES, "with images", "with labels"} <= set(visdom_server.windows("paintings"))
    records = read_log(watched / "log.jsonl")
    assert visdom_server.curves("paintings", LOSSES) == {
        name: [(pytest.approx(1 + r["images"] / 7), r["losses"][name]) for r in records]
        for name in records[0]["losses"]
    }
