"""Feature networks out of torchvision's models: the same features, nothing overwritten.

Names of layers of torchvision's models, and which of them suit a transfer.
"""

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

from impasto.gatys.features import weights
from impasto.gatys.features.graph import KEPT_STRIDE, find_anatomy, model_names
from impasto.gatys.features.make import (
    make_network,
    model_of,
    parse_network_layers,
    resolve_model_name,
)
from impasto.gatys.features.models import (
    ModelNetwork,
    default_layers,
    find_layer,
    from_keras,
    layer_table,
    parse_model_layers,
)
from impasto.gatys.features.random import calibration_pictures, random_model
from impasto.gatys.features.vgg import IMAGENET_MEAN, IMAGENET_STD
from impasto.gatys.features.weights import (
    cached_files,
    find_model_weights,
    load_model,
    missing_model_message,
    model_candidates,
    model_of_file,
)
from impasto.options.errors import CheckpointError, ImpastoError, OptionError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where torchvision's files are looked for: an empty folder."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def shaken(model: str) -> nn.Module:
    """torchvision's own model with statistics and weights that are not its start's."""
    torch.manual_seed(0)
    extra = {"init_weights": False, "transform_input": True} if "inception" in model else {}
    network: nn.Module = models.get_model(model, weights=None, **extra)
    for name, value in network.state_dict().items():
        if name.endswith(("running_mean", "bias")):
            value.normal_(0, 0.1)
        elif name.endswith(("running_var", "layer_scale")):
            value.uniform_(0.5, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def resnet18(tmp_path_factory: pytest.TempPathFactory) -> tuple[nn.Module, Path]:
    """A ResNet18, and its weights with their hash in the file's name."""
    network = shaken("resnet18")
    path = tmp_path_factory.mktemp("weights") / "new.pth"
    torch.save(network.state_dict(), path)
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return network, path.rename(path.with_name(f"resnet18-{digits}.pth"))


def picture(side: int) -> Tensor:
    return torch.rand(2, 3, side, side + 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet18", "inception_v3", "efficientnet_b0", "convnext_tiny"])
def test_activations_are_those_of_torchvision_s_extractor(model: str, tmp_path: Path) -> None:
    theirs = shaken(model)
    torch.save(theirs.state_dict(), tmp_path / "some.pth")
    ours, found = load_model(model, tmp_path / "some.pth")
    assert (found.verified, found.entry) == ("", "")
    _, layers = default_layers(model)
    image = picture(80)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.no_grad():
        extractor = create_feature_extractor(theirs, list(layers), suppress_diff_warning=True)
        expected = extractor((image - mean) / std)
        features = ours(image, layers)
    assert list(features) == list(layers)
    for name in layers:
        torch.testing.assert_close(features[name], expected[name], rtol=1e-4, atol=1e-5)
        assert features[name].shape[1] == ours.channels[name]


def test_what_stands_before_a_sum_and_a_relu_is_not_overwritten(
    resnet18: tuple[nn.Module, Path],
) -> None:
    network, _ = load_model("resnet18", resnet18[1])
    names = ["layer1.0.bn2", "layer1.0.add", "layer1.0.relu_1"]
    with torch.no_grad():
        together = network(picture(40), names)
        alone = {name: network(picture(40), [name])[name] for name in names}
    assert all(torch.equal(together[name], alone[name]) for name in names)
    assert torch.equal(together[names[2]], together[names[1]].relu())
    assert not torch.equal(together[names[0]], together[names[1]])
    assert together[names[0]].min() < 0


def test_the_picture_has_gradients_and_the_weights_have_none(
    resnet18: tuple[nn.Module, Path],
) -> None:
    network, _ = load_model("resnet18", resnet18[1])
    image = picture(40).requires_grad_()
    network(image, ["layer2.1.relu_1"])["layer2.1.relu_1"].square().sum().backward()
    assert image.grad is not None
    assert image.grad.abs().max() > 0
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_nothing_deeper_is_kept_or_computed(resnet18: tuple[nn.Module, Path]) -> None:
    network, _ = load_model("resnet18", resnet18[1])
    with torch.no_grad():
        before = network(picture(40), ["layer2.1.relu_1"])["layer2.1.relu_1"]
    network.truncate(["layer2.1.relu_1"])
    assert network.layers[-1] == "layer2.1.relu_1"
    assert not any(name.startswith("layer3") for name in network.body.state_dict())
    with torch.no_grad():
        assert torch.equal(network(picture(40), ["layer2.1.relu_1"])["layer2.1.relu_1"], before)
    with pytest.raises(ValueError, match="is no layer of this resnet18"):
        network(picture(40), ["layer3.0.relu"])


@pytest.mark.parametrize(
    ("model", "layer", "side", "dtype"),
    [
        ("resnet18", "layer4.1.relu_1", 32, torch.float32),
        ("resnet18", "layer4.1.relu_1", 32, torch.float64),
        ("inception_v3", "Mixed_7c.cat_2", 75, torch.float32),
    ],
)
def test_the_smallest_side_is_the_smallest_of_any_type(
    model: str, layer: str, side: int, dtype: torch.dtype
) -> None:
    network = ModelNetwork(model).to(dtype)
    assert network.smallest([layer]) == side
    with torch.no_grad():
        enough = torch.zeros(1, 3, side, side, dtype=dtype)
        assert min(network(enough, [layer])[layer].shape) >= 1
        with pytest.raises(ImpastoError, match=f"too small .* need {side} x {side}"):
            network(enough[..., 1:], [layer])


def test_what_autograd_keeps_is_counted() -> None:
    network = ModelNetwork("resnet18")
    deep, shallow = (network.kept_channels([name]) for name in ("layer4.1.relu_1", "relu"))
    assert sum(deep) > 1.5 * sum(shallow)
    # conv1, bn1 and relu: the picture, normalized, and three maps of 64 channels at half the side.
    assert KEPT_STRIDE == 256 / 64
    kept = sum(channels * 64**2 * 4 for channels in shallow)
    assert 2 * 64 * 128**2 * 4 <= kept <= 4 * 64 * 128**2 * 4


# Weights


def test_weights_are_verified_by_the_hash_in_their_name(
    resnet18: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    path = resnet18[1]
    assert load_model("resnet18", path)[1].verified == "as its name says"
    other = tmp_path / "resnet18-00000000.pth"
    other.write_bytes(path.read_bytes())
    with pytest.raises(CheckpointError, match=r"resnet18-00000000\.pth: its SHA-256 begins with"):
        load_model("resnet18", other)
    cut = tmp_path / "cut.pth"
    cut.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"cut\.pth: damaged or not a weights file"):
        load_model("resnet18", cut)


def test_torchvision_s_files_are_known_by_their_hash_whatever_their_name(
    resnet18: tuple[nn.Module, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = resnet18[1]
    monkeypatch.setattr(weights, "_digits", lambda _: path.stem[-8:])
    moved = tmp_path / "moved.pth"
    moved.write_bytes(path.read_bytes())
    found = load_model("resnet18", moved)[1]
    assert (found.entry, found.verified) == ("IMAGENET1K_V1", "as torchvision says")
    assert str(found).startswith("resnet18 IMAGENET1K_V1, ")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda state: state.pop("layer1.0.conv1.weight"), "lacks layer1.0.conv1.weight"),
        (lambda state: state.update({"layer1.9.x": torch.ones(1)}), "holds unexpected layer1.9.x"),
        (lambda state: state.update({"bn1.bias": torch.ones(3)}), "bn1.bias has shape"),
        (lambda state: state["bn1.bias"].fill_(float("nan")), "are not finite numbers"),
    ],
)
def test_weights_of_something_else(
    change: Callable[[dict[str, Tensor]], object],
    says: str,
    resnet18: tuple[nn.Module, Path],
    tmp_path: Path,
) -> None:
    state = {name: value.clone() for name, value in resnet18[0].state_dict().items()}
    change(state)
    torch.save(state, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=rf"other\.pth: .*{says}"):
        load_model("resnet18", tmp_path / "other.pth")


def test_wrappers_and_another_head_do_not_matter(
    resnet18: tuple[nn.Module, Path], tmp_path: Path
) -> None:
    state = {
        f"module.{name}": value
        for name, value in resnet18[0].state_dict().items()
        if not name.startswith("fc.")
    }
    torch.save({"state_dict": state | {"module.fc.weight": torch.ones(7, 512)}}, tmp_path / "a.pth")
    network, _ = load_model("resnet18", tmp_path / "a.pth")
    assert torch.equal(network.body.state_dict()["conv1.weight"], state["module.conv1.weight"])


def test_where_weights_are_found(cache: Path, tmp_path: Path) -> None:
    first, second = model_candidates("resnet50")
    assert first.parent == cache
    assert (first.name, second.name) == ("resnet50-11ad3fa6.pth", "resnet50-0676ba61.pth")
    assert find_model_weights("resnet50") is None
    assert "resnet50-11ad3fa6.pth (98 MB; its SHA-256 begins" in missing_model_message("resnet50")
    second.touch()
    assert find_model_weights("resnet50") == second
    assert cached_files() == [second]
    first.touch()
    assert find_model_weights("resnet50") == first
    assert model_of_file(Path("elsewhere/convnext_tiny-983f1562.pth")) == "convnext_tiny"
    assert model_of_file(Path("vgg19-dcbb9e9d.pth")) is None  # a network of our own
    with pytest.raises(CheckpointError, match=r"none\.pth: no such file"):
        find_model_weights("resnet50", tmp_path / "none.pth")


# Random weights


@pytest.mark.slow
@pytest.mark.parametrize("model", ["resnet18", "inception_v3", "efficientnet_b0", "convnext_tiny"])
def test_random_models_see_something_at_every_size(model: str) -> None:
    network = random_model(model)
    _, layers = default_layers(model)
    # Larger than those of the calibration, whose deepest maps had few positions.
    images = calibration_pictures(torch.Generator().manual_seed(7), count=2, side=224).float()
    with torch.no_grad():
        found = network(images, layers)
    for name in layers:
        energy = found[name].square().mean().item()
        assert 0.1 < energy < 300, (name, energy)
        assert (found[name][0] - found[name][1]).square().mean() > 1e-2 * energy


def test_random_weights_are_the_same_each_time_and_leave_torch_s_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first = random_model("resnet18", 3)
    assert torch.equal(torch.rand(1), expected)
    # Of a part of it, too.
    again = random_model("resnet18", 3, layers=["layer2.1.relu_1"])
    assert again.layers[-1] == "layer2.1.relu_1"
    assert again.factors == {name: first.factors[name] for name in again.layers}
    state = first.body.state_dict()
    assert all(torch.equal(state[name], value) for name, value in again.body.state_dict().items())
    other = random_model("resnet18", 4, layers=["conv1"]).body.state_dict()["conv1.weight"]
    assert not torch.equal(state["conv1.weight"], other)
    # Convolutions are filled with sums of four uniform numbers, variance 2 / fan-in.
    weight = state["layer1.0.conv1.weight"]
    assert weight.var().item() == pytest.approx(2 / (64 * 9), rel=0.05)


# By name


@pytest.mark.parametrize(
    ("name", "says"),
    [
        (
            "resnt50",
            "'resnt50' is none of auto, vgg19, vgg16, random, pixels, lite .*mean resnet50",
        ),
        ("random:resnt50", "did you mean resnet50"),
        ("random:vgg19", "a VGG of random filters is --backbone random"),
        ("mine.safetensors", "mine.safetensors is a file; give it as --weights mine.safetensors"),
        ("vit_b_16", "takes pictures of one size only"),
    ],
)
def test_names_of_no_network(name: str, says: str) -> None:
    with pytest.raises(OptionError, match=f"--backbone: .*{says}"):
        model_of(name)
    with pytest.raises(OptionError, match=says):
        make_network(name)


def test_networks_by_name(
    resnet18: tuple[nn.Module, Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert make_network("pixels").name == "pixels"
    assert not make_network("pixels").relative
    loaded = make_network("resnet18", resnet18[1], layers=["layer1.1.relu_1"])
    assert (loaded.name, loaded.network.layers[-1]) == ("resnet18", "layer1.1.relu_1")
    assert loaded.weights is not None
    assert loaded.weights.path == resnet18[1]
    assert loaded.relative
    assert not caplog.records
    assert resolve_model_name("random:resnet18") == "random:resnet18"
    assert not caplog.records
    found = make_network("resnet18", layers=["layer1.1.relu_1"])
    assert (found.name, found.weights) == ("random:resnet18", None)
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("no weights of resnet18 are found, so they are random, the same each")
    assert "'impasto weights layers resnet18' says how to get" in message


def test_layers_of_any_network() -> None:
    assert parse_network_layers(["layer2"], "random:resnet18") == ("layer2.1.relu_1",)
    assert parse_network_layers(["relu4_2"], "random") == ("relu4_2",)
    assert parse_network_layers(["pixels"], "pixels") == ("pixels",)
    # Ours, not torchvision's model of that name.
    assert parse_network_layers(["relu4_3"], "vgg16") == ("relu4_3",)
    assert parse_network_layers(["features.0"], "vgg19_bn") == ("features.0",)


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
