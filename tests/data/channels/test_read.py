"""Files of numbers are read as they were written by others: Pillow, tifffile, NumPy."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from impasto.data.channels.read import (
    is_deep,
    picture_size,
    read_deep_colors,
    read_layout,
    read_samples,
)
from impasto.data.channels.write import write_samples
from impasto.options import PictureError

CASES = Path(__file__).parents[4] / "shared" / "cases"


def drawn(dtype: str, *shape: int) -> NDArray[Any]:
    draw = np.random.default_rng(0)
    if dtype == "float32":
        return draw.normal(size=shape).astype(np.float32)
    bounds = np.iinfo(dtype)
    return draw.integers(bounds.min, bounds.max, shape, dtype=dtype, endpoint=True)


@pytest.mark.parametrize(
    ("name", "mode", "dtype", "channels"),
    [
        ("gray.png", "L", "uint8", 1),
        ("deep.png", "I;16", "uint16", 1),
        ("deep.tif", "I;16", "uint16", 1),
        ("alpha.png", "LA", "uint8", 2),
        ("rgb.png", "RGB", "uint8", 3),
        ("rgba.png", "RGBA", "uint8", 4),
        ("rgba.webp", "RGBA", "uint8", 4),
        ("float.tif", "F", "float32", 1),
        ("gray.bmp", "L", "uint8", 1),
        ("gray.pgm", "L", "uint8", 1),
    ],
)
def test_what_pillow_wrote(tmp_path: Path, name: str, mode: str, dtype: str, channels: int) -> None:
    values = drawn(dtype, 6, 9) if channels == 1 else drawn(dtype, 6, 9, channels)
    lossless: dict[str, Any] = {"lossless": True, "exact": True} if "webp" in name else {}
    image = Image.fromarray(values)
    assert image.mode == mode
    image.save(tmp_path / name, **lossless)
    found = read_samples(tmp_path / name, channels=channels)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values.reshape(6, 9, channels))
    layout = read_layout(tmp_path / name)
    assert (layout.height, layout.width) == (6, 9)
    assert (layout.channels, layout.dtype, layout.colors) == (channels, dtype, True)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "uint32", "int32", "float32"])
@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_pages_of_a_tiff_are_channels(
    tmp_path: Path, dtype: str, byteorder: Literal["<", ">"], compression: str | None
) -> None:
    values = drawn(dtype, 5, 7, 4)
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path, byteorder=byteorder) as file:
        for channel in range(4):
            page = values[..., channel].astype(np.dtype(dtype).newbyteorder(byteorder))
            file.write(page, photometric="minisblack", compression=compression, metadata=None)
        file.write(values[::2, ::2, 0], subfiletype=1, photometric="minisblack", metadata=None)
    found = read_samples(path, channels=4)
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, values)


def test_planes_of_a_tiff_are_channels(tmp_path: Path) -> None:
    values = drawn("uint16", 3, 5, 7)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(
        read_samples(tmp_path / "a.tif", channels=3), values.transpose(1, 2, 0)
    )


def test_white_may_be_zero(tmp_path: Path) -> None:
    values = drawn("uint16", 5, 7)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="miniswhite")
    np.testing.assert_array_equal(
        read_samples(tmp_path / "a.tif")[..., 0], np.uint16(65535) - values
    )


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate"])
def test_compressed_color_of_16_bits_keeps_them(tmp_path: Path, compression: str) -> None:
    values = drawn("uint16", 5, 7)
    Image.fromarray(values).save(tmp_path / "a.tif", compression=compression)
    np.testing.assert_array_equal(read_samples(tmp_path / "a.tif")[..., 0], values)


def test_a_tiff_is_turned_upright(tmp_path: Path) -> None:
    values = drawn("uint16", 5, 7)
    tag = (274, "H", 1, 6, True)  # the first row is on the right
    tifffile.imwrite(tmp_path / "a.tif", values, extratags=[tag])
    np.testing.assert_array_equal(read_samples(tmp_path / "a.tif")[..., 0], np.rot90(values, -1))
    assert picture_size(tmp_path / "a.tif") == (5, 7)


@pytest.mark.parametrize(
    ("stored", "dtype"),
    [
        ("float16", "float32"),
        ("float64", "float32"),
        ("int8", "int16"),
        ("int64", "int32"),
        (">u2", "uint16"),
    ],
)
def test_arrays_become_one_of_six_types(tmp_path: Path, stored: str, dtype: str) -> None:
    values = np.arange(24).reshape(4, 6).astype(stored)
    np.save(tmp_path / "a.npy", values)
    found = read_samples(tmp_path / "a.npy")
    assert found.dtype == dtype
    assert found.dtype.isnative
    np.testing.assert_array_equal(found[..., 0], values)
    np.save(tmp_path / "b.npy", np.stack([values] * 5, axis=2))
    assert read_samples(tmp_path / "b.npy", channels=5).shape == (4, 6, 5)
    assert picture_size(tmp_path / "b.npy") == (6, 4)


@pytest.mark.parametrize(
    ("values", "channels", "says"),
    [
        (np.zeros((4, 5, 5)), 4, r"has 5 channels, expected 4; channels come last"),
        (np.zeros((4, 5, 3)), 1, r"has 3 channels, expected 1"),
        (np.zeros((4,)), 1, r"has the shape \(4,\); expected \(height, width\)"),
        (np.zeros((0, 5)), 1, "has the shape"),
        (np.full((4, 5), np.nan), 1, "has 20 values that are not finite"),
        (np.full((4, 5), 1e300), 1, "has 20 values that are not finite"),
        (
            np.full((4, 5), 2**40),
            1,
            "has values from 1099511627776 to 1099511627776; int32 holds no such",
        ),
        (np.zeros((4, 5), bool), 1, "holds samples of type bool; expected numbers"),
        (np.zeros((4, 5), complex), 1, "holds samples of type complex128"),
        (np.array([[None]]), 1, r"is not a readable \.npy file: Array can't be memory-mapped"),
    ],
)
def test_arrays_that_are_none(
    tmp_path: Path, values: NDArray[Any], channels: int, says: str
) -> None:
    np.save(tmp_path / "a.npy", values, allow_pickle=True)
    with pytest.raises(PictureError, match=rf"a\.npy: {says}"):
        read_samples(tmp_path / "a.npy", channels=channels)


def test_wrong_channels_name_the_file(tmp_path: Path) -> None:
    values = drawn("uint8", 6, 9, 4)
    for channels, expected, says in (
        (3, 1, r"has 3 channels \(RGB\), expected 1; convert it to gray, or train with 3"),
        (4, 3, r"has 4 channels \(RGB and alpha\), expected 3"),
        (3, 4, r"has 3 channels \(RGB\), expected 4"),
        (1, 2, r"has 1 channel \(gray\), expected 2"),
    ):
        path = tmp_path / f"{channels}.png"
        write_samples(path, values[..., :channels])
        with pytest.raises(PictureError, match=rf"{channels}\.png: {says}"):
            read_samples(path, channels=expected)


def test_what_loses_nothing_is_done(tmp_path: Path) -> None:
    gray = drawn("uint16", 6, 9, 1)
    full = np.full_like(gray, 65535)
    path = tmp_path / "a.png"
    for stored, channels, expected in (
        ([gray, gray, gray], 1, [gray]),
        ([gray, gray, gray, full], 1, [gray]),
        ([gray, full], 1, [gray]),
        ([gray, gray, gray, full], 3, [gray, gray, gray]),
        ([gray], 3, [gray, gray, gray]),
    ):
        write_samples(path, np.concatenate(stored, axis=2))
        np.testing.assert_array_equal(
            read_samples(path, channels=channels), np.concatenate(expected, axis=2)
        )
    write_samples(path, np.concatenate([gray, gray, gray, full - 1], axis=2))
    with pytest.raises(PictureError, match=r"RGB and alpha\), expected 3"):
        read_samples(path, channels=3)


def test_pages_that_are_no_channels(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        for side in (4, 6):
            file.write(np.zeros((side, 6), np.uint8), photometric="minisblack", metadata=None)
    with pytest.raises(PictureError, match="has pages of 6 x 4, 6 x 6 pixels"):
        read_samples(path)
    with tifffile.TiffWriter(path) as file:
        for dtype in (np.uint8, np.uint16):
            file.write(np.zeros((6, 6), dtype), photometric="minisblack", metadata=None)
    with pytest.raises(PictureError, match="has pages of different types"):
        read_samples(path)
    pages = [Image.fromarray(drawn("uint8", 6, 9)) for _ in range(2)]
    pages[0].save(path, save_all=True, append_images=pages[1:], compression="tiff_lzw")
    with pytest.raises(PictureError, match="several pages, compressed in a way that cannot"):
        read_samples(path)


@pytest.mark.parametrize("name", ["a.npy", "a.tif", "a.png"])
def test_damaged_and_large_files_are_told(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write_samples(path, drawn("uint16", 40, 50, 1))
    with pytest.raises(PictureError, match=r"50 x 40 = 2000 pixels, more than the limit of 1999"):
        read_samples(path, max_pixels=1999)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(PictureError, match=f"^.*{name}: "):
            read_samples(path)
    with pytest.raises(PictureError, match="cannot be opened: no such file"):
        read_samples(tmp_path / "none.npy")
    with pytest.raises(PictureError, match="is a folder"):
        read_samples(tmp_path)


def test_colors_of_more_than_8_bits(tmp_path: Path) -> None:
    values = drawn("uint16", 6, 9, 4)
    write_samples(tmp_path / "a.png", values)
    found = read_deep_colors(tmp_path / "a.png")
    assert found is not None
    np.testing.assert_allclose(found, values / 65535, atol=1e-7)
    write_samples(tmp_path / "b.tif", (values[..., :1] / np.float32(65535)).astype(np.float32))
    found = read_deep_colors(tmp_path / "b.tif")
    assert found is not None
    np.testing.assert_allclose(found, values[..., [0, 0, 0]] / 65535, atol=1e-7)
    write_samples(tmp_path / "c.png", drawn("uint8", 6, 9, 3))
    assert read_deep_colors(tmp_path / "c.png") is None
    assert [is_deep(tmp_path / name) for name in ("a.png", "b.tif", "c.png", "none")] == [
        *(True, True, False, False)
    ]
    write_samples(tmp_path / "d.tif", drawn("float32", 6, 9, 3))  # beyond 0 to 1
    assert read_deep_colors(tmp_path / "d.tif") is None


@pytest.mark.skipif(not CASES.is_dir(), reason="shared/cases is not there")
def test_real_files() -> None:
    twelve = read_samples(CASES / "tif_u12_range.tif")
    assert twelve.dtype == np.uint16
    assert twelve.max() < 4096
    assert read_samples(CASES / "tif_f32_rgb.tif", channels=3).dtype == np.float32
    assert read_samples(CASES / "webp_lossless_alpha.webp").shape[2] == 4


@pytest.mark.parametrize("most", [1000, 100_000])
def test_the_type_is_that_of_the_file_and_not_of_its_values(tmp_path: Path, most: int) -> None:
    """Of LZW, which Pillow reads, as of all others."""
    values = np.linspace(0, most, 54).astype(np.int32).reshape(6, 9)
    for name, compression in (("a.tif", "tiff_lzw"), ("b.tif", None)):
        Image.fromarray(values).save(tmp_path / name, compression=compression)
        assert read_layout(tmp_path / name).dtype == "int32"
        found = read_samples(tmp_path / name)
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found[..., 0], values)
