"""Vectors of pictures, out of a feature network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from impasto.gatys.backbones import Vgg
from impasto.gatys.extractor import make_extractor
from impasto.gatys.networks import make_network
from impasto.options.errors import ImpastoError, OptionError

CPU = torch.device("cpu")


def pictures(count: int, side: int = 64) -> list[np.ndarray]:
    drawn = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), dtype=np.uint8)
    return list(drawn)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A VGG19 with a sixteenth of its channels."""
    path = tmp_path_factory.mktemp("mine") / "backbone.pth"
    torch.manual_seed(0)
    torch.save(Vgg(width=0.0625).state_dict(), path)
    return path


def test_features_are_the_means_of_a_layer(weights: Path) -> None:
    extractor = make_extractor("auto", weights, layer="relu2_1", device=CPU)
    shown = pictures(3)
    found = extractor(shown)
    network = make_network("auto", weights, layers=("relu2_1",)).network
    batch = torch.from_numpy(np.stack(shown)).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        expected = network(batch, ["relu2_1"])["relu2_1"].mean(dim=(2, 3))
    torch.testing.assert_close(found, expected)
    assert found.dtype == torch.float32


def test_the_deepest_layer_unless_given(weights: Path) -> None:
    extractor = make_extractor("auto", weights, device=CPU)
    assert f", {make_network('auto', weights).network.layers[-1]} (" in extractor.name
    assert extractor(pictures(1)).ndim == 2


def test_the_name_says_network_layer_and_file(weights: Path) -> None:
    assert make_extractor("random", layer="relu1_1", device=CPU).name == (
        "random, relu1_1 (random weights)"
    )
    extractor = make_extractor("auto", weights, layer="relu3_1", device=CPU)
    file = f"{weights.parent.name}/backbone.pth"
    assert extractor.name.startswith(f"vgg19, relu3_1 ({file}, SHA-256 ")


@pytest.mark.parametrize(
    ("name", "layer", "option", "says"),
    [
        ("pixels", "", "backbone", "pixels is no network"),
        ("resnet5", "", "backbone", "did you mean resnet50"),
        ("random", "relu9_1", "layer", "relu9_1"),
    ],
)
def test_unknown_names_are_refused(name: str, layer: str, option: str, says: str) -> None:
    with pytest.raises(OptionError) as raised:
        make_extractor(name, layer=layer, device=CPU)
    assert raised.value.option == option
    assert says in str(raised.value)


def test_a_picture_too_small_for_the_layer_is_refused(weights: Path) -> None:
    extractor = make_extractor("auto", weights, layer="relu5_1", device=CPU)
    with pytest.raises(ImpastoError, match="take a larger picture or earlier layers"):
        extractor(pictures(1, side=8))
