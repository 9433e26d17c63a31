"""Pictures made alike: what goes in is what is decoded, and the file tells nothing else."""

import io

import numpy as np
import pytest
from PIL import Image

from impasto.data import Picture
from impasto.data.standardize import (
    encode_plain_png,
    fill_hidden,
    fit_picture,
    flatten_alpha,
    through_jpeg,
)


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (200, 150), (128, 170)])
def test_a_plain_png_is_exact_for_other_readers(size: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    with Image.open(io.BytesIO(encode_plain_png(rgb))) as picture:
        picture.load()
        assert (picture.format, picture.mode, picture.info) == ("PNG", "RGB", {})
        assert np.array_equal(np.asarray(picture), rgb)


def test_its_length_depends_on_the_size_alone() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    assert len({len(encode_plain_png(one)) for one in (noise, noise * 0, noise // 128)}) == 1


def test_a_picture_is_cut_equally_at_both_sides() -> None:
    rgb = np.zeros((10, 30, 3), np.uint8)
    rgb[:, 10:20] = 255
    assert fit_picture(rgb, width=10, height=10).min() == 255
    tall = fit_picture(rgb.transpose(1, 0, 2).copy(), width=10, height=10)
    assert tall.min() == 255


def test_a_picture_is_stretched_if_it_must() -> None:
    rgb = np.zeros((10, 30, 3), np.uint8)
    rgb[:, 15:] = 255
    wide = fit_picture(rgb, width=10, height=10, crop=False)
    assert wide.shape == (10, 10, 3)
    assert wide[:, 0].max() == 0
    assert wide[:, -1].min() == 255


def test_a_picture_of_the_right_size_stays_as_it_is() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    assert np.array_equal(fit_picture(rgb, width=50, height=40), rgb)


def test_transparent_pixels_become_white() -> None:
    rgb = np.full((1, 3, 3), 100, np.uint8)
    alpha = np.array([[0, 255, 51]], np.uint8)
    assert flatten_alpha(Picture(rgb=rgb, alpha=alpha))[0, :, 0].tolist() == [255, 100, 224]


def test_one_generation_of_jpeg_leaves_its_blocks_and_a_second_little_more() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    once = through_jpeg(rgb, 50)
    twice = through_jpeg(once, 50)
    changes = [np.abs(a.astype(int) - b).mean() for a, b in ((rgb, once), (once, twice))]
    assert changes[1] < changes[0] / 4


def test_hidden_colors_are_those_of_the_nearest_pixel() -> None:
    rgb = np.array([[[10, 0, 0], [99, 99, 99], [99, 99, 99], [40, 0, 0], [50, 0, 0]]], np.uint8)
    alpha = np.array([[255, 0, 0, 1, 255]], np.uint8)
    filled = fill_hidden(Picture(rgb=rgb, alpha=alpha))
    assert filled[0, :, 0].tolist() == [10, 10, 40, 40, 50]
    for same in (None, np.full((1, 5), 7, np.uint8), np.zeros((1, 5), np.uint8)):
        assert fill_hidden(Picture(rgb=rgb, alpha=same)) is rgb
