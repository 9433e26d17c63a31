"""What `giverny models` finds."""

from pathlib import Path

import pytest

from giverny.cyclegan.architecture import GeneratorArchitecture
from giverny.cyclegan.inventory import models_in, shipped_models
from giverny.cyclegan.shipped import SHIPPED
from giverny.cyclegan.weights import save_generator, save_pth
from giverny.options.errors import FolderError

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
    assert all(model.usable and model.path.is_file() for model in models)
    assert models[0].what.startswith("photographs into Monets; resnet")


def test_runs_of_giverny_and_of_the_reference(tmp_path: Path) -> None:
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
