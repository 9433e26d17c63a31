"""Files of several styles: which is chosen, and what becomes of its scales and shifts."""

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from impasto.cyclegan.architecture import GeneratorArchitecture
from impasto.cyclegan.weights import fold_styles, load_generator, save_generator, style_shares
from impasto.options.errors import CheckpointError, OptionError

NAMES = ("wave", "fuji", "kiss")
ARCHITECTURE = GeneratorArchitecture(depth=1, channels=2, norm="affine", upsample="bilinear")


def conditional_weights(styles: int = 3) -> dict[str, Tensor]:
    """Give weights in which the scales of style s are s + 1, and its shifts 10 s."""
    network = ARCHITECTURE.build()
    weights = network.state_dict()
    for name, module in network.named_modules():
        if isinstance(module, torch.nn.InstanceNorm2d):
            ones = torch.ones(styles, module.num_features)
            numbers = torch.arange(styles)[:, None]
            weights[f"{name}.weight"] = ones * (numbers + 1)
            weights[f"{name}.bias"] = ones * 10 * numbers
    return weights


def save(path: Path, *, styles: object = NAMES) -> Path:
    provenance = {"styles": json.dumps(styles)}
    save_generator(path, conditional_weights(), ARCHITECTURE, provenance)
    return path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("fuji", (0.0, 1.0, 0.0)),
        ("wave:0.7,kiss:0.3", (0.7, 0.0, 0.3)),
        (" kiss : 3 , wave", (0.25, 0.0, 0.75)),
        ("wave,fuji,kiss:0", (0.5, 0.5, 0.0)),
    ],
)
def test_shares_are_weights_that_add_up_to_1(text: str, expected: tuple[float, ...]) -> None:
    assert tuple(style_shares(text, NAMES).values()) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("wage", "'wage' is none of wave, fuji, kiss; did you mean wave?"),
        ("wave:1,wave:2", "wave is named twice"),
        ("wave:much", "wave:much: expected a weight of at least 0"),
        ("wave:-1", "expected a weight of at least 0"),
        ("wave:nan", "expected a weight of at least 0"),
        ("wave:0", "expected a weight above 0"),
        ("", "'' is none of"),
    ],
)
def test_what_names_no_mixture_is_refused(text: str, says: str) -> None:
    with pytest.raises(OptionError, match=says.replace("?", r"\?")):
        style_shares(text, NAMES)


def test_a_mixture_is_linear_in_scales_and_shifts(tmp_path: Path) -> None:
    path = save(tmp_path / "styles.safetensors")
    loaded = load_generator(path, style="fuji:0.25,kiss:0.75")
    weights = loaded.network.state_dict()
    assert torch.allclose(weights["model.2.weight"], torch.full((2,), 2.75))  # 2 / 4 + 3 * 3 / 4
    assert torch.allclose(weights["model.2.bias"], torch.full((2,), 17.5))
    assert loaded.styles == NAMES
    assert loaded.notes == ()
    first = load_generator(path)
    assert torch.equal(first.network.state_dict()["model.2.weight"], torch.ones(2))
    assert first.notes == ("of its styles, wave, fuji, kiss, the first one is taken",)


def test_folding_leaves_all_other_weights_alone() -> None:
    weights = conditional_weights()
    folded = fold_styles(weights, dict(zip(NAMES, (1.0, 0.0, 0.0), strict=True)))
    assert folded.keys() == weights.keys()
    assert all(folded[name] is weights[name] for name in weights if weights[name].ndim != 2)


def test_a_style_of_a_file_without_styles_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "plain.safetensors"
    save_generator(path, ARCHITECTURE.build().state_dict(), ARCHITECTURE, {})
    assert load_generator(path).styles == ()
    with pytest.raises(OptionError, match="holds no styles; leave it out"):
        load_generator(path, style="wave")


@pytest.mark.parametrize(
    ("styles", "says"),
    [(["wave"], "holds 3"), ({"wave": 1}, "expected a list of names"), ([1], "a list of names")],
)
def test_metadata_that_do_not_fit_are_refused(tmp_path: Path, styles: object, says: str) -> None:
    path = save(tmp_path / "styles.safetensors", styles=styles)
    with pytest.raises(CheckpointError, match=f"styles.safetensors: .*{says}"):
        load_generator(path)
