"""Epochs that are measured between others: the same weights, the best kept, nothing lost."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from torch import Tensor

from impasto.cyclegan import run_evaluation, train
from impasto.cyclegan.evaluation.sets import Settings
from impasto.cyclegan.jobs import judge as judge_module
from impasto.cyclegan.jobs.judge import EpochJudge, read_best
from impasto.cyclegan.models import find_generator
from impasto.cyclegan.weights import load_generator, save_generator
from impasto.data import list_pictures
from impasto.data.datasets import hold_back
from impasto.gatys.features.lite import find_lite_weights
from impasto.options import (
    CheckpointError,
    EvaluateOptions,
    FolderError,
    OptionError,
    TrainOptions,
    flatten,
)
from impasto.options.evaluate import BestBy
from impasto.options.networks import Direction
from impasto.options.train import EvaluationOptions
from impasto.runs import Observer, Progress, load_state, read_log
from impasto.scripts.main import main

Options = Callable[..., TrainOptions]
SHORT: dict[str, Any] = {"max_dataset_size": 3}
SMALL: dict[str, Any] = {"size_px": 32, "patches": 256}


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Compare sets in small squares, and without a network unless one is asked for."""
    monkeypatch.setattr(judge_module, "Settings", partial(Settings, **SMALL))
    if "lite" not in request.fixturenames:
        monkeypatch.setattr(judge_module, "find_lite_weights", lambda: None)


@pytest.fixture
def lite() -> None:
    """EfficientNet-Lite0; a skip where it is not installed."""
    if find_lite_weights() is None:
        pytest.skip("needs EfficientNet-Lite0")


@pytest.fixture
def measured(tiny_options: Options, picture_folder: Callable[..., Path]) -> Options:
    """Options of a training that is measured after each of three epochs of three pictures."""
    folders = {
        f"val_{domain}": picture_folder(f"val{domain}", count=4 + seed, seed=10 + seed)
        for seed, domain in enumerate("AB")
    }
    return partial(tiny_options, **SHORT, evaluate_every_epochs=1, save_epoch_freq=1, **folders)


def run_of(options: TrainOptions) -> Path:
    return options.run.checkpoints_dir / options.run.name


def scores(options: TrainOptions) -> dict[int, Mapping[str, float]]:
    log = read_log(run_of(options) / "log.jsonl")
    return {record["epoch"]: record["scores"] for record in log if "scores" in record}


def leaves(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Give all values of a state, tensors as bytes."""
    if isinstance(value, Tensor):
        yield place, value.numpy().tobytes()
    elif isinstance(value, Mapping):
        for key in value:
            yield from leaves(value[key], f"{place}/{key}")
    elif isinstance(value, list | tuple):
        for index, each in enumerate(value):
            yield from leaves(each, f"{place}/{index}")
    else:
        yield place, value


def bits(options: TrainOptions) -> dict[str, Any]:
    """Return what a training goes on from: networks, moments, averages, pools, random numbers."""
    state = load_state(run_of(options) / "state.pt")
    own = [{key: each[key] for key in ("learner", "random")} for each in state["processes"]]
    return dict(leaves([state["learner"], own, state["loader"], state["progress"]]))


ONE_SIDED = {"one_sided": True, "lambda_nce": 1.0, "num_patches": 16}


@pytest.mark.usefixtures("lite")
@pytest.mark.parametrize(
    "changes",
    [
        {"dropout": True, "ema_decay": 0.9, "lr_policy": "plateau", "norm": "batch"},
        {**ONE_SIDED, "ema_decay": 0.9},
        pytest.param(
            {"convolution": "auto", "mixed_precision": "bf16", "num_threads": 2},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_the_weights_are_the_same_bits_with_it(
    tiny_options: Options, measured: Options, changes: dict[str, Any]
) -> None:
    without, with_it = tiny_options(name="off", **SHORT, **changes), measured(name="on", **changes)
    for options in (without, with_it):
        train(options)
    assert len(scores(with_it)) == 3
    assert bits(without) == bits(with_it)


def test_it_leaves_settings_and_modes_as_they_were(measured: Options) -> None:
    seen = []

    class Watch(Observer):
        def on_step(self, progress: Progress) -> None:
            seen.append((progress.epoch, torch.backends.cudnn.benchmark, torch.get_num_threads()))

    train(measured(n_epochs=1), observers=[Watch()])
    assert {epoch for epoch, *_ in seen} == {1, 2}
    assert {tuple(rest) for _, *rest in seen} == {(True, 1)}


@pytest.mark.usefixtures("lite")
@pytest.mark.parametrize(
    ("best", "best_by"), [("swd", "swd"), pytest.param("kid_lite", "kid", marks=pytest.mark.slow)]
)
def test_the_best_epoch_is_that_of_evaluate_to_the_digit(
    measured: Options, tmp_path: Path, best: str, best_by: BestBy
) -> None:
    options = measured(ema_decay=0.5, best=best, lr=0.01)
    train(options)
    run = run_of(options)
    ways: tuple[tuple[Direction, str], ...] = (("AtoB", "A"), ("BtoA", "B"))
    for direction, letter in ways:
        real, inputs = options.evaluation.val_B, options.evaluation.val_A
        if direction == "BtoA":
            real, inputs = inputs, real
        result = run_evaluation(
            [run],
            EvaluateOptions(
                real=real,
                inputs=inputs,
                direction=direction,
                epochs=("all",),
                backbone="lite",
                best_by=best_by,
                device="cpu",
                output=tmp_path / direction,
                **SMALL,
            ),
        ).evaluation
        names = {"swd": "swd", "kid_lite": "kid", "palette": "palette", "content": "content"}
        told = scores(options)
        for row in result.results[:3]:
            said = told[int(row.name.rpartition(" ")[2])]
            for name, of in names.items():
                assert said[f"val_{name}_{letter}"] == row.values[of], (row.name, name)
        assert result.nothing is not None
        assert result.floor is not None
        assert told[1][f"val_swd_{letter}_nothing"] == result.nothing.values["swd"]
        assert told[1][f"val_swd_{letter}_floor"] == result.floor.values["swd"]
        kept = read_best(run, f"G_{letter}")
        assert result.best == f"{run.name}, epoch {kept['epoch']}"
        values = {epoch: each[f"val_{best}_{letter}"] for epoch, each in scores(options).items()}
        assert int(kept["epoch"]) == min(values, key=lambda epoch: values[epoch])
        assert float(kept["value"]) == min(values.values())
        assert json.loads(kept["measured"])[best] == float(kept["value"])


def test_best_is_an_epoch_to_translate_with_and_to_evaluate(
    measured: Options, tmp_path: Path
) -> None:
    options = measured(ema_decay=0.5)
    train(options)
    run = run_of(options)
    kept = read_best(run, "G_B")
    assert kept["direction"] == "BtoA"
    assert kept["weights"] == "averaged"
    best = find_generator(run, direction="BtoA", epoch="best")
    saved = load_generator(run / f"{kept['epoch']}_net_G_B_ema.pth")
    assert dict(leaves(best.network.state_dict())) == dict(leaves(saved.network.state_dict()))
    places = ["--model", str(run), "--output", str(tmp_path / "out"), "--device", "cpu"]
    assert main(["translate", str(options.evaluation.val_A), *places, "--epoch", "best"]) == 0
    evaluated = ["--real", str(options.evaluation.val_B), "--output", str(tmp_path / "evaluated")]
    words = ["--inputs", str(options.evaluation.val_A), "--backbone", "none", "--device", "cpu"]
    words += ["--size_px", "32", "--patches", "256"]
    assert main(["evaluate", str(run), *evaluated, *words, "--epochs", "best", "latest"]) == 0
    rows = json.loads((tmp_path / "evaluated" / "results.json").read_text(encoding="utf-8"))["rows"]
    assert [row["name"] for row in rows[2:]] == ["tiny, epoch best", "tiny, epoch latest"]


def test_a_training_on_pairs_is_measured_too(measured: Options, tmp_path: Path) -> None:
    options = measured(
        paired=True, norm="batch", lambda_identity=0.0, pool_size=0, strokes_at_px=12, n_epochs=1
    )
    train(options)
    told, run = scores(options), run_of(options)
    result = run_evaluation(
        [run],
        EvaluateOptions(
            real=options.evaluation.val_B,
            inputs=options.evaluation.val_A,
            epochs=("1", "best"),
            backbone="none",
            device="cpu",
            output=tmp_path / "evaluated",
            **SMALL,
        ),
    ).evaluation
    first, best = (row.values["swd"] for row in result.results)
    assert first == told[1]["val_swd_A"]
    assert best == min(each["val_swd_A"] for each in told.values())
    assert not any(name.endswith("_B") for name in told[1])


def test_a_run_without_a_best_says_so(tiny_options: Options) -> None:
    options = tiny_options(max_images=1)
    train(options)
    with pytest.raises(CheckpointError, match=r"no best_G_A.safetensors.*--evaluate_every_epochs"):
        find_generator(run_of(options), epoch="best")


@pytest.mark.parametrize("stop_at", [pytest.param(6, marks=pytest.mark.slow), 7])
def test_a_resumed_run_keeps_history_and_best(measured: Options, stop_at: int) -> None:
    whole = measured(name="whole")
    train(whole)
    train(measured(name="parts", max_images=stop_at))
    train(measured(name="parts"), resume=True)
    parts = measured(name="parts")
    assert scores(whole) == scores(parts)
    assert bits(whole) == bits(parts)
    for name in ("best_G_A.safetensors", "best_G_B.safetensors"):
        assert (run_of(whole) / name).read_bytes() == (run_of(parts) / name).read_bytes()


class Given:
    """Lets a judge find the given values of the generator, epoch after epoch."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def __call__(self, _generator: str, _weights: object) -> dict[str, float]:
        return {"swd": self.values.pop(0)}


def test_patience_ends_a_training_and_stays(
    measured: Options, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = Given(3.0, 2.0, 2.5, 2.0, 1.0)
    monkeypatch.setattr(EpochJudge, "_values", given)
    options = measured(**ONE_SIDED, n_epochs=6, patience=2, display="console")
    result = train(options)
    assert (result.progress.epoch, result.progress.images) == (5, 12)
    assert "No generator has become better in 2 measurements" in capsys.readouterr().err
    assert read_best(result.directory, "G_A")["epoch"] == "2"
    again = train(options, resume=True)
    assert again.progress.images == again.first_image == 12
    # More patience goes on, and counts from the best that is kept.
    more = train(measured(**ONE_SIDED, n_epochs=6, patience=9), resume=True)
    assert more.progress.epoch > 5
    assert read_best(result.directory, "G_A")["epoch"] == "5"


def test_other_pictures_begin_another_best(
    measured: Options, picture_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    given = Given(1.0, 5.0, 4.0)
    monkeypatch.setattr(EpochJudge, "_values", given)
    train(measured(**ONE_SIDED, max_images=3))
    others = picture_folder("others", count=4, seed=40)
    result = train(measured(**ONE_SIDED, val_A=others), resume=True)
    assert read_best(result.directory, "G_A")["epoch"] == "3"


def test_what_cannot_be_measured_ends_no_training(
    tiny_options: Options, measured: Options, caplog: pytest.LogCaptureFixture
) -> None:
    without, with_it = tiny_options(name="off", **SHORT), measured(name="on")
    train(without)
    picture = next(iter(list_pictures(Path(str(with_it.evaluation.val_A)))))
    picture.write_bytes(b"no picture")
    train(with_it)
    told = [record.message for record in caplog.records if "could not" in record.message]
    assert len(told) == 3
    assert told[0].startswith("epoch 1 could not be measured, and the training goes on: ")
    assert picture.name in told[0]
    assert scores(with_it) == {}
    assert bits(without) == bits(with_it)


def test_a_full_disk_loses_a_best_and_nothing_else(
    measured: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    given, save = Given(3.0, 2.0, 2.5), save_generator
    monkeypatch.setattr(EpochJudge, "_values", given)

    def full(path: Path, *words: Any) -> None:
        if not given.values[1:]:  # the second of three
            return save(path, *words)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(judge_module, "save_generator", full)
    result = train(measured(**ONE_SIDED))
    assert result.progress.epoch == 4
    assert "best_G_A.safetensors cannot be written (No space left on device)" in caplog.text
    assert read_best(result.directory, "G_A")["epoch"] == "2"


def test_without_lite_the_rest_is_measured(
    measured: Options, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from impasto.cyclegan.jobs import train as train_module  # noqa: PLC0415 - patched below

    monkeypatch.setattr(train_module, "find_lite_weights", lambda: None)
    with pytest.raises(CheckpointError, match="--best swd"):
        train(measured(best="kid_lite"))
    options = measured()
    train(options)
    assert {name.split("_")[1] for name in scores(options)[1]} == {"swd", "palette"}
    assert caplog.text.count("KID and content distance are not measured") == 1
    # One that is resumed elsewhere goes on without a best.
    changed = measured(best="kid_lite", n_epochs_decay=2)
    assert train(changed, resume=True).progress.epoch == 5


def test_what_is_held_back_is_named_and_not_trained_on(
    tiny_options: Options, picture_folder: Callable[..., Path], tmp_path: Path
) -> None:
    picture_folder("data/trainA", count=9, seed=1)
    options = tiny_options(evaluate_every_epochs=1, held_back=4, save_epoch_freq=1)
    result = train(options)
    assert result.progress.images == 15  # 5 and 3 pictures are left
    lists = {}
    for domain in "AB":
        text = (result.directory / f"held_back_{domain}.txt").read_text(encoding="utf-8")
        lists[domain] = [Path(line) for line in text.splitlines()]
        folder = tmp_path / "data" / f"train{domain}"
        assert len(lists[domain]) == 4
        assert set(lists[domain]) < set(list_pictures(folder))
    evaluation = run_evaluation(
        [result.directory],
        EvaluateOptions(
            real=result.directory / "held_back_B.txt",
            inputs=result.directory / "held_back_A.txt",
            epochs=("1", "2", "3"),
            backbone="none",
            device="cpu",
            output=tmp_path / "evaluated",
            **SMALL,
        ),
    ).evaluation
    found = [row.values["swd"] for row in evaluation.results]
    assert found == [each["val_swd_A"] for each in scores(options).values()]


def test_holding_back_goes_by_names_and_seed(tmp_path: Path) -> None:
    files = [tmp_path / f"{number:03}.png" for number in range(200)]
    kept, held = hold_back(files, 20, root=tmp_path, seed=3)
    assert len(held) == 20
    assert sorted([*kept, *held]) == files
    assert hold_back(files, 20, root=tmp_path, seed=4)[1] != held
    assert hold_back(files, 0, root=tmp_path, seed=3) == (files, [])
    # One more picture takes the place of one at most.
    more = hold_back([*files, tmp_path / "more.png"], 20, root=tmp_path, seed=3)[1]
    assert len(set(held) - set(more)) <= 1
    with pytest.raises(FolderError, match="would leave none"):
        hold_back(files, 200, root=tmp_path, seed=3)


def test_a_list_that_names_no_file_is_refused(picture_folder: Callable[..., Path]) -> None:
    folder = picture_folder("some")
    (folder / "list.txt").write_text("00.png\ngone.png\n", encoding="utf-8")
    options = EvaluateOptions(real=folder / "list.txt", backbone="none", device="cpu")
    with pytest.raises(FolderError, match=r"names 1 files that are not there, such as .*gone.png"):
        run_evaluation([folder], options)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"evaluate_every_epochs": 1}, "evaluate_every_epochs"),
        ({"evaluate_every_epochs": 1, "val_A": Path("a")}, "val_B"),
        ({"evaluate_every_epochs": 1, "held_back": 3}, "held_back"),
        ({"held_back": 8}, "held_back"),
        ({"val_A": Path("a"), "val_B": Path("b")}, "val_A"),
        ({"evaluate_every_epochs": 1, "val_A": Path("a"), "val_B": Path("b"), "held_back": 8}, ""),
        ({"patience": 3}, "patience"),
    ],
)
def test_options_that_cannot_be_together(given: dict[str, Any], option: str) -> None:
    with pytest.raises(OptionError, match=option or "held_back"):
        EvaluationOptions(**given)


def test_too_few_pictures_are_refused_at_the_start(
    measured: Options, picture_folder: Callable[..., Path]
) -> None:
    few = picture_folder("few", count=3)
    with pytest.raises(FolderError, match="holds 3 pictures, too few to measure with"):
        train(measured(val_A=few))


def test_the_page_shows_curves_with_what_they_stand_beside(measured: Options) -> None:
    options = measured(display="page")
    directory = train(options).directory
    text = (directory / "web" / "index.html").read_text(encoding="utf-8")
    for words in ("Sliced Wasserstein distance, A to B", "Palette distance, B to A", "do nothing"):
        assert words in text
    assert "epoch 3 measured: G_A swd" in text
    assert "val_swd_A" not in text.partition("<h2>Losses</h2>")[2].partition("Options")[0]


@pytest.mark.slow
def test_only_the_first_of_two_processes_measures(measured: Options, tmp_path: Path) -> None:
    options = measured(patience=1, lr=1e-9, n_epochs=6)
    (tmp_path / "options.yaml").write_text(yaml.safe_dump(flatten(options)), encoding="utf-8")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    script = str(Path(__file__).with_name("two_processes.py"))
    words = ["train", str(tmp_path / "options.yaml"), str(tmp_path / "unused.pt")]
    done = subprocess.run(
        [sys.executable, *launcher, script, *words],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 1 measured") == 1
    assert sorted(scores(options)) == list(range(1, len(scores(options)) + 1))
    assert len(load_state(run_of(options) / "state.pt")["processes"]) == 2
