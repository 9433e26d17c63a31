"""`impasto models` as a user calls it."""

from pathlib import Path

import pytest

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.models import SHIPPED
from impasto.cyclegan.weights import save_generator
from impasto.scripts.main import main

ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=2)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def save_run(run: Path) -> None:
    run.mkdir(parents=True)
    weights = ARCHITECTURE.build().state_dict()
    save_generator(run / "G_B.safetensors", weights, ARCHITECTURE, {"direction": "BtoA"})


def test_without_runs_the_shipped_models_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  --model {name}\n" in printed for name in SHIPPED)
    assert "checkpoints: no such folder, so there are no runs to list" in printed


def test_runs_are_listed_as_translate_takes_them(capsys: pytest.CaptureFixture[str]) -> None:
    save_run(Path("checkpoints/mine"))
    save_run(Path("elsewhere/other"))
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert "checkpoints:\n  --model checkpoints/mine --direction BtoA\n      resnet" in printed
    assert "elsewhere" not in printed
    assert main(["models", "elsewhere", "checkpoints"]) == 0
    assert "--model elsewhere/other --direction BtoA" in capsys.readouterr().out
    assert main(["models", "--checkpoints_dir", "elsewhere"]) == 0
    assert "checkpoints" not in capsys.readouterr().out


def test_an_empty_folder_and_a_damaged_file_are_said(capsys: pytest.CaptureFixture[str]) -> None:
    Path("checkpoints").mkdir()
    assert main(["models"]) == 0
    assert "checkpoints:\n  no generators" in capsys.readouterr().out
    save_run(Path("checkpoints/mine"))
    Path("checkpoints/mine/G_B.safetensors").write_bytes(b"half")
    assert main(["models"]) == 1
    assert "cannot be used: G_B.safetensors: damaged" in capsys.readouterr().out


def test_a_download_that_was_cut_off_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    save_run(Path("downloads"))
    whole = Path("downloads/G_B.safetensors").rename("downloads/sunny.safetensors")
    assert main(["models", "downloads"]) == 0
    whole.write_bytes(whole.read_bytes()[:1000])
    capsys.readouterr()
    assert main(["models", "downloads"]) == 1
    printed = capsys.readouterr().out
    assert "  --model downloads/sunny.safetensors\n      cannot be used: damaged" in printed


@pytest.mark.parametrize(
    "words", [["models", "nowhere"], ["models", "--checkpoints_dir", "nowhere"]]
)
def test_a_missing_folder_is_named(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 1
    assert "nowhere: no such folder" in capsys.readouterr().err
