"""Trackers: what they are told, by modules that record it and, where installed, for real."""

import json
import logging
import sys
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from impasto.cyclegan import train
from impasto.options import TrainOptions
from impasto.runs import Progress, load_state
from impasto.runs.displays.tracking import TRACKERS, TrackingDisplay

Options = Callable[..., TrainOptions]
Calls = list[tuple[str, Any]]

RECORD = {
    "losses": {"G_A": 0.5, "D_A": float("nan")},
    "scores": {"swd": 3.0},
    "outputs": {"contrast_B": None, "correlation_B": 0.25},
    "learning_rate": 2e-4,
    "images_per_second": 2.0,
    "data_wait": 0.125,
}
NUMBERS = {
    "loss/G_A": 0.5,
    "score/swd": 3.0,
    "output/correlation_B": 0.25,
    "learning_rate": 2e-4,
    "images_per_second": 2.0,
    "data_wait": 0.125,
    "epoch": 1.0,
}
CONFIG = {"lr": 2e-4, "dataroot": Path("data"), "diffaugment": ["a", "b"], "folder_A": None}
RGB = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)


def progress(images: int) -> Progress:
    return Progress(epoch=1, images=images, steps=images, total_images=100, total_epochs=1)


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    made.__spec__ = ModuleSpec(name, None)
    for key, value in content.items():
        setattr(made, key, value)
    return made


class Recorded:
    """Notes each call of each method."""

    def __init__(self, calls: Calls, **answers: Any) -> None:
        self._calls, self._answers = calls, answers

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*values: Any, **named: Any) -> Any:
            self._calls.append(
                (name, values[0] if len(values) == 1 and not named else (values, named))
            )
            return self._answers.get(name)

        return call


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Calls:
    """Put modules that record into the place of all three; return what they record."""
    for variable in ("WANDB_PROJECT", "MLFLOW_TRACKING_URI", "TRACKIO_PROJECT"):
        monkeypatch.delenv(variable, raising=False)
    calls: Calls = []

    def init(**named: Any) -> Recorded:
        calls.append(("init", named))
        return Recorded(calls)

    def client(uri: str) -> Recorded:
        calls.append(("client", uri))
        run = SimpleNamespace(info=SimpleNamespace(run_id="run1"))
        return Recorded(calls, create_experiment="7", create_run=run)

    def picture(rgb: Any) -> Any:
        return ("picture", rgb.shape)

    settings = dict
    for made in (
        module("wandb", init=init, Image=picture, Settings=settings),
        module("trackio", init=init, Image=picture),
        module("mlflow", MlflowClient=client),
    ):
        monkeypatch.setitem(sys.modules, made.__name__, made)
    return calls


def play(display: TrackingDisplay, start: int = 0, *, error: str | None = None) -> None:
    display.on_start(progress(start))
    display.on_report(progress(start + 2), RECORD)
    display.on_samples(progress(start + 2), {"fake_B": RGB})
    display.on_end(progress(start + 2), error)


def test_wandb_gets_numbers_by_pictures_and_goes_on_in_the_same_run(
    tmp_path: Path, fakes: Calls
) -> None:
    play(TRACKERS["wandb"](tmp_path, config=CONFIG))
    play(TRACKERS["wandb"](tmp_path, config=CONFIG), 4, error="full disk")
    begun = [named for name, named in fakes if name == "init"]
    identifier = json.loads((tmp_path / "tracking.json").read_text())["wandb"]
    assert [named["id"] for named in begun] == [identifier] * 2
    assert {named["resume"] for named in begun} == {"allow"}
    assert begun[0]["project"] == "impasto"
    assert begun[0]["name"] == tmp_path.name
    assert begun[0]["dir"] == str(tmp_path)
    assert begun[0]["config"] == {
        "lr": 2e-4,
        "dataroot": "data",
        "diffaugment": "a b",
        "folder_A": None,
    }
    assert begun[0]["settings"]["console"] == "off"
    logged = [value for name, value in fakes if name == "log"]
    assert logged[0] == {**NUMBERS, "images": 2}
    assert logged[1] == {"samples/fake_B": ("picture", (4, 5, 3)), "images": 2}
    assert [value["images"] for value in logged] == [2, 2, 6, 6]
    ends = [value[1]["exit_code"] for name, value in fakes if name == "finish"]
    assert ends == [0, 1]


def test_mlflow_gets_steps_and_goes_on_in_the_same_run(tmp_path: Path, fakes: Calls) -> None:
    play(TRACKERS["mlflow"](tmp_path, config=CONFIG))
    play(TRACKERS["mlflow"](tmp_path, config=CONFIG), 4, error="full disk")
    names = [name for name, _ in fakes]
    assert names.count("create_run") == 1
    assert dict(fakes)["client"] == f"sqlite:///{tmp_path / 'mlflow'}.db"
    metrics = [value for name, value in fakes if name == "log_metric"]
    assert [(run, key, value, named) for (run, key, value), named in metrics[: len(NUMBERS)]] == [
        ("run1", key, value, {"step": 2}) for key, value in NUMBERS.items()
    ]
    assert metrics[-1][1] == {"step": 6}
    assert [named for (_, _), named in (v for n, v in fakes if n == "log_image")] == [
        {"key": "fake_B", "step": 2},
        {"key": "fake_B", "step": 6},
    ]
    ends = [value[0] for name, value in fakes if name == "set_terminated"]
    assert ends == [("run1", "FINISHED"), ("run1", "FAILED")]
    # Options are told once: MLflow lets nobody change them.
    assert names.count("log_param") == len(CONFIG)


def test_trackio_gets_steps_and_goes_on_in_the_same_run(tmp_path: Path, fakes: Calls) -> None:
    play(TRACKERS["trackio"](tmp_path, config=CONFIG))
    play(TRACKERS["trackio"](tmp_path, config=CONFIG), 4)
    begun = [named for name, named in fakes if name == "init"]
    assert begun[0]["name"] == begun[1]["name"]
    assert begun[0]["name"].startswith(f"{tmp_path.name}-")
    logged = [value for name, value in fakes if name == "log"]
    assert logged[0] == ((NUMBERS,), {"step": 2})
    assert logged[1] == (({"samples/fake_B": ("picture", (4, 5, 3))},), {"step": 2})


def test_nothing_is_begun_before_the_first_report(tmp_path: Path, fakes: Calls) -> None:
    for tracker in TRACKERS.values():
        display = tracker(tmp_path, config=CONFIG)
        display.on_start(progress(0))
        display.on_end(progress(0))
    assert not fakes
    assert not (tmp_path / "tracking.json").exists()


def weights(options: TrainOptions) -> dict[str, torch.Tensor]:
    state = load_state(options.run.checkpoints_dir / options.run.name / "state.pt")
    return {
        f"{name}.{key}": value
        for name, network in state["learner"]["networks"].items()
        for key, value in network.items()
    }


@pytest.mark.parametrize("trouble", ["missing", "refuses", "no network", "works"])
def test_a_training_with_a_tracker_in_trouble_ends_with_the_same_weights_and_one_line(
    tiny_options: Options,
    fakes: Calls,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    trouble: str,
) -> None:
    plain = tiny_options(name="plain", display="none", max_images=3)
    train(plain)
    assert not fakes  # nobody asked

    def fail(**_named: Any) -> Any:
        raise {"refuses": RuntimeError, "no network": ConnectionError}[trouble]("no way there")

    if trouble == "missing":
        monkeypatch.setattr("impasto.runs.displays.tracking.find_spec", lambda _name: None)
    elif trouble != "works":
        monkeypatch.setattr(sys.modules["wandb"], "init", fail)
    tracked = tiny_options(name="tracked", display="wandb", max_images=3)
    with caplog.at_level(logging.WARNING):
        train(tracked)
    ours, theirs = weights(plain), weights(tracked)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    said = [record.getMessage() for record in caplog.records]
    expected = {
        "missing": [
            "wandb is not installed; training goes on without it. To install it: "
            'pip install "impasto[wandb]"'
        ],
        "refuses": ["WandbDisplay failed and is switched off: no way there"],
        "no network": ["WandbDisplay failed, and is tried again: no way there"],
        "works": [],
    }
    assert said == expected[trouble]
    if trouble == "works":
        assert [name for name, _ in fakes].count("finish") == 1


@pytest.mark.skipif(find_spec("wandb") is None, reason="wandb is not installed")
def test_wandb_for_real_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    play(TRACKERS["wandb"](tmp_path, config=CONFIG))
    play(TRACKERS["wandb"](tmp_path, config=CONFIG), 4)
    identifier = json.loads((tmp_path / "tracking.json").read_text())["wandb"]
    files = list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    assert files
    assert {file.name for file in files} == {f"run-{identifier}.wandb"}
    assert list((tmp_path / "wandb").glob("offline-run-*/files/media/images/samples/fake_B*.png"))


@pytest.mark.filterwarnings("ignore")  # its database library warns of its own ways
def test_mlflow_for_real_in_a_database(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    play(TRACKERS["mlflow"](tmp_path, config=CONFIG))
    play(TRACKERS["mlflow"](tmp_path, config=CONFIG), 4, error="full disk")
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path / 'mlflow'}.db")
    [run] = client.search_runs([client.get_experiment_by_name("impasto").experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss/G_A")
    assert [(point.step, point.value) for point in history] == [(2, 0.5), (6, 0.5)]
    assert run.data.params["diffaugment"] == "a b"
    assert run.info.status == "FAILED"
    assert list((tmp_path / "mlflow").rglob("*.png"))


def test_trackio_for_real_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    storage = pytest.importorskip("trackio.sqlite_storage")
    utils = pytest.importorskip("trackio.utils")
    for place in (storage, utils):
        monkeypatch.setattr(place, "TRACKIO_DIR", tmp_path / "trackio", raising=False)
    monkeypatch.setenv("TRACKIO_PROJECT", "tried")
    play(TRACKERS["trackio"](tmp_path, config=CONFIG))
    play(TRACKERS["trackio"](tmp_path, config=CONFIG), 4)
    name = json.loads((tmp_path / "tracking.json").read_text())["trackio"]
    logs = storage.SQLiteStorage.get_logs("tried", name)
    points = [(point["step"], point["loss/G_A"]) for point in logs if "loss/G_A" in point]
    assert points == [(2, 0.5), (6, 0.5)]


def test_mlflow_begins_anew_where_it_does_not_know_the_run(
    tmp_path: Path, fakes: Calls, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class UnknownRunError(Exception):
        error_code = "RESOURCE_DOES_NOT_EXIST"

    (tmp_path / "tracking.json").write_text('{"mlflow": "of another server"}', encoding="utf-8")

    def client(_uri: str) -> Any:
        made = Recorded(
            fakes,
            create_experiment="7",
            create_run=SimpleNamespace(info=SimpleNamespace(run_id="run2")),
        )

        def refuse(*_words: object, **_named: object) -> None:
            raise UnknownRunError("Run 'of another server' not found")

        made.__dict__["update_run"] = refuse
        return made

    monkeypatch.setattr(sys.modules["mlflow"], "MlflowClient", client)
    play(TRACKERS["mlflow"](tmp_path, config=CONFIG))
    assert json.loads((tmp_path / "tracking.json").read_text(encoding="utf-8")) == {
        "mlflow": "run2"
    }
    assert {value[0][0] for name, value in fakes if name == "log_metric"} == {"run2"}
    assert "MLflow has no run of another server here any more" in caplog.text
