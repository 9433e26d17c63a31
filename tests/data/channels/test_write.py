"""Numbers come back from files as they were; other programs read the same."""

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from impasto.data.channels.read import read_samples
from impasto.data.channels.write import what_holds, write_samples
from impasto.options import PictureError

TYPES = ("uint8", "uint16", "int16", "uint32", "int32", "float32")


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6])
def test_nothing_is_lost(tmp_path: Path, dtype: str, channels: int) -> None:
    draw = np.random.default_rng(0)
    values = (draw.normal(size=(13, 17, channels)) * 2**14).astype(dtype)
    formats = what_holds(dtype, channels)
    assert ("png" in formats) == (dtype in ("uint8", "uint16") and channels <= 4)
    for kind in set(formats) - {"jpg", "webp"}:
        path = tmp_path / f"a.{kind}"
        write_samples(path, values)
        found = read_samples(path, channels=channels)
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, values)
        before = path.read_bytes()
        write_samples(path, values)
        assert path.read_bytes() == before


def test_other_programs_read_it(tmp_path: Path) -> None:
    gray = np.arange(13 * 17, dtype=np.uint16).reshape(13, 17, 1) * 300
    write_samples(tmp_path / "a.png", gray)
    with Image.open(tmp_path / "a.png") as image:
        assert image.mode == "I;16"
        np.testing.assert_array_equal(np.asarray(image), gray[..., 0])
    rgb = np.concatenate([gray, gray // 2, gray // 3], axis=2)
    write_samples(tmp_path / "b.png", rgb)
    with Image.open(tmp_path / "b.png") as image:  # which keeps the high byte
        np.testing.assert_array_equal(np.asarray(image), rgb >> 8)
    write_samples(tmp_path / "c.tif", rgb, srgb=True)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "c.tif"), rgb)
    with Image.open(BytesIO((tmp_path / "c.tif").read_bytes())) as image:
        assert image.mode == "RGB"
        assert "icc_profile" in image.info
    write_samples(tmp_path / "d.npy", gray)
    assert np.load(tmp_path / "d.npy").shape == (13, 17)


def test_jpeg_and_webp_hold_bytes_alone(tmp_path: Path) -> None:
    slope = np.linspace(0, 255, 32 * 32).reshape(32, 32, 1).astype(np.uint8)
    for kind, channels in (("jpg", 1), ("jpg", 3), ("webp", 3)):
        path = tmp_path / f"a.{kind}"
        write_samples(path, slope.repeat(channels, axis=2))
        found = read_samples(path, channels=channels)
        assert np.abs(found.astype(int) - slope).max() < 8
    with pytest.raises(PictureError, match=r"2 channels of type uint8 need one of png, tif, npy"):
        write_samples(tmp_path / "b.jpg", slope.repeat(2, axis=2))
    with pytest.raises(PictureError, match=r"1 channel of type float32 need one of tif, npy"):
        write_samples(tmp_path / "b.png", slope.astype(np.float32))
    with pytest.raises(PictureError, match="jpg files hold 65500 pixels a side"):
        write_samples(tmp_path / "b.jpg", np.zeros((65501, 1, 1), np.uint8))
    assert not (tmp_path / "b.jpg").exists()
