"""Names of layers of torchvision's models, and which of them suit a transfer."""

import logging

import pytest

from impasto.gatys.model_anatomy import find_anatomy, model_names
from impasto.gatys.model_layers import (
    default_layers,
    find_layer,
    from_keras,
    layer_table,
    parse_model_layers,
)
from impasto.options.errors import OptionError

RESNET50 = tuple(find_anatomy("resnet50").maps)
# Layers of report 004 (IIT Bombay CS725), by their names in Keras and in torchvision.
REPORT_004 = {
    "conv5_block3_3_bn": "layer4.2.bn3",
    "conv2_block2_2_bn": "layer1.1.bn2",
    "conv3_block1_0_bn": "layer2.0.downsample.1",
    "conv3_block1_0_conv": "layer2.0.downsample.0",
    "conv4_block1_2_bn": "layer3.0.bn2",
    "conv5_block1_3_bn": "layer4.0.bn3",
}


def test_keras_names_of_report_004_and_the_stride_is_said(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = parse_model_layers(list(REPORT_004), RESNET50, "resnet50")
    assert list(found) == list(REPORT_004.values())
    (message,) = [record.getMessage() for record in caplog.records]
    assert "read conv5_block3_3_bn as layer4.2.bn3, " in message
    assert "torchvision strides in the 3 x 3 convolutions, Keras in the 1 x 1" in message


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("conv1_conv", "conv1"),
        ("conv1_relu", "relu"),
        ("pool1_pool", "maxpool"),
        ("conv2_block1_1_relu", "layer1.0.relu"),
        ("conv2_block1_2_relu", "layer1.0.relu_1"),
        ("conv4_block6_add", "layer3.5.add"),
        ("conv5_block3_out", "layer4.2.relu_2"),
    ],
)
def test_keras_names_of_resnet50(theirs: str, ours: str) -> None:
    assert parse_model_layers([theirs.upper()], RESNET50, "resnet50") == (ours,)


def test_the_stride_is_where_the_docstring_says() -> None:
    maps = find_anatomy("resnet50").maps
    # In Keras conv3_block1_1_conv strides already, so its output has 8 pixels per position.
    assert maps["layer2.0.conv1"].stride == 4
    assert maps["layer2.0.conv2"].stride == 8
    assert maps["layer2.0.downsample.0"].stride == 8


@pytest.mark.parametrize(
    ("model", "theirs", "ours"),
    [
        ("inception_v3", "mixed0", "Mixed_5b"),
        ("inception_v3", "mixed10", "Mixed_7c"),
        ("inception_v3", "mixed11", None),
        ("efficientnet_b0", "block2b_add", "features.2.1"),
        ("resnet50", "conv6_block1_out", None),
        ("resnet50", "conv2_block1_3_relu", None),
        ("convnext_tiny", "conv1_conv", None),
    ],
)
def test_keras_names_of_other_models(model: str, theirs: str, ours: str | None) -> None:
    assert from_keras(theirs, model) == ours


def test_short_names_are_the_last_layer_inside() -> None:
    assert find_layer("layer1", RESNET50) == "layer1.2.relu_2"
    assert find_layer(" Layer1.0 ", RESNET50) == "layer1.0.relu_2"
    assert find_layer("layer1.0.bn1", RESNET50) == "layer1.0.bn1"
    assert find_layer("layer", RESNET50) is None


@pytest.mark.parametrize(
    ("names", "says"),
    [
        (["layer5"], r"'layer5' is no layer of resnet50; did you mean layer4 or .*stages: conv1"),
        (["layer1.0.bm1"], r"did you mean layer1\.0\.bn1"),
        (["relu4_2"], r"'impasto weights layers resnet50' lists all \d+ layers"),
        (["layer1", "layer1.2"], r"layer1\.2\.relu_2 is named twice \(layer1 and layer1\.2\)"),
        ([], "names no layer"),
    ],
)
def test_names_that_are_none(names: list[str], says: str) -> None:
    with pytest.raises(OptionError, match=f"--style_layers: .*{says}"):
        parse_model_layers(names, RESNET50, "resnet50", option="style_layers")


@pytest.mark.parametrize(
    ("model", "content", "style"),
    [
        ("resnet50", "layer3", ["relu", "layer1", "layer2", "layer3", "layer4"]),
        ("efficientnet_b0", "features.5", [f"features.{i}" for i in (1, 2, 3, 5, 8)]),
        ("convnext_tiny", "features.5", [f"features.{i}" for i in (1, 3, 5, 7)]),
        (
            "inception_v3",
            "Mixed_6e",
            ["Conv2d_2b_3x3", "Conv2d_4a_3x3", "Mixed_5d", "Mixed_6e", "Mixed_7c"],
        ),
    ],
)
def test_defaults_are_ends_of_stages_of_each_size(
    model: str, content: str, style: list[str]
) -> None:
    known = tuple(find_anatomy(model).maps)
    assert default_layers(model) == (
        find_layer(content, known),
        tuple(find_layer(name, known) for name in style),
    )


def test_the_table_lists_every_layer_once() -> None:
    lines = layer_table("resnet50").splitlines()
    names = [line.split()[0].rstrip("*") for line in lines[1 : lines.index("")]]
    assert names == list(RESNET50)
    assert "layer2.0.conv2               128  8" in lines
    assert lines[-2] == "content unless said otherwise: layer3.5.relu_2"


def test_models_of_one_size_are_no_backbones() -> None:
    assert {"resnet50", "swin_t", "vgg19_bn"} <= set(model_names())
    assert not [name for name in model_names() if "vit" in name]
    with pytest.raises(OptionError, match="vit_b_16 takes pictures of one size only"):
        find_anatomy("vit_b_16")
    with pytest.raises(OptionError, match=r"'resnet51' is no model .*did you mean resnet"):
        find_anatomy("resnet51")
