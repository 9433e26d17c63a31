import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms

from impasto.data import encode
from impasto.data.decode import Picture, read_picture
from impasto.data.encode import encode_png, to_uint8, write_float_picture, write_picture
from impasto.options.errors import OptionError, PictureError

RNG = np.random.default_rng(20)
NOISE = Picture(
    rgb=RNG.integers(0, 256, (19, 23, 3), dtype=np.uint8),
    alpha=RNG.integers(0, 256, (19, 23), dtype=np.uint8),
)


def smooth(height: int = 48, width: int = 64) -> NDArray[np.uint8]:
    """A colorful slope without detail, which a lossy format must keep closely."""
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([x * 3, y * 4, 255 - x * 3], axis=-1).astype(np.uint8)


@contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Root passes every permission check: be nobody for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


def test_png_is_exact_with_and_without_alpha(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "a.PNG"  # the folders are made, the case does not matter
    write_picture(path, NOISE)
    back = read_picture(path)
    np.testing.assert_array_equal(back.rgb, NOISE.rgb)
    assert NOISE.alpha is not None
    assert back.alpha is not None
    np.testing.assert_array_equal(back.alpha, NOISE.alpha)
    write_picture(path, Picture(rgb=NOISE.rgb))
    assert read_picture(path).alpha is None
    assert [item.name for item in path.parent.iterdir()] == ["a.PNG"]


def test_png_in_memory_is_that_of_a_file(tmp_path: Path) -> None:
    encoded = encode_png(NOISE.rgb)
    np.testing.assert_array_equal(np.asarray(Image.open(BytesIO(encoded))), NOISE.rgb)
    write_picture(tmp_path / "a.png", Picture(rgb=NOISE.rgb))
    assert encoded == (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_lossy_formats_stay_close(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    write_picture(path, Picture(rgb=smooth()))
    with Image.open(path) as image:
        assert image.format == ("WEBP" if suffix == ".webp" else "JPEG")
    back = read_picture(path)
    assert back.alpha is None
    error = np.abs(back.rgb.astype(int) - smooth())
    assert error.mean() < 2
    assert error.max() <= 12


def test_webp_keeps_alpha_and_the_colors_beneath(tmp_path: Path) -> None:
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:24] = np.arange(64) * 4
    write_picture(tmp_path / "a.webp", Picture(rgb=smooth(), alpha=alpha))
    back = read_picture(tmp_path / "a.webp")
    assert back.alpha is not None
    np.testing.assert_array_equal(back.alpha, alpha)
    assert np.abs(back.rgb.astype(int) - smooth())[24:].mean() < 2  # where alpha is 0


def test_jpeg_is_laid_on_white(tmp_path: Path) -> None:
    alpha = np.zeros((48, 64), np.uint8)
    alpha[:, :16], alpha[:, 16:32] = 255, 51  # a fifth of the color, and four of white
    write_picture(tmp_path / "a.jpg", Picture(rgb=smooth(), alpha=alpha), quality=100)
    back = read_picture(tmp_path / "a.jpg")
    assert back.alpha is None
    share = alpha[..., None] / 255
    expected = smooth() * share + 255 * (1 - share)
    differences = np.abs(back.rgb - expected)
    assert differences[:, [*range(14), *range(18, 30), *range(34, 64)]].max() <= 4
    write_float_picture(tmp_path / "b.jpg", smooth() / 255, alpha=alpha, quality=100)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_floats_keep_alpha(tmp_path: Path) -> None:
    alpha = RNG.integers(0, 256, FLOATS.shape[:2], dtype=np.uint8)
    for name in ("a.tif", "a.png"):
        write_float_picture(tmp_path / name, FLOATS, alpha=alpha)
        back = read_picture(tmp_path / name)
        np.testing.assert_array_equal(back.alpha, alpha)
        np.testing.assert_array_equal(back.rgb, np.rint(np.clip(FLOATS, 0, 1) * 255))


@pytest.mark.parametrize(("quality", "sampling"), [(89, (2, 2)), (90, (1, 1)), (100, (1, 1))])
def test_jpeg_color_resolution(tmp_path: Path, quality: int, sampling: tuple[int, int]) -> None:
    write_picture(tmp_path / "a.jpg", NOISE, quality=quality)
    data = (tmp_path / "a.jpg").read_bytes()
    frame = data.index(b"\xff\xc0")  # SOF0, T.81 B.2.2: sampling factors of the first component
    assert divmod(data[frame + 11], 16) == sampling


@pytest.mark.parametrize("quality", [80, 92, 95, 100])
def test_jpeg_of_noise(tmp_path: Path, quality: int, capfd: pytest.CaptureFixture[str]) -> None:
    # Optimized tables fail on this in Pillow, with a message from libjpeg to standard error.
    noise = RNG.integers(0, 256, (300, 300, 3), dtype=np.uint8)
    write_picture(tmp_path / "a.jpg", Picture(rgb=noise), quality=quality)
    assert read_picture(tmp_path / "a.jpg").rgb.shape == (300, 300, 3)
    assert capfd.readouterr().err == ""


def test_jpeg_of_photographs_has_tables_of_its_own(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg", Picture(rgb=smooth(480, 640)))
    Image.fromarray(smooth(480, 640)).save(tmp_path / "b.jpg", quality=95, subsampling=0)
    assert (tmp_path / "a.jpg").stat().st_size < 0.95 * (tmp_path / "b.jpg").stat().st_size


def test_quality_changes_the_size(tmp_path: Path) -> None:
    for suffix in (".jpg", ".webp"):
        sizes = []
        for quality in (1, 50, 90, 100):
            write_picture(tmp_path / f"a{suffix}", NOISE, quality=quality)
            sizes.append((tmp_path / f"a{suffix}").stat().st_size)
        assert sizes == sorted(set(sizes))


def test_files_hold_pixels_only(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.png", NOISE)
    data = (tmp_path / "a.png").read_bytes()
    chunks, at = set(), 8
    while at < len(data):
        chunks.add(data[at + 4 : at + 8])
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    assert chunks == {b"IHDR", b"IDAT", b"IEND"}
    for name in ("a.jpg", "a.webp"):
        write_picture(tmp_path / name, NOISE)
        with Image.open(tmp_path / name) as image:
            assert not {"exif", "xmp", "icc_profile", "comment", "photoshop"} & set(image.info)


@pytest.mark.parametrize("name", ["a.gif", "a.tiff", "a", "png"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(PictureError, match=r"none of \.png, \.jpg, \.jpeg, \.webp"):
        write_picture(tmp_path / "deep" / name, NOISE)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_quality_out_of_range(tmp_path: Path, quality: int) -> None:
    with pytest.raises(OptionError, match=f"--quality: must lie between 1 and 100, got {quality}"):
        write_picture(tmp_path / "a.png", NOISE, quality=quality)


@pytest.mark.parametrize(("name", "side"), [("a.jpg", 65500), ("a.webp", 16383), ("a.png", 70000)])
def test_longest_side(tmp_path: Path, name: str, side: int) -> None:
    # The largest size that is allowed works, so the limits are not too high.
    write_picture(tmp_path / name, Picture(rgb=np.zeros((1, side, 3), np.uint8)))
    assert read_picture(tmp_path / name).width == side
    if name != "a.png":
        with pytest.raises(PictureError, match=f"1 x {side + 1} pixels.*1 to {side} pixels a side"):
            write_picture(tmp_path / name, Picture(rgb=np.zeros((side + 1, 1, 3), np.uint8)))
    with pytest.raises(PictureError, match="0 x 5 pixels"):
        write_picture(tmp_path / name, Picture(rgb=np.zeros((5, 0, 3), np.uint8)))


def test_full_disk_gives_the_reason_and_keeps_the_old_file(small_disk: Path) -> None:
    path = small_disk / "a.png"
    write_picture(path, NOISE)
    big = Picture(rgb=RNG.integers(0, 256, (300, 300, 3), dtype=np.uint8))
    for name in ("a.png", "b.jpg", "b.webp"):
        with pytest.raises(PictureError, match=f"{name}: cannot be written: no space left"):
            write_picture(small_disk / name, big, quality=100)
    np.testing.assert_array_equal(read_picture(path).rgb, NOISE.rgb)
    assert [item.name for item in small_disk.iterdir()] == ["a.png"]


def test_the_whole_file_is_shown_before_it_replaces_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")
    shown: list[tuple[bytes, str]] = []
    write_picture(
        path, NOISE, on_whole=lambda file: shown.append((file.read_bytes(), path.read_text()))
    )
    assert shown == [(path.read_bytes(), "old")]
    error = PictureError(tmp_path / "notes", "is not to be written")

    def refuse(_file: Path) -> None:
        raise error

    before = path.read_bytes()
    with pytest.raises(PictureError) as caught:
        write_picture(path, Picture(rgb=smooth()), on_whole=refuse)
    assert caught.value is error
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
def test_folder_that_may_not_be_written() -> None:
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        for path in (Path(name) / "a.png", Path(name) / "deep" / "a.png"):
            with as_ordinary_user(), pytest.raises(PictureError) as caught:
                write_picture(path, NOISE)
            assert caught.value.path == path
            assert caught.value.reason == "cannot be written: permission denied"


def test_folder_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(PictureError, match="cannot be written: is a directory"):
        write_picture(tmp_path / "a.png", NOISE)
    (tmp_path / "file").write_text("x")
    with pytest.raises(PictureError, match=r"cannot be written: (not a directory|file exists)"):
        write_picture(tmp_path / "file" / "a.png", NOISE)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["a.png", "file"]


FLOATS = RNG.random((21, 34, 3), dtype=np.float32)


@pytest.mark.parametrize("suffix", [".tif", ".TIFF"])
def test_a_tiff_has_16_bits(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / "new" / f"a{suffix}"
    floats = FLOATS.copy()
    floats[0, 0], floats[0, 1] = 0, 1
    write_float_picture(path, floats)
    back = tifffile.imread(path)
    assert back.dtype == np.uint16
    assert np.abs(back / 65535 - floats).max() <= 0.5001 / 65535
    np.testing.assert_array_equal(back[0, :2], [[0, 0, 0], [65535] * 3])
    eight = read_picture(path)  # 16 bits become 8 by round(v / 257)
    np.testing.assert_array_equal(eight.rgb, np.rint(back / 257))
    assert [item.name for item in path.parent.iterdir()] == [path.name]


def test_a_tiff_says_that_it_is_srgb(tmp_path: Path) -> None:
    write_float_picture(tmp_path / "a.tif", FLOATS)
    with Image.open(tmp_path / "a.tif") as image:
        profile = ImageCms.ImageCmsProfile(BytesIO(image.info["icc_profile"]))
        assert "sRGB" in ImageCms.getProfileDescription(profile)
        tags = image.getexif()
    # No software, no time, no description: 305, 306, 270.
    assert not {305, 306, 270} & set(tags)


def test_equal_floats_give_equal_bytes(tmp_path: Path) -> None:
    write_float_picture(tmp_path / "a.tif", FLOATS)
    encode.srgb_profile.cache_clear()
    time.sleep(1.05)  # LittleCMS notes the second in which it makes a profile
    write_float_picture(tmp_path / "b.tif", FLOATS)
    assert (tmp_path / "a.tif").read_bytes() == (tmp_path / "b.tif").read_bytes()


def test_other_formats_have_8_bits(tmp_path: Path) -> None:
    floats = FLOATS.astype(np.float64) * 1.2 - 0.1
    write_float_picture(tmp_path / "a.png", floats)
    expected = np.rint(np.clip(floats, 0, 1) * 255)
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").rgb, expected)
    write_float_picture(tmp_path / "a.jpg", FLOATS)
    rounded = Picture(rgb=np.rint(FLOATS.astype(np.float64) * 255).astype(np.uint8))
    write_picture(tmp_path / "b.jpg", rounded, quality=95)
    assert (tmp_path / "a.jpg").read_bytes() == (tmp_path / "b.jpg").read_bytes()


def test_eight_bits_survive_the_way_through_floats(tmp_path: Path) -> None:
    write_float_picture(tmp_path / "a.png", NOISE.rgb / np.float32(255))
    np.testing.assert_array_equal(read_picture(tmp_path / "a.png").rgb, NOISE.rgb)


def test_floats_that_are_refused(tmp_path: Path) -> None:
    broken = FLOATS.copy()
    broken[3, 4, 1], broken[5, 5, 0] = np.nan, np.inf
    for name in ("a.tif", "a.png"):
        with pytest.raises(PictureError, match=f"{name}: cannot be written: 2 values are not fin"):
            write_float_picture(tmp_path / name, broken)
    with pytest.raises(PictureError, match=r"none of \.png, .*\.webp, \.tif, \.tiff"):
        write_float_picture(tmp_path / "a.gif", FLOATS)
    with pytest.raises(PictureError, match="0 x 5 pixels"):
        write_float_picture(tmp_path / "a.tif", np.zeros((5, 0, 3), np.float32))
    (tmp_path / "b.png").mkdir()
    with pytest.raises(PictureError, match=r"is a directory$"):
        write_float_picture(tmp_path / "b.png", FLOATS)
    for array in (NOISE.rgb, FLOATS[..., 0], FLOATS[..., :2]):
        with pytest.raises(ValueError, match=r"must be \(H, W, 3\) floating point"):
            write_float_picture(tmp_path / "a.png", array)  # type: ignore[arg-type]


def test_full_disk_keeps_the_old_tiff(small_disk: Path) -> None:
    write_float_picture(small_disk / "a.tif", FLOATS)
    with pytest.raises(PictureError, match="cannot be written: no space left"):
        write_float_picture(small_disk / "a.tif", RNG.random((200, 200, 3), dtype=np.float32))
    assert tifffile.imread(small_disk / "a.tif").shape == FLOATS.shape


def test_floats_are_rounded_and_clipped() -> None:
    values = np.array([-1, 0, 0.49 / 255, 0.51 / 255, 0.5, 254.4 / 255, 1, 7], np.float32)
    assert to_uint8(values).tolist() == [0, 0, 0, 1, 128, 254, 255, 255]
    assert to_uint8(NOISE.rgb / 255).tolist() == NOISE.rgb.tolist()
