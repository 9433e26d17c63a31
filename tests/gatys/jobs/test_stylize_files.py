"""The job that writes all files, called from Python; the command's tests have the rest."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

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
