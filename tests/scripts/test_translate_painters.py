"""`impasto translate` with all painters, sheets, strength and strokes, as a user calls it."""

import html
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.models import SHIPPED, read_shipped
from impasto.cyclegan.weights import save_generator
from impasto.data import read_picture
from impasto.scripts.main import main
from tests.browser import parse_page
from tests.translating import translate

ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=2)


@pytest.fixture
def vangogh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Ship one more painter, whose strokes are right for 40 pixels."""
    (tmp_path / "more").mkdir()
    torch.manual_seed(0)
    said = {
        "direction": "AtoB",
        "what": "photographs into Van Goghs",
        "label": "Van Gogh",
        "strokes_at_px": "40",
    }
    path = tmp_path / "more" / "vangogh.safetensors"
    save_generator(path, ARCHITECTURE.build().state_dict(), ARCHITECTURE, said)
    monkeypatch.setitem(SHIPPED, "vangogh", read_shipped(path.parent)["vangogh"])
    return path


@pytest.mark.usefixtures("vangogh")
def test_all_painters_and_their_sheet(
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    photo = picture_folder("photos", count=1, size=(40, 60)) / "00.png"
    assert translate(photo, "--model", "all", "--sheet", "sheet.jpg") == 0
    said = capsys.readouterr()
    for name in ("monet", "vangogh"):
        assert f"{name}: 1 translated in" in said.out
        assert f"page: {Path('sheet') / name / 'index.html'}" in said.out
        assert read_picture(tmp_path / "sheet" / name / "00.png").rgb.shape == (40, 60, 3)
        assert f"{name}: resnet" in said.err
    assert "photo: " not in said.out  # which is no painter
    assert "sheet: sheet.jpg\n" in said.out
    with Image.open("sheet.jpg") as sheet:
        assert sheet.width > 3 * 60
    assert translate(photo, "--model", "all", "--sheet", "sheet.jpg") == 0
    assert "vangogh: 0 translated, 1 already there, 0 failed" in capsys.readouterr().out


@pytest.mark.usefixtures("vangogh")
@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        (("--model", "all"), 2, "--output: is missing; this option must be given, or --sheet"),
        (("--model", "all", "--output", "o", "--direction", "AtoB"), 2, "leave --direction out"),
        (("--model", "all", "--output", "o", "--epoch", "3"), 2, "leave --epoch out"),
        (("--model", "all", "--output", "o", "--style", "wave"), 2, "--style: wave is for one"),
        (("--model", "all", "--sheet", "s.bmp"), 2, "--sheet: s.bmp ends in none of .jpg, .jpeg,"),
        (("--output", "o", "--strength", "1.5"), 2, "--strength: 1.5 is not between 0 and 1"),
        (("--output", "o", "--strength", "half"), 2, "--strength: expected a number, got half"),
        (("--output", "o", "--stroke_scale", "big"), 2, "expected a number or auto, got big"),
        (("--model", "vangog", "--output", "o"), 1, "did you mean vangogh?"),
    ],
)
def test_mistakes_are_named_before_any_work(
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: tuple[str, ...],
    status: int,
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    photos = picture_folder("photos", count=1)
    assert translate(photos, *words) == status
    said = capsys.readouterr().err
    assert says in said
    assert "Traceback" not in said
    assert not (tmp_path / "o").exists()


def test_strength_is_said_and_makes_other_results(
    model: Path,
    tmp_path: Path,
    picture_folder: Callable[..., Path],
    capsys: pytest.CaptureFixture[str],
) -> None:
    photos, out = picture_folder("photos", count=2), tmp_path / "out"
    whole = tmp_path / "whole"
    assert translate(photos, "--model", model, "--output", whole) == 0
    assert translate(photos, "--model", model, "--output", out, "--strength", "0.6") == 0
    before, after, mixed = (
        read_picture(folder / "01.png").rgb.astype(float) for folder in (photos, whole, out)
    )
    assert np.abs(mixed - (0.4 * before + 0.6 * after)).max() <= 0.5 + 1e-6
    facts = parse_page(out / "index.html").find("dd")
    assert "--strength 0.6" in [fact.text for fact in facts]
    capsys.readouterr()
    # The same again is there; the whole translation is another result; and the next call says so.
    assert translate(photos, "--model", model, "--output", out, "--strength", "0.60") == 0
    assert "2 already there" in capsys.readouterr().out
    assert translate(photos / "00.png", "--model", model, "--output", out) == 0
    said = capsys.readouterr().err
    assert "00.png, which was made with other settings" in said
    assert "also holds other results, made with strength 0.6" in said
    assert np.array_equal(read_picture(out / "00.png").rgb, read_picture(whole / "00.png").rgb)


@pytest.mark.usefixtures("vangogh")
def test_strokes_follow_the_size_and_that_is_said(
    tmp_path: Path, picture_folder: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    photos, out = picture_folder("photos", count=1, size=(120, 160)), tmp_path / "out"
    Image.new("RGB", (30, 50)).save(photos / "small.png")
    assert translate(photos, "--model", "vangogh", "--output", out) == 0
    said = capsys.readouterr().err
    assert "--stroke_scale auto is 1 to 3: the strokes of this model are right for" in said
    assert "about 40 pixels" in said
    assert (
        translate(photos, "--model", "vangogh", "--output", tmp_path / "3", "--stroke_scale", 3)
        == 0
    )
    assert "--stroke_scale auto" not in capsys.readouterr().err
    assert (
        translate(photos, "--model", "vangogh", "--output", tmp_path / "1", "--stroke_scale", 1)
        == 0
    )
    auto, three, one = (
        {name: read_picture(folder / name).rgb for name in ("00.png", "small.png")}
        for folder in (out, tmp_path / "3", tmp_path / "1")
    )
    assert np.array_equal(auto["00.png"], three["00.png"])
    assert np.array_equal(auto["small.png"], one["small.png"])
    assert not np.array_equal(auto["00.png"], one["00.png"])
    page = html.unescape((tmp_path / "1" / "index.html").read_text(encoding="utf-8"))
    assert "--stroke_scale 1" in page
    # What nobody chose is no setting, and of a model that says nothing of strokes, 1 is usual.
    assert "--stroke_scale" not in (out / "index.html").read_text(encoding="utf-8")


def test_other_models_stay_as_they_were(
    model: Path, tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    photos = picture_folder("photos", count=1, size=(120, 160))
    for name, words in (("auto", ()), ("one", ("--stroke_scale", 1))):
        assert translate(photos, "--model", model, "--output", tmp_path / name, *words) == 0
        assert "--stroke_scale" not in (tmp_path / name / "index.html").read_text(encoding="utf-8")
    auto, one = (read_picture(tmp_path / name / "00.png").rgb for name in ("auto", "one"))
    assert np.array_equal(auto, one)


@pytest.mark.usefixtures("vangogh")
def test_models_are_listed_with_their_thumbnails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (50, 40), (90, 20, 20)).save("photo.png")
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert "--model monet\n      photographs into Monets; resnet" in printed
    assert "--model vangogh\n      photographs into Van Goghs; resnet" in printed
    assert "to see them: impasto models --sheet painters.jpg" in printed
    assert main(["models", "--sheet", "painters.jpg", "--photo", "photo.png"]) == 0
    printed = capsys.readouterr().out
    assert "sheet: painters.jpg shows what each painter makes of a photograph" in printed
    with Image.open("painters.jpg") as sheet:
        assert sheet.width > 3 * 50  # the photograph and two painters
