"""`impasto export` as a user calls it."""

from pathlib import Path

import pytest

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.weights import save_generator
from impasto.scripts.main import main

ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=2, norm="layer")


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("checkpoints/mine")
    run.mkdir(parents=True)
    weights = ARCHITECTURE.build().state_dict()
    save_generator(run / "G_B.safetensors", weights, ARCHITECTURE, {"direction": "BtoA"})


def test_a_run_is_exported_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mine", "--direction", "BtoA"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("exported: mine.onnx (0.")
    assert "8 sizes from 1 x 1 to 517 x 333 pixels" in printed.out
    assert "exporting resnet, 1 blocks" in printed.err
    assert main(["models", "."]) == 0
    assert "--model mine.onnx\n      exported to ONNX; resnet" in capsys.readouterr().out


def test_mistakes_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", "mune"]) != 0
    assert "did you mean mine or monet?" in capsys.readouterr().err
    assert main(["export", "monet", "--direction", "AtoB"]) != 0
    assert "leave --direction out" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["export", "mine", "--format", "onnx", "--output", "mine.pt2"])
    assert "does not end in .onnx" in capsys.readouterr().err
    Path("file").touch()
    assert main(["export", "mine", "--direction", "BtoA", "--output", "file/mine.onnx"]) != 0
    assert "exporting" not in capsys.readouterr().err  # it is said before the work
