"""One skeleton for every training, here of a method that is nothing but one number."""

import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from impasto.options import FolderError, OptionError
from impasto.options.train import RUN_MAY_CHANGE, BasicDisplayOptions, BasicRunOptions
from impasto.runs import (
    Doctor,
    Progress,
    RunDirectory,
    StepResult,
    TrainingParts,
    TrainResult,
    devices,
    load_state,
    read_log,
    run_training_job,
)


@dataclass(frozen=True, kw_only=True)
class HalvingSchedule:
    """The length of the training."""

    epochs: int = 3


@dataclass(frozen=True, kw_only=True)
class HalvingOptions:
    """Options of a method that halves a number in each step."""

    run: BasicRunOptions = field(default_factory=BasicRunOptions)
    displays: BasicDisplayOptions = field(default_factory=BasicDisplayOptions)
    schedule: HalvingSchedule = field(default_factory=HalvingSchedule)


class Halving:
    """Learns by halving a number, plus a little at random."""

    loss_weights: Mapping[str, float] = {"number": 1.0}
    present_learning_rate = 0.5

    def __init__(self) -> None:
        self.number = torch.ones(())

    def step(self, batches: Sequence[int]) -> StepResult:
        self.number = self.number / 2 ** len(batches) + torch.rand(()) / 100
        return StepResult(losses={"number": self.number})

    def start_epoch(self, epoch: int) -> None:
        pass

    def end_epoch(self) -> None:
        pass

    def samples(self, batch: int) -> dict[str, torch.Tensor]:
        return {"real_A": torch.full((1, 3, 8, 8), batch / 10)}

    def output_statistics(self, batch: int) -> dict[str, float | None]:
        return {"batch": float(batch)}

    def check_finite(self) -> None:
        pass

    def state_dict(self) -> dict[str, Any]:
        return {"number": self.number}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.number = state["number"]

    def process_state(self) -> dict[str, Any]:
        return {}

    def load_process_state(self, state: Mapping[str, Any]) -> None:
        pass


class Numbers:
    """Batches 0 to 3 in each epoch."""

    global_batch, epoch_images = 1, 4

    def __init__(self) -> None:
        self.position, self.closed = 0, False
        self.stop: Callable[[], bool] = lambda: False
        self.unreadable: dict[Path, str] = {Path("a"): "of the loader"}

    def __iter__(self) -> Iterator[int]:
        while self.position < self.epoch_images:
            self.position += 1
            yield self.position - 1
        self.position = 0

    def close(self) -> None:
        self.closed = True

    def state_dict(self) -> dict[str, Any]:
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.position = state["position"]


class Job:
    """Runs the method in a folder and keeps what was built."""

    def __init__(self, folder: Path) -> None:
        run = BasicRunOptions(name="run", checkpoints_dir=folder, device="cpu", print_freq=2)
        displays = BasicDisplayOptions(display="none")
        self.options = HalvingOptions(run=run, displays=displays)
        self.exported: list[str] = []
        self.loaders: list[Numbers] = []

    def __call__(self, *, max_images: int | None = None, **how: Any) -> TrainResult:
        def build(_accelerator: Accelerator) -> TrainingParts[int]:
            loader = Numbers()
            self.loaders.append(loader)
            return TrainingParts(
                learner=Halving(),
                loader=loader,
                export=self.export,
                doctor=Doctor(),
                epochs=self.options.schedule.epochs,
                max_images=max_images,
                held_out_unreadable={Path("b"): "held out"},
            )

        return run_training_job(
            self.options, build, command="halve", may_change=RUN_MAY_CHANGE, **how
        )

    def export(self, _directory: RunDirectory, label: str, _progress: Progress) -> None:
        self.exported.append(label)

    @property
    def run(self) -> Path:
        return self.options.run.checkpoints_dir / self.options.run.name

    def number(self) -> torch.Tensor:
        number: torch.Tensor = load_state(self.run / "state.pt")["learner"]["number"]
        return number


def test_a_method_is_trained_logged_exported_and_closed(tmp_path: Path) -> None:
    job = Job(tmp_path)
    result = job()
    assert (result.progress.images, result.progress.steps) == (12, 12)
    assert (result.directory, result.signal, result.is_main_process) == (job.run, None, True)
    assert result.unreadable == {Path("a"): "of the loader", Path("b"): "held out"}
    log = read_log(job.run / "log.jsonl")
    assert [record["images"] for record in log] == [2, 4, 6, 8, 10, 12]
    assert list(log[0]["losses"]) == ["number"]
    assert log[0]["outputs"] == {"batch": 1.0}
    assert "impasto halve" in (job.run / "options.yaml").read_text(encoding="utf-8")
    assert job.exported == ["latest"]
    assert job.loaders[0].closed


def test_a_resumed_training_equals_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, parts = Job(tmp_path / "whole"), Job(tmp_path / "parts")
    whole()
    parts(max_images=5)
    assert not torch.equal(parts.number(), whole.number())
    parts(resume=True)
    assert torch.equal(parts.number(), whole.number())


def test_a_run_is_not_overwritten_nor_resumed_as_another(tmp_path: Path) -> None:
    job = Job(tmp_path)
    job(max_images=2)
    with pytest.raises(FolderError, match="holds a training already"):
        job()
    job.options = replace(job.options, schedule=HalvingSchedule(epochs=2))
    with pytest.raises(OptionError, match="epochs: 3 -> 2"):
        job(resume=True)
    assert len(job.loaders) == 1, "refused before anything is built"
    assert job(resume=True, allow_changes=True).progress.images == 8


def test_the_loader_is_closed_where_training_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path)

    def fail(*_words: object) -> None:
        raise RuntimeError("no network")

    monkeypatch.setattr(job, "export", fail)
    with pytest.raises(RuntimeError, match="no network"):
        job()
    assert job.loaders[0].closed


def test_threads_are_set_told_and_restored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    job = Job(tmp_path)
    job.options = replace(
        job.options,
        run=replace(job.options.run, threads=2),
        displays=BasicDisplayOptions(display="console,page"),
    )
    before = torch.get_num_threads()
    job(max_images=4)
    assert torch.get_num_threads() == before == 1
    assert [record["threads"] for record in read_log(job.run / "log.jsonl")] == [2, 2]
    assert "threads 2, precision 32 bits" in capsys.readouterr().err
    page = (job.run / "web" / "index.html").read_text(encoding="utf-8")
    environment = page.split('id="environment"')[1]
    assert re.search(r"threads</dt>\s*<dd[^>]*>2</dd>", environment)
    job(max_images=6, resume=True)
    assert not caplog.records  # as many as before
    job.options = replace(job.options, run=replace(job.options.run, threads=1))
    job(max_images=8, resume=True)
    (record,) = caplog.records
    assert "the number of threads is 1 now, and was 2 when" in record.getMessage()
    assert "--threads 2 makes it so" in record.getMessage()


def test_a_resumed_run_keeps_the_precision_that_auto_became(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job(tmp_path)
    job.options = replace(job.options, run=replace(job.options.run, mixed_precision="auto"))
    made: list[str] = []

    def start(**how: Any) -> None:
        def build(accelerator: Accelerator) -> TrainingParts[int]:
            made.append(accelerator.mixed_precision)
            return TrainingParts(
                learner=Halving(),
                loader=Numbers(),
                export=job.export,
                doctor=Doctor(),
                epochs=3,
                max_images=2 * len(made),
            )

        run_training_job(job.options, build, command="halve", may_change=RUN_MAY_CHANGE, **how)

    for takes in (0.5, 1.2, 0.5):
        monkeypatch.setattr(devices, "bf16_slowdown", lambda _device, takes=takes: takes)
        start(resume=bool(made))
    assert made == ["bf16", "bf16", "bf16"]
    monkeypatch.setattr(devices, "bf16_slowdown", lambda _device: 14.0)
    start(resume=True)
    assert made[-1] == "no"


def test_trains_in_a_thread_and_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    job = Job(tmp_path)
    build = Halving.step

    def step(self: Halving, batches: Sequence[int]) -> StepResult:
        torch.backends.cudnn.benchmark = True
        return build(self, batches)

    ended: list[TrainResult] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Halving, "step", step)
        thread = threading.Thread(target=lambda: ended.append(job()))
        thread.start()
        thread.join()
    assert [result.progress.images for result in ended] == [12]
    assert not torch.backends.cudnn.benchmark
