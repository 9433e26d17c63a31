"""`impasto stylize` as a user calls it: words in, files, lines and an exit status out."""

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.color import rgb2lab
from torchvision import models

from impasto.gatys.features.vgg import Vgg
from impasto.gatys.optim.iterates import Iterate
from impasto.gatys.outputs.loss_log import LossLog, read_losses
from impasto.gatys.outputs.recipe import describe_file, read_recipe
from impasto.scripts.main import main

Rgb = NDArray[np.uint8]
HEIGHT, WIDTH = 30, 40
SMALL = ("--size", "40", "--iterations", "3", "2")
RANDOM = ("--preset", "random")


@pytest.fixture(autouse=True)
def _without_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with a content, styles and masks; ``one`` is a folder of styles."""
    here = tmp_path / "here"
    (here / "one").mkdir(parents=True)
    rng = np.random.default_rng(3)

    def paint(name: str, height: int, width: int, low: int, high: int) -> None:
        small = rng.integers(low, high, (4, 4, 3), dtype=np.uint8)
        picture = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        picture.save(here / name)

    paint("content.png", HEIGHT, WIDTH, 90, 165)
    paint("a.png", 36, 44, 0, 256)
    paint("b.png", 40, 32, 0, 256)
    for index in range(3):
        paint(f"one/{index}.png", 30, 32, 0, 256)
    Image.new("RGB", (32, 32), (220, 30, 30)).save(here / "red.png")
    Image.new("RGB", (32, 32), (30, 30, 220)).save(here / "blue.png")
    left = np.zeros((HEIGHT, WIDTH), np.uint8)
    left[:, : WIDTH // 2] = 255
    Image.fromarray(left).save(here / "left.png")
    Image.fromarray(255 - left).save(here / "right.png")
    monkeypatch.chdir(here)
    return here


def stylize(*words: str) -> int:
    try:
        return main(["stylize", *words])
    except SystemExit as ended:
        return int(str(ended.code))


def pixels(path: Path) -> Rgb:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def frames_of(path: Path) -> list[Rgb]:
    with Image.open(path) as image:
        frames = []
        for index in range(getattr(image, "n_frames", 1)):
            image.seek(index)
            frames.append(np.asarray(image.convert("RGB")))
        return frames


def wait_for(reached: Callable[[], bool], process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + 120
    while not reached():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


# What a run writes and says.


def test_writes_picture_losses_and_recipe_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize("content.png", "a.png", *SMALL, "--output", "made/out.png") == 0
    printed = capsys.readouterr().out
    assert "preset builtin with no network on cpu: 40 x 30 pixels in 5 scales, about" in printed
    assert "wrote made/out.png (40 x 30) after 11 evaluations in" in printed
    made = folder / "made"
    names = {path.name for path in made.iterdir()}
    assert names == {"out.png", "out.png.yaml", "out.losses.csv"}
    shown = pixels(made / "out.png")
    assert shown.shape == (HEIGHT, WIDTH, 3)
    assert (shown != pixels(folder / "content.png")).mean() > 0.5
    rows = read_losses(made / "out.losses.csv")
    assert [row.scale for row in rows] == [1, 2, 3, 4, 5]
    assert rows[-1].evaluations == 11
    facts = read_recipe(made / "out.png.yaml").facts
    assert facts is not None
    assert facts.picture == describe_file(made / "out.png")
    assert [Path(file.path).name for file in facts.inputs] == ["content.png", "a.png"]
    assert facts.losses["total"] == pytest.approx(rows[-1].losses["total"])
    assert 10 < facts.peak_memory_mib < 100_000


def test_a_tiff_has_16_bits(folder: Path) -> None:
    assert stylize("content.png", "a.png", *SMALL, "--output", "out.tif") == 0
    assert stylize("content.png", "a.png", *SMALL, "--output", "out.png") == 0
    deep = tifffile.imread(folder / "out.tif")
    assert (str(deep.dtype), deep.shape) == ("uint16", (HEIGHT, WIDTH, 3))
    assert len(np.unique(deep)) > 256
    assert np.abs(deep / 257 - pixels(folder / "out.png")).max() <= 0.51


def test_a_style_by_name_is_a_style_by_place(folder: Path) -> None:
    words = ("--content", "content.png", "--styles", "a.png", "b.png")
    assert stylize(*words, *SMALL, "--output", "named.png") == 0
    assert stylize("content.png", "a.png", "b.png", *SMALL, "--output", "placed.png") == 0
    assert (folder / "named.png").read_bytes() == (folder / "placed.png").read_bytes()


def test_the_triptych_ends_with_the_result(folder: Path) -> None:
    words = ("content.png", "a.png", "one", *SMALL, "--output", "out.png")
    assert stylize(*words, "--triptych", "sheets/all.png") == 0
    sheet, shown = pixels(folder / "sheets" / "all.png"), pixels(folder / "out.png")
    places = [
        (top, left)
        for top in range(sheet.shape[0] - HEIGHT + 1)
        for left in range(WIDTH, sheet.shape[1] - WIDTH + 1)
        if (sheet[top : top + HEIGHT, left : left + WIDTH] == shown).all()
    ]
    assert len(places) == 1


def test_losses_are_drawn(folder: Path) -> None:
    words = ("content.png", "a.png", *SMALL, "--output", "out.png", "--plot_losses")
    assert stylize(*words, "losses.svg") == 0
    text = "".join(ET.parse(folder / "losses.svg").getroot().itertext())  # noqa: S314 - our own
    assert "Evaluations of the losses" in text
    assert stylize(*words, "losses.png") == 0
    assert pixels(folder / "losses.png").std() > 5


def test_every_iterate_can_be_a_frame_and_a_file(folder: Path) -> None:
    words = ("content.png", "a.png", *SMALL, "--save_every", "1", "--output", "out.png")
    assert stylize(*words, "--video", "making.gif") == 0
    # 3 evaluations at the first scale, 2 at each other, one by one; the last of each is its result.
    assert len(frames_of(folder / "making.gif")) == 11
    kept = sorted(folder.glob("out_*.png"))
    assert [path.stem for path in kept] == [
        *("out_0001", "out_0002", "out_0004", "out_0006", "out_0008", "out_0010"),
    ]
    assert pixels(kept[-1]).shape == (HEIGHT, WIDTH, 3)
    assert max(pixels(kept[0]).shape) < WIDTH


def test_a_video_ends_with_the_picture_as_it_is_written(folder: Path) -> None:
    words = ("content.png", "a.png", *SMALL, "--output", "out.png", "--video", "making.apng")
    finish = ("--keep_colors", "luminance", "--masks", "left.png=untouched", "--save_every", "1")
    assert stylize(*words, *finish) == 0
    assert (frames_of(folder / "making.apng")[-1] == pixels(folder / "out.png")).all()
    left = np.s_[:, : WIDTH // 2]
    assert (pixels(folder / "out_0010.png")[left] == pixels(folder / "content.png")[left]).all()


# Masks, colours, several styles, starts.


def test_an_untouched_region_keeps_the_contents_pixels(folder: Path) -> None:
    words = ("content.png", "a.png", *SMALL, "--output", "out.png")
    assert stylize(*words, "--masks", "left.png=untouched") == 0
    changed = (pixels(folder / "out.png") != pixels(folder / "content.png")).any(axis=2)
    assert not changed[:, : WIDTH // 2].any()
    assert changed[:, WIDTH // 2 :].mean() > 0.9
    assert stylize(*words, "--masks", "left.png=a", "--mask_rest", "untouched") == 0
    changed = (pixels(folder / "out.png") != pixels(folder / "content.png")).any(axis=2)
    assert changed[:, : WIDTH // 2].mean() > 0.9
    assert not changed[:, WIDTH // 2 :].any()


def test_two_masks_give_two_styles_their_places(folder: Path) -> None:
    words = ("content.png", "red.png", "blue.png", *SMALL)
    pairs = ("--masks", "left.png=red.png", "right.png=blue")
    assert stylize(*words, *pairs, "--output", "out.png") == 0
    shown = pixels(folder / "out.png").astype(int)
    redder = shown[..., 0] - shown[..., 2]
    assert redder[:, : WIDTH // 2 - 2].mean() > 60
    assert redder[:, WIDTH // 2 + 2 :].mean() < -60


def test_luminance_keeps_the_contents_chroma(folder: Path) -> None:
    words = ("content.png", "a.png", *SMALL, "--output", "out.tif")
    assert stylize(*words, "--keep_colors", "luminance") == 0
    shown = rgb2lab(tifffile.imread(folder / "out.tif") / 65535)
    content = rgb2lab(pixels(folder / "content.png") / 255)
    # Where sRGB has no such colour at that lightness, the chroma is less, never more.
    chroma = np.hypot(shown[..., 1], shown[..., 2])
    wanted = np.hypot(content[..., 1], content[..., 2])
    assert (chroma <= wanted + 0.1).all()
    same = np.abs(shown - content)[..., 1:].max(axis=2) < 0.1
    assert same.mean() > 0.8
    assert np.abs(shown - content)[..., 0].mean() > 3


@pytest.mark.parametrize("kind", ["linear", "histogram"])
def test_recolored_styles_bring_the_contents_colors(folder: Path, kind: str) -> None:
    words = ("content.png", "red.png", "a.png", *SMALL, "--output")
    assert stylize(*words, "plain.png") == 0
    assert stylize(*words, "kept.png", "--keep_colors", kind) == 0
    content, plain, kept = (
        pixels(folder / name).mean(axis=(0, 1)) for name in ("content.png", "plain.png", "kept.png")
    )
    assert np.abs(kept - content).max() < 6
    assert np.abs(plain - content).max() > 20


def test_style_weights_are_shares(folder: Path) -> None:
    words = ("content.png", "red.png", "blue.png", *SMALL, "--output", "out.png")

    def redness(*weights: str) -> float:
        assert stylize(*words, "--style_weights", *weights) == 0
        shown = pixels(folder / "out.png").astype(int)
        return float((shown[..., 0] - shown[..., 2]).mean())

    red, mixed, blue = redness("1", "0"), redness("1", "1"), redness("0", "3")
    assert red > 100
    assert blue < -100
    assert abs(mixed) < 60
    before = (folder / "out.png").read_bytes()
    assert redness("0", "1") == blue
    assert (folder / "out.png").read_bytes() == before


def test_a_folder_is_one_style(folder: Path) -> None:
    assert stylize("content.png", "one", *SMALL, "--output", "out.png") == 0
    facts = read_recipe(folder / "out.png.yaml").facts
    assert facts is not None
    names = [Path(file.path).name for file in facts.inputs]
    assert names == ["content.png", "0.png", "1.png", "2.png"]
    # A folder of one picture, and a mix of that folder's pictures, are the same style.
    assert stylize("content.png", *(f"one/{i}.png" for i in range(3)), *SMALL) == 0
    assert (folder / "stylized.png").read_bytes() == (folder / "out.png").read_bytes()


def test_a_first_picture_is_where_it_starts(folder: Path) -> None:
    words = ("content.png", "a.png", "--size", "40", "--preset", "tutorial", "--output", "out.png")
    start = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    Image.fromarray(start).save(folder / "start.png")
    assert stylize(*words, "--iterations", "1", "--init", "file", "--init_image", "start.png") == 0
    assert (pixels(folder / "out.png") == start).all()
    facts = read_recipe(folder / "out.png.yaml").facts
    assert facts is not None
    assert "start.png" in [Path(file.path).name for file in facts.inputs]


def test_noise_depends_on_the_seed(folder: Path) -> None:
    words = ("content.png", "a.png", *SMALL, "--init", "noise", "--seed")
    for name, seed in (("one.png", "1"), ("same.png", "1"), ("two.png", "2")):
        assert stylize(*words, seed, "--output", name) == 0
    one, same, two = ((folder / name).read_bytes() for name in ("one.png", "same.png", "two.png"))
    assert one == same != two


# Presets and weights.


def test_a_preset_without_its_weights_says_that_filters_are_random(
    folder: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("content.png", "a.png", "--size", "40", "--iterations", "2", "--output", "out.png")
    with caplog.at_level(logging.WARNING):
        assert stylize(*words, "--preset", "gatys2016") == 0
    (message,) = [record.getMessage() for record in caplog.records]
    assert "no weights of VGG19 are found, so gatys2016 looks through random filters" in message
    assert "preset gatys2016 with random on cpu" in capsys.readouterr().out
    recipe = read_recipe(folder / "out.png.yaml")
    assert (recipe.options["preset"], recipe.options["backbone"]) == ("gatys2016", "random")


def test_a_recipe_holds_what_was_found(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize("content.png", "a.png", *SMALL, "--output", "plain.png") == 0
    # Weights turn up later: auto would now take another preset.
    torch.manual_seed(0)
    place = tmp_path / "torch" / "hub" / "checkpoints" / "vgg19-features.safetensors"
    place.parent.mkdir(parents=True)
    torch.save(Vgg(depth=19, width=1 / 16).state_dict(), folder / "vgg19.pth")
    packed = ("pack", str(folder / "vgg19.pth"), "--output", str(place))
    assert main(["weights", *packed]) == 0
    assert stylize("--config", "plain.png.yaml", "--output", "again.png") == 0
    assert (folder / "again.png").read_bytes() == (folder / "plain.png").read_bytes()
    capsys.readouterr()
    assert stylize("content.png", "a.png", *SMALL, "--output", "vgg.png") == 0
    assert "preset crowsonkb with vgg19 on cpu" in capsys.readouterr().out
    assert read_recipe(folder / "vgg.png.yaml").options["weights"] == str(place)
    # And vanish from where they are looked for.
    place.rename(folder / "kept.safetensors")
    assert stylize("--config", "vgg.png.yaml") == 1
    assert f"{place}: no such file" in capsys.readouterr().err
    moved = ("--weights", "kept.safetensors", "--output", "moved.png")
    assert stylize("--config", "vgg.png.yaml", *moved) == 0
    assert (folder / "moved.png").read_bytes() == (folder / "vgg.png").read_bytes()


# Models of torchvision.


@pytest.mark.parametrize(
    ("model", "layers", "size"),
    [
        ("resnet18", ("layer1", "conv3_block1_2_bn"), "40"),
        ("resnet50", ("layer1", "layer2", "layer3"), "40"),
        ("inception_v3", ("Conv2d_2b_3x3", "Mixed_5b"), "64"),
        ("efficientnet_b0", ("features.1", "features.3"), "40"),
        ("convnext_tiny", ("features.1", "features.3"), "40"),
    ],
)
def test_any_model_of_torchvision_and_its_recipe(
    model: str,
    layers: tuple[str, ...],
    size: str,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("content.png", "a.png", "--size", size, "--iterations", "2", "--backbone", model)
    with caplog.at_level(logging.WARNING):
        found = ("--style_layers", *layers, "--content_layers", layers[-1])
        assert stylize(*words, *found, "--output", "out.png") == 0
    said = [record.getMessage() for record in caplog.records]
    assert sum(f"no weights of {model} are found, so they are random" in line for line in said) == 1
    assert f"preset model with random:{model} on cpu" in capsys.readouterr().out
    assert (pixels(folder / "out.png") != 0).any()
    recipe = read_recipe(folder / "out.png.yaml").options
    assert (recipe["preset"], recipe["backbone"]) == ("model", f"random:{model}")
    if model == "resnet18":
        assert any("read conv3_block1_2_bn as layer2.0.bn2" in line for line in said)
        caplog.clear()
        assert stylize("--config", "out.png.yaml", "--output", "again.png") == 0
        assert not [r for r in caplog.records if "no weights" in r.getMessage()]
        assert (folder / "again.png").read_bytes() == (folder / "out.png").read_bytes()


def test_a_model_with_weights_in_a_file_or_in_torchvision_s_cache(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(0)
    torch.save(models.resnet18(weights=None).state_dict(), folder / "mine.pth")
    tiny = ("--size", "40", "--iterations", "2", "--style_layers", "layer1", "layer2")
    words = ("content.png", "a.png", *tiny, "--backbone", "resnet18")
    assert stylize(*words, "--weights", "mine.pth", "--output", "file.png") == 0
    assert "preset model with resnet18 on cpu" in capsys.readouterr().out
    recipe = read_recipe(folder / "file.png.yaml")
    assert recipe.options["weights"] == str(folder / "mine.pth")
    assert recipe.facts is not None
    assert recipe.facts.backbone_sha256 == describe_file(folder / "mine.pth").sha256
    place = tmp_path / "torch" / "hub" / "checkpoints" / "resnet18-f37072fd.pth"
    place.parent.mkdir(parents=True)
    place.write_bytes((folder / "mine.pth").read_bytes())
    assert stylize(*words, "--output", "cache.png") == 1
    assert "its name says f37072fd" in capsys.readouterr().err
    assert stylize("--config", "file.png.yaml", "--output", "again.png") == 0
    assert (folder / "again.png").read_bytes() == (folder / "file.png").read_bytes()
    assert stylize(*words, "--backbone", "random:resnet18", "--output", "random.png") == 0
    assert (folder / "random.png").read_bytes() != (folder / "file.png").read_bytes()


def test_residual_networks_are_smoothed_unless_it_is_switched_off(folder: Path) -> None:
    words = ("content.png", "a.png", *SMALL, *RESNET, "--style_layers", "layer1", "--output")
    assert stylize(*words, "auto.png") == 0
    assert stylize(*words, "none.png", "--smoothing", "none") == 0
    assert (folder / "auto.png").read_bytes() != (folder / "none.png").read_bytes()


# The same again.


@pytest.mark.parametrize(
    "extra",
    [
        (),
        ("--masks", "left.png=a.png", "right.png=b", "--save_every", "2"),
        ("--optimizer", "lbfgs", "--keep_colors", "linear", "--style_weights", "2", "1"),
    ],
)
def test_a_recipe_makes_the_same_picture_from_anywhere(
    folder: Path,
    tmp_path: Path,
    extra: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("content.png", "../here/a.png", "b.png", *SMALL, *extra)
    assert stylize(*words, "--output", "out.png") == 0
    assert stylize("--config", "out.png.yaml", "--output", "again.png") == 0
    monkeypatch.chdir(tmp_path)
    assert stylize("--config", "here/out.png.yaml", "--output", "far.png") == 0
    assert "not as in the recipe" not in capsys.readouterr().out
    first = (folder / "out.png").read_bytes()
    assert (folder / "again.png").read_bytes() == first
    assert (tmp_path / "far.png").read_bytes() == first
    one, other = (
        read_recipe(path).options for path in (folder / "out.png.yaml", tmp_path / "far.png.yaml")
    )
    assert {**one, "output": ""} == {**other, "output": ""}


def test_a_recipe_without_output_writes_the_same_file(folder: Path) -> None:
    assert stylize("content.png", "a.png", *SMALL, "--output", "out.jpg") == 0
    files = [folder / name for name in ("out.jpg", "out.jpg.yaml")]
    before = files[0].read_bytes()
    files[0].unlink()
    assert stylize("--config", "out.jpg.yaml") == 0
    assert files[0].read_bytes() == before


def test_what_is_not_as_in_the_recipe_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize("content.png", "one", *SMALL, "--output", "out.png") == 0
    Image.new("RGB", (32, 32), (1, 2, 3)).save(folder / "one" / "1.png")
    Image.new("RGB", (32, 32), (1, 2, 3)).save(folder / "one" / "new.png")
    capsys.readouterr()
    assert stylize("--config", "out.png.yaml", "--output", "again.png") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not as")]
    assert len(lines) == 2
    changed = f"not as in the recipe: {folder / 'one' / '1.png'} is another file than the recipe"
    assert lines[0].startswith(changed)
    assert lines[1] == f"not as in the recipe: {folder / 'one' / 'new.png'} is read now, too"


# Precision.


def test_sixteen_bits_for_the_network_give_about_the_same_losses(folder: Path) -> None:
    words = ("content.png", "a.png", "--preset", "tutorial", "--size", "40", "--iterations")
    found = {}
    for precision in ("no", "bf16"):
        extra = ("--mixed_precision", precision, "--output", f"{precision}.png")
        # One evaluation is that of the start, which is the same picture.
        assert stylize(*words, "1", "--init", "noise", *extra) == 0
        recipe = read_recipe(folder / f"{precision}.png.yaml")
        assert recipe.options["mixed_precision"] == precision
        assert recipe.facts is not None
        found[precision] = recipe.facts.losses
    assert found["bf16"] == pytest.approx(found["no"], rel=0.03)
    assert found["bf16"]["style"] != found["no"]["style"]
    start = pixels(folder / "bf16.png")
    assert stylize(*words, "5", "--init", "noise", "--mixed_precision", "bf16") == 0
    facts = read_recipe(folder / "stylized.png.yaml").facts
    assert facts is not None
    assert 0 < facts.losses["total"] < 0.8 * found["bf16"]["total"]
    assert (pixels(folder / "stylized.png") != start).mean() > 0.5


def test_sixteen_bits_change_nothing_without_a_network(folder: Path) -> None:
    words = ("content.png", "a.png", *SMALL, "--output")
    assert stylize(*words, "no.png") == 0
    assert stylize(*words, "bf16.png", "--mixed_precision", "bf16") == 0
    assert (folder / "no.png").read_bytes() == (folder / "bf16.png").read_bytes()


# Mistakes: one message, an exit status, nothing written, and no evaluation wasted.

FIRST = ("content.png", "a.png")
RESNET = ("--backbone", "random:resnet18")
DEEP = ("--content_layers", "layer4", "--style_layers", "layer1")
MISTAKES: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no style": (("content.png",), 2, "give at least one style picture"),
    "nothing": ((), 2, "expected a content picture and at least one style"),
    "no content": (("none.png", "a.png"), 1, "none.png: cannot be opened: no such file"),
    "content is no picture": (("text.png", "a.png"), 1, "text.png: "),
    "no such style": (("content.png", "none.png"), 1, "none.png: cannot be opened: no such file"),
    "style is no picture": (("content.png", "text.png"), 1, "text.png: "),
    "empty folder": (("content.png", "empty"), 1, "empty: holds no picture"),
    "mask size": ((*FIRST, "--masks", "a.png"), 1, "expected the same size or the same aspect"),
    "no such mask": ((*FIRST, "--masks", "none.png"), 1, "none.png: cannot be opened"),
    "mask style": (
        (*FIRST, "b.png", "--masks", "left.png=c.png"),
        2,
        "c.png is no style; expected MASK=STYLE, with STYLE one of a.png, b.png, untouched",
    ),
    "masks overlap": (
        (*FIRST, "b.png", "--masks", "left.png=a", "left.png=b"),
        2,
        "left.png and left.png both claim",
    ),
    "empty mask": ((*FIRST, "--masks", "black.png"), 1, "black.png: marks nothing"),
    "tiny mask": ((*FIRST, "--masks", "dot.png"), 1, "dot.png: expected masks that cover"),
    "count of weights": (
        (*FIRST, "b.png", "--style_weights", "1"),
        2,
        "--style_weights: 1 numbers for 2 styles",
    ),
    "weights of nothing": (
        (*FIRST, "b.png", "--style_weights", "0", "0"),
        2,
        "--style_weights: all are 0",
    ),
    "negative weight": ((*FIRST, "--style_weight", "-1"), 2, "--style_weight: -1.0 is not in"),
    "weight is no number": ((*FIRST, "--tv_weight", "much"), 2, "Given value: much"),
    "no evaluation": ((*FIRST, "--iterations", "5", "0"), 2, "--iterations: 0 is not above 0"),
    "too small": ((*FIRST, "--size", "8"), 2, "--size: 8 is below 32"),
    "too large": ((*FIRST, "--size", "400000"), 1, "are available: use a size of at most"),
    "unknown preset": (
        (*FIRST, "--preset", "gatys2015"),
        2,
        "--preset: 'gatys2015' is none of auto, builtin, random, trained, model, gatys2016, "
        "leongatys, tutorial, neural_style, crowsonkb, adam_5000, adam_lr5; did you mean "
        "gatys2016?",
    ),
    "unknown layer": (
        (*FIRST, *RANDOM, "--style_layers", "relu9_1"),
        2,
        "--style_layers: ",
    ),
    "unknown backbone": (
        (*FIRST, "--backbone", "resnt50"),
        2,
        "--backbone: 'resnt50' is none of auto, vgg19, vgg16, random, pixels and no model of "
        "torchvision; did you mean resnet50",
    ),
    "backbone of one size": ((*FIRST, "--backbone", "vit_b_16"), 2, "pictures of one size only"),
    "backbone is a file": (
        (*FIRST, "--backbone", "mine.pth"),
        1,
        "mine.pth: no such file",
    ),
    "unknown layer of a model": (
        (*FIRST, *RESNET, "--style_layers", "layer1", "layer5"),
        2,
        "--style_layers: 'layer5' is no layer of resnet18; did you mean layer4",
    ),
    "pooling of a model": ((*FIRST, *RESNET, "--pooling", "average"), 2, "changes VGG alone"),
    "no weights of a model": (
        (*FIRST, "--backbone", "resnet18", "--weights", "none.pth"),
        1,
        "none.pth: no such file; expected weights of resnet18",
    ),
    "weights of a random model": ((*FIRST, *RESNET, "--weights", "none.pth"), 2, "not be used"),
    "preset of a model": ((*FIRST, "--preset", "model"), 2, "and --backbone is auto"),
    "unknown smoothing": (
        (*FIRST, *RESNET, "--smoothing", "blur"),
        2,
        "--smoothing: expected none, softmax, softmax(T) or scale(a), got 'blur' (or auto)",
    ),
    "smoothing of pixels": ((*FIRST, "--smoothing", "softmax"), 2, "builtin looks at pixels"),
    "unknown option": ((*FIRST, "--keep_colours", "linear"), 2, "did you mean --keep_colors"),
    "style too small": (
        ("content.png", "pixel.png", *RANDOM),
        1,
        "pixel.png: is a style of 1 x 1 pixels at the smallest scale, too small for the network",
    ),
    "style too small for the content's layers": (
        ("content.png", "one/0.png", *RESNET, *DEEP, "--size", "48"),
        1,
        "one/0.png: is a style of 32 x 30 pixels at the smallest scale, too small for the network, "
        "which needs 32",
    ),
    "wrong weights": ((*FIRST, "--weights", "text.png"), 1, "text.png: "),
    "no weights": ((*FIRST, "--weights", "none.pth"), 1, "none.pth: no such file"),
    "start without picture": ((*FIRST, "--init", "file"), 2, "--init_image: goes with --init file"),
    "picture without start": ((*FIRST, "--init_image", "b.png"), 2, "goes with --init file"),
    "start is no picture": (
        (*FIRST, "--init", "file", "--init_image", "text.png"),
        1,
        "text.png: ",
    ),
    "output is the content": ((*FIRST, "--output", "content.png"), 2, "content.png is also read"),
    "output is a style": (
        (*FIRST, "--output", "one/../a.png"),
        2,
        "a.png is also read as another file",
    ),
    "output is a mask": (
        (*FIRST, "--masks", "left.png=a.png", "--output", "left.png"),
        2,
        "--output: left.png is also read",
    ),
    "output twice": (
        (*FIRST, "--output", "out.png", "--triptych", "out.png"),
        2,
        "--triptych: out.png is also written as another file",
    ),
    "output among styles": (
        ("content.png", "one", "--output", "one/deep/out.png"),
        2,
        "--output: one/deep/out.png lies in one, whose pictures are styles",
    ),
    "kept pictures": (
        ("out_0010.png", "a.png", "--save_every", "10", "--output", "out.png"),
        2,
        "--save_every: out_0010.png is read",
    ),
    "suffix": ((*FIRST, "--output", "out.pmg"), 2, "did you mean .png"),
    "no suffix": ((*FIRST, "--output", "out"), 2, "--output: out ends in none of .png, .jpg"),
    "deep triptych": ((*FIRST, "--triptych", "out.tif"), 2, "--triptych: out.tif ends in none of"),
    "video suffix": ((*FIRST, "--video", "out.avi"), 2, "--video: out.avi ends in none of .gif"),
    "plot suffix": ((*FIRST, "--plot_losses", "out.pdf"), 2, "out.pdf ends in none of .png, .svg"),
    "output in a file": (
        (*FIRST, "--output", "text.png/deep/out.png"),
        1,
        "text.png is a file, not a folder",
    ),
    "output is a folder": (
        (*FIRST, "--output", "empty.png"),
        1,
        "empty.png: cannot be written: it is a folder",
    ),
    "video in a file": (
        (*FIRST, "--video", "text.png/out.gif"),
        1,
        "out.gif: cannot be written: ",
    ),
    "sheet is a folder": ((*FIRST, "--triptych", "empty.png"), 1, "cannot be written: it is a"),
    "no such recipe": (("--config", "none.yaml"), 2, "--config: File does not exist: "),
    "damaged recipe": (("--config", "text.png"), 2, "Problems parsing config"),
    "half precision": (
        (*FIRST, "--device", "cpu", "--mixed_precision", "fp16"),
        2,
        "--mixed_precision: fp16 needs a GPU; use bf16 or no on the CPU",
    ),
    "precision": ((*FIRST, "--mixed_precision", "8"), 2, "--mixed_precision: expected one of"),
    "kept picture is a sheet": (
        (*FIRST, "--triptych", "o_0002.png", "--save_every", "2", "--output", "o.jpg"),
        2,
        "--save_every: o_0002.png is written, and a picture that is kept may get its name",
    ),
    "folder without a network": (
        (*FIRST, "--backbone", "one"),
        2,
        "--backbone: one is a folder that holds no backbone.safetensors",
    ),
    "device": ((*FIRST, "--device", "gpu"), 2, "--device: expected one of"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_found_before_anything_is_computed(
    mistake: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "empty").mkdir()
    (folder / "empty.png").mkdir()
    (folder / "text.png").write_text("no: [picture", encoding="utf-8")
    Image.new("L", (WIDTH, HEIGHT)).save(folder / "black.png")
    dot = Image.new("L", (WIDTH * 10, HEIGHT * 10))
    dot.paste(255, (0, 0, 4, 4))
    dot.save(folder / "dot.png")
    Image.new("RGB", (1, 1)).save(folder / "pixel.png")
    Image.new("RGB", (32, 32)).save(folder / "out_0010.png")
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    argv, status, says = MISTAKES[mistake]
    words = argv if "--size" in argv or "--iterations" in argv else (*argv, *SMALL)
    found = stylize(*words)
    printed = capsys.readouterr()
    assert (found, says in printed.err) == (status, True), printed.err
    assert "Traceback" not in printed.err
    assert "wrote" not in printed.out
    left = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert left == before


def test_a_mistake_leaves_the_losses_of_an_earlier_run(folder: Path) -> None:
    assert stylize(*FIRST, *SMALL, "--output", "out.png") == 0
    before = (folder / "out.losses.csv").read_bytes()
    assert stylize("none.png", "a.png", *SMALL, "--output", "out.png") == 1
    assert stylize(*FIRST, *SMALL, "--output", "out.png", "--video", "a.png/x.gif") == 1
    assert (folder / "out.losses.csv").read_bytes() == before


# Disks and signals.


@pytest.mark.parametrize("option", ["--output", "--triptych", "--video", "--plot_losses"])
def test_a_read_only_place_is_refused_at_once(
    folder: Path, read_only_disk: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    suffix = ".gif" if option == "--video" else ".png"
    place = read_only_disk / f"out{suffix}"
    assert stylize(*FIRST, *SMALL, option, str(place)) == 1
    printed = capsys.readouterr()
    assert f"{place}: cannot be written: read-only file system" in printed.err
    assert "Traceback" not in printed.err
    assert not (folder / "stylized.png").exists()


@pytest.mark.usefixtures("folder")
def test_a_full_disk_is_said(small_disk: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = (*FIRST, *SMALL, "--output", str(small_disk / "out.tif"))
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while file.write(b"\0" * 4096):
            pass
    assert stylize(*words) == 1
    first = capsys.readouterr()
    assert "out.tif: cannot be written: no space left on device" in first.err
    assert "preset" not in first.out  # found before anything was computed
    os.truncate(filler, filler.stat().st_size - 8192)  # enough for losses, not for the picture
    assert stylize(*words) == 1
    second = capsys.readouterr()
    assert "out.tif: cannot be written: no space left on device" in second.err
    assert "preset" in second.out
    assert "Traceback" not in first.err + second.err
    assert {path.name for path in small_disk.iterdir()} == {"filler", "out.losses.csv"}
    filler.unlink()
    assert stylize(*words) == 0


def test_stopped_at_a_coarse_scale_it_is_as_large_as_was_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    note = LossLog.__call__

    def note_and_interrupt(log: LossLog, iterate: Iterate) -> None:
        note(log, iterate)
        if iterate.evaluations == 10:
            signal.raise_signal(signal.SIGINT)

    words = ("content.png", "a.png", "--size", "40", "--iterations", "1000")
    with monkeypatch.context() as patch:
        patch.setattr(LossLog, "__call__", note_and_interrupt)
        assert stylize(*words, "--output", "out.png", "--video", "making.gif") == 130
    assert "stopped; wrote out.png (40 x 30) after 11 evaluations in" in capsys.readouterr().out
    assert pixels(folder / "out.png").shape == (HEIGHT, WIDTH, 3)
    assert frames_of(folder / "making.gif")[-1].shape == (HEIGHT, WIDTH, 3)
    facts = read_recipe(folder / "out.png.yaml").facts
    assert facts is not None
    assert facts.stopped == "stopped after 11 evaluations of 5000, at 10 x 8 pixels, and enlarged"
    assert stylize("--config", "out.png.yaml", "--iterations", "2", "--output", "again.png") == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("not as")]
    assert lines == [
        f"not as in the recipe: it goes on to its end now, the recipe is of a picture "
        f"{facts.stopped}"
    ]
    again = read_recipe(folder / "again.png.yaml").facts
    assert again is not None
    assert again.stopped == ""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_signals_end_it_with_the_best_picture_so_far(
    number: signal.Signals, status: int, folder: Path
) -> None:
    words = ("content.png", "a.png", "--size", "40", "--iterations", "1000000")
    extra = ("--output", "out.png", "--video", "making.gif", "--plot_losses", "losses.svg")
    process = subprocess.Popen(
        [sys.executable, "-m", "impasto.scripts.main", "stylize", *words, *extra],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=folder,
    )
    log = folder / "out.losses.csv"
    wait_for(lambda: log.exists() and len(log.read_text("utf-8").splitlines()) >= 2, process)
    os.killpg(process.pid, number)
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == status, errors
    assert "stopped; wrote out.png (" in printed
    assert "Traceback" not in errors
    shown = pixels(folder / "out.png")
    rows = read_losses(log)
    assert f"after {rows[-1].evaluations} evaluations" in printed
    assert np.isfinite(rows[-1].losses["total"])
    assert shown.std() > 1
    assert (frames_of(folder / "making.gif")[-1].shape, (folder / "losses.svg").exists()) == (
        shown.shape,
        True,
    )
    facts = read_recipe(folder / "out.png.yaml").facts
    assert facts is not None
    assert facts.evaluations == rows[-1].evaluations
