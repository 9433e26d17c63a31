"""`impasto stylize` as a user calls it: words in, files, lines and an exit status out."""

import logging
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from skimage.color import rgb2lab
from torchvision import models

from impasto.data.animations import Film
from impasto.gatys.outputs.loss_log import read_losses
from impasto.gatys.outputs.recipe import describe_file, read_recipe
from impasto.options.errors import PictureError
from tests.scripts.stylizing import (
    BUILTIN,
    HEIGHT,
    RESNET,
    SMALL,
    WIDTH,
    frames_of,
    pixels,
    stylize,
)

# What a run writes and says.


def test_writes_picture_losses_and_recipe_and_says_so(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert stylize("content.png", "a.png", *SMALL, *BUILTIN, "--output", "made/out.png") == 0
    printed = capsys.readouterr().out
    assert "preset builtin with no network on cpu (1 thread, 32 bits): 40 x 30 pixels" in printed
    assert "wrote made/out.png (40 x 30) after 11 evaluations in" in printed
    assert "s of optimizing\n" in printed
    assert "\nnext: impasto stylize --config made/out.png.yaml --output made/out_2.png, " in printed
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


def test_the_picture_is_announced_though_the_film_fails(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(film: Film) -> Path:
        assert "wrote out.png (40 x 30)" in capsys.readouterr().out
        assert read_recipe(folder / "out.png.yaml").facts is not None
        raise PictureError(film.path, "cannot be written: no space left on device")

    monkeypatch.setattr(Film, "write", fail)
    words = (*SMALL, "--output", "out.png", "--video", "making.gif")
    assert stylize("content.png", "a.png", *words) == 1
    printed = capsys.readouterr()
    assert "making.gif: cannot be written: no space left" in printed.err
    assert "wrote" not in printed.out


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
    words = ("content.png", "a.png", *SMALL, *BUILTIN, "--save_every", "1", "--output", "out.png")
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
    words = (
        "content.png",
        "a.png",
        *SMALL,
        *BUILTIN,
        "--output",
        "out.png",
        "--video",
        "making.apng",
    )
    finish = ("--keep_colors", "luminance", "--masks", "left.png=untouched", "--save_every", "1")
    assert stylize(*words, *finish) == 0
    assert (frames_of(folder / "making.apng")[-1] == pixels(folder / "out.png")).all()
    left = np.s_[:, : WIDTH // 2]
    assert (pixels(folder / "out_0010.png")[left] == pixels(folder / "content.png")[left]).all()


# Masks, colors, several styles, starts.


def test_the_picture_of_an_earlier_run_is_not_replaced_unasked(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("content.png", "a.png", *SMALL, "--output", "out.png")
    assert stylize(*words) == 0
    files = ("out.png", "out.png.yaml", "out.losses.csv")
    before = {name: (folder / name).read_bytes() for name in files}

    def refused(*more: str) -> str:
        capsys.readouterr()
        assert stylize(*words, *more) == 1
        assert {name: (folder / name).read_bytes() for name in files} == before
        return capsys.readouterr().err

    said = refused("--size", "32", "--seed", "7")
    assert "out.png: is there already, made with size 40 (now 32), seed 0 (now 7); choose" in said
    # The same picture may be made again, from its recipe too, and have further results.
    assert stylize(*words) == 0
    assert stylize("--config", "out.png.yaml") == 0
    assert stylize(*words, "--triptych", "three.png") == 0
    assert (folder / "out.png").read_bytes() == before["out.png"]
    before |= {name: (folder / name).read_bytes() for name in files}
    (folder / "four.png").write_bytes(b"of someone else")
    said = refused("--triptych", "four.png")
    assert "four.png: is there already, and not known to be of the same run" in said
    (folder / "a.png").rename(folder / "old.png")
    (folder / "a.png").write_bytes((folder / "b.png").read_bytes())
    assert f"made with {folder / 'a.png'} as it was before; choose another name" in refused()
    (folder / "out.png.yaml").rename(folder / "elsewhere.yaml")
    capsys.readouterr()
    assert stylize(*words) == 1
    assert "not known to be of the same run" in capsys.readouterr().err
    assert stylize(*words, "--overwrite", "true") == 0
    assert (folder / "out.png").read_bytes() != before["out.png"]
    assert "overwrite" not in (folder / "out.png.yaml").read_text(encoding="utf-8")


def test_an_untouched_region_keeps_the_contents_pixels(folder: Path) -> None:
    words = ("content.png", "a.png", *SMALL, "--output", "out.png", "--overwrite", "true")
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
    # Where sRGB has no such color at that lightness, the chroma is less, never more.
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
    words = ("content.png", "red.png", "blue.png", *SMALL, "--overwrite", "true")

    def redness(*weights: str) -> float:
        assert stylize(*words, "--output", "out.png", "--style_weights", *weights) == 0
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
    assert stylize("content.png", "one", *SMALL, *BUILTIN, "--output", "out.png") == 0
    facts = read_recipe(folder / "out.png.yaml").facts
    assert facts is not None
    names = [Path(file.path).name for file in facts.inputs]
    assert names == ["content.png", "0.png", "1.png", "2.png"]
    # A folder of one picture, and a mix of that folder's pictures, are the same style.
    assert stylize("content.png", *(f"one/{i}.png" for i in range(3)), *SMALL, *BUILTIN) == 0
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


# Models of torchvision.


@pytest.mark.parametrize(
    ("model", "layers", "size"),
    [
        ("resnet18", ("layer1", "conv3_block1_2_bn"), "40"),
        pytest.param("resnet50", ("layer1", "layer2", "layer3"), "40", marks=pytest.mark.slow),
        pytest.param("inception_v3", ("Conv2d_2b_3x3", "Mixed_5b"), "64", marks=pytest.mark.slow),
        ("efficientnet_b0", ("features.1", "features.3"), "40"),
        pytest.param("convnext_tiny", ("features.1", "features.3"), "40", marks=pytest.mark.slow),
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
    words = ("content.png", "a.png", *SMALL, *BUILTIN, "--output")
    assert stylize(*words, "no.png") == 0
    assert stylize(*words, "bf16.png", "--mixed_precision", "bf16") == 0
    assert (folder / "no.png").read_bytes() == (folder / "bf16.png").read_bytes()
