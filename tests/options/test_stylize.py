from pathlib import Path
from typing import Any

import pytest

from impasto.options import OptionError, flatten, make
from impasto.options.stylize import STYLIZE_PRESETS, StylizeOptions


def options(**changes: Any) -> StylizeOptions:
    given = {"content": Path("photo.jpg"), "styles": [Path("a.jpg"), Path("b.jpg")]}
    return StylizeOptions(**{**given, **changes})


def test_defaults_leave_all_to_the_preset() -> None:
    some = StylizeOptions()
    assert (some.preset, some.backbone, some.size) == ("auto", "auto", 256)
    left = ("content_weight", "style_weight", "tv_weight", "statistic", "pooling", "optimizer")
    assert {getattr(some, name) for name in (*left, "lr", "history", "init")} == {None}


def test_flat_values_make_the_same_options() -> None:
    some = options(
        output=Path("out.webp"),
        style_weights=[2.0, 1.0],
        iterations=[50, 20],
        style_layers=["relu1_1", "relu2_1"],
        lr=0.01,
        init="file",
        init_image=Path("before.png"),
        video=Path("making.gif"),
    )
    assert flatten(make(StylizeOptions, flatten(some))) == flatten(some)
    assert make(StylizeOptions, flatten(some)).init_image == Path("before.png")


@pytest.mark.parametrize("preset", STYLIZE_PRESETS)
def test_presets(preset: str) -> None:
    assert options(preset=preset).preset == preset


@pytest.mark.parametrize(
    "changes",
    [
        {"output": Path("deep/er/a.TIFF")},
        {"video": Path("a.mp4"), "triptych": Path("a.jpeg"), "plot_losses": Path("a.svg")},
        {"size": 32, "style_scale": 0.1, "seed": 2**63 - 1},
        {"content_weight": 0.0, "style_weight": 0.0, "tv_weight": 0.0},
        {"style_weights": [0.0, 1.0]},
        {"masks": ["sky.png=a.jpg"], "mask_rest": "untouched"},
        # A picture in its own style, and several places with one name.
        {"styles": [Path("photo.jpg")]},
        {"output": Path("b/photo.jpg"), "styles": [Path("c/photo.jpg")]},
    ],
)
def test_what_is_allowed(changes: dict[str, Any]) -> None:
    made = options(**changes)
    listed = {
        name: tuple(value) if isinstance(value, list) else value for name, value in changes.items()
    }
    assert {name: getattr(made, name) for name in changes} == listed


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"output": Path("a.gif")}, "--output: a.gif ends in none of .* .tif, .tiff$"),
        ({"output": Path("a.pngg")}, "did you mean .png"),
        ({"output": Path("stylized")}, "--output: stylized ends in none of .*webp, .tif, .tiff$"),
        ({"triptych": Path("a.svg")}, "--triptych: a.svg ends in none of"),
        ({"triptych": Path("a.tif")}, "--triptych: a.tif ends in none of"),
        ({"video": Path("a.avi")}, "--video: a.avi ends in none of .gif, .apng, .png, .mp4"),
        ({"plot_losses": Path("a.jpg")}, "--plot_losses: a.jpg ends in none of .png, .svg"),
        ({"preset": "crowson"}, "--preset: 'crowson' is none of auto, .* mean crowsonkb"),
        ({"size": 31}, "--size: must be at least 32, got 31"),
        ({"init": "file"}, "--init_image: --init file and --init_image need each other"),
        (
            {"init_image": Path("x.png")},
            "--init_image: --init file and --init_image need each other",
        ),
        (
            {"init": "noise", "init_image": Path("x.png")},
            "--init_image: --init file and --init_image need each other",
        ),
        ({"style_scale": 0.05}, "--style_scale: 0.05 is not from 0.1 to below 10.0"),
        ({"style_scale": 10.0}, "--style_scale: 10.0 is not from 0.1 to below 10.0"),
        ({"style_scale": float("nan")}, "--style_scale: nan"),
        ({"seed": -1}, "--seed: -1 is not between 0 and"),
        ({"seed": 2**63}, "--seed: 9223372036854775808 is not between 0 and"),
        ({"lr": 0.0}, "--lr: 0.0 is not above 0"),
        ({"lr": float("nan")}, "--lr: nan"),
        ({"lr": float("inf")}, "--lr: inf is not a finite number"),
        ({"history": 0}, "--history: 0 is not above 0"),
        ({"save_every": -5}, "--save_every: -5 is not above 0"),
        ({"iterations": [50, 0]}, "--iterations: 0 is not above 0"),
        (
            {"style_weights": [1.0]},
            "--style_weights: expected a number for each of 2 styles, got 1",
        ),
        ({"style_weights": [1.0, -1.0]}, "--style_weights: must be at least 0, got -1.0"),
        (
            {"style_weights": [1.0, float("inf")]},
            "--style_weights: inf is not a finite number",
        ),
        (
            {"style_weights": [1.0, 2.0], "masks": ["sky.png=a.jpg"]},
            "--style_weights: mixes styles over the whole picture, and with --masks each region",
        ),
        ({"content_weight": -0.1}, "--content_weight: must be at least 0, got -0.1"),
        ({"style_weight": float("inf")}, "--style_weight: inf is not a finite number"),
        ({"tv_weight": float("nan")}, "--tv_weight: must be at least 0, got nan"),
        ({"style_strength": -1.0}, "--style_strength: must be at least 0, got -1.0"),
        ({"strength": 2}, "--strength: 2 is not from 0 to 1; for more style than the preset gives"),
        ({"style_strength": float("inf")}, "--style_strength: inf is not a finite number"),
    ],
)
def test_mistakes_name_the_option(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        options(**changes)


@pytest.mark.parametrize(
    ("name", "path", "changes", "how"),
    [
        ("output", "photo.jpg", {}, "read"),
        ("output", "b.jpg", {}, "read"),
        ("output", "sub/../b.jpg", {}, "read"),
        ("output", "start.png", {"init": "file", "init_image": Path("start.png")}, "read"),
        ("output", "sky.png", {"masks": ["sky.png=a.jpg"]}, "read"),
        ("output", "a=b.png", {"masks": ["a=b.png=untouched"]}, "read"),
        ("triptych", "a.jpg", {}, "read"),
        ("triptych", "stylized.png", {}, "written"),
        ("video", "stylized.png", {}, "written"),
        ("plot_losses", "sheet.png", {"triptych": Path("sheet.png")}, "written"),
        ("plot_losses", "weights.svg", {"weights": Path("weights.svg")}, "read"),
    ],
)
def test_nothing_is_written_over_what_is_read_or_written(
    name: str, path: str, changes: dict[str, Any], how: str
) -> None:
    says = f"--{name}: {path} is also {how} as another file; choose another name"
    with pytest.raises(OptionError) as caught:
        options(**{name: Path(path)}, **changes)
    assert str(caught.value) == says


def test_nothing_is_written_into_a_folder_of_styles(tmp_path: Path) -> None:
    folder = tmp_path / "monets"
    (folder / "deep").mkdir(parents=True)
    for inside in (folder / "out.png", folder / "deep" / "out.png"):
        with pytest.raises(OptionError, match=r"--output: .* lies in .*monets, whose pictures"):
            options(styles=[folder], output=inside)
        with pytest.raises(OptionError, match=r"--triptych: .* lies in"):
            options(styles=[folder], triptych=inside)
    assert options(styles=[folder], output=tmp_path / "monets.png").styles == (folder,)


def test_pictures_that_are_kept_do_not_replace_what_is_read() -> None:
    taken = {"content": Path("out_0050.png"), "output": Path("out.png")}
    with pytest.raises(OptionError, match=r"--save_every: out_0050\.png is read"):
        options(**taken, save_every=25)
    assert options(**taken).save_every is None
    assert options(**{**taken, "output": Path("deep/out.png")}, save_every=25).save_every == 25


@pytest.mark.parametrize("name", ["triptych", "video", "plot_losses"])
def test_pictures_that_are_kept_do_not_replace_what_is_written(name: str) -> None:
    taken = {name: Path("o_0002.png"), "output": Path("o.jpg")}
    with pytest.raises(OptionError, match=r"--save_every: o_0002\.png is written, and a picture"):
        options(**taken, save_every=2)
    assert options(**taken).save_every is None
    assert options(**{**taken, name: Path("deep/o_0002.png")}, save_every=2).save_every == 2


@pytest.mark.parametrize("precision", ["no", "bf16", "fp16"])
def test_precisions(precision: str) -> None:
    made = make(StylizeOptions, {"mixed_precision": precision})
    assert made.mixed_precision == flatten(made)["mixed_precision"] == precision


def test_paths_are_compared_by_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="is also read"):
        options(content=tmp_path / "a.png", output=Path("a.png"))
    assert options(content=tmp_path / "deep" / "a.png", output=Path("a.png")).content
