import json
import os
import re
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from impasto.cyclegan.architecture import GeneratorArchitecture, detect_architecture
from impasto.cyclegan.networks import (
    Networks,
    PatchDiscriminator,
    PixelDiscriminator,
    ResnetGenerator,
    UnetGenerator,
    load_weights,
)
from impasto.cyclegan.weights import fold_strength, load_generator, save_generator
from impasto.options.errors import CheckpointError
from impasto.runs.state import save_pth

Weights = dict[str, Tensor]
SMALL = GeneratorArchitecture(depth=2, channels=2)

ARCHITECTURES = {
    "resnet": SMALL,
    "nine blocks": GeneratorArchitecture(depth=9, channels=2),
    "ngf 32": GeneratorArchitecture(depth=1, channels=32),
    "dropout": GeneratorArchitecture(depth=2, channels=2, dropout=True),
    "batch": GeneratorArchitecture(depth=2, channels=2, norm="batch"),
    "batch and dropout": GeneratorArchitecture(depth=2, channels=2, norm="batch", dropout=True),
    "layer": GeneratorArchitecture(depth=2, channels=2, norm="layer"),
    "affine": GeneratorArchitecture(depth=2, channels=2, norm="affine"),
    "unet with layer norm": GeneratorArchitecture(kind="unet", depth=3, channels=2, norm="layer"),
    "no norm": GeneratorArchitecture(depth=2, channels=2, norm="none"),
    "resize": GeneratorArchitecture(depth=2, channels=2, upsample="resize"),
    "bilinear": GeneratorArchitecture(depth=2, channels=2, upsample="bilinear"),
    "colour skip": GeneratorArchitecture(depth=2, channels=2, color_skip=True),
    "kuwahara": GeneratorArchitecture(depth=2, channels=2, base="kuwahara"),
    "noise": GeneratorArchitecture(depth=2, channels=2, noise=True),
    "grey to colour": GeneratorArchitecture(depth=1, channels=2, in_channels=1, out_channels=3),
    "unet": GeneratorArchitecture(kind="unet", depth=7, channels=2),
    "unet with batch norm": GeneratorArchitecture(kind="unet", depth=3, channels=2, norm="batch"),
    "unet without norm": GeneratorArchitecture(kind="unet", depth=2, channels=2, norm="none"),
    "unet, bilinear": GeneratorArchitecture(kind="unet", depth=3, channels=2, upsample="bilinear"),
    "unet of other channels": GeneratorArchitecture(
        kind="unet", depth=8, channels=3, in_channels=1, out_channels=2
    ),
}


def weights_of(architecture: GeneratorArchitecture, seed: int = 0) -> Weights:
    """Random weights and statistics."""
    generator = torch.Generator().manual_seed(seed)
    weights: Weights = {}
    for key, value in architecture.build().state_dict().items():
        random = torch.rand(value.shape, generator=generator) + 0.1
        weights[key] = random if value.is_floating_point() else torch.full_like(value, 3)
    return weights


def same(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> bool:
    return list(found) == list(expected) and all(
        torch.equal(found[key], expected[key]) and found[key].dtype == expected[key].dtype
        for key in expected
    )


def refused(path: Path) -> str:
    """The message with which a file is refused, without its path, which must begin it."""
    with pytest.raises(CheckpointError) as caught:
        load_generator(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pth_tells_its_architecture(tmp_path: Path, name: str) -> None:
    architecture = ARCHITECTURES[name]
    path = tmp_path / "latest_net_G_A.pth"
    weights = weights_of(architecture)
    save_pth(path, weights)
    loaded = load_generator(path)
    assert loaded.architecture == architecture
    assert same(loaded.network.state_dict(), weights)
    assert not loaded.network.training
    assert loaded.notes == ()
    assert loaded.provenance == {}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_safetensors_round_trip(tmp_path: Path, name: str) -> None:
    architecture = ARCHITECTURES[name]
    path = tmp_path / "G_A.safetensors"
    weights = weights_of(architecture)
    provenance = {"direction": "BtoA", "images": "1200", "artist": "Monet, Étretat"}
    save_generator(path, weights, architecture, provenance)
    loaded = load_generator(path)
    assert loaded.architecture == architecture
    assert loaded.provenance == provenance
    assert not loaded.network.training
    found = loaded.network.state_dict()
    assert all(torch.equal(found[key], weights[key]) for key in found)
    # The file is what any safetensors reader expects, and says itself what it is.
    assert set(load_file(path)) == set(weights)
    with safe_open(path, framework="pt") as file:
        assert file.metadata()["format"] == "pt"


@pytest.mark.parametrize("said", ["far", "4", "-1", "nan"])
def test_a_bend_that_is_no_length_is_refused_with_the_files_name(tmp_path: Path, said: str) -> None:
    architecture = ARCHITECTURES["bilinear"]
    path = tmp_path / "G_A.safetensors"
    save_generator(path, weights_of(architecture), architecture, {"grid_bend_px": said})
    with pytest.raises(CheckpointError, match=rf"G_A\.safetensors: .* grid_bend_px of '{said}'"):
        load_generator(path)


def test_a_unet_with_dropout_is_known_by_metadata_only(tmp_path: Path) -> None:
    architecture = GeneratorArchitecture(kind="unet", depth=6, channels=2, dropout=True)
    weights = weights_of(architecture)
    save_generator(tmp_path / "a.safetensors", weights, architecture, {})
    save_pth(tmp_path / "a.pth", weights)
    assert load_generator(tmp_path / "a.safetensors").architecture.dropout
    assert not load_generator(tmp_path / "a.pth").architecture.dropout


@pytest.mark.parametrize("upsample", ["deconv", "resize"])
@pytest.mark.parametrize("norm", ["instance", "batch", "none"])
def test_a_unet_is_read_off_its_names(tmp_path: Path, upsample: str, norm: str) -> None:
    architecture = GeneratorArchitecture(
        kind="unet", depth=5, channels=2, norm=norm, upsample=upsample, in_channels=1
    )
    save_pth(tmp_path / "a.pth", weights_of(architecture))
    assert load_generator(tmp_path / "a.pth").architecture == architecture


@pytest.mark.parametrize(("said", "length"), [(None, 0.0), ("2", 2.0), ("0.5", 0.5)])
def test_a_file_may_ask_for_bending(tmp_path: Path, said: str | None, length: float) -> None:
    path = tmp_path / "a.safetensors"
    asked = {} if said is None else {"grid_bend_px": said}
    save_generator(path, weights_of(SMALL), SMALL, asked)
    assert load_generator(path).grid_bend_px == length


@pytest.mark.parametrize("said", ["much", "-1", "nan", "40"])
def test_a_file_that_asks_for_the_impossible_is_refused(tmp_path: Path, said: str) -> None:
    path = tmp_path / "a.safetensors"
    save_generator(path, weights_of(SMALL), SMALL, {"grid_bend_px": said})
    with pytest.raises(CheckpointError, match=f"grid_bend_px of '{said}'"):
        _ = load_generator(path).grid_bend_px


def test_safetensors_without_metadata_is_read_off_its_names(tmp_path: Path) -> None:
    save_file(weights_of(SMALL), tmp_path / "a.safetensors")
    assert load_generator(tmp_path / "a.safetensors").architecture == SMALL


def test_pth_is_a_plain_state_dict_that_the_reference_can_load(tmp_path: Path) -> None:
    network = SMALL.build()
    save_pth(tmp_path / "a.pth", network.state_dict())
    loaded = torch.load(tmp_path / "a.pth", weights_only=True)
    assert same(loaded, network.state_dict())
    assert not hasattr(loaded, "_metadata")
    assert all(not tensor.requires_grad for tensor in loaded.values())


def test_files_of_the_reference_of_every_age(tmp_path: Path) -> None:
    # With torch's own _metadata, and in the format before torch 1.6.
    network = SMALL.build()
    for new in (True, False):
        path = tmp_path / "a.pth"
        torch.save(network.state_dict(), path, _use_new_zipfile_serialization=new)
        assert same(load_generator(path).network.state_dict(), network.state_dict())


def test_half_precision_file_becomes_single(tmp_path: Path) -> None:
    weights = {key: value.half() for key, value in weights_of(SMALL).items()}
    save_pth(tmp_path / "a.pth", weights)
    found = load_generator(tmp_path / "a.pth").network.state_dict()
    assert same(found, {key: value.float() for key, value in weights.items()})


@pytest.mark.parametrize(
    "prefixes",
    [["module."], ["_orig_mod."], ["module.", "_orig_mod."], ["_orig_mod.", "module."]],
)
def test_prefixes_are_removed_and_reported(tmp_path: Path, prefixes: list[str]) -> None:
    weights = weights_of(SMALL)
    save_pth(tmp_path / "a.pth", {"".join(prefixes) + key: v for key, v in weights.items()})
    loaded = load_generator(tmp_path / "a.pth")
    assert same(loaded.network.state_dict(), weights)
    count = len(weights)
    assert loaded.notes == tuple(f"removed the prefix {p!r} from {count} names" for p in prefixes)


def test_stale_statistics_of_2018_are_dropped_and_reported(tmp_path: Path) -> None:
    weights = weights_of(SMALL)
    # Issue 461 of the reference: what InstanceNorm2d(track_running_stats=True) had saved.
    stale: Weights = {}
    for place in ("2", "5", "8", "10.conv_block.2", "10.conv_block.6", "13", "16"):
        stale[f"model.{place}.running_mean"] = torch.zeros(4)
        stale[f"model.{place}.running_var"] = torch.ones(4)
        stale[f"model.{place}.num_batches_tracked"] = torch.tensor(1000)
    save_pth(tmp_path / "a.pth", {f"module.{k}": v for k, v in {**stale, **weights}.items()})
    loaded = load_generator(tmp_path / "a.pth")
    assert same(loaded.network.state_dict(), weights)
    assert len(loaded.notes) == 2
    assert "dropped 21 running statistics of InstanceNorm" in loaded.notes[1]
    assert "model.2.running_mean" in loaded.notes[1]


def test_stale_statistics_do_not_change_the_translation(tmp_path: Path) -> None:
    network = SMALL.build().eval()
    weights = network.state_dict()
    stale = {"model.2.running_mean": torch.full((2,), 9.0)}
    save_pth(tmp_path / "a.pth", {**weights, **stale})
    images = torch.rand(1, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(load_generator(tmp_path / "a.pth").network(images), network(images))


def test_antialiased_files_of_cut_are_refused(tmp_path: Path) -> None:
    blurs = {f"model.{place}.filt": torch.ones(4, 1, 3, 3) for place in (7, 11)}
    save_pth(tmp_path / "a.pth", {**weights_of(SMALL), **blurs})
    message = refused(tmp_path / "a.pth")
    assert "CUT's anti-aliased layers (model.7.filt and 1 more)" in message
    assert "--no_antialias" in message


@pytest.mark.parametrize(
    "network", [PatchDiscriminator(channels=2), PixelDiscriminator(channels=2)]
)
def test_discriminators_are_refused(tmp_path: Path, network: nn.Module) -> None:
    save_pth(tmp_path / "latest_net_D_A.pth", network.state_dict())
    message = refused(tmp_path / "latest_net_D_A.pth")
    assert "not the weights of a CycleGAN generator" in message
    assert next(iter(sorted(network.state_dict()))) in message


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_values_that_are_not_finite_are_refused(tmp_path: Path, suffix: str, value: float) -> None:
    architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
    weights = weights_of(architecture)
    bad = weights["model.4.weight"]  # 4 filters of 2 x 3 x 3
    bad.view(-1)[7:10] = value
    path = tmp_path / f"bad{suffix}"
    if suffix == ".pth":
        save_pth(path, weights)
    else:
        save_generator(path, weights, architecture, {})
    assert refused(path).startswith("3 of the 72 values of model.4.weight are not finite")


def test_missing_file(tmp_path: Path) -> None:
    assert refused(tmp_path / "a.pth") == "no such file"
    assert refused(tmp_path) == "a folder; give a file"


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_anywhere(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    if suffix == ".pth":
        save_pth(path, weights_of(SMALL))
    else:
        save_generator(path, weights_of(SMALL), SMALL, {})
    whole = path.read_bytes()
    for length in (0, 1, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        says = "damaged or not a weights file" if length else "empty; download it again"
        assert says in refused(path)


def test_truncated_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.pth"
    torch.save(weights_of(SMALL), path, _use_new_zipfile_serialization=False)
    whole = path.read_bytes()
    for length in (1, 2, 30, 500, 3000, len(whole) - 1):
        path.write_bytes(whole[:length])
        assert "damaged or not a weights file" in refused(path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_page_instead_of_weights(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"style_monet{suffix}"
    path.write_text("<!DOCTYPE html><title>404 Not Found</title>")
    assert refused(path).startswith("a web page, not weights")


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (self.command,)


def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path) -> None:
    proof = tmp_path / "executed"
    for new in (True, False):
        content: dict[str, Any] = {**weights_of(SMALL), "x": Malice(f"touch '{proof}'")}
        torch.save(content, tmp_path / "a.pth", _use_new_zipfile_serialization=new)
        assert "holds more than tensors, so it is not loaded" in refused(tmp_path / "a.pth")
        assert not proof.exists()
    # The trap works: opened carelessly, the same file does run its command.
    torch.load(tmp_path / "a.pth", weights_only=False)
    assert proof.exists()


def test_a_whole_pickled_network_is_refused(tmp_path: Path) -> None:
    torch.save(SMALL.build(), tmp_path / "a.pth")
    assert "holds more than tensors" in refused(tmp_path / "a.pth")


@pytest.mark.parametrize(
    "content", [[1, 2], {"epoch": 3}, {1: torch.zeros(2)}, {"state_dict": {"a": torch.zeros(1)}}, 7]
)
def test_other_content_is_refused(tmp_path: Path, content: object) -> None:
    torch.save(content, tmp_path / "a.pth")
    assert refused(tmp_path / "a.pth").startswith("expected a state_dict of tensors")
    torch.save(content, tmp_path / "state.pt")
    assert refused(tmp_path / "state.pt").endswith("; give the run's folder instead")


def test_a_checkpoint_of_a_training_says_where_its_networks_are(tmp_path: Path) -> None:
    whole = {"epoch": 3, "G": weights_of(SMALL), "D": {"a": torch.zeros(1)}, "lr": [1, 2]}
    torch.save(whole, tmp_path / "a.pth")
    message = refused(tmp_path / "a.pth")
    assert "holds some under 'G', 'D';" in message
    # What it tells to do, done.
    told = message.partition("such as ")[2].replace("'a.pth'", repr(str(tmp_path / "a.pth")))
    target = tmp_path / "generator.pth"
    exec(told.replace("'generator.pth'", repr(str(target))), {"torch": torch})  # noqa: S102
    assert load_generator(target).architecture == SMALL


@pytest.mark.parametrize(
    ("name", "start", "says"),
    [
        ("a.h5", b"\x89HDF\r\n\x1a\n rest", "an HDF5 file, as Keras"),
        ("a.pth", b"\x89HDF\r\n\x1a\n rest", "an HDF5 file, as Keras"),
        ("a.onnx", b"\x08\x07\x12\x07pytorch", "an ONNX file"),
        ("a.t7", b"\x04\x00\x00\x00", "a file of Lua Torch"),
        ("a.pth", b"<!DOCTYPE html><html>", "a web page"),
        ("a.pth", b"version https://git-lfs.github.com/spec/v1", "a Git LFS pointer"),
        ("a.pth", b"", "empty"),
    ],
)
def test_files_of_other_programs_are_named(
    tmp_path: Path, name: str, start: bytes, says: str
) -> None:
    (tmp_path / name).write_bytes(start)
    assert refused(tmp_path / name).startswith(says)


def test_a_zip_around_a_file_of_weights_is_named(tmp_path: Path) -> None:
    save_pth(tmp_path / "inner.pth", weights_of(SMALL))
    with zipfile.ZipFile(tmp_path / "outer.zip", "w") as archive:
        archive.write(tmp_path / "inner.pth", "models/inner.pth")
    (tmp_path / "outer.zip").rename(tmp_path / "outer.pth")
    assert "holds models/inner.pth; unpack it" in refused(tmp_path / "outer.pth")
    assert load_generator(tmp_path / "inner.pth").architecture == SMALL


@pytest.mark.parametrize(
    "weights",
    [
        {},
        {"model.1.weight": torch.zeros(4, 3, 3, 3)},  # not 7 x 7
        {"model.model.0.weight": torch.zeros(4)},
        {"model.model.0.weight": torch.zeros(4, 3, 4, 4)},
    ],
)
def test_other_networks_are_refused(tmp_path: Path, weights: Weights) -> None:
    save_pth(tmp_path / "a.pth", weights)
    message = refused(tmp_path / "a.pth")
    assert "expected model.1.weight (ResNet) or model.model.0.weight (U-Net)" in message
    assert (", ".join(weights) or "none at all") in message


def test_incomplete_networks_are_refused(tmp_path: Path) -> None:
    weights = weights_of(SMALL)
    save_pth(tmp_path / "a.pth", {"model.1.weight": weights["model.1.weight"]})
    assert "expected blocks such as model.10.conv_block.1.weight, found none" in refused(
        tmp_path / "a.pth"
    )
    outer = {"model.model.0.weight": (2, 3, 4, 4), "model.model.3.weight": (4, 3, 4, 4)}
    save_pth(tmp_path / "a.pth", {key: torch.zeros(shape) for key, shape in outer.items()})
    assert "downs: expected 2 or more, got 1" in refused(tmp_path / "a.pth")


def test_wrong_weights_are_named(tmp_path: Path) -> None:
    weights = weights_of(SMALL)
    del weights["model.4.bias"]
    weights["model.7.weight"] = torch.zeros(8, 4, 5, 5)
    weights["model.99.weight"] = torch.zeros(1)
    save_pth(tmp_path / "a.pth", weights)
    message = refused(tmp_path / "a.pth")
    assert message == (
        "does not fit a generator (resnet, 2 blocks, 2 filters, norm instance, upsample deconv): "
        "missing model.4.bias; unknown model.99.weight; "
        "model.7.weight has shape (8, 4, 5, 5), expected (8, 4, 3, 3)"
    )


def test_many_wrong_weights_are_counted() -> None:
    with pytest.raises(CheckpointError, match=r"missing weight; .*, and 3 more$") as caught:
        load_weights(nn.Conv2d(1, 1, 1), {str(i): torch.zeros(1) for i in range(7)}, what="x")
    assert "does not fit x" in str(caught.value)


def damaged(path: Path, described: str) -> str:
    save_file(weights_of(SMALL), path, metadata={"impasto": described})
    return refused(path)


def test_damaged_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    assert "damaged or not a weights file" in damaged(path, "{not JSON")
    assert "its metadata are ['a list']" in damaged(path, '["a list"]')
    for architecture in ("not JSON", "[1]", '{"colour": "red"}', '{"kind": "gan"}'):
        message = damaged(path, json.dumps({"architecture": architecture}))
        assert message.startswith("the file's metadata do not describe a generator: ")
    for architecture in ('{"norm": "group"}', '{"depth": "nine"}', '{"channels": -4}'):
        message = damaged(path, json.dumps({"architecture": architecture}))
        assert message.startswith("describes no possible generator, resnet, ")


def test_metadata_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_generator(path, weights_of(SMALL), GeneratorArchitecture(depth=3, channels=2), {})
    assert "does not fit a generator (resnet, 3 blocks, 2 filters" in refused(path)


def test_views_and_shared_weights_are_saved_whole(tmp_path: Path) -> None:
    weights = weights_of(SMALL)
    turned = {
        key: value.T.contiguous().T if value.ndim == 2 else value for key, value in weights.items()
    }
    turned["model.1.weight"] = (
        weights["model.1.weight"].permute(1, 0, 2, 3).contiguous().permute(1, 0, 2, 3)
    )
    assert not turned["model.1.weight"].is_contiguous()
    save_generator(tmp_path / "a.safetensors", turned, SMALL, {})
    assert all(torch.equal(v, weights[k]) for k, v in load_file(tmp_path / "a.safetensors").items())


def test_failed_write_keeps_the_old_file(small_disk: Path) -> None:
    big = {"x": torch.zeros(100_000)}
    for path, save in (
        (small_disk / "a.pth", save_pth),
        (small_disk / "a.safetensors", lambda path, w: save_generator(path, w, SMALL, {})),
    ):
        path.write_bytes(b"old")
        with pytest.raises(OSError, match=re.escape(str(path))):
            save(path, big)
        assert path.read_bytes() == b"old"
        assert [file.name for file in small_disk.iterdir()] == [path.name]
        path.unlink()


def test_networks_load_by_name() -> None:
    def make(seed: int) -> Networks:
        torch.manual_seed(seed)
        return Networks(
            {
                "G_A": SMALL.build(),
                "G_B": SMALL.build(),
                "D_A": PatchDiscriminator(channels=2, layers=1),
                "D_B": PatchDiscriminator(channels=2, layers=1),
            }
        ).to(torch.device("cpu"))

    first, second = make(1), make(2)
    assert list(first) == ["G_A", "G_B", "D_A", "D_B"]
    assert dict(first.only("D_B", "G_A")) == {"D_B": first["D_B"], "G_A": first["G_A"]}
    both = [*first["D_A"].parameters(), *first["D_B"].parameters()]
    of_both = list(first.only("D_A", "D_B").parameters())
    assert [id(weight) for weight in of_both] == [id(weight) for weight in both]
    second.load_state_dict(first.state_dict())
    for name, weights in first.state_dict().items():
        assert same(second.state_dict()[name], weights)
    state = first.state_dict()
    state["D_B"] = OrderedDict(list(state["D_B"].items())[1:])
    with pytest.raises(
        CheckpointError, match=r"does not fit the network D_B: missing model\.0\.weight"
    ):
        second.load_state_dict(state)
    with pytest.raises(CheckpointError, match="holds no network D_B, only G_A, G_B, D_A"):
        second.load_state_dict({name: state[name] for name in ("G_A", "G_B", "D_A")})


def test_architecture_as_text() -> None:
    unet = GeneratorArchitecture(kind="unet", depth=8, norm="batch", dropout=True)
    assert str(unet) == "unet, 8 halvings, 64 filters, norm batch, upsample deconv, dropout"
    assert GeneratorArchitecture.from_json(unet.to_json()) == unet
    assert isinstance(unet.build(), UnetGenerator)
    assert isinstance(SMALL.build(), ResnetGenerator)


def test_deconv_and_resize_are_told_apart_by_the_first_axis() -> None:
    with torch.device("meta"):
        for upsample in ("deconv", "resize"):
            weights = ResnetGenerator(upsample=upsample).state_dict()
            assert detect_architecture(weights) == GeneratorArchitecture(upsample=upsample)


@pytest.mark.parametrize("said", ["0", "-3", "wide", "inf", "nan"])
def test_a_size_of_strokes_that_is_none_is_refused(tmp_path: Path, said: str) -> None:
    path = tmp_path / "odd.safetensors"
    architecture = GeneratorArchitecture(kind="resnet", depth=1, channels=2)
    weights = architecture.build().state_dict()
    save_generator(path, weights, architecture, {"strokes_at_px": said})
    with pytest.raises(CheckpointError, match=f"odd.safetensors: .*strokes_at_px '{said}'"):
        load_generator(path)
    save_generator(path, weights, architecture, {"strokes_at_px": "384"})
    assert load_generator(path).strokes_at_px == 384
    save_generator(path, weights, architecture, {})
    assert load_generator(path).strokes_at_px is None


@torch.no_grad()
def test_a_folded_strength_is_a_mixture_with_the_picture() -> None:
    torch.manual_seed(0)
    network = ResnetGenerator(channels=4, blocks=1, base="kuwahara").eval()
    for parameter in network.model.parameters():
        parameter.mul_(0.5)
    images = torch.rand(1, 3, 16, 20) - 0.5
    whole = network(images)
    assert float(whole.abs().max()) < 1  # nothing is clamped
    for share, expected in ((0.7, 0.7 * whole + 0.3 * images), (0.5, 0.35 * whole + 0.65 * images)):
        network.load_state_dict(fold_strength(network.state_dict(), share))
        torch.testing.assert_close(network(images), expected)
    with pytest.raises(CheckpointError, match="no strength can be folded in"):
        fold_strength(ResnetGenerator(channels=4, blocks=1).state_dict(), 0.7)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        fold_strength(network.state_dict(), 0)
