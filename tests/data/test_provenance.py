"""Results that lie among the photographs they were made of."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from impasto.cyclegan import GeneratorArchitecture
from impasto.cyclegan.weights import save_generator
from impasto.data import gather_pictures, list_pictures
from impasto.data.provenance import FACTS_MARK, RECIPE_MARK
from impasto.gatys.outputs.recipe import recipe_path
from impasto.options.errors import FolderError
from tests.scripts.stylizing import BUILTIN, stylize
from tests.translating import translate


@pytest.fixture
def results_inside(tmp_path: Path, picture_folder: Callable[..., Path]) -> Path:
    """A folder of three photographs, with translations of them in ``out`` and in ``deep/out``."""
    torch.manual_seed(0)
    architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
    file = tmp_path / "G.safetensors"
    save_generator(file, architecture.build().state_dict(), architecture, {"weights": "last"})
    photos = picture_folder("photos", count=3)
    for name in ("out", "deep/out"):
        assert translate(photos, "--model", file, "--output", photos / name) == 0
    return photos


PHOTOGRAPHS = ["00.png", "01.png", "02.png"]


def names(folder: Path, *, results: bool = False) -> list[str]:
    found = list_pictures(folder, results=results)
    return [path.relative_to(folder).as_posix() for path in found]


def test_results_of_its_pictures_are_no_pictures_of_a_folder(
    results_inside: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "impasto.data.files"):
        assert names(results_inside) == PHOTOGRAPHS
    assert caplog.messages == [
        f"{results_inside}: 6 pictures passed over, which Impasto made of others there, "
        f"such as {results_inside / 'deep' / 'out' / '00.png'}"
    ]
    assert gather_pictures([results_inside], exclude=results_inside / "x")[0] == [
        results_inside / name for name in PHOTOGRAPHS
    ]
    assert len(names(results_inside, results=True)) == 9
    # Named itself, a folder of results is a folder of pictures, and so is what a user put there.
    assert names(results_inside / "out") == PHOTOGRAPHS
    Image.new("RGB", (3, 3)).save(results_inside / "out" / "own.png")
    assert names(results_inside) == [*PHOTOGRAPHS, "out/own.png"]


def test_folders_that_moved_or_have_another_name_are_known(
    results_inside: Path, tmp_path: Path
) -> None:
    (tmp_path / "link").symlink_to(results_inside)
    assert names(tmp_path / "link") == PHOTOGRAPHS
    moved = results_inside.rename(tmp_path / "moved")
    assert names(moved) == PHOTOGRAPHS
    # Beside another picture of the same name they are the results of what is elsewhere.
    Image.new("RGB", (3, 3)).save(moved / "00.png")
    assert names(moved) == ["00.png", "01.png", "02.png", "deep/out/00.png", "out/00.png"]
    for name in PHOTOGRAPHS:
        (moved / name).unlink()
    assert len(names(moved)) == 6
    moved.rename(results_inside)
    with pytest.raises(FolderError, match="holds no picture but what Impasto made of those in it"):
        list_pictures(results_inside)


@pytest.fixture
def stylized_inside(picture_folder: Callable[..., Path]) -> Path:
    """A folder of three photographs, one of them stylized beside it, with all further results."""
    photos = picture_folder("photos", count=3, size=(40, 32))
    style = picture_folder("style", count=1, seed=5, size=(40, 32)) / "00.png"
    words = ("--size", "32", "--iterations", "2", *BUILTIN, "--save_every", "1")
    further = ("--triptych", photos / "deep" / "three.png", "--video", photos / "making.gif")
    more = (*further, "--plot_losses", photos / "curve.png", "--output", photos / "00_night.png")
    assert stylize(str(photos / "00.png"), str(style), *words, *map(str, more)) == 0
    return photos


def test_what_was_stylized_of_its_pictures_is_no_picture_of_a_folder(
    stylized_inside: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    photos = stylized_inside
    kept = [path.name for path in photos.glob("00_night_*.png")]
    assert kept
    with caplog.at_level(logging.INFO, "impasto.data.files"):
        assert names(photos) == PHOTOGRAPHS
    made = ["00_night.png", *kept, "curve.png", "deep/three.png", "making.gif"]
    assert f"{len(made)} pictures passed over, which Impasto made of others there" in caplog.text
    assert names(photos, results=True) == sorted([*PHOTOGRAPHS, *made])
    other = tmp_path / "other"
    other.mkdir()
    for name in ("00_night.png", "00_night.png.yaml"):
        (other / name).write_bytes((photos / name).read_bytes())
    assert names(other) == ["00_night.png"]  # a folder of results alone is one of pictures
    assert names(tmp_path / "style") == ["00.png"]
    (photos / "00_night.png").rename(tmp_path / "style" / "night.png")
    (photos / "00_night.png.yaml").rename(tmp_path / "style" / "night.png.yaml")
    assert names(tmp_path / "style") == ["00.png"]  # its style is there, whatever it is called
    (tmp_path / "style" / "night.png.yaml").unlink()
    assert names(tmp_path / "style") == ["00.png", "night.png"]  # nobody can know it


def test_a_style_among_others_makes_results_too(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    paintings, photo = picture_folder("paintings", count=2), picture_folder("photo", count=1)
    words = ("--size", "32", "--iterations", "1", *BUILTIN, "--output", str(paintings / "x.png"))
    assert stylize(str(photo / "00.png"), str(paintings / "01.png"), *words) == 0
    assert names(paintings) == ["00.png", "01.png"]
    assert len(names(tmp_path)) == 3


def test_what_was_stylized_is_known_after_a_move_and_until_another_picture_is_in_its_place(
    stylized_inside: Path, tmp_path: Path
) -> None:
    moved = stylized_inside.rename(tmp_path / "moved")
    assert names(moved) == PHOTOGRAPHS
    (tmp_path / "link").symlink_to(moved)
    assert names(tmp_path / "link") == PHOTOGRAPHS
    for damage in (f"{RECIPE_MARK}\n{FACTS_MARK}x: [", f"{RECIPE_MARK}\nstyles: 1", "\0", "# Own"):
        recipe = recipe_path(moved / "00_night.png")
        whole = recipe.read_text(encoding="utf-8")
        recipe.write_text(damage, encoding="utf-8")
        assert "00_night.png" in names(moved)
        recipe.write_text(whole, encoding="utf-8")
    assert names(moved) == PHOTOGRAPHS
    # Of a content that is not where it was, seen from the picture, nobody knows where it is.
    content = (moved / "00.png").read_bytes()
    Image.new("RGB", (3, 3)).save(moved / "00.png")
    assert "00_night.png" in names(moved)
    (moved / "00.png").write_bytes(content)
    assert names(moved) == PHOTOGRAPHS
    Image.new("RGB", (3, 3)).save(moved / "00_night.png")
    assert "00_night.png" in names(moved)


def test_translate_passes_over_what_was_stylized_unless_it_is_named(
    stylized_inside: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert translate(stylized_inside, "--output", tmp_path / "out") == 0
    printed = capsys.readouterr()
    assert "3 translated in" in printed.out
    assert "pictures that Impasto made of others of this input, such as" in printed.err
    assert "which Impasto made" not in printed.err  # it is said once
    named = stylized_inside / "00_night.png"
    assert translate(stylized_inside / "00.png", named, "--output", tmp_path / "named") == 0
    assert "2 translated in" in capsys.readouterr().out


def test_sheets_and_curves_of_sweeps_are_no_pictures(tmp_path: Path) -> None:
    """As they lie there after a sweep; tests/scripts/test_sweep.py looks at a real one."""
    shown = ["own/contact_sheet.png", "own/losses.png", "sweep/cells/a/picture.png", "sweep/x.png"]
    for name in (*shown, "sweep/contact_sheet.png", "sweep/losses.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3)).save(tmp_path / name)
    (tmp_path / "sweep" / "cells" / "a" / "cell.json").touch()
    assert names(tmp_path) == names(tmp_path, results=True) == shown
    assert names(tmp_path / "sweep") == ["cells/a/picture.png", "x.png"]
    assert names(tmp_path / "own") == ["contact_sheet.png", "losses.png"]
