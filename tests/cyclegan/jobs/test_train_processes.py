"""Two processes (gloo, CPU) do what one does with their batches joined."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from impasto.cyclegan import load_generator, train
from impasto.options import TrainOptions, flatten
from impasto.runs import RunDirectory, load_state, read_log

SCRIPT = Path(__file__).with_name("two_processes.py")


ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def torchrun(processes: int, *words: str) -> Sequence[str]:
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [sys.executable, *launcher, *words]


def launch(processes: int, what: str, options: TrainOptions, folder: Path) -> Path:
    file, output = folder / "options.yaml", folder / f"{what}{processes}.pt"
    file.write_text(yaml.safe_dump(flatten(options)), encoding="utf-8")
    done = subprocess.run(
        torchrun(processes, str(SCRIPT), what, str(file), str(output)),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.slow
@pytest.mark.parametrize("paired", [False, True])
def test_two_processes_give_the_gradients_of_their_union(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path, paired: bool
) -> None:
    # The discriminators see the fakes of either process; a pool would mix them differently.
    method = {"paired": True, "gan_mode": "vanilla", "lambda_identity": 0.0} if paired else {}
    split = tiny_options(pool_size=0, batch_size=1, **method)
    joined = tiny_options(pool_size=0, batch_size=2, **method)
    two = torch.load(launch(2, "step", split, tmp_path), weights_only=True)
    one = torch.load(launch(1, "step", joined, tmp_path), weights_only=True)
    assert two["distance"].item() == pytest.approx(one["distance"].item(), rel=1e-9)
    assert two["gradients"].keys() == one["gradients"].keys()
    for name, gradient in one["gradients"].items():
        assert torch.allclose(two["gradients"][name], gradient, rtol=1e-7, atol=1e-10), name


@pytest.mark.slow
def test_two_processes_train_into_one_run(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path
) -> None:
    options = tiny_options(n_epochs=1, n_epochs_decay=0, norm="batch")
    launch(2, "train", options, tmp_path)
    directory = options.run.checkpoints_dir / options.run.name
    state = load_state(directory / "state.pt")
    assert state["progress"]["images"] == 8  # 7 pictures in whole batches of two
    assert state["progress"]["steps"] == 4
    assert len(state["processes"]) == 2
    pools = [process["learner"]["fake_A_pool"]["images"] for process in state["processes"]]
    assert not torch.equal(pools[0][0], pools[1][0])
    # At the end of an epoch, all have the mean of their statistics of batch normalization.
    one, other = statistics_of(state)
    assert_equal(one, other)
    assert_equal(one, {name: state["learner"]["networks"][name[0]][name[1]] for name in one})
    records = read_log(directory / "log.jsonl")
    assert [(record["images"], record["global_batch"]) for record in records] == [(4, 2), (6, 2)]


def statistics_of(state: Mapping[str, Any]) -> list[dict[tuple[str, str], torch.Tensor]]:
    """Give for each process its statistics, by the names of network and buffer."""
    found = [process["learner"]["statistics"] for process in state["processes"]]
    return [
        {(name, key): value for name, own in each.items() for key, value in own.items()}
        for each in found
    ]


def assert_equal(
    one: Mapping[tuple[str, str], torch.Tensor], other: Mapping[tuple[str, str], torch.Tensor]
) -> None:
    assert one
    assert one.keys() == other.keys()
    assert not [name for name in one if not torch.equal(one[name], other[name])]


def run_directory(options: TrainOptions) -> RunDirectory:
    return RunDirectory(options.run.checkpoints_dir / options.run.name)


@pytest.mark.slow
def test_the_log_of_two_processes_is_that_of_their_union(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path
) -> None:
    # Three pictures per process and batch, seven pictures: the last batch wraps around.
    logs = []
    for processes, batch in ((2, 3), (1, 6)):
        options = tiny_options(
            name=f"union{processes}", batch_size=batch, pool_size=0, print_freq=6, n_epochs=2
        )
        launch(processes, "train", options, tmp_path)
        logs.append(read_log(run_directory(options).log_file))
    assert [record["images"] for record in logs[0]] == [6, 12, 18, 24, 30, 36]
    for two, one in zip(*logs, strict=True):
        assert two["images"] == one["images"]
        assert two["losses"] == pytest.approx(one["losses"], rel=1e-3)


def start_and_kill(
    start_process: Callable[..., "subprocess.Popen[str]"],
    options: TrainOptions,
    victim: int,
    folder: Path,
) -> "subprocess.Popen[str]":
    """Train in two processes by the command; SIGKILL one of them once a state is there."""
    file = folder / "options.yaml"
    file.write_text(yaml.safe_dump(flatten(options)), encoding="utf-8")
    words = ("-m", "impasto.scripts.main", "train", "--config", str(file))
    job = start_process(torchrun(2, *words), env=ENVIRONMENT, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not run_directory(options).has_state and time.monotonic() < end:
        time.sleep(0.1)
    os.kill(process_of_rank(job.pid, victim), signal.SIGKILL)
    return job


def process_of_rank(launcher: int, rank: int) -> int:
    """Return the launcher's child that trains as that rank."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = int((folder / "stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
            words = (folder / "environ").read_bytes().split(b"\0")
            if parent == launcher and f"RANK={rank}".encode() in words:
                return int(folder.name)
    raise AssertionError(f"no process of rank {rank}")


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes in /proc")
@pytest.mark.parametrize("victim", [0, 1])
def test_a_killed_process_ends_the_job_with_one_message_and_one_can_go_on(
    tiny_options: Callable[..., TrainOptions],
    start_process: Callable[..., "subprocess.Popen[str]"],
    tmp_path: Path,
    victim: int,
) -> None:
    options = tiny_options(
        n_epochs=400, n_epochs_decay=0, save_latest_freq=4, lambda_identity=0.0, display="none"
    )
    job = start_and_kill(start_process, options, victim, tmp_path)
    _, errors = job.communicate(timeout=120)
    assert job.returncode == 1
    ours = [line for line in errors.splitlines() if line.startswith("impasto train:")]
    assert len(ours) == 1
    assert re.fullmatch(
        "impasto train: error: another process of this job ended or cannot be reached. "
        r"The last good state, at image \d+, is kept: .*state.pt; continue .* --resume .*",
        ours[0],
    )
    assert "SIGTERM: saving" not in errors
    directory = run_directory(options)
    reached = load_state(directory.state_file)["progress"]["images"]
    # Now with one process, whose batches are half as large.
    shorter = tiny_options(
        n_epochs=400,
        n_epochs_decay=0,
        save_latest_freq=4,
        lambda_identity=0.0,
        display="none",
        max_images=reached + 9,
    )
    result = train(shorter, resume=True)
    assert result.progress.images == reached + 9
    assert result.progress.global_batch == 1
    images = [record["images"] for record in read_log(directory.log_file)]
    assert images == sorted(set(images))
    assert images[-1] > reached


@pytest.mark.slow
def test_two_processes_log_the_same_whether_resumed_or_not(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path
) -> None:
    logs, states = [], []
    more = {"print_freq": 12, "display": "none", "norm": "batch"}
    for name, limits in (("whole", [12]), ("parts", [10, 12])):
        for limit in limits:
            options = tiny_options(name=name, max_images=limit, **more)
            file = tmp_path / f"{name}{limit}.yaml"
            file.write_text(yaml.safe_dump(flatten(options)), encoding="utf-8")
            words = ("-m", "impasto.scripts.main", "train", "--config", str(file))
            resume = ("--resume",) if limit != limits[0] else ()
            subprocess.run(torchrun(2, *words, *resume), env=ENVIRONMENT, check=True, timeout=300)
        (record,) = read_log(run_directory(tiny_options(name=name)).log_file)
        logs.append(record["losses"])
        states.append(load_state(run_directory(tiny_options(name=name)).state_file))
    assert logs[0] == logs[1]
    whole, parts = map(statistics_of, states)
    for own, resumed in zip(whole, parts, strict=True):
        assert_equal(own, resumed)
    key = next(iter(whole[0]))
    assert not torch.equal(whole[0][key], whole[1][key])  # in the middle of an epoch, they differ


@pytest.mark.slow
def test_the_stroke_noise_of_two_processes_goes_on_where_it_was(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path
) -> None:
    """Each process draws its own; stopped and resumed, weights are those of a whole training."""
    states, painted = [], []
    for name, limits in (("whole", [6]), ("parts", [4, 6])):
        for limit in limits:
            options = tiny_options(name=name, max_images=limit, display="none", stroke_noise=True)
            file = tmp_path / f"{name}{limit}.yaml"
            file.write_text(yaml.safe_dump(flatten(options)), encoding="utf-8")
            words = ("-m", "impasto.scripts.main", "train", "--config", str(file))
            resume = ("--resume",) if limit != limits[0] else ()
            subprocess.run(torchrun(2, *words, *resume), env=ENVIRONMENT, check=True, timeout=300)
        directory = run_directory(tiny_options(name=name))
        states.append(load_state(directory.state_file))
        network = load_generator(directory.path / "G_A.safetensors").network.eval()
        with torch.no_grad():
            painted.append([network(torch.zeros(1, 3, 24, 24)) for _ in range(2)])
    for name, weights in states[0]["learner"]["networks"].items():
        for key, value in weights.items():
            assert torch.equal(value, states[1]["learner"]["networks"][name][key]), (name, key)
    drawn = [[process["random"]["cpu"] for process in state["processes"]] for state in states]
    assert not torch.equal(drawn[0][0], drawn[0][1])
    assert all(torch.equal(*pair) for pair in zip(*drawn, strict=True))
    # A picture is translated alike each time, by whichever run.
    first = painted[0][0]
    assert all(torch.equal(first, each) for pair in painted for each in pair)


@pytest.mark.slow
def test_one_process_begins_and_two_go_on(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path
) -> None:
    first = train(tiny_options(max_images=5))
    assert first.progress.images == 5
    options = tiny_options(max_images=12)
    file = tmp_path / "more.yaml"
    file.write_text(yaml.safe_dump(flatten(options)), encoding="utf-8")
    words = ("-m", "impasto.scripts.main", "train", "--config", str(file), "--resume")
    done = subprocess.run(
        torchrun(2, *words),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 processes, 2 images per batch of all of them" in done.stderr
    assert "the run had 1 and now has 2 processes" in done.stderr
    state = load_state(run_directory(options).state_file)
    assert state["progress"]["images"] in {12, 13}
    own = [process["random"]["cpu"] for process in state["processes"]]
    assert len(own) == 2
    assert not torch.equal(own[0], own[1])
