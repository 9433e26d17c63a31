import logging

import pytest
import torch
import torchvision
from torch import nn

from impasto.gatys.layers import DEPTHS, convolution_names, layer_names, parse_layers
from impasto.options.errors import OptionError


@pytest.mark.parametrize("depth", DEPTHS)
def test_positions_are_torchvisions_indices(depth: int) -> None:
    with torch.device("meta"):
        features = getattr(torchvision.models, f"vgg{depth}")(weights=None).features
    kinds = {nn.Conv2d: "conv", nn.ReLU: "relu", nn.MaxPool2d: "pool"}
    names = layer_names(depth)
    assert [kinds[type(module)] for module in features] == [name[:4] for name in names]
    assert len(convolution_names(depth)) == depth - 3  # three fully connected layers
    assert (names[0], names[-1]) == ("conv1_1", "pool5")


def test_known_indices() -> None:
    # crowsonkb/style-transfer-pytorch names layers by these numbers and these words.
    names = layer_names(19)
    assert [names[i] for i in (1, 6, 11, 20, 22, 29)] == [
        *("relu1_1", "relu2_1", "relu3_1", "relu4_1", "relu4_2", "relu5_1")
    ]


def test_our_names_need_no_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert parse_layers(["relu4_2", "CONV1_1", "pool3"]) == ("relu4_2", "conv1_1", "pool3")
    assert not caplog.records


@pytest.mark.parametrize(
    ("name", "depth", "layer"),
    [
        ("conv_5", 19, "conv3_1"),  # seed 001 of the survey of users: far from conv5_1
        ("conv_10", 19, "conv4_2"),
        ("conv_13", 19, "conv5_1"),
        ("conv_11", 16, "conv5_1"),
        ("relu_2", 19, "relu1_2"),
        ("features.28", 19, "conv5_1"),
        ("28", 16, "conv5_3"),
        ("22", 19, "relu4_2"),
        ("block5_conv2", 19, "relu5_2"),
        ("block3_pool", 16, "pool3"),
        ("r42", 19, "relu4_2"),
        ("p4", 19, "pool4"),
    ],
)
def test_names_of_other_programs(
    name: str, depth: int, layer: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert parse_layers([name], depth) == (layer,)
    (record,) = caplog.records
    assert f"read {name} as {layer} of VGG{depth}" in record.getMessage()


def test_one_warning_for_all_names(caplog: pytest.LogCaptureFixture) -> None:
    found = parse_layers([f"conv_{k}" for k in (1, 3, 5, 9, 13)])
    assert found == ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv5_1")
    assert len(caplog.records) == 1
    assert "conv_9 as conv4_1, conv_13 as conv5_1" in caplog.text


@pytest.mark.parametrize(
    ("names", "depth", "says"),
    [
        (["conv4_5"], 19, "'conv4_5' is no layer of VGG19; did you mean conv4_"),
        (["conv3_4"], 16, "is no layer of VGG16; did you mean conv3_"),
        (["relu42"], 19, "did you mean relu4_2"),
        (["pool_4"], 19, "did you mean pool4"),
        (["conv_17"], 19, "'conv_17' is no layer"),
        (["conv_0"], 19, "'conv_0' is no layer"),
        (["37"], 19, "'37' is no layer"),
        (["block6_conv1"], 19, "is no layer"),
        (["xyz"], 19, r"'xyz' is no layer of VGG19 \(layers: conv1_1, relu1_1, conv1_2, .*pool5\)"),
        (["relu1_1", "r11"], 19, r"relu1_1 is named twice \(relu1_1 and r11\)"),
        # A published program does this, and so silently has four layers instead of five.
        (["conv_1", "conv_3", "conv_3"], 19, "conv2_1 is named twice"),
        ([], 19, "names no layer"),
    ],
)
def test_what_is_refused(names: list[str], depth: int, says: str) -> None:
    with pytest.raises(OptionError, match=f"^--style_layers: .*{says}"):
        parse_layers(names, depth, option="style_layers")


def test_unknown_depth() -> None:
    with pytest.raises(ValueError, match=r"depth: expected one of \(16, 19\), got 13"):
        layer_names(13)
