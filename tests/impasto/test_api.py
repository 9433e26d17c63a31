"""The functions of the front door do what the commands do, with texts as paths."""

import json
import os
import shutil
import signal
import urllib.request
from collections.abc import Callable
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
import torch

import impasto
from impasto.cyclegan.models import SHIPPED
from impasto.data import read_picture
from impasto.options import FolderError, ImpastoError, OptionError, StylizeOptions, TranslateOptions
from impasto.options.survey import SurveyExportOptions
from impasto.scripts.main import main
from impasto.survey.analysis.simulation import Population, simulate
from impasto.survey.answers import write_answers
from impasto.survey.key import read_key

Fill = Callable[..., Path]
TRAINING: dict[str, Any] = {
    "name": "mine",
    "device": "cpu",
    "load_size": 20,
    "crop_size": 16,
    "num_threads": 0,
    "netG": "resnet_6blocks",
    "ngf": 2,
    "ndf": 2,
    "netD": "pixel",
    "max_images": 2,
    "display": "none",
}
TINY: dict[str, Any] = {"preset": "builtin", "size": 32, "iterations": [2], "device": "cpu"}


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def photo(picture_folder: Fill) -> str:
    picture_folder("photos", count=2)
    return "photos/00.png"


@pytest.fixture
def style(picture_folder: Fill) -> str:
    picture_folder("styles", count=2, seed=1)
    return "styles/00.png"


def test_no_picture_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImpastoError, match="expected files or folders"):
        impasto.translate([], output=tmp_path / "out")


def test_a_direction_that_is_none_is_refused() -> None:
    with pytest.raises(OptionError, match=r"expected AtoB or BtoA, got 'BtoB'"):
        impasto.load_generator("monet", direction="BtoB")


def test_a_photo_becomes_a_monet_as_by_the_command(photo: str) -> None:
    result = impasto.translate(photo, output="out", device="cpu")
    assert main(["translate", photo, "--output", "same", "--device", "cpu"]) == 0
    assert Path("out/00.png").read_bytes() == Path("same/00.png").read_bytes()
    assert result.page == Path("out/index.html")
    assert result.page.is_file()
    assert [job.source for job in result.converted.done] == [Path(photo).absolute()]
    assert "batch_size" in result.generator.provenance["options"]
    assert "batch_size" not in repr(result), "the options of the training"


def test_an_unknown_keyword_is_named_as_it_is_written(photo: str) -> None:
    with pytest.raises(OptionError) as caught:
        impasto.translate(photo, output="out", stroke_scal=2)
    assert str(caught.value) == "stroke_scal: unknown option; did you mean stroke_scale?"


def test_folders_and_files_are_translated_together(photo: str, picture_folder: Fill) -> None:
    more = picture_folder("more", count=1)
    result = impasto.translate([photo, more], output=Path("out"), model="photo", device="cpu")
    assert len(result.converted.done) == 2
    assert result.generator.provenance == impasto.load_generator("photo").provenance


def test_what_is_given_by_name_replaces_its_part_of_an_object_and_of_a_file(photo: str) -> None:
    Path("small.yaml").write_text("format: webp\nlong_side: 20\n", encoding="utf-8")
    options = TranslateOptions(output=Path("out"), format="jpg", device="cpu")
    impasto.translate(photo, options=options, config="small.yaml", long_side=16)
    assert max(read_picture(Path("out/00.webp")).rgb.shape) == 16


def test_a_style_is_put_on_a_photo_and_nothing_is_written(photo: str, style: str) -> None:
    before = sorted(Path().rglob("*"))
    result = impasto.stylize(photo, style, **TINY)
    assert read_picture(Path(photo)).rgb.shape == (40, 36, 3)
    assert result.image.shape == (32, 29, 3)
    assert "array(" not in repr(result)
    assert result.image.dtype == np.float32
    assert 0 <= result.image.min() < result.image.max() <= 1
    assert sorted(Path().rglob("*")) == before


def test_an_output_is_written_with_its_recipe_as_by_the_command(photo: str, style: str) -> None:
    result = impasto.stylize(photo, style, output="night.png", **TINY)
    assert np.array_equal(read_picture(Path("night.png")).rgb, np.rint(result.image * 255))
    again = impasto.stylize(config="night.png.yaml")  # whose output is not touched
    assert np.array_equal(again.image, result.image)
    written = {path.name for path in Path().iterdir() if path.is_file()}
    assert written == {"night.png", "night.png.yaml", "night.losses.csv"}


def test_several_styles_make_another_picture_than_one(photo: str, style: str) -> None:
    both = impasto.stylize(photo, [style, Path("styles/01.png")], style_weights=[1, 1], **TINY)
    assert len(both.pictures.styles) == 2
    assert not np.array_equal(both.image, impasto.stylize(photo, style, **TINY).image)


def test_training_is_continued_with_the_options_of_its_run(picture_folder: Fill) -> None:
    picture_folder("data/trainA", count=3, size=(24, 24))
    picture_folder("data/trainB", count=3, size=(24, 24), seed=1)
    run = impasto.train("data", **TRAINING)
    assert run.directory == Path("checkpoints/mine")
    assert run.progress.images == 2
    again = impasto.train(name="mine", resume=True, max_images=4)
    assert again.progress.images == 4
    assert impasto.load_generator("mine", direction="BtoA").provenance["images"] == "4"
    with pytest.raises(OptionError, match="ngf"):
        impasto.train(name="mine", resume=True, ngf=3)
    Path("data").rename("moved")
    with pytest.raises(FolderError, match=r'now: pass dataroot="NEW", allow_changes=True'):
        impasto.train(name="mine", resume=True, max_images=6)
    last = impasto.train("moved", name="mine", resume=True, allow_changes=True, max_images=6)
    assert last.progress.images == 6


def test_a_preset_of_training_is_taken_by_its_name() -> None:
    with pytest.raises(OptionError, match="--config: tinny is neither a file nor a preset; did"):
        impasto.train("data", config="tinny")
    with pytest.raises(ImpastoError, match="data"):  # the preset is known, and the folder is not
        impasto.train("data", config="tiny")


def test_generators_load_by_name_file_and_run() -> None:
    shipped = impasto.load_generator()
    file = impasto.load_generator(str(SHIPPED["monet"].path))
    translate = impasto.Translator.of(shipped, device=torch.device("cpu"))
    images = torch.rand(1, 3, 21, 30) * 2 - 1
    painted = translate(images)
    assert painted.shape == images.shape
    same = impasto.Translator.of(file, device=torch.device("cpu"))
    assert torch.equal(painted, same(images))
    with pytest.raises(ImpastoError, match=r"mnet: no such run folder .*did you mean monet"):
        impasto.load_generator("mnet")


def test_results_are_measured(picture_folder: Fill) -> None:
    picture_folder("photos", count=2)
    picture_folder("real", count=5, seed=2)
    result = impasto.evaluate(
        "photos", real="real", output="evaluation", size_px=32, patches=256, device="cpu"
    )
    row = result.evaluation.rows[-1]
    assert (row.name, row.pictures) == ("photos", 2)
    assert row.values["swd"] > 0
    assert result.page == Path("evaluation/index.html")
    assert result.page.is_file()


@pytest.mark.slow
def test_a_plan_is_swept(photo: str, style: str) -> None:
    plan = {
        "options": {"preset": "builtin", "content": photo, "styles": style},
        "axes": {"seed": [1, 2]},
    }
    Path("plan.yaml").write_text(json.dumps(plan), encoding="utf-8")  # which is YAML
    result = impasto.sweep("plan.yaml", output="sweep", set=["size=32", "iterations=[2]"])
    assert not result.failed
    assert len(result.results) == len(result.cells) == 2
    assert Path("sweep/index.html").is_file()


@pytest.fixture
def study(picture_folder: Fill) -> SurveyExportOptions:
    """Options of a small study; what is real is in ``paintings``, what is not in ``fakes``."""
    picture_folder("paintings", count=6, size=(48, 48), seed=3)
    picture_folder("fakes", count=6, size=(48, 48), seed=4)
    return SurveyExportOptions(
        output=Path("study"),
        per_class=3,
        practice=2,
        attention=0,
        orders=4,
        width=48,
        height=48,
        repeat_sources=True,
    )


def test_a_study_is_made_and_reported(study: SurveyExportOptions) -> None:
    made = impasto.export_study("paintings", {"cyclegan": "fakes"}, options=study, seed=1)
    assert made.folder == Path("study")
    key = read_key(made.key)
    assert {picture.generator for picture in key.pictures.values()} == {"", "cyclegan"}

    # The command's form of the same makes the same.
    impasto.export_study(
        real="paintings", fake=["cyclegan=fakes"], options=study, seed=1, output="again"
    )
    assert Path("again/study.json").read_bytes() == Path("study/study.json").read_bytes()

    population = Population(called_real={"real": 0.8, "cyclegan": 0.4})
    answers = simulate(key, population, people=4, rng=np.random.default_rng(0))
    write_answers(Path("answers.csv"), answers)
    findings = impasto.report_study("answers.csv", key=made.key, output="report", resamples=1000)
    assert [generator.name for generator in findings.generators] == ["cyclegan"]
    assert findings.after.people == 4
    assert Path("report/index.html").is_file()


def test_a_study_is_served_until_it_is_stopped(study: SurveyExportOptions) -> None:
    made = impasto.export_study("paintings", {"cyclegan": "fakes"}, options=study)
    said, pages = [], []

    def visit(url: str) -> None:
        with urllib.request.urlopen(url, timeout=120) as reply:  # noqa: S310 - our own server
            pages.append(reply.read())
        os.kill(os.getpid(), signal.SIGTERM)

    def begin(server: object) -> None:
        said.append(str(server))
        Thread(target=visit, args=(server.url,), daemon=True).start()  # type: ignore[attr-defined]

    count = impasto.serve_study(
        "study", key=str(made.key), database="answers.sqlite", port=0, on_start=begin
    )
    assert count == 0
    assert b"<html" in pages[0]
    assert "open     http://127.0.0.1:" in said[0]
    assert Path("answers.sqlite").is_file()


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: impasto.translate("photos", outptu="out"), "outptu: unknown option; did you"),
        (lambda: impasto.translate("photos"), "--output: is missing"),
        (lambda: impasto.translate("photos", output="out", quality=101), "--quality: 101"),
        (lambda: impasto.translate("photos", output=3), "--output: expected a path, got 3"),
        (lambda: impasto.evaluate("monet"), "--real: is missing"),
        (lambda: impasto.stylize("photo.jpg"), "--content: .* at least one style"),
        (lambda: impasto.stylize("a.jpg", "b.jpg", video="c.gif"), "--video: .*output"),
        (lambda: impasto.stylize("a.jpg", "b.jpg", init="nose"), "--init: expected one of .*noise"),
        (lambda: impasto.sweep("plan.yaml", output="out", jobs=0), "--jobs: 0"),
        (lambda: impasto.train("data", n_epochs="many"), "--n_epochs: expected a whole number"),
        (lambda: impasto.export_study("a", output="study"), "--fake: is missing"),
        (lambda: impasto.report_study("answers.csv"), "--key: is missing"),
        (lambda: impasto.serve_study("study", key="k", prot=1), "prot: unknown option; did"),
        (
            lambda: impasto.translate("photos", options=StylizeOptions()),  # type: ignore[arg-type]
            "--options: expected TranslateOptions",
        ),
        (lambda: impasto.translate("photos", output="out", config="no.yaml"), "--config: no.yaml"),
    ],
)
def test_a_mistake_names_its_option(call: Callable[[], object], says: str) -> None:
    with pytest.raises(OptionError, match=f"^{says}"):
        call()
    assert not list(Path().iterdir())


def test_a_data_set_is_fetched(
    picture_folder: Fill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IMPASTO_HOME", str(tmp_path / "home"))
    for side in "AB":
        picture_folder(f"packed/train{side}", count=2)
    shutil.make_archive("grumpifycat", "zip", "packed")
    result = impasto.fetch("grumpifycat", file="grumpifycat.zip")
    (fetched,) = result.fetched
    assert fetched.notes == ["trainA 2, trainB 2 pictures"]
    assert impasto.fetch(["grumpifycat"]).fetched[0].path == Path("datasets/grumpifycat")
