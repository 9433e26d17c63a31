"""`impasto evaluate --paired`: results against the true pictures of their inputs."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto.cyclegan import run_evaluation
from impasto.cyclegan.jobs.evaluate import Networks
from impasto.options import FolderError, OptionError, PictureError
from impasto.options.evaluate import EvaluateOptions

SIDE = 32


class Means:
    """Compares mean levels in place of features."""

    name = "means"
    short = "means"

    def content_distance(self, picture: Any, other: Any, /) -> float:
        return abs(float(picture.mean()) - float(other.mean()))

    def statistics(self, pictures: Any, /) -> Any:
        return pictures

    def style_distance(self, picture: Any, style: Any, /) -> float:
        return float(picture is style)


def write(path: Path, rgb: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.asarray(rgb, dtype=np.uint8)).save(path)


def make_set(root: Path, *, side_by_side: bool) -> None:
    """Write inputs, true pictures, and results that are 10 levels lighter than the true ones."""
    rng = np.random.default_rng(0)
    for place in range(5):
        source, true = rng.integers(0, 200, (2, SIDE, SIDE, 3))
        if side_by_side:
            write(root / "test" / f"{place}.png", np.concatenate([source, true], axis=1))
        else:
            write(root / "testA" / f"{place}.png", source)
            write(root / "testB" / f"{place}.bmp", true)
        write(root / "results" / f"{place}.png", true + 10)


def evaluate(root: Path, **changes: Any) -> dict[str, Any]:
    folders = {"real": root / "testB", "inputs": root / "testA", **changes}
    options = EvaluateOptions(
        **{"paired": True, "output": root / "out", "size_px": SIDE, "patches": 256, **folders}
    )
    networks = Networks(comparison=Means())
    result = run_evaluation([root / "results"], options, networks=networks)
    page = result.page.read_text(encoding="utf-8")
    assert "PSNR to true" in page
    rows = json.loads(result.results.read_text(encoding="utf-8"))["rows"]
    return {row["name"]: row for row in rows}


@pytest.mark.parametrize("side_by_side", [False, True])
@pytest.mark.filterwarnings("ignore")  # random pictures are no test of the other measures
def test_results_are_compared_with_the_true_pictures(tmp_path: Path, side_by_side: bool) -> None:
    make_set(tmp_path, side_by_side=side_by_side)
    both = {"real": tmp_path / "test", "inputs": tmp_path / "test"} if side_by_side else {}
    rows = evaluate(tmp_path, **both)
    values = rows["results"]
    assert values["true_l1"] == pytest.approx(10)
    assert values["true_psnr"] == pytest.approx(20 * math.log10(255 / 10))
    assert values["true_content"] == pytest.approx(10, abs=0.5)
    assert 0.9 < values["true_ssim"] < 1
    # The inputs themselves are random pictures of their own, far away from the true ones.
    assert rows["do nothing"]["true_psnr"] < 15
    # And the measures that know no pairs are still there.
    assert {"swd", "psnr", "ssim"} <= set(values)


@pytest.mark.filterwarnings("ignore")
def test_the_right_half_may_be_the_input(tmp_path: Path) -> None:
    make_set(tmp_path, side_by_side=True)
    rows = evaluate(tmp_path, real=tmp_path / "test", inputs=tmp_path / "test", input_half="right")
    assert rows["results"]["true_psnr"] < 15  # the results are those of the left halves
    assert rows["results"]["psnr"] == pytest.approx(20 * math.log10(255 / 10))


def test_missing_partners_and_other_sizes_are_named(tmp_path: Path) -> None:
    make_set(tmp_path, side_by_side=False)
    write(tmp_path / "testB" / "2.bmp", np.zeros((20, 30, 3)))
    with pytest.raises(PictureError, match=r"has 30 x 20 pixels, and its partner .*2.png 32 x 32"):
        evaluate(tmp_path)
    (tmp_path / "testB" / "2.bmp").unlink()
    with pytest.raises(FolderError, match=r"1 pictures of .* no partner, such as 2\.png"):
        evaluate(tmp_path)


def test_pairs_need_both_folders() -> None:
    with pytest.raises(OptionError, match="needs the true pictures"):
        EvaluateOptions(real=Path("b"), paired=True)
    with pytest.raises(OptionError, match="add --paired true"):
        EvaluateOptions(real=Path("b"), inputs=Path("a"), input_half="right")
