"""The generators in the package, and what a word for a model means.

What `impasto models` finds.
"""

import json
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file, save_file
from skimage import data

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.build import generator_architecture
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.models import (
    SHIPPED,
    ShippedModel,
    find_generator,
    models_in,
    painters,
    read_shipped,
    resolve_model,
    shipped_models,
)
from impasto.cyclegan.weights import load_generator, save_generator
from impasto.data import list_pictures, read_picture, ssim, to_pictures, to_tensor
from impasto.data.channels.ranges import SampleFormat
from impasto.data.metrics.spectrum import GridPeaks
from impasto.options import NetworkOptions, make
from impasto.options.config import preset_text
from impasto.options.errors import CheckpointError, FolderError, OptionError
from impasto.options.fields import types_of
from impasto.options.translate import TranslateOptions
from impasto.runs.state import save_pth


def test_every_model_names_itself_and_an_opposite_that_names_it() -> None:
    for name, model in SHIPPED.items():
        assert model.name == name
        assert model.path.stem == name
        if model.opposite is not None:
            assert SHIPPED[model.opposite].opposite == name != model.opposite


def test_the_files_are_small_and_in_half_precision() -> None:
    sizes = [model.path.stat().st_size for model in SHIPPED.values()]
    assert max(sizes) <= 4e6
    assert sum(sizes) <= 20e6
    for model in SHIPPED.values():
        assert {value.dtype for value in load_file(model.path).values()} == {torch.float16}


def test_paintings_are_eight_styles_that_differ() -> None:
    astronaut = data.astronaut()  # type: ignore[no-untyped-call]
    photograph = torch.from_numpy(astronaut[60:188, 150:278].copy()).permute(2, 0, 1)[None]
    made = []
    for style in load_generator(SHIPPED["paintings"].path).styles:
        loaded = load_generator(SHIPPED["paintings"].path, style=style)
        said = loaded.provenance
        assert "public domain" in said["data"]
        assert not {"styles", "photos", "checkpoints_dir"} & set(json.loads(said["options"]))
        translate = Translator(loaded.network, device=torch.device("cpu"))
        made.append(translate(photograph.float() / 127.5 - 1))
    assert len(made) == 8
    # In [-1, 1]; the mean difference of any two is more than 10 of 255.
    distances = [(one - other).abs().mean() for one, other in combinations(made, 2)]
    assert min(distances) > 0.08


@pytest.mark.parametrize("name", sorted(set(SHIPPED) - {"paintings"}))
def test_the_files_say_where_they_come_from(name: str) -> None:
    loaded = load_generator(SHIPPED[name].path)
    said = loaded.provenance
    assert said["model"] == name
    assert said["direction"] in {"AtoB", "BtoA"}
    assert int(said["images"]) > 500
    assert "public domain" in said["data"]
    options = json.loads(said["options"])
    # Where the pictures were is nobody's business.
    assert not {"dataroot", "folder_A", "folder_B", "checkpoints_dir"} & set(options)
    chosen = {key: value for key, value in options.items() if key in types_of(NetworkOptions)}
    assert loaded.architecture == generator_architecture(make(NetworkOptions, chosen))
    preset = Path(said["recipe"])
    if preset.parent.name == "presets":
        recipe = yaml.safe_load(preset_text(preset.stem))
        if "strokes_at_px" in recipe:  # which packing may have said, and not the training
            options = {**options, "strokes_at_px": float(said["strokes_at_px"])}
        for key, value in recipe.items():
            # What follows the machine is written as it was there.
            assert key == "dataroot" or value == "auto" or options[key] == value, key


def ship(folder: Path, name: str, **said: str) -> None:
    weights = ARCHITECTURE.build().state_dict()
    save_generator(folder / f"{name}.safetensors", weights, ARCHITECTURE, said)


def test_what_ships_is_what_lies_there_and_says_of_itself(tmp_path: Path) -> None:
    both = {"recipe": "r", "options": "{}", "epoch": "3", "images": "10"}
    ship(tmp_path, "photo", what="Monets into photographs", direction="AtoB", **both)
    ship(tmp_path, "monet", what="photographs into Monets", direction="BtoA", **both)
    ship(
        tmp_path,
        "cezanne",
        **{**both, "epoch": "4", "what": "photographs into Cezannes", "direction": "AtoB"},
        label="C\u00e9zanne",
        strokes_at_px="384",
    )
    (tmp_path / "broken.safetensors").write_bytes(b"half a file")
    (tmp_path / "notes.txt").write_text("no model", encoding="utf-8")
    found = read_shipped(tmp_path)
    # The default, painters, and then the rest.
    assert list(found) == ["monet", "cezanne", "broken", "photo"]
    assert [model.is_painter for model in found.values()] == [True, True, False, False]
    assert [model.label for model in found.values()] == ["Monet", "C\u00e9zanne", "Broken", "Photo"]
    assert [model.opposite for model in found.values()] == ["photo", None, None, "monet"]
    assert [model.strokes_at_px for model in found.values()] == [None, 384, None, None]
    # A hint at larger strokes is for painters whose strokes do not follow the size.
    hints = {name: model.fine_above_pixels is not None for name, model in found.items()}
    assert hints == {"monet": True, "cezanne": False, "broken": False, "photo": False}
    with pytest.raises(CheckpointError, match=r"broken\.safetensors: damaged"):
        load_generator(found["broken"].path)


def test_the_painters_are_told_apart() -> None:
    labels = [model.label for model in painters()]
    assert len(set(labels)) == len(labels)
    assert painters()[0].name == "monet"
    assert SHIPPED["photo"] not in painters()
    assert not set(SHIPPED) & {"all"}
    with pytest.raises(CheckpointError, match=r"all stands for several models.*: monet"):
        resolve_model(Path("all"))


def test_a_model_without_an_opposite_has_no_other_direction(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ship(tmp_path, "vangogh", what="photographs into Van Goghs", direction="AtoB")
    monkeypatch.setitem(SHIPPED, "vangogh", read_shipped(tmp_path)["vangogh"])
    with pytest.raises(OptionError, match=r"into Van Goghs; leave --direction out$"):
        find_generator(Path("vangogh"), direction="BtoA")
    assert find_generator(Path("vangogh")).provenance["direction"] == "AtoB"


def test_the_generators_of_one_training_name_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"recipe": "r", "options": "{}", "epoch": "3", "images": "10"}
    ship(tmp_path, "night", what="photographs into nights", direction="AtoB", **both)
    ship(tmp_path, "day", what="nights into photographs", direction="BtoA", **both)
    for name, model in read_shipped(tmp_path).items():
        monkeypatch.setitem(SHIPPED, name, model)
    with pytest.raises(OptionError, match=r"out, or for nights into photographs use --model day$"):
        find_generator(Path("night"), direction="AtoB")
    with pytest.raises(OptionError, match=r"for photographs into nights use --model night$"):
        find_generator(Path("day"), direction="AtoB")


@pytest.mark.slow
@pytest.mark.parametrize("painter", painters(), ids=lambda painter: str(painter.name))
def test_photographs_become_paintings_that_still_show_them(
    monet2photo: Path, painter: ShippedModel
) -> None:
    """The whole measurement is benchmarks/shipped_model.py."""
    loaded = load_generator(painter.path)
    translate = Translator(
        loaded.network, device=torch.device("cpu"), grid_bend_px=loaded.grid_bend_px
    )
    photographs = [read_picture(path).rgb for path in list_pictures(monet2photo / "testB")]
    painted = [to_pictures(translate(to_tensor(rgb).unsqueeze(0)))[0] for rgb in photographs]
    likeness = [ssim(*pair) for pair in zip(photographs, painted, strict=True)]
    assert np.mean(likeness) >= 0.3
    assert min(likeness) > 0.1  # none is inverted
    peaks = []
    for pictures in (photographs, painted):
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


def test_a_former_name_means_the_model_that_had_it_unless_something_is_called_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    loaded, now = find_generator(Path("monet_strokes")), find_generator(Path("monet"))
    assert resolve_model(Path("monet_strokes")) == SHIPPED["monet"].path
    assert loaded.notes == ("monet_strokes is now called monet",)
    assert now.notes == ()
    assert loaded.provenance == now.provenance
    with pytest.raises(OptionError, match="ships with Impasto and translates photographs into"):
        find_generator(Path("monet_strokes"), direction="BtoA")
    assert "monet_strokes" not in [model.name for model in shipped_models()]
    run = save_run(Path("checkpoints/monet_strokes"))
    assert resolve_model(Path("monet_strokes")) == run
    assert find_generator(Path("monet_strokes")).notes == ()


def test_the_default_is_one_generator_and_the_cyclegan_has_two() -> None:
    opposites = {name: model.opposite for name, model in SHIPPED.items() if model.opposite}
    assert opposites == {"monet_cycle": "photo", "photo": "monet_cycle"}
    assert next(iter(SHIPPED)) == "monet" == str(TranslateOptions.model)
    # Strokes that follow the size: the hint at --stroke_scale is for the CycleGAN's.
    assert SHIPPED["monet"].strokes_at_px == 400
    hints = [name for name, model in SHIPPED.items() if model.fine_above_pixels is not None]
    assert hints == ["monet_cycle"]
    with pytest.raises(OptionError, match=r"Monets \(CycleGAN\) use --model monet_cycle"):
        find_generator(Path("photo"), direction="BtoA")


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


def test_generators_of_other_channels_say_what_they_take(tmp_path: Path) -> None:
    architecture = GeneratorArchitecture(depth=1, channels=2, in_channels=1)
    file = tmp_path / "gray.safetensors"
    save_generator(file, architecture.build().state_dict(), architecture, {})
    loaded = find_generator(file)
    assert loaded.formats == (SampleFormat.full(1, ""), None)
    assert "1 to 3 channels" in str(loaded.architecture)
    wrong = {"input_samples": SampleFormat.full(2, "uint8").to_text()}
    save_generator(file, architecture.build().state_dict(), architecture, wrong)
    with pytest.raises(CheckpointError, match="say 2 channels of the input, it has 1"):
        find_generator(file)
    save_generator(file, architecture.build().state_dict(), architecture, {"input_samples": "[1]"})
    with pytest.raises(CheckpointError, match=r"gray\.safetensors: the format of its pictures is"):
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
    for asked, notes in ((None, 0), ("AtoB", 1), ("BtoA", 1)):
        loaded = find_generator(tmp_path, direction=asked)
        assert (len(loaded.notes), "direction" in loaded.provenance) == (notes, False)
    # The letter in a run's names says it, where the file cannot.
    save_pth(tmp_path / "latest_net_G_B.pth", ARCHITECTURE.build().state_dict())
    loaded = find_generator(tmp_path, direction="BtoA")
    assert (loaded.notes, loaded.provenance["direction"]) == ((), "BtoA")


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
