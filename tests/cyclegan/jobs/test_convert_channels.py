"""Conversions of other pictures than RGB of 8 bits: what came in, and what comes out."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import ImageCms
from torch import Tensor

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.inference.memory import TranslationMemory
from impasto.cyclegan.inference.translator import Translator, translate_colors
from impasto.cyclegan.jobs.convert import Conversion, Job, convert
from impasto.cyclegan.jobs.pictures import suitable_precision
from impasto.cyclegan.jobs.translate import translate
from impasto.cyclegan.networks import ResnetGenerator
from impasto.cyclegan.weights import load_generator, save_generator
from impasto.data.channels.ranges import Formats, SampleFormat
from impasto.data.channels.read import read_samples
from impasto.data.channels.write import write_samples
from impasto.data.decode import read_picture
from impasto.options import CheckpointError, OptionError, TranslateOptions
from impasto.runs.state import save_pth

TWELVE = SampleFormat(channels=1, dtype="uint16", low=0, high=4095, source="given")
FLOATS = SampleFormat(channels=1, dtype="float32", low=-10, high=10, source="auto")
CPU = torch.device("cpu")


def noise(dtype: str, *shape: int, most: int | None = None) -> NDArray[Any]:
    most = np.iinfo(dtype).max if most is None else most
    return np.random.default_rng(0).integers(0, most, shape, dtype=dtype, endpoint=True)


def same(images: Tensor) -> Tensor:
    return images


def negative(images: Tensor) -> Tensor:
    return -images


def converted(
    source: Path,
    target: str,
    how: Callable[[Tensor], Tensor] = same,
    **settings: Any,
) -> Path:
    path = source.parent / "out" / target
    jobs = [Job(source=source, target=path, after=path.with_suffix(".webp"))]
    result = convert(jobs, how, how=Conversion(**settings))
    assert not result.failures
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
def test_12_bits_of_a_known_map(tmp_path: Path, suffix: str) -> None:
    values = noise("uint16", 40, 33, 1, most=4095)
    write_samples(tmp_path / "a.png", values)
    both: Formats = (TWELVE, TWELVE)
    made = read_samples(converted(tmp_path / "a.png", f"a.{suffix}", negative, formats=both))
    np.testing.assert_array_equal(made, 4095 - values)
    half = converted(tmp_path / "a.png", f"b.{suffix}", negative, formats=both, strength=0.25)
    expected = values + 0.25 * (4095.0 - 2.0 * values)
    assert np.abs(read_samples(half) - expected).max() <= 0.501
    shown = read_picture(tmp_path / "out" / "a.webp").rgb
    assert np.abs(shown[..., 0] / 255 - 1 + values[..., 0] / 4095).mean() < 0.2
    small = converted(tmp_path / "a.png", f"c.{suffix}", formats=both, long_side=20)
    assert read_samples(small).shape == (20, 16, 1)
    strokes = converted(tmp_path / "a.png", f"d.{suffix}", formats=both, stroke_scale=2.0)
    assert read_samples(strokes).shape == (40, 33, 1)


def test_other_ranges_on_the_two_sides(tmp_path: Path) -> None:
    values = noise("uint16", 20, 30, 1, most=4095)
    write_samples(tmp_path / "a.tif", values)
    path = converted(tmp_path / "a.tif", "a.tif", formats=(TWELVE, FLOATS))
    np.testing.assert_allclose(read_samples(path), values / 4095 * 20 - 10, atol=1e-5)
    rgb = noise("uint8", 20, 30, 3)
    write_samples(tmp_path / "b.png", rgb)
    path = converted(
        tmp_path / "b.png", "b.png", lambda images: images[:, :1], formats=(None, TWELVE)
    )
    np.testing.assert_array_equal(read_samples(path), np.rint(rgb[..., :1] * (4095 / 255)))
    path = converted(
        tmp_path / "a.tif",
        "c.png",
        lambda images: images.repeat(1, 3, 1, 1),
        formats=(TWELVE, None),
    )
    found = read_samples(path, channels=3)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.rint(values * (255 / 4095)).repeat(3, axis=2))


@pytest.mark.parametrize("suffix", ["png", "tif", "npy"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bits_of_rgb_stay(tmp_path: Path, suffix: str, channels: int) -> None:
    values = noise("uint16", 9, 12, channels)
    write_samples(tmp_path / "a.png", values)
    whole = read_samples(converted(tmp_path / "a.png", f"a.{suffix}", bits=None))
    np.testing.assert_array_equal(whole, values)
    eight = read_samples(converted(tmp_path / "a.png", f"b.{suffix}", bits=8))
    assert eight.dtype == np.uint8
    np.testing.assert_array_equal(eight, np.rint(values / 257))


def test_bits_of_other_pictures(tmp_path: Path) -> None:
    gray = noise("uint16", 9, 12, 1)
    write_samples(tmp_path / "gray.tif", gray)
    made = read_samples(converted(tmp_path / "gray.tif", "a.png", bits=None))
    np.testing.assert_array_equal(made, gray.repeat(3, axis=2))
    assert read_samples(converted(tmp_path / "gray.tif", "a.jpg", bits=None)).dtype == np.uint8
    eight = noise("uint8", 9, 12, 4)
    write_samples(tmp_path / "eight.png", eight)
    path = converted(tmp_path / "eight.png", "b.png", bits=16)
    np.testing.assert_array_equal(read_samples(path), eight.astype(np.uint16) * 257)
    path = converted(tmp_path / "eight.png", "c.tif", bits=None)
    np.testing.assert_array_equal(read_samples(path), eight)
    # Little CMS has 8 bits, so a profile other than sRGB is followed in these.
    plain = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = plain.replace(b"rXYZ", b"----").replace(b"gXYZ", b"rXYZ").replace(b"----", b"gXYZ")
    values = noise("uint16", 9, 12, 3)
    found = []
    for profile in (plain, swapped):
        tifffile.imwrite(tmp_path / "own.tif", values, photometric="rgb", iccprofile=profile)
        found.append(read_samples(converted(tmp_path / "own.tif", "d.png", bits=None)))
    assert [each.dtype.name for each in found] == ["uint16", "uint8"]
    assert np.abs(found[1].astype(int) - values // 256).max() > 8


def test_wrong_inputs_are_named(tmp_path: Path) -> None:
    write_samples(tmp_path / "rgb.png", noise("uint8", 9, 12, 3))
    write_samples(tmp_path / "gray.png", noise("uint8", 9, 12, 1))
    jobs = [
        Job(source=tmp_path / f"{name}.png", target=tmp_path / "out" / f"{name}.png")
        for name in ("rgb", "gray")
    ]
    failures = convert(jobs, same, how=Conversion(formats=(TWELVE, TWELVE))).failures
    assert "has 3 channels (RGB), expected 1" in failures[tmp_path / "rgb.png"]
    assert "has samples of 8 bits; expected 16 bits" in failures[tmp_path / "gray.png"]


def test_a_reference_model_of_gray(tmp_path: Path) -> None:
    architecture = GeneratorArchitecture(depth=1, channels=2, in_channels=1, out_channels=1)
    network = architecture.build()
    save_pth(tmp_path / "latest_net_G_A.pth", network.state_dict())
    eight, sixteen = noise("uint8", 24, 20, 1), noise("uint16", 24, 20, 1)
    write_samples(tmp_path / "photos" / "a.png", eight)
    write_samples(tmp_path / "photos" / "b.png", sixteen)
    options = TranslateOptions(
        model=tmp_path / "latest_net_G_A.pth", output=tmp_path / "out", device="cpu"
    )
    result = translate([tmp_path / "photos"], options)
    assert not result.converted.failures
    for name, values, white in (("a", eight, 255), ("b", sixteen, 65535)):
        made = read_samples(tmp_path / "out" / f"{name}.png")
        assert (made.dtype, made.shape) == (values.dtype, values.shape)
        images = torch.from_numpy(values[..., 0] / white * 2 - 1).float()[None, None]
        with torch.no_grad():
            expected = (network.eval()(images)[0, 0].numpy() + 1) / 2 * white
        assert np.abs(made[..., 0] - expected).max() <= (1 if white == 255 else 3)


def test_gray_models_are_looked_at_in_colors(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"

    def saved(*channels: int, **metadata: str) -> Callable[[Tensor], Tensor]:
        architecture = GeneratorArchitecture(
            depth=1, channels=2, in_channels=channels[0], out_channels=channels[1]
        )
        save_generator(path, architecture.build().state_dict(), architecture, metadata)
        loaded = load_generator(path)
        return translate_colors(loaded, Translator.of(loaded, device=CPU))

    gray = torch.rand(1, 1, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    translate_gray = saved(1, 1)
    made = translate_gray(gray.expand(-1, 3, -1, -1))
    loaded = load_generator(path)
    expected = Translator.of(loaded, device=CPU)(gray)
    assert torch.equal(made, expected.expand(-1, 3, -1, -1))
    with pytest.raises(CheckpointError, match="takes gray pictures, and got one with colors"):
        translate_gray(torch.rand(1, 3, 16, 16))
    assert isinstance(saved(3, 3), Translator)
    assert saved(3, 1)(torch.zeros(1, 3, 16, 16)).shape == (1, 3, 16, 16)
    with pytest.raises(CheckpointError, match="for pictures of 2 channels"):
        saved(2, 3)
    text = TWELVE.to_text()
    with pytest.raises(CheckpointError, match="1 channel of 16 bits, 0 to 4095; expected RGB, or"):
        saved(1, 1, input_samples=text, output_samples=text)


def test_options(tmp_path: Path) -> None:
    for changes, says in (
        ({"bits": 12}, "expected 8, 16 or auto, got 12"),
        ({"bits": 16, "format": "jpg"}, "16 is for --format png, tif or npy; jpg holds 8"),
        ({"quality": 80, "format": "tif"}, "80 is for --format jpg or webp; tif loses nothing"),
    ):
        with pytest.raises(OptionError, match=says):
            TranslateOptions(output=tmp_path, **changes)


def test_numbers_take_more_memory() -> None:
    network = ResnetGenerator(channels=2, blocks=1, in_channels=2, out_channels=4).eval()
    memory = TranslationMemory(network, device=CPU)
    more = memory.of_numbers(4).bytes(100, 100) - memory.bytes(100, 100)
    assert more == 100 * 100 * (3 * 4 * 8)  # the file, what is shown, and what is made


def test_auto_precision_does_not_take_bits_away(tmp_path: Path) -> None:
    def chosen(metadata: dict[str, str], **options: Any) -> str:
        architecture = GeneratorArchitecture(depth=1, channels=2, in_channels=1, out_channels=1)
        save_generator(
            tmp_path / "a.safetensors", architecture.build().state_dict(), architecture, metadata
        )
        asked = TranslateOptions(output=tmp_path, **options)
        return suitable_precision(asked, load_generator(tmp_path / "a.safetensors"))

    deep = {"output_samples": TWELVE.to_text()}
    eight = {"output_samples": SampleFormat.full(1, "uint8").to_text()}
    assert chosen(deep, mixed_precision="auto") == "no"
    assert chosen(deep, mixed_precision="bf16") == "bf16"
    assert chosen({}, mixed_precision="auto") == "no"  # of the type of the input
    assert chosen(eight, mixed_precision="auto") == "auto"
