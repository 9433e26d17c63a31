"""What is odd about single pictures, and copies in other sizes and qualities."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.fft import dctn

from impasto.data.metrics.inspection import (
    find_alike,
    inspect_picture,
    inspect_pictures,
    perceptual_hash,
)


def scene(seed: int, side: int = 96) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((side, side), Image.Resampling.BICUBIC)


def test_the_hash_is_that_of_scipys_transform() -> None:
    rgb = np.asarray(scene(1, 32))
    luma = rgb @ np.array([0.299, 0.587, 0.114])
    # SciPy's scales rows and columns by 2, and so no sign of a difference to the median.
    lowest = dctn(luma, type=2)[:8, :8].ravel()[1:]
    found = perceptual_hash(rgb)
    assert found.tolist() == (lowest > np.median(lowest)).tolist()
    assert found.sum() == 31  # half of 63


def test_copies_are_found_in_other_sizes_and_qualities(tmp_path: Path) -> None:
    for seed in range(6):
        scene(seed).save(tmp_path / f"{seed}.png")
    scene(2).resize((40, 40)).save(tmp_path / "small.jpg", quality=80)
    scene(2).resize((300, 300)).save(tmp_path / "zlarge.webp", quality=60)
    scene(4).transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "zmirrored.png")
    paths = sorted(tmp_path.iterdir())
    pairs = find_alike(inspect_pictures(paths, threads=2))
    named = {(paths[one].name, paths[two].name) for one, two in pairs}
    assert named == {
        ("2.png", "small.jpg"),
        ("2.png", "zlarge.webp"),
        ("small.jpg", "zlarge.webp"),
    }


def plain() -> NDArray[np.uint8]:
    return np.full((50, 50, 3), 200, np.uint8)


def test_plain_pictures_are_no_copies_of_one_another(tmp_path: Path) -> None:
    for name in "ab":
        Image.fromarray(plain()).save(tmp_path / f"{name}.png")
    found = inspect_pictures(sorted(tmp_path.iterdir()))
    assert [each.plain for each in found] == [True, True]
    assert find_alike(found) == []


def alpha(whole: bool) -> Callable[[Image.Image], Image.Image]:
    def make(image: Image.Image) -> Image.Image:
        image = image.convert("RGBA")
        image.putalpha(Image.new("L", image.size, 255))
        if not whole:
            image.putpixel((3, 3), (0, 0, 0, 40))
        return image

    return make


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda image: image, {}),
        (lambda image: image.convert("L"), {"gray"}),
        (lambda image: image.convert("L").convert("RGB"), {"gray"}),
        (lambda _image: Image.fromarray(plain()), {"gray", "plain"}),
        (alpha(whole=True), {}),
        (alpha(whole=False), {"transparent"}),
    ],
)
def test_what_is_odd_is_seen(
    tmp_path: Path, change: Callable[[Image.Image], Image.Image], what: set[str]
) -> None:
    change(scene(7)).save(tmp_path / "picture.png")
    found = inspect_picture(tmp_path / "picture.png")
    kinds = ("gray", "plain", "transparent", "turned")
    assert {kind for kind in kinds if getattr(found, kind)} == set(what)
    assert not found.unreadable


def test_a_turned_picture_has_the_size_that_is_seen(tmp_path: Path) -> None:
    image = scene(3).crop((0, 0, 96, 60))
    exif = image.getexif()
    exif[274] = 6  # EXIF: the first row is the right side
    image.save(tmp_path / "turned.jpg", exif=exif)
    found = inspect_picture(tmp_path / "turned.jpg")
    assert (found.width, found.height, found.turned) == (60, 96, True)


def test_what_cannot_be_read_says_why(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    scene(3, 800).save(whole)
    (tmp_path / "cut.jpg").write_bytes(whole.read_bytes()[:6000])
    (tmp_path / "text.png").write_text("no picture")
    cut, text = (inspect_picture(tmp_path / name) for name in ("cut.jpg", "text.png"))
    assert "cut short" in cut.unreadable
    assert "is not a JPEG" in text.unreadable
    assert find_alike([cut, text]) == []


def test_real_pictures_have_no_copies(monet2photo: Path) -> None:
    paths = sorted((monet2photo / "testA").iterdir())[:40]
    assert find_alike(inspect_pictures(paths)) == []
