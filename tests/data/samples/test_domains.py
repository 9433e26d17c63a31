"""The dataset made on the spot: complete, repeatable, disjoint, and truly painted."""

import json
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from impasto.data.metrics.paired import color_distance, edge_correlation
from impasto.data.samples import domains as module
from impasto.data.samples.domains import SampleDomains, make_sample_domains
from impasto.data.samples.photographs import Part, Region, sample_photographs, sample_regions
from impasto.options.errors import FolderError, OptionError

RGB = npt.NDArray[np.uint8]
FOLDERS = {
    "trainA": 9,
    "trainB": 9,
    "testA": 4,
    "testB": 4,
    "testB_painted": 4,
    "validationB": 4,
    "validationB_painted": 4,
}
SMALL = {"size_px": 24, "train_pictures": 9, "test_pictures": 4}


def load(folder: Path) -> dict[str, RGB]:
    return {path.name: np.asarray(Image.open(path)) for path in sorted(folder.iterdir())}


def tree(root: Path) -> dict[str, tuple[bytes, int]]:
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def place(name: str) -> tuple[str, int, int]:
    photograph, row, column = Path(name).stem.split("_")
    return photograph, int(row), int(column)


@pytest.fixture(scope="module")
def domains(tmp_path_factory: pytest.TempPathFactory) -> SampleDomains:
    return make_sample_domains(tmp_path_factory.mktemp("data") / "new" / "sample", **SMALL)


def test_every_folder_holds_its_pictures(domains: SampleDomains) -> None:
    for name, count in FOLDERS.items():
        folder = getattr(domains, name)
        assert folder == domains.root / name
        pictures = load(folder)
        assert len(pictures) == count
        for picture in pictures.values():
            assert picture.shape == (24, 24, 3)
            assert picture.dtype == np.uint8
    assert {path.name for path in domains.root.iterdir()} == {*FOLDERS, "sample_domains.json"}


def test_photographs_are_cut_where_their_names_say(domains: SampleDomains) -> None:
    photographs = sample_photographs()
    for folder in (domains.trainB, domains.testB, domains.validationB):
        for name, picture in load(folder).items():
            photograph, row, column = place(name)
            cut = photographs[photograph][row : row + 24, column : column + 24]
            np.testing.assert_array_equal(picture, cut)


def test_every_crop_lies_in_a_region_of_its_part(domains: SampleDomains) -> None:
    regions = sample_regions(sample_photographs())
    parts: dict[str, Part] = {
        "trainA": "trainA",
        "trainB": "trainB",
        "testA": "testA",
        "testB": "testB",
    }
    parts["validationB"] = "validation"
    for folder, part in parts.items():
        for name in load(domains.root / folder):
            photograph, row, column = place(name)
            inside = [
                region
                for region in regions[part]
                if region.photograph == photograph
                and region.top <= row <= region.top + region.height_px - 24
                and region.left <= column <= region.left + region.width_px - 24
            ]
            assert len(inside) == 1, name


def test_no_two_sets_share_a_pixel(domains: SampleDomains) -> None:
    covered = []
    for folder in ("trainA", "trainB", "testA", "testB", "validationB"):
        pixels = set()
        for name in load(domains.root / folder):
            photograph, row, column = place(name)
            grid = product(range(row, row + 24), range(column, column + 24))
            pixels |= {(photograph, y, x) for y, x in grid}
        covered.append(pixels)
    assert sum(map(len, covered)) == len(set().union(*covered))


def test_the_true_paintings_are_those_of_their_photographs(domains: SampleDomains) -> None:
    for plain, painted in (
        (domains.testB, domains.testB_painted),
        (domains.validationB, domains.validationB_painted),
    ):
        photographs, paintings = load(plain), load(painted)
        assert list(photographs) == list(paintings)
        for name, photograph in photographs.items():
            assert color_distance(photograph, paintings[name]) > 4
        names = list(photographs)
        own = [color_distance(photographs[name], paintings[name]) for name in names]
        other = [
            color_distance(photographs[name], paintings[names[(number + 2) % 4]])
            for number, name in enumerate(names)
        ]
        assert np.mean(own) < np.mean(other)


def test_pictures_of_a_region_are_crops_of_one_painting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    canvases: list[tuple[int, ...]] = []

    def grid(rgb: RGB, _style: object, _generator: object) -> RGB:
        canvas = np.indices(rgb.shape[:2]).transpose(1, 2, 0)
        canvases.append(rgb.shape[:2])
        return np.concatenate([canvas % 251, canvas[..., :1] // 251], axis=2).astype(np.uint8)

    monkeypatch.setattr(module, "paint", grid)
    domains = make_sample_domains(tmp_path / "d", size_px=20, train_pictures=26, test_pictures=5)
    regions = sample_regions(sample_photographs())
    assert sorted(canvases) == sorted(
        (region.height_px, region.width_px)
        for part in ("trainA", "testA", "testB", "validation")
        for region in regions[part]
    )
    for name, picture in load(domains.trainA).items():
        photograph, row, column = place(name)
        (region,) = (
            r
            for r in regions["trainA"]
            if r.photograph == photograph
            and 0 <= row - r.top < r.height_px
            and 0 <= column - r.left < r.width_px
        )
        assert picture[0, 0, 0] == (row - region.top) % 251
        assert picture[0, 0, 1] == (column - region.left) % 251


def test_crops_of_a_region_are_spread_out() -> None:
    corners = module._corners(Region(photograph="x", top=0, left=0, height_px=60, width_px=60), 20)
    chosen = module._spread(corners, 5, np.random.default_rng(0))
    gaps = np.linalg.norm(chosen[:, None] - chosen[None], axis=2)[np.triu_indices(5, 1)]
    assert gaps.min() > 14
    everything = module._spread(corners[:50], 50, np.random.default_rng(0))
    assert len(np.unique(everything, axis=0)) == 50


def test_the_same_arguments_write_nothing_again(domains: SampleDomains) -> None:
    before = tree(domains.root)
    assert make_sample_domains(domains.root, **SMALL) == domains
    assert tree(domains.root) == before


@pytest.mark.slow
def test_the_same_arguments_give_the_same_bytes_elsewhere(
    domains: SampleDomains, tmp_path: Path
) -> None:
    again = make_sample_domains(tmp_path / "again", **SMALL)
    first, second = tree(domains.root), tree(again.root)
    assert {name: data for name, (data, _) in first.items()} == {
        name: data for name, (data, _) in second.items()
    }


@pytest.fixture
def quick_paint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "paint", lambda rgb, _style, _generator: 255 - rgb)


@pytest.mark.usefixtures("quick_paint")
def test_other_arguments_replace_what_is_there(tmp_path: Path) -> None:
    domains = make_sample_domains(tmp_path / "d", **SMALL)
    stranger = domains.trainA / "notes.txt"
    stranger.write_text("mine")
    first = load(domains.trainB)
    make_sample_domains(tmp_path / "d", **SMALL | {"train_pictures": 3}, seed=1)
    second = load(domains.trainB)
    assert len(second) == 3
    assert not first.keys() & second.keys()
    assert stranger.read_text() == "mine"


@pytest.mark.usefixtures("quick_paint")
def test_more_training_pictures_leave_the_test_sets_alone(tmp_path: Path) -> None:
    few = make_sample_domains(tmp_path / "few", **SMALL)
    many = make_sample_domains(tmp_path / "many", **SMALL | {"train_pictures": 30})
    assert load(few.testB).keys() == load(many.testB).keys()
    assert load(few.testB_painted).keys() == load(many.testB_painted).keys()


@pytest.mark.usefixtures("quick_paint")
@pytest.mark.parametrize("harm", ["picture gone", "note damaged", "note without files"])
def test_an_unfinished_or_damaged_folder_is_made_again(tmp_path: Path, harm: str) -> None:
    domains = make_sample_domains(tmp_path / "d", **SMALL)
    before = {name: data for name, (data, _) in tree(domains.root).items()}
    note = domains.root / "sample_domains.json"
    if harm == "picture gone":
        next(domains.testA.iterdir()).unlink()
    elif harm == "note damaged":
        note.write_text("[]")
    else:
        note.write_text(json.dumps(json.loads(note.read_text()) | {"files": []}))
        (domains.trainB / "china_9999_9999.png").write_bytes(b"left by a killed run")
    make_sample_domains(tmp_path / "d", **SMALL)
    assert {name: data for name, (data, _) in tree(domains.root).items()} == before


@pytest.mark.usefixtures("quick_paint")
def test_an_interrupted_run_can_be_repeated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    painted: list[RGB] = []

    def fail(rgb: RGB, *_arguments: object) -> RGB:
        if painted:
            raise KeyboardInterrupt
        painted.append(rgb)
        return rgb

    with monkeypatch.context() as patch:
        patch.setattr(module, "paint", fail)
        with pytest.raises(KeyboardInterrupt):
            make_sample_domains(tmp_path / "d", **SMALL)
    assert list((tmp_path / "d" / "trainA").iterdir())
    domains = make_sample_domains(tmp_path / "d", **SMALL)
    assert len(load(domains.trainA)) == 9


def test_somebody_elses_pictures_are_refused(tmp_path: Path) -> None:
    theirs = tmp_path / "d" / "testB" / "holiday.png"
    theirs.parent.mkdir(parents=True)
    theirs.write_bytes(b"precious")
    with pytest.raises(FolderError, match=r"testB: holds files .* choose another folder"):
        make_sample_domains(tmp_path / "d", **SMALL)
    assert theirs.read_bytes() == b"precious"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("size_px", 0, "1..140, got 0"),
        ("size_px", 141, "1..140, got 141"),
        ("train_pictures", 0, "expected 1.."),
        ("train_pictures", 10**7, "expected 1.."),
        ("test_pictures", 0, "expected 1.."),
        ("seed", -1, "at least 0, got -1"),
    ],
)
def test_numbers_out_of_range_are_named(
    tmp_path: Path, option: str, value: int, expected: str
) -> None:
    with pytest.raises(OptionError, match=f"--{option}: .*{expected}"):
        make_sample_domains(tmp_path / "d", **{option: value})
    assert not (tmp_path / "d").exists()


@pytest.mark.usefixtures("quick_paint")
def test_as_many_crops_as_there_are_places(tmp_path: Path) -> None:
    # At the largest size a tile of the smallest photograph has 11 x 11 places.
    domains = make_sample_domains(
        tmp_path / "d", size_px=140, train_pictures=12 * 11, test_pictures=2
    )
    assert len(load(domains.trainA)) == 132


def test_edges_survive_the_painting(domains: SampleDomains) -> None:
    values = [
        edge_correlation(picture, load(domains.testB_painted)[name])
        for name, picture in load(domains.testB).items()
    ]
    assert np.mean(values) > 0.15
