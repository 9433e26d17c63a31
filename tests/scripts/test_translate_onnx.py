"""`impasto translate` with models that onnxruntime computes."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.jobs.export import export
from impasto.cyclegan.weights import save_generator
from impasto.options.translate import ExportOptions
from tests.translating import shown, translate

ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=4, norm="layer")
SAID = {"grid_bend_px": "2", "direction": "BtoA"}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    weights = ARCHITECTURE.build().state_dict()
    save_generator(folder / "own.safetensors", weights, ARCHITECTURE, SAID)
    export(folder / "own.safetensors", ExportOptions(output=folder / "own.onnx"))
    return folder


@pytest.fixture(autouse=True)
def _elsewhere(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("own.safetensors", "own.onnx"):
        shutil.copy(models / name, name)
    y, x, color = np.ogrid[:83, :70, :4]
    waves = 127.5 + 120 * np.sin(0.1 * x + 0.2 * y + color)
    Path("photos/inner").mkdir(parents=True)
    Image.fromarray(waves.astype(np.uint8)).save("photos/alpha.png")
    Image.fromarray(waves.astype(np.uint8)[..., :3]).save("photos/inner/colors.webp", lossless=True)
    deep = Image.fromarray((200 * waves[..., 0]).astype(np.uint16))
    deep.save("photos/deep.png")
    Image.fromarray(waves.astype(np.uint8)[:5, :3, :3]).save("photos/tiny.bmp")


def difference(out: Path, other: Path) -> int:
    names = ["alpha.png", "deep.png", "tiny.png", "inner/colors.png"]
    most = 0
    for name in names:
        a, b = (np.asarray(Image.open(folder / name)).astype(int) for folder in (out, other))
        assert a.shape == b.shape
        most = max(most, int(np.abs(a - b).max()))
    return most


def test_results_are_those_of_torch(capsys: pytest.CaptureFixture[str]) -> None:
    eight = ("--bits", "8")  # which is what the graph makes of deep.png
    assert translate("photos", "--model", "own.safetensors", "--output", "torch", *eight) == 0
    assert translate("photos", "--model", "own.onnx", "--output", "onnx") == 0
    assert "ONNX, computed by onnxruntime" in capsys.readouterr().err
    assert difference(Path("torch"), Path("onnx")) <= 1
    assert len(shown(Path("onnx"))) == len(shown(Path("torch")))
    with Image.open("onnx/alpha.png") as made, Image.open("photos/alpha.png") as given:
        assert np.array_equal(np.asarray(made)[..., 3], np.asarray(given)[..., 3])
    assert translate("photos", "--model", "own.onnx", "--output", "onnx") == 0
    assert "0 translated, 4 already there" in capsys.readouterr().out


def test_any_model_can_be_computed_by_onnxruntime(capsys: pytest.CaptureFixture[str]) -> None:
    words = ("photos", "--model", "own.safetensors", "--strength", "0.9")
    assert translate(*words, "--output", "torch", "--bits", "8") == 0
    for told in ("4 translated", "4 already there"):
        assert translate(*words, "--runtime", "onnx", "--output", "onnx") == 0
        assert told in capsys.readouterr().out
    assert difference(Path("torch"), Path("onnx")) <= 1


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--runtime", "torch"), "is exported to ONNX; give the file that it was made of"),
        (("--grid_bend_px", "0"), "bends by 2 inside of its graph"),
        (("--mixed_precision", "bf16"), "is for --runtime torch"),
        (("--bits", "16"), "16 is for --runtime torch: an exported model is from bytes to bytes"),
        (("--steady", "true"), "inside of the graph, which knows no scene"),
        (("--direction", "AtoB"), "translates BtoA"),
    ],
)
def test_what_is_in_the_graph_cannot_be_chosen(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert translate("photos", "--model", "own.onnx", "--output", "out", *words) != 0
    assert reason in capsys.readouterr().err
    assert not Path("out").exists()


def test_models_of_other_pictures_are_for_torch(capsys: pytest.CaptureFixture[str]) -> None:
    gray = replace(ARCHITECTURE, in_channels=1, out_channels=1)
    save_generator(Path("gray.safetensors"), gray.build().state_dict(), gray, {})
    words = ("photos/deep.png", "--model", "gray.safetensors", "--output", "out")
    assert translate(*words, "--runtime", "onnx") != 0
    said = "runtime: onnx, but the model takes 1 channel, of the input's type, and makes 1 channel"
    assert said in capsys.readouterr().err
    assert not Path("out").exists()
    assert translate(*words) == 0
