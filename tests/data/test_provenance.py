"""Results of translations that lie among the photographs they were made of."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from impasto.cyclegan import GeneratorArchitecture
from impasto.cyclegan.weights import save_generator
from impasto.data import gather_pictures, list_pictures
from impasto.options.errors import FolderError
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
        f"{results_inside}: 6 pictures passed over, made by impasto translate of others there, "
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
    with pytest.raises(FolderError, match="holds no picture but results of earlier translations"):
        list_pictures(results_inside)
