"""Two processes (gloo, CPU) do what one does with their batches joined."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from giverny.options import TrainOptions, flatten
from giverny.runs import load_state, read_log

SCRIPT = Path(__file__).with_name("two_processes.py")


def launch(processes: int, what: str, options: TrainOptions, folder: Path) -> Path:
    file, output = folder / "options.yaml", folder / f"{what}{processes}.pt"
    file.write_text(yaml.safe_dump(flatten(options)), encoding="utf-8")
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    done = subprocess.run(
        [sys.executable, *launcher, str(SCRIPT), what, str(file), str(output)],
        env={**os.environ, "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return output


@pytest.mark.slow
def test_two_processes_give_the_gradients_of_their_union(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path
) -> None:
    # The discriminators see the fakes of either process; a pool would mix them differently.
    split = tiny_options(pool_size=0, batch_size=1)
    joined = tiny_options(pool_size=0, batch_size=2)
    two = torch.load(launch(2, "step", split, tmp_path), weights_only=True)
    one = torch.load(launch(1, "step", joined, tmp_path), weights_only=True)
    assert two["cycle_A"].item() == pytest.approx(one["cycle_A"].item(), rel=1e-9)
    assert two["gradients"].keys() == one["gradients"].keys()
    for name, gradient in one["gradients"].items():
        assert torch.allclose(two["gradients"][name], gradient, rtol=1e-7, atol=1e-10), name


@pytest.mark.slow
def test_two_processes_train_into_one_run(
    tiny_options: Callable[..., TrainOptions], tmp_path: Path
) -> None:
    options = tiny_options(n_epochs=1, n_epochs_decay=0)
    launch(2, "train", options, tmp_path)
    directory = options.run.checkpoints_dir / options.run.name
    state = load_state(directory / "state.pt")
    assert state["progress"]["images"] == 8  # 7 pictures in whole batches of two
    assert state["progress"]["steps"] == 4
    assert len(state["processes"]) == 2
    pools = [process["learner"]["fake_A_pool"]["images"] for process in state["processes"]]
    assert not torch.equal(pools[0][0], pools[1][0])
    assert [record["images"] for record in read_log(directory / "log.jsonl")] == [4, 6]
