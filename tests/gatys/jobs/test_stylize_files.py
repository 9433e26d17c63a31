"""The job that writes all files, called from Python; the command's tests have the rest."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from impasto.data.decode import read_picture
from impasto.gatys import Plan, stylize, stylize_to_files
from impasto.gatys.outputs.loss_log import read_losses
from impasto.gatys.outputs.recipe import read_recipe
from impasto.options.errors import PictureError
from impasto.options.stylize import StylizeOptions


@pytest.fixture
def make_options(tmp_path: Path) -> Callable[..., StylizeOptions]:
    for seed, name in enumerate(("content.png", "style.png")):
        rgb = np.random.default_rng(seed).integers(0, 256, (30, 40, 3), dtype=np.uint8)
        Image.fromarray(rgb).save(tmp_path / name)

    def make(output: Path, **changes: object) -> StylizeOptions:
        values: dict[str, object] = {
            "content": tmp_path / "content.png",
            "styles": [tmp_path / "style.png"],
            "output": output,
            "backbone": "pixels",
            "size": 40,
            "iterations": [3],
            "device": "cpu",
        }
        return StylizeOptions(**{**values, **changes})  # type: ignore[arg-type]

    return make


def test_all_files_are_written_and_the_picture_is_that_in_memory(
    make_options: Callable[..., StylizeOptions], tmp_path: Path
) -> None:
    made = tmp_path / "made"
    options = make_options(
        made / "out.png", triptych=made / "sheet.png", plot_losses=made / "losses.svg"
    )
    plans: list[tuple[Plan, Sequence[str]]] = []
    result = stylize_to_files(options, begin=lambda *told: plans.append(told))
    assert sorted(path.name for path in made.iterdir()) == [
        *("losses.svg", "out.losses.csv", "out.png", "out.png.yaml", "sheet.png")
    ]
    with Image.open(made / "out.png") as image:
        np.testing.assert_array_equal(image, np.rint(stylize(options).image * 255))
    assert read_losses(made / "out.losses.csv")[-1].losses == result.losses
    ((plan, changes),) = plans
    assert (plan.evaluations, changes) == (result.evaluations, [])


def test_what_is_not_as_in_a_recipe_is_told_before_anything_is_computed(
    make_options: Callable[..., StylizeOptions], tmp_path: Path
) -> None:
    stylize_to_files(make_options(tmp_path / "out.png"))
    recipe = tmp_path / "out.png.yaml"
    Image.new("RGB", (40, 30)).save(tmp_path / "style.png")

    class EnoughError(Exception):
        pass

    def begin(_plan: Plan, changes: Sequence[str]) -> None:
        (change,) = changes
        assert f"{tmp_path / 'style.png'} is another file than the recipe is of" in change
        raise EnoughError

    with pytest.raises(EnoughError):
        stylize_to_files(make_options(tmp_path / "again.png"), recipes=[recipe], begin=begin)
    assert read_recipe(recipe).facts is not None
    assert not (tmp_path / "again.png").exists()


def test_a_place_that_cannot_be_written_is_refused_before_anything_is_computed(
    make_options: Callable[..., StylizeOptions], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("no folder", encoding="utf-8")
    with pytest.raises(PictureError, match="file is a file, not a folder"):
        stylize_to_files(make_options(tmp_path / "file" / "out.png"))
    assert not list(tmp_path.glob("*.losses.csv"))


@pytest.fixture
def see_through(
    make_options: Callable[..., StylizeOptions], tmp_path: Path
) -> Callable[[str, int], tuple[StylizeOptions, NDArray[np.uint8]]]:
    """Return a function that makes options with a transparent content and style.

    Where they are transparent, both have a color that nobody can see.
    """
    alpha = np.full((30, 40), 255, np.uint8)
    alpha[:12, :15], alpha[12:14] = 0, 77

    def make(output: str, color: int, **changes: object) -> tuple[StylizeOptions, Any]:
        options = make_options(tmp_path / output, **changes)
        for path in (options.content, *options.styles):
            assert path is not None
            with Image.open(path) as image:
                rgb = np.array(image.convert("RGB"))
            rgb[alpha == 0] = color
            Image.fromarray(np.dstack([rgb, alpha])).save(path)
        return options, alpha

    return make


def test_transparency_is_kept_and_hidden_colors_do_not_count(
    see_through: Callable[..., Any], tmp_path: Path
) -> None:
    pictures = []
    for color in (0, 255):
        options, alpha = see_through(f"{color}.png", color)
        stylize_to_files(options)
        with Image.open(tmp_path / f"{color}.png") as image:
            pictures.append(np.array(image))
        np.testing.assert_array_equal(pictures[-1][..., 3], alpha)
    np.testing.assert_array_equal(pictures[0], pictures[1])


def test_transparency_is_scaled_and_kept_in_all_that_is_written(
    see_through: Callable[..., Any], tmp_path: Path
) -> None:
    options, alpha = see_through(
        "out.tif",
        0,
        size=80,
        iterations=[4],
        save_every=2,
        video=tmp_path / "out.gif",
        triptych=tmp_path / "sheet.png",
    )
    result = stylize_to_files(options)
    assert result.image.shape == (60, 80, 3)
    for name in ("out.tif", "out_0002.png"):  # the latter is of a smaller scale
        found = read_picture(tmp_path / name)
        size = (found.width, found.height)
        scaled = np.asarray(Image.fromarray(alpha).resize(size, Image.Resampling.BICUBIC))
        np.testing.assert_array_equal(found.alpha, scaled)
    film = read_picture(tmp_path / "out.gif")
    assert film.alpha is None
    assert film.rgb[:20, :24].min() > 250  # white, and not what was hidden
    sheet = read_picture(tmp_path / "sheet.png").rgb
    assert (sheet == 255).all(axis=2).mean() > 0.05


def test_a_jpeg_is_laid_on_white_and_says_so(
    see_through: Callable[..., Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    options, _ = see_through("out.jpg", 0)
    stylize_to_files(options)
    (message,) = caplog.messages
    assert message.startswith(f"{options.content} is transparent in places, which a JPEG cannot be")
    assert read_picture(tmp_path / "out.jpg").rgb[:10, :13].min() > 245


def test_a_picture_of_nothing_is_refused(
    make_options: Callable[..., StylizeOptions], tmp_path: Path
) -> None:
    Image.new("RGBA", (40, 30), (200, 0, 0, 0)).save(tmp_path / "style.png")
    with pytest.raises(PictureError, match=r"style\.png: is transparent everywhere"):
        stylize_to_files(make_options(tmp_path / "out.png"))
