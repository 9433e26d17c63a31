"""The shipped photographs and the parts that they are divided into."""

import subprocess
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import skimage
import skimage.data

from impasto.data.samples import photographs as module
from impasto.data.samples.photographs import Region, sample_photographs, sample_regions
from impasto.options.errors import FolderError, PictureError

SIZES = {
    "astronaut": (512, 512),
    "chelsea": (300, 451),
    "china": (427, 640),
    "coffee": (400, 600),
    "flower": (427, 640),
    "motorcycle": (500, 741),
    "rocket": (427, 640),
}


def overlap(one: Region, other: Region) -> int:
    """Count the pixels that two regions share."""
    if one.photograph != other.photograph:
        return 0
    rows = range(max(one.top, other.top), min(one.top + one.height_px, other.top + other.height_px))
    columns = range(
        max(one.left, other.left), min(one.left + one.width_px, other.left + other.width_px)
    )
    return len(rows) * len(columns)


def test_photographs_are_rgb_of_known_sizes() -> None:
    photographs = sample_photographs()
    assert {name: picture.shape[:2] for name, picture in photographs.items()} == SIZES
    assert list(photographs) == sorted(photographs)
    for picture in photographs.values():
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
        # A color photograph: the channels differ, and darks and lights are there.
        assert np.ptp(picture.astype(int), axis=2).mean() > 10
        assert picture.min() < 10
        assert picture.max() > 220


def test_photographs_are_those_of_scikit_image() -> None:
    photographs = sample_photographs()
    for name in ("astronaut", "chelsea", "coffee", "rocket"):
        np.testing.assert_array_equal(photographs[name], getattr(skimage.data, name)())
    left, _, _ = skimage.data.stereo_motorcycle()  # type: ignore[no-untyped-call]
    np.testing.assert_array_equal(photographs["motorcycle"], left)


def test_no_pixel_serves_two_parts() -> None:
    regions = [r for part in sample_regions(sample_photographs()).values() for r in part]
    assert len(regions) == 5 * 6 + 2 * 2
    for one, other in combinations(regions, 2):
        assert overlap(one, other) == 0, (one, other)


def test_regions_paint_every_pixel_at_most_once() -> None:
    photographs = sample_photographs()
    count = {name: np.zeros(size, int) for name, size in SIZES.items()}
    for part in sample_regions(photographs).values():
        for region in part:
            assert region.top >= 0
            assert region.left >= 0
            rows = slice(region.top, region.top + region.height_px)
            view = count[region.photograph][rows, region.left : region.left + region.width_px]
            assert view.shape == (region.height_px, region.width_px)
            assert min(view.shape) >= 140
            view += 1
            assert region.cut(photographs).shape == (*view.shape, 3)
    for name, times in count.items():
        assert times.max() == 1
        # Only the rest of a division by two rows or three columns is left over.
        assert (times == 0).mean() < 0.01, name


def test_both_domains_see_every_training_photograph_and_test_sets_see_none() -> None:
    regions = sample_regions(sample_photographs())
    seen = {part: {region.photograph for region in places} for part, places in regions.items()}
    training = {"chelsea", "china", "coffee", "motorcycle", "rocket"}
    assert seen["trainA"] == seen["trainB"] == seen["validation"] == training
    assert seen["testA"] == seen["testB"] == {"astronaut", "flower"}
    assert abs(len(regions["trainA"]) - len(regions["trainB"])) <= 1
    # Skies and grounds alike: both domains have tiles of the upper and of the lower row.
    for part in ("trainA", "trainB"):
        assert {region.top == 0 for region in regions[part]} == {True, False}


def test_cut_gives_the_named_pixels() -> None:
    photographs = {"x": np.arange(5 * 7 * 3, dtype=np.uint8).reshape(5, 7, 3)}
    region = Region(photograph="x", top=1, left=2, height_px=3, width_px=4)
    np.testing.assert_array_equal(region.cut(photographs), photographs["x"][1:4, 2:6])


def test_a_missing_file_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_FILES", {"x": ("skimage", "data/no_such.png")})
    with pytest.raises(PictureError, match=r"no_such\.png: .*reinstall scikit-image") as caught:
        sample_photographs()
    assert caught.value.path == Path(skimage.__file__).parent / "data" / "no_such.png"


def test_a_missing_package_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "find_spec", lambda _name: None)
    with pytest.raises(FolderError, match="pip install scikit-image"):
        sample_photographs()


def test_the_sample_modules_start_without_torch_and_scikit_learn() -> None:
    code = (
        "import sys, impasto.data.samples.domains as d, impasto.data.metrics.paired as m\n"
        "d.sample_photographs()\n"
        "assert not {'torch', 'sklearn', 'pooch'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
