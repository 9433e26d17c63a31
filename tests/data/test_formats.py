"""Formats are told by content, opened, or refused in words; nothing is said without a file name."""

import io
import logging
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from impasto.data.decode import Picture, read_picture, read_size
from impasto.data.formats import UnreadableError, recognize
from impasto.options.errors import PictureError
from tests.data.test_decode import (
    PNG_START,
    RGB,
    SRGB,
    SWAPPED,
    WIDE,
    check,
    chunk,
    exif,
    gray3,
    png,
    read,
    saved,
    tiff,
    to_8_bits,
    upright,
    wide_png,
)

# Flat squares, which lossy formats keep.
LARGE = np.kron(RGB, np.ones((32, 32, 1), np.uint8))
COARSE = upright(LARGE, 1)
ROWS = [row.tobytes() for row in RGB]


def refusal(folder: Path, data: bytes) -> str:
    """Return the reason of a refusal, the same for the pixels and, where it says it, the size."""
    path = folder / "picture"
    path.write_bytes(data)
    with pytest.raises(PictureError) as caught:
        read_picture(path)
    return caught.value.reason


def avif(image: Image.Image, **options: Any) -> bytes:
    return saved(image, "AVIF", quality=100, subsampling="4:4:4", **options)


def heic(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    heif = pillow_heif.from_pillow(image)
    heif.save(file, quality=-1, chroma=444, matrix_coefficients=0, **options)
    return file.getvalue()


WRITERS: dict[str, Callable[..., bytes]] = {"AVIF": avif, "HEIC": heic}


@pytest.mark.parametrize("kind", WRITERS)
class TestMedia:
    def test_color_and_size(self, tmp_path: Path, kind: str) -> None:
        for name in ("a.avif", "a.heic", "a.jpg"):  # a phone's picture that was given another name
            check(read(tmp_path, WRITERS[kind](Image.fromarray(LARGE)), name), LARGE, None, 4)
        odd = np.ascontiguousarray(LARGE[:37, :53])
        check(read(tmp_path, WRITERS[kind](Image.fromarray(odd))), odd, None, 4)

    def test_alpha(self, tmp_path: Path, kind: str) -> None:
        alpha = LARGE[..., 1]
        picture = read(tmp_path, WRITERS[kind](Image.fromarray(np.dstack([LARGE, alpha]))))
        assert picture.alpha is not None
        assert np.abs(picture.alpha.astype(int) - alpha).max() <= 3
        assert np.abs(picture.rgb.astype(int) - LARGE)[alpha > 20].max() <= 4

    def test_profile(self, tmp_path: Path, kind: str) -> None:
        image = Image.fromarray(LARGE)
        if kind == "HEIC":
            image.info["icc_profile"] = SWAPPED
            data = heic(image)
        else:
            data = avif(image, icc_profile=SWAPPED)
        check(read(tmp_path, data), LARGE[..., ::-1], None, 4)

    def test_orientation(self, tmp_path: Path, kind: str) -> None:
        for orientation in range(1, 9):
            image = Image.fromarray(LARGE)
            if kind == "HEIC":
                data = heic(image, exif=b"Exif\0\0" + exif(orientation))
            else:
                data = avif(image, exif=exif(orientation))
            check(read(tmp_path, data), upright(LARGE, orientation), None, 4)

    def test_damage_of_the_exif_block_is_ignored(self, tmp_path: Path, kind: str) -> None:
        block = exif(1)  # Pillow writes another into AVIF, with the text of this one
        named = {"exif": block if kind == "AVIF" else b"Exif\0\0" + block}
        data = WRITERS[kind](Image.fromarray(LARGE), **named)
        start = max(data.rfind(b"II*\0"), data.rfind(b"MM\0*"))
        assert start > 0
        for at in range(start, start + 26):  # its head, one entry and its end
            damaged = bytearray(data)
            damaged[at] ^= 0x80
            check(read(tmp_path, bytes(damaged)), LARGE, None, 4)

    def test_damage_is_named(self, tmp_path: Path, kind: str) -> None:
        data = WRITERS[kind](Image.fromarray(LARGE))
        for length in (100, len(data) // 2, len(data) - 9):
            assert refusal(tmp_path, data[:length]).startswith(f"is not a readable {kind} file: ")

    def test_limit(self, tmp_path: Path, kind: str) -> None:
        data = WRITERS[kind](Image.fromarray(LARGE))
        with pytest.raises(PictureError, match="160 x 96 = 15360 pixels, more than the limit of 9"):
            read(tmp_path, data, max_pixels=9)


def test_heic_without_its_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = heic(Image.fromarray(LARGE))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    assert refusal(tmp_path, data) == (
        "is a HEIC picture, which needs the package pillow-heif: pip install pillow-heif"
    )
    read(tmp_path, avif(Image.fromarray(LARGE)))


def plain(magic: str, values: NDArray[Any], most: int) -> bytes:
    """A PNM in digits, by the letter of the specification."""
    height, width = values.shape[:2]
    limit = "" if magic == "P1" else f"{most}\n"
    digits = " ".join(map(str, values.ravel().tolist()))
    return f"{magic}\n# of a camera\n{width} {height}\n{limit}{digits}\n".encode()


class TestPnm:
    def test_color(self, tmp_path: Path) -> None:
        head = b"P6\n5 3\n255\n"
        check(read(tmp_path, head + RGB.tobytes()), RGB, None)
        check(read(tmp_path, plain("P3", RGB, 255)), RGB, None)
        wide = WIDE[..., :3]
        head = b"P6 7 6 65535\n"
        check(read(tmp_path, head + wide.astype(">u2").tobytes()), to_8_bits(wide), None)
        tenth = RGB // 26
        expected = np.rint(tenth * (255 / 9))
        check(read(tmp_path, b"P6 5 3 9\n" + tenth.tobytes()), expected, None)

    def test_gray(self, tmp_path: Path) -> None:
        gray = np.ascontiguousarray(RGB[..., 0])
        check(read(tmp_path, b"P5\n5 3\n255\n" + gray.tobytes()), gray3(gray), None)
        check(read(tmp_path, plain("P2", gray, 255)), gray3(gray), None)
        wide = WIDE[..., 0]
        data = b"P5 7 6 65535\n" + wide.astype(">u2").tobytes()
        check(read(tmp_path, data), gray3(to_8_bits(wide)), None)
        twelve = (wide >> 4).astype(">u2")  # the file says what is white
        data = b"P5 7 6 4095\n" + twelve.tobytes()
        check(read(tmp_path, data), gray3(np.rint(twelve * (255 / 4095))), None, 1)

    def test_black_and_white(self, tmp_path: Path) -> None:
        ink = RGB[..., 0] > 99
        white = gray3(np.where(ink, 0, 255))  # 1 is black
        check(read(tmp_path, plain("P1", ink.astype(int), 1)), white, None)
        check(read(tmp_path, b"P4\n5 3\n" + np.packbits(ink, axis=1).tobytes()), white, None)

    def test_cut_short(self, tmp_path: Path) -> None:
        reason = refusal(tmp_path, b"P6\n5 3\n255\n" + RGB.tobytes()[:-1])
        assert reason == (
            "is not a readable PPM file: it is cut short; was it copied or downloaded completely?"
        )


@pytest.mark.parametrize("masks", [(0xF800, 0x07E0, 0x001F), (0x7C00, 0x03E0, 0x001F)])
def test_bmp_of_16_bits_a_pixel(tmp_path: Path, masks: tuple[int, int, int]) -> None:
    pixels = WIDE[..., 0].astype("<u2")
    rows = np.pad(pixels, ((0, 0), (0, 1)))[::-1].tobytes()  # 4-byte rows, from the bottom up
    header = struct.pack("<IiiHHIIiiII", 40, 7, 6, 1, 16, 3, len(rows), 0, 0, 0, 0)
    header += struct.pack("<3I", *masks)
    data = struct.pack("<2sIHHI", b"BM", 14 + len(header) + len(rows), 0, 0, 14 + len(header))
    shares = [(pixels & mask) / mask for mask in masks]
    check(read(tmp_path, data + header + rows), 255 * np.dstack(shares), None, 1)


class TestPng:
    def test_long_comments(self, tmp_path: Path) -> None:
        long = zlib.compress(b"x" * 3_000_000)
        for text in (
            chunk(b"zTXt", b"Comment\0\0" + long),
            chunk(b"iTXt", b"Comment\0\1\0\0\0" + long),
            chunk(b"tEXt", b"Comment\0" + b"x" * 5_000_000),
        ):
            check(read(tmp_path, png(ROWS, 5, 8, 2, before=text)), RGB, None)
            check(read(tmp_path, png(ROWS, 5, 8, 2, after=text)), RGB, None)

    def test_wrong_checksum_of_what_may_be_left_out(self, tmp_path: Path) -> None:
        for name, content in (
            (b"tEXt", b"Author\0Monet"),
            (b"tRNS", RGB[0, 0].astype(">u2").tobytes()),
            (b"eXIf", exif(6)),
            (b"zzZz", b""),
        ):
            wrong = chunk(name, content)[:-1] + b"\0"
            check(read(tmp_path, png(ROWS, 5, 8, 2, before=wrong)), RGB, None)
            check(read(tmp_path, png(ROWS, 5, 8, 2, after=wrong)), RGB, None)

    def test_wrong_checksum_of_a_profile_is_told(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        iccp = chunk(b"iCCP", b"x\0\0" + zlib.compress(SWAPPED))[:-1] + b"\0"
        check(read(tmp_path, png(ROWS, 5, 8, 2, before=iccp)), RGB, None)
        assert caplog.messages == [
            f"{tmp_path / 'picture'}: read without its color profile: it is incomplete"
        ]

    def test_a_large_profile(self, tmp_path: Path) -> None:
        large = SWAPPED + bytes(3_000_000)
        large = struct.pack(">I", len(large)) + large[4:]
        iccp = chunk(b"iCCP", b"x\0\0" + zlib.compress(large))
        check(read(tmp_path, png(ROWS, 5, 8, 2, before=iccp)), RGB[..., ::-1], None, 1)

    def test_wrong_checksum_of_a_palette_is_damage(self, tmp_path: Path) -> None:
        wrong = chunk(b"PLTE", bytes(12))[:-1] + b"\0"
        reason = refusal(tmp_path, png([b"\0\1\2"], 3, 8, 3, before=wrong))
        assert reason.startswith("is not a readable PNG file: broken PNG file")

    def test_a_size_is_read_without_the_pixels(self, tmp_path: Path) -> None:
        head = chunk(b"IHDR", struct.pack(">IIBBBBB", 5, 3, 8, 2, 0, 0, 0))
        turned = chunk(b"eXIf", exif(6))
        (tmp_path / "a.png").write_bytes(PNG_START + head + chunk(b"IDAT", b"not pixels") + turned)
        assert read_size(tmp_path / "a.png") == (3, 5)

    def test_wide_with_a_comment(self, tmp_path: Path) -> None:
        data = wide_png(WIDE, 6, chunk(b"tEXt", b"a\0b")[:-1] + b"\0")
        check(read(tmp_path, data), to_8_bits(WIDE[..., :3]), to_8_bits(WIDE[..., 3]))


def patched(data: bytes, tag: int, value: int) -> bytes:
    """Return a little-endian TIFF with another value of a tag of one number."""
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    changed = bytearray(data)
    for at in range(first + 2, first + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, at)[0] == tag:
            struct.pack_into("<I", changed, at + 8, value)
            return bytes(changed)
    raise AssertionError(f"no tag {tag}")


UNIT = WIDE / 65535


class TestTiff:
    @pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64])
    @pytest.mark.parametrize("byteorder", ["<", ">"])
    def test_floats(self, tmp_path: Path, kind: type, byteorder: str) -> None:
        values: NDArray[Any] = UNIT.astype(kind)
        expected = np.rint(values.astype(np.float64) * 255)
        for some, options in (
            (values[..., :3], {"photometric": "rgb"}),
            (values[..., :3], {"photometric": "rgb", "compression": "zlib"}),
            (values[..., 0], {"photometric": "minisblack"}),
        ):
            picture = read(tmp_path, tiff(some, byteorder=byteorder, **options))
            want = expected[..., :3] if some.ndim == 3 else gray3(expected[..., 0])
            check(picture, want, None, 1)
        extra: dict[str, Any] = {"photometric": "rgb", "byteorder": byteorder}
        picture = read(tmp_path, tiff(values, extrasamples=["unassalpha"], **extra))
        check(picture, expected[..., :3], expected[..., 3])

    def test_floats_multiplied_by_alpha(self, tmp_path: Path) -> None:
        alpha = np.maximum(UNIT[..., 3:], 0.1)
        stored = np.concatenate([UNIT[..., :3] * alpha, alpha], -1).astype(np.float32)
        data = tiff(stored, photometric="rgb", extrasamples=["assocalpha"])
        check(read(tmp_path, data), np.rint(UNIT[..., :3] * 255), np.rint(alpha[..., 0] * 255), 1)

    def test_floats_beyond_white(self, tmp_path: Path) -> None:
        for wrong, says in ((4.25, "to 4.25"), (-0.5, "from -0.5"), (np.nan, "nan")):
            values = UNIT[..., :3].astype(np.float32)
            values[2, 3, 1] = wrong
            reason = refusal(tmp_path, tiff(values, photometric="rgb"))
            assert says in reason
            assert reason.endswith("expected 0 to 1; save it with 8 or 16 bits a sample")

    def test_compressed_floats(self, tmp_path: Path) -> None:
        data = tiff(UNIT[..., :3].astype(np.float32), photometric="rgb", compression="zlib")
        check(read(tmp_path, data), np.rint(UNIT[..., :3] * 255), None, 1)
        marked = tiff(
            UNIT[..., :3].astype(np.float32),
            photometric="rgb",
            compression="zlib",
            extratags=[(65000, "H", 1, 3, True)],
        )
        number, predictor = (struct.pack("<HHI", tag, 3, 1) for tag in (65000, 317))
        assert marked.count(number) == 1
        lzw, predicted = patched(data, 259, 5), marked.replace(number, predictor)
        for wrong in (lzw, predicted):
            assert refusal(tmp_path, wrong) == (
                "is a TIFF of floating-point numbers, compressed in a way that cannot be read "
                "here; save it without compression"
            )

    @pytest.mark.parametrize(
        ("number", "name"),
        [
            (34712, "JPEG 2000"),
            (34887, "LERC"),
            (50001, "WebP"),
            (50002, "JPEG XL"),
            (34713, "the method of a camera's raw files"),
            (12345, "method 12345, which is unknown"),
        ],
    )
    def test_compressions(
        self, tmp_path: Path, number: int, name: str, capfd: pytest.CaptureFixture[str]
    ) -> None:
        data = patched(tiff(RGB, photometric="rgb"), 259, number)
        assert refusal(tmp_path, data) == (
            f"is a TIFF compressed by {name}, which cannot be read here; save it with LZW or ZIP "
            "compression, or with none"
        )
        assert capfd.readouterr() == ("", "")

    def test_compressions_that_are_there(self, tmp_path: Path) -> None:
        image = Image.fromarray(RGB)
        for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "zstd", "lzma"):
            check(read(tmp_path, saved(image, "TIFF", compression=name)), RGB, None)

    @pytest.mark.parametrize("shape", [(3, 5), (3, 5, 3)])
    @pytest.mark.parametrize("low", [-38, 0])
    def test_signed(self, tmp_path: Path, shape: tuple[int, ...], low: int) -> None:
        values = np.linspace(low, 126, int(np.prod(shape))).astype(np.int8).reshape(shape)
        photometric = "rgb" if len(shape) == 3 else "minisblack"
        reason = refusal(tmp_path, tiff(values, photometric=photometric))
        assert reason.startswith("has signed samples of 8 bits, -128 to 127")

    def test_layouts_in_words(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        bands = np.zeros((3, 5, 13), np.uint16)
        data = tiff(bands, photometric="minisblack", planarconfig="contig")
        assert refusal(tmp_path, data) == (
            "has 13 channels of 16 bits; expected 1 to 4: save three as RGB"
        )
        complex_ = np.zeros((3, 5), np.complex64)
        assert refusal(tmp_path, tiff(complex_)) == (
            "has 1 complex channel of 64 bits; save it as RGB or gray with 8 or 16 bits a sample"
        )
        assert refusal(tmp_path, tiff(np.zeros((3, 5, 3), np.uint32), photometric="rgb")) == (
            "has 3 channels of 32 bits; save it as RGB or gray with 8 or 16 bits a sample"
        )
        assert not caplog.messages

    def test_raw_files(self, tmp_path: Path) -> None:
        dng = tiff(RGB, photometric="rgb", extratags=[(50706, "B", 4, b"\1\4\0\0", True)])
        nef = io.BytesIO()
        with tifffile.TiffWriter(nef) as writer:
            writer.write(RGB, photometric="rgb", subfiletype=1, subifds=1)
            writer.write(WIDE, photometric="rgb")
        cr2 = b"II*\0\x10\0\0\0CR\2\0" + bytes(50)
        cr3 = b"\0\0\0\x18ftypcrx \0\0\0\1crx isom"
        for data in (dng, nef.getvalue(), cr2, cr3):
            assert refusal(tmp_path, data).startswith("is a camera's raw file, in which only")
        read(tmp_path, tiff(RGB, photometric="rgb", subfiletype=1))  # only a small one, and whole

    def test_damaged_fax_is_refused_without_noise(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        noise = np.random.default_rng(2).random((200, 300)) > 0.5
        whole = saved(Image.fromarray(noise), "TIFF", compression="group4")
        check(read(tmp_path, whole), gray3(np.where(noise, 255, 0)), None)
        damaged = bytearray(whole)
        for at in range(300, 1500, 100):
            damaged[at] ^= 0xFF
        assert "its data are damaged" in refusal(tmp_path, bytes(damaged))
        assert capfd.readouterr() == ("", "")


class TestDark:
    @pytest.mark.parametrize("bits", [10, 12, 14])
    def test_is_told_once(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture, bits: int
    ) -> None:
        some = (WIDE >> (16 - bits)).astype(np.uint16)
        for values, photometric in ((some[..., 0], "minisblack"), (some[..., :3], "rgb")):
            caplog.clear()
            path = tmp_path / f"{bits}-{photometric}.tif"
            tifffile.imwrite(path, values, photometric=photometric)
            for _ in range(3):
                expected = to_8_bits(values)
                want = expected if values.ndim == 3 else gray3(expected)
                check(read_picture(path), want, None)
            assert caplog.messages == [
                f"{path}: its brightest 16-bit sample is {values.max()} of 65535, so the picture "
                f"is very dark; if these are data of {bits} bits, scale them to 16 bits first"
            ]

    def test_is_not_told_of_others(self, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING):
            read(tmp_path, tiff(WIDE[..., 0]), "wide")
            read(tmp_path, tiff(np.zeros((3, 5), np.uint16)), "black")
            read(tmp_path, tiff(WIDE[..., 0] >> 4, photometric="miniswhite"), "bright")
            read(tmp_path, tiff(65535 - (WIDE >> 4), photometric="separated"), "ink")
            read(tmp_path, wide_png(WIDE[..., :2] | np.uint16(0x4000), 4), "alpha")
        assert not caplog.messages


@pytest.mark.parametrize(
    ("start", "what"),
    [
        (b"\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 file"),
        (b"\xff\x0a\x12", "a JPEG XL file"),
        (b"8BPS\0\1", "a Photoshop file"),
        (b"%PDF-1.7", "a PDF file"),
        (b"\n <!DOCTYPE html><title>404</title>", "a web page"),
        (b"RIFF\x10\0\0\0AVI LIST", "a video"),
        (b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom", "a video"),
        (b"\0\0\0\x14ftypqt  \0\0\0\0qt  ", "a video"),
        (b"version https://git-lfs.github.com/spec/v1", "a stand-in of Git LFS"),
        (b"Dear diary", "not a JPEG, PNG, WebP, BMP, TIFF, GIF, AVIF, HEIC or PPM picture"),
        (b"P7\nWIDTH 4", "not a JPEG"),
    ],
)
def test_what_else_a_file_is(start: bytes, what: str) -> None:
    with pytest.raises(UnreadableError, match=f"^is {what}"):
        recognize(start)


def test_brands_of_media() -> None:
    def name(*brands: bytes) -> str:
        box = brands[0] + bytes(4) + b"".join(brands[1:])
        return recognize(struct.pack(">I", 8 + len(box)) + b"ftyp" + box + b"avif").name

    assert name(b"avif") == name(b"mif1", b"miaf", b"avif") == "AVIF"
    assert name(b"heic", b"mif1") == name(b"mif1", b"heic") == name(b"msf1") == "HEIC"
    assert name(b"heix") == "HEIC"


def test_a_profile_of_srgb_beside_comments(tmp_path: Path) -> None:
    iccp = chunk(b"iCCP", b"x\0\0" + zlib.compress(SRGB))
    picture: Picture = read(tmp_path, png(ROWS, 5, 8, 2, before=iccp + chunk(b"tEXt", b"a\0b")))
    check(picture, RGB, None)
