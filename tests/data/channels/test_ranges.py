"""What numbers mean: the way to [-1, 1] and back, and what a data set says of itself."""

import logging
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from impasto.data.channels.ranges import SampleFormat, find_format, show_numbers, tell_pages
from impasto.data.channels.write import write_samples
from impasto.data.datasets import Domain
from impasto.data.transforms import Preprocessing
from impasto.options import CheckpointError, FolderError, OptionError, PictureError

HERE = Path("a.tif")
TWELVE = SampleFormat(channels=1, dtype="uint16", low=0, high=4095, source="given")
PLAIN = Preprocessing(mode="none", stride=1)


@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [("uint16", 0, 4095), ("uint16", 0, 65535), ("int16", -1000, 3000), ("uint8", 0, 255)],
)
def test_whole_numbers_come_back_exactly(dtype: str, low: int, high: int) -> None:
    values = np.arange(low, high + 1, dtype=dtype)[:, None, None]
    samples = SampleFormat(channels=1, dtype=dtype, low=low, high=high, source="given")
    numbers = samples.normalize(values, path=HERE)
    assert numbers.dtype == np.float32
    # The formula, written once more, of the two ends and the middle.
    assert (numbers[0], numbers[-1]) == (-1, 1)
    assert abs(float(numbers[(high - low) // 2, 0, 0])) <= 1.001 / (high - low)
    np.testing.assert_array_equal(samples.restore(numbers), values)


def test_floats_come_back_nearly() -> None:
    values = np.random.default_rng(0).uniform(-3, 7, (9, 9, 2)).astype(np.float32)
    samples = SampleFormat(channels=2, dtype="float32", low=-3, high=7, source="given")
    found = samples.restore(samples.normalize(values, path=HERE))
    np.testing.assert_allclose(found, values, atol=1e-6)


def test_full_is_the_range_of_the_own_type() -> None:
    full = SampleFormat.full(1, "uint16")
    for white in (np.uint8(255), np.uint16(65535), np.float32(1)):
        values = np.array([0, white], dtype=white.dtype).reshape(2, 1, 1)
        np.testing.assert_array_equal(full.normalize(values, path=HERE)[:, 0, 0], [-1, 1])
    with pytest.raises(PictureError, match=r"a\.tif: has values from 0 to 2, expected 0 to 1"):
        full.normalize(np.array([[[0.0]], [[2.0]]], np.float32), path=HERE)
    with pytest.raises(PictureError, match="samples of signed 16 bits, whose full range"):
        full.normalize(np.zeros((2, 2, 1), np.int16), path=HERE)


def test_bytes_stay_bytes() -> None:
    eight = SampleFormat.full(1, "uint8")
    values = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    assert eight.normalize(values, path=HERE) is values
    wide = values.astype(np.uint16) * 257
    np.testing.assert_array_equal(eight.normalize(wide, path=HERE), values)


def test_what_lies_outside_is_clipped_and_told_once(caplog: pytest.LogCaptureFixture) -> None:
    values = np.array([0, 4095, 5000], np.uint16).reshape(3, 1, 1)
    for _ in range(2):
        np.testing.assert_array_equal(
            TWELVE.normalize(values, path=Path("clip.tif"))[:, 0, 0], [-1, 1, 1]
        )
    (record,) = caplog.records
    assert "clip.tif: has values from 0 to 5000; those outside of 0 to 4095" in record.message
    with pytest.raises(PictureError, match="has samples of 8 bits; expected 16 bits"):
        TWELVE.normalize(np.zeros((2, 2, 1), np.uint8), path=HERE)


def test_texts() -> None:
    assert SampleFormat.from_text(TWELVE.to_text()) == TWELVE
    assert str(TWELVE) == "1 channel of 16 bits, 0 to 4095"
    assert str(SampleFormat.full(4, "")) == "4 channels, of the input's type"
    for text in ("", "[]", "{}", TWELVE.to_text().replace("4095", "NaN"), '{"channels": 1}'):
        with pytest.raises(CheckpointError, match="the format of its pictures is"):
            SampleFormat.from_text(text)


def found(folder: Path, value_range: str, channels: int = 1) -> SampleFormat:
    return find_format(
        sorted(folder.iterdir()),
        channels=channels,
        value_range=value_range,
        option="input_nc",
        folder=folder,
    )


def test_percentiles_of_a_data_set(tmp_path: Path) -> None:
    # 1000 even values in each of two files: the percentiles 0.1 and 99.9 are known.
    for number in range(2):
        values = np.arange(1000, dtype=np.uint16).reshape(25, 40, 1) * 10
        write_samples(tmp_path / f"{number}.tif", values)
    (tmp_path / "damaged.tif").write_bytes(b"II*\0")
    samples = found(tmp_path, "auto")
    expected = np.percentile(np.repeat(np.arange(1000) * 10, 2), [0.1, 99.9])
    assert (samples.low, samples.high) == (np.floor(expected[0]), np.ceil(expected[1]))
    assert samples.source == "auto"
    for file in tmp_path.iterdir():
        file.unlink()
    write_samples(tmp_path / "a.tif", np.full((4, 4, 1), 7, np.uint16))
    with pytest.raises(FolderError, match="all values of its pictures are 7"):
        found(tmp_path, "auto")


def test_the_type_is_that_of_most_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, dtype in (("a", np.uint8), ("b", np.uint16), ("c", np.uint16)):
        write_samples(tmp_path / f"{name}.png", np.full((4, 4, 1), 200, dtype))
    with caplog.at_level(logging.WARNING):
        assert found(tmp_path, "full") == SampleFormat.full(1, "uint16")
    assert "is 200 of 65535; if these are data of 10 bits, give --value_range 0,1023" in caplog.text
    assert found(tmp_path, "0,300").high == 300
    with pytest.raises(FolderError, match=r"with --input_nc 4; the first reason: .*a\.png: has 1"):
        found(tmp_path, "full", channels=4)
    for name in "abc":
        (tmp_path / f"{name}.png").unlink()
    write_samples(tmp_path / "a.npy", np.zeros((4, 4, 1), np.int32))
    with pytest.raises(OptionError, match="samples of signed 32 bits; give two numbers"):
        found(tmp_path, "full")


def test_what_is_shown() -> None:
    two = np.stack([np.linspace(-1, 1, 5), np.zeros(5)], axis=1)[None].astype(np.float32)
    np.testing.assert_array_equal(
        show_numbers(two)[0], np.repeat([[0], [64], [128], [191], [255]], 3, axis=1)
    )
    four = np.arange(16, dtype=np.uint8).reshape(2, 2, 4)
    np.testing.assert_array_equal(show_numbers(four), four[..., :3])


@pytest.mark.parametrize("cache", [False, True])
def test_a_domain_gives_the_numbers_of_its_files(tmp_path: Path, cache: bool) -> None:
    values = np.random.default_rng(0).integers(0, 4096, (6, 9, 1), dtype=np.uint16)
    write_samples(tmp_path / "a.tif", values)
    domain = Domain(
        [tmp_path / "a.tif"],
        preprocessing=Preprocessing(mode="none", stride=1, flip=False, samples=TWELVE),
        cache=cache,
    )
    first = domain.first()
    assert first is not None
    for _ in range(2):
        image, failed = domain.draw(0, generator=torch.Generator())
        assert image is not None
        assert not failed
        assert torch.equal(first[0], image)
        again = TWELVE.restore(image.permute(1, 2, 0).numpy())
        np.testing.assert_array_equal(again, values)  # a PSNR without end


def test_resizing_keeps_channels_apart(tmp_path: Path) -> None:
    # Where Pillow took the fourth channel for alpha, a zero there would darken the others.
    values = np.zeros((40, 40, 4), np.uint8)
    values[..., 0] = 200
    write_samples(tmp_path / "a.png", values)
    for dtype in ("uint8", "uint16"):
        samples = SampleFormat(channels=4, dtype="uint8", low=0, high=255, source="given")
        if dtype == "uint8":
            samples = SampleFormat.full(4, "uint8")
        how = Preprocessing(load_size=20, crop_size=20, samples=samples)
        fitted = how.read(tmp_path / "a.png")
        assert fitted.shape == (20, 20, 4)
        expected = [200, 0, 0, 0] if dtype == "uint8" else [2 * 200 / 255 - 1, -1, -1, -1]
        np.testing.assert_allclose(fitted[10, 10], expected, atol=1e-6)


def test_of_many_that_are_clipped_a_few_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    values = np.array([0, 5000], np.uint16).reshape(2, 1, 1)
    for number in range(20):
        TWELVE.normalize(values, path=tmp_path / f"{number}.tif")
    assert len(caplog.records) == 5
    assert caplog.messages[-1].endswith("without a word, in further files of this folder")
    TWELVE.normalize(values, path=tmp_path / "other" / "0.tif")
    assert len(caplog.records) == 6
    TWELVE.normalize(values, path=tmp_path / "more" / "0.tif", tells=False)
    assert len(caplog.records) == 6


def test_pages_that_are_not_seen_are_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, count in (("one.tif", 1), ("three.tif", 3)):
        with tifffile.TiffWriter(tmp_path / name) as file:
            for _ in range(count):
                file.write(np.zeros((4, 4), np.uint8), photometric="minisblack", metadata=None)
    (tmp_path / "damaged.tif").write_bytes(b"II*\0")
    (tmp_path / "a.png").write_bytes(b"nothing")
    tell_pages([tmp_path / name for name in ("a.png", "damaged.tif", "one.tif")], tmp_path)
    assert not caplog.records
    tell_pages(sorted(tmp_path.iterdir()), tmp_path)
    assert "three.tif has several pages, of which the first one alone is read" in caplog.text
