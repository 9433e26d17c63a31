import io
import logging
import os
import struct
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageCms, ImageFile

from impasto.data.decode import Picture, read_picture, read_size
from impasto.options.errors import PictureError

Bytes = NDArray[np.uint8]
RNG = np.random.default_rng(5)
RGB = RNG.integers(0, 256, (3, 5, 3), dtype=np.uint8)
WIDE = RNG.integers(0, 65536, (6, 7, 4), dtype=np.uint16)
# The values at which rounding v / 257 turns, where keeping the high byte is wrong by one.
WIDE[0, :, 0] = [0, 128, 129, 385, 386, 65406, 65535]
PNG_START = b"\x89PNG\r\n\x1a\n"


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(
    rows: list[bytes], width: int, bits: int, kind: int, before: bytes = b"", after: bytes = b""
) -> bytes:
    """A PNG written by the letter of the specification, without Pillow."""
    header = struct.pack(">IIBBBBB", width, len(rows), bits, kind, 0, 0, 0)
    data = chunk(b"IDAT", zlib.compress(b"".join(b"\0" + row for row in rows)))
    return PNG_START + chunk(b"IHDR", header) + before + data + after + chunk(b"IEND", b"")


def wide_png(array: NDArray[np.uint16], kind: int, before: bytes = b"") -> bytes:
    return png([row.astype(">u2").tobytes() for row in array], array.shape[1], 16, kind, before)


def saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(array: NDArray[Any], **options: Any) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, array, metadata=None, **options)
    return file.getvalue()


def read(folder: Path, data: bytes, name: str = "picture", **options: Any) -> Picture:
    path = folder / name
    path.write_bytes(data)
    picture = read_picture(path, **options)
    assert read_size(path) == (picture.width, picture.height)
    for array in (picture.rgb, picture.alpha):
        assert array is None or (array.dtype == np.uint8 and array.flags.c_contiguous)
    return picture


def to_8_bits(array: NDArray[Any]) -> NDArray[np.float64]:
    return np.rint(array / 257.0)


def gray3(array: NDArray[Any]) -> NDArray[Any]:
    return np.repeat(array[..., None], 3, axis=-1)


def check(picture: Picture, rgb: NDArray[Any], alpha: NDArray[Any] | None, within: int = 0) -> None:
    assert picture.rgb.shape == rgb.shape
    assert np.abs(picture.rgb.astype(int) - rgb).max() <= within
    assert (picture.alpha is None) == (alpha is None)
    if alpha is not None:
        np.testing.assert_array_equal(picture.alpha, alpha)


def srgb(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    """The transfer curve of IEC 61966-2-1, in 0..255."""
    curve = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return 255 * curve


class TestDepth:
    def test_wide_png(self, tmp_path: Path) -> None:
        eight = to_8_bits(WIDE)
        check(read(tmp_path, wide_png(WIDE, 6)), eight[..., :3], eight[..., 3])
        check(read(tmp_path, wide_png(WIDE[..., :3], 2)), eight[..., :3], None)
        check(read(tmp_path, wide_png(WIDE[..., :2], 4)), gray3(eight[..., 0]), eight[..., 1])
        check(read(tmp_path, wide_png(WIDE[..., 0], 0)), gray3(eight[..., 0]), None)

    @pytest.mark.parametrize("byteorder", ["<", ">"])
    @pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}])
    def test_wide_tiff(self, tmp_path: Path, byteorder: str, options: dict[str, Any]) -> None:
        def written(array: NDArray[np.uint16], photometric: str, *extra: str) -> Picture:
            data = tiff(
                array,
                byteorder=byteorder,
                photometric=photometric,
                extrasamples=extra or None,
                **options,
            )
            return read(tmp_path, data)

        eight = to_8_bits(WIDE)
        check(written(WIDE[..., :3], "rgb"), eight[..., :3], None)
        check(written(WIDE, "rgb", "unassalpha"), eight[..., :3], eight[..., 3])
        check(written(WIDE, "rgb", "unspecified"), eight[..., :3], None)
        check(written(WIDE[..., 0], "minisblack"), gray3(eight[..., 0]), None)
        check(written(65535 - WIDE, "separated"), eight[..., :3] * eight[..., 3:] / 255, None, 1)

    def test_alpha_multiplied_in(self, tmp_path: Path) -> None:
        alpha = WIDE[..., 3:] | 0x4000  # not so small that rounding shows
        stored = np.concatenate([WIDE[..., :3] * (alpha / 65535), alpha], axis=-1)
        options = {"photometric": "rgb", "extrasamples": ["assocalpha"]}
        expected = to_8_bits(WIDE)[..., :3]
        wide = read(tmp_path, tiff(np.rint(stored).astype(np.uint16), **options))
        check(wide, expected, to_8_bits(alpha)[..., 0], within=1)
        narrow = read(tmp_path, tiff(np.rint(stored / 257).astype(np.uint8), **options))
        check(narrow, expected, to_8_bits(alpha)[..., 0], within=4)

    def test_white_is_zero(self, tmp_path: Path) -> None:
        data = tiff(WIDE[..., 0], byteorder="<", photometric="miniswhite")
        check(read(tmp_path, data), gray3(255 - to_8_bits(WIDE[..., 0])), None)

    def test_whole_numbers_of_32_bits(self, tmp_path: Path) -> None:
        values = WIDE[..., 0].astype(np.int32)
        check(read(tmp_path, tiff(values)), gray3(to_8_bits(WIDE[..., 0])), None)
        for wrong in (-1, 65536):
            values[1, 1] = wrong
            with pytest.raises(PictureError, match=f"{wrong}.*expected 0 to 65535; save it"):
                read(tmp_path, tiff(values))

    def test_floats(self, tmp_path: Path) -> None:
        values = np.linspace(0, 1, 42, dtype=np.float32).reshape(6, 7)
        check(read(tmp_path, tiff(values)), gray3(np.rint(values * 255)), None)
        for wrong in (-0.01, 1.01, np.nan, np.inf):
            values[1, 1] = wrong
            with pytest.raises(PictureError, match="expected 0 to 1; save it"):
                read(tmp_path, tiff(values))

    def test_12_bits(self, tmp_path: Path) -> None:
        tags = {256: 2, 257: 1, 258: 12, 259: 1, 262: 1, 273: 122, 277: 1, 278: 1, 279: 3}
        entries = b"".join(struct.pack("<HHII", tag, 3, 1, tags[tag]) for tag in sorted(tags))
        data = b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4)
        assert len(data) == 122
        picture = read(tmp_path, data + bytes([0xFF, 0xF8, 0x00]))  # 4095, 2048
        check(picture, np.array([[[255] * 3, [128] * 3]]), None)

    def test_wide_planes_are_refused(self, tmp_path: Path) -> None:
        planes = np.moveaxis(WIDE[..., :3], -1, 0)
        for compression in (None, "zlib"):
            data = tiff(planes, photometric="rgb", planarconfig="separate", compression=compression)
            with pytest.raises(PictureError, match="16-bit TIFF in separate planes"):
                read(tmp_path, data)
        narrow = tiff((planes >> 8).astype(np.uint8), photometric="rgb", planarconfig="separate")
        check(read(tmp_path, narrow), WIDE[..., :3] >> 8, None)


class TestTransparency:
    def test_palette(self, tmp_path: Path) -> None:
        colors = bytes([10, 20, 30, 40, 50, 60, 70, 80, 90])
        index = np.array([[0, 1, 2], [2, 1, 0]])
        rgb = np.frombuffer(colors, np.uint8).reshape(3, 3)[index]
        rows = [bytes(row) for row in index.tolist()]
        plte = chunk(b"PLTE", colors)
        check(read(tmp_path, png(rows, 3, 8, 3, plte)), rgb, None)
        for entries in ([255, 0], [0, 7, 200], [255, 255, 255]):  # Pillow: an int, and bytes
            full = np.array([*entries, 255])[:3]
            data = png(rows, 3, 8, 3, plte + chunk(b"tRNS", bytes(entries)))
            found = read(tmp_path, data)
            check(found, rgb, full[index] if min(entries) < 255 else found.alpha)

    @pytest.mark.parametrize("bits", [1, 2, 4, 8])
    def test_gray_key_counts_in_the_steps_of_the_file(self, tmp_path: Path, bits: int) -> None:
        steps = np.arange(8) % 2**bits
        packed = np.packbits(np.unpackbits(steps.astype(np.uint8)[:, None], axis=1)[:, -bits:])
        gray = steps * (255 // (2**bits - 1))
        data = png([packed.tobytes()], 8, bits, 0, chunk(b"tRNS", b"\0\1"))
        check(read(tmp_path, data), gray3(gray[None]), np.where(steps == 1, 0, 255)[None])

    def test_color_key(self, tmp_path: Path) -> None:
        key = RGB[1, 2].astype(">u2").tobytes()
        data = png([row.tobytes() for row in RGB], 5, 8, 2, chunk(b"tRNS", key))
        alpha = np.full((3, 5), 255)
        alpha[1, 2] = 0
        check(read(tmp_path, data), RGB, alpha)

    def test_wide_key_is_compared_in_16_bits(self, tmp_path: Path) -> None:
        array = WIDE[..., :3].copy()
        array[3, 4] = array[2, 2] ^ 1  # the same in 8 bits
        alpha = np.full((6, 7), 255)
        alpha[2, 2] = 0
        data = wide_png(array, 2, chunk(b"tRNS", array[2, 2].astype(">u2").tobytes()))
        check(read(tmp_path, data), to_8_bits(array), alpha)
        gray = array[..., 1]
        data = wide_png(gray, 0, chunk(b"tRNS", int(gray[2, 2]).to_bytes(2, "big")))
        check(read(tmp_path, data), gray3(to_8_bits(gray)), alpha)

    def test_channels(self, tmp_path: Path) -> None:
        rgba = np.dstack([RGB, RGB[..., 0]])
        for kind in ("PNG", "TIFF"):
            check(read(tmp_path, saved(Image.fromarray(rgba), kind)), RGB, RGB[..., 0])
        webp = saved(Image.fromarray(rgba), "WEBP", lossless=True, exact=True)
        check(read(tmp_path, webp), RGB, RGB[..., 0])
        gray = Image.fromarray(np.ascontiguousarray(RGB[..., :2]), "LA")
        check(read(tmp_path, saved(gray, "PNG")), gray3(RGB[..., 0]), RGB[..., 1])


class TestFirstFrame:
    @pytest.mark.parametrize(
        ("kind", "options"),
        [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})],
    )
    def test_of_many(self, tmp_path: Path, kind: str, options: dict[str, Any]) -> None:
        first, second = Image.new("RGB", (6, 4), (200, 30, 40)), Image.new("RGB", (6, 4), "blue")
        first.putpixel((1, 2), (0, 255, 0))
        data = saved(first, kind, save_all=True, append_images=[second], **options)
        with Image.open(io.BytesIO(data)) as image:
            assert getattr(image, "n_frames", 1) == 2
        check(read(tmp_path, data), np.asarray(first), None)

    def test_transparent_gif(self, tmp_path: Path) -> None:
        image = Image.new("P", (3, 1))
        image.putpalette([10, 20, 30, 40, 50, 60])
        image.putpixel((1, 0), 1)
        data = saved(image, "GIF", transparency=1)
        rgb = np.array([[[10, 20, 30], [40, 50, 60], [10, 20, 30]]])
        check(read(tmp_path, data), rgb, np.array([[255, 0, 255]]))


# Which side of the scene the first stored row and the first stored column show (EXIF 2.32, 4.6.4).
SIDES = {
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def upright(stored: Bytes, orientation: int) -> Bytes:
    row_side, column_side = SIDES[orientation]
    height, width = stored.shape[:2]
    lying = row_side in ("left", "right")
    scene = np.zeros((width, height, 3) if lying else stored.shape, np.uint8)
    for row in range(height):
        for column in range(width):
            down = row if row_side in ("top", "left") else height - 1 - row
            along = column if column_side in ("top", "left") else width - 1 - column
            scene[(along, down) if lying else (down, along)] = stored[row, column]
    return scene


def exif(orientation: int, order: str = "<", kind: int = 3) -> bytes:
    value = struct.pack(order + ("H" if kind == 3 else "I"), orientation).ljust(4, b"\0")
    tags = struct.pack(order + "HHHI", 2, 0x010E, 2, 4) + b"abc\0"
    tags += struct.pack(order + "HHI", 0x0112, kind, 1) + value + bytes(4)
    return (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8) + tags


class TestOrientation:
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_every_format(self, tmp_path: Path, orientation: int) -> None:
        image, block = Image.fromarray(RGB), exif(orientation)
        expected = upright(RGB, orientation)
        rows = [row.tobytes() for row in RGB]
        tag = chunk(b"eXIf", exif(orientation, ">", 4))
        check(read(tmp_path, png(rows, 5, 8, 2, before=tag)), expected, None)
        check(read(tmp_path, png(rows, 5, 8, 2, after=tag)), expected, None)
        check(read(tmp_path, saved(image, "WEBP", lossless=True, exif=block)), expected, None)
        for compression in (None, "tiff_deflate"):
            data = saved(image, "TIFF", tiffinfo={274: orientation}, compression=compression)
            check(read(tmp_path, data), expected, None)
        large = np.kron(RGB, np.ones((16, 16, 1), np.uint8))  # JPEG keeps flat squares
        data = saved(
            Image.fromarray(large), "JPEG", quality=100, subsampling=0, exif=b"Exif\0\0" + block
        )
        check(read(tmp_path, data), upright(large, orientation), None, within=3)

    def test_alpha_and_depth_turn_too(self, tmp_path: Path) -> None:
        data = wide_png(WIDE, 6, chunk(b"eXIf", exif(6)))
        eight = to_8_bits(WIDE).astype(np.uint8)
        alpha = upright(gray3(eight[..., 3]), 6)[..., 0]
        check(read(tmp_path, data), upright(eight[..., :3], 6), alpha)

    @pytest.mark.parametrize(
        "block", [exif(0), exif(9), b"II*\0", b"xx" + exif(6)[2:], exif(6)[:14], b"\xff" * 40]
    )
    def test_damaged_block_is_ignored(self, tmp_path: Path, block: bytes) -> None:
        data = saved(Image.fromarray(RGB), "WEBP", lossless=True, exif=block)
        check(read(tmp_path, data), RGB, None)
        jpeg = saved(Image.new("RGB", (8, 16), (9, 9, 9)), "JPEG", exif=b"Exif\0\0" + block)
        assert read(tmp_path, jpeg).rgb.shape == (16, 8, 3)


def icc(space: bytes, kind: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A version 2 ICC profile (ICC.1:2001-04, section 6)."""
    white = struct.pack(">3i", 63190, 65536, 54061)  # D50
    tags = {b"wtpt": b"XYZ \0\0\0\0" + white, b"cprt": b"text\0\0\0\0none\0\0\0\0", **tags}
    table, data, start = b"", b"", 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content.ljust(-(-len(content) // 4) * 4, b"\0")
    size = struct.pack(">I", start + len(data))
    head = size + bytes(4) + b"\x02\x40\0\0" + kind + space + pcs + bytes(12) + b"acsp"
    return (
        (head + bytes(28) + white).ljust(128, b"\0") + struct.pack(">I", len(tags)) + table + data
    )


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
# Red and blue primaries exchanged: the picture must come out with red and blue exchanged.
SWAPPED = (
    SRGB.replace(b"rXYZ", b"????", 1).replace(b"bXYZ", b"rXYZ", 1).replace(b"????", b"bXYZ", 1)
)
# A gray scale that is linear in light.
LINEAR_GRAY = icc(b"GRAY", b"mntr", b"XYZ ", {b"kTRC": b"curv" + bytes(8)})
# Ink in which only black shows: L* = 100 - 100 K, whatever C, M and Y (lut8Type, 6.5.8).
INK = icc(
    b"CMYK",
    b"prtr",
    b"Lab ",
    {
        b"A2B0": b"mft1\0\0\0\0\x04\x03\x02\0"
        + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
        + bytes(range(256)) * 4
        + bytes([255, 128, 128, 0, 128, 128]) * 8
        + bytes(range(256)) * 3
    },
)


class TestColor:
    def test_cmyk_jpeg_by_adobe_and_not(self, tmp_path: Path) -> None:
        ink = (200, 40, 90, 60)
        data = saved(Image.new("CMYK", (16, 16), ink), "JPEG", quality=100)
        expected = np.array([(255 - c) * (255 - ink[3]) / 255 for c in ink[:3]])
        check(read(tmp_path, data), np.broadcast_to(expected, (16, 16, 3)), None, 3)
        start = data.index(b"\xff\xee")
        plain = (
            data[:start] + data[start + 2 + int.from_bytes(data[start + 2 : start + 4], "big") :]
        )
        assert b"Adobe" not in plain
        inverse = np.array([c * ink[3] / 255 for c in ink[:3]])  # the stored bytes, unturned
        check(read(tmp_path, plain), np.broadcast_to(inverse, (16, 16, 3)), None, 3)

    def test_cmyk_tiff(self, tmp_path: Path) -> None:
        cmyk = np.dstack([RGB, RGB[..., 1]])
        expected = (255.0 - RGB) * (255.0 - RGB[..., 1:2]) / 255
        check(read(tmp_path, tiff(cmyk, photometric="separated")), expected, None, 1)

    def test_plain_modes(self, tmp_path: Path) -> None:
        image = Image.fromarray(RGB)
        check(read(tmp_path, saved(image, "BMP")), RGB, None)
        ycbcr = saved(image.convert("YCbCr"), "TIFF")
        check(read(tmp_path, ycbcr), RGB, None, 3)
        one = RGB[..., 0] > 127
        for kind in ("PNG", "TIFF", "BMP"):
            check(read(tmp_path, saved(Image.fromarray(one), kind)), gray3(one * 255), None)
        for kind in ("PNG", "TIFF", "BMP", "GIF"):
            gray = Image.fromarray(np.ascontiguousarray(RGB[..., 0]))
            check(read(tmp_path, saved(gray, kind)), gray3(RGB[..., 0]), None)

    def test_lab(self, tmp_path: Path) -> None:
        lab = np.array([[[50, 0, 0], [100, 0, 0], [60, 40, 20], [40, -20, -30], [70, -30, 40]]])
        stored = np.stack([np.rint(lab[..., 0] * 2.55), lab[..., 1] & 255, lab[..., 2] & 255], -1)
        # CIE 15, D50, then the Bradford-adapted matrix to linear sRGB by Lindbloom.
        f = (stored[..., 0] / 2.55 + 16) / 116
        f = np.stack([f + lab[..., 1] / 500, f, f - lab[..., 2] / 200], -1)
        xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 108 / 841) * [0.96422, 1, 0.82521]
        matrix = np.array(
            [
                [3.1338561, -1.6168667, -0.4906146],
                [-0.9787684, 1.9161415, 0.0334540],
                [0.0719453, -0.2289914, 1.4052427],
            ]
        )
        expected = srgb(np.clip(xyz @ matrix.T, 0, 1))
        data = tiff(stored.astype(np.uint8), photometric="cielab")
        check(read(tmp_path, data), expected, None, 2)

    def test_profile_with_other_primaries(self, tmp_path: Path) -> None:
        rgb = RNG.integers(0, 256, (20, 20, 3), dtype=np.uint8)
        rgba = np.dstack([rgb, rgb[..., 0]])
        for kind in ("PNG", "TIFF"):
            picture = read(tmp_path, saved(Image.fromarray(rgba), kind, icc_profile=SWAPPED))
            check(picture, rgb[..., ::-1], rgb[..., 0], 1)
        palette = Image.fromarray(rgb).quantize(200)
        picture = read(tmp_path, saved(palette, "PNG", icc_profile=SWAPPED))
        check(picture, np.asarray(palette.convert("RGB"))[..., ::-1], None, 1)
        wide = rgb * np.uint16(257)
        iccp = chunk(b"iCCP", b"x\0\0" + zlib.compress(SWAPPED))
        check(read(tmp_path, wide_png(wide, 2, iccp)), rgb[..., ::-1], None, 1)

    def test_srgb_profile_changes_nothing(self, tmp_path: Path) -> None:
        rgb = RNG.integers(0, 256, (99, 99, 3), dtype=np.uint8)
        check(read(tmp_path, saved(Image.fromarray(rgb), "PNG", icc_profile=SRGB)), rgb, None)

    def test_gray_profile(self, tmp_path: Path) -> None:
        ramp = np.arange(256, dtype=np.uint8)[None]
        data = saved(Image.fromarray(ramp), "PNG", icc_profile=LINEAR_GRAY)
        check(read(tmp_path, data), gray3(srgb(ramp / 255)), None, 2)

    def test_ink_profile(self, tmp_path: Path) -> None:
        black = np.arange(0, 256, 5)
        ink = np.stack([black[::-1], black // 2, black * 0 + 77, black], -1)[None].astype(np.uint8)
        lightness = 100 - black / 2.55
        light = np.where(lightness > 8, ((lightness + 16) / 116) ** 3, lightness * 27 / 24389)
        data = saved(Image.fromarray(ink, "CMYK"), "TIFF", icc_profile=INK)
        check(read(tmp_path, data), gray3(srgb(light)[None]), None, 2)

    @pytest.mark.parametrize(
        ("profile", "reason"),
        [
            (INK, "it is for CMYK, the picture is RGB"),
            (SRGB[:200], ""),
            (b"not a profile", ""),
            (SRGB.replace(b"rXYZ", b"xxxx"), ""),
        ],
    )
    def test_unusable_profile_is_reported_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, profile: bytes, reason: str
    ) -> None:
        data = saved(Image.fromarray(RGB), "PNG", icc_profile=profile)
        with caplog.at_level(logging.WARNING):
            for _ in range(3):
                check(read(tmp_path, data), RGB, None)
        (record,) = caplog.records
        assert f"{tmp_path / 'picture'}: read without its color profile: " in record.message
        assert record.message.endswith(reason)


class TestLimits:
    def test_bomb_is_refused_before_decoding(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "bomb.png"
        path.write_bytes(
            PNG_START + chunk(b"IHDR", struct.pack(">IIBBBBB", 20000, 10000, 8, 2, 0, 0, 0))
        )
        with path.open("ab") as file:
            file.write(chunk(b"IDAT", b""))

        def fail(_: object) -> None:
            raise AssertionError("decoded")

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        expected = "20000 x 10000 = 200000000 pixels, more than the limit of 178956970"
        with pytest.raises(PictureError, match=expected):
            read_picture(path)
        assert read_size(path) == (20000, 10000)

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP"])
    def test_limit_is_ours_and_exact(
        self, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # 15 pixels lie between the count at which Pillow warns, an error here, and the double, at
        # which it refuses WebP whatever is done.
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 8 if kind == "WEBP" else 1)
        data = saved(Image.fromarray(RGB), kind)
        assert read(tmp_path, data, max_pixels=15).rgb.shape == (3, 5, 3)
        with pytest.raises(PictureError, match="5 x 3 = 15 pixels, more than the limit of 14"):
            read(tmp_path, data, max_pixels=14)

    def test_webp_beyond_the_limit_of_pillow(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 7)
        with pytest.raises(PictureError, match=r"15 pixels\) exceeds limit of 14"):
            read(tmp_path, saved(Image.fromarray(RGB), "WEBP"))


def as_nobody(action: Callable[[], Any]) -> None:
    """Root passes every permission check: be an ordinary user for a while."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        action()
    finally:
        os.seteuid(user)


class TestRefusals:
    @pytest.mark.parametrize("function", [read_picture, read_size])
    def test_no_picture(self, tmp_path: Path, function: Callable[[Path], Any]) -> None:
        def reason(name: str) -> str:
            with pytest.raises(PictureError) as caught:
                function(tmp_path / name)
            assert caught.value.path == tmp_path / name
            assert str(caught.value) == f"{tmp_path / name}: {caught.value.reason}"
            return caught.value.reason

        (tmp_path / "empty.png").touch()
        (tmp_path / "notes.jpg").write_text("Dear diary")
        (tmp_path / "folder.png").mkdir()
        os.mkfifo(tmp_path / "pipe.png")
        assert reason("empty.png") == "is empty"
        assert reason("notes.jpg") == (
            "is not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, HEIC or PPM picture"
        )
        assert reason("folder.png") == "is a folder"
        assert reason("pipe.png") == "is not a regular file"
        assert reason("missing.png") == "cannot be opened: no such file or directory"
        assert reason("a\0b.png") == "cannot be opened: embedded null byte"
        assert reason("notes.jpg/a.png") == "cannot be opened: not a directory"

    def test_formats_that_start_programs_are_not_tried(self, tmp_path: Path) -> None:
        data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\n"
        with pytest.raises(PictureError, match="is a PostScript file; expected"):
            read(tmp_path, data, "a.png")

    @pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs POSIX users")
    def test_permission(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            path = Path(name) / "a.png"
            path.write_bytes(saved(Image.fromarray(RGB), "PNG"))
            Path(name).chmod(0o755)
            path.chmod(0)
            with pytest.raises(PictureError, match="cannot be opened: permission denied"):
                as_nobody(lambda: read_picture(path))
            path.chmod(0o644)
            as_nobody(lambda: read_picture(path))

    def test_memory(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(_: object) -> None:
            raise MemoryError

        monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
        with pytest.raises(PictureError, match="does not fit in memory"):
            read(tmp_path, saved(Image.fromarray(RGB), "PNG"))


def _heic(image: Image.Image) -> bytes:
    file = io.BytesIO()
    pillow_heif.from_pillow(image).save(file, exif=b"Exif\0\0" + exif(6))
    return file.getvalue()


FADE = np.kron(RNG.integers(0, 256, (4, 5, 4), dtype=np.uint8), np.ones((6, 6, 1), np.uint8))
COLOR = Image.fromarray(np.ascontiguousarray(FADE[..., :3]))
FILES = {
    "jpeg": saved(COLOR, "JPEG", exif=b"Exif\0\0" + exif(6), icc_profile=SWAPPED),
    "progressive": saved(COLOR, "JPEG", progressive=True),
    "cmyk": saved(COLOR.convert("CMYK"), "JPEG"),
    "png": saved(Image.fromarray(FADE), "PNG", icc_profile=SWAPPED, exif=exif(3)),
    "png-wide": wide_png(WIDE, 6),
    "png-palette": saved(COLOR.quantize(9), "PNG", transparency=b"\0\7\xff"),
    "apng": saved(COLOR, "PNG", save_all=True, append_images=[COLOR.rotate(90)]),
    "webp": saved(Image.fromarray(FADE), "WEBP", exif=exif(5)),
    "webp-lossless": saved(COLOR, "WEBP", lossless=True),
    "webp-animated": saved(COLOR, "WEBP", save_all=True, append_images=[COLOR.rotate(90)]),
    "bmp": saved(COLOR, "BMP"),
    "bmp-palette": saved(COLOR.quantize(9), "BMP"),
    "gif": saved(COLOR, "GIF", save_all=True, append_images=[COLOR.rotate(90)]),
    "tiff": saved(Image.fromarray(FADE), "TIFF", tiffinfo={274: 7}, icc_profile=SWAPPED),
    "tiff-deflate": saved(COLOR, "TIFF", compression="tiff_deflate"),
    "tiff-jpeg": saved(COLOR, "TIFF", compression="jpeg"),
    "tiff-wide": tiff(WIDE, photometric="rgb", extrasamples=["assocalpha"], compression="zlib"),
    "tiff-grey": tiff(WIDE[..., 0], photometric="miniswhite"),
    "tiff-float": tiff((WIDE[..., 0] / 65535).astype(np.float32)),
    "tiff-float-color": tiff((WIDE[..., :3] / 65535).astype(np.float32), photometric="rgb"),
    "avif": saved(Image.fromarray(FADE), "AVIF", exif=exif(6)),
    "heic": _heic(Image.fromarray(FADE)),
    "ppm": saved(COLOR, "PPM"),
    "pgm-wide": b"P5 7 6 4095\n" + (WIDE[..., 0] >> 4).astype(">u2").tobytes(),
    "bigtiff": tiff(FADE[..., :3], bigtiff=True, photometric="rgb"),
}


def was_refused(function: Callable[[], Any], path: Path) -> bool:
    try:
        function()
    except PictureError as caught:
        error = caught
    else:
        return False
    assert error.path == path
    assert 0 < len(error.reason) < 200
    assert "\n" not in error.reason
    return True


class TestDamage:
    @pytest.mark.parametrize("name", FILES)
    def test_truncated_or_flipped(self, tmp_path: Path, name: str) -> None:
        whole = FILES[name]
        read(tmp_path, whole)
        generator = np.random.default_rng(zlib.crc32(name.encode()))
        path, refused = tmp_path / "damaged", 0
        # Half of the positions in the first 200 bytes, where the structure is.
        limits = [len(whole), min(200, len(whole))] * 100
        for turn, position in enumerate(generator.integers(0, limits)):
            damaged = bytearray(whole)
            if turn % 4 < 2:
                del damaged[position:]
            else:
                damaged[position] ^= 1 << int(generator.integers(8))
            path.write_bytes(damaged)
            for function in (lambda: read_picture(path, max_pixels=10**6), lambda: read_size(path)):
                refused += was_refused(function, path)
        assert refused > 50

    def test_every_truncation_of_a_jpeg_is_refused(self, tmp_path: Path) -> None:
        whole = FILES["progressive"]
        for length in range(len(whole) - 2):
            with pytest.raises(PictureError):
                read(tmp_path, whole[:length])


def test_threads(tmp_path: Path) -> None:
    paths = []
    for name, data in FILES.items():
        paths.append(tmp_path / name)
        paths[-1].write_bytes(data)
    alone = [read_picture(path) for path in paths]
    with ThreadPoolExecutor(8) as pool:
        for one, other in zip(alone * 8, pool.map(read_picture, paths * 8), strict=True):
            check(other, one.rgb, one.alpha)


class TestPicture:
    def test_arrays_are_made_contiguous_and_kept(self) -> None:
        turned = Picture(rgb=RGB[::-1, ::-1], alpha=RGB[::-1, ::-1, 0])
        assert turned.rgb.flags.c_contiguous
        check(turned, RGB[::-1, ::-1], RGB[::-1, ::-1, 0])
        assert (turned.height, turned.width) == (3, 5)
        assert Picture(rgb=RGB).rgb is RGB
        with pytest.raises(FrozenInstanceError):
            turned.rgb = RGB  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("rgb", "alpha", "message"),
        [
            (RGB[..., 0], None, r"rgb must be \(3, 5, 3\) uint8, got \(3, 5\) uint8"),
            (RGB[..., :2], None, r"got \(3, 5, 2\) uint8"),
            (RGB / 255, None, r"got \(3, 5, 3\) float64"),
            (RGB, RGB, r"alpha must be \(3, 5\) uint8, got \(3, 5, 3\) uint8"),
            (RGB, RGB[..., 0] > 3, r"alpha must be \(3, 5\) uint8, got \(3, 5\) bool"),
            (RGB, RGB[:2, :, 0], r"alpha must be \(3, 5\) uint8, got \(2, 5\) uint8"),
        ],
    )
    def test_wrong_arrays(self, rgb: Bytes, alpha: Bytes | None, message: str) -> None:
        with pytest.raises(ValueError, match=message):
            Picture(rgb=rgb, alpha=alpha)


def test_starts_without_torch() -> None:
    code = "import sys, impasto.data.encode, impasto.data.files; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
