"""The generators in the package, and what a word for a model means."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.build import generator_architecture
from impasto.cyclegan.checkpoint import find_generator
from impasto.cyclegan.shipped import SHIPPED, resolve_model
from impasto.cyclegan.translator import Translator
from impasto.cyclegan.weights import load_generator, save_generator
from impasto.data import list_pictures, read_picture, ssim, to_pictures, to_tensor
from impasto.data.metrics.spectrum import GridPeaks
from impasto.options import NetworkOptions, make
from impasto.options.command_line import preset_text
from impasto.options.errors import CheckpointError


def test_every_model_names_itself_and_an_opposite_that_names_it() -> None:
    for name, model in SHIPPED.items():
        assert model.name == name
        assert SHIPPED[model.opposite].opposite == name != model.opposite


def test_the_files_are_small_and_in_half_precision() -> None:
    assert sum(model.path.stat().st_size for model in SHIPPED.values()) <= 8e6
    for model in SHIPPED.values():
        assert {value.dtype for value in load_file(model.path).values()} == {torch.float16}


def test_the_files_say_where_they_come_from() -> None:
    for name, direction in (("monet", "BtoA"), ("photo", "AtoB")):
        loaded = load_generator(SHIPPED[name].path)
        said = loaded.provenance
        assert (said["model"], said["direction"]) == (name, direction)
        assert int(said["images"]) > 1000
        assert "public domain" in said["data"]
        options = json.loads(said["options"])
        recipe = yaml.safe_load(preset_text("monet_small"))
        del recipe["dataroot"]  # where the pictures were is nobody's business
        assert {key: options[key] for key in recipe} == recipe
        assert not {"dataroot", "checkpoints_dir"} & set(options)
        assert loaded.architecture == generator_architecture(
            make(
                NetworkOptions,
                {key: recipe[key] for key in ("netG", "ngf", "norm", "upsample", "color_skip")},
            )
        )


def test_photographs_become_monets_that_still_show_them(monet2photo: Path) -> None:
    """The whole measurement is benchmarks/shipped_model.py."""
    loaded = load_generator(SHIPPED["monet"].path)
    translate = Translator(
        loaded.network, device=torch.device("cpu"), grid_bend_px=loaded.grid_bend_px
    )
    photographs = [read_picture(path).rgb for path in list_pictures(monet2photo / "testB")]
    monets = [to_pictures(translate(to_tensor(rgb).unsqueeze(0)))[0] for rgb in photographs]
    likeness = [ssim(*pair) for pair in zip(photographs, monets, strict=True)]
    assert np.mean(likeness) >= 0.5
    assert min(likeness) > 0.1  # none is inverted
    peaks = []
    for pictures in (photographs, monets):
        grids = GridPeaks()
        for picture in pictures:
            grids.add(picture)
        peaks.append(grids.result())
    assert all(peaks[1][period] <= 1.2 * peaks[0][period] for period in (2, 4))


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_models_translate_any_size(name: str) -> None:
    translate = Translator(load_generator(SHIPPED[name].path).network, device=torch.device("cpu"))
    for height, width in ((40, 37), (1, 5)):
        images = torch.rand(1, 3, height, width) * 2 - 1
        translated = translate(images)
        assert translated.shape == images.shape
        assert translated.dtype == torch.float32
        assert translated.isfinite().all()


def test_a_shipped_name_comes_before_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "monet").mkdir()
    assert resolve_model(Path("monet")) == SHIPPED["monet"].path
    assert resolve_model(tmp_path / "monet") == tmp_path / "monet"


def test_a_run_goes_by_its_name_and_by_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = Path("checkpoints/mine")
    run.mkdir(parents=True)
    assert resolve_model(Path("mine")) == resolve_model(run) == run
    Path("mine").mkdir()
    assert resolve_model(Path("mine")) == Path("mine")


def test_runs_may_have_a_dot_in_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "checkpoints" / "v0.5").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert resolve_model(Path("v0.5")) == Path("checkpoints/v0.5")
    with pytest.raises(CheckpointError, match=r"did you mean v0\.5"):
        resolve_model(Path("v0.6"))


def test_generators_of_other_channels_are_refused(tmp_path: Path) -> None:
    architecture = GeneratorArchitecture(depth=1, channels=2, in_channels=1)
    file = tmp_path / "grey.safetensors"
    save_generator(file, architecture.build().state_dict(), architecture, {})
    with pytest.raises(CheckpointError, match="takes 1 and makes 3 channels; expected 3 and 3"):
        find_generator(file)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("monte", "did you mean monet"),
        ("min", "did you mean mine?"),
        ("monet.pth", "no such run folder or weights file; impasto models lists"),
        ("checkpoints/monte", "no such run folder or weights file; impasto models lists"),
    ],
)
def test_a_mistyped_name_shows_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, word: str, says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("checkpoints/mine").mkdir(parents=True)
    with pytest.raises(CheckpointError) as raised:
        resolve_model(Path(word))
    assert says in str(raised.value)


def test_an_own_run_that_a_shipped_model_hides_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_generator(Path("monet")).notes == ()
    (tmp_path / "checkpoints" / "monet").mkdir(parents=True)
    (note,) = find_generator(Path("monet")).notes
    assert note == (
        "checkpoints/monet is another model than the monet that ships with Impasto, taken here"
    )
