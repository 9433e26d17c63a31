"""L-BFGS with extreme settings and pictures: a finite picture in [0, 1], or a plain error.

``benchmarks/extreme_settings.py`` does the same at full sizes.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from impasto.gatys.jobs.stylize import StylizeResult, stylize
from impasto.gatys.optim.iterates import Iterate
from impasto.options.errors import ImpastoError
from impasto.options.stylize import StylizeOptions

RANDOM: Mapping[str, Any] = {"preset": "random", "iterations": (8, 12)}
GATYS: Mapping[str, Any] = {"preset": "gatys2016", "iterations": (12,)}
PATCHES: Mapping[str, Any] = {"preset": "builtin", "optimizer": "lbfgs", "iterations": (6,)}

RUNS: dict[str, Mapping[str, Any]] = {
    "style weight 1e-2": {**RANDOM, "size": 48, "style_weight": 1e-2},
    "style weight 1e6": {**RANDOM, "size": 48, "style_weight": 1e6},
    "style weight 1e6 from noise, Gram": {
        **RANDOM,
        "size": 64,
        "style_weight": 1e6,
        "init": "noise",
        "statistic": "gram",
    },
    "huge content weight": {**RANDOM, "size": 40, "content_weight": 1e10},
    "constant style": {**RANDOM, "size": 40, "styles": "flat"},
    "constant content, the start": {**RANDOM, "size": 40, "content": "flat", "init": "content"},
    "all constant, covariances": {
        **RANDOM,
        "size": 32,
        "statistic": "gaussian",
        "init": "content",
        "content": "flat",
        "styles": "flat",
    },
    "gatys2016 by random filters from noise": {**GATYS, "size": 96},
    "gatys2016, black style, weight 1e6": {
        **GATYS,
        "size": 48,
        "style_weight": 1e6,
        "styles": "black",
        "init": "content",
    },
    "patches, weight 1e6, steps far too long": {
        **PATCHES,
        "size": 32,
        "style_weight": 1e6,
        "lr": 50.0,
        "history": 3,
    },
    "patches of one colour, a constant content": {
        **PATCHES,
        "size": 64,
        "content": "flat",
        "styles": "black",
    },
}


@pytest.fixture
def pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    rng = np.random.default_rng(1)
    painted = {
        "content": rng.integers(0, 256, (6, 8, 3), dtype=np.uint8).repeat(12, 0).repeat(12, 1),
        "style": rng.integers(0, 256, (20, 24, 3), dtype=np.uint8).repeat(4, 0).repeat(4, 1),
        "flat": np.full((72, 96, 3), (200, 120, 40), np.uint8),
        "black": np.zeros((72, 96, 3), np.uint8),
    }
    for name, rgb in painted.items():
        Image.fromarray(rgb).save(tmp_path / f"{name}.png")
    return {name: tmp_path / f"{name}.png" for name in painted}


def run(pictures: dict[str, Path], settings: Mapping[str, Any]) -> tuple[StylizeResult, float]:
    """Return the result, and the total loss of the first picture at the last scale."""
    seen: list[Iterate] = []
    files = {
        "content": pictures[settings.get("content", "content")],
        "styles": (pictures[settings.get("styles", "style")],),
    }
    options = StylizeOptions(**{**settings, **files, "device": "cpu"})
    result = stylize(options, watcher=seen.append, every=1)
    first = next(iterate for iterate in seen if iterate.scale == iterate.scales)
    return result, first.losses["total"]


@pytest.mark.parametrize("name", RUNS)
def test_ends_with_a_finite_picture(name: str, pictures: dict[str, Path]) -> None:
    result, first = run(pictures, RUNS[name])
    image = result.image
    assert max(image.shape) == RUNS[name]["size"]
    assert np.isfinite(image).all()
    assert 0 <= image.min() <= image.max() <= 1
    assert np.isfinite(list(result.losses.values())).all()
    assert result.losses["total"] <= first


def test_what_float32_cannot_hold_is_a_plain_error(pictures: dict[str, Path]) -> None:
    settings = {**GATYS, "size": 32, "style_weight": 1e39}
    with pytest.raises(ImpastoError, match=r"no picture has finite losses .*smaller weights"):
        run(pictures, settings)
