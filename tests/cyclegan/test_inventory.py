"""What `impasto models` finds."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.checkpoint import find_generator
from impasto.cyclegan.inventory import models_in, shipped_models
from impasto.cyclegan.shipped import SHIPPED
from impasto.cyclegan.weights import save_generator, save_pth
from impasto.options.errors import FolderError

ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=2)


def save_run(run: Path, *, suffix: str = ".safetensors") -> Path:
    run.mkdir(parents=True)
    network = ARCHITECTURE.build()
    for name, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        if suffix == ".pth":
            save_pth(run / f"latest_net_{name}.pth", network.state_dict())
        else:
            provenance = {"direction": direction, "images": "1234"}
            path = run / f"{name}.safetensors"
            save_generator(path, network.state_dict(), ARCHITECTURE, provenance)
    return run


def test_shipped_models_are_listed_by_the_name_that_model_takes() -> None:
    models = shipped_models()
    assert [model.name for model in models] == list(SHIPPED)
    assert all(model.usable for model in models)
    assert models[0].what.startswith("photographs into Monets; resnet")
    network = find_generator(Path(models[0].name)).network
    count = sum(weights.numel() for weights in network.parameters())
    assert f", {count:,} weights, trained on " in models[0].what


def test_runs_of_impasto_and_of_the_reference(tmp_path: Path) -> None:
    mine = save_run(tmp_path / "mine")
    theirs = save_run(tmp_path / "theirs", suffix=".pth")
    (tmp_path / "no_run").mkdir()
    models = models_in(tmp_path)
    assert [model.name for model in models] == [
        f"{run} --direction {way}" for run in (mine, theirs) for way in ("AtoB", "BtoA")
    ]
    assert "trained on 1,234 images" in models[0].what
    assert [model.name for model in models_in(mine)] == [model.name for model in models[:2]]


def test_a_name_with_a_space_is_quoted(tmp_path: Path) -> None:
    run = save_run(tmp_path / "my run")
    assert models_in(tmp_path)[0].name == f"'{run}' --direction AtoB"


def test_single_files_and_what_is_wrong_with_a_damaged_one(tmp_path: Path) -> None:
    state = ARCHITECTURE.build().state_dict()
    save_generator(tmp_path / "sunny.safetensors", state, ARCHITECTURE, {})
    (tmp_path / "9_net_G_A.pth").write_bytes(b"half a download")
    broken, sunny = models_in(tmp_path)
    assert (sunny.name, sunny.usable) == (str(tmp_path / "sunny.safetensors"), True)
    assert not broken.usable
    assert broken.what.startswith("cannot be used: damaged or not a weights file")


def test_weights_of_other_networks_are_no_generators(tmp_path: Path) -> None:
    state = {"model.0.weight": ARCHITECTURE.build().state_dict()["model.1.weight"]}
    save_generator(tmp_path / "backbone.safetensors", state, ARCHITECTURE, {})
    assert models_in(tmp_path) == []


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(FolderError, match="nowhere: no such folder"):
        models_in(tmp_path / "nowhere")


def test_a_damaged_single_safetensors_is_listed_and_another_network_is_not(
    tmp_path: Path,
) -> None:
    state = ARCHITECTURE.build().state_dict()
    whole = tmp_path / "whole.safetensors"
    save_generator(whole, state, ARCHITECTURE, {})
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-1])
    (tmp_path / "pointer.safetensors").write_text("version https://git-lfs.github.com/spec/v1\n")
    save_generator(tmp_path / "bent.safetensors", state, ARCHITECTURE, {"grid_bend_px": "99"})
    described = {"impasto": json.dumps({"architecture": json.dumps({"convolutions": 13})})}
    save_file({"conv1_1.weight": torch.zeros(4, 3, 3, 3)}, tmp_path / "vgg.safetensors", described)
    (tmp_path / "folder.safetensors").mkdir()
    models = {Path(model.name).stem: model for model in models_in(tmp_path)}
    assert {name: model.usable for name, model in models.items()} == {
        "bent": False,
        "cut": False,
        "pointer": False,
        "whole": True,
    }
    assert models["cut"].what.startswith("cannot be used: damaged or not a weights file")
    assert "grid_bend_px of '99'" in models["bent"].what


def test_what_is_said_of_a_run_is_true_of_what_translate_takes(tmp_path: Path) -> None:
    """Of files of one run, each of another network, the same comes first."""
    run = tmp_path / "run"
    run.mkdir()
    files = ["latest_net_G_A.pth", "latest_net_G_A_ema.pth", "G_A.safetensors"]
    for channels, name in enumerate(files, start=1):
        architecture = replace(ARCHITECTURE, channels=channels)
        weights = architecture.build().state_dict()
        if name.endswith(".pth"):
            save_pth(run / name, weights)
        else:
            save_generator(run / name, weights, architecture, {})
        (model,) = models_in(run)
        taken = find_generator(run, direction="AtoB")
        assert f"{channels} filters" in str(taken.architecture)
        assert model.what.startswith(str(taken.architecture))
    (run / "latest_net_G_A.pth").unlink()
    (run / "G_A.safetensors").unlink()
    (model,) = models_in(run)
    assert (model.name, model.usable) == (f"{run} --direction AtoB", True)


def test_a_published_model_of_one_generator_is_listed_once(tmp_path: Path) -> None:
    save_pth(tmp_path / "latest_net_G.pth", ARCHITECTURE.build().state_dict())
    (model,) = models_in(tmp_path)
    assert (model.name, model.usable) == (str(tmp_path / "latest_net_G.pth"), True)


def test_a_run_with_the_name_of_a_shipped_model_is_listed_as_what_leads_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = save_run(tmp_path / "monet")
    for folder in (Path(), Path("monet")):
        model = models_in(folder)[0]
        assert model.name == f"{run} --direction AtoB"
        assert "2 filters" in model.what


def test_a_damaged_run_names_the_file(tmp_path: Path) -> None:
    run = save_run(tmp_path / "run")
    (run / "G_B.safetensors").write_bytes(b"half")
    fine, broken = models_in(run)
    assert (fine.usable, broken.usable) == (True, False)
    assert broken.what.startswith("cannot be used: G_B.safetensors: damaged")
