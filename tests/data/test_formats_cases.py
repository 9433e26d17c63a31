"""Small pictures that once failed (``../shared/cases``): each is read, or refused with a reason.

All but two hold the picture of ``ppm.ppm``, whose pixels are plain bytes behind a line of text.
"""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from impasto.data.decode import read_picture, read_size
from impasto.options.errors import PictureError

CASES = Path(__file__).parents[3] / "shared" / "cases"

pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the small failing pictures are absent")

Pixels = NDArray[np.generic]


def original() -> Pixels:
    data = (CASES / "ppm.ppm").read_bytes()
    assert data.startswith(b"P6\n60 44\n255\n")
    return np.frombuffer(data[13:], np.uint8).reshape(44, 60, 3)


def of_565() -> Pixels:
    """The shares of red, green and blue in 16 bits a pixel, rows from the bottom up."""
    data = (CASES / "bmp_565.bmp").read_bytes()
    (start,) = struct.unpack_from("<I", data, 10)
    pixels = np.frombuffer(data[start : start + 2 * 60 * 44], "<u2").reshape(44, 60)[::-1]
    return 255 * np.dstack([(pixels >> 11) / 31, ((pixels >> 5) & 63) / 63, (pixels & 31) / 31])


def of_12_bits() -> Pixels:
    """Dark by the rule that 16 bits count as 16 bits, of which a warning tells."""
    with tifffile.TiffFile(CASES / "tif_u12_range.tif") as file:
        values = file.pages[0].asarray()
    assert values.max() < 4096
    return np.repeat(np.rint(values / 257)[..., None], 3, axis=-1)


# File: its pixels, and the largest and the mean difference, of 255, that its compression explains.
READ: dict[str, tuple[Callable[[], Pixels], float, float]] = {
    "avif.avif": (original, 90, 3),
    "bmp_565.bmp": (of_565, 1, 1),
    "heic.heic": (original, 3, 1),
    "jfif.jfif": (original, 8, 1),
    "png_1200kB_ztxt.png": (lambda: np.zeros((8, 8, 3)), 0, 0),
    "png_crc_ancillary.png": (original, 0, 0),
    "ppm.ppm": (original, 0, 0),
    "tif_f32_rgb.tif": (original, 0, 0),
    "tif_u12_range.tif": (of_12_bits, 0, 0),
    "webp_lossless_alpha.webp": (original, 0, 0),
}
REFUSED = {
    "tif_webp.tif": "is a TIFF compressed by WebP, which cannot be read here; save it with LZW or "
    "ZIP compression, or with none",
}


def test_every_case_is_here() -> None:
    assert {path.name for path in CASES.iterdir()} == set(READ) | set(REFUSED)


@pytest.mark.parametrize("name", READ)
def test_read(name: str, caplog: pytest.LogCaptureFixture) -> None:
    expected, most, mean = READ[name]
    picture = read_picture(CASES / name)
    differences = np.abs(picture.rgb.astype(float) - expected())
    assert differences.max() <= most
    assert differences.mean() <= mean
    assert read_size(CASES / name) == (picture.width, picture.height)
    assert (picture.alpha is not None) == ("alpha" in name)
    assert len(caplog.messages) == ("u12" in name)
    assert all("if these are data of 12 bits" in message for message in caplog.messages)


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(PictureError) as caught:
        read_picture(CASES / name)
    assert caught.value.reason == REFUSED[name]
    assert capfd.readouterr() == ("", "")
