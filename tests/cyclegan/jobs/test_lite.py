"""`impasto-lite`: what it makes, what it needs, and an environment that has no more than that."""

import ast
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.jobs.export import export
from impasto.cyclegan.jobs.lite import main
from impasto.cyclegan.weights import save_generator
from impasto.data.samples.photographs import sample_photographs
from impasto.options.translate import ExportOptions
from tests.translating import translate

ROOT = Path(__file__).parents[3]
ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=4, norm="layer")
SAID = {"grid_bend_px": "2", "strokes_at_px": "30", "what": "photographs into noise"}
# Beside the standard library; the others where a picture needs them, notes of others, or films.
ENOUGH = {"impasto", "numpy", "PIL", "onnxruntime"}
SELDOM = {"pillow_heif", "tifffile", "scipy", "yaml"}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    weights = ARCHITECTURE.build().state_dict()
    save_generator(folder / "own.safetensors", weights, ARCHITECTURE, SAID)
    return export(folder / "own.safetensors", ExportOptions(output=folder / "own.onnx")).path


@pytest.fixture(autouse=True)
def _photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    y, x, color = np.ogrid[:83, :70, :4]
    waves = (127.5 + 120 * np.sin(0.1 * x + 0.2 * y + color)).astype(np.uint8)
    Path("photos/inner").mkdir(parents=True)
    Image.fromarray(waves).save("photos/alpha.png")
    Image.fromarray(waves[:21, :, :3]).save("photos/inner/colors.webp", lossless=True)


def pixels(folder: str, name: str) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
    with Image.open(Path(folder, name)) as image:
        return np.asarray(image).astype(np.int64)


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--strength", "0.5", "--stroke_scale", "1.7"),
        ("--long_side", "44", "--stroke_scale", "1"),
    ],
    ids=" ".join,
)
def test_results_are_those_of_translate(words: tuple[str, ...], model: Path) -> None:
    given = ["photos", *words]
    assert main([*given, "--model", str(model), "--output", "lite"]) == 0
    full = model.with_suffix(".safetensors")
    assert translate(*given, "--model", full, "--output", "full") == 0
    for name in ("alpha.png", "inner/colors.png"):
        assert np.abs(pixels("lite", name) - pixels("full", name)).max() <= 1


def test_what_is_there_stays(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["photos", "--model", str(model), "--output", "out"]
    Path("photos/text.png").write_text("no picture")
    assert main(words) == 1
    printed = capsys.readouterr()
    assert "2 translated" in printed.out
    assert "failed: photos/text.png: " in printed.err
    assert main(words) == 1
    assert "0 translated, 2 already there, 1 failed" in capsys.readouterr().out
    assert main([*words, "--overwrite"]) == 1
    assert "2 translated" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--model", "rembrandt"), "rembrandt: no such model; expected an .onnx file"),
        (("--format", "gif"), "format: "),
        (("--format", "npy"), "format: npy is for the full impasto"),
        (("--format", "tif"), "format: tif is for the full impasto; expected png or jpg or webp"),
        (("--strength", "2"), "strength: "),
    ],
)
def test_mistakes_are_named(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["photos", "--output", "out", *words]) != 0
    printed = capsys.readouterr().err
    assert printed.startswith("impasto-lite: error: ")
    assert reason in printed


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("photos",), "missing: --output"),
        (("photos", "--output", "out", "--stroke_scale", "wide"), "expected a number or auto"),
        (("--output", "out"), "missing: PHOTOS"),
    ],
)
def test_words_that_are_missing_or_none_are_named(
    words: tuple[str, ...], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(words)
    assert reason in capsys.readouterr().err


def test_no_picture_is_translated_if_one_would_be_replaced(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.new("RGB", (9, 9)).save("photos/first.jpg")
    photos = ["photos/first.jpg", "photos/alpha.png"]
    before = Path("photos/alpha.png").read_bytes()
    assert main([*photos, "--model", str(model), "--output", "photos", "--overwrite"]) == 2
    assert "would overwrite the picture itself" in capsys.readouterr().err
    assert Path("photos/alpha.png").read_bytes() == before
    assert not Path("photos/first.png").exists()


def names(node: ast.AST) -> set[str]:
    """Give the packages that a statement imports."""
    if isinstance(node, ast.Import):
        return {alias.name.partition(".")[0] for alias in node.names}
    return {str(node.module).partition(".")[0]} if isinstance(node, ast.ImportFrom) else set()


def test_it_needs_three_packages() -> None:
    needed = runpy.run_path(str(ROOT / "benchmarks" / "build_lite.py"))["needed_modules"]()
    assert "data.decode" in needed
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in needed.values()]
    at_once = {name for tree in trees for node in tree.body for name in names(node)}
    ever = {name for tree in trees for node in ast.walk(tree) for name in names(node)}
    assert at_once <= ENOUGH | set(sys.stdlib_module_names)
    assert ever <= ENOUGH | SELDOM | set(sys.stdlib_module_names)


@pytest.mark.slow
def test_an_environment_without_torch_paints_the_photographs_of_the_demo(tmp_path: Path) -> None:
    build = [sys.executable, str(ROOT / "benchmarks" / "build_lite.py"), "--models", "vangogh"]
    subprocess.run([*build, "--output", str(tmp_path)], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("impasto_lite-*.whl")
    python = tmp_path / "venv" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    installed = subprocess.run(
        [python, "-m", "pip", "install", "--quiet", wheel], check=False, capture_output=True
    )
    if installed.returncode:
        pytest.skip("pip finds no onnxruntime here")
    torch = subprocess.run([python, "-c", "import torch"], check=False, capture_output=True)
    assert b"ModuleNotFoundError" in torch.stderr
    Path("demo").mkdir()
    for name, rgb in sample_photographs().items():
        Image.fromarray(rgb).save(f"demo/{name}.png")
    words = ["demo", "--model", "vangogh", "--output", "lite"]
    environment = {"PATH": "", "OMP_NUM_THREADS": "1"}
    subprocess.run([python.parent / "impasto-lite", *words], check=True, env=environment)
    assert translate(*words[:-1], "full") == 0
    for name, rgb in sample_photographs().items():
        made = pixels("lite", f"{name}.png")
        assert np.abs(made - pixels("full", f"{name}.png")).max() <= 1
        assert np.abs(made - rgb).mean() > 5
