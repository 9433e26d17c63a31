"""Which pictures `impasto evaluate` compares: folders, runs, files, names."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.evaluation.candidates import distinct_names, make_candidates, make_reference
from impasto.cyclegan.evaluation.table import Candidate, Pictures
from impasto.cyclegan.inference.translator import Translator
from impasto.cyclegan.jobs.convert import paint
from impasto.cyclegan.models import SHIPPED, find_generator, kept_epochs
from impasto.cyclegan.weights import load_generator, save_generator
from impasto.options.errors import CheckpointError, FolderError, OptionError, PictureError
from impasto.options.evaluate import EvaluateOptions
from impasto.runs.state import save_pth

CPU = torch.device("cpu")
ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=2)


def save(folder: Path, *names: str, size: tuple[int, int] = (24, 20)) -> Path:
    for number, name in enumerate(names):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (number, 0, 0)).save(folder / name)
    return folder


@pytest.fixture
def options(tmp_path: Path) -> Callable[..., EvaluateOptions]:
    save(tmp_path / "real", *(f"{place}.png" for place in range(6)))

    def make(**changes: Any) -> EvaluateOptions:
        usual = {"real": tmp_path / "real", "output": tmp_path / "out"}
        return EvaluateOptions(**{**usual, **changes})

    return make


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run with two kept epochs; G_B makes everything dark."""
    folder = tmp_path / "run"
    folder.mkdir()
    torch.manual_seed(0)
    for name, direction in (("G_A", "AtoB"), ("G_B", "BtoA")):
        network = ARCHITECTURE.build()
        bias = -9.0 if name == "G_B" else 0.0
        torch.nn.init.constant_(network.get_parameter("model.18.bias"), bias)
        weights = network.state_dict()
        path = folder / f"{name}.safetensors"
        save_generator(path, weights, ARCHITECTURE, {"direction": direction})
        for epoch in ("5", "10"):
            save_pth(folder / f"{epoch}_net_{name}.pth", weights)
    return folder


def names(pictures: Pictures | None) -> list[str]:
    assert pictures is not None
    return [sample.name for sample in pictures]


def pairs(candidate: Candidate) -> list[tuple[str, int]]:
    """Name and red of the input of each result."""
    return [
        (sample.name, -1 if sample.before is None else int(sample.before[0, 0, 0]))
        for sample in candidate.pictures
    ]


def test_without_more_real_the_halves_are_compared(
    options: Callable[..., EvaluateOptions],
) -> None:
    reference = make_reference(options(seed=1))
    halves = [set(names(part)) for part in (reference.real, reference.others)]
    assert [len(half) for half in halves] == [3, 3]
    assert not halves[0] & halves[1]
    again = make_reference(options(seed=1))
    assert set(names(again.real)) == halves[0]
    others = [set(names(make_reference(options(seed=n)).real)) for n in range(2, 6)]
    assert any(half != halves[0] for half in others)


def test_the_floor_has_as_many_pictures_as_the_inputs(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    more = save(tmp_path / "more", *(f"{place:02}.png" for place in range(20)))
    inputs = save(tmp_path / "inputs", "a.png", "b.png", "c.png")
    reference = make_reference(options(more_real=more, inputs=inputs))
    assert [len(names(part)) for part in (reference.real, reference.others)] == [6, 3]
    assert names(reference.inputs) == ["a.png", "b.png", "c.png"]
    few = make_reference(options(more_real=more, inputs=inputs, max_pictures=2))
    assert [len(names(part)) for part in (few.real, few.others)] == [2, 2]


def test_references_that_would_deceive_are_refused(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    with pytest.raises(FolderError, match="holds 6 of the pictures in"):
        make_reference(options(more_real=tmp_path / "real"))
    with pytest.raises(FolderError, match="holds 3 pictures, too few"):
        make_reference(options(max_pictures=3))
    with pytest.raises(FolderError, match="did you mean"):
        make_reference(options(real=tmp_path / "reel"))


def test_results_find_their_inputs_by_name(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "a.jpg", "b.jpg", "b.png", "deep/c.png", "d.png")
    results = save(tmp_path / "out1", "a.png", "b.jpg.png", "b.png.png", "deep/c.jpg", "other.png")
    (candidate,) = make_candidates([results], options(inputs=inputs), device=CPU)
    assert [name for name, _ in pairs(candidate)] == ["a.jpg", "b.jpg", "b.png", "deep/c.png"]
    assert [red for _, red in pairs(candidate)][2:] == [2, 3]
    assert candidate.notes == [
        f"1 of 5 inputs have no result in {results}",
        f"1 pictures in {results} are no results of these inputs: left out",
    ]


def test_results_of_other_names_are_measured_without_inputs_and_said(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs, results = save(tmp_path / "in", "a.png"), save(tmp_path / "r", "x.png", "y.png")
    (candidate,) = make_candidates([results], options(inputs=inputs), device=CPU)
    assert pairs(candidate) == [("x.png", -1), ("y.png", -1)]
    assert "no result in" in candidate.notes[0]


@pytest.mark.parametrize(
    ("inputs", "results", "says"),
    [
        (["a.png"], ["a.jpg", "a.webp"], "several results of a.png: a.jpg, a.webp"),
        (["a.jpg", "a.png"], ["a.webp"], "a.webp could be the result of any of 2 inputs"),
    ],
)
def test_ambiguous_names_are_refused(
    tmp_path: Path,
    options: Callable[..., EvaluateOptions],
    inputs: list[str],
    results: list[str],
    says: str,
) -> None:
    given = options(inputs=save(tmp_path / "in", *inputs))
    with pytest.raises(FolderError, match=says):
        make_candidates([save(tmp_path / "r", *results)], given, device=CPU)


def test_of_the_reference_s_folders_only_the_fakes_count(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "a.png", "b.png")
    kinds = ("real_A", "fake_B", "rec_A")
    results = save(tmp_path / "r", *(f"{name}_{kind}.png" for name in "ab" for kind in kinds))
    (candidate,) = make_candidates([results], options(inputs=inputs), device=CPU)
    assert pairs(candidate) == [("a.png", 0), ("b.png", 1)]
    assert "4 other pictures are left out" in candidate.notes[0]
    save(results, "a_fake_A.png")
    with pytest.raises(OptionError, match="--direction: missing"):
        make_candidates([results], options(), device=CPU)
    (other,) = make_candidates([results], options(direction="BtoA"), device=CPU)
    assert len(other.pictures) == 1


def test_an_unreadable_picture_is_named(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    results = save(tmp_path / "r", "a.png")
    (results / "b.png").write_bytes(b"no picture")
    (candidate,) = make_candidates([results], options(), device=CPU)
    with pytest.raises(PictureError, match=r"b\.png"):
        list(candidate.pictures)


def test_a_run_translates_and_brings_back(
    tmp_path: Path, run: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "a.png", "b.png", size=(17, 31))
    given = options(inputs=inputs, direction="BtoA", epochs=["all"])
    candidates = make_candidates([run], given, device=CPU)
    assert [c.name for c in candidates] == ["run, epoch 5", "run, epoch 10", "run, epoch latest"]
    for candidate in candidates:
        samples = list(candidate.pictures)
        assert len(samples) == len(candidate.pictures) == 2
        assert samples[0].picture.shape == samples[0].back.shape == (31, 17, 3)  # type: ignore[union-attr]
        assert samples[0].picture.mean() < 10 < samples[0].back.mean()  # type: ignore[union-attr]
    assert "epoch 5" in candidates[0].what
    assert "direction BtoA" in candidates[2].what


def test_a_shipped_model_s_direction_is_its_own(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "a.png")
    for name, own in (("monet", "AtoB"), ("monet_cycle", "BtoA")):
        said = []
        for direction in ("AtoB", "BtoA"):
            given = options(inputs=inputs, direction=direction)
            (candidate,) = make_candidates([Path(name)], given, device=CPU)
            said.append([note for note in candidate.notes if "--direction" in note])
        note = f"{name} (shipped) translates {own}, so --direction says nothing about it"
        assert said == [[note] * (own != direction) for direction in ("AtoB", "BtoA")]


def test_a_former_name_is_the_model_that_had_it(
    tmp_path: Path, options: Callable[..., EvaluateOptions], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = options(inputs=save(tmp_path / "in", "a.png"))
    (candidate,) = make_candidates([Path("monet_strokes")], given, device=CPU)
    assert candidate.name == "monet (shipped)"
    save(tmp_path / "monet_strokes", "a.png")  # results that are called so
    (candidate,) = make_candidates([Path("monet_strokes")], given, device=CPU)
    assert candidate.name == "monet_strokes"


def test_a_single_file_has_no_way_back_and_no_epochs(
    tmp_path: Path, run: Path, options: Callable[..., EvaluateOptions]
) -> None:
    given = options(inputs=save(tmp_path / "in", "a.png"), epochs=["5", "10", "5"])
    (candidate,) = make_candidates([run / "G_B.safetensors"], given, device=CPU)
    assert candidate.name == "G_B.safetensors"
    assert candidate.notes == ["G_B.safetensors has no epochs, so --epochs says nothing about it"]
    (sample,) = candidate.pictures
    assert sample.back is None
    assert np.mean(sample.picture) < 10


def test_kept_epochs_are_in_their_order_and_latest_only_where_it_is(run: Path) -> None:
    (run / "3_net_G_A.pth.part").touch()
    (run / "7_net_D_A.pth").touch()
    assert kept_epochs(run, "AtoB") == ["5", "10", "latest"]
    (run / "G_A.safetensors").unlink()
    assert kept_epochs(run, "AtoB") == ["5", "10"]


def test_shipped_models_go_by_name_in_both_directions(
    tmp_path: Path,
    options: Callable[..., EvaluateOptions],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    given = options(inputs=save(tmp_path / "in", "a.png"), direction="AtoB")
    # The CycleGAN's two generators take each other's pictures back; the default has no opposite.
    back = {"monet": False, "monet_cycle": True, "photo": True}
    candidates = make_candidates([Path(name) for name in back], given, device=CPU)
    for candidate, name in zip(candidates, back, strict=True):
        assert candidate.name == f"{name} (shipped)"
        (sample,) = candidate.pictures
        assert (sample.back is not None) == back[name] == (SHIPPED[name].opposite is not None)
    save(tmp_path / "monet", "a.png")
    with pytest.raises(FolderError, match="is a model that Impasto ships, and a folder here"):
        make_candidates([Path("monet")], given, device=CPU)
    (own,) = make_candidates([tmp_path / "monet"], given, device=CPU)
    assert own.name == "monet"


def test_mistakes_are_named(
    tmp_path: Path, run: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "a.png")
    with pytest.raises(OptionError, match="--inputs: missing"):
        make_candidates([run], options(), device=CPU)
    with pytest.raises(CheckpointError, match="holds no generator G_A of epoch 7"):
        make_candidates([run], options(inputs=inputs, epochs=["7"]), device=CPU)
    with pytest.raises(FolderError, match=r"rum: no such folder.*did you mean run"):
        make_candidates([tmp_path / "rum"], options(inputs=inputs), device=CPU)
    with pytest.raises(FolderError, match="named twice"):
        make_candidates([run, run / ".." / "run"], options(inputs=inputs), device=CPU)
    given = options(inputs=inputs, direction="AtoB")
    with pytest.raises(OptionError, match="translates BtoA"):
        make_candidates([run / "G_B.safetensors"], given, device=CPU)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FolderError, match="holds no picture"):
        make_candidates([tmp_path / "empty"], options(), device=CPU)


def test_folders_of_one_name_are_told_apart() -> None:
    folders = [Path("a/x/monets"), Path("b/x/monets"), Path("other"), Path("a/y/monets")]
    assert distinct_names(folders) == ["a/x/monets", "b/x/monets", "other", "y/monets"]
    assert distinct_names([Path()]) == [Path.cwd().name]


def test_a_published_model_of_one_generator_has_no_way_back(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "a.png")
    published = tmp_path / "style_monet_pretrained"
    published.mkdir()
    save_pth(published / "latest_net_G.pth", ARCHITECTURE.build().state_dict())
    (candidate,) = make_candidates([published], options(inputs=inputs), device=CPU)
    assert [sample.back for sample in candidate.pictures] == [None]
    assert not candidate.notes
    asked = replace(options(inputs=inputs), direction="BtoA")
    (candidate,) = make_candidates([published], asked, device=CPU)
    says = "latest_net_G.pth does not say its direction, so --direction chooses nothing"
    assert [note.removeprefix(f"{published}/") for note in candidate.notes] == [says]


def test_a_run_has_a_way_back_and_says_when_it_is_damaged(
    tmp_path: Path, run: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "a.png")
    (candidate,) = make_candidates([run], options(inputs=inputs), device=CPU)
    (sample,) = candidate.pictures
    assert sample.back is not None
    (run / "G_B.safetensors").write_bytes(b"torn")
    with pytest.raises(CheckpointError, match=r"G_B\.safetensors"):
        list(candidate.pictures)


def test_of_what_model_test_of_the_reference_writes_only_fakes_are_results(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "a.jpg", "b.jpg")
    names = ("a_real.png", "a_fake.png", "b_real.png", "b_fake.png")
    results = save(tmp_path / "test_latest", *names)
    (candidate,) = make_candidates([results], options(inputs=inputs), device=CPU)
    assert [name for name, _ in pairs(candidate)] == ["a.jpg", "b.jpg"]
    assert candidate.notes == [
        f"of {results} only *_fake are taken for results, 2 other pictures are left out"
    ]
    # A picture that only happens to be called so is one like any other.
    lone = save(tmp_path / "lone", "deep_fake.png", "b.png")
    (candidate,) = make_candidates([lone], options(), device=CPU)
    assert len(candidate.pictures) == 2


def test_pictures_are_bent_as_the_run_says_or_as_it_is_told(
    tmp_path: Path, run: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = tmp_path / "in"
    inputs.mkdir()
    drawn = np.random.default_rng(0).integers(0, 256, (96, 96, 3), np.uint8)
    Image.fromarray(drawn).save(inputs / "a.png")

    def results(epoch: str, **changes: Any) -> bytes:
        asked = options(inputs=inputs, epochs=[epoch], **changes)
        (candidate,) = make_candidates([run], asked, device=CPU)
        return b"".join(sample.picture.tobytes() for sample in candidate.pictures)

    straight = results("5")
    (run / "options.yaml").write_text("grid_bend_px: 3.0\n")
    assert results("5") == results("latest") != straight
    assert results("5", grid_bend_px=0) == straight
    assert results("5", grid_bend_px=3) == results("5")
    with pytest.raises(OptionError, match=r"grid_bend_px: 4\.0 is not between 0 and 3\.5"):
        options(grid_bend_px=4)


def test_epochs_say_nothing_of_folders_and_shipped_models_and_that_is_said(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    results, inputs = save(tmp_path / "out1", "a.png"), save(tmp_path / "in", "a.png")
    asked = options(inputs=inputs, epochs=["5"])
    for candidate in make_candidates([results, Path("monet")], asked, device=CPU):
        assert (
            f"{candidate.name} has no epochs, so --epochs says nothing about it" in candidate.notes
        )


def test_the_options_of_a_shipped_model_do_not_fill_the_page(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "a.png")
    (candidate,) = make_candidates([Path("monet")], options(inputs=inputs), device=CPU)
    recipe = find_generator(Path("monet")).provenance["recipe"]
    assert f"recipe {recipe}" in candidate.what
    assert len(candidate.what) < 500


def test_stylized_pictures_know_their_contents_and_styles(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    inputs = save(tmp_path / "in", "x.png", "a.png", "b.png")
    styles = save(tmp_path / "styles", "night.png", "day/one.png", "day/two.png")
    results = save(tmp_path / "r", "a_night.png", "b_day.png", "c.png")
    asked = options(real=None, inputs=inputs, styles=[styles / "night.png", styles / "day"])
    reference = make_reference(asked)
    assert [(style.name, names(style.pictures)) for style in reference.styles] == [
        ("night", ["night.png"]),
        ("day", ["one.png", "two.png"]),
    ]
    assert (reference.real, reference.others) == (None, None)
    (candidate,) = make_candidates([results], asked, device=CPU)
    assert pairs(candidate) == [("a.png", 1), ("b.png", 2), ("c.png", -1)]
    assert [sample.style for sample in candidate.pictures] == ["night", "day", ""]
    assert [note.partition(" pictures ")[0] for note in candidate.notes] == ["1 of 3", "1 of 3"]
    one = save(tmp_path / "one", "result.png") / "result.png"
    single = options(real=None, inputs=inputs / "b.png", styles=[styles / "night.png"])
    (candidate,) = make_candidates([one], single, device=CPU)
    assert [(s.name, s.style) for s in candidate.pictures] == [("b.png", "night")]
    assert (candidate.name, candidate.notes) == ("result.png", [])
    with pytest.raises(OptionError, match=r"--styles: missing; .*is one picture"):
        make_candidates([one], options(), device=CPU)


def test_models_are_measured_with_the_strokes_that_translate_makes(
    tmp_path: Path, options: Callable[..., EvaluateOptions]
) -> None:
    torch.manual_seed(0)
    weights = ARCHITECTURE.build().state_dict()
    rgb = np.random.default_rng(1).integers(0, 256, (40, 48, 3), dtype=np.uint8)
    inputs = tmp_path / "in"
    inputs.mkdir()
    Image.fromarray(rgb).save(inputs / "a.png")
    seen = {}
    sizes: dict[str, dict[str, str]] = {"plain": {}, "fitted": {"strokes_at_px": "20"}}
    for name, said in sizes.items():
        path = tmp_path / f"{name}.safetensors"
        save_generator(path, weights, ARCHITECTURE, {"direction": "AtoB", **said})
        (candidate,) = make_candidates([path], options(inputs=inputs), device=CPU)
        (seen[name],) = (sample.picture for sample in candidate.pictures)
    translate = Translator.of(load_generator(tmp_path / "plain.safetensors"), device=CPU)
    assert np.array_equal(seen["plain"], paint([rgb], translate)[0])
    assert np.array_equal(seen["fitted"], paint([rgb], translate, scale=2)[0])
    assert not np.array_equal(seen["fitted"], seen["plain"])
