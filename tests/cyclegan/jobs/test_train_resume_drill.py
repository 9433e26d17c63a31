"""Trainings that are killed with SIGKILL and resumed, by the drill in benchmarks/."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from impasto.gatys.features.lite import find_lite_weights

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


@pytest.mark.slow
@pytest.mark.skipif(find_lite_weights() is None, reason="no EfficientNet-Lite0")
def test_a_painter_of_one_direction_survives_a_kill_too(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    for seed, domain in enumerate(("trainA", "trainB")):
        picture_folder(f"data/{domain}", count=23, seed=seed)
    also = (
        *("one_sided=true", "lambda_nce=1", "num_patches=16", "lambda_style=1"),
        *("style_targets=both", "lambda_palette=1", "netD=projected", "gan_mode=hinge"),
        *("output_base=kuwahara", "netG=resnet_4blocks", "diffaugment=translation"),
        "stroke_noise=true",
    )
    result = run(
        f"--dataroot={tmp_path / 'data'}",
        "--kills=1",
        "--crop_size=32",
        f"--work={tmp_path}",
        "--also",
        *also,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "identical" in result.stdout
    names = {path.name for path in (tmp_path / "killed" / "drill").glob("latest_net_*.pth")}
    assert names == {f"latest_net_{name}.pth" for name in ("G_A", "G_A_ema", "D_A", "F_A")}


@pytest.mark.slow
def test_a_training_on_pairs_survives_a_kill_too(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    for seed, domain in enumerate(("trainA", "trainB")):
        picture_folder(f"data/{domain}", count=23, seed=seed)
    result = run(
        f"--dataroot={tmp_path / 'data'}",
        "--kills=1",
        "--crop_size=32",
        f"--work={tmp_path}",
        "--also",
        *("paired=true", "norm=batch", "dropout=true", "gan_mode=vanilla", "lambda_identity=0"),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "identical" in result.stdout
    names = {path.name for path in (tmp_path / "killed" / "drill").glob("latest_net_*.pth")}
    assert names == {f"latest_net_{name}.pth" for name in ("G", "G_ema", "D")}
