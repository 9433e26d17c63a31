"""Several models at once, and the contact sheet: with small models that color pictures evenly."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.jobs.painters import _most_rows, translate_all, write_thumbnails
from impasto.cyclegan.models import SHIPPED, ShippedModel, painters
from impasto.cyclegan.weights import save_generator
from impasto.data import read_picture
from impasto.data.sheets import sheet_size
from impasto.options import ModelsOptions, OptionError, TranslateOptions, make
from impasto.options.errors import PictureError

ARCHITECTURE = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
# What the small painters make of everything; the bias before a tanh makes it even.
COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


@pytest.fixture
def three(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Ship three painters, and nothing else, each of which makes one color."""
    before = dict(SHIPPED)
    SHIPPED.clear()
    files = {}
    (tmp_path / "shipped").mkdir()
    for name, color in COLORS.items():
        network = ARCHITECTURE.build()
        weights = {key: value.zero_() for key, value in network.state_dict().items()}
        last = [key for key in weights if key.endswith("bias")][-1]
        weights[last] += (torch.tensor(color) - 127.5).sign() * 20
        files[name] = tmp_path / "shipped" / f"{name}.safetensors"
        save_generator(files[name], weights, ARCHITECTURE, {"direction": "AtoB"})
        SHIPPED[name] = ShippedModel(
            name=name, path=files[name], what=f"photographs into {name}", label=name.upper()
        )
    yield files
    SHIPPED.clear()  # so that the others are back in their order, which monkeypatch would change
    SHIPPED.update(before)


def options(**changes: object) -> TranslateOptions:
    return make(TranslateOptions, {"model": "all", "device": "cpu", "threads": 1, **changes})


def areas(sheet: Path) -> dict[str, int]:
    """Count the pixels of each painter's color, and those of the photographs."""
    rgb = read_picture(sheet).rgb
    return {name: int((rgb == color).all(axis=2).sum()) for name, color in COLORS.items()}


@pytest.mark.usefixtures("three")
def test_each_painter_has_a_folder_and_a_column(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    photos = picture_folder("photos", count=2, size=(40, 60))
    sheet = tmp_path / "sheet.png"
    started: list[tuple[str, int]] = []
    made = translate_all(
        [photos],
        options(output=tmp_path / "out", sheet=sheet),
        on_start=lambda name, count, _generator: started.append((name, count)),
    )
    assert started == [(name, 2) for name in COLORS]
    for name, color in COLORS.items():
        for photograph in ("00.png", "01.png"):
            rgb = read_picture(tmp_path / "out" / name / photograph).rgb
            assert rgb.shape == (40, 60, 3)
            assert (rgb == color).all()
        assert (tmp_path / "out" / name / "index.html").is_file()
    assert made.sheet == sheet
    assert areas(sheet) == dict.fromkeys(COLORS, 2 * 60 * 40)
    rgb = read_picture(sheet).rgb
    # The photograph first, then the painters in their order.
    columns = [np.nonzero((rgb == color).all(axis=2))[1].min() for color in COLORS.values()]
    assert columns == sorted(columns)
    expected = read_picture(photos / "00.png").rgb
    top = np.nonzero((rgb == COLORS["red"]).all(axis=2))[0].min()
    left = columns[0] - (columns[1] - columns[0])
    assert np.array_equal(rgb[top : top + 40, left : left + 60], expected)


@pytest.mark.usefixtures("three")
def test_the_sheet_alone_names_the_folder_and_a_second_call_goes_on(
    picture_folder: Callable[..., Path],
) -> None:
    photos = picture_folder("photos", count=1, size=(20, 30))
    sheet = photos / "all.jpg"  # where it must not become a photograph
    asked = options(sheet=sheet)
    first = translate_all([photos], asked)
    assert {path.name for path in (photos / "all").iterdir()} == {*COLORS, ".sheets.json"}
    second = translate_all([photos], asked)
    assert [result.skipped for result in first.results.values()] == [0, 0, 0]
    assert [result.skipped for result in second.results.values()] == [1, 1, 1]
    assert second.sheet == sheet
    assert not any(result.converted.failures for result in second.results.values())


@pytest.mark.usefixtures("three")
def test_what_is_no_sheet_of_ours_stays(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    photos = picture_folder("photos", count=2, size=(20, 30))
    mine = photos / "01.png"
    before = mine.read_bytes()
    with pytest.raises(PictureError, match="is there already, and is not a sheet"):
        translate_all([photos], options(sheet=mine, output=tmp_path / "out"))
    with pytest.raises(OptionError, match="would overwrite the picture itself"):
        translate_all([mine], options(sheet=mine, output=tmp_path / "out", overwrite=True))
    assert mine.read_bytes() == before
    assert not (tmp_path / "out").exists()
    sheet = tmp_path / "sheet.png"
    asked = options(sheet=sheet, output=tmp_path / "out")
    translate_all([photos], asked)
    translate_all([photos], asked)
    Image.open(sheet).rotate(180).save(sheet)  # somebody's now
    with pytest.raises(PictureError, match="--overwrite true"):
        translate_all([photos], asked)
    translate_all([photos], options(sheet=sheet, output=tmp_path / "out", overwrite=True))


@pytest.mark.usefixtures("three")
def test_what_failed_is_said_in_its_place(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    photos = picture_folder("photos", count=2, size=(40, 60))
    (photos / "02.png").write_bytes(b"no picture")
    taken = tmp_path / "out" / "green" / "00.png"
    taken.mkdir(parents=True)
    sheet = tmp_path / "sheet.png"
    made = translate_all([photos], options(output=tmp_path / "out", sheet=sheet))
    assert len(made.results["red"].converted.failures) == 1
    assert len(made.results["green"].converted.failures) == 2
    assert areas(sheet) == {"red": 4800, "green": 2400, "blue": 4800}


@pytest.mark.usefixtures("three")
def test_one_model_has_a_sheet_too(tmp_path: Path, picture_folder: Callable[..., Path]) -> None:
    photos = picture_folder("photos", count=1, size=(20, 30))
    sheet = tmp_path / "red.png"
    made = translate_all([photos], options(model="red", sheet=sheet, output=tmp_path / "out"))
    assert (tmp_path / "out" / "00.png").is_file()
    assert list(made.results) == ["red"]
    assert areas(sheet) == {"red": 600, "green": 0, "blue": 0}


@pytest.mark.usefixtures("three")
def test_cells_have_the_size_that_was_asked_for(
    tmp_path: Path, picture_folder: Callable[..., Path]
) -> None:
    photos = picture_folder("photos", count=1, size=(40, 60))
    asked = options(sheet=tmp_path / "s.png", output=tmp_path / "out", sheet_cell_px=30)
    translate_all([photos], asked)
    assert areas(tmp_path / "s.png") == dict.fromkeys(COLORS, 30 * 20)


@pytest.mark.usefixtures("three")
def test_results_in_the_input_are_no_photographs_of_the_next_painter(
    picture_folder: Callable[..., Path],
) -> None:
    photos = picture_folder("photos", count=1, size=(20, 30))
    for _ in range(2):
        made = translate_all([photos], options(output=photos / "painted", overwrite=True))
        assert [len(result.converted.done) for result in made.results.values()] == [1, 1, 1]


def test_a_sheet_has_room_for_what_its_format_holds() -> None:
    assert _most_rows(5, Path("a.webp"), 16000) == 1
    for name, longest in (("a.webp", 16383), ("a.jpg", 65500)):
        rows = _most_rows(2, Path(name), 500)
        assert sheet_size(rows, 2, cell_px=500)[0] <= longest
    assert _most_rows(2, Path("a.webp"), 500) < _most_rows(2, Path("a.jpg"), 500)


def test_thumbnails_show_every_painter_once(tmp_path: Path, three: dict[str, Path]) -> None:
    photo = tmp_path / "photo.png"
    Image.new("RGB", (500, 250), (90, 90, 90)).save(photo)
    write_thumbnails(ModelsOptions(sheet=tmp_path / "sheet.png", photo=photo))
    assert areas(tmp_path / "sheet.png") == dict.fromkeys(COLORS, 384 * 192)
    with pytest.raises(OptionError, match="would overwrite the photograph"):
        write_thumbnails(ModelsOptions(sheet=photo, photo=photo))
    assert [model.name for model in painters()] == list(three)
