"""The preset ``lite`` with what controls a stylization, on tiny pictures."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from impasto.data.decode import read_picture
from impasto.gatys.build import build_settings
from impasto.gatys.inputs import picture_image
from impasto.gatys.jobs.stylize import Plan, StylizeResult, stylize
from impasto.gatys.losses.statistics import Patches
from impasto.gatys.memory import MemoryPlan
from impasto.gatys.optim.iterates import Iterate
from impasto.gatys.presets import OWN_PRESETS, Finish
from impasto.options.errors import ImpastoError, OptionError
from impasto.options.stylize import StylizeOptions

HEIGHT, WIDTH = 36, 48
Floats = NDArray[np.float32]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, low, high in (("content", 60, 200), ("red", 0, 90), ("blue", 0, 90)):
        cells = rng.integers(low, high, (9, 12, 3), dtype=np.uint8)
        if name != "content":
            cells[..., 0 if name == "red" else 2] += 150
        image = Image.fromarray(cells).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
        image.save(tmp_path / f"{name}.png")
    left = np.zeros((HEIGHT, WIDTH), np.uint8)
    left[:, : WIDTH // 2] = 255
    Image.fromarray(left).save(tmp_path / "left.png")
    return tmp_path


def options(folder: Path, *styles: str, **changes: Any) -> StylizeOptions:
    given: dict[str, Any] = {"preset": "lite", "size": WIDTH, "iterations": (8,), "device": "cpu"}
    return StylizeOptions(
        content=folder / "content.png",
        styles=[folder / f"{name}.png" for name in styles or ("red",)],
        **{**given, "threads": 1, **changes},
    )


def made(folder: Path, *styles: str, **changes: Any) -> Floats:
    result = stylize(options(folder, *styles, **changes))
    assert result.image.shape == (HEIGHT, WIDTH, 3)
    assert result.backbone.name == "lite"
    return result.image


def content(folder: Path, height: int = HEIGHT, width: int = WIDTH) -> Floats:
    rgb = read_picture(folder / "content.png").rgb
    return picture_image(rgb, height, width)[0].permute(1, 2, 0).numpy()


def distance(one: Floats, other: Floats) -> float:
    return float(np.abs(one - other).mean())


@pytest.mark.parametrize("preset", ["lite", "lite_fast"])
def test_the_same_bits_again(folder: Path, preset: str) -> None:
    first = made(folder, preset=preset)
    assert (first == made(folder, preset=preset)).all()
    assert (first != made(folder, preset=preset, seed=1)).any()
    # It has become redder, as the style is.
    assert np.argmax((first - content(folder)).mean(axis=(0, 1))) == 0


@pytest.mark.parametrize("preset", ["lite", "builtin"])
def test_strength_goes_from_the_photograph_to_the_style(folder: Path, preset: str) -> None:
    steps = (0.0, 0.3, 0.7, 1.0)
    results = {}
    for strength in steps:
        given = options(folder, preset=preset, strength=strength, iterations=(10,))
        results[strength] = stylize(given).image
    assert (results[0.0] == content(folder)).all()
    away = [distance(results[strength], content(folder)) for strength in steps]
    assert away == sorted(away)
    red = [float(results[strength][..., 0].mean()) for strength in steps]
    assert red == sorted(red)
    assert red[1] - red[0] > 0.02
    assert red[3] - red[2] > 0.02


def test_strength_in_a_region_of_its_own(folder: Path) -> None:
    mask = f"{folder / 'left.png'}={folder / 'red.png'}"
    more = {"masks": [mask], "mask_rest": "untouched"}
    shown = content(folder)
    weak, whole = made(folder, strength=0.4, **more), made(folder, **more)
    assert (weak[:, WIDTH // 2 :] == shown[:, WIDTH // 2 :]).all()
    assert distance(weak, shown) < distance(whole, shown)
    assert (made(folder, strength=0.0, **more) == shown).all()


def test_several_styles_and_their_weights(folder: Path) -> None:
    mixed = made(folder, "red", "blue")
    mostly_red = made(folder, "red", "blue", style_weights=(3, 1))
    only_red = made(folder, "red", "blue", style_weights=(1, 0))
    assert (only_red == made(folder, "red")).all()
    red = [image[..., 0].mean() - image[..., 2].mean() for image in (mixed, mostly_red, only_red)]
    assert red == sorted(red)


def test_a_folder_is_one_style(folder: Path) -> None:
    both = folder / "both"
    both.mkdir()
    for name in ("red", "blue"):
        shutil.copy(folder / f"{name}.png", both)
    given = replace(options(folder), styles=[both])
    assert stylize(given).image == pytest.approx(made(folder, "red", "blue"), abs=0.02)


def test_styles_of_regions(folder: Path) -> None:
    masks = [f"{folder / 'left.png'}={folder / 'red.png'}"]
    image = made(folder, "red", "blue", masks=masks)
    left, right = image[:, : WIDTH // 3], image[:, -WIDTH // 3 :]
    assert left[..., 0].mean() - left[..., 2].mean() > 0.1
    assert right[..., 2].mean() - right[..., 0].mean() > 0.1


@pytest.mark.parametrize("way", ["luminance", "linear", "histogram"])
def test_colors_of_the_content(folder: Path, way: str) -> None:
    def cast(image: Floats) -> Floats:
        mean = image.mean(axis=(0, 1))
        return np.asarray(mean - mean.mean())

    shown = cast(content(folder))
    assert np.abs(cast(made(folder, keep_colors=way)) - shown).max() < 0.04
    assert np.abs(cast(made(folder)) - shown).max() > 0.1


def test_starts(folder: Path) -> None:
    Image.open(folder / "blue.png").save(folder / "start.png")
    more = {"init": "file", "init_image": folder / "start.png", "iterations": (1,)}
    start = read_picture(folder / "blue.png").rgb / np.float32(255)
    assert made(folder, **more) == pytest.approx(start, abs=1e-6)
    noise = [made(folder, init="noise", seed=seed, iterations=(1,)) for seed in (0, 1)]
    assert (noise[0] != noise[1]).mean() > 0.9


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": "lbfgs"},
        {"statistic": "gaussian"},
        {"statistic": "sliced"},
        {"style_layers": ["stem", "block2.expand"], "content_layers": ["block1"]},
        {"patch_weight": 0.0, "chroma_weight": 0.0, "tv_weight": 0.0},
        {"structure_weight": 0.0},
        {"smoothing": "softmax"},
        {"style_scale": 0.5},
        {"style_strength": 10.0},
        {"content_weight": 10.0},
        {"mixed_precision": "bf16"},
        {"lr": 0.05},
        {"optimizer": "lbfgs", "history": 1},
        {"init": "content"},
        {"init": "statistics"},
        {"preset": "lite_fast"},
        {"preset": "model", "backbone": "lite"},
    ],
    ids=str,
)
def test_other_settings_give_other_pictures(folder: Path, changes: dict[str, Any]) -> None:
    other = made(folder, **changes)
    assert np.isfinite(other).all()
    assert distance(other, made(folder)) > 1e-4


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pooling": "l2"}, "pooling"),
        ({"replicate_padding": True}, "replicate_padding"),
        ({"backbone": "vgg19"}, "preset"),
        ({"backbone": "random:resnet18"}, "preset"),
        ({"style_layers": ["relu1_1"]}, "style_layers"),
        ({"smoothing": "strong"}, "smoothing"),
    ],
    ids=str,
)
def test_what_has_no_place_with_lite_is_refused_by_its_name(
    folder: Path, changes: dict[str, Any], named: str
) -> None:
    with pytest.raises(OptionError, match=f"^--{named}: "):
        stylize(options(folder, **changes))


def test_history_counts_with_lbfgs_alone(folder: Path) -> None:
    assert (made(folder, history=1) == made(folder)).all()
    lbfgs = [made(folder, optimizer="lbfgs", history=number) for number in (1, 20)]
    assert (lbfgs[0] != lbfgs[1]).any()


def test_what_is_watched_has_no_margin(folder: Path) -> None:
    seen: list[Iterate] = []
    plans: list[Plan] = []
    given = options(folder, size=196, iterations=(3, 2))
    result = stylize(given, begin=plans.append, watcher=seen.append, every=1)
    sizes = {iterate.image.shape[-2:] for iterate in seen}
    assert sizes == {(scale.height, scale.width) for scale in plans[0].scales}
    assert sizes == {(74, 98), (147, 196)}
    stylize(options(folder, iterations=(1,)), begin=plans.append)
    assert "196 x 147 pixels in 2 scales, about " in str(plans[0])
    assert "48 x 36 pixels in 1 scale, about " in str(plans[1])
    assert {(iterate.height, iterate.width) for iterate in seen} == sizes
    named = {"content", "structure", "style", "patches", "chroma", "variation", "total"}
    assert set(result.losses) >= named


def ranks(image: Floats) -> Floats:
    """Return the rank of each pixel's luminance, blurred, in even steps from 0 to 1."""
    light = gaussian_filter(image @ np.array([0.299, 0.587, 0.114]), 1.5, mode="nearest")
    return np.asarray(light.ravel().argsort().argsort() / (light.size - 1), dtype=np.float32)


def test_structure_keeps_the_order_of_light_and_dark(folder: Path) -> None:
    shown = ranks(content(folder))
    order = [
        np.corrcoef(
            ranks(made(folder, structure_weight=weight, init="noise", iterations=(40,))), shown
        )[0, 1]
        for weight in (0.0, 1.0, 30.0)
    ]
    assert order == sorted(order)
    assert order[2] > 0.9
    assert order[2] > order[0] + 0.1


def test_structure_is_in_the_tones_of_each_region(folder: Path) -> None:
    for name, tone in (("dark", 40), ("light", 200)):
        plain = np.full((HEIGHT, WIDTH, 3), tone, np.uint8)
        plain[::2] += 20
        Image.fromarray(plain).save(folder / f"{name}.png")
    masks = [f"{folder / 'left.png'}={folder / 'dark.png'}"]
    more: dict[str, Any] = {"style_weight": 0.0, "patch_weight": 0.0, "content_weight": 0.0}
    image = made(
        folder,
        *("dark", "light"),
        masks=masks,
        structure_weight=10.0,
        iterations=(60,),
        init="content",
        **more,
    )
    left, right = image[:, : WIDTH // 2 - 4], image[:, WIDTH // 2 + 4 :]
    assert left.mean() == pytest.approx(50 / 255, abs=0.06)
    assert right.mean() == pytest.approx(210 / 255, abs=0.06)


def test_stopped_early_it_is_whole(folder: Path) -> None:
    count = 0

    def stop() -> bool:
        nonlocal count
        count += 1
        return count == 3

    result: StylizeResult = stylize(options(folder, size=196, iterations=(5, 5)), stop=stop)
    assert result.image.shape == (147, 196, 3)
    assert result.stopped.startswith("stopped after 4 evaluations of 15")  # the last: its losses


def test_a_plain_frame_of_a_style_is_no_style(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    inner = np.asarray(Image.open(folder / "red.png"))
    framed = np.full((HEIGHT + 8, WIDTH + 8, 3), 250, np.uint8)
    framed[4:-4, 4:-4] = inner
    Image.fromarray(framed).save(folder / "framed.png")
    cut = made(folder, "framed")
    assert "framed.png has a plain frame, which is cut off" in caplog.text
    kept = made(folder, "framed", style_frames="keep")
    assert kept.mean() > cut.mean() + 0.02
    assert cut.mean() == pytest.approx(made(folder).mean(), abs=0.02)


def test_the_finish_weighs_the_patches(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    style = picture_image(read_picture(folder / "red.png").rgb, HEIGHT, WIDTH)
    statistic = Patches(side=5, filters=64, stock=64, seed=9)
    target = statistic.measure(style)
    away = []
    for patches in (0.0, 1.0, 50.0):
        finish = Finish(iterations=20, rate=1.0, patches=patches, variation=1.0, chroma=1.0)
        presets = {**OWN_PRESETS, "lite": replace(OWN_PRESETS["lite"], finish=finish)}
        monkeypatch.setattr("impasto.gatys.build.OWN_PRESETS", presets)
        result = stylize(options(folder, iterations=(20,)))
        assert result.evaluations == 40
        assert result.settings.finishing().patch_weight == result.settings.patch_weight * patches
        image = torch.from_numpy(result.image).permute(2, 0, 1)[None]
        with torch.no_grad():
            away.append(float(statistic.distance(image, target)))
    assert away == sorted(away, reverse=True)
    assert away[2] < 0.95 * away[0]


@pytest.mark.parametrize("changes", [{"strength": 0.0}, {"optimizer": "lbfgs"}], ids=str)
def test_no_finish_where_it_has_no_place(folder: Path, changes: dict[str, Any]) -> None:
    given = options(folder, iterations=(2,), **changes)
    assert build_settings(given).finish is None
    assert stylize(given).evaluations == (1 if "strength" in changes else 2)


@pytest.mark.parametrize("preset", ["lite", "crowsonkb"])
def test_a_picture_in_tiles_is_that_of_the_whole(
    folder: Path, preset: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    masks = (f"{folder / 'left.png'}={folder / 'red.png'}",)
    changes: dict[str, Any] = {"size": 64, "iterations": (3,), "masks": masks, "preset": preset}
    if preset == "crowsonkb":
        shallow = {"content_layers": ("relu2_2",), "style_layers": ("relu1_1", "relu2_1")}
        changes |= {"backbone": "random", **shallow}
    given = options(folder, "red", "blue", **changes)
    whole = stylize(given)
    plans: list[Plan] = []
    monkeypatch.setattr(
        "impasto.gatys.jobs.stylize.plan_memory", lambda *_, **__: MemoryPlan(bytes=1, tile_px=32)
    )
    tiled = stylize(given, begin=plans.append)
    assert str(plans[0]).endswith(" of memory, in tiles of 32 pixels")
    # Adam's first steps are signs of gradients, and where those are next to nothing, they follow
    # rounding.
    differences = np.abs(tiled.image - whole.image)
    assert np.quantile(differences, 0.99) < 2e-3
    assert tiled.losses["style"] == pytest.approx(whole.losses["style"], rel=1e-3)
    assert distance(whole.image, content(folder, 48, 64)) > 0.01


def test_builtin_says_what_would_fit(folder: Path) -> None:
    with pytest.raises(ImpastoError, match=r"pixels need about .*: use "):
        stylize(options(folder, preset="builtin", size=64, memory="1MB"))
    with pytest.raises(OptionError, match="expected an amount such as 2GB or 500MB, got 'much'"):
        options(folder, memory="much")
