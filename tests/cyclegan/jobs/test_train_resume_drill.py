"""Trainings that are killed with SIGKILL and resumed, by the drill in benchmarks/."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

DRILL = Path(__file__).parents[3] / "benchmarks" / "resume_drill.py"


def run(*words: str) -> subprocess.CompletedProcess[str]:
    """Run the drill as a program: tests do not import benchmarks."""
    return subprocess.run(
        [sys.executable, str(DRILL), *words], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_a_killed_and_resumed_training_ends_with_the_same_numbers(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    for seed, domain in enumerate(("trainA", "trainB")):
        picture_folder(f"data/{domain}", count=23, seed=seed)
    words = (f"--dataroot={tmp_path / 'data'}", "--kills=2", "--crop_size=24", f"--work={tmp_path}")
    result = run(*words)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "identical" in result.stdout

    # The drill is worth nothing unless it sees one changed number.
    runs = [tmp_path / side / "drill" for side in ("uninterrupted", "killed")]
    state = torch.load(runs[1] / "state.pt", weights_only=True)
    bias = state["learner"]["networks"]["G_A"]["model.1.bias"]
    bias[0] = torch.nextafter(bias[0], torch.tensor(1.0))
    torch.save(state, runs[1] / "state.pt")
    compared = run("--compare", *map(str, runs))
    assert compared.returncode == 1, compared.stdout + compared.stderr
    assert "state.pt.learner.networks.G_A.model.1.bias: numbers differ" in compared.stdout
    assert "DIFFERENT: 1 differences" in compared.stdout
