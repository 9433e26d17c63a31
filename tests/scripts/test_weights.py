"""`impasto weights` as a user calls it."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from impasto.gatys.features.vgg import Vgg
from impasto.gatys.features.weights import candidates
from impasto.scripts.main import main


def weights(*words: object) -> int:
    try:
        return main(["weights", *map(str, words)])
    except SystemExit as ended:
        return int(str(ended.code))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def vgg19(tmp_path: Path) -> Path:
    network = Vgg(width=1 / 16)
    torch.save(network.state_dict() | {"classifier.0.weight": torch.ones(2, 2)}, tmp_path / "new")
    digits = hashlib.sha256((tmp_path / "new").read_bytes()).hexdigest()[:8]
    return (tmp_path / "new").rename(tmp_path / f"vgg19-{digits}.pth")


@pytest.mark.usefixtures("cache")
def test_list_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert weights("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == ["VGG19: no weights", "VGG16: no weights"]
    assert any(line.startswith("No weights of VGG19 were found in ") for line in lines)
    assert lines[-1].startswith("Without a file, --preset lite works now")


def test_pack_and_list(cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    network = Vgg()
    network.truncate("relu1_2")
    torch.save(network.state_dict(), vgg19 := tmp_path / "vgg19.pth")
    assert weights("pack", vgg19, "--last_layer", "conv1_2") == 0
    packed = candidates(19)[1]
    assert packed.parent == cache
    out = capsys.readouterr().out
    assert out.startswith(f"{packed}: VGG19, conv1_1 to conv1_2, 0.2 MB, ")
    assert f"  source: {vgg19.name}\n" in out
    assert weights("list") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{packed}: VGG19")
    assert lines[0].endswith(" as packed")
    assert "VGG16: no weights" in lines
    assert lines[-1].startswith("next: impasto stylize PHOTO STYLE --output FILE")


def test_another_network_is_packed_to_a_named_file_only(
    cache: Path, vgg19: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert weights("pack", vgg19) == 1
    assert f"{vgg19}: is your own network, and without --output" in capsys.readouterr().err
    assert not any(cache.iterdir())
    assert weights("pack", vgg19, "--output", tmp_path / "own.safetensors") == 0
    assert "conv1_1 to conv5_1, trained by impasto backbone train" in capsys.readouterr().out


def test_list_shows_a_damaged_file(
    cache: Path, vgg19: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    damaged = cache / "vgg19-dcbb9e9d.pth"
    damaged.write_bytes(vgg19.read_bytes())
    assert weights("list") == 1
    out = capsys.readouterr().out
    assert f"{damaged}: its SHA-256 begins with {vgg19.stem[-8:]}, its name says dcbb9e9d" in out
    assert "VGG16: no weights" in out


@pytest.mark.usefixtures("cache")
def test_check(vgg19: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights("check", vgg19) == 0
    out = capsys.readouterr().out
    assert "conv1_1 to conv5_4" in out
    assert "as its name says" in out
    Path("page.pth").write_text("<html>404</html>")
    assert weights("check", "page.pth") == 1
    assert "impasto weights: error: page.pth: a web page" in capsys.readouterr().err
    conv = {"conv1_1.weight": torch.ones(4, 3, 3, 3), "conv1_1.bias": torch.ones(4)}
    torch.save(conv, "vgg_conv.pth")
    assert weights("check", "vgg_conv.pth") == 0
    assert "  converted from Caffe's BGR in 0..255\n" in capsys.readouterr().out


@pytest.mark.usefixtures("cache")
def test_layers_of_a_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert weights("layers", "resnet18") == 0
    lines = capsys.readouterr().out.splitlines()
    assert "layer2.1.relu_1*             128  8" in lines
    assert lines[-1].startswith("next: impasto stylize PHOTO STYLE --backbone resnet18")
    assert lines[-3].startswith("Without a file, weights are random, the same each time")
    assert lines[-2].startswith("Trained ones without a file are those of --backbone lite, whose")
    assert weights("layers", "vgg16") == 0
    assert capsys.readouterr().out.splitlines()[-1] == "pool5"
    assert weights("layers", "pixels") == 0
    assert capsys.readouterr().out == "pixels\npixels_2\npixels_4\nluminance\n"
    assert weights("layers") == 0
    names = capsys.readouterr().out.splitlines()
    assert names[0] == "vgg19"
    assert {"resnet50", "inception_v3", "efficientnet_b0", "convnext_tiny"} < set(names)
    assert len(names) == len(set(names))
    assert weights("layers", "resnet-18") == 2
    assert "did you mean resnet18" in capsys.readouterr().err


def test_a_model_s_file_is_checked_as_that_model_s(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = cache / "resnet18-f37072fd.pth"
    torch.save({"conv1.weight": torch.ones(1)}, path)
    assert weights("check", path) == 1
    assert "its name says f37072fd" in capsys.readouterr().err
    assert weights("list") == 1
    assert f"{path}: its SHA-256 begins with" in capsys.readouterr().out


@pytest.mark.usefixtures("cache")
def test_pack_to_a_file(vgg19: Path) -> None:
    output = Path("a") / "b.safetensors"
    assert weights("pack", vgg19, "--output", output, "--last_layer", "conv5_4") == 0
    assert output.is_file()
    assert weights("pack", vgg19, "--output", output, "--last_layer", "conv6_1") == 1


@pytest.mark.usefixtures("cache")
@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list", "a.pth"], "--file: 'impasto weights list' takes no file"),
        (["pack"], "missing: FILE, the weights file to pack"),
        (["check"], "missing: FILE, the weights file to check"),
        (["check", "a.pth", "--output", "b.safetensors"], "--output: 'impasto weights check'"),
        (["pack", "a.pth", "--output", "b.pth"], "--output: b.pth does not end in .safetensors"),
        (["fetch"], "error: expected one of "),
        ([], "missing: one of list, check, pack, layers"),
    ],
)
def test_mistakes(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert weights(*words) == 2
    assert says in capsys.readouterr().err


def test_help_without_torch() -> None:
    code = (
        "import sys; from impasto.scripts.main import main\n"
        "try: main(['weights', '--help'])\nexcept SystemExit: pass\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert done.returncode == 0
