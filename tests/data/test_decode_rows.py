"""Rows of TIFF files, against the whole file as it is read at once."""

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from impasto.data.decode import open_rows, read_picture
from impasto.options.errors import PictureError

RNG = np.random.default_rng(3)


def samples(channels: int, kind: Any = np.uint8) -> Any:
    most = 2 ** (8 * np.dtype(kind).itemsize)
    shape = (150, 70, channels) if channels > 1 else (150, 70)
    return RNG.integers(0, most, shape, dtype=kind)


def lab_profile() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


WRITTEN: dict[str, dict[str, Any]] = {
    "one strip": {"data": samples(3)},
    "one strip, 16 bits": {"data": samples(3, np.uint16), "byteorder": ">"},
    "strips of 7 rows": {"data": samples(3), "rowsperstrip": 7},
    "strips of 100 rows": {"data": samples(3), "rowsperstrip": 100},
    "tiles, BigTIFF": {"data": samples(3), "tile": (32, 48), "bigtiff": True},
    "tiles, 16 bits, big endian": {
        "data": samples(3, np.uint16),
        "tile": (16, 16),
        "byteorder": ">",
    },
    "tiles, alpha": {"data": samples(4), "tile": (64, 16), "extrasamples": ["unassalpha"]},
    "planes": {
        "data": np.moveaxis(samples(3), 2, 0),
        "planarconfig": "separate",
        "rowsperstrip": 32,
    },
    "gray, 16 bits, white is zero": {
        "data": samples(1, np.uint16),
        "photometric": "miniswhite",
        "rowsperstrip": 9,
    },
    "zip with a predictor": {
        "data": samples(3),
        "compression": "zlib",
        "predictor": True,
        "rowsperstrip": 10,
    },
    "a profile": {"data": samples(3), "iccprofile": lab_profile(), "rowsperstrip": 64},
}


@pytest.mark.parametrize("how", WRITTEN)
def test_rows_are_those_of_the_file(tmp_path: Path, how: str) -> None:
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "metadata": None, **WRITTEN[how]}
    tifffile.imwrite(path, options.pop("data"), **options)
    whole, rows = read_picture(path), open_rows(path)
    assert rows is not None
    assert (rows.height, rows.width) == whole.rgb.shape[:2] == (150, 70)
    for start, stop in ((0, 1), (0, 150), (3, 60), (140, 150), (63, 65), (10, 99)):
        part = rows.read(start, stop)
        assert np.array_equal(part.rgb, whole.rgb[start:stop])
        assert np.array_equal(rows.rgb(start, stop), whole.rgb[start:stop])
        if whole.alpha is None:
            assert part.alpha is None
        else:
            assert part.alpha is not None
            assert np.array_equal(part.alpha, whole.alpha[start:stop])


@pytest.mark.parametrize("compression", ["tiff_lzw", "jpeg", "packbits"])
@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK"])
def test_what_libtiff_compresses(tmp_path: Path, compression: str, mode: str) -> None:
    if (compression, mode) == ("jpeg", "P"):
        pytest.skip("palettes are not compressed so")
    path = tmp_path / "a.tif"
    smooth = Image.fromarray(samples(3)).resize((70, 300)).convert(mode)
    smooth.save(path, compression=compression)
    whole, rows = read_picture(path), open_rows(path)
    assert rows is not None
    assert np.array_equal(rows.rgb(0, 300), whole.rgb)
    assert np.array_equal(rows.rgb(101, 240), whole.rgb[101:240])


def test_what_has_no_rows_is_none(tmp_path: Path) -> None:
    Image.fromarray(samples(3)).save(tmp_path / "a.png")
    assert open_rows(tmp_path / "a.png") is None
    turned = tmp_path / "b.tif"
    Image.fromarray(samples(3)).save(turned, tiffinfo={274: 6})
    assert open_rows(turned) is None
    with pytest.raises(PictureError, match="no such file"):
        open_rows(tmp_path / "c.tif")


def test_a_file_that_is_cut_short_is_named(tmp_path: Path) -> None:
    path, made = tmp_path / "a.tif", BytesIO()
    tifffile.imwrite(made, samples(3), photometric="rgb", rowsperstrip=8, compression="zlib")
    path.write_bytes(made.getvalue()[: -len(made.getvalue()) // 3])
    rows = open_rows(path)
    assert rows is not None
    with pytest.raises(PictureError):
        rows.rgb(0, 150)
