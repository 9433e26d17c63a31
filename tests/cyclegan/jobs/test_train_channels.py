"""Trainings on other pictures than RGB of 8 bits: what they are trained on, and what is kept."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from impasto.cyclegan import train
from impasto.cyclegan.jobs.translate import translate
from impasto.cyclegan.models import find_generator, reads_numbers
from impasto.data import read_picture, read_size
from impasto.data.channels.ranges import SampleFormat
from impasto.data.channels.read import read_samples
from impasto.data.channels.write import write_samples
from impasto.options import (
    FolderError,
    OptionError,
    TrainOptions,
    TranslateOptions,
    flatten,
    make,
)
from impasto.runs import RunDirectory, load_state

Options = Callable[..., TrainOptions]
Kept = SampleFormat | None
TWELVE = SampleFormat(channels=1, dtype="uint16", low=0, high=4095, source="given")


@pytest.fixture
def options(tmp_path: Path) -> Options:
    def make_options(**changes: object) -> TrainOptions:
        flat: dict[str, Any] = {
            "name": "run",
            "checkpoints_dir": str(tmp_path / "runs"),
            "dataroot": str(tmp_path),
            "display": "page",
            "device": "cpu",
            "num_threads": 0,
            "netG": "resnet_4blocks",
            "netD": "pixel",
            "ngf": 2,
            "ndf": 2,
            "load_size": 36,
            "crop_size": 32,
            "n_epochs": 2,
            "n_epochs_decay": 1,
            "print_freq": 1,
            "display_freq": 1,
        }
        return make(TrainOptions, {**flat, **changes})

    return make_options


def waves(number: int, *, channels: int = 1, side: int = 40) -> NDArray[np.uint16]:
    """Draw a picture of 12 bits."""
    y, x = np.mgrid[:side, :side] / (4 + number)
    planes = [2047 + 2000 * np.sin(x + y * channel) for channel in range(1, channels + 1)]
    return np.stack(planes, axis=2).astype(np.uint16)


def twelve_bits(root: Path, count: int = 3) -> None:
    """Write two domains of 12 bits, of which B is a known function of A."""
    for number in range(count):
        values = waves(number)
        write_samples(root / "trainA" / f"{number}.png", values)
        write_samples(root / "trainB" / f"{number}.tif", 4095 - values)


def formats(run: Path, direction: str = "AtoB", **choice: str) -> tuple[Kept, Kept]:
    return find_generator(run, direction=direction, **choice).formats


def test_12_bits_from_files_to_results(tmp_path: Path, options: Options) -> None:
    twelve_bits(tmp_path)
    gray = {"input_nc": 1, "output_nc": 1, "value_range": ["0,4095"], "cache_images": True}
    gray |= {"n_epochs": 1}
    whole = train(options(**gray)).directory
    train(options(name="parts", max_images=4, **gray))
    parts = train(options(name="parts", **gray), resume=True).directory
    for name in ("G_A", "G_B", "D_A", "D_B"):  # bit for bit
        one, other = (
            torch.load(run / f"latest_net_{name}.pth", weights_only=True) for run in (whole, parts)
        )
        assert all(torch.equal(one[key], other[key]) for key in one)
    state = load_state(whole / "state.pt")
    texts = state["loader"]["samples"]
    assert {side: SampleFormat.from_text(text) for side, text in texts.items()} == {
        "A": TWELVE,
        "B": TWELVE,
    }
    assert formats(whole) == (TWELVE, TWELVE)
    (whole / "G_A.safetensors").replace(tmp_path / "moved.safetensors")
    assert formats(whole) == (SampleFormat.full(1, ""), SampleFormat.full(1, ""))
    (tmp_path / "moved.safetensors").replace(whole / "G_A.safetensors")
    (whole / "1_net_G_A.pth").write_bytes((whole / "latest_net_G_A.pth").read_bytes())
    assert formats(whole, epoch="1") == (TWELVE, TWELVE)  # which that file cannot say itself
    assert reads_numbers(whole)
    assert not reads_numbers(Path("monet"))

    asked = TranslateOptions(model=whole, output=tmp_path / "out", device="cpu")
    result = translate([tmp_path / "trainA"], asked)
    assert not result.converted.failures
    for source, target in result.targets.items():
        made = read_samples(target, channels=1)
        assert made.dtype == np.uint16
        assert made.shape == read_samples(source).shape
        assert 255 < made.max() <= 4095
        shown = read_picture(result.shown[target]).rgb
        assert np.abs(shown[..., 0] - made[..., 0] / 4095 * 255).mean() < 4  # lossy WebP
    page = result.page.read_text(encoding="utf-8")
    assert page.count("after/") >= 3
    assert "1 channel of 16 bits, 0 to 4095" in page
    again = translate([tmp_path / "trainA"], replace(asked, format="tif"))
    for source, target in again.targets.items():
        np.testing.assert_array_equal(read_samples(target), read_samples(result.targets[source]))
    for refused, says in (
        (replace(asked, format="jpg"), "jpg cannot hold the results of this model, 1 channel of"),
        (replace(asked, bits=8), "is for RGB results; those of this model have 1 channel"),
    ):
        with pytest.raises(OptionError, match=says):
            translate([tmp_path / "trainA"], refused)


def test_samples_are_shown_in_8_bits(tmp_path: Path, options: Options) -> None:
    twelve_bits(tmp_path)
    gray = {"input_nc": 1, "output_nc": 1, "value_range": ["0,4095"], "preprocess": "none"}
    run = train(options(max_images=1, **gray)).directory
    (shown,) = RunDirectory(run).web.rglob("*real_A*.png")
    expected = np.rint(waves(0).astype(float) / 4095 * 255)
    np.testing.assert_array_equal(read_picture(shown).rgb, expected.repeat(3, axis=2))


def test_rgb_into_gray_and_back(tmp_path: Path, options: Options) -> None:
    for number in range(3):
        rgb = (waves(number, channels=3) // 16).astype(np.uint8)
        write_samples(tmp_path / "trainA" / f"{number}.jpg", rgb)
        values = waves(number).astype(np.float32) / 1000 - 2
        write_samples(tmp_path / "trainB" / f"{number}.npy", values)
    asked = {"output_nc": 1, "value_range": ["full", "auto"], "max_images": 2}
    with pytest.raises(OptionError, match="use --lambda_identity 0"):
        options(**asked)
    run = train(options(lambda_identity=0, num_threads=1, **asked)).directory
    colors, numbers = formats(run)
    assert colors is None
    assert numbers is not None
    every = np.concatenate([waves(number).ravel() for number in range(3)]) / 1000 - 2
    np.testing.assert_allclose(
        (numbers.low, numbers.high), np.percentile(every, [0.1, 99.9]), atol=1e-5
    )
    assert formats(run, "BtoA") == (numbers, None)
    # What was measured stays, whatever the files are now.
    np.save(tmp_path / "trainB" / "4.npy", np.full((40, 40), 1000.0))
    train(options(lambda_identity=0, **{**asked, "max_images": 3}), resume=True)
    assert formats(run) == (None, numbers)

    there = translate(
        [tmp_path / "trainA"],
        TranslateOptions(model=run, output=tmp_path / "B", format="npy", device="cpu"),
    )
    for target in there.targets.values():
        made = np.load(target)
        assert (made.shape, made.dtype) == ((40, 40), np.float32)
        assert numbers.low <= made.min() < made.max() <= numbers.high
    back = translate(
        [tmp_path / "trainB"],
        TranslateOptions(
            model=run,
            output=tmp_path / "A",
            direction="BtoA",
            device="cpu",
            sheet=tmp_path / "sheet.png",
        ),
    )
    assert len(back.targets) == 4  # 1000 is clipped
    for target in back.targets.values():
        made = read_samples(target)
        assert made.shape == (40, 40, 3)
        assert made.dtype == np.uint8
    with pytest.raises(OptionError, match=r"png cannot hold .* 1 channel of floating-point 32"):
        translate([tmp_path / "trainA"], TranslateOptions(model=run, output=tmp_path / "C"))
    with pytest.raises(OptionError, match="here they have 3 and 1 channels"):
        translate(
            [tmp_path / "trainA"],
            TranslateOptions(model=run, output=tmp_path / "C", format="npy", strength=0.5),
        )


def test_a_training_starts_from_a_model_of_numbers(tmp_path: Path, options: Options) -> None:
    twelve_bits(tmp_path)
    for number in range(3):
        values = waves(number).repeat(2, axis=2)
        write_samples(tmp_path / "trainB" / f"{number}.tif", values)
    asked = {"output_nc": 2, "value_range": ["0,4095", "0,4000"], "lambda_identity": 0}
    first = train(options(input_nc=1, max_images=1, **asked)).directory
    begun = train(
        options(name="next", init_from=[str(first)], max_images=1, lambda_identity=0)
    ).directory
    assert formats(begun) == formats(first)
    stored = RunDirectory(begun).read_options()
    assert (stored["input_nc"], stored["output_nc"]) == (1, 2)
    assert stored["value_range"] == ["0,4095", "0,4000"]
    alone = first / "G_B.safetensors"
    other = train(
        options(name="one", init_from=[str(alone)], max_images=1, lambda_identity=0)
    ).directory
    assert formats(other, "BtoA") == formats(first, "BtoA")


@pytest.mark.parametrize("side_by_side", [False, True])
def test_pairs_of_numbers(tmp_path: Path, options: Options, side_by_side: bool) -> None:
    for number in range(2):
        values = waves(number)
        if side_by_side:
            both = np.concatenate([values, 4095 - values], axis=1)
            write_samples(tmp_path / "train" / f"{number}.tif", both)
        else:
            rgb = (values // 16).astype(np.uint8).repeat(3, axis=2)
            write_samples(tmp_path / "trainA" / f"{number}.png", rgb)
            write_samples(tmp_path / "trainB" / f"{number}.npy", 4095 - values)
    run = train(
        options(
            paired=True,
            input_nc=1 if side_by_side else 3,
            output_nc=1,
            value_range=["0,4095"] if side_by_side else ["full", "0,4095"],
            lambda_identity=0,
            pool_size=0,
            max_images=1,
        )
    ).directory
    expected = (TWELVE if side_by_side else None, TWELVE)
    assert find_generator(run).formats == expected
    assert find_generator(run / "latest_net_G.pth").formats == expected


@pytest.mark.parametrize(
    "losses",
    [
        {"lambda_palette": 1.0, "diffaugment": ["color", "translation", "cutout"]},
        {"lambda_perceptual": 1.0, "perceptual_targets": "both", "lambda_style": 1.0},
        {"netD": "projected", "batch_size_D": 2},
        {"lambda_strokes": 0.1},
        {"one_sided": True, "lambda_nce": 1.0},
    ],
)
def test_losses_that_look_at_colors_see_gray(
    tmp_path: Path, options: Options, losses: dict[str, Any]
) -> None:
    twelve_bits(tmp_path)
    gray = {"input_nc": 1, "output_nc": 1, "value_range": ["0,4095"], "max_images": 2}
    assert train(options(**gray, **losses)).progress.images == 2  # a loss that is no number stops


@pytest.mark.parametrize(
    ("changes", "option", "says"),
    [
        ({"lambda_palette": 1}, "lambda_palette", "looks at RGB, or at gray as RGB; got --input"),
        ({"lambda_perceptual": 1}, "lambda_perceptual", "looks at RGB"),
        ({"lambda_style": 1}, "lambda_style", "looks at RGB"),
        ({"lambda_strokes": 1}, "lambda_strokes", "looks at RGB"),
        ({"netD": "projected"}, "netD", "projected looks at RGB, or at gray as RGB"),
        ({"color_skip": True}, "color_skip", "is for RGB; got --input_nc 4 and --output_nc 4"),
        ({"output_base": "kuwahara"}, "output_base", "is for RGB"),
        ({"reduced_decoding": True}, "reduced_decoding", "neither domain is read so"),
        ({"output_nc": 3}, "lambda_identity", "its own target domain; got --input_nc 4 and"),
        ({"input_nc": 0}, "input_nc", "must be at least 1, got 0"),
        ({"value_range": ["5,1"]}, "value_range", "the lower one first, got '5,1'"),
        ({"value_range": ["1,nan"]}, "value_range", "expected full, auto, or two numbers"),
        ({"value_range": ["auto"] * 3}, "value_range", "one for each, got 3"),
    ],
)
def test_options_that_do_not_fit(
    options: Options, changes: dict[str, Any], option: str, says: str
) -> None:
    with pytest.raises(OptionError, match=says) as refused:
        options(**{"input_nc": 4, "output_nc": 4, **changes})
    assert refused.value.option == option


def test_wrong_channels_name_a_file(tmp_path: Path, options: Options) -> None:
    twelve_bits(tmp_path)
    with pytest.raises(FolderError, match=r"--output_nc 2; .*0\.tif: has 1 channel .*expected 2"):
        train(options(input_nc=1, output_nc=2, lambda_identity=0, value_range=["auto"]))
    folder = tmp_path / "trainA"
    write_samples(folder / "wrong.png", waves(0, channels=3))
    warned: list[str] = []
    gray = {"input_nc": 1, "output_nc": 1, "value_range": ["0,4095"], "serial_batches": True}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("impasto.data.loaders._log.warning", lambda *words: warned.append(str(words)))
        train(options(**gray))
    (line,) = warned
    assert "wrong.png" in line
    assert "has 3 channels (RGB), expected 1" in line


def test_options_are_stored_and_compared(tmp_path: Path, options: Options) -> None:
    twelve_bits(tmp_path)
    gray = {"input_nc": 1, "output_nc": 1, "max_images": 1, "value_range": ["0,4095"]}
    run = train(options(**gray)).directory
    assert make(TrainOptions, RunDirectory(run).read_options()) == options(**gray)
    other = make(TrainOptions, {**flatten(options(**gray)), "value_range": ["0,9"]})
    with pytest.raises(OptionError, match="value_range"):
        train(other, resume=True)
    more = make(TrainOptions, {**flatten(other), "max_images": 2})
    train(more, resume=True, allow_changes=True)
    kept = formats(run)[0]
    assert kept is not None
    assert kept.high == 9
    assert read_size(tmp_path / "trainA" / "0.png") == (40, 40)
